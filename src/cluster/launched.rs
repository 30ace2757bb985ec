//! What an executor is asked to do, before Ballista does it: Ballista listens on loopback only, and
//! is asked from here by those whom this process knows.
//!
//! Tasks that reach Ballista's port by another way lack the pass that they are given here, and are
//! not executed.

use ballista_core::{
    config::BALLISTA_SHUFFLE_READER_REMOTE_PREFER_FLIGHT,
    serde::protobuf::{
        CancelTasksParams, CancelTasksResult, KeyValuePair, LaunchMultiTaskParams,
        LaunchMultiTaskResult, LaunchTaskParams, LaunchTaskResult, MultiTaskDefinition,
        RemoveJobDataParams, RemoveJobDataResult, StopExecutorParams, StopExecutorResult,
        executor_grpc_client::ExecutorGrpcClient, executor_grpc_server::ExecutorGrpc,
    },
};
use datafusion::{common::extensions_options, config::ConfigExtension, prelude::SessionConfig};
use tonic::{
    Request, Response, Status, async_trait,
    transport::{Channel, Endpoint},
};

use super::{accepted::check_job, peers::Peers};

type Answer<T> = Result<Response<T>, Status>;

extensions_options! {
    /// What the configuration of a task holds that came in here.
    struct Held {
        /// The word of this process.
        pass: String, default = String::new()
        /// Whether the scheduler has given the task out before.
        again: bool, default = false
    }
}

impl ConfigExtension for Held {
    const PREFIX: &'static str = "qlc";
}

/// A word that only this process knows.
#[derive(Clone)]
pub(super) struct Pass(String);

impl Pass {
    pub(super) fn new() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The configuration of tasks, before they say something of it.
    pub(super) fn asked_for(config: SessionConfig) -> SessionConfig {
        config.with_option_extension(Held::default())
    }

    /// Whether a task has it.
    pub(super) fn is_held(&self, config: &SessionConfig) -> bool {
        let held = config.options().extensions.get::<Held>();
        held.is_some_and(|held| held.pass == self.0)
    }
}

/// Whether the scheduler has given the task of this configuration out before, to an executor that
/// it has lost since.
pub(super) fn is_again(config: &SessionConfig) -> bool {
    let held = config.options().extensions.get::<Held>();
    held.is_some_and(|held| held.again)
}

/// Whether a task is not the first of its part of a job: tasks of a stage are numbered as they are
/// given out.
fn was_given_out_before(task: &MultiTaskDefinition) -> bool {
    task.stage_attempt_num > 0
        || task
            .task_ids
            .iter()
            .any(|id| id.task_id > 0 || id.task_attempt_num > 0)
}

fn pair(key: &str, value: String) -> KeyValuePair {
    KeyValuePair {
        key: key.to_owned(),
        value: Some(value),
    }
}

/// Ballista's service on a port of loopback.
pub(super) struct Launched {
    inner: ExecutorGrpcClient<Channel>,
    /// What is said of every task, whatever it says itself.
    added: Vec<KeyValuePair>,
}

impl Launched {
    /// That on `port`, for messages of at most so many bytes. Results of others than `peers` are
    /// validated.
    ///
    /// # Errors
    /// Never in practice.
    pub(super) fn at(
        port: u16,
        bytes: usize,
        pass: &Pass,
        peers: &Peers,
    ) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
        let inner = ExecutorGrpcClient::new(endpoint.connect_lazy())
            .max_decoding_message_size(bytes)
            .max_encoding_message_size(bytes);
        let validated = (!peers.are_known()).to_string();
        let added = vec![
            pair("qlc.pass", pass.0.clone()),
            pair(BALLISTA_SHUFFLE_READER_REMOTE_PREFER_FLIGHT, validated),
        ];
        Ok(Self { inner, added })
    }
}

#[async_trait]
impl ExecutorGrpc for Launched {
    async fn launch_task(&self, _: Request<LaunchTaskParams>) -> Answer<LaunchTaskResult> {
        Err(Status::unimplemented("tasks come several at a time"))
    }

    async fn launch_multi_task(
        &self,
        mut request: Request<LaunchMultiTaskParams>,
    ) -> Answer<LaunchMultiTaskResult> {
        for task in &mut request.get_mut().multi_tasks {
            check_job(&task.job_id)?;
            task.props.extend_from_slice(&self.added);
            let again = was_given_out_before(task);
            task.props.push(pair("qlc.again", again.to_string()));
        }
        self.inner.clone().launch_multi_task(request).await
    }

    /// Nothing: the scheduler asks it of executors that it has not heard of for a while. Such a
    /// request may be delivered when the executor is back, which its next heartbeat tells. Whoever
    /// runs the process ends it.
    async fn stop_executor(&self, _: Request<StopExecutorParams>) -> Answer<StopExecutorResult> {
        Ok(Response::new(StopExecutorResult {}))
    }

    async fn cancel_tasks(&self, request: Request<CancelTasksParams>) -> Answer<CancelTasksResult> {
        self.inner.clone().cancel_tasks(request).await
    }

    async fn remove_job_data(
        &self,
        request: Request<RemoveJobDataParams>,
    ) -> Answer<RemoveJobDataResult> {
        check_job(&request.get_ref().job_id)?;
        self.inner.clone().remove_job_data(request).await
    }
}
