//! Whether every row of the files of an old tree is in the archive. All of the data of the days that
//! have their rows is read again, and so are the files, but for those that this very run has read
//! for that data.
//!
//! Rows in QUARANTINE do not count as taken over.

use std::collections::BTreeMap;

use futures::{Stream, StreamExt, stream};

use super::report::{Imported, Outcome};
use crate::{
    archive::{
        evidence::{Doubt, Evidence},
        partition::PartitionHandle,
        proof::{self, ProofResult, Subject},
    },
    error::{Error, Kind, Result},
    file::{
        census::{self, FileRead, stranger_in},
        fault::Problem,
        reader::Handle,
    },
    model::{
        count::rows,
        date::Date,
        journal::InData,
        layout::Placed,
        partition::{Partition, Series},
        quarantine::{Entry, Extent},
    },
    storage::store::{Object, Store},
};

/// Files that are read at a time, at most; each takes a core.
const READ_AT_A_TIME: usize = 4;

/// What the compaction of a run came to.
#[derive(Debug, Default)]
pub struct Compacted {
    /// The sha256 of the data of each day that it published.
    pub made: BTreeMap<Partition, String>,
    /// What it said of the other days.
    pub said: BTreeMap<Partition, String>,
}

/// When this is asked.
#[derive(Debug, Clone, Copy)]
pub enum Moment<'a> {
    /// Before anything is compacted: what is in already is up to date.
    Before,
    /// After it, with what it came to.
    After(&'a Compacted),
}

/// # Errors
/// When the run is stopped.
fn go_on(stop: &(dyn Fn() -> bool + Sync)) -> Result<()> {
    if stop() {
        return Err(Error::new(
            Kind::Interrupted,
            "stopped as asked, before all rows were looked for",
        ));
    }
    Ok(())
}

/// Looks for the rows of those of `all` that are to be rewritten, and says of each what it is now.
///
/// # Errors
/// When a store does not answer, or the run is stopped.
pub async fn account(
    tree: &Store,
    archive: &Store,
    all: &mut [Imported],
    moment: Moment<'_>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<()> {
    let mut evidence = Evidence::new(archive);
    let mut series: Option<Series> = None;
    let files = OldTree::list(tree).await?;
    for one in all
        .iter_mut()
        .filter(|one| one.outcome == Outcome::Rewritable)
    {
        go_on(stop)?;
        // What is known of other series is not needed any more.
        if series
            .replace(one.partition.series.clone())
            .is_some_and(|before| before != one.partition.series)
        {
            evidence.forget();
        }
        if matches!(moment, Moment::Before) && !has_neighbours(archive, &one.partition).await? {
            continue;
        }
        let found = look(&files, one, &mut evidence, moment).await?;
        if !found.doubts.is_empty() {
            if let Moment::After(compacted) = moment {
                one.outcome = Outcome::Refused;
                one.reasons = found.doubts;
                one.reasons.extend(reasons(&one.partition, &compacted.said));
            }
            continue;
        }
        (one.rows, one.days) = (found.rows, found.days);
        one.outcome = match moment {
            Moment::Before => Outcome::UpToDate,
            Moment::After(_) => Outcome::Rewritten,
        };
    }
    Ok(())
}

