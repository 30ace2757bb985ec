//! What cannot be done is said in one line that tells what to do, with the right exit code; damage
//! is told in full.

use std::fs;

use super::support::{
    archive::{home, listing, published},
    events::{DAY, Events, SECOND, quotes},
    run::{NOW, Place, qlc},
};

fn place() -> Place {
    let place = Place::new();
    let _ = place.put_quotes(
        "2026-02-03_00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 50)).bytes(),
    );
    place
}

/// One line on stderr with all of `words`, nothing on stdout, the exit code, and no archive.
#[track_caller]
fn refused(place: &Place, args: &[&str], code: i32, words: &[&str]) {
    let spool = listing(&place.spool());
    let ran = place.qlc(args).ended(code);
    assert_eq!(ran.stdout, "", "{ran}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    assert!(
        ran.stderr.starts_with("qlc: ") && words.iter().all(|w| ran.stderr.contains(w)),
        "{words:?} in {ran}"
    );
    assert!(!place.archive().is_dir(), "{ran}");
    assert_eq!(listing(&place.spool()), spool);
}

#[test]
fn mistakes_in_what_was_typed() {
    let place = place();
    let check = |args: &[&str], words: &[&str]| refused(&place, args, 2, words);
    check(
        &["compact", "--mode", "weekly"],
        &["weekly", "daily", "catch-up", "backfill", "single"],
    );
    check(
        &["compact", "--mode", "daily", "--format", "xml"],
        &["xml", "text", "json"],
    );
    check(
        &["compact", "--mode", "daily", "--wrokers", "2"],
        &["--wrokers", "--workers"],
    );
    check(&["compact"], &["--mode"]);
    check(
        &["compact", "--mode", "daily", "--workers", "0"],
        &["--workers", "1 to 1024"],
    );
    check(
        &["compact", "--mode", "daily", "--now", "yesterday"],
        &["--now", "2026-02-04T01:00:00Z"],
    );
    check(
        &["compact", "--mode", "daily", "--memory-limit", "1kB"],
        &["too small", "256"],
    );
    check(
        &["compact", "--mode", "daily", "--memory-limit", "much"],
        &["--memory-limit", "much"],
    );
    for date in ["2026-0203", "20260230", "2026-02-30", "26-2-3", "tomorrow"] {
        let single = [
            "compact", "--mode", "single", "--date", date, "--symbol", "btcusdt", "--stream", "bbo",
        ];
        check(&single, &["--date", date, "2026"]);
    }
    let backfill = |start, end| {
        [
            "compact", "--mode", "backfill", "--start", start, "--end", end,
        ]
    };
    check(
        &backfill("20260204", "20260203"),
        &["20260204", "20260203", "after"],
    );
    check(
        &["compact", "--mode", "backfill", "--start", "20260203"],
        &["--start", "--end"],
    );
    check(
        &["compact", "--mode", "single", "--date", "20260203"],
        &["--symbol", "--stream"],
    );
    check(
        &["compact", "--mode", "daily", "--date", "20260203"],
        &["--date", "single"],
    );
    check(
        &[
            "compact", "--mode", "catch-up", "--symbol", "nosuch", "--now", NOW,
        ],
        &["--symbol", "spelling"],
    );
    check(
        &["compact", "--mode", "catch-up", "--symbol", "a/b"],
        &["a/b", "symbol"],
    );
    check(&["frobnicate"], &["frobnicate"]);
    check(
        &["--config", "none.toml", "compact", "--mode", "daily"],
        &["none.toml"],
    );
}

#[test]
fn stores_that_are_not_there() {
    let place = place();
    let elsewhere = |args: &[&str], words: &[&str]| {
        let ran = qlc(args).ended(2);
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr.lines().count()),
            ("", 1),
            "{ran}"
        );
        assert!(
            words.iter().all(|w| ran.stderr.contains(w)),
            "{words:?} in {ran}"
        );
    };
    let compact = [
        "--archive",
        "/no/such/archive",
        "compact",
        "--mode",
        "catch-up",
    ];
    elsewhere(
        &[&["--spool", "/no/such/spool"], &compact[..]].concat(),
        &["/no/such/spool", "--spool", "QLC_SPOOL"],
    );
    elsewhere(
        &[&["--spool", "ftp://host/x"], &compact[..]].concat(),
        &["ftp://host/x", "s3://"],
    );
    elsewhere(
        &[&["--spool", ""], &compact[..]].concat(),
        &["the spool is an empty string"],
    );
    let no_archive = place.archive().display().to_string();
    refused(&place, &["verify"], 2, &[&no_archive, "--archive"]);
    refused(
        &place,
        &["inspect", "/no/such.parquet"],
        2,
        &["/no/such.parquet"],
    );
    // A file in the place of the folder.
    fs::write(place.archive(), b"").unwrap();
    refused(
        &place,
        &["compact", "--mode", "catch-up", "--now", NOW],
        2,
        &[&no_archive, "is a file"],
    );
    refused(&place, &["verify"], 2, &[&no_archive, "is a file"]);
    assert_eq!(fs::read(place.archive()).unwrap(), b"");
}

