//! A place with what a scene needs, the run of a command on it, and the text of what came of it.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Read,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    super::support::{
        run::{Place, program},
        s3::{ARCHIVE, BUCKET, SPOOL},
    },
    redact::{Redactor, indented},
};

/// How long anything may take before a scene gives up; one that passes never waits for it.
const PATIENCE: Duration = Duration::from_mins(2);

/// Texts beside stdout and stderr, each with its title.
pub type Sections = Vec<(String, String)>;

/// A run that is held by a snapshot.
pub struct Scene {
    pub name: &'static str,
    world: fn(&mut Stage),
    pub line: &'static str,
    shown: &'static [&'static str],
    first_lines: usize,
    running: Option<fn(&Stage) -> Sections>,
    after: Option<fn(&Stage) -> Sections>,
}

/// What was before, and what is typed.
pub const fn scene(name: &'static str, world: fn(&mut Stage), line: &'static str) -> Scene {
    Scene {
        name,
        world,
        line,
        shown: &[],
        first_lines: usize::MAX,
        running: None,
        after: None,
    }
}

impl Scene {
    /// Shows the text of files that the run made or changed, those whose keys contain one of these.
    pub const fn showing(mut self, keys: &'static [&'static str]) -> Self {
        self.shown = keys;
        self
    }

    /// Shows only so many lines of stdout.
    pub const fn first_lines(mut self, lines: usize) -> Self {
        self.first_lines = lines;
        self
    }

    /// The command goes on until it is asked to end, after this.
    pub const fn while_running(mut self, look: fn(&Stage) -> Sections) -> Self {
        self.running = Some(look);
        self
    }

    /// Shows this too, when the command has ended.
    pub const fn and(mut self, look: fn(&Stage) -> Sections) -> Self {
        self.after = Some(look);
        self
    }

    /// Plays it: the text of the snapshot.
    pub fn played(&self) -> String {
        let mut redactor = Redactor::new();
        let mut stage = Stage {
            place: Place::new(),
            more: Vec::new(),
            kept: Vec::new(),
        };
        (self.world)(&mut stage);
        redactor.place(stage.place.root(), "{root}");
        let before = stage.files();
        let mut child = stage.begin(&words(self.line));
        let mut sections = Vec::new();
        if let Some(look) = self.running {
            sections = look(&stage);
            let pid = rustix::process::Pid::from_child(&child.child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let code = child.ended(self.name);
        let (stdout, stderr) = child.said();
        let after = stage.files();
        if let Some(look) = self.after {
            sections.extend(look(&stage));
        }

        let mut text = stage.typed(self.line);
        let _ = writeln!(text, "exit code {code}");
        section(
            &mut text,
            "stdout",
            &cut(&readable(&stdout), self.first_lines),
        );
        section(&mut text, "stderr", &readable(&stderr));
        section(&mut text, "files", &changes(&before, &after));
        for (key, bytes) in &after {
            let is_new = before.get(key) != Some(bytes);
            if is_new && self.shown.iter().any(|part| key.contains(part)) {
                section(&mut text, key, &readable(&String::from_utf8_lossy(bytes)));
            }
        }
        for (title, told) in &sections {
            section(&mut text, title, &readable(told));
        }
        redactor.text(&text)
    }
}

/// The words of a line; what stands in double quotes is one.
pub fn words(line: &str) -> Vec<&str> {
    let parts = line.split('"').enumerate();
    parts
        .flat_map(|(n, part)| match n % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        })
        .collect()
}

fn section(text: &mut String, title: &str, told: &str) {
    if !told.trim().is_empty() {
        let _ = write!(text, "\n--- {title}\n{}\n", told.trim_end());
    }
}

fn cut(text: &str, lines: usize) -> String {
    if text.lines().count() <= lines {
        return text.to_owned();
    }
    let kept: Vec<&str> = text.lines().take(lines).collect();
    format!("{}\n[and so on]", kept.join("\n"))
}

