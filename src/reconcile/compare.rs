//! What the rows of both sides come to: equal or not, minute by minute, and which stretches one of
//! them lacks.
//!
//! Pure. Rows come grouped by what they are known by, in its order; the memory is that of a day's
//! minutes and of the holes that are told.

use std::collections::BTreeMap;

use crate::model::{
    date::Date,
    reconcile::{
        HoleCounts, HoleRecord, HoleState, MinuteDifference, MinuteState, ReconcilePass,
        ReconcileRecord, ReconcileVerdict,
    },
};

/// Holes of one state that are told one by one; all are counted.
const TOLD: usize = 100;
const MINUTE_NS: i64 = 60_000_000_000;
const MILLI_NS: i64 = 1_000_000;
/// Minutes of a day.
const MINUTES: usize = 1440;

/// The columns whose values are compared; a set of them is a number with a bit for each.
const COLUMNS: [&str; 6] = ["ts_event", "price", "qty", "side", "first_id", "last_id"];

/// By what a trade is known on both sides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TradeKey {
    /// The venue's number.
    Number(i64),
    /// Its name.
    Name(Box<str>),
}

impl TradeKey {
    fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(_) => None,
        }
    }
}

/// Where a row of ours comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A collector saw it.
    Recorded,
    /// It is in the archive from files that a venue published.
    Published,
    /// It is in the spool from such files, and waits for a compaction.
    Waiting,
}

/// A trade of either side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TradeRow {
    pub(super) key: TradeKey,
    pub(super) ts_ns: i64,
    pub(super) price: Option<f64>,
    pub(super) qty: Option<f64>,
    pub(super) side: Option<i8>,
    pub(super) first_id: Option<i64>,
    pub(super) last_id: Option<i64>,
    pub(super) origin: Origin,
}

/// The columns in which two rows of one key differ.
fn differing(ours: &TradeRow, theirs: &TradeRow) -> u8 {
    let same_number = |a: Option<f64>, b: Option<f64>| a.map(f64::to_bits) == b.map(f64::to_bits);
    // A number that one side does not tell contradicts nothing.
    let same_id = |a: Option<i64>, b: Option<i64>| a.is_none() || b.is_none() || a == b;
    let same = [
        is_same_time(ours.ts_ns, theirs.ts_ns),
        same_number(ours.price, theirs.price),
        same_number(ours.qty, theirs.qty),
        ours.side == theirs.side,
        same_id(ours.first_id, theirs.first_id),
        same_id(ours.last_id, theirs.last_id),
    ];
    let bits = same.iter().enumerate();
    bits.fold(0, |set, (bit, is_same)| set | u8::from(!is_same) << bit)
}

/// Whether two times are one, of which one side may tell only milliseconds.
fn is_same_time(a: i64, b: i64) -> bool {
    let cut = |coarse: i64, fine: i64| {
        coarse % MILLI_NS == 0 && fine.div_euclid(MILLI_NS) == coarse.div_euclid(MILLI_NS)
    };
    a == b || cut(a, b) || cut(b, a)
}

/// The names of a set of columns.
fn names(set: u8) -> impl Iterator<Item = &'static str> {
    COLUMNS
        .into_iter()
        .enumerate()
        .filter(move |(bit, _)| set >> bit & 1 == 1)
        .map(|(_, name)| name)
}

/// A minute under way.
#[derive(Debug, Clone, Copy, Default)]
struct MinuteTally {
    ours: u64,
    theirs: u64,
    differ: u64,
    only_ours: u64,
    only_theirs: u64,
    recovered: u64,
    columns: u8,
}

impl MinuteTally {
    fn state(&self) -> Option<MinuteState> {
        match (self.differ, self.only_ours, self.only_theirs) {
            (0, 0, 0) => None,
            (0, _, 0) => Some(MinuteState::OnlyOurs),
            (0, 0, _) => Some(MinuteState::OnlyTheirs),
            _ => Some(MinuteState::Differ),
        }
    }
}

/// How much the venue's files prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reliance {
    /// Whether what they lack was never published.
    pub(super) whole: bool,
    /// Whether the venue numbers its trades one by one, so that a number that is not there means
    /// something.
    pub(super) consecutive: bool,
}

