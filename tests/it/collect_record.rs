//! What is on record survives: times without a first connection, a feed log that cannot be written,
//! a folder that refuses, a log that has lost its end.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Child,
    time::Duration,
};

use serde_json::Value;

use super::support::{
    exchange::{
        Act, Exchange, binance_trade, binance_trades, free_address, get, notes, okx_trade, status,
        terminate, trades, until,
    },
    run::Place,
};

fn args<'a>(before: &[&'a str], endpoints: &'a [String]) -> Vec<&'a str> {
    before
        .iter()
        .copied()
        .chain(endpoints.iter().map(String::as_str))
        .collect()
}

fn of_kind(place: &Place, kind: &str) -> Vec<Value> {
    let mut all = notes(&place.spool(), "20");
    all.retain(|note| note["kind"] == kind);
    all
}

/// Kills a collector; what is published from then on goes to the next one.
fn kill(mut child: Child, exchange: &Exchange) {
    child.kill().unwrap();
    let _ = child.wait().unwrap();
    while exchange.listening() > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_healthy(address: &str) -> bool {
    get(address, "/health").is_some_and(|text| text.starts_with("HTTP/1.1 200"))
}

#[test]
fn a_time_before_the_first_connection_is_on_record_however_its_process_ends() {
    for is_killed in [true, false] {
        let place = Place::new();
        let nobody = free_address();
        let exchange = Exchange::new(&[("binance.market", vec![vec![Act::Live]])]);
        let endpoints = exchange.endpoints();
        let (to_nobody, address) = (
            format!("binance.market=ws://{nobody}/binance.market"),
            free_address(),
        );
        let mut command = vec!["collect", "--exchange", "binance", "--symbol", "btcusdt"];
        command.extend(["--stream", "trade", "--retry-cap", "20ms"]);
        let first = [&command[..], &["--endpoint", &to_nobody]].concat();
        let mut child = place.spawn(&first, &[]);
        until(&mut child, || of_kind(&place, "lost").len() > 3);
        let mut end = 0;
        if is_killed {
            kill(child, &exchange);
        } else {
            let (code, said) = terminate(child);
            assert_eq!(code, Some(0), "{said}");
            let told = of_kind(&place, "offline");
            assert_eq!(told.len(), 1, "{told:?}");
            end = told[0]["to_ns"].as_i64().unwrap();
        }
        std::thread::sleep(Duration::from_millis(300));
        command.extend(["--listen", &address]);
        let mut child = place.spawn(&args(&command, &endpoints), &[]);
        until(&mut child, || exchange.listening() == 1);
        exchange.publish(binance_trade(1));
        until(&mut child, || {
            status(&address).is_some_and(|status| status["events"] == 1)
        });
        let (code, said) = terminate(child);
        assert_eq!(code, Some(0), "{said}");
        let begun = of_kind(&place, "started")[0]["time_ns"].as_i64().unwrap();
        let live = of_kind(&place, "live")[0]["time_ns"].as_i64().unwrap();
        let told = of_kind(&place, "offline");
        // All of the time, and none of it twice.
        let mut at = told[0]["from_ns"].as_i64().unwrap();
        assert!(at <= begun && begun - at < 5_000_000_000, "{told:?}");
        for note in &told {
            assert_eq!(note["from_ns"].as_i64(), Some(at), "{told:?}");
            at = note["to_ns"].as_i64().unwrap();
        }
        assert_eq!(at, live, "{told:?}");
        assert!(
            is_killed || told[1]["from_ns"].as_i64() == Some(end),
            "{told:?}"
        );
    }
}

#[test]
fn what_the_feed_log_refuses_is_told_and_kept_for_the_next_start() {
    for is_killed in [true, false] {
        let exchange = Exchange::new(&[("binance.market", vec![vec![Act::Live]])]);
        let (place, address) = (Place::new(), free_address());
        let endpoints = exchange.endpoints();
        let mut command = vec!["collect", "--exchange", "binance", "--symbol", "btcusdt"];
        command.extend(["--stream", "trade", "--listen", &address]);
        let command = args(&command, &endpoints);
        fs::create_dir_all(place.spool()).unwrap();
        let folder = place.spool().join("_feed");
        fs::write(&folder, "").unwrap();
        let mut child = place.spawn(&command, &[]);
        until(&mut child, || exchange.listening() == 1);
        for id in [1, 2, 3, 7, 8] {
            exchange.publish(binance_trade(id));
        }
        let is_told = |status: Value| {
            status["feeds"][0]["missing"] == 3
                && status["journal_age_ms"] == 0
                && status["troubles"][0]
                    .as_str()
                    .is_some_and(|text| text.contains("_feed"))
        };
        until(&mut child, || status(&address).is_some_and(is_told));
        if is_killed {
            kill(child, &exchange);
        } else {
            let (code, said) = terminate(child);
            assert!(
                code == Some(1) && said.contains("lines of the feed log could not be written"),
                "{code:?} {said}"
            );
        }
        fs::remove_file(&folder).unwrap();
        let mut child = place.spawn(&command, &[]);
        until(&mut child, || {
            exchange.listening() == 1 && is_healthy(&address)
        });
        let (code, said) = terminate(child);
        assert_eq!(code, Some(0), "{said}");
        let gaps = of_kind(&place, "gap");
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        assert_eq!(
            (&gaps[0]["first"], &gaps[0]["last"]),
            (&4.into(), &6.into())
        );
        assert_eq!(of_kind(&place, "started").len(), 2);
    }
}

#[test]
fn a_folder_that_refuses_keeps_its_own_rows_only() {
    let exchange = Exchange::new(&[
        ("binance.market", vec![vec![Act::Live]]),
        ("okx.public", vec![vec![Act::Live]]),
    ]);
    let (place, address) = (Place::new(), free_address());
    let endpoints = exchange.endpoints();
    let mut command = vec![
        "collect",
        "--exchange",
        "binance,okx",
        "--symbol",
        "btcusdt",
    ];
    command.extend([
        "--stream",
        "trade",
        "--commit-every",
        "5ms",
        "--listen",
        &address,
    ]);
    let command = args(&command, &endpoints);
    let publish = |child: &mut Child, ids: std::ops::RangeInclusive<u64>| {
        let number = ids.clone().count() as u64;
        let before = status(&address).map_or(0, |status| status["events"].as_u64().unwrap());
        for id in ids {
            exchange.publish(binance_trade(id));
            exchange.publish(okx_trade(id));
        }
        until(child, || {
            status(&address).is_some_and(|status| {
                status["events"].as_u64() == Some(before + 2 * number)
                    && status["journal_age_ms"] == 0
            })
        });
    };
    let mut child = place.spawn(&command, &[]);
    until(&mut child, || exchange.listening() == 2);
    publish(&mut child, 1..=20);
    kill(child, &exchange);
    let folder = place.spool().join("exchange=okx");
    fs::write(&folder, "").unwrap();
    let mut child = place.spawn(&command, &[]);
    until(&mut child, || exchange.listening() == 2);
    assert_eq!(
        trades(&place.spool(), "binance"),
        (1..=20).collect::<Vec<_>>()
    );
    until(&mut child, || {
        get(&address, "/health").is_some_and(|text| text.contains("exchange=okx"))
    });
    publish(&mut child, 21..=30);
    // It does not survive by luck.
    kill(child, &exchange);
    let mut child = place.spawn(&command, &[]);
    until(&mut child, || exchange.listening() == 2);
    publish(&mut child, 31..=40);
    let (code, said) = terminate(child);
    assert!(
        code == Some(1) && said.contains("40 rows could not be sealed and are in the journal"),
        "{code:?} {said}"
    );
    let mut child = place.spawn(&command, &[]);
    until(&mut child, || exchange.listening() == 2);
    publish(&mut child, 41..=45);
    fs::remove_file(&folder).unwrap();
    until(&mut child, || is_healthy(&address));
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    for exchange in ["binance", "okx"] {
        assert_eq!(
            trades(&place.spool(), exchange),
            (1..=45).collect::<Vec<_>>(),
            "{said}"
        );
    }
    assert_eq!(
        fs::read_dir(place.spool().join("_journal"))
            .unwrap()
            .count(),
        1
    );
    let _ = place.compact(&[]).ended(0);
    place.verify();
}

/// The segments of the log.
fn segments(place: &Place) -> Vec<PathBuf> {
    let all = fs::read_dir(place.spool().join("_journal")).unwrap();
    let mut all: Vec<PathBuf> = all.map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|e| e == "qlcj"));
    all
}

