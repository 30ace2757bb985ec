//! The sink: `INSERT INTO archive`. It stages the file, reads it back, checks it against the
//! ledger, makes the receipt durable and then the data visible, and publishes the partition with
//! its mark and `meta.json`.
//!
//! Its state is plain data besides the job it belongs to. Nothing becomes visible that the proof
//! does not cover.

use std::{
    collections::BTreeMap,
    fmt,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{DataFusionError, Result as DfResult},
    datasource::sink::{DataSink, DataSinkExec},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableType, dml::InsertOp},
    physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan},
};
use futures::{TryStreamExt, future::BoxFuture};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{order::ordering, ties::bytes_of};
use crate::{
    archive::{
        commit,
        partition::{PartitionHandle, Versions},
    },
    error::{Error, Kind, Result},
    file::{
        encode::{Beside, ENCODING, Encoded, Manner, encode},
        fault::Problem,
        readback::{FollowedFile, Follower},
        tally::Hashes,
    },
    job::{
        Job, JobSource, Merged, Role, SourceTally,
        attempt::{Attempt, FoundCopy, Purpose},
    },
    model::{
        layout,
        receipt::{
            Base, CollectorRecord, Content, DataRecord, FileCopy, LeftOutFile, LostSource, Merge,
            OF_SEVERAL, RECEIPT_VERSION, Receipt, SeqOrigin, Source, UnitsHash,
        },
        row_hash::RowHash,
        time::Unit,
    },
    storage::{
        Expect,
        atomic::{self, Steps},
        store::Store,
    },
};

/// Batches that wait to be encoded, at most.
const BATCHES_AHEAD: usize = 4;
/// Bytes of their rows, at most, or one batch.
const BYTES_AHEAD: u32 = 8 << 20;

/// What the receipt says besides what the rows will tell.
#[derive(Debug, Clone)]
pub struct Draft {
    /// When the run made it, RFC 3339 in UTC.
    pub created_at: String,
    /// The task of a cluster that makes it, where one does.
    pub task: Option<String>,
    /// The plan, one line per step.
    pub plan: Vec<String>,
    /// Archived data that is read with the new files.
    pub base: Option<Base>,
    /// The sources of that data.
    pub base_sources: Vec<Source>,
    /// Files left out.
    pub left_out: Vec<LeftOutFile>,
    /// Files that hold the same rows as a source.
    pub copies: Vec<FileCopy>,
    /// Which generation this will be.
    pub generation: u64,
    /// The generation that it replaces: every row of it must be there again.
    pub replaces: Option<Receipt>,
    /// What an operator accepted as lost.
    pub accepted_loss: Vec<LostSource>,
    /// Where `seq` comes from.
    pub seq: SeqOrigin,
    /// Whether the files of the spool are days that another program compacted.
    pub compacted: bool,
}

/// Called with the bills of all sources when the proof holds and before anything is visible.
pub type OnProven = Arc<dyn Fn(Vec<SourceTally>) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// The sink of one partition.
#[derive(Clone)]
pub struct ArchiveSink {
    /// The work it ends.
    pub job: Arc<Job>,
    /// Where the partition goes.
    pub archive: Store,
    /// Where a bucket's object is put together.
    pub staging: PathBuf,
    /// What the receipt says.
    pub draft: Draft,
    /// What data and `meta.json` may replace.
    pub versions: Versions,
    /// How many columns or row groups are worked on at a time: the cores.
    pub cores: usize,
    /// The level of zstd, where it is not the default.
    pub zstd_level: Option<i32>,
    /// Runs before anything is visible.
    pub before_visible: OnProven,
    /// What came of it.
    pub result: Arc<Mutex<Option<Result<Attempt>>>>,
    /// What the attempt is for: the rebuild of `qlc verify` only wants the digest.
    pub purpose: Purpose,
}

/// A receipt whose file was read back.
#[derive(Clone)]
struct Proven {
    receipt: Receipt,
    /// What it may replace.
    expect: Expect,
}

impl fmt::Debug for ArchiveSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveSink")
            .field("partition", &self.job.partition)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for ArchiveSink {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "archive {}", layout::data_key(&self.job.partition))
    }
}

