//! The connections as the writer knows them, and the series by them: who brings what, what is down,
//! what is not well.
//!
//! A time without data is told in one place for the feed log and the quality windows, so that both
//! have the same. Nothing is missed of a connection all of whose series have ended: such a time
//! begins when one of them is listed again, and ends when all have ended again.

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
    feed::venue::{Line, Transport, Wanted},
    model::quality::WINDOW_NS,
};

/// A connection that brings something often had its last event no longer ago than this when its
/// process ended.
const STALE_NS: i64 = 24 * 3_600_000_000_000;
/// So many series that are not well are told one by one.
const TOLD: usize = 20;

/// An instant by both clocks: the wall's for what is recorded, and one that never jumps, from which
/// it follows for how long something has been so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) wall_ns: i64,
    pub(super) steady_ns: i64,
}

impl Now {
    /// What the wall clock would have shown at an instant of the steady one.
    const fn wall_of(self, steady_ns: i64) -> i64 {
        let ago = self.steady_ns.saturating_sub(steady_ns);
        self.wall_ns.saturating_sub(ago)
    }
}

/// What earlier processes knew of a series.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// When it brought something last; 0 where it never did.
    pub(super) recv_ns: i64,
    /// Up to when the time without it is on record; 0 where nothing is.
    pub(super) told_ns: i64,
}

/// A connection.
#[derive(Debug)]
struct State {
    line: Line,
    status: LineStatus,
    /// The sessions that bring something.
    live: BTreeSet<u64>,
    down: Option<Down>,
    phases: TopicPhases,
    /// Since when something is expected of it: all its series had ended before.
    expected_ns: i64,
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

    /// Puts on record the time in which it was missed, which is over.
    fn tell_missed(&mut self, now: i64, diary: &mut Diary, window: &mut Window) {
        self.measure(now, window);
        let is_missed = self.is_missed();
        let Some(down) = self.down.take().filter(|_| is_missed) else {
            return;
        };
        if !down.is_first {
            window.hurry();
        }
        let (name, exchange) = (json!({ "line": self.status.name }), self.status.exchange);
        diary.note(
            now,
            "offline",
            offline(name, exchange, down.since_ns, now, down.cause),
        );
    }

