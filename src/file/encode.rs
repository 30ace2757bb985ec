//! Encodes a day's rows into one Parquet file, columns side by side, so that the bytes depend on the rows alone.
//!
//! Rows are cut into chunks of [`CHUNK_ROWS`] and row groups of [`GROUP_ROWS`] wherever the merge's batches ended; no
//! setting reaches these figures. Integers are delta-encoded, prices and sizes go through dictionaries. Refuses to make
//! anything durable: that is the atomic write's part.

use std::{collections::HashMap, fmt, fs::File, io::BufWriter, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::BatchCoalescer,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    },
    basic::{Compression, Encoding, ZstdLevel},
    column::writer::ColumnCloseResult,
    errors::ParquetError,
    file::{
        metadata::{KeyValue, RowGroupMetaDataPtr, SortingColumn},
        properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr},
        writer::SerializedFileWriter,
    },
    schema::types::ColumnPath,
};
use tokio::{sync::Semaphore, task::JoinHandle};

use super::shape::{Column, Shape};
use crate::{
    error::{Error, Kind, Result},
    model::{
        row_hash::{FOOTER_KEY, RowHash, RowSums, VERSION_KEY},
        schema::SEQ,
        time::Unit,
    },
    storage::trail::Summed,
};

/// Rows that are encoded at a time; pages end where chunks do.
pub const CHUNK_ROWS: usize = 8192;
/// Rows of a row group. With 8 bytes a row and column it is 2 MB of each before encoding: small enough that a reader of
/// an hour reads little else, large enough that a dictionary pays.
pub const GROUP_ROWS: usize = 32 * CHUNK_ROWS;
/// A row group of at most these is encoded by one thread.
const FEW_ROWS: usize = 4 * CHUNK_ROWS;
/// A row group of wide rows ends earlier, at this many bytes of values.
const GROUP_BYTES: usize = 24 << 20;
/// Of delta-encoded integers. On ten million quotes level 2 makes `ts_event` 12 % smaller than level 1 at the same cost;
/// level 5 makes it another 6 % smaller at twice the cost, and the clock's noise in `ts_recv` is the same at every level.
const DELTA_LEVEL: i32 = 2;
/// Of all other columns. Indices of prices and sizes are 4 to 9 % smaller than at level 1, for an eighth of the run's CPU
/// time; level 5 gives another percent for as much again.
const OTHER_LEVEL: i32 = 4;
/// The version of the writer in every footer; another version may give other bytes for the same rows.
pub const WRITER: &str = concat!("qlc version ", env!("CARGO_PKG_VERSION"));
/// The key under which the footer says that time columns were brought to one unit.
pub const UNIT_KEY: &str = "qlc.time_unit";
/// The key under which the footer says which level of zstd was asked for, if one was.
pub const LEVEL_KEY: &str = "qlc.zstd_level";

/// What the caller settles; everything else follows from the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// The unit that time columns were brought to, where the sources differed in it.
    pub brought_to: Option<Unit>,
    /// The level of zstd for all columns, 1 to 22; without it each kind of column has the one that was measured best.
    pub zstd_level: Option<i32>,
    /// How many columns are encoded at a time; the bytes do not depend on it.
    pub cores: usize,
}

/// A row group whose bytes the system has, though perhaps not yet the disk.
#[derive(Debug, Clone)]
pub struct Appended {
    /// What the footer will say of it, but for its page indexes.
    pub group: RowGroupMetaDataPtr,
    /// Where it ends in the file.
    pub end: u64,
    /// The checksum of the file up to there, made before the bytes were handed to the system.
    pub sum: u64,
}

/// Gives the row hash of all rows, after the last one.
pub type GivesHash = Box<dyn FnOnce() -> Result<RowHash> + Send>;

/// What goes on beside the encoding.
pub struct Beside {
    /// Whoever knows the row hash of the rows; without it, it is computed as they are encoded.
    pub row_hash: Option<GivesHash>,
    /// Told of every row group.
    pub appended: Box<dyn FnMut(Appended) + Send>,
}

