//! What is known of a partition before anything is done: the files that feed it, what the archive has
//! of each, and the decision that follows.
//!
//! ```text
//! candidates of the series ─► by name: known, in QUARANTINE, new
//!                                │
//!                                ├─► footers: which of them have rows of this day
//!                                ├─► rows of new files, held against the receipt
//!                                └─► rows of new files, held against the data, where the receipt cannot tell
//! ```
//!
//! Nothing is written here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    compare::ComparedFile,
    context::{Origin, RunContext, TreeFiles},
    decide::{Decision, Feeding, Knowledge, SpoolFile, decide, identity},
    prepare::{accounting_day, probe_all},
    recognise::{self, Against, FeedingFile},
    survey::{self, NeighbourReceipts},
};
use crate::{
    archive::{
        copies,
        partition::PartitionHandle,
        quarantine::SeriesEntries,
        state::{self, Depth, Inspection, State},
    },
    error::Result,
    file::claims::Claims,
    model::{
        layout,
        partition::Partition,
        quarantine::{Entry, ErrorType, Extent, Fault, RecordedType},
        receipt::{Content, FileCopy, Receipt},
    },
};

/// What is known of a partition before anything is done.
#[derive(Debug)]
pub struct Look {
    /// What is to be done.
    pub decision: Decision,
    /// What the archive holds.
    pub archived: Inspection,
    /// The files that feed the partition.
    pub feeding: Vec<FeedingFile>,
    /// What the quarantine has of the candidates.
    pub entries: Arc<SeriesEntries>,
    /// Files that hold rows of what stands, as the receipt and its note say.
    pub copies: Vec<FileCopy>,
    /// The same of files that this look found out.
    pub recognised: Vec<FileCopy>,
}

impl Look {
    /// Those of the recognised files whose rows are in another file of their collector as well. The
    /// others were renamed, moved or touched.
    pub fn new_copies(&self) -> impl Iterator<Item = &FileCopy> {
        // The originals that are there; those of copies before count as there.
        let mut there = BTreeSet::new();
        if !self.recognised.is_empty() {
            let keys = self.feeding.iter().map(|one| &*one.mark.file.object.key);
            there.extend(keys);
        }
        self.recognised.iter().filter(move |copy| {
            let is_there = !there.insert(copy.copy_of.as_str());
            is_there
                && copy.copy_of != copy.name
                && layout::collector_of(&copy.copy_of) == layout::collector_of(&copy.name)
        })
    }
}

/// On what a look relies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// On the documents that this run has read already.
    OfThisRun,
    /// Of the partition itself on nothing but what it reads: it is about to be written. What
    /// neighbours said of files by their identity stays true.
    OfThisLook,
}

