//! `compact`: a spool's small files become one proven file per partition.
//!
//! [`survey`] lists, [`recognise`] and [`compare`] find out which rows the archive has already,
//! [`decide`] says what is to be done and why, [`columns`] settles the columns of the day,
//! [`prepare`] lays the files out, [`work`] does it and [`keep`] quarantines what could not be
//! used. [`footers`] and [`standing`] remember what a run has read. [`apart`] is the same for one
//! partition of a cluster, [`foreign`] for the tree of another program. Nothing is removed from the
//! spool.

pub mod apart;
pub mod attempts;
pub mod columns;
pub mod compare;
pub mod context;
pub mod decide;
pub mod footers;
pub mod foreign;
pub mod keep;
pub mod look;
pub mod prepare;
mod rebuild;
pub mod recognise;
mod report;
pub mod standing;
pub mod survey;
pub mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use futures::{StreamExt, stream};

pub use rebuild::{Rebuilt, rebuild};
pub use report::{
    Action, InputSummary, Mode, Options, Outcome, Outlook, Pending, RunSummary, Silent, Status,
    Stop, Watch,
};

use crate::{
    archive::stray,
    error::{Error, Kind, Result},
    file::{examine, fault::Problem, reader::Handle},
    model::{
        count,
        date::Date,
        layout,
        partition::{Partition, Selection, Series},
        receipt::rows_lost,
    },
    storage::{
        listing::Unlisted,
        scratch::{self, Scratch},
        spelling::{self, FOLDER_NAMES},
        store::Store,
    },
};
use attempts::rehearse;
use context::RunContext;
use decide::Decision;
use footers::Footers;
use look::{Freshness, look};
use survey::Spool;

/// Compacts what `options` mean. A series of which not everything could be listed fails, with every
/// partition that is known of it.
///
/// # Errors
/// When the run cannot begin (a store does not answer, nothing matches the selection); what fails
/// in a partition is in its outcome.
pub async fn run(
    spool: &Store,
    archive: &Store,
    options: &Options,
    watch: Arc<dyn Watch>,
    stop: &Stop,
) -> Result<RunSummary> {
    let swept = scratch::sweep(&options.spill_dir);
    if swept > 0 {
        tracing::info!(swept, folder = %options.spill_dir.display(), "removed scratch folders of dead processes");
    }
    let scratch = Scratch::new(&options.spill_dir)?;
    let footers = Arc::new(Footers::within(options.memory_limit));
    let Meant {
        files,
        partitions,
        unknown,
        input,
    } = meant(spool, archive, options, &footers).await?;
    let workers = options.workers_for(partitions.len());
    let run = RunContext::new(
        spool,
        archive,
        options,
        scratch.path(),
        workers,
        Arc::clone(&watch),
        stop,
    )?;
    let shared = RunContext { footers, ..run };
    watch.begin(partitions.len() + unknown.len());
    for outcome in &unknown {
        watch.partition_ends(outcome);
    }
    let outcomes = in_turn(
        &shared,
        partitions,
        files,
        matches!(options.mode, Mode::Single { .. }),
        workers,
    )
    .await;
    Ok(RunSummary {
        outcomes: joined(outcomes.into_iter(), unknown),
        input,
    })
}

/// Works on all `partitions`, `workers` at a time; the outcomes are in their order.
async fn in_turn(
    shared: &RunContext,
    partitions: Vec<Partition>,
    files: Spool,
    explicit: bool,
    workers: usize,
) -> Vec<Outcome> {
    let files = Arc::new(files);
    let tasks = partitions.into_iter().enumerate().map(|(nth, partition)| {
        let (shared, files) = (shared.clone(), Arc::clone(&files));
        async move {
            let (watch, of) = (Arc::clone(&shared.watch), partition.clone());
            let task =
                tokio::spawn(async move { one(&shared, &partition, &files, explicit).await });
            (
                nth,
                task.await
                    .unwrap_or_else(|defect| Some(ended_early(&of, defect, watch.as_ref()))),
            )
        }
    });
    // As they end: a large partition must not hold up the small ones behind it.
    let mut outcomes: Vec<(usize, Option<Outcome>)> = stream::iter(tasks)
        .buffer_unordered(workers)
        .collect()
        .await;
    outcomes.sort_by_key(|(nth, _)| *nth);
    outcomes
        .into_iter()
        .filter_map(|(_, outcome)| outcome)
        .collect()
}

