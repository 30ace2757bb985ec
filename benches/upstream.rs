//! Pieces of qlc beside those of DataFusion and parquet that do the same work, on the same rows:
//! their time, and the most that each has on the heap.
//!
//! `cargo bench --bench upstream`. What was measured stands in the headers of the files that keep
//! their own way. What a whole compaction takes is measured by `benches/run`.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up ends at once"
)]

#[path = "support/quotes.rs"]
mod quotes;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    hint::black_box,
    io::{self, Write},
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, Scalar, UInt32Array},
    compute::{
        concat_batches,
        kernels::cmp::{gt, lt},
        max, take, take_record_batch,
    },
    datatypes::{Int64Type, SchemaRef},
};
use bytes::Bytes;
use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use datafusion::{
    catalog::memory::MemorySourceConfig,
    common::Result as DfResult,
    execution::{TaskContext, memory_pool::FairSpillPool, runtime_env::RuntimeEnvBuilder},
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan, SpillManager,
        metrics::{ExecutionPlanMetricsSet, SpillMetrics},
        sorts::{partial_sort::PartialSortExec, sort::SortExec},
    },
    prelude::{SessionConfig, SessionContext},
};
use futures::{FutureExt, Stream, TryStreamExt, future::BoxFuture};
use parquet::{
    DecodeResult,
    arrow::{
        ArrowWriter,
        arrow_reader::{ArrowReaderOptions, statistics::StatisticsConverter},
        async_reader::MetadataFetch,
        push_decoder::ParquetPushDecoderBuilder,
    },
    basic::Compression,
    errors::ParquetError,
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader},
        properties::WriterProperties,
    },
};
use qlc::{
    engine::{
        operators::{Does, Operator, Runs},
        order::ordering,
        plan::Builder,
        ties::ordered_ties,
    },
    file::{
        probe::{greatest, probe},
        reader::Handle,
        shape::Shape,
        statistics::Statement,
    },
    job::layout::Node,
    storage::store::Store,
};
use quotes::{CHUNK, FILES, ROWS, quotes};
use tokio::{runtime::Runtime, sync::Semaphore};

criterion_group! {
    name = upstream;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(5));
    targets = ties, runs, sorting, reading, statistics
}
criterion_main!(upstream);

/// The system's allocator, which counts.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;
/// Bytes on the heap.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// The most that there were.
static MOST: AtomicUsize = AtomicUsize::new(0);

fn more(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    if held > MOST.load(Ordering::Relaxed) {
        let _ = MOST.fetch_max(held, Ordering::Relaxed);
    }
}

fn fewer(bytes: usize) {
    let _ = HELD.fetch_sub(bytes, Ordering::Relaxed);
}

#[expect(
    unsafe_code,
    reason = "no allocator can be written without; this one hands everything on"
)]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: what the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: what the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        fewer(layout.size());
        // SAFETY: what the caller promises.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        more(size);
        fewer(layout.size());
        // SAFETY: what the caller promises.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// Measures a piece that gives all rows: what it has on the heap, then its time.
fn measured<F: Future<Output = usize>>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    name: &str,
    piece: impl Fn() -> F,
) {
    assert_eq!(runtime.block_on(piece()), ROWS, "{name} gives every row");
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let _ = runtime.block_on(piece());
    let most = MOST.load(Ordering::Relaxed).saturating_sub(before);
    let mut said = io::stderr();
    writeln!(said, "{name}: {} kB on the heap at most", most / 1000).unwrap();
    let _ = group.bench_function(name, |b| b.to_async(runtime).iter(&piece));
}

/// How many rows there are.
async fn counted<E>(rows: impl Stream<Item = Result<RecordBatch, E>>) -> usize
where
    E: std::fmt::Debug,
{
    let count = rows.try_fold(
        0,
        async |rows, batch| Ok(rows + black_box(batch).num_rows()),
    );
    count.await.unwrap()
}

