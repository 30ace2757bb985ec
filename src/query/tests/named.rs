//! Each named statement finds what it is for, and nothing where there is nothing.

use std::{collections::BTreeSet, sync::Arc};

use arrow::array::{ArrayRef, Int8Array, Int32Array, RecordBatch, StringArray};

use super::fixture::{DAY, SECOND, Stores, batch, ints, partition, quotes};
use crate::{
    error::Kind,
    query::{Format, Statement, named},
};

const HOUR: i64 = 3600 * SECOND;

/// A clean day of two quotes, and beside it a day of which everything can be said that the
/// statements look for.
fn stores() -> Stores {
    let stores = Stores::new();
    let clean = quotes(&[(DAY, 0, 1.0, 2.0), (DAY + SECOND, 1, 1.0, 2.0)]);
    stores.publish(&partition("binance/bbo/btcusdt/20260203"), &clean);
    let disturbed = quotes(&[
        (DAY + SECOND, 0, 1.0, 2.0),
        (DAY, 1, 1.0, 2.0),
        (DAY + 2 * SECOND, 2, 3.0, 2.0),
        (DAY + 2 * SECOND, 2, 2.0, 2.0),
        (DAY + 2 * SECOND, 1, 1.0, 2.0),
        (DAY + 2 * HOUR, 9, 1.0, 2.0),
    ]);
    stores.publish(&partition("okx/bbo/btcusdt/20260203"), &disturbed);
    stores
}

/// Trades with these numbers, a second apart.
fn trades(version: i8, first_ns: i64, numbers: &[i64]) -> RecordBatch {
    let count = numbers.len();
    let names: ArrayRef = Arc::new(
        numbers
            .iter()
            .map(|n| Some(n.to_string()))
            .collect::<StringArray>(),
    );
    let seq = if version == 1 {
        vec![DAY + first_ns; count]
    } else {
        numbers.to_vec()
    };
    batch(vec![
        (
            "ts_event",
            ints(
                &(0..)
                    .take(count)
                    .map(|n: i64| DAY + first_ns + n * SECOND)
                    .collect::<Vec<_>>(),
            ),
        ),
        ("seq", ints(&seq)),
        (
            "stream_version",
            Arc::new(Int8Array::from(vec![version; count])),
        ),
        ("trade_id", names),
    ])
}

#[tokio::test]
async fn every_statement_runs_without_parameters_also_on_an_empty_archive() {
    let (empty, filled) = (Stores::new(), stores());
    filled.publish(
        &partition("binance/trade/btcusdt/20260203"),
        &trades(2, 0, &[1, 3]),
    );
    let mut names = BTreeSet::new();
    for query in named() {
        assert!(names.insert(query.name) && !query.description.is_empty());
        assert_eq!(
            empty.named(query.name, &[]).await,
            Vec::<String>::new(),
            "{}",
            query.name
        );
        assert_ne!(
            filled.named(query.name, &[]).await,
            Vec::<String>::new(),
            "{}",
            query.name
        );
        let file = format!("{}/sql/{}.sql", env!("CARGO_MANIFEST_DIR"), query.name);
        assert_eq!(std::fs::read_to_string(file).unwrap(), query.sql);
        for param in query.params {
            assert!(
                query.sql.contains(&format!("${}", param.name)),
                "{} {}",
                query.name,
                param.name
            );
        }
    }
    let files = std::fs::read_dir(format!("{}/sql", env!("CARGO_MANIFEST_DIR")))
        .unwrap()
        .count();
    assert_eq!(names.len(), files);
}

