//! The client: which partitions a run means, a job for each, and their results.
//!
//! A run begins only when every executor can do its part, and ends when the scheduler is gone: the
//! tasks that are running end where they are, and the next run finds them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ballista_core::{execution_plans::execute_physical_plan, extension::SessionConfigExt};
use datafusion::{
    common::DataFusionError,
    physical_plan::{ExecutionPlan, SendableRecordBatchStream, stream::RecordBatchStreamAdapter},
    prelude::SessionConfig,
};
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::{
    FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream, stream::FuturesUnordered,
};

use super::{
    address::Cluster,
    codec::Codec,
    exec::TaskExec,
    failure::told,
    http::get,
    members::{Member, Reach, check},
    task::{Report, Task},
};
use crate::{
    compact::{Options, Outcome, RunSummary, Status, Stop, Watch, apart},
    error::{Error, Kind, Result},
    model::partition::Partition,
    storage::store::Store,
};

/// Whether the scheduler still answers.
async fn is_there(cluster: &Cluster) -> bool {
    get::<serde_json::Value>(cluster.peers(), &cluster.place(), "qlc/executors")
        .await
        .is_ok()
}

/// What the jobs of a run, or the plan of a statement, have in common.
#[derive(Clone)]
pub(super) struct Session {
    cluster: Cluster,
    id: String,
    config: SessionConfig,
}

impl Session {
    /// A session on `cluster` for plans of so many partitions.
    pub(super) fn new(cluster: &Cluster, partitions: usize) -> Self {
        let config = cluster
            .peers()
            .sessions()
            .with_target_partitions(partitions.max(1));
        Self {
            cluster: cluster.clone(),
            id: uuid::Uuid::new_v4().to_string(),
            config,
        }
    }

