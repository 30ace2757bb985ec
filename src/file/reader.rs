//! Reads one Parquet file of a store, row group by row group, and turns every error into a
//! [`Problem`].
//!
//! The file is not trusted: ranges are checked against its size before they are fetched, an object
//! that was replaced since it was listed is an error, and a panic of the decoder is the file's
//! fault.
//!
//! Rows are decoded by parquet's `ParquetRecordBatchReader`, and not by its `ParquetPushDecoder`,
//! which wants all columns of a row group in memory before it gives a row: of 8.4 MB it has 13.8 MB
//! on the heap, and this reader, which reads large row groups page by page, 5.4
//! (`cargo bench --bench upstream`). Neither is faster (18 and 19 ms, eight small files 23 and 23);
//! holding the rows against the statistics adds 6 ms. `ParquetMetaDataReader` decodes footers here
//! too; they are fetched here, because it would fetch and decode them however long they are and
//! however deep their schema is. That takes 3 microseconds a file more.

use std::{fs::File, io::Write, ops::Range, path::PathBuf, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, path::Path as ObjectPath};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder,
        },
    },
    file::metadata::{FooterTail, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
};

use super::{
    claims::Claims,
    durations::{are_in, durations, with_durations},
    fault::{Problem, diagnose, said, shielded},
    pages::{self, Asked, Needs},
    pieces::{self, Pieces, Unread},
    statistics, thrift,
    window::Window,
};
use crate::{
    error::{self, Error, Kind},
    model::quarantine::ErrorType,
    storage::{
        cached, scratch,
        store::{Object, Store},
    },
};

/// The first read of a footer: enough for the footer of a spool file in one request.
const TAIL: u64 = 64 << 10;
const MAGIC: &[u8] = b"PAR1";
/// The end of a file whose footer is encrypted.
const ENCRYPTED_MAGIC: &[u8] = b"PARE";
/// Footers of more bytes than this are not read: decoded they take several times as much.
const FOOTER_BYTES: u64 = 16 << 20;
/// Columns may be nested so deep. What is deeper is refused before anything that recurses sees it:
/// a stack that overflows ends the process. Each level of lists counts twice, as it does in the
/// file.
pub const DEEPEST: usize = 32;
/// Row groups of a local file that are larger than this are read page by page instead of as a
/// whole.
const WHOLE_LOCAL: u64 = 4 << 20;
/// Those of a bucket that are larger than this go through a temporary file.
pub const WHOLE_REMOTE: u64 = 32 << 20;

/// A file of a store that can be read.
#[derive(Debug, Clone)]
pub struct Handle {
    store: Arc<dyn ObjectStore>,
    path: ObjectPath,
    /// Where it lies in the file system, if it does.
    local: Option<PathBuf>,
    shown: String,
    size: u64,
    tag: Option<String>,
    /// Whether a receipt vouches for its bytes, or this run wrote them.
    vouched: bool,
    /// All of its bytes, where they were fetched at once.
    held: Option<Bytes>,
}

impl Handle {
    /// A handle on an object of `store`.
    #[must_use]
    pub fn new(store: &Store, object: &Object) -> Self {
        Self {
            store: Arc::clone(store.object_store()),
            path: store.object_path(&object.key),
            local: store.local_path(&object.key),
            shown: store.show(&object.key),
            size: object.size,
            tag: object.tag.clone(),
            vouched: false,
            held: None,
        }
    }

    /// The same for a file that qlc wrote, as its sha256 shows: a page of its may have as many
    /// nested values as its rows brought along, which nobody made to exhaust memory.
    #[must_use]
    pub fn vouched(self) -> Self {
        Self {
            vouched: true,
            ..self
        }
    }

