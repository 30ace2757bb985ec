//! Brings the rows of one source to the partition's columns, checks them against the footer's
//! claims, separates what belongs to other days, and accounts for every row.
//!
//! No row is corrected silently: it is passed on, counted for another day, or counted for
//! QUARANTINE.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
        new_null_array,
    },
    buffer::BooleanBuffer,
    compute::{
        CastOptions, cast_with_options, filter_record_batch, kernels::cmp::not_distinct, not,
        nullif,
    },
    datatypes::{DataType, Int64Type, SchemaRef},
    util::display::FormatOptions,
};

use super::{Job, JobSource, Order, Role, SourceTally, columns};
use crate::{
    error::{Error, Kind},
    file::{fault::Problem, shape::Column},
    model::{
        date::{Date, permitted_day},
        partition::belongs,
        quarantine::ErrorType,
        receipt::RowGroup,
        row_hash::RowSums,
        schema::{self, SEQ, TIME_COLUMNS, TS_EVENT, logical},
        time::{Unit, to_ns},
    },
};

/// Bits of a provisional number that count rows; the rank of the file stands above them.
const ROW_BITS: u32 = 40;

/// The state of one source under way.
#[derive(Debug)]
pub struct Checker {
    job: Arc<Job>,
    index: usize,
    /// The columns of the contract.
    canonical: SchemaRef,
    tally: SourceTally,
    last: Option<(i64, Option<i64>)>,
    sums: RowSums,
    /// The sums of the columns by which rows of several collectors are compared, where there are
    /// several.
    events: Option<RowSums>,
    /// The row group that the rows are of, and whether the archive has its rows already.
    row_group: (usize, bool),
}

/// Where the rows of a batch go.
enum Placing {
    /// All to this partition.
    Here,
    /// Those for which the mask is true; the others are counted.
    Split {
        here: BooleanArray,
        elsewhere: BTreeMap<Date, u64>,
        quarantined: BooleanArray,
    },
}

impl Checker {
    /// Begins the source at `index`.
    #[must_use]
    pub fn new(job: Arc<Job>, index: usize) -> Self {
        let canonical = schema::canonical(&job.partition.series.stream);
        let (tally, sums) = (SourceTally::default(), RowSums::default());
        let events = job.merging.as_ref().map(|_| RowSums::default());
        Self {
            job,
            index,
            canonical,
            tally,
            last: None,
            sums,
            events,
            row_group: (0, false),
        }
    }

    /// Says that the next rows are of the `nth` row group that is read of the file.
    pub fn enter_row_group(&mut self, nth: usize) {
        let Some(source) = self.job.sources.get(self.index) else {
            return;
        };
        let index = source.claims.row_group(nth);
        self.row_group = (index, source.known_groups.contains(&index));
    }

