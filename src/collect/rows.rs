//! Rows of one series in memory, column by column: from events, to and from the write-ahead log,
//! into a spool file.
//!
//! The columns that have one value throughout (exchange, symbol, stream, version) are not kept;
//! they are added when a spool file is made.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch,
        StringArray, StringBuilder,
    },
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

use super::{
    bytes::{Reader, put, put_signed},
    tracker::Mark,
};

/// What tells a row of a file from the others: its time, number, place among those of both, and
/// time of receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RowKey {
    pub(crate) ts_event: i64,
    pub(crate) seq: i64,
    /// 0 in version 1, which has none.
    pub(crate) sub_seq: i32,
    pub(crate) ts_recv: i64,
}

/// At most so many bytes of a row, where a step is planned.
const ROW_BYTES: usize = 96;
/// Room for the name of a trade; longer ones make more.
const NAME_BYTES: usize = 16;

/// Room for so many rows that are not the first of their time and number.
const SUB_SEQS: usize = 4;
/// Of such a row.
const SUB_SEQ_BYTES: usize = size_of::<(usize, i32)>();

/// A name that is longer may take memory that is counted only when its file ends.
const LONG_NAME: usize = 64;

/// Rows in the order in which they came.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    kind: Kind,
    /// The version of their columns: 1 where a log of an earlier version holds them.
    version: i8,
    ts_event: Vec<i64>,
    /// The exchange's number. In version 1 it is one that the collector gave.
    seq: Vec<i64>,
    /// The rows that are not the first of their time and number, and which they are.
    sub_seq: Vec<(usize, i32)>,
    ts_recv: Vec<i64>,
    /// As many as the stream has columns of numbers; NaN is null.
    floats: Vec<Vec<f64>>,
    /// The side of a trade or a liquidation.
    sides: Vec<i8>,
    /// The time of the next funding.
    next: Vec<i64>,
    /// The first and the last of the single trades in an aggregated one; -1 is null.
    first_ids: Vec<i64>,
    last_ids: Vec<i64>,
    /// The place of each event among those of its series ([`Event::order`]). It goes to the log, by
    /// which the next process knows the event again.
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
            version: schema::STREAM_VERSION,
            ts_event: Vec::new(),
            seq: Vec::new(),
            sub_seq: Vec::new(),
            ts_recv: Vec::new(),
            floats: vec![Vec::new(); floats],
            sides: Vec::new(),
            next: Vec::new(),
            first_ids: Vec::new(),
            last_ids: Vec::new(),
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
            Kind::Trade => 25,
            Kind::Funding | Kind::Instrument => 8,
            Kind::Liquidation => 1,
            Kind::Bbo | Kind::MarkPrice | Kind::OpenInterest => 0,
        };
        let row = 32 + 8 * self.floats.len() + own;
        self.len() * row + self.sub_seq.len() * SUB_SEQ_BYTES + self.names.len()
    }

    /// Bytes of memory that are taken for the rows, those for rows to come included.
    pub(crate) fn held(&self) -> usize {
        let ints: usize = self.ints().iter().map(|column| column.capacity()).sum();
        let floats: usize = self.floats.iter().map(Vec::capacity).sum();
        8 * (ints + floats + self.orders.capacity() + self.ends.capacity())
            + self.sub_seq.capacity() * SUB_SEQ_BYTES
            + self.sides.capacity()
            + self.names.capacity()
    }

    fn ints(&self) -> [&Vec<i64>; 6] {
        [
            &self.ts_event,
            &self.seq,
            &self.ts_recv,
            &self.next,
            &self.first_ids,
            &self.last_ids,
        ]
    }

    /// Bytes that one more row will take: none, or those of a step.
    pub(crate) fn growth(&self) -> usize {
        if self.len() < self.ts_event.capacity() {
            0
        } else {
            step(self.len()) * ROW_BYTES
        }
    }

    /// Whether another row may take memory: where there is no room for it, or may be none for its
    /// name.
    pub(crate) fn may_grow(&self) -> bool {
        self.len() == self.ts_event.capacity()
            || self.sub_seq.len() == self.sub_seq.capacity()
            || (has_names(self.kind) && self.names.capacity() - self.names.len() < LONG_NAME)
    }

    /// Makes room for a step of rows, so that memory grows by what a limit can bear instead of
    /// being doubled.
    fn grow(&mut self) {
        let more = step(self.len());
        for column in [&mut self.ts_event, &mut self.seq, &mut self.ts_recv] {
            column.reserve_exact(more);
        }
        self.orders.reserve_exact(more);
        self.sub_seq.reserve(SUB_SEQS);
        for column in &mut self.floats {
            column.reserve_exact(more);
        }
        match self.kind {
            Kind::Trade => {
                self.first_ids.reserve_exact(more);
                self.last_ids.reserve_exact(more);
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

    /// Adds an event, the `sub_seq`th of those with its time and number.
    pub fn push(&mut self, event: &Event, sub_seq: i32) {
        if self.len() == self.ts_event.capacity() {
            self.grow();
        }
        self.orders.push(event.order());
        let floats = match &event.body {
            Body::Bbo {
                bid_price,
                bid_qty,
                ask_price,
                ask_qty,
            } => [*bid_price, *bid_qty, *ask_price, *ask_qty],
            Body::Trade {
                price,
                qty,
                side,
                id,
                first_id,
                last_id,
            } => {
                self.sides.push(*side);
                self.first_ids.push(*first_id);
                self.last_ids.push(*last_id);
                match id {
                    TradeId::Text(text) => self.names.push_str(text),
                    TradeId::Number(number) => {
                        self.names.push_str(
                            std::str::from_utf8(decimal(*number, &mut [0; 20])).unwrap_or_default(),
                        );
                    }
                }
                self.ends.push(self.names.len());
                [*price, *qty, f64::NAN, f64::NAN]
            }
            Body::MarkPrice {
                mark_price,
                index_price,
            } => [
                *mark_price,
                index_price.unwrap_or(f64::NAN),
                f64::NAN,
                f64::NAN,
            ],
            Body::Funding { rate, next_ns } => {
                self.next.push(*next_ns);
                [*rate, f64::NAN, f64::NAN, f64::NAN]
            }
            Body::OpenInterest(value) => [*value, f64::NAN, f64::NAN, f64::NAN],
            Body::Liquidation {
                price,
                qty,
                average_price,
                side,
            } => {
                self.sides.push(*side);
                [*price, *qty, average_price.unwrap_or(f64::NAN), f64::NAN]
            }
            Body::Instrument {
                tick_size,
                lot_size,
                contract_value,
                contract_multiplier,
                status,
            } => {
                self.names.push_str(status);
                self.ends.push(self.names.len());
                [*tick_size, *lot_size, *contract_value, *contract_multiplier]
            }
        };
        for (column, value) in self.floats.iter_mut().zip(floats) {
            column.push(value);
        }
        if sub_seq > 0 {
            self.sub_seq.push((self.len(), sub_seq));
        }
        self.ts_event.push(event.ts_event);
        self.ts_recv.push(event.ts_recv);
        self.seq.push(event.number);
    }

    /// Appends these rows to `out`, column by column: whole numbers by what they differ from the
    /// one before. `seq` is told by what it differs from the order, which it mostly is.
    pub(crate) fn encode(&self, range: Range<usize>, out: &mut Vec<u8>) {
        put(out, range.len() as u64);
        let each = |column: &[i64]| column.get(range.clone()).unwrap_or_default().to_vec();
        let (ts_event, seq, ts_recv) = (each(&self.ts_event), each(&self.seq), each(&self.ts_recv));
        differences(&ts_event, out);
        for (recv, event) in ts_recv.iter().zip(&ts_event) {
            put_signed(out, recv.wrapping_sub(*event));
        }
        let orders = self.orders.get(range.clone()).unwrap_or_default();
        let orders: Vec<i64> = orders.iter().map(|order| order.cast_signed()).collect();
        differences(&orders, out);
        differences(
            &seq.iter()
                .zip(&orders)
                .map(|(seq, order)| seq.wrapping_sub(*order))
                .collect::<Vec<_>>(),
            out,
        );
        let from = self.sub_seq.partition_point(|(row, _)| *row < range.start);
        let to = self.sub_seq.partition_point(|(row, _)| *row < range.end);
        let sub_seq = self.sub_seq.get(from..to).unwrap_or_default();
        put(out, sub_seq.len() as u64);
        for (row, nth) in sub_seq {
            put(out, (row - range.start) as u64);
            put_signed(out, i64::from(*nth));
        }
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
        let (first_ids, last_ids) = (each(&self.first_ids), each(&self.last_ids));
        differences(&first_ids, out);
        let lengths = last_ids
            .iter()
            .zip(&first_ids)
            .map(|(last, first)| last.wrapping_sub(*first));
        differences(&lengths.collect::<Vec<_>>(), out);
    }

    /// The rows that [`Self::encode`] appended, or that an earlier version did, whose columns are
    /// those of version 1; `None` when these are no such bytes.
    pub(crate) fn decode(kind: Kind, version: i8, from: &mut Reader) -> Option<Self> {
        let count = from.length()?;
        // Each row takes some bytes: a number that is not that of the rows asks for no memory.
        if count > from.0.len() {
            return None;
        }
        let mut rows = Self {
            version,
            ..Self::new(kind)
        };
        let is_old = version < schema::STREAM_VERSION;
        rows.ts_event = sums(count, from)?;
        for row in 0..count {
            rows.ts_recv
                .push(from.signed()?.wrapping_add(*rows.ts_event.get(row)?));
        }
        for row in 0..if is_old { count } else { 0 } {
            rows.seq
                .push(from.signed()?.wrapping_add(*rows.ts_recv.get(row)?));
        }
        let orders = sums(count, from)?;
        if !is_old {
            rows.seq = sums(count, from)?
                .into_iter()
                .zip(&orders)
                .map(|(seq, order)| seq.wrapping_add(*order))
                .collect();
            for _ in 0..from.length()? {
                let (row, nth) = (from.length()?, i32::try_from(from.signed()?).ok()?);
                let ascends = rows.sub_seq.last().is_none_or(|(before, _)| *before < row);
                rows.sub_seq
                    .push(Some((row, nth)).filter(|_| ascends && row < count)?);
            }
        }
        rows.orders = orders.into_iter().map(i64::cast_unsigned).collect();
        for column in &mut rows.floats {
            for _ in 0..count {
                column.push(f64::from_bits(u64::from_le_bytes(from.array()?)));
            }
        }
        if matches!(kind, Kind::Trade | Kind::Liquidation) {
            rows.sides
                .extend(from.take(count)?.iter().map(|byte| byte.cast_signed()));
        }
        if has_names(kind) {
            for _ in 0..count {
                let length = from.length()?;
                rows.names
                    .push_str(std::str::from_utf8(from.take(length)?).ok()?);
                rows.ends.push(rows.names.len());
            }
        }
        if kind == Kind::Funding {
            rows.next = sums(count, from)?;
        }
        if kind == Kind::Trade && is_old {
            rows.first_ids = vec![-1; count];
            rows.last_ids = vec![-1; count];
        } else if kind == Kind::Trade {
            rows.first_ids = sums(count, from)?;
            let last_ids = sums(count, from)?.into_iter().zip(&rows.first_ids);
            rows.last_ids = last_ids
                .map(|(length, first)| length.wrapping_add(*first))
                .collect();
        }
        from.0.is_empty().then_some(rows)
    }

    /// Adds the rows of others of the same stream. The rows of one file have one version: they are
    /// in the log of one process.
    pub(crate) fn append(&mut self, mut others: Self) {
        debug_assert_eq!(self.kind, others.kind, "rows of one stream");
        if self.is_empty() {
            self.version = others.version;
        }
        debug_assert!(
            self.version == others.version || others.is_empty(),
            "rows of one version"
        );
        let before = self.len();
        self.sub_seq
            .extend(others.sub_seq.iter().map(|(row, nth)| (row + before, *nth)));
        self.first_ids.append(&mut others.first_ids);
        self.last_ids.append(&mut others.last_ids);
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

    /// When a row was received.
    pub(crate) fn received(&self, row: usize) -> Option<i64> {
        self.ts_recv.get(row).copied()
    }

    /// Notes a row as the tracker of its series does.
    pub(crate) fn note(&self, row: usize, mark: &mut Mark) -> Option<()> {
        let mut floats = [f64::NAN; 4];
        for (value, column) in floats.iter_mut().zip(&self.floats) {
            *value = *column.get(row)?;
        }
        let side = self.sides.get(row).copied().unwrap_or(0);
        let next = self.next.get(row).copied().unwrap_or(0);
        let print = fingerprint(floats, side, next, self.name(row).as_bytes());
        let number = self.seq.get(row).copied().filter(|_| self.version > 1);
        mark.note(
            *self.orders.get(row)?,
            print,
            *self.ts_event.get(row)?,
            number,
        );
        Some(())
    }

    /// Adds the rows of a batch as earlier versions had them in their log.
    pub(crate) fn extend(&mut self, batch: &RecordBatch) -> Result<()> {
        let wrong = || Error::new(ErrorKind::BadInput, "the log holds rows of other columns");
        if batch.schema().fields() != narrow_schema(self.kind)?.fields() {
            return Err(wrong());
        }
        self.version = 1;
        let ints = |at: usize| {
            batch
                .columns()
                .get(at)
                .and_then(|c| c.as_primitive_opt::<Int64Type>())
        };
        for (at, column) in [
            (0, &mut self.ts_event),
            (1, &mut self.seq),
            (2, &mut self.ts_recv),
        ] {
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
                let sides = columns
                    .get(5)
                    .and_then(|c| c.as_primitive_opt::<Int8Type>())
                    .ok_or_else(wrong)?;
                let names = columns
                    .get(6)
                    .and_then(|c| c.as_string_opt::<i32>())
                    .ok_or_else(wrong)?;
                self.sides.extend(sides.values());
                self.first_ids.resize(self.ts_event.len(), -1);
                self.last_ids.resize(self.ts_event.len(), -1);
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

    /// These rows as earlier versions had them in their log.
    #[cfg(test)]
    pub(crate) fn narrow(&self, rows: Range<usize>) -> Result<RecordBatch> {
        let old = Self {
            version: 1,
            ..self.clone()
        };
        let order: Vec<usize> = rows.collect();
        batch(narrow_schema(self.kind)?, old.varying(&order))
    }

    /// All rows by `(ts_event, seq, sub_seq)`, as their places.
    #[must_use]
    pub fn order(&self) -> Vec<usize> {
        let key = |row: usize| (self.ts_event.get(row).copied(), self.seq.get(row).copied());
        let mut order: Vec<usize> = (0..self.len()).collect();
        // Nearly in order already, which this sort makes use of.
        order.sort_by(|a, b| {
            key(*a)
                .cmp(&key(*b))
                .then_with(|| self.sub_seq(*a).cmp(&self.sub_seq(*b)))
        });
        order
    }

    /// The columns of a file of these rows.
    #[must_use]
    pub fn schema(&self, wanted: &Wanted) -> SchemaRef {
        let stream = &wanted.series.stream;
        if self.version == 1 {
            schema::canonical_1(stream)
        } else {
            schema::canonical(stream)
        }
    }

    /// The rows at these places with every column of the contract.
    ///
    /// # Errors
    /// When they do not fit the columns, which is a defect.
    pub fn full(&self, wanted: &Wanted, order: &[usize]) -> Result<RecordBatch> {
        let mut columns = self.varying(order);
        let own = columns.split_off(if self.version == 1 { 3 } else { 4 });
        let text = |value: &str| {
            Arc::new(StringArray::from_iter_values(order.iter().map(|_| value))) as ArrayRef
        };
        columns.push(text(wanted.venue.name()));
        columns.push(text(&wanted.symbol));
        columns.push(text(self.kind.name()));
        columns.push(Arc::new(Int8Array::from(vec![self.version; order.len()])));
        columns.extend(own);
        batch(self.schema(wanted), columns)
    }

    /// The columns that vary, at these places.
    fn varying(&self, order: &[usize]) -> Vec<ArrayRef> {
        let ints = |from: &[i64]| {
            let values = order.iter().filter_map(|row| from.get(*row).copied());
            Arc::new(Int64Array::from_iter_values(values)) as ArrayRef
        };
        let mut columns = vec![ints(&self.ts_event), ints(&self.seq)];
        if self.version > 1 {
            columns.push(Arc::new(
                order
                    .iter()
                    .map(|row| Some(self.sub_seq(*row)))
                    .collect::<Int32Array>(),
            ));
        }
        columns.push(ints(&self.ts_recv));
        for column in &self.floats {
            let values = order
                .iter()
                .map(|row| column.get(*row).copied().filter(|value| !value.is_nan()));
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
        if self.kind == Kind::Trade && self.version > 1 {
            for ids in [&self.first_ids, &self.last_ids] {
                let told = order
                    .iter()
                    .map(|row| ids.get(*row).copied().filter(|id| *id >= 0));
                columns.push(Arc::new(told.collect::<Int64Array>()));
            }
        }
        if self.kind == Kind::Funding {
            columns.push(ints(&self.next));
        }
        columns
    }

    /// Which of the events of one time and number a row is, counted from 0.
    pub(crate) fn sub_seq(&self, row: usize) -> i32 {
        let found = self
            .sub_seq
            .binary_search_by_key(&row, |(at, _)| *at)
            .ok()
            .and_then(|at| self.sub_seq.get(at));
        found.map_or(0, |(_, nth)| *nth)
    }

    /// What tells the row from the others of its file.
    pub(crate) fn key(&self, row: usize) -> Option<RowKey> {
        let (ts_event, seq, ts_recv) = (
            *self.ts_event.get(row)?,
            *self.seq.get(row)?,
            *self.ts_recv.get(row)?,
        );
        Some(RowKey {
            ts_event,
            seq,
            sub_seq: self.sub_seq(row),
            ts_recv,
        })
    }

    fn name(&self, row: usize) -> &str {
        let begin = row
            .checked_sub(1)
            .and_then(|before| self.ends.get(before))
            .copied()
            .unwrap_or(0);
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

/// The columns that vary, as version 1 had them.
fn narrow_schema(kind: Kind) -> Result<SchemaRef> {
    let schema = schema::canonical_1(&kind.name().parse()?);
    let fields = schema.fields().iter();
    let fields = fields.filter(|field| {
        !["exchange", "symbol", "stream", "stream_version"].contains(&field.name().as_str())
    });
    Ok(Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>())))
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
        Event {
            series: 0,
            ts_event,
            ts_recv: ts_event + 5,
            id: Id::Time,
            number: 0,
            body,
        }
    }

    /// Rows as the log of an earlier version has them, whose `seq` was a number of the collector's.
    fn encoded_1(rows: &Rows, seq: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, rows.len() as u64);
        differences(&rows.ts_event, &mut out);
        for (recv, event) in rows.ts_recv.iter().zip(&rows.ts_event) {
            put_signed(&mut out, recv - event);
        }
        for (seq, recv) in seq.iter().zip(&rows.ts_recv) {
            put_signed(&mut out, seq - recv);
        }
        differences(
            &rows
                .orders
                .iter()
                .map(|order| order.cast_signed())
                .collect::<Vec<_>>(),
            &mut out,
        );
        for value in rows.floats.iter().flatten() {
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        out.extend(rows.sides.iter().map(|side| side.cast_unsigned()));
        for row in 0..if has_names(rows.kind) { rows.len() } else { 0 } {
            put(&mut out, rows.name(row).len() as u64);
            out.extend_from_slice(rows.name(row).as_bytes());
        }
        differences(&rows.next, &mut out);
        out
    }

    #[test]
    fn rows_go_to_the_log_and_back() {
        let bodies = [
            Body::Bbo {
                bid_price: 1.0,
                bid_qty: 2.0,
                ask_price: f64::NAN,
                ask_qty: f64::NAN,
            },
            Body::Trade {
                price: 1.0,
                qty: 2.0,
                side: -1,
                id: TradeId::Text("a-b".into()),
                first_id: 7,
                last_id: 9,
            },
            Body::MarkPrice {
                mark_price: 1.0,
                index_price: None,
            },
            Body::Funding {
                rate: -0.5,
                next_ns: 9,
            },
            Body::OpenInterest(3.0),
            Body::Liquidation {
                price: 1.0,
                qty: 2.0,
                average_price: None,
                side: -1,
            },
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
            let mut told = Mark::default();
            for (ts_event, number, sub_seq) in [(20, 5, 0), (10, 0, 3)] {
                let event = Event {
                    number,
                    ..event(ts_event, body.clone())
                };
                rows.push(&event, sub_seq);
                told.note(event.order(), body.fingerprint(), ts_event, Some(number));
            }
            let batch = rows.narrow(0..2).unwrap();
            if kind.index() <= Kind::OpenInterest.index() {
                let mut old = Rows::new(kind);
                old.extend(&rows.narrow(0..1).unwrap()).unwrap();
                old.extend(&rows.narrow(1..2).unwrap()).unwrap();
                assert_eq!(
                    old.narrow(0..2).unwrap(),
                    batch,
                    "{kind}, as earlier versions wrote it"
                );
            }
            let mut back = Rows::new(kind);
            for range in [0..1, 1..2] {
                let mut bytes = Vec::new();
                rows.encode(range, &mut bytes);
                for cut in 0..bytes.len() {
                    assert!(
                        Rows::decode(kind, 2, &mut Reader(&bytes[..cut])).is_none(),
                        "{kind}, cut at {cut}"
                    );
                }
                back.append(Rows::decode(kind, 2, &mut Reader(&bytes)).unwrap());
            }
            assert_eq!(back.narrow(0..2).unwrap(), batch, "{kind}");
            assert_eq!(back.orders, rows.orders);
            let mut noted = Mark::default();
            assert!((0..2).all(|row| back.note(row, &mut noted).is_some()));
            assert_eq!(
                noted, told,
                "{kind}: the same event by its row and by itself"
            );
            assert!(back.bytes() > 0 && back.len() == 2);
            assert!(
                Rows::new(if kind == Kind::Bbo {
                    Kind::Trade
                } else {
                    Kind::Bbo
                })
                .extend(&batch)
                .is_err()
            );

            let symbols = ["btcusdt".parse().unwrap()];
            let wanted = choose(&[Venue::Okx], &symbols, &[kind])
                .unwrap()
                .series
                .remove(0);
            let full = back.full(&wanted, &back.order()).unwrap();
            let ints = |batch: &RecordBatch, name: &str| {
                batch
                    .column_by_name(name)
                    .unwrap()
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec()
            };
            assert_eq!(
                (ints(&full, "ts_event"), ints(&full, "seq")),
                (vec![10, 20], vec![0, 5])
            );
            let sub_seq = full
                .column_by_name("sub_seq")
                .unwrap()
                .as_primitive::<arrow::datatypes::Int32Type>();
            assert_eq!(sub_seq.values()[..], [3, 0]);
            assert_eq!(
                full.column_by_name("symbol")
                    .unwrap()
                    .as_string::<i32>()
                    .value(0),
                "BTCUSDT"
            );
            if kind == Kind::Trade {
                assert_eq!(
                    (ints(&full, "first_id"), ints(&full, "last_id")),
                    (vec![7, 7], vec![9, 9])
                );
            }
            let unsorted = back.full(&wanted, &[0, 1]).unwrap();
            assert_eq!(
                row_hash::of_batch(&full).unwrap(),
                row_hash::of_batch(&unsorted).unwrap()
            );

            let old = encoded_1(&rows, &[1001, 1002]);
            for cut in 0..old.len() {
                assert!(
                    Rows::decode(kind, 1, &mut Reader(&old[..cut])).is_none(),
                    "{kind}, cut at {cut}"
                );
            }
            let old = Rows::decode(kind, 1, &mut Reader(&old))
                .unwrap()
                .full(&wanted, &[1, 0])
                .unwrap();
            assert_eq!(
                (ints(&old, "seq"), ints(&old, "ts_event")),
                (vec![1002, 1001], vec![10, 20])
            );
            assert!(
                schema::SINCE_2
                    .iter()
                    .all(|name| old.column_by_name(name).is_none()),
                "{kind}: version 1 has none"
            );
            let version = old
                .column_by_name("stream_version")
                .unwrap()
                .as_primitive::<Int8Type>();
            assert_eq!(version.values()[..], [1, 1]);
        }
    }
}
