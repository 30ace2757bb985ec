//! Sorting more trades than memory holds: sorted runs in files without a name, merged as they are
//! read.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::row::{Name, Place, Trade};
use crate::error::{Error, Result};

/// Runs of one size that are merged into one of the next: as many files may be open of each.
const FAN_IN: usize = 16;
/// A piece of a run that is in memory while it is written or read.
const PIECE: usize = 128 << 10;
/// Trades of the smallest run.
const FEWEST: usize = 4096;

/// An order of trades in which no two are equal.
pub(super) type Order = fn(&Trade, &Trade) -> Ordering;

/// Takes trades in any order.
pub(super) struct Sorter {
    scratch: PathBuf,
    order: Order,
    most: usize,
    held: Vec<Trade>,
    /// By how often their trades were merged.
    runs: Vec<Vec<Run>>,
}

/// Trades that were sorted; they can be read any number of times.
pub(super) struct Sorted {
    order: Order,
    held: Vec<Trade>,
    runs: Vec<Run>,
}

/// Sorted trades in a file.
struct Run {
    file: File,
    trades: u64,
}

impl Sorter {
    /// Holds trades of about `memory` bytes; the others go to files in `scratch`.
    pub(super) fn new(scratch: &Path, memory: usize, order: Order) -> Self {
        Self {
            scratch: scratch.to_owned(),
            order,
            most: (memory / size_of::<Trade>()).max(FEWEST),
            held: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// # Errors
    /// When a run cannot be written.
    pub(super) fn push(&mut self, trade: Trade) -> Result<()> {
        if self.held.len() == self.held.capacity() {
            // By a half, so that old and new memory together stay within what is meant.
            let more = (self.held.len() / 2)
                .max(FEWEST)
                .min(self.most - self.held.len());
            self.held.reserve_exact(more);
        }
        self.held.push(trade);
        if self.held.len() >= self.most {
            self.spill()?;
        }
        Ok(())
    }

    /// # Errors
    /// When a run cannot be written or read.
    pub(super) fn finish(mut self) -> Result<Sorted> {
        if self.runs.is_empty() {
            self.held.sort_unstable_by(self.order);
        } else {
            self.spill()?;
            self.held = Vec::new();
        }
        let mut runs: Vec<Run> = self.runs.drain(..).flatten().collect();
        while runs.len() > FAN_IN {
            // The smallest ones, which come first.
            let rest = runs.split_off(FAN_IN);
            let merged = self.merged(runs)?;
            runs = rest;
            runs.push(merged);
        }
        Ok(Sorted {
            order: self.order,
            held: self.held,
            runs,
        })
    }

    fn spill(&mut self) -> Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        self.held.sort_unstable_by(self.order);
        let run = self.run(self.held.iter().map(|trade| Ok(*trade)))?;
        self.held.clear();
        self.put(0, run)
    }

    /// Adds a run, and merges where there are enough of one kind.
    fn put(&mut self, level: usize, run: Run) -> Result<()> {
        let (mut level, mut run) = (level, run);
        loop {
            while self.runs.len() <= level {
                self.runs.push(Vec::new());
            }
            let Some(of_level) = self.runs.get_mut(level) else {
                return Ok(());
            };
            of_level.push(run);
            if of_level.len() < FAN_IN {
                return Ok(());
            }
            let full = std::mem::take(of_level);
            run = self.merged(full)?;
            level += 1;
        }
    }

    fn merged(&self, runs: Vec<Run>) -> Result<Run> {
        let sorted = Sorted {
            order: self.order,
            held: Vec::new(),
            runs,
        };
        self.run(sorted.read()?)
    }

    fn run(&self, trades: impl Iterator<Item = Result<Trade>>) -> Result<Run> {
        let wrong =
            |e: io::Error| Error::io(format!("{}: cannot be written", self.scratch.display()), e);
        let file = tempfile::tempfile_in(&self.scratch).map_err(wrong)?;
        let mut out = BufWriter::with_capacity(PIECE, file);
        let mut count = 0;
        for trade in trades {
            write(&trade?, &mut out).map_err(wrong)?;
            count += 1;
        }
        let file = out.into_inner().map_err(|e| wrong(e.into_error()))?;
        Ok(Run {
            file,
            trades: count,
        })
    }
}

impl Sorted {
    /// All trades in order, from the first one.
    ///
    /// # Errors
    /// When a run cannot be read.
    pub(super) fn read(&self) -> Result<TradesInOrder<'_>> {
        let mut merge = TradesInOrder {
            held: self.held.iter(),
            readers: Vec::new(),
            next: BinaryHeap::new(),
            order: self.order,
        };
        for run in &self.runs {
            let mut file = &run.file;
            let _ = file.seek(SeekFrom::Start(0)).map_err(unread)?;
            merge.readers.push(Reader {
                from: BufReader::with_capacity(PIECE, file),
                left: run.trades,
            });
        }
        for reader in 0..merge.readers.len() {
            merge.advance(reader)?;
        }
        Ok(merge)
    }
}

