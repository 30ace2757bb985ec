//! Who may speak with a cluster: those who have a certificate of its authority. Those of `tls/` are
//! made out to qlc-cluster for a hundred years, by authorities whose keys are gone.

use crate::{
    processes::{Cluster, Kind, certificates, get},
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
    for of in [None, Some("stranger")] {
        let ran = on(&place, &cluster, of, CATCH_UP).ended(1);
        assert!(ran.stderr.contains("does not answer"), "{of:?}: {ran}");
    }
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
    assert!(ran.stderr.contains("does not answer"), "{ran}");
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
