//! Runs the real binary on a spool and an archive of its own: in folders, or in a bucket of the
//! tests' own store.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

use tempfile::TempDir;

use super::{
    archive::listing,
    s3::{ARCHIVE, BUCKET, SPOOL, Server},
};

/// The instant at which the tests compact: 2026-02-03 and its neighbours are over.
pub const NOW: &str = "2026-02-05T06:00:00Z";

/// The arguments of [`Place::compact`].
pub const CATCH_UP: &[&str] = &["compact", "--mode", "catch-up", "--now", NOW];
/// The folder of the series that most tests use.
pub const SERIES: &str = "exchange=binance/stream=bbo/symbol=btcusdt";

/// A spool, an archive and a spill folder that go when this value does.
pub struct Place {
    dir: TempDir,
    /// The store of the archive, where that is not a folder.
    server: Option<Arc<Server>>,
    /// Whether the spool is in that store as well.
    remote_spool: bool,
}

impl Place {
    pub fn new() -> Self {
        Self::of(None, false)
    }

    /// With the archive in a bucket.
    pub fn on_s3() -> Self {
        Self::of(Some(Arc::new(Server::new())), false)
    }

    /// With spool and archive in a bucket.
    pub fn all_on_s3() -> Self {
        Self::of(Some(Arc::new(Server::new())), true)
    }

    /// Another machine: a spool of its own, the same bucket.
    pub fn beside(&self) -> Self {
        Self::of(self.server.clone(), false)
    }

    /// Where nothing waits for a disk, if the machine has such a place: for tests of very many
    /// runs.
    pub fn in_memory() -> Self {
        Self::within(memory().unwrap(), None, false)
    }

    /// Likewise, with the archive in a bucket, and the spool as well if it shall be.
    pub fn in_memory_on_s3(remote_spool: bool) -> Self {
        Self::within(
            memory().unwrap(),
            Some(Arc::new(Server::within(memory().unwrap()))),
            remote_spool,
        )
    }

    fn of(server: Option<Arc<Server>>, remote_spool: bool) -> Self {
        Self::within(TempDir::new().unwrap(), server, remote_spool)
    }

    fn within(dir: TempDir, server: Option<Arc<Server>>, remote_spool: bool) -> Self {
        let place = Self {
            dir,
            server,
            remote_spool,
        };
        std::fs::create_dir_all(place.spool()).unwrap();
        place
    }

    /// The store of the archive, which must be in a bucket.
    pub fn server(&self) -> &Arc<Server> {
        self.store().expect("a store")
    }

    /// The same, where there is one.
    pub fn store(&self) -> Option<&Arc<Server>> {
        self.server.as_ref()
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The files of the spool; those of a bucket are to be looked at only.
    pub fn spool(&self) -> PathBuf {
        match &self.server {
            Some(server) if self.remote_spool => server.folder(SPOOL),
            _ => self.dir.path().join("spool"),
        }
    }

    /// The files of the archive; those of a bucket are to be looked at only. Not made beforehand.
    pub fn archive(&self) -> PathBuf {
        self.server.as_ref().map_or_else(
            || self.dir.path().join("archive"),
            |server| server.folder(ARCHIVE),
        )
    }

    /// Where runs are spilled, apart from those of all other tests. Not made beforehand.
    pub fn spill(&self) -> PathBuf {
        self.dir.path().join("spill")
    }

    /// Puts a file into the folder of `binance/bbo/btcusdt`.
    pub fn put_quotes(&self, file: &str, bytes: &[u8]) -> PathBuf {
        self.put(&format!("{SERIES}/{file}"), bytes)
    }

    /// Puts a file into the spool, at `exchange=…/stream=…/symbol=…/…`.
    pub fn put(&self, key: &str, bytes: &[u8]) -> PathBuf {
        let path = self.spool().join(key);
        match &self.server {
            Some(server) if self.remote_spool => server.put(&format!("{SPOOL}/{key}"), bytes),
            _ => {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, bytes).unwrap();
            }
        }
        path
    }

    /// Runs `qlc compact` on every day that is over, with more arguments.
    pub fn compact(&self, more: &[&str]) -> Ran {
        self.qlc(&[CATCH_UP, more].concat())
    }

