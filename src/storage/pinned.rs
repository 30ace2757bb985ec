//! A store whose objects are read in the version that was listed, or not at all.
//!
//! A query reads a file in several requests, footer first; an object that is replaced between two
//! of them would give a mixture. The store is read-only.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    GetOptions, GetResult, ListResult, ObjectMeta, ObjectStore, Result, path::Path,
};

use super::read_only::Readable;

/// The versions that were listed, of several stores.
#[derive(Debug, Clone, Default)]
pub struct Pins(Arc<Mutex<HashMap<Path, String>>>);

impl Pins {
    /// Notes versions that were listed.
    pub(super) fn note(&self, listed: impl IntoIterator<Item = (Path, String)>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(listed);
    }

    fn note_meta(&self, meta: &ObjectMeta) {
        self.note(meta.e_tag.clone().map(|tag| (meta.location.clone(), tag)));
    }

    fn of(&self, location: &Path) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(location)
            .cloned()
    }
}

/// The store underneath, held to the versions that it listed.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) inner: Arc<dyn ObjectStore>,
    pub(super) pins: Pins,
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[async_trait]
impl Readable for Pinned {
    async fn get(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let if_match = options.if_match.clone().or_else(|| self.pins.of(location));
        self.inner
            .get_opts(
                location,
                GetOptions {
                    if_match,
                    ..options
                },
            )
            .await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let pins = self.pins.clone();
        self.inner
            .list(prefix)
            .inspect(move |found| found.iter().for_each(|meta| pins.note_meta(meta)))
            .boxed()
    }

    async fn list_folder(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let found = self.inner.list_with_delimiter(prefix).await?;
        found
            .objects
            .iter()
            .for_each(|meta| self.pins.note_meta(meta));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::store::Store;

    #[tokio::test]
    async fn what_was_replaced_since_the_listing_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), b"old").unwrap();
        let store = Store::open(&folder.path().display().to_string()).unwrap();
        let pinned = store.pinned(&super::Pins::default());
        assert_eq!(pinned.read("a").await.unwrap().unwrap().as_ref(), b"old");
        let _ = pinned.list("").await.unwrap().whole().unwrap();
        assert_eq!(pinned.read("a").await.unwrap().unwrap().as_ref(), b"old");
        std::fs::write(folder.path().join("b"), b"newer").unwrap();
        std::fs::rename(folder.path().join("b"), folder.path().join("a")).unwrap();
        assert!(pinned.read("a").await.is_err());
        assert_eq!(store.read("a").await.unwrap().unwrap().as_ref(), b"newer");
    }
}
