//! Rows of one series in memory, column by column: from events, to and from the journal, into a spool file.
//!
//! The columns that have one value throughout (exchange, symbol, stream, version) are not kept; they are added when a
//! spool file is made.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray, StringBuilder},
    datatypes::{Float64Type, Int8Type, Int64Type, Schema, SchemaRef},
};

use crate::{
    error::{Error, Kind as ErrorKind, Result},
    feed::{
        event::{Body, Event, Kind, TradeId},
        venue::Wanted,
    },
    model::schema,
};

/// The version of the streams' columns.
const STREAM_VERSION: i8 = 1;

/// At most so many bytes of a row, where a step is planned.
const ROW_BYTES: usize = 72;
/// Room for the name of a trade; longer ones make more.
const NAME_BYTES: usize = 16;

/// Rows in the order in which they came.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    kind: Kind,
    ts_event: Vec<i64>,
    seq: Vec<i64>,
    ts_recv: Vec<i64>,
    /// As many as the stream has columns of numbers; NaN is null.
    floats: Vec<Vec<f64>>,
    /// The side of a trade.
    sides: Vec<i8>,
    /// The time of the next funding.
    next: Vec<i64>,
    /// The ends of the names of trades in `names`.
    ends: Vec<usize>,
    names: String,
}

impl Rows {
    /// No rows of a stream.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let floats = match kind {
            Kind::Bbo => 4,
            Kind::Trade | Kind::MarkPrice => 2,
            Kind::Funding | Kind::OpenInterest => 1,
        };
        Self {
            kind,
            ts_event: Vec::new(),
            seq: Vec::new(),
            ts_recv: Vec::new(),
            floats: vec![Vec::new(); floats],
            sides: Vec::new(),
            next: Vec::new(),
            ends: Vec::new(),
            names: String::new(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ts_event.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ts_event.is_empty()
    }

    /// Bytes that the rows take.
    pub(crate) fn bytes(&self) -> usize {
        let trade = if self.kind == Kind::Trade { 9 } else { 0 };
        let row = 24 + 8 * self.floats.len() + trade + if self.kind == Kind::Funding { 8 } else { 0 };
        self.len() * row + self.names.len()
    }

    /// Bytes of memory that are taken for the rows, those for rows to come included.
    pub(crate) fn held(&self) -> usize {
        let ints = self.ts_event.capacity() + self.seq.capacity() + self.ts_recv.capacity() + self.next.capacity();
        let floats: usize = self.floats.iter().map(Vec::capacity).sum();
        8 * (ints + floats + self.ends.capacity()) + self.sides.capacity() + self.names.capacity()
    }

    /// Bytes that one more row will take: none, or those of a step.
    pub(crate) fn growth(&self) -> usize {
        if self.len() < self.ts_event.capacity() { 0 } else { step(self.len()) * ROW_BYTES }
    }

    /// Makes room for a step of rows, so that memory grows by what a limit can bear instead of being doubled.
    fn grow(&mut self) {
        let more = step(self.len());
        for column in [&mut self.ts_event, &mut self.seq, &mut self.ts_recv] {
            column.reserve_exact(more);
        }
        for column in &mut self.floats {
            column.reserve_exact(more);
        }
        match self.kind {
            Kind::Trade => {
                self.sides.reserve_exact(more);
                self.ends.reserve_exact(more);
                self.names.reserve_exact(more * NAME_BYTES);
            }
            Kind::Funding => self.next.reserve_exact(more),
            Kind::Bbo | Kind::MarkPrice | Kind::OpenInterest => {}
        }
    }

    /// Adds an event under the number `seq`.
    pub fn push(&mut self, event: Event, seq: i64) {
        if self.len() == self.ts_event.capacity() {
            self.grow();
        }
        let floats = match event.body {
            Body::Bbo { bid_price, bid_qty, ask_price, ask_qty } => [bid_price, bid_qty, ask_price, ask_qty],
            Body::Trade { price, qty, side, id } => {
                self.sides.push(side);
                match id {
                    TradeId::Text(text) => self.names.push_str(&text),
                    TradeId::Number(number) => {
                        use std::fmt::Write;
                        let _ = write!(self.names, "{number}");
                    }
                }
                self.ends.push(self.names.len());
                [price, qty, f64::NAN, f64::NAN]
            }
            Body::MarkPrice { mark_price, index_price } => {
                [mark_price, index_price.unwrap_or(f64::NAN), f64::NAN, f64::NAN]
            }
            Body::Funding { rate, next_ns } => {
                self.next.push(next_ns);
                [rate, f64::NAN, f64::NAN, f64::NAN]
            }
            Body::OpenInterest(value) => [value, f64::NAN, f64::NAN, f64::NAN],
        };
        for (column, value) in self.floats.iter_mut().zip(floats) {
            column.push(value);
        }
        self.ts_event.push(event.ts_event);
        self.ts_recv.push(event.ts_recv);
        self.seq.push(seq);
    }

    /// Adds the rows of a batch that [`Self::narrow`] made.
    pub(crate) fn extend(&mut self, batch: &RecordBatch) -> Result<()> {
        let wrong = || Error::new(ErrorKind::BadInput, "the journal holds rows of other columns");
        if batch.schema().fields() != narrow_schema(self.kind)?.fields() {
            return Err(wrong());
        }
        let ints = |at: usize| batch.columns().get(at).and_then(|c| c.as_primitive_opt::<Int64Type>());
        for (at, column) in [(0, &mut self.ts_event), (1, &mut self.seq), (2, &mut self.ts_recv)] {
            column.extend(ints(at).ok_or_else(wrong)?.values());
        }
        for (column, values) in self.floats.iter_mut().zip(batch.columns().iter().skip(3)) {
            let values = values.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?;
            column.extend(values.iter().map(|value| value.unwrap_or(f64::NAN)));
        }
        match self.kind {
            Kind::Trade => {
                let columns = batch.columns();
                let sides = columns.get(5).and_then(|c| c.as_primitive_opt::<Int8Type>()).ok_or_else(wrong)?;
                let names = columns.get(6).and_then(|c| c.as_string_opt::<i32>()).ok_or_else(wrong)?;
                self.sides.extend(sides.values());
                for name in names.iter().flatten() {
                    self.names.push_str(name);
                    self.ends.push(self.names.len());
                }
            }
            Kind::Funding => self.next.extend(ints(4).ok_or_else(wrong)?.values()),
            Kind::Bbo | Kind::MarkPrice | Kind::OpenInterest => {}
        }
        Ok(())
    }

    /// These rows without the columns of one value, as the journal holds them.
    pub(crate) fn narrow(&self, rows: Range<usize>) -> Result<RecordBatch> {
        let order: Vec<usize> = rows.collect();
        batch(narrow_schema(self.kind)?, self.varying(&order))
    }

    /// All rows by `(ts_event, seq)`, as their places.
    #[must_use]
    pub fn order(&self) -> Vec<usize> {
        let key = |row: usize| (self.ts_event.get(row).copied(), self.seq.get(row).copied());
        let mut order: Vec<usize> = (0..self.len()).collect();
        // Nearly in order already, which this sort makes use of.
        order.sort_by_key(|row| key(*row));
        order
    }

    /// The rows at these places with every column of the contract.
    ///
    /// # Errors
    /// When they do not fit the columns, which is a defect.
    pub fn full(&self, wanted: &Wanted, order: &[usize]) -> Result<RecordBatch> {
        let mut columns = self.varying(order);
        let own = columns.split_off(3);
        let text = |value: &str| Arc::new(StringArray::from_iter_values(order.iter().map(|_| value))) as ArrayRef;
        columns.push(text(wanted.venue.name()));
        columns.push(text(&wanted.symbol));
        columns.push(text(self.kind.name()));
        columns.push(Arc::new(Int8Array::from(vec![STREAM_VERSION; order.len()])));
        columns.extend(own);
        batch(schema::canonical(&wanted.series.stream), columns)
    }

    /// The columns that vary, at these places.
    fn varying(&self, order: &[usize]) -> Vec<ArrayRef> {
        let ints = |from: &[i64]| {
            let values = order.iter().filter_map(|row| from.get(*row).copied());
            Arc::new(Int64Array::from_iter_values(values)) as ArrayRef
        };
        let mut columns = vec![ints(&self.ts_event), ints(&self.seq), ints(&self.ts_recv)];
        for column in &self.floats {
            let values = order.iter().map(|row| column.get(*row).copied().filter(|value| !value.is_nan()));
            columns.push(Arc::new(values.collect::<Float64Array>()));
        }
        match self.kind {
            Kind::Trade => {
                let sides = order.iter().filter_map(|row| self.sides.get(*row).copied());
                columns.push(Arc::new(Int8Array::from_iter_values(sides)));
                let mut names = StringBuilder::with_capacity(order.len(), self.names.len());
                for row in order {
                    names.append_value(self.name(*row));
                }
                columns.push(Arc::new(names.finish()));
            }
            Kind::Funding => columns.push(ints(&self.next)),
            Kind::Bbo | Kind::MarkPrice | Kind::OpenInterest => {}
        }
        columns
    }

    fn name(&self, row: usize) -> &str {
        let begin = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(row).copied().unwrap_or(begin);
        self.names.get(begin..end).unwrap_or_default()
    }
}

