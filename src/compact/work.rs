//! One partition from its files to its meta: look, decide, run, prove, publish.
//!
//! Every step either leaves the archive as it was or as it shall be. Refuses to publish a day without a file that could
//! have been read, and to be stopped by a file that could not.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    decide::{Archived, Decision, Feeding, SpoolFile, decide, identity},
    footers::Footers,
    keep::{self, Places},
    prepare::{BaseData, Prepared, Probed, accounting_day, feeding, prepare, probe_all, unfit},
    report::Watch,
    survey::{self, Stands},
};
use crate::{
    engine::{
        budget::Budget,
        job::{Job, Ledger, Tally},
        run::{Attempt, Setting, run},
        sink::Draft,
    },
    error::{Error, Kind, Result},
    file::{
        ahead::Ahead, claims::Claims, examine::examine, fault::Problem, probe::probe, reader::Handle, salvage::salvage,
    },
    model::{
        date::Date,
        layout,
        partition::Partition,
        quarantine::{Entry, Extent, Fault},
        receipt::{Base, LeftOut, Receipt},
        schema,
    },
    storage::{Expect, atomic, conditions},
};

/// How many races for one partition are lost before it is left to the others.
const RACES: u32 = 8;

/// What every partition of a run shares.
#[derive(Clone)]
pub struct Run {
    /// Spool, archive, staging and the time.
    pub places: Places,
    /// Today in UTC, as the run understands it.
    pub today: Date,
    /// Whether to compact what is up to date, and today.
    pub force: bool,
    /// Whether to take in the good row groups of a file of which some do not read.
    pub salvage: bool,
    /// The memory of one partition.
    pub budget: Budget,
    /// Where runs are spilled.
    pub scratch: PathBuf,
    /// Columns that are encoded at a time.
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
}

/// What is known of a partition before anything is done.
#[derive(Debug)]
pub struct Look {
    /// What is to be done.
    pub decision: Decision,
    /// The files that feed the partition, with their claims where they can be used.
    pub feeding: Vec<(Feeding, std::result::Result<Claims, Fault>)>,
    /// What the quarantine has of the candidates.
    pub entries: Vec<Entry>,
    /// The versions of what the archive holds.
    pub stands: Stands,
}

/// What was made of a partition.
#[derive(Debug)]
pub enum Made {
    /// Nothing, because.
    Nothing(String),
    /// The meta of an interrupted publish.
    Completed(Receipt),
    /// A new partition.
    Published {
        /// Its receipt.
        receipt: Receipt,
        /// Why it was made.
        reason: String,
        /// Bytes of the files that were read.
        bytes_in: u64,
    },
    /// Another process holds the partition.
    LostRace(String),
}

/// What was made of a partition, and what went to QUARANTINE on the way.
#[derive(Debug)]
pub struct Done {
    /// What was made.
    pub made: Made,
    /// Entries of this run.
    pub quarantined: Vec<Entry>,
}

