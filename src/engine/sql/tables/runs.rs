//! `archive.runs`: the records of runs, one row per run and partition, and one for a run without
//! partitions.
//!
//! | columns | of |
//! | --- | --- |
//! | `run`, `command`, `mode`, `started_at`, `ended_at`, `run_seconds`, `exit_code`, `qlc_version`, `workers`, `memory_limit`, `memory_peak` | the run; repeated on each of its rows |
//! | `status`, `message`, `files`, `quarantined`, `rows`, `bytes_in`, `bytes_out`, `seconds`, `sha256`, `plan`, `exchange`, `stream`, `symbol`, `date` | the partition; null in the row of a run without any |
//!
//! Filters are not used to skip records: a record is a few kilobytes, and there is one a run.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use datafusion::{catalog::TableProvider, datasource::MemTable};

use crate::{
    engine::error::from_datafusion,
    error::{Error, Kind, Result},
    model::run::{PartitionRecord, RunRecord},
    storage::{runs, store::Store},
};

/// A row: a run, and what came of one of its partitions.
type Row<'a> = (&'a RunRecord, Option<&'a PartitionRecord>);

/// The table, with all records read.
pub(super) async fn table(archive: &Store) -> Result<Arc<dyn TableProvider>> {
    let runs = runs::read(archive, None).await?;
    let batch = batch(&runs)?;
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])
        .map_err(|e| from_datafusion(e, "the records of runs as a table"))?;
    Ok(Arc::new(table))
}

fn batch(runs: &[RunRecord]) -> Result<RecordBatch> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for run in runs {
        if run.partitions.is_empty() {
            rows.push((run, None));
        }
        rows.extend(run.partitions.iter().map(|part| (run, Some(part))));
    }
    let rows = rows.as_slice();
    let columns: Vec<(&str, DataType, ArrayRef)> = vec![
        text("run", rows, |(r, _)| Some(r.id.clone())),
        text("command", rows, |(r, _)| Some(r.command.clone())),
        text("mode", rows, |(r, _)| r.asked.mode.clone()),
        text("started_at", rows, |(r, _)| Some(r.started_at.clone())),
        text("ended_at", rows, |(r, _)| Some(r.ended_at.clone())),
        real("run_seconds", rows, |(r, _)| Some(r.seconds)),
        number("exit_code", rows, |(r, _)| Some(r.exit_code.into())),
        text("qlc_version", rows, |(r, _)| Some(r.qlc_version.clone())),
        number("workers", rows, |(r, _)| r.workers.map(|n| n as u64)),
        number("memory_limit", rows, |(r, _)| r.memory.limit),
        number("memory_peak", rows, |(r, _)| r.memory.peak),
        text("status", rows, |(_, p)| p.map(|p| p.status.clone())),
        text("message", rows, |(_, p)| p.map(|p| p.message.clone())),
        number("files", rows, |(_, p)| p.map(|p| p.files)),
        number("quarantined", rows, |(_, p)| p.map(|p| p.quarantined)),
        number("rows", rows, |(_, p)| p.map(|p| p.rows)),
        number("bytes_in", rows, |(_, p)| p.map(|p| p.bytes_in)),
        number("bytes_out", rows, |(_, p)| p.map(|p| p.bytes_out)),
        real("seconds", rows, |(_, p)| p.map(|p| p.seconds)),
        text("sha256", rows, |(_, p)| p.and_then(|p| p.sha256.clone())),
        text("plan", rows, |(_, p)| {
            p.filter(|p| !p.plan.is_empty()).map(|p| p.plan.join("\n"))
        }),
        text("exchange", rows, |(_, p)| {
            p.map(|p| p.partition.series.exchange.to_string())
        }),
        text("stream", rows, |(_, p)| {
            p.map(|p| p.partition.series.stream.to_string())
        }),
        text("symbol", rows, |(_, p)| {
            p.map(|p| p.partition.series.symbol.to_string())
        }),
        text("date", rows, |(_, p)| {
            p.map(|p| p.partition.date.to_string())
        }),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, kind, _)| Field::new(*name, kind.clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|e| Error::caused(Kind::Internal, "the records of runs as columns", e))
}

fn text<'a>(
    name: &'static str,
    rows: &[Row<'a>],
    each: fn(&Row<'a>) -> Option<String>,
) -> (&'static str, DataType, ArrayRef) {
    (
        name,
        DataType::Utf8,
        Arc::new(rows.iter().map(each).collect::<StringArray>()),
    )
}

fn number<'a>(
    name: &'static str,
    rows: &[Row<'a>],
    each: fn(&Row<'a>) -> Option<u64>,
) -> (&'static str, DataType, ArrayRef) {
    let values = rows
        .iter()
        .map(|row| each(row).and_then(|n| i64::try_from(n).ok()));
    (
        name,
        DataType::Int64,
        Arc::new(values.collect::<Int64Array>()),
    )
}

fn real<'a>(
    name: &'static str,
    rows: &[Row<'a>],
    each: fn(&Row<'a>) -> Option<f64>,
) -> (&'static str, DataType, ArrayRef) {
    (
        name,
        DataType::Float64,
        Arc::new(rows.iter().map(each).collect::<Float64Array>()),
    )
}
