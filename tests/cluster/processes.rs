//! A scheduler and its executors, each a process of its own on ports of its own.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::support::run::{Place, program};

/// How long anything may take before a test gives up; a test that passes never waits for it.
const PATIENCE: Duration = Duration::from_mins(2);

/// A process that dies with this value.
pub struct Process {
    pub child: Child,
}

impl Process {
    pub fn begin(mut command: Command) -> (Self, BufReader<std::process::ChildStderr>) {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        (Self { child }, lines)
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "kill {name}");
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process dies of this too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Scheduler and executors.
pub struct Cluster {
    pub scheduler: Process,
    pub executors: Vec<Process>,
    pub port: u16,
    /// The certificate with which its processes know each other.
    pub certificate: Option<&'static str>,
    /// By the names of executors, the ports of loopback that only they themselves use.
    pub inner: BTreeMap<String, u16>,
    dir: TempDir,
}

/// What an executor is told, and how it is started.
#[derive(Default)]
pub struct Kind<'a> {
    /// What all its tasks may have.
    pub memory: Option<&'a str>,
    pub env: Vec<(String, String)>,
    /// The largest file that it can write, in blocks of 512 bytes.
    pub blocks: Option<u32>,
}

impl Cluster {
    /// A scheduler with `executors` executors that speak to the stores of `place`.
    pub fn new(place: &Place, executors: usize) -> Self {
        let mut cluster = Self::without_executors();
        for _ in 0..executors {
            let _ = cluster.join(place, Kind::default());
        }
        cluster
    }

    /// Only a scheduler, which soon thinks executors dead that are not heard of.
    pub fn without_executors() -> Self {
        Self::with(None)
    }

    /// The same, among those who have a certificate of the authority of this name.
    pub fn with(certificate: Option<&'static str>) -> Self {
        Self::on("127.0.0.1", certificate)
    }

    /// The same on this address.
    pub fn on(host: &str, certificate: Option<&'static str>) -> Self {
        let mut command = qlc();
        let _ = command.envs(certificates(certificate));
        let _ = command.args([
            "cluster",
            "scheduler",
            "--bind-host",
            host,
            "--bind-port",
            "0",
            "--executor-timeout-seconds",
            "3",
        ]);
        let (scheduler, mut lines) = Process::begin(command);
        let mut line = String::new();
        let _ = lines.read_line(&mut line).unwrap();
        let port = line
            .split(';')
            .next()
            .and_then(|bound| bound.rsplit(':').next())
            .unwrap_or_default();
        let port = port
            .parse()
            .unwrap_or_else(|_| panic!("the scheduler said {line:?}"));
        drain(lines);
        Self {
            scheduler,
            executors: Vec::new(),
            port,
            certificate,
            inner: BTreeMap::new(),
            dir: TempDir::new().unwrap(),
        }
    }

    /// Where the executor `name` keeps results and what does not fit in memory.
    pub fn spill_of(&self, name: &str) -> std::path::PathBuf {
        let port = name.rsplit(':').next().unwrap_or_default();
        self.dir.path().join(port)
    }

    /// Starts one more executor and waits until the scheduler knows it; returns its name.
    pub fn join(&mut self, place: &Place, kind: Kind<'_>) -> String {
        let (port, grpc) = (free(), free());
        let bare = qlc();
        let mut command = match kind.blocks {
            None => bare,
            Some(blocks) => {
                let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
                let mut command = Command::new("sh");
                let _ = command.args(["-c", &script]).arg(bare.get_program());
                command
            }
        };
        let _ = command
            .args([
                "cluster",
                "executor",
                "--vcores",
                "2",
                "--memory-pool-size",
                kind.memory.unwrap_or("8GB"),
            ])
            .args(["--executor-heartbeat-interval-seconds", "1"])
            .args(["--scheduler-port", &self.port.to_string()])
            .args([
                "--bind-port",
                &port.to_string(),
                "--bind-grpc-port",
                &grpc.to_string(),
            ])
            .arg("--spill-dir")
            .arg(self.dir.path().join(port.to_string()));
        // What it is configured with; tasks over other places are refused.
        let _ = command
            .env("QLC_SPOOL", place.spool_setting())
            .env("QLC_ARCHIVE", place.archive_url());
        if let Some(server) = place.store() {
            let _ = command.envs(server.env()).env("HOME", place.root());
        }
        let _ = command.envs(certificates(self.certificate));
        let _ = command.envs(kind.env);
        let (executor, lines) = Process::begin(command);
        drain(lines);
        self.executors.push(executor);
        let name = format!("127.0.0.1:{port}");
        let _ = self.inner.insert(name.clone(), grpc);
        match self.certificate {
            None => self.knows(&name),
            Some(_) => self.is_told_of(place, &name),
        }
        name
    }