impl Beside {
    /// Nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self { row_hash: None, appended: Box::new(|_| {}) }
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").field("knows the row hash", &self.row_hash.is_some()).finish_non_exhaustive()
    }
}

/// What was encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// Rows.
    pub rows: u64,
    /// Their row hash over all columns.
    pub row_hash: RowHash,
    /// The checksum of the file, made before its bytes were handed to the system.
    pub sum: u64,
}

/// Writes `rows` (the carried columns, in their final order) with all columns to the empty file at `path`.
///
/// # Errors
/// When the rows end in an error, or the disk refuses.
pub async fn encode(
    mut rows: impl Stream<Item = Result<RecordBatch>> + Unpin + Send,
    shape: &Arc<Shape>,
    manner: Manner,
    beside: Beside,
    path: &Path,
) -> Result<Encoded> {
    let mut file = OutFile::create(shape, manner, beside, path)?;
    let permits = Arc::new(Semaphore::new(manner.cores.max(1)));
    let mut coalescer = BatchCoalescer::new(Arc::clone(&shape.carried), CHUNK_ROWS);
    let mut group: Vec<RecordBatch> = Vec::new();
    let mut bytes = 0;
    let mut under_way: Option<Group> = None;
    let internal = |e| Error::caused(Kind::Internal, "cutting rows into chunks", e);
    loop {
        let next = rows.try_next().await?;
        let ended = next.is_none();
        match next {
            Some(batch) => coalescer.push_batch(batch).map_err(internal)?,
            None => coalescer.finish_buffered_batch().map_err(internal)?,
        }
        while let Some(chunk) = coalescer.next_completed_batch() {
            bytes += value_bytes(&chunk) + constant_bytes(shape) * chunk.num_rows();
            group.push(chunk);
            if group.len() * CHUNK_ROWS >= GROUP_ROWS || bytes >= GROUP_BYTES {
                file.finish(under_way.take()).await?;
                under_way = Some(file.begin(std::mem::take(&mut group), &permits)?);
                bytes = 0;
            }
        }
        if ended {
            break;
        }
    }
    file.finish(under_way.take()).await?;
    if !group.is_empty() {
        let last = file.begin(group, &permits)?;
        file.finish(Some(last)).await?;
    }
    file.close()
}

/// Bytes of a chunk's values, counted by their logical length so that it does not depend on buffers.
fn value_bytes(chunk: &RecordBatch) -> usize {
    use arrow::array::{Array, AsArray};
    chunk
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8 => {
                let text = column.as_string::<i32>();
                let ends = text.value_offsets();
                ends.last().zip(ends.first()).map_or(0, |(e, s)| usize::try_from(e - s).unwrap_or(0))
            }
            other => other
                .primitive_width()
                .map_or_else(|| column.to_data().get_slice_memory_size().unwrap_or(0), |width| width * column.len()),
        })
        .sum()
}

/// Bytes of the values that a row has in its constant columns: they count as if they travelled with it.
fn constant_bytes(shape: &Shape) -> usize {
    use arrow::array::{Array, AsArray};
    let constants = shape.columns.iter().filter_map(|c| if let Column::Constant(one) = c { Some(one) } else { None });
    constants
        .map(|one| match one.as_string_opt::<i32>() {
            Some(text) => {
                if text.is_valid(0) {
                    text.value(0).len()
                } else {
                    0
                }
            }
            None => one.data_type().primitive_width().unwrap_or(0),
        })
        .sum()
}

/// The file under way.
struct OutFile {
    shape: Arc<Shape>,
    manner: Manner,
    writer: SerializedFileWriter<Summed<BufWriter<File>>>,
    factory: ArrowRowGroupWriterFactory,
    properties: WriterPropertiesPtr,
    shown: String,
    groups: usize,
    rows: u64,
    row_hash: RowHash,
    beside: Beside,
    constants: Constants,
}

/// A row group whose columns are being encoded.
struct Group {
    /// What is known of each column before it is encoded: the constants.
    columns: Vec<Option<Arc<EncodedConstant>>>,
    /// The other columns in their order, each in some pieces (a nested column has several), some columns to a task.
    under_way: Vec<JoinHandle<Result<Vec<Vec<ArrowColumnChunk>>>>>,
    /// Its row hash, where nobody else knows it.
    hash: Option<JoinHandle<Result<RowHash>>>,
    rows: usize,
}

