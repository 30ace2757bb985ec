//! The scan: a DataFusion file source whose opener reads spool files through
//! [`crate::file::reader`] and accounts for their rows through [`crate::job::checker`].
//!
//! DataFusion's own Parquet source neither says which file an error came from, nor survives a panic
//! of the decoder, nor lets the rows be checked against the footer in time.

use std::{fmt, sync::Arc};

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use datafusion::{
    common::{DataFusionError, Result as DfResult, tree_node::TreeNodeRecursion},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{FileOpenFuture, FileOpener, FileScanConfig, FileSource},
        table_schema::TableSchema,
    },
    physical_expr::{
        PhysicalExpr,
        expressions::Column as PhysicalColumn,
        projection::{ProjectionExpr, ProjectionExprs},
    },
    physical_plan::{DisplayFormatType, metrics::ExecutionPlanMetricsSet},
};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::order::Sorted;
use crate::{
    error::{Error, Kind},
    file::{fault::Problem, reader::Rows, shape::Column},
    job::{
        Job, Order,
        budget::{MERGE_BYTES, decoded_row},
        checker::Checker,
    },
};

/// Files whose rows take less than this in memory are decoded at once in a wide merge.
const EAGER_BYTES: u64 = 8 << 20;

/// Fewer bytes say nothing of how large rows are.
const JUDGED_BYTES: u64 = 1 << 20;
/// Bytes of open pages that no plan minds.
const OPEN_SLACK: u64 = 32 << 20;

/// Held by whoever reads a file whose pages may take more than its partition's share: there is room
/// for one in the whole run. Within a partition such a file is never open next to others, so that
/// nobody waits for itself.
static LARGEST: Semaphore = Semaphore::const_new(1);

/// Marks a [`PartitionedFile`] with its place in [`Job::sources`].
#[derive(Debug, Clone, Copy)]
pub struct Index(pub usize);

/// The file source of one partition's scan.
#[derive(Clone)]
pub struct SpoolSource {
    job: Arc<Job>,
    table: TableSchema,
    metrics: ExecutionPlanMetricsSet,
}

impl fmt::Debug for SpoolSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolSource")
            .field("partition", &self.job.partition)
            .finish_non_exhaustive()
    }
}

