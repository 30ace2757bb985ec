//! The QUARANTINE of a partition: `error.json`, and the bytes beside it.
//!
//! This is the only place that reads and writes either. An `error.json` that cannot be parsed is an
//! error for the caller and is never replaced. Bytes that are kept are never overwritten, whether
//! or not an entry names them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};

use super::partition::{PartitionHandle, version};
use crate::{
    error::{Error, Kind, Result},
    model::{
        date::Date,
        layout::{self, Placed},
        partition::Series,
        quarantine::{Entry, ErrorFile, Extent},
    },
    storage::{
        Expect, atomic,
        listing::{Missing, StoreListing},
        remove::{Removal, remove},
        store::Store,
    },
};

/// How often the turn to write an `error.json` is waited for, 20 milliseconds at a time.
const TURNS: u32 = 500;

/// `error.json` files that are read at a time.
const READ_AT_A_TIME: usize = 8;

/// The days of each series that have an `error.json`.
pub type QuarantineDays = BTreeMap<Series, BTreeSet<Date>>;

/// The days that the objects of a listing are about, and the folders in which there may be more.
pub fn days(listing: StoreListing) -> (QuarantineDays, Missing) {
    let (objects, missing) = listing.apart();
    let mut all = QuarantineDays::new();
    for object in objects {
        if let Some(Ok(Placed {
            series,
            date: Some(date),
            file,
        })) = Placed::below(layout::QUARANTINE, &object.key)
            && file == layout::ERROR_FILE
        {
            let _ = all.entry(series).or_default().insert(date);
        }
    }
    (all, missing)
}

/// The entries of a series, of all of its days: the bytes of an entry are known under whatever name
/// they lie in the spool now, and so whatever day that name tells.
#[derive(Debug, Default)]
pub struct SeriesEntries {
    /// The entries of each day; of one whose `error.json` cannot be read or understood, why.
    days: BTreeMap<Date, std::result::Result<Vec<Entry>, Unknown>>,
    /// Folders in which there may be more.
    missing: Missing,
}

/// Why the entries of a day are not known.
#[derive(Debug)]
struct Unknown {
    kind: Kind,
    why: String,
}

impl SeriesEntries {
    /// Lists and reads the entries of a series.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn list(archive: &Store, series: &Series) -> Result<Self> {
        let folder = format!("{}/{}", layout::QUARANTINE, layout::series_dir(series));
        let (mut days, missing) = days(archive.list(&folder).await?);
        let read = Self::read(archive, series, days.remove(series).unwrap_or_default()).await?;
        Ok(Self { missing, ..read })
    }

    /// Reads the entries of these days of a series. A file of a folder that may not be read says
    /// nothing of the others.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn read(archive: &Store, series: &Series, days: BTreeSet<Date>) -> Result<Self> {
        let read = days.into_iter().map(|date| {
            let handle = PartitionHandle::new(archive, &series.on(date));
            async move {
                let read = entries_of_many(&handle).await?;
                let unknown = |error: Error| Unknown {
                    kind: error.kind(),
                    why: error.chain(),
                };
                Ok((date, read.map_err(unknown)))
            }
        });
        let days = stream::iter(read)
            .buffered(READ_AT_A_TIME)
            .try_collect()
            .await?;
        Ok(Self {
            days,
            missing: Missing::default(),
        })
    }

    /// The entries of one day.
    ///
    /// # Errors
    /// When its `error.json` cannot be read or understood.
    pub fn of_day(&self, date: Date) -> Result<&[Entry]> {
        match self.days.get(&date) {
            None => Ok(&[]),
            Some(Ok(entries)) => Ok(entries),
            Some(Err(Unknown { kind, why })) => Err(Error::new(*kind, why)),
        }
    }

    /// The entries that may be about a file of the series, with the day that each is kept at: those
    /// under its name, and those whose bytes or rows it may have under another one. Its sha256
    /// tells whether they are.
    pub fn of_file<'a>(
        &'a self,
        key: &'a str,
        size: u64,
    ) -> impl Iterator<Item = (Date, &'a Entry)> {
        let all = self.days.iter().flat_map(|(date, entries)| {
            let entries = entries.iter().flatten();
            entries.map(|entry| (*date, entry))
        });
        let is_meant = move |entry: &Entry| {
            entry.size == size
                && (entry.source_path == key
                    || entry.extent() != Extent::Whole
                    || entry.may_be_of(key, size))
        };
        all.filter(move |(_, entry)| is_meant(entry))
    }

    /// The entries that this task of a cluster has made, as far as entries are known. A file
    /// without a day in its name is kept under that of its rows or of its last change, which may be
    /// any.
    pub fn of_task<'a>(&'a self, task: &'a str) -> impl Iterator<Item = &'a Entry> {
        let entries = self.days.values().flatten().flatten();
        entries.filter(move |entry| entry.task.as_deref() == Some(task))
    }

    /// Fails where an `error.json` of the series is not known: it may name any file.
    ///
    /// # Errors
    /// Why the first of them is not.
    pub fn all_known(&self) -> Result<()> {
        self.missing.fail()?;
        let mut days = self.days.keys();
        days.try_for_each(|date| self.of_day(*date).map(drop))
    }

    /// Fails where the entries of one of these days are not known.
    ///
    /// # Errors
    /// When its folder could not be listed, or its `error.json` cannot be read or understood.
    pub fn days_known(&self, series: &Series, days: &BTreeSet<Date>) -> Result<()> {
        for date in days {
            let own = layout::quarantine_dir(&series.on(*date));
            let hides = |folder: &str| {
                own.strip_prefix(folder)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if let Some(gap) = self.missing.all().iter().find(|one| hides(&one.folder)) {
                return Err(Error::new(Kind::Io, gap.reason.clone()));
            }
            let _ = self.of_day(*date)?;
        }
        Ok(())
    }
}

