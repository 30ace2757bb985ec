//! Spool files leave only when every row of them is proven to be in the archive; killed anywhere,
//! nothing is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::array::{ArrayRef, StringArray};
use parquet::basic::Compression;
use serde_json::Value;

use super::support::{
    archive::{dir, listing, published, sha256},
    damage,
    events::{Claim, DAY, Events, HOUR, Quote, SECOND, quotes},
    inside,
    run::{Place, Ran, SERIES},
};

const FIRST: &str = "2026-02-03_00-00-00.parquet";
const SECOND_FILE: &str = "2026-02-03_00-01-00.parquet";
/// A week after the files of the tests.
const LATER: &str = "2026-02-10T06:00:00Z";

fn prune(place: &Place, more: &[&str]) -> Ran {
    place.qlc(&[&["prune", "--now", LATER], more].concat())
}

fn week(place: &Place) -> Ran {
    prune(place, &["--keep-days", "6"])
}

fn put(place: &Place, name: &str, start: i64, seq: i64) {
    let _ = place.put_quotes(
        name,
        &Events::sealed(quotes(start, SECOND, seq, 50)).bytes(),
    );
}

fn spool(place: &Place) -> Vec<String> {
    let prefix = format!("{SERIES}/");
    listing(&place.spool())
        .into_keys()
        .map(|key| key.strip_prefix(&prefix).unwrap_or(&key).to_owned())
        .collect()
}

/// The lines of all journals, and the intents that are left.
fn journals(place: &Place) -> (Vec<Value>, usize) {
    let mut lines = Vec::new();
    let mut intents = 0;
    // What is half written has a name of its own.
    let written = |key: &&String| key.starts_with("_pruned/") && key.ends_with(".ndjson");
    for key in listing(&place.archive()).keys().filter(written) {
        if key.ends_with(".intent.ndjson") {
            intents += 1;
            continue;
        }
        let text = fs::read_to_string(place.archive().join(key)).unwrap();
        lines.extend(
            text.lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
    }
    (lines, intents)
}

fn outcomes(ran: &Ran) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let file = |one: &Value| text(&one["name"]).rsplit('/').next().unwrap().to_owned();
    ran.json()
        .iter()
        .map(|one| (file(one), text(&one["outcome"])))
        .collect()
}

#[test]
fn proven_files_go_and_the_journal_says_why() {
    let place = Place::new();
    put(&place, FIRST, DAY, 0);
    put(&place, SECOND_FILE, DAY + 60 * SECOND, 60);
    let _ = place.compact(&[]).ended(0);
    let before = listing(&place.spool());
    let data = published(
        &place.archive(),
        &dir("binance", "bbo", "btcusdt", "20260203"),
    );

    let _ = prune(&place, &["--keep-days", "6", "--dry-run"])
        .ended(0)
        .says("would remove 2 files")
        .says("dry run");
    assert_eq!(listing(&place.spool()), before, "a dry run removes nothing");
    assert_eq!(journals(&place).0.len(), 0);

    let _ = prune(&place, &["--keep-days", "7"])
        .ended(0)
        .says("kept 2 files")
        .says("old enough");
    assert_eq!(
        listing(&place.spool()),
        before,
        "seven days old is not older than seven days"
    );

    let _ = week(&place).ended(0).says("removed 2 files");
    assert_eq!(spool(&place), Vec::<String>::new());
    assert!(place.spool().join(SERIES).is_dir(), "folders stay");
    let (lines, intents) = journals(&place);
    assert_eq!((lines.len(), intents), (2, 0));
    let line = &lines[0];
    let key = format!("{SERIES}/{FIRST}");
    assert_eq!(
        (&line["name"], &line["sha256"]),
        (&key.as_str().into(), &before[&key].as_str().into())
    );
    assert_eq!(
        (&line["rows"], &line["ended"]),
        (&50.into(), &"removed".into())
    );
    assert_eq!(line["data"][0]["data_sha256"], data.meta["sha256"]);
    assert_eq!(
        (&line["data"][0]["date"], &line["data"][0]["rows"]),
        (&"20260203".into(), &50.into())
    );
    place.verify();

    let _ = week(&place).ended(0).says("nothing to prune");
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    // A late file still finds the archived rows.
    put(
        &place,
        "2026-02-03_00-02-00.parquet",
        DAY + 120 * SECOND,
        120,
    );
    let _ = place.compact(&[]).ended(0);
    assert_eq!(
        published(
            &place.archive(),
            &dir("binance", "bbo", "btcusdt", "20260203")
        )
        .quotes()
        .len(),
        150
    );
    let _ = week(&place).ended(0).says("removed 1 file");
    place.verify();
    place.is_tidy();
}

