//! What an operator does about QUARANTINE: look, try again, let go; and what each leaves behind.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::support::{
    archive::{home, listing, published, quarantine, sha256},
    damage,
    events::{DAY, Events, HOUR, Quote, SECOND, quotes},
    run::{NOW, Place, Ran, SERIES},
};

const GOOD: &str = "2026-02-03_00-00-00.parquet";
const BAD: &str = "2026-02-03_01-00-00.parquet";

fn good() -> Vec<Quote> {
    quotes(DAY, SECOND, 0, 100)
}

fn other() -> Vec<Quote> {
    quotes(DAY + HOUR, SECOND, 500, 100)
}

fn kept(place: &Place, name: &str) -> PathBuf {
    place.archive().join("QUARANTINE").join(home()).join(name)
}

fn run(place: &Place, verb: &str, more: &[&str]) -> Ran {
    let now: &[&str] = if verb == "retry" {
        &["--now", NOW]
    } else {
        &[]
    };
    place.qlc(&[&["quarantine", verb], more, now].concat())
}

fn entries(place: &Place) -> Vec<Value> {
    quarantine(&place.archive(), &home())
        .map(|file| file["files"].as_array().unwrap().clone())
        .unwrap_or_default()
}

/// A day of one good file and one that was cut off.
fn cut_off() -> (Place, Vec<u8>) {
    let place = Place::new();
    let _ = place.put_quotes(GOOD, &Events::sealed(good()).bytes());
    let whole = Events::sealed(other()).bytes();
    let bad = damage::truncated(&whole, whole.len() / 2);
    let _ = place.put_quotes(BAD, &bad);
    let _ = place.compact(&[]).ended(3);
    (place, bad)
}

/// A day of one good file, and a readable one that lies in QUARANTINE as an older qlc would have
/// left it.
fn readable_now() -> (Place, Vec<u8>) {
    let (place, bad) = cut_off();
    let whole = Events::sealed(other()).bytes();
    let path = kept(&place, "error.json");
    let mut text = fs::read_to_string(&path).unwrap();
    text = text.replace(&sha256(&bad), &sha256(&whole)).replace(
        &format!("\"size\": {}", bad.len()),
        &format!("\"size\": {}", whole.len()),
    );
    fs::write(path, text).unwrap();
    fs::write(kept(&place, BAD), &whole).unwrap();
    let _ = place.put_quotes(BAD, &whole);
    let _ = place.compact(&["-v"]).ended(0).says("1 file in QUARANTINE");
    assert_eq!(published(&place.archive(), &home()).quotes(), good());
    (place, whole)
}

