//! The data of a published partition, made again from the spool: the proof that its bytes follow from
//! its sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use chrono::Utc;

use super::{
    attempts::rehearse,
    context::RunContext,
    decide::{Build, Knowledge},
    look::{Freshness, Look, look},
    recognise::{self, FeedingFile},
    report::{Mode, Options, Silent, Stop},
    survey,
};
use crate::{
    archive::{
        partition::PartitionHandle,
        state::{Depth, State, inspect},
    },
    error::Result,
    file::encode::ENCODING,
    model::{
        count::plural,
        layout,
        partition::{Partition, Selection},
        receipt::{Content, Receipt, SeqOrigin, Source},
    },
    storage::{scratch::Scratch, store::Store},
};

/// What a rebuild from the spool showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebuilt {
    /// The same bytes.
    Same,
    /// Other bytes: their digests.
    Differs {
        /// Of the archived data.
        archived: String,
        /// Of what was made again.
        rebuilt: String,
    },
    /// A source in the spool does not have the rows any more that were archived from it; which. The
    /// archive is not to blame.
    SourceChanged(String),
    /// It could not be made again; why.
    Impossible(String),
}

/// Makes the data of a published partition again from the spool and compares its digest. The file
/// is staged in the partition's folder and removed; nothing is published.
///
/// # Errors
/// When spool or archive do not answer.
pub async fn rebuild(
    spool: &Store,
    archive: &Store,
    partition: &Partition,
    memory_limit: u64,
    spill_dir: &Path,
) -> Result<Rebuilt> {
    let scratch = Scratch::new(spill_dir)?;
    let handle = PartitionHandle::new(archive, partition);
    let State::Published(published) = inspect(&handle, Depth::Footer).await?.state else {
        return Ok(Rebuilt::Impossible(
            "it is not published with a receipt".to_owned(),
        ));
    };
    let receipt = published.receipt();
    if let Some(why) = obstacle(receipt) {
        return Ok(Rebuilt::Impossible(why.to_owned()));
    }
    let options = Options {
        mode: Mode::Single {
            date: partition.date,
        },
        selection: Selection::of(&partition.series),
        workers: 1,
        memory_limit,
        spill_dir: spill_dir.to_owned(),
        now: Utc::now(),
        force: true,
        accept_loss: false,
        salvage: false,
        // The bytes are to be those of the run that published them, so its level of compression
        // counts, not this run's.
        zstd_level: receipt.outcome.zstd_level,
    };
    let spooled = survey::spool_files(spool, &options.selection).await?;
    spooled.missing.fail()?;
    let files = spooled.files.get(&partition.series);
    let files = files.map(Vec::as_slice).unwrap_or_default();
    let stop = Stop::default();
    let watch = Arc::new(Silent);
    let run = RunContext::new(spool, archive, &options, scratch.path(), 1, watch, &stop)?;
    let look = look(&run, partition, files, Freshness::OfThisRun).await?;
    let build = match sources_in_spool(&run, &look, receipt).await? {
        Ok(files) => Build {
            files,
            base: None,
            replaces: None,
            is_part: false,
            reason: String::new(),
        },
        Err(rebuilt) => return Ok(rebuilt),
    };
    let digest = rehearse::digest(&run, partition, &look, &build, receipt.outcome.encoding).await?;
    Ok(match digest {
        Some(rebuilt) if rebuilt == receipt.outcome.sha256 => Rebuilt::Same,
        Some(rebuilt) => match renamed(receipt, &look) {
            0 => Rebuilt::Differs {
                archived: receipt.outcome.sha256.clone(),
                rebuilt,
            },
            renamed => Rebuilt::Impossible(format!(
                "its rows were numbered in the order of the names of its files, and {} another name since",
                if renamed == 1 {
                    "1 file has".to_owned()
                } else {
                    format!("{renamed} files have")
                }
            )),
        },
        None => Rebuilt::Impossible("its sources can no longer be read".to_owned()),
    })
}