    /// A handle on a file that an engine found by itself; messages call it `shown`.
    #[must_use]
    pub fn of_meta(store: &Arc<dyn ObjectStore>, file: &ObjectMeta, shown: String) -> Self {
        let tag = file.e_tag.clone();
        Self {
            store: Arc::clone(store),
            path: file.location.clone(),
            local: None,
            shown,
            size: file.size,
            tag,
            vouched: false,
            held: None,
        }
    }

    /// All bytes of the very version that was listed, in one request, and the same handle, which
    /// reads nothing but them from now on.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub(super) async fn held(self) -> error::Result<(Self, Bytes)> {
        // No store answers a request for no bytes.
        let bytes = match self.size {
            0 => Bytes::new(),
            size => self.fetch(0..size).await?,
        };
        let held = Some(bytes.clone());
        Ok((Self { held, ..self }, bytes))
    }

    /// Where the object lies in the object store underneath.
    #[must_use]
    pub fn path(&self) -> &ObjectPath {
        &self.path
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its name for people.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Where the columns of a row group lie in the file; `None` where there is nothing of them.
    #[must_use]
    pub fn row_group_range(meta: &ParquetMetaData, row_group: usize) -> Option<Range<u64>> {
        let group = meta.row_groups().get(row_group)?;
        let ranges = group
            .columns()
            .iter()
            .map(parquet::file::metadata::ColumnChunkMetaData::byte_range);
        let (start, end) = ranges.fold((u64::MAX, 0), |(s, e), (start, length)| {
            (s.min(start), e.max(start + length))
        });
        (start < end).then_some(start..end)
    }

    /// Reads a range of the very version that was listed.
    ///
    /// # Errors
    /// When the object is out of reach, was replaced, or is shorter than it was.
    pub async fn fetch(&self, range: Range<u64>) -> error::Result<Bytes> {
        if let Some(held) = &self.held {
            let part = usize::try_from(range.start)
                .ok()
                .zip(usize::try_from(range.end).ok())
                .filter(|(start, end)| start <= end && *end <= held.len());
            let outside = || Error::new(Kind::Internal, "a range outside of a file is read");
            return part
                .map(|(start, end)| held.slice(start..end))
                .ok_or_else(outside);
        }
        if let (Some(path), Some(tag)) = (&self.local, &self.tag)
            && let Some(bytes) = cached::read(path, &range, tag)
        {
            return Ok(bytes);
        }
        let lost = |e: object_store::Error| match e {
            object_store::Error::Precondition { .. } => Error::new(
                Kind::Io,
                format!("{}: was replaced while it was read; run again", self.shown),
            ),
            other => Error::io(format!("{}: cannot be read", self.shown), other),
        };
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            if_match: self.tag.clone(),
            ..GetOptions::default()
        };
        let found = self
            .store
            .get_opts(&self.path, options)
            .await
            .map_err(lost)?;
        let bytes = found.bytes().await.map_err(lost)?;
        if bytes.len() as u64 == range.end - range.start {
            Ok(bytes)
        } else {
            Err(Error::new(
                Kind::Io,
                format!(
                    "{}: became shorter while it was read; run again",
                    self.shown
                ),
            ))
        }
    }

    /// Finds out what decoding the rows takes, by the pages of all row groups.
    ///
    /// # Errors
    /// When the file is out of reach, or such as is not decoded.
    pub async fn weigh(&self, claims: &Claims) -> Result<Claims, Problem> {
        const WANTED: usize = 8192;
        let meta = match &claims.meta {
            Some(meta) => Arc::clone(meta),
            None => self.footer().await?,
        };
        let needs = self.needs(&meta, WANTED).await?;
        let mut row_bytes = claims.row_bytes;
        if needs.rows < WANTED {
            row_bytes = row_bytes.max(pages::BATCH_BYTES / (needs.rows as u64).max(1));
        }
        Ok(Claims {
            row_bytes,
            open_bytes: claims.open_bytes.max(needs.open),
            weighed: true,
            ..claims.clone()
        })
    }

    /// How many rows, at most `wanted`, can be decoded at a time within [`pages::BATCH_BYTES`]: by
    /// the footer, and by the pages where only they tell.
    ///
    /// # Errors
    /// When the file is out of reach, or such as is not decoded.
    pub async fn rows_at_a_time(
        &self,
        meta: &ParquetMetaData,
        wanted: usize,
    ) -> Result<usize, Problem> {
        match pages::rows_by_footer(meta, wanted) {
            Some(rows) => Ok(rows),
            None => Ok(self.needs(meta, wanted).await?.rows),
        }
    }

    async fn needs(&self, meta: &ParquetMetaData, wanted: usize) -> Result<Needs, Problem> {
        let mut all = Needs {
            rows: wanted,
            open: 0,
            pieces: Vec::new(),
        };
        let roots = meta
            .file_metadata()
            .schema_descr()
            .root_schema()
            .get_fields()
            .len();
        let all_columns: Vec<usize> = (0..roots).collect();
        for row_group in 0..meta.num_row_groups() {
            let Some(range) = Self::row_group_range(meta, row_group) else {
                continue;
            };
            let window = Arc::new(self.window(range).await?);
            let asked = Asked {
                row_group,
                columns: &all_columns,
                rows: wanted,
                vouched: self.vouched,
            };
            let needs = pages::needs(&window, meta, &asked).map_err(Problem::Bad)?;
            all = Needs {
                rows: all.rows.min(needs.rows),
                open: all.open.max(needs.open),
                ..all
            };
        }
        Ok(all)
    }

    /// A range that is decoded: in memory where it is small.
    pub(super) async fn window(&self, range: Range<u64>) -> Result<Window, Problem> {
        let (start, length) = (range.start, range.end - range.start);
        let wrong = |e| Problem::Storage(Error::io(format!("{}: cannot be read", self.shown), e));
        let in_pieces = length > WHOLE_LOCAL && self.held.is_none();
        if let Some(path) = self.local.as_ref().filter(|_| in_pieces) {
            let window =
                Window::on_disk(start, File::open(path).map_err(wrong)?, start, length, true);
            self.still_same(&window)?;
            return Ok(window);
        }
        if length <= WHOLE_REMOTE {
            return Ok(Window::new(start, self.fetch(range).await?));
        }
        let mut file = scratch::unnamed().map_err(Problem::Storage)?;
        let mut at = range.start;
        while at < range.end {
            let next = range.end.min(at + WHOLE_REMOTE / 4);
            file.write_all(&self.fetch(at..next).await?)
                .map_err(wrong)?;
            at = next;
        }
        Ok(Window::on_disk(start, file, 0, length, false))
    }

    /// Whether what is read from the disk is still the version that was listed, at its full length.
    fn still_same(&self, window: &Window) -> Result<(), Problem> {
        let Some(file) = window.of_store() else {
            return Ok(());
        };
        let found = file
            .metadata()
            .map_err(|e| Error::io(format!("{}: cannot be read", self.shown), e))?;
        let same = match &self.tag {
            Some(tag) => cached::tag_of(&found) == *tag,
            None => found.len() >= self.size,
        };
        if same {
            return Ok(());
        }
        Err(Problem::Storage(Error::new(
            Kind::Io,
            format!("{}: was replaced while it was read; run again", self.shown),
        )))
    }

    /// Reads the footer, in at most two requests.
    ///
    /// # Errors
    /// When the file has none that can be understood, or is out of reach.
    pub async fn footer(&self) -> Result<Arc<ParquetMetaData>, Problem> {
        let truncated = |what: String| Problem::bad(ErrorType::Truncated, what);
        if self.size < 12 {
            return Err(truncated(format!(
                "the file has {} bytes, which is too few for a Parquet file",
                self.size
            )));
        }
        let start = self.size.saturating_sub(TAIL);
        let tail = self.fetch(start..self.size).await?;
        let Some((body, end)) = tail.split_last_chunk::<8>() else {
            return Err(truncated("the file has no end".to_owned()));
        };
        if end.ends_with(ENCRYPTED_MAGIC) {
            return Err(Problem::bad(
                ErrorType::Encrypted,
                "the footer is encrypted (the file ends in PARE)",
            ));
        }
        if !end.ends_with(MAGIC) {
            return Err(truncated(
                "the file does not end as a Parquet file does: it was cut off or is something else"
                    .to_owned(),
            ));
        }
        let length = FooterTail::try_new(end)
            .map(|t| t.metadata_length() as u64)
            .map_err(|e| Problem::bad(ErrorType::FooterCorrupt, e.to_string()))?;
        if length + 12 > self.size {
            return Err(truncated(format!(
                "the footer claims {length} bytes, the file has {}",
                self.size
            )));
        }
        if length > FOOTER_BYTES {
            let what =
                format!("the footer has {length} bytes, more than {FOOTER_BYTES} are not read");
            return Err(Problem::bad(ErrorType::TooLarge, what));
        }
        let from = self.size - 8 - length;
        let footer = if from >= start {
            Bytes::copy_from_slice(
                body.get(usize::try_from(from - start).unwrap_or(0)..)
                    .unwrap_or_default(),
            )
        } else {
            self.fetch(from..self.size - 8).await?
        };
        let outline = thrift::outline(&footer);
        if outline.depth > DEEPEST {
            let what = format!(
                "its columns are nested {} levels deep, more than {DEEPEST} are not read",
                outline.depth
            );
            return Err(Problem::bad(ErrorType::SchemaTooDeep, what));
        }
        if outline.encrypted {
            return Err(Problem::bad(
                ErrorType::Encrypted,
                "a column of it is encrypted, though its footer is not",
            ));
        }
        match shielded(|| ParquetMetaDataReader::decode_metadata(&footer)) {
            Ok(Ok(meta)) => self.checked(meta),
            Ok(Err(e)) => Err(Problem::bad(
                ErrorType::FooterCorrupt,
                format!("the footer cannot be understood: {}", said(&e)),
            )),
            Err(panic) => Err(Problem::bad(
                ErrorType::FooterCorrupt,
                format!("the reader panicked on the footer: {panic}"),
            )),
        }
    }

    /// Refuses footers that point outside the file or count below zero: a reader would believe
    /// them.
    fn checked(&self, meta: ParquetMetaData) -> Result<Arc<ParquetMetaData>, Problem> {
        let mut rows = 0_i64;
        for (nth, group) in meta.row_groups().iter().enumerate() {
            rows = rows.saturating_add(group.num_rows());
            for column in group.columns() {
                let (start, length) = match shielded(|| column.byte_range()) {
                    Ok(range) => range,
                    Err(panic) => {
                        return Err(Problem::bad(
                            ErrorType::FooterCorrupt,
                            format!("row group {nth}: {panic}"),
                        ));
                    }
                };
                if group.num_rows() < 0 || column.num_values() < 0 {
                    return Err(Problem::bad(
                        ErrorType::FooterCorrupt,
                        format!("row group {nth} claims a negative count"),
                    ));
                }
                if start.checked_add(length).is_none_or(|end| end > self.size) {
                    return Err(Problem::bad(
                        ErrorType::Truncated,
                        format!("row group {nth} reaches beyond the end of the file"),
                    ));
                }
            }
        }
        if rows != meta.file_metadata().num_rows() {
            return Err(Problem::bad(
                ErrorType::FooterCorrupt,
                format!(
                    "the footer claims {} rows, its row groups have {rows}",
                    meta.file_metadata().num_rows()
                ),
            ));
        }
        Ok(Arc::new(meta))
    }

    /// Begins to read the rows. Columns named in `keyed` that are strings come as dictionaries,
    /// which is cheaper where they hardly change.
    ///
    /// # Errors
    /// When the footer's schema cannot be brought to Arrow.
    pub async fn rows(
        &self,
        claims: &Claims,
        batch_size: usize,
        keyed: &[String],
    ) -> Result<Rows, Problem> {
        let meta = match &claims.meta {
            Some(meta) => Arc::clone(meta),
            None => self.footer().await?,
        };
        self.rows_as(&meta, Some(&claims.schema), batch_size, keyed)
    }

    /// The same with the footer at hand.
    ///
    /// # Errors
    /// When the footer's schema cannot be brought to Arrow.
    pub fn rows_of(
        &self,
        meta: &Arc<ParquetMetaData>,
        batch_size: usize,
        keyed: &[String],
    ) -> Result<Rows, Problem> {
        self.rows_as(meta, None, batch_size, keyed)
    }

    fn rows_as(
        &self,
        meta: &Arc<ParquetMetaData>,
        schema: Option<&SchemaRef>,
        batch_size: usize,
        keyed: &[String],
    ) -> Result<Rows, Problem> {
        let arrow = arrow_metadata(meta, schema, keyed)?;
        Ok(Rows {
            handle: self.clone(),
            arrow,
            batch_size,
            row_group: 0,
            end: meta.num_row_groups(),
            columns: None,
            current: None,
            first: None,
        })
    }
}

