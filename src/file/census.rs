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

use super::{fault::Problem, probe::probe, reader::Handle, tally::RowTally};
use crate::model::{
    date::{Date, is_permitted, permitted_day},
    receipt::{Content, UnitsHash},
    row_hash::RowHash,
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
    /// What the file is known by.
    #[must_use]
    pub fn content(&self) -> Content {
        Content {
            units: self.units,
            ..self.all
        }
    }

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
    let mut found = Census {
        units: UnitsHash::of(&claims.units()),
        ..Census::default()
    };
    let all = RowTally::of_file(handle, &claims, |batch, tally| {
        let times = batch
            .column_by_name(TS_EVENT)
            .and_then(|column| cast(column, &DataType::Int64).ok());
        let Some(times) = times else {
            found.undated = found
                .undated
                .and(content(batch.num_rows() as u64, tally.last()));
            return Ok(());
        };
        for (time, row_hash) in times
            .as_primitive::<Int64Type>()
            .iter()
            .zip(tally.last_rows())
        {
            let of_day = match permitted_day(time, None) {
                Some(day) => found.days.entry(day).or_default(),
                None => &mut found.undated,
            };
            *of_day = of_day.and(Content::of_row(row_hash));
        }
        Ok(())
    })
    .await?;
    claims.agree(all.rows, all.row_hash)?;
    found.all = content(all.rows, all.row_hash);
    Ok(found)
}

fn content(rows: u64, row_hash: RowHash) -> Content {
    Content {
        rows,
        row_hash,
        units: UnitsHash::default(),
    }
}
