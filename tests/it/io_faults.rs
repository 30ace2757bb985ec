//! System calls that fail, do half of what was asked, or write other bytes: a run publishes what is
//! right, or nothing.
//!
//! The faults are made by `support/faulty_io.c`, which the C compiler that a build needs anyway
//! turns into a library.

use std::{collections::BTreeMap, fs};

use super::support::{
    archive::{dir, home, listing, published},
    events::{DAY, Events, HOUR, Quote, SECOND, quotes},
    faulty,
    run::{CATCH_UP, Place, Ran},
};

/// Published once, with a late file; a far row makes QUARANTINE take part.
fn begun() -> Place {
    let place = Place::new();
    let _ = place.put_quotes(
        "2026-02-03_00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 100)).bytes(),
    );
    let _ = place.compact(&[]).ended(0);
    let far = Quote {
        ts_event: DAY + 90 * HOUR,
        ..quotes(DAY, 1, 9, 1)[0]
    };
    let rows = [quotes(DAY, SECOND, 1000, 100), vec![far]].concat();
    let _ = place.put_quotes("2026-02-03_01.parquet", &Events::sealed(rows).bytes());
    place
}

fn faulty(place: &Place, fault: &str, args: &[&str]) -> Ran {
    let ran = place.qlc_env(
        args,
        &[("LD_PRELOAD", faulty::library()), ("QLC_TEST_IO", fault)],
    );
    assert!(!ran.stderr.contains("panicked"), "{fault}: {ran}");
    ran
}

/// All objects; of receipts and `error.json` only the names, because they hold times of spool
/// files.
fn objects(place: &Place) -> BTreeMap<String, String> {
    let varies = |key: &String| key.starts_with("_receipts/") || key.ends_with("error.json");
    let all = listing(&place.archive()).into_iter();
    all.map(|(key, sha256)| {
        if varies(&key) {
            (key, String::new())
        } else {
            (key, sha256)
        }
    })
    .collect()
}

/// The fault of the first, the second, … call of `op` on files whose path holds `text`, until there
/// are no more; how many made the run fail.
#[track_caller]
fn check(op: &str, text: &str, fault: &str) -> usize {
    let undisturbed = begun();
    let _ = undisturbed.compact(&[]).ended(3);
    undisturbed.verify();
    let expected = objects(&undisturbed);
    let mut failed = 0;
    let mut calm = 0;
    for nth in 1..400 {
        let place = begun();
        let before = objects(&place);
        let said = format!("{op} {text} {nth} {fault}");
        let ran = faulty(&place, &said, CATCH_UP);
        let after = objects(&place);
        if ran.code == Some(3) {
            assert_eq!(after, expected, "{said}: {ran}");
            calm += 1;
        } else {
            assert_eq!(ran.code, Some(1), "{said}: {ran}");
            let either = |(key, sha256): (&String, &String)| {
                [before.get(key), expected.get(key)].contains(&Some(sha256))
                    || key.starts_with("_receipts/")
            };
            assert!(after.iter().all(either), "{said}: {after:#?}\n{ran}");
            assert!(
                before.keys().all(|key| after.contains_key(key)),
                "{said}: something was deleted\n{ran}"
            );
            (failed, calm) = (failed + 1, 0);
        }
        place.is_tidy();
        let again = place.compact(&[]);
        assert!([Some(0), Some(3)].contains(&again.code), "{said}: {again}");
        assert_eq!(objects(&place), expected, "{said}: {again}");
        place.verify();
        // Some faults are borne; when several in a row are, there was none any more.
        if calm == 3 {
            return failed;
        }
    }
    panic!("{op} {text} {fault}: no end of calls")
}

#[test]
fn a_write_error_anywhere() {
    for text in ["data.parquet", "meta.json", "_receipts", "QUARANTINE"] {
        assert!(check("write", text, "eio") > 0, "{text}");
    }
}

#[test]
fn a_sync_error_anywhere() {
    assert!(check("fsync", "archive", "eio") > 3);
}

