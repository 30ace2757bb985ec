//! qlc's own work on one symbol's files without any proof: scanned, merged in the layout that qlc
//! chooses, encoded with qlc's settings, and thrown away. No row hash, no check of claims, no
//! read-back, no receipt, no sha256, no fsync.
//!
//! `unproven FOLDER TARGET [--threads N]`. What `qlc compact` needs beyond it is what trust costs.
//! It is a program of the benches, so that qlc itself has no way to do without proof: what it
//! writes is no archive, and is removed at once.

#[path = "support/encode.rs"]
mod encode;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use datafusion::{
    common::{DataFusionError, Result as DfResult},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::LexOrdering,
    physical_plan::{
        ExecutionPlan, execute_stream,
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
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
        columns::Facts,
        prepare::{InputFile, Prepared, prepare, settle},
        survey::spool_files,
    },
    engine::{operators::Does, order::Sorted, plan::Builder, session::session},
    file::{probe::probe, reader::Handle},
    job::{Order, budget::Budget},
    model::{date::Date, partition::Selection, time::to_ns},
    storage::{scratch::Scratch, store::Store},
};

/// What qlc may have resident at its default.
const LIMIT: u64 = 2_500_000_000;
/// Files up to this size in memory are decoded whole in a wide merge, as qlc does.
const WHOLE_BYTES: u64 = 8 << 20;

