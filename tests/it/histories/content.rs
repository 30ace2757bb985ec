//! What the files of a history hold: few rows, no two of them alike, so that a row is known by its
//! values wherever it turns up.

use std::{fmt, sync::Arc};

use arrow::array::Int64Array;
use parquet::basic::Compression;

use crate::support::{
    damage,
    events::{Claim, DAY, Events, HOUR, Quote, SECOND},
};

/// As folders spell a symbol, and as the rows do.
pub const SYMBOLS: [(&str, &str); 2] = [("btcusdt", "BTCUSDT"), ("ethusdt", "ETHUSDT")];
/// The days of a history, all of them over: as folders spell them, and as file names do.
pub const DAYS: [(&str, &str); 3] = [
    ("20260202", "2026-02-02"),
    ("20260203", "2026-02-03"),
    ("20260204", "2026-02-04"),
];
/// No file has more rows.
pub const MOST_ROWS: u32 = 8;

/// A day's partition: the places of its symbol and its day in the tables above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    pub symbol: usize,
    pub day: usize,
}

impl Part {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SYMBOLS.len()).flat_map(|symbol| (0..DAYS.len()).map(move |day| Self { symbol, day }))
    }

    /// Its folder in the archive.
    pub fn dir(self) -> String {
        format!("{}/date={}", series(self.symbol), DAYS[self.day].0)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", SYMBOLS[self.symbol].0, DAYS[self.day].0)
    }
}

/// The collectors of a spool that has several: what stands before the folders of their series.
/// The first is that of a spool with one collector, which has no name; it may become the second.
pub const COLLECTORS: [&str; 3] = ["", "collector=a/", "collector=b/"];

/// The folder of a symbol's files.
pub fn series(symbol: usize) -> String {
    format!("exchange=binance/stream=bbo/symbol={}", SYMBOLS[symbol].0)
}

fn start(day: usize) -> i64 {
    DAY + (day as i64 - 1) * 24 * HOUR
}

/// A row, by the values that it is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub ts: i64,
    /// Its number among all rows of the history.
    pub id: u32,
    /// 0 as it was recorded first; others are what rot or a replacement made of it.
    pub mark: u8,
}

impl Row {
    fn quote(self) -> Quote {
        let (id, mark) = (f64::from(self.id), f64::from(self.mark));
        Quote {
            ts_event: self.ts,
            seq: i64::from(self.id),
            bid_price: id,
            bid_qty: 1.0 + mark,
            ask_price: id + 0.5,
            ask_qty: 2.0 + mark,
        }
    }

    /// The row that a quote is; `None` when its values belong to no row of any history.
    pub fn of(quote: &Quote) -> Option<Self> {
        let row = Self {
            ts: quote.ts_event,
            id: quote.bid_price as u32,
            mark: (quote.bid_qty - 1.0) as u8,
        };
        let same = Quote {
            seq: quote.seq,
            ..row.quote()
        } == *quote;
        same.then_some(row)
    }

    /// When it reached a collector: of two, each is the first to have every second row.
    pub fn arrival(self, collector: usize) -> i64 {
        let late = (i64::from(self.id) + i64::from(collector == 2)) % 2;
        self.ts + (2 + late) * SECOND / 1_000
    }

    /// The day that it is of.
    pub fn day(self) -> usize {
        usize::try_from((self.ts - start(0)).div_euclid(24 * HOUR)).unwrap()
    }
}

/// Which rows a file has, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spec {
    /// Tells its rows from those of all other files, but for one that another collector has of
    /// them.
    pub id: u32,
    /// Whose it is, by its place in [`COLLECTORS`].
    pub collector: usize,
    pub symbol: usize,
    pub day: usize,
    /// How many events there were, and which of them the file has: the first one, and how many.
    pub events: u32,
    pub from: u32,
    pub rows: u32,
    /// Whether the second half of the events is of the next day.
    pub midnight: bool,
    /// Whether it has the column `seq`.
    pub seq: bool,
    /// Rows in each row group.
    pub per_group: u32,
    /// Whether its footer claims the hash of its rows.
    pub hashed: bool,
}