#[test]
fn entries_are_listed_and_shown() {
    let (place, bad) = cut_off();
    let ran = run(&place, "list", &[]).ended(0);
    for text in [
        BAD,
        "TRUNCATED",
        "binance/bbo/btcusdt/20260203",
        "1 entry: 1 kept",
    ] {
        assert!(ran.stdout.contains(text), "{text}: {ran}");
    }
    let [entry] = run(&place, "list", &["--format", "json", "--date", "20260203"])
        .ended(0)
        .json()
        .try_into()
        .unwrap();
    assert_eq!(
        (&entry["error_type"], &entry["state"]),
        (&"TRUNCATED".into(), &"kept".into())
    );
    assert_eq!(
        (&entry["size"], &entry["date"]),
        (&bad.len().into(), &"20260203".into())
    );
    let _ = run(&place, "list", &["--date", "20260204"])
        .ended(0)
        .says("nothing is in QUARANTINE");
    let _ = run(&place, "list", &["--symbol", "btcusd"])
        .ended(2)
        .says("nothing in QUARANTINE matches")
        .says("did you mean btcusdt?");
    let broken = place
        .archive()
        .join("QUARANTINE/exchange=binance/stream=bbo/symbol=btcusdt/date=20260201/error.json");
    fs::create_dir_all(broken.parent().unwrap()).unwrap();
    fs::write(&broken, "{").unwrap();
    let _ = run(&place, "list", &[])
        .ended(1)
        .says("TRUNCATED")
        .says("date=20260201/error.json: repair it first");
    let _ = place
        .qlc(&["status", "--now", "2026-02-05T06:00:00Z"])
        .ended(1)
        .says("date=20260201/error.json");
    fs::remove_dir_all(broken.parent().unwrap()).unwrap();
    let _ = run(&place, "show", &[BAD])
        .ended(0)
        .says("reproduce")
        .says("TRUNCATED: ")
        .says("1 finding");
    let [shown] = run(&place, "show", &[BAD, "--format", "json"])
        .ended(0)
        .json()
        .try_into()
        .unwrap();
    assert_eq!(
        shown["inspection"]["findings"].as_array().unwrap().len(),
        1,
        "{shown}"
    );
    let _ = run(&place, "show", &[&format!("{SERIES}/{BAD}")])
        .ended(0)
        .says(BAD);
    let empty = Place::new();
    let _ = empty.put_quotes(GOOD, &Events::sealed(good()).bytes());
    let _ = empty.compact(&[]).ended(0);
    let _ = run(&empty, "list", &[])
        .ended(0)
        .says("nothing is in QUARANTINE");
}

#[test]
fn what_is_still_bad_comes_back_as_it_was() {
    let (place, bad) = cut_off();
    let before = (
        listing(&place.archive()).into_keys().collect::<Vec<_>>(),
        entries(&place),
    );
    let _ = run(&place, "retry", &[])
        .ended(3)
        .says("quarantined again")
        .says("TRUNCATED");
    let after = (
        listing(&place.archive()).into_keys().collect::<Vec<_>>(),
        entries(&place),
    );
    assert_eq!(after, before);
    assert_eq!(fs::read(kept(&place, BAD)).unwrap(), bad);
    place.verify();
    place.is_tidy();
    let _ = place.compact(&[]).ended(0).says("nothing to do");
}

#[test]
fn what_is_readable_now_is_taken_in() {
    let (place, whole) = readable_now();
    let _ = run(&place, "retry", &["--exchange", "binance"])
        .ended(0)
        .says("taken in")
        .says("all 100 rows");
    assert_eq!(
        published(&place.archive(), &home()).quotes(),
        [good(), other()].concat()
    );
    assert!(
        entries(&place).is_empty()
            && !kept(&place, BAD).exists()
            && !kept(&place, "error.json").exists()
    );
    assert_eq!(
        fs::read(place.spool().join(SERIES).join(BAD)).unwrap(),
        whole
    );
    let journal = listing(&place.archive())
        .into_keys()
        .find(|key| key.starts_with("_retried/"))
        .unwrap();
    let journal: Value =
        serde_json::from_slice(&fs::read(place.archive().join(journal)).unwrap()).unwrap();
    assert_eq!(
        (&journal["entry"]["kept_as"], &journal["data"][0]["rows"]),
        (&BAD.into(), &100.into())
    );
    place.verify();
    place.is_tidy();
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    let _ = run(&place, "retry", &[]).ended(0).says("nothing to try");
}

#[test]
fn bytes_that_left_the_spool_are_put_back() {
    let (place, whole) = readable_now();
    let source = place.spool().join(SERIES).join(BAD);
    fs::remove_file(&source).unwrap();
    let _ = run(&place, "retry", &[BAD])
        .ended(0)
        .says("taken in")
        .says("put back");
    assert_eq!(fs::read(&source).unwrap(), whole);
    assert_eq!(
        published(&place.archive(), &home()).quotes(),
        [good(), other()].concat()
    );
    assert!(entries(&place).is_empty() && !kept(&place, BAD).exists());
    place.verify();
    let _ = place
        .qlc(&["prune", "--keep-days", "0"])
        .ended(0)
        .says("removed 2 files");
    place.verify();
    place.is_tidy();
}

