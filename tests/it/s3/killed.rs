//! The process is killed before and after every step on the bucket: as on a folder, the old state
//! is left, or the new one, or one that is recognised as neither, and the next run ends where an
//! undisturbed one does.

use super::{publish::IN_PARTS, put};
use crate::{
    crash::{Scenario, check},
    support::{
        damage,
        events::{DAY, Events, HOUR, Quote, SECOND, quotes},
        run::{Place, SERIES},
    },
};

#[test]
fn killed_anywhere_in_a_first_publish() {
    check(&Scenario {
        place: Place::on_s3,
        env: &[],
        before: |_| {},
        then: |place| put(place, 0),
        code: 0,
    });
}

#[test]
fn killed_anywhere_in_a_first_publish_in_parts() {
    check(&Scenario {
        place: Place::on_s3,
        env: IN_PARTS,
        before: |_| {},
        then: |place| put(place, 0),
        code: 0,
    });
}

#[test]
fn killed_anywhere_while_a_file_and_rows_are_quarantined() {
    check(&Scenario {
        place: Place::on_s3,
        env: &[],
        before: |_| {},
        then: |place| {
            put(place, 0);
            let file = Events::sealed(quotes(DAY, SECOND, 0, 5)).bytes();
            let _ = place.put_quotes(
                "2026-02-03_00-01-00.parquet",
                &damage::truncated(&file, file.len() / 2),
            );
            let far = Quote {
                ts_event: DAY + 90 * HOUR,
                ..quotes(DAY, 1, 9, 1)[0]
            };
            let rows = [quotes(DAY, SECOND, 10, 3), vec![far]].concat();
            let _ = place.put_quotes("2026-02-03_00-02-00.parquet", &Events::sealed(rows).bytes());
        },
        code: 3,
    });
}

#[test]
fn killed_anywhere_while_a_late_file_is_added_to_what_left_the_spool() {
    check(&Scenario {
        place: Place::on_s3,
        env: &[],
        before: |place| {
            put(place, 0);
            let _ = place.compact(&[]).ended(0);
            std::fs::remove_file(
                place
                    .spool()
                    .join(SERIES)
                    .join("2026-02-03_00-00-00.parquet"),
            )
            .unwrap();
        },
        then: |place| put(place, 3),
        code: 0,
    });
}

#[test]
fn killed_anywhere_with_the_spool_in_the_bucket_too() {
    check(&Scenario {
        place: Place::all_on_s3,
        env: &[],
        before: |_| {},
        then: |place| put(place, 0),
        code: 0,
    });
}
