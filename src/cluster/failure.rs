//! How the error of a statement reaches whoever wrote it. Ballista passes errors of executors on as
//! what they look like to a programmer, quoted and wrapped several times; in that text travels what
//! is to be said, encoded so that no quoting changes it.

use std::{fmt, io, sync::Arc};

use arrow::error::ArrowError;
use ballista_core::{
    error::BallistaError,
    serde::protobuf::{
        RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport,
    },
};
use ballista_executor::execution_engine::QueryStageExecutor;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use datafusion::{
    common::{DataFusionError, Result as DfResult},
    execution::TaskContext,
    physical_plan::metrics::MetricsSet,
};
use serde::{Deserialize, Serialize};
use tonic::async_trait;

use crate::{
    engine::sql::failure,
    error::{Error, Kind},
};

/// What stands before it in Ballista's text.
const MARK: &str = "qlc-error:";

/// An error as it travels.
#[derive(Serialize, Deserialize)]
struct ErrorMessage {
    kind: Kind,
    message: String,
}

/// `error` of an executor, as Ballista is to pass it on.
fn sent(error: DataFusionError) -> DataFusionError {
    // Ballista tries again where it is such an error.
    let may_pass = matches!(error.find_root(), DataFusionError::IoError(_));
    let error = match carried(&error) {
        FromBallista::No => failure(error),
        FromBallista::Arrow(arrow) => of_arrow(arrow),
        FromBallista::Own => return error,
    };
    let (kind, message) = (error.kind(), error.chain());
    let Ok(json) = serde_json::to_vec(&ErrorMessage { kind, message }) else {
        return DataFusionError::External(Box::new(error));
    };
    let text = format!("{} {MARK}{}", error.chain(), URL_SAFE_NO_PAD.encode(json));
    if may_pass {
        DataFusionError::IoError(io::Error::other(text))
    } else {
        DataFusionError::Execution(text)
    }
}

/// What an error has from Ballista.
enum FromBallista<'a> {
    /// Nothing.
    No,
    /// An error of Arrow, which the engine alone would tell by its own name.
    Arrow(&'a ArrowError),
    /// What Ballista itself acts on: results that are gone, or a task that was called off.
    Own,
}

fn carried(error: &DataFusionError) -> FromBallista<'_> {
    let DataFusionError::External(inner) = error.find_root() else {
        return FromBallista::No;
    };
    match inner.downcast_ref::<BallistaError>() {
        None => FromBallista::No,
        Some(BallistaError::ArrowError(arrow)) => FromBallista::Arrow(arrow),
        Some(_) => FromBallista::Own,
    }
}

fn of_arrow(arrow: &ArrowError) -> Error {
    let kind = match arrow {
        ArrowError::IoError(..) => Kind::Io,
        _ => Kind::BadInput,
    };
    Error::new(kind, format!("the query failed: {arrow}"))
}

/// What an executor has said of the error of a job, where it has; else the error.
pub(super) fn told(error: DataFusionError) -> DataFusionError {
    let text = error.to_string();
    let said = text.split_once(MARK).and_then(|(_, rest)| {
        let is_of_it = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let end = rest.find(|c| !is_of_it(c)).unwrap_or(rest.len());
        let json = URL_SAFE_NO_PAD.decode(rest.get(..end)?).ok()?;
        serde_json::from_slice::<ErrorMessage>(&json).ok()
    });
    match said {
        Some(ErrorMessage { kind, message }) => {
            DataFusionError::External(Box::new(Error::new(kind, message)))
        }
        None => error,
    }
}

/// A stage whose errors are told so.
#[derive(Debug)]
pub(super) struct ReportingStage(pub(super) Arc<dyn QueryStageExecutor>);

impl fmt::Display for ReportingStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl QueryStageExecutor for ReportingStage {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<Vec<ShuffleWritePartition>> {
        self.0
            .execute_query_stage(task_id, context)
            .await
            .map_err(sent)
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        self.0.collect_plan_metrics()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.0.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> DfResult<Vec<WindowStateReport>> {
        self.0.collect_window_state_reports()
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.0.collect_column_stats()
    }
}
