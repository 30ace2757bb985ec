//! Connections: each line is kept connected for ever, and replaced before it ends by its age or by an announcement.
//!
//! A frame is stamped when it is read, decoded here and handed to the writer in groups. When the writer is slow, the
//! socket is read more slowly: nothing is dropped here. While a line is replaced, two sessions bring the same events for a
//! moment; the writer knows them by the exchange's numbers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, SinkExt, StreamExt};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    connect_async_with_config,
    tungstenite::{
        Error as SocketError, Message,
        protocol::{WebSocketConfig, frame::Utf8Bytes},
    },
};

use super::patience::Patience;
use crate::feed::{
    decode::{Decoder, Heard},
    event::Event,
    venue::Line,
};

/// A group is handed over when it has so many events.
const GROUP: usize = 1024;
/// A longer message is no market data.
const LONGEST: usize = 4 << 20;
const CONNECT: Duration = Duration::from_secs(15);
/// Two sessions overlap for so long after the new one has begun to bring events.
const OVERLAP: Duration = Duration::from_secs(2);
/// A session that was live for so long makes earlier failures forgotten.
const STABLE: Duration = Duration::from_secs(10);

/// Nanoseconds since 1970 UTC.
pub type Clock = fn() -> i64;

/// How lines are kept.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    /// The waits between attempts.
    pub patience: Patience,
    /// A session is replaced when it is this old.
    pub renew_after: Duration,
    /// A session without a word for so long is dead.
    pub silence: Duration,
    /// Spreads waits.
    pub seed: u64,
    /// The clock for the time of receipt.
    pub clock: Clock,
}

/// What a line tells the writer.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) line: usize,
    /// The session, a number that no other session of this process has.
    pub(crate) session: u64,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Group(Group),
    /// A session began to bring something.
    Live,
    /// A session ended and none takes its place yet.
    Lost {
        reason: String,
        cause: &'static str,
        wait: Duration,
    },
    /// A session takes the place of another one.
    Renewing(String),
    /// The exchange refuses a subscription, or says something that a person should know.
    Notice(String),
}

/// Events that were read together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) events: Vec<Event>,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) last_recv: i64,
    pub(crate) rejects: Vec<Reject>,
}

/// A frame that could not be decoded.
#[derive(Debug)]
pub(crate) struct Reject {
    pub(crate) at: i64,
    pub(crate) reason: String,
    /// The frame, in hex if it was no text.
    pub(crate) frame: String,
    pub(crate) binary: bool,
}

/// Why a session ended.
#[derive(Debug)]
struct Ended {
    reason: String,
    /// `feed` when the other side ended it, `unknown` when the way there is at fault or nobody can say.
    cause: &'static str,
}

/// How far a session has come, for whoever keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Live,
    /// The exchange will end it soon.
    Ending,
}

/// Keeps a line until `stop` turns true.
pub(crate) async fn keep(
    line: Line,
    place: usize,
    keeping: Keeping,
    sessions: Arc<AtomicU64>,
    to: mpsc::Sender<News>,
    mut stop: watch::Receiver<bool>,
) {
    let line = Arc::new(line);
    let mut failures = 0_u32;
    while !*stop.borrow() {
        let began = Instant::now();
        let (session, ended) = tokio::select! {
            ended = lifetime(&line, place, keeping, &sessions, &to, stop.clone()) => ended,
        };
        let Some(ended) = ended else { break };
        failures = if began.elapsed() > STABLE { 1 } else { failures.saturating_add(1) };
        let wait = keeping.patience.wait(failures, keeping.seed ^ session);
        let what = What::Lost { reason: ended.reason, cause: ended.cause, wait };
        if to.send(News { line: place, session, what }).await.is_err() {
            break;
        }
        tokio::select! {
            () = sleep(wait) => {}
            _ = stop.changed() => {}
        }
    }
}

