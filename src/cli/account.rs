//! What a run records about itself while it works, for metrics and notices after it has ended.
//!
//! Commands add to it as soon as they know something, so that it is there even if they end with an
//! error.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

use super::show::{Checked, Misplaced, count};
use crate::{
    clean::{Left, Swept},
    compact::{Outcome, RunSummary, Status},
    model::partition::Partition,
    prune,
    storage::listing::Ignored,
};

/// An account that is still written; shared by reference.
#[derive(Debug, Default)]
pub(crate) struct Account(Mutex<Sums>);

/// What stands in it. What a command has no notion of is nothing, not 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sums {
    /// Partitions by how they ended.
    pub(crate) partitions: Option<BTreeMap<&'static str, u64>>,
    /// Rows of the partitions.
    pub(crate) rows: Option<u64>,
    /// Bytes that were read.
    pub(crate) input_bytes: Option<u64>,
    /// Bytes that were published.
    pub(crate) output_bytes: Option<u64>,
    /// What went to QUARANTINE.
    pub(crate) quarantined: Option<u64>,
    /// Parquet files that were seen in the spool.
    pub(crate) files_seen: Option<u64>,
    /// Those that nobody takes in.
    pub(crate) files_ignored: Option<u64>,
    /// What a verification found.
    pub(crate) findings: Option<u64>,
    /// What lies in QUARANTINE.
    pub(crate) quarantine_entries: Option<u64>,
    /// Days of a series that are not complete.
    pub(crate) incomplete_days: Option<u64>,
    /// Bytes that may be resident.
    pub(crate) memory_limit: Option<u64>,
    /// The partitions that are not well.
    pub(crate) troubles: Vec<Trouble>,
    /// What ended the run, or a part of it.
    pub(crate) errors: Vec<String>,
}

/// A partition that is not well.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Trouble {
    /// Which.
    #[serde(flatten)]
    pub(crate) partition: Partition,
    /// `failed`, `quarantined` and so on.
    pub(crate) status: &'static str,
    /// Why.
    pub(crate) message: String,
}

impl Account {
    /// The memory that the run may use.
    pub(crate) fn allowed(&self, memory_limit: u64) {
        self.sums().memory_limit = Some(memory_limit);
    }

    /// A compaction ended.
    pub(crate) fn compacted(&self, summary: &RunSummary) {
        let RunSummary { outcomes, input } = summary;
        let mut partitions: BTreeMap<&'static str, u64> =
            ALL.map(|status| (name(status), 0)).into();
        for outcome in outcomes {
            *partitions.entry(name(outcome.status)).or_default() += 1;
        }
        let sum = |of: fn(&Outcome) -> u64| Some(outcomes.iter().map(of).sum());
        let trouble = |outcome: &Outcome| {
            let status = match outcome.status {
                Status::Failed | Status::Unknown | Status::Interrupted => name(outcome.status),
                _ if outcome.quarantined > 0 => "quarantined",
                _ => return None,
            };
            Some(Trouble {
                partition: outcome.partition.clone(),
                status,
                message: outcome.message.clone(),
            })
        };
        let mut sums = self.sums();
        sums.partitions = Some(partitions);
        sums.rows = sum(|outcome| outcome.rows);
        sums.input_bytes = sum(|outcome| outcome.bytes_in);
        sums.output_bytes = sum(|outcome| outcome.bytes_out);
        sums.quarantined = sum(|outcome| outcome.quarantined);
        sums.troubles = outcomes.iter().filter_map(trouble).collect();
        sums.files_seen = Some(input.files);
        sums.files_ignored = Some(input.ignored.len() as u64);
        sums.errors
            .extend(input.unlisted.iter().map(|folder| folder.reason.clone()));
        if let Some(first) = input.ignored.first() {
            let (number, Ignored { file, reason }) = (input.ignored.len(), first);
            sums.errors.push(format!(
                "{} of the spool ignored, such as {file}: {reason}",
                count(number, "file")
            ));
        }
    }

    /// How the archive stands after the run.
    pub(crate) fn standing(&self, quarantine_entries: u64, incomplete_days: u64) {
        let mut sums = self.sums();
        sums.quarantine_entries = Some(quarantine_entries);
        sums.incomplete_days = Some(incomplete_days);
    }

    /// A verification ended: what it looked at was sound, or was not.
    pub(crate) fn verified(&self, all: &[Checked], misplaced: &[Misplaced]) {
        let unsound = all.iter().filter(|one| !one.sound);
        let (failed, all_of_them) = (unsound.clone().count() as u64, all.len() as u64);
        let mut sums = self.sums();
        sums.partitions = Some(
            [
                (name(Status::Done), all_of_them - failed),
                (name(Status::Failed), failed),
            ]
            .into(),
        );
        sums.rows = Some(all.iter().map(|one| one.rows).sum());
        sums.input_bytes = Some(all.iter().map(|one| one.bytes).sum());
        let findings: usize = all.iter().map(|one| one.findings.len()).sum();
        sums.findings = Some((findings + misplaced.len()) as u64);
        sums.errors.extend(misplaced.iter().map(|one| {
            let [finding] = &one.findings;
            format!("{}: {finding}", one.place)
        }));
        let trouble = |one: &Checked| Trouble {
            partition: one.partition.clone(),
            status: name(Status::Failed),
            message: one.findings.join("; "),
        };
        sums.troubles = unsound.map(trouble).collect();
    }

    /// A pruning ended: the files of which it could not be said, or done, what was asked.
    pub(crate) fn pruned(&self, report: &prune::Report) {
        use prune::Outcome::{Failed, Unknown, Unproven};
        let is_bad = |outcome| matches!(outcome, Failed | Unknown | Unproven);
        let files = report
            .files
            .iter()
            .filter(|file| is_bad(file.outcome))
            .map(|file| (&file.name, &file.reason));
        let records = report
            .records
            .iter()
            .filter(|one| is_bad(one.outcome))
            .map(|one| (&one.record, &one.reason));
        self.sums().errors.extend(
            files
                .chain(records)
                .map(|(name, reason)| format!("{name}: {reason}")),
        );
    }

    /// A cleaning ended: what could not be removed.
    pub(crate) fn cleaned(&self, swept: &[Swept]) {
        let stuck = swept.iter().filter(|one| one.left == Left::Failed);
        self.sums()
            .errors
            .extend(stuck.map(|one| format!("{}: {}", one.place, one.why)));
    }

    /// Something ended with an error.
    pub(crate) fn failed(&self, chain: String) {
        self.sums().errors.push(chain);
    }

    /// What stands in it now.
    pub(crate) fn told(&self) -> Sums {
        self.sums().clone()
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The largest resident memory of this process so far, in bytes; `None` where the system does not
/// tell.
pub(crate) fn peak_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

const ALL: [Status; 8] = [
    Status::Done,
    Status::UpToDate,
    Status::Completed,
    Status::LossAccepted,
    Status::LostRace,
    Status::Failed,
    Status::Interrupted,
    Status::Unknown,
];

/// The label of a metric.
fn name(status: Status) -> &'static str {
    match status {
        Status::Done => "done",
        Status::UpToDate => "up_to_date",
        Status::Completed => "completed",
        Status::LossAccepted => "loss_accepted",
        Status::LostRace => "lost_race",
        Status::Failed => "failed",
        Status::Interrupted => "interrupted",
        Status::Unknown => "unknown",
    }
}
