//! The record that a run leaves in the archive when it has ended: what was asked for, the results,
//! time and memory.
//!
//! A record is only history: if it cannot be written, the run's result is unchanged, and a warning
//! says so. Dry runs, and runs that could not begin, leave none.

use std::{collections::BTreeMap, path::Path, time::Instant};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    clean,
    cli::{
        account::peak_memory,
        exit::Exit,
        settings::Settings,
        show::{Checked, Misplaced},
    },
    compact,
    error::Result,
    model::{
        date::Date,
        partition::Selection,
        reconcile::ReconcileRecord,
        run::{MemoryUse, PartitionRecord, RUN_VERSION, RunRecord, RunRequest},
    },
    prune, reconcile,
    storage::{runs, scratch::Scratch, store::Store},
    verify,
};

/// How many Parquet files a compaction saw in the spool, in its record.
const SEEN: &str = "files_seen";
/// How many of them nobody takes in.
const IGNORED: &str = "files_ignored";
/// How many findings of a verification are about no partition.
const OUTSIDE: &str = "findings_outside";
/// So far back an earlier run is looked for.
const DAYS: i64 = 8;

/// When a run began, by the wall clock and by one that nobody sets.
#[derive(Debug)]
pub(super) struct Begun {
    at: DateTime<Utc>,
    clock: Instant,
}

/// A run begins now.
pub(super) fn begin() -> Begun {
    Begun {
        at: Utc::now(),
        clock: Instant::now(),
    }
}

/// What a run was about.
#[derive(Debug)]
pub(super) struct About {
    command: &'static str,
    asked: RunRequest,
    memory_limit: Option<u64>,
    workers: Option<usize>,
    counts: BTreeMap<String, u64>,
    partitions: Vec<PartitionRecord>,
}

/// Writes the record of a run that ends now.
pub(super) async fn leave(
    archive: &Store,
    settings: &Settings,
    begun: &Begun,
    exit: Exit,
    about: About,
) {
    if let Err(error) = written(archive, &settings.spill_dir, begun, exit, about).await {
        tracing::warn!(why = %error.chain(), "this run is not in the history of the archive; its results are not affected");
    }
}

async fn written(
    archive: &Store,
    spill_dir: &Path,
    begun: &Begun,
    exit: Exit,
    about: About,
) -> Result<String> {
    let now = Utc::now();
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let run = RunRecord {
        run_version: RUN_VERSION,
        id: runs::id(now),
        qlc_version: env!("CARGO_PKG_VERSION").to_owned(),
        command: about.command.to_owned(),
        asked: about.asked,
        started_at: text(begun.at),
        ended_at: text(now),
        seconds: begun.clock.elapsed().as_secs_f64(),
        exit_code: exit.code(),
        error: None,
        workers: about.workers,
        memory: MemoryUse {
            limit: about.memory_limit,
            peak: peak_memory(),
        },
        counts: about.counts,
        partitions: about.partitions,
    };
    let today = Date::of(now)?;
    // A folder's objects are put together in their place.
    let scratch = if archive.local_folder().is_some() {
        None
    } else {
        Some(Scratch::new(spill_dir)?)
    };
    runs::write(
        archive,
        &run,
        today,
        scratch.as_ref().map_or(spill_dir, Scratch::path),
    )
    .await
}

fn selected(selection: &Selection) -> RunRequest {
    RunRequest {
        exchanges: selection.exchanges.clone(),
        streams: selection.streams.clone(),
        symbols: selection.symbols.clone(),
        ..RunRequest::default()
    }
}

/// The word that a value is written as in JSON, such as a status.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// A run that saw files.
#[derive(Debug)]
pub(super) struct Earlier {
    /// When it ended, RFC 3339 in UTC.
    pub(super) ended_at: String,
    /// How many Parquet files the spool held.
    pub(super) files: u64,
}

/// The last compaction of the same series in the days before that left a record and saw files.
/// What cannot be read is no reason to fail a run that has done its work.
pub(super) async fn had_files(archive: &Store, options: &compact::Options) -> Option<Earlier> {
    let now = Utc::now();
    let first = Date::of(now - chrono::Duration::days(DAYS)).ok()?;
    let asked = selected(&options.selection);
    let is_same = |run: &RunRecord| {
        let of = RunRequest {
            mode: None,
            start: None,
            end: None,
            ..run.asked.clone()
        };
        run.command == "compact" && of == asked
    };
    let seen = |run: &RunRecord| run.counts.get(SEEN).copied().unwrap_or(0);
    let saw_files = |run: &RunRecord| is_same(run) && seen(run) > 0;
    let last = runs::newest(archive, first, saw_files).await.ok()??;
    Some(Earlier {
        files: seen(&last),
        ended_at: last.ended_at,
    })
}

