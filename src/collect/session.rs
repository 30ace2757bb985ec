//! One connection from its beginning to its end: dialled in turn, subscribed, read, kept alive,
//! given up.
//!
//! A frame is stamped when it is read, decoded here and handed to the writer in groups. When the
//! writer is slow, the socket is read more slowly: nothing is dropped here. There are two
//! time-outs: one for any message, one for data. A connection that answers pings and brings no data
//! is given up like one that is silent.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, SinkExt, StreamExt};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::{
    data_clock::DataClock,
    news::What,
    reader::{Reader, Taken},
    shared::Shared,
    subscriptions::{Change, Subscriptions},
};
use crate::{
    feed::{directory::Reply, event::Event, venue::Line},
    net::{Socket, asked_to_wait, open},
};

/// A group is handed over when it has so many events.
const GROUP: usize = 1024;
/// Series of a group that are told apart.
const FEW: usize = 32;
/// A connection that is not made by then is given up.
pub(super) const CONNECT: Duration = Duration::from_secs(15);

/// Why a session ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) reason: String,
    /// `feed` when the other side ended it, `unknown` when the way there is at fault or nobody can
    /// say.
    pub(super) cause: &'static str,
    /// The exchange wants to be left alone for so long.
    pub(super) wait: Duration,
    /// When it was last known to be well, where it ever was.
    pub(super) well_ns: Option<i64>,
}

impl Ended {
    fn new(reason: String, cause: &'static str) -> Self {
        Self {
            reason,
            cause,
            wait: Duration::ZERO,
            well_ns: None,
        }
    }

    fn well_until(self, ns: i64) -> Self {
        Self {
            well_ns: Some(ns),
            ..self
        }
    }
}

/// A peer that reads nothing is given up after so long; otherwise it would hold up what looks for
/// silence, and the end.
const SEND: Duration = Duration::from_secs(2);

/// Sends a message, or says why it cannot be.
async fn send(socket: &mut Socket, message: Message) -> Result<(), String> {
    match timeout(SEND, socket.send(message)).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err(format!(
            "has taken nothing of what was sent to it for {} s",
            SEND.as_secs()
        )),
    }
}

/// How far a session has come, for whoever keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    Live,
    /// It has brought nothing for long, which may be as it should be: another one is to show
    /// whether it is.
    Doubted,
    /// The exchange will end it soon.
    Ending,
}

/// What a session shares with whoever keeps it.
#[derive(Debug)]
pub(super) struct Board(Mutex<Subscriptions>);