    /// Fails unless `qlc verify` finds nothing.
    #[track_caller]
    pub fn verify(&self) {
        let _ = self.qlc(&["verify"]).ended(0);
    }

    /// Fails if anything unfinished lies in the archive, or anything at all in the spill folder.
    #[track_caller]
    pub fn is_tidy(&self) {
        let unfinished = |path: &String| Path::new(path).extension().is_some_and(|e| e == "tmp");
        let left: Vec<String> = listing(&self.archive())
            .into_keys()
            .filter(unfinished)
            .collect();
        assert_eq!(left, Vec::<String>::new(), "temporary files are left");
        let left: Vec<_> = std::fs::read_dir(self.spill())
            .into_iter()
            .flatten()
            .map(|e| e.unwrap().path())
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "scratch folders are left");
    }

    /// Likewise, and fails if a bucket holds a probe or an upload that nobody will complete, as a
    /// killed run may leave it.
    #[track_caller]
    pub fn leaves_nothing(&self) {
        self.is_tidy();
        assert_eq!(
            self.left_in_bucket(),
            Vec::<String>::new(),
            "probes and uploads are left"
        );
    }

    /// Whether the archive is in a bucket, and a probe or an upload is left there.
    pub fn has_leftovers(&self) -> bool {
        !self.left_in_bucket().is_empty()
    }

    fn left_in_bucket(&self) -> Vec<String> {
        let probes = listing(&self.archive())
            .into_keys()
            .filter(|key| key.starts_with("_probe/"));
        probes
            .chain(self.server.iter().flat_map(|server| server.uploads()))
            .collect()
    }

    /// Runs `qlc` on this spool and archive.
    pub fn qlc(&self, args: &[&str]) -> Ran {
        self.qlc_env(args, &[])
    }

    /// Likewise, with environment variables.
    pub fn qlc_env(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        finish(self.command(args, env))
    }

    /// Likewise, without some environment variables that it would have.
    pub fn qlc_without(&self, without: &[&str], args: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = self.command(args, env);
        for name in without {
            let _ = command.env_remove(name);
        }
        finish(command)
    }

    /// Runs `qlc` on this spool and another archive.
    pub fn elsewhere(&self, archive: &str, args: &[&str]) -> Ran {
        finish(self.command_on(archive.into(), args, &[]))
    }

    /// Runs `qlc` where a write fails that would make a file larger than `blocks` of 512 bytes, as
    /// on a full disk.
    pub fn qlc_short_of_room(&self, blocks: u32, args: &[&str]) -> Ran {
        let bare = self.command(args, &[]);
        let mut command = Command::new("sh");
        // The signal that comes with the limit is ignored, so that the write returns an error.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let _ = command
            .args(["-c", &script])
            .arg(bare.get_program())
            .args(bare.get_args());
        for (name, value) in bare.get_envs() {
            let _ = match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let _ = command.current_dir(self.root()).stdin(Stdio::null());
        finish(command)
    }

    /// Begins `qlc` on this spool and archive, to be killed or signalled on its way.
    pub fn spawn(&self, args: &[&str], env: &[(&str, &str)]) -> Child {
        self.command(args, env)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// With another archive than the place's own.
    pub fn qlc_to(&self, archive: &str, args: &[&str], env: &[(&str, &str)]) -> Ran {
        finish(self.command_on(archive.into(), args, env))
    }

    /// Runs `qlc` on these spools in place of its own, each as `--spool` takes it; with none it is
    /// for `env` to name them.
    pub fn on_spools(&self, spools: &[&str], args: &[&str], env: &[(&str, &str)]) -> Ran {
        finish(self.command_of(
            spools.iter().map(PathBuf::from),
            self.archive_url(),
            args,
            env,
        ))
    }

    /// The spool as another process of the place is told of it.
    pub fn spool_setting(&self) -> PathBuf {
        if self.remote_spool {
            url(SPOOL)
        } else {
            self.spool()
        }
    }

    /// The archive likewise.
    pub fn archive_url(&self) -> PathBuf {
        if self.server.is_some() {
            url(ARCHIVE)
        } else {
            self.archive()
        }
    }

    fn command(&self, args: &[&str], env: &[(&str, &str)]) -> Command {
        self.command_on(self.archive_url(), args, env)
    }

    fn command_on(&self, archive: PathBuf, args: &[&str], env: &[(&str, &str)]) -> Command {
        self.command_of([self.spool_setting()], archive, args, env)
    }

    fn command_of(
        &self,
        spools: impl IntoIterator<Item = PathBuf>,
        archive: PathBuf,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Command {
        let mut command = bare();
        for spool in spools {
            let _ = command.arg("--spool").arg(spool);
        }
        let _ = command.arg("--archive").arg(archive);
        let _ = command.env("QLC_SPILL_DIR", self.spill());
        if let Some(server) = &self.server {
            // Nobody's own profile may reach into the tests.
            let _ = command.env("HOME", self.root()).envs(server.env());
        }
        let _ = command
            .args(args)
            .envs(env.iter().copied())
            .current_dir(self.root());
        command
    }
}

/// A folder in memory, or where that is not to be had, one as all others.
fn memory() -> std::io::Result<TempDir> {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())
}

fn url(key: &str) -> PathBuf {
    PathBuf::from(format!("s3://{BUCKET}/{key}"))
}

/// Runs `qlc` with these arguments and nothing else.
pub fn qlc(args: &[&str]) -> Ran {
    let mut command = bare();
    let _ = command.args(args);
    finish(command)
}

/// The program under test: the one that cargo built beside the tests, or the one that `TEST_QLC`
/// names, such as an installed package's.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no command line to name the program with"
)]
pub fn program() -> String {
    std::env::var("TEST_QLC").unwrap_or_else(|_| env!("CARGO_BIN_EXE_qlc").to_owned())
}