/// A file of another exchange's series.
fn put_of_okx(place: &Place) {
    let other = Events::sealed(quotes(DAY, SECOND, 0, 5))
        .series("okx", "bbo", "BTCUSDT")
        .bytes();
    let _ = place.put(
        &format!("exchange=okx/stream=bbo/symbol=btcusdt/{FIRST}"),
        &other,
    );
}

#[test]
fn only_the_series_that_is_meant() {
    let place = Place::new();
    put(&place, FIRST, DAY, 0);
    put_of_okx(&place);
    let _ = place.compact(&[]).ended(0);
    let _ = prune(&place, &["--keep-days", "0", "--exchange", "okx"])
        .ended(0)
        .says("removed 1 file");
    assert_eq!(spool(&place), [FIRST]);
    let _ = prune(&place, &["--keep-days", "0", "--exchange", "kraken"])
        .ended(2)
        .says("matches");
    place.verify();
}

#[test]
fn a_file_goes_only_when_all_its_days_are_published() {
    let place = Place::new();
    let midnight = DAY + 24 * HOUR;
    put(
        &place,
        "2026-02-03_23-59-40.parquet",
        midnight - 20 * SECOND,
        0,
    );
    let one = ["--symbol", "btcusdt", "--stream", "bbo"];
    let single = [
        &["compact", "--mode", "single", "--date", "20260203"],
        &one[..],
    ]
    .concat();
    let _ = place.qlc(&single).ended(0);
    let ran = prune(&place, &["--keep-days", "5"])
        .ended(0)
        .says("20260204 is not published yet");
    assert_eq!(spool(&place).len(), 1, "{ran}");
    let _ = place.compact(&[]).ended(0);
    let young = place
        .qlc(&[
            "prune",
            "--keep-days",
            "5",
            "--now",
            "2026-02-09T06:00:00Z",
            "--format",
            "json",
        ])
        .ended(0);
    assert_eq!(
        outcomes(&young).into_values().collect::<Vec<_>>(),
        ["young"]
    );
    assert!(young.stdout.contains("20260204 is not older"), "{young}");
    let _ = prune(&place, &["--keep-days", "5"])
        .ended(0)
        .says("removed 1 file");
    assert_eq!(journals(&place).0[0]["data"].as_array().unwrap().len(), 2);
    place.verify();
}

#[test]
fn what_was_not_compacted_stays() {
    let place = Place::new();
    put(&place, FIRST, DAY, 0);
    let _ = place.compact(&[]).ended(0);
    put(&place, SECOND_FILE, DAY + 60 * SECOND, 60);
    let _ = place.put_quotes(
        "2026-02-03_00-02-00.parquet",
        b"no Parquet at all, and never looked at",
    );
    let _ = place.put_quotes(
        "2026-02-03_00-03-00.parquet",
        &Events::sealed(Vec::new()).bytes(),
    );
    let ran = prune(&place, &["--keep-days", "6", "--format", "json"]).ended(0);
    let expected = [
        (FIRST, "removed"),
        (SECOND_FILE, "waiting"),
        ("2026-02-03_00-02-00.parquet", "waiting"),
        ("2026-02-03_00-03-00.parquet", "empty"),
    ];
    let expected = expected
        .map(|(file, outcome)| (file.to_owned(), outcome.to_owned()))
        .into();
    assert_eq!(outcomes(&ran), expected, "{ran}");
    place.verify();
    let _ = place.compact(&[]).ended(3);
    let ran = prune(&place, &["--keep-days", "6", "--format", "json"]).ended(0);
    assert_eq!(outcomes(&ran)["2026-02-03_00-02-00.parquet"], "quarantined");
    assert_eq!(outcomes(&ran)[SECOND_FILE], "removed");
    place.verify();
    place.is_tidy();
}

