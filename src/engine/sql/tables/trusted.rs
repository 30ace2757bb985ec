//! Which statistics a scan may skip rows by: those of files that qlc wrote, but none of floats.
//!
//! A statement must give what its conditions say of each row. Statistics of another writer were
//! never checked against its rows, and those of floats leave out rows that are not a number, which
//! are unequal to everything and, in the order of floats, above everything. So a scan sees footers
//! without these statistics; nothing else of a footer is changed.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use datafusion::{
    datasource::{listing::PartitionedFile, physical_plan::parquet::ParquetFileReaderFactory},
    error::Result,
    physical_plan::metrics::ExecutionPlanMetricsSet,
};
use futures::{FutureExt, future::BoxFuture};
use parquet::{
    arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
    basic::{LogicalType, Type},
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData},
        page_index::column_index::ColumnIndexMetaData,
    },
    schema::types::ColumnDescriptor,
};

use super::guard::Guarded;

/// What the footers of qlc's files say of their writer.
const OURS: &str = "qlc version ";

/// Makes readers that show footers without the statistics that are not trusted.
#[derive(Debug)]
pub(super) struct TrustedFooters(pub(super) Guarded);

impl ParquetFileReaderFactory for TrustedFooters {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let inner = self
            .0
            .create_reader(partition_index, file, metadata_size_hint, metrics)?;
        Ok(Box::new(Reader(inner)))
    }
}

struct Reader(Box<dyn AsyncFileReader + Send>);

type Read<T> = std::result::Result<T, ParquetError>;

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Read<Bytes>> {
        self.0.get_bytes(range)
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Read<Vec<Bytes>>> {
        self.0.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Read<Arc<ParquetMetaData>>> {
        async move { trusted(self.0.get_metadata(options).await?) }.boxed()
    }
}

/// The footer without the statistics that are not trusted.
fn trusted(footer: Arc<ParquetMetaData>) -> Read<Arc<ParquetMetaData>> {
    let facts = footer.file_metadata();
    let is_ours = facts
        .created_by()
        .is_some_and(|writer| writer.starts_with(OURS));
    let kept: Vec<bool> = facts
        .schema_descr()
        .columns()
        .iter()
        .map(|column| is_ours && !is_float(column))
        .collect();
    if kept.iter().all(|kept| *kept) {
        return Ok(footer);
    }
    let mut builder = Arc::unwrap_or_clone(footer).into_builder();
    let groups = builder
        .take_row_groups()
        .into_iter()
        .map(|group| without(group, &kept));
    let groups = groups.collect::<Read<Vec<_>>>()?;
    let index = builder.take_column_index().map(|mut groups| {
        for columns in &mut groups {
            for (column, kept) in columns.iter_mut().zip(&kept) {
                if !kept {
                    *column = ColumnIndexMetaData::NONE;
                }
            }
        }
        groups
    });
    Ok(Arc::new(
        builder
            .set_row_groups(groups)
            .set_column_index(index)
            .build(),
    ))
}

fn without(group: RowGroupMetaData, kept: &[bool]) -> Read<RowGroupMetaData> {
    let mut builder = group.into_builder();
    let columns = builder
        .take_columns()
        .into_iter()
        .zip(kept)
        .map(
            |(column, kept)| {
                if *kept { Ok(column) } else { bare(column) }
            },
        );
    let columns = columns.collect::<Read<Vec<_>>>()?;
    builder.set_column_metadata(columns).build()
}

/// A column chunk without its statistics, page index and bloom filter.
fn bare(column: ColumnChunkMetaData) -> Read<ColumnChunkMetaData> {
    column
        .into_builder()
        .clear_statistics()
        .set_column_index_offset(None)
        .set_column_index_length(None)
        .set_bloom_filter_offset(None)
        .set_bloom_filter_length(None)
        .build()
}

fn is_float(column: &ColumnDescriptor) -> bool {
    matches!(column.physical_type(), Type::FLOAT | Type::DOUBLE)
        || matches!(column.logical_type_ref(), Some(LogicalType::Float16))
}
