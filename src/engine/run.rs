//! Runs the statement that a compaction is, in a session with a pool of its own, and returns the
//! result in qlc's own types.
//!
//! A failed attempt is not repeated here: the caller decides what it means.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::error::ArrowError;
use datafusion::{
    common::DataFusionError,
    execution::{
        SessionStateBuilder,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::FairSpillPool,
        runtime_env::RuntimeEnvBuilder,
    },
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, collect, displayable},
    prelude::{SessionConfig, SessionContext},
};

use super::{
    plan::Layouts,
    sink::{ArchiveSink, ArchiveTable, Draft, OnProven},
    spool::SpoolFormat,
};
use crate::{
    archive::partition::Versions,
    error::{Error, Kind, Result},
    job::{
        Job,
        attempt::{Attempt, Purpose},
        budget::Budget,
    },
    storage::store::Store,
};

/// A compaction. The spool's table is in this order already, so that nothing is sorted for it.
const STATEMENT: &str = "INSERT INTO archive SELECT * FROM spool ORDER BY ts_event ASC NULLS FIRST, seq ASC NULLS FIRST";

/// Everything about an attempt that is not in the job.
#[derive(Clone)]
pub struct AttemptOptions {
    /// Where the partition goes.
    pub archive: Store,
    /// Where runs are spilled and bucket objects put together.
    pub scratch: std::path::PathBuf,
    /// The memory.
    pub budget: Budget,
    /// What data and `meta.json` may replace.
    pub versions: Versions,
    /// How many columns, row groups or sorts in memory are worked on at a time: the cores.
    pub cores: usize,
    /// The level of zstd, where it is not the default.
    pub zstd_level: Option<i32>,
    /// Runs when the proof holds, before anything is visible.
    pub before_visible: OnProven,
    /// What it is for.
    pub purpose: Purpose,
}

/// A statement that is planned.
struct Planned {
    session: SessionContext,
    logical: LogicalPlan,
    physical: Arc<dyn ExecutionPlan>,
    /// What the sink will have come to.
    result: Arc<Mutex<Option<Result<Attempt>>>>,
}

/// Plans the statement over the two tables of a partition.
async fn plan(
    session: SessionContext,
    job: &Arc<Job>,
    layouts: &Layouts,
    draft: Draft,
    options: AttemptOptions,
) -> Result<Planned> {
    let internal = |e: DataFusionError| {
        Error::caused(Kind::Internal, format!("{}: the plan", job.partition), e)
    };
    let result = Arc::new(Mutex::new(None));
    let spool = SpoolFormat {
        job: Arc::clone(job),
        layouts: layouts.clone(),
        spill: options.scratch.clone(),
        cores: options.cores,
    };
    let archive = ArchiveTable(ArchiveSink {
        job: Arc::clone(job),
        archive: options.archive,
        staging: options.scratch,
        draft,
        versions: options.versions,
        cores: options.cores,
        zstd_level: options.zstd_level,
        before_visible: options.before_visible,
        result: Arc::clone(&result),
        purpose: options.purpose,
    });
    let spool = spool.table(&session).map_err(internal)?;
    let _ = session.register_table("spool", spool).map_err(internal)?;
    let _ = session
        .register_table("archive", Arc::new(archive))
        .map_err(internal)?;
    let state = session.state();
    let logical = state
        .create_logical_plan(STATEMENT)
        .await
        .map_err(internal)?;
    let logical = state.optimize(&logical).map_err(internal)?;
    let physical = state
        .query_planner()
        .create_physical_plan(&logical, &state)
        .await
        .map_err(internal)?;
    Ok(Planned {
        session,
        logical,
        physical,
        result,
    })
}

