//! Of a file of which only some row groups are bad, the good ones are taken in where that is asked
//! for, and every lost row is billed.

use std::fs;

use serde_json::Value;

use super::support::{
    archive::{dir, home, listing, published, quarantine, sha256, without_notes},
    damage,
    events::{Claim, DAY, Events, HOUR, Quote, SECOND, quotes},
    run::{Place, SERIES},
};

const GOOD: &str = "2026-02-03_00-00-00.parquet";
const BAD: &str = "2026-02-03_01-00-00.parquet";

fn good() -> Vec<Quote> {
    quotes(DAY, SECOND, 0, 100)
}

/// Four row groups of 100 rows, the second of which is broken in a page.
fn rows() -> Vec<Quote> {
    quotes(DAY + HOUR, SECOND, 1_000, 400)
}

fn file() -> Events {
    Events::sealed(rows()).rows_per_group(100)
}

fn broken(file: &Events, nth: usize) -> Vec<u8> {
    let mut bytes = file.bytes();
    damage::scramble_data_page(&mut bytes, "bid_qty", nth);
    bytes
}

fn saved() -> Vec<Quote> {
    let rows = rows();
    [good(), rows[..100].to_vec(), rows[200..].to_vec()].concat()
}

fn entry(place: &Place) -> Value {
    quarantine(&place.archive(), &home()).expect("an error.json")
}

fn source(receipt: &Value, file: &str) -> Value {
    let sources = receipt["sources"].as_array().unwrap();
    sources
        .iter()
        .find(|s| s["name"].as_str().unwrap().ends_with(file))
        .unwrap()
        .clone()
}

#[test]
fn good_row_groups_are_taken_in_and_the_bad_one_is_billed() {
    for (claim, statistics) in [
        (Claim::True, true),
        (Claim::None, true),
        (Claim::None, false),
    ] {
        let place = Place::new();
        let _ = place.put_quotes(GOOD, &Events::sealed(good()).bytes());
        let file = if statistics {
            file()
        } else {
            file().without_statistics()
        };
        let bad = broken(&file.hash(claim), 1);
        let path = place.put_quotes(BAD, &bad);
        let _ = place
            .compact(&["--salvage"])
            .ended(3)
            .says("1 of 4 row groups");
        let partition = published(&place.archive(), &home());
        assert_eq!(partition.quotes(), saved());
        let source = source(&partition.receipt, BAD);
        assert_eq!(
            (&source["rows"], &source["rows_here"]),
            (&400.into(), &300.into())
        );
        assert_eq!(source["rows_quarantined"], 100);

        let entry = entry(&place);
        assert_eq!(
            (&entry["row_groups"], &entry["rows"]),
            (&serde_json::json!([1]), &100.into()),
            "{entry:#}"
        );
        assert_eq!(
            (&entry["error_type"], &entry["unproven"]),
            (&"SNAPPY_CORRUPT".into(), &(claim == Claim::True).into())
        );
        let cannot_prove = entry["message"].as_str().unwrap().contains("cannot prove");
        assert_eq!(cannot_prove, claim == Claim::True, "{entry:#}");
        let (from, to) = (DAY + HOUR + 100 * SECOND, DAY + HOUR + 199 * SECOND);
        let span = if statistics {
            (from.to_string().into(), to.to_string().into())
        } else {
            (Value::Null, Value::Null)
        };
        assert_eq!(
            (&entry["ts_event_min"], &entry["ts_event_max"]),
            (&span.0, &span.1)
        );
        assert_eq!(
            (&entry["sha256"], &entry["kept_sha256"]),
            (&sha256(&bad).into(), &sha256(&bad).into())
        );
        assert_eq!(
            fs::read(place.archive().join("QUARANTINE").join(home()).join(BAD)).unwrap(),
            bad,
            "kept whole"
        );
        place.verify();

        // Decided once: with and without the flag, and under a new time, there is nothing more to
        // do.
        let before = listing(&place.archive());
        let _ = place
            .compact(&["--salvage", "-v"])
            .ended(0)
            .says("up to date");
        let _ = place.compact(&["-v"]).ended(0).says("up to date");
        fs::write(&path, &bad).unwrap();
        let _ = place.compact(&["-v"]).ended(0).says("up to date");
        assert_eq!(without_notes(listing(&place.archive())), before);
        let _ = place.compact(&["--force"]).ended(0);
        assert_eq!(published(&place.archive(), &home()).bytes, partition.bytes);
        let _ = place.qlc(&["verify", "--rebuild"]).ended(0);
        place.verify();
        place.is_tidy();
    }
}

