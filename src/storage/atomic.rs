//! The atomic write: how every durable object comes into being, on a folder and on a bucket.
//!
//! Five steps, all in [`write_unless()`], none available alone: write to a temporary name; fsync;
//! read back and verify; make it visible under its name; fsync the folder. On a bucket the first
//! three happen in a staging folder, then the object is uploaded under a checksum and a condition,
//! and appears whole or not at all.
//!
//! A temporary file is locked while its process lives, so [`sweep`] removes only those of dead
//! processes.

use std::{
    convert::Infallible,
    fs::{self, File},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use futures::future::BoxFuture;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use super::{
    crash, held, leftovers,
    store::Store,
    upload::{Expect, upload},
};
use crate::{
    error::{Error, Kind, Result},
    model::quarantine::{LONGEST_NAME, shortened},
};

/// An object that stands complete under its key, made by [`write_unless()`]; nothing else can make
/// this value.
#[derive(Debug)]
pub struct Written<T> {
    key: String,
    /// The tag of the version that was made, on a bucket.
    tag: Option<String>,
    /// The file, still locked, in a folder.
    lock: Option<File>,
    /// What the verification found.
    verified: T,
}

impl<T> Written<T> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The tag of the version that was made, on a bucket.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// What the verification found.
    #[must_use]
    pub fn verified(&self) -> &T {
        &self.verified
    }

    /// The lock under which the object was made, where that was in a folder: as long as the value
    /// lives, [`take`] finds that a process holds the object.
    #[must_use]
    pub fn into_lock(self) -> Option<FileLock> {
        self.lock.map(|file| FileLock { _file: file })
    }

    /// The same object with less, or more, said of what was found.
    #[must_use]
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> Written<U> {
        Written {
            key: self.key,
            tag: self.tag,
            lock: self.lock,
            verified: of(self.verified),
        }
    }
}

/// Looks at what the verification found, and may still refuse.
pub type BeforeVisible<'a, T> = Box<dyn FnOnce(&T) -> BoxFuture<'a, Result<()>> + Send + 'a>;

/// The three things that differ between objects; each is called once, in this order. `V` is what
/// the verification comes to, `T` what it finds where the object is to be made.
pub struct Steps<'a, T, V = T> {
    /// Writes the whole content to the path, which exists and is empty.
    pub write: Box<dyn FnOnce(PathBuf) -> BoxFuture<'a, Result<()>> + Send + 'a>,
    /// Reads the file back after it was synced, and says what it found.
    pub verify: Box<dyn FnOnce(PathBuf) -> BoxFuture<'a, Result<V>> + Send + 'a>,
    /// Runs when the content is known to be right and before anyone can see it: the place to make a
    /// receipt durable.
    pub before_visible: BeforeVisible<'a, T>,
}

/// Makes the object at `key`: either all of it stands there afterwards, synced and verified, or
/// what stood there before. `staging` is where the bytes of a bucket's object are put together; a
/// folder's are put together beside their place. Nothing is made where something else stands than
/// is expected.
///
/// # Errors
/// When a step fails; the temporary file is removed then. [`Kind::Conflict`] when something else
/// stands there, [`Kind::Unknown`] when a bucket leaves open what came of it.
pub async fn write<'a, T: Send + 'a>(
    store: &Store,
    key: &str,
    staging: &Path,
    expect: &Expect,
    steps: Steps<'a, T>,
) -> Result<Written<T>> {
    let Steps {
        write,
        verify,
        before_visible,
    } = steps;
    let verify = Box::new(move |path| -> BoxFuture<'a, _> {
        Box::pin(async move { Ok(ControlFlow::<Infallible, T>::Continue(verify(path).await?)) })
    });
    match write_unless(
        store,
        key,
        staging,
        expect,
        Steps {
            write,
            verify,
            before_visible,
        },
    )
    .await?
    {
        ControlFlow::Continue(written) => Ok(written),
        ControlFlow::Break(never) => match never {},
    }
}

