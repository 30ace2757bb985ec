//! What a store holds, and what of it could not be listed: a listing is whole, or says what is
//! missing.
//!
//! Names that cannot be keys are skipped one by one. A folder that cannot be listed hides what lies
//! in it, and nothing else. A caller cannot get the objects without deciding about the rest:
//! [`StoreListing::whole`] and [`StoreListing::meant`] fail where something is missing,
//! [`StoreListing::apart`] hands it over, [`StoreListing::spool`] sorts the files of a spool.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Kind, Result},
    model::{
        layout::{self, FolderReach, Placed},
        partition::{Selection, Series},
    },
};

/// So many bytes of a key are shown in a message.
const SHOWN: usize = 500;

/// An object of a store, as its listing tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key below the store's root.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last changed, in microseconds since 1970 UTC.
    pub modified_us: i64,
    /// The store's tag of this version of the object, where it gives one.
    pub tag: Option<String>,
}

/// Why a name is no key of a usable object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// A byte is a control character.
    Control,
    /// The bytes are no UTF-8.
    NotText,
    /// A part is empty, `.` or `..`.
    Part,
    /// The system opens no path of this length.
    Length,
    /// A symbolic link.
    Link,
    /// A pipe, a socket or a device.
    Special,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "its name holds control characters: rename it",
            Self::NotText => "its name is not UTF-8: rename it",
            Self::Part => "a part of its key is empty, \".\" or \"..\": rename it",
            Self::Length => "its path is longer than the system opens: move it up",
            Self::Link => "it is a symbolic link, and links are not followed: put the file or folder itself there",
            Self::Special => "it is no regular file",
        })
    }
}

/// A Parquet file of the spool that no run takes in, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ignored {
    /// Its key below the spool's root, or that of a link; what is no text is escaped.
    pub file: String,
    /// Why.
    pub reason: String,
}

impl Ignored {
    /// Whether it lies where files of a series may lie that `selection` means, or where none can
    /// lie.
    #[must_use]
    pub fn is_meant(&self, selection: &Selection) -> bool {
        let folder = self.file.rsplit_once('/').map_or("", |(folder, _)| folder);
        FolderReach::of("", folder).is_none_or(|reach| reach.meets(selection))
    }
}

/// A folder whose content is not known, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unlisted {
    /// Its key below the store's root; empty for the root.
    pub folder: String,
    /// Why it could not be listed; names the folder.
    pub reason: String,
}

/// The folders of a store that could not be listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "what could not be listed must fail what it hides"]
pub struct Missing(Vec<Unlisted>);

impl Missing {
    /// The folder because of which not all is known of `series`, where the layout begins in the
    /// folder `base`.
    #[must_use]
    pub fn of(&self, base: &str, series: &Series) -> Option<&Unlisted> {
        self.0
            .iter()
            .find(|one| FolderReach::of(base, &one.folder).is_some_and(|reach| reach.has(series)))
    }

    /// What may hide files of the series that `selection` means.
    pub fn meant(self, base: &str, selection: &Selection) -> Self {
        self.meant_in(&[base], selection)
    }

    /// The same where the layout begins in any of the folders `bases`.
    pub fn meant_in(self, bases: &[&str], selection: &Selection) -> Self {
        let in_one = |base: &&str, one: &Unlisted| {
            FolderReach::of(base, &one.folder).is_some_and(|r| r.meets(selection))
        };
        let may = |one: &Unlisted| bases.iter().any(|base| in_one(base, one));
        Self(self.0.into_iter().filter(may).collect())
    }

    /// The same of a spool, with folders where no series can have files: a file there belongs
    /// nowhere, and would be told.
    pub fn near(self, selection: &Selection) -> Self {
        let may = |one: &Unlisted| {
            FolderReach::of("", &one.folder).is_none_or(|reach| reach.meets(selection))
        };
        Self(self.0.into_iter().filter(may).collect())
    }

    /// This and what is missing of another listing.
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Fails when anything is missing.
    ///
    /// # Errors
    /// The first folder, with the number of others.
    pub fn fail(&self) -> Result<()> {
        let Some(first) = self.0.first() else {
            return Ok(());
        };
        let more = self.0.len() - 1;
        let others = if more == 0 {
            String::new()
        } else {
            format!(" (and {more} more)")
        };
        Err(Error::new(Kind::Io, format!("{}{others}", first.reason)))
    }

