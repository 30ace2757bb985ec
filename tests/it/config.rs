//! `qlc config show`, and which of several settings holds.

use std::{collections::BTreeMap, fs};

use super::support::run::Place;

/// Value and origin of every setting.
fn shown(place: &Place, args: &[&str], env: &[(&str, &str)]) -> BTreeMap<String, (String, String)> {
    let line = [args, &["config", "show", "--format", "json"]].concat();
    let ran = place.qlc_env(&line, env).ended(0);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    ran.json()
        .iter()
        .map(|one| {
            (
                text(&one["setting"]),
                (text(&one["value"]), text(&one["from"])),
            )
        })
        .collect()
}

fn file(place: &Place, text: &str) -> String {
    let path = place.root().join("qlc.toml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn flags_beat_the_environment_and_the_environment_beats_the_file() {
    let place = Place::new();
    let path = file(
        &place,
        "# settings\nmemory_limit = \"1GB\"\nworkers = 3\nretries = 7\n\n[collect]\nsilence = \"9s\"\nexchange = [\"okx\"]\n\
         [collect.endpoints]\n\"okx.public\" = \"ws://me:pass@127.0.0.1:1/x\"\n\
         [reconcile]\nbybit = \"https://me:pass@host/{SYMBOL}?key=1\"\nokx = [\"https://a/{DD}\", \"https://b/{DD}\"]\n",
    );
    let env = [
        ("QLC_CONFIG", path.as_str()),
        ("QLC_WORKERS", "5"),
        ("QLC_COLLECT_SILENCE", "8s"),
        ("QLC_RETRIES", "8"),
    ];
    let all = shown(&place, &["--retries", "9"], &env);
    let check = |setting: &str, value: &str, from: &str| {
        assert_eq!(
            all[setting],
            (value.to_owned(), from.to_owned()),
            "{setting}"
        );
    };
    let line = |number: u8| format!("{path}, line {number}");
    check("memory_limit", "1GB", &line(2));
    check("workers", "5", "environment QLC_WORKERS");
    check("retries", "9", "flag --retries");
    check("connections", "64", "default");
    check(
        "spool",
        &place.spool().display().to_string(),
        "flag --spool",
    );
    check(
        "spill_dir",
        &place.spill().display().to_string(),
        "environment QLC_SPILL_DIR",
    );
    check("notify", "-", "default");
    check("collect.silence", "8s", "environment QLC_COLLECT_SILENCE");
    check("collect.exchange", "okx", &line(8));
    check("collect.symbol", "-", "default");
    check("collect.stream", "bbo,trade,mark_price,funding", "default");
    check(
        "collect.endpoints",
        "okx.public=ws://***@127.0.0.1:1/x",
        &line(9),
    );
    check("reconcile.binance", "-", "default");
    check(
        "reconcile.bybit",
        "https://***@host/{SYMBOL}?***",
        &line(12),
    );
    check("reconcile.okx", "https://a/{DD},https://b/{DD}", &line(13));
    // For a person it is the same in a table.
    let _ = place
        .qlc_env(&["config", "show"], &env)
        .ended(0)
        .says("environment QLC_COLLECT_SILENCE");
}

#[test]
fn no_secret_is_shown() {
    let place = Place::new();
    let path = file(
        &place,
        "notify = \"https://hooks.example.org/T0/B0/secret?key=secret\"\n",
    );
    let env = [
        ("QLC_CONFIG", path.as_str()),
        ("QLC_METRICS_PUSH", "https://me:secret@gateway.example.org/"),
        ("AWS_ENDPOINT_URL", "https://me:secret@s3.example.org"),
        ("AWS_ACCESS_KEY_ID", "secret"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let all = shown(&place, &[], &env);
    assert_eq!(
        all["notify"],
        (
            "https://hooks.example.org/***".to_owned(),
            format!("{path}, line 1")
        )
    );
    assert_eq!(all["metrics_push"].0, "https://***@gateway.example.org/");
    assert_eq!(all["endpoint"].0, "https://***@s3.example.org/");
    assert_eq!(
        all["credentials"],
        ("***".to_owned(), "environment AWS_ACCESS_KEY_ID".to_owned())
    );
    let ran = place.qlc_env(&["config", "show"], &env).ended(0);
    assert!(
        !ran.to_string()
            .split("--- stdout")
            .nth(1)
            .unwrap()
            .contains("secret"),
        "{ran}"
    );
}

#[test]
fn a_key_that_is_none_is_refused_with_a_suggestion() {
    let place = Place::new();
    let check = |text: &str, want: &str| {
        let path = file(&place, text);
        let ran = place
            .qlc(&["--config", &path, "config", "show"])
            .ended(2)
            .says(want);
        assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    };
    check(
        "memory-limit = \"1GB\"\n",
        "memory-limit is not a setting; did you mean memory_limit?",
    );
    check(
        "[collect]\nsymbols = []\n",
        "collect.symbols is not a setting; did you mean collect.symbol?",
    );
    check("[colect]\n", "colect is not a setting");
}

#[test]
fn the_collector_needs_feeds_from_somewhere() {
    let place = Place::new();
    let _ = place
        .qlc(&["collect"])
        .ended(2)
        .says("no exchange is named")
        .says("[collect]");
    let path = file(&place, "[collect]\nexchange = \"okx\"\n");
    let _ = place
        .qlc(&["--config", &path, "collect"])
        .ended(2)
        .says("no symbol is named")
        .says("QLC_COLLECT_SYMBOL");
    let record = ["--config", &path, "record", "frames.ndjson.zst"];
    let _ = place.qlc(&record).ended(2).says("no symbol is named");
}
