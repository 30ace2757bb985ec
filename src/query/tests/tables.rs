//! Which tables there are, what is in them, which files a filter leaves.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, Decimal128Array, DictionaryArray, Int8Array, ListArray, RecordBatch,
        StringArray, TimestampMillisecondArray,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Int32Type},
};

use super::fixture::{DAY, SECOND, Stores, batch, floats, ints, partition, quotes};
use crate::{
    error::Kind,
    model::{
        layout,
        quarantine::{Entry, ErrorFile, ErrorType},
    },
    query::{Format, Statement},
};

fn filled() -> Stores {
    let stores = Stores::new();
    for (name, price) in [
        ("binance/bbo/btcusdt/20260203", 1.0),
        ("binance/bbo/ethusdt/20260203", 2.0),
    ] {
        stores.publish(
            &partition(name),
            &quotes(&[
                (DAY, 0, price, price + 1.0),
                (DAY + 1, 1, price, price + 2.0),
            ]),
        );
    }
    stores.publish(
        &partition("okx/bbo/btcusdt/20260204"),
        &quotes(&[(DAY + 86_400 * SECOND, 0, 3.0, 4.0)]),
    );
    stores
}

#[tokio::test]
async fn filters_on_path_columns_leave_only_their_files() {
    let stores = filled();
    for (filter, files) in [
        ("exchange = 'okx'", vec!["exchange=okx"]),
        (
            "symbol LIKE 'eth%' AND date >= '20260203'",
            vec!["symbol=ethusdt"],
        ),
        ("date = 20260204", vec!["exchange=okx"]),
        (
            "date IN ('20260204') OR symbol = 'ethusdt'",
            vec!["symbol=ethusdt", "exchange=okx"],
        ),
        (
            "upper(exchange) = 'OKX' AND bid_price > 0",
            vec!["exchange=okx"],
        ),
        ("exchange = 'none'", vec![]),
    ] {
        let plan = stores
            .lines(&format!(
                "EXPLAIN SELECT bid_price FROM archive.bbo WHERE {filter}"
            ))
            .await
            .join("\n");
        assert_eq!(
            plan.matches("data.parquet").count(),
            files.len(),
            "{filter}: {plan}"
        );
        for file in files {
            assert!(plan.contains(file), "{filter}: {plan}");
        }
    }
    // What the paths decide is not asked again of every row.
    let plan = stores
        .lines("EXPLAIN SELECT bid_price FROM archive.bbo WHERE exchange = 'okx'")
        .await
        .join("\n");
    assert!(!plan.contains("FilterExec"), "{plan}");
    let plan = stores
        .lines("EXPLAIN SELECT bid_price FROM archive.bbo WHERE ts_event > 5")
        .await
        .join("\n");
    assert!(plan.contains("pruning_predicate"), "{plan}");
}

#[tokio::test]
async fn the_path_says_whose_rows_they_are() {
    let stores = filled();
    let rows = stores
        .lines("SELECT exchange, stream, symbol, date, sum(bid_price) FROM bbo GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4")
        .await;
    assert_eq!(
        rows,
        [
            "binance,bbo,btcusdt,20260203,2.0",
            "binance,bbo,ethusdt,20260203,4.0",
            "okx,bbo,btcusdt,20260204,3.0"
        ]
    );
    let subquery = "SELECT count(*) FROM bbo WHERE date = (SELECT max(date) FROM archive.meta)";
    assert_eq!(stores.lines(subquery).await, ["1"]);
}

#[tokio::test]
async fn every_known_stream_has_a_table_and_every_found_one() {
    let stores = filled();
    stores.put_rows(
        "spool/exchange=x/stream=depth/symbol=y/2026-02-03_00-00-00.parquet",
        &batch(vec![("ts_event", ints(&[DAY])), ("level", ints(&[7]))]),
    );
    let tables = stores.lines(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema <> 'information_schema' ORDER BY 1, 2",
    );
    let known = [
        "bbo",
        "events",
        "funding",
        "instrument",
        "liquidation",
        "mark_price",
        "open_interest",
        "trade",
    ];
    let mut expected: Vec<String> = known
        .iter()
        .chain(&["meta", "quarantine", "reconcile", "runs"])
        .map(|t| format!("archive,{t}"))
        .collect();
    expected.extend(known.iter().chain(&["depth"]).map(|t| format!("spool,{t}")));
    expected.sort();
    assert_eq!(tables.await, expected);
    assert_eq!(
        stores.lines("SELECT * FROM spool.trade").await,
        Vec::<String>::new()
    );
    assert_eq!(
        stores
            .lines("SELECT level, exchange, date FROM spool.depth")
            .await,
        ["7,x,20260203"]
    );
    assert_eq!(
        stores.lines("SELECT count(*) FROM spool.events").await,
        ["1"]
    );
    assert!(!stores.lines("SHOW TABLES").await.is_empty());
    assert!(
        stores
            .lines("DESCRIBE archive.bbo")
            .await
            .iter()
            .any(|l| l.starts_with("bid_price,Float64"))
    );
}