#[tokio::test]
async fn clean_days_have_no_findings() {
    let stores = stores();
    for name in ["order", "duplicates", "gaps", "crossed_quotes"] {
        assert_eq!(
            stores.named(name, &[("exchange", "binance")]).await,
            Vec::<String>::new(),
            "{name}"
        );
        assert_ne!(
            stores.named(name, &[("exchange", "okx")]).await,
            Vec::<String>::new(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn order_names_the_row_that_stands_wrong() {
    let rows = stores().named("order", &[]).await;
    let (s1, s2) = (DAY + SECOND, DAY + 2 * SECOND);
    assert_eq!(
        rows,
        [
            format!("okx,bbo,btcusdt,20260203,1,{DAY},1,{s1},0"),
            format!("okx,bbo,btcusdt,20260203,4,{s2},1,{s2},2")
        ]
    );
}

#[tokio::test]
async fn order_counts_rows_across_row_groups_and_threads() {
    // Groups of four rows in a file of a size that the planner cuts up for its threads; one pair is
    // exchanged far inside.
    let stores = Stores::new();
    let mut rows: Vec<_> = (0..60_000).map(|i| (DAY + i, i, 1.0, 2.0)).collect();
    rows.swap(15_001, 15_002);
    stores.publish(&partition("okx/bbo/btcusdt/20260203"), &quotes(&rows));
    let file =
        stores.path("archive/exchange=okx/stream=bbo/symbol=btcusdt/date=20260203/data.parquet");
    assert!(
        std::fs::metadata(file).unwrap().len() > 10 << 20,
        "smaller files are not cut up"
    );
    let found = stores
        .named("order", &[("stream", "bbo"), ("date", "202602%")])
        .await;
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("okx,bbo,btcusdt,20260203,15002,"),
        "{}",
        found[0]
    );
}

#[tokio::test]
async fn duplicates_gaps_and_crossed_quotes() {
    let stores = stores();
    let s2 = DAY + 2 * SECOND;
    assert_eq!(
        stores.named("duplicates", &[]).await,
        [format!(
            "okx,bbo,btcusdt,20260203,{s2},2,,2026-02-03T00:00:02Z,2"
        )]
    );
    assert_eq!(
        stores.named("gaps", &[]).await,
        ["okx,bbo,btcusdt,2026-02-03T00:00:02Z,2026-02-03T02:00:00Z,7198.0"]
    );
    assert_eq!(
        stores.named("gaps", &[("seconds", "7198")]).await,
        Vec::<String>::new()
    );
    assert_eq!(
        stores
            .named("gaps", &[("seconds", "0.5"), ("symbol", "btc%")])
            .await
            .len(),
        4
    );
    let crossed = stores.named("crossed_quotes", &[]).await;
    assert_eq!(crossed.len(), 2, "{crossed:?}");
    assert!(
        crossed
            .iter()
            .all(|line| line.starts_with(&format!("okx,btcusdt,20260203,{s2},2,")))
    );
}

#[tokio::test]
async fn duplicates_are_events_of_one_identity() {
    let stores = Stores::new();
    let rows = |sub_seq: &[i32]| {
        let seq: Vec<i64> = (0..)
            .take(sub_seq.len())
            .map(|row: i64| 5 + row / 3)
            .collect();
        let numbers = Arc::new(Int32Array::from(sub_seq.to_vec()));
        batch(vec![
            ("ts_event", ints(&vec![DAY; sub_seq.len()])),
            ("seq", ints(&seq)),
            ("sub_seq", numbers),
        ])
    };
    stores.publish(
        &partition("bybit/trade/btcusdt/20260203"),
        &rows(&[0, 1, 2, 0, 0, 1]),
    );
    stores.publish(
        &partition("bybit/trade/btcusdt/20260204"),
        &rows(&[0, 1, 2, 0, 1, 2]),
    );
    for vouched in [false, true] {
        if vouched {
            stores.vouch(&partition("bybit/trade/btcusdt/20260203"));
            stores.vouch(&partition("bybit/trade/btcusdt/20260204"));
        }
        assert_eq!(
            stores.named("duplicates", &[]).await,
            [format!(
                "bybit,trade,btcusdt,20260203,{DAY},6,0,2026-02-03T00:00:00Z,2"
            )]
        );
    }
}

#[tokio::test]
async fn holes_are_numbers_that_no_row_has_also_across_midnight_and_versions() {
    let stores = Stores::new();
    stores.publish(
        &partition("binance/trade/btcusdt/20260203"),
        &trades(1, 0, &[10, 11, 13, 13, 14]),
    );
    stores.publish(
        &partition("binance/trade/btcusdt/20260204"),
        &trades(2, 24 * HOUR, &[18, 19, 25]),
    );
    stores.publish(
        &partition("okx/trade/btcusdt/20260203"),
        &trades(2, 0, &[1, 9]),
    );
    let found = stores.named("holes", &[]).await;
    assert_eq!(
        found,
        [
            "binance,trade,btcusdt,12,12,1,2026-02-03T00:00:01Z,2026-02-03T00:00:02Z",
            "binance,trade,btcusdt,15,17,3,2026-02-03T00:00:04Z,2026-02-04T00:00:00Z",
            "binance,trade,btcusdt,20,24,5,2026-02-04T00:00:01Z,2026-02-04T00:00:02Z",
        ]
    );
    assert_eq!(
        stores.named("holes", &[("date", "20260204")]).await.len(),
        1
    );
    // Numbers that begin again are another count; one that came a little early is no hole.
    let again = trades(2, 48 * HOUR, &[1000, 1002, 1001, 1003, 1, 2, 4]);
    stores.publish(&partition("binance/trade/ethusdt/20260205"), &again);
    assert_eq!(
        stores.named("holes", &[("symbol", "ethusdt")]).await,
        ["binance,trade,ethusdt,3,3,1,2026-02-05T00:00:05Z,2026-02-05T00:00:06Z"]
    );
    assert_eq!(
        stores.named("holes", &[("stream", "bbo")]).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn gaps_are_between_neighbours_of_a_series() {
    let stores = Stores::new();
    let at = [
        DAY,
        DAY + SECOND,
        DAY + 2 * SECOND,
        DAY + 2 * SECOND,
        DAY + 2 * HOUR,
    ];
    let rows: Vec<_> = (0..).zip(at).map(|(seq, ts)| (ts, seq, 1.0, 2.0)).collect();
    for symbol in ["btcusdt", "ethusdt"] {
        stores.publish(
            &partition(&format!("okx/bbo/{symbol}/20260203")),
            &quotes(&rows),
        );
    }
    assert_eq!(stores.named("gaps", &[("seconds", "0.5")]).await.len(), 6);
    assert_eq!(
        stores
            .named("gaps", &[("seconds", "0.5"), ("symbol", "btc%")])
            .await
            .len(),
        3
    );
    assert_eq!(stores.named("gaps", &[("seconds", "1")]).await.len(), 2);
}

#[tokio::test]
async fn a_gap_across_midnight_is_found_though_the_days_differ_in_unit() {
    let stores = Stores::new();
    let late = DAY + 24 * HOUR - SECOND;
    stores.publish(
        &partition("okx/bbo/btcusdt/20260203"),
        &quotes(&[(late, 0, 1.0, 2.0)]),
    );
    let next_ms = (DAY + 24 * HOUR + 120 * SECOND) / 1_000_000;
    stores.publish(
        &partition("okx/bbo/btcusdt/20260204"),
        &quotes(&[(next_ms, 0, 1.0, 2.0)]),
    );
    for vouched in [None, Some("20260203"), Some("20260204")] {
        if let Some(date) = vouched {
            stores.vouch(&partition(&format!("okx/bbo/btcusdt/{date}")));
        }
        let gaps = stores.named("gaps", &[]).await;
        assert_eq!(
            gaps,
            ["okx,bbo,btcusdt,2026-02-03T23:59:59Z,2026-02-04T00:02:00Z,121.0"],
            "{vouched:?}"
        );
    }
}

#[tokio::test]
async fn coverage_and_rows_per_hour_count() {
    let stores = stores();
    // A published partition whose data has gone is covered by nothing.
    stores.publish(
        &partition("zeta/trade/x/20260203"),
        &quotes(&[(DAY, 0, 1.0, 2.0)]),
    );
    std::fs::remove_file(
        stores.path("archive/exchange=zeta/stream=trade/symbol=x/date=20260203/data.parquet"),
    )
    .unwrap();
    let rows = stores.named("coverage", &[]).await;
    let heads: Vec<_> = rows
        .iter()
        .map(|line| line.rsplitn(3, ',').last().unwrap())
        .collect();
    assert_eq!(
        heads,
        [
            "binance,bbo,btcusdt,20260203,2,2,2026-02-03T00:00:00Z,2026-02-03T00:00:01Z,1",
            "okx,bbo,btcusdt,20260203,6,6,2026-02-03T00:00:00Z,2026-02-03T02:00:00Z,2",
            "zeta,trade,x,20260203,0,1,,,0",
        ]
    );
    assert_eq!(
        stores.named("rows_per_hour", &[("exchange", "okx")]).await,
        [
            "okx,bbo,btcusdt,20260203,2026-02-03T00:00:00Z,5",
            "okx,bbo,btcusdt,20260203,2026-02-03T02:00:00Z,1"
        ]
    );
}

#[tokio::test]
async fn wrong_names_and_parameters_are_refused_with_the_right_ones() {
    let stores = Stores::new();
    for (name, params, said) in [
        ("gap", &[][..], "there are order, duplicates, holes, gaps"),
        (
            "gaps",
            &[("second", "1")],
            "it has exchange, stream, symbol, date, seconds",
        ),
        (
            "gaps",
            &[("seconds", "long")],
            "seconds is a number, such as 60",
        ),
        ("gaps", &[("seconds", "1"), ("seconds", "2")], "given twice"),
    ] {
        let options = stores.options(Statement::Named(name.to_owned()), params, Format::Csv);
        let error = stores.run(&options).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.chain().contains(said), "{}", error.chain());
    }
}
