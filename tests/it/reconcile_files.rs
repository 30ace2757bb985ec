//! Which of the venue's files are believed by `qlc reconcile`, and what is left when it is killed.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    reconcile::{
        ASKED, Agg, FILE, REFUSED, SERIES, Server, archived, csv, publish, reconcile, recorded,
        sealed, taken_files,
    },
    support::{
        archive::{listing, sha256},
        run::{Place, Ran},
    },
};

/// The first number of the day after.
const NEXT_DAY: i64 = 12_343;

/// A file of another exchange, which may lie in the same folder.
const BYBIT: &str = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n\
    1770076801.0925,BTCUSDT,Sell,79,78513.00,PlusTick,e94f18f9-4bc4-5530-87ee-d067f8267a62,1e+5,79,0.001\n";

fn checksum(text: &[u8]) -> Vec<u8> {
    format!("{}  {FILE}\n", sha256(text)).into_bytes()
}

#[test]
fn a_folder_has_files_of_other_symbols_and_of_the_whole_month() {
    let place = recorded(1..=1_000);
    let other = csv(5_000..5_100);
    let month = csv((1..=1_000).chain(NEXT_DAY..NEXT_DAY + 100));
    let with = publish(
        &place,
        &[
            ("BTCUSDT_260327-aggTrades-2026-02-03.csv", other.as_bytes()),
            ("BTCUSDC-aggTrades-2026-02-03.csv", other.as_bytes()),
            ("BTCUSDT2026-02-03.csv", BYBIT.as_bytes()),
            ("BTCUSDT-aggTrades-2026-02-04.csv", other.as_bytes()),
            ("BTCUSDT-aggTrades-2026-02.csv", month.as_bytes()),
        ],
    );
    std::os::unix::fs::symlink("..", with.join("back")).unwrap();
    let (ran, records) = reconcile(&place, &with, &[], 0);
    let files = records[0]["files"].as_array().unwrap();
    assert_eq!(files.len(), 1, "{ran}");
    assert_eq!(records[0].get("message"), None, "{ran}");
    assert_eq!(
        (&files[0]["rows"], &files[0]["elsewhere"]),
        (&1_000.into(), &100.into()),
        "{ran}"
    );
}

#[test]
fn a_file_of_another_day_says_nothing_of_this_one() {
    let place = recorded(1..=1_000);
    let rows = csv(NEXT_DAY..NEXT_DAY + 100);
    let with = publish(&place, &[(FILE, rows.as_bytes())]);
    let (ran, records) = reconcile(&place, &with.join(FILE), &["--take"], 1);
    assert_eq!(records[0]["verdict"], "not-compared", "{ran}");
    let message = records[0]["message"].as_str().unwrap();
    assert!(message.contains("100 rows are of other days"), "{ran}");
    assert!(taken_files(&place).is_empty());
}

#[test]
fn a_symbol_is_spelt_as_in_paths() {
    let place = recorded(1..=10);
    let with = publish(&place, &[(FILE, csv(1..=20).as_bytes())]);
    let with = with.display().to_string();
    for (exchange, symbol) in [("binance", "BTCUSDT"), ("okx", "BTC-USDT-SWAP")] {
        let asked = ["reconcile", "--date", "20260203", "--with", &with, "--take"];
        let named = ["--exchange", exchange, "--symbol", symbol];
        let _ = place
            .qlc(&[&asked[..], &named].concat())
            .ended(2)
            .says("did you mean --symbol btcusdt?");
    }
    assert!(taken_files(&place).is_empty());
}

#[test]
fn files_of_another_market_are_not_taken() {
    // As the spot market publishes it.
    let spot = |numbers: std::ops::Range<i64>| -> String {
        let line = |n| format!("{},True\n", Agg(n).line().trim_end());
        numbers.map(line).collect()
    };
    let take = |place: &Place, text: &str| {
        let with = publish(place, &[(FILE, text.as_bytes())]);
        let (ran, records) = reconcile(place, &with, &["--take"], 6);
        assert!(taken_files(place).is_empty(), "{ran}");
        (records[0].clone(), ran)
    };
    let (record, ran) = take(&Place::new(), &spot(1..500));
    let why = record["not_taken"].as_str().unwrap();
    assert!(why.contains("spot"), "{ran}");
    assert_eq!(record["files"][0]["content"], "binance-spot-agg-trades");
    // The numbers of another market are others.
    let (record, ran) = take(&recorded(1..=1_000), &csv(5_000..5_500));
    let words = "not one row of the archive is in the files";
    for key in ["message", "not_taken"] {
        assert!(record[key].as_str().unwrap().contains(words), "{ran}");
    }
}

