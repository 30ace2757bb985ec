//! `inspect`: a report about one Parquet file by itself, read to its last page.
//!
//! What compaction would do with the file is said in the same terms: the same reader, the same
//! error types, and where the file lies in a spool, the same rules for what may lie there. Nothing
//! is changed or moved.

mod place;

use parquet::basic::LogicalType;
use serde::Serialize;

use crate::{
    error::{Error, Result},
    file::{
        claims::{Claims, Span},
        examine::examine,
        fault::Problem,
        probe::probe,
        reader::Handle,
    },
    model::{
        count,
        quarantine::ErrorType,
        time::{Unit, to_ns},
    },
    storage::store::Store,
};

/// Rows that are decoded at a time.
const ROWS: usize = 8192;

/// A column as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type in Parquet, with the logical type where there is one.
    pub physical_type: String,
    /// Its codec in the first row group.
    pub compression: String,
    /// Its encodings in the first row group.
    pub encodings: String,
}

/// What there is to say of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileInspection {
    /// Where it lies.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The rows that its footer claims; those that decode, where all do.
    pub rows: u64,
    /// Its row groups.
    pub row_groups: usize,
    /// Who wrote it.
    pub created_by: Option<String>,
    /// Its columns.
    pub columns: Vec<Column>,
    /// The unit of `ts_event`, or `mixed`.
    pub unit: Option<String>,
    /// The smallest `ts_event`, RFC 3339 in UTC, or as it is stored where it is no plausible time.
    pub ts_event_min: Option<String>,
    /// The largest.
    pub ts_event_max: Option<String>,
    /// Whether the rows ascend by `(ts_event, seq)`.
    pub ordered: bool,
    /// Whether the footer declares that order.
    pub order_declared: bool,
    /// The row hash of its rows, where all decode.
    pub row_hash: Option<String>,
    /// The row hash that its footer holds.
    pub row_hash_in_footer: Option<String>,
    /// What is wrong with it.
    pub findings: Vec<String>,
}

/// Inspects the file at `key`.
///
/// # Errors
/// When the store does not answer, or has no such object; what is wrong with the file is in its
/// findings.
pub async fn run(store: &Store, key: &str) -> Result<FileInspection> {
    let object = store
        .head(key)
        .await?
        .ok_or_else(|| Error::usage(format!("{}: there is no such file", store.show(key))))?;
    let handle = Handle::new(store, &object);
    let mut inspection = FileInspection {
        path: store.show(key),
        bytes: object.size,
        rows: 0,
        row_groups: 0,
        created_by: None,
        columns: Vec::new(),
        unit: None,
        ts_event_min: None,
        ts_event_max: None,
        ordered: false,
        order_declared: false,
        row_hash: None,
        row_hash_in_footer: None,
        findings: Vec::new(),
    };
    let claims = match probe(&handle).await {
        Ok(claims) => claims,
        Err(problem) => return found(inspection, problem),
    };
    inspection.rows = claims.rows;
    inspection.row_groups = claims.meta.as_ref().map_or(0, |m| m.num_row_groups());
    inspection.created_by = claims.created_by.as_deref().map(str::to_owned);
    inspection.columns = columns(&claims);
    inspection.order_declared = claims.ordered && claims.rows > 0;
    inspection.row_hash_in_footer = claims.row_hash.map(|h| h.to_string());
    let examined = match examine(&handle, &claims).await {
        Ok(examined) => examined,
        Err(problem) => {
            let is_unfit = matches!(&problem, Problem::Bad(fault) if fault.error_type == ErrorType::SchemaMismatch);
            let inspection = found(inspection, problem)?;
            // Columns that are no events are no reason not to look at the rest.
            return if is_unfit {
                read_on(inspection, &handle, &claims).await
            } else {
                Ok(inspection)
            };
        }
    };
    inspection.row_hash = Some(examined.row_hash.to_string());
    inspection.ordered = examined.claims.ordered;
    if let Some(span) = examined.claims.ts {
        inspection.unit = unit(span);
        inspection.ts_event_min = Some(instant(span.min));
        inspection.ts_event_max = Some(instant(span.max));
    }
    if inspection.order_declared && !inspection.ordered {
        inspection
            .findings
            .push("the footer declares an order that the rows do not keep".to_owned());
    }
    if let (Some(claimed), Some(true)) = (
        claims.ts,
        examined.claims.ts.map(|span| Some(span) != claims.ts),
    ) {
        inspection.findings.push(format!(
            "the footer claims ts_event from {} to {}, the rows have another span",
            claimed.min, claimed.max
        ));
    }
    if examined.implausible > 0 {
        inspection.findings.push(format!(
            "TIME_OUT_OF_RANGE: {} a ts_event that is null or no plausible time",
            count::rows_have(examined.implausible)
        ));
    }
    match place::faults(&handle, &claims).await {
        Ok(faults) => inspection
            .findings
            .extend(faults.iter().map(ToString::to_string)),
        Err(problem) => return found(inspection, problem),
    }
    Ok(inspection)
}

