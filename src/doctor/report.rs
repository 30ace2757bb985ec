//! The options of an examination, and what it reports of each thing.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::storage::{bucket::BucketOptions, spools::Spools};

/// What is examined.
#[derive(Debug, Clone)]
pub struct Options {
    /// The spool's path or URL, or those of several collectors.
    pub spool: Spools,
    /// The archive's path or URL.
    pub archive: String,
    /// How to speak to buckets.
    pub bucket: BucketOptions,
    /// Where runs spill.
    pub spill_dir: PathBuf,
    /// Bytes that a run may have resident.
    pub memory_limit: u64,
    /// The file of metrics, where one is kept.
    pub metrics_file: Option<PathBuf>,
    /// The present instant.
    pub now: DateTime<Utc>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// A run may end well all the same.
    Warning,
    /// A run cannot end well.
    Problem,
}

/// What is said of one thing. This is the object that `--format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The thing.
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub mend: Option<String>,
}

impl Check {
    /// As it should be.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Ok,
            found: found.into(),
            mend: None,
        }
    }

    /// A run may end well all the same.
    pub fn warning(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Warning,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }

    /// A run cannot end well.
    pub fn problem(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Problem,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }
}
