//! A filter over path columns that asks for a name that nothing bears, or for what is no whole day,
//! gives no rows without an error, so it gives a hint. So does a command that finds nothing. A day is
//! meant whether or not it has dashes.

use super::support::{
    events::{DAY, Events, SECOND, quotes},
    run::Place,
};

#[test]
fn a_name_in_another_case_and_half_a_day_give_a_hint() {
    let place = Place::new();
    let _ = place.put_quotes(
        "2026-02-03_00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 50)).bytes(),
    );
    let _ = place.compact(&[]).ended(0);
    let ask = |table: &str, condition: &str| {
        let sql = format!("SELECT count(*) AS n FROM {table} WHERE {condition}");
        place.qlc(&["query", &sql, "--format", "csv"]).ended(0)
    };
    for (condition, hint) in [
        ("symbol = 'BTCUSDT'", "there is 'btcusdt'"),
        ("symbol IN ('ethusdt', 'BtcUsdt')", "there is 'btcusdt'"),
        (
            "NOT symbol = 'BTCUSDT' OR symbol = 'BTCUSDT'",
            "there is 'btcusdt'",
        ),
        ("symbol LIKE 'BTC%'", "there is 'btcusdt'"),
        (
            "exchange = 'Binance' AND bid_price > 0",
            "there is 'binance'",
        ),
        ("symbol = 'btcusd'", "did you mean 'btcusdt'?"),
        (
            "stream LIKE 'bboo' AND exchange <> 'okx'",
            "did you mean 'bbo'?",
        ),
        ("date = 2026-02-03", "in quotes: 2021 is none"),
        ("date >= '2026-02'", "write '202602'"),
    ] {
        for table in ["archive.bbo", "spool.bbo"] {
            let ran = ask(table, condition);
            assert!(
                ran.stderr.contains(hint) && ran.stderr.lines().count() == 1,
                "{table} {condition}: {ran}"
            );
        }
    }
    let of_meta = ask("archive.meta", "symbol = 'BTCUSDT'");
    assert!(of_meta.stderr.contains("there is 'btcusdt'"), "{of_meta}");
    let named = place
        .qlc(&["query", "--name", "order", "--param", "symbol=BTCUSDT"])
        .ended(0);
    assert!(named.stderr.contains("there is 'btcusdt'"), "{named}");
    for condition in [
        "symbol = 'btcusdt'",
        "symbol = 'ethusdt'",
        "symbol <> 'ethusdt'",
        "date = '20260203'",
        "date = 20260203",
    ] {
        let ran = ask("archive.bbo", condition);
        assert_eq!(ran.stderr, "", "{condition}: {ran}");
    }
}

#[test]
fn a_day_is_meant_with_and_without_dashes() {
    let place = Place::new();
    for (name, day) in [
        ("2026-02-03_00", DAY),
        ("2026-02-04_00", DAY + 86_400 * SECOND),
    ] {
        let rows = Events::sealed(quotes(day, SECOND, 0, 5));
        let _ = place.put_quotes(&format!("{name}.parquet"), &rows.bytes());
    }
    let _ = place.compact(&[]).ended(0);
    let ask = |sql: &str, args: &[&str]| {
        let ran = place
            .qlc(&[&["query", "--format", "csv", sql][..], args].concat())
            .ended(0);
        assert_eq!(ran.stderr, "", "{sql}");
        ran.stdout
    };
    for (condition, rows) in [
        ("date = '2026-02-03'", 5),
        ("'2026-02-03' = date", 5),
        ("date <> '2026-02-03'", 5),
        ("date < '2026-02-04'", 5),
        ("date <= '2026-02-04'", 10),
        ("date > '2026-02-03'", 5),
        ("date >= '2026-02-04'", 5),
        ("date IN ('2026-02-03', '2026-02-05')", 5),
        ("date NOT IN ('2026-02-03')", 5),
        ("date BETWEEN '2026-02-01' AND '20260203'", 5),
        ("date NOT BETWEEN '2026-02-01' AND '2026-02-03'", 5),
        ("date LIKE '2026-02-%'", 10),
        ("date LIKE '2026-02-_4'", 5),
        // Where days have no dashes, these are true of none.
        ("date LIKE '%-02-%'", 0),
        ("date NOT LIKE '%-%'", 10),
        ("date = '2026-02-30'", 0),
    ] {
        for table in ["archive.bbo", "spool.bbo", "archive.meta"] {
            let counted = if table == "archive.meta" {
                "coalesce(sum(row_count), 0)"
            } else {
                "count(*)"
            };
            let got = ask(
                &format!("SELECT {counted} AS n FROM {table} WHERE {condition}"),
                &[],
            );
            assert_eq!(got, format!("n\n{rows}\n"), "{table} {condition}");
        }
    }
    for sql in [
        "SELECT count(*) AS n FROM bbo AS b WHERE b.date = $day",
        "SELECT count(*) AS n FROM (SELECT seq, date AS day FROM bbo) AS b WHERE day = $day",
        "WITH b AS (SELECT date, count(*) AS n FROM bbo GROUP BY date) SELECT n FROM b WHERE date = $day",
        "SELECT count(*) AS n FROM bbo JOIN archive.meta AS m USING (date) WHERE m.date = $day",
        "SELECT n FROM (SELECT date, count(*) AS n FROM bbo GROUP BY date HAVING date = $day)",
        "SELECT count(*) AS n FROM bbo WHERE date IN (SELECT date FROM archive.meta WHERE date = $day)",
        "SELECT count(*) FILTER (WHERE date = $day) AS n FROM bbo",
        "SELECT sum(CASE WHEN date = $day THEN 1 ELSE 0 END) AS n FROM (SELECT date FROM bbo UNION ALL SELECT date FROM bbo WHERE 1 = 0)",
    ] {
        for day in ["day=2026-02-03", "day=20260203", "day='2026-02-03'"] {
            assert_eq!(ask(sql, &["--param", day]), "n\n5\n", "{sql} {day}");
        }
    }
    // A text of another origin keeps its dashes.
    let of_its_own = "SELECT count(*) AS n FROM (SELECT '2026-02-03' AS date, to_char(to_time(ts_event), '%Y-%m-%d') AS day FROM bbo) \
        WHERE date = '2026-02-03' AND day = '2026-02-03'";
    assert_eq!(ask(of_its_own, &[]), "n\n5\n");
    for day in ["date=2026-02-03", "date=20260203", "date=2026-02-%3"] {
        let ran = place
            .qlc(&[
                "query", "--name", "coverage", "--param", day, "--format", "csv",
            ])
            .ended(0);
        assert_eq!(
            (ran.stdout.lines().count(), ran.stderr.as_str()),
            (2, ""),
            "{ran}"
        );
    }
}

