//! Encodes a day's rows into one Parquet file, columns side by side, so that the bytes depend on
//! the rows alone.
//!
//! Rows are cut into chunks of [`CHUNK_ROWS`] and row groups of [`GROUP_ROWS`], wide rows sooner,
//! by the size of their values. Wherever the merge's batches ended, the cuts are the same; no
//! setting changes these figures. Integers are delta-encoded, as are texts that mostly differ;
//! prices and sizes go through dictionaries. The atomic write makes the file durable.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    fs::File,
    io::BufWriter,
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::BatchCoalescer,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{
            ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
        },
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

use super::{
    durations::{DURATIONS_KEY, noted_durations},
    shape::{Column, Shape},
};
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
/// Rows of a row group. With 8 bytes a row and column it is 2 MB of each before encoding: small
/// enough that a reader of an hour reads little else, large enough that a dictionary pays.
pub const GROUP_ROWS: usize = 32 * CHUNK_ROWS;
/// A row group of at most these is encoded by one thread.
const FEW_ROWS: usize = 4 * CHUNK_ROWS;
/// A row group of wide rows ends earlier, with the chunk that brings it to this many bytes of
/// values.
const GROUP_BYTES: usize = 24 << 20;
/// A chunk of very wide rows ends earlier, with the row that brings it to this many bytes of
/// values.
const CHUNK_BYTES: usize = 8 << 20;
/// What a value in a list counts for at least.
const LISTED_BYTES: usize = 8;
/// Of delta-encoded integers. On ten million quotes level 2 makes `ts_event` 12 % smaller than
/// level 1 at the same cost; level 5 makes it another 6 % smaller at twice the cost, and the
/// clock's noise in `ts_recv` is the same at every level.
const DELTA_LEVEL: i32 = 2;
/// Of all other columns. Indices of prices and sizes are 4 to 9 % smaller than at level 1, for an
/// eighth of the run's CPU time; level 5 gives another percent for as much again.
const OTHER_LEVEL: i32 = 4;
/// The version of the writer in every footer; another version may give other bytes for the same
/// rows.
pub const WRITER: &str = concat!("qlc version ", env!("CARGO_PKG_VERSION"));
/// The key under which the footer says that time columns were brought to one unit.
pub const UNIT_KEY: &str = "qlc.time_unit";
/// The key under which the footer says which level of zstd was asked for, if one was.
pub const LEVEL_KEY: &str = "qlc.zstd_level";

/// The revision of the rules by which columns get their encodings. 1: dictionaries for all but
/// integers. 2: [`Encoding::DELTA_BYTE_ARRAY`] for texts that mostly differ.
pub const ENCODING: u32 = 2;

/// What the caller settles; everything else follows from the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// The unit that time columns were brought to, where the sources differed in it.
    pub brought_to: Option<Unit>,
    /// The level of zstd for all columns, 1 to 22; without it each kind of column has the one that
    /// was measured best.
    pub zstd_level: Option<i32>,
    /// The revision of the encodings, [`ENCODING`] or one before it.
    pub encoding: u32,
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
        Self {
            row_hash: None,
            appended: Box::new(|_| {}),
        }
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside")
            .field("knows the row hash", &self.row_hash.is_some())
            .finish_non_exhaustive()
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

/// Writes `rows` (the carried columns, in their final order) with all columns to the empty file at
/// `path`.
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
    let mut cutter = Cutter::new(shape);
    let mut under_way: Option<Group> = None;
    loop {
        let next = rows.try_next().await?;
        let ended = next.is_none();
        let ready = match next {
            Some(batch) => cutter.take(&batch)?,
            None => cutter.finish()?.into_iter().collect(),
        };
        for group in ready {
            // A core is free when every column of the row group before has begun: it need not wait
            // for the last of them.
            let free = permits.acquire().await;
            drop(free);
            let next = file.begin(group, &permits)?;
            file.finish(under_way.replace(next)).await?;
        }
        if ended {
            break;
        }
    }
    file.finish(under_way.take()).await?;
    file.close()
}

/// Cuts a sequence of rows into chunks and row groups: where, follows from the rows alone.
struct Cutter {
    chunk: BatchCoalescer,
    chunk_rows: usize,
    chunk_bytes: usize,
    /// The finished chunks of the row group.
    group: Vec<RecordBatch>,
    group_rows: usize,
    group_bytes: usize,
    /// Bytes that each row has in constant columns: they count as if they travelled with it.
    constant_bytes: usize,
}