/// Rows that room is made for where there are so many.
fn step(rows: usize) -> usize {
    rows.clamp(64, 4096)
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema, columns)
        .map_err(|e| Error::caused(ErrorKind::Internal, "rows do not fit their columns", e))
}

fn narrow_schema(kind: Kind) -> Result<SchemaRef> {
    let stream = kind.name().parse()?;
    let fields = schema::common().into_iter().take(3).chain(schema::own(&stream).unwrap_or_default());
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feed::{
            event::Id,
            venue::{Venue, choose},
        },
        model::row_hash,
    };

    fn event(ts_event: i64, body: Body) -> Event {
        Event { series: 0, ts_event, ts_recv: ts_event + 5, id: Id::Time, body }
    }

    #[test]
    fn rows_go_to_the_journal_and_back() {
        let bodies = [
            Body::Bbo { bid_price: 1.0, bid_qty: 2.0, ask_price: f64::NAN, ask_qty: f64::NAN },
            Body::Trade { price: 1.0, qty: 2.0, side: -1, id: TradeId::Text("a-b".into()) },
            Body::MarkPrice { mark_price: 1.0, index_price: None },
            Body::Funding { rate: -0.5, next_ns: 9 },
            Body::OpenInterest(3.0),
        ];
        for (kind, body) in Kind::ALL.into_iter().zip(bodies) {
            let mut rows = Rows::new(kind);
            rows.push(event(20, body.clone()), 1);
            rows.push(event(10, body), 2);
            let batch = rows.narrow(0..2).unwrap();
            let mut back = Rows::new(kind);
            back.extend(&rows.narrow(0..1).unwrap()).unwrap();
            back.extend(&rows.narrow(1..2).unwrap()).unwrap();
            assert_eq!(back.narrow(0..2).unwrap(), batch, "{kind}");
            assert!(back.bytes() > 0 && back.len() == 2);
            assert!(Rows::new(if kind == Kind::Bbo { Kind::Trade } else { Kind::Bbo }).extend(&batch).is_err());

            let symbols = ["btcusdt".parse().unwrap()];
            let wanted = choose(&[Venue::Okx], &symbols, &[kind]).unwrap().series.remove(0);
            let full = back.full(&wanted, &back.order()).unwrap();
            assert_eq!(full.column(0).as_primitive::<Int64Type>().values()[..], [10, 20]);
            assert_eq!(full.column(4).as_string::<i32>().value(0), "BTCUSDT");
            let unsorted = back.full(&wanted, &[0, 1]).unwrap();
            assert_eq!(row_hash::of_batch(&full).unwrap(), row_hash::of_batch(&unsorted).unwrap());
        }
    }
}
