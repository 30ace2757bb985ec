//! How well the days of a series are covered: the state of a partition, its gaps, and the command
//! that fixes it.
//!
//! [`judge`] is the whole decision, from facts to a state with its reasons. A stretch of a day for
//! which the collector left quality windows is judged by these; the others by the density of
//! events: an hour or more without any is a gap where the symbol's other days have events at that
//! time, and two of them agree. A symbol is not incomplete only because it is quiet.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use super::{
    count,
    date::Date,
    partition::{Partition, Series},
    quality::{Tally, WINDOW_NS},
    quarantine::Entry,
    reconcile::ReconcileSummary,
};

/// Minutes of a day.
pub const MINUTES: usize = 1440;
/// Nanoseconds of a minute.
const MINUTE_NS: i64 = 60_000_000_000;
/// So many minutes without an event are a silence.
const SILENCE: usize = 60;
/// What happens at a fixed time of day happens a little earlier or later on other days: so many
/// minutes at both ends of a silence are not compared.
const JITTER: usize = 5;
/// A day with events in so many of its minutes is dense: an hour without any is a gap even where no
/// other day tells.
const DENSE: usize = MINUTES / 2;
/// The other days that a day is compared with, at most.
pub const OTHERS: usize = 7;

/// The events of each minute of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Minutes(Vec<u32>);

impl Minutes {
    /// No events.
    #[must_use]
    pub fn none() -> Self {
        Self(vec![0; MINUTES])
    }

    /// An event in every minute.
    #[must_use]
    pub fn always() -> Self {
        Self(vec![1; MINUTES])
    }

    /// Counts an event so many nanoseconds after midnight; one of another day is not counted.
    pub fn count(&mut self, ns: i64) {
        let minute = usize::try_from(ns.div_euclid(MINUTE_NS)).ok();
        if let Some(count) = minute.and_then(|minute| self.0.get_mut(minute)) {
            *count = count.saturating_add(1);
        }
    }

    /// Adds those of another part of the day.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(&other.0) {
            *count = count.saturating_add(*more);
        }
    }

    /// The counts, from midnight on.
    #[must_use]
    pub fn counts(&self) -> &[u32] {
        &self.0
    }

    fn busy(&self) -> usize {
        self.0.iter().filter(|count| **count > 0).count()
    }

    fn has_events(&self, from: usize, to: usize) -> bool {
        self.0
            .get(from..to)
            .is_some_and(|stretch| stretch.iter().any(|count| *count > 0))
    }
}

/// The stretches for which `holds`, as first minute and the one after the last.
fn stretches(holds: impl Fn(usize) -> bool) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for minute in (0..MINUTES).filter(|minute| holds(*minute)) {
        match found.last_mut() {
            Some((_, end)) if *end == minute => *end += 1,
            _ => found.push((minute, minute + 1)),
        }
    }
    found
}

/// What the archive holds of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Archived {
    /// Nothing.
    Nothing,
    /// Data, and a `meta.json` that may be believed.
    Published(Figures),
    /// Something that does not fit together; what.
    Unproven(String),
}

/// The figures of a published partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Rows.
    pub rows: u64,
    /// Bytes of `data.parquet`.
    pub bytes: u64,
    /// Bytes of the spool files that it was made of, each by its share of rows; absent where no
    /// receipt tells.
    pub bytes_in: Option<u64>,
    /// Files whose rows are in it.
    pub files: u64,
    /// What each collector gave, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub collectors: Vec<Contribution>,
    /// When it was published.
    pub published_at: String,
}

/// What is known of a partition before it is judged.
#[derive(Debug, Clone)]
pub struct CoverageFacts<'a> {
    /// Which it is.
    pub partition: &'a Partition,
    /// The day that is not over.
    pub today: Date,
    /// What the archive holds.
    pub archived: &'a Archived,
    /// Files of the spool that nothing in the archive accounts for.
    pub waiting: u64,
    /// Files (or rows of them) in QUARANTINE.
    pub quarantined: u64,
    /// Files (or rows of them) that were in QUARANTINE until they were discarded.
    pub discarded: u64,
    /// Rows of this day that spool files of its neighbours hold, as the receipts of these say.
    pub rows_nearby: u64,
    /// The events of the day, where they were counted.
    pub minutes: Option<&'a Minutes>,
    /// Those of other days of the series.
    pub others: &'a [&'a Minutes],
    /// The quality windows of the day at the exchange.
    pub windows: &'a [Tally],
}