#[tokio::test]
async fn older_files_are_read_as_the_columns_of_today() {
    let stores = Stores::new();
    let keyed: DictionaryArray<Int32Type> = vec!["a", "b"].into_iter().collect();
    let old = batch(vec![
        (
            "ts_event",
            Arc::new(TimestampMillisecondArray::from(vec![
                DAY / 1_000_000,
                DAY / 1_000_000 + 1,
            ])) as ArrayRef,
        ),
        ("trade_id", Arc::new(keyed)),
        ("price", floats(&[1.0, 2.0])),
        ("venue_note", ints(&[8, 9])),
    ]);
    let dir = "spool/exchange=x/stream=trade/symbol=y";
    stores.put_rows(&format!("{dir}/2026-02-03_00-00-00.parquet"), &old);
    let new = batch(vec![
        ("ts_event", ints(&[DAY + 1])),
        ("seq", ints(&[4])),
        ("price", floats(&[3.0])),
    ]);
    stores.put_rows(&format!("{dir}/date=20260204/part-0.parquet"), &new);
    stores.put_rows(&format!("{dir}/part-9.parquet"), &new);
    let rows = stores
        .lines("SELECT ts_event, seq, trade_id, price, venue_note, date FROM spool.trade ORDER BY ts_event, date");
    let ms = DAY / 1_000_000;
    assert_eq!(
        rows.await,
        [
            format!("{ms},,a,1.0,8,20260203"),
            format!("{},,b,2.0,9,20260203", ms + 1),
            format!("{},4,,3.0,,20260204", DAY + 1),
            format!("{},4,,3.0,,", DAY + 1),
        ]
    );
    let filter =
        format!("SELECT trade_id FROM spool.trade WHERE trade_id = 'b' AND ts_event > {ms}");
    assert_eq!(stores.lines(&filter).await, ["b"]);
    let times = stores.lines(
        "SELECT DISTINCT to_ns(ts_event), to_time(ts_event) FROM spool.events WHERE date = '20260203' ORDER BY 1",
    );
    assert_eq!(times.await[0], format!("{DAY},2026-02-03T00:00:00Z"));
    assert_eq!(
        stores
            .lines("SELECT to_ns(5), to_time(NULL), to_ns(1770076800)")
            .await,
        [format!(",,{DAY}")]
    );
    assert_eq!(
        stores
            .lines("SELECT count(*) FROM spool.trade WHERE date IS NULL")
            .await,
        ["1"]
    );
}

#[tokio::test]
async fn a_bad_spool_file_is_left_out_and_a_bad_archive_file_is_an_error() {
    let stores = filled();
    let dir = "spool/exchange=x/stream=bbo/symbol=y";
    stores.put_rows(
        &format!("{dir}/2026-02-03_00-00-00.parquet"),
        &quotes(&[(DAY, 0, 1.0, 2.0)]),
    );
    stores.put(
        &format!("{dir}/2026-02-03_00-01-00.parquet"),
        b"PAR1 not at all PAR1",
    );
    stores.put_rows(
        &format!("{dir}/2026-02-03_00-02-00.parquet"),
        &batch(vec![("bid_price", ints(&[1]))]),
    );
    for unfinished in [
        "2026-02-03_00-03-00.parquet.tmp",
        ".hidden.parquet",
        "._2026-02-03_00-00-00.parquet",
    ] {
        stores.put(&format!("{dir}/{unfinished}"), b"half");
    }
    assert_eq!(
        stores
            .lines("SELECT bid_price, exchange FROM spool.bbo")
            .await,
        ["1.0,x"]
    );
    assert_eq!(
        stores.lines("SELECT count(*) FROM spool.events").await,
        ["1"]
    );

    stores.put(
        "archive/exchange=binance/stream=bbo/symbol=ethusdt/date=20260203/data.parquet",
        b"PAR1 not at all PAR1",
    );
    assert_eq!(
        stores
            .error("SELECT sum(bid_price) FROM archive.bbo", &[])
            .await
            .kind(),
        Kind::BadInput
    );
    assert_eq!(
        stores
            .lines("SELECT count(*) FROM bbo WHERE symbol = 'btcusdt'")
            .await,
        ["3"]
    );
}

