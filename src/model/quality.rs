//! Quality windows: what a collector records of each fifteen minutes at an exchange, as data beside
//! the spool.
//!
//! Grades: A nothing is missing and the exchange was always there; B it was away for less than 5
//! seconds, or frames were rejected; C less than 60 seconds, or events had no room; D less than 300
//! seconds; F more, or nothing came at all. A hole in the exchange's own numbers is a C at best,
//! and so is a series that was not well though its connection was there. A window is about all of
//! an exchange; [`Tally::grade_of`] is about one series of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::date::Date;

/// The folder of the windows in a spool.
pub const DIR: &str = "quality";

/// The upper ends of the classes of lag, in milliseconds; a last class holds what is longer.
pub const LAG_MS: [i64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

/// How often events were how late.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lags {
    /// Events per class of [`LAG_MS`], and a last one for longer lags.
    pub counts: [u64; LAG_MS.len() + 1],
    /// The sum of all lags in milliseconds; clocks that are ahead count as 0.
    pub sum_ms: u64,
}

impl Lags {
    /// Counts an event that was read so many nanoseconds after it happened.
    pub(crate) fn add(&mut self, ns: i64) {
        let ms = ns.max(0) / 1_000_000;
        let class = LAG_MS.partition_point(|end| *end < ms);
        if let Some(count) = self.counts.get_mut(class) {
            *count += 1;
        }
        self.sum_ms = self.sum_ms.saturating_add(ms.unsigned_abs());
    }

    /// Adds those of another span of time.
    pub(crate) fn join(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_ms += other.sum_ms;
    }

    /// Events.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The end of the class in which the given share (in thousandths) of all events lies; `None`
    /// without events, or where it is beyond the last class.
    #[must_use]
    pub fn quantile_ms(&self, thousandths: u64) -> Option<i64> {
        let wanted = (self.total() * thousandths).div_ceil(1000);
        let mut seen = 0;
        for (count, end) in self.counts.iter().zip(LAG_MS) {
            seen += count;
            if seen >= wanted && wanted > 0 {
                return Some(end);
            }
        }
        None
    }
}

/// The length of a window.
pub const WINDOW_NS: i64 = 900_000_000_000;

/// What happened in a window at an exchange.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// The exchange.
    pub exchange: String,
    /// The beginning of the window, in nanoseconds since 1970 UTC.
    pub window_start_ns: i64,
    /// Its end.
    pub window_end_ns: i64,
    /// The grade, A to F.
    pub grade: String,
    /// Events that came.
    pub events: u64,
    /// Those of each stream.
    pub events_by_stream: BTreeMap<String, u64>,
    /// Frames that came.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Holes in the exchange's numbers.
    pub gaps: u64,
    /// Events that are missing in them.
    pub missing: u64,
    /// Events that came again.
    pub duplicates: u64,
    /// Events that came late.
    pub late: u64,
    /// Connections that were made anew.
    pub reconnects: u64,
    /// Seconds without a connection: from the last sign of life, not from when the loss was
    /// noticed.
    pub offline_seconds: f64,
    /// Which these are, where it is told: from when to when, in nanoseconds since 1970 UTC, in
    /// order, and apart. What several connections or processes tell of one time counts once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub offline_ns: Vec<(i64, i64)>,
    /// Seconds in which a series was not well while its connection was there, by `stream/symbol`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub series_offline_seconds: BTreeMap<String, f64>,
    /// Events of a series that are missing or had no room, by `stream/symbol`. Where these are all
    /// that were lost, the losses of one series are not another's; windows of earlier versions do
    /// not tell them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub series_lost: BTreeMap<String, u64>,
    /// Events that had the number of another one and other content; both were kept.
    pub conflicts: u64,
    /// Frames that could not be decoded.
    pub rejected: u64,
    /// Events that there was no room for.
    pub dropped: u64,
    /// The class of lag in which half of the events are.
    pub lag_ms_p50: Option<i64>,
    /// Likewise for 99 of 100.
    pub lag_ms_p99: Option<i64>,
    /// How late events were.
    pub lags: Lags,
}

