//! The operators of a compaction that DataFusion does not have: sort small files together, spill a
//! sorted sequence, number rows, merge several collectors, order ties.
//!
//! Each gives one ascending sequence with the rows that it takes; only the merge of several
//! collectors leaves some out, and bills them. EXPLAIN shows them as `SortRun`, `SpillRun`,
//! `NumberRows`, `MergeCollectors` and `OrderTies`. What does not fit in memory is sorted by
//! DataFusion's `SortExec`.
//!
//! Runs are written and read here, and not by DataFusion's `SpillManager`, as measured by
//! `cargo bench --bench upstream`: 18 MB of numbers take 14 ms to disk and back instead of 30 to
//! 39, rows with texts 22 to 30 ms instead of 33 to 57, and a run that is read has 0.5 to 0.8 MB
//! on the heap instead of 1.6 to 2.6, which a merge has once for each of its inputs. `SortExec`
//! with a pool smaller than the rows takes half as long again as runs of files sorted in memory
//! and their merge (49 and 33 ms, 14 and 11 MB). The files of runs have no names, so that nothing
//! is left of them after a crash; the quota of the `DiskManager`, 100 GB where nobody sets it,
//! does not count them.

use std::{
    fmt,
    fs::File,
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use datafusion::{
    common::{DataFusionError, Result as DfResult, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryConsumer},
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
    order::Sorted,
    ties::{ordered, ordered_ties, whole_keys},
};
use crate::{
    error::{Error, Kind},
    file::shape::Shape,
    job::Job,
};

/// Bytes that are written to and read from a run at a time.
const RUN_BUFFER: usize = 1 << 16;

/// What an operator does.
#[derive(Debug, Clone)]
pub enum Does {
    /// Sorts its whole input in memory and writes it to a run on disk before it gives the first
    /// row.
    Sort {
        /// Where runs go; the permits keep too many from being in memory at the same time.
        runs: Runs,
        /// Rows of the run's batches.
        batch_rows: usize,
    },
    /// Writes its input to a run on disk before it gives the first row. The permit keeps runs of
    /// one level from being made at the same time, so that only one merge has its readers open.
    Spill {
        /// Where runs go.
        runs: Runs,
    },
    /// Puts consecutive numbers into `seq`.
    Number {
        /// The next number.
        next: Arc<AtomicI64>,
    },
    /// Leaves out rows that another collector has as well, then orders the others as [`Self::Ties`]
    /// does.
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
        Self {
            does,
            shape,
            input,
            properties: Arc::new(properties),
        }
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "other operators refuse some inputs"
    )]
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
            Does::MergeCollectors { .. } => {
                "MergeCollectors: equal but for ts_recv, source and sub_seq; OrderTies"
            }
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

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let schema = self.schema();
        let stream = match &self.does {
            Does::Sort { runs, batch_rows } => {
                let (run, batch_rows) = (self.run(runs, partition, context), *batch_rows);
                run.in_turn(move |run| run.sort(batch_rows))
            }
            Does::Spill { runs } => self
                .run(runs, partition, context)
                .in_turn(SpilledRun::spill),
            Does::Number { next } => {
                let (seq, next) = (self.shape.seq, Arc::clone(next));
                self.input
                    .execute(partition, context)?
                    .map(move |batch| numbered(&batch?, seq, &next))
                    .boxed()
            }
            Does::MergeCollectors { job } => {
                let input = self.input.execute(partition, Arc::clone(&context))?;
                let mut key = (*self.shape).clone();
                if job.has_unnumbered() {
                    // Rows of one time are looked at together, whatever their numbers.
                    key.seq = key.ts;
                }
                let keys = whole_keys(input, Arc::new(key), &context);
                let shape = Arc::clone(&self.shape);
                collectors::merge(Arc::clone(job), keys)
                    .map(move |batch| ordered(&shape, &batch?))
                    .boxed()
            }
            Does::Ties => {
                let input = self.input.execute(partition, Arc::clone(&context))?;
                ordered_ties(input, Arc::clone(&self.shape), &context)
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }
}

fn numbered(batch: &RecordBatch, seq: usize, next: &AtomicI64) -> DfResult<RecordBatch> {
    let rows = i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
    let first = next.fetch_add(rows, Ordering::SeqCst);
    let end = first
        .checked_add(rows)
        .filter(|_| first >= 0)
        .ok_or_else(|| {
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

/// A run that is being written. Its name is gone already: it lives as long as its handles, and a
/// crash leaves nothing.
struct Writing {
    writer: StreamWriter<BufWriter<File>>,
    reader: File,
    path: PathBuf,
}

impl Operator {
    fn run(&self, runs: &Runs, partition: usize, context: Arc<TaskContext>) -> SpilledRun {
        let path = runs
            .folder
            .join(format!("{}.run", uuid::Uuid::new_v4().simple()));
        let (input, shape) = (Arc::clone(&self.input), Arc::clone(&self.shape));
        SpilledRun {
            input,
            shape,
            partition,
            context,
            runs: runs.clone(),
            path,
        }
    }
}

impl SpilledRun {
    /// Makes the run when it is its turn, and gives its rows.
    fn in_turn<F>(
        self,
        make: impl FnOnce(Self) -> F + Send + 'static,
    ) -> BoxStream<'static, DfResult<RecordBatch>>
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
        let mut input = self
            .input
            .execute(self.partition, Arc::clone(&self.context))?;
        let mut writing = Writing::begin(&self)?;
        while let Some(batch) = input.try_next().await? {
            writing.write(&batch)?;
        }
        Ok(writing)
    }

    /// Holds all rows in memory, and writes them in order.
    async fn sort(self, batch_rows: usize) -> DfResult<Writing> {
        let reservation =
            MemoryConsumer::new("files sorted together").register(self.context.memory_pool());
        let mut input = self
            .input
            .execute(self.partition, Arc::clone(&self.context))?;
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
        Ok(Self {
            writer,
            reader,
            path: path.clone(),
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> DfResult<()> {
        self.writer.write(batch).map_err(|e| match e {
            ArrowError::IoError(_, e) => disk(e, &self.path),
            other => other.into(),
        })
    }

    /// The rows again.
    fn read(self) -> DfResult<BoxStream<'static, DfResult<RecordBatch>>> {
        let buffered = self.writer.into_inner()?;
        drop(
            buffered
                .into_inner()
                .map_err(|e| disk(e.into_error(), &self.path))?,
        );
        let reader =
            StreamReader::try_new(BufReader::with_capacity(RUN_BUFFER, self.reader), None)?;
        Ok(stream::iter(reader.map(|batch| batch.map_err(DataFusionError::from))).boxed())
    }
}

fn disk(e: std::io::Error, path: &Path) -> DataFusionError {
    DataFusionError::External(Box::new(Error::io(
        format!(
            "{}: a run cannot be spilled; make room or choose another --spill-dir",
            path.display()
        ),
        e,
    )))
}
