//! What exchanges list: patterns that follow the lists, series that end and begin again,
//! instruments, liquidations, names of any script; and the ways there, by proxies.

use std::fs;

use arrow::{array::AsArray, datatypes::Float64Type};
use serde_json::Value;

use super::support::{
    exchange::{
        Act, DAY_MS, Exchange, binance_mark, ended, files, free_address, get, notes, okx_trade,
        status, terminate, until,
    },
    rest::{Proxy, Rest},
    run::Place,
};

fn args<'a>(before: &[&'a str], endpoints: &'a [String]) -> Vec<&'a str> {
    before
        .iter()
        .copied()
        .chain(endpoints.iter().map(String::as_str))
        .collect()
}

/// An OKX that answers and sends trades, and the list of its instruments.
fn okx() -> (Exchange, Rest, Vec<String>) {
    let none: fn(&str, usize) -> bool = |_, _| false;
    let exchange = Exchange::new(&[("okx.public", vec![vec![Act::Answer(none)]])]);
    let rest = Rest::new();
    let endpoints = exchange
        .endpoints()
        .into_iter()
        .chain(rest.endpoint("okx.rest"))
        .collect();
    (exchange, rest, endpoints)
}

fn state(address: &str, symbol: &str) -> Option<String> {
    let status = status(address)?;
    let feed = status["feeds"]
        .as_array()?
        .iter()
        .find(|feed| feed["symbol"] == symbol)?
        .clone();
    Some(feed["state"].as_str()?.to_owned())
}

fn of_series<'a>(notes: &'a [Value], kind: &str) -> Vec<&'a str> {
    notes
        .iter()
        .filter(|note| note["kind"] == kind)
        .filter_map(|note| note["series"].as_str())
        .collect()
}

fn is_healthy(address: &str) -> bool {
    get(address, "/health").is_some_and(|text| text.starts_with("HTTP/1.1 200"))
}

#[test]
fn a_pattern_follows_the_list_without_a_restart() {
    let (_exchange, rest, endpoints) = okx();
    rest.okx(&[
        "BTC-USDT-SWAP",
        "ETH-USDT-SWAP",
        "BTC-USD-SWAP",
        "BTC-USDT-261225",
    ]);
    let (place, address) = (Place::new(), free_address());
    let mut command = vec![
        "collect",
        "--exchange",
        "okx",
        "--symbol",
        "*usdt",
        "--stream",
        "trade",
    ];
    command.extend(["--relist-every", "100ms", "--listen", &address]);
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    let is = |symbol: &str, wanted: &str| state(&address, symbol).as_deref() == Some(wanted);
    until(&mut child, || {
        is("btcusdt", "receiving") && is("ethusdt", "receiving")
    });
    assert_eq!(
        status(&address).unwrap()["feeds"].as_array().unwrap().len(),
        2
    );
    rest.okx(&["SOL-USDT-SWAP", "ETH-USDT-SWAP"]);
    until(&mut child, || {
        is("btcusdt", "ended") && is("solusdt", "receiving") && is_healthy(&address)
    });
    // What was open of it is sealed, and nothing of it is expected.
    let sealed = place
        .spool()
        .join("exchange=okx/stream=trade/symbol=btcusdt");
    until(&mut child, || {
        fs::read_dir(&sealed).is_ok_and(|found| found.count() > 0)
    });
    rest.okx(&["SOL-USDT-SWAP", "ETH-USDT-SWAP", "BTC-USDT-SWAP"]);
    until(&mut child, || is("btcusdt", "receiving"));
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    let feed = notes(&place.spool(), "20");
    assert_eq!(of_series(&feed, "series ended"), ["okx/trade/btcusdt"]);
    assert_eq!(
        of_series(&feed, "series listed"),
        ["okx/trade/solusdt", "okx/trade/btcusdt"]
    );
    assert_eq!(of_series(&feed, "troubled"), Vec::<&str>::new());
    for symbol in ["btcusdt", "ethusdt", "solusdt"] {
        let folder = place
            .spool()
            .join(format!("exchange=okx/stream=trade/symbol={symbol}"));
        assert!(fs::read_dir(&folder).unwrap().count() > 0, "{symbol}");
    }
}

