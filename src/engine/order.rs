//! The order of rows, `(ts_event, seq)` ascending with nulls first, as DataFusion expresses it, and
//! sorting by it in memory.
//!
//! A merge compares one integer of 128 bits made of both columns instead of two columns in row
//! format, which costs a third less. Rows that are equal in both columns stay in the order in which
//! they came; `OrderTies` orders them.

use std::{fmt, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, UInt32Array,
        make_comparator,
    },
    compute::{SortOptions, cast, concat_batches, take_record_batch},
    datatypes::{DECIMAL128_MAX_PRECISION, DataType, Int64Type, Schema},
    error::ArrowError,
};
use datafusion::{
    common::{DataFusionError, Result as DfResult},
    physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr, expressions::Column},
    physical_plan::ColumnarValue,
};

use crate::{
    file::shape::Shape,
    model::schema::{SEQ, TS_EVENT},
};

const OPTIONS: SortOptions = SortOptions {
    descending: false,
    nulls_first: true,
};

/// The order of every sequence, by its two columns.
///
/// # Errors
/// Never in practice: it has two columns.
pub fn ordering(shape: &Shape) -> DfResult<LexOrdering> {
    let by =
        |name: &str, at: usize| PhysicalSortExpr::new(Arc::new(Column::new(name, at)), OPTIONS);
    some(LexOrdering::new([
        by(TS_EVENT, shape.ts),
        by(SEQ, shape.seq),
    ]))
}

/// The same order by [`MergeKey`], for merges.
///
/// # Errors
/// Never in practice: it has one column.
pub fn merge_ordering(shape: &Shape) -> DfResult<LexOrdering> {
    let key: Arc<dyn PhysicalExpr> = Arc::new(MergeKey {
        ts: shape.ts,
        seq: shape.seq,
    });
    some(LexOrdering::new([PhysicalSortExpr::new(key, OPTIONS)]))
}

fn some(ordering: Option<LexOrdering>) -> DfResult<LexOrdering> {
    ordering.ok_or_else(|| DataFusionError::Internal("an order without columns".to_owned()))
}

/// `ts_event` and `seq` as one integer that ascends as they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MergeKey {
    /// Where `ts_event` is.
    ts: usize,
    /// Where `seq` is.
    seq: usize,
}

impl MergeKey {
    /// The key of a row. Times between 1970 and 2262 in any unit fit; rows of a partition have no
    /// others.
    const fn of(ts: i64, seq: Option<i64>) -> i128 {
        // 65 bits for seq: a null stands below the smallest number.
        let low = match seq {
            None => 0,
            Some(seq) => (seq as i128) - (i64::MIN as i128) + 1,
        };
        ((ts as i128) - (1 << 62))
            .wrapping_mul(1 << 65)
            .wrapping_add(low)
    }
}

impl fmt::Display for MergeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(ts_event, seq)")
    }
}

