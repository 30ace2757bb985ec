//! Each series by itself: what an exchange refuses, forgets or stops sending is told of that
//! series, and tried again.

use std::time::Duration;

use super::support::{
    exchange::{
        Act, Exchange, binance_mark, files, free_address, get, notes, status, terminate, until,
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

/// What the status says of a series: its state, and whether it is well.
fn state(address: &str, symbol: &str) -> Option<(String, bool)> {
    let status = status(address)?;
    let feed = status["feeds"]
        .as_array()?
        .iter()
        .find(|feed| feed["symbol"] == symbol)?
        .clone();
    Some((
        feed["state"].as_str()?.to_owned(),
        feed["trouble"].is_null(),
    ))
}

#[test]
fn an_unknown_topic_costs_no_other_series_and_is_told() {
    let unknown: fn(&str, usize) -> bool = |topic, _| topic.contains("NOPE");
    let exchange = Exchange::new(&[("bybit.linear", vec![vec![Act::Answer(unknown)]])]);
    let place = Place::new();
    let (endpoints, address) = (exchange.endpoints(), free_address());
    let symbols = ["aaausdt", "bbbusdt", "nopeusdt", "cccusdt"];
    let joined = symbols.join(",");
    let command = [
        "collect",
        "--exchange",
        "bybit",
        "--symbol",
        &joined,
        "--stream",
        "trade",
        "--listen",
        &address,
    ];
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    let good = |symbol: &&str| **symbol != *"nopeusdt";
    until(&mut child, || {
        let receiving =
            |symbol: &&str| state(&address, symbol) == Some(("receiving".to_owned(), true));
        symbols.iter().filter(|s| good(s)).all(receiving)
            && state(&address, "nopeusdt") == Some(("refused".to_owned(), false))
    });
    // It is asked for again, by itself.
    until(&mut child, || {
        exchange
            .asked()
            .get("publicTrade.NOPEUSDT")
            .is_some_and(|times| *times >= 2)
    });
    let health = get(&address, "/health").unwrap();
    assert!(
        health.starts_with("HTTP/1.1 503") && health.contains("bybit/trade/nopeusdt: refused"),
        "{health}"
    );
    let metrics = get(&address, "/metrics").unwrap();
    for want in [
        "qlc_collect_series_troubled{exchange=\"bybit\",stream=\"trade\",symbol=\"nopeusdt\"} 1\n",
        "qlc_collect_series{state=\"receiving\"} 3\n",
    ] {
        assert!(metrics.contains(want), "{want} is not in\n{metrics}");
    }
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    let troubled: Vec<_> = notes(&place.spool(), "20")
        .into_iter()
        .filter(|note| note["kind"] == "troubled")
        .collect();
    assert!(
        troubled.len() == 1 && troubled[0]["series"] == "bybit/trade/nopeusdt",
        "{troubled:?}"
    );
    let asked = exchange.asked();
    assert!(
        symbols
            .iter()
            .filter(|s| good(s))
            .all(|s| asked[&format!("publicTrade.{}", s.to_uppercase())] == 1)
    );
}

#[test]
fn what_is_refused_once_is_asked_for_again() {
    let once: fn(&str, usize) -> bool = |topic, times| topic.contains("ETH") && times == 1;
    let exchange = Exchange::new(&[("okx.public", vec![vec![Act::Answer(once)]])]);
    let place = Place::new();
    let (endpoints, address) = (exchange.endpoints(), free_address());
    let command = [
        "collect",
        "--exchange",
        "okx",
        "--symbol",
        "btcusdt,ethusdt",
        "--stream",
        "trade",
        "--listen",
        &address,
    ];
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    until(&mut child, || {
        state(&address, "ethusdt") == Some(("refused".to_owned(), false))
    });
    until(&mut child, || {
        state(&address, "ethusdt") == Some(("receiving".to_owned(), true))
    });
    until(&mut child, || {
        get(&address, "/health").is_some_and(|text| text.starts_with("HTTP/1.1 200"))
    });
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(exchange.connections("okx.public"), 1);
    assert_eq!(exchange.asked()["trades ETH-USDT-SWAP"], 2);
    assert_eq!(exchange.asked()["trades BTC-USDT-SWAP"], 1);
    let feed = notes(&place.spool(), "20");
    let of = |kind: &str| feed.iter().filter(|note| note["kind"] == kind).count();
    assert!(of("troubled") == 1 && of("notice") == 1, "{feed:?}");
    let offline = feed
        .iter()
        .find(|note| note["kind"] == "offline" && note["series"] == "okx/trade/ethusdt");
    assert!(
        offline.is_some_and(|note| note["seconds"].as_f64().unwrap() > 0.0),
        "{feed:?}"
    );
}

#[test]
fn a_connection_that_answers_and_brings_nothing_is_given_up() {
    // When the script has ended, the server answers pings and does nothing else.
    let scripts = vec![
        vec![Act::Text(binance_mark(1))],
        vec![Act::Text(binance_mark(2)), Act::Live],
    ];
    let exchange = Exchange::new(&[("binance.market", scripts)]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let mut command = vec![
        "collect",
        "--exchange",
        "binance",
        "--symbol",
        "btcusdt",
        "--stream",
        "mark_price",
    ];
    command.extend(["--retry-cap", "20ms", "--silence", "3s"]);
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    until(&mut child, || exchange.listening() == 1);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    let lost: Vec<_> = notes(&place.spool(), "20")
        .into_iter()
        .filter(|note| note["kind"] == "lost")
        .collect();
    assert!(
        lost[0]["reason"].as_str().unwrap().contains("no data"),
        "{lost:?}"
    );
    let rows: usize = files(&place.spool(), "binance", "mark_price")
        .values()
        .map(|file| file.batch.num_rows())
        .sum();
    assert_eq!(rows, 2);
}

#[test]
fn a_hole_before_the_successor_stands_is_on_record() {
    let notice = r#"{"event":"notice","code":"64008","msg":"The connection will soon be closed.","connId":"a"}"#;
    let trade = |id| Act::Text(super::support::exchange::okx_trade(id));
    let first = vec![
        trade(1),
        Act::Text(notice.to_owned()),
        Act::Wait(Duration::from_millis(50)),
        Act::Close,
    ];
    let second = vec![Act::Wait(Duration::from_secs(1)), trade(2), Act::Live];
    let exchange = Exchange::new(&[("okx.public", vec![first, second])]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let command = [
        "collect",
        "--exchange",
        "okx",
        "--symbol",
        "btcusdt",
        "--stream",
        "trade",
    ];
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    until(&mut child, || exchange.listening() == 1);
    until(&mut child, || {
        notes(&place.spool(), "20")
            .iter()
            .filter(|note| note["kind"] == "offline")
            .count()
            == 2
    });
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    let feed = notes(&place.spool(), "20");
    assert_eq!(
        feed.iter().filter(|note| note["kind"] == "lost").count(),
        1,
        "{feed:?}"
    );
    let offline = feed.iter().rfind(|note| note["kind"] == "offline").unwrap();
    assert!(offline["seconds"].as_f64().unwrap() >= 0.9, "{feed:?}");
}

#[test]
fn an_exchange_that_wants_to_be_left_alone_is() {
    let scripts = vec![
        vec![Act::TooMany(2)],
        vec![Act::Text(binance_mark(1)), Act::Live],
    ];
    let exchange = Exchange::new(&[("binance.market", scripts)]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let mut command = vec![
        "collect",
        "--exchange",
        "binance",
        "--symbol",
        "btcusdt",
        "--stream",
        "mark_price",
    ];
    command.extend(["--retry-cap", "20ms"]);
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    until(&mut child, || exchange.listening() == 1);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    let dialled = exchange.dialled();
    assert_eq!(dialled.len(), 2);
    assert!(
        dialled[1] - dialled[0] >= Duration::from_millis(1900),
        "{:?}",
        dialled[1] - dialled[0]
    );
}

#[test]
fn connections_are_dialled_in_turn() {
    let none: fn(&str, usize) -> bool = |_, _| false;
    let exchange = Exchange::new(&[("okx.public", vec![vec![Act::Answer(none)]])]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let symbols: Vec<String> = (0..250).map(|n| format!("c{n}usdt")).collect();
    let symbols = symbols.join(",");
    let command = [
        "collect",
        "--exchange",
        "okx",
        "--symbol",
        &symbols,
        "--stream",
        "bbo,trade",
    ];
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    until(&mut child, || exchange.connections("okx.public") == 5);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    let dialled = exchange.dialled();
    assert!(
        dialled
            .windows(4)
            .all(|four| four[3] - four[0] >= Duration::from_millis(950)),
        "{dialled:?}"
    );
}
