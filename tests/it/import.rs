//! `qlc import`: archives of another program are adopted where they are right, and left alone with
//! reasons where not.

use std::{fs, path::Path};

use serde_json::json;

use super::support::{
    archive::{dir, home, listing, published, sha256},
    damage,
    events::{Claim, DAY, Events, HOUR, Quote, SECOND, quotes},
    rewrite,
    run::{NOW, Place, SERIES},
};

/// Data as the Python pipeline left it: nothing in its footer is qlc's.
fn foreign(rows: Vec<Quote>) -> Events {
    Events::sealed(rows).undeclared().hash(Claim::None)
}

fn good() -> Vec<Quote> {
    quotes(DAY, SECOND, 0, 300)
}

/// The meta of the Python pipeline.
fn meta(rows: usize, min: i64, max: i64) -> Vec<u8> {
    let meta = json!({"rows": rows, "ts_event_min": min, "ts_event_max": max, "schema_version": 1});
    serde_json::to_vec(&meta).unwrap()
}

fn meta_of(rows: &[Quote]) -> Vec<u8> {
    let times = || rows.iter().map(|r| r.ts_event);
    meta(rows.len(), times().min().unwrap(), times().max().unwrap())
}

/// Puts a partition into an archive.
fn put(archive: &Path, dir: &str, data: &[u8], meta: &[u8]) {
    let folder = archive.join(dir);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("data.parquet"), data).unwrap();
    fs::write(folder.join("meta.json"), meta).unwrap();
}

fn put_good(archive: &Path) -> Vec<u8> {
    let data = foreign(good()).bytes();
    put(archive, &home(), &data, &meta_of(&good()));
    data
}

#[test]
fn what_is_right_is_adopted_in_its_place_and_its_bytes_stay() {
    let place = Place::new();
    let data = put_good(&place.archive());
    let before = listing(&place.archive());
    let dry = place
        .qlc(&["import", "--dry-run", "--format", "json"])
        .ended(0);
    assert_eq!(dry.json()[0]["outcome"], "adoptable");
    assert_eq!(
        listing(&place.archive()),
        before,
        "a dry run changes nothing"
    );

    let ran = place
        .qlc(&["import"])
        .ended(0)
        .says("1 partition: 1 adopted");
    assert!(!ran.stdout.contains("because"), "{ran}");
    let partition = published(&place.archive(), &home());
    assert_eq!(partition.bytes, data);
    assert_eq!(partition.quotes(), good());
    assert_eq!(partition.receipt["adopted"], true);
    assert_eq!(
        partition.receipt["sources"][0]["name"],
        format!("{}/data.parquet", home())
    );
    assert_eq!(partition.meta["source_files"], 1);
    place.verify();
    place.is_tidy();

    let after = listing(&place.archive());
    let again = place.qlc(&["import"]).ended(0).says("1 up-to-date");
    assert!(again.stdout.contains("nothing to do"), "{again}");
    assert_eq!(listing(&place.archive()), after);
    // Compaction finds nothing to do either: the archive holds what the receipt says.
    let day = [
        "--mode", "backfill", "--start", "20260203", "--end", "20260203", "--now", NOW,
    ];
    let _ = place
        .qlc(&[&["compact", "-v"], &day[..]].concat())
        .ended(0)
        .says("up to date");
    assert_eq!(listing(&place.archive()), after);
}

#[test]
fn a_late_file_is_merged_with_adopted_data() {
    for base in [
        foreign(good()),
        foreign(good()).times(super::support::events::Times::Int64(
            arrow::datatypes::TimeUnit::Millisecond,
        )),
    ] {
        let place = Place::new();
        let data = base.bytes();
        put(&place.archive(), &home(), &data, &meta_of(&good()));
        let _ = place.qlc(&["import"]).ended(0);
        place.verify();
        // Whether the rows of a file that was there before are in it is told by the rows.
        let early = base.clone().taking(10);
        let early = place.put_quotes("2026-02-03_00-30-00.parquet", &early.bytes());
        fs::File::options()
            .write(true)
            .open(&early)
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
        let _ = place
            .compact(&["-v"])
            .ended(0)
            .says("the archived data holds every row of 1 new file");
        assert_eq!(published(&place.archive(), &home()).bytes, data);
        place.verify();
        fs::remove_file(&early).unwrap();
        let late = quotes(DAY + 100 * SECOND + 1, SECOND, 1_000, 50);
        let _ = place.put_quotes(
            "2026-02-03_01-00-00.parquet",
            &Events::sealed(late.clone()).bytes(),
        );
        let _ = place
            .compact(&["-v"])
            .ended(0)
            .says("the archived data has the rows of 1 file");
        let mut all: Vec<Quote> = good().into_iter().chain(late).collect();
        all.sort_by_key(|q| (q.ts_event, q.seq));
        let partition = published(&place.archive(), &home());
        assert_eq!(partition.quotes(), all);
        assert_eq!(partition.receipt["base"]["sha256"], sha256(&data));
        assert_eq!(partition.receipt.get("adopted"), None);
        assert_eq!(partition.meta["source_files"], 2);
        place.verify();
        let _ = place.compact(&["-v"]).ended(0).says("up to date");
        let _ = place.qlc(&["import"]).ended(0).says("1 up-to-date");
    }
}

