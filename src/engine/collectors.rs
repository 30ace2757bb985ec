//! The merge of several collectors of one feed: of rows that are equal in every column but
//! `ts_recv`, `sub_seq` and `source`, the data has as many as the collector that has most of them.
//!
//! ```text
//! rows of one (ts_event, seq), that are equal but for these, each collector's by (ts_recv, source, sub_seq):
//!
//!              1st        2nd        3rd
//!   a          12         30                       the k-th row of the data is the earliest of the k-th rows:
//!   b          11         31         45            11 (of b), 30 (of a), 45 (of b, which alone has a third)
//! ```
//!
//! A row that nobody received has no `ts_recv`, and is later than any other. Where it comes from a
//! file in which the exchange tells no numbers, its `seq` is 0, and it is a copy of a row with a
//! number that is equal in all other columns: then all rows of one time are looked at together, and
//! `seq` is no column by which events are compared in the proof. That a row is such a copy follows
//! from the rows of its event alone, and what makes it none stays: so here too it is of no importance
//! what came first.
//!
//! Archived data counts as one more collector, so the rule can be applied again and again, in any
//! order. What is left out is counted by source, and proven twice: the rows that come in have the
//! row hash of those that go out and of the copies; and of each collector, the rows that it gave
//! have the row hash of those rows of the data that stand for them, in the columns that are
//! compared.

use std::{cmp::Ordering, ops::Range, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, DynComparator, Int32Array, RecordBatch,
        make_comparator,
    },
    buffer::BooleanBuffer,
    compute::{SortOptions, filter_record_batch, kernels::cmp::not_distinct},
    datatypes::{Int32Type, Int64Type},
};
use datafusion::common::{DataFusionError, Result as DfResult};
use futures::{
    TryStreamExt,
    stream::{self, BoxStream},
};

use super::order::comparable;
use crate::{
    error::Error,
    job::{
        Given, Job, Mask, Merged, Role,
        columns::{OWN, add_event_columns, add_own_columns},
        conflicts::{Conflicts, Identities},
    },
    model::{
        receipt::{FILLED, FilledHole},
        row_hash::RowSums,
        schema::{SOURCE, TS_RECV},
        time::to_ns,
    },
};

/// Passes on the rows of `keys` that are no copies, without their sources. Each batch has all rows
/// of its keys.
pub fn merge(
    job: Arc<Job>,
    keys: BoxStream<'static, DfResult<RecordBatch>>,
) -> impl futures::Stream<Item = DfResult<RecordBatch>> + Send {
    let merge = CollectorMerge::of(job);
    stream::try_unfold((merge, keys), |(mut merge, mut keys)| async move {
        if let Some(batch) = keys.try_next().await? {
            let rows = merge.take(&batch)?;
            return Ok(Some((rows, (merge, keys))));
        }
        merge.end();
        Ok(None)
    })
}

/// The state of the merge.
struct CollectorMerge {
    job: Arc<Job>,
    /// Places of the columns that are compared, besides those of the order.
    compared: Vec<usize>,
    /// Places of the columns of [`OWN`] that are not the same in every row.
    own: Vec<usize>,
    /// Where the source of a row stands.
    source: usize,
    merged: Merged,
    conflicts: Conflicts,
    /// The hole under way that one collector alone fills.
    hole: Option<(usize, FilledHole)>,
    sums: RowSums,
}

/// A batch and what is looked up in it again and again.
struct Keys<'a> {
    batch: &'a RecordBatch,
    collector: Vec<usize>,
    sources: &'a Int32Array,
    /// Made where they are needed first.
    comparators: Option<Comparators>,
}

struct Comparators {
    compared: Vec<DynComparator>,
    own: Vec<DynComparator>,
}

impl CollectorMerge {
    fn of(job: Arc<Job>) -> Self {
        let fields = job.shape.carried.fields();
        let place = |name: &str| fields.iter().position(|field| field.name() == name);
        let own: Vec<usize> = OWN.into_iter().filter_map(place).collect();
        let is_key = |at: &usize| *at == job.shape.ts || *at == job.shape.seq;
        let compared = (0..fields.len())
            .filter(|at| !is_key(at) && !own.contains(at))
            .collect();
        let source = fields.len();
        let collectors = job
            .merging
            .as_ref()
            .map_or(0, |merging| merging.collectors.len());
        let merged = Merged {
            collectors: vec![Given::default(); collectors],
            ..Merged::default()
        };
        let (conflicts, sums) = (Conflicts::of(collectors), RowSums::default());
        Self {
            job,
            compared,
            own,
            source,
            merged,
            conflicts,
            hole: None,
            sums,
        }
    }

    fn end(mut self) {
        self.close_hole();
        for given in &mut self.merged.collectors {
            keep_largest(&mut given.filled);
            given.filled.sort_by_key(|hole| hole.from_ns);
        }
        self.job.ledger.merge(self.merged);
    }

