//! More than one machine: partitions are compacted, and statements answered, on a Ballista cluster.
//!
//! ```text
//!  client                        scheduler                  executor (one or more)
//!  lists both stores             Ballista's, and what       Ballista's, with qlc's codec:
//!  asks who is there ──────────► it knows of executors      a task is one partition, done as a local run does it:
//!  and whether they can  ────────────────────────────────►  list, plan, merge, prove, receipt, data, meta
//!  one job per partition ──────► one task ────────────────► its outcome is the job's only row
//! ```
//!
//! What is sent is plain data ([`task::Task`]) in a physical plan of one node (`exec::TaskExec`);
//! the plan of a partition is made where its footers are read. Scheduling, retries and results are
//! Ballista's. A task that is done twice, because its first executor was thought dead, publishes
//! once: conditional writes decide, or the lock of the partition's folder.
//!
//! No credentials are sent. A run does not begin when an executor is of another build, lacks
//! memory or cannot reach the stores.

mod accepted;
mod address;
mod certificates;
mod client;
mod clients;
mod codec;
mod exec;
mod executor;
mod failure;
mod host;
mod http;
mod launched;
mod members;
mod peers;
mod registry;
mod results;
mod scheduler;
mod statement;
mod submitted;
mod task;
mod version;
mod web;

pub use self::{
    address::{Cluster, SCHEDULER_PORT},
    certificates::{CertificateFiles, is_refusal},
    client::compact,
    executor::{Executor, run as run_executor},
    members::{Member, Reach, Reached, check, examined},
    peers::Peers,
    scheduler::{Scheduler, run as run_scheduler},
    statement::remote,
    task::Task,
    version::{BuildId, pretend_version},
};
