//! Rows of one `(ts_event, seq)`: brought together, and ordered by their other columns, left to
//! right.
//!
//! Usually they are few and are ordered in memory. Where they take more than their part of the
//! pool, DataFusion's sort, which spills, orders them by the same rule.
//!
//! Its `PartialSortExec` gives the same order, and was measured beside it on 327,680 quotes
//! (`cargo bench --bench upstream`): it sorts also batches in which no two rows have one key, which
//! takes 4.9 ms instead of 1.1; with two rows a key 6.1 ms instead of 4.5. It joins what it holds
//! of a key anew with each batch: 72 ms instead of 27 where all rows have one key. It reserves no
//! memory for them, and does not spill.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array},
    compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch},
    datatypes::{DataType, Int64Type, Schema, SchemaRef},
};
use datafusion::{
    common::{DataFusionError, Result as DfResult},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation},
    },
    physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr},
    physical_plan::{
        ColumnarValue, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        sorts::sort::SortExec,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{
    StreamExt, TryStreamExt,
    future::try_join,
    stream::{self, BoxStream},
};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::order::comparable;
use crate::{
    error::{Error, Kind},
    file::shape::Shape,
};

/// Rows that are ordered in memory are there so many times: as they came, as one batch, and in
/// order.
const COPIES: usize = 3;
/// The part of the pool that they may take before a sort that spills orders them.
const SHARE: usize = 4;
const OPTIONS: SortOptions = SortOptions {
    descending: false,
    nulls_first: true,
};

/// The rows of `input`, which ascend, in batches that have all rows of each key; those are in
/// memory together.
#[must_use]
pub fn whole_keys(
    input: SendableRecordBatchStream,
    shape: Arc<Shape>,
    context: &TaskContext,
) -> BoxStream<'static, DfResult<RecordBatch>> {
    let keys = Keys::new(input, shape, context, usize::MAX);
    let batches = stream::try_unfold(keys, |mut keys| async move {
        match keys.next().await? {
            Group::Whole(batch) => Ok(Some((batch, keys))),
            Group::Long { refused, .. } => Err(too_many_ties(&refused)),
            Group::End => Ok(None),
        }
    });
    batches.boxed()
}

/// The rows of `input`, which ascend, in their final order.
#[must_use]
pub fn ordered_ties(
    input: SendableRecordBatchStream,
    shape: Arc<Shape>,
    context: &Arc<TaskContext>,
) -> BoxStream<'static, DfResult<RecordBatch>> {
    let most = match context.memory_pool().memory_limit() {
        MemoryLimit::Finite(bytes) => bytes / SHARE,
        _ => usize::MAX,
    };
    let keys = Keys::new(input, shape, context, most);
    let state = Ties {
        keys,
        long: None,
        context: Arc::clone(context),
    };
    stream::try_unfold(state, |mut state| async move {
        Ok(state.next().await?.map(|batch| (batch, state)))
    })
    .boxed()
}

/// Rows in their final order, from those in which keys ascend.
struct Ties {
    keys: Keys,
    /// The rows of a key that has many, in order.
    long: Option<SendableRecordBatchStream>,
    context: Arc<TaskContext>,
}

impl Ties {
    async fn next(&mut self) -> DfResult<Option<RecordBatch>> {
        loop {
            if let Some(long) = &mut self.long {
                if let Some(batch) = long.try_next().await? {
                    return Ok(Some(batch));
                }
                self.long = None;
            }
            match self.keys.next().await? {
                Group::Whole(batch) => return Ok(Some(ordered(&self.keys.shape, &batch)?)),
                Group::Long { rows, .. } => {
                    tracing::debug!("rows of one (ts_event, seq) are sorted with spilling");
                    self.long = Some(self.keys.sorted(rows, &self.context).await?);
                }
                Group::End => return Ok(None),
            }
        }
    }
}

/// The rows of one key or of several.
enum Group {
    /// All of them.
    Whole(RecordBatch),
    /// The first ones of a key for whose rows there is no room; more follow in the input.
    Long {
        rows: Vec<RecordBatch>,
        refused: DataFusionError,
    },
    /// There are no more.
    End,
}