#[test]
fn what_was_taken_stays_when_its_file_is_replaced() {
    let place = recorded((1..=500).filter(|n| *n != 100));
    let text = csv(1..=500);
    let with = publish(&place, &[(FILE, text.as_bytes())]);
    let _ = reconcile(&place, &with, &["--take"], 6);
    let _ = place.compact(&[]).ended(0);
    let before = listing(&place.archive());
    let line = Agg(100).line();
    let price = Agg(100).price().to_string();
    let replaced = text.replace(&line, &line.replacen(&price, "12.5", 1));
    let with = publish(&place, &[(FILE, replaced.as_bytes())]);
    let (ran, records) = reconcile(&place, &with, &["--take"], 6);
    assert_eq!(records[0]["columns"]["price"], 1, "{ran}");
    assert_eq!(records[0]["taken"], Value::Null, "{ran}");
    let _ = place.compact(&[]).ended(0);
    let data = |all: &std::collections::BTreeMap<String, String>| {
        let mut all = all.clone();
        all.retain(|key, _| key.ends_with("data.parquet"));
        all
    };
    assert_eq!(data(&listing(&place.archive())), data(&before));
    place.verify();
}

#[test]
fn a_run_that_is_killed_anywhere_takes_nothing_twice_and_loses_nothing() {
    for nth in 1.. {
        let place = recorded((1..=300).filter(|n| n % 10 != 0));
        let with = publish(&place, &[(FILE, csv(1..=300).as_bytes())]);
        let with = with.display().to_string();
        let asked = [ASKED, &["--with", &with, "--take"]].concat();
        let point = nth.to_string();
        let ran = place.qlc_env(&asked, &[("QLC_CRASH_AT", &point)]);
        if ran.code.is_some() {
            assert!(nth > 3, "there are points to be killed at: {ran}");
            let _ = ran.ended(6);
            break;
        }
        let _ = place.qlc(&asked).ended(6);
        let files = taken_files(&place);
        let sealed = |file: &&String| file.ends_with(".parquet");
        assert_eq!(files.iter().filter(sealed).count(), 1, "{nth}: {files:?}");
        let _ = place.compact(&[]).ended(0);
        assert_eq!(archived(&place), (1..=300).collect::<Vec<_>>(), "{nth}");
        place.verify();
        place.is_tidy();
        let _ = place.qlc(&asked).ended(0);
        let _ = place.qlc(&["prune", "--keep-days", "0"]).ended(0);
        let _ = place.qlc(&["clean", "--older-than", "0s"]).ended(0);
        assert_eq!(taken_files(&place), Vec::<String>::new(), "{nth}");
    }
}

/// A server's URL, and where its files are kept.
fn download(place: &Place, server: &Server, more: &[&str]) -> (Vec<String>, String) {
    let cache = place.root().join("cache").display().to_string();
    let url = format!("http://{}/{{SYMBOL}}/{FILE}", server.address);
    let asked = [ASKED, more].concat();
    let mut asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
    asked.extend(["--with", &url, "--download", &cache].map(str::to_owned));
    (asked, cache)
}

fn words(line: &[String]) -> Vec<&str> {
    line.iter().map(String::as_str).collect()
}

/// Waits until `holds`.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn below(folder: &Path) -> Vec<String> {
    listing(folder).into_keys().collect()
}

#[test]
fn a_fetch_that_is_killed_goes_on() {
    let text = csv(1..=3_000).into_bytes();
    let path = format!("/BTCUSDT/{FILE}");
    let sum = format!("{path}.CHECKSUM");
    let server = Server::that_hangs(&[(&path, text.clone()), (&sum, checksum(&text))]);
    let place = recorded(1..=2_900);
    let (asked, cache) = download(&place, &server, &[]);
    let mut child = place.spawn(&words(&asked), &[]);
    let half = format!("{FILE}.part");
    until("half of the file has come", || {
        let all = listing(Path::new(&cache));
        let found = all.keys().find(|key| key.ends_with(&half));
        found.is_some_and(|key| {
            fs::metadata(Path::new(&cache).join(key)).is_ok_and(|part| part.len() > 1_000)
        })
    });
    child.kill().unwrap();
    let _ = child.wait().unwrap();
    let records = place.qlc(&words(&asked)).ended(6).json();
    assert_eq!(records[0]["only_theirs"], 100);
    assert_eq!(records[0]["files"][0]["checksum"], "right");
    let asked = server.asked.lock().unwrap().clone();
    assert!(
        asked.last().unwrap().starts_with(&format!("{path} from ")),
        "it was begun anew: {asked:?}"
    );
    assert_eq!(below(Path::new(&cache)).len(), 2);
}

#[test]
fn a_file_that_was_replaced_is_fetched_again_also_after_a_kill() {
    let (old, new) = (csv(1..=1_000).into_bytes(), csv(1..=1_100).into_bytes());
    let path = format!("/BTCUSDT/{FILE}");
    let sum = format!("{path}.CHECKSUM");
    let server = Server::new(&[(&path, new.clone()), (&sum, checksum(&new))], 0);
    let place = recorded(1..=1_000);
    let (asked, cache) = download(&place, &server, &[]);
    let folder = Path::new(&cache)
        .join(server.address.to_string().replace(':', "_"))
        .join("BTCUSDT");
    fs::create_dir_all(&folder).unwrap();
    // As a run leaves it that was killed when it had read what the venue says now.
    fs::write(folder.join(FILE), &old).unwrap();
    fs::write(folder.join(format!("{FILE}.CHECKSUM")), checksum(&new)).unwrap();
    let records = place.qlc(&words(&asked)).ended(6).json();
    assert_eq!(records[0]["only_theirs"], 100);
    assert_eq!(records[0]["files"][0]["checksum"], "right");
    assert_eq!(fs::read(folder.join(FILE)).unwrap(), new);
}

