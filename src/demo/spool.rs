//! The bytes of spool files: sealed ones as the collector writes them, older ones, and damaged
//! ones. `sample` decides where each is put.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Field, Int64Type, Schema},
};
use bytes::Bytes;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::{KeyValue, ParquetMetaDataReader, RowGroupMetaData, SortingColumn},
        properties::WriterProperties,
    },
};

use super::market::not_made;
use crate::{
    error::{Error, Kind, Result},
    model::{row_hash, schema, time::Unit},
};

/// What a zstd frame begins with.
const ZSTD_MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// A file as the collector seals it: zstd, its order declared, the row hash of its rows in the
/// footer.
pub(super) fn sealed(rows: &RecordBatch) -> Result<Vec<u8>> {
    let by = |column_idx| SortingColumn {
        column_idx,
        descending: false,
        nulls_first: false,
    };
    let hash = row_hash::of_batch(rows)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_sorting_columns(Some(vec![by(0), by(1)]))
        .set_key_value_metadata(Some(vec![KeyValue::new(
            row_hash::FOOTER_KEY.to_owned(),
            hash.to_string(),
        )]))
        .build();
    bytes_of(rows, properties)
}

/// A file as an older collector left it: version 1 without `seq`, times in milliseconds, strings as
/// dictionaries, snappy, no order declared.
pub(super) fn legacy(rows: &RecordBatch) -> Result<Vec<u8>> {
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let older: ArrayRef = match field.data_type() {
            _ if field.name() == schema::SEQ
                || schema::SINCE_2.contains(&field.name().as_str()) =>
            {
                continue;
            }
            DataType::Int8 if field.name() == "stream_version" => {
                Arc::new(Int8Array::from_value(1, rows.num_rows()))
            }
            DataType::Int64 if schema::TIME_COLUMNS.contains(&field.name().as_str()) => {
                let ns = column.as_primitive::<Int64Type>();
                Arc::new(ns.unary::<_, Int64Type>(|t| t / Unit::Milli.ns()) as Int64Array)
            }
            DataType::Utf8 => {
                let keyed =
                    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
                cast(column, &keyed).map_err(not_made)?
            }
            _ => Arc::clone(column),
        };
        fields.push(Field::new(field.name(), older.data_type().clone(), true));
        columns.push(older);
    }
    let older = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(not_made)?;
    bytes_of(
        &older,
        WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build(),
    )
}

/// Damages the first data page of `column` in a file that [`sealed`] made, as a bad sector would:
/// the footer stays readable, the page does not decompress.
pub(super) fn damage(file: &mut [u8], column: &str) -> Result<()> {
    let lost = || {
        Error::new(
            Kind::Internal,
            format!("the sample's file has no zstd page of {column} to be damaged"),
        )
    };
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&Bytes::copy_from_slice(file))
        .map_err(|e| not_written(&e))?;
    let chunk = metadata
        .row_groups()
        .iter()
        .flat_map(RowGroupMetaData::columns)
        .find(|chunk| chunk.column_path().string() == column)
        .ok_or_else(lost)?;
    let from = usize::try_from(chunk.data_page_offset()).map_err(|_| lost())?;
    let rest = file.get_mut(from..).ok_or_else(lost)?;
    // The page's header comes first; its data begins where the frame does. Without its magic number
    // no decoder takes it.
    let frame = rest
        .windows(ZSTD_MAGIC.len())
        .position(|w| w == ZSTD_MAGIC)
        .ok_or_else(lost)?;
    for byte in rest.iter_mut().skip(frame).take(64) {
        *byte ^= 0xa5;
    }
    Ok(())
}

fn bytes_of(rows: &RecordBatch, properties: WriterProperties) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, rows.schema(), Some(properties))
        .map_err(|e| not_written(&e))?;
    writer.write(rows).map_err(|e| not_written(&e))?;
    let _ = writer.close().map_err(|e| not_written(&e))?;
    Ok(file)
}

fn not_written(error: &ParquetError) -> Error {
    Error::new(
        Kind::Internal,
        format!("the sample's Parquet file could not be made: {error}"),
    )
}