/// Why data with this receipt cannot be made again, whatever the spool has.
fn obstacle(receipt: &Receipt) -> Option<&'static str> {
    let is_partly_new = |source: &Source| source.rows_of_day() > 0 && source.rows_known > 0;
    if receipt.adopted {
        Some("another program wrote its bytes")
    } else if receipt.base.is_some() && receipt.outcome.seq != SeqOrigin::Source {
        Some("its rows were numbered in more than one run")
    } else if receipt.sources.iter().any(is_partly_new) {
        Some("of some of its sources only a part of the rows was new")
    } else if receipt.outcome.encoding > ENCODING {
        Some("a later version of qlc wrote its bytes")
    } else {
        None
    }
}

/// The files of the spool that hold exactly the rows that the receipt names (what came later is not in
/// the archived data either), by their places in `look`; or what else there is to say.
async fn sources_in_spool(
    run: &RunContext,
    look: &Look,
    receipt: &Receipt,
) -> Result<std::result::Result<Vec<usize>, Rebuilt>> {
    let mut needed = Needed::by(receipt);
    let sources = needed.count();
    let mut unread = unread(&run.places.spool, look).await?;
    let mut changed = Vec::new();
    let mut chosen = Vec::new();
    for (index, FeedingFile { mark, .. }) in look.feeding.iter().enumerate() {
        let Knowledge::Known { content, .. } = mark.knowledge else {
            continue;
        };
        match unread.remove(&index).unwrap_or(Ok(())) {
            // Of files with the same rows, one is enough.
            Ok(()) if needed.take(&mark.file.object.key, content) => chosen.push(index),
            Ok(()) => {}
            Err(what) => changed.push(format!("{}: {what}", mark.file.object.key)),
        }
    }
    let left = needed.count();
    if left == 0 {
        return Ok(Ok(chosen));
    }
    Ok(Err(match changed.first() {
        // The archived rows are those that were proven; it is the file in the spool that is another.
        Some(first) => Rebuilt::SourceChanged(format!(
            "{} of its {sources} sources changed in the spool since they were archived: {first}",
            plural(changed.len(), "file")
        )),
        None => Rebuilt::Impossible(format!(
            "{} of its {sources} sources left the spool",
            plural(left, "file")
        )),
    }))
}

/// The sources of a receipt that are still to be found, by their rows.
struct Needed<'a>(BTreeMap<Content, Vec<&'a Source>>);

impl<'a> Needed<'a> {
    /// Those with rows of the day; of one collector each content is needed once.
    fn by(receipt: &'a Receipt) -> Self {
        let mut needed: BTreeMap<Content, Vec<&Source>> = BTreeMap::new();
        for source in &receipt.sources {
            let same = needed.entry(source.content()).or_default();
            let is_of_other = |one: &&Source| one.collector() != source.collector();
            if source.rows_of_day() > 0 && same.iter().all(is_of_other) {
                same.push(source);
            }
        }
        Self(needed)
    }

    fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether the file `key` with these rows is one of them; it is found then.
    fn take(&mut self, key: &str, content: Content) -> bool {
        let collector = layout::collector_of(key);
        let Some(same) = self.0.get_mut(&content) else {
            return false;
        };
        let own = same
            .iter()
            .position(|source| source.collector() == collector);
        let found = own.or_else(|| same.iter().position(|source| source.may_be_of(collector)));
        found.map(|at| same.swap_remove(at)).is_some()
    }
}

/// Of each known file that was not read, or does not read at all, whether it still has its rows.
async fn unread(
    spool: &Store,
    look: &Look,
) -> Result<BTreeMap<usize, std::result::Result<(), String>>> {
    let unread: BTreeMap<usize, _> = look
        .feeding
        .iter()
        .enumerate()
        .filter_map(
            |(index, FeedingFile { mark, claims })| match mark.knowledge {
                Knowledge::Known { content, unread } if unread || claims.is_err() => {
                    Some((index, (&mark.file, claims, content)))
                }
                _ => None,
            },
        )
        .collect();
    let read = recognise::still_have(spool, unread.values().copied()).await?;
    Ok(unread.into_keys().zip(read).collect())
}

/// How many sources have numbers that follow from their names, and other names in the spool.
fn renamed(receipt: &Receipt, look: &Look) -> usize {
    let keys: BTreeSet<&str> = look
        .feeding
        .iter()
        .map(|one| one.mark.file.object.key.as_str())
        .collect();
    let is_renamed = |source: &&Source| source.seq_assigned && !keys.contains(source.name.as_str());
    receipt.sources.iter().filter(is_renamed).count()
}
