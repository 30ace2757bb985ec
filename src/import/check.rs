//! Whether data that another program wrote is what a partition's data must be: readable to the last page, with the columns
//! of the contract, in order, of this day and these names, and what its `meta.json` says.
//!
//! Everything that is wrong is told. Refuses to change anything.

use super::claims::Claims;
use crate::{
    error::{Error, Kind, Result},
    file::{
        claims::Claims as Footer,
        examine::examine,
        fault::Problem,
        probe::probe,
        readback::{ReadBack, read_back},
        reader::Handle,
    },
    model::{date::Date, partition::Partition, quarantine::ErrorType, schema, time::to_ns},
};

/// What the data is.
#[derive(Debug)]
pub(super) enum Verdict {
    /// As it must be.
    Right(Box<ReadBack>),
    /// Readable, but not as it must be.
    Unfit {
        reasons: Vec<String>,
        rows: u64,
        /// The first and the last day that rows are of.
        days: Option<(Date, Date)>,
    },
    /// Unreadable, or other data than is claimed.
    Damaged(Vec<String>),
}

/// Reads the data of `handle` as that of `partition`; `meta` is the `meta.json` beside it, `sha256` that of the data.
///
/// # Errors
/// When the file is out of reach.
pub(super) async fn check(handle: &Handle, partition: &Partition, meta: &[u8], sha256: &str) -> Result<Verdict> {
    let footer = match probe(handle).await {
        Ok(footer) => footer,
        Err(problem) => return damaged(problem),
    };
    let columns = schema::deviations(&footer.schema, &partition.series.stream);
    if !columns.is_empty() {
        return unfit(handle, &footer, columns).await;
    }
    if footer.rows == 0 {
        let reasons = vec!["there are no rows: such a day is not in the archive".to_owned()];
        return Ok(Verdict::Unfit { reasons, rows: 0, days: None });
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let back = match read_back(handle, partition, cores).await {
        Ok(back) => back,
        Err(problem) => return damaged(problem),
    };
    let (mut wrong, mut reasons) = (Vec::new(), back.findings.clone());
    if back.footer_row_hash.is_some_and(|says| says != back.row_hash) {
        // Which finding it is cannot be told from its text; rows that are not those of the footer make all of them damage.
        wrong.append(&mut reasons);
    }
    match Claims::read(meta) {
        Ok(claims) => wrong.extend(claims.against(&back, sha256)),
        Err(what) => reasons.push(what),
    }
    if !wrong.is_empty() {
        wrong.extend(reasons);
        return Ok(Verdict::Damaged(wrong));
    }
    match mixed_units(handle, footer).await {
        Ok(found) => reasons.extend(found),
        Err(problem) => return damaged(problem),
    }
    if reasons.is_empty() {
        return Ok(Verdict::Right(Box::new(back)));
    }
    let days = back.ts_min_ns.and_then(Date::of_ns).zip(back.ts_max_ns.and_then(Date::of_ns));
    Ok(Verdict::Unfit { reasons, rows: back.rows, days })
}

/// Data whose columns are not those of the contract is read all the same: only what reads can be compacted.
async fn unfit(handle: &Handle, footer: &Footer, reasons: Vec<String>) -> Result<Verdict> {
    match examine(handle, footer).await {
        Ok(found) => {
            let day = |value: i64| to_ns(value).and_then(Date::of_ns);
            let days = found.claims.ts.and_then(|span| day(span.min).zip(day(span.max)));
            Ok(Verdict::Unfit { reasons, rows: found.claims.rows, days })
        }
        Err(Problem::Bad(fault)) if fault.error_type == ErrorType::SchemaMismatch => {
            Ok(Verdict::Unfit { reasons, rows: footer.rows, days: None })
        }
        Err(problem) => damaged(problem),
    }
}

/// Time columns that have values of several units: their stored order is not that of time.
async fn mixed_units(handle: &Handle, footer: Footer) -> std::result::Result<Vec<String>, Problem> {
    let times = || schema::TIME_COLUMNS.iter().filter(|name| footer.schema.column_with_name(name).is_some());
    let facts = if times().all(|name| footer.times.contains_key(*name)) {
        footer.times
    } else {
        examine(handle, &footer).await?.claims.times
    };
    let mixed = facts.iter().filter_map(|(name, span)| match span.units() {
        [Some(min), Some(max)] if min != max => Some(format!("column {name} has times in {min} and in {max}")),
        _ => None,
    });
    Ok(mixed.collect())
}

fn damaged(problem: Problem) -> Result<Verdict> {
    match problem {
        Problem::Storage(error) => Err(error),
        Problem::Bad(fault) => Ok(Verdict::Damaged(vec![format!("data.parquet: {fault}")])),
        other => Err(Error::new(Kind::Internal, other.to_string())),
    }
}