/// Rows held back because the next batch may begin with the same key.
struct Keys {
    input: SendableRecordBatchStream,
    shape: Arc<Shape>,
    /// What was read and belongs to no key that was given.
    pending: Option<RecordBatch>,
    held: Vec<RecordBatch>,
    /// Bytes of what is held, where it is more than the end of a batch.
    held_bytes: usize,
    reservation: MemoryReservation,
    most: usize,
    done: bool,
}

impl Keys {
    fn new(
        input: SendableRecordBatchStream,
        shape: Arc<Shape>,
        context: &TaskContext,
        most: usize,
    ) -> Self {
        let reservation =
            MemoryConsumer::new("rows of one (ts_event, seq)").register(context.memory_pool());
        Self {
            input,
            shape,
            pending: None,
            held: Vec::new(),
            held_bytes: 0,
            reservation,
            most,
            done: false,
        }
    }

    async fn next(&mut self) -> DfResult<Group> {
        // What was given before is with whoever asked for it.
        if self.held.len() < 2 {
            let _ = self.reservation.free();
        }
        while !self.done {
            let batch = match self.pending.take() {
                Some(batch) => Some(batch),
                None => self.input.try_next().await?,
            };
            let Some(batch) = batch else {
                self.done = true;
                return match self.taken()? {
                    Some(rest) => Ok(Group::Whole(rest)),
                    None => Ok(Group::End),
                };
            };
            if let Some(group) = self.take(batch)? {
                return Ok(group);
            }
        }
        Ok(Group::End)
    }