    /// Takes the next rows as they were read; gives those of this partition, with the carried
    /// columns.
    ///
    /// # Errors
    /// When a value does not fit its column, or a claim is false.
    pub fn take(&mut self, batch: &RecordBatch) -> Result<RecordBatch, Problem> {
        let job = Arc::clone(&self.job);
        let source = source(&job, self.index)?;
        let rows = batch.num_rows();
        let placing = place(&times(batch)?, job.partition.date, source);
        let known = source.known_of(self.tally.rows, rows);
        let Brought {
            mut columns,
            unlike,
            widened,
        } = bring(&job, batch, &self.canonical, &placing)?;
        let raw_seq = columns.get(job.shape.seq).cloned();

        // The hash of the rows as they are; the proof's hash differs from it only in `seq`, in
        // changed units and in added columns of another type.
        self.sums.begin(rows);
        self.add_sums(&job, &columns, &unlike)?;
        if source.claims.has_seq
            && let Some(seq) = &raw_seq
        {
            self.sums.add(SEQ, seq)?;
        }
        let mut hash = self.sums.hash();

        let raw_ts = columns.get(job.shape.ts).cloned();
        let changed = (job.to_ns && bring_to_ns(&job, &mut columns)) || widened;
        if let Some(rank) = source.rank
            && let Some(seq) = columns.get_mut(job.shape.seq)
        {
            *seq = Arc::new(provisional_numbers(rank, self.tally.rows, rows)?);
        }
        let ts = columns
            .get(job.shape.ts)
            .map(|c| c.as_primitive::<Int64Type>().clone())
            .ok_or_else(no_columns)?;
        let seq = columns
            .get(job.shape.seq)
            .map(|c| c.as_primitive::<Int64Type>().clone())
            .ok_or_else(no_columns)?;
        Self::check_spans(source, raw_ts.as_deref(), raw_seq.as_deref())?;
        self.check_order(source, &ts, &seq)?;

        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let carried =
            RecordBatch::try_new_with_options(Arc::clone(&job.shape.carried), columns, &options)
                .map_err(|e| {
                    Problem::Storage(Error::caused(Kind::Internal, "carried columns", e))
                })?;

        self.tally.rows += rows as u64;
        self.tally.row_hash = self.tally.row_hash.and(hash);
        let (row_group, is_known) = self.row_group;
        RowGroup::add(&mut self.tally.row_groups, row_group, rows as u64, hash);
        if let Placing::Split { quarantined, .. } = &placing {
            self.tally.quarantined_hash = self
                .tally
                .quarantined_hash
                .and(self.sums.hash_where(quarantined));
        }
        // From here the sums are those of the proof.
        if changed || (job.numbers && source.claims.has_seq) {
            self.sums.begin(rows);
            self.add_sums(&job, carried.columns(), &BTreeMap::new())?;
            if !job.numbers
                && let Some(seq) = carried.columns().get(job.shape.seq)
            {
                self.sums.add(SEQ, seq)?;
            }
            hash = self.sums.hash();
        }
        if let Some(events) = &mut self.events {
            events.begin(rows);
            columns::add_event_columns(&job, carried.columns(), events)?;
        }
        let placing = match &known {
            Some(known) if !is_known => self.leave_out(placing, known),
            _ => placing,
        };
        match placing {
            Placing::Here if is_known => {
                self.tally.known += rows as u64;
                Ok(carried.slice(0, 0))
            }
            Placing::Here => {
                self.tally.here += rows as u64;
                self.tally.here_hash = self.tally.here_hash.and(hash);
                if let Some(events) = &self.events {
                    self.tally.events_hash = self.tally.events_hash.and(events.hash());
                }
                Ok(carried)
            }
            Placing::Split {
                here,
                elsewhere,
                quarantined,
            } => {
                if source.role == Role::Base {
                    return Err(Problem::Storage(Error::new(
                        Kind::Damage,
                        format!(
                            "{}: holds rows of another day; look at it with qlc verify",
                            source.handle.shown()
                        ),
                    )));
                }
                if is_known {
                    self.tally.known += here.true_count() as u64;
                } else {
                    self.tally.here += here.true_count() as u64;
                    self.tally.here_hash = self.tally.here_hash.and(self.sums.hash_where(&here));
                    if let Some(events) = &self.events {
                        self.tally.events_hash =
                            self.tally.events_hash.and(events.hash_where(&here));
                    }
                }
                self.tally.quarantined += quarantined.true_count() as u64;
                for (date, count) in elsewhere {
                    *self.tally.elsewhere.entry(date).or_default() += count;
                }
                if is_known {
                    return Ok(carried.slice(0, 0));
                }
                filter_record_batch(&carried, &here).map_err(|e| {
                    Problem::Storage(Error::caused(Kind::Internal, "filtering a batch by day", e))
                })
            }
        }
    }

    /// Bills the rows of this partition that the archive has already; what is left goes where it
    /// went.
    fn leave_out(&mut self, placing: Placing, known: &BooleanBuffer) -> Placing {
        let (here, elsewhere, quarantined) = match placing {
            Placing::Here => {
                let none = BooleanBuffer::new_unset(known.len());
                (
                    BooleanBuffer::new_set(known.len()),
                    BTreeMap::new(),
                    none.into(),
                )
            }
            Placing::Split {
                here,
                elsewhere,
                quarantined,
            } => (here.values().clone(), elsewhere, quarantined),
        };
        self.tally.known += (&here & known).count_set_bits() as u64;
        Placing::Split {
            here: (&here & &!known).into(),
            elsewhere,
            quarantined,
        }
    }

