//! Connections: each line is kept connected without end, and its session replaced before it ends by
//! its age or by an announcement.
//!
//! A successor takes over when it has every topic that the old session has and brings what that
//! brings; one that does not get so far is given up. Meanwhile both bring the same events; the
//! writer recognises them by the exchange's numbers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::{Instant, sleep, timeout},
};

use super::{
    data_clock::DataClock,
    news::What,
    session::{Board, CONNECT, Ended, Session, Stage},
    shared::Shared,
    subscriptions::can_replace,
};
use crate::{feed::venue::Line, net::spread};

/// Two sessions overlap for so long after the new one could take over.
const OVERLAP: Duration = Duration::from_secs(2);
/// A successor that could not take over by then is given up.
const PATIENCE: Duration = Duration::from_mins(1);
/// A session that was live for so long makes earlier failures forgotten.
const STABLE: Duration = Duration::from_secs(10);
/// How often a successor is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A session under way.
struct Running {
    number: u64,
    began: Instant,
    board: Arc<Board>,
    stage: watch::Receiver<Stage>,
    end: watch::Sender<bool>,
    task: JoinHandle<Option<Ended>>,
}

/// A line that is kept.
pub(crate) struct Connection {
    line: Arc<Line>,
    place: usize,
    shared: Shared,
    clock: Arc<Mutex<DataClock>>,
    stop: watch::Receiver<bool>,
}

impl Connection {
    pub(crate) fn new(line: Line, place: usize, shared: Shared) -> Self {
        let stop = shared.stop.clone();
        Self {
            line: Arc::new(line),
            place,
            shared,
            clock: Arc::default(),
            stop,
        }
    }

    /// Keeps it until it is told to stop.
    pub(crate) async fn keep(mut self) {
        let mut failures = 0_u32;
        while !*self.stop.borrow() {
            // It stands by for a series that is listed again.
            if self.line.is_all_over() {
                tokio::select! {
                    () = sleep(STABLE) => {}
                    _ = self.stop.changed() => {}
                }
                continue;
            }
            let Lifetime {
                session,
                live_for,
                ended: Some(ended),
            } = self.lifetime().await
            else {
                break;
            };
            // Only a session that was of use: an attempt that times out takes long, too.
            failures = if live_for > STABLE {
                1
            } else {
                failures.saturating_add(1)
            };
            let wait = self.shared.wait(failures, session).max(ended.wait);
            let what = What::Lost {
                reason: ended.reason,
                cause: ended.cause,
                wait,
                well_ns: ended.well_ns,
            };
            if self.tell(session, what).await.is_err() {
                break;
            }
            tokio::select! {
                () = sleep(wait) => {}
                _ = self.stop.changed() => {}
            }
        }
    }

    async fn tell(&self, session: u64, what: What) -> Result<(), ()> {
        self.shared.tell(self.place, session, what).await
    }

    fn begin(&self) -> Running {
        let number = self.shared.session();
        let (stage_to, stage) = watch::channel(Stage::Connecting);
        let (end, ended) = watch::channel(false);
        let board = Arc::new(Board::new(self.line.topics.len()));
        let session = Session {
            line: Arc::clone(&self.line),
            place: self.place,
            number,
            shared: self.shared.clone(),
            clock: Arc::clone(&self.clock),
            board: Arc::clone(&board),
            stage: stage_to,
            end: ended,
        };
        let task = tokio::spawn(session.run());
        Running {
            number,
            began: Instant::now(),
            board,
            stage,
            end,
            task,
        }
    }

    /// When the next renewal is due. Lines do not renew together, though they began together.
    fn renewal(&self) -> Duration {
        let keeping = &self.shared.keeping;
        let share = spread(keeping.seed ^ u64::try_from(self.place).unwrap_or(0)) % 256;
        keeping.renew_after * (768 + u32::try_from(share).unwrap_or(0)) / 1024
    }

