//! Lists a folder, with names as bytes. A name that is no text, a folder that cannot be read or a
//! link stops nothing but itself.
//!
//! Symbolic links below the root are not followed: otherwise whoever may write there would choose
//! what is read. Hidden files are skipped, and only files are asked for their size.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, open, statat};

use super::listing::{Object, StoreListing, Unfit};
use crate::model::layout::{LOST_AND_FOUND, collector_of};

/// The longest path that Linux opens, in bytes (`PATH_MAX` counts the zero at its end).
const LONGEST: usize = 4095;

/// The objects below the folder `prefix` of the folder `root`, until there are `most` of them; in
/// no order. A folder that is not there has none.
///
/// # Errors
/// When the root cannot be listed.
pub(super) fn walk(
    root: &Path,
    prefix: &str,
    mut listing: StoreListing,
    most: usize,
) -> io::Result<StoreListing> {
    let Some(first) = begin(root, prefix, &mut listing) else {
        return Ok(listing);
    };
    let mut open = vec![first];
    while let Some(folder) = open.pop() {
        if listing.len() >= most {
            break;
        }
        match read(&folder, &mut listing, &mut open) {
            Ok(()) => {}
            // It has gone, or is no folder any more, since its name was read.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Err(e) if folder.name.is_empty() => return Err(e),
            Err(e) => listing.miss(&folder.name, &e),
        }
    }
    Ok(listing)
}

/// The folders of collectors in the folder `root`, in order; one that is not there has none.
///
/// # Errors
/// When it cannot be read.
pub(super) fn collectors(root: &Path) -> io::Result<Vec<String>> {
    let entries = match root.read_dir() {
        Ok(entries) => entries,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name().into_string();
        found.extend(name.ok().filter(|name| collector_of(name).is_some()));
    }
    found.sort();
    Ok(found)
}

/// A folder that is still to be read.
struct Folder {
    path: PathBuf,
    /// Below the root.
    name: Vec<u8>,
}

impl Folder {
    fn join(&self, name: &[u8]) -> Self {
        Self {
            path: self.path.join(OsStr::from_bytes(name)),
            name: self.name_of(name),
        }
    }

    fn name_of(&self, name: &[u8]) -> Vec<u8> {
        if self.name.is_empty() {
            name.to_vec()
        } else {
            [&self.name, b"/".as_slice(), name].concat()
        }
    }
}

/// The folder in which the walk begins, if it is one that can be reached without a link.
fn begin(root: &Path, prefix: &str, listing: &mut StoreListing) -> Option<Folder> {
    let mut folder = Folder {
        path: root.to_owned(),
        name: Vec::new(),
    };
    for part in prefix.split('/').filter(|part| !part.is_empty()) {
        folder = folder.join(part.as_bytes());
        match folder.path.symlink_metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(found) if found.is_symlink() => {
                if folder.path.is_dir() {
                    listing.link(&folder.name);
                }
                return None;
            }
            Ok(_) => return None,
            Err(e) => {
                let is_there = !matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                );
                if is_there {
                    listing.miss(&folder.name, &e);
                }
                return None;
            }
        }
    }
    Some(folder)
}

fn read(folder: &Folder, listing: &mut StoreListing, found: &mut Vec<Folder>) -> io::Result<()> {
    let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if !folder.name.is_empty() {
        flags |= OFlags::NOFOLLOW;
    }
    let opened = open(&folder.path, flags, Mode::empty())?;
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.starts_with(b".") || (folder.name.is_empty() && name == LOST_AND_FOUND.as_bytes()) {
            continue;
        }
        let mut stat = None;
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            // Not every file system says it with the name.
            stat = look(opened.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
            let Some(stat) = &stat else { continue };
            kind = FileType::from_raw_mode(stat.st_mode);
        }
        match kind {
            FileType::Directory => found.push(folder.join(name)),
            FileType::RegularFile if folder.path.as_os_str().len() + 1 + name.len() > LONGEST => {
                listing.refuse(&folder.name_of(name), Unfit::Length);
            }
            FileType::RegularFile => listing.add(&folder.name_of(name), |key| {
                let stat = match stat {
                    Some(stat) => Some(stat),
                    None => look(opened.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)?,
                };
                io::Result::Ok(stat.map(|stat| object(key, &stat)))
            })?,
            FileType::Symlink => link(opened.as_fd(), name, &folder.name_of(name), listing),
            _ => listing.refuse(&folder.name_of(name), Unfit::Special),
        }
    }
    Ok(())
}

