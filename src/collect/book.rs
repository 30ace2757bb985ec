//! The book of a series: its open file, the numbers it has given, what it has counted.
//!
//! A file is named by the second in which it was opened. Where that second has a name already (a restart, a clock that
//! went back), the number of the first row is added to it: no name is ever given twice.

use std::{collections::VecDeque, ops::Range, path::Path, time::Duration};

use arrow::array::RecordBatch;
use chrono::DateTime;

use super::{journal::Memory, options::Options, rows::Rows, status::FeedStatus, thread::Thread};
use crate::{
    error::Result,
    feed::{event::Event, venue::Wanted},
    model::{date::Date, layout},
    storage::store::Store,
};

/// Beyond this distance between the exchange's clock and ours, a file belongs to the day of its events, not to ours: a
/// recording is being played, or one of the clocks is wrong.
const FAR_NS: i64 = 12 * 3_600_000_000_000;

/// So many rows go to the journal at a time: while the disk refuses, an attempt must not take as much memory as the rows.
const PIECE: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) wanted: Wanted,
    pub(crate) thread: Thread,
    /// Without the thread's mark, which is put in when it is asked for.
    pub(crate) memory: Memory,
    pub(crate) status: FeedStatus,
    /// Events that had no room and are not in the feed log yet.
    pub(crate) dropped: Option<Dropped>,
    open: Option<Open>,
    measured: u64,
}

/// Events that had no room, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) events: u64,
    /// When the first of them was read.
    pub(crate) from_ns: i64,
    /// When the last of them was read.
    pub(crate) to_ns: i64,
}

/// Rows on their way to the journal.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    /// The file that they will stand in.
    pub(crate) key: &'a str,
    pub(crate) rows: Range<usize>,
    /// What must not be forgotten once they are there.
    pub(crate) memory: Memory,
    pub(crate) batch: Result<RecordBatch>,
}

#[derive(Debug)]
struct Open {
    key: String,
    home: Option<Date>,
    /// When the first row was read.
    since: i64,
    rows: Rows,
    /// Rows that are in the journal.
    committed: usize,
    /// What was remembered after so many rows, where more than [`PIECE`] wait for the journal.
    marks: VecDeque<(usize, Memory)>,
}

impl Book {
    pub(crate) fn new(wanted: Wanted, memory: Memory) -> Self {
        let status = FeedStatus {
            exchange: wanted.venue.name(),
            stream: wanted.kind.name(),
            symbol: wanted.series.symbol.to_string(),
            ..FeedStatus::default()
        };
        Self {
            thread: Thread::new(memory.thread.clone()),
            wanted,
            memory,
            status,
            dropped: None,
            open: None,
            measured: 0,
        }
    }

    /// What must not be forgotten.
    pub(crate) fn remembered(&self) -> Memory {
        Memory { thread: self.thread.mark().clone(), ..self.memory.clone() }
    }

