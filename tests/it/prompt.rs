//! The prompt of `qlc query`, on a terminal of its own: a pseudo terminal that `script` makes.

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use super::support::{
    events::{DAY, Events, SECOND, quotes},
    run::{Place, program},
};

/// How long an answer may take before a test gives up; a test that passes never waits for it.
const PATIENCE: Duration = Duration::from_mins(2);

/// A prompt that was begun, with all that it has shown.
struct Terminal {
    child: Child,
    keys: Option<ChildStdin>,
    shown: Arc<Mutex<String>>,
    /// How much of it was looked at.
    seen: usize,
}

impl Terminal {
    /// `qlc query` on a terminal of 24 lines.
    fn new(place: &Place) -> Self {
        let quoted = |path: std::path::PathBuf| format!("'{}'", path.display());
        let (qlc, spool, archive) = (program(), quoted(place.spool()), quoted(place.archive()));
        // Ctrl-C reaches the shell as well: without the trap, a shell such as dash ends there and
        // never tells the code.
        let line = format!(
            "trap : INT; stty rows 24 cols 100; '{qlc}' --spool {spool} --archive {archive} query; echo ended $?"
        );
        let mut child = Command::new("script")
            .args(["--quiet", "--flush", "--command", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("XDG_STATE_HOME", place.root().join("state"))
            .env("QLC_SPILL_DIR", place.spill())
            .env("TERM", "xterm")
            .env("PAGER", "sed 's/^/paged: /'")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut from = child.stdout.take().unwrap();
        let shown = Arc::<Mutex<String>>::default();
        let screen = Arc::clone(&shown);
        drop(std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                screen
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        }));
        let keys = child.stdin.take();
        let mut terminal = Self {
            child,
            keys,
            shown,
            seen: 0,
        };
        terminal.shows("qlc> ");
        terminal
    }

    fn press(&mut self, keys: &str) {
        let pipe = self.keys.as_mut().unwrap();
        pipe.write_all(keys.as_bytes()).unwrap();
        pipe.flush().unwrap();
    }

