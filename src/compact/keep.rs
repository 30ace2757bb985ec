//! Keeps in QUARANTINE what could not be compacted: a file whole, or the rows of it that have no
//! permitted day.
//!
//! The file in the spool stays as it is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::BoxFuture;

use super::{
    decide::SpoolFile,
    prepare::{InputFile, accounting_day},
};
use crate::{
    archive::{
        partition::PartitionHandle,
        quarantine::{self, KeptName, SeriesEntries},
    },
    error::{Error, Kind, Result},
    file::{claims::Claims, extract, fault::Problem, reader::Handle, salvage::Salvage},
    job::SourceTally,
    model::{
        count,
        date::Date,
        partition::{Partition, Series},
        quarantine::{Entry, ErrorFile, ErrorType, Extent, Fault, Salvaged},
        shell::word,
        time::to_ns,
    },
    storage::{Expect, atomic, store::Store},
};

/// Where things are and what time it is.
#[derive(Debug, Clone)]
pub struct Places {
    /// The spool.
    pub spool: Store,
    /// The archive.
    pub archive: Store,
    /// Where bucket objects are put together.
    pub staging: std::path::PathBuf,
    /// Now, RFC 3339 in UTC, to the second.
    pub time: String,
    /// The task that the work is, on a cluster.
    pub task: Option<String>,
    /// Held while something is put into QUARANTINE: partitions side by side may keep files of one
    /// day.
    pub turn: Arc<tokio::sync::Mutex<()>>,
    /// What was read of QUARANTINE.
    pub kept: Arc<KeptEntries>,
}

/// So many series are remembered at most; a run works on few of them at a time.
const SERIES_KNOWN: usize = 64;

/// What QUARANTINE has of the series that a run works on: the days of one ask for the same. Read
/// again when the run has added to it.
#[derive(Debug, Default)]
pub struct KeptEntries(Mutex<KnownSeries>);

#[derive(Debug, Default)]
struct KnownSeries {
    /// How often something was forgotten.
    changes: u64,
    entries: BTreeMap<Series, Arc<SeriesEntries>>,
}

impl KeptEntries {
    /// What QUARANTINE has of a series.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn of(&self, archive: &Store, series: &Series) -> Result<Arc<SeriesEntries>> {
        let before = {
            let known = self.locked();
            if let Some(entries) = known.entries.get(series) {
                return Ok(Arc::clone(entries));
            }
            known.changes
        };
        let entries = Arc::new(SeriesEntries::list(archive, series).await?);
        let mut known = self.locked();
        if known.changes == before {
            let _ = known.entries.insert(series.clone(), Arc::clone(&entries));
            if known.entries.len() > SERIES_KNOWN {
                let _ = known.entries.pop_first();
            }
        }
        Ok(entries)
    }

    /// Forgets what was read of a series, also what is being read now.
    pub fn forget(&self, series: &Series) {
        let mut known = self.locked();
        known.changes += 1;
        let _ = known.entries.remove(series);
    }

    fn locked(&self) -> MutexGuard<'_, KnownSeries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds entries to those of `home`.
async fn add(places: &Places, home: &PartitionHandle, new: &[Entry]) -> Result<()> {
    let added = quarantine::add(home, &places.staging, new).await;
    places.kept.forget(&home.partition().series);
    added
}

/// Keeps `files` whole, each with the reason; returns their entries. `error.json` is written once
/// for all of a day.
///
/// # Errors
/// When one cannot be copied.
pub async fn files(
    places: &Places,
    partition: &Partition,
    files: &[(SpoolFile, Fault)],
) -> Result<Vec<Entry>> {
    let mut by_home: BTreeMap<Date, Vec<&(SpoolFile, Fault)>> = BTreeMap::new();
    for bad in files {
        by_home
            .entry(accounting_day(&bad.0, None).unwrap_or(partition.date))
            .or_default()
            .push(bad);
    }
    let mut all = Vec::with_capacity(files.len());
    for (day, files) in by_home {
        let home = PartitionHandle::new(&places.archive, &partition.series.on(day));
        let _turn = places.turn.lock().await;
        let mut known = quarantine::entries(&home).await?;
        let mut new = Vec::with_capacity(files.len());
        for (file, fault) in files {
            let (sha256, _) = places.spool.sha256(&file.object.key).await?;
            let names = ErrorFile::names(stem(file), ".parquet", &sha256);
            let (spool, key) = (&places.spool, &file.object.key);
            let name = quarantine::keep(&home, &places.staging, spool, key, &sha256, &known, names)
                .await?;
            tracing::info!(file = %spool.show(key), error = %fault, kept = %places.archive.show(&home.kept_key(&name)), "quarantined");
            let entry = entry(places, file, fault, sha256.clone(), name, sha256, None);
            known.push(entry.clone());
            new.push(entry);
        }
        add(places, &home, &new).await?;
        all.extend(new);
    }
    Ok(all)
}

