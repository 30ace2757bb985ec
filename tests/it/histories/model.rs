//! What must hold after every run of the program, whatever has happened before: the model, and the
//! judgement by it.
//!
//! The model knows which rows were ever published, what each file holds, and what was done to the
//! archive behind the program's back. It foresees no bytes and no words: it looks at rows, at what
//! is kept, and at exit codes. Where the contract leaves a choice, all that it allows is right here
//! too; the comments say which choices these are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::Value;

use super::{
    content::{Content, Harm, MOST_ROWS, Part, Row},
    observe::{Entry, Seen, State, Version, receipt_key},
    steps::{Blow, Command, Odd},
};

/// Something that must not be.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The promise, in words that do not depend on names and numbers, so that violations of a kind
    /// can be told from others.
    pub promise: &'static str,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

pub type Verdict = Result<(), Violation>;

fn violated(promise: &'static str, what: impl Into<String>) -> Verdict {
    Err(Violation {
        promise,
        what: what.into(),
    })
}

/// A run that has ended.
pub struct Run<'a> {
    pub command: Command,
    /// How it ended; `None` when it was killed.
    pub code: Option<i32>,
    pub before: &'a Seen,
    pub after: &'a Seen,
}

/// A state of a partition that was published.
#[derive(Debug, Clone)]
pub struct Generation {
    pub data: Vec<u8>,
    pub meta: Vec<u8>,
    pub sha256: String,
    pub rows: BTreeSet<Row>,
}

/// What was done to a partition, until it is right again.
#[derive(Debug, Clone)]
pub struct Damage {
    pub blow: Blow,
    /// The objects as they were.
    pub saved: Vec<(String, Vec<u8>)>,
    /// The data after the blow.
    pub left: Option<String>,
    /// Whether a run was told to go on without what was lost. From then on it may be gone, or still
    /// be missed.
    pub accepted: bool,
}

impl Damage {
    /// Whether rows are gone from the archive, for all that a reader can tell.
    fn takes_rows(&self) -> bool {
        matches!(self.blow, Blow::Vanish | Blow::RollBack | Blow::Flip)
    }
}

#[derive(Default)]
pub struct Model {
    /// What files hold, by the digests of their bytes.
    contents: BTreeMap<String, Content>,
    /// Rows that may be in the archive, by symbol.
    recorded: BTreeSet<(usize, Row)>,
    /// Rows that were published, and so must stay.
    pub published: BTreeMap<Part, BTreeSet<Row>>,
    /// When they reached a collector.
    arrivals: BTreeMap<Part, BTreeMap<Row, i64>>,
    pub generations: BTreeMap<Part, Vec<Generation>>,
    pub damages: BTreeMap<Part, Damage>,
    /// Partitions that another program made.
    pub adopted: BTreeSet<Part>,
    /// Files whose rows were archived, as they were then: name, size, time and digest.
    archived: BTreeSet<Version>,
    /// What is odd in the spool, by name.
    odd: BTreeMap<String, (Odd, Content)>,
    /// Whether a run was killed, and none has ended since that would have tidied up.
    unsettled: bool,
}

impl Model {
    /// A file of this content may come into the spool.
    pub fn expect(&mut self, sha256: String, content: Content) {
        self.recorded.extend(
            content
                .readable()
                .into_iter()
                .map(|row| (content.spec.symbol, row)),
        );
        let _ = self.contents.insert(sha256, content);
    }

    /// Something odd lies in the spool.
    pub fn expect_odd(&mut self, name: String, odd: Odd, content: Content) {
        // Rows of what is never input, or belongs to no series, must not turn up in the archive.
        if matches!(odd, Odd::ParquetWithLineFeed | Odd::ParquetNotText) {
            self.recorded.extend(
                content
                    .rows()
                    .into_iter()
                    .map(|row| (content.spec.symbol, row)),
            );
        }
        let _ = self.odd.insert(name, (odd, content));
    }

    pub fn forget_odd(&mut self) {
        self.odd.clear();
    }

    /// Rows come by another way than the spool.
    pub fn expect_foreign(&mut self, content: &Content) {
        self.recorded.extend(
            content
                .rows()
                .into_iter()
                .map(|row| (content.spec.symbol, row)),
        );
    }

