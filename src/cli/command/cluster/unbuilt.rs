//! What a qlc without the cluster says.

use std::sync::Arc;

use crate::{
    cli::{
        args::{Cluster, NamedCluster},
        console::Console,
        exit::Exit,
        settings::Settings,
        signals::Signals,
    },
    compact::{Options, RunSummary, Stop, Watch},
    doctor::Check,
    engine::sql::Remote,
    error::{Error, Result},
    storage::store::Store,
};

/// The name of what is said of a cluster by `qlc doctor`.
const NAME: &str = "cluster";

fn missing() -> Error {
    Error::usage("this qlc was built without the cluster: cargo build --release --features cluster")
}

pub(crate) async fn run(_: &Cluster, _: &Settings, _: &Console, _: &Signals) -> Result<Exit> {
    Err(missing())
}

pub(crate) async fn compact(
    _: NamedCluster<'_>,
    _: &Store,
    _: &Store,
    _: &Options,
    _: Arc<dyn Watch>,
    _: &Stop,
) -> Result<RunSummary> {
    Err(missing())
}

pub(crate) async fn remote(
    _: NamedCluster<'_>,
    _: &Store,
    _: &Store,
    _: &Settings,
) -> Result<Remote> {
    Err(missing())
}

pub(crate) async fn checks(_: NamedCluster<'_>, _: &Settings) -> Vec<Check> {
    vec![Check::problem(
        NAME,
        missing().chain(),
        "use a qlc that has it",
    )]
}