/// Keeps `file` whole, of which the good row groups are taken in, and bills the others; `None` when
/// that is done already.
///
/// # Errors
/// When it cannot be copied.
pub async fn salvaged(
    places: &Places,
    partition: &Partition,
    file: &SpoolFile,
    salvage: &Salvage,
) -> Result<Option<Entry>> {
    let day = accounting_day(file, None).unwrap_or(partition.date);
    let home = PartitionHandle::new(&places.archive, &partition.series.on(day));
    let _turn = places.turn.lock().await;
    let known = quarantine::entries(&home).await?;
    let (sha256, _) = places.spool.sha256(&file.object.key).await?;
    let groups: Vec<usize> = salvage.lost.iter().map(|(group, _)| *group).collect();
    let same = |e: &Entry| {
        e.source_path == file.object.key
            && e.sha256 == sha256
            && e.salvaged.as_ref().is_some_and(|s| s.row_groups == groups)
    };
    if known.iter().any(same) {
        // The run of a neighbouring day has found the same.
        return Ok(None);
    }
    let Some(fault) = salvage_fault(salvage) else {
        return Ok(None);
    };
    let names = ErrorFile::names(stem(file), ".parquet", &sha256);
    let (spool, key) = (&places.spool, &file.object.key);
    let name = quarantine::keep(&home, &places.staging, spool, key, &sha256, &known, names).await?;
    let kept = home.kept_key(&name);
    let in_ns = |value: i64| to_ns(value).map(|ns| ns.to_string());
    let lost = Salvaged {
        row_groups: groups,
        ts_event_min: salvage.span.and_then(|span| in_ns(span.min)),
        ts_event_max: salvage.span.and_then(|span| in_ns(span.max)),
        unproven: salvage.unproven,
    };
    let entry = entry(
        places,
        file,
        &fault,
        sha256.clone(),
        name,
        sha256,
        Some(salvage.rows),
    );
    let entry = Entry {
        salvaged: Some(lost),
        ..entry
    };
    add(places, &home, std::slice::from_ref(&entry)).await?;
    tracing::info!(file = %spool.show(key), error = %fault, kept = %places.archive.show(&kept), "salvaged in part");
    Ok(Some(entry))
}

/// What is wrong with the lost row groups, all in one; its type is that of the first.
fn salvage_fault(salvage: &Salvage) -> Option<Fault> {
    let (_, first) = salvage.lost.first()?;
    let each: Vec<&str> = salvage
        .lost
        .iter()
        .map(|(_, fault)| fault.message.as_str())
        .collect();
    let unproven = if salvage.unproven {
        "; the row hash in the footer is of all rows, so that it cannot prove the rows that were taken in"
    } else {
        ""
    };
    let what = format!(
        "{} of {} row groups do not read and are lost with {}, the others were taken in{unproven}: {}",
        salvage.lost.len(),
        salvage.groups,
        count::rows(salvage.rows),
        each.join("; ")
    );
    Some(Fault::new(first.error_type, what))
}

fn stem(file: &SpoolFile) -> &str {
    file.file.strip_suffix(".parquet").unwrap_or(&file.file)
}

