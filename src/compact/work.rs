//! One partition from its files to its meta: look, decide, attempt, prove, publish.
//!
//! ```text
//! look ─► decide ─┬─ nothing, record, fail ──────────────► outcome
//!   ▲             ├─ complete, accept a loss ───┐
//!   │             └─ build: attempt ─┬─ published ───────► outcome (or, of a part: look again)
//!   │                  ▲             ├─ problems, copies ► the same decision, another attempt
//!   │                  └─────────────┘
//!   └── a conflict, published rows unaccounted for, or a known file that turned out bad
//! ```
//!
//! Every step leaves the archive either as it was or as it shall be. A day is not published without
//! a file that could have been read, and a file that cannot be read does not stop it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    columns::{Columns, Facts},
    compare::{ComparedFile, Comparisons},
    decide::{self, Decision, Feeding, Knowledge, SpoolFile, Wishes, decide, identity},
    footers::Footers,
    keep::{self, Places},
    prepare::{BaseData, Input, Prepared, accounting_day, is_merge, prepare, probe_all, settle},
    recognise::{self, Against},
    report::{Outcome, Status, Watch},
    standing::StandingDays,
    survey,
};
use crate::{
    archive::{
        commit, copies,
        partition::{PartitionHandle, Versions},
        quarantine::SeriesEntries,
        state::{self, Depth, Inspection, State},
    },
    engine::{
        self,
        plan::Layouts,
        run::{AttemptOptions, run},
        sink::Draft,
    },
    error::{Error, Kind, Result},
    file::{
        ahead::Ahead, claims::Claims, encode::ENCODING, examine::examine, fault::Problem,
        probe::probe, reader::Handle, salvage::salvage,
    },
    job::{
        Job, Ledger, SourceTally,
        attempt::{Attempt, FoundCopy, Purpose},
        budget::Budget,
    },
    model::{
        count::{self, plural},
        date::Date,
        layout,
        partition::Partition,
        quarantine::{Entry, ErrorType, Extent, Fault, RecordedType},
        receipt::{
            Base, Content, FileCopy, KnownRows, LeftOutFile, LostSource, Receipt, RowGroup, Source,
            WITHOUT_HISTORY,
        },
    },
    storage::{
        atomic::{self, FolderLock},
        conditions,
    },
};

/// How many races for one partition may be lost; with one more it fails, because not all of its
/// files may be in.
const RACES: u32 = 8;
/// How often a merge is made narrower because memory ran out.
const SQUEEZES: u32 = 3;

/// What every partition of a run shares.
#[derive(Clone)]
pub struct RunContext {
    /// Spool, archive, staging and the time.
    pub places: Places,
    /// Today in UTC, as the run understands it.
    pub today: Date,
    /// What the operator wants besides what is usual.
    pub wishes: Wishes,
    /// Whether to take in the good row groups of a file of which some do not read.
    pub salvage: bool,
    /// The memory of one partition.
    pub budget: Budget,
    /// Where runs are spilled.
    pub scratch: PathBuf,
    /// How many columns, row groups or sorts in memory are worked on at a time: the cores.
    pub cores: usize,
    /// The level of zstd, where it is not the default.
    pub zstd_level: Option<i32>,
    /// Who watches.
    pub watch: Arc<dyn Watch>,
    /// Whether to stop.
    pub stop: super::report::Stop,
    /// Set when the archive's conditional writes were found to work.
    pub probed: Arc<tokio::sync::OnceCell<()>>,
    /// The footers that were read in this run.
    pub footers: Arc<Footers>,
    /// What was read of the days that it works on.
    pub standing: Arc<StandingDays>,
    /// What was compared row by row in this run.
    pub comparisons: Arc<Comparisons>,
    /// Whose files these are.
    pub origin: Origin,
}

/// What the files of a tree are that another program left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// Days that it compacted.
    Compacted,
    /// Those of its collectors, some of which it compacted.
    Raw,
}

/// Whose files a run takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// Those of collectors.
    #[default]
    Collectors,
    /// Those of a tree that another program left.
    Tree(Files),
}