/// All outcomes in the order of their partitions.
fn joined(outcomes: impl Iterator<Item = Outcome>, unknown: Vec<Outcome>) -> Vec<Outcome> {
    let mut all: Vec<Outcome> = outcomes.chain(unknown).collect();
    all.sort_by(|a, b| a.partition.cmp(&b.partition));
    all
}

/// The outcome of a partition whose worker panicked: a defect, which takes the others' outcomes
/// with it as little as a failure would.
fn ended_early(
    partition: &Partition,
    defect: tokio::task::JoinError,
    watch: &dyn Watch,
) -> Outcome {
    let mut outcome = Outcome::without(
        partition,
        Status::Failed,
        &Error::lost_task("a worker", defect).chain(),
    );
    outcome.error = Some(Kind::Internal);
    watch.partition_ends(&outcome);
    outcome
}

/// Says what [`run`] would do; `explain` asks for the plans of the engine as well.
///
/// # Errors
/// As [`run`].
pub async fn dry_run(
    spool: &Store,
    archive: &Store,
    options: &Options,
    explain: bool,
) -> Result<(Vec<Outlook>, InputSummary)> {
    let footers = Arc::new(Footers::within(options.memory_limit));
    let Meant {
        files,
        partitions,
        unknown,
        input,
    } = meant(spool, archive, options, &footers).await?;
    let workers = options.workers_for(partitions.len());
    let run = RunContext::new(
        spool,
        archive,
        options,
        &options.spill_dir,
        workers,
        Arc::new(Silent),
        &Stop::default(),
    )?;
    let shared = RunContext { footers, ..run };
    let mut outlooks: Vec<Outlook> = unknown
        .into_iter()
        .map(|one| Outlook::without(one.partition, Action::Fail, one.message))
        .collect();
    for partition in partitions {
        let files = files
            .get(&partition.series)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let explicit = matches!(options.mode, Mode::Single { .. });
        outlooks.extend(outlook(&shared, partition, files, explicit, explain).await?);
    }
    outlooks.sort_by(|a, b| a.partition.cmp(&b.partition));
    Ok((outlooks, input))
}

/// What a run is about.
struct Meant {
    /// The spool files.
    files: Spool,
    /// The partitions to be looked at, in order.
    partitions: Vec<Partition>,
    /// Those of which not all is known, so that nothing may be published: failed already.
    unknown: Vec<Outcome>,
    /// What was seen of the input.
    input: InputSummary,
}

