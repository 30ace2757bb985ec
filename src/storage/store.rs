//! A store: a local folder or a bucket, addressed by keys relative to its root; or the spools of
//! several collectors, each in a folder of its name.
//!
//! It is read-only: durable objects are made by [`super::atomic`] only.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt,
    local::LocalFileSystem,
    path::{Path as ObjectPath, PathPart},
};
use url::Url;

use super::{
    bucket::{Bucket, BucketOptions},
    listing::{StoreListing, Unfit},
    pages,
    pinned::{Pinned, Pins},
    place,
    read_only::ReadOnly,
    several::{Root, Several},
    spools::{SpoolRoot, Spools},
    walk::{self, walk},
};
use crate::{
    error::{Error, Kind, Result},
    model::{layout, partition::Collector},
};

pub use super::listing::Object;

/// A local folder or a bucket, or the spools of several collectors.
#[derive(Debug, Clone)]
pub struct Store {
    object: Arc<dyn ObjectStore>,
    /// `file:///` or `s3://bucket/`: what DataFusion knows the store by.
    base: Url,
    /// The root below `base`.
    root: ObjectPath,
    /// The folder, if it is one.
    folder: Option<PathBuf>,
    /// The file system of a folder that was there when the store was opened.
    device: Option<u64>,
    /// The bucket, if it is one.
    bucket: Option<Arc<Bucket>>,
    /// Where the versions that are listed are noted, if the store is held to them.
    pins: Option<Pins>,
    /// The spools that it is made of, where these are several collectors'.
    parts: Arc<[Part]>,
    shown: String,
}

/// The spool of one of several collectors.
#[derive(Debug)]
struct Part {
    /// `collector=…`
    folder: String,
    collector: Collector,
    store: Store,
}