#[test]
fn an_old_archive_elsewhere_is_copied_byte_for_byte_and_never_over_a_partition() {
    let place = Place::new();
    let old = place.root().join("old");
    let data = put_good(&old);
    let other = dir("binance", "bbo", "btcusdt", "20260204");
    let next = quotes(DAY + 24 * HOUR, SECOND, 0, 10);
    put(
        &old,
        &other,
        &foreign(next.clone()).bytes(),
        &meta_of(&next),
    );
    let before = listing(&old);
    // One of the two days is in the archive already, from other rows.
    let _ = place.put_quotes(
        "2026-02-04_00-00-00.parquet",
        &Events::sealed(quotes(DAY + 24 * HOUR, SECOND, 5, 7)).bytes(),
    );
    let _ = place.compact(&[]).ended(0);
    let stands = published(&place.archive(), &other).bytes;

    let from = old.display().to_string();
    let ran = place
        .qlc(&["import", "--from", &from, "--format", "json"])
        .ended(1);
    let [copied, left] = &ran.json()[..] else {
        panic!("{ran}")
    };
    assert_eq!(
        (copied["outcome"].as_str(), left["outcome"].as_str()),
        (Some("adopted"), Some("unfit"))
    );
    assert!(
        left["reasons"][0].as_str().unwrap().contains("already"),
        "{ran}"
    );
    assert_eq!(published(&place.archive(), &home()).bytes, data);
    assert_eq!(published(&place.archive(), &other).bytes, stands);
    assert_eq!(listing(&old), before, "the old archive is only read");
    place.verify();
    place.is_tidy();
    let _ = place
        .qlc(&["import", "--from", &from, "--date", "20260203"])
        .ended(0)
        .says("1 up-to-date");

    // The commands that were told add the rows of the day that was there.
    run(&place, &left["mend"]);
    let all = published(&place.archive(), &other);
    assert_eq!(all.data.batch.num_rows(), 17);
    place.verify();
}

#[test]
fn which_files_adopted_data_was_made_of_is_told_by_rows_and_what_is_younger_came_late() {
    let rows = good();
    let old = |from: usize, to: usize| foreign(rows[from..to].to_vec());
    let count = |place: &Place| published(&place.archive(), &home()).data.batch.num_rows();
    let adopted = || {
        let place = Place::new();
        let _ = put_good(&place.archive());
        let _ = place.qlc(&["import"]).ended(0);
        place
    };
    // Files that together have just its rows, whenever they were copied.
    let place = adopted();
    let _ = place.put_quotes("2026-02-03_00.parquet", &old(0, 100).bytes());
    let _ = place.put_quotes("2026-02-03_01.parquet", &old(100, 300).bytes());
    let _ = place
        .compact(&["-v"])
        .ended(0)
        .says("every row of 2 new files");
    assert_eq!(count(&place), 300);
    place.verify();
    // A file without numbers, which are what such a pipeline adds; a part of its rows is new.
    let place = adopted();
    let more = [&rows[290..], &quotes(DAY + HOUR, SECOND, 7_000, 5)].concat();
    let _ = place.put_quotes(
        "2026-02-03_02.parquet",
        &foreign(more).without_seq().bytes(),
    );
    let _ = place
        .compact(&["-v"])
        .ended(0)
        .says("10 rows of its files were in the archive already");
    assert_eq!(count(&place), 305);
    place.verify();
    // A younger file with numbers came late: equal events are events.
    let place = adopted();
    let _ = place.put_quotes("2026-02-03_03.parquet", &old(0, 10).bytes());
    let _ = place.compact(&[]).ended(0);
    assert_eq!(count(&place), 310);
    place.verify();
}