#[async_trait]
impl DataSink for ArchiveSink {
    #[expect(
        clippy::misnamed_getters,
        reason = "the rows that reach the sink have the carried columns only"
    )]
    fn schema(&self) -> &SchemaRef {
        &self.job.shape.carried
    }

    async fn write_all(
        &self,
        data: SendableRecordBatchStream,
        _: &Arc<TaskContext>,
    ) -> DfResult<u64> {
        let written = self.write(data).await;
        let rows = written
            .as_ref()
            .map(|attempt| match attempt {
                Attempt::Published(published) => published.receipt().outcome.rows,
                _ => 0,
            })
            .map_err(|e| DataFusionError::External(e.chain().into()));
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(written);
        rows
    }
}

/// The archive as a table that can be inserted into, one partition of it.
#[derive(Debug)]
pub struct ArchiveTable(pub ArchiveSink);

#[async_trait]
impl TableProvider for ArchiveTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.job.shape.carried)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::Plan(
            "a partition under way can only be inserted into".to_owned(),
        ))
    }

    async fn insert_into(
        &self,
        _: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        _: InsertOp,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let order = ordering(&self.0.job.shape)?;
        Ok(Arc::new(DataSinkExec::new(
            input,
            Arc::new(self.0.clone()),
            Some(order.into()),
        )))
    }
}

/// Whether a receipt says nothing that the one of the standing generation does not say: the same
/// bytes, of the same sources.
fn is_the_same(receipt: &Receipt, standing: &Receipt) -> bool {
    let known = standing.known();
    receipt.outcome.sha256 == standing.outcome.sha256
        && receipt
            .sources
            .iter()
            .all(|source| known.has(source.collector(), source.content()))
        && receipt.copies == standing.copies
        && receipt.accepted_loss.is_empty()
}

/// The rows of a source, those included that could not be read.
fn source_rows(source: &JobSource, tally: &SourceTally) -> u64 {
    tally.rows + source.claims.lost.as_ref().map_or(0, |lost| lost.rows)
}

/// The bills of all sources.
fn tallies(job: &Job) -> Result<Vec<SourceTally>> {
    job.ledger.complete(job.sources.len()).ok_or_else(|| {
        Error::new(
            Kind::Proof,
            format!(
                "{}: not every source was read exactly once; nothing was published",
                job.partition
            ),
        )
    })
}

/// What the merge of several collectors came to, where there are several.
fn merged(job: &Job) -> Result<Option<Merged>> {
    let merged = job.ledger.merged();
    if merged.is_some() == job.merging.is_some() {
        return Ok(merged);
    }
    let what = "the rows of several collectors were not merged to their end; nothing was published";
    Err(Error::new(
        Kind::Proof,
        format!("{}: {what}", job.partition),
    ))
}

impl ArchiveSink {
    fn handle(&self) -> PartitionHandle {
        PartitionHandle::new(&self.archive, &self.job.partition)
    }

    fn brought_to(&self) -> Option<Unit> {
        self.job.to_ns.then_some(Unit::Nano)
    }

    async fn write(&self, data: SendableRecordBatchStream) -> Result<Attempt> {
        let key = self.handle().data_key();
        let staged: Arc<Mutex<Option<(Encoded, Follower)>>> = Arc::default();
        let noted = Arc::clone(&staged);
        let steps = Steps {
            write: Box::new(move |path| {
                Box::pin(async move {
                    let done = self.stage(data, &path).await?;
                    *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
                    Ok(())
                })
            }),
            verify: Box::new(move |_| {
                Box::pin(async move {
                    let staged = staged.lock().unwrap_or_else(PoisonError::into_inner).take();
                    let (encoded, follower) =
                        staged.ok_or_else(|| Error::new(Kind::Internal, "nothing was encoded"))?;
                    self.prove(encoded, follower).await
                })
            }),
            before_visible: Box::new(move |proven: &Proven| {
                let Proven { receipt, expect } = proven.clone();
                Box::pin(async move {
                    (self.before_visible)(self.tallies()?).await?;
                    commit::vouch(&self.handle(), &self.staging, &receipt, &expect).await
                })
            }),
        };
        let written = atomic::write_unless(
            &self.archive,
            &key,
            &self.staging,
            &self.versions.data,
            steps,
        )
        .await?;
        let written = match written {
            ControlFlow::Continue(written) => written,
            ControlFlow::Break(attempt) => return Ok(attempt),
        };
        let (receipt, meta) = (&written.verified().receipt, &self.versions.meta);
        let published =
            commit::publish(&self.handle(), &self.staging, receipt, meta, written.tag()).await?;
        Ok(Attempt::Published(Box::new(published)))
    }