/// A column on its way into a row group.
struct Carried {
    field: Arc<Field>,
    /// Where it is in the chunks.
    at: usize,
    leaves: Vec<ArrowColumnWriter>,
}

impl Carried {
    /// Encodes the column on the thread that asks, which others may want in between. Threads of their own would each keep
    /// memory that the allocator does not give back.
    async fn encode(mut self, chunks: &[RecordBatch]) -> Result<Vec<ArrowColumnChunk>> {
        for chunk in chunks {
            write_leaves(&self.field, chunk.column(self.at), &mut self.leaves)?;
            tokio::task::yield_now().await;
        }
        close_all(self.leaves)
    }
}

impl OutFile {
    fn create(shape: &Arc<Shape>, manner: Manner, beside: Beside, path: &Path) -> Result<Self> {
        let file = File::options()
            .write(true)
            .open(path)
            .map_err(|e| Error::io(format!("{}: cannot be written", path.display()), e))?;
        let properties = properties(&shape.schema, manner.zstd_level)?;
        let descriptor = ArrowSchemaConverter::new().convert(&shape.schema).map_err(parquet_error)?;
        let writer = SerializedFileWriter::new(
            Summed::new(BufWriter::with_capacity(1 << 18, file)),
            descriptor.root_schema_ptr(),
            Arc::clone(&properties),
        )
        .map_err(parquet_error)?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(&shape.schema));
        Ok(Self {
            shape: Arc::clone(shape),
            manner,
            writer,
            factory,
            properties,
            shown: path.display().to_string(),
            groups: 0,
            rows: 0,
            row_hash: RowHash::EMPTY,
            beside,
            constants: Constants::default(),
        })
    }

    /// Begins to encode a row group; its columns are encoded as cores come free.
    fn begin(&mut self, chunks: Vec<RecordBatch>, permits: &Arc<Semaphore>) -> Result<Group> {
        let rows: usize = chunks.iter().map(RecordBatch::num_rows).sum();
        let writers = self.factory.create_column_writers(self.groups).map_err(parquet_error)?;
        let mut writers = writers.into_iter().enumerate().peekable();
        self.groups += 1;
        let chunks = Arc::new(chunks);
        let mut columns = Vec::with_capacity(self.shape.columns.len());
        let mut carried = Vec::new();
        for (nth, (field, column)) in self.shape.schema.fields().iter().zip(&self.shape.columns).enumerate() {
            let descriptor = self.writer.schema_descr();
            let mut leaves: Vec<ArrowColumnWriter> = Vec::new();
            while let Some((_, writer)) = writers.next_if(|(leaf, _)| descriptor.get_column_root_idx(*leaf) == nth) {
                leaves.push(writer);
            }
            columns.push(match column {
                Column::Carried(at) => {
                    carried.push(Carried { field: Arc::clone(field), at: *at, leaves });
                    None
                }
                Column::Constant(one) => Some(self.constants.get((nth, rows), one, field, &self.properties)?),
            });
        }
        // For few rows, handing columns to other threads costs more than encoding them.
        let at_a_time = if rows <= FEW_ROWS { carried.len().max(1) } else { 1 };
        let mut carried = carried.into_iter();
        let mut under_way = Vec::new();
        loop {
            let several: Vec<Carried> = carried.by_ref().take(at_a_time).collect();
            if several.is_empty() {
                break;
            }
            let (chunks, permits) = (Arc::clone(&chunks), Arc::clone(permits));
            under_way.push(tokio::spawn(async move {
                let _permit = permits.acquire_owned().await;
                let mut encoded = Vec::with_capacity(several.len());
                for column in several {
                    encoded.push(column.encode(&chunks).await?);
                }
                Ok(encoded)
            }));
        }
        let shape = Arc::clone(&self.shape);
        let hash = || tokio::spawn(async move { row_hash(&shape, &chunks).await });
        let hash = self.beside.row_hash.is_none().then(hash);
        Ok(Group { columns, under_way, hash, rows })
    }

    /// Waits for a row group and puts it into the file.
    async fn finish(&mut self, group: Option<Group>) -> Result<()> {
        let Some(group) = group else { return Ok(()) };
        let mut encoded = Vec::with_capacity(group.columns.len());
        for task in group.under_way {
            encoded.extend(task.await.map_err(lost_task)??);
        }
        let mut encoded = encoded.into_iter();
        if let Some(hash) = group.hash {
            self.row_hash = self.row_hash.and(hash.await.map_err(lost_task)??);
        }
        self.rows += group.rows as u64;
        let shown = self.shown.clone();
        let disk = |e: ParquetError| disk_error(&shown, e);
        let mut writer = self.writer.next_row_group().map_err(disk)?;
        for known in group.columns {
            match known {
                None => {
                    for chunk in encoded.next().unwrap_or_default() {
                        chunk.append_to_row_group(&mut writer).map_err(disk)?;
                    }
                }
                Some(constant) => writer.append_column(&constant.bytes, constant.close.clone()).map_err(disk)?,
            }
        }
        let group = writer.close().map_err(disk)?;
        self.writer.flush().map_err(|e| disk(e.into()))?;
        let (end, sum) = (self.writer.bytes_written() as u64, self.writer.inner().sum());
        (self.beside.appended)(Appended { group, end, sum });
        Ok(())
    }

    fn close(mut self) -> Result<Encoded> {
        let pair = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
        if let Some(known) = self.beside.row_hash.take() {
            self.row_hash = known()?;
        }
        self.writer.append_key_value_metadata(pair(FOOTER_KEY, self.row_hash.to_string()));
        self.writer.append_key_value_metadata(pair(VERSION_KEY, env!("CARGO_PKG_VERSION").to_owned()));
        if let Some(unit) = self.manner.brought_to {
            self.writer.append_key_value_metadata(pair(UNIT_KEY, unit.to_string()));
        }
        if let Some(level) = self.manner.zstd_level {
            self.writer.append_key_value_metadata(pair(LEVEL_KEY, level.to_string()));
        }
        let _ = self.writer.finish().map_err(|e| disk_error(&self.shown, e))?;
        self.writer.flush().map_err(|e| disk_error(&self.shown, e.into()))?;
        Ok(Encoded { rows: self.rows, row_hash: self.row_hash, sum: self.writer.inner().sum() })
    }
}