    /// The same of a store that is the folder `folder` of another one.
    pub(super) fn below(self, folder: &str) -> Self {
        let deeper = |one: Unlisted| Unlisted {
            folder: joined(folder, &one.folder),
            ..one
        };
        Self(self.0.into_iter().map(deeper).collect())
    }

    /// The folders.
    #[must_use]
    pub fn all(&self) -> &[Unlisted] {
        &self.0
    }

    /// The folders, to be kept.
    #[must_use]
    pub fn into_all(self) -> Vec<Unlisted> {
        self.0
    }
}

/// A spool, its files sorted into series.
#[derive(Debug, Default)]
pub struct SpoolListing {
    /// The Parquet files of series, by key.
    pub files: Vec<(Placed, Object)>,
    /// Parquet files that belong to no series, or whose names cannot be keys; and links.
    pub ignored: Vec<Ignored>,
    /// What is no input, such as the collector's quality windows.
    pub others: Vec<Object>,
    /// Folders that could not be listed.
    pub missing: Missing,
}

/// What a store holds below a folder.
#[derive(Debug, Default)]
#[must_use]
pub struct StoreListing {
    objects: Vec<Object>,
    /// Parquet files whose names cannot be keys, and links that bear the name of one.
    unfit: Vec<(String, Unfit)>,
    /// Links to folders.
    links: Vec<String>,
    unlisted: Vec<Unlisted>,
    /// The root, as a person would type it.
    root: String,
    /// Folders that are stores of their own, with their roots.
    roots: Vec<(String, String)>,
}

impl StoreListing {
    /// A listing of the store that is shown as `root`, still empty.
    pub(super) fn of(root: &str) -> Self {
        Self {
            root: root.trim_end_matches('/').to_owned(),
            ..Self::default()
        }
    }

    /// A listing of a store that is made of others, each a folder of it with a root of its own,
    /// still empty.
    pub(super) fn of_several(root: &str, roots: impl Iterator<Item = (String, String)>) -> Self {
        let bare =
            |(folder, root): (String, String)| (folder, root.trim_end_matches('/').to_owned());
        Self {
            roots: roots.map(bare).collect(),
            ..Self::of(root)
        }
    }

    /// Takes up the listing of the store that is the folder `folder` of this one.
    pub(super) fn take(&mut self, folder: &str, other: Self) {
        let deeper = |key: String| joined(folder, &key);
        self.objects
            .extend(other.objects.into_iter().map(|one| Object {
                key: deeper(one.key),
                ..one
            }));
        self.unfit.extend(
            other
                .unfit
                .into_iter()
                .map(|(name, why)| (deeper(name), why)),
        );
        self.links.extend(other.links.into_iter().map(deeper));
        self.unlisted
            .extend(other.unlisted.into_iter().map(|one| Unlisted {
                folder: deeper(one.folder),
                ..one
            }));
    }

    /// Takes up another listing of the same store.
    pub(super) fn join(&mut self, other: Self) {
        self.objects.extend(other.objects);
        self.unfit.extend(other.unfit);
        self.links.extend(other.links);
        self.unlisted.extend(other.unlisted);
    }

    /// Takes note that nothing of the store that is the folder `folder` of this one could be listed
    /// below `prefix`.
    pub(super) fn miss_all(&mut self, folder: &str, prefix: &str, error: &Error) {
        self.unlisted.push(Unlisted {
            folder: joined(folder, prefix),
            reason: error.chain(),
        });
    }

