//! The webhook that hears of runs that did not end well.

use serde_json::Value;

use super::support::{
    damage,
    events::{DAY, Events, HOUR, SECOND, quotes},
    listener::Listener,
    run::Place,
};

fn good(start: i64) -> Vec<u8> {
    Events::sealed(quotes(start, SECOND, 0, 100)).bytes()
}

/// A day of one good file and of one that ends too early.
fn with_a_bad_file() -> Place {
    let place = Place::new();
    let _ = place.put_quotes("2026-02-03_00.parquet", &good(DAY));
    let whole = good(DAY + HOUR);
    let _ = place.put_quotes(
        "2026-02-03_01.parquet",
        &damage::truncated(&whole, whole.len() / 2),
    );
    place
}

fn heard(hook: &Listener) -> Vec<Value> {
    hook.posted()
        .iter()
        .map(|posted| serde_json::from_str(&posted.body).unwrap())
        .collect()
}

#[test]
fn a_quarantine_is_told_and_a_good_run_is_not() {
    let place = with_a_bad_file();
    let hook = Listener::new(&[]);
    let url = hook.url("/hook?key=secret");
    let ran = place.compact(&["--notify", &url]).ended(3);
    assert!(!ran.stderr.contains("secret"), "{ran}");
    let [notice] = heard(&hook).try_into().unwrap();
    let posted = &hook.posted()[0];
    assert_eq!(
        (posted.method.as_str(), posted.path.as_str()),
        ("POST", "/hook")
    );
    assert_eq!(posted.kind, "application/json");
    assert_eq!(
        (&notice["command"], &notice["exit_code"]),
        (&"compact".into(), &3.into())
    );
    assert_eq!(
        notice["meaning"],
        "done, but something was quarantined or ignored"
    );
    assert_eq!(
        (&notice["quarantined"], &notice["partitions"]["done"]),
        (&1.into(), &1.into())
    );
    assert_eq!(notice["version"], env!("CARGO_PKG_VERSION"));
    assert!(!notice["host"].as_str().unwrap().is_empty());
    let trouble = &notice["troubles"][0];
    assert_eq!(
        (&trouble["symbol"], &trouble["date"]),
        (&"btcusdt".into(), &"20260203".into()),
        "{notice:#}"
    );
    assert_eq!(
        (&trouble["status"], &notice["more_troubles"]),
        (&"quarantined".into(), &0.into())
    );
    let text = notice["text"].as_str().unwrap();
    assert!(
        text.contains("qlc compact") && text.contains("ended with 3"),
        "{text}"
    );

    // Nothing to do is nothing to tell, and neither is a dry run.
    let _ = place.compact(&["--notify", &url]).ended(0);
    let _ = place.compact(&["--notify", &url, "--dry-run"]).ended(0);
    assert_eq!(hook.posted().len(), 1);
    place.verify();
}

#[test]
fn a_command_that_ended_with_an_error_is_told_too() {
    let place = Place::new();
    let hook = Listener::new(&[]);
    let url = hook.url("/");
    let _ = place.qlc_env(&["verify"], &[("QLC_NOTIFY", &url)]).ended(2);
    let [notice] = heard(&hook).try_into().unwrap();
    assert_eq!(
        (&notice["command"], &notice["exit_code"]),
        (&"verify".into(), &2.into())
    );
    assert!(
        notice["errors"][0]
            .as_str()
            .unwrap()
            .contains("there is no such folder"),
        "{notice:#}"
    );
    assert!(
        notice["text"]
            .as_str()
            .unwrap()
            .contains("there is no such folder"),
        "{notice:#}"
    );
    let _ = place
        .qlc_env(&["collect"], &[("QLC_NOTIFY", &url)])
        .ended(2);
    assert_eq!(heard(&hook)[1]["command"], "collect");
    // What nobody runs by a timer has somebody who looks at it.
    let _ = place.qlc_env(&["inspect", "nothing.parquet"], &[("QLC_NOTIFY", &url)]);
    assert_eq!(hook.posted().len(), 2);
}

#[test]
fn a_webhook_that_does_not_take_it_changes_nothing() {
    let place = with_a_bad_file();
    let hook = Listener::new(&[500, 500, 500, 500]);
    let ran = place
        .compact(&["--notify", &hook.url("/token")])
        .ended(3)
        .says("nobody was notified")
        .says("500");
    assert_eq!(hook.posted().len(), 3);
    assert!(!ran.stderr.contains("token"), "{ran}");
    place.verify();
    // Nobody listens.
    let gone = Listener::new(&[]).url("/token");
    let _ = place.put_quotes("2026-02-03_02.parquet", b"PAR1");
    let ran = place
        .compact(&["--notify", &gone])
        .ended(3)
        .says("nobody was notified");
    assert!(!ran.stderr.contains("token"), "{ran}");
    place.verify();
}