impl Cutter {
    fn new(shape: &Shape) -> Self {
        Self {
            chunk: BatchCoalescer::new(Arc::clone(&shape.carried), most_rows(shape)),
            chunk_rows: 0,
            chunk_bytes: 0,
            group: Vec::new(),
            group_rows: 0,
            group_bytes: 0,
            constant_bytes: constant_bytes(shape),
        }
    }

    /// Takes the next rows; gives the row groups that are complete with them.
    fn take(&mut self, batch: &RecordBatch) -> Result<Vec<Vec<RecordBatch>>> {
        let mut ready = Vec::new();
        let mut at = 0;
        while at < batch.num_rows() {
            let rows = (batch.num_rows() - at).min(CHUNK_ROWS - self.chunk_rows);
            let piece = self.fitting(batch.slice(at, rows));
            at += piece.num_rows();
            self.chunk_rows += piece.num_rows();
            self.chunk.push_batch(piece).map_err(cutting)?;
            if self.chunk_rows >= CHUNK_ROWS || self.chunk_bytes >= CHUNK_BYTES {
                ready.extend(self.end_chunk()?);
            }
        }
        Ok(ready)
    }

    /// The rest, as the last row group.
    fn finish(&mut self) -> Result<Option<Vec<RecordBatch>>> {
        let full = self.end_chunk()?;
        let rest = std::mem::take(&mut self.group);
        Ok(full.or(Some(rest)).filter(|group| !group.is_empty()))
    }

    /// The rows of `piece` that still belong to the chunk, which are counted.
    fn fitting(&mut self, piece: RecordBatch) -> RecordBatch {
        let constant = self.constant_bytes;
        let bytes: usize =
            piece.columns().iter().map(value_bytes).sum::<usize>() + constant * piece.num_rows();
        if self.chunk_bytes + bytes < CHUNK_BYTES {
            self.chunk_bytes += bytes;
            return piece;
        }
        let mut each = vec![constant; piece.num_rows()];
        for column in piece.columns() {
            for (all, bytes) in each.iter_mut().zip(row_bytes(column)) {
                *all += bytes;
            }
        }
        let mut rows = 0;
        for bytes in each {
            self.chunk_bytes += bytes;
            rows += 1;
            if self.chunk_bytes >= CHUNK_BYTES {
                break;
            }
        }
        piece.slice(0, rows)
    }

    /// Ends the chunk; gives the row group if it ends with it.
    fn end_chunk(&mut self) -> Result<Option<Vec<RecordBatch>>> {
        self.chunk.finish_buffered_batch().map_err(cutting)?;
        while let Some(chunk) = self.chunk.next_completed_batch() {
            self.group.push(chunk);
        }
        self.group_rows += std::mem::take(&mut self.chunk_rows);
        self.group_bytes += std::mem::take(&mut self.chunk_bytes);
        if self.group_rows + CHUNK_ROWS <= GROUP_ROWS && self.group_bytes < GROUP_BYTES {
            return Ok(None);
        }
        (self.group_rows, self.group_bytes) = (0, 0);
        Ok(Some(std::mem::take(&mut self.group)))
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function for map_err"
)]
fn cutting(e: arrow::error::ArrowError) -> Error {
    Error::new(Kind::Internal, format!("cutting rows into chunks: {e}"))
}

/// Bytes of the values of a column: the sum of [`row_bytes`].
fn value_bytes(column: &ArrayRef) -> usize {
    match (
        fixed_bytes(column.data_type()),
        column.as_string_opt::<i32>(),
    ) {
        (Some(bytes), _) => bytes * column.len(),
        (None, Some(text)) if text.null_count() == 0 => {
            let ends = text.value_offsets();
            ends.last()
                .zip(ends.first())
                .map_or(0, |(e, s)| usize::try_from(e - s).unwrap_or(0))
        }
        (None, _) => row_bytes(column).into_iter().sum(),
    }
}

