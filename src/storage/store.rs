//! A store: a local folder or a bucket, addressed by keys relative to its root.
//!
//! It is read-only: durable objects are made by [`super::atomic`] only.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt,
    local::LocalFileSystem,
    path::{Path as ObjectPath, PathPart},
};
use url::Url;

use super::{
    bucket::{Bucket, BucketOptions},
    listing::StoreListing,
    pages,
    pinned::{Pinned, Pins},
    place,
    read_only::ReadOnly,
    walk::walk,
};
use crate::error::{Error, Kind, Result};

pub use super::listing::Object;

/// A local folder or a bucket.
#[derive(Debug, Clone)]
pub struct Store {
    object: Arc<dyn ObjectStore>,
    /// `file:///` or `s3://bucket/`: what DataFusion knows the store by.
    base: Url,
    /// The root below `base`.
    root: ObjectPath,
    /// The folder, if it is one.
    folder: Option<PathBuf>,
    /// The bucket, if it is one.
    bucket: Option<Arc<Bucket>>,
    /// Where the versions that are listed are noted, if the store is held to them.
    pins: Option<Pins>,
    shown: String,
}

/// How two stores overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// They are the same place.
    Same,
    /// The first lies in the second.
    Inside,
    /// The second lies in the first.
    Around,
}

impl Store {
    /// Opens the store at a path or a URL (`file://…` or `s3://bucket/prefix`), a bucket with the usual options. A folder
    /// need not exist.
    ///
    /// # Errors
    /// When the text is neither, or the store's settings are not complete.
    pub fn open(text: &str) -> Result<Self> {
        Self::open_with(text, &BucketOptions::usual())
    }

