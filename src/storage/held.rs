//! Files that say whether their process lives: it holds a lock on them, which the kernel drops when
//! the process dies.
//!
//! Between the making of such a file and its lock, another process may take it for abandoned. Who
//! makes one finds that out and makes another.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

/// Makes the file at `path` and locks it. `None` when another process took it for abandoned before
/// it was locked, and has removed it or is about to.
///
/// # Errors
/// When it exists, or cannot be made or locked.
pub(super) fn make(path: &Path) -> io::Result<Option<File>> {
    let file = File::create_new(path)?;
    match hold(&file) {
        Ok(is_ours) => Ok(is_ours.then_some(file)),
        Err(error) => {
            let _ = fs::remove_file(path);
            Err(error)
        }
    }
}

/// Locks a file; whether it is still there, and nobody else has locked it.
fn hold(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file.metadata()?.nlink() > 0),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Locks the file at `path` where no living process holds it. It stays locked as long as the value
/// lives, so whoever removes it keeps the value until it is gone.
#[must_use]
pub(super) fn take(path: &Path) -> Option<File> {
    // Where files lie on another host, only who may write to one may lock it alone.
    let file = File::options().read(true).write(true).open(path).ok()?;
    hold(&file).ok()?.then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_taken_for_abandoned_is_not_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let made = make(&path).unwrap().unwrap();
        assert!(take(&path).is_none(), "its process lives");
        drop(made);
        // Another process is about to remove it.
        let late = File::open(&path).unwrap();
        let sweeper = take(&path).unwrap();
        assert!(!hold(&late).unwrap());
        // It has removed it.
        fs::remove_file(&path).unwrap();
        drop(sweeper);
        assert!(!hold(&late).unwrap());
    }

    #[test]
    fn makers_and_sweepers_do_not_lose_files() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _ = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for entry in fs::read_dir(folder.path()).unwrap().flatten() {
                        let taken = take(&entry.path());
                        if taken.is_some() {
                            let _ = fs::remove_file(entry.path());
                        }
                    }
                }
            });
            for nth in 0..2_000 {
                let path = folder.path().join(nth.to_string());
                if let Some(held) = make(&path).unwrap() {
                    assert!(path.exists(), "a held file was removed");
                    fs::remove_file(&path).unwrap();
                    drop(held);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
