//! Benches of single pieces on the way of a row: the row hash, scan and merge, the encoder,
//! read-back, the receipt.
//!
//! `cargo bench --bench pieces`. The rows are made here, with a fixed seed, and look like quotes.
//! Refuses to stand for the whole: what a compaction takes is measured by `benches/run`.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up ends at once"
)]

#[path = "support/quotes.rs"]
mod quotes;

use std::{collections::BTreeMap, hint::black_box, sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::DataType};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::{StreamExt, stream};
use qlc::{
    compact::{
        columns::Facts,
        prepare::{InputFile, Prepared, prepare, settle},
        survey::spool_files,
    },
    engine::{plan, session::session},
    file::{
        encode::{Beside, ENCODING, Manner, encode},
        probe::probe,
        readback::read_back,
        reader::Handle,
    },
    job::{Job, Ledger, budget::Budget},
    model::{
        partition::Selection,
        receipt::{DataRecord, RECEIPT_VERSION, Receipt, SeqOrigin, Source},
        row_hash::{self, RowHash, RowSums},
    },
    storage::store::Store,
};
use quotes::{CHUNK, FILES, ROWS, partition, quotes};
use tokio::runtime::Runtime;

criterion_group! {
    name = pieces;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(8));
    targets = hashing, flowing, vouching
}
criterion_main!(pieces);

/// The row hash of chunks of quotes: names and numbers, and numbers alone with the names as
/// constants.
fn hashing(criterion: &mut Criterion) {
    let chunk = quotes(CHUNK);
    let mut group = criterion.benchmark_group("row hash");
    let _ = group.throughput(Throughput::Elements(CHUNK as u64));
    let _ = group.bench_function("all columns", |b| {
        b.iter(|| row_hash::of_batch(black_box(&chunk)).unwrap());
    });
    let mut sums = RowSums::default();
    let _ = group.bench_function("constants apart", |b| {
        b.iter(|| carried_hash(&mut sums, black_box(&chunk)));
    });
    group.finish();
}

fn carried_hash(sums: &mut RowSums, chunk: &RecordBatch) -> RowHash {
    sums.begin(chunk.num_rows());
    for (field, column) in chunk.schema_ref().fields().iter().zip(chunk.columns()) {
        if matches!(field.data_type(), DataType::Utf8 | DataType::Int8) {
            sums.add_constant(field.name(), &column.slice(0, 1))
                .unwrap();
        } else {
            sums.add(field.name(), column).unwrap();
        }
    }
    sums.hash()
}

/// Scan and merge of files that all overlap, then the encoder, then read-back.
fn flowing(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    quotes::write(folder.path());
    let prepared = runtime.block_on(prepared(
        &Store::open(&folder.path().display().to_string()).unwrap(),
    ));
    let merged = || async {
        let job = Arc::new(job(prepared.clone()));
        let session = session(Budget::of(LIMIT, 1).pool, 1, folder.path()).unwrap();
        let rows = plan::rows(&job, &prepared.layouts, folder.path(), 2).unwrap();
        let batches: Vec<RecordBatch> = plan_rows(rows, &session).await;
        assert!(job.ledger.problems().is_empty(), "the files are good");
        batches
    };
    let batches = runtime.block_on(merged());
    assert_eq!(
        batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
        ROWS,
        "every row is merged"
    );

    let mut group = criterion.benchmark_group("rows");
    let _ = group.throughput(Throughput::Elements(ROWS as u64));
    let _ = group.bench_function(format!("scan and merge {FILES} files"), |b| {
        b.to_async(&runtime).iter(&merged);
    });

    let file = folder.path().join("data.parquet");
    let shape = Arc::new(prepared.shape.clone());
    let encoded = || {
        let rows = stream::iter(batches.clone()).map(Ok);
        let _ = std::fs::File::create(&file).unwrap();
        encode(
            rows,
            &shape,
            Manner {
                brought_to: None,
                zstd_level: None,
                encoding: ENCODING,
                cores: 2,
            },
            Beside::nothing(),
            &file,
        )
    };
    let _ = group.bench_function("encode", |b| {
        b.to_async(&runtime)
            .iter(|| async { encoded().await.unwrap() });
    });

    let outcome = runtime.block_on(encoded()).unwrap();
    let staged = Store::open(&folder.path().display().to_string()).unwrap();
    let object = runtime
        .block_on(staged.head("data.parquet"))
        .unwrap()
        .unwrap();
    let handle = Handle::new(&staged, &object);
    let read = || async { read_back(&handle, &partition(), 2).await.unwrap() };
    assert_eq!(
        runtime.block_on(read()).row_hash,
        outcome.row_hash,
        "what was encoded reads back"
    );
    let _ = group.bench_function("read back", |b| b.to_async(&runtime).iter(&read));
    group.finish();
}

