//! `qlc status`: every state a day can be in, from what stands in folders and buckets; the exit
//! code of `--strict`.

use std::fs;

use super::support::{
    archive::{dir, listing},
    events::{DAY, Events, HOUR, MINUTE, Quote, quotes},
    run::{NOW, Place, Ran, SERIES},
};

const A_DAY: i64 = 24 * HOUR;

/// A quote a minute from one hour of a day to another; the day counts from 2026-02-03.
fn hours(day: i64, from: i64, to: i64) -> Vec<Quote> {
    quotes(
        DAY + day * A_DAY + from * HOUR,
        MINUTE,
        from * 60,
        (to - from) * 60,
    )
}

fn put(place: &Place, file: &str, rows: Vec<Quote>) {
    let _ = place.put_quotes(file, &Events::sealed(rows).bytes());
}

/// An archive with a day of each kind, from 2026-01-30 to 2026-02-04.
pub fn every_kind(place: &Place) {
    put(place, "2026-01-30_00-00-00.parquet", hours(-4, 0, 24));
    put(place, "2026-01-31_00-00-00.parquet", hours(-3, 0, 24));
    let bad = Events::sealed(hours(-3, 0, 24)).bytes();
    let _ = place.put_quotes("2026-01-31_12-00-00.parquet", &bad[..bad.len() - 20]);
    put(place, "2026-02-01_00-00-00.parquet", hours(-2, 0, 24));
    // Nothing of 2026-02-02.
    put(place, "2026-02-03_00-00-00.parquet", hours(0, 0, 3));
    put(place, "2026-02-03_06-30-00.parquet", hours(0, 7, 24));
    let _ = place.compact(&[]).ended(3);
    // What came after the compaction.
    put(
        place,
        "2026-01-30_23-00-00.parquet",
        quotes(DAY - 4 * A_DAY + 23 * HOUR + 1, MINUTE, 9_000, 5),
    );
    put(place, "2026-02-04_00-00-00.parquet", hours(1, 0, 24));
}

pub fn status(place: &Place, more: &[&str]) -> Ran {
    place.qlc(&[&["status", "--now", NOW], more].concat())
}

fn states(ran: &Ran) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    ran.json()
        .iter()
        .map(|cell| (text(&cell["date"]), text(&cell["state"])))
        .collect()
}

const EVERY_KIND: [(&str, &str); 6] = [
    ("20260130", "new-files"),
    ("20260131", "quarantined"),
    ("20260201", "complete"),
    ("20260202", "missing"),
    ("20260203", "gaps"),
    ("20260204", "pending"),
];

fn is_every_kind(place: &Place) {
    let before = (listing(&place.archive()), listing(&place.spool()));
    let ran = status(place, &["--format", "json"]).ended(0);
    let told = states(&ran);
    let told: Vec<(&str, &str)> = told
        .iter()
        .map(|(day, state)| (day.as_str(), state.as_str()))
        .collect();
    assert_eq!(told, EVERY_KIND, "{ran}");
    let gaps = &ran.json()[4]["gaps"];
    assert_eq!(
        (&gaps[0]["from"], &gaps[0]["to"]),
        (&"03:00".into(), &"07:00".into()),
        "{gaps}"
    );
    assert!(gaps[1].is_null(), "{gaps}");
    assert_eq!(
        (listing(&place.archive()), listing(&place.spool())),
        before,
        "a look changes nothing"
    );
}

#[test]
fn every_state_shows() {
    let place = Place::new();
    every_kind(&place);
    is_every_kind(&place);
    let ran = status(&place, &[]).ended(0);
    let lines = [
        "2026-01              30 31",
        "binance/bbo/btcusdt   +  Q",
        "2026-02              01 02 03 04",
        "binance/bbo/btcusdt   ■  ×  ▤  ◌",
        "missing binance/bbo/btcusdt 20260202: neither the archive nor the spool has anything of it",
        "gaps binance/bbo/btcusdt 20260203: no events 03:00 to 07:00: 3 of 3 other days have events then",
        "  qlc compact --mode single --date 20260204 --exchange binance --stream bbo --symbol btcusdt",
        "1 of 6 partitions complete from 20260130 to 20260204; 1 with gaps, 1 quarantined, 1 with new files, 1 pending, 1 missing",
    ];
    for line in lines {
        assert!(
            ran.stdout.lines().any(|said| said == line),
            "{line:?} is not a line of\n{ran}"
        );
    }
    assert!(
        !ran.stdout.contains('\x1b'),
        "no colours where nobody sees them"
    );
    // What the command that is named does, mends it.
    let _ = place.compact(&[]).ended(0);
    let told = states(&status(&place, &["--format", "json"]).ended(0));
    assert_eq!(
        (told[0].1.as_str(), told[5].1.as_str()),
        ("complete", "complete")
    );
    place.verify();
}

