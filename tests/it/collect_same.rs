//! Killed in the middle and started again, a collector leaves the same archive as one that nothing
//! disturbed: for every stream of every exchange the same rows in the same order, in all columns
//! but the time of receipt and the number that follows from it.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::Child,
};

use arrow::array::{Array, RecordBatch};
use serde_json::json;

use super::support::{
    archive::{dir, published},
    exchange::{
        DAY_MS, binance_mark, binance_trade, dealt_with, free_address, okx_trade, terminate, until,
    },
    run::Place,
};

/// The frames of a moment: one of every channel of every exchange. The first ones of a connection
/// tell all there is.
fn moment(n: u64, is_first: bool) -> Vec<(&'static str, String)> {
    let t = DAY_MS + i64::try_from(n).unwrap() * 1000;
    let swap = "BTC-USDT-SWAP";
    let okx = |channel: &str, id: &str, data: String| {
        (
            "okx.public/0",
            format!(r#"{{"arg":{{"channel":"{channel}","instId":"{id}"}},"data":[{data}]}}"#),
        )
    };
    let bybit = |text: String| ("bybit.linear/0", text);
    let kind = if is_first { "snapshot" } else { "delta" };
    // A change of the ticker holds some of its fields only; the first one holds all.
    let rest = if n % 3 == 1 {
        format!(
            r#","indexPrice":"14.{n}","openInterest":"10{n}","nextFundingTime":"{t}","fundingRate":"0.{n}""#
        )
    } else {
        String::new()
    };
    vec![
        (
            "binance.public/0",
            format!(
                r#"{{"stream":"btcusdt@bookTicker","data":{{"e":"bookTicker","u":{},"s":"BTCUSDT","b":"1.{n}","B":"2","a":"2.{n}","A":"3","T":{t},"E":{t}}}}}"#,
                n * 3
            ),
        ),
        ("binance.market/0", binance_trade(n)),
        ("binance.market/0", binance_mark(n)),
        bybit(format!(
            r#"{{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":{t},"data":{{"s":"BTCUSDT","b":[["1.{n}","2"]],"a":[],"u":{n},"seq":6}},"cts":{t}}}"#
        )),
        bybit(format!(
            r#"{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":{t},"data":[{{"T":{t},"s":"BTCUSDT","S":"Sell","v":"1","p":"1.{n}","i":"a{n}","seq":{n}}},{{"T":{t},"s":"BTCUSDT","S":"Buy","v":"2","p":"1.{n}","i":"b{n}","seq":{n}}}]}}"#
        )),
        bybit(format!(
            r#"{{"topic":"tickers.BTCUSDT","type":"{kind}","data":{{"symbol":"BTCUSDT","markPrice":"15.{n}"{rest}}},"cs":{n},"ts":{t}}}"#
        )),
        okx(
            "bbo-tbt",
            swap,
            format!(
                r#"{{"asks":[["1.{n}","1","0","1"]],"bids":[["1.{n}","1","0","1"]],"ts":"{t}","seqId":{n}}}"#
            ),
        ),
        ("okx.public/0", okx_trade(n)),
        okx(
            "index-tickers",
            "BTC-USDT",
            format!(r#"{{"instId":"BTC-USDT","idxPx":"1.{n}","ts":"{t}"}}"#),
        ),
        okx(
            "mark-price",
            swap,
            format!(r#"{{"instId":"{swap}","markPx":"2.{n}","ts":"{t}"}}"#),
        ),
        okx(
            "funding-rate",
            swap,
            format!(
                r#"{{"fundingRate":"0.{n}","fundingTime":"{t}","nextFundingTime":"","instId":"{swap}","ts":"{t}"}}"#
            ),
        ),
        okx(
            "open-interest",
            swap,
            format!(r#"{{"instId":"{swap}","oi":"5.{n}","ts":"{t}"}}"#),
        ),
    ]
}

/// Events of these moments: 13 of each, and 2 more of those whose ticker holds everything.
fn events_of(moments: impl Iterator<Item = u64>) -> u64 {
    moments.map(|n| if n % 3 == 1 { 15 } else { 13 }).sum()
}

fn events(moments: u64) -> u64 {
    events_of(1..=moments)
}

fn record(path: &Path, moments: impl Iterator<Item = u64>) {
    let mut out = zstd::stream::write::Encoder::new(File::create(path).unwrap(), 3).unwrap();
    let frames = moments.enumerate().flat_map(|(nth, n)| moment(n, nth == 0));
    for (n, (line, text)) in frames.enumerate() {
        writeln!(out, "{}", json!({ "line": line, "at": n, "text": text })).unwrap();
    }
    let _ = out.finish().unwrap().sync_all();
}

/// An exchange that plays the recording, and the flags that point a collector there.
fn replay(place: &Place, recording: &str) -> (Child, Vec<String>) {
    let mut server = place.spawn(
        &[
            "replay",
            recording,
            "--listen",
            "127.0.0.1:0",
            "--speed",
            "max",
        ],
        &[],
    );
    let mut out = BufReader::new(server.stdout.take().unwrap());
    let mut flags = Vec::new();
    while flags.len() < 8 {
        let mut line = String::new();
        assert!(
            out.read_line(&mut line).unwrap() > 0,
            "the server names four endpoints"
        );
        flags.extend(
            line.split_whitespace()
                .filter(|word| word.contains("=ws://"))
                .flat_map(|word| ["--endpoint".to_owned(), word.to_owned()]),
        );
    }
    (server, flags)
}

/// Collects from the recording until `taken` events were dealt with; then the process is killed, or
/// asked to end.
fn collect(place: &Place, recording: &str, taken: u64, kill: bool) {
    let (server, flags) = replay(place, recording);
    let address = free_address();
    let mut args = vec![
        "collect",
        "--exchange",
        "binance,bybit,okx",
        "--symbol",
        "btcusdt",
    ];
    args.extend([
        "--stream",
        "bbo,trade,mark_price,funding,open_interest",
        "--listen",
        &address,
    ]);
    args.extend(["--rotate-size", "20kB", "--commit-every", "5ms"]);
    args.extend(flags.iter().map(String::as_str));
    let mut child = place.spawn(&args, &[]);
    until(&mut child, || dealt_with(&address) >= taken);
    if kill {
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), None);
    } else {
        let (code, said) = terminate(child);
        assert_eq!(code, Some(0), "{said}");
    }
    let _ = terminate(server);
}

/// A partition without the column that tells when it was received.
fn bare(place: &Place, exchange: &str, stream: &str) -> RecordBatch {
    let batch = published(
        &place.archive(),
        &dir(exchange, stream, "btcusdt", "20260203"),
    )
    .data
    .batch;
    let kept: Vec<usize> = (0..batch.num_columns())
        .filter(|at| batch.schema().field(*at).name() != "ts_recv")
        .collect();
    batch.project(&kept).unwrap()
}

#[test]
fn killed_in_the_middle_it_leaves_the_same_archive() {
    const MOMENTS: u64 = 3000;
    let (calm, killed) = (Place::new(), Place::new());
    for place in [&calm, &killed] {
        record(&place.root().join("part.zst"), 1..=MOMENTS / 2);
        record(&place.root().join("whole.zst"), 1..=MOMENTS);
    }
    collect(&calm, "whole.zst", events(MOMENTS), false);
    // Killed with files sealed, rows in the journal and rows on their way; twice. Each time
    // everything is played again from the beginning, so that all of it overlaps with what is known.
    collect(&killed, "part.zst", events(MOMENTS / 4), true);
    collect(&killed, "whole.zst", events(MOMENTS / 2), true);
    collect(&killed, "whole.zst", events(MOMENTS), false);
    for place in [&calm, &killed] {
        let _ = place.compact(&[]).ended(0);
        place.verify();
    }
    are_the_same(&calm, &killed, events(MOMENTS));
}

/// Fails unless two archives have these many rows, the same in the same order in all columns but
/// the time of receipt.
fn are_the_same(calm: &Place, killed: &Place, expected: u64) {
    let mut rows = 0;
    for exchange in ["binance", "bybit", "okx"] {
        for stream in ["bbo", "trade", "mark_price", "funding", "open_interest"] {
            if (exchange, stream) == ("binance", "open_interest") {
                continue;
            }
            let (calm, killed) = (bare(calm, exchange, stream), bare(killed, exchange, stream));
            assert_eq!(calm.num_rows(), killed.num_rows(), "{exchange} {stream}");
            assert!(
                calm == killed,
                "{exchange} {stream}: other rows, or another order"
            );
            rows += calm.num_rows() as u64;
            assert!(calm.column(0).null_count() == 0);
        }
    }
    assert_eq!(rows, expected);
}

/// Two collectors of one feed, each killed and started again, each of which missed other parts of
/// it.
#[test]
fn two_collectors_that_missed_other_parts_leave_the_same_archive_together() {
    const MOMENTS: u64 = 3000;
    let calm = Place::new();
    record(&calm.root().join("whole.zst"), 1..=MOMENTS);
    collect(&calm, "whole.zst", events(MOMENTS), false);
    let both = Place::new();
    // A connection that misses something goes on from a moment at which the ticker tells
    // everything.
    let seen: [&dyn Fn() -> Vec<u64>; 2] =
        [&|| (1..=1200).chain(1801..=MOMENTS).collect(), &|| {
            (901..=2400).collect()
        }];
    for (name, seen) in ["a", "b"].into_iter().zip(seen) {
        let place = Place::new();
        record(&place.root().join("seen.zst"), seen().into_iter());
        let all = events_of(seen().into_iter());
        collect(&place, "seen.zst", all / 3, true);
        collect(&place, "seen.zst", all, false);
        std::fs::rename(
            place.spool(),
            both.spool().join(format!("collector={name}")),
        )
        .unwrap();
    }
    for place in [&calm, &both] {
        let _ = place.compact(&[]).ended(0);
        place.verify();
    }
    are_the_same(&calm, &both, events(MOMENTS));
    let trades = published(
        &both.archive(),
        &dir("binance", "trade", "btcusdt", "20260203"),
    );
    let told = trades.receipt["merge"]["collectors"].as_array().unwrap();
    assert_eq!(
        told.iter()
            .map(|one| one["gain"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [1500, 600]
    );
    let filled: Vec<u64> = told
        .iter()
        .flat_map(|one| one["filled"].as_array().unwrap())
        .map(|hole| hole["rows"].as_u64().unwrap())
        .collect();
    assert_eq!(
        filled,
        [900, 600, 600],
        "what the one had alone, then what the other had"
    );
    assert_eq!(trades.receipt["merge"]["conflicts"], 0);
}
