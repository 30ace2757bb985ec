//! Decodes a row group of more columns than may be open at a time: some columns after the other,
//! each piece into a file without a name, and then the rows of all pieces side by side.
//!
//! A column that is being decoded holds its dictionary and a page. Of hundreds of columns that is
//! more than all else takes; what is decoded lies on the disk until its rows are asked for. Refuses
//! to read a piece with other rows than the others.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Seek, Write},
    ops::Range,
    sync::Arc,
};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::fault::shielded;
use crate::{
    error::{Error, Kind},
    storage::scratch,
};

/// Bytes that are read at a time besides those of a batch.
const READ_BYTES: usize = 8 << 10;
/// Bytes that are written at a time.
const WRITE_BYTES: usize = 256 << 10;

/// Why a row group could not be decoded.
#[derive(Debug)]
pub(super) enum Unread {
    /// The decoder says so.
    Decoding(String),
    /// What was decoded could not be put down.
    Disk(Error),
}

/// The rows of a row group whose columns were decoded one piece after the other.
pub(super) struct Pieces {
    schema: SchemaRef,
    pieces: Vec<StreamReader<BufReader<File>>>,
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pieces")
            .field("pieces", &self.pieces.len())
            .finish_non_exhaustive()
    }
}

/// Decodes `pieces`, ranges of the columns of `schema`, with the readers that `build` makes for
/// each.
pub(super) async fn decode(
    schema: &SchemaRef,
    pieces: &[Range<usize>],
    build: &(dyn Fn(Range<usize>) -> parquet::errors::Result<ParquetRecordBatchReader> + Sync),
) -> Result<Pieces, Unread> {
    let mut decoded = Vec::with_capacity(pieces.len());
    // The rows of each batch, which are those of every piece.
    let mut lengths: Option<Vec<usize>> = None;
    for piece in pieces {
        let mut reader = decoding(shielded(|| build(piece.clone())))?;
        let columns: Vec<usize> = piece.clone().collect();
        let schema = Arc::new(
            schema
                .project(&columns)
                .map_err(|e| Unread::Decoding(e.to_string()))?,
        );
        let file = scratch::unnamed().map_err(Unread::Disk)?;
        let mut writer =
            StreamWriter::try_new(BufWriter::with_capacity(WRITE_BYTES, file), &schema)
                .map_err(disk)?;
        let mut here = Vec::new();
        loop {
            // Decoding waits for nothing, and whoever asks to stop must be heard.
            tokio::task::coop::consume_budget().await;
            let Some(batch) = decoding(shielded(|| reader.next().transpose()))? else {
                break;
            };
            here.push(batch.num_rows());
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let batch = RecordBatch::try_new_with_options(
                Arc::clone(&schema),
                batch.columns().to_vec(),
                &options,
            );
            writer
                .write(&batch.map_err(|e| Unread::Decoding(e.to_string()))?)
                .map_err(disk)?;
        }
        if lengths.as_ref().is_some_and(|lengths| *lengths != here) {
            return Err(Unread::Decoding(
                "its columns do not have the same number of rows".to_owned(),
            ));
        }
        lengths = Some(here);
        writer.finish().map_err(disk)?;
        let mut buffer = writer.into_inner().map_err(disk)?;
        buffer.flush().map_err(|e| disk(e.into()))?;
        let mut file = buffer
            .into_inner()
            .map_err(|e| disk(e.into_error().into()))?;
        file.rewind().map_err(|e| disk(e.into()))?;
        decoded.push(
            StreamReader::try_new(BufReader::with_capacity(READ_BYTES, file), None)
                .map_err(disk)?,
        );
    }
    Ok(Pieces {
        schema: Arc::clone(schema),
        pieces: decoded,
    })
}

impl Pieces {
    /// The next rows, or `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        let (mut rows, mut ended) = (None, 0);
        for piece in &mut self.pieces {
            match piece.next().transpose().map_err(unread)? {
                None => ended += 1,
                Some(batch) => {
                    rows = rows.or(Some(batch.num_rows()));
                    columns.extend_from_slice(batch.columns());
                }
            }
        }
        let Some(rows) = rows else { return Ok(None) };
        if ended > 0 {
            return Err(Error::new(
                Kind::Internal,
                "some columns of a row group ended before others",
            ));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map(Some)
            .map_err(unread)
    }
}

/// What decoding came to, a panic of the decoder included.
fn decoding<T, E: std::fmt::Display>(result: Result<Result<T, E>, String>) -> Result<T, Unread> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(Unread::Decoding(e.to_string())),
        Err(panic) => Err(Unread::Decoding(format!("the reader panicked: {panic}"))),
    }
}

fn disk(error: ArrowError) -> Unread {
    Unread::Disk(match error {
        ArrowError::IoError(_, e) => Error::io(
            "decoded columns cannot be put into a temporary file; make room",
            e,
        ),
        other => Error::caused(
            Kind::Internal,
            "putting decoded columns into a temporary file",
            other,
        ),
    })
}

fn unread(error: ArrowError) -> Error {
    Error::caused(
        Kind::Io,
        "decoded columns cannot be read from a temporary file",
        error,
    )
}
