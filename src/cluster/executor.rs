//! An executor: Ballista's process, with qlc's codec, stores, memory and a few answers to
//! questions.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::{Json, Router, extract::State, routing::get, routing::post};
use ballista_core::{
    JobId, config::TaskSchedulingPolicy, error::BallistaError, registry::BallistaFunctionRegistry,
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
use tokio::{net::TcpListener, sync::Notify};
use tonic::service::RoutesBuilder;

use super::{
    accepted::{Accepted, refused},
    address::before_port,
    certificates::is_refusal,
    clients::Clients,
    codec::Codec,
    failure::ReportingStage,
    host::Host,
    http,
    launched::{Launched, Pass},
    members::Reach,
    peers::{Listener, MESSAGE_BYTES, Peers},
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

/// How long the scheduler is left in peace that does not answer yet.
const ASKED_EVERY: Duration = Duration::from_millis(500);

/// Runs an executor until `stop` completes; tasks under way are ended first.
///
/// # Errors
/// When it cannot listen, or the scheduler is not there.
pub async fn run(
    mut asked: Executor,
    started: impl FnOnce(&str),
    stop: impl Future<Output = ()>,
) -> Result<()> {
    asked.peers.check(&asked.bind_host)?;
    asked.peers.check(&asked.scheduler_host)?;
    let ip: IpAddr = asked
        .bind_host
        .trim_matches(['[', ']'])
        .parse()
        .map_err(|_| {
            Error::usage(format!(
                "{} is not an address to listen on: write one such as 0.0.0.0",
                asked.bind_host
            ))
        })?;
    let address = SocketAddr::new(ip, asked.port);
    // By IPv6 it may connect from another address than the one that it listens on.
    asked.external_host = match asked.external_host {
        Some(host) => Some(before_port(&host)),
        None if ip.is_ipv6() && !ip.is_unspecified() => Some(format!("[{ip}]")),
        None => None,
    };
    asked.scheduler_host = before_port(&asked.scheduler_host);
    let name = match &asked.external_host {
        Some(host) => format!("{host}:{}", asked.port),
        None => address.to_string(),
    };
    let accepted = Accepted::new(&asked.spool, &asked.archive, &asked.bucket)?;
    let host = Arc::new(Host::new(
        name,
        asked.vcores,
        asked.memory,
        accepted,
        &asked.spill_dir,
    )?);
    let results = work_dir(host.scratch())?;
    let listener = TcpListener::bind(address).await.map_err(|e| {
        Error::io(
            format!("{address}: cannot be listened on; choose another --bind-port"),
            e,
        )
    })?;
    // Ballista binds this port itself, later and with a poor message.
    let inner = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), asked.grpc_port);
    drop(TcpListener::bind(inner).await.map_err(|e| {
        Error::io(
            format!("{inner}: cannot be listened on; choose another --bind-grpc-port"),
            e,
        )
    })?);
    let joined = Joined::default();
    let runtimes = registry::of_executor(host.accepted(), host.scratch());
    let scheduler = format!("{}:{}", asked.scheduler_host, asked.scheduler_port);
    let mut stop = std::pin::pin!(stop);
    tokio::select! {
        answered = answers(&asked.peers, &scheduler, asked.connect_timeout) => answered?,
        () = &mut stop => return Ok(()),
    }
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
        grpc_max_decoding_message_size: u32::try_from(MESSAGE_BYTES).unwrap_or(u32::MAX),
        grpc_max_encoding_message_size: u32::try_from(MESSAGE_BYTES).unwrap_or(u32::MAX),
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
        override_arrow_flight_service: Some(flight(&joined)),
        ..ExecutorProcessConfig::default()
    };
    started(host.name());
    let mut ballista = std::pin::pin!(start_executor_process(Arc::new(config)));
    let ended = tokio::select! {
        ended = &mut ballista => ended,
        () = stop => match joined.get() {
            Some(joined) => {
                joined.notify_one();
                ballista.await
            }
            // It waits for the scheduler, and listens to no signal.
            None => Ok(()),
        },
    };
    ended.map_err(|e| Error::caused(Kind::Io, "the executor", e))
}

/// Waits until the scheduler at `place` answers.
///
/// # Errors
/// When it does not within `patience`, or when one of the two does not accept the other's
/// certificate.
async fn answers(peers: &Peers, place: &str, patience: Duration) -> Result<()> {
    let begun = Instant::now();
    loop {
        match http::get::<serde_json::Value>(peers, place, "qlc/executors").await {
            Ok(_) => return Ok(()),
            Err(error) if is_refusal(&error) || begun.elapsed() >= patience => return Err(error),
            Err(error) => tracing::warn!(error = %error.chain(), "once more"),
        }
        tokio::time::sleep(ASKED_EVERY).await;
    }
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
        let stage = self.inner.create_query_stage_exec(
            job_id,
            stage_id,
            task_id,
            global_output_partition_ids,
            plan,
            work_dir,
            config,
        )?;
        Ok(Arc::new(ReportingStage(stage)))
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

/// Set once the scheduler has taken the executor in; whoever is notified by it ends the executor.
type Joined = Arc<OnceLock<Arc<Notify>>>;

/// In place of Ballista's own service for results: nothing, as qlc serves them. Ballista begins it
/// as its last step before it waits for its end, and ends well when a service of its fails: a
/// signal would be lost that came just before Ballista listens for one.
fn flight(joined: &Joined) -> Arc<ArrowFlightServerProvider> {
    let joined = Arc::clone(joined);
    Arc::new(move |_, _, mut shutdown, _| {
        let told = Arc::clone(joined.get_or_init(Arc::default));
        tokio::spawn(async move {
            tokio::select! {
                () = told.notified() => Err(BallistaError::Cancelled),
                () = shutdown.recv() => Ok(()),
            }
        })
    })
}

async fn reach(
    State(host): State<Arc<Host>>,
    Json(reach): Json<Reach>,
) -> axum::response::Response {
    web::json(&reach.tried(host.accepted()).await)
}
