//! What sorts keeps the limit: wide rows, long rows, and rows of which nobody knew how many have
//! one key.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};

use super::{
    hostile::many_columns,
    support::{
        archive::{home, published, sha256},
        events::{Claim, DAY, Events, HOUR, Quote, SECOND, quotes},
        peak::within_the_least_limit,
        run::{CATCH_UP, Place},
    },
};

const FIRST: &str = "2026-02-03_00-00-00.parquet";
const SECOND_FILE: &str = "2026-02-03_01-00-00.parquet";

/// So many texts of `length` characters that have nothing in common.
fn noise(rows: usize, length: usize) -> ArrayRef {
    let mut state = 7_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    let mut text = || (0..length / 16).map(|_| next()).collect::<String>();
    Arc::new(StringArray::from_iter_values((0..rows).map(|_| text())))
}

/// Compacts under the smallest limit, and under a large one: both must come to the same bytes.
fn compacts_to_the_same_bytes(files: &[(&str, &Events)], rows: usize) {
    let [within, roomy] = [Place::new(), Place::new()];
    for (name, events) in files {
        let bytes = events.bytes();
        let _ = within.put_quotes(name, &bytes);
        let _ = roomy.put_quotes(name, &bytes);
    }
    let _ = within_the_least_limit(&within, CATCH_UP).ended(0);
    let _ = roomy
        .qlc(&[CATCH_UP, &["--memory-limit", "4GB"]].concat())
        .ended(0);
    let [within, roomy] = [within, roomy].map(|place| published(&place.archive(), &home()));
    assert_eq!(within.meta["row_count"], rows);
    assert_eq!(sha256(&within.bytes), sha256(&roomy.bytes));
}

/// Quotes of one key, in no order.
fn of_one_key(seed: i64, rows: usize) -> Vec<Quote> {
    let one = |quote: Quote| Quote {
        ts_event: DAY + HOUR,
        seq: 7,
        ..quote
    };
    quotes(DAY, SECOND, seed, rows as i64)
        .into_iter()
        .map(one)
        .collect()
}

#[test]
fn a_sort_of_hundreds_of_columns_keeps_the_limit() {
    let place = Place::new();
    for file in [FIRST, SECOND_FILE] {
        let _ = place.put_quotes(file, &many_columns(400, 20_000));
    }
    let sort = [
        "query",
        "SELECT * FROM spool.bbo ORDER BY level_007",
        "--output",
        "rows.parquet",
    ];
    let _ = within_the_least_limit(&place, &sort).ended(0);
}

#[test]
fn rows_of_one_key_are_ordered_within_the_limit_however_many_they_are() {
    let (few, many) = (of_one_key(0, 100_000), of_one_key(100_000, 600_000));
    let files = [
        (FIRST, &Events::sealed(many)),
        (SECOND_FILE, &Events::sealed(few)),
    ];
    compacts_to_the_same_bytes(&files, 700_000);
}

#[test]
fn long_rows_of_one_key_are_ordered_within_the_limit() {
    let events = Events::sealed(of_one_key(0, 25_000))
        .hash(Claim::None)
        .with("text", noise(25_000, 4_000));
    compacts_to_the_same_bytes(&[(FIRST, &events)], 25_000);
}

#[test]
fn a_file_of_long_rows_in_no_order_is_sorted_within_the_limit() {
    for (rows, length) in [(25_000, 6_000), (300, 800_000)] {
        let mut shuffled = quotes(DAY, SECOND / 1000, 0, rows as i64);
        shuffled.sort_by_key(|quote| quote.seq.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64));
        let events = Events::sealed(shuffled)
            .undeclared()
            .hash(Claim::None)
            .without_dictionaries();
        compacts_to_the_same_bytes(&[(FIRST, &events.with("text", noise(rows, length)))], rows);
    }
}
