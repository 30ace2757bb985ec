//! Executors that die, hang, lack something or are of another version; a scheduler that dies.

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use qlc::{
    compact::{
        Mode, Options, Outcome, Status, Stop,
        apart::{one_of_many, with_lost},
    },
    model::partition::{Selection, Series},
    storage::store::Store,
};

use crate::{
    processes::{Cluster, Kind, Process, drain, executor, free, qlc, says},
    same::{fleet, objects, reference},
    support::{
        damage,
        events::{DAY, Events, HOUR, quotes},
        run::{CATCH_UP, NOW, Place, Ran},
    },
};

/// Random, and the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Begins a run on the cluster.
fn begin(place: &Place, cluster: &Cluster) -> std::process::Child {
    place.spawn(&[CATCH_UP, &["--cluster", &cluster.url()]].concat(), &[])
}

#[test]
fn executors_killed_at_random_moments_lose_and_double_nothing() {
    let place = Place::new();
    fleet(&place, 16, 3, 20_000);
    let want = reference(&place);
    let mut cluster = Cluster::new(&place, 2);
    let mut chance = Chance(0x5eed_1234_abcd_0001);
    // How long a run takes that nobody disturbs: the moments lie within it.
    let began = Instant::now();
    let _ = place.compact(&["--cluster", &cluster.url()]).ended(0);
    let whole = began.elapsed().as_millis().max(200) as u64;
    for round in 0..20 {
        let _ = std::fs::remove_dir_all(place.archive());
        let run = begin(&place, &cluster);
        std::thread::sleep(Duration::from_millis(chance.below(whole)));
        let victim = chance.below(cluster.executors.len() as u64) as usize;
        drop(cluster.executors.swap_remove(victim));
        let ran = Ran::of_child(run).ended(0);
        assert_eq!(objects(&place), want, "round {round}: {ran}");
        let _ = cluster.join(&place, Kind::default());
    }
    place.verify();
    let _ = place
        .compact(&["--cluster", &cluster.url()])
        .ended(0)
        .says("16 nothing to do");
    place.is_tidy();
}

#[test]
fn an_executor_that_hangs_is_replaced_and_does_no_harm_when_it_wakes() {
    for place in [Place::new(), Place::on_s3()] {
        fleet(&place, 8, 3, 20_000);
        let want = reference(&place);
        let mut cluster = Cluster::new(&place, 2);
        let run = begin(&place, &cluster);
        std::thread::sleep(Duration::from_millis(150));
        cluster.executors[0].signal("-STOP");
        // Its partitions are held: on a folder by its locks, for longer than a run waits for them.
        let ran = Ran::of_child(run);
        match ran.code {
            Some(0) => assert_eq!(objects(&place), want, "{ran}"),
            code => {
                assert_eq!(code, Some(1), "{ran}");
                let why = "whether it will be published is not known";
                assert!(
                    ran.stdout.contains(why) || ran.stderr.contains(why),
                    "{ran}"
                );
            }
        }
        cluster.executors[0].signal("-CONT");
        let began = Instant::now();
        while objects(&place) != want {
            assert!(
                began.elapsed() < Duration::from_mins(1),
                "the archive did not become whole: {ran}"
            );
            std::thread::sleep(Duration::from_millis(100));
            let _ = place.compact(&[]).ended(0);
        }
        place.verify();
        let _ = cluster.executors.pop();
    }
}

#[test]
fn without_its_scheduler_a_run_ends_and_the_next_one_takes_it_up() {
    let place = Place::new();
    fleet(&place, 16, 3, 20_000);
    let want = reference(&place);
    let mut cluster = Cluster::new(&place, 2);
    let run = begin(&place, &cluster);
    std::thread::sleep(Duration::from_millis(200));
    cluster.scheduler.signal("-KILL");
    let _ = cluster.scheduler.ended();
    let _ = Ran::of_child(run).ended(1).says("the scheduler has gone");
    drop(cluster);
    let cluster = Cluster::new(&place, 2);
    let _ = place.compact(&["--cluster", &cluster.url()]).ended(0);
    assert_eq!(objects(&place), want);
    place.verify();
    // And where none is, that is said at once.
    let _ = place
        .compact(&["--cluster", "df://127.0.0.1:1"])
        .ended(1)
        .says("does not answer");
    let _ = place
        .compact(&["--cluster", "127.0.0.1:1"])
        .ended(2)
        .says("write df://host:50050");
    let cluster = Cluster::without_executors();
    let _ = place
        .compact(&["--cluster", &cluster.url()])
        .ended(2)
        .says("has no executors");
}

