//! Promise 9: a row that was once published stays in every later generation, whatever becomes of
//! its spool file, and a partition that is gone, damaged or rolled back is found.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::support::{
    archive::{home, listing, published, quarantine, without_notes},
    damage,
    events::{Claim, DAY, Events, HOUR, Quote, SECOND, quotes},
    run::{Place, SERIES},
};

const FIRST: &str = "2026-02-03_00-00-00.parquet";
const LATE: &str = "2026-02-03_05-00-00.parquet";

fn first() -> Vec<Quote> {
    quotes(DAY, SECOND, 0, 50)
}

fn late() -> Vec<Quote> {
    quotes(DAY + 5 * HOUR, SECOND, 9_000, 5)
}

/// A published day of one file, which stays in the spool.
fn day() -> Place {
    let place = Place::new();
    let _ = place.put_quotes(FIRST, &Events::sealed(first()).bytes());
    let _ = place.compact(&[]).ended(0);
    place
}

fn spool_file(place: &Place, name: &str) -> PathBuf {
    place.spool().join(SERIES).join(name)
}

fn partition(place: &Place) -> PathBuf {
    place.archive().join(home())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            let _ = fs::copy(&path, &target).unwrap();
        }
    }
}

/// Changes a file and puts its time back.
fn in_place(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(modified)
        .unwrap();
}

#[test]
fn a_day_that_is_gone_is_found_and_comes_back_only_whole() {
    let place = day();
    let source = fs::read(spool_file(&place, FIRST)).unwrap();
    fs::remove_file(spool_file(&place, FIRST)).unwrap();
    fs::remove_dir_all(partition(&place)).unwrap();
    let _ = place
        .qlc(&["verify"])
        .ended(4)
        .says("its data.parquet is gone");
    let status = [
        "status",
        "--date",
        "20260203",
        "--now",
        "2026-02-05T06:00:00Z",
        "--strict",
    ];
    let _ = place.qlc(&status).ended(1);
    let _ = place.put_quotes(LATE, &Events::sealed(late()).bytes());
    let before = listing(&place.archive());
    let _ = place
        .compact(&[])
        .ended(1)
        .says("50 rows")
        .says("--accept-loss");
    assert_eq!(listing(&place.archive()), before);
    // Its rows are found again, under whatever name.
    let _ = place.put_quotes("2026-02-03_restored.parquet", &source);
    let _ = place
        .compact(&["-v"])
        .ended(0)
        .says("all of its rows can be read");
    assert_eq!(
        published(&place.archive(), &home()).quotes(),
        [first(), late()].concat()
    );
    place.verify();
}

#[test]
fn an_accepted_loss_is_told_at_the_end_of_the_run() {
    let place = day();
    fs::remove_file(spool_file(&place, FIRST)).unwrap();
    fs::remove_dir_all(partition(&place)).unwrap();
    let metrics = place.root().join("qlc.prom");
    let _ = place
        .compact(&[
            "-q",
            "--accept-loss",
            "--metrics-file",
            &metrics.display().to_string(),
        ])
        .ended(0)
        .says("binance/bbo/btcusdt/20260203: loss accepted: accepted as lost: 50 rows of 1 file")
        .says("1 partition: 1 loss accepted, 50 rows accepted as lost\n");
    let metrics = fs::read_to_string(&metrics).unwrap();
    let counted = metrics
        .lines()
        .any(|line| line.contains("status=\"loss_accepted\"") && line.ends_with(" 1"));
    assert!(counted, "{metrics}");
    // Once.
    let again = place.compact(&["--accept-loss"]).ended(0);
    assert!(!again.to_string().contains("accepted as lost"), "{again}");
    place.verify();
}

#[test]
fn a_loss_is_accepted_on_request_and_stays_on_record() {
    for late_comes in [false, true] {
        let place = day();
        fs::remove_file(spool_file(&place, FIRST)).unwrap();
        fs::remove_dir_all(partition(&place)).unwrap();
        if late_comes {
            let _ = place.put_quotes(LATE, &Events::sealed(late()).bytes());
        }
        let _ = place
            .compact(&["--dry-run", "--accept-loss"])
            .ended(0)
            .says("accept-loss");
        let ran = place
            .compact(&["--accept-loss", "--format", "json"])
            .ended(0);
        let of_day = |one: &Value| one["date"] == "20260203";
        let all = ran.json();
        let one = all.iter().find(|one| of_day(one)).unwrap();
        assert_eq!(one["status"], "loss-accepted", "{ran}");
        assert_eq!(one["rows_lost"], 50, "{ran}");
        let said = one["message"].as_str().unwrap();
        assert!(
            said.starts_with("accepted as lost: 50 rows of 1 file; "),
            "{ran}"
        );
        let recorded = "SELECT date, message FROM archive.runs WHERE status = 'loss-accepted'";
        let _ = place
            .qlc(&["query", recorded])
            .ended(0)
            .says("accepted as lost: 50 rows");
        if late_comes {
            let now = published(&place.archive(), &home());
            assert_eq!(now.quotes(), late());
            assert_eq!(now.receipt["accepted_loss"][0]["rows_here"], 50);
        }
        place.verify();
        let _ = place.compact(&[]).ended(0);
        let marks = listing(&place.archive())
            .into_keys()
            .filter(|key| key.ends_with(".published"))
            .count();
        assert_eq!(marks, 2 + usize::from(late_comes));
    }
}

