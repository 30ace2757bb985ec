//! How rows flow: footers, layout, scan, merge, sink, read-back; sessions, tables and statements. The only floor that
//! names DataFusion.
//!
//! The way of a row: [`reader`] decodes it, [`checker`] brings it to the partition's columns and bills it to its file,
//! [`operators`] merge, number and order it, [`sink`] encodes it and reads it back. Refuses to decide which partitions are
//! compacted: that is the verbs' business.

pub mod ahead;
pub mod budget;
pub mod census;
pub mod checker;
pub mod claimed;
pub mod claims;
pub mod density;
pub mod encode;
pub mod error;
pub mod evidence;
pub mod examine;
pub mod extract;
pub mod fault;
pub mod functions;
pub mod job;
pub mod layout;
pub mod operators;
pub mod order;
pub mod plan;
pub mod probe;
pub mod proof;
pub mod readback;
pub mod reader;
pub mod run;
pub mod salvage;
pub mod session;
pub mod shape;
pub mod sink;
pub mod source;
pub mod sql;
pub mod tables;

/// The version of the engine underneath.
pub use datafusion::DATAFUSION_VERSION;
