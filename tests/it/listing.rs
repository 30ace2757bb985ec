//! What lies in the spool and cannot be taken in: it costs nothing but itself, and it is told.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use serde_json::Value;

use super::support::{
    archive::{dir, home, listing, published},
    events::{DAY, Events, SECOND, quotes},
    run::{CATCH_UP, Place, Ran, SERIES},
};

/// The series of a symbol.
pub fn series(symbol: &str) -> String {
    format!("exchange=binance/stream=bbo/symbol={symbol}")
}

/// Puts five quotes of a symbol into the spool.
pub fn put(place: &Place, symbol: &'static str, file: &str, first: i64) {
    let rows = quotes(DAY + first * SECOND, SECOND, first, 5);
    let _ = place.put(
        &format!("{}/{file}", series(symbol)),
        &Events::sealed(rows)
            .series("binance", "bbo", symbol)
            .bytes(),
    );
}

/// Makes a folder in `folder` that nobody can list, not even root: its path is longer than any that
/// can be opened.
pub fn make_unlistable(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let name = "d".repeat(200);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = openat(CWD, folder, flags, Mode::empty()).unwrap();
    for _ in 0..22 {
        mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = openat(&at, &name, flags, Mode::empty()).unwrap();
    }
}

#[track_caller]
pub fn rows(place: &Place, symbol: &str) -> usize {
    let data = dir("binance", "bbo", symbol, "20260203");
    if place.archive().join(&data).exists() {
        published(&place.archive(), &data).quotes().len()
    } else {
        0
    }
}

/// The objects of this status on stdout.
fn of_status<'a>(all: &'a [Value], status: &str) -> Vec<&'a Value> {
    all.iter().filter(|one| one["status"] == status).collect()
}

fn json(place: &Place) -> Ran {
    place.compact(&["--format", "json"])
}

#[test]
fn a_strange_name_hides_no_other() {
    let place = Place::new();
    for (nth, symbol) in (0..).zip(["aaausdt", "bbbusdt", "cccusdt"]) {
        for file in 0..4 {
            put(
                &place,
                symbol,
                &format!("2026-02-03_{file:02}.parquet"),
                100 * nth + 10 * file,
            );
        }
    }
    let strange = |symbol: &str, name: &[u8]| {
        fs::write(
            place
                .spool()
                .join(series(symbol))
                .join(std::ffi::OsStr::from_bytes(name)),
            b"x",
        )
        .unwrap();
    };
    strange("aaausdt", b"Icon\r");
    strange("bbbusdt", b"notes\xff\xfe");
    strange("cccusdt", b"a\tnote.txt");
    // None of them is a Parquet file, so nothing is missed.
    let _ = place.compact(&[]).ended(0);
    assert_eq!(
        ["aaausdt", "bbbusdt", "cccusdt"].map(|symbol| rows(&place, symbol)),
        [20; 3]
    );
    // One that is a Parquet file is missed, named and counted, and the others of its series are
    // taken in all the same.
    strange("aaausdt", b"2026-02-03_\n.parquet");
    put(&place, "aaausdt", "2026-02-03_09.parquet", 90);
    let ran = json(&place).ended(3).says("1 file of the spool ignored");
    let all = ran.json();
    let [one] = of_status(&all, "ignored")[..] else {
        panic!("{ran}")
    };
    assert_eq!(
        one["place"],
        format!("{}/2026-02-03_\\n.parquet", series("aaausdt"))
    );
    assert!(
        one["message"]
            .as_str()
            .unwrap()
            .contains("control characters"),
        "{one}"
    );
    assert_eq!(rows(&place, "aaausdt"), 25);
    let _ = place
        .compact(&[])
        .ended(3)
        .says("ignored exchange=binance")
        .says("14 Parquet files seen in the spool, 1 of them");
    place.verify();
}

