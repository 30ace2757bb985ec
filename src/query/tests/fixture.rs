//! A spool and an archive in a temporary folder, and queries over them.

use std::{fs, path::PathBuf, sync::Arc};

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
    datatypes::{Field, Schema},
};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};

use crate::{
    error::{Error, Result},
    model::{
        layout,
        meta::Meta,
        partition::{Partition, Series},
    },
    query::{self, Format, Options, Statement},
    storage::store::Store,
};

/// 2026-02-03T00:00:00Z.
pub(super) const DAY: i64 = 1_770_076_800_000_000_000;
pub(super) const SECOND: i64 = 1_000_000_000;

pub(super) struct Stores {
    pub(super) dir: tempfile::TempDir,
}

/// `exchange/stream/symbol/date`
pub(super) fn partition(text: &str) -> Partition {
    let parts: Vec<&str> = text.split('/').collect();
    let series = Series {
        exchange: parts[0].parse().unwrap(),
        stream: parts[1].parse().unwrap(),
        symbol: parts[2].parse().unwrap(),
    };
    series.on(parts[3].parse().unwrap())
}

pub(super) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(n, a)| Field::new(*n, a.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns.into_iter().map(|(_, a)| a).collect(),
    )
    .unwrap()
}

pub(super) fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub(super) fn floats(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

/// Quotes at these (time, seq, bid, ask), with in-file names that differ from the path's.
pub(super) fn quotes(rows: &[(i64, i64, f64, f64)]) -> RecordBatch {
    let names: ArrayRef = Arc::new(StringArray::from(vec!["in-file"; rows.len()]));
    batch(vec![
        (
            "ts_event",
            ints(&rows.iter().map(|r| r.0).collect::<Vec<_>>()),
        ),
        ("seq", ints(&rows.iter().map(|r| r.1).collect::<Vec<_>>())),
        ("exchange", Arc::clone(&names)),
        ("symbol", names),
        (
            "bid_price",
            floats(&rows.iter().map(|r| r.2).collect::<Vec<_>>()),
        ),
        (
            "ask_price",
            floats(&rows.iter().map(|r| r.3).collect::<Vec<_>>()),
        ),
    ])
}

impl Stores {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("spool")).unwrap();
        fs::create_dir(dir.path().join("archive")).unwrap();
        Self { dir }
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(super) fn put(&self, below: &str, bytes: &[u8]) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Writes a Parquet file with row groups of four rows.
    pub(super) fn put_rows(&self, below: &str, rows: &RecordBatch) {
        self.put_groups(below, rows, 4);
    }

    /// Writes a Parquet file with row groups of `size` rows.
    pub(super) fn put_groups(&self, below: &str, rows: &RecordBatch, size: usize) {
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(size))
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
        // The writer recurses once for every row group that a batch reaches into.
        for at in (0..rows.num_rows()).step_by(size) {
            writer
                .write(&rows.slice(at, size.min(rows.num_rows() - at)))
                .unwrap();
        }
        self.put(below, &writer.into_inner().unwrap());
    }

    /// Publishes a partition of the archive; its meta is true but for the hash.
    pub(super) fn publish(&self, partition: &Partition, rows: &RecordBatch) {
        self.put_rows(&format!("archive/{}", layout::data_key(partition)), rows);
        let meta = Meta {
            row_count: rows.num_rows() as u64,
            schema_version: "v1".to_owned(),
            ts_event_min: partition.date.start_ns().to_string(),
            ts_event_max: (partition.date.end_ns() - 1).to_string(),
            sha256: "a".repeat(64),
            created_at: "2026-02-04T01:00:00Z".to_owned(),
            source_files: 3,
        };
        self.put(
            &format!("archive/{}", layout::meta_key(partition)),
            &meta.to_json().unwrap(),
        );
    }

    /// Puts a receipt beside a partition; what it says is for `verify`.
    pub(super) fn vouch(&self, partition: &Partition) {
        self.put(
            &format!(
                "archive/{}",
                layout::receipt_key(partition, &"a".repeat(64))
            ),
            b"{}",
        );
    }

    pub(super) fn options(
        &self,
        statement: Statement,
        params: &[(&str, &str)],
        format: Format,
    ) -> Options {
        Options {
            statement,
            params: params
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            format,
            output: None,
            memory_limit: 256 << 20,
            spill_dir: self.path("spill"),
            remote: None,
        }
    }

    /// The rows of a query as it prints them, and their number.
    pub(super) async fn run(&self, options: &Options) -> Result<(u64, String)> {
        let open = |name: &str| Store::open(&self.path(name).display().to_string()).unwrap();
        let mut out = Vec::new();
        let answer = query::run(&open("spool"), &open("archive"), options, &mut out).await?;
        Ok((answer.rows, String::from_utf8(out).unwrap()))
    }

    /// The lines of a statement's result as CSV, without the header.
    pub(super) async fn lines(&self, sql: &str) -> Vec<String> {
        let options = self.options(Statement::Sql(sql.to_owned()), &[], Format::Csv);
        let (rows, text) = self
            .run(&options)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {}", e.chain()));
        let lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        assert!(lines.len() as u64 >= rows, "{sql}");
        lines
    }

    pub(super) async fn named(&self, name: &str, params: &[(&str, &str)]) -> Vec<String> {
        let options = self.options(Statement::Named(name.to_owned()), params, Format::Csv);
        let (rows, text) = self
            .run(&options)
            .await
            .unwrap_or_else(|e| panic!("{name}: {}", e.chain()));
        let lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        assert_eq!(lines.len() as u64, rows, "{name}");
        lines
    }

    pub(super) async fn error(&self, sql: &str, params: &[(&str, &str)]) -> Error {
        let options = self.options(Statement::Sql(sql.to_owned()), params, Format::Csv);
        match self.run(&options).await {
            Ok((rows, _)) => panic!("{sql}: {rows} rows, but an error was expected"),
            Err(error) => error,
        }
    }
}
