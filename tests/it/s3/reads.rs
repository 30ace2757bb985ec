//! Reading from a bucket: few requests, and never bytes of two objects.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{IMPATIENT, home, put};
use crate::support::{
    archive::{listing, published},
    events::{DAY, Events, HOUR, SECOND, quotes},
    faults::{Answer, Asked, Kind, LATE, done},
    run::{CATCH_UP, Place, SERIES},
    s3::SPOOL,
};

/// The `nth` request that is meant, counted from 0.
fn nth(
    nth: usize,
    meant: impl Fn(&Asked) -> bool + Send + 'static,
) -> impl Fn(&Asked) -> bool + Send + 'static {
    let seen = AtomicUsize::new(0);
    move |asked| meant(asked) && seen.fetch_add(1, Ordering::SeqCst) == nth
}

/// How often each file of the spool was read or looked at.
fn reads(place: &Place) -> BTreeMap<String, usize> {
    let mut reads = BTreeMap::new();
    for seen in place.server().seen() {
        if [Kind::Get, Kind::Head].contains(&seen.asked.kind) && seen.asked.key.starts_with(SPOOL) {
            *reads.entry(seen.asked.key).or_default() += 1;
        }
    }
    reads
}

#[test]
fn planning_takes_a_list_and_at_most_two_reads_a_file() {
    let place = Place::all_on_s3();
    for hour in 0..20 {
        let name = format!("2026-02-03_{hour:02}-00-00.parquet");
        let file = Events::sealed(quotes(DAY + hour * HOUR, SECOND, hour * 1000, 50));
        let _ = place.put_quotes(&name, &file.bytes());
    }
    let _ = place.compact(&["--dry-run"]).ended(0).says("20 files");
    let planned = reads(&place);
    assert_eq!(planned.len(), 20);
    assert!(planned.values().all(|n| *n <= 2), "{planned:?}");
    let lists = place
        .server()
        .count(|a| a.kind == Kind::List && a.key.starts_with(SPOOL));
    assert_eq!(lists, 1, "{:?}", place.server().seen());
    assert_eq!(
        place.server().count(Asked::writes),
        0,
        "a dry run writes nothing, nor does it probe"
    );

    let _ = place.compact(&[]).ended(0);
    place.server().forget();
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    let idle = reads(&place);
    assert!(idle.values().all(|n| *n <= 2), "{idle:?}");
    let all = place.server().seen();
    assert!(all.len() <= 2 * 20 + 20, "{} requests: {all:#?}", all.len());
    let written = place
        .server()
        .count(|a| a.writes() && !a.key.contains("/_runs/"));
    assert_eq!(written, 0, "nothing to do writes nothing but its record");
    assert_eq!(
        place.server().count(Asked::writes),
        1,
        "the record is one request"
    );
    place.verify();
}

#[test]
fn a_run_with_nothing_to_do_reads_each_document_once_though_three_days_ask_for_it() {
    let place = Place::all_on_s3();
    let days = ["01-30", "01-31", "02-01", "02-02", "02-03", "02-04"];
    for (day, name) in (-4..).zip(days) {
        let rows = quotes(DAY + (24 * day + 12) * HOUR, SECOND, 0, 50);
        let name = format!("2026-{name}_12-00-00.parquet");
        let _ = place.put_quotes(&name, &Events::sealed(rows).bytes());
    }
    let _ = place.compact(&[]).ended(0);
    place.server().forget();
    // One at a time, so that no day is forgotten before its neighbour asks.
    let _ = place
        .compact(&["--workers", "1"])
        .ended(0)
        .says("6 nothing to do");
    let mut documents: BTreeMap<String, usize> = BTreeMap::new();
    for seen in place.server().seen() {
        let key = seen.asked.key;
        let is_document = key.ends_with("/meta.json") || key.contains("/_receipts/");
        if seen.asked.kind == Kind::Get && is_document {
            *documents.entry(key).or_default() += 1;
        }
    }
    let of = |what: &str| documents.keys().filter(|key| key.contains(what)).count();
    assert_eq!(of("/_receipts/"), 6, "{documents:#?}");
    // Files of the first day may have rows of the day before, which has neighbours of its own.
    assert_eq!(of("/meta.json"), 9, "{documents:#?}");
    assert!(documents.values().all(|n| *n == 1), "{documents:#?}");
    place.verify();
}

