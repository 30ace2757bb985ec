//! `import`: takes over an archive that another program made, in its place or from elsewhere: what is as the contract wants
//! it gets a receipt and the meta of the contract, and the bytes of its data stay.
//!
//! Refuses to rewrite data, to replace a partition that is there, and to guess: what is not right is left alone, with all
//! reasons and the commands that have its rows compacted.

mod adopt;
mod check;
mod claims;
mod mend;
mod report;

use std::{collections::BTreeMap, path::Path};

use chrono::SecondsFormat;

pub use self::report::{Imported, Options, Outcome};
use self::{
    check::{Verdict, check},
    mend::Way,
};
use crate::{
    archive::{
        commit,
        partition::PartitionHandle,
        state::{self, Depth, Inspection, State, Unproven, advice},
    },
    error::{Error, Kind, Result},
    file::reader::Handle,
    model::{
        date::Date,
        layout::{self, Placed},
        partition::{Partition, Selection},
        receipt::Receipt,
    },
    storage::{
        atomic, conditions,
        listing::Missing,
        scratch::{self, Scratch},
        store::{Object, Store},
    },
};

/// Takes over the partitions of `from`, or of the archive itself, that `options` mean, in order; `each` is called with
/// every one as it is done.
///
/// # Errors
/// When a store does not answer, nothing matches, or the run is stopped. What is wrong with a partition is in its result.
pub async fn run(
    from: Option<&Store>,
    archive: &Store,
    options: &Options,
    stop: &(dyn Fn() -> bool + Sync),
    each: &mut (dyn FnMut(&Imported) + Send),
) -> Result<()> {
    let source = from.unwrap_or(archive);
    let (partitions, missing) = partitions(source, options).await?;
    let chosen = options.selection != Selection::all() || options.start.is_some() || options.end.is_some();
    if partitions.is_empty() && missing.all().is_empty() && chosen {
        return Err(Error::usage(format!(
            "{}: nothing there matches; check exchange, stream, symbol and dates",
            source.show("")
        )));
    }
    let _ = scratch::sweep(&options.spill_dir);
    let scratch = if options.dry_run { None } else { Some(Scratch::new(&options.spill_dir)?) };
    let mut import = Import { from, archive, options, staging: scratch.as_ref().map(Scratch::path), probed: false };
    for (partition, beside) in partitions {
        if stop() {
            return Err(Error::new(Kind::Interrupted, "stopped as asked, before all partitions were looked at"));
        }
        each(&import.one(&partition, &beside).await);
    }
    missing.fail()
}

/// The partitions that have a data file or a meta, and what else lies in the folder of each; and the folders in which there
/// may be more. A series that may have some there is left out.
async fn partitions(source: &Store, options: &Options) -> Result<(BTreeMap<Partition, Vec<String>>, Missing)> {
    let mut all: BTreeMap<Partition, Vec<String>> = BTreeMap::new();
    let mut others = Vec::new();
    let (objects, missing) = source.list("").await?.apart();
    for object in objects {
        let Some(Ok(Placed { series, date: Some(date), file })) = Placed::parse(&object.key) else { continue };
        let is_meant = date.is_within(options.start, options.end) && options.selection.takes(&series);
        if !is_meant || missing.of("", &series).is_some() {
            continue;
        }
        let partition = series.on(date);
        if file == layout::DATA_FILE || file == layout::META_FILE {
            let _ = all.entry(partition).or_default();
        } else {
            others.push((partition, file));
        }
    }
    for (partition, file) in others {
        if let Some(beside) = all.get_mut(&partition) {
            beside.push(file);
        }
    }
    Ok((all, missing.meant("", &options.selection)))
}

/// What is to be done with a partition.
enum Decision {
    Nothing(Receipt),
    Complete(Receipt),
    Adopt(Receipt),
    Leave { outcome: Outcome, reasons: Vec<String>, rows: u64, mend: Vec<String> },
}

