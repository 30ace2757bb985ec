//! What interrupted runs left goes; what anything still stands on stays.

use std::fs;

use super::support::{
    archive::{home, listing, published},
    events::{DAY, Events, SECOND, quotes},
    run::{CATCH_UP, Place, SERIES},
};

fn put(place: &Place, name: &str, start: i64, seq: i64) {
    let _ = place.put_quotes(
        name,
        &Events::sealed(quotes(start, SECOND, seq, 20)).bytes(),
    );
}

#[expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "keys are compared as they are"
)]
fn receipts(place: &Place) -> usize {
    listing(&place.archive())
        .keys()
        .filter(|key| key.starts_with("_receipts/") && key.ends_with(".json"))
        .count()
}

#[test]
fn an_archive_that_is_not_there_is_told() {
    let place = Place::new();
    put(&place, "2026-02-03_00.parquet", DAY, 0);
    let ran = place.qlc(&["clean"]).ended(0);
    assert!(ran.stderr.contains("only the spool is cleaned"), "{ran}");
    assert!(!place.archive().exists());
    fs::remove_dir_all(place.spool()).unwrap();
    let ran = place.qlc(&["clean"]).ended(2);
    assert!(ran.stderr.contains("name the archive with"), "{ran}");
}

#[test]
fn receipts_that_the_history_needs_stay() {
    let place = Place::new();
    put(&place, "2026-02-03_00.parquet", DAY, 0);
    let _ = place.compact(&[]).ended(0);
    put(&place, "2026-02-03_01.parquet", DAY + 60 * SECOND, 60);
    let _ = place.compact(&[]).ended(0);
    assert_eq!(receipts(&place), 2);
    fs::remove_file(place.spool().join(SERIES).join("2026-02-03_00.parquet")).unwrap();
    put(&place, "2026-02-03_02.parquet", DAY + 120 * SECOND, 120);
    let _ = place.compact(&[]).ended(0);
    assert_eq!(receipts(&place), 3);
    let before = listing(&place.archive());

    // Each generation was built upon the one before it.
    let _ = place
        .qlc(&["clean", "--older-than", "0s"])
        .ended(0)
        .says("nothing to clean");
    assert_eq!(listing(&place.archive()), before);
    place.verify();
    let _ = place.compact(&[]).ended(0).says("nothing to do");
}

#[test]
fn the_receipt_of_an_attempt_that_died_goes() {
    // Every crash of a first publish, then another input: what is left of the first attempt is an
    // orphan.
    let mut swept = 0;
    for nth in 1.. {
        let place = Place::new();
        put(&place, "2026-02-03_00.parquet", DAY, 0);
        let ran = place.qlc_env(CATCH_UP, &[("QLC_CRASH_AT", &nth.to_string())]);
        if ran.code.is_some() {
            break;
        }
        let published_before = place.archive().join(home()).join("data.parquet").exists();
        let had = receipts(&place);
        put(&place, "2026-02-03_01.parquet", DAY + 60 * SECOND, 60);
        // What is complete may be completed first; the data of a meta that is still to come is
        // never an orphan.
        let _ = place.qlc(&["clean", "--older-than", "0s"]).ended(0);
        assert!(
            !published_before || receipts(&place) == had,
            "point {nth}: the receipt of the data has gone"
        );
        swept += usize::from(had > receipts(&place));
        let _ = place.compact(&[]).ended(0);
        assert_eq!(published(&place.archive(), &home()).quotes().len(), 40);
        let _ = place.qlc(&["clean", "--older-than", "0s"]).ended(0);
        // A generation that was published stays on record, also when a newer one was built upon it.
        assert_eq!(
            receipts(&place),
            1 + usize::from(published_before),
            "point {nth}"
        );
        place.verify();
        place.is_tidy();
    }
    assert!(swept > 0, "no crash left a receipt without its data");
}

#[test]
fn a_partition_that_contradicts_itself_is_left_alone() {
    let place = Place::new();
    put(&place, "2026-02-03_00.parquet", DAY, 0);
    let _ = place.compact(&[]).ended(0);
    put(&place, "2026-02-03_01.parquet", DAY + 60 * SECOND, 60);
    let _ = place.compact(&[]).ended(0);
    let meta = place.archive().join(home()).join("meta.json");
    let good = fs::read(&meta).unwrap();
    for harm in [b"{".as_slice(), b""] {
        fs::write(&meta, harm).unwrap();
        let before = listing(&place.archive());
        let _ = place
            .qlc(&["clean", "--older-than", "0s"])
            .ended(0)
            .says("left alone");
        assert_eq!(listing(&place.archive()), before);
    }
    fs::write(&meta, good).unwrap();
    let _ = place
        .qlc(&["clean", "--older-than", "0s"])
        .ended(0)
        .says("nothing to clean");
    place.verify();
}

#[test]
fn temporary_files_and_scratch_folders_of_the_dead_go() {
    let place = Place::new();
    put(&place, "2026-02-03_00.parquet", DAY, 0);
    let _ = place.compact(&[]).ended(0);
    let left = place
        .archive()
        .join("exchange=gone/.data.parquet.0123.qlc.tmp");
    fs::create_dir_all(left.parent().unwrap()).unwrap();
    fs::write(&left, b"half").unwrap();
    let theirs = place.spool().join(SERIES).join("2026-02-03_00.parquet.tmp");
    fs::write(&theirs, b"the collector is at it").unwrap();
    let scratch = place.spill().join("qlc-scratch-dead");
    fs::create_dir_all(&scratch).unwrap();
    fs::write(scratch.join("lock"), b"").unwrap();
    let probe = place.archive().join("_probe/1234");
    fs::create_dir_all(probe.parent().unwrap()).unwrap();
    fs::write(&probe, b"x").unwrap();
    let ran = place.qlc(&["clean", "--older-than", "0s"]).ended(0);
    for text in [
        "1 probe removed",
        "1 temporary file removed",
        "1 scratch folder removed",
    ] {
        assert!(ran.stdout.contains(text), "{text}: {ran}");
    }
    assert!(!left.exists() && !scratch.exists() && !probe.exists() && theirs.exists());
    place.verify();
    place.is_tidy();
}