/// What qlc may have resident at its default.
const LIMIT: u64 = 2_500_000_000;

async fn plan_rows(
    plan: Arc<dyn datafusion::physical_plan::ExecutionPlan>,
    session: &datafusion::prelude::SessionContext,
) -> Vec<RecordBatch> {
    datafusion::physical_plan::collect(plan, session.task_ctx())
        .await
        .unwrap()
}

async fn prepared(spool: &Store) -> Prepared {
    let all = spool_files(spool, &Selection::all()).await.unwrap();
    let mut files = Vec::new();
    for file in all.files.into_values().flatten() {
        let claims = probe(&Handle::new(spool, &file.object)).await.unwrap();
        files.push(InputFile {
            file,
            claims,
            known_groups: Vec::new(),
            known_rows: None,
        });
    }
    assert_eq!(files.len(), FILES, "all files are found");
    let columns = settle(
        spool,
        spool,
        &partition(),
        &files,
        &BTreeMap::new(),
        None,
        &Facts::default(),
    )
    .await
    .unwrap();
    prepare(
        spool,
        spool,
        &partition(),
        &files,
        None,
        &columns,
        &Budget::of(LIMIT, 1),
    )
    .unwrap()
}

fn job(prepared: Prepared) -> Job {
    Job {
        partition: partition(),
        shape: prepared.shape,
        merging: prepared.merging,
        to_ns: prepared.to_ns,
        numbers: prepared.numbers,
        first_number: prepared.first_number,
        batch_rows: prepared.batch_rows,
        eager: prepared.eager,
        sort_in_memory: Budget::of(LIMIT, 1).sort_in_memory,
        ahead: None,
        on_progress: Arc::new(|_, _| ()),
        stop: Arc::new(|| false),
        ledger: Ledger::default(),
        sources: prepared.sources,
    }
}

/// The receipt of a day of many files: written, and read with its sums checked.
fn vouching(criterion: &mut Criterion) {
    let receipt = receipt(480);
    let json = receipt.to_json().unwrap();
    let mut group = criterion.benchmark_group("receipt of 480 files");
    let _ = group.throughput(Throughput::Bytes(json.len() as u64));
    let _ = group.bench_function("write", |b| {
        b.iter(|| black_box(&receipt).to_json().unwrap());
    });
    let read = |json: Vec<u8>| {
        let receipt = Receipt::from_json(&json).unwrap();
        assert!(receipt.findings().is_empty(), "the sums agree");
        receipt
    };
    let _ = group.bench_function("read", |b| {
        b.iter_batched(|| json.clone(), read, BatchSize::SmallInput);
    });
    group.finish();
}

fn receipt(files: u64) -> Receipt {
    let rows = 20_000;
    let source = |nth| Source {
        name: format!(
            "exchange=binance/stream=bbo/symbol=btcusdt/2026-02-03_{:02}-{:02}-00.parquet",
            nth / 60,
            nth % 60
        ),
        size: 600_000,
        modified_us: 1_770_076_800_000_000,
        rows,
        row_hash: RowHash::EMPTY,
        units: BTreeMap::new(),
        rows_here: rows,
        rows_copies: 0,
        rows_elsewhere: BTreeMap::new(),
        rows_quarantined: 0,
        rows_known: 0,
        row_groups: Vec::new(),
        seq_assigned: false,
        by_base: false,
        compacted: false,
    };
    Receipt {
        receipt_version: RECEIPT_VERSION,
        qlc_version: env!("CARGO_PKG_VERSION").to_owned(),
        partition: partition(),
        created_at: "2026-02-04T01:00:00Z".to_owned(),
        task: None,
        adopted: false,
        generation: 1,
        replaces: None,
        accepted_loss: Vec::new(),
        outcome: DataRecord {
            sha256: "0".repeat(64),
            bytes: 80_000_000,
            rows: rows * files,
            row_hash: RowHash::EMPTY,
            ts_event_min_ns: 1_770_076_800_000_000_000,
            ts_event_max_ns: 1_770_163_199_999_999_999,
            seq: SeqOrigin::Source,
            brought_to: None,
            zstd_level: None,
            encoding: ENCODING,
        },
        rows_in: rows * files,
        row_hash_in: RowHash::EMPTY,
        row_hash_out: RowHash::EMPTY,
        merge: None,
        plan: vec![format!("scan {files} files in 1 sequential chain")],
        base: None,
        sources: (0..files).map(source).collect(),
        left_out: Vec::new(),
        copies: Vec::new(),
    }
}