#[tokio::test]
async fn data_without_meta_is_no_partition() {
    let stores = filled();
    let rows = quotes(&[(DAY, 0, 1.0, 2.0)]);
    stores.put_rows(
        "archive/exchange=x/stream=bbo/symbol=y/date=20260203/data.parquet",
        &rows,
    );
    stores.put_rows(
        "archive/exchange=okx/stream=bbo/symbol=btcusdt/date=20260204/other.parquet",
        &rows,
    );
    stores.put_rows(
        "archive/QUARANTINE/exchange=x/stream=bbo/symbol=y/date=20260203/a.parquet",
        &rows,
    );
    assert_eq!(
        stores.lines("SELECT count(*) FROM archive.bbo").await,
        ["5"]
    );
}

#[tokio::test]
async fn meta_and_quarantine_have_a_row_per_document_entry() {
    let stores = filled();
    stores.put(
        "archive/exchange=x/stream=bbo/symbol=y/date=20260203/meta.json",
        b"{",
    );
    let rows = stores.lines(
        "SELECT exchange, date, row_count, ts_event_min, source_files, data_bytes > 0, sha256 IS NULL FROM archive.meta
         WHERE date >= '20260203' ORDER BY exchange, symbol",
    );
    assert_eq!(
        rows.await,
        [
            format!("binance,20260203,2,{DAY},3,true,false"),
            format!("binance,20260203,2,{DAY},3,true,false"),
            format!("okx,20260204,1,{},3,true,false", DAY + 86_400 * SECOND),
            "x,20260203,,,,,true".to_owned(),
        ]
    );
    assert_eq!(
        stores
            .lines("SELECT symbol FROM archive.meta WHERE exchange = 'okx'")
            .await,
        ["btcusdt"]
    );

    let entry = |name: &str, rows| Entry {
        error_type: ErrorType::SchemaMismatch.into(),
        message: "no ts_event".to_owned(),
        source_path: format!("exchange=x/stream=bbo/symbol=y/{name}"),
        size: 12,
        sha256: "b".repeat(64),
        time: "2026-02-04T01:00:00Z".to_owned(),
        qlc_version: "0.1.0".to_owned(),
        reproduce: "qlc inspect".to_owned(),
        kept_as: name.to_owned(),
        kept_sha256: "b".repeat(64),
        rows,
        modified_us: 1,
        salvaged: None,
        task: None,
        retry: false,
        discarded: false,
        later: serde_json::Map::new(),
    };
    let file = ErrorFile::of(vec![entry("a.parquet", None), entry("b.parquet", Some(5))]).unwrap();
    let dir = "archive/QUARANTINE/exchange=x/stream=bbo/symbol=y/date=20260203";
    stores.put(&format!("{dir}/error.json"), &file.to_json().unwrap());
    stores.put(
        "archive/QUARANTINE/exchange=z/stream=bbo/symbol=y/date=20260203/error.json",
        b"{",
    );
    let rows = stores
        .lines("SELECT exchange, date, error_type, kept_as, size, rows, message LIKE '%not readable%' FROM archive.quarantine ORDER BY 1, 4")
        .await;
    assert_eq!(
        rows,
        [
            "x,20260203,SCHEMA_MISMATCH,a.parquet,12,,false",
            "x,20260203,SCHEMA_MISMATCH,b.parquet,12,5,false",
            "z,20260203,,,,,true",
        ]
    );
}

/// Two days of quotes, those of the first as told.
fn two_days(first: &[i64]) -> Stores {
    let stores = Stores::new();
    let rows = |at: &[i64]| {
        quotes(
            &(0..)
                .zip(at)
                .map(|(seq, ts)| (*ts, seq, 1.0, 2.0))
                .collect::<Vec<_>>(),
        )
    };
    stores.publish(&partition("okx/bbo/btcusdt/20260203"), &rows(first));
    stores.publish(
        &partition("okx/bbo/btcusdt/20260204"),
        &rows(&[DAY + 86_400 * SECOND, DAY + 86_401 * SECOND]),
    );
    stores
}

const BY_PATH: &str = "SELECT ts_event - 1770076800000000000 FROM bbo ORDER BY exchange, stream, symbol, date, ts_event";
const BY_TIME: &str =
    "SELECT ts_event - 1770076800000000000 FROM bbo WHERE date = '20260203' ORDER BY ts_event";

