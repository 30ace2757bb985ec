//! What both stores hold that matters for coverage: one listing of each, then the small documents
//! of the days in question. Rows are not read; of files that nothing accounts for the footers are
//! read, until one has rows.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use futures::{StreamExt, TryStreamExt};

use crate::{
    archive::{
        copies,
        partition::{PartitionHandle, PartitionObjects},
        quarantine::{self, SeriesEntries},
        state::{self, Depth, State, advice},
    },
    error::{Error, Kind, Result},
    file::{fault::Problem, reader::Handle},
    model::{
        coverage::{Archived, Contribution, Figures},
        date::Date,
        layout::{self, DATA_FILE, ERROR_FILE, META_FILE, Placed},
        partition::{Partition, Selection, Series},
        quality::{self, Tally},
        quarantine::Entry,
        receipt::Receipt,
    },
    storage::{
        listing::{Ignored, SpoolListing, Unlisted},
        store::{Object, Store},
    },
};

/// Documents that are read at a time.
const AT_A_TIME: usize = 32;

/// What is known of a series.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What stands in the archive.
    pub(super) archived: BTreeMap<Date, PartitionObjects>,
    /// Files of the spool by the day they belong to.
    files: BTreeMap<Date, Vec<Object>>,
    quarantined: BTreeSet<Date>,
}

impl Known {
    /// The days of which anything is known.
    pub(super) fn days(&self) -> impl Iterator<Item = Date> {
        self.archived
            .keys()
            .chain(self.files.keys())
            .chain(&self.quarantined)
            .copied()
    }
}

impl FromIterator<Date> for Known {
    fn from_iter<I: IntoIterator<Item = Date>>(days: I) -> Self {
        Self {
            quarantined: days.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// Both stores as they are listed.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// What is known of each series that is meant.
    pub(super) series: BTreeMap<Series, Known>,
    /// Files of the spool that tell no day.
    pub(super) without_day: u64,
    /// Parquet files of the spool that belong to no series.
    pub(super) ignored: Vec<Ignored>,
    /// Folders that could not be listed; series that may have files there are left out.
    pub(super) unlisted: Vec<Unlisted>,
    /// The keys of the collector's quality windows, by day.
    windows: BTreeMap<Date, Vec<String>>,
}

impl Gathered {
    /// The last day of which anything is known.
    pub(super) fn last(&self) -> Option<Date> {
        self.series.values().flat_map(Known::days).max()
    }
}

/// Lists both stores.
pub(super) async fn list(
    spool: Option<&Store>,
    archive: &Store,
    selection: &Selection,
) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    let (objects, missing) = archive.list("").await?.apart();
    for object in objects {
        if let Some(Ok(Placed {
            series,
            date: Some(date),
            file,
        })) = Placed::below(layout::RECEIPTS, &object.key)
            && selection.takes(&series)
        {
            gathered
                .series
                .entry(series)
                .or_default()
                .archived
                .entry(date)
                .or_default()
                .take_receipt(&file);
            continue;
        }
        let kept = Placed::below(layout::QUARANTINE, &object.key);
        let is_kept = kept.is_some();
        let Some(Ok(Placed {
            series,
            date: Some(date),
            file,
        })) = kept.or_else(|| Placed::parse(&object.key))
        else {
            continue;
        };
        let of_interest = if is_kept {
            file == ERROR_FILE
        } else {
            file == DATA_FILE || file == META_FILE
        };
        if !of_interest || !selection.takes(&series) {
            continue;
        }
        let known = gathered.series.entry(series).or_default();
        if is_kept {
            let _ = known.quarantined.insert(date);
            continue;
        }
        let stands = known.archived.entry(date).or_default();
        *(if file == DATA_FILE {
            &mut stands.data
        } else {
            &mut stands.meta
        }) = Some(object);
    }
    let listed = match spool {
        Some(spool) => spool.list("").await?.spool(),
        None => SpoolListing::default(),
    };
    for object in listed.others {
        if let Some(day) = window_day(&object.key) {
            gathered.windows.entry(day).or_default().push(object.key);
        }
    }
    for (placed, object) in listed.files {
        if !selection.takes(&placed.series) {
            continue;
        }
        match placed.home() {
            Some(day) => {
                gathered
                    .series
                    .entry(placed.series)
                    .or_default()
                    .files
                    .entry(day)
                    .or_default()
                    .push(object);
            }
            None => gathered.without_day += 1,
        }
    }
    // What is not known is not judged.
    let is_known = |series: &Series| {
        let kept = missing
            .of(layout::RECEIPTS, series)
            .or_else(|| missing.of(layout::QUARANTINE, series));
        let gap = missing.of("", series).or(kept);
        gap.or_else(|| listed.missing.of("", series)).is_none()
    };
    gathered.series.retain(|series, _| is_known(series));
    gathered.ignored = listed
        .ignored
        .into_iter()
        .filter(|one| one.is_meant(selection))
        .collect();
    for base in ["", layout::RECEIPTS, layout::QUARANTINE] {
        gathered
            .unlisted
            .extend(missing.clone().meant(base, selection).into_all());
    }
    gathered
        .unlisted
        .extend(listed.missing.near(selection).into_all());
    gathered.unlisted.sort();
    gathered.unlisted.dedup();
    Ok(gathered)
}

/// The day of a quality window.
fn window_day(key: &str) -> Option<Date> {
    layout::without_collector(key)
        .strip_prefix(quality::DIR)?
        .strip_prefix("/date=")?
        .split('/')
        .next()?
        .parse()
        .ok()
}

/// What the documents of the expected partitions say.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What stands in the archive.
    pub(super) archived: BTreeMap<Partition, Archived>,
    /// What lies in QUARANTINE.
    pub(super) quarantine: BTreeMap<Partition, Vec<Entry>>,
    /// The same of all days of the series that have files which nothing accounts for.
    kept: BTreeMap<Series, SeriesEntries>,
    /// The quality windows of each day.
    windows: BTreeMap<Date, Windows>,
    /// What published partitions were made of; days beside the expected ones are among them.
    receipts: BTreeMap<Partition, Receipt>,
    /// How many files of each expected partition nothing in the archive accounts for, where there
    /// are any.
    waiting: BTreeMap<Partition, u64>,
    /// Files that could not be read, and why.
    pub(super) unread: Vec<String>,
}

