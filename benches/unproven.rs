//! qlc's own work on one symbol's files without any proof: scanned, merged in the layout that qlc chooses, encoded with
//! qlc's settings, and thrown away. No row hash, no check of claims, no read-back, no receipt, no sha256, no fsync.
//!
//! `unproven FOLDER TARGET [--threads N]`. What `qlc compact` needs beyond it is what trust costs. It is a program of the
//! benches, so that qlc itself has no way to do without proof: what it writes is no archive, and is removed at once.

#[path = "support/encode.rs"]
mod encode;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use arrow::{
    array::{AsArray, RecordBatch, UInt32Array},
    compute::{SortOptions, concat_batches, take_record_batch},
    datatypes::{Int64Type, SchemaRef},
};
use bytes::Bytes;
use datafusion::{
    common::{DataFusionError, Result as DfResult},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties, execute_stream,
        sorts::{sort::SortExec, sort_preserving_merge::SortPreservingMergeExec},
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
        union::UnionExec,
    },
};
use encode::{Asked, Outcome, encode};
use futures::StreamExt;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
};
use qlc::{
    compact::{
        decide::SpoolFile,
        prepare::{Prepared, prepare},
        survey::spool_files,
    },
    engine::{
        budget::Budget,
        claims::Claims,
        job::Order,
        layout::Node,
        operators::{Does, Operator},
        probe::probe,
        reader::Handle,
        session::session,
    },
    model::{
        date::Date,
        partition::Selection,
        schema::{SEQ, TS_EVENT},
        time::to_ns,
    },
    storage::{scratch::Scratch, store::Store},
};
use tokio::sync::Semaphore;

/// What qlc may have resident at its default.
const LIMIT: u64 = 2_500_000_000;
/// Files up to this size in memory are decoded whole in a wide merge, as qlc does.
const WHOLE_BYTES: u64 = 8 << 20;

