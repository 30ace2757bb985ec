//! A store of which only some folders can be read, and nothing changed: what plans of others see.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::{StreamExt, stream, stream::BoxStream};
use object_store::{
    Error, GetOptions, GetResult, ListResult, ObjectMeta, ObjectStore, Result, path::Path,
};

use super::read_only::{ReadOnly, Readable};

/// Reads below its folders only.
#[derive(Debug)]
pub struct Within {
    inner: Arc<dyn ObjectStore>,
    folders: Vec<Path>,
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, some folders", self.inner)
    }
}

impl Within {
    /// `inner`, of which only what lies below `folders` can be read.
    #[must_use]
    pub fn folders(inner: Arc<dyn ObjectStore>, folders: Vec<Path>) -> Arc<dyn ObjectStore> {
        Arc::new(ReadOnly(Self { inner, folders }))
    }

    fn check(&self, location: &Path) -> Result<()> {
        // `Path` escapes a segment that is `..`; that another store or system takes it for the
        // folder above is not left to chance.
        let climbs = location.parts().any(|part| {
            let plain = part.as_ref().to_ascii_lowercase().replace("%2e", ".");
            plain == "." || plain == ".."
        });
        let is_below = |folder: &Path| location.prefix_matches(folder);
        if !climbs && self.folders.iter().any(is_below) {
            return Ok(());
        }
        Err(Error::PermissionDenied {
            path: location.to_string(),
            source: "it does not lie below the spool or the archive of this process".into(),
        })
    }
}

#[async_trait]
impl Readable for Within {
    async fn get(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(location)?;
        self.inner.get_opts(location, options).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check(prefix.unwrap_or(&Path::default())) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_folder(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check(prefix.unwrap_or(&Path::default()))?;
        self.inner.list_with_delimiter(prefix).await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::{ObjectStoreExt, memory::InMemory};

    use super::*;

    #[tokio::test]
    async fn only_what_lies_below_the_folders_is_read() {
        let inner = InMemory::new();
        for key in ["data/spool/a", "data/spool-of-others/a", "etc/a"] {
            let _ = inner.put(&Path::from(key), "x".into()).await.unwrap();
        }
        let store = Within::folders(Arc::new(inner), vec![Path::from("data/spool")]);
        let is_denied = |error: Error| matches!(error, Error::PermissionDenied { .. });
        let path = |key: &str| Path::from(key);
        assert!(store.get(&path("data/spool/a")).await.is_ok());
        for key in [
            "data/spool-of-others/a",
            "etc/a",
            "data/spool/../../etc/a",
            "",
        ] {
            assert!(is_denied(store.get(&path(key)).await.unwrap_err()), "{key}");
            let listed: Result<Vec<_>> = store.list(Some(&path(key))).try_collect().await;
            assert!(is_denied(listed.unwrap_err()), "{key}");
            let listed = store.list_with_delimiter(Some(&path(key))).await;
            assert!(is_denied(listed.unwrap_err()), "{key}");
        }
        assert!(store.list(None).try_collect::<Vec<_>>().await.is_err());
        let own = path("data/spool/a");
        let put = store.put(&own, "new".into()).await.unwrap_err();
        assert!(matches!(put, Error::NotSupported { .. }));
        let deleted = store.delete(&own).await.unwrap_err();
        assert!(matches!(deleted, Error::NotSupported { .. }));
    }
}
