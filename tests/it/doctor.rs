//! `qlc doctor`: finds what is wrong, says what mends it, and leaves nothing behind.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use super::support::{
    archive::listing,
    events::{DAY, Events, SECOND, quotes},
    run::{Place, Ran},
};

/// Less memory than any machine has that compiles qlc.
const SMALL: &str = "256MB";

fn examined(place: &Place, more: &[&str]) -> Ran {
    place.qlc(
        &[
            &["doctor", "--memory-limit", SMALL, "--format", "json"],
            more,
        ]
        .concat(),
    )
}

fn level(ran: &Ran, name: &str) -> String {
    let all = ran.json();
    let one: &Value = all
        .iter()
        .find(|one| one["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in\n{ran}"));
    assert_eq!(one["mend"].is_null(), one["level"] == "ok", "{one}");
    one["level"].as_str().unwrap().to_owned()
}

fn with_a_day(place: Place) -> Place {
    let _ = place.put_quotes(
        "2026-02-03_00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 20)).bytes(),
    );
    place
}

#[test]
fn a_place_that_is_well() {
    let place = with_a_day(Place::new());
    let before = listing(place.root());
    let ran = examined(&place, &[]).ended(0);
    for name in [
        "configuration",
        "versions",
        "spool",
        "archive",
        "spill_dir",
        "memory",
    ] {
        assert_eq!(level(&ran, name), "ok", "{name} in\n{ran}");
    }
    assert_eq!(listing(place.root()), before);
    assert!(!place.archive().exists() && !place.spill().exists());

    let _ = place.compact(&[]).ended(0);
    let before = listing(place.root());
    let ran = examined(&place, &[])
        .ended(0)
        .says("listing, writing and removing work");
    assert_eq!(level(&ran, "clock of the archive"), "ok");
    assert_eq!(listing(place.root()), before);
    let ran = place.qlc(&["doctor", "--memory-limit", SMALL]).ended(0);
    let _ = ran.says("ok       versions: qlc").says("0 problems");
    place.verify();
}

#[test]
fn a_bucket_that_is_well() {
    let place = with_a_day(Place::all_on_s3());
    let _ = place.compact(&[]).ended(0);
    let ran = examined(&place, &[]).ended(0);
    for name in [
        "spool",
        "archive",
        "conditional writes",
        "clock of the archive",
    ] {
        assert_eq!(level(&ran, name), "ok", "{name} in\n{ran}");
    }
    place.leaves_nothing();
    let ran = examined(&place, &["--single-writer"]).ended(0);
    assert_eq!(level(&ran, "archive"), "ok");
    place.leaves_nothing();
    place.verify();
}

#[test]
fn what_is_wrong_is_said_with_what_mends_it() {
    let place = Place::new();
    let ran = examined(&place, &[]).ended(0);
    assert_eq!(level(&ran, "spool"), "warning");
    fs::remove_dir(place.spool()).unwrap();
    let ran = examined(&place, &[])
        .ended(1)
        .says("there is no such folder")
        .says("--spool");
    assert_eq!(level(&ran, "spool"), "problem");
    // The folder below the one that is meant.
    let _ = place.put("2026-02-03_00.parquet", b"PAR1");
    assert_eq!(
        level(
            &examined(&place, &[])
                .ended(1)
                .says("name the folder above exchange="),
            "spool"
        ),
        "problem"
    );
    fs::remove_dir_all(place.spool()).unwrap();

    let place = with_a_day(place);
    let _ = place.put_quotes("2099-01-01_00.parquet", b"PAR1");
    let ran = examined(&place, &[]).ended(0).says("2099-01-01_00.parquet");
    assert_eq!(level(&ran, "files of the future"), "warning");

    fs::write(place.archive(), "a file").unwrap();
    assert_eq!(level(&examined(&place, &[]).ended(1), "archive"), "problem");
    fs::remove_file(place.archive()).unwrap();

    let ran = place
        .qlc(&["doctor", "--memory-limit", "900TB", "--format", "json"])
        .ended(1);
    assert_eq!(level(&ran, "memory"), "problem");
    let ran = place
        .qlc(&["doctor", "--memory-limit", "1MB", "--format", "json"])
        .ended(1)
        .says("too small to work in");
    assert_eq!(level(&ran, "configuration"), "problem");
    let ran = examined(&place, &["--metrics-file", "qlc.prom"]).ended(0);
    assert_eq!(level(&ran, "metrics_file"), "warning");
}

#[test]
#[expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "keys are compared as they are"
)]
fn an_archive_of_a_newer_qlc_is_found() {
    let place = with_a_day(Place::new());
    let _ = place.compact(&[]).ended(0);
    let receipts = place.archive().join("_receipts");
    let key = listing(&receipts)
        .into_keys()
        .find(|key| key.ends_with(".json"))
        .unwrap();
    let text = fs::read_to_string(receipts.join(&key)).unwrap();
    let newer = text.replace(&format!("\"{}\"", env!("CARGO_PKG_VERSION")), "\"999.0.0\"");
    assert_ne!(text, newer);
    fs::write(receipts.join(&key), newer).unwrap();
    let ran = examined(&place, &[]).ended(1).says("999.0.0");
    assert_eq!(level(&ran, "version of the archive"), "problem");
    fs::write(receipts.join(&key), text).unwrap();
    let _ = examined(&place, &[]).ended(0);
    place.verify();
}

#[test]
fn a_folder_that_may_not_be_written_is_found() {
    let place = with_a_day(Place::new());
    fs::create_dir(place.archive()).unwrap();
    fs::set_permissions(place.archive(), fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere; who may not is told so.
    let may = fs::write(place.archive().join("probe"), "").is_ok();
    let _ = fs::remove_file(place.archive().join("probe"));
    let ran = examined(&place, &[]);
    assert_eq!(
        level(&ran, "archive"),
        if may { "ok" } else { "problem" },
        "{ran}"
    );
    // A folder cannot be made below a file, whoever asks.
    fs::write(place.root().join("file"), "").unwrap();
    let below = place.root().join("file/archive").display().to_string();
    let nowhere = place
        .elsewhere(
            &below,
            &["doctor", "--memory-limit", SMALL, "--format", "json"],
        )
        .ended(1);
    assert_eq!(level(&nowhere, "archive"), "problem");
}
