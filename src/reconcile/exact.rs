//! The pass by rows: every row of either side with its counterpart of the other.

use std::path::PathBuf;

use super::{
    blocking::blocking,
    compare::{Comparison, Reliance},
    day::{Day, Held, are_of_day, told},
    published::{self, Content, Identity, PublishedFile},
    rows::{KeyedRows, Reading},
    stop::stopped,
    take::{self, Taking},
};
use crate::{
    engine::sql::Means,
    error::{Error, Kind, Result},
    model::{
        layout,
        partition::Partition,
        reconcile::{ReconcileRecord, VenueFile},
    },
    storage::{scratch::Scratch, store::Store},
};

/// What is said of files of which no row is recorded.
const OTHER_MARKET: &str =
    "not one row of the archive is in the files; they seem to be of another market";
/// Groups of rows between two looks at whether the run is to stop.
const LOOK: u32 = 65_536;
/// The part of the memory limit that each of the two sides may have, and the decoding before them.
const SHARE: u64 = 3;

/// What lies on the scratch disk: the venue's rows, as a spool of their own.
pub(super) struct Theirs {
    pub(super) store: Store,
    pub(super) path: PathBuf,
    pub(super) files: Vec<VenueFile>,
}

/// Decodes the venue's files into one file of a store that holds nothing else.
pub(super) async fn decoded(
    day: &Day<'_>,
    files: Vec<PublishedFile>,
    name: &str,
    scratch: &Scratch,
) -> Result<Theirs> {
    let root = scratch.path().join(name);
    let series = &day.partition.series;
    let path = root.join(format!(
        "{}/{}_published.parquet",
        layout::series_dir(series),
        day.partition.date.iso()
    ));
    let runs = scratch.path().join(format!("{name}-runs"));
    for folder in [path.parent().unwrap_or(&root), &runs] {
        std::fs::create_dir_all(folder)
            .map_err(|e| Error::io(format!("{}: cannot be made", folder.display()), e))?;
    }
    let memory = usize::try_from(day.options.memory_limit / SHARE).unwrap_or(usize::MAX);
    let (series, date, target) = (series.clone(), day.partition.date, path.clone());
    let accounts =
        blocking(move || published::trades(&series, date, &files, &target, &runs, memory)).await?;
    Ok(Theirs {
        store: Store::open(&root.display().to_string())?,
        path,
        files: accounts.iter().map(told).collect(),
    })
}

/// The store whose rows of the day are ours; an empty one where the archive holds nothing.
pub(super) fn archive_of(day: &Day<'_>, held: &Held, scratch: &Scratch) -> Result<Store> {
    if matches!(held, Held::Data(_)) {
        return Ok(day.archive.clone());
    }
    empty(scratch)
}

fn empty(scratch: &Scratch) -> Result<Store> {
    let folder = scratch.path().join("nothing");
    std::fs::create_dir_all(&folder)
        .map_err(|e| Error::io(format!("{}: cannot be made", folder.display()), e))?;
    Store::open(&folder.display().to_string())
}

/// Compares the rows, and takes what only they have where that is asked for.
pub(super) async fn pass(
    day: &Day<'_>,
    content: Content,
    files: Vec<PublishedFile>,
    held: &Held,
    scratch: &Scratch,
    record: &mut ReconcileRecord,
) -> Result<()> {
    let identity = content.identity().unwrap_or(Identity::Number);
    let theirs = decoded(day, files, content.name(), scratch).await?;
    record.files.clone_from(&theirs.files);
    are_of_day(&record.files)?;
    let reading = Reading {
        partition: day.partition,
        identity,
        memory_limit: day.options.memory_limit / SHARE,
        spill_dir: &day.options.spill_dir,
    };
    let reliance = Reliance {
        whole: day.are_whole(record),
        consecutive: content.is_consecutive(),
    };
    let collector = take::collector(&day.partition.series);
    let waits = waits(day.spool, &collector, day.partition).await?;
    let nowhere = empty(scratch)?;
    let spool = day.spool.filter(|_| waits).unwrap_or(&nowhere);
    let archive = archive_of(day, held, scratch)?;
    let ours = reading
        .ours(spool, &archive, waits.then_some(collector.as_str()))
        .await?;
    let their_rows = reading.theirs(&theirs.store).await?;
    let mut walk = Walk {
        ours,
        theirs: their_rows,
        comparison: Comparison::new(day.partition.date, reliance),
        taking: day.options.take.then(|| {
            let root = scratch.path().join(format!("{}-taken", content.name()));
            Taking::new(root, day.partition)
        }),
    };
    walk.run_to_end(day.stop).await?;
    let Walk {
        comparison, taking, ..
    } = walk;
    let why_not = not_taken(&theirs.files, content, &comparison);
    comparison.finish(record);
    if record.equal == 0 && record.ours > 0 && record.theirs > 0 {
        OTHER_MARKET.clone_into(&mut record.message);
    }
    let Some(taking) = taking.filter(|taking| taking.rows() > 0) else {
        return Ok(());
    };
    if let Some(why) = why_not {
        record.not_taken = Some(why);
        return Ok(());
    }
    let means = Means {
        memory_limit: day.options.memory_limit / SHARE,
        spill_dir: &day.options.spill_dir,
        remote: None,
        all_columns: false,
    };
    let Some(spool) = day.spool else {
        return Err(Error::new(Kind::Internal, "rows are taken without a spool"));
    };
    record.taken = taking
        .finish(day.partition, &theirs.path, spool, scratch.path(), means)
        .await?;
    Ok(())
}

