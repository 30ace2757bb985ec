//! A published file as the texts that lie in it: a zip, a gzip or a plain text. They are streamed;
//! nothing is unpacked, and no name in a zip leads anywhere.
//!
//! A file may be made to do harm. So a text that grows beyond what trades could be compressed to, or
//! beyond what its zip claims, ends with an error, and so does a line that is none.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    ops::ControlFlow,
};

use flate2::read::{DeflateDecoder, MultiGzDecoder};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::account::{Checksum, PublishedFile, shown};
use crate::{
    error::{Error, Result},
    storage::store::hex,
};

/// A piece of a file that is read at a time.
const PIECE: usize = 256 << 10;
/// The longest line that may be one of trades; far more than any has.
const LONGEST_LINE: usize = 64 << 10;
/// By which factor a text may be larger than the file. Trades differ in their numbers, and have been
/// seen to shrink to a fifth; only made-up texts shrink to a hundredth.
const MOST_RATIO: u64 = 100;
/// So many bytes of text any file may have.
const FREE: u64 = 16 << 20;
/// Texts that are looked at in a zip; venues put one into each.
const MOST_MEMBERS: u64 = 1000;

/// How the texts are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Zip,
    Gzip,
    Plain,
}

/// A published file that is open.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    bytes: u64,
    packing: Packing,
    /// What is shown of it.
    pub(super) name: String,
    pub(super) sha256: String,
    pub(super) checksum: Checksum,
}

/// One text of a file.
pub(super) struct Member<'a> {
    /// Its name in a zip, to be shown; that of the file elsewhere.
    pub(super) name: String,
    /// Whether the file has others besides.
    pub(super) is_one_of_several: bool,
    pub(super) text: &'a mut dyn Read,
}

/// How the texts of a file ended.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// What is wrong with the file around them.
    pub(super) faults: Vec<String>,
    /// Whether texts are missing, or may be.
    pub(super) is_cut: bool,
}

impl Ending {
    fn cut(&mut self, fault: String) {
        self.faults.push(fault);
        self.is_cut = true;
    }
}

/// What is done with each text; `Break` where the others need not be looked at.
pub(super) type Visit<'a> = dyn FnMut(&mut Member<'_>) -> Result<ControlFlow<()>> + 'a;

