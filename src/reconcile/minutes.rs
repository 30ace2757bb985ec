//! The pass by minutes: volume and number of trades, where a venue publishes klines, or single
//! trades of which the recorded rows are sums.
//!
//! Quantities are added up as the decimal numbers that they were written as, so that equal volumes
//! are equal to the last digit.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Float64Type, Int64Type},
};

use super::{
    blocking::blocking,
    compare::{clock, verdict},
    day::{Day, Held, are_of_day, told},
    exact::{archive_of, decoded},
    published::{self, Content, Decimal, PublishedFile},
    stop::stopped,
};
use crate::{
    engine::sql::{self, Means, Value},
    error::{Error, Kind, Result},
    model::{
        date::Date,
        reconcile::{
            HoleRecord, HoleState, MinuteDifference, MinuteState, ReconcilePass, ReconcileRecord,
        },
        time::to_ns,
    },
    storage::{scratch::Scratch, store::Store},
};

const MINUTE_NS: i64 = 60_000_000_000;
/// Minutes of a day.
const MINUTES: usize = 1440;
/// Holes that are told one by one; all are counted.
const TOLD: usize = 100;
/// The part of the memory limit that reading may have.
const SHARE: u64 = 2;

/// What one side has in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MinuteSum {
    /// The volume; `None` where it is not told, or cannot be added up exactly.
    volume: Option<Decimal>,
    /// Single trades; `None` where it is not told how many there were.
    trades: Option<u64>,
    /// Rows that it is the sum of; of klines 1.
    rows: u64,
}

impl MinuteSum {
    const NOTHING: Self = Self {
        volume: Some(Decimal::ZERO),
        trades: Some(0),
        rows: 0,
    };

    fn add(&mut self, volume: Option<Decimal>, trades: Option<u64>) {
        self.volume = self
            .volume
            .zip(volume)
            .and_then(|(sum, more)| sum.checked_add(more));
        self.trades = self.trades.zip(trades).map(|(sum, more)| sum + more);
        self.rows += 1;
    }

    fn is_nothing(&self) -> bool {
        self.volume == Some(Decimal::ZERO) && self.trades.unwrap_or(0) == 0
    }

    /// In what the two differ; what one side does not tell is not compared.
    fn differing(&self, other: &Self) -> Vec<String> {
        let mut columns = Vec::new();
        let differ = self.volume.zip(other.volume).is_some_and(|(a, b)| a != b);
        if differ {
            columns.push("volume".to_owned());
        }
        let differ = self.trades.zip(other.trades).is_some_and(|(a, b)| a != b);
        if differ {
            columns.push("trades".to_owned());
        }
        columns
    }
}

/// What both sides have in the minutes of a day; of theirs, minutes that they do not tell are
/// absent.
type Sums = BTreeMap<usize, MinuteSum>;

fn minute_of(day: Date, ts_ns: i64) -> Option<usize> {
    let at = usize::try_from((ts_ns - day.start_ns()).div_euclid(MINUTE_NS)).ok()?;
    (at < MINUTES).then_some(at)
}

/// Compares the sums.
pub(super) async fn pass(
    day: &Day<'_>,
    content: Content,
    files: Vec<PublishedFile>,
    held: &Held,
    scratch: &Scratch,
    record: &mut ReconcileRecord,
) -> Result<()> {
    let date = day.partition.date;
    let (theirs, twice) = if content == Content::BinanceKlines {
        let series = day.partition.series.clone();
        let (minutes, accounts) =
            blocking(move || published::minutes(&series, date, &files)).await?;
        record.files = accounts.iter().map(told).collect();
        of_klines(date, &minutes)
    } else {
        let theirs = decoded(day, files, content.name(), scratch).await?;
        record.files.clone_from(&theirs.files);
        let text = "SELECT ts_event, qty, first_id, last_id FROM spool.trade";
        // A single trade is one, whether or not it has a number.
        let mut sums = summed(day, &theirs.store, text, &BTreeMap::new(), |_| Some(1)).await?;
        for minute in 0..MINUTES {
            let _ = sums.entry(minute).or_insert(MinuteSum::NOTHING);
        }
        (sums, Vec::new())
    };
    are_of_day(&record.files)?;
    let archive = archive_of(day, held, scratch)?;
    let series = &day.partition.series;
    let params: BTreeMap<String, Value> = [
        ("exchange", series.exchange.to_string()),
        ("symbol", series.symbol.to_string()),
        ("date", date.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Value::Text(value)))
    .collect();
    let text = "SELECT ts_event, qty, first_id, last_id FROM archive.trade \
                WHERE exchange = $exchange AND symbol = $symbol AND date = $date";
    let ours = summed(day, &archive, text, &params, |range| {
        let (first, last) = range?;
        u64::try_from(last - first + 1).ok()
    })
    .await?;
    let whole = day.are_whole(record);
    entered(date, &ours, &theirs, &twice, record);
    record.verdict = verdict(record, whole);
    if day.options.take && record.hole_counts.open > 0 {
        record.not_taken = Some(format!(
            "nothing is taken: the files are compared by minutes, and their rows are not those that are recorded; give {}",
            match content.exchange() {
                "binance" => "aggTrades",
                _ => "aggregated trades",
            }
        ));
    }
    Ok(())
}