/// As buckets do that list nothing.
#[test]
fn a_server_may_refuse_a_checksum_that_it_has_not() {
    let path = format!("/BTCUSDT/{FILE}");
    let sum = format!("{path}.CHECKSUM");
    let text = csv(1..=1_000).into_bytes();
    let server = Server::new(&[(&path, text), (&sum, REFUSED.to_vec())], 0);
    let place = recorded(1..=1_000);
    let (asked, _) = download(&place, &server, &[]);
    let records = place.qlc(&words(&asked)).ended(0).json();
    assert_eq!(records[0]["files"][0]["checksum"], "none");
    // A refused file is not one that is not there.
    let server = Server::new(&[(&path, REFUSED.to_vec())], 0);
    let (asked, _) = download(&place, &server, &[]);
    let ran = place.qlc(&words(&asked)).ended(1);
    let record = &ran.json()[0];
    assert!(record["message"].as_str().unwrap().contains("403"), "{ran}");
}

#[test]
fn a_day_that_changes_meanwhile_is_not_compared_and_what_was_taken_is_told() {
    let path = format!("/BTCUSDT/{FILE}");
    let (server, go) = Server::that_waits(&[(&path, csv(1..=3_000).into_bytes())]);
    let place = recorded(1..=2_900);
    let (asked, _) = download(&place, &server, &["--take"]);
    let child = place.spawn(&words(&asked), &[]);
    until("the file is asked for", || {
        server.asked.lock().unwrap().contains(&path)
    });
    let late = sealed(2_901..=2_950);
    let _ = place.put(&format!("{SERIES}/2026-02-03_13-00-00.parquet"), &late);
    let _ = place.compact(&[]).ended(0);
    go.send(()).unwrap();
    let ran = Ran::of_child(child).ended(1);
    let record = &ran.json()[0];
    assert_eq!(record["verdict"], "not-compared", "{ran}");
    assert!(
        record["message"].as_str().unwrap().contains("changed"),
        "{ran}"
    );
    assert_eq!(record["taken"]["rows"], 50, "{ran}");
    assert_eq!(taken_files(&place).len(), 1);
    let _ = place.compact(&[]).ended(0);
    assert_eq!(archived(&place), (1..=3_000).collect::<Vec<_>>());
    place.verify();
}

#[test]
fn two_runs_fetch_a_file_once() {
    let text = csv(1..=3_000).into_bytes();
    let path = format!("/BTCUSDT/{FILE}");
    let server = Server::new(&[(&path, text)], 0);
    let place = recorded(1..=2_900);
    let (asked, cache) = download(&place, &server, &[]);
    let both = [(); 4].map(|()| place.spawn(&words(&asked), &[]));
    for child in both {
        let records = Ran::of_child(child).ended(6).json();
        assert_eq!(records[0]["only_theirs"], 100);
    }
    let asked = server.asked.lock().unwrap().clone();
    let data = asked.iter().filter(|one| one.starts_with(&path));
    let data = data.filter(|one| !one.ends_with(".CHECKSUM"));
    assert_eq!(data.count(), 1, "{asked:?}");
    assert_eq!(below(Path::new(&cache)).len(), 1);
}

#[test]
fn a_range_tells_each_day_also_those_without_a_file() {
    let place = recorded(1..=1_000);
    let with = publish(&place, &[(FILE, csv(1..=1_000).as_bytes())]);
    let next = sealed(NEXT_DAY..NEXT_DAY + 50);
    let _ = place.put(&format!("{SERIES}/2026-02-04_12-00-00.parquet"), &next);
    let _ = place.compact(&[]).ended(0);
    let with = with.display().to_string();
    let asked = [
        "reconcile",
        "--exchange",
        "binance",
        "--start",
        "20260202",
        "--end",
        "20260204",
        "--with",
        &with,
    ];
    let ran = place
        .qlc(&[&asked[..], &["--format", "json"]].concat())
        .ended(1);
    let told: Vec<String> = ran
        .json()
        .iter()
        .map(|record| format!("{} {}", record["date"], record["verdict"]))
        .collect();
    assert_eq!(
        told,
        [
            "\"20260202\" \"not-compared\"",
            "\"20260203\" \"equal\"",
            "\"20260204\" \"not-compared\""
        ],
        "{ran}"
    );
    let _ = place
        .qlc(&asked)
        .ended(1)
        .says("3 comparisons: 1 equal, 2 not compared");
}