#[test]
fn a_late_file_finds_the_salvaged_rows() {
    for gone in [false, true] {
        let place = Place::new();
        let path = place.put_quotes(BAD, &broken(&file(), 1));
        let _ = place.compact(&["--salvage"]).ended(3);
        if gone {
            fs::remove_file(path).unwrap();
        }
        let _ = place.put_quotes(GOOD, &Events::sealed(good()).bytes());
        let _ = place.compact(&[]).ended(0);
        let partition = published(&place.archive(), &home());
        assert_eq!(partition.quotes(), saved());
        assert_eq!(source(&partition.receipt, BAD)["rows_quarantined"], 100);
        place.verify();
        let _ = place.compact(&["-v"]).ended(0).says("up to date");
    }
}

#[test]
fn a_salvaged_file_stays_in_the_spool_under_whatever_name() {
    let place = Place::new();
    let path = place.put_quotes(BAD, &broken(&file(), 1));
    let _ = place.compact(&["--salvage"]).ended(3);
    let renamed = path.with_file_name("2026-02-03_09-00-00.parquet");
    fs::rename(&path, &renamed).unwrap();
    let _ = place.compact(&[]).ended(0);
    let prune = || place.qlc(&["prune", "--keep-days", "0", "-v"]);
    let _ = prune().ended(0).says("lies whole in QUARANTINE");
    assert!(renamed.exists());
}

/// Its entry lies where it belonged when it was kept.
#[test]
fn the_copy_of_a_salvaged_file_has_its_entry_on_another_day() {
    let place = Place::new();
    let series = "exchange=binance/stream=bbo/symbol=btcusdt";
    let spool = |collector: &str| {
        place
            .spool()
            .join(format!("collector={collector}/{series}"))
    };
    for collector in ["a", "b"] {
        fs::create_dir_all(spool(collector)).unwrap();
    }
    fs::write(spool("a").join(GOOD), Events::sealed(good()).bytes()).unwrap();
    let bad = spool("b").join("part-1.parquet");
    fs::write(&bad, broken(&file(), 1)).unwrap();
    let time = |path: &std::path::Path, seconds: u64| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
            .unwrap();
    };
    time(&bad, 1_769_000_000);
    let _ = place.compact(&["--salvage"]).ended(3);
    place.verify();
    let copy = spool("a").join("part-1.parquet");
    let _ = fs::copy(&bad, &copy).unwrap();
    time(&copy, 1_769_900_000);
    let _ = place.compact(&[]).ended(0);
    place.verify();
}

/// Whichever command salvaged it, and whatever its time: the good copy brings what the damaged one
/// could not.
#[test]
fn the_good_copy_of_a_salvaged_file_is_taken_in() {
    for (by_retry, same_time) in [(false, true), (true, true), (true, false)] {
        let place = Place::new();
        let file = file();
        let path = place.put_quotes(BAD, &broken(&file, 1));
        if by_retry {
            let _ = place.compact(&[]).ended(3);
            let retry = [
                "quarantine",
                "retry",
                "--salvage",
                "--now",
                super::support::run::NOW,
            ];
            let _ = place.qlc(&retry).ended(3).says("1 of 4 row groups");
        } else {
            let _ = place
                .compact(&["--salvage"])
                .ended(3)
                .says("1 of 4 row groups");
        }
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, file.bytes()).unwrap();
        if same_time {
            fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(modified)
                .unwrap();
        }
        let _ = place.compact(&[]).ended(0).says("400 rows");
        assert_eq!(published(&place.archive(), &home()).quotes(), rows());
        place.verify();
        let _ = place.compact(&["-v"]).ended(0).says("up to date");
    }
}

