//! What names and messages of others hold does not reach the terminal as it is.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};

use super::support::{
    events::{DAY, Events, SECOND, quotes},
    run::{Place, Ran, SERIES},
};

const ESCAPES: &str = "\u{1b}]0;title\u{7}\u{1b}[31mred\u{9b}2J\u{7f}";

/// Fails if a control character but line feed and tab was printed.
#[track_caller]
fn is_plain(ran: &Ran) {
    let odd = |c: char| c.is_control() && !"\n\t".contains(c);
    assert!(
        !ran.stdout.contains(odd) && !ran.stderr.contains(odd),
        "{:?} {:?}",
        ran.stdout,
        ran.stderr
    );
}

#[test]
fn names_of_columns_files_and_arguments_are_escaped() {
    let place = Place::new();
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let file = Events::sealed(quotes(DAY, SECOND, 0, 3))
        .with(ESCAPES, column)
        .bytes();
    let path = place.put_quotes("2026-02-03_00.parquet", &file);
    let path = path.display().to_string();
    let _ = place.put_quotes(
        &format!("2026-02-03_01{ESCAPES}.parquet"),
        b"PAR1 no file PAR1",
    );
    let odd = format!(
        "{}/{SERIES}/2026-02-03_01{ESCAPES}.parquet",
        place.spool().display()
    );
    let runs: [&[&str]; 12] = [
        &["inspect", &path],
        &["inspect", &path, "--format", "json"],
        &["inspect", &odd],
        &["inspect", ESCAPES],
        &["compact", "--mode", "catch-up", "--dry-run"],
        &["compact", "--mode", "catch-up", "-vv"],
        &[
            "compact",
            "--mode",
            "catch-up",
            "--log-format",
            "json",
            "-vv",
        ],
        &["quarantine", "list"],
        &["verify"],
        &["status"],
        &["query", "SELECT * FROM archive.bbo"],
        &["query", &format!("SELECT {ESCAPES}")],
    ];
    for args in runs {
        let ran = place.qlc(args);
        assert!(!ran.stdout.is_empty() || !ran.stderr.is_empty(), "{ran}");
        is_plain(&ran);
    }
    let told = place.qlc(&["inspect", &path]);
    assert!(
        told.stdout.contains("\\u{1b}]0;title\\u{7}\\u{1b}[31mred"),
        "{told}"
    );
    let json = &place.qlc(&["inspect", &path, "--format", "json"]).json()[0];
    assert!(
        json["columns"]
            .as_array()
            .unwrap()
            .iter()
            .any(|column| column["name"] == ESCAPES),
        "JSON is exact: {json}"
    );
}