/// The entries of a partition.
///
/// # Errors
/// When the archive does not answer, or `error.json` cannot be understood: to act as if it said
/// nothing would be a guess.
pub async fn entries(handle: &PartitionHandle) -> Result<Vec<Entry>> {
    Ok(entries_and_version(handle).await?.0)
}

/// The entries of one partition among many: that its own `error.json` cannot be read or understood
/// says nothing of the others, and is inside.
///
/// # Errors
/// When the archive does not answer.
pub async fn entries_of_many(handle: &PartitionHandle) -> Result<Result<Vec<Entry>>> {
    match entries(handle).await {
        Err(error) if error.kind() == Kind::Damage => Ok(Err(error)),
        read => handle.archive().one_of_many(read),
    }
}

async fn entries_and_version(handle: &PartitionHandle) -> Result<(Vec<Entry>, Expect)> {
    let stands = handle.archive().read_version(&handle.error_key()).await?;
    let Some((bytes, tag)) = stands else {
        return Ok((Vec::new(), Expect::Absent));
    };
    Ok((
        parse(handle.archive(), &handle.error_key(), &bytes)?,
        version(Some(tag)),
    ))
}

/// The entries in the bytes of the `error.json` at `key`, for those who read many of them at a
/// time.
///
/// # Errors
/// When they cannot be understood.
pub fn parse(archive: &Store, key: &str, bytes: &[u8]) -> Result<Vec<Entry>> {
    let file = ErrorFile::from_json(bytes).map_err(|e| {
        let shown = archive.show(key);
        Error::caused(
            Kind::Damage,
            format!("{shown}: repair it first, or move it and what lies beside it away"),
            e,
        )
    })?;
    Ok(file.files)
}

/// Adds entries, which other processes may be doing as well; an entry of the same kept file is
/// replaced.
///
/// # Errors
/// As [`entries`], and when `error.json` cannot be written.
pub async fn add(handle: &PartitionHandle, staging: &Path, new: &[Entry]) -> Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    update(handle, staging, |mut known| {
        known.retain(|entry| !new.iter().any(|n| n.kept_as == entry.kept_as));
        known.extend(new.iter().cloned());
        Ok(known)
    })
    .await
}

/// Lets `change` alter the entry that is kept under this name, or take it out by returning `None`.
///
/// # Errors
/// When there is no such entry any more, and as [`add`].
pub async fn change(
    handle: &PartitionHandle,
    staging: &Path,
    kept_as: &str,
    change: impl Fn(Entry) -> Option<Entry> + Send + Sync,
) -> Result<()> {
    update(handle, staging, |known| {
        let (mut same, mut others): (Vec<Entry>, Vec<Entry>) =
            known.into_iter().partition(|e| e.kept_as == kept_as);
        let gone = || {
            Error::new(
                Kind::Io,
                format!(
                    "{}: {kept_as} is not in QUARANTINE any more",
                    handle.partition()
                ),
            )
        };
        others.extend(change(same.pop().ok_or_else(gone)?));
        Ok(others)
    })
    .await
}

