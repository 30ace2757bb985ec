//! The writer of a series: its open file, the numbers it has given, its counters.
//!
//! A file is named by the second in which it was opened. If that second has a name already (a
//! restart, a clock that went back), the time of receipt of its first row is added to it, or the
//! next one that no name has: no name is given twice.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    path::Path,
    time::Duration,
};

use chrono::DateTime;

use super::{
    options::Options,
    rows::Rows,
    status::FeedStatus,
    tracker::SequenceTracker,
    wal::{Checkpoint, FileHead, Tracked},
};
use crate::{
    feed::{event::Event, venue::Wanted},
    model::{date::Date, layout},
    storage::store::Store,
};

/// Beyond this distance between the exchange's clock and ours, a file belongs to the day of its
/// events, not to ours: a recording is being played, or one of the clocks is wrong.
const FAR_NS: i64 = 12 * 3_600_000_000_000;

/// A file whose rows take so many bytes is that of a busy series.
const BUSY: usize = 2 << 20;

/// So many rows go to the log at a time: while the disk refuses, an attempt must not take as much
/// memory as the rows.
const PIECE: usize = 65_536;

#[derive(Debug)]
pub(crate) struct SeriesWriter {
    pub(crate) wanted: Wanted,
    /// `stream/symbol`.
    pub(crate) name: String,
    pub(crate) tracker: SequenceTracker,
    /// Without the tracker's mark, which is put in when it is asked for.
    known: Checkpoint,
    pub(crate) status: FeedStatus,
    /// Events that had no room and are not in the feed log yet.
    pub(crate) dropped: Option<Dropped>,
    open: Option<Open>,
    /// No file of this process has ended yet.
    is_first: bool,
    /// How much of the usual age the first file reaches: between a half and the whole, in 256ths.
    share: u32,
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

/// Rows on their way to the log.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    /// The file that they will stand in.
    pub(crate) head: &'a FileHead,
    pub(crate) rows: &'a Rows,
    pub(crate) range: Range<usize>,
    /// What the tracker knows once they are there.
    pub(crate) tracked: Tracked,
}

#[derive(Debug)]
struct Open {
    head: FileHead,
    home: Option<Date>,
    /// When the first row was read.
    since: i64,
    rows: Rows,
    /// Rows that are in the log.
    committed: usize,
    /// What was known after so many rows, where more than [`PIECE`] wait for the log.
    marks: VecDeque<(usize, Tracked)>,
}

impl SeriesWriter {
    pub(crate) fn new(wanted: Wanted, known: Checkpoint) -> Self {
        let status = FeedStatus {
            exchange: wanted.venue.name(),
            stream: wanted.kind.name(),
            symbol: wanted.series.symbol.to_string(),
            ..FeedStatus::default()
        };
        let mut hash = DefaultHasher::new();
        wanted.series.hash(&mut hash);
        let [byte, ..] = hash.finish().to_le_bytes();
        let share = 129 + u32::from(byte) / 2;
        Self {
            tracker: SequenceTracker::new(known.mark.clone()),
            name: format!("{}/{}", wanted.series.stream, wanted.series.symbol),
            wanted,
            known,
            status,
            dropped: None,
            open: None,
            is_first: true,
            share,
            measured: 0,
        }
    }