/// Looks at a partition whose candidate files are `files`.
///
/// # Errors
/// When spool or archive do not answer.
pub async fn look(
    run: &RunContext,
    partition: &Partition,
    files: &[SpoolFile],
    freshness: Freshness,
) -> Result<Look> {
    let archive = &run.places.archive;
    let handle = PartitionHandle::new(archive, partition);
    let documents = match freshness {
        Freshness::OfThisRun => run.standing.of(&handle).await?.documents,
        Freshness::OfThisLook => None,
    };
    let archived = state::inspect_after(&handle, Depth::Footer, documents).await?;
    let said = survey::neighbours(archive, &run.standing, partition).await?;
    let mut candidates = survey::candidates(files, partition);
    // A file that a neighbour's receipt accounts for to the last row, none of them here, need not
    // be opened.
    candidates.retain(|file| !said.elsewhere.contains(&identity(file)));
    let entries = survey::quarantined(&run.places, partition, &candidates).await?;
    let (receipt, stands) = match &archived.state {
        State::Published(published) => (
            Some(copies::with_noted(&handle, &archived.listed, published.receipt().clone()).await?),
            true,
        ),
        State::Lost(loss) => (loss.newest.clone(), false),
        State::Empty | State::Interrupted(_) | State::Unproven(_) => (None, false),
    };
    let receipt = receipt.as_ref();
    let standing = receipt.filter(|_| stands);
    let against = Against::of(standing, &entries);
    let mut marked = Vec::with_capacity(candidates.len());
    for file in candidates {
        marked.push(recognise::by_name(&run.places.spool, file, &against).await?);
    }
    // What is known feeds as its receipt says; what is in QUARANTINE is counted at its own day; the
    // rest is looked into.
    let (held, open): (Vec<Feeding>, Vec<Feeding>) = marked
        .into_iter()
        .partition(|mark| mark.knowledge == Knowledge::Quarantined);
    let mut feeding = look_into(run, partition, open, &entries, &said, receipt).await?;
    let counted_here = |mark: &Feeding| accounting_day(&mark.file, None) == Some(partition.date);
    let held = held.into_iter().filter(counted_here);
    feeding.extend(held.map(|mark| in_quarantine(mark, &entries)));
    compare(run, partition, standing, &mut feeding).await?;
    let marks: Vec<Feeding> = feeding.iter().map(|one| one.mark.clone()).collect();
    let decision = decide(partition, run.today, &marks, &archived.state, run.wishes);
    let copies = standing
        .map(|receipt| receipt.copies.clone())
        .unwrap_or_default();
    let recognised = standing
        .map(|receipt| recognised(receipt, &feeding))
        .unwrap_or_default();
    Ok(Look {
        decision,
        archived,
        feeding,
        entries,
        copies,
        recognised,
    })
}

/// Reads the footers of files that are not in QUARANTINE, and the rows of new ones where there is a
/// receipt that they are held against; what remains are those that feed the partition.
async fn look_into(
    run: &RunContext,
    partition: &Partition,
    files: Vec<Feeding>,
    entries: &SeriesEntries,
    said: &NeighbourReceipts,
    receipt: Option<&Receipt>,
) -> Result<Vec<FeedingFile>> {
    let rows_kept = |file: &SpoolFile| {
        let object = &file.object;
        let is_kept = |entry: &Entry| {
            entry.source_path == object.key
                && entry.extent() == Extent::Rows
                && entry.modified_us == object.modified_us
        };
        let mut of_file = entries.of_file(&object.key, object.size);
        of_file.any(|(_, entry)| is_kept(entry))
    };
    let is_sent = |file: &SpoolFile| {
        let object = &file.object;
        said.here.contains(&(object.key.clone(), object.size))
    };
    let lost: BTreeMap<&str, &Vec<usize>> = files
        .iter()
        .filter(|mark| !mark.lost.is_empty())
        .map(|mark| (mark.file.object.key.as_str(), &mark.lost))
        .collect();
    let lost_groups = |file: &SpoolFile| {
        let groups = lost.get(file.object.key.as_str());
        groups.copied().cloned().unwrap_or_default()
    };
    let probed = probe_all(
        &run.places.spool,
        &run.footers,
        partition,
        files.iter().map(|mark| mark.file.clone()).collect(),
        &rows_kept,
        &is_sent,
        &lost_groups,
    )
    .await?;
    let is_known = |mark: &Feeding| matches!(mark.knowledge, Knowledge::Known { .. });
    let feeds = files
        .into_iter()
        .zip(probed)
        .filter(|(mark, probed)| probed.feeds || is_known(mark))
        .collect();
    recognise::by_rows(&run.places.spool, feeds, receipt, &said.contents).await
}

/// A file that is in QUARANTINE, with what is wrong with it.
fn in_quarantine(mark: Feeding, entries: &SeriesEntries) -> FeedingFile {
    let fault = match entry_of(entries, &mark.file) {
        Some(Entry {
            error_type: RecordedType::Known(error_type),
            message,
            ..
        }) => Fault::new(*error_type, message.clone()),
        _ => Fault::new(ErrorType::FooterCorrupt, "in QUARANTINE"),
    };
    FeedingFile {
        mark,
        claims: Err(fault),
    }
}

