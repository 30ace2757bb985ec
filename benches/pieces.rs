//! Benches of single pieces on the way of a row: the row hash, scan and merge, the encoder, read-back, the receipt.
//!
//! `cargo bench --bench pieces`. The rows are made here, with a fixed seed, and look like quotes. Refuses to stand for
//! the whole: what a compaction takes is measured by `benches/run`.

use std::{fs, fs::File, hint::black_box, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray, UInt32Array},
    compute::take_record_batch,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties, format::SortingColumn as _};
use qlc::{
    compact::{prepare::prepare, survey::spool_files},
    engine::{
        budget::Budget,
        encode::encode,
        job::{Job, Ledger},
        plan,
        probe::probe,
        readback::read_back,
        reader::Handle,
        session::session,
        shape::Shape,
    },
    model::{
        date::Date,
        partition::{Partition, Selection, Stream},
        receipt::{Outcome, RECEIPT_VERSION, Receipt, SeqOrigin, Source},
        row_hash::{self, RowHash},
        schema,
    },
    storage::store::Store,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::runtime::Runtime;

criterion_group!(pieces, hashing);
criterion_main!(pieces);
fn hashing(_: &mut Criterion) {}
