//! Looks at the footer of a file before DataFusion decodes it: DataFusion's reader recurses as deep
//! as a schema is nested, and a stack overflow ends the process.
//!
//! The footer is put into the session's cache, so that it is read once. What the reader of the
//! other verbs refuses is refused here too, with the same words.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use datafusion::{
    datasource::{
        listing::PartitionedFile,
        physical_plan::{
            ParquetFileReaderFactory,
            parquet::{CachedParquetFileReaderFactory, CachedParquetMetaData},
        },
    },
    error::Result as DfResult,
    execution::{
        cache::cache_manager::{CachedFileMetadataEntry, FileMetadataCache},
        runtime_env::RuntimeEnv,
    },
    physical_plan::metrics::ExecutionPlanMetricsSet,
};
use futures::{FutureExt, future::BoxFuture};
use object_store::{ObjectMeta, ObjectStore};
use parquet::{
    arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
    errors::ParquetError,
    file::metadata::ParquetMetaData,
};

use crate::{
    error::{Error, Kind, Result},
    file::{fault::Problem, reader::Handle},
    storage::store::Store,
};

/// Reads the footer of `file`, which messages call `shown`, into the cache of `runtime`, unless it
/// is there.
///
/// # Errors
/// When it is none that can be decoded.
pub(super) async fn look(
    store: &Store,
    runtime: &RuntimeEnv,
    file: &ObjectMeta,
    shown: String,
) -> Result<()> {
    let cache = runtime.cache_manager.get_file_metadata_cache();
    look_at(
        &Handle::of_meta(store.object_store(), file, shown),
        file,
        cache.as_ref(),
    )
    .await
}

async fn look_at(handle: &Handle, file: &ObjectMeta, cache: &FileMetadataCache) -> Result<()> {
    if cache
        .get(&file.location)
        .is_some_and(|known| known.is_valid_for(file))
    {
        return Ok(());
    }
    let footer = handle.footer().await.map_err(|problem| match problem {
        Problem::Storage(error) => error,
        other => Error::new(Kind::BadInput, format!("{}: {other}", handle.shown())),
    })?;
    let known =
        CachedFileMetadataEntry::new(file.clone(), Arc::new(CachedParquetMetaData::new(footer)));
    let _ = cache.put(&file.location, known);
    Ok(())
}

/// Opens the files of a scan, each after a look at its footer.
#[derive(Debug)]
pub(super) struct Guarded {
    store: Arc<dyn ObjectStore>,
    /// What stands before the location of a file in messages.
    root: &'static str,
    cache: Arc<FileMetadataCache>,
    inner: CachedParquetFileReaderFactory,
}

impl Guarded {
    /// For files of `store`.
    pub(super) fn new(store: &Store, runtime: &RuntimeEnv) -> Self {
        let (object, cache) = (
            Arc::clone(store.object_store()),
            runtime.cache_manager.get_file_metadata_cache(),
        );
        let inner = CachedParquetFileReaderFactory::new(Arc::clone(&object), Arc::clone(&cache));
        Self {
            store: object,
            root: if store.local_folder().is_some() {
                "/"
            } else {
                ""
            },
            cache,
            inner,
        }
    }
}

impl ParquetFileReaderFactory for Guarded {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> DfResult<Box<dyn AsyncFileReader + Send>> {
        let meta = file.object_meta.clone();
        let handle = Handle::of_meta(
            &self.store,
            &meta,
            format!("{}{}", self.root, meta.location),
        );
        let inner = self
            .inner
            .create_reader(partition_index, file, hint, metrics)?;
        Ok(Box::new(Reader {
            inner,
            handle,
            meta,
            cache: Arc::clone(&self.cache),
        }))
    }
}

struct Reader {
    inner: Box<dyn AsyncFileReader + Send>,
    handle: Handle,
    meta: ObjectMeta,
    cache: Arc<FileMetadataCache>,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.inner.get_bytes(range)
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        self.inner.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let looked = look_at(&self.handle, &self.meta, self.cache.as_ref()).await;
            looked.map_err(|error| ParquetError::External(Box::new(error)))?;
            self.inner.get_metadata(options).await
        }
        .boxed()
    }
}
