//! Keeps in QUARANTINE what could not be compacted: a file whole, or the rows of it that have no permitted day.
//!
//! Refuses to touch the spool: the file stays as it is.

use std::{path::Path, sync::Arc};

use futures::{StreamExt, TryStreamExt};
use tokio::sync::Mutex;

use super::{decide::SpoolFile, survey};
use crate::{
    engine::{extract, fault::Problem, job::Tally, probe::Claims, reader::Handle},
    error::{Error, Kind, Result},
    model::{
        layout,
        partition::Partition,
        quarantine::{Entry, ErrorFile, ErrorType, Fault},
    },
    storage::{atomic, store::Store},
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
    /// Neighbouring days note in one `error.json`, where a file spans midnight; they take turns, or one would overwrite
    /// what the other has just added.
    pub notes: Arc<Mutex<()>>,
}

/// Keeps `file` whole, with the reason; returns its entry.
///
/// # Errors
/// When it cannot be copied.
pub async fn file(places: &Places, partition: &Partition, file: &SpoolFile, fault: &Fault) -> Result<Entry> {
    let home = partition.series.on(file.home.unwrap_or(partition.date));
    let key = format!("{}/{}", layout::quarantine_dir(&home), file.file);
    let copy = atomic::copy(&places.spool, &file.object.key, &places.archive, &key, &places.staging).await?;
    let sha256 = copy.verified().clone();
    let entry = entry(places, file, fault, sha256.clone(), file.file.clone(), sha256, None);
    note(places, &home, entry.clone()).await?;
    tracing::warn!(file = %places.spool.show(&file.object.key), error = %fault, kept = %places.archive.show(&key), "quarantined");
    Ok(entry)
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
    let home = partition.series.on(file.home.unwrap_or(partition.date));
    if are_kept(places, &home, file, tally).await? {
        return Ok(None);
    }
    let stem = file.file.strip_suffix(".parquet").unwrap_or(&file.file);
    let name = format!("{stem}.rows.parquet");
    let key = format!("{}/{name}", layout::quarantine_dir(&home));
    let handle = Handle::new(&places.spool, &file.object);
    let (claims, day, expected) = (claims.clone(), file.home, (tally.quarantined, tally.quarantined_hash));
    let shown = places.spool.show(&file.object.key);
    let written = atomic::write(
        &places.archive,
        &key,
        &places.staging,
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
    let (sha256, _) = places.spool.sha256(&file.object.key).await?;
    let entry = entry(places, file, &fault, sha256, name, written.verified().clone(), Some(tally.quarantined));
    note(places, &home, entry.clone()).await?;
    tracing::warn!(file = %places.spool.show(&file.object.key), rows = tally.quarantined, kept = %places.archive.show(&key), "rows quarantined");
    Ok(Some(entry))
}

/// Whether the quarantine has just these rows of this very file: a day that is compacted again, or one of which no row is
/// left, must not report them anew.
async fn are_kept(places: &Places, home: &Partition, file: &SpoolFile, tally: &Tally) -> Result<bool> {
    for entry in survey::quarantine_entries(&places.archive, home).await? {
        let may_be = entry.rows == Some(tally.quarantined)
            && entry.source_path == file.object.key
            && entry.size == file.object.size;
        if may_be
            && (entry.modified_us == file.object.modified_us
                || places.spool.sha256(&file.object.key).await?.0 == entry.sha256)
        {
            let key = format!("{}/{}", layout::quarantine_dir(home), entry.kept_as);
            return Ok(places.archive.head(&key).await?.is_some());
        }
    }
    Ok(false)
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
    let at_home = |file: &SpoolFile| file.home.is_none_or(|home| home == partition.date);
    let far = files.iter().zip(tallies).filter(|((file, _), tally)| tally.quarantined > 0 && at_home(file));
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
        reproduce: format!("qlc inspect {}", quoted(&places.spool.show(&file.object.key))),
        kept_as,
        kept_sha256,
        rows,
        modified_us: file.object.modified_us,
    }
}

/// `text` as one word of a shell command.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-=:".contains(&b);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

async fn note(places: &Places, home: &Partition, entry: Entry) -> Result<()> {
    let _turn = places.notes.lock().await;
    let known = survey::quarantine_entries(&places.archive, home).await?;
    let known = known.first().cloned().map(|newest| ErrorFile { newest, files: known });
    let key = format!("{}/{}", layout::quarantine_dir(home), layout::ERROR_FILE);
    let json = ErrorFile::with(known, entry).to_json()?;
    let _ = atomic::write_bytes(&places.archive, &key, Path::new(&places.staging), json).await?;
    Ok(())
}