/// Bytes of every value of a type, where they do not depend on the value.
fn fixed_bytes(kind: &DataType) -> Option<usize> {
    match kind {
        DataType::Null => Some(0),
        DataType::Boolean => Some(1),
        DataType::FixedSizeBinary(bytes) => usize::try_from(*bytes).ok(),
        other => other.primitive_width(),
    }
}

/// Bytes of the value in each row, by the value alone: neither by what its buffers hold besides nor
/// by where it is stored.
fn row_bytes(column: &ArrayRef) -> Vec<usize> {
    let rows = column.len();
    if let Some(bytes) = fixed_bytes(column.data_type()) {
        return vec![bytes; rows];
    }
    let mut bytes = match column.data_type() {
        DataType::Utf8 => lengths(column.as_string::<i32>().value_offsets()),
        DataType::Binary => lengths(column.as_binary::<i32>().value_offsets()),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            elements(list.value_offsets(), list.values())
        }
        DataType::Map(_, _) => {
            let map = column.as_map();
            elements(
                map.value_offsets(),
                &(Arc::new(map.entries().clone()) as ArrayRef),
            )
        }
        DataType::Struct(_) => {
            let mut all = vec![0; rows];
            for part in column.as_struct().columns() {
                for (all, bytes) in all.iter_mut().zip(row_bytes(part)) {
                    *all += bytes;
                }
            }
            all
        }
        // No archived column has another type.
        _ => vec![size_of::<u128>(); rows],
    };
    if let Some(nulls) = column.nulls() {
        for (bytes, valid) in bytes.iter_mut().zip(nulls) {
            if !valid {
                *bytes = 0;
            }
        }
    }
    bytes
}

fn lengths(offsets: &[i32]) -> Vec<usize> {
    offsets
        .iter()
        .zip(offsets.iter().skip(1))
        .map(|(from, to)| usize::try_from(to - from).unwrap_or(0))
        .collect()
}

/// Bytes of each list, and what it takes to tell its length. While it is encoded, and when it is
/// read, every value of a list takes some bytes besides its own: small ones count as
/// [`LISTED_BYTES`].
fn elements(offsets: &[i32], values: &ArrayRef) -> Vec<usize> {
    let first = offsets
        .first()
        .map_or(0, |first| usize::try_from(*first).unwrap_or(0));
    let last = offsets
        .last()
        .map_or(0, |last| usize::try_from(*last).unwrap_or(0));
    let mut each = row_bytes(&values.slice(first, last.saturating_sub(first))).into_iter();
    let sum = |length: usize| {
        size_of::<i32>()
            + each
                .by_ref()
                .take(length)
                .map(|bytes| bytes.max(LISTED_BYTES))
                .sum::<usize>()
    };
    lengths(offsets).into_iter().map(sum).collect()
}

/// The most rows that a chunk of these columns can have. Room is made for so many before they are
/// there: with hundreds of columns, that of [`CHUNK_ROWS`] would be several times what they take.
fn most_rows(shape: &Shape) -> usize {
    let fixed = shape
        .carried
        .fields()
        .iter()
        .filter_map(|field| fixed_bytes(field.data_type()));
    let least = fixed.sum::<usize>() + constant_bytes(shape);
    CHUNK_ROWS.min(CHUNK_BYTES.div_ceil(least.max(1)))
}

/// Bytes of the values that a row has in its constant columns.
fn constant_bytes(shape: &Shape) -> usize {
    let constants = shape.columns.iter().filter_map(|c| {
        if let Column::Constant(one) = c {
            Some(one)
        } else {
            None
        }
    });
    constants.map(value_bytes).sum()
}

/// The file under way.
struct OutFile {
    shape: Arc<Shape>,
    manner: Manner,
    writer: SerializedFileWriter<Summed<BufWriter<File>>>,
    /// What makes the writers of each column.
    factories: Vec<Arc<ArrowRowGroupWriterFactory>>,
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
    /// The other columns in their order, each in some pieces (a nested column has several), some
    /// columns to a task.
    under_way: Vec<JoinHandle<Result<Vec<Vec<ArrowColumnChunk>>>>>,
    /// Its row hash, where nobody else knows it.
    hash: Option<JoinHandle<Result<RowHash>>>,
    rows: usize,
}

