//! What an earlier process left in the log: what is known of each series, and where the rows are of
//! each file that is not known to be sealed. The rows themselves stay on the disk until their file
//! is made.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use super::{
    LEDGER,
    record::{self, Checkpoint, FileHead, Record, Tracked},
    scan::{Part, Scanner},
};
use crate::{
    collect::rows::Rows,
    error::{Error, Kind, Result},
    model::partition::Series,
};

/// Where rows are.
#[derive(Debug, Clone, Copy)]
struct Place {
    segment: usize,
    at: u64,
    length: usize,
}

/// A file that may not be sealed.
#[derive(Debug)]
pub(crate) struct FoundFile {
    pub(crate) head: FileHead,
    places: Vec<Place>,
    /// Its rows, as long as there is room for them: they need not be read once more.
    rows: Option<Rows>,
}

/// Rows of so many bytes are kept while a log is read.
const KEPT: usize = 16 << 20;

impl FoundFile {
    /// Bytes of the log that its rows take.
    pub(crate) fn bytes(&self) -> usize {
        self.places.iter().map(|place| place.length).sum()
    }
}

/// What a log held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What is known of each series.
    pub(crate) checkpoints: BTreeMap<Series, Checkpoint>,
    /// Files that are not known to be sealed, by their keys.
    pub(crate) files: BTreeMap<String, FoundFile>,
    /// Bytes behind the last whole record of the last segment, which were never acknowledged.
    pub(crate) torn_bytes: u64,
    /// Segments of which something else could not be read, and how many bytes of each.
    pub(crate) damaged: Vec<(PathBuf, u64)>,
    pub(super) segments: Vec<PathBuf>,
    /// Bytes of the rows that are kept.
    kept: usize,
}

/// Reads what an earlier process left in a log, one segment after the other.
///
/// # Errors
/// When a segment cannot be read.
pub(crate) fn read(folder: &Path) -> Result<Found> {
    let mut found = Found {
        segments: segments(folder)?,
        ..Found::default()
    };
    let mut heads = HashMap::new();
    // A segment that is torn or damaged has forgotten what its ledger has.
    let mut sealed = ledgers(folder)?;
    // Rows whose file is declared further on, because its first declaration is damaged.
    let mut early: Vec<(u64, Place, Tracked, bool)> = Vec::new();
    let mut is_whole = true;
    let last = found.segments.len().saturating_sub(1);
    for (segment, path) in found.segments.clone().iter().enumerate() {
        let mut scanner = Scanner::open(path)?;
        let mut damaged = 0;
        while let Some(part) = scanner.next()? {
            let (at, length) = match part {
                Part::Record { at, length } => (at, length),
                Part::Damage { from, to } if segment == last && to == scanner.length() => {
                    found.torn_bytes = to - from;
                    continue;
                }
                Part::Damage { from, to } => {
                    damaged += to - from;
                    continue;
                }
            };
            let place = Place {
                segment,
                at,
                length,
            };
            match record::decode(scanner.bytes(at, length)?) {
                // What later segments begin with follows from what was read before, unless
                // something of that could not be read.
                Some(Record::Checkpoints(all)) if segment > 0 && is_whole => found.hear(all),
                Some(Record::Checkpoints(all)) => found.checkpoints.extend(all),
                Some(Record::File(head)) => drop(heads.insert(head.id, head)),
                Some(Record::Events {
                    id,
                    tracked,
                    rows,
                    whole,
                }) => match heads.get(&id) {
                    Some(head) => match rows.rows(head.kind) {
                        Some(rows) => found.add(head, place, &tracked, rows, whole),
                        None => damaged += length as u64,
                    },
                    None => early.push((id, place, tracked, whole)),
                },
                Some(Record::Sealed(key)) => {
                    if let Some(rows) = found.files.remove(&key).and_then(|file| file.rows) {
                        found.kept -= rows.bytes();
                    }
                    let _ = sealed.insert(key);
                }
                Some(Record::Legacy(head, _)) => found.add_legacy(*head, place),
                Some(Record::Nothing) => {}
                // Of a later version, or damage that the checksum does not see: a person has to
                // look.
                None => damaged += length as u64,
            }
        }
        if damaged > 0 {
            is_whole = false;
            found.damaged.push((path.clone(), damaged));
        }
    }
    for key in &sealed {
        if let Some(rows) = found.files.remove(key).and_then(|file| file.rows) {
            found.kept -= rows.bytes();
        }
    }
    for (id, place, tracked, whole) in early {
        let rows = heads
            .get(&id)
            .and_then(|head| found.decode(head, place).ok());
        match (heads.get(&id), rows) {
            (Some(head), Some(rows)) if !sealed.contains(&head.key) => {
                found.add(head, place, &tracked, rows, whole);
            }
            (Some(_), Some(_)) => {}
            _ => found.lost(place),
        }
    }
    Ok(found)
}

impl Found {
    /// Forgets all files but these.
    pub(crate) fn keep(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.files.retain(|key, _| is_kept(key));
    }

    /// Takes what checkpoints tell that no rows do.
    fn hear(&mut self, all: Vec<(Series, Checkpoint)>) {
        for (series, heard) in all {
            match self.checkpoints.get_mut(&series) {
                Some(known) => known.told_ns = known.told_ns.max(heard.told_ns),
                None => drop(self.checkpoints.insert(series, heard)),
            }
        }
    }

