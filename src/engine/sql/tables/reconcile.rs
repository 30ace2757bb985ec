//! `archive.reconcile`: the records of reconciliations, one row per day and run.
//!
//! Filters are not used to skip records: a record is a few kilobytes, and there is one a day and
//! run.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::{Field, Schema},
};
use datafusion::{catalog::TableProvider, datasource::MemTable};

use crate::{
    engine::error::from_datafusion,
    error::{Error, Kind, Result},
    model::reconcile::{ReconcilePass, ReconcileRecord, VenueFile},
    storage::{reconciled, store::Store},
};

/// The table, with all records read.
pub(super) async fn table(archive: &Store) -> Result<Arc<dyn TableProvider>> {
    let records = reconciled::read(archive).await?;
    let batch = batch(&records)?;
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])
        .map_err(|e| from_datafusion(e, "the records of reconciliations as a table"))?;
    Ok(Arc::new(table))
}

fn batch(rows: &[ReconcileRecord]) -> Result<RecordBatch> {
    let joined = |files: &[VenueFile], of: fn(&VenueFile) -> &str| {
        let all: Vec<&str> = files.iter().map(of).collect();
        (!all.is_empty()).then(|| all.join("\n"))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("at", text(rows, |r| Some(r.at.clone()))),
        ("verdict", text(rows, |r| Some(r.verdict.word().to_owned()))),
        (
            "message",
            text(rows, |r| (!r.message.is_empty()).then(|| r.message.clone())),
        ),
        (
            "pass",
            text(rows, |r| {
                r.pass.map(|pass| match pass {
                    ReconcilePass::Rows => "rows".to_owned(),
                    ReconcilePass::Minutes => "minutes".to_owned(),
                })
            }),
        ),
        ("ours", number(rows, |r| Some(r.ours))),
        ("theirs", number(rows, |r| Some(r.theirs))),
        ("equal", number(rows, |r| Some(r.equal))),
        ("differ", number(rows, |r| Some(r.differ))),
        ("only_ours", number(rows, |r| Some(r.only_ours))),
        ("only_theirs", number(rows, |r| Some(r.only_theirs))),
        ("waiting", number(rows, |r| Some(r.waiting))),
        ("recovered", number(rows, |r| Some(r.recovered))),
        (
            "minutes_not_equal",
            number(rows, |r| Some(r.minutes.len() as u64)),
        ),
        ("holes_open", number(rows, |r| Some(r.hole_counts.open))),
        (
            "holes_recovered",
            number(rows, |r| Some(r.hole_counts.recovered)),
        ),
        (
            "holes_never_existed",
            number(rows, |r| Some(r.hole_counts.never_existed)),
        ),
        (
            "holes_missing_there_too",
            number(rows, |r| Some(r.hole_counts.missing_there_too)),
        ),
        ("files", text(rows, |r| joined(&r.files, |file| &file.name))),
        (
            "files_sha256",
            text(rows, |r| joined(&r.files, |file| &file.sha256)),
        ),
        (
            "checksums",
            text(rows, |r| joined(&r.files, |file| &file.checksum)),
        ),
        (
            "taken_rows",
            number(rows, |r| r.taken.as_ref().map(|taken| taken.rows)),
        ),
        (
            "taken_file",
            text(rows, |r| r.taken.as_ref().map(|taken| taken.file.clone())),
        ),
        ("data_sha256", text(rows, |r| r.data_sha256.clone())),
        ("qlc_version", text(rows, |r| Some(r.qlc_version.clone()))),
        (
            "exchange",
            text(rows, |r| Some(r.partition.series.exchange.to_string())),
        ),
        (
            "stream",
            text(rows, |r| Some(r.partition.series.stream.to_string())),
        ),
        (
            "symbol",
            text(rows, |r| Some(r.partition.series.symbol.to_string())),
        ),
        ("date", text(rows, |r| Some(r.partition.date.to_string()))),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|e| {
        Error::caused(
            Kind::Internal,
            "the records of reconciliations as columns",
            e,
        )
    })
}

fn text(rows: &[ReconcileRecord], each: impl Fn(&ReconcileRecord) -> Option<String>) -> ArrayRef {
    Arc::new(rows.iter().map(each).collect::<StringArray>())
}

fn number(rows: &[ReconcileRecord], each: impl Fn(&ReconcileRecord) -> Option<u64>) -> ArrayRef {
    let values = rows
        .iter()
        .map(|row| each(row).and_then(|n| i64::try_from(n).ok()));
    Arc::new(values.collect::<Int64Array>())
}