    /// Runs `plan` as the job `name`; the rows come as they are asked for.
    ///
    /// # Errors
    /// When the plan cannot travel, or the job fails.
    pub(super) async fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        name: &str,
    ) -> std::result::Result<SendableRecordBatchStream, DataFusionError> {
        let config = self.config.clone().set_str("ballista.job.name", name);
        let url = format!("http://{}", self.cluster.place());
        let ballista = config.ballista_config();
        let rows = execute_physical_plan::<PhysicalPlanNode>(
            url,
            &ballista,
            plan,
            &Codec::default(),
            self.id.clone(),
            config,
        )
        .await
        .map_err(told)?;
        let schema = rows.schema();
        let rows = rows.map_err(told);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// Compacts what `options` mean on `cluster`: as [`crate::compact::run`], with the memory limit for
/// each partition.
///
/// # Errors
/// As there; also when an executor cannot do its part, or the scheduler does not answer any more.
pub async fn compact(
    cluster: &Cluster,
    spool: &Store,
    archive: &Store,
    options: &Options,
    watch: Arc<dyn Watch>,
    stop: &Stop,
) -> Result<RunSummary> {
    let members = check(
        cluster,
        &Reach::of(spool, archive, true).await?,
        options.memory_limit,
    )
    .await?;
    let mut agenda = apart::agenda(spool, archive, options).await?;
    let partitions = std::mem::take(&mut agenda.partitions);
    watch.begin(partitions.len() + agenda.unknown.len());
    for outcome in &agenda.unknown {
        watch.partition_ends(outcome);
    }
    let slots: usize = members
        .iter()
        .map(|member: &Member| member.slots(options.memory_limit))
        .sum();
    // Some more jobs than there are slots, so that an executor that is done finds the next one
    // waiting.
    let at_a_time = slots.saturating_add(slots / 2 + 1);
    let session = Session::new(cluster, 1);
    let tasks = partitions.into_iter().enumerate().map(|(nth, partition)| {
        let (session, watch, stop) = (session.clone(), Arc::clone(&watch), stop.clone());
        let task = Task::of(spool, archive, partition, options);
        async move {
            let task = task?;
            let outcome = if stop.asked() {
                Some(Outcome::without(
                    &task.partition,
                    Status::Interrupted,
                    "stopped on request before it began",
                ))
            } else {
                one(&session, task).await?
            };
            if let Some(outcome) = &outcome {
                watch.partition_ends(outcome);
            }
            Ok::<_, Error>((nth, outcome))
        }
    });
    let mut outcomes: Vec<(usize, Option<Outcome>)> = stream::iter(tasks)
        .buffer_unordered(at_a_time)
        .try_collect()
        .await?;
    outcomes.sort_by_key(|(nth, _)| *nth);
    Ok(agenda.done(outcomes.into_iter().filter_map(|(_, outcome)| outcome)))
}

/// How often a partition is tried that fails for want of something on an executor, or whose outcome
/// is lost with one. A partition that was published all the same is found to be so.
const TRIES: usize = 5;
/// When a try is doubled that follows a failure of that kind: one that waits on an executor that
/// lacks something keeps its place there, so that the other goes elsewhere. Whoever is second finds
/// the partition published.
const DOUBLED_AFTER: Duration = Duration::from_secs(1);
/// How long the outcome of a job that has ended may take on its way: an executor that hangs does
/// not give it away.
const OUTCOME_WITHIN: Duration = Duration::from_secs(15);

/// How long a partition is looked at again that somebody else holds: that may be an executor of
/// this very run whose work was given to others, and hangs.
const HELD_AT_MOST: Duration = Duration::from_mins(1);
/// How long it takes from one of these looks to the next.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// The job of one partition, once more elsewhere where an executor lacks something.
async fn one(session: &Session, mut task: Task) -> Result<Option<Outcome>> {
    let partition = task.partition.clone();
    let (mut tries, mut elsewhere) = (0, false);
    let mut held_since: Option<Instant> = None;
    loop {
        tries += 1;
        let done = if elsewhere {
            twice(session, &task).await
        } else {
            job(session, task.clone()).await
        };
        match done {
            // A lost race is a good end only where the partition is found to be published.
            Ok(report) if report.lost_race() => {
                if held_since.get_or_insert_with(Instant::now).elapsed() > HELD_AT_MOST {
                    let what = "another qlc, or an executor of this run that hangs, has held it for a minute: whether it will be \
                                published is not known; run again";
                    return Ok(Some(Outcome::without(&partition, Status::Failed, what)));
                }
                tries -= 1;
                // It may be this very run that was first only where this was not its first attempt.
                task.again |= report.again;
                tokio::time::sleep(LOOKED_AT_EVERY).await;
            }
            Ok(Report {
                executor,
                outcome: Some(outcome),
                local: true,
                ..
            }) if tries < TRIES => {
                tracing::warn!(%partition, %executor, why = %outcome.message, "failed there; once more");
                task.again = true;
                elsewhere = true;
            }
            Ok(Report {
                executor,
                outcome,
                plan,
                idle,
                local,
                ..
            }) => {
                tracing::info!(%partition, %executor, "done");
                let named = |message: String| {
                    if local {
                        format!("executor {executor}: {message}")
                    } else {
                        message
                    }
                };
                return Ok(outcome.map(|o| Outcome {
                    plan,
                    idle,
                    message: named(o.message.clone()),
                    ..o
                }));
            }
            Err(error) if !is_there(&session.cluster).await => {
                return Err(gone(&session.cluster, &partition, error));
            }
            Err(error) if tries < TRIES => {
                tracing::warn!(%partition, why = %error.chain(), "its outcome is not known; once more");
                task.again = true;
            }
            Err(error) => {
                let what = format!("its job failed: {}", error.chain());
                return Ok(Some(Outcome::without(&partition, Status::Failed, &what)));
            }
        }
    }
}

/// A job that is given out once more when it takes its time: what ends first, and well where one of
/// them does.
async fn twice(session: &Session, task: &Task) -> Result<Report> {
    let mut jobs: FuturesUnordered<BoxFuture<'_, Result<Report>>> = FuturesUnordered::new();
    jobs.push(job(session, task.clone()).boxed());
    let second = async {
        tokio::time::sleep(DOUBLED_AFTER).await;
        job(session, task.clone()).await
    };
    jobs.push(second.boxed());
    let mut last = None;
    while let Some(done) = jobs.next().await {
        match &done {
            // To the other one, which may fail yet: then the race was not lost but called off.
            Ok(report) if report.lost_race() => last = last.or(Some(done)),
            Ok(report) if !report.local => return done,
            _ => last = Some(done),
        }
    }
    last.unwrap_or_else(|| Err(Error::new(Kind::Internal, "a job without an end")))
}

fn gone(cluster: &Cluster, partition: &Partition, error: Error) -> Error {
    let what = format!(
        "{cluster}: the scheduler has gone while {partition} was under way; what executors have begun ends there, and \
         the next run takes up the rest"
    );
    Error::caused(Kind::Io, what, error)
}

async fn job(session: &Session, task: Task) -> Result<Report> {
    let wrong = |e: DataFusionError| Error::caused(Kind::Io, "the cluster", e);
    let name = task.partition.to_string();
    let plan = Arc::new(TaskExec::new(task, None));
    let rows = session.run(plan, &name).await.map_err(wrong)?;
    let fetched = tokio::time::timeout(OUTCOME_WITHIN, rows.try_collect::<Vec<_>>()).await;
    let late = |e| Error::caused(Kind::Io, "the executor does not give the outcome away", e);
    let batches = fetched.map_err(late)?.map_err(wrong)?;
    let texts = batches.iter().flat_map(|batch| {
        use arrow::array::AsArray;
        let column = batch
            .columns()
            .first()
            .and_then(|column| column.as_string_opt::<i32>());
        column.into_iter().flat_map(|texts| texts.iter().flatten())
    });
    let report = texts
        .last()
        .ok_or_else(|| Error::new(Kind::Internal, "a job without a report"))?;
    serde_json::from_str(report)
        .map_err(|e| Error::caused(Kind::Internal, "a report that cannot be read", e))
}