    /// Ends the source: its bill, if the whole agrees with what the footer said.
    ///
    /// # Errors
    /// When rows or row hash are not those of the footer.
    pub fn finish(self) -> Result<SourceTally, Problem> {
        let source = source(&self.job, self.index)?;
        source.claims.agree(self.tally.rows, self.tally.row_hash)?;
        Ok(self.tally)
    }

    /// Adds the carried and the constant columns but `seq`, and those of `unlike` as they were
    /// read.
    fn add_sums(
        &mut self,
        job: &Job,
        carried: &[ArrayRef],
        unlike: &BTreeMap<String, ArrayRef>,
    ) -> Result<(), Problem> {
        for (field, column) in job.shape.schema.fields().iter().zip(&job.shape.columns) {
            match column {
                Column::Carried(at)
                    if *at == job.shape.seq || unlike.contains_key(field.name()) => {}
                Column::Carried(at) => self
                    .sums
                    .add(field.name(), carried.get(*at).ok_or_else(no_columns)?)?,
                Column::Constant(one) => self.sums.add_constant(field.name(), one)?,
            }
        }
        for (name, column) in unlike {
            self.sums.add(name, column)?;
        }
        Ok(())
    }

    /// Holds the values as they are stored against the spans in the footer: the layout relies on
    /// them.
    fn check_spans(
        source: &JobSource,
        ts: Option<&dyn Array>,
        seq: Option<&dyn Array>,
    ) -> Result<(), Problem> {
        let spans = [
            ("ts_event", source.claims.ts, ts),
            (
                "seq",
                source.claims.seq,
                seq.filter(|_| source.claims.has_seq),
            ),
        ];
        for (name, span, values) in spans {
            let (Some(span), Some(values)) =
                (span, values.and_then(|v| v.as_primitive_opt::<Int64Type>()))
            else {
                continue;
            };
            let untold = name == SEQ && values.null_count() > 0;
            if untold
                || values
                    .iter()
                    .flatten()
                    .any(|v| v < span.min || v > span.max)
            {
                return Err(Problem::FalseClaim(format!(
                    "{name} has values outside what the footer says"
                )));
            }
        }
        Ok(())
    }

    /// Holds the order of the rows, in the final unit, against the one that the plan relies on.
    fn check_order(
        &mut self,
        source: &JobSource,
        ts: &Int64Array,
        seq: &Int64Array,
    ) -> Result<(), Problem> {
        if source.order != Order::Claimed {
            return Ok(());
        }
        let unordered = || {
            Problem::FalseClaim("the rows are not in the order that the footer declares".to_owned())
        };
        if ts.null_count() == 0 && seq.null_count() == 0 {
            // Compared without branches, so that the compiler can do several at once.
            let (t, s) = (ts.values(), seq.values());
            let pairs = t.iter().zip(s).zip(t.iter().skip(1).zip(s.iter().skip(1)));
            let inversions: usize = pairs
                .map(|((t0, s0), (t1, s1))| usize::from((t0 > t1) || (t0 == t1) && (s0 > s1)))
                .sum();
            let first = t.first().copied().zip(s.first().map(|s| Some(*s)));
            if inversions > 0
                || first.is_some_and(|first| self.last.is_some_and(|last| last > first))
            {
                return Err(unordered());
            }
            self.last = t
                .last()
                .copied()
                .zip(s.last().map(|s| Some(*s)))
                .or(self.last);
        } else {
            for (t, s) in ts.iter().zip(seq.iter()) {
                let Some(t) = t else { continue };
                if self.last.is_some_and(|last| last > (t, s)) {
                    return Err(unordered());
                }
                self.last = Some((t, s));
            }
        }
        Ok(())
    }
}

fn source(job: &Job, index: usize) -> Result<&JobSource, Problem> {
    job.sources
        .get(index)
        .ok_or_else(|| Problem::Storage(Error::new(Kind::Internal, "no such source")))
}

fn no_columns() -> Problem {
    Problem::Storage(Error::new(Kind::Internal, "a carried column is missing"))
}

/// The rows of a batch with the partition's columns.
struct Brought {
    /// The carried columns. Rows of other days may have nulls in the place of values that the
    /// partition has no type for.
    columns: Vec<ArrayRef>,
    /// As they were read: added columns of another type than the partition's, and those that it
    /// does not have, because no row of the day has a value there.
    unlike: BTreeMap<String, ArrayRef>,
    /// Whether a column has another type than it had.
    widened: bool,
}