/// The logical and the physical plan of `job`, as text; nothing is run.
///
/// # Errors
/// When the engine refuses it, which is a defect.
pub async fn explain(
    job: &Arc<Job>,
    layouts: &Layouts,
    draft: Draft,
    options: AttemptOptions,
) -> Result<[String; 2]> {
    let session = session(&options.budget, DiskManagerMode::Disabled, job)?;
    let Planned {
        logical, physical, ..
    } = plan(session, job, layouts, draft, options).await?;
    Ok([
        logical.display_indent().to_string(),
        displayable(physical.as_ref()).indent(false).to_string(),
    ])
}

/// Runs `job` as `layouts` say.
///
/// # Errors
/// When the run failed for another reason than one of its sources; [`Kind::Conflict`] when another
/// process wrote first.
pub async fn run(
    job: &Arc<Job>,
    layouts: &Layouts,
    draft: Draft,
    options: AttemptOptions,
) -> Result<Attempt> {
    let disk = DiskManagerMode::Directories(vec![options.scratch.clone()]);
    let session = session(&options.budget, disk, job)?;
    let Planned {
        session,
        physical,
        result,
        ..
    } = plan(session, job, layouts, draft, options).await?;
    tracing::debug!(plan = %displayable(physical.as_ref()).indent(false), "physical plan");
    let collected = collect(physical, session.task_ctx()).await;
    // Whoever could not read a source has ended the plan with a text: which source it was, and what
    // is wrong with it, is in the ledger.
    let problems = job.ledger.problems();
    if !problems.is_empty() {
        return Ok(Attempt::Problems(problems));
    }
    let sunk = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (sunk, collected) {
        (Some(Ok(attempt)), _) => Ok(attempt),
        (Some(Err(error)), _) => Err(own_error(error, job)),
        (None, Err(error)) => Err(classified(error, job)),
        (None, Ok(_)) => Err(Error::new(
            Kind::Internal,
            format!("{}: the sink never ran", job.partition),
        )),
    }
}

/// The error that an operator of ours put inside the engine's, or the engine's own with its kind.
fn own_error(error: Error, job: &Job) -> Error {
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        if let Some(engine) = cause.downcast_ref::<DataFusionError>() {
            return engine_error(engine, job).unwrap_or(error);
        }
        next = cause.source();
    }
    error
}

fn classified(error: DataFusionError, job: &Job) -> Error {
    engine_error(&error, job).unwrap_or_else(|| {
        Error::caused(
            Kind::Internal,
            format!("{}: the run failed", job.partition),
            error,
        )
    })
}

/// The engine itself reads and writes no files but those of its spilled runs.
fn unspilled(job: &Job, error: &std::io::Error) -> Error {
    Error::new(
        Kind::Io,
        format!(
            "{}: spilling failed; make room or choose another --spill-dir: {error}",
            job.partition
        ),
    )
}

fn engine_error(error: &DataFusionError, job: &Job) -> Option<Error> {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(what) => Some(Error::new(
            Kind::Resources,
            format!(
                "{}: the memory limit is too small for this partition; raise --memory-limit ({what})",
                job.partition
            ),
        )),
        DataFusionError::IoError(e) => Some(unspilled(job, e)),
        DataFusionError::ArrowError(e, _) => match e.as_ref() {
            ArrowError::IoError(_, e) => Some(unspilled(job, e)),
            _ => None,
        },
        DataFusionError::External(inner) => inner
            .downcast_ref::<Error>()
            .map(|e| Error::new(e.kind(), format!("{}: {}", job.partition, e.chain()))),
        _ => None,
    }
}

fn session(budget: &Budget, disk: DiskManagerMode, job: &Job) -> Result<SessionContext> {
    let pool = usize::try_from(budget.pool_for(&job.sources)).unwrap_or(usize::MAX);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(pool)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(disk))
        .build_arc()
        .map_err(|e| Error::caused(Kind::Io, "the engine's spill folder", e))?;
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(job.batch_rows)
        .with_collect_statistics(false)
        .with_sort_spill_reservation_bytes((pool / 8).clamp(1 << 20, 10 << 20));
    // No functions and no file formats: the statement needs none.
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .build();
    Ok(SessionContext::new_with_state(state))
}
