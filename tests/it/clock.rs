//! A clock that is off, or that steps back, changes what day "yesterday" is, and never a row.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use qlc::{
    compact::{Outcome, Status, Watch},
    model::partition::Partition,
};

use super::support::{
    archive::{dir, home, published},
    events::{DAY, Events, HOUR, SECOND, quotes},
    inside,
    run::{Place, SERIES},
};

fn put(place: &Place, second: i64) -> PathBuf {
    let file = Events::sealed(quotes(DAY + second * SECOND, SECOND, second, 50));
    place.put_quotes(
        &format!("2026-02-03_00-00-{second:02}.parquet"),
        &file.bytes(),
    )
}

fn set_modified(path: &Path, to: SystemTime) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(to)
        .unwrap();
}

/// The bytes when nothing is wrong with any clock.
fn undisturbed(seconds: &[i64]) -> Vec<u8> {
    let place = Place::new();
    for second in seconds {
        let _ = put(&place, *second);
    }
    let _ = place.compact(&[]).ended(0);
    published(&place.archive(), &home()).bytes
}

#[test]
fn a_clock_an_hour_off_decides_only_what_today_is() {
    let compact = ["compact", "--mode", "catch-up", "--now"];
    let at = |place: &Place, now: &str| place.qlc(&[&compact[..], &[now]].concat()).ended(0);
    let place = Place::new();
    let _ = put(&place, 0);
    // It is half past midnight; the clock says half past eleven, and the day is not over.
    let _ = at(&place, "2026-02-03T23:30:00Z");
    assert!(!place.archive().join(home()).exists());
    let _ = at(&place, "2026-02-04T00:30:00Z");
    assert_eq!(
        published(&place.archive(), &home()).bytes,
        undisturbed(&[0])
    );
    // Ahead by an hour: the day is taken too early, and what comes afterwards is late, not lost.
    let place = Place::new();
    let _ = put(&place, 0);
    let _ = at(&place, "2026-02-04T00:30:00Z");
    let _ = put(&place, 9);
    // Stepped back, it is today again: nothing is undone, nothing is added before the day is over.
    let _ = at(&place, "2026-02-03T23:30:00Z");
    assert_eq!(
        published(&place.archive(), &home()).bytes,
        undisturbed(&[0])
    );
    place.verify();
    let _ = at(&place, "2026-02-04T00:00:00Z");
    assert_eq!(
        published(&place.archive(), &home()).bytes,
        undisturbed(&[0, 9])
    );
    place.verify();
    place.is_tidy();
}

#[test]
fn times_of_files_an_hour_off_cost_a_look_inside_and_no_row() {
    let place = Place::new();
    let files = [put(&place, 0), put(&place, 9)];
    let now = SystemTime::now();
    let hour = Duration::from_hours(1);
    set_modified(&files[0], now + hour);
    set_modified(&files[1], now - hour);
    let _ = place.compact(&[]).ended(0);
    let bytes = undisturbed(&[0, 9]);
    assert_eq!(published(&place.archive(), &home()).bytes, bytes);
    for times in [
        [now - hour, now + hour],
        [SystemTime::UNIX_EPOCH, now + 1000 * hour],
    ] {
        files
            .iter()
            .zip(times)
            .for_each(|(file, time)| set_modified(file, time));
        let _ = place.compact(&[]).ended(0).says("nothing to do");
        assert_eq!(published(&place.archive(), &home()).bytes, bytes);
    }
    // A late file that is older than everything in the archive, by the clock.
    set_modified(&put(&place, 20), now - 1000 * hour);
    let _ = place.compact(&["-v"]).ended(0).says("1 new file");
    assert_eq!(
        published(&place.archive(), &home()).bytes,
        undisturbed(&[0, 9, 20])
    );
    place.verify();
    place.is_tidy();
}

/// Sets the clock of the file system back while the partition is made.
struct SteppingBack(Vec<PathBuf>);

impl Watch for SteppingBack {
    fn begin(&self, _: usize) {}
    fn partition_begins(&self, _: &Partition, _: u64, _: u64) {
        for path in &self.0 {
            set_modified(path, SystemTime::now() - Duration::from_hours(1));
        }
    }
    fn progress(&self, _: u64, _: u64) {}
    fn partition_ends(&self, _: &Outcome) {}
}

#[test]
fn a_clock_that_steps_back_in_mid_run() {
    let place = Place::new();
    let files = vec![put(&place, 0), put(&place, 9)];
    inside::runtime().block_on(async {
        let mut options = inside::options(place.root());
        let outcomes = inside::watched(place.root(), &options, Arc::new(SteppingBack(files))).await;
        // A file of another time than was listed may have changed: taking it or failing are both
        // right, other rows are not.
        let path = place.archive().join(home()).join("data.parquet");
        match outcomes[0].status {
            Status::Done => assert_eq!(fs::read(path).unwrap(), undisturbed(&[0, 9])),
            Status::Failed => assert!(!path.exists(), "{outcomes:?}"),
            other => panic!("{other:?}: {outcomes:?}"),
        }
        // The next run has an earlier "now" than the one before it.
        options.now -= Duration::from_hours(1);
        let _ = put(&place, 20);
        let outcomes =
            inside::watched(place.root(), &options, Arc::new(qlc::compact::Silent)).await;
        assert_eq!(outcomes[0].status, Status::Done, "{outcomes:?}");
        assert_eq!(inside::findings(place.root()).await, Vec::<String>::new());
    });
    assert_eq!(
        published(&place.archive(), &home()).bytes,
        undisturbed(&[0, 9, 20])
    );
    place.is_tidy();
}

#[test]
fn rows_of_a_clock_an_hour_ahead_belong_to_the_day_that_they_say() {
    // What a recorder with a wrong clock calls tomorrow is filed under the day of `ts_event`, each
    // row once.
    let place = Place::new();
    let midnight = DAY + 24 * HOUR;
    let rows = quotes(midnight - 30 * SECOND, SECOND, 0, 60);
    let _ = place.put(
        &format!("{SERIES}/2026-02-04_00-59-30.parquet"),
        &Events::sealed(rows.clone()).bytes(),
    );
    let _ = place.compact(&[]).ended(0);
    let next = dir("binance", "bbo", "btcusdt", "20260204");
    assert_eq!(published(&place.archive(), &home()).quotes(), rows[..30]);
    assert_eq!(published(&place.archive(), &next).quotes(), rows[30..]);
    place.verify();
}