#[test]
fn killed_anywhere_while_it_is_tried_again_nothing_is_lost() {
    for nth in 1.. {
        let (place, _) = readable_now();
        fs::remove_file(place.spool().join(SERIES).join(BAD)).unwrap();
        let line = ["quarantine", "retry", "--now", NOW];
        let ran = place.qlc_env(&line, &[("QLC_CRASH_AT", &nth.to_string())]);
        if ran.code.is_some() {
            let _ = ran.ended(0);
            assert!(nth > 20, "only {nth} points");
            break;
        }
        let in_spool = place.spool().join(SERIES).join(BAD).exists();
        assert!(
            in_spool || kept(&place, BAD).exists(),
            "point {nth}: the rows are nowhere\n{ran}"
        );
        // Whether what is left is tried again, or nothing is left to try, the day ends the same.
        let _ = run(&place, "retry", &[]).ended(0);
        assert_eq!(
            published(&place.archive(), &home()).quotes(),
            [good(), other()].concat(),
            "point {nth}"
        );
        assert!(
            entries(&place).is_empty() && !kept(&place, BAD).exists(),
            "point {nth}"
        );
        place.verify();
        let _ = place.compact(&[]).ended(0).says("nothing to do");
        let _ = place.qlc(&["clean"]).ended(0);
        place.is_tidy();
    }
}

#[test]
fn a_name_that_is_taken_is_not_overwritten() {
    let (place, _) = readable_now();
    let newer = Events::sealed(quotes(DAY + 2 * HOUR, SECOND, 900, 7)).bytes();
    let source = place.put_quotes(BAD, &newer);
    let _ = place.compact(&[]).ended(0);
    let before = listing(&place.archive());
    let _ = run(&place, "retry", &[])
        .ended(1)
        .says("the spool has other bytes under this name");
    assert_eq!(
        (fs::read(source).unwrap(), listing(&place.archive())),
        (newer, before)
    );
    place.verify();
}

#[test]
fn what_is_discarded_does_not_come_back() {
    let (place, bad) = cut_off();
    let _ = run(&place, "discard", &[BAD]).ended(2).says("--yes");
    let _ = run(&place, "discard", &["--yes"])
        .ended(2)
        .says("say what to discard");
    assert!(kept(&place, BAD).exists());
    let _ = run(&place, "discard", &[BAD, "--yes"])
        .ended(0)
        .says("discarded");
    assert!(!kept(&place, BAD).exists());
    let [entry] = entries(&place).try_into().unwrap();
    assert_eq!(
        (&entry["discarded"], &entry["sha256"]),
        (&true.into(), &sha256(&bad).into())
    );
    let journal = listing(&place.archive())
        .into_keys()
        .find(|key| key.starts_with("_discarded/"))
        .unwrap();
    let journal: Value =
        serde_json::from_slice(&fs::read(place.archive().join(journal)).unwrap()).unwrap();
    assert_eq!(
        (&journal["entry"]["sha256"], &journal["why"]),
        (&sha256(&bad).into(), &"discarded on request".into())
    );

    let before = listing(&place.archive());
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    // The same bytes under a new time.
    let source = place.put_quotes(BAD, &bad);
    let _ = place.compact(&["--force"]).ended(0);
    assert_eq!(entries(&place), [entry]);
    assert!(!kept(&place, BAD).exists());
    let _ = run(&place, "discard", &[BAD, "--yes"]).ended(0);
    let _ = run(&place, "retry", &[BAD]).ended(1).says("was discarded");
    assert_eq!(listing(&place.archive()).len(), before.len());
    assert_eq!(
        fs::read(&source).unwrap(),
        bad,
        "the spool is left as it is"
    );
    let _ = place
        .qlc(&["prune", "--keep-days", "0"])
        .ended(0)
        .says("kept 1 file");
    assert!(source.exists());
    let _ = run(&place, "show", &[BAD]).ended(0).says("nothing is kept");
    place.verify();
    // And under a new name: nothing waits there.
    let again = place.put_quotes("2026-02-03_23-50-00.parquet", &bad);
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    let status = [
        "status", "--date", "20260203", "--now", NOW, "--format", "json",
    ];
    let [day] = place.qlc(&status).ended(0).json().try_into().unwrap();
    assert_eq!(day["waiting"], 0, "{day:#}");
    fs::remove_file(again).unwrap();

    let _ = place.put_quotes(BAD, &Events::sealed(other()).bytes());
    let _ = place.compact(&[]).ended(0);
    assert_eq!(published(&place.archive(), &home()).quotes().len(), 200);
    place.verify();
    place.is_tidy();
}

