//! Which value holds, and what is said of a file that is wrong.

use super::*;
use crate::{
    cli::args::{self, Collect, Command, read_beside},
    model::partition::Exchange,
};

/// What holds for `qlc config show` with these flags and this file.
fn decided(file: &str, flags: &str) -> Result<Settings> {
    let typed = read_beside(file, &format!("config show {flags}"))?;
    let Command::Config(config) = &typed.command else {
        panic!("{:?}", typed.command)
    };
    let args::ConfigVerb::Show(show) = &config.verb;
    Settings::decide_at(&typed.global, &show.resources, &show.tuning, None)
}

fn collect(file: &str, flags: &str) -> Result<Collect> {
    match read_beside(file, &format!("collect {flags}"))?.command {
        Command::Collect(collect) => Ok(collect),
        other => panic!("{other:?}"),
    }
}

fn said(file: &str) -> String {
    decided(file, "").unwrap_err().chain()
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let file = "spool = \"/a\"\narchive = \"/b\"\nmemory_limit = \"1GB\"\nworkers = 3";
    let got = decided(file, "--spool /typed --memory-limit 512MB").unwrap();
    let want = Settings {
        spool: Spools::one("/typed"),
        archive: "/b".to_owned(),
        memory_limit: 512_000_000,
        spill_dir: std::env::temp_dir().join(scratch::private_name()),
        workers: 3,
        zstd_level: None,
        bucket: BucketOptions {
            variables: Some(Variables(aws_variables())),
            ..BucketOptions::usual()
        },
        profile: None,
        told: Told::default(),
        published: BTreeMap::new(),
    };
    assert_eq!(got, want);
    let bare = decided("", "").unwrap();
    assert_eq!(
        (bare.spool, bare.archive.as_str()),
        (Spools::one(DEFAULT_SPOOL), DEFAULT_ARCHIVE)
    );
    assert_eq!(
        (bare.memory_limit, bare.workers),
        (DEFAULT_MEMORY, 2 * cores())
    );
}

/// One argument is for stores and feeds; the setting of the file is that of the stores.
#[test]
fn the_endpoint_of_the_file_is_that_of_the_stores() {
    let file = "endpoint = \"https://s3.example.org:9000\"";
    let check = |flags: &str, want: &str| {
        let got = decided(file, flags).unwrap().bucket.endpoint;
        assert_eq!(got.as_deref(), Some(want), "{flags}");
    };
    check("", "https://s3.example.org:9000");
    check("--endpoint https://typed", "https://typed");
    check(
        "--endpoint okx.public=ws://x",
        "https://s3.example.org:9000",
    );
}

#[test]
fn the_file_holds_for_commands_without_the_flag() {
    let typed = read_beside("memory_limit = \"1GB\"\nspill_dir = \"/x\"", "status").unwrap();
    let usual = &typed.global.usual;
    let got = Settings::decide_at(&typed.global, &usual.resources, &usual.tuning, None).unwrap();
    assert_eq!(got.memory_limit, 1_000_000_000);
    assert_eq!(got.spill_dir, PathBuf::from("/x"));
    let other = usual.with_spill_dir(Some(&PathBuf::from("/y")));
    assert_eq!(other.memory_limit, Some(1_000_000_000));
    assert_eq!(other.spill_dir, Some(PathBuf::from("/y")));
}

#[test]
fn what_is_wrong_in_the_file_is_said_with_its_name() {
    let check = |text: &str, want: &str| assert_eq!(said(text), want, "{text}");
    check(
        "memory-limit = \"1GB\"",
        "/etc/qlc/qlc.toml: memory-limit is not a setting; did you mean memory_limit? the settings are spool, \
         archive, metrics_file, metrics_push, notify, endpoint, region, profile, allow_http, path_style, \
         single_writer, request_timeout, connect_timeout, retries, retry_timeout, connections, multipart_above, \
         part_size, workers, zstd_level, memory_limit, spill_dir, cluster, cluster_ca, cluster_cert, cluster_key, \
         keep_records, and the sections [collect] and [reconcile]",
    );
    check(
        "spool = 1",
        "/etc/qlc/qlc.toml: spool is a number, not a text; write spool = \"/opt/quantlab/spool\", or spool = { a = \
         \"/data/a\", b = \"/data/b\" }",
    );
    check(
        "memory_limit = \"much\"",
        "/etc/qlc/qlc.toml: memory_limit: \"much\" is not a size: write a number and a unit, as in 512MB or 2.5GB",
    );
    check(
        "allow_http = 1",
        "/etc/qlc/qlc.toml: allow_http is a number, not true or false",
    );
    check(
        "request_timeout = \"soon\"",
        "/etc/qlc/qlc.toml: request_timeout: \"soon\" is not a time: write a number and a unit, as in 500ms, 30s or 3m",
    );
    check(
        "workers = 0",
        "/etc/qlc/qlc.toml: workers: write a number from 1 to 1024",
    );
    check(
        "retries = true",
        "/etc/qlc/qlc.toml: retries is true or false, not a text",
    );
    check(
        "archive = [\"a\"]",
        "/etc/qlc/qlc.toml: archive is a list, not a text",
    );
    assert!(said("spool = \"/a\"\narchive").starts_with("/etc/qlc/qlc.toml: line 2 is not TOML: "));
}

