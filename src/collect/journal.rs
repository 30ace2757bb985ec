//! The journal: where events are safe until they stand in a sealed spool file.
//!
//! Segments `{spool}/_journal/{number}.qlcj` are only appended to. A record is its length, the XXH64 of its payload, the
//! payload; rows are Arrow IPC streams behind a line of JSON that says whose they are. A group of records is written and
//! synced at once: an event is acknowledged when its group is. Segments go oldest first, when every file that they tell of
//! is sealed, so what a later one says of an earlier one is never lost.
//!
//! Refuses to guess behind a torn record: what follows it in its segment was never acknowledged, or is kept aside.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::{self, File},
    io::{Cursor, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use arrow::{
    array::RecordBatch,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use super::thread::Mark;
use crate::{
    error::{Error, Kind, Result},
    feed::event,
    model::partition::Series,
    storage::{
        atomic::{self, FolderLock},
        crash,
        store::Store,
    },
};

/// The folder of the journal in a spool.
pub(crate) const FOLDER: &str = "_journal";
/// A segment ends after so many bytes.
const SEGMENT: u64 = 32 << 20;
const HEAD: usize = 12;

/// What is remembered of a series beyond its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// The greatest `seq` that was given.
    pub(crate) seq: i64,
    /// The second in the name of the newest file.
    pub(crate) opened_s: i64,
    /// When its last frame was read.
    pub(crate) ts_recv: i64,
    /// What the exchange's numbers have come to.
    pub(crate) thread: Mark,
}

/// A record, as it is read back.
#[derive(Debug)]
pub(crate) enum Record {
    /// What is remembered of the series at the beginning of a segment.
    Memories(Vec<(Series, Memory)>),
    /// Rows of the file at a key.
    Rows(Box<RowsHead>, RecordBatch),
    /// The file at this key is complete and about to be made visible.
    Ready(String),
    /// It was not made visible after all.
    Unready(String),
}

/// Whose rows follow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RowsHead {
    pub(crate) series: Series,
    pub(crate) kind: event::Kind,
    /// The value of the column `symbol`.
    pub(crate) symbol: String,
    /// The key of the spool file that they will stand in.
    pub(crate) key: String,
    /// What is remembered of the series after these rows.
    pub(crate) memory: Memory,
}

/// What a journal held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) records: Vec<Record>,
    /// Bytes behind the last whole record of the last segment: never acknowledged.
    pub(crate) torn_bytes: u64,
    /// Segments that are damaged before their end, kept aside.
    pub(crate) damaged: Vec<PathBuf>,
    segments: Vec<PathBuf>,
}

/// A journal that is open for writing.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    current: Segment,
    /// Earlier segments, oldest first.
    earlier: VecDeque<(PathBuf, BTreeSet<String>)>,
    next: u64,
    /// Files that are sealed, as long as a segment still tells of them.
    sealed: BTreeSet<String>,
    _lock: FolderLock,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    /// Bytes that are whole and synced.
    length: u64,
    keys: BTreeSet<String>,
}

/// Locks the journal of a spool, for one process at a time.
///
/// # Errors
/// When another process holds it, or the folder cannot be made.
pub(crate) fn lock(spool: &Store) -> Result<FolderLock> {
    atomic::lock(spool, FOLDER)?.ok_or_else(|| {
        Error::usage(format!(
            "another qlc collect writes to this spool ({} is locked): stop it, or give this one another --spool",
            spool.show(FOLDER)
        ))
    })
}

/// Reads everything that an earlier process left in the journal.
///
/// # Errors
/// When a segment cannot be read.
pub(crate) fn read(folder: &Path) -> Result<Found> {
    let mut found = Found { segments: segments(folder)?, ..Found::default() };
    let last = found.segments.len().saturating_sub(1);
    for (number, path) in found.segments.iter().enumerate() {
        let bytes = fs::read(path).map_err(|e| Error::io(format!("{}: cannot be read", path.display()), e))?;
        let whole = parse(&bytes, &mut found.records);
        let torn = (bytes.len() - whole) as u64;
        if torn > 0 && number == last {
            found.torn_bytes = torn;
        } else if torn > 0 {
            found.damaged.push(path.clone());
        }
    }
    Ok(found)
}

