//! One partition from its files to its meta: look, decide, attempt, prove, publish.
//!
//! ```text
//! look ─► decide ─┬─ nothing, record, fail ──────────────► outcome
//!   ▲             ├─ complete, accept a loss ───┐
//!   │             └─ build: attempt ─┬─ published ───────► outcome (or, of a part: look again)
//!   │                  ▲             ├─ problems, copies ► the same decision, another attempt
//!   │                  └─────────────┘
//!   └── a conflict, published rows unaccounted for, or a known file that turned out bad
//! ```
//!
//! Every step leaves the archive either as it was or as it shall be. A day is not published without
//! a file that could have been read, and a file that cannot be read does not stop it.

use std::collections::BTreeMap;

use super::{
    attempts::Attempts,
    context::{Origin, RunContext, TreeFiles},
    decide::{Build, Decision, SpoolFile},
    look::{Freshness, Look, look},
    report::{Outcome, Status},
};
use crate::{
    archive::{commit, copies, partition::PartitionHandle, state::State},
    error::{Error, Kind, Result},
    model::{
        count::{self, plural},
        partition::Partition,
        quarantine::Entry,
        receipt::{FileCopy, LostSource, Receipt, Source, rows_lost},
    },
    storage::atomic::{self, FolderLock},
};

/// How many races for one partition may be lost; with one more it fails, because not all of its
/// files may be in.
const RACES: u32 = 8;

/// Whose turn it is to work on a partition.
enum Turn {
    /// This run's: the lock of a folder, as long as it is held.
    Mine(Option<FolderLock>),
    /// Nobody's, or another's.
    Over(Box<Outcome>),
}

/// Takes the lock of a partition in a folder, where there is anything to be done.
async fn hold(
    run: &RunContext,
    handle: &PartitionHandle,
    partition: &Partition,
    files: &[SpoolFile],
) -> Result<Turn> {
    if run.places.archive.local_folder().is_none() {
        return Ok(Turn::Mine(None));
    }
    let seen = look(run, partition, files, Freshness::OfThisRun).await?;
    match &seen.decision {
        Decision::Nothing(why) => {
            complete_records(run, handle, &seen).await?;
            let copies: Vec<FileCopy> = seen.new_copies().cloned().collect();
            let outcome = Outcome::idle(partition, why).having_copies(&copies);
            return Ok(Turn::Over(Box::new(outcome)));
        }
        Decision::Fail(why) => return Err(Error::new(Kind::Damage, format!("{partition}: {why}"))),
        Decision::Complete(_)
        | Decision::Build(_)
        | Decision::Record { .. }
        | Decision::AcceptLoss { .. } => {}
    }
    Ok(match atomic::lock(&run.places.archive, &handle.dir())? {
        None => Turn::Over(Box::new(Outcome::lost_race(
            partition,
            "another qlc is at work on this partition",
        ))),
        held => Turn::Mine(held),
    })
}

/// Does with a partition what is to be done: decides, attempts, and decides again until there is an
/// outcome.
///
/// # Errors
/// When it could not be done; the archive is as it was, or will be recognised and completed by the
/// next run.
pub async fn work(run: &RunContext, partition: &Partition, files: &[SpoolFile]) -> Result<Outcome> {
    let handle = PartitionHandle::new(&run.places.archive, partition);
    let folders = [handle.dir(), handle.receipts_dir(), handle.quarantine_dir()];
    let swept: usize = folders
        .iter()
        .map(|folder| atomic::sweep(&run.places.archive, folder))
        .sum();
    if swept > 0 {
        tracing::info!(%partition, swept, "removed what an interrupted run had left");
    }
    let held = match hold(run, &handle, partition, files).await? {
        Turn::Mine(held) => held,
        Turn::Over(outcome) => return Ok(*outcome),
    };
    // Under the lock of a folder nothing changes any more but by what is done here. On a bucket the
    // conditions of the writes find out, and the decision is made again on what stands there then.
    let mut freshness = match held {
        // A folder was looked at before its lock was taken.
        Some(_) => Freshness::OfThisLook,
        None => Freshness::OfThisRun,
    };
    let mut progress = Progress::default();
    let outcome = loop {
        match progress.step(run, &handle, files, freshness).await {
            Ok(Some(outcome)) => break outcome,
            Ok(None) => {}
            Err(error) if error.kind() == Kind::Conflict => {
                tracing::info!(%partition, why = %error.chain(), "lost a race; looking again");
                progress.lost_races += 1;
                // The other process may have kept a file that it could not use.
                run.places.kept.forget(&partition.series);
            }
            Err(error) => return Err(error),
        }
        if progress.lost_races > RACES {
            // Not all may be in, so this is no lost race to be content with.
            return Err(Error::new(
                Kind::Io,
                format!(
                    "{partition}: given up after {} attempts, because the partition changed before each could be published: \
                     another process publishes it, or its data.parquet or meta.json is not a file; run again",
                    progress.lost_races
                ),
            ));
        }
        freshness = Freshness::OfThisLook;
    };
    drop(held);
    let copies: Vec<FileCopy> = progress.copies.into_values().collect();
    let outcome = outcome
        .having_quarantined(&progress.quarantined)
        .having_copies(&copies);
    Ok(match progress.accepted {
        Some(lost) => outcome.having_lost(rows_lost(&lost)),
        None => outcome,
    })
}