/// The carried columns of a batch; the others must have their constant.
fn bring(
    job: &Job,
    batch: &RecordBatch,
    canonical: &SchemaRef,
    placing: &Placing,
) -> Result<Brought, Problem> {
    let mut carried = Vec::with_capacity(job.shape.carried.fields().len());
    let mut unlike = BTreeMap::new();
    for (field, column) in job.shape.schema.fields().iter().zip(&job.shape.columns) {
        let found = batch.column_by_name(field.name());
        match column {
            Column::Carried(_) => {
                let added = || canonical.column_with_name(field.name()).is_none();
                let array = match found {
                    Some(array) if logical(array.data_type()) != *field.data_type() && added() => {
                        let _ = unlike.insert(field.name().clone(), Arc::clone(array));
                        widen(array, field.data_type(), field.name(), placing)?
                    }
                    Some(array) => cast_exactly(array, field.data_type(), field.name())?,
                    None => new_null_array(field.data_type(), batch.num_rows()),
                };
                belongs_here(job, field.name(), &array)?;
                carried.push(array);
            }
            Column::Constant(one) => {
                let same = found.is_none_or(|array| is_constant(array, one));
                if !same || (found.is_none() && one.null_count() == 0 && batch.num_rows() > 0) {
                    return Err(Problem::FalseClaim(format!(
                        "column {} has more than one value",
                        field.name()
                    )));
                }
            }
        }
    }
    // Columns that the partition does not have add nothing to the hash of the day's rows.
    let widened = !unlike.is_empty();
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if job.shape.schema.column_with_name(field.name()).is_some() {
            continue;
        }
        if only_here(array, placing)?.logical_null_count() < array.len() {
            return Err(Problem::FalseClaim(format!(
                "column {} has a value, although none was claimed",
                field.name()
            )));
        }
        let _ = unlike.insert(field.name().clone(), Arc::clone(array));
    }
    Ok(Brought {
        columns: carried,
        unlike,
        widened,
    })
}

/// The values of the day's rows, nulls in the place of the others: what those are is no concern of
/// this day.
fn only_here(array: &ArrayRef, placing: &Placing) -> Result<ArrayRef, Problem> {
    let wrong = |e| Problem::Storage(Error::caused(Kind::Internal, "rows of other days", e));
    match placing {
        Placing::Here => Ok(Arc::clone(array)),
        Placing::Split { here, .. } => nullif(array, &not(here).map_err(wrong)?).map_err(wrong),
    }
}

/// The day's values of an added column in the partition's type.
fn widen(
    array: &ArrayRef,
    to: &DataType,
    name: &str,
    placing: &Placing,
) -> Result<ArrayRef, Problem> {
    let here = only_here(array, placing)?;
    if here.logical_null_count() == here.len() {
        return Ok(new_null_array(to, here.len()));
    }
    let wide = cast_exactly(&here, to, name)?;
    if array.data_type().is_integer() && to.is_floating() {
        // The cast to a float rounds without a word.
        let back = cast_exactly(&wide, array.data_type(), name)?;
        let same = not_distinct(&back, &here).is_ok_and(|same| same.true_count() == here.len());
        if !same {
            let what = format!("column {name}: a value does not fit {to}");
            return Err(Problem::bad(ErrorType::SchemaMismatch, what));
        }
    }
    Ok(wide)
}

/// The event times of a batch as they are stored.
fn times(batch: &RecordBatch) -> Result<Int64Array, Problem> {
    let column = batch.column_by_name(TS_EVENT).ok_or_else(|| {
        Problem::bad(
            ErrorType::SchemaMismatch,
            format!("there is no column {TS_EVENT}"),
        )
    })?;
    Ok(cast_exactly(column, &DataType::Int64, TS_EVENT)?
        .as_primitive::<Int64Type>()
        .clone())
}

