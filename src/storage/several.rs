//! The stores of several collectors as one object store, by which an engine reads: the first part
//! of a path is the folder of the collector.
//!
//! Paths in it tell the files of two buckets apart, whose keys may be the same. It is only read,
//! and lists nothing: that is for [`super::store::Store`].

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    Error, GetOptions, GetResult, ListResult, ObjectMeta, ObjectStore, Result, path::Path,
};

use super::read_only::{Readable, refused};

/// The store of one collector.
#[derive(Debug)]
pub(super) struct Root {
    /// `collector=…`
    pub(super) folder: String,
    /// The store in which it is.
    pub(super) object: Arc<dyn ObjectStore>,
    /// Where it begins there.
    pub(super) begins: Path,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Several(pub(super) Vec<Root>);

impl fmt::Display for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spools", self.0.len())
    }
}

#[async_trait]
impl Readable for Several {
    async fn get(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut parts = location.parts();
        let first = parts.next();
        let found = self.0.iter().find(|root| {
            first
                .as_ref()
                .is_some_and(|first| *first.as_ref() == *root.folder)
        });
        let Some(root) = found else {
            return Err(Error::NotFound {
                path: location.to_string(),
                source: "no spool has this name".into(),
            });
        };
        let inner: Path = root.begins.parts().chain(parts).collect();
        let mut found = root.object.get_opts(&inner, options).await?;
        found.meta.location = location.clone();
        Ok(found)
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::once(async { refused("list") }).boxed()
    }

    async fn list_folder(&self, _: Option<&Path>) -> Result<ListResult> {
        refused("list by folder")
    }
}