/// What one of several collectors gave to a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Contribution {
    /// Its name.
    pub name: String,
    /// Its rows of this day.
    pub rows: u64,
    /// Rows of the data that no other has.
    pub gain: u64,
    /// Rows whose number another collector has with other values.
    pub conflicts: u64,
}

/// How it stands with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DayState {
    /// Published, nothing left to add, no gap.
    Complete,
    /// Published, but events are missing.
    Gaps,
    /// Published, but something of it lies in QUARANTINE; or nothing else is there of it, or was
    /// before it was discarded.
    Quarantined,
    /// Published, but files came since.
    NewFiles,
    /// Not published yet: files wait for a compaction, or the day is not over.
    Pending,
    /// Nothing is there.
    Missing,
    /// What stands in the archive does not fit together.
    Unproven,
}

impl DayState {
    /// All of them, the best first.
    pub const ALL: [Self; 7] = [
        Self::Complete,
        Self::Gaps,
        Self::Quarantined,
        Self::NewFiles,
        Self::Pending,
        Self::Missing,
        Self::Unproven,
    ];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Gaps => "gaps",
            Self::Quarantined => "quarantined",
            Self::NewFiles => "new files",
            Self::Pending => "pending",
            Self::Missing => "missing",
            Self::Unproven => "unproven",
        }
    }
}

/// A stretch of a day in which events are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoverageGap {
    /// The first minute, counted from midnight UTC, written `14:05`.
    #[serde(serialize_with = "clock")]
    pub from: usize,
    /// The minute after the last, likewise; `24:00` is the end of the day.
    #[serde(serialize_with = "clock")]
    pub to: usize,
    /// How it is known.
    pub why: String,
}

/// A minute of the day as people write it.
#[must_use]
pub fn time_of_day(minute: usize) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over references"
)]
fn clock<S: Serializer>(minute: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time_of_day(*minute))
}

/// A judged partition. This is the object that `--format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Which it is.
    #[serde(flatten)]
    pub partition: Partition,
    /// How it stands with it.
    pub state: DayState,
    /// Everything that there is to say about it; empty where it is complete.
    pub reasons: Vec<String>,
    /// Where events are missing.
    pub gaps: Vec<CoverageGap>,
    /// The figures of what is published.
    pub published: Option<Figures>,
    /// Files of the spool that wait.
    pub waiting: u64,
    /// Files (or rows of them) in QUARANTINE.
    pub quarantined: u64,
    /// How it stood to what the exchange published when that was last looked at: one for each way of
    /// comparing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reconciled: Vec<ReconcileSummary>,
    /// The command that mends it, or tells more.
    pub command: Option<String>,
    /// The events of each minute, where they were counted.
    #[serde(skip)]
    pub minutes: Option<Minutes>,
}

/// The coverage of a range of days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The first day.
    pub start: Date,
    /// The last day.
    pub end: Date,
    /// The partitions, by series and day.
    pub cells: Vec<Cell>,
    /// Series of which nothing lies in the range, and their last day: they are taken to have ended.
    pub ended: BTreeMap<Series, Date>,
    /// Files of the spool whose names and folders tell no day; they are not in the cells.
    pub without_day: u64,
    /// Parquet files of the spool that belong to no series, and why.
    pub ignored: Vec<String>,
    /// Folders that could not be listed, and why: a series that may have files there is in no cell.
    pub unlisted: Vec<String>,
    /// Files that could not be read, and why.
    pub unread: Vec<String>,
    /// The spools that are not here, where others are: they may have what those lack.
    pub absent_spools: Vec<String>,
    /// What lies in QUARANTINE.
    pub quarantine: Vec<(Partition, Entry)>,
    /// The newest comparisons with what exchanges published, by series and day; also those of days
    /// that have no cell.
    pub reconciled: Vec<ReconcileSummary>,
}

