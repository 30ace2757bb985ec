//! Windows of fifteen minutes: what came, what is known to be missing, how late it was, as data beside the spool.
//!
//! `{spool}/quality/date=20260203/window=1430.json`, one line of JSON an exchange. A window that an earlier process began
//! is gone on with. Grades: A nothing is missing and the exchange was always there; B it was away for less than 5
//! seconds, or frames were rejected; C less than 60 seconds, or events had no room; D less than 300 seconds; F more, or
//! nothing came at all. A hole in the exchange's own numbers is a C at best.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::status::Lags;
use crate::{
    error::Result,
    model::date::Date,
    storage::{atomic, store::Store},
};

/// The length of a window.
pub(crate) const WINDOW_NS: i64 = 900_000_000_000;

/// What happened in a window at an exchange.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tally {
    pub(crate) exchange: String,
    pub(crate) window_start_ns: i64,
    pub(crate) window_end_ns: i64,
    pub(crate) grade: String,
    pub(crate) events: u64,
    pub(crate) events_by_stream: BTreeMap<String, u64>,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) gaps: u64,
    pub(crate) missing: u64,
    pub(crate) duplicates: u64,
    pub(crate) late: u64,
    pub(crate) reconnects: u64,
    pub(crate) offline_seconds: f64,
    pub(crate) rejected: u64,
    pub(crate) dropped: u64,
    pub(crate) lag_ms_p50: Option<i64>,
    pub(crate) lag_ms_p99: Option<i64>,
    pub(crate) lags: Lags,
}

impl Tally {
    fn join(&mut self, other: &Self) {
        self.events += other.events;
        for (stream, count) in &other.events_by_stream {
            *self.events_by_stream.entry(stream.clone()).or_default() += count;
        }
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.gaps += other.gaps;
        self.missing += other.missing;
        self.duplicates += other.duplicates;
        self.late += other.late;
        self.reconnects += other.reconnects;
        self.offline_seconds += other.offline_seconds;
        self.rejected += other.rejected;
        self.dropped += other.dropped;
        self.lags.join(&other.lags);
    }

    fn grade(&self) -> &'static str {
        let by_absence = match self.offline_seconds {
            s if s <= 0.0 => "A",
            s if s < 5.0 => "B",
            s if s < 60.0 => "C",
            s if s < 300.0 => "D",
            _ => "F",
        };
        let by_loss = match self {
            Self { events: 0, .. } => "F",
            _ if self.missing > 0 || self.dropped > 0 => "C",
            _ if self.rejected > 0 => "B",
            _ => "A",
        };
        by_absence.max(by_loss)
    }
}

/// The window that is under way.
#[derive(Debug)]
pub(crate) struct Window {
    start_ns: i64,
    /// What an earlier process noted of this window.
    before: Vec<Tally>,
    now: BTreeMap<&'static str, Tally>,
}

fn start_of(ns: i64) -> i64 {
    ns.div_euclid(WINDOW_NS) * WINDOW_NS
}

fn key(start_ns: i64) -> Option<String> {
    let date = Date::of_ns(start_ns)?;
    let minutes = (start_ns - date.start_ns()) / 60_000_000_000;
    Some(format!("quality/date={date}/window={:02}{:02}.json", minutes / 60, minutes % 60))
}

impl Window {
    /// The window that `ns` lies in.
    pub(crate) async fn at(spool: &Store, ns: i64) -> Self {
        let start_ns = start_of(ns);
        let text = match key(start_ns) {
            Some(key) => spool.read(&key).await.ok().flatten(),
            None => None,
        };
        let lines = text.as_deref().unwrap_or_default().split(|byte| *byte == b'\n');
        let before = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        Self { start_ns, before, now: BTreeMap::new() }
    }

    /// Whether `ns` lies behind it.
    pub(crate) fn is_over(&self, ns: i64) -> bool {
        start_of(ns) > self.start_ns
    }

    pub(crate) fn start_ns(&self) -> i64 {
        self.start_ns
    }

    /// What is counted for an exchange.
    pub(crate) fn of(&mut self, exchange: &'static str) -> &mut Tally {
        self.now.entry(exchange).or_default()
    }

    /// Writes it, over what was written of it before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn write(&self, spool: &Store) -> Result<()> {
        let Some(key) = key(self.start_ns) else { return Ok(()) };
        let mut all: BTreeMap<String, Tally> = self.before.iter().map(|t| (t.exchange.clone(), t.clone())).collect();
        for (exchange, tally) in &self.now {
            all.entry((*exchange).to_owned()).or_default().join(tally);
        }
        let mut text = Vec::new();
        for (exchange, mut tally) in all {
            tally.exchange = exchange;
            tally.window_start_ns = self.start_ns;
            tally.window_end_ns = self.start_ns + WINDOW_NS;
            tally.grade = tally.grade().to_owned();
            tally.lag_ms_p50 = tally.lags.quantile_ms(500);
            tally.lag_ms_p99 = tally.lags.quantile_ms(990);
            text.extend(serde_json::to_vec(&tally).unwrap_or_default());
            text.push(b'\n');
        }
        if text.is_empty() {
            return Ok(());
        }
        let staging = spool.local_folder().unwrap_or(Path::new("/"));
        atomic::write_bytes(spool, &key, staging, &crate::storage::Expect::Anything, text).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades() {
        let good = Tally { events: 10, ..Tally::default() };
        let check = |tally: Tally, grade: &str| assert_eq!(tally.grade(), grade, "{tally:?}");
        check(good.clone(), "A");
        check(Tally { rejected: 1, ..good.clone() }, "B");
        check(Tally { offline_seconds: 0.5, ..good.clone() }, "B");
        check(Tally { missing: 1, ..good.clone() }, "C");
        check(Tally { offline_seconds: 100.0, missing: 1, ..good }, "D");
        check(Tally::default(), "F");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_window_is_gone_on_with_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Store::open(dir.path().to_str().unwrap()).unwrap();
        let at = 1_770_076_800_000_000_000 + 2 * WINDOW_NS + 5;
        for _ in 0..2 {
            let mut window = Window::at(&spool, at).await;
            window.of("okx").events += 3;
            window.write(&spool).await.unwrap();
            window.write(&spool).await.unwrap();
            assert!(window.is_over(at + WINDOW_NS) && !window.is_over(at));
        }
        let text = std::fs::read_to_string(dir.path().join("quality/date=20260203/window=0030.json")).unwrap();
        let tally: Tally = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((tally.events, tally.exchange.as_str(), tally.grade.as_str()), (6, "okx", "A"));
    }
}