fn main() -> Outcome<()> {
    let Some((asked, flags)) = Asked::read()? else {
        return Ok(());
    };
    if !flags.is_empty() {
        return Err("the only flag is --threads".into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(asked.threads)
        .enable_all()
        .build()?;
    let scratch = Scratch::new(asked.target.parent().ok_or("the target has no folder")?)?;
    let (work, mut stream) = runtime.block_on(async {
        let work = Arc::new(Work::look(&asked).await?);
        let context = session(Budget::of(LIMIT, 1).pool, 1, scratch.path())?.task_ctx();
        let stream = execute_stream(work.plan(scratch.path(), asked.threads)?, context)?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((work, stream))
    })?;
    let rows = std::iter::from_fn(|| runtime.block_on(stream.next()).map(|batch| Ok(batch?)));
    let rows = encode(
        rows,
        &work.prepared.shape.carried,
        &asked.target,
        asked.threads,
    )?;
    if rows == work.prepared.rows() {
        Ok(())
    } else {
        Err("rows were lost on the way".into())
    }
}

/// The files of a symbol, and what qlc would do with them.
#[derive(Debug)]
struct Work {
    prepared: Prepared,
    paths: Vec<PathBuf>,
}

impl Work {
    /// Reads the footers and lays the files out, as `qlc compact` does.
    async fn look(asked: &Asked) -> Outcome<Self> {
        let root = asked
            .folder
            .ancestors()
            .nth(3)
            .ok_or("the folder is not one of a spool")?;
        let spool = Store::open(&root.display().to_string())?;
        let all = spool_files(&spool, &Selection::all()).await?;
        let (series, files) = all
            .files
            .into_iter()
            .next()
            .ok_or("the spool has no files")?;
        let mut known = Vec::new();
        for file in files {
            let claims = probe(&Handle::new(&spool, &file.object))
                .await
                .map_err(|problem| problem.to_string())?;
            known.push(InputFile {
                file,
                claims,
                known_groups: Vec::new(),
                known_rows: None,
            });
        }
        let first = known
            .iter()
            .filter_map(|input| to_ns(input.claims.ts?.min))
            .min();
        let date = first.and_then(Date::of_ns).ok_or("the files tell no day")?;
        let paths = known.iter().map(|input| {
            spool
                .local_path(&input.file.object.key)
                .ok_or("the spool is no folder")
        });
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        let partition = series.on(date);
        let columns = settle(
            &spool,
            &spool,
            &partition,
            &known,
            &BTreeMap::new(),
            None,
            &Facts::default(),
        )
        .await?;
        let prepared = prepare(
            &spool,
            &spool,
            &partition,
            &known,
            None,
            &columns,
            &Budget::of(LIMIT, 1),
        )?;
        if prepared.numbers || prepared.to_ns {
            return Err("only for files with seq and one unit of time".into());
        }
        Ok(Self { prepared, paths })
    }

    fn plan(self: &Arc<Self>, spill: &Path, cores: usize) -> DfResult<Arc<dyn ExecutionPlan>> {
        let scan = |chains: &[&[usize]], claimed| self.scan(chains, claimed);
        let builder = Builder::new(
            Arc::new(self.prepared.shape.clone()),
            spill,
            self.prepared.batch_rows,
            cores,
            &scan,
        );
        let merged = builder.merge(&self.prepared.layouts.own.inputs)?;
        Ok(builder.operator(Does::Ties, merged))
    }

    fn scan(
        self: &Arc<Self>,
        chains: &[&[usize]],
        claimed: Vec<LexOrdering>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let schema = Arc::clone(&self.prepared.shape.carried);
        let chains = chains.iter().map(|files| {
            Arc::new(Chain {
                work: Arc::clone(self),
                files: files.to_vec(),
            }) as Arc<dyn PartitionStream>
        });
        Ok(Arc::new(StreamingTableExec::try_new(
            schema,
            chains.collect(),
            None,
            claimed,
            false,
            None,
        )?))
    }

    /// The carried columns of a file, decoded as they are, in batches of the merge.
    fn file(
        &self,
        index: usize,
    ) -> Outcome<Box<dyn Iterator<Item = DfResult<RecordBatch>> + Send>> {
        let (source, path) =
            (self.prepared.sources.get(index).zip(self.paths.get(index))).ok_or("no such file")?;
        let meta = Arc::clone(source.claims.meta.as_ref().ok_or("a footer was not kept")?);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let arrow = ArrowReaderMetadata::try_new(meta, options)?;
        let shape = &self.prepared.shape;
        let names = shape
            .carried
            .fields()
            .iter()
            .map(|field| field.name().as_str());
        let mask = ProjectionMask::columns(arrow.parquet_schema(), names);
        let (slice, sort) = (
            self.prepared.batch_rows,
            source.order == Order::SortInMemory,
        );
        let bytes =
            source.claims.rows * self.prepared.shape.row_bytes().max(source.claims.row_bytes);
        let whole = sort || (self.prepared.eager && bytes <= WHOLE_BYTES);
        let rows = if whole {
            usize::try_from(source.claims.rows)?.clamp(1, 32_768)
        } else {
            slice
        };
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(Bytes::from(fs::read(path)?), arrow)
                .with_projection(mask)
                .with_batch_size(rows)
                .build()?;
        if !whole {
            return Ok(Box::new(reader.map(|batch| Ok(batch?))));
        }
        let mut batches = reader.collect::<Result<Vec<_>, _>>()?;
        if sort {
            batches = Sorted::of(&batches, shape.ts, shape.seq)?
                .batches(usize::MAX)
                .collect::<Result<_, _>>()?;
        }
        let slices = move |batch: RecordBatch| {
            let total = batch.num_rows();
            (0..total)
                .step_by(slice)
                .map(move |at| Ok(batch.slice(at, slice.min(total - at))))
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
    #[expect(
        clippy::misnamed_getters,
        reason = "a chain gives the carried columns only"
    )]
    fn schema(&self) -> &SchemaRef {
        &self.work.prepared.shape.carried
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let work = Arc::clone(&self.work);
        let batches =
            self.files
                .clone()
                .into_iter()
                .flat_map(move |index| match work.file(index) {
                    Ok(batches) => batches,
                    Err(error) => Box::new(std::iter::once(Err(DataFusionError::External(error)))),
                });
        let stream = futures::stream::iter(batches);
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(self.schema()),
            stream,
        ))
    }
}