impl Coverage {
    /// Whether all is there. A range of which nothing is known is not complete, nor is one to which
    /// a file may belong that no run takes in.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.ignored.is_empty()
            && self.unlisted.is_empty()
            && self.unread.is_empty()
            && self.absent_spools.is_empty()
            && !self.cells.is_empty()
            && self
                .cells
                .iter()
                .all(|cell| cell.state == DayState::Complete)
    }
}

/// Judges a partition: its state, the reasons, its gaps.
#[must_use]
pub fn judge(facts: &CoverageFacts<'_>) -> (DayState, Vec<String>, Vec<CoverageGap>) {
    let mut reasons = Vec::new();
    let files = |n: u64| {
        if n == 1 {
            "1 file".to_owned()
        } else {
            format!("{n} files")
        }
    };
    let waits = (facts.waiting > 0).then(|| {
        format!(
            "{} of the spool not in the archive yet",
            files(facts.waiting)
        )
    });
    let kept =
        (facts.quarantined > 0).then(|| format!("{} in QUARANTINE", files(facts.quarantined)));
    let not_over = facts.partition.date >= facts.today;
    let mut gaps = Vec::new();
    let state = match facts.archived {
        Archived::Unproven(why) => {
            reasons.push(why.clone());
            DayState::Unproven
        }
        Archived::Published(_) => {
            gaps = find_gaps(facts);
            let told = gaps.iter().map(|gap| {
                format!(
                    "no events {} to {}: {}",
                    time_of_day(gap.from),
                    time_of_day(gap.to),
                    gap.why
                )
            });
            reasons.extend(told);
            match (facts.waiting, facts.quarantined) {
                _ if not_over => DayState::Pending,
                (1.., _) => DayState::NewFiles,
                (0, 1..) => DayState::Quarantined,
                (0, 0) if gaps.is_empty() => DayState::Complete,
                (0, 0) => DayState::Gaps,
            }
        }
        Archived::Nothing if facts.waiting > 0 || not_over => DayState::Pending,
        Archived::Nothing if facts.rows_nearby > 0 => {
            reasons.push(format!(
                "{} of it are in files of the days beside it",
                count::rows(facts.rows_nearby)
            ));
            DayState::Pending
        }
        Archived::Nothing if facts.quarantined > 0 => {
            reasons.push("nothing of it could be compacted".to_owned());
            DayState::Quarantined
        }
        Archived::Nothing if facts.discarded > 0 => {
            reasons.push(format!(
                "nothing of it could be compacted; {} discarded from QUARANTINE",
                files(facts.discarded)
            ));
            DayState::Quarantined
        }
        Archived::Nothing => {
            reasons.push("neither the archive nor the spool has anything of it".to_owned());
            DayState::Missing
        }
    };
    if not_over {
        reasons.push("the day is not over".to_owned());
    }
    reasons.extend(waits);
    reasons.extend(kept);
    (state, reasons, gaps)
}