#[test]
fn another_version_is_refused_by_name() {
    let place = Place::new();
    fleet(&place, 2, 1, 50);
    let mut cluster = Cluster::new(&place, 1);
    let other = Kind {
        env: vec![("QLC_PRETEND_VERSION".to_owned(), "9.9.9".to_owned())],
        ..Kind::default()
    };
    let name = cluster.join(&place, other);
    let ran = place.compact(&["--cluster", &cluster.url()]).ended(2);
    assert!(
        ran.stderr
            .contains(&format!("executor {name}: is qlc 9.9.9")),
        "{ran}"
    );
    // So is another build of this version, whose bytes would be others.
    let of_this = format!("{}+99", env!("CARGO_PKG_VERSION"));
    let other = Kind {
        env: vec![("QLC_PRETEND_VERSION".to_owned(), of_this.clone())],
        ..Kind::default()
    };
    let name = cluster.join(&place, other);
    let ran = place.compact(&["--cluster", &cluster.url()]).ended(2);
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        ran.stderr
            .contains(&format!("executor {name}: is qlc {version} (encoding 99)")),
        "{ran}"
    );
    assert!(objects(&place).is_empty(), "something was written");
    // A client of another version is refused as well.
    let pretend = [("QLC_PRETEND_VERSION", "9.9.9")];
    let ran = place
        .qlc_env(
            &[CATCH_UP, &["--cluster", &cluster.url()]].concat(),
            &pretend,
        )
        .ended(2);
    assert!(
        ran.stderr.contains("one version makes one archive"),
        "{ran}"
    );
}

#[test]
fn an_executor_that_does_not_see_the_stores_is_named_before_work_begins() {
    let place = Place::all_on_s3();
    fleet(&place, 2, 1, 50);
    let mut cluster = Cluster::new(&place, 1);
    let blind = Kind {
        env: vec![("AWS_SECRET_ACCESS_KEY".to_owned(), "wrong".to_owned())],
        ..Kind::default()
    };
    let name = cluster.join(&place, blind);
    let ran = place.compact(&["--cluster", &cluster.url()]).ended(2);
    assert!(ran.stderr.contains(&format!("executor {name}: ")), "{ran}");
    assert!(objects(&place).is_empty(), "something was written");

    // A folder that is another one there.
    let place = Place::new();
    fleet(&place, 2, 1, 50);
    let mut cluster = Cluster::without_executors();
    let unwritable = Kind {
        env: vec![("QLC_ARCHIVE".to_owned(), "/proc/qlc-archive".to_owned())],
        ..Kind::default()
    };
    let _ = cluster.join(&place, unwritable);
    let ran = place.elsewhere(
        "/proc/qlc-archive",
        &[CATCH_UP, &["--cluster", &cluster.url()]].concat(),
    );
    assert!(ran.stderr.contains("cannot be written to"), "{ran}");
    assert_eq!(ran.code, Some(2), "{ran}");
}

#[test]
fn an_executor_without_the_memory_is_named_before_work_begins() {
    let place = Place::new();
    fleet(&place, 2, 1, 50);
    let mut cluster = Cluster::new(&place, 0);
    let name = cluster.join(
        &place,
        Kind {
            memory: Some("300MB"),
            ..Kind::default()
        },
    );
    let run = |limit: &str| place.compact(&["--memory-limit", limit, "--cluster", &cluster.url()]);
    let ran = run("1GB").ended(2);
    assert!(
        ran.stderr
            .contains(&format!("executor {name}: has 300 MB for its tasks")),
        "{ran}"
    );
    let _ = run("256MB").ended(0);
    place.verify();
}

#[test]
fn an_executor_with_a_full_disk_leaves_its_work_to_others() {
    let place = Place::new();
    fleet(&place, 6, 3, 20_000);
    let want = reference(&place);
    let mut cluster = Cluster::new(&place, 1);
    let name = cluster.join(
        &place,
        Kind {
            blocks: Some(64),
            ..Kind::default()
        },
    );
    let ran = place.compact(&["-v", "--cluster", &cluster.url()]).ended(0);
    assert!(
        ran.stderr.contains(&name),
        "the executor was never asked: {ran}"
    );
    assert_eq!(objects(&place), want, "{ran}");
    place.verify();
    // Where all of them are full, the partition fails and says where.
    drop(cluster.executors.remove(0));
    let _ = std::fs::remove_dir_all(place.archive());
    let ran = place
        .compact(&["--symbol", "s00usdt", "--cluster", &cluster.url()])
        .ended(1);
    assert!(
        ran.stdout.contains(&format!("executor {name}: ")) || ran.stderr.contains("1 of "),
        "{ran}"
    );
    assert!(objects(&place).is_empty());
    place.is_tidy();
}

