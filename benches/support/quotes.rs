//! Quotes for the benches of single pieces: the same rows on every machine, and a spool whose files
//! all overlap.
//!
//! Refuses to be a market: prices walk, quantities repeat, times ascend, and that is all.

use std::{fs, path::Path, sync::Arc};

use arrow::{
    array::{
        ArrayRef, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray,
        UInt32Array,
    },
    compute::take_record_batch,
};
use parquet::{
    arrow::ArrowWriter,
    basic::Compression,
    file::{metadata::SortingColumn, properties::WriterProperties},
};
use qlc::model::{
    partition::Partition,
    schema::{STREAM_VERSION, canonical},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Rows of a chunk, as the encoder takes them.
pub(crate) const CHUNK: usize = 8192;
/// Rows of the spool.
pub(crate) const ROWS: usize = 40 * CHUNK;
/// Its files; each spans the day.
pub(crate) const FILES: usize = 8;
/// The first nanosecond of 2026-02-03.
const DAY: i64 = 1_770_076_800_000_000_000;

/// Where the quotes belong.
pub(crate) fn partition() -> Partition {
    let names =
        r#"{"exchange": "binance", "stream": "bbo", "symbol": "btcusdt", "date": "20260203"}"#;
    serde_json::from_str(names).unwrap()
}

/// `rows` quotes of one day in the order `(ts_event, seq)`.
pub(crate) fn quotes(rows: usize) -> RecordBatch {
    let mut random = StdRng::seed_from_u64(7);
    let step = 86_300_000_000_000 / i64::try_from(rows).unwrap();
    let ts: Int64Array = (0_i64..)
        .take(rows)
        .map(|n| DAY + n * step / 1_000_000 * 1_000_000)
        .collect();
    let received: Int64Array = ts
        .values()
        .iter()
        .map(|t| t + random.random_range(300..4_000) * 1_000)
        .collect();
    let seq: Int64Array = (0_i64..)
        .take(rows)
        .map(|n| 90_000_000_000 + 7 * n)
        .collect();
    let mut ticks = 1_002_500_i32;
    let mut walk = || {
        if random.random_bool(0.12) {
            ticks += random.random_range(-6..7);
        }
        f64::from(ticks) / 10.0
    };
    let bid: Float64Array = (0..rows).map(|_| walk()).collect();
    let ask: Float64Array = bid.values().iter().map(|price| price + 0.1).collect();
    let mut quantity = || -> Float64Array {
        (0..rows)
            .map(|_| f64::from(random.random_range(1..20_000)) / 1000.0)
            .collect()
    };
    let (bid_qty, ask_qty) = (quantity(), quantity());
    let name = |text: &str| Arc::new(StringArray::from(vec![text; rows])) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ts),
        Arc::new(seq),
        Arc::new(Int32Array::from(vec![0; rows])),
        Arc::new(received),
        name("binance"),
        name("BTCUSDT"),
        name("bbo"),
        Arc::new(Int8Array::from(vec![STREAM_VERSION; rows])),
        Arc::new(bid),
        Arc::new(bid_qty),
        Arc::new(ask),
        Arc::new(ask_qty),
    ];
    RecordBatch::try_new(canonical(&partition().series.stream), columns).unwrap()
}

/// Writes the spool below `root`: of [`FILES`] files each has every so many'th row.
pub(crate) fn write(root: &Path) {
    let all = quotes(ROWS);
    let folder = root.join("exchange=binance/stream=bbo/symbol=btcusdt");
    fs::create_dir_all(&folder).unwrap();
    for nth in 0..FILES {
        let rows: UInt32Array = (nth..ROWS)
            .step_by(FILES)
            .map(|row| u32::try_from(row).unwrap())
            .collect();
        let file =
            fs::File::create(folder.join(format!("2026-02-03_{nth:02}-00-00.parquet"))).unwrap();
        let by = |column_idx| SortingColumn {
            column_idx,
            descending: false,
            nulls_first: false,
        };
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_sorting_columns(Some(vec![by(0), by(1)]))
            .build();
        let rows = take_record_batch(&all, &rows).unwrap();
        let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        let _ = writer.close().unwrap();
    }
}