    /// Encodes the rows into the file at `path` and reads it back on the way.
    async fn stage(
        &self,
        data: SendableRecordBatchStream,
        path: &Path,
    ) -> Result<(Encoded, Follower)> {
        // Decoding goes on in its own task while columns are encoded in others, and is ahead of
        // them by some batches that are not large together.
        let (send, receive) = tokio::sync::mpsc::channel(BATCHES_AHEAD);
        let room = Arc::new(Semaphore::new(BYTES_AHEAD as usize));
        let reading = tokio::spawn(async move {
            let mut data =
                data.map_err(|e| Error::caused(Kind::Internal, "the merge ended early", e));
            loop {
                let item = data.try_next().await.transpose();
                let Some(item) = item else { return };
                let last = item.is_err();
                let bytes = item.as_ref().map_or(0, |batch| {
                    u32::try_from(bytes_of(batch)).unwrap_or(u32::MAX)
                });
                let held = Arc::clone(&room)
                    .acquire_many_owned(bytes.min(BYTES_AHEAD))
                    .await;
                if send.send((item, held)).await.is_err() || last {
                    return;
                }
            }
        });
        let rows = futures::stream::unfold(receive, |mut r| async move {
            let (item, held) = r.recv().await?;
            drop(held);
            Some((item, r))
        });
        let hashes = if self.job.numbers {
            Hashes::AndWithoutSeq
        } else {
            Hashes::Whole
        };
        let mut follower = Follower::of(path, &self.job.partition, hashes)?;
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        // A set, so that the task ends with this one.
        let mut following = JoinSet::new();
        let _ = following.spawn(async move {
            while let Some(appended) = told.recv().await {
                follower.take(appended).await?;
            }
            Ok::<_, Problem>(follower)
        });
        // Rows that keep their numbers have the row hash that their sources were billed for; that
        // the file has it too is proven when it is read back.
        let job = Arc::clone(&self.job);
        let billed = move || {
            let copies = merged(&job)?.map_or(RowHash::EMPTY, |merged| merged.copies_hash);
            Ok(tallies(&job)?
                .iter()
                .map(|t| t.here_hash)
                .sum::<RowHash>()
                .without(copies))
        };
        let beside = Beside {
            row_hash: (!self.job.numbers).then_some(Box::new(billed)),
            appended: Box::new(move |appended| {
                // Whoever follows no more has failed, and is asked for it below.
                let _ = tell.send(appended);
            }),
        };
        let shape = Arc::new(self.job.shape.clone());
        let manner = Manner {
            brought_to: self.brought_to(),
            zstd_level: self.zstd_level,
            encoding: self.encoding(),
            cores: self.cores,
        };
        let done = encode(Box::pin(rows), &shape, manner, beside, path).await;
        reading
            .await
            .map_err(|lost| Error::lost_task("the merge", lost))?;
        let encoded = done?;
        let followed = following.join_next().await.transpose();
        let followed = followed.map_err(|lost| Error::lost_task("the reading back", lost))?;
        let followed =
            followed.ok_or_else(|| Error::new(Kind::Internal, "nobody read the file back"))?;
        Ok((
            encoded,
            followed.map_err(|problem| self.unreadable(problem))?,
        ))
    }

    fn unreadable(&self, problem: Problem) -> Error {
        match problem {
            Problem::Storage(error) => error,
            other => Error::new(
                Kind::Proof,
                format!(
                    "{}: the staged file does not read back ({other}); nothing was published, check the disk",
                    self.job.partition
                ),
            ),
        }
    }