#[test]
fn of_the_earlier_runs_only_the_newest_is_asked_whether_there_were_files() {
    let place = Place::on_s3();
    let name = "2026-02-03_00.parquet";
    let _ = place.put_quotes(name, &Events::sealed(quotes(DAY, SECOND, 0, 50)).bytes());
    for _ in 0..4 {
        let _ = place.compact(&[]).ended(0);
    }
    std::fs::remove_file(place.spool().join(SERIES).join(name)).unwrap();
    place.server().forget();
    let _ = place
        .compact(&[])
        .ended(0)
        .says("holds no file at all, and held 1 in the run of");
    let read = place
        .server()
        .count(|a| a.kind == Kind::Get && a.key.contains("/_runs/"));
    assert_eq!(read, 1);
    place.verify();
}

#[test]
fn a_list_of_more_than_one_page_is_read_to_its_end() {
    let place = Place::all_on_s3();
    let file = Events::sealed(quotes(DAY, SECOND, 0, 5)).bytes();
    for n in 0..1001 {
        // Of another day, so that they are listed and not read.
        let _ = place.put_quotes(
            &format!("2026-01-0{}_{n:04}.parquet.old", 1 + n % 9),
            b"not a file of the spool",
        );
    }
    let _ = place.put_quotes("2026-02-03_23.parquet", &file);
    let _ = place.compact(&[]).ended(0);
    assert_eq!(published(&place.archive(), &home()).quotes().len(), 5);
    place.verify();
}

#[test]
fn a_spool_file_that_is_replaced_while_it_is_read_gives_no_mixed_rows() {
    let name = "2026-02-03_00.parquet";
    let (old, new) = (quotes(DAY, SECOND, 0, 400), quotes(DAY, SECOND, 5_000, 400));
    let file = |rows: &[_]| Events::sealed(rows.to_vec()).rows_per_group(100).bytes();
    let key = format!("{SPOOL}/{SERIES}/{name}");
    for read in 0.. {
        let place = Place::all_on_s3();
        let _ = place.put_quotes(name, &file(&old));
        let wanted = key.clone();
        let meant = nth(read, move |a| a.kind == Kind::Get && a.key == wanted);
        place
            .server()
            .meanwhile(meant, place.server().putting(&key, file(&new)));
        let ran = place.qlc(&[CATCH_UP, IMPATIENT].concat());
        let replaced = std::fs::read(place.server().folder(&key)).unwrap() == file(&new);
        if ran.code == Some(0) {
            let rows = published(&place.archive(), &home()).quotes();
            assert!(
                rows == old || replaced && rows == new,
                "read {read}: mixed rows\n{ran}"
            );
        } else {
            assert_eq!(ran.code, Some(1), "read {read}: {ran}");
            assert_eq!(listing(&place.archive()).len(), 0, "read {read}: {ran}");
        }
        place.leaves_nothing();
        place.server().calm();
        let _ = place.compact(&[]).ended(0);
        place.verify();
        if !replaced {
            assert!(read > 1, "it was read more than once");
            break;
        }
        let all = published(&place.archive(), &home()).quotes();
        assert!(
            new.iter().all(|q| all.contains(q)),
            "read {read}: the new file's rows are missing"
        );
    }
}

#[test]
fn an_archived_file_that_is_replaced_while_it_is_read_is_an_error_and_never_mixed() {
    // Both versions have their receipts, so that either is right and only a mixture is wrong.
    let place = Place::on_s3();
    put(&place, 0);
    let _ = place.compact(&[]).ended(0);
    let keys = [
        format!("{}/data.parquet", home()),
        format!("{}/meta.json", home()),
    ];
    let old = keys
        .each_ref()
        .map(|key| std::fs::read(place.archive().join(key)).unwrap());
    put(&place, 3);
    let _ = place.compact(&[]).ended(0);
    let new = keys
        .each_ref()
        .map(|key| std::fs::read(place.archive().join(key)).unwrap());
    let sums = |q: &str| place.qlc(&["query", q, "--format", "csv"]);
    let statement = "SELECT count(*), sum(seq), sum(bid_qty) FROM archive.bbo";
    let both = [&old, &new].map(|version| {
        for (key, bytes) in keys.iter().zip(version) {
            place.server().put(&format!("archive/{key}"), bytes);
        }
        sums(statement).ended(0).stdout
    });
    assert_ne!(both[0], both[1]);
    // New stands; old is put in its place in the middle of reading.
    for read in 0.. {
        place.server().forget();
        for (key, bytes) in keys.iter().zip(&new) {
            place.server().put(&format!("archive/{key}"), bytes);
        }
        let key = format!("archive/{}", keys[0]);
        let meant = nth(read, |a| {
            a.kind == Kind::Get && a.key.ends_with("data.parquet")
        });
        place
            .server()
            .meanwhile(meant, place.server().putting(&key, old[0].clone()));
        let ran = sums(statement);
        assert!(!ran.stderr.contains("panicked"), "{ran}");
        match ran.code {
            Some(0) => assert!(both.contains(&ran.stdout), "read {read}: {ran}"),
            _ => assert_eq!(ran.code, Some(1), "read {read}: {ran}"),
        }
        place.server().calm();
        if std::fs::read(place.archive().join(&keys[0])).unwrap() == new[0] {
            assert!(read > 0);
            break;
        }
    }
}