/// The same of an object that is not always wanted: where the verification breaks off, the
/// temporary file is removed, and what it came to is returned in place of an object.
///
/// # Errors
/// As [`write()`].
pub async fn write_unless<T: Send, S: Send>(
    store: &Store,
    key: &str,
    staging: &Path,
    expect: &Expect,
    steps: Steps<'_, T, ControlFlow<S, T>>,
) -> Result<ControlFlow<S, Written<T>>> {
    let (root, root_key) = store.at(key);
    let target = root.local_path(root_key);
    let temporary = Temporary::create(target.as_deref(), key, staging)?;
    crash::point("temporary file made");
    (steps.write)(temporary.path.clone()).await?;
    crash::point("temporary file written");
    let synced = File::open(&temporary.path).and_then(|f| f.sync_all());
    synced.map_err(|e| Error::io(format!("{}: cannot be synced", temporary.path.display()), e))?;
    crash::point("temporary file synced");
    let verified = match (steps.verify)(temporary.path.clone()).await? {
        ControlFlow::Continue(verified) => verified,
        ControlFlow::Break(instead) => return Ok(ControlFlow::Break(instead)),
    };
    crash::point("temporary file verified");
    (steps.before_visible)(&verified).await?;
    let (tag, lock) = match (target, root.bucket()) {
        (Some(target), _) => (None, temporary.rename(&target, expect)?),
        (None, Some(bucket)) => {
            let tag = upload(root, bucket, root_key, &temporary.path, expect).await?;
            (tag, None)
        }
        (None, None) => {
            return Err(Error::new(
                Kind::Internal,
                format!("{key}: does not say for which of several spools it is"),
            ));
        }
    };
    crash::point("object visible and durable");
    Ok(ControlFlow::Continue(Written {
        key: key.to_owned(),
        tag,
        lock,
        verified,
    }))
}

/// Makes a small object of these bytes.
///
/// # Errors
/// As [`write()`]; also when other bytes are read back.
pub async fn write_bytes(
    store: &Store,
    key: &str,
    staging: &Path,
    expect: &Expect,
    bytes: Vec<u8>,
) -> Result<Written<u64>> {
    let expected = bytes.clone();
    let shown = store.show(key);
    let steps = Steps {
        write: Box::new(move |path| {
            Box::pin(async move {
                // A few kilobytes, into memory: that is done before another thread could take it
                // over.
                fs::write(&path, bytes)
                    .map_err(|e| Error::io(format!("{}: cannot be written", path.display()), e))
            })
        }),
        verify: Box::new(move |path| {
            Box::pin(async move {
                let read = fs::read(&path).map_err(|e| {
                    Error::io(format!("{}: cannot be read back", path.display()), e)
                })?;
                if read == expected {
                    Ok(read.len() as u64)
                } else {
                    Err(Error::new(
                        Kind::Io,
                        format!(
                            "{shown}: other bytes were read back than were written; check the disk"
                        ),
                    ))
                }
            })
        }),
        before_visible: Box::new(|_| Box::pin(async { Ok(()) })),
    };
    write(store, key, staging, expect, steps).await
}

/// Makes an object that is a copy of a local or remote one, read through `read`; returns its
/// sha256.
///
/// # Errors
/// As [`write()`].
pub async fn copy(
    from: &Store,
    from_key: &str,
    to: &Store,
    key: &str,
    staging: &Path,
    expect: &Expect,
) -> Result<Written<String>> {
    let (expected, _) = from.sha256(from_key).await?;
    copy_of(
        from,
        from_key,
        to,
        key,
        staging,
        expect,
        expected,
        Box::new(|_| Box::pin(async { Ok(()) })),
    )
    .await
}