#[test]
fn every_state_shows_on_a_bucket() {
    let place = Place::all_on_s3();
    every_kind(&place);
    is_every_kind(&place);
}

#[test]
fn strict_ends_well_only_when_all_is_there() {
    let place = Place::new();
    // Of nothing, nothing is complete.
    let _ = status(&place, &["--strict"])
        .ended(1)
        .says("nothing is known of");
    let _ = status(&place, &[]).ended(0);
    every_kind(&place);
    let _ = status(&place, &["--strict"]).ended(1);
    let _ = status(&place, &["--strict", "--date", "20260201"])
        .ended(0)
        .says("1 of 1 partition complete");
    let _ = status(
        &place,
        &["--strict", "--start", "20260201", "--end", "20260202"],
    )
    .ended(1);
    // Days before the first are missing where the first day is named.
    let ran = status(
        &place,
        &[
            "--start", "20260128", "--end", "20260129", "--format", "json",
        ],
    )
    .ended(0);
    assert_eq!(
        states(&ran)
            .iter()
            .map(|(_, state)| state.as_str())
            .collect::<Vec<_>>(),
        ["missing", "missing"]
    );
    // Today is not over, whatever is there.
    let ran = status(&place, &["--date", "20260205", "--format", "json"]).ended(0);
    assert_eq!(
        states(&ran),
        [("20260205".to_owned(), "pending".to_owned())]
    );
    let _ = status(&place, &["--symbol", "ethusdt"])
        .ended(2)
        .says("check their spelling");
    let _ = status(&place, &["--start", "20260203", "--end", "20260201"]).ended(2);
}

#[test]
fn quality_windows_judge_before_density() {
    let place = Place::new();
    put(&place, "2026-02-03_00-00-00.parquet", hours(0, 0, 3));
    put(&place, "2026-02-03_06-30-00.parquet", hours(0, 7, 24));
    let _ = place.compact(&[]).ended(0);
    let state = || {
        states(&status(&place, &["--date", "20260203", "--format", "json"]).ended(0))[0]
            .1
            .clone()
    };
    assert_eq!(state(), "gaps");
    let window = |nth: i64, grade: &str| {
        let (hour, minute, start) = (nth / 4, nth % 4 * 15, DAY + nth * 15 * MINUTE);
        let line = format!(
            "{{\"exchange\":\"binance\",\"window_start_ns\":{start},\"grade\":\"{grade}\",\"events_by_stream\":{{\"bbo\":5}}}}\n"
        );
        let _ = place.put(
            &format!("quality/date=20260203/window={hour:02}{minute:02}.json"),
            line.as_bytes(),
        );
    };
    // The collector was there all day: the symbol was quiet.
    for nth in 0..96 {
        window(nth, "A");
    }
    assert_eq!(state(), "complete");
    window(50, "D");
    let ran = status(&place, &["--date", "20260203"]).ended(0);
    let _ = ran.says("no events 12:30 to 12:45: the collector graded it D");
}

#[test]
fn what_does_not_fit_together_is_unproven() {
    let place = Place::new();
    put(&place, "2026-02-03_00-00-00.parquet", hours(0, 0, 24));
    let _ = place.compact(&[]).ended(0);
    let folder = place
        .archive()
        .join(dir("binance", "bbo", "btcusdt", "20260203"));
    let whole = fs::read(folder.join("data.parquet")).unwrap();
    let told = || {
        states(&status(&place, &["--date", "20260203", "--format", "json"]).ended(0))[0]
            .1
            .clone()
    };
    assert_eq!(told(), "complete");
    // Pages that do not decode: the footer still stands.
    let mut broken = whole.clone();
    broken[4..whole.len() / 2].fill(0xff);
    fs::write(folder.join("data.parquet"), broken).unwrap();
    assert_eq!(told(), "unproven");
    fs::write(folder.join("data.parquet"), &whole[..whole.len() - 1]).unwrap();
    assert_eq!(told(), "unproven");
    fs::write(folder.join("data.parquet"), whole).unwrap();
    fs::remove_file(folder.join("meta.json")).unwrap();
    let _ = status(&place, &["--date", "20260203"])
        .ended(0)
        .says("qlc verify --date 20260203");
    assert_eq!(told(), "unproven");
}

