//! The proof that every row of a file is in the archive: in the data of the days it belongs to, or
//! in QUARANTINE.
//!
//! The whole file is read again, and all of the data; the receipts must name exactly this content.
//! Removing a file takes a [`Proven`] value, and only [`prove`] and [`prove_read`] make one. A file
//! without rows cannot be proven: nothing vouches for it.

use std::{collections::BTreeMap, sync::Arc};

use super::evidence::{Doubt, Evidence, Witness};
use crate::{
    error::Result,
    file::{
        census::{Census, census},
        fault::Problem,
        reader::Handle,
    },
    model::{
        date::Date,
        journal::{InData, InQuarantine},
        layout,
        partition::Series,
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

/// A file as it was read to be proven.
#[derive(Debug)]
pub struct SubjectRead {
    /// Its rows and its sha256, or why it does not read.
    found: std::result::Result<(Census, String), Problem>,
}

/// Reads `subject`, an object of `store`.
///
/// # Errors
/// When the store does not answer.
pub async fn read(store: &Store, subject: &Subject) -> Result<SubjectRead> {
    let found = match census(&Handle::new(store, &subject.object), subject.home).await {
        Ok(found) => Ok((found, store.sha256(&subject.object.key).await?.0)),
        Err(Problem::Storage(error)) => return Err(error),
        Err(problem) => Err(problem),
    };
    Ok(SubjectRead { found })
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
    prove_read(subject, read(store, subject).await?, evidence, young).await
}

/// The same with a file that was read before.
///
/// # Errors
/// When the archive does not answer.
pub async fn prove_read(
    subject: &Subject,
    read: SubjectRead,
    evidence: &mut Evidence,
    young: Option<Date>,
) -> Result<ProofResult> {
    let (found, sha256) = match read.found {
        Ok(found) => found,
        Err(problem) => {
            return Ok(ProofResult::Doubt(
                unreadable(subject, evidence, &problem).await?,
            ));
        }
    };
    if found.rows == 0 {
        return Ok(ProofResult::Empty);
    }
    if let Some(day) = found
        .days
        .keys()
        .find(|day| young.is_some_and(|young| **day >= young))
    {
        return Ok(ProofResult::Young(*day));
    }
    let mut days: BTreeMap<Date, Arc<Witness>> = BTreeMap::new();
    for date in found.days.keys() {
        match evidence.of(&subject.series.on(*date)).await? {
            Ok(witness) => drop(days.insert(*date, witness)),
            Err(doubt) => return Ok(ProofResult::Doubt(doubt)),
        }
    }
    let data = match in_data(subject, &found, &days) {
        Ok(data) => data,
        Err(doubt) => return Ok(ProofResult::Doubt(doubt)),
    };
    let quarantined = match in_quarantine(subject, &sha256, &found, evidence).await? {
        Ok(quarantined) => quarantined,
        Err(doubt) => return Ok(ProofResult::Doubt(doubt)),
    };
    Ok(ProofResult::Proven(Box::new(Proven {
        object: subject.object.clone(),
        name: subject.name.clone(),
        sha256,
        rows: found.rows,
        row_hash: found.row_hash,
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
    for date in subject.home.into_iter().flat_map(Date::with_neighbours) {
        if let Ok(witness) = evidence.of(&subject.series.on(date)).await?
            && witness
                .receipt()
                .sources
                .iter()
                .any(|s| has_name(s, subject))
        {
            return Ok(Doubt::Damaged(format!(
                "was compacted, but does not read any more ({problem})"
            )));
        }
    }
    Ok(Doubt::Waiting(format!(
        "does not read ({problem}), and no compaction has looked at it yet"
    )))
}

fn has_name(source: &Source, subject: &Subject) -> bool {
    source.name == subject.name && source.size == subject.object.size
}

/// The rows in the data of each day, if the receipts bill this very content and the bills add up:
/// here and elsewhere in every receipt, and here over all receipts.
fn in_data(
    subject: &Subject,
    found: &Census,
    days: &BTreeMap<Date, Arc<Witness>>,
) -> std::result::Result<Vec<InData>, Doubt> {
    let mut data = Vec::with_capacity(days.len());
    for (date, witness) in days {
        let receipt = witness.receipt();
        // The rows tell which source it is: a file may have been renamed, moved or touched since.
        let content = Content {
            rows: found.rows,
            row_hash: found.row_hash,
        };
        let Some(source) = witness.source(layout::collector_of(&subject.name), content) else {
            let named = || receipt.sources.iter().filter(|s| has_name(s, subject));
            return Err(
                match named().find(|s| s.modified_us == subject.object.modified_us) {
                    Some(s) => Doubt::Damaged(format!(
                        "has {} rows with hash {}, but the receipt of {date} took in {} with {}",
                        found.rows, found.row_hash, s.rows, s.row_hash
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
        let expected = found.days.get(date).copied().unwrap_or(0);
        let elsewhere = found.days.iter().filter(|(day, _)| *day != date);
        let same_elsewhere = elsewhere
            .map(|(day, rows)| (*day, *rows))
            .eq(source.rows_elsewhere.clone());
        let here = source.rows_of_day() + source.rows_known;
        if here != expected || !same_elsewhere || source.rows_quarantined != found.unplaced {
            return Err(Doubt::Damaged(format!(
                "has {expected} rows of {date} and {} without a day, the receipt bills {} and {}",
                found.unplaced, here, source.rows_quarantined
            )));
        }
        data.push(InData {
            date: *date,
            rows: here,
            data_sha256: receipt.outcome.sha256.clone(),
        });
    }
    let placed: u64 = data.iter().map(|d| d.rows).sum::<u64>() + found.unplaced;
    if placed == found.rows {
        Ok(data)
    } else {
        Err(Doubt::Damaged(format!(
            "has {} rows, the receipts place {placed}",
            found.rows
        )))
    }
}

/// The rows without a permitted day, if QUARANTINE has just these.
async fn in_quarantine(
    subject: &Subject,
    sha256: &str,
    found: &Census,
    evidence: &mut Evidence,
) -> Result<std::result::Result<Option<InQuarantine>, Doubt>> {
    if found.unplaced == 0 {
        return Ok(Ok(None));
    }
    // They were put where the file belongs; where its name tells no day, its own days are as good a
    // guess as any.
    let by_time = Date::of_ns(subject.object.modified_us.saturating_mul(1000));
    let mut folders: Vec<Date> = subject
        .home
        .into_iter()
        .chain(found.days.keys().copied())
        .chain(by_time)
        .collect();
    folders.sort_unstable();
    folders.dedup();
    let ours = |e: &Entry| {
        e.extent() == Extent::Rows
            && e.source_path == subject.name
            && e.sha256 == sha256
            && e.rows == Some(found.unplaced)
    };
    for date in folders {
        let partition = subject.series.on(date);
        let Some(entry) = evidence.entries(&partition).await?.into_iter().find(ours) else {
            continue;
        };
        if let Err(doubt) = evidence
            .kept_rows(&partition, &entry, found.unplaced, found.unplaced_hash)
            .await?
        {
            return Ok(Err(doubt));
        }
        let (kept_as, kept_sha256) = (entry.kept_as, entry.kept_sha256);
        return Ok(Ok(Some(InQuarantine {
            date,
            rows: found.unplaced,
            kept_as,
            kept_sha256,
        })));
    }
    Ok(Err(Doubt::Damaged(format!(
        "{} rows of it have no permitted day, and QUARANTINE does not have them",
        found.unplaced
    ))))
}
