//! Which value holds, and what is said of a file that is wrong.

use super::*;
use crate::cli::args::{self, Collect, Command, Feeds};

fn file(text: &str) -> Result<File> {
    File::parse(text, Path::new("/etc/qlc/qlc.toml"))
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let from_file =
        file("spool = \"/a\"\narchive = \"/b\"\nmemory_limit = \"1GB\"\nworkers = 3").unwrap();
    let typed = Global {
        spool: vec!["/typed".to_owned()],
        ..Global::default()
    };
    let resources = Resources {
        memory_limit: Some(512_000_000),
        spill_dir: None,
    };
    let got = Settings::merge(&typed, &resources, &Tuning::default(), from_file, None).unwrap();
    let want = Settings {
        spool: Spools::one("/typed"),
        archive: "/b".to_owned(),
        memory_limit: 512_000_000,
        spill_dir: std::env::temp_dir().join(scratch::private_name()),
        workers: 3,
        zstd_level: None,
        keep_records: None,
        bucket: BucketOptions {
            variables: Some(Variables(aws_variables())),
            ..BucketOptions::usual()
        },
        profile: None,
        told: Told::default(),
        collect: CollectFile::default(),
        published: BTreeMap::new(),
    };
    assert_eq!(got, want);
    let bare = Settings::merge(
        &Global::default(),
        &Resources::default(),
        &Tuning::default(),
        File::default(),
        None,
    )
    .unwrap();
    assert_eq!(
        (bare.spool, bare.archive.as_str()),
        (Spools::one(DEFAULT_SPOOL), DEFAULT_ARCHIVE)
    );
    assert_eq!(
        (bare.memory_limit, bare.workers),
        (DEFAULT_MEMORY, 2 * cores())
    );
}

#[test]
fn what_is_wrong_in_the_file_is_said_with_its_name() {
    let check =
        |text: &str, want: &str| assert_eq!(file(text).unwrap_err().chain(), want, "{text}");
    check(
        "memory-limit = \"1GB\"",
        "/etc/qlc/qlc.toml: memory-limit is not a setting; did you mean memory_limit? the settings are spool, \
         archive, memory_limit, spill_dir, workers, zstd_level, endpoint, region, profile, allow_http, path_style, \
         single_writer, request_timeout, connect_timeout, retries, retry_timeout, connections, multipart_above, \
         part_size, keep_records, metrics_file, metrics_push, notify, and the sections [collect] and [reconcile]",
    );
    check(
        "colour = 1",
        &format!(
            "/etc/qlc/qlc.toml: colour is not a setting; the settings are {}, and the sections [collect] and [reconcile]",
            TOP.join(", ")
        ),
    );
    check(
        "spool = 1",
        "/etc/qlc/qlc.toml: spool is a number, not a text; write spool = \"/opt/quantlab/spool\"",
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
    assert!(
        file("spool = \"/a\"\narchive")
            .unwrap_err()
            .chain()
            .starts_with("/etc/qlc/qlc.toml: line 2 is not TOML: ")
    );
}

#[test]
fn relative_paths_of_the_file_begin_where_it_lies() {
    let got = file("spool = \"spool\"\narchive = \"s3://bucket\"\nspill_dir = \"/tmp/x\"").unwrap();
    assert_eq!(got.spool, Some(Spools::one("/etc/qlc/spool")));
    assert_eq!(got.archive.as_deref(), Some("s3://bucket"));
    assert_eq!(got.spill_dir, Some(PathBuf::from("/tmp/x")));
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
        assert_eq!(file(text).unwrap().spool, Some(want.clone()), "{text}");
    }
    let check = |text: &str, want: &str| {
        let said = file(text).unwrap_err().chain();
        assert!(
            said.starts_with("/etc/qlc/qlc.toml: spool") && said.contains(want),
            "{text}: {said}"
        );
    };
    check("spool = [1]", "spool is a list, not one of texts");
    check("spool = { a = 1 }", "spool.a is a number, not a text");
    check(
        "spool = { \"a b\" = \"/x\" }",
        "is not a name of a collector",
    );
    check("spool = [\"a=/x\", \"/y\"]", "/y has no name");
    check("spool = \"a=/x a=/y\"", "two spools are named a");
    check("spool = []", "no spool is named");
    let merge = |global: &Global, file| {
        Settings::merge(
            global,
            &Resources::default(),
            &Tuning::default(),
            file,
            None,
        )
        .map(|settings| settings.spool)
    };
    // A flag is one spool; a variable may list several.
    let mut typed = Global {
        spool: vec!["a=/x".to_owned(), "b=/y,c=/z".to_owned()],
        ..Global::default()
    };
    assert_eq!(
        merge(&typed, File::default()).unwrap(),
        Spools::parse(["a=/x", "b=/y,c=/z"]).unwrap()
    );
    typed.sources.environment = vec![("spool".to_owned(), "QLC_SPOOL".to_owned())];
    typed.spool = vec!["a=/x,b=/y c=/z".to_owned()];
    assert_eq!(
        merge(&typed, File::default()).unwrap(),
        Spools::parse(["a=/x", "b=/y", "c=/z"]).unwrap()
    );
    typed.spool = vec!["a=/x,a=/y".to_owned()];
    assert!(
        merge(&typed, File::default())
            .unwrap_err()
            .chain()
            .starts_with("QLC_SPOOL: two spools")
    );
    let empty = Global {
        spool: vec!["a=".to_owned()],
        ..Global::default()
    };
    assert!(
        merge(&empty, File::default())
            .unwrap_err()
            .chain()
            .contains("the spool is an empty string")
    );
}

