//! The attempts at one generation of a partition: which files it is made of, what the engine is given,
//! and what comes of it.
//!
//! `mend` makes the next attempt different from one that failed; `rehearse` makes none of it
//! visible, for a dry run and to prove archived bytes.

mod mend;
pub mod rehearse;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    columns::{Columns, Facts},
    context::{Origin, RunContext, TreeFiles},
    decide::{Build, Knowledge, SpoolFile},
    keep::{self, Places},
    look::{Look, entry_of},
    prepare::{BaseData, InputFile, Prepared, is_merge, prepare, settle},
    recognise::{self, FeedingFile},
    report::Outcome,
};
use crate::{
    archive::partition::{PartitionHandle, Versions},
    engine::{
        self,
        plan::Layouts,
        run::{AttemptOptions, run},
        sink::Draft,
    },
    error::{Error, Kind, Result},
    file::{ahead::Ahead, claims::Claims, fault::Problem, probe::probe, reader::Handle},
    job::{
        Job, Ledger, SourceTally,
        attempt::{Attempt, FoundCopy, Purpose},
    },
    model::{
        layout,
        partition::Partition,
        quarantine::{Entry, Fault},
        receipt::{Base, Content, FileCopy, LeftOutFile, LostSource, Receipt, RowGroup, Source},
    },
};

/// How often a merge is made narrower because memory ran out.
const SQUEEZES: u32 = 3;

/// The attempts at one partition.
pub struct Attempts<'a> {
    run: &'a RunContext,
    partition: &'a Partition,
    /// Files that can still be used.
    files: Vec<InputFile>,
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
    pub quarantined: Vec<Entry>,
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
    pub waiting: bool,
    /// How often the merge was made narrower because memory ran out.
    squeezed: u32,
    /// What the publish may replace.
    versions: Versions,
}

impl<'a> Attempts<'a> {
    /// Takes the files that `build` names; those that cannot be used are quarantined.
    ///
    /// # Errors
    /// When spool or archive do not answer.
    pub async fn begin(
        run: &'a RunContext,
        partition: &'a Partition,
        look: &Look,
        build: &Build,
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
        build: &Build,
    ) -> Result<Self> {
        let chosen: Vec<&FeedingFile> = chosen(look, build).collect();
        let usable = chosen.iter().filter_map(|FeedingFile { mark, claims }| {
            let known_groups = match &mark.knowledge {
                Knowledge::New { known_groups } => known_groups.clone(),
                Knowledge::Known { .. } | Knowledge::Quarantined => Vec::new(),
            };
            let known = mark.compared.as_ref().filter(|found| found.known > 0);
            let known_rows = known.map(|found| Arc::new(found.rows.clone()));
            Some(InputFile {
                file: mark.file.clone(),
                claims: claims.as_ref().ok()?.clone(),
                known_groups,
                known_rows,
            })
        });
        let in_quarantine = |one: &&FeedingFile| one.mark.knowledge == Knowledge::Quarantined;
        let left_out = look.feeding.iter().filter(in_quarantine);
        let left_out = left_out
            .filter_map(|one| entry_of(&look.entries, &one.mark.file))
            .map(left_out_by);
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
            .filter_map(|one| Some((one.mark.file.object.key.clone(), one.mark.known()?)));
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
        for one in &chosen {
            let _ = copies.remove(&one.mark.file.object.key);
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

    fn unusable(look: &Look, build: &Build) -> Vec<(SpoolFile, Fault)> {
        chosen(look, build)
            .filter_map(|one| Some((one.mark.file.clone(), one.claims.as_ref().err()?.clone())))
            .collect()
    }

    /// Files with the name, size and time of an archived source that do not have its rows any more.
    /// The archived rows stay; the file goes to QUARANTINE beside them.
    async fn changed_in_place(
        &self,
        look: &Look,
        build: &Build,
    ) -> Result<Vec<(SpoolFile, Fault)>> {
        let by_name_only =
            look.feeding
                .iter()
                .enumerate()
                .filter_map(|(index, FeedingFile { mark, claims })| {
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
    ///
    /// # Errors
    /// When nothing was published; a conflict where another process wrote first.
    pub async fn until_done(&mut self, reason: &str) -> Result<Option<Outcome>> {
        if self.restart {
            return Ok(None);
        }
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

    /// The files that were found to be copies of others as they were read.
    pub fn new_copies(&self) -> impl Iterator<Item = &FileCopy> {
        let left_out = self.doubled.iter().map(|file| file.object.key.as_str());
        let left_out: BTreeSet<&str> = left_out.collect();
        let is_new = move |copy: &&FileCopy| left_out.contains(copy.name.as_str());
        self.copies.iter().filter(is_new)
    }

    /// Goes on without the files that hold the same rows as others.
    fn leave_out_copies(&mut self, copies: &[FoundCopy]) {
        let mut names = BTreeSet::new();
        for FoundCopy { index, copy_of } in copies {
            let Some(input) = self.files.get(*index) else {
                continue;
            };
            let key = &input.file.object.key;
            // Of the files of collectors the outcome tells.
            if self.run.origin != Origin::Collectors {
                tracing::warn!(file = %self.run.places.spool.show(key), %copy_of, "holds the same rows as another file: they count once");
            }
            let _ = names.insert(key.clone());
            self.copies.push(input.file.as_copy_of(copy_of));
            self.doubled.push(input.file.clone());
        }
        self.files
            .retain(|input| !names.contains(&input.file.object.key));
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
            compacted: self.run.origin == Origin::Tree(TreeFiles::Compacted),
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

/// The files that `build` names.
fn chosen<'a>(look: &'a Look, build: &'a Build) -> impl Iterator<Item = &'a FeedingFile> {
    let found = build.files.iter().map(|index| look.feeding.get(*index));
    found.flatten()
}

/// The step between proof and publishing: rows without a permitted day are kept.
fn before_visible(
    places: &Places,
    partition: &Partition,
    files: &[InputFile],
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

/// Of files with the same rows one is read, perhaps another one than that which the receipt names:
/// the others are its copies.
fn record_under_new_names(
    copies: &mut BTreeMap<String, FileCopy>,
    look: &Look,
    build: &Build,
    chosen: &[&FeedingFile],
) {
    let read = chosen
        .iter()
        .filter_map(|one| Some((one.mark.known()?, one.mark.file.object.key.as_str())));
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
    for FeedingFile { mark, .. } in &look.feeding {
        if let Some(name) = mark.known().and_then(|content| read.get(&content)) {
            let _ = copies.insert(mark.file.object.key.clone(), mark.file.as_copy_of(name));
        }
    }
}