/// The quality windows of a day.
#[derive(Debug, Default)]
struct Windows {
    tallies: Vec<Tally>,
    /// The collector that left each of them, where several have a name.
    collectors: Vec<Option<String>>,
}

/// Reads the documents of the expected partitions, and the receipts of the days beside them.
pub(super) async fn read(
    spool: Option<&Store>,
    archive: &Store,
    gathered: &Gathered,
    expected: &[Partition],
) -> Result<Found> {
    let wanted: BTreeSet<Partition> = expected.iter().flat_map(around).collect();
    let (mut stands, mut errors) = (Vec::new(), Vec::new());
    for partition in &wanted {
        let Some(known) = gathered.series.get(&partition.series) else {
            continue;
        };
        if let Some(found) = known.archived.get(&partition.date) {
            stands.push(async move {
                let stands = published(archive, partition, found).await;
                Ok((partition.clone(), archive.one_of_many(stands)?))
            });
        }
        if known.quarantined.contains(&partition.date) {
            let key = format!("{}/{ERROR_FILE}", layout::quarantine_dir(partition));
            errors.push(async move {
                let bytes = archive.read(&key).await;
                Ok((partition.clone(), archive.one_of_many(bytes)?))
            });
        }
    }
    let mut found = Found::default();
    let stands: Vec<_> = futures::stream::iter(stands)
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    for (partition, stands) in stands {
        let stands = stands.unwrap_or_else(|error| {
            found.unread.push(format!("{partition}: {}", error.chain()));
            Some((Archived::Unproven(error.chain()), None))
        });
        let Some((archived, receipt)) = stands else {
            continue;
        };
        found
            .receipts
            .extend(receipt.map(|receipt| (partition.clone(), receipt)));
        let _ = found.archived.insert(partition, archived);
    }
    let errors: Vec<_> = futures::stream::iter(errors)
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    for (partition, bytes) in errors {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                found.unread.push(error.chain());
                continue;
            }
        };
        let key = format!("{}/{ERROR_FILE}", layout::quarantine_dir(&partition));
        match quarantine::parse(archive, &key, bytes.as_deref().unwrap_or_default()) {
            Ok(entries) => {
                let _ = found.quarantine.insert(partition, entries);
            }
            Err(error) => found.unread.push(error.chain()),
        }
    }
    if let Some(spool) = spool {
        found.windows = windows(spool, gathered, expected, &mut found.unread).await?;
        let open = expected
            .iter()
            .filter(|partition| !found.unaccounted(gathered, partition).is_empty());
        let open: BTreeSet<&Series> = open.map(|partition| &partition.series).collect();
        for series in open {
            if let Some(known) = gathered.series.get(series)
                && !known.quarantined.is_empty()
            {
                let days = known.quarantined.clone();
                let kept = SeriesEntries::read(archive, series, days).await?;
                let _ = found.kept.insert(series.clone(), kept);
            }
        }
        for (partition, waiting) in waiting(spool, gathered, &found, expected).await? {
            found.unread.extend(waiting.unread);
            if waiting.files > 0 {
                let _ = found.waiting.insert(partition, waiting.files);
            }
        }
    }
    Ok(found)
}

