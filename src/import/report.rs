//! The options of an import, and what it reports of each partition.

use std::{collections::BTreeMap, path::PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    error::{Error, Result},
    model::{
        date::Date,
        partition::{Partition, Selection},
    },
    storage::{spelling, store::Store},
};

/// What an import is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which series.
    pub selection: Selection,
    /// The first day; none for all before `end`.
    pub start: Option<Date>,
    /// The last day; none for all from `start`.
    pub end: Option<Date>,
    /// The instant that receipts are dated with.
    pub now: DateTime<Utc>,
    /// Where objects of a bucket are put together.
    pub spill_dir: PathBuf,
    /// The spool as commands name it: what cannot be adopted can be compacted from there.
    pub spool: String,
    /// Whether what cannot be adopted is to be compacted.
    pub rewrite: bool,
    /// Whether only to say what would be done.
    pub dry_run: bool,
}

impl Options {
    /// Nothing was found in `tree`, which is shown as `place`.
    ///
    /// # Errors
    /// When something was asked for: it may be misspelt.
    pub async fn nothing_found(&self, tree: &Store, place: &str) -> Result<()> {
        if self.selection == Selection::all() && self.start.is_none() && self.end.is_none() {
            return Ok(());
        }
        let check = "check exchange, stream, symbol and dates";
        let hint = spelling::hint(&self.selection, &[tree], check).await;
        Err(Error::usage(format!(
            "{place}: nothing there matches; {hint}"
        )))
    }
}

/// What becomes of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was given a receipt and the meta of the contract.
    Adopted,
    /// It would be; this is a dry run.
    Adoptable,
    /// An import or a publish that was interrupted before its meta stood was completed, or would be
    /// in a dry run.
    Completed,
    /// Receipts vouch for all of its rows: nothing to do.
    UpToDate,
    /// Its rows were compacted into the days that they are of, and each was found there.
    Rewritten,
    /// They would be.
    Rewritable,
    /// Not all of its rows are in the archive.
    Refused,
    /// Another process was at work on it, or changed it meanwhile; left alone.
    LostRace,
    /// It is not as the contract wants it, but it reads; left alone.
    Unfit,
    /// It does not read, or its meta speaks of other data; left alone.
    Damaged,
    /// It could not be looked at or written.
    Failed,
    /// Whether a write to a bucket took effect is not known.
    Unknown,
}

impl Outcome {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 12] = [
        Self::Adopted,
        Self::Adoptable,
        Self::Completed,
        Self::Rewritten,
        Self::Rewritable,
        Self::UpToDate,
        Self::LostRace,
        Self::Refused,
        Self::Unfit,
        Self::Damaged,
        Self::Failed,
        Self::Unknown,
    ];

    /// The word for it, as `--format json` writes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Adoptable => "adoptable",
            Self::Completed => "completed",
            Self::UpToDate => "up-to-date",
            Self::Rewritten => "rewritten",
            Self::Rewritable => "rewritable",
            Self::Refused => "refused",
            Self::LostRace => "lost-race",
            Self::Unfit => "unfit",
            Self::Damaged => "damaged",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// A partition of the archive that is taken over, and what became of it. This is the object that
/// `--format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The partition.
    #[serde(flatten)]
    pub partition: Partition,
    /// What became of it.
    pub outcome: Outcome,
    /// Rows that were read, or that the receipt vouches for.
    pub rows: u64,
    /// Bytes of the data.
    pub bytes: u64,
    /// The sha256 of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Why; everything that is not as it must be.
    pub reasons: Vec<String>,
    /// How many files of the older collector these are; none where it is a day that was compacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_files: Option<usize>,
    /// The days that have the rows, where they were compacted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub days: BTreeMap<Date, u64>,
    /// The files, by their keys in the old tree.
    #[serde(skip)]
    pub keys: Vec<String>,
    /// The commands that have the rows compacted instead, where they can be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mend: Vec<String>,
}

impl Imported {
    /// That of a partition of which no more is known than what became of it.
    pub(super) fn of(partition: &Partition, outcome: Outcome) -> Self {
        Self {
            partition: partition.clone(),
            outcome,
            rows: 0,
            bytes: 0,
            sha256: None,
            reasons: Vec::new(),
            raw_files: None,
            days: BTreeMap::new(),
            keys: Vec::new(),
            mend: Vec::new(),
        }
    }
}