/// All rows with the columns that travel through a merge.
fn travelling() -> RecordBatch {
    quotes(ROWS).project(&[0, 1, 3, 8, 9, 10, 11]).unwrap()
}

/// The rows at these places, in batches that share nothing.
fn batches_of(all: &RecordBatch, places: impl Iterator<Item = usize>) -> Vec<RecordBatch> {
    let places: UInt32Array = places.map(|row| u32::try_from(row).unwrap()).collect();
    let cut = |from: usize| {
        let rows = places.slice(from, CHUNK.min(places.len() - from));
        take_record_batch(all, &rows).unwrap()
    };
    (0..places.len()).step_by(CHUNK).map(cut).collect()
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

fn memory(batches: &[RecordBatch]) -> Arc<dyn ExecutionPlan> {
    let schema = batches.first().unwrap().schema();
    MemorySourceConfig::try_new_exec(&[batches.to_vec()], schema, None).unwrap()
}

/// Rows of one key in order: `OrderTies` and `PartialSortExec`, where each key has one row, two, or
/// all.
fn ties(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let context = SessionContext::new().task_ctx();
    let all = travelling();
    let shape = shape(&all.schema());
    for (keys, each) in [
        ("one row a key", 1),
        ("two rows a key", 2),
        ("one key", ROWS),
    ] {
        let batches = batches_of(&shared_keys(&all, each), 0..ROWS);
        let input = memory(&batches);
        let ours = || {
            let rows = input.execute(0, Arc::clone(&context)).unwrap();
            ordered_ties(rows, Arc::clone(&shape), &context)
        };
        let schema = all.schema();
        let by = schema.fields().iter().enumerate().map(|(at, field)| {
            PhysicalSortExpr::new(
                Arc::new(Column::new(field.name(), at)),
                arrow::compute::SortOptions::default(),
            )
        });
        let order = LexOrdering::new(by.collect::<Vec<_>>()).unwrap();
        let partial = PartialSortExec::new(order, Arc::clone(&input), 2);
        let theirs = || partial.execute(0, Arc::clone(&context)).unwrap();
        let (a, b): (Vec<RecordBatch>, Vec<RecordBatch>) = runtime.block_on(async {
            (
                ours().try_collect().await.unwrap(),
                theirs().try_collect().await.unwrap(),
            )
        });
        assert_eq!(
            concat_batches(&all.schema(), &a).unwrap(),
            concat_batches(&all.schema(), &b).unwrap(),
            "both give the same order"
        );
        drop((a, b));
        let mut group = criterion.benchmark_group(format!("ties, {keys}"));
        measured(&mut group, &runtime, "OrderTies", || counted(ours()));
        measured(
            &mut group,
            &runtime,
            "PartialSortExec",
            || counted(theirs()),
        );
        group.finish();
    }
}

/// The rows with the key of the first of so many.
fn shared_keys(all: &RecordBatch, each: usize) -> RecordBatch {
    let firsts: UInt32Array = (0..all.num_rows())
        .map(|row| u32::try_from(row - row % each).unwrap())
        .collect();
    let columns = all.columns().iter().enumerate();
    let columns = columns.map(|(at, column)| match at {
        0 | 1 => take(column, &firsts, None).unwrap(),
        _ => Arc::clone(column),
    });
    RecordBatch::try_new(all.schema(), columns.collect()).unwrap()
}

/// A sorted sequence to disk and back: `SpillRun` and `SpillManager`, of numbers, and with texts.
fn runs(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let context = limited(usize::MAX, folder.path());
    for (kind, all) in [("of numbers", travelling()), ("with texts", quotes(ROWS))] {
        let batches = batches_of(&all, 0..ROWS);
        let input = memory(&batches);
        let does = Does::Spill {
            runs: Runs {
                folder: folder.path().to_owned(),
                turn: Arc::new(Semaphore::new(1)),
            },
        };
        let ours = Operator::new(does, shape(&all.schema()), Arc::clone(&input));
        let mut group = criterion.benchmark_group(format!("a run {kind} on disk"));
        measured(&mut group, &runtime, "SpillRun", || {
            counted(ours.execute(0, Arc::clone(&context)).unwrap())
        });
        measured(&mut group, &runtime, "SpillManager", || {
            managed(&input, &context, true)
        });
        measured(&mut group, &runtime, "SpillManager, not ahead", || {
            managed(&input, &context, false)
        });
        group.finish();
    }
}

async fn managed(input: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>, ahead: bool) -> usize {
    let mut rows = input.execute(0, Arc::clone(context)).unwrap();
    let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
    let manager = SpillManager::new(context.runtime_env(), metrics, input.schema());
    let mut run = manager.create_in_progress_file("a run").unwrap();
    while let Some(batch) = rows.try_next().await.unwrap() {
        let _ = run.append_batch(&batch).unwrap();
    }
    drop(rows);
    let run = run.finish().unwrap().unwrap();
    counted(if ahead {
        manager.read_spill_as_stream(run, None).unwrap()
    } else {
        manager.read_spill_as_stream_unbuffered(run, None).unwrap()
    })
    .await
}

/// Operators that may reserve so many bytes, and spill to `folder`.
fn limited(pool: usize, folder: &Path) -> Arc<TaskContext> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(pool)))
        .with_temp_file_path(folder)
        .build_arc()
        .unwrap();
    let config =
        SessionConfig::new().with_sort_spill_reservation_bytes((pool / 8).clamp(1 << 20, 10 << 20));
    SessionContext::new_with_config_rt(config, runtime).task_ctx()
}

