//! `import`: takes over an archive that another program made, in place or from elsewhere. Data that
//! meets the contract gets a receipt and the contract's `meta.json`, and its bytes stay.
//!
//! Data that can be read but does not meet the contract is named, and the caller has its rows
//! compacted as those of a spool are; [`account`] then finds out whether each of them is in the
//! archive. Here no data is rewritten, no partition replaced, and the old tree is not changed.

mod account;
mod adopt;
mod beside;
mod check;
mod claims;
mod mend;
mod report;
mod tree;

use std::{collections::BTreeSet, path::Path};

use chrono::SecondsFormat;

pub use self::{
    account::{Compacted, Moment, account, foresee},
    report::{Imported, Options, Outcome},
    tree::{Roots, raw_days, roots},
};
use self::{
    check::{Verdict, check},
    mend::Way,
    tree::{Folder, days},
};
use crate::{
    archive::{
        commit,
        partition::PartitionHandle,
        state::{self, Depth, Inspection, State, Unproven, advice},
    },
    error::{Error, Kind, Result},
    file::{probe::probe, reader::Handle},
    model::{date::Date, partition::Partition, receipt::Receipt, time::to_ns},
    storage::{
        atomic, conditions,
        scratch::{self, Scratch},
        store::{Object, Store},
    },
};

/// Takes over the partitions of `from`, or of the archive itself, that `options` mean, in order;
/// `each` is called with every one as it is done.
///
/// # Errors
/// When a store does not answer, nothing matches, or the run is stopped. What is wrong with a
/// partition is in its result.
pub async fn run(
    from: Option<&Store>,
    archive: &Store,
    options: &Options,
    stop: &(dyn Fn() -> bool + Sync),
    each: &mut (dyn FnMut(&Imported) + Send),
) -> Result<()> {
    let source = from.unwrap_or(archive);
    let (partitions, missing) = days(source, options, from.is_some()).await?;
    if partitions.is_empty() && missing.all().is_empty() && from.is_none() {
        options.nothing_found(source, &source.show("")).await?;
    }
    let crossed = if options.rewrite {
        crossed(source, &partitions).await?
    } else {
        BTreeSet::new()
    };
    let _ = scratch::sweep(&options.spill_dir);
    let scratch = if options.dry_run {
        None
    } else {
        Some(Scratch::new(&options.spill_dir)?)
    };
    let staging = scratch.as_ref().map(Scratch::path);
    let mut import = Import {
        from,
        archive,
        options,
        staging,
        probed: false,
        crossed,
    };
    for (partition, folder) in partitions {
        if stop() {
            return Err(Error::new(
                Kind::Interrupted,
                "stopped as asked, before all partitions were looked at",
            ));
        }
        each(&import.one(&partition, &folder).await);
    }
    missing.fail()
}

/// The days of which rows lie in the folder of another day, as far as footers tell: these days are
/// compacted as a whole.
async fn crossed(tree: &Store, partitions: &[(Partition, Folder)]) -> Result<BTreeSet<Partition>> {
    let mut crossed = BTreeSet::new();
    for (partition, folder) in partitions {
        let Some(data) = tree.head(&folder.data_key()).await? else {
            continue;
        };
        let Ok(footer) = probe(&Handle::new(tree, &data)).await else {
            continue;
        };
        let day = |value: i64| to_ns(value).and_then(Date::of_ns);
        let Some((first, last)) = footer.ts.and_then(|span| day(span.min).zip(day(span.max)))
        else {
            continue;
        };
        let near = [partition.date.pred(), partition.date.succ()];
        crossed.extend(
            near.into_iter()
                .filter(|day| *day >= first && *day <= last)
                .map(|day| partition.series.on(day)),
        );
    }
    Ok(crossed)
}

