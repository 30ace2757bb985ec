//! How rows flow: sessions, tables over the stores, and statements that read them. The only floor that names DataFusion.
//!
//! Refuses to know verbs: what is done with the rows is decided above.

pub mod error;
pub mod functions;
pub mod session;
pub mod sql;
pub mod tables;
