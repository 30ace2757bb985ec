//! The write-ahead log: where events are safe until they are in a sealed spool file.
//!
//! Segments `{spool}/_journal/{number}.qlcj` are only appended to. A group of records is written
//! and synced at once: an event is acknowledged when its group is. A file's rows are needed until
//! its *sealed* record is durable, or their segment is removed; nothing else, and no missing file,
//! says that they are in the spool. Segments are removed oldest first, when every file that they
//! record is sealed, so what a later one says of an earlier one is never lost.
//!
//! What is sealed is noted twice: in the segment, and at once in a ledger beside it. A segment that
//! loses its end, or a record, has forgotten rows and that their file was sealed: by then the file may
//! have been compacted and removed, and made again of the rows that are left it would be another one.

mod found;
mod record;
mod scan;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    fs::{self, File},
    io::Write,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

pub(crate) use found::{Found, FoundFile, read};
pub(crate) use record::{Checkpoint, FileHead, Tracked};

use super::rows::Rows;
use crate::{
    error::{Error, Result},
    model::partition::Series,
    storage::{
        atomic::{self, FolderLock},
        crash,
        store::Store,
    },
};

/// The folder of the log in a spool.
pub(crate) const FOLDER: &str = "_journal";
/// The extension of a segment's ledger.
const LEDGER: &str = "qlcs";
/// A segment ends after so many bytes, or after this part of the memory for rows: what a restart
/// has to read follows from it.
const SEGMENT: u64 = 32 << 20;
const SEGMENTS_OF_MEMORY: u64 = 16;
/// A segment also ends no sooner than after so many times the checkpoints that it begins with: what
/// is known of thousands of series must not be most of the log.
const CHECKPOINTS: u64 = 8;
/// Records of a segment that declare a file.
const DECLARATIONS: u8 = 2;
/// So many of the newest segments are left as they are; what earlier ones tell of open files is
/// written again.
const YOUNG: usize = 4;

/// Records that are written together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    keys: BTreeSet<String>,
    declared: BTreeMap<u64, u8>,
    /// Files of which all rows are in it.
    whole: BTreeSet<String>,
}

impl Batch {
    /// Bytes of its records.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A log that is open for writing.
#[derive(Debug)]
pub(crate) struct Wal {
    folder: PathBuf,
    current: Segment,
    /// Earlier segments, oldest first.
    earlier: VecDeque<Ended>,
    /// The numbers of the earlier segments that tell of a file which is not sealed.
    needed: HashMap<String, Vec<u64>>,
    next: u64,
    next_file: u64,
    /// A segment ends after so many bytes.
    segment: u64,
    /// Files that are sealed, of which the current segment tells.
    sealed: HashSet<String>,
    /// Sealed records that are not written yet.
    unwritten: Vec<String>,
    _lock: FolderLock,
}

#[derive(Debug)]
struct Ended {
    number: u64,
    path: PathBuf,
    length: u64,
    /// Files that it tells of and that are not sealed.
    open: usize,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    /// Bytes that are whole and synced.
    length: u64,
    /// Bytes that it began with.
    begun: u64,
    number: u64,
    keys: BTreeSet<String>,
    /// How often each file was declared.
    declared: BTreeMap<u64, u8>,
}

/// Locks the log of a spool, for one process at a time.
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

fn number_of(path: &Path) -> u64 {
    path.file_stem()
        .and_then(|stem| stem.to_str()?.parse().ok())
        .unwrap_or(0)
}

impl Wal {
    /// Begins a new segment that takes over what is known of the series. What was found stays until
    /// [`Self::sealed`] says that its files stand in the spool.
    ///
    /// # Errors
    /// When the segment cannot be made.
    pub(crate) fn open(
        spool: &Store,
        lock: FolderLock,
        found: &Found,
        checkpoints: &[(Series, Checkpoint)],
        memory_limit: u64,
    ) -> Result<Self> {
        let folder = folder(spool)?;
        let next = found
            .segments
            .iter()
            .map(|path| number_of(path))
            .max()
            .unwrap_or(0)
            + 1;
        let current = Segment::begin(&folder, next, checkpoints)?;
        // Which of them tells of which file is not looked up: all go when everything is recovered.
        let open = found.files.len();
        let length = |path: &PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
        let ended = |path: &PathBuf| Ended {
            number: number_of(path),
            path: path.clone(),
            length: length(path),
            open,
        };
        let earlier: VecDeque<Ended> = found.segments.iter().map(ended).collect();
        let numbers: Vec<u64> = earlier.iter().map(|ended| ended.number).collect();
        let needed = found
            .files
            .keys()
            .map(|key| (key.clone(), numbers.clone()))
            .collect();
        Ok(Self {
            folder,
            current,
            earlier,
            needed,
            next: next + 1,
            next_file: next << 32,
            segment: SEGMENT.min(memory_limit / SEGMENTS_OF_MEMORY),
            sealed: HashSet::new(),
            unwritten: Vec::new(),
            _lock: lock,
        })
    }

