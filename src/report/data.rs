//! The data of the page: the coverage and the runs as plain values, as small as the plots allow.
//!
//! The size is bounded: with many partitions, only those with gaps keep their events of each
//! minute, the others those of each hour.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{
    coverage::{Cell, Coverage, DayState, Minutes},
    reconcile::ReconcileSummary,
    run::RunRecord,
};

/// Partitions of which all minutes are told, at most.
const IN_MINUTES: usize = 400;
/// The slowest partitions that are told.
const SLOWEST: usize = 20;
/// The latest runs that are told.
const RUNS: usize = 60;

/// What a report is about.
#[derive(Debug)]
pub struct Input<'a> {
    /// The coverage.
    pub coverage: &'a Coverage,
    /// The records of runs, by the end of each.
    pub runs: &'a [RunRecord],
    /// The archive as a person would type it.
    pub archive: String,
    /// When the report was made, RFC 3339 in UTC.
    pub made_at: String,
}

/// All of the page.
#[derive(Debug, Serialize)]
pub(super) struct Data<'a> {
    archive: &'a str,
    made_at: &'a str,
    version: &'static str,
    start: String,
    end: String,
    days: Vec<String>,
    states: Vec<Sign>,
    cells: Vec<Told<'a>>,
    quarantine: Vec<Kept<'a>>,
    reconciled: Vec<Compared<'a>>,
    slowest: Vec<Slow<'a>>,
    runs: Vec<Ran<'a>>,
    ended: Vec<(String, String)>,
    without_day: u64,
}

#[derive(Debug, Serialize)]
struct Sign {
    key: DayState,
    word: &'static str,
}

#[derive(Debug, Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    cell: &'a Cell,
    /// Events of each minute, or of each hour.
    events: Option<Vec<u32>>,
}

#[derive(Debug, Serialize)]
struct Kept<'a> {
    series: String,
    date: String,
    error_type: String,
    message: &'a str,
    source: &'a str,
    size: u64,
    time: &'a str,
    discarded: bool,
}

#[derive(Debug, Serialize)]
struct Compared<'a> {
    series: String,
    date: String,
    #[serde(flatten)]
    summary: &'a ReconcileSummary,
}

#[derive(Debug, Serialize)]
struct Slow<'a> {
    series: String,
    date: String,
    seconds: f64,
    rows: u64,
    bytes_in: u64,
    started_at: &'a str,
}

#[derive(Debug, Serialize)]
struct Ran<'a> {
    id: &'a str,
    command: &'a str,
    mode: Option<&'a str>,
    started_at: &'a str,
    seconds: f64,
    exit_code: u8,
    limit: Option<u64>,
    peak: Option<u64>,
    came: BTreeMap<&'a str, u64>,
}

/// The values of the page.
pub(super) fn of<'a>(input: &'a Input<'a>) -> Data<'a> {
    let Coverage {
        start,
        end,
        cells,
        ended,
        without_day,
        quarantine,
        reconciled,
        ..
    } = input.coverage;
    let all = cells.len() <= IN_MINUTES;
    let told = |cell: &'a Cell| {
        let minutes = all || !cell.gaps.is_empty();
        let events = cell.minutes.as_ref().map(|m| {
            if minutes {
                m.counts().to_vec()
            } else {
                by_hour(m)
            }
        });
        Told { cell, events }
    };
    let kept = quarantine
        .iter()
        .filter(|(p, _)| p.date >= *start && p.date <= *end)
        .map(|(partition, entry)| Kept {
            series: partition.series.to_string(),
            date: partition.date.to_string(),
            error_type: entry.error_type.to_string(),
            message: &entry.message,
            source: &entry.source_path,
            size: entry.size,
            time: &entry.time,
            discarded: entry.discarded,
        });
    Data {
        archive: &input.archive,
        made_at: &input.made_at,
        version: env!("CARGO_PKG_VERSION"),
        start: start.to_string(),
        end: end.to_string(),
        days: start.through(*end).map(|day| day.to_string()).collect(),
        states: DayState::ALL
            .iter()
            .map(|state| Sign {
                key: *state,
                word: state.word(),
            })
            .collect(),
        cells: cells.iter().map(told).collect(),
        quarantine: kept.collect(),
        reconciled: reconciled.iter().map(compared).collect(),
        slowest: slowest(input.runs),
        runs: input.runs.iter().rev().take(RUNS).map(ran).collect(),
        ended: ended
            .iter()
            .map(|(series, last)| (series.to_string(), last.to_string()))
            .collect(),
        without_day: *without_day,
    }
}

fn by_hour(minutes: &Minutes) -> Vec<u32> {
    minutes
        .counts()
        .chunks(60)
        .map(|hour| hour.iter().fold(0_u32, |sum, n| sum.saturating_add(*n)))
        .collect()
}

fn compared(summary: &ReconcileSummary) -> Compared<'_> {
    Compared {
        series: summary.partition.series.to_string(),
        date: summary.partition.date.to_string(),
        summary,
    }
}

/// The partitions whose compaction took longest.
fn slowest(runs: &[RunRecord]) -> Vec<Slow<'_>> {
    let compactions = runs.iter().filter(|run| run.command == "compact");
    let mut all: Vec<Slow<'_>> = compactions
        .flat_map(|run| run.partitions.iter().map(move |part| (run, part)))
        .filter(|(_, part)| part.status == "done")
        .map(|(run, part)| Slow {
            series: part.partition.series.to_string(),
            date: part.partition.date.to_string(),
            seconds: part.seconds,
            rows: part.rows,
            bytes_in: part.bytes_in,
            started_at: &run.started_at,
        })
        .collect();
    all.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    all.truncate(SLOWEST);
    all
}

fn ran(run: &RunRecord) -> Ran<'_> {
    let mut came: BTreeMap<&str, u64> = run
        .counts
        .iter()
        .map(|(what, n)| (what.as_str(), *n))
        .collect();
    for part in &run.partitions {
        *came.entry(part.status.as_str()).or_default() += 1;
    }
    Ran {
        id: &run.id,
        command: &run.command,
        mode: run.asked.mode.as_deref(),
        started_at: &run.started_at,
        seconds: run.seconds,
        exit_code: run.exit_code,
        limit: run.memory.limit,
        peak: run.memory.peak,
        came,
    }
}