/// A column on its way into a row group. Its writers are made when it is its turn, as each takes
/// much more than it holds then: those of hundreds of columns would take more than the rows.
struct Carried {
    field: Arc<Field>,
    /// Its values in each chunk.
    chunks: Vec<ArrayRef>,
    factory: Arc<ArrowRowGroupWriterFactory>,
    properties: WriterPropertiesPtr,
    /// The revision of the encodings.
    encoding: u32,
    /// Which row group it is of.
    group: usize,
}

impl Carried {
    /// Encodes the column on the thread that asks, which others may want in between. Threads of
    /// their own would each keep memory that the allocator does not give back.
    async fn encode(self) -> Result<Vec<ArrowColumnChunk>> {
        let factory = if self.encoding >= 2 && self.chunks.first().is_some_and(mostly_differs) {
            Arc::new(
                of_column(
                    &self.field,
                    &without_dictionary(&self.properties, &self.field),
                )?
                .1,
            )
        } else {
            self.factory
        };
        let mut leaves = factory
            .create_column_writers(self.group)
            .map_err(parquet_error)?;
        for chunk in &self.chunks {
            write_leaves(&self.field, chunk, &mut leaves)?;
            tokio::task::yield_now().await;
        }
        let mut encoded = close_all(leaves)?;
        if self.chunks.iter().any(has_nan) {
            forget_statistics(&mut encoded)?;
        }
        Ok(encoded)
    }
}

/// Whether `values` are texts of which there are more different ones than half of them, as with the
/// exchange's numbers of trades: a dictionary would only repeat them.
fn mostly_differs(values: &ArrayRef) -> bool {
    values.as_string_opt::<i32>().is_some_and(|texts| {
        let there = texts.len() - texts.null_count();
        let different: HashSet<&str> = texts.iter().flatten().collect();
        // A column of one value is encoded apart where it is known to be one.
        different.len() > 1.max(there / 2)
    })
}

/// `properties` for a column of such texts: each is written as what it does not share with the one
/// before.
fn without_dictionary(properties: &WriterProperties, field: &Field) -> WriterPropertiesPtr {
    let column = ColumnPath::from(field.name().as_str());
    let builder = properties.clone().into_builder();
    let builder = builder.set_column_dictionary_enabled(column.clone(), false);
    let builder = builder.set_column_encoding(column, Encoding::DELTA_BYTE_ARRAY);
    Arc::new(builder.build())
}

/// Whether a float in `values`, at whatever depth, is not a number.
fn has_nan(values: &ArrayRef) -> bool {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float16Type, Float32Type, Float64Type};
    match values.data_type() {
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the crate of the type is none of ours to name"
        )]
        DataType::Float16 => values
            .as_primitive::<Float16Type>()
            .iter()
            .flatten()
            .any(|x| x.is_nan()),
        DataType::Float32 => values
            .as_primitive::<Float32Type>()
            .iter()
            .flatten()
            .any(f32::is_nan),
        DataType::Float64 => values
            .as_primitive::<Float64Type>()
            .iter()
            .flatten()
            .any(f64::is_nan),
        // What lies below nulls, and before and after a slice, is no value.
        DataType::List(_) => values
            .as_list::<i32>()
            .iter()
            .flatten()
            .any(|list| has_nan(&list)),
        DataType::Struct(_) if values.null_count() > 0 => {
            let mut there = (0..values.len()).filter(|at| values.is_valid(*at));
            there.any(|at| {
                values
                    .slice(at, 1)
                    .as_struct()
                    .columns()
                    .iter()
                    .any(has_nan)
            })
        }
        DataType::Struct(_) => values.as_struct().columns().iter().any(has_nan),
        _ => false,
    }
}

/// Leaves out statistics that leave out values that are not numbers: whoever skips rows by them
/// would miss those.
fn forget_statistics(chunks: &mut [ArrowColumnChunk]) -> Result<()> {
    for chunk in chunks {
        let close = chunk.close_mut();
        close.metadata = close
            .metadata
            .clone()
            .into_builder()
            .clear_statistics()
            .build()
            .map_err(parquet_error)?;
        close.column_index = None;
    }
    Ok(())
}

