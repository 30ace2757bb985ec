//! `qlc import --from OLD --rewrite`: a whole tree that the older pipeline left is taken over by
//! one command, each row once.
//!
//! The trees are made as that pipeline made them: its collector puts a file into the folder of the
//! day on which it was written, its compactor makes one file of each such folder and numbers the
//! rows from 0, and nothing says which files it took.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::SystemTime,
};

use arrow::datatypes::TimeUnit;
use serde_json::json;

use super::support::{
    archive::{dir, listing, published, quarantine, sha256},
    damage,
    events::{Claim, DAY, Events, HOUR, MINUTE, Quote, SECOND, Times, quotes},
    faults::{Asked, Kind},
    run::{Place, Ran},
};

const DAYS: [&str; 3] = ["20260203", "20260204", "20260205"];
const EXCHANGES: [&str; 4] = ["binance", "bybit", "kraken", "okx"];
const SYMBOLS: [&str; 7] = [
    "adausdt", "bnbusdt", "btcusdt", "dogeusdt", "ethusdt", "solusdt", "xrpusdt",
];

/// One series as the collector wrote it: rows, and when they were written.
type Written = (i64, Vec<Quote>);

/// A quote every ten minutes for three days, the first of the second and the third day written at
/// midnight with the last ones of the day before.
fn series(nth: i64) -> Vec<Written> {
    let rows = quotes(DAY + 7 * MINUTE, 10 * MINUTE, 1_000_000 * nth, 3 * 144);
    // Files of twelve rows end seven minutes before the hour is over, so that some are written
    // after midnight.
    rows.chunks(12)
        .map(|rows| (rows[rows.len() - 1].ts_event + 8 * MINUTE, rows.to_vec()))
        .collect()
}

fn day_of(ns: i64) -> &'static str {
    DAYS[usize::try_from((ns - DAY) / (24 * HOUR)).unwrap().min(2)]
}

/// As the older collector wrote rows: milliseconds, no `seq`.
fn raw(rows: &[Quote], exchange: &'static str, symbol: &'static str) -> Vec<u8> {
    Events::older(rows.to_vec())
        .series(exchange, "bbo", symbol)
        .bytes()
}

/// As its compactor did: in order of time, numbered from 0.
fn compacted(rows: &[Quote], exchange: &'static str, symbol: &'static str) -> Vec<u8> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| row.ts_event);
    for (nth, row) in (0..).zip(&mut rows) {
        row.seq = nth;
    }
    let events = Events::sealed(rows)
        .series(exchange, "bbo", symbol)
        .undeclared()
        .hash(Claim::None);
    // What a value is follows from its number, which is another one now.
    events.times(Times::Int64(TimeUnit::Millisecond)).bytes()
}

fn put(folder: &Path, file: &str, bytes: &[u8]) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(file), bytes).unwrap();
}

fn meta(rows: &[Quote], data: &[u8]) -> Vec<u8> {
    let ms = || rows.iter().map(|row| row.ts_event / 1_000_000);
    let meta = json!({"rows": rows.len(), "ts_event_min": ms().min(), "ts_event_max": ms().max(), "sha256": sha256(data),
        "source_files": null, "schema_version": 1, "stream_type": "bbo", "ordering_columns": ["ts_event", "seq"],
        "day_quality": "GOOD", "post_filter_version": "1.0.0"});
    serde_json::to_vec(&meta).unwrap()
}

/// Puts one series into the old tree: raw files below `raw`, days below `compact`. The compactor
/// did not get the files `lost`.
fn put_series(
    old: &Path,
    exchange: &'static str,
    symbol: &'static str,
    written: &[Written],
    lost: &[usize],
) {
    let mut days: BTreeMap<&str, Vec<Quote>> = BTreeMap::new();
    for (nth, (time, rows)) in written.iter().enumerate() {
        let day = day_of(*time);
        let folder = old.join("raw").join(dir(exchange, "bbo", symbol, day));
        put(
            &folder,
            &format!("part-{}-{nth:06}.parquet", time / 1_000_000_000),
            &raw(rows, exchange, symbol),
        );
        if !lost.contains(&nth) {
            days.entry(day).or_default().extend(rows);
        }
    }
    for (day, rows) in days {
        let (folder, data) = (
            old.join("compact").join(dir(exchange, "bbo", symbol, day)),
            compacted(&rows, exchange, symbol),
        );
        put(&folder, "data.parquet", &data);
        put(&folder, "meta.json", &meta(&rows, &data));
        put(&folder, "quality_day.json", br#"{"day_quality":"GOOD"}"#);
    }
}

/// Gives every file below `folder` one time.
fn one_time(folder: &Path) {
    for key in listing(folder).keys() {
        let file = fs::File::options()
            .write(true)
            .open(folder.join(key))
            .unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_780_000_000))
            .unwrap();
    }
}