/// Keeps the rows of `file` that have no permitted day; they must be those that were billed in
/// `tally`. `None` when they are kept already.
///
/// # Errors
/// When they cannot be written, or are others than were billed.
pub async fn rows(
    places: &Places,
    partition: &Partition,
    file: &SpoolFile,
    claims: &Claims,
    tally: &SourceTally,
) -> Result<Option<Entry>> {
    let fault = Fault::new(
        ErrorType::TimeOutOfRange,
        format!(
            "{} of {} {} a ts_event that is null, implausible, or further than a day from where the file belongs",
            count::grouped(tally.quarantined),
            count::rows(tally.rows),
            if tally.quarantined == 1 {
                "has"
            } else {
                "have"
            }
        ),
    );
    if tally.quarantined == tally.rows {
        return Ok(files(places, partition, &[(file.clone(), fault)])
            .await?
            .pop());
    }
    let day = accounting_day(file, Some(claims)).unwrap_or(partition.date);
    let home = PartitionHandle::new(&places.archive, &partition.series.on(day));
    let _turn = places.turn.lock().await;
    let known = quarantine::entries(&home).await?;
    let (sha256, _) = places.spool.sha256(&file.object.key).await?;
    if are_kept(&home, &known, file, &sha256, tally).await? {
        return Ok(None);
    }
    let expected = (tally.quarantined, tally.quarantined_hash);
    let names = ErrorFile::names(stem(file), ".rows.parquet", &sha256);
    let of_source = (file.object.key.as_str(), sha256.as_str());
    // A run that was killed before it could write the entry may have left the rows.
    let is_same: &(dyn for<'a> Fn(&'a str) -> BoxFuture<'a, Result<bool>> + Send + Sync) = &|key| {
        let (archive, key) = (places.archive.clone(), key.to_owned());
        Box::pin(async move { Ok(extract::count_in(&archive, &key).await == Some(expected)) })
    };
    let place = quarantine::place_for(&home, &known, names, of_source, is_same).await?;
    let (name, is_kept) = match place {
        KeptName::Free(name) => (name, false),
        KeptName::Kept(name) => (name, true),
    };
    let key = home.kept_key(&name);
    if is_kept {
        let (kept_sha256, _) = places.archive.sha256(&key).await?;
        let entry = entry(
            places,
            file,
            &fault,
            sha256,
            name,
            kept_sha256,
            Some(tally.quarantined),
        );
        add(places, &home, std::slice::from_ref(&entry)).await?;
        return Ok(Some(entry));
    }
    let handle = Handle::new(&places.spool, &file.object);
    let (claims, day) = (claims.clone(), file.home);
    let shown = places.spool.show(&file.object.key);
    let written = atomic::write(
        &places.archive,
        &key,
        &places.staging,
        &Expect::Absent,
        atomic::Steps {
            write: Box::new(move |path| {
                Box::pin(async move {
                    let found = extract::far_rows(&handle, &claims, day, &path).await.map_err(storage)?;
                    if found == expected {
                        return Ok(());
                    }
                    Err(Error::new(
                        Kind::Proof,
                        format!(
                            "{shown}: {} rows with hash {} were to be quarantined, {} with {} were found",
                            expected.0, expected.1, found.0, found.1
                        ),
                    ))
                })
            }),
            verify: Box::new(move |path| {
                Box::pin(async move {
                    let found = extract::count(&path).await.map_err(storage)?;
                    if found == expected {
                        return Store::open(&path.display().to_string())?.sha256("").await.map(|(sha256, _)| sha256);
                    }
                    Err(Error::new(
                        Kind::Proof,
                        format!("{}: other rows were read back than were written", path.display()),
                    ))
                })
            }),
            before_visible: Box::new(|_| Box::pin(async { Ok(()) })),
        },
    )
    .await?;
    let entry = entry(
        places,
        file,
        &fault,
        sha256,
        name,
        written.verified().clone(),
        Some(tally.quarantined),
    );
    add(places, &home, std::slice::from_ref(&entry)).await?;
    tracing::info!(file = %places.spool.show(&file.object.key), rows = tally.quarantined, kept = %places.archive.show(&key), "rows quarantined");
    Ok(Some(entry))
}

/// Whether the quarantine has just these rows of this very file: a day that is compacted again must
/// not report them anew.
async fn are_kept(
    home: &PartitionHandle,
    known: &[Entry],
    file: &SpoolFile,
    sha256: &str,
    tally: &SourceTally,
) -> Result<bool> {
    let same = |e: &&Entry| {
        e.extent() == Extent::Rows
            && e.rows == Some(tally.quarantined)
            && e.source_path == file.object.key
            && e.sha256 == sha256
    };
    let Some(entry) = known.iter().find(same) else {
        return Ok(false);
    };
    if entry.discarded {
        // Someone has looked at them and let them go.
        return Ok(true);
    }
    Ok(home
        .archive()
        .head(&home.kept_key(&entry.kept_as))
        .await?
        .is_some())
}

/// The entries of several files' far rows. Whoever bills such rows sees to it that they are kept
/// before anything is published; where the run of another day has kept the same ones, there is
/// nothing to add.
///
/// # Errors
/// As [`rows`].
pub async fn all_rows(
    places: &Places,
    partition: &Partition,
    inputs: &[InputFile],
    tallies: &[SourceTally],
) -> Result<Vec<Entry>> {
    let mut kept = Vec::new();
    for (input, tally) in inputs
        .iter()
        .zip(tallies)
        .filter(|(_, tally)| tally.quarantined > 0)
    {
        kept.extend(rows(places, partition, &input.file, &input.claims, tally).await?);
    }
    Ok(kept)
}

fn storage(problem: Problem) -> Error {
    match problem {
        Problem::Storage(error) => error,
        other => Error::new(Kind::Proof, format!("rows for QUARANTINE: {other}")),
    }
}

fn entry(
    places: &Places,
    file: &SpoolFile,
    fault: &Fault,
    sha256: String,
    kept_as: String,
    kept_sha256: String,
    rows: Option<u64>,
) -> Entry {
    Entry {
        error_type: fault.error_type.into(),
        message: fault.message.clone(),
        source_path: file.object.key.clone(),
        size: file.object.size,
        sha256,
        time: places.time.clone(),
        qlc_version: env!("CARGO_PKG_VERSION").to_owned(),
        reproduce: format!("qlc inspect {}", word(&places.spool.show(&file.object.key))),
        kept_as,
        kept_sha256,
        rows,
        modified_us: file.object.modified_us,
        salvaged: None,
        task: places.task.clone(),
        retry: false,
        discarded: false,
        later: serde_json::Map::new(),
    }
}
