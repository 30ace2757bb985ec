//! Rows become a Parquet file as a collector seals one: in order, with the row hash in the footer,
//! synced and read back.

use std::{fs::File, path::Path, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch,
        StringArray, new_null_array,
    },
    datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef},
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

use super::row::Trade;
use crate::{
    error::{Error, Kind, Result},
    model::{
        partition::Stream,
        row_hash::{self, FOOTER_KEY, RowHash, VERSION_KEY},
        schema,
    },
};

/// The column that says where a row comes from.
pub const SOURCE: &str = "source";

/// Rows that are encoded at a time.
const CHUNK: usize = 16_384;
/// Rows of a row group, as in the archive.
const GROUP: usize = 262_144;

/// The columns of published rows of a stream: those that are collected, and [`SOURCE`].
fn published(stream: &Stream) -> SchemaRef {
    let mut fields = schema::canonical(stream).fields().to_vec();
    fields.push(Arc::new(Field::new(SOURCE, DataType::Utf8, true)));
    Arc::new(Schema::new(fields))
}

/// Writes a Parquet file as a collector seals a spool file. It is the caller's own: who publishes it
/// in a spool does so by an atomic write.
#[derive(Debug)]
struct SealedWriter {
    shown: String,
    path: std::path::PathBuf,
    writer: ArrowWriter<File>,
    rows: u64,
    hash: RowHash,
}

impl SealedWriter {
    /// Begins the file at `target`, which is replaced.
    ///
    /// # Errors
    /// When it cannot be made.
    fn create(target: &Path, schema: SchemaRef) -> Result<Self> {
        let shown = target.display().to_string();
        let file = File::create(target)
            .map_err(|e| Error::io(format!("{shown}: cannot be written"), e))?;
        let writer = ArrowWriter::try_new(file, schema, Some(properties()?))
            .map_err(|e| unwritten(&shown, e))?;
        Ok(Self {
            shown,
            path: target.to_owned(),
            writer,
            rows: 0,
            hash: RowHash::EMPTY,
        })
    }

    /// Adds rows, which ascend after those before them by `(ts_event, seq, sub_seq)`.
    ///
    /// # Errors
    /// When they cannot be written.
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.hash = self.hash.and(row_hash::of_batch(batch)?);
        self.rows += batch.num_rows() as u64;
        self.writer
            .write(batch)
            .map_err(|e| unwritten(&self.shown, e))
    }

    /// Ends the file with these keys and values in its footer, and returns how many rows it has and
    /// their hash.
    ///
    /// # Errors
    /// When it cannot be written, or other rows are read back.
    fn finish(mut self, footer: &[(&str, String)]) -> Result<(u64, RowHash)> {
        let own = [
            (FOOTER_KEY, self.hash.to_string()),
            (VERSION_KEY, env!("CARGO_PKG_VERSION").to_owned()),
        ];
        for (key, value) in own.iter().chain(footer) {
            self.writer
                .append_key_value_metadata(KeyValue::new((*key).to_owned(), value.clone()));
        }
        let shown = self.shown;
        let file = self.writer.into_inner().map_err(|e| unwritten(&shown, e))?;
        file.sync_all()
            .map_err(|e| Error::io(format!("{shown}: cannot be synced"), e))?;
        let found = read_back(&self.path, &shown)?;
        if found != (self.rows, self.hash) {
            return Err(Error::new(
                Kind::Io,
                format!("{shown}: other rows were read back than were written; check the disk"),
            ));
        }
        Ok(found)
    }
}

fn unwritten(shown: &str, e: ParquetError) -> Error {
    Error::io(format!("{shown}: cannot be written"), e)
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
    for column in [schema::TS_EVENT, schema::SEQ, "first_id", "last_id"] {
        properties = properties
            .set_column_dictionary_enabled(column.into(), false)
            .set_column_encoding(column.into(), Encoding::DELTA_BINARY_PACKED);
    }
    Ok(properties.build())
}

/// How many rows stand in a file, and their hash.
fn read_back(path: &Path, shown: &str) -> Result<(u64, RowHash)> {
    let wrong = || format!("{shown}: does not read back");
    let file = File::open(path).map_err(|e| Error::io(wrong(), e))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(CHUNK).build())
        .map_err(|e| Error::io(wrong(), e))?;
    let (mut rows, mut hash, mut last) = (0, RowHash::EMPTY, None);
    for batch in reader {
        let batch = batch.map_err(|e| Error::io(wrong(), e))?;
        rows += batch.num_rows() as u64;
        hash = hash.and(row_hash::of_batch(&batch)?);
        let ints = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Int64Type>();
        let sub_seq = batch
            .column_by_name(schema::SUB_SEQ)
            .and_then(|column| column.as_primitive_opt::<Int32Type>());
        let (Some(ts), Some(seq), Some(sub_seq)) =
            (ints(schema::TS_EVENT), ints(schema::SEQ), sub_seq)
        else {
            return Err(Error::new(Kind::Io, wrong()));
        };
        for ((ts, seq), sub_seq) in ts.iter().zip(seq).zip(sub_seq) {
            let key = Some((ts, seq, sub_seq));
            if last > key {
                let what = format!("{shown}: the rows are not in order");
                return Err(Error::new(Kind::Internal, what));
            }
            last = key;
        }
    }
    Ok((rows, hash))
}