#[test]
fn a_day_of_which_all_was_discarded_is_not_told_as_one_of_which_nothing_came() {
    let place = Place::new();
    let whole = Events::sealed(other()).bytes();
    let source = place.put_quotes(BAD, &damage::truncated(&whole, whole.len() / 2));
    let _ = place.compact(&[]).ended(3);
    let _ = run(&place, "discard", &[BAD, "--yes"]).ended(0);
    for is_there in [true, false] {
        if !is_there {
            fs::remove_file(&source).unwrap();
        }
        let status = [
            "status", "--date", "20260203", "--now", NOW, "--format", "json",
        ];
        let [day] = place.qlc(&status).ended(0).json().try_into().unwrap();
        assert_eq!(day["state"], "quarantined", "{day:#}");
        let why = day["reasons"].to_string();
        assert!(why.contains("1 file discarded from QUARANTINE"), "{day:#}");
        let command = day["command"].as_str().unwrap();
        assert!(command.starts_with("qlc quarantine list"), "{day:#}");
    }
}

#[test]
fn a_damaged_file_is_not_put_back_where_a_whole_one_of_its_name_is_archived() {
    let (place, bad) = cut_off();
    // The collector wrote it once more, and it has left the spool.
    let source = place.put_quotes(BAD, &Events::sealed(other()).bytes());
    let _ = place.compact(&[]).ended(0);
    let archived = published(&place.archive(), &home()).quotes();
    assert_eq!(archived.len(), 200);
    let _ = place
        .qlc(&["prune", "--keep-days", "0", "--now", "2026-02-10T06:00:00Z"])
        .ended(0);
    assert!(!source.exists());
    for more in [&[BAD][..], &[BAD, "--salvage"]] {
        let _ = run(&place, "retry", more)
            .ended(1)
            .says("a whole file of its name is in the archive, 100 rows")
            .says("discard it");
        assert!(!source.exists(), "it stays out of the spool");
        assert_eq!(fs::read(kept(&place, BAD)).unwrap(), bad);
        assert_eq!(published(&place.archive(), &home()).quotes(), archived);
    }
    place.verify();
}

#[test]
fn discarded_rows_stay_away_too() {
    let place = Place::new();
    let far = Quote {
        ts_event: DAY + 90 * HOUR,
        ..other()[0]
    };
    let _ = place.put_quotes(
        GOOD,
        &Events::sealed([good(), vec![far]].concat())
            .undeclared()
            .bytes(),
    );
    let _ = place.compact(&[]).ended(3);
    let name = GOOD.replace(".parquet", ".rows.parquet");
    let _ = run(&place, "retry", &[&name])
        .ended(1)
        .says("rows without a permitted day");
    let _ = run(&place, "discard", &[&name, "--yes"]).ended(0);
    assert!(!kept(&place, &name).exists());
    let _ = place.compact(&["--force"]).ended(0);
    assert!(!kept(&place, &name).exists());
    let _ = place
        .qlc(&["prune", "--keep-days", "0"])
        .ended(0)
        .says("were discarded");
    place.verify();
    place.is_tidy();
}
