//! What is to be done with a partition: a pure decision from what is in spool, archive and
//! quarantine.
//!
//! "Nothing to do" carries its reason like every other decision.

use std::{collections::BTreeMap, sync::Arc};

use arrow::buffer::BooleanBuffer;

use super::report::Action;
use crate::{
    archive::state::{Loss, State, advice},
    model::{
        count::{self, plural},
        date::Date,
        layout,
        partition::Partition,
        receipt::{
            Content, FileCopy, LostSource, Receipt, RowGroup, SeqOrigin, Source, are_of_several,
            rows_lost,
        },
        schema::Units,
    },
    storage::store::Object,
};

/// A file of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolFile {
    /// As it is listed.
    pub object: Object,
    /// The last part of its key.
    pub file: String,
    /// The day it belongs to, where its folder or name tells.
    pub home: Option<Date>,
}

impl SpoolFile {
    /// What a receipt says of it where it holds the rows of the file at `copy_of`.
    #[must_use]
    pub fn as_copy_of(&self, copy_of: &str) -> FileCopy {
        FileCopy {
            name: self.object.key.clone(),
            size: self.object.size,
            modified_us: self.object.modified_us,
            copy_of: copy_of.to_owned(),
        }
    }
}

/// Key, size and time of a spool file. They may spare reading a file that nothing is to be done
/// with; that a file's rows are in the archive is told by the rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Its key.
    pub key: String,
    /// Its size.
    pub size: u64,
    /// When it was last changed.
    pub modified_us: i64,
}

impl Identity {
    /// That of a file whose rows `source` had.
    #[must_use]
    pub fn of_source(source: &Source) -> Self {
        Self {
            key: source.name.clone(),
            size: source.size,
            modified_us: source.modified_us,
        }
    }
}

/// The identity of `file`.
#[must_use]
pub fn identity(file: &SpoolFile) -> Identity {
    let Object {
        key,
        size,
        modified_us,
        ..
    } = &file.object;
    Identity {
        key: key.clone(),
        size: *size,
        modified_us: *modified_us,
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing, because.
    Nothing(String),
    /// Write the meta of data that an interrupted run has left.
    Complete(Box<Receipt>),
    /// Compact.
    Build(Build),
    /// Note in the receipt that these feeding files hold nothing but rows that the archive has,
    /// because.
    Record {
        /// The files, as indices into the feeding files.
        files: Vec<usize>,
        /// Why.
        reason: String,
    },
    /// Record that an operator accepts a loss, then decide again.
    AcceptLoss {
        /// The generation that is gone.
        loss: Box<Loss>,
        /// What of it is nowhere.
        lost: Vec<LostSource>,
    },
    /// Touch nothing, because.
    Fail(String),
}

impl Decision {
    /// What a dry run calls it. Noting files in a receipt changes no row, so that it is nothing.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Nothing(_) | Self::Record { .. } => Action::Nothing,
            Self::Complete(_) => Action::Complete,
            Self::Build(_) => Action::Compact,
            Self::AcceptLoss { .. } => Action::AcceptLoss,
            Self::Fail(_) => Action::Fail,
        }
    }
}

/// What a new generation is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The files to read, as indices into the feeding files.
    pub files: Vec<usize>,
    /// Archived data to read besides them.
    pub base: Option<Box<Receipt>>,
    /// The generation whose every row the new one must have.
    pub replaces: Option<Box<Receipt>>,
    /// Whether there are more files, which can be held against the rows of this generation when it
    /// stands.
    pub is_part: bool,
    /// Why.
    pub reason: String,
}

/// What is known of the rows of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Knowledge {
    /// The archive does not have them, but for those of these row groups.
    New {
        /// Row groups that were taken in from an earlier, damaged version of the file.
        known_groups: Vec<usize>,
    },
    /// The archive has them: they are those of a source of the receipt.
    Known {
        /// The source.
        content: Content,
        /// Whether only name, size and time say so. It has to be read before anything is built.
        unread: bool,
    },
    /// Its bytes are in QUARANTINE.
    Quarantined,
}

