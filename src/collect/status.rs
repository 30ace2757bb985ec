//! What a collector says of itself: plain values for the page, the metrics, the terminal and the watchdog.
//!
//! Refuses to measure anything: the writer fills it in.

use serde::Serialize;

/// The upper ends of the classes of lag, in milliseconds; a last class holds what is longer.
pub const LAG_MS: [i64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

/// How often events were how late.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
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

    /// The end of the class in which the given share (in thousandths) of all events lies; `None` without events, or where
    /// it is beyond the last class.
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

/// A collector at an instant.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    /// When it began, in nanoseconds since 1970 UTC.
    pub started_ns: i64,
    /// When this was written, likewise.
    pub now_ns: i64,
    /// Whether every connection is live and the disk takes what it is given.
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
    /// The series.
    pub feeds: Vec<FeedStatus>,
}

/// A connection at an instant.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LineStatus {
    /// Its name, such as `binance.public/0`.
    pub name: String,
    /// The exchange.
    pub exchange: &'static str,
    /// `connecting`, `live` or `waiting`.
    pub state: &'static str,
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
        assert_eq!((lags.total(), lags.quantile_ms(500), lags.quantile_ms(990)), (7, Some(5), None));
        assert_eq!(Lags::default().quantile_ms(500), None);
    }
}
