//! Which columns a stream's table has, and the footers of files.
//!
//! The columns of a known stream are known. What else its files hold is learned in three steps,
//! each more expensive than the one before: from two footers per series, those of its oldest and
//! its newest file; from the files that a statement reads, whose types then decide; from all files
//! of the stream, when a statement names a column that is not known otherwise. A column has the
//! smallest type that holds the values of all those files exactly ([`join`]). Where there is none
//! it has the type that most rows have, and whoever reads it from a file of another type gets an
//! error. An unreadable file is an error only for a statement that reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::{
    datasource::physical_plan::parquet::metadata::DFParquetMetadata,
    execution::runtime_env::RuntimeEnv,
};
use futures::{FutureExt, StreamExt};
use object_store::ObjectMeta;
use parquet::{
    arrow::parquet_to_arrow_schema,
    basic::Compression,
    file::metadata::{ParquetMetaData, RowGroupMetaData},
};

use crate::{
    engine::error::from_datafusion,
    error::{Error, Kind, Result},
    file::{fault::Problem, reader::Handle},
    model::{
        partition::{Series, Stream},
        schema,
    },
    storage::{
        by_stream::{Listed, Side},
        store::{Object, Store},
    },
};

/// Footers that are read at a time.
pub(super) const FOOTERS_AT_A_TIME: usize = 16;
/// Rows of a batch, where they are not large.
pub(super) const BATCH_ROWS: usize = 8192;
/// How many files of a series are tried at each end before it is passed over.
const TRIES: usize = 3;

/// What a file's footer says.
#[derive(Debug)]
pub(super) struct Footer {
    /// The columns as they are stored.
    pub(super) schema: Schema,
    /// The number of rows.
    pub(super) rows: u64,
    /// Bytes of the largest row group as it is stored: a scan holds one whole.
    pub(super) group_bytes: u64,
    meta: Arc<ParquetMetaData>,
}

/// What a column that is being decoded holds usually: a dictionary, a page and a decompressor.
const OPEN_BYTES: u64 = 2 << 20;
/// Pages seldom become more than so many times as large as they are stored.
const DENSE: u64 = 16;

impl Footer {
    /// Whether a scan of these columns would hold more than `most` bytes of a row group, or pages
    /// of which nobody knows what they become.
    pub(super) fn is_large(&self, asked: &[&Arc<Field>], most: u64) -> bool {
        let descriptor = self.meta.file_metadata().schema_descr();
        let fields = descriptor.root_schema().get_fields();
        let is_asked = |nth: usize| {
            let root =
                (nth < descriptor.num_columns()).then(|| descriptor.get_column_root_idx(nth));
            let name = root.and_then(|root| Some(fields.get(root)?.name()));
            name.is_some_and(|name| asked.iter().any(|field| field.name() == name))
        };
        let read: Vec<bool> = (0..descriptor.num_columns()).map(is_asked).collect();
        self.meta.row_groups().iter().any(|group| {
            let columns = group
                .columns()
                .iter()
                .zip(&read)
                .filter(|(_, read)| **read)
                .map(|(column, _)| column);
            let bytes = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
            let mut held = 0_u64;
            for column in columns {
                if matches!(
                    column.compression(),
                    Compression::GZIP(_) | Compression::BROTLI(_) | Compression::LZ4
                ) {
                    return true;
                }
                let (stored, raw) = (
                    bytes(column.compressed_size()),
                    bytes(column.uncompressed_size()),
                );
                // What becomes many times as large may be one page.
                let open = if raw > stored.saturating_mul(DENSE) {
                    raw
                } else {
                    raw.min(OPEN_BYTES)
                };
                held = held.saturating_add(stored).saturating_add(open);
            }
            held > most
        })
    }

    /// How many rows can be decoded at a time.
    ///
    /// # Errors
    /// When the file is out of reach, or such as is not decoded.
    pub(super) async fn rows_at_a_time(
        &self,
        store: &Store,
        object: &Object,
    ) -> std::result::Result<usize, Problem> {
        Handle::new(store, object)
            .rows_at_a_time(&self.meta, BATCH_ROWS)
            .await
    }
}

/// Files whose columns have the same names and types.
#[derive(Debug, Clone)]
pub(super) struct Alike {
    /// Their columns as they are stored.
    pub(super) schema: Schema,
    /// Their rows.
    rows: u64,
}