#[test]
fn a_log_that_lost_its_end_makes_no_file_again_that_was_compacted() {
    const TRADES: u64 = 400;
    let script = [binance_trades(1..=TRADES), vec![Act::Live]].concat();
    let exchange = Exchange::new(&[("binance.market", vec![script, vec![Act::Live]])]);
    let (place, address) = (Place::new(), free_address());
    let endpoints = exchange.endpoints();
    let mut command = vec!["collect", "--exchange", "binance", "--symbol", "btcusdt"];
    command.extend([
        "--stream",
        "trade",
        "--commit-every",
        "5ms",
        "--rotate-size",
        "1500",
    ]);
    command.extend(["--listen", &address]);
    let command = args(&command, &endpoints);
    let mut child = place.spawn(&command, &[]);
    until(&mut child, || {
        status(&address).is_some_and(|status| {
            status["events"] == TRADES
                && status["journal_age_ms"] == 0
                && status["files_waiting"] == 0
        })
    });
    kill(child, &exchange);
    let _ = place.compact(&[]).ended(0);
    let folder = place
        .spool()
        .join("exchange=binance/stream=trade/symbol=btcusdt");
    let mut gone = 0;
    for entry in fs::read_dir(folder).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
        gone += 1;
    }
    assert!(gone > 5, "{gone} files");
    for path in segments(&place) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 3).unwrap();
    }
    let mut child = place.spawn(&command, &[]);
    until(&mut child, || exchange.listening() == 1);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let counted = "SELECT count(*) - count(DISTINCT trade_id) AS twice FROM archive.trade";
    let rows = place.qlc(&["query", counted, "--format", "csv"]);
    assert_eq!(rows.stdout.trim(), "twice\n0", "{said}");
}

#[test]
fn no_events_are_not_a_number_to_end_after() {
    let place = Place::new();
    let command = [
        "collect",
        "--exchange",
        "okx",
        "--symbol",
        "btcusdt",
        "--max-events",
        "0",
    ];
    let _ = place.qlc(&command).ended(2).says("--max-events");
}