    /// The same with options for the case that it is a bucket. No request is sent.
    ///
    /// # Errors
    /// As [`Self::open`], and when the options are refused, such as plain HTTP that is not allowed.
    pub fn open_with(text: &str, options: &BucketOptions) -> Result<Self> {
        check_place(text)?;
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme {
                "file" => {
                    let path = Url::parse(text).ok().and_then(|u| u.to_file_path().ok()).ok_or_else(|| {
                        Error::usage(format!("{text:?} is not a file URL: write file:///absolute/path"))
                    })?;
                    Self::folder(&path)
                }
                "s3" => Self::open_bucket(text, rest, options),
                _ => Err(Error::usage(format!(
                    "{text:?}: stores are local folders, file:// and s3:// URLs; {scheme}:// is none of them"
                ))),
            };
        }
        if text.is_empty() {
            return Err(Error::usage("the path of a store is empty"));
        }
        Self::folder(Path::new(text))
    }

    /// The folder that a file is to be written to, as a store, and the file's name in it: for results that a person wants
    /// somewhere. `flag` is where the path was typed.
    ///
    /// # Errors
    /// When the path is not that of a file, or there is no such folder: a mistyped path should be seen, not made.
    pub fn of_file(path: &Path, flag: &str) -> Result<(Self, String)> {
        let shown = path.display();
        let absolute = std::path::absolute(path).map_err(|e| Error::io(&shown, e))?;
        let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name().and_then(|n| n.to_str())) else {
            return Err(Error::usage(format!("{flag} {shown} is not the path of a file")));
        };
        if !folder.is_dir() {
            let folder = folder.display();
            return Err(Error::usage(format!("{flag} {shown}: there is no folder {folder}; make it first")));
        }
        if absolute.is_dir() {
            return Err(Error::usage(format!("{flag} {shown} is a folder: name a file in it")));
        }
        Ok((Self::open(&folder.display().to_string())?, name.to_owned()))
    }

    fn folder(path: &Path) -> Result<Self> {
        let absolute = plain(&std::path::absolute(path).map_err(|e| Error::io(path.display(), e))?);
        let wrong = |e: object_store::path::Error| {
            Error::caused(Kind::Usage, format!("{}: this path cannot be a store", path.display()), e)
        };
        let base = Url::parse("file:///").map_err(|e| Error::caused(Kind::Internal, "file URL", e))?;
        Ok(Self {
            object: Arc::new(LocalFileSystem::new()),
            base,
            root: ObjectPath::from_absolute_path(&absolute).map_err(wrong)?,
            shown: path.display().to_string(),
            folder: Some(absolute),
            bucket: None,
            pins: None,
        })
    }

    fn open_bucket(text: &str, rest: &str, options: &BucketOptions) -> Result<Self> {
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if name.contains(['@', ':']) {
            // Not repeated: it may hold a secret.
            return Err(Error::usage(
                "an s3:// URL is s3://bucket/prefix, with no keys in it: give them as AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, or as a profile",
            ));
        }
        if name.is_empty() {
            return Err(Error::usage(format!("{text:?} names no bucket: write s3://bucket or s3://bucket/prefix")));
        }
        let base = Url::parse(&format!("s3://{name}/"))
            .map_err(|e| Error::caused(Kind::Usage, format!("{text:?} is not a URL"), e))?;
        let bucket = Bucket::open(name, options)?;
        Ok(Self {
            object: Arc::clone(&bucket.object),
            base,
            root: ObjectPath::parse(prefix.trim_matches('/'))
                .map_err(|e| Error::caused(Kind::Usage, format!("{text:?} has an impossible prefix"), e))?,
            folder: None,
            bucket: Some(Arc::new(bucket)),
            pins: None,
            shown: text.to_owned(),
        })
    }

    /// The bucket, where the store is one.
    pub(super) fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_deref()
    }

    /// The same store, only to be read: what its listing shows is read in that version, or not at all.
    #[must_use]
    pub fn pinned(&self, pins: &Pins) -> Self {
        let object = Arc::new(ReadOnly(Pinned { inner: Arc::clone(&self.object), pins: pins.clone() }));
        Self { object, pins: Some(pins.clone()), ..self.clone() }
    }

    /// The store underneath.
    #[must_use]
    pub fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.object
    }

    /// The URL under which an engine registers [`Self::object_store`].
    #[must_use]
    pub fn base_url(&self) -> &Url {
        &self.base
    }

    /// The folder, where the store is one.
    #[must_use]
    pub fn local_folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The path of `key` in the file system, where the store is a folder.
    #[must_use]
    pub fn local_path(&self, key: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(key))
    }

    /// `key` as the store underneath knows it.
    #[must_use]
    pub fn object_path(&self, key: &str) -> ObjectPath {
        let parts = key.split('/').filter(|part| !part.is_empty());
        // `parse` keeps a part as it is; `from` would escape what a file name may hold.
        let parts = parts.map(|part| PathPart::parse(part).unwrap_or_else(|_| PathPart::from(part)));
        self.root.parts().chain(parts).collect()
    }

    /// `key` as a person would type it.
    #[must_use]
    pub fn show(&self, key: &str) -> String {
        let root = self.shown.trim_end_matches('/');
        if key.is_empty() { root.to_owned() } else { format!("{root}/{key}") }
    }

    /// Whether the store is a folder that does not exist.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.folder.as_ref().is_some_and(|folder| !folder.exists())
    }

    /// What lies below `prefix` (a folder, or empty for all), by key; what is unfinished or hidden is left out.
    ///
    /// # Errors
    /// When nothing can be listed: the store does not answer, or the folder itself cannot be read. A folder below it that
    /// cannot be read is told in the listing, and one that does not exist has no objects.
    pub async fn list(&self, prefix: &str) -> Result<StoreListing> {
        let listing = self.listed(prefix, usize::MAX).await?.sorted();
        if let Some(pins) = &self.pins {
            let version = |object: &Object| Some((self.object_path(&object.key), object.tag.clone()?));
            pins.note(listing.objects().iter().filter_map(version));
        }
        Ok(listing)
    }

    /// Some object, if there is any that can be listed.
    ///
    /// # Errors
    /// When the store cannot be listed. A folder that does not exist has no objects.
    pub async fn first(&self) -> Result<Option<Object>> {
        Ok(self.listed("", 1).await?.objects().first().cloned())
    }

    /// What lies below `prefix`, until there are `most` objects; in no order.
    async fn listed(&self, prefix: &str, most: usize) -> Result<StoreListing> {
        let (shown, listing) = (self.show(prefix), StoreListing::of(&self.shown));
        if let Some(bucket) = &self.bucket {
            let folder = |path: &ObjectPath| if path.as_ref().is_empty() { String::new() } else { format!("{path}/") };
            let (root, full) = (folder(&self.root), folder(&self.object_path(prefix)));
            let listed = pages::list(bucket, &root, &full, listing, most, &shown).await;
            let is_told = bucket.lacks_credentials() || bucket.is_out_of_reach();
            return listed.map_err(|e| if is_told { self.failed(prefix, "cannot be listed", e) } else { e });
        }
        let Some(root) = self.folder.clone() else {
            return Err(Error::new(Kind::Internal, "a store is a folder or a bucket"));
        };
        let prefix = prefix.to_owned();
        let walked = tokio::task::spawn_blocking(move || walk(&root, &prefix, listing, most)).await;
        let walked = walked.map_err(|e| Error::new(Kind::Internal, format!("a listing ended early: {e}")))?;
        walked.map_err(|e| Error::io(format!("{shown}: cannot be listed"), e))
    }

    /// How this store and `other` overlap, if they do. Folders are compared as the system finds them, links followed; of
    /// buckets of one endpoint, the parts of their prefixes.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> Option<Overlap> {
        let (one, two) = match (&self.bucket, &other.bucket, &self.folder, &other.folder) {
            (None, None, Some(one), Some(two)) => (place::of(one), place::of(two)),
            (Some(one), Some(two), ..) if one.is_same_as(two) => {
                let parts = |path: &ObjectPath| path.parts().map(|part| part.as_ref().into()).collect();
                (place::FolderPlace::of_parts(parts(&self.root)), place::FolderPlace::of_parts(parts(&other.root)))
            }
            _ => return None,
        };
        match (one.is_within(&two), two.is_within(&one)) {
            (true, true) => Some(Overlap::Same),
            (true, false) => Some(Overlap::Inside),
            (false, true) => Some(Overlap::Around),
            (false, false) => None,
        }
    }

    /// The object at `key`, if there is one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn head(&self, key: &str) -> Result<Option<Object>> {
        if self.is_nothing_at(key) {
            return Ok(None);
        }
        match self.object.head(&self.object_path(key)).await {
            Ok(meta) => Ok(self.object_of(&meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.failed(key, "cannot be looked at", e)),
        }
    }

    /// The bytes at `key`, if there are any.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn read(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.read_version(key).await?.map(|(bytes, _)| bytes))
    }

    /// The bytes at `key`, if there are any, and the tag of the version that they are of.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn read_version(&self, key: &str) -> Result<Option<(Bytes, Option<String>)>> {
        if self.is_nothing_at(key) {
            return Ok(None);
        }
        let wrong = |e| self.failed(key, "cannot be read", e);
        match self.object.get(&self.object_path(key)).await {
            Ok(found) => {
                let tag = found.meta.e_tag.clone();
                Ok(Some((found.bytes().await.map_err(wrong)?, tag)))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(wrong(e)),
        }
    }

    /// Whether a folder has nothing at `key`, which it says at once; anything else is asked of the store underneath.
    fn is_nothing_at(&self, key: &str) -> bool {
        let looked = self.local_path(key).map(|path| path.symlink_metadata());
        looked.is_some_and(|found| found.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound))
    }

    /// Calls `each` with the bytes at `key`, piece by piece; returns whether there is such an object.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn read_through(&self, key: &str, mut each: impl FnMut(&[u8])) -> Result<bool> {
        let wrong = |e| self.failed(key, "cannot be read", e);
        let found = match self.object.get(&self.object_path(key)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(e) => return Err(wrong(e)),
        };
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.try_next().await.map_err(wrong)? {
            each(&piece);
        }
        Ok(true)
    }

    /// The sha256 of the object at `key` in lower case hex, and its size.
    ///
    /// # Errors
    /// When the store does not answer, or there is no such object.
    pub async fn sha256(&self, key: &str) -> Result<(String, u64)> {
        use sha2::Digest;
        let mut digest = sha2::Sha256::new();
        let mut size = 0_u64;
        let found = self
            .read_through(key, |piece| {
                digest.update(piece);
                size += piece.len() as u64;
            })
            .await?;
        if found {
            Ok((hex(&digest.finalize()), size))
        } else {
            Err(Error::new(Kind::Io, format!("{}: has gone", self.show(key))))
        }
    }

    /// The error of a request; without credentials that is all there is to say.
    fn failed<E>(&self, key: &str, what: &str, error: E) -> Error
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let place = self.show(key);
        if self.bucket.as_ref().is_some_and(|bucket| bucket.lacks_credentials()) {
            return Error::new(
                Kind::Io,
                format!(
                    "{place}: {what}: there are no credentials: give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
                     as a profile with --profile, or give the machine a role"
                ),
            );
        }
        if let Some(bucket) = self.bucket.as_ref().filter(|bucket| bucket.is_out_of_reach()) {
            // The steps of the client between its request and the reason say nothing more.
            let mut cause: &dyn std::error::Error = &error;
            while let Some(next) = cause.source() {
                cause = next;
            }
            let server = bucket.server();
            return Error::new(Kind::Io, format!("{place}: cannot be reached: {server} does not answer: {cause}"));
        }
        Error::io(format!("{place}: {what}"), error)
    }

    fn object_of(&self, meta: &ObjectMeta) -> Option<Object> {
        let location = meta.location.as_ref();
        let root = self.root.as_ref();
        let key = if root.is_empty() { location } else { location.strip_prefix(root)?.strip_prefix('/')? };
        #[expect(clippy::case_sensitive_file_extension_comparisons, reason = "keys are compared as they are")]
        let unfinished = key.ends_with(".tmp");
        let hidden = key.split('/').any(|part| part.starts_with('.'));
        (!hidden && !unfinished).then(|| Object {
            key: key.to_owned(),
            size: meta.size,
            modified_us: meta.last_modified.timestamp_micros(),
            tag: meta.e_tag.clone(),
        })
    }
}

/// Refuses what was meant to be a URL and would be taken for a folder, such as `s3:/bucket`.
///
/// # Errors
/// When a slash is missing, or the scheme is in capitals.
pub fn check_place(text: &str) -> Result<()> {
    let Some((scheme, rest)) = text.split_once(':') else { return Ok(()) };
    let known = ["s3", "file"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known));
    match known {
        Some(known) if scheme != known || !rest.starts_with("//") => {
            let rest = rest.trim_start_matches('/');
            let slashes = if known == "file" { "///" } else { "//" };
            Err(Error::usage(format!(
                "{text:?} is not a URL and no name for a folder either: write {known}:{slashes}{rest}, or ./{text} for a folder"
            )))
        }
        _ => Ok(()),
    }
}

/// An absolute path without `.` and `..`; where the folder exists, links are followed first, as the system does.
fn plain(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                let _ = parts.pop();
            }
            std::path::Component::CurDir => {}
            other => parts.push(other),
        }
    }
    parts
}

/// Bytes in lower case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