    pub(crate) fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.rows.held())
    }

    /// Bytes that another event will take.
    pub(crate) fn growth(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.rows.growth())
    }

    /// Whether the open file must be ended before `event`: it is of a later day, or far from the day of the file.
    pub(crate) fn must_rotate(&self, event: &Event, options: &Options) -> bool {
        let Some(open) = &self.open else { return false };
        let full = open.rows.bytes() as u64 >= options.rotate_bytes;
        let moved = match (open.home, Date::of_ns(stamp(event))) {
            (Some(home), Some(day)) => day > home || home.days_since(day) > 1,
            _ => false,
        };
        full || moved
    }

    /// Whether the open file is old enough to be ended, or the day is over.
    pub(crate) fn is_due(&self, now: i64, options: &Options) -> bool {
        let Some(open) = &self.open else { return false };
        let age = Duration::from_nanos(u64::try_from(now - open.since).unwrap_or(0));
        let midnight = Date::of_ns(open.since) < Date::of_ns(now);
        age >= options.rotate_after || midnight
    }

    /// Adds an event to the open file; a file is opened if there is none.
    pub(crate) fn push(&mut self, event: Event, spool: &Store) {
        let seq = event.ts_recv.max(self.memory.seq.saturating_add(1));
        if self.open.is_none() {
            let key =
                self.name(stamp(&event), seq, |key| spool.local_path(key).is_some_and(|path: _| Path::exists(&path)));
            let home = Date::of_ns(stamp(&event));
            let rows = Rows::new(self.wanted.kind);
            self.open = Some(Open { key, home, since: event.ts_recv, rows, committed: 0, marks: VecDeque::new() });
        }
        self.memory.seq = seq;
        self.memory.ts_recv = self.memory.ts_recv.max(event.ts_recv);
        self.status.events += 1;
        self.status.last_recv_ns = event.ts_recv;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds for a person")]
        let lag_ms = (event.ts_recv - event.ts_event) as f64 / 1e6;
        self.status.lag_ms = lag_ms;
        let Some(open) = &mut self.open else { return };
        open.rows.push(event, seq);
        let marked = open.marks.back().map_or(open.committed, |(rows, _)| *rows);
        if open.rows.len() - marked >= PIECE {
            let memory = Memory { thread: self.thread.mark().clone(), ..self.memory.clone() };
            open.marks.push_back((open.rows.len(), memory));
        }
    }

    /// Counts an event that has no room.
    pub(crate) fn drop_one(&mut self, at: i64) {
        self.status.dropped += 1;
        let dropped = self.dropped.get_or_insert(Dropped { events: 0, from_ns: at, to_ns: at });
        dropped.events += 1;
        dropped.to_ns = at;
    }

    fn name(&mut self, opened_ns: i64, seq: i64, taken: impl Fn(&str) -> bool) -> String {
        let second = opened_ns.div_euclid(1_000_000_000);
        let name = DateTime::from_timestamp_nanos(opened_ns).format("%Y-%m-%d_%H-%M-%S");
        let plain = format!("{}/{name}.parquet", layout::series_dir(&self.wanted.series));
        if second > self.memory.opened_s && !taken(&plain) {
            self.memory.opened_s = second;
            return plain;
        }
        format!("{}/{name}-{seq}.parquet", layout::series_dir(&self.wanted.series))
    }

    /// The first rows that are not in the journal yet.
    pub(crate) fn uncommitted(&self) -> Option<Piece<'_>> {
        let open = self.open.as_ref().filter(|open| open.rows.len() > open.committed)?;
        let (end, memory) = open.marks.front().cloned().unwrap_or_else(|| (open.rows.len(), self.remembered()));
        let rows = open.committed..end;
        Some(Piece { key: &open.key, rows: rows.clone(), memory, batch: open.rows.narrow(rows) })
    }

    /// Whether the open file has no rows behind `end`.
    pub(crate) fn is_whole(&self, end: usize) -> bool {
        self.open.as_ref().is_none_or(|open| open.rows.len() <= end)
    }

    /// Rows that are not in the journal yet.
    pub(crate) fn at_risk(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.rows.len() - open.committed)
    }

    /// Notes that the rows before `end` are in the journal.
    pub(crate) fn committed(&mut self, end: usize) {
        if let Some(open) = &mut self.open {
            open.committed = end;
            open.marks.retain(|(rows, _)| *rows > end);
        }
    }

    /// Ends the open file.
    pub(crate) fn freeze(&mut self) -> Option<(String, Rows)> {
        self.open.take().filter(|open| !open.rows.is_empty()).map(|open| (open.key, open.rows))
    }

    /// Takes the rate over the last `seconds`.
    pub(crate) fn measure(&mut self, seconds: f64) {
        let fresh = self.status.events - self.measured;
        self.measured = self.status.events;
        self.status.rate = smooth(self.status.rate, fresh, seconds);
    }
}

/// The instant whose day a file with this event belongs to.
fn stamp(event: &Event) -> i64 {
    if (event.ts_event - event.ts_recv).abs() > FAR_NS { event.ts_event } else { event.ts_recv }
}

/// A rate that follows within a few seconds.
pub(crate) fn smooth(rate: f64, fresh: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for a person")]
    let now = fresh as f64 / seconds;
    let weight = (seconds / 3.0).min(1.0);
    rate + (now - rate) * weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{
        event::Kind,
        venue::{Venue, choose},
    };

    #[test]
    fn no_name_is_given_twice() {
        let wanted = choose(&[Venue::Okx], &["btcusdt".parse().unwrap()], &[Kind::Bbo]).unwrap().series.remove(0);
        let mut book = Book::new(wanted.clone(), Memory::default());
        let at = 1_770_128_999_999_999_999;
        let dir = "exchange=okx/stream=bbo/symbol=btcusdt";
        assert_eq!(book.name(at, 7, |_| false), format!("{dir}/2026-02-03_14-29-59.parquet"));
        assert_eq!(book.name(at, 8, |_| false), format!("{dir}/2026-02-03_14-29-59-8.parquet"));
        assert_eq!(book.name(at - 5_000_000_000, 9, |_| false), format!("{dir}/2026-02-03_14-29-54-9.parquet"));
        assert_eq!(book.name(at + 1, 10, |_| true), format!("{dir}/2026-02-03_14-30-00-10.parquet"));
        let mut later = Book::new(wanted, book.remembered());
        assert_eq!(later.name(at, 11, |_| false), format!("{dir}/2026-02-03_14-29-59-11.parquet"));
        let placed = layout::Placed::in_spool(&later.name(at, 12, |_| false)).unwrap().unwrap();
        assert!(layout::is_input(&placed.file) && placed.home().unwrap().to_string() == "20260203");
    }
}