/// Whether files of the collector whose rows the venue published lie in the spool, of this day.
async fn waits(spool: Option<&Store>, collector: &str, partition: &Partition) -> Result<bool> {
    let Some(spool) = spool.filter(|spool| !spool.is_absent()) else {
        return Ok(false);
    };
    let folder = format!(
        "{}/{}",
        layout::collector_dir(collector),
        layout::series_dir(&partition.series)
    );
    if !spool.has_place_for(&format!("{folder}/x")) {
        return Ok(false);
    }
    let day = format!("{folder}/{}", partition.date.iso());
    let listed = spool.list(&folder).await?.whole()?;
    Ok(listed
        .iter()
        .any(|object| object.key.starts_with(&day) && object.key.ends_with(".parquet")))
}

/// Why rows of these files are not put into the spool, where they are not: they are not what the
/// venue published, or not of the market that was recorded.
fn not_taken(files: &[VenueFile], content: Content, comparison: &Comparison) -> Option<String> {
    for file in files {
        if file.checksum == "wrong" {
            return Some(format!(
                "nothing is taken: {} is not the file that its CHECKSUM is of",
                file.name
            ));
        }
        if !file.complete {
            return Some(format!(
                "nothing is taken: {} is damaged or cut off",
                file.name
            ));
        }
    }
    if comparison.ours() > 0 && comparison.equal() == 0 {
        return Some(format!("nothing is taken: {OTHER_MARKET}"));
    }
    if comparison.ours() == 0 && content == Content::BinanceSpotAggTrades {
        return Some(
            "nothing is taken: the files have the form of the spot market, and nothing is archived of the day that shows them \
             to be of the market that is recorded"
                .to_owned(),
        );
    }
    if content == Content::OkxAggTrades && comparison.differ() > 0 {
        return Some(
            "nothing is taken: the files sum trades up in another way than what was recorded"
                .to_owned(),
        );
    }
    None
}

/// Both sides, walked side by side.
struct Walk {
    ours: KeyedRows,
    theirs: KeyedRows,
    comparison: Comparison,
    taking: Option<Taking>,
}

impl Walk {
    async fn run_to_end(&mut self, stop: &(dyn Fn() -> bool + Sync)) -> Result<()> {
        let (mut ours, mut our_spots) = (Vec::new(), Vec::new());
        let (mut theirs, mut their_spots) = (Vec::new(), Vec::new());
        let mut until_look = LOOK;
        loop {
            until_look -= 1;
            if until_look == 0 {
                stopped(stop)?;
                until_look = LOOK;
            }
            let (has_ours, has_theirs) = match (self.ours.key().await?, self.theirs.key().await?) {
                (None, None) => return Ok(()),
                (Some(_), None) => (true, false),
                (None, Some(_)) => (false, true),
                (Some(own), Some(their)) => (own <= their, their <= own),
            };
            ours.clear();
            theirs.clear();
            if has_ours {
                self.ours.group(&mut ours, &mut our_spots).await?;
            }
            if has_theirs {
                self.theirs.group(&mut theirs, &mut their_spots).await?;
            }
            if self.comparison.group(&ours, &theirs)
                && let Some(taking) = &mut self.taking
                && let Some(spot) = their_spots.pop()
            {
                taking.add(spot)?;
            }
        }
    }
}