/// Files that overlap, in order: sorted two at a time into runs and merged, and sorted by a
/// `SortExec` whose pool is smaller than the rows.
fn sorting(criterion: &mut Criterion) {
    const POOL: usize = 16 << 20;
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let context = limited(POOL, folder.path());
    let all = travelling();
    let (schema, shape) = (all.schema(), shape(&all.schema()));
    let files: Vec<Vec<RecordBatch>> = (0..FILES)
        .map(|nth| batches_of(&all, (nth..ROWS).step_by(FILES)))
        .collect();
    let scan = |chains: &[&[usize]], _: Vec<LexOrdering>| -> DfResult<Arc<dyn ExecutionPlan>> {
        let rows = |chain: &&[usize]| -> Vec<RecordBatch> {
            let files = chain.iter().filter_map(|file| files.get(*file));
            files.flatten().cloned().collect()
        };
        let partitions: Vec<Vec<RecordBatch>> = chains.iter().map(rows).collect();
        let plan = MemorySourceConfig::try_new_exec(&partitions, Arc::clone(&schema), None)?;
        Ok(plan)
    };
    let builder = Builder::new(Arc::clone(&shape), folder.path(), CHUNK, 1, &scan);
    let pairs: Vec<Node> = (0..FILES)
        .step_by(2)
        .map(|nth| Node::Together(vec![nth, nth + 1]))
        .collect();
    let ours = builder.merge(&pairs).unwrap();
    let theirs = SortExec::new(ordering(&shape).unwrap(), memory(&files.concat()));
    let mut group = criterion.benchmark_group("files that overlap");
    measured(&mut group, &runtime, "SortRun and a merge", || {
        counted(ours.execute(0, Arc::clone(&context)).unwrap())
    });
    measured(&mut group, &runtime, "SortExec", || {
        counted(theirs.execute(0, Arc::clone(&context)).unwrap())
    });
    let spilled = theirs.metrics().and_then(|told| told.spill_count());
    assert!(spilled > Some(1), "the sort spills");
    group.finish();
}