#[test]
fn without_being_asked_the_whole_file_is_kept_out() {
    let place = Place::new();
    let _ = place.put_quotes(GOOD, &Events::sealed(good()).bytes());
    let _ = place.put_quotes(BAD, &broken(&file(), 1));
    let _ = place.compact(&[]).ended(3);
    assert_eq!(published(&place.archive(), &home()).quotes(), good());
    assert!(entry(&place)["row_groups"].is_null());
    // The same bytes are not tried again until told.
    let _ = place
        .compact(&["--salvage", "-v"])
        .ended(0)
        .says("1 file in QUARANTINE");
    let now = super::support::run::NOW;
    let _ = place
        .qlc(&["quarantine", "retry", "--salvage", "--now", now])
        .ended(3)
        .says("1 of 4 row groups");
    assert_eq!(published(&place.archive(), &home()).quotes(), saved());
    assert_eq!(entry(&place)["row_groups"], serde_json::json!([1]));
    place.verify();
    let _ = place
        .qlc(&["quarantine", "retry", BAD, "--now", now])
        .ended(1)
        .says("its good row groups");
    let _ = place
        .qlc(&["prune", "--keep-days", "0"])
        .ended(0)
        .says("removed 1 file")
        .says("kept 1 file");
    assert!(place.spool().join(SERIES).join(BAD).exists());
    place.verify();
    place.is_tidy();
}

#[test]
fn a_file_without_a_good_row_group_or_without_a_bad_one_is_kept_whole() {
    let mut all_bad = file().bytes();
    for nth in 0..4 {
        damage::scramble_data_page(&mut all_bad, "bid_qty", nth);
    }
    let wrong_hash = file().hash(Claim::False).bytes();
    let one_group = broken(&Events::sealed(rows()), 0);
    let footer = damage::truncated(&file().bytes(), 900);
    for bad in [all_bad, wrong_hash, one_group, footer] {
        let place = Place::new();
        let _ = place.put_quotes(GOOD, &Events::sealed(good()).bytes());
        let _ = place.put_quotes(BAD, &bad);
        let _ = place.compact(&["--salvage"]).ended(3);
        assert_eq!(published(&place.archive(), &home()).quotes(), good());
        assert!(entry(&place)["row_groups"].is_null());
        place.verify();
        place.is_tidy();
    }
}

#[test]
fn archived_rows_are_never_exchanged_for_a_part_of_them() {
    let place = Place::new();
    let path = place.put_quotes(BAD, &file().bytes());
    let _ = place.compact(&["--salvage"]).ended(0);
    // It rots in place: same size, same time.
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, broken(&file(), 1)).unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(time)
        .unwrap();
    let _ = place.put_quotes(GOOD, &Events::sealed(good()).bytes());
    let _ = place.compact(&["--salvage"]).ended(3);
    assert_eq!(
        published(&place.archive(), &home()).quotes(),
        [good(), rows()].concat()
    );
    place.verify();
    place.is_tidy();
}

#[test]
fn a_salvaged_file_feeds_both_its_days() {
    let place = Place::new();
    let midnight = DAY + 24 * HOUR;
    let rows = quotes(midnight - 150 * SECOND, SECOND, 0, 400);
    let bad = broken(&Events::sealed(rows.clone()).rows_per_group(100), 2);
    let _ = place.put_quotes("2026-02-03_23-57-30.parquet", &bad);
    let _ = place.compact(&["--salvage"]).ended(3);
    let next = dir("binance", "bbo", "btcusdt", "20260204");
    let (first, second) = (
        published(&place.archive(), &home()),
        published(&place.archive(), &next),
    );
    assert_eq!(first.quotes(), rows[..150]);
    assert_eq!(second.quotes(), [&rows[150..200], &rows[300..]].concat());
    for receipt in [&first.receipt, &second.receipt] {
        assert_eq!(receipt["sources"][0]["rows_quarantined"], 100);
        assert_eq!(receipt["sources"][0]["rows"], 400);
    }
    assert_eq!(
        listing(&place.archive())
            .keys()
            .filter(|k| k.starts_with("QUARANTINE"))
            .count(),
        2
    );
    place.verify();
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    place.is_tidy();
}

