//! Scratch folders for spilled runs and staged uploads, and the sweeping of those whose process is
//! dead.
//!
//! A scratch folder is held by an advisory lock on a file in it. The kernel drops the lock when the
//! process dies, however it dies, so whoever gets the lock knows that the folder is orphaned.
//! Neither age nor process number is used.
//!
//! The folder that they are made in when no other is named lies where everyone may write, so it
//! belongs to one user ([`private_name`]). A folder of that name that somebody else made, or may
//! write to, is refused.

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::held;
use crate::error::{Error, Result};

const PREFIX: &str = "qlc-scratch-";
const LOCK: &str = "lock";
/// What is for its owner only.
const PRIVATE: u32 = 0o700;

/// The name of this user's own folder for scratch folders.
#[must_use]
pub fn private_name() -> String {
    format!("qlc-{}", rustix::process::geteuid().as_raw())
}

/// What chooses the folder for scratch folders.
const OF_SPILLED: &str = "--spill-dir";

/// Fails where the folder bears the name of this user's own folder, but is not; `chosen_by` chooses
/// another.
fn check_owner(folder: &Path, chosen_by: &str) -> Result<()> {
    if folder
        .file_name()
        .is_none_or(|name| *name != *private_name())
    {
        return Ok(());
    }
    let refused = |what: &str| {
        let place = folder.display();
        Err(Error::usage(format!(
            "{place}: {what}; remove it, or choose another folder with {chosen_by}"
        )))
    };
    match fs::symlink_metadata(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io(
            format!("{}: cannot be looked at", folder.display()),
            e,
        )),
        Ok(found) if !found.is_dir() => refused("is not a folder"),
        Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => {
            refused("is the folder of another user")
        }
        Ok(found) if found.mode() & 0o077 != 0 => refused("can be read or written by other users"),
        Ok(_) => Ok(()),
    }
}

fn unmade(folder: &Path, chosen_by: &str, e: std::io::Error) -> Error {
    let place = folder.display();
    Error::io(
        format!(
            "{place}: no temporary files can be made there; choose another folder with {chosen_by}"
        ),
        e,
    )
}

/// Makes the folder that scratch folders are made in, where it is absent.
fn make(folder: &Path, chosen_by: &str) -> Result<()> {
    let wrong = |e| unmade(folder, chosen_by, e);
    if folder
        .file_name()
        .is_none_or(|name| *name != *private_name())
    {
        return fs::create_dir_all(folder).map_err(wrong);
    }
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above).map_err(wrong)?;
    }
    match DirBuilder::new().mode(PRIVATE).create(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(wrong(e)),
        _ => check_owner(folder, chosen_by),
    }
}

/// Where [`unnamed`] puts its files, where that was said.
static UNNAMED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Has [`unnamed`] put its files into `folder` from now on.
pub fn put_unnamed_in(folder: &Path) {
    *UNNAMED.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.to_owned());
}

/// A temporary file without a name, which is gone with its last handle. It lies in the folder for
/// scratch folders, which is the same for the whole process: whoever reads a file has no settings,
/// and the usual folder for temporary files may lie in memory.
///
/// # Errors
/// When it cannot be made.
pub fn unnamed() -> Result<File> {
    let folder = UNNAMED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let Some(folder) = folder else {
        return tempfile::tempfile()
            .map_err(|e| Error::io("no temporary file can be made in the usual folder", e));
    };
    make(&folder, OF_SPILLED)?;
    tempfile::tempfile_in(&folder).map_err(|e| unmade(&folder, OF_SPILLED, e))
}

