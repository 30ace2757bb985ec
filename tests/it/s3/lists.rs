//! Lists of a bucket: every page is read, a key that cannot be used hides no other, and a list that
//! ends early is none.

use super::{IMPATIENT, home, put};
use crate::support::{
    archive::{listing, published},
    events::{DAY, Events, SECOND, quotes},
    faults::{Answer, Kind, done, undone},
    run::{CATCH_UP, Place, SERIES},
    s3::SPOOL,
};

/// A spool of several pages.
fn paged() -> Place {
    let place = Place::all_on_s3();
    for second in [0, 5, 10, 15, 20] {
        put(&place, second);
    }
    place.server().set_page(2);
    place
}

#[test]
fn a_key_that_cannot_be_used_hides_no_other() {
    let place = paged();
    let odd = [
        "2026-02-03_00-00-03//upload",
        "../secret",
        "a\tb",
        "Icon\r",
        "folder/",
        ".hidden.parquet",
        "2026-02-03_00-00-10.parquet.tmp",
    ];
    for key in odd {
        place.server().list_also(&format!("{SPOOL}/{SERIES}/{key}"));
    }
    let _ = place.compact(&[]).ended(0);
    assert_eq!(published(&place.archive(), &home()).quotes().len(), 25);
    for key in ["x//y.parquet", "../z.parquet", "new\nline.parquet"] {
        place.server().list_also(&format!("{SPOOL}/{SERIES}/{key}"));
    }
    let ran = place.compact(&["--format", "json"]).ended(3);
    let ignored: Vec<_> = ran
        .json()
        .into_iter()
        .filter(|one| one["status"] == "ignored")
        .collect();
    assert_eq!(ignored.len(), 3, "{ran}");
    let _ = place
        .qlc(&["status", "--start", "20260203", "--end", "20260203"])
        .ended(0)
        .says("3 files of the spool");
    let sql = "SELECT count(*) AS n FROM spool.bbo";
    assert_eq!(
        place
            .qlc(&["query", sql, "--format", "json"])
            .ended(0)
            .json()[0][0]["n"],
        25
    );
    let _ = place.qlc(&["prune", "--keep-days", "0"]).ended(0);
    place.verify();
}

#[test]
fn keys_of_an_archive_that_cannot_be_used_hide_no_other() {
    let place = paged();
    let _ = place.compact(&[]).ended(0);
    for key in [
        "archive//x",
        "archive/exchange=binance//y.parquet",
        "archive/_receipts/a\tb",
    ] {
        place.server().list_also(key);
    }
    place.verify();
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    let _ = place.qlc(&["clean"]).ended(0);
    let _ = place.qlc(&["quarantine", "list"]).ended(0);
    let _ = place.qlc(&["import", "--dry-run"]).ended(0);
    let sql = "SELECT count(*) AS n FROM archive.bbo";
    assert_eq!(
        place
            .qlc(&["query", sql, "--format", "json"])
            .ended(0)
            .json()[0][0]["n"],
        25
    );
}

#[test]
fn names_with_every_letter_are_found() {
    let place = Place::all_on_s3();
    put(&place, 0);
    let odd = "2026-02-03_00-00-00 (1)+%41&=ä~.parquet";
    let key = format!("{SPOOL}/{SERIES}/{odd}");
    place.server().put(
        &key,
        &Events::sealed(quotes(DAY + 5 * SECOND, SECOND, 5, 5)).bytes(),
    );
    let _ = place.compact(&[]).ended(0);
    assert_eq!(published(&place.archive(), &home()).quotes().len(), 10);
    place.verify();
}

#[test]
fn a_list_that_is_cut_off_or_refused_for_a_while_is_asked_for_again() {
    for fault in [
        done(Answer::Truncated),
        done(Answer::Dropped),
        undone(Answer::Status(503)),
        undone(Answer::Body("SlowDown")),
        undone(Answer::Body("InternalError")),
    ] {
        let place = paged();
        place.server().fault(
            |a| a.kind == Kind::List && a.key.starts_with(SPOOL),
            1..2,
            fault,
        );
        let _ = place.compact(&[]).ended(0);
        assert_eq!(
            published(&place.archive(), &home()).quotes().len(),
            25,
            "{fault:?}"
        );
        place.verify();
    }
}

#[test]
fn a_list_without_its_last_page_is_no_list() {
    for answer in [
        Answer::Status(503),
        Answer::Status(403),
        Answer::Body("InternalError"),
        Answer::Truncated,
    ] {
        let place = paged();
        place.server().fault(
            |a| a.kind == Kind::List && a.key.starts_with(SPOOL),
            1..usize::MAX,
            done(answer),
        );
        let ran = place
            .qlc(&[CATCH_UP, IMPATIENT].concat())
            .ended(1)
            .says("cannot be listed");
        assert_eq!(listing(&place.archive()).len(), 0, "{ran}");
    }
}