#[test]
fn a_machine_without_a_spool_looks_at_the_archive() {
    let place = Place::new();
    put(&place, "2026-02-03_00-00-00.parquet", hours(0, 0, 24));
    let _ = place.compact(&[]).ended(0);
    fs::remove_dir_all(place.spool()).unwrap();
    let ran = status(&place, &["--date", "20260203", "--strict"]).ended(0);
    let _ = ran.says("there is no such spool here");
    assert!(!place.spool().join(SERIES).exists());
}

#[test]
fn a_range_to_the_last_day_that_there_is_ends() {
    let place = Place::new();
    put(&place, "2026-02-03_00-00-00.parquet", hours(0, 0, 1));
    for range in [
        &["--start", "20260203", "--end", "21991231"][..],
        &["--start", "19800101", "--end", "21991231"],
        &["--end", "21991231"],
        &["--start", "21991231", "--end", "21991231"],
    ] {
        let ran = status(&place, range);
        assert!([Some(0), Some(2)].contains(&ran.code), "{ran}");
    }
    // What is to come is not missing.
    let ran = status(
        &place,
        &[
            "--start", "20260203", "--end", "21991231", "--format", "json",
        ],
    )
    .ended(0);
    assert_eq!(states(&ran).len(), 3, "{ran}");
}

#[test]
fn one_late_file_makes_no_gaps_of_other_days() {
    let place = Place::new();
    let sparse = |day: i64| {
        let at = |hour: i64| quotes(DAY + day * A_DAY + hour * HOUR, MINUTE, hour, 1);
        [at(0), at(8), at(16)].concat()
    };
    put(&place, "2026-02-02_00-00-00.parquet", sparse(-1));
    put(&place, "2026-02-03_00-00-00.parquet", sparse(0));
    let _ = place.compact(&[]).ended(0);
    let complete = |when: &str| {
        let ran = status(&place, &["--end", "20260203", "--format", "json"]).ended(0);
        assert!(
            states(&ran).iter().all(|(_, state)| state == "complete"),
            "{when}: {ran}"
        );
    };
    complete("as recorded");
    put(&place, "2026-02-03_12-00-00.parquet", hours(0, 3, 7));
    let _ = place.compact(&[]).ended(0);
    complete("with a late file");
}

/// A collector that was quiet leaves files without rows. They wait for nothing.
#[test]
fn files_without_rows_do_not_keep_a_day_open() {
    let place = Place::new();
    put(&place, "2026-02-03_00-00-00.parquet", hours(0, 0, 24));
    put(&place, "2026-02-03_12-00-00.parquet", Vec::new());
    put(&place, "2026-02-04_00-00-00.parquet", Vec::new());
    let _ = place.compact(&[]).ended(0);
    let range = [
        "--start", "20260203", "--end", "20260204", "--format", "json",
    ];
    let told = |place: &Place| states(&status(place, &range).ended(0));
    let state = |day: &str, state: &str| (day.to_owned(), state.to_owned());
    assert_eq!(
        told(&place),
        [state("20260203", "complete"), state("20260204", "missing")]
    );
    put(&place, "2026-02-04_01-00-00.parquet", hours(1, 1, 2));
    assert_eq!(
        told(&place),
        [state("20260203", "complete"), state("20260204", "pending")]
    );
}

#[test]
fn bytes_in_quarantine_wait_under_no_name() {
    let place = Place::new();
    put(&place, "2026-02-03_00-00-00.parquet", hours(0, 0, 24));
    let bad = Events::sealed(hours(0, 0, 24)).bytes();
    let path = place.put_quotes("2026-02-03_12-00-00.parquet", &bad[..bad.len() - 20]);
    let _ = place.compact(&[]).ended(3);
    let renamed = place
        .spool()
        .join(SERIES)
        .join("2026-01-28_12-00-00.parquet");
    fs::rename(path, renamed).unwrap();
    let _ = place.compact(&[]).ended(0);
    let told = states(&status(&place, &["--format", "json"]).ended(0));
    let first = (told[0].0.as_str(), told[0].1.as_str());
    assert_eq!(first, ("20260128", "missing"));
}
