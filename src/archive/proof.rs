//! The proof that every row of a file is in the archive: in the data of the days it belongs to, or
//! in QUARANTINE.
//!
//! The whole file is read again, and all of the data; the receipts must name exactly this content.
//! Removing a file takes a [`Proven`] value, and only [`prove`] and [`prove_read`] make one. A file
//! without rows cannot be proven: nothing vouches for it.

use std::collections::BTreeMap;

use super::evidence::{Doubt, Evidence, Witness};
use crate::{
    error::Result,
    file::{
        census::{self, Census, FileRead},
        fault::Problem,
    },
    model::{
        count,
        date::{Date, is_permitted},
        journal::{InData, InQuarantine},
        layout,
        partition::{Partition, Series},
        quarantine::{Entry, Extent},
        receipt::{Content, Source},
        row_hash::RowHash,
    },
    storage::store::{Object, Store},
};

/// The file whose rows are to be found in the archive.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its key below the spool's root: the name that receipts know it by.
    pub name: String,
    /// The object that is read.
    pub object: Object,
    /// Its series.
    pub series: Series,
    /// The day that its name or folder tells.
    pub home: Option<Date>,
}

/// A file, every row of which was found in the archive.
#[derive(Debug, Clone)]
pub struct Proven {
    object: Object,
    name: String,
    sha256: String,
    rows: u64,
    row_hash: RowHash,
    data: Vec<InData>,
    quarantined: Option<InQuarantine>,
}

impl Proven {
    /// The object that was read.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Its name in the receipts.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sha256 of its bytes.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Their row hash.
    #[must_use]
    pub fn row_hash(&self) -> RowHash {
        self.row_hash
    }

    /// The days that hold them.
    #[must_use]
    pub fn data(&self) -> &[InData] {
        &self.data
    }

    /// Where the rows without a permitted day are.
    #[must_use]
    pub fn quarantined(&self) -> Option<&InQuarantine> {
        self.quarantined.as_ref()
    }
}

/// What reading a file for its proof came to.
#[derive(Debug)]
pub enum ProofResult {
    /// Every row was found. The value is large, and there are many of the others.
    Proven(Box<Proven>),
    /// Some of its rows are of a day that is too young to be looked for.
    Young(Date),
    /// It has no rows.
    Empty,
    /// Something is missing.
    Doubt(Doubt),
}

/// The days that have the rows of `subject`, where this very process compacted it: `made` are the
/// sha256s of the data that it published, and the receipt of one of them names this object, every
/// row of which was read for that data, hashed and found in it. `None` where that is not so, and
/// only reading the object again can tell.
///
/// The object is not read here, so this is no proof for who removes it.
///
/// # Errors
/// When the archive does not answer.
pub async fn compacted(
    subject: &Subject,
    days: &[Date],
    made: &BTreeMap<Partition, String>,
    evidence: &mut Evidence,
) -> Result<Option<Vec<InData>>> {
    for day in days {
        let partition = subject.series.on(*day);
        let Some(sha256) = made.get(&partition) else {
            continue;
        };
        let Ok(witness) = evidence.of(&partition).await? else {
            continue;
        };
        let receipt = witness.receipt();
        let is_it = |source: &&Source| {
            has_name(source, subject)
                && source.modified_us == subject.object.modified_us
                && !source.by_base
        };
        let mut sources = witness.named(&subject.name).filter(is_it);
        let (Some(source), None) = (sources.next(), sources.next()) else {
            continue;
        };
        let mut rows = source.rows_elsewhere.clone();
        *rows.entry(*day).or_default() += source.rows_of_day() + source.rows_known;
        rows.retain(|_, rows| *rows > 0);
        if receipt.outcome.sha256 != *sha256
            || source.is_partial()
            || source.rows == 0
            || rows.values().sum::<u64>() != source.rows
        {
            continue;
        }
        let mut data = Vec::with_capacity(rows.len());
        for (date, rows) in rows {
            let Ok(witness) = evidence.of(&subject.series.on(date)).await? else {
                return Ok(None);
            };
            match in_data(subject, source.content(), date, rows, &witness) {
                Ok(here) => data.push(here),
                Err(_) => return Ok(None),
            }
        }
        return Ok(Some(data));
    }
    Ok(None)
}