#[test]
fn truncated_and_late_answers_are_read_again_or_are_errors() {
    let undisturbed = {
        let place = Place::all_on_s3();
        put(&place, 0);
        let _ = place.compact(&[]).ended(0);
        published(&place.archive(), &home()).bytes
    };
    for answer in [Answer::Truncated, LATE, Answer::Dropped] {
        for forever in [false, true] {
            let place = Place::all_on_s3();
            put(&place, 0);
            let which = if forever { 0..usize::MAX } else { 0..1 };
            place.server().fault(
                |a| a.kind == Kind::Get && a.key.starts_with(SPOOL),
                which,
                done(answer),
            );
            let ran = place.qlc(&[CATCH_UP, IMPATIENT].concat());
            let fine = answer == LATE || !forever;
            assert_eq!(ran.code, Some(i32::from(!fine)), "{answer:?}: {ran}");
            if !fine {
                // A network that fails is no bad file.
                assert_eq!(listing(&place.archive()).len(), 0, "{ran}");
            }
            place.server().calm();
            let _ = place.compact(&[]).ended(0);
            assert_eq!(published(&place.archive(), &home()).bytes, undisturbed);
            place.verify();
            place.leaves_nothing();
        }
    }
}

#[test]
fn a_reader_beside_replacements_sees_whole_objects_only() {
    use std::sync::{Arc, atomic::AtomicBool};

    let place = Place::on_s3();
    put(&place, 0);
    let _ = place.compact(&[]).ended(0);
    let over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (over, folder) = (Arc::clone(&over), place.archive().join(home()));
        std::thread::spawn(move || {
            let mut seen = std::collections::BTreeSet::new();
            while !over.load(Ordering::SeqCst) {
                let [data, meta] = ["data.parquet", "meta.json"]
                    .map(|name| std::fs::read(folder.join(name)).unwrap());
                let rows = crate::support::archive::decode(&data)
                    .expect("whole data")
                    .batch
                    .num_rows();
                let meta: serde_json::Value =
                    serde_json::from_slice(&meta).expect("a whole meta.json");
                let agree = meta["sha256"] == crate::support::archive::sha256(&data).as_str();
                assert!(!agree || meta["row_count"] == rows, "meta of other data");
                let _ = seen.insert((rows, agree));
            }
            seen
        })
    };
    for second in 1..6 {
        put(&place, second);
        // Between data and meta the state is one that a reader can recognise, and a query gives
        // whole rows or none.
        let asking = Arc::new(place.beside());
        place.server().meanwhile(
            |a| a.is(Kind::Put, "/meta.json"),
            move || {
                let ran = asking
                    .qlc(&[
                        "query",
                        "SELECT count(*) AS n FROM archive.bbo",
                        "--format",
                        "json",
                    ])
                    .ended(0);
                let rows = ran.json()[0]["n"]
                    .as_i64()
                    .or_else(|| ran.json()[0][0]["n"].as_i64());
                assert!(rows.is_some_and(|n| n % 5 == 0), "{ran}");
            },
        );
        let _ = place.compact(&[]).ended(0);
    }
    over.store(true, Ordering::SeqCst);
    let seen = reader.join().expect("the reader saw whole objects only");
    assert!(seen.iter().any(|(_, agree)| *agree), "{seen:?}");
    place.verify();
}
