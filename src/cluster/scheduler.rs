//! The scheduler: Ballista's process, with qlc's codec, and what it knows of the executors.
//!
//! It stores nothing: when it dies, its jobs are forgotten, and the runs that they belong to end
//! and are run again.

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State, connect_info::Connected},
    routing::get,
    serve::IncomingStream,
};
use ballista_core::{
    config::TaskSchedulingPolicy, serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer,
};
use ballista_scheduler::{
    cluster::{BallistaCluster, ClusterState},
    config::SchedulerConfig,
    scheduler_process::create_scheduler,
    scheduler_server::SchedulerServer,
};
use datafusion::{
    execution::{FunctionRegistry, SessionStateBuilder},
    prelude::SessionConfig,
};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

use super::{
    address::before_port,
    codec::Codec,
    members::Registered,
    peers::{Listener, MESSAGE_BYTES, Peers},
    registry,
    submitted::Submitted,
    web,
};
use crate::{
    engine::sql::functions,
    error::{Error, Kind, Result},
    model::metric,
};

/// What a scheduler is told.
#[derive(Debug, Clone)]
pub struct Scheduler {
    /// The address to listen on.
    pub bind_host: String,
    /// The port to listen on.
    pub bind_port: u16,
    /// How executors and clients reach it.
    pub external_host: String,
    /// An executor that was not heard of for so long is thought dead, and its tasks are given to
    /// others.
    pub executor_timeout: Duration,
    /// How often a task is tried that ends with an error, as by the death of its executor.
    pub task_max_failures: usize,
    /// Who may speak with it.
    pub peers: Peers,
}

/// How long a job that has ended is remembered: who waits for it is told at once, and each keeps
/// twenty kilobytes.
const REMEMBERED: Duration = Duration::from_mins(1);

type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// What the routes tell of.
#[derive(Clone)]
struct Known {
    state: Arc<dyn ClusterState>,
    server: Server,
    timeout: Duration,
}

