//! The options of a cleaning, and what it reports of each thing that it found.

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;

/// What a cleaning is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Objects that are younger stay.
    pub older_than: Duration,
    /// The instant that their age is told by.
    pub now: DateTime<Utc>,
    /// Where scratch folders are.
    pub spill_dir: PathBuf,
    /// Whether only to say what would be done.
    pub dry_run: bool,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A receipt that vouches for nothing that stands.
    Receipt,
    /// A temporary file.
    Temporary,
    /// A scratch folder.
    Scratch,
    /// An upload that was never ended.
    Upload,
    /// An object by which it was found out what the store can do.
    Probe,
    /// The intent of a pruning whose journal stands.
    Intent,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// It is gone.
    Gone,
    /// It would go; this is a dry run.
    WouldGo,
    /// It stays.
    Stays,
    /// It could not be removed.
    Failed,
}

/// One thing that was found. This is the object that `--format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub place: String,
    /// Its size, where it has one.
    pub bytes: Option<u64>,
    /// What became of it.
    pub left: Left,
    /// Why.
    pub why: String,
}
