//! The records of the write-ahead log, and how they lie in a segment.
//!
//! ```text
//! magic, length of the payload, XXH64 of the payload seeded with its length, payload
//! F  a file: whose rows follow under its number, and the key that it will have
//! A  all events of a file so far, as V: earlier records of it are not needed
//! V  events of a file: what their series' tracker knows after them, and their rows column by column
//! S  the file at a key is in the spool: its rows are not needed any more
//! M  what is known of every series, at the beginning of a segment
//! ```
//!
//! A file is declared by its first two records of a segment, so that one damaged declaration costs
//! no row. Earlier versions wrote W and E, whose rows have the columns of version 1; before that,
//! segments had no magic, and rows (`R`) were Arrow IPC streams behind a line of JSON.

use std::{io::Cursor, ops::Range};

use arrow::{array::RecordBatch, ipc::reader::StreamReader};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use crate::{
    collect::{
        bytes::{Reader, put, put_signed},
        rows::Rows,
        tracker::{Hole, Mark},
    },
    error::{Error, Kind, Result},
    feed::event,
    model::{partition::Series, schema::STREAM_VERSION},
};

/// How a record begins.
pub(super) const MAGIC: [u8; 4] = [0xd1, b'q', b'l', b'w'];
/// Magic, length and checksum.
pub(super) const HEAD: usize = 16;
/// Length and checksum, as earlier versions wrote them.
pub(super) const LEGACY_HEAD: usize = 12;
/// No record is longer.
pub(super) const LONGEST: usize = 256 << 20;

/// What is known of a series beyond its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// The second in the name of the newest file.
    pub(crate) opened_s: i64,
    /// When its last frame was read, or what makes the newest name unique where that is later.
    pub(crate) ts_recv: i64,
    /// Up to when the time without it is on record, or since when it is missed where nothing ever
    /// came; 0 where neither is known.
    #[serde(default)]
    pub(crate) told_ns: i64,
    /// What the exchange's numbers have come to.
    #[serde(rename = "thread")]
    pub(crate) mark: Mark,
}

/// A file of the spool whose rows are in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileHead {
    /// Its number, which no other file of this log has.
    pub(crate) id: u64,
    pub(crate) series: Series,
    pub(crate) kind: event::Kind,
    /// The value of the column `symbol`.
    pub(crate) symbol: String,
    /// The key of the spool file.
    pub(crate) key: String,
    /// The second in its name.
    pub(crate) opened_s: i64,
}

/// What a series' tracker knows after the events of a record, and does not learn from them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tracked {
    pub(crate) last: Option<u64>,
    pub(crate) last_ts: i64,
    pub(crate) holes: Vec<Hole>,
}

/// A record, as it is read back.
#[derive(Debug)]
pub(super) enum Record {
    Checkpoints(Vec<(Series, Checkpoint)>),
    File(FileHead),
    Events {
        id: u64,
        tracked: Tracked,
        rows: Encoded,
        /// Whether these are all of the file so far.
        whole: bool,
    },
    Sealed(String),
    /// Rows as earlier versions wrote them.
    Legacy(Box<LegacyHead>, RecordBatch),
    /// A record of an earlier version that tells nothing that is needed.
    Nothing,
}

/// The rows of a record, not decoded yet.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The version of their columns.
    version: i8,
    bytes: Vec<u8>,
}

impl Encoded {
    pub(super) fn rows(&self, kind: event::Kind) -> Option<Rows> {
        Rows::decode(kind, self.version, &mut Reader(&self.bytes))
    }
}

/// Whose rows follow in a record of an earlier version.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct LegacyHead {
    pub(super) series: Series,
    pub(super) kind: event::Kind,
    pub(super) symbol: String,
    pub(super) key: String,
    #[serde(rename = "memory")]
    pub(super) checkpoint: Checkpoint,
}

/// The checksum of a payload.
pub(super) fn checksum(payload: &[u8]) -> u64 {
    XxHash64::oneshot(payload.len() as u64, payload)
}