impl PhysicalExpr for MergeKey {
    fn data_type(&self, _: &Schema) -> DfResult<DataType> {
        Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0))
    }

    fn nullable(&self, _: &Schema) -> DfResult<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        let column = |at: usize| batch.column(at).as_primitive::<Int64Type>();
        let (ts, seq) = (column(self.ts), column(self.seq));
        let keys: Vec<i128> = if seq.null_count() == 0 {
            ts.values()
                .iter()
                .zip(seq.values())
                .map(|(ts, seq)| Self::of(*ts, Some(*seq)))
                .collect()
        } else {
            ts.values()
                .iter()
                .zip(seq)
                .map(|(ts, seq)| Self::of(*ts, seq))
                .collect()
        };
        Ok(ColumnarValue::Array(Arc::new(Decimal128Array::from(keys))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        Ok(self)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Columns that cannot be compared as they are, as text.
///
/// # Errors
/// When they are no text either.
pub fn comparable(values: &ArrayRef) -> DfResult<ArrayRef> {
    if make_comparator(values, values, SortOptions::default()).is_ok() {
        return Ok(Arc::clone(values));
    }
    Ok(cast(values, &DataType::Utf8)?)
}

/// The rows of several batches, and the order in which they ascend.
#[derive(Debug)]
pub struct Sorted {
    rows: RecordBatch,
    /// `None` where they ascend as they are.
    order: Option<UInt32Array>,
}

impl Sorted {
    /// Puts the rows of `batches` in order; rows equal in both columns stay as they came.
    ///
    /// # Errors
    /// When there is no batch, or they do not have the same columns.
    pub fn of(batches: &[RecordBatch], ts: usize, seq: usize) -> Result<Self, ArrowError> {
        let first = batches
            .first()
            .ok_or_else(|| ArrowError::ComputeError("nothing to sort".to_owned()))?;
        let rows = concat_batches(first.schema_ref(), batches)?;
        let column = |at: usize| -> Result<&Int64Array, ArrowError> {
            let column: Option<&ArrayRef> = rows.columns().get(at);
            let column = column.and_then(|c| c.as_primitive_opt::<Int64Type>());
            column.ok_or_else(|| {
                ArrowError::ComputeError("a column of the order is missing".to_owned())
            })
        };
        let (ts, seq) = (column(ts)?, column(seq)?);
        let times = || (0_u32..).zip(ts.iter().map(|ts| ts.unwrap_or(i64::MIN)));
        let order = if ts.null_count() == 0 && seq.null_count() == 0 {
            ascending(times().zip(seq.values()).map(|((row, ts), seq)| Keyed {
                ts,
                seq: *seq,
                row,
            }))
        } else {
            ascending(
                times()
                    .zip(seq)
                    .map(|((row, ts), seq)| Keyed { ts, seq, row }),
            )
        };
        Ok(Self { rows, order })
    }

    /// The rows in order, in batches of at most `rows`.
    pub fn batches(
        &self,
        rows: usize,
    ) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + '_ {
        let (total, rows) = (self.rows.num_rows(), rows.max(1));
        (0..total).step_by(rows).map(move |at| {
            let length = rows.min(total - at);
            match &self.order {
                None => Ok(self.rows.slice(at, length)),
                Some(order) => take_record_batch(&self.rows, &order.slice(at, length)),
            }
        })
    }
}

/// A row and what it is ordered by, field by field: equal keys stay in the order of their rows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Keyed<K> {
    ts: i64,
    seq: K,
    row: u32,
}

/// The rows in ascending order; `None` if they ascend already. The sort makes use of stretches that
/// do.
fn ascending<K: Ord + Copy>(rows: impl Iterator<Item = Keyed<K>>) -> Option<UInt32Array> {
    let mut rows: Vec<Keyed<K>> = rows.collect();
    if rows.is_sorted() {
        return None;
    }
    rows.sort();
    Some(rows.into_iter().map(|keyed| keyed.row).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_ascend_as_their_columns(
            a in (0_i64..7_300_000_000_000_000_000, prop::option::of(any::<i64>())),
            b in (0_i64..7_300_000_000_000_000_000, prop::option::of(any::<i64>())),
        ) {
            prop_assert_eq!(MergeKey::of(a.0, a.1).cmp(&MergeKey::of(b.0, b.1)), a.cmp(&b));
            let same_time = (a.0, b.1);
            prop_assert_eq!(MergeKey::of(a.0, a.1).cmp(&MergeKey::of(a.0, b.1)), a.cmp(&same_time));
        }

        #[test]
        fn sorting_is_stable_and_complete(keys in prop::collection::vec((0_i64..5, prop::option::of(0_i64..5)), 1..200)) {
            let (ts, seq): (Vec<i64>, Vec<Option<i64>>) = keys.iter().copied().unzip();
            let row: Int64Array = (0..).take(keys.len()).collect();
            let columns: [(&str, ArrayRef); 3] = [
                ("ts_event", Arc::new(Int64Array::from(ts))),
                ("seq", Arc::new(Int64Array::from(seq))),
                ("row", Arc::new(row)),
            ];
            let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap();
            let sorted = Sorted::of(&[batch], 0, 1).unwrap();
            let batches: Vec<RecordBatch> = sorted.batches(7).map(Result::unwrap).collect();
            let rows: Vec<usize> = batches
                .iter()
                .flat_map(|b| b.column(2).as_primitive::<Int64Type>().values().to_vec())
                .map(|row| usize::try_from(row).unwrap())
                .collect();
            let mut expected: Vec<usize> = (0..keys.len()).collect();
            expected.sort_by_key(|row| keys[*row]);
            prop_assert_eq!(rows, expected);
        }
    }
}
