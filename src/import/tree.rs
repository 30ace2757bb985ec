//! What is in a tree that another pipeline left: where in it the layout begins, the days that were
//! compacted, and the files of its collectors.
//!
//! The layout may begin in the tree itself or one folder below it, not deeper: there may be other
//! data under the same names.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{Imported, Options, Outcome};
use crate::{
    error::Result,
    file::{fault::Problem, reader::Handle},
    model::{
        date::Date,
        layout::{self, Placed, date_of_folder},
        partition::{Partition, Selection},
    },
    storage::{
        listing::{Ignored, Missing},
        store::{Object, Store},
    },
};

/// Where the layout begins: at the root of the tree, and in folders directly below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    /// The folders, below the tree; empty for the tree itself.
    pub folders: Vec<String>,
    /// Parquet files that lie in none of them, and folders that may hold some and could not be
    /// listed.
    pub outside: Vec<Ignored>,
}

/// Finds out where in `tree` the layout begins.
///
/// # Errors
/// When the tree cannot be listed.
pub async fn roots(tree: &Store, selection: &Selection) -> Result<Roots> {
    let listing = tree.list("").await?.spool();
    let all = listing.files.iter().map(|(_, object)| object.key.as_str());
    let all = all.chain(listing.others.iter().map(|object| object.key.as_str()));
    let all = all.chain(listing.ignored.iter().map(|one| one.file.as_str()));
    let mut folders = BTreeSet::new();
    for key in all {
        match key.split('/').collect::<Vec<_>>().as_slice() {
            [first, ..] if first.starts_with("exchange=") => drop(folders.insert(String::new())),
            [first, second, ..] if second.starts_with("exchange=") && !is_own(first) => {
                let _ = folders.insert((*first).to_owned());
            }
            _ => {}
        }
    }
    let is_below = |key: &str| {
        folders
            .iter()
            .any(|folder| !folder.is_empty() && is_within(key, folder))
    };
    let outside = listing
        .ignored
        .into_iter()
        .filter(|one| !is_below(&one.file) && one.is_meant(selection));
    // What cannot be listed below a root is told with that root.
    let unlisted = listing
        .missing
        .near(selection)
        .into_all()
        .into_iter()
        .filter(|one| {
            let file = format!("{}/", one.folder);
            !file.starts_with("exchange=") && !is_below(&file)
        });
    let unlisted = unlisted.map(|one| Ignored {
        file: one.folder,
        reason: one.reason,
    });
    let outside = outside
        .chain(unlisted)
        .filter(|one| !one.file.starts_with("exchange="))
        .collect();
    Ok(Roots {
        outside,
        folders: folders.into_iter().collect(),
    })
}

/// A folder that an archive of qlc has for itself.
fn is_own(folder: &str) -> bool {
    folder.starts_with('_') || folder == layout::QUARANTINE || layout::is_own_folder(folder)
}

fn is_within(key: &str, folder: &str) -> bool {
    key.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with("/exchange="))
}

/// The folder of a day that was compacted.
#[derive(Debug, Clone, Default)]
pub(super) struct Folder {
    /// Its key.
    pub(super) dir: String,
    /// What lies in it besides data and meta.
    pub(super) beside: Vec<Object>,
    /// Whether it has data or a meta.
    is_day: bool,
}

impl Folder {
    pub(super) fn data_key(&self) -> String {
        format!("{}/{}", self.dir, layout::DATA_FILE)
    }

    pub(super) fn meta_key(&self) -> String {
        format!("{}/{}", self.dir, layout::META_FILE)
    }
}

/// The days that have a data file or a meta, and what else lies in the folder of each; and the
/// folders in which there may be more. A series that may have some there is left out.
pub(super) async fn days(
    tree: &Store,
    options: &Options,
    dashed: bool,
) -> Result<(Vec<(Partition, Folder)>, Missing)> {
    let mut all: BTreeMap<(Partition, String), Folder> = BTreeMap::new();
    let (objects, missing) = tree.list("").await?.apart();
    for object in objects {
        let Some((dir, file)) = object.key.rsplit_once('/') else {
            continue;
        };
        let Some(partition) = partition_of(&object.key, dashed) else {
            continue;
        };
        let is_meant = partition.date.is_within(options.start, options.end)
            && options.selection.takes(&partition.series);
        if !is_meant || missing.of("", &partition.series).is_some() {
            continue;
        }
        let folder = all.entry((partition, dir.to_owned())).or_default();
        dir.clone_into(&mut folder.dir);
        if file == layout::DATA_FILE || file == layout::META_FILE {
            folder.is_day = true;
        } else {
            folder.beside.push(object);
        }
    }
    let days = all.into_iter().filter(|(_, folder)| folder.is_day);
    let days = days
        .map(|((partition, _), folder)| (partition, folder))
        .collect();
    Ok((days, missing.meant("", &options.selection)))
}

/// The partition in whose folder `key` lies directly; `dashed` lets its day be written `2026-02-03`
/// too.
fn partition_of(key: &str, dashed: bool) -> Option<Partition> {
    match Placed::parse(key)? {
        Ok(placed) => Some(placed.series.on(placed.date?)),
        Err(_) if dashed => {
            let mut parts: Vec<String> = key.split('/').map(str::to_owned).collect();
            let folder = parts.get_mut(3)?;
            *folder = format!("date={}", date_of_folder(folder.strip_prefix("date=")?)?);
            let placed = Placed::parse(&parts.join("/"))?.ok()?;
            Some(placed.series.on(placed.date?))
        }
        Err(_) => None,
    }
}

/// The files of collectors in `tree`, by the day that their folder or name tells, else by that of
/// their last change; and the Parquet files below its folders that belong to no series.
///
/// # Errors
/// When the tree cannot be listed.
pub async fn raw_days(tree: &Store, options: &Options) -> Result<(Vec<Imported>, Vec<Ignored>)> {
    let listing = tree.list("").await?.spool();
    listing.missing.near(&options.selection).fail()?;
    let mut all: BTreeMap<Partition, Imported> = BTreeMap::new();
    for (placed, object) in listing.files {
        let is_compacted = placed.file == layout::DATA_FILE && placed.date.is_some();
        let by_time = || Date::of_ns(object.modified_us.saturating_mul(1000));
        let Some(day) = placed.home().or_else(by_time) else {
            continue;
        };
        if is_compacted
            || !options.selection.takes(&placed.series)
            || !day.is_within(options.start, options.end)
        {
            continue;
        }
        let partition = placed.series.on(day);
        let one = all
            .entry(partition.clone())
            .or_insert_with(|| Imported::of(&partition, Outcome::Rewritable));
        if options.dry_run {
            one.rows += rows(&Handle::new(tree, &object)).await?;
        }
        one.raw_files = Some(one.raw_files.unwrap_or_default() + 1);
        one.bytes += object.size;
        one.keys.push(object.key);
    }
    let ignored = listing
        .ignored
        .into_iter()
        .filter(|one| one.file.starts_with("exchange="));
    Ok((
        all.into_values().collect(),
        ignored
            .filter(|one| one.is_meant(&options.selection))
            .collect(),
    ))
}

/// The rows that a footer claims; what does not read has none.
async fn rows(handle: &Handle) -> Result<u64> {
    match handle.footer().await {
        Ok(footer) => Ok(u64::try_from(footer.file_metadata().num_rows()).unwrap_or_default()),
        Err(Problem::Storage(error)) => Err(error),
        Err(_) => Ok(0),
    }
}
