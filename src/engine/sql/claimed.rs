//! Checks the rows of a scan, as they pass, against the order that the scan claims.
//!
//! A claimed order saves a statement its sorts, and makes its result silently wrong if the claim is
//! false. So every scan that claims an order gets a [`Held`] on top. It must stay there: an
//! optimizer that moved a projection below it would remove the columns that it checks. Rows out of
//! order end the plan with [`OutOfOrder`].

use std::{cmp::Ordering, fmt, sync::Arc};

use arrow::{
    array::{Array, AsArray, Int64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type, Schema},
};
use datafusion::{
    common::{
        DataFusionError, Result as DfResult, config::ConfigOptions, tree_node::TreeNodeRecursion,
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{LexOrdering, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
        execution_plan::{CardinalityEffect, apply_expression_roots},
        filter_pushdown::{
            ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
        },
        stream::RecordBatchStreamAdapter,
    },
    scalar::ScalarValue,
};
use futures::StreamExt;

use crate::engine::error::causes;

/// Rows are not in the order that the plan relies on: the one that a receipt vouches for, or the
/// one in which a scan reads a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfOrder;

impl fmt::Display for OutOfOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows are not in the order that the plan relies on")
    }
}

impl std::error::Error for OutOfOrder {}

impl OutOfOrder {
    /// Whether that is what `error` is about.
    #[must_use]
    pub fn caused(error: &DataFusionError) -> bool {
        causes(error).any(<dyn std::error::Error + 'static>::is::<Self>)
    }

    fn error() -> DataFusionError {
        DataFusionError::External(Box::new(Self))
    }
}

/// Gives what its scan gives, as long as that is in order.
#[derive(Debug, Clone)]
pub struct Held {
    scan: Arc<dyn ExecutionPlan>,
    /// All hold at the same time.
    orders: Vec<LexOrdering>,
    properties: Arc<PlanProperties>,
}

impl Held {
    /// `scan`, held against what it claims, if it claims anything.
    #[must_use]
    pub fn over(scan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let orders = scan.equivalence_properties().oeq_class().to_vec();
        if orders.is_empty() {
            scan
        } else {
            Arc::new(Self::new(scan, orders))
        }
    }

    /// `scan`, whose rows come in `order` although it does not claim that.
    #[must_use]
    pub fn in_order(scan: Arc<dyn ExecutionPlan>, order: LexOrdering) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self::new(scan, vec![order]))
    }

    fn new(scan: Arc<dyn ExecutionPlan>, orders: Vec<LexOrdering>) -> Self {
        let mut equivalence = scan.equivalence_properties().clone();
        equivalence.add_orderings(orders.iter().cloned());
        let properties = PlanProperties::clone(scan.properties()).with_eq_properties(equivalence);
        Self {
            scan,
            orders,
            properties: Arc::new(properties),
        }
    }

    fn upon(&self, scan: Arc<dyn ExecutionPlan>) -> DfResult<Self> {
        if scan.schema() != self.scan.schema() {
            return Err(DataFusionError::Internal(
                "claims are held of other columns".to_owned(),
            ));
        }
        // What was claimed once may have been counted on since.
        Ok(Self::new(scan, self.orders.clone()))
    }
}

impl DisplayAs for Held {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let orders: Vec<_> = self
            .orders
            .iter()
            .map(|order| format!("[{order}]"))
            .collect();
        write!(f, "HoldClaims: orders=[{}]", orders.join(", "))
    }
}

impl ExecutionPlan for Held {
    fn name(&self) -> &'static str {
        "HoldClaims"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    crate::engine::one_input!(scan);

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        apply_expression_roots(self.orders.iter().flatten().map(|by| &by.expr), f)
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> DfResult<FilterDescription> {
        FilterDescription::from_children(filters, &self.children())
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> DfResult<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(result))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let schema = self.scan.schema();
        let mut claim = Claim::new(&self.orders, &schema)?;
        let rows = self.scan.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            claim.hold(&batch)?;
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// What is claimed of a sequence of batches, and where it has come to.
#[derive(Default)]
struct Claim {
    /// Text at the head of an order comes from the path of a file. The rows of a batch are of one
    /// file, so it is enough to look at one row of each batch.
    path: Vec<Arc<dyn PhysicalExpr>>,
    /// Up to three numbers.
    numbers: Vec<Arc<dyn PhysicalExpr>>,
    /// Whether the numbers ascend also from file to file.
    across: bool,
    at: Option<(Vec<ScalarValue>, Key)>,
}

/// The first number is never null; nulls of the others come first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    ts: i64,
    seq: Option<i64>,
    sub_seq: Option<i64>,
}

