//! Damaged files of every kind. Of the collector's kind, with the row hash in their footer, a
//! thousand: each is kept in QUARANTINE, or its rows are in the archive to the last bit. Of other
//! writers', with names, columns and damage thrown at random: nothing ends the run, nothing takes
//! more memory than the limit, every row is accounted for, and no file is taken in whose rows
//! contradict its own footer.
//!
//! The second kind goes on for `TEST_MUTANTS_SECONDS`; CONTRIBUTING.md says how to run it for an
//! hour.

use std::{
    collections::BTreeSet,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
        Float32Array, Float64Array, Int32Array, Int64Array, IntervalYearMonthArray, ListArray,
        RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, UInt64Array,
        types::Int32Type,
    },
    compute::concat_batches,
    datatypes::{Field, Fields},
};
use bytes::Bytes;
use parquet::{
    arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    basic::Compression,
    file::{metadata::ParquetMetaData, statistics::Statistics},
};
use qlc::compact::Status;

use super::support::{
    archive::{decode, home, listing, quarantine, sha256},
    events::{Claim, DAY, Events, MINUTE, SECOND, quotes},
    inside::{self, Dice},
    peak,
    run::{CATCH_UP, Place, SERIES},
};

const RUNS: usize = 40;
const FILES: usize = 25;

fn name(n: usize) -> String {
    format!("2026-02-03_00-{n:02}-00.parquet")
}

/// A minute of rows, stored in one way or another.
fn sound(n: usize) -> Events {
    let file = Events::sealed(quotes(DAY + n as i64 * MINUTE, SECOND, n as i64 * 100, 60));
    match n % 4 {
        0 => file,
        1 => file
            .compressed(Compression::UNCOMPRESSED)
            .without_dictionaries(),
        2 => file
            .compressed(Compression::SNAPPY)
            .rows_per_group(25)
            .rows_per_page(10),
        _ => file.compressed(Compression::UNCOMPRESSED).pages_v2(),
    }
}

/// One damage in one place: flipped bits, a cut, bytes overwritten, zeroed, left out, put in or
/// swapped.
fn mutant(file: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = file.to_vec();
    let kind = dice.throw(12);
    // Half of all damages are in the footer, where claims stand, though it is the smaller part.
    let end = file.len() - 8;
    let footer = u32::from_le_bytes(file[end..end + 4].try_into().unwrap()) as usize + 8;
    let from = if dice.throw(2) == 0 {
        file.len() - footer
    } else {
        0
    };
    let at = from + dice.throw(file.len() - from);
    let length = (1 + dice.throw(32)).min(file.len() - at);
    match kind {
        0..6 => bytes[at] ^= 1 << dice.throw(8),
        6 => bytes.truncate(at),
        7 => bytes[at..at + length].fill(0),
        8 => bytes[at..at + length]
            .iter_mut()
            .for_each(|byte| *byte = dice.throw(256) as u8),
        9 => drop(bytes.drain(at..at + length)),
        10 => drop(bytes.splice(at..at, std::iter::repeat_n(0x55, length))),
        _ => bytes[at..at + length].reverse(),
    }
    bytes
}

/// One run over many mutants; how many of them went to QUARANTINE.
async fn check(seed: usize) -> usize {
    let mut dice = Dice::new(seed as u64 * 1_000_000);
    let place = Place::new();
    let mutants: Vec<Vec<u8>> = (0..FILES)
        .map(|n| mutant(&sound(n).bytes(), &mut dice))
        .collect();
    for (n, bytes) in mutants.iter().enumerate() {
        let _ = place.put_quotes(&name(n), bytes);
    }
    let outcomes = inside::compact(place.root()).await;
    for outcome in &outcomes {
        let fine = [Status::Done, Status::UpToDate].contains(&outcome.status);
        assert!(fine, "run {seed}: {outcome:?}");
    }
    let error = quarantine(&place.archive(), &home()).unwrap_or_default();
    let kept: BTreeSet<&str> = error["files"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            let source = entry["source_path"].as_str().unwrap();
            let n: usize = (0..FILES)
                .find(|n| source == format!("{SERIES}/{}", name(*n)))
                .expect("one of ours");
            let kept = fs::read(
                place
                    .archive()
                    .join("QUARANTINE")
                    .join(home())
                    .join(entry["kept_as"].as_str().unwrap()),
            );
            assert!(
                entry["rows"].is_null() && kept.unwrap() == mutants[n],
                "run {seed}, file {n}: {entry}"
            );
            assert_eq!(entry["sha256"], sha256(&mutants[n]));
            source
        })
        .collect();
    let good = (0..FILES).filter(|n| !kept.contains(format!("{SERIES}/{}", name(*n)).as_str()));
    let batches: Vec<RecordBatch> = good.map(|n| sound(n).batch()).collect();
    let path = place.archive().join(home()).join("data.parquet");
    if batches.is_empty() {
        assert!(!path.exists(), "run {seed}");
        return kept.len();
    }
    let expected = concat_batches(&batches[0].schema(), &batches).unwrap();
    let found = decode(&fs::read(path).unwrap()).unwrap().batch;
    assert_eq!(found.num_columns(), expected.num_columns(), "run {seed}");
    for field in expected.schema().fields() {
        let column = |batch: &RecordBatch| batch.column_by_name(field.name()).unwrap().to_data();
        assert_eq!(
            column(&found),
            column(&expected),
            "run {seed}: {}",
            field.name()
        );
    }
    assert_eq!(
        inside::findings(place.root()).await,
        Vec::<String>::new(),
        "run {seed}"
    );
    kept.len()
}

