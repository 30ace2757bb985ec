//! How results look: the text itself, to be read here as on a screen.

use super::*;
use crate::{
    cli::console::Look,
    compact::{Action, Outcome, Outlook, Status},
    model::partition::Partition,
};

const PLAIN: Look = Look {
    width: None,
    colour: false,
};

fn partition(symbol: &str) -> Partition {
    serde_json::from_str(&format!(
        r#"{{"exchange": "binance", "stream": "bbo", "symbol": "{symbol}", "date": "20260203"}}"#
    ))
    .unwrap()
}

fn outcome(symbol: &str, status: Status, message: &str) -> Outcome {
    let done = status == Status::Done;
    Outcome {
        partition: partition(symbol),
        status,
        message: message.to_owned(),
        files: if done { 12 } else { 0 },
        quarantined: 0,
        copies: 0,
        rows_lost: 0,
        rows: if done { 1_234_567 } else { 0 },
        bytes_in: if done { 34_500_000 } else { 0 },
        bytes_out: if done { 10_100_000 } else { 0 },
        seconds: if done { 1.25 } else { 0.0 },
        sha256: done.then(|| "0123456789abcdef".repeat(4)),
        plan: Vec::new(),
        error: None,
        idle: false,
    }
}

fn mixed() -> [Outcome; 5] {
    [
        outcome("btcusdt", Status::Done, "new in the archive"),
        Outcome {
            quarantined: 1,
            ..outcome(
                "ethusdt",
                Status::Done,
                "a.parquet went to QUARANTINE: TRUNCATED",
            )
        },
        outcome("ltcusdt", Status::Done, "new in the archive"),
        outcome("solusdt", Status::Failed, "the disk is full"),
        outcome("xrpusdt", Status::UpToDate, "its data holds all 3 files"),
    ]
}

#[test]
fn only_what_was_not_plain_is_listed_and_summed_up() {
    let want = "\
binance/bbo/ethusdt/20260203: done: a.parquet went to QUARANTINE: TRUNCATED
binance/bbo/solusdt/20260203: failed: the disk is full
5 partitions: 3 done, 1 failed, 1 nothing to do, 1 quarantined; 3,703,701 rows, 104 MB → 30.3 MB
";
    assert_eq!(outcomes(&mixed(), PLAIN, false), want);
}

#[test]
fn all_partitions_are_a_table_with_the_reasons_below() {
    let want = "\
partition                     status               files       rows           in → out  seconds  sha256
binance/bbo/btcusdt/20260203  done                    12  1,234,567  34.5 MB → 10.1 MB      1.2  0123456789ab
binance/bbo/ethusdt/20260203  done, 1 quarantined     12  1,234,567  34.5 MB → 10.1 MB      1.2  0123456789ab
binance/bbo/ltcusdt/20260203  done                    12  1,234,567  34.5 MB → 10.1 MB      1.2  0123456789ab
binance/bbo/solusdt/20260203  failed                   0          0          0 B → 0 B      0.0  -
2 partitions: done: new in the archive
nothing to do for binance/bbo/xrpusdt/20260203, because its data holds all 3 files
binance/bbo/ethusdt/20260203: done: a.parquet went to QUARANTINE: TRUNCATED
binance/bbo/solusdt/20260203: failed: the disk is full
5 partitions: 3 done, 1 failed, 1 nothing to do, 1 quarantined; 3,703,701 rows, 104 MB → 30.3 MB
";
    assert_eq!(outcomes(&mixed(), PLAIN, true), want);
}

