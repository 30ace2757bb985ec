//! Rows become a Parquet file as a collector seals one: in order, with the row hash in the footer,
//! synced and read back.

use std::{fs::File, path::Path, sync::Arc};

use arrow::{
    array::{
        ArrayRef, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray,
        new_null_array,
    },
    datatypes::{DataType, Field, Schema, SchemaRef},
};

use super::row::Trade;
use crate::{
    error::{Error, Kind, Result},
    file::sealed::SealedWriter,
    model::{
        partition::Stream,
        schema::{self, SOURCE},
    },
};

/// Rows that are encoded at a time.
const CHUNK: usize = 16_384;

/// The columns of published rows of a stream: those that are collected, and [`SOURCE`].
fn published(stream: &Stream) -> SchemaRef {
    let mut fields = schema::canonical(stream).fields().to_vec();
    fields.push(Arc::new(Field::new(SOURCE, DataType::Utf8, true)));
    Arc::new(Schema::new(fields))
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
        let file = File::create(target)
            .map_err(|e| Error::io(format!("{}: cannot be written", target.display()), e))?;
        Ok(Self {
            writer: SealedWriter::new(file, target, Arc::clone(&schema))?,
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
        let _ = self.writer.finish_proven(footer)?;
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