/// The columns of several files.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    files: BTreeSet<String>,
    /// Few, however many files there are.
    pub(super) kinds: Vec<Alike>,
}

impl Seen {
    /// Adds a file, once.
    pub(super) fn add(&mut self, file: &str, footer: &Footer) {
        if !self.files.insert(file.to_owned()) {
            return;
        }
        let same = |kind: &&mut Alike| {
            let (a, b) = (kind.schema.fields(), footer.schema.fields());
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type())
        };
        if let Some(kind) = self.kinds.iter_mut().find(same) {
            kind.rows = kind.rows.saturating_add(footer.rows);
            return;
        }
        let schema = Schema::new(footer.schema.fields().clone());
        self.kinds.push(Alike {
            schema,
            rows: footer.rows,
        });
    }

    /// Whether the file is among them.
    pub(super) fn has(&self, file: &str) -> bool {
        self.files.contains(file)
    }

    /// The columns that `stream` has not by itself, with their types in these files and the rows of
    /// each.
    fn added(&self, stream: &Stream) -> BTreeMap<&str, Vec<(DataType, u64)>> {
        let base = schema::canonical(stream);
        let mut added: BTreeMap<&str, Vec<(DataType, u64)>> = BTreeMap::new();
        for kind in &self.kinds {
            for field in kind
                .schema
                .fields()
                .iter()
                .filter(|field| base.column_with_name(field.name()).is_none())
            {
                added
                    .entry(field.name())
                    .or_default()
                    .push((schema::logical(field.data_type()), kind.rows));
            }
        }
        added
    }
}

/// What is known of the columns of one stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Whether the ends of every series were looked at.
    pub(super) has_ends: bool,
    /// Whether every file was looked at.
    pub(super) has_all: bool,
    /// What was looked at to know which columns there are.
    pub(super) general: Seen,
    /// The files that the statement reads and that decide the types.
    pub(super) asked: Seen,
}

impl Known {
    /// The columns of the table: canonical ones first, then the others by name.
    pub(super) fn columns(&self, stream: &Stream) -> SchemaRef {
        let mut added = self.general.added(stream);
        added.extend(self.asked.added(stream));
        let base = schema::canonical(stream);
        let mut fields: Vec<Field> = base.fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.extend(
            added
                .into_iter()
                .filter_map(|(name, types)| Some(Field::new(name, of_all(&types)?, true))),
        );
        Arc::new(Schema::new(fields))
    }
}

/// The type of a column that has these types: one that holds all their values, else that of most
/// rows. `None` where there are only nulls.
fn of_all(types: &[(DataType, u64)]) -> Option<DataType> {
    let kinds = || {
        types
            .iter()
            .map(|(kind, _)| kind)
            .filter(|kind| **kind != DataType::Null)
    };
    let first = kinds().next()?.clone();
    if let Some(joined) = kinds().try_fold(first, |a, b| join(&a, b)) {
        return Some(joined);
    }
    let mut votes: BTreeMap<String, (u64, &DataType)> = BTreeMap::new();
    for (kind, rows) in types.iter().filter(|(kind, _)| *kind != DataType::Null) {
        votes.entry(kind.to_string()).or_insert((0, kind)).0 += rows;
    }
    // Of equally many rows the first by name.
    votes
        .into_values()
        .rev()
        .max_by_key(|(rows, _)| *rows)
        .map(|(_, kind)| kind.clone())
}

/// The smallest type that holds every value of both exactly, by the types alone: integers and
/// floats widen, an integer becomes a float only where every integer of its type is one. Other
/// units of time, other scales and text are other things.
pub(super) fn join(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{
        Float16, Float32, Float64, Int8, Int16, Int32, Int64, List, Null, UInt8, UInt16, UInt32,
        UInt64,
    };
    let rank = |kind: &DataType| {
        Some(match kind {
            Int8 | UInt8 => 1_u8,
            Int16 | UInt16 => 2,
            Int32 | UInt32 => 4,
            Int64 | UInt64 => 8,
            _ => return None,
        })
    };
    let signed = |bytes: u8| match bytes {
        0..=1 => Some(Int8),
        2 => Some(Int16),
        3..=4 => Some(Int32),
        5..=8 => Some(Int64),
        _ => None,
    };
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (Null, other) | (other, Null) => Some(other.clone()),
        (List(a), List(b)) => {
            let element = join(a.data_type(), b.data_type())?;
            Some(List(Arc::new(Field::new("element", element, true))))
        }
        (a, b) if a.is_integer() && b.is_integer() => {
            match (a.is_signed_integer(), b.is_signed_integer()) {
                (true, false) => signed(rank(a)?.max(rank(b)? * 2)),
                (false, true) => signed(rank(b)?.max(rank(a)? * 2)),
                _ => Some(if rank(a) >= rank(b) {
                    a.clone()
                } else {
                    b.clone()
                }),
            }
        }
        (Float64, Float16 | Float32) | (Float16 | Float32, Float64) => Some(Float64),
        (Float32, Float16) | (Float16, Float32) => Some(Float32),
        (float, whole) | (whole, float) if float.is_floating() && whole.is_integer() => {
            match (rank(whole)?, float) {
                (1..=2, Float16 | Float32) => Some(Float32),
                (1..=4, _) => Some(Float64),
                _ => None,
            }
        }
        _ => None,
    }
}

