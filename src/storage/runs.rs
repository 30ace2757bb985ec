//! The records of runs in an archive: written once at the end of each, read for history.
//!
//! An error here only means that the history has a hole; the caller does not fail a run for it. One
//! record that cannot be read hides no other.

use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use futures::StreamExt;

use super::{Expect, atomic, store::Store};
use crate::{
    error::Result,
    model::{date::Date, layout, run::RunRecord},
};

/// Records that are read at a time.
const AT_A_TIME: usize = 32;

/// What a run that ends now is known by.
#[must_use]
pub fn id(now: DateTime<Utc>) -> String {
    name(&now.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// A name for what a run leaves, a record or a journal: its time, RFC 3339 in UTC, and chance.
#[must_use]
pub fn name(time: &str) -> String {
    let time: String = time.chars().filter(char::is_ascii_alphanumeric).collect();
    let chance = uuid::Uuid::new_v4().simple().to_string();
    format!("{time}-{}", chance.get(..8).unwrap_or(&chance))
}

/// Writes the record of `run`, which ended on the day `today`; returns its key. `staging` is where
/// an object of a bucket is put together.
///
/// # Errors
/// When it cannot be written.
pub async fn write(
    archive: &Store,
    run: &RunRecord,
    today: Date,
    staging: &Path,
) -> Result<String> {
    let dir = layout::journal_dir(layout::RUNS, today);
    let _ = atomic::sweep(archive, &dir);
    let key = format!("{dir}/{}.json", run.id);
    // The name holds chance, so nothing can stand there; a store without conditions can hold
    // records as well.
    let _ = atomic::write_bytes(archive, &key, staging, &Expect::Anything, run.to_json()?).await?;
    Ok(key)
}

/// The records of the runs that ended from the day `start` on, or of all, in the order of their
/// ends. One that cannot be read is told in the log.
///
/// # Errors
/// When the archive does not answer.
pub async fn read(archive: &Store, start: Option<Date>) -> Result<Vec<RunRecord>> {
    let keys = keys(archive, start).await?;
    let mut reads = Vec::with_capacity(keys.len());
    for key in &keys {
        reads.push(one(archive, key));
    }
    let mut reads = futures::stream::iter(reads).buffered(AT_A_TIME);
    let mut runs = Vec::new();
    while let Some(run) = reads.next().await {
        runs.extend(run?);
    }
    Ok(runs)
}

/// The newest record from the day `start` on that `is_meant` takes. Of all others only those that
/// are newer are read, one at a time: a record can be large.
///
/// # Errors
/// When the archive does not answer.
pub async fn newest(
    archive: &Store,
    start: Date,
    is_meant: impl Fn(&RunRecord) -> bool,
) -> Result<Option<RunRecord>> {
    for key in keys(archive, Some(start)).await?.iter().rev() {
        if let Some(run) = one(archive, key).await?.filter(|run| is_meant(run)) {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

/// The keys of the records from the day `start` on, in the order of the ends of their runs.
async fn keys(archive: &Store, start: Option<Date>) -> Result<Vec<String>> {
    let since = start.map(|day| layout::journal_dir(layout::RUNS, day));
    let listed = archive.list(layout::RUNS).await?.whole()?;
    let all = listed.into_iter().map(|object| object.key);
    let mut keys: Vec<String> = all
        .filter(|key| since.as_deref().is_none_or(|since| key.as_str() >= since))
        .collect();
    keys.sort_unstable();
    Ok(keys)
}

/// A record, where it can be read and was not removed since it was listed.
async fn one(archive: &Store, key: &str) -> Result<Option<RunRecord>> {
    let Some(bytes) = archive.read(key).await? else {
        return Ok(None);
    };
    let run = RunRecord::from_json(&bytes).inspect_err(|error| {
        tracing::warn!(file = %archive.show(key), error = %error.chain(), "left out of the history");
    });
    Ok(run.ok())
}
