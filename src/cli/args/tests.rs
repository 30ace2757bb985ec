//! Mistakes on the command line, and the one line that each of them gives.

use super::*;

fn words(line: &str) -> Vec<OsString> {
    std::iter::once("qlc")
        .chain(line.split_whitespace())
        .map(OsString::from)
        .collect()
}

fn refused(line: &str) -> String {
    let typed = words(line);
    usage_line(&read(typed.iter().cloned()).unwrap_err(), &typed)
}

fn read_ok(line: &str) -> Typed {
    read(words(line)).unwrap_or_else(|e| panic!("{line}: {e}"))
}

#[test]
fn every_mistake_is_one_line_that_says_what_would_be_right() {
    let check = |line: &str, want: &str| assert_eq!(refused(line), want, "{line}");
    check(
        "compact --mode dayly",
        "invalid value 'dayly' for '--mode <MODE>' [possible values: daily, catch-up, backfill, single]; \
         tip: a similar value exists: 'daily'; see 'qlc compact --help'",
    );
    check(
        "compact",
        "the following required arguments were not provided: --mode <MODE>; see 'qlc compact --help'",
    );
    check(
        "compact --mode single --date 2026-2-3",
        "invalid value '2026-2-3' for '--date <DATE>': \"2026-2-3\" is not a date between 1980 and 2199: write a UTC day \
         as in 20260203 or 2026-02-03; see 'qlc compact --help'",
    );
    check(
        "compact --mode daily --memory-limit lots",
        "invalid value 'lots' for '--memory-limit <SIZE>': \"lots\" is not a size: write a number and a unit, as in 512MB \
         or 2.5GB; see 'qlc compact --help'",
    );
    check(
        "compact --mode daily --workers 0",
        "invalid value '0' for '--workers <N>': write a number from 1 to 1024; see 'qlc compact --help'",
    );
    for days in ["x", "4000000", "-1"] {
        check(
            &format!("prune --keep-days={days}"),
            &format!(
                "invalid value '{days}' for '--keep-days <N>': write a number from 0 to 36500; see 'qlc prune --help'"
            ),
        );
    }
    for number in ["0", "x"] {
        for (command, flag) in [("collect", "max-events"), ("record x", "max-frames")] {
            let name = command.split(' ').next().unwrap();
            check(
                &format!("{command} --{flag} {number}"),
                &format!(
                    "invalid value '{number}' for '--{flag} <N>': write a number from 1 on; see 'qlc {name} --help'"
                ),
            );
        }
    }
    check(
        "compact --mode daily --now yesterday",
        "invalid value 'yesterday' for '--now <RFC3339>': write an instant with its offset, as in 2026-02-04T01:00:00Z; \
         see 'qlc compact --help'",
    );
    check(
        "compact --mode daily --symbol btc,,eth",
        "invalid value '' for '--symbol <NAME>': \"\" is no name for a symbol: use letters, digits, '.', '_' and '-', as \
         in btcusdt; see 'qlc compact --help'",
    );
    check(
        "query --param symbol",
        "invalid value 'symbol' for '--param <K=V>': write the name, an equals sign and the value, as in symbol=btcusdt; \
         see 'qlc query --help'",
    );
    check(
        "verify --date 20260203 --start 20260201",
        "the argument '--date <DATE>' cannot be used with '--start <DATE>'; see 'qlc verify --help'",
    );
    check(
        "inspect",
        "the following required arguments were not provided: <FILE|URL>...; see 'qlc inspect --help'",
    );
    check(
        "compcat",
        "unrecognized subcommand 'compcat'; tip: some similar subcommands exist: 'collect', 'completions', 'compact'; see 'qlc --help'",
    );
    check(
        "help compct",
        "unrecognized subcommand 'compct'; tip: a similar subcommand exists: 'compact'; see 'qlc --help'",
    );
    check(
        "help quarantine retri",
        "unrecognized subcommand 'retri'; tip: a similar subcommand exists: 'retry'; see 'qlc quarantine --help'",
    );
    check(
        "verify --quik",
        "unexpected argument '--quik' found; tip: a similar argument exists: '--quick'; see 'qlc verify --help'",
    );
    check(
        "--log-format xml demo",
        "invalid value 'xml' for '--log-format <FORMAT>' [possible values: text, json]; see 'qlc demo --help'",
    );
}

#[test]
fn global_flags_stand_before_and_after_the_command() {
    for line in [
        "--spool a --archive b demo",
        "demo --spool a --archive b",
        "--spool a demo --archive b",
    ] {
        let typed = read_ok(line);
        let got = (
            typed.global.spool.first().map(String::as_str),
            typed.global.archive.as_deref(),
        );
        assert_eq!(got, (Some("a"), Some("b")), "{line}");
    }
    assert_eq!(read_ok("demo -vv").global.verbose, 2);
    assert!(read(words("demo -v -q")).is_err());
}

#[test]
fn days_are_typed_with_or_without_dashes() {
    for text in ["20260203", "2026-02-03"] {
        assert_eq!(shared::day(text).unwrap().to_string(), "20260203");
    }
    for text in [
        "2026-02-30",
        "2026-0203",
        "202602-03",
        "1979-12-31",
        "2026-02-03-",
        "",
        "２０２６-０２-０３",
    ] {
        assert!(shared::day(text).is_err(), "{text}");
    }
    let Command::Compact(typed) =
        read_ok("compact --mode backfill --start 2026-02-03 --end 20260204").command
    else {
        panic!("not compact");
    };
    assert_eq!(typed.start.map(crate::model::date::Date::succ), typed.end);
}

#[test]
fn names_are_repeated_or_set_with_commas() {
    let Command::Compact(typed) =
        read_ok("compact --mode daily --symbol a,b --symbol c --exchange x").command
    else {
        panic!("not compact");
    };
    let symbols: Vec<_> = typed
        .selection
        .symbol
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(symbols, ["a", "b", "c"]);
    assert_eq!(typed.selection.exchange.len(), 1);
}

#[test]
fn the_grammar_is_sound_and_every_command_has_examples() {
    let grammar = <Typed as clap::CommandFactory>::command();
    grammar.clone().debug_assert();
    for command in grammar.get_subcommands() {
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(help.contains("Examples:"), "{}", command.get_name());
    }
    let quarantine = grammar.find_subcommand("quarantine").unwrap();
    for verb in quarantine.get_subcommands() {
        let help = verb
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(help.contains("Examples:"), "quarantine {}", verb.get_name());
    }
}
