//! Rows belong to the day of their `ts_event`, whatever their file is called; days that are not
//! over are left alone.

use super::support::{
    archive::{dir, published},
    events::{DAY, Events, HOUR, Quote, SECOND, quotes},
    run::{Place, Ran},
};

const MIDNIGHT: i64 = DAY + 24 * HOUR;

fn of(date: &str) -> String {
    dir("binance", "bbo", "btcusdt", date)
}

fn rows_of(place: &Place, date: &str) -> Vec<Quote> {
    published(&place.archive(), &of(date)).quotes()
}

fn statuses(ran: &Ran) -> Vec<(String, String)> {
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    // The objects come as the partitions are done.
    let mut all: Vec<_> = ran
        .json()
        .iter()
        .map(|o| (text(&o["date"]), text(&o["status"])))
        .collect();
    all.sort();
    all
}

#[test]
fn a_file_that_spans_midnight_feeds_both_days_each_row_once() {
    let place = Place::new();
    let rows = quotes(MIDNIGHT - 100 * SECOND, SECOND, 0, 250);
    let _ = place.put_quotes(
        "2026-02-03_23-58-20.parquet",
        &Events::sealed(rows.clone()).bytes(),
    );
    let ran = place.compact(&["--format", "json"]).ended(0);
    let done = |date: &str| (date.to_owned(), "done".to_owned());
    assert_eq!(
        statuses(&ran),
        [done("20260203"), done("20260204")],
        "{ran}"
    );
    assert_eq!(rows_of(&place, "20260203"), rows[..100]);
    assert_eq!(rows_of(&place, "20260204"), rows[100..]);
    let receipt = published(&place.archive(), &of("20260203")).receipt;
    assert_eq!(
        (
            &receipt["sources"][0]["rows"],
            &receipt["sources"][0]["rows_here"]
        ),
        (&250.into(), &100.into())
    );
    assert_eq!(receipt["sources"][0]["rows_elsewhere"]["20260204"], 150);
    place.verify();
    let _ = place.compact(&[]).ended(0).says("nothing to do");
}

#[test]
fn rows_from_before_midnight_in_a_file_named_after_it() {
    // The collector flushed after midnight what it had received before.
    let place = Place::new();
    let late = quotes(MIDNIGHT - 5 * SECOND, SECOND, 500, 5);
    let day = quotes(DAY, HOUR, 0, 23);
    let _ = place.put_quotes(
        "2026-02-04_00-00-03.parquet",
        &Events::sealed(late.clone()).bytes(),
    );
    let _ = place.put_quotes(
        "2026-02-03_00-00-00.parquet",
        &Events::sealed(day.clone()).bytes(),
    );
    let ran = place.compact(&["--format", "json"]).ended(0);
    assert_eq!(
        statuses(&ran)[0],
        ("20260203".to_owned(), "done".to_owned()),
        "{ran}"
    );
    assert_eq!(rows_of(&place, "20260203"), [day, late].concat());
    assert!(
        !place
            .archive()
            .join(of("20260204"))
            .join("data.parquet")
            .exists()
    );
    place.verify();
}

#[test]
fn rows_from_before_midnight_whose_file_is_the_only_one() {
    let place = Place::new();
    let rows = quotes(MIDNIGHT - 5 * SECOND, SECOND, 0, 10);
    let _ = place.put_quotes(
        "date=20260204/part-0.parquet",
        &Events::sealed(rows.clone()).bytes(),
    );
    let args = [
        "--mode", "single", "--date", "20260203", "--symbol", "btcusdt", "--stream", "bbo",
    ];
    let _ = place.qlc(&[&["compact"][..], &args].concat()).ended(0);
    assert_eq!(rows_of(&place, "20260203"), rows[..5]);
    assert!(!place.archive().join(of("20260204")).exists());
    let _ = place.compact(&[]).ended(0);
    assert_eq!(rows_of(&place, "20260204"), rows[5..]);
    place.verify();
}

#[test]
fn the_first_and_the_last_nanosecond_belong_to_the_day() {
    let place = Place::new();
    let at = |ts_event| Quote {
        ts_event,
        ..quotes(DAY, 1, 0, 1)[0]
    };
    let rows = [DAY - 1, DAY, MIDNIGHT - 1, MIDNIGHT].map(at).to_vec();
    let _ = place.put_quotes(
        "2026-02-03_00-00-00.parquet",
        &Events::sealed(rows.clone()).bytes(),
    );
    let _ = place.compact(&[]).ended(0);
    assert_eq!(rows_of(&place, "20260202"), rows[..1]);
    assert_eq!(rows_of(&place, "20260203"), rows[1..3]);
    assert_eq!(rows_of(&place, "20260204"), rows[3..]);
    place.verify();
}

#[test]
fn today_is_left_alone_until_forced() {
    let place = Place::new();
    let rows = quotes(DAY, SECOND, 0, 20);
    let _ = place.put_quotes(
        "2026-02-03_00-00-00.parquet",
        &Events::sealed(rows.clone()).bytes(),
    );
    let single: &[&str] = &[
        "compact", "--mode", "single", "--date", "20260203", "--symbol", "btcusdt", "--stream",
        "bbo",
    ];
    let at = |now: &'static str, more: &[&'static str]| {
        place.qlc(&[single, &["--now", now], more].concat())
    };
    let _ = at("2026-02-03T23:59:59Z", &[])
        .ended(0)
        .says("today is not over");
    let _ = at("2026-02-01T00:00:00Z", &[])
        .ended(0)
        .says("the day lies in the future");
    let _ = place
        .qlc(&[
            "compact",
            "--mode",
            "catch-up",
            "--now",
            "2026-02-03T23:59:59Z",
        ])
        .ended(0);
    assert!(
        !place
            .archive()
            .join(of("20260203"))
            .join("data.parquet")
            .exists()
    );
    let _ = at("2026-02-03T23:59:59Z", &["--force"]).ended(0);
    assert_eq!(rows_of(&place, "20260203"), rows);
    place.verify();
    // When the day is over, there is nothing left to do.
    let _ = at("2026-02-04T00:00:00Z", &[]).ended(0).says("up to date");
}

#[test]
fn every_mode_takes_the_days_it_means() {
    let place = Place::new();
    for (name, start) in [
        ("2026-02-01_00", DAY - 48 * HOUR),
        ("2026-02-02_00", DAY - 24 * HOUR),
        ("2026-02-03_00", DAY),
    ] {
        let _ = place.put_quotes(
            &format!("{name}.parquet"),
            &Events::sealed(quotes(start, SECOND, 0, 5)).bytes(),
        );
    }
    let dates = |args: &[&str]| {
        let ran = place
            .qlc(&[&["compact", "--format", "json"], args].concat())
            .ended(0);
        let done = statuses(&ran)
            .into_iter()
            .filter(|(_, status)| status == "done");
        done.map(|(date, _)| date).collect::<Vec<_>>()
    };
    // The instant is UTC, whatever its offset says.
    assert_eq!(
        dates(&["--mode", "daily", "--now", "2026-02-03T23:30:00-01:00"]),
        ["20260203"]
    );
    assert_eq!(
        dates(&["--mode", "daily", "--now", "2026-02-04T01:00:00Z"]),
        [""; 0]
    );
    assert_eq!(
        dates(&[
            "--mode",
            "backfill",
            "--start",
            "20260201",
            "--end",
            "20260201",
            "--now",
            "2026-02-05T00:00:00Z"
        ]),
        ["20260201"]
    );
    assert_eq!(
        dates(&["--mode", "catch-up", "--now", "2026-02-05T00:00:00Z"]),
        ["20260202"]
    );
    place.verify();
}