    /// The rows of a batch that are no copies.
    fn take(&mut self, batch: &RecordBatch) -> DfResult<RecordBatch> {
        let sources = batch.column(self.source).as_primitive::<Int32Type>();
        let collector = sources
            .values()
            .iter()
            .map(|source| self.collector(*source))
            .collect::<DfResult<Vec<usize>>>()?;
        // The collectors for which a row stands; none where it is a copy.
        let mut stands: Vec<Mask> = collector.iter().map(|one| 1 << *one).collect();
        let groups = self.groups(batch);
        if groups.iter().any(|group| group.len() > 1) {
            let next = self.equal_to_next(batch)?;
            let mut keys = Keys {
                batch,
                collector,
                sources,
                comparators: None,
            };
            for group in groups.iter().filter(|group| group.len() > 1) {
                self.merge_group(&mut keys, group.clone(), &next, &mut stands)?;
            }
        }
        if self.job.has_unnumbered() {
            self.merge_unnumbered(batch, &mut stands)?;
        }
        for group in &groups {
            self.count(batch, group.clone(), &stands);
        }
        self.count_conflicts(batch, &stands);
        self.prove(batch, &stands)?;
        let carried: Vec<usize> = (0..self.source).collect();
        let carried = batch.project(&carried)?;
        // The schema of rows on their way has one column more.
        let carried = carried.with_schema(Arc::clone(&self.job.shape.carried))?;
        if stands.iter().all(|mask| *mask != 0) {
            return Ok(carried);
        }
        for (source, _) in sources
            .values()
            .iter()
            .zip(&stands)
            .filter(|(_, mask)| **mask == 0)
        {
            *self
                .merged
                .copies
                .entry(usize::try_from(*source).unwrap_or_default())
                .or_default() += 1;
        }
        let kept: BooleanBuffer = stands.iter().map(|mask| *mask != 0).collect();
        Ok(filter_record_batch(&carried, &BooleanArray::from(kept))?)
    }

    fn collector(&self, source: i32) -> DfResult<usize> {
        let merging = self.job.merging.as_ref();
        let found = usize::try_from(source)
            .ok()
            .and_then(|source| merging?.of_source.get(source).copied());
        found.ok_or_else(|| DataFusionError::Internal("a row is of no source".to_owned()))
    }

    /// The rows of each `(ts_event, seq)`.
    fn groups(&self, batch: &RecordBatch) -> Vec<Range<usize>> {
        let ts = batch.column(self.job.shape.ts).as_primitive::<Int64Type>();
        let seq = batch.column(self.job.shape.seq).as_primitive::<Int64Type>();
        let is_same = |a: usize, b: usize| {
            let same = |array: &arrow::array::Int64Array| {
                array.is_null(a) == array.is_null(b)
                    && (array.is_null(a) || array.value(a) == array.value(b))
            };
            same(ts) && same(seq)
        };
        let mut groups = Vec::new();
        let mut begin = 0;
        for row in 1..=batch.num_rows() {
            if row == batch.num_rows() || !is_same(row - 1, row) {
                groups.push(begin..row);
                begin = row;
            }
        }
        groups
    }

    /// Whether each row is equal to the next one in the columns that are compared.
    fn equal_to_next(&self, batch: &RecordBatch) -> DfResult<BooleanBuffer> {
        let pairs = batch.num_rows() - 1;
        let mut equal = BooleanBuffer::new_set(pairs);
        for at in &self.compared {
            let column = batch.column(*at);
            let here =
                if let Ok(same) = not_distinct(&column.slice(0, pairs), &column.slice(1, pairs)) {
                    same.values().clone()
                } else {
                    // Lists and structs are compared one by one.
                    let compare = comparator(column, true)?;
                    (0..pairs)
                        .map(|row| compare(row, row + 1).is_eq())
                        .collect()
                };
            equal = &equal & &here;
        }
        Ok(equal)
    }

