//! Pruning a spool in a bucket: few requests, and nothing goes that is not what was read.

use std::{collections::BTreeMap, fs};

use super::{IMPATIENT, put};
use crate::support::{
    archive::listing,
    events::{DAY, Events, SECOND, quotes},
    faults::{Answer, Asked, Kind, done, undone},
    run::{Place, Ran, SERIES},
    s3::SPOOL,
};

const FILES: i64 = 12;

fn compacted() -> Place {
    let place = Place::all_on_s3();
    for second in 0..FILES {
        put(&place, second * 5);
    }
    let _ = place.compact(&[]).ended(0);
    place.server().forget();
    place
}

fn prune(place: &Place, more: &[&str]) -> Ran {
    place.qlc(&[&["prune", "--keep-days", "0"], more].concat())
}

fn key(second: i64) -> String {
    format!("{SPOOL}/{SERIES}/2026-02-03_00-00-{second:02}.parquet")
}

/// What was left of the spool.
fn left(place: &Place) -> Vec<String> {
    listing(&place.spool()).into_keys().collect()
}

#[test]
fn a_file_is_read_and_looked_at_once_and_many_are_removed_by_one_request() {
    let place = compacted();
    let _ = prune(&place, &[]).ended(0).says("removed 12 files");
    let mut of_file = BTreeMap::<_, usize>::new();
    for seen in place.server().seen() {
        if seen.asked.key.ends_with(".parquet") && seen.asked.key.starts_with(SPOOL) {
            *of_file
                .entry((seen.asked.key, seen.asked.kind))
                .or_default() += 1;
        }
    }
    let mut expected = BTreeMap::new();
    for second in 0..FILES {
        let _ = expected.insert((key(second * 5), Kind::Get), 1);
        let _ = expected.insert((key(second * 5), Kind::Head), 1);
    }
    assert_eq!(of_file, expected);
    let removals = place.server().count(|asked| asked.kind == Kind::Delete);
    assert_eq!(removals, 2, "of the files, and of the intent");
    assert_eq!(left(&place), Vec::<String>::new());
    place.verify();
}

/// Another object is put in the place of the seventh file just before a request of this kind for
/// it: it stays, and all others go.
#[track_caller]
fn replaced_before(kind: Kind, exit: i32, says: &str) {
    let place = compacted();
    let (seventh, new) = (key(30), Events::sealed(quotes(DAY, SECOND, 900, 7)).bytes());
    let wanted = seventh.clone();
    place.server().meanwhile(
        move |asked| asked.kind == kind && asked.key == wanted,
        place.server().putting(&seventh, new.clone()),
    );
    let ran = prune(&place, &[]).ended(exit).says(says);
    let ran = ran.says("removed 11 files");
    let kept = fs::read(place.server().folder(&seventh)).unwrap();
    assert_eq!(kept, new);
    assert_eq!(left(&place).len(), 1, "{ran}");
    let _ = place.compact(&[]).ended(0);
    place.verify();
}

#[test]
fn a_file_that_is_replaced_stays_and_the_others_go() {
    replaced_before(Kind::Get, 1, "was replaced while it was read");
    replaced_before(Kind::Head, 0, "was replaced after it was read");
}

#[test]
fn a_file_that_vanishes_before_it_is_read_is_told_as_gone() {
    let place = compacted();
    let seventh = key(30);
    let (wanted, file) = (seventh.clone(), place.server().folder(&seventh));
    place.server().meanwhile(
        move |asked| asked.kind == Kind::Get && asked.key == wanted,
        Box::new(move || fs::remove_file(file).unwrap()),
    );
    let _ = prune(&place, &[])
        .ended(0)
        .says("did not find 1 file")
        .says("removed 11 files");
    assert_eq!(left(&place), Vec::<String>::new());
    place.verify();
}

#[test]
fn what_was_removed_is_told_even_if_the_journal_cannot_be_written() {
    let place = compacted();
    let is_journal = |asked: &Asked| {
        let is_intent = asked.key.ends_with(".intent.ndjson");
        asked.writes() && asked.key.ends_with(".ndjson") && !is_intent
    };
    place
        .server()
        .fault(is_journal, 0..2, undone(Answer::Status(500)));
    let ran = prune(&place, IMPATIENT)
        .says("removed 12 files")
        .says("the journal of this run could not be completed");
    assert!([Some(1), Some(5)].contains(&ran.code), "{ran}");
    assert_eq!(left(&place), Vec::<String>::new());
    place.server().calm();
    let _ = prune(&place, &[])
        .ended(0)
        .says("completed the journal of a run that was interrupted");
    place.verify();
}

#[test]
fn of_a_removal_that_ends_in_an_error_the_store_tells_what_came_of_it() {
    // The second request is the only repetition.
    let deletes = |place: &Place, fault| {
        let is_delete = |asked: &Asked| asked.kind == Kind::Delete;
        place.server().fault(is_delete, 0..2, fault);
    };
    let place = compacted();
    deletes(&place, done(Answer::Status(500)));
    let _ = prune(&place, IMPATIENT).ended(0).says("removed 12 files");
    assert_eq!(left(&place), Vec::<String>::new());

    let place = compacted();
    deletes(&place, undone(Answer::Status(500)));
    let ran = prune(&place, IMPATIENT).says("cannot be removed");
    assert_ne!(ran.code, Some(0), "{ran}");
    assert_eq!(left(&place).len(), 12, "{ran}");
    place.server().calm();
    let _ = prune(&place, &[]).ended(0).says("removed 12 files");
    place.verify();
}

#[test]
fn in_a_bucket_an_intent_stays_as_long_as_it_announces_what_may_come() {
    let place = compacted();
    // Killed with the intent written, before the first removal: nobody can tell that it is dead.
    let ran = place.qlc_env(&["prune", "--keep-days", "0"], &[("QLC_CRASH_AT", "6")]);
    assert_eq!((ran.code, left(&place).len()), (None, 12), "{ran}");
    let intents = || {
        let all = listing(&place.archive()).into_keys();
        all.filter(|key| key.ends_with(".intent.ndjson")).count()
    };
    assert_eq!(intents(), 1);
    let ran = prune(&place, &[]).ended(0).says("removed 12 files");
    assert!(!ran.stdout.contains("completed the journal"), "{ran}");
    assert_eq!(intents(), 1);
    let _ = prune(&place, &[])
        .ended(0)
        .says("completed the journal of a run that was interrupted");
    assert_eq!(intents(), 0);
    place.verify();
}
