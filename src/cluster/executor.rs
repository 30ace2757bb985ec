//! An executor: Ballista's process, with qlc's codec, stores, memory and a few answers to
//! questions.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::{Json, Router, extract::State, routing::get, routing::post};
use ballista_core::{
    config::TaskSchedulingPolicy, extension::SessionConfigExt, registry::BallistaFunctionRegistry,
};
use ballista_executor::{
    ArrowFlightServerProvider,
    executor_process::{ExecutorProcessConfig, start_executor_process},
    flight_service::BallistaFlightService,
};
use datafusion::prelude::SessionConfig;
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

use super::{codec::Codec, host::Host, members::Reach, registry::runtimes, web};
use crate::{
    engine::functions,
    error::{Error, Kind, Result},
    storage::bucket::BucketOptions,
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
    /// The port for results and questions.
    pub port: u16,
    /// The port for tasks.
    pub grpc_port: u16,
    /// How others reach this executor, where that is not the address it connects from.
    pub external_host: Option<String>,
    /// Tasks at a time.
    pub vcores: usize,
    /// Bytes that all tasks may have resident together.
    pub memory: u64,
    /// How often the scheduler is told that this executor lives.
    pub heartbeat: Duration,
    /// How buckets are spoken to.
    pub bucket: BucketOptions,
    /// Where runs are spilled, uploads staged and results kept until they are fetched.
    pub spill_dir: PathBuf,
}

/// Results are small, and fetched at once.
const KEPT: Duration = Duration::from_hours(1);

/// Runs an executor until it is told to stop; tasks under way are ended first.
///
/// # Errors
/// When it cannot listen, or the scheduler is not there.
pub async fn run(asked: Executor, started: impl FnOnce(&str)) -> Result<()> {
    let name = format!(
        "{}:{}",
        asked.external_host.as_ref().unwrap_or(&asked.bind_host),
        asked.port
    );
    let host = Arc::new(Host::new(
        name,
        asked.vcores,
        asked.memory,
        &asked.bucket,
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
    let runtimes = runtimes(&asked.bucket, Some(host.scratch()));
    let config = ExecutorProcessConfig {
        bind_host: asked.bind_host,
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
        override_config_producer: Some(Arc::new(SessionConfig::new_with_ballista)),
        override_arrow_flight_service: Some(flight(&host, listener)),
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

/// Ballista's service for results, and qlc's questions, on one port.
fn flight(host: &Arc<Host>, listener: TcpListener) -> Arc<ArrowFlightServerProvider> {
    let router = Router::new()
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
    let once = Mutex::new(Some((router, listener)));
    Arc::new(move |work_dir, _, mut shutdown, _| {
        let taken = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        tokio::spawn(async move {
            let Some((router, listener)) = taken else {
                return Ok(());
            };
            let mut routes = RoutesBuilder::default();
            let _ = routes.add_service(FlightServiceServer::new(BallistaFlightService::new(
                work_dir,
            )));
            let router = routes.routes().into_axum_router().merge(router);
            tokio::select! {
                served = axum::serve(web::prompt(listener), router) => served.map_err(ballista_core::error::BallistaError::from),
                () = shutdown.recv() => Ok(()),
            }
        })
    })
}

async fn reach(
    State(host): State<Arc<Host>>,
    Json(reach): Json<Reach>,
) -> axum::response::Response {
    web::json(&reach.tried(host.bucket()).await)
}
