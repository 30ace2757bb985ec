//! Requests fail, come late, are cut off or lose their connection, as a seed says: half of them, or a few.

use super::{home, put};
use crate::support::{
    archive::{listing, published},
    run::{CATCH_UP, Place, Ran},
};

const SEEDS: std::ops::Range<u64> = 1..9;

/// So long one run may take before it is taken for hung: far more than it needs.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(2);

/// A run in a storm that so many of a hundred requests meet: how it ended, what the storm did, how many requests there
/// were.
fn stormy(seed: u64, percent: u64) -> (Place, Ran, Vec<String>, usize) {
    let place = Place::all_on_s3();
    put(&place, 0);
    put(&place, 3);
    place.server().storm(seed, percent);
    let more: &[&str] = &["--workers", "1", "--connections", "2", "--retries", "4", "--request-timeout", "5s"];
    let mut child = place.spawn(&[CATCH_UP, more].concat(), &[]);
    let begun = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let hung = child.try_wait().unwrap().is_none();
    if hung {
        child.kill().unwrap();
    }
    let ran = Ran::of_child(child);
    assert!(!hung, "seed {seed}: still running\n{ran}");
    let (trace, asked) = (place.server().trace(), place.server().seen().len());
    (place, ran, trace, asked)
}

fn check(seed: u64, percent: u64, undisturbed: &[u8]) -> (Option<i32>, usize) {
    let (place, ran, trace, asked) = stormy(seed, percent);
    assert!([Some(0), Some(1), Some(5)].contains(&ran.code), "seed {seed}: {ran}");
    assert!(!ran.stderr.contains("panicked"), "seed {seed}: {ran}");
    assert!(asked < 600, "seed {seed}: {asked} requests\n{ran}");
    let again = stormy(seed, percent);
    assert_eq!(again.2, trace, "seed {seed}: another trace\n{ran}\n{}", again.1);
    assert_eq!(again.1.code, ran.code, "seed {seed}");
    for place in [&place, &again.0] {
        if ran.code == Some(0) {
            assert_eq!(published(&place.archive(), &home()).bytes, undisturbed, "seed {seed}: {ran}");
        }
        place.server().calm();
        let next = place.compact(&[]).ended(0);
        assert_eq!(published(&place.archive(), &home()).bytes, undisturbed, "seed {seed}: {ran}\n{next}");
        place.verify();
        let receipts = listing(&place.archive()).into_keys().filter(|k| k.starts_with("_receipts/")).count();
        assert_eq!(receipts, 1, "seed {seed}: the same rows have one receipt");
    }
    (ran.code, asked)
}

/// Several storms at once, since they wait more than they work; how they ended.
fn storms(percent: u64) -> Vec<(Option<i32>, usize)> {
    let undisturbed = {
        let place = Place::all_on_s3();
        put(&place, 0);
        put(&place, 3);
        let _ = place.compact(&[]).ended(0);
        published(&place.archive(), &home()).bytes
    };
    std::thread::scope(|scope| {
        let undisturbed = &undisturbed;
        let seeds: Vec<_> = SEEDS.map(|seed| scope.spawn(move || check(seed, percent, undisturbed))).collect();
        seeds.into_iter().map(|seed| seed.join().unwrap()).collect()
    })
}

#[test]
fn a_storm_ends_in_success_or_in_a_clean_error() {
    let _ = storms(50);
}

#[test]
fn some_bad_weather_is_survived() {
    let ended = storms(8);
    assert!(ended.iter().any(|(code, _)| *code == Some(0)), "{ended:?}");
}
