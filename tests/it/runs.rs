//! The records of runs: each run leaves one, dry runs leave none, nothing else is changed or
//! confused by them.

use std::fs;

use serde_json::Value;

use super::support::{
    archive::listing,
    events::{DAY, Events, SECOND, quotes},
    run::Place,
};

fn put(place: &Place, name: &str, seq: i64) {
    let _ = place.put_quotes(
        name,
        &Events::sealed(quotes(DAY + seq * SECOND, SECOND, seq, 20)).bytes(),
    );
}

/// The records, in the order of their ends, with their keys.
fn records(place: &Place) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let runs = place.archive().join("_runs");
    for day in fs::read_dir(&runs).into_iter().flatten() {
        for file in fs::read_dir(day.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let key = path.strip_prefix(&runs).unwrap().display().to_string();
            all.push((
                key,
                serde_json::from_slice(&fs::read(path).unwrap()).unwrap(),
            ));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn check(place: &Place) {
    put(place, "2026-02-03_00.parquet", 0);
    let _ = place
        .qlc(&["compact", "--mode", "catch-up", "--dry-run"])
        .ended(0);
    assert_eq!(records(place), Vec::new());

    let _ = place
        .compact(&["--exchange", "binance", "--memory-limit", "512MB"])
        .ended(0);
    let all = records(place);
    let [(key, run)] = all.as_slice() else {
        panic!("{all:?}")
    };
    let id = run["id"].as_str().unwrap();
    let day = run["ended_at"].as_str().unwrap()[..10].replace('-', "");
    assert_eq!(*key, format!("date={day}/{id}.json"));
    assert_eq!(
        (&run["command"], &run["asked"]["mode"]),
        (&"compact".into(), &"catch-up".into())
    );
    assert_eq!(run["asked"]["exchanges"], serde_json::json!(["binance"]));
    assert_eq!(
        (&run["exit_code"], &run["run_version"]),
        (&0.into(), &1.into())
    );
    assert_eq!(run["memory"]["limit"], 512_000_000);
    let peak = run["memory"]["peak"].as_u64().unwrap();
    assert!((1_000_000..512_000_000).contains(&peak), "{peak}");
    let [part] = run["partitions"].as_array().unwrap().as_slice() else {
        panic!("{run}")
    };
    assert_eq!(
        (&part["status"], &part["rows"], &part["files"]),
        (&"done".into(), &20.into(), &1.into())
    );
    assert!(
        part["plan"].as_array().is_some_and(|plan| !plan.is_empty()),
        "{part}"
    );

    // A run in which nothing happened leaves one as well, and changes nothing else.
    let before = listing(&place.archive());
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    assert_eq!(listing(&place.archive()), before);
    let all = records(place);
    // There may be very many partitions with nothing to do: they are counted.
    assert_eq!(
        (
            all.len(),
            &all[1].1["partitions"],
            &all[1].1["counts"]["up-to-date"]
        ),
        (2, &serde_json::json!([]), &1.into())
    );
    assert_eq!(all[0].1["counts"]["up-to-date"], Value::Null);

    let _ = place.qlc(&["verify"]).ended(0).says("1 partition sound");
    let _ = place
        .qlc(&["clean", "--older-than", "0s"])
        .ended(0)
        .says("nothing to clean");
    let _ = place.qlc(&["clean", "--dry-run"]).ended(0);
    let _ = place
        .qlc(&["prune", "--keep-days", "1", "--dry-run"])
        .ended(0);
    let _ = place.qlc(&["prune", "--keep-days", "1"]).ended(0);
    let all = records(place);
    let commands: Vec<&str> = all
        .iter()
        .map(|(_, run)| run["command"].as_str().unwrap())
        .collect();
    assert_eq!(commands, ["compact", "compact", "verify", "clean", "prune"]);
    assert_eq!(all[2].1["partitions"][0]["status"], "sound");
    assert_eq!(all[4].1["counts"]["removed"], 1);

    let sql = "SELECT command, mode, exit_code, status, rows, symbol, date FROM archive.runs \
               WHERE memory_peak > 0 ORDER BY run, symbol";
    let ran = place.qlc(&["query", sql, "--format", "ndjson"]).ended(0);
    let told = ran.json();
    assert_eq!(told.len(), 5, "{ran}");
    assert_eq!(
        (&told[0]["status"], &told[0]["rows"], &told[0]["date"]),
        (&"done".into(), &20.into(), &"20260203".into())
    );
    assert_eq!(
        (&told[4]["command"], &told[4]["symbol"]),
        (&"prune".into(), &Value::Null)
    );
    // Records are no partitions.
    let ran = place
        .qlc(&[
            "query",
            "SELECT count(*) AS n FROM archive.events",
            "--format",
            "ndjson",
        ])
        .ended(0);
    assert_eq!(ran.json()[0]["n"], 20);
    place.verify();
}

#[test]
fn each_run_leaves_a_record() {
    check(&Place::new());
}

#[test]
fn each_run_leaves_a_record_in_a_bucket() {
    check(&Place::on_s3());
}

#[test]
fn the_exit_code_is_on_record() {
    let place = Place::new();
    put(&place, "2026-02-03_00.parquet", 0);
    let bad = Events::sealed(quotes(DAY, SECOND, 90, 20)).bytes();
    let _ = place.put_quotes("2026-02-03_01.parquet", &bad[..bad.len() - 20]);
    let _ = place.compact(&[]).ended(3);
    let all = records(&place);
    assert_eq!((all.len(), &all[0].1["exit_code"]), (1, &3.into()));
    assert_eq!(all[0].1["partitions"][0]["quarantined"], 1);
}

#[test]
fn a_record_that_cannot_be_written_fails_nothing() {
    let place = Place::new();
    put(&place, "2026-02-03_00.parquet", 0);
    fs::create_dir_all(place.archive()).unwrap();
    fs::write(place.archive().join("_runs"), b"in the way").unwrap();
    let _ = place.compact(&[]).ended(0).says("not in the history");
    let _ = place.qlc(&["verify"]).ended(0).says("1 partition sound");
    fs::remove_file(place.archive().join("_runs")).unwrap();
    // One that cannot be read hides no other.
    let _ = place.compact(&[]).ended(0);
    fs::write(place.archive().join("_runs").join("torn.json"), b"{").unwrap();
    let ran = place
        .qlc(&[
            "query",
            "SELECT command FROM archive.runs",
            "--format",
            "ndjson",
        ])
        .ended(0);
    assert_eq!(ran.json().len(), 1, "{ran}");
    let _ = ran.says("left out of the history");
    place.verify();
}