#[test]
fn what_an_executor_published_before_it_was_lost_is_counted() {
    let place = Place::new();
    fleet(&place, 16, 3, 5_000);
    let mut cluster = Cluster::new(&place, 2);
    let mut chance = Chance(0x5eed_4321_abcd_0007);
    let began = Instant::now();
    let _ = place.compact(&["--cluster", &cluster.url()]).ended(0);
    let whole = began.elapsed().as_millis().max(200) as u64;
    for round in 0..12 {
        let _ = std::fs::remove_dir_all(place.archive());
        let json = ["--format", "json", "--cluster", &cluster.url()];
        let run = place.spawn(&[CATCH_UP, &json].concat(), &[]);
        std::thread::sleep(Duration::from_millis(chance.below(whole)));
        let mut victim = cluster.executors.swap_remove(0);
        let how = if round % 3 == 0 { "-KILL" } else { "-TERM" };
        victim.signal(how);
        let ran = Ran::of_child(run).ended(0);
        let _ = victim.ended();
        let outcomes = ran.json();
        assert_eq!(outcomes.len(), 16, "round {round}: {ran}");
        for outcome in outcomes {
            let status = outcome["status"].as_str().unwrap();
            let published = ["done", "completed"].contains(&status);
            assert!(published, "round {round}, {how}: {ran}");
            let (rows, files) = (outcome["rows"].as_u64(), outcome["files"].as_u64());
            assert_eq!(
                (rows, files),
                (Some(15_000), Some(3)),
                "round {round}: {ran}"
            );
        }
        let _ = cluster.join(&place, Kind::default());
    }
}

#[tokio::test]
async fn a_lost_outcome_is_read_from_what_the_task_has_left() {
    let place = Place::new();
    fleet(&place, 1, 3, 200);
    let bad = Events::sealed(quotes(DAY, HOUR, 0, 5))
        .series("binance", "bbo", "s00usdt")
        .bytes();
    let put = |name: &str, bytes: &[u8]| {
        let key = format!("exchange=binance/stream=bbo/symbol=s00usdt/{name}.parquet");
        let _ = place.put(&key, bytes);
    };
    put(
        "2026-02-03_09-00-00",
        &damage::truncated(&bad, bad.len() / 2),
    );
    // These have rows of the day, and are kept under the day after and that of their last change.
    for name in ["2026-02-04_00-10-00", "of-no-day"] {
        let mut bad = bad.clone();
        damage::scramble_data_page(&mut bad, "bid_price", 0);
        put(name, &bad);
    }
    let open = |folder: std::path::PathBuf| Store::open(folder.to_str().unwrap()).unwrap();
    let (spool, archive) = (open(place.spool()), open(place.archive()));
    let series = "exchange=binance/stream=bbo/symbol=s00usdt";
    let partition = Series {
        exchange: "binance".parse().unwrap(),
        stream: "bbo".parse().unwrap(),
        symbol: "s00usdt".parse().unwrap(),
    }
    .on("20260203".parse().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let options = Options {
        mode: Mode::Single {
            date: partition.date,
        },
        selection: Selection::all(),
        workers: 1,
        memory_limit: 1 << 30,
        spill_dir: scratch.path().to_owned(),
        now: NOW.parse().unwrap(),
        force: false,
        accept_loss: false,
        salvage: false,
        zstd_level: None,
    };
    let (probed, stop) = (Arc::default(), Stop::default());
    let real = one_of_many(
        &spool, &archive, &partition, &options, "this", probed, &stop,
    );
    let real = real.await.unwrap().unwrap();
    assert_eq!((real.status, real.quarantined), (Status::Done, 3));
    let days = std::fs::read_dir(place.archive().join("QUARANTINE").join(series));
    assert_eq!(days.unwrap().count(), 3, "they are kept under three days");
    let idle = Outcome::without(&partition, Status::UpToDate, "up to date");
    let found = with_lost(&archive, idle.clone(), "this").await.unwrap();
    let [found, real] = [&found, &real].map(|outcome| serde_json::to_value(outcome).unwrap());
    let told = [
        "status",
        "rows",
        "files",
        "quarantined",
        "bytes_in",
        "bytes_out",
        "sha256",
    ];
    for field in told {
        assert_eq!(found[field], real[field], "{field}: {found}, {real}");
    }
    // What another task has left is not of this one, though it began in the same second.
    assert_eq!(
        with_lost(&archive, idle.clone(), "another").await.unwrap(),
        idle
    );
}

/// A scheduler that tells of no executors and then is silent; what it was asked first of each
/// connection.
fn silent_scheduler() -> (u16, std::sync::mpsc::Receiver<String>) {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, asked) = std::sync::mpsc::channel();
    drop(std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut first = [0; 3];
            stream.read_exact(&mut first).unwrap();
            let first = String::from_utf8_lossy(&first).into_owned();
            if first == "GET" {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2";
                write!(stream, "{head}\r\n\r\n[]").unwrap();
            }
            open.push(stream);
            if tell.send(first).is_err() {
                return;
            }
        }
    }));
    (port, asked)
}

