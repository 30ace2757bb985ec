//! What one run of a partition's plan came to.
//!
//! An attempt stands between the decision to build and the outcome of the partition: either it is
//! the outcome, or it tells what the next attempt, or the next decision, is to do otherwise. That
//! another process wrote first is no attempt but an error of the kind
//! [`Conflict`](crate::error::Kind::Conflict), wherever it is met: what was decided is decided
//! again.

use crate::{archive::state::Published, file::fault::Problem, model::receipt::LostSource};

/// What an attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To publish the partition.
    Publish,
    /// To learn the digest of the data; nothing is published.
    Rehearse {
        /// The revision of the encodings that the data would have.
        encoding: u32,
    },
}

/// What an attempt came to. Only the first of these has changed anything in the archive, but for
/// rows that went to QUARANTINE.
#[derive(Debug)]
pub enum Attempt {
    /// The partition is published.
    Published(Box<Published>),
    /// The data would be this; nothing was published.
    Rehearsed {
        /// Its digest.
        sha256: String,
    },
    /// No row of this day was there; what went to QUARANTINE went there.
    NoRows,
    /// Some sources hold the same rows as others; nothing was written.
    Copies(Vec<FoundCopy>),
    /// The new generation would drop or alter published rows of these sources; nothing was written.
    Unaccounted(Vec<LostSource>),
    /// Some sources could not be read as planned, by their places; nothing was written.
    Problems(Vec<(usize, Problem)>),
}

/// A source that holds the same rows as another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCopy {
    /// Its place among the sources.
    pub index: usize,
    /// The key of the source whose rows count.
    pub copy_of: String,
}
