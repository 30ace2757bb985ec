//! Which files a filter leaves: filters over `exchange`, `stream`, `symbol`, `date` and, of a
//! spool, `collector` alone are evaluated on the values of the paths, before any file is opened.
//!
//! A filter that needs anything else is left to the scan.
//!
//! A name that nothing bears, or a part of a day with dashes, gives no rows and no error, so a
//! condition that asks for one gives a hint.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{Array, AsArray, RecordBatch, StringViewArray},
    datatypes::{DataType, Field, Fields, Schema},
};
use datafusion::{
    catalog::Session,
    common::{
        DFSchema,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    datasource::listing::helpers::expr_applicable_for_cols,
    error::Result,
    logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, expr::InList},
    scalar::ScalarValue,
};

use crate::{
    model::{
        layout::collector_of,
        near::{nearest, nearest_symbol},
    },
    storage::by_stream::{Listed, Side},
};

/// A column that comes from the path, and its value for an object.
type PathColumn = (&'static str, fn(&Listed) -> Option<String>);

/// Those of an archive, in their order at the end of every table.
const OF_ARCHIVE: [PathColumn; 4] = [
    ("exchange", |listed| {
        Some(listed.series.exchange.to_string())
    }),
    ("stream", |listed| Some(listed.series.stream.to_string())),
    ("symbol", |listed| Some(listed.series.symbol.to_string())),
    ("date", |listed| listed.date.map(|date| date.to_string())),
];

/// That of a spool besides: the collector, where several have one.
const OF_SPOOL: [PathColumn; 1] = [("collector", |listed| {
    collector_of(&listed.object.key).map(str::to_owned)
})];

fn all(side: Side) -> impl Iterator<Item = &'static PathColumn> {
    let more: &[PathColumn] = if side == Side::Spool { &OF_SPOOL } else { &[] };
    OF_ARCHIVE.iter().chain(more)
}

/// The names of the columns that come from the path, in their order at the end of every table.
pub(super) fn names(side: Side) -> Vec<&'static str> {
    all(side).map(|(name, _)| *name).collect()
}

/// Whether a column of this name comes from the path.
pub(super) fn is_of_path(side: Side, name: &str) -> bool {
    all(side).any(|(column, _)| *column == name)
}

/// The fields of these columns. Views, because names this short are compared, hashed and copied
/// like numbers in them.
pub(super) fn fields(side: Side) -> Fields {
    all(side)
        .map(|(name, _)| Field::new(*name, DataType::Utf8View, true))
        .collect()
}

/// Their values for one object.
pub(super) fn values(side: Side, listed: &Listed) -> Vec<ScalarValue> {
    all(side)
        .map(|(_, value)| ScalarValue::Utf8View(value(listed)))
        .collect()
}

/// Their values for several objects.
pub(super) fn batch(side: Side, listed: &[&Listed]) -> Result<RecordBatch> {
    let texts = |value: &fn(&Listed) -> Option<String>| {
        Arc::new(
            listed
                .iter()
                .map(|one| value(one))
                .collect::<StringViewArray>(),
        ) as Arc<dyn Array>
    };
    let columns = all(side).map(|(_, value)| texts(value)).collect();
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields(side))),
        columns,
    )?)
}

/// What becomes of each filter: exact when the paths decide it.
pub(super) fn pushdown(side: Side, filters: &[&Expr]) -> Vec<TableProviderFilterPushDown> {
    let kind = |exact| {
        if exact {
            TableProviderFilterPushDown::Exact
        } else {
            TableProviderFilterPushDown::Inexact
        }
    };
    filters
        .iter()
        .map(|filter| kind(decides(side, filter)))
        .collect()
}

/// The objects whose values satisfy every filter that the paths decide.
pub(super) fn keep<'a>(
    side: Side,
    state: &dyn Session,
    filters: &[Expr],
    listed: &[&'a Listed],
    hints: &Hints,
) -> Result<Vec<&'a Listed>> {
    let mut left = listed.to_vec();
    for filter in filters.iter().filter(|f| decides(side, f)) {
        hints.about(side, state, filter, listed)?;
        if left.is_empty() {
            continue;
        }
        let verdict = evaluate(state, filter, &batch(side, &left)?)?;
        // Null is not true.
        left = left
            .into_iter()
            .zip(verdict)
            .filter_map(|(file, stays)| (stays == Some(true)).then_some(file))
            .collect();
    }
    Ok(left)
}

fn evaluate(
    state: &dyn Session,
    condition: &Expr,
    rows: &RecordBatch,
) -> Result<Vec<Option<bool>>> {
    let expr =
        state.create_physical_expr(condition.clone(), &DFSchema::try_from(rows.schema())?)?;
    let verdict = expr.evaluate(rows)?.into_array(rows.num_rows())?;
    let Some(verdict) = verdict.as_boolean_opt() else {
        return datafusion::common::plan_err!("the filter {condition} is not a condition");
    };
    Ok(verdict.iter().collect())
}

/// The hints that were given about a statement; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Hints(Arc<Mutex<BTreeSet<String>>>);

impl Hints {
    fn give(&self, hint: &str) {
        // A statement is planned more than once.
        if self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(hint.to_owned())
        {
            tracing::warn!("{hint}");
        }
    }

