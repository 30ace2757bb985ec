//! A range of a file, as decoders ask for it.
//!
//! A small one is in memory. Of a large one only what is being decoded is. A request outside of the
//! range is an error, and nothing is allocated for it.

use std::{fs::File, io::Read, os::unix::fs::FileExt, sync::Arc};

use bytes::{Buf, Bytes};
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};

/// A range of a file at its place, in memory or where it lies: of a large one only the pages that
/// are decoded are held.
#[derive(Debug, Clone)]
pub(super) struct Window {
    start: u64,
    bytes: Held,
}

#[derive(Debug, Clone)]
enum Held {
    InMemory(Bytes),
    /// In a file, from this offset on, so many bytes.
    OnDisk {
        file: Arc<File>,
        offset: u64,
        length: u64,
        of_store: bool,
    },
}

impl Window {
    /// The bytes from `start` on.
    pub(super) fn new(start: u64, bytes: Bytes) -> Self {
        Self {
            start,
            bytes: Held::InMemory(bytes),
        }
    }

    /// So many bytes of a file from `offset` on, which are those from `start` on; `of_store` where
    /// the file is the store's own, and may be changed by others.
    pub(super) fn on_disk(
        start: u64,
        file: File,
        offset: u64,
        length: u64,
        of_store: bool,
    ) -> Self {
        Self {
            start,
            bytes: Held::OnDisk {
                file: Arc::new(file),
                offset,
                length,
                of_store,
            },
        }
    }

    /// The store's own file that it reads from, if it does.
    pub(super) fn of_store(&self) -> Option<&File> {
        match &self.bytes {
            Held::OnDisk {
                file,
                of_store: true,
                ..
            } => Some(file),
            _ => None,
        }
    }

    /// How many bytes there are.
    pub(super) fn length(&self) -> u64 {
        match &self.bytes {
            Held::InMemory(bytes) => bytes.len() as u64,
            Held::OnDisk { length, .. } => *length,
        }
    }

    /// Whether all of it is held.
    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self.bytes, Held::InMemory(_))
    }

    /// So many bytes from `at` on, fewer where it ends before.
    pub(super) fn piece(&self, at: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let outside = || ParquetError::EOF(format!("offset {at} lies outside the row group"));
        let skip = at
            .checked_sub(self.start)
            .filter(|skip| *skip <= self.length())
            .ok_or_else(outside)?;
        let length = length.min(usize::try_from(self.length() - skip).unwrap_or(usize::MAX));
        match &self.bytes {
            Held::InMemory(bytes) => {
                let skip = usize::try_from(skip).map_err(|_| outside())?;
                Ok(bytes.slice(skip..skip + length))
            }
            Held::OnDisk { file, offset, .. } => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, offset + skip)?;
                Ok(Bytes::from(bytes))
            }
        }
    }
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.start + self.length()
    }
}

/// Bytes of a page header that are read at a time.
const HEADER: usize = 512;

/// Reads on from a place in a window.
#[derive(Debug)]
pub(super) struct Reading {
    window: Window,
    at: u64,
    ready: bytes::buf::Reader<Bytes>,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.ready.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        let next = self
            .window
            .piece(self.at, buffer.len().max(HEADER))
            .map_err(std::io::Error::other)?;
        self.at += next.len() as u64;
        self.ready = next.reader();
        self.ready.read(buffer)
    }
}

impl ChunkReader for Window {
    type T = Reading;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let first = self.piece(
            start,
            if self.is_in_memory() {
                usize::MAX
            } else {
                HEADER
            },
        )?;
        let at = start + first.len() as u64;
        Ok(Reading {
            window: self.clone(),
            at,
            ready: first.reader(),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // What is not there is not allocated: the length is the file's own word.
        let there = self.len().saturating_sub(start);
        if length as u64 > there {
            return Err(ParquetError::EOF(format!(
                "{length} bytes from {start} reach outside the row group"
            )));
        }
        self.piece(start, length)
    }
}
