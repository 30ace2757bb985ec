//! Records the raw frames of exchange feeds, with the instants at which they were read, and where a
//! connection was cut.
//!
//! Frames are not decoded: what came is kept, also what no decoder would accept. A recording is one
//! file, or several that follow one another; each is complete when the next one begins, or the run
//! ends. After a crash the last one can be read up to where it broke off.

use std::{
    fs::{self, File},
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use crate::{
    error::{Error, Result},
    feed::{
        recording::{Frame, Writer},
        venue::{Line, Transport},
    },
    net::{Backoff, Dials, Proxies, asked_to_wait, open},
    storage::store::hex,
};

/// Without a word for so long a connection is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// What was read can be read by others after so long.
const FLUSH: Duration = Duration::from_secs(5);
/// A connection that was there for so long makes earlier failures forgotten.
const STABLE: Duration = Duration::from_secs(10);

/// What is to be recorded.
#[derive(Debug)]
pub struct Options {
    /// The connections; what is polled is not recorded.
    pub lines: Vec<Line>,
    /// The recording; it must not exist yet.
    pub file: PathBuf,
    /// Another file is begun when this one is so old.
    pub rotate_after: Option<Duration>,
    /// Another file is begun when this one has so many bytes.
    pub rotate_size: Option<u64>,
    /// Ends the run by itself.
    pub duration: Option<Duration>,
    /// Ends the run by itself.
    pub max_frames: Option<u64>,
    /// The way to the exchanges.
    pub proxies: Proxies,
    /// The waits between attempts.
    pub backoff: Backoff,
    /// The clock for the time of receipt.
    pub clock: fn() -> i64,
}

/// What was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Frames.
    pub frames: u64,
    /// Files.
    pub files: u64,
    /// Times that a connection was cut.
    pub cuts: u64,
}

/// The file that is being written.
struct Open {
    path: PathBuf,
    writer: Writer<File>,
    since: Instant,
}

impl Open {
    fn new(path: PathBuf) -> Result<Self> {
        let file = File::create_new(&path).map_err(|e| {
            Error::io(
                format!(
                    "{}: cannot be made; name a file that does not exist yet",
                    path.display()
                ),
                e,
            )
        })?;
        Ok(Self {
            path,
            writer: Writer::new(file)?,
            since: Instant::now(),
        })
    }

    fn is_full(&self, options: &Options) -> bool {
        let is_large = |most: u64| fs::metadata(&self.path).is_ok_and(|meta| meta.len() >= most);
        options
            .rotate_after
            .is_some_and(|age| self.since.elapsed() >= age)
            || options.rotate_size.is_some_and(is_large)
    }

    fn finish(self) -> Result<()> {
        let (file, _) = self.writer.finish()?;
        file.sync_all()
            .map_err(|e| Error::io(format!("{}: cannot be synced", self.path.display()), e))
    }
}

/// The n-th file of a recording: `okx.ndjson.zst`, `okx-2.ndjson.zst`.
fn numbered(path: &Path, number: u64) -> PathBuf {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    match name.split_once('.').filter(|(stem, _)| !stem.is_empty()) {
        _ if number < 2 => path.to_owned(),
        Some((stem, rest)) => path.with_file_name(format!("{stem}-{number}.{rest}")),
        None => path.with_file_name(format!("{name}-{number}")),
    }
}

/// Records until `stop` completes or the run ends by itself.
///
/// # Errors
/// When a file exists, or cannot be written.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<Summary> {
    let mut open = Open::new(options.file.clone())?;
    let (to, mut from) = mpsc::channel(1024);
    let (stop_to, stopped) = watch::channel(false);
    let (dials, proxies) = (
        Arc::new(Dials::default()),
        Arc::new(options.proxies.clone()),
    );
    for line in options
        .lines
        .iter()
        .filter(|line| line.by == Transport::Socket)
    {
        let kept = Kept {
            line: line.clone(),
            clock: options.clock,
            backoff: options.backoff,
            dials: Arc::clone(&dials),
            proxies: Arc::clone(&proxies),
            to: to.clone(),
            stop: stopped.clone(),
        };
        drop(tokio::spawn(kept.keep()));
    }
    drop(to);
    let end = options.duration.map(|duration| Instant::now() + duration);
    let mut flush = tokio::time::interval(FLUSH.min(options.rotate_after.unwrap_or(FLUSH)));
    let mut summary = Summary {
        frames: 0,
        files: 1,
        cuts: 0,
    };
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = async { match end { Some(end) => sleep_until(end).await, None => std::future::pending().await } } => break,
            _ = flush.tick() => {
                open.writer.flush()?;
                if open.is_full(&options) {
                    // The next one first: where it cannot be made, this one is still complete in
                    // the end.
                    let next = Open::new(numbered(&options.file, summary.files + 1));
                    let ended = std::mem::replace(&mut open, match next {
                        Ok(next) => next,
                        Err(error) => {
                            let _ = stop_to.send(true);
                            open.finish()?;
                            return Err(error);
                        }
                    });
                    ended.finish()?;
                    summary.files += 1;
                }
            }
            Some(frame) = from.recv() => {
                open.writer.add(&frame)?;
                if frame.cut.is_some() {
                    summary.cuts += 1;
                    continue;
                }
                summary.frames += 1;
                if options.max_frames.is_some_and(|most| summary.frames >= most) {
                    break;
                }
            }
        }
    }
    let _ = stop_to.send(true);
    open.finish()?;
    Ok(summary)
}