    fn tallies(&self) -> Result<Vec<SourceTally>> {
        tallies(&self.job)
    }

    /// Reads the rest of the staged file back and holds all of it against the bills. Breaks off
    /// where the file is not to be published, though nothing is wrong with it.
    async fn prove(
        &self,
        encoded: Encoded,
        follower: Follower,
    ) -> Result<ControlFlow<Attempt, Proven>> {
        let partition = &self.job.partition;
        let followed = follower
            .finish(encoded.sum)
            .await
            .map_err(|problem| self.unreadable(problem))?;
        let FollowedFile {
            back,
            sha256,
            bytes,
        } = followed;

        let tallies = self.tallies()?;
        if back.rows == 0 && encoded.rows == 0 && tallies.iter().all(|t| t.here == 0) {
            // What is left of the files still has to go somewhere.
            if self.purpose == Purpose::Publish {
                (self.before_visible)(tallies).await?;
            }
            return Ok(ControlFlow::Break(Attempt::NoRows));
        }
        let wrong = |what: String| {
            Err(Error::new(
                Kind::Proof,
                format!("{partition}: {what}; nothing was published"),
            ))
        };
        let same_files = self.copies(&tallies);
        if !same_files.is_empty() {
            return Ok(ControlFlow::Break(Attempt::Copies(same_files)));
        }
        if let Some(finding) = back.findings.first() {
            return wrong(format!("the staged file is not as it must be: {finding}"));
        }
        if back.rows != encoded.rows || back.row_hash != encoded.row_hash {
            return wrong(format!(
                "{} rows with hash {} were written, {} with {} read back",
                encoded.rows, encoded.row_hash, back.rows, back.row_hash
            ));
        }
        let rows_in: u64 = tallies.iter().map(|t| t.here).sum();
        let row_hash_in: RowHash = tallies.iter().map(|t| t.here_hash).sum();
        let row_hash_out = back.row_hash_without_seq.unwrap_or(back.row_hash);
        let merged = merged(&self.job)?;
        let (copies, copies_hash) = merged.as_ref().map_or((0, RowHash::EMPTY), |merged| {
            (merged.all_copies(), merged.copies_hash)
        });
        if rows_in != back.rows + copies {
            return wrong(format!(
                "the sources gave {rows_in} rows, the staged file has {}, and {copies} are copies",
                back.rows
            ));
        }
        if row_hash_in != row_hash_out.and(copies_hash) {
            return wrong(format!(
                "the sources gave row hash {row_hash_in}, the staged file has {row_hash_out}, the copies {copies_hash}"
            ));
        }
        if let Some(name) = merged
            .as_ref()
            .and_then(|merged| self.unmatched(&tallies, merged))
        {
            return wrong(format!(
                "the staged file does not stand for every row of collector {name}"
            ));
        }
        let (Some(ts_event_min_ns), Some(ts_event_max_ns)) = (back.ts_min_ns, back.ts_max_ns)
        else {
            return wrong("there are no rows of this day".to_owned());
        };
        let (expect, since) = commit::vouched_since(&self.handle(), &sha256).await?;
        let receipt = Receipt {
            receipt_version: if merged.is_some() {
                OF_SEVERAL
            } else {
                RECEIPT_VERSION
            },
            qlc_version: env!("CARGO_PKG_VERSION").to_owned(),
            partition: partition.clone(),
            created_at: since.unwrap_or_else(|| self.draft.created_at.clone()),
            task: self.draft.task.clone(),
            adopted: false,
            generation: self.draft.generation,
            replaces: self
                .draft
                .replaces
                .as_ref()
                .map(|replaced| replaced.outcome.sha256.clone()),
            accepted_loss: self.draft.accepted_loss.clone(),
            outcome: DataRecord {
                sha256,
                bytes,
                rows: back.rows,
                row_hash: back.row_hash,
                ts_event_min_ns,
                ts_event_max_ns,
                seq: self.draft.seq,
                brought_to: self.brought_to(),
                zstd_level: self.zstd_level,
                encoding: self.encoding(),
            },
            rows_in,
            row_hash_in,
            row_hash_out,
            merge: merged
                .as_ref()
                .map(|merged| self.merge_of(&tallies, merged)),
            plan: self.draft.plan.clone(),
            base: self.draft.base.clone().map(|base| Base {
                copies: self.copies_of_base(merged.as_ref()),
                ..base
            }),
            sources: self.sources(&tallies, merged.as_ref()),
            left_out: self.draft.left_out.clone(),
            copies: self.draft.copies.clone(),
        };
        if let Some(finding) = receipt.findings().first() {
            return wrong(finding.clone());
        }
        if let Some(replaced) = self
            .draft
            .replaces
            .as_ref()
            .filter(|replaced| is_the_same(&receipt, replaced))
        {
            return Ok(self.proven(replaced.clone(), expect));
        }
        // No published row is dropped or altered: each source of the standing generation is read
        // again with the same rows, or comes with the archived data.
        let unaccounted = self
            .draft
            .replaces
            .as_ref()
            .map(|replaced| replaced.unaccounted(&receipt))
            .unwrap_or_default();
        if !unaccounted.is_empty() {
            return Ok(ControlFlow::Break(Attempt::Unaccounted(unaccounted)));
        }
        Ok(self.proven(receipt, expect))
    }

