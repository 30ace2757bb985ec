//! How rows flow: layout, scan, merge, sink; sessions, tables and statements. The only floor, beside `cluster`, that
//! names DataFusion.
//!
//! A compaction is the statement of [`run`]: [`spool`] is the table that it reads, [`sink`] the one that it inserts into.
//! The way of a row: [`source`] has it decoded, [`checker`] brings it to the partition's columns and counts it for its
//! file, [`operators`] merge, number and order it, [`sink`] encodes it, reads it back and publishes it. Which partitions
//! are compacted is decided by the verbs.

pub mod budget;
pub mod checker;
pub mod claimed;
pub mod error;
pub mod functions;
pub mod job;
pub mod layout;
mod literals;
pub mod operators;
pub mod order;
pub mod plan;
pub mod run;
pub mod session;
pub mod sink;
pub mod source;
pub mod spool;
pub mod sql;
pub mod tables;

/// The version of the engine underneath.
pub use datafusion::DATAFUSION_VERSION;