#[test]
fn rows_in_quarantine_count_when_they_are_there() {
    let place = Place::new();
    let far = Quote {
        ts_event: DAY + 90 * HOUR,
        ..quotes(DAY, 1, 99, 1)[0]
    };
    let rows = [quotes(DAY, SECOND, 0, 20), vec![far]].concat();
    let _ = place.put_quotes(FIRST, &Events::sealed(rows).undeclared().bytes());
    let _ = place.compact(&[]).ended(3);
    let kept = place
        .archive()
        .join("QUARANTINE")
        .join(dir("binance", "bbo", "btcusdt", "20260203"));
    let kept = kept.join(FIRST.replace(".parquet", ".rows.parquet"));
    let bytes = fs::read(&kept).unwrap();

    fs::remove_file(&kept).unwrap();
    let _ = week(&place).ended(4).says("has gone");
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&kept, &flipped).unwrap();
    let _ = week(&place).ended(4).says("error.json says");
    assert_eq!(spool(&place), [FIRST]);

    fs::write(&kept, &bytes).unwrap();
    let _ = week(&place).ended(0).says("removed 1 file");
    assert_eq!(
        journals(&place).0[0]["quarantined"]["kept_sha256"],
        sha256(&bytes)
    );
    place.verify();
}

/// A file with rows that its name does not permit is compacted under one name and pruned under
/// another: where its rows are follows from the name that it had.
#[track_caller]
fn pruned_after(before: &str, rows: Vec<Quote>, exit: i32, after: &str, again: Option<i32>) {
    let place = Place::new();
    let path = place.put_quotes(before, &Events::sealed(rows).undeclared().bytes());
    let compact = || place.qlc(&["compact", "--mode", "catch-up", "--now", LATER]);
    let _ = compact().ended(exit);
    let renamed = place.spool().join(SERIES).join(after);
    fs::create_dir_all(renamed.parent().unwrap()).unwrap();
    fs::rename(path, &renamed).unwrap();
    let file = fs::File::options().write(true).open(&renamed).unwrap();
    let touched = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_770_500_000);
    file.set_modified(touched).unwrap();
    if let Some(exit) = again {
        // Under this name its rows are of days that have not seen it.
        let _ = prune(&place, &["--keep-days", "0"])
            .ended(0)
            .says("is not published yet");
        let _ = compact().ended(exit);
    }
    let _ = prune(&place, &["--keep-days", "0"])
        .ended(0)
        .says("removed 1 file");
    place.verify();
}

#[test]
fn rows_out_of_day_are_found_whatever_the_file_was_called() {
    let at = |hours: i64, seq: i64| Quote {
        ts_event: DAY + hours * HOUR,
        ..quotes(DAY, 1, seq, 1)[0]
    };
    let timeless = Quote {
        ts_event: 0,
        ..quotes(DAY, 1, 98, 1)[0]
    };
    let near = || quotes(DAY, SECOND, 0, 20);
    let (far, none) = (
        [near(), vec![at(90, 99)]].concat(),
        [near(), vec![timeless]].concat(),
    );
    let both = [near(), vec![timeless, at(90, 99)]].concat();
    // Of the same day, touched; into the other layout.
    pruned_after(FIRST, far.clone(), 3, SECOND_FILE, None);
    pruned_after(FIRST, far.clone(), 3, "date=20260203/late.parquet", None);
    // From a name with a day to one without: the far rows are of a day now.
    pruned_after(FIRST, far.clone(), 3, "late.parquet", Some(0));
    pruned_after(FIRST, none.clone(), 3, "late.parquet", None);
    // From a name without a day to one with: the far rows are in the data of their day.
    pruned_after("late.parquet", far, 0, FIRST, None);
    pruned_after("late.parquet", vec![at(90, 99)], 0, FIRST, None);
    pruned_after("late.parquet", none, 3, FIRST, None);
    pruned_after("late.parquet", both, 3, FIRST, None);
}

