//! What a cluster does is what a local run does.

use std::collections::BTreeMap;

use crate::{
    processes::{Cluster, Kind, get},
    support::{
        archive::listing,
        damage,
        events::{DAY, Events, HOUR, MINUTE, quotes},
        run::{CATCH_UP, NOW, Place, SERIES},
        s3::BUCKET,
    },
};

/// A day of `symbols` symbols, each in overlapping files of `rows` rows.
pub fn fleet(place: &Place, symbols: usize, files: i64, rows: i64) {
    for nth in 0..symbols {
        let name: &'static str = Box::leak(format!("s{nth:02}usdt").into_boxed_str());
        for file in 0..files {
            let start = DAY + file * HOUR + (nth as i64) * MINUTE;
            let events = Events::sealed(quotes(start, HOUR / rows + 7, file * rows, rows))
                .series("binance", "bbo", name);
            let key = format!(
                "exchange=binance/stream=bbo/symbol={name}/2026-02-03_{file:02}-00-00.parquet"
            );
            let _ = place.put(&key, &events.bytes());
        }
    }
}

/// The objects of the archive that follow from the rows alone: data and meta.
pub fn objects(place: &Place) -> BTreeMap<String, String> {
    let mut found = listing(&place.archive());
    found.retain(|key, _| key.ends_with("data.parquet") || key.ends_with("meta.json"));
    found
}

/// What a local run makes of the same spool.
pub fn reference(place: &Place) -> BTreeMap<String, String> {
    let other = place.root().join("reference");
    let other = other.to_str().unwrap();
    let local = ["compact", "--mode", "catch-up", "--now", NOW];
    let ran = place.elsewhere(other, &local);
    assert!([Some(0), Some(3)].contains(&ran.code), "{ran}");
    let mut found = listing(std::path::Path::new(other));
    found.retain(|key, _| key.ends_with("data.parquet") || key.ends_with("meta.json"));
    assert!(!found.is_empty(), "the reference is empty");
    found
}

#[test]
fn a_fleet_has_the_bytes_of_a_local_run() {
    for place in [Place::new(), Place::on_s3(), Place::all_on_s3()] {
        fleet(&place, 12, 4, 500);
        let want = reference(&place);
        let cluster = Cluster::new(&place, 2);
        let ran = place
            .compact(&["--cluster", &cluster.url()])
            .ended(0)
            .says("12 done");
        assert_eq!(objects(&place), want, "{ran}");
        place.verify();
        place.leaves_nothing();
        // A second run does nothing and says so.
        let _ = place
            .compact(&["--cluster", &cluster.url()])
            .ended(0)
            .says("12 nothing to do");
        assert_eq!(objects(&place), want);
    }
}

#[test]
fn what_cannot_be_compacted_is_quarantined_once() {
    let place = Place::new();
    fleet(&place, 3, 3, 200);
    let bad = Events::sealed(quotes(DAY, HOUR, 0, 5))
        .series("binance", "bbo", "s01usdt")
        .bytes();
    let key = "exchange=binance/stream=bbo/symbol=s01usdt/2026-02-03_09-00-00.parquet";
    let _ = place.put(key, &damage::truncated(&bad, bad.len() / 2));
    let want = reference(&place);
    let cluster = Cluster::new(&place, 2);
    let _ = place
        .compact(&["--cluster", &cluster.url()])
        .ended(3)
        .says("1 quarantined");
    assert_eq!(objects(&place), want);
    // The same bytes are not tried again.
    let _ = place.compact(&["--cluster", &cluster.url()]).ended(0);
    place.verify();
}

