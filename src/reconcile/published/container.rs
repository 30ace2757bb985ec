//! A published file as the texts that lie in it: a zip, a gzip or a plain text. They are streamed;
//! nothing is unpacked, and no name in a zip leads anywhere.
//!
//! A file may be made to do harm. So a text that grows beyond what trades could be compressed to, or
//! beyond what its zip claims, ends with an error, and so does a line that is none.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufReader, Read},
    ops::ControlFlow,
    os::unix::fs::FileExt,
};

use flate2::read::{DeflateDecoder, MultiGzDecoder};
use rawzip::{
    CompressionMethod, RECOMMENDED_BUFFER_SIZE, ReaderAt, ZipArchive, ZipArchiveEntryWayfinder,
    ZipLocator,
};
use sha2::{Digest, Sha256};

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
const MOST_MEMBERS: usize = 1000;

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
        let failed = Cell::new(None);
        let disk = Disk {
            file: &self.file,
            failed: &failed,
        };
        let mut room = FREE.saturating_add(self.bytes.saturating_mul(MOST_RATIO));
        let mut ending = Ending::default();
        let visited = match self.packing {
            Packing::Zip => self.zipped(disk, &mut room, &mut ending, visit),
            Packing::Gzip => {
                let packed = BufReader::with_capacity(PIECE, disk.reader());
                let mut unpacked = MultiGzDecoder::new(packed);
                self.one(&mut Guarded::new(&mut unpacked, &mut room), visit)
            }
            Packing::Plain => {
                let mut plain = disk.reader();
                self.one(&mut Guarded::new(&mut plain, &mut room), visit)
            }
        };
        if let Some(kind) = failed.get() {
            return Err(Error::io(
                format!("{}: cannot be read", self.name),
                io::Error::from(kind),
            ));
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
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let archive = match ZipLocator::new().locate_in_reader(disk, &mut buffer, self.bytes) {
            Ok(archive) => archive,
            Err((_, e)) => {
                ending.cut(format!(
                    "the zip has no directory at its end ({e}): it is truncated or damaged"
                ));
                return without_directory(disk, room, ending, visit);
            }
        };
        let entries = listed(&archive, &mut buffer, ending);
        let is_one_of_several = entries.len() > 1;
        for entry in entries {
            let name = shown(&entry.name);
            if leads_out(&entry.name) {
                ending.faults.push(format!(
                    "the zip names {name}, which leads out of a folder; names are not followed"
                ));
            }
            let found = match archive.get_entry(entry.place) {
                Ok(found) => found,
                Err(e) => {
                    ending.cut(format!("{name} in the zip: {e}"));
                    continue;
                }
            };
            let packed = BufReader::with_capacity(PIECE, found.reader());
            let mut plain;
            let mut unpacked;
            let source: &mut dyn Read = match entry.packed {
                Packed::Stored => {
                    plain = found.verifying_reader(packed);
                    &mut plain
                }
                Packed::Deflated => {
                    unpacked = found.verifying_reader(DeflateDecoder::new(packed));
                    &mut unpacked
                }
                Packed::Otherwise(how) => {
                    ending.cut(format!("{name} in the zip is {how}"));
                    continue;
                }
            };
            let mut member = Member {
                name,
                is_one_of_several,
                text: &mut Guarded::new(source, room),
            };
            if visit(&mut member)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// A file in a zip, as the directory has it.
struct Entry {
    name: Vec<u8>,
    place: ZipArchiveEntryWayfinder,
    packed: Packed,
}

/// How a file is packed in a zip.
enum Packed {
    Stored,
    Deflated,
    /// In a way that is not read.
    Otherwise(String),
}

impl Packed {
    fn of(method: u16, is_encrypted: bool) -> Self {
        match method {
            _ if is_encrypted => Self::Otherwise("encrypted".to_owned()),
            0 => Self::Stored,
            8 => Self::Deflated,
            other => Self::Otherwise(format!("packed by method {other}")),
        }
    }
}

/// The files that a zip lists; a list that is too long is cut.
fn listed(archive: &ZipArchive<Disk<'_>>, buffer: &mut [u8], ending: &mut Ending) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut entries = archive.entries(buffer);
    loop {
        let entry = match entries.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return found,
            Err(e) => {
                ending.cut(format!("the directory of the zip: {e}"));
                return found;
            }
        };
        if entry.is_dir() {
            continue;
        }
        if found.len() == MOST_MEMBERS {
            ending.cut(format!(
                "the zip lists more than {MOST_MEMBERS} files; the others are not read"
            ));
            return found;
        }
        let method = entry.compression_method();
        let is_encrypted = entry.flags().is_encrypted();
        found.push(Entry {
            name: entry.file_path().as_bytes().to_vec(),
            place: entry.wayfinder(),
            packed: match method {
                CompressionMethod::STORE => Packed::of(0, is_encrypted),
                CompressionMethod::DEFLATE => Packed::of(8, is_encrypted),
                other => Packed::Otherwise(format!("packed by {other}")),
            },
        });
    }
}

/// Whether a name would lead out of the folder that a zip is unpacked to.
fn leads_out(name: &[u8]) -> bool {
    let mut parts = name.split(|byte| matches!(byte, b'/' | b'\\'));
    name.starts_with(b"/")
        || name.starts_with(b"\\")
        || name.get(1) == Some(&b':')
        || parts.any(|part| part == b"..")
}

/// The first text of a zip whose directory, which stands at its end, is missing.
fn without_directory(
    disk: Disk<'_>,
    room: &mut u64,
    ending: &mut Ending,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let mut rest = BufReader::with_capacity(PIECE, disk.reader());
    let Ok(header) = LocalHeader::read(&mut rest) else {
        ending.cut("the zip ends within its first header".to_owned());
        return Ok(());
    };
    let name = shown(&header.name);
    let mut plain;
    let mut unpacked;
    let source: &mut dyn Read = match Packed::of(header.method, header.flags & 1 == 1) {
        Packed::Stored => {
            plain = rest.take(u64::from(header.packed));
            &mut plain
        }
        Packed::Deflated => {
            unpacked = DeflateDecoder::new(rest);
            &mut unpacked
        }
        Packed::Otherwise(how) => {
            ending.cut(format!("{name} in the zip is {how}"));
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
    failed: &'a Cell<Option<io::ErrorKind>>,
}

impl<'a> Disk<'a> {
    /// The bytes one after the other, from the first one.
    fn reader(self) -> DiskReader<'a> {
        DiskReader { disk: self, at: 0 }
    }
}

impl ReaderAt for Disk<'_> {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(into, at) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    // A damaged zip leads to places that no file has; that is none of the disk's.
                    if e.kind() != io::ErrorKind::InvalidInput {
                        self.failed.set(Some(e.kind()));
                    }
                    return Err(e);
                }
                Ok(read) => return Ok(read),
            }
        }
    }
}

/// The bytes of a file, one after the other.
struct DiskReader<'a> {
    disk: Disk<'a>,
    at: u64,
}

impl Read for DiskReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.disk.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
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
    /// Reads it, and leaves `from` at what follows.
    fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut whole = |length: usize| {
            let mut bytes = vec![0; length];
            from.read_exact(&mut bytes)?;
            Ok::<_, io::Error>(bytes)
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
            packed: u32::from(short(18)) | (u32::from(short(20)) << 16),
            name,
        })
    }
}

/// A text that ends with an error where it cannot be one of trades.
struct Guarded<'a> {
    source: &'a mut dyn Read,
    /// Bytes that the file may still give.
    room: &'a mut u64,
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
            line: 0,
            is_cut: false,
        }
    }
}

impl Read for Guarded<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        if count == 0 && self.is_cut && !into.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(room) = self.room.checked_sub(count as u64) else {
            return Err(io::Error::other(format!(
                "it is unpacked to more than {MOST_RATIO} times the file's size, as no list of trades is"
            )));
        };
        *self.room = room;
        let bytes = into.get(..count).unwrap_or_default();
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