/// Runs a scheduler until `stop` completes.
///
/// # Errors
/// When it cannot listen.
pub async fn run(
    asked: Scheduler,
    started: impl FnOnce(SocketAddr, &str),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let wrong =
        |e: ballista_core::error::BallistaError| Error::caused(Kind::Io, "the scheduler", e);
    asked.peers.check(&asked.bind_host)?;
    let address = format!("{}:{}", before_port(&asked.bind_host), asked.bind_port);
    let listener = TcpListener::bind(&address).await.map_err(|e| {
        Error::io(
            format!("{address}: cannot be listened on; choose another --bind-port"),
            e,
        )
    })?;
    let bound = listener.local_addr().map_err(|e| Error::io(&address, e))?;
    // By that name others would look at 127.0.0.1, perhaps there alone.
    let external = match asked.external_host.as_str() {
        "localhost" if bound.ip() == Ipv6Addr::LOCALHOST => bound.ip().to_string(),
        named => named.to_owned(),
    };
    let external = before_port(&external);
    let runtimes = registry::of_scheduler();
    // Every job has a session: they are copies of one, because making one anew costs more than
    // planning most jobs.
    let runtime = runtimes(&SessionConfig::new())
        .map_err(|e| Error::caused(Kind::Internal, "the runtime of sessions", e))?;
    let mut first = SessionStateBuilder::new()
        .with_default_features()
        .with_runtime_env(runtime)
        .build();
    for function in functions::all() {
        let _ = FunctionRegistry::register_udf(&mut first, Arc::new(function))
            .map_err(|e| Error::caused(Kind::Internal, "the functions of statements", e))?;
    }
    let context = first.task_ctx();
    let sessions = move |config: SessionConfig| {
        let runtime = runtimes(&config)?;
        let state = SessionStateBuilder::new_from_existing(first.clone());
        Ok(state.with_config(config).with_runtime_env(runtime).build())
    };
    let message_bytes = u32::try_from(MESSAGE_BYTES).unwrap_or(u32::MAX);
    let config = SchedulerConfig {
        bind_host: asked.bind_host,
        bind_port: bound.port(),
        external_host: external.clone(),
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        executor_timeout_seconds: asked.executor_timeout.as_secs().max(1),
        expire_dead_executor_interval_seconds: (asked.executor_timeout.as_secs() / 3).max(1),
        task_max_failures: asked.task_max_failures,
        finished_job_state_clean_up_interval_seconds: REMEMBERED.as_secs(),
        // Never: it would be a request to every executor for every job, and ends what is still
        // read. They do it themselves.
        finished_job_data_clean_up_interval_seconds: 0,
        grpc_server_max_decoding_message_size: message_bytes,
        grpc_server_max_encoding_message_size: message_bytes,
        grpc_client_max_message_size: message_bytes,
        override_config_producer: Some({
            let peers = asked.peers.clone();
            Arc::new(move || peers.sessions())
        }),
        override_create_grpc_client_endpoint: Some(asked.peers.endpoints()),
        override_session_builder: Some(Arc::new(sessions)),
        override_physical_codec: Some(Arc::new(Codec::default())),
        ..SchedulerConfig::default()
    };
    config.validate().map_err(wrong)?;
    let cluster = BallistaCluster::new_from_config(&config)
        .await
        .map_err(wrong)?;
    let state = cluster.cluster_state();
    let server: Server = create_scheduler(cluster, Arc::new(config))
        .await
        .map_err(wrong)?;
    let known = Known {
        state,
        server: server.clone(),
        timeout: asked.executor_timeout,
    };
    let questions = Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .route(
            "/qlc/executors",
            get(|State(known): State<Known>| async move { web::json(&known.executors().await) }),
        )
        .with_state(known);
    let grpc = SchedulerGrpcServer::new(Submitted::new(server, context))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    let mut routes = RoutesBuilder::default();
    let _ = routes.add_service(grpc);
    let router = routes
        .routes()
        .into_axum_router()
        .merge(questions)
        .layer(axum::middleware::map_request(from_where));
    let listener = asked.peers.listen(listener)?;
    started(bound, &external);
    let service = router.into_make_service_with_connect_info::<Caller>();
    tokio::select! {
        served = axum::serve(listener, service) => served.map_err(|e| Error::io("the scheduler cannot answer", e)),
        () = stop => Ok(()),
    }
}

/// The address that a connection comes from. Ballista takes it for an executor's, where that does
/// not name another.
#[derive(Clone, Copy)]
struct Caller(SocketAddr);

impl Connected<IncomingStream<'_, Listener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Tells Ballista of it as it asks.
async fn from_where(
    ConnectInfo(Caller(address)): ConnectInfo<Caller>,
    mut request: Request,
) -> Request {
    let _ = request.extensions_mut().insert(ConnectInfo(address));
    request
}

impl Known {
    /// The executors that are thought alive.
    async fn executors(&self) -> Vec<Registered> {
        let heartbeats = self.state.executor_heartbeats();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut found: Vec<Registered> = self
            .state
            .registered_executor_metadata()
            .await
            .into_iter()
            .map(|executor| Registered {
                last_seen_seconds: heartbeats
                    .get(&executor.id)
                    .map(|heard| now.saturating_sub(heard.timestamp)),
                vcores: executor.specification.vcores,
                id: executor.id,
                host: executor.host,
                port: executor.port,
            })
            .filter(|executor| {
                executor
                    .last_seen_seconds
                    .is_some_and(|seen| seen <= self.timeout.as_secs())
            })
            .collect();
        found.sort_by(|a, b| (&a.host, a.port).cmp(&(&b.host, b.port)));
        found
    }
}

async fn metrics(State(known): State<Known>) -> axum::response::Response {
    let executors = known.executors().await;
    let slots: u64 = executors
        .iter()
        .map(|executor| u64::from(executor.vcores))
        .sum();
    let values = [
        executors.len() as u64,
        slots,
        known.server.pending_job_number() as u64,
        known.server.running_job_number() as u64,
    ];
    web::metrics(&metric::CLUSTER.into_iter().zip(values).collect::<Vec<_>>())
}