    /// Keeps what lies below the folder `below` of a collector's folder.
    pub(super) fn keep_below(&mut self, below: &str) {
        let lies = |key: &str| {
            layout::collector_of(key).is_some()
                && layout::without_collector(key)
                    .strip_prefix(below)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        self.objects.retain(|one| lies(&one.key));
        self.unfit.retain(|(name, _)| lies(name));
    }

    /// Takes up an object of this name, a path below the root, unless it is unfinished or hidden.
    /// The size and the time are asked for when they are needed.
    pub(super) fn add<E>(
        &mut self,
        name: &[u8],
        look: impl FnOnce(String) -> std::result::Result<Option<Object>, E>,
    ) -> std::result::Result<(), E> {
        let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
        let mut folders = name.split(|byte| *byte == b'/').rev().skip(1);
        let is_hidden = |part: &[u8]| part.starts_with(b".") && part != b"." && part != b"..";
        if file.starts_with(b".") || file.ends_with(b".tmp") || folders.any(is_hidden) {
            return Ok(());
        }
        match key_of(name) {
            Ok(key) => self.objects.extend(look(key)?),
            Err(why) => self.refuse(name, why),
        }
        Ok(())
    }

    /// Takes note of a name that no object can be reached by. Only that of a Parquet file is missed
    /// by anyone.
    pub(super) fn refuse(&mut self, name: &[u8], why: Unfit) {
        let shown = shown(name);
        if name.ends_with(b".parquet") {
            self.unfit.push((shown, why));
        } else {
            tracing::debug!(name = shown, %why, "passed over");
        }
    }

    /// Takes note of a link to a folder.
    pub(super) fn link(&mut self, name: &[u8]) {
        self.links.push(shown(name));
    }

    /// Takes note of a folder that cannot be listed.
    pub(super) fn miss(&mut self, folder: &[u8], why: &dyn fmt::Display) {
        let folder = shown(folder);
        let reason = format!("{}: cannot be listed: {why}", self.place(&folder));
        self.unlisted.push(Unlisted { folder, reason });
    }

    fn place(&self, key: &str) -> String {
        let (first, rest) = key.split_once('/').unwrap_or((key, ""));
        let own = self.roots.iter().find(|(folder, _)| folder == first);
        let (root, key) = own.map_or((&self.root, key), |(_, root)| (root, rest));
        match key {
            "" => root.clone(),
            // A path that is too long for the system is too long for a message.
            long if long.len() > SHOWN => {
                let end = long.floor_char_boundary(SHOWN);
                format!("{root}/{}…", long.get(..end).unwrap_or_default())
            }
            key => format!("{root}/{key}"),
        }
    }

    /// The number of objects so far.
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// The objects so far.
    pub(super) fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// Sorts the objects by key.
    pub(super) fn sorted(mut self) -> Self {
        self.objects.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        self
    }

    /// All objects, by key.
    ///
    /// # Errors
    /// When anything could not be listed.
    pub fn whole(self) -> Result<Vec<Object>> {
        let (objects, missing) = self.apart();
        missing.fail().map(|()| objects)
    }

    /// The objects, by key, where the layout begins in the folder `base`.
    ///
    /// # Errors
    /// When what could not be listed may hide objects of a series that `selection` means.
    pub fn meant(self, base: &str, selection: &Selection) -> Result<Vec<Object>> {
        let (objects, missing) = self.apart();
        missing.meant(base, selection).fail().map(|()| objects)
    }

    /// The objects, by key, and apart from them what could not be listed.
    pub fn apart(self) -> (Vec<Object>, Missing) {
        for (name, why) in &self.unfit {
            tracing::warn!(file = self.place(name), %why, "passed over");
        }
        // A link is not followed, so what it leads to is not known.
        let links: Vec<Unlisted> = self
            .links
            .iter()
            .map(|link| Unlisted {
                folder: link.clone(),
                reason: format!("{}: cannot be listed: {}", self.place(link), Unfit::Link),
            })
            .collect();
        (
            self.objects,
            Missing(self.unlisted.into_iter().chain(links).collect()),
        )
    }

    /// The files of a spool. A link in it leads to files that somebody else may have chosen; it is
    /// ignored like a file that belongs nowhere.
    #[must_use]
    pub fn spool(self) -> SpoolListing {
        let mut spool = SpoolListing::default();
        for object in self.objects {
            match Placed::in_spool(&object.key) {
                Some(Ok(placed)) => spool.files.push((placed, object)),
                Some(Err(error)) => spool.ignored.push(Ignored {
                    file: object.key,
                    reason: error.chain(),
                }),
                None => spool.others.push(object),
            }
        }
        let links = self.links.into_iter().map(|name| (name, Unfit::Link));
        let unfit = self
            .unfit
            .into_iter()
            .chain(links)
            .filter(|(name, _)| !layout::is_own_folder(name));
        spool.ignored.extend(unfit.map(|(file, why)| Ignored {
            file,
            reason: why.to_string(),
        }));
        spool.ignored.sort();
        let unlisted = self
            .unlisted
            .into_iter()
            .filter(|one| !layout::is_own_folder(&one.folder));
        spool.missing = Missing(unlisted.collect());
        spool
    }
}

/// A key of the folder `folder`; that folder itself where the key is empty.
fn joined(folder: &str, key: &str) -> String {
    match (folder, key) {
        ("", key) => key.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, key) => format!("{folder}/{key}"),
    }
}