async fn update(
    handle: &PartitionHandle,
    staging: &Path,
    change: impl Fn(Vec<Entry>) -> Result<Vec<Entry>> + Send + Sync,
) -> Result<()> {
    let (archive, key, dir) = (
        handle.archive(),
        handle.error_key(),
        handle.quarantine_dir(),
    );
    atomic::in_turn(archive, &dir, TURNS, || async {
        let object = archive.head(&key).await?;
        let (known, expect) = entries_and_version(handle).await?;
        let raced = || Error::new(Kind::Conflict, "error.json has a new entry");
        match (ErrorFile::of(change(known)?), object) {
            (Some(file), _) => {
                let _ =
                    atomic::write_bytes(archive, &key, staging, &expect, file.to_json()?).await?;
                Ok(())
            }
            (None, None) => Ok(()),
            // What was read is what was looked at, or it changed and the turn is taken again.
            (None, Some(object)) if version(Some(object.tag.clone())) == expect => {
                match remove(archive, &object).await? {
                    Removal::Removed | Removal::Absent => Ok(()),
                    Removal::Changed => Err(raced()),
                }
            }
            (None, Some(_)) => Err(raced()),
        }
    })
    .await
}

/// A name under which something can be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptName {
    /// Nothing is kept under this name.
    Free(String),
    /// These very bytes are kept under this name already.
    Kept(String),
}

/// The first name that is free, or that has these bytes already. An object without an entry is left
/// by a run that was killed: what it is is told by its bytes, which `is_same` is asked for.
///
/// # Errors
/// When the archive does not answer.
pub async fn place_for(
    handle: &PartitionHandle,
    known: &[Entry],
    names: impl Iterator<Item = String> + Send,
    of_source: (&str, &str),
    is_same: &(dyn for<'a> Fn(&'a str) -> BoxFuture<'a, Result<bool>> + Send + Sync),
) -> Result<KeptName> {
    let (source_path, sha256) = of_source;
    for name in names {
        let entry = known.iter().find(|entry| entry.kept_as == name);
        if entry.is_some_and(|entry| entry.source_path != source_path || entry.sha256 != sha256) {
            continue;
        }
        let key = handle.kept_key(&name);
        if handle.archive().head(&key).await?.is_none() {
            return Ok(KeptName::Free(name));
        }
        if is_same(&key).await? {
            return Ok(KeptName::Kept(name));
        }
    }
    Err(Error::new(
        Kind::Io,
        format!("{}: no name is free in QUARANTINE", handle.partition()),
    ))
}

/// Keeps a file whole, unless it is kept already; returns the name.
///
/// # Errors
/// When it cannot be copied.
pub async fn keep(
    handle: &PartitionHandle,
    staging: &Path,
    from: &Store,
    from_key: &str,
    sha256: &str,
    known: &[Entry],
    names: impl Iterator<Item = String> + Send,
) -> Result<String> {
    let archive = handle.archive();
    let is_same: &(dyn for<'a> Fn(&'a str) -> BoxFuture<'a, Result<bool>> + Send + Sync) = &|key| {
        let (archive, key, sha256) = (archive.clone(), key.to_owned(), sha256.to_owned());
        Box::pin(async move { Ok(archive.sha256(&key).await?.0 == sha256) })
    };
    match place_for(handle, known, names, (from_key, sha256), is_same).await? {
        KeptName::Kept(name) => Ok(name),
        KeptName::Free(name) => {
            let key = handle.kept_key(&name);
            let copied = atomic::copy_of(
                from,
                from_key,
                archive,
                &key,
                staging,
                &Expect::Absent,
                sha256.to_owned(),
                Box::new(|_| Box::pin(async { Ok(()) })),
            )
            .await;
            match copied {
                Ok(_) => Ok(name),
                // Another process keeps the same file at the same time.
                Err(error)
                    if error.kind() == Kind::Conflict
                        && archive.sha256(&key).await?.0 == sha256 =>
                {
                    Ok(name)
                }
                Err(error) => Err(error),
            }
        }
    }
}
