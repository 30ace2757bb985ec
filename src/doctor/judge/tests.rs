//! One row per judgement.

use super::*;
use crate::doctor::Level::{self, Ok as Fine, Problem, Warning};

fn levels(checks: &[Check]) -> Vec<Level> {
    for check in checks {
        assert_eq!(check.mend.is_none(), check.level == Fine, "{check:?}");
    }
    checks.iter().map(|check| check.level).collect()
}

fn full() -> Spool {
    Spool {
        absent: false,
        files: 3,
        bytes: 300,
        elsewhere: 0,
        unlisted: None,
        future: Vec::new(),
        unreadable: None,
        load: Load {
            partition: 100,
            day: 300,
        },
    }
}

fn bucket() -> Archive {
    Archive {
        folder: None,
        absent: false,
        partitions: 1,
        strays: Vec::new(),
        unlisted: None,
        writing: None,
        skew: Some(0),
        conditions: None,
        versions: vec![VERSION.to_owned()],
    }
}

#[test]
fn spools() {
    let now = "2026-02-05T06:00:00Z".parse().unwrap();
    let check = |one: Spool, want: &[Level]| {
        assert_eq!(levels(&spool("s", Ok(&one), now)), want, "{one:?}");
    };
    check(full(), &[Fine]);
    check(Spool { files: 0, ..full() }, &[Warning]);
    check(
        Spool {
            files: 0,
            elsewhere: 2,
            ..full()
        },
        &[Problem],
    );
    check(
        Spool {
            elsewhere: 2,
            ..full()
        },
        &[Warning],
    );
    check(
        Spool {
            unlisted: Some("no".to_owned()),
            ..full()
        },
        &[Problem],
    );
    check(
        Spool {
            absent: true,
            ..full()
        },
        &[Problem],
    );
    check(
        Spool {
            unreadable: Some("no".to_owned()),
            ..full()
        },
        &[Problem],
    );
    check(
        Spool {
            future: vec!["f".to_owned(); 5],
            ..full()
        },
        &[Fine, Warning],
    );
    assert_eq!(
        levels(&spool("s", Err(&Error::usage("no")), now)),
        [Problem]
    );
}

#[test]
fn archives() {
    let check =
        |one: Archive, want: &[Level]| assert_eq!(levels(&archive("a", Ok(&one))), want, "{one:?}");
    check(bucket(), &[Fine, Fine, Fine]);
    check(
        Archive {
            writing: Some("403".to_owned()),
            skew: None,
            ..bucket()
        },
        &[Problem],
    );
    check(
        Archive {
            unlisted: Some("no".to_owned()),
            ..bucket()
        },
        &[Problem, Fine, Fine],
    );
    check(
        Archive {
            conditions: Some("ignored".to_owned()),
            ..bucket()
        },
        &[Fine, Problem, Fine],
    );
    check(
        Archive {
            skew: Some(-61),
            ..bucket()
        },
        &[Fine, Fine, Warning],
    );
    check(
        Archive {
            skew: Some(901),
            ..bucket()
        },
        &[Fine, Fine, Problem],
    );
    check(
        Archive {
            versions: vec!["0.0.9".to_owned(), "99.0.0".to_owned()],
            ..bucket()
        },
        &[Fine, Fine, Fine, Problem],
    );
    check(
        Archive {
            folder: Some("/a".into()),
            absent: true,
            skew: None,
            ..bucket()
        },
        &[Fine],
    );
    assert_eq!(levels(&archive("a", Err(&Error::usage("no")))), [Problem]);
    assert!(numbers("0.10.0") > numbers("0.9.9"));
}

#[test]
fn disks() {
    let made = |free, is_memory, writable| Disk {
        free,
        is_memory,
        exists: true,
        writable,
    };
    let check = |one: Option<Disk>, want: &[Level]| {
        let got = disk(
            "spill_dir",
            Path::new("/d"),
            one.as_ref(),
            Load {
                partition: 100,
                day: 300,
            },
        );
        assert_eq!(levels(&got), want, "{one:?}");
    };
    check(Some(made(300, false, true)), &[Fine]);
    check(Some(made(299, false, true)), &[Warning]);
    check(Some(made(99, false, true)), &[Problem]);
    check(Some(made(300, true, true)), &[Fine, Warning]);
    check(Some(made(300, false, false)), &[Problem]);
    check(None, &[Warning]);
    let file = |path: &str, one: Option<Disk>| metrics_file(Path::new(path), one.as_ref()).level;
    assert_eq!(file("/m/qlc.prom", Some(made(1, false, true))), Fine);
    assert_eq!(file("qlc.prom", Some(made(1, false, true))), Warning);
    assert_eq!(file("/m/qlc.prom", Some(made(1, false, false))), Problem);
}

#[test]
fn limits() {
    let check = |physical, available, group, want: Level| {
        let got = memory(
            100,
            &Memory {
                physical,
                available,
                group,
            },
        );
        assert_eq!(got.level, want, "{got:?}");
    };
    check(Some(100), Some(100), None, Fine);
    check(Some(100), Some(99), None, Warning);
    check(Some(99), Some(99), None, Problem);
    check(Some(200), Some(200), Some(99), Problem);
    check(None, None, None, Warning);
    assert_eq!(
        [Some(1023), Some(1024), None].map(|limit| open_files(limit).level),
        [Warning, Fine, Fine]
    );
    assert_eq!(
        [Some(true), Some(false), None].map(|kept| clock(kept).level),
        [Fine, Warning, Warning]
    );
}