/// The rows and the footers of files: the reader, and the push decoder and metadata reader of
/// parquet.
fn reading(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    quotes::write(folder.path());
    fs::create_dir(folder.path().join("large")).unwrap();
    write(&folder.path().join("large/one.parquet"), ROWS);
    let small = runtime.block_on(handles(folder.path(), "exchange=binance"));
    let large = runtime.block_on(handles(folder.path(), "large"));
    assert_eq!((small.len(), large.len()), (FILES, 1), "all are found");

    for (kind, files) in [("8 small files", &small), ("one large row group", &large)] {
        let footers = async |files: &[Handle]| {
            let mut all = Vec::new();
            for file in files {
                all.push((file.clone(), file.footer().await.unwrap()));
            }
            all
        };
        let files = runtime.block_on(footers(files));
        let bytes: u64 = files.iter().map(|(file, _)| file.size()).sum();
        let mut group = criterion.benchmark_group(format!("{kind}, {} kB", bytes / 1000));
        measured(&mut group, &runtime, "reader", || read(&files, true));
        measured(&mut group, &runtime, "reader, statistics unchecked", || {
            read(&files, false)
        });
        measured(&mut group, &runtime, "push decoder", || pushed(&files));
        group.finish();
    }

    let mut group = criterion.benchmark_group("8 footers");
    measured(&mut group, &runtime, "footer", || async {
        let mut rows = 0;
        for file in &small {
            rows += rows_of(&file.footer().await.unwrap());
        }
        rows
    });
    measured(&mut group, &runtime, "metadata reader", || async {
        let mut rows = 0;
        for file in &small {
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(64 << 10));
            let meta = reader.load_and_finish(Fetch(file), file.size()).await;
            rows += rows_of(&meta.unwrap());
        }
        rows
    });
    group.finish();
}

fn rows_of(meta: &ParquetMetaData) -> usize {
    usize::try_from(meta.file_metadata().num_rows()).unwrap()
}

/// All rows in a file, with row groups of `group_rows`.
fn write(path: &Path, group_rows: usize) {
    let all = quotes(ROWS);
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, all.schema(), Some(properties)).unwrap();
    writer.write(&all).unwrap();
    let _ = writer.close().unwrap();
}

async fn handles(root: &Path, below: &str) -> Vec<Handle> {
    let store = Store::open(&root.display().to_string()).unwrap();
    let (files, _) = store.list(below).await.unwrap().apart();
    let handle = |object| Handle::new(&store, object);
    files.iter().map(handle).collect()
}

async fn read(files: &[(Handle, Arc<ParquetMetaData>)], whole: bool) -> usize {
    let mut count = 0;
    for (file, meta) in files {
        let mut rows = file.rows_of(meta, CHUNK, &[]).unwrap();
        if !whole {
            rows.project((0..rows.schema().fields().len()).collect());
        }
        while let Some(batch) = rows.next().await.unwrap() {
            count += black_box(batch).num_rows();
        }
    }
    count
}

async fn pushed(files: &[(Handle, Arc<ParquetMetaData>)]) -> usize {
    let mut count = 0;
    for (file, meta) in files {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let mut decoder =
            ParquetPushDecoderBuilder::try_new_decoder_with_options(Arc::clone(meta), options)
                .unwrap()
                .with_batch_size(CHUNK)
                .build()
                .unwrap();
        loop {
            match decoder.try_decode().unwrap() {
                DecodeResult::NeedsData(ranges) => {
                    let data = fetched(file, &ranges).await;
                    decoder.push_ranges(ranges, data).unwrap();
                }
                DecodeResult::Data(batch) => count += black_box(batch).num_rows(),
                DecodeResult::Finished => break,
            }
        }
    }
    count
}

/// The ranges, which are those of the columns of a row group, in one request.
async fn fetched(file: &Handle, ranges: &[Range<u64>]) -> Vec<Bytes> {
    let start = ranges.iter().map(|range| range.start).min().unwrap();
    let end = ranges.iter().map(|range| range.end).max().unwrap();
    let bytes = file.fetch(start..end).await.unwrap();
    let place = |at: u64| usize::try_from(at - start).unwrap();
    ranges
        .iter()
        .map(|range| bytes.slice(place(range.start)..place(range.end)))
        .collect()
}