#[test]
fn dry_runs_modes_and_outcomes_are_those_of_a_local_run() {
    let place = Place::new();
    fleet(&place, 4, 2, 100);
    let cluster = Cluster::new(&place, 1);
    let url = cluster.url();
    let foreseen = place.compact(&["--dry-run", "--format", "json"]).ended(0);
    let ran = place
        .compact(&["--dry-run", "--format", "json", "--cluster", &url])
        .ended(0);
    assert_eq!(ran.stdout, foreseen.stdout);
    let single = [
        "compact", "--mode", "single", "--date", "20260203", "--stream", "bbo", "--symbol",
        "s02usdt",
    ];
    let ran = place
        .qlc(&[&single[..], &["--format", "json", "--cluster", &url]].concat())
        .ended(0);
    let [outcome] = &ran.json()[..] else {
        panic!("{ran}")
    };
    assert_eq!(
        (outcome["status"].as_str(), outcome["rows"].as_u64()),
        (Some("done"), Some(200))
    );
    assert_eq!(objects(&place).len(), 2, "one partition");
    let ran = place
        .compact(&["--format", "json", "--cluster", &url])
        .ended(0);
    let done = ran.json().iter().filter(|o| o["status"] == "done").count();
    assert_eq!(done, 3, "{ran}");
    // The record of the run names the plan of every partition that was made.
    let ran = place.qlc(&[
        "query",
        "SELECT count(*) AS n FROM archive.runs WHERE plan IS NOT NULL",
        "--format",
        "csv",
    ]);
    assert_eq!(ran.ended(0).stdout, "n\n4\n");
}

#[test]
fn statements_have_the_rows_of_a_local_run() {
    for place in [Place::new(), Place::on_s3()] {
        fleet(&place, 5, 3, 400);
        let _ = place.compact(&[]).ended(0);
        let cluster = Cluster::new(&place, 2);
        for sql in [
            "SELECT symbol, count(*) AS n, min(ts_event) AS a, max(bid_price) AS b FROM bbo GROUP BY symbol ORDER BY symbol",
            "SELECT to_time(ts_event) AS t, seq FROM bbo WHERE symbol = 's03usdt' ORDER BY ts_event, seq LIMIT 7",
            "SELECT count(*) AS n FROM spool.bbo a JOIN archive.bbo b ON a.symbol = b.symbol AND a.seq = b.seq",
            "SELECT symbol, row_count FROM archive.meta ORDER BY symbol",
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'archive' ORDER BY table_name",
        ] {
            let local = place.qlc(&["query", sql, "--format", "csv"]).ended(0);
            let there = place
                .qlc(&["query", sql, "--format", "csv", "--cluster", &cluster.url()])
                .ended(0);
            assert_eq!(there.stdout, local.stdout, "{sql}");
        }
        for name in ["duplicates", "rows_per_hour", "gaps"] {
            let args = [
                "query",
                "--name",
                name,
                "--param",
                "stream=bbo",
                "--format",
                "csv",
            ];
            let local = place.qlc(&args).ended(0);
            let there = place
                .qlc(&[&args[..], &["--cluster", &cluster.url()]].concat())
                .ended(0);
            assert_eq!(sorted(&there.stdout), sorted(&local.stdout), "{name}");
        }
        let wrong = place
            .qlc(&[
                "query",
                "SELECT nothing FROM bbo",
                "--cluster",
                &cluster.url(),
            ])
            .ended(2);
        assert!(wrong.stderr.contains("nothing"), "{wrong}");
    }
}