impl Part {
    fn spool(&self) -> SpoolRoot {
        SpoolRoot {
            collector: Some(self.collector.clone()),
            place: self.store.address(),
        }
    }
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
    /// Opens the store at a path or a URL (`file://…` or `s3://bucket/prefix`), a bucket with the
    /// usual options. A folder need not exist.
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
                    let path = Url::parse(text)
                        .ok()
                        .and_then(|u| u.to_file_path().ok())
                        .ok_or_else(|| {
                            Error::usage(format!(
                                "{text:?} is not a file URL: write file:///absolute/path"
                            ))
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

    /// The folder that a file is to be written to, as a store, and the file's name in it: for
    /// results that a person wants somewhere. `flag` is where the path was typed.
    ///
    /// # Errors
    /// When the path is not that of a file, or there is no such folder: a mistyped path should be
    /// seen, not made.
    pub fn of_file(path: &Path, flag: &str) -> Result<(Self, String)> {
        let shown = path.display();
        let absolute = std::path::absolute(path).map_err(|e| Error::io(&shown, e))?;
        let (Some(folder), Some(name)) = (
            absolute.parent(),
            absolute.file_name().and_then(|n| n.to_str()),
        ) else {
            return Err(Error::usage(format!(
                "{flag} {shown} is not the path of a file"
            )));
        };
        if !folder.is_dir() {
            let folder = folder.display();
            return Err(Error::usage(format!(
                "{flag} {shown}: there is no folder {folder}; make it first"
            )));
        }
        if absolute.is_dir() {
            return Err(Error::usage(format!(
                "{flag} {shown} is a folder: name a file in it"
            )));
        }
        Ok((Self::open(&folder.display().to_string())?, name.to_owned()))
    }

    fn folder(path: &Path) -> Result<Self> {
        let absolute = plain(&std::path::absolute(path).map_err(|e| Error::io(path.display(), e))?);
        let wrong = |e: object_store::path::Error| {
            Error::caused(
                Kind::Usage,
                format!("{}: this path cannot be a store", path.display()),
                e,
            )
        };
        let base =
            Url::parse("file:///").map_err(|e| Error::caused(Kind::Internal, "file URL", e))?;
        Ok(Self {
            object: Arc::new(LocalFileSystem::new()),
            base,
            root: ObjectPath::from_absolute_path(&absolute).map_err(wrong)?,
            shown: path.display().to_string(),
            device: device(&absolute),
            folder: Some(absolute),
            bucket: None,
            pins: None,
            parts: Arc::new([]),
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
            return Err(Error::usage(format!(
                "{text:?} names no bucket: write s3://bucket or s3://bucket/prefix"
            )));
        }
        let base = Url::parse(&format!("s3://{name}/"))
            .map_err(|e| Error::caused(Kind::Usage, format!("{text:?} is not a URL"), e))?;
        let bucket = Bucket::open(name, options)?;
        Ok(Self {
            object: Arc::clone(&bucket.object),
            base,
            root: ObjectPath::parse(prefix.trim_matches('/')).map_err(|e| {
                Error::caused(Kind::Usage, format!("{text:?} has an impossible prefix"), e)
            })?,
            folder: None,
            device: None,
            bucket: Some(Arc::new(bucket)),
            pins: None,
            parts: Arc::new([]),
            shown: text.to_owned(),
        })
    }

    /// The spools of several collectors as one store, in which the keys of each begin with
    /// `collector=…/`.
    ///
    /// # Errors
    /// When two of them are the same place, or one lies in another.
    fn several(all: Vec<(Collector, Self)>) -> Result<Self> {
        for (nth, (name, store)) in all.iter().enumerate() {
            for (other, known) in all.iter().take(nth) {
                let (one, two) = (
                    format!("{name} ({})", store.shown),
                    format!("{other} ({})", known.shown),
                );
                let how = match store.overlap(known) {
                    None => continue,
                    Some(Overlap::Same) => {
                        format!("the spools {other} and {one} are the same place")
                    }
                    Some(Overlap::Inside) => format!("the spool {one} lies in the spool {two}"),
                    Some(Overlap::Around) => format!("the spool {two} lies in the spool {one}"),
                };
                return Err(Error::usage(format!(
                    "{how}: each collector has a place of its own"
                )));
            }
        }
        let part = |(collector, store): (Collector, Self)| Part {
            folder: layout::collector_dir(collector.as_str()),
            collector,
            store,
        };
        let parts: Arc<[Part]> = all.into_iter().map(part).collect();
        let shown: Vec<String> = parts
            .iter()
            .map(|part| format!("{}={}", part.collector, part.store.shown))
            .collect();
        let root = |part: &Part| Root {
            folder: part.folder.clone(),
            object: Arc::clone(&part.store.object),
            begins: part.store.root.clone(),
        };
        Ok(Self {
            object: Arc::new(ReadOnly(Several(parts.iter().map(root).collect()))),
            base: Spools::of(parts.iter().map(Part::spool).collect())?.url()?,
            root: ObjectPath::default(),
            folder: None,
            device: None,
            bucket: None,
            pins: None,
            parts,
            shown: shown.join(", "),
        })
    }

    /// The store of all these spools. No request is sent.
    ///
    /// # Errors
    /// As [`Self::open_with`]; also when two of them are one place, or one lies in another.
    pub fn of_spools(spools: &Spools, options: &BucketOptions) -> Result<Self> {
        let mut parts = Vec::with_capacity(spools.all().len());
        for SpoolRoot { collector, place } in spools.all() {
            let store = Self::open_with(place, options)?;
            match collector {
                Some(name) => parts.push((name.clone(), store)),
                None => return Ok(store),
            }
        }
        Self::several(parts)
    }

    /// The folder or bucket in which `key` lies, and the key there.
    pub(super) fn at<'a>(&self, key: &'a str) -> (&Self, &'a str) {
        let (first, rest) = key.split_once('/').unwrap_or((key, ""));
        self.parts
            .iter()
            .find(|part| part.folder == first)
            .map_or((self, key), |part| (&part.store, rest))
    }

    /// The folders and buckets that it is made of, each with the folder that its keys begin with:
    /// `collector=…`, or nothing where it is one without a name.
    pub fn roots(&self) -> impl Iterator<Item = (&str, &Self)> {
        let own = self.parts.is_empty().then_some(("", self));
        own.into_iter().chain(
            self.parts
                .iter()
                .map(|part| (part.folder.as_str(), &part.store)),
        )
    }

    /// Whether an object can be made at `key`: among several spools it must tell which of them it
    /// is for.
    #[must_use]
    pub fn has_place_for(&self, key: &str) -> bool {
        let (root, _) = self.at(key);
        root.parts.is_empty()
    }

    /// How another machine would name this folder or bucket.
    #[must_use]
    pub fn address(&self) -> String {
        self.folder
            .as_ref()
            .map_or_else(|| self.shown.clone(), |folder| folder.display().to_string())
    }

    /// How another machine would name it, where it is the spool of a collector or of several.
    ///
    /// # Errors
    /// Never in practice.
    pub fn spools(&self) -> Result<Spools> {
        if self.parts.is_empty() {
            return Ok(Spools::one(self.address()));
        }
        Spools::of(self.parts.iter().map(Part::spool).collect())
    }

    /// The bucket, where the store is one.
    pub(super) fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_deref()
    }

    /// The same store, only to be read: what its listing shows is read in that version, or not at
    /// all.
    #[must_use]
    pub fn pinned(&self, pins: &Pins) -> Self {
        let object = Arc::new(ReadOnly(Pinned {
            inner: Arc::clone(&self.object),
            pins: pins.clone(),
        }));
        Self {
            object,
            pins: Some(pins.clone()),
            ..self.clone()
        }
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

    /// Whether any of it is in a bucket.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.roots().any(|(_, root)| root.bucket.is_some())
    }

    /// The folder, where the store is one.
    #[must_use]
    pub fn local_folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The path of `key` in the file system, where the store is a folder.
    #[must_use]
    pub fn local_path(&self, key: &str) -> Option<PathBuf> {
        let (root, key) = self.at(key);
        root.folder.as_ref().map(|folder| folder.join(key))
    }

    /// `key` as the store underneath knows it.
    #[must_use]
    pub fn object_path(&self, key: &str) -> ObjectPath {
        let parts = key.split('/').filter(|part| !part.is_empty());
        // `parse` keeps a part as it is; `from` would escape what a file name may hold.
        let parts =
            parts.map(|part| PathPart::parse(part).unwrap_or_else(|_| PathPart::from(part)));
        self.root.parts().chain(parts).collect()
    }

    /// `key` as a person would type it.
    #[must_use]
    pub fn show(&self, key: &str) -> String {
        let (root, key) = self.at(key);
        let root = root.shown.trim_end_matches('/');
        if key.is_empty() {
            root.to_owned()
        } else {
            format!("{root}/{key}")
        }
    }

    /// Whether the store is a folder that does not exist, or one of those that it is made of is.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.absent().is_some()
    }

