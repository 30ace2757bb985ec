//! Every command where not everything can be listed, and where spool and archive are not apart.

use std::{fs, os::unix::fs::symlink};

use super::{
    listing::{make_unlistable, put, series},
    support::{
        archive::listing,
        run::{Place, Ran},
    },
};

/// A place with two compacted symbols.
fn compacted() -> Place {
    let place = Place::new();
    put(&place, "btcusdt", "2026-02-03_00.parquet", 0);
    put(&place, "ethusdt", "2026-02-03_00.parquet", 50);
    let _ = place.compact(&[]).ended(0);
    place
}

#[test]
fn commands_go_on_with_what_an_archive_shows() {
    let place = compacted();
    make_unlistable(&place.archive().join(series("btcusdt")));
    let ran = place
        .qlc(&["verify", "--format", "json"])
        .ended(1)
        .says("cannot be listed");
    let symbols: Vec<_> = ran.json().iter().map(|one| one["symbol"].clone()).collect();
    assert_eq!(symbols, ["ethusdt"], "{ran}");
    let _ = place.qlc(&["verify", "--symbol", "ethusdt"]).ended(0);

    put(&place, "btcusdt", "2026-02-03_07.parquet", 70);
    put(&place, "ethusdt", "2026-02-03_07.parquet", 80);
    let ran = place
        .compact(&[])
        .ended(1)
        .says("not everything of binance/bbo/btcusdt could be listed");
    assert!(
        ran.stdout.contains("1 failed") && ran.stdout.contains("1 done"),
        "{ran}"
    );

    let range = ["status", "--start", "20260203", "--end", "20260203"];
    let ran = place.qlc(&range).ended(1).says("cannot be listed");
    assert!(
        ran.stdout.contains("ethusdt") && !ran.stdout.contains("symbol=btcusdt complete"),
        "{ran}"
    );
    let _ = place
        .qlc(&[&range[..], &["--symbol", "ethusdt"]].concat())
        .ended(0);
    let page = place.root().join("page.html").display().to_string();
    let _ = place
        .qlc(&["report", "--html", &page])
        .ended(1)
        .says("cannot be listed");

    let _ = place
        .qlc(&["query", "SELECT count(*) FROM archive.bbo"])
        .ended(1)
        .says("cannot be listed");
    let _ = place
        .qlc(&["query", "SELECT count(*) FROM archive.meta"])
        .ended(1)
        .says("cannot be listed");
    let _ = place
        .qlc(&["query", "SELECT count(*) FROM archive.trade"])
        .ended(0);
    let _ = place
        .qlc(&["import", "--dry-run"])
        .ended(1)
        .says("cannot be listed");
    let ran = place
        .qlc(&["doctor", "--format", "json"])
        .ended(1)
        .says("cannot be listed");
    assert!(
        ran.json()
            .iter()
            .any(|one| one["name"] == "archive" && one["level"] == "problem"),
        "{ran}"
    );
    let _ = place.qlc(&["clean"]).ended(1).says("cannot be listed");
}

#[test]
fn nothing_is_let_go_where_quarantine_or_receipts_hide_something() {
    let place = compacted();
    for folder in ["QUARANTINE", "_receipts"] {
        make_unlistable(&place.archive().join(folder).join(series("btcusdt")));
    }
    let ran = place
        .qlc(&["prune", "--keep-days", "0", "--format", "json"])
        .ended(1)
        .says("cannot be listed");
    let all = ran.json();
    let outcome =
        |symbol: &str| all.iter().find(|one| one["symbol"] == symbol).unwrap()["outcome"].clone();
    assert_eq!(
        [outcome("btcusdt"), outcome("ethusdt")],
        ["failed", "removed"],
        "{ran}"
    );
    assert!(
        place
            .spool()
            .join(series("btcusdt"))
            .join("2026-02-03_00.parquet")
            .exists()
    );
    let _ = place
        .qlc(&["quarantine", "list"])
        .ended(1)
        .says("cannot be listed");
    let _ = place
        .qlc(&["quarantine", "list", "--symbol", "btcusdt"])
        .ended(1);
    let _ = place
        .qlc(&["query", "SELECT count(*) FROM archive.quarantine"])
        .ended(1)
        .says("cannot be listed");
    let receipts = place
        .archive()
        .join("_receipts")
        .join(series("btcusdt"))
        .join("date=20260203");
    let orphan = receipts.join(format!("{}.json", "a".repeat(64)));
    fs::write(&orphan, "{}").unwrap();
    let _ = place
        .qlc(&["clean", "--older-than", "0s"])
        .ended(1)
        .says("cannot be listed");
    assert!(orphan.exists());
    // Nobody can say that all is well where receipts may be hidden; the other series is verified
    // all the same.
    let _ = place
        .qlc(&["verify"])
        .ended(1)
        .says("cannot be listed")
        .says("1 partition sound");
}