impl Opened {
    /// Opens a file, and reads it once for its sha256. The same open file is read later, so both are
    /// about the same bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn of(published: &PublishedFile) -> Result<Self> {
        let path = &published.path;
        let wrong = |e: io::Error| Error::io(format!("{}: cannot be read", path.display()), e);
        // A pipe would be waited for.
        if !std::fs::metadata(path).map_err(wrong)?.is_file() {
            return Err(Error::usage(format!("{}: is not a file", path.display())));
        }
        let mut file = File::open(path).map_err(wrong)?;
        let mut digest = Sha256::new();
        let mut piece = vec![0; PIECE];
        let (mut bytes, mut first) = (0_u64, Vec::new());
        loop {
            let read = match file.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => piece.get(..read).unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(wrong(e)),
            };
            first.extend(read.iter().take(4_usize.saturating_sub(first.len())));
            digest.update(read);
            bytes += read.len() as u64;
        }
        let sha256 = hex(&digest.finalize());
        Ok(Self {
            file,
            bytes,
            packing: match first.as_slice() {
                [b'P', b'K', 3, 4] | [b'P', b'K', 5, 6] => Packing::Zip,
                [0x1f, 0x8b, ..] => Packing::Gzip,
                _ => Packing::Plain,
            },
            name: published.name.clone(),
            checksum: verdict(published.checksum.as_deref(), &sha256),
            sha256,
        })
    }

    /// Calls `visit` with each text of the file, from the first one.
    ///
    /// # Errors
    /// When the disk fails, or `visit` does. What is wrong with the file is in the ending, or ends a
    /// text with an error.
    pub(super) fn members(&self, visit: &mut Visit<'_>) -> Result<Ending> {
        let wrong = |e: io::Error| Error::io(format!("{}: cannot be read", self.name), e);
        (&self.file).seek(SeekFrom::Start(0)).map_err(wrong)?;
        let failed = Cell::new(false);
        let disk = Disk {
            file: &self.file,
            failed: &failed,
        };
        let mut room = FREE.saturating_add(self.bytes.saturating_mul(MOST_RATIO));
        let mut ending = Ending::default();
        let visited = match self.packing {
            Packing::Zip => self.zipped(disk, &mut room, &mut ending, visit),
            Packing::Gzip => {
                let mut unpacked = MultiGzDecoder::new(BufReader::with_capacity(PIECE, disk));
                let mut text = Guarded::new(&mut unpacked, &mut room);
                self.one(&mut text, visit)
            }
            Packing::Plain => {
                let mut plain = disk;
                let mut text = Guarded::new(&mut plain, &mut room);
                self.one(&mut text, visit)
            }
        };
        if failed.get() {
            return Err(wrong(io::Error::other("the disk reported an error")));
        }
        visited.map(|()| ending)
    }

    /// The only text of a file.
    fn one(&self, text: &mut dyn Read, visit: &mut Visit<'_>) -> Result<()> {
        let name = shown(self.name.as_bytes());
        let _ = visit(&mut Member {
            name,
            is_one_of_several: false,
            text,
        })?;
        Ok(())
    }

    fn zipped(
        &self,
        disk: Disk<'_>,
        room: &mut u64,
        ending: &mut Ending,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let claimed = self.claimed_members(disk);
        if claimed > MOST_MEMBERS {
            ending.cut(format!(
                "the zip claims to hold {claimed} files; more than {MOST_MEMBERS} are not read"
            ));
            return Ok(());
        }
        let mut archive = match ZipArchive::new(BufReader::with_capacity(PIECE, disk)) {
            Ok(archive) => archive,
            Err(e) => {
                ending.cut(format!(
                    "the zip has no directory that can be read ({e}): it is truncated or damaged"
                ));
                return self.without_directory(disk, room, ending, visit);
            }
        };
        let count = archive.len();
        for index in 0..count {
            let mut member = match archive.by_index(index) {
                Ok(member) => member,
                Err(e) => {
                    ending.cut(format!("file {} of the zip: {e}", index + 1));
                    continue;
                }
            };
            if member.is_dir() {
                continue;
            }
            let name = shown(member.name_raw());
            if member.enclosed_name().is_none() {
                ending.faults.push(format!(
                    "the zip names {name}, which leads out of a folder; names are not followed"
                ));
            }
            let claimed = member.size();
            let mut text = Guarded::new(&mut member, room);
            text.claimed = Some(claimed);
            let flow = visit(&mut Member {
                name,
                is_one_of_several: count > 1,
                text: &mut text,
            })?;
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The first text of a zip whose directory, which stands at its end, is missing.
    fn without_directory(
        &self,
        mut disk: Disk<'_>,
        room: &mut u64,
        ending: &mut Ending,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let Ok(header) = LocalHeader::read(&mut disk) else {
            ending.cut("the zip ends within its first header".to_owned());
            return Ok(());
        };
        let name = shown(&header.name);
        let is_encrypted = header.flags & 1 == 1;
        let mut rest = BufReader::with_capacity(PIECE, disk);
        let mut plain;
        let mut unpacked;
        let source: &mut dyn Read = match header.method {
            _ if is_encrypted => {
                ending.cut(format!("{name} in the zip is encrypted"));
                return Ok(());
            }
            0 => {
                plain = rest.take(u64::from(header.packed));
                &mut plain
            }
            8 => {
                unpacked = DeflateDecoder::new(&mut rest);
                &mut unpacked
            }
            other => {
                ending.cut(format!("{name} in the zip is packed by method {other}"));
                return Ok(());
            }
        };
        let mut text = Guarded::new(source, room);
        text.is_cut = true;
        let _ = visit(&mut Member {
            name,
            is_one_of_several: false,
            text: &mut text,
        })?;
        Ok(())
    }

    /// How many files the end of a zip claims: the largest number of several. The directory is held
    /// in memory, and a file can be made whose directory has millions.
    fn claimed_members(&self, mut disk: Disk<'_>) -> u64 {
        // A comment of 65,535 bytes, the end of the directory and those of its 64-bit form.
        let tail = 65_535 + 22 + 20 + 56;
        let from = self.bytes.saturating_sub(tail);
        let mut bytes = Vec::new();
        let read = disk
            .seek(SeekFrom::Start(from))
            .and_then(|_| disk.take(tail).read_to_end(&mut bytes));
        let _ = disk.seek(SeekFrom::Start(0));
        if read.is_err() {
            return 0;
        }
        let count = |at: usize| {
            let number = |from: usize, length: usize| {
                let field = bytes.get(at + from..at + from + length)?;
                let mut whole = [0; 8];
                whole.get_mut(..length)?.copy_from_slice(field);
                Some(u64::from_le_bytes(whole))
            };
            match bytes.get(at..at + 4)? {
                // All ones where the number stands in the 64-bit form.
                b"PK\x05\x06" => number(10, 2).filter(|count| *count != 0xffff),
                b"PK\x06\x06" => number(32, 8),
                _ => None,
            }
        };
        (0..bytes.len()).filter_map(count).max().unwrap_or(0)
    }
}

/// What the text of a CHECKSUM file, `sha256  name`, says of a file.
fn verdict(text: Option<&str>, sha256: &str) -> Checksum {
    let Some(text) = text else {
        return Checksum::None;
    };
    let first = text.split_whitespace().next().unwrap_or_default();
    if first.eq_ignore_ascii_case(sha256) {
        return Checksum::Right;
    }
    Checksum::Wrong {
        expected: shown(first.as_bytes()),
    }
}

/// The bytes of a file. A decoder tells an error of the disk as one of the content, so it is noted
/// here.
#[derive(Debug, Clone, Copy)]
struct Disk<'a> {
    file: &'a File,
    failed: &'a Cell<bool>,
}