impl OutFile {
    fn create(shape: &Arc<Shape>, manner: Manner, beside: Beside, path: &Path) -> Result<Self> {
        let file = File::options()
            .write(true)
            .open(path)
            .map_err(|e| Error::io(format!("{}: cannot be written", path.display()), e))?;
        let properties = properties(&shape.schema, manner.zstd_level)?;
        let descriptor = ArrowSchemaConverter::new()
            .convert(&shape.schema)
            .map_err(parquet_error)?;
        let writer = SerializedFileWriter::new(
            Summed::new(BufWriter::with_capacity(1 << 18, file)),
            descriptor.root_schema_ptr(),
            Arc::clone(&properties),
        )
        .map_err(parquet_error)?;
        let factories = shape
            .schema
            .fields()
            .iter()
            .map(|field| of_column(field, &properties).map(|(_, made)| Arc::new(made)));
        let factories = factories.collect::<Result<Vec<_>>>()?;
        Ok(Self {
            shape: Arc::clone(shape),
            manner,
            writer,
            factories,
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
        let group = self.groups;
        self.groups += 1;
        let mut columns = Vec::with_capacity(self.shape.columns.len());
        let mut carried = Vec::new();
        let all = self
            .shape
            .schema
            .fields()
            .iter()
            .zip(&self.shape.columns)
            .zip(&self.factories);
        for (nth, ((field, column), factory)) in all.enumerate() {
            columns.push(match column {
                Column::Carried(at) => {
                    let (field, factory) = (Arc::clone(field), Arc::clone(factory));
                    let chunks = chunks
                        .iter()
                        .map(|chunk| Arc::clone(chunk.column(*at)))
                        .collect();
                    carried.push(Carried {
                        field,
                        chunks,
                        factory,
                        properties: Arc::clone(&self.properties),
                        encoding: self.manner.encoding,
                        group,
                    });
                    None
                }
                Column::Constant(one) => {
                    Some(
                        self.constants
                            .get((nth, rows), one, field, &self.properties)?,
                    )
                }
            });
        }
        let shape = Arc::clone(&self.shape);
        let hash = || tokio::spawn(async move { row_hash(&shape, &chunks).await });
        let hash = self.beside.row_hash.is_none().then(hash);
        // For few rows, handing columns to other threads costs more than encoding them.
        let at_a_time = if rows <= FEW_ROWS {
            carried.len().max(1)
        } else {
            1
        };
        let mut carried = carried.into_iter();
        let mut under_way = Vec::new();
        loop {
            let several: Vec<Carried> = carried.by_ref().take(at_a_time).collect();
            if several.is_empty() {
                break;
            }
            let permits = Arc::clone(permits);
            under_way.push(tokio::spawn(async move {
                let _permit = permits.acquire_owned().await;
                let mut encoded = Vec::with_capacity(several.len());
                for column in several {
                    encoded.push(column.encode().await?);
                }
                Ok(encoded)
            }));
        }
        Ok(Group {
            columns,
            under_way,
            hash,
            rows,
        })
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
                Some(constant) => writer
                    .append_column(&constant.bytes, constant.close.clone())
                    .map_err(disk)?,
            }
        }
        let group = writer.close().map_err(disk)?;
        self.writer.flush().map_err(|e| disk(e.into()))?;
        let (end, sum) = (
            self.writer.bytes_written() as u64,
            self.writer.inner().sum(),
        );
        (self.beside.appended)(Appended { group, end, sum });
        Ok(())
    }