#[test]
fn a_parquet_file_that_belongs_nowhere_is_named_and_counted() {
    let place = Place::new();
    put(&place, "btcusdt", "2026-02-03_00.parquet", 0);
    let bytes = fs::read(place.spool().join(SERIES).join("2026-02-03_00.parquet")).unwrap();
    let lost = [
        "a.parquet",
        "exchange=binance/stream=bbo/b.parquet",
        "old/exchange=a/stream=b/symbol=c/d.parquet",
    ];
    let own = [
        "_feed/a.parquet",
        "quality/date=20260203/a.parquet",
        "exchange=binance/b.parquet.tmp",
        "exchange=binance/.hidden.parquet",
        "exchange=binance/._a.parquet",
        "exchange=binance/README",
    ];
    for key in lost
        .iter()
        .chain(&own)
        .chain(&["exchange=bin ance/stream=bbo/symbol=x/f.parquet"])
    {
        let _ = place.put(key, &bytes);
    }
    let metrics = place.root().join("qlc.prom").display().to_string();
    let ran = place
        .compact(&["--format", "json", "--metrics-file", &metrics])
        .ended(3);
    let all = ran.json();
    let ignored: Vec<&str> = of_status(&all, "ignored")
        .iter()
        .map(|one| one["place"].as_str().unwrap())
        .collect();
    let mut want = lost.to_vec();
    want.insert(1, "exchange=bin ance/stream=bbo/symbol=x/f.parquet");
    assert_eq!(ignored, want, "{ran}");
    assert_eq!(of_status(&all, "done").len(), 1);
    let text = fs::read_to_string(&metrics).unwrap();
    assert!(
        text.contains("qlc_run_files_seen{command=\"compact\"} 5\n"),
        "{text}"
    );
    assert!(
        text.contains("qlc_run_files_ignored{command=\"compact\"} 4\n"),
        "{text}"
    );
    // A run that means other folders does not look there; what lies above its own may be meant for
    // it.
    let _ = place.compact(&["--exchange", "okx"]).ended(2);
    let ran = place
        .compact(&[
            "--exchange",
            "binance",
            "--stream",
            "bbo",
            "--symbol",
            "btcusdt",
        ])
        .ended(0);
    assert!(!ran.stdout.contains("ignored"), "{ran}");
    // A dry run says the same.
    let _ = place
        .compact(&["--dry-run"])
        .ended(3)
        .says("ignored a.parquet");
    let _ = place
        .qlc(&["status", "--end", "20260203", "--strict"])
        .ended(1)
        .says("4 files of the spool in no partition");
    for key in want {
        fs::remove_file(place.spool().join(key)).unwrap();
    }
    let _ = place.compact(&[]).ended(0);
    place.verify();
}

#[test]
fn links_in_the_spool_are_not_followed() {
    let place = Place::new();
    put(&place, "btcusdt", "2026-02-03_00.parquet", 0);
    put(&place, "ethusdt", "2026-02-03_00.parquet", 50);
    let outside = place.root().join("outside");
    fs::create_dir_all(outside.join("deep")).unwrap();
    fs::write(outside.join("secret"), "SECRET ".repeat(20)).unwrap();
    fs::write(
        outside.join("deep/2026-02-03_05.parquet"),
        "SECRET ".repeat(20),
    )
    .unwrap();
    let folder = place.spool().join(SERIES);
    symlink(outside.join("secret"), folder.join("2026-02-03_09.parquet")).unwrap();
    symlink(outside.join("deep"), folder.join("date=20260203")).unwrap();
    symlink(place.spool(), folder.join("loop")).unwrap();
    symlink(
        "2026-02-03_00.parquet",
        folder.join("2026-02-03_01.parquet"),
    )
    .unwrap();
    symlink("nothing", folder.join("note.txt")).unwrap();
    let ran = json(&place).ended(3);
    let all = ran.json();
    let ignored: Vec<&str> = of_status(&all, "ignored")
        .iter()
        .map(|one| one["place"].as_str().unwrap())
        .collect();
    let want = [
        "2026-02-03_01.parquet",
        "2026-02-03_09.parquet",
        "date=20260203",
        "loop",
    ];
    assert_eq!(
        ignored,
        want.map(|name| format!("{SERIES}/{name}")),
        "{ran}"
    );
    assert_eq!([rows(&place, "btcusdt"), rows(&place, "ethusdt")], [5, 5]);
    for key in listing(&place.archive()).into_keys() {
        let bytes = fs::read(place.archive().join(&key)).unwrap();
        assert!(!bytes.windows(6).any(|six| six == b"SECRET"), "{key}");
    }
    // Nor by any other command.
    let ran = place
        .qlc(&[
            "query",
            "SELECT count(*) AS n FROM spool.bbo",
            "--format",
            "json",
        ])
        .ended(0);
    assert_eq!(ran.json()[0][0]["n"], 10, "{ran}");
    let _ = place.qlc(&["prune", "--keep-days", "0"]).ended(0);
    assert!(outside.join("secret").exists() && outside.join("deep/2026-02-03_05.parquet").exists());
    place.verify();
}

#[test]
fn the_root_of_the_spool_may_be_a_link() {
    let place = Place::new();
    put(&place, "btcusdt", "2026-02-03_00.parquet", 0);
    let real = place.root().join("disk");
    fs::rename(place.spool(), &real).unwrap();
    symlink(&real, place.spool()).unwrap();
    let _ = place.compact(&[]).ended(0);
    assert_eq!(rows(&place, "btcusdt"), 5);
    place.verify();
}

