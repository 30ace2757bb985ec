//! What is in the spool, which partitions are meant, and what is known of each: listing,
//! quarantine, archive, receipt.
//!
//! Reads no rows and writes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    decide::{Identity, SpoolFile},
    keep::Places,
    prepare::accounting_day,
    report::{Mode, Options},
    standing::StandingDays,
};
use crate::{
    archive::{
        partition::PartitionHandle,
        quarantine::SeriesEntries,
        stray::{self, Stray},
    },
    error::{Error, Result},
    model::{
        date::Date,
        layout::{self, Placed},
        partition::{Partition, Selection, Series},
        receipt::Content,
    },
    storage::{
        listing::{Ignored, Missing, SpoolListing},
        store::Store,
    },
};

/// The spool files of each series that is meant, by key.
pub type Spool = BTreeMap<Series, Vec<SpoolFile>>;

/// What lies in the spool.
#[derive(Debug, Default)]
pub struct SpoolFiles {
    /// The files of series that are meant.
    pub files: Spool,
    /// What no run takes in, among the folders that are meant.
    pub ignored: Vec<Ignored>,
    /// The folders that could not be listed.
    pub missing: Missing,
}

/// Lists the spool files that `selection` means.
///
/// # Errors
/// When the spool cannot be listed at all; a folder that cannot be listed is told in the result.
pub async fn spool_files(spool: &Store, selection: &Selection) -> Result<SpoolFiles> {
    if let Some(folder) = spool.absent() {
        return Err(Error::usage(format!(
            "{folder}: there is no such spool folder; name it with --spool or QLC_SPOOL"
        )));
    }
    let SpoolListing {
        files,
        ignored,
        missing,
        ..
    } = spool.list_spool(&prefix(selection)).await?.spool();
    let ignored = ignored
        .into_iter()
        .filter(|one| one.is_meant(selection))
        .collect();
    let mut found = SpoolFiles {
        files: Spool::new(),
        ignored,
        missing: missing.near(selection),
    };
    for (placed, object) in files {
        if selection.takes(&placed.series) {
            let home = placed.home();
            let file = SpoolFile {
                object,
                file: placed.file,
                home,
            };
            found.files.entry(placed.series).or_default().push(file);
        }
    }
    Ok(found)
}

/// The days of each series, and how many of its two objects each has.
pub type Days = BTreeMap<Series, BTreeMap<Date, u8>>;

/// What the archive has of the series that are meant.
#[derive(Debug, Default)]
pub struct ArchivedDays {
    /// The days.
    pub days: Days,
    /// Folders of days that are not spelled as qlc spells them.
    pub strays: Vec<Stray>,
    /// The folders in which there may be more.
    pub missing: Missing,
}

/// Lists what the archive has of each series that is meant.
///
/// # Errors
/// When the archive cannot be listed at all.
pub async fn archived_days(archive: &Store, selection: &Selection) -> Result<ArchivedDays> {
    let mut all = Days::new();
    if archive.is_absent() {
        return Ok(ArchivedDays::default());
    }
    let from = prefix(selection);
    let (objects, missing) = archive.list(&from).await?.apart();
    let keys = objects.iter().map(|object| object.key.as_str());
    let mut strays = stray::among(keys, Stray::of_day);
    for object in objects {
        if let Some(Ok(Placed {
            series,
            date: Some(date),
            file,
        })) = Placed::parse(&object.key)
            && selection.takes(&series)
            && (file == layout::DATA_FILE || file == layout::META_FILE)
        {
            // A day is whole when both objects are there.
            *all.entry(series).or_default().entry(date).or_insert(0_u8) += 1;
        }
    }
    // A day of which only the receipts are left was published once.
    let (receipts, hidden) = archive
        .list(&format!("{}/{from}", layout::RECEIPTS))
        .await?
        .apart();
    let keys = receipts.iter().map(|object| object.key.as_str());
    strays.extend(stray::among(keys, Stray::of_day));
    for object in receipts {
        if let Some(Ok(Placed {
            series,
            date: Some(date),
            ..
        })) = Placed::below(layout::RECEIPTS, &object.key)
            && selection.takes(&series)
        {
            let _ = all.entry(series).or_default().entry(date).or_insert(0_u8);
        }
    }
    Ok(ArchivedDays {
        days: all,
        strays,
        missing: missing
            .meant("", selection)
            .and(hidden.meant(layout::RECEIPTS, selection)),
    })
}

/// The longest folder under which everything that is meant lies.
fn prefix(selection: &Selection) -> String {
    use std::fmt::Write;

    let mut prefix = String::new();
    let [exchange] = selection.exchanges.as_slice() else {
        return prefix;
    };
    let _ = write!(prefix, "exchange={exchange}");
    let [stream] = selection.streams.as_slice() else {
        return prefix;
    };
    let _ = write!(prefix, "/stream={stream}");
    let [symbol] = selection.symbols.as_slice() else {
        return prefix;
    };
    let _ = write!(prefix, "/symbol={symbol}");
    prefix
}

