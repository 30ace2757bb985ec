//! The collector against exchanges that misbehave: what was sent is in the spool, or the record
//! says that it is not.

use std::fs;

use arrow::{
    array::{Array, AsArray},
    datatypes::{Float64Type, Int8Type, Int32Type, Int64Type},
};

use super::support::{
    archive::{dir, published},
    exchange::{
        Act, DAY_MS, Exchange, binance_trade, binance_trades, ended, files, free_address, get,
        notes, okx_trade, terminate, trades, until,
    },
    faulty,
    run::Place,
};

const BINANCE: [&str; 9] = [
    "collect",
    "--exchange",
    "binance",
    "--symbol",
    "btcusdt",
    "--retry-cap",
    "20ms",
    "--commit-every",
    "20ms",
];

fn args<'a>(before: &[&'a str], exchange: &'a [String]) -> Vec<&'a str> {
    before
        .iter()
        .copied()
        .chain(exchange.iter().map(String::as_str))
        .collect()
}

fn texts(frames: &[String]) -> Vec<Act> {
    frames
        .iter()
        .map(|frame| Act::Text(frame.clone()))
        .collect()
}

fn of_kind<'a>(notes: &'a [serde_json::Value], kind: &str) -> Vec<&'a serde_json::Value> {
    notes.iter().filter(|note| note["kind"] == kind).collect()
}

/// The exchanges' own numbers stand in the archive.
fn the_exchanges_numbers_are_archived(place: &Place) {
    let streams = ["bbo", "trade", "mark_price", "funding", "open_interest"];
    let numbers = |exchange: &str, stream: &str| {
        let batch = published(
            &place.archive(),
            &dir(exchange, stream, "btcusdt", "20260203"),
        )
        .data
        .batch;
        assert!(
            batch
                .column_by_name("stream_version")
                .unwrap()
                .as_primitive::<Int8Type>()
                .values()
                .iter()
                .all(|v| *v == 2)
        );
        assert!(
            batch
                .column_by_name("sub_seq")
                .unwrap()
                .as_primitive::<Int32Type>()
                .values()
                .iter()
                .all(|n| *n == 0)
        );
        batch
            .column_by_name("seq")
            .unwrap()
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    };
    assert_eq!(
        streams[..4]
            .iter()
            .map(|s| numbers("binance", s))
            .collect::<Vec<_>>(),
        [[7], [1], [0], [0]]
    );
    let trades = published(
        &place.archive(),
        &dir("binance", "trade", "btcusdt", "20260203"),
    )
    .data;
    let id = |name: &str| {
        trades
            .batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Int64Type>()
            .value(0)
    };
    assert_eq!((id("first_id"), id("last_id")), (1, 1));
    assert_eq!(
        streams.map(|s| numbers("bybit", s)),
        [vec![6], vec![6], vec![1, 2], vec![1], vec![1]]
    );
    assert_eq!(
        streams.map(|s| numbers("okx", s)),
        [[3], [9], [0], [0], [0]]
    );
}