    /// Takes a batch; gives all rows whose key cannot occur again.
    fn take(&mut self, batch: RecordBatch) -> DfResult<Option<Group>> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(None);
        }
        let tail = last_key_from(&self.shape, &batch);
        let continues = match self.held.last() {
            Some(held) => same_key(&self.shape, held, held.num_rows() - 1, &batch, 0),
            None => false,
        };
        if continues && tail == 0 {
            // The whole batch is one key, and the same as what is held.
            return Ok(self.hold(batch).err().map(|refused| Group::Long {
                rows: self.let_go(),
                refused,
            }));
        }
        if tail > 0 {
            self.held.push(batch.slice(0, tail));
        }
        let ready = self.taken()?;
        self.held.push(batch.slice(tail, rows - tail));
        Ok(ready.map(Group::Whole))
    }

    /// Holds more rows of the key of those that are held; they are held also where there is no room
    /// for them.
    fn hold(&mut self, batch: RecordBatch) -> DfResult<()> {
        if let [first] = self.held.as_slice() {
            self.held_bytes = bytes_of(first);
        }
        self.held_bytes += bytes_of(&batch);
        self.held.push(batch);
        let needed = self.held_bytes.saturating_mul(COPIES);
        if needed > self.most {
            let what = format!(
                "{needed} bytes for rows of one (ts_event, seq), of {}",
                self.most
            );
            return Err(DataFusionError::ResourcesExhausted(what));
        }
        self.reservation.try_resize(needed)
    }

    /// What is held, with nothing reserved for it.
    fn let_go(&mut self) -> Vec<RecordBatch> {
        let _ = self.reservation.free();
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    /// What is held, as one batch. It stays reserved until the next one is asked for.
    fn taken(&mut self) -> DfResult<Option<RecordBatch>> {
        let mut held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        match (held.pop(), held.is_empty()) {
            (None, _) => Ok(None),
            (Some(one), true) => Ok(Some(one)),
            (Some(last), false) => {
                held.push(last);
                Ok(Some(concat_batches(&self.input.schema(), &held)?))
            }
        }
    }

    /// The rows of one key, which begin with `rows` and go on in the input, ordered by their other
    /// columns by a sort that spills. Returns when it has taken all of them.
    async fn sorted(
        &mut self,
        rows: Vec<RecordBatch>,
        context: &Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let schema = self.input.schema();
        let Some(order) = order_of_ties(&self.shape, &schema)? else {
            return Err(DataFusionError::Internal(
                "rows without a column".to_owned(),
            ));
        };
        let (send, receive) = mpsc::channel(1);
        let sort = SortExec::new(order, Arc::new(OneKey::new(receive, &schema)));
        let mut sorted = sort.execute(0, Arc::clone(context))?;
        // The sort gives its first rows when it has taken the last.
        let ((), first) = try_join(self.feed(rows, send), sorted.try_next()).await?;
        let sorted = stream::iter(first.map(Ok)).chain(sorted);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, sorted)))
    }

    /// Sends the rows of one key, which begin with `rows` and go on in the input.
    async fn feed(&mut self, rows: Vec<RecordBatch>, send: Sender<RecordBatch>) -> DfResult<()> {
        let Some(key) = rows.first().map(|batch| batch.slice(0, 1)) else {
            return Ok(());
        };
        for batch in rows {
            // Whoever takes no more has failed, and says so.
            if send.send(alone(batch)?).await.is_err() {
                return Ok(());
            }
        }
        while self.pending.is_none() {
            let Some(batch) = self.input.try_next().await? else {
                self.done = true;
                return Ok(());
            };
            let same = (0..batch.num_rows())
                .take_while(|row| same_key(&self.shape, &key, 0, &batch, *row))
                .count();
            if same < batch.num_rows() {
                self.pending = Some(batch.slice(same, batch.num_rows() - same));
            }
            if same > 0 && send.send(alone(batch.slice(0, same))?).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Bytes of the rows of a batch, without what else is in its buffers.
#[must_use]
pub fn bytes_of(batch: &RecordBatch) -> usize {
    let column = |array: &ArrayRef| {
        array
            .to_data()
            .get_slice_memory_size()
            .unwrap_or(array.get_array_memory_size())
    };
    batch.columns().iter().map(column).sum()
}

/// The rows of a batch without what else is in its buffers: a sort reserves the buffers as a whole
/// for every slice of them.
fn alone(batch: RecordBatch) -> DfResult<RecordBatch> {
    if batch.get_array_memory_size() / 2 <= bytes_of(&batch) {
        return Ok(batch);
    }
    let rows: UInt32Array = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect();
    Ok(take_record_batch(&batch, &rows)?)
}

fn too_many_ties(source: &DataFusionError) -> DataFusionError {
    DataFusionError::External(Box::new(Error::caused(
        Kind::Resources,
        "too many rows of several collectors share one (ts_event, seq) to be compared in memory; raise --memory-limit",
        source.to_string(),
    )))
}

fn keys(shape: &Shape, batch: &RecordBatch) -> (Int64Array, Int64Array) {
    let key = |at: usize| batch.column(at).as_primitive::<Int64Type>().clone();
    (key(shape.ts), key(shape.seq))
}

fn at(array: &Int64Array, row: usize) -> Option<i64> {
    array.is_valid(row).then(|| array.value(row))
}

fn same_key(shape: &Shape, a: &RecordBatch, i: usize, b: &RecordBatch, j: usize) -> bool {
    let ((at_a, aq), (bt, bq)) = (keys(shape, a), keys(shape, b));
    at(&at_a, i) == at(&bt, j) && at(&aq, i) == at(&bq, j)
}

/// The first row of the group of equal keys at the end.
fn last_key_from(shape: &Shape, batch: &RecordBatch) -> usize {
    let (ts, seq) = keys(shape, batch);
    let last = batch.num_rows() - 1;
    let mut row = last;
    while row > 0 && at(&ts, row - 1) == at(&ts, last) && at(&seq, row - 1) == at(&seq, last) {
        row -= 1;
    }
    row
}

/// `batch` with every group of equal keys ordered by the other columns; unchanged where there is no
/// such group.
///
/// # Errors
/// When a column can neither be compared nor become text.
pub fn ordered(shape: &Shape, batch: &RecordBatch) -> DfResult<RecordBatch> {
    let (ts, seq) = keys(shape, batch);
    let equal = if ts.null_count() == 0 && seq.null_count() == 0 {
        let (t, s) = (ts.values(), seq.values());
        let next = t.iter().skip(1).zip(s.iter().skip(1));
        t.iter()
            .zip(s)
            .zip(next)
            .map(|((a, b), (c, d))| usize::from((a == c) && (b == d)))
            .sum::<usize>()
            > 0
    } else {
        (1..batch.num_rows())
            .any(|i| at(&ts, i) == at(&ts, i - 1) && at(&seq, i) == at(&seq, i - 1))
    };
    if !equal {
        return Ok(batch.clone());
    }
    let mut columns: Vec<SortColumn> = [shape.ts, shape.seq]
        .iter()
        .map(|at| SortColumn {
            values: Arc::clone(batch.column(*at)),
            options: Some(OPTIONS),
        })
        .collect();
    for (nth, values) in batch.columns().iter().enumerate() {
        if nth != shape.ts && nth != shape.seq {
            columns.push(SortColumn {
                values: comparable(values)?,
                options: Some(OPTIONS),
            });
        }
    }
    let order = lexsort_to_indices(&columns, None)?;
    Ok(take_record_batch(batch, &order)?)
}

/// The order of rows of one key, as DataFusion expresses it.
///
/// # Errors
/// As [`ordered`].
fn order_of_ties(shape: &Shape, schema: &Schema) -> DfResult<Option<LexOrdering>> {
    let mut by: Vec<usize> = (0..schema.fields().len())
        .filter(|at| *at != shape.ts && *at != shape.seq)
        .collect();
    if by.is_empty() {
        by.push(shape.ts);
    }
    let one = |at: usize| {
        let kind = schema.field(at).data_type();
        let comparable = comparable(&arrow::array::new_empty_array(kind))?
            .data_type()
            .clone();
        Ok(PhysicalSortExpr::new(
            Arc::new(Comparable {
                at,
                kind: comparable,
            }),
            OPTIONS,
        ))
    };
    Ok(LexOrdering::new(
        by.into_iter().map(one).collect::<DfResult<Vec<_>>>()?,
    ))
}

/// A column as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Comparable {
    at: usize,
    /// The type in which it is compared.
    kind: DataType,
}

impl fmt::Display for Comparable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}", self.at)
    }
}

