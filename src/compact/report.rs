//! The options of a compaction, its progress and its results.

use std::{
    fmt::{self, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Kind},
    job::budget::Budget,
    model::{
        count,
        date::Date,
        partition::{Partition, Selection},
        quarantine::Entry,
        receipt::{FileCopy, Receipt, is_zero},
    },
    storage::listing::{Ignored, Unlisted},
};

/// Which days are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Yesterday.
    Daily,
    /// Every past day that the archive lacks or that has new files.
    CatchUp,
    /// All days from the first to the last, both included.
    Backfill {
        /// The first day.
        start: Date,
        /// The last day.
        end: Date,
    },
    /// One day.
    Single {
        /// The day.
        date: Date,
    },
}

/// What a compaction is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which days.
    pub mode: Mode,
    /// Which series.
    pub selection: Selection,
    /// How many partitions at a time.
    pub workers: usize,
    /// Bytes that the process may have resident at any moment.
    pub memory_limit: u64,
    /// Where runs that do not fit in memory are spilled, and uploads are staged.
    pub spill_dir: PathBuf,
    /// The instant that decides what "yesterday" and "today" are.
    pub now: DateTime<Utc>,
    /// Compact again what is up to date, and today too.
    pub force: bool,
    /// Go on where a published generation is gone, without the rows of it that are nowhere.
    pub accept_loss: bool,
    /// Take in the good row groups of a file of which some do not read.
    pub salvage: bool,
    /// The level of zstd, 1 to 22, where it is not the default; other levels give other bytes for
    /// the same rows.
    pub zstd_level: Option<i32>,
}

impl Options {
    /// How many of so many partitions are worked on at a time.
    pub(super) fn workers_for(&self, partitions: usize) -> usize {
        Budget::workers(self.memory_limit, self.workers.min(partitions.max(1)))
    }
}

/// A request to stop between two atomic steps; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for the stop.
    pub fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked for.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Someone who watches a run. Calls come from several threads and must return quickly.
pub trait Watch: Send + Sync {
    /// The run will look at this many partitions.
    fn begin(&self, partitions: usize);
    /// Work on a partition begins; `rows` and `bytes` are what its files claim to hold.
    fn partition_begins(&self, partition: &Partition, rows: u64, bytes: u64);
    /// So many rows and bytes of spool files were read since the last call.
    fn progress(&self, rows: u64, bytes: u64);
    /// A partition is done, whatever came of it.
    fn partition_ends(&self, outcome: &Outcome);
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Watch for Silent {
    fn begin(&self, _: usize) {}
    fn partition_begins(&self, _: &Partition, _: u64, _: u64) {}
    fn progress(&self, _: u64, _: u64) {}
    fn partition_ends(&self, _: &Outcome) {}
}

/// How a partition ended: each way has its name here, and nowhere before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Compacted and published.
    Done,
    /// Nothing to do.
    UpToDate,
    /// An interrupted publish of an earlier run was completed.
    Completed,
    /// Rows of a generation that is gone are given up on request. What could be published of the
    /// day was.
    LossAccepted,
    /// Another process published it first.
    LostRace,
    /// Stopped on request before anything was published.
    Interrupted,
    /// Failed; nothing was published.
    Failed,
    /// Whether it was published is not known; nothing was deleted, and the next run finds out.
    Unknown,
}

/// What came of one partition. This is the object that `--format json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The partition.
    #[serde(flatten)]
    pub partition: Partition,
    /// How it ended.
    pub status: Status,
    /// In words: why there was nothing to do, why it failed, or what to know about it. Never empty
    /// for these.
    pub message: String,
    /// Spool files whose rows are in the data.
    pub files: u64,
    /// Spool files (or rows of them) that went to QUARANTINE in this run.
    pub quarantined: u64,
    /// Spool files that this run found to be copies of others: their rows count once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub copies: u64,
    /// Rows that were published once and were given up in this run, as far as a receipt tells.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_lost: u64,
    /// Rows of the data.
    pub rows: u64,
    /// Bytes of the spool files that were read.
    pub bytes_in: u64,
    /// Bytes of `data.parquet`.
    pub bytes_out: u64,
    /// Wall seconds.
    pub seconds: f64,
    /// The sha256 of `data.parquet`, if it stands.
    pub sha256: Option<String>,
    /// The steps that were run, for the record of the run; the receipt has them as well.
    #[serde(skip)]
    pub plan: Vec<String>,
    /// What kind of error it failed with, if it failed.
    #[serde(skip)]
    pub error: Option<Kind>,
    /// Whether it was only looked at. Very many may be, and the record of the run counts them.
    #[serde(skip)]
    pub idle: bool,
}