/// Keeps the documents that lie in `tree` beside days that were compacted, for those of `all` whose
/// rows are in the archive.
///
/// # Errors
/// When one cannot be read or written.
pub async fn keep_documents(
    tree: &Store,
    archive: &Store,
    options: &Options,
    all: &[Imported],
) -> Result<()> {
    let done = |partition: &Partition| {
        // A run that ended before this left them, and the next one finds the rows up to date.
        let is_in = |one: &Imported| matches!(one.outcome, Outcome::Rewritten | Outcome::UpToDate);
        all.iter()
            .any(|one| is_in(one) && one.raw_files.is_none() && one.partition == *partition)
    };
    let scratch = Scratch::new(&options.spill_dir)?;
    let (partitions, _) = days(tree, options, true).await?;
    for (partition, folder) in partitions
        .into_iter()
        .filter(|(partition, _)| done(partition))
    {
        documents(tree, archive, scratch.path(), &partition, &folder).await?;
    }
    Ok(())
}

async fn documents(
    tree: &Store,
    archive: &Store,
    staging: &Path,
    partition: &Partition,
    folder: &Folder,
) -> Result<()> {
    let is_document = |object: &&Object| {
        object.size <= beside::DOCUMENT_BYTES && !object.key.ends_with(".parquet")
    };
    let beside = folder
        .beside
        .iter()
        .filter(is_document)
        .map(|object| object.key.clone());
    for key in beside.chain([folder.meta_key()]) {
        let Some(bytes) = tree.read(&key).await? else {
            continue;
        };
        let file = key.rsplit('/').next().unwrap_or_default();
        beside::keep(archive, staging, partition, file, &bytes).await?;
    }
    Ok(())
}

/// What is to be done with a partition.
enum Decision {
    Nothing(Receipt),
    Complete(Receipt),
    Adopt(Receipt),
    /// To be compacted, because.
    Rewrite {
        reasons: Vec<String>,
        rows: u64,
    },
    Leave {
        outcome: Outcome,
        reasons: Vec<String>,
        rows: u64,
        mend: Vec<String>,
    },
}

struct Import<'a> {
    from: Option<&'a Store>,
    archive: &'a Store,
    options: &'a Options,
    /// Absent in a dry run, which writes nothing.
    staging: Option<&'a Path>,
    /// Whether the archive's conditional writes were found to work.
    probed: bool,
    /// Days of which rows lie in the folders of others.
    crossed: BTreeSet<Partition>,
}