#[test]
fn every_stream_of_every_exchange_ends_in_the_archive() {
    let t = DAY_MS + 1000;
    let quote = format!(
        r#"{{"stream":"btcusdt@bookTicker","data":{{"e":"bookTicker","u":7,"s":"BTCUSDT","b":"1.5","B":"2","a":"1.6","A":"3","T":{t},"E":{t}}}}}"#
    );
    let mark = format!(
        r#"{{"stream":"btcusdt@markPrice@1s","data":{{"e":"markPriceUpdate","E":{t},"s":"BTCUSDT","p":"1.5","i":"1.4","P":"1","r":"-0.0001","T":{t}}}}}"#
    );
    let bybit = [
        r#"{"success":true,"ret_msg":"","conn_id":"x","op":"subscribe"}"#.to_owned(),
        format!(
            r#"{{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":{t},"data":{{"s":"BTCUSDT","b":[["1.5","2"]],"a":[],"u":5,"seq":6}},"cts":{t}}}"#
        ),
        format!(
            r#"{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":{t},"data":[{{"T":{t},"s":"BTCUSDT","S":"Sell","v":"1","p":"1.5","i":"77","seq":6}}]}}"#
        ),
        format!(
            r#"{{"topic":"tickers.BTCUSDT","type":"snapshot","data":{{"symbol":"BTCUSDT","markPrice":"1.5","indexPrice":"1.4","openInterest":"10","nextFundingTime":"{t}","fundingRate":"0.1"}},"cs":1,"ts":{t}}}"#
        ),
        format!(
            r#"{{"topic":"tickers.BTCUSDT","type":"delta","data":{{"symbol":"BTCUSDT","markPrice":"1.6"}},"cs":2,"ts":{}}}"#,
            t + 1
        ),
    ];
    let okx = |channel: &str, id: &str, data: &str| {
        format!(r#"{{"arg":{{"channel":"{channel}","instId":"{id}"}},"data":[{data}]}}"#)
    };
    let swap = "BTC-USDT-SWAP";
    let okx = [
        okx(
            "bbo-tbt",
            swap,
            &format!(
                r#"{{"asks":[["1.6","1","0","1"]],"bids":[["1.5","1","0","1"]],"ts":"{t}","seqId":3}}"#
            ),
        ),
        okx(
            "trades",
            swap,
            &format!(
                r#"{{"instId":"{swap}","tradeId":"9","px":"1.5","sz":"1","side":"buy","ts":"{t}"}}"#
            ),
        ),
        okx(
            "index-tickers",
            "BTC-USDT",
            &format!(r#"{{"instId":"BTC-USDT","idxPx":"1.4","ts":"{t}"}}"#),
        ),
        okx(
            "mark-price",
            swap,
            &format!(r#"{{"instId":"{swap}","markPx":"1.5","ts":"{t}"}}"#),
        ),
        okx(
            "funding-rate",
            swap,
            &format!(
                r#"{{"fundingRate":"0.1","fundingTime":"{t}","nextFundingTime":"","instId":"{swap}","ts":"{t}"}}"#
            ),
        ),
        okx(
            "open-interest",
            swap,
            &format!(r#"{{"instId":"{swap}","oi":"5","ts":"{t}"}}"#),
        ),
    ];
    let exchange = Exchange::new(&[
        ("binance.public", vec![texts(&[quote])]),
        ("binance.market", vec![texts(&[binance_trade(1), mark])]),
        ("bybit.linear", vec![texts(&bybit)]),
        ("okx.public", vec![texts(&okx)]),
    ]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let wanted = [
        "collect",
        "--exchange",
        "binance,bybit,okx",
        "--symbol",
        "btcusdt",
        "--stream",
        "bbo,trade,mark_price,funding,open_interest",
    ];
    let mut child = place.spawn(&args(&wanted, &endpoints), &[]);
    until(&mut child, || exchange.drained() == 4);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("15 events") && said.contains("open_interest of binance is left out"),
        "{said}"
    );

    let _ = place.compact(&[]).ended(0);
    place.verify();
    let rows = |exchange: &str, stream: &str| {
        let path =
            format!("exchange={exchange}/stream={stream}/symbol=btcusdt/date=20260203/meta.json");
        let meta = fs::read(place.archive().join(path)).ok()?;
        serde_json::from_slice::<serde_json::Value>(&meta).unwrap()["row_count"].as_u64()
    };
    let streams = ["bbo", "trade", "mark_price", "funding", "open_interest"];
    assert_eq!(
        streams.map(|s| rows("binance", s)),
        [Some(1), Some(1), Some(1), Some(1), None]
    );
    assert_eq!(
        streams.map(|s| rows("bybit", s)),
        [Some(1), Some(1), Some(2), Some(1), Some(1)]
    );
    assert_eq!(streams.map(|s| rows("okx", s)), [Some(1); 5]);
    let file = files(&place.spool(), "bybit", "mark_price")
        .into_values()
        .next()
        .unwrap();
    let column = |name: &str| {
        file.batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Float64Type>()
            .values()
            .to_vec()
    };
    assert_eq!(
        (column("mark_price"), column("index_price")),
        (vec![1.5, 1.6], vec![1.4, 1.4])
    );
    let file = files(&place.spool(), "bybit", "bbo")
        .into_values()
        .next()
        .unwrap();
    assert!(
        file.batch.column_by_name("ask_price").unwrap().is_null(0),
        "an empty side of the book is null"
    );
    assert!(file.footer.contains_key("qlc.row_hash"));
    the_exchanges_numbers_are_archived(&place);
}

#[test]
fn what_is_missing_or_unreadable_is_on_record() {
    let nan = binance_trade(4).replace("97000.4", "NaN");
    let garbage = "{\"stream\":\"btcusdt@aggTrade\",\"data\":{\"a\":".to_owned();
    let wrong_type = binance_trade(4).replace("\"m\":true", "\"m\":\"yes\"");
    let first = [
        binance_trades(1..=3),
        texts(&[nan.clone(), garbage.clone(), wrong_type.clone()]),
        vec![Act::Binary(vec![0, 255])],
        binance_trades([4, 4, 5, 8, 7]),
        vec![Act::CutInFrame],
    ]
    .concat();
    let oversize = "x".repeat(5 << 20);
    let scripts = vec![
        first,
        // Comes back with what is known already, and more; then a frame that is too long.
        [binance_trades(3..=12), vec![Act::Text(oversize)]].concat(),
        vec![Act::Close],
        [binance_trades([12, 20]), vec![Act::Mute]].concat(),
        binance_trades(20..=25),
    ];
    let exchange = Exchange::new(&[("binance.market", scripts)]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let command = [&BINANCE[..], &["--stream", "trade", "--silence", "300ms"]].concat();
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    until(&mut child, || exchange.drained() >= 1);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");

    let mut got = trades(&place.spool(), "binance");
    let feed = notes(&place.spool(), "20");
    // 6 was jumped over on the first connection, and came with the second one: too late to be told
    // from a repetition.
    got.sort_unstable();
    let mut missing: Vec<u64> = of_kind(&feed, "gap")
        .iter()
        .flat_map(|gap| gap["first"].as_u64().unwrap()..=gap["last"].as_u64().unwrap())
        .collect();
    missing.retain(|id| !got.contains(id));
    let all: std::collections::BTreeSet<u64> = got.iter().chain(&missing).copied().collect();
    assert_eq!(
        all,
        (1..=25).collect(),
        "got {got:?}, missing {missing:?}\n{said}"
    );
    assert_eq!(
        got.len(),
        all.len() - missing.len(),
        "no trade is there twice: {got:?}"
    );
    assert!((13..=19).all(|id| missing.contains(&id)));
    let kept: Vec<String> = notes(&place.spool(), "rejects-")
        .iter()
        .map(|note| note["frame"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        kept,
        [nan, garbage, wrong_type, "00ff".to_owned(), String::new()]
    );
    let lost = of_kind(&feed, "lost");
    assert!(
        lost.len() >= 4
            && lost
                .iter()
                .any(|note| note["reason"].as_str().unwrap().starts_with("silent")),
        "{lost:?}"
    );
    assert!(!of_kind(&feed, "offline").is_empty());
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let quality: Vec<_> = walk(&place.spool().join("quality"));
    assert!(!quality.is_empty());
    let tally: serde_json::Value =
        serde_json::from_str(fs::read_to_string(&quality[0]).unwrap().trim()).unwrap();
    assert!(
        tally["exchange"] == "binance" && tally["grade"] != "A",
        "{tally}"
    );
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn connections_are_replaced_without_a_hole() {
    let exchange = Exchange::new(&[("binance.market", vec![vec![Act::Live]])]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let command = [
        &BINANCE[..],
        &["--stream", "trade", "--renew-after", "300ms"],
    ]
    .concat();
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    until(&mut child, || exchange.listening() > 0);
    let mut id = 0;
    until(&mut child, || {
        id += 1;
        exchange.publish(binance_trade(id));
        exchange.connections("binance.market") >= 3 && exchange.listening() >= 1
    });
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    let mut got = trades(&place.spool(), "binance");
    got.sort_unstable();
    assert!(
        got.len() as u64 > id - 50 && got.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "{id} sent, {got:?}"
    );
    let feed = notes(&place.spool(), "20");
    assert!(of_kind(&feed, "lost").is_empty(), "{feed:?}");
    assert!(of_kind(&feed, "renewing").len() >= 2);
}

#[test]
fn an_announced_close_costs_and_doubles_nothing() {
    let notice = r#"{"event":"notice","code":"64008","msg":"The connection will soon be closed.","connId":"a"}"#;
    let first: Vec<Act> = (1..=20).map(|id| Act::Text(okx_trade(id))).collect();
    let scripts = vec![
        [first, vec![Act::Text(notice.to_owned()), Act::Live]].concat(),
        vec![Act::Live],
    ];
    let exchange = Exchange::new(&[("okx.public", scripts)]);
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
        "--retry-cap",
        "20ms",
    ];
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    let mut id = 20;
    let mut publish = || {
        id += 1;
        exchange.publish(okx_trade(id));
        id
    };
    // The first connection still brings trades when the second one stands; then it is ended by us.
    until(&mut child, || {
        if exchange.listening() > 0 {
            let _ = publish();
        }
        exchange.most_listening() == 2 && exchange.listening() == 1
    });
    assert_eq!(
        exchange.most_listening(),
        2,
        "the old connection ended before the new one brought anything"
    );
    assert_eq!(exchange.connections("okx.public"), 2);
    let mut last = 0;
    for _ in 0..50 {
        last = publish();
    }
    until(&mut child, || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        notes(&place.spool(), "20").len() >= 4
    });
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    let mut got = trades(&place.spool(), "okx");
    // What the old connection still brought when the new one had begun comes after it.
    got.sort_unstable();
    // What was published just before the end may not have been read any more: nothing in the middle
    // is missing or twice.
    assert_eq!(got, (1..=got.len() as u64).collect::<Vec<_>>(), "{said}");
    assert!(
        got.len() as u64 > last - 50,
        "{last} sent, {} taken",
        got.len()
    );
    let feed = notes(&place.spool(), "20");
    assert_eq!(of_kind(&feed, "renewing").len(), 1, "{feed:?}");
    assert!(
        of_kind(&feed, "lost").is_empty() && of_kind(&feed, "gap").is_empty(),
        "{feed:?}"
    );
    let _ = place.compact(&[]).ended(0);
    place.verify();
}

#[test]
fn sigterm_under_load_accounts_for_everything() {
    const TRADES: u64 = 60_000;
    let place = Place::new();
    let command = [
        &BINANCE[..],
        &["--stream", "trade", "--rotate-size", "100kB"],
    ]
    .concat();
    let exchange = Exchange::new(&[("binance.market", vec![binance_trades(1..=TRADES)])]);
    let endpoints = exchange.endpoints();
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    let folder = place
        .spool()
        .join("exchange=binance/stream=trade/symbol=btcusdt");
    until(&mut child, || {
        walk(&folder)
            .iter()
            .any(|path| path.extension().is_some_and(|e| e == "parquet"))
    });
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    let got = trades(&place.spool(), "binance");
    assert_eq!(got, (1..=got.len() as u64).collect::<Vec<_>>(), "{said}");
    assert!(
        said.replace(',', "")
            .contains(&format!("{} events", got.len()))
            && said.contains("0 dropped"),
        "{} in\n{said}",
        got.len()
    );
    assert!(got.len() as u64 <= TRADES);
    assert_eq!(
        fs::read_dir(place.spool().join("_journal"))
            .unwrap()
            .count(),
        1
    );
    // The next one takes the rest, and nothing twice.
    let before = exchange.drained();
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    until(&mut child, || exchange.drained() > before);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        trades(&place.spool(), "binance"),
        (1..=TRADES).collect::<Vec<_>>(),
        "{said}"
    );
    let _ = place.compact(&[]).ended(0);
    place.verify();
}

#[test]
fn a_journal_that_was_removed_costs_no_order_and_no_name() {
    let place = Place::new();
    let command = [&BINANCE[..], &["--stream", "trade", "--rotate-size", "2kB"]].concat();
    for round in 0..3_u64 {
        // The clock of the collector goes back before the last run: what it gave then must be found
        // in the spool.
        let exchange = Exchange::new(&[(
            "binance.market",
            vec![binance_trades(round * 100 + 1..=round * 100 + 100)],
        )]);
        let endpoints = exchange.endpoints();
        let clock = if round == 2 { "-3600" } else { "0" };
        let mut child = place.spawn(
            &args(&command, &endpoints),
            &[("LD_PRELOAD", faulty::library()), ("QLC_TEST_CLOCK", clock)],
        );
        until(&mut child, || exchange.drained() >= 1);
        let (code, said) = terminate(child);
        assert_eq!(code, Some(0), "{said}");
        // `trades` orders by seq, which must ascend strictly: so the ids ascend too.
        assert_eq!(
            trades(&place.spool(), "binance"),
            (1..=round * 100 + 100).collect::<Vec<_>>(),
            "{said}"
        );
        fs::remove_dir_all(place.spool().join("_journal")).unwrap();
    }
    assert!(files(&place.spool(), "binance", "trade").len() > 6);
    let _ = place.compact(&[]).ended(0);
    place.verify();
}

#[test]
fn a_recording_is_played_back_to_the_same_events() {
    let exchange = Exchange::new(&[("binance.market", vec![binance_trades(1..=500)])]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let record = [
        "record",
        "--exchange",
        "binance",
        "--symbol",
        "btcusdt",
        "--stream",
        "trade",
        "--max-frames",
        "500",
    ];
    let _ = place
        .qlc(&args(&[&record[..], &["rec.zst"]].concat(), &endpoints))
        .ended(0)
        .says("500 frames");
    let _ = place
        .qlc(&args(&[&record[..], &["rec.zst"]].concat(), &endpoints))
        .ended(1)
        .says("does not exist yet");

    let mut server = place.spawn(
        &[
            "replay",
            "rec.zst",
            "--listen",
            "127.0.0.1:0",
            "--speed",
            "max",
        ],
        &[],
    );
    let mut line = String::new();
    let _ = std::io::BufRead::read_line(
        &mut std::io::BufReader::new(server.stdout.take().unwrap()),
        &mut line,
    )
    .unwrap();
    let endpoint = line.trim().rsplit(' ').next().unwrap();
    let command = [
        &BINANCE[..],
        &[
            "--stream",
            "trade",
            "--max-events",
            "500",
            "--endpoint",
            endpoint,
        ],
    ]
    .concat();
    let (code, said) = ended(place.spawn(&command, &[]));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        trades(&place.spool(), "binance"),
        (1..=500).collect::<Vec<_>>()
    );
    let (code, said) = terminate(server);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn two_collectors_do_not_share_a_spool() {
    let exchange = Exchange::new(&[("binance.market", vec![binance_trades(1..=1)])]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let command = [&BINANCE[..], &["--stream", "trade"]].concat();
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    until(&mut child, || exchange.drained() >= 1);
    let _ = place
        .qlc(&args(&command, &endpoints))
        .ended(2)
        .says("another qlc collect");
    assert_eq!(terminate(child).0, Some(0));
}

#[test]
fn mistakes_are_told_before_anything_is_made() {
    let place = Place::new();
    let check = |line: &[&str], says: &str| drop(place.qlc(line).ended(2).says(says));
    check(
        &["collect", "--exchange", "binance", "--symbol", "btc/usdt"],
        "letters, digits",
    );
    check(
        &["collect", "--exchange", "kraken", "--symbol", "btcusdt"],
        "binance, bybit, okx",
    );
    check(
        &["collect", "--exchange", "okx", "--symbol", "btceur"],
        "USDT",
    );
    check(
        &[
            "collect",
            "--exchange",
            "okx",
            "--symbol",
            "btcusdt",
            "--endpoint",
            "okx.private=ws://x",
        ],
        "okx.public",
    );
    check(
        &[
            "collect",
            "--exchange",
            "okx",
            "--symbol",
            "btcusdt",
            "--commit-every",
            "5",
        ],
        "unit",
    );
    assert_eq!(fs::read_dir(place.spool()).unwrap().count(), 0);
}

#[test]
fn the_status_is_served() {
    let exchange = Exchange::new(&[("binance.market", vec![binance_trades(1..=10)])]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    let port = free_address();
    let command = [&BINANCE[..], &["--stream", "trade", "--listen", &port]].concat();
    let mut child = place.spawn(&args(&command, &endpoints), &[]);
    let get = |path: &str| get(&port, path);
    let taken =
        "qlc_collect_events_total{exchange=\"binance\",stream=\"trade\",symbol=\"btcusdt\"} 10\n";
    until(&mut child, || {
        get("/metrics").is_some_and(|text| text.contains(taken))
    });
    until(&mut child, || {
        get("/health").is_some_and(|text| text.starts_with("HTTP/1.1 200"))
    });
    let status = get("/status").unwrap();
    assert!(
        status.contains("\"healthy\":true") && status.contains("binance.market/0"),
        "{status}"
    );
    assert!(get("/").unwrap().contains("<title>qlc collect</title>"));
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
}
