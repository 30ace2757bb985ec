//! The state of each series: what was asked for, what was answered, what comes. A connection is
//! live when anything comes by it; a series is well only when its own events do.
//!
//! ```text
//! wanted ──► asked ──► acknowledged ──► receiving ◄──► quiet
//!              └──► refused ──► asked again …
//! each of them ──► ended, when the exchange lists it no more ──► wanted, when it does again
//! ```
//!
//! Quiet is measured by what the exchange promises and by the series' own history: a quiet symbol
//! at night is no fault. All instants are those of a clock that never jumps. Pure.

use std::time::Duration;

use serde::Serialize;

use super::subscriptions::Change;
use crate::feed::{event::Kind, venue::Wanted};

/// An answer that is overdue by so much is a trouble.
const UNANSWERED: i64 = 30 * SECOND;
/// A series is quiet when nothing came for so many of its usual intervals.
const USUAL: i64 = 30;
/// And no sooner than after so long.
const LEAST: i64 = 60 * SECOND;
const SECOND: i64 = 1_000_000_000;

/// The state of a series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SeriesState {
    /// No connection asks for it at the moment.
    #[default]
    Wanted,
    /// The exchange was asked, and has said nothing yet.
    Asked,
    /// The exchange has said that it will come; nothing came yet.
    Acknowledged,
    /// Its events come.
    Receiving,
    /// Nothing has come for longer than is usual.
    Quiet,
    /// The exchange does not send it; it is asked again.
    Refused,
    /// The exchange lists it no more; nothing is expected of it.
    Ended,
}

impl SeriesState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Wanted,
        Self::Asked,
        Self::Acknowledged,
        Self::Receiving,
        Self::Quiet,
        Self::Refused,
        Self::Ended,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Asked => "asked",
            Self::Acknowledged => "acknowledged",
            Self::Receiving => "receiving",
            Self::Quiet => "quiet",
            Self::Refused => "refused",
            Self::Ended => "ended",
        }
    }
}

/// What a session knows of a topic.
#[derive(Debug, Clone)]
struct Phase {
    session: u64,
    change: Change,
    since_ns: i64,
}

/// What is known of the topics of a line, by session: while one replaces another, there are two.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopicPhases(Vec<Vec<Phase>>);

impl TopicPhases {
    pub(crate) fn new(topics: usize) -> Self {
        Self(vec![Vec::new(); topics])
    }

    /// Notes what became of topics of a session.
    pub(crate) fn note(&mut self, session: u64, changes: Vec<(usize, Change)>, now: i64) {
        for (at, change) in changes {
            let Some(phases) = self.0.get_mut(at) else {
                continue;
            };
            match phases.iter_mut().find(|phase| phase.session == session) {
                // A refusal that is repeated, or a question after one, does not begin anew.
                Some(phase) => {
                    if matches!(change, Change::Acknowledged) {
                        phase.since_ns = now;
                    }
                    phase.change = change;
                }
                None => phases.push(Phase {
                    session,
                    change,
                    since_ns: now,
                }),
            }
        }
    }

    /// Forgets a session.
    pub(crate) fn gone(&mut self, session: u64) {
        for phases in &mut self.0 {
            phases.retain(|phase| phase.session != session);
        }
    }

    /// Whether a session has asked for something.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.iter().any(|phases| !phases.is_empty())
    }

    /// What is said of a topic, where every one that is not over is refused.
    pub(crate) fn refused(&self, is_over: impl Fn(usize) -> bool) -> Option<&str> {
        let mut said = None;
        for topic in (0..self.0.len()).filter(|topic| !is_over(*topic)) {
            match self.best(topic)?.0 {
                Change::Refused(text) => said = said.or(Some(text.as_str())),
                Change::Asked | Change::Acknowledged => return None,
            }
        }
        said
    }

    /// The best that a session has come to with a topic, and since when.
    fn best(&self, topic: usize) -> Option<(&Change, i64)> {
        let rank = |phase: &&Phase| match phase.change {
            Change::Refused(_) => 0,
            Change::Asked => 1,
            Change::Acknowledged => 2,
        };
        self.0
            .get(topic)?
            .iter()
            .max_by_key(rank)
            .map(|phase| (&phase.change, phase.since_ns))
    }
}

/// How often a series brings something.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// When it brought something last, in this process.
    last_ns: Option<i64>,
    /// The usual interval.
    mean_ns: i64,
    /// The longest one of late; each further event lets it shrink.
    longest_ns: i64,
    events: u64,
}

impl Pace {
    /// Notes an event that was read at `ns`.
    pub(crate) fn note(&mut self, ns: i64) {
        if let Some(last) = self.last_ns {
            let interval = (ns - last).max(0);
            self.mean_ns +=
                (interval - self.mean_ns) / i64::try_from(self.events.clamp(1, 64)).unwrap_or(64);
            self.longest_ns = (self.longest_ns - self.longest_ns / 256).max(interval);
        }
        self.events += 1;
        self.last_ns = Some(ns);
    }