    /// What must survive a restart.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            mark: self.tracker.mark(),
            ..self.known.clone()
        }
    }

    /// When its last frame was read, by this process or an earlier one.
    pub(crate) fn known_recv(&self) -> i64 {
        self.known.ts_recv
    }

    /// Up to when the time without it is on record, by an earlier process.
    pub(crate) fn known_told(&self) -> i64 {
        self.known.told_ns
    }

    /// Notes that the time without it is on record up to `ns`.
    pub(crate) fn told(&mut self, ns: i64) {
        self.known.told_ns = ns;
    }

    fn tracked(&self) -> Tracked {
        let (last, last_ts, holes) = self.tracker.heads();
        Tracked {
            last,
            last_ts,
            holes: holes.to_vec(),
        }
    }

    pub(crate) fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.rows.held())
    }

    /// Bytes that another event will take.
    pub(crate) fn growth(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.rows.growth())
    }

    /// Whether the open file must be ended before `event`: it is of a later day, or far from the
    /// day of the file.
    pub(crate) fn must_rotate(&self, event: &Event, options: &Options) -> bool {
        let Some(open) = &self.open else { return false };
        let full = open.rows.bytes() as u64 >= options.rotate_bytes;
        // Usually of the same day.
        if !full
            && open
                .home
                .is_some_and(|home| (home.start_ns()..home.end_ns()).contains(&stamp(event)))
        {
            return false;
        }
        let moved = match (open.home, Date::of_ns(stamp(event))) {
            (Some(home), Some(day)) => day > home || home.days_since(day) > 1,
            _ => false,
        };
        full || moved
    }

    /// Whether the open file is old enough to be ended, or the day is over. One with few rows may
    /// become `quiet_after` old. The first file of a series ends somewhat earlier, by its name: so
    /// the files of many series do not all end at once.
    pub(crate) fn is_due(&self, now: i64, rotate_after: Duration, quiet_after: Duration) -> bool {
        let Some(open) = &self.open else { return false };
        let age = Duration::from_nanos(u64::try_from(now - open.since).unwrap_or(0));
        let midnight = Date::of_ns(open.since) < Date::of_ns(now);
        let limit = if open.rows.bytes() >= BUSY {
            rotate_after
        } else {
            quiet_after.max(rotate_after)
        };
        let limit = if self.is_first {
            limit * self.share / 256
        } else {
            limit
        };
        age >= limit || midnight
    }

    /// Whether a file is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Adds an event to the open file; one is opened under the number `id` if there is none.
    /// Returns the bytes of memory that were taken for it.
    pub(crate) fn push(&mut self, event: &Event, spool: &Store, id: u64) -> usize {
        if self.open.is_none() {
            let taken = |key: &str| {
                spool
                    .local_path(key)
                    .is_some_and(|path: _| Path::exists(&path))
            };
            let key = self.name(stamp(event), event.ts_recv, taken);
            let home = Date::of_ns(stamp(event));
            let Wanted {
                series,
                kind,
                symbol,
                ..
            } = &self.wanted;
            let (series, symbol, opened_s) = (series.clone(), symbol.clone(), self.known.opened_s);
            let head = FileHead {
                id,
                series,
                kind: *kind,
                symbol,
                key,
                opened_s,
            };
            let rows = Rows::new(self.wanted.kind);
            self.open = Some(Open {
                head,
                home,
                since: event.ts_recv,
                rows,
                committed: 0,
                marks: VecDeque::new(),
            });
        }
        self.known.ts_recv = self.known.ts_recv.max(event.ts_recv);
        self.status.events += 1;
        self.status.last_recv_ns = event.ts_recv;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds for a person")]
        let lag_ms = (event.ts_recv - event.ts_event) as f64 / 1e6;
        self.status.lag_ms = lag_ms;
        let Some(open) = &mut self.open else { return 0 };
        // Of most events it is nothing; of the others what there was before is asked for.
        let before = if open.rows.may_grow() {
            Some(open.rows.held())
        } else {
            None
        };
        open.rows.push(event, self.tracker.sub_seq());
        let grown = before.map_or(0, |before| open.rows.held() - before);
        let marked = open.marks.back().map_or(open.committed, |(rows, _)| *rows);
        let whole = open.rows.len();
        if whole - marked >= PIECE {
            let tracked = self.tracked();
            if let Some(open) = &mut self.open {
                open.marks.push_back((whole, tracked));
            }
        }
        grown
    }

    /// Counts an event that has no room.
    pub(crate) fn drop_one(&mut self, at: i64) {
        self.status.dropped += 1;
        let dropped = self.dropped.get_or_insert(Dropped {
            events: 0,
            from_ns: at,
            to_ns: at,
        });
        dropped.events += 1;
        dropped.to_ns = at;
    }

    fn name(&mut self, opened_ns: i64, ts_recv: i64, taken: impl Fn(&str) -> bool) -> String {
        let second = opened_ns.div_euclid(1_000_000_000);
        let name = DateTime::from_timestamp_nanos(opened_ns).format("%Y-%m-%d_%H-%M-%S");
        let plain = format!("{}/{name}.parquet", layout::series_dir(&self.wanted.series));
        if second > self.known.opened_s && !taken(&plain) {
            self.known.opened_s = second;
            return plain;
        }
        self.known.ts_recv = ts_recv.max(self.known.ts_recv.saturating_add(1));
        format!(
            "{}/{name}-{}.parquet",
            layout::series_dir(&self.wanted.series),
            self.known.ts_recv
        )
    }

    /// The first rows that are not in the log yet.
    pub(crate) fn uncommitted(&self) -> Option<Piece<'_>> {
        let open = self
            .open
            .as_ref()
            .filter(|open| open.rows.len() > open.committed)?;
        let (end, tracked) = open
            .marks
            .front()
            .cloned()
            .unwrap_or_else(|| (open.rows.len(), self.tracked()));
        Some(Piece {
            head: &open.head,
            rows: &open.rows,
            range: open.committed..end,
            tracked,
        })
    }

    /// The rows of the open file that are in the log.
    pub(crate) fn carried(&self) -> Option<Piece<'_>> {
        let open = self
            .open
            .as_ref()
            .filter(|open| open.committed > 0 && open.committed == open.rows.len())?;
        Some(Piece {
            head: &open.head,
            rows: &open.rows,
            range: 0..open.committed,
            tracked: self.tracked(),
        })
    }

    /// Whether the open file has no rows behind `end`.
    pub(crate) fn is_whole(&self, end: usize) -> bool {
        self.open.as_ref().is_none_or(|open| open.rows.len() <= end)
    }

    /// Rows that are not in the log yet.
    pub(crate) fn at_risk(&self) -> usize {
        self.open
            .as_ref()
            .map_or(0, |open| open.rows.len() - open.committed)
    }

    /// Notes that the rows before `end` are in the log.
    pub(crate) fn committed(&mut self, end: usize) {
        if let Some(open) = &mut self.open {
            open.committed = end;
            open.marks.retain(|(rows, _)| *rows > end);
        }
    }

    /// Ends the open file.
    pub(crate) fn freeze(&mut self) -> Option<(String, Rows)> {
        self.is_first = false;
        self.open
            .take()
            .filter(|open| !open.rows.is_empty())
            .map(|open| (open.head.key, open.rows))
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
    if (event.ts_event - event.ts_recv).abs() > FAR_NS {
        event.ts_event
    } else {
        event.ts_recv
    }
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
    fn a_quiet_series_keeps_its_file_open_for_longer_and_never_past_its_day() {
        let wanted = choose(&[Venue::Okx], &["btcusdt".parse().unwrap()], &[Kind::Bbo])
            .unwrap()
            .series
            .remove(0);
        let dir = tempfile::tempdir().unwrap();
        let spool = Store::open(dir.path().to_str().unwrap()).unwrap();
        let noon = 1_770_120_000_000_000_000;
        let event = |ns: i64| {
            let body = crate::feed::event::Body::Bbo {
                bid_price: 1.0,
                bid_qty: 1.0,
                ask_price: 2.0,
                ask_qty: 1.0,
            };
            Event {
                series: 0,
                ts_event: ns,
                ts_recv: ns,
                id: crate::feed::event::Id::Time,
                number: 0,
                body,
            }
        };
        let minutes = |n: i64| n * 60_000_000_000;
        let mut writer = SeriesWriter::new(wanted, Checkpoint::default());
        writer.is_first = false;
        let due = |writer: &SeriesWriter, ns: i64| {
            writer.is_due(ns, Duration::from_mins(5), Duration::from_hours(2))
        };
        let _ = writer.push(&event(noon), &spool, 1);
        assert!(!due(&writer, noon + minutes(5)) && !due(&writer, noon + minutes(119)));
        assert!(due(&writer, noon + minutes(120)), "it is old enough");
        for n in 0..40_000 {
            let _ = writer.push(&event(noon + n), &spool, 1);
        }
        assert!(
            !due(&writer, noon + minutes(4)) && due(&writer, noon + minutes(5)),
            "it is busy"
        );
        let _ = writer.freeze();
        let late = Date::of_ns(noon).unwrap().succ().start_ns() - minutes(1);
        let _ = writer.push(&event(late), &spool, 2);
        assert!(
            !due(&writer, late + 1) && due(&writer, late + minutes(1)),
            "the day is over"
        );
    }

    #[test]
    fn no_name_is_given_twice() {
        let wanted = choose(&[Venue::Okx], &["btcusdt".parse().unwrap()], &[Kind::Bbo])
            .unwrap()
            .series
            .remove(0);
        let mut writer = SeriesWriter::new(wanted.clone(), Checkpoint::default());
        let at = 1_770_128_999_999_999_999;
        let dir = "exchange=okx/stream=bbo/symbol=btcusdt";
        assert_eq!(
            writer.name(at, 7, |_| false),
            format!("{dir}/2026-02-03_14-29-59.parquet")
        );
        assert_eq!(
            writer.name(at, 8, |_| false),
            format!("{dir}/2026-02-03_14-29-59-8.parquet")
        );
        assert_eq!(
            writer.name(at - 5_000_000_000, 9, |_| false),
            format!("{dir}/2026-02-03_14-29-54-9.parquet")
        );
        assert_eq!(
            writer.name(at + 1, 10, |_| true),
            format!("{dir}/2026-02-03_14-30-00-10.parquet")
        );
        let mut later = SeriesWriter::new(wanted, writer.checkpoint());
        assert_eq!(
            later.name(at, 11, |_| false),
            format!("{dir}/2026-02-03_14-29-59-11.parquet")
        );
        let placed = layout::Placed::in_spool(&later.name(at, 12, |_| false))
            .unwrap()
            .unwrap();
        assert!(layout::is_input(&placed.file) && placed.home().unwrap().to_string() == "20260203");
    }
}