impl Claim {
    fn new(orders: &[LexOrdering], schema: &Schema) -> DfResult<Self> {
        let mut claim = Self::default();
        for order in orders {
            let mut exprs: Vec<_> = order.iter().map(|by| Arc::clone(&by.expr)).collect();
            let types = exprs
                .iter()
                .map(|expr| expr.data_type(schema))
                .collect::<DfResult<Vec<_>>>()?;
            let numbers = exprs.split_off(
                types
                    .iter()
                    .take_while(|kind| **kind == DataType::Utf8View)
                    .count(),
            );
            claim.across |= exprs.is_empty();
            let ascending = order.iter().all(|by| !by.options.descending);
            if !(ascending
                && numbers.len() < 4
                && longer(&mut claim.path, exprs)
                && longer(&mut claim.numbers, numbers))
            {
                return Err(DataFusionError::Internal(format!(
                    "an order that nobody claims: {order}"
                )));
            }
        }
        Ok(claim)
    }

    fn hold(&mut self, batch: &RecordBatch) -> DfResult<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let first = batch.slice(0, 1);
        let value = |expr: &Arc<dyn PhysicalExpr>| {
            ScalarValue::try_from_array(expr.evaluate(&first)?.into_array(1)?.as_ref(), 0)
        };
        let path = self.path.iter().map(value).collect::<DfResult<Vec<_>>>()?;
        let columns = self
            .numbers
            .iter()
            .map(|expr| {
                Ok(cast(
                    &expr.evaluate(batch)?.into_array(batch.num_rows())?,
                    &DataType::Int64,
                )?)
            })
            .collect::<DfResult<Vec<_>>>()?;
        let mut columns = columns.iter().map(AsArray::as_primitive::<Int64Type>);
        // Rows of version 1 have no sub_seq: all are null.
        let (ts, seq) = (columns.next(), columns.next());
        let sub_seq = columns
            .next()
            .filter(|column| column.null_count() < column.len());
        if ts.is_some_and(|ts| ts.null_count() > 0) {
            return Err(OutOfOrder::error());
        }
        let at = |column: Option<&Int64Array>, row: usize| {
            column
                .filter(|column| column.is_valid(row))
                .map(|column| column.value(row))
        };
        let key = |row: usize| Key {
            ts: ts.map_or(0, |ts| ts.value(row)),
            seq: at(seq, row),
            sub_seq: at(sub_seq, row),
        };
        let whole = |column: &Int64Array| column.null_count() == 0;
        let ascends = match (ts, seq, sub_seq) {
            (Some(ts), Some(seq), None) if whole(seq) => {
                ts.values().iter().zip(seq.values()).is_sorted()
            }
            (Some(ts), Some(seq), None) => ts.values().iter().zip(seq).is_sorted(),
            (Some(ts), Some(seq), Some(sub_seq)) if whole(seq) && whole(sub_seq) => ts
                .values()
                .iter()
                .zip(seq.values())
                .zip(sub_seq.values())
                .is_sorted(),
            (Some(_), _, Some(_)) => (0..batch.num_rows()).map(key).is_sorted(),
            (Some(ts), None, None) => ts.values().is_sorted(),
            (None, ..) => true,
        };
        let follows = match &self.at {
            None => true,
            Some((before, last)) => match before.partial_cmp(&path) {
                Some(Ordering::Equal) => *last <= key(0),
                Some(Ordering::Less) => !self.across || *last <= key(0),
                Some(Ordering::Greater) | None => false,
            },
        };
        if !ascends || !follows {
            return Err(OutOfOrder::error());
        }
        self.at = Some((path, key(batch.num_rows() - 1)));
        Ok(())
    }
}