/// How values of a file's column become those of the table's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Becomes {
    /// All of them exactly, by the types alone.
    Exact,
    /// Those that do not fit end the statement when they are met.
    Checked,
    /// Some of them would be others without a word.
    Other,
}

/// How values of `stored` become those of a table's column `name` of type `shown`.
pub(super) fn becomes(name: &str, stored: &DataType, shown: &DataType) -> Becomes {
    let from = schema::logical(stored);
    let is_text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::Utf8View);
    match join(&from, shown) {
        Some(joined) if joined == *shown => Becomes::Exact,
        _ if from.is_integer() && shown.is_integer() => Becomes::Checked,
        _ if is_text(shown) && (from.is_integer() || is_text(&from)) => Becomes::Exact,
        _ if *shown == DataType::Int64 && schema::fits(name, stored, shown) => Becomes::Exact,
        _ => Becomes::Other,
    }
}

/// Looks at the ends of every series.
pub(super) async fn at_the_ends(store: &Store, runtime: &RuntimeEnv, files: &[Listed]) -> Seen {
    // Files without a day have no place between the others, so they have ends of their own.
    let mut series: BTreeMap<(&Series, bool), Vec<&Listed>> = BTreeMap::new();
    for file in files {
        series
            .entry((&file.series, file.date.is_some()))
            .or_default()
            .push(file);
    }
    let mut ends: Vec<Vec<&Listed>> = Vec::new();
    for mut files in series.into_values() {
        files.sort_by_key(|f| (f.date, &f.object.key));
        ends.push(files.iter().rev().take(TRIES).copied().collect());
        if files.len() > 1 {
            ends.push(files.into_iter().take(TRIES).collect());
        }
    }
    let mut reads = Vec::new();
    for candidates in ends {
        reads.push(first_readable(store, runtime, candidates));
    }
    let mut seen = Seen::default();
    let mut footers = futures::stream::iter(reads).buffered(FOOTERS_AT_A_TIME);
    while let Some(found) = footers.next().await {
        if let Some((file, footer)) = found {
            seen.add(&file.object.key, &footer);
        }
    }
    seen
}

/// Looks at every file; those that cannot be read are passed over.
pub(super) async fn of_all_files(
    store: &Store,
    runtime: &RuntimeEnv,
    files: &[Listed],
    seen: &mut Seen,
) {
    let mut reads = Vec::new();
    for file in files.iter().filter(|file| !seen.has(&file.object.key)) {
        reads.push(first_readable(store, runtime, vec![file]));
    }
    let mut footers = futures::stream::iter(reads).buffered(4 * FOOTERS_AT_A_TIME);
    while let Some(found) = footers.next().await {
        if let Some((file, footer)) = found {
            seen.add(&file.object.key, &footer);
        }
    }
}

async fn first_readable<'a>(
    store: &Store,
    runtime: &RuntimeEnv,
    candidates: Vec<&'a Listed>,
) -> Option<(&'a Listed, Footer)> {
    for file in candidates {
        match footer(store, runtime, &file.object).await {
            Ok(footer) => return Some((file, footer)),
            Err(error) => {
                tracing::debug!(file = %store.show(&file.object.key), error = error.chain(), "passed over for its columns");
            }
        }
    }
    None
}

