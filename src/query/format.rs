//! Rows as a table, CSV, JSON or Parquet, written batch by batch.
//!
//! A reader that closes its pipe is no failure: `| head` has what it wanted.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringBuilder},
    compute::cast,
    csv,
    datatypes::{DataType, Field, Fields, Schema, SchemaRef},
    error::ArrowError,
    json::{self, writer::JsonArray, writer::LineDelimited},
    util::{
        display::{ArrayFormatter, FormatOptions},
        pretty::pretty_format_batches_with_options,
    },
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};

use crate::{
    engine::sql::Rows,
    error::{Error, Kind, Result},
    model::plain::plain,
};

/// How many rows a table shows; of the others it says how many there are.
pub const TABLE_ROWS: usize = 10_000;
/// How many characters of a value a table shows; a longer one ends in `…`.
const CELL_CHARS: usize = 1000;
/// What a table shows where there is no value.
const NULL: &str = "NULL";
/// Bytes that a row group of Parquet takes while it is encoded, about: the dictionaries of hundreds of
/// columns are more than what is encoded.
const GROUP_BYTES: usize = 16 << 20;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A table for people: at most [`TABLE_ROWS`] rows.
    Table,
    /// The same, with one column a line, as for rows that are wider than a screen.
    Expanded,
    /// Comma-separated values under a header; null is empty.
    Csv,
    /// One array of objects.
    Json,
    /// One object a line.
    Ndjson,
    /// A Parquet file.
    Parquet,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrittenRows {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// Writes all rows to `out`. When its reader is gone the rest is left, and what counts is what it
/// took.
pub(super) async fn write(
    mut rows: Rows,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<WrittenRows> {
    let state = Arc::new(Mutex::new(State::default()));
    let pipe = Pipe {
        out,
        state: Arc::clone(&state),
    };
    let mut written = 0;
    let schema = rows.schema();
    let done = match Encoder::new(format, &schema, pipe)? {
        Ok(mut encoder) => loop {
            let Some(batch) = rows.next().await? else {
                break encoder.finish();
            };
            if let Err(error) = encoder.write(&batch) {
                break Err(error);
            }
            written += batch.num_rows() as u64;
            // Rows that are always at hand would never let a request to stop be heard.
            tokio::task::yield_now().await;
        },
        Err(error) => Err(error),
    };
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    match (done, state.failure.take()) {
        (_, Some(failure)) if failure.kind() == io::ErrorKind::BrokenPipe => {}
        (_, Some(failure)) => return Err(Error::io("the rows cannot be written", failure)),
        (Err(error), None) => {
            let text =
                format!("these rows cannot be written as {format:?}; choose another --format");
            return Err(Error::caused(Kind::Usage, text, error));
        }
        (Ok(()), None) => {}
    }
    Ok(WrittenRows {
        rows: written,
        bytes: state.bytes,
    })
}

/// What became of the bytes.
#[derive(Default)]
struct State {
    bytes: u64,
    failure: Option<io::Error>,
}

/// The stream below an encoder. It remembers its own failure, because encoders wrap it each in
/// their way.
struct Pipe<'a> {
    out: &'a mut (dyn Write + Send),
    state: Arc<Mutex<State>>,
}

impl Pipe<'_> {
    fn noted<T>(
        &mut self,
        result: io::Result<T>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> io::Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(value) => state.bytes += bytes(value) as u64,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                if state.failure.is_none() {
                    state.failure = Some(
                        e.raw_os_error()
                            .map_or_else(|| e.kind().into(), io::Error::from_raw_os_error),
                    );
                }
            }
        }
        result
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.noted(result, |n| *n)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.noted(result, |()| 0)
    }
}

enum Encoder<'a> {
    Table {
        pipe: Pipe<'a>,
        expanded: bool,
        schema: SchemaRef,
        shown: Vec<RecordBatch>,
        room: usize,
        more: u64,
    },
    Csv(Box<csv::Writer<Pipe<'a>>>),
    Json {
        writer: Box<json::Writer<Pipe<'a>, JsonArray>>,
        schema: SchemaRef,
    },
    Ndjson {
        writer: Box<json::Writer<Pipe<'a>, LineDelimited>>,
        schema: SchemaRef,
    },
    Parquet {
        writer: Box<ArrowWriter<Pipe<'a>>>,
        schema: SchemaRef,
    },
}

type Encoded<T> = std::result::Result<T, ArrowError>;

