//! qlc turns recorded market data into a proven archive: thousands of small Parquet files a day become one sorted,
//! verified file per exchange, stream, symbol and day. `ARCHITECTURE.md` is the map.

pub mod error;
pub mod model;
pub mod storage;
pub mod compact;
pub mod engine;
pub mod query;