/// A link that leads to a folder may hide files; one that leads to a file is missed if it bears the
/// name of a Parquet file.
fn link(folder: BorrowedFd<'_>, name: &[u8], below_root: &[u8], listing: &mut StoreListing) {
    let target = look(folder, name, AtFlags::empty()).ok().flatten();
    if target.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
        listing.link(below_root);
    } else {
        listing.refuse(below_root, Unfit::Link);
    }
}

/// What the system says of a name; nothing if it has gone.
fn look(folder: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> io::Result<Option<Stat>> {
    match statat(folder, OsStr::from_bytes(name), flags) {
        Ok(stat) => Ok(Some(stat)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn object(key: String, stat: &Stat) -> Object {
    let micros = i64::try_from(stat.st_mtime_nsec / 1000).unwrap_or_default();
    let modified_us = stat
        .st_mtime
        .saturating_mul(1_000_000)
        .saturating_add(micros);
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    Object {
        key,
        size,
        modified_us,
        tag: Some(tag(stat.st_ino, modified_us, size)),
    }
}

/// The tag that the object store gives this version of a file. Were it made in another way one day,
/// no tag would be equal, and every read of what was listed would be refused.
pub(super) fn tag(inode: u64, modified_us: i64, size: u64) -> String {
    format!("{inode:x}-{:x}-{size:x}", modified_us.max(0))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::storage::store::Store;

    fn listed(root: &Path) -> StoreListing {
        walk(root, "", StoreListing::of("spool"), usize::MAX)
            .unwrap()
            .sorted()
    }

    fn keys(listing: &StoreListing) -> Vec<&str> {
        listing
            .objects()
            .iter()
            .map(|object| object.key.as_str())
            .collect()
    }

    fn put(root: &Path, name: &[u8]) {
        let path = root.join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }

    #[test]
    fn names_are_bytes_and_a_strange_one_hides_no_other() {
        let root = tempfile::tempdir().unwrap();
        for name in [
            &b"a/1.parquet"[..],
            b"a/Icon\r",
            b"a/\xff\xfe.parquet",
            b"a/t\tb.parquet",
            b"b\n/2.parquet",
            b"c/3",
        ] {
            put(root.path(), name);
        }
        let listing = listed(root.path());
        assert_eq!(keys(&listing), ["a/1.parquet", "c/3"]);
        let names: Vec<String> = listing
            .spool()
            .ignored
            .into_iter()
            .map(|one| one.file)
            .collect();
        assert_eq!(
            names,
            [
                "a/1.parquet",
                "a/\\xff\\xfe.parquet",
                "a/t\\tb.parquet",
                "b\\n/2.parquet"
            ]
        );
    }

    #[test]
    fn links_are_not_followed_and_a_loop_stops_nothing() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(root.path(), b"a/1.parquet");
        put(outside.path(), b"secret.parquet");
        let link =
            |to: &Path, name: &str| std::os::unix::fs::symlink(to, root.path().join(name)).unwrap();
        link(root.path(), "a/loop");
        link(&outside.path().join("secret.parquet"), "a/2.parquet");
        link(outside.path(), "out");
        link(Path::new("self.parquet"), "self.parquet");
        link(Path::new("nowhere"), "broken");
        let listing = listed(root.path());
        assert_eq!(keys(&listing), ["a/1.parquet"]);
        let names: Vec<String> = listing
            .spool()
            .ignored
            .into_iter()
            .map(|one| one.file)
            .collect();
        assert_eq!(
            names,
            [
                "a/1.parquet",
                "a/2.parquet",
                "a/loop",
                "out",
                "self.parquet"
            ]
        );
        // Nor is one that stands in the way to the folder that is meant.
        let below = walk(root.path(), "out", StoreListing::of("spool"), usize::MAX).unwrap();
        assert!(keys(&below).is_empty());
        assert!(below.whole().is_err());
        // The root itself may be one.
        let base = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root.path(), base.path().join("root")).unwrap();
        assert_eq!(keys(&listed(&base.path().join("root"))), ["a/1.parquet"]);
    }

    #[test]
    fn a_folder_that_cannot_be_listed_hides_only_what_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), b"b/1.parquet");
        // Deeper than a path can be long, which not even root can open.
        let mut folder = rustix::fs::openat(
            rustix::fs::CWD,
            root.path(),
            OFlags::RDONLY | OFlags::DIRECTORY,
            Mode::empty(),
        )
        .unwrap();
        let name = "d".repeat(250);
        for _ in 0..20 {
            rustix::fs::mkdirat(&folder, &name, Mode::RWXU).unwrap();
            folder = rustix::fs::openat(
                &folder,
                &name,
                OFlags::RDONLY | OFlags::DIRECTORY,
                Mode::empty(),
            )
            .unwrap();
        }
        let listing = listed(root.path());
        assert_eq!(keys(&listing), ["b/1.parquet"]);
        let (_, missing) = listing.apart();
        let [one] = missing.all() else {
            panic!("{missing:?}")
        };
        assert!(
            one.folder.starts_with("ddd") && one.reason.contains("cannot be listed"),
            "{one:?}"
        );
        // Nor is it an error when the walk begins there.
        let prefix = vec![name.as_str(); 20].join("/");
        let below = walk(root.path(), &prefix, StoreListing::of("spool"), usize::MAX).unwrap();
        assert_eq!(below.apart().1.all().len(), 1);
    }

    #[test]
    fn a_file_that_goes_before_it_is_looked_at_is_none() {
        let root = tempfile::tempdir().unwrap();
        let folder = fs::File::open(root.path()).unwrap();
        assert!(
            look(folder.as_fd(), b"gone.parquet", AtFlags::SYMLINK_NOFOLLOW)
                .unwrap()
                .is_none()
        );
        // Nor is a folder that goes before it is read.
        let gone = Folder {
            path: root.path().join("gone"),
            name: b"gone".to_vec(),
        };
        let error = read(&gone, &mut StoreListing::of(""), &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_folder_of_many_levels_is_listed() {
        let root = tempfile::tempdir().unwrap();
        let deep = "d/".repeat(1500);
        put(root.path(), format!("{deep}x.parquet").as_bytes());
        put(root.path(), b"y.parquet");
        assert_eq!(keys(&listed(root.path())).len(), 2);
        assert_eq!(
            walk(root.path(), "", StoreListing::of("spool"), 1)
                .unwrap()
                .len(),
            1
        );
        assert_eq!(
            keys(&walk(root.path(), "d/d", StoreListing::of(""), usize::MAX).unwrap()),
            [format!("{deep}x.parquet")]
        );
        assert!(
            keys(&walk(&root.path().join("absent"), "", StoreListing::of(""), 9).unwrap())
                .is_empty()
        );
        assert!(keys(&walk(root.path(), "y.parquet", StoreListing::of(""), 9).unwrap()).is_empty());
    }

    #[tokio::test]
    async fn an_object_is_told_as_the_object_store_tells_it() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), b"a b/%25 \xc3\xa4#.parquet");
        let store = Store::open(root.path().to_str().unwrap()).unwrap();
        let [listed] = store
            .list("")
            .await
            .unwrap()
            .whole()
            .unwrap()
            .try_into()
            .unwrap();
        assert_eq!(store.head(&listed.key).await.unwrap(), Some(listed));
    }
}