impl<'a> Encoder<'a> {
    /// The outer error is of what was asked for, the inner one of writing.
    fn new(format: Format, schema: &SchemaRef, pipe: Pipe<'a>) -> Result<Encoded<Self>> {
        Ok(match format {
            Format::Table | Format::Expanded => {
                let schema = Arc::clone(schema);
                Ok(Self::Table {
                    pipe,
                    expanded: format == Format::Expanded,
                    schema,
                    shown: Vec::new(),
                    room: TABLE_ROWS,
                    more: 0,
                })
            }
            Format::Csv => {
                if let Some(nested) = schema
                    .fields()
                    .iter()
                    .find(|f| f.data_type().is_nested() && !is_plain(f.data_type()))
                {
                    let text = format!(
                        "column {} holds lists or structs, which CSV cannot: use --format json",
                        nested.name()
                    );
                    return Err(Error::usage(text));
                }
                let mut writer = csv::WriterBuilder::new().with_header(true).build(pipe);
                // An empty batch writes the header, also of a result without rows.
                writer
                    .write(&RecordBatch::new_empty(Arc::clone(schema)))
                    .map(|()| Self::Csv(Box::new(writer)))
            }
            // Nulls are written, so that every object has every key.
            Format::Json => {
                let writer = Box::new(
                    json::WriterBuilder::new()
                        .with_explicit_nulls(true)
                        .build(pipe),
                );
                Ok(Self::Json {
                    writer,
                    schema: with_each_name_once(schema)?,
                })
            }
            Format::Ndjson => {
                let writer = Box::new(
                    json::WriterBuilder::new()
                        .with_explicit_nulls(true)
                        .build(pipe),
                );
                Ok(Self::Ndjson {
                    writer,
                    schema: with_each_name_once(schema)?,
                })
            }
            Format::Parquet => {
                let zstd = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder().set_compression(zstd).build();
                let schema = without_views(&with_each_name_once(schema)?);
                ArrowWriter::try_new(pipe, Arc::clone(&schema), Some(properties))
                    .map(|writer| Self::Parquet {
                        writer: Box::new(writer),
                        schema,
                    })
                    .map_err(parquet_error)
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Encoded<()> {
        match self {
            Self::Table {
                shown, room, more, ..
            } => {
                let taken = batch.num_rows().min(*room);
                if taken > 0 {
                    shown.push(as_cells(&batch.slice(0, taken))?);
                }
                *room -= taken;
                *more += (batch.num_rows() - taken) as u64;
                Ok(())
            }
            Self::Csv(writer) => writer.write(batch),
            Self::Json { writer, schema } => writer.write(&for_json(batch, schema)?),
            Self::Ndjson { writer, schema } => writer.write(&for_json(batch, schema)?),
            Self::Parquet { writer, schema } => {
                // A row group is encoded in memory: one of long values ends before it has its
                // million rows.
                if writer.memory_size() > GROUP_BYTES {
                    writer.flush().map_err(parquet_error)?;
                }
                if *schema == *batch.schema_ref() {
                    return writer.write(batch).map_err(parquet_error);
                }
                let columns = batch.columns().iter().zip(schema.fields());
                let columns = columns
                    .map(|(column, field)| cast(column, field.data_type()))
                    .collect::<Encoded<_>>()?;
                writer
                    .write(&RecordBatch::try_new(Arc::clone(schema), columns)?)
                    .map_err(parquet_error)
            }
        }
    }

    fn finish(self) -> Encoded<()> {
        match self {
            Self::Table {
                mut pipe,
                expanded,
                schema,
                mut shown,
                more,
                ..
            } => {
                // A table is for a terminal, and its values come from elsewhere.
                if expanded {
                    write_expanded(&shown, &mut pipe)?;
                } else {
                    if shown.is_empty() {
                        shown.push(RecordBatch::new_empty(schema));
                    }
                    let table = pretty_format_batches_with_options(
                        &shown,
                        &FormatOptions::default().with_null(NULL),
                    )?;
                    writeln!(pipe, "{}", plain(&table.to_string()))?;
                }
                if more > 0 {
                    writeln!(
                        pipe,
                        "… and {more} more rows: --format csv or --output FILE gives all"
                    )?;
                }
                pipe.flush()?;
                Ok(())
            }
            Self::Csv(writer) => Ok(writer.into_inner().flush()?),
            Self::Json { mut writer, .. } => {
                writer.finish()?;
                let mut pipe = writer.into_inner();
                pipe.write_all(b"\n")?;
                Ok(pipe.flush()?)
            }
            Self::Ndjson { mut writer, .. } => {
                writer.finish()?;
                Ok(writer.into_inner().flush()?)
            }
            Self::Parquet { writer, .. } => {
                let mut pipe = writer.into_inner().map_err(parquet_error)?;
                Ok(pipe.flush()?)
            }
        }
    }
}

/// The columns with names of which each occurs once, as a reader of objects keeps one value of
/// each: the second `seq` is `seq_2`.
///
/// # Errors
/// When a struct in a column has a name twice, which has no other place to be named anew than the
/// statement.
fn with_each_name_once(schema: &SchemaRef) -> Result<SchemaRef> {
    let all: BTreeSet<&String> = schema.fields().iter().map(|field| field.name()).collect();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut fields = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if let Some(name) = name_twice(field.data_type()) {
            let text = format!(
                "column {} holds structs with {name} twice: name one anew in the statement",
                field.name()
            );
            return Err(Error::usage(text));
        }
        let mut name = field.name().clone();
        let mut nth = 2;
        while taken.contains(&name) || (name != *field.name() && all.contains(&name)) {
            name = format!("{}_{nth}", field.name());
            nth += 1;
        }
        let _ = taken.insert(name.clone());
        fields.push(field.as_ref().clone().with_name(name));
    }
    Ok(Arc::new(Schema::new_with_metadata(
        fields,
        schema.metadata().clone(),
    )))
}

/// A name that a struct somewhere in this type has twice.
fn name_twice(kind: &DataType) -> Option<&str> {
    match kind {
        DataType::Struct(fields) => {
            let mut seen = BTreeSet::new();
            let twice = fields.iter().find(|field| !seen.insert(field.name()));
            twice
                .map(|field| field.name().as_str())
                .or_else(|| fields.iter().find_map(|f| name_twice(f.data_type())))
        }
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            name_twice(field.data_type())
        }
        DataType::Map(entries, _) => name_twice(entries.data_type()),
        DataType::Dictionary(_, value) => name_twice(value),
        _ => None,
    }
}

/// A batch under the names that it is written with; fails where a map has a key twice.
fn for_json(batch: &RecordBatch, schema: &SchemaRef) -> Encoded<RecordBatch> {
    for column in batch.columns() {
        let Some(maps) = column.as_map_opt() else {
            continue;
        };
        for entries in maps.iter().flatten() {
            let keys = ArrayFormatter::try_new(entries.column(0), &FormatOptions::default())?;
            let mut seen = BTreeSet::new();
            if let Some(key) = (0..entries.len())
                .map(|at| keys.value(at).to_string())
                .find(|k| !seen.insert(k.clone()))
            {
                return Err(ArrowError::JsonError(format!(
                    "a map has the key {key} twice"
                )));
            }
        }
    }
    if schema == batch.schema_ref() {
        Ok(batch.clone())
    } else {
        RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec())
    }
}

/// The values as texts of at most [`CELL_CHARS`] characters.
fn as_cells(batch: &RecordBatch) -> Encoded<RecordBatch> {
    let options = FormatOptions::default();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for column in batch.columns() {
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let mut cells = StringBuilder::new();
        for at in 0..column.len() {
            if column.is_null(at) {
                cells.append_null();
                continue;
            }
            let mut cell = Cell::default();
            match (write!(cell, "{}", formatter.value(at)), cell.is_full) {
                (Ok(()), _) => cells.append_value(cell.text),
                (Err(_), true) => cells.append_value(cell.text + "…"),
                (Err(_), false) => cells.append_value(formatter.value(at).try_to_string()?),
            }
        }
        columns.push(Arc::new(cells.finish()));
    }
    let as_text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, true);
    let fields: Vec<Field> = batch.schema_ref().fields().iter().map(as_text).collect();
    RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        columns,
        &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
}