/// Makes `known` the longer of two orders; `false` when neither begins as the other.
fn longer(known: &mut Vec<Arc<dyn PhysicalExpr>>, other: Vec<Arc<dyn PhysicalExpr>>) -> bool {
    let agree = known.iter().zip(&other).all(|(a, b)| a == b);
    if other.len() > known.len() {
        *known = other;
    }
    agree
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int32Array, StringViewArray},
        compute::SortOptions,
    };
    use datafusion::physical_expr::{PhysicalSortExpr, expressions::col};

    use super::*;

    /// A row: a path and three numbers.
    #[derive(Clone, Copy)]
    struct Row {
        path: &'static str,
        ts: Option<i64>,
        seq: Option<i64>,
        sub_seq: Option<i32>,
    }

    fn nulls(path: &'static str, ts: Option<i64>, seq: Option<i64>) -> Row {
        Row {
            path,
            ts,
            seq,
            sub_seq: None,
        }
    }

    fn row(path: &'static str, ts: i64, seq: i64) -> Row {
        nulls(path, Some(ts), Some(seq))
    }

    /// Whether the batches are in order.
    fn ascend(orders: &[&[&str]], batches: &[&[Row]]) -> bool {
        let batches: Vec<RecordBatch> = batches
            .iter()
            .map(|rows| {
                let path: StringViewArray = rows.iter().map(|r| Some(r.path)).collect();
                let (ts, seq) = rows
                    .iter()
                    .map(|r| (r.ts, r.seq))
                    .unzip::<_, _, Vec<_>, Vec<_>>();
                let sub_seq: Int32Array = rows.iter().map(|r| r.sub_seq).collect();
                RecordBatch::try_from_iter([
                    ("path", Arc::new(path) as Arc<dyn Array>),
                    ("ts", Arc::new(Int64Array::from(ts)) as _),
                    ("seq", Arc::new(Int64Array::from(seq)) as _),
                    ("sub_seq", Arc::new(sub_seq) as _),
                ])
                .unwrap()
            })
            .collect();
        let schema = batches[0].schema();
        let by = |name: &&str| {
            PhysicalSortExpr::new(col(name, &schema).unwrap(), SortOptions::default())
        };
        let orders: Vec<_> = orders
            .iter()
            .map(|columns| LexOrdering::new(columns.iter().map(by)).unwrap())
            .collect();
        let mut claim = Claim::new(&orders, &schema).unwrap();
        batches.iter().all(|batch| match claim.hold(batch) {
            Ok(()) => true,
            Err(error) => {
                assert!(OutOfOrder::caused(&error), "{error}");
                false
            }
        })
    }

    #[test]
    fn rows_ascend_within_a_batch_and_from_one_to_the_next() {
        const ALL: &[&[&str]] = &[&["path", "ts", "seq"]];
        assert!(ascend(
            ALL,
            &[
                &[
                    row("a", 1, 1),
                    row("a", 1, 1),
                    row("a", 1, 2),
                    row("a", 2, 0)
                ],
                &[row("a", 2, 0)]
            ]
        ));
        assert!(
            !ascend(ALL, &[&[row("a", 1, 2), row("a", 1, 1)]]),
            "seq descends"
        );
        assert!(
            !ascend(ALL, &[&[row("a", 2, 1), row("a", 1, 2)]]),
            "ts descends"
        );
        assert!(
            !ascend(ALL, &[&[row("a", 2, 1)], &[row("a", 1, 2)]]),
            "ts descends between batches"
        );
        assert!(
            !ascend(ALL, &[&[row("a", 2, 1)], &[], &[row("a", 2, 0)]]),
            "seq descends between batches"
        );
        assert!(
            ascend(ALL, &[&[row("a", 2, 1)], &[row("b", 1, 0)]]),
            "another file begins anew"
        );
        assert!(
            !ascend(ALL, &[&[row("b", 1, 1)], &[row("a", 2, 2)]]),
            "files in another order"
        );
        assert!(
            ascend(
                ALL,
                &[
                    &[nulls("a", Some(1), None), row("a", 1, 0)],
                    &[nulls("a", Some(2), None)]
                ]
            ),
            "nulls come first"
        );
        assert!(
            !ascend(ALL, &[&[row("a", 1, 0), nulls("a", Some(1), None)]]),
            "a null comes after"
        );
        assert!(
            !ascend(ALL, &[&[row("a", 1, 0)], &[nulls("a", Some(1), None)]]),
            "a null comes after, between batches"
        );
        assert!(!ascend(ALL, &[&[nulls("a", None, Some(1))]]), "no time");
    }

    #[test]
    fn three_numbers_ascend_with_nulls_first() {
        const ALL: &[&[&str]] = &[&["path", "ts", "seq", "sub_seq"]];
        let row = |ts, seq, sub_seq| Row {
            sub_seq,
            ..row("a", ts, seq)
        };
        assert!(ascend(
            ALL,
            &[&[
                row(1, 1, None),
                row(1, 1, Some(0)),
                row(1, 1, Some(1)),
                row(1, 2, None)
            ]]
        ));
        assert!(ascend(
            ALL,
            &[
                &[row(1, 1, Some(0)), row(1, 1, Some(0))],
                &[row(1, 1, Some(3)), row(1, 2, Some(0))]
            ]
        ));
        assert!(!ascend(ALL, &[&[row(1, 1, Some(1)), row(1, 1, Some(0))]]));
        assert!(
            !ascend(ALL, &[&[row(1, 1, Some(1))], &[row(1, 1, Some(0))]]),
            "between batches"
        );
        assert!(!ascend(ALL, &[&[row(1, 1, Some(1)), row(1, 1, None)]]));
        assert!(!ascend(ALL, &[&[row(1, 2, Some(0)), row(1, 1, Some(0))]]));
    }

    #[test]
    fn only_what_is_claimed_is_held() {
        let rows: &[_] = &[row("a", 1, 2), row("a", 1, 1)];
        assert!(ascend(&[&["path", "ts"]], &[rows, rows]));
        assert!(!ascend(&[&["ts", "seq"]], &[rows]));
        assert!(ascend(&[&["path"]], &[rows, &[row("b", 0, 0)]]));
        assert!(
            !ascend(&[&["path", "ts"], &["ts", "seq"]], &[rows]),
            "all of them"
        );
        let earlier: &[_] = &[row("b", 0, 0)];
        assert!(ascend(&[&["path", "ts"]], &[&rows[..1], earlier]));
        assert!(
            !ascend(&[&["path", "ts"], &["ts", "seq"]], &[&rows[..1], earlier]),
            "from file to file"
        );
    }
}
