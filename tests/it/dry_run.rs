//! `--dry-run` tells the plan and changes nothing; `--format json` tells one object a partition.

use std::fs;

use super::support::{
    archive::listing,
    damage,
    events::{DAY, Events, HOUR, Quote, SECOND, quotes},
    run::{NOW, Place, Ran},
};

/// The output with sizes masked: they change with every version of the Parquet writer.
fn masked(ran: &Ran) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in ran.stdout.split_inclusive([' ', '\n']) {
        let unit = ["B,", "kB,", "MB,"].contains(&word.trim());
        if unit && let Some(figure) = words.last_mut() {
            "# ".clone_into(figure);
        }
        words.push(if unit {
            word.replace(word.trim(), "B,")
        } else {
            word.to_owned()
        });
    }
    words.concat()
}

fn spool() -> Place {
    let place = Place::new();
    let file = |name: &str, rows| drop(place.put_quotes(name, &Events::sealed(rows).bytes()));
    // Two chains that overlap, a file without rows of any other day, one that is cut off.
    file("2026-02-03_00.parquet", quotes(DAY, SECOND, 0, 100));
    file(
        "2026-02-03_01.parquet",
        quotes(DAY + 50 * SECOND, SECOND, 1000, 100),
    );
    file(
        "2026-02-03_02.parquet",
        quotes(DAY + HOUR, SECOND, 2000, 100),
    );
    file(
        "2026-02-04_00.parquet",
        quotes(DAY + 24 * HOUR, SECOND, 3000, 10),
    );
    let whole = Events::sealed(quotes(DAY, SECOND, 0, 100)).bytes();
    let _ = place.put_quotes("2026-02-03_03.parquet", &damage::truncated(&whole, 500));
    let before = Events::sealed(quotes(DAY - HOUR, SECOND, 0, 30)).bytes();
    let _ = place.put_quotes("2026-02-02_00.parquet", &before);
    let older = Events::older(quotes(DAY + HOUR, SECOND, 0, 20))
        .series("okx", "bbo", "BTC-USDT-SWAP")
        .bytes();
    let _ = place.put(
        "exchange=okx/stream=bbo/symbol=btcusdt/date=20260203/part-0.parquet",
        &older,
    );
    place
}

#[test]
fn the_plan_is_told_and_nothing_is_changed() {
    let place = spool();
    let before = listing(&place.spool());
    let ran = place.compact(&["--dry-run"]).ended(0);
    assert!(!place.archive().exists() && !place.spill().exists());
    assert_eq!(listing(&place.spool()), before);
    assert_eq!(masked(&ran), PLAN, "{ran}");
    let _ = place.compact(&["--dry-run", "--force"]).ended(0);
    assert!(!place.archive().exists());
}

const PLAN: &str = "\
compact binance/bbo/btcusdt/20260202, because new in the archive
  1 file, 30 rows, # B, 1 group, no merge
    scan 1 file in 1 sequential chain
    order ties, encode, read back, publish
compact binance/bbo/btcusdt/20260203, because new in the archive
  3 files, 300 rows, # B, 2 groups, 1 pass, 1 file to QUARANTINE
  to QUARANTINE: exchange=binance/stream=bbo/symbol=btcusdt/2026-02-03_03.parquet: TRUNCATED: \
the file does not end as a Parquet file does: it was cut off or is something else
    scan 3 files in 2 sequential chains
    pass 1: merge 2 inputs
    order ties, encode, read back, publish
compact binance/bbo/btcusdt/20260204, because new in the archive
  1 file, 10 rows, # B, 1 group, no merge
    scan 1 file in 1 sequential chain
    order ties, encode, read back, publish
compact okx/bbo/btcusdt/20260203, because new in the archive
  1 file, 20 rows, # B, 1 group, no merge
    sort 1 file in memory while reading
    scan 1 file in 1 sequential chain
    number the rows of files without seq
    order ties, encode, read back, publish
4 partitions: 4 compact; a dry run changes nothing
";