/// The file's schema in Arrow, as its Parquet types say; of what the writer stored of Arrow, only
/// the units of durations are asked for.
///
/// # Errors
/// When there is none, or the file that is made of it would be nested deeper than files are read.
pub fn schema_of(meta: &Arc<ParquetMetaData>) -> Result<SchemaRef, Problem> {
    let schema = arrow_metadata(meta, None, &[]).map(|m| Arc::clone(m.schema()))?;
    // Older writers have one level for a list; as lists are written today, they have two and that
    // of their values.
    let depth = schema
        .fields()
        .iter()
        .map(|field| levels(field.data_type()))
        .max()
        .unwrap_or(0);
    if depth > DEEPEST {
        let what = format!(
            "its columns take {depth} levels as lists are written today, more than {DEEPEST} are not read"
        );
        return Err(Problem::bad(ErrorType::SchemaTooDeep, what));
    }
    Ok(schema)
}

/// Levels of a column in the schema of a Parquet file of today.
fn levels(kind: &DataType) -> usize {
    match kind {
        DataType::List(value) | DataType::LargeList(value) | DataType::FixedSizeList(value, _) => {
            2 + levels(value.data_type())
        }
        DataType::Map(entries, _) => 1 + levels(entries.data_type()),
        DataType::Struct(fields) => {
            1 + fields
                .iter()
                .map(|field| levels(field.data_type()))
                .max()
                .unwrap_or(0)
        }
        DataType::Dictionary(_, value) => levels(value),
        _ => 1,
    }
}