/// Fetches for parquet's metadata reader.
struct Fetch<'a>(&'a Handle);

impl MetadataFetch for Fetch<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let found = self.0.fetch(range);
        async { found.await.map_err(|e| ParquetError::External(Box::new(e))) }.boxed()
    }
}

/// Rows held against the statistics of their row group, and the largest value of a column by the
/// statistics of 40: `Statement` and `greatest`, and `StatisticsConverter`.
fn statistics(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("one.parquet"), ROWS);
    let one = runtime.block_on(handles(folder.path(), ""));
    let (meta, schema, batches) = runtime.block_on(async {
        let file = one.first().unwrap();
        let meta = file.footer().await.unwrap();
        let mut rows = file.rows_of(&meta, CHUNK, &[]).unwrap();
        let (schema, mut batches) = (Arc::clone(rows.schema()), Vec::new());
        while let Some(batch) = rows.next().await.unwrap() {
            batches.push(batch);
        }
        (meta, schema, batches)
    });
    let mut group = criterion.benchmark_group("rows within their statistics");
    measured(&mut group, &runtime, "Statement", || async {
        let mut statement = Statement::of(&meta, 0, &schema).unwrap();
        for batch in &batches {
            statement.take(batch).unwrap();
        }
        statement.finish().unwrap();
        ROWS
    });
    measured(&mut group, &runtime, "StatisticsConverter", || async {
        converted(&meta, &schema, &batches);
        ROWS
    });
    group.finish();

    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("many.parquet"), CHUNK);
    let many = runtime.block_on(handles(folder.path(), ""));
    let claims = runtime.block_on(probe(many.first().unwrap())).unwrap();
    let meta = claims.meta.as_ref().unwrap();
    assert_eq!(meta.num_row_groups(), ROWS / CHUNK, "there are many");
    let expected = greatest(&claims, "seq");
    let mut group = criterion.benchmark_group("the greatest of 40 row groups");
    measured(&mut group, &runtime, "greatest", || async {
        assert_eq!(greatest(&claims, "seq"), expected);
        ROWS
    });
    measured(&mut group, &runtime, "StatisticsConverter", || async {
        let descriptor = meta.file_metadata().schema_descr();
        let converter = StatisticsConverter::try_new("seq", &claims.schema, descriptor).unwrap();
        let all = converter.row_group_maxes(meta.row_groups()).unwrap();
        assert_eq!(max(all.as_primitive::<Int64Type>()), expected);
        ROWS
    });
    group.finish();
}

/// Holds the rows of a file's only row group against what its footer says.
fn converted(meta: &ParquetMetaData, schema: &SchemaRef, batches: &[RecordBatch]) {
    let descriptor = meta.file_metadata().schema_descr();
    let groups = meta.row_groups();
    for (at, field) in schema.fields().iter().enumerate() {
        let converter = StatisticsConverter::try_new(field.name(), schema, descriptor)
            .unwrap()
            .with_missing_null_counts_as_zero(false);
        let least: Scalar<ArrayRef> = Scalar::new(converter.row_group_mins(groups).unwrap());
        let most: Scalar<ArrayRef> = Scalar::new(converter.row_group_maxes(groups).unwrap());
        let (mut outside, mut nulls) = (0, 0);
        for batch in batches {
            let column = batch.column(at);
            outside += lt(column, &least).unwrap().true_count();
            outside += gt(column, &most).unwrap().true_count();
            nulls += column.null_count() as u64;
        }
        let told = converter.row_group_null_counts(groups).unwrap();
        assert_eq!((outside, Some(nulls)), (0, told.iter().next().flatten()));
    }
}