#[test]
fn a_spool_that_cannot_be_listed_lets_nothing_of_its_series_go() {
    let place = compacted();
    make_unlistable(&place.spool().join(series("btcusdt")));
    let ran = place
        .qlc(&["prune", "--keep-days", "0", "--format", "json"])
        .ended(1);
    let removed: Vec<_> = ran
        .json()
        .into_iter()
        .filter(|one| one["outcome"] == "removed")
        .map(|one| one["symbol"].clone())
        .collect();
    assert_eq!(removed, ["ethusdt"], "{ran}");
    let _ = place
        .qlc(&["query", "SELECT count(*) FROM spool.bbo"])
        .ended(1)
        .says("cannot be listed");
    let _ = place
        .qlc(&["verify", "--rebuild"])
        .ended(1)
        .says("cannot be listed");
    let ran = place.qlc(&["doctor", "--format", "json"]).ended(1);
    assert!(
        ran.json()
            .iter()
            .any(|one| one["name"] == "spool" && one["level"] == "problem"),
        "{ran}"
    );
    place.verify();
}

#[test]
fn a_link_in_an_archive_is_what_it_is_a_folder_that_is_not_known() {
    let place = compacted();
    let (old, new) = (
        place.archive().join(series("btcusdt")),
        place.root().join("elsewhere"),
    );
    fs::rename(&old, &new).unwrap();
    symlink(&new, &old).unwrap();
    let ran = place.qlc(&["verify"]).ended(1).says("symbolic link");
    assert!(ran.stdout.contains("1 partition sound"), "{ran}");
    // A loop where no series can be hides nothing.
    fs::remove_file(&old).unwrap();
    fs::rename(&new, &old).unwrap();
    symlink(place.archive(), place.archive().join("loop")).unwrap();
    place.verify();
}

/// The commands that take both stores, each with what it needs to begin.
const BOTH: &[&[&str]] = &[
    &["compact", "--mode", "catch-up"],
    &["compact", "--mode", "catch-up", "--dry-run"],
    &["verify", "--rebuild"],
    &["prune", "--keep-days", "0"],
    &["quarantine", "retry"],
    &["clean"],
    &["query", "SELECT 1"],
    &["status"],
    &["report", "--html", "page.html"],
    &["import"],
];

#[track_caller]
fn refused(ran: Ran) {
    let ran = ran.ended(2);
    assert!(ran.stderr.contains("apart"), "{ran}");
}

#[test]
fn a_spool_and_an_archive_that_overlap_are_refused_by_every_command() {
    let place = Place::new();
    put(&place, "btcusdt", "2026-02-03_00.parquet", 0);
    fs::create_dir(place.spool().join("inner")).unwrap();
    symlink(place.spool(), place.root().join("link")).unwrap();
    let spool = place.spool().display().to_string();
    let archives = [
        spool.clone(),
        format!("file://{spool}"),
        format!("{spool}/inner"),
        format!("{spool}/not/yet"),
        place.root().display().to_string(),
        place.root().join("link").display().to_string(),
    ];
    let before = listing(place.root());
    for archive in &archives {
        for command in BOTH {
            // What must be there to be looked at is not.
            if archive.ends_with("yet")
                && !["compact", "clean", "query", "status"].contains(&command[0])
            {
                continue;
            }
            refused(place.elsewhere(archive, command));
        }
        let ran = place
            .elsewhere(archive, &["doctor", "--format", "json"])
            .ended(1);
        assert!(
            ran.json()
                .iter()
                .any(|one| one["name"] == "spool and archive"),
            "{ran}"
        );
    }
    assert_eq!(listing(place.root()), before);
    // Beside one another they are two places.
    let beside = format!("{spool}-archive");
    let _ = place
        .elsewhere(&beside, &["compact", "--mode", "catch-up"])
        .ended(0);
}

#[test]
fn prefixes_of_one_bucket_overlap_part_by_part() {
    let place = Place::all_on_s3();
    put(&place, "btcusdt", "2026-02-03_00.parquet", 0);
    for archive in [
        "s3://quant/spool",
        "s3://quant/spool/",
        "s3://quant",
        "s3://quant/spool/archive",
    ] {
        for command in BOTH {
            refused(place.elsewhere(archive, command));
        }
        assert_eq!(place.server().seen().len(), 0, "{archive}");
    }
    let _ = place
        .elsewhere(
            "s3://quant/spool-archive",
            &["compact", "--mode", "catch-up"],
        )
        .ended(0);
}