impl Outcome {
    /// That of a partition of which no more is known than how it ended.
    #[must_use]
    pub fn without(partition: &Partition, status: Status, message: &str) -> Self {
        Self {
            partition: partition.clone(),
            status,
            message: message.to_owned(),
            files: 0,
            quarantined: 0,
            copies: 0,
            rows_lost: 0,
            rows: 0,
            bytes_in: 0,
            bytes_out: 0,
            seconds: 0.0,
            sha256: None,
            plan: Vec::new(),
            error: None,
            idle: false,
        }
    }

    /// Nothing was to be done, and nothing was, because.
    pub(super) fn idle(partition: &Partition, why: &str) -> Self {
        Self {
            idle: true,
            ..Self::up_to_date(partition, why)
        }
    }

    /// Nothing was to be done, because.
    pub(super) fn up_to_date(partition: &Partition, why: &str) -> Self {
        Self::without(partition, Status::UpToDate, why)
    }

    /// Another process was first, or is at work on it.
    pub(super) fn lost_race(partition: &Partition, why: &str) -> Self {
        Self::without(partition, Status::LostRace, why)
    }

    /// The publish that an interrupted run had begun is complete.
    pub(super) fn completed(partition: &Partition, receipt: &Receipt) -> Self {
        Self::without(
            partition,
            Status::Completed,
            "an interrupted publish was completed",
        )
        .standing(receipt)
    }

    /// A new generation was published for this reason, of files of so many bytes.
    pub(super) fn published(
        partition: &Partition,
        receipt: &Receipt,
        reason: &str,
        bytes_in: u64,
    ) -> Self {
        let own = || receipt.sources.iter().filter(|source| !source.by_base);
        let elsewhere: u64 = own()
            .flat_map(|source| source.rows_elsewhere.values())
            .sum();
        let known: u64 = own().map(|source| source.rows_known).sum();
        let mut message = reason.to_owned();
        if elsewhere > 0 {
            let _ = write!(
                message,
                "; {} of its files belong to other days",
                count::rows(elsewhere)
            );
        }
        if known > 0 {
            let _ = write!(
                message,
                "; {} of its files were in the archive already",
                count::rows(known)
            );
        }
        if let Some(merge) = &receipt.merge {
            let gains = merge
                .collectors
                .iter()
                .map(|one| format!("{} alone has {}", one.name, count::grouped(one.gain)));
            if merge.copies > 0 {
                let copies = count::grouped(merge.copies);
                let s = if merge.copies == 1 { "y" } else { "ies" };
                let _ = write!(message, "; {copies} cop{s} left out");
            }
            let _ = write!(message, "; {}", gains.collect::<Vec<_>>().join(", "));
            if merge.conflicts > 0 {
                let _ = write!(
                    message,
                    "; {} contradict those of another collector",
                    count::rows(merge.conflicts)
                );
            }
        }
        Self {
            bytes_in,
            ..Self::without(partition, Status::Done, &message).standing(receipt)
        }
    }

    /// What was to be done could not be done.
    pub(super) fn failed(partition: &Partition, error: &Error) -> Self {
        let status = match error.kind() {
            Kind::Interrupted => Status::Interrupted,
            Kind::Unknown => Status::Unknown,
            _ => Status::Failed,
        };
        // Who tells of the outcome names the partition.
        let chain = error.chain();
        let message = chain
            .strip_prefix(&format!("{partition}: "))
            .unwrap_or(&chain);
        Self {
            error: Some(error.kind()),
            ..Self::without(partition, status, message)
        }
    }

    /// The same with what the receipt says of the data that stands.
    fn standing(self, receipt: &Receipt) -> Self {
        Self {
            files: receipt.source_files(),
            rows: receipt.outcome.rows,
            bytes_out: receipt.outcome.bytes,
            sha256: Some(receipt.outcome.sha256.clone()),
            plan: receipt.plan.clone(),
            ..self
        }
    }

