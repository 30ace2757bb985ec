//! What a qlc with the cluster does.

use std::{sync::Arc, time::Duration};

use crate::{
    cli::{
        args::{
            Cluster as Typed, ClusterCertificate, ClusterVerb, ExecutorTyped, NamedCluster,
            SchedulerTyped,
        },
        console::Console,
        exit::Exit,
        settings::{Settings, cores},
        signals::Signals,
    },
    cluster::{self, CertificateFiles, Cluster, Executor, Peers, Reach, Scheduler},
    compact::{Options, RunSummary, Stop, Watch},
    doctor::{Check, machine_memory},
    engine::sql::Remote,
    error::{Error, Kind, Result},
    model::size,
    storage::store::Store,
};

/// The name of what is said of a cluster by `qlc doctor`.
const NAME: &str = "cluster";

/// The share of the machine's memory that an executor takes where nobody says how much, in percent.
const SHARE: u64 = 70;

fn named((url, certificate): NamedCluster<'_>) -> Result<Cluster> {
    Cluster::parse(url, peers(certificate)?)
}

fn peers(typed: &ClusterCertificate) -> Result<Peers> {
    match (&typed.cluster_ca, &typed.cluster_cert, &typed.cluster_key) {
        (None, None, None) => Peers::of(None),
        (Some(authority), Some(certificate), Some(key)) => Peers::of(Some(&CertificateFiles {
            authority: authority.clone(),
            certificate: certificate.clone(),
            key: key.clone(),
        })),
        _ => Err(Error::usage(
            "cluster_ca, cluster_cert and cluster_key belong together: one of them is missing",
        )),
    }
}

/// Runs a process of a cluster until it is told to stop.
pub(crate) async fn run(
    typed: &Typed,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    match &typed.verb {
        ClusterVerb::Scheduler(typed) => scheduler(typed, console, signals).await?,
        ClusterVerb::Executor(typed) => executor(typed, settings, console, signals).await?,
    }
    Ok(Exit::Done)
}

async fn scheduler(typed: &SchedulerTyped, console: &Console, signals: &Signals) -> Result<()> {
    let asked = Scheduler {
        bind_host: typed.bind_host.clone(),
        bind_port: typed.bind_port,
        external_host: typed.external_host.clone(),
        executor_timeout: Duration::from_secs(typed.executor_timeout_seconds),
        task_max_failures: typed.task_max_failures,
        peers: peers(&typed.certificate)?,
    };
    let started = |bound: std::net::SocketAddr, external: &str| {
        console.line(&format!(
            "qlc: scheduler on {bound}; clients say --cluster df://{external}:{}",
            bound.port()
        ));
    };
    let signals = signals.clone();
    cluster::run_scheduler(asked, started, async move { signals.stopped().await }).await
}

async fn executor(
    typed: &ExecutorTyped,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
) -> Result<()> {
    let asked = Executor {
        scheduler_host: typed.scheduler_host.clone(),
        scheduler_port: typed.scheduler_port,
        connect_timeout: Duration::from_secs(typed.scheduler_connect_timeout_seconds.into()),
        bind_host: typed.bind_host.clone(),
        port: typed.bind_port,
        grpc_port: typed.bind_grpc_port,
        external_host: typed.external_host.clone(),
        vcores: typed.vcores.unwrap_or_else(cores),
        memory: typed
            .memory_pool_size
            .unwrap_or_else(|| machine_memory().saturating_mul(SHARE) / 100),
        heartbeat: Duration::from_secs(typed.executor_heartbeat_interval_seconds),
        spool: settings.spool.clone(),
        archive: settings.archive.clone(),
        bucket: settings.bucket.clone(),
        peers: peers(&typed.certificate)?,
        spill_dir: typed
            .spill_dir
            .clone()
            .unwrap_or_else(|| settings.spill_dir.clone()),
    };
    let (vcores, memory) = (asked.vcores, size::show(asked.memory));
    let started = |name: &str| {
        console.line(&format!(
            "qlc: executor {name}: {vcores} tasks at a time, {memory} for all of them"
        ));
    };
    cluster::run_executor(asked, started, signals.stopped()).await
}

/// Compacts on the cluster at `url`.
pub(crate) async fn compact(
    on: NamedCluster<'_>,
    spool: &Store,
    archive: &Store,
    options: &Options,
    watch: Arc<dyn Watch>,
    stop: &Stop,
) -> Result<RunSummary> {
    cluster::compact(&named(on)?, spool, archive, options, watch, stop).await
}

/// The cluster at `url` as a place for statements, if all its executors see the stores.
pub(crate) async fn remote(
    on: NamedCluster<'_>,
    spool: &Store,
    archive: &Store,
    _: &Settings,
) -> Result<Remote> {
    let cluster = named(on)?;
    let members = cluster::check(&cluster, &Reach::of(spool, archive, false).await?, 0).await?;
    Ok(cluster::remote(&cluster, &members))
}

/// What `doctor` says of each executor.
pub(crate) async fn checks(on: NamedCluster<'_>, settings: &Settings) -> Vec<Check> {
    match examined(on, settings).await {
        Ok(checks) => checks,
        Err(error) => {
            let mend = if cluster::is_refusal(&error) {
                "compare --cluster-ca, --cluster-cert and --cluster-key of the two, and their clocks"
            } else if error.kind() == Kind::Usage {
                "correct --cluster, or the files of the certificate"
            } else {
                "start it with qlc cluster scheduler, or correct --cluster"
            };
            vec![Check::problem(NAME, error.chain(), mend)]
        }
    }
}

async fn examined(on: NamedCluster<'_>, settings: &Settings) -> Result<Vec<Check>> {
    let cluster = named(on)?;
    let archive = Store::open_with(&settings.archive, &settings.bucket)?;
    let spool = Store::of_spools(&settings.spool, &settings.bucket)?;
    let reach = match Reach::of(&spool, &archive, true).await {
        Ok(reach) => reach,
        Err(error) => {
            let mend = "see what is said of the spool and the archive";
            return Ok(vec![Check::problem(NAME, error.chain(), mend)]);
        }
    };
    let (members, wrong) = cluster::examined(&cluster, &reach, settings.memory_limit).await?;
    if members.is_empty() {
        let found = format!("{cluster} answers, and has no executors");
        return Ok(vec![Check::problem(
            NAME,
            found,
            "start some with qlc cluster executor",
        )]);
    }
    let slots: usize = members
        .iter()
        .map(|member| member.slots(settings.memory_limit))
        .sum();
    let all = format!(
        "{cluster}: executors: {}, partitions at a time: {slots}",
        members.len()
    );
    let each = members.iter().map(|member| {
        let troubles: Vec<&str> =
            wrong.iter().filter(|(name, _)| *name == member.name).map(|(_, what)| what.as_str()).collect();
        let about = format!(
            "{}: {}, {} for {} tasks",
            member.name,
            member.build,
            size::show(member.memory),
            member.vcores
        );
        if troubles.is_empty() {
            Check::ok("executor", about)
        } else {
            let mend = "fix it there, or stop that executor: a run begins only when every executor can do its part";
            Check::problem("executor", format!("{about}; {}", troubles.join("; ")), mend)
        }
    });
    Ok(std::iter::once(Check::ok(NAME, all)).chain(each).collect())
}