impl Import<'_> {
    /// One partition, whatever happens to it.
    async fn one(&mut self, partition: &Partition, folder: &Folder) -> Imported {
        let mut imported = Imported::of(partition, Outcome::Failed);
        imported.keys = vec![folder.data_key()];
        if let Err(error) = self.attempt(partition, folder, &mut imported).await {
            imported.outcome = match error.kind() {
                Kind::Conflict => Outcome::LostRace,
                Kind::Unknown => Outcome::Unknown,
                _ => Outcome::Failed,
            };
            imported.reasons = vec![error.chain()];
        }
        imported
    }

    async fn attempt(
        &mut self,
        partition: &Partition,
        folder: &Folder,
        imported: &mut Imported,
    ) -> Result<()> {
        let source = self.from.unwrap_or(self.archive);
        let handle = PartitionHandle::new(self.archive, partition);
        let archived = state::inspect(&handle, Depth::Bytes).await?;
        let data = source.head(&folder.data_key()).await?;
        imported.bytes = data.as_ref().map_or(0, |data| data.size);
        let decision = self
            .decide(&handle, &archived, folder, data.as_ref())
            .await?;
        let (receipt, is_new) = match decision {
            Decision::Rewrite { reasons, rows } => {
                (imported.outcome, imported.reasons, imported.rows) =
                    (Outcome::Rewritable, reasons, rows);
                return Ok(());
            }
            Decision::Leave {
                outcome,
                reasons,
                rows,
                mend,
            } => {
                (imported.outcome, imported.reasons) = (outcome, reasons);
                (imported.rows, imported.mend) = (rows, mend);
                return Ok(());
            }
            Decision::Nothing(receipt) => {
                imported.outcome = Outcome::UpToDate;
                (imported.rows, imported.sha256) =
                    (receipt.outcome.rows, Some(receipt.outcome.sha256));
                return Ok(());
            }
            Decision::Complete(receipt) => (receipt, false),
            Decision::Adopt(receipt) => (receipt, true),
        };
        (imported.rows, imported.sha256) =
            (receipt.outcome.rows, Some(receipt.outcome.sha256.clone()));
        let Some(staging) = self.staging else {
            imported.outcome = if is_new {
                Outcome::Adoptable
            } else {
                Outcome::Completed
            };
            return Ok(());
        };
        if !self.probed {
            conditions::probe(self.archive).await?;
            self.probed = true;
        }
        let is_folder = self.archive.local_folder().is_some();
        let lock = if is_folder {
            atomic::lock(self.archive, &handle.dir())?
        } else {
            None
        };
        if is_folder && lock.is_none() {
            return Err(Error::new(
                Kind::Conflict,
                "another qlc is at work on this partition",
            ));
        }
        // On a bucket the conditions of the writes find out about the archive; nothing but a second
        // look does in a folder.
        let is_same = handle.versions().await? == archived.versions
            && self.archive.head(&handle.data_key()).await? == archived.listed.data
            && source.head(&folder.data_key()).await? == data;
        if !is_same {
            return Err(Error::new(
                Kind::Conflict,
                "it changed while it was looked at; run again",
            ));
        }
        if is_new {
            documents(source, self.archive, staging, partition, folder).await?;
            let (replaced, _) = commit::vouched_since(&handle, &receipt.outcome.sha256).await?;
            match self.from {
                None => commit::vouch(&handle, staging, &receipt, &replaced).await?,
                Some(from) => {
                    adopt::copy(
                        &handle,
                        staging,
                        (from, &folder.data_key()),
                        &receipt,
                        &replaced,
                    )
                    .await?;
                }
            }
        }
        let _ = commit::publish(&handle, staging, &receipt, &archived.versions.meta, None).await?;
        drop(lock);
        imported.outcome = if is_new {
            Outcome::Adopted
        } else {
            Outcome::Completed
        };
        Ok(())
    }

    /// Looks at a partition and says what is to be done with it.
    async fn decide(
        &self,
        handle: &PartitionHandle,
        archived: &Inspection,
        folder: &Folder,
        data: Option<&Object>,
    ) -> Result<Decision> {
        let partition = handle.partition();
        let source = self.from.unwrap_or(self.archive);
        let leave = |outcome, reasons, mend| {
            Ok(Decision::Leave {
                outcome,
                reasons,
                rows: 0,
                mend,
            })
        };
        let Some(data) = data else {
            return match (&archived.state, self.from) {
                (State::Lost(loss), None) => {
                    let reason = format!("{loss}; {}", advice(&archived.state).unwrap_or_default());
                    leave(Outcome::Damaged, vec![reason], Vec::new())
                }
                _ => leave(
                    Outcome::Unfit,
                    vec!["there is no data.parquet".to_owned()],
                    Vec::new(),
                ),
            };
        };
        let (sha256, _) = source.sha256(&data.key).await?;
        match &archived.state {
            State::Published(published) if published.receipt().outcome.sha256 == sha256 => {
                return Ok(Decision::Nothing(published.receipt().clone()));
            }
            State::Interrupted(receipt) if receipt.outcome.sha256 == sha256 => {
                return Ok(Decision::Complete(receipt.as_ref().clone()));
            }
            // What was published and is gone comes back from a copy of it.
            State::Lost(loss)
                if self.from.is_some() && loss.sha256 == sha256 && loss.standing.is_none() =>
            {
                if let Some(newest) = &loss.newest {
                    return Ok(Decision::Adopt(newest.clone()));
                }
            }
            // Whether all rows of it are at hand is for the compaction to find out.
            State::Lost(loss) if !self.options.rewrite => {
                let reason = format!("{loss}; {}", advice(&archived.state).unwrap_or_default());
                return leave(Outcome::Damaged, vec![reason], Vec::new());
            }
            State::Unproven(unproven) if archived.listed.newest().is_some() => {
                let reason = format!(
                    "{unproven}, but qlc published this day before: the data is not what it wrote"
                );
                return leave(Outcome::Damaged, vec![reason], Vec::new());
            }
            State::Empty
            | State::Published(_)
            | State::Interrupted(_)
            | State::Lost(_)
            | State::Unproven(_) => {}
        }
        let stands = handle.meta().await?.map(|(bytes, _)| bytes);
        let mend = || self.mend(partition, folder);
        let is_this = matches!(&archived.state, State::Unproven(Unproven::NoReceipt(Some(known))) if *known == sha256);
        if self.from.is_some() && is_this {
            let reason = "the archive has this very data, but no receipt of it: import it in its place, without --from";
            return leave(Outcome::Unfit, vec![reason.to_owned()], Vec::new());
        }
        let stands_already =
            self.from.is_some() && (archived.listed.data.is_some() || stands.is_some());
        if stands_already && !self.options.rewrite {
            let reason = "the archive has this day already, with other data, which is never replaced; the commands add the rows";
            return leave(Outcome::Unfit, vec![reason.to_owned()], mend());
        }
        let meta = match self.from {
            None => stands,
            Some(from) => from.read(&folder.meta_key()).await?,
        };
        let verdict = check(
            &Handle::new(source, data),
            partition,
            meta.as_deref(),
            &sha256,
        )
        .await?;
        let is_lost = matches!(archived.state, State::Lost(_));
        let is_crossed = is_lost || self.crossed.contains(partition) || folder.dir != handle.dir();
        Ok(match verdict {
            Verdict::Right(back) if self.options.rewrite && (is_crossed || stands_already) => {
                let reason = if is_lost {
                    "the day was published and is gone; it is built again if all of its rows can be read"
                } else if stands_already {
                    "the archive has this day already; the rows that it lacks are added"
                } else {
                    "rows of this day lie in the folder of another day too, or its folder has another name"
                };
                Decision::Rewrite {
                    reasons: vec![reason.to_owned()],
                    rows: back.rows,
                }
            }
            Verdict::Right(back) => {
                let time = self.options.now.to_rfc3339_opts(SecondsFormat::Secs, true);
                let generation = archived.next_generation();
                Decision::Adopt(adopt::receipt(
                    partition,
                    generation,
                    data,
                    &sha256,
                    &back,
                    &time,
                    self.options.rewrite,
                ))
            }
            Verdict::Unfit {
                reasons, rows: 0, ..
            } => {
                // Without rows there is nothing to take over.
                let outcome = if self.options.rewrite {
                    Outcome::UpToDate
                } else {
                    Outcome::Unfit
                };
                Decision::Leave {
                    outcome,
                    reasons,
                    rows: 0,
                    mend: Vec::new(),
                }
            }
            Verdict::Unfit {
                reasons,
                rows,
                days: None,
            } => {
                let outcome = if self.options.rewrite {
                    Outcome::Refused
                } else {
                    Outcome::Unfit
                };
                Decision::Leave {
                    outcome,
                    reasons,
                    rows,
                    mend: Vec::new(),
                }
            }
            Verdict::Unfit { reasons, rows, .. } if self.options.rewrite => {
                Decision::Rewrite { reasons, rows }
            }
            Verdict::Unfit { reasons, rows, .. } => Decision::Leave {
                outcome: Outcome::Unfit,
                reasons,
                rows,
                mend: mend(),
            },
            Verdict::Damaged(reasons) => Decision::Leave {
                outcome: Outcome::Damaged,
                reasons,
                rows: 0,
                mend: Vec::new(),
            },
        })
    }

    fn mend(&self, partition: &Partition, folder: &Folder) -> Vec<String> {
        let (archive, spool) = (
            self.archive.show(""),
            self.options.spool.trim_end_matches('/'),
        );
        if let Some(from) = self.from {
            return mend::commands(partition, Way::Elsewhere(&from.show("")), &archive);
        }
        // Beside the archive, where that has something beside it.
        let aside = if self.archive.local_folder().is_some() {
            archive.trim_end_matches('/')
        } else {
            spool
        };
        let (data, meta, aside) = (
            self.archive.show(&folder.data_key()),
            self.archive.show(&folder.meta_key()),
            format!("{aside}-old"),
        );
        mend::commands(
            partition,
            Way::InPlace {
                data: &data,
                meta: &meta,
                aside: &aside,
            },
            &archive,
        )
    }
}
