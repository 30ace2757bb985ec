//! Connections that bring nothing, by right or not: what is told of them, and that feed log and
//! quality windows agree.

use std::{fs, process::Child, time::Duration};

use super::support::{
    exchange::{
        Act, Exchange, binance_mark, binance_trade, free_address, get, notes, status, terminate,
        until,
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

fn is_well(address: &str) -> bool {
    get(address, "/health").is_some_and(|text| text.starts_with("HTTP/1.1 200"))
}

/// The states of the series, by their streams.
fn states(address: &str) -> Vec<(String, String)> {
    let Some(status) = status(address) else {
        return Vec::new();
    };
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    status["feeds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|feed| (text(&feed["stream"]), text(&feed["state"])))
        .collect()
}

/// Collects quiet streams of Binance from an exchange that plays this.
fn quiet(act: Act, streams: &str, address: &str, check: impl FnOnce(&mut Child, &Exchange)) {
    let exchange = Exchange::new(&[("binance.market", vec![vec![act]])]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let command = [
        "collect",
        "--exchange",
        "binance",
        "--symbol",
        "btcusdt",
        "--stream",
        streams,
        "--listen",
        address,
    ];
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    check(&mut child, &exchange);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    let feed = notes(&place.spool(), "20");
    assert!(
        feed.iter()
            .all(|note| note["kind"] != "lost" && note["kind"] != "troubled"),
        "{feed:?}"
    );
}

#[test]
fn a_quiet_connection_is_known_to_stand_by_the_exchanges_list_of_its_topics() {
    let address = free_address();
    quiet(
        Act::List(|_| true),
        "liquidation,trade",
        &address,
        |child, exchange| {
            let acknowledged = |(_, state): &(String, String)| state == "acknowledged";
            until(child, || {
                is_well(&address) && states(&address).iter().all(acknowledged)
            });
            assert_eq!(states(&address).len(), 2);
            assert!(
                exchange.asked().is_empty(),
                "what it has is not asked for again"
            );
        },
    );
}

#[test]
fn what_is_not_in_the_exchanges_list_is_subscribed() {
    let address = free_address();
    quiet(
        Act::List(|topic| !topic.contains("forceOrder")),
        "liquidation,trade",
        &address,
        |child, exchange| {
            let acknowledged = |(_, state): &(String, String)| state == "acknowledged";
            until(child, || {
                is_well(&address) && states(&address).iter().all(acknowledged)
            });
            assert_eq!(
                exchange.asked().into_iter().collect::<Vec<_>>(),
                [("btcusdt@forceOrder".to_owned(), 1)]
            );
        },
    );
}

#[test]
fn a_quiet_connection_of_an_exchange_that_gives_no_list_is_not_down() {
    let address = free_address();
    quiet(
        Act::Wait(Duration::ZERO),
        "liquidation",
        &address,
        |child, exchange| {
            until(child, || exchange.drained() == 1 && is_well(&address));
        },
    );
}

#[test]
fn a_connection_that_answers_and_brings_nothing_of_what_comes_by_the_clock_is_down() {
    let address = free_address();
    quiet(
        Act::Wait(Duration::ZERO),
        "mark_price,liquidation",
        &address,
        |child, exchange| {
            let health = || get(&address, "/health").unwrap_or_default();
            until(child, || {
                exchange.drained() == 1 && !health().ends_with("\r\n\r\n\n")
            });
            // What is told was told after the answer to the ping.
            let begun = status(&address).unwrap()["now_ns"].as_i64();
            until(child, || {
                status(&address).is_some_and(|status| status["now_ns"].as_i64() > begun)
            });
            let health = health();
            assert!(
                health.starts_with("HTTP/1.1 503") && health.contains("binance.market/0"),
                "{health}"
            );
        },
    );
}

/// What it takes to answer a peer that reads nothing holds up neither the look for silence nor the
/// end.
#[test]
fn a_connection_that_takes_no_answers_is_given_up() {
    let trade = |id| Act::Text(binance_trade(id));
    let exchange = Exchange::new(&[("binance.market", vec![vec![trade(1), Act::Flood]])]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let command = [
        "collect",
        "--exchange",
        "binance",
        "--symbol",
        "btcusdt",
        "--stream",
        "trade",
        "--silence",
        "2s",
    ];
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    let lost = || {
        notes(&place.spool(), "20")
            .iter()
            .any(|note| note["kind"] == "lost")
    };
    until(&mut child, || {
        lost() && exchange.connections("binance.market") > 1
    });
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
}

/// Times, each with its end.
type Times = Vec<(i64, i64)>;

/// Times without a connection: as the feed log has them, and as the quality windows do.
fn offline(place: &Place) -> (Times, Times) {
    let feed = notes(&place.spool(), "20");
    let lines = feed
        .iter()
        .filter(|note| note["kind"] == "offline" && note["line"].is_string());
    let told: Vec<(i64, i64)> = lines
        .map(|note| {
            (
                note["from_ns"].as_i64().unwrap(),
                note["to_ns"].as_i64().unwrap(),
            )
        })
        .collect();
    let mut windows = Vec::new();
    for day in fs::read_dir(place.spool().join("quality")).unwrap() {
        for file in fs::read_dir(day.unwrap().path()).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            let tally: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
            let times: Vec<(i64, i64)> =
                serde_json::from_value(tally["offline_ns"].clone()).unwrap_or_default();
            let counted = Duration::from_secs_f64(tally["offline_seconds"].as_f64().unwrap());
            let listed = Duration::from_nanos(
                times
                    .iter()
                    .map(|(from, to)| (to - from).unsigned_abs())
                    .sum(),
            );
            assert!(
                counted.abs_diff(listed) <= Duration::from_millis(1),
                "{tally}"
            );
            windows.extend(times);
        }
    }
    (joined(told), joined(windows))
}

/// Times that touch each other are one: a time lies in two windows where it crosses the end of one,
/// and two losses may follow each other closely.
fn joined(mut times: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    times.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in times {
        match joined.last_mut() {
            Some(last) if last.1 >= from => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

#[test]
fn quality_windows_tell_the_time_before_a_loss_was_noticed() {
    let mute = vec![Act::Text(binance_mark(1)), Act::Mute];
    let exchange = Exchange::new(&[(
        "binance.market",
        vec![mute, vec![Act::Text(binance_mark(2)), Act::Live]],
    )]);
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
    command.extend(["--retry-cap", "20ms", "--silence", "2s"]);
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
    let (told, windows) = offline(&place);
    assert_eq!(told, windows, "{said}");
    assert!(
        told.iter().any(|(from, to)| to - from >= 2_000_000_000),
        "from the last word, not from when its absence was noticed: {told:?}"
    );
}

#[test]
fn quality_windows_tell_the_time_without_a_collector() {
    let exchange = Exchange::new(&[("binance.market", vec![vec![Act::Live]])]);
    let place = Place::new();
    let (endpoints, address) = (exchange.endpoints(), free_address());
    let command = [
        "collect",
        "--exchange",
        "binance",
        "--symbol",
        "btcusdt",
        "--stream",
        "trade",
        "--listen",
        &address,
    ];
    let command = args(&command, &endpoints);
    let mut killed = None;
    for run in 0..3 {
        let mut child = place.spawn(&command, &[]);
        until(&mut child, || {
            exchange.connections("binance.market") == run + 1 && exchange.listening() == 1
        });
        exchange.publish(binance_trade(run as u64 + 1));
        until(&mut child, || {
            status(&address)
                .is_some_and(|status| status["journal_age_ms"] == 0 && status["events"] == 1)
        });
        if run < 2 {
            child.kill().unwrap();
            let _ = child.wait().unwrap();
            let now = || {
                std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap()
            };
            let _ = killed.get_or_insert_with(|| i64::try_from(now().as_nanos()).unwrap());
            std::thread::sleep(Duration::from_millis(700));
        } else {
            let (code, said) = terminate(child);
            assert_eq!(code, Some(0), "{said}");
        }
    }
    let (told, windows) = offline(&place);
    let downtime =
        |(from, to): &&(i64, i64)| *from <= killed.unwrap() && *to - *from >= 700_000_000;
    assert!(told.iter().any(|time| downtime(&time)), "{told:?}");
    // What the very first connection took may be in no window yet when the process is killed.
    let since = killed.unwrap();
    let later = |times: Times| -> Times {
        times
            .into_iter()
            .filter(|(_, to)| *to > since)
            .map(|(from, to)| (from.max(since), to))
            .collect()
    };
    assert_eq!(later(told), later(windows));
}