#[test]
fn a_read_error_of_a_spool_file_is_no_bad_file() {
    // One that happens once may be borne: a read that fails is tried again in another way.
    let _ = check("read", "2026-02-03_01.parquet", "eio");
    assert!(check("read", "data.parquet", "eio") > 0);
    // One that stays ends the partition, and says nothing against the file.
    let place = begun();
    let before = objects(&place);
    let _ = faulty(&place, "read 2026-02-03_01.parquet 0 eio", CATCH_UP).ended(1);
    assert_eq!(objects(&place), before);
    let _ = place.compact(&[]).ended(3);
    place.verify();
}

#[test]
fn short_reads_and_writes_everywhere_change_nothing() {
    for op in ["write", "read"] {
        for text in ["archive", "spool"] {
            let place = begun();
            let _ = faulty(&place, &format!("{op} {text} 0 short"), CATCH_UP).ended(3);
            let undisturbed = begun();
            let _ = undisturbed.compact(&[]).ended(3);
            assert_eq!(objects(&place), objects(&undisturbed), "{op} {text}");
            place.verify();
        }
    }
}

#[test]
fn a_bit_that_flips_on_its_way_to_the_disk_is_not_published() {
    for text in ["data.parquet", "meta.json", "_receipts"] {
        assert!(check("write", text, "flip") > 0, "{text}");
    }
}

#[test]
fn errors_and_flipped_bits_of_spilled_rows() {
    let mut rows = quotes(DAY, 90_000_000, 0, 900_000);
    rows.reverse();
    let place = Place::new();
    let _ = place.put_quotes(
        "2026-02-03_00.parquet",
        &Events::sealed(rows.clone()).undeclared().bytes(),
    );
    rows.reverse();
    let args = [CATCH_UP, &["--memory-limit", "256MB"]].concat();
    let mut failed = BTreeMap::new();
    for (op, fault) in [("write", "flip"), ("write", "eio"), ("read", "eio")] {
        for nth in [1, 3, 10, 40] {
            let said = format!("{op} /spill/ {nth} {fault}");
            let ran = faulty(&place, &said, &args);
            if ran.code == Some(0) {
                // A bit that nothing reads, or no such call any more.
                assert!(
                    published(&place.archive(), &home()).quotes() == rows,
                    "{said}: {ran}"
                );
                place.verify();
                fs::remove_dir_all(place.archive()).unwrap();
            } else {
                assert_eq!(ran.code, Some(1), "{said}: {ran}");
                assert_eq!(listing(&place.archive()).len(), 0, "{said}: {ran}");
                *failed.entry(fault).or_insert(0) += 1;
            }
            place.is_tidy();
        }
    }
    assert!(failed["flip"] > 0 && failed["eio"] > 0, "{failed:?}");
    let _ = place.qlc(&args).ended(0);
    assert!(published(&place.archive(), &home()).quotes() == rows);
    place.verify();
}

#[test]
fn a_folder_that_nobody_may_write_to() {
    // Below /sys no one can make a folder, whoever runs the tests.
    let place = begun();
    let before = listing(&place.archive());
    let ran = place
        .elsewhere("/sys/qlc-archive", CATCH_UP)
        .ended(1)
        .says("/sys/qlc-archive");
    assert!(!ran.stderr.contains("panicked"), "{ran}");
    let ran = place
        .qlc(&[CATCH_UP, &["--spill-dir", "/sys/qlc-spill"]].concat())
        .ended(1)
        .says("/sys/qlc-spill");
    assert_eq!(listing(&place.archive()), before, "{ran}");
    let _ = place.compact(&[]).ended(3);
    place.verify();
}