/// Trades on their way into a file, with what they have in common.
#[derive(Debug)]
pub(super) struct TradeWriter {
    writer: SealedWriter,
    schema: SchemaRef,
    exchange: String,
    symbol: String,
    stream: String,
    source: &'static str,
    /// Whether a trade that has no name is called by its number.
    is_called_by_seq: bool,
    held: Vec<Trade>,
    sub_seq: Vec<i32>,
}

/// What all trades of a file have in common.
pub(super) struct Common<'a> {
    pub(super) exchange: &'a str,
    pub(super) symbol: &'a str,
    pub(super) stream: &'a Stream,
    pub(super) source: &'static str,
    /// Whether a trade is called by its number.
    pub(super) is_called_by_seq: bool,
}

impl TradeWriter {
    pub(super) fn create(target: &Path, common: &Common) -> Result<Self> {
        let schema = published(common.stream);
        Ok(Self {
            writer: SealedWriter::create(target, Arc::clone(&schema))?,
            schema,
            exchange: common.exchange.to_owned(),
            symbol: common.symbol.to_owned(),
            stream: common.stream.to_string(),
            source: common.source,
            is_called_by_seq: common.is_called_by_seq,
            held: Vec::with_capacity(CHUNK),
            sub_seq: Vec::with_capacity(CHUNK),
        })
    }

    /// Adds a trade, which comes after those before it.
    pub(super) fn push(&mut self, trade: Trade) -> Result<()> {
        let nth = match (self.held.last(), self.sub_seq.last()) {
            (Some(last), Some(nth)) if (last.ts_event, last.seq) == (trade.ts_event, trade.seq) => {
                nth.saturating_add(1)
            }
            _ => 0,
        };
        if self.held.len() >= CHUNK {
            self.flush()?;
        }
        self.held.push(trade);
        self.sub_seq.push(nth);
        Ok(())
    }

    pub(super) fn finish(mut self, footer: &[(&str, String)]) -> Result<()> {
        self.flush()?;
        let _ = self.writer.finish(footer)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let trades = &self.held;
        if trades.is_empty() {
            return Ok(());
        }
        let ints = |of: fn(&Trade) -> i64| {
            Arc::new(trades.iter().map(|t| Some(of(t))).collect::<Int64Array>()) as ArrayRef
        };
        let told = |of: fn(&Trade) -> i64| {
            let values = trades.iter().map(|t| Some(of(t)).filter(|id| *id >= 0));
            Arc::new(values.collect::<Int64Array>()) as ArrayRef
        };
        let floats = |of: fn(&Trade) -> f64| {
            Arc::new(trades.iter().map(|t| Some(of(t))).collect::<Float64Array>()) as ArrayRef
        };
        let text = |value: &str| {
            let values = trades.iter().map(|_| Some(value));
            Arc::new(values.collect::<StringArray>()) as ArrayRef
        };
        let called = |t: &Trade| match t.name.text() {
            "" => self.is_called_by_seq.then(|| t.seq.to_string()),
            name => Some(name.to_owned()),
        };
        let bytes = |of: fn(&Trade) -> i8| {
            Arc::new(trades.iter().map(|t| Some(of(t))).collect::<Int8Array>()) as ArrayRef
        };
        let columns = vec![
            ints(|t| t.ts_event),
            ints(|t| t.seq),
            Arc::new(Int32Array::from(self.sub_seq.clone())),
            new_null_array(&DataType::Int64, trades.len()),
            text(&self.exchange),
            text(&self.symbol),
            text(&self.stream),
            bytes(|_| schema::STREAM_VERSION),
            floats(|t| t.price),
            floats(|t| t.qty),
            bytes(|t| t.side),
            Arc::new(trades.iter().map(called).collect::<StringArray>()),
            told(|t| t.first_id),
            told(|t| t.last_id),
            text(self.source),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|e| Error::caused(Kind::Internal, "trades do not fit their columns", e))?;
        self.writer.write(&batch)?;
        self.held.clear();
        self.sub_seq.clear();
        Ok(())
    }
}