/// Reads records as far as they are whole; returns where they end.
fn parse(bytes: &[u8], records: &mut Vec<Record>) -> usize {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..)
        && let Some((length, payload)) = frame(rest)
        && let Some(record) = decode(payload)
    {
        records.push(record);
        at += HEAD + length;
    }
    at
}

fn frame(rest: &[u8]) -> Option<(usize, &[u8])> {
    let length = usize::try_from(u32::from_le_bytes(rest.get(..4)?.try_into().ok()?)).ok()?;
    let sum = u64::from_le_bytes(rest.get(4..HEAD)?.try_into().ok()?);
    let payload = rest.get(HEAD..HEAD + length)?;
    (length > 0 && XxHash64::oneshot(0, payload) == sum).then_some((length, payload))
}

fn decode(payload: &[u8]) -> Option<Record> {
    let (kind, rest) = payload.split_first()?;
    match kind {
        b'M' => serde_json::from_slice(rest).ok().map(Record::Memories),
        b'Y' => String::from_utf8(rest.to_vec()).ok().map(Record::Ready),
        b'N' => String::from_utf8(rest.to_vec()).ok().map(Record::Unready),
        b'R' => {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let head = serde_json::from_slice(rest.get(..end)?).ok()?;
            let mut batches = StreamReader::try_new(Cursor::new(rest.get(end + 1..)?), None).ok()?;
            Some(Record::Rows(head, batches.next()?.ok()?))
        }
        _ => None,
    }
}

fn encode(payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let length = u32::try_from(payload.len())
        .map_err(|e| Error::caused(Kind::Internal, "a record of the journal has more than 4 GB", e))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&XxHash64::oneshot(0, payload).to_le_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

/// Rows as a record.
pub(crate) fn rows_record(head: &RowsHead, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let wrong = |e: arrow::error::ArrowError| Error::caused(Kind::Internal, "rows cannot be put in the journal", e);
    let mut payload = vec![b'R'];
    serde_json::to_writer(&mut payload, head)
        .map_err(|e| Error::caused(Kind::Internal, "a head of rows cannot be put in JSON", e))?;
    payload.push(b'\n');
    let mut writer = StreamWriter::try_new(&mut payload, &batch.schema()).map_err(wrong)?;
    writer.write(batch).map_err(wrong)?;
    writer.finish().map_err(wrong)?;
    drop(writer);
    encode(&payload, out)
}

fn segments(folder: &Path) -> Result<Vec<PathBuf>> {
    let wrong = |e| Error::io(format!("{}: cannot be listed", folder.display()), e);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|e| e == "qlcj") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn number_of(path: &Path) -> u64 {
    path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).unwrap_or(0)
}

impl Journal {
    /// Begins a new segment that takes over what `found` is remembered by. What was found stays until
    /// [`Self::forget_earlier`].
    ///
    /// # Errors
    /// When the segment cannot be made.
    pub(crate) fn open(spool: &Store, lock: FolderLock, found: &Found, memories: &[(Series, Memory)]) -> Result<Self> {
        let folder = folder(spool)?;
        let next = found.segments.iter().map(|path| number_of(path)).max().unwrap_or(0) + 1;
        let current = Segment::begin(&folder, next, memories)?;
        let earlier = found.segments.iter().map(|path| (path.clone(), BTreeSet::new())).collect();
        Ok(Self { folder, current, earlier, next: next + 1, sealed: BTreeSet::new(), _lock: lock })
    }

    /// Writes and syncs records of rows; `keys` are the files that they tell of. After an error nothing of them is there.
    ///
    /// # Errors
    /// When the disk refuses, as one that is full does.
    pub(crate) fn commit(&mut self, records: &[u8], keys: impl IntoIterator<Item = String>) -> Result<()> {
        self.current.append(records)?;
        self.current.keys.extend(keys);
        Ok(())
    }

