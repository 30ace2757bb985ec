//! The records of reconciliations in an archive: one object for each day and run, read for history.
//!
//! An error here only means that the history has a hole; one record that cannot be read hides no
//! other.

use std::path::Path;

use futures::StreamExt;

use super::{Expect, atomic, runs, store::Store};
use crate::{
    error::Result,
    model::{layout, reconcile::ReconcileRecord},
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
    let mut reads = Vec::new();
    for object in &listed {
        reads.push(async move { (&object.key, archive.read(&object.key).await) });
    }
    let mut reads = futures::stream::iter(reads).buffered(AT_A_TIME);
    let mut records = Vec::new();
    while let Some((key, bytes)) = reads.next().await {
        // Absent: removed since it was listed.
        let Some(bytes) = bytes? else { continue };
        match ReconcileRecord::from_json(&bytes) {
            Ok(record) => records.push(record),
            Err(error) => {
                tracing::warn!(file = %archive.show(key), error = %error.chain(), "left out of the history");
            }
        }
    }
    Ok(records)
}