#[test]
fn impossible_values_are_refused_wherever_they_come_from() {
    let small = Resources {
        memory_limit: Some(100_000_000),
        spill_dir: None,
    };
    let refused = Settings::merge(
        &Global::default(),
        &small,
        &Tuning::default(),
        File::default(),
        None,
    )
    .unwrap_err();
    assert_eq!(
        refused.chain(),
        "a memory limit of 100 MB is too small to work in: give at least 256 MB"
    );
    let empty = Global {
        archive: Some(String::new()),
        ..Global::default()
    };
    let refused = Settings::merge(
        &empty,
        &Resources::default(),
        &Tuning::default(),
        File::default(),
        None,
    )
    .unwrap_err();
    assert!(
        refused.chain().contains("QLC_ARCHIVE"),
        "{}",
        refused.chain()
    );
}

#[test]
fn suggestions_are_near() {
    assert_eq!(nearest("spol", TOP), Some("spool"));
    assert_eq!(nearest("worker", TOP), Some("workers"));
    assert_eq!(nearest("bucket", TOP), None);
    assert_eq!(
        (
            near::distance("", "abc"),
            near::distance("kitten", "sitting")
        ),
        (3, 3)
    );
}

#[test]
fn the_file_to_install_has_every_setting_and_no_other() {
    let text = include_str!("../../../deploy/qlc.toml");
    let _ = file(text).unwrap();
    // With everything that is commented out. Prose has no equals sign after its first word.
    let is_setting = |line: &str| {
        line.split_once('=')
            .is_some_and(|(key, _)| !key.trim().contains(' '))
    };
    let uncommented = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_setting(rest) || rest.starts_with('[') => rest,
        _ => line,
    });
    let all = file(&uncommented.collect::<Vec<_>>().join("\n")).unwrap();
    let mut got: Vec<&str> = all.lines.iter().map(|(key, _)| key.as_str()).collect();
    got.retain(|key| {
        !["collect", "reconcile"].contains(key) && !key.starts_with("collect.endpoints.")
    });
    let collect = COLLECT.map(|key| format!("{COLLECT_SECTION}.{key}"));
    let reconcile = RECONCILE.map(|key| format!("{RECONCILE_SECTION}.{key}"));
    let sections = collect.iter().chain(&reconcile).map(String::as_str);
    let want: Vec<&str> = TOP.into_iter().chain(sections).collect();
    assert_eq!(got, want);
    // What stands there as the usual value is the usual value.
    let usual = Settings::merge(
        &Global::default(),
        &Resources::default(),
        &Tuning::default(),
        File::default(),
        None,
    )
    .unwrap();
    let written = Settings::merge(
        &Global::default(),
        &Resources::default(),
        &Tuning::default(),
        all.clone(),
        None,
    );
    assert!(written.unwrap_err().chain().contains("profile \"archive\""));
    assert_eq!(all.memory_limit, Some(usual.memory_limit));
    let collecting = |file| Collecting::merge(&typed_collect(), file);
    let (written, usual) = (
        collecting(&all.collect),
        collecting(&CollectFile::default()),
    );
    let feeds = Feeds {
        stream: usual.feeds.stream.clone(),
        ..written.feeds.clone()
    };
    assert_eq!(
        written,
        Collecting {
            feeds,
            listen: written.listen,
            ..usual
        }
    );
}

