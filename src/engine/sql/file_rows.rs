//! Leaves out a sort of rows by their file and their number in it: that is how a scan reads them.
//!
//! A statement that compares each row of a file with the one before it asks for the rows in the
//! order of `file_row_index()`, and DataFusion does not know that these numbers ascend. This rule
//! does, for a scan that reads whole files, one after the other, in the order of their paths. It
//! puts [`Held`] where the sort was, so that rows that come otherwise end the plan.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Result as DfResult, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    datasource::{
        listing::PartitionedFile,
        physical_plan::{FileScanConfig, ParquetSource},
        source::DataSourceExec,
    },
    execution::session_state::SessionStateBuilder,
    functions::core::{file_row_index::FileRowIndexFunc, input_file_name::InputFileNameFunc},
    physical_expr::{
        ScalarFunctionExpr,
        expressions::{CastExpr, Column},
    },
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{ExecutionPlan, ExecutionPlanProperties, sorts::sort::SortExec},
    prelude::SessionContext,
};

use super::claimed::Held;
use crate::{
    engine::error::from_datafusion,
    error::{Error, Result},
};

/// `session`, whose plans leave such sorts out. For those that are carried out here: nothing else
/// knows [`Held`].
pub(super) fn known_to(session: &SessionContext) -> SessionContext {
    let state = SessionStateBuilder::new_from_existing(session.state())
        .with_physical_optimizer_rule(Arc::new(FileRowOrder))
        .build();
    SessionContext::new_with_state(state)
}

/// Refuses a plan in which anything but a scan is to find out what only a scan knows: from which
/// file a row is, and its number there.
///
/// # Errors
/// When it has such an operator, or DataFusion cannot tell.
pub(super) fn check(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let mut found = None;
    let searched = plan.apply(|node| {
        // Of a table without files nothing is asked.
        let is_scan = node.downcast_ref::<DataSourceExec>().is_some();
        if !is_scan && node.exists(|below| Ok(below.downcast_ref::<DataSourceExec>().is_some()))? {
            let _ = node.apply_expressions(&mut |expr| {
                expr.apply(|expr| {
                    let call = expr.downcast_ref::<ScalarFunctionExpr>();
                    found = found.take().or(call.and_then(of_scans));
                    Ok(TreeNodeRecursion::Continue)
                })
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    let _ = searched.map_err(|e| from_datafusion(e, "the query"))?;
    found.map_or(Ok(()), |name| {
        Err(Error::usage(format!(
            "the query: {name}() is known only where a table is read: take it in a subquery of its own, as in \
             FROM (SELECT *, {name}() AS row FROM archive.bbo)"
        )))
    })
}

/// The name of a function that only a scan can answer.
fn of_scans(call: &ScalarFunctionExpr) -> Option<&'static str> {
    let inner = call.fun().inner();
    if inner.downcast_ref::<FileRowIndexFunc>().is_some() {
        Some("file_row_index")
    } else if inner.downcast_ref::<InputFileNameFunc>().is_some() {
        Some("input_file_name")
    } else {
        None
    }
}

/// The rule.
#[derive(Debug)]
struct FileRowOrder;

impl PhysicalOptimizerRule for FileRowOrder {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let unsorted = node.downcast_ref::<SortExec>().and_then(without_sort);
            Ok(unsorted.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "file_row_order"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What gives the rows of `sort` in its order without sorting them, if anything does.
fn without_sort(sort: &SortExec) -> Option<Arc<dyn ExecutionPlan>> {
    let scan = sort.input();
    let order = sort.expr();
    let is_one_sequence =
        sort.fetch().is_none() && scan.output_partitioning().partition_count() == 1;
    let reads = scan
        .downcast_ref::<DataSourceExec>()?
        .data_source()
        .downcast_ref::<FileScanConfig>()?;
    let [files] = reads.file_groups.as_slice() else {
        return None;
    };
    let _ = reads.file_source().downcast_ref::<ParquetSource>()?;
    let columns = reads.file_source().table_schema();
    let of_path = columns.table_partition_cols().len();
    let of_files = columns.file_schema().fields().len();
    let projection = reads.file_source().projection()?.as_ref();

    // The columns of the table that the rows are sorted by.
    let sorted_by = order
        .iter()
        .map(|by| {
            let asked = by.expr.downcast_ref::<Column>()?;
            let from = &projection.get(asked.index())?.expr;
            let cast = from
                .downcast_ref::<CastExpr>()
                .filter(|cast| *cast.cast_type() == DataType::Int64);
            let at = cast
                .map_or(from, |cast| cast.expr())
                .downcast_ref::<Column>()?
                .index();
            // Only the number may be cast: paths ascend as texts.
            let is_meant = cast.is_none() || at >= of_files + of_path;
            (is_meant && !by.options.descending).then_some(at)
        })
        .collect::<Option<Vec<usize>>>()?;
    let (number, path) = sorted_by.split_last()?;
    // The only column that is neither of the files nor of their paths is that of row numbers.
    let by_number = *number >= of_files + of_path && columns.virtual_columns().len() == 1;
    let mut asked = path.iter().copied().peekable();
    // Nobody asks for a column that is the same everywhere.
    let by_path = (of_files..of_files + of_path)
        .all(|at| asked.next_if_eq(&at).is_some() || same(files.files(), at - of_files));
    (is_one_sequence && by_number && by_path && asked.next().is_none() && ascend(files.files()))
        .then(|| Held::in_order(Arc::clone(scan), order.clone()))
}

/// Whether the path of each file has the same value at `place`.
fn same(files: &[PartitionedFile], place: usize) -> bool {
    let mut values = files.iter().map(|file| file.partition_values.get(place));
    let first = values.next();
    values.all(|value| Some(value) == first)
}

/// Whether these are whole files, each of another path than the one before it, and after it.
fn ascend(files: &[PartitionedFile]) -> bool {
    let is_whole = |file: &PartitionedFile| {
        let size = i64::try_from(file.object_meta.size).unwrap_or(i64::MAX);
        let range = file.range.as_ref();
        range.is_none_or(|part| part.start == 0 && part.end >= size)
    };
    let before = |a: &[ScalarValue], b: &[ScalarValue]| {
        // Where nulls come is for the statement to say.
        let same_nulls = a.iter().zip(b).all(|(a, b)| a.is_null() == b.is_null());
        same_nulls && a.partial_cmp(b) == Some(std::cmp::Ordering::Less)
    };
    files.iter().all(is_whole)
        && files
            .iter()
            .zip(files.iter().skip(1))
            .all(|(a, b)| before(&a.partition_values, &b.partition_values))
}