/// The binary without what the environment of the tests might tell it.
fn bare() -> Command {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars_os() {
        let tells = |n: &str| n.starts_with("QLC_") || n.starts_with("AWS_") || n == "RUST_LOG";
        let told = name.to_str().is_some_and(tells);
        if told {
            let _ = command.env_remove(name);
        }
    }
    let _ = command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn finish(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    Ran::of(format!("{command:?}"), output)
}

/// What a run of the binary left behind.
pub struct Ran {
    said: String,
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn of(said: String, output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            said,
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Waits for what was begun by [`Place::spawn`].
    pub fn of_child(child: Child) -> Self {
        Self::of(
            "a run among others".to_owned(),
            child.wait_with_output().unwrap(),
        )
    }

    /// Fails, showing everything, unless the exit code is this one.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Fails, showing everything, unless stdout or stderr holds `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "{text:?} is not in\n{self}"
        );
        self
    }

    /// The objects on stdout, one a line.
    #[track_caller]
    pub fn json(&self) -> Vec<serde_json::Value> {
        let lines = self.stdout.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}\n{self}"))
            })
            .collect()
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\nexit code {:?}", self.said, self.code)?;
        writeln!(f, "--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_stdout_are_read_as_objects() {
        let stdout = "{\"a\": 1}\n\n{\"a\": 2}\n".to_owned();
        let ran = Ran {
            said: "qlc".to_owned(),
            code: Some(0),
            stdout,
            stderr: String::new(),
        };
        assert_eq!(
            ran.json()
                .iter()
                .map(|o| o["a"].as_i64())
                .collect::<Vec<_>>(),
            [Some(1), Some(2)]
        );
        let ran = ran.ended(0).says("2}");
        assert!(ran.to_string().contains("--- stderr"));
    }

    #[test]
    fn files_are_put_where_they_are_told() {
        let place = Place::new();
        let path = place.put("exchange=a/stream=b/symbol=c/d.parquet", b"PAR1");
        assert_eq!(
            path,
            place.spool().join("exchange=a/stream=b/symbol=c/d.parquet")
        );
        assert_eq!(std::fs::read(path).unwrap(), b"PAR1");
    }

    #[test]
    fn a_run_that_was_begun_can_be_waited_for() {
        let ended = Place::new()
            .spawn(&["--help"], &[("QLC_SPOOL", "elsewhere")])
            .wait_with_output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(0));
    }
}