async fn meant(
    spool: &Store,
    archive: &Store,
    options: &Options,
    footers: &Footers,
) -> Result<Meant> {
    if let Mode::Backfill { start, end } = options.mode
        && start > end
    {
        return Err(Error::usage(format!(
            "the backfill would start on {start}, after its end on {end}"
        )));
    }
    let survey::SpoolFiles {
        files,
        ignored,
        missing,
    } = survey::spool_files(spool, &options.selection).await?;
    let survey::ArchivedDays {
        days: archived,
        strays,
        missing: gaps,
    } = survey::archived_days(archive, &options.selection).await?;
    let is_nothing = files.is_empty()
        && archived.is_empty()
        && missing.all().is_empty()
        && gaps.all().is_empty();
    if is_nothing && options.selection != Selection::all() {
        let hint = spelling::hint(&options.selection, &[spool, archive], FOLDER_NAMES).await;
        return Err(Error::usage(format!(
            "no file of the spool and nothing in the archive matches --exchange, --stream and --symbol; {hint}"
        )));
    }
    let unlisted = |series: &Series| {
        let folder = missing
            .of("", series)
            .or_else(|| gaps.of("", series))
            .or_else(|| gaps.of(layout::RECEIPTS, series))?;
        Some(format!(
            "not everything of {series} could be listed, so nothing is published: {}",
            folder.reason
        ))
    };
    let mut unnamed: BTreeMap<Series, BTreeSet<Date>> = BTreeMap::new();
    let mut undated: Vec<(Partition, Pending)> = Vec::new();
    let mut unread: BTreeMap<Series, String> = BTreeMap::new();
    for (series, files) in &files {
        match unnamed_days(spool, files, footers).await {
            Ok(found) => {
                let _ = unnamed.insert(series.clone(), found.days);
                let of_series = found.undated.into_iter();
                undated.extend(of_series.map(|(day, file)| (series.on(day), file)));
            }
            Err(error) => {
                let _ = unread.insert(series.clone(), error.chain());
            }
        }
    }
    let (mut partitions, mut unknown) = (Vec::new(), Vec::new());
    for partition in survey::partitions(&files, &archived, options, &unnamed)? {
        if let Some(error) = stray::of_partition(&strays, &partition, archive) {
            unknown.push(Outcome::failed(&partition, &error));
            continue;
        }
        match unlisted(&partition.series).or_else(|| unread.get(&partition.series).cloned()) {
            Some(why) => {
                // The days beside those of files were to be looked at for rows that nobody knows of
                // yet.
                let series = &partition.series;
                let is_known = files
                    .get(series)
                    .is_some_and(|all| all.iter().any(|f| f.home == Some(partition.date)))
                    || archived
                        .get(series)
                        .is_some_and(|days| days.contains_key(&partition.date))
                    || matches!(options.mode, Mode::Single { .. });
                if !is_known {
                    continue;
                }
                let outcome = Outcome::without(&partition, Status::Failed, &why);
                unknown.push(Outcome {
                    error: Some(Kind::Io),
                    ..outcome
                });
            }
            None => partitions.push(partition),
        }
    }
    let today = Date::of(options.now)?;
    undated.retain(|(of, _)| of.date >= today && !partitions.contains(of));
    let seen = files.values().map(Vec::len).sum::<usize>() + ignored.len();
    let unread = unread.into_iter().map(|(series, reason)| Unlisted {
        folder: layout::series_dir(&series),
        reason,
    });
    let unlisted = missing
        .into_all()
        .into_iter()
        .chain(gaps.into_all())
        .chain(unread)
        .collect();
    let input = InputSummary {
        files: seen as u64,
        ignored,
        unlisted,
        pending: undated.into_iter().map(|(_, file)| file).collect(),
    };
    Ok(Meant {
        files,
        partitions,
        unknown,
        input,
    })
}

/// What is known of the files of a series whose names tell no day.
#[derive(Default)]
struct Unnamed {
    /// The days that they may have rows of, and those that account for them.
    days: BTreeSet<Date>,
    /// Files of which something goes to QUARANTINE, and the day whose run puts it there.
    undated: Vec<(Date, Pending)>,
}

/// The days of the files of a series whose names do not tell any: their footers do.
async fn unnamed_days(
    spool: &Store,
    files: &[decide::SpoolFile],
    footers: &Footers,
) -> Result<Unnamed> {
    let mut unnamed = Unnamed::default();
    for file in files.iter().filter(|f| f.home.is_none()) {
        let handle = Handle::new(spool, &file.object);
        // Neither name nor footer may tell the day of rows that go to QUARANTINE, so one day
        // accounts for them.
        let last_change = prepare::accounting_day(file, None);
        unnamed.days.extend(last_change);
        let (day, found) = match footers.of(&handle, file).await {
            Ok(claims) => (
                prepare::accounting_day(file, Some(&claims)),
                examine::days(&handle, &claims, None).await,
            ),
            Err(problem) => (last_change, Err(problem)),
        };
        unnamed.days.extend(day);
        let what = match found {
            Ok(found) => {
                unnamed.days.extend(found.permitted);
                if found.unplaced == 0 {
                    continue;
                }
                format!(
                    "{} of it have no permitted day",
                    count::rows(found.unplaced)
                )
            }
            Err(Problem::Storage(error)) => return Err(error),
            Err(problem) => format!("it cannot be used ({problem})"),
        };
        unnamed.undated.extend(day.map(|day| {
            let reason =
                format!("{what}, and its name tells no day; a run after {day} looks at it");
            let file = file.object.key.clone();
            (day, Pending { file, reason })
        }));
    }
    Ok(unnamed)
}