    fn close(mut self) -> Result<Encoded> {
        let pair = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
        if let Some(known) = self.beside.row_hash.take() {
            self.row_hash = known()?;
        }
        self.writer
            .append_key_value_metadata(pair(FOOTER_KEY, self.row_hash.to_string()));
        self.writer
            .append_key_value_metadata(pair(VERSION_KEY, env!("CARGO_PKG_VERSION").to_owned()));
        if let Some(unit) = self.manner.brought_to {
            self.writer
                .append_key_value_metadata(pair(UNIT_KEY, unit.to_string()));
        }
        if let Some(units) = noted_durations(&self.shape.schema) {
            self.writer
                .append_key_value_metadata(pair(DURATIONS_KEY, units));
        }
        if let Some(level) = self.manner.zstd_level {
            self.writer
                .append_key_value_metadata(pair(LEVEL_KEY, level.to_string()));
        }
        let _ = self
            .writer
            .finish()
            .map_err(|e| disk_error(&self.shown, e))?;
        self.writer
            .flush()
            .map_err(|e| disk_error(&self.shown, e.into()))?;
        Ok(Encoded {
            rows: self.rows,
            row_hash: self.row_hash,
            sum: self.writer.inner().sum(),
        })
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
        let (mut writer, factory) = of_column(field, properties)?;
        let mut leaves = factory.create_column_writers(0).map_err(parquet_error)?;
        let mut left = rows;
        while left > 0 {
            let now = left.min(CHUNK_ROWS);
            let chunk =
                arrow::compute::take(one, &arrow::array::UInt32Array::from_value(0, now), None)
                    .map_err(|e| Error::caused(Kind::Internal, "repeating a constant", e))?;
            write_leaves(field, &chunk, &mut leaves)?;
            left -= now;
        }
        let mut chunks = close_all(leaves)?;
        if has_nan(one) {
            forget_statistics(&mut chunks)?;
        }
        let (Some(chunk), true) = (chunks.pop(), chunks.is_empty()) else {
            return Err(Error::new(Kind::Internal, "a constant column has one leaf"));
        };
        let mut group = writer.next_row_group().map_err(parquet_error)?;
        chunk
            .append_to_row_group(&mut group)
            .map_err(parquet_error)?;
        let meta = group.close().map_err(parquet_error)?;
        let file = writer.finish().map_err(parquet_error)?;
        let column = meta
            .columns()
            .first()
            .ok_or_else(|| Error::new(Kind::Internal, "a column just written"))?;
        let close = ColumnCloseResult {
            bytes_written: u64::try_from(column.compressed_size()).unwrap_or(0),
            rows_written: rows as u64,
            metadata: column.clone(),
            bloom_filter: None,
            column_index: file
                .column_index()
                .and_then(|i| i.first()?.first().cloned()),
            offset_index: file
                .offset_index()
                .and_then(|i| i.first()?.first().cloned()),
        };
        let bytes = Bytes::copy_from_slice(writer.inner());
        let constant = Arc::new(EncodedConstant { bytes, close });
        let _ = self.known.insert((nth, rows), Arc::clone(&constant));
        Ok(constant)
    }
}

/// A Parquet file in memory with one column only, and what makes the writers of that column.
fn of_column(
    field: &Arc<Field>,
    properties: &WriterPropertiesPtr,
) -> Result<(SerializedFileWriter<Vec<u8>>, ArrowRowGroupWriterFactory)> {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Arc::clone(field)]));
    let descriptor = ArrowSchemaConverter::new()
        .convert(&schema)
        .map_err(parquet_error)?;
    let writer = SerializedFileWriter::new(
        Vec::new(),
        descriptor.root_schema_ptr(),
        Arc::clone(properties),
    )
    .map_err(parquet_error)?;
    let factory = ArrowRowGroupWriterFactory::new(&writer, schema);
    Ok((writer, factory))
}

fn write_leaves(field: &Field, array: &ArrayRef, writers: &mut [ArrowColumnWriter]) -> Result<()> {
    for (leaf, writer) in compute_leaves(field, array)
        .map_err(parquet_error)?
        .iter()
        .zip(writers)
    {
        writer.write(leaf).map_err(parquet_error)?;
    }
    Ok(())
}