#[test]
fn a_statement_that_fails_says_why_as_a_local_one_does() {
    let place = Place::new();
    fleet(&place, 2, 2, 100);
    let _ = place.compact(&[]).ended(0);
    let cluster = Cluster::new(&place, 1);
    let check = |sql: &str, why: &str| {
        let query = ["query", sql];
        let local = place.qlc(&query).ended(1);
        let there = place.qlc(&[&query[..], &["--cluster", &cluster.url()]].concat());
        let there = there.ended(1);
        assert!(local.stderr.contains(why), "{local}");
        assert_eq!(there.stderr, local.stderr, "{sql}");
    };
    check("SELECT 1 / (seq - seq) FROM bbo", "Divide by zero");
    check(
        "SELECT symbol, max(CAST(exchange AS BIGINT)) FROM bbo GROUP BY symbol",
        "Cannot cast string",
    );
    let data = place
        .archive()
        .join("exchange=binance/stream=bbo/symbol=s00usdt/date=20260203");
    let mut bytes = std::fs::read(data.join("data.parquet")).unwrap();
    let pages = 4..bytes.len() / 2;
    bytes[pages].fill(0xff);
    std::fs::write(data.join("data.parquet"), bytes).unwrap();
    check(
        "SELECT sum(bid_price), sum(bid_qty), sum(ts_recv) FROM bbo WHERE symbol = 's00usdt'",
        "Parquet",
    );
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn processes_tell_of_themselves() {
    let place = Place::new();
    fleet(&place, 2, 1, 50);
    let mut cluster = Cluster::new(&place, 1);
    let _ = place.compact(&["--cluster", &cluster.url()]).ended(0);
    let told = get(cluster.port, "/metrics").unwrap();
    assert!(told.contains("qlc_cluster_executors 1\n"), "{told}");
    assert_eq!(get(cluster.port, "/health").as_deref(), Some("ok\n"));
    let executors = get(cluster.port, "/qlc/executors").unwrap();
    let executors: serde_json::Value = serde_json::from_str(&executors).unwrap();
    let port = u16::try_from(executors[0]["port"].as_u64().unwrap()).unwrap();
    let told = get(port, "/metrics").unwrap();
    assert!(
        told.contains("qlc_executor_done_tasks_total 6\n"),
        "three days of two symbols were looked at: {told}"
    );
    assert!(
        told.contains("qlc_executor_memory_taken_bytes 0\n"),
        "{told}"
    );
    let checked = place.qlc(&["doctor", "--cluster", &cluster.url()]);
    let checked = checked
        .says("executors: 1, partitions at a time: 2")
        .says(&format!("127.0.0.1:{port}: qlc"));
    assert!(checked.code.is_some());
    // Told to stop, both end well.
    let executor = cluster.executors.last_mut().unwrap();
    executor.signal("-TERM");
    assert_eq!(executor.ended(), Some(0));
    cluster.scheduler.signal("-TERM");
    assert_eq!(cluster.scheduler.ended(), Some(0));
}

#[test]
fn several_spools_are_those_of_a_local_run() {
    let place = Place::on_s3();
    let file = "2026-02-03_00-00-00.parquet";
    let sealed = |seq| Events::sealed(quotes(DAY, MINUTE, seq, 300)).bytes();
    let _ = place.put_quotes(file, &sealed(0));
    place
        .server()
        .put(&format!("b/{SERIES}/{file}"), &sealed(7_000));
    let spools = [
        format!("a={}", place.spool().display()),
        format!("b=s3://{BUCKET}/b"),
    ];
    let on = |args: &[&str]| place.on_spools(&[&spools[0], &spools[1]], args, &[]);
    let mut cluster = Cluster::without_executors();
    for _ in 0..2 {
        let kind = Kind {
            env: vec![("QLC_SPOOL".to_owned(), spools.join(","))],
            ..Kind::default()
        };
        let _ = cluster.join(&place, kind);
    }
    let url = cluster.url();
    for sql in [
        "SELECT collector, count(*) AS n, min(seq) AS first FROM spool.bbo GROUP BY collector ORDER BY collector",
        "SELECT seq FROM spool.bbo WHERE collector = 'b' ORDER BY seq LIMIT 3",
    ] {
        let local = on(&["query", sql, "--format", "csv"]).ended(0);
        let there = on(&["query", sql, "--format", "csv", "--cluster", &url]).ended(0);
        assert_eq!(there.stdout, local.stdout, "{sql}");
    }
    let local = place.root().join("local").display().to_string();
    let _ = on(&[CATCH_UP, &["--archive", &local]].concat()).ended(0);
    let _ = on(&[CATCH_UP, &["--cluster", &url]].concat())
        .ended(0)
        .says("1 done");
    let mut want = listing(std::path::Path::new(&local));
    want.retain(|key, _| key.ends_with("data.parquet") || key.ends_with("meta.json"));
    assert_eq!(objects(&place), want);
    let _ = on(&[CATCH_UP, &["--cluster", &url]].concat())
        .ended(0)
        .says("1 nothing to do");
    let ran = on(&["doctor", "--memory-limit", "256MB", "--cluster", &url]).ended(0);
    assert!(ran.stdout.contains("executors: 2"), "{ran}");
}