    /// Why nothing comes by it.
    fn why(&self) -> String {
        if let Some(text) = self.phases.refused(|topic| self.line.is_over(topic)) {
            let topics = match self.line.topics.len() {
                1 => "its only topic is".to_owned(),
                topics => format!("all of its {topics} topics are"),
            };
            return format!("connected, and {topics} refused: {text}");
        }
        if let Some(trouble) = &self.status.last_trouble {
            return trouble.clone();
        }
        // Of requests nothing is connected before an answer has come.
        if self.line.by == Transport::Socket && self.phases.is_asked() {
            "connected, and nothing of what was asked for has come yet".to_owned()
        } else {
            "not connected yet".to_owned()
        }
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

    /// Puts on record the time in which it was not well, which is over.
    fn tell_unwell(&mut self, now: i64, diary: &mut Diary, window: &mut Window) {
        self.measure(now, window);
        if let Some(trouble) = self.trouble.take() {
            let name = json!({ "series": self.wanted.series.to_string() });
            let exchange = self.wanted.venue.name();
            diary.note(
                now,
                "offline",
                offline(name, exchange, trouble.since_ns, now, "feed"),
            );
        }
    }
}

/// When an earlier process was last known to have a connection whose series brought something at
/// `known.recv_ns` for the last time, and that brought something of whatever series at `alive` for
/// the last time. Its record holds what it noticed before.
fn had_until(line: &Line, known: Known, alive: Option<i64>, now: i64) -> i64 {
    let Known {
        recv_ns: last,
        told_ns,
    } = known;
    let Some(alive) = alive.filter(|ns| *ns > 0 && last > 0) else {
        // No process ever had it: it is missed from when the first one began.
        return if told_ns > 0 { told_ns.min(now) } else { now };
    };
    // One that may be quiet was quiet; one that brought nothing for long was not asked for any
    // more.
    let patience = if line.may_be_quiet() {
        WINDOW_NS
    } else {
        STALE_NS
    };
    let had = if alive - last > patience { alive } else { last };
    had.max(told_ns).min(now)
}

/// All connections, and all series by their places.
#[derive(Debug)]
pub(super) struct Lines {
    states: Vec<State>,
    series: Vec<Followed>,
}

impl Lines {
    /// `known` tells what an earlier process knew of a series, and `alive` when that process last
    /// had something of any series.
    pub(super) fn new(
        lines: Vec<Line>,
        wanted: &[Wanted],
        known: impl Fn(usize) -> Option<Known>,
        alive: Option<i64>,
        now: i64,
    ) -> Self {
        let mut all = Self {
            states: Vec::new(),
            series: Vec::new(),
        };
        all.add(lines, wanted, now);
        for state in &mut all.states {
            let all = state.line.series.iter().filter_map(|place| known(*place));
            let known = all.fold(Known::default(), |one, other| Known {
                recv_ns: one.recv_ns.max(other.recv_ns),
                told_ns: one.told_ns.max(other.told_ns),
            });
            let since_ns = had_until(&state.line, known, alive, now);
            // Of one that never brought anything nobody knows why.
            let cause = if known.recv_ns > 0 || since_ns >= now {
                "ours"
            } else {
                "unknown"
            };
            state.down = Some(Down {
                is_first: since_ns >= now,
                ..Down::new(since_ns, cause)
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
                expected_ns: i64::MIN,
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
        if let Some(state) = series.line.and_then(|line| self.states.get_mut(line)) {
            // While it is still missed.
            state.measure(now, window);
            let missed = state.down.filter(|_| state.is_missed());
            state.line.set_ended(place, true);
            if let Some(down) = missed.filter(|_| state.line.is_all_over()) {
                let name = json!({ "line": state.status.name });
                diary.note(
                    now,
                    "offline",
                    offline(name, state.status.exchange, down.since_ns, now, down.cause),
                );
            }
        }
        let exchange = series.wanted.venue.name();
        series.tell_unwell(now, diary, window);
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
        // Nothing was expected before.
        series.well_ns = now;
        if let Some(state) = series.line.and_then(|line| self.states.get_mut(line)) {
            let was_all_over = state.line.is_all_over();
            state.line.set_ended(place, false);
            if was_all_over {
                state.expected_ns = now;
                // It stood by.
                state.down = state.down.map(|_| Down::new(now, "ours"));
            }
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
        at: Now,
        diary: &mut Diary,
        window: &mut Window,
    ) {
        let now = at.wall_ns;
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
                state.tell_missed(now, diary, window);
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
                    let since_ns = known.map_or(now, |ns| ns.max(state.expected_ns).min(now));
                    let down = state.down.get_or_insert(Down::new(since_ns, cause));
                    // No time without a process is in it.
                    if down.is_first {
                        down.cause = cause;
                    }
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
            What::Topics(changes) => state.phases.note(session, changes, at.steady_ns),
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

    /// Notes that a series brought something, at an instant of the steady clock.
    pub(super) fn brought(&mut self, place: usize, steady_ns: i64) {
        if let Some(series) = self.series.get_mut(place) {
            series.pace.note(steady_ns);
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
    pub(super) fn judge(&mut self, at: Now, diary: &mut Diary, window: &mut Window) {
        let now = at.wall_ns;
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
            series
                .waiting
                .look(series.health.state, &series.pace, at.steady_ns);
            series.health = health::judge(
                &series.wanted,
                topics,
                &state.phases,
                &series.pace,
                series.waiting,
                at.steady_ns,
            );
            let exchange = state.status.exchange;
            match (&series.health.trouble, series.trouble) {
                (Some(why), None) => {
                    let since_ns = at.wall_of(series.health.since_ns);
                    let since_ns = since_ns.clamp(series.well_ns.min(now), now);
                    series.trouble = Some(Trouble {
                        since_ns,
                        counted_ns: since_ns,
                    });
                    let what = json!({ "series": series.wanted.series.to_string(), "exchange": exchange,
                        "state": series.health.state, "why": why });
                    tracing::warn!(series = %series.wanted.series, why, "a series is not well");
                    diary.note(now, "troubled", what);
                }
                // While its connection is down nobody knows.
                (None, Some(_)) if series.health.state != SeriesState::Wanted => {
                    series.tell_unwell(now, diary, window);
                    series.well_ns = now;
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

    /// Puts on record what is missed when the process ends; returns the series of which no time
    /// before is to be told any more.
    pub(super) fn close(&mut self, now: i64, diary: &mut Diary, window: &mut Window) -> Vec<usize> {
        let mut told = Vec::new();
        for state in self.states.iter_mut().filter(|state| state.is_missed()) {
            state.tell_missed(now, diary, window);
            told.extend(&state.line.series);
        }
        for series in &mut self.series {
            series.tell_unwell(now, diary, window);
        }
        told
    }

    /// What is not well, in words: connections first, then series.
    pub(super) fn troubles(&self) -> Vec<String> {
        let down = self
            .states
            .iter()
            .filter(|state| state.is_missed())
            .map(|state| format!("{}: {}", state.status.name, state.why()));
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
            let is_over = |topic| state.line.is_over(topic);
            let shown = if state.line.is_all_over() {
                "ended"
            } else if state.down.is_some() && state.phases.refused(is_over).is_some() {
                "refused"
            } else {
                state.status.state
            };
            LineStatus {
                state: shown,
                trouble: state.is_missed().then(|| state.why()),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        collect::subscriptions::Change,
        feed::{
            event::Kind,
            venue::{Numbers, Venue, choose, more_lines},
        },
        storage::store::Store,
    };

    const SECOND: i64 = 1_000_000_000;
    /// At noon of 2026-02-03, in the middle of a window.
    const BEGIN: i64 = 1_770_120_000 * SECOND + 60 * SECOND;

    /// Connections of which a test tells what happens, and what is recorded of them.
    struct Told {
        dir: tempfile::TempDir,
        spool: Store,
        lines: Lines,
        diary: Diary,
        window: Window,
        now: Now,
    }

    impl Told {
        async fn new(venue: Venue, kinds: &[Kind]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let spool = Store::open(dir.path().to_str().unwrap()).unwrap();
            let wanted = choose(&[venue], &["btcusdt".parse().unwrap()], kinds)
                .unwrap()
                .series;
            let lines = more_lines(&wanted, 0, &BTreeMap::new(), &mut Numbers::default()).unwrap();
            let now = Now {
                wall_ns: BEGIN,
                steady_ns: BEGIN,
            };
            Self {
                lines: Lines::new(lines, &wanted, |_| None, None, BEGIN),
                diary: Diary::new(dir.path().join("_feed"), dir.path()),
                window: Window::at(&spool, BEGIN).await,
                now,
                spool,
                dir,
            }
        }

        fn pass(&mut self, seconds: i64) {
            self.now.wall_ns += seconds * SECOND;
            self.now.steady_ns += seconds * SECOND;
            self.lines.measure(self.now.wall_ns, &mut self.window);
        }

        fn tell(&mut self, session: u64, what: What) {
            self.lines.take(
                0,
                session,
                what,
                self.now,
                &mut self.diary,
                &mut self.window,
            );
        }

        fn lose(&mut self, session: u64) {
            let what = What::Lost {
                reason: "cut".to_owned(),
                cause: "feed",
                wait: Duration::ZERO,
                well_ns: Some(self.now.wall_ns),
            };
            self.tell(session, what);
        }

        fn end_series(&mut self) {
            self.lines.end(
                0,
                "delisted",
                self.now.wall_ns,
                &mut self.diary,
                &mut self.window,
            );
        }

        fn begin_again(&mut self) {
            self.lines.begin_again(0, self.now.wall_ns, &mut self.diary);
        }

        fn judge(&mut self) -> SeriesState {
            self.lines
                .judge(self.now, &mut self.diary, &mut self.window);
            self.lines.series[0].health.state
        }

        /// The times offline, in seconds since the beginning, by the feed log; the quality windows
        /// must have as much.
        async fn offline(mut self) -> Vec<(i64, i64)> {
            self.diary.flush(self.now.wall_ns).unwrap();
            self.window.write(&self.spool).await.unwrap();
            let text =
                std::fs::read_to_string(self.dir.path().join("_feed/2026-02-03.ndjson")).unwrap();
            let all: Vec<(i64, i64)> = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .filter(|line: &serde_json::Value| line["kind"] == "offline")
                .map(|line| ["from_ns", "to_ns"].map(|key| line[key].as_i64().unwrap()))
                .map(|[from, to]| ((from - BEGIN) / SECOND, (to - BEGIN) / SECOND))
                .collect();
            let window = self
                .dir
                .path()
                .join("quality/date=20260203/window=1200.json");
            let tally: crate::model::quality::Tally =
                serde_json::from_str(&std::fs::read_to_string(window).unwrap()).unwrap();
            let told: i64 = all.iter().map(|(from, to)| to - from).sum();
            #[expect(clippy::cast_precision_loss, reason = "seconds")]
            let told = told as f64;
            assert!(
                (tally.offline_seconds - told).abs() < 1e-6,
                "{text}{tally:?}"
            );
            all
        }
    }

    #[tokio::test]
    async fn a_series_that_is_listed_again_is_missed_from_then_on() {
        let mut told = Told::new(Venue::Okx, &[Kind::Trade]).await;
        told.pass(2);
        told.tell(1, What::Live);
        told.pass(10);
        told.end_series();
        told.pass(10);
        told.lose(1);
        told.pass(20);
        told.begin_again();
        told.pass(3);
        told.tell(2, What::Live);
        assert_eq!(told.offline().await, [(0, 2), (42, 45)]);
    }

    #[tokio::test]
    async fn a_series_that_is_delisted_before_its_connection_stands_was_missed() {
        let mut told = Told::new(Venue::Okx, &[Kind::Trade]).await;
        told.pass(5);
        told.end_series();
        told.pass(10);
        told.begin_again();
        told.pass(4);
        told.end_series();
        told.pass(10);
        // A connection that came too late brings nothing of use.
        told.tell(1, What::Live);
        told.pass(1);
        told.lose(1);
        told.pass(10);
        told.begin_again();
        told.pass(7);
        let now = told.now.wall_ns;
        let places = told.lines.close(now, &mut told.diary, &mut told.window);
        assert_eq!(places, [0]);
        assert_eq!(told.offline().await, [(0, 5), (15, 19), (40, 47)]);
    }

    #[tokio::test]
    async fn a_connection_whose_topics_are_all_refused_is_connected() {
        let mut told = Told::new(Venue::Okx, &[Kind::Trade, Kind::Bbo]).await;
        let why = |told: &Told| told.lines.statuses()[0].trouble.clone().unwrap();
        assert_eq!(why(&told), "not connected yet");
        told.tell(
            1,
            What::Topics(vec![(0, Change::Asked), (1, Change::Asked)]),
        );
        assert!(why(&told).starts_with("connected, and nothing"));
        let refused = |topic| (topic, Change::Refused("60018: wrong".to_owned()));
        told.tell(1, What::Topics(vec![refused(0)]));
        assert!(why(&told).starts_with("connected, and nothing"));
        told.tell(1, What::Topics(vec![refused(1)]));
        assert_eq!(
            why(&told),
            "connected, and all of its 2 topics are refused: 60018: wrong"
        );
        assert_eq!(told.lines.statuses()[0].state, "refused");
        let _ = told.judge();
        assert!(told.lines.troubles()[0].ends_with("refused: 60018: wrong"));
        told.lose(1);
        assert_eq!(why(&told), "cut");
    }

    #[tokio::test]
    async fn a_step_of_the_clock_changes_nothing_of_what_is_well() {
        for step in [-600, 600] {
            let mut told = Told::new(Venue::Okx, &[Kind::MarkPrice]).await;
            told.tell(1, What::Topics(vec![(0, Change::Acknowledged)]));
            told.tell(1, What::Live);
            told.pass(1);
            told.lines.brought(0, told.now.steady_ns);
            assert_eq!(told.judge(), SeriesState::Receiving);
            told.now.wall_ns += step * SECOND;
            told.pass(50);
            assert_eq!(told.judge(), SeriesState::Receiving, "{step}");
            told.pass(20);
            assert_eq!(told.judge(), SeriesState::Quiet, "{step}");
            let since = told.lines.series[0].trouble.unwrap().since_ns;
            assert_eq!(told.now.wall_ns - since, 70 * SECOND, "{step}");
        }
    }

    #[tokio::test]
    async fn what_an_earlier_process_told_is_not_told_again() {
        let told = Told::new(Venue::Okx, &[Kind::Trade]).await;
        let line = told.lines.states[0].line.clone();
        let check = |recv_ns: i64, told_ns: i64, alive: Option<i64>, want: i64| {
            let known = Known { recv_ns, told_ns };
            assert_eq!(had_until(&line, known, alive, 100), want, "{known:?}");
        };
        check(0, 0, None, 100);
        check(0, 0, Some(50), 100);
        check(0, 30, None, 30);
        check(0, 30, Some(50), 30);
        check(40, 0, Some(50), 40);
        check(40, 45, Some(50), 45);
        check(40, 30, Some(50), 40);
    }
}