/// What a compaction was about.
pub(super) fn of_compact(options: &compact::Options, summary: &compact::RunSummary) -> About {
    let compact::RunSummary { outcomes, input } = summary;
    let (mode, start, end) = match options.mode {
        compact::Mode::Daily => ("daily", None, None),
        compact::Mode::CatchUp => ("catch-up", None, None),
        compact::Mode::Backfill { start, end } => ("backfill", Some(start), Some(end)),
        compact::Mode::Single { date } => ("single", Some(date), Some(date)),
    };
    let part = |o: &compact::Outcome| PartitionRecord {
        partition: o.partition.clone(),
        status: word(&o.status),
        message: o.message.clone(),
        files: o.files,
        quarantined: o.quarantined,
        rows: o.rows,
        bytes_in: o.bytes_in,
        bytes_out: o.bytes_out,
        seconds: o.seconds,
        sha256: o.sha256.clone(),
        plan: o.plan.clone(),
    };
    let (idle, others): (Vec<_>, Vec<_>) = outcomes.iter().partition(|outcome| outcome.idle);
    let mut counts = BTreeMap::from([
        (SEEN.to_owned(), input.files),
        (IGNORED.to_owned(), input.ignored.len() as u64),
    ]);
    if !idle.is_empty() {
        let _ = counts.insert(word(&compact::Status::UpToDate), idle.len() as u64);
    }
    About {
        command: "compact",
        asked: RunRequest {
            mode: Some(mode.to_owned()),
            start,
            end,
            ..selected(&options.selection)
        },
        memory_limit: Some(options.memory_limit),
        workers: Some(options.workers),
        counts,
        partitions: others.into_iter().map(part).collect(),
    }
}

/// What a verification was about.
pub(super) fn of_verify(
    options: &verify::Options,
    mode: &str,
    checked: Vec<Checked>,
    misplaced: &[Misplaced],
) -> About {
    let part = |one: Checked| PartitionRecord {
        partition: one.partition,
        status: if one.sound { "sound" } else { "damaged" }.to_owned(),
        message: one.findings.join("; "),
        files: 0,
        quarantined: 0,
        rows: one.rows,
        bytes_in: one.bytes,
        bytes_out: 0,
        seconds: one.seconds,
        sha256: None,
        plan: Vec::new(),
    };
    let mut counts = BTreeMap::new();
    if !misplaced.is_empty() {
        let _ = counts.insert(OUTSIDE.to_owned(), misplaced.len() as u64);
    }
    About {
        command: "verify",
        asked: RunRequest {
            mode: Some(mode.to_owned()),
            start: options.start,
            end: options.end,
            ..selected(&options.selection)
        },
        memory_limit: None,
        workers: None,
        counts,
        partitions: checked.into_iter().map(part).collect(),
    }
}

/// What a comparison with what an exchange published was about.
pub(super) fn of_reconcile(options: &reconcile::Options, records: &[ReconcileRecord]) -> About {
    let part = |one: &ReconcileRecord| PartitionRecord {
        partition: one.partition.clone(),
        status: one.verdict.word().to_owned(),
        message: one.message.clone(),
        files: one.files.len() as u64,
        quarantined: 0,
        rows: one.ours,
        bytes_in: 0,
        bytes_out: 0,
        seconds: 0.0,
        sha256: one.data_sha256.clone(),
        plan: Vec::new(),
    };
    About {
        command: "reconcile",
        asked: RunRequest {
            start: Some(options.start),
            end: Some(options.end),
            ..selected(&options.selection)
        },
        memory_limit: Some(options.memory_limit),
        workers: None,
        counts: BTreeMap::new(),
        partitions: records.iter().map(part).collect(),
    }
}

/// What a pruning was about: so many files of each outcome.
pub(super) fn of_prune(options: &prune::Options, report: &prune::Report) -> About {
    let outcomes = report.files.iter().map(|file| word(&file.outcome));
    let records = report
        .records
        .iter()
        .map(|record| format!("record {}", word(&record.outcome)));
    of_things(
        "prune",
        selected(&options.selection),
        outcomes.chain(records),
    )
}

/// What a cleaning was about: so many things of each kind and what became of them.
pub(super) fn of_clean(swept: &[clean::Swept]) -> About {
    let things = swept
        .iter()
        .map(|one| format!("{} {}", word(&one.kind), word(&one.left)));
    of_things("clean", RunRequest::default(), things)
}

fn of_things(
    command: &'static str,
    asked: RunRequest,
    things: impl Iterator<Item = String>,
) -> About {
    let mut counts = BTreeMap::new();
    for thing in things {
        *counts.entry(thing).or_default() += 1;
    }
    About {
        command,
        asked,
        memory_limit: None,
        workers: None,
        counts,
        partitions: Vec::new(),
    }
}