#[test]
fn an_unreadable_list_of_quarantine_holds_only_the_files_of_its_series() {
    let place = Place::new();
    put(&place, FIRST, DAY, 0);
    let _ = place.put_quotes("2026-02-01_00.parquet", b"no Parquet");
    put_of_okx(&place);
    let _ = place.compact(&[]).ended(3);
    let list = place
        .archive()
        .join("QUARANTINE")
        .join(dir("binance", "bbo", "btcusdt", "20260201"))
        .join("error.json");
    let bytes = fs::read(&list).unwrap();
    fs::write(&list, b"{").unwrap();
    let ran = prune(&place, &["--keep-days", "0"])
        .ended(4)
        .says("repair it first")
        .says("removed 1 file");
    assert_eq!(spool(&place).len(), 2, "{ran}");
    fs::write(&list, bytes).unwrap();
    let _ = prune(&place, &["--keep-days", "0"])
        .ended(0)
        .says("removed 1 file");
    assert_eq!(spool(&place), ["2026-02-01_00.parquet"]);
    place.verify();
}

#[test]
fn no_link_of_the_archive_is_followed() {
    let linked = |below: &str| {
        let place = Place::new();
        put(&place, FIRST, DAY, 0);
        let _ = place.compact(&[]).ended(0);
        let (there, elsewhere) = (place.archive().join(below), place.root().join("elsewhere"));
        fs::rename(&there, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &there).unwrap();
        let _ = prune(&place, &["--keep-days", "0"])
            .ended(1)
            .says("symbolic link");
        assert_eq!(spool(&place), [FIRST], "{below}");
        let ran = place.qlc(&["verify"]);
        assert!([Some(1), Some(4)].contains(&ran.code), "{below}: {ran}");
    };
    let day = dir("binance", "bbo", "btcusdt", "20260203");
    linked(&day);
    linked(&format!("{day}/data.parquet"));
    linked(&format!("{day}/meta.json"));
    linked(&format!("_receipts/{day}"));
    linked("exchange=binance");
}

/// Damage that prune must not overlook: what is done to a compacted place, and what is said of it.
#[track_caller]
fn unproven(harm: impl FnOnce(&Place), says: &str) {
    let place = Place::new();
    put(&place, FIRST, DAY, 0);
    let _ = place.compact(&[]).ended(0);
    harm(&place);
    let before = listing(&place.spool());
    let _ = week(&place).ended(4).says(says);
    assert_eq!(listing(&place.spool()), before);
    assert_eq!(journals(&place), (Vec::new(), 0));
}

fn in_partition(place: &Place, file: &str) -> std::path::PathBuf {
    place
        .archive()
        .join(dir("binance", "bbo", "btcusdt", "20260203"))
        .join(file)
}

fn flip(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(path, bytes).unwrap();
}

fn receipt(place: &Place) -> std::path::PathBuf {
    let folder = place
        .archive()
        .join("_receipts")
        .join(dir("binance", "bbo", "btcusdt", "20260203"));
    let mut paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .find(|path| path.extension().is_some_and(|end| end == "json"))
        .unwrap()
}

#[test]
fn nothing_goes_when_the_archive_is_not_what_it_says() {
    unproven(
        |place| flip(&in_partition(place, "data.parquet")),
        "no receipt vouches",
    );
    unproven(
        |place| fs::remove_file(in_partition(place, "data.parquet")).unwrap(),
        "was published and its data.parquet is gone",
    );
    unproven(
        |place| fs::write(in_partition(place, "meta.json"), b"{").unwrap(),
        "meta.json is not JSON",
    );
    unproven(
        |place| fs::remove_file(receipt(place)).unwrap(),
        "no receipt vouches",
    );
    unproven(
        |place| {
            let path = receipt(place);
            let text = fs::read_to_string(&path)
                .unwrap()
                .replace("\"rows_here\": 50", "\"rows_here\": 49");
            fs::write(path, text).unwrap();
        },
        "the receipt",
    );
}

