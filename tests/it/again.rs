//! Runs after the first: nothing is done twice, what came late is added, what left the spool stays
//! in the archive.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use parquet::basic::Compression;

use super::support::{
    archive::{Published, dir, listing, published, without_notes},
    events::{DAY, Events, Quote, SECOND, quotes},
    run::{Place, Ran, SERIES},
};

/// Rows of five files that overlap, with equal keys across files.
fn parts() -> Vec<Vec<Quote>> {
    let part = |n: i64| quotes(DAY + n * 40 * SECOND, SECOND, 1_000 * (n % 2), 100);
    (0..5).map(part).collect()
}

fn name(n: usize) -> String {
    format!("2026-02-03_00-0{n}-00.parquet")
}

fn put(place: &Place, parts: &[Vec<Quote>], which: impl IntoIterator<Item = usize>) {
    for n in which {
        let _ = place.put_quotes(&name(n), &Events::sealed(parts[n].clone()).bytes());
    }
}

fn remove(place: &Place, which: impl IntoIterator<Item = usize>) {
    for n in which {
        fs::remove_file(
            place
                .spool()
                .join("exchange=binance/stream=bbo/symbol=btcusdt")
                .join(name(n)),
        )
        .unwrap();
    }
}

fn partition(place: &Place) -> Published {
    published(
        &place.archive(),
        &dir("binance", "bbo", "btcusdt", "20260203"),
    )
}

/// Compacts, verifies and looks for leftovers.
#[track_caller]
fn run(place: &Place) -> Ran {
    let ran = place.compact(&["-v"]).ended(0);
    place.verify();
    place.is_tidy();
    ran
}

/// What compacting all parts at once gives.
fn at_once(parts: &[Vec<Quote>]) -> Published {
    let place = Place::new();
    put(&place, parts, 0..parts.len());
    let _ = run(&place);
    partition(&place)
}

#[test]
fn a_second_run_does_nothing_and_says_so() {
    let place = Place::new();
    put(&place, &parts(), 0..5);
    let _ = run(&place);
    let before = listing(&place.archive());
    let _ = run(&place)
        .says("nothing to do")
        .says("up to date: the archive holds all 500 rows of 5 files");
    assert_eq!(listing(&place.archive()), before);
    let _ = place.compact(&["--force", "-v"]).ended(0).says("forced");
    assert_eq!(
        listing(&place.archive()),
        before,
        "forced, the same bytes, but for nothing"
    );
}

#[test]
fn a_late_file_is_added_as_if_it_had_been_there() {
    let (parts, place) = (parts(), Place::new());
    put(&place, &parts, [0, 1, 3, 4]);
    let _ = run(&place);
    put(&place, &parts, [2]);
    let _ = run(&place).says("1 new file");
    assert_eq!(partition(&place).bytes, at_once(&parts).bytes);
    assert_eq!(partition(&place).meta["source_files"], 5);
    let _ = run(&place).says("nothing to do");
}

#[test]
fn a_late_file_is_added_when_the_earlier_ones_have_left() {
    let (parts, place) = (parts(), Place::new());
    put(&place, &parts, [0, 1]);
    let _ = run(&place);
    for (gone, late) in [(0..2, 2..3), (1..1, 3..4), (2..4, 4..5)] {
        remove(&place, gone);
        let _ = run(&place).says("nothing to do");
        put(&place, &parts, late);
        let _ = run(&place);
        let _ = run(&place).says("nothing to do");
    }
    let (got, all) = (partition(&place), at_once(&parts));
    assert_eq!(got.quotes(), all.quotes());
    assert_eq!(got.bytes, all.bytes);
    assert_eq!(got.meta["source_files"], 5);
    assert!(got.receipt["base"]["sha256"].is_string());
    // Only some of its sources are gone: the others are not read twice.
    put(&place, &parts, [0, 1]);
    let _ = run(&place).says("nothing to do");
    assert_eq!(partition(&place).bytes, all.bytes);
}

#[test]
fn late_rows_without_seq_come_after_archived_ones_of_their_instant() {
    let place = Place::new();
    let at = |mark: i64| -> Vec<Quote> {
        let mut rows = quotes(DAY, SECOND, mark, 3);
        rows.truncate(3);
        rows
    };
    let (first, late) = (at(50), at(10));
    let put =
        |name: &str, rows: &[Quote]| place.put_quotes(name, &Events::older(rows.to_vec()).bytes());
    let gone = put("2026-02-03_b.parquet", &first);
    let _ = run(&place);
    fs::remove_file(gone).unwrap();
    // By its name this file would have come first.
    let _ = put("2026-02-03_a.parquet", &late);
    let _ = run(&place);
    let order = [first[0], late[0], first[1], late[1], first[2], late[2]];
    let expected: Vec<Quote> = (0..)
        .zip(order)
        .map(|(seq, q)| Quote {
            seq,
            ts_event: q.ts_event / 1_000_000,
            ..q
        })
        .collect();
    assert_eq!(partition(&place).quotes(), expected);
    let _ = run(&place).says("nothing to do");
}

