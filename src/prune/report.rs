//! The options of a pruning, and what it reports of each file.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    error::Error,
    model::{
        date::Date,
        partition::{Selection, Series},
    },
    storage::listing::Unlisted,
};

/// What a pruning is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which series.
    pub selection: Selection,
    /// Whole days (UTC) that stay: a file goes when its days are older.
    pub keep_days: u32,
    /// Whole days (UTC) of the collector's own records that stay; all of them, where it is not
    /// said.
    pub keep_records: Option<u32>,
    /// The instant that decides what today is.
    pub now: DateTime<Utc>,
    /// Where objects of a bucket are put together.
    pub spill_dir: PathBuf,
    /// Whether only to say what would be done.
    pub dry_run: bool,
}

/// What becomes of a file, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was removed. In a bucket a run beside this one may say so too: removing what is not there
    /// any more has the same answer.
    Removed,
    /// It would be removed: this is a dry run.
    Removable,
    /// It stays: it was proven, and the run ended before its turn came.
    NotReached,
    /// It had gone when its turn came: another process removed it.
    Gone,
    /// It stays: its day, or one of its rows, is not older than the days to keep.
    Young,
    /// It stays: it lies whole in QUARANTINE, so that no archived data holds all its rows.
    Quarantined,
    /// It stays: a compaction has yet to do its part.
    Waiting,
    /// It stays: it has no rows, and nothing vouches for that.
    Empty,
    /// It stays: it was replaced while it was looked at.
    Changed,
    /// It stays: something that was proven once is not any more.
    Unproven,
    /// It stays: it could not be looked at, or could not be removed.
    Failed,
    /// Whether it was removed is not known: the store did not say. Its rows are in the archive.
    Unknown,
}

impl Outcome {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 12] = [
        Self::Removed,
        Self::Removable,
        Self::NotReached,
        Self::Gone,
        Self::Young,
        Self::Quarantined,
        Self::Waiting,
        Self::Empty,
        Self::Changed,
        Self::Unproven,
        Self::Failed,
        Self::Unknown,
    ];
}

/// What is said of one file. This is the object that `--format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// Its series.
    #[serde(flatten)]
    pub series: Series,
    /// Its key below the spool's root.
    pub name: String,
    /// The day that its name or folder tells.
    pub date: Option<Date>,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its rows, where they were read.
    pub rows: Option<u64>,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
}

/// What is said of a record of the collector. This is the object that `--format json` prints behind
/// those of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JudgedRecord {
    /// Its key below the spool's root.
    pub record: String,
    /// The day that it is of.
    pub date: Date,
    /// Its size in bytes.
    pub bytes: u64,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
}

/// What a pruning did.
#[derive(Debug, Default)]
pub struct Report {
    /// Every file that was meant, by series and name.
    pub files: Vec<Judged>,
    /// The collector's records, where they were to be looked at, by key.
    pub records: Vec<JudgedRecord>,
    /// The journal of this run, where something was removed.
    pub journal: Option<String>,
    /// Journals of interrupted runs that were completed.
    pub settled: Vec<String>,
    /// Folders that could not be listed: of a series that may have files there, nothing was
    /// removed.
    pub unlisted: Vec<Unlisted>,
    /// Whether the run ended early because it was asked to.
    pub stopped: bool,
    /// What went wrong after the files had been judged, so that their account stands.
    pub error: Option<Error>,
}

impl Report {
    /// Of a run that removes, nothing is left that it would remove: what it did not come to stays.
    pub(super) fn tell_not_reached(&mut self) {
        let why = match &self.error {
            Some(error) => format!("the run ended before its turn came: {}", error.chain()),
            None => "the run was asked to stop before its turn came".to_owned(),
        };
        let files = self.files.iter_mut();
        let records = self.records.iter_mut();
        let all = files
            .map(|one| (&mut one.outcome, &mut one.reason))
            .chain(records.map(|one| (&mut one.outcome, &mut one.reason)));
        for (outcome, reason) in all.filter(|(outcome, _)| **outcome == Outcome::Removable) {
            *outcome = Outcome::NotReached;
            reason.clone_from(&why);
        }
    }
}