    /// Judges a run, and remembers what it has done.
    pub fn judge(&mut self, run: &Run) -> Verdict {
        self.note_adoption(run);
        if run.command == Command::AcceptLoss {
            self.damages
                .values_mut()
                .filter(|damage| damage.takes_rows())
                .for_each(|damage| damage.accepted = true);
        }
        self.the_spool_is_left_alone(run)?;
        self.nothing_is_invented(run)?;
        self.nothing_published_is_lost(run)?;
        self.no_row_is_replaced_by_a_later_one(run)?;
        self.what_is_kept_stays(run)?;
        self.remember(run);
        match run.code {
            Some(code) => self.it_ended_right(run, code)?,
            None => self.unsettled = true,
        }
        if run.command.compacts() && matches!(run.code, Some(0 | 3)) {
            self.unsettled = false;
        }
        Ok(())
    }

    /// The rows of a partition that can be read from the archive now.
    fn rows(seen: &Seen, part: Part) -> BTreeSet<Row> {
        let rows = seen
            .states
            .get(&part)
            .and_then(|state| state.rows.clone().ok());
        rows.unwrap_or_default().into_iter().collect()
    }

    /// Whether every row of `content` is archived, as far as `rows` says what is.
    fn holds(content: &Content, rows: impl Fn(Part) -> BTreeSet<Row>) -> bool {
        let all: BTreeSet<Row> = content.parts().into_iter().flat_map(rows).collect();
        content.rows().iter().all(|row| all.contains(row))
    }