/// Damages a compacted file in place: same size, same time.
fn rot(place: &Place, harm: impl FnOnce(&mut Vec<u8>)) {
    let path = place.spool().join(SERIES).join(FIRST);
    let metadata = fs::metadata(&path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    harm(&mut bytes);
    assert_eq!(bytes.len() as u64, metadata.len());
    fs::write(&path, bytes).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(metadata.modified().unwrap()).unwrap();
}

#[test]
fn nothing_goes_when_the_file_is_not_what_was_compacted() {
    unproven(
        |place| {
            rot(place, |bytes| {
                damage::scramble_data_page(bytes, "bid_qty", 0);
            });
        },
        "was compacted, but does not read any more",
    );
    // A file that says nothing of its rows: a flipped bit makes other rows of it.
    let place = Place::new();
    let silent = Events::sealed(quotes(DAY, SECOND, 0, 50))
        .hash(Claim::None)
        .without_dictionaries();
    let _ = place.put_quotes(FIRST, &silent.compressed(Compression::UNCOMPRESSED).bytes());
    let _ = place.compact(&[]).ended(0);
    rot(&place, |bytes| {
        damage::flip_in_data_page(bytes, "bid_qty", 0, 60);
    });
    let _ = week(&place).ended(4).says("took in 50 with");
    assert_eq!(spool(&place), [FIRST]);
    place.verify();
}

/// Among so many rows those in the middle are neither at the ends of a batch nor of the file.
const MANY: i64 = 20_000;
const MIDDLE: usize = 12_345;

#[test]
fn one_row_of_another_day_among_many_is_looked_for_on_its_day() {
    let place = Place::new();
    let mut rows = quotes(DAY, SECOND, 0, MANY);
    rows[MIDDLE].ts_event += 24 * HOUR;
    let _ = place.put_quotes(FIRST, &Events::sealed(rows).undeclared().bytes());
    let _ = place.compact(&[]).ended(0);
    let next = place
        .archive()
        .join(dir("binance", "bbo", "btcusdt", "20260204"))
        .join("data.parquet");
    let bytes = fs::read(&next).unwrap();
    let keep = ["--keep-days", "5"];

    let _ = week(&place)
        .ended(0)
        .says("not all its days are old enough");
    fs::remove_file(&next).unwrap();
    let _ = prune(&place, &keep)
        .ended(4)
        .says("was published and its data.parquet is gone");
    assert_eq!(spool(&place), [FIRST]);

    fs::write(&next, bytes).unwrap();
    let _ = prune(&place, &keep).ended(0).says("removed 1 file");
    let rows: Vec<_> = journals(&place).0[0]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|day| day["rows"].as_i64().unwrap())
        .collect();
    assert_eq!(rows, [MANY - 1, 1]);
    place.verify();
}

#[test]
fn one_foreign_name_among_many_is_another_row() {
    let place = Place::new();
    let file = || Events::sealed(quotes(DAY, SECOND, 0, MANY)).without_statistics();
    let _ = place.put_quotes(FIRST, &file().bytes());
    let _ = place.compact(&[]).ended(0);
    let mut names = vec!["BTCUSDT"; usize::try_from(MANY).unwrap()];
    names[MIDDLE] = "BTCUSDC";
    let foreign: ArrayRef = Arc::new(StringArray::from(names));
    for file in [file(), Events::sealed(quotes(DAY, SECOND, 0, MANY))] {
        let other = file.replace("symbol", Arc::clone(&foreign));
        let _ = place.put_quotes(FIRST, &other.hash(Claim::None).bytes());
        let ran = prune(&place, &["--keep-days", "6", "--format", "json"]).ended(0);
        assert_eq!(outcomes(&ran)[FIRST], "waiting", "{ran}");
        assert_eq!(spool(&place), [FIRST]);
    }
}

