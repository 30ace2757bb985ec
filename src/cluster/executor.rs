//! An executor: Ballista's process, with qlc's codec, stores, memory and a few answers to
//! questions.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::{Json, Router, extract::State, routing::get, routing::post};
use ballista_core::{
    JobId, config::TaskSchedulingPolicy, registry::BallistaFunctionRegistry,
    serde::protobuf::executor_grpc_server::ExecutorGrpcServer,
};
use ballista_executor::{
    ArrowFlightServerProvider,
    execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor},
    executor_process::{ExecutorProcessConfig, start_executor_process},
    flight_service::BallistaFlightService,
};
use datafusion::{
    common::Result as DfResult, physical_plan::ExecutionPlan, prelude::SessionConfig,
};
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

use super::{
    accepted::{Accepted, refused},
    clients::Clients,
    codec::Codec,
    host::Host,
    launched::{Launched, Pass},
    members::Reach,
    peers::{Listener, Peers},
    registry,
    results::Results,
    web,
};
use crate::{
    engine::sql::functions,
    error::{Error, Kind, Result},
    storage::{bucket::BucketOptions, spools::Spools},
};

/// What an executor is told.
#[derive(Debug, Clone)]
pub struct Executor {
    /// The scheduler's host.
    pub scheduler_host: String,
    /// The scheduler's port.
    pub scheduler_port: u16,
    /// How long the scheduler is waited for at the start.
    pub connect_timeout: Duration,
    /// The address to listen on.
    pub bind_host: String,
    /// The port for tasks, results and questions.
    pub port: u16,
    /// The port of loopback on which Ballista takes what comes in by the other.
    pub grpc_port: u16,
    /// How others reach this executor, where that is not the address it connects from.
    pub external_host: Option<String>,
    /// Tasks at a time.
    pub vcores: usize,
    /// Bytes that all tasks may have resident together.
    pub memory: u64,
    /// How often the scheduler is told that this executor lives.
    pub heartbeat: Duration,
    /// The spool: tasks and statements over another one are refused.
    pub spool: Spools,
    /// The archive, likewise.
    pub archive: String,
    /// How buckets are spoken to.
    pub bucket: BucketOptions,
    /// Who may speak with it, and how it is known to others.
    pub peers: Peers,
    /// Where runs are spilled, uploads staged and results kept until they are fetched.
    pub spill_dir: PathBuf,
}

/// Results are small, and fetched at once.
const KEPT: Duration = Duration::from_hours(1);

/// The largest message, as Ballista has it.
const MESSAGE_BYTES: usize = 16 << 20;

/// Runs an executor until it is told to stop; tasks under way are ended first.
///
/// # Errors
/// When it cannot listen, or the scheduler is not there.
pub async fn run(asked: Executor, started: impl FnOnce(&str)) -> Result<()> {
    asked.peers.check(&asked.bind_host)?;
    asked.peers.check(&asked.scheduler_host)?;
    let name = format!(
        "{}:{}",
        asked.external_host.as_ref().unwrap_or(&asked.bind_host),
        asked.port
    );
    let accepted = Accepted::new(&asked.spool, &asked.archive, &asked.bucket)?;
    let host = Arc::new(Host::new(
        name,
        asked.vcores,
        asked.memory,
        accepted,
        &asked.spill_dir,
    )?);
    let results = work_dir(host.scratch())?;
    let address: SocketAddr = format!("{}:{}", asked.bind_host, asked.port)
        .parse()
        .map_err(|_| {
            Error::usage(format!(
                "{} is not an address to listen on: write one such as 0.0.0.0",
                asked.bind_host
            ))
        })?;
    let listener = TcpListener::bind(address).await.map_err(|e| {
        Error::io(
            format!("{address}: cannot be listened on; choose another --bind-port"),
            e,
        )
    })?;
    let runtimes = registry::of_executor(host.accepted(), host.scratch());
    let scheduler = format!("{}:{}", asked.scheduler_host, asked.scheduler_port);
    asked.peers.reach(&scheduler, asked.connect_timeout).await?;
    let pass = Pass::new();
    let tasks = Launched::at(asked.grpc_port, MESSAGE_BYTES, &pass, &asked.peers)
        .map_err(|e| Error::caused(Kind::Internal, "the port for tasks", e))?;
    // The scheduler asks back before it knows an executor.
    serve(&host, &results, tasks, asked.peers.listen(listener)?);
    let config = ExecutorProcessConfig {
        bind_host: "127.0.0.1".to_owned(),
        external_host: asked.external_host,
        port: asked.port,
        grpc_port: asked.grpc_port,
        scheduler_host: asked.scheduler_host,
        scheduler_port: asked.scheduler_port,
        scheduler_connect_timeout_seconds: u16::try_from(asked.connect_timeout.as_secs())
            .unwrap_or(u16::MAX),
        vcores: asked.vcores,
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        work_dir: Some(results.display().to_string()),
        job_data_ttl_seconds: KEPT.as_secs(),
        job_data_clean_up_interval_seconds: KEPT.as_secs() / 6,
        executor_heartbeat_interval_seconds: asked.heartbeat.as_secs().max(1),
        memory_pool_size: Some(asked.memory),
        override_physical_codec: Some(Arc::new(Codec::of(Arc::clone(&host)))),
        override_function_registry: Some(Arc::new(functions_of_ballista_and_qlc())),
        override_runtime_producer: Some(runtimes),
        override_config_producer: Some({
            let peers = asked.peers.clone();
            Arc::new(move || Pass::asked_for(peers.sessions()))
        }),
        override_create_grpc_client_endpoint: Some(asked.peers.endpoints()),
        override_execution_engine: Some(Arc::new(Engine::of(pass))),
        override_arrow_flight_service: Some(flight()),
        ..ExecutorProcessConfig::default()
    };
    started(host.name());
    start_executor_process(Arc::new(config))
        .await
        .map_err(|e| Error::caused(Kind::Io, "the executor", e))
}