/// What is known of a partition before anything is done.
#[derive(Debug)]
pub struct Look {
    /// What is to be done.
    pub decision: Decision,
    /// What the archive holds.
    pub archived: Inspection,
    /// The files that feed the partition, with their claims where they can be used.
    pub feeding: Vec<(Feeding, std::result::Result<Claims, Fault>)>,
    /// What the quarantine has of the candidates.
    pub entries: Arc<SeriesEntries>,
    /// Files that hold rows of what stands, as the receipt and its note say.
    pub copies: Vec<FileCopy>,
    /// The same of files that this look found out.
    pub recognised: Vec<FileCopy>,
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
    let against = Against::of(receipt.filter(|_| stands), &entries);
    let mut marked = Vec::with_capacity(candidates.len());
    for file in candidates {
        marked.push(recognise::by_name(&run.places.spool, file, &against).await?);
    }
    // What is known feeds as its receipt says; what is in QUARANTINE is counted at its own day; the
    // rest is looked into.
    let (held, open): (Vec<Feeding>, Vec<Feeding>) = marked
        .into_iter()
        .partition(|f| f.knowledge == Knowledge::Quarantined);
    let rows_kept = |file: &SpoolFile| {
        let object = &file.object;
        let is_kept = |e: &Entry| {
            e.source_path == object.key
                && e.extent() == Extent::Rows
                && e.modified_us == object.modified_us
        };
        let mut of_file = entries.of_file(&object.key, object.size);
        of_file.any(|(_, entry)| is_kept(entry))
    };
    let files: Vec<SpoolFile> = open.iter().map(|f| f.file.clone()).collect();
    let is_sent = |file: &SpoolFile| {
        said.here
            .contains(&(file.object.key.clone(), file.object.size))
    };
    let partly = open.iter().filter(|f| !f.lost.is_empty());
    let partly: BTreeMap<&str, &Vec<usize>> = partly
        .map(|f| (f.file.object.key.as_str(), &f.lost))
        .collect();
    let lost = |file: &SpoolFile| {
        partly
            .get(file.object.key.as_str())
            .copied()
            .cloned()
            .unwrap_or_default()
    };
    let probed = probe_all(
        &run.places.spool,
        &run.footers,
        partition,
        files,
        &rows_kept,
        &is_sent,
        &lost,
    )
    .await?;
    let is_known = |mark: &Feeding| matches!(mark.knowledge, Knowledge::Known { .. });
    let feeds = open
        .into_iter()
        .zip(probed)
        .filter(|(mark, probed)| probed.feeds || is_known(mark))
        .collect();
    let mut feeding = recognise::by_rows(&run.places.spool, feeds, receipt, &said.contents).await?;
    for mark in held
        .into_iter()
        .filter(|f| accounting_day(&f.file, None) == Some(partition.date))
    {
        let entry = entry_of(&entries, &mark.file);
        let in_quarantine = || Fault::new(ErrorType::FooterCorrupt, "in QUARANTINE");
        let fault = entry.map_or_else(in_quarantine, |e| match &e.error_type {
            RecordedType::Known(error_type) => Fault::new(*error_type, e.message.clone()),
            RecordedType::Later(_) => in_quarantine(),
        });
        feeding.push((mark, Err(fault)));
    }
    let standing = receipt.filter(|_| stands);
    compare(run, partition, standing, &mut feeding).await?;
    let marks: Vec<Feeding> = feeding.iter().map(|(mark, _)| mark.clone()).collect();
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

/// An entry by which the file may be left alone.
fn entry_of<'a>(entries: &'a SeriesEntries, file: &'a SpoolFile) -> Option<&'a Entry> {
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
    feeding: &mut [(Feeding, std::result::Result<Claims, Fault>)],
) -> Result<()> {
    let Some(receipt) =
        receipt.filter(|receipt| run.origin != Origin::Collectors || receipt.holds_unnamed())
    else {
        return Ok(());
    };
    let new = |one: &&(Feeding, _)| matches!(one.0.knowledge, Knowledge::New { .. });
    // Adopted data may have been made of just these files.
    let contents: Option<Vec<Content>> = feeding
        .iter()
        .filter(new)
        .map(|(mark, _)| mark.content)
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
    let is_meant = |(mark, claims): &(Feeding, std::result::Result<Claims, Fault>)| {
        // A younger file with numbers of its own came late: equal events are events.
        let may_be_in = |claims: &Claims| {
            all || !claims.has_seq || made_us.is_some_and(|us| mark.file.object.modified_us <= us)
        };
        matches!(mark.knowledge, Knowledge::New { .. })
            && claims
                .as_ref()
                .is_ok_and(|c| c.rows > 0 && c.ts.is_some() && may_be_in(c))
    };
    let compacted = run.origin == Origin::Tree(Files::Compacted);
    // A file and its copy are compared once: their rows count once.
    let key = |mark: &Feeding| mark.content.ok_or_else(|| mark.file.object.key.clone());
    let mut contents = BTreeSet::new();
    let mut order = Vec::new();
    let mut subjects = Vec::new();
    for (mark, claims) in feeding.iter().filter(|one| is_meant(one)) {
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
    for (mark, _) in feeding.iter_mut().filter(|one| is_meant(one)) {
        mark.compared = found.get(&key(mark)).cloned();
    }
    Ok(())
}

/// Whose turn it is to work on a partition.
enum Turn {
    /// This run's: the lock of a folder, as long as it is held.
    Mine(Option<FolderLock>),
    /// Nobody's, or another's.
    Over(Box<Outcome>),
}

/// Takes the lock of a partition in a folder, where there is anything to be done.
async fn hold(
    run: &RunContext,
    handle: &PartitionHandle,
    partition: &Partition,
    files: &[SpoolFile],
) -> Result<Turn> {
    if run.places.archive.local_folder().is_none() {
        return Ok(Turn::Mine(None));
    }
    let seen = look(run, partition, files, Freshness::OfThisRun).await?;
    match &seen.decision {
        Decision::Nothing(why) => {
            complete_records(run, handle, &seen).await?;
            return Ok(Turn::Over(Box::new(Outcome::idle(partition, why))));
        }
        Decision::Fail(why) => return Err(Error::new(Kind::Damage, format!("{partition}: {why}"))),
        Decision::Complete(_)
        | Decision::Build(_)
        | Decision::Record { .. }
        | Decision::AcceptLoss { .. } => {}
    }
    Ok(match atomic::lock(&run.places.archive, &handle.dir())? {
        None => Turn::Over(Box::new(Outcome::lost_race(
            partition,
            "another qlc is at work on this partition",
        ))),
        held => Turn::Mine(held),
    })
}

/// Does with a partition what is to be done: decides, attempts, and decides again until there is an
/// outcome.
///
/// # Errors
/// When it could not be done; the archive is as it was, or will be recognised and completed by the
/// next run.
pub async fn work(run: &RunContext, partition: &Partition, files: &[SpoolFile]) -> Result<Outcome> {
    let handle = PartitionHandle::new(&run.places.archive, partition);
    let folders = [handle.dir(), handle.receipts_dir(), handle.quarantine_dir()];
    let swept: usize = folders
        .iter()
        .map(|folder| atomic::sweep(&run.places.archive, folder))
        .sum();
    if swept > 0 {
        tracing::info!(%partition, swept, "removed what an interrupted run had left");
    }
    let held = match hold(run, &handle, partition, files).await? {
        Turn::Mine(held) => held,
        Turn::Over(outcome) => return Ok(*outcome),
    };
    // Under the lock of a folder nothing changes any more but by what is done here. On a bucket the
    // conditions of the writes find out, and the decision is made again on what stands there then.
    let mut completed: Option<Receipt> = None;
    let mut accepted: Vec<LostSource> = Vec::new();
    let mut quarantined = Vec::new();
    let mut part: Option<Outcome> = None;
    let mut wholes_first = true;
    let mut lost = 0;
    // A folder was looked at before its lock was taken.
    let mut freshness = match held {
        Some(_) => Freshness::OfThisLook,
        None => Freshness::OfThisRun,
    };
    let outcome = loop {
        if lost > RACES {
            // Not all may be in, so this is no lost race to be content with.
            return Err(Error::new(
                Kind::Io,
                format!(
                    "{partition}: given up after {lost} attempts, because the partition changed before each could be published: \
                     another process publishes it, or its data.parquet or meta.json is not a file; run again"
                ),
            ));
        }
        if lost > 0 {
            // The other process may have kept a file that it could not use.
            run.places.kept.forget(&partition.series);
        }
        let relied = std::mem::replace(&mut freshness, Freshness::OfThisLook);
        let seen = look(run, partition, files, relied).await;
        let seen = match seen {
            Err(error) if error.kind() == Kind::Conflict => {
                lost += 1;
                continue;
            }
            seen => seen?,
        };
        if !matches!(seen.decision, Decision::Nothing(_) | Decision::Fail(_)) {
            // Files may be noted in a receipt while the data and meta.json stay what they are.
            if relied == Freshness::OfThisRun
                && let State::Published(stands) = &seen.archived.state
            {
                let sha256 = &stands.receipt().outcome.sha256;
                if handle.receipt(sha256).await?.as_ref() != Some(stands.receipt()) {
                    continue;
                }
            }
            probe_once(run).await?;
        }
        complete_records(run, &handle, &seen).await?;
        match &seen.decision {
            Decision::Nothing(why) => {
                if lost > 0 {
                    break Outcome::lost_race(
                        partition,
                        &format!("another process published it first; {why}"),
                    );
                }
                let completed = completed.map(|receipt| Outcome::completed(partition, &receipt));
                let nothing = || {
                    if accepted.is_empty() {
                        return Outcome::idle(partition, why);
                    }
                    Outcome::up_to_date(partition, &format!("{}{why}", in_words(&accepted)))
                };
                break part.or(completed).unwrap_or_else(nothing);
            }
            Decision::Fail(why) => {
                return Err(Error::new(Kind::Damage, format!("{partition}: {why}")));
            }
            Decision::AcceptLoss { loss, lost } => {
                let number = seen.archived.next_generation();
                tracing::warn!(%partition, %loss, sources = lost.len(), "its loss is accepted on request");
                commit::accept_loss(&handle, &run.places.staging, loss, lost.clone(), number)
                    .await?;
                accepted.clone_from(lost);
            }
            Decision::Record { files, reason } => match record(run, &handle, &seen, files).await {
                Ok(()) => break part.unwrap_or_else(|| Outcome::up_to_date(partition, reason)),
                Err(error) if error.kind() == Kind::Conflict => lost += 1,
                Err(error) => return Err(error),
            },
            Decision::Complete(receipt) => {
                let expect = &seen.archived.versions.meta;
                match commit::publish(&handle, &run.places.staging, receipt, expect, None).await {
                    Ok(published) => completed = Some(published.receipt().clone()),
                    Err(error) if error.kind() == Kind::Conflict => lost += 1,
                    Err(error) => return Err(error),
                }
                // Files may have come since: look again.
            }
            Decision::Build(build) => {
                let mut attempts =
                    match Attempts::begin(run, partition, &seen, build, &accepted, wholes_first)
                        .await
                    {
                        Ok(attempts) => attempts,
                        Err(error) if error.kind() == Kind::Conflict => {
                            lost += 1;
                            continue;
                        }
                        Err(error) => return Err(error),
                    };
                let reason = format!("{}{}", in_words(&accepted), build.reason);
                let ended = if attempts.restart {
                    Ok(None)
                } else {
                    attempts.until_done(&reason).await
                };
                quarantined.append(&mut attempts.quarantined);
                match ended {
                    // The other files are looked at again, now that there is something to hold them
                    // against.
                    Ok(Some(outcome)) if attempts.waiting || (build.is_part && part.is_none()) => {
                        wholes_first &= !attempts.waiting;
                        part = Some(outcome);
                    }
                    Ok(Some(outcome)) if outcome.status == Status::UpToDate => {
                        break part.unwrap_or(outcome);
                    }
                    Ok(Some(outcome)) => break outcome,
                    Ok(None) => {}
                    Err(error) if error.kind() == Kind::Conflict => {
                        lost += 1;
                        tracing::info!(%partition, why = %error.chain(), "lost a race; looking again");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    };
    drop(held);
    Ok(outcome.having_quarantined(&quarantined))
}

/// Notes in the receipt of the standing data that it has every row of `files`: so they are known by
/// their rows from now on, whatever becomes of their names, and can be retired.
async fn record(
    run: &RunContext,
    handle: &PartitionHandle,
    seen: &Look,
    files: &[usize],
) -> Result<()> {
    let State::Published(published) = &seen.archived.state else {
        return Err(Error::new(
            Kind::Internal,
            "there is no receipt to note files in",
        ));
    };
    let mut receipt = published.receipt().clone();
    let feeding = files.iter().filter_map(|nth| seen.feeding.get(*nth));
    let sources = feeding
        .filter_map(|(mark, _)| Some((&mark.file, mark.compared.as_ref()?.source(&mark.file))));
    for (file, source) in sources {
        match receipt
            .sources
            .iter()
            .find(|known| known.content() == source.content())
        {
            // Of files with the same rows the first is the file, the others are its copies.
            Some(first) => receipt.copies.push(file.as_copy_of(&first.name)),
            None => receipt.sources.push(Source {
                compacted: run.origin == Origin::Tree(Files::Compacted),
                ..source
            }),
        }
    }
    receipt.sources.sort_by(|a, b| a.name.cmp(&b.name));
    let (expect, _) = commit::vouched_since(handle, &receipt.outcome.sha256).await?;
    commit::vouch(handle, &run.places.staging, &receipt, &expect).await
}

/// Of files with the same rows one is read, perhaps another one than that which the receipt names:
/// the others are its copies.
fn record_under_new_names(
    copies: &mut BTreeMap<String, FileCopy>,
    look: &Look,
    build: &decide::Build,
    chosen: &[&(Feeding, std::result::Result<Claims, Fault>)],
) {
    let read = chosen
        .iter()
        .filter_map(|(mark, _)| Some((mark.known()?, mark.file.object.key.as_str())));
    let read: BTreeMap<Content, &str> = read.collect();
    let sources = build.replaces.iter().flat_map(|replaced| &replaced.sources);
    let contents: BTreeMap<&str, Content> = sources
        .map(|source| (source.name.as_str(), source.content()))
        .collect();
    for copy in copies.values_mut() {
        if let Some(name) = contents
            .get(copy.copy_of.as_str())
            .and_then(|content| read.get(content))
        {
            copy.copy_of = (*name).to_owned();
        }
    }
    for (mark, _) in &look.feeding {
        if let Some(name) = mark.known().and_then(|content| read.get(&content)) {
            let _ = copies.insert(mark.file.object.key.clone(), mark.file.as_copy_of(name));
        }
    }
}

fn in_words(accepted: &[LostSource]) -> String {
    if accepted.is_empty() {
        return String::new();
    }
    let rows: u64 = accepted.iter().map(|source| source.rows_here).sum();
    format!(
        "accepted as lost: {} of {}; ",
        count::rows(rows),
        plural(accepted.len(), "file")
    )
}

/// Files whose rows were recognised, and which are not on record yet.
fn recognised(
    receipt: &Receipt,
    feeding: &[(Feeding, std::result::Result<Claims, Fault>)],
) -> Vec<FileCopy> {
    let found = feeding.iter().filter_map(|(feeding, _)| {
        let Knowledge::Known {
            content,
            unread: false,
        } = feeding.knowledge
        else {
            return None;
        };
        let source = receipt
            .sources
            .iter()
            .find(|source| source.content() == content)?;
        Some(feeding.file.as_copy_of(&source.name)).filter(|copy| !receipt.copies.contains(copy))
    });
    found.collect()
}

/// Completes what stands beside a published generation: the mark that an earlier version did not
/// write, and the note of the files that this look recognised.
async fn complete_records(run: &RunContext, handle: &PartitionHandle, seen: &Look) -> Result<()> {
    let State::Published(published) = &seen.archived.state else {
        return Ok(());
    };
    let staging = &run.places.staging;
    if seen.archived.lacks_mark() {
        probe_once(run).await?;
        commit::mark(handle, staging, published).await?;
    }
    if !seen.recognised.is_empty() {
        probe_once(run).await?;
        copies::note(
            handle,
            staging,
            &published.receipt().outcome.sha256,
            &seen.recognised,
        )
        .await?;
    }
    Ok(())
}

/// Finds out, once in a run and before its first write, whether the archive's conditional writes
/// can be relied on.
async fn probe_once(run: &RunContext) -> Result<()> {
    let _: &() = run
        .probed
        .get_or_try_init(|| conditions::probe(&run.places.archive))
        .await?;
    Ok(())
}

/// The attempts at one partition.
pub struct Attempts<'a> {
    run: &'a RunContext,
    partition: &'a Partition,
    /// Files that can still be used.
    files: Vec<Input>,
    base: Option<BaseData>,
    /// The generation whose every row the new one must have.
    replaces: Option<Box<Receipt>>,
    /// Which generation this will be.
    generation: u64,
    /// What an operator accepted as lost.
    accepted: Vec<LostSource>,
    left_out: Vec<LeftOutFile>,
    copies: Vec<FileCopy>,
    /// Files that were left out because others hold the same rows.
    doubled: Vec<SpoolFile>,
    /// Entries made so far, for the outcome.
    quarantined: Vec<Entry>,
    /// Files that are read again although their rows are in the archive.
    known: BTreeMap<String, Content>,
    /// Set when one of `known` turned out bad: its archived rows must stay, so the decision is made
    /// again, with the file in QUARANTINE and the archived data as the base.
    restart: bool,
    /// What was read of the day's rows to settle the columns.
    facts: Facts,
    /// The row groups of the files that were salvaged for this generation.
    salvaged: Vec<(Option<String>, RowGroup)>,
    /// Whether damaged files wait until the rows of the whole ones stand, which they may hold as
    /// well.
    wholes_first: bool,
    /// Whether some do.
    waiting: bool,
    /// How often the merge was made narrower because memory ran out.
    squeezed: u32,
    /// What the publish may replace.
    versions: Versions,
}

impl<'a> Attempts<'a> {
    /// Takes the files that `build` names; those that cannot be used are quarantined.
    async fn begin(
        run: &'a RunContext,
        partition: &'a Partition,
        look: &Look,
        build: &decide::Build,
        accepted: &[LostSource],
        wholes_first: bool,
    ) -> Result<Self> {
        let mut attempts = Self::plan(run, partition, look, build).await?;
        attempts.accepted = accepted.to_vec();
        attempts.wholes_first = wholes_first;
        attempts.let_parts_wait();
        let mut bad = Vec::new();
        for (file, fault) in Self::unusable(look, build) {
            if !attempts.salvage(&file).await? {
                bad.push((file, fault));
            }
        }
        bad.extend(attempts.changed_in_place(look, build).await?);
        attempts.quarantine(bad).await?;
        attempts.drop_unfit().await?;
        Ok(attempts)
    }

    /// The same without touching anything: files that cannot be used are left in place.
    async fn plan(
        run: &'a RunContext,
        partition: &'a Partition,
        look: &Look,
        build: &decide::Build,
    ) -> Result<Self> {
        let chosen: Vec<&(Feeding, _)> = build
            .files
            .iter()
            .filter_map(|i| look.feeding.get(*i))
            .collect();
        let usable = chosen.iter().filter_map(|(mark, claims)| {
            let known_groups = match &mark.knowledge {
                Knowledge::New { known_groups } => known_groups.clone(),
                Knowledge::Known { .. } | Knowledge::Quarantined => Vec::new(),
            };
            let known = mark.compared.as_ref().filter(|found| found.known > 0);
            let known_rows = known.map(|found| Arc::new(found.rows.clone()));
            Some(Input {
                file: mark.file.clone(),
                claims: claims.as_ref().ok()?.clone(),
                known_groups,
                known_rows,
            })
        });
        let left_out = look
            .feeding
            .iter()
            .filter(|(mark, _)| mark.knowledge == Knowledge::Quarantined);
        let left_out =
            left_out.filter_map(|(mark, _)| entry_of(&look.entries, &mark.file).map(left_out_by));
        let versions = look.archived.versions.clone();
        let base = match &build.base {
            Some(receipt) => match base_data(run, partition, receipt).await {
                Ok(base) => Some(base),
                Err(error) => {
                    overtaken(run, partition, &versions).await?;
                    return Err(error);
                }
            },
            None => None,
        };
        let known = chosen
            .iter()
            .filter_map(|(mark, _)| Some((mark.file.object.key.clone(), mark.known()?)));
        // Copies that were found stay on record while their original is a source.
        let before = build
            .replaces
            .as_ref()
            .map(|replaced| replaced.copies.clone())
            .unwrap_or_default();
        let mut copies: BTreeMap<String, FileCopy> = BTreeMap::new();
        for copy in before.iter().chain(&look.copies).chain(&look.recognised) {
            let _ = copies.insert(copy.name.clone(), copy.clone());
        }
        record_under_new_names(&mut copies, look, build, &chosen);
        for (mark, _) in &chosen {
            let _ = copies.remove(&mark.file.object.key);
        }
        Ok(Self {
            run,
            partition,
            files: usable.collect(),
            base,
            replaces: build.replaces.clone(),
            generation: look.archived.next_generation(),
            accepted: Vec::new(),
            left_out: left_out.collect(),
            copies: copies.into_values().collect(),
            doubled: Vec::new(),
            quarantined: Vec::new(),
            known: known.collect(),
            restart: false,
            facts: Facts::default(),
            salvaged: Vec::new(),
            wholes_first: true,
            waiting: false,
            squeezed: 0,
            versions,
        })
    }

    fn unusable(look: &Look, build: &decide::Build) -> Vec<(SpoolFile, Fault)> {
        let chosen = build.files.iter().filter_map(|i| look.feeding.get(*i));
        chosen
            .filter_map(|(mark, claims)| Some((mark.file.clone(), claims.as_ref().err()?.clone())))
            .collect()
    }

    /// Files with the name, size and time of an archived source that do not have its rows any more.
    /// The archived rows stay; the file goes to QUARANTINE beside them.
    async fn changed_in_place(
        &self,
        look: &Look,
        build: &decide::Build,
    ) -> Result<Vec<(SpoolFile, Fault)>> {
        let by_name_only = look
            .feeding
            .iter()
            .enumerate()
            .filter_map(|(index, (mark, claims))| {
                let Knowledge::Known {
                    content,
                    unread: true,
                } = mark.knowledge
                else {
                    return None;
                };
                // Without archived rows to build upon it is read in any case, and held against the
                // receipt at the end.
                let is_read_anyway = build.files.contains(&index) && build.base.is_none();
                (!is_read_anyway).then_some((&mark.file, claims, content))
            });
        let files: Vec<_> = by_name_only.collect();
        let spool = &self.run.places.spool;
        let found = recognise::still_have(spool, files.iter().copied()).await?;
        let changed = files.iter().zip(found).filter_map(|((file, ..), found)| {
            let what = found.err()?;
            Some(((*file).clone(), recognise::changed_in_place(&what)))
        });
        Ok(changed.collect())
    }

    async fn quarantine(&mut self, bad: Vec<(SpoolFile, Fault)>) -> Result<()> {
        let entries = keep::files(&self.run.places, self.partition, &bad).await?;
        self.restart |= bad
            .iter()
            .any(|(file, _)| self.known.contains_key(&file.object.key));
        self.files.retain(|input| {
            !bad.iter()
                .any(|(file, _)| file.object.key == input.file.object.key)
        });
        self.left_out.extend(entries.iter().map(left_out_by));
        self.quarantined.extend(entries);
        Ok(())
    }

    /// Whether rows of a whole file are to be taken in, which `file` may be a damaged copy of.
    fn has_wholes_besides(&self, file: &SpoolFile) -> bool {
        let key = &file.object.key;
        self.files.iter().any(|Input { file, claims, .. }| {
            let is_whole = claims.lost.is_none() && claims.rows > 0;
            is_whole && file.object.key != *key && !self.known.contains_key(&file.object.key)
        })
    }

    /// Lets files wait of which a part was taken in on another day.
    fn let_parts_wait(&mut self) {
        let is_part = |input: &Input| {
            input.claims.lost.is_some() && !self.known.contains_key(&input.file.object.key)
        };
        let parts: Vec<SpoolFile> = self
            .files
            .iter()
            .filter(|i| is_part(i))
            .map(|i| i.file.clone())
            .collect();
        for part in parts {
            let _ = self.waits(&part);
        }
    }

    /// Whether `file` has to wait until the rows of the whole files stand. Its own row groups are
    /// held against them then.
    fn waits(&mut self, file: &SpoolFile) -> bool {
        let waits = self.wholes_first && self.has_wholes_besides(file);
        if waits {
            self.files
                .retain(|input| input.file.object.key != file.object.key);
            self.waiting = true;
        }
        waits
    }

    /// Goes on without the row groups of `file` that do not read, where that was asked for and
    /// leaves some that the archive does not have yet; or lets it wait for the whole files. Whether
    /// it did either.
    async fn salvage(&mut self, file: &SpoolFile) -> Result<bool> {
        // Rows of a file that was compacted whole are in the archive: they must not be exchanged
        // for a part of them.
        if !self.run.salvage || self.known.contains_key(&file.object.key) {
            return Ok(false);
        }
        let Some(salvage) = salvage(&Handle::new(&self.run.places.spool, &file.object)).await?
        else {
            return Ok(false);
        };
        let mut known = KnownRows::default();
        if let Some(replaced) = &self.replaces {
            if replaced.holds_unnamed() {
                // Its rows may be there under no name, and a part of a file is not held against
                // them.
                return Ok(false);
            }
            let name = |key: &str| key.rsplit('/').next().map(str::to_owned);
            let namesake = |source: &Source| name(&source.name) == name(&file.object.key);
            if replaced.receipt_version == WITHOUT_HISTORY && replaced.sources.iter().any(namesake)
            {
                // That receipt does not tell which row groups it has: some may be those of this
                // very file.
                return Ok(false);
            }
            known = replaced.known();
        }
        let collector = layout::collector_of(&file.object.key);
        for (owner, group) in &self.salvaged {
            known.add(owner.as_deref(), std::iter::once(*group));
        }
        let known_groups = known.from_any(collector, &salvage.good);
        if known_groups.len() == salvage.good.len() {
            // A damaged copy of what the archive has.
            return Ok(false);
        }
        if self.waits(file) {
            return Ok(true);
        }
        self.quarantined
            .extend(keep::salvaged(&self.run.places, self.partition, file, &salvage).await?);
        self.salvaged.extend(
            salvage
                .good
                .into_iter()
                .map(|group| (collector.map(str::to_owned), group)),
        );
        self.files
            .retain(|input| input.file.object.key != file.object.key);
        self.files.push(Input {
            file: file.clone(),
            claims: salvage.claims,
            known_groups,
            known_rows: None,
        });
        self.files
            .sort_by(|a, b| a.file.object.key.cmp(&b.file.object.key));
        Ok(true)
    }

    /// The columns of the day's rows.
    async fn columns(&self) -> Result<Columns> {
        let places = &self.run.places;
        let (files, base) = (&self.files, self.base.as_ref());
        settle(
            &places.spool,
            &places.archive,
            self.partition,
            files,
            &self.known,
            base,
            &self.facts,
        )
        .await
    }

    /// Files that do not fit the columns of the partition.
    async fn misfits(&self) -> Result<Vec<(SpoolFile, Fault)>> {
        let unfit = self.columns().await?.unfit;
        Ok(unfit
            .into_iter()
            .filter_map(|(nth, fault)| Some((self.files.get(nth)?.file.clone(), fault)))
            .collect())
    }

    async fn drop_unfit(&mut self) -> Result<()> {
        let misfits = self.misfits().await?;
        self.quarantine(misfits).await
    }

    /// Leaves to the archived data what it has. Files whose rows it has are read again only beside
    /// those of another collector; these may have turned out to be bad or copies, or wait.
    fn drop_archived(&mut self) {
        let Some(base) = &self.base else {
            return;
        };
        let files = self
            .files
            .iter()
            .map(|input| (input.file.object.key.as_str(), input.claims.rows));
        if is_merge(files, Some(base)) {
            return;
        }
        let archived = base.receipt.known();
        self.files.retain(|input| {
            let key = &input.file.object.key;
            let is_archived = |content: &Content| archived.has(layout::collector_of(key), *content);
            !self.known.get(key).is_some_and(is_archived)
        });
    }

    async fn prepared(&mut self) -> Result<Prepared> {
        self.drop_archived();
        let places = &self.run.places;
        let (columns, budget) = (
            self.columns().await?,
            self.run.budget.squeezed(self.squeezed),
        );
        prepare(
            &places.spool,
            &places.archive,
            self.partition,
            &self.files,
            self.base.as_ref(),
            &columns,
            &budget,
        )
    }

    /// Attempts until the partition has its outcome; `None` when the decision must be made again.
    async fn until_done(&mut self, reason: &str) -> Result<Option<Outcome>> {
        let partition = self.partition;
        let none = || {
            Ok(Some(Outcome::up_to_date(
                partition,
                "none of the readable files holds rows of this day",
            )))
        };
        let had_files = !self.files.is_empty();
        let mut proven = false;
        loop {
            self.drop_archived();
            if self.files.is_empty() && self.base.is_some() && (had_files || !self.run.wishes.force)
            {
                return Ok(Some(Outcome::up_to_date(
                    partition,
                    "none of the new files can be used",
                )));
            }
            let prepared = self.prepared().await?;
            if prepared.rows() == 0 {
                return none();
            }
            let bytes_in = prepared.sources.iter().map(|s| s.handle.size()).sum();
            self.run
                .watch
                .partition_begins(self.partition, prepared.rows(), bytes_in);
            // Where another process wrote first, the receipt of this attempt stays: another may be
            // about to write the same bytes, and count on it.
            let problems = match self.attempt_fitting(prepared, Purpose::Publish).await? {
                Attempt::Published(published) => {
                    return Ok(Some(Outcome::published(
                        partition,
                        published.receipt(),
                        reason,
                        bytes_in,
                    )));
                }
                Attempt::NoRows => return none(),
                Attempt::Rehearsed { .. } => {
                    return Err(Error::new(Kind::Internal, "a rehearsal was not asked for"));
                }
                Attempt::Copies(copies) => {
                    self.leave_out_copies(&copies);
                    continue;
                }
                Attempt::Unaccounted(lost) => {
                    self.blame_changed(&lost).await?;
                    return Ok(None);
                }
                Attempt::Problems(problems) => problems,
            };
            self.learn(problems, proven).await?;
            if self.restart {
                return Ok(None);
            }
            proven = true;
        }
    }

    /// Goes on without the files that hold the same rows as others.
    fn leave_out_copies(&mut self, copies: &[FoundCopy]) {
        let mut names = BTreeSet::new();
        for FoundCopy { index, copy_of } in copies {
            let Some(input) = self.files.get(*index) else {
                continue;
            };
            let key = &input.file.object.key;
            tracing::warn!(file = %self.run.places.spool.show(key), %copy_of, "holds the same rows as another file: they count once");
            let _ = names.insert(key.clone());
            self.copies.push(input.file.as_copy_of(copy_of));
            self.doubled.push(input.file.clone());
        }
        self.files
            .retain(|input| !names.contains(&input.file.object.key));
    }

    /// Published rows would be dropped: the files that they came from do not have them any more.
    /// These go to QUARANTINE, and the decision is made again, upon the archived rows.
    async fn blame_changed(&mut self, lost: &[LostSource]) -> Result<()> {
        let named = |file: &SpoolFile| lost.iter().any(|source| source.name == file.object.key);
        let what = "its rows are others than were archived from it";
        let doubled = self.doubled.iter().filter(|file| named(file));
        let mut changed: Vec<(SpoolFile, Fault)> = doubled
            .map(|file| (file.clone(), recognise::changed_in_place(what)))
            .collect();
        for Input { file, claims, .. } in &self.files {
            // The archived rows may be on record under the name that the file had before, or that
            // of a copy of it.
            let what = match self.known.get(&file.object.key) {
                Some(content) => {
                    recognise::still_has(&self.run.places.spool, file, claims, *content)
                        .await?
                        .err()
                }
                None => named(file).then(|| what.to_owned()),
            };
            changed.extend(what.map(|what| (file.clone(), recognise::changed_in_place(&what))));
        }
        if changed.is_empty() {
            let names: Vec<&str> = lost.iter().map(|source| source.name.as_str()).collect();
            return Err(Error::new(
                Kind::Proof,
                format!(
                    "{}: published rows of {} would be dropped; nothing was published",
                    self.partition,
                    names.join(", ")
                ),
            ));
        }
        self.quarantine(changed).await
    }

    /// Makes the next attempt different from this one: bad files go to QUARANTINE, and no footer is
    /// believed any more.
    async fn learn(&mut self, problems: Vec<(usize, Problem)>, proven: bool) -> Result<()> {
        let all_heavy = problems
            .iter()
            .all(|(_, p)| matches!(p, Problem::TooLarge { .. }));
        let mut bad = self.weigh(&problems).await?;
        for (index, problem) in problems {
            if matches!(problem, Problem::TooLarge { .. }) {
                continue;
            }
            let Some(Input { file, claims, .. }) = self.files.get_mut(index) else {
                overtaken(self.run, self.partition, &self.versions).await?;
                return Err(match problem {
                    Problem::Storage(error) => error,
                    other => Error::new(
                        Kind::Damage,
                        format!(
                            "{}: the archived data cannot be read ({other}); see qlc verify",
                            self.partition
                        ),
                    ),
                });
            };
            match problem {
                Problem::Storage(error) => return Err(error),
                Problem::Bad(fault) => bad.push((file.clone(), fault)),
                Problem::TooLarge { .. } => {}
                Problem::FalseClaim(what) if proven && claims.proven => {
                    return Err(Error::new(
                        Kind::Io,
                        format!(
                            "{}: {what}, although it was just read: it changes while it is read",
                            file.object.key
                        ),
                    ));
                }
                Problem::FalseClaim(what) => {
                    tracing::warn!(file = %file.object.key, %what, "a footer claims what the rows do not keep; all files are read for facts");
                }
            }
        }
        if all_heavy && bad.is_empty() {
            return Ok(());
        }
        let bad_keys: BTreeSet<String> = bad.iter().map(|(f, _)| f.object.key.clone()).collect();
        for Input { file, claims, .. } in &mut self.files {
            if claims.proven || bad_keys.contains(&file.object.key) || self.run.stop.asked() {
                continue;
            }
            match examine(&Handle::new(&self.run.places.spool, &file.object), claims).await {
                Ok(found) => *claims = found.claims,
                Err(Problem::Bad(fault)) => bad.push((file.clone(), fault)),
                Err(Problem::Storage(error)) => return Err(error),
                Err(other) => return Err(Error::new(Kind::Internal, other.to_string())),
            }
        }
        // One may have been found bad in two ways.
        bad.sort_by(|(a, _), (b, _)| a.object.key.cmp(&b.object.key));
        bad.dedup_by(|(a, _), (b, _)| a.object.key == b.object.key);
        let mut lost = Vec::new();
        for (file, fault) in bad {
            if !self.salvage(&file).await? {
                lost.push((file, fault));
            }
        }
        self.quarantine(lost).await?;
        self.drop_unfit().await
    }

    /// Notes what sources take that took more memory than was planned, and finds out what the
    /// others take: each of them would cost an attempt. Returns those that are not to be decoded.
    async fn weigh(&mut self, problems: &[(usize, Problem)]) -> Result<Vec<(SpoolFile, Fault)>> {
        let mut bad = Vec::new();
        let mut any = false;
        for (index, problem) in problems {
            let Problem::TooLarge {
                row_bytes,
                open_bytes,
            } = problem
            else {
                continue;
            };
            any = true;
            let base = self.base.as_mut().map(|base| &mut base.claims);
            if let Some(claims) = self
                .files
                .get_mut(*index)
                .map(|input| &mut input.claims)
                .or(base)
            {
                (claims.weighed, claims.row_bytes, claims.open_bytes) =
                    (true, *row_bytes, *open_bytes);
            }
        }
        if !any {
            return Ok(bad);
        }
        let sorted_in_memory = self.run.budget.sort_in_memory;
        for Input { file, claims, .. } in
            self.files.iter_mut().filter(|input| input.claims.rows > 0)
        {
            let handle = Handle::new(&self.run.places.spool, &file.object);
            let weighed = if claims.weighed {
                Ok(claims.clone())
            } else {
                handle.weigh(claims).await
            };
            // Large rows are sorted on disk, and dearly. Most are in order, though nothing declares
            // it: one look costs less.
            let facts = match weighed {
                Ok(weighed) => {
                    let is_large =
                        weighed.rows.saturating_mul(weighed.row_bytes) > sorted_in_memory;
                    if is_large && !weighed.ordered && !weighed.proven {
                        examine(&handle, &weighed).await.map(|found| found.claims)
                    } else {
                        Ok(weighed)
                    }
                }
                Err(problem) => Err(problem),
            };
            match facts {
                Ok(facts) => *claims = facts,
                Err(Problem::Storage(error)) => return Err(error),
                Err(Problem::Bad(fault)) => bad.push((file.clone(), fault)),
                Err(other) => return Err(Error::new(Kind::Internal, other.to_string())),
            }
        }
        Ok(bad)
    }

    /// An attempt, again with a narrower merge where memory runs out: footers do not tell how large
    /// rows are there.
    async fn attempt_fitting(
        &mut self,
        mut prepared: Prepared,
        purpose: Purpose,
    ) -> Result<Attempt> {
        loop {
            match self.attempt(prepared, purpose).await {
                Err(error) if error.kind() == Kind::Resources && self.squeezed < SQUEEZES => {
                    self.squeezed += 1;
                    tracing::info!(partition = %self.partition, error = %error.chain(), "once more with a narrower merge");
                    prepared = self.prepared().await?;
                }
                ended => return ended,
            }
        }
    }

    async fn attempt(&mut self, prepared: Prepared, purpose: Purpose) -> Result<Attempt> {
        let kept: Arc<Mutex<Vec<Entry>>> = Arc::default();
        let Task {
            job,
            layouts,
            draft,
            options,
        } = self.task(prepared, purpose, &kept);
        let attempt = run(&job, &layouts, draft, options).await;
        self.quarantined
            .append(&mut kept.lock().unwrap_or_else(PoisonError::into_inner));
        attempt
    }

    /// What the engine is given. Rows that go to QUARANTINE are noted in `kept`.
    fn task(&self, prepared: Prepared, purpose: Purpose, kept: &Arc<Mutex<Vec<Entry>>>) -> Task {
        let plan = prepared.lines();
        let watch = Arc::clone(&self.run.watch);
        let stop = self.run.stop.clone();
        let job = Arc::new(Job {
            partition: self.partition.clone(),
            shape: prepared.shape,
            merging: prepared.merging,
            to_ns: prepared.to_ns,
            numbers: prepared.numbers,
            first_number: prepared.first_number,
            batch_rows: prepared.batch_rows,
            eager: prepared.eager,
            sort_in_memory: self.run.budget.squeezed(self.squeezed).sort_in_memory,
            ahead: self
                .run
                .places
                .spool
                .is_remote()
                .then(|| Ahead::within(self.run.budget.ahead)),
            on_progress: Arc::new(move |rows, bytes| watch.progress(rows, bytes)),
            stop: Arc::new(move || stop.asked()),
            ledger: Ledger::default(),
            sources: prepared.sources,
        });
        for (index, source) in job.sources.iter().enumerate() {
            if source.claims.rows == 0 {
                job.ledger.bill(index, SourceTally::default());
            }
        }
        let draft = Draft {
            created_at: self.run.places.time.clone(),
            task: self.run.places.task.clone(),
            plan,
            base: self.base.as_ref().map(|b| Base {
                sha256: b.receipt.outcome.sha256.clone(),
                rows: b.receipt.outcome.rows,
                row_hash: b.receipt.outcome.row_hash,
                copies: 0,
            }),
            base_sources: self.base.as_ref().map(base_sources).unwrap_or_default(),
            left_out: self.left_out.clone(),
            copies: self.copies.clone(),
            generation: self.generation,
            replaces: self.replaces.as_deref().cloned(),
            accepted_loss: self.accepted.clone(),
            seq: prepared.seq,
            compacted: self.run.origin == Origin::Tree(Files::Compacted),
        };
        let options = AttemptOptions {
            archive: self.run.places.archive.clone(),
            scratch: self.run.scratch.clone(),
            versions: self.versions.clone(),
            budget: self.run.budget.squeezed(self.squeezed),
            cores: self.run.cores,
            zstd_level: self.run.zstd_level,
            before_visible: before_visible(&self.run.places, self.partition, &self.files, kept),
            purpose,
        };
        Task {
            job,
            layouts: prepared.layouts,
            draft,
            options,
        }
    }
}

/// What the engine is given for one attempt.
struct Task {
    job: Arc<Job>,
    layouts: Layouts,
    draft: Draft,
    options: AttemptOptions,
}

/// The step between proof and publishing: rows without a permitted day are kept.
fn before_visible(
    places: &Places,
    partition: &Partition,
    files: &[Input],
    kept: &Arc<Mutex<Vec<Entry>>>,
) -> engine::sink::OnProven {
    let (places, partition, kept) = (places.clone(), partition.clone(), Arc::clone(kept));
    let files = Arc::new(files.to_vec());
    Arc::new(move |tallies| {
        let (places, partition, kept, files) = (
            places.clone(),
            partition.clone(),
            Arc::clone(&kept),
            Arc::clone(&files),
        );
        Box::pin(async move {
            let entries = keep::all_rows(&places, &partition, &files, &tallies).await?;
            kept.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(entries);
            Ok(())
        })
    })
}

fn base_sources(base: &BaseData) -> Vec<Source> {
    let by_base = |s: &Source| Source {
        by_base: true,
        ..s.clone()
    };
    base.receipt.sources.iter().map(by_base).collect()
}

/// Fails as a lost race when the archived data is not what it was when it was looked at: then
/// nothing is wrong with it, another process has published meanwhile.
async fn overtaken(run: &RunContext, partition: &Partition, versions: &Versions) -> Result<()> {
    let now = PartitionHandle::new(&run.places.archive, partition)
        .versions()
        .await?;
    if now.data == versions.data {
        return Ok(());
    }
    Err(Error::new(
        Kind::Conflict,
        format!("{partition}: another process published while its archived data was read"),
    ))
}

async fn base_data(run: &RunContext, partition: &Partition, receipt: &Receipt) -> Result<BaseData> {
    let key = layout::data_key(partition);
    let archive = &run.places.archive;
    let object = archive
        .head(&key)
        .await?
        .ok_or_else(|| Error::new(Kind::Damage, format!("{}: has gone", archive.show(&key))))?;
    // What is taken in again must be what was published, to the byte.
    let (sha256, _) = archive.sha256(&key).await?;
    if sha256 != receipt.outcome.sha256 {
        return Err(Error::new(
            Kind::Damage,
            format!(
                "{}: is not what its receipt vouches for: restore it from a backup, or, where all its files are still in the spool, remove it and run again",
                archive.show(&key)
            ),
        ));
    }
    let claims = probe(&Handle::new(archive, &object).vouched())
        .await
        .map_err(|problem| match problem {
            Problem::Storage(error) => error,
            other => Error::new(Kind::Damage, format!("{}: {other}", archive.show(&key))),
        })?;
    // Whoever wrote the data, its receipt was made when its rows were found in order. That is
    // checked while they are read.
    let claims = Claims {
        ordered: true,
        ..claims
    };
    Ok(BaseData {
        object,
        claims,
        receipt: Box::new(receipt.clone()),
    })
}

fn left_out_by(entry: &Entry) -> LeftOutFile {
    LeftOutFile {
        name: entry.source_path.clone(),
        size: entry.size,
        sha256: entry.sha256.clone(),
        error_type: entry.error_type.to_string(),
    }
}

/// What a dry run knows of a build: its plan, and the files that would be quarantined.
pub struct Foreseen {
    /// The plan.
    pub prepared: Prepared,
    /// The same as the engine has it: the logical and the physical plan, where there are rows and
    /// someone asked for them.
    pub plans: Option<[String; 2]>,
    /// Files that cannot be used, each with its fault.
    pub unusable: Vec<String>,
}

/// The plan of a build, without doing any of it; `explain` asks for the plans of the engine as
/// well.
///
/// # Errors
/// When the archived data cannot be read.
pub async fn foresee(
    run: &RunContext,
    partition: &Partition,
    look: &Look,
    build: &decide::Build,
    explain: bool,
) -> Result<Foreseen> {
    let mut attempts = Attempts::plan(run, partition, look, build).await?;
    let misfits = attempts.misfits().await?;
    let unusable = Attempts::unusable(look, build);
    let unusable = unusable.iter().chain(&misfits);
    let unusable = unusable.map(|(file, fault)| format!("{}: {fault}", file.object.key));
    let unusable = unusable.collect();
    attempts
        .files
        .retain(|input| !misfits.iter().any(|(file, _)| *file == input.file));
    let prepared = attempts.prepared().await?;
    let mut plans = None;
    if explain && prepared.rows() > 0 {
        let Task {
            job,
            layouts,
            draft,
            options,
        } = attempts.task(
            prepared.clone(),
            Purpose::Rehearse { encoding: ENCODING },
            &Arc::default(),
        );
        plans = Some(engine::run::explain(&job, &layouts, draft, options).await?);
    }
    Ok(Foreseen {
        prepared,
        plans,
        unusable,
    })
}

/// The digest that a partition made from these files of the spool would have, with encodings of
/// this revision.
///
/// # Errors
/// When it cannot be made.
pub async fn digest(
    run: &RunContext,
    partition: &Partition,
    look: &Look,
    build: &decide::Build,
    encoding: u32,
) -> Result<Option<String>> {
    let mut attempts = Attempts::plan(run, partition, look, build).await?;
    let misfits = attempts.misfits().await?;
    attempts
        .files
        .retain(|input| !misfits.iter().any(|(file, _)| *file == input.file));
    for distrust in [false, true] {
        if distrust {
            for Input { file, claims, .. } in &mut attempts.files {
                if let Ok(found) =
                    examine(&Handle::new(&run.places.spool, &file.object), claims).await
                {
                    *claims = found.claims;
                }
            }
        }
        loop {
            let prepared = attempts.prepared().await?;
            match attempts
                .attempt_fitting(prepared, Purpose::Rehearse { encoding })
                .await?
            {
                Attempt::Rehearsed { sha256 } => return Ok(Some(sha256)),
                Attempt::Problems(problems) => {
                    let _ = attempts.weigh(&problems).await?;
                    if !problems
                        .iter()
                        .all(|(_, p)| matches!(p, Problem::TooLarge { .. }))
                    {
                        break;
                    }
                }
                Attempt::Copies(copies) => attempts.leave_out_copies(&copies),
                Attempt::Published(_) | Attempt::NoRows | Attempt::Unaccounted(_) => {
                    return Ok(None);
                }
            }
        }
    }
    Ok(None)
}
