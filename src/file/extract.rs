//! Copies out of a spool file the rows that have no permitted day, as they are, into a file of
//! their own.
//!
//! Which rows these are is decided by the checker.

use std::{fs::File, path::Path, sync::Arc};

use arrow::{
    array::{AsArray, BooleanArray},
    compute::{cast, filter_record_batch},
    datatypes::{DataType, Int64Type},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use super::{claims::Claims, fault::Problem, probe::probe, reader::Handle, tally::RowTally};
use crate::{
    error::{Error, Kind},
    model::{
        date::{Date, permitted_day},
        row_hash::RowHash,
        schema::TS_EVENT,
    },
    storage::store::{Object, Store},
};

/// A row group ends when it takes so many bytes of memory while it is encoded.
const GROUP_BYTES: usize = 16 << 20;

/// Writes the rows of the file that have no permitted day to the empty file at `path`; returns
/// their number and hash.
///
/// # Errors
/// When the file cannot be read or the rows cannot be written.
pub async fn far_rows(
    handle: &Handle,
    claims: &Claims,
    home: Option<Date>,
    path: &Path,
) -> Result<(u64, RowHash), Problem> {
    let disk = |e: parquet::errors::ParquetError| {
        Problem::Storage(Error::io(
            format!("{}: cannot be written", path.display()),
            e,
        ))
    };
    let internal = |e| {
        Problem::Storage(Error::caused(
            Kind::Internal,
            "taking rows out of a file",
            e,
        ))
    };
    let mut rows = handle.rows(claims, 8192, &[]).await?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).map_err(disk)?))
        .build();
    let file = File::options().write(true).open(path);
    let file = file.map_err(|e| {
        Problem::Storage(Error::io(
            format!("{}: cannot be written", path.display()),
            e,
        ))
    })?;
    let mut writer =
        ArrowWriter::try_new(file, Arc::clone(rows.schema()), Some(properties)).map_err(disk)?;
    let mut written = RowTally::default();
    while let Some(batch) = rows.next().await? {
        let Some(column) = batch.column_by_name(TS_EVENT) else {
            continue;
        };
        let ts = cast(column, &DataType::Int64).map_err(internal)?;
        let ts = ts.as_primitive::<Int64Type>();
        let far: BooleanArray = ts
            .iter()
            .map(|t| Some(permitted_day(t, home).is_none()))
            .collect();
        let far = filter_record_batch(&batch, &far).map_err(internal)?;
        written.take(&far)?;
        writer.write(&far).map_err(disk)?;
        if writer.memory_size() > GROUP_BYTES {
            writer.flush().map_err(disk)?;
        }
    }
    let _ = writer.close().map_err(disk)?;
    Ok((written.rows, written.row_hash))
}

/// The rows of the local file at `path` and their hash.
///
/// # Errors
/// When it cannot be read to its end.
pub async fn count(path: &Path) -> Result<(u64, RowHash), Problem> {
    let size = std::fs::metadata(path)
        .map_err(|e| {
            Problem::Storage(Error::io(
                format!("{}: cannot be read back", path.display()),
                e,
            ))
        })?
        .len();
    let store = Store::open(&path.parent().unwrap_or(path).display().to_string())?;
    let key = path
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default()
        .to_owned();
    count_of(&Handle::new(
        &store,
        &Object {
            key,
            size,
            modified_us: 0,
            tag: None,
        },
    ))
    .await
}

/// The same of an object of a store; `None` where it is none, or does not read.
pub async fn count_in(store: &Store, key: &str) -> Option<(u64, RowHash)> {
    let object = store.head(key).await.ok()??;
    count_of(&Handle::new(store, &object)).await.ok()
}

async fn count_of(handle: &Handle) -> Result<(u64, RowHash), Problem> {
    let claims = probe(handle).await?;
    let all = RowTally::of_file(handle, &claims, |_, _| Ok(())).await?;
    Ok((all.rows, all.row_hash))
}