    /// A number for a file that no other file of this log has.
    pub(crate) fn file_id(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file
    }

    /// Adds rows of a file to what will be written.
    ///
    /// # Errors
    /// When they are more than a record can hold.
    pub(crate) fn add(
        &self,
        batch: &mut Batch,
        head: &FileHead,
        tracked: &Tracked,
        rows: &Rows,
        range: Range<usize>,
    ) -> Result<()> {
        self.declare(batch, head, 1)?;
        record::events(head.id, tracked, rows, range, &mut batch.bytes)
    }

    /// Adds all rows of a file that are in the log to what will be written: earlier segments are
    /// not needed for it from then on.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(crate) fn add_whole(
        &self,
        batch: &mut Batch,
        head: &FileHead,
        tracked: &Tracked,
        rows: &Rows,
        range: Range<usize>,
    ) -> Result<()> {
        self.declare(batch, head, DECLARATIONS)?;
        record::whole(head.id, tracked, rows, range, &mut batch.bytes)?;
        let _ = batch.keys.insert(head.key.clone());
        let _ = batch.whole.insert(head.key.clone());
        Ok(())
    }

    /// Declares a file, at most so many times more, until the segment has declared it often enough.
    fn declare(&self, batch: &mut Batch, head: &FileHead, more: u8) -> Result<()> {
        let before = self.current.declared.get(&head.id).copied().unwrap_or(0);
        let declared = batch.declared.entry(head.id).or_insert(before);
        for _ in 0..more.min(DECLARATIONS.saturating_sub(*declared)) {
            *declared += 1;
            record::file(head, &mut batch.bytes)?;
            let _ = batch.keys.insert(head.key.clone());
        }
        Ok(())
    }

    /// The files that old segments are still needed for; `None` where no segment is old.
    pub(crate) fn old(&self) -> Option<HashSet<String>> {
        let last = self.earlier.len().checked_sub(YOUNG)?;
        let young = self.earlier.get(last)?.number;
        let is_old = |numbers: &Vec<u64>| numbers.iter().any(|number| *number < young);
        let old: HashSet<String> = self
            .needed
            .iter()
            .filter(|(_, numbers)| is_old(numbers))
            .map(|(key, _)| key.clone())
            .collect();
        (!old.is_empty()).then_some(old)
    }

    /// Writes and syncs records. After an error nothing of them is there.
    ///
    /// # Errors
    /// When the disk refuses, as one that is full does.
    pub(crate) fn commit(&mut self, batch: Batch) -> Result<()> {
        let mut records = Vec::new();
        self.unwritten
            .iter()
            .try_for_each(|key| record::sealed(key, &mut records))?;
        // Usually there are none, and nothing is copied.
        if records.is_empty() {
            self.current.append(&batch.bytes)?;
        } else {
            records.extend_from_slice(&batch.bytes);
            self.current.append(&records)?;
        }
        self.unwritten.clear();
        self.current.keys.extend(batch.keys);
        self.current.declared.extend(batch.declared);
        for key in &batch.whole {
            self.release(key);
        }
        Ok(())
    }

    /// Notes that the file at `key` stands in the spool; segments that nothing else needs go. The
    /// record becomes durable with the next commit, or before a segment goes.
    ///
    /// # Errors
    /// When the record cannot be written, or a segment not be removed.
    pub(crate) fn sealed(&mut self, key: &str) -> Result<()> {
        self.unwritten.push(key.to_owned());
        if let Err(error) = self.current.note_sealed(key) {
            // It is a precaution: the record of the segment counts.
            tracing::debug!(%error, key, "the ledger of the log cannot be written");
        }
        if self.current.keys.contains(key) {
            let _ = self.sealed.insert(key.to_owned());
        }
        self.release(key);
        self.trim()
    }

    /// Notes that no earlier segment is needed for a file.
    fn release(&mut self, key: &str) {
        let Some(numbers) = self.needed.remove(key) else {
            return;
        };
        // They are few, and in their order.
        for ended in self
            .earlier
            .iter_mut()
            .filter(|ended| numbers.contains(&ended.number))
        {
            ended.open = ended.open.saturating_sub(1);
        }
    }