#[test]
fn half_a_list_ends_nothing_at_once() {
    let (_exchange, rest, endpoints) = okx();
    let all: Vec<String> = (0..20).map(|n| format!("C{n}-USDT-SWAP")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    rest.okx(&all);
    let (place, address) = (Place::new(), free_address());
    let mut command = vec![
        "collect",
        "--exchange",
        "okx",
        "--symbol",
        "all",
        "--stream",
        "trade",
    ];
    command.extend(["--relist-every", "50ms", "--listen", &address]);
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    until(&mut child, || {
        state(&address, "c19usdt").as_deref() == Some("receiving")
    });
    let swaps = "/api/v5/public/instruments?instType=SWAP";
    let before = rest.asked(swaps);
    until(&mut child, || rest.asked(swaps) > before + 2);
    // Read once, it is not believed; an empty one never is.
    rest.set(swaps, r#"{"code":"0","data":[],"msg":""}"#.to_owned());
    let before = rest.asked(swaps);
    until(&mut child, || rest.asked(swaps) > before + 4);
    assert_eq!(status(&address).unwrap()["series"]["ended"], 0);
    rest.okx(&all[..3]);
    until(&mut child, || {
        status(&address).is_some_and(|status| status["series"]["ended"] == 17)
    });
    let (code, said) = terminate(child);
    assert!(code == Some(0) && said.contains("not believed"), "{said}");
}

#[test]
fn a_name_that_is_in_no_list_is_a_mistake_unless_it_was_collected_before() {
    let (exchange, rest, endpoints) = okx();
    rest.okx(&["BTC-USDT-SWAP"]);
    let place = Place::new();
    let command = [
        "collect",
        "--exchange",
        "okx",
        "--symbol",
        "btcusdt,btccusdt",
        "--stream",
        "trade",
    ];
    let _ = place
        .qlc(&args(&command, &endpoints))
        .ended(2)
        .says("okx lists no btccusdt (it lists BTC-USDT-SWAP)");
    assert_eq!(
        fs::read_dir(place.spool()).unwrap().count(),
        1,
        "only the list is kept"
    );
    assert_eq!(exchange.connections("okx.public"), 0);
    // A restart after a contract was delisted collects the others.
    fs::create_dir_all(
        place
            .spool()
            .join("exchange=okx/stream=trade/symbol=btccusdt"),
    )
    .unwrap();
    let mut child = place.spawn(
        &args(&[&command[..], &["--max-events", "5"]].concat(), &endpoints),
        &[],
    );
    until(&mut child, || exchange.connections("okx.public") == 1);
    let (code, said) = ended(child);
    assert!(
        code == Some(0) && said.contains("okx lists btccusdt no more"),
        "{said}"
    );
    assert_eq!(
        exchange.asked().into_keys().collect::<Vec<_>>(),
        ["trades BTC-USDT-SWAP"]
    );
}

#[test]
fn a_list_of_an_earlier_run_serves_where_the_exchange_gives_none() {
    let (exchange, rest, endpoints) = okx();
    let place = Place::new();
    let command = [
        "collect",
        "--exchange",
        "okx",
        "--symbol",
        "all",
        "--stream",
        "trade",
        "--max-events",
        "5",
    ];
    let _ = place
        .qlc(&args(&command, &endpoints))
        .ended(1)
        .says("needs the list of instruments of okx");
    rest.okx(&["BTC-USDT-SWAP"]);
    let (code, said) = ended(place.spawn(&args(&command, &endpoints), &[]));
    assert_eq!(code, Some(0), "{said}");
    rest.set(
        "/api/v5/public/instruments?instType=SWAP",
        "<html>".to_owned(),
    );
    let (code, said) = ended(place.spawn(&args(&command, &endpoints), &[]));
    assert!(
        code == Some(0) && said.contains("the one of an earlier run is used"),
        "{said}"
    );
    assert_eq!(exchange.connections("okx.public"), 2);
}

#[test]
fn instruments_liquidations_and_polled_open_interest_are_collected() {
    let t = DAY_MS + 5000;
    let liquidation = format!(
        r#"{{"stream":"btcusdt@forceOrder","data":{{"e":"forceOrder","E":{t},"o":{{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.5","p":"9910","ap":"9912","X":"FILLED","l":"0.5","z":"0.5","T":{t}}}}}}}"#
    );
    let exchange = Exchange::new(&[(
        "binance.market",
        vec![vec![Act::Text(liquidation), Act::Live]],
    )]);
    let rest = Rest::new();
    rest.set(
        "/fapi/v1/exchangeInfo",
        r#"{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","filters":[{"filterType":"PRICE_FILTER","tickSize":"0.10"},{"filterType":"LOT_SIZE","stepSize":"0.001"}]}]}"#.to_owned(),
    );
    let interest = "/fapi/v1/openInterest?symbol=BTCUSDT";
    rest.set(
        interest,
        format!(r#"{{"openInterest":"10659.5","symbol":"BTCUSDT","time":{t}}}"#),
    );
    let endpoints: Vec<String> = exchange
        .endpoints()
        .into_iter()
        .chain(rest.endpoint("binance.rest"))
        .collect();
    let (place, address) = (Place::new(), free_address());
    let mut command = vec![
        "collect",
        "--exchange",
        "binance",
        "--symbol",
        "btcusdt",
        "--relist-every",
        "100ms",
    ];
    command.extend([
        "--stream",
        "liquidation,open_interest,instrument",
        "--listen",
        &address,
    ]);
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    let came = |stream: &str| {
        let feeds = status(&address)
            .and_then(|status| status["feeds"].as_array().cloned())
            .unwrap_or_default();
        feeds
            .iter()
            .any(|feed| feed["stream"] == stream && feed["events"].as_u64() > Some(0))
    };
    until(&mut child, || {
        ["liquidation", "open_interest", "instrument"]
            .iter()
            .all(|stream| came(stream))
    });
    until(&mut child, || is_healthy(&address));
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    let value = |stream: &str, column: &str| {
        let all = files(&place.spool(), "binance", stream);
        let batch = &all.values().next().unwrap().batch;
        batch
            .column_by_name(column)
            .unwrap()
            .as_primitive::<Float64Type>()
            .value(0)
    };
    let check = |stream: &str, column: &str, want: f64| {
        assert!(
            (value(stream, column) - want).abs() < 1e-12,
            "{stream} {column}"
        );
    };
    check("liquidation", "price", 9910.0);
    check("liquidation", "average_price", 9912.0);
    check("open_interest", "open_interest", 10_659.5);
    check("instrument", "tick_size", 0.1);
    check("instrument", "lot_size", 0.001);
    check("instrument", "contract_value", 1.0);
    let all = files(&place.spool(), "binance", "instrument");
    let batch = &all.values().next().unwrap().batch;
    assert_eq!(
        batch
            .column_by_name("trading_status")
            .unwrap()
            .as_string::<i32>()
            .value(0),
        "TRADING"
    );
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let query = "SELECT side, qty FROM archive.liquidation";
    let got = place
        .qlc(&["query", "--format", "ndjson", query])
        .ended(0)
        .stdout;
    assert_eq!(got.trim(), r#"{"side":-1,"qty":0.5}"#);
}

#[test]
fn an_exchange_that_refuses_requests_is_a_trouble_and_is_asked_again() {
    let rest = Rest::new();
    let exchange = Exchange::new(&[(
        "binance.market",
        vec![vec![Act::Text(binance_mark(1)), Act::Live]],
    )]);
    let endpoints: Vec<String> = exchange
        .endpoints()
        .into_iter()
        .chain(rest.endpoint("binance.rest"))
        .collect();
    let (place, address) = (Place::new(), free_address());
    let mut command = vec![
        "collect",
        "--exchange",
        "binance",
        "--symbol",
        "btcusdt",
        "--stream",
        "open_interest",
    ];
    command.extend(["--retry-cap", "20ms", "--listen", &address]);
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    until(&mut child, || {
        get(&address, "/health").is_some_and(|text| text.contains("btcusdt: refused: 404"))
    });
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_symbol_of_any_script_goes_from_the_command_line_to_the_archive() {
    let none: fn(&str, usize) -> bool = |_, _| false;
    let exchange = Exchange::new(&[("bybit.linear", vec![vec![Act::Answer(none)]])]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let command = [
        "collect",
        "--exchange",
        "bybit",
        "--symbol",
        "币安人生usdt",
        "--stream",
        "trade",
        "--max-events",
        "5",
    ];
    let (code, said) = ended(place.spawn(&args(&command, &endpoints), &[]));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        exchange.asked().into_keys().collect::<Vec<_>>(),
        ["publicTrade.币安人生USDT"]
    );
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let query = "SELECT symbol, count(*) AS n FROM archive.trade GROUP BY symbol";
    let got = place
        .qlc(&["query", "--format", "ndjson", query])
        .ended(0)
        .stdout;
    assert_eq!(got.trim(), r#"{"symbol":"币安人生usdt","n":5}"#);
    let selected = place.qlc(&[
        "status",
        "--symbol",
        "币安人生usdt",
        "--start",
        "20260203",
        "--end",
        "20260203",
    ]);
    let _ = selected.ended(0).says("币安人生usdt");
}

#[test]
fn a_collector_goes_through_its_proxy() {
    for socks in [false, true] {
        let script = vec![Act::Text(okx_trade(1)), Act::Text(okx_trade(2)), Act::Live];
        let exchange = Exchange::new(&[("okx.public", vec![script])]);
        let proxy = Proxy::new(exchange.address(), socks);
        let place = Place::new();
        let url = if socks {
            format!("socks5://{}", proxy.address)
        } else {
            format!("http://me:pass@{}", proxy.address)
        };
        let command = [
            "collect",
            "--exchange",
            "okx",
            "--symbol",
            "btcusdt",
            "--stream",
            "trade",
            "--max-events",
            "2",
        ];
        let moved = [
            "--endpoint".to_owned(),
            "okx.public=ws://okx.test:8443/okx.public".to_owned(),
        ];
        let variable = if socks { "ALL_PROXY" } else { "HTTP_PROXY" };
        let (code, said) = ended(place.spawn(&args(&command, &moved), &[(variable, &url)]));
        assert_eq!(code, Some(0), "{said}");
        let by = if socks {
            "nobody"
        } else {
            "Basic bWU6cGFzcw=="
        };
        assert_eq!(
            proxy.asked.lock().unwrap()[..],
            [format!("okx.test:8443 by {by}")]
        );
        assert_eq!(files(&place.spool(), "okx", "trade").len(), 1);
    }
}

#[test]
fn the_status_server_knows_its_name_and_is_not_held_up() {
    use std::io::{Read, Write};
    let exchange = Exchange::new(&[("okx.public", vec![vec![Act::Text(okx_trade(1)), Act::Live]])]);
    let (place, address) = (Place::new(), free_address());
    let endpoints = exchange.endpoints();
    let command = [
        "collect",
        "--exchange",
        "okx",
        "--symbol",
        "btcusdt",
        "--stream",
        "trade",
        "--listen",
        &address,
    ];
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    until(&mut child, || is_healthy(&address));
    let ask = |host: &str| {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "GET /status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(
        ask("localhost:1").starts_with("HTTP/1.1 200") && ask(&address).starts_with("HTTP/1.1 200")
    );
    let refused = ask("rebound.example");
    assert!(
        refused.starts_with("HTTP/1.1 421") && !refused.contains("feeds"),
        "{refused}"
    );
    // Clients that begin a request and never end it: they are let go, and the next one is served.
    let held: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(&address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: local").unwrap();
            stream
        })
        .collect();
    assert!(ask("localhost").starts_with("HTTP/1.1 200"));
    drop(held);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_recording_tells_its_cuts_and_is_rotated_and_played_as_one() {
    let script = |ids: std::ops::RangeInclusive<u64>, last: Act| {
        let trades = ids.flat_map(|id| {
            [
                Act::Text(okx_trade(id)),
                Act::Wait(std::time::Duration::from_millis(30)),
            ]
        });
        trades.chain([last]).collect::<Vec<_>>()
    };
    let exchange = Exchange::new(&[(
        "okx.public",
        vec![script(1..=10, Act::Close), script(11..=20, Act::Live)],
    )]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let mut command = vec![
        "record",
        "--exchange",
        "okx",
        "--symbol",
        "btcusdt",
        "--stream",
        "trade",
    ];
    command.extend([
        "--max-frames",
        "20",
        "--rotate-after",
        "50ms",
        "rec.ndjson.zst",
    ]);
    let _ = place
        .qlc(&args(&command, &endpoints))
        .ended(0)
        .says("20 frames in")
        .says("1 cut");
    let mut names: Vec<String> = fs::read_dir(place.root())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name.starts_with("rec"));
    assert!(
        names.len() > 2 && names.contains(&"rec-2.ndjson.zst".to_owned()),
        "{names:?}"
    );
    names.sort_by_key(|name| {
        name.trim_start_matches("rec-")
            .split('.')
            .next()
            .and_then(|n| n.parse::<u32>().ok())
            .unwrap_or(1)
    });
    let text: String = names
        .iter()
        .map(|name| {
            String::from_utf8(
                zstd::decode_all(fs::File::open(place.root().join(name)).unwrap()).unwrap(),
            )
            .unwrap()
        })
        .collect();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let cut = lines
        .iter()
        .position(|line| line["cut"] == "closed by the exchange")
        .unwrap();
    assert_eq!((lines.len(), cut), (21, 10));

    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let replay = [
        &["replay"],
        &names[..],
        &["--listen", "127.0.0.1:0", "--speed", "max"],
    ]
    .concat();
    let mut server = place.spawn(&replay, &[]);
    let mut line = String::new();
    let mut out = std::io::BufReader::new(server.stdout.take().unwrap());
    let _ = std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert!(line.starts_with("20 frames"), "{line}");
    let endpoint = line.trim().rsplit(' ').next().unwrap().to_owned();
    let command = [
        "collect",
        "--exchange",
        "okx",
        "--symbol",
        "btcusdt",
        "--stream",
        "trade",
        "--max-events",
        "20",
    ];
    let (code, said) =
        ended(place.spawn(&args(&command, &["--endpoint".to_owned(), endpoint]), &[]));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        super::support::exchange::trades(&place.spool(), "okx"),
        (1..=20).collect::<Vec<_>>()
    );
    assert_eq!(terminate(server).0, Some(0));
}
