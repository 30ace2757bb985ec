//! The collector is killed between every two durable steps and started again: every event that was
//! sent is in the spool once, and the archive made of it holds.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::support::{
    exchange::{Act, Exchange, binance_trades, free_address, status, terminate, trades, until},
    run::Place,
};

const TRADES: u64 = 60;
/// Longer than the collector waits to commit.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(30);

/// Collects until everything was read, or the process dies; returns its exit code.
fn collect(place: &Place, crash_at: Option<usize>) -> (Option<i32>, String) {
    let exchange = Exchange::new(&[("binance.market", vec![binance_trades(1..=TRADES)])]);
    let endpoints = exchange.endpoints();
    let mut args = vec![
        "collect",
        "--exchange",
        "binance",
        "--symbol",
        "btcusdt",
        "--stream",
        "trade",
        "--commit-every",
        "5ms",
        "--rotate-size",
        "1500",
    ];
    args.extend(endpoints.iter().map(String::as_str));
    let nth = crash_at.unwrap_or(0).to_string();
    let mut child = place.spawn(&args, &[("QLC_CRASH_AT", &nth)]);
    until(&mut child, || exchange.drained() >= 1);
    terminate(child)
}

/// Kills at one point; whether there was such a point.
fn check(nth: usize) -> bool {
    let place = Place::new();
    let (code, said) = collect(&place, Some(nth));
    if code.is_some() {
        assert_eq!(code, Some(0), "{said}");
    }
    // As every night: what dead processes left goes, and nothing that the next start needs.
    let _ = place.qlc(&["clean"]).ended(0);
    // The recovery is killed too, somewhere on its way.
    let (_, _) = collect(&place, Some(nth % 13 + 2));
    let (again, said_again) = collect(&place, None);
    assert_eq!(again, Some(0), "point {nth}: {said_again}");
    let got = trades(&place.spool(), "binance");
    assert_eq!(
        got,
        (1..=TRADES).collect::<Vec<_>>(),
        "point {nth}: {said}\n{said_again}"
    );
    let _ = place.compact(&[]).ended(0);
    place.verify();
    // All that is left of the journal is one segment without rows.
    let left = fs::read_dir(place.spool().join("_journal"))
        .unwrap()
        .count();
    assert_eq!(left, 1, "point {nth}");
    code.is_none()
}

#[test]
fn killed_anywhere_it_loses_and_doubles_nothing() {
    let (next, killed) = (AtomicUsize::new(1), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            let _ = scope.spawn(|| {
                while check(next.fetch_add(1, Ordering::SeqCst)) {
                    let _ = killed.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    let killed = killed.load(Ordering::SeqCst);
    assert!(killed > 25, "only {killed} points were reached");
}

#[test]
fn a_file_that_left_the_spool_does_not_come_back() {
    // Killed right after a file became visible; the compactor takes its rows and somebody removes
    // it before the restart.
    let mut met = 0;
    for nth in 1.. {
        let place = Place::new();
        let (code, _) = collect(&place, Some(nth));
        if code.is_some() {
            break;
        }
        let _ = place.compact(&[]).ended(0);
        let _ = place.qlc(&["clean"]).ended(0);
        let folder = place
            .spool()
            .join("exchange=binance/stream=trade/symbol=btcusdt");
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "parquet") {
                fs::remove_file(path).unwrap();
                met += 1;
            }
        }
        assert_eq!(collect(&place, None).0, Some(0));
        let _ = place.compact(&[]).ended(0);
        place.verify();
        let rows = place.qlc(&[
            "query",
            "SELECT count(*) AS n, count(DISTINCT trade_id) AS d FROM archive.trade",
            "--format",
            "csv",
        ]);
        assert_eq!(
            rows.stdout.trim(),
            format!("n,d\n{TRADES},{TRADES}"),
            "point {nth}"
        );
    }
    assert!(met > 3);
}

#[test]
fn a_damaged_record_costs_itself_and_the_rest_is_recovered() {
    let place = Place::new();
    // A record for each pause.
    let groups = (0..40).flat_map(|n| {
        [
            binance_trades(n * 50 + 1..=n * 50 + 50),
            vec![Act::Wait(PAUSE)],
        ]
        .concat()
    });
    let exchange = Exchange::new(&[("binance.market", vec![groups.collect()])]);
    let endpoints = exchange.endpoints();
    let mut args = vec![
        "collect",
        "--exchange",
        "binance",
        "--symbol",
        "btcusdt",
        "--stream",
        "trade",
    ];
    args.extend(["--commit-every", "5ms"]);
    args.extend(endpoints.iter().map(String::as_str));
    let address = free_address();
    args.extend(["--listen", &address]);
    let mut child = place.spawn(&args, &[]);
    let synced =
        |status: serde_json::Value| status["events"] == 2000 && status["journal_age_ms"] == 0;
    until(&mut child, || {
        exchange.drained() >= 1 && status(&address).is_some_and(synced)
    });
    child.kill().unwrap();
    let _ = child.wait().unwrap();
    let journal = place.spool().join("_journal");
    let newest = fs::read_dir(&journal)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max()
        .unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    // Behind the first rows, so that a record of rows is hit that is not the last one.
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&newest, &bytes).unwrap();

    let (code, said) = collect(&place, None);
    assert_eq!(code, Some(0), "{said}");
    let got = trades(&place.spool(), "binance");
    assert!(
        got.len() > 1500 && got.contains(&2000) && got.contains(&1),
        "{} trades, up to {:?}",
        got.len(),
        got.last()
    );
    assert_eq!(
        fs::read(newest.with_extension("damaged")).unwrap(),
        bytes,
        "what could not be read is kept"
    );
    let _ = place.compact(&[]).ended(0);
    place.verify();
}
