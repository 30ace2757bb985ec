//! The process is killed between every two durable steps, or asked to stop: what is left is the old
//! state, the new one or one that is recognised as neither, and the next run ends where an
//! undisturbed one does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use super::support::{
    archive::{dir, listing, sha256},
    damage,
    events::{DAY, Events, HOUR, Quote, SECOND, quotes},
    run::{CATCH_UP, Place},
};

/// A way to a state of the archive: what is done before, and the run that is killed.
pub struct Scenario {
    /// Where: on a folder or on a bucket.
    pub place: fn() -> Place,
    /// The environment of the run that is killed, and of the one after it.
    pub env: &'static [(&'static str, &'static str)],
    /// Puts and compacts what was there before.
    pub before: fn(&Place),
    /// Puts what the run under test takes in.
    pub then: fn(&Place),
    /// How the run under test ends when nobody disturbs it.
    pub code: i32,
}

fn put(place: &Place, name: &str, start: i64, seq: i64) {
    let _ = place.put_quotes(name, &Events::sealed(quotes(start, SECOND, seq, 5)).bytes());
}

fn partition_dir(place: &Place) -> std::path::PathBuf {
    place
        .archive()
        .join(dir("binance", "bbo", "btcusdt", "20260203"))
}

/// The sha256 of `data.parquet`, and the one in `meta.json`, as far as they are there.
fn state(place: &Place) -> (Option<String>, Option<String>) {
    let data = fs::read(partition_dir(place).join("data.parquet"))
        .ok()
        .map(|bytes| sha256(&bytes));
    let meta = fs::read(partition_dir(place).join("meta.json"))
        .ok()
        .map(|bytes| {
            let meta: serde_json::Value =
                serde_json::from_slice(&bytes).expect("a whole meta.json");
            meta["sha256"].as_str().unwrap().to_owned()
        });
    (data, meta)
}

/// All objects of an archive but probes; of receipts and `error.json` only the names, because they
/// hold times of spool files.
fn objects(place: &Place) -> BTreeMap<String, String> {
    let varies = |key: &String| key.starts_with("_receipts/") || key.ends_with("error.json");
    let all = listing(&place.archive())
        .into_iter()
        .filter(|(key, _)| !key.starts_with("_probe/"));
    all.map(|(key, sha256)| {
        if varies(&key) {
            (key, String::new())
        } else {
            (key, sha256)
        }
    })
    .collect()
}

pub fn check(scenario: &Scenario) {
    let begun = || {
        let place = (scenario.place)();
        (scenario.before)(&place);
        let old = state(&place);
        (scenario.then)(&place);
        (place, old)
    };
    let (undisturbed, old) = begun();
    let _ = undisturbed.compact(&[]).ended(scenario.code);
    undisturbed.verify();
    let (expected, new) = (objects(&undisturbed), state(&undisturbed));
    assert_ne!(old, new);
    assert_eq!(new.0, new.1);

    let mut seen = BTreeSet::new();
    for nth in 1.. {
        let (place, _) = begun();
        let nth_point = nth.to_string();
        let ran = place.qlc_env(
            CATCH_UP,
            &[&[("QLC_CRASH_AT", nth_point.as_str())], scenario.env].concat(),
        );
        if ran.code.is_some() {
            // There are not so many points: the run went through.
            let _ = ran.ended(scenario.code);
            break;
        }
        let (data, meta) = state(&place);
        let known = |sha256: &Option<String>| *sha256 == old.0 || *sha256 == new.0;
        assert!(
            known(&data) && known(&meta),
            "point {nth}: {data:?} beside {meta:?}\n{ran}"
        );
        assert!(
            meta != new.1 || data == new.0,
            "point {nth}: meta.json speaks of data that is not there\n{ran}"
        );
        if let Some(sha256) = &data {
            let receipt = place
                .archive()
                .join("_receipts")
                .join(dir("binance", "bbo", "btcusdt", "20260203"));
            assert!(
                receipt.join(format!("{sha256}.json")).exists(),
                "point {nth}: no receipt for the data\n{ran}"
            );
        }
        if let Some(sha256) = &meta {
            // Were the data gone now, verify would have to know that it was there.
            let mark = format!("{sha256}.published");
            let is_marked = listing(&place.archive())
                .keys()
                .any(|key| key.ends_with(&mark));
            assert!(is_marked, "point {nth}: published without a mark\n{ran}");
        }
        let _ = seen.insert((data == new.0, meta == new.1));

        let again = place.qlc_env(CATCH_UP, scenario.env);
        assert!(
            [Some(0), Some(scenario.code)].contains(&again.code),
            "point {nth}: {again}"
        );
        assert_eq!(objects(&place), expected, "point {nth}: {again}");
        place.verify();
        place.is_tidy();
        if place.has_leftovers() {
            let _ = place.qlc(&["clean", "--older-than", "0s"]).ended(0);
            assert_eq!(objects(&place), expected, "point {nth}: cleaned away");
            place.leaves_nothing();
        }
        let _ = place.compact(&[]).ended(0).says("nothing to do");
    }
    let all = BTreeSet::from([(false, false), (true, false), (true, true)]);
    assert_eq!(
        seen, all,
        "a crash was tried before the data, between data and meta, and after both"
    );
}