/// A line that is kept connected.
struct Kept {
    line: Line,
    clock: fn() -> i64,
    backoff: Backoff,
    dials: Arc<Dials>,
    proxies: Arc<Proxies>,
    to: mpsc::Sender<Frame>,
    stop: watch::Receiver<bool>,
}

impl Kept {
    async fn keep(self) {
        let mut stop = self.stop.clone();
        let mut failures = 0;
        while !*stop.borrow() {
            let began = Instant::now();
            let (reason, wait) = tokio::select! {
                ended = self.session() => ended,
                _ = stop.changed() => return,
            };
            failures = if began.elapsed() > STABLE {
                1
            } else {
                failures + 1
            };
            let at = (self.clock)();
            let wait = wait.max(self.backoff.wait(failures, at.unsigned_abs()));
            tracing::warn!(
                line = self.line.name,
                reason,
                wait_ms = wait.as_millis(),
                "connection lost"
            );
            if self
                .to
                .send(Frame::cut(&self.line.name, at, reason))
                .await
                .is_err()
            {
                return;
            }
            tokio::select! {
                () = sleep(wait) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// One connection; returns why it ended, and for how long the exchange wants to be left alone.
    async fn session(&self) -> (String, Duration) {
        self.dials.turn(self.line.venue).await;
        match open(&self.line.url, &self.proxies).await {
            Ok(socket) => (self.talk(socket).await, Duration::ZERO),
            Err(SocketError::Http(response)) => {
                let wait = asked_to_wait(response.status(), response.headers(), (self.clock)());
                self.dials.block(self.line.venue, wait);
                (format!("the exchange answers {}", response.status()), wait)
            }
            Err(error) => (error.to_string(), Duration::ZERO),
        }
    }

    async fn talk(&self, mut socket: crate::net::Socket) -> String {
        for (hello, _) in self.line.subscribe() {
            if let Err(error) = socket.send(Message::text(hello)).await {
                return error.to_string();
            }
        }
        let pulse = self.line.venue.pulse();
        let mut ping = tokio::time::interval(pulse.every);
        let mut heard = Instant::now();
        loop {
            let message = tokio::select! {
                message = socket.next() => message,
                _ = ping.tick() => {
                    if heard.elapsed() > SILENCE {
                        return format!("silent for {} s", SILENCE.as_secs());
                    }
                    let message = pulse.text.map_or_else(|| Message::Ping(bytes::Bytes::new()), Message::from);
                    if let Err(error) = socket.send(message).await {
                        return error.to_string();
                    }
                    continue;
                }
            };
            let at = (self.clock)();
            heard = Instant::now();
            let (text, binary) = match message {
                Some(Ok(Message::Text(text))) => (Some(text.to_string()), None),
                Some(Ok(Message::Binary(bytes))) => (None, Some(hex(&bytes))),
                Some(Ok(Message::Close(_))) | None => return "closed by the exchange".to_owned(),
                Some(Ok(_)) => continue,
                Some(Err(error)) => return error.to_string(),
            };
            let frame = Frame {
                line: self.line.name.clone(),
                at,
                text,
                binary,
                cut: None,
            };
            if self.to.send(frame).await.is_err() {
                return "the recording has ended".to_owned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_recording_are_numbered() {
        let check = |path: &str, number, want: &str| {
            assert_eq!(numbered(Path::new(path), number), Path::new(want));
        };
        check("a/okx.ndjson.zst", 1, "a/okx.ndjson.zst");
        check("a/okx.ndjson.zst", 2, "a/okx-2.ndjson.zst");
        check("okx", 3, "okx-3");
        check(".hidden", 2, ".hidden-2");
    }
}
