//! The journal of a pruning: `_pruned/date=…/{run}.intent.ndjson` before the first removal,
//! `{run}.ndjson` after the last.
//!
//! ```text
//! intent   journal   spool          after a crash, the next run …
//! absent   absent    all            prunes again
//! whole    absent    all, some, no  writes the journal from what is left of the spool, removes the intent, prunes again
//! whole    whole     no             removes the intent
//! absent   whole     no             (nothing to do)
//! ```
//!
//! No decision is made from it: what is left is proven again.
//!
//! A run that lives completes its own journal. In a folder it holds a lock on its intent, which the
//! kernel drops when it dies. A bucket does not tell a dead run from one that waits, and age says
//! nothing: there an intent stays as long as it announces a removal that may still come, of a file
//! that lies in the spool as it was. The next run after that file has gone completes it.

use std::path::Path;

use crate::{
    error::{Error, Kind, Result},
    model::{
        date::Date,
        journal::{Pruned, PrunedRecord, RemovalResult, from_lines, to_lines},
        layout,
    },
    storage::{
        Expect,
        atomic::{self, FileLock},
        remove::{Removal, remove},
        runs,
        store::Store,
    },
};

const INTENT: &str = ".intent.ndjson";
const JOURNAL: &str = ".ndjson";

/// Where a journal is written, and when.
pub(super) struct Place<'a> {
    /// The archive.
    pub(super) archive: &'a Store,
    /// Where an object of a bucket is put together.
    pub(super) staging: &'a Path,
    /// The day of the run.
    pub(super) today: Date,
    /// Its instant, RFC 3339 in UTC.
    pub(super) time: &'a str,
}

/// A run whose intent is written. In a folder the intent is locked as long as this value lives.
pub(super) struct Announced {
    /// What the run is known by.
    run: String,
    _lock: Option<FileLock>,
}

/// Writes the intent.
pub(super) async fn announce(at: &Place<'_>, lines: &[Pruned]) -> Result<Announced> {
    let run = format!(
        "{}/{}",
        layout::journal_dir(layout::PRUNED, at.today),
        runs::name(at.time)
    );
    let intent = format!("{run}{INTENT}");
    let written = atomic::write_bytes(
        at.archive,
        &intent,
        at.staging,
        &Expect::Absent,
        to_lines(lines)?,
    );
    let lock = written.await?.into_lock();
    Ok(Announced { run, _lock: lock })
}

/// Writes the journal and removes the intent; returns the key of the journal.
pub(super) async fn complete(
    at: &Place<'_>,
    announced: Announced,
    lines: &[Pruned],
) -> Result<String> {
    let run = &announced.run;
    let key = format!("{run}{JOURNAL}");
    let intent = format!("{run}{INTENT}");
    let written = async {
        let bytes = to_lines(lines)?;
        let _ = atomic::write_bytes(at.archive, &key, at.staging, &Expect::Anything, bytes).await?;
        retract(at.archive, &intent).await
    };
    written.await.map_err(|error| {
        let intent = at.archive.show(&intent);
        let what = format!(
            "the journal of this run could not be completed; the next prune completes it from {intent}"
        );
        Error::caused(error.kind(), what, error)
    })?;
    Ok(key)
}

/// Writes down which records of the collector go, before the first of them does: nothing else tells
/// of them afterwards.
pub(super) async fn records(at: &Place<'_>, lines: &[PrunedRecord]) -> Result<()> {
    let folder = layout::journal_dir(layout::PRUNED, at.today);
    let key = format!("{folder}/{}.records{JOURNAL}", runs::name(at.time));
    atomic::write_bytes(
        at.archive,
        &key,
        at.staging,
        &Expect::Absent,
        to_lines(lines)?,
    )
    .await
    .map(drop)
}

async fn retract(archive: &Store, key: &str) -> Result<()> {
    let Some(object) = archive.head(key).await? else {
        return Ok(());
    };
    match remove(archive, &object).await? {
        Removal::Removed | Removal::Absent => Ok(()),
        Removal::Changed => Err(Error::new(
            Kind::Io,
            format!(
                "{}: is written by someone else at the same time",
                archive.show(key)
            ),
        )),
    }
}

/// Completes the journals of runs that were interrupted; returns their keys.
pub(super) async fn settle(spool: &Store, archive: &Store, staging: &Path) -> Result<Vec<String>> {
    let mut settled = Vec::new();
    for object in archive.list(layout::PRUNED).await?.whole()? {
        let Some(run) = object.key.strip_suffix(INTENT) else {
            continue;
        };
        // Held until the intent is gone.
        let lock = atomic::take(archive, &object.key);
        if lock.is_none() && !archive.is_remote() {
            continue;
        }
        let key = format!("{run}{JOURNAL}");
        if archive.head(&key).await?.is_none() {
            let Some(bytes) = archive.read(&object.key).await? else {
                continue;
            };
            let mut lines: Vec<Pruned> = from_lines(&bytes).map_err(|e| {
                Error::caused(
                    e.kind(),
                    format!("{}: repair or remove it", archive.show(&object.key)),
                    e,
                )
            })?;
            if !lines.iter().all(|line| spool.has_place_for(&line.name)) {
                // It was of a collector whose spool is not one of these: a run that has it can
                // look.
                continue;
            }
            let mut is_open = false;
            for line in &mut lines {
                let ended = match spool.head(&line.name).await? {
                    None => RemovalResult::Gone,
                    Some(found)
                        if found.size == line.size && found.modified_us == line.modified_us =>
                    {
                        RemovalResult::NotReached
                    }
                    Some(_) => RemovalResult::Changed,
                };
                line.ended = Some(ended);
                // A bucket cannot tell whether that run lives.
                is_open = archive.is_remote() && ended == RemovalResult::NotReached;
                if is_open {
                    break;
                }
            }
            if is_open {
                continue;
            }
            let bytes = to_lines(&lines)?;
            match atomic::write_bytes(archive, &key, staging, &Expect::Absent, bytes).await {
                Ok(_) => {}
                // That run goes on, and has told itself what came of it.
                Err(error) if error.kind() == Kind::Conflict => continue,
                Err(error) => return Err(error),
            }
        }
        retract(archive, &object.key).await?;
        settled.push(key);
    }
    Ok(settled)
}