/// A file that may hold rows of the partition's day, and what is known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feeding {
    /// The file.
    pub file: SpoolFile,
    /// What is known of its rows.
    pub knowledge: Knowledge,
    /// What its rows are known by, where it was read.
    pub content: Option<Content>,
    /// The row groups that are left out because they do not read.
    pub lost: Vec<usize>,
    /// What holding its rows against the archived ones showed, where that was done.
    pub compared: Option<Arc<Compared>>,
}

/// What holding the rows of a file against those of the archived data showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Which of its rows, by their place in the file, the data has.
    pub rows: BooleanBuffer,
    /// How many these are.
    pub known: u64,
    /// Its rows of this day.
    pub here: u64,
    /// Its rows of other days.
    pub elsewhere: BTreeMap<Date, u64>,
    /// Its rows without a permitted day.
    pub unplaced: u64,
    /// What its rows are known by.
    pub content: Content,
    /// The units of its columns.
    pub units: Units,
    /// Its row groups.
    pub row_groups: Vec<RowGroup>,
}

impl Default for Compared {
    fn default() -> Self {
        Self {
            rows: BooleanBuffer::new_unset(0),
            known: 0,
            here: 0,
            elsewhere: BTreeMap::new(),
            unplaced: 0,
            content: Content::default(),
            units: Units::new(),
            row_groups: Vec::new(),
        }
    }
}

impl Compared {
    /// Whether the data has every row of this day.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.here > 0 && self.known == self.here
    }

    /// What a receipt says of `file`, which adds no row.
    #[must_use]
    pub fn source(&self, file: &SpoolFile) -> Source {
        Source {
            name: file.object.key.clone(),
            size: file.object.size,
            modified_us: file.object.modified_us,
            rows: self.content.rows,
            row_hash: self.content.row_hash,
            units: self.units.clone(),
            rows_here: 0,
            rows_copies: 0,
            rows_elsewhere: self.elsewhere.clone(),
            rows_quarantined: 0,
            rows_known: self.known,
            row_groups: if self.row_groups.len() > 1 {
                self.row_groups.clone()
            } else {
                Vec::new()
            },
            seq_assigned: false,
            by_base: false,
            compacted: false,
        }
    }
}

impl Feeding {
    fn is_new(&self) -> bool {
        matches!(self.knowledge, Knowledge::New { .. })
    }

    /// Whose rows it has, where the archive has them.
    #[must_use]
    pub fn known(&self) -> Option<Content> {
        match self.knowledge {
            Knowledge::Known { content, .. } => Some(content),
            Knowledge::New { .. } | Knowledge::Quarantined => None,
        }
    }

    /// Whether the archive has every row of it: then the receipt may say so, and nothing is built.
    fn adds_nothing(&self) -> bool {
        self.lost.is_empty()
            && self
                .compared
                .as_ref()
                .is_some_and(|found| found.is_known() && found.unplaced == 0)
    }

    fn is_quarantined(&self) -> bool {
        self.knowledge == Knowledge::Quarantined
    }
}

/// Whether `source` has the name, size and time of this file.
#[must_use]
pub fn is_source(source: &Source, file: &SpoolFile) -> bool {
    (source.name.as_str(), source.size, source.modified_us)
        == (
            file.object.key.as_str(),
            file.object.size,
            file.object.modified_us,
        )
}

/// The same of a copy of a source.
#[must_use]
pub fn is_copy(copy: &FileCopy, file: &SpoolFile) -> bool {
    (copy.name.as_str(), copy.size, copy.modified_us)
        == (
            file.object.key.as_str(),
            file.object.size,
            file.object.modified_us,
        )
}

/// What an operator wants besides what is usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes {
    /// Compact what is up to date, and today.
    pub force: bool,
    /// Go on where a published generation is gone, without the rows of it that are nowhere.
    pub accept_loss: bool,
}