/// The key that these bytes are, if they can be one.
fn key_of(name: &[u8]) -> std::result::Result<String, Unfit> {
    let text = std::str::from_utf8(name).map_err(|_| Unfit::NotText)?;
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Unfit::Control);
    }
    if text.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        return Err(Unfit::Part);
    }
    Ok(text.to_owned())
}

/// A name as it can be shown: what is no plain text is escaped.
fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() {
                text.extend(letter.escape_default());
            } else {
                text.push(letter);
            }
        }
        text.extend(
            chunk
                .invalid()
                .iter()
                .flat_map(|byte| std::ascii::escape_default(*byte))
                .map(char::from),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: &str = "exchange=binance/stream=bbo/symbol=btcusdt";

    fn object(key: String) -> Object {
        Object {
            key,
            size: 1,
            modified_us: 1,
            tag: None,
        }
    }

    fn listing(names: &[&[u8]]) -> StoreListing {
        let mut listing = StoreListing::of("/spool/");
        for name in names {
            listing
                .add(name, |key| Ok::<_, ()>(Some(object(key))))
                .unwrap();
        }
        listing
    }

    #[test]
    fn a_name_that_cannot_be_a_key_is_passed_over_alone() {
        let listed = listing(&[
            b"a/x.parquet",
            b"a/new\nline.parquet",
            b"a/\xff.parquet",
            b"a//x.parquet",
            b"a/../x.parquet",
            b"/x.parquet",
            b"a/Icon\r",
            b"a/.hidden.parquet",
            b".trash/x.parquet",
            b"a/x.parquet.tmp",
            b"b/y.parquet",
        ]);
        let spool = listed.spool();
        let names: Vec<&str> = spool.ignored.iter().map(|one| one.file.as_str()).collect();
        assert_eq!(
            names,
            [
                "/x.parquet",
                "a/../x.parquet",
                "a//x.parquet",
                "a/\\xff.parquet",
                "a/new\\nline.parquet",
                "a/x.parquet",
                "b/y.parquet",
            ]
        );
        assert!(
            spool.files.is_empty() && spool.others.is_empty() && spool.missing.all().is_empty()
        );
        let [first, ..] = spool.ignored.as_slice() else {
            panic!("nothing is ignored")
        };
        assert!(first.reason.contains("empty"), "{first:?}");
    }

    #[test]
    fn what_is_missing_fails_what_it_may_hide() {
        let series: Series =
            serde_json::from_str(r#"{"exchange":"binance","stream":"bbo","symbol":"btcusdt"}"#)
                .unwrap();
        let other = Selection {
            symbols: vec!["ethusdt".parse().unwrap()],
            ..Selection::all()
        };
        let broken = || {
            let mut listed = listing(&[b"a"]);
            listed.miss(format!("{SERIES}/deep").as_bytes(), &"no permission");
            listed
        };
        let error = broken().whole().unwrap_err().chain();
        assert_eq!(
            error,
            format!("/spool/{SERIES}/deep: cannot be listed: no permission")
        );
        assert!(broken().meant("", &Selection::all()).is_err());
        assert_eq!(broken().meant("", &other).unwrap().len(), 1);
        assert_eq!(
            broken()
                .meant("QUARANTINE", &Selection::all())
                .unwrap()
                .len(),
            1
        );
        let (objects, missing) = broken().apart();
        assert_eq!(objects.len(), 1);
        assert!(missing.of("", &series).is_some() && missing.of("_receipts", &series).is_none());
        assert!(missing.fail().is_err() && Missing::default().fail().is_ok());
    }

    #[test]
    fn a_link_hides_a_folder_of_an_archive_and_is_ignored_in_a_spool() {
        let linked = || {
            let mut listed = listing(&[b"a.json"]);
            listed.link(SERIES.as_bytes());
            listed
        };
        assert!(
            linked()
                .whole()
                .unwrap_err()
                .chain()
                .contains("symbolic link")
        );
        let spool = linked().spool();
        assert_eq!(spool.ignored.len(), 1);
        assert!(spool.missing.all().is_empty());
        assert_eq!(spool.others.len(), 1);
    }
}