/// Where events are missing.
fn find_gaps(facts: &CoverageFacts<'_>) -> Vec<CoverageGap> {
    let start_ns = facts.partition.date.start_ns();
    let minute = |ns: i64| {
        usize::try_from((ns - start_ns) / MINUTE_NS)
            .unwrap_or(MINUTES)
            .min(MINUTES)
    };
    let mut covered = [false; MINUTES];
    let mut gaps: Vec<CoverageGap> = Vec::new();
    let Series {
        exchange,
        stream,
        symbol,
    } = &facts.partition.series;
    let (stream, symbol) = (stream.as_str(), symbol.as_str());
    let mut windows: Vec<&Tally> = facts
        .windows
        .iter()
        .filter(|w| w.exchange == exchange.as_str())
        .collect();
    windows.sort_by_key(|window| window.window_start_ns);
    let is_bad = |window: &&&Tally| matches!(window.graded(stream, symbol), "C" | "D" | "F");
    let seen = |window: &Tally| window.events_by_stream.get(stream).copied().unwrap_or(0);
    // Several collectors have a window each for the same time.
    for together in windows.chunk_by(|a, b| a.window_start_ns == b.window_start_ns) {
        let Some(start) = together.first().map(|window| window.window_start_ns) else {
            continue;
        };
        let (from, to) = (minute(start), minute(start + WINDOW_NS));
        // A window in which nothing of the stream came says nothing about it.
        if together
            .iter()
            .any(|window| is_bad(&window) || seen(window) > 0)
            && let Some(stretch) = covered.get_mut(from..to)
        {
            stretch.fill(true);
        }
        // What one collector lost, another one has that was well; unless it began in the middle,
        // when it saw less.
        let well = together
            .iter()
            .filter(|window| !is_bad(window))
            .map(|window| seen(window))
            .max()
            .unwrap_or(0);
        let lost = together
            .iter()
            .filter(is_bad)
            .filter(|window| well == 0 || well < seen(window));
        let least = lost.min_by_key(|window| {
            (
                window.graded(stream, symbol),
                window.lost_of(stream, symbol),
            )
        });
        if let Some(window) = least {
            let why = of_window(window, stream, symbol);
            match gaps.last_mut() {
                Some(last) if last.to == from && last.why == why => last.to = to,
                _ => gaps.push(CoverageGap { from, to, why }),
            }
        }
    }
    let Some(minutes) = facts.minutes else {
        return gaps;
    };
    let silent = |m: usize| {
        minutes.counts().get(m).is_some_and(|count| *count == 0)
            && covered.get(m).is_some_and(|covered| !covered)
    };
    for (from, to) in stretches(silent)
        .into_iter()
        .filter(|(from, to)| to - from >= SILENCE)
    {
        let others = facts.others.len();
        let busy = facts
            .others
            .iter()
            .filter(|other| other.has_events(from + JITTER, to - JITTER))
            .count();
        // One other day may have events then because of a single late file. That the day itself is
        // dense is a second witness.
        let witnesses = busy + usize::from(minutes.busy() >= DENSE);
        if busy > 0 && witnesses > 1 && 2 * busy >= others {
            gaps.push(CoverageGap {
                from,
                to,
                why: format!("{busy} of {others} other days have events then"),
            });
        } else if others == 0 && minutes.busy() >= DENSE {
            let why = format!(
                "the day has events in {} of its {MINUTES} minutes",
                minutes.busy()
            );
            gaps.push(CoverageGap { from, to, why });
        }
    }
    gaps.sort_by_key(|gap| (gap.from, gap.to));
    gaps
}

fn of_window(window: &Tally, stream: &str, symbol: &str) -> String {
    let mut why = format!("the collector graded it {}", window.graded(stream, symbol));
    let offline = window.offline_of(stream, symbol);
    if offline > 0.0 {
        why = format!("{why}, {offline:.0} s offline");
    }
    let lost = window.lost_of(stream, symbol);
    if lost > 0 {
        format!("{why}, {lost} events lost")
    } else {
        why
    }
}

/// Whether the quality windows of a day judge all of it for a stream, so that no events need be
/// counted.
#[must_use]
pub fn is_judged(partition: &Partition, windows: &[Tally]) -> bool {
    let (exchange, stream) = (
        partition.series.exchange.as_str(),
        partition.series.stream.as_str(),
    );
    let of_stream = |w: &&Tally| {
        w.exchange == exchange && w.events_by_stream.get(stream).is_some_and(|n| *n > 0)
    };
    let day = i64::try_from(MINUTES).unwrap_or_default() * MINUTE_NS;
    let judged: BTreeSet<i64> = windows
        .iter()
        .filter(of_stream)
        .map(|window| window.window_start_ns)
        .collect();
    i64::try_from(judged.len()).is_ok_and(|n| n * WINDOW_NS >= day)
}