#[test]
fn a_name_that_nothing_bears_is_answered_with_the_one_that_was_meant() {
    let place = Place::new();
    let _ = place.put_quotes(
        "2026-02-03_00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 50)).bytes(),
    );
    let _ = place.compact(&[]).ended(0);
    for line in [
        "compact --mode catch-up",
        "verify",
        "status",
        "report --html page.html",
        "prune --keep-days 0",
        "quarantine list",
        "import --dry-run",
    ] {
        for (flag, wrong, said) in [
            (
                "--symbol",
                "btcusd",
                "there is no symbol btcusd, did you mean btcusdt?",
            ),
            (
                "--stream",
                "bboo",
                "there is no stream bboo, did you mean bbo?",
            ),
            (
                "--exchange",
                "binanc",
                "there is no exchange binanc, did you mean binance?",
            ),
        ] {
            let words: Vec<&str> = line.split(' ').chain([flag, wrong]).collect();
            let ran = place.qlc(&words).ended(2);
            assert!(ran.stderr.contains(said), "{line} {flag}: {ran}");
        }
        // Another symbol is not a misspelt one; that QUARANTINE has nothing of it is no error.
        let words: Vec<&str> = line.split(' ').chain(["--symbol", "ethusdt"]).collect();
        let code = if line == "quarantine list" { 0 } else { 2 };
        let ran = place.qlc(&words).ended(code);
        assert!(!ran.stderr.contains("did you mean"), "{line}: {ran}");
    }
    for (line, said) in [
        (
            "reconcile --exchange binanc --date 20260203 --with .",
            "there is no exchange binanc, did you mean binance?",
        ),
        (
            "collect --exchange binance --symbol btcusdt --stream bboo",
            "did you mean bbo?",
        ),
        (
            "collect --exchange binanc --symbol btcusdt",
            "did you mean binance?",
        ),
        ("help compct", "a similar subcommand exists: 'compact'"),
        (
            "help quarantine retri",
            "a similar subcommand exists: 'retry'",
        ),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let ran = place.qlc(&words).ended(2);
        assert!(ran.stderr.contains(said), "{line}: {ran}");
    }
    let ran = place.qlc(&["query", "SELECT * FROM archive.trad"]).ended(2);
    assert!(ran.stderr.contains("did you mean archive.trade?"), "{ran}");
    let ran = place
        .qlc(&["query", "--name", "gaps", "--param", "stream=bboo"])
        .ended(0);
    assert!(ran.stderr.contains("did you mean 'bbo'?"), "{ran}");
}

#[test]
fn a_file_that_is_left_out_is_named_once_and_by_no_module() {
    let place = Place::new();
    let _ = place.put_quotes("2026-02-03_00.parquet", b"hello");
    let sql = [
        "query",
        "SELECT count(*) AS n FROM spool.bbo",
        "--format",
        "csv",
    ];
    let ran = place.qlc(&sql).ended(3);
    let warned = ran.stderr.lines().next().unwrap();
    let (_, said) = warned.split_once(" WARN ").unwrap();
    let file = place
        .spool()
        .join("exchange=binance/stream=bbo/symbol=btcusdt/2026-02-03_00.parquet");
    assert_eq!(
        said,
        format!(
            "{}: left out of the query: TRUNCATED: the file has 5 bytes, which is too few for a Parquet file",
            file.display()
        )
    );
    // Whoever wants to know the module asks for more.
    let ran = place.qlc(&[&sql[..], &["-v"]].concat()).ended(3);
    assert!(ran.stderr.contains(" WARN qlc::engine::sql::"), "{ran}");
}