#[test]
fn series_that_are_gone_through_side_by_side_are_told_in_their_order() {
    let place = Place::new();
    let symbols: Vec<String> = (0..9).map(|nth| format!("coin{nth}usdt")).collect();
    for symbol in &symbols {
        let rows = quotes(DAY, SECOND, 0, 20);
        let events = Events::sealed(rows).replace(
            "symbol",
            Arc::new(StringArray::from(vec![symbol.to_uppercase(); 20])),
        );
        let folder = format!("exchange=binance/stream=bbo/symbol={symbol}");
        let _ = place.put(&format!("{folder}/{FIRST}"), &events.bytes());
    }
    let _ = place.compact(&[]).ended(0);
    // One of them is not proven: the others go.
    let broken = dir("binance", "bbo", &symbols[4], "20260203");
    flip(&place.archive().join(broken).join("data.parquet"));
    let ran = prune(&place, &["--keep-days", "6", "--format", "json"]).ended(4);
    let told: Vec<(String, String)> = ran
        .json()
        .iter()
        .map(|one| {
            let text = |name: &str| one[name].as_str().unwrap().to_owned();
            (text("symbol"), text("outcome"))
        })
        .collect();
    let expected = symbols.iter().enumerate().map(|(nth, symbol)| {
        let outcome = if nth == 4 { "unproven" } else { "removed" };
        (symbol.clone(), outcome.to_owned())
    });
    assert_eq!(told, expected.collect::<Vec<_>>(), "{ran}");
}

#[test]
fn killed_anywhere_nothing_is_lost_and_the_next_run_completes_it() {
    let begun = || {
        let place = Place::new();
        put(&place, FIRST, DAY, 0);
        put(&place, SECOND_FILE, DAY + 60 * SECOND, 60);
        let _ = place.compact(&[]).ended(0);
        place
    };
    let mut seen = BTreeSet::new();
    for nth in 1.. {
        let place = begun();
        let data = published(
            &place.archive(),
            &dir("binance", "bbo", "btcusdt", "20260203"),
        )
        .bytes;
        let nth = nth.to_string();
        let ran = place.qlc_env(
            &["prune", "--keep-days", "6", "--now", LATER],
            &[("QLC_CRASH_AT", &nth)],
        );
        if ran.code.is_some() {
            let _ = ran.ended(0);
            break;
        }
        let (left, (lines, intents)) = (spool(&place), journals(&place));
        assert!(
            left.len() == 2 || intents == 1 || lines.len() == 2,
            "point {nth}: a file went unannounced\n{ran}"
        );
        let _ = seen.insert((left.len(), intents, lines.len()));
        place.verify();

        let _ = week(&place).ended(0);
        assert_eq!(spool(&place), Vec::<String>::new(), "point {nth}");
        let (lines, intents) = journals(&place);
        let gone = |file: &str| {
            let of_file = lines
                .iter()
                .filter(|line| line["name"].as_str().unwrap().ends_with(file));
            of_file
                .filter(|line| ["removed", "gone"].contains(&line["ended"].as_str().unwrap()))
                .count()
        };
        assert_eq!(
            (gone(FIRST), gone(SECOND_FILE), intents),
            (1, 1, 0),
            "point {nth}: {lines:#?}"
        );
        assert_eq!(
            published(
                &place.archive(),
                &dir("binance", "bbo", "btcusdt", "20260203")
            )
            .bytes,
            data
        );
        let _ = week(&place).ended(0).says("nothing to prune");
        let _ = place.qlc(&["clean", "--older-than", "0s"]).ended(0);
        place.verify();
        place.is_tidy();
    }
    for state in [(2, 0, 0), (2, 1, 0), (1, 1, 0), (0, 1, 0), (0, 1, 2)] {
        assert!(
            seen.contains(&state),
            "a crash left {state:?} (files, intents, lines): {seen:?}"
        );
    }
}