/// Looks for every row of `subject`, an object of `store`. Days from `young` on are not looked for.
///
/// # Errors
/// When a store does not answer.
pub async fn prove(
    store: &Store,
    subject: &Subject,
    evidence: &mut Evidence,
    young: Option<Date>,
) -> Result<ProofResult> {
    let read = census::read(store, &subject.object).await?;
    prove_read(subject, read, evidence, young).await
}

/// The same with a file that was read before.
///
/// # Errors
/// When the archive does not answer.
pub async fn prove_read(
    subject: &Subject,
    read: FileRead,
    evidence: &mut Evidence,
    young: Option<Date>,
) -> Result<ProofResult> {
    let FileRead { sha256, census } = read;
    let found = match census {
        Ok(found) => found,
        Err(problem) => {
            return Ok(ProofResult::Doubt(
                unreadable(subject, evidence, &problem).await?,
            ));
        }
    };
    if found.all.rows == 0 {
        return Ok(ProofResult::Empty);
    }
    let (days, unplaced) = found.placed(subject.home);
    if let Some(day) = days
        .keys()
        .find(|day| young.is_some_and(|young| **day >= young))
    {
        return Ok(ProofResult::Young(*day));
    }
    let mut data = Vec::with_capacity(days.len());
    for (date, rows) in days {
        let here = match evidence.of(&subject.series.on(date)).await? {
            Ok(witness) => in_data(subject, found.content(), date, rows, &witness),
            Err(doubt) => Err(doubt),
        };
        match here {
            Ok(here) => data.push(here),
            Err(doubt) => return Ok(ProofResult::Doubt(doubt)),
        }
    }
    let quarantined = match in_quarantine(subject, &sha256, unplaced, evidence).await? {
        Ok(quarantined) => quarantined,
        Err(doubt) => {
            let renamed = under_another_name(subject, &sha256, &found, evidence).await?;
            let Some((far, quarantined)) = renamed else {
                let is_seen = !data.is_empty()
                    || is_on_record(subject, evidence).await?
                    || has_entry(subject, evidence).await?;
                return Ok(ProofResult::Doubt(match doubt {
                    Doubt::Damaged(_) if !is_seen => Doubt::Waiting(format!(
                        "{} of it have no permitted day, and no compaction has looked at it yet",
                        count::rows(unplaced.rows)
                    )),
                    doubt => doubt,
                }));
            };
            data.extend(far);
            quarantined
        }
    };
    data.sort_by_key(|here| here.date);
    Ok(ProofResult::Proven(Box::new(Proven {
        object: subject.object.clone(),
        name: subject.name.clone(),
        sha256,
        rows: found.all.rows,
        row_hash: found.all.row_hash,
        data,
        quarantined,
    })))
}

/// A file that does not read has no rows to look for; whether it once had is for the receipts to
/// say.
async fn unreadable(
    subject: &Subject,
    evidence: &mut Evidence,
    problem: &Problem,
) -> Result<Doubt> {
    if is_on_record(subject, evidence).await? {
        return Ok(Doubt::Damaged(format!(
            "was compacted, but does not read any more ({problem})"
        )));
    }
    Ok(Doubt::Waiting(format!(
        "does not read ({problem}), and no compaction has looked at it yet"
    )))
}