/// Looks at a partition whose candidate files are `files`.
///
/// # Errors
/// When spool or archive do not answer.
pub async fn look(run: &Run, partition: &Partition, files: &[SpoolFile]) -> Result<Look> {
    let (archived, stands) = survey::archived(&run.places.archive, partition).await?;
    let said = survey::neighbours(&run.places.archive, partition).await?;
    let mut candidates = survey::candidates(files, partition);
    // A file that a neighbour's receipt accounts for to the last row, none of them here, need not be opened.
    candidates.retain(|file| !said.elsewhere.contains(&identity(file)));
    let entries = survey::quarantined(&run.places.archive, partition, &candidates).await?;
    let receipt = match &archived {
        Archived::Published(receipt) => Some(receipt.as_ref()),
        _ => None,
    };
    let marked = feeding(&run.places.spool, candidates, receipt, &entries).await?;
    // What is known feeds as its receipt says; what is in QUARANTINE is counted at its own day; the rest is looked into.
    let (held, open): (Vec<Feeding>, Vec<Feeding>) = marked.into_iter().partition(|f| f.quarantined);
    let rows_kept = |file: &SpoolFile| {
        let same = |e: &&Entry| e.source_path == file.object.key && e.size == file.object.size;
        let rows = |e: &Entry| e.extent() == Extent::Rows && e.modified_us == file.object.modified_us;
        entries.iter().filter(same).any(rows)
    };
    let files: Vec<SpoolFile> = open.iter().map(|f| f.file.clone()).collect();
    let is_sent = |file: &SpoolFile| said.here.contains(&(file.object.key.clone(), file.object.size));
    let partly = open.iter().filter(|f| !f.lost.is_empty());
    let partly: BTreeMap<&str, &Vec<usize>> = partly.map(|f| (f.file.object.key.as_str(), &f.lost)).collect();
    let lost = |file: &SpoolFile| partly.get(file.object.key.as_str()).copied().cloned().unwrap_or_default();
    let probed = probe_all(&run.places.spool, &run.footers, partition, files, &rows_kept, &is_sent, &lost).await?;
    let mut feeding = Vec::new();
    for (mark, Probed { claims, feeds, .. }) in open.into_iter().zip(probed) {
        if feeds || mark.known.is_some() {
            feeding.push((mark, claims));
        }
    }
    for mark in held.into_iter().filter(|f| accounting_day(&f.file, None) == Some(partition.date)) {
        let entry = entries.iter().find(|e| super::decide::is_entry_of(e, &mark.file));
        let fault = entry.map_or_else(
            || Fault::new(crate::model::quarantine::ErrorType::FooterCorrupt, "in QUARANTINE"),
            |e| Fault::new(e.error_type, e.message.clone()),
        );
        feeding.push((mark, Err(fault)));
    }
    let marks: Vec<Feeding> = feeding.iter().map(|(mark, _)| mark.clone()).collect();
    let decision = decide(partition, run.today, &marks, &archived, run.force);
    Ok(Look { decision, feeding, entries, stands })
}

