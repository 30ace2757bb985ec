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
            "there is no table archive.bb: did you mean archive.bbo? archive has bbo, events, funding",
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
        "x,y\nInt64,-2.5\n",
        "a number where it is written as one, and nothing tells another type"
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
async fn a_row_number_is_taken_where_its_table_is_read_or_refused_plainly() {
    let stores = one_quote();
    for sql in [
        "SELECT file_row_index(), lag(seq) OVER (ORDER BY ts_event) FROM bbo",
        "SELECT file_row_index() FROM bbo, (SELECT count(*) FROM bbo) AS t",
    ] {
        let error = stores.error(sql, &[]).await;
        assert_eq!(error.kind(), Kind::Usage, "{sql}: {}", error.chain());
        let said = "take it in a subquery of its own";
        assert!(error.chain().contains(said), "{sql}: {}", error.chain());
    }
    for sql in [
        "SELECT row, lag(seq) OVER (ORDER BY ts_event) FROM (SELECT *, file_row_index() AS row FROM bbo)",
        "SELECT row FROM (SELECT *, file_row_index() AS row FROM bbo) WHERE seq IN (SELECT max(seq) FROM bbo)",
        "SELECT file_row_index() FROM bbo",
    ] {
        assert_eq!(stores.lines(sql).await.len(), 1, "{sql}");
    }
}

#[tokio::test]
async fn a_clause_that_the_planner_reads_over_is_refused() {
    let stores = one_quote();
    for (sql, said) in [
        (
            "SELECT * FROM bbo TABLESAMPLE (10 PERCENT)",
            "TABLESAMPLE is not supported",
        ),
        (
            "SELECT * FROM (SELECT 1) AS t TABLESAMPLE (1 ROWS)",
            "TABLESAMPLE is not supported",
        ),
        (
            "WITH t AS (SELECT symbol, count(*) FROM bbo GROUP BY symbol WITH ROLLUP) SELECT * FROM t",
            "write GROUP BY ROLLUP",
        ),
        (
            "SELECT symbol, count(*) FROM bbo GROUP BY symbol WITH CUBE",
            "write GROUP BY CUBE",
        ),
        (
            "SELECT symbol FROM bbo GROUP BY symbol WITH TOTALS",
            "after GROUP BY",
        ),
        ("SELECT * FROM bbo PARTITION (p1)", "WHERE date ="),
        ("EXPLAIN SELECT * FROM bbo PARTITION (p1)", "WHERE date ="),
        (
            "SELECT 1 FROM bbo WHERE symbol IN (SELECT symbol FROM bbo PARTITION (p1))",
            "WHERE date =",
        ),
        ("SELECT * FROM bbo FOR UPDATE", "a query locks nothing"),
        (
            "SELECT 1 FROM bbo WHERE true SETTINGS max_threads = 1",
            "SETTINGS is not supported",
        ),
        ("SELECT 1 FROM bbo WHERE true FORMAT JSON", "--format"),
        ("SELECT symbol FROM bbo PREWHERE seq = 1", "write WHERE"),
    ] {
        let error = stores.error(sql, &[]).await;
        assert_eq!(error.kind(), Kind::Usage, "{sql}: {}", error.chain());
        assert!(error.chain().contains(said), "{sql}: {}", error.chain());
    }
    assert_eq!(
        stores
            .lines("SELECT symbol, count(*) FROM bbo GROUP BY ROLLUP (symbol) ORDER BY 1")
            .await
            .len(),
        2
    );
}

#[tokio::test]
async fn a_parameter_has_the_type_that_its_place_wants() {
    let stores = one_quote();
    let check = async |sql: &str, params: &[(&str, &str)], want: &str| {
        let options = stores.options(Statement::Sql(sql.to_owned()), params, Format::Csv);
        let got = stores.run(&options).await;
        let (_, text) = got.unwrap_or_else(|e| panic!("{sql}: {}", e.chain()));
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines.join(" "), want, "{sql} {params:?}");
    };
    let all = "(VALUES ('013', 13, 0.25), ('1000', 1000, 0.5)) AS t(s, n, x)";
    let find = |what: &str| format!("SELECT s FROM {all} WHERE {what} ORDER BY s");
    check(&find("s = $p"), &[("p", "013")], "013").await;
    check(&find("s = $p"), &[("p", "13")], "").await;
    check(&find("s = $p"), &[("p", "1000")], "1000").await;
    check(&find("s IN ('x', $p)"), &[("p", "1000")], "1000").await;
    check(&find("s LIKE $p"), &[("p", "0%")], "013").await;
    check(
        &find("s BETWEEN $a AND $b"),
        &[("a", "0"), ("b", "1")],
        "013",
    )
    .await;
    check(&find("n = $p"), &[("p", "013")], "013").await;
    check(&find("n > $p"), &[("p", "13.5")], "1000").await;
    check(&find("n = $p * 100"), &[("p", "10")], "1000").await;
    check(&find("x = $p"), &[("p", "5e-1")], "1000").await;
    // Each place of one parameter is looked at by itself.
    check(&find("s = $p AND n = $p"), &[("p", "1000")], "1000").await;
    check(
        &format!("SELECT s || $p, count(*) FROM {all} GROUP BY s || $p ORDER BY 1 LIMIT $n"),
        &[("p", "9"), ("n", "1")],
        "0139,1",
    )
    .await;
    check(
        &find("n = (SELECT max(n) FROM (VALUES (1000)) AS m(n) WHERE n > $p)"),
        &[("p", "7")],
        "1000",
    )
    .await;
    check("SELECT CAST($p AS BIGINT) + 1", &[("p", "7")], "8").await;
    check("SELECT * FROM (VALUES ($p))", &[("p", "007")], "007").await;
    check(
        "SELECT count(*) FROM generate_series(1, $p)",
        &[("p", "5")],
        "5",
    )
    .await;
    // Not compared with anything: as if it were written there.
    let greatest = format!("SELECT max(CASE WHEN s = '013' THEN n ELSE $p END) FROM {all}");
    check(&greatest, &[("p", "9")], "13").await;
    check(&greatest, &[("p", "13.5")], "13.5").await;
    check(
        &format!("SELECT s FROM {all} ORDER BY $c DESC"),
        &[("c", "1")],
        "1000 013",
    )
    .await;
    let frame = "ORDER BY n ROWS BETWEEN $w PRECEDING AND CURRENT ROW";
    check(
        &format!("SELECT sum(n) OVER ({frame}) FROM {all} ORDER BY n"),
        &[("w", "1")],
        "13 1013",
    )
    .await;
    check("SELECT round(2.345, $n)", &[("n", "1")], "2.3").await;
    check("SELECT arrow_typeof($t)", &[("t", "'1000'")], "Utf8").await;
    check("SELECT arrow_typeof($t)", &[("t", "013")], "Utf8").await;
    let error = stores.error(&find("n = $p"), &[("p", "many")]).await;
    assert_eq!(error.kind(), Kind::Usage);
    assert_eq!(
        error.chain(),
        "--param p=many: the query wants a number there"
    );
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