/// JSON is shown with a line for each value; other texts as they are.
fn readable(text: &str) -> String {
    let is_json = |text: &str| {
        text.starts_with(['{', '[']) && serde_json::from_str::<serde_json::Value>(text).is_ok()
    };
    if is_json(text.trim()) {
        return indented(text);
    }
    let lines = text.lines().map(|line| {
        if is_json(line) {
            indented(line)
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A line for each file that was made, changed or removed.
fn changes(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> String {
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let mut text = String::new();
    for key in keys {
        let sign = match (before.get(key), after.get(key)) {
            (None, _) => '+',
            (_, None) => '-',
            (old, new) if old != new => '~',
            _ => continue,
        };
        let _ = writeln!(text, "{sign} {key}");
    }
    text
}

/// The binary, under its usual name, with nothing of the environment of the tests.
fn bare() -> Command {
    let mut command = Command::new(program());
    let _ = command.arg0("qlc").env_clear().stdin(Stdio::null());
    command
}

/// What it prints on stdout, where it needs no place and goes well.
#[track_caller]
pub fn printed(line: &[&str]) -> String {
    let output = bare().args(line).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), stderr.as_str()),
        (Some(0), ""),
        "{line:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Where a scene is played.
pub struct Stage {
    pub place: Place,
    /// Further arguments, such as addresses.
    pub more: Vec<String>,
    /// What must live until the end, such as a server.
    pub kept: Vec<Box<dyn Any>>,
}

impl Stage {
    /// Writes a file below the root.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.place.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Keeps something until the scene has ended.
    pub fn keep<T: 'static>(&mut self, value: T) {
        self.kept.push(Box::new(value));
    }

    /// What is kept of this kind.
    pub fn kept<T: 'static>(&self) -> &T {
        self.kept
            .iter()
            .find_map(|kept| kept.downcast_ref())
            .expect("such a thing")
    }

    /// Runs `qlc` as the scene does, on the way to it.
    pub fn prepare(&self, line: &[&str], code: i32) {
        let mut child = self.begin(line);
        let ended = child.ended("what comes before");
        let (stdout, stderr) = child.said();
        assert_eq!(ended, code.to_string(), "{line:?}\n{stdout}\n{stderr}");
    }

    /// Places as a relative path, so that no width depends on the name of a temporary folder.
    fn places(&self) -> [String; 2] {
        if self.place.store().is_some() {
            [SPOOL, ARCHIVE].map(|key| format!("s3://{BUCKET}/{key}"))
        } else {
            ["spool", "archive"].map(str::to_owned)
        }
    }

    fn typed(&self, line: &str) -> String {
        let mut text = format!("$ qlc {line}").trim_end().to_owned();
        for word in &self.more {
            let _ = write!(text, " {word}");
        }
        text.push('\n');
        text
    }

    /// Begins `qlc` in the root of the place.
    fn begin(&self, line: &[&str]) -> Running {
        let [spool, archive] = self.places();
        let mut command = bare();
        let _ = command
            .env("HOME", self.place.root())
            .env("QLC_SPOOL", spool)
            .env("QLC_ARCHIVE", archive)
            .env("QLC_SPILL_DIR", "spill")
            .env("QLC_WORKERS", "1");
        if let Some(server) = self.place.store() {
            let _ = command.envs(server.env());
        }
        let _ = command
            .args(line)
            .args(&self.more)
            .current_dir(self.place.root())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Running::of(command.spawn().unwrap())
    }

    /// All files of the place, and of its store.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        below(self.place.root(), self.place.root(), "", &mut found);
        if let Some(server) = self.place.store() {
            for key in [SPOOL, ARCHIVE] {
                let folder = server.folder(key);
                below(
                    &folder,
                    &folder,
                    &format!("s3://{BUCKET}/{key}/"),
                    &mut found,
                );
            }
        }
        found
    }
}

fn below(root: &Path, folder: &Path, before: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            below(root, &path, before, found);
        } else {
            let key = path.strip_prefix(root).unwrap().display();
            let _ = found.insert(format!("{before}{key}"), fs::read(&path).unwrap());
        }
    }
}

/// A process whose output is taken as it comes, so that it never waits for a reader.
struct Running {
    child: Child,
    readers: [Option<JoinHandle<String>>; 2],
}

impl Running {
    fn of(mut child: Child) -> Self {
        fn reader(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = from.read_to_end(&mut bytes).unwrap();
                String::from_utf8(bytes).unwrap()
            })
        }
        let readers = [
            Some(reader(child.stdout.take().unwrap())),
            Some(reader(child.stderr.take().unwrap())),
        ];
        Self { child, readers }
    }

    /// Waits for its end: the exit code, or the signal.
    fn ended(&mut self, what: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status
                    .code()
                    .map_or_else(|| format!("{status}"), |code| code.to_string());
            }
            if begun.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                let said = self.said();
                panic!("{what}: the command has not ended; it said\n{said:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn said(&mut self) -> (String, String) {
        let [stdout, stderr] = &mut self.readers;
        let text = |reader: &mut Option<JoinHandle<String>>| reader.take().unwrap().join().unwrap();
        (text(stdout), text(stderr))
    }
}

/// Waits until there is a value.
#[track_caller]
pub fn awaited<T>(what: &str, value: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