/// Reads every page of a file whose rows are no events.
async fn read_on(
    inspection: FileInspection,
    handle: &Handle,
    claims: &Claims,
) -> Result<FileInspection> {
    let read = async {
        let mut rows = handle.rows(claims, ROWS, &[]).await?;
        let mut read = 0;
        while let Some(batch) = rows.next().await? {
            read += batch.num_rows() as u64;
        }
        claims.agree_in_number(read)
    };
    match read.await {
        Ok(()) => Ok(inspection),
        Err(problem) => found(inspection, problem),
    }
}

fn found(mut inspection: FileInspection, problem: Problem) -> Result<FileInspection> {
    match problem {
        Problem::Storage(error) => Err(error),
        Problem::Bad(fault) => {
            inspection.findings.push(fault.to_string());
            Ok(inspection)
        }
        other => {
            inspection.findings.push(other.to_string());
            Ok(inspection)
        }
    }
}

fn columns(claims: &Claims) -> Vec<Column> {
    let Some(meta) = &claims.meta else {
        return Vec::new();
    };
    let group = meta.row_groups().first();
    let descriptor = meta.file_metadata().schema_descr();
    descriptor
        .columns()
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let chunk = group.and_then(|g| g.columns().get(index));
            let logical = column
                .logical_type_ref()
                .map(|logical| format!(" ({})", annotation(logical)))
                .unwrap_or_default();
            let codec = chunk
                .map(|c| format!("{:?}", c.compression()))
                .unwrap_or_default();
            let mut encodings: Vec<String> = chunk
                .map(|c| c.encodings().map(|e| format!("{e:?}")).collect())
                .unwrap_or_default();
            encodings.sort();
            Column {
                name: column.path().string(),
                physical_type: format!("{:?}{logical}", column.physical_type()),
                compression: codec.split('(').next().unwrap_or_default().to_lowercase(),
                encodings: encodings.join(", "),
            }
        })
        .collect()
}

/// What a column's integers, texts or times stand for, in one word where there is one.
fn annotation(logical: &LogicalType) -> String {
    match logical {
        LogicalType::Integer(int) if int.is_signed => format!("Int{}", int.bit_width),
        LogicalType::Integer(int) => format!("UInt{}", int.bit_width),
        other => format!("{other:?}"),
    }
}

fn unit(span: Span) -> Option<String> {
    match span.units() {
        [Some(min), Some(max)] if min == max => Some(Unit::to_string(&min)),
        [None, None] => None,
        _ => Some("mixed".to_owned()),
    }
}

fn instant(value: i64) -> String {
    match to_ns(value) {
        Some(ns) => chrono::DateTime::from_timestamp_nanos(ns)
            .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        None => value.to_string(),
    }
}
