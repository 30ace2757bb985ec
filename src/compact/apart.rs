//! One partition by itself, for a run that another process leads: the leader finds out which
//! partitions the run means, and each is compacted wherever there is room for it.
//!
//! The spool is listed here, where it is read; the leader's listing is not used.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::{
    InputSummary, Meant, Options, Outcome, RunSummary, Silent, Status, Stop, context::RunContext,
    footers::Footers, joined, meant, one, report::Mode, survey,
};
use crate::{
    archive::{
        partition::PartitionHandle,
        quarantine::SeriesEntries,
        state::{Depth, State, inspect},
    },
    error::{Kind, Result},
    model::{
        partition::{Partition, Selection},
        quarantine::Entry,
        receipt::rows_lost,
    },
    storage::store::Store,
};

/// What a run is to do.
#[derive(Debug)]
pub struct Agenda {
    /// The partitions to be worked on, in order.
    pub partitions: Vec<Partition>,
    /// Those that have failed already, because not all of their series is known.
    pub unknown: Vec<Outcome>,
    input: InputSummary,
}

impl Agenda {
    /// What came of the run whose partitions had these outcomes.
    #[must_use]
    pub fn done(self, outcomes: impl Iterator<Item = Outcome>) -> RunSummary {
        RunSummary {
            outcomes: joined(outcomes, self.unknown),
            input: self.input,
        }
    }
}

/// What `options` mean.
///
/// # Errors
/// When a store does not answer, or nothing matches the selection.
pub async fn agenda(spool: &Store, archive: &Store, options: &Options) -> Result<Agenda> {
    let meant = meant(
        spool,
        archive,
        options,
        &Footers::within(options.memory_limit),
    )
    .await?;
    let Meant {
        partitions,
        unknown,
        input,
        ..
    } = meant;
    Ok(Agenda {
        partitions,
        unknown,
        input,
    })
}

/// Does with `partition` what is to be done, as [`super::run`] does with each of its partitions;
/// `None` when it turns out that nobody meant it. The memory limit of `options` is this partition's
/// alone, their selection is not looked at; runs are spilled and uploads staged in their folder
/// itself. Receipt and entries of QUARANTINE bear `task`. `probed` remembers what was found out
/// about the archive.
///
/// # Errors
/// When the spool cannot be listed; what fails in the partition is in the outcome.
pub async fn one_of_many(
    spool: &Store,
    archive: &Store,
    partition: &Partition,
    options: &Options,
    task: &str,
    probed: Arc<OnceCell<()>>,
    stop: &Stop,
) -> Result<Option<Outcome>> {
    let series = &partition.series;
    let selection = Selection::of(series);
    let survey::SpoolFiles { files, missing, .. } = survey::spool_files(spool, &selection).await?;
    if let Err(error) = missing.fail() {
        let outcome = Outcome::without(partition, Status::Failed, &error.chain());
        return Ok(Some(Outcome {
            error: Some(Kind::Io),
            ..outcome
        }));
    }
    let (scratch, watch) = (&options.spill_dir, Arc::new(Silent));
    let mut run = RunContext::new(spool, archive, options, scratch, 1, watch, stop)?;
    run.probed = probed;
    run.places.task = Some(task.to_owned());
    let explicit = matches!(options.mode, Mode::Single { .. });
    Ok(one(&run, partition, &files, explicit).await)
}

/// `outcome` of a partition on which `task` has worked before, where what came of that is not
/// known: what it published or kept in QUARANTINE then counts as done now. Receipts and entries
/// name the task that made them; an instant would not tell two runs apart that began together.
///
/// What is kept may lie under any day of the series. An `error.json` that cannot be read is passed
/// over: where it matters to the partition, `outcome` is a failure for it already.
///
/// # Errors
/// When the archive does not answer.
pub async fn with_lost(archive: &Store, outcome: Outcome, task: &str) -> Result<Outcome> {
    let handle = PartitionHandle::new(archive, &outcome.partition);
    let mut known = outcome;
    if known.status == Status::UpToDate
        && let State::Published(published) = inspect(&handle, Depth::Documents).await?.state
        && published.receipt().task.as_deref() == Some(task)
    {
        let receipt = published.receipt();
        let own = receipt.sources.iter().filter(|source| !source.by_base);
        let bytes_in = own.map(|source| source.size).sum();
        let why = "published by an earlier attempt of this run, whose outcome was lost";
        known = Outcome {
            quarantined: known.quarantined,
            seconds: known.seconds,
            ..Outcome::published(&known.partition, receipt, why, bytes_in)
        };
        if !receipt.accepted_loss.is_empty() {
            known = known.having_lost(rows_lost(&receipt.accepted_loss));
        }
    }
    let series = SeriesEntries::list(archive, &known.partition.series).await?;
    let kept: Vec<Entry> = series.of_task(task).cloned().collect();
    if kept.len() as u64 > known.quarantined {
        known = known.having_quarantined(&kept);
    }
    Ok(known)
}