/// Decides on `partition`. `today` is never compacted unless that is forced.
#[must_use]
pub fn decide(
    partition: &Partition,
    today: Date,
    feeding: &[Feeding],
    state: &State,
    wishes: Wishes,
) -> Decision {
    if partition.date >= today && !wishes.force {
        let day = if partition.date == today {
            "today is not over"
        } else {
            "the day lies in the future"
        };
        return Decision::Nothing(format!("{day}; --force compacts what is there"));
    }
    let held = feeding.iter().filter(|f| f.is_quarantined()).count();
    let in_quarantine = if held == 0 {
        String::new()
    } else {
        format!("; {} in QUARANTINE", plural(held, "file"))
    };
    let usable: Vec<usize> = feeding
        .iter()
        .enumerate()
        .filter(|(_, f)| !f.is_quarantined())
        .map(|(i, _)| i)
        .collect();
    let receipt = match state {
        State::Empty if usable.is_empty() => {
            return Decision::Nothing(format!(
                "no file of the spool holds rows of this day{in_quarantine}"
            ));
        }
        State::Empty => {
            let reason = format!("new in the archive{in_quarantine}");
            return Decision::Build(Build {
                files: usable,
                base: None,
                replaces: None,
                is_part: false,
                reason,
            });
        }
        State::Interrupted(receipt) => return Decision::Complete(receipt.clone()),
        State::Lost(loss) => return after_loss(feeding, loss, state, wishes, &in_quarantine),
        State::Unproven(why) => {
            return Decision::Fail(format!("{why}; {}", advice(state).unwrap_or_default()));
        }
        State::Published(published) => published.receipt(),
    };
    let new: Vec<usize> = usable
        .iter()
        .copied()
        .filter(|i| feeding.get(*i).is_some_and(Feeding::is_new))
        .collect();
    let of_several = has_several_collectors(receipt, feeding, &usable);
    // A file and its copies stand for one source; two collectors may have a source each with the
    // same rows.
    let known = if of_several {
        once_each(feeding, &usable)
    } else {
        usable.clone()
    };
    let at_hand = known
        .iter()
        .filter_map(|i| feeding.get(*i)?.known())
        .map(|content| (content, u64::MAX));
    let gone = receipt.missing_from(at_hand).len();
    if new.is_empty() && !wishes.force {
        let sources = plural(
            usize::try_from(receipt.source_files()).unwrap_or(usize::MAX),
            "file",
        );
        let left = if gone == 0 {
            String::new()
        } else {
            format!(", {gone} of which left the spool since")
        };
        return Decision::Nothing(format!(
            "up to date: the archive holds all {} of {sources}{left}{in_quarantine}",
            count::rows(receipt.outcome.rows)
        ));
    }
    if !new.is_empty()
        && !wishes.force
        && new
            .iter()
            .all(|i| feeding.get(*i).is_some_and(Feeding::adds_nothing))
    {
        let reason = format!(
            "up to date: the archived data holds every row of {}{in_quarantine}",
            plural(new.len(), "new file")
        );
        return Decision::Record { files: new, reason };
    }
    let why = if new.is_empty() {
        "forced".to_owned()
    } else {
        plural(new.len(), "new file")
    };
    let replaces = Some(Box::new(receipt.clone()));
    // Archived rows are taken from the archive: whatever has become of their files since, they stay
    // as they are. Only numbers that qlc gave depend on all files without `seq`, so while these are
    // there they are numbered together.
    let is_own = receipt.outcome.seq == SeqOrigin::Source;
    if gone == 0 && (!is_own || of_several) && !receipt.left_rows_out() {
        let files = once_each(feeding, &usable);
        let reason = format!("{why}{in_quarantine}");
        return Decision::Build(Build {
            files,
            base: None,
            replaces,
            is_part: false,
            reason,
        });
    }
    let left = match gone {
        0 => String::new(),
        n => format!(
            "; the archived data has the rows of {} that left the spool",
            plural(n, "file")
        ),
    };
    let reason = format!("{why}{left}{in_quarantine}");
    // Beside the rows of another collector, a row that a collector has twice is told from a copy
    // only while all its files are read.
    let files = if of_several && !receipt.holds_unnamed() {
        once_each(feeding, &usable)
            .into_iter()
            .filter(|i| is_read_again(feeding, receipt, *i))
            .collect()
    } else {
        new
    };
    Decision::Build(Build {
        files,
        base: replaces.clone(),
        replaces,
        is_part: false,
        reason,
    })
}