/// The command that mends a partition in this state on the days from `first` to `last`, or tells
/// more about it.
#[must_use]
pub fn command(state: DayState, series: &Series, first: Date, last: Date) -> Option<String> {
    let Series {
        exchange,
        stream,
        symbol,
    } = series;
    let which = format!("--exchange {exchange} --stream {stream} --symbol {symbol}");
    let days = if first == last {
        format!("--date {first}")
    } else {
        format!("--start {first} --end {last}")
    };
    match state {
        DayState::Complete | DayState::Gaps => None,
        DayState::NewFiles | DayState::Pending | DayState::Missing if first == last => {
            Some(format!("qlc compact --mode single {days} {which}"))
        }
        DayState::NewFiles | DayState::Pending | DayState::Missing => {
            Some(format!("qlc compact --mode backfill {days} {which}"))
        }
        DayState::Quarantined => Some(format!("qlc quarantine list {days} {which}")),
        DayState::Unproven => Some(format!("qlc verify {days} {which}")),
    }
}

/// Cells of one state on consecutive days of one series, which one command is for.
#[must_use]
pub fn spans(cells: &[Cell]) -> Vec<&[Cell]> {
    let together = |a: &Cell, b: &Cell| {
        a.state == b.state
            && a.partition.series == b.partition.series
            && a.partition.date.succ() == b.partition.date
            && a.reasons == b.reasons
    };
    cells.chunk_by(together).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        serde_json::from_str(
            r#"{"exchange":"okx","stream":"bbo","symbol":"btcusdt","date":"20260203"}"#,
        )
        .unwrap()
    }

    fn published() -> Archived {
        Archived::Published(Figures::default())
    }

    /// Events in every minute but these.
    fn without(silent: std::ops::Range<usize>) -> Minutes {
        let mut minutes = Minutes::none();
        for minute in (0..MINUTES).filter(|m| !silent.contains(m)) {
            minutes.count(i64::try_from(minute).unwrap() * MINUTE_NS);
        }
        minutes
    }

    /// Events in these minutes only.
    fn only(busy: &[i64]) -> Minutes {
        let mut minutes = Minutes::none();
        for minute in busy {
            minutes.count(minute * MINUTE_NS);
        }
        minutes
    }

    fn window(nth: i64, grade: &str) -> Tally {
        let start = partition().date.start_ns() + nth * WINDOW_NS;
        Tally {
            exchange: "okx".to_owned(),
            window_start_ns: start,
            grade: grade.to_owned(),
            events_by_stream: BTreeMap::from([("bbo".to_owned(), 9)]),
            ..Tally::default()
        }
    }

    fn told(facts: &CoverageFacts<'_>) -> String {
        let (state, reasons, _) = judge(facts);
        if reasons.is_empty() {
            state.word().to_owned()
        } else {
            format!("{}: {}", state.word(), reasons.join("; "))
        }
    }

    #[test]
    fn every_state_has_its_reason() {
        let partition = partition();
        let check = |archived: Archived,
                     waiting,
                     (quarantined, discarded),
                     rows_nearby,
                     today: &str,
                     expected: &str| {
            let facts = CoverageFacts {
                partition: &partition,
                today: today.parse().unwrap(),
                archived: &archived,
                waiting,
                quarantined,
                discarded,
                rows_nearby,
                minutes: None,
                others: &[],
                windows: &[],
            };
            assert_eq!(told(&facts), expected);
        };
        let (later, nothing) = ("20260205", Archived::Nothing);
        check(published(), 0, (0, 0), 0, later, "complete");
        check(
            published(),
            1,
            (0, 0),
            0,
            later,
            "new files: 1 file of the spool not in the archive yet",
        );
        check(
            published(),
            0,
            (2, 0),
            0,
            later,
            "quarantined: 2 files in QUARANTINE",
        );
        check(
            published(),
            1,
            (1, 0),
            0,
            later,
            "new files: 1 file of the spool not in the archive yet; 1 file in QUARANTINE",
        );
        check(
            published(),
            0,
            (0, 0),
            0,
            "20260203",
            "pending: the day is not over",
        );
        check(
            nothing.clone(),
            3,
            (0, 0),
            0,
            later,
            "pending: 3 files of the spool not in the archive yet",
        );
        check(
            nothing.clone(),
            0,
            (0, 0),
            7,
            later,
            "pending: 7 rows of it are in files of the days beside it",
        );
        check(
            nothing.clone(),
            0,
            (0, 0),
            0,
            "20260203",
            "pending: the day is not over",
        );
        check(
            nothing.clone(),
            0,
            (1, 0),
            0,
            later,
            "quarantined: nothing of it could be compacted; 1 file in QUARANTINE",
        );
        check(
            nothing.clone(),
            0,
            (0, 1),
            0,
            later,
            "quarantined: nothing of it could be compacted; 1 file discarded from QUARANTINE",
        );
        check(
            nothing,
            0,
            (0, 0),
            0,
            later,
            "missing: neither the archive nor the spool has anything of it",
        );
        check(
            Archived::Unproven("no meta.json".to_owned()),
            1,
            (0, 0),
            0,
            later,
            "unproven: no meta.json; 1 file of the spool not in the archive yet",
        );
    }

    #[test]
    fn gaps_by_windows_and_by_density() {
        let check =
            |minutes: &Minutes, others: &[Minutes], windows: &[Tally], expected: &[&str]| {
                let (partition, archived) = (partition(), published());
                let others: Vec<&Minutes> = others.iter().collect();
                let facts = CoverageFacts {
                    partition: &partition,
                    today: "20260205".parse().unwrap(),
                    archived: &archived,
                    waiting: 0,
                    quarantined: 0,
                    discarded: 0,
                    rows_nearby: 0,
                    minutes: Some(minutes),
                    others: &others,
                    windows,
                };
                let (state, _, gaps) = judge(&facts);
                let told: Vec<String> = gaps
                    .iter()
                    .map(|g| format!("{} {} {}", time_of_day(g.from), time_of_day(g.to), g.why))
                    .collect();
                assert_eq!(told, expected);
                assert_eq!(state == DayState::Complete, expected.is_empty());
            };
        let full = without(0..0);
        check(&full, &[], &[], &[]);
        // Less than an hour, and an hour.
        check(&without(100..159), std::slice::from_ref(&full), &[], &[]);
        check(
            &without(100..160),
            std::slice::from_ref(&full),
            &[],
            &["01:40 02:40 1 of 1 other days have events then"],
        );
        // No other day: the day itself is dense, or is not.
        check(
            &without(1380..1440),
            &[],
            &[],
            &["23:00 24:00 the day has events in 1380 of its 1440 minutes"],
        );
        check(&only(&[0, 480, 960]), &[], &[], &[]);
        // One other day is no witness against a sparse one: a late file of it may be all that has
        // events then.
        let late = only(&[0, 100, 200, 300, 480, 700, 960]);
        check(&only(&[0, 480, 960]), std::slice::from_ref(&late), &[], &[]);
        check(
            &only(&[0, 480, 960]),
            &[late.clone(), only(&[0, 480, 960])],
            &[],
            &[],
        );
        let two = [
            "00:01 08:00 2 of 2 other days have events then",
            "08:01 16:00 2 of 2 other days have events then",
        ];
        check(&only(&[0, 480, 960]), &[late.clone(), late], &[], &two);
        // Every eight hours, a minute off: quiet, not incomplete. Once it did not come.
        let funding = [
            only(&[1, 481, 961]),
            only(&[0, 479, 960]),
            only(&[0, 480, 959]),
        ];
        check(&only(&[0, 480, 960]), &funding, &[], &[]);
        check(
            &only(&[0, 960]),
            &funding,
            &[],
            &["00:01 16:00 3 of 3 other days have events then"],
        );
        // Most other days are silent then as well.
        let nights = [without(0..300), without(0..300), full.clone()];
        check(&without(0..300), &nights, &[], &[]);
        // Windows judge where they are: a good one excuses silence, a bad one is a gap whatever
        // came.
        let good: Vec<Tally> = (0..96).map(|nth| window(nth, "A")).collect();
        check(&without(100..400), std::slice::from_ref(&full), &good, &[]);
        check(
            &full,
            &[],
            &[window(3, "B"), window(4, "C"), window(5, "C")],
            &["01:00 01:30 the collector graded it C"],
        );
        let lost = Tally {
            offline_seconds: 90.4,
            missing: 2,
            ..window(95, "D")
        };
        check(
            &full,
            &[],
            &[lost],
            &["23:45 24:00 the collector graded it D, 90 s offline, 2 events lost"],
        );
        // A window that is bad because of one series is bad for that one.
        let of = |series: &str| Tally {
            events: 9,
            series_offline_seconds: BTreeMap::from([(series.to_owned(), 600.0)]),
            ..window(4, "C")
        };
        check(&full, &[], &[of("bbo/ethusdt")], &[]);
        check(
            &full,
            &[],
            &[of("bbo/btcusdt")],
            &["01:00 01:15 the collector graded it F, 600 s offline"],
        );
        // Of several collectors one that was well has what another one lost, if it saw as much; the
        // least loss is told once.
        let seen = |events: u64, window: Tally| Tally {
            events_by_stream: BTreeMap::from([("bbo".to_owned(), events)]),
            ..window
        };
        check(&full, &[], &[window(4, "C"), window(4, "A")], &[]);
        let late = [window(4, "C"), seen(5, window(4, "A"))];
        check(
            &full,
            &[],
            &late,
            &["01:00 01:15 the collector graded it C"],
        );
        check(
            &full,
            &[],
            &[window(4, "D"), window(4, "C")],
            &["01:00 01:15 the collector graded it C"],
        );
        check(
            &full,
            &[],
            &[window(4, "C"), seen(0, window(4, "A"))],
            &["01:00 01:15 the collector graded it C"],
        );
        let halves: Vec<Tally> = (0..48)
            .flat_map(|nth| [window(nth, "A"), window(nth, "A")])
            .collect();
        assert!(!is_judged(&partition(), &halves) && is_judged(&partition(), &good));
        // Those of another exchange, or without events of the stream, say nothing.
        check(
            &full,
            &[],
            &[Tally {
                exchange: "bybit".to_owned(),
                ..window(4, "F")
            }],
            &[],
        );
        let silent: Vec<Tally> = good
            .into_iter()
            .map(|w| Tally {
                events_by_stream: BTreeMap::new(),
                ..w
            })
            .collect();
        assert!(!is_judged(&partition(), &silent));
        check(
            &without(100..160),
            &[full],
            &silent,
            &["01:40 02:40 1 of 1 other days have events then"],
        );
    }

    #[test]
    fn one_command_for_days_that_follow_one_another() {
        let cell = |date: &str, state| Cell {
            partition: Partition {
                date: date.parse().unwrap(),
                ..partition()
            },
            state,
            reasons: Vec::new(),
            gaps: Vec::new(),
            published: None,
            waiting: 0,
            quarantined: 0,
            reconciled: Vec::new(),
            command: None,
            minutes: None,
        };
        let cells = [
            cell("20260201", DayState::Missing),
            cell("20260202", DayState::Missing),
            cell("20260203", DayState::Pending),
            cell("20260205", DayState::Pending),
        ];
        let spans = spans(&cells);
        assert_eq!(
            spans.iter().map(|span| span.len()).collect::<Vec<_>>(),
            [2, 1, 1]
        );
        let say = |first: &str, last: &str, state| {
            command(
                state,
                &partition().series,
                first.parse().unwrap(),
                last.parse().unwrap(),
            )
            .unwrap_or_default()
        };
        assert_eq!(
            say("20260201", "20260202", DayState::Missing),
            "qlc compact --mode backfill --start 20260201 --end 20260202 --exchange okx --stream bbo --symbol btcusdt"
        );
        assert_eq!(
            say("20260203", "20260203", DayState::Pending),
            "qlc compact --mode single --date 20260203 --exchange okx --stream bbo --symbol btcusdt"
        );
        assert_eq!(say("20260203", "20260203", DayState::Gaps), "");
    }
}
