//! `deploy/backfill.sh`, which goes over days one by one.

use std::process::Command;

use super::support::{
    events::{DAY, Events, HOUR, SECOND, quotes},
    run::{Place, program},
};

#[test]
fn days_without_data_are_passed_over() {
    let place = Place::new();
    let _ = place.put_quotes(
        "2026-02-03_00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 3)).bytes(),
    );
    let later = quotes(DAY + 48 * HOUR, SECOND, 0, 3);
    let _ = place.put_quotes("2026-02-05_00.parquet", &Events::sealed(later).bytes());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/backfill.sh");
    let ran = Command::new("bash")
        .args([script, "20260202", "20260206"])
        .env("QLC", program())
        .env("QLC_SPOOL", place.spool())
        .env("QLC_ARCHIVE", place.archive())
        .env("QLC_SPILL_DIR", place.spill())
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    assert_eq!(ran.status.code(), Some(0), "{said}");
    let days = place
        .qlc(&[
            "query",
            "SELECT date FROM archive.meta ORDER BY date",
            "--format",
            "csv",
        ])
        .ended(0);
    assert_eq!(days.stdout, "date\n20260203\n20260205\n", "{said}");
    place.verify();
    // Wrong settings end it at once.
    let wrong = Command::new("bash")
        .args([script, "20260202", "20260206"])
        .env("QLC", program())
        .env("QLC_SPOOL", place.root().join("absent"))
        .env("QLC_ARCHIVE", place.archive())
        .output()
        .unwrap();
    assert_eq!(
        wrong.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&wrong.stderr)
    );
}
