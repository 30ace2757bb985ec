//! qlc compacts recorded market data: thousands of small Parquet files a day become one sorted,
//! proven file per exchange, stream, symbol and day. `ARCHITECTURE.md` describes the design: the
//! flow of a day, a glossary, the floors and what must always hold.

pub mod archive;
pub mod clean;
pub mod cli;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod collect;
pub mod compact;
pub mod demo;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod feed;
pub mod file;
pub mod import;
pub mod inspect;
pub mod job;
pub mod model;
pub mod net;
pub mod prune;
pub mod quarantine;
pub mod query;
pub mod reconcile;
pub mod record;
pub mod replay;
pub mod report;
pub mod status;
pub mod storage;
pub mod verify;
