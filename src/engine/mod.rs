//! How rows flow: scan, merge, sink; sessions, tables and statements. The only floor, beside
//! `cluster`, that names DataFusion.
//!
//! A compaction is the statement of [`run`]: [`spool`] is the table that it reads, [`sink`] the one
//! that it inserts into. The way of a row: [`source`] has it decoded and checked by
//! [`crate::job::checker`], which brings it to the partition's columns and counts it for its file;
//! [`operators`] merge, number and order it, [`sink`] encodes it, reads it back and publishes it.
//! What is read and in which layout a [`Job`](crate::job::Job) says; which partitions are compacted
//! is decided by the verbs. Statements of users and the tables that they see are in [`sql`], which
//! a compaction does not need.

/// What every leaf of a plan answers: it has no children and no expressions.
macro_rules! leaf {
    () => {
        fn children(&self) -> Vec<&std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>> {
            Vec::new()
        }

        fn apply_expressions(
            &self,
            _: &mut dyn FnMut(
                &std::sync::Arc<dyn datafusion::physical_expr::PhysicalExpr>,
            ) -> datafusion::common::Result<datafusion::common::tree_node::TreeNodeRecursion>,
        ) -> datafusion::common::Result<datafusion::common::tree_node::TreeNodeRecursion> {
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        }

        fn replace_children(
            self: std::sync::Arc<Self>,
            _: Vec<std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>>,
            _: datafusion::physical_plan::ReplaceChildrenOptions,
        ) -> datafusion::common::Result<std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>> {
            Ok(self)
        }

        fn with_new_children(
            self: std::sync::Arc<Self>,
            _: Vec<std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>>,
        ) -> datafusion::common::Result<std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>> {
            Ok(self)
        }
    };
}
pub(crate) use leaf;

/// What every operator with one input answers: it is in the field `$input`, and the operator's own
/// `upon` makes the same operator of another one.
macro_rules! one_input {
    ($input:ident) => {
        fn children(&self) -> Vec<&std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>> {
            vec![&self.$input]
        }

        fn replace_children(
            self: std::sync::Arc<Self>,
            children: Vec<std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>>,
            _: datafusion::physical_plan::ReplaceChildrenOptions,
        ) -> datafusion::common::Result<std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>> {
            Ok(std::sync::Arc::new(self.upon(crate::engine::only(children)?)?))
        }

        fn with_new_children(
            self: std::sync::Arc<Self>,
            children: Vec<std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>>,
        ) -> datafusion::common::Result<std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>> {
            Ok(std::sync::Arc::new(self.upon(crate::engine::only(children)?)?))
        }
    };
}
pub(crate) use one_input;

/// The input of an operator that has one.
fn only(
    mut children: Vec<std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>>,
) -> datafusion::common::Result<std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>> {
    let input = children.pop().filter(|_| children.is_empty());
    input.ok_or_else(|| {
        datafusion::common::DataFusionError::Internal("an operator has one input".to_owned())
    })
}

pub mod collectors;
pub mod error;
pub mod operators;
pub mod order;
pub mod plan;
pub mod run;
pub mod session;
pub mod sink;
pub mod source;
pub mod spool;
pub mod sql;
pub mod ties;

/// The version of the engine underneath.
pub use datafusion::DATAFUSION_VERSION;