    fn add(&mut self, head: &FileHead, place: Place, tracked: &Tracked, rows: Rows, whole: bool) {
        if !self.checkpoints.contains_key(&head.series) {
            let _ = self
                .checkpoints
                .insert(head.series.clone(), Checkpoint::default());
        }
        let Some(known) = self.checkpoints.get_mut(&head.series) else {
            return;
        };
        known.opened_s = known.opened_s.max(head.opened_s);
        // Before the rows: all of the newest number are remembered.
        known.mark.last = tracked.last;
        known.mark.last_ts = tracked.last_ts;
        known.mark.holes.clone_from(&tracked.holes);
        for row in 0..rows.len() {
            known.ts_recv = known.ts_recv.max(rows.received(row).unwrap_or(0));
            let _ = rows.note(row, &mut known.mark);
        }
        if !self.files.contains_key(&head.key) {
            let rows = Some(Rows::new(head.kind));
            let _ = self.files.insert(
                head.key.clone(),
                FoundFile {
                    head: head.clone(),
                    places: Vec::new(),
                    rows,
                },
            );
        }
        let Some(file) = self.files.get_mut(&head.key) else {
            return;
        };
        if whole {
            file.places
                .retain(|other| (other.segment, other.at) > (place.segment, place.at));
            self.kept -= file.rows.take().map_or(0, |rows| rows.bytes());
            // What was told before is told again; of what came after it the places are known.
            file.rows = file.places.is_empty().then(|| Rows::new(head.kind));
        }
        file.places.push(place);
        match &mut file.rows {
            Some(kept) if self.kept + rows.bytes() <= KEPT => {
                self.kept += rows.bytes();
                kept.append(rows);
            }
            Some(kept) => {
                self.kept -= kept.bytes();
                file.rows = None;
            }
            None => {}
        }
    }

    fn add_legacy(&mut self, head: record::LegacyHead, place: Place) {
        let _ = self
            .checkpoints
            .insert(head.series.clone(), head.checkpoint);
        let made = || FileHead {
            id: 0,
            series: head.series,
            kind: head.kind,
            symbol: head.symbol,
            key: head.key.clone(),
            opened_s: 0,
        };
        let file = self.files.entry(head.key.clone());
        let file = file.or_insert_with(|| FoundFile {
            head: made(),
            places: Vec::new(),
            rows: None,
        });
        // These are read when they are needed, so all of the file are.
        self.kept -= file.rows.take().map_or(0, |rows| rows.bytes());
        file.places.push(place);
    }

    /// Notes a record that nothing can be made of.
    fn lost(&mut self, place: Place) {
        let Some(path) = self.segments.get(place.segment) else {
            return;
        };
        match self.damaged.iter_mut().find(|(damaged, _)| damaged == path) {
            Some((_, bytes)) => *bytes += place.length as u64,
            None => self.damaged.push((path.clone(), place.length as u64)),
        }
    }

    fn decode(&self, head: &FileHead, place: Place) -> Result<Rows> {
        let wrong = || {
            Error::new(
                Kind::BadInput,
                format!("{}: the log changed while it was read", head.key),
            )
        };
        let path = self.segments.get(place.segment).ok_or_else(wrong)?;
        let mut scanner = Scanner::at_places(path)?;
        Self::decode_with(&mut scanner, head, place)
    }

    fn decode_with(scanner: &mut Scanner, head: &FileHead, place: Place) -> Result<Rows> {
        let wrong = || {
            Error::new(
                Kind::BadInput,
                format!("{}: the log changed while it was read", head.key),
            )
        };
        match record::decode(scanner.bytes(place.at, place.length)?) {
            Some(Record::Events { rows, .. }) => rows.rows(head.kind).ok_or_else(wrong),
            Some(Record::Legacy(_, batch)) => {
                let mut rows = Rows::new(head.kind);
                rows.extend(&batch)?;
                Ok(rows)
            }
            _ => Err(wrong()),
        }
    }

    /// The rows of a file.
    ///
    /// # Errors
    /// When they cannot be read any more.
    pub(crate) fn rows(&self, file: &FoundFile) -> Result<Rows> {
        if let Some(rows) = &file.rows {
            return Ok(rows.clone());
        }
        let mut all = Rows::new(file.head.kind);
        let mut open: Option<(usize, Scanner)> = None;
        for place in &file.places {
            if open
                .as_ref()
                .is_none_or(|(segment, _)| *segment != place.segment)
            {
                let path = self.segments.get(place.segment);
                let path =
                    path.ok_or_else(|| Error::new(Kind::Internal, "a place in no segment"))?;
                open = Some((place.segment, Scanner::at_places(path)?));
            }
            if let Some((_, scanner)) = &mut open {
                all.append(Self::decode_with(scanner, &file.head, *place)?);
            }
        }
        Ok(all)
    }
}

/// The keys of sealed files in all ledgers.
fn ledgers(folder: &Path) -> Result<BTreeSet<String>> {
    let mut sealed = BTreeSet::new();
    for path in with_extension(folder, LEDGER)? {
        let mut scanner = Scanner::open(&path)?;
        while let Some(part) = scanner.next()? {
            if let Part::Record { at, length } = part
                && let Some(Record::Sealed(key)) = record::decode(scanner.bytes(at, length)?)
            {
                let _ = sealed.insert(key);
            }
        }
    }
    Ok(sealed)
}

/// The segments of a log, oldest first.
fn segments(folder: &Path) -> Result<Vec<PathBuf>> {
    with_extension(folder, "qlcj")
}

/// The files of a log with an extension, oldest first.
fn with_extension(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let wrong = |e| Error::io(format!("{}: cannot be listed", folder.display()), e);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
