//! Faults of a publish: whatever the store says, it is found out what happened, and what happened
//! is what is told.

use std::{collections::BTreeMap, sync::LazyLock};

use super::{IMPATIENT, home, put};
use crate::support::{
    archive::listing,
    events::{DAY, Events, SECOND, quotes},
    faults::{Answer, Asked, Fault, Kind, done, undone},
    run::{CATCH_UP, Place, Ran},
};

/// The data in parts, which is larger than this here, and receipts and meta.json in one piece,
/// which are smaller.
pub(super) const IN_PARTS: &[(&str, &str)] = &[("QLC_MULTIPART_ABOVE", "2400")];

/// A first publish, or one that replaces a published day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    New,
    Replaced,
}

impl Day {
    fn begun(self) -> Place {
        let place = Place::on_s3();
        put(&place, 0);
        if self == Self::Replaced {
            let _ = place.compact(&[]).ended(0);
            put(&place, 3);
        }
        place.server().forget();
        place
    }
}

/// All objects; of receipts only the names, because they hold times of spool files.
pub(super) fn objects(place: &Place) -> BTreeMap<String, String> {
    let all = listing(&place.archive()).into_iter();
    all.map(|(key, sha256)| {
        if key.starts_with("_receipts/") {
            (key, String::new())
        } else {
            (key, sha256)
        }
    })
    .collect()
}

/// The archive after a run that nothing disturbs.
fn undisturbed(day: Day) -> &'static BTreeMap<String, String> {
    fn made(day: Day) -> BTreeMap<String, String> {
        let place = day.begun();
        let _ = place.compact(&[]).ended(0);
        place.verify();
        place.leaves_nothing();
        objects(&place)
    }
    static NEW: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| made(Day::New));
    static REPLACED: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| made(Day::Replaced));
    match day {
        Day::New => &NEW,
        Day::Replaced => &REPLACED,
    }
}

/// Compacts while `faults` happen; then, without faults, the next run must end where an undisturbed
/// one does.
#[track_caller]
fn check(day: Day, env: &[(&str, &str)], code: i32, faults: impl Fn(&Place)) -> Ran {
    let place = day.begun();
    let before = objects(&place);
    faults(&place);
    let ran = place.qlc_env(&[CATCH_UP, IMPATIENT].concat(), env);
    assert_eq!(ran.code, Some(code), "{day:?}: {ran}");
    let met = place
        .server()
        .seen()
        .iter()
        .any(|seen| seen.fault.is_some());
    assert!(met, "{day:?}: no request met the fault\n{ran}");
    assert!(!ran.stderr.contains("panicked"), "{ran}");
    let after = objects(&place);
    if code == 0 {
        assert_eq!(&after, undisturbed(day), "{day:?}: {ran}");
    }
    for (key, sha256) in &before {
        let stands = after
            .get(key)
            .is_some_and(|s| s == sha256 || Some(s) == undisturbed(day).get(key));
        assert!(stands, "{key} was deleted or is neither old nor new\n{ran}");
    }
    if code != 5 {
        place.leaves_nothing();
    }
    place.server().calm();
    let _ = place.compact(&[]).ended(0);
    assert_eq!(
        &objects(&place),
        undisturbed(day),
        "after the next run\n{ran}"
    );
    place.verify();
    place.leaves_nothing();
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    ran
}

/// The first request of a kind for an object meets a fault.
#[track_caller]
fn check_one(
    day: Day,
    env: &[(&str, &str)],
    code: i32,
    kind: Kind,
    object: &'static str,
    fault: Fault,
) -> Ran {
    check(day, env, code, |place| {
        place
            .server()
            .fault(move |a| a.is(kind, object), 0..1, fault);
    })
}

/// Every request of a kind for an object does.
#[track_caller]
fn check_all(
    day: Day,
    env: &[(&str, &str)],
    code: i32,
    kind: Kind,
    object: &'static str,
    fault: Fault,
) -> Ran {
    check(day, env, code, |place| {
        place
            .server()
            .fault(move |a| a.is(kind, object), 0..usize::MAX, fault);
    })
}

const OBJECTS: [&str; 2] = ["/data.parquet", "/meta.json"];
const DAYS: [Day; 2] = [Day::New, Day::Replaced];