    /// Waits until `text` appears after what was waited for before.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        let began = std::time::Instant::now();
        loop {
            let shown = self.shown.lock().unwrap().clone();
            if let Some(at) = shown[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{text:?} was not shown after {:?}",
                &shown[self.seen..]
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types a line and waits for what it gives, and for the next prompt.
    #[track_caller]
    fn asked(&mut self, line: &str, answers: &[&str]) {
        self.press(&format!("{line}\r"));
        for answer in answers {
            self.shows(answer);
        }
        self.shows("qlc> ");
    }

    #[track_caller]
    fn ended(mut self, code: i32) -> String {
        self.shows(&format!("ended {code}"));
        drop(self.keys.take());
        let _ = self.child.wait().unwrap();
        self.shown.lock().unwrap().clone()
    }
}

/// An archive of 100 quotes.
fn place() -> Place {
    let place = Place::new();
    let _ = place.put_quotes(
        "2026-02-03_00-00-00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 100)).bytes(),
    );
    let _ = place.compact(&[]).ended(0);
    place
}

#[test]
fn statements_are_answered_and_errors_leave_the_prompt() {
    let place = place();
    let mut terminal = Terminal::new(&place);
    terminal.asked(
        "SELECT count(*) AS rows FROM archive.bbo;",
        &["rows", "100", "1 row"],
    );
    terminal.asked("SELECT nothing FROM archive.bbo;", &["error: ", "nothing"]);
    terminal.asked("DELETE FROM archive.bbo;", &["error: ", "only reads"]);
    terminal.asked("\\y", &["there is no command \\y"]);
    // Several lines are one statement, and several statements may be on one line.
    terminal.press("SELECT 20 + 2\r");
    terminal.shows("  -> ");
    terminal.press("  AS two_lines;\r");
    terminal.shows("two_lines");
    terminal.shows("22");
    terminal.shows("qlc> ");
    terminal.asked(
        "SELECT 1 AS one; SELECT ';' AS two;",
        &["one", "1 row", "two", ";"],
    );
    terminal.asked("\\x", &["expanded display is on"]);
    terminal.asked(
        "SELECT 1 AS a, 'x' || chr(10) || 'y' AS longer UNION ALL SELECT 2, NULL ORDER BY a;",
        &[
            "-[ row 1 ]--",
            "\na      | 1\r\n",
            "longer | x\r\n       | y\r\n",
            "-[ row 2 ]--",
            "longer | NULL\r\n",
            "2 rows",
        ],
    );
    terminal.asked("\\x off", &["expanded display is off"]);
    terminal.asked("\\x yes", &["write \\x, \\x on or \\x off"]);
    terminal.asked("\\timing", &["timing is on"]);
    terminal.asked("\\format csv", &[]);
    terminal.asked(
        "SELECT min(seq) AS a, max(seq) AS b FROM bbo;",
        &["a,b", "0,99", "1 row in "],
    );
    terminal.asked("\\format parquet", &["write \\format table"]);
    std::fs::write(
        place.root().join("two.sql"),
        "SELECT 41 AS x;\nSELECT 42 AS y;\n",
    )
    .unwrap();
    let file = place.root().join("two.sql");
    terminal.asked(&format!("\\i {}", file.display()), &["41", "42"]);
    terminal.press("\u{4}");
    let _ = terminal.ended(0);
    place.is_tidy();
}

#[test]
fn ctrl_c_ends_the_statement_or_the_line_and_not_the_prompt() {
    let place = place();
    let mut terminal = Terminal::new(&place);
    terminal.press("SELECT count(*) FROM generate_series(1, 1000000000000);\r");
    // Nothing shows that a statement is on its way but that no new line is asked for.
    terminal.shows("1000000000000);");
    std::thread::sleep(Duration::from_secs(2));
    terminal.press("\u{3}");
    terminal.shows("stopped by Ctrl-C");
    terminal.shows("qlc> ");
    terminal.press("SELECT unfinished\r");
    terminal.shows("  -> ");
    terminal.press("\u{3}");
    terminal.shows("qlc> ");
    terminal.asked("SELECT 7 * 6 AS answer;", &["answer", "42"]);
    terminal.press("\\q\r");
    let _ = terminal.ended(0);
}

#[test]
fn tables_are_told_names_completed_and_lines_remembered() {
    let place = place();
    let mut terminal = Terminal::new(&place);
    terminal.asked("\\d", &["archive", "bbo", "quarantine", "spool", "trade"]);
    terminal.asked("\\d archive.bbo", &["ts_event", "bid_price", "symbol"]);
    terminal.asked("\\d archive.nothing", &["error: there is no table"]);
    // Names are there by now: the answers above came from the same stores.
    terminal.press("SELECT count(*) AS n FROM archive.open_i\t;\r");
    terminal.shows("archive.open_interest");
    terminal.shows("1 row");
    terminal.shows("qlc> ");
    terminal.press("\\q\r");
    let _ = terminal.ended(0);

    let mut terminal = Terminal::new(&place);
    terminal.press("\u{1b}[A\u{1b}[A");
    terminal.shows("archive.open_interest");
    terminal.press("\r");
    terminal.shows("1 row");
    terminal.shows("qlc> ");
    terminal.press("exit\r");
    let _ = terminal.ended(0);
}

#[test]
fn a_result_longer_than_the_screen_goes_through_the_pager() {
    let place = place();
    let mut terminal = Terminal::new(&place);
    terminal.asked(
        "SELECT seq FROM bbo ORDER BY seq LIMIT 5;",
        &["seq", "5 rows"],
    );
    assert!(!terminal.shown.lock().unwrap().contains("paged: "));
    terminal.asked(
        "SELECT seq FROM bbo ORDER BY seq;",
        &["paged: | 0 ", "paged: | 99 ", "100 rows"],
    );
    terminal.press("\u{4}");
    let _ = terminal.ended(0);
}

#[test]
fn without_a_terminal_statements_come_from_stdin() {
    let place = place();
    let run = |text: &str, args: &[&str]| {
        let mut child = Command::new(program())
            .arg("--spool")
            .arg(place.spool())
            .arg("--archive")
            .arg(place.archive())
            .arg("query")
            .args(args)
            .env("QLC_SPILL_DIR", place.spill())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        super::support::run::Ran::of_child(child)
    };
    let ran = run(
        "SELECT 1 AS a; -- one\nSELECT ';' AS b",
        &["--format", "csv"],
    )
    .ended(0);
    assert_eq!(ran.stdout, "a\n1\nb\n;\n");
    let ran = run(
        "SELECT count(*) AS n FROM bbo WHERE seq < $seq",
        &["--param", "seq=10", "--format", "csv"],
    )
    .ended(0);
    assert_eq!(ran.stdout, "n\n10\n");
    let ran = run(
        "SELECT 1 AS a; SELECT nothing; SELECT 2 AS c",
        &["--format", "csv"],
    )
    .ended(2);
    assert_eq!(ran.stdout, "a\n1\n");
    let _ = run("  ", &[])
        .ended(2)
        .says("stdin was empty; give one statement");
    let _ = run("SELECT 1; SELECT 2", &["--output", "x.csv"])
        .ended(2)
        .says("run them one at a time");
}
