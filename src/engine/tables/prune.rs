//! Which files a filter leaves: filters over `exchange`, `stream`, `symbol` and `date` alone are evaluated on the values
//! that the paths tell, before any file is opened.
//!
//! Refuses to prune by a filter that needs anything else; such a filter is left to the scan.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch, StringViewArray},
    datatypes::{DataType, Field, Fields, Schema},
};
use datafusion::{
    catalog::Session,
    common::{DFSchema, tree_node::TreeNode},
    datasource::listing::helpers::expr_applicable_for_cols,
    error::Result,
    logical_expr::{Expr, TableProviderFilterPushDown},
    scalar::ScalarValue,
};

use super::listing::Listed;

/// The columns that come from the path, in their order at the end of every table.
pub(super) const COLUMNS: [&str; 4] = ["exchange", "stream", "symbol", "date"];

/// The fields of [`COLUMNS`]. Views, because names this short are compared, hashed and copied like numbers in them.
pub(super) fn fields() -> Fields {
    COLUMNS.iter().map(|name| Field::new(*name, DataType::Utf8View, true)).collect()
}

/// The values of [`COLUMNS`] for one object.
pub(super) fn values(listed: &Listed) -> Vec<ScalarValue> {
    vec![
        ScalarValue::Utf8View(Some(listed.series.exchange.to_string())),
        ScalarValue::Utf8View(Some(listed.series.stream.to_string())),
        ScalarValue::Utf8View(Some(listed.series.symbol.to_string())),
        ScalarValue::Utf8View(listed.date.map(|d| d.to_string())),
    ]
}

/// The values of [`COLUMNS`] for several objects.
pub(super) fn batch(listed: &[&Listed]) -> Result<RecordBatch> {
    let texts =
        |each: fn(&Listed) -> Option<String>| Arc::new(listed.iter().map(|l| each(l)).collect::<StringViewArray>());
    let columns: Vec<Arc<dyn Array>> = vec![
        texts(|l| Some(l.series.exchange.to_string())),
        texts(|l| Some(l.series.stream.to_string())),
        texts(|l| Some(l.series.symbol.to_string())),
        texts(|l| l.date.map(|d| d.to_string())),
    ];
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields())), columns)?)
}

/// What becomes of each filter: exact when the paths decide it.
pub(super) fn pushdown(filters: &[&Expr]) -> Vec<TableProviderFilterPushDown> {
    let kind = |exact| if exact { TableProviderFilterPushDown::Exact } else { TableProviderFilterPushDown::Inexact };
    filters.iter().map(|filter| kind(decides(filter))).collect()
}

/// The objects whose values satisfy every filter that the paths decide.
pub(super) fn keep<'a>(state: &dyn Session, filters: &[Expr], listed: &[&'a Listed]) -> Result<Vec<&'a Listed>> {
    let mut left = listed.to_vec();
    for filter in filters.iter().filter(|f| decides(f)) {
        if left.is_empty() {
            break;
        }
        let batch = batch(&left)?;
        let expr = state.create_physical_expr(filter.clone(), &DFSchema::try_from(batch.schema())?)?;
        let verdict = expr.evaluate(&batch)?.into_array(batch.num_rows())?;
        let Some(verdict) = verdict.as_boolean_opt() else {
            return datafusion::common::plan_err!("the filter {filter} is not a condition");
        };
        // Null is not true.
        left =
            left.into_iter().zip(verdict).filter_map(|(file, stays)| (stays == Some(true)).then_some(file)).collect();
    }
    Ok(left)
}

fn decides(filter: &Expr) -> bool {
    // A subquery's columns are of another table even where they bear these names, and it has no value while planning.
    let nested = filter.exists(|e| {
        Ok(matches!(
            e,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::ScalarVariable(..)
        ))
    });
    matches!(nested, Ok(false)) && expr_applicable_for_cols(&COLUMNS, filter)
}