#[test]
fn one_object_a_partition() {
    let place = spool();
    let planned = place
        .compact(&["--dry-run", "--format", "json"])
        .ended(0)
        .json();
    let of = |all: &[serde_json::Value], exchange: &str, date: &str| {
        let mut found = all
            .iter()
            .filter(|o| o["exchange"] == exchange && o["date"] == date);
        (found.next().unwrap().clone(), found.next().cloned())
    };
    let (day, none) = of(&planned, "binance", "20260203");
    assert_eq!(none, None);
    let plan = [
        "scan 3 files in 2 sequential chains",
        "pass 1: merge 2 inputs",
        "order ties, encode, read back, publish",
    ];
    assert_eq!(day["plan"], serde_json::json!(plan));
    for (key, value) in [
        ("files", 3),
        ("rows", 300),
        ("groups", 2),
        ("passes", 1),
        ("quarantined", 1),
    ] {
        assert_eq!(day[key], value, "{day}");
    }
    assert_eq!(day["action"], "compact");
    let unusable = day["unusable"][0].as_str().unwrap();
    assert!(
        unusable.contains("2026-02-03_03.parquet: TRUNCATED"),
        "{day}"
    );

    let ran = place.compact(&["--format", "json"]).ended(3);
    let made = ran.json();
    let (day, none) = of(&made, "binance", "20260203");
    assert_eq!(none, None);
    let keys: Vec<_> = day.as_object().unwrap().keys().cloned().collect();
    let mut expected = vec![
        "exchange",
        "stream",
        "symbol",
        "date",
        "status",
        "message",
        "files",
        "quarantined",
        "rows",
        "bytes_in",
        "bytes_out",
        "seconds",
        "sha256",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(
        (&day["rows"], &day["files"], &day["quarantined"]),
        (&300.into(), &3.into(), &1.into())
    );
    let data = place
        .archive()
        .join("exchange=binance/stream=bbo/symbol=btcusdt/date=20260203/data.parquet");
    assert_eq!(day["bytes_out"], fs::metadata(&data).unwrap().len());
    assert_eq!(
        day["sha256"],
        super::support::archive::sha256(&fs::read(data).unwrap())
    );
    assert_eq!(made.len(), 4, "{ran}");
    place.verify();

    // What was planned has been done.
    let before = listing(&place.archive());
    let ran = place.compact(&["--dry-run"]).ended(0).says("4 nothing");
    assert!(!ran.stdout.contains("compact binance"), "{ran}");
    assert_eq!(listing(&place.archive()), before);
}

#[test]
fn progress_and_log_are_not_on_stdout() {
    let place = spool();
    let ran = place.qlc(&[
        "-v",
        "--log-format",
        "json",
        "compact",
        "--mode",
        "catch-up",
        "--now",
        NOW,
        "--format",
        "json",
    ]);
    let ran = ran.ended(3);
    assert_eq!(ran.json().len(), 4, "{ran}");
    let logged = ran
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    assert!(logged.count() > 0, "{ran}");
    place.verify();
}

/// A compaction is one statement of the engine: the optimizer finds the spool's table in order, and
/// adds nothing.
#[test]
fn the_plans_of_the_engine_are_explained() {
    let place = spool();
    let _ = place.put_quotes(
        "2026-02-03_04.parquet",
        &Events::sealed(unsorted()).undeclared().bytes(),
    );
    let ran = place
        .compact(&["--dry-run", "--explain", "--format", "json"])
        .ended(0);
    let mut explained = 0;
    for outlook in ran
        .json()
        .iter()
        .filter(|outlook| outlook["action"] == "compact")
    {
        let lines = |key: &str| {
            outlook[key]
                .as_str()
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let logical = lines("logical_plan");
        assert!(
            logical[0].starts_with("Dml: op=[Insert Into] table=[archive]"),
            "{logical:#?}"
        );
        assert!(
            logical.iter().any(|line| line.contains("Sort: "))
                && logical.last().unwrap().contains("spool"),
            "{logical:#?}"
        );
        let physical = lines("physical_plan");
        assert!(
            physical[0].starts_with("DataSinkExec: sink=archive exchange="),
            "{physical:#?}"
        );
        assert!(
            physical[1].trim_start().starts_with("SpoolScan: "),
            "nothing between them: {physical:#?}"
        );
        assert!(
            physical[2].trim_start().starts_with("OrderTies: "),
            "{physical:#?}"
        );
        explained += 1;
    }
    assert_eq!(explained, 4);
    let text = place.compact(&["--dry-run", "--explain"]).ended(0);
    let _ = text
        .says("physical plan")
        .says("SortPreservingMergeExec")
        .says("SpoolScan: files=4");
    assert!(!place.archive().exists() && !place.spill().exists());
    let _ = place.compact(&["--explain"]).ended(2);
}

fn unsorted() -> Vec<Quote> {
    let mut rows = quotes(DAY, SECOND, 5000, 100);
    rows.reverse();
    rows
}