impl Spec {
    fn row(&self, n: u32) -> (i64, u32) {
        let id = self.id * MOST_ROWS + n;
        let ts = if self.midnight {
            start(self.day + 1) + (i64::from(n) - i64::from(self.events / 2)) * SECOND
        } else {
            // Files overlap, and some of their rows are of one instant.
            start(self.day) + i64::from(10 * n + self.id % 5) * SECOND
        };
        (ts, id)
    }

    pub fn groups(&self) -> u32 {
        self.rows.div_ceil(self.per_group)
    }
}

/// What is wrong with the bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    None,
    /// One row group does not read.
    Group(u32),
    /// The footer claims a length beyond the file.
    Footer,
    /// Its second half is missing.
    Cut,
    /// The rows read, and are not those that the footer's hash is of.
    Values,
}

/// The content of a file: its bytes follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    pub spec: Spec,
    /// The mark of its rows.
    pub mark: u8,
    pub harm: Harm,
}

impl Content {
    pub fn good(spec: Spec) -> Self {
        Self {
            spec,
            mark: 0,
            harm: Harm::None,
        }
    }

    /// The same rows with other values, in a file of the same size.
    pub fn other_values(self, mark: u8) -> Self {
        Self {
            mark,
            harm: Harm::None,
            ..self
        }
    }

    /// What rot makes of its values: where the footer has a hash, this gives it away.
    pub fn rotten_values(self, mark: u8) -> Self {
        let harm = if self.spec.hashed {
            Harm::Values
        } else {
            Harm::None
        };
        Self { mark, harm, ..self }
    }

    pub fn harmed(self, harm: Harm) -> Self {
        Self { harm, ..self }
    }

    fn all(&self) -> impl Iterator<Item = Row> + '_ {
        (0..self.spec.rows).map(|n| {
            let (ts, id) = self.spec.row(self.spec.from + n);
            Row {
                ts,
                id,
                mark: self.mark,
            }
        })
    }

    /// Whether the file reads to its end and says nothing false.
    pub fn is_good(&self) -> bool {
        self.harm == Harm::None
    }

    /// The rows that a compaction must take in: all of a good file, none of a bad one.
    pub fn rows(&self) -> Vec<Row> {
        if self.is_good() {
            self.all().collect()
        } else {
            Vec::new()
        }
    }

    /// The rows that a compaction may take in: those of whole row groups that read as well.
    pub fn readable(&self) -> Vec<Row> {
        match self.harm {
            Harm::None => self.all().collect(),
            Harm::Group(bad) => self
                .all()
                .zip(0..)
                .filter(|(_, n)| n / self.spec.per_group != bad)
                .map(|(r, _)| r)
                .collect(),
            Harm::Footer | Harm::Cut | Harm::Values => Vec::new(),
        }
    }

    /// The partitions that its rows belong to, were all of them to be read.
    pub fn parts(&self) -> Vec<Part> {
        let mut days: Vec<usize> = self.all().map(Row::day).collect();
        days.dedup();
        days.into_iter()
            .map(|day| Part {
                symbol: self.spec.symbol,
                day,
            })
            .collect()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let spec = &self.spec;
        let rows: Vec<Row> = self.all().collect();
        let events = recorded(spec.symbol, spec.collector, &rows);
        let events =
            events
                .rows_per_group(spec.per_group as usize)
                .hash(match (spec.hashed, self.harm) {
                    (_, Harm::Values) => Claim::False,
                    (true, _) => Claim::True,
                    (false, _) => Claim::None,
                });
        let events = if spec.seq {
            events
        } else {
            events.without_seq().declared(&["ts_event"])
        };
        let mut bytes = events.bytes();
        match self.harm {
            Harm::None | Harm::Values => {}
            Harm::Group(nth) => damage::scramble_page_header(&mut bytes, "bid_qty", nth as usize),
            Harm::Footer => damage::overlong_footer(&mut bytes),
            Harm::Cut => bytes.truncate(bytes.len() / 2),
        }
        bytes
    }
}

/// A file of these rows, whose size does not depend on their values.
pub fn file(symbol: usize, rows: &[Row]) -> Events {
    let rows = rows.iter().map(|row| row.quote()).collect();
    let events = Events::sealed(rows).series("binance", "bbo", SYMBOLS[symbol].1);
    events
        .compressed(Compression::UNCOMPRESSED)
        .without_dictionaries()
}

