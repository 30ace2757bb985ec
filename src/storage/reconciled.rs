//! The records of reconciliations in an archive: one object for each day and run, read for history.
//!
//! An error here only means that the history has a hole; one record that cannot be read hides no
//! other.

use std::{collections::BTreeMap, path::Path};

use futures::StreamExt;

use super::{Expect, atomic, runs, store::Store};
use crate::{
    error::Result,
    model::{
        date::Date,
        layout::{self, Placed},
        partition::{Partition, Selection},
        reconcile::ReconcileRecord,
    },
};

/// Records that are read at a time.
const AT_A_TIME: usize = 32;

/// Writes a record; returns its key. `staging` is where an object of a bucket is put together.
///
/// # Errors
/// When it cannot be written.
pub async fn write(archive: &Store, record: &ReconcileRecord, staging: &Path) -> Result<String> {
    let dir = layout::reconcile_dir(&record.partition);
    let _ = atomic::sweep(archive, &dir);
    let key = format!("{dir}/{}.json", runs::name(&record.at));
    // The name holds chance, so nothing can stand there.
    let bytes = record.to_json()?;
    let _ = atomic::write_bytes(archive, &key, staging, &Expect::Anything, bytes).await?;
    Ok(key)
}

/// All records, by series, day and time. One that cannot be read is told in the log.
///
/// # Errors
/// When the archive does not answer.
pub async fn read(archive: &Store) -> Result<Vec<ReconcileRecord>> {
    let listed = archive.list(layout::RECONCILE).await?.whole()?;
    of_keys(archive, listed.into_iter().map(|object| object.key)).await
}

/// The newest record of each day that is meant; both of a run that compared it in two ways.
///
/// # Errors
/// When the archive does not answer.
pub async fn newest(
    archive: &Store,
    selection: &Selection,
    start: Date,
    end: Date,
) -> Result<Vec<ReconcileRecord>> {
    let listed = archive.list(layout::RECONCILE).await?.whole()?;
    let mut days: BTreeMap<Partition, Vec<String>> = BTreeMap::new();
    for object in listed {
        if let Some(Ok(Placed {
            series,
            date: Some(date),
            ..
        })) = Placed::below(layout::RECONCILE, &object.key)
            && date.is_within(Some(start), Some(end))
            && selection.takes(&series)
        {
            days.entry(series.on(date)).or_default().push(object.key);
        }
    }
    // The time of a run leads, and a piece of chance follows it.
    let time = |key: &str| key.rsplit_once('-').map(|(time, _)| time.to_owned());
    let newest = days.into_values().flat_map(|keys| {
        let last = keys.iter().max().and_then(|key| time(key));
        keys.into_iter().filter(move |key| time(key) == last)
    });
    of_keys(archive, newest.collect::<Vec<_>>()).await
}

async fn of_keys(
    archive: &Store,
    keys: impl IntoIterator<Item = String>,
) -> Result<Vec<ReconcileRecord>> {
    let mut reads = Vec::new();
    for key in keys {
        reads.push(async move {
            let bytes = archive.read(&key).await;
            (key, bytes)
        });
    }
    let mut reads = futures::stream::iter(reads).buffered(AT_A_TIME);
    let mut records = Vec::new();
    while let Some((key, bytes)) = reads.next().await {
        // Absent: removed since it was listed.
        let Some(bytes) = bytes? else { continue };
        match ReconcileRecord::from_json(&bytes) {
            Ok(record) => records.push(record),
            Err(error) => {
                tracing::warn!(file = %archive.show(&key), error = %error.chain(), "left out of the history");
            }
        }
    }
    Ok(records)
}
