//! Who may speak with a cluster: those who have a certificate of its authority. Those of `tls/` are
//! made out to qlc-cluster for a hundred years, by authorities whose keys are gone; of those of
//! `odd-ca.pem` one has expired and one is made out to another name.

use qlc::storage::scratch;

use crate::{
    processes::{Cluster, Kind, Process, certificates, executor, get, says},
    same::{fleet, objects, reference},
    support::run::{CATCH_UP, Place, Ran, qlc},
};

const STATEMENT: &str =
    "SELECT symbol, count(*) AS n, max(bid_price) AS b FROM bbo GROUP BY symbol ORDER BY symbol";

fn on(place: &Place, cluster: &Cluster, of: Option<&str>, args: &[&str]) -> Ran {
    let env = certificates(of);
    let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
    place.qlc_env(&[args, &["--cluster", &cluster.url()]].concat(), &env)
}

#[test]
fn those_who_know_each_other_do_what_a_local_run_does() {
    let place = Place::new();
    fleet(&place, 6, 3, 300);
    let want = reference(&place);
    let mut cluster = Cluster::with(Some("cluster"));
    for _ in 0..2 {
        let _ = cluster.join(&place, Kind::default());
    }
    let _ = on(&place, &cluster, Some("cluster"), CATCH_UP)
        .ended(0)
        .says("6 done");
    assert_eq!(objects(&place), want);
    place.verify();
    let query = ["query", STATEMENT, "--format", "csv"];
    let local = place.qlc(&query).ended(0);
    let there = on(&place, &cluster, Some("cluster"), &query).ended(0);
    assert_eq!(there.stdout, local.stdout);
}

#[test]
fn whoever_is_not_known_is_not_answered() {
    let place = Place::new();
    fleet(&place, 2, 1, 50);
    let mut cluster = Cluster::with(Some("cluster"));
    let executor = cluster.join(&place, Kind::default());
    let executor: u16 = executor.rsplit(':').next().unwrap().parse().unwrap();
    let ran = on(&place, &cluster, None, CATCH_UP).ended(1);
    assert!(
        ran.stderr
            .contains("does not answer; if it has certificates"),
        "{ran}"
    );
    let ran = on(&place, &cluster, Some("stranger"), CATCH_UP).ended(1);
    let scheduler = format!("127.0.0.1:{}: its certificate is refused", cluster.port);
    let ca = "is not signed by the authority in";
    let is_told = |ran: &Ran| ran.stderr.contains(&scheduler) && ran.stderr.contains(ca);
    assert!(
        is_told(&ran) && ran.stderr.contains("stranger-ca.pem"),
        "{ran}"
    );
    for port in [cluster.port, executor] {
        for path in ["/health", "/metrics", "/qlc/executors", "/qlc/about"] {
            assert_eq!(get(port, path), None, "{path}");
        }
    }
    assert!(objects(&place).is_empty(), "something was written");
    // The same works for whoever is known.
    let _ = on(&place, &cluster, Some("cluster"), CATCH_UP).ended(0);
    // A client that shows no certificate of the other side's authority is not spoken to either: a
    // scheduler of strangers learns nothing.
    let strangers = Cluster::with(Some("stranger"));
    let ran = on(&place, &strangers, Some("cluster"), CATCH_UP).ended(1);
    assert!(ran.stderr.contains("its certificate is refused"), "{ran}");
    // Nor is one without any.
    let open = Cluster::without_executors();
    let ran = on(&place, &open, Some("cluster"), CATCH_UP).ended(1);
    assert!(
        ran.stderr
            .contains("it speaks no TLS; it needs --cluster-ca"),
        "{ran}"
    );
}

/// The settings of a process with these files of `tls/`.
fn files(ca: &str, certificate: &str) -> Vec<(&'static str, String)> {
    let mut env = certificates(Some(certificate));
    let (_, own) = env.first_mut().unwrap();
    *own = own.replace(&format!("{certificate}-ca.pem"), ca);
    env
}

fn in_words<'a>(env: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    env.iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

#[test]
fn a_certificate_that_nobody_would_accept_is_named_at_the_start() {
    let place = Place::new();
    fleet(&place, 1, 1, 10);
    for (ca, certificate, why) in [
        ("odd-ca.pem", "expired", "it has expired"),
        (
            "odd-ca.pem",
            "misnamed",
            "it is not made out to the name qlc-cluster",
        ),
        (
            "stranger-ca.pem",
            "cluster",
            "it is not signed by the authority in",
        ),
    ] {
        let env = files(ca, certificate);
        for args in [
            &["cluster", "scheduler", "--bind-port", "0"][..],
            &["cluster", "executor"],
            &[
                "compact",
                "--mode",
                "catch-up",
                "--cluster",
                "df://127.0.0.1:1",
            ],
        ] {
            let ran = place.qlc_env(args, &in_words(&env)).ended(2);
            let file =
                format!("tls/{certificate}.pem: the certificate of this process is of no use");
            let is_named = ran.stderr.contains(&file) && ran.stderr.contains(why);
            assert!(is_named, "{certificate}, {args:?}: {ran}");
        }
        let url = ["doctor", "--cluster", "df://127.0.0.1:1"];
        let ran = place.qlc_env(&url, &in_words(&env));
        assert!(
            ran.stdout
                .contains("correct --cluster, or the files of the certificate"),
            "{ran}"
        );
    }
}