impl Tally {
    /// Adds what was counted of the same window by another process.
    pub(crate) fn join(&mut self, other: &Self) {
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
        self.offline_seconds += other.untold_seconds();
        for (from, to) in &other.offline_ns {
            self.away(*from, *to);
        }
        for (series, seconds) in &other.series_offline_seconds {
            *self
                .series_offline_seconds
                .entry(series.clone())
                .or_default() += seconds;
        }
        for (series, lost) in &other.series_lost {
            *self.series_lost.entry(series.clone()).or_default() += lost;
        }
        self.conflicts += other.conflicts;
        self.rejected += other.rejected;
        self.dropped += other.dropped;
        self.lags.join(&other.lags);
    }

    /// Notes a time without a connection.
    pub(crate) fn away(&mut self, from: i64, to: i64) {
        let untold = self.untold_seconds();
        unite(&mut self.offline_ns, from, to);
        self.offline_seconds = untold + told_seconds(&self.offline_ns);
    }

    /// Seconds without a connection of which it is not told when they were, as earlier versions
    /// have them.
    fn untold_seconds(&self) -> f64 {
        let untold = self.offline_seconds - told_seconds(&self.offline_ns);
        // They are rounded when they are written.
        if untold < 0.001 { 0.0 } else { untold }
    }

    /// The grade of what was counted.
    #[must_use]
    pub fn grade(&self) -> &'static str {
        let by_series = if self
            .series_offline_seconds
            .values()
            .any(|seconds| *seconds >= SHORT)
        {
            "C"
        } else {
            "A"
        };
        by_absence(self.offline_seconds)
            .max(self.by_loss())
            .max(by_series)
    }

    /// The grade for one series, which the others' troubles do not touch.
    #[must_use]
    pub fn grade_of(&self, stream: &str, symbol: &str) -> &'static str {
        by_absence(self.offline_of(stream, symbol))
            .max(self.by_loss_of(self.lost_of(stream, symbol)))
    }

    /// Seconds without one series: without its connection, or not well though that was there.
    #[must_use]
    pub fn offline_of(&self, stream: &str, symbol: &str) -> f64 {
        let own = self
            .series_offline_seconds
            .get(&format!("{stream}/{symbol}"))
            .copied()
            .unwrap_or(0.0);
        self.offline_seconds.max(own)
    }

    /// Events of one series that are missing or had no room; those of all where it is not told
    /// whose they were.
    #[must_use]
    pub fn lost_of(&self, stream: &str, symbol: &str) -> u64 {
        let all = self.missing + self.dropped;
        if self.series_lost.values().sum::<u64>() == all {
            self.series_lost
                .get(&format!("{stream}/{symbol}"))
                .copied()
                .unwrap_or(0)
        } else {
            all
        }
    }

    /// The grade for one series as it was written, unless only others' troubles made it as bad as
    /// it is.
    #[must_use]
    pub fn graded(&self, stream: &str, symbol: &str) -> &str {
        if self.series_offline_seconds.is_empty() && self.series_lost.is_empty() {
            return &self.grade;
        }
        self.grade_of(stream, symbol)
    }

    fn by_loss(&self) -> &'static str {
        self.by_loss_of(self.missing + self.dropped)
    }

    fn by_loss_of(&self, lost: u64) -> &'static str {
        match self {
            Self { events: 0, .. } => "F",
            _ if lost > 0 => "C",
            _ if self.rejected > 0 => "B",
            _ => "A",
        }
    }
}

/// Seconds of these times, to the millisecond.
fn told_seconds(times: &[(i64, i64)]) -> f64 {
    let ns: i64 = times.iter().map(|(from, to)| to - from).sum();
    #[expect(
        clippy::cast_precision_loss,
        reason = "less than an hour of milliseconds"
    )]
    let ms = (ns / 1_000_000) as f64;
    ms / 1000.0
}

/// Adds a time to others, which stay in order and apart.
fn unite(times: &mut Vec<(i64, i64)>, from: i64, to: i64) {
    if from >= to {
        return;
    }
    // Those that touch it.
    let first = times.partition_point(|(_, end)| *end < from);
    let last = times.partition_point(|(begin, _)| *begin <= to);
    let touched = times.get(first..last).unwrap_or_default();
    let from = touched.first().map_or(from, |(begin, _)| from.min(*begin));
    let to = touched.last().map_or(to, |(_, end)| to.max(*end));
    drop(times.splice(first..last, [(from, to)]));
}

/// So many seconds are a short absence.
const SHORT: f64 = 5.0;