/// What was done to a partition so far, from one look to the next.
#[derive(Default)]
struct Progress {
    /// Another run's publish that was completed.
    completed: Option<Receipt>,
    /// What was accepted as lost, as the operator asked; nothing is known of it where its receipt
    /// is gone too.
    accepted: Option<Vec<LostSource>>,
    /// Files that were found to be copies of others, by their keys.
    copies: BTreeMap<String, FileCopy>,
    /// What was put in QUARANTINE.
    quarantined: Vec<Entry>,
    /// What came of the files that others are to be held against.
    part: Option<Outcome>,
    /// Whether damaged files were left for when the rows of the whole ones stand, and these do now.
    wholes_stand: bool,
    /// How often another process wrote first.
    lost_races: u32,
}

impl Progress {
    /// Looks, decides and does what was decided; `None` when there may be more to do.
    ///
    /// # Errors
    /// A conflict where another process wrote first: then it is looked at again.
    async fn step(
        &mut self,
        run: &RunContext,
        handle: &PartitionHandle,
        files: &[SpoolFile],
        freshness: Freshness,
    ) -> Result<Option<Outcome>> {
        let partition = handle.partition();
        let seen = look(run, partition, files, freshness).await?;
        if !matches!(seen.decision, Decision::Nothing(_) | Decision::Fail(_)) {
            // Files may be noted in a receipt while the data and meta.json stay what they are.
            if freshness == Freshness::OfThisRun
                && let State::Published(stands) = &seen.archived.state
            {
                let sha256 = &stands.receipt().outcome.sha256;
                if handle.receipt(sha256).await?.as_ref() != Some(stands.receipt()) {
                    return Ok(None);
                }
            }
            run.probe_once().await?;
        }
        complete_records(run, handle, &seen).await?;
        self.take_copies(seen.new_copies());
        match &seen.decision {
            Decision::Nothing(why) => return Ok(Some(self.at_rest(partition, why))),
            Decision::Fail(why) => {
                return Err(Error::new(Kind::Damage, format!("{partition}: {why}")));
            }
            Decision::AcceptLoss { loss, lost } => {
                let number = seen.archived.next_generation();
                tracing::warn!(%partition, %loss, sources = lost.len(), "its loss is accepted on request");
                commit::accept_loss(handle, &run.places.staging, loss, lost.clone(), number)
                    .await?;
                self.accepted = Some(lost.clone());
            }
            Decision::Record { files, reason } => {
                record(run, handle, &seen, files).await?;
                let recorded = || Outcome::up_to_date(partition, reason);
                return Ok(Some(self.part.take().unwrap_or_else(recorded)));
            }
            Decision::Complete(receipt) => {
                let expect = &seen.archived.versions.meta;
                let published =
                    commit::publish(handle, &run.places.staging, receipt, expect, None).await?;
                // Files may have come since: look again.
                self.completed = Some(published.receipt().clone());
            }
            Decision::Build(build) => return self.build(run, partition, &seen, build).await,
        }
        Ok(None)
    }

