//! A run that has ended, as metrics and notices describe it.

use chrono::{DateTime, Utc};

use crate::cli::{account::Sums, exit::Exit};

/// A run that has ended.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// The command.
    pub(super) command: &'static str,
    /// How it ended.
    pub(super) exit: Exit,
    /// When it began.
    pub(super) began: DateTime<Utc>,
    /// When it ended.
    pub(super) ended: DateTime<Utc>,
    /// What it told.
    pub(super) sums: Sums,
    /// Its largest resident memory, where the system tells.
    pub(super) peak_memory: Option<u64>,
}
