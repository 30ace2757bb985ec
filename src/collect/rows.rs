//! Rows of one series in memory, column by column: from events, to and from the write-ahead log, into a spool file.
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
        event::{Body, Event, Kind, TradeId, decimal, fingerprint},
        venue::Wanted,
    },
    model::schema,
};

use super::bytes::{Reader, put, put_signed};

/// The version of the streams' columns.
const STREAM_VERSION: i8 = 1;

/// At most so many bytes of a row, where a step is planned.
const ROW_BYTES: usize = 96;
/// Room for the name of a trade; longer ones make more.
const NAME_BYTES: usize = 16;

/// A name that is longer may take memory that is counted only when its file ends.
const LONG_NAME: usize = 64;

/// Rows in the order in which they came.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    kind: Kind,
    ts_event: Vec<i64>,
    seq: Vec<i64>,
    ts_recv: Vec<i64>,
    /// As many as the stream has columns of numbers; NaN is null.
    floats: Vec<Vec<f64>>,
    /// The side of a trade or a liquidation.
    sides: Vec<i8>,
    /// The time of the next funding.
    next: Vec<i64>,
    /// The place of each event among those of its series ([`Event::order`]). It goes to the log, by which the next process
    /// knows the event again.
    orders: Vec<u64>,
    /// The ends of the names of trades, or of the statuses of instruments, in `names`.
    ends: Vec<usize>,
    names: String,
}