#[test]
fn a_thousand_mutants_are_kept_or_equal() {
    let kept: usize = inside::runtime().block_on(async {
        let mut kept = 0;
        for seed in 0..RUNS {
            kept += check(seed).await;
        }
        kept
    });
    // Some damage is in bytes that nothing reads, so not all are bad, and most are.
    assert!(
        (RUNS * FILES / 2..RUNS * FILES).contains(&kept),
        "{kept} in QUARANTINE"
    );
}

/// A column of some type with so many values.
fn column(dice: &mut Dice, rows: usize) -> ArrayRef {
    let ints: Vec<i64> = (0..rows)
        .map(|_| dice.throw(1 << 20) as i64 - 1000)
        .collect();
    let some = |value: i64| (value % 7 != 0).then_some(value);
    match dice.throw(16) {
        0 => Arc::new(Int64Array::from(ints)),
        1 => Arc::new(ints.iter().map(|v| some(*v)).collect::<Int64Array>()),
        2 => Arc::new(Int32Array::from_iter_values(ints.iter().map(|v| *v as i32))),
        3 => Arc::new(UInt64Array::from_iter_values(
            ints.iter().map(|v| *v as u64),
        )),
        4 => Arc::new(Float32Array::from_iter_values(
            ints.iter().map(|v| *v as f32 / 8.0),
        )),
        5 => Arc::new(Float64Array::from_iter_values(ints.iter().map(
            |v| match v % 9 {
                0 => f64::NAN,
                1 => -0.0,
                _ => *v as f64,
            },
        ))),
        6 => Arc::new(
            ints.iter()
                .map(|v| some(*v).map(|v| v % 2 == 0))
                .collect::<BooleanArray>(),
        ),
        7 => {
            Arc::new(StringArray::from_iter_values(ints.iter().map(|v| {
                format!("{v}ü").repeat(1 + v.unsigned_abs() as usize % 40)
            })))
        }
        8 => Arc::new(BinaryArray::from_iter_values(
            ints.iter()
                .map(|v| [0xff; 70][..v.unsigned_abs() as usize % 70].to_vec()),
        )),
        9 => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            "z".repeat(1 << dice.throw(19)),
            rows,
        ))),
        10 => Arc::new(Date32Array::from_iter_values(
            ints.iter().map(|v| *v as i32),
        )),
        11 => Arc::new(
            TimestampMicrosecondArray::from_iter_values(ints).with_timezone("Europe/Berlin"),
        ),
        12 => Arc::new(
            Decimal128Array::from_iter_values(ints.iter().map(|v| i128::from(*v)))
                .with_precision_and_scale([8, 15, 30][dice.throw(3)], 2)
                .unwrap(),
        ),
        13 => Arc::new(
            ints.iter()
                .map(|v| format!("{}", v % 5))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str)
                .collect::<DictionaryArray<Int32Type>>(),
        ),
        14 => Arc::new(ListArray::from_iter_primitive::<
            arrow::datatypes::Int64Type,
            _,
            _,
        >(ints.iter().map(|v| {
            some(*v).map(|v| vec![Some(v); v.unsigned_abs() as usize % 5])
        }))),
        _ => Arc::new(IntervalYearMonthArray::from_iter_values(
            ints.iter().map(|v| *v as i32),
        )),
    }
}

