//! Reads files that DataFusion's own reader would hold too much of: it keeps a row group as it is
//! stored, opens a page of every column at a time, and decompresses whatever a page becomes.
//!
//! These are read one after the other by the reader of the other verbs, which takes a few pages at
//! a time from where they lie, and refuses what nobody decodes. Refuses to skip rows: the filters
//! of a statement stand above.

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::SchemaRef,
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
    scalar::ScalarValue,
};
use futures::{TryStreamExt, stream};

use super::prune;
use crate::{
    error::{Error, Kind},
    file::{fault::Problem, reader::Handle},
    storage::{
        by_stream::{Listed, Side},
        store::Store,
    },
};

/// A file and the values of its path.
#[derive(Debug, Clone)]
struct Part {
    handle: Handle,
    side: Side,
    path: Vec<ScalarValue>,
}

/// The scan of such files.
#[derive(Debug)]
pub(super) struct BoundedScan {
    parts: Vec<Part>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl BoundedScan {
    /// A scan of `files`, which gives the columns of `schema`.
    pub(super) fn of(
        store: &Store,
        side: Side,
        files: &[&Listed],
        schema: SchemaRef,
    ) -> Arc<dyn ExecutionPlan> {
        let part = |file: &&Listed| {
            let handle = Handle::new(store, &file.object);
            let handle = if file.vouched {
                handle.vouched()
            } else {
                handle
            };
            Part {
                handle,
                side,
                path: prune::values(side, file),
            }
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Arc::new(Self {
            parts: files.iter().map(part).collect(),
            schema,
            properties: Arc::new(properties),
        })
    }
}

impl DisplayAs for BoundedScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.parts.iter().map(|part| part.handle.shown()).collect();
        write!(f, "BoundedScan: files=[{}]", names.join(", "))
    }
}

impl ExecutionPlan for BoundedScan {
    fn name(&self) -> &'static str {
        "BoundedScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    crate::engine::leaf!();

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let batch_rows = context.session_config().batch_size();
        let (schema, shown) = (Arc::clone(&self.schema), Arc::clone(&self.schema));
        let parts: Vec<DfResult<Part>> = self.parts.iter().cloned().map(Ok).collect();
        let rows = stream::iter(parts)
            .and_then(move |part| rows(part, Arc::clone(&schema), batch_rows))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(shown, rows)))
    }
}

/// The rows of one file, with the columns of `schema`.
async fn rows(
    part: Part,
    schema: SchemaRef,
    batch_rows: usize,
) -> DfResult<impl futures::Stream<Item = DfResult<RecordBatch>> + Send> {
    let named = |part: &Part, problem| wrong(part.handle.shown(), problem);
    let meta = part
        .handle
        .footer()
        .await
        .map_err(|problem| named(&part, problem))?;
    let mut rows = part
        .handle
        .rows_of(&meta, batch_rows, &[])
        .map_err(|problem| named(&part, problem))?;
    let is_read =
        |name: &str| !prune::is_of_path(part.side, name) && schema.column_with_name(name).is_some();
    let stored = rows.schema().fields().iter().enumerate();
    let columns = stored
        .filter(|(_, field)| is_read(field.name()))
        .map(|(nth, _)| nth)
        .collect();
    rows.project(columns);
    Ok(stream::try_unfold(
        (rows, part, schema),
        |(mut rows, part, schema)| async move {
            match rows.next().await {
                Ok(Some(batch)) => {
                    let brought = brought(&batch, &part, &schema)?;
                    Ok(Some((brought, (rows, part, schema))))
                }
                Ok(None) => Ok(None),
                Err(problem) => Err(wrong(part.handle.shown(), problem)),
            }
        },
    ))
}

/// The rows of a file as those of the table: values that do not fit are an error.
fn brought(batch: &RecordBatch, part: &Part, schema: &SchemaRef) -> DfResult<RecordBatch> {
    let rows = batch.num_rows();
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let column = |name: &String, kind| -> DfResult<ArrayRef> {
        if let Some(at) = prune::names(part.side)
            .iter()
            .position(|column| column == name)
        {
            let value = part
                .path
                .get(at)
                .ok_or_else(|| DataFusionError::Internal("a path without a value".to_owned()))?;
            return value.to_array_of_size(rows);
        }
        match batch.column_by_name(name) {
            Some(column) => Ok(cast_with_options(column, kind, &options)?),
            None => Ok(new_null_array(kind, rows)),
        }
    };
    let columns = schema
        .fields()
        .iter()
        .map(|field| column(field.name(), field.data_type()));
    let columns = columns.collect::<DfResult<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

fn wrong(shown: &str, problem: Problem) -> DataFusionError {
    DataFusionError::External(Box::new(match problem {
        Problem::Storage(error) => error,
        other => Error::new(Kind::BadInput, format!("{shown}: {other}")),
    }))
}