/// `schema` is what [`schema_of`] said, where that is known already.
fn arrow_metadata(
    meta: &Arc<ParquetMetaData>,
    schema: Option<&SchemaRef>,
    keyed: &[String],
) -> Result<ArrowReaderMetadata, Problem> {
    let build = |schema: Option<SchemaRef>| {
        let mut options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true)
            .with_page_index_policy(PageIndexPolicy::Skip);
        if let Some(schema) = schema {
            options = options.with_schema(schema);
        }
        match shielded(|| ArrowReaderMetadata::try_new(Arc::clone(meta), options)) {
            Ok(Ok(arrow)) => Ok(arrow),
            Ok(Err(e)) => Err(Problem::bad(
                ErrorType::SchemaMismatch,
                format!("the schema cannot be read: {}", said(&e)),
            )),
            Err(panic) => Err(Problem::bad(
                ErrorType::FooterCorrupt,
                format!("the reader panicked on the schema: {panic}"),
            )),
        }
    };
    let plain = if schema.is_some() {
        None
    } else {
        let (plain, units) = (build(None)?, durations(meta));
        Some(if units.is_empty() {
            plain
        } else {
            build(Some(with_durations(plain.schema(), &units)))?
        })
    };
    let Some(schema) = schema.or(plain.as_ref().map(ArrowReaderMetadata::schema)) else {
        return build(None);
    };
    let as_keys = |f: &Arc<Field>| {
        let keyed = f.data_type() == &DataType::Utf8 && keyed.iter().any(|name| name == f.name());
        let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        if keyed {
            Arc::new(f.as_ref().clone().with_data_type(kind))
        } else {
            Arc::clone(f)
        }
    };
    let wanted: Vec<Arc<Field>> = schema.fields().iter().map(as_keys).collect();
    let is_duration = |field: &Arc<Field>| are_in(field.data_type());
    if wanted.iter().zip(schema.fields()).all(|(a, b)| a == b)
        && (plain.is_some() || !wanted.iter().any(is_duration))
    {
        return plain.map_or_else(|| build(None), Ok);
    }
    build(Some(Arc::new(Schema::new(wanted))))
}