    /// Waits until the scheduler knows the executor `name`, and it answers.
    fn knows(&self, name: &str) {
        let port = name.rsplit(':').next().unwrap_or_default();
        let began = Instant::now();
        loop {
            let known = get(self.port, "/qlc/executors")
                .is_some_and(|text| text.contains(&format!("\"port\":{port}")));
            if known && get(port.parse().unwrap(), "/qlc/about").is_some() {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "executor {name} did not join");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a client is told of the executor `name`.
    fn is_told_of(&self, place: &Place, name: &str) {
        let (url, env) = (self.url(), certificates(self.certificate));
        let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let began = Instant::now();
        loop {
            let told = place.qlc_env(&["doctor", "--cluster", &url], &env);
            if told.stdout.contains(&format!("{name}: qlc")) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "executor {name}: {told}");
        }
    }

    /// The address for `--cluster`.
    pub fn url(&self) -> String {
        format!("df://127.0.0.1:{}", self.port)
    }
}

/// The settings of a process that has a certificate of the authority of this name.
pub fn certificates(of: Option<&str>) -> Vec<(&'static str, String)> {
    let Some(of) = of else { return Vec::new() };
    let file = |name: String| format!("{}/tests/cluster/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    vec![
        ("QLC_CLUSTER_CA", file(format!("{of}-ca.pem"))),
        ("QLC_CLUSTER_CERT", file(format!("{of}.pem"))),
        ("QLC_CLUSTER_KEY", file(format!("{of}.key"))),
    ]
}

/// The body of an answer to GET, if there is one with 200.
pub fn get(port: u16, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200")
        .then(|| text.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}

/// An executor on ports of its own and what it is told, before it is started: of a scheduler on
/// this port, with these certificates.
pub fn executor(scheduler: u16, env: &[(&str, String)], more: &[&str]) -> Command {
    let mut command = qlc();
    let _ = command
        .args(["cluster", "executor", "--vcores", "2"])
        .args(["--scheduler-port", &scheduler.to_string()])
        .args(["--bind-port", &free().to_string()])
        .args(["--bind-grpc-port", &free().to_string()])
        .args(more)
        .envs(env.iter().map(|(name, value)| (name, value)));
    command
}

/// What a process says on stderr until it says `text`; all of it where it ends before.
pub fn says(lines: &mut BufReader<std::process::ChildStderr>, text: &str) -> String {
    let mut said = String::new();
    while !said.contains(text) {
        if lines.read_line(&mut said).unwrap() == 0 {
            break;
        }
    }
    said
}

/// The binary without what the environment of the tests might tell it.
pub fn qlc() -> Command {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|n| n.starts_with("QLC_") || n.starts_with("AWS_") || n == "RUST_LOG")
        {
            let _ = command.env_remove(name);
        }
    }
    command
}

/// Reads what a process says, so that it is never held up, and shows it with the test's own output.
#[expect(
    clippy::print_stderr,
    reason = "a test that fails shows what its processes said"
)]
pub fn drain(lines: BufReader<std::process::ChildStderr>) {
    drop(std::thread::spawn(move || {
        lines
            .lines()
            .map_while(Result::ok)
            .for_each(|line| eprintln!("{line}"));
    }));
}

/// A port that nobody listens on, nor will: it is given once, and lies below those that the system
/// gives to whoever asks for none in particular, such as the other side of a connection.
pub fn free() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let nth = std::process::id().wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(20_000 + nth % 12_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