    /// A session and those that replace it, until one is lost with none in its place.
    async fn lifetime(&mut self) -> Lifetime {
        let mut current = self.begin();
        let mut next: Option<Running> = None;
        let mut ready_since: Option<Instant> = None;
        let mut live_since: Option<Instant> = None;
        let mut refused = 0;
        let mut renew = Box::pin(sleep(self.renewal()));
        loop {
            if let Some(successor) = next.take() {
                if successor.task.is_finished() {
                    let reason = match lost(successor.task.await) {
                        Some(ended) => ended.reason,
                        None => "it was asked to".to_owned(),
                    };
                    let _ = self
                        .tell(
                            successor.number,
                            What::Ended {
                                reason,
                                deaf_ns: None,
                            },
                        )
                        .await;
                    refused += 1;
                    ready_since = None;
                    renew = Box::pin(sleep(self.shared.wait(refused, successor.number)));
                } else if !successor.can_replace(&current, &self.line) {
                    ready_since = None;
                    if successor.began.elapsed() > PATIENCE {
                        let reason =
                            "it has fewer topics than the one it was to replace".to_owned();
                        self.end(successor, reason, None).await;
                        refused += 1;
                        let wait = self.shared.wait(refused, 0);
                        renew = Box::pin(sleep(wait.max(self.shared.keeping.backoff.cap)));
                    } else {
                        next = Some(successor);
                    }
                } else if ready_since.get_or_insert_with(Instant::now).elapsed() < OVERLAP {
                    next = Some(successor);
                } else {
                    let old = std::mem::replace(&mut current, successor);
                    let deaf_ns = old.deaf_since(&current, (self.shared.keeping.clock)());
                    self.end(
                        old,
                        "another session has taken its place".to_owned(),
                        deaf_ns,
                    )
                    .await;
                    (ready_since, refused) = (None, 0);
                    renew = Box::pin(sleep(self.renewal()));
                }
            }
            if live_since.is_none() && *current.stage.borrow() != Stage::Connecting {
                live_since = Some(Instant::now());
            }
            let why = tokio::select! {
                joined = &mut current.task => {
                    let ended = lost(joined);
                    match (next.take(), ended) {
                        // The one that was to take its place does so at once, however far it is.
                        (Some(successor), Some(ended)) => {
                            let Ended { reason, cause, well_ns, .. } = ended;
                            let what = What::Lost { reason, cause, wait: Duration::ZERO, well_ns };
                            let _ = self.tell(current.number, what).await;
                            current = successor;
                            ready_since = None;
                            renew = Box::pin(sleep(self.renewal()));
                            continue;
                        }
                        (successor, ended) => {
                            if let Some(successor) = successor {
                                successor.stop().await;
                            }
                            let live_for = live_since.map_or(Duration::ZERO, |since| since.elapsed());
                            return Lifetime { session: current.number, live_for, ended };
                        }
                    }
                }
                () = &mut renew, if next.is_none() => {
                    let stage = *current.stage.borrow();
                    why_renewed(stage)
                }
                Ok(()) = current.stage.changed() => {
                    let stage = *current.stage.borrow();
                    if matches!(stage, Stage::Connecting | Stage::Live) || next.is_some() {
                        continue;
                    }
                    why_renewed(stage)
                }
                // Looks again at the one that is to take over.
                () = sleep(LOOK), if next.is_some() => continue,
                _ = self.stop.changed() => {
                    let _ = current.end.send(true);
                    if let Some(successor) = next {
                        successor.stop().await;
                    }
                    let number = current.number;
                    current.stop().await;
                    return Lifetime { session: number, live_for: Duration::ZERO, ended: None };
                }
            };
            let _ = self
                .tell(current.number, What::Renewing(why.to_owned()))
                .await;
            next = Some(self.begin());
        }
    }

    /// Ends a session that is not needed.
    async fn end(&self, session: Running, reason: String, deaf_ns: Option<i64>) {
        let number = session.number;
        session.stop().await;
        let _ = self.tell(number, What::Ended { reason, deaf_ns }).await;
    }
}

/// How a session ended in whose place none came.
struct Lifetime {
    /// The number of the session.
    session: u64,
    /// How long it was live, those before it included.
    live_for: Duration,
    /// Why it ended; `None` when it was asked to stop.
    ended: Option<Ended>,
}

impl Running {
    async fn stop(self) {
        let _ = self.end.send(true);
        let _ = timeout(CONNECT, self.task).await;
    }

    /// Since when it brought nothing, by the clock that shows `now_ns`, where it was doubted and
    /// the one in its place has brought something that it has not.
    fn deaf_since(&self, next: &Self, now_ns: i64) -> Option<i64> {
        if *self.stage.borrow() != Stage::Doubted {
            return None;
        }
        // A moment later the same event may be here, too.
        let _ = next
            .board
            .lock()
            .began()
            .filter(|at| at.elapsed() >= Duration::from_secs(1))?;
        let newest = self.board.lock().newest();
        if newest.is_some_and(|at| at >= next.began) {
            return None;
        }
        let ago = newest.unwrap_or(self.began).elapsed();
        Some(now_ns.saturating_sub(i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX)))
    }

    fn can_replace(&self, old: &Self, line: &Line) -> bool {
        // One after the other, so that no two boards are ever locked together.
        let mine = self.board.lock().topics().to_vec();
        let others = old.board.lock().topics().to_vec();
        let is_over = |topic: usize| line.is_over(topic);
        mine.iter().any(|topic| topic.stands.is_some()) && can_replace(&mine, &others, is_over)
    }
}

/// Why another session is to take the place of one in this stage.
fn why_renewed(stage: Stage) -> &'static str {
    match stage {
        Stage::Connecting | Stage::Live => "it has reached its age",
        Stage::Doubted => "it has brought nothing for long",
        Stage::Ending => "the exchange announced its end",
    }
}

/// Why a session ended; a defect is a reason, too.
fn lost(joined: Result<Option<Ended>, JoinError>) -> Option<Ended> {
    joined.unwrap_or_else(|e| {
        Some(Ended {
            reason: format!("a defect of qlc: {e}"),
            cause: "ours",
            wait: Duration::ZERO,
            well_ns: None,
        })
    })
}