struct Import<'a> {
    from: Option<&'a Store>,
    archive: &'a Store,
    options: &'a Options,
    /// Absent in a dry run, which writes nothing.
    staging: Option<&'a Path>,
    /// Whether the archive's conditional writes were found to work.
    probed: bool,
}

impl Import<'_> {
    /// One partition, whatever happens to it.
    async fn one(&mut self, partition: &Partition, beside: &[String]) -> Imported {
        let mut imported = Imported {
            partition: partition.clone(),
            outcome: Outcome::Failed,
            rows: 0,
            bytes: 0,
            sha256: None,
            reasons: Vec::new(),
            mend: Vec::new(),
        };
        if let Err(error) = self.attempt(partition, beside, &mut imported).await {
            imported.outcome = match error.kind() {
                Kind::LostRace => Outcome::LostRace,
                Kind::Unknown => Outcome::Unknown,
                _ => Outcome::Failed,
            };
            imported.reasons = vec![error.chain()];
        }
        imported
    }

    async fn attempt(&mut self, partition: &Partition, beside: &[String], imported: &mut Imported) -> Result<()> {
        let source = self.from.unwrap_or(self.archive);
        let handle = PartitionHandle::new(self.archive, partition);
        let archived = state::inspect(&handle, Depth::Bytes).await?;
        let data = source.head(&handle.data_key()).await?;
        imported.bytes = data.as_ref().map_or(0, |data| data.size);
        let decision = self.decide(&handle, &archived, data.as_ref()).await?;
        let (receipt, is_new) = match decision {
            // What another program left there would be a finding of every verification to come.
            Decision::Adopt(receipt) if self.from.is_none() && !beside.is_empty() => {
                (imported.outcome, imported.rows) = (Outcome::Unfit, receipt.outcome.rows);
                let away = |name: &String| format!("{name} does not belong in a partition's folder: move it away");
                imported.reasons = beside.iter().map(away).collect();
                return Ok(());
            }
            Decision::Leave { outcome, reasons, rows, mend } => {
                (imported.outcome, imported.reasons) = (outcome, reasons);
                (imported.rows, imported.mend) = (rows, mend);
                return Ok(());
            }
            Decision::Nothing(receipt) => {
                imported.outcome = Outcome::UpToDate;
                (imported.rows, imported.sha256) = (receipt.outcome.rows, Some(receipt.outcome.sha256));
                return Ok(());
            }
            Decision::Complete(receipt) => (receipt, false),
            Decision::Adopt(receipt) => (receipt, true),
        };
        (imported.rows, imported.sha256) = (receipt.outcome.rows, Some(receipt.outcome.sha256.clone()));
        let Some(staging) = self.staging else {
            imported.outcome = if is_new { Outcome::Adoptable } else { Outcome::Completed };
            return Ok(());
        };
        if !self.probed {
            conditions::probe(self.archive).await?;
            self.probed = true;
        }
        let is_folder = self.archive.local_folder().is_some();
        let lock = if is_folder { atomic::lock(self.archive, &handle.dir())? } else { None };
        if is_folder && lock.is_none() {
            return Err(Error::new(Kind::LostRace, "another qlc is at work on this partition"));
        }
        // On a bucket the conditions of the writes find out about the archive; nothing but a second look does in a folder.
        let is_same = handle.versions().await? == archived.versions
            && self.archive.head(&handle.data_key()).await? == archived.listed.data
            && source.head(&handle.data_key()).await? == data;
        if !is_same {
            return Err(Error::new(Kind::LostRace, "it changed while it was looked at; run again"));
        }
        if is_new {
            let (replaced, _) = commit::vouched_since(&handle, &receipt.outcome.sha256).await?;
            match self.from {
                None => commit::vouch(&handle, staging, &receipt, &replaced).await?,
                Some(from) => adopt::copy(&handle, staging, from, &receipt, &replaced).await?,
            }
        }
        let _ = commit::publish(&handle, staging, &receipt, &archived.versions.meta, None).await?;
        drop(lock);
        imported.outcome = if is_new { Outcome::Adopted } else { Outcome::Completed };
        Ok(())
    }

    /// Looks at a partition and says what is to be done with it.
    async fn decide(&self, handle: &PartitionHandle, archived: &Inspection, data: Option<&Object>) -> Result<Decision> {
        let partition = handle.partition();
        let source = self.from.unwrap_or(self.archive);
        let leave = |outcome, reasons, mend| Ok(Decision::Leave { outcome, reasons, rows: 0, mend });
        let Some(data) = data else {
            return match (&archived.state, self.from) {
                (State::Lost(loss), None) => {
                    let reason = format!("{loss}; {}", advice(&archived.state).unwrap_or_default());
                    leave(Outcome::Damaged, vec![reason], Vec::new())
                }
                _ => leave(Outcome::Unfit, vec!["there is no data.parquet".to_owned()], Vec::new()),
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
            State::Lost(loss) if self.from.is_some() && loss.sha256 == sha256 && loss.standing.is_none() => {
                if let Some(newest) = &loss.newest {
                    return Ok(Decision::Adopt(newest.clone()));
                }
            }
            State::Lost(loss) => {
                let reason = format!("{loss}; {}", advice(&archived.state).unwrap_or_default());
                return leave(Outcome::Damaged, vec![reason], Vec::new());
            }
            State::Unproven(unproven) if archived.listed.newest().is_some() => {
                let reason = format!("{unproven}, but qlc published this day before: the data is not what it wrote");
                return leave(Outcome::Damaged, vec![reason], Vec::new());
            }
            State::Empty | State::Published(_) | State::Interrupted(_) | State::Unproven(_) => {}
        }
        let stands = handle.meta().await?.map(|(bytes, _)| bytes);
        let mend = |days| self.mend(partition, data, days);
        if self.from.is_some() && (archived.listed.data.is_some() || stands.is_some()) {
            let is_this = match &archived.state {
                State::Unproven(Unproven::NoReceipt(Some(archived))) => *archived == sha256,
                _ => false,
            };
            let reason = if is_this {
                "the archive has this very data, but no receipt of it: import it in its place, without --from"
            } else {
                "the archive has this day already, with other data, which is never replaced; the commands add the rows"
            };
            let mend = if is_this { Vec::new() } else { mend(None) };
            return leave(Outcome::Unfit, vec![reason.to_owned()], mend);
        }
        let meta = match self.from {
            None => stands,
            Some(from) => from.read(&handle.meta_key()).await?,
        };
        let Some(meta) = meta else {
            let reason = "there is no meta.json: nothing says that the data was finished";
            return leave(Outcome::Unfit, vec![reason.to_owned()], mend(None));
        };
        Ok(match check(&Handle::new(source, data), partition, &meta, &sha256).await? {
            Verdict::Right(back) => {
                let time = self.options.now.to_rfc3339_opts(SecondsFormat::Secs, true);
                let generation = archived.next_generation();
                Decision::Adopt(adopt::receipt(partition, generation, data, &sha256, &back, &time))
            }
            Verdict::Unfit { reasons, rows, days } => {
                let mend = if rows == 0 { Vec::new() } else { mend(days) };
                Decision::Leave { outcome: Outcome::Unfit, reasons, rows, mend }
            }
            Verdict::Damaged(reasons) => {
                Decision::Leave { outcome: Outcome::Damaged, reasons, rows: 0, mend: Vec::new() }
            }
        })
    }

    fn mend(&self, partition: &Partition, data: &Object, days: Option<(Date, Date)>) -> Vec<String> {
        let source = self.from.unwrap_or(self.archive);
        let meta = self.archive.show(&layout::meta_key(partition));
        let meta = self.from.is_none().then_some(meta.as_str());
        let (data, archive) = (source.show(&data.key), self.archive.show(""));
        let way = Way { data: &data, meta, spool: &self.options.spool, archive: &archive, days };
        mend::commands(partition, way)
    }
}
