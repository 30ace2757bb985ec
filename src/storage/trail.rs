//! Follows a file while it is written: each finished stretch is synced, read back and hashed.
//!
//! So a large file need not be read again when its last byte is written. The digest is of all
//! bytes, in their order.

use std::{
    fs::File,
    hash::Hasher,
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use twox_hash::XxHash64;

use super::store::hex;
use crate::error::{Error, Kind, Result};

/// Bytes of a stretch that is read and hashed where it is asked for.
const SHORT: usize = 1 << 20;

/// Whether a stretch is brought to the disk before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// The caller has seen to it.
    Already,
    /// It is synced first.
    First,
}

/// How far a file was followed.
#[derive(Debug)]
pub struct Trail {
    path: PathBuf,
    file: Arc<File>,
    digest: Sha256,
    sum: XxHash64,
    at: u64,
}

/// The checksum of bytes on their way to a file, which those that are read back must have: a cheap
/// one, since it is of bytes that nobody wants to forge.
#[derive(Debug)]
pub struct Summed<W> {
    inner: W,
    sum: XxHash64,
}

impl<W> Summed<W> {
    /// A checksum of what goes into `inner`.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            sum: XxHash64::with_seed(0),
        }
    }

    /// That of all bytes so far.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.finish()
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.write(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl Trail {
    /// Follows the file at `path` from its first byte.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn of(path: &Path) -> Result<Self> {
        let file = File::open(path)
            .map_err(|e| Error::io(format!("{}: cannot be read back", path.display()), e))?;
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(file),
            digest: Sha256::new(),
            sum: XxHash64::with_seed(0),
            at: 0,
        })
    }

    /// Where the next stretch begins.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// How large the file is by now.
    ///
    /// # Errors
    /// When the disk does not say.
    pub fn size(&self) -> Result<u64> {
        let found = self.file.metadata();
        found
            .map(|m| m.len())
            .map_err(|e| Error::io(format!("{}: cannot be read back", self.path.display()), e))
    }

    /// The bytes from the end of the last stretch to `end`, which must have been written.
    ///
    /// # Errors
    /// When the disk refuses, or the file is shorter.
    pub async fn next(&mut self, end: u64, synced: Synced) -> Result<Bytes> {
        let (file, from) = (Arc::clone(&self.file), self.at);
        let length = usize::try_from(end.saturating_sub(from))
            .map_err(|e| Error::caused(Kind::Internal, "a stretch of a file", e))?;
        let (mut digest, mut sum) = (
            std::mem::take(&mut self.digest),
            std::mem::take(&mut self.sum),
        );
        let read = move || {
            if synced == Synced::First {
                file.sync_data()?;
            }
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, from)?;
            digest.update(&bytes);
            sum.write(&bytes);
            Ok::<_, std::io::Error>((Bytes::from(bytes), digest, sum))
        };
        // What was just written is in memory: for a short stretch another thread costs more than it
        // saves.
        let done = if length <= SHORT && synced == Synced::Already {
            read()
        } else {
            tokio::task::spawn_blocking(read)
                .await
                .map_err(|lost| Error::lost_task("the reading back", lost))?
        };
        let (bytes, digest, sum) = done
            .map_err(|e| Error::io(format!("{}: cannot be read back", self.path.display()), e))?;
        self.digest = digest;
        self.sum = sum;
        self.at = end.max(from);
        Ok(bytes)
    }

    /// The checksum of all bytes so far, as [`Summed`] makes it.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.finish()
    }

    /// The sha256 of all bytes so far, and how many they are.
    #[must_use]
    pub fn finish(self) -> (String, u64) {
        (hex(&self.digest.finalize()), self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn stretches_have_the_digest_of_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"abc").unwrap();
        let mut trail = Trail::of(&path).unwrap();
        assert_eq!(trail.next(2, Synced::First).await.unwrap(), "ab");
        file.write_all(b"def").unwrap();
        let mut summed = Summed::new(std::io::sink());
        summed.write_all(b"ab").unwrap();
        assert_eq!(trail.sum(), summed.sum());
        assert_eq!(trail.next(6, Synced::Already).await.unwrap(), "cdef");
        assert!(trail.next(7, Synced::Already).await.is_err());
    }

    #[tokio::test]
    async fn the_digest_is_sha256() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"abc").unwrap();
        let mut trail = Trail::of(&path).unwrap();
        let _ = trail.next(1, Synced::Already).await.unwrap();
        let _ = trail.next(3, Synced::Already).await.unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(trail.finish(), (known.to_owned(), 3));
    }
}