/// A folder that is removed with everything in it when this value is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes a new scratch folder in `parent`, which is made as well if it is absent.
    ///
    /// # Errors
    /// When the folder cannot be made or locked.
    pub fn new(parent: &Path) -> Result<Self> {
        Self::chosen_by(OF_SPILLED, parent)
    }

    /// The same, where another setting than `--spill-dir` chooses the folder.
    ///
    /// # Errors
    /// As [`Scratch::new`].
    pub fn chosen_by(setting: &str, parent: &Path) -> Result<Self> {
        let wrong = |e| unmade(parent, setting, e);
        make(parent, setting)?;
        loop {
            let path = parent.join(format!("{PREFIX}{}", uuid::Uuid::new_v4().simple()));
            DirBuilder::new()
                .mode(PRIVATE)
                .create(&path)
                .map_err(wrong)?;
            if let Some(lock) = held::make(&path.join(LOCK)).map_err(wrong)? {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "a scratch folder could not be removed; the next run will");
        }
    }
}

/// Removes the scratch folders in `parent` whose process is dead; returns how many there were.
#[must_use]
pub fn sweep(parent: &Path) -> usize {
    abandoned(parent)
        .iter()
        .filter(|folder| remove(folder).is_ok_and(|gone| gone))
        .count()
}

/// The scratch folders in `parent` whose process is dead, in order.
#[must_use]
pub fn abandoned(parent: &Path) -> Vec<PathBuf> {
    if check_owner(parent, OF_SPILLED).is_err() {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let ours = entries.flatten().filter(|entry| {
        entry
            .file_name()
            .to_str()
            .is_some_and(|n| n.starts_with(PREFIX))
    });
    let mut found: Vec<PathBuf> = ours
        .map(|e| e.path())
        .filter(|folder| Abandoned::of(folder).is_some())
        .collect();
    found.sort();
    found
}

/// Removes one of them; `false` when a process holds it after all.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(folder: &Path) -> Result<bool> {
    // Held until the folder is gone.
    let Some(_held) = Abandoned::of(folder) else {
        return Ok(false);
    };
    let removed = fs::remove_dir_all(folder);
    removed
        .map(|()| true)
        .map_err(|e| Error::io(format!("{}: cannot be removed", folder.display()), e))
}

/// A scratch folder that is nobody's, as long as this value lives.
struct Abandoned {
    _lock: Option<File>,
}

impl Abandoned {
    /// A folder without its lock file was either never finished or is half removed: it is nobody's
    /// after a minute, and until then its maker may be about to lock it.
    fn of(folder: &Path) -> Option<Self> {
        let lock = folder.join(LOCK);
        if lock.exists() {
            return held::take(&lock).map(|lock| Self { _lock: Some(lock) });
        }
        let age = fs::metadata(folder).ok()?.modified().ok()?.elapsed().ok()?;
        (age.as_secs() > 60).then_some(Self { _lock: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_user_is_of_that_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let shared = tempfile::tempdir().unwrap();
        let own = shared.path().join(private_name());
        let scratch = Scratch::new(&own).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&own), mode(scratch.path())), (PRIVATE, PRIVATE));
        drop(scratch);
        // Somebody else may have made it first, and kept a way in.
        fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(
            Scratch::new(&own).unwrap_err().kind(),
            crate::error::Kind::Usage
        );
        fs::remove_dir(&own).unwrap();
        let elsewhere = shared.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &own).unwrap();
        assert_eq!(
            Scratch::new(&own).unwrap_err().kind(),
            crate::error::Kind::Usage
        );
        assert_eq!(
            (abandoned(&own), fs::read_dir(&elsewhere).unwrap().count()),
            (Vec::new(), 0)
        );
    }

    #[test]
    fn a_living_folder_stays_and_a_dead_one_goes() {
        let parent = tempfile::tempdir().unwrap();
        let alive = Scratch::new(parent.path()).unwrap();
        let dead = parent.path().join(format!("{PREFIX}dead"));
        fs::create_dir(&dead).unwrap();
        drop(File::create(dead.join(LOCK)).unwrap());
        fs::create_dir(parent.path().join("not-ours")).unwrap();
        assert_eq!(abandoned(parent.path()), std::slice::from_ref(&dead));
        assert!(!remove(alive.path()).unwrap());
        assert_eq!(sweep(parent.path()), 1);
        assert!(alive.path().exists() && !dead.exists());
        let path = alive.path().to_owned();
        drop(alive);
        assert!(!path.exists() && parent.path().join("not-ours").exists());
    }
}