impl PhysicalExpr for Comparable {
    fn data_type(&self, _: &Schema) -> DfResult<DataType> {
        Ok(self.kind.clone())
    }

    fn nullable(&self, _: &Schema) -> DfResult<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        Ok(ColumnarValue::Array(comparable(batch.column(self.at))?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        Ok(self)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The rows of one key, as they are sent: the input of a sort, which reads it once.
#[derive(Debug)]
struct OneKey {
    rows: Mutex<Option<Receiver<RecordBatch>>>,
    properties: Arc<PlanProperties>,
}

impl OneKey {
    fn new(rows: Receiver<RecordBatch>, schema: &SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            rows: Mutex::new(Some(rows)),
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for OneKey {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneKey")
    }
}

impl ExecutionPlan for OneKey {
    fn name(&self) -> &'static str {
        "OneKey"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    crate::engine::leaf!();

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let rows = self
            .rows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let rows = rows
            .ok_or_else(|| DataFusionError::Internal("rows of one key are read once".to_owned()))?;
        let rows = stream::unfold(rows, |mut rows| async move {
            Some((Ok(rows.recv().await?), rows))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Float64Array, ListArray, StringArray, StructArray},
        buffer::OffsetBuffer,
        datatypes::{Field, Fields, Float64Type},
    };
    use datafusion::{
        execution::{memory_pool::FairSpillPool, runtime_env::RuntimeEnvBuilder},
        prelude::{SessionConfig, SessionContext},
    };
    use proptest::prelude::*;

    use super::*;

    /// A row besides its key: a number, a text, a list, a struct.
    type Row = (
        Option<f64>,
        Option<String>,
        Option<Vec<Option<f64>>>,
        Option<(Option<String>, Option<f64>)>,
    );

    fn batch(keys: &[(i64, i64)], rows: &[Row]) -> RecordBatch {
        let (ts, seq): (Vec<i64>, Vec<i64>) = keys.iter().copied().unzip();
        let numbers: Float64Array = rows.iter().map(|row| row.0).collect();
        let texts: StringArray = rows.iter().map(|row| row.1.as_deref()).collect();
        let lists = ListArray::from_iter_primitive::<Float64Type, _, _>(
            rows.iter().map(|row| row.2.clone()),
        );
        let fields = Fields::from(vec![
            Field::new("a", DataType::Utf8, true),
            Field::new("b", DataType::Float64, true),
        ]);
        let a: StringArray = rows
            .iter()
            .map(|row| row.3.as_ref().and_then(|pair| pair.0.as_deref()))
            .collect();
        let b: Float64Array = rows
            .iter()
            .map(|row| row.3.as_ref().and_then(|pair| pair.1))
            .collect();
        let nulls = rows.iter().map(|row| row.3.is_some()).collect();
        let pairs = StructArray::new(fields, vec![Arc::new(a), Arc::new(b)], Some(nulls));
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(1, rows.len()));
        let element = Arc::new(Field::new_list_field(pairs.data_type().clone(), true));
        let nested = ListArray::new(element, offsets, Arc::new(pairs.clone()), None);
        let columns: [(&str, ArrayRef); 7] = [
            ("ts_event", Arc::new(Int64Array::from(ts))),
            ("seq", Arc::new(Int64Array::from(seq))),
            ("number", Arc::new(numbers)),
            ("text", Arc::new(texts)),
            ("list", Arc::new(lists)),
            ("struct", Arc::new(pairs)),
            ("nested", Arc::new(nested)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
            .unwrap()
    }

    fn shape(schema: &SchemaRef) -> Arc<Shape> {
        Arc::new(Shape {
            schema: Arc::clone(schema),
            columns: Vec::new(),
            carried: Arc::clone(schema),
            ts: 0,
            seq: 1,
        })
    }

    /// The rows in their final order under a pool of so many bytes.
    fn through(batches: &[RecordBatch], pool: usize, folder: &std::path::Path) -> RecordBatch {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(pool)))
            .with_temp_file_path(folder)
            .build_arc()
            .unwrap();
        let config = SessionConfig::new()
            .with_batch_size(16)
            .with_sort_spill_reservation_bytes(pool / 8);
        let session = SessionContext::new_with_config_rt(config, runtime);
        let schema = batches[0].schema();
        let rows: Vec<_> = batches.iter().cloned().map(Ok).collect();
        let rows = stream::iter(rows);
        let input = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows));
        let ordered = ordered_ties(input, shape(&schema), &session.task_ctx());
        let tokio = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let ordered: Vec<RecordBatch> = tokio.block_on(ordered.try_collect()).unwrap();
        concat_batches(&schema, &ordered).unwrap()
    }

    fn number() -> impl Strategy<Value = Option<f64>> {
        prop::option::of(prop::sample::select(vec![
            -0.0,
            0.0,
            1.0,
            -1.5,
            f64::NAN,
            -f64::NAN,
            f64::INFINITY,
        ]))
    }

    fn text() -> impl Strategy<Value = Option<String>> {
        prop::option::of("[ab\u{0}]{0,3}")
    }

    fn row() -> impl Strategy<Value = Row> {
        let list = prop::option::of(prop::collection::vec(number(), 0..3));
        (number(), text(), list, prop::option::of((text(), number())))
    }

    #[test]
    fn rows_of_one_key_that_do_not_fit_are_ordered_on_disk_and_those_around_them_stay() {
        const POOL: usize = 256 << 10;
        let row = |nth: i32| {
            let number = f64::from(nth * 7919 % 6000);
            (
                Some(number),
                Some(format!("text {number}")),
                Some(vec![Some(number)]),
                None,
            )
        };
        let keys: Vec<(i64, i64)> = (0..6000)
            .map(|nth| (i64::from(nth > 2) + i64::from(nth > 5990), 7))
            .collect();
        let all = batch(&keys, &(0..6000).map(row).collect::<Vec<_>>());
        assert!(bytes_of(&all) > POOL);
        let batches: Vec<RecordBatch> = (0..60).map(|nth| all.slice(nth * 100, 100)).collect();
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            through(&batches, POOL, folder.path()),
            ordered(&shape(&all.schema()), &all).unwrap()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_sort_that_spills_orders_rows_of_one_key_as_memory_does(
            rows in prop::collection::vec((0_i64..3, row()), 1..300),
            sizes in prop::collection::vec(1_usize..40, 1..20),
        ) {
            let mut rows = rows;
            rows.sort_by_key(|(key, _)| *key);
            let keys: Vec<(i64, i64)> = rows.iter().map(|(key, _)| (*key, 7)).collect();
            let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
            let all = batch(&keys, &rows);
            let (mut batches, mut from) = (Vec::new(), 0);
            for size in sizes.iter().cycle() {
                if from == rows.len() {
                    break;
                }
                let to = rows.len().min(from + size);
                batches.push(all.slice(from, to - from));
                from = to;
            }
            let folder = tempfile::tempdir().unwrap();
            let expected = ordered(&shape(&all.schema()), &all).unwrap();
            for pool in [1 << 30, 64 << 10] {
                prop_assert_eq!(&through(&batches, pool, folder.path()), &expected, "a pool of {} bytes", pool);
            }
        }
    }
}