#[test]
fn a_narrow_terminal_takes_the_sha256_away_and_breaks_only_the_name() {
    let text = outcomes(
        &[outcome("btcusdt", Status::Done, "")],
        Look {
            width: Some(80),
            colour: false,
        },
        true,
    );
    assert!(
        !text.contains("sha256") && text.contains("34.5 MB → 10.1 MB"),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn colour_is_only_where_it_is_welcome() {
    let all = [outcome("btcusdt", Status::Failed, "x")];
    assert!(!outcomes(&all, PLAIN, true).contains('\u{1b}'));
    assert!(
        outcomes(
            &all,
            Look {
                colour: true,
                ..PLAIN
            },
            true
        )
        .contains('\u{1b}')
    );
}

#[test]
fn many_partitions_at_rest_are_summed_up_by_reason() {
    let reason = |n| {
        if n < 6 {
            "its data holds all its files"
        } else {
            "today is not over"
        }
    };
    let all: Vec<_> = (0..7)
        .map(|n| outcome(&format!("sym{n}"), Status::UpToDate, reason(n)))
        .collect();
    let want = "\
nothing to do for 6 partitions, because its data holds all its files
nothing to do for binance/bbo/sym6/20260203, because today is not over
";
    assert_eq!(
        parts::idle(
            all.iter()
                .map(|one| (&one.partition, one.message.clone()))
                .collect()
        ),
        want
    );
    assert_eq!(
        outcomes(&all, PLAIN, true).lines().count(),
        8,
        "all are listed when asked for"
    );
    assert_eq!(
        outcomes(&all, PLAIN, false),
        "7 partitions: 7 nothing to do\n"
    );
    assert_eq!(
        outcomes(&[], PLAIN, false),
        "nothing to do, because there is no partition to look at\n"
    );
}

#[test]
fn a_dry_run_prints_the_plan() {
    let outlook = Outlook {
        partition: partition("btcusdt"),
        action: Action::Compact,
        reason: "the archive lacks it".to_owned(),
        files: 12,
        rows: 1_234_567,
        bytes: 34_500_000,
        groups: 3,
        passes: 1,
        quarantined: 1,
        unusable: vec!["a.parquet: TRUNCATED: it is too short".to_owned()],
        plan: vec!["scan 12 files in 3 groups".to_owned(), "merge".to_owned()],
        logical_plan: None,
        physical_plan: None,
    };
    let resting = Outlook {
        partition: partition("ethusdt"),
        action: Action::Nothing,
        reason: "its data holds all its files".to_owned(),
        unusable: Vec::new(),
        plan: Vec::new(),
        ..outlook.clone()
    };
    let want = "\
compact binance/bbo/btcusdt/20260203, because the archive lacks it
  12 files, 1,234,567 rows, 34.5 MB, 3 groups, 1 pass, 1 file to QUARANTINE
  to QUARANTINE: a.parquet: TRUNCATED: it is too short
    scan 12 files in 3 groups
    merge
nothing to do for binance/bbo/ethusdt/20260203, because its data holds all its files
2 partitions: 1 compact, 1 nothing; a dry run changes nothing
";
    assert_eq!(outlooks(&[outlook, resting]), want);
}

#[test]
fn every_finding_is_listed() {
    let one = |symbol: &str, findings: &[&str]| Checked {
        partition: partition(symbol),
        sound: findings.is_empty(),
        rows: 10,
        bytes: 2_000,
        seconds: 0.5,
        findings: findings.iter().map(ToString::to_string).collect(),
    };
    let table = "\
partition                     result   rows    bytes  seconds
binance/bbo/btcusdt/20260203  sound      10  2.00 kB      0.5
binance/bbo/ethusdt/20260203  DAMAGED    10  2.00 kB      0.5
";
    let findings = "\
binance/bbo/ethusdt/20260203: row 3 is out of order
binance/bbo/ethusdt/20260203: sha256 differs
1 of 2 partitions damaged; 2 findings
";
    let all = [
        one("btcusdt", &[]),
        one("ethusdt", &["row 3 is out of order", "sha256 differs"]),
    ];
    assert_eq!(verified(&all, &[], PLAIN, false), findings);
    assert_eq!(
        verified(&all, &[], PLAIN, true),
        format!("{table}{findings}")
    );
    assert_eq!(
        verified(&all[..1], &[], PLAIN, false),
        "1 partition sound; 10 rows, 2.00 kB\n"
    );
    let lost = Misplaced {
        place: "exchange=binance/x.parquet".to_owned(),
        sound: false,
        findings: ["is in no partition".to_owned()],
    };
    let want = "\
exchange=binance/x.parquet: is in no partition
0 partitions sound; 0 rows, 0 B; 1 finding outside of partitions
";
    assert_eq!(verified(&[], &[lost], PLAIN, false), want);
}

#[test]
fn a_pruning_tells_what_went_and_why_the_rest_stays() {
    use crate::prune::{Judged, Outcome, Report};
    let file = |name: &str, outcome, reason: &str| Judged {
        series: partition("btcusdt").series,
        name: name.to_owned(),
        date: Some(partition("btcusdt").date),
        bytes: 2_000,
        rows: matches!(outcome, Outcome::Removed).then_some(1_500),
        outcome,
        reason: reason.to_owned(),
    };
    let report = Report {
        files: vec![
            file("a", Outcome::Removed, "all 1500 rows are in the archive"),
            file("b", Outcome::Removed, "all 1500 rows are in the archive"),
            file(
                "c",
                Outcome::Young,
                "20260203 is not older than the days to keep",
            ),
            file("d", Outcome::Unproven, "data.parquet has another sha256"),
        ],
        records: Vec::new(),
        journal: Some("_pruned/date=20260210/x.ndjson".to_owned()),
        settled: Vec::new(),
        unlisted: Vec::new(),
        stopped: false,
        error: None,
    };
    let want = "\
spool files of                result   files   rows    bytes
binance/bbo/btcusdt/20260203  removed      2  3,000  4.00 kB
removed 2 files (4.00 kB): every row was read back from the archive
kept 1 file (2.00 kB), because not all its days are old enough
kept 1 file (2.00 kB), because what must be proven could NOT be
  d: data.parquet has another sha256
journal: _pruned/date=20260210/x.ndjson
";
    assert_eq!(pruned(&report, false, PLAIN), want);
    assert_eq!(
        pruned(&Report::default(), false, PLAIN),
        "nothing to prune: the spool holds no file\n"
    );
}

#[test]
fn a_cleaning_tells_each_thing() {
    use crate::clean::{Kind, Left, Swept};
    let one = |kind, place: &str, left| Swept {
        kind,
        place: place.to_owned(),
        bytes: Some(10),
        left,
        why: "x".to_owned(),
    };
    let all = [
        one(Kind::Receipt, "/a/r.json", Left::Gone),
        one(Kind::Temporary, "/a/.t", Left::Stays),
    ];
    let want = "\
what            place      result   bytes
receipt         /a/r.json  removed   10 B
temporary file  /a/.t      stays     10 B
/a/.t: x
1 receipt removed, 1 temporary file stays
";
    assert_eq!(swept(&all, PLAIN), want);
    let many: Vec<Swept> = [
        Left::WouldGo,
        Left::WouldGo,
        Left::WouldGo,
        Left::Stays,
        Left::Stays,
    ]
    .into_iter()
    .map(|left| one(Kind::Temporary, "/a/.t", left))
    .collect();
    let said = swept(&many, PLAIN);
    assert!(
        said.ends_with("\n3 temporary files would be removed, 2 temporary files stay\n"),
        "{said}"
    );
    assert_eq!(
        swept(&[], PLAIN),
        "nothing to clean: nothing was left over\n"
    );
}
