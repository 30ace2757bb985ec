//! Where tasks are executed: the memory that they share, the stores, what was learned about the
//! archives, and the counters.
//!
//! A task waits until there is memory for it.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OnceCell, Semaphore};

use super::{
    accepted::Accepted,
    members::Member,
    task::{Report, Task},
    version::BuildId,
    web,
};
use crate::{
    compact::{
        Mode, Options, Outcome, Status, Stop,
        apart::{one_of_many, with_lost},
    },
    error::{Error, Kind, Result},
    model::{metric, partition::Selection, size},
    storage::scratch::{self, Scratch},
};

/// How long an executor that failed for a reason of its own is thought to lack something still.
const UNWELL: Duration = Duration::from_mins(1);
/// How long it waits then before it begins with a task. Who fails fast is free soon, and would be
/// given everything; the client does not wait so long, and its second try finds another one.
const PAUSE: Duration = Duration::from_secs(4);
/// Memory is handed out in pieces of this size.
const PIECE: u64 = 1 << 20;
/// What all tasks of an executor share.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    vcores: usize,
    accepted: Accepted,
    scratch: Scratch,
    memory: u64,
    /// Memory that no task has, in pieces.
    free: Semaphore,
    /// Archives whose conditional writes were found to work.
    probed: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
    /// When it last failed for a reason of its own.
    unwell: Mutex<Option<Instant>>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    running: AtomicU64,
    waiting: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
}

impl Host {
    /// A host called `name` for `vcores` tasks at a time that have `memory` bytes together, over
    /// what is `accepted`, with its scratch folder in `spill_dir`.
    ///
    /// # Errors
    /// When the scratch folder cannot be made.
    pub(super) fn new(
        name: String,
        vcores: usize,
        memory: u64,
        accepted: Accepted,
        spill_dir: &Path,
    ) -> Result<Self> {
        let _ = scratch::sweep(spill_dir);
        Ok(Self {
            name,
            vcores,
            accepted,
            scratch: Scratch::new(spill_dir)?,
            memory,
            free: Semaphore::new(pieces(memory) as usize),
            probed: Mutex::default(),
            unwell: Mutex::default(),
            counts: Counts::default(),
        })
    }

    /// Its name: host and port.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Does a task, when there is memory for it.
    ///
    /// # Errors
    /// Only where another executor may have more luck; what fails in the partition is in the
    /// report.
    pub(super) async fn work(&self, task: &Task) -> Result<Report> {
        let report = |outcome: Option<Outcome>| {
            let plan = outcome
                .as_ref()
                .map(|outcome| outcome.plan.clone())
                .unwrap_or_default();
            let idle = outcome.as_ref().is_some_and(|outcome| outcome.idle);
            let error = outcome.as_ref().and_then(|outcome| outcome.error);
            let local = matches!(error, Some(Kind::Io | Kind::Resources));
            Report {
                outcome,
                plan,
                idle,
                executor: self.name.clone(),
                local,
                again: task.again,
            }
        };
        let failed = |what: String, error: Kind| {
            report(Some(Outcome {
                error: Some(error),
                ..Outcome::without(&task.partition, Status::Failed, &what)
            }))
        };
        if task.memory_limit > self.memory {
            let (needs, has) = (size::show(task.memory_limit), size::show(self.memory));
            let what = format!(
                "it may have {needs}, but executor {} has {has} for all tasks",
                self.name
            );
            return Ok(failed(what, Kind::Resources));
        }
        let room = {
            let _waiting = Counted::one(&self.counts.waiting);
            let since = *self.unwell.lock().unwrap_or_else(PoisonError::into_inner);
            if since.is_some_and(|since| since.elapsed() < UNWELL) {
                tokio::time::sleep(PAUSE).await;
            }
            let room = self.free.acquire_many(pieces(task.memory_limit)).await;
            room.map_err(|e| Error::caused(Kind::Internal, "memory for a task", e))?
        };
        let running = Counted::one(&self.counts.running);
        let outcome = self.compact(task).await;
        drop((room, running));
        let report = match outcome {
            Ok(outcome) => report(outcome),
            Err(error) => failed(error.chain(), error.kind()),
        };
        let went_wrong = report
            .outcome
            .as_ref()
            .is_some_and(|o| matches!(o.status, Status::Failed | Status::Unknown));
        let count = if went_wrong {
            &self.counts.failed
        } else {
            &self.counts.done
        };
        let _ = count.fetch_add(1, Ordering::Relaxed);
        if report.local {
            *self.unwell.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(report)
    }

    async fn compact(&self, task: &Task) -> Result<Option<Outcome>> {
        let (spool, archive) = self.accepted.of_task(task)?;
        let date = task.partition.date;
        let options = Options {
            mode: if task.explicit {
                Mode::Single { date }
            } else {
                Mode::Backfill {
                    start: date,
                    end: date,
                }
            },
            selection: Selection::all(),
            workers: 1,
            memory_limit: task.memory_limit,
            spill_dir: self.scratch.path().to_owned(),
            now: task.now,
            force: task.force,
            accept_loss: task.accept_loss,
            salvage: task.salvage,
            zstd_level: task.zstd_level,
        };
        let probed = {
            let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(probed.entry(task.archive.clone()).or_default())
        };
        let outcome = one_of_many(
            &spool,
            &archive,
            &task.partition,
            &options,
            &task.id,
            probed,
            &Stop::default(),
        )
        .await?;
        match outcome {
            Some(outcome) if task.again => Ok(Some(with_lost(&archive, outcome, &task.id).await?)),
            outcome => Ok(outcome),
        }
    }

    /// The places that it works on.
    pub(super) fn accepted(&self) -> &Accepted {
        &self.accepted
    }

    /// Its scratch folder.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// How it describes itself.
    pub(super) fn about(&self) -> Member {
        Member {
            name: self.name.clone(),
            build: BuildId::own(),
            vcores: self.vcores,
            memory: self.memory,
            running: usize::try_from(self.counts.running.load(Ordering::Relaxed)).unwrap_or(0),
        }
    }

    /// What it counts.
    pub(super) fn metrics(&self) -> axum::response::Response {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let free = self.free.available_permits() as u64 * PIECE;
        let counts = &self.counts;
        let values = [
            self.vcores as u64,
            of(&counts.running),
            of(&counts.waiting),
            of(&counts.done),
            of(&counts.failed),
            self.memory,
            self.memory.saturating_sub(free),
        ];
        web::metrics(&metric::EXECUTOR.into_iter().zip(values).collect::<Vec<_>>())
    }
}

/// Memory in pieces, rounded up.
fn pieces(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE))
        .unwrap_or(u32::MAX)
        .min(Semaphore::MAX_PERMITS.try_into().unwrap_or(u32::MAX))
}

/// Something that is counted while it goes on.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn one(count: &'a AtomicU64) -> Self {
        let _ = count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let _ = self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