impl Disk<'_> {
    fn note<T>(self, done: io::Result<T>) -> io::Result<T> {
        if done
            .as_ref()
            .is_err_and(|e| e.kind() != io::ErrorKind::Interrupted)
        {
            self.failed.set(true);
        }
        done
    }
}

impl Read for Disk<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut file = self.file;
        self.note(file.read(into))
    }
}

impl Seek for Disk<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        // Not noted: a damaged zip leads to places before its beginning.
        let mut file = self.file;
        file.seek(to)
    }
}

/// What stands before the bytes of a file in a zip.
struct LocalHeader {
    flags: u16,
    method: u16,
    packed: u32,
    name: Vec<u8>,
}

impl LocalHeader {
    /// Reads it, and leaves `disk` at what follows.
    fn read(disk: &mut Disk<'_>) -> io::Result<Self> {
        let _ = disk.seek(SeekFrom::Start(0))?;
        // Its end is none of the disk's.
        let mut whole = |length: usize| {
            let mut bytes = Vec::new();
            let read = disk.take(length as u64).read_to_end(&mut bytes)?;
            if read < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(bytes)
        };
        let fixed = whole(30)?;
        let short = |at: usize| match fixed.get(at..at + 2) {
            Some([low, high]) => u16::from_le_bytes([*low, *high]),
            _ => 0,
        };
        let (name, extra) = (usize::from(short(26)), usize::from(short(28)));
        let name = whole(name)?;
        let _ = whole(extra)?;
        Ok(Self {
            flags: short(6),
            method: short(8),
            packed: u32::from(short(18)) | u32::from(short(20)) << 16,
            name,
        })
    }
}

/// A text that ends with an error where it cannot be one of trades.
struct Guarded<'a> {
    source: &'a mut dyn Read,
    /// Bytes that the file may still give.
    room: &'a mut u64,
    /// The size that the zip claims.
    claimed: Option<u64>,
    given: u64,
    /// Bytes since the last line ended.
    line: usize,
    /// The end of the source is not known to be that of the text.
    is_cut: bool,
}

impl<'a> Guarded<'a> {
    fn new(source: &'a mut dyn Read, room: &'a mut u64) -> Self {
        Self {
            source,
            room,
            claimed: None,
            given: 0,
            line: 0,
            is_cut: false,
        }
    }
}

impl Read for Guarded<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        let bytes = into.get(..count).unwrap_or_default();
        self.given += count as u64;
        let claims = self.claimed.unwrap_or(self.given);
        if bytes.is_empty() {
            if self.is_cut && !into.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if self.given < claims && !into.is_empty() {
                return Err(io::Error::other(format!(
                    "it has {} bytes, and not the {claims} that the zip claims",
                    self.given
                )));
            }
            return Ok(0);
        }
        if self.given > claims {
            return Err(io::Error::other(format!(
                "it has more than the {claims} bytes that the zip claims"
            )));
        }
        let Some(room) = self.room.checked_sub(count as u64) else {
            return Err(io::Error::other(format!(
                "it is unpacked to more than {MOST_RATIO} times the file's size, as no list of trades is"
            )));
        };
        *self.room = room;
        self.line = match bytes.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')) {
            Some(end) => count - end,
            None => self.line + count,
        };
        if self.line > LONGEST_LINE {
            return Err(io::Error::other(format!(
                "it has a line of more than {LONGEST_LINE} bytes"
            )));
        }
        Ok(count)
    }
}