/// Works on one partition; `None` when it turned out that nobody meant it.
async fn one(
    run: &RunContext,
    partition: &Partition,
    files: &Spool,
    explicit: bool,
) -> Option<Outcome> {
    let began = Instant::now();
    let mut outcome = Outcome::without(
        partition,
        Status::Interrupted,
        "stopped on request before it began",
    );
    let files = files
        .get(&partition.series)
        .map(Vec::as_slice)
        .unwrap_or_default();
    if !run.stop.asked() {
        match work::work(run, partition, files).await {
            Ok(ended) => {
                let unmeant = ended.status == Status::UpToDate
                    && ended.quarantined == 0
                    && !explicit
                    && !files.iter().any(|f| f.home == Some(partition.date))
                    && !run.standing.has(partition)
                    && run
                        .places
                        .archive
                        .head(&layout::data_key(partition))
                        .await
                        .is_ok_and(|d| d.is_none());
                if unmeant {
                    return None;
                }
                outcome = ended;
            }
            Err(error) => outcome = Outcome::failed(partition, &error),
        }
    }
    run.comparisons.forget(partition);
    if !outcome.idle {
        run.standing.forget(partition);
    }
    run.footers.done_with(
        files
            .iter()
            .filter(|file| file.home.is_none_or(|home| home == partition.date)),
    );
    outcome.seconds = began.elapsed().as_secs_f64();
    run.watch.partition_ends(&outcome);
    Some(outcome)
}

async fn outlook(
    run: &RunContext,
    partition: Partition,
    files: &[decide::SpoolFile],
    explicit: bool,
    explain: bool,
) -> Result<Option<Outlook>> {
    let look = look(run, &partition, files, Freshness::OfThisRun).await?;
    let mut outlook = Outlook::without(partition, look.decision.action(), String::new());
    match &look.decision {
        Decision::Nothing(why) => {
            let meant = explicit
                || look
                    .feeding
                    .iter()
                    .any(|one| one.mark.file.home == Some(outlook.partition.date));
            if !meant && files.iter().all(|f| f.home != Some(outlook.partition.date)) {
                return Ok(None);
            }
            outlook.reason.clone_from(why);
        }
        Decision::Record { reason, .. } => outlook.reason.clone_from(reason),
        Decision::Fail(why) => outlook.reason.clone_from(why),
        Decision::Complete(_) => "an interrupted publish".clone_into(&mut outlook.reason),
        Decision::AcceptLoss { loss, lost } => {
            let rows = rows_lost(lost);
            outlook.reason = format!("{loss}; {} are nowhere else", count::rows(rows));
        }
        Decision::Build(build) => {
            let foreseen =
                rehearse::foresee(run, &outlook.partition, &look, build, explain).await?;
            let prepared = &foreseen.prepared;
            outlook.reason.clone_from(&build.reason);
            outlook.files = prepared.sources.len();
            outlook.rows = prepared.rows();
            outlook.bytes = prepared.sources.iter().map(|s| s.handle.size()).sum();
            outlook.groups = prepared.layouts.groups();
            outlook.passes = prepared.layouts.passes();
            outlook.quarantined = foreseen.unusable.len();
            outlook.plan = prepared.lines();
            outlook.unusable = foreseen.unusable;
            if let Some([logical, physical]) = foreseen.plans {
                (outlook.logical_plan, outlook.physical_plan) = (Some(logical), Some(physical));
            }
        }
    }
    Ok(Some(outlook))
}