/// Frames a payload.
pub(super) fn frame(payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|_| payload.len() <= LONGEST);
    let length = length.ok_or_else(|| {
        Error::new(
            Kind::Internal,
            "a record of the write-ahead log is too long",
        )
    })?;
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(payload).to_le_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

fn json<T: Serialize>(kind: u8, value: &T, out: &mut Vec<u8>) -> Result<()> {
    let mut payload = vec![kind];
    serde_json::to_writer(&mut payload, value).map_err(|e| {
        Error::caused(
            Kind::Internal,
            "a record of the write-ahead log cannot be put in JSON",
            e,
        )
    })?;
    frame(&payload, out)
}

/// What is known of every series.
pub(super) fn checkpoints(all: &[(Series, Checkpoint)], out: &mut Vec<u8>) -> Result<()> {
    json(b'M', &all, out)
}

/// Declares a file.
pub(super) fn file(head: &FileHead, out: &mut Vec<u8>) -> Result<()> {
    json(b'F', head, out)
}

/// Notes that a file is sealed.
pub(super) fn sealed(key: &str, out: &mut Vec<u8>) -> Result<()> {
    frame(&[b"S", key.as_bytes()].concat(), out)
}

/// Events of a file.
pub(super) fn events(
    id: u64,
    tracked: &Tracked,
    rows: &Rows,
    range: Range<usize>,
    out: &mut Vec<u8>,
) -> Result<()> {
    rows_of(b'V', id, tracked, rows, range, out)
}

/// All events of a file so far, in one record: it is there as a whole or not at all.
pub(super) fn whole(
    id: u64,
    tracked: &Tracked,
    rows: &Rows,
    range: Range<usize>,
    out: &mut Vec<u8>,
) -> Result<()> {
    rows_of(b'A', id, tracked, rows, range, out)
}

fn rows_of(
    kind: u8,
    id: u64,
    tracked: &Tracked,
    rows: &Rows,
    range: Range<usize>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let mut payload = vec![kind];
    put(&mut payload, id);
    // One more than the number, so that none is 0.
    put(
        &mut payload,
        tracked.last.map_or(0, |last| last.saturating_add(1)),
    );
    put_signed(&mut payload, tracked.last_ts);
    let holes = if tracked.holes.is_empty() {
        Vec::new()
    } else {
        serde_json::to_vec(&tracked.holes).unwrap_or_default()
    };
    put(&mut payload, holes.len() as u64);
    payload.extend_from_slice(&holes);
    rows.encode(range, &mut payload);
    frame(&payload, out)
}

/// Reads a payload; `None` when it is none of this version or an earlier one.
pub(super) fn decode(payload: &[u8]) -> Option<Record> {
    let (kind, rest) = payload.split_first()?;
    match kind {
        b'M' => serde_json::from_slice(rest).ok().map(Record::Checkpoints),
        b'F' => serde_json::from_slice(rest).ok().map(Record::File),
        b'S' => String::from_utf8(rest.to_vec()).ok().map(Record::Sealed),
        b'E' | b'W' | b'V' | b'A' => {
            let mut reader = Reader(rest);
            let id = reader.number()?;
            let last = reader.number()?.checked_sub(1);
            let last_ts = reader.signed()?;
            let length = reader.length()?;
            let holes = reader.take(length)?;
            let holes = if holes.is_empty() {
                Vec::new()
            } else {
                serde_json::from_slice(holes).ok()?
            };
            let version = if matches!(kind, b'E' | b'W') {
                1
            } else {
                STREAM_VERSION
            };
            let rows = Encoded {
                version,
                bytes: reader.0.to_vec(),
            };
            let whole = matches!(kind, b'W' | b'A');
            Some(Record::Events {
                id,
                tracked: Tracked {
                    last,
                    last_ts,
                    holes,
                },
                rows,
                whole,
            })
        }
        b'R' => {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let head = serde_json::from_slice(rest.get(..end)?).ok()?;
            let mut batches =
                StreamReader::try_new(Cursor::new(rest.get(end + 1..)?), None).ok()?;
            Some(Record::Legacy(head, batches.next()?.ok()?))
        }
        b'Y' | b'N' => Some(Record::Nothing),
        _ => None,
    }
}