/// A comparison under way.
#[derive(Debug)]
pub(super) struct Comparison {
    start_ns: i64,
    reliance: Reliance,
    minutes: Vec<MinuteTally>,
    equal: u64,
    waiting: u64,
    columns: BTreeMap<&'static str, u64>,
    holes: Holes,
    is_numbered: bool,
}

impl Comparison {
    pub(super) fn new(day: Date, reliance: Reliance) -> Self {
        Self {
            start_ns: day.start_ns(),
            reliance,
            minutes: vec![MinuteTally::default(); MINUTES],
            equal: 0,
            waiting: 0,
            columns: BTreeMap::new(),
            holes: Holes::default(),
            is_numbered: true,
        }
    }

    /// Rows of both sides that were equal so far.
    pub(super) fn equal(&self) -> u64 {
        self.equal
    }

    /// Rows that both sides have, with other values, so far.
    pub(super) fn differ(&self) -> u64 {
        self.minutes.iter().map(|minute| minute.differ).sum()
    }

    /// Rows of the archive so far.
    pub(super) fn ours(&self) -> u64 {
        self.minutes.iter().map(|minute| minute.ours).sum()
    }

    fn minute(&mut self, ts_ns: i64) -> Option<&mut MinuteTally> {
        let minute = (ts_ns - self.start_ns).div_euclid(MINUTE_NS);
        let last = i64::try_from(MINUTES - 1).unwrap_or(0);
        self.minutes
            .get_mut(usize::try_from(minute.clamp(0, last)).unwrap_or(0))
    }

    /// Compares all rows of one key, of which at least one side has some. Returns whether the one
    /// row of theirs may be taken into the spool: nobody has its key, and they say of it only one
    /// thing.
    pub(super) fn group(&mut self, ours: &[TradeRow], theirs: &[TradeRow]) -> bool {
        let Some(first) = ours.first().or_else(|| theirs.first()) else {
            return false;
        };
        let ts_ns = theirs.first().map_or(first.ts_ns, |row| row.ts_ns);
        match first.key.number() {
            Some(number) if self.reliance.consecutive => {
                self.holes.number(number, ts_ns, self.reliance.whole);
            }
            Some(_) => {}
            None => self.is_numbered = false,
        }
        for row in ours.iter().filter(|row| row.origin != Origin::Waiting) {
            if let Some(minute) = self.minute(row.ts_ns) {
                minute.ours += 1;
                minute.recovered += u64::from(row.origin == Origin::Published);
            }
        }
        for row in theirs {
            if let Some(minute) = self.minute(row.ts_ns) {
                minute.theirs += 1;
            }
        }
        let (in_archive, left_ours, left_theirs) = self.matched(ours, theirs);
        self.contradictions(&left_ours, &left_theirs);
        for row in left_ours.iter().skip(left_theirs.len()) {
            if let Some(minute) = self.minute(row.ts_ns) {
                minute.only_ours += 1;
            }
        }
        if in_archive.is_empty() {
            return self.lacking(ours, &left_theirs);
        }
        // Rows of theirs beyond those of ours contradict a row that is there.
        for row in left_theirs.iter().skip(left_ours.len()) {
            if let Some(minute) = self.minute(row.ts_ns) {
                minute.differ += 1;
            }
        }
        if self.is_numbered {
            let is_recovered = in_archive.iter().all(|row| row.origin == Origin::Published);
            if is_recovered {
                self.holes.lack(HoleState::Recovered, first, ts_ns, 1);
            } else {
                self.holes.end_run();
            }
        }
        false
    }