/// Reads a footer through the session's cache. A panic of the reader is an error of the file.
pub(super) async fn footer(store: &Store, runtime: &RuntimeEnv, object: &Object) -> Result<Footer> {
    let shown = || store.show(&object.key);
    let read = async {
        let meta = object_meta(store, object);
        super::guard::look(store, runtime, &meta, shown()).await?;
        let cache = runtime.cache_manager.get_file_metadata_cache();
        let found = DFParquetMetadata::new(store.object_store().as_ref(), &meta)
            .with_file_metadata_cache(Some(cache))
            .fetch_metadata()
            .await
            .map_err(|e| from_datafusion(e, &format!("{}: reading the footer", shown())))?;
        let facts = found.file_metadata();
        let schema = parquet_to_arrow_schema(facts.schema_descr(), facts.key_value_metadata())
            .map_err(|e| {
                Error::caused(
                    Kind::BadInput,
                    format!("{}: its columns cannot be understood", shown()),
                    e,
                )
            })?;
        let rows = u64::try_from(facts.num_rows()).unwrap_or_default();
        let stored = |group: &RowGroupMetaData| u64::try_from(group.compressed_size()).unwrap_or(0);
        let group_bytes = found.row_groups().iter().map(stored).max().unwrap_or(0);
        Ok(Footer {
            schema,
            rows,
            group_bytes,
            meta: found,
        })
    };
    match AssertUnwindSafe(read).catch_unwind().await {
        Ok(result) => result,
        Err(_) => Err(Error::new(
            Kind::BadInput,
            format!("{}: the reader panicked at its footer", shown()),
        )),
    }
}

/// The object as the store underneath describes it.
pub(super) fn object_meta(store: &Store, object: &Object) -> ObjectMeta {
    ObjectMeta {
        location: store.object_path(&object.key),
        last_modified: chrono::DateTime::from_timestamp_micros(object.modified_us)
            .unwrap_or_default(),
        size: object.size,
        e_tag: None,
        version: None,
    }
}

/// `columns` without those whose values come from the path.
pub(super) fn without_path_columns(side: Side, columns: &Schema) -> SchemaRef {
    let kept = columns
        .fields()
        .iter()
        .filter(|f| !super::prune::is_of_path(side, f.name()));
    Arc::new(Schema::new(kept.cloned().collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    fn list(kind: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("element", kind, true)))
    }

    #[test]
    fn a_joined_type_holds_every_value_of_both() {
        use DataType::{
            Boolean, Duration, Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt32, UInt64,
            Utf8,
        };
        for (a, b, joined) in [
            (Int8, Int64, Some(Int64)),
            (Int8, UInt8, Some(Int16)),
            (UInt32, Int8, Some(Int64)),
            (UInt64, Int64, None),
            (UInt8, UInt64, Some(UInt64)),
            (Float32, Float64, Some(Float64)),
            (Int16, Float32, Some(Float32)),
            (Int32, Float32, Some(Float64)),
            (UInt32, Float64, Some(Float64)),
            (Int64, Float64, None),
            (DataType::Null, Utf8, Some(Utf8)),
            (Utf8, Int64, None),
            (Boolean, Int8, None),
            (
                Duration(TimeUnit::Second),
                Duration(TimeUnit::Millisecond),
                None,
            ),
            (list(DataType::Null), list(Int64), Some(list(Int64))),
            (list(Int8), list(Utf8), None),
        ] {
            assert_eq!(join(&a, &b), joined, "{a} and {b}");
            assert_eq!(join(&b, &a), joined, "{b} and {a}");
        }
    }

    #[test]
    fn values_are_the_same_checked_or_refused() {
        use DataType::{Duration, Float32, Float64, Int8, Int64, Timestamp, Utf8, Utf8View};
        let ms = TimeUnit::Millisecond;
        for (name, stored, shown, want) in [
            ("price", Float32, Float64, Becomes::Exact),
            ("price", Int64, Float64, Becomes::Other),
            ("seq", Float64, Int64, Becomes::Other),
            ("side", Int64, Int8, Becomes::Checked),
            ("trade_id", Int64, Utf8, Becomes::Exact),
            ("trade_id", Utf8View, Utf8, Becomes::Exact),
            ("ts_event", Timestamp(ms, None), Int64, Becomes::Exact),
            ("seq", Timestamp(ms, None), Int64, Becomes::Other),
            (
                "wait",
                Duration(ms),
                Duration(TimeUnit::Second),
                Becomes::Other,
            ),
        ] {
            assert_eq!(
                becomes(name, &stored, &shown),
                want,
                "{name}: {stored} as {shown}"
            );
        }
    }
}
