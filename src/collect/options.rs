//! What a run of the collector is told.
//!
//! Refuses defaults: whoever runs it decides each of them.

use std::{collections::BTreeMap, time::Duration};

use super::link::Keeping;
use crate::{feed::venue::Wanted, storage::store::Store};

/// What is to be collected, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the files go: a local folder.
    pub spool: Store,
    /// The series.
    pub wanted: Vec<Wanted>,
    /// Other places for the exchanges' endpoints, by their names.
    pub endpoints: BTreeMap<String, String>,
    /// Events are acknowledged at this interval, or more often.
    pub commit_every: Duration,
    /// A file is sealed when its first row is this old.
    pub rotate_after: Duration,
    /// A file is sealed when its rows take so many bytes in memory.
    pub rotate_bytes: u64,
    /// Bytes of rows in memory.
    pub memory_limit: u64,
    /// How connections are kept.
    pub keeping: Keeping,
    /// Ends the run by itself.
    pub duration: Option<Duration>,
    /// Ends the run by itself.
    pub max_events: Option<u64>,
}