    /// The same after so many rows were given up on the way.
    pub(super) fn having_lost(self, rows: u64) -> Self {
        let status = match self.status {
            Status::Done | Status::UpToDate => Status::LossAccepted,
            other => other,
        };
        Self {
            status,
            rows_lost: rows,
            idle: false,
            ..self
        }
    }

    /// The same where these files were found to be copies of others.
    pub(super) fn having_copies(mut self, copies: &[FileCopy]) -> Self {
        if copies.is_empty() {
            return self;
        }
        self.copies = copies.len() as u64;
        self.idle = false;
        let each = copies
            .iter()
            .map(|copy| format!("{} has the rows of {}", copy.name, copy.copy_of));
        let _ = write!(
            self.message,
            "; copies, whose rows count once: {}",
            each.collect::<Vec<_>>().join(", ")
        );
        self
    }

    /// The same after these went to QUARANTINE on the way.
    pub(super) fn having_quarantined(mut self, entries: &[Entry]) -> Self {
        self.quarantined = entries.len() as u64;
        self.idle &= entries.is_empty();
        let is_told = matches!(self.status, Status::Done | Status::UpToDate) && !entries.is_empty();
        if is_told {
            let each = entries
                .iter()
                .map(|e| format!("{} {}: {}", e.error_type, e.source_path, e.message));
            let _ = write!(
                self.message,
                "; quarantined: {}",
                each.collect::<Vec<_>>().join("; ")
            );
        }
        self
    }
}

/// What a run saw of its input besides the partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSummary {
    /// Parquet files that were seen in the spool, the ignored ones included.
    pub files: u64,
    /// Those that belong to no series or cannot be used, and links, which are not followed.
    pub ignored: Vec<Ignored>,
    /// Folders of spool and archive that could not be listed. No partition of a series that may
    /// have files there was published.
    pub unlisted: Vec<Unlisted>,
    /// Files of which something will go to QUARANTINE, by a run of a day that is not over yet.
    #[serde(default)]
    pub pending: Vec<Pending>,
}

/// A spool file that no run looks at before a later day, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Its key below the spool's root.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunSummary {
    /// One outcome per partition that was looked at, in their order.
    pub outcomes: Vec<Outcome>,
    /// What was seen of the input.
    pub input: InputSummary,
}

/// What a run would do with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Compact it.
    Compact,
    /// Nothing.
    Nothing,
    /// Complete an interrupted publish.
    Complete,
    /// Record that an operator accepts a loss.
    AcceptLoss,
    /// Fail.
    Fail,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compact => "compact",
            Self::Nothing => "nothing",
            Self::Complete => "complete",
            Self::AcceptLoss => "accept-loss",
            Self::Fail => "fail",
        })
    }
}

/// What a dry run says of one partition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outlook {
    /// The partition.
    #[serde(flatten)]
    pub partition: Partition,
    /// What would be done.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// Files that would be read.
    pub files: usize,
    /// Rows that these files claim to hold.
    pub rows: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Sequential chains of files that would be merged.
    pub groups: usize,
    /// Merge passes over the rows, the last one included; 0 when one chain needs no merge.
    pub passes: usize,
    /// Files that would go to QUARANTINE.
    pub quarantined: usize,
    /// Which these are, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unusable: Vec<String>,
    /// The plan, one line per step, as the receipt will hold it.
    pub plan: Vec<String>,
    /// The engine's logical plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logical_plan: Option<String>,
    /// The engine's physical plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub physical_plan: Option<String>,
}

impl Outlook {
    /// That of a partition of which no more is known.
    pub(super) fn without(partition: Partition, action: Action, reason: String) -> Self {
        Self {
            partition,
            action,
            reason,
            files: 0,
            rows: 0,
            bytes: 0,
            groups: 0,
            passes: 0,
            quarantined: 0,
            unusable: Vec::new(),
            plan: Vec::new(),
            logical_plan: None,
            physical_plan: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_prints_what_it_serialises() {
        for action in [
            Action::Compact,
            Action::Nothing,
            Action::Complete,
            Action::AcceptLoss,
            Action::Fail,
        ] {
            assert_eq!(serde_json::to_value(action).unwrap(), action.to_string());
        }
    }
}