#[test]
fn a_write_that_took_effect_and_then_failed_is_recognised() {
    for day in DAYS {
        for object in OBJECTS {
            for answer in [
                Answer::Status(500),
                Answer::Status(503),
                Answer::Dropped,
                Answer::Hung,
            ] {
                let _ = check_one(day, &[], 0, Kind::Put, object, done(answer));
            }
            // Retried for ever, it meets itself for ever.
            let _ = check_all(day, &[], 0, Kind::Put, object, done(Answer::Status(500)));
        }
    }
}

#[test]
fn a_write_that_took_no_effect_is_made_again_or_fails_cleanly() {
    for day in DAYS {
        for object in OBJECTS {
            for answer in [Answer::Status(500), Answer::Status(503)] {
                let _ = check_one(day, &[], 0, Kind::Put, object, undone(answer));
            }
            for answer in [Answer::Status(500), Answer::Status(403), Answer::Dropped] {
                let _ = check_all(day, &[], 1, Kind::Put, object, undone(answer));
            }
        }
    }
}

#[test]
fn a_receipt_that_cannot_be_written_lets_nothing_be_published() {
    for day in DAYS {
        let _ = check_one(day, &[], 0, Kind::Put, ".json", undone(Answer::Status(500)));
        let ran = check(day, &[], 1, |place| {
            let receipt = |a: &Asked| a.kind == Kind::Put && a.key.contains("/_receipts/");
            place
                .server()
                .fault(receipt, 0..usize::MAX, undone(Answer::Status(503)));
        });
        let _ = ran.says("_receipts");
    }
}

#[test]
fn what_cannot_be_found_out_is_unknown_and_nothing_is_deleted() {
    for day in DAYS {
        for object in OBJECTS {
            for answer in [Answer::Status(500), Answer::Dropped, Answer::Hung] {
                for fault in [done(answer), undone(answer)] {
                    let ran = check(day, &[], 5, |place| {
                        let after_put = after(Kind::Put, object);
                        place.server().fault(
                            move |a| a.is(Kind::Put, object),
                            0..usize::MAX,
                            fault,
                        );
                        let looks = move |a: &Asked| {
                            after_put(a) && (a.is(Kind::Head, object) || a.is(Kind::Get, object))
                        };
                        place
                            .server()
                            .fault(looks, 0..usize::MAX, undone(Answer::Status(500)));
                    });
                    let _ = ran.says("unknown").says(object);
                }
            }
        }
    }
}

/// Whether a request of this kind for this object has been seen before.
fn after(kind: Kind, object: &'static str) -> impl Fn(&Asked) -> bool + Send + use<> {
    let seen = std::sync::atomic::AtomicBool::new(false);
    move |asked| {
        let before = seen.load(std::sync::atomic::Ordering::SeqCst);
        if asked.is(kind, object) {
            seen.store(true, std::sync::atomic::Ordering::SeqCst);
        }
        before
    }
}

#[test]
fn a_refusal_without_another_writer_is_no_lost_race() {
    for day in DAYS {
        for object in OBJECTS {
            for status in [409, 412] {
                let _ = check_one(
                    day,
                    &[],
                    0,
                    Kind::Put,
                    object,
                    undone(Answer::Status(status)),
                );
            }
        }
        // A store that refuses for ever is not asked for ever.
        let _ = check_all(
            day,
            &[],
            1,
            Kind::Put,
            "/data.parquet",
            undone(Answer::Status(409)),
        );
    }
}

#[test]
fn a_completion_that_took_effect_and_then_failed_is_recognised() {
    for day in DAYS {
        for answer in [
            Answer::Status(500),
            Answer::Body("InternalError"),
            Answer::Body("Strange"),
            Answer::Dropped,
        ] {
            let _ = check_one(
                day,
                IN_PARTS,
                0,
                Kind::Complete,
                "/data.parquet",
                done(answer),
            );
            let _ = check_all(
                day,
                IN_PARTS,
                0,
                Kind::Complete,
                "/data.parquet",
                done(answer),
            );
        }
    }
}

#[test]
fn an_upload_that_fails_is_aborted() {
    for day in DAYS {
        for answer in [Answer::Status(500), Answer::Body("InternalError")] {
            let _ = check_one(
                day,
                IN_PARTS,
                0,
                Kind::Complete,
                "/data.parquet",
                undone(answer),
            );
            let _ = check_all(
                day,
                IN_PARTS,
                1,
                Kind::Complete,
                "/data.parquet",
                undone(answer),
            );
        }
        let _ = check_one(
            day,
            IN_PARTS,
            0,
            Kind::Part,
            "/data.parquet",
            undone(Answer::Status(503)),
        );
        let _ = check_all(
            day,
            IN_PARTS,
            1,
            Kind::Part,
            "/data.parquet",
            undone(Answer::Status(503)),
        );
        let _ = check_all(
            day,
            IN_PARTS,
            1,
            Kind::Create,
            "/data.parquet",
            undone(Answer::Status(500)),
        );
    }
}

