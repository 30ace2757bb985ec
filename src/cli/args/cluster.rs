//! `qlc cluster` as typed, and the flag by which other commands name a cluster. Options that
//! Ballista has too have its names.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Which cluster.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OnCluster {
    /// Run on the cluster of this scheduler, as in df://host:50050; --memory-limit is then for each
    /// partition
    #[arg(
        long,
        value_name = "URL",
        env = "QLC_CLUSTER",
        hide_env_values = true,
        help_heading = "Resources"
    )]
    pub(crate) cluster: Option<String>,
    #[command(flatten)]
    pub(crate) certificate: ClusterCertificate,
}

impl OnCluster {
    /// The cluster that is named, if one is.
    pub(crate) fn named(&self) -> Option<NamedCluster<'_>> {
        Some((self.cluster.as_deref()?, &self.certificate))
    }
}

/// A cluster that is named: its address, and how its processes know each other.
pub(crate) type NamedCluster<'a> = (&'a str, &'a ClusterCertificate);

/// How the processes of a cluster know each other: all three files, or none.
#[derive(Debug, Clone, Default, Args)]
#[expect(
    clippy::struct_field_names,
    reason = "a field has the name of its flag and its setting"
)]
pub(crate) struct ClusterCertificate {
    /// The certificate (PEM) of the authority that signs for this cluster and for nothing else;
    /// whoever has a certificate of it is let in
    #[arg(
        long,
        value_name = "FILE",
        env = "QLC_CLUSTER_CA",
        hide_env_values = true,
        help_heading = "Resources"
    )]
    pub(crate) cluster_ca: Option<PathBuf>,
    /// This process's certificate (PEM), made out to the name qlc-cluster
    #[arg(
        long,
        value_name = "FILE",
        env = "QLC_CLUSTER_CERT",
        hide_env_values = true,
        help_heading = "Resources"
    )]
    pub(crate) cluster_cert: Option<PathBuf>,
    /// The private key (PEM) of the certificate
    #[arg(
        long,
        value_name = "FILE",
        env = "QLC_CLUSTER_KEY",
        hide_env_values = true,
        help_heading = "Resources"
    )]
    pub(crate) cluster_key: Option<PathBuf>,
}

/// `qlc cluster`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc cluster scheduler
  qlc cluster executor --scheduler-host localhost --memory-pool-size 10GB
  qlc compact --mode daily --cluster df://localhost:50050

All three read the same configuration; executors have their own settings and credentials for buckets. On more than one
machine all of them need --cluster-ca, --cluster-cert and --cluster-key.")]
pub(crate) struct Cluster {
    #[command(subcommand)]
    pub(crate) verb: ClusterVerb,
}

/// The processes of a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterVerb {
    /// Assign partitions and parts of statements to executors
    Scheduler(SchedulerTyped),
    /// Compact partitions and execute parts of statements
    Executor(ExecutorTyped),
}

/// `qlc cluster scheduler`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc cluster scheduler
  qlc cluster scheduler --bind-host 0.0.0.0 --external-host scheduler.internal")]
pub(crate) struct SchedulerTyped {
    /// The address to listen on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) bind_host: String,
    /// The port to listen on
    #[arg(long, value_name = "PORT", default_value_t = 50050)]
    pub(crate) bind_port: u16,
    /// The name by which executors and clients reach it
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    pub(crate) external_host: String,
    /// After so long without a heartbeat an executor counts as dead, and its work is given to
    /// others
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) executor_timeout_seconds: u64,
    /// How often a task is tried
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) task_max_failures: usize,
    #[command(flatten)]
    pub(crate) certificate: ClusterCertificate,
}

/// `qlc cluster executor`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc cluster executor
  qlc cluster executor --scheduler-host scheduler.internal --bind-host 0.0.0.0 \\
    --vcores 8 --memory-pool-size 24GB
  qlc cluster executor --bind-port 50061 --bind-grpc-port 50062     a second one on a machine")]
pub(crate) struct ExecutorTyped {
    /// The scheduler's host
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    pub(crate) scheduler_host: String,
    /// The scheduler's port
    #[arg(long, value_name = "PORT", default_value_t = 50050)]
    pub(crate) scheduler_port: u16,
    /// How long to wait for the scheduler at the start
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) scheduler_connect_timeout_seconds: u16,
    /// The address to listen on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) bind_host: String,
    /// The port for tasks, results and questions
    #[arg(long, value_name = "PORT", default_value_t = 50051)]
    pub(crate) bind_port: u16,
    /// A port of loopback, by which tasks are passed on within this process
    #[arg(long, value_name = "PORT", default_value_t = 50052)]
    pub(crate) bind_grpc_port: u16,
    /// The name by which scheduler and clients reach it [default: the address that it connects
    /// from]
    #[arg(long, value_name = "HOST")]
    pub(crate) external_host: Option<String>,
    /// Tasks at the same time [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = super::shared::number(1..=1024_usize))]
    pub(crate) vcores: Option<usize>,
    /// Memory of all tasks together; a partition takes the --memory-limit of its run [default: 70%
    /// of the memory of the machine or the container]
    #[arg(long, value_name = "SIZE", value_parser = crate::model::size::parse)]
    pub(crate) memory_pool_size: Option<u64>,
    /// Interval of heartbeats to the scheduler
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) executor_heartbeat_interval_seconds: u64,
    /// The folder for what does not fit in memory, and for results until they are fetched [default:
    /// qlc in the folder for temporary files]
    #[arg(long, value_name = "D", env = "QLC_SPILL_DIR", hide_env_values = true)]
    pub(crate) spill_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) certificate: ClusterCertificate,
}