#[test]
fn a_day_that_was_rolled_back_is_found() {
    let place = day();
    let backup = place.root().join("backup");
    copy(&partition(&place), &backup);
    let _ = place.put_quotes(LATE, &Events::sealed(late()).bytes());
    let _ = place.compact(&[]).ended(0);
    let newest = published(&place.archive(), &home()).bytes;
    copy(&backup, &partition(&place));
    let _ = place
        .qlc(&["verify"])
        .ended(4)
        .says("an older one of 50 rows is in its place");
    // The late file is there still: nothing is lost.
    let _ = place
        .compact(&["-v"])
        .ended(0)
        .says("all of its rows can be read");
    assert_eq!(published(&place.archive(), &home()).bytes, newest);
    place.verify();
    copy(&backup, &partition(&place));
    fs::remove_file(spool_file(&place, LATE)).unwrap();
    let _ = place
        .qlc(&[
            "compact", "--mode", "single", "--date", "20260203", "--stream", "bbo", "--symbol",
            "btcusdt",
        ])
        .ended(1)
        .says("5 rows of");
    let _ = place.qlc(&["verify"]).ended(4);
}

#[test]
fn rot_of_a_spool_file_does_not_reach_the_archive() {
    let place = Place::new();
    let silent = Events::sealed(first())
        .hash(Claim::None)
        .without_dictionaries()
        .without_statistics();
    let _ = place.put_quotes(
        FIRST,
        &silent
            .compressed(parquet::basic::Compression::UNCOMPRESSED)
            .bytes(),
    );
    let _ = place.compact(&[]).ended(0);
    in_place(&spool_file(&place, FIRST), |bytes| {
        damage::flip_in_data_page(bytes, "bid_qty", 0, 60);
    });
    let _ = place.put_quotes(LATE, &Events::sealed(late()).bytes());
    let _ = place.compact(&[]).ended(3).says("SOURCE_CHANGED");
    assert_eq!(
        published(&place.archive(), &home()).quotes(),
        [first(), late()].concat()
    );
    place.verify();
    assert_eq!(
        quarantine(&place.archive(), &home()).unwrap()["error_type"],
        "SOURCE_CHANGED"
    );
    let _ = place
        .qlc(&["verify", "--rebuild"])
        .ended(0)
        .says("cannot be rebuilt");
    let _ = place.compact(&[]).ended(0).says("nothing to do");
}

#[test]
fn a_file_is_known_by_its_rows() {
    let place = day();
    let before = listing(&place.archive());
    let path = spool_file(&place, FIRST);
    let later = SystemTime::now() + Duration::from_mins(1);
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(later)
        .unwrap();
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    let dated = place
        .spool()
        .join(SERIES)
        .join("date=20260203/part-0.parquet");
    fs::create_dir_all(dated.parent().unwrap()).unwrap();
    fs::rename(&path, &dated).unwrap();
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    assert_eq!(without_notes(listing(&place.archive())), before);
    // And may go by them.
    let _ = place
        .qlc(&["prune", "--keep-days", "0"])
        .ended(0)
        .says("removed 1 file");
    place.verify();
}

#[test]
fn the_good_copy_of_a_salvaged_file_brings_what_was_lost() {
    let rows = quotes(DAY, SECOND, 0, 400);
    let file = Events::sealed(rows.clone()).rows_per_group(100);
    let mut broken = file.bytes();
    damage::scramble_data_page(&mut broken, "bid_qty", 1);
    let place = Place::new();
    let _ = place.put_quotes(FIRST, &broken);
    let _ = place.compact(&["--salvage"]).ended(3);
    assert_eq!(published(&place.archive(), &home()).quotes().len(), 300);
    let _ = place.put_quotes(FIRST, &file.bytes());
    let _ = place.compact(&[]).ended(0);
    assert_eq!(published(&place.archive(), &home()).quotes(), rows);
    place.verify();
    // The damaged file once more, under another name and time: all that reads of it is known.
    let _ = place.put_quotes("2026-02-03_again.parquet", &broken);
    let _ = place.compact(&["--salvage"]);
    assert_eq!(published(&place.archive(), &home()).quotes(), rows);
    place.verify();
}

