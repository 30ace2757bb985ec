//! The collector when the disk is slow or full: what was sent is in the spool, or in the feed log
//! as dropped.

use std::fs;

use super::support::{
    exchange::{
        Act, Exchange, binance_mark, binance_trade, binance_trades, dealt_with, files,
        free_address, notes, okx_trade, status, terminate, trades, until,
    },
    faulty,
    run::Place,
};

const COLLECT: [&str; 11] = [
    "collect",
    "--exchange",
    "binance",
    "--symbol",
    "btcusdt",
    "--stream",
    "trade,mark_price",
    "--commit-every",
    "20ms",
    "--retry-cap",
    "20ms",
];

/// Events that the feed log says were dropped, of a stream.
fn dropped(place: &Place, stream: &str) -> u64 {
    let series = format!("binance/{stream}/btcusdt");
    let of =
        |note: &&serde_json::Value| note["kind"] == "dropped" && note["series"] == series.as_str();
    notes(&place.spool(), "20")
        .iter()
        .filter(of)
        .map(|note| note["events"].as_u64().unwrap())
        .sum()
}

#[test]
fn a_slow_disk_slows_the_socket_and_loses_nothing() {
    const TRADES: u64 = 60_000;
    let exchange = Exchange::new(&[("binance.market", vec![binance_trades(1..=TRADES)])]);
    let place = Place::new();
    let endpoints = exchange.endpoints();
    // The rows take several times the limit: without back pressure some would have no room.
    let mut args = [
        &COLLECT[..],
        &["--memory-limit", "1MB", "--rotate-size", "100kB"],
    ]
    .concat();
    args.extend(endpoints.iter().map(String::as_str));
    let mut child = place.spawn(
        &args,
        &[
            ("LD_PRELOAD", faulty::library()),
            ("QLC_TEST_IO", "fsync /spool/ 0 slow"),
        ],
    );
    until(&mut child, || exchange.drained() >= 1);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        trades(&place.spool(), "binance"),
        (1..=TRADES).collect::<Vec<_>>(),
        "{said}"
    );
    assert_eq!(dropped(&place, "trade"), 0);
    let _ = place.compact(&[]).ended(0);
    place.verify();
}

#[test]
fn a_quiet_series_does_not_keep_the_log_of_a_busy_one() {
    const TRADES: u64 = 60_000;
    let exchange = Exchange::new(&[
        (
            "okx.public",
            vec![vec![Act::Text(okx_trade(1)), Act::Live]; 2],
        ),
        (
            "binance.market",
            vec![[binance_trades(1..=TRADES), vec![Act::Live]].concat(); 2],
        ),
    ]);
    let place = Place::new();
    let (address, endpoints) = (free_address(), exchange.endpoints());
    let mut args = [
        "collect",
        "--exchange",
        "binance,okx",
        "--symbol",
        "btcusdt",
        "--stream",
        "trade",
    ]
    .to_vec();
    // Segments of 64 kB: the log is many of them long.
    args.extend([
        "--commit-every",
        "5ms",
        "--memory-limit",
        "1MB",
        "--rotate-size",
        "100kB",
        "--listen",
        &address,
    ]);
    args.extend(endpoints.iter().map(String::as_str));
    let mut child = place.spawn(&args, &[]);
    until(&mut child, || dealt_with(&address) == TRADES + 1);
    // Of 1.8 MB of the log less than 700 kB are left in the end.
    until(&mut child, || {
        status(&address).is_some_and(|now| {
            let left = now["journal_bytes"].as_u64();
            now["files_waiting"] == 0 && left.is_some_and(|bytes| bytes < 700_000)
        })
    });
    child.kill().unwrap();
    let _ = child.wait().unwrap();
    // What was written again is there once.
    let mut child = place.spawn(&args, &[]);
    until(&mut child, || dealt_with(&address) == TRADES + 1);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        trades(&place.spool(), "binance"),
        (1..=TRADES).collect::<Vec<_>>(),
        "{said}"
    );
    assert_eq!(trades(&place.spool(), "okx"), [1], "{said}");
}

