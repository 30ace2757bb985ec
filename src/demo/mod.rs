//! `demo`: a sample spool for a first look, as real input looks: several exchanges and streams, an overlap, a late file,
//! an older format, a corrupt file.
//!
//! Refuses randomness of its own and the clock: the same day and seed give the same bytes. It only makes the spool; what
//! is done with it (compact, verify, query) is said by the command line, for verbs do not call each other.

mod feeds;
mod market;
mod rng;
mod sample;
mod spool;

pub use feeds::Role;
pub use sample::{SampleFile, SampleReport, sample};
