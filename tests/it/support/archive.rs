//! Reads an archive back: data, meta, receipt, quarantine.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{Float64Type, Int64Type, Schema},
};
use bytes::Bytes;
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder, file::metadata::ParquetMetaData,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::events::Quote;

/// A Parquet file, read to the end.
#[derive(Debug)]
pub struct Decoded {
    pub batch: RecordBatch,
    /// Keys and values of the footer.
    pub footer: BTreeMap<String, String>,
    pub metadata: ParquetMetaData,
}

/// Reads a file to the end.
pub fn decode(file: &[u8]) -> Result<Decoded, String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(file))
        .map_err(|e| e.to_string())?;
    let metadata = builder.metadata().as_ref().clone();
    let schema = Arc::clone(builder.schema());
    let pairs = metadata
        .file_metadata()
        .key_value_metadata()
        .cloned()
        .unwrap_or_default();
    let footer = pairs
        .into_iter()
        .map(|kv| (kv.key, kv.value.unwrap_or_default()))
        .collect();
    let reader = builder.build().map_err(|e| e.to_string())?;
    let batches = reader
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| e.to_string())?;
    let batch = concat_batches(&schema, &batches).map_err(|e| e.to_string())?;
    // The reader puts the footer's keys into the schema, where they would make equal rows differ.
    let bare = Schema::new(schema.fields().clone());
    let batch = RecordBatch::try_new(Arc::new(bare), batch.columns().to_vec())
        .map_err(|e| e.to_string())?;
    Ok(Decoded {
        batch,
        footer,
        metadata,
    })
}

/// A published partition.
#[derive(Debug)]
pub struct Published {
    /// The bytes of `data.parquet`.
    pub bytes: Vec<u8>,
    pub data: Decoded,
    pub meta: Value,
    /// The text of `meta.json`.
    pub meta_text: String,
    /// The receipt that bears the name of the data's sha256.
    pub receipt: Value,
}

/// Where a partition lies, as `exchange=…/stream=…/symbol=…/date=…`.
pub fn dir(exchange: &str, stream: &str, symbol: &str, date: &str) -> String {
    format!("exchange={exchange}/stream={stream}/symbol={symbol}/date={date}")
}

/// The partition that most tests make, that of the files that [`super::run::Place::put_quotes`]
/// puts.
pub fn home() -> String {
    dir("binance", "bbo", "btcusdt", "20260203")
}

/// Reads the partition in the folder `dir` of an archive and checks that meta and receipt speak of
/// its data.
#[track_caller]
pub fn published(archive: &Path, dir: &str) -> Published {
    let read =
        |path: PathBuf| fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let bytes = read(archive.join(dir).join("data.parquet"));
    let data = decode(&bytes).unwrap();
    let meta_text = String::from_utf8(read(archive.join(dir).join("meta.json"))).unwrap();
    let meta: Value = serde_json::from_str(&meta_text).unwrap();
    let sha256 = sha256(&bytes);
    assert_eq!(
        meta["sha256"],
        sha256.as_str(),
        "meta.json speaks of other data"
    );
    assert_eq!(meta["row_count"], data.batch.num_rows());
    let receipt = read(
        archive
            .join("_receipts")
            .join(dir)
            .join(format!("{sha256}.json")),
    );
    let receipt: Value = serde_json::from_slice(&receipt).unwrap();
    Published {
        bytes,
        data,
        meta,
        meta_text,
        receipt,
    }
}

impl Published {
    /// The pairs that the order goes by, in the file's order.
    pub fn keys(&self) -> Vec<(i64, i64)> {
        let column = |name: &str| {
            self.data
                .batch
                .column_by_name(name)
                .unwrap()
                .as_primitive::<Int64Type>()
                .values()
        };
        column("ts_event")
            .iter()
            .copied()
            .zip(column("seq").iter().copied())
            .collect()
    }