fn typed_collect() -> Collect {
    match args::read(["qlc", "collect"].map(Into::into))
        .unwrap()
        .command
    {
        Command::Collect(collect) => collect,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_section_of_the_collector_is_read_like_its_flags() {
    let all = file(
        "[collect]\nexchange = \"okx,bybit\"\nsymbol = [\"btcusdt\"]\nsilence = \"9s\"\n[collect.endpoints]\n\"okx.public\" = \"ws://x\"",
    );
    let collect = all.unwrap().collect;
    let got = Collecting::decide(&typed_collect(), &collect).unwrap();
    assert_eq!(
        got.feeds
            .exchange
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["okx", "bybit"]
    );
    assert_eq!((got.silence.as_secs(), got.rotate_size), (9, 64_000_000));
    assert_eq!(
        got.feeds.endpoint,
        [("okx.public".to_owned(), "ws://x".to_owned())]
    );
    let nothing = Collecting::decide(&typed_collect(), &CollectFile::default())
        .unwrap_err()
        .chain();
    assert!(
        nothing.contains("--exchange") && nothing.contains("QLC_COLLECT_EXCHANGE"),
        "{nothing}"
    );
    let check = |text: &str, want: &str| {
        let said = file(text).unwrap_err().chain();
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
        "collect.listen: write an address and a port",
    );
    check("[collect]\nendpoints = 1", "collect.endpoints: is a number");
    check("collect = 1", "collect is a number, not a section");
}

#[test]
fn the_files_of_an_exchange_have_a_url_or_several() {
    let of = |text: &str| {
        let all = file(text).unwrap().published;
        all.get(&"okx".parse().unwrap())
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
        let said = file(text).unwrap_err().chain();
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
    let said = file("[reconcile]\nokx = \"https://x/{DAY}\"")
        .unwrap_err()
        .chain();
    assert!(
        said.contains("reconcile.okx: https://x/{DAY}: {DAY} stands for nothing"),
        "{said}"
    );
}

#[test]
fn a_webhook_must_be_a_url_and_is_not_repeated() {
    let from_file = file("notify = \"secret\"").unwrap();
    let merged = Settings::merge(
        &Global::default(),
        &Resources::default(),
        &Tuning::default(),
        from_file,
        None,
    );
    let said = merged.unwrap_err().chain();
    assert!(
        said.contains("QLC_NOTIFY") && !said.contains("secret"),
        "{said}"
    );
    // An empty flag turns off what the file says.
    let typed = Global {
        notify: Some(String::new()),
        ..Global::default()
    };
    let from_file = file("notify = \"http://x\"").unwrap();
    let got = Settings::merge(
        &typed,
        &Resources::default(),
        &Tuning::default(),
        from_file,
        None,
    )
    .unwrap();
    assert_eq!(got.told, Told::default());
}