#[test]
fn a_full_disk_costs_what_does_not_fit_in_memory_and_says_so() {
    let exchange = Exchange::new(&[("binance.market", vec![vec![Act::Live]])]);
    let place = Place::new();
    let (full, address) = (place.root().join("full"), free_address());
    let endpoints = exchange.endpoints();
    let mut args = [
        &COLLECT[..],
        &["--memory-limit", "3MB", "--listen", &address],
    ]
    .concat();
    args.extend(endpoints.iter().map(String::as_str));
    let shim = [
        ("LD_PRELOAD", faulty::library()),
        ("QLC_TEST_IO", "write /spool/ 0 full"),
        ("QLC_TEST_IO_WHILE", full.to_str().unwrap()),
    ];
    let mut child = place.spawn(&args, &shim);
    until(&mut child, || exchange.listening() == 1);
    let (mut sent, mut marks) = (0, 0);
    let mut publish = |child: &mut _, more: u64| {
        for id in sent + 1..=sent + more {
            exchange.publish(binance_trade(id));
            if id % 100 == 0 {
                marks += 1;
                exchange.publish(binance_mark(marks));
            }
        }
        sent += more;
        until(child, || dealt_with(&address) == sent + marks);
        (sent, marks)
    };
    let _ = publish(&mut child, 1000);
    fs::write(&full, "").unwrap();
    for _ in 0..4 {
        let _ = publish(&mut child, 20_000);
    }
    let now = status(&address).unwrap();
    assert!(
        now["healthy"] == false
            && now["troubles"][0]
                .as_str()
                .unwrap()
                .contains("No space left"),
        "{now}"
    );
    assert!(now["memory_bytes"].as_u64().unwrap() <= 3_300_000, "{now}");
    fs::remove_file(&full).unwrap();
    until(&mut child, || {
        status(&address)
            .is_some_and(|s| s["healthy"] == true && s["memory_bytes"].as_u64() < Some(1_500_000))
    });
    let (sent, marks) = publish(&mut child, 500);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");

    let got = trades(&place.spool(), "binance");
    let lost = dropped(&place, "trade");
    assert!(
        lost > 0 && got.len() as u64 > 1500,
        "{lost} lost, {} taken\n{said}",
        got.len()
    );
    assert_eq!(got.len() as u64 + lost, sent, "{said}");
    // The frequent ones go first: every mark price had room.
    let kept: usize = files(&place.spool(), "binance", "mark_price")
        .values()
        .map(|file| file.batch.num_rows())
        .sum();
    assert_eq!((kept as u64, dropped(&place, "mark_price")), (marks, 0));
    let disk: Vec<_> = notes(&place.spool(), "20")
        .into_iter()
        .filter(|note| note["kind"] == "disk")
        .collect();
    assert!(
        disk.first().unwrap()["state"] == "refuses"
            && disk.last().unwrap()["state"] == "takes again",
        "{disk:?}"
    );
    assert!(got.contains(&sent), "it recovered by itself");
    let _ = place.compact(&[]).ended(0);
    place.verify();
}

#[test]
fn a_disk_that_stays_full_ends_with_an_error_that_counts() {
    let exchange = Exchange::new(&[(
        "binance.market",
        vec![binance_trades(1..=50), vec![Act::Live]],
    )]);
    let place = Place::new();
    let (full, address) = (place.root().join("full"), free_address());
    let endpoints = exchange.endpoints();
    let mut args = [&COLLECT[..], &["--listen", &address]].concat();
    args.extend(endpoints.iter().map(String::as_str));
    let shim = [
        ("LD_PRELOAD", faulty::library()),
        ("QLC_TEST_IO", "write /spool/ 0 full"),
        ("QLC_TEST_IO_WHILE", full.to_str().unwrap()),
    ];
    let mut child = place.spawn(&args, &shim);
    // The disk takes the start, and nothing from then on.
    until(&mut child, || {
        status(&address).is_some_and(|s| s["journal_age_ms"] == 0 && dealt_with(&address) == 50)
    });
    fs::write(&full, "").unwrap();
    let (code, said) = terminate(child);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("50 rows could not be sealed and are in the journal"),
        "{said}"
    );
    fs::remove_file(&full).unwrap();
    let mut child = place.spawn(&args, &[]);
    until(&mut child, || exchange.listening() == 1);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        trades(&place.spool(), "binance"),
        (1..=50).collect::<Vec<_>>(),
        "{said}"
    );
    let _ = place.compact(&[]).ended(0);
    place.verify();
}
