//! Temporary files that dead processes left anywhere below a local store.
//!
//! The runs of a partition sweep its own folders; here are those of partitions that no run comes
//! back to. Files that a living process holds locked, whatever their age, and files that are not
//! qlc's are left alone.

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    held,
    listing::{Missing, StoreListing},
    store::Store,
};
use crate::{
    error::{Error, Result},
    model::layout,
};

/// The abandoned temporary files below the root of `store`, in order, and the folders that could
/// not be looked into; a bucket has none.
pub fn abandoned(store: &Store) -> (Vec<PathBuf>, Missing) {
    let (mut found, mut missing) = (Vec::new(), Missing::default());
    for (folder, root) in store.roots() {
        let (more, hidden) = of_root(root);
        found.extend(more);
        missing = missing.and(hidden.below(folder));
    }
    (found, missing)
}

fn of_root(store: &Store) -> (Vec<PathBuf>, Missing) {
    let mut found = Vec::new();
    let mut listing = StoreListing::of(&store.show(""));
    let Some(root) = store.local_folder() else {
        return (found, Missing::default());
    };
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        match look(&folder, &mut found, &mut folders) {
            Ok(()) => {}
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) => {}
            Err(e) => {
                let below = folder.strip_prefix(root).unwrap_or(&folder);
                if below != Path::new(layout::LOST_AND_FOUND) {
                    listing.miss(below.as_os_str().as_bytes(), &e);
                }
            }
        }
    }
    found.sort();
    let (_, missing) = listing.apart();
    (found, missing)
}

fn look(
    folder: &Path,
    found: &mut Vec<PathBuf>,
    folders: &mut Vec<PathBuf>,
) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Links are not followed: what they lead to is not the store's.
        let kind = entry.file_type()?;
        if kind.is_dir() {
            folders.push(entry.path());
        } else if kind.is_file() && is_ours(&entry.path()) && held::take(&entry.path()).is_some() {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// Removes one of them; `false` when a process has taken it up, or it has gone.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(path: &Path) -> Result<bool> {
    // Held until the file is gone.
    let Some(_held) = held::take(path) else {
        return Ok(false);
    };
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(
            format!("{}: cannot be removed", path.display()),
            e,
        )),
    }
}

/// Whether a file has the name of a temporary one.
pub(super) fn is_ours(path: &Path) -> bool {
    path.file_name()
        .and_then(|n| n.to_str())
        .is_some_and(|n| n.starts_with('.') && n.ends_with(".qlc.tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_or_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().display().to_string()).unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        let at = |name: &str| {
            folder
                .path()
                .join("deep")
                .canonicalize()
                .unwrap()
                .join(name)
        };
        for name in [
            ".data.parquet.1.qlc.tmp",
            ".held.2.qlc.tmp",
            "data.parquet",
            ".other.tmp",
        ] {
            fs::write(at(name), b"x").unwrap();
        }
        let _held = held::take(&at(".held.2.qlc.tmp")).unwrap();
        assert_eq!(
            abandoned(&store),
            (vec![at(".data.parquet.1.qlc.tmp")], Missing::default())
        );
        assert!(!remove(&at(".held.2.qlc.tmp")).unwrap());
        assert!(remove(&at(".data.parquet.1.qlc.tmp")).unwrap());
        assert!(!remove(&at(".data.parquet.1.qlc.tmp")).unwrap());
        assert_eq!(abandoned(&store).0, Vec::<PathBuf>::new());
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 3);
    }
}
