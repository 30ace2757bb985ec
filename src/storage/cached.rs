//! Reads pieces of local files that are in the page cache directly, without a detour over another
//! thread.
//!
//! A spool file of a quiet market is a few kilobytes; handing each read to a thread that may block
//! costs more than the read. Everything unusual (another version, a cold page, an error) is left to
//! the ordinary way, which reports it.

use std::{
    fs::{File, Metadata},
    io::IoSliceMut,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use bytes::Bytes;
use rustix::io::{ReadWriteFlags, preadv2};

use super::walk;

/// Longer pieces go the usual way: copying them would hold up what else the thread has to do.
const MOST: u64 = 256 << 10;

/// The bytes of `range` of the file at `path`, if it is the version `tag` and nothing has to be
/// waited for.
#[must_use]
pub fn read(path: &Path, range: &Range<u64>, tag: &str) -> Option<Bytes> {
    let length = range
        .end
        .checked_sub(range.start)
        .filter(|length| (1..=MOST).contains(length))?;
    let file = File::open(path).ok()?;
    if tag_of(&file.metadata().ok()?) != tag {
        return None;
    }
    // One byte tells whether the disk must be asked; the rest of a piece this small is there as
    // well, or nearly so.
    let mut first = [0];
    let found = preadv2(
        &file,
        &mut [IoSliceMut::new(&mut first)],
        range.start,
        ReadWriteFlags::NOWAIT,
    );
    if !matches!(found, Ok(1)) {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, range.start).ok()?;
    Some(Bytes::from(bytes))
}

/// The tag of this version of a file, as listings make it.
pub(crate) fn tag_of(found: &Metadata) -> String {
    let modified_us = found
        .mtime()
        .saturating_mul(1_000_000)
        .saturating_add(found.mtime_nsec() / 1000);
    walk::tag(found.ino(), modified_us, found.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::store::Store;

    #[tokio::test]
    async fn only_the_listed_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        std::fs::write(&path, b"0123456789").unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let tag = store.head("a.parquet").await.unwrap().unwrap().tag.unwrap();
        // The tag is made as the object store makes it, or nothing would ever be read this way.
        assert_eq!(
            read(&path, &(2..5), &tag).as_deref(),
            Some(b"234".as_slice())
        );
        assert_eq!(read(&path, &(8..12), &tag), None, "beyond the end");
        std::fs::write(&path, b"0123456789a").unwrap();
        assert_eq!(read(&path, &(2..5), &tag), None, "another version");
    }
}
