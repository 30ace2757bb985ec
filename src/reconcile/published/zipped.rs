//! The directory of a zip, and the texts that it leads to: stored or deflated, also in the 64-bit
//! form. All else that the format knows (encryption, other methods, several disks) ends with an
//! error.
//!
//! The crate `zip` would turn on a feature below DataFusion, and have all of it compiled anew.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};

use flate2::{Crc, read::DeflateDecoder};

/// The end of the directory, without its comment.
const END: usize = 22;
/// The longest comment behind it.
const COMMENT: u64 = 65_535;
/// The entry of a file in the directory, without its names.
const ENTRY: usize = 46;
/// What stands before the bytes of a file, without its names.
const LOCAL: usize = 30;
/// In the 64-bit form a size stands elsewhere.
const ELSEWHERE: u64 = 0xffff_ffff;
/// No directory is larger than that of the most files that are read, with names of all lengths.
const LONGEST_DIRECTORY: u64 = 256 << 20;

/// A zip whose directory was read.
#[derive(Debug)]
pub(super) struct Zipped<R> {
    source: R,
    entries: Vec<ZipEntry>,
}

/// A file as the directory tells it.
#[derive(Debug, Clone)]
pub(super) struct ZipEntry {
    pub(super) name: Vec<u8>,
    /// Its size unpacked, as claimed.
    pub(super) size: u64,
    packed: u64,
    crc: u32,
    method: u16,
    flags: u16,
    at: u64,
}

impl ZipEntry {
    pub(super) fn is_dir(&self) -> bool {
        self.name.ends_with(b"/") || self.name.ends_with(b"\\")
    }