/// Copies the raw files of the old tree into the spool, as files of now.
fn copy_raw(place: &Place, old: &Path) {
    for key in listing(&old.join("raw")).keys() {
        let _ = place.put(key, &fs::read(old.join("raw").join(key)).unwrap());
    }
}

/// Times and prices of all rows of a series, ascending: `seq` is the compactor's, or that of qlc.
fn rows_of<'a>(rows: impl IntoIterator<Item = &'a Quote>) -> Vec<(i64, i64)> {
    let mut all: Vec<(i64, i64)> = rows
        .into_iter()
        .map(|row| {
            (
                row.ts_event / 1_000_000,
                (row.bid_price * 10.0).round() as i64,
            )
        })
        .collect();
    all.sort_unstable();
    all
}

/// The rows of a series in the archive, in milliseconds, each in the folder of its day.
fn archived(place: &Place, exchange: &str, symbol: &str) -> Vec<(i64, i64)> {
    let mut all = Vec::new();
    for day in DAYS {
        let quotes = published(&place.archive(), &dir(exchange, "bbo", symbol, day)).quotes();
        assert!(
            quotes
                .iter()
                .all(|row| day_of(row.ts_event * 1_000_000) == day),
            "{day} has rows of another day"
        );
        all.extend(
            quotes
                .iter()
                .map(|row| (row.ts_event, (row.bid_price * 10.0).round() as i64)),
        );
    }
    all.sort_unstable();
    all
}

fn whole(written: &[Written]) -> Vec<(i64, i64)> {
    rows_of(written.iter().flat_map(|(_, rows)| rows))
}

fn from(place: &Place) -> String {
    place.root().join("old").display().to_string()
}