/// Runs the commands that an import told, with the binary of the tests.
/// The files that adopted data was made of are known, and still give other bytes.
#[test]
fn adopted_data_cannot_be_rebuilt() {
    let place = Place::new();
    let _ = put_good(&place.archive());
    let _ = place.qlc(&["import"]).ended(0);
    let rebuild = || place.qlc(&["verify", "--rebuild"]);
    let _ = rebuild().ended(0).says("cannot be rebuilt");
    let _ = place.put_quotes("2026-02-03_01.parquet", &foreign(good()).bytes());
    let _ = place.compact(&[]).ended(0);
    let _ = rebuild().ended(0).says("another program wrote its bytes");
}

fn run(place: &Place, commands: &serde_json::Value) {
    for line in commands.as_array().unwrap() {
        let line = line.as_str().unwrap();
        if let Some(args) = line.strip_prefix("qlc ") {
            let args: Vec<&str> = args
                .split_whitespace()
                .skip_while(|word| *word != "import")
                .collect();
            let _ = place.qlc(&args).ended(0);
        } else {
            let ended = std::process::Command::new("sh")
                .args(["-c", line])
                .status()
                .unwrap();
            assert!(ended.success(), "{line}");
        }
    }
}

/// The outcome of data and meta, a reason, and the exit code.
type Case = (&'static str, Vec<u8>, Vec<u8>, &'static str, i32);

#[test]
fn what_is_not_right_is_left_alone_with_a_reason() {
    let mut shuffled = good();
    shuffled.swap(10, 20);
    let mut twice = good();
    twice[5].ts_event += 24 * HOUR;
    let mut broken = foreign(good()).bytes();
    damage::scramble_data_page(&mut broken, "bid_price", 0);
    let whole = foreign(good()).bytes();
    let cases: [Case; 8] = [
        (
            "unfit",
            foreign(shuffled.clone()).bytes(),
            meta_of(&shuffled),
            "out of order",
            1,
        ),
        (
            "unfit",
            foreign(twice.clone()).bytes(),
            meta_of(&twice),
            "not of this day",
            1,
        ),
        (
            "unfit",
            foreign(good()).without_seq().bytes(),
            meta_of(&good()),
            "there is no column seq",
            1,
        ),
        (
            "unfit",
            foreign(good()).series("okx", "bbo", "BTCUSDT").bytes(),
            meta_of(&good()),
            "name of another exchange",
            1,
        ),
        (
            "damaged",
            whole.clone(),
            meta(299, DAY, DAY + 299 * SECOND),
            "meta.json says 299",
            4,
        ),
        (
            "damaged",
            whole.clone(),
            meta(300, DAY + 1, DAY + 299 * SECOND),
            "ts_event_min is",
            4,
        ),
        ("damaged", broken, meta_of(&good()), "data.parquet: ", 4),
        (
            "damaged",
            damage::truncated(&whole, whole.len() - 100),
            meta_of(&good()),
            "TRUNCATED",
            4,
        ),
    ];
    for (outcome, data, meta, reason, code) in cases {
        let place = Place::new();
        put(&place.archive(), &home(), &data, &meta);
        let before = listing(&place.archive());
        for more in [&["--dry-run"][..], &[]] {
            let ran = place
                .qlc(&[&["import", "--format", "json"], more].concat())
                .ended(code)
                .says(reason);
            assert_eq!(ran.json()[0]["outcome"], outcome, "{ran}");
            assert_eq!(listing(&place.archive()), before, "{reason}");
        }
    }
    let place = Place::new();
    fs::create_dir_all(place.archive().join(home())).unwrap();
    fs::write(place.archive().join(home()).join("data.parquet"), &whole).unwrap();
    let _ = place
        .qlc(&["import"])
        .ended(1)
        .says("there is no meta.json");
}

#[test]
fn the_commands_that_are_told_have_unfit_rows_compacted() {
    let mut rows = good();
    rows.swap(10, 20);
    rows[299].ts_event = DAY + 24 * HOUR + 5;
    for base in [foreign(rows.clone()), foreign(rows.clone()).without_seq()] {
        let place = Place::new();
        put(&place.archive(), &home(), &base.bytes(), &meta_of(&rows));
        let ran = place.qlc(&["import", "--format", "json"]).ended(1);
        run(&place, &ran.json()[0]["mend"]);
        assert_eq!(
            published(&place.archive(), &home()).data.batch.num_rows(),
            299
        );
        let next = dir("binance", "bbo", "btcusdt", "20260204");
        assert_eq!(published(&place.archive(), &next).data.batch.num_rows(), 1);
        place.verify();
        let _ = place.qlc(&["import"]).ended(0).says("2 up-to-date");
        assert!(
            place
                .archive()
                .join("_imported")
                .join(home())
                .join("meta.json")
                .is_file()
        );
    }
}