#[tokio::test]
async fn the_order_that_receipts_vouch_for_spares_a_sort() {
    let stores = two_days(&[DAY, DAY + 1, DAY + 2]);
    let plan = async |sql: &str| stores.lines(&format!("EXPLAIN {sql}")).await.join("\n");
    for sql in [BY_PATH, BY_TIME] {
        assert!(plan(sql).await.contains("SortExec"), "nothing vouches");
    }
    stores.vouch(&partition("okx/bbo/btcusdt/20260203"));
    let all = plan(BY_PATH).await;
    assert!(all.contains("SortExec"), "one of two is vouched for: {all}");
    let one = plan(BY_TIME).await;
    assert!(
        !one.contains("SortExec") && one.contains("HoldClaims"),
        "{one}"
    );
    stores.vouch(&partition("okx/bbo/btcusdt/20260204"));
    let all = plan(BY_PATH).await;
    assert!(
        !all.contains("SortExec") && all.contains("HoldClaims"),
        "{all}"
    );
    assert_eq!(
        stores.lines(BY_PATH).await,
        ["0", "1", "2", "86400000000000", "86401000000000"]
    );
    assert_eq!(stores.lines(BY_TIME).await, ["0", "1", "2"]);
}

#[tokio::test]
async fn rows_that_are_not_in_the_order_that_is_vouched_for_are_found_out() {
    let stores = two_days(&[DAY, DAY + 2, DAY + 1]);
    for date in ["20260203", "20260204"] {
        stores.vouch(&partition(&format!("okx/bbo/btcusdt/{date}")));
    }
    assert_eq!(
        stores.lines(BY_PATH).await,
        ["0", "1", "2", "86400000000000", "86401000000000"],
        "sorted after all"
    );
    assert_eq!(stores.lines(BY_TIME).await, ["0", "1", "2"]);
    assert_eq!(stores.named("order", &[]).await.len(), 1);
    // Rows that were given cannot be taken back: the first day is in order for many batches.
    let mut rows: Vec<_> = (0..100_000).map(|i| (DAY + i, i, 1.0, 2.0)).collect();
    rows.swap(90_000, 90_001);
    let data = format!(
        "archive/{}",
        layout::data_key(&partition("okx/bbo/btcusdt/20260203"))
    );
    stores.put_groups(&data, &quotes(&rows), 100_000);
    let error = stores.error(BY_TIME, &[]).await;
    assert_eq!(error.kind(), Kind::BadInput, "{}", error.chain());
    assert!(error.chain().contains("qlc verify"), "{}", error.chain());
}

#[tokio::test]
async fn rows_are_read_in_the_order_of_their_files_without_a_sort() {
    // Nothing vouches for these rows, and they are not in order.
    let stores = two_days(&[DAY + 1, DAY, DAY + 2]);
    let sql = |order: &str, limit: &str| {
        format!(
            "SELECT date, row, lag(ts_event) OVER w - 1770076800000000000 FROM \
             (SELECT *, file_row_index() AS row FROM bbo) \
             WINDOW w AS (PARTITION BY exchange, stream, symbol, date ORDER BY row{order}) \
             ORDER BY exchange, stream, symbol, date, row{order}{limit}"
        )
    };
    let plan = async |sql: &str| stores.lines(&format!("EXPLAIN {sql}")).await.join("\n");
    let ascending = plan(&sql("", "")).await;
    assert!(
        !ascending.contains("SortExec") && ascending.contains("HoldClaims"),
        "{ascending}"
    );
    let expected = [
        "20260203,0,",
        "20260203,1,1",
        "20260203,2,0",
        "20260204,0,",
        "20260204,1,86400000000000",
    ];
    assert_eq!(stores.lines(&sql("", "")).await, expected);
    assert_eq!(stores.lines(&sql("", " LIMIT 2")).await, expected[..2]);
    // Of one file only the numbers of its rows are asked for.
    let one = sql("", "").replace("FROM bbo", "FROM bbo WHERE date = '20260203'");
    assert!(!plan(&one).await.contains("SortExec"));
    assert_eq!(stores.lines(&one).await, expected[..3]);
    // What is not how files are read is sorted.
    let descending = plan(&sql(" DESC", "")).await;
    assert!(descending.contains("SortExec"), "{descending}");
    assert_eq!(
        stores.lines(&sql(" DESC", "")).await[0],
        "20260203,2,",
        "the last row of the first day has none before it"
    );
    let by_row = "SELECT file_row_index() AS row, date FROM bbo ORDER BY row, date";
    assert!(plan(by_row).await.contains("SortExec"));
    assert_eq!(
        stores.lines(by_row).await,
        [
            "0,20260203",
            "0,20260204",
            "1,20260203",
            "1,20260204",
            "2,20260203"
        ]
    );
}

