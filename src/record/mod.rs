//! Records the raw frames of exchange feeds, with the instants at which they were read.
//!
//! Refuses to understand them: what came is kept, also what no decoder would take. A recording is a file that is complete
//! when the run ends; after a crash it can be read up to where it broke off.

use std::{fs::File, future::Future, path::PathBuf, time::Duration};

use futures::{SinkExt, StreamExt};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::{
    error::{Error, Result},
    feed::{
        recording::{Frame, Writer},
        venue::Line,
    },
    storage::store::hex,
};

/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_secs(2);
/// Without a word for so long a connection is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// What was read can be read by others after so long.
const FLUSH: Duration = Duration::from_secs(5);

/// What is to be recorded.
#[derive(Debug)]
pub struct Options {
    /// The connections.
    pub lines: Vec<Line>,
    /// The recording; it must not exist yet.
    pub file: PathBuf,
    /// Ends the run by itself.
    pub duration: Option<Duration>,
    /// Ends the run by itself.
    pub max_frames: Option<u64>,
    /// The clock for the time of receipt.
    pub clock: fn() -> i64,
}

/// Records until `stop` completes or the run ends by itself; returns the number of frames.
///
/// # Errors
/// When the file exists, or cannot be written.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<u64> {
    let shown = options.file.display().to_string();
    let file = File::create_new(&options.file)
        .map_err(|e| Error::io(format!("{shown}: cannot be made; name a file that does not exist yet"), e))?;
    let mut writer = Writer::new(file)?;
    let (to, mut from) = mpsc::channel(1024);
    let (stop_to, stopped) = watch::channel(false);
    for line in options.lines {
        drop(tokio::spawn(keep(line, options.clock, to.clone(), stopped.clone())));
    }
    drop(to);
    let end = options.duration.map(|duration| Instant::now() + duration);
    let mut flush = tokio::time::interval(FLUSH);
    let mut frames = 0;
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = async { match end { Some(end) => sleep_until(end).await, None => std::future::pending().await } } => break,
            _ = flush.tick() => writer.flush()?,
            Some(frame) = from.recv() => {
                writer.add(&frame)?;
                frames += 1;
                if options.max_frames.is_some_and(|most| frames >= most) {
                    break;
                }
            }
        }
    }
    let _ = stop_to.send(true);
    let (file, frames) = writer.finish()?;
    file.sync_all().map_err(|e| Error::io(format!("{shown}: cannot be synced"), e))?;
    Ok(frames)
}

async fn keep(line: Line, clock: fn() -> i64, to: mpsc::Sender<Frame>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let reason = tokio::select! {
            reason = session(&line, clock, &to) => reason,
            _ = stop.changed() => return,
        };
        tracing::warn!(line = line.name, reason, "connection lost");
        tokio::select! {
            () = sleep(AGAIN) => {}
            _ = stop.changed() => {}
        }
    }
}

/// One connection; returns why it ended.
async fn session(line: &Line, clock: fn() -> i64, to: &mpsc::Sender<Frame>) -> String {
    let mut socket = match connect_async(line.url.as_str()).await {
        Ok((socket, _)) => socket,
        Err(error) => return error.to_string(),
    };
    for (hello, _) in line.subscribe() {
        if let Err(error) = socket.send(Message::text(hello)).await {
            return error.to_string();
        }
    }
    let pulse = line.venue.pulse();
    let mut ping = tokio::time::interval(pulse.every);
    let mut heard = Instant::now();
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE {
                    return "silent".to_owned();
                }
                let message = pulse.text.map_or_else(|| Message::Ping(bytes::Bytes::new()), Message::from);
                if let Err(error) = socket.send(message).await {
                    return error.to_string();
                }
                continue;
            }
        };
        let at = clock();
        heard = Instant::now();
        let (text, binary) = match message {
            Some(Ok(Message::Text(text))) => (Some(text.to_string()), None),
            Some(Ok(Message::Binary(bytes))) => (None, Some(hex(&bytes))),
            Some(Ok(Message::Close(_))) | None => return "closed by the exchange".to_owned(),
            Some(Ok(_)) => continue,
            Some(Err(error)) => return error.to_string(),
        };
        if to.send(Frame { line: line.name.clone(), at, text, binary }).await.is_err() {
            return "the recording has ended".to_owned();
        }
    }
}
