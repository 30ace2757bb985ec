//! A sealed file of the spool: rows in order, with the order and the row hash in the footer, read
//! back before anybody relies on it.
//!
//! Whoever makes one says how it becomes visible; here is what stands in it.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type, SchemaRef},
};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::{KeyValue, SortingColumn},
        properties::WriterProperties,
    },
};

use super::tally::RowTally;
use crate::{
    error::{Error, Kind, Result},
    model::{
        row_hash::{FOOTER_KEY, RowHash, VERSION_KEY},
        schema,
    },
};

/// Rows of a row group, as in the archive.
const GROUP: usize = 262_144;
/// Rows that are decoded at a time.
const CHUNK: usize = 16_384;

/// What stands in a sealed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedContent {
    /// Its rows.
    pub rows: u64,
    /// Their hash.
    pub row_hash: RowHash,
    /// Its size.
    pub bytes: u64,
}

/// Writes a sealed file.
#[derive(Debug)]
pub struct SealedWriter {
    path: PathBuf,
    writer: ArrowWriter<File>,
    written: RowTally,
}

impl SealedWriter {
    /// Begins the file, which is `path`. Its first two columns are `ts_event` and `seq`.
    ///
    /// # Errors
    /// When a column cannot be encoded.
    pub fn new(file: File, path: &Path, schema: SchemaRef) -> Result<Self> {
        let writer = ArrowWriter::try_new(file, schema, Some(properties()?))
            .map_err(|e| unwritten(path, e))?;
        Ok(Self {
            path: path.to_owned(),
            writer,
            written: RowTally::default(),
        })
    }

    /// Adds rows, which ascend after those before them by `(ts_event, seq, sub_seq)`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.written.take(batch)?;
        self.writer
            .write(batch)
            .map_err(|e| unwritten(&self.path, e))
    }

    /// Ends the file with these keys and values in its footer, besides those that every sealed file
    /// has; returns how many rows were written, and their hash.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self, footer: &[(&str, String)]) -> Result<(u64, RowHash)> {
        let (_, rows, row_hash) = self.end(footer)?;
        Ok((rows, row_hash))
    }

    /// The same for a file that nobody else syncs and reads back.
    ///
    /// # Errors
    /// When it cannot be written, or other rows are read back.
    pub fn finish_proven(self, footer: &[(&str, String)]) -> Result<SealedContent> {
        let path = self.path.clone();
        let (file, rows, row_hash) = self.end(footer)?;
        file.sync_all()
            .map_err(|e| Error::io(format!("{}: cannot be synced", path.display()), e))?;
        let found = read_back(&path)?;
        if (found.rows, found.row_hash) == (rows, row_hash) {
            return Ok(found);
        }
        Err(other_rows(&path.display().to_string()))
    }

    fn end(mut self, footer: &[(&str, String)]) -> Result<(File, u64, RowHash)> {
        let own = [
            (FOOTER_KEY, self.written.row_hash.to_string()),
            (VERSION_KEY, env!("CARGO_PKG_VERSION").to_owned()),
        ];
        for (key, value) in own.iter().chain(footer) {
            self.writer
                .append_key_value_metadata(KeyValue::new((*key).to_owned(), value.clone()));
        }
        let file = self
            .writer
            .into_inner()
            .map_err(|e| unwritten(&self.path, e))?;
        Ok((file, self.written.rows, self.written.row_hash))
    }
}

fn unwritten(path: &Path, error: ParquetError) -> Error {
    Error::io(format!("{}: cannot be written", path.display()), error)
}

/// What is said of a file that does not hold what was written to it.
#[must_use]
pub fn other_rows(shown: &str) -> Error {
    Error::new(
        Kind::Io,
        format!("{shown}: other rows were read back than were written; check the disk"),
    )
}

fn properties() -> Result<WriterProperties> {
    let level =
        ZstdLevel::try_new(1).map_err(|e| Error::caused(Kind::Internal, "the zstd level", e))?;
    let ascending = |column_idx| SortingColumn {
        column_idx,
        descending: false,
        nulls_first: true,
    };
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP))
        .set_created_by(concat!("qlc version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_sorting_columns(Some(vec![ascending(0), ascending(1)]));
    for column in [
        schema::TS_EVENT,
        schema::SEQ,
        schema::TS_RECV,
        "first_id",
        "last_id",
    ] {
        properties = properties
            .set_column_dictionary_enabled(column.into(), false)
            .set_column_encoding(column.into(), Encoding::DELTA_BINARY_PACKED);
    }
    Ok(properties.build())
}

/// Reads a file to its end.
///
/// # Errors
/// When it does not read back, or its rows are not in order.
pub fn read_back(path: &Path) -> Result<SealedContent> {
    let wrong = |e: ParquetError| Error::io(format!("{}: does not read back", path.display()), e);
    let file = File::open(path)
        .map_err(|e| Error::io(format!("{}: cannot be read back", path.display()), e))?;
    let bytes = file
        .metadata()
        .map_err(|e| Error::io(path.display(), e))?
        .len();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(CHUNK).build())
        .map_err(wrong)?;
    let (mut all, mut last) = (RowTally::default(), None);
    for batch in reader {
        let batch =
            batch.map_err(|e| Error::io(format!("{}: does not read back", path.display()), e))?;
        all.take(&batch)?;
        if !is_in_order(&batch, &mut last) {
            return Err(Error::new(
                Kind::Internal,
                format!("{}: the rows are not in order", path.display()),
            ));
        }
    }
    Ok(SealedContent {
        rows: all.rows,
        row_hash: all.row_hash,
        bytes,
    })
}

/// Whether the rows of a batch ascend after `last` by `(ts_event, seq, sub_seq)`; version 1 has no
/// `sub_seq`.
fn is_in_order(batch: &RecordBatch, last: &mut Option<(i64, i64, i32)>) -> bool {
    let ints = |name: &str| {
        let column = batch.column_by_name(name)?;
        Some(&column.as_primitive_opt::<Int64Type>()?.values()[..])
    };
    let (Some(times), Some(numbers)) = (ints(schema::TS_EVENT), ints(schema::SEQ)) else {
        return false;
    };
    let places: &[i32] = match batch.column_by_name(schema::SUB_SEQ) {
        Some(column) => match column.as_primitive_opt::<Int32Type>() {
            Some(column) => column.values(),
            None => return false,
        },
        None => &[],
    };
    let places = places.iter().copied().chain(std::iter::repeat(0));
    for ((time, number), place) in times.iter().zip(numbers).zip(places) {
        let key = Some((*time, *number, place));
        if *last > key {
            return false;
        }
        *last = key;
    }
    true
}