#[tokio::test]
async fn a_merge_that_does_not_fit_in_memory_is_a_sort_after_all() {
    // Batches of four rows take as much memory as full ones, and a merge of two days holds very
    // many.
    let stores = Stores::new();
    for date in ["20260203", "20260204"] {
        let day = partition(&format!("okx/bbo/btcusdt/{date}"));
        let rows: Vec<_> = (0..12_000)
            .map(|i| (day.date.start_ns() + i, i, 1.0, 2.0))
            .collect();
        stores.publish(&day, &quotes(&rows));
        stores.vouch(&day);
    }
    let day = |date| format!("SELECT ts_event FROM bbo WHERE date = '{date}'");
    let both = format!(
        "{} UNION ALL {} ORDER BY ts_event",
        day("20260203"),
        day("20260204")
    );
    let plan = stores.lines(&format!("EXPLAIN {both}")).await.join("\n");
    assert!(
        plan.contains("SortPreservingMerge") && !plan.contains("SortExec"),
        "{plan}"
    );
    let sorted = stores.lines(&both).await;
    assert_eq!(sorted.len(), 24_000);
    assert!(sorted.is_sorted_by_key(|line| line.parse::<i64>().unwrap()));
}

/// Quotes of a second each, with more columns.
fn with(more: Vec<(&str, ArrayRef)>, day: i64) -> RecordBatch {
    let rows = i64::try_from(more[0].1.len()).unwrap();
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        (
            "ts_event",
            ints(&(0..rows).map(|i| day + i * SECOND).collect::<Vec<_>>()),
        ),
        ("seq", ints(&(0..rows).collect::<Vec<_>>())),
    ];
    columns.extend(more);
    batch(columns)
}

const A_DAY: i64 = 86_400 * SECOND;

#[tokio::test]
async fn columns_of_two_types_are_exact_or_an_error_that_names_column_and_file() {
    let stores = Stores::new();
    stores.publish(
        &partition("okx/bbo/btcusdt/20260203"),
        &with(vec![("x", ints(&[0, 1, 2, 3]))], DAY),
    );
    stores.publish(
        &partition("okx/bbo/ethusdt/20260203"),
        &with(vec![("x", floats(&[1.5, 2.7, -0.9]))], DAY),
    );
    let small: ArrayRef = Arc::new(Int8Array::from(vec![7]));
    stores.publish(
        &partition("okx/bbo/xrpusdt/20260203"),
        &with(vec![("x", small)], DAY),
    );
    // The files that are read decide the type.
    assert_eq!(
        stores
            .lines("SELECT x FROM bbo WHERE symbol = 'ethusdt' ORDER BY x")
            .await,
        ["-0.9", "1.5", "2.7"]
    );
    assert_eq!(
        stores
            .lines("SELECT count(*) FROM bbo WHERE symbol = 'ethusdt' AND x > 2")
            .await,
        ["1"]
    );
    assert_eq!(
        stores
            .lines("SELECT sum(x), arrow_typeof(max(x)) FROM bbo WHERE symbol <> 'ethusdt'")
            .await,
        ["13,Int64"]
    );
    assert_eq!(
        stores
            .lines("SELECT max(x) FROM bbo WHERE symbol IN ('xrpusdt', 'ethusdt')")
            .await,
        ["7.0"]
    );
    assert_eq!(
        stores.lines("SELECT count(*), count(seq) FROM bbo").await,
        ["8,8"],
        "the column is not read"
    );
    for sql in [
        "SELECT x FROM bbo",
        "SELECT * FROM bbo",
        "SELECT count(*) FROM bbo WHERE x > 2",
        "EXPLAIN SELECT x FROM bbo",
    ] {
        let error = stores.error(sql, &[]).await;
        let line = error.chain();
        assert_eq!(error.kind(), Kind::Usage, "{sql}: {line}");
        assert!(
            line.contains("column x")
                && line.contains("symbol=ethusdt")
                && line.contains("symbol=btcusdt"),
            "{line}"
        );
    }
    // Two parts of one statement have one table.
    let both = "SELECT max(x) FROM (SELECT x FROM bbo WHERE symbol = 'ethusdt' UNION ALL SELECT x FROM bbo WHERE symbol = 'xrpusdt')";
    assert_eq!(stores.lines(both).await, ["7.0"]);
}

/// A file of the spool is left out where a column of it that is asked for cannot be read, and
/// nowhere else.
#[tokio::test]
async fn a_column_that_nobody_asks_for_costs_no_rows_of_the_spool() {
    let stores = Stores::new();
    let dir = "spool/exchange=x/stream=bbo/symbol=y";
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"; 2]));
    stores.put_rows(
        &format!("{dir}/2026-02-03_a.parquet"),
        &with(vec![("note", text)], DAY),
    );
    stores.put_rows(
        &format!("{dir}/2026-02-04_b.parquet"),
        &with(vec![("note", ints(&[1, 2, 3]))], DAY + A_DAY),
    );
    stores.put_rows(
        &format!("{dir}/2026-02-05_c.parquet"),
        &with(vec![("note", floats(&[0.5]))], DAY + 2 * A_DAY),
    );
    assert_eq!(
        stores
            .lines("SELECT count(*), count(seq), sum(bid_price) IS NULL FROM spool.bbo")
            .await,
        ["6,6,true"]
    );
    assert_eq!(
        stores
            .lines("SELECT count(*) FROM spool.bbo WHERE seq >= 0")
            .await,
        ["6"]
    );
    assert_eq!(
        stores
            .lines("SELECT note FROM spool.bbo WHERE date = '20260205'")
            .await,
        ["0.5"]
    );
}