/// Files that wait for a compaction.
struct Waiting {
    files: u64,
    /// Those of them that could not be read, and why.
    unread: Vec<String>,
}

/// How many files of each partition wait for a compaction. Files without rows wait for none: where
/// nothing else is left of a partition, the footers tell. One file with rows is enough to know.
/// Neither do those wait whose bytes are in QUARANTINE under another name.
async fn waiting(
    spool: &Store,
    gathered: &Gathered,
    found: &Found,
    expected: &[Partition],
) -> Result<Vec<(Partition, Waiting)>> {
    let reads = expected.iter().map(|partition| async move {
        let mut files = Vec::new();
        for file in found.unaccounted(gathered, partition) {
            let kept = found.kept.get(&partition.series);
            if !is_quarantined(spool, kept, file).await {
                files.push(file);
            }
        }
        let mut waiting = Waiting {
            files: 0,
            unread: Vec::new(),
        };
        for file in &files {
            match spool.one_of_many(has_rows(spool, file).await)? {
                Ok(false) => continue,
                Ok(true) => {}
                Err(error) => waiting.unread.push(error.chain()),
            }
            waiting.files = files.len() as u64;
            break;
        }
        Ok((partition.clone(), waiting))
    });
    futures::stream::iter(reads)
        .buffered(AT_A_TIME)
        .try_collect()
        .await
}

/// Whether QUARANTINE has the bytes of a file, or had them until they were discarded. Only a file
/// that has the size of an entry is read; one that cannot be read waits.
async fn is_quarantined(spool: &Store, kept: Option<&SeriesEntries>, file: &Object) -> bool {
    let of_file = || {
        let entries = kept.map(|kept| kept.of_file(&file.key, file.size));
        entries
            .into_iter()
            .flatten()
            .filter(|(_, entry)| entry.may_be_of(&file.key, file.size))
    };
    if of_file().next().is_none() {
        return false;
    }
    let read = spool.sha256(&file.key).await;
    read.is_ok_and(|(sha256, _)| of_file().any(|(_, entry)| entry.sha256 == sha256))
}

/// Whether a file has rows, or may have some.
async fn has_rows(spool: &Store, file: &Object) -> Result<bool> {
    match Handle::new(spool, file).footer().await {
        Ok(footer) => Ok(footer.file_metadata().num_rows() > 0),
        Err(Problem::Storage(error)) => Err(error),
        Err(_) => Ok(true),
    }
}

async fn windows(
    spool: &Store,
    gathered: &Gathered,
    expected: &[Partition],
    unread: &mut Vec<String>,
) -> Result<BTreeMap<Date, Windows>> {
    let days: BTreeSet<Date> = expected.iter().map(|partition| partition.date).collect();
    let mut reads = Vec::new();
    for (day, keys) in gathered
        .windows
        .iter()
        .filter(|(day, _)| days.contains(day))
    {
        reads.extend(keys.iter().map(|key| async move {
            let bytes = spool.one_of_many(spool.read(key).await)?;
            Ok::<_, Error>((*day, key, bytes))
        }));
    }
    let mut windows: BTreeMap<Date, Windows> = BTreeMap::new();
    let mut reads = futures::stream::iter(reads).buffered(AT_A_TIME);
    while let Some((day, key, bytes)) = reads.try_next().await? {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                unread.push(error.chain());
                continue;
            }
        };
        let collector = layout::collector_of(key).map(str::to_owned);
        let of_day = windows.entry(day).or_default();
        of_day
            .tallies
            .extend(quality::from_lines(bytes.as_deref().unwrap_or_default()));
        of_day.collectors.resize(of_day.tallies.len(), collector);
    }
    Ok(windows)
}