#[test]
fn an_archive_that_cannot_be_written_fails_the_partition() {
    let place = place();
    // A file where a folder of the layout must come; a removed permission would not stop root.
    fs::create_dir_all(place.archive()).unwrap();
    fs::write(place.archive().join("exchange=binance"), b"").unwrap();
    let ran = place.compact(&[]).ended(1).says("exchange=binance");
    assert!(
        ran.stderr.contains("1 of 1 partition failed") || ran.stderr.contains("failed"),
        "{ran}"
    );
    fs::remove_file(place.archive().join("exchange=binance")).unwrap();
    let _ = place.compact(&[]).ended(0);
    place.verify();
    place.is_tidy();
}

#[test]
fn a_spill_folder_that_cannot_be_made() {
    let place = place();
    let file = place.root().join("file");
    fs::write(&file, b"").unwrap();
    let ran = place.qlc(&[
        "compact",
        "--mode",
        "catch-up",
        "--now",
        NOW,
        "--spill-dir",
        &file.display().to_string(),
    ]);
    let ran = ran.ended(1).says("--spill-dir");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    assert!(!place.archive().exists());
}

#[test]
fn statements_that_are_wrong() {
    let place = place();
    let _ = place.compact(&[]).ended(0);
    let check = |args: &[&str], words: &[&str]| {
        let ran = place.qlc(args).ended(2);
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr.lines().count()),
            ("", 1),
            "{ran}"
        );
        assert!(
            words.iter().all(|w| ran.stderr.contains(w)),
            "{words:?} in {ran}"
        );
    };
    let before = listing(&place.archive());
    check(&["query", "SELEKT 1"], &["SELEKT"]);
    check(&["query", "SELECT * FROM archive.nosuch"], &["nosuch"]);
    check(&["query", "SELECT nosuch FROM archive.bbo"], &["nosuch"]);
    check(&["query", "DROP TABLE archive.bbo"], &[]);
    check(&["query", "COPY archive.bbo TO 'x.csv'"], &[]);
    check(&["query", "--name", "nosuch"], &["nosuch", "duplicates"]);
    check(&["query"], &["SQL", "--file", "--name"]);
    check(&["query", "--file", "none.sql"], &["none.sql"]);
    let _ = place
        .qlc(&[
            "query",
            "--format",
            "csv",
            "SELECT count(*) AS n FROM archive.bbo",
        ])
        .ended(0)
        .says("n\n50\n");
    assert_eq!(listing(&place.archive()), before);
    place.verify();
}

/// What `qlc verify` finds after `harm` was done to the one partition of an archive.
#[track_caller]
fn damaged(harm: fn(&Place), expected: &[&[&str]]) {
    let place = place();
    let _ = place.compact(&[]).ended(0);
    place.verify();
    harm(&place);
    let ran = place.qlc(&["verify", "--format", "json"]).ended(4);
    let [partition] = ran.json().try_into().unwrap();
    assert_eq!(partition["sound"], false);
    let findings: Vec<&str> = partition["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f.as_str().unwrap())
        .collect();
    for words in expected {
        let found = findings
            .iter()
            .any(|finding| words.iter().all(|word| finding.contains(word)));
        assert!(found, "{words:?} in {findings:#?}");
    }
    let text = place.qlc(&["verify"]).ended(4);
    for finding in findings {
        assert!(text.stdout.contains(finding), "{finding:?} in {text}");
    }
}

fn data(place: &Place) -> std::path::PathBuf {
    place.archive().join(home()).join("data.parquet")
}

fn change_meta(place: &Place, change: impl Fn(String) -> String) {
    let path = place.archive().join(home()).join("meta.json");
    let text = fs::read_to_string(&path).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed);
    fs::write(path, changed).unwrap();
}

