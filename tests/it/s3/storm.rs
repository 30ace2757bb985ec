//! Half of all requests fail, come late, are cut off or lose their connection, as a seed says.

use super::{home, put};
use crate::support::{
    archive::{listing, published},
    run::{CATCH_UP, Place, Ran},
};

const SEEDS: std::ops::Range<u64> = 1..9;

/// Of a hundred requests, so many meet a fault: half of them, and in every other storm a few, which
/// most runs survive.
fn strength(seed: u64) -> u64 {
    if seed.is_multiple_of(2) { 8 } else { 50 }
}

/// So long one run may take before it is taken for hung: far more than it needs.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(2);

/// A run in the storm: how it ended, what the storm did, how many requests there were.
fn stormy(seed: u64) -> (Place, Ran, Vec<String>, usize) {
    let place = Place::all_on_s3();
    put(&place, 0);
    put(&place, 3);
    place.server().storm(seed, strength(seed));
    let more: &[&str] = &[
        "--workers",
        "1",
        "--connections",
        "2",
        "--retries",
        "4",
        "--request-timeout",
        "5s",
    ];
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

fn check(seed: u64, undisturbed: &[u8]) -> (Option<i32>, usize) {
    let (place, ran, trace, asked) = stormy(seed);
    assert!(
        [Some(0), Some(1), Some(5)].contains(&ran.code),
        "seed {seed}: {ran}"
    );
    assert!(!ran.stderr.contains("panicked"), "seed {seed}: {ran}");
    assert!(asked < 600, "seed {seed}: {asked} requests\n{ran}");
    let again = stormy(seed);
    let lacks = |of: &[String], all: &[String]| {
        all.iter()
            .filter(|line| !of.contains(line))
            .cloned()
            .collect::<Vec<_>>()
    };
    let differ = [lacks(&again.2, &trace), lacks(&trace, &again.2)];
    assert!(
        again.2 == trace,
        "seed {seed}: only in one of two traces: {differ:#?}\n{ran}\n{}",
        again.1
    );
    assert_eq!(again.1.code, ran.code, "seed {seed}");
    for place in [&place, &again.0] {
        if ran.code == Some(0) {
            assert_eq!(
                published(&place.archive(), &home()).bytes,
                undisturbed,
                "seed {seed}: {ran}"
            );
        }
        place.server().calm();
        let next = place.compact(&[]).ended(0);
        assert_eq!(
            published(&place.archive(), &home()).bytes,
            undisturbed,
            "seed {seed}: {ran}\n{next}"
        );
        place.verify();
        #[expect(
            clippy::case_sensitive_file_extension_comparisons,
            reason = "keys are compared as they are"
        )]
        let receipts = listing(&place.archive())
            .into_keys()
            .filter(|k| k.starts_with("_receipts/") && k.ends_with(".json"))
            .count();
        assert_eq!(receipts, 1, "seed {seed}: the same rows have one receipt");
    }
    (ran.code, asked)
}

#[test]
fn a_storm_ends_in_success_or_in_a_clean_error() {
    let undisturbed = {
        let place = Place::all_on_s3();
        put(&place, 0);
        put(&place, 3);
        let _ = place.compact(&[]).ended(0);
        published(&place.archive(), &home()).bytes
    };
    // They wait more than they work.
    let ended: Vec<_> = std::thread::scope(|scope| {
        let seeds: Vec<_> = SEEDS
            .map(|seed| {
                scope.spawn({
                    let undisturbed = &undisturbed;
                    move || check(seed, undisturbed)
                })
            })
            .collect();
        seeds.into_iter().map(|seed| seed.join().unwrap()).collect()
    });
    assert!(
        ended.iter().any(|(code, _)| *code == Some(0)),
        "some storm is survived: {ended:?}"
    );
}