#[test]
fn a_partition_that_cannot_be_read_does_not_keep_others_from_being_verified() {
    let place = Place::new();
    for name in ["2026-02-03_00.parquet", "2026-02-04_00.parquet"] {
        let day = if name.contains("02-03") {
            DAY
        } else {
            DAY + 24 * HOUR
        };
        let _ = place.put_quotes(name, &Events::sealed(quotes(day, SECOND, 0, 100)).bytes());
    }
    let _ = place.compact(&[]).ended(0);
    let later = place
        .archive()
        .join(dir("binance", "bbo", "btcusdt", "20260204"))
        .join("data.parquet");
    let mut bytes = fs::read(&later).unwrap();
    bytes[100] ^= 1;
    fs::write(&later, bytes).unwrap();
    for file in ["data.parquet", "meta.json", "_receipts"] {
        for args in [&["verify"][..], &["verify", "--quick"]] {
            let day = if file == "_receipts" {
                "_receipts/exchange=binance/stream=bbo/symbol=btcusdt/date=20260203".to_owned()
            } else {
                format!("date=20260203/{file}")
            };
            let ran = faulty(&place, &format!("read {day} 0 eio"), args).ended(4);
            let _ = ran
                .says("20260204: data.parquet has sha256")
                .says("qlc: binance/bbo/btcusdt/20260203: ");
        }
    }
}

/// Two days that are published.
fn two_days() -> Place {
    let place = Place::new();
    for (name, start) in [
        ("2026-02-03_00.parquet", DAY),
        ("2026-02-04_00.parquet", DAY + 24 * HOUR),
    ] {
        let _ = place.put_quotes(name, &Events::sealed(quotes(start, SECOND, 0, 100)).bytes());
    }
    let _ = place.compact(&[]).ended(0);
    place
}

#[test]
fn a_file_that_cannot_be_read_does_not_keep_status_from_telling_of_the_others() {
    let place = two_days();
    let _ = place.put_quotes("2026-02-02_00.parquet", b"no Parquet");
    let _ = place.compact(&[]).ended(3);
    for (file, says) in [
        ("date=20260203/meta.json", "unproven"),
        (
            "_receipts/exchange=binance/stream=bbo/symbol=btcusdt/date=20260203",
            "unproven",
        ),
        ("date=20260202/error.json", "20260203"),
    ] {
        let args = [
            "status",
            "--now",
            "2026-02-05T06:00:00Z",
            "--format",
            "json",
        ];
        let ran = faulty(&place, &format!("read {file} 0 eio"), &args).ended(1);
        let days: Vec<_> = ran.json().iter().map(|day| day["date"].clone()).collect();
        assert_eq!(days, ["20260202", "20260203", "20260204"], "{file}: {ran}");
        let _ = ran.says(file.rsplit('/').next().unwrap()).says(says);
    }
    // A file of the spool that may have rows waits.
    let _ = place.put_quotes("2026-02-04_01.parquet", b"no Parquet either");
    let args = ["status", "--now", "2026-02-05T06:00:00Z"];
    let _ = faulty(&place, "read 2026-02-04_01.parquet 0 eio", &args)
        .ended(1)
        .says("2026-02-04_01.parquet");
}

#[test]
fn a_document_that_cannot_be_read_does_not_keep_clean_from_the_others() {
    let place = two_days();
    let receipts = |date: &str| {
        place
            .archive()
            .join("_receipts")
            .join(dir("binance", "bbo", "btcusdt", date))
    };
    let orphan = format!("{}.json", "a".repeat(64));
    for date in ["20260203", "20260204"] {
        let one = fs::read_dir(receipts(date)).unwrap().flatten();
        let one = one
            .map(|e| e.path())
            .find(|p| p.extension().is_some_and(|e| e == "json"));
        let _ = fs::copy(one.unwrap(), receipts(date).join(&orphan)).unwrap();
    }
    let args = ["clean", "--older-than", "0s"];
    let _ = faulty(&place, "read date=20260203/meta.json 0 eio", &args)
        .ended(1)
        .says("20260203/meta.json");
    assert!(receipts("20260203").join(&orphan).exists());
    assert!(!receipts("20260204").join(&orphan).exists());
    let _ = place.qlc(&args).ended(0);
    assert!(!receipts("20260203").join(&orphan).exists());
    place.verify();
}