/// A file that another writer might have made: no row hash, some columns more.
fn foreign(n: usize, dice: &mut Dice) -> Events {
    let rows = [1, 10, 60, 400][dice.throw(4)];
    let events = Events::sealed(quotes(
        DAY + n as i64 * MINUTE,
        SECOND / 10,
        n as i64 * 1000,
        rows,
    ));
    let mut events = if dice.throw(4) == 0 {
        events.without_seq()
    } else {
        events
    };
    events = events.hash(Claim::None);
    for _ in 0..dice.throw(3) {
        let mut values = column(dice, rows as usize);
        for _ in 0..if dice.throw(4) == 0 {
            dice.throw(60)
        } else {
            0
        } {
            let field = Field::new("in", values.data_type().clone(), true);
            values = Arc::new(StructArray::new(
                Fields::from(vec![field]),
                vec![values],
                None,
            ));
        }
        let name = [
            "extra",
            "level",
            "bid price",
            "",
            "Ünïcode",
            "sub_seq",
            "seq2",
        ][dice.throw(7)];
        events = events.with(&format!("{name}{}", dice.throw(3)), values);
    }
    if dice.throw(5) == 0 {
        let name = ["bid_price", "ask_qty", "ts_recv", "stream_version"][dice.throw(4)];
        events = events.replace(name, column(dice, rows as usize));
    }
    match dice.throw(5) {
        0 => events.undeclared(),
        1 => events
            .compressed(Compression::UNCOMPRESSED)
            .without_dictionaries(),
        2 => events.rows_per_group(25).rows_per_page(10),
        3 => events.compressed(Compression::UNCOMPRESSED).pages_v2(),
        _ => events.without_statistics(),
    }
}

/// A name that a file may have, of the day.
fn any_name(n: usize, dice: &mut Dice) -> String {
    let tail = match dice.throw(4) {
        0 => "x".repeat(dice.throw(230)),
        1 => "ä日".repeat(dice.throw(46)),
        2 => ["00-00 a b", "'", "..", "date=20260204", "part=1"][dice.throw(5)].to_owned(),
        _ => String::new(),
    };
    // One of each name, and none too long for the file system.
    format!("2026-02-03_{n}_{tail}.parquet").replace("_.parquet", ".parquet")
}