    /// Pairs what is equal; returns the rows that the archive has, and what is left of both sides.
    fn matched<'a>(
        &mut self,
        ours: &'a [TradeRow],
        theirs: &'a [TradeRow],
    ) -> (Vec<&'a TradeRow>, Vec<&'a TradeRow>, Vec<&'a TradeRow>) {
        let in_archive: Vec<&TradeRow> = ours
            .iter()
            .filter(|row| row.origin != Origin::Waiting)
            .collect();
        let mut left_ours = in_archive.clone();
        let mut left_theirs = Vec::new();
        for row in theirs {
            match left_ours.iter().position(|own| differing(own, row) == 0) {
                Some(at) => {
                    let _ = left_ours.swap_remove(at);
                    self.equal += 1;
                }
                None => left_theirs.push(row),
            }
        }
        (in_archive, left_ours, left_theirs)
    }

    fn contradictions(&mut self, ours: &[&TradeRow], theirs: &[&TradeRow]) {
        for (own, row) in ours.iter().zip(theirs) {
            let set = differing(own, row);
            if let Some(minute) = self.minute(own.ts_ns) {
                minute.differ += 1;
                minute.columns |= set;
            }
            for name in names(set) {
                *self.columns.entry(name).or_default() += 1;
            }
        }
    }

    /// Rows of a key that the archive lacks. They may be taken where they are one, and not in the
    /// spool already.
    fn lacking(&mut self, waiting: &[TradeRow], theirs: &[&TradeRow]) -> bool {
        let Some(first) = theirs.first() else {
            // Only rows that wait: they are no part of what is compared.
            return false;
        };
        for row in theirs {
            if let Some(minute) = self.minute(row.ts_ns) {
                minute.only_theirs += 1;
            }
        }
        if self.is_numbered {
            self.holes
                .lack(HoleState::Open, first, first.ts_ns, theirs.len() as u64);
        }
        if !waiting.is_empty() {
            self.waiting += theirs.len() as u64;
        }
        waiting.is_empty() && theirs.len() == 1
    }

    /// Enters the result into `record`.
    pub(super) fn finish(mut self, record: &mut ReconcileRecord) {
        if !self.is_numbered {
            self.holes_of_minutes();
        }
        let sum = |of: fn(&MinuteTally) -> u64| self.minutes.iter().map(of).sum();
        record.pass = Some(ReconcilePass::Rows);
        record.ours = sum(|minute| minute.ours);
        record.theirs = sum(|minute| minute.theirs);
        record.differ = sum(|minute| minute.differ);
        record.only_ours = sum(|minute| minute.only_ours);
        record.only_theirs = sum(|minute| minute.only_theirs);
        record.equal = self.equal;
        record.waiting = self.waiting;
        record.recovered = sum(|minute| minute.recovered);
        let columns = std::mem::take(&mut self.columns);
        record.columns = columns
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        record.minutes = self
            .minutes
            .iter()
            .enumerate()
            .filter_map(|(at, minute)| {
                Some(MinuteDifference {
                    minute: clock(at),
                    state: minute.state()?,
                    ours: minute.ours,
                    theirs: minute.theirs,
                    differ: minute.differ,
                    only_ours: minute.only_ours,
                    only_theirs: minute.only_theirs,
                    columns: names(minute.columns).map(str::to_owned).collect(),
                })
            })
            .collect();
        (record.hole_counts, record.holes) = self.holes.finish();
        record.verdict = verdict(record, self.reliance.whole);
    }

    /// Without numbers, what stands side by side in time is one hole.
    fn holes_of_minutes(&mut self) {
        for state in [HoleState::Open, HoleState::Recovered] {
            let of = |minute: &MinuteTally| match state {
                HoleState::Open => minute.only_theirs,
                _ => minute.recovered,
            };
            let mut from_ns = self.start_ns;
            let mut under_way: Option<HoleRecord> = None;
            for minute in &self.minutes {
                let (rows, to_ns) = (of(minute), from_ns + MINUTE_NS - 1);
                match (&mut under_way, rows) {
                    (Some(_), 0) => self.holes.told(under_way.take()),
                    (None, 0) => {}
                    (Some(hole), _) => {
                        hole.to_ns = to_ns;
                        hole.rows += rows;
                    }
                    (None, _) => {
                        under_way = Some(HoleRecord {
                            state,
                            from_id: None,
                            to_id: None,
                            from_ns,
                            to_ns,
                            rows,
                        });
                    }
                }
                from_ns += MINUTE_NS;
            }
            self.holes.told(under_way);
        }
    }
}

/// How the two sides stand to one another.
pub(super) fn verdict(record: &ReconcileRecord, whole: bool) -> ReconcileVerdict {
    let contradicts = record.differ > 0 || record.only_theirs > 0;
    if contradicts || (whole && record.only_ours > 0) {
        ReconcileVerdict::Differs
    } else if whole {
        ReconcileVerdict::Equal
    } else {
        ReconcileVerdict::NotProven
    }
}

/// The time of day at which the `at`-th minute begins.
pub(super) fn clock(at: usize) -> String {
    format!("{:02}:{:02}", at / 60, at % 60)
}