fn close_all(writers: Vec<ArrowColumnWriter>) -> Result<Vec<ArrowColumnChunk>> {
    writers
        .into_iter()
        .map(|w| w.close().map_err(parquet_error))
        .collect()
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

/// How the columns of `schema` are written, with `zstd_level` for all columns or the level of each
/// kind.
///
/// # Errors
/// When there is no such level.
pub fn properties(schema: &Schema, zstd_level: Option<i32>) -> Result<WriterPropertiesPtr> {
    let zstd = |default: i32| -> Result<Compression> {
        Ok(Compression::ZSTD(
            ZstdLevel::try_new(zstd_level.unwrap_or(default)).map_err(parquet_error)?,
        ))
    };
    let order = [crate::model::schema::TS_EVENT, SEQ]
        .iter()
        .filter_map(|name| {
            let column_idx = i32::try_from(schema.index_of(name).ok()?).ok()?;
            Some(SortingColumn {
                column_idx,
                descending: false,
                nulls_first: true,
            })
        });
    let mut properties = WriterProperties::builder()
        .set_created_by(WRITER.to_owned())
        .set_compression(zstd(OTHER_LEVEL)?)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(None)
        .set_sorting_columns(Some(order.collect()));
    for field in schema.fields() {
        if matches!(field.data_type(), DataType::Int64 | DataType::Duration(_)) {
            let column = ColumnPath::from(field.name().as_str());
            properties = properties
                .set_column_compression(column.clone(), zstd(DELTA_LEVEL)?)
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(Arc::new(properties.build()))
}

fn lost_task(lost: tokio::task::JoinError) -> Error {
    Error::lost_task("an encoder", lost)
}

/// A disk's refusal is the operator's to mend; everything else that can go wrong here is a defect.
fn disk_error(shown: &str, e: ParquetError) -> Error {
    match e {
        ParquetError::External(source) if source.is::<std::io::Error>() => Error::io(
            format!("{shown}: cannot be written; is the disk full?"),
            source,
        ),
        other => parquet_error(other),
    }
}

fn parquet_error(e: ParquetError) -> Error {
    Error::caused(Kind::Internal, "encoding Parquet", e)
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, Float64Array, Int64Array, ListArray, StringArray, StructArray,
    };
    use arrow::datatypes::Float64Type;
    use proptest::prelude::*;

    use super::*;

    /// Rows of up to 20 KB: texts, lists, flags, and structs of them.
    fn wide(rows: usize) -> RecordBatch {
        let some = |nth: usize, modulus: usize| nth * 7919 % modulus;
        let texts = (0..rows).map(|n| (some(n, 5) > 0).then(|| "x".repeat(some(n, 12_000))));
        let text: ArrayRef = Arc::new(texts.collect::<StringArray>());
        let lists = (0..rows).map(|n| {
            (some(n, 3) > 0).then(|| (0_u32..).take(some(n, 1_000)).map(|v| Some(f64::from(v))))
        });
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists));
        let flag: ArrayRef = Arc::new(
            (0..rows)
                .map(|n| Some(n % 2 == 0))
                .collect::<BooleanArray>(),
        );
        let field = |name: &str, array: &ArrayRef| {
            Arc::new(Field::new(name, array.data_type().clone(), true))
        };
        let parts = vec![
            (field("list", &list), Arc::clone(&list)),
            (field("flag", &flag), Arc::clone(&flag)),
        ];
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "ts_event",
                Arc::new((0_i64..).take(rows).collect::<Int64Array>()),
            ),
            (
                "price",
                Arc::new(
                    (0..rows)
                        .map(|n| (n % 2 == 0).then_some(1.5))
                        .collect::<Float64Array>(),
                ),
            ),
            ("text", text),
            ("both", Arc::new(StructArray::from(parts))),
            ("list", list),
        ];
        RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap()
    }

    /// The rows of the chunks of each row group, cut from batches that end at `ends`.
    fn cuts(rows: &RecordBatch, ends: &[usize]) -> Vec<Vec<usize>> {
        let schema = rows.schema();
        let columns = (0..schema.fields().len()).map(Column::Carried).collect();
        let shape = Shape {
            carried: Arc::clone(&schema),
            schema,
            columns,
            ts: 0,
            seq: 0,
        };
        let mut cutter = Cutter::new(&shape);
        let (mut groups, mut at) = (Vec::new(), 0);
        for end in ends.iter().copied().chain([rows.num_rows()]) {
            groups.extend(cutter.take(&rows.slice(at, end - at)).unwrap());
            at = end;
        }
        groups.extend(cutter.finish().unwrap());
        groups
            .iter()
            .map(|group| group.iter().map(RecordBatch::num_rows).collect())
            .collect()
    }

    #[test]
    fn the_size_of_a_column_is_that_of_its_rows() {
        for column in wide(50).columns() {
            assert_eq!(
                value_bytes(column),
                row_bytes(column).iter().sum::<usize>(),
                "{}",
                column.data_type()
            );
            let (first, rest) = (column.slice(0, 13), column.slice(13, 37));
            assert_eq!(
                value_bytes(column),
                value_bytes(&first) + value_bytes(&rest),
                "{}",
                column.data_type()
            );
        }
    }

    #[test]
    fn rows_of_usual_size_are_cut_by_their_number() {
        let rows = RecordBatch::try_from_iter([(
            "ts_event",
            Arc::new(Int64Array::from(vec![1; 300_000])) as ArrayRef,
        )]);
        let cut = cuts(&rows.unwrap(), &[1, 200_000]);
        assert_eq!(
            cut,
            [
                vec![CHUNK_ROWS; 32],
                [vec![CHUNK_ROWS; 4], vec![300_000 - 36 * CHUNK_ROWS]].concat()
            ]
        );
    }

    #[test]
    fn rows_of_many_columns_are_cut_by_their_bytes_and_take_no_more() {
        let values = || Arc::new((0..8192).map(f64::from).collect::<Float64Array>()) as ArrayRef;
        let columns = (0..400).map(|nth| {
            if nth == 0 {
                (
                    "ts_event".to_owned(),
                    Arc::new(Int64Array::from(vec![1; 8192])) as ArrayRef,
                )
            } else {
                (format!("c{nth}"), values())
            }
        });
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let cut = cuts(&rows, &[1, 700, 5000]);
        assert_eq!(cut, [vec![2622, 2622, 2622], vec![8192 - 3 * 2622]]);
        let columns = (0..400).map(Column::Carried).collect();
        let shape = Shape {
            carried: rows.schema(),
            schema: rows.schema(),
            columns,
            ts: 0,
            seq: 0,
        };
        let group = Cutter::new(&shape).take(&rows).unwrap().remove(0);
        let taken: usize = group.iter().map(RecordBatch::get_array_memory_size).sum();
        assert!(taken < 2 * GROUP_BYTES, "{taken}");
    }

    #[test]
    fn texts_that_mostly_differ_take_what_they_do_not_share() {
        let rows = CHUNK_ROWS + 5;
        let texts = |text: &dyn Fn(usize) -> Option<String>| -> ArrayRef {
            Arc::new((0..rows).map(text).collect::<StringArray>())
        };
        let side = |n: usize| ["buy", "sell"][n * 7919 % 3 % 2].to_owned();
        let columns = [
            (
                "trade_id",
                texts(&|n| Some((5_900_000_000 + n).to_string())),
            ),
            ("rarely", texts(&|n| (n % 9 == 0).then(|| n.to_string()))),
            ("twice", texts(&|n| Some((n / 2).to_string()))),
            ("side", texts(&|n| Some(side(n)))),
            ("never", texts(&|_| None)),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, values)| (name, values, true)),
        )
        .unwrap();
        let properties = properties(&batch.schema(), None).unwrap();
        let encoded = |at: usize, encoding: u32| {
            let field = Arc::new(batch.schema().field(at).clone());
            let factory = Arc::new(of_column(&field, &properties).unwrap().1);
            let carried = Carried {
                field,
                chunks: vec![
                    batch.column(at).slice(0, CHUNK_ROWS),
                    batch.column(at).slice(CHUNK_ROWS, 5),
                ],
                factory,
                properties: Arc::clone(&properties),
                encoding,
                group: 0,
            };
            let chunks = futures::executor::block_on(carried.encode()).unwrap();
            let meta = chunks[0].close().metadata.clone();
            let encodings: Vec<Encoding> = meta.encodings().collect();
            (
                encodings.contains(&Encoding::DELTA_BYTE_ARRAY),
                meta.compressed_size(),
            )
        };
        let found: Vec<bool> = (0..5).map(|at| encoded(at, ENCODING).0).collect();
        assert_eq!(found, [true, true, false, false, false]);
        assert!((0..5).all(|at| !encoded(at, 1).0), "as it was before");
        assert!(encoded(0, ENCODING).1 < i64::try_from(rows / 4).unwrap());
        let one = |text| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        assert!(!mostly_differs(&one(Some("1"))) && !mostly_differs(&one(None)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn wide_rows_are_cut_where_their_values_say(ends in prop::collection::vec(0_usize..3_000, 0..12)) {
            let rows = wide(3_000);
            let whole = cuts(&rows, &[]);
            prop_assert!(whole.len() > 1 && whole.iter().any(|group| group.len() > 1), "{whole:?}");
            let mut ends = ends;
            ends.sort_unstable();
            prop_assert_eq!(cuts(&rows, &ends), whole);
        }
    }
}