impl Rows {
    /// No rows of a stream.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let floats = match kind {
            Kind::Bbo | Kind::Instrument => 4,
            Kind::Liquidation => 3,
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
            orders: Vec::new(),
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
        let own = match self.kind {
            Kind::Trade => 9,
            Kind::Funding | Kind::Instrument => 8,
            Kind::Liquidation => 1,
            Kind::Bbo | Kind::MarkPrice | Kind::OpenInterest => 0,
        };
        let row = 32 + 8 * self.floats.len() + own;
        self.len() * row + self.names.len()
    }

    /// Bytes of memory that are taken for the rows, those for rows to come included.
    pub(crate) fn held(&self) -> usize {
        let ints = self.ts_event.capacity() + self.seq.capacity() + self.ts_recv.capacity() + self.next.capacity();
        let floats: usize = self.floats.iter().map(Vec::capacity).sum();
        8 * (ints + floats + self.orders.capacity() + self.ends.capacity())
            + self.sides.capacity()
            + self.names.capacity()
    }

    /// Bytes that one more row will take: none, or those of a step.
    pub(crate) fn growth(&self) -> usize {
        if self.len() < self.ts_event.capacity() { 0 } else { step(self.len()) * ROW_BYTES }
    }

    /// Whether another row may take memory: where there is no room for it, or may be none for its name.
    pub(crate) fn may_grow(&self) -> bool {
        self.len() == self.ts_event.capacity()
            || (has_names(self.kind) && self.names.capacity() - self.names.len() < LONG_NAME)
    }

    /// Makes room for a step of rows, so that memory grows by what a limit can bear instead of being doubled.
    fn grow(&mut self) {
        let more = step(self.len());
        for column in [&mut self.ts_event, &mut self.seq, &mut self.ts_recv] {
            column.reserve_exact(more);
        }
        self.orders.reserve_exact(more);
        for column in &mut self.floats {
            column.reserve_exact(more);
        }
        match self.kind {
            Kind::Trade => {
                self.sides.reserve_exact(more);
                self.ends.reserve_exact(more);
                self.names.reserve_exact(more * NAME_BYTES);
            }
            Kind::Instrument => {
                self.ends.reserve_exact(more);
                self.names.reserve_exact(more * NAME_BYTES);
            }
            Kind::Liquidation => self.sides.reserve_exact(more),
            Kind::Funding => self.next.reserve_exact(more),
            Kind::Bbo | Kind::MarkPrice | Kind::OpenInterest => {}
        }
    }

    /// Adds an event under the number `seq`.
    pub fn push(&mut self, event: &Event, seq: i64) {
        if self.len() == self.ts_event.capacity() {
            self.grow();
        }
        self.orders.push(event.order());
        let floats = match &event.body {
            Body::Bbo { bid_price, bid_qty, ask_price, ask_qty } => [*bid_price, *bid_qty, *ask_price, *ask_qty],
            Body::Trade { price, qty, side, id } => {
                self.sides.push(*side);
                match id {
                    TradeId::Text(text) => self.names.push_str(text),
                    TradeId::Number(number) => {
                        self.names.push_str(std::str::from_utf8(decimal(*number, &mut [0; 20])).unwrap_or_default());
                    }
                }
                self.ends.push(self.names.len());
                [*price, *qty, f64::NAN, f64::NAN]
            }
            Body::MarkPrice { mark_price, index_price } => {
                [*mark_price, index_price.unwrap_or(f64::NAN), f64::NAN, f64::NAN]
            }
            Body::Funding { rate, next_ns } => {
                self.next.push(*next_ns);
                [*rate, f64::NAN, f64::NAN, f64::NAN]
            }
            Body::OpenInterest(value) => [*value, f64::NAN, f64::NAN, f64::NAN],
            Body::Liquidation { price, qty, average_price, side } => {
                self.sides.push(*side);
                [*price, *qty, average_price.unwrap_or(f64::NAN), f64::NAN]
            }
            Body::Instrument { tick_size, lot_size, contract_value, contract_multiplier, status } => {
                self.names.push_str(status);
                self.ends.push(self.names.len());
                [*tick_size, *lot_size, *contract_value, *contract_multiplier]
            }
        };
        for (column, value) in self.floats.iter_mut().zip(floats) {
            column.push(value);
        }
        self.ts_event.push(event.ts_event);
        self.ts_recv.push(event.ts_recv);
        self.seq.push(seq);
    }

    /// Appends these rows to `out`, column by column: whole numbers by what they differ from the one before.
    pub(crate) fn encode(&self, range: Range<usize>, out: &mut Vec<u8>) {
        put(out, range.len() as u64);
        let each = |column: &[i64]| column.get(range.clone()).unwrap_or_default().to_vec();
        let (ts_event, seq, ts_recv) = (each(&self.ts_event), each(&self.seq), each(&self.ts_recv));
        differences(&ts_event, out);
        for (recv, event) in ts_recv.iter().zip(&ts_event) {
            put_signed(out, recv.wrapping_sub(*event));
        }
        for (seq, recv) in seq.iter().zip(&ts_recv) {
            put_signed(out, seq.wrapping_sub(*recv));
        }
        let orders = self.orders.get(range.clone()).unwrap_or_default();
        differences(&orders.iter().map(|order| order.cast_signed()).collect::<Vec<_>>(), out);
        for column in &self.floats {
            for value in column.get(range.clone()).unwrap_or_default() {
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
        }
        // Of each column that is not empty: what a stream does not have takes no room.
        let sides = self.sides.get(range.clone()).unwrap_or_default();
        out.extend(sides.iter().map(|side| side.cast_unsigned()));
        if has_names(self.kind) {
            for row in range.clone() {
                let name = self.name(row).as_bytes();
                put(out, name.len() as u64);
                out.extend_from_slice(name);
            }
        }
        differences(&each(&self.next), out);
    }

    /// The rows that [`Self::encode`] appended; `None` when these are no such bytes.
    pub(crate) fn decode(kind: Kind, from: &mut Reader) -> Option<Self> {
        let count = from.length()?;
        // Each row takes some bytes: a number that is not that of the rows asks for no memory.
        if count > from.0.len() {
            return None;
        }
        let mut rows = Self::new(kind);
        rows.ts_event = sums(count, from)?;
        for row in 0..count {
            rows.ts_recv.push(from.signed()?.wrapping_add(*rows.ts_event.get(row)?));
        }
        for row in 0..count {
            rows.seq.push(from.signed()?.wrapping_add(*rows.ts_recv.get(row)?));
        }
        rows.orders = sums(count, from)?.into_iter().map(i64::cast_unsigned).collect();
        for column in &mut rows.floats {
            for _ in 0..count {
                column.push(f64::from_bits(u64::from_le_bytes(from.array()?)));
            }
        }
        if matches!(kind, Kind::Trade | Kind::Liquidation) {
            rows.sides.extend(from.take(count)?.iter().map(|byte| byte.cast_signed()));
        }
        if has_names(kind) {
            for _ in 0..count {
                let length = from.length()?;
                rows.names.push_str(std::str::from_utf8(from.take(length)?).ok()?);
                rows.ends.push(rows.names.len());
            }
        }
        if kind == Kind::Funding {
            rows.next = sums(count, from)?;
        }
        from.0.is_empty().then_some(rows)
    }

    /// Adds the rows of others of the same stream.
    pub(crate) fn append(&mut self, mut others: Self) {
        debug_assert_eq!(self.kind, others.kind, "rows of one stream");
        self.ts_event.append(&mut others.ts_event);
        self.seq.append(&mut others.seq);
        self.ts_recv.append(&mut others.ts_recv);
        self.orders.append(&mut others.orders);
        for (column, more) in self.floats.iter_mut().zip(&mut others.floats) {
            column.append(more);
        }
        self.sides.append(&mut others.sides);
        self.next.append(&mut others.next);
        let before = self.names.len();
        self.names.push_str(&others.names);
        self.ends.extend(others.ends.iter().map(|end| end + before));
    }

    /// The `seq` and the time of receipt of a row.
    pub(crate) fn received(&self, row: usize) -> Option<(i64, i64)> {
        Some((*self.seq.get(row)?, *self.ts_recv.get(row)?))
    }

    /// What a row is known again by: its order, the fingerprint of its content, its time.
    pub(crate) fn identity(&self, row: usize) -> Option<(u64, u64, i64)> {
        let mut floats = [f64::NAN; 4];
        for (value, column) in floats.iter_mut().zip(&self.floats) {
            *value = *column.get(row)?;
        }
        let side = self.sides.get(row).copied().unwrap_or(0);
        let next = self.next.get(row).copied().unwrap_or(0);
        let print = fingerprint(floats, side, next, self.name(row).as_bytes());
        Some((*self.orders.get(row)?, print, *self.ts_event.get(row)?))
    }

    /// Adds the rows of a batch as earlier versions had them in their log.
    pub(crate) fn extend(&mut self, batch: &RecordBatch) -> Result<()> {
        let wrong = || Error::new(ErrorKind::BadInput, "the log holds rows of other columns");
        if batch.schema().fields() != narrow_schema(self.kind)?.fields() {
            return Err(wrong());
        }
        let ints = |at: usize| batch.columns().get(at).and_then(|c| c.as_primitive_opt::<Int64Type>());
        for (at, column) in [(0, &mut self.ts_event), (1, &mut self.seq), (2, &mut self.ts_recv)] {
            column.extend(ints(at).ok_or_else(wrong)?.values());
        }
        // They do not tell it; their series' state was kept beside them.
        self.orders.resize(self.ts_event.len(), 0);
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
            // No earlier version had them.
            Kind::Liquidation | Kind::Instrument => return Err(wrong()),
        }
        Ok(())
    }

    /// These rows without the columns of one value.
    #[cfg(test)]
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
        if matches!(self.kind, Kind::Trade | Kind::Liquidation) {
            let sides = order.iter().filter_map(|row| self.sides.get(*row).copied());
            columns.push(Arc::new(Int8Array::from_iter_values(sides)));
        }
        if has_names(self.kind) {
            let mut names = StringBuilder::with_capacity(order.len(), self.names.len());
            for row in order {
                names.append_value(self.name(*row));
            }
            columns.push(Arc::new(names.finish()));
        }
        if self.kind == Kind::Funding {
            columns.push(ints(&self.next));
        }
        columns
    }

    fn name(&self, row: usize) -> &str {
        let begin = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(row).copied().unwrap_or(begin);
        self.names.get(begin..end).unwrap_or_default()
    }
}