/// The holes so far.
#[derive(Debug, Default)]
struct Holes {
    counts: HoleCounts,
    told: BTreeMap<HoleState, Vec<HoleRecord>>,
    /// The last number of either side, and its time.
    last: Option<(i64, i64)>,
    /// Rows in succession that the archive lacks, or lacked.
    run: Option<HoleRecord>,
}

impl Holes {
    /// The next number of either side.
    fn number(&mut self, number: i64, ts_ns: i64, whole: bool) {
        if let Some((last, last_ns)) = self.last
            && number > last.saturating_add(1)
        {
            self.told(Some(HoleRecord {
                state: if whole {
                    HoleState::NeverExisted
                } else {
                    HoleState::MissingThereToo
                },
                from_id: Some(last + 1),
                to_id: Some(number - 1),
                from_ns: last_ns,
                to_ns: ts_ns,
                rows: number.abs_diff(last) - 1,
            }));
        }
        self.last = Some((number, ts_ns));
    }

    /// Rows of a key that the archive lacks or lacked.
    fn lack(&mut self, state: HoleState, row: &TradeRow, ts_ns: i64, rows: u64) {
        let number = row.key.number();
        if let Some(run) = self.run.as_mut().filter(|run| run.state == state) {
            run.to_id = number;
            run.from_ns = run.from_ns.min(ts_ns);
            run.to_ns = run.to_ns.max(ts_ns);
            run.rows += rows;
            return;
        }
        self.end_run();
        self.run = Some(HoleRecord {
            state,
            from_id: number,
            to_id: number,
            from_ns: ts_ns,
            to_ns: ts_ns,
            rows,
        });
    }

    /// A row that was recorded.
    fn end_run(&mut self) {
        let run = self.run.take();
        self.told(run);
    }

    fn told(&mut self, hole: Option<HoleRecord>) {
        let Some(hole) = hole else { return };
        *self.counts.of(hole.state) += 1;
        let told = self.told.entry(hole.state).or_default();
        if told.len() < TOLD {
            told.push(hole);
            return;
        }
        // The largest are told.
        let least = told.iter_mut().min_by_key(|known| known.rows);
        if let Some(least) = least.filter(|least| least.rows < hole.rows) {
            *least = hole;
        }
    }

