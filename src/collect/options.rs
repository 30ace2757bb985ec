//! The options of a run of the collector. None has a default: the caller decides each of them.

use std::time::Duration;

use crate::{
    feed::venue::Wanted,
    net::{Backoff, Catalogue},
    storage::store::Store,
};

/// Nanoseconds since 1970 UTC.
pub type Clock = fn() -> i64;

/// How connections are kept.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    /// The waits between attempts.
    pub backoff: Backoff,
    /// A session is replaced when it is this old, or somewhat earlier.
    pub renew_after: Duration,
    /// A session without a word for so long is dead.
    pub silence: Duration,
    /// Spreads waits.
    pub seed: u64,
    /// The clock for the time of receipt.
    pub clock: Clock,
}

/// What is to be collected, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the files go: a local folder.
    pub spool: Store,
    /// The series.
    pub wanted: Vec<Wanted>,
    /// What they were chosen from, and where the exchanges are.
    pub catalogue: Catalogue,
    /// How often the lists of instruments are read again.
    pub relist_every: Duration,
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
