//! A task as a physical plan of one node without inputs: where it is executed, the partition is
//! compacted, and its report is the only row.
//!
//! It does not fail because of what is in the files: that is in the report, so that the same bytes
//! are not tried again and again. It runs only on an executor; the scheduler passes it on.

use std::{fmt, sync::Arc};

use arrow::{
    array::{RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    common::{DataFusionError, Result as DfResult},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
};

use super::{host::Host, launched::is_again, task::Task};

/// The plan of a task.
#[derive(Debug)]
pub(super) struct TaskExec {
    task: Task,
    /// Where it is executed, on an executor.
    host: Option<Arc<Host>>,
    properties: Arc<PlanProperties>,
}

impl TaskExec {
    pub(super) fn new(task: Task, host: Option<Arc<Host>>) -> Self {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new(
            "report",
            DataType::Utf8,
            false,
        )]));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            task,
            host,
            properties: Arc::new(properties),
        }
    }

    pub(super) fn task(&self) -> &Task {
        &self.task
    }
}

impl DisplayAs for TaskExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompactPartition: {}", self.task.partition)
    }
}

impl ExecutionPlan for TaskExec {
    fn name(&self) -> &'static str {
        "CompactPartition"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    crate::engine::leaf!();

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let host = self
            .host
            .clone()
            .ok_or_else(|| DataFusionError::Execution("a task runs on an executor".to_owned()))?;
        let (mut task, schema) = (self.task.clone(), self.schema());
        task.again |= is_again(context.session_config());
        let row = futures::stream::once(async move {
            let report = host
                .work(&task)
                .await
                .map_err(|e| DataFusionError::External(Box::new(e)))?;
            let json = serde_json::to_string(&report)
                .map_err(|e| DataFusionError::External(Box::new(e)))?;
            Ok(RecordBatch::try_new(
                schema,
                vec![Arc::new(StringArray::from(vec![json]))],
            )?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), row)))
    }
}
