//! A write that fails for want of room fails its partition: nothing half written is left, and the
//! next run completes.

use std::fs;

use super::support::{
    archive::{home, listing, published},
    events::{DAY, Events, SECOND, quotes},
    run::{CATCH_UP, Place},
};

#[test]
fn no_room_for_a_first_publish_or_for_a_later_one() {
    let place = Place::new();
    let (first, late) = (quotes(DAY, SECOND, 0, 400), quotes(DAY, SECOND, 1000, 400));
    let _ = place.put_quotes(
        "2026-02-03_00.parquet",
        &Events::sealed(first.clone()).bytes(),
    );
    let short = || {
        let ran = place
            .qlc_short_of_room(4, CATCH_UP)
            .ended(1)
            .says("data.parquet")
            .says("cannot be written");
        assert!(!ran.stderr.contains("panicked"), "{ran}");
        place.is_tidy();
    };
    short();
    assert_eq!(listing(&place.archive()).len(), 0);
    let _ = place.compact(&[]).ended(0);
    let before = listing(&place.archive());

    let _ = place.put_quotes(
        "2026-02-03_01.parquet",
        &Events::sealed(late.clone()).bytes(),
    );
    short();
    assert_eq!(
        listing(&place.archive()),
        before,
        "the published day stands"
    );
    place.verify();
    let _ = place.compact(&[]).ended(0);
    let mut all = [first, late].concat();
    all.sort_by_key(|q| (q.ts_event, q.seq));
    assert_eq!(published(&place.archive(), &home()).quotes(), all);
    place.verify();
    place.is_tidy();
}

#[test]
fn no_room_in_quarantine_publishes_nothing() {
    // The day must not stand without a file that is kept nowhere.
    let place = Place::new();
    let _ = place.put_quotes(
        "2026-02-03_00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 5)).bytes(),
    );
    let _ = place.put_quotes("2026-02-03_01.parquet", &vec![b'x'; 1 << 20]);
    let _ = place
        .qlc_short_of_room(100, CATCH_UP)
        .ended(1)
        .says("QUARANTINE")
        .says("cannot be written");
    assert_eq!(listing(&place.archive()).len(), 0);
    place.is_tidy();
    let _ = place.compact(&[]).ended(3);
    place.verify();
}

#[test]
fn no_room_for_spilled_rows() {
    let place = Place::new();
    let mut rows = quotes(DAY, 90_000_000, 0, 900_000);
    rows.reverse();
    let _ = place.put_quotes(
        "2026-02-03_00.parquet",
        &Events::sealed(rows.clone()).undeclared().bytes(),
    );
    let args = [CATCH_UP, &["--memory-limit", "256MB"]].concat();
    let _ = place
        .qlc_short_of_room(256, &args)
        .ended(1)
        .says("--spill-dir");
    assert_eq!(listing(&place.archive()).len(), 0);
    place.is_tidy();
    let _ = place.qlc(&args).ended(0);
    rows.reverse();
    assert!(published(&place.archive(), &home()).quotes() == rows);
    place.verify();
    place.is_tidy();
}

#[test]
fn no_room_for_the_answer() {
    let place = Place::new();
    let _ = place.put_quotes(
        "2026-02-03_00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 400)).bytes(),
    );
    let _ = place.compact(&[]).ended(0);
    let args = [
        "query",
        "SELECT * FROM archive.bbo",
        "--format",
        "csv",
        "--output",
        "rows.csv",
    ];
    let ran = place.qlc_short_of_room(4, &args).ended(1).says("rows.csv");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    assert!(!place.root().join("rows.csv").exists());
    let left = fs::read_dir(place.root())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect::<Vec<_>>();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().contains("rows")),
        "{left:?}"
    );
    place.verify();
}
