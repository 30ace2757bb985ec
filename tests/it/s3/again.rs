//! Runs after the first, on a bucket: the same bytes as on a folder, whatever came late and
//! whatever has left.

use std::fs;

use super::home;
use crate::support::{
    archive::{Published, listing, published, quarantine},
    damage,
    events::{DAY, Events, Quote, SECOND, quotes},
    run::{Place, SERIES},
    s3::SPOOL,
};

/// Rows of five files that overlap.
fn part(n: usize) -> Vec<Quote> {
    quotes(
        DAY + n as i64 * 40 * SECOND,
        SECOND,
        1_000 * (n as i64 % 2),
        100,
    )
}

fn name(n: usize) -> String {
    format!("2026-02-03_00-0{n}-00.parquet")
}

fn put(place: &Place, n: usize) {
    let _ = place.put_quotes(&name(n), &Events::sealed(part(n)).bytes());
}

fn gone(place: &Place, n: usize) {
    fs::remove_file(place.spool().join(SERIES).join(name(n))).unwrap();
}

fn partition(place: &Place) -> Published {
    published(&place.archive(), &home())
}

const PLACES: [fn() -> Place; 3] = [Place::new, Place::on_s3, Place::all_on_s3];

#[track_caller]
fn alike(steps: impl Fn(&Place)) {
    let [folder, bucket, both] = PLACES.map(|new| {
        let place = new();
        steps(&place);
        place.verify();
        place.leaves_nothing();
        let _ = place.compact(&[]).ended(0).says("nothing to do");
        place
    });
    for place in [&bucket, &both] {
        assert_eq!(partition(place).bytes, partition(&folder).bytes);
        assert_eq!(partition(place).meta_text, partition(&folder).meta_text);
        let keys = |place: &Place| listing(&place.archive()).into_keys().collect::<Vec<_>>();
        assert_eq!(keys(place), keys(&folder), "the keys are the contract's");
    }
}

#[test]
fn all_at_once() {
    alike(|place| {
        (0..5).for_each(|n| put(place, n));
        let _ = place.compact(&[]).ended(0);
    });
}

#[test]
fn a_late_file() {
    alike(|place| {
        for n in [0, 1, 3, 4] {
            put(place, n);
        }
        let _ = place.compact(&[]).ended(0);
        put(place, 2);
        let _ = place.compact(&["-v"]).ended(0).says("1 new file");
    });
}

#[test]
fn late_files_when_the_earlier_ones_have_left() {
    alike(|place| {
        put(place, 0);
        put(place, 1);
        let _ = place.compact(&[]).ended(0);
        for n in 2..5 {
            gone(place, n - 2);
            let _ = place.compact(&[]).ended(0).says("nothing to do");
            put(place, n);
            let _ = place.compact(&[]).ended(0);
        }
    });
}

#[test]
fn a_forced_run_gives_the_same_bytes() {
    alike(|place| {
        put(place, 0);
        let _ = place.compact(&[]).ended(0);
        let before = partition(place).bytes;
        let _ = place.compact(&["--force", "-v"]).ended(0).says("forced");
        assert_eq!(partition(place).bytes, before);
    });
}

#[test]
fn a_bad_file_is_kept_in_the_bucket_and_a_good_one_in_its_place_is_taken_in() {
    alike(|place| {
        put(place, 0);
        let bad = damage::truncated(&Events::sealed(part(1)).bytes(), 200);
        let _ = place.put_quotes(&name(1), &bad);
        let _ = place.compact(&[]).ended(3).says("TRUNCATED");
        let entry = quarantine(&place.archive(), &home()).expect("an error.json");
        assert_eq!(entry["error_type"], "TRUNCATED");
        assert_eq!(
            fs::read(
                place
                    .archive()
                    .join("QUARANTINE")
                    .join(home())
                    .join(name(1))
            )
            .unwrap(),
            bad
        );
        let _ = place.compact(&["-v"]).ended(0).says("1 file in QUARANTINE");
        put(place, 1);
        let _ = place.compact(&[]).ended(0);
    });
}

#[test]
fn a_rebuild_reads_the_spool_of_a_bucket() {
    let place = Place::all_on_s3();
    (0..3).for_each(|n| put(&place, n));
    let _ = place.compact(&[]).ended(0);
    let _ = place.qlc(&["verify", "--rebuild"]).ended(0);
    let bytes = fs::read(
        place
            .server()
            .folder(&format!("{SPOOL}/{SERIES}/{}", name(0))),
    )
    .unwrap();
    assert_eq!(
        bytes,
        Events::sealed(part(0)).bytes(),
        "the spool is left as it is"
    );
    let data = place.archive().join(home()).join("data.parquet");
    let mut bytes = fs::read(data).unwrap();
    bytes[100] ^= 1;
    place
        .server()
        .put(&format!("archive/{}/data.parquet", home()), &bytes);
    let _ = place.qlc(&["verify"]).ended(4);
    gone(&place, 0);
    put(&place, 3);
    let _ = place.compact(&[]).ended(1).says("restore it");
}
