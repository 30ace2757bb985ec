//! SIGTERM ends every command soon, whatever it is at, and leaves nothing that the next run would
//! not take up.

use std::{
    io::Write,
    process::Child,
    time::{Duration, Instant},
};

use super::support::{
    events::{DAY, Events, HOUR, SECOND, quotes},
    run::{CATCH_UP, NOW, Place, Ran},
};

/// Nobody waits longer for a command that should have ended in two seconds; machines of tests are
/// slow.
const DEADLINE: Duration = Duration::from_secs(30);

fn signal(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

/// What a command says and how it ends when it is asked to stop after a while.
#[track_caller]
fn stopped(mut child: Child, after: Duration) -> Ran {
    std::thread::sleep(after);
    signal(&child);
    let asked = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if asked.elapsed() > DEADLINE {
            let _ = child.kill();
            panic!(
                "it did not end within {DEADLINE:?} of SIGTERM: {}",
                Ran::of_child(child)
            );
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ran::of_child(child)
}

/// An archive with some days in it.
fn filled() -> Place {
    let place = Place::new();
    for day in 0..3 {
        let start = DAY - day * 24 * HOUR;
        let date = chrono::DateTime::from_timestamp_nanos(start).format("%Y-%m-%d");
        let _ = place.put_quotes(
            &format!("{date}_00.parquet"),
            &Events::sealed(quotes(start, SECOND, 0, 2_000)).bytes(),
        );
    }
    let _ = place.compact(&[]).ended(0);
    place
}

#[test]
fn a_statement_that_would_never_end_ends_when_asked_to() {
    let place = filled();
    for sql in [
        "SELECT count(*) FROM generate_series(1, 9000000000000000000)",
        "SELECT * FROM generate_series(1, 9000000000000000000) ORDER BY 1 DESC",
        "SELECT sum(a.value * b.value) FROM generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b",
    ] {
        let ran = stopped(
            place.spawn(&["query", sql], &[]),
            Duration::from_millis(700),
        );
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains("SIGTERM"), "{ran}");
    }
    place.verify();
}

#[test]
fn a_command_that_waits_in_a_call_ends_when_asked_to() {
    // The statement is read from a pipe that nobody writes to, by a call that does not return.
    let place = filled();
    let mut child = std::process::Command::new(super::support::run::program())
        .args(["query", "--format", "json"])
        .arg("--archive")
        .arg(place.archive())
        .env("NO_COLOR", "1")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(b"SELECT ").unwrap();
    let ran = stopped(child, Duration::from_millis(500));
    drop(pipe);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("SIGTERM"), "{ran}");
}

#[test]
fn every_command_over_an_archive_ends_when_asked_to_and_the_next_run_goes_on() {
    let place = filled();
    let commands: [&[&str]; 10] = [
        &["verify"],
        &["verify", "--rebuild"],
        &["prune", "--keep-days", "0", "--now", NOW],
        &["clean", "--older-than", "1s"],
        &["status", "--now", NOW],
        &["report", "--html", "page.html", "--now", NOW],
        &["quarantine", "list"],
        &["import", "--dry-run"],
        &["query", "SELECT count(*) FROM archive.bbo"],
        CATCH_UP,
    ];
    for command in commands {
        // It may have ended before it is asked; then it ends as it does.
        for after in [0, 30] {
            let child = place.spawn(command, &[]);
            let ran = stopped(child, Duration::from_millis(after));
            assert!(
                ran.code.is_none_or(|code| [0, 1].contains(&code)),
                "{command:?}: {ran}"
            );
        }
    }
    let _ = place.compact(&[]).ended(0);
    place.verify();
}

#[test]
fn a_second_signal_ends_at_once() {
    let place = filled();
    let sql = "SELECT * FROM generate_series(1, 9000000000000000000) ORDER BY 1 DESC";
    let child = place.spawn(&["query", sql], &[]);
    std::thread::sleep(Duration::from_millis(500));
    signal(&child);
    let ran = stopped(child, Duration::from_millis(0));
    assert!([Some(1), Some(130)].contains(&ran.code), "{ran}");
}