#[test]
fn a_folder_that_cannot_be_listed_fails_its_series_and_no_other() {
    let place = Place::new();
    put(&place, "btcusdt", "2026-02-03_00.parquet", 0);
    put(&place, "ethusdt", "2026-02-03_00.parquet", 50);
    make_unlistable(&place.spool().join(series("btcusdt")));
    let ran = place.compact(&["--dry-run"]).ended(1);
    assert!(
        ran.stdout.contains("fail binance/bbo/btcusdt")
            && ran.stdout.contains("compact binance/bbo/ethusdt"),
        "{ran}"
    );
    let ran = json(&place).ended(1).says("1 folder not listed");
    let all = ran.json();
    let [failed] = of_status(&all, "failed")[..] else {
        panic!("{ran}")
    };
    assert_eq!(failed["symbol"], "btcusdt");
    assert!(
        failed["message"]
            .as_str()
            .unwrap()
            .contains("cannot be listed"),
        "{failed}"
    );
    assert_eq!(
        (
            of_status(&all, "unlisted").len(),
            of_status(&all, "done").len()
        ),
        (1, 1),
        "{ran}"
    );
    assert_eq!([rows(&place, "btcusdt"), rows(&place, "ethusdt")], [0, 5]);
    let _ = place.compact(&["--symbol", "ethusdt"]).ended(0);
    place.verify();
}

#[test]
fn what_is_above_all_series_fails_the_series_below_it() {
    let place = Place::new();
    put(&place, "btcusdt", "2026-02-03_00.parquet", 0);
    let okx = Events::sealed(quotes(DAY, SECOND, 0, 5))
        .series("okx", "bbo", "btcusdt")
        .bytes();
    let _ = place.put(
        "exchange=okx/stream=bbo/symbol=btcusdt/2026-02-03_00.parquet",
        &okx,
    );
    make_unlistable(&place.spool().join("exchange=binance/stream=bbo"));
    // The folder that cannot be listed is none that a series has: the run fails, and every series
    // is known.
    let ran = json(&place).ended(1);
    assert_eq!(of_status(&ran.json(), "done").len(), 2, "{ran}");
    place.verify();
}

#[test]
fn every_depth_and_both_spellings_of_a_day_are_read() {
    let place = Place::new();
    put(&place, "btcusdt", "date=2026-02-03/part-0.parquet", 0);
    put(&place, "btcusdt", "date=20260203/part-0.parquet", 10);
    put(
        &place,
        "btcusdt",
        "date=20260203/hour=03/part-0.parquet",
        20,
    );
    put(&place, "btcusdt", "old/2026/2026-02-03_05.parquet", 30);
    put(&place, "btcusdt", "2026-02-03_06.parquet", 40);
    let _ = place.compact(&[]).ended(0);
    assert_eq!(rows(&place, "btcusdt"), 25);
    let keys: Vec<String> = listing(&place.archive())
        .into_keys()
        .filter(|key| key.starts_with("exchange="))
        .collect();
    assert_eq!(
        keys,
        ["data.parquet", "meta.json"].map(|file| format!("{}/{file}", home()))
    );
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    let _ = place
        .qlc(&["status", "--start", "20260203", "--end", "20260203"])
        .ended(0);
    let sql = "SELECT date, count(*) AS n FROM spool.bbo GROUP BY date";
    let ran = place.qlc(&["query", sql, "--format", "json"]).ended(0);
    assert_eq!(
        ran.json()[0],
        serde_json::json!([{"date": "20260203", "n": 25}]),
        "{ran}"
    );
    let _ = place.qlc(&["verify", "--rebuild"]).ended(0);
    let _ = place.qlc(&["prune", "--keep-days", "0"]).ended(0);
    assert!(
        !place
            .spool()
            .join(SERIES)
            .join("date=20260203/hour=03/part-0.parquet")
            .exists()
    );
    place.verify();
}

#[test]
fn a_spool_that_held_files_and_holds_none_is_told() {
    let place = Place::new();
    let _ = place.compact(&[]).ended(0);
    put(&place, "btcusdt", "2026-02-03_00.parquet", 0);
    let ran = place.compact(&[]).ended(0);
    assert!(!ran.stderr.contains("holds no file"), "{ran}");
    fs::remove_dir_all(place.spool()).unwrap();
    fs::create_dir(place.spool()).unwrap();
    let metrics = place.root().join("qlc.prom").display().to_string();
    let args = [CATCH_UP, &["--metrics-file", &metrics]].concat();
    let _ = place
        .qlc(&args)
        .ended(0)
        .says("holds no file at all, and held 1 in the run of");
    let text = fs::read_to_string(&metrics).unwrap();
    assert!(
        text.contains("qlc_run_files_seen{command=\"compact\"} 0\n"),
        "{text}"
    );
    // Told again, although the run before this one saw none either.
    let _ = place
        .qlc(&args)
        .ended(0)
        .says("holds no file at all, and held 1 in the run of");
}