/// Of equal rows the archive has one, in whichever order damaged and whole files are read.
#[test]
fn a_damaged_file_and_its_good_copy_in_one_run_count_once() {
    let (first, last) = ("2026-02-03_00-30-00.parquet", "2026-02-03_02-00-00.parquet");
    let rows = rows();
    for names in [[BAD, first, last], [last, first, BAD], [first, BAD, last]] {
        let place = Place::new();
        // Two copies that are damaged in two places, and perhaps a whole one.
        let _ = place.put_quotes(names[0], &broken(&file(), 1));
        let _ = place.put_quotes(names[1], &broken(&file(), 2));
        let _ = place.compact(&["--salvage"]).ended(3);
        let two = published(&place.archive(), &home()).quotes();
        assert_eq!(two, rows, "each has what the other lacks");
        place.verify();

        let place = Place::new();
        let _ = place.put_quotes(names[0], &broken(&file(), 1));
        let _ = place.put_quotes(names[1], &broken(&file(), 2));
        let _ = place.put_quotes(names[2], &file().bytes());
        let _ = place.compact(&["--salvage"]).ended(3);
        assert_eq!(published(&place.archive(), &home()).quotes(), rows);
        place.verify();
        let _ = place.compact(&["--salvage"]).ended(0).says("up to date");
    }
}

/// A file of two days, salvaged for both; then its good copy comes, with the same size and time, or
/// under another name.
#[test]
fn the_good_copy_of_a_salvaged_file_of_two_days_feeds_both() {
    const NAME: &str = "2026-02-03_23-57-30.parquet";
    let rows = quotes(DAY + 24 * HOUR - 150 * SECOND, SECOND, 0, 400);
    let file = Events::sealed(rows.clone()).rows_per_group(100);
    let next = dir("binance", "bbo", "btcusdt", "20260204");
    for (at_once, same_name) in [(false, true), (false, false), (true, false)] {
        let place = Place::new();
        let path = place.put_quotes(NAME, &broken(&file, 1));
        let good = if same_name {
            NAME
        } else {
            "2026-02-03_00-copy.parquet"
        };
        if !at_once {
            let _ = place.compact(&["--salvage"]).ended(3);
        }
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let path = place.put_quotes(good, &file.bytes());
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
        let _ = place
            .compact(&["--salvage"])
            .ended(if at_once { 3 } else { 0 });
        assert_eq!(published(&place.archive(), &home()).quotes(), rows[..150]);
        assert_eq!(published(&place.archive(), &next).quotes(), rows[150..]);
        place.verify();
        let before = listing(&place.archive());
        let _ = place.compact(&["--salvage"]).ended(0).says("nothing to do");
        assert_eq!(
            without_notes(listing(&place.archive())),
            without_notes(before)
        );
    }
}

/// Another file has the rows of a row group that was salvaged. It is no good copy of the damaged
/// one: what it has counts, and so does what the good copy has.
#[test]
fn a_file_that_shares_a_row_group_with_a_salvaged_one_is_another_file() {
    let other = [
        rows()[..100].to_vec(),
        quotes(DAY + 2 * HOUR, 10 * SECOND, 5_000, 150),
    ]
    .concat();
    for other_first in [false, true] {
        let place = Place::new();
        let put_other = || {
            drop(place.put_quotes(
                GOOD,
                &Events::sealed(other.clone()).rows_per_group(100).bytes(),
            ));
        };
        if other_first {
            put_other();
            let _ = place.compact(&[]).ended(0);
        }
        let _ = place.put_quotes(BAD, &broken(&file(), 1));
        let _ = place.compact(&["--salvage"]).ended(3);
        if !other_first {
            put_other();
            let _ = place.compact(&[]).ended(0);
        }
        let _ = place.put_quotes(BAD, &file().bytes());
        let _ = place.compact(&[]).ended(0);
        let mut all = [rows(), other.clone()].concat();
        all.sort_by_key(|quote| (quote.ts_event, quote.seq));
        assert!(
            published(&place.archive(), &home()).quotes() == all,
            "other first: {other_first}"
        );
        place.verify();
    }
}
