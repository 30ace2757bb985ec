//! How plans become bytes and plans again: qlc's own node here, everything else by Ballista's
//! codec.
//!
//! A stage is decoded on an executor only if it is made of what qlc sends: nothing of another one
//! is opened. A task of another version of qlc is refused: the bytes of the archive follow from the
//! version that makes them.

use std::sync::Arc;

use ballista_core::{
    execution_plans::{
        RangeShuffleWriterExec, ShuffleWriterExec, sort_shuffle::SortShuffleWriterExec,
    },
    serde::BallistaPhysicalExtensionCodec,
};
use datafusion::{
    common::{DataFusionError, Result as DfResult},
    execution::TaskContext,
    logical_expr::ScalarUDF,
    physical_plan::ExecutionPlan,
};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};

use super::{accepted::check_stage, exec::TaskExec, host::Host, task::Task, version::BuildId};
use crate::engine::sql::functions;

/// What the bytes of a task begin with; those of Ballista's nodes begin with a field of a message,
/// which this is not.
const MARK: &[u8] = b"\xffqlc task\n";

/// The codec of qlc's cluster.
#[derive(Debug, Default)]
pub(super) struct Codec {
    ballista: BallistaPhysicalExtensionCodec,
    /// Where tasks are executed, on an executor.
    host: Option<Arc<Host>>,
}

impl Codec {
    /// The codec of an executor.
    pub(super) fn of(host: Arc<Host>) -> Self {
        Self {
            host: Some(host),
            ..Self::default()
        }
    }
}

/// Whether a node is the root of a stage. Ballista's engine executes no plan with another one.
fn writes_results(node: &dyn ExecutionPlan) -> bool {
    node.downcast_ref::<ShuffleWriterExec>().is_some()
        || node.downcast_ref::<SortShuffleWriterExec>().is_some()
        || node.downcast_ref::<RangeShuffleWriterExec>().is_some()
}

impl PhysicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let Some(json) = buf.strip_prefix(MARK) else {
            let node = self.ballista.try_decode(buf, inputs, ctx, converter)?;
            if self.host.is_some() && writes_results(node.as_ref()) {
                check_stage(inputs)?;
            }
            return Ok(node);
        };
        let task = Task::from_json(json).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let own = BuildId::own();
        if task.build != own {
            let who = self
                .host
                .as_ref()
                .map_or("the scheduler", |host| host.name());
            return Err(DataFusionError::Execution(format!(
                "{who} is {own} and refuses the task of {}",
                task.build
            )));
        }
        Ok(Arc::new(TaskExec::new(task, self.host.clone())))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> DfResult<()> {
        let Some(exec) = node.downcast_ref::<TaskExec>() else {
            return self.ballista.try_encode(node, buf, converter);
        };
        buf.extend_from_slice(MARK);
        buf.extend(
            exec.task()
                .to_json()
                .map_err(|e| DataFusionError::External(Box::new(e)))?,
        );
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> DfResult<Arc<ScalarUDF>> {
        match functions::all()
            .into_iter()
            .find(|function| function.name() == name)
        {
            Some(function) => Ok(Arc::new(function)),
            None => self.ballista.try_decode_udf(name, buf),
        }
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> DfResult<()> {
        if functions::all()
            .iter()
            .any(|function| function.name() == node.name())
        {
            // Its name is enough, but bytes are what makes the codec be asked for it.
            buf.extend_from_slice(MARK);
            return Ok(());
        }
        self.ballista.try_encode_udf(node, buf)
    }
}
