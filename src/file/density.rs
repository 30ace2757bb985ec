//! Events per minute of a partition: one column of its data is read, and nothing else.
//!
//! This proves nothing: values are not checked against the footer or a receipt, which is what
//! `verify` is for.

use std::sync::Arc;

use parquet::{
    column::reader::{ColumnReader, get_column_reader},
    file::{metadata::ParquetMetaData, serialized_reader::SerializedPageReader},
};

use super::{
    fault::{Problem, shielded},
    pages,
    reader::Handle,
    window::Window,
};
use crate::model::{
    coverage::Minutes, date::Date, quarantine::ErrorType, schema::TS_EVENT, time::Unit,
};

/// Values that are decoded at a time.
const AT_A_TIME: usize = 16_384;

/// Counts the events of `date` in the file by their minute.
///
/// # Errors
/// When the file cannot be read, or has no integer column of times.
pub async fn minutes(handle: &Handle, date: Date) -> Result<Minutes, Problem> {
    let meta = handle.footer().await?;
    let columns = meta.file_metadata().schema_descr().columns();
    let Some(column) = columns
        .iter()
        .position(|column| column.path().string() == TS_EVENT)
    else {
        return Err(Problem::bad(
            ErrorType::SchemaMismatch,
            format!("the file has no column {TS_EVENT}"),
        ));
    };
    let mut counted = Minutes::none();
    for (nth, group) in meta.row_groups().iter().enumerate() {
        let Some(chunk) = group.columns().get(column) else {
            continue;
        };
        let (start, length) = chunk.byte_range();
        let window = Arc::new(handle.window(start..start + length).await?);
        pages::fits(&window, chunk, nth).map_err(Problem::Bad)?;
        let mut counts = Minutes::none();
        let told = shielded(|| count(&meta, nth, column, &window, date, &mut counts));
        let wrong = |what: String| {
            Err(Problem::bad(
                ErrorType::PageCorrupt,
                format!("row group {nth}: {what}"),
            ))
        };
        match told {
            Ok(Ok(())) => counted.add(&counts),
            Ok(Err(error)) => return wrong(error),
            Err(panic) => return wrong(format!("the reader panicked: {panic}")),
        }
    }
    Ok(counted)
}

fn count(
    meta: &ParquetMetaData,
    group: usize,
    column: usize,
    window: &Arc<Window>,
    date: Date,
    counts: &mut Minutes,
) -> Result<(), String> {
    let Some(group) = meta.row_groups().get(group) else {
        return Ok(());
    };
    let Some(chunk) = group.columns().get(column) else {
        return Ok(());
    };
    let rows = usize::try_from(group.num_rows()).unwrap_or(0);
    let pages = SerializedPageReader::new(Arc::clone(window), chunk, rows, None)
        .map_err(|error| error.to_string())?;
    let ColumnReader::Int64ColumnReader(mut reader) =
        get_column_reader(chunk.column_descr_ptr(), Box::new(pages))
    else {
        return Err(format!("{TS_EVENT} is not a column of 64-bit integers"));
    };
    let (mut values, mut levels) = (Vec::with_capacity(AT_A_TIME), Vec::with_capacity(AT_A_TIME));
    loop {
        values.clear();
        levels.clear();
        let (records, _, _) = reader
            .read_records(AT_A_TIME, Some(&mut levels), None, &mut values)
            .map_err(|error| error.to_string())?;
        if records == 0 {
            return Ok(());
        }
        for value in &values {
            if let Some(ns) = Unit::of(*value).and_then(|unit| unit.to_ns(*value)) {
                counts.count(ns - date.start_ns());
            }
        }
    }
}