#[tokio::test]
async fn a_canonical_column_of_another_type_is_exact_or_an_error() {
    let stores = Stores::new();
    let whole = with(vec![("bid_price", ints(&[9_007_199_254_740_993]))], DAY);
    stores.publish(&partition("okx/bbo/btcusdt/20260203"), &whole);
    let error = stores.error("SELECT bid_price FROM bbo", &[]).await.chain();
    assert!(
        error.contains("column bid_price is Int64 in") && error.contains("data.parquet"),
        "{error}"
    );
    stores.publish(
        &partition("okx/trade/btcusdt/20260203"),
        &with(vec![("side", ints(&[1, 300]))], DAY),
    );
    let error = stores.error("SELECT side FROM trade", &[]).await.chain();
    assert!(
        error.contains("column side is Int64 in") && error.contains("data.parquet"),
        "{error}"
    );
    stores.publish(
        &partition("okx/trade/btcusdt/20260203"),
        &with(vec![("side", ints(&[1, -1]))], DAY),
    );
    assert_eq!(
        stores.lines("SELECT side FROM trade ORDER BY seq").await,
        ["1", "-1"]
    );
}

#[tokio::test]
async fn a_column_that_only_some_days_have_can_be_asked_for() {
    let stores = Stores::new();
    for (nth, day) in ["20260203", "20260204", "20260205", "20260206", "20260207"]
        .into_iter()
        .enumerate()
    {
        let start = DAY + i64::try_from(nth).unwrap() * A_DAY;
        let rows = match nth {
            2 => with(vec![("latency", ints(&[1, 2, 3]))], start),
            _ => with(vec![("bid_price", floats(&[1.0]))], start),
        };
        stores.publish(&partition(&format!("okx/bbo/btcusdt/{day}")), &rows);
        stores.vouch(&partition(&format!("okx/bbo/btcusdt/{day}")));
    }
    assert_eq!(
        stores
            .lines("SELECT sum(latency) FROM bbo WHERE date = '20260205'")
            .await,
        ["6"]
    );
    assert_eq!(
        stores.lines("SELECT sum(latency), count(*) FROM bbo").await,
        ["6,7"]
    );
    assert_eq!(
        stores
            .lines("SELECT b.latency FROM bbo b WHERE latency > 2")
            .await,
        ["3"]
    );
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'bbo' AND column_name = 'latency'
        AND table_schema = 'archive'";
    assert_eq!(stores.lines(columns).await, ["1"]);
    assert!(
        stores
            .lines("DESCRIBE archive.bbo")
            .await
            .iter()
            .any(|line| line.starts_with("latency,"))
    );
    let options = stores.options(
        Statement::Sql("SELECT * FROM bbo WHERE date = '20260205'".to_owned()),
        &[],
        Format::Csv,
    );
    let (_, text) = stores.run(&options).await.unwrap();
    assert!(text.lines().next().unwrap().contains("latency"), "{text}");
    let error = stores.error("SELECT latencie FROM bbo", &[]).await;
    assert_eq!(error.kind(), Kind::Usage);
}

#[tokio::test]
async fn a_filter_gives_what_it_says_of_each_row_whatever_statistics_say() {
    let stores = Stores::new();
    let nan = f64::NAN;
    // Of groups of four rows each, as this writer's statistics leave out what is not a number.
    let prices = floats(&[1.0, nan, 1.0, 1.0, 2.0, 2.0, -nan, 2.0]);
    stores.publish(
        &partition("okx/bbo/btcusdt/20260203"),
        &with(vec![("bid_price", prices)], DAY),
    );
    for (condition, rows) in [
        ("bid_price <> 1", "5"),
        ("NOT (bid_price = 1)", "5"),
        ("bid_price NOT IN (1.0)", "5"),
        ("isnan(bid_price)", "2"),
        ("bid_price > 3", "1"),
        ("NOT (bid_price <= 3)", "1"),
        ("bid_price < 0", "1"),
    ] {
        assert_eq!(
            stores
                .lines(&format!("SELECT count(*) FROM bbo WHERE {condition}"))
                .await,
            [rows],
            "{condition}"
        );
    }
    assert_eq!(
        stores
            .lines("SELECT bid_price FROM bbo ORDER BY bid_price DESC LIMIT 1")
            .await,
        ["NaN"]
    );
}

