//! The connections as the writer knows them, and the series by them: who brings what, what is down,
//! what is not well.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use super::{
    diary::Diary,
    health::{self, Health, Pace, SeriesState, TopicPhases, Waiting},
    news::What,
    quality::Window,
    status::{FeedStatus, Lags, LineStatus},
};
use crate::{
    feed::venue::{Line, Wanted},
    model::quality::WINDOW_NS,
};

/// A connection that brings something often had its last event no longer ago than this when its
/// process ended.
const STALE_NS: i64 = 24 * 3_600_000_000_000;
/// So many series that are not well are told one by one.
const TOLD: usize = 20;

/// A connection.
#[derive(Debug)]
struct State {
    line: Line,
    status: LineStatus,
    /// The sessions that bring something.
    live: BTreeSet<u64>,
    down: Option<Down>,
    phases: TopicPhases,
}

/// A time in which nothing comes by a connection.
#[derive(Debug, Clone, Copy)]
struct Down {
    since_ns: i64,
    /// Whose fault it is.
    cause: &'static str,
    /// Up to when it is in the quality windows.
    counted_ns: i64,
    /// Whether nothing came by it before, so that nobody waits to be told when it is over.
    is_first: bool,
}

impl Down {
    const fn new(since_ns: i64, cause: &'static str) -> Self {
        Self {
            since_ns,
            cause,
            counted_ns: since_ns,
            is_first: false,
        }
    }
}

/// A time in which a series is not well.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    since_ns: i64,
    /// Up to when it is in the quality windows.
    counted_ns: i64,
}

impl State {
    /// Whether it is down, and something is expected of it.
    fn is_missed(&self) -> bool {
        self.down.is_some() && !self.line.is_all_over()
    }

    /// Puts the time without it in the quality windows, up to `now`.
    fn measure(&mut self, now: i64, window: &mut Window) {
        let is_missed = self.is_missed();
        let Some(down) = &mut self.down else { return };
        if is_missed {
            window.away(self.status.exchange, down.counted_ns, now);
        }
        down.counted_ns = down.counted_ns.max(now);
    }
}

/// A series.
#[derive(Debug)]
struct Followed {
    wanted: Wanted,
    line: Option<usize>,
    pace: Pace,
    waiting: Waiting,
    health: Health,
    trouble: Option<Trouble>,
    /// When it became well again last.
    well_ns: i64,
    /// Why it has ended, if it has.
    ended: Option<String>,
}

impl Followed {
    fn new(wanted: &Wanted) -> Self {
        Self {
            wanted: wanted.clone(),
            line: None,
            pace: Pace::default(),
            waiting: Waiting::default(),
            health: Health::default(),
            trouble: None,
            well_ns: 0,
            ended: None,
        }
    }

    /// Puts the time in which it is not well in the quality windows, up to `now`.
    fn measure(&mut self, now: i64, window: &mut Window) {
        let Some(trouble) = &mut self.trouble else {
            return;
        };
        let name = format!(
            "{}/{}",
            self.wanted.series.stream, self.wanted.series.symbol
        );
        window.unwell(self.wanted.venue.name(), &name, trouble.counted_ns, now);
        trouble.counted_ns = trouble.counted_ns.max(now);
    }
}

/// When an earlier process was last known to have a connection whose series brought something at
/// `last` for the last time, and that brought something of whatever series at `alive` for the last
/// time. Its record holds what it noticed before.
fn had_until(line: &Line, last: Option<i64>, alive: Option<i64>, now: i64) -> i64 {
    let (Some(last), Some(alive)) = (last.filter(|ns| *ns > 0), alive.filter(|ns| *ns > 0)) else {
        // No process ever had it.
        return now;
    };
    // One that may be quiet was quiet; one that brought nothing for long was not asked for any
    // more.
    let patience = if line.may_be_quiet() {
        WINDOW_NS
    } else {
        STALE_NS
    };
    if alive - last > patience {
        alive.min(now)
    } else {
        last.min(now)
    }
}