#[test]
fn a_late_file_in_another_unit_brings_the_archived_rows_along() {
    use super::support::events::Times;
    use arrow::datatypes::TimeUnit::Millisecond;
    let place = Place::new();
    let (first, late) = (
        quotes(DAY, SECOND, 0, 50),
        quotes(DAY + 10, SECOND, 100, 50),
    );
    let in_ms = Events::sealed(first.clone())
        .times(Times::Int64(Millisecond))
        .bytes();
    let gone = place.put_quotes("2026-02-03_0.parquet", &in_ms);
    let _ = run(&place);
    fs::remove_file(gone).unwrap();
    let _ = place.put_quotes(
        "2026-02-03_1.parquet",
        &Events::sealed(late.clone()).bytes(),
    );
    let _ = run(&place);
    let mut all = [first, late].concat();
    all.sort_by_key(|q| (q.ts_event, q.seq));
    assert_eq!(partition(&place).quotes(), all);
    let _ = run(&place).says("nothing to do");
}

#[test]
fn a_file_whose_time_alone_changed_is_still_known() {
    let place = Place::new();
    put(&place, &parts(), 0..2);
    let _ = run(&place);
    let before = listing(&place.archive());
    let path = place
        .spool()
        .join("exchange=binance/stream=bbo/symbol=btcusdt")
        .join(name(0));
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_hours(1))
        .unwrap();
    let _ = run(&place).says("nothing to do");
    assert_eq!(without_notes(listing(&place.archive())), before);
}

#[test]
fn a_file_of_a_known_name_with_other_content_is_a_new_file() {
    let (parts, place) = (parts(), Place::new());
    put(&place, &parts, [0]);
    let _ = run(&place);
    // A collector that begins its names anew each start: the old rows exist nowhere else.
    let _ = place.put_quotes(&name(0), &Events::sealed(parts[3].clone()).bytes());
    let _ = run(&place).says("1 new file");
    let mut all = [parts[0].clone(), parts[3].clone()].concat();
    all.sort_by_key(|q| (q.ts_event, q.seq));
    assert_eq!(partition(&place).quotes(), all);
    let _ = run(&place).says("nothing to do");
}

#[test]
fn the_same_rows_under_another_name_count_once() {
    let (parts, place) = (parts(), Place::new());
    put(&place, &parts, [0]);
    let _ = place.put_quotes(
        "2026-02-03_copy.parquet",
        &Events::sealed(parts[0].clone()).bytes(),
    );
    let copy_of =
        |name: &str| format!("{SERIES}/2026-02-03_{name}.parquet has the rows of {SERIES}/");
    let _ = run(&place)
        .says(": done: new in the archive; copies, ")
        .says(&copy_of("copy"));
    let published = partition(&place);
    assert_eq!(published.quotes(), parts[0]);
    let copy = &published.receipt["copies"][0];
    assert!(
        copy["name"]
            .as_str()
            .unwrap()
            .ends_with("2026-02-03_copy.parquet"),
        "{copy}"
    );
    let told = |ran: &Ran| ran.to_string().contains("has the rows of");
    let ran = run(&place).says("nothing to do");
    assert!(!told(&ran), "{ran}");
    // One that comes late is known by its rows as well.
    let _ = place.put_quotes(
        "2026-02-03_later.parquet",
        &Events::sealed(parts[0].clone()).bytes(),
    );
    let ran = place.compact(&["--format", "json"]).ended(0);
    let all = ran.json();
    let one = all.iter().find(|one| one["date"] == "20260203").unwrap();
    assert_eq!(
        (&one["status"], &one["copies"]),
        (&"up-to-date".into(), &1.into()),
        "{ran}"
    );
    assert!(
        one["message"].as_str().unwrap().contains(&copy_of("later")),
        "{ran}"
    );
    let ran = run(&place).says("nothing to do");
    assert!(!told(&ran), "{ran}");
    assert_eq!(partition(&place).bytes, published.bytes);
}

#[test]
fn a_file_that_moves_is_no_copy() {
    let (parts, place) = (parts(), Place::new());
    put(&place, &parts, [0]);
    let _ = run(&place);
    let path = place.spool().join(SERIES).join(name(0));
    fs::rename(&path, path.with_file_name("2026-02-03_renamed.parquet")).unwrap();
    let ran = place.compact(&["--format", "json"]).ended(0);
    assert!(!ran.to_string().contains("copies"), "{ran}");
    let _ = run(&place).says("nothing to do");
}

