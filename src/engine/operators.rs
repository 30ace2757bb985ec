//! The operators of a compaction that DataFusion does not have: sort small files together, spill a sorted sequence,
//! number rows, order ties.
//!
//! Each gives one ascending sequence with exactly the rows that it takes. What does not fit in memory is sorted by
//! DataFusion's `SortExec`.

use std::{
    fmt,
    fs::File,
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use arrow::{
    array::{Array, AsArray, Int64Array, RecordBatch},
    compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch},
    datatypes::{Int64Type, SchemaRef},
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use datafusion::{
    common::{DataFusionError, Result as DfResult, tree_node::TreeNodeRecursion},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::Semaphore;

use super::{
    collectors,
    job::Job,
    order::{Sorted, comparable},
};
use crate::{
    error::{Error, Kind},
    file::shape::Shape,
};

/// Bytes that are written to and read from a run at a time.
const RUN_BUFFER: usize = 1 << 16;

/// What an operator does.
#[derive(Debug, Clone)]
pub enum Does {
    /// Sorts its whole input in memory and writes it to a run on disk before it gives the first row.
    Sort {
        /// Where runs go; the permits keep too many from being in memory at the same time.
        runs: Runs,
        /// Rows of the run's batches.
        batch_rows: usize,
    },
    /// Writes its input to a run on disk before it gives the first row. The permit keeps runs of one level from being
    /// made at the same time, so that only one merge has its readers open.
    Spill {
        /// Where runs go.
        runs: Runs,
    },
    /// Puts consecutive numbers into `seq`.
    Number {
        /// The next number.
        next: Arc<AtomicI64>,
    },
    /// Leaves out rows that another collector has as well, then orders the others as [`Self::Ties`] does.
    MergeCollectors {
        /// Whose rows they are.
        job: Arc<Job>,
    },
    /// Orders rows that are equal in `(ts_event, seq)` by their other columns, left to right.
    Ties,
}

/// Where runs are spilled, and in whose turn.
#[derive(Debug, Clone)]
pub struct Runs {
    /// Where they are written.
    pub folder: PathBuf,
    /// The permits to make one.
    pub turn: Arc<Semaphore>,
    /// Bytes written, for the log.
    pub written: Arc<AtomicU64>,
}

/// An operator that gives one ascending sequence.
#[derive(Debug)]
pub struct Operator {
    does: Does,
    shape: Arc<Shape>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Operator {
    /// An operator over `input`, whose rows have the carried columns of `shape`.
    #[must_use]
    pub fn new(does: Does, shape: Arc<Shape>, input: Arc<dyn ExecutionPlan>) -> Self {
        let schema = match does {
            Does::MergeCollectors { .. } => Arc::clone(&shape.carried),
            _ => input.schema(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { does, shape, input, properties: Arc::new(properties) }
    }

    #[expect(clippy::unnecessary_wraps, reason = "other operators refuse some inputs")]
    fn upon(&self, input: Arc<dyn ExecutionPlan>) -> DfResult<Self> {
        Ok(Self::new(self.does.clone(), Arc::clone(&self.shape), input))
    }
}

impl DisplayAs for Operator {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.does {
            Does::Sort { .. } => "SortRun: (ts_event, seq)",
            Does::Spill { .. } => "SpillRun",
            Does::Number { .. } => "NumberRows: seq",
            Does::MergeCollectors { .. } => "MergeCollectors: equal but for ts_recv and sub_seq; OrderTies",
            Does::Ties => "OrderTies: (ts_event, seq), then all columns",
        })
    }
}

impl ExecutionPlan for Operator {
    fn name(&self) -> &'static str {
        "Operator"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    crate::engine::one_input!(input);

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![!matches!(self.does, Does::Sort { .. })]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let schema = self.schema();
        let stream = match &self.does {
            Does::Sort { runs, batch_rows } => {
                let (run, batch_rows) = (self.run(runs, partition, context), *batch_rows);
                run.in_turn(move |run| run.sort(batch_rows))
            }
            Does::Spill { runs } => self.run(runs, partition, context).in_turn(SpilledRun::spill),
            Does::Number { next } => {
                let (seq, next) = (self.shape.seq, Arc::clone(next));
                self.input.execute(partition, context)?.map(move |batch| numbered(&batch?, seq, &next)).boxed()
            }
            Does::MergeCollectors { job } => {
                let keys = self.whole_keys(partition, context)?;
                let shape = Arc::clone(&self.shape);
                collectors::merge(Arc::clone(job), keys).map(move |batch| ordered(&shape, &batch?)).boxed()
            }
            Does::Ties => {
                let shape = Arc::clone(&self.shape);
                self.whole_keys(partition, context)?.map(move |batch| ordered(&shape, &batch?)).boxed()
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }
}

fn numbered(batch: &RecordBatch, seq: usize, next: &AtomicI64) -> DfResult<RecordBatch> {
    let rows = i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
    let first = next.fetch_add(rows, Ordering::SeqCst);
    let end = first.checked_add(rows).filter(|_| first >= 0).ok_or_else(|| {
        DataFusionError::External(Box::new(Error::new(
            Kind::Resources,
            "the archived seq is so large that no numbers are left for rows without one",
        )))
    })?;
    let numbers: Int64Array = (first..end).collect();
    let mut columns = batch.columns().to_vec();
    if let Some(column) = columns.get_mut(seq) {
        *column = Arc::new(numbers);
    }
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// A run on its way to disk and back.
struct SpilledRun {
    input: Arc<dyn ExecutionPlan>,
    shape: Arc<Shape>,
    partition: usize,
    context: Arc<TaskContext>,
    runs: Runs,
    path: PathBuf,
}

/// A run that is being written. Its name is gone already: it lives as long as its handles, and a crash leaves nothing.
struct Writing {
    writer: StreamWriter<BufWriter<File>>,
    reader: File,
    path: PathBuf,
    written: Arc<AtomicU64>,
}

impl Operator {
    /// The input in batches that have all rows of each `(ts_event, seq)` together.
    fn whole_keys(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<BoxStream<'static, DfResult<RecordBatch>>> {
        let reservation = MemoryConsumer::new("rows of one (ts_event, seq)").register(context.memory_pool());
        let input = self.input.execute(partition, context)?;
        let shape = Arc::clone(&self.shape);
        Ok(whole_keys(WholeKeys { input, shape, held: Vec::new(), reservation, done: false }).boxed())
    }

    fn run(&self, runs: &Runs, partition: usize, context: Arc<TaskContext>) -> SpilledRun {
        let path = runs.folder.join(format!("{}.run", uuid::Uuid::new_v4().simple()));
        let (input, shape) = (Arc::clone(&self.input), Arc::clone(&self.shape));
        SpilledRun { input, shape, partition, context, runs: runs.clone(), path }
    }
}

impl SpilledRun {
    /// Makes the run when it is its turn, and gives its rows.
    fn in_turn<F>(self, make: impl FnOnce(Self) -> F + Send + 'static) -> BoxStream<'static, DfResult<RecordBatch>>
    where
        F: Future<Output = DfResult<Writing>> + Send + 'static,
    {
        stream::once(async move {
            let permit = Arc::clone(&self.runs.turn).acquire_owned().await;
            let read = make(self).await?.read();
            drop(permit);
            read
        })
        .try_flatten()
        .boxed()
    }

    /// Writes the rows as they come, which is in order.
    async fn spill(self) -> DfResult<Writing> {
        let mut input = self.input.execute(self.partition, Arc::clone(&self.context))?;
        let mut writing = Writing::begin(&self)?;
        while let Some(batch) = input.try_next().await? {
            writing.write(&batch)?;
        }
        Ok(writing)
    }

    /// Holds all rows in memory, and writes them in order.
    async fn sort(self, batch_rows: usize) -> DfResult<Writing> {
        let reservation = MemoryConsumer::new("files sorted together").register(self.context.memory_pool());
        let mut input = self.input.execute(self.partition, Arc::clone(&self.context))?;
        let mut batches = Vec::new();
        while let Some(batch) = input.try_next().await? {
            reservation.try_grow(batch.get_array_memory_size())?;
            batches.push(batch);
        }
        drop(input);
        let mut writing = Writing::begin(&self)?;
        if !batches.is_empty() {
            let sorted = Sorted::of(&batches, self.shape.ts, self.shape.seq)?;
            drop(batches);
            for batch in sorted.batches(batch_rows) {
                writing.write(&batch?)?;
            }
        }
        drop(reservation);
        Ok(writing)
    }
}

impl Writing {
    fn begin(run: &SpilledRun) -> DfResult<Self> {
        let path = &run.path;
        let file = File::create_new(path).map_err(|e| disk(e, path))?;
        let reader = File::open(path).map_err(|e| disk(e, path))?;
        std::fs::remove_file(path).map_err(|e| disk(e, path))?;
        let schema: SchemaRef = run.input.schema();
        let writer = StreamWriter::try_new(BufWriter::with_capacity(RUN_BUFFER, file), &schema)?;
        Ok(Self { writer, reader, path: path.clone(), written: Arc::clone(&run.runs.written) })
    }

    fn write(&mut self, batch: &RecordBatch) -> DfResult<()> {
        let _ = self.written.fetch_add(batch.get_array_memory_size() as u64, Ordering::Relaxed);
        self.writer.write(batch).map_err(|e| match e {
            ArrowError::IoError(_, e) => disk(e, &self.path),
            other => other.into(),
        })
    }

    /// The rows again.
    fn read(self) -> DfResult<BoxStream<'static, DfResult<RecordBatch>>> {
        let buffered = self.writer.into_inner()?;
        drop(buffered.into_inner().map_err(|e| disk(e.into_error(), &self.path))?);
        let reader = StreamReader::try_new(BufReader::with_capacity(RUN_BUFFER, self.reader), None)?;
        Ok(stream::iter(reader.map(|batch| batch.map_err(DataFusionError::from))).boxed())
    }
}

fn disk(e: std::io::Error, path: &Path) -> DataFusionError {
    DataFusionError::External(Box::new(Error::io(
        format!("{}: a run cannot be spilled; make room or choose another --spill-dir", path.display()),
        e,
    )))
}

/// Rows held back because the next batch may begin with the same key.
struct WholeKeys {
    input: SendableRecordBatchStream,
    shape: Arc<Shape>,
    held: Vec<RecordBatch>,
    reservation: MemoryReservation,
    done: bool,
}

fn whole_keys(state: WholeKeys) -> impl futures::Stream<Item = DfResult<RecordBatch>> + Send {
    stream::try_unfold(state, |mut state| async move {
        loop {
            if state.done {
                return Ok(None);
            }
            let Some(batch) = state.input.try_next().await? else {
                state.done = true;
                let rest = std::mem::take(&mut state.held);
                let schema = state.input.schema();
                return if rest.is_empty() { Ok(None) } else { Ok(Some((concat_batches(&schema, &rest)?, state))) };
            };
            if let Some(ready) = state.take(batch)? {
                return Ok(Some((ready, state)));
            }
        }
    })
}

impl WholeKeys {
    /// Takes a batch; gives all rows whose key cannot occur again.
    fn take(&mut self, batch: RecordBatch) -> DfResult<Option<RecordBatch>> {
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
            self.reservation.try_grow(batch.get_array_memory_size()).map_err(|e| too_many_ties(&e))?;
            self.held.push(batch);
            return Ok(None);
        }
        let mut parts = std::mem::take(&mut self.held);
        let _ = self.reservation.free();
        let schema = batch.schema();
        self.held.push(batch.slice(tail, rows - tail));
        if tail > 0 {
            parts.push(batch.slice(0, tail));
        }
        match parts.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            several => Ok(Some(concat_batches(&schema, several)?)),
        }
    }
}

fn too_many_ties(source: &DataFusionError) -> DataFusionError {
    DataFusionError::External(Box::new(Error::caused(
        Kind::Resources,
        "too many rows share one (ts_event, seq) to be ordered in memory; raise --memory-limit",
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

/// `batch` with every group of equal keys ordered by the other columns; unchanged where there is no such group.
fn ordered(shape: &Shape, batch: &RecordBatch) -> DfResult<RecordBatch> {
    let (ts, seq) = keys(shape, batch);
    let equal = if ts.null_count() == 0 && seq.null_count() == 0 {
        let (t, s) = (ts.values(), seq.values());
        let next = t.iter().skip(1).zip(s.iter().skip(1));
        t.iter().zip(s).zip(next).map(|((a, b), (c, d))| usize::from((a == c) && (b == d))).sum::<usize>() > 0
    } else {
        (1..batch.num_rows()).any(|i| at(&ts, i) == at(&ts, i - 1) && at(&seq, i) == at(&seq, i - 1))
    };
    if !equal {
        return Ok(batch.clone());
    }
    let options = SortOptions { descending: false, nulls_first: true };
    let mut columns: Vec<SortColumn> = [shape.ts, shape.seq]
        .iter()
        .map(|at| SortColumn { values: Arc::clone(batch.column(*at)), options: Some(options) })
        .collect();
    for (nth, values) in batch.columns().iter().enumerate() {
        if nth != shape.ts && nth != shape.seq {
            columns.push(SortColumn { values: comparable(values)?, options: Some(options) });
        }
    }
    let order = lexsort_to_indices(&columns, None)?;
    Ok(take_record_batch(batch, &order)?)
}
