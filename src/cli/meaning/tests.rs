//! Which flags fit together, and what is said of those that do not.

use std::ffi::OsString;

use super::*;
use crate::{
    cli::args::{self, Command},
    storage::spools::Spools,
};

fn settings() -> Settings {
    Settings {
        spool: Spools::one("/spool"),
        archive: "/archive".to_owned(),
        memory_limit: 1_000_000_000,
        spill_dir: "/spill".into(),
        workers: 3,
        zstd_level: None,
        bucket: crate::storage::bucket::BucketOptions::usual(),
        profile: None,
        told: crate::cli::settings::Told::default(),
        published: std::collections::BTreeMap::new(),
    }
}

fn typed(line: &str) -> Command {
    let words = std::iter::once("qlc")
        .chain(line.split_whitespace())
        .map(OsString::from);
    args::read(words)
        .unwrap_or_else(|e| panic!("{line}: {e}"))
        .command
}

fn clock() -> DateTime<Utc> {
    "2026-02-04T01:00:00Z".parse().unwrap()
}

fn compacted(line: &str) -> Result<compact::Options> {
    match typed(line) {
        Command::Compact(typed) => compact(&typed, &settings(), clock()),
        _ => panic!("{line}"),
    }
}

fn verified(line: &str) -> Result<verify::Options> {
    match typed(line) {
        Command::Verify(typed) => verify(&typed, &settings()),
        _ => panic!("{line}"),
    }
}

fn queried(words: &[&str], text: Option<&str>) -> Result<Asked> {
    given(
        words,
        text.map_or(Given::Nothing, |text| Given::Text(text.to_owned())),
    )
}

fn given(words: &[&str], given: Given) -> Result<Asked> {
    let line = ["qlc", "query"].iter().chain(words).map(OsString::from);
    match args::read(line).unwrap().command {
        Command::Query(typed) => query(&typed, given, &settings()),
        _ => panic!("{words:?}"),
    }
}

#[test]
fn each_mode_takes_its_own_days() {
    let day = |text: &str| text.parse::<Date>().unwrap();
    let check =
        |line: &str, mode: compact::Mode| assert_eq!(compacted(line).unwrap().mode, mode, "{line}");
    check("compact --mode daily", compact::Mode::Daily);
    check("compact --mode catch-up --force", compact::Mode::CatchUp);
    check(
        "compact --mode backfill --start 20260101 --end 20260101",
        compact::Mode::Backfill {
            start: day("20260101"),
            end: day("20260101"),
        },
    );
    check(
        "compact --mode single --date 20260203 --symbol btcusdt --stream bbo --exchange a --exchange b",
        compact::Mode::Single {
            date: day("20260203"),
        },
    );
}

#[test]
fn days_of_another_mode_are_refused() {
    let check = |line: &str, want: &str| {
        let error = compacted(line).unwrap_err();
        assert_eq!(
            (error.kind(), error.chain().as_str()),
            (crate::error::Kind::Usage, want),
            "{line}"
        );
    };
    check(
        "compact --mode daily --date 20260203",
        "--date belongs to --mode single, not to --mode daily: change one of them",
    );
    check(
        "compact --mode catch-up --start 20260203",
        "--start belongs to --mode backfill, not to --mode catch-up: change one of them",
    );
    check(
        "compact --mode single --date 20260203 --symbol a --stream b --end 20260203",
        "--end belongs to --mode backfill, not to --mode single: change one of them",
    );
    check(
        "compact --mode backfill --start 20260101",
        "--mode backfill needs its first and last day, as in --start 20260101 --end 20260115",
    );
    check(
        "compact --mode backfill --start 20260115 --end 20260101",
        "--start 20260115 is after --end 20260101: exchange the two days",
    );
    let single = "--mode single needs one day, one symbol and one stream, as in --date 20260203 --symbol btcusdt --stream bbo";
    check("compact --mode single", single);
    check("compact --mode single --date 20260203 --symbol a", single);
    check(
        "compact --mode single --date 20260203 --symbol a,b --stream c",
        single,
    );
}

#[test]
fn settings_and_the_clock_reach_the_options() {
    let got = compacted("compact --mode daily").unwrap();
    assert_eq!(
        (got.workers, got.memory_limit, got.now, got.force),
        (3, 1_000_000_000, clock(), false)
    );
    let got = compacted("compact --mode daily --now 2026-02-04T01:00:00+02:00 --force").unwrap();
    assert_eq!(
        (got.now.to_rfc3339().as_str(), got.force),
        ("2026-02-03T23:00:00+00:00", true)
    );
    assert!(compacted("compact --mode daily --now 2300-01-01T00:00:00Z").is_err());
}