/// A name that changes within the partition must still be the partition's; constant ones were
/// checked with the footer.
fn belongs_here(job: &Job, name: &str, array: &ArrayRef) -> Result<(), Problem> {
    if !["exchange", "stream", "symbol"].contains(&name) {
        return Ok(());
    }
    let Some(text) = array.as_string_opt::<i32>() else {
        return Ok(());
    };
    let mut known: Option<&str> = None;
    for value in text.iter().flatten() {
        if known != Some(value) && !belongs(name, value, &job.partition.series) {
            return Err(Problem::bad(
                ErrorType::WrongPartition,
                format!(
                    "a row's {name} is {value:?}, but the file lies in the folder of {}",
                    job.partition.series
                ),
            ));
        }
        known = Some(value);
    }
    Ok(())
}

fn cast_exactly(array: &ArrayRef, to: &DataType, name: &str) -> Result<ArrayRef, Problem> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions {
        safe: false,
        format_options: FormatOptions::default(),
    };
    cast_with_options(array, to, &options).map_err(|e| {
        Problem::bad(
            ErrorType::SchemaMismatch,
            format!("column {name}: a value does not fit {to}: {e}"),
        )
    })
}

/// Whether every value of `array` is that of `one`.
fn is_constant(array: &ArrayRef, one: &ArrayRef) -> bool {
    if array.is_empty() {
        return true;
    }
    if let Some(keyed) = array.as_any_dictionary_opt() {
        let used = array.null_count() == 0 && keyed.values().len() == 1;
        if used && one.null_count() == 0 {
            return is_constant(keyed.values(), one);
        }
    }
    let options = CastOptions {
        safe: false,
        format_options: FormatOptions::default(),
    };
    let Ok(array) = cast_with_options(array, one.data_type(), &options) else {
        return false;
    };
    not_distinct(&array, &arrow::array::Scalar::new(one))
        .is_ok_and(|same| same.true_count() == array.len())
}

/// Brings the time columns to nanoseconds; whether any value changed.
fn bring_to_ns(job: &Job, columns: &mut [ArrayRef]) -> bool {
    let mut changed = false;
    for (field, column) in job.shape.carried.fields().iter().zip(columns) {
        if TIME_COLUMNS.contains(&field.name().as_str()) && field.data_type() == &DataType::Int64 {
            let values = column.as_primitive::<Int64Type>();
            let brought: Int64Array = values.unary(|v| to_ns(v).unwrap_or(v));
            if brought.values() != values.values() {
                changed = true;
                *column = Arc::new(brought);
            }
        }
    }
    changed
}

/// Numbers that order rows by (rank of the file, row) until the merge knows their final ones.
fn provisional_numbers(rank: u32, before: u64, rows: usize) -> Result<Int64Array, Problem> {
    let too_many = || {
        Problem::Storage(Error::new(
            Kind::Resources,
            "more than 2^40 rows in a file, or 2^22 files without seq",
        ))
    };
    let rows = i64::try_from(rows).map_err(|_| too_many())?;
    let first = i64::try_from(before)
        .ok()
        .filter(|b| *b < (1 << ROW_BITS) - rows)
        .ok_or_else(too_many)?;
    if rank >= 1 << 22 {
        return Err(too_many());
    }
    let first = (i64::from(rank) << ROW_BITS) + first;
    Ok((first..first + rows).collect())
}

fn place(ts: &Int64Array, day: Date, source: &JobSource) -> Placing {
    if ts.null_count() == 0
        && let Some(unit) = ts.values().first().and_then(|v| Unit::of(*v))
    {
        let (from, to) = (day.start_ns() / unit.ns(), day.end_ns() / unit.ns());
        if ts
            .values()
            .iter()
            .map(|v| usize::from((*v < from) || (*v >= to)))
            .sum::<usize>()
            == 0
        {
            return Placing::Here;
        }
    }
    let mut here = Vec::with_capacity(ts.len());
    let mut quarantined = Vec::with_capacity(ts.len());
    let mut elsewhere: BTreeMap<Date, u64> = BTreeMap::new();
    for value in ts {
        let permitted = permitted_day(value, source.home);
        here.push(permitted == Some(day));
        quarantined.push(permitted.is_none());
        if let Some(other) = permitted.filter(|d| *d != day) {
            *elsewhere.entry(other).or_default() += 1;
        }
    }
    Placing::Split {
        here: here.into(),
        elsewhere,
        quarantined: quarantined.into(),
    }
}