#[test]
fn who_refuses_whose_certificate_is_told_and_an_executor_ends() {
    let place = Place::new();
    fleet(&place, 1, 1, 10);
    let cluster = Cluster::with(Some("cluster"));
    // A stranger who knows the cluster's authority as well: it is the cluster that refuses.
    let both = place.root().join("both.pem");
    let text: Vec<String> = ["cluster", "stranger"]
        .iter()
        .map(|of| std::fs::read_to_string(&certificates(Some(of))[0].1).unwrap())
        .collect();
    std::fs::write(&both, text.concat()).unwrap();
    let mut stranger = certificates(Some("stranger"));
    stranger[0].1 = both.display().to_string();
    let own = "tls/stranger.pem, the certificate of this process: it is not signed by the authority that is known there";
    let url = cluster.url();
    let ran = place.qlc_env(
        &[CATCH_UP, &["--cluster", &url]].concat(),
        &in_words(&stranger),
    );
    let ran = ran.ended(1);
    assert!(ran.stderr.contains(own), "{ran}");
    let ran = place.qlc_env(&["doctor", "--cluster", &url], &in_words(&stranger));
    assert!(
        ran.stdout.contains(own) && ran.stdout.contains("compare --cluster-ca"),
        "{ran}"
    );
    // An executor does not stay where it will never be let in.
    for (env, why) in [
        (stranger, own),
        (
            certificates(Some("stranger")),
            "its certificate is refused: it is not signed by the authority in",
        ),
    ] {
        let command = executor(cluster.port, &env, &[]);
        let (mut process, mut lines) = Process::begin(command);
        let said = says(&mut lines, "\0");
        assert_eq!(process.ended(), Some(1), "{said}");
        assert!(
            said.contains(why) && !said.contains("tasks at a time"),
            "{said}"
        );
    }
}

#[test]
fn any_folder_for_temporary_files_will_do_and_none_keeps_sockets() {
    let place = Place::new();
    fleet(&place, 2, 1, 50);
    let mut cluster = Cluster::with(Some("cluster"));
    let long = place.root().join("x".repeat(100));
    let spaced = place.root().join("a folder");
    let usual = tempfile::tempdir_in("/tmp").unwrap();
    for folder in [&long, &spaced, &usual.path().to_owned()] {
        std::fs::create_dir_all(folder).unwrap();
        let env = vec![("TMPDIR".to_owned(), folder.display().to_string())];
        let _ = cluster.join(
            &place,
            Kind {
                env,
                ..Kind::default()
            },
        );
    }
    let url = cluster.url();
    let run = |folder: &std::path::Path| {
        let mut env = certificates(Some("cluster"));
        env.push(("TMPDIR", folder.display().to_string()));
        let args = [CATCH_UP, &["--force", "--cluster", &url]].concat();
        let _ = place
            .qlc_env(&args, &in_words(&env))
            .ended(0)
            .says("2 done");
    };
    run(&long);
    run(&spaced);
    let left = || {
        let own = std::fs::read_dir(usual.path()).unwrap().next();
        std::fs::read_dir(own.unwrap().unwrap().path())
            .unwrap()
            .count()
    };
    assert_eq!(left(), 1, "the executor has its sockets there");
    cluster.executors[2].signal("-KILL");
    let _ = cluster.executors[2].child.wait();
    assert_eq!(left(), 1, "nobody could remove them");
    run(usual.path());
    assert_eq!(left(), 0);
}

#[test]
fn outside_of_loopback_nothing_starts_without_a_certificate() {
    let needs = |ran: Ran| {
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(ran.stderr.contains("needs --cluster-ca"), "{ran}");
    };
    needs(qlc(&[
        "cluster",
        "scheduler",
        "--bind-host",
        "0.0.0.0",
        "--bind-port",
        "0",
    ]));
    needs(qlc(&["cluster", "executor", "--bind-host", "0.0.0.0"]));
    needs(qlc(&[
        "cluster",
        "executor",
        "--scheduler-host",
        "scheduler.internal",
    ]));
    let place = Place::new();
    fleet(&place, 1, 1, 10);
    needs(place.compact(&["--cluster", "df://scheduler.internal:50050"]));
    // Half a certificate is none.
    let half = qlc(&["cluster", "scheduler", "--cluster-cert", "x.pem"]);
    assert_eq!(half.code, Some(2), "{half}");
    assert!(half.stderr.contains("belong together"), "{half}");
    let ca = certificates(Some("cluster"));
    let files: Vec<&str> = ca.iter().map(|(_, file)| file.as_str()).collect();
    let [ca, cert, _] = files[..] else {
        panic!("{files:?}")
    };
    let swapped = qlc(&[
        "cluster",
        "scheduler",
        "--cluster-ca",
        ca,
        "--cluster-cert",
        cert,
        "--cluster-key",
        ca,
    ]);
    assert_eq!(swapped.code, Some(2), "{swapped}");
    assert!(swapped.stderr.contains("private key"), "{swapped}");
}

#[test]
fn a_folder_that_holds_no_sockets_is_named_with_what_chooses_it() {
    let usual = tempfile::tempdir_in("/tmp").unwrap();
    // The folder of this user is a file.
    std::fs::write(usual.path().join(scratch::private_name()), "").unwrap();
    let mut command = crate::processes::qlc();
    let _ = command
        .args(["cluster", "scheduler", "--bind-port", "0"])
        .envs(certificates(Some("cluster")))
        .env("TMPDIR", usual.path());
    let (mut process, mut lines) = Process::begin(command);
    let said = says(&mut lines, "\0");
    assert!(said.contains("choose another folder with TMPDIR"), "{said}");
    assert!(!said.contains("--spill-dir"), "{said}");
    assert_eq!(process.ended(), Some(2), "{said}");
}
