//! Several writers of one partition: exactly one publishes, all rows arrive, and a store on which
//! this cannot hold is refused.

use std::process::Child;

use super::{home, only, put};
use crate::support::{
    archive::{listing, published},
    events::{DAY, SECOND, quotes},
    faults::{Asked, Kind},
    run::{CATCH_UP, Place, Ran},
    s3::Conditions,
};

const JSON: &[&str] = &["--format", "json"];

/// Runs many at once, and waits for all.
fn at_once(places: &[&Place], args: &[&str]) -> Vec<Ran> {
    let begun: Vec<Child> = places.iter().map(|place| place.spawn(args, &[])).collect();
    begun.into_iter().map(Ran::of_child).collect()
}

fn statuses(all: &[Ran]) -> Vec<String> {
    all.iter()
        .map(|ran| only(ran)["status"].as_str().unwrap().to_owned())
        .collect()
}

#[track_caller]
fn one_publishes(place: &Place) {
    put(place, 0);
    let all = at_once(&[place; 16], &[CATCH_UP, JSON].concat());
    for ran in &all {
        assert_eq!(ran.code, Some(0), "{ran}");
    }
    let statuses = statuses(&all);
    assert_eq!(
        statuses.iter().filter(|s| *s == "done").count(),
        1,
        "{statuses:?}"
    );
    let clean = |s: &String| ["done", "lost-race", "up-to-date", "completed"].contains(&s.as_str());
    assert!(statuses.iter().all(clean), "{statuses:?}");
    assert_eq!(
        published(&place.archive(), &home()).quotes(),
        quotes(DAY, SECOND, 0, 5)
    );
    place.verify();
    place.leaves_nothing();
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    assert_eq!(
        listing(&place.archive()).len(),
        4,
        "data, meta, one receipt and its mark"
    );
}

#[test]
fn of_sixteen_processes_one_publishes() {
    one_publishes(&Place::on_s3());
}

#[test]
fn of_sixteen_processes_on_a_folder_one_publishes() {
    one_publishes(&Place::new());
}

/// The bytes of one run that sees the files of all `seconds`.
fn all_of(seconds: &[i64]) -> Vec<u8> {
    let place = Place::new();
    for second in seconds {
        put(&place, *second);
    }
    let _ = place.compact(&[]).ended(0);
    published(&place.archive(), &home()).bytes
}

#[test]
fn machines_with_other_files_converge() {
    let first = Place::on_s3();
    let others: Vec<Place> = (1..6).map(|_| first.beside()).collect();
    let all: Vec<&Place> = std::iter::once(&first).chain(&others).collect();
    for (second, place) in (0..).zip(&all) {
        put(place, second);
    }
    for ran in at_once(&all, &[CATCH_UP, JSON].concat()) {
        assert_eq!(ran.code, Some(0), "{ran}");
    }
    assert_eq!(
        published(&first.archive(), &home()).bytes,
        all_of(&[0, 1, 2, 3, 4, 5])
    );
    first.verify();
    first.leaves_nothing();
    for place in all {
        let _ = place.compact(&[]).ended(0).says("nothing to do");
    }
}

/// `first` is about to do what `when` says, and another machine with the file of second 3 runs from
/// beginning to end.
#[track_caller]
fn overtaken(when: impl Fn(&Asked) -> bool + Send + 'static, same: bool, before: bool) -> String {
    let (first, other) = {
        let first = Place::on_s3();
        let other = first.beside();
        if before {
            put(&first, 7);
            let _ = first.compact(&[]).ended(0);
        }
        put(&first, 0);
        put(&other, if same { 0 } else { 3 });
        (first, std::sync::Arc::new(other))
    };
    let overtaking = std::sync::Arc::clone(&other);
    first.server().meanwhile(when, move || {
        let _ = overtaking.compact(&[]).ended(0);
    });
    let ran = first.compact(JSON).ended(0);
    let mut seconds = vec![0];
    seconds.extend((!same).then_some(3));
    seconds.extend(before.then_some(7));
    assert_eq!(
        published(&first.archive(), &home()).bytes,
        all_of(&seconds),
        "{ran}"
    );
    first.verify();
    first.leaves_nothing();
    for place in [&first, &*other] {
        let _ = place.compact(&[]).ended(0).says("nothing to do");
    }
    only(&ran)["status"].as_str().unwrap().to_owned()
}

#[test]
fn overtaken_by_another_with_the_same_file() {
    for before in [false, true] {
        assert_eq!(
            overtaken(|a| a.is(Kind::Put, "/data.parquet"), true, before),
            "lost-race"
        );
        let status = overtaken(|a| a.is(Kind::Put, "/meta.json"), true, before);
        assert!(["lost-race", "done"].contains(&status.as_str()), "{status}");
    }
}

#[test]
fn overtaken_by_another_with_a_late_file() {
    for before in [false, true] {
        assert_eq!(
            overtaken(|a| a.is(Kind::Put, "/data.parquet"), false, before),
            "done"
        );
        let status = overtaken(|a| a.is(Kind::Put, "/meta.json"), false, before);
        assert!(["lost-race", "done"].contains(&status.as_str()), "{status}");
        let _ = overtaken(
            |a| a.kind == Kind::Put && a.key.contains("/_receipts/"),
            false,
            before,
        );
    }
}

#[test]
fn a_store_that_ignores_preconditions_is_refused() {
    let place = Place::on_s3();
    put(&place, 0);
    place.server().set_conditions(Conditions::Ignored);
    let ran = place.compact(&[]);
    assert!([Some(1), Some(2)].contains(&ran.code), "{ran}");
    let ran = ran
        .says("--single-writer")
        .says("qlc-test-store")
        .says("quant");
    assert_eq!(listing(&place.archive()).len(), 0, "{ran}");
    place.leaves_nothing();
    let _ = place.compact(&["--single-writer"]).ended(0);
    assert_eq!(
        published(&place.archive(), &home()).quotes(),
        quotes(DAY, SECOND, 0, 5)
    );
    place.verify();
    place.leaves_nothing();
}

#[test]
fn on_a_store_that_races_no_row_is_lost() {
    let first = Place::on_s3();
    first.server().set_conditions(Conditions::Raced);
    let others: Vec<Place> = (1..4).map(|_| first.beside()).collect();
    let all: Vec<&Place> = std::iter::once(&first).chain(&others).collect();
    for (second, place) in (0..).zip(&all) {
        put(place, second);
    }
    for ran in at_once(&all, &[CATCH_UP, JSON].concat()) {
        assert!(!ran.stderr.contains("panicked"), "{ran}");
        assert!(
            [Some(0), Some(1), Some(2), Some(5)].contains(&ran.code),
            "{ran}"
        );
    }
    // What was overwritten is still in the spools; one after another they bring it back.
    first.server().set_conditions(Conditions::Kept);
    for place in &all {
        let _ = place.compact(&[]).ended(0);
    }
    assert_eq!(
        published(&first.archive(), &home()).bytes,
        all_of(&[0, 1, 2, 3])
    );
    first.verify();
}