#[test]
fn a_verification_has_a_day_or_a_range() {
    let days = |line: &str| {
        let options = verified(line).unwrap();
        (
            options.start.map(|d| d.to_string()),
            options.end.map(|d| d.to_string()),
        )
    };
    let text = |day: &str| Some(day.to_owned());
    assert_eq!(days("verify"), (None, None));
    assert_eq!(
        days("verify --date 20260203"),
        (text("20260203"), text("20260203"))
    );
    assert_eq!(days("verify --start 20260203"), (text("20260203"), None));
    assert!(verified("verify --start 20260203 --end 20260202").is_err());
}

#[test]
fn a_query_is_exactly_one_statement() {
    let run = |words: &[&str], text| match queried(words, text).unwrap() {
        Asked::Run(options) => <[query::Options; 1]>::try_from(options)
            .unwrap()
            .into_iter()
            .next()
            .unwrap(),
        other => panic!("{words:?}: {other:?}"),
    };
    let name = query::named().first().unwrap();
    assert_eq!(
        run(&["SELECT 1"], None).statement,
        query::Statement::Sql("SELECT 1".to_owned())
    );
    assert_eq!(
        run(&["--file", "f"], Some("SELECT 2")).statement,
        query::Statement::Sql("SELECT 2".to_owned())
    );
    assert_eq!(
        run(&["--name", name.name], None).statement,
        query::Statement::Named(name.name.to_owned())
    );
    assert!(matches!(queried(&["--list"], None), Ok(Asked::List)));
    for words in [
        &[][..],
        &["SELECT 1", "--name", "order"],
        &["--list", "--name", "order"],
    ] {
        let error = queried(words, None).unwrap_err().chain();
        assert_eq!(
            error,
            "give one statement: either \"SQL\", or --file F, or --name N (--list prints the names)"
        );
    }
    assert!(
        queried(&[" "], None)
            .unwrap_err()
            .chain()
            .starts_with("the query is empty")
    );
    assert!(queried(&["--file", "f"], Some("\n")).is_err());
}

#[test]
fn without_a_statement_stdin_is_read_or_a_terminal_asked() {
    let several = |words: &[&str], text: &str| match queried(words, Some(text)) {
        Ok(Asked::Run(options)) => options.len().to_string(),
        Ok(other) => panic!("{words:?}: {other:?}"),
        Err(error) => error.chain(),
    };
    assert_eq!(several(&[], "SELECT 1; SELECT ';' ; -- no more"), "2");
    assert_eq!(several(&["--output", "a.csv"], "SELECT 1;"), "1");
    assert!(
        several(&["--output", "a.csv"], "SELECT 1; SELECT 2")
            .starts_with("--output and --param are for one")
    );
    assert!(several(&[], " ").starts_with("stdin was empty; give one statement"));
    let asked = |words: &[&str]| given(words, Given::Terminal).map_err(|e| e.chain());
    assert!(matches!(
        asked(&["--format", "csv"]),
        Ok(Asked::Prompt(_, OutputFormat::Csv))
    ));
    assert!(
        asked(&["--output", "a.csv"])
            .unwrap_err()
            .starts_with("--output, --param")
    );
    assert!(matches!(asked(&["SELECT 1"]), Ok(Asked::Run(_))));
}

#[test]
fn names_and_parameters_must_be_known() {
    let first = query::named().first().unwrap();
    let misspelled = format!("{}x", first.name);
    let error = queried(&["--name", &misspelled], None).unwrap_err().chain();
    assert!(
        error.contains(&format!("did you mean {}?", first.name)),
        "{error}"
    );
    let error = queried(
        &["--name", first.name, "--param", "no_such_parameter=1"],
        None,
    )
    .unwrap_err()
    .chain();
    assert!(
        error.starts_with(&format!("the query {} has no parameter", first.name)),
        "{error}"
    );
    let error = queried(&["SELECT $a", "--param", "a=1", "--param", "a=2"], None)
        .unwrap_err()
        .chain();
    assert_eq!(error, "--param a is given twice: keep one");
}

#[test]
fn the_form_follows_the_file_unless_it_is_said() {
    let form = |words: &[&str]| match queried(words, None).unwrap() {
        Asked::Run(options) => options.first().unwrap().format,
        other => panic!("{words:?}: {other:?}"),
    };
    assert_eq!(form(&["SELECT 1"]), query::Format::Table);
    assert_eq!(
        form(&["SELECT 1", "--output", "a.parquet"]),
        query::Format::Parquet
    );
    assert_eq!(form(&["SELECT 1", "--output", "a.CSV"]), query::Format::Csv);
    assert_eq!(
        form(&["SELECT 1", "--output", "a.txt"]),
        query::Format::Table
    );
    assert_eq!(
        form(&["SELECT 1", "--output", "a.csv", "--format", "ndjson"]),
        query::Format::Ndjson
    );
}