#[test]
fn a_tree_of_28_series_and_three_days_is_taken_over_by_one_command_each_row_once() {
    let place = Place::new();
    let old = place.root().join("old");
    let all: Vec<_> = EXCHANGES
        .iter()
        .flat_map(|exchange| SYMBOLS.map(|symbol| (*exchange, symbol)))
        .collect();
    for (nth, (exchange, symbol)) in (0..).zip(&all) {
        put_series(&old, exchange, symbol, &series(nth), &[]);
    }
    put(&old.join("compact").join("compacted"), "_state.json", b"{}");
    one_time(&old);
    let before = listing(place.root());
    let dry = place
        .qlc(&["import", "--from", &from(&place), "--rewrite", "--dry-run"])
        .ended(0);
    let _ = dry
        .says("168 partitions")
        .says("rewritable")
        .says("a dry run changes nothing");
    assert_eq!(listing(place.root()), before, "a dry run changes nothing");

    let ran = place
        .qlc(&[
            "import",
            "--from",
            &from(&place),
            "--rewrite",
            "--format",
            "json",
        ])
        .ended(0);
    let told = ran.json();
    assert_eq!(told.len(), 28 * 6, "three days, compacted and raw");
    let days = |one: &&serde_json::Value| one.get("raw_files").is_none();
    let rows = |of: Vec<&serde_json::Value>| {
        of.iter()
            .map(|one| one["rows"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(rows(told.iter().filter(days).collect()), 28 * 432);
    assert_eq!(
        rows(told.iter().filter(|one| !days(one)).collect()),
        28 * 432
    );
    for (nth, (exchange, symbol)) in (0..).zip(&all) {
        assert_eq!(
            archived(&place, exchange, symbol),
            whole(&series(nth)),
            "{exchange} {symbol}"
        );
    }
    let now = listing(place.root());
    assert!(
        before
            .iter()
            .all(|(key, what)| !key.starts_with("old/") || now.get(key) == Some(what)),
        "the old tree changed"
    );
    place.verify();
    place.is_tidy();
    // What lay beside the old data lies beside the archive's.
    let kept = place
        .archive()
        .join("_imported")
        .join(dir("okx", "bbo", "btcusdt", "20260204"));
    let meta = old
        .join("compact")
        .join(dir("okx", "bbo", "btcusdt", "20260204"))
        .join("meta.json");
    assert_eq!(
        fs::read(kept.join("meta.json")).unwrap(),
        fs::read(meta).unwrap()
    );
    assert!(kept.join("quality_day.json").is_file());

    let after = listing(&place.archive());
    let again = place
        .qlc(&["import", "--from", &from(&place), "--rewrite"])
        .ended(0);
    let _ = again.says("168 partitions: 168 up-to-date");
    assert_eq!(
        listing(&place.archive()),
        after,
        "the second time there is nothing to do"
    );
    let _ = place.qlc(&["clean", "--older-than", "0s"]).ended(0);
    place.verify();
}

#[test]
fn raw_files_in_the_spool_are_not_taken_in_again_and_what_the_compactor_lost_is() {
    let place = Place::new();
    let old = place.root().join("old");
    let written = series(1);
    put_series(&old, "okx", "btcusdt", &written, &[4, 20]);
    // The archive is taken over alone; the raw files are copied into the spool later, without their
    // times.
    let compact = old.join("compact").display().to_string();
    let _ = place
        .qlc(&["import", "--from", &compact, "--rewrite"])
        .ended(0);
    let lost = |nth: usize| [4, 20].contains(&nth);
    let taken = written
        .iter()
        .enumerate()
        .filter(|(nth, _)| !lost(*nth))
        .flat_map(|(_, (_, rows))| rows);
    assert_eq!(archived(&place, "okx", "btcusdt"), rows_of(taken));
    copy_raw(&place, &old);
    let compact = |more: &[&str]| place.qlc(&[&["compact", "--mode", "catch-up"], more].concat());
    let _ = compact(&["-v"])
        .ended(0)
        .says("rows of its files were in the archive already");
    assert_eq!(archived(&place, "okx", "btcusdt"), whole(&written));
    place.verify();
    let after = listing(&place.archive());
    let _ = compact(&[]).ended(0).says("3 nothing to do");
    assert_eq!(listing(&place.archive()), after);
    let _ = compact(&["--force"]).ended(0);
    assert_eq!(archived(&place, "okx", "btcusdt"), whole(&written));
    // Each of them is proven to be in the archive, so they may go, and nothing goes with them.
    let _ = place.qlc(&["prune", "--keep-days", "7"]).ended(0);
    assert!(listing(&place.spool()).is_empty());
    assert_eq!(archived(&place, "okx", "btcusdt"), whole(&written));
    place.verify();
}

#[test]
fn days_that_were_compacted_from_the_same_files_before_get_no_row_twice() {
    let place = Place::new();
    let old = place.root().join("old");
    let written = series(2);
    put_series(&old, "okx", "btcusdt", &written, &[]);
    copy_raw(&place, &old);
    let _ = place.qlc(&["compact", "--mode", "catch-up"]).ended(0);
    let compact = old.join("compact").display().to_string();
    let left = place
        .qlc(&["import", "--from", &compact, "--format", "json"])
        .ended(1)
        .json();
    assert!(
        left[0]["reasons"][0].as_str().unwrap().contains("already"),
        "{left:?}"
    );
    let ran = place
        .qlc(&[
            "import",
            "--from",
            &compact,
            "--rewrite",
            "--format",
            "json",
        ])
        .ended(0);
    assert!(
        ran.json().iter().all(|one| one["outcome"] == "rewritten"),
        "{ran}"
    );
    assert_eq!(archived(&place, "okx", "btcusdt"), whole(&written));
    place.verify();
    let _ = place
        .qlc(&["import", "--from", &compact, "--rewrite"])
        .ended(0)
        .says("3 up-to-date");
    let _ = place
        .qlc(&["compact", "--mode", "catch-up", "--force"])
        .ended(0);
    assert_eq!(archived(&place, "okx", "btcusdt"), whole(&written));
    place.verify();
}

#[test]
fn raw_files_that_were_cut_in_another_way_are_known_by_their_rows() {
    let place = Place::new();
    let old = place.root().join("old");
    let written = series(3);
    put_series(&old, "okx", "btcusdt", &written, &[7]);
    let compact = old.join("compact").display().to_string();
    let _ = place
        .qlc(&["import", "--from", &compact, "--rewrite"])
        .ended(0);
    // One file of many, half of whose rows the archive lacks; and one row that comes twice.
    let rows: Vec<Quote> = written[6..9]
        .iter()
        .flat_map(|(_, rows)| rows.clone())
        .collect();
    let twice = [&rows[..], &rows[..1]].concat();
    let _ = place.put(
        &format!("{}/cut.parquet", dir("okx", "bbo", "btcusdt", DAYS[0])),
        &raw(&twice, "okx", "btcusdt"),
    );
    let _ = place
        .qlc(&["compact", "--mode", "catch-up", "-v"])
        .ended(0)
        .says("24 rows of its files were in the archive");
    let all = written.iter().flat_map(|(_, rows)| rows).chain(&rows[..1]);
    assert_eq!(
        archived(&place, "okx", "btcusdt"),
        rows_of(all),
        "the archive has as many of equal rows as the file"
    );
    place.verify();
    let _ = place
        .qlc(&["compact", "--mode", "catch-up"])
        .ended(0)
        .says("nothing to do");
    let _ = place
        .qlc(&["import", "--from", &from(&place), "--rewrite"])
        .ended(0);
    let all = written.iter().flat_map(|(_, rows)| rows).chain(&rows[..1]);
    assert_eq!(archived(&place, "okx", "btcusdt"), rows_of(all));
    place.verify();
}

#[test]
fn an_import_that_was_killed_is_finished_by_the_next_one() {
    let mut point = 0;
    loop {
        point += 5;
        let place = Place::new();
        let old = place.root().join("old");
        // The two hours before midnight, and two after it.
        let written: Vec<Written> = series(4)[10..14].to_vec();
        put_series(&old, "okx", "btcusdt", &written, &[1]);
        let from = from(&place);
        let args = ["import", "--from", &from, "--rewrite"];
        let killed = place
            .qlc_env(&args, &[("QLC_CRASH_AT", &point.to_string())])
            .code
            .is_none();
        let _ = place.qlc(&args).ended(0);
        let mut rows = Vec::new();
        for day in &DAYS[..2] {
            rows.extend(published(&place.archive(), &dir("okx", "bbo", "btcusdt", day)).quotes());
        }
        for row in &mut rows {
            row.ts_event *= 1_000_000;
        }
        assert_eq!(rows_of(&rows), whole(&written), "point {point}");
        let _ = place.qlc(&["clean", "--older-than", "0s"]).ended(0);
        place.verify();
        place.is_tidy();
        if !killed {
            break;
        }
    }
    assert!(point > 20, "the import has {point} crash points");
}

#[test]
fn days_that_cannot_be_taken_over_are_told_and_hold_up_no_other() {
    let place = Place::new();
    let old = place.root().join("old");
    let written = series(5);
    for symbol in ["adausdt", "btcusdt", "ethusdt", "solusdt"] {
        put_series(&old, "okx", symbol, &written, &[]);
    }
    fs::remove_dir_all(old.join("raw")).unwrap();
    let day = |symbol: &str| old.join("compact").join(dir("okx", "bbo", symbol, DAYS[1]));
    let data = fs::read(day("adausdt").join("data.parquet")).unwrap();
    fs::write(
        day("adausdt").join("data.parquet"),
        damage::truncated(&data, data.len() - 100),
    )
    .unwrap();
    let meta = fs::read_to_string(day("btcusdt").join("meta.json")).unwrap();
    fs::write(
        day("btcusdt").join("meta.json"),
        meta.replace("\"rows\":", "\"rows\":1"),
    )
    .unwrap();
    fs::remove_file(day("ethusdt").join("data.parquet")).unwrap();
    // A row of a day that no folder of this one may hold.
    let mut rows: Vec<Quote> = written[13..20]
        .iter()
        .flat_map(|(_, rows)| rows.clone())
        .collect();
    rows[0].ts_event -= 72 * HOUR;
    let data = compacted(&rows, "okx", "solusdt");
    put(&day("solusdt"), "data.parquet", &data);
    put(&day("solusdt"), "meta.json", &self::meta(&rows, &data));

    let ran = place
        .qlc(&[
            "import",
            "--from",
            &from(&place),
            "--rewrite",
            "--format",
            "json",
        ])
        .ended(4);
    let told = ran.json();
    let of = |symbol: &str, date: &str| {
        let one = told
            .iter()
            .find(|one| one["symbol"] == symbol && one["date"] == date)
            .unwrap();
        (one["outcome"].as_str().unwrap(), one["reasons"].to_string())
    };
    for (symbol, outcome, reason) in [
        ("adausdt", "damaged", "TRUNCATED"),
        ("btcusdt", "damaged", "meta.json says 1"),
        ("ethusdt", "unfit", "there is no data.parquet"),
        ("solusdt", "refused", "QUARANTINE has them"),
    ] {
        let (is, why) = of(symbol, DAYS[1]);
        assert!(
            is == outcome && why.contains(reason),
            "{symbol}: {is} {why}\n{ran}"
        );
        assert!(
            ["adopted", "rewritten"].contains(&of(symbol, DAYS[0]).0),
            "{ran}"
        );
    }
    assert!(quarantine(&place.archive(), &dir("okx", "bbo", "solusdt", DAYS[1])).is_some());
    place.verify();
    let text = place
        .qlc(&["import", "--from", &from(&place), "--rewrite"])
        .ended(4);
    let _ = text.says("1 refused").says("2 damaged").says("1 unfit");
    place.verify();
}

#[test]
fn an_end_that_is_told_too_early_is_the_older_compactors_fault() {
    let place = Place::new();
    let old = place.root().join("old");
    put_series(&old, "okx", "btcusdt", &series(6), &[]);
    for day in DAYS {
        let path = old
            .join("compact")
            .join(dir("okx", "bbo", "btcusdt", day))
            .join("meta.json");
        let mut meta: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        meta["ts_event_max"] = json!(meta["ts_event_max"].as_i64().unwrap() - 3_600_000);
        meta["sha256"] = json!("N/A");
        fs::write(path, meta.to_string()).unwrap();
    }
    let _ = place
        .qlc(&["import", "--from", &from(&place), "--rewrite"])
        .ended(0);
    assert_eq!(archived(&place, "okx", "btcusdt"), whole(&series(6)));
    place.verify();
}

#[test]
fn a_tree_is_taken_over_into_a_bucket_too() {
    let place = Place::on_s3();
    let old = place.root().join("old");
    put_series(&old, "okx", "btcusdt", &series(7), &[3]);
    let _ = place
        .qlc(&["import", "--from", &from(&place), "--rewrite"])
        .ended(0);
    assert_eq!(archived(&place, "okx", "btcusdt"), whole(&series(7)));
    place.verify();
    place.leaves_nothing();
    let _ = place
        .qlc(&["import", "--from", &from(&place), "--rewrite"])
        .ended(0)
        .says("6 up-to-date");
}

/// An old tree in the bucket with these raw files of one day; returns its address.
fn tree_in_a_bucket(place: &Place, files: &[(&str, Vec<u8>)]) -> String {
    let day = dir("okx", "bbo", "btcusdt", "20260203");
    for (file, bytes) in files {
        place.server().put(&format!("old/{day}/{file}"), bytes);
    }
    let archive = place.archive_url().display().to_string();
    format!("{}/old", archive.strip_suffix("/archive").unwrap())
}

/// The files of the old tree that were read after the last day was published.
fn read_at_the_end(place: &Place) -> BTreeSet<String> {
    let seen: Vec<_> = place.server().seen().into_iter().map(|s| s.asked).collect();
    let is_meta = |asked: &Asked| asked.writes() && asked.key.ends_with("/meta.json");
    let end = seen.iter().rposition(is_meta).map_or(0, |last| last + 1);
    let read = seen.into_iter().skip(end);
    read.filter(|asked| asked.kind == Kind::Get && asked.key.starts_with("old/"))
        .map(|asked| asked.key)
        .collect()
}

#[test]
fn what_the_run_has_just_compacted_is_not_read_a_second_time_but_by_the_next_run() {
    let place = Place::on_s3();
    let rows = |hour: i64| quotes(DAY + hour * HOUR, SECOND, hour * 1000, 100);
    let file = |hour: i64| raw(&rows(hour), "okx", "btcusdt");
    // The last has rows of the next day, and one file is there twice.
    let files = [
        ("a.parquet", file(1)),
        ("b.parquet", file(2)),
        (
            "c.parquet",
            raw(
                &quotes(DAY + 24 * HOUR - MINUTE, SECOND, 0, 100),
                "okx",
                "btcusdt",
            ),
        ),
        ("copy-of-a.parquet", file(1)),
    ];
    let old = tree_in_a_bucket(&place, &files);
    let import = ["import", "--from", &old, "--rewrite", "--format", "json"];
    let ran = place.qlc(&import).ended(0);
    let told = ran.json();
    let [one] = told.as_slice() else {
        panic!("{ran}")
    };
    assert_eq!(
        (&one["outcome"], &one["rows"], &one["days"]),
        (
            &"rewritten".into(),
            &400.into(),
            &json!({"20260203": 360, "20260204": 40})
        ),
        "{ran}"
    );
    let copies: Vec<String> = read_at_the_end(&place).into_iter().collect();
    let [copy] = copies.as_slice() else {
        panic!("{copies:?}")
    };
    assert!(
        copy.contains("/a.parquet") || copy.contains("/copy-of-a.parquet"),
        "{copy}"
    );
    place.server().forget();
    let ran = place.qlc(&import).ended(0);
    assert_eq!(ran.json()[0]["outcome"], "up-to-date", "{ran}");
    let again = read_at_the_end(&place);
    assert_eq!(again.len(), 4, "{again:?}");
    place.verify();
}

#[test]
fn a_file_that_changes_after_it_was_compacted_is_not_taken_over() {
    let place = Place::on_s3();
    let rows = |hour: i64| quotes(DAY + hour * HOUR, SECOND, hour * 1000, 100);
    let file = |hour: i64| raw(&rows(hour), "okx", "btcusdt");
    let old = tree_in_a_bucket(&place, &[("a.parquet", file(1)), ("b.parquet", file(2))]);
    let day = dir("okx", "bbo", "btcusdt", "20260203");
    let meta = format!("archive/{day}/meta.json");
    let other = raw(&quotes(DAY + 3 * HOUR, SECOND, 3000, 101), "okx", "btcusdt");
    place.server().meanwhile(
        move |asked| asked.writes() && asked.key == meta,
        place
            .server()
            .putting(&format!("old/{day}/b.parquet"), other),
    );
    let import = ["import", "--from", &old, "--rewrite", "--format", "json"];
    let ran = place.qlc(&import).ended(1);
    let one = &ran.json()[0];
    assert_eq!(one["outcome"], "refused", "{ran}");
    assert!(
        one["reasons"][0].as_str().unwrap().contains("b.parquet"),
        "{ran}"
    );
    let _ = place.qlc(&import).ended(0);
    let _ = place.qlc(&import).ended(0).says("up-to-date");
    place.verify();
}

#[test]
fn what_lies_nowhere_in_an_old_tree_is_told() {
    let place = Place::new();
    let old = place.root().join("old");
    put_series(&old, "okx", "btcusdt", &series(8)[..6], &[]);
    put(
        &old.join("features")
            .join("featureset=v1")
            .join(dir("okx", "bbo", "btcusdt", DAYS[0])),
        "data.parquet",
        b"PAR1",
    );
    let ran = place
        .qlc(&["import", "--from", &from(&place), "--rewrite"])
        .ended(3);
    let _ = ran.says("features/featureset=v1").says("not looked at");
    place.verify();
    let _ = place.qlc(&["import", "--rewrite"]).ended(2).says("--from");
    // Of several places in the tree only one need have what is asked for.
    let _ = place
        .qlc(&["import", "--from", &from(&place), "--date", DAYS[0]])
        .ended(0)
        .says("up-to-date");
    // Days are selected by the folders that rows lie in.
    let none = place
        .qlc(&[
            "import",
            "--from",
            &from(&place),
            "--rewrite",
            "--date",
            "20260301",
        ])
        .ended(2);
    let _ = none.says("nothing there matches");
}

#[test]
fn a_day_that_was_taken_over_and_is_gone_comes_back_from_the_old_tree() {
    let place = Place::new();
    let old = place.root().join("old");
    put_series(&old, "okx", "btcusdt", &series(9), &[]);
    fs::remove_dir_all(old.join("raw")).unwrap();
    let _ = place
        .qlc(&["import", "--from", &from(&place), "--rewrite"])
        .ended(0);
    let taken = listing(&place.archive());
    let day = place.archive().join(dir("okx", "bbo", "btcusdt", DAYS[1]));
    fs::remove_file(day.join("data.parquet")).unwrap();
    fs::remove_file(day.join("meta.json")).unwrap();
    let _ = place.qlc(&["verify"]).ended(4);
    let _ = place
        .qlc(&["import", "--from", &from(&place), "--rewrite"])
        .ended(0);
    assert_eq!(archived(&place, "okx", "btcusdt"), whole(&series(9)));
    let data = |all: &BTreeMap<String, String>| {
        all.iter()
            .filter(|(k, _)| k.ends_with("data.parquet"))
            .map(|(_, v)| v.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(data(&listing(&place.archive())), data(&taken));
    place.verify();
}

#[test]
fn a_dry_run_foretells_that_rows_of_another_symbol_are_refused() {
    let place = Place::new();
    let old = place.root().join("old");
    put_series(&old, "okx", "btcusdt", &series(3), &[]);
    // Another symbol's files lie in its folder: a raw one, and a day of a third symbol.
    let day = dir("okx", "bbo", "btcusdt", DAYS[1]);
    let strangers = raw(&quotes(DAY + 30 * HOUR, MINUTE, 7, 20), "okx", "ethusdt");
    put(
        &old.join("raw").join(day),
        "part-stranger.parquet",
        &strangers,
    );
    let rows = quotes(DAY, MINUTE, 0, 20);
    let data = compacted(&rows, "okx", "ethusdt");
    let folder = old
        .join("compact")
        .join(dir("okx", "bbo", "solusdt", DAYS[0]));
    put(&folder, "data.parquet", &data);
    put(&folder, "meta.json", &meta(&rows, &data));
    let refused = |more: &[&str]| -> BTreeSet<(String, String)> {
        let from = from(&place);
        let args = ["import", "--from", &from, "--rewrite", "--format", "json"];
        let ran = place.qlc(&[&args[..], more].concat()).ended(1);
        let all = ran.json();
        let refused = all.iter().filter(|one| one["outcome"] == "refused");
        let refused = refused.inspect(|one| {
            assert!(
                one["reasons"].to_string().contains("WRONG_PARTITION"),
                "{one}"
            );
        });
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        refused
            .map(|one| (text(&one["symbol"]), text(&one["date"])))
            .collect()
    };
    let dry = refused(&["--dry-run"]);
    let want = [("btcusdt", DAYS[1]), ("solusdt", DAYS[0])];
    assert_eq!(dry, want.map(|(s, d)| (s.to_owned(), d.to_owned())).into());
    assert_eq!(dry, refused(&[]));
    place.verify();
}

#[test]
fn a_dry_run_foretells_what_is_refused_and_a_file_quarantined_just_now_is_told_as_that() {
    let place = Place::new();
    let old = place.root().join("old");
    put_series(&old, "okx", "btcusdt", &series(3), &[]);
    let raw = old.join("raw").join(dir("okx", "bbo", "btcusdt", DAYS[1]));
    let broken = listing(&raw).into_keys().next().unwrap();
    let bytes = fs::read(raw.join(&broken)).unwrap();
    fs::write(
        raw.join(&broken),
        damage::truncated(&bytes, bytes.len() - 100),
    )
    .unwrap();
    let run = |more: &[&str]| {
        let from = from(&place);
        let args = ["import", "--from", &from, "--rewrite", "--format", "json"];
        place.qlc(&[&args[..], more].concat())
    };
    // The outcome of each day, as it will be after a real run, and why.
    let outcomes = |ran: &Ran| -> BTreeMap<(String, bool), (String, String)> {
        let one = |one: &serde_json::Value| {
            let outcome = match one["outcome"].as_str().unwrap() {
                "adoptable" => "adopted",
                "rewritable" => "rewritten",
                other => other,
            };
            let day = one["date"].as_str().unwrap().to_owned();
            let key = (day, one.get("raw_files").is_some());
            (key, (outcome.to_owned(), one["reasons"].to_string()))
        };
        ran.json().iter().map(one).collect()
    };
    let dry = outcomes(&run(&["--dry-run"]).ended(1));
    let real = outcomes(&run(&[]).ended(1));
    let broken_day = (DAYS[1].to_owned(), true);
    for (day, (outcome, _)) in &real {
        assert_eq!(*outcome, dry[day].0, "{day:?}");
        assert_eq!(outcome == "refused", *day == broken_day, "{day:?}");
    }
    assert!(dry[&broken_day].1.contains("would go to QUARANTINE"));
    let why = &real[&broken_day].1;
    assert!(why.contains(&broken), "{why}");
    assert!(
        why.contains("lies whole in QUARANTINE") && !why.contains("no compaction"),
        "{why}"
    );
    place.verify();
}