impl Board {
    pub(super) fn new(topics: usize) -> Self {
        Self(Mutex::new(Subscriptions::new(topics)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Subscriptions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is about to begin.
pub(super) struct Session {
    pub(super) line: Arc<Line>,
    pub(super) place: usize,
    pub(super) number: u64,
    pub(super) shared: Shared,
    pub(super) clock: Arc<Mutex<DataClock>>,
    pub(super) board: Arc<Board>,
    pub(super) stage: watch::Sender<Stage>,
    pub(super) end: watch::Receiver<bool>,
}

/// The writer has gone.
struct NoWriter;

impl Session {
    /// From its beginning to its end; `None` when it was asked to end.
    pub(super) async fn run(mut self) -> Option<Ended> {
        let mut end = self.end.clone();
        let connected = tokio::select! {
            connected = self.connect() => connected,
            _ = end.changed() => return None,
        };
        let socket = match connected {
            Ok(socket) => socket,
            Err(ended) => return Some(ended),
        };
        self.talk(socket).await.unwrap_or_default()
    }

    async fn connect(&self) -> Result<Socket, Ended> {
        self.shared.dials.turn(self.line.venue).await;
        let failed = |reason: String, wait| Ended {
            wait,
            ..Ended::new(reason, "unknown")
        };
        match timeout(CONNECT, open(&self.line.url, &self.shared.proxies)).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(SocketError::Http(response))) => {
                let now = (self.shared.keeping.clock)();
                let wait = asked_to_wait(response.status(), response.headers(), now);
                self.shared.dials.block(self.line.venue, wait);
                let reason = format!(
                    "cannot be connected: the exchange answers {}",
                    response.status()
                );
                Err(Ended {
                    wait,
                    ..Ended::new(reason, "feed")
                })
            }
            Ok(Err(error)) => Err(failed(
                format!("cannot be connected: {error}"),
                Duration::ZERO,
            )),
            Err(_) => Err(failed(
                format!("no answer within {} s", CONNECT.as_secs()),
                Duration::ZERO,
            )),
        }
    }

    async fn tell(&self, what: What) -> Result<(), NoWriter> {
        self.shared
            .tell(self.place, self.number, what)
            .await
            .map_err(|()| NoWriter)
    }

    async fn tell_topics(&self, changes: Vec<(usize, Change)>) -> Result<(), NoWriter> {
        if changes.is_empty() {
            Ok(())
        } else {
            self.tell(What::Topics(changes)).await
        }
    }

    /// Asks for everything; an error of the socket shows when it is read.
    async fn subscribe(&self, socket: &mut Socket) -> Result<(), NoWriter> {
        let mut asked = Vec::new();
        for (text, topics) in self.line.subscribe() {
            self.board.lock().asked(&topics, Instant::now());
            asked.extend(topics.into_iter().map(|topic| (topic, Change::Asked)));
            if send(socket, Message::text(text)).await.is_err() {
                break;
            }
        }
        if let Some(text) = self.line.ask_for_list() {
            self.board.lock().asked_for_list(Instant::now());
            asked = self.all_topics(&Change::Asked);
            let _ = send(socket, Message::text(text)).await;
            // Of one that may be quiet, the answer to this is the first sign of life that is sure
            // to come.
            if self.line.may_be_quiet() {
                let _ = send(socket, Message::Ping(bytes::Bytes::new())).await;
            }
        }
        self.tell_topics(asked).await
    }

    fn all_topics(&self, change: &Change) -> Vec<(usize, Change)> {
        (0..self.line.topics.len())
            .map(|topic| (topic, change.clone()))
            .collect()
    }

    async fn talk(&mut self, mut socket: Socket) -> Result<Option<Ended>, NoWriter> {
        self.subscribe(&mut socket).await?;
        let pulse = self.line.venue.pulse();
        let silence = self.shared.keeping.silence;
        let every = pulse.every.min(silence / 2);
        let mut reader = Reader::new(&self.line, self.shared.keeping.clock);
        let mut cadence = self.line.cadence();
        let (mut heard_at, mut asked_at) = (Instant::now(), Instant::now());
        let (mut data_at, mut looked_at) = (Instant::now(), Instant::now());
        let (mut data_ns, mut doubted_at) = (reader.heard_ns, data_at);
        loop {
            let limit = self.data_clock().limit(silence, cadence);
            let quiet_since = data_at.max(doubted_at);
            let mut due = (heard_at.max(asked_at) + every)
                .min(heard_at + silence)
                .min(quiet_since + limit.after);
            // However much the others bring.
            due = due.min(looked_at + silence / 4);
            if let Some(next) = self.board.lock().next(|topic| self.line.is_over(topic)) {
                due = due.min(next);
            }
            let message = tokio::select! {
                message = socket.next() => message,
                () = sleep_until(due) => {
                    if heard_at.elapsed() >= silence {
                        let ended = Ended::new(format!("silent for {} s", silence.as_secs_f64()), "feed");
                        return Ok(Some(ended.well_until(reader.heard_ns)));
                    }
                    if quiet_since.elapsed() >= limit.after {
                        if limit.is_known || !self.line.may_be_quiet() || *self.stage.borrow() == Stage::Connecting {
                            let reason = format!("brings no data for {} s, though it answers", data_at.elapsed().as_secs());
                            return Ok(Some(Ended::new(reason, "feed").well_until(data_ns)));
                        }
                        doubted_at = Instant::now();
                        self.doubt();
                    }
                    looked_at = Instant::now();
                    // Series may have ended meanwhile, and others been listed again.
                    cadence = self.line.cadence();
                    if let Some(reason) = self.useless() {
                        return Ok(Some(Ended::new(reason, "feed").well_until(reader.heard_ns)));
                    }
                    if let Err(reason) = self.ask_again(&mut socket).await? {
                        return Ok(Some(Ended::new(reason, "feed").well_until(reader.heard_ns)));
                    }
                    if heard_at.max(asked_at).elapsed() >= every {
                        asked_at = Instant::now();
                        let ping = pulse.text.map_or_else(|| Message::Ping(bytes::Bytes::new()), Message::from);
                        if let Err(reason) = send(&mut socket, ping).await {
                            return Ok(Some(Ended::new(reason, "feed").well_until(reader.heard_ns)));
                        }
                    }
                    continue;
                }
                _ = self.end.changed() => {
                    let _ = timeout(Duration::from_secs(1), socket.close(None)).await;
                    return Ok(None);
                }
            };
            heard_at = Instant::now();
            // Bybit wants to hear from us even while it speaks.
            if pulse.text.is_some() && asked_at.elapsed() >= every {
                asked_at = heard_at;
                if let Some(text) = pulse.text
                    && let Err(reason) = send(&mut socket, Message::from(text)).await
                {
                    return Ok(Some(Ended::new(reason, "feed").well_until(reader.heard_ns)));
                }
            }
            let mut next = Some(message);
            let (mut end, mut brought) = (None, false);
            while let Some(message) = next {
                match reader.take(message) {
                    // Noted once for all that was there together.
                    Taken::Data => brought = true,
                    Taken::Nothing => {}
                    taken => {
                        // In the order in which they came: an announced end must not come before
                        // the beginning.
                        if std::mem::take(&mut brought) {
                            (data_at, data_ns) =
                                (self.brought(data_at, heard_at).await?, reader.heard_ns);
                        }
                        end = self.take(taken).await?;
                        if end.is_some() {
                            break;
                        }
                    }
                }
                if reader.group.events.len() >= GROUP {
                    break;
                }
                // What is there already joins the group.
                next = socket.next().now_or_never();
            }
            if brought {
                (data_at, data_ns) = (self.brought(data_at, heard_at).await?, reader.heard_ns);
            }
            self.note_data(&reader.group.events);
            if reader.group.frames > 0 || !reader.group.rejects.is_empty() {
                self.tell(What::Group(std::mem::take(&mut reader.group)))
                    .await?;
            }
            if let Some(end) = end {
                return Ok(Some(end.well_until(reader.heard_ns)));
            }
        }
    }

    /// Asks for another session that shows whether there is nothing to bring.
    fn doubt(&self) {
        // One that will end has a successor on its way.
        if *self.stage.borrow() != Stage::Ending {
            let _ = self.stage.send(Stage::Doubted);
        }
    }

    /// The exchange does not tell what this connection has. Where nothing need come for long, its
    /// answer to the URL has to do; elsewhere the first event tells.
    async fn without_list(&self) -> Result<(), NoWriter> {
        let waited = self.board.lock().give_up_list();
        if !waited || !self.line.may_be_quiet() {
            return Ok(());
        }
        self.live().await?;
        self.tell_topics(self.all_topics(&Change::Acknowledged))
            .await
    }

    /// Notes that data came, after what came at `before`; returns when.
    async fn brought(&self, before: Instant, now: Instant) -> Result<Instant, NoWriter> {
        self.data_clock().brought(now.duration_since(before));
        let is_doubted = *self.stage.borrow() == Stage::Doubted;
        if is_doubted {
            let _ = self.stage.send(Stage::Live);
        }
        self.live().await?;
        Ok(now)
    }

    /// Acts on what a message was; returns why the session ends, if it does.
    async fn take(&self, taken: Taken) -> Result<Option<Ended>, NoWriter> {
        let now = Instant::now();
        match taken {
            Taken::Data | Taken::Nothing => {}
            // Topics in the URL are answered by the upgrade alone: that, and an answer since, is
            // what an exchange that gives no list tells of a connection that may be quiet.
            Taken::Pong => {
                if self.line.may_be_quiet() && self.line.ask_for_list().is_some() {
                    self.live().await?;
                }
            }
            Taken::Subscribed(Some(Reply::All(names))) => {
                let has = self.line.listed(&names);
                let changes = self.board.lock().listed(&has, now);
                if has.contains(&true) {
                    self.stands().await?;
                }
                self.tell_topics(changes).await?;
            }
            Taken::Subscribed(Some(reply)) if self.line.is_about_list(&reply) => {
                self.without_list().await?;
            }
            Taken::Refused(Some(reply), text) if self.line.is_about_list(&reply) => {
                self.tell(What::Notice(text)).await?;
                self.without_list().await?;
            }
            Taken::Subscribed(reply) => {
                let topic = reply.and_then(|reply| self.line.answered(&reply));
                let changes = topic.map(|topic| self.board.lock().acknowledged(topic, now));
                self.stands().await?;
                self.tell_topics(changes.unwrap_or_default()).await?;
            }
            Taken::Refused(reply, text) => {
                let topic = reply.and_then(|reply| self.line.answered(&reply));
                let changes = self.board.lock().refused(topic, &text, now);
                self.tell(What::Notice(text)).await?;
                self.tell_topics(changes).await?;
            }
            Taken::Closing(text) => {
                let _ = self.stage.send(Stage::Ending);
                self.tell(What::Notice(text)).await?;
            }
            Taken::End(reason, cause) => return Ok(Some(Ended::new(reason, cause))),
        }
        Ok(None)
    }

    /// Notes that the exchange has acknowledged something. Of a URL it does so whether or not
    /// anything comes, so where something comes by the clock it is the first event that counts.
    async fn stands(&self) -> Result<(), NoWriter> {
        if self.line.ask_for_list().is_some() && self.line.cadence().is_some() {
            Ok(())
        } else {
            self.live().await
        }
    }

    async fn live(&self) -> Result<(), NoWriter> {
        if *self.stage.borrow() == Stage::Connecting {
            let _ = self.stage.send(Stage::Live);
            self.tell(What::Live).await?;
        }
        Ok(())
    }

    fn data_clock(&self) -> MutexGuard<'_, DataClock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which topics brought something.
    fn note_data(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut board = self.board.lock();
        let mut noted: Vec<usize> = Vec::with_capacity(FEW);
        for event in events {
            // Most groups are of few series; of many, some are noted again.
            if noted.contains(&event.series) {
                continue;
            }
            if noted.len() < FEW {
                noted.push(event.series);
            }
            for topic in self.line.topics_of(event.series) {
                board.brought(*topic, now);
            }
        }
    }

    /// Why nothing is to be expected of this session any more, whatever it still brings.
    fn useless(&self) -> Option<String> {
        if self.line.is_all_over() {
            return Some("all its series have ended".to_owned());
        }
        self.stalled()
            .map(|topic| format!("{topic} has stopped, though others go on"))
    }

    /// A topic that the exchange pushes by the clock and that has stopped.
    fn stalled(&self) -> Option<String> {
        let board = self.board.lock();
        let stalled = |(at, topic): (usize, &super::subscriptions::Topic)| {
            let known = self
                .line
                .topics
                .get(at)
                .filter(|_| !self.line.is_over(at))?;
            let limit = self.shared.keeping.silence.max(known.cadence? * 10);
            let _ = topic.data.filter(|data| data.elapsed() >= limit)?;
            Some(known.name().to_owned())
        };
        board.topics().iter().enumerate().find_map(stalled)
    }

    /// Asks again for a topic that was refused, or not answered; does without a list that does not
    /// come.
    async fn ask_again(&self, socket: &mut Socket) -> Result<Result<(), String>, NoWriter> {
        let now = Instant::now();
        let is_overdue = self.board.lock().list_is_overdue(now);
        if is_overdue {
            self.without_list().await?;
        }
        let (changes, topic) = {
            let mut board = self.board.lock();
            (
                board.overdue(now),
                board.ask_now(now, |topic| self.line.is_over(topic)),
            )
        };
        self.tell_topics(changes).await?;
        if let Some(text) = topic.and_then(|topic| self.line.ask(topic))
            && let Err(reason) = send(socket, Message::text(text)).await
        {
            return Ok(Err(reason));
        }
        Ok(Ok(()))
    }
}
