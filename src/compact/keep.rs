//! Keeps in QUARANTINE what could not be compacted: a file whole, or the rows of it that have no permitted day.
//!
//! Refuses to touch the spool: the file stays as it is.

use futures::{StreamExt, TryStreamExt};

use super::{decide::SpoolFile, prepare::accounting_day, survey};
use crate::{
    engine::job::Tally,
    error::{Error, Kind, Result},
    file::{claims::Claims, extract, fault::Problem, reader::Handle, salvage::Salvage},
    model::{
        layout,
        partition::Partition,
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
    /// Held while something is put into QUARANTINE: partitions side by side may keep files of one day.
    pub turn: std::sync::Arc<tokio::sync::Mutex<()>>,
}

/// Keeps `file` whole, with the reason; returns its entry.
///
/// # Errors
/// When it cannot be copied.
pub async fn file(places: &Places, partition: &Partition, file: &SpoolFile, fault: &Fault) -> Result<Entry> {
    let home = partition.series.on(accounting_day(file, None).unwrap_or(partition.date));
    let _turn = places.turn.lock().await;
    let known = survey::quarantine_entries(&places.archive, &home).await?;
    let (sha256, _) = places.spool.sha256(&file.object.key).await?;
    let name = ErrorFile::free_name(&known, stem(file), ".parquet", &file.object.key, &sha256);
    let key = format!("{}/{name}", layout::quarantine_dir(&home));
    let (from, to) = (&places.spool, &places.archive);
    let copy = atomic::copy(from, &file.object.key, to, &key, &places.staging, &Expect::Anything).await?;
    let entry = entry(places, file, fault, copy.verified().clone(), name, copy.verified().clone(), None);
    note(places, &home, &entry).await?;
    tracing::warn!(file = %places.spool.show(&file.object.key), error = %fault, kept = %places.archive.show(&key), "quarantined");
    Ok(entry)
}

/// Keeps `file` whole, of which the good row groups are taken in, and bills the others; `None` when that is done already.
///
/// # Errors
/// When it cannot be copied.
pub async fn salvaged(
    places: &Places,
    partition: &Partition,
    file: &SpoolFile,
    salvage: &Salvage,
) -> Result<Option<Entry>> {
    let home = partition.series.on(accounting_day(file, None).unwrap_or(partition.date));
    let _turn = places.turn.lock().await;
    let known = survey::quarantine_entries(&places.archive, &home).await?;
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
    let Some(fault) = salvage_fault(salvage) else { return Ok(None) };
    let name = ErrorFile::free_name(&known, stem(file), ".parquet", &file.object.key, &sha256);
    let key = format!("{}/{name}", layout::quarantine_dir(&home));
    let (from, to) = (&places.spool, &places.archive);
    let copy = atomic::copy(from, &file.object.key, to, &key, &places.staging, &Expect::Anything).await?;
    let kept = copy.verified().clone();
    let in_ns = |value: i64| to_ns(value).map(|ns| ns.to_string());
    let lost = Salvaged {
        row_groups: groups,
        ts_event_min: salvage.span.and_then(|span| in_ns(span.min)),
        ts_event_max: salvage.span.and_then(|span| in_ns(span.max)),
        unproven: salvage.unproven,
    };
    let entry = entry(places, file, &fault, kept.clone(), name, kept, Some(salvage.rows));
    let entry = Entry { salvaged: Some(lost), ..entry };
    note(places, &home, &entry).await?;
    tracing::warn!(file = %places.spool.show(&file.object.key), error = %fault, kept = %places.archive.show(&key), "salvaged in part");
    Ok(Some(entry))
}

/// What is wrong with the lost row groups, all in one; its type is that of the first.
fn salvage_fault(salvage: &Salvage) -> Option<Fault> {
    let (_, first) = salvage.lost.first()?;
    let each: Vec<&str> = salvage.lost.iter().map(|(_, fault)| fault.message.as_str()).collect();
    let unproven = if salvage.unproven {
        "; the row hash in the footer is of all rows, so that it cannot prove the rows that were taken in"
    } else {
        ""
    };
    let what = format!(
        "{} of {} row groups do not read and are lost with {} rows, the others were taken in{unproven}: {}",
        salvage.lost.len(),
        salvage.groups,
        salvage.rows,
        each.join("; ")
    );
    Some(Fault::new(first.error_type, what))
}

fn stem(file: &SpoolFile) -> &str {
    file.file.strip_suffix(".parquet").unwrap_or(&file.file)
}

/// Keeps the rows of `file` that have no permitted day; they must be those that were billed in `tally`. `None` when they
/// are kept already.
///
/// # Errors
/// When they cannot be written, or are others than were billed.
pub async fn rows(
    places: &Places,
    partition: &Partition,
    file: &SpoolFile,
    claims: &Claims,
    tally: &Tally,
) -> Result<Option<Entry>> {
    let fault = Fault::new(
        ErrorType::TimeOutOfRange,
        format!(
            "{} of {} rows have a ts_event that is null, implausible, or further than a day from where the file belongs",
            tally.quarantined, tally.rows
        ),
    );
    if tally.quarantined == tally.rows {
        return self::file(places, partition, file, &fault).await.map(Some);
    }
    let home = partition.series.on(accounting_day(file, Some(claims)).unwrap_or(partition.date));
    let _turn = places.turn.lock().await;
    let known = survey::quarantine_entries(&places.archive, &home).await?;
    let (sha256, _) = places.spool.sha256(&file.object.key).await?;
    if are_kept(places, &home, &known, file, &sha256, tally).await? {
        return Ok(None);
    }
    let name = ErrorFile::free_name(&known, stem(file), ".rows.parquet", &file.object.key, &sha256);
    let key = format!("{}/{name}", layout::quarantine_dir(&home));
    let handle = Handle::new(&places.spool, &file.object);
    let (claims, day, expected) = (claims.clone(), file.home, (tally.quarantined, tally.quarantined_hash));
    let shown = places.spool.show(&file.object.key);
    let written = atomic::write(
        &places.archive,
        &key,
        &places.staging,
        &Expect::Anything,
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
    let entry = entry(places, file, &fault, sha256, name, written.verified().clone(), Some(tally.quarantined));
    note(places, &home, &entry).await?;
    tracing::warn!(file = %places.spool.show(&file.object.key), rows = tally.quarantined, kept = %places.archive.show(&key), "rows quarantined");
    Ok(Some(entry))
}

/// Whether the quarantine has just these rows of this very file: a day that is compacted again must not report them anew.
async fn are_kept(
    places: &Places,
    home: &Partition,
    known: &[Entry],
    file: &SpoolFile,
    sha256: &str,
    tally: &Tally,
) -> Result<bool> {
    let same = |e: &&Entry| {
        e.extent() == Extent::Rows
            && e.rows == Some(tally.quarantined)
            && e.source_path == file.object.key
            && e.sha256 == sha256
    };
    let Some(entry) = known.iter().find(same) else { return Ok(false) };
    if entry.discarded {
        // Someone has looked at them and let them go.
        return Ok(true);
    }
    let key = format!("{}/{}", layout::quarantine_dir(home), entry.kept_as);
    Ok(places.archive.head(&key).await?.is_some())
}

/// The entries of several files' far rows. A file that belongs to another day is left to the run of that day, which
/// reads it as well: two runs that keep the same rows would report them twice.
///
/// # Errors
/// As [`rows`].
pub async fn all_rows(
    places: &Places,
    partition: &Partition,
    files: &[(SpoolFile, Claims)],
    tallies: &[Tally],
) -> Result<Vec<Entry>> {
    // One run accounts for them: that of the file's own day.
    let mine = |file: &SpoolFile, claims: &Claims| accounting_day(file, Some(claims)) == Some(partition.date);
    let far = files.iter().zip(tallies).filter(|((f, c), tally)| tally.quarantined > 0 && mine(f, c));
    let kept: Vec<Option<Entry>> = futures::stream::iter(far)
        .then(|((file, claims), tally)| rows(places, partition, file, claims, tally))
        .try_collect()
        .await?;
    Ok(kept.into_iter().flatten().collect())
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
        error_type: fault.error_type,
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
        retry: false,
        discarded: false,
    }
}

/// Adds an entry to `error.json`, which other processes may be adding to as well.
async fn note(places: &Places, home: &Partition, entry: &Entry) -> Result<()> {
    let dir = layout::quarantine_dir(home);
    let key = format!("{dir}/{}", layout::ERROR_FILE);
    atomic::in_turn(&places.archive, &dir, TURNS, || async {
        let (known, expect) = survey::quarantine_version(&places.archive, home).await?;
        let known = known.first().cloned().map(|newest| ErrorFile { newest, files: known });
        let json = ErrorFile::with(known, entry.clone()).to_json()?;
        atomic::write_bytes(&places.archive, &key, &places.staging, &expect, json).await.map(|_| ())
    })
    .await
}

/// How often the turn to write `error.json` is waited for.
const TURNS: u32 = 500;