fn main() -> Outcome<()> {
    let Some((asked, flags)) = Asked::read()? else { return Ok(()) };
    if !flags.is_empty() {
        return Err("the only flag is --threads".into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(asked.threads).enable_all().build()?;
    let scratch = Scratch::new(asked.target.parent().ok_or("the target has no folder")?)?;
    let (work, mut stream) = runtime.block_on(async {
        let work = Arc::new(Work::look(&asked).await?);
        let context = session(Budget::of(LIMIT, 1).pool, 1, scratch.path())?.task_ctx();
        let stream = execute_stream(work.plan(scratch.path())?, context)?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((work, stream))
    })?;
    let rows = std::iter::from_fn(|| runtime.block_on(stream.next()).map(|batch| Ok(batch?)));
    let rows = encode(rows, &work.prepared.shape.carried, &asked.target, asked.threads)?;
    if rows == work.prepared.rows() { Ok(()) } else { Err("rows were lost on the way".into()) }
}

/// The files of a symbol, and what qlc would do with them.
#[derive(Debug)]
struct Work {
    prepared: Prepared,
    paths: Vec<PathBuf>,
    written: Arc<AtomicU64>,
}

impl Work {
    /// Reads the footers and lays the files out, as `qlc compact` does.
    async fn look(asked: &Asked) -> Outcome<Self> {
        let root = asked.folder.ancestors().nth(3).ok_or("the folder is not one of a spool")?;
        let spool = Store::open(&root.display().to_string())?;
        let all = spool_files(&spool, &Selection::all()).await?;
        let (series, files) = all.into_iter().next().ok_or("the spool has no files")?;
        let mut known: Vec<(SpoolFile, Claims)> = Vec::new();
        for file in files {
            let claims = probe(&Handle::new(&spool, &file.object)).await.map_err(|problem| problem.to_string())?;
            known.push((file, claims));
        }
        let first = known.iter().filter_map(|(_, claims)| to_ns(claims.ts?.min)).min();
        let date = first.and_then(Date::of_ns).ok_or("the files tell no day")?;
        let paths = known.iter().map(|(file, _)| spool.local_path(&file.object.key).ok_or("the spool is no folder"));
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        let prepared = prepare(&spool, &spool, &series.on(date), &known, None, &Budget::of(LIMIT, 1))?;
        if prepared.numbers || prepared.to_ns {
            return Err("only for files with seq and one unit of time".into());
        }
        Ok(Self { prepared, paths, written: Arc::default() })
    }

    fn plan(self: &Arc<Self>, spill: &Path) -> DfResult<Arc<dyn ExecutionPlan>> {
        let merged = self.merged(&self.prepared.layouts.own.inputs, spill)?;
        Ok(self.operator(Does::Ties, merged))
    }

    fn operator(&self, does: Does, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Operator::new(does, Arc::new(self.prepared.shape.clone()), input))
    }

    /// One ascending sequence of all that `nodes` hold.
    fn merged(self: &Arc<Self>, nodes: &[Node], spill: &Path) -> DfResult<Arc<dyn ExecutionPlan>> {
        let chains =
            nodes.iter().filter_map(|node| if let Node::Chain(files) = node { Some(files.clone()) } else { None });
        let chains: Vec<_> = chains.collect();
        let mut parts: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !chains.is_empty() {
            parts.push(self.scan(chains, true)?);
        }
        let turn = Arc::new(Semaphore::new(1));
        for node in nodes {
            match node {
                Node::Chain(_) => {}
                Node::Sort(file) => {
                    parts.push(Arc::new(SortExec::new(self.ordering()?, self.scan(vec![vec![*file]], false)?)));
                }
                Node::Run(inner) => {
                    let (turn, written) = (Arc::clone(&turn), Arc::clone(&self.written));
                    let does = Does::Spill { folder: spill.to_owned(), turn, written };
                    parts.push(self.operator(does, self.merged(inner, spill)?));
                }
            }
        }
        let input = if parts.len() == 1 { parts.swap_remove(0) } else { UnionExec::try_new(parts)? };
        if input.output_partitioning().partition_count() == 1 {
            return Ok(input);
        }
        Ok(Arc::new(SortPreservingMergeExec::new(self.ordering()?, input).with_round_robin_repartition(false)))
    }

    fn ordering(&self) -> DfResult<LexOrdering> {
        let options = SortOptions { descending: false, nulls_first: true };
        let shape = &self.prepared.shape;
        let by = |name: &str, at| PhysicalSortExpr::new(Arc::new(Column::new(name, at)), options);
        LexOrdering::new([by(TS_EVENT, shape.ts), by(SEQ, shape.seq)])
            .ok_or_else(|| DataFusionError::Internal("an order of two columns".to_owned()))
    }

    fn scan(self: &Arc<Self>, chains: Vec<Vec<usize>>, in_order: bool) -> DfResult<Arc<dyn ExecutionPlan>> {
        let schema = Arc::clone(&self.prepared.shape.carried);
        let chains = chains
            .into_iter()
            .map(|files| Arc::new(Chain { work: Arc::clone(self), files }) as Arc<dyn PartitionStream>);
        let order = if in_order { vec![self.ordering()?] } else { Vec::new() };
        Ok(Arc::new(StreamingTableExec::try_new(schema, chains.collect(), None, order, false, None)?))
    }

    /// The carried columns of a file, decoded as they are, in batches of the merge.
    fn file(&self, index: usize) -> Outcome<Box<dyn Iterator<Item = DfResult<RecordBatch>> + Send>> {
        let (source, path) = (self.prepared.sources.get(index).zip(self.paths.get(index))).ok_or("no such file")?;
        let meta = Arc::clone(source.claims.meta.as_ref().ok_or("a footer was not kept")?);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let arrow = ArrowReaderMetadata::try_new(meta, options)?;
        let carried = &self.prepared.shape.carried;
        let names = carried.fields().iter().map(|field| field.name().as_str());
        let mask = ProjectionMask::columns(arrow.parquet_schema(), names);
        let (slice, sort) = (self.prepared.batch_rows, source.order == Order::SortInMemory);
        let bytes = source.claims.rows * self.prepared.shape.row_bytes().max(source.claims.row_bytes);
        let whole = sort || (self.prepared.eager && bytes <= WHOLE_BYTES);
        let rows = if whole { usize::try_from(source.claims.rows)?.clamp(1, 32_768) } else { slice };
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(Bytes::from(fs::read(path)?), arrow)
            .with_projection(mask)
            .with_batch_size(rows)
            .build()?;
        if !whole {
            return Ok(Box::new(reader.map(|batch| Ok(batch?))));
        }
        let mut batches = reader.collect::<Result<Vec<_>, _>>()?;
        if sort {
            batches = vec![sorted(carried, &batches)?];
        }
        let slices = move |batch: RecordBatch| {
            let total = batch.num_rows();
            (0..total).step_by(slice).map(move |at| Ok(batch.slice(at, slice.min(total - at))))
        };
        Ok(Box::new(batches.into_iter().flat_map(slices)))
    }
}

/// Files that follow one another.
#[derive(Debug)]
struct Chain {
    work: Arc<Work>,
    files: Vec<usize>,
}

impl PartitionStream for Chain {
    #[expect(clippy::misnamed_getters, reason = "a chain gives the carried columns only")]
    fn schema(&self) -> &SchemaRef {
        &self.work.prepared.shape.carried
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let work = Arc::clone(&self.work);
        let batches = self.files.clone().into_iter().flat_map(move |index| match work.file(index) {
            Ok(batches) => batches,
            Err(error) => Box::new(std::iter::once(Err(DataFusionError::External(error)))),
        });
        let stream = futures::stream::iter(batches);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(self.schema()), stream))
    }
}

/// All rows in one batch, ascending by `(ts_event, seq)`.
fn sorted(schema: &SchemaRef, batches: &[RecordBatch]) -> Outcome<RecordBatch> {
    let all = concat_batches(schema, batches)?;
    let key = |name| all.column_by_name(name).map(|c| c.as_primitive::<Int64Type>().values().clone());
    let (ts, seq) = key(TS_EVENT).zip(key(SEQ)).ok_or("the columns of the order are missing")?;
    let mut order: Vec<_> = (0_u32..).zip(ts.iter().zip(seq.iter())).map(|(row, (ts, seq))| (*ts, *seq, row)).collect();
    order.sort_unstable();
    let indices: UInt32Array = order.into_iter().map(|(_, _, row)| row).collect();
    Ok(take_record_batch(&all, &indices)?)
}