/// What stands of a partition, by its small documents and the size of its data; `None` where
/// nothing was ever published.
async fn published(
    archive: &Store,
    partition: &Partition,
    listed: &PartitionObjects,
) -> Result<Option<(Archived, Option<Receipt>)>> {
    let handle = PartitionHandle::new(archive, partition);
    let state = match state::inspect_listed(&handle, listed.clone(), Depth::Documents).await {
        Ok(inspection) => inspection.state,
        Err(error) if error.kind() == Kind::Damage => {
            return Ok(Some((Archived::Unproven(error.chain()), None)));
        }
        Err(error) => return Err(error),
    };
    let what_to_do = advice(&state).unwrap_or_default();
    let unproven = |why: String| {
        Ok(Some((
            Archived::Unproven(format!("{why}: {what_to_do}")),
            None,
        )))
    };
    let receipt = match &state {
        State::Empty => return Ok(None),
        State::Published(published) => published.receipt().clone(),
        State::Interrupted(_) if listed.meta.is_none() => {
            return unproven("data.parquet without meta.json".to_owned());
        }
        State::Interrupted(_) => return unproven("meta.json is that of other data".to_owned()),
        State::Lost(loss) => return unproven(loss.to_string()),
        State::Unproven(why) => return unproven(why.to_string()),
    };
    let share = |source: &crate::model::receipt::Source| {
        let bytes = u128::from(source.size) * u128::from(source.rows_of_day())
            / u128::from(source.rows.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    };
    let figures = Figures {
        rows: receipt.outcome.rows,
        bytes: receipt.outcome.bytes,
        bytes_in: Some(receipt.sources.iter().map(share).sum()),
        files: receipt.source_files(),
        collectors: contributions(&receipt),
        published_at: receipt.created_at.clone(),
    };
    let receipt = copies::with_noted(&handle, listed, receipt).await?;
    Ok(Some((Archived::Published(figures), Some(receipt))))
}

fn contributions(receipt: &Receipt) -> Vec<Contribution> {
    let collectors = receipt.merge.iter().flat_map(|merge| &merge.collectors);
    let given = collectors.map(|one| Contribution {
        name: one.name.clone(),
        rows: one.rows,
        gain: one.gain,
        conflicts: one.conflicts,
    });
    given.collect()
}

/// A day of a series and its neighbours.
fn around(partition: &Partition) -> [Partition; 3] {
    let days = partition.date.with_neighbours();
    days.map(|day| partition.series.on(day))
}

impl Found {
    /// The receipts of a day and its neighbours.
    fn receipts_around(&self, partition: &Partition) -> impl Iterator<Item = &Receipt> {
        around(partition)
            .into_iter()
            .filter_map(|partition| self.receipts.get(&partition))
    }

    /// How many files of the spool belong to the day and wait for a compaction.
    pub(super) fn waiting(&self, partition: &Partition) -> u64 {
        self.waiting.get(partition).copied().unwrap_or(0)
    }

    /// Files of the spool that belong to the day and that nothing in the archive accounts for, by
    /// name and size.
    fn unaccounted<'a>(&self, gathered: &'a Gathered, partition: &Partition) -> Vec<&'a Object> {
        let files = gathered
            .series
            .get(&partition.series)
            .and_then(|known| known.files.get(&partition.date));
        let mut known: BTreeSet<(&str, u64)> = BTreeSet::new();
        for receipt in self.receipts_around(partition) {
            known.extend(
                receipt
                    .sources
                    .iter()
                    .map(|source| (source.name.as_str(), source.size)),
            );
            known.extend(
                receipt
                    .copies
                    .iter()
                    .map(|copy| (copy.name.as_str(), copy.size)),
            );
        }
        let kept = around(partition)
            .into_iter()
            .filter_map(|partition| self.quarantine.get(&partition))
            .flatten()
            .filter(|entry| !entry.retry);
        known.extend(kept.map(|entry| (entry.source_path.as_str(), entry.size)));
        files
            .into_iter()
            .flatten()
            .filter(|file| !known.contains(&(file.key.as_str(), file.size)))
            .collect()
    }

    /// The quality windows of the day that may be about the series: those of the collectors of
    /// which it has files. Where it has none of them, nobody knows whose windows are about it, and
    /// all are taken.
    pub(super) fn windows(&self, gathered: &Gathered, partition: &Partition) -> Cow<'_, [Tally]> {
        let Some(all) = self.windows.get(&partition.date) else {
            return Cow::Borrowed(&[]);
        };
        if all.collectors.iter().all(Option::is_none) {
            return Cow::Borrowed(&all.tallies);
        }
        let files = gathered
            .series
            .get(&partition.series)
            .and_then(|known| known.files.get(&partition.date));
        let in_spool = files.into_iter().flatten().map(|file| file.key.as_str());
        let archived = self
            .receipts_around(partition)
            .flat_map(|receipt| &receipt.sources)
            .map(|source| source.name.as_str());
        let its: BTreeSet<&str> = in_spool
            .chain(archived)
            .filter_map(layout::collector_of)
            .collect();
        let is_its = |collector: &Option<String>| {
            its.is_empty() || collector.as_deref().is_none_or(|name| its.contains(name))
        };
        let exchange = partition.series.exchange.as_str();
        let windows = all.tallies.iter().zip(&all.collectors);
        windows
            .filter(|(tally, by)| tally.exchange == exchange && is_its(by))
            .map(|(tally, _)| tally.clone())
            .collect()
    }

    /// Rows of the day that the receipts of its neighbours tell of.
    pub(super) fn rows_nearby(&self, partition: &Partition) -> u64 {
        let sources = self
            .receipts_around(partition)
            .flat_map(|receipt| &receipt.sources);
        sources
            .filter(|s| !s.by_base)
            .filter_map(|source| source.rows_elsewhere.get(&partition.date))
            .sum()
    }
}