/// The rows one below the other, each as lines of a name and a value.
fn write_expanded(rows: &[RecordBatch], out: &mut impl Write) -> Encoded<()> {
    let mut number = 0;
    for batch in rows {
        let schema = batch.schema_ref();
        let lengths = schema.fields().iter().map(|f| f.name().chars().count());
        let width = lengths.max().unwrap_or_default();
        // A value of several lines stays in its column.
        let break_of_line = format!("\n{:width$} | ", "");
        for at in 0..batch.num_rows() {
            number += 1;
            writeln!(out, "{:-<40}", format!("-[ row {number} ]"))?;
            for (field, column) in schema.fields().iter().zip(batch.columns()) {
                let cells = column.as_string_opt::<i32>().filter(|c| c.is_valid(at));
                let value = cells.map_or(NULL, |cells| cells.value(at));
                let (name, value) = (plain(field.name()), plain(value));
                let value = value.replace('\n', &break_of_line);
                writeln!(out, "{name:width$} | {value}")?;
            }
        }
    }
    Ok(())
}

/// What a table shows of a value; it takes no more than that.
#[derive(Default)]
struct Cell {
    text: String,
    chars: usize,
    is_full: bool,
}

impl fmt::Write for Cell {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for c in more.chars() {
            if self.chars == CELL_CHARS {
                self.is_full = true;
                return Err(fmt::Error);
            }
            self.text.push(c);
            self.chars += 1;
        }
        Ok(())
    }
}

/// A dictionary counts as nested, but of plain values it is one column of values.
fn is_plain(kind: &DataType) -> bool {
    matches!(kind, DataType::Dictionary(_, value) if !value.is_nested())
}

/// Views as the plain types that they show: the writer notes Arrow's types in the file, and not
/// every reader knows views.
fn without_views(schema: &SchemaRef) -> SchemaRef {
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8View => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        DataType::BinaryView => Arc::new(field.as_ref().clone().with_data_type(DataType::Binary)),
        _ => Arc::clone(field),
    };
    let fields: Fields = schema.fields().iter().map(plain).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn parquet_error(error: ParquetError) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}