#[test]
fn what_a_neighbouring_day_archived_whole_is_not_exchanged_for_a_part() {
    let place = Place::new();
    let rows = quotes(DAY + 24 * HOUR - 200 * SECOND, SECOND, 0, 400);
    let file = Events::sealed(rows.clone()).rows_per_group(100);
    let path = place.put_quotes("2026-02-03_23-00-00.parquet", &file.bytes());
    let early = [
        "compact",
        "--mode",
        "daily",
        "--now",
        "2026-02-04T01:00:00Z",
    ];
    let _ = place.qlc(&early).ended(0);
    in_place(&path, |bytes| {
        damage::scramble_data_page(bytes, "bid_qty", 1);
    });
    let _ = place.compact(&["--salvage"]).ended(3);
    let _ = place.put_quotes(LATE, &Events::sealed(late()).bytes());
    let _ = place.compact(&[]);
    let today: Vec<Quote> = [late(), rows[..200].to_vec()].concat();
    assert_eq!(published(&place.archive(), &home()).quotes(), today);
    place.verify();
}

#[test]
fn an_archive_of_version_0_1_0_is_read_and_goes_on() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/0.1.0");
    let place = Place::new();
    copy(&fixture.join("archive"), &place.archive());
    place.verify();
    // Its spool files have other times in every checkout: their rows tell that they are known.
    copy(&fixture.join("spool"), &place.spool());
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    place.verify();
    // A rebuild encodes as these were encoded, with dictionaries of all strings.
    let _ = place.qlc(&["verify", "--rebuild"]).ended(0);
    let old = published(&place.archive(), &home()).quotes();
    let _ = place.put_quotes(LATE, &Events::sealed(late()).bytes());
    let _ = place.compact(&["-v"]).ended(0).says("1 new file");
    assert_eq!(
        published(&place.archive(), &home()).quotes(),
        [old, late()].concat()
    );
    place.verify();
    // A day of which only such a receipt is left was published.
    let trade = "exchange=binance/stream=trade/symbol=btcusdt";
    fs::remove_dir_all(place.archive().join(trade)).unwrap();
    fs::remove_dir_all(place.spool().join(trade)).unwrap();
    for entry in fs::read_dir(
        place
            .archive()
            .join("_receipts")
            .join(trade)
            .join("date=20260203"),
    )
    .unwrap()
    {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "published") {
            fs::remove_file(path).unwrap();
        }
    }
    let _ = place
        .qlc(&["verify"])
        .ended(4)
        .says("its data.parquet is gone");
}

#[test]
fn encodings_of_a_later_version_are_not_called_damaged() {
    let place = day();
    let receipts = place.archive().join("_receipts").join(home());
    let receipt = listing(&receipts)
        .into_keys()
        .find(|name| Path::new(name).extension() == Some("json".as_ref()))
        .unwrap();
    let path = receipts.join(receipt);
    let text = fs::read_to_string(&path).unwrap();
    let later = text.replace("\"encoding\": 2", "\"encoding\": 1000");
    assert!(later != text, "{text}");
    fs::write(path, later).unwrap();
    let _ = place
        .qlc(&["verify", "--rebuild"])
        .ended(0)
        .says("a later version of qlc wrote its bytes");
}

#[test]
fn nothing_that_is_kept_is_overwritten() {
    let place = day();
    let bad = "2026-02-03_09-00-00.parquet";
    let _ = place.put_quotes(bad, b"PAR1 the first bad bytes");
    let _ = place.compact(&[]).ended(3);
    let folder = place.archive().join("QUARANTINE").join(home());
    // A run that was killed has kept bytes and not yet told of them.
    fs::remove_file(folder.join("error.json")).unwrap();
    let _ = place.put_quotes(bad, b"PAR1 other bad bytes, and more of them");
    let _ = place.compact(&[]).ended(3);
    let kept: Vec<Vec<u8>> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "parquet"))
        .map(|path| fs::read(path).unwrap())
        .collect();
    assert_eq!(kept.len(), 2);
    // An entry of a later version stays as it is.
    let error = folder.join("error.json");
    let text = fs::read_to_string(&error).unwrap();
    let kind = quarantine(&place.archive(), &home()).unwrap()["error_type"]
        .as_str()
        .unwrap()
        .to_owned();
    fs::write(&error, text.replace(&kind, "OF_A_LATER_VERSION")).unwrap();
    let _ = place.put_quotes("2026-02-03_10-00-00.parquet", b"PAR1 a third");
    let _ = place.compact(&[]).ended(3);
    assert!(
        fs::read_to_string(&error)
            .unwrap()
            .contains("OF_A_LATER_VERSION")
    );
    // One that cannot be read at all is never replaced.
    fs::write(&error, b"{").unwrap();
    let _ = place.put_quotes("2026-02-03_11-00-00.parquet", b"PAR1 a fourth");
    let _ = place.compact(&[]).ended(1).says("error.json");
    assert_eq!(fs::read(&error).unwrap(), b"{");
}