    /// Settles which rows of a group of equal keys are copies.
    fn merge_group(
        &self,
        keys: &mut Keys<'_>,
        group: Range<usize>,
        equal_to_next: &BooleanBuffer,
        stands: &mut [Mask],
    ) -> DfResult<()> {
        let (first, second) = (group.start, group.start + 1);
        let of = |row: usize| keys.collector.get(row).copied().unwrap_or_default();
        if group.len() == 2 && (of(first) == of(second) || !equal_to_next.value(first)) {
            return Ok(());
        }
        let comparators = match keys.comparators.take() {
            Some(comparators) => comparators,
            None => self.comparators(keys.batch)?,
        };
        let by = |list: &[DynComparator], a: usize, b: usize| {
            list.iter()
                .map(|compare| compare(a, b))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        };
        // Of rows that are equal in all columns, the one of the spool is billed, so that archived
        // data accounts for no more than what is nowhere else.
        let source = |row: usize| {
            let source = keys.sources.value(row);
            let role = usize::try_from(source)
                .ok()
                .and_then(|at| self.job.sources.get(at))
                .map(|source| source.role);
            (role == Some(Role::Base), source)
        };
        let earlier =
            |a: usize, b: usize| by(&comparators.own, a, b).then_with(|| source(a).cmp(&source(b)));
        if group.len() == 2 {
            let (kept, copy) = if earlier(first, second).is_le() {
                (first, second)
            } else {
                (second, first)
            };
            if let Some(stands) = stands.get_mut(kept) {
                *stands = (1 << of(first)) | (1 << of(second));
            }
            if let Some(stands) = stands.get_mut(copy) {
                *stands = 0;
            }
            keys.comparators = Some(comparators);
            return Ok(());
        }
        let mut rows: Vec<usize> = group.collect();
        let collector = |row: usize| keys.collector.get(row).copied().unwrap_or_default();
        rows.sort_by(|a, b| {
            let (a, b) = (*a, *b);
            by(&comparators.compared, a, b)
                .then_with(|| collector(a).cmp(&collector(b)))
                .then_with(|| earlier(a, b))
        });
        for events in rows.chunk_by(|a, b| by(&comparators.compared, *a, *b).is_eq()) {
            let each: Vec<&[usize]> = events
                .chunk_by(|a, b| collector(*a) == collector(*b))
                .collect();
            if each.len() < 2 {
                continue;
            }
            for nth in 0..each.iter().map(|own| own.len()).max().unwrap_or_default() {
                let candidates = || each.iter().filter_map(|own| own.get(nth).copied());
                let mask: Mask = candidates().fold(0, |mask, row| mask | (1 << collector(row)));
                let kept = candidates().min_by(|a, b| earlier(*a, *b));
                for row in candidates() {
                    if let Some(stands) = stands.get_mut(row) {
                        *stands = if Some(row) == kept { mask } else { 0 };
                    }
                }
            }
        }
        keys.comparators = Some(comparators);
        Ok(())
    }

    /// Settles which rows that nobody received, and that have no number, are copies of rows that have
    /// one: those that are equal in all other columns, where nothing else is, and no collector has
    /// both. The batch has all rows of each of its times.
    fn merge_unnumbered(&self, batch: &RecordBatch, stands: &mut [Mask]) -> DfResult<()> {
        let fields = self.job.shape.carried.fields();
        let column = |name: &str| {
            let at = fields.iter().position(|field| field.name() == name)?;
            Some(batch.column(at))
        };
        let (received, published) = (column(TS_RECV), column(SOURCE));
        let ts = batch.column(self.job.shape.ts).as_primitive::<Int64Type>();
        let seq = batch.column(self.job.shape.seq).as_primitive::<Int64Type>();
        let number = |row: usize| seq.is_valid(row).then(|| seq.value(row));
        let is_unnumbered = |row: usize| {
            number(row) == Some(0)
                && received.is_none_or(|received| received.is_null(row))
                && published.is_none_or(|published| published.is_valid(row))
        };
        let is_numbered = |row: usize| number(row).is_some_and(|number| number != 0);
        let of = |stands: &[Mask], row: usize| stands.get(row).copied().unwrap_or_default();
        let mut comparators = None;
        let rows: Vec<usize> = (0..batch.num_rows())
            .filter(|row| of(stands, *row) != 0)
            .collect();
        for time in rows.chunk_by(|a, b| ts.value(*a) == ts.value(*b)) {
            let has = |is_meant: &dyn Fn(usize) -> bool| time.iter().any(|row| is_meant(*row));
            if !has(&is_unnumbered) || !has(&is_numbered) {
                continue;
            }
            let comparators = match &mut comparators {
                Some(known) => known,
                none => none.insert(self.comparators(batch)?),
            };
            let by_values = |a: &usize, b: &usize| {
                let mut orders = comparators.compared.iter().map(|compare| compare(*a, *b));
                orders
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            };
            let mut time = time.to_vec();
            // Rows without a number come first, and stay so.
            time.sort_by(by_values);
            for event in time.chunk_by(|a, b| by_values(a, b).is_eq()) {
                let [copy, kept] = *event else { continue };
                let mask = of(stands, copy);
                let is_copy =
                    is_unnumbered(copy) && is_numbered(kept) && mask & of(stands, kept) == 0;
                if !is_copy {
                    continue;
                }
                if let Some(stands) = stands.get_mut(kept) {
                    *stands |= mask;
                }
                if let Some(stands) = stands.get_mut(copy) {
                    *stands = 0;
                }
            }
        }
        Ok(())
    }