    /// The revision of the encodings of the data.
    fn encoding(&self) -> u32 {
        match self.purpose {
            Purpose::Publish => ENCODING,
            Purpose::Rehearse { encoding } => encoding,
        }
    }

    /// The file is right: it is published, or was a rehearsal.
    fn proven(&self, receipt: Receipt, expect: Expect) -> ControlFlow<Attempt, Proven> {
        match self.purpose {
            Purpose::Publish => ControlFlow::Continue(Proven { receipt, expect }),
            Purpose::Rehearse { .. } => ControlFlow::Break(Attempt::Rehearsed {
                sha256: receipt.outcome.sha256,
            }),
        }
    }

    /// The files that hold the same rows as another one. The one whose name comes first is the
    /// file, the others are its copies.
    fn copies(&self, tallies: &[SourceTally]) -> Vec<FoundCopy> {
        let mut firsts: BTreeMap<(Option<&str>, Content), (usize, &str)> = BTreeMap::new();
        let mut copies = Vec::new();
        let by_name = |name: &str| {
            (
                name.rsplit('/').next().unwrap_or_default().to_owned(),
                name.to_owned(),
            )
        };
        for (index, (source, tally)) in self.job.sources.iter().zip(tallies).enumerate() {
            if source.role != Role::Spool || tally.rows == 0 {
                continue;
            }
            let content = Content {
                rows: source_rows(source, tally),
                row_hash: tally.row_hash,
                units: UnitsHash::of(&source.claims.units()),
            };
            // Two collectors may rightly leave the same rows. Rows that qlc numbers are merged with
            // no others, so that of files without numbers one counts, whoever left them.
            let key = (
                layout::collector_of(&source.name).filter(|_| source.rank.is_none()),
                content,
            );
            match firsts.get_mut(&key) {
                None => drop(firsts.insert(key, (index, &source.name))),
                Some(first) if by_name(&source.name) < by_name(first.1) => {
                    copies.push(FoundCopy {
                        index: first.0,
                        copy_of: source.name.clone(),
                    });
                    *first = (index, &source.name);
                }
                Some(first) => copies.push(FoundCopy {
                    index,
                    copy_of: first.1.to_owned(),
                }),
            }
        }
        copies
    }

    /// The collector whose rows the data does not stand for, if there is one.
    fn unmatched(&self, tallies: &[SourceTally], merged: &Merged) -> Option<&str> {
        let merging = self.job.merging.as_ref()?;
        let mut given = merging
            .collectors
            .iter()
            .zip(&merged.collectors)
            .enumerate();
        let is_unmatched = |at: usize, events_hash: RowHash| {
            let of_it = merging
                .of_source
                .iter()
                .zip(tallies)
                .filter(|(of, _)| **of == at);
            of_it.map(|(_, tally)| tally.events_hash).sum::<RowHash>() != events_hash
        };
        given
            .find(|(at, (_, given))| is_unmatched(*at, given.events_hash))
            .map(|(_, (name, _))| name.as_str())
    }

