//! Whether data that another program wrote is what a partition's data must be: readable to the last
//! page, with the columns of the contract, in order, of this day and these names, and what its
//! `meta.json` says.
//!
//! Every fault is reported. Nothing is changed.

use super::claims::{Claims, Facts};
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

/// Reads the data of `handle` as that of `partition`; `meta` is the `meta.json` beside it, if there
/// is one, `sha256` that of the data.
///
/// # Errors
/// When the file is out of reach.
pub(super) async fn check(
    handle: &Handle,
    partition: &Partition,
    meta: Option<&[u8]>,
    sha256: &str,
) -> Result<Verdict> {
    let footer = match probe(handle).await {
        Ok(footer) => footer,
        Err(problem) => return damaged(problem),
    };
    if let Some(what) = schema::unusable(&footer.schema, &partition.series.stream) {
        return Ok(Verdict::Unfit {
            reasons: vec![what],
            rows: footer.rows,
            days: None,
        });
    }
    let columns = schema::deviations(&footer.schema, &partition.series.stream);
    if !columns.is_empty() {
        return unfit(handle, &footer, meta, sha256, columns).await;
    }
    if footer.rows == 0 {
        let facts = Facts {
            rows: 0,
            ts_min_ns: None,
            ts_max_ns: None,
            sha256,
        };
        if let Some(Ok(claims)) = meta.map(Claims::read)
            && claims.has_rows()
        {
            return Ok(Verdict::Damaged(claims.against(facts)));
        }
        let reasons = vec!["there are no rows: such a day is not in the archive".to_owned()];
        return Ok(Verdict::Unfit {
            reasons,
            rows: 0,
            days: None,
        });
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let back = match read_back(handle, partition, cores).await {
        Ok(back) => back,
        Err(problem) => return damaged(problem),
    };
    let (mut wrong, mut reasons) = (Vec::new(), back.findings.clone());
    if back
        .footer_row_hash
        .is_some_and(|says| says != back.row_hash)
    {
        // Which finding it is cannot be told from its text; rows that are not those of the footer
        // make all of them damage.
        wrong.append(&mut reasons);
    }
    let facts = Facts {
        rows: back.rows,
        ts_min_ns: back.ts_min_ns,
        ts_max_ns: back.ts_max_ns,
        sha256,
    };
    contradictions(meta, facts, &mut wrong, &mut reasons);
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
    let days = back
        .ts_min_ns
        .and_then(Date::of_ns)
        .zip(back.ts_max_ns.and_then(Date::of_ns));
    Ok(Verdict::Unfit {
        reasons,
        rows: back.rows,
        days,
    })
}

/// Data whose columns are not those of the contract is read all the same: only what reads can be
/// compacted.
async fn unfit(
    handle: &Handle,
    footer: &Footer,
    meta: Option<&[u8]>,
    sha256: &str,
    mut reasons: Vec<String>,
) -> Result<Verdict> {
    match examine(handle, footer).await {
        Ok(found) => {
            let (ts_min_ns, ts_max_ns) = found
                .claims
                .ts
                .map(|span| (to_ns(span.min), to_ns(span.max)))
                .unzip();
            let (ts_min_ns, ts_max_ns) = (ts_min_ns.flatten(), ts_max_ns.flatten());
            let mut wrong = Vec::new();
            let facts = Facts {
                rows: found.claims.rows,
                ts_min_ns,
                ts_max_ns,
                sha256,
            };
            contradictions(meta, facts, &mut wrong, &mut reasons);
            if !wrong.is_empty() {
                wrong.extend(reasons);
                return Ok(Verdict::Damaged(wrong));
            }
            let days = ts_min_ns
                .and_then(Date::of_ns)
                .zip(ts_max_ns.and_then(Date::of_ns));
            Ok(Verdict::Unfit {
                reasons,
                rows: found.claims.rows,
                days,
            })
        }
        Err(Problem::Bad(fault)) if fault.error_type == ErrorType::SchemaMismatch => {
            Ok(Verdict::Unfit {
                reasons,
                rows: footer.rows,
                days: None,
            })
        }
        Err(problem) => damaged(problem),
    }
}

/// What `meta` says: of other data, which is `wrong`, or nothing that can be understood, which is a
/// reason.
fn contradictions(
    meta: Option<&[u8]>,
    facts: Facts<'_>,
    wrong: &mut Vec<String>,
    reasons: &mut Vec<String>,
) {
    match meta.map(Claims::read) {
        Some(Ok(claims)) => wrong.extend(claims.against(facts)),
        Some(Err(what)) => reasons.push(what),
        None => reasons
            .push("there is no meta.json: nothing says that the data was finished".to_owned()),
    }
}

/// Time columns that have values of several units: their stored order is not that of time.
async fn mixed_units(handle: &Handle, footer: Footer) -> std::result::Result<Vec<String>, Problem> {
    let times = || {
        schema::TIME_COLUMNS
            .iter()
            .filter(|name| footer.schema.column_with_name(name).is_some())
    };
    let facts = if times().all(|name| footer.times.contains_key(*name)) {
        footer.times
    } else {
        examine(handle, &footer).await?.claims.times
    };
    let mixed = facts.iter().filter_map(|(name, span)| match span.units() {
        [Some(min), Some(max)] if min != max => {
            Some(format!("column {name} has times in {min} and in {max}"))
        }
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
