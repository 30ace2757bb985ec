//! A filter over path columns that asks for a name in another case, or for a day with dashes, gives
//! no rows without an error, so it gives a hint.

use super::support::{
    events::{DAY, Events, SECOND, quotes},
    run::Place,
};

#[test]
fn a_name_in_another_case_and_a_day_with_dashes_give_a_hint() {
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
        ("date = '2026-02-03'", "write '20260203'"),
        ("date = 2026-02-03", "in quotes: 2021 is none"),
        ("date >= '2026-02-01'", "write '20260201'"),
        (
            "date BETWEEN '2026-02-01' AND '20260204'",
            "write '20260201'",
        ),
        ("date LIKE '2026-02-%'", "write '202602%'"),
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
