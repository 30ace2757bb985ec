//! What may be asked, and what is said about mistakes.

use std::fs;

use super::fixture::{DAY, Stores, partition, quotes};
use crate::{
    error::Kind,
    query::{Format, Statement},
};

fn one_quote() -> Stores {
    let stores = Stores::new();
    stores.publish(
        &partition("binance/bbo/btcusdt/20260203"),
        &quotes(&[(DAY, 0, 1.5, 2.0)]),
    );
    stores
}

#[tokio::test]
async fn a_mistake_is_told_in_one_line() {
    let stores = one_quote();
    for (sql, said) in [
        ("", "empty"),
        ("SELEC 1", "SELEC"),
        ("SELECT 1 FROM", "the query: "),
        ("SELECT bid_prise FROM archive.bbo", "bid_price"),
        (
            "SELECT * FROM archive.bb",
            "there is no table archive.bb: archive has bbo, events, funding",
        ),
        ("SELECT * FROM spool.meta", "there is no table spool.meta"),
        ("SELECT * FROM elsewhere.bbo", "archive.… or spool.…"),
        ("SELECT nosuch(1)", "nosuch"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("SELECT * FROM bbo LIMIT 'x'", "the query: "),
    ] {
        let error = stores.error(sql, &[]).await;
        let line = error.chain();
        assert_eq!(error.kind(), Kind::Usage, "{sql}: {line}");
        assert!(line.contains(said) && !line.contains('\n'), "{sql}: {line}");
    }
    assert_eq!(
        stores
            .error("SELECT CAST('x' || bid_price AS INT) FROM bbo", &[])
            .await
            .kind(),
        Kind::BadInput
    );
}

#[tokio::test]
async fn only_questions_are_answered() {
    let stores = one_quote();
    let target = stores.path("out.csv");
    for sql in [
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/tmp'",
        "DROP TABLE archive.bbo",
        "INSERT INTO archive.bbo SELECT * FROM archive.bbo",
        "DELETE FROM archive.bbo",
        "UPDATE archive.bbo SET seq = 1",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "EXPLAIN ANALYZE DELETE FROM archive.bbo",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "SELECT 1 INTO t",
        "CREATE OR REPLACE TABLE t AS SELECT 1",
        "CREATE UNBOUNDED EXTERNAL TABLE t (a INT) STORED AS CSV LOCATION 's3://bucket/t'",
        "CREATE SCHEMA s",
        "CREATE DATABASE d",
        "CREATE FUNCTION f(INT) RETURNS INT RETURN $1",
        "DROP VIEW v",
        "ALTER TABLE bbo ADD COLUMN x INT",
        "TRUNCATE TABLE bbo",
        "SET TIME ZONE 'UTC'",
        "BEGIN",
        "ROLLBACK",
        "EXPLAIN CREATE TABLE t AS SELECT 1",
        "EXPLAIN SET datafusion.execution.batch_size = 1",
        "EXPLAIN ANALYZE INSERT INTO archive.bbo SELECT * FROM archive.bbo",
        &format!("COPY (SELECT 1) TO '{}'", target.display()),
        &format!("EXPLAIN COPY (SELECT 1) TO '{}'", target.display()),
    ] {
        let error = stores.error(sql, &[]).await;
        assert_eq!(error.kind(), Kind::Usage, "{sql}: {}", error.chain());
        assert!(
            error.chain().contains("only reads"),
            "{sql}: {}",
            error.chain()
        );
    }
    assert!(!target.exists());
    // What is written like a table or a function reads no file either.
    for sql in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM 's3://bucket/data.parquet'",
        "SELECT * FROM read_parquet('/tmp/a.parquet')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/tmp/a.parquet')",
        "DESCRIBE '/tmp/a.parquet'",
        "SELECT read_file('/etc/passwd')",
        "LOAD 'extension'",
    ] {
        let error = stores.error(sql, &[]).await;
        assert_eq!(error.kind(), Kind::Usage, "{sql}: {}", error.chain());
    }
    assert!(
        stores
            .path("archive/exchange=binance/stream=bbo/symbol=btcusdt/date=20260203/data.parquet")
            .exists()
    );
}

#[tokio::test]
async fn parameters_are_values_and_never_sql() {
    let stores = one_quote();
    let ask = async |sql: &str, params: &[(&str, &str)]| {
        let options = stores.options(Statement::Sql(sql.to_owned()), params, Format::Csv);
        stores
            .run(&options)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {}", e.chain()))
            .1
    };
    assert_eq!(
        ask(
            "SELECT count(*) AS n FROM bbo WHERE date = $day",
            &[("day", "20260203")]
        )
        .await,
        "n\n1\n"
    );
    assert_eq!(
        ask(
            "SELECT count(*) AS n FROM bbo WHERE bid_price = $p",
            &[("p", "1.5")]
        )
        .await,
        "n\n1\n"
    );
    assert_eq!(
        ask(
            "SELECT $x AS x LIMIT $n",
            &[("x", "' OR 1=1 --"), ("n", "1")]
        )
        .await,
        "x\n' OR 1=1 --\n"
    );
    assert_eq!(
        ask("SELECT arrow_typeof($x) AS x", &[("x", "'7'")]).await,
        "x\nUtf8\n"
    );
    assert_eq!(
        ask(
            "SELECT arrow_typeof($x) AS x, $y AS y",
            &[("x", "-7"), ("y", "-2.5")]
        )
        .await,
        "x,y\nInt64,-2.5\n"
    );
    let plan = ask(
        "EXPLAIN SELECT * FROM bbo WHERE symbol = $s",
        &[("s", "btcusdt")],
    )
    .await;
    assert!(plan.contains("data.parquet"), "{plan}");

    for (sql, params, said) in [
        (
            "SELECT $a, $b, $c",
            &[("b", "1")][..],
            "needs a value for $a, $c: give --param a=value",
        ),
        (
            "SELECT $a",
            &[("a", "1"), ("b", "1")],
            "no parameter $b in the query: it has $a",
        ),
        (
            "SELECT 1",
            &[("b", "1")],
            "no parameter $b in the query: it has none",
        ),
        ("SELECT ?", &[], "without a name"),
        ("SELECT $a", &[("a", "1"), ("a", "2")], "given twice"),
    ] {
        let error = stores.error(sql, params).await;
        assert_eq!(error.kind(), Kind::Usage, "{sql}");
        assert!(error.chain().contains(said), "{sql}: {}", error.chain());
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let stores = one_quote();
    fs::remove_dir(stores.path("spool")).unwrap();
    let error = stores.error("SELECT * FROM spool.bbo", &[]).await;
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.chain().contains("--spool"), "{}", error.chain());
    assert_eq!(
        stores.lines("SELECT count(*) FROM archive.bbo").await,
        ["1"]
    );
}

#[tokio::test]
async fn a_sort_larger_than_the_memory_limit_spills_and_leaves_nothing_behind() {
    let stores = one_quote();
    let sql = "SELECT md.value FROM generate_series(1, 2000000) AS md ORDER BY md.value % 1000, md.value DESC";
    let mut options = stores.options(Statement::Sql(sql.to_owned()), &[], Format::Ndjson);
    options.memory_limit = 32 << 20;
    let (rows, text) = stores
        .run(&options)
        .await
        .unwrap_or_else(|e| panic!("{}", e.chain()));
    assert_eq!(
        (rows, text.lines().next()),
        (2_000_000, Some("{\"value\":2000000}"))
    );
    assert_eq!(fs::read_dir(stores.path("spill")).unwrap().count(), 0);
}