    /// The folder that does not exist, as a person would type it.
    #[must_use]
    pub fn absent(&self) -> Option<String> {
        let is_absent = |root: &Self| root.folder.as_ref().is_some_and(|folder| !folder.exists());
        self.roots()
            .find(|(_, root)| is_absent(root))
            .map(|(_, root)| root.show(""))
    }

    /// Fails where a folder was there when the store was opened, and has gone since, or one of
    /// another file system stands in its place, as after an unmount: what it held is not known. Of
    /// a bucket nothing has to be asked: only an empty one can be removed.
    ///
    /// # Errors
    /// Which folder that is.
    pub fn check_there(&self) -> Result<()> {
        let has_gone = |root: &Self| {
            root.device.is_some() && root.folder.as_deref().and_then(device) != root.device
        };
        match self.roots().find(|(_, root)| has_gone(root)) {
            None => Ok(()),
            Some((_, root)) => Err(Error::new(
                Kind::Io,
                format!(
                    "{}: this folder has gone since the run began; is it mounted?",
                    root.show("")
                ),
            )),
        }
    }

    /// What lies below `prefix` (a folder, or empty for all), by key; what is unfinished or hidden
    /// is left out.
    ///
    /// # Errors
    /// When nothing can be listed: the store does not answer, or the folder itself cannot be read
    /// or has gone since the store was opened. A folder below it that cannot be read is told in the
    /// listing, and one that does not exist has no objects.
    pub async fn list(&self, prefix: &str) -> Result<StoreListing> {
        Ok(self.noted(self.listed(prefix, usize::MAX).await?))
    }