    /// The rows as quotes, in the file's order.
    pub fn quotes(&self) -> Vec<Quote> {
        quotes_of(&self.data.batch)
    }
}

/// The rows of a batch as quotes; its `ts_event` must be an `Int64`.
pub fn quotes_of(batch: &RecordBatch) -> Vec<Quote> {
    let integer = |name: &str| {
        batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Int64Type>()
    };
    let float = |name: &str| {
        batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Float64Type>()
    };
    let (ts_event, seq) = (integer("ts_event"), integer("seq"));
    let (bid_price, bid_qty) = (float("bid_price"), float("bid_qty"));
    let (ask_price, ask_qty) = (float("ask_price"), float("ask_qty"));
    let quote = |i| Quote {
        ts_event: ts_event.value(i),
        seq: seq.value(i),
        bid_price: bid_price.value(i),
        bid_qty: bid_qty.value(i),
        ask_price: ask_price.value(i),
        ask_qty: ask_qty.value(i),
    };
    (0..batch.num_rows()).map(quote).collect()
}

/// `error.json` of a partition's quarantine, if there is one.
pub fn quarantine(archive: &Path, dir: &str) -> Option<Value> {
    let bytes = fs::read(archive.join("QUARANTINE").join(dir).join("error.json")).ok()?;
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// The sha256 of bytes in lower case hex.
pub fn sha256(bytes: &[u8]) -> String {
    qlc::storage::store::hex(&Sha256::digest(bytes))
}

/// All files below a folder with their bytes' sha256, to compare an archive before and after.
/// Records of runs are left out: every run adds one.
pub fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let key = path.strip_prefix(root).unwrap().display().to_string();
                if key.starts_with("_runs/") {
                    continue;
                }
                // A temporary file of a process that runs may be gone by now.
                let Ok(bytes) = fs::read(&path) else { continue };
                let _ = found.insert(key, sha256(&bytes));
            }
        }
    }
    found
}

/// The same without the notes of files that were recognised: a run that has nothing else to do may
/// leave one.
pub fn without_notes(mut listing: BTreeMap<String, String>) -> BTreeMap<String, String> {
    listing.retain(|key, _| !key.ends_with(".copies.json"));
    listing
}

#[cfg(test)]
mod tests {
    use super::{
        super::events::{DAY, Events, quotes},
        *,
    };

    #[test]
    fn a_partition_is_read_back_as_it_stands() {
        let root = tempfile::tempdir().unwrap();
        let dir = dir("binance", "bbo", "btcusdt", "20260203");
        let rows = quotes(DAY, 1_000_000, 5, 50);
        let bytes = Events::sealed(rows.clone()).bytes();
        let sha = sha256(&bytes);
        let put = |key: String, bytes: &[u8]| {
            let path = root.path().join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        put(format!("{dir}/data.parquet"), &bytes);
        put(
            format!("{dir}/meta.json"),
            format!("{{\"sha256\": \"{sha}\", \"row_count\": 50}}").as_bytes(),
        );
        put(format!("_receipts/{dir}/{sha}.json"), b"{\"rows_in\": 50}");
        put(
            format!("QUARANTINE/{dir}/error.json"),
            b"{\"error_type\": \"TRUNCATED\"}",
        );
        let partition = published(root.path(), &dir);
        assert_eq!(partition.quotes(), rows);
        assert_eq!(partition.keys()[49], (DAY + 49_000_000, 54));
        assert_eq!(partition.receipt["rows_in"], 50);
        assert_eq!(partition.bytes, bytes);
        assert!(
            partition.meta_text.starts_with("{\"sha256\"") && partition.meta["row_count"] == 50
        );
        assert_eq!(
            quarantine(root.path(), &dir).unwrap()["error_type"],
            "TRUNCATED"
        );
        assert_eq!(listing(root.path()).len(), 4);
        assert_eq!(listing(root.path())[&format!("{dir}/data.parquet")], sha);
    }
}
