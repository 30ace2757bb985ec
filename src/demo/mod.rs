//! `demo`: a sample spool for a first look, as real input looks: several exchanges and streams, an
//! overlap, a late file, an older format, a corrupt file.
//!
//! The same day and seed give the same bytes. Only the spool is made here; the command line
//! compacts, verifies and queries it, because verbs do not call each other.

mod feeds;
mod market;
mod published;
mod rng;
mod sample;
mod spool;
mod twins;

pub use feeds::Role;
pub use published::{PUBLISHED, RECORDED, published};
pub use sample::{SampleFile, SampleReport, sample};
pub use twins::{PARIS, TOKYO, twins};
