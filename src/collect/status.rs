//! What a collector reports of itself: plain values for the page, the metrics, the terminal and the
//! watchdog. The writer fills them in.

use std::time::Instant;

use serde::Serialize;

pub use super::health::SeriesState;
pub use crate::model::quality::{LAG_MS, Lags};

/// A collector at an instant.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    /// When it began, in nanoseconds since 1970 UTC.
    pub started_ns: i64,
    /// When this was written, likewise.
    pub now_ns: i64,
    /// The same by a clock that never jumps.
    #[serde(skip)]
    pub told: Option<Instant>,
    /// Whether every connection is live, every series is well and the disk takes what it is given.
    pub healthy: bool,
    /// Why not.
    pub troubles: Vec<String>,
    /// Events taken.
    pub events: u64,
    /// Frames read.
    pub frames: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Frames that could not be decoded.
    pub rejected: u64,
    /// Events a second, of late.
    pub rate: f64,
    /// Groups of events waiting for the writer.
    pub queue: usize,
    /// Bytes of rows that are not sealed yet.
    pub memory_bytes: u64,
    /// How many there may be.
    pub memory_limit: u64,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// The age of the oldest event that is not acknowledged yet, in milliseconds.
    pub journal_age_ms: i64,
    /// Spool files sealed.
    pub files_sealed: u64,
    /// Spool files that are being sealed or wait for it.
    pub files_waiting: usize,
    /// Bytes that are free on the disk of the spool.
    pub disk_free: u64,
    /// The connections.
    pub lines: Vec<LineStatus>,
    /// How many series are in which state.
    pub series: SeriesCount,
    /// The series.
    pub feeds: Vec<FeedStatus>,
}

/// How many series are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SeriesCount {
    /// No connection asks for them at the moment.
    pub wanted: u64,
    /// Asked for, and not answered.
    pub asked: u64,
    /// Acknowledged, and nothing came yet.
    pub acknowledged: u64,
    /// Their events come.
    pub receiving: u64,
    /// Quiet for longer than is usual.
    pub quiet: u64,
    /// Refused; they are asked for again.
    pub refused: u64,
    /// Not listed any more.
    pub ended: u64,
}

impl SeriesCount {
    /// Those in a state.
    #[must_use]
    pub fn of(&self, state: SeriesState) -> u64 {
        match state {
            SeriesState::Wanted => self.wanted,
            SeriesState::Asked => self.asked,
            SeriesState::Acknowledged => self.acknowledged,
            SeriesState::Receiving => self.receiving,
            SeriesState::Quiet => self.quiet,
            SeriesState::Refused => self.refused,
            SeriesState::Ended => self.ended,
        }
    }

    /// Counts one.
    pub(crate) fn add(&mut self, state: SeriesState) {
        *match state {
            SeriesState::Wanted => &mut self.wanted,
            SeriesState::Asked => &mut self.asked,
            SeriesState::Acknowledged => &mut self.acknowledged,
            SeriesState::Receiving => &mut self.receiving,
            SeriesState::Quiet => &mut self.quiet,
            SeriesState::Refused => &mut self.refused,
            SeriesState::Ended => &mut self.ended,
        } += 1;
    }
}

/// A connection at an instant.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LineStatus {
    /// Its name, such as `binance.public/0`.
    pub name: String,
    /// The exchange.
    pub exchange: &'static str,
    /// `connecting`, `live` or `waiting`; `refused` when it is connected and all its topics are
    /// refused, `ended` when all its series have ended.
    pub state: &'static str,
    /// Why nothing comes by it, where something should.
    pub trouble: Option<String>,
    /// Times that it was lost.
    pub reconnects: u64,
    /// Why it was lost the last time.
    pub last_trouble: Option<String>,
    /// When something came last, in nanoseconds since 1970 UTC.
    pub last_recv_ns: i64,
    /// Lags of its events since the start.
    pub lags: Lags,
}

/// A series at an instant.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FeedStatus {
    /// The exchange.
    pub exchange: &'static str,
    /// The stream.
    pub stream: &'static str,
    /// The symbol.
    pub symbol: String,
    /// What has become of it.
    pub state: SeriesState,
    /// What is wrong with it, where something is.
    pub trouble: Option<String>,
    /// Why it has ended, if it has.
    pub ended: Option<String>,
    /// Events taken.
    pub events: u64,
    /// Events a second, of late.
    pub rate: f64,
    /// How late the last event was, in milliseconds.
    pub lag_ms: f64,
    /// When its last event was read, in nanoseconds since 1970 UTC; 0 when there was none yet.
    pub last_recv_ns: i64,
    /// Holes in the exchange's numbers.
    pub gaps: u64,
    /// Events that are missing in them.
    pub missing: u64,
    /// When the last hole was found.
    pub last_gap_ns: i64,
    /// Events that came again and were dropped.
    pub duplicates: u64,
    /// Events that came late and were kept.
    pub late: u64,
    /// Events that had the number of another one and other content; both were kept.
    pub conflicts: u64,
    /// Events that had no room.
    pub dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lags_are_classed_by_their_upper_ends() {
        let mut lags = Lags::default();
        for ms in [-5, 0, 1, 3, 5, 6, 9_000] {
            lags.add(ms * 1_000_000);
        }
        assert_eq!(lags.counts[..4], [3, 0, 2, 1]);
        assert_eq!(
            (lags.total(), lags.quantile_ms(500), lags.quantile_ms(990)),
            (7, Some(5), None)
        );
        assert_eq!(Lags::default().quantile_ms(500), None);
    }
}