/// Says of those of `all` that are to be rewritten which would be refused: a dry run. Files that do
/// not read or have rows of another series, and rows of no day that their folder may hold, go to
/// QUARANTINE.
///
/// # Errors
/// When a store does not answer, or the run is stopped.
pub async fn foresee(
    tree: &Store,
    all: &mut [Imported],
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<()> {
    let files = OldTree::list(tree).await?;
    for one in all
        .iter_mut()
        .filter(|one| one.outcome == Outcome::Rewritable)
    {
        go_on(stop)?;
        let (mut subjects, mut doubts) = (Vec::new(), Vec::new());
        for key in &one.keys {
            match files.subject(key, &one.partition.series).await? {
                Some(subject) => subjects.push(subject),
                None => doubts.push(format!("{key} has gone")),
            }
        }
        let mut reads = std::pin::pin!(files.reads(subjects));
        while let Some((subject, read)) = reads.next().await {
            let key = &subject.name;
            match read?.census {
                Ok(found) => {
                    let handle = Handle::new(tree, &subject.object);
                    match stranger_in(&handle, &subject.series).await {
                        Ok(None) => {}
                        Ok(Some(fault)) => {
                            doubts.push(format!("{key}: would go to QUARANTINE: {fault}"));
                        }
                        Err(Problem::Storage(error)) => return Err(error),
                        Err(problem) => doubts.push(format!(
                            "{key}: does not read, and would go to QUARANTINE: {problem}"
                        )),
                    }
                    let (_, unplaced) = found.placed(subject.home);
                    if unplaced.rows > 0 {
                        doubts.push(format!(
                            "{} of {key} are of no day that its folder may hold, and would go to QUARANTINE",
                            rows(unplaced.rows)
                        ));
                    }
                }
                Err(problem) => doubts.push(format!(
                    "{key}: does not read, and would go to QUARANTINE: {problem}"
                )),
            }
        }
        if !doubts.is_empty() {
            (one.outcome, one.reasons) = (Outcome::Refused, doubts);
        }
    }
    Ok(())
}

/// Whether a day is published that rows of `partition`'s folder may be in.
async fn has_neighbours(archive: &Store, partition: &Partition) -> Result<bool> {
    for day in partition.date.with_neighbours() {
        if PartitionHandle::new(archive, &partition.series.on(day))
            .meta()
            .await?
            .is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[derive(Default)]
struct Found {
    rows: u64,
    days: BTreeMap<Date, u64>,
    doubts: Vec<String>,
}

impl Found {
    /// Takes note of the days that have the rows of a file.
    fn add(&mut self, days: &[InData]) {
        for here in days {
            self.rows += here.rows;
            *self.days.entry(here.date).or_default() += here.rows;
        }
    }
}

/// The files of the tree.
struct OldTree<'a> {
    tree: &'a Store,
    /// As they are now.
    objects: BTreeMap<String, Object>,
}

impl<'a> OldTree<'a> {
    async fn list(tree: &'a Store) -> Result<Self> {
        let (objects, _) = tree.list("").await?.apart();
        let objects = objects
            .into_iter()
            .map(|object| (object.key.clone(), object));
        Ok(Self {
            tree,
            objects: objects.collect(),
        })
    }

    /// Reads files side by side; they come in their order.
    fn reads(
        &self,
        subjects: Vec<Subject>,
    ) -> impl Stream<Item = (Subject, Result<FileRead>)> + use<'a> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let tree = self.tree;
        let reads = subjects.into_iter().map(move |subject| async move {
            let read = census::read_apart(tree, &subject.object).await;
            (subject, read)
        });
        stream::iter(reads).buffered(cores.min(READ_AT_A_TIME))
    }

    /// What is to be looked for of the file at `key`, if that is still there.
    async fn subject(&self, key: &str, series: &Series) -> Result<Option<Subject>> {
        let object = match self.objects.get(key) {
            Some(object) => Some(object.clone()),
            None => self.tree.head(key).await?,
        };
        let home = Placed::in_spool(key)
            .and_then(Result::ok)
            .and_then(|placed| placed.home());
        Ok(object.map(|object| Subject {
            name: key.to_owned(),
            object,
            series: series.clone(),
            home,
        }))
    }
}

async fn look(
    files: &OldTree<'_>,
    one: &Imported,
    evidence: &mut Evidence,
    moment: Moment<'_>,
) -> Result<Found> {
    let mut found = Found::default();
    let mut unread = Vec::new();
    for key in &one.keys {
        let Some(subject) = files.subject(key, &one.partition.series).await? else {
            found.doubts.push(format!("{key} has gone"));
            continue;
        };
        let days = match moment {
            Moment::Before => None,
            Moment::After(Compacted { made, .. }) => {
                let days = subject.home.unwrap_or(one.partition.date).with_neighbours();
                proof::compacted(&subject, &days, made, evidence).await?
            }
        };
        match days {
            Some(days) => found.add(&days),
            None => unread.push(subject),
        }
    }
    let mut reads = std::pin::pin!(files.reads(unread));
    while let Some((subject, read)) = reads.next().await {
        let (key, read) = (&subject.name, read?);
        let sha256 = read.sha256.clone();
        match proof::prove_read(&subject, read, evidence, None).await? {
            ProofResult::Proven(proven) => {
                if let Some(kept) = proven.quarantined() {
                    found.doubts.push(format!(
                        "{} of {key} are of no day that its folder may hold; QUARANTINE has them",
                        rows(kept.rows)
                    ));
                    found.rows += kept.rows;
                }
                found.add(proven.data());
            }
            ProofResult::Empty => {}
            ProofResult::Young(day) => found.doubts.push(format!("{key}: {day} is too young")),
            ProofResult::Doubt(Doubt::Waiting(what) | Doubt::Damaged(what)) => {
                let kept = in_quarantine(&subject, &sha256, evidence).await?;
                found
                    .doubts
                    .push(format!("{key}: {}", kept.unwrap_or(what)));
            }
        }
        // Before, one doubt is enough.
        if matches!(moment, Moment::Before) && !found.doubts.is_empty() {
            break;
        }
    }
    Ok(found)
}

/// What QUARANTINE says of the file, where it lies there whole.
async fn in_quarantine(
    subject: &Subject,
    sha256: &str,
    evidence: &mut Evidence,
) -> Result<Option<String>> {
    let kept = evidence.kept(&subject.series).await?;
    let mut entries = kept.of_file(&subject.name, subject.object.size);
    let is_it = |entry: &Entry| entry.extent() != Extent::Rows && entry.sha256 == sha256;
    let entry = entries.find(|(_, entry)| is_it(entry) && !entry.discarded);
    Ok(entry.map(|(_, entry)| {
        let (kind, message) = (&entry.error_type, &entry.message);
        format!("lies whole in QUARANTINE: {kind}, {message}")
    }))
}

/// What the compaction said of the days that rows of `partition`'s folder may be of.
fn reasons(partition: &Partition, said: &BTreeMap<Partition, String>) -> Vec<String> {
    let said = |day| Some(format!("{day}: {}", said.get(&partition.series.on(day))?));
    let days = partition.date.with_neighbours().into_iter();
    days.filter_map(said).collect()
}