/// The minutes that klines tell, and those that they tell twice with other values.
fn of_klines(day: Date, minutes: &[published::Minute]) -> (Sums, Vec<usize>) {
    let (mut sums, mut twice) = (Sums::new(), Vec::new());
    for minute in minutes {
        let Some(at) = minute_of(day, minute.start) else {
            continue;
        };
        let sum = MinuteSum {
            volume: Some(minute.volume),
            trades: Some(minute.trades),
            rows: 1,
        };
        if sums.insert(at, sum).is_some_and(|before| before != sum) {
            twice.push(at);
        }
    }
    (sums, twice)
}

/// The sums of the rows of a statement; `trades` tells how many single trades a row with these
/// first and last numbers is.
async fn summed(
    day: &Day<'_>,
    store: &Store,
    text: &str,
    params: &BTreeMap<String, Value>,
    trades: impl Fn(Option<(i64, i64)>) -> Option<u64>,
) -> Result<Sums> {
    let means = Means {
        memory_limit: day.options.memory_limit / SHARE,
        spill_dir: &day.options.spill_dir,
        remote: None,
        all_columns: false,
    };
    let mut rows = sql::rows(store, store, text, params, means).await?;
    let mut sums = Sums::new();
    while let Some(batch) = rows.next().await? {
        stopped(day.stop)?;
        let lost = || Error::new(Kind::Internal, "the sums of a day lack a column");
        let ints = |name: &str| ints(&batch, name).ok_or_else(lost);
        let (times, first, last) = (ints("ts_event")?, ints("first_id")?, ints("last_id")?);
        let qty = batch
            .column_by_name("qty")
            .and_then(|column| column.as_primitive_opt::<Float64Type>())
            .ok_or_else(lost)?;
        for at in 0..batch.num_rows() {
            let Some(minute) =
                to_ns(times.value(at)).and_then(|ns| minute_of(day.partition.date, ns))
            else {
                continue;
            };
            let range = (first.is_valid(at) && last.is_valid(at))
                .then(|| (first.value(at), last.value(at)));
            let volume = qty
                .is_valid(at)
                .then(|| Decimal::of_f64(qty.value(at)))
                .flatten();
            sums.entry(minute)
                .or_insert(MinuteSum::NOTHING)
                .add(volume, trades(range));
        }
    }
    Ok(sums)
}

fn ints<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a arrow::array::Int64Array> {
    batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()
}

/// Enters what the sums come to into the record.
fn entered(day: Date, ours: &Sums, theirs: &Sums, twice: &[usize], record: &mut ReconcileRecord) {
    record.pass = Some(ReconcilePass::Minutes);
    let mut open: Option<HoleRecord> = None;
    for minute in 0..MINUTES {
        let own = ours.get(&minute).copied().unwrap_or(MinuteSum::NOTHING);
        let their = theirs.get(&minute);
        let told = their.copied().unwrap_or(MinuteSum::NOTHING);
        record.ours += own.trades.unwrap_or(own.rows);
        record.theirs += told.trades.unwrap_or(told.rows);
        let mut columns = own.differing(&told);
        if twice.contains(&minute) && columns.is_empty() {
            columns.push("volume".to_owned());
        }
        let state = if columns.is_empty() {
            record.equal += 1;
            None
        } else if own.is_nothing() {
            record.only_theirs += 1;
            Some(MinuteState::OnlyTheirs)
        } else if told.is_nothing() {
            record.only_ours += 1;
            Some(MinuteState::OnlyOurs)
        } else {
            record.differ += 1;
            Some(MinuteState::Differ)
        };
        let less = told.volume > own.volume || told.trades > own.trades;
        let lacks =
            state == Some(MinuteState::OnlyTheirs) || state == Some(MinuteState::Differ) && less;
        open = hole(open, lacks, day, minute, (own, told), record);
        let Some(state) = state else { continue };
        for column in &columns {
            *record.columns.entry(column.clone()).or_default() += 1;
        }
        record.minutes.push(MinuteDifference {
            minute: clock(minute),
            state,
            ours: own.trades.unwrap_or(own.rows),
            theirs: told.trades.unwrap_or(told.rows),
            differ: u64::from(state == MinuteState::Differ),
            only_ours: u64::from(state == MinuteState::OnlyOurs),
            only_theirs: u64::from(state == MinuteState::OnlyTheirs),
            columns,
        });
    }
    let last = MINUTES - 1;
    let nothing = (MinuteSum::NOTHING, MinuteSum::NOTHING);
    let _ = hole(open, false, day, last, nothing, record);
}

