//! Days in statements mean days, however they are written.
//!
//! The column `date` that comes from the path is text such as `20260203`, in which `2026-02-03`
//! would be equal to nothing and smaller than every day of its year. A text of that form which is
//! compared with the column means the day. A column of another origin that bears the name is left
//! alone.

use datafusion::{
    common::{
        Column, Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Between, BinaryExpr, Expr, Like, LogicalPlan, Operator, expr::InList,
        expr_rewriter::NamePreserver,
    },
};

use crate::model::layout::without_dashes;

/// The column.
const DATE: &str = "date";

/// `plan` with days as the column has them.
///
/// # Errors
/// Never in practice: a text takes the place of a text.
pub(super) fn understood(plan: LogicalPlan) -> Result<LogicalPlan> {
    let each = |plan: LogicalPlan| {
        let inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
        let is_day = |expr: &Expr| match expr {
            Expr::Column(column) => inputs.iter().any(|input| is_of_path(input, column)),
            _ => false,
        };
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let with_days = expr.transform_up(|expr| Ok(compared(expr, &is_day)))?;
            Ok(with_days.update_data(|expr| name.restore(expr)))
        })
    };
    plan.transform_up_with_subqueries(each)
        .map(|done| done.data)
}

/// A comparison with its texts as days, if one of its sides is the column.
fn compared(expr: Expr, is_day: &impl Fn(&Expr) -> bool) -> Transformed<Expr> {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    let is_compared = match &expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let compares = matches!(
                op,
                Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
            );
            compares && (is_day(left) || is_day(right))
        }
        Expr::Between(Between { expr, .. }) | Expr::InList(InList { expr, .. }) => is_day(expr),
        Expr::Like(Like {
            expr, escape_char, ..
        }) => is_day(expr) && escape_char.is_none(),
        _ => false,
    };
    if !is_compared {
        return Transformed::no(expr);
    }
    let digits: fn(&str) -> Option<String> = if matches!(expr, Expr::Like(_)) {
        pattern
    } else {
        without_dashes
    };
    let day = |one: Expr| {
        let Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) = &one else {
            return one;
        };
        match digits(text) {
            Some(digits) => Expr::Literal(ScalarValue::Utf8(Some(digits)), metadata.clone()),
            None => one,
        }
    };
    let boxed = |one: Box<Expr>| Box::new(day(*one));
    Transformed::yes(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => Expr::BinaryExpr(BinaryExpr {
            left: boxed(left),
            op,
            right: boxed(right),
        }),
        Expr::Between(between) => Expr::Between(Between {
            low: boxed(between.low),
            high: boxed(between.high),
            ..between
        }),
        Expr::InList(within) => Expr::InList(InList {
            list: within.list.into_iter().map(day).collect(),
            ..within
        }),
        Expr::Like(like) => Expr::Like(Like {
            pattern: boxed(like.pattern),
            ..like
        }),
        other => other,
    })
}

/// The same for a pattern whose dashes are where those of a day are, such as `2026-02-%`.
fn pattern(text: &str) -> Option<String> {
    let is_of_days = text
        .chars()
        .all(|c| c.is_ascii_digit() || "-%_".contains(c));
    let dashes = text.match_indices('-').map(|(at, _)| at);
    let before_any = text.find('%').unwrap_or(text.len());
    let in_place = dashes
        .clone()
        .all(|at| (at == 4 || at == 7) && at < before_any);
    (is_of_days && in_place && dashes.count() > 0).then(|| text.replace('-', ""))
}

/// Whether a column of `plan` is that of a table, under whatever name.
fn is_of_path(plan: &LogicalPlan, column: &Column) -> bool {
    let at = || plan.schema().maybe_index_of_column(column);
    match plan {
        LogicalPlan::TableScan(_) => column.name == DATE && at().is_some(),
        LogicalPlan::SubqueryAlias(alias) => {
            at().is_some_and(|at| nth_is_of_path(&alias.input, at))
        }
        LogicalPlan::Union(union) => {
            at().is_some_and(|at| union.inputs.iter().all(|input| nth_is_of_path(input, at)))
        }
        LogicalPlan::Projection(made) => {
            let expr = at().and_then(|at| made.expr.get(at));
            expr.is_some_and(|expr| expr_is_of_path(expr, &made.input))
        }
        LogicalPlan::Aggregate(made) => {
            let expr = at().and_then(|at| made.group_expr.get(at));
            expr.is_some_and(|expr| expr_is_of_path(expr, &made.input))
        }
        // Any other node has the columns of its inputs, and more of its own making.
        _ => plan.inputs().into_iter().any(|input| {
            input.schema().maybe_index_of_column(column).is_some() && is_of_path(input, column)
        }),
    }
}

fn nth_is_of_path(plan: &LogicalPlan, at: usize) -> bool {
    at < plan.schema().fields().len()
        && is_of_path(plan, &Column::from(plan.schema().qualified_field(at)))
}

fn expr_is_of_path(expr: &Expr, input: &LogicalPlan) -> bool {
    match expr {
        Expr::Alias(alias) => expr_is_of_path(&alias.expr, input),
        Expr::Column(column) => is_of_path(input, column),
        _ => false,
    }
}