/// All connections, and all series by their places.
#[derive(Debug)]
pub(super) struct Lines {
    states: Vec<State>,
    series: Vec<Followed>,
}

impl Lines {
    /// `known_recv` tells when a series last brought something to an earlier process, and `alive`
    /// when that process last had something of any series.
    pub(super) fn new(
        lines: Vec<Line>,
        wanted: &[Wanted],
        known_recv: impl Fn(usize) -> Option<i64>,
        alive: Option<i64>,
        now: i64,
    ) -> Self {
        let mut all = Self {
            states: Vec::new(),
            series: Vec::new(),
        };
        all.add(lines, wanted, now);
        for state in &mut all.states {
            let last = state
                .line
                .series
                .iter()
                .filter_map(|place| known_recv(*place))
                .max();
            let since_ns = had_until(&state.line, last, alive, now);
            state.down = Some(Down {
                is_first: since_ns >= now,
                ..Down::new(since_ns, "ours")
            });
        }
        all
    }

    /// Adds series that come behind the others, and the connections that bring them.
    pub(super) fn add(&mut self, lines: Vec<Line>, wanted: &[Wanted], now: i64) {
        self.series.extend(wanted.iter().map(Followed::new));
        for (at, line) in (self.states.len()..).zip(&lines) {
            for place in &line.series {
                if let Some(series) = self.series.get_mut(*place) {
                    series.line = Some(at);
                }
            }
        }
        let state = |line: Line| {
            let status = LineStatus {
                name: line.name.clone(),
                exchange: line.venue.name(),
                state: "connecting",
                ..LineStatus::default()
            };
            let phases = TopicPhases::new(line.topics.len());
            let down = Down {
                is_first: true,
                ..Down::new(now, "ours")
            };
            State {
                line,
                status,
                live: BTreeSet::new(),
                down: Some(down),
                phases,
            }
        };
        self.states.extend(lines.into_iter().map(state));
    }

    /// Notes that a series has ended: nothing is expected of it any more.
    pub(super) fn end(
        &mut self,
        place: usize,
        why: &str,
        now: i64,
        diary: &mut Diary,
        window: &mut Window,
    ) {
        let Some(series) = self
            .series
            .get_mut(place)
            .filter(|series| series.ended.is_none())
        else {
            return;
        };
        series.ended = Some(why.to_owned());
        let line = series.line.and_then(|line| self.states.get(line));
        if let Some(state) = line {
            state.line.set_ended(place, true);
        }
        let exchange = series.wanted.venue.name();
        let name = json!({ "series": series.wanted.series.to_string() });
        series.measure(now, window);
        if let Some(trouble) = series.trouble.take() {
            diary.note(
                now,
                "offline",
                offline(name, exchange, trouble.since_ns, now, "feed"),
            );
        }
        tracing::warn!(series = %series.wanted.series, why, "a series has ended");
        let what = json!({ "series": series.wanted.series.to_string(), "exchange": exchange, "why": why,
            "state": series.health.state });
        diary.note(now, "series ended", what);
    }

    /// Notes that a series that had ended is wanted again.
    pub(super) fn begin_again(&mut self, place: usize, now: i64, diary: &mut Diary) {
        let Some(series) = self
            .series
            .get_mut(place)
            .filter(|series| series.ended.is_some())
        else {
            return;
        };
        series.ended = None;
        if let Some(state) = series.line.and_then(|line| self.states.get(line)) {
            state.line.set_ended(place, false);
        }
        let what = json!({ "series": series.wanted.series.to_string(), "exchange": series.wanted.venue.name() });
        diary.note(now, "series listed", what);
    }