    /// Looks at each comparison of a column with constants in `filter`.
    fn about(
        &self,
        side: Side,
        state: &dyn Session,
        filter: &Expr,
        listed: &[&Listed],
    ) -> Result<()> {
        let mut comparisons = Vec::new();
        let _ = filter.apply(|part| {
            let is_comparison = match part {
                Expr::BinaryExpr(both) => {
                    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
                    matches!(both.op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
                }
                Expr::InList(_) | Expr::Like(_) | Expr::Between(_) => true,
                _ => false,
            };
            if is_comparison {
                comparisons.push(part.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        for comparison in comparisons {
            let columns: Vec<String> = comparison
                .column_refs()
                .into_iter()
                .map(|c| c.name.clone())
                .collect();
            let [column] = columns.as_slice() else {
                continue;
            };
            if column == "date" {
                self.about_days(&comparison)?;
            } else {
                self.about_names(state, column, &comparison, &batch(side, listed)?)?;
            }
        }
        Ok(())
    }

    /// Days are text such as `20260203`. A whole day with dashes is understood by now; a part of
    /// one, such as `2026-02`, is equal to none of them and smaller than all of its year.
    fn about_days(&self, comparison: &Expr) -> Result<()> {
        for text in texts(comparison)? {
            let digits = text.replace('-', "");
            let has_place = text.find('%') > text.rfind('-') || !text.contains('%');
            let is_dashed = has_place
                && text.len() > digits.len()
                && digits
                    .chars()
                    .all(|c| c.is_ascii_digit() || "%_".contains(c));
            // What is left of 2026-02-03 without quotes is a number.
            let is_number =
                !text.is_empty() && text.len() < 8 && text.chars().all(|c| c.is_ascii_digit());
            if is_dashed && digits.len() >= 4 {
                self.give(&format!(
                    "the column date holds days such as 20260203: write '{digits}' for '{text}'"
                ));
            } else if is_number {
                self.give(&format!(
                    "the column date holds days such as '20260203', in quotes: {text} is none"
                ));
            }
        }
        Ok(())
    }

    /// Whether a name that nothing has differs only by case from one that something has.
    fn about_names(
        &self,
        state: &dyn Session,
        column: &str,
        asked: &Expr,
        rows: &RecordBatch,
    ) -> Result<()> {
        let asked = positive(asked.clone());
        if !matches!(
            &asked,
            Expr::BinaryExpr(BinaryExpr {
                op: Operator::Eq,
                ..
            }) | Expr::InList(_)
                | Expr::Like(_)
        ) {
            return Ok(());
        }
        let Ok(at) = rows.schema().index_of(column) else {
            return Ok(());
        };
        for text in texts(&asked)? {
            let one = match &asked {
                // Each name of a list is a question of its own.
                Expr::InList(list) => list.expr.as_ref().clone().eq(Expr::Literal(
                    ScalarValue::Utf8View(Some(text.clone())),
                    None,
                )),
                other => other.clone(),
            };
            let finds = |expr: &Expr, rows: &RecordBatch| -> Result<Option<usize>> {
                Ok(evaluate(state, expr, rows)?
                    .iter()
                    .position(|verdict| *verdict == Some(true)))
            };
            if finds(&one, rows)?.is_some() {
                continue;
            }
            let Some(names) = rows.column(at).as_string_view_opt() else {
                continue;
            };
            if let Some(nth) = finds(&lower_texts(one)?, &lower(rows)?)? {
                let known = names.value(nth);
                self.give(&format!(
                    "no {column} is named '{text}', as upper and lower case differ; there is '{known}'"
                ));
                continue;
            }
            let names: BTreeSet<&str> = names.iter().flatten().collect();
            let near = if column == "symbol" {
                nearest_symbol(&text, names)
            } else {
                nearest(&text, names)
            };
            if let Some(near) = near.filter(|_| !text.contains('%')) {
                self.give(&format!(
                    "no {column} is named '{text}'; did you mean '{near}'?"
                ));
            }
        }
        Ok(())
    }
}

/// What a condition denies, as asked the other way.
fn positive(condition: Expr) -> Expr {
    match condition {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::NotEq,
            right,
        }) => Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }),
        Expr::InList(list) => Expr::InList(InList {
            negated: false,
            ..list
        }),
        Expr::Like(mut like) => {
            like.negated = false;
            Expr::Like(like)
        }
        other => other,
    }
}

fn text_of(value: &ScalarValue) -> Option<&String> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => {
            text.as_ref()
        }
        _ => None,
    }
}

/// The texts in a condition.
fn texts(condition: &Expr) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let _ = condition.apply(|part| {
        if let Expr::Literal(value, _) = part {
            // A day without quotes and dashes is a number.
            let number = if let ScalarValue::Int64(Some(number)) = value {
                Some(number.to_string())
            } else {
                None
            };
            found.extend(text_of(value).cloned().or(number));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The same condition about texts in lower case.
fn lower_texts(condition: Expr) -> Result<Expr> {
    let changed = condition.transform(|part| {
        let Expr::Literal(value, metadata) = &part else {
            return Ok(Transformed::no(part));
        };
        let Some(text) = text_of(value) else {
            return Ok(Transformed::no(part));
        };
        let lower = ScalarValue::Utf8(Some(text.to_lowercase())).cast_to(&value.data_type())?;
        Ok(Transformed::yes(Expr::Literal(lower, metadata.clone())))
    })?;
    Ok(changed.data)
}

fn lower(rows: &RecordBatch) -> Result<RecordBatch> {
    let columns = rows.columns().iter().map(|column| {
        let names = column.as_string_view_opt().into_iter().flatten();
        Arc::new(
            names
                .map(|name| name.map(str::to_lowercase))
                .collect::<StringViewArray>(),
        ) as Arc<dyn Array>
    });
    Ok(RecordBatch::try_new(rows.schema(), columns.collect())?)
}

fn decides(side: Side, filter: &Expr) -> bool {
    // A subquery's columns are of another table even where they bear these names, and it has no
    // value while planning.
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
    matches!(nested, Ok(false)) && expr_applicable_for_cols(&names(side), filter)
}