impl SpoolSource {
    /// The source of `job`.
    #[must_use]
    pub fn new(job: Arc<Job>) -> Self {
        let table = TableSchema::from(job.flowing());
        Self {
            job,
            table,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl FileSource for SpoolSource {
    fn create_file_opener(
        &self,
        _: Arc<dyn ObjectStore>,
        _: &FileScanConfig,
        _: usize,
    ) -> DfResult<Arc<dyn FileOpener>> {
        Ok(Arc::new(Opener {
            job: Arc::clone(&self.job),
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table
    }

    fn with_batch_size(&self, _: usize) -> Arc<dyn FileSource> {
        // The job's own batch size stands: the memory plan was made with it.
        Arc::new(self.clone())
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &'static str {
        "spool"
    }

    /// All columns in their order, which is what a compaction asks for, and nothing else.
    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> DfResult<Option<Arc<dyn FileSource>>> {
        let is_own = |(at, one): (usize, &ProjectionExpr)| {
            one.expr
                .downcast_ref::<PhysicalColumn>()
                .is_some_and(|column| column.index() == at)
        };
        let columns = self.job.shape.carried.fields().len();
        let is_all =
            projection.iter().count() == columns && projection.iter().enumerate().all(is_own);
        Ok(is_all.then(|| Arc::new(self.clone()) as Arc<dyn FileSource>))
    }

    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn fmt_extra(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ", partition={}", self.job.partition)
    }
}

struct Opener {
    job: Arc<Job>,
}

impl FileOpener for Opener {
    fn open(&self, file: PartitionedFile) -> DfResult<FileOpenFuture> {
        let index = file.extension::<Index>().map(|i| i.0).ok_or_else(|| {
            DataFusionError::Internal(
                "a scanned file is none of the partition's sources".to_owned(),
            )
        })?;
        let job = Arc::clone(&self.job);
        Ok(Box::pin(async move {
            let blamed = Arc::clone(&job);
            let open = open(job, index).map_err(move |problem| blame(&blamed, index, problem));
            Ok(open.boxed())
        }))
    }
}

/// Notes the problem in the ledger and stops the plan; the ledger is what the runner looks at.
fn blame(job: &Job, index: usize, problem: Problem) -> DataFusionError {
    let text = problem.to_string();
    job.ledger.blame(index, problem);
    DataFusionError::External(text.into())
}

fn open(
    job: Arc<Job>,
    index: usize,
) -> impl futures::Stream<Item = Result<RecordBatch, Problem>> + Send {
    stream::once(async move {
        let source = job
            .sources
            .get(index)
            .ok_or_else(|| Problem::Storage(Error::new(Kind::Internal, "no such source")))?;
        let keyed: Vec<String> = job
            .shape
            .schema
            .fields()
            .iter()
            .zip(&job.shape.columns)
            .filter(|(_, column)| matches!(column, Column::Constant(_)))
            .map(|(field, _)| field.name().clone())
            .collect();
        let row = job.shape.row_bytes().max(source.claims.row_bytes);
        let small = source.claims.rows.saturating_mul(row) <= EAGER_BYTES;
        let sort = source.order == Order::SortInMemory;
        // Decoded in pieces of its own size where it is kept whole; never in one, for text may be
        // large.
        let whole = usize::try_from(source.claims.rows)
            .unwrap_or(usize::MAX)
            .clamp(1, 32_768);
        let batch_rows = if sort || (job.eager && small) {
            whole
        } else {
            job.batch_rows
        };
        let ended = |_| {
            Problem::Storage(Error::new(
                Kind::Internal,
                "the turn of large files is over",
            ))
        };
        let is_large = source.claims.open_bytes > OPEN_SLACK;
        let turn = if is_large {
            Some(LARGEST.acquire().await.map_err(ended)?)
        } else {
            None
        };
        let mut rows = source
            .handle
            .rows(&source.claims, batch_rows, &keyed)
            .await?;
        if let Some(ahead) = &job.ahead {
            ahead.begin(index, job.sources.iter().map(|s| (&s.handle, &s.claims)));
            rows.begin_with(ahead.take(index).await);
        }
        let slice_rows = job.batch_rows;
        let most = if sort {
            2 * job.sort_in_memory
        } else {
            2 * EAGER_BYTES
        };
        let open_bytes = source.claims.open_bytes;
        let checker = Checker::new(Arc::clone(&job), index);
        let checked = Checked {
            checker,
            rows,
            job: Arc::clone(&job),
            index,
            stored: 0,
            weighed: (0, 0),
            _turn: turn,
        };
        let mut stream = checked.stream().boxed();
        if !sort && batch_rows != whole {
            return Ok(stream);
        }
        let mut batches: Vec<RecordBatch> = Vec::new();
        let (mut bytes, mut held) = (0_u64, 0_u64);
        while let Some(batch) = stream.try_next().await? {
            bytes += batch.get_array_memory_size() as u64;
            held += batch.num_rows() as u64;
            batches.push(batch);
            if bytes > most {
                if sort {
                    return Err(Problem::TooLarge {
                        row_bytes: bytes / held.max(1),
                        open_bytes,
                    });
                }
                // Larger than its footer let expect: the rest is read as it is needed.
                let first = stream::iter(
                    batches
                        .into_iter()
                        .flat_map(move |b| slices(b, slice_rows))
                        .map(Ok),
                );
                let rest = stream
                    .map_ok(move |b| stream::iter(slices(b, slice_rows).map(Ok)))
                    .try_flatten();
                return Ok(first.chain(rest).boxed());
            }
        }
        if sort && !batches.is_empty() {
            let wrong =
                |e| Problem::Storage(Error::caused(Kind::Internal, "sorting a file in memory", e));
            let sorted = Sorted::of(&batches, job.shape.ts, job.shape.seq).map_err(wrong)?;
            batches = sorted
                .batches(usize::MAX)
                .collect::<Result<_, _>>()
                .map_err(wrong)?;
        }
        Ok::<_, Problem>(
            stream::iter(
                batches
                    .into_iter()
                    .flat_map(move |b| slices(b, slice_rows))
                    .map(Ok),
            )
            .boxed(),
        )
    })
    .try_flatten()
}

/// The rows of one source, checked batch by batch, billed at the end.
struct Checked {
    checker: Checker,
    rows: Rows,
    job: Arc<Job>,
    index: usize,
    /// Stored bytes of the row group under way that were not yet reported.
    stored: u64,
    /// Bytes and rows of the last batches, until they are enough to say how large rows are.
    weighed: (u64, u64),
    /// The turn of a file that takes more than there is room for twice.
    _turn: Option<SemaphorePermit<'static>>,
}

impl Checked {
    fn stream(self) -> impl futures::Stream<Item = Result<RecordBatch, Problem>> + Send {
        stream::try_unfold(self, |mut state| async move {
            loop {
                if (state.job.stop)() {
                    return Err(Problem::Storage(Error::new(
                        Kind::Interrupted,
                        "stopped on request; nothing was published",
                    )));
                }
                let Some(batch) = state.rows.next().await? else {
                    let tally = state.checker.finish()?;
                    (state.job.on_progress)(0, state.stored);
                    state.job.ledger.bill(state.index, tally);
                    return Ok(None);
                };
                state.planned(&batch)?;
                let fetched = state.rows.fetched();
                let done = if fetched == state.stored {
                    0
                } else {
                    std::mem::replace(&mut state.stored, fetched)
                };
                (state.job.on_progress)(batch.num_rows() as u64, done);
                state.checker.enter_row_group(state.rows.row_group());
                let here = state.checker.take(&batch)?;
                if here.num_rows() > 0 {
                    return Ok(Some((marked(&state.job, state.index, here)?, state)));
                }
            }
        })
    }
}

impl Checked {
    /// Holds what rows take against what was planned. A dictionary of one long text makes all rows
    /// as long, which no footer tells; the batches of a merge would become as large as its rows are
    /// many.
    fn planned(&mut self, batch: &RecordBatch) -> Result<(), Problem> {
        let Some(source) = self.job.sources.get(self.index) else {
            return Ok(());
        };
        let bytes = self.weighed.0 + batch.get_array_memory_size() as u64;
        let rows = self.weighed.1 + batch.num_rows() as u64;
        // Long rows are decoded so few at a time that a batch has less than that.
        self.weighed = if bytes > JUDGED_BYTES {
            (0, 0)
        } else {
            (bytes, rows)
        };
        let row_bytes = bytes / rows.max(1);
        let in_a_batch = row_bytes.saturating_mul(self.job.batch_rows as u64);
        // The plan was made with what it believes of the footer, which may be less than the footer
        // says.
        let expected = decoded_row(source, self.job.shape.row_bytes().max(8));
        let is_wide =
            bytes > JUDGED_BYTES && in_a_batch > 2 * MERGE_BYTES && row_bytes > 2 * expected;
        let open_bytes = self.rows.open_bytes();
        let is_open = open_bytes > OPEN_SLACK + 2 * source.claims.open_bytes;
        if !is_wide && !is_open {
            return Ok(());
        }
        Err(Problem::TooLarge {
            row_bytes: row_bytes.max(source.claims.row_bytes),
            open_bytes: open_bytes.max(source.claims.open_bytes),
        })
    }
}

/// The rows with the place of their source, where several collectors gave them.
fn marked(job: &Job, index: usize, rows: RecordBatch) -> Result<RecordBatch, Problem> {
    if job.merging.is_none() {
        return Ok(rows);
    }
    let wrong = |e| Problem::Storage(Error::caused(Kind::Internal, "the source of rows", e));
    let place = i32::try_from(index)
        .map_err(|_| Problem::Storage(Error::new(Kind::Resources, "too many sources")))?;
    let places: ArrayRef = Arc::new(Int32Array::from_value(place, rows.num_rows()));
    let columns = rows.columns().iter().cloned().chain([places]).collect();
    RecordBatch::try_new(job.flowing(), columns).map_err(wrong)
}

fn slices(batch: RecordBatch, rows: usize) -> impl Iterator<Item = RecordBatch> {
    let total = batch.num_rows();
    (0..total)
        .step_by(rows.max(1))
        .map(move |at| batch.slice(at, rows.min(total - at)))
}
