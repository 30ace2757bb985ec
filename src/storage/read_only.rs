//! An object store that is only read: what would change it is refused here, once for all such
//! stores.

use std::fmt;

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

/// What a store does that is only read.
#[async_trait]
pub trait Readable: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Gives an object, or a part of it.
    async fn get(&self, location: &Path, options: GetOptions) -> Result<GetResult>;
    /// Lists everything below `prefix`.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>>;
    /// Lists what lies in the folder `prefix`.
    async fn list_folder(&self, prefix: Option<&Path>) -> Result<ListResult>;
}

/// An object store of a [`Readable`] one.
#[derive(Debug)]
pub struct ReadOnly<R>(pub R);

impl<R: Readable> fmt::Display for ReadOnly<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The answer to what a store does not do.
///
/// # Errors
/// Always.
pub fn refused<T>(operation: &str) -> Result<T> {
    Err(object_store::Error::NotSupported {
        source: format!("{operation}: this store does not do that").into(),
    })
}

#[async_trait]
impl<R: Readable> ObjectStore for ReadOnly<R> {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        refused("put")
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        refused("put")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        locations.map(|_| refused("delete")).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_folder(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        refused("copy")
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::{ObjectStoreExt, memory::InMemory};

    use super::*;

    /// Reads another store.
    #[derive(Debug)]
    struct Behind(InMemory);

    impl fmt::Display for Behind {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(&self.0, f)
        }
    }

    #[async_trait]
    impl Readable for Behind {
        async fn get(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
            self.0.get_opts(location, options).await
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.0.list(prefix)
        }

        async fn list_folder(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
    }

    #[tokio::test]
    async fn what_is_only_read_is_not_changed() {
        let (a, b) = (Path::from("a"), Path::from("b"));
        let inner = InMemory::new();
        let _ = inner.put(&a, "old".into()).await.unwrap();
        let store = ReadOnly(Behind(inner));
        let is_refused =
            |error: object_store::Error| matches!(error, object_store::Error::NotSupported { .. });
        assert!(is_refused(store.put(&a, "new".into()).await.unwrap_err()));
        assert!(is_refused(store.put_multipart(&a).await.err().unwrap()));
        assert!(is_refused(store.delete(&a).await.unwrap_err()));
        assert!(is_refused(store.copy(&a, &b).await.unwrap_err()));
        assert!(is_refused(store.rename(&a, &b).await.unwrap_err()));
        assert_eq!(
            store.get(&a).await.unwrap().bytes().await.unwrap().as_ref(),
            b"old"
        );
        let listed: Vec<_> = store
            .list(None)
            .map_ok(|meta| meta.location)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(listed, [a]);
    }
}