/// The hole under way after one more minute, of which the archive lacks something or not.
fn hole(
    open: Option<HoleRecord>,
    lacks: bool,
    day: Date,
    minute: usize,
    (own, told): (MinuteSum, MinuteSum),
    record: &mut ReconcileRecord,
) -> Option<HoleRecord> {
    let from_ns = day.start_ns() + i64::try_from(minute).unwrap_or(0) * MINUTE_NS;
    let rows = told
        .trades
        .unwrap_or(0)
        .saturating_sub(own.trades.unwrap_or(0));
    match (open, lacks) {
        (Some(hole), true) => Some(HoleRecord {
            to_ns: from_ns + MINUTE_NS - 1,
            rows: hole.rows + rows,
            ..hole
        }),
        (Some(hole), false) => {
            record.hole_counts.open += 1;
            if record.holes.len() < TOLD {
                record.holes.push(hole);
            }
            None
        }
        (None, true) => Some(HoleRecord {
            state: HoleState::Open,
            from_id: None,
            to_id: None,
            from_ns,
            to_ns: from_ns + MINUTE_NS - 1,
            rows,
        }),
        (None, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day() -> Date {
        Date::from_ymd(2026, 2, 3).unwrap()
    }

    fn sums(minutes: &[(usize, &str, u64)]) -> Sums {
        let sum = |(at, volume, trades): &(usize, &str, u64)| {
            let sum = MinuteSum {
                volume: Decimal::parse(volume.as_bytes()),
                trades: Some(*trades),
                rows: 1,
            };
            (*at, sum)
        };
        minutes.iter().map(sum).collect()
    }

    fn compared(ours: &[(usize, &str, u64)], theirs: &[(usize, &str, u64)]) -> ReconcileRecord {
        let partition = serde_json::from_str(
            r#"{"exchange":"binance","stream":"trade","symbol":"btcusdt","date":"20260203"}"#,
        );
        let mut record = ReconcileRecord::of(&partition.unwrap(), "2026-02-04T00:00:00Z");
        entered(day(), &sums(ours), &sums(theirs), &[], &mut record);
        record
    }

    #[test]
    fn volumes_are_equal_to_the_last_digit() {
        let mut sum = MinuteSum::NOTHING;
        for _ in 0..10 {
            sum.add(Decimal::of_f64(0.1), Some(1));
        }
        assert_eq!(sum.volume, Decimal::parse(b"1.000"));
        assert_eq!((sum.trades, sum.rows), (Some(10), 10));
    }

    #[test]
    fn minutes_that_lack_something_side_by_side_are_one_hole() {
        let all = [(0, "1.5", 3), (1, "2", 4), (2, "0.1", 1), (9, "3", 2)];
        let record = compared(&all, &all);
        assert_eq!((record.equal, record.minutes.len()), (1440, 0));
        let record = compared(&[all[0], (1, "1", 3)], &all);
        assert_eq!(record.hole_counts.open, 2);
        let hole = &record.holes[0];
        assert_eq!((hole.rows, hole.from_ns), (2, day().start_ns() + MINUTE_NS));
        let states: Vec<MinuteState> = record.minutes.iter().map(|m| m.state).collect();
        assert_eq!(
            states,
            [
                MinuteState::Differ,
                MinuteState::OnlyTheirs,
                MinuteState::OnlyTheirs
            ]
        );
        assert_eq!(record.minutes[0].columns, ["volume", "trades"]);
    }

    #[test]
    fn what_one_side_does_not_tell_is_not_compared() {
        let unknown = MinuteSum {
            trades: None,
            ..MinuteSum::NOTHING
        };
        let known = MinuteSum {
            trades: Some(5),
            ..MinuteSum::NOTHING
        };
        assert!(unknown.differing(&known).is_empty());
    }
}