/// Whether an integer or a float of the file lies outside of what its footer says: found without
/// the code under test.
fn contradicts_itself(file: &[u8]) -> Option<bool> {
    let read = || -> Result<bool, String> {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let bytes = Bytes::copy_from_slice(file);
        let builder =
            ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options.clone())
                .map_err(|e| e.to_string())?;
        let metadata: Arc<ParquetMetaData> = Arc::clone(builder.metadata());
        for (nth, group) in metadata.row_groups().iter().enumerate() {
            let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(
                bytes.clone(),
                options.clone(),
            )
            .map_err(|e| e.to_string())?;
            for batch in builder
                .with_row_groups(vec![nth])
                .build()
                .map_err(|e| e.to_string())?
            {
                let batch = batch.map_err(|e| e.to_string())?;
                for (leaf, chunk) in group.columns().iter().enumerate() {
                    let root = metadata
                        .file_metadata()
                        .schema_descr()
                        .get_column_root_idx(leaf);
                    let column = batch.column(root);
                    match chunk.statistics() {
                        Some(Statistics::Double(s)) => {
                            let Some(values) = column.as_any().downcast_ref::<Float64Array>()
                            else {
                                continue;
                            };
                            let (min, max) = (s.min_opt().copied(), s.max_opt().copied());
                            if min.is_some_and(f64::is_nan) || max.is_some_and(f64::is_nan) {
                                continue;
                            }
                            let outside = |v: f64| {
                                min.is_some_and(|min| v < min) || max.is_some_and(|max| v > max)
                            };
                            if values.iter().flatten().any(outside) {
                                return Ok(true);
                            }
                        }
                        Some(Statistics::Int64(s)) => {
                            let Some(values) = column.as_any().downcast_ref::<Int64Array>() else {
                                continue;
                            };
                            let outside = |v: i64| {
                                s.min_opt().is_some_and(|min| v < *min)
                                    || s.max_opt().is_some_and(|max| v > *max)
                            };
                            if values.iter().flatten().any(outside) {
                                return Ok(true);
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(false)
    };
    // What panics or fails here is no sound file; whether qlc reads it is for qlc to say.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .ok()?
        .ok()
}

/// One run of the program over many files of other writers.
fn check_foreign(seed: u64) {
    let mut dice = Dice::new(0xf0e1_d2c3 ^ seed << 8);
    let place = Place::new();
    let mut files = Vec::new();
    for n in 0..FILES {
        let sound = foreign(n, &mut dice).bytes();
        let bytes = if dice.throw(3) == 0 {
            sound
        } else {
            mutant(&sound, &mut dice)
        };
        let name = any_name(n, &mut dice);
        let _ = place.put_quotes(&name, &bytes);
        files.push((name, bytes));
    }
    let said =
        |ran: &dyn std::fmt::Display| format!("seed {seed}, {}\n{ran}", place.root().display());
    let ran = peak::within_the_least_limit(&place, CATCH_UP);
    assert!(matches!(ran.code, Some(0 | 3)), "{}", said(&ran));
    // Every file is billed in a receipt, or kept whole: no row is nowhere.
    let mut kept = BTreeSet::new();
    let mut billed = BTreeSet::new();
    for (key, text) in documents(&place) {
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        for source in value["sources"].as_array().into_iter().flatten() {
            let _ = billed.insert(source["name"].as_str().unwrap().to_owned());
        }
        if key.ends_with("error.json") {
            for entry in value["files"].as_array().unwrap() {
                let whole = entry["rows"].is_null();
                let path = place
                    .archive()
                    .join(key.trim_end_matches("error.json"))
                    .join(entry["kept_as"].as_str().unwrap());
                assert_eq!(
                    sha256(&fs::read(path).unwrap()),
                    entry["kept_sha256"].as_str().unwrap(),
                    "{}",
                    said(&ran)
                );
                if whole {
                    let _ = kept.insert(entry["source_path"].as_str().unwrap().to_owned());
                }
            }
        }
    }
    for (name, bytes) in &files {
        let key = format!("{SERIES}/{name}");
        if billed.contains(&key) && !kept.contains(&key) {
            assert_ne!(
                contradicts_itself(bytes),
                Some(true),
                "{name}: {}",
                said(&ran)
            );
        }
        // Arrow's own notes in the footer are not looked at, as qlc does not either: damaged ones
        // make its reader panic.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(
            Bytes::from(bytes.clone()),
            options,
        );
        let is_empty = builder.is_ok_and(|found| found.metadata().file_metadata().num_rows() == 0);
        assert!(
            billed.contains(&key) || kept.contains(&key) || is_empty,
            "{name} is nowhere: {}",
            said(&ran)
        );
    }
    let ran = peak::within_the_least_limit(&place, &["verify"]);
    let is_empty = !listing(&place.archive())
        .keys()
        .any(|key| key.ends_with("data.parquet"));
    assert!(ran.code == Some(0) || is_empty, "{}", said(&ran));
    // Rows of other days, which only reading has shown, are taken in by the next run; then there is
    // nothing to do.
    let ran = place.compact(&[]);
    assert!(matches!(ran.code, Some(0 | 3)), "{}", said(&ran));
    let before = listing(&place.archive());
    let ran = place.compact(&[]);
    assert_eq!(
        (ran.code, &listing(&place.archive())),
        (Some(0), &before),
        "{}",
        said(&ran)
    );
}

/// Receipts and `error.json` of the archive, by key.
#[expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "keys are compared as they are"
)]
fn documents(place: &Place) -> Vec<(String, String)> {
    let keys = listing(&place.archive()).into_keys().filter(|key| {
        key.ends_with("error.json") || (key.starts_with("_receipts/") && key.ends_with(".json"))
    });
    keys.map(|key| {
        (
            key.clone(),
            fs::read_to_string(place.archive().join(key)).unwrap(),
        )
    })
    .collect()
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "a long run says how much it has looked at"
)]
#[expect(
    clippy::disallowed_methods,
    reason = "there is no command line to ask for a long run with"
)]
fn files_of_other_writers_are_taken_in_or_kept_whatever_is_wrong_with_them() {
    let seconds = std::env::var("TEST_MUTANTS_SECONDS").map_or(0, |text| text.parse().unwrap());
    // The time decides how many there are, never whether they are right.
    let (until, first) = (
        Instant::now() + Duration::from_secs(seconds),
        if seconds == 0 { 0 } else { fresh_seed() },
    );
    let mut runs = 0_u64;
    while runs < 12 || Instant::now() < until {
        // The writer of the tests recurses as deep as columns are nested.
        let check = move || check_foreign(first + runs);
        let run = std::thread::Builder::new()
            .stack_size(64 << 20)
            .spawn(check)
            .unwrap();
        run.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        runs += 1;
    }
    println!("{runs} runs of {FILES} files");
}

/// Another one in each long run.
fn fresh_seed() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        << 16
}