#[test]
fn records_of_the_collector_go_when_their_days_are_old_and_the_spool_holds_nothing_of_them() {
    let place = Place::new();
    put(&place, FIRST, DAY, 0);
    let _ = place.compact(&[]).ended(0);
    let records = |day: &str, plain: &str| {
        let of = [
            format!("_feed/{day}.ndjson"),
            format!("_feed/rejects-{day}.ndjson"),
            format!("quality/date={plain}/window=0015.json"),
        ];
        for key in &of {
            let _ = place.put(key, b"{}\n");
        }
        of
    };
    let (before, day) = (
        records("2026-02-02", "20260202"),
        records("2026-02-03", "20260203"),
    );
    let young = records("2026-02-09", "20260209");
    for key in [
        "_feed/instruments-okx.json",
        "_feed/notes.txt",
        "quality/date=20260202/README",
    ] {
        let _ = place.put(key, b"{}");
    }
    let there = |keys: &[String]| {
        keys.iter()
            .filter(|key| place.spool().join(key).exists())
            .count()
    };
    let all = listing(&place.spool());

    // Without the setting nothing of them is looked at.
    let _ = prune(&place, &["--keep-days", "30"]).ended(0);
    let _ = prune(
        &place,
        &["--keep-days", "30", "--keep-records", "3", "--dry-run"],
    )
    .ended(0)
    .says("would remove 3 records")
    .says("kept 3 records of the collector (9 B), because the days are not old enough")
    .says("kept 3 records of the collector (9 B), because more is to come of the same days");
    let _ = prune(
        &place,
        &[
            "--keep-days",
            "30",
            "--keep-records",
            "3",
            "--exchange",
            "binance",
        ],
    )
    .ended(0);
    assert_eq!(listing(&place.spool()), all);

    // The log of a collector that died may hold rows of the day on which it wrote last, and of the
    // one before.
    let log = place.put("_journal/000000000001.qlcj", b"");
    let at = std::time::UNIX_EPOCH
        + std::time::Duration::from_nanos(DAY.unsigned_abs() + 3600 * SECOND.unsigned_abs());
    fs::File::options()
        .write(true)
        .open(&log)
        .unwrap()
        .set_modified(at)
        .unwrap();
    let _ = prune(&place, &["--keep-days", "30", "--keep-records", "3"])
        .ended(0)
        .says("kept 6 records");
    assert_eq!((there(&before), there(&day), there(&young)), (3, 3, 3));
    fs::File::options()
        .write(true)
        .open(&log)
        .unwrap()
        .set_modified(at + std::time::Duration::from_hours(120))
        .unwrap();

    // A file of the day lies in the spool: its records stay.
    let ran = place.qlc_env(
        &[
            "prune",
            "--now",
            LATER,
            "--keep-days",
            "30",
            "--format",
            "json",
        ],
        &[("QLC_KEEP_RECORDS", "3")],
    );
    let ran = ran.ended(0);
    let outcome = |key: &str| {
        ran.json()
            .iter()
            .find(|one| one["record"] == key)
            .map(|one| one["outcome"].clone())
    };
    assert_eq!(outcome(&before[0]), Some("removed".into()));
    assert_eq!(outcome(&day[0]), Some("waiting".into()));
    assert_eq!((there(&before), there(&day), there(&young)), (0, 3, 3));

    // It goes, and they go with it; the configuration says so as well.
    let config = place.put("qlc.toml", b"keep_records = 3\n");
    let config = config.display().to_string();
    let _ = place
        .qlc(&[
            "--config",
            &config,
            "prune",
            "--now",
            LATER,
            "--keep-days",
            "6",
        ])
        .ended(0)
        .says("removed 3 records");
    assert_eq!((there(&before), there(&day), there(&young)), (0, 0, 3));
    assert!(
        place.spool().join("_feed/instruments-okx.json").exists()
            && place.spool().join("_feed/notes.txt").exists()
    );
    let names: BTreeSet<String> = journals(&place)
        .0
        .iter()
        .map(|line| line["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        before.iter().chain(&day).all(|key| names.contains(key)),
        "{names:?}"
    );
    place.verify();
}

/// A compacted place with so many files that some are read only after the first was judged.
fn of_many_files() -> Place {
    let place = Place::new();
    for second in 0..60 {
        let start = DAY + second * SECOND;
        let rows = Events::sealed(quotes(start, SECOND, second, 1)).bytes();
        let _ = place.put_quotes(&format!("2026-02-03_00-00-{second:02}.parquet"), &rows);
    }
    let _ = place.compact(&[]).ended(0);
    place
}

/// Prunes in this process; `meanwhile` is called before the file of this place, counted from 0 over
/// judging and removing, is looked at.
fn prune_inside(
    place: &Place,
    nth: usize,
    meanwhile: impl FnOnce() + Send,
) -> qlc::error::Result<qlc::prune::Report> {
    let options = qlc::prune::Options {
        selection: qlc::model::partition::Selection::all(),
        keep_days: 0,
        keep_records: None,
        now: LATER.parse().unwrap(),
        spill_dir: place.spill(),
        dry_run: false,
    };
    let asked = AtomicUsize::new(0);
    let meanwhile = Mutex::new(Some(meanwhile));
    let stop = || {
        if asked.fetch_add(1, Ordering::SeqCst) == nth {
            let meanwhile = meanwhile.lock().unwrap().take();
            meanwhile.unwrap()();
        }
        false
    };
    let (spool, archive) = (
        inside::store(&place.spool()),
        inside::store(&place.archive()),
    );
    inside::runtime().block_on(qlc::prune::run(&spool, &archive, &options, &stop))
}

#[test]
fn of_a_spool_that_goes_away_nothing_is_told_as_gone() {
    // While files are read, and while they are removed.
    for nth in [0, 70] {
        let place = of_many_files();
        let (spool, away) = (place.spool(), place.root().join("away"));
        let ended = prune_inside(&place, nth, || fs::rename(&spool, &away).unwrap());
        let error = match ended {
            Ok(report) => {
                let gone = qlc::prune::Outcome::Gone;
                assert!(
                    report.files.iter().all(|file| file.outcome != gone),
                    "{nth}"
                );
                let failed =
                    |file: &&qlc::prune::Judged| file.outcome == qlc::prune::Outcome::Failed;
                let failed = report.files.iter().find(failed).unwrap();
                failed.reason.clone()
            }
            Err(error) => error.chain(),
        };
        assert!(
            error.contains("this folder has gone since the run began"),
            "{nth}: {error}"
        );
        // Another folder in its place is told apart only by its file system; this is the same one.
        fs::rename(&away, &spool).unwrap();
        let _ = prune(&place, &["--keep-days", "0"]).ended(0);
        assert_eq!(self::spool(&place), Vec::<String>::new());
        place.verify();
    }
}

#[test]
fn the_journal_of_a_run_that_lives_is_its_own() {
    let place = of_many_files();
    let intents = || journals(&place).1;
    let report = prune_inside(&place, 70, || {
        assert_eq!(intents(), 1, "it has announced, and begun to remove");
        let ran = prune(&place, &["--keep-days", "0"]).ended(0);
        assert!(!ran.stdout.contains("completed the journal"), "{ran}");
        assert_eq!(intents(), 1, "the intent stays\n{ran}");
    });
    let report = report.unwrap();
    assert_eq!((report.error.is_none(), intents()), (true, 0));
    let (lines, _) = journals(&place);
    let removed = lines
        .iter()
        .filter(|line| line["ended"] == "removed")
        .count();
    assert_eq!(removed, 60, "each file was removed by one of them");
    place.verify();
}

#[test]
fn a_run_that_removes_does_not_speak_as_a_dry_run() {
    let place = Place::new();
    put(&place, FIRST, DAY, 0);
    let _ = place.compact(&[]).ended(0);
    // The intent has no place.
    fs::write(place.archive().join("_pruned"), b"").unwrap();
    let ran = week(&place)
        .ended(1)
        .says("kept 1 file")
        .says("because the run ended before its turn came");
    assert!(!ran.stdout.contains("would remove"), "{ran}");
    assert_eq!(spool(&place), [FIRST]);
    let ran = prune(&place, &["--keep-days", "6", "--format", "json"]).ended(1);
    assert_eq!(outcomes(&ran)[FIRST], "not-reached");
    place.verify();
}