/// The same of an object that is known to have the sha256 `expected`, with a step before the copy
/// is visible.
///
/// # Errors
/// As [`write()`]; also when the object has other bytes by now.
#[expect(
    clippy::too_many_arguments,
    reason = "two places, and the three things that every atomic write is told"
)]
pub async fn copy_of<'a>(
    from: &'a Store,
    from_key: &'a str,
    to: &'a Store,
    key: &'a str,
    staging: &'a Path,
    expect: &'a Expect,
    expected: String,
    before_visible: BeforeVisible<'a, String>,
) -> Result<Written<String>> {
    let shown = to.show(key);
    let steps = Steps {
        write: Box::new(move |path| {
            Box::pin(async move {
                use std::io::{Seek, SeekFrom, Write};
                let wrong = |e| Error::io(format!("{}: cannot be written", path.display()), e);
                let mut file = File::create(&path).map_err(wrong)?;
                let mut failed = None;
                let mut size = 0_u64;
                let found = from
                    .read_through(from_key, |piece| {
                        size += piece.len() as u64;
                        if failed.is_none() {
                            // A hole in the source is one in the copy: it takes no room.
                            failed = if piece.iter().all(|byte| *byte == 0) {
                                file.seek(SeekFrom::Start(size)).map(drop).err()
                            } else {
                                file.write_all(piece).err()
                            };
                        }
                    })
                    .await?;
                match failed {
                    Some(e) => Err(wrong(e)),
                    None if found => file.set_len(size).map_err(wrong),
                    None => Err(Error::new(
                        Kind::Io,
                        format!("{}: has gone while it was copied", from.show(from_key)),
                    )),
                }
            })
        }),
        verify: Box::new(move |path| {
            Box::pin(async move {
                let copy = Store::open(&path.display().to_string())?;
                let (sha256, _) = copy.sha256("").await?;
                if sha256 == expected {
                    Ok(sha256)
                } else {
                    Err(Error::new(
                        Kind::Io,
                        format!("{shown}: the source changed while it was copied; run again"),
                    ))
                }
            })
        }),
        before_visible,
    };
    write(to, key, staging, expect, steps).await
}

/// Removes the temporary files that dead processes left in the folder of `key`; returns how many
/// there were.
#[must_use]
pub fn sweep(store: &Store, dir_key: &str) -> usize {
    let Some(folder) = store.local_path(dir_key) else {
        return 0;
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let ours = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| leftovers::is_ours(path));
    ours.filter(|path| leftovers::remove(path).is_ok_and(|gone| gone))
        .count()
}

/// A lock on an object of a local store, which the kernel drops when its process dies.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

/// The lock on the object at `key`, where no living process holds it; `None` where one does, or the
/// object has gone. A bucket cannot tell.
#[must_use]
pub fn take(store: &Store, key: &str) -> Option<FileLock> {
    let file = held::take(&store.local_path(key)?)?;
    Some(FileLock { _file: file })
}

/// A lock on a folder of a local store, so that two processes do not publish one partition at a
/// time.
#[derive(Debug)]
pub struct FolderLock {
    _folder: File,
}

/// Locks the folder at `dir_key`, which is made if it is absent; `None` when another process holds
/// it. A bucket has no such lock: there the conditions of the writes of data and
/// `meta.json` decide.
///
/// # Errors
/// When the folder cannot be made or opened.
pub fn lock(store: &Store, dir_key: &str) -> Result<Option<FolderLock>> {
    let Some(folder) = store.local_path(dir_key) else {
        return Err(Error::new(
            Kind::Internal,
            "only a local folder can be locked",
        ));
    };
    make_durable_dir(&folder)?;
    let handle = File::open(&folder)
        .map_err(|e| Error::io(format!("{}: cannot be opened", folder.display()), e))?;
    Ok(flock(&handle, FlockOperation::NonBlockingLockExclusive)
        .is_ok()
        .then_some(FolderLock { _folder: handle }))
}

