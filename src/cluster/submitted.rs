//! What a scheduler is asked, before Ballista answers: jobs are refused here that qlc does not send.
//!
//! A client of qlc sends physical plans only. Statements as text, logical plans and those of
//! Substrait are never parsed.

use std::{net::SocketAddr, sync::Arc};

use axum::extract::ConnectInfo;
use ballista_core::serde::protobuf::{
    CancelJobParams, CancelJobResult, CleanJobDataParams, CleanJobDataResult,
    CreateUpdateSessionParams, CreateUpdateSessionResult, ExecuteQueryParams, ExecuteQueryResult,
    ExecutorRegistration, ExecutorStoppedParams, ExecutorStoppedResult, GetJobMetricsParams,
    GetJobMetricsResult, GetJobStatusParams, GetJobStatusResult, HeartBeatParams, HeartBeatResult,
    PollWorkParams, PollWorkResult, RegisterExecutorParams, RegisterExecutorResult,
    RemoveSessionParams, RemoveSessionResult, UpdateTaskStatusParams, UpdateTaskStatusResult,
    execute_query_params::Query, scheduler_grpc_server::SchedulerGrpc,
};
use datafusion::{common::DataFusionError, execution::TaskContext};
use datafusion_proto::{physical_plan::AsExecutionPlan, protobuf::PhysicalPlanNode};
use tonic::{Request, Response, Status, async_trait};

use super::{accepted::check_nodes, address::before_port, codec::Codec};

type Answer<T> = Result<Response<T>, Status>;

/// Ballista's service behind what is accepted.
pub(super) struct Submitted<S> {
    inner: S,
    context: Arc<TaskContext>,
}

impl<S> Submitted<S> {
    /// `inner`, for plans of functions that `context` knows.
    pub(super) fn new(inner: S, context: Arc<TaskContext>) -> Self {
        Self { inner, context }
    }

    fn check(&self, asked: &ExecuteQueryParams) -> Result<(), Status> {
        let Some(Query::PhysicalPlan(bytes)) = &asked.query else {
            return Err(Status::permission_denied(
                "refused: a cluster of qlc takes the physical plans of qlc, no statements and no logical plans",
            ));
        };
        let wrong = |e: DataFusionError| Status::permission_denied(e.strip_backtrace());
        let plan = PhysicalPlanNode::try_decode(bytes)
            .and_then(|node| node.try_into_physical_plan(&self.context, &Codec::default()))
            .map_err(wrong)?;
        check_nodes(&plan, &|_| Ok(false)).map_err(wrong)
    }
}

/// An executor of qlc takes its tasks where it gives results away: the port that it names for them
/// is one of its loopback. Where it names no host it is reached at the address that it connects
/// from, which Ballista would put before a port without brackets.
fn as_reached(executor: Option<&mut ExecutorRegistration>, from: Option<SocketAddr>) {
    let Some(executor) = executor else { return };
    executor.grpc_port = executor.port;
    if executor.host.is_none() {
        executor.host = from.map(|from| before_port(&from.ip().to_string()));
    }
}

/// The address that a request comes from.
fn from_where<T>(request: &Request<T>) -> Option<SocketAddr> {
    let caller = request.extensions().get::<ConnectInfo<SocketAddr>>();
    caller.map(|ConnectInfo(address)| *address)
}

#[async_trait]
impl<S: SchedulerGrpc> SchedulerGrpc for Submitted<S> {
    type ExecuteQueryPushStream = S::ExecuteQueryPushStream;

    async fn execute_query(
        &self,
        request: Request<ExecuteQueryParams>,
    ) -> Answer<ExecuteQueryResult> {
        self.check(request.get_ref())?;
        self.inner.execute_query(request).await
    }

    async fn execute_query_push(
        &self,
        request: Request<ExecuteQueryParams>,
    ) -> Answer<Self::ExecuteQueryPushStream> {
        self.check(request.get_ref())?;
        self.inner.execute_query_push(request).await
    }

    async fn poll_work(&self, _: Request<PollWorkParams>) -> Answer<PollWorkResult> {
        Err(Status::unimplemented(
            "executors of qlc are given their work",
        ))
    }

    async fn register_executor(
        &self,
        mut request: Request<RegisterExecutorParams>,
    ) -> Answer<RegisterExecutorResult> {
        let from = from_where(&request);
        as_reached(request.get_mut().metadata.as_mut(), from);
        self.inner.register_executor(request).await
    }

    async fn heart_beat_from_executor(
        &self,
        mut request: Request<HeartBeatParams>,
    ) -> Answer<HeartBeatResult> {
        let from = from_where(&request);
        as_reached(request.get_mut().metadata.as_mut(), from);
        self.inner.heart_beat_from_executor(request).await
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusParams>,
    ) -> Answer<UpdateTaskStatusResult> {
        self.inner.update_task_status(request).await
    }

    async fn create_update_session(
        &self,
        request: Request<CreateUpdateSessionParams>,
    ) -> Answer<CreateUpdateSessionResult> {
        self.inner.create_update_session(request).await
    }

    async fn remove_session(
        &self,
        request: Request<RemoveSessionParams>,
    ) -> Answer<RemoveSessionResult> {
        self.inner.remove_session(request).await
    }

    async fn get_job_status(
        &self,
        request: Request<GetJobStatusParams>,
    ) -> Answer<GetJobStatusResult> {
        self.inner.get_job_status(request).await
    }

    async fn get_job_metrics(
        &self,
        request: Request<GetJobMetricsParams>,
    ) -> Answer<GetJobMetricsResult> {
        self.inner.get_job_metrics(request).await
    }

    async fn executor_stopped(
        &self,
        request: Request<ExecutorStoppedParams>,
    ) -> Answer<ExecutorStoppedResult> {
        self.inner.executor_stopped(request).await
    }

    async fn cancel_job(&self, request: Request<CancelJobParams>) -> Answer<CancelJobResult> {
        self.inner.cancel_job(request).await
    }

    async fn clean_job_data(
        &self,
        request: Request<CleanJobDataParams>,
    ) -> Answer<CleanJobDataResult> {
        self.inner.clean_job_data(request).await
    }
}