fn unread(e: io::Error) -> Error {
    Error::io("a file of sorted trades cannot be read back", e)
}

struct Reader<'a> {
    from: BufReader<&'a File>,
    left: u64,
}

/// Trades of several runs, in order.
pub(super) struct TradesInOrder<'a> {
    held: std::slice::Iter<'a, Trade>,
    readers: Vec<Reader<'a>>,
    next: BinaryHeap<Next>,
    order: Order,
}

/// The first trade of a run that was not given yet.
struct Next {
    trade: Trade,
    reader: usize,
    order: Order,
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        // The largest one leaves the heap first.
        (self.order)(&other.trade, &self.trade)
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Next {}

impl TradesInOrder<'_> {
    fn advance(&mut self, reader: usize) -> Result<()> {
        if let Some(from) = self.readers.get_mut(reader).filter(|from| from.left > 0) {
            from.left -= 1;
            let trade = read(&mut from.from).map_err(unread)?;
            self.next.push(Next {
                trade,
                reader,
                order: self.order,
            });
        }
        Ok(())
    }
}

impl Iterator for TradesInOrder<'_> {
    type Item = Result<Trade>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(trade) = self.held.next() {
            return Some(Ok(*trade));
        }
        let Next { trade, reader, .. } = self.next.pop()?;
        Some(self.advance(reader).map(|()| trade))
    }
}

fn write(trade: &Trade, out: &mut impl Write) -> io::Result<()> {
    for whole in [trade.ts_event, trade.seq, trade.first_id, trade.last_id] {
        out.write_all(&whole.to_le_bytes())?;
    }
    for float in [trade.price, trade.qty] {
        out.write_all(&float.to_bits().to_le_bytes())?;
    }
    out.write_all(&trade.place.line.to_le_bytes())?;
    out.write_all(&trade.place.file.to_le_bytes())?;
    let name = trade.name.text().as_bytes();
    // A name has at most 40 bytes.
    let length = u8::try_from(name.len()).unwrap_or(0);
    out.write_all(&[trade.side.cast_unsigned(), length])?;
    out.write_all(name)
}

fn read(from: &mut impl Read) -> io::Result<Trade> {
    let mut whole = || {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes)?;
        Ok::<_, io::Error>(i64::from_le_bytes(bytes))
    };
    let (ts_event, seq, first_id, last_id) = (whole()?, whole()?, whole()?, whole()?);
    let (price, qty, line) = (whole()?, whole()?, whole()?);
    let mut file = [0; 4];
    from.read_exact(&mut file)?;
    let mut side = [0; 2];
    from.read_exact(&mut side)?;
    let [side, length] = side;
    let mut name = [0; 255];
    let name = name.get_mut(..usize::from(length)).unwrap_or_default();
    from.read_exact(name)?;
    Ok(Trade {
        ts_event,
        seq,
        price: f64::from_bits(price.cast_unsigned()),
        qty: f64::from_bits(qty.cast_unsigned()),
        side: side.cast_signed(),
        first_id,
        last_id,
        name: Name::of(name).unwrap_or(Name::NONE),
        place: Place {
            file: u32::from_le_bytes(file),
            line: line.cast_unsigned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trades_come_in_order_however_many_runs_they_take() {
        let dir = tempfile::tempdir().unwrap();
        for count in [0_u32, 1, 4095, 4096, 300_000] {
            let mut sorter = Sorter::new(dir.path(), 0, Trade::by_time);
            let mut at = 1_u32;
            for line in 0..count {
                at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let trade = Trade {
                    ts_event: i64::from(at >> 20),
                    seq: i64::from((at >> 8) & 7),
                    price: f64::from(line),
                    qty: 0.5,
                    side: -1,
                    first_id: -1,
                    last_id: 7,
                    name: Name::of(format!("n{line}").as_bytes()).unwrap(),
                    place: Place {
                        file: 3,
                        line: u64::from(line),
                    },
                };
                sorter.push(trade).unwrap();
            }
            let sorted = sorter.finish().unwrap();
            for _ in 0..2 {
                let trades: Vec<Trade> = sorted.read().unwrap().map(Result::unwrap).collect();
                assert_eq!(trades.len(), count as usize);
                assert!(trades.is_sorted_by(|a, b| a.by_time(b) == Ordering::Less));
                let lines: std::collections::BTreeSet<u64> =
                    trades.iter().map(|t| t.place.line).collect();
                assert_eq!(lines.len(), trades.len());
                assert!(
                    trades
                        .iter()
                        .all(|t| t.name.text() == format!("n{}", t.place.line)
                            && (t.side, t.last_id, t.place.file) == (-1, 7, 3))
                );
            }
        }
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            0,
            "nothing is left"
        );
    }
}