/// A name whose file was replaced by one with other rows; the second file is renamed, and another
/// one comes late.
#[test]
fn a_renamed_file_is_held_against_its_own_rows_whatever_its_name_had_before() {
    let (parts, place) = (parts(), Place::new());
    put(&place, &parts, [0]);
    let _ = run(&place);
    let path = place.put_quotes(&name(0), &Events::sealed(parts[3].clone()).bytes());
    let _ = run(&place);
    fs::rename(&path, path.with_file_name("2026-02-03_renamed.parquet")).unwrap();
    let _ = run(&place).says("nothing to do");
    let _ = run(&place).says("nothing to do");
    put(&place, &parts, [2]);
    let _ = run(&place);
    let mut all = [parts[0].clone(), parts[3].clone(), parts[2].clone()].concat();
    all.sort_by_key(|q| (q.ts_event, q.seq));
    assert_eq!(partition(&place).quotes(), all);
}

/// The rows of a file without `seq` change in their place, and the changed file is copied: the
/// archived rows stay, and bytes that are blamed are no new rows under another name.
#[test]
fn a_file_that_changed_in_place_is_blamed_beside_its_copy() {
    let place = Place::new();
    let file = |price: i64| {
        let rows = quotes(DAY, SECOND, price, 5);
        Events::sealed(rows)
            .without_seq()
            .compressed(Compression::UNCOMPRESSED)
            .bytes()
    };
    assert_eq!(file(0).len(), file(7).len());
    let path = place.put_quotes(&name(1), &file(0));
    let _ = run(&place);
    let before = partition(&place).quotes();
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, file(7)).unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(time)
        .unwrap();
    // The copy comes first by its name.
    let _ = place.put_quotes(&name(0), &file(7));
    let _ = place.compact(&[]).ended(3).says("SOURCE_CHANGED");
    assert_eq!(partition(&place).quotes(), before);
    place.verify();
    let _ = place.compact(&[]).ended(0).says("2 files in QUARANTINE");
}

