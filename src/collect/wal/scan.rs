//! Reads a segment record by record, in bounded memory. Damaged records are skipped: the next one
//! is found by the length of the damaged one, or else by its magic.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use twox_hash::XxHash64;

use super::record::{HEAD, LEGACY_HEAD, LONGEST, MAGIC, checksum};
use crate::error::{Error, Result};

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// A part of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A whole record: where its payload is.
    Record { at: u64, length: usize },
    /// Bytes that are no record.
    Damage { from: u64, to: u64 },
}

/// A segment that is being read.
pub(super) struct Scanner {
    file: File,
    shown: String,
    length: u64,
    at: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
    /// Bytes that are read beyond what is asked for.
    ahead: usize,
}

impl Scanner {
    /// One that reads from the beginning to the end.
    ///
    /// # Errors
    /// When the segment cannot be opened.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::opened(path, CHUNK)
    }

    /// One that reads here and there.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn at_places(path: &Path) -> Result<Self> {
        Self::opened(path, 0)
    }

    fn opened(path: &Path, ahead: usize) -> Result<Self> {
        let shown = path.display().to_string();
        let wrong = |e| Error::io(format!("{shown}: cannot be read"), e);
        let file = File::open(path).map_err(wrong)?;
        let length = file.metadata().map_err(wrong)?.len();
        Ok(Self {
            file,
            shown,
            length,
            at: 0,
            buffer: Vec::new(),
            buffer_at: 0,
            ahead,
        })
    }

    /// Bytes of the segment.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The bytes of a range; fewer where the segment ends.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn bytes(&mut self, at: u64, length: usize) -> Result<&[u8]> {
        let length =
            length.min(usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX));
        let within = at
            .checked_sub(self.buffer_at)
            .and_then(|skip| usize::try_from(skip).ok());
        let begin = if let Some(skip) =
            within.filter(|skip| skip.saturating_add(length) <= self.buffer.len())
        {
            skip
        } else {
            let more = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
            self.buffer.clear();
            self.buffer.resize(length.max(self.ahead).min(more), 0);
            self.file
                .read_exact_at(&mut self.buffer, at)
                .map_err(|e| Error::io(format!("{}: cannot be read", self.shown), e))?;
            self.buffer_at = at;
            0
        };
        Ok(self.buffer.get(begin..begin + length).unwrap_or_default())
    }

    /// The next part; `None` at the end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Part>> {
        if self.at >= self.length {
            return Ok(None);
        }
        let from = self.at;
        if let Some((head, length)) = self.frame(from)? {
            self.at = from + head as u64 + length as u64;
            return Ok(Some(Part::Record {
                at: from + head as u64,
                length,
            }));
        }
        let to = self.behind(from)?;
        self.at = to;
        Ok(Some(Part::Damage { from, to }))
    }

    /// Where the next whole record after the damage at `from` begins.
    fn behind(&mut self, from: u64) -> Result<u64> {
        let head = self.bytes(from, HEAD)?.to_vec();
        for (skip, length) in [(HEAD, head.get(4..8)), (LEGACY_HEAD, head.get(..4))] {
            let length = length
                .and_then(|bytes| bytes.try_into().ok())
                .map(u32::from_le_bytes);
            if let Some(length) = length {
                let next = from + skip as u64 + u64::from(length);
                if next < self.length && self.frame(next)?.is_some() {
                    return Ok(next);
                }
            }
        }
        let mut at = from + 1;
        while at < self.length {
            let chunk = self.bytes(at, CHUNK)?;
            let read = chunk.len();
            let Some(found) = chunk
                .windows(MAGIC.len())
                .position(|window| window == MAGIC)
            else {
                // The magic may begin in the last bytes of this chunk.
                at += (read + 1).saturating_sub(MAGIC.len()).max(1) as u64;
                continue;
            };
            let found = at + found as u64;
            if self.frame(found)?.is_some() {
                return Ok(found);
            }
            at = found + 1;
        }
        Ok(self.length)
    }

    /// The record at `at`: the lengths of its head and its payload; `None` when there is no whole
    /// one.
    fn frame(&mut self, at: u64) -> Result<Option<(usize, usize)>> {
        let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
        let head = self.bytes(at, HEAD)?.to_vec();
        let number = |bytes: Option<&[u8]>| {
            bytes
                .and_then(|b| b.try_into().ok())
                .map(u32::from_le_bytes)
        };
        let sum = |bytes: Option<&[u8]>| {
            bytes
                .and_then(|b| b.try_into().ok())
                .map(u64::from_le_bytes)
        };
        let is_magic = head.get(..4).is_some_and(|magic| magic == MAGIC);
        let (skip, length, sum) = if is_magic {
            (HEAD, number(head.get(4..8)), sum(head.get(8..16)))
        } else {
            (LEGACY_HEAD, number(head.get(..4)), sum(head.get(4..12)))
        };
        let (Some(length), Some(sum)) =
            (length.and_then(|length| usize::try_from(length).ok()), sum)
        else {
            return Ok(None);
        };
        if length == 0 || length > LONGEST || length > left.saturating_sub(skip) {
            return Ok(None);
        }
        // A record of an earlier version begins with one of four letters: most of what is none is
        // known by that.
        if !is_magic
            && !self
                .bytes(at + skip as u64, 1)?
                .first()
                .is_some_and(|kind| b"MRYN".contains(kind))
        {
            return Ok(None);
        }
        let payload = self.bytes(at + skip as u64, length)?;
        let found = if is_magic {
            checksum(payload)
        } else {
            XxHash64::oneshot(0, payload)
        };
        Ok((found == sum).then_some((skip, length)))
    }
}