    /// After so long without an event the series is quiet.
    fn limit_ns(&self, cadence: Option<Duration>) -> i64 {
        match cadence {
            Some(cadence) => LEAST.max(nanos(cadence).saturating_mul(3)),
            None => LEAST
                .max(self.mean_ns.saturating_mul(USUAL))
                .max(self.longest_ns.saturating_mul(3)),
        }
    }
}

/// A series at an instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) state: SeriesState,
    /// What is wrong, where something is.
    pub(crate) trouble: Option<String>,
    /// Since when, as far as can be told.
    pub(crate) since_ns: i64,
}

/// For how long a series has been asked for in vain, the times without a connection left out: a
/// connection that comes and goes makes nothing well.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Waiting {
    /// In all since its last event.
    ns: i64,
    looked_ns: Option<i64>,
}

impl Waiting {
    /// Notes how it is with a series whose state was `state` until now.
    pub(crate) fn look(&mut self, state: SeriesState, pace: &Pace, now: i64) {
        let before = self.looked_ns.replace(now).unwrap_or(now);
        if pace.last_ns.is_some_and(|last| last > before) {
            self.ns = 0;
        } else if state != SeriesState::Wanted {
            self.ns += (now - before).max(0);
        }
    }
}

/// Judges a series by what is known of its topics, by its pace, and by how long it was waited for.
pub(crate) fn judge(
    wanted: &Wanted,
    topics: &[usize],
    phases: &TopicPhases,
    pace: &Pace,
    waiting: Waiting,
    now: i64,
) -> Health {
    let known: Vec<Option<(&Change, i64)>> =
        topics.iter().map(|topic| phases.best(*topic)).collect();
    if known.is_empty() || known.iter().any(Option::is_none) {
        // Its connection is down, which is told of the connection.
        return Health::default();
    }
    let well = |state| Health {
        state,
        ..Health::default()
    };
    let ill = |state, since_ns, trouble: String| Health {
        state,
        trouble: Some(trouble),
        since_ns,
    };
    let mut asked = None;
    let mut since = i64::MIN;
    for (change, begun) in known.into_iter().flatten() {
        since = since.max(begun);
        match change {
            // What comes all the same is not refused.
            Change::Refused(_) if pace.last_ns.is_some_and(|last| last > begun) => {}
            Change::Refused(text) => {
                return ill(SeriesState::Refused, begun, format!("refused: {text}"));
            }
            Change::Asked => asked = asked.max(Some(begun)),
            Change::Acknowledged => {}
        }
    }
    let comes = pace.last_ns.filter(|last| *last >= since);
    match (comes, asked) {
        (Some(last), _) => {
            let quiet = now - last;
            if quiet <= pace.limit_ns(wanted.cadence()) {
                well(SeriesState::Receiving)
            } else if wanted.cadence().is_some() {
                ill(
                    SeriesState::Quiet,
                    last,
                    format!(
                        "nothing for {} s, though it comes by the clock",
                        quiet / SECOND
                    ),
                )
            } else {
                well(SeriesState::Quiet)
            }
        }
        (None, Some(begun)) if wanted.venue.acknowledges() => {
            if now - begun > UNANSWERED {
                ill(
                    SeriesState::Asked,
                    begun,
                    format!("not answered for {} s", (now - begun) / SECOND),
                )
            } else {
                well(SeriesState::Asked)
            }
        }
        (None, asked) => {
            let state = if asked.is_some() {
                SeriesState::Asked
            } else {
                SeriesState::Acknowledged
            };
            // One that came before and has had time to come again is as quiet as it was.
            let waited = waiting.ns.max(now - since);
            if waited > first_event(wanted).max(pace.limit_ns(None)) {
                // Of one that comes by the clock it is sure that it was to come; of others only
                // that it was long.
                let since = if wanted.cadence().is_some() {
                    now - waited
                } else {
                    now
                };
                ill(
                    state,
                    since,
                    format!(
                        "nothing has come for {} s, though it was asked for",
                        waited / SECOND
                    ),
                )
            } else {
                well(state)
            }
        }
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// So long the first event of a stream may take: some symbols are hardly traded.
fn first_event(wanted: &Wanted) -> i64 {
    match (wanted.cadence(), wanted.kind) {
        // Most symbols have none for weeks.
        (_, Kind::Liquidation) => i64::MAX,
        (Some(_), _) => LEAST.max(wanted.cadence().map_or(0, |cadence| 2 * nanos(cadence))),
        (
            None,
            Kind::Bbo | Kind::MarkPrice | Kind::OpenInterest | Kind::Funding | Kind::Instrument,
        ) => 5 * LEAST,
        (None, Kind::Trade) => 60 * LEAST,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::subscriptions::Change::*, *};
    use crate::feed::venue::{Venue, choose};

    fn wanted(venue: Venue, kind: Kind) -> Wanted {
        choose(&[venue], &["btcusdt".parse().unwrap()], &[kind])
            .unwrap()
            .series
            .remove(0)
    }

    fn after(changes: &[(u64, Change)]) -> TopicPhases {
        let mut phases = TopicPhases::new(1);
        for (session, change) in changes {
            phases.note(*session, vec![(0, change.clone())], 0);
        }
        phases
    }

    #[test]
    fn a_connection_that_comes_and_goes_makes_nothing_well() {
        let mark = wanted(Venue::Binance, Kind::MarkPrice);
        let (mut waiting, mut pace) = (Waiting::default(), Pace::default());
        let mut look = |pace: &Pace, asked: Option<i64>, now: i64, before: SeriesState| {
            waiting.look(before, pace, now * SECOND);
            let mut phases = TopicPhases::new(1);
            if let Some(asked) = asked {
                phases.note(1, vec![(0, Asked)], asked * SECOND);
            }
            judge(&mark, &[0], &phases, pace, waiting, now * SECOND)
        };
        // Asked for 40 s, gone for 1000 s, asked again.
        let first = look(&pace, Some(0), 0, SeriesState::Wanted);
        let later = look(&pace, Some(0), 40, first.state);
        assert_eq!((later.state, &later.trouble), (SeriesState::Asked, &None));
        let gone = look(&pace, None, 40, later.state);
        let again = look(&pace, Some(1040), 1040, gone.state);
        assert_eq!(
            (again.state, &again.trouble),
            (SeriesState::Asked, &None),
            "time without a connection does not count"
        );
        let ill = look(&pace, Some(1040), 1070, again.state);
        assert!(
            ill.trouble.unwrap().contains("for 70 s"),
            "30 s by this connection, and 40 by the one before"
        );
        // An event, and it begins anew.
        pace.note(1071 * SECOND);
        let well = look(&pace, Some(1072), 1072, SeriesState::Asked);
        assert_eq!(well.trouble, None);
    }

    #[test]
    fn a_series_has_a_state_of_its_own() {
        let refused = || Refused("unknown".to_owned());
        let check = |wanted: &Wanted,
                     changes: &[(u64, Change)],
                     came: Option<i64>,
                     now: i64,
                     state,
                     ill| {
            let mut pace = Pace::default();
            if let Some(came) = came {
                pace.note(came * SECOND);
            }
            let health = judge(
                wanted,
                &[0],
                &after(changes),
                &pace,
                Waiting::default(),
                now * SECOND,
            );
            assert_eq!(
                (health.state, health.trouble.is_some()),
                (state, ill),
                "{changes:?} {came:?} {now}"
            );
        };
        let trade = wanted(Venue::Bybit, Kind::Trade);
        check(&trade, &[], None, 100, SeriesState::Wanted, false);
        check(&trade, &[(1, Asked)], None, 20, SeriesState::Asked, false);
        check(&trade, &[(1, Asked)], None, 40, SeriesState::Asked, true);
        check(
            &trade,
            &[(1, Asked), (1, Acknowledged)],
            None,
            40,
            SeriesState::Acknowledged,
            false,
        );
        check(
            &trade,
            &[(1, Asked), (1, Acknowledged)],
            None,
            9000,
            SeriesState::Acknowledged,
            true,
        );
        check(
            &trade,
            &[(1, Asked)],
            Some(1),
            20,
            SeriesState::Receiving,
            false,
        );
        check(
            &trade,
            &[(1, Acknowledged)],
            Some(1),
            600,
            SeriesState::Quiet,
            false,
        );
        check(
            &trade,
            &[(1, Asked), (1, refused())],
            None,
            1,
            SeriesState::Refused,
            true,
        );
        check(
            &trade,
            &[(1, Acknowledged), (2, Asked), (2, refused())],
            Some(1),
            2,
            SeriesState::Receiving,
            false,
        );
        let mark = wanted(Venue::Binance, Kind::MarkPrice);
        check(
            &mark,
            &[(1, Asked)],
            Some(1),
            20,
            SeriesState::Receiving,
            false,
        );
        check(&mark, &[(1, Asked)], Some(1), 70, SeriesState::Quiet, true);
        check(&mark, &[(1, Asked)], None, 50, SeriesState::Asked, false);
        check(&mark, &[(1, Asked)], None, 70, SeriesState::Asked, true);
    }

    #[test]
    fn quiet_is_measured_by_the_series_own_history() {
        let trade = wanted(Venue::Okx, Kind::Trade);
        let phases = after(&[(1, Acknowledged)]);
        let mut pace = Pace::default();
        for n in 0..10 {
            pace.note(n * 300 * SECOND);
        }
        let state = |now: i64| {
            judge(
                &trade,
                &[0],
                &phases,
                &pace,
                Waiting::default(),
                now * SECOND,
            )
            .state
        };
        assert_eq!(
            (state(2700 + 8000), state(2700 + 9100)),
            (SeriesState::Receiving, SeriesState::Quiet)
        );
    }

    #[test]
    fn a_session_that_goes_takes_what_it_knew_with_it() {
        let mut phases = after(&[(1, Acknowledged), (2, Asked)]);
        phases.gone(1);
        assert_eq!(phases.best(0), Some((&Asked, 0)));
        phases.gone(2);
        assert_eq!(phases.best(0), None);
    }
}