/// The partitions that `options` mean, in order. A partition whose files turn out to hold no row of
/// its day is dropped later, when their footers are known.
///
/// # Errors
/// When the instant of the run has no day.
pub fn partitions(
    spool: &Spool,
    archived: &Days,
    options: &Options,
    unnamed: &BTreeMap<Series, BTreeSet<Date>>,
) -> Result<Vec<Partition>> {
    let today = Date::of(options.now)?;
    let all: BTreeSet<&Series> = spool.keys().chain(archived.keys()).collect();
    let mut partitions = Vec::new();
    for series in all {
        let mut days: BTreeSet<Date> = BTreeSet::new();
        for file in spool.get(series).into_iter().flatten() {
            if let Some(home) = file.home {
                days.extend(home.with_neighbours());
            }
        }
        days.extend(unnamed.get(series).into_iter().flatten());
        let known = archived.get(series).cloned().unwrap_or_default();
        let wanted: Vec<Date> = match options.mode {
            Mode::Daily => vec![today.pred()],
            Mode::CatchUp => {
                let unfinished = known
                    .iter()
                    .filter(|(_, objects)| **objects < 2)
                    .map(|(day, _)| *day);
                let all = days.iter().copied().chain(unfinished);
                all.filter(|d| *d < today || (options.force && *d == today))
                    .collect()
            }
            Mode::Backfill { start, end } => days
                .iter()
                .chain(known.keys())
                .copied()
                .filter(|d| *d >= start && *d <= end)
                .collect(),
            Mode::Single { date } => vec![date],
        };
        let wanted: BTreeSet<Date> = wanted.into_iter().collect();
        let single = matches!(options.mode, Mode::Single { .. });
        partitions.extend(
            wanted
                .into_iter()
                .filter(|d| single || days.contains(d) || known.contains_key(d))
                .map(|d| series.on(d)),
        );
    }
    Ok(partitions)
}

/// The files that may hold rows of `partition`: those that belong to its day or a neighbour, or to
/// none that is known.
#[must_use]
pub fn candidates(files: &[SpoolFile], partition: &Partition) -> Vec<SpoolFile> {
    let near = |f: &&SpoolFile| {
        f.home
            .is_none_or(|home| home.days_since(partition.date).abs() <= 1)
    };
    files.iter().filter(near).cloned().collect()
}

/// What QUARANTINE has of the partition's series, of any day.
///
/// # Errors
/// When the archive does not answer, or an `error.json` where `files` would be kept, or beside the
/// partition, cannot be understood. One of another day may be damaged.
pub async fn quarantined(
    places: &Places,
    partition: &Partition,
    files: &[SpoolFile],
) -> Result<Arc<SeriesEntries>> {
    let own: BTreeSet<Date> = files
        .iter()
        .filter_map(|f| accounting_day(f, None))
        .chain([partition.date])
        .collect();
    let entries = places.kept.of(&places.archive, &partition.series).await?;
    entries.days_known(&partition.series, &own)?;
    Ok(entries)
}

/// What the receipts of the neighbouring days say of files that may have rows of a partition's day:
/// evidence that counts more than what the files' footers claim.
#[derive(Debug, Default)]
pub struct NeighbourReceipts {
    /// Files (key and size) that have rows here.
    pub here: BTreeSet<(String, u64)>,
    /// Files whose rows are all accounted for, none of them here.
    pub elsewhere: BTreeSet<Identity>,
    /// The rows that the neighbours' runs found in files. A file of the same name, size and time
    /// with other rows has changed in its place.
    pub contents: BTreeMap<Identity, Content>,
}

/// Asks the receipts of the neighbouring days.
///
/// # Errors
/// When the archive does not answer.
pub async fn neighbours(
    archive: &Store,
    standing: &StandingDays,
    partition: &Partition,
) -> Result<NeighbourReceipts> {
    let mut said = NeighbourReceipts::default();
    for day in [partition.date.pred(), partition.date.succ()] {
        let neighbour = PartitionHandle::new(archive, &partition.series.on(day));
        let Some(receipt) = standing.of(&neighbour).await?.receipt else {
            continue;
        };
        for source in &receipt.sources {
            let (is_partial, content) = (source.is_partial(), source.content());
            // The good copy of a file of which a part was taken in has other rows, and may have
            // some of this day.
            if !is_partial {
                let _ = said.contents.insert(Identity::of_source(source), content);
            }
            if source.rows_elsewhere.contains_key(&partition.date) {
                let _ = said.here.insert((source.name.clone(), source.size));
            } else if source.rows_of_day() > 0 && !is_partial {
                let _ = said.elsewhere.insert(Identity::of_source(source));
            }
        }
    }
    Ok(said)
}