#[test]
fn relative_paths_of_the_file_begin_where_it_lies() {
    let file = "spool = \"spool\"\narchive = \"s3://bucket\"\nspill_dir = \"/tmp/x\"\nmetrics_file = \"qlc.prom\"";
    let got = decided(file, "").unwrap();
    assert_eq!(got.spool, Spools::one("/etc/qlc/spool"));
    assert_eq!(got.archive, "s3://bucket");
    assert_eq!(got.spill_dir, PathBuf::from("/tmp/x"));
    assert_eq!(
        got.told.metrics_file,
        Some(PathBuf::from("/etc/qlc/qlc.prom"))
    );
}

#[test]
fn several_spools_have_a_name_each_wherever_they_come_from() {
    let want = Spools::parse(["a=/etc/qlc/a", "b=s3://bucket/b"]).unwrap();
    for text in [
        "spool = { a = \"a\", b = \"s3://bucket/b\" }",
        "[spool]\na = \"/etc/qlc/a\"\nb = \"s3://bucket/b\"",
        "spool = [\"a=a\", \"b=s3://bucket/b\"]",
        "spool = \"a=a, b=s3://bucket/b\"",
    ] {
        assert_eq!(decided(text, "").unwrap().spool, want, "{text}");
    }
    let check = |text: &str, want: &str| {
        let said = said(text);
        assert!(
            said.starts_with("/etc/qlc/qlc.toml: spool") && said.contains(want),
            "{text}: {said}"
        );
    };
    check("spool = [1]", "spool is a list, not one of texts");
    check("spool = { a = 1 }", "spool.a is a number, not a text");
    check("spool = { \"a b\" = \"/x\" }", "is no name for a collector");
    check("spool = [\"a=/x\", \"/y\"]", "/y has no name");
    check("spool = \"a=/x a=/y\"", "two spools are named a");
    check("spool = []", "no spool is named");
    // A flag is one spool; a variable may list several.
    assert_eq!(
        decided("", "--spool a=/x --spool b=/y,c=/z").unwrap().spool,
        Spools::parse(["a=/x", "b=/y,c=/z"]).unwrap()
    );
    let of_variable = |text: &str| {
        let mut typed = Global {
            spool: vec![text.to_owned()],
            ..Global::default()
        };
        typed.sources.environment = vec![("spool".to_owned(), "QLC_SPOOL".to_owned())];
        Settings::decide_at(&typed, &Resources::default(), &Tuning::default(), None)
    };
    assert_eq!(
        of_variable("a=/x,b=/y c=/z").unwrap().spool,
        Spools::parse(["a=/x", "b=/y", "c=/z"]).unwrap()
    );
    assert!(
        of_variable("a=/x,a=/y")
            .unwrap_err()
            .chain()
            .starts_with("QLC_SPOOL: two spools")
    );
    assert!(
        decided("", "--spool a=")
            .unwrap_err()
            .chain()
            .contains("the spool is an empty string")
    );
}

#[test]
fn impossible_values_are_refused_wherever_they_come_from() {
    for (file, flags) in [
        ("", "--memory-limit 100MB"),
        ("memory_limit = \"100MB\"", ""),
    ] {
        assert_eq!(
            decided(file, flags).unwrap_err().chain(),
            "a memory limit of 100 MB is too small to work in: give at least 256 MB"
        );
    }
    for (file, flags) in [("", "--archive="), ("archive = \"\"", "")] {
        let refused = decided(file, flags).unwrap_err().chain();
        assert!(refused.contains("QLC_ARCHIVE"), "{refused}");
    }
}

#[test]
fn the_file_to_install_has_every_setting_and_no_other() {
    let text = include_str!("../../../deploy/qlc.toml");
    let _ = decided(text, "").unwrap();
    // With everything that is commented out. Prose has no equals sign after its first word.
    let is_setting = |line: &str| {
        line.split_once('=')
            .is_some_and(|(key, _)| !key.trim().contains(' '))
    };
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if is_setting(rest) || rest.starts_with('[') => rest,
            _ => line,
        })
        .collect();
    let uncommented = uncommented.join("\n");
    let all = read_beside(&uncommented, "config show").unwrap();
    let mut got: Vec<&str> = all
        .global
        .file
        .lines
        .iter()
        .map(|(key, _)| key.as_str())
        .filter(|key| {
            !["collect", "reconcile"].contains(key) && !key.starts_with("collect.endpoints.")
        })
        .collect();
    let want = args::names(&args::grammar());
    let mut want: Vec<&str> = want.iter().map(String::as_str).collect();
    got.sort_unstable();
    want.sort_unstable();
    assert_eq!(got, want);
    // What stands there as the usual value is the usual value.
    let written = decided(&uncommented, "").unwrap_err().chain();
    assert!(written.contains("profile \"archive\""), "{written}");
    assert_eq!(
        decided(text, "").unwrap().memory_limit,
        decided("", "").unwrap().memory_limit
    );
    let written = collect(&uncommented, "").unwrap();
    let usual = collect("", "").unwrap();
    let times = |of: &Collect| {
        [
            of.commit_every,
            of.rotate_after,
            of.renew_after,
            of.silence,
            of.retry_cap,
            of.relist_every,
        ]
    };
    assert_eq!(times(&written), times(&usual));
    assert_eq!(
        (written.rotate_size, written.memory_limit),
        (usual.rotate_size, usual.memory_limit)
    );
    assert_eq!(written.feeds.stream, usual.feeds.stream);
}