    /// The files of the spool that are input, with what they hold.
    fn input<'a>(&'a self, seen: &'a Seen) -> impl Iterator<Item = (&'a Version, Content)> {
        let known = seen
            .spool
            .values()
            .filter(|file| !self.odd.contains_key(&file.name));
        known.filter_map(|file| Some((file, *self.contents.get(&file.sha256)?)))
    }

    /// Promise 8: no file leaves the spool but by pruning, and then its rows are in the archive.
    fn the_spool_is_left_alone(&self, run: &Run) -> Verdict {
        for (name, before) in &run.before.spool {
            match run.after.spool.get(name) {
                Some(after) if after == before => {}
                Some(_) => return violated("no run changes a file of the spool", name.clone()),
                None if run.command != Command::Prune => {
                    return violated("only prune removes files", name.clone());
                }
                None => {
                    let Some(content) = self.contents.get(&before.sha256) else {
                        return violated("prune removes input only", name.clone());
                    };
                    let proven = |part| {
                        let agrees = run
                            .after
                            .states
                            .get(&part)
                            .is_some_and(|state| state.agrees);
                        if agrees {
                            Self::rows(run.after, part)
                        } else {
                            BTreeSet::new()
                        }
                    };
                    if !content.is_good() || !Self::holds(content, proven) {
                        let what = format!("{name} was removed ({content})");
                        return violated(
                            "prune removes no file whose rows are not all in the archive",
                            what,
                        );
                    }
                }
            }
        }
        for (name, after) in &run.after.spool {
            let retried = matches!(run.command, Command::Retry | Command::RetrySalvage);
            let kept = || {
                run.before
                    .entries
                    .iter()
                    .any(|entry| entry.sha256 == after.sha256)
            };
            if !(run.before.spool.contains_key(name) || retried && kept()) {
                return violated(
                    "no run puts a file into the spool but what is tried again",
                    name.clone(),
                );
            }
        }
        Ok(())
    }

    /// Promises 1, 2 and 7: the archive has rows of the spool only, none of them twice, in order.
    fn nothing_is_invented(&self, run: &Run) -> Verdict {
        for (part, state) in &run.after.states {
            if self.is_as_left(*part, state) {
                continue;
            }
            let rows = match &state.rows {
                Ok(rows) => rows,
                Err(why) => {
                    return violated("archived data reads, in order", format!("{part}: {why}"));
                }
            };
            let mut all = BTreeSet::new();
            for row in rows {
                if !self.recorded.contains(&(part.symbol, *row)) {
                    return violated(
                        "no row is in the archive that nobody recorded",
                        format!("{part}: {row:?}"),
                    );
                }
                if !all.insert(*row) {
                    return violated("no row is in the archive twice", format!("{part}: {row:?}"));
                }
            }
            let struck = self
                .damages
                .get(part)
                .is_some_and(|damage| damage.blow == Blow::ReceiptGone);
            if state.agrees && !state.receipt && !struck {
                return violated("published data has its receipt", part.to_string());
            }
        }
        Ok(())
    }

    /// Whether rows were taken from a partition and nothing has happened to its data since.
    fn is_as_left(&self, part: Part, state: &State) -> bool {
        self.damages
            .get(&part)
            .is_some_and(|damage| damage.takes_rows() && damage.left == state.sha256)
    }

    /// Promise 9: every row that was published is in the archive, unless somebody took it away;
    /// then nothing is published in its place that lacks it.
    fn nothing_published_is_lost(&self, run: &Run) -> Verdict {
        for (part, must) in &self.published {
            let (state, rows) = (run.after.states.get(part), Self::rows(run.after, *part));
            if must.is_subset(&rows) {
                continue;
            }
            let damage = self.damages.get(part).filter(|damage| damage.takes_rows());
            let lost: Vec<&Row> = must.difference(&rows).collect();
            match damage {
                None => {
                    return violated(
                        "a row that was published stays",
                        format!("{part}: lost {lost:?}"),
                    );
                }
                Some(damage)
                    if damage.accepted
                        || damage.left == state.and_then(|state| state.sha256.clone()) => {}
                Some(damage) => {
                    let what = format!("{part} after {:?}: without {lost:?}", damage.blow);
                    return violated("nothing is published over a loss", what);
                }
            }
        }
        Ok(())
    }

    /// Of the rows of one event that several collectors have, an earlier one takes the place of
    /// what was archived, and never a later one.
    fn no_row_is_replaced_by_a_later_one(&self, run: &Run) -> Verdict {
        for (part, known) in &self.arrivals {
            if self.damages.contains_key(part) {
                continue;
            }
            for (row, arrival) in run.after.arrivals(*part) {
                if known.get(&row).is_some_and(|known| *known < arrival) {
                    return violated(
                        "an archived row is replaced by an earlier one only",
                        format!("{part}: {row:?} of {} is of {arrival} now", known[&row]),
                    );
                }
            }
        }
        Ok(())
    }

    /// Nothing that is kept in QUARANTINE is lost, unless it was let go of on request, or its rows
    /// are in the archive.
    fn what_is_kept_stays(&self, run: &Run) -> Verdict {
        let after: BTreeSet<&String> = run.after.kept.values().collect();
        for (key, sha256) in &run.before.kept {
            let content = self.contents.get(sha256);
            let right = match run.command {
                Command::Discard => true,
                Command::Retry | Command::RetrySalvage if !after.contains(sha256) => content
                    .is_some_and(|c| {
                        c.is_good() && Self::holds(c, |part| Self::rows(run.after, part))
                    }),
                _ => after.contains(sha256),
            };
            if !right {
                return violated("what is kept in QUARANTINE stays", key.clone());
            }
        }
        let told = |entry: &Entry| {
            run.after
                .entries
                .iter()
                .any(|e| e.dir == entry.dir && e.sha256 == entry.sha256)
        };
        let retried = matches!(run.command, Command::Retry | Command::RetrySalvage);
        match run.before.entries.iter().find(|entry| !told(entry)) {
            Some(entry) if !retried => {
                violated("an entry of error.json stays", format!("{entry:?}"))
            }
            _ => Ok(()),
        }
    }

    fn note_adoption(&mut self, run: &Run) {
        let stand = |part: &Part| run.after.states.get(part).is_some_and(|state| state.agrees);
        match run.command {
            Command::Import(_) => {
                // One that was killed may have left the data only, which a compaction completes.
                let new = |part: &Part| {
                    run.after.states.contains_key(part) && !run.before.states.contains_key(part)
                };
                self.adopted.extend(Part::all().filter(new));
            }
            Command::Adopt => {
                let struck = |part: &Part| {
                    self.damages
                        .get(part)
                        .is_some_and(|d| d.blow == Blow::ReceiptGone)
                };
                self.adopted.extend(
                    Part::all()
                        .filter(|part| stand(part) && struck(part))
                        .collect::<Vec<_>>(),
                );
            }
            _ => {}
        }
    }

    fn remember(&mut self, run: &Run) {
        for (part, state) in &run.after.states {
            if self.damages.contains_key(part) && self.is_healed(*part, state, run.after) {
                // It may have been made anew, of what is left in the spool.
                let _ = self.arrivals.remove(part);
                if self.damages.remove(part).is_some_and(|d| d.accepted) {
                    let _ = self.published.remove(part);
                }
            }
            self.remember_state(*part, state);
        }
        // A retry compacts the partitions of its files, with all that has come since.
        if run.command.compacts() || matches!(run.command, Command::Retry | Command::RetrySalvage) {
            let archived = |content: &Content| {
                content.is_good() && Self::holds(content, |part| Self::rows(run.after, part))
            };
            let files = self
                .input(run.after)
                .filter(|(_, content)| archived(content));
            let files: Vec<Version> = files.map(|(version, _)| version.clone()).collect();
            self.archived.extend(files);
        }
    }

    /// What stands published now is published for good.
    pub fn remember_state(&mut self, part: Part, state: &State) {
        let (Some(data), Some(meta), Some(sha256), Ok(rows)) =
            (&state.data, &state.meta, &state.sha256, &state.rows)
        else {
            return;
        };
        if !state.agrees || self.damages.contains_key(&part) {
            return;
        }
        let arrivals = rows.iter().copied().zip(state.arrivals.iter().copied());
        self.arrivals.entry(part).or_default().extend(arrivals);
        let rows: BTreeSet<Row> = rows.iter().copied().collect();
        self.published.entry(part).or_default().extend(&rows);
        let all = self.generations.entry(part).or_default();
        if all.last().is_none_or(|last| last.sha256 != *sha256) {
            all.push(Generation {
                data: data.clone(),
                meta: meta.clone(),
                sha256: sha256.clone(),
                rows,
            });
        }
    }

    fn is_healed(&self, part: Part, state: &State, seen: &Seen) -> bool {
        let Some(damage) = self.damages.get(&part) else {
            return true;
        };
        let none = BTreeSet::new();
        let must = self.published.get(&part).unwrap_or(&none);
        match damage.blow {
            Blow::KeptGone => damage.saved.iter().all(|(key, _)| {
                let let_go = seen
                    .entries
                    .iter()
                    .any(|e| key.ends_with(&format!("{}/{}", e.dir, e.kept_as)) && e.discarded);
                seen.kept.contains_key(key) || let_go
            }),
            Blow::LaterEntries => false,
            _ if damage.accepted => state.agrees && state.receipt && damage.left != state.sha256,
            _ => state.agrees && state.receipt && must.is_subset(&Self::rows(seen, part)),
        }
    }

    /// Whether a file stands in the place of one that was archived, with its size and time: nothing
    /// but a read tells them apart, and no run has to read a file that it knows.
    fn is_shadowed(&self, file: &Version) -> bool {
        let like = |known: &&Version| {
            (&known.name, known.size, known.modified) == (&file.name, file.size, file.modified)
        };
        self.archived
            .iter()
            .filter(like)
            .any(|known| known.sha256 != file.sha256)
            && !self.archived.contains(file)
    }

    /// Whether other bytes of this name were archived. A file that has other rows now may have
    /// rotted, or be a new one: its rows are taken in, or it is kept in QUARANTINE.
    fn is_doubtful(&self, file: &Version) -> bool {
        self.archived
            .iter()
            .any(|known| known.name == file.name && known.sha256 != file.sha256)
    }

    /// The rows that count as archived: those whose bytes were damaged as well, because a run that
    /// has nothing to do does not read them.
    fn counted(&self, seen: &Seen, part: Part) -> BTreeSet<Row> {
        match self.damages.get(&part) {
            Some(damage) if damage.blow == Blow::Flip => {
                self.published.get(&part).cloned().unwrap_or_default()
            }
            _ => Self::rows(seen, part),
        }
    }

    /// Whether a file is accounted for: its rows are in the archive, or it is in QUARANTINE.
    fn is_accounted_for(&self, seen: &Seen, file: &Version, content: &Content) -> bool {
        if content.is_good() && Self::holds(content, |part| self.counted(seen, part)) {
            return true;
        }
        seen.entries
            .iter()
            .filter(|entry| entry.sha256 == file.sha256)
            .any(|entry| {
                let key = format!("QUARANTINE/{}/{}", entry.dir, entry.kept_as);
                let taken = self
                    .damages
                    .values()
                    .any(|d| d.blow == Blow::KeptGone && d.saved.iter().any(|(k, _)| *k == key));
                entry.discarded || taken || seen.kept.get(&key) == Some(&file.sha256)
            })
    }

    /// Whether a file of this content may have to wait until somebody has put the archive or the
    /// spool right.
    fn is_blocked(&self, content: &Content) -> bool {
        let struck = |part: &Part| self.damages.contains_key(part) || self.adopted.contains(part);
        let looped = |(odd, beside): &(Odd, Content)| {
            *odd == Odd::Loop && beside.spec.symbol == content.spec.symbol
        };
        // What cannot be read may be about any file of the series.
        let unread = self.damages.iter().any(|(part, damage)| {
            damage.blow == Blow::LaterEntries && part.symbol == content.spec.symbol
        });
        // A bad file whose name tells no day counts for the day on which it was made.
        let dayless = !content.is_good()
            && Part::all().any(|part| part.symbol == content.spec.symbol && struck(&part));
        unread || dayless || content.parts().iter().any(struck) || self.odd.values().any(looped)
    }

    /// Whether something is wrong that a run may end with 1 for.
    fn is_troubled(&self) -> bool {
        !self.damages.is_empty()
            || !self.adopted.is_empty()
            || self.odd.values().any(|(odd, _)| !odd.is_silent())
    }

    fn it_ended_right(&self, run: &Run, code: i32) -> Verdict {
        let right = match run.command {
            command if command.compacts() => return self.it_compacted_right(run, code),
            Command::Verify => return self.it_verified_right(run, code),
            Command::Prune => {
                let whole = |state: &State| state.agrees;
                let sound = |(file, content): (&Version, Content)| {
                    !self.is_doubtful(file)
                        && (content.is_good() || self.is_accounted_for(run.after, file, &content))
                };
                let calm = !self.is_troubled()
                    && run.after.states.values().all(whole)
                    && self.input(run.before).all(sound)
                    && !self.unsettled;
                code == 0 || !calm && [1, 4].contains(&code)
            }
            Command::Clean => code == 0,
            Command::Import(_) | Command::Adopt => [0, 1, 4].contains(&code),
            Command::Discard => [0, 2].contains(&code) || self.is_troubled() && code == 1,
            _ => [0, 1, 3, 4].contains(&code),
        };
        if right {
            Ok(())
        } else {
            violated(
                "a run ends with the code of what came of it",
                format!("{:?} ended with {code}", run.command),
            )
        }
    }

    /// Promises 1, 6 and 7.
    fn it_compacted_right(&self, run: &Run, code: i32) -> Verdict {
        let done = code == 0 || code == 3;
        if !done && code != 1 {
            return violated(
                "a compaction ends with 0, 1 or 3",
                format!("it ended with {code}"),
            );
        }
        if code == 1 && !self.is_troubled() {
            return violated(
                "a compaction does not fail where nothing is wrong but files",
                "it ended with 1",
            );
        }
        for (file, content) in self.input(run.after) {
            if self.is_shadowed(file) || self.is_accounted_for(run.after, file, &content) {
                continue;
            }
            let what = format!(
                "{} ({content}) is neither in the archive nor in QUARANTINE; exit code {code}",
                file.name
            );
            if done {
                return violated(
                    "a compaction ends with 0 or 3 only when every file is accounted for",
                    what,
                );
            }
            if !self.is_blocked(&content) {
                return violated("what is wrong elsewhere does not stop a file", what);
            }
        }
        let open = |(odd, content): &&(Odd, Content)| {
            odd.holds_rows() && !Self::holds(content, |part| Self::rows(run.after, part))
        };
        if let (0, Some((odd, content))) = (code, self.odd.values().find(open)) {
            let what = format!("{odd:?} ({content}) is not in the archive");
            return violated("no Parquet file is passed over in silence", what);
        }
        if done {
            let undone =
                |(part, state): &(&Part, &State)| !state.agrees && !self.damages.contains_key(part);
            if let Some((part, _)) = run.after.states.iter().find(undone) {
                return violated(
                    "the next run completes an interrupted publish",
                    part.to_string(),
                );
            }
            if let Some((part, damage)) = self
                .damages
                .iter()
                .find(|(_, damage)| damage.blow == Blow::MetaGone)
            {
                let what = format!("{part} after {:?}", damage.blow);
                return violated("the next run completes an interrupted publish", what);
            }
        }
        if self.is_troubled() {
            return Ok(());
        }
        let told = |file: &Version| {
            run.before
                .entries
                .iter()
                .any(|entry| entry.sha256 == file.sha256)
        };
        let retried = run.before.entries.iter().any(|entry| entry.retry);
        let (mut bad, mut doubtful) = (None, self.unsettled || retried);
        for (file, content) in self.input(run.before) {
            if self.is_shadowed(file) || self.is_doubtful(file) {
                doubtful = true;
            } else if !content.is_good() && !told(file) {
                bad = Some(file.name.clone());
            } else if !content.is_good() {
                // Under another name the same bytes may be told of once more.
                let here = |entry: &Entry| entry.sha256 == file.sha256 && entry.source == file.name;
                doubtful |= !run.before.entries.iter().any(here);
            }
        }
        match (bad, code) {
            (Some(name), 0) => violated("what goes to QUARANTINE shows in the exit code", name),
            (None, 3) if !doubtful => violated(
                "a compaction ends with 0 when all is in the archive",
                "it ended with 3",
            ),
            _ => Ok(()),
        }
    }

    /// Promises 5 and 9: `verify` ends with 0 exactly when the archive is right.
    fn it_verified_right(&self, run: &Run, code: i32) -> Verdict {
        let torn = run
            .after
            .states
            .iter()
            .find(|(_, state)| !state.agrees)
            .map(|(part, _)| part.to_string());
        let (mut wrong, mut open) = (torn.map(|part| format!("{part} is torn")), false);
        for (part, damage) in &self.damages {
            match damage.blow {
                // Whether what is kept of a whole file is missing is for an audit of QUARANTINE to
                // find; what a receipt bills to QUARANTINE is part of the proof.
                Blow::KeptGone if !self.is_billed(run.after, damage) => open = true,
                Blow::LaterEntries => open = true,
                _ if damage.accepted => open = true,
                blow => wrong = Some(format!("{part} after {blow:?}")),
            }
        }
        match (wrong, code) {
            (Some(what), 0) => violated("verify finds what is wrong with the archive", what),
            (None, 1..) if !open => violated(
                "verify finds nothing where nothing is wrong",
                format!("it ended with {code}"),
            ),
            _ => Ok(()),
        }
    }

    /// Whether a receipt bills rows to what was deleted from QUARANTINE, and they are not in the
    /// archive by now.
    fn is_billed(&self, seen: &Seen, damage: &Damage) -> bool {
        damage.saved.iter().any(|(key, bytes)| {
            let named =
                |entry: &&Entry| *key == format!("QUARANTINE/{}/{}", entry.dir, entry.kept_as);
            let Some(entry) = seen
                .entries
                .iter()
                .find(named)
                .filter(|entry| entry.salvaged && !entry.discarded)
            else {
                return false;
            };
            let content = self
                .contents
                .get(&entry.sha256)
                .map(|c| c.harmed(Harm::None));
            !bytes.is_empty()
                && content.is_some_and(|c| !Self::holds(&c, |part| Self::rows(seen, part)))
        })
    }

    /// Of each row of a partition the earliest one is archived of those that good files in the
    /// spool have.
    pub fn the_earliest_stand(&self, seen: &Seen, part: Part) -> Verdict {
        let good: Vec<Content> = self
            .input(seen)
            .filter(|(file, content)| {
                content.is_good() && !self.is_shadowed(file) && !self.is_doubtful(file)
            })
            .map(|(_, content)| content)
            .collect();
        for (row, arrival) in seen.arrivals(part) {
            let has = |content: &&Content| {
                content.spec.symbol == part.symbol && content.rows().contains(&row)
            };
            let arrivals = good.iter().filter(has);
            let earliest = arrivals
                .map(|content| row.arrival(content.spec.collector))
                .min();
            if earliest.is_some_and(|earliest| earliest < arrival) {
                return violated(
                    "of two rows of one event the earlier one is archived",
                    format!("{part}: {row:?} has {arrival}, and {earliest:?} is in the spool"),
                );
            }
        }
        Ok(())
    }

    /// The partitions whose data must be what one run makes of all their rows, with these as they
    /// stand there: those whose rows all have a `seq` of their own, in data that is qlc's.
    pub fn determined(&self, seen: &Seen) -> Vec<(Part, Vec<Row>)> {
        let numbered: BTreeSet<u32> = self
            .contents
            .values()
            .filter(|c| !c.spec.seq)
            .map(|c| c.spec.id)
            .collect();
        let fit = |part: &Part| !self.damages.contains_key(part) && !self.adopted.contains(part);
        let all = seen
            .states
            .iter()
            .filter(|(part, state)| state.agrees && fit(part));
        let all = all.map(|(part, state)| (*part, state.rows.clone().unwrap_or_default()));
        all.filter(|(_, rows)| {
            !rows.is_empty()
                && !rows
                    .iter()
                    .any(|row| numbered.contains(&(row.id / MOST_ROWS)))
        })
        .collect()
    }
}