    /// The outcome when nothing is left to do.
    fn at_rest(&mut self, partition: &Partition, why: &str) -> Outcome {
        if self.lost_races > 0 {
            return Outcome::lost_race(
                partition,
                &format!("another process published it first; {why}"),
            );
        }
        let completed = self.completed.take();
        let completed = completed.map(|receipt| Outcome::completed(partition, &receipt));
        if let Some(outcome) = self.part.take().or(completed) {
            return outcome;
        }
        if self.accepted.is_none() {
            return Outcome::idle(partition, why);
        }
        Outcome::up_to_date(partition, &format!("{}{why}", self.accepted_in_words()))
    }

    /// What was accepted as lost, as a beginning of what came of it; empty where nothing was.
    fn accepted_in_words(&self) -> String {
        match self.accepted.as_deref() {
            None => String::new(),
            Some([]) => "accepted as lost: rows that no receipt names; ".to_owned(),
            Some(lost) => format!(
                "accepted as lost: {} of {}; ",
                count::rows(rows_lost(lost)),
                plural(lost.len(), "file")
            ),
        }
    }

    fn take_copies<'a>(&mut self, copies: impl Iterator<Item = &'a FileCopy>) {
        self.copies
            .extend(copies.map(|copy| (copy.name.clone(), copy.clone())));
    }

    /// Makes a generation; `None` when the partition is to be looked at again.
    async fn build(
        &mut self,
        run: &RunContext,
        partition: &Partition,
        seen: &Look,
        build: &Build,
    ) -> Result<Option<Outcome>> {
        let wholes_first = !self.wholes_stand;
        let accepted = self.accepted.as_deref().unwrap_or_default();
        let mut attempts =
            Attempts::begin(run, partition, seen, build, accepted, wholes_first).await?;
        let reason = format!("{}{}", self.accepted_in_words(), build.reason);
        let ended = attempts.until_done(&reason).await;
        self.take_copies(attempts.new_copies());
        self.quarantined.append(&mut attempts.quarantined);
        let Some(outcome) = ended? else {
            return Ok(None);
        };
        // The other files are looked at again, now that there is something to hold them against.
        if attempts.waiting || (build.is_part && self.part.is_none()) {
            self.wholes_stand |= attempts.waiting;
            self.part = Some(outcome);
            return Ok(None);
        }
        Ok(Some(match self.part.take() {
            Some(part) if outcome.status == Status::UpToDate => part,
            _ => outcome,
        }))
    }
}

/// Notes in the receipt of the standing data that it has every row of `files`: so they are known by
/// their rows from now on, whatever becomes of their names, and can be retired.
async fn record(
    run: &RunContext,
    handle: &PartitionHandle,
    seen: &Look,
    files: &[usize],
) -> Result<()> {
    let State::Published(published) = &seen.archived.state else {
        return Err(Error::new(
            Kind::Internal,
            "there is no receipt to note files in",
        ));
    };
    let mut receipt = published.receipt().clone();
    let feeding = files.iter().filter_map(|nth| seen.feeding.get(*nth));
    let sources = feeding.filter_map(|one| {
        let (file, compared) = (&one.mark.file, one.mark.compared.as_ref()?);
        Some((file, compared.source(file)))
    });
    for (file, source) in sources {
        match receipt
            .sources
            .iter()
            .find(|known| known.content() == source.content())
        {
            // Of files with the same rows the first is the file, the others are its copies.
            Some(first) => receipt.copies.push(file.as_copy_of(&first.name)),
            None => receipt.sources.push(Source {
                compacted: run.origin == Origin::Tree(TreeFiles::Compacted),
                ..source
            }),
        }
    }
    receipt.sources.sort_by(|a, b| a.name.cmp(&b.name));
    let (expect, _) = commit::vouched_since(handle, &receipt.outcome.sha256).await?;
    commit::vouch(handle, &run.places.staging, &receipt, &expect).await
}

/// Completes what stands beside a published generation: the mark that an earlier version did not
/// write, and the note of the files that this look recognised.
async fn complete_records(run: &RunContext, handle: &PartitionHandle, seen: &Look) -> Result<()> {
    let State::Published(published) = &seen.archived.state else {
        return Ok(());
    };
    let staging = &run.places.staging;
    if seen.archived.lacks_mark() {
        run.probe_once().await?;
        commit::mark(handle, staging, published).await?;
    }
    if !seen.recognised.is_empty() {
        run.probe_once().await?;
        copies::note(
            handle,
            staging,
            &published.receipt().outcome.sha256,
            &seen.recognised,
        )
        .await?;
    }
    Ok(())
}
