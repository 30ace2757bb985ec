//! Counts the rows of one file by the day they belong to: what a receipt must say of the file,
//! found without it.
//!
//! Every row is decoded, and number and row hash are checked against what the footer claims.

use std::collections::BTreeMap;

use arrow::{
    array::{AsArray, BooleanArray},
    compute::cast,
    datatypes::{DataType, Int64Type},
};

use super::{fault::Problem, probe::probe, reader::Handle};
use crate::model::{
    date::{Date, permitted_day},
    quarantine::ErrorType,
    row_hash::{RowHash, RowSums},
    schema::TS_EVENT,
};

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// Its rows.
    pub rows: u64,
    /// Their row hash.
    pub row_hash: RowHash,
    /// Its rows by the day they are of, as far as a file of its home may hold them.
    pub days: BTreeMap<Date, u64>,
    /// Its rows without such a day.
    pub unplaced: u64,
    /// The row hash of these.
    pub unplaced_hash: RowHash,
}

/// Reads all rows of the file; `home` is the day that its name or folder tells.
///
/// # Errors
/// When the file cannot be read to its end, or its rows have another hash or number than its footer
/// says.
pub async fn census(handle: &Handle, home: Option<Date>) -> Result<Census, Problem> {
    let claims = probe(handle).await?;
    let mut rows = handle.rows(&claims, 8192, &[]).await?;
    let mut found = Census::default();
    let mut sums = RowSums::default();
    while let Some(batch) = rows.next().await? {
        sums.begin(batch.num_rows());
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            sums.add(field.name(), column)?;
        }
        found.rows += batch.num_rows() as u64;
        found.row_hash = found.row_hash.and(sums.hash());
        let times = batch
            .column_by_name(TS_EVENT)
            .and_then(|column| cast(column, &DataType::Int64).ok());
        let Some(times) = times else {
            found.unplaced += batch.num_rows() as u64;
            found.unplaced_hash = found.unplaced_hash.and(sums.hash());
            continue;
        };
        let mut unplaced = Vec::with_capacity(batch.num_rows());
        for value in times.as_primitive::<Int64Type>() {
            let day = permitted_day(value, home);
            unplaced.push(day.is_none());
            if let Some(day) = day {
                *found.days.entry(day).or_default() += 1;
            }
        }
        let unplaced = BooleanArray::from(unplaced);
        if unplaced.true_count() > 0 {
            found.unplaced += unplaced.true_count() as u64;
            found.unplaced_hash = found.unplaced_hash.and(sums.hash_where(&unplaced));
        }
    }
    if found.rows != claims.rows {
        return Err(Problem::bad(
            ErrorType::PageCorrupt,
            format!(
                "the file has {} rows, its footer claims {}",
                found.rows, claims.rows
            ),
        ));
    }
    match claims.row_hash {
        Some(claimed) if claimed != found.row_hash => Err(Problem::bad(
            ErrorType::RowHashMismatch,
            format!(
                "the rows have row hash {}, the footer says {claimed}: a value changed since the file was sealed",
                found.row_hash
            ),
        )),
        _ => Ok(found),
    }
}