    /// Notes that the file at `key` is about to be made visible.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(crate) fn ready(&mut self, key: &str) -> Result<()> {
        self.note(b'Y', key)
    }

    /// Takes back what [`Self::ready`] noted.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(crate) fn unready(&mut self, key: &str) -> Result<()> {
        self.note(b'N', key)
    }

    fn note(&mut self, kind: u8, key: &str) -> Result<()> {
        let mut record = Vec::new();
        encode(&[&[kind], key.as_bytes()].concat(), &mut record)?;
        self.current.append(&record)
    }

    /// Notes that the file at `key` stands in the spool; segments that nothing else needs go.
    ///
    /// # Errors
    /// When a segment cannot be removed.
    pub(crate) fn sealed(&mut self, key: &str) -> Result<()> {
        let _ = self.sealed.insert(key.to_owned());
        self.trim()
    }

    /// Begins a new segment. The memories must be those of committed rows: what they know, no restart takes again.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn roll(&mut self, memories: &[(Series, Memory)]) -> Result<()> {
        let begun = Segment::begin(&self.folder, self.next, memories)?;
        self.next += 1;
        let ended = std::mem::replace(&mut self.current, begun);
        self.earlier.push_back((ended.path, ended.keys));
        Ok(())
    }

    /// Bytes that the journal takes.
    pub(crate) fn bytes(&self) -> u64 {
        let earlier = self.earlier.iter().filter_map(|(path, _)| Some(fs::metadata(path).ok()?.len()));
        earlier.sum::<u64>() + self.current.length
    }

    /// Bytes in the current segment.
    pub(crate) fn is_long(&self) -> bool {
        self.current.length > SEGMENT
    }

    fn trim(&mut self) -> Result<()> {
        while let Some((path, keys)) = self.earlier.front()
            && keys.is_subset(&self.sealed)
        {
            match fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("{}: cannot be removed", path.display()), e));
                }
                _ => crash::point("journal segment removed"),
            }
            let _ = self.earlier.pop_front();
        }
        let told: BTreeSet<&String> =
            self.earlier.iter().flat_map(|(_, keys)| keys).chain(&self.current.keys).collect();
        self.sealed = self.sealed.iter().filter(|key| told.contains(key)).cloned().collect();
        Ok(())
    }
}

impl Segment {
    fn begin(folder: &Path, number: u64, memories: &[(Series, Memory)]) -> Result<Self> {
        let path = folder.join(format!("{number:012}.qlcj"));
        let wrong = |e| Error::io(format!("{}: cannot be made", path.display()), e);
        let file = File::create(&path).map_err(wrong)?;
        let mut segment = Self { path: path.clone(), file, length: 0, keys: BTreeSet::new() };
        crash::point("journal segment made");
        let mut payload = vec![b'M'];
        serde_json::to_writer(&mut payload, memories)
            .map_err(|e| Error::caused(Kind::Internal, "memories cannot be put in JSON", e))?;
        let mut record = Vec::new();
        encode(&payload, &mut record)?;
        segment.append(&record)?;
        File::open(folder).and_then(|f| f.sync_all()).map_err(wrong)?;
        crash::point("journal segment durable");
        Ok(segment)
    }

    fn append(&mut self, records: &[u8]) -> Result<()> {
        let wrong = |e| Error::io(format!("{}: cannot be written", self.path.display()), e);
        // A torn record is written over by the next attempt, or cut off now if that is possible.
        let written = self.file.write_all_at(records, self.length).and_then(|()| {
            crash::point("journal written");
            self.file.flush().and_then(|()| self.file.sync_data())
        });
        if let Err(e) = written {
            let _ = self.file.set_len(self.length);
            return Err(wrong(e));
        }
        crash::point("journal synced");
        self.length += records.len() as u64;
        Ok(())
    }
}

/// The folder of a spool's journal.
///
/// # Errors
/// When the spool is not a local folder.
pub(crate) fn folder(spool: &Store) -> Result<PathBuf> {
    spool.local_path(FOLDER).ok_or_else(|| {
        Error::usage(
            "a collector writes to a local folder: name one with --spool, and copy from there what must go elsewhere",
        )
    })
}

