//! What exchanges do not push is polled: each topic of a line at its interval, one request after
//! the other, no faster than the exchange allows.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use http::StatusCode;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    news::{Group, Reject, What},
    shared::Shared,
    subscriptions::Change,
};
use crate::{
    feed::{
        decode::Decoder,
        instrument,
        venue::{INSTRUMENTS, Line},
    },
    net::{NoList, asked_to_wait, get, list},
};

/// A line that is polled.
pub(super) struct Poller {
    line: Line,
    place: usize,
    shared: Shared,
    /// How often the list of instruments is read.
    relist_every: Duration,
}

/// What came of a request.
enum Polled {
    Came(Group),
    /// The exchange refuses it, which is about this topic.
    Refused(String),
    /// The exchange is not there, or wants to be left alone for so long.
    Failed(String, &'static str, Duration),
}

impl Poller {
    pub(super) fn new(line: Line, place: usize, shared: Shared, relist_every: Duration) -> Self {
        Self {
            line,
            place,
            shared,
            relist_every,
        }
    }

    /// Polls until it is told to stop.
    pub(super) async fn keep(self) {
        let mut stop = self.shared.stop.clone();
        tokio::select! {
            _ = self.poll() => {}
            _ = async { stop.wait_for(|stop| *stop).await.is_ok() } => {}
        }
    }

    async fn poll(&self) -> Result<(), ()> {
        let pace = self.line.venue.request_pace();
        let decoder = Decoder::new(self.line.venue, self.line.directory.clone());
        let (mut session, mut failures, mut live) = (self.shared.session(), 0, false);
        let now = Instant::now();
        let topics = 0..self.line.topics.len();
        // When each is due; those of one instant in their order.
        let mut due: BTreeSet<(Instant, usize)> =
            topics.clone().map(|topic| (now, topic)).collect();
        self.tell(
            session,
            What::Topics(topics.map(|topic| (topic, Change::Asked)).collect()),
        )
        .await?;
        while let Some((at, topic)) = due.pop_first() {
            sleep_until(at).await;
            let begun = Instant::now();
            let every = self.interval(topic);
            let _ = due.insert((begun + every, topic));
            if self.line.is_over(topic) {
                continue;
            }
            match self.ask(topic, &decoder).await {
                Polled::Came(group) => {
                    failures = 0;
                    if !live {
                        live = true;
                        self.tell(session, What::Live).await?;
                    }
                    self.tell(session, What::Topics(vec![(topic, Change::Acknowledged)]))
                        .await?;
                    self.tell(session, What::Group(group)).await?;
                }
                Polled::Refused(text) => {
                    self.tell(session, What::Topics(vec![(topic, Change::Refused(text))]))
                        .await?;
                }
                Polled::Failed(reason, cause, wait) => {
                    failures += 1;
                    self.shared.dials.block(self.line.venue, wait);
                    let wait = self.shared.wait(failures, session).max(wait);
                    self.tell(
                        session,
                        What::Lost {
                            reason,
                            cause,
                            wait,
                            well_ns: None,
                        },
                    )
                    .await?;
                    sleep(wait).await;
                    live = false;
                    session = self.shared.session();
                    let all = (0..self.line.topics.len())
                        .map(|topic| (topic, Change::Asked))
                        .collect();
                    self.tell(session, What::Topics(all)).await?;
                    // What failed comes first.
                    due.retain(|(_, other)| *other != topic);
                    let _ = due.insert((begun, topic));
                }
            }
            sleep_until(begun + pace).await;
        }
        Ok(())
    }

    fn interval(&self, topic: usize) -> Duration {
        let topic = self.line.topics.get(topic);
        match topic {
            Some(topic) if topic.name() != INSTRUMENTS => {
                topic.cadence.unwrap_or(self.relist_every)
            }
            _ => self.relist_every,
        }
    }

    async fn tell(&self, session: u64, what: What) -> Result<(), ()> {
        self.shared.tell(self.place, session, what).await
    }

    async fn ask(&self, topic: usize, decoder: &Decoder) -> Polled {
        let Some(topic) = self.line.topics.get(topic) else {
            return Polled::Refused("there is no such topic".to_owned());
        };
        let (base, proxies) = (
            self.line.url.trim_end_matches('/'),
            Arc::clone(&self.shared.proxies),
        );
        let now = || (self.shared.keeping.clock)();
        if topic.name() == INSTRUMENTS {
            return match list(self.line.venue, base, &proxies, now()).await {
                Ok(found) => {
                    let at = now();
                    let events = instrument::events(&found, &self.line.directory, at);
                    Polled::Came(Group {
                        events,
                        frames: 1,
                        last_recv: at,
                        ..Group::default()
                    })
                }
                Err(NoList { why, wait }) => Polled::Failed(why, "feed", wait),
            };
        }
        let answer = match get(&format!("{base}{}", topic.name()), &proxies).await {
            Ok(answer) => answer,
            Err(error) => return not_there(&error),
        };
        let at = now();
        let wait = asked_to_wait(answer.status, &answer.headers, at);
        if !wait.is_zero() || answer.status.is_server_error() {
            return Polled::Failed(
                format!("the exchange answers {}", answer.status),
                "feed",
                wait,
            );
        }
        let is_short = self.line.venue.allowance().is_some_and(|(header, most)| {
            let used = answer
                .headers
                .get(header)
                .and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
            used.is_some_and(|used| used > most)
        });
        if is_short {
            // Others of this address have used it; it is whole again in a minute.
            sleep(Duration::from_secs(5)).await;
        }
        if answer.status != StatusCode::OK {
            let text: String = answer.body.chars().take(200).collect();
            return Polled::Refused(format!("{}: {text}", answer.status));
        }
        let mut group = Group {
            frames: 1,
            bytes: answer.body.len() as u64,
            last_recv: at,
            ..Group::default()
        };
        if let Err(reason) = decoder.answer(&answer.body, at, &mut group.events) {
            group.rejects.push(Reject {
                at,
                reason,
                frame: answer.body,
                binary: false,
            });
        }
        Polled::Came(group)
    }
}

fn not_there(error: &io::Error) -> Polled {
    Polled::Failed(error.to_string(), "unknown", Duration::ZERO)
}