#[test]
fn an_upload_of_which_nothing_can_be_found_out_is_unknown() {
    for day in DAYS {
        for fault in [
            done(Answer::Status(500)),
            undone(Answer::Body("InternalError")),
        ] {
            let place = day.begun();
            let after_complete = after(Kind::Complete, "/data.parquet");
            place.server().fault(
                |a| a.is(Kind::Complete, "/data.parquet"),
                0..usize::MAX,
                fault,
            );
            let looks = move |a: &Asked| {
                after_complete(a)
                    && [Kind::Head, Kind::Get]
                        .iter()
                        .any(|k| a.is(*k, "/data.parquet"))
            };
            place
                .server()
                .fault(looks, 0..usize::MAX, undone(Answer::Dropped));
            let ran = place
                .qlc_env(&[CATCH_UP, IMPATIENT].concat(), IN_PARTS)
                .ended(5)
                .says("unknown");
            place.server().calm();
            let _ = place.compact(&[]).ended(0);
            assert_eq!(&objects(&place), undisturbed(day), "{ran}");
            place.verify();
        }
    }
}

#[test]
fn what_somebody_else_put_there_is_left_alone() {
    let key = format!("archive/{}/data.parquet", home());
    for day in DAYS {
        let place = day.begun();
        place.server().meanwhile(
            |a| a.is(Kind::Put, "/data.parquet"),
            place.server().putting(&key, b"from elsewhere".to_vec()),
        );
        let ran = place
            .qlc(&[CATCH_UP, IMPATIENT].concat())
            .ended(1)
            .says("data.parquet");
        let data = std::fs::read(place.server().folder(&key)).unwrap();
        assert_eq!(data, b"from elsewhere", "{ran}");
        let _ = place.qlc(&["verify"]).ended(4);
    }
}

#[test]
fn data_of_several_parts() {
    // Incompressible figures, so that the data is larger than the smallest part that S3 takes.
    const ROWS: i64 = 400_000;
    let figures = (0..ROWS as u64)
        .map(|n| 1.0 + (twox_hash::XxHash64::oneshot(7, &n.to_le_bytes()) >> 12) as f64);
    let figures: arrow::array::ArrayRef =
        std::sync::Arc::new(arrow::array::Float64Array::from_iter_values(figures));
    let file = Events::sealed(quotes(DAY, SECOND / 10, 0, ROWS));
    let file = file
        .replace("bid_qty", std::sync::Arc::clone(&figures))
        .replace("ask_qty", figures)
        .bytes();
    let data =
        |place: &Place| std::fs::read(place.archive().join(home()).join("data.parquet")).unwrap();
    let folder = Place::new();
    let _ = folder.put_quotes("2026-02-03_00.parquet", &file);
    let _ = folder.compact(&[]).ended(0);
    assert!(
        data(&folder).len() > 6 << 20,
        "{} bytes",
        data(&folder).len()
    );
    let parts: &[(&str, &str)] = &[("QLC_MULTIPART_ABOVE", "5MiB"), ("QLC_PART_SIZE", "5MiB")];

    let place = Place::on_s3();
    let _ = place.put_quotes("2026-02-03_00.parquet", &file);
    place.server().fault(
        |a| a.is(Kind::Part, "/data.parquet"),
        0..usize::MAX,
        undone(Answer::Status(503)),
    );
    let _ = place
        .qlc_env(&[CATCH_UP, IMPATIENT].concat(), parts)
        .ended(1);
    place.leaves_nothing();
    place.server().calm();
    place.server().fault(
        |a| a.is(Kind::Part, "/data.parquet"),
        1..2,
        done(Answer::Dropped),
    );
    place.server().fault(
        |a| a.is(Kind::Complete, "/data.parquet"),
        0..1,
        done(Answer::Status(500)),
    );
    let ran = place
        .qlc_env(&[CATCH_UP, IMPATIENT].concat(), parts)
        .ended(0);
    assert!(data(&place) == data(&folder), "{ran}");
    assert!(
        place.server().count(|a| a.is(Kind::Part, "/data.parquet")) >= 3,
        "{ran}"
    );
    place.verify();
    place.leaves_nothing();
}