fn work_dir(scratch: &Path) -> Result<PathBuf> {
    let dir = scratch.join("results");
    std::fs::create_dir_all(&dir).map_err(|e| Error::io(dir.display(), e))?;
    Ok(dir)
}

fn functions_of_ballista_and_qlc() -> BallistaFunctionRegistry {
    let mut registry = BallistaFunctionRegistry::default();
    for function in functions::all() {
        let _ = registry
            .scalar_functions
            .insert(function.name().to_owned(), Arc::new(function));
    }
    registry
}

/// Ballista's way to execute a stage that came in by the port of those who are known.
struct Engine {
    inner: DefaultExecutionEngine,
    pass: Pass,
}

impl Engine {
    fn of(pass: Pass) -> Self {
        let clients = Arc::new(Clients::default());
        Self {
            inner: DefaultExecutionEngine::with_client_pool(clients),
            pass,
        }
    }
}

impl ExecutionEngine for Engine {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        global_output_partition_ids: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> DfResult<Arc<dyn QueryStageExecutor>> {
        if !self.pass.is_held(config) {
            return Err(refused("a task that came in by the port of loopback"));
        }
        self.inner.create_query_stage_exec(
            job_id,
            stage_id,
            task_id,
            global_output_partition_ids,
            plan,
            work_dir,
            config,
        )
    }
}

/// Serves results, tasks and qlc's questions on one port.
fn serve(host: &Arc<Host>, results: &Path, tasks: Launched, listener: Listener) {
    let questions = Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .route(
            "/metrics",
            get(|State(host): State<Arc<Host>>| async move { host.metrics() }),
        )
        .route(
            "/qlc/about",
            get(|State(host): State<Arc<Host>>| async move { web::json(&host.about()) }),
        )
        .route("/qlc/reach", post(reach))
        .with_state(Arc::clone(host));
    let tasks = ExecutorGrpcServer::new(tasks)
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    let results = Results::new(BallistaFlightService::new(results.display().to_string()));
    let mut routes = RoutesBuilder::default();
    let _ = routes
        .add_service(FlightServiceServer::new(results))
        .add_service(tasks);
    let router = routes.routes().into_axum_router().merge(questions);
    drop(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "nobody is answered any more");
        }
    }));
}

/// In place of Ballista's own service for results: nothing, as qlc serves them.
fn flight() -> Arc<ArrowFlightServerProvider> {
    Arc::new(move |_, _, mut shutdown, _| {
        tokio::spawn(async move {
            shutdown.recv().await;
            Ok(())
        })
    })
}

async fn reach(
    State(host): State<Arc<Host>>,
    Json(reach): Json<Reach>,
) -> axum::response::Response {
    web::json(&reach.tried(host.accepted()).await)
}