/// Columns of one value, encoded once for each number of rows that a row group has.
#[derive(Default)]
struct Constants {
    known: HashMap<(usize, usize), Arc<EncodedConstant>>,
}

struct EncodedConstant {
    /// A Parquet file in memory with this column only.
    bytes: Bytes,
    close: ColumnCloseResult,
}

impl Constants {
    fn get(
        &mut self,
        (nth, rows): (usize, usize),
        one: &ArrayRef,
        field: &Arc<Field>,
        properties: &WriterPropertiesPtr,
    ) -> Result<Arc<EncodedConstant>> {
        if let Some(known) = self.known.get(&(nth, rows)) {
            return Ok(Arc::clone(known));
        }
        let schema: SchemaRef = Arc::new(Schema::new(vec![Arc::clone(field)]));
        let descriptor = ArrowSchemaConverter::new().convert(&schema).map_err(parquet_error)?;
        let mut writer = SerializedFileWriter::new(Vec::new(), descriptor.root_schema_ptr(), Arc::clone(properties))
            .map_err(parquet_error)?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, schema);
        let mut leaves = factory.create_column_writers(0).map_err(parquet_error)?;
        let mut left = rows;
        while left > 0 {
            let now = left.min(CHUNK_ROWS);
            let chunk = arrow::compute::take(one, &arrow::array::UInt32Array::from_value(0, now), None)
                .map_err(|e| Error::caused(Kind::Internal, "repeating a constant", e))?;
            write_leaves(field, &chunk, &mut leaves)?;
            left -= now;
        }
        let mut chunks = close_all(leaves)?;
        let (Some(chunk), true) = (chunks.pop(), chunks.is_empty()) else {
            return Err(Error::new(Kind::Internal, "a constant column has one leaf"));
        };
        let mut group = writer.next_row_group().map_err(parquet_error)?;
        chunk.append_to_row_group(&mut group).map_err(parquet_error)?;
        let meta = group.close().map_err(parquet_error)?;
        let file = writer.finish().map_err(parquet_error)?;
        let column = meta.columns().first().ok_or_else(|| Error::new(Kind::Internal, "a column just written"))?;
        let close = ColumnCloseResult {
            bytes_written: u64::try_from(column.compressed_size()).unwrap_or(0),
            rows_written: rows as u64,
            metadata: column.clone(),
            bloom_filter: None,
            column_index: file.column_index().and_then(|i| i.first()?.first().cloned()),
            offset_index: file.offset_index().and_then(|i| i.first()?.first().cloned()),
        };
        let bytes = Bytes::copy_from_slice(writer.inner());
        let constant = Arc::new(EncodedConstant { bytes, close });
        let _ = self.known.insert((nth, rows), Arc::clone(&constant));
        Ok(constant)
    }
}