#[test]
fn killed_anywhere_in_a_first_publish() {
    check(&Scenario {
        place: Place::new,
        env: &[],
        before: |_| {},
        then: |place| {
            put(place, "2026-02-03_00-00-00.parquet", DAY, 0);
            put(place, "2026-02-03_00-00-01.parquet", DAY + 2 * SECOND, 2);
        },
        code: 0,
    });
}

#[test]
fn killed_anywhere_while_a_file_and_rows_are_quarantined() {
    check(&Scenario {
        place: Place::new,
        env: &[],
        before: |_| {},
        then: |place| {
            put(place, "2026-02-03_00-00-00.parquet", DAY, 0);
            let file = Events::sealed(quotes(DAY, SECOND, 0, 5)).bytes();
            let _ = place.put_quotes(
                "2026-02-03_00-00-01.parquet",
                &damage::truncated(&file, file.len() / 2),
            );
            let far = Quote {
                ts_event: DAY + 90 * HOUR,
                ..quotes(DAY, 1, 9, 1)[0]
            };
            let rows = [quotes(DAY, SECOND, 10, 3), vec![far]].concat();
            let _ = place.put_quotes("2026-02-03_00-00-02.parquet", &Events::sealed(rows).bytes());
        },
        code: 3,
    });
}

#[test]
fn killed_anywhere_while_a_late_file_is_added() {
    check(&Scenario {
        place: Place::new,
        env: &[],
        before: |place| {
            put(place, "2026-02-03_00-00-00.parquet", DAY, 0);
            let _ = place.compact(&[]).ended(0);
        },
        then: |place| put(place, "2026-02-03_00-00-01.parquet", DAY + 2 * SECOND, 2),
        code: 0,
    });
}

#[test]
fn killed_anywhere_while_a_late_file_is_added_to_what_left_the_spool() {
    check(&Scenario {
        place: Place::new,
        env: &[],
        before: |place| {
            put(place, "2026-02-03_00-00-00.parquet", DAY, 0);
            let _ = place.compact(&[]).ended(0);
            let gone = place
                .spool()
                .join("exchange=binance/stream=bbo/symbol=btcusdt/2026-02-03_00-00-00.parquet");
            fs::remove_file(gone).unwrap();
        },
        then: |place| put(place, "2026-02-03_00-00-01.parquet", DAY + 2 * SECOND, 2),
        code: 0,
    });
}

#[test]
fn asked_to_stop_it_ends_between_two_steps() {
    const DAYS: i64 = 60;
    let days = |place: &Place| {
        for n in 0..DAYS {
            let start = DAY - n * 24 * HOUR;
            let date = chrono::DateTime::from_timestamp_nanos(start).format("%Y-%m-%d");
            put(place, &format!("{date}_00.parquet"), start, 0);
        }
    };
    let published = |place: &Place| {
        listing(&place.archive())
            .keys()
            .filter(|k| k.ends_with("meta.json"))
            .count()
    };
    let undisturbed = Place::new();
    days(&undisturbed);
    let _ = undisturbed.compact(&[]).ended(0);

    let place = Place::new();
    days(&place);
    let child = place.spawn(&[CATCH_UP, &["--workers", "1"]].concat(), &[]);
    while published(&place) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("SIGTERM") && stderr.contains("interrupted"),
        "{stderr}"
    );
    let done = published(&place);
    assert!(
        (1..DAYS as usize).contains(&done),
        "{done} days were published\n{stderr}"
    );
    place.verify();
    place.is_tidy();
    let _ = place.compact(&[]).ended(0);
    assert_eq!(objects(&place), objects(&undisturbed));
    place.verify();
    place.is_tidy();
}
