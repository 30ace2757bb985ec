//! A thousand flipped bits and cuts in a published day: `verify` finds every one, and no run takes
//! one in.

use std::fs;

use super::support::{
    archive::{home, listing, published},
    events::{DAY, Events, SECOND, quotes},
    inside::{self, Dice},
    run::Place,
};

fn put(place: &Place, second: i64) -> std::path::PathBuf {
    let file = Events::sealed(quotes(DAY + second * SECOND, SECOND, second, 200));
    place.put_quotes(
        &format!("2026-02-03_00-00-{second:02}.parquet"),
        &file.bytes(),
    )
}

/// Objects: keys and bytes.
type Objects = Vec<(String, Vec<u8>)>;

/// A day whose source has left the spool and that a late file is about to be added to, so that the
/// archived data must be read; its objects; and the data with the late rows.
fn begun() -> (Place, Objects, Vec<u8>) {
    let place = Place::new();
    let gone = put(&place, 0);
    let _ = place.compact(&[]).ended(0);
    place.verify();
    fs::remove_file(gone).unwrap();
    let keys = listing(&place.archive()).into_keys();
    let objects: Objects = keys
        .map(|key| (key.clone(), fs::read(place.archive().join(key)).unwrap()))
        .collect();
    let _ = put(&place, 30);
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let whole = published(&place.archive(), &home()).bytes;
    (place, objects, whole)
}

/// Damages the object `name` as `damages` say, one after another.
#[track_caller]
fn check(name: &str, damages: impl Fn(&[u8]) -> Vec<(String, Vec<u8>)>) {
    let (place, objects, whole) = begun();
    let key = format!("{}/{name}", home());
    let sound = &objects
        .iter()
        .find(|(k, _)| *k == key)
        .expect("the object")
        .1;
    let all = damages(sound);
    assert!(all.len() >= 500, "{} damages", all.len());
    inside::runtime().block_on(async {
        for (what, damaged) in all {
            inside::restore(&place.archive(), &objects);
            fs::write(place.archive().join(&key), &damaged).unwrap();
            let found = inside::findings(place.root()).await;
            assert!(!found.is_empty(), "{name}, {what}: verify found nothing");

            let outcomes = inside::compact(place.root()).await;
            let data = fs::read(place.archive().join(home()).join("data.parquet")).unwrap();
            if name == "data.parquet" {
                assert_eq!(
                    outcomes[0].status,
                    qlc::compact::Status::Failed,
                    "{name}, {what}: {outcomes:?}"
                );
                assert_eq!(data, damaged, "{name}, {what}: it is left as it is");
            } else {
                // The receipt knows the data, so that meta.json is made again from it, or nothing
                // is touched.
                let untouched = data
                    == objects
                        .iter()
                        .find(|(k, _)| k.ends_with("data.parquet"))
                        .unwrap()
                        .1;
                assert!(data == whole || untouched, "{name}, {what}: {outcomes:?}");
                let failed = outcomes[0].status == qlc::compact::Status::Failed;
                assert!(
                    failed || inside::findings(place.root()).await.is_empty(),
                    "{name}, {what}: {outcomes:?}"
                );
            }
        }
    });
}

fn flipped(sound: &[u8], bit: usize) -> (String, Vec<u8>) {
    let mut damaged = sound.to_vec();
    damaged[bit / 8] ^= 1 << (bit % 8);
    (format!("bit {} of byte {}", bit % 8, bit / 8), damaged)
}

fn cut(sound: &[u8], length: usize) -> (String, Vec<u8>) {
    (format!("cut to {length} bytes"), sound[..length].to_vec())
}

#[test]
fn damage_of_the_data() {
    check("data.parquet", |sound| {
        let mut dice = Dice::new(8);
        let flips = (0..500)
            .map(|_| dice.throw(sound.len() * 8))
            .collect::<Vec<_>>();
        let cuts = (0..200)
            .map(|_| dice.throw(sound.len()))
            .collect::<Vec<_>>();
        let flips = flips.into_iter().map(|bit| flipped(sound, bit));
        flips
            .chain(cuts.into_iter().map(|length| cut(sound, length)))
            .collect()
    });
}

#[test]
fn damage_of_the_meta() {
    check("meta.json", |sound| {
        let flips = (0..sound.len() * 8)
            .step_by(5)
            .map(|bit| flipped(sound, bit));
        flips
            .chain((0..sound.len()).step_by(3).map(|n| cut(sound, n)))
            .chain([cut(sound, sound.len() - 1)])
            .collect()
    });
}

/// Whatever a receipt says, it is not put into `meta.json` before the data has shown it.
#[test]
fn a_receipt_that_rotted_completes_nothing() {
    let place = Place::new();
    let _ = place.put_quotes(
        "2026-02-03_00-00-00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 59)).bytes(),
    );
    let _ = place.compact(&[]).ended(0);
    let before = listing(&place.archive());
    let key = before
        .keys()
        .find(|key| key.starts_with("_receipts/") && !key.contains(".published"))
        .unwrap()
        .clone();
    let path = place.archive().join(key);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"rows\": 59", "\"rows\": 60")).unwrap();
    let rotten = listing(&place.archive());
    assert_ne!(before, rotten);
    let _ = place.compact(&[]).ended(1).says("restore it from a backup");
    assert_eq!(listing(&place.archive()), rotten);
    let _ = place.qlc(&["verify"]).ended(4);
}