    /// Writes what [`Self::sealed`] has noted.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        self.commit(Batch::default())
    }

    /// Begins a new segment. The checkpoints must be those of committed rows: what they know, no
    /// restart takes again.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn roll(&mut self, checkpoints: &[(Series, Checkpoint)]) -> Result<()> {
        let begun = Segment::begin(&self.folder, self.next, checkpoints)?;
        self.next += 1;
        let Segment {
            path,
            length,
            keys,
            number,
            ..
        } = std::mem::replace(&mut self.current, begun);
        let sealed = std::mem::take(&mut self.sealed);
        let mut open = 0;
        for key in keys.into_iter().filter(|key| !sealed.contains(key)) {
            self.needed.entry(key).or_default().push(number);
            open += 1;
        }
        self.earlier.push_back(Ended {
            number,
            path,
            length,
            open,
        });
        Ok(())
    }

    /// Bytes that the log takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.earlier.iter().map(|ended| ended.length).sum::<u64>() + self.current.length
    }

    /// Whether the current segment is to end.
    pub(crate) fn is_long(&self) -> bool {
        self.current.length > self.segment.max(self.current.begun * CHECKPOINTS)
    }

    /// Writes and syncs rows that are in the log once more, and removes what is not needed any more
    /// for that.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(crate) fn commit_again(&mut self, batch: Batch) -> Result<()> {
        self.commit(batch)?;
        self.trim()
    }

    /// Removes the segments that nothing needs any more.
    ///
    /// # Errors
    /// As [`Self::sealed`].
    pub(crate) fn trim(&mut self) -> Result<()> {
        while let Some(oldest) = self.earlier.front()
            && oldest.open == 0
        {
            let path = oldest.path.clone();
            // Later segments may hold rows of the same files, and are read without this one after a
            // crash.
            self.flush()?;
            let _ = fs::remove_file(path.with_extension(LEDGER));
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(
                        format!("{}: cannot be removed", path.display()),
                        e,
                    ));
                }
                _ => crash::point("segment of the log removed"),
            }
            let _ = self.earlier.pop_front();
        }
        Ok(())
    }
}

impl Segment {
    fn begin(folder: &Path, number: u64, checkpoints: &[(Series, Checkpoint)]) -> Result<Self> {
        let path = folder.join(format!("{number:012}.qlcj"));
        let wrong = |e| Error::io(format!("{}: cannot be made", path.display()), e);
        let file = File::create(&path).map_err(wrong)?;
        let (keys, declared) = (BTreeSet::new(), BTreeMap::new());
        let mut segment = Self {
            path: path.clone(),
            file,
            length: 0,
            begun: 0,
            number,
            keys,
            declared,
        };
        crash::point("segment of the log made");
        let mut records = Vec::new();
        record::checkpoints(checkpoints, &mut records)?;
        segment.append(&records)?;
        segment.begun = segment.length;
        File::open(folder)
            .and_then(|f| f.sync_all())
            .map_err(wrong)?;
        crash::point("segment of the log durable");
        Ok(segment)
    }

    /// Notes in its ledger that a file is sealed. Nothing waits for the disk: a process that is killed
    /// loses none of it.
    fn note_sealed(&self, key: &str) -> Result<()> {
        let path = self.path.with_extension(LEDGER);
        let wrong = |e| Error::io(format!("{}: cannot be written", path.display()), e);
        let mut record = Vec::new();
        record::sealed(key, &mut record)?;
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(wrong)?;
        file.write_all(&record).map_err(wrong)
    }

    fn append(&mut self, records: &[u8]) -> Result<()> {
        let wrong = |e| Error::io(format!("{}: cannot be written", self.path.display()), e);
        if records.is_empty() {
            return Ok(());
        }
        // A torn record is written over by the next attempt, or cut off now if that is possible.
        let written = self.file.write_all_at(records, self.length).and_then(|()| {
            crash::point("log written");
            self.file.flush().and_then(|()| self.file.sync_data())
        });
        if let Err(e) = written {
            let _ = self.file.set_len(self.length);
            return Err(wrong(e));
        }
        crash::point("log synced");
        self.length += records.len() as u64;
        Ok(())
    }
}

/// The folder of a spool's log.
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

/// Keeps what of a log could not be read, for a person to look at: a damaged segment whole, the
/// torn end of the last one. They are left alone from then on.
///
/// # Errors
/// When it cannot be kept: then nothing of the log may be removed.
pub(crate) fn keep_aside(found: &Found) -> Result<()> {
    let wrong = |path: &Path| {
        let shown = path.display().to_string();
        move |e| {
            Error::io(
                format!("{shown}: what of the log cannot be read could not be kept aside"),
                e,
            )
        }
    };
    let copy = |path: &Path, from: u64, ending: &str| {
        let bytes = fs::read(path).map_err(wrong(path))?;
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        let aside = path.with_extension(ending);
        let kept = File::create(&aside).and_then(|mut file| {
            file.write_all(bytes.get(from..).unwrap_or_default())?;
            file.sync_all()
        });
        kept.map_err(wrong(&aside))
    };
    for (path, _) in &found.damaged {
        copy(path, 0, "damaged")?;
    }
    if let Some(last) = found.segments.last().filter(|_| found.torn_bytes > 0) {
        let length = fs::metadata(last).map_err(wrong(last))?.len();
        copy(last, length - found.torn_bytes, "torn")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