/// A session and those that replace it, until one is lost with none in its place. `None` when it was asked to stop.
async fn lifetime(
    line: &Arc<Line>,
    place: usize,
    keeping: Keeping,
    sessions: &AtomicU64,
    to: &mpsc::Sender<News>,
    stop: watch::Receiver<bool>,
) -> (u64, Option<Ended>) {
    let begin = || {
        let number = sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let (stage_to, stage) = watch::channel(Stage::Connecting);
        let (end, ended) = watch::channel(false);
        let run = session(Arc::clone(line), place, number, keeping, to.clone(), stage_to, ended);
        (number, stage, end, tokio::spawn(run))
    };
    let lost = |joined: Result<Option<Ended>, tokio::task::JoinError>| {
        joined.unwrap_or_else(|e| Some(Ended { reason: format!("a defect of qlc: {e}"), cause: "ours" }))
    };
    let mut stop = stop;
    let mut current = begin();
    let mut next = None;
    let mut renew = Box::pin(sleep(keeping.renew_after));
    loop {
        let (successor_live, successor_gone) = match &mut next {
            None => (false, false),
            Some((_, stage, _, task)) => {
                let stage: &mut watch::Receiver<Stage> = stage;
                let task: &tokio::task::JoinHandle<Option<Ended>> = task;
                (*stage.borrow() == Stage::Live, task.is_finished())
            }
        };
        if successor_live && let Some(next) = next.take() {
            sleep(OVERLAP).await;
            let old = std::mem::replace(&mut current, next);
            let _ = old.2.send(true);
            let _ = timeout(CONNECT, old.3).await;
            renew = Box::pin(sleep(keeping.renew_after));
            continue;
        }
        if successor_gone {
            next = None;
            renew = Box::pin(sleep(keeping.patience.cap));
        }
        tokio::select! {
            joined = &mut current.3 => {
                let ended = lost(joined);
                match next.take() {
                    // The one that was to take its place does so at once.
                    Some(successor) if ended.is_some() => current = successor,
                    _ => return (current.0, ended),
                }
            }
            () = &mut renew, if next.is_none() => {
                let what = What::Renewing("it has reached its age".to_owned());
                let _ = to.send(News { line: place, session: current.0, what }).await;
                next = Some(begin());
            }
            Ok(()) = current.1.changed() => {
                if *current.1.borrow() == Stage::Ending && next.is_none() {
                    let what = What::Renewing("the exchange announced its end".to_owned());
                    let _ = to.send(News { line: place, session: current.0, what }).await;
                    next = Some(begin());
                }
            }
            // Looks again at the one that is to take over.
            () = sleep(Duration::from_millis(50)), if next.is_some() => {}
            _ = stop.changed() => {
                let _ = current.2.send(true);
                if let Some(successor) = &next {
                    let _ = successor.2.send(true);
                }
                if let Some(successor) = next.take() {
                    let _ = timeout(CONNECT, successor.3).await;
                }
                let _ = timeout(CONNECT, &mut current.3).await;
                return (current.0, None);
            }
        }
    }
}