    fn copies_of_base(&self, merged: Option<&Merged>) -> u64 {
        let base = self
            .job
            .sources
            .iter()
            .position(|source| source.role == Role::Base);
        base.and_then(|base| merged?.copies.get(&base).copied())
            .unwrap_or_default()
    }

    /// What the receipt says of the collectors.
    fn merge_of(&self, tallies: &[SourceTally], merged: &Merged) -> Merge {
        let merging = self.job.merging.as_ref();
        let names = merging
            .map(|merging| merging.collectors.as_slice())
            .unwrap_or_default();
        let of_source = merging
            .map(|merging| merging.of_source.as_slice())
            .unwrap_or_default();
        let collectors =
            names
                .iter()
                .zip(&merged.collectors)
                .enumerate()
                .map(|(at, (name, given))| {
                    let of_it = || {
                        (0..)
                            .zip(of_source)
                            .filter(|(_, of)| **of == at)
                            .map(|(source, _): (usize, _)| source)
                    };
                    let rows = of_it()
                        .filter_map(|source| Some(tallies.get(source)?.here))
                        .sum();
                    let copies = of_it()
                        .filter_map(|source| merged.copies.get(&source))
                        .sum();
                    CollectorRecord {
                        name: name.clone(),
                        rows,
                        rows_here: rows - copies,
                        copies,
                        gain: given.gain,
                        conflicts: given.conflicts,
                        events_hash: given.events_hash,
                        filled_holes: given.filled_holes,
                        filled: given.filled.clone(),
                    }
                });
        Merge {
            copies: merged.all_copies(),
            copies_hash: merged.copies_hash,
            conflicts: merged.conflicts,
            collectors: collectors.collect(),
        }
    }

    fn sources(&self, tallies: &[SourceTally], merged: Option<&Merged>) -> Vec<Source> {
        let spool = self
            .job
            .sources
            .iter()
            .zip(tallies)
            .enumerate()
            .filter(|(_, (s, _))| s.role == Role::Spool);
        let read = spool.map(|(index, (source, tally))| {
            let copies = merged
                .and_then(|merged| merged.copies.get(&index).copied())
                .unwrap_or_default();
            // Rows of row groups that were left out are in QUARANTINE with the file.
            let lost = source.claims.lost.as_ref().map_or(0, |l| l.rows);
            let one_group = tally.row_groups.len() <= 1 && lost == 0;
            Source {
                name: source.name.clone(),
                size: source.handle.size(),
                modified_us: source.modified_us,
                rows: source_rows(source, tally),
                row_hash: tally.row_hash,
                units: source.claims.units(),
                rows_here: tally.here - copies,
                rows_copies: copies,
                rows_elsewhere: tally.elsewhere.clone(),
                rows_quarantined: tally.quarantined + lost,
                rows_known: tally.known,
                row_groups: if one_group {
                    Vec::new()
                } else {
                    tally.row_groups.clone()
                },
                seq_assigned: source.rank.is_some(),
                by_base: false,
                compacted: self.draft.compacted,
            }
        });
        let read: Vec<Source> = read.collect();
        // A file that was read again stands for itself, and not for the archived data.
        let mut by_base = self.draft.base_sources.clone();
        for source in &read {
            let is_it = |base: &&Source| {
                base.content() == source.content() && base.collector() == source.collector()
            };
            let same = by_base
                .iter()
                .filter(is_it)
                .find(|base| base.name == source.name);
            if let Some(name) = same
                .or_else(|| by_base.iter().find(is_it))
                .map(|base| base.name.clone())
            {
                let at = by_base
                    .iter()
                    .position(|base| base.name == name && base.content() == source.content());
                drop(at.map(|at| by_base.swap_remove(at)));
            }
        }
        let mut sources: Vec<Source> = by_base.into_iter().chain(read).collect();
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        sources
    }
}
