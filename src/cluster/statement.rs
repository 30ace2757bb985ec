//! A statement on the cluster: it is planned where it is written, over the same tables, and its
//! physical plan is sent.
//!
//! A plan that cannot be sent, such as one over a table that only this process knows, runs here.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::{physical_plan::AsExecutionPlan, protobuf::PhysicalPlanNode};

use super::{address::Cluster, client::Session, codec::Codec, members::Member};
use crate::engine::sql::Remote;

/// Runs statements on `cluster`, whose executors are `members`.
#[must_use]
pub fn remote(cluster: &Cluster, members: &[Member]) -> Remote {
    let partitions = members
        .iter()
        .map(|member| member.vcores)
        .sum::<usize>()
        .max(1);
    let session = Session::new(cluster, partitions);
    let travels = |plan: &Arc<dyn ExecutionPlan>| {
        let encoded = PhysicalPlanNode::try_from_physical_plan(Arc::clone(plan), &Codec::default());
        if let Err(error) = &encoded {
            tracing::info!(%error, "the plan cannot travel; it runs here");
        }
        encoded.is_ok()
    };
    let run = move |plan: Arc<dyn ExecutionPlan>| {
        let session = session.clone();
        Box::pin(async move { session.run(plan, "qlc query").await }) as _
    };
    Remote {
        partitions,
        travels: Arc::new(travels),
        run: Arc::new(run),
    }
}