#[test]
fn an_import_that_was_killed_is_completed_by_the_next_one() {
    for from in [false, true] {
        let mut point = 0;
        loop {
            point += 1;
            let place = Place::new();
            let old = if from {
                place.root().join("old")
            } else {
                place.archive()
            };
            let data = put_good(&old);
            let old = old.display().to_string();
            let args = if from {
                vec!["import", "--from", &old]
            } else {
                vec!["import"]
            };
            let killed = place
                .qlc_env(&args, &[("QLC_CRASH_AT", &point.to_string())])
                .code
                .is_none();
            let _ = place.qlc(&args).ended(0);
            assert_eq!(
                published(&place.archive(), &home()).bytes,
                data,
                "point {point}"
            );
            place.verify();
            let _ = place.qlc(&["clean", "--older-than", "0s"]).ended(0);
            place.is_tidy();
            place.verify();
            if !killed {
                break;
            }
        }
        assert!(point > 10, "the import has {point} crash points");
    }
}

#[test]
fn an_archive_in_a_bucket_is_adopted_too() {
    let place = Place::on_s3();
    let data = foreign(good()).bytes();
    let old = place.root().join("old");
    put(&old, &home(), &data, &meta_of(&good()));
    let from = old.display().to_string();
    let _ = place
        .qlc(&["import", "--from", &from])
        .ended(0)
        .says("1 adopted");
    place.verify();
    place.leaves_nothing();
    assert_eq!(published(&place.archive(), &home()).bytes, data);
    let _ = place
        .qlc(&["import", "--from", &from])
        .ended(0)
        .says("1 up-to-date");

    let place = Place::on_s3();
    for (name, bytes) in [
        ("data.parquet", data.clone()),
        ("meta.json", meta_of(&good())),
    ] {
        place.server().put(
            &format!("{}/{}/{name}", super::support::s3::ARCHIVE, home()),
            &bytes,
        );
    }
    let _ = place.qlc(&["import"]).ended(0).says("1 adopted");
    place.verify();
    let late = quotes(DAY + HOUR, SECOND, 5_000, 5);
    let _ = place.put(
        &format!("{SERIES}/2026-02-03_01-00-00.parquet"),
        &Events::sealed(late).bytes(),
    );
    let _ = place.compact(&[]).ended(0);
    assert_eq!(
        published(&place.archive(), &home()).data.batch.num_rows(),
        305
    );
    place.verify();
}

#[test]
fn what_was_typed_wrong_is_told() {
    let place = Place::new();
    let _ = place
        .qlc(&["import", "--from", "nowhere"])
        .ended(2)
        .says("nowhere: there is no such folder");
    let _ = put_good(&place.archive());
    let _ = place
        .qlc(&["import", "--symbol", "ethusdt"])
        .ended(2)
        .says("nothing there matches");
    let own = place.archive().display().to_string();
    let _ = place
        .qlc(&["import", "--from", &own])
        .ended(2)
        .says("leave out --from");
    let stray = place.archive().join(home()).join("_SUCCESS");
    fs::write(&stray, "").unwrap();
    // A document beside sound data is no damage; its meta.json and the others are kept, too.
    let _ = place.qlc(&["import"]).ended(0);
    assert!(
        stray.is_file()
            && place
                .archive()
                .join("_imported")
                .join(home())
                .join("meta.json")
                .is_file()
    );
    place.verify();
    // A Parquet file is: whoever reads the folder reads its rows.
    let _ = fs::copy(
        place.archive().join(home()).join("data.parquet"),
        stray.with_file_name("more.parquet"),
    )
    .unwrap();
    let _ = place
        .qlc(&["verify"])
        .ended(4)
        .says("more.parquet does not belong");
}

#[test]
fn data_that_contradicts_its_own_footer_is_not_adopted() {
    // By its footer the day ends after ten rows: whoever asks for a later hour would not find the
    // others.
    let place = Place::new();
    let data = rewrite::with_span(&foreign(good()).bytes(), "ts_event", DAY, DAY + 10 * SECOND);
    put(&place.archive(), &home(), &data, &meta_of(&good()));
    let before = listing(&place.archive());
    let _ = place
        .qlc(&["import"])
        .ended(4)
        .says("STATISTICS_CONTRADICTED");
    assert_eq!(listing(&place.archive()), before);
}