    fn finish(mut self) -> (HoleCounts, Vec<HoleRecord>) {
        self.end_run();
        for told in self.told.values_mut() {
            told.sort_by_key(|hole| hole.from_ns);
        }
        (self.counts, self.told.into_values().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reconcile::ReconcileRecord;

    fn day() -> Date {
        Date::from_ymd(2026, 2, 3).unwrap()
    }

    fn trade(number: i64, second: i64) -> TradeRow {
        TradeRow {
            key: TradeKey::Number(number),
            ts_ns: day().start_ns() + second * 1_000_000_000,
            price: Some(100.5),
            qty: Some(0.25),
            side: Some(1),
            first_id: Some(number * 2),
            last_id: Some(number * 2 + 1),
            origin: Origin::Recorded,
        }
    }

    /// Compares two lists of trades, each in the order of its keys; returns the record and the keys
    /// that may be taken.
    fn compared(
        ours: &[TradeRow],
        theirs: &[TradeRow],
        whole: bool,
    ) -> (ReconcileRecord, Vec<TradeKey>) {
        let reliance = Reliance {
            whole,
            consecutive: true,
        };
        let mut comparison = Comparison::new(day(), reliance);
        let mut keys: Vec<&TradeKey> = ours.iter().chain(theirs).map(|row| &row.key).collect();
        keys.sort();
        keys.dedup();
        let mut taken = Vec::new();
        for key in keys {
            let of = |rows: &[TradeRow]| -> Vec<TradeRow> {
                rows.iter().filter(|row| row.key == *key).cloned().collect()
            };
            if comparison.group(&of(ours), &of(theirs)) {
                taken.push(key.clone());
            }
        }
        let partition = serde_json::from_str(
            r#"{"exchange":"binance","stream":"trade","symbol":"btcusdt","date":"20260203"}"#,
        );
        let mut record = ReconcileRecord::of(&partition.unwrap(), "2026-02-04T00:00:00Z");
        comparison.finish(&mut record);
        (record, taken)
    }

    fn trades(numbers: impl IntoIterator<Item = i64>) -> Vec<TradeRow> {
        numbers.into_iter().map(|n| trade(n, 10 * n)).collect()
    }

    #[test]
    fn what_both_have_is_equal_and_a_number_that_neither_has_was_never_used() {
        let all = trades([1, 2, 3, 6, 7]);
        let (record, taken) = compared(&all, &all, true);
        assert_eq!(record.verdict, ReconcileVerdict::Equal);
        assert_eq!((record.equal, taken.len()), (5, 0));
        assert!(record.minutes.is_empty());
        let hole = &record.holes[0];
        assert_eq!(
            (hole.state, hole.from_id, hole.to_id, hole.rows),
            (HoleState::NeverExisted, Some(4), Some(5), 2)
        );
        // A file that is not whole proves no absence.
        let (record, _) = compared(&all, &all, false);
        assert_eq!(record.verdict, ReconcileVerdict::NotProven);
        assert_eq!(record.holes[0].state, HoleState::MissingThereToo);
    }

    #[test]
    fn rows_that_only_they_have_are_open_holes_and_can_be_taken() {
        let (record, taken) = compared(&trades([1, 2, 8, 9]), &trades(1..=9), true);
        assert_eq!(record.verdict, ReconcileVerdict::Differs);
        assert_eq!((record.equal, record.only_theirs, taken.len()), (4, 5, 5));
        assert_eq!(record.hole_counts.open, 1);
        assert_eq!(
            (record.holes[0].from_id, record.holes[0].to_id),
            (Some(3), Some(7))
        );
        assert_eq!(record.minutes[0].state, MinuteState::OnlyTheirs);
    }

    #[test]
    fn what_lies_in_the_spool_waits_and_is_not_taken_twice() {
        let mut ours = trades([1, 2, 3]);
        ours[1].origin = Origin::Waiting;
        let (record, taken) = compared(&ours, &trades([1, 2, 3]), true);
        assert_eq!((record.only_theirs, record.waiting, taken.len()), (1, 1, 0));
        assert_eq!((record.ours, record.hole_counts.open), (2, 1));
        ours[1].origin = Origin::Published;
        let (record, _) = compared(&ours, &trades([1, 2, 3]), true);
        assert_eq!(record.verdict, ReconcileVerdict::Equal);
        assert_eq!(record.hole_counts.recovered, 1);
    }

    #[test]
    fn other_values_are_told_by_their_columns_and_never_taken() {
        let mut theirs = trades([1, 2, 3]);
        theirs[1].price = Some(100.6);
        theirs.push(TradeRow {
            qty: Some(9.0),
            ..trade(3, 30)
        });
        let (record, taken) = compared(&trades([1, 2, 3]), &theirs, true);
        assert_eq!((record.equal, record.differ, taken.len()), (2, 2, 0));
        assert_eq!(record.columns.get("price"), Some(&1));
        // Two rows of theirs that contradict one another, of a key that nobody else has.
        let (record, taken) = compared(&[], &theirs[2..], true);
        assert_eq!((record.only_theirs, taken.len()), (2, 0));
    }

    #[test]
    fn what_a_file_lacks_that_is_not_whole_proves_nothing() {
        let (record, _) = compared(&trades([1, 2, 3]), &trades([1, 2]), false);
        assert_eq!(
            (record.verdict, record.only_ours),
            (ReconcileVerdict::NotProven, 1)
        );
        let (record, _) = compared(&trades([1, 2, 3]), &trades([1, 2]), true);
        assert_eq!(record.verdict, ReconcileVerdict::Differs);
        assert_eq!(record.minutes[0].state, MinuteState::OnlyOurs);
    }

    #[test]
    fn times_are_one_where_one_side_tells_only_milliseconds() {
        assert!(is_same_time(5_000_000, 5_999_000) && is_same_time(5_123_000, 5_000_000));
        assert!(!is_same_time(5_000_000, 6_000_000) && !is_same_time(5_100_000, 5_200_000));
    }

    #[test]
    fn names_make_holes_of_minutes() {
        let named = |name: &str, second| TradeRow {
            key: TradeKey::Name(name.into()),
            ..trade(0, second)
        };
        let theirs = [
            named("a", 700),
            named("b", 10),
            named("c", 650),
            named("d", 70),
        ];
        let (record, taken) = compared(&theirs[..1], &theirs, true);
        assert_eq!((record.equal, taken.len()), (1, 3));
        assert_eq!(record.hole_counts.open, 2);
        assert_eq!((record.holes[0].rows, record.holes[1].rows), (2, 1));
    }
}