/// An entry by which the file may be left alone.
#[must_use]
pub fn entry_of<'a>(entries: &'a SeriesEntries, file: &'a SpoolFile) -> Option<&'a Entry> {
    let (key, size) = (&file.object.key, file.object.size);
    let mut all = entries.of_file(key, size).map(|(_, entry)| entry);
    all.find(|entry| entry.may_be_of(key, size))
}

/// Compares the rows of new files with the archived ones, where the receipt may not name the files
/// that the archived rows came from.
async fn compare(
    run: &RunContext,
    partition: &Partition,
    receipt: Option<&Receipt>,
    feeding: &mut [FeedingFile],
) -> Result<()> {
    let Some(receipt) =
        receipt.filter(|receipt| run.origin != Origin::Collectors || receipt.holds_unnamed())
    else {
        return Ok(());
    };
    let is_new = |one: &FeedingFile| matches!(one.mark.knowledge, Knowledge::New { .. });
    // Adopted data may have been made of just these files.
    let contents: Option<Vec<Content>> = feeding
        .iter()
        .filter(|one| is_new(one))
        .map(|one| one.mark.content)
        .collect();
    let together = contents.map(|all| all.into_iter().fold(Content::default(), Content::and));
    let make_up = together.is_some_and(|rows| receipt.content() == rows);
    let all = run.origin != Origin::Collectors || receipt.is_of_tree() || make_up;
    let own = layout::data_key(partition);
    let made_us = receipt
        .sources
        .iter()
        .filter(|source| source.name == own)
        .map(|source| source.modified_us)
        .max();
    let is_meant = |one: &FeedingFile| {
        // A younger file with numbers of its own came late: equal events are events.
        let modified_us = one.mark.file.object.modified_us;
        let may_be_in =
            |claims: &Claims| all || !claims.has_seq || made_us.is_some_and(|us| modified_us <= us);
        let has_rows = |claims: &Claims| claims.rows > 0 && claims.ts.is_some();
        let claims = one.claims.as_ref();
        is_new(one) && claims.is_ok_and(|claims| has_rows(claims) && may_be_in(claims))
    };
    let compacted = run.origin == Origin::Tree(TreeFiles::Compacted);
    // A file and its copy are compared once: their rows count once.
    let key = |mark: &Feeding| mark.content.ok_or_else(|| mark.file.object.key.clone());
    let mut contents = BTreeSet::new();
    let mut order = Vec::new();
    let mut subjects = Vec::new();
    for FeedingFile { mark, claims } in feeding.iter().filter(|one| is_meant(one)) {
        if let Ok(claims) = claims
            && contents.insert(key(mark))
        {
            order.push(key(mark));
            subjects.push(ComparedFile {
                file: &mark.file,
                claims,
                compacted,
            });
        }
    }
    if subjects.is_empty() {
        return Ok(());
    }
    let places = (&run.places.spool, &run.places.archive);
    let found = run
        .comparisons
        .of(places, partition, receipt, &subjects, run.budget.merge / 2)
        .await?;
    let found: BTreeMap<_, _> = order.into_iter().zip(found).collect();
    for FeedingFile { mark, .. } in feeding.iter_mut().filter(|one| is_meant(one)) {
        mark.compared = found.get(&key(mark)).cloned();
    }
    Ok(())
}

/// Files whose rows were recognised, and which are not on record yet.
fn recognised(receipt: &Receipt, feeding: &[FeedingFile]) -> Vec<FileCopy> {
    let found = feeding.iter().filter_map(|FeedingFile { mark, .. }| {
        let Knowledge::Known {
            content,
            unread: false,
        } = mark.knowledge
        else {
            return None;
        };
        let source = receipt
            .sources
            .iter()
            .find(|source| source.content() == content)?;
        Some(mark.file.as_copy_of(&source.name)).filter(|copy| !receipt.copies.contains(copy))
    });
    found.collect()
}