#[test]
fn an_executor_that_is_being_registered_can_be_told_to_stop() {
    let (port, asked) = silent_scheduler();
    let inner = free();
    let more = ["--bind-grpc-port", &inner.to_string()];
    let mut command = qlc();
    let _ = command
        .args(["cluster", "executor", "--scheduler-port", &port.to_string()])
        .args(["--bind-port", &free().to_string()])
        .args(more);
    let (mut process, lines) = Process::begin(command);
    drain(lines);
    while asked.recv_timeout(Duration::from_mins(1)).unwrap() != "PRI" {}
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", inner)).is_err() {
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "Ballista does not listen"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    process.signal("-TERM");
    assert_eq!(process.ended(), Some(0));
}

#[test]
fn an_executor_that_waits_for_its_scheduler_can_be_told_to_stop() {
    let (mut process, mut lines) = Process::begin(executor(free(), &[], &[]));
    let said = says(&mut lines, "does not answer");
    assert!(!said.contains("tasks at a time"), "{said}");
    process.signal("-TERM");
    drain(lines);
    assert_eq!(process.ended(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_named_with_its_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let other = free().to_string();
    for (bind, grpc, option) in [
        (&port, &other, "--bind-port"),
        (&other, &port, "--bind-grpc-port"),
    ] {
        let mut command = qlc();
        let _ = command
            .args(["cluster", "executor", "--bind-port", bind])
            .args(["--bind-grpc-port", grpc]);
        let (mut process, mut lines) = Process::begin(command);
        let said = says(&mut lines, "\0");
        let want = format!("127.0.0.1:{port}: cannot be listened on; choose another {option}");
        assert!(said.contains(&want), "{said}");
        assert_eq!(process.ended(), Some(1), "{said}");
    }
}

#[test]
fn a_cluster_can_be_reached_by_ipv6() {
    if TcpListener::bind("[::1]:0").is_err() {
        // Without IPv6 on this machine there is nothing to try.
        return;
    }
    for certificate in [None, Some("cluster")] {
        let place = Place::new();
        fleet(&place, 2, 1, 50);
        let cluster = Cluster::on("::1", certificate);
        let url = format!("df://[::1]:{}", cluster.port);
        let env = crate::processes::certificates(certificate);
        let more = ["--scheduler-host", "::1", "--bind-host", "::1"];
        let mut command = executor(cluster.port, &env, &more);
        let _ = command
            .env("QLC_SPOOL", place.spool_setting())
            .env("QLC_ARCHIVE", place.archive_url());
        let (_executor, mut lines) = Process::begin(command);
        let said = says(&mut lines, "tasks at a time");
        assert!(said.contains("executor [::1]:"), "{said}");
        drain(lines);
        let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let began = Instant::now();
        loop {
            let told = place.qlc_env(&["doctor", "--cluster", &url], &env);
            if told.stdout.contains("[::1]:") && told.stdout.contains("executors: 1") {
                break;
            }
            assert!(began.elapsed() < Duration::from_mins(1), "{told}");
        }
        let args = [CATCH_UP, &["--cluster", &url]].concat();
        let _ = place.qlc_env(&args, &env).ended(0).says("2 done");
    }
}

#[test]
fn a_statement_larger_than_ballista_takes_by_itself_is_answered() {
    let place = Place::new();
    fleet(&place, 2, 1, 50);
    let _ = place.compact(&[]).ended(0);
    let cluster = Cluster::new(&place, 1);
    let file = place.root().join("large.sql");
    let word = "x".repeat(20 << 20);
    let sql = format!("SELECT count(*) AS n FROM bbo WHERE symbol <> '{word}'");
    std::fs::write(&file, sql).unwrap();
    let query = ["query", "--file", file.to_str().unwrap(), "--format", "csv"];
    let ran = place.qlc(&[&query[..], &["--cluster", &cluster.url()]].concat());
    assert_eq!(ran.ended(0).stdout, "n\n100\n");
}