/// One connection from its beginning to its end; `None` when it was asked to end.
async fn session(
    line: Arc<Line>,
    place: usize,
    number: u64,
    keeping: Keeping,
    to: mpsc::Sender<News>,
    stage: watch::Sender<Stage>,
    mut asked: watch::Receiver<bool>,
) -> Option<Ended> {
    let failed = |reason: String| Some(Ended { reason, cause: "unknown" });
    let config =
        WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST)).write_buffer_size(0);
    let connected = tokio::select! {
        connected = timeout(CONNECT, connect_async_with_config(line.url.as_str(), Some(config), true)) => connected,
        _ = asked.changed() => return None,
    };
    let mut socket = match connected {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(error)) => return failed(format!("cannot be connected: {error}")),
        Err(_) => return failed(format!("no answer within {} s", CONNECT.as_secs())),
    };
    for hello in &line.hello {
        if let Err(error) = socket.send(Message::text(hello.clone())).await {
            return failed(format!("cannot be subscribed: {error}"));
        }
    }
    let pulse = line.venue.pulse();
    let silence = keeping.silence;
    let every = pulse.every.min(silence / 2);
    let mut reader = Reader {
        decoder: Decoder::new(line.venue, line.directory.clone()),
        clock: keeping.clock,
        group: Group::default(),
    };
    let (mut heard_at, mut asked_at) = (Instant::now(), Instant::now());
    let send = |what| to.send(News { line: place, session: number, what });
    loop {
        let due = (heard_at.max(asked_at) + every).min(heard_at + silence);
        let message = tokio::select! {
            message = socket.next() => message,
            () = tokio::time::sleep_until(due) => {
                if heard_at.elapsed() >= silence {
                    return Some(Ended { reason: format!("silent for {} s", silence.as_secs_f64()), cause: "feed" });
                }
                asked_at = Instant::now();
                let ping = pulse.text.map_or_else(|| Message::Ping(bytes::Bytes::new()), Message::from);
                if let Err(error) = socket.send(ping).await {
                    return Some(Ended { reason: error.to_string(), cause: "feed" });
                }
                continue;
            }
            _ = asked.changed() => {
                let _ = timeout(Duration::from_secs(1), socket.close(None)).await;
                return None;
            }
        };
        heard_at = Instant::now();
        // Bybit wants to hear from us even while it speaks.
        if pulse.text.is_some() && asked_at.elapsed() >= every {
            asked_at = heard_at;
            if let Some(text) = pulse.text {
                let _ = socket.send(Message::from(text)).await;
            }
        }
        let mut next = Some(message);
        let mut end = None;
        while let Some(message) = next {
            match reader.take(message) {
                Taken::Data => {
                    if *stage.borrow() == Stage::Connecting {
                        let _ = stage.send(Stage::Live);
                        if send(What::Live).await.is_err() {
                            return None;
                        }
                    }
                }
                Taken::Notice(text) => {
                    if send(What::Notice(text)).await.is_err() {
                        return None;
                    }
                }
                Taken::Closing(text) => {
                    let _ = stage.send(Stage::Ending);
                    let _ = send(What::Notice(text)).await;
                }
                Taken::Nothing => {}
                Taken::End(ended) => {
                    end = Some(ended);
                    break;
                }
            }
            if reader.group.events.len() >= GROUP {
                break;
            }
            // What is there already joins the group.
            next = socket.next().now_or_never();
        }
        if (reader.group.frames > 0 || !reader.group.rejects.is_empty())
            && send(What::Group(std::mem::take(&mut reader.group))).await.is_err()
        {
            return None;
        }
        if let Some(ended) = end {
            return Some(ended);
        }
    }
}

enum Taken {
    Data,
    Notice(String),
    Closing(String),
    Nothing,
    End(Ended),
}

struct Reader {
    decoder: Decoder,
    clock: Clock,
    group: Group,
}

impl Reader {
    fn take(&mut self, message: Option<Result<Message, SocketError>>) -> Taken {
        let at = (self.clock)();
        let text: Utf8Bytes = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(bytes))) => {
                self.count(bytes.len(), at);
                self.reject(at, "is no text".to_owned(), crate::storage::store::hex(&bytes), true);
                return Taken::Nothing;
            }
            Some(Ok(Message::Close(frame))) => {
                let reason = frame.map_or_else(String::new, |f| format!(": {} {}", u16::from(f.code), f.reason));
                return Taken::End(Ended { reason: format!("closed by the exchange{reason}"), cause: "feed" });
            }
            Some(Ok(_)) => return Taken::Nothing,
            Some(Err(error)) => {
                if matches!(error, SocketError::Capacity(_) | SocketError::Utf8(_)) {
                    self.reject(at, error.to_string(), String::new(), false);
                }
                return Taken::End(Ended { reason: error.to_string(), cause: "feed" });
            }
            None => return Taken::End(Ended { reason: "the connection was cut".to_owned(), cause: "feed" }),
        };
        self.count(text.len(), at);
        match self.decoder.decode(&text, at, &mut self.group.events) {
            Ok(Heard::Data | Heard::Subscribed) => Taken::Data,
            Ok(Heard::Pong | Heard::Other) => Taken::Nothing,
            Ok(Heard::Refused(text)) => Taken::Notice(text),
            Ok(Heard::Closing(text)) => Taken::Closing(text),
            Err(reason) => {
                self.reject(at, reason, text.to_string(), false);
                Taken::Nothing
            }
        }
    }

    fn count(&mut self, bytes: usize, at: i64) {
        self.group.frames += 1;
        self.group.bytes += bytes as u64;
        self.group.last_recv = at;
    }

    fn reject(&mut self, at: i64, reason: String, frame: String, binary: bool) {
        self.group.rejects.push(Reject { at, reason, frame, binary });
    }
}