fn write_leaves(field: &Field, array: &ArrayRef, writers: &mut [ArrowColumnWriter]) -> Result<()> {
    for (leaf, writer) in compute_leaves(field, array).map_err(parquet_error)?.iter().zip(writers) {
        writer.write(leaf).map_err(parquet_error)?;
    }
    Ok(())
}

fn close_all(writers: Vec<ArrowColumnWriter>) -> Result<Vec<ArrowColumnChunk>> {
    writers.into_iter().map(|w| w.close().map_err(parquet_error)).collect()
}

async fn row_hash(shape: &Shape, chunks: &[RecordBatch]) -> Result<RowHash> {
    let mut sums = RowSums::default();
    let mut hash = RowHash::EMPTY;
    for chunk in chunks {
        sums.begin(chunk.num_rows());
        for (field, column) in shape.schema.fields().iter().zip(&shape.columns) {
            match column {
                Column::Carried(at) => sums.add(field.name(), chunk.column(*at))?,
                Column::Constant(one) => sums.add_constant(field.name(), one)?,
            }
        }
        hash = hash.and(sums.hash());
        tokio::task::yield_now().await;
    }
    Ok(hash)
}

/// How the columns of `schema` are written, with `zstd_level` for all columns or the level of each kind.
///
/// # Errors
/// When there is no such level.
pub fn properties(schema: &Schema, zstd_level: Option<i32>) -> Result<WriterPropertiesPtr> {
    let zstd = |default: i32| -> Result<Compression> {
        Ok(Compression::ZSTD(ZstdLevel::try_new(zstd_level.unwrap_or(default)).map_err(parquet_error)?))
    };
    let order = [crate::model::schema::TS_EVENT, SEQ].iter().filter_map(|name| {
        let column_idx = i32::try_from(schema.index_of(name).ok()?).ok()?;
        Some(SortingColumn { column_idx, descending: false, nulls_first: true })
    });
    let mut properties = WriterProperties::builder()
        .set_created_by(WRITER.to_owned())
        .set_compression(zstd(OTHER_LEVEL)?)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(None)
        .set_sorting_columns(Some(order.collect()));
    for field in schema.fields() {
        if field.data_type() == &DataType::Int64 {
            let column = ColumnPath::from(field.name().as_str());
            properties = properties
                .set_column_compression(column.clone(), zstd(DELTA_LEVEL)?)
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(Arc::new(properties.build()))
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn lost_task(e: tokio::task::JoinError) -> Error {
    Error::new(Kind::Internal, format!("an encoder ended early: {e}"))
}

/// A disk's refusal is the operator's to mend; everything else that can go wrong here is a defect.
fn disk_error(shown: &str, e: ParquetError) -> Error {
    match e {
        ParquetError::External(source) if source.is::<std::io::Error>() => {
            Error::io(format!("{shown}: cannot be written; is the disk full?"), source)
        }
        other => parquet_error(other),
    }
}

fn parquet_error(e: ParquetError) -> Error {
    Error::caused(Kind::Internal, "encoding Parquet", e)
}
