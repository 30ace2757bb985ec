//! Temporary files that dead processes left anywhere below a local store.
//!
//! The runs of a partition sweep its own folders; here are those of partitions that no run comes back to. Refuses files
//! that a living process holds locked, whatever their age, and files that are not qlc's.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::store::Store;
use crate::error::{Error, Result};

/// The abandoned temporary files below the root of `store`, in order; a bucket has none.
#[must_use]
pub fn abandoned(store: &Store) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = store.local_folder().map(Path::to_owned).into_iter().collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            // Links are not followed: what they lead to is not the store's.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && is_ours(&entry.path()) && lock(&entry.path()).is_some() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Removes one of them; `false` when a process has taken it up, or it has gone.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(path: &Path) -> Result<bool> {
    // Held until the file is gone.
    let Some(_lock) = lock(path) else { return Ok(false) };
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(format!("{}: cannot be removed", path.display()), e)),
    }
}

fn is_ours(path: &Path) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with('.') && n.ends_with(".qlc.tmp"))
}

fn lock(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_or_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().display().to_string()).unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        let at = |name: &str| folder.path().join("deep").canonicalize().unwrap().join(name);
        for name in [".data.parquet.1.qlc.tmp", ".held.2.qlc.tmp", "data.parquet", ".other.tmp"] {
            fs::write(at(name), b"x").unwrap();
        }
        let _held = lock(&at(".held.2.qlc.tmp")).unwrap();
        assert_eq!(abandoned(&store), [at(".data.parquet.1.qlc.tmp")]);
        assert!(!remove(&at(".held.2.qlc.tmp")).unwrap());
        assert!(remove(&at(".data.parquet.1.qlc.tmp")).unwrap());
        assert!(!remove(&at(".data.parquet.1.qlc.tmp")).unwrap());
        assert_eq!(abandoned(&store), Vec::<PathBuf>::new());
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 3);
    }
}
