//! What commands print: each thing once, and only what was not plain unless all is asked for.

use super::support::{
    events::{DAY, Events, SECOND, quotes},
    run::{Place, Ran},
};

/// A good file and one that is none.
fn mixed() -> Place {
    let place = Place::new();
    let rows = Events::sealed(quotes(DAY, SECOND, 0, 50)).bytes();
    let _ = place.put_quotes("2026-02-03_00.parquet", &rows);
    let _ = place.put(
        "exchange=binance/stream=bbo/symbol=btcusdt/2026-02-03_01.parquet",
        b"PAR1 no file PAR1",
    );
    place
}

/// How often `text` is in stdout and stderr together, but for the log.
fn told(ran: &Ran, text: &str) -> usize {
    let own = ran.stderr.lines().filter(|line| line.starts_with("qlc: "));
    ran.stdout
        .lines()
        .chain(own)
        .filter(|line| line.contains(text))
        .count()
}

#[test]
fn compact_lists_what_was_not_plain_and_everything_when_asked() {
    let place = mixed();
    let ran = place.compact(&[]).ended(3);
    assert_eq!(ran.stdout.lines().count(), 2, "{ran}");
    assert_eq!(told(&ran, "binance/bbo/btcusdt/20260203"), 1, "{ran}");
    assert!(
        ran.stdout
            .contains("\n1 partition: 1 done, 1 quarantined; 50 rows, "),
        "{ran}"
    );

    let again = place.compact(&[]).ended(0);
    assert!(
        again
            .stdout
            .contains("nothing to do for binance/bbo/btcusdt/20260203, because up to date"),
        "{again}"
    );
    assert_eq!(again.stdout.lines().count(), 2, "{again}");
    let forced = place.compact(&["-v", "--force"]).ended(0);
    assert!(
        forced.stdout.starts_with("partition ") && forced.stdout.contains("forced"),
        "{forced}"
    );
}

#[test]
fn verify_lists_findings_and_everything_when_asked() {
    let place = mixed();
    let _ = place.compact(&[]).ended(3);
    let sound = place.qlc(&["verify"]).ended(0);
    assert_eq!(sound.stdout.lines().count(), 1, "{sound}");
    assert!(
        sound.stdout.starts_with("1 partition sound; 50 rows, "),
        "{sound}"
    );
    let all = place.qlc(&["verify", "-v"]).ended(0);
    assert!(
        all.stdout.starts_with("partition ") && all.stdout.lines().count() == 3,
        "{all}"
    );

    std::fs::remove_dir_all(place.archive().join("_receipts")).unwrap();
    let damaged = place.qlc(&["verify"]).ended(4);
    assert!(
        damaged.stdout.contains("1 of 1 partition damaged; "),
        "{damaged}"
    );
    let findings = damaged
        .stdout
        .lines()
        .filter(|line| line.starts_with("binance/bbo/btcusdt/20260203: "));
    assert_eq!(
        findings.count() + 1,
        damaged.stdout.lines().count(),
        "{damaged}"
    );
}