fn by_absence(seconds: f64) -> &'static str {
    match seconds {
        s if s <= 0.0 => "A",
        s if s < SHORT => "B",
        s if s < 60.0 => "C",
        s if s < 300.0 => "D",
        _ => "F",
    }
}

/// The key of the window that begins at `start_ns`; `None` outside the supported years.
#[must_use]
pub fn key(start_ns: i64) -> Option<String> {
    let date = Date::of_ns(start_ns)?;
    let minutes = (start_ns - date.start_ns()) / 60_000_000_000;
    Some(format!(
        "{}/window={:02}{:02}.json",
        day_dir(date),
        minutes / 60,
        minutes % 60
    ))
}

/// The folder of a day's windows.
#[must_use]
pub fn day_dir(date: Date) -> String {
    format!("{DIR}/date={date}")
}

/// The lines of a window; one that cannot be read is left out, for the others tell of other
/// exchanges.
#[must_use]
pub fn from_lines(bytes: &[u8]) -> Vec<Tally> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_connection_counts_once_whoever_tells_it() {
        const S: i64 = 1_000_000_000;
        let mut tally = Tally::default();
        for (from, to) in [
            (10, 20),
            (30, 40),
            (15, 18),
            (40, 45),
            (5, 10),
            (50, 50),
            (9, 3),
        ] {
            tally.away(from * S, to * S);
        }
        assert_eq!(
            (tally.offline_seconds, &tally.offline_ns[..]),
            (30.0, &[(5 * S, 20 * S), (30 * S, 45 * S)][..])
        );
        // As an earlier version wrote it, and as another process of this one did.
        let mut all = Tally {
            offline_seconds: 7.0,
            ..Tally::default()
        };
        all.join(&tally);
        all.join(&tally);
        let other = Tally {
            offline_ns: vec![(19 * S, 31 * S)],
            offline_seconds: 12.0,
            ..Tally::default()
        };
        all.join(&other);
        assert_eq!(
            (all.offline_seconds, &all.offline_ns[..]),
            (47.0, &[(5 * S, 45 * S)][..])
        );
        let text = serde_json::to_string(&all).unwrap();
        assert!(
            text.contains(r#""offline_ns":[[5000000000,45000000000]]"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Tally>(&text).unwrap(), all);
    }

    #[test]
    fn grades() {
        let good = Tally {
            events: 10,
            ..Tally::default()
        };
        let check = |tally: Tally, grade: &str| assert_eq!(tally.grade(), grade, "{tally:?}");
        check(good.clone(), "A");
        check(
            Tally {
                rejected: 1,
                ..good.clone()
            },
            "B",
        );
        check(
            Tally {
                offline_seconds: 0.5,
                ..good.clone()
            },
            "B",
        );
        check(
            Tally {
                missing: 1,
                ..good.clone()
            },
            "C",
        );
        check(
            Tally {
                offline_seconds: 100.0,
                missing: 1,
                ..good.clone()
            },
            "D",
        );
        let series = |seconds| BTreeMap::from([("bbo/btcusdt".to_owned(), seconds)]);
        check(
            Tally {
                series_offline_seconds: series(1.0),
                ..good.clone()
            },
            "A",
        );
        let silent = Tally {
            series_offline_seconds: series(900.0),
            ..good
        };
        check(silent.clone(), "C");
        assert_eq!(
            (
                silent.grade_of("bbo", "btcusdt"),
                silent.grade_of("bbo", "ethusdt")
            ),
            ("F", "A")
        );
        let lossy = Tally {
            missing: 3,
            dropped: 1,
            series_lost: BTreeMap::from([("trade/btcusdt".to_owned(), 4)]),
            grade: "C".to_owned(),
            ..Tally {
                events: 10,
                ..Tally::default()
            }
        };
        assert_eq!(
            (
                lossy.graded("trade", "btcusdt"),
                lossy.graded("bbo", "btcusdt")
            ),
            ("C", "A")
        );
        let untold = Tally {
            series_lost: BTreeMap::new(),
            ..lossy
        };
        assert_eq!(
            (
                untold.graded("bbo", "btcusdt"),
                untold.grade_of("bbo", "btcusdt")
            ),
            ("C", "C")
        );
        check(Tally::default(), "F");
    }
}
