//! What exists: partitions, dates, layout, schema, meta, receipt, quarantine, journals, records of
//! runs, row hash, metrics.
//!
//! Values only: no I/O, clock, randomness or async.

pub mod count;
pub mod coverage;
pub mod date;
pub mod journal;
pub mod layout;
pub mod meta;
pub mod metric;
pub mod near;
pub mod partition;
pub mod plain;
pub mod quality;
pub mod quarantine;
pub mod receipt;
pub mod reconcile;
pub mod row_hash;
pub mod run;
pub mod schema;
pub mod shell;
pub mod size;
pub mod sources;
pub mod time;
pub mod types;
