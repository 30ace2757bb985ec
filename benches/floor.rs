//! The floor: every column of a symbol's files decoded, and encoded again with qlc's settings on
//! all cores. No order, no row hash, no read-back, no fsync. What qlc needs beyond it is what
//! order, proof and durability cost.
//!
//! `floor FOLDER TARGET [--threads N] [--carried]`; `--carried` leaves out the columns that have
//! one value throughout, which qlc encodes once. Measured as a process by `benches/run`; without
//! arguments it does nothing.

#[path = "support/encode.rs"]
mod encode;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use encode::{Asked, Outcome, encode};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
};
use qlc::file::encode::CHUNK_ROWS;

/// The columns that have one value in every row of a symbol.
const CONSTANTS: [&str; 4] = ["exchange", "symbol", "stream", "stream_version"];

fn main() -> Outcome<()> {
    let Some((asked, flags)) = Asked::read()? else {
        return Ok(());
    };
    let carried = match flags.as_slice() {
        [] => false,
        [flag] if flag == "--carried" => true,
        _ => return Err("the only flags are --threads and --carried".into()),
    };
    let files = files(&asked.folder)?;
    let first = files.first().ok_or("the folder has no files")?;
    let schema: SchemaRef = open(first, carried)?.0;
    let rows = files.iter().flat_map(move |path| batches(path, carried));
    match encode(rows, &schema, &asked.target, asked.threads)? {
        0 => Err("the files have no rows".into()),
        _ => Ok(()),
    }
}

/// The files of the folder, by name.
fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Outcome<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "parquet"));
    files.sort();
    Ok(files)
}

fn open(path: &Path, carried: bool) -> Outcome<(SchemaRef, ParquetRecordBatchReader)> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(path)?, options)?;
    let names = builder
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().as_str());
    let wanted: Vec<&str> = names
        .filter(|name| !carried || !CONSTANTS.contains(name))
        .collect();
    let mask = ProjectionMask::columns(builder.parquet_schema(), wanted.iter().copied());
    let schema = builder.schema().project(
        &wanted
            .iter()
            .map(|name| builder.schema().index_of(name))
            .collect::<Result<Vec<_>, _>>()?,
    )?;
    Ok((
        schema.into(),
        builder
            .with_projection(mask)
            .with_batch_size(CHUNK_ROWS)
            .build()?,
    ))
}

/// The batches of a file, or why there are none.
fn batches(path: &Path, carried: bool) -> Box<dyn Iterator<Item = Outcome<RecordBatch>> + Send> {
    match open(path, carried) {
        Ok((_, reader)) => Box::new(reader.map(|batch| Ok(batch?))),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}
