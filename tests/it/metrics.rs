//! The metrics of runs: a file that a node exporter reads, and a gateway that is pushed to.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::support::{
    damage,
    events::{DAY, Events, HOUR, SECOND, quotes},
    listener::Listener,
    run::Place,
};

fn put(place: &Place, name: &str, start: i64) {
    let _ = place.put_quotes(name, &Events::sealed(quotes(start, SECOND, 0, 20)).bytes());
}

fn file(place: &Place) -> PathBuf {
    place.root().join("metrics/qlc.prom")
}

/// The values by name and labels; fails unless every family is told once, with its help and type
/// before it.
fn values(text: &str) -> BTreeMap<String, String> {
    let mut told = Vec::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(kind == "gauge" && !told.contains(&name), "{text}");
            told.push(name);
        } else if !line.starts_with("# HELP ") {
            let (key, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(key.split('{').next(), told.last().copied(), "{text}");
            let _: f64 = value.parse().unwrap();
            assert_eq!(
                found.insert(key.to_owned(), value.to_owned()),
                None,
                "{key} is told twice"
            );
        }
    }
    found
}

fn kept(place: &Place) -> BTreeMap<String, String> {
    values(&fs::read_to_string(file(place)).unwrap())
}

#[test]
fn a_file_keeps_the_metrics_of_every_command() {
    let place = Place::new();
    put(&place, "2026-02-03_00.parquet", DAY);
    let path = file(&place).display().to_string();
    let env = [("QLC_METRICS_FILE", path.as_str())];
    let compact = [
        "compact",
        "--mode",
        "catch-up",
        "--now",
        super::support::run::NOW,
    ];
    let dry: Vec<&str> = compact.iter().copied().chain(["--dry-run"]).collect();
    let _ = place.qlc_env(&dry, &env).ended(0);
    assert!(!file(&place).exists(), "a dry run is no run");

    let _ = place.qlc_env(&compact, &env).ended(0);
    let all = kept(&place);
    let of = |all: &BTreeMap<String, String>, name: &str, command: &str| {
        all[&format!("qlc_run_{name}{{command=\"{command}\"}}")].clone()
    };
    let partitions = |all: &BTreeMap<String, String>, status: &str| {
        all[&format!("qlc_run_partitions{{command=\"compact\",status=\"{status}\"}}")].clone()
    };
    assert_eq!(
        (
            of(&all, "success", "compact"),
            of(&all, "exit_code", "compact")
        ),
        ("1".to_owned(), "0".to_owned())
    );
    assert_eq!(
        (of(&all, "rows", "compact"), partitions(&all, "done")),
        ("20".to_owned(), "1".to_owned())
    );
    for status in [
        "up_to_date",
        "completed",
        "lost_race",
        "failed",
        "interrupted",
        "unknown",
    ] {
        assert_eq!(partitions(&all, status), "0", "{status}");
    }
    let number = |text: String| text.parse::<f64>().unwrap();
    assert!(number(of(&all, "peak_memory_bytes", "compact")) > 0.0);
    assert!(
        number(of(&all, "input_bytes", "compact")) > 0.0
            && number(of(&all, "output_bytes", "compact")) > 0.0
    );
    assert_eq!(of(&all, "memory_limit_bytes", "compact"), "2500000000");
    assert_eq!(
        of(&all, "last_success_time_seconds", "compact"),
        of(&all, "end_time_seconds", "compact")
    );
    assert!(of(&all, "start_time_seconds", "compact") <= of(&all, "end_time_seconds", "compact"));
    let version = format!(
        "qlc_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(all[&version], "1");

    // Another command adds its own; what it found is told, and its failure does not touch the
    // first.
    let _ = place.qlc_env(&["verify"], &env).ended(0);
    let sound = kept(&place);
    assert_eq!(of(&sound, "findings", "verify"), "0");
    let data = place.archive().join(super::support::archive::dir(
        "binance", "bbo", "btcusdt", "20260203",
    ));
    let mut bytes = fs::read(data.join("data.parquet")).unwrap();
    damage::flip_in_data_page(&mut bytes, "bid_price", 0, 0);
    fs::write(data.join("data.parquet"), bytes).unwrap();
    let _ = place.qlc_env(&["verify"], &env).ended(4);
    let damaged = kept(&place);
    assert_ne!(of(&damaged, "findings", "verify"), "0");
    assert_eq!(
        (
            of(&damaged, "success", "verify"),
            of(&damaged, "exit_code", "verify")
        ),
        ("0".to_owned(), "4".to_owned())
    );
    // The last success is that of the run before.
    assert_eq!(
        of(&damaged, "last_success_time_seconds", "verify"),
        of(&sound, "last_success_time_seconds", "verify")
    );
    assert_eq!(
        of(&damaged, "end_time_seconds", "compact"),
        of(&all, "end_time_seconds", "compact")
    );
    let _ = place.qlc_env(&["clean"], &env).ended(0);
    assert_eq!(of(&kept(&place), "success", "clean"), "1");
    let names: Vec<_> = fs::read_dir(place.root().join("metrics"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["qlc.prom"]);
}

#[test]
fn a_run_that_could_not_begin_is_told_too() {
    let place = Place::new();
    let path = file(&place).display().to_string();
    let _ = place
        .elsewhere(
            "ftp://nowhere",
            &["--metrics-file", &path, "compact", "--mode", "daily"],
        )
        .ended(2);
    let all = kept(&place);
    assert_eq!(all["qlc_run_exit_code{command=\"compact\"}"], "2");
    assert!(
        !all.contains_key("qlc_run_last_success_time_seconds{command=\"compact\"}"),
        "{all:?}"
    );
}

#[test]
fn a_foreign_file_is_left_alone_and_the_run_ends_as_it_would() {
    let place = Place::new();
    fs::create_dir_all(file(&place).parent().unwrap()).unwrap();
    fs::write(file(&place), "something of value\n").unwrap();
    let path = file(&place).display().to_string();
    let _ = place
        .qlc(&["--metrics-file", &path, "clean"])
        .ended(0)
        .says("the metrics were not kept")
        .says("left alone");
    assert_eq!(
        fs::read_to_string(file(&place)).unwrap(),
        "something of value\n"
    );
}

#[test]
fn a_gateway_is_pushed_to() {
    let place = Place::new();
    put(&place, "2026-02-03_00.parquet", DAY + HOUR);
    // The first attempt meets a server that cannot, for once.
    let gateway = Listener::new(&[503]);
    let _ = place
        .compact(&["--metrics-push", &gateway.url("")])
        .ended(0);
    let posted = gateway.posted();
    assert_eq!(posted.len(), 2);
    assert_eq!(posted[0], posted[1]);
    assert_eq!(
        (posted[1].method.as_str(), posted[1].path.as_str()),
        ("POST", "/metrics/job/qlc/command/compact")
    );
    assert_eq!(
        values(&posted[1].body)["qlc_run_rows{command=\"compact\"}"],
        "20"
    );

    let own = Listener::new(&[400]);
    let ran = place
        .compact(&["--metrics-push", &own.url("/metrics/job/other")])
        .ended(0);
    assert_eq!(
        own.posted()
            .iter()
            .map(|p| p.path.as_str())
            .collect::<Vec<_>>(),
        ["/metrics/job/other"]
    );
    let _ = ran.says("the metrics were not pushed").says("400");
    place.verify();
}

#[test]
fn gauges_tell_what_lies_in_quarantine_and_which_days_are_not_complete() {
    let place = Place::new();
    put(&place, "2026-02-01_00.parquet", DAY - 48 * HOUR);
    put(&place, "2026-02-03_00.parquet", DAY);
    let bad = Events::sealed(quotes(DAY + HOUR, SECOND, 0, 20)).bytes();
    let _ = place.put_quotes("2026-02-03_01.parquet", &bad[..bad.len() - 20]);
    let path = file(&place).display().to_string();
    let env = [("QLC_METRICS_FILE", path.as_str())];
    let compact = [
        "compact",
        "--mode",
        "catch-up",
        "--now",
        super::support::run::NOW,
    ];
    // 2026-02-02 and 2026-02-04 are missing, something of 2026-02-03 is in QUARANTINE.
    for code in [3, 0] {
        let _ = place.qlc_env(&compact, &env).ended(code);
        let all = kept(&place);
        assert_eq!(all["qlc_quarantine_entries{command=\"compact\"}"], "1");
        assert_eq!(all["qlc_incomplete_days{command=\"compact\"}"], "3");
    }
}
