//! Which columns a stream's table has, found out cheaply, and the footers of files.
//!
//! The columns of a known stream are known; what else its files hold is looked up in two footers per series, those of its
//! oldest and its newest file, so that a column that was added or dropped over time is seen. A column that only files in
//! between have is not in the table. Refuses to fail for one unreadable file.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::{datasource::physical_plan::parquet::metadata::DFParquetMetadata, execution::runtime_env::RuntimeEnv};
use futures::{FutureExt, StreamExt};
use object_store::ObjectMeta;
use parquet::arrow::parquet_to_arrow_schema;

use super::listing::Listed;
use crate::{
    error::{Error, Kind, Result},
    model::{
        partition::{Series, Stream},
        schema,
    },
    storage::store::{Object, Store},
};

/// Footers that are read at a time.
pub(super) const FOOTERS_AT_A_TIME: usize = 16;
/// How many files of a series are tried at each end before it is passed over.
const TRIES: usize = 3;

/// What a file's footer says.
#[derive(Debug)]
pub(super) struct Footer {
    /// The columns as they are stored.
    pub(super) schema: Schema,
    /// The number of rows.
    pub(super) rows: u64,
}

/// The columns of a stream's files, as they are in the archive.
pub(super) async fn of_stream(store: &Store, runtime: &RuntimeEnv, stream: &Stream, files: &[Listed]) -> SchemaRef {
    // Files without a day have no place between the others, so they have ends of their own.
    let mut series: BTreeMap<(&Series, bool), Vec<&Listed>> = BTreeMap::new();
    for file in files {
        series.entry((&file.series, file.date.is_some())).or_default().push(file);
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
    let footers: Vec<Footer> =
        futures::stream::iter(reads).buffered(FOOTERS_AT_A_TIME).filter_map(std::future::ready).collect().await;
    schema::of_partition(stream, footers.iter().map(|f| (&f.schema, f.rows)))
}

async fn first_readable(store: &Store, runtime: &RuntimeEnv, candidates: Vec<&Listed>) -> Option<Footer> {
    for file in candidates {
        match footer(store, runtime, &file.object).await {
            Ok(footer) => return Some(footer),
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
        let cache = runtime.cache_manager.get_file_metadata_cache();
        let found = DFParquetMetadata::new(store.object_store().as_ref(), &meta)
            .with_file_metadata_cache(Some(cache))
            .fetch_metadata()
            .await
            .map_err(|e| super::super::error::from_datafusion(e, &format!("{}: reading the footer", shown())))?;
        let facts = found.file_metadata();
        let schema = parquet_to_arrow_schema(facts.schema_descr(), facts.key_value_metadata())
            .map_err(|e| Error::caused(Kind::BadInput, format!("{}: its columns cannot be understood", shown()), e))?;
        Ok(Footer { schema, rows: u64::try_from(facts.num_rows()).unwrap_or_default() })
    };
    match AssertUnwindSafe(read).catch_unwind().await {
        Ok(result) => result,
        Err(_) => Err(Error::new(Kind::BadInput, format!("{}: the reader panicked at its footer", shown()))),
    }
}

/// The object as the store underneath describes it.
pub(super) fn object_meta(store: &Store, object: &Object) -> ObjectMeta {
    ObjectMeta {
        location: store.object_path(&object.key),
        last_modified: chrono::DateTime::from_timestamp_micros(object.modified_us).unwrap_or_default(),
        size: object.size,
        e_tag: None,
        version: None,
    }
}

/// `columns` without those whose values come from the path.
pub(super) fn without_path_columns(columns: &Schema) -> SchemaRef {
    let kept = columns.fields().iter().filter(|f| !super::prune::COLUMNS.contains(&f.name().as_str()));
    Arc::new(Schema::new(kept.cloned().collect::<Vec<_>>()))
}