/// One whose rows reached a collector when they did.
pub fn recorded(symbol: usize, collector: usize, rows: &[Row]) -> Events {
    let arrivals: Vec<i64> = rows.iter().map(|row| row.arrival(collector)).collect();
    file(symbol, rows).replace("ts_recv", Arc::new(Int64Array::from(arrivals)))
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spec {
            id,
            collector,
            symbol,
            day,
            events,
            from,
            rows,
            midnight,
            seq,
            per_group,
            hashed,
        } = self.spec;
        write!(f, "#{id}: {rows} rows of {}", Part { symbol, day })?;
        if rows < events {
            write!(f, ", from {from} on of {events} that there were")?;
        }
        if collector > 0 {
            write!(f, ", by {}", COLLECTORS[collector].trim_end_matches('/'))?;
        }
        if midnight {
            f.write_str(" and the next day")?;
        }
        if self.spec.groups() > 1 {
            write!(f, ", {per_group} a row group")?;
        }
        f.write_str(if seq { "" } else { ", no seq" })?;
        f.write_str(if hashed { "" } else { ", no hash" })?;
        if self.mark > 0 {
            write!(f, ", other values (mark {})", self.mark)?;
        }
        match self.harm {
            Harm::None => Ok(()),
            Harm::Group(nth) => write!(f, ", row group {nth} BROKEN"),
            Harm::Footer => f.write_str(", footer BROKEN"),
            Harm::Cut => f.write_str(", CUT in half"),
            Harm::Values => f.write_str(", hash of OTHER values"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::archive::{decode, quotes_of};

    fn spec() -> Spec {
        Spec {
            id: 3,
            collector: 0,
            symbol: 1,
            day: 0,
            events: 5,
            from: 0,
            rows: 5,
            midnight: true,
            seq: true,
            per_group: 2,
            hashed: true,
        }
    }

    #[test]
    fn rows_are_known_by_their_values() {
        let content = Content::good(spec());
        let read: Vec<_> = quotes_of(&decode(&content.bytes()).unwrap().batch)
            .iter()
            .map(Row::of)
            .collect();
        assert_eq!(
            read,
            content.rows().into_iter().map(Some).collect::<Vec<_>>()
        );
        assert_eq!(
            content.parts(),
            [Part { symbol: 1, day: 0 }, Part { symbol: 1, day: 1 }]
        );
        let mut quote = content.rows()[0].quote();
        quote.ask_qty += 1.0;
        assert_eq!(Row::of(&quote), None);
    }

    #[test]
    fn two_collectors_have_the_same_rows_at_other_times() {
        let of = |collector, from, rows| {
            let spec = Spec {
                collector,
                from,
                rows,
                ..spec()
            };
            Content::good(spec)
        };
        let (all, some) = (of(1, 0, 5), of(2, 3, 2));
        assert_eq!(some.rows(), all.rows()[3..]);
        assert_eq!(some.parts(), [Part { symbol: 1, day: 1 }]);
        assert!(
            some.rows()
                .iter()
                .all(|row| { (row.arrival(1) - row.arrival(2)).abs() == SECOND / 1_000 })
        );
        assert_ne!(all.bytes(), of(2, 0, 5).bytes());
    }

    #[test]
    fn rot_keeps_the_size_and_loses_what_it_should() {
        for hashed in [true, false] {
            let good = Content::good(Spec { hashed, ..spec() });
            let size = good.bytes().len();
            let rotten = good.rotten_values(1);
            assert_eq!((rotten.bytes().len(), rotten.is_good()), (size, !hashed));
            assert!(decode(&rotten.bytes()).is_ok());
            for harm in [Harm::Group(1), Harm::Footer, Harm::Cut] {
                let bad = good.harmed(harm);
                let read =
                    std::panic::catch_unwind(|| decode(&bad.bytes()).is_ok()).unwrap_or(false);
                assert!(!read && bad.rows().is_empty(), "{bad}");
                assert_eq!(bad.bytes().len() == size, harm != Harm::Cut);
                assert_eq!(
                    bad.readable().len(),
                    if harm == Harm::Group(1) { 3 } else { 0 }
                );
            }
        }
    }
}
