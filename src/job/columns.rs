//! Which columns of a row tell of its event, by which rows of several collectors are compared, and
//! which of the collector; and the row hash over each of them.

use arrow::array::ArrayRef;

use super::Job;
use crate::{
    error::{Error, Kind, Result},
    file::shape::Column,
    model::{
        row_hash::RowSums,
        schema::{SEQ, SOURCE, SUB_SEQ, TS_RECV},
    },
};

/// Adds the columns by which rows of several collectors are compared, which have `carried` on their
/// way.
///
/// # Errors
/// When a column's type has no hash.
pub(crate) fn add_event_columns(job: &Job, carried: &[ArrayRef], sums: &mut RowSums) -> Result<()> {
    add_columns(job, carried, sums, |name| !is_own(job, name))
}

/// Adds the others: with them the sums are those of the proof.
pub(crate) fn add_own_columns(job: &Job, carried: &[ArrayRef], sums: &mut RowSums) -> Result<()> {
    add_columns(job, carried, sums, |name| is_own(job, name))
}

/// The columns in which rows of one event may differ, because they tell of the collector. The first
/// of these decides which row is the earlier one, then the next.
pub(crate) const OWN: [&str; 3] = [TS_RECV, SOURCE, SUB_SEQ];

fn is_own(job: &Job, name: &str) -> bool {
    OWN.contains(&name) || (name == SEQ && job.has_unnumbered())
}

fn add_columns(
    job: &Job,
    carried: &[ArrayRef],
    sums: &mut RowSums,
    is_meant: impl Fn(&str) -> bool,
) -> Result<()> {
    for (field, column) in job.shape.schema.fields().iter().zip(&job.shape.columns) {
        // Numbers that qlc gives are not those of the sources.
        if !is_meant(field.name()) || (job.numbers && field.name() == SEQ) {
            continue;
        }
        match column {
            Column::Carried(at) => {
                let array = carried
                    .get(*at)
                    .ok_or_else(|| Error::new(Kind::Internal, "a carried column is missing"))?;
                sums.add(field.name(), array)?;
            }
            Column::Constant(one) => sums.add_constant(field.name(), one)?,
        }
    }
    Ok(())
}
