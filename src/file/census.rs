//! Counts the rows of one file by the day they belong to: what a receipt must say of the file,
//! found without it.
//!
//! Every row is decoded, and number and row hash are checked against what the footer claims.

use std::collections::BTreeMap;

use arrow::{
    array::AsArray,
    compute::cast,
    datatypes::{DataType, Int64Type},
};

use super::{fault::Problem, probe::probe, reader::Handle};
use crate::model::{
    date::{Date, is_permitted, permitted_day},
    quarantine::ErrorType,
    receipt::{Content, UnitsHash},
    row_hash::RowSums,
    schema::TS_EVENT,
};

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// All of its rows.
    pub all: Content,
    /// The units of its columns.
    pub units: UnitsHash,
    /// Its rows by the day of their `ts_event`.
    pub days: BTreeMap<Date, Content>,
    /// Its rows whose `ts_event` tells no day.
    pub undated: Content,
}

impl Census {
    /// How many rows a file that belongs to the day `home` may have of each of its days, and those
    /// of its rows that it may not have.
    #[must_use]
    pub fn placed(&self, home: Option<Date>) -> (BTreeMap<Date, u64>, Content) {
        let mut days = BTreeMap::new();
        let mut unplaced = self.undated;
        for (day, content) in &self.days {
            if is_permitted(*day, home) {
                let _ = days.insert(*day, content.rows);
            } else {
                unplaced = unplaced.and(*content);
            }
        }
        (days, unplaced)
    }
}

/// Reads all rows of the file.
///
/// # Errors
/// When the file cannot be read to its end, or its rows have another hash or number than its footer
/// says.
pub async fn census(handle: &Handle) -> Result<Census, Problem> {
    let claims = probe(handle).await?;
    let mut rows = handle.rows(&claims, 8192, &[]).await?;
    let mut found = Census {
        units: UnitsHash::of(&claims.units()),
        ..Census::default()
    };
    let mut sums = RowSums::default();
    while let Some(batch) = rows.next().await? {
        sums.begin(batch.num_rows());
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            sums.add(field.name(), column)?;
        }
        let all = Content {
            rows: batch.num_rows() as u64,
            row_hash: sums.hash(),
            units: UnitsHash::default(),
        };
        found.all = found.all.and(all);
        let times = batch
            .column_by_name(TS_EVENT)
            .and_then(|column| cast(column, &DataType::Int64).ok());
        let Some(times) = times else {
            found.undated = found.undated.and(all);
            continue;
        };
        for (time, row_hash) in times.as_primitive::<Int64Type>().iter().zip(sums.rows()) {
            let of_day = match permitted_day(time, None) {
                Some(day) => found.days.entry(day).or_default(),
                None => &mut found.undated,
            };
            *of_day = of_day.and(Content::of_row(row_hash));
        }
    }
    if found.all.rows != claims.rows {
        return Err(Problem::bad(
            ErrorType::PageCorrupt,
            format!(
                "the file has {} rows, its footer claims {}",
                found.all.rows, claims.rows
            ),
        ));
    }
    match claims.row_hash {
        Some(claimed) if claimed != found.all.row_hash => Err(Problem::bad(
            ErrorType::RowHashMismatch,
            format!(
                "the rows have row hash {}, the footer says {claimed}: a value changed since the file was sealed",
                found.all.row_hash
            ),
        )),
        _ => Ok(found),
    }
}