#[test]
fn every_byte_of_the_data_counts() {
    let place = place();
    let _ = place.compact(&[]).ended(0);
    let bytes = fs::read(data(&place)).unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 16) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x40;
        fs::write(data(&place), &flipped).unwrap();
        let _ = place.qlc(&["verify"]).ended(4).says("sha256");
        let _ = place.qlc(&["verify", "--quick"]).ended(4).says("sha256");
    }
    fs::write(data(&place), &bytes).unwrap();
    place.verify();
}

#[test]
fn all_damage_is_told_not_only_the_first() {
    damaged(
        |place| {
            let mut bytes = fs::read(data(place)).unwrap();
            bytes.truncate(bytes.len() - 100);
            fs::write(data(place), bytes).unwrap();
            change_meta(place, |text| {
                text.replace("\"source_files\": 1", "\"source_files\": \"one\"")
            });
            fs::write(place.archive().join(home()).join("stray.parquet"), b"").unwrap();
        },
        &[
            &["stray.parquet"],
            &["source_files"],
            &["no receipt"],
            &["data.parquet", "TRUNCATED"],
        ],
    );
    damaged(
        |place| fs::remove_file(data(place)).unwrap(),
        &[&["its data.parquet is gone"]],
    );
    damaged(
        |place| fs::remove_file(place.archive().join(home()).join("meta.json")).unwrap(),
        &[&["there is no meta.json"]],
    );
    damaged(
        |place| fs::remove_dir_all(place.archive().join("_receipts")).unwrap(),
        &[&["no receipt vouches for this data"]],
    );
    damaged(
        |place| {
            change_meta(place, |text| {
                let line = "  \"row_count\": 50,\n";
                text.replace(line, "").replace(
                    "  \"schema_version\": \"v1\",\n",
                    &format!("  \"schema_version\": \"v1\",\n{line}"),
                )
            });
        },
        &[&["another order"]],
    );
    damaged(
        |place| {
            change_meta(place, |text| {
                text.replace("\"row_count\": 50", "\"row_count\": 51")
                    .replace(&DAY.to_string(), &(DAY + 1).to_string())
            });
        },
        &[
            &["50 rows", "meta.json says 51"],
            &["ts_event_min"],
            &["receipt"],
        ],
    );
    damaged(
        |place| {
            let receipt = place.archive().join("_receipts").join(home());
            let mut paths = fs::read_dir(receipt)
                .unwrap()
                .map(|entry| entry.unwrap().path());
            let path = paths
                .find(|path| path.extension().is_some_and(|end| end == "json"))
                .unwrap();
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains("\"rows_here\": 50"));
            fs::write(path, text.replace("\"rows_here\": 50", "\"rows_here\": 49")).unwrap();
        },
        &[&["49"]],
    );
}

#[test]
fn rows_that_do_not_belong_are_found_though_every_digest_is_right() {
    use super::support::archive::sha256;
    let place = place();
    let _ = place.compact(&[]).ended(0);
    // Someone writes a partition by hand: its digest is right, its rows are of two days, another
    // symbol and unsorted.
    let mut rows = quotes(DAY + 86_399 * SECOND, SECOND, 0, 2);
    rows.reverse();
    let bytes = Events::sealed(rows)
        .series("binance", "bbo", "ETHUSDT")
        .undeclared()
        .bytes();
    fs::write(data(&place), &bytes).unwrap();
    let old = published_sha(&place);
    change_meta(&place, |text| text.replace(&old, &sha256(&bytes)));
    let ran = place.qlc(&["verify"]).ended(4);
    let _ = ran
        .says("1 row is out of order")
        .says("not of this day")
        .says("name of another exchange, stream or symbol")
        .says("no receipt vouches for this data");
}

fn published_sha(place: &Place) -> String {
    let meta = fs::read(place.archive().join(home()).join("meta.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&meta).unwrap()["sha256"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_rebuild_finds_data_that_the_spool_would_not_give() {
    let place = place();
    let _ = place.compact(&[]).ended(0);
    let _ = place.qlc(&["verify", "--rebuild"]).ended(0);
    let _ = published(&place.archive(), &home());
    fs::remove_file(
        place
            .spool()
            .join("exchange=binance/stream=bbo/symbol=btcusdt/2026-02-03_00.parquet"),
    )
    .unwrap();
    // Not damage: it only cannot be told any more.
    let _ = place
        .qlc(&["verify", "--rebuild"])
        .ended(0)
        .says("cannot be rebuilt");
    let _ = place.qlc(&["verify", "--symbol", "nosuch"]).ended(2);
    let _ = place.qlc(&["verify", "--date", "20260204"]).ended(2);
}
