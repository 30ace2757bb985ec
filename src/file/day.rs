//! Facts about the rows of one day in a file that holds rows of other days as well: which columns
//! have a value, how many, of what size, and in which units their times are.
//!
//! The columns and the unit of a partition follow from the rows of its day alone. Footers settle
//! them in most cases; here the rows are read for the others. The caller decides what follows from
//! the facts.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray},
    compute::{cast, filter},
    datatypes::{DataType, Int64Type, UInt64Type},
};

use super::{claims::Claims, fault::Problem, reader::Handle};
use crate::model::{
    date::{Date, permitted_day},
    schema::{TIME_COLUMNS, TS_EVENT, logical},
    time::Unit,
    types::{Integers, Values},
};

/// Rows that are decoded at a time, at most.
const BATCH_ROWS: usize = 8192;
/// What they may take in memory, as far as the footer tells.
const BATCH_BYTES: u64 = 8 << 20;

/// What the rows of the day are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DayFacts {
    /// Whether all rows of the file were read; else there may be more than is said here.
    pub whole: bool,
    /// Rows of the day.
    pub rows: u64,
    /// The units of each time column; a value that is no plausible time has none.
    pub units: BTreeMap<String, BTreeSet<Unit>>,
    /// The values of each column that was asked for.
    pub columns: BTreeMap<String, Values>,
}

impl DayFacts {
    /// Whether some row of the day has a value in `column`.
    #[must_use]
    pub fn has_value(&self, column: &str) -> bool {
        self.columns
            .get(column)
            .is_some_and(|values| values.rows > 0)
    }
}

/// Reads the rows of `date` in a file of the day `home`, for the columns `columns` and the times.
/// Where `until` names columns, reading ends as soon as each of them has a value.
///
/// # Errors
/// When the file cannot be read so far.
pub async fn day_facts(
    handle: &Handle,
    claims: &Claims,
    home: Option<Date>,
    date: Date,
    columns: &BTreeSet<String>,
    until: Option<&BTreeSet<String>>,
) -> Result<DayFacts, Problem> {
    let batch_rows = usize::try_from(BATCH_BYTES / claims.row_bytes.max(1))
        .unwrap_or(BATCH_ROWS)
        .clamp(16, BATCH_ROWS);
    let mut rows = handle.rows(claims, batch_rows, &[]).await?;
    let mut found = DayFacts::default();
    while let Some(batch) = rows.next().await? {
        let times = batch
            .column_by_name(TS_EVENT)
            .and_then(|column| cast(column, &DataType::Int64).ok());
        let Some(times) = times else { continue };
        let here: BooleanArray = times
            .as_primitive::<Int64Type>()
            .iter()
            .map(|value| Some(permitted_day(value, home) == Some(date)))
            .collect();
        let count = here.true_count();
        if count == 0 {
            continue;
        }
        found.rows += count as u64;
        let of_day =
            |name: &str| -> Option<ArrayRef> { filter(batch.column_by_name(name)?, &here).ok() };
        for name in TIME_COLUMNS {
            let ints = of_day(name).and_then(|column| cast(&column, &DataType::Int64).ok());
            let Some(ints) = ints else { continue };
            let units = found.units.entry(name.to_owned()).or_default();
            units.extend(
                ints.as_primitive::<Int64Type>()
                    .iter()
                    .flatten()
                    .filter_map(Unit::of),
            );
        }
        for name in columns {
            let Some(column) = of_day(name) else { continue };
            let here = Values {
                rows: filled(&column),
                integers: integers(&column),
            };
            let all = found.columns.entry(name.clone()).or_default();
            *all = all.and(here);
        }
        if until.is_some_and(|until| until.iter().all(|name| found.has_value(name))) {
            return Ok(found);
        }
    }
    Ok(DayFacts {
        whole: true,
        ..found
    })
}

fn filled(column: &dyn Array) -> u64 {
    (column.len() - column.logical_null_count()) as u64
}

fn integers(column: &ArrayRef) -> Option<Integers> {
    match logical(column.data_type()) {
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            span::<UInt64Type>(column, &DataType::UInt64)
        }
        kind if kind.is_integer()
            || matches!(kind, DataType::Timestamp(_, _) | DataType::Duration(_)) =>
        {
            span::<Int64Type>(column, &DataType::Int64)
        }
        _ => None,
    }
}

fn span<T: ArrowPrimitiveType<Native: Into<i128>>>(
    column: &ArrayRef,
    kind: &DataType,
) -> Option<Integers> {
    let values = cast(column, kind).ok()?;
    let each = values
        .as_primitive::<T>()
        .iter()
        .flatten()
        .map(|value| -> i128 { value.into() });
    each.map(|value| Integers {
        min: value,
        max: value,
        as_floats: is_float(value),
    })
    .reduce(Integers::and)
}

/// Whether a 64-bit float holds `value` exactly: its bits between the first and the last one are at
/// most 53.
fn is_float(value: i128) -> bool {
    let size = value.unsigned_abs();
    let used = 128 - size.leading_zeros().min(128);
    size == 0 || used - size.trailing_zeros() <= f64::MANTISSA_DIGITS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whole_numbers_that_are_floats_are_known(value in prop_oneof![any::<i64>(), -(1_i64 << 54)..(1 << 54)], shift in 0_u32..40) {
            let value = value.wrapping_shl(shift);
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "this is what is asked")]
            let back = value as f64 as i128;
            prop_assert_eq!(is_float(i128::from(value)), back == i128::from(value));
        }
    }
}