/// Whether the events of a stream have a text: the name of a trade, the status of an instrument.
fn has_names(kind: Kind) -> bool {
    matches!(kind, Kind::Trade | Kind::Instrument)
}

/// Appends each number by what it differs from the one before.
fn differences(numbers: &[i64], out: &mut Vec<u8>) {
    let mut before = 0_i64;
    for number in numbers {
        put_signed(out, number.wrapping_sub(before));
        before = *number;
    }
}

/// What [`differences`] appended.
fn sums(count: usize, from: &mut Reader) -> Option<Vec<i64>> {
    let mut before = 0_i64;
    let each = (0..count).map(|_| {
        before = before.wrapping_add(from.signed()?);
        Some(before)
    });
    each.collect()
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
        Event { series: 0, ts_event, ts_recv: ts_event + 5, id: Id::Time, number: 0, body }
    }

    #[test]
    fn rows_go_to_the_log_and_back() {
        let bodies = [
            Body::Bbo { bid_price: 1.0, bid_qty: 2.0, ask_price: f64::NAN, ask_qty: f64::NAN },
            Body::Trade { price: 1.0, qty: 2.0, side: -1, id: TradeId::Text("a-b".into()) },
            Body::MarkPrice { mark_price: 1.0, index_price: None },
            Body::Funding { rate: -0.5, next_ns: 9 },
            Body::OpenInterest(3.0),
            Body::Liquidation { price: 1.0, qty: 2.0, average_price: None, side: -1 },
            Body::Instrument {
                tick_size: 0.1,
                lot_size: 1.0,
                contract_value: 0.01,
                contract_multiplier: 1.0,
                status: "live".into(),
            },
        ];
        for (kind, body) in Kind::ALL.into_iter().zip(bodies) {
            let mut rows = Rows::new(kind);
            let body_print = body.fingerprint();
            rows.push(&event(20, body.clone()), 1);
            rows.push(&event(10, body), 2);
            let batch = rows.narrow(0..2).unwrap();
            if kind.index() <= Kind::OpenInterest.index() {
                let mut old = Rows::new(kind);
                old.extend(&rows.narrow(0..1).unwrap()).unwrap();
                old.extend(&rows.narrow(1..2).unwrap()).unwrap();
                assert_eq!(old.narrow(0..2).unwrap(), batch, "{kind}, as earlier versions wrote it");
            }
            let mut back = Rows::new(kind);
            for range in [0..1, 1..2] {
                let mut bytes = Vec::new();
                rows.encode(range, &mut bytes);
                for cut in 0..bytes.len() {
                    assert!(Rows::decode(kind, &mut Reader(&bytes[..cut])).is_none(), "{kind}, cut at {cut}");
                }
                back.append(Rows::decode(kind, &mut Reader(&bytes)).unwrap());
            }
            assert_eq!(back.narrow(0..2).unwrap(), batch, "{kind}");
            assert_eq!(back.orders, rows.orders);
            assert_eq!(back.identity(1).unwrap().1, body_print, "{kind}: the same event by its row and by itself");
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