/// Lets `change` read an object of the folder `dir_key`, alter it and write it back, while others
/// may be doing the same: a local folder is locked meanwhile, and where the write is conditional
/// and its race is lost, `change` is called anew. `turns` is how often the turn is waited for, 20
/// milliseconds at a time.
///
/// # Errors
/// Those of `change` but a lost race; [`Kind::Io`] when others were at it for all turns.
pub async fn in_turn<T, F>(
    store: &Store,
    dir_key: &str,
    turns: u32,
    change: impl Fn() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let is_folder = store.local_folder().is_some();
    for _ in 0..turns {
        let held = if is_folder {
            lock(store, dir_key)?
        } else {
            None
        };
        if held.is_some() || !is_folder {
            match change().await {
                Err(error) if error.kind() == Kind::Conflict => {}
                other => return other,
            }
        }
        drop(held);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Err(Error::new(
        Kind::Io,
        format!(
            "{}: another process has held it for long; run again",
            store.show(dir_key)
        ),
    ))
}

/// Tries whether objects can be made in `folder`, or in the nearest folder above it where it does
/// not exist yet; nothing is left.
///
/// # Errors
/// When they cannot.
pub fn try_folder(folder: &Path) -> Result<()> {
    let there = folder
        .ancestors()
        .find(|folder| folder.is_dir())
        .unwrap_or_else(|| Path::new("/"));
    let made = tempfile::Builder::new()
        .prefix(".qlc-try-")
        .suffix(".qlc.tmp")
        .tempfile_in(there);
    made.map(drop)
        .map_err(|e| Error::io(format!("{}: cannot be written to", there.display()), e))
}

/// A locked temporary file, removed when dropped unless it was renamed.
struct Temporary {
    path: PathBuf,
    /// Held while the process lives: see [`sweep`].
    lock: Option<File>,
    kept: bool,
}

impl Temporary {
    fn create(target: Option<&Path>, key: &str, staging: &Path) -> Result<Self> {
        let name = key.rsplit('/').next().unwrap_or(key);
        let folder = match target.and_then(Path::parent) {
            Some(parent) => parent,
            None => staging,
        };
        make_durable_dir(folder)?;
        loop {
            // A name may be as long as names can be; what is put around it must fit as well.
            let end = format!(".{}.qlc.tmp", uuid::Uuid::new_v4().simple());
            let name = shortened(name, LONGEST_NAME - 1 - end.len());
            let path = folder.join(format!(".{name}{end}"));
            let made = held::make(&path);
            if let Some(lock) =
                made.map_err(|e| Error::io(format!("{}: cannot be made", path.display()), e))?
            {
                return Ok(Self {
                    path,
                    lock: Some(lock),
                    kept: false,
                });
            }
        }
    }

    /// Makes it visible; returns the lock, which is that of the object now.
    fn rename(mut self, target: &Path, expect: &Expect) -> Result<Option<File>> {
        let wrong = |e: std::io::Error| {
            Error::io(
                format!(
                    "{}: cannot be renamed to {}",
                    self.path.display(),
                    target.display()
                ),
                e,
            )
        };
        let exclusive = match expect {
            Expect::Absent => renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE),
            // Versions of a folder's objects are guarded by the caller's lock.
            Expect::Anything | Expect::Version(_) => Err(rustix::io::Errno::INVAL),
        };
        match exclusive {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!(
                        "{}: another process wrote it first; its result is kept",
                        target.display()
                    ),
                ));
            }
            // Not every file system can.
            Err(
                rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP,
            ) => {
                fs::rename(&self.path, target).map_err(wrong)?;
            }
            Err(e) => return Err(wrong(e.into())),
        }
        self.kept = true;
        crash::point("renamed");
        target.parent().map_or(Ok(()), sync_dir)?;
        Ok(self.lock.take())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a folder and every missing one above it, and syncs each parent in which one was made.
fn make_durable_dir(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or_else(|| Path::new("/"));
    make_durable_dir(parent)?;
    match fs::create_dir(folder) {
        Ok(()) => sync_dir(parent),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(e) => Err(Error::io(
            format!("{}: the folder cannot be made", folder.display()),
            e,
        )),
    }
}

fn sync_dir(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| {
        Error::io(
            format!("{}: the folder cannot be synced", folder.display()),
            e,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_verification_that_breaks_off_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().display().to_string()).unwrap();
        let names = || fs::read_dir(folder.path()).unwrap().count();
        for wanted in [false, true] {
            let steps = Steps {
                write: Box::new(|path| {
                    Box::pin(async move { fs::write(&path, b"x").map_err(|e| Error::io("x", e)) })
                }),
                verify: Box::new(move |_| {
                    Box::pin(async move {
                        Ok(if wanted {
                            ControlFlow::Continue(1)
                        } else {
                            ControlFlow::Break("not now")
                        })
                    })
                }),
                before_visible: Box::new(move |found| {
                    assert!(wanted && *found == 1, "nothing is about to be visible");
                    Box::pin(async { Ok(()) })
                }),
            };
            match write_unless(&store, "a", folder.path(), &Expect::Absent, steps)
                .await
                .unwrap()
            {
                ControlFlow::Continue(written) => {
                    assert_eq!((written.key(), *written.verified(), names()), ("a", 1, 1));
                }
                ControlFlow::Break(instead) => assert_eq!((instead, names()), ("not now", 0)),
            }
        }
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"x");
    }
}