/// Whether a receipt of the days that its name permits names the file.
async fn is_on_record(subject: &Subject, evidence: &mut Evidence) -> Result<bool> {
    for date in subject.home.into_iter().flat_map(Date::with_neighbours) {
        if let Ok(witness) = evidence.of(&subject.series.on(date)).await? {
            let mut sources = witness.receipt().sources.iter();
            if sources.any(|source| has_name(source, subject)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether QUARANTINE has an entry of the file.
async fn has_entry(subject: &Subject, evidence: &mut Evidence) -> Result<bool> {
    let kept = evidence.kept(&subject.series).await?;
    let mut of_file = kept.of_file(&subject.name, subject.object.size);
    Ok(of_file.next().is_some())
}

fn has_name(source: &Source, subject: &Subject) -> bool {
    source.name == subject.name && source.size == subject.object.size
}

/// The rows in the data of `date`, of which the file has so many, if its receipt bills this very
/// content. What it bills to other days and to QUARANTINE follows from the name that the file had
/// then, and is looked for there.
fn in_data(
    subject: &Subject,
    content: Content,
    date: Date,
    rows: u64,
    witness: &Witness,
) -> std::result::Result<InData, Doubt> {
    let receipt = witness.receipt();
    // The rows tell which source it is: a file may have been renamed, moved or touched since.
    let Some(source) = witness.source(layout::collector_of(&subject.name), content) else {
        let named = || {
            witness
                .named(&subject.name)
                .filter(|s| has_name(s, subject))
        };
        return Err(
            match named().find(|s| s.modified_us == subject.object.modified_us) {
                Some(s) => Doubt::Damaged(format!(
                    "has {} rows with hash {}, but the receipt of {date} took in {} with {}",
                    content.rows, content.row_hash, s.rows, s.row_hash
                )),
                None if named().next().is_none() => {
                    Doubt::Waiting(format!("the receipt of {date} names no file with its rows"))
                }
                None => Doubt::Waiting(format!(
                    "the receipt of {date} names other rows under its name"
                )),
            },
        );
    };
    let here = source.rows_of_day() + source.rows_known;
    if here != rows {
        return Err(Doubt::Damaged(format!(
            "has {rows} rows of {date}, the receipt bills {here}"
        )));
    }
    Ok(InData {
        date,
        rows,
        data_sha256: receipt.outcome.sha256.clone(),
    })
}

/// Rows that no day may have, if QUARANTINE has just these.
async fn in_quarantine(
    subject: &Subject,
    sha256: &str,
    wanted: Content,
    evidence: &mut Evidence,
) -> Result<std::result::Result<Option<InQuarantine>, Doubt>> {
    if wanted.rows == 0 {
        return Ok(Ok(None));
    }
    let kept = evidence.kept(&subject.series).await?;
    let is_ours = |entry: &Entry| {
        entry.extent() == Extent::Rows && entry.sha256 == sha256 && entry.rows == Some(wanted.rows)
    };
    let mut doubt = None;
    for (date, entry) in kept.of_file(&subject.name, subject.object.size) {
        if !is_ours(entry) {
            continue;
        }
        let partition = subject.series.on(date);
        match evidence.kept_rows(&partition, entry, wanted).await? {
            Ok(()) => {
                return Ok(Ok(Some(InQuarantine {
                    date,
                    rows: wanted.rows,
                    kept_as: entry.kept_as.clone(),
                    kept_sha256: entry.kept_sha256.clone(),
                })));
            }
            Err(found) => doubt = doubt.or(Some(found)),
        }
    }
    match doubt {
        Some(doubt) => Ok(Err(doubt)),
        None => kept.all_known().map(|()| {
            Err(Doubt::Damaged(format!(
                "{} rows of it have no permitted day, and QUARANTINE does not have them",
                wanted.rows
            )))
        }),
    }
}

/// So many days at most may be those of a file that had no day in its name. One of more has rows of
/// damaged times.
const FAR_DAYS: usize = 32;

/// The rows that the file's name does not permit, where it had another name when it was taken in:
/// in the data of their days, the others in QUARANTINE.
async fn under_another_name(
    subject: &Subject,
    sha256: &str,
    found: &Census,
    evidence: &mut Evidence,
) -> Result<Option<(Vec<InData>, Option<InQuarantine>)>> {
    if found.days.len() > FAR_DAYS {
        return Ok(None);
    }
    let mut data = Vec::new();
    let mut left = found.undated;
    let is_far = |day: Date| !is_permitted(day, subject.home);
    for (date, content) in found.days.iter().filter(|(day, _)| is_far(**day)) {
        let here = match evidence.of(&subject.series.on(*date)).await? {
            Ok(witness) => in_data(subject, found.content(), *date, content.rows, &witness).ok(),
            Err(_) => None,
        };
        match here {
            Some(here) => data.push(here),
            None => left = left.and(*content),
        }
    }
    if data.is_empty() {
        return Ok(None);
    }
    let kept = in_quarantine(subject, sha256, left, evidence).await?;
    Ok(kept.ok().map(|kept| (data, kept)))
}