    /// Takes what a connection tells of itself.
    pub(super) fn take(
        &mut self,
        line: usize,
        session: u64,
        what: What,
        now: i64,
        diary: &mut Diary,
        window: &mut Window,
    ) {
        let Some(state) = self.states.get_mut(line) else {
            return;
        };
        let name = state.status.name.clone();
        let exchange = state.status.exchange;
        match what {
            // The writer's own.
            What::Group(_) | What::Listed(..) | What::Delisted(_) | What::Relisted(_) => {}
            What::Live => {
                let _ = state.live.insert(session);
                state.status.state = "live";
                state.measure(now, window);
                if let Some(down) = state.down.take() {
                    if !down.is_first {
                        window.hurry();
                    }
                    let what = offline(
                        json!({ "line": name }),
                        exchange,
                        down.since_ns,
                        now,
                        down.cause,
                    );
                    diary.note(now, "offline", what);
                }
                diary.note(now, "live", json!({ "line": name, "session": session }));
            }
            What::Lost {
                reason,
                cause,
                wait,
                well_ns,
            } => {
                state.phases.gone(session);
                let _ = state.live.remove(&session);
                state.status.reconnects += 1;
                state.status.last_trouble = Some(reason.clone());
                if state.live.is_empty() {
                    state.status.state = if wait.is_zero() {
                        "connecting"
                    } else {
                        "waiting"
                    };
                    let known = well_ns.or(Some(state.status.last_recv_ns).filter(|ns| *ns > 0));
                    let _ = state
                        .down
                        .get_or_insert(Down::new(known.map_or(now, |ns| ns.min(now)), cause));
                }
                window.of(exchange).reconnects += 1;
                tracing::warn!(
                    line = name,
                    reason,
                    wait_ms = wait.as_millis(),
                    "connection lost"
                );
                diary.note(
                    now,
                    "lost",
                    json!({ "line": name, "exchange": exchange, "reason": reason, "cause": cause, "session": session,
                        "wait_ms": u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) }),
                );
            }
            What::Ended { reason, deaf_ns } => {
                state.phases.gone(session);
                let _ = state.live.remove(&session);
                if let Some(since) = deaf_ns {
                    window.away(exchange, since, now);
                    window.hurry();
                    diary.note(
                        now,
                        "offline",
                        offline(json!({ "line": name }), exchange, since, now, "feed"),
                    );
                }
                diary.note(
                    now,
                    "ended",
                    json!({ "line": name, "session": session, "reason": reason }),
                );
            }
            What::Renewing(why) => {
                diary.note(
                    now,
                    "renewing",
                    json!({ "line": name, "why": why, "session": session }),
                );
            }
            What::Topics(changes) => state.phases.note(session, changes, now),
            What::Notice(text) => {
                tracing::warn!(line = name, text, "the exchange says");
                diary.note(
                    now,
                    "notice",
                    json!({ "line": name, "text": text, "session": session }),
                );
            }
        }
    }

    /// Notes that a connection brought something; returns its name and its exchange.
    pub(super) fn received(&mut self, line: usize, at: i64) -> Option<(String, &'static str)> {
        let status = &mut self.states.get_mut(line)?.status;
        status.last_recv_ns = status.last_recv_ns.max(at);
        Some((status.name.clone(), status.exchange))
    }

    /// Notes that a series brought something.
    pub(super) fn brought(&mut self, place: usize, at: i64) {
        if let Some(series) = self.series.get_mut(place) {
            series.pace.note(at);
        }
    }

    /// Notes how late events of a connection were.
    pub(super) fn lagged(&mut self, line: usize, lags: &Lags) {
        if let Some(state) = self.states.get_mut(line) {
            state.status.lags.join(lags);
        }
    }

    /// Whether several sessions bring a line's series at the moment.
    pub(super) fn overlaps(&self, line: usize) -> bool {
        self.states
            .get(line)
            .is_some_and(|state| state.live.len() > 1)
    }

    /// As [`Self::overlaps`], of the line that brings a series.
    pub(super) fn overlaps_series(&self, place: usize) -> bool {
        self.series
            .get(place)
            .and_then(|series| series.line)
            .is_some_and(|line| self.overlaps(line))
    }

    /// Judges every series, and notes which are not well any more, or again, and in the quality
    /// windows for how long.
    pub(super) fn judge(&mut self, now: i64, diary: &mut Diary, window: &mut Window) {
        for (place, series) in self.series.iter_mut().enumerate() {
            let Some(state) = series.line.and_then(|line| self.states.get(line)) else {
                continue;
            };
            let topics = state.line.topics_of(place);
            if series.ended.is_some() {
                series.health = Health {
                    state: SeriesState::Ended,
                    ..Health::default()
                };
                continue;
            }
            series.waiting.look(series.health.state, &series.pace, now);
            series.health = health::judge(
                &series.wanted,
                topics,
                &state.phases,
                &series.pace,
                series.waiting,
                now,
            );
            let exchange = state.status.exchange;
            let name = || json!({ "series": series.wanted.series.to_string() });
            match (&series.health.trouble, series.trouble) {
                (Some(why), None) => {
                    let since_ns = series.health.since_ns.clamp(series.well_ns.min(now), now);
                    series.trouble = Some(Trouble {
                        since_ns,
                        counted_ns: since_ns,
                    });
                    let mut what = name();
                    if let Some(what) = what.as_object_mut() {
                        let _ = what.insert("exchange".to_owned(), json!(exchange));
                        let _ = what.insert("state".to_owned(), json!(series.health.state));
                        let _ = what.insert("why".to_owned(), json!(why));
                    }
                    tracing::warn!(series = %series.wanted.series, why, "a series is not well");
                    diary.note(now, "troubled", what);
                }
                // While its connection is down nobody knows.
                (None, Some(trouble)) if series.health.state != SeriesState::Wanted => {
                    diary.note(
                        now,
                        "offline",
                        offline(name(), exchange, trouble.since_ns, now, "feed"),
                    );
                    series.measure(now, window);
                    (series.trouble, series.well_ns) = (None, now);
                }
                _ => {}
            }
            series.measure(now, window);
        }
    }

    /// Puts the time without a connection in the quality windows, up to `now`: what is written of
    /// one must not be behind.
    pub(super) fn measure(&mut self, now: i64, window: &mut Window) {
        for state in &mut self.states {
            state.measure(now, window);
        }
    }

    /// What is not well, in words: connections first, then series.
    pub(super) fn troubles(&self) -> Vec<String> {
        let down = self
            .states
            .iter()
            .filter(|state| state.is_missed())
            .map(|state| {
                let why = state
                    .status
                    .last_trouble
                    .as_deref()
                    .unwrap_or("not connected yet");
                format!("{}: {why}", state.status.name)
            });
        let ill = self.series.iter().filter_map(|series| {
            let why = series.health.trouble.as_ref()?;
            Some(format!("{}: {why}", series.wanted.series))
        });
        let mut all: Vec<String> = down.collect();
        let connections = all.len();
        all.extend(ill);
        let more = all.len().saturating_sub(connections + TOLD);
        if more > 0 {
            all.truncate(connections + TOLD);
            all.push(format!("and {more} more series are not well"));
        }
        all
    }

    /// What is shown of the connections.
    pub(super) fn statuses(&self) -> Vec<LineStatus> {
        let of = |state: &State| {
            let ended = state.line.is_all_over();
            LineStatus {
                state: if ended { "ended" } else { state.status.state },
                ..state.status.clone()
            }
        };
        self.states.iter().map(of).collect()
    }

    /// Adds what is known of a series to what is shown of it.
    pub(super) fn show(&self, place: usize, status: &mut FeedStatus) {
        if let Some(series) = self.series.get(place) {
            status.state = series.health.state;
            status.trouble.clone_from(&series.health.trouble);
            status.ended.clone_from(&series.ended);
        }
    }
}

/// The record of a time without data.
fn offline(
    mut what: serde_json::Value,
    exchange: &'static str,
    from: i64,
    to: i64,
    cause: &'static str,
) -> serde_json::Value {
    let seconds = Duration::from_nanos(u64::try_from(to - from).unwrap_or(0)).as_secs_f64();
    if let Some(what) = what.as_object_mut() {
        for (key, value) in [
            ("exchange", json!(exchange)),
            ("from_ns", json!(from)),
            ("to_ns", json!(to)),
            ("seconds", json!(seconds)),
            ("cause", json!(cause)),
        ] {
            let _ = what.insert(key.to_owned(), value);
        }
    }
    what
}