/// Of files of one collector and the same content the first, so that known rows are read once.
fn once_each(feeding: &[Feeding], chosen: &[usize]) -> Vec<usize> {
    let mut seen = std::collections::BTreeSet::new();
    let is_first = |index: &usize| {
        let known = feeding
            .get(*index)
            .and_then(|f| Some((layout::collector_of(&f.file.object.key), f.known()?)));
        known.is_none_or(|known| seen.insert(known))
    };
    chosen.iter().copied().filter(is_first).collect()
}

/// Whether more than one collector gave what is archived and what is at hand.
fn has_several_collectors(receipt: &Receipt, feeding: &[Feeding], chosen: &[usize]) -> bool {
    let archived = receipt.sources.iter().map(|source| source.name.as_str());
    let at_hand = chosen
        .iter()
        .filter_map(|i| feeding.get(*i))
        .map(|f| f.file.object.key.as_str());
    are_of_several(archived.chain(at_hand))
}

/// Whether a file is read beside the archived data of several collectors. Rows that qlc numbered
/// come with that data: read again, they would get other numbers. So do those of a damaged file,
/// which its good copy has as well.
fn is_read_again(feeding: &[Feeding], receipt: &Receipt, index: usize) -> bool {
    let Some(content) = feeding.get(index).and_then(Feeding::known) else {
        return true;
    };
    !receipt
        .sources
        .iter()
        .any(|source| source.content() == content && (source.seq_assigned || source.is_partial()))
}