#[tokio::test]
async fn statistics_of_another_writer_leave_out_no_rows() {
    let stores = Stores::new();
    let times: Vec<i64> = (0..8).map(|i| DAY + i * SECOND).collect();
    let rows = batch(vec![
        ("ts_event", ints(&times)),
        ("seq", ints(&[0, 1, 2, 3, 4, 5, 6, 7])),
    ]);
    let day = partition("okx/bbo/btcusdt/20260203");
    stores.publish(&day, &rows);
    stores.vouch(&day);
    // The footer says that the first group ends with its first row.
    let path = stores.path(&format!("archive/{}", layout::data_key(&day)));
    let mut bytes = std::fs::read(&path).unwrap();
    let (old, new) = (times[3].to_le_bytes(), times[0].to_le_bytes());
    let tail = bytes.len() - 8;
    let footer = tail - u32::from_le_bytes(bytes[tail..tail + 4].try_into().unwrap()) as usize;
    let mut changed = 0;
    for at in 0..tail - 8 {
        // The page index stands before the footer; data pages hold the same bytes.
        if bytes[at..at + 8] == old && (at >= footer || at > footer - 400) {
            bytes[at..at + 8].copy_from_slice(&new);
            changed += 1;
        }
    }
    assert!(changed > 0);
    std::fs::write(&path, bytes).unwrap();
    let sql = format!(
        "SELECT count(*) FROM bbo WHERE ts_event >= {} AND ts_event <= {}",
        times[1], times[2]
    );
    assert_eq!(stores.lines(&sql).await, ["2"]);
}

#[tokio::test]
async fn a_stream_that_is_named_like_a_built_in_table_has_a_table_too() {
    let stores = Stores::new();
    for name in ["meta", "runs", "quarantine", "reconcile", "events"] {
        stores.publish(
            &partition(&format!("okx/{name}/btcusdt/20260203")),
            &with(vec![("x", ints(&[1, 2, 3]))], DAY),
        );
        let table = format!("archive.\"stream={name}\"");
        assert_eq!(
            stores
                .lines(&format!(
                    "SELECT sum(x) FROM {table} WHERE stream = '{name}'"
                ))
                .await,
            ["6"]
        );
        let tables = stores
            .lines(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'archive'",
            )
            .await;
        assert!(
            tables.contains(&format!("stream={name}")) && tables.contains(&name.to_owned()),
            "{tables:?}"
        );
    }
    assert_eq!(
        stores.lines("SELECT count(*) FROM archive.meta").await,
        ["5"]
    );
    assert_eq!(
        stores
            .error("SELECT * FROM \"stream=depth\"", &[])
            .await
            .kind(),
        Kind::Usage
    );
}

#[tokio::test]
async fn nothing_is_made_for_a_statement_that_spills_nothing() {
    let stores = filled();
    assert_eq!(
        stores
            .lines("SELECT count(*) FROM (SELECT * FROM bbo ORDER BY bid_price)")
            .await,
        ["5"]
    );
    assert!(!stores.path("spill").exists());
}

#[tokio::test]
async fn a_number_beside_decimals_is_the_number_that_was_written() {
    let stores = Stores::new();
    let decimals = Decimal128Array::from(vec![
        1_234_567_890_123_456_789,
        1_234_567_890_123_456_790,
        150,
        -1_234_567_890_123_456_789,
    ]);
    let decimals: ArrayRef = Arc::new(decimals.with_precision_and_scale(30, 2).unwrap());
    let price = floats(&[
        12_345_678_901_234_567.89,
        0.1,
        0.123_456_789_012_345_68,
        2.0,
    ]);
    stores.publish(
        &partition("okx/bbo/btcusdt/20260203"),
        &with(vec![("amount", decimals), ("price", price)], DAY),
    );
    for (filter, rows) in [
        ("amount = 12345678901234567.89", "1"),
        ("amount < 12345678901234567.90", "3"),
        ("12345678901234567.90 <= amount", "1"),
        ("amount = -12345678901234567.89", "1"),
        (
            "amount IN (12345678901234567.89, 1.50, -12345678901234567.89)",
            "3",
        ),
        (
            "amount BETWEEN 12345678901234567.885 AND 12345678901234567.895",
            "1",
        ),
        ("amount = 1.5", "1"),
        // Beside floats it is a float, as it was.
        ("price = 12345678901234567.89", "1"),
        ("price = 12345678901234568.00", "1"),
        ("price = 0.1234567890123456789", "1"),
        ("price > 0.12345678901234566", "3"),
        ("12345678901234567.89 > 1.5", "4"),
    ] {
        let sql = format!("SELECT count(*) FROM bbo WHERE {filter}");
        assert_eq!(stores.lines(&sql).await, [rows], "{filter}");
    }
    assert!(
        stores
            .error("SELECT qlc_number(stream) FROM bbo", &[])
            .await
            .chain()
            .contains("not for statements")
    );
}

