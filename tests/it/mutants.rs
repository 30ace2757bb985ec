//! A thousand damaged files of the collector's kind, with the row hash in their footer: each is kept in QUARANTINE, or its
//! rows are in the archive to the last bit. Nothing else, and nothing stops the run.

use std::{collections::BTreeSet, fs};

use arrow::{array::RecordBatch, compute::concat_batches};
use parquet::basic::Compression;
use qlc::compact::Status;

use super::support::{
    archive::{decode, home, quarantine, sha256},
    events::{DAY, Events, MINUTE, SECOND, quotes},
    inside::{self, Dice},
    run::{Place, SERIES},
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
        1 => file.compressed(Compression::UNCOMPRESSED).without_dictionaries(),
        2 => file.compressed(Compression::SNAPPY).rows_per_group(25).rows_per_page(10),
        _ => file.compressed(Compression::UNCOMPRESSED).pages_v2(),
    }
}

/// One damage in one place: flipped bits, a cut, bytes overwritten, zeroed, left out, put in or swapped.
fn mutant(file: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = file.to_vec();
    let kind = dice.throw(12);
    // Half of all damages are in the footer, where claims stand, though it is the smaller part.
    let end = file.len() - 8;
    let footer = u32::from_le_bytes(file[end..end + 4].try_into().unwrap()) as usize + 8;
    let from = if dice.throw(2) == 0 { file.len() - footer } else { 0 };
    let at = from + dice.throw(file.len() - from);
    let length = (1 + dice.throw(32)).min(file.len() - at);
    match kind {
        0..6 => bytes[at] ^= 1 << dice.throw(8),
        6 => bytes.truncate(at),
        7 => bytes[at..at + length].fill(0),
        8 => bytes[at..at + length].iter_mut().for_each(|byte| *byte = dice.throw(256) as u8),
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
    let mutants: Vec<Vec<u8>> = (0..FILES).map(|n| mutant(&sound(n).bytes(), &mut dice)).collect();
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
            let n: usize = (0..FILES).find(|n| source == format!("{SERIES}/{}", name(*n))).expect("one of ours");
            let kept =
                fs::read(place.archive().join("QUARANTINE").join(home()).join(entry["kept_as"].as_str().unwrap()));
            assert!(entry["rows"].is_null() && kept.unwrap() == mutants[n], "run {seed}, file {n}: {entry}");
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
        assert_eq!(column(&found), column(&expected), "run {seed}: {}", field.name());
    }
    assert_eq!(inside::findings(place.root()).await, Vec::<String>::new(), "run {seed}");
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
    assert!((RUNS * FILES / 2..RUNS * FILES).contains(&kept), "{kept} in QUARANTINE");
}