/// The receipt knows the rows of a file under the name that it had, or that of a copy; the file
/// itself changes, and another one without `seq` has all of them read again.
#[test]
fn a_file_that_changed_in_place_is_blamed_under_whatever_name_its_rows_are_on_record() {
    let file = |price: i64| {
        let rows = quotes(DAY, SECOND, price, 5);
        Events::sealed(rows)
            .without_seq()
            .compressed(Compression::UNCOMPRESSED)
            .bytes()
    };
    for keeps_first in [false, true] {
        let place = Place::new();
        let path = place.put_quotes(&name(1), &file(0));
        if keeps_first {
            // Of two files with the same rows, the receipt names the first one.
            let _ = place.put_quotes(&name(0), &file(0));
        }
        let _ = place.compact(&[]).ended(0);
        let before = partition(&place).quotes();
        let renamed = path.with_file_name("2026-02-03_renamed.parquet");
        fs::rename(&path, &renamed).unwrap();
        let _ = place.compact(&[]).ended(0);
        let time = fs::metadata(&renamed).unwrap().modified().unwrap();
        fs::write(&renamed, file(7)).unwrap();
        fs::File::options()
            .write(true)
            .open(&renamed)
            .unwrap()
            .set_modified(time)
            .unwrap();
        let late = quotes(DAY + 60 * SECOND, SECOND, 0, 2);
        let _ = place.put_quotes(
            &name(2),
            &Events::sealed(late.clone()).without_seq().bytes(),
        );
        let _ = place.compact(&[]).ended(3).says("SOURCE_CHANGED");
        let prices = |rows: &[Quote]| {
            rows.iter()
                .map(|q| (q.ts_event, q.bid_price.to_bits()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            prices(&partition(&place).quotes()),
            prices(&[before, late].concat()),
            "{keeps_first}"
        );
        place.verify();
        let _ = place.compact(&[]).ended(0).says("1 file in QUARANTINE");
    }
}

#[test]
fn a_late_neighbour_feeds_a_day_that_was_published() {
    let place = Place::new();
    let midnight = DAY + 24 * 3600 * SECOND;
    put(&place, &parts(), [0]);
    let _ = run(&place);
    let spanning = quotes(midnight - 3 * SECOND, SECOND, 77, 6);
    let _ = place.put_quotes(
        "2026-02-04_00-00-01.parquet",
        &Events::sealed(spanning.clone()).bytes(),
    );
    let _ = run(&place);
    assert_eq!(
        partition(&place).quotes(),
        [parts()[0].clone(), spanning[..3].to_vec()].concat()
    );
    let next = published(
        &place.archive(),
        &dir("binance", "bbo", "btcusdt", "20260204"),
    );
    assert_eq!(next.quotes(), spanning[3..]);
    let _ = run(&place).says("nothing to do");
}

#[test]
fn damaged_archived_data_is_not_taken_in_again() {
    let (parts, place) = (parts(), Place::new());
    put(&place, &parts, [0]);
    let _ = run(&place);
    let path = place
        .archive()
        .join(dir("binance", "bbo", "btcusdt", "20260203"))
        .join("data.parquet");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    remove(&place, [0]);
    put(&place, &parts, [1]);
    let _ = place.compact(&[]).ended(1).says("restore it");
    assert_eq!(fs::read(&path).unwrap(), bytes, "left as it was");
    let _ = place.qlc(&["verify"]).ended(4);
    place.is_tidy();
}

#[test]
fn another_level_of_compression_gives_other_bytes_and_the_same_rows() {
    let (parts, place) = (parts(), Place::new());
    put(&place, &parts, [0, 1]);
    let _ = run(&place);
    let path = place
        .archive()
        .join(dir("binance", "bbo", "btcusdt", "20260203"))
        .join("data.parquet");
    let usual = fs::read(&path).unwrap();
    let _ = place.compact(&["--force", "--zstd-level", "19"]).ended(0);
    assert_ne!(fs::read(&path).unwrap(), usual);
    assert_eq!(partition(&place).quotes().len(), 200);
    // The receipt says the level, so that a rebuild gives the same bytes without being told.
    let _ = place.qlc(&["verify", "--rebuild"]).ended(0);
    let _ = place.compact(&["--force"]).ended(0);
    assert_eq!(fs::read(&path).unwrap(), usual);
    let _ = place
        .compact(&["--zstd-level", "23"])
        .ended(2)
        .says("from 1 to 22");
    place.is_tidy();
}

/// A run that was killed before it wrote the mark of its generation left a published day: whatever
/// the next run does there, it writes the mark, so that the one after it has nothing to do.
#[test]
fn a_mark_that_a_killed_run_left_unwritten_is_written_by_the_next() {
    for bad in [false, true] {
        let place = Place::new();
        let _ = place.put_quotes(
            "2026-02-03_00-00-00.parquet",
            &Events::sealed(quotes(DAY, SECOND, 0, 5)).bytes(),
        );
        let _ = place.compact(&[]).ended(0);
        let whole = listing(&place.archive());
        let marks: Vec<&String> = whole
            .keys()
            .filter(|key| key.ends_with(".published"))
            .collect();
        assert_eq!(marks.len(), 1);
        fs::remove_file(place.archive().join(marks[0])).unwrap();
        if bad {
            let _ = place.put_quotes("2026-02-03_01-00-00.parquet", b"PAR1 and no footer");
        }
        let _ = place.compact(&[]).ended(if bad { 3 } else { 0 });
        let after = listing(&place.archive());
        assert!(after.contains_key(marks[0]));
        let _ = place.compact(&[]).ended(0).says("nothing to do");
        assert_eq!(listing(&place.archive()), after);
        place.verify();
    }
}

/// Nobody reads again to find out what was found out: `compact` notes it, and `status`, which only
/// lists, agrees with it.
#[test]
fn a_file_that_was_touched_renamed_copied_or_moved_is_known_to_all() {
    type Change = fn(&std::path::Path);
    let changes: [Change; 4] = [
        |path| {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() + Duration::from_hours(1))
                .unwrap();
        },
        |path| fs::rename(path, path.with_file_name("2026-02-03_renamed.parquet")).unwrap(),
        |path| {
            let _ = fs::copy(path, path.with_file_name("2026-02-03_copied.parquet")).unwrap();
        },
        |path| {
            let dated = path.with_file_name("date=20260203");
            fs::create_dir(&dated).unwrap();
            fs::rename(path, dated.join("part-0.parquet")).unwrap();
        },
    ];
    for change in changes {
        let place = Place::new();
        let path = place.put_quotes(&name(0), &Events::sealed(quotes(DAY, SECOND, 0, 5)).bytes());
        let _ = place.compact(&[]).ended(0);
        change(&path);
        let _ = place.compact(&[]).ended(0).says("nothing to do");
        let strict = [
            "status",
            "--strict",
            "--now",
            super::support::run::NOW,
            "--date",
            "20260203",
        ];
        let _ = place.qlc(&strict).ended(0);
        let noted = listing(&place.archive());
        let _ = place.compact(&[]).ended(0).says("nothing to do");
        assert_eq!(listing(&place.archive()), noted);
        place.verify();
        // The notes of a generation go with its receipt.
        let _ = place.put_quotes(
            &name(1),
            &Events::sealed(quotes(DAY + 60 * SECOND, SECOND, 9, 5)).bytes(),
        );
        let _ = place.compact(&[]).ended(0);
        assert_eq!(partition(&place).quotes().len(), 10);
        place.verify();
    }
}
