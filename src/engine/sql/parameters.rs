//! Values of parameters that are compared with something: each takes the type of that, as the
//! planner found out: `symbol = $s` compares texts, `seq = $n` numbers. Anywhere else a value that is
//! written as a number is one, as if it stood in the statement.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Result as DfResult, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    error::DataFusionError,
    logical_expr::{
        Expr, LogicalPlan, LogicalPlanBuilder, Values, expr::Placeholder,
        expr_rewriter::NamePreserver, lit,
    },
};

use super::literals;
use crate::error::Error;

/// `plan` with the texts of `given` in the place of its parameters.
///
/// # Errors
/// When a text is no value of the type that a place of it wants.
pub(super) fn put(plan: LogicalPlan, given: &BTreeMap<String, &str>) -> DfResult<LogicalPlan> {
    if given.is_empty() {
        return Ok(plan);
    }
    let each = |plan: LogicalPlan| {
        let names = NamePreserver::new(&plan);
        let rows = matches!(plan, LogicalPlan::Limit(_)).then_some(DataType::Int64);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let with_values = expr.transform_up(|expr| match expr {
                Expr::Placeholder(Placeholder { id, field }) => {
                    let wanted = field.map(|field| field.data_type().clone());
                    value(&id, given, wanted.or_else(|| rows.clone())).map(Transformed::yes)
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(with_values.update_data(|expr| name.restore(expr)))
        })?
        .map_data(|plan| match plan {
            LogicalPlan::Values(Values { values, .. }) => {
                LogicalPlanBuilder::values(values)?.build()
            }
            plan => plan.recompute_schema(),
        })
    };
    plan.transform_up_with_subqueries(each)
        .map(|done| done.data)
}

/// The value of the parameter that is written `id`.
fn value(id: &str, given: &BTreeMap<String, &str>, wanted: Option<DataType>) -> DfResult<Expr> {
    let name = id.strip_prefix('$').unwrap_or(id);
    let Some(text) = given.get(name).copied() else {
        return Err(DataFusionError::Plan(format!("{id} has no value")));
    };
    let wanted = match wanted {
        Some(DataType::Dictionary(_, value)) => *value,
        Some(wanted) => wanted,
        None => DataType::Null,
    };
    if wanted.is_string() || (wanted.is_null() && !is_written_as_number(text)) {
        return Ok(lit(text));
    }
    let wanted = if wanted.is_null() {
        DataType::Float64
    } else {
        wanted
    };
    let fits = || ScalarValue::try_from_string(text.to_owned(), &wanted).ok();
    let found = if wanted.is_numeric() {
        number(text, wanted.is_integer())
    } else {
        fits().map(lit)
    };
    found.ok_or_else(|| {
        let what = if wanted.is_numeric() {
            "a number".to_owned()
        } else {
            format!("a value of the type {wanted}")
        };
        let error = format!("--param {name}={text}: the query wants {what} there");
        DataFusionError::External(Box::new(Error::usage(error)))
    })
}

/// Whether it is a number as people write one: a text such as `013` would lose a digit.
pub(super) fn is_written_as_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    are_digits(whole) && are_digits(fraction) && (whole == "0" || !whole.starts_with('0'))
}

/// A number, as if it had been written in the statement. A whole number may be larger than those of
/// 64 bits with a sign.
fn number(text: &str, is_integer: bool) -> Option<Expr> {
    let text = text.trim();
    match (text.parse::<i64>(), text.parse::<u64>()) {
        (Ok(whole), _) => return Some(lit(whole)),
        (_, Ok(whole)) if is_integer => return Some(lit(whole)),
        _ => {}
    }
    // "nan" and "inf" parse as floats, but are names to whoever types them.
    let float = text.parse::<f64>().ok().filter(|value| value.is_finite())?;
    Some(literals::exactly(text).unwrap_or_else(|| lit(float)))
}