/// What a blow needs to be dealt: the objects that change, each with what comes in its place.
pub fn blow(
    model: &Model,
    seen: &Seen,
    part: Part,
    blow: Blow,
) -> Option<Vec<(String, Option<Vec<u8>>)>> {
    if model.damages.contains_key(&part) {
        return None;
    }
    let folder = format!("QUARANTINE/{}", part.dir());
    if blow == Blow::KeptGone {
        let kept = seen
            .kept
            .keys()
            .find(|key| key.rsplit_once('/').is_some_and(|(dir, _)| dir == folder))?;
        return Some(vec![(kept.clone(), None)]);
    }
    if blow == Blow::LaterEntries {
        return Some(vec![(
            format!("{folder}/error.json"),
            Some(later(seen.errors.get(&part)?)),
        )]);
    }
    let state = seen
        .states
        .get(&part)
        .filter(|state| state.agrees && state.receipt)?;
    let (data_key, meta_key) = (
        format!("{}/data.parquet", part.dir()),
        format!("{}/meta.json", part.dir()),
    );
    Some(match blow {
        Blow::Vanish => vec![(data_key, None), (meta_key, None)],
        Blow::RollBack => {
            let now = model.published.get(&part)?;
            let older = |one: &&Generation| one.rows.len() < now.len();
            let old = model.generations.get(&part)?.iter().rev().find(older)?;
            vec![
                (data_key, Some(old.data.clone())),
                (meta_key, Some(old.meta.clone())),
            ]
        }
        Blow::Flip => {
            let mut data = state.data.clone()?;
            let middle = data.len() / 3;
            data[middle] ^= 0x10;
            vec![(data_key, Some(data))]
        }
        Blow::MetaGone => vec![(meta_key, None)],
        Blow::ReceiptGone => vec![(receipt_key(part, state.sha256.as_ref()?), None)],
        Blow::KeptGone | Blow::LaterEntries => return None,
    })
}

/// What a later version names its new kinds of errors.
const LATER: &str = "OF_A_LATER_VERSION";

/// An `error.json` as a later version would write it.
fn later(bytes: &[u8]) -> Vec<u8> {
    renamed(bytes, |_| true, LATER)
}

/// One that this version reads again.
pub fn readable(bytes: &[u8]) -> Vec<u8> {
    renamed(bytes, |kind| kind == LATER, "TRUNCATED")
}

fn renamed(bytes: &[u8], meant: impl Fn(&str) -> bool, kind: &str) -> Vec<u8> {
    let mut file: Value = serde_json::from_slice(bytes).unwrap();
    let rename = |entry: &mut Value| {
        if entry["error_type"].as_str().is_some_and(&meant) {
            entry["error_type"] = kind.into();
        }
    };
    file["files"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .for_each(rename);
    rename(&mut file);
    serde_json::to_vec_pretty(&file).unwrap()
}
