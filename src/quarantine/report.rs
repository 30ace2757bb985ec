//! The options of the commands, and what they report of each entry.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    model::{
        date::Date,
        layout,
        partition::{Partition, Selection, Series},
        quarantine::Entry,
    },
    storage::store::Store,
};

/// Where the commands work, and when.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The archive.
    pub archive: &'a Store,
    /// Where an object of a bucket is put together.
    pub staging: &'a Path,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Which entries are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Which series.
    pub selection: Selection,
    /// The first day; none for all before `end`.
    pub start: Option<Date>,
    /// The last day; none for all from `start`.
    pub end: Option<Date>,
    /// The name that it is kept under, the name of its file in the spool, or that with its folders.
    pub name: Option<String>,
}

impl Filter {
    /// Whether it leaves anything out.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        self.selection != Selection::all()
            || self.start.is_some()
            || self.end.is_some()
            || self.name.is_some()
    }

    pub(super) fn takes_day(&self, series: &Series, date: Date) -> bool {
        date.is_within(self.start, self.end) && self.selection.takes(series)
    }

    pub(super) fn takes_name(&self, entry: &Entry) -> bool {
        self.name.as_ref().is_none_or(|name| {
            let file = entry.source_path.rsplit('/').next().unwrap_or_default();
            [entry.kept_as.as_str(), entry.source_path.as_str(), file].contains(&name.as_str())
        })
    }
}

/// What is the matter with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryState {
    /// Its bytes are kept, and not tried again.
    Kept,
    /// Its bytes are kept, and tried by the next compaction.
    Retry,
    /// Only the entry is left, so that its bytes are not tried again.
    Discarded,
}

impl EntryState {
    pub(super) fn of(entry: &Entry) -> Self {
        match (entry.discarded, entry.retry) {
            (true, _) => Self::Discarded,
            (false, true) => Self::Retry,
            (false, false) => Self::Kept,
        }
    }
}

/// An entry and its folder. This is the object that `--format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The folder.
    #[serde(flatten)]
    pub partition: Partition,
    /// What is the matter with it.
    pub state: EntryState,
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry,
}

impl Held {
    /// The key of what is kept.
    #[must_use]
    pub fn key(&self) -> String {
        format!(
            "{}/{}",
            layout::quarantine_dir(&self.partition),
            self.entry.kept_as
        )
    }
}

/// An entry that was asked to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The entry.
    pub held: Held,
    /// The day that its name or folder in the spool tells.
    pub home: Option<Date>,
    /// Why it cannot be tried, if it cannot.
    pub refused: Option<String>,
    /// Whether its bytes were put back into the spool, because they had left it.
    pub put_back: bool,
}

/// How trying an entry again ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tried {
    /// Its rows are proven to be in the archive, and what was kept is gone.
    TakenIn,
    /// Its good row groups are in the archive; what is kept has the others.
    Salvaged,
    /// It is in QUARANTINE again.
    QuarantinedAgain,
    /// It is readable, or was not looked at yet; it is kept until its rows are in the archive.
    Pending,
    /// It cannot be tried.
    Refused,
    /// The archive is not what it must be to prove anything.
    Unproven,
}

/// What came of trying an entry again. This is the object that `--format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retried {
    /// The entry, as it was before.
    #[serde(flatten)]
    pub held: Held,
    /// Whether its bytes were put back into the spool.
    pub put_back: bool,
    /// How it ended.
    pub tried: Tried,
    /// In words.
    pub reason: String,
}