#[test]
fn the_section_of_the_collector_is_read_like_its_flags() {
    let file = "[collect]\nexchange = \"okx, bybit\"\nsymbol = [\"btcusdt\"]\nsilence = \"9s\"\n[collect.endpoints]\n\"okx.public\" = \"ws://x\"";
    let got = collect(file, "").unwrap();
    let exchanges = |of: &Collect| {
        let names = of.feeds.exchange.iter().map(ToString::to_string);
        names.collect::<Vec<_>>()
    };
    assert_eq!(exchanges(&got), ["okx", "bybit"]);
    assert_eq!((got.silence.as_secs(), got.rotate_size), (9, 64_000_000));
    let endpoint = ("okx.public".to_owned(), "ws://x".to_owned());
    assert_eq!(got.feeds.endpoint, std::slice::from_ref(&endpoint));
    // The setting of the same name above the section is another one.
    let got = collect("memory_limit = \"1GB\"", "").unwrap();
    assert_eq!(got.memory_limit, 512_000_000);
    let got = collect(file, "--exchange binance --endpoint okx.public=ws://y").unwrap();
    assert_eq!(exchanges(&got), ["binance"]);
    let typed = ("okx.public".to_owned(), "ws://y".to_owned());
    assert_eq!(got.feeds.endpoint, [endpoint, typed]);
    let check = |text: &str, want: &str| {
        let said = said(text);
        assert!(said.contains(want), "{text}: {said}");
    };
    check(
        "[collect]\nexchanges = []",
        "collect.exchanges is not a setting; did you mean collect.exchange?",
    );
    check(
        "[collect]\nexchange = [\"nyse\"]",
        "collect.exchange: \"nyse\" is not an exchange that can be collected",
    );
    check(
        "[collect]\nexchange = [1]",
        "collect.exchange is a list, not a list of texts",
    );
    check(
        "[collect]\nsilence = \"1d\"",
        "collect.silence: write a time above 0",
    );
    check(
        "[collect]\nlisten = \"here\"",
        "collect.listen: invalid socket address syntax",
    );
    check("[collect]\nendpoints = 1", "collect.endpoints: is a number");
    check("collect = 1", "collect is a number, not a section");
}

#[test]
fn the_files_of_an_exchange_have_a_url_or_several() {
    let of = |text: &str| {
        let all = decided(text, "").unwrap().published;
        all.get(&"okx".parse::<Exchange>().unwrap())
            .cloned()
            .unwrap_or_default()
    };
    let url = |text: &str| Given::url(text).unwrap();
    assert!(of("[reconcile]\nbybit = \"https://x/{SYMBOL}\"").is_empty());
    assert_eq!(
        of("[reconcile]\nokx = \"https://x/{SYMBOL},{DD}\""),
        [url("https://x/{SYMBOL},{DD}")]
    );
    assert_eq!(
        of("[reconcile]\nokx = [\"https://x/a\", \"https://x/b\"]"),
        [url("https://x/a"), url("https://x/b")]
    );
    let check = |text: &str, want: &str| {
        let said = said(text);
        assert_eq!(said, format!("/etc/qlc/qlc.toml: {want}"), "{text}");
    };
    check(
        "[reconcile]\nbinanse = \"https://x/\"",
        "reconcile.binanse is not a setting; did you mean reconcile.binance? the settings of [reconcile] are binance, bybit, okx",
    );
    check(
        "[reconcile]\nokx = 1",
        "reconcile.okx is a number, not a text; write okx = \"https://HOST/{SYMBOL}-{YYYY-MM-DD}.zip\"",
    );
    check(
        "[reconcile]\nokx = \"/data/okx\"",
        "reconcile.okx: /data/okx: is no URL: relative URL without a base",
    );
    check(
        "reconcile = \"https://x/\"",
        "reconcile is a text, not a section; write [reconcile]",
    );
    let said = said("[reconcile]\nokx = \"https://x/{DAY}\"");
    assert!(
        said.contains("reconcile.okx: https://x/{DAY}: {DAY} stands for nothing"),
        "{said}"
    );
}

#[test]
fn a_webhook_must_be_a_url_and_is_not_repeated() {
    let said = said("notify = \"secret\"");
    assert!(
        said.contains("QLC_NOTIFY") && !said.contains("secret"),
        "{said}"
    );
    // An empty flag turns off what the file says.
    let got = decided("notify = \"http://x\"", "--notify=").unwrap();
    assert_eq!(got.told, Told::default());
}