    /// Whether the name leads to no other place than below a folder.
    pub(super) fn stays_inside(&self) -> bool {
        let name = String::from_utf8_lossy(&self.name);
        let is_rooted = name.starts_with(['/', '\\']) || name.contains(':') || name.contains('\0');
        !is_rooted && name.split(['/', '\\']).all(|part| part != "..")
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Fields of a fixed form.
#[derive(Debug, Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(&self, at: usize, length: usize) -> io::Result<u64> {
        let field = self
            .0
            .get(at..at + length)
            .ok_or_else(|| wrong("the directory ends early"))?;
        Ok(field
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn short(&self, at: usize) -> io::Result<u16> {
        self.number(at, 2).map(|n| u16::try_from(n).unwrap_or(0))
    }
}

/// Where the directory stands: its first byte, its length, and how many files it tells.
struct Directory {
    at: u64,
    length: u64,
    count: u64,
}

impl<R: Read + Seek> Zipped<R> {
    /// Reads the directory.
    ///
    /// # Errors
    /// When there is none, or it contradicts itself.
    pub(super) fn new(mut source: R) -> io::Result<Self> {
        let end = source.seek(SeekFrom::End(0))?;
        let directory = directory(&mut source, end)?;
        if directory.length > LONGEST_DIRECTORY
            || directory.at.saturating_add(directory.length) > end
        {
            return Err(wrong("the directory does not lie in the file"));
        }
        let _ = source.seek(SeekFrom::Start(directory.at))?;
        let mut bytes = Vec::new();
        let read = (&mut source)
            .take(directory.length)
            .read_to_end(&mut bytes)?;
        if read as u64 != directory.length {
            return Err(wrong("the directory ends early"));
        }
        let mut entries = Vec::new();
        let mut rest = bytes.as_slice();
        for _ in 0..directory.count {
            let (entry, behind) = entry(rest)?;
            entries.push(entry);
            rest = behind;
        }
        Ok(Self { source, entries })
    }

    pub(super) fn entries(&self) -> &[ZipEntry] {
        &self.entries
    }

    /// The text of a file.
    ///
    /// # Errors
    /// When it is packed in a way that is not read, or does not lie where the directory says.
    pub(super) fn open(&mut self, entry: &ZipEntry) -> io::Result<ZippedText<'_, R>> {
        if entry.flags & 1 == 1 {
            return Err(wrong("it is encrypted"));
        }
        let _ = self.source.seek(SeekFrom::Start(entry.at))?;
        let mut local = [0; LOCAL];
        self.source.read_exact(&mut local)?;
        let fields = Fields(&local);
        if !local.starts_with(b"PK\x03\x04") {
            return Err(wrong("it does not lie where the directory says"));
        }
        let names = i64::from(fields.short(26)?) + i64::from(fields.short(28)?);
        let _ = self.source.seek(SeekFrom::Current(names))?;
        let packed = (&mut self.source).take(entry.packed);
        let body = match entry.method {
            0 => Body::Stored(packed),
            8 => Body::Deflated(Box::new(DeflateDecoder::new(BufReader::new(packed)))),
            other => return Err(wrong(&format!("it is packed by method {other}"))),
        };
        Ok(ZippedText {
            body,
            crc: Crc::new(),
            expected: entry.crc,
        })
    }
}

/// Finds the directory in a file of `end` bytes.
fn directory<R: Read + Seek>(source: &mut R, end: u64) -> io::Result<Directory> {
    let from = end.saturating_sub(COMMENT + END as u64);
    let _ = source.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    let _ = source.take(COMMENT + END as u64).read_to_end(&mut tail)?;
    let is_end = |at: &usize| {
        let found = tail.get(*at..).unwrap_or_default();
        let comment = Fields(found).short(20).map_or(usize::MAX, usize::from);
        found.starts_with(b"PK\x05\x06") && found.len() == END.saturating_add(comment)
    };
    let at = (0..tail.len().saturating_sub(END - 1))
        .rev()
        .find(is_end)
        .ok_or_else(|| wrong("there is no end of a directory"))?;
    let fields = Fields(tail.get(at..).unwrap_or_default());
    let short = Directory {
        at: fields.number(16, 4)?,
        length: fields.number(12, 4)?,
        count: fields.number(10, 2)?,
    };
    let is_long = short.at == ELSEWHERE || short.length == ELSEWHERE || short.count == 0xffff;
    if !is_long {
        return Ok(short);
    }
    // The 64-bit form stands before; where, says what stands right before the end.
    let before = tail
        .get(at.saturating_sub(20)..at)
        .filter(|found| found.starts_with(b"PK\x06\x07"));
    let Some(before) = before else {
        return Ok(short);
    };
    let _ = source.seek(SeekFrom::Start(Fields(before).number(8, 8)?))?;
    let mut long = [0; 56];
    source.read_exact(&mut long)?;
    if !long.starts_with(b"PK\x06\x06") {
        return Err(wrong(
            "the 64-bit end of the directory does not lie where it should",
        ));
    }
    let fields = Fields(&long);
    Ok(Directory {
        at: fields.number(48, 8)?,
        length: fields.number(40, 8)?,
        count: fields.number(32, 8)?,
    })
}

/// The first entry of a directory, and what follows it.
fn entry(bytes: &[u8]) -> io::Result<(ZipEntry, &[u8])> {
    if !bytes.starts_with(b"PK\x01\x02") {
        return Err(wrong("the directory has something else than files"));
    }
    let fields = Fields(bytes);
    let [name, extra, comment] = [28, 30, 32].map(|at| fields.short(at).map(usize::from));
    let (name, extra, comment) = (name?, extra?, comment?);
    let early = || wrong("the directory ends early");
    let rest = bytes.get(ENTRY..).ok_or_else(early)?;
    let (name, rest) = rest.split_at_checked(name).ok_or_else(early)?;
    let (extra, rest) = rest.split_at_checked(extra).ok_or_else(early)?;
    let (_, rest) = rest.split_at_checked(comment).ok_or_else(early)?;
    let mut entry = ZipEntry {
        name: name.to_vec(),
        size: fields.number(24, 4)?,
        packed: fields.number(20, 4)?,
        crc: u32::try_from(fields.number(16, 4)?).unwrap_or(0),
        method: fields.short(10)?,
        flags: fields.short(8)?,
        at: fields.number(42, 4)?,
    };
    lengthen(&mut entry, extra)?;
    Ok((entry, rest))
}

/// Takes the sizes of the 64-bit form, of those that stand elsewhere.
fn lengthen(entry: &mut ZipEntry, mut extra: &[u8]) -> io::Result<()> {
    while extra.len() >= 4 {
        let fields = Fields(extra);
        let (kind, length) = (fields.short(0)?, usize::from(fields.short(2)?));
        let Some(field) = extra.get(4..4 + length) else {
            return Ok(());
        };
        if kind == 1 {
            let mut at = 0;
            for size in [&mut entry.size, &mut entry.packed, &mut entry.at] {
                if *size == ELSEWHERE {
                    *size = Fields(field).number(at, 8)?;
                    at += 8;
                }
            }
        }
        extra = extra.get(4 + length..).unwrap_or_default();
    }
    Ok(())
}

enum Body<'a, R: Read> {
    Stored(Take<&'a mut R>),
    Deflated(Box<DeflateDecoder<BufReader<Take<&'a mut R>>>>),
}

/// A text of a zip. Its end is an error where its checksum is not what the directory says.
pub(super) struct ZippedText<'a, R: Read> {
    body: Body<'a, R>,
    crc: Crc,
    expected: u32,
}

impl<R: Read> Read for ZippedText<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.body {
            Body::Stored(body) => body.read(into)?,
            Body::Deflated(body) => body.read(into)?,
        };
        if count == 0 && !into.is_empty() && self.crc.sum() != self.expected {
            return Err(wrong("its checksum is not what the zip says"));
        }
        self.crc.update(into.get(..count).unwrap_or_default());
        Ok(count)
    }
}