/// The rows of a file, batch after batch.
#[derive(Debug)]
pub struct Rows {
    handle: Handle,
    arrow: ArrowReaderMetadata,
    batch_size: usize,
    row_group: usize,
    end: usize,
    /// The places of the columns that are read, where these are not all.
    columns: Option<Vec<usize>>,
    current: Option<Current>,
    /// The first row group, where it was fetched ahead.
    first: Option<Bytes>,
}

/// Where the rows of a row group come from.
#[derive(Debug)]
enum Reader {
    /// Its pages, those of all columns at a time.
    Whole(ParquetRecordBatchReader),
    /// What was decoded of them already, some columns after the other.
    Pieces(Pieces),
}

#[derive(Debug)]
struct Current {
    reader: Reader,
    window: Arc<Window>,
    fetched: u64,
    /// Bytes of the pages that are open.
    open: u64,
    statement: Option<statistics::Statement>,
}

impl Rows {
    /// The schema of the batches.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        self.arrow.schema()
    }

    /// Gives the bytes of the first row group, so that they need not be fetched.
    pub fn begin_with(&mut self, first: Option<Bytes>) {
        self.first = first;
    }

    /// Narrows the rows to those of one row group; call it before the first [`Self::next`].
    pub fn only(&mut self, row_group: usize) {
        self.row_group = row_group;
        self.end = row_group + 1;
    }

    /// Narrows the rows to these columns, by their places in [`Self::schema`]; call it before the
    /// first [`Self::next`]. What the footer claims of the rows is not held against them then.
    pub fn project(&mut self, columns: Vec<usize>) {
        self.columns = Some(columns);
    }

    /// The next rows, or `None` after the last.
    ///
    /// # Errors
    /// When the file cannot be read further; it then is not to be asked again.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, Problem> {
        // Decoding waits for nothing where the system has the pages, and whoever asks to stop must
        // be heard.
        tokio::task::coop::consume_budget().await;
        loop {
            if self.current.is_none() && !self.open_row_group().await? {
                return Ok(None);
            }
            let Some(current) = &mut self.current else {
                return Ok(None);
            };
            let decoded = match &mut current.reader {
                Reader::Whole(reader) => shielded(|| reader.next()),
                Reader::Pieces(pieces) => Ok(pieces.next().map_err(Problem::Storage)?.map(Ok)),
            };
            let wrong = match decoded {
                Ok(Some(Ok(batch))) => {
                    if let Some(statement) = &mut current.statement {
                        statement.take(&batch).map_err(Problem::Bad)?;
                    }
                    return Ok(Some(batch));
                }
                Ok(None) => {
                    if let Some(statement) = &current.statement {
                        statement.finish().map_err(Problem::Bad)?;
                    }
                    self.handle.still_same(&current.window)?;
                    self.row_group += 1;
                    self.current = None;
                    continue;
                }
                Ok(Some(Err(e))) => e.to_string(),
                Err(panic) => format!("the reader panicked: {panic}"),
            };
            return Err(Problem::Bad(diagnose(
                &current.window,
                self.arrow.metadata(),
                self.row_group,
                &wrong,
            )));
        }
    }

    /// The row group that the last rows are of, counted among those that the footer at hand has.
    #[must_use]
    pub fn row_group(&self) -> usize {
        self.row_group
    }

    /// Bytes of the row group that is being read; 0 between two.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        self.current.as_ref().map_or(0, |c| c.fetched)
    }

    /// Bytes of the pages that are open; 0 between two row groups.
    #[must_use]
    pub fn open_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |c| c.open)
    }

    async fn open_row_group(&mut self) -> Result<bool, Problem> {
        let meta = Arc::clone(self.arrow.metadata());
        let group = meta
            .row_groups()
            .get(self.row_group)
            .filter(|_| self.row_group < self.end);
        let Some(group) = group else { return Ok(false) };
        let range = Handle::row_group_range(&meta, self.row_group);
        let ready = self.first.take().filter(|_| self.row_group == 0);
        let window = match (ready, range) {
            (Some(bytes), range) => Window::new(range.map_or(0, |range| range.start), bytes),
            (None, Some(range)) => self.handle.window(range).await?,
            (None, None) => Window::new(0, Bytes::new()),
        };
        let fetched = window.length();
        let kept = Arc::new(window.clone());
        // Arrays are made as large as a batch may get: for tiny row groups that would be mostly
        // nothing.
        let wanted = self
            .batch_size
            .min(usize::try_from(group.num_rows()).unwrap_or(0))
            .max(1);
        let schema = self.arrow.schema();
        let columns = self
            .columns
            .clone()
            .unwrap_or_else(|| (0..schema.fields().len()).collect());
        let asked = Asked {
            row_group: self.row_group,
            columns: &columns,
            rows: wanted,
            vouched: self.handle.vouched,
        };
        let needs = pages::needs(&kept, &meta, &asked).map_err(Problem::Bad)?;
        let is_whole = self.columns.is_none();
        let statement = if is_whole {
            statistics::Statement::of(&meta, self.row_group, schema)
        } else {
            None
        };
        let build = |piece: Range<usize>| {
            let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
                window.clone(),
                self.arrow.clone(),
            )
            .with_batch_size(needs.rows)
            .with_row_groups(vec![self.row_group]);
            if !is_whole || piece.len() < columns.len() {
                let roots = columns.get(piece).unwrap_or_default().iter().copied();
                builder = builder.with_projection(ProjectionMask::roots(
                    meta.file_metadata().schema_descr(),
                    roots,
                ));
            }
            builder.build()
        };
        let opened = if needs.pieces.len() > 1 {
            let read = schema
                .project(&columns)
                .map_err(|e| Unread::Decoding(e.to_string()));
            match read {
                Ok(read) => pieces::decode(&Arc::new(read), &needs.pieces, &build)
                    .await
                    .map(Reader::Pieces),
                Err(error) => Err(error),
            }
        } else {
            match shielded(|| build(0..columns.len())) {
                Ok(Ok(reader)) => Ok(Reader::Whole(reader)),
                Ok(Err(e)) => Err(Unread::Decoding(e.to_string())),
                Err(panic) => Err(Unread::Decoding(format!("the reader panicked: {panic}"))),
            }
        };
        match opened {
            Ok(reader) => {
                self.current = Some(Current {
                    reader,
                    window: kept,
                    fetched,
                    open: needs.open,
                    statement,
                });
                Ok(true)
            }
            Err(Unread::Decoding(wrong)) => {
                Err(Problem::Bad(diagnose(&kept, &meta, self.row_group, &wrong)))
            }
            Err(Unread::Disk(error)) => Err(Problem::Storage(error)),
        }
    }
}