    fn comparators(&self, batch: &RecordBatch) -> DfResult<Comparators> {
        let schema = batch.schema();
        let of = |places: &[usize]| {
            let one = |at: &usize| {
                let is_time = schema.field(*at).name() == TS_RECV;
                comparator(batch.column(*at), !is_time)
            };
            places.iter().map(one).collect::<DfResult<Vec<_>>>()
        };
        Ok(Comparators {
            compared: of(&self.compared)?,
            own: of(&self.own)?,
        })
    }

    /// Counts what one collector alone has.
    fn count(&mut self, batch: &RecordBatch, group: Range<usize>, stands: &[Mask]) {
        let masks = stands.get(group.clone()).unwrap_or_default();
        let kept = || masks.iter().copied().filter(|mask| *mask != 0);
        if kept().next().is_none() {
            return;
        }
        for mask in kept().filter(|mask| mask.is_power_of_two()) {
            if let Some(given) = self
                .merged
                .collectors
                .get_mut(mask.trailing_zeros() as usize)
            {
                given.gain += 1;
            }
        }
        let first = kept().next().unwrap_or_default();
        let rows = kept().count() as u64;
        let alone = (first.is_power_of_two() && kept().all(|mask| mask == first))
            .then(|| first.trailing_zeros() as usize);
        let ts = batch
            .column(self.job.shape.ts)
            .as_primitive::<Int64Type>()
            .value(group.start);
        let ts = to_ns(ts).unwrap_or(ts);
        match (&mut self.hole, alone) {
            (Some((of, hole)), Some(alone)) if *of == alone => {
                (hole.to_ns, hole.rows) = (ts, hole.rows + rows);
            }
            _ => {
                self.close_hole();
                self.hole = alone.map(|alone| {
                    (
                        alone,
                        FilledHole {
                            from_ns: ts,
                            to_ns: ts,
                            rows,
                        },
                    )
                });
            }
        }
    }

    fn close_hole(&mut self) {
        let Some((of, hole)) = self.hole.take() else {
            return;
        };
        let Some(given) = self.merged.collectors.get_mut(of) else {
            return;
        };
        given.filled_holes += 1;
        given.filled.push(hole);
        if given.filled.len() >= 2 * FILLED {
            keep_largest(&mut given.filled);
        }
    }

    fn count_conflicts(&mut self, batch: &RecordBatch, stands: &[Mask]) {
        if !stands.iter().any(|mask| self.conflicts.is_possible(*mask)) {
            return;
        }
        let job = Arc::clone(&self.job);
        let identities = Identities::of(&job, batch);
        let mut found = Vec::new();
        for (row, mask) in stands.iter().enumerate() {
            if !self.conflicts.is_possible(*mask) {
                continue;
            }
            if let Some(identity) = identities.of_row(row) {
                self.conflicts.add(identity, *mask, &mut found);
            }
        }
        for found in found {
            self.merged.conflicts += found.rows;
            for (at, given) in self.merged.collectors.iter_mut().enumerate() {
                given.conflicts += if found.collectors & (1 << at) == 0 {
                    0
                } else {
                    found.rows
                };
            }
        }
    }

    /// Sums up what the proof needs of this batch.
    fn prove(&mut self, batch: &RecordBatch, stands: &[Mask]) -> DfResult<()> {
        let wrong = |e: Error| DataFusionError::External(Box::new(e));
        let carried = batch.columns().get(..self.source).unwrap_or_default();
        self.sums.begin(batch.num_rows());
        add_event_columns(&self.job, carried, &mut self.sums).map_err(wrong)?;
        for (at, given) in self.merged.collectors.iter_mut().enumerate() {
            let of_it: BooleanBuffer = stands.iter().map(|mask| mask & (1 << at) != 0).collect();
            given.events_hash = given
                .events_hash
                .and(self.sums.hash_where(&BooleanArray::from(of_it)));
        }
        if stands.contains(&0) {
            add_own_columns(&self.job, carried, &mut self.sums).map_err(wrong)?;
            let copies: BooleanBuffer = stands.iter().map(|mask| *mask == 0).collect();
            self.merged.copies_hash = self
                .merged
                .copies_hash
                .and(self.sums.hash_where(&BooleanArray::from(copies)));
        }
        Ok(())
    }
}

fn keep_largest(holes: &mut Vec<FilledHole>) {
    holes.sort_by_key(|hole| (std::cmp::Reverse(hole.rows), hole.from_ns));
    holes.truncate(FILLED);
}

fn comparator(column: &ArrayRef, nulls_first: bool) -> DfResult<DynComparator> {
    let options = SortOptions {
        descending: false,
        nulls_first,
    };
    let column = comparable(column)?;
    Ok(make_comparator(&column, &column, options)?)
}