/// The last memory of each series.
pub(crate) fn memories(records: &[Record]) -> BTreeMap<Series, Memory> {
    let mut found = BTreeMap::new();
    for record in records {
        match record {
            Record::Memories(all) => found.extend(all.iter().cloned()),
            Record::Rows(head, _) => {
                let _ = found.insert(head.series.clone(), head.memory.clone());
            }
            Record::Ready(_) | Record::Unready(_) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        collect::rows::Rows,
        feed::event::{Body, Event, Id},
    };

    fn head(key: &str, seq: i64) -> RowsHead {
        let series = Series {
            exchange: "okx".parse().unwrap(),
            stream: "open_interest".parse().unwrap(),
            symbol: "btcusdt".parse().unwrap(),
        };
        let memory = Memory { seq, ..Memory::default() };
        RowsHead { series, kind: event::Kind::OpenInterest, symbol: "BTCUSDT".to_owned(), key: key.to_owned(), memory }
    }

    fn record(key: &str, seq: i64) -> Vec<u8> {
        let mut rows = Rows::new(event::Kind::OpenInterest);
        let event = Event { series: 0, ts_event: seq, ts_recv: seq, id: Id::Time, body: Body::OpenInterest(1.0) };
        rows.push(event, seq);
        let mut out = Vec::new();
        rows_record(&head(key, seq), &rows.narrow(0..1).unwrap(), &mut out).unwrap();
        out
    }

    fn seqs(found: &Found) -> Vec<i64> {
        found
            .records
            .iter()
            .filter_map(|r| if let Record::Rows(h, _) = r { Some(h.memory.seq) } else { None })
            .collect()
    }

    #[test]
    fn what_was_committed_is_read_back_and_a_torn_tail_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Store::open(dir.path().to_str().unwrap()).unwrap();
        let folder = folder(&spool).unwrap();
        let held = lock(&spool).unwrap();
        assert_eq!(lock(&spool).unwrap_err().kind(), Kind::Usage);
        let mut journal = Journal::open(&spool, held, &Found::default(), &[]).unwrap();
        journal.commit(&record("a", 1), ["a".to_owned()]).unwrap();
        journal.commit(&record("b", 2), ["b".to_owned()]).unwrap();
        journal.ready("a").unwrap();
        drop(journal);
        let whole = read(&folder).unwrap();
        assert_eq!((seqs(&whole), whole.torn_bytes), (vec![1, 2], 0));
        assert!(matches!(&whole.records[3], Record::Ready(key) if key == "a"));
        assert_eq!(memories(&whole.records).values().next().unwrap().seq, 2);

        let path = folder.join("000000000001.qlcj");
        let bytes = fs::read(&path).unwrap();
        for cut in 0..bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let found = read(&folder).unwrap();
            assert!(seqs(&found).len() <= 2 && found.damaged.is_empty());
            assert!([1, 2].starts_with(&seqs(&found)), "cut at {cut}");
        }
        for at in (0..bytes.len()).step_by(7) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).unwrap();
            assert!([1, 2].starts_with(&seqs(&read(&folder).unwrap())), "flipped at {at}");
        }
    }

    #[test]
    fn segments_go_in_their_order_when_their_files_are_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Store::open(dir.path().to_str().unwrap()).unwrap();
        let folder = folder(&spool).unwrap();
        let mut journal = Journal::open(&spool, lock(&spool).unwrap(), &Found::default(), &[]).unwrap();
        journal.commit(&record("a", 1), ["a".to_owned()]).unwrap();
        journal.roll(&[]).unwrap();
        journal.commit(&record("b", 2), ["b".to_owned()]).unwrap();
        journal.roll(&[]).unwrap();
        journal.sealed("b").unwrap();
        assert_eq!(segments(&folder).unwrap().len(), 3, "the first one is still needed");
        journal.sealed("a").unwrap();
        assert_eq!(segments(&folder).unwrap().len(), 1);
        assert!(journal.bytes() > 0);
    }
}