/// Does with a partition what is to be done.
///
/// # Errors
/// When it could not be done; the archive is as it was, or will be recognised and completed by the next run.
pub async fn work(run: &Run, partition: &Partition, files: &[SpoolFile]) -> Result<Done> {
    let dir = layout::partition_dir(partition);
    let is_folder = run.places.archive.local_folder().is_some();
    let swept = atomic::sweep(&run.places.archive, &dir)
        + atomic::sweep(&run.places.archive, &layout::receipts_dir(partition))
        + atomic::sweep(&run.places.archive, &layout::quarantine_dir(partition));
    if swept > 0 {
        tracing::info!(%partition, swept, "removed what an interrupted run had left");
    }
    let nothing = |made| Ok(Done { made, quarantined: Vec::new() });
    let held = if is_folder {
        match look(run, partition, files).await?.decision {
            Decision::Nothing(why) => return nothing(Made::Nothing(why)),
            Decision::Fail(why) => return Err(Error::new(Kind::Damage, format!("{partition}: {why}"))),
            Decision::Complete(_) | Decision::Build { .. } => {}
        }
        match atomic::lock(&run.places.archive, &dir)? {
            None => return nothing(Made::LostRace("another qlc is at work on this partition".to_owned())),
            held => held,
        }
    } else {
        None
    };
    // Under the lock of a folder nothing changes any more but by what is done here. On a bucket the conditions of the
    // writes find out, and the decision is made again on what stands there then.
    let mut completed: Option<Receipt> = None;
    let mut quarantined = Vec::new();
    let mut lost = 0;
    let made = loop {
        if lost > RACES {
            break Made::LostRace(
                "others kept publishing this partition; the next run adds what is missing".to_owned(),
            );
        }
        let seen = look(run, partition, files).await?;
        if let Decision::Complete(_) | Decision::Build { .. } = &seen.decision {
            probe_once(run).await?;
        }
        match &seen.decision {
            Decision::Nothing(why) if lost > 0 => {
                break Made::LostRace(format!("another process published it first; {why}"));
            }
            Decision::Nothing(why) => break completed.map_or_else(|| Made::Nothing(why.clone()), Made::Completed),
            Decision::Fail(why) => return Err(Error::new(Kind::Damage, format!("{partition}: {why}"))),
            Decision::Complete(receipt) => {
                match publish_meta(run, partition, receipt, &seen.stands.meta, None).await {
                    Ok(()) => completed = Some(receipt.as_ref().clone()),
                    Err(error) if error.kind() == Kind::LostRace => lost += 1,
                    Err(error) => return Err(error),
                }
                // Files may have come since: look again.
            }
            Decision::Build { files, base, reason } => {
                let mut build = match Build::begin(run, partition, &seen, files, base.as_deref()).await {
                    Ok(build) => build,
                    Err(error) if error.kind() == Kind::LostRace => {
                        lost += 1;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let made = if build.restart { Ok(None) } else { build.until_done(reason).await };
                quarantined.append(&mut build.quarantined);
                match made {
                    Ok(Some(made)) => break made,
                    Ok(None) => {}
                    Err(error) if error.kind() == Kind::LostRace => {
                        lost += 1;
                        tracing::info!(%partition, why = %error.chain(), "lost a race; looking again");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    };
    drop(held);
    Ok(Done { made, quarantined })
}

/// Finds out, once in a run and before its first write, whether the archive's conditional writes can be relied on.
async fn probe_once(run: &Run) -> Result<()> {
    let _: &() = run.probed.get_or_try_init(|| conditions::probe(&run.places.archive)).await?;
    Ok(())
}

/// Writes the meta of data whose receipt stands: the step that makes the partition exist. `mine` is the version of the
/// data that this run wrote; while it stands, nobody else's meta is right.
async fn publish_meta(
    run: &Run,
    partition: &Partition,
    receipt: &Receipt,
    expect: &Expect,
    mine: Option<&str>,
) -> Result<()> {
    let (archive, key) = (&run.places.archive, layout::meta_key(partition));
    let json = receipt.meta().to_json()?;
    let mut expect = expect.clone();
    let mut rounds = 0;
    loop {
        rounds += 1;
        let lost = match atomic::write_bytes(archive, &key, &run.places.staging, &expect, json.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == Kind::LostRace => error,
            Err(error) => return Err(error),
        };
        let stands = archive.read_version(&key).await?;
        if stands.as_ref().is_some_and(|(bytes, _)| bytes.as_ref() == json.as_slice()) {
            // Someone who found the data with its receipt has completed the publish for us.
            return Ok(());
        }
        let data = archive.head(&layout::data_key(partition)).await?.and_then(|object| object.tag);
        if mine.is_none() || data.as_deref() != mine || rounds > RACES {
            return Err(lost);
        }
        expect = stands.map_or(Expect::Absent, |(_, tag)| tag.map_or(Expect::Anything, Expect::Version));
    }
}

/// The attempts at one partition.
pub struct Build<'a> {
    run: &'a Run,
    partition: &'a Partition,
    /// Files that can still be used.
    files: Vec<(SpoolFile, Claims)>,
    base: Option<BaseData>,
    left_out: Vec<LeftOut>,
    quarantined: Vec<Entry>,
    /// Files whose rows are in the archive already. When one of them turns out bad, its archived rows must stay: the
    /// decision is made again, with the file in QUARANTINE and the archived data as the base.
    known: BTreeSet<String>,
    restart: bool,
    /// How often the merge was made narrower because memory ran out.
    squeezed: u32,
    /// What the publish may replace.
    stands: Stands,
}

impl<'a> Build<'a> {
    /// Takes the files that `chosen` names; those that cannot be used are quarantined.
    async fn begin(
        run: &'a Run,
        partition: &'a Partition,
        look: &Look,
        chosen: &[usize],
        base: Option<&Receipt>,
    ) -> Result<Self> {
        let mut build = Self::plan(run, partition, look, chosen, base).await?;
        for (file, fault) in Self::unusable(look, chosen) {
            if build.salvage(&file).await? {
                continue;
            }
            build.quarantine(&file, &fault).await?;
        }
        build.drop_unfit().await?;
        Ok(build)
    }

    /// The same without touching anything: files that cannot be used are left in place.
    async fn plan(
        run: &'a Run,
        partition: &'a Partition,
        look: &Look,
        chosen: &[usize],
        base: Option<&Receipt>,
    ) -> Result<Self> {
        let chosen = chosen.iter().filter_map(|i| look.feeding.get(*i));
        let files =
            chosen.filter_map(|(mark, claims)| Some((mark.file.clone(), claims.as_ref().ok()?.clone()))).collect();
        let left_out = look.feeding.iter().filter(|(mark, _)| mark.quarantined).filter_map(|(mark, _)| {
            look.entries.iter().find(|e| super::decide::is_entry_of(e, &mark.file)).map(left_out)
        });
        let base = match base {
            Some(receipt) => match base_data(run, partition, receipt).await {
                Ok(base) => Some(base),
                Err(error) => {
                    overtaken(run, partition, &look.stands).await?;
                    return Err(error);
                }
            },
            None => None,
        };
        let known =
            look.feeding.iter().filter(|(mark, _)| mark.known.is_some()).map(|(mark, _)| mark.file.object.key.clone());
        Ok(Self {
            run,
            partition,
            files,
            base,
            left_out: left_out.collect(),
            quarantined: Vec::new(),
            known: known.collect(),
            restart: false,
            squeezed: 0,
            stands: look.stands.clone(),
        })
    }

    fn unusable(look: &Look, chosen: &[usize]) -> Vec<(SpoolFile, Fault)> {
        let chosen = chosen.iter().filter_map(|i| look.feeding.get(*i));
        chosen.filter_map(|(mark, claims)| Some((mark.file.clone(), claims.as_ref().err()?.clone()))).collect()
    }

    async fn quarantine(&mut self, file: &SpoolFile, fault: &Fault) -> Result<()> {
        let entry = keep::file(&self.run.places, self.partition, file, fault).await?;
        self.restart |= self.known.contains(&file.object.key);
        self.left_out.push(left_out(&entry));
        self.quarantined.push(entry);
        Ok(())
    }

    /// Goes on without the row groups of `file` that do not read, where that was asked for and leaves some; whether it did.
    async fn salvage(&mut self, file: &SpoolFile) -> Result<bool> {
        // Rows of a file that was compacted whole are in the archive: they must not be exchanged for a part of them.
        if !self.run.salvage || self.known.contains(&file.object.key) {
            return Ok(false);
        }
        let Some(salvage) = salvage(&Handle::new(&self.run.places.spool, &file.object)).await? else {
            return Ok(false);
        };
        self.quarantined.extend(keep::salvaged(&self.run.places, self.partition, file, &salvage).await?);
        self.files.retain(|(f, _)| f.object.key != file.object.key);
        self.files.push((file.clone(), salvage.claims));
        self.files.sort_by(|(a, _), (b, _)| a.object.key.cmp(&b.object.key));
        Ok(true)
    }

    /// Files whose schema does not fit that of the partition; the schema is voted on by all that are left.
    fn misfits(&self) -> Vec<(SpoolFile, Fault)> {
        let files = self.files.iter().map(|(_, c)| (c.schema.as_ref(), c.rows));
        let votes = files.chain(self.base.iter().map(|b| (b.claims.schema.as_ref(), u64::MAX / 2)));
        let schema = schema::of_partition(&self.partition.series.stream, votes);
        self.files.iter().filter_map(|(f, c)| Some((f.clone(), unfit(c, self.partition, &schema)?))).collect()
    }

    async fn drop_unfit(&mut self) -> Result<()> {
        for (file, fault) in self.misfits() {
            self.quarantine(&file, &fault).await?;
            self.files.retain(|(f, _)| f != &file);
        }
        Ok(())
    }

    fn prepared(&self) -> Result<Prepared> {
        let places = &self.run.places;
        let budget = self.run.budget.squeezed(self.squeezed);
        prepare(&places.spool, &places.archive, self.partition, &self.files, self.base.as_ref(), &budget)
    }

    /// Attempts until the partition is made; `None` when the decision must be made again.
    async fn until_done(&mut self, reason: &str) -> Result<Option<Made>> {
        let none = || Ok(Some(Made::Nothing("none of the readable files holds rows of this day".to_owned())));
        let mut proven = false;
        loop {
            if self.files.is_empty() && self.base.is_some() {
                return Ok(Some(Made::Nothing("none of the new files can be used".to_owned())));
            }
            let prepared = self.prepared()?;
            if prepared.rows() == 0 {
                return none();
            }
            let bytes_in = prepared.sources.iter().map(|s| s.handle.size()).sum();
            self.run.watch.partition_begins(self.partition, prepared.rows(), bytes_in);
            let problems = match self.attempt(prepared, false).await {
                Ok(Attempt::Written(written)) => {
                    let receipt = written.verified();
                    publish_meta(self.run, self.partition, receipt, &self.stands.meta, written.tag()).await?;
                    let (receipt, reason) = (receipt.clone(), reason.to_owned());
                    return Ok(Some(Made::Published { receipt, reason, bytes_in }));
                }
                Ok(Attempt::NoRows) => return none(),
                // Its receipt stays: another may be about to write the same bytes, and count on it.
                Ok(Attempt::LostRace) => {
                    return Err(Error::new(
                        Kind::LostRace,
                        format!("{}: another process wrote its data", self.partition),
                    ));
                }
                Ok(Attempt::Digest(_)) => return Err(Error::new(Kind::Internal, "a digest was not asked for")),
                Ok(Attempt::Problems(problems)) => problems,
                Err(error) if error.kind() == Kind::Resources && self.squeezed < 3 => {
                    // Footers do not tell how large rows are in memory: a narrower merge needs less.
                    self.squeezed += 1;
                    tracing::info!(partition = %self.partition, error = %error.chain(), "once more with a narrower merge");
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.learn(problems, proven).await?;
            if self.restart {
                return Ok(None);
            }
            proven = true;
        }
    }

    /// Makes the next attempt different from this one: bad files go to QUARANTINE, and no footer is believed any more.
    async fn learn(&mut self, problems: Vec<(usize, Problem)>, proven: bool) -> Result<()> {
        let mut bad: Vec<(SpoolFile, Fault)> = Vec::new();
        let all_heavy = problems.iter().all(|(_, p)| matches!(p, Problem::TooLarge));
        for (index, problem) in problems {
            let Some((file, claims)) = self.files.get_mut(index) else {
                overtaken(self.run, self.partition, &self.stands).await?;
                return Err(match problem {
                    Problem::Storage(error) => error,
                    other => Error::new(
                        Kind::Damage,
                        format!("{}: the archived data cannot be read ({other}); see qlc verify", self.partition),
                    ),
                });
            };
            match problem {
                Problem::Storage(error) => return Err(error),
                Problem::Bad(fault) => bad.push((file.clone(), fault)),
                Problem::TooLarge => claims.heavy = true,
                Problem::FalseClaim(what) if proven && claims.proven => {
                    return Err(Error::new(
                        Kind::Io,
                        format!("{}: {what}, although it was just read: it changes while it is read", file.object.key),
                    ));
                }
                Problem::FalseClaim(what) => {
                    tracing::warn!(file = %file.object.key, %what, "a footer claims what the rows do not keep; all files are read for facts");
                }
            }
        }
        if all_heavy {
            return Ok(());
        }
        let bad_keys: BTreeSet<String> = bad.iter().map(|(f, _)| f.object.key.clone()).collect();
        for (file, claims) in &mut self.files {
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
        for (file, fault) in bad {
            if self.salvage(&file).await? {
                continue;
            }
            self.quarantine(&file, &fault).await?;
            self.files.retain(|(f, _)| f.object.key != file.object.key);
        }
        self.drop_unfit().await
    }

    async fn attempt(&mut self, prepared: Prepared, dry: bool) -> Result<Attempt> {
        let plan = prepared.lines();
        let watch = Arc::clone(&self.run.watch);
        let stop = self.run.stop.clone();
        let job = Arc::new(Job {
            partition: self.partition.clone(),
            shape: prepared.shape,
            to_ns: prepared.to_ns,
            numbers: prepared.numbers,
            first_number: prepared.first_number,
            batch_rows: prepared.batch_rows,
            eager: prepared.eager,
            sort_in_memory: self.run.budget.squeezed(self.squeezed).sort_in_memory,
            ahead: self.run.places.spool.local_folder().is_none().then(|| Ahead::within(self.run.budget.ahead)),
            on_progress: Arc::new(move |rows, bytes| watch.progress(rows, bytes)),
            stop: Arc::new(move || stop.asked()),
            ledger: Ledger::default(),
            sources: prepared.sources,
        });
        for (index, source) in job.sources.iter().enumerate() {
            if source.claims.rows == 0 {
                job.ledger.bill(index, Tally::default());
            }
        }
        let draft = Draft {
            created_at: self.run.places.time.clone(),
            plan,
            base: self.base.as_ref().map(|b| Base {
                sha256: b.receipt.outcome.sha256.clone(),
                rows: b.receipt.outcome.rows,
                row_hash: b.receipt.outcome.row_hash,
            }),
            base_sources: self.base.as_ref().map(base_sources).unwrap_or_default(),
            left_out: self.left_out.clone(),
            seq: prepared.seq,
        };
        let kept: Arc<Mutex<Vec<Entry>>> = Arc::default();
        let setting = Setting {
            archive: self.run.places.archive.clone(),
            scratch: self.run.scratch.clone(),
            expect: self.stands.data.clone(),
            budget: self.run.budget.squeezed(self.squeezed),
            cores: self.run.cores,
            zstd_level: self.run.zstd_level,
            before_visible: before_visible(&self.run.places, self.partition, &self.files, &kept),
            dry,
        };
        let attempt = run(&job, &prepared.layouts, draft, setting).await;
        self.quarantined.append(&mut kept.lock().unwrap_or_else(PoisonError::into_inner));
        attempt
    }
}

/// The step between proof and publishing: rows without a permitted day are kept.
fn before_visible(
    places: &Places,
    partition: &Partition,
    files: &[(SpoolFile, Claims)],
    kept: &Arc<Mutex<Vec<Entry>>>,
) -> crate::engine::sink::BeforeVisible {
    let (places, partition, kept) = (places.clone(), partition.clone(), Arc::clone(kept));
    let files = Arc::new(files.to_vec());
    Arc::new(move |tallies| {
        let (places, partition, kept, files) =
            (places.clone(), partition.clone(), Arc::clone(&kept), Arc::clone(&files));
        Box::pin(async move {
            let entries = keep::all_rows(&places, &partition, &files, &tallies).await?;
            kept.lock().unwrap_or_else(PoisonError::into_inner).extend(entries);
            Ok(())
        })
    })
}

fn base_sources(base: &BaseData) -> Vec<crate::model::receipt::Source> {
    let by_base = |s: &crate::model::receipt::Source| crate::model::receipt::Source { by_base: true, ..s.clone() };
    base.receipt.sources.iter().map(by_base).collect()
}

/// Fails as a lost race when the archived data is not what it was when it was looked at: then nothing is wrong with it,
/// another process has published meanwhile.
async fn overtaken(run: &Run, partition: &Partition, stands: &Stands) -> Result<()> {
    let now = survey::versions(&run.places.archive, partition).await?;
    if now.data == stands.data {
        return Ok(());
    }
    Err(Error::new(Kind::LostRace, format!("{partition}: another process published while its archived data was read")))
}

async fn base_data(run: &Run, partition: &Partition, receipt: &Receipt) -> Result<BaseData> {
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
                "{}: is not what its receipt vouches for; restore it before new files are added",
                archive.show(&key)
            ),
        ));
    }
    let claims = probe(&Handle::new(archive, &object)).await.map_err(|problem| match problem {
        Problem::Storage(error) => error,
        other => Error::new(Kind::Damage, format!("{}: {other}", archive.show(&key))),
    })?;
    Ok(BaseData { object, claims, receipt: Box::new(receipt.clone()) })
}

fn left_out(entry: &Entry) -> LeftOut {
    LeftOut {
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
    /// Files that cannot be used.
    pub unusable: usize,
}

/// The plan of a build, without doing any of it.
///
/// # Errors
/// When the archived data cannot be read.
pub async fn foresee(
    run: &Run,
    partition: &Partition,
    look: &Look,
    chosen: &[usize],
    base: Option<&Receipt>,
) -> Result<Foreseen> {
    let mut build = Build::plan(run, partition, look, chosen, base).await?;
    let misfits = build.misfits();
    let unusable = Build::unusable(look, chosen).len() + misfits.len();
    build.files.retain(|(f, _)| !misfits.iter().any(|(m, _)| m == f));
    Ok(Foreseen { prepared: build.prepared()?, unusable })
}

/// The digest that a partition made from these files of the spool would have.
///
/// # Errors
/// When it cannot be made.
pub async fn digest(run: &Run, partition: &Partition, look: &Look, chosen: &[usize]) -> Result<Option<String>> {
    let mut build = Build::plan(run, partition, look, chosen, None).await?;
    let misfits = build.misfits();
    build.files.retain(|(f, _)| !misfits.iter().any(|(m, _)| m == f));
    for distrust in [false, true] {
        if distrust {
            for (file, claims) in &mut build.files {
                if let Ok(found) = examine(&Handle::new(&run.places.spool, &file.object), claims).await {
                    *claims = found.claims;
                }
            }
        }
        match build.attempt(build.prepared()?, true).await? {
            Attempt::Digest(sha256) => return Ok(Some(sha256)),
            Attempt::Problems(_) => {}
            Attempt::Written(_) | Attempt::NoRows | Attempt::LostRace => return Ok(None),
        }
    }
    Ok(None)
}