    /// What lies below the folder `below` of a spool, or of each where they are several
    /// collectors', by key. These may be the stores that this one is made of, or folders of it.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn list_spool(&self, below: &str) -> Result<StoreListing> {
        if below.is_empty() {
            return self.list("").await;
        }
        let listing = if self.parts.is_empty() {
            self.listed_folders(below).await?
        } else {
            self.listed_parts(
                self.parts.iter().map(|part| (part, below)).collect(),
                usize::MAX,
            )
            .await
        };
        Ok(self.noted(listing))
    }

    /// A listing by key, with its versions noted.
    fn noted(&self, listing: StoreListing) -> StoreListing {
        let listing = listing.sorted();
        if let Some(pins) = &self.pins {
            let version =
                |object: &Object| Some((self.object_path(&object.key), object.tag.clone()?));
            pins.note(listing.objects().iter().filter_map(version));
        }
        listing
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
        if self.parts.is_empty() {
            return self.listed_here(prefix, most).await;
        }
        let (first, rest) = prefix.split_once('/').unwrap_or((prefix, ""));
        let meant = self
            .parts
            .iter()
            .filter(|part| prefix.is_empty() || part.folder == first);
        Ok(self
            .listed_parts(meant.map(|part| (part, rest)).collect(), most)
            .await)
    }

    /// What lies below a folder of each of these parts. What of them cannot be listed is told in
    /// the listing.
    async fn listed_parts(&self, parts: Vec<(&Part, &str)>, most: usize) -> StoreListing {
        let roots = self
            .parts
            .iter()
            .map(|part| (part.folder.clone(), part.store.shown.clone()));
        let mut all = StoreListing::of_several(&self.shown, roots);
        let mut lists = Vec::with_capacity(parts.len());
        for (part, prefix) in &parts {
            lists.push(part.store.listed_here(prefix, most));
        }
        for ((part, prefix), listed) in parts.iter().zip(futures::future::join_all(lists).await) {
            let absent = part
                .store
                .absent()
                .map(|folder| Error::usage(format!("{folder}: there is no such folder")));
            match absent.map_or(listed, Err) {
                Ok(listed) => all.take(&part.folder, listed),
                Err(error) => all.miss_all(&part.folder, prefix, &error),
            }
        }
        all
    }

    /// What lies below the folder `below` of a folder or bucket, and of each collector's folder in
    /// it.
    async fn listed_folders(&self, below: &str) -> Result<StoreListing> {
        let mut listing = self.listed_here(below, usize::MAX).await?;
        if let Some(bucket) = &self.bucket {
            let begin = format!("{}{}", folder_of(&self.root), layout::COLLECTOR);
            let mut folders = self.listed_in(bucket, "", &begin, usize::MAX).await?;
            folders.keep_below(below);
            listing.join(folders);
            return Ok(listing);
        }
        let Some(root) = self.folder.clone() else {
            return Ok(listing);
        };
        let found = tokio::task::spawn_blocking(move || walk::collectors(&root)).await;
        let found = found.map_err(|lost| Error::lost_task("a listing", lost))?;
        let folders =
            found.map_err(|e| Error::io(format!("{}: cannot be listed", self.show("")), e))?;
        for folder in folders {
            listing.join(
                self.listed_here(&format!("{folder}/{below}"), usize::MAX)
                    .await?,
            );
        }
        Ok(listing)
    }

    /// What lies below `prefix` of a folder or bucket, until there are `most` objects; in no order.
    async fn listed_here(&self, prefix: &str, most: usize) -> Result<StoreListing> {
        if let Some(bucket) = &self.bucket {
            return self
                .listed_in(bucket, prefix, &folder_of(&self.object_path(prefix)), most)
                .await;
        }
        let (shown, listing) = (self.show(prefix), StoreListing::of(&self.shown));
        let Some(root) = self.folder.clone() else {
            return Err(Error::new(
                Kind::Internal,
                "a store is a folder or a bucket",
            ));
        };
        let prefix = prefix.to_owned();
        let walked = tokio::task::spawn_blocking(move || walk(&root, &prefix, listing, most)).await;
        let walked = walked.map_err(|lost| Error::lost_task("a listing", lost))?;
        let listing = walked.map_err(|e| Error::io(format!("{shown}: cannot be listed"), e))?;
        self.check_there().map(|()| listing)
    }

    /// The objects of `bucket` whose keys begin with `begin`, below `prefix` for a person, until
    /// there are `most` of them.
    async fn listed_in(
        &self,
        bucket: &Bucket,
        prefix: &str,
        begin: &str,
        most: usize,
    ) -> Result<StoreListing> {
        let (shown, listing) = (self.show(prefix), StoreListing::of(&self.shown));
        let listed =
            pages::list(bucket, &folder_of(&self.root), begin, listing, most, &shown).await;
        let is_told = bucket.lacks_credentials() || bucket.is_out_of_reach();
        listed.map_err(|e| {
            if is_told {
                self.failed(prefix, "cannot be listed", e)
            } else {
                e
            }
        })
    }

    /// How this store and `other` overlap, if they do. Folders are compared as the system finds
    /// them, links followed; of buckets of one endpoint, the parts of their prefixes.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> Option<Overlap> {
        self.overlapping(other).map(|(_, overlap)| overlap)
    }

    /// The folder or bucket of this store that overlaps with `other`, as a person would type it,
    /// and how.
    #[must_use]
    pub fn overlapping(&self, other: &Self) -> Option<(String, Overlap)> {
        let of = |one: &Self| other.roots().find_map(|(_, two)| one.overlap_here(two));
        self.roots()
            .find_map(|(_, one)| Some((one.show(""), of(one)?)))
    }

    fn overlap_here(&self, other: &Self) -> Option<Overlap> {
        let (one, two) = match (&self.bucket, &other.bucket, &self.folder, &other.folder) {
            (None, None, Some(one), Some(two)) => (place::of(one), place::of(two)),
            (Some(one), Some(two), ..) if one.is_same_as(two) => {
                let parts =
                    |path: &ObjectPath| path.parts().map(|part| part.as_ref().into()).collect();
                (
                    place::FolderPlace::of_parts(parts(&self.root)),
                    place::FolderPlace::of_parts(parts(&other.root)),
                )
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
    /// When the store does not answer, or has gone since it was opened.
    pub async fn head(&self, key: &str) -> Result<Option<Object>> {
        if self.is_nothing_at(key)? {
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
        if self.is_nothing_at(key)? {
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

    /// What came of reading one file of many. In a folder, one that may not be read says nothing of
    /// the others; a bucket that does not answer will not answer for them either.
    ///
    /// # Errors
    /// When the others are not worth a try.
    pub fn one_of_many<T>(&self, read: Result<T>) -> Result<std::result::Result<T, Error>> {
        match read {
            Ok(read) => Ok(Ok(read)),
            Err(error) if error.kind() == Kind::Io && !self.is_remote() => Ok(Err(error)),
            Err(error) => Err(error),
        }
    }

    /// Whether a folder has nothing at `key`, which it says at once, and is still there itself to say
    /// it; anything else is asked of the store underneath. A link on the way is not followed, as none
    /// is by a listing.
    fn is_nothing_at(&self, key: &str) -> Result<bool> {
        let (root, key) = self.at(key);
        let Some(folder) = &root.folder else {
            return Ok(false);
        };
        let mut path = folder.clone();
        for part in key.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            match path.symlink_metadata() {
                Ok(found) if found.is_symlink() => {
                    let place = path.strip_prefix(folder).unwrap_or(&path);
                    let place = root.show(&place.display().to_string());
                    return Err(Error::new(Kind::Io, format!("{place}: {}", Unfit::Link)));
                }
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return root.check_there().map(|()| true);
                }
                Err(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Calls `each` with the bytes at `key`, piece by piece; returns whether there is such an
    /// object.
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
        if let GetResultPayload::File(file, _) = found.payload {
            let wrong = |e| self.failed(key, "cannot be read", e);
            return through_file(file, each).await.map(|()| true).map_err(wrong);
        }
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
            Err(Error::new(
                Kind::Io,
                format!("{}: has gone", self.show(key)),
            ))
        }
    }

    /// The error of a request; without credentials that is all there is to say.
    fn failed<E>(&self, key: &str, what: &str, error: E) -> Error
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let place = self.show(key);
        let (root, _) = self.at(key);
        if root
            .bucket
            .as_ref()
            .is_some_and(|bucket| bucket.lacks_credentials())
        {
            return Error::new(
                Kind::Io,
                format!(
                    "{place}: {what}: there are no credentials: give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
                     as a profile with --profile, or give the machine a role"
                ),
            );
        }
        if let Some(bucket) = root
            .bucket
            .as_ref()
            .filter(|bucket| bucket.is_out_of_reach())
        {
            // The steps of the client between its request and the reason say nothing more.
            let mut cause: &dyn std::error::Error = &error;
            while let Some(next) = cause.source() {
                cause = next;
            }
            let server = bucket.server();
            return Error::new(
                Kind::Io,
                format!("{place}: cannot be reached: {server} does not answer: {cause}"),
            );
        }
        Error::io(format!("{place}: {what}"), error)
    }

    fn object_of(&self, meta: &ObjectMeta) -> Option<Object> {
        let location = meta.location.as_ref();
        let root = self.root.as_ref();
        let key = if root.is_empty() {
            location
        } else {
            location.strip_prefix(root)?.strip_prefix('/')?
        };
        #[expect(
            clippy::case_sensitive_file_extension_comparisons,
            reason = "keys are compared as they are"
        )]
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

/// The file system of a folder, if there is one.
fn device(folder: &Path) -> Option<u64> {
    folder.metadata().ok().map(|found| found.dev())
}

/// Calls `each` with the bytes of a local file, in pieces that are large enough for the way to
/// another thread and back to cost little beside them.
async fn through_file(mut file: File, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    const PIECE: u64 = 256 << 10;
    let mut piece = Vec::new();
    loop {
        let reading = tokio::task::spawn_blocking(move || {
            piece.clear();
            let read = file.by_ref().take(PIECE).read_to_end(&mut piece)?;
            Ok::<_, io::Error>((file, piece, read))
        });
        let read;
        (file, piece, read) = reading.await.map_err(io::Error::other)??;
        if read == 0 {
            return Ok(());
        }
        each(&piece);
    }
}

/// What the keys below a path of a bucket begin with.
fn folder_of(path: &ObjectPath) -> String {
    if path.as_ref().is_empty() {
        String::new()
    } else {
        format!("{path}/")
    }
}

/// Refuses what was meant to be a URL and would be taken for a folder, such as `s3:/bucket`.
///
/// # Errors
/// When a slash is missing, or the scheme is in capitals.
pub fn check_place(text: &str) -> Result<()> {
    let Some((scheme, rest)) = text.split_once(':') else {
        return Ok(());
    };
    let known = ["s3", "file"]
        .into_iter()
        .find(|known| scheme.eq_ignore_ascii_case(known));
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

/// An absolute path without `.` and `..`; where the folder exists, links are followed first, as the
/// system does.
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
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