/// A published generation is gone: it is built anew where all of its rows can be read, and given up
/// only on request.
fn after_loss(
    feeding: &[Feeding],
    loss: &Loss,
    state: &State,
    wishes: Wishes,
    in_quarantine: &str,
) -> Decision {
    let what_to_do = advice(state).unwrap_or_default();
    let Some(newest) = &loss.newest else {
        if wishes.accept_loss {
            return Decision::AcceptLoss {
                loss: Box::new(loss.clone()),
                lost: Vec::new(),
            };
        }
        return Decision::Fail(format!("{loss}, and so is its receipt; {what_to_do}"));
    };
    let standing: BTreeMap<Content, u64> = loss
        .standing
        .iter()
        .flat_map(|s| &s.sources)
        .map(|source| (source.content(), source.rows_of_day()))
        .collect();
    let usable: Vec<usize> = (0..feeding.len())
        .filter(|i| feeding.get(*i).is_some_and(|f| !f.is_quarantined()))
        .collect();
    // Where rows were held against the lost ones, nothing but the files that gave rows may give
    // them again. The others are looked at when there is something to hold them against.
    let gave_rows = |content: Content| {
        newest
            .sources
            .iter()
            .any(|s| s.content() == content && s.rows_known == 0)
    };
    // Beside the rows of another collector, files whose rows stand are read again as well.
    let of_several = has_several_collectors(newest, feeding, &usable) && !newest.holds_unnamed();
    let all = once_each(feeding, &usable).into_iter().filter(|i| {
        let stands = feeding
            .get(*i)
            .and_then(Feeding::known)
            .is_some_and(|content| standing.contains_key(&content));
        !stands || (of_several && is_read_again(feeding, newest, *i))
    });
    let (files, others): (Vec<usize>, Vec<usize>) = all.partition(|i| {
        !newest.left_rows_out()
            || feeding
                .get(*i)
                .and_then(Feeding::known)
                .is_some_and(gave_rows)
    });
    let read = files
        .iter()
        .filter_map(|i| feeding.get(*i)?.known())
        .map(|content| (content, u64::MAX));
    let lost =
        newest.missing_from(read.chain(standing.iter().map(|(content, rows)| (*content, *rows))));
    if lost.is_empty() {
        return Decision::Build(Build {
            files,
            base: loss.standing.clone().map(Box::new),
            replaces: Some(Box::new(newest.clone())),
            is_part: !others.is_empty(),
            reason: format!("{loss}; all of its rows can be read{in_quarantine}"),
        });
    }
    if wishes.accept_loss {
        return Decision::AcceptLoss {
            loss: Box::new(loss.clone()),
            lost,
        };
    }
    let rows = rows_lost(&lost);
    let first = lost
        .first()
        .map(|source| source.name.as_str())
        .unwrap_or_default();
    let others = if lost.len() > 1 {
        format!(" and {}", plural(lost.len() - 1, "other"))
    } else {
        String::new()
    };
    Decision::Fail(format!(
        "{loss}; {} of {first}{others} are nowhere else; {what_to_do}",
        count::rows(rows)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        archive::state::{DataState, PartitionFacts, Unproven, judge},
        model::{
            receipt::{DataRecord, RECEIPT_VERSION},
            row_hash::RowHash,
        },
    };

    fn partition() -> Partition {
        serde_json::from_str(
            r#"{"exchange":"binance","stream":"bbo","symbol":"btcusdt","date":"20260203"}"#,
        )
        .unwrap()
    }

    /// The content of the file or source of this name.
    fn content(name: &str) -> Content {
        let hash = name.bytes().next().unwrap();
        Content {
            rows: 5,
            row_hash: format!("1:{hash:016x}").parse().unwrap(),
            ..Content::default()
        }
    }

    fn file(name: &str, knowledge: Knowledge) -> Feeding {
        let object = Object {
            key: name.to_owned(),
            size: 1,
            modified_us: 1,
            tag: None,
        };
        let file = SpoolFile {
            object,
            file: name.to_owned(),
            home: None,
        };
        Feeding {
            file,
            knowledge,
            content: Some(content(name)),
            lost: Vec::new(),
            compared: None,
        }
    }

    fn new(name: &str) -> Feeding {
        file(
            name,
            Knowledge::New {
                known_groups: Vec::new(),
            },
        )
    }

    fn known(name: &str) -> Feeding {
        file(
            name,
            Knowledge::Known {
                content: content(name),
                unread: false,
            },
        )
    }

    fn receipt(sources: &[&str], seq: SeqOrigin) -> Receipt {
        let source = |name: &&str| Source {
            name: (*name).to_owned(),
            size: 1,
            modified_us: 1,
            rows: 5,
            row_hash: content(name).row_hash,
            units: Units::new(),
            rows_here: 5,
            rows_copies: 0,
            rows_elsewhere: BTreeMap::default(),
            rows_quarantined: 0,
            rows_known: 0,
            row_groups: Vec::new(),
            seq_assigned: false,
            by_base: false,
            compacted: false,
        };
        Receipt {
            receipt_version: RECEIPT_VERSION,
            qlc_version: "0".to_owned(),
            partition: partition(),
            created_at: String::new(),
            task: None,
            adopted: false,
            generation: 1,
            replaces: None,
            accepted_loss: Vec::new(),
            outcome: DataRecord {
                sha256: "a".repeat(64),
                bytes: 1,
                rows: 5 * sources.len() as u64,
                row_hash: sources.iter().map(|name| content(name).row_hash).sum(),
                ts_event_min_ns: 0,
                ts_event_max_ns: 0,
                seq,
                brought_to: None,
                zstd_level: None,
                encoding: crate::model::receipt::FIRST_ENCODING,
            },
            rows_in: 5 * sources.len() as u64,
            row_hash_in: RowHash::EMPTY,
            row_hash_out: RowHash::EMPTY,
            merge: None,
            plan: Vec::new(),
            base: None,
            sources: sources.iter().map(source).collect(),
            left_out: Vec::new(),
            copies: Vec::new(),
        }
    }

    fn published(receipt: Receipt) -> State {
        let meta = Some(Some(receipt.meta()));
        judge(PartitionFacts {
            data: Some(DataState::Vouched(Box::new(receipt))),
            meta,
            ..PartitionFacts::default()
        })
    }

    fn check(feeding: &[Feeding], state: &State, wishes: Wishes, expected: &str) {
        let today = "20260204".parse().unwrap();
        let told = match decide(&partition(), today, feeding, state, wishes) {
            Decision::Nothing(why) => format!("nothing: {why}"),
            Decision::Complete(_) => "complete".to_owned(),
            Decision::Record { files, reason } => format!("record {files:?}: {reason}"),
            Decision::Build(Build {
                files,
                base,
                replaces,
                reason,
                ..
            }) => {
                assert_eq!(
                    replaces.is_some(),
                    !matches!(state, State::Empty),
                    "{reason}"
                );
                format!("build {files:?} base {}: {reason}", base.is_some())
            }
            Decision::AcceptLoss { lost, .. } => format!("accept the loss of {}", lost.len()),
            Decision::Fail(why) => format!("fail: {why}"),
        };
        assert_eq!(told, expected);
    }

    const USUAL: Wishes = Wishes {
        force: false,
        accept_loss: false,
    };
    const FORCE: Wishes = Wishes {
        force: true,
        accept_loss: false,
    };
    const ACCEPT_LOSS: Wishes = Wishes {
        force: false,
        accept_loss: true,
    };

    #[test]
    fn every_state_has_its_decision() {
        let of = |names: &[&str]| published(receipt(names, SeqOrigin::Source));
        check(
            &[],
            &State::Empty,
            USUAL,
            "nothing: no file of the spool holds rows of this day",
        );
        check(
            &[new("a")],
            &State::Empty,
            USUAL,
            "build [0] base false: new in the archive",
        );
        check(
            &[known("a")],
            &of(&["a"]),
            USUAL,
            "nothing: up to date: the archive holds all 5 rows of 1 file",
        );
        check(
            &[],
            &of(&["a"]),
            USUAL,
            "nothing: up to date: the archive holds all 5 rows of 1 file, 1 of which left the spool since",
        );
        // Archived rows come from the archive, whether their files are still there or not.
        check(
            &[known("a")],
            &of(&["a"]),
            FORCE,
            "build [] base true: forced",
        );
        check(
            &[known("a"), new("b")],
            &of(&["a"]),
            USUAL,
            "build [1] base true: 1 new file",
        );
        let gone = "build [0] base true: 1 new file; the archived data has the rows of 1 file that left the spool";
        check(&[new("b")], &of(&["a"]), USUAL, gone);
        let interrupted = State::Interrupted(Box::new(receipt(&["a"], SeqOrigin::Source)));
        check(&[known("a")], &interrupted, USUAL, "complete");
        let unproven = State::Unproven(Unproven::MetaWithoutData);
        check(
            &[new("a")],
            &unproven,
            FORCE,
            "fail: meta.json is there without its data.parquet; restore the data from a backup, or remove meta.json",
        );
        let bad = file("b", Knowledge::Quarantined);
        check(
            &[known("a"), bad.clone()],
            &of(&["a"]),
            USUAL,
            "nothing: up to date: the archive holds all 5 rows of 1 file; 1 file in QUARANTINE",
        );
        let only_bad = "nothing: no file of the spool holds rows of this day; 1 file in QUARANTINE";
        check(&[bad], &State::Empty, USUAL, only_bad);
    }

    #[test]
    fn files_that_are_numbered_are_numbered_together_while_they_are_there() {
        let of = |names: &[&str]| published(receipt(names, SeqOrigin::Assigned));
        check(
            &[known("a"), new("b")],
            &of(&["a"]),
            USUAL,
            "build [0, 1] base false: 1 new file",
        );
        check(
            &[known("a"), known("a"), new("b")],
            &of(&["a"]),
            USUAL,
            "build [0, 2] base false: 1 new file",
        );
        let gone = "build [0] base true: 1 new file; the archived data has the rows of 1 file that left the spool";
        check(&[new("b")], &of(&["a"]), USUAL, gone);
    }

    #[test]
    fn rows_that_the_archive_has_are_not_taken_in_again() {
        let adopted = |names: &[&str]| {
            published(Receipt {
                adopted: true,
                ..receipt(names, SeqOrigin::Source)
            })
        };
        let compared = |name: &str, known: u64, unplaced: u64| {
            let found = Compared {
                known,
                here: 5,
                unplaced,
                content: content(name),
                ..Compared::default()
            };
            Feeding {
                compared: Some(Arc::new(found)),
                ..new(name)
            }
        };
        let recorded = "record [0]: up to date: the archived data holds every row of 1 new file";
        let built = "build [0] base true: 1 new file; the archived data has the rows of 1 file that left the spool";
        check(&[compared("b", 5, 0)], &adopted(&["d"]), USUAL, recorded);
        check(&[compared("b", 4, 0)], &adopted(&["d"]), USUAL, built);
        check(&[compared("b", 0, 0)], &adopted(&["d"]), USUAL, built);
        check(&[compared("b", 5, 1)], &adopted(&["d"]), USUAL, built);
        let both = "build [0, 1] base true: 2 new files; the archived data has the rows of 1 file that left the spool";
        check(
            &[compared("b", 5, 0), compared("c", 0, 0)],
            &adopted(&["d"]),
            USUAL,
            both,
        );
        // Files whose rows were left out are never read without the data that has these rows.
        let mixed = Receipt {
            adopted: true,
            ..receipt(&["d"], SeqOrigin::Mixed)
        };
        check(
            &[known("d"), compared("b", 4, 0)],
            &published(mixed),
            USUAL,
            "build [1] base true: 1 new file",
        );
    }

    #[test]
    fn a_lost_generation_is_built_anew_or_given_up_on_request() {
        let newest = receipt(&["a", "b"], SeqOrigin::Source);
        let lost = |standing: Option<&[&str]>| {
            State::Lost(Box::new(Loss {
                generation: 2,
                sha256: "b".repeat(64),
                newest: Some(newest.clone()),
                standing: standing.map(|names| receipt(names, SeqOrigin::Source)),
            }))
        };
        let begins = |feeding: &[Feeding], state: &State, expected: &str| {
            let Decision::Fail(why) = decide(
                &partition(),
                "20260204".parse().unwrap(),
                feeding,
                state,
                USUAL,
            ) else {
                panic!("not refused")
            };
            assert!(why.contains(expected), "{why}");
        };
        begins(
            &[],
            &lost(None),
            "10 rows of a and 1 other are nowhere else",
        );
        begins(&[known("a")], &lost(None), "5 rows of b are nowhere else");
        begins(
            &[new("c")],
            &lost(Some(&["a"])),
            "5 rows of b are nowhere else",
        );
        check(
            &[known("a")],
            &lost(None),
            ACCEPT_LOSS,
            "accept the loss of 1",
        );
        let gone = format!(
            "generation 2 of 10 rows was published and its data.parquet is gone (sha256 {})",
            "b".repeat(64)
        );
        let at_hand = format!("{gone}; all of its rows can be read");
        check(
            &[known("a"), known("b")],
            &lost(None),
            USUAL,
            &format!("build [0, 1] base false: {at_hand}"),
        );
        check(
            &[known("a"), known("b")],
            &lost(None),
            ACCEPT_LOSS,
            &format!("build [0, 1] base false: {at_hand}"),
        );
        let Decision::Build(build) = decide(
            &partition(),
            "20260204".parse().unwrap(),
            &[known("a"), known("b")],
            &lost(Some(&["a"])),
            USUAL,
        ) else {
            panic!("refused")
        };
        assert_eq!(
            (build.files, build.base.is_some()),
            (vec![1], true),
            "what stands is not read from the spool"
        );
    }

    #[test]
    fn today_is_left_alone() {
        let today = partition().date;
        let decision = decide(&partition(), today, &[new("a")], &State::Empty, USUAL);
        assert!(matches!(decision, Decision::Nothing(why) if why.starts_with("today")));
    }
}