#[tokio::test]
async fn a_list_that_has_a_zero_has_both() {
    use arrow::{
        array::{Float16Array, Float32Array},
        datatypes::{ArrowPrimitiveType, Float16Type},
    };
    type Half = <Float16Type as ArrowPrimitiveType>::Native;
    let stores = Stores::new();
    let values = [0.0_f32, -0.0, 1.0, f32::NAN];
    let halves: ArrayRef = Arc::new(Float16Array::from_iter_values(values.map(Half::from_f32)));
    let singles: ArrayRef = Arc::new(Float32Array::from_iter_values(values));
    let doubles = floats(&values.map(f64::from));
    stores.publish(
        &partition("okx/bbo/btcusdt/20260203"),
        &with(vec![("h", halves), ("f", singles), ("d", doubles)], DAY),
    );
    let long: Vec<String> = (5..60).map(|n| n.to_string()).collect();
    for column in ["h", "f", "d"] {
        for list in [
            "0.0".to_owned(),
            "0, 5, 6".to_owned(),
            "-0.0, 5, 6, 7, 8".to_owned(),
            format!("0.0, {}", long.join(", ")),
        ] {
            for (not, rows) in [("", "2"), ("NOT ", "2")] {
                let sql = format!("SELECT count(*) FROM bbo WHERE {column} {not}IN ({list})");
                assert_eq!(stores.lines(&sql).await, [rows], "{sql}");
            }
        }
        assert_eq!(
            stores
                .lines(&format!(
                    "SELECT count(*) FROM bbo WHERE {column} IN (1, 5, 6, 7, 8)"
                ))
                .await,
            ["1"]
        );
    }
}

#[tokio::test]
async fn lists_of_nulls_are_read_as_the_lists_beside_them() {
    let stores = Stores::new();
    let lists = |values: ArrayRef| -> ArrayRef {
        let field = Field::new_list_field(values.data_type().clone(), true);
        Arc::new(ListArray::new(
            Arc::new(field),
            OffsetBuffer::from_lengths(vec![1; values.len()]),
            values,
            None,
        ))
    };
    let nulls = lists(arrow::array::new_null_array(&DataType::Null, 3));
    stores.publish(
        &partition("okx/bbo/btcusdt/20260203"),
        &with(vec![("x", lists(ints(&[7, 8])))], DAY),
    );
    stores.publish(
        &partition("okx/bbo/ethusdt/20260203"),
        &with(vec![("x", nulls)], DAY),
    );
    assert_eq!(
        stores
            .lines("SELECT sum(x[1]), count(x[1]), count(x) FROM bbo")
            .await,
        ["15,2,5"]
    );
}

/// Such a file is read by another reader; that must not be seen.
#[tokio::test]
async fn a_file_of_large_row_groups_gives_what_it_holds() {
    let stores = filled();
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..4_u8).map(|nth| {
        (0..10_000_000_u32)
            .map(|at| {
                char::from((b'a' + (at.wrapping_mul(2_654_435_761) >> 27) as u8 % 26) ^ (nth % 2))
            })
            .collect::<String>()
    })));
    let own = partition("okx/bbo/xrpusdt/20260203");
    let rows = with(
        vec![
            ("bid_price", floats(&[1.0, 2.0, 3.0, 4.0])),
            ("text", texts),
        ],
        DAY,
    );
    stores.publish(&own, &rows);
    stores.vouch(&own);
    let plan = stores
        .lines("EXPLAIN SELECT max(text) FROM bbo")
        .await
        .join("\n");
    assert!(
        plan.contains("BoundedScan") && plan.contains("symbol=xrpusdt"),
        "{plan}"
    );
    // Where the long column is not asked for, it is a file like any other.
    let plan = stores
        .lines("EXPLAIN SELECT max(bid_price) FROM bbo")
        .await
        .join("\n");
    assert!(!plan.contains("BoundedScan"), "{plan}");
    let all = "SELECT count(*), count(text), min(length(text)), sum(bid_price) FROM bbo";
    assert_eq!(stores.lines(all).await, ["9,4,10000000,19.0"]);
    let some = "SELECT seq, symbol, date, exchange, ask_price, length(text) FROM bbo WHERE bid_price > 2.5 AND text > 'A' ORDER BY seq";
    assert_eq!(
        stores.lines(some).await,
        [
            "2,xrpusdt,20260203,okx,,10000000",
            "3,xrpusdt,20260203,okx,,10000000"
        ]
    );
}
