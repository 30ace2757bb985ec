//! `compact`: a spool's small files become one proven file per partition.
//!
//! [`survey`] lists, [`recognise`] and [`compare`] find out which rows the archive has already,
//! [`decide`] says what is to be done and why, [`columns`] settles the columns of the day,
//! [`prepare`] lays the files out, [`work`] does it and [`keep`] quarantines what could not be
//! used. [`footers`] and [`standing`] remember what a run has read. [`apart`] is the same for one
//! partition of a cluster, [`foreign`] for the tree of another program. Nothing is removed from the
//! spool.

pub mod apart;
pub mod columns;
pub mod compare;
pub mod decide;
pub mod footers;
pub mod foreign;
pub mod keep;
pub mod prepare;
pub mod recognise;
mod report;
pub mod standing;
pub mod survey;
pub mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Instant,
};

use chrono::{DateTime, SecondsFormat, Utc};
use futures::{StreamExt, stream};

pub use report::{
    Action, InputSummary, Mode, Options, Outcome, Outlook, RunSummary, Silent, Status, Stop, Watch,
};

use crate::{
    archive::{
        partition::PartitionHandle,
        state::{self, Depth, State},
    },
    error::{Error, Kind, Result},
    file::{encode::ENCODING, examine, fault::Problem, reader::Handle},
    job::budget::Budget,
    model::{
        count::{self, plural},
        date::Date,
        layout,
        partition::{Partition, Selection, Series},
        receipt::{Content, SeqOrigin, Source},
    },
    storage::{
        listing::Unlisted,
        scratch::{self, Scratch},
        store::Store,
    },
};
use decide::{Decision, Knowledge, Wishes};
use footers::Footers;
use keep::Places;
use standing::StandingDays;
use survey::Spool;
use work::{Freshness, Origin, RunContext};

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
    let run = shared(
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
    let run = shared(
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

/// What a rebuild from the spool showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebuilt {
    /// The same bytes.
    Same,
    /// Other bytes: their digests.
    Differs {
        /// Of the archived data.
        archived: String,
        /// Of what was made again.
        rebuilt: String,
    },
    /// A source in the spool does not have the rows any more that were archived from it; which. The
    /// archive is not to blame.
    SourceChanged(String),
    /// It could not be made again; why.
    Impossible(String),
}

/// Of each known file that was not read, or does not read at all, whether it still has its rows.
async fn unread(
    spool: &Store,
    look: &work::Look,
) -> Result<BTreeMap<usize, std::result::Result<(), String>>> {
    let unread: BTreeMap<usize, _> = look
        .feeding
        .iter()
        .enumerate()
        .filter_map(|(index, (mark, claims))| match mark.knowledge {
            Knowledge::Known { content, unread } if unread || claims.is_err() => {
                Some((index, (&mark.file, claims, content)))
            }
            _ => None,
        })
        .collect();
    let read = recognise::still_have(spool, unread.values().copied()).await?;
    Ok(unread.into_keys().zip(read).collect())
}

/// Makes the data of a published partition again from the spool and compares its digest. The file
/// is staged in the partition's folder and removed; nothing is published.
///
/// # Errors
/// When spool or archive do not answer.
pub async fn rebuild(
    spool: &Store,
    archive: &Store,
    partition: &Partition,
    memory_limit: u64,
    spill_dir: &Path,
) -> Result<Rebuilt> {
    let scratch = Scratch::new(spill_dir)?;
    let options = Options {
        mode: Mode::Single {
            date: partition.date,
        },
        selection: Selection::of(&partition.series),
        workers: 1,
        memory_limit,
        spill_dir: spill_dir.to_owned(),
        now: Utc::now(),
        force: true,
        accept_loss: false,
        salvage: false,
        zstd_level: None,
    };
    let handle = PartitionHandle::new(archive, partition);
    let State::Published(published) = state::inspect(&handle, Depth::Footer).await?.state else {
        return Ok(Rebuilt::Impossible(
            "it is not published with a receipt".to_owned(),
        ));
    };
    let receipt = published.receipt();
    if receipt.adopted {
        return Ok(Rebuilt::Impossible(
            "another program wrote its bytes".to_owned(),
        ));
    }
    if receipt.base.is_some() && receipt.outcome.seq != SeqOrigin::Source {
        return Ok(Rebuilt::Impossible(
            "its rows were numbered in more than one run".to_owned(),
        ));
    }
    if receipt
        .sources
        .iter()
        .any(|source| source.rows_of_day() > 0 && source.rows_known > 0)
    {
        return Ok(Rebuilt::Impossible(
            "of some of its sources only a part of the rows was new".to_owned(),
        ));
    }
    if receipt.outcome.encoding > ENCODING {
        return Ok(Rebuilt::Impossible(
            "a later version of qlc wrote its bytes".to_owned(),
        ));
    }
    // The bytes are to be those of the run that published them, so its level of compression counts,
    // not this run's.
    let options = Options {
        zstd_level: receipt.outcome.zstd_level,
        ..options
    };
    let input = survey::spool_files(spool, &options.selection).await?;
    input.missing.fail()?;
    let files = input
        .files
        .get(&partition.series)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let shared = shared(
        spool,
        archive,
        &options,
        scratch.path(),
        1,
        Arc::new(Silent),
        &Stop::default(),
    )?;
    let look = work::look(&shared, partition, files, Freshness::OfThisRun).await?;
    // Exactly the rows that the receipt names: what came later is not in the archived data either.
    let mut needed: BTreeMap<Content, Vec<&Source>> = BTreeMap::new();
    for source in receipt
        .sources
        .iter()
        .filter(|source| source.rows_of_day() > 0)
    {
        let same = needed.entry(source.content()).or_default();
        if same.iter().all(|one| one.collector() != source.collector()) {
            same.push(source);
        }
    }
    let sources: usize = needed.values().map(Vec::len).sum();
    let mut takes = |key: &str, content: Content| {
        let collector = layout::collector_of(key);
        let Some(same) = needed.get_mut(&content) else {
            return false;
        };
        let own = same
            .iter()
            .position(|source| source.collector() == collector);
        let found = own.or_else(|| same.iter().position(|source| source.may_be_of(collector)));
        found.map(|at| same.swap_remove(at)).is_some()
    };
    let mut unread = unread(spool, &look).await?;
    let mut changed = Vec::new();
    let mut chosen = Vec::new();
    for (index, (mark, _)) in look.feeding.iter().enumerate() {
        let Knowledge::Known { content, .. } = mark.knowledge else {
            continue;
        };
        match unread.remove(&index).unwrap_or(Ok(())) {
            // Of files with the same rows, one is enough.
            Ok(()) if takes(&mark.file.object.key, content) => chosen.push(index),
            Ok(()) => {}
            Err(what) => changed.push(format!("{}: {what}", mark.file.object.key)),
        }
    }
    let left: usize = needed.values().map(Vec::len).sum();
    if let Some(first) = changed.first().filter(|_| left > 0) {
        // The archived rows are those that were proven; it is the file in the spool that is
        // another.
        return Ok(Rebuilt::SourceChanged(format!(
            "{} of its {sources} sources changed in the spool since they were archived: {first}",
            plural(changed.len(), "file")
        )));
    }
    if left > 0 {
        return Ok(Rebuilt::Impossible(format!(
            "{} of its {sources} sources left the spool",
            plural(left, "file")
        )));
    }
    let keys: BTreeSet<&str> = look
        .feeding
        .iter()
        .map(|(mark, _)| mark.file.object.key.as_str())
        .collect();
    let is_renamed = |source: &&Source| source.seq_assigned && !keys.contains(source.name.as_str());
    let renamed = receipt.sources.iter().filter(is_renamed).count();
    let build = decide::Build {
        files: chosen,
        base: None,
        replaces: None,
        is_part: false,
        reason: String::new(),
    };
    let encoding = receipt.outcome.encoding;
    match work::digest(&shared, partition, &look, &build, encoding).await? {
        Some(rebuilt) if rebuilt == receipt.outcome.sha256 => Ok(Rebuilt::Same),
        Some(_) if renamed > 0 => Ok(Rebuilt::Impossible(format!(
            "its rows were numbered in the order of the names of its files, and {} another name since",
            if renamed == 1 {
                "1 file has".to_owned()
            } else {
                format!("{renamed} files have")
            }
        ))),
        Some(rebuilt) => Ok(Rebuilt::Differs {
            archived: receipt.outcome.sha256.clone(),
            rebuilt,
        }),
        None => Ok(Rebuilt::Impossible(
            "its sources can no longer be read".to_owned(),
        )),
    }
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
    let survey::Input {
        files,
        ignored,
        missing,
    } = survey::spool_files(spool, &options.selection).await?;
    let (archived, gaps) = survey::archived_days(archive, &options.selection).await?;
    let is_nothing = files.is_empty()
        && archived.is_empty()
        && missing.all().is_empty()
        && gaps.all().is_empty();
    if is_nothing && options.selection != Selection::all() {
        return Err(Error::usage(
            "no file of the spool and nothing in the archive matches --exchange, --stream and --symbol; check their spelling (they are the folder names)",
        ));
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
    let mut unread: BTreeMap<Series, String> = BTreeMap::new();
    for (series, files) in &files {
        match unnamed_days(spool, files, footers).await {
            Ok(days) => {
                let _ = unnamed.insert(series.clone(), days);
            }
            Err(error) => {
                let _ = unread.insert(series.clone(), error.chain());
            }
        }
    }
    let (mut partitions, mut unknown) = (Vec::new(), Vec::new());
    for partition in survey::partitions(&files, &archived, options, &unnamed)? {
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
    };
    Ok(Meant {
        files,
        partitions,
        unknown,
        input,
    })
}

/// The days of the files of a series whose names do not tell any: their footers do.
async fn unnamed_days(
    spool: &Store,
    files: &[decide::SpoolFile],
    footers: &Footers,
) -> Result<BTreeSet<Date>> {
    let mut days = BTreeSet::new();
    for file in files.iter().filter(|f| f.home.is_none()) {
        let handle = Handle::new(spool, &file.object);
        // Neither name nor footer may tell the day of rows that go to QUARANTINE, so one day
        // accounts for them.
        let found = match footers.of(&handle, file).await {
            Ok(claims) => {
                days.extend(prepare::accounting_day(file, Some(&claims)));
                examine::days(&handle, &claims, None).await
            }
            Err(problem) => Err(problem),
        };
        days.extend(prepare::accounting_day(file, None));
        match found {
            Ok(found) => days.extend(found.permitted),
            Err(Problem::Storage(error)) => return Err(error),
            Err(problem) => {
                tracing::warn!(file = %spool.show(&file.object.key), %problem, "cannot be used");
            }
        }
    }
    Ok(days)
}

fn shared(
    spool: &Store,
    archive: &Store,
    options: &Options,
    scratch: &Path,
    workers: usize,
    watch: Arc<dyn Watch>,
    stop: &Stop,
) -> Result<RunContext> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(RunContext {
        places: Places {
            spool: spool.clone(),
            archive: archive.clone(),
            staging: scratch.to_owned(),
            time: time_of(options.now),
            task: None,
            turn: Arc::default(),
            kept: Arc::default(),
        },
        today: Date::of(options.now)?,
        wishes: Wishes {
            force: options.force,
            accept_loss: options.accept_loss,
        },
        salvage: options.salvage,
        zstd_level: options.zstd_level,
        budget: Budget::of(options.memory_limit, workers),
        scratch: scratch.to_owned(),
        cores,
        watch,
        stop: stop.clone(),
        probed: Arc::default(),
        footers: Arc::new(Footers::within(options.memory_limit)),
        standing: Arc::new(StandingDays::of_workers(workers)),
        comparisons: Arc::default(),
        origin: Origin::default(),
    })
}

/// The instant of a run as receipts and entries of QUARANTINE bear it.
fn time_of(now: DateTime<Utc>) -> String {
    now.to_rfc3339_opts(SecondsFormat::Secs, true)
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
    let look = work::look(run, &partition, files, Freshness::OfThisRun).await?;
    let mut outlook = Outlook::without(partition, look.decision.action(), String::new());
    match &look.decision {
        Decision::Nothing(why) => {
            let meant = explicit
                || look
                    .feeding
                    .iter()
                    .any(|(f, _)| f.file.home == Some(outlook.partition.date));
            if !meant && files.iter().all(|f| f.home != Some(outlook.partition.date)) {
                return Ok(None);
            }
            outlook.reason.clone_from(why);
        }
        Decision::Record { reason, .. } => outlook.reason.clone_from(reason),
        Decision::Fail(why) => outlook.reason.clone_from(why),
        Decision::Complete(_) => "an interrupted publish".clone_into(&mut outlook.reason),
        Decision::AcceptLoss { loss, lost } => {
            let rows: u64 = lost.iter().map(|source| source.rows_here).sum();
            outlook.reason = format!("{loss}; {} are nowhere else", count::rows(rows));
        }
        Decision::Build(build) => {
            let foreseen = work::foresee(run, &outlook.partition, &look, build, explain).await?;
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
