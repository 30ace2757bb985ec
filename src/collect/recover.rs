//! What a process that died left in the write-ahead log becomes sealed files, each row once, a few
//! small files or a large one at a time.
//!
//! A file whose rows are in the log is in one of these states:
//!
//! ```text
//! its sealed record is in the log               nothing to do
//! it is in the spool and holds these rows       recorded as sealed
//! it is there with other content                sealed under another name
//! it is not there                               sealed, under its name
//! ```
//!
//! A missing file proves nothing: it may never have existed, or have been compacted and removed
//! since. It is made again; the compactor recognises a file that it has compacted by its rows, and
//! takes it in once.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::try_join_all;

use super::{
    seal::{self, seal},
    wal::{self, Found, FoundFile, Wal},
};
use crate::{
    error::Result,
    feed::venue::Wanted,
    storage::{atomic, store::Store},
};

/// So many files are sealed at a time, where their rows take no more than so many bytes of the log.
const TOGETHER: usize = 32;
const TOGETHER_BYTES: usize = 4 << 20;

/// What was recovered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    pub(crate) files: u64,
    pub(crate) rows: u64,
}

/// Seals what the log holds and no file does.
///
/// # Errors
/// When a file cannot be sealed: the rows stay in the log, and nothing is collected before they are
/// safe.
pub(crate) async fn recover(
    spool: &Store,
    wal: &Arc<Mutex<Wal>>,
    found: &Found,
) -> Result<Recovered> {
    // Before anything of the log goes.
    wal::keep_aside(found)?;
    let wal = || wal.lock().unwrap_or_else(PoisonError::into_inner);
    let mut recovered = Recovered::default();
    let mut left = found.files.iter().peekable();
    while left.peek().is_some() {
        // Small files wait for the disk, not for one another; a large one is alone with its rows in
        // memory.
        let (mut together, mut bytes) = (Vec::new(), 0);
        while let Some((key, file)) = left.next_if(|(_, file)| {
            together.is_empty()
                || (together.len() < TOGETHER && bytes + file.bytes() <= TOGETHER_BYTES)
        }) {
            bytes += file.bytes();
            together.push((key, file));
        }
        let all = together
            .iter()
            .map(|(key, file)| one(spool, key, file, found));
        for rows in try_join_all(all).await?.into_iter().flatten() {
            recovered.rows += rows;
            recovered.files += 1;
        }
        for (key, _) in together {
            let _ = atomic::sweep(spool, key.rsplit_once('/').map_or("", |(folder, _)| folder));
            wal().sealed(key)?;
        }
    }
    for (path, bytes) in &found.damaged {
        tracing::error!(segment = %path.display(), bytes, "a segment of the log is damaged; it is kept aside");
    }
    wal().trim()?;
    Ok(recovered)
}

/// Seals a file unless it stands in the spool; returns the number of its rows if it had to be.
async fn one(spool: &Store, key: &str, file: &FoundFile, found: &Found) -> Result<Option<u64>> {
    let rows = found.rows(file)?;
    let wanted = Wanted::restored(
        file.head.series.clone(),
        file.head.kind,
        file.head.symbol.clone(),
    )?;
    let mut place = key.to_owned();
    if let Some(path) = spool.local_path(key).filter(|path| path.exists()) {
        match seal::read_back(&path) {
            Ok(content)
                if content.rows == rows.len()
                    && content.row_hash == seal::hash_of(&wanted, &rows)? =>
            {
                return Ok(None);
            }
            // The tail that was not acknowledged can be in the file and not in the log.
            Ok(content) if content.rows > rows.len() && seal::holds(&path, &rows)? => {
                return Ok(None);
            }
            _ => {}
        }
        tracing::warn!(file = %spool.show(key), "a sealed file holds other rows than it should; they are sealed beside it");
        let newest = (0..rows.len())
            .filter_map(|row| rows.received(row))
            .max()
            .unwrap_or(0);
        place = key.replace(".parquet", &format!("-{newest}.parquet"));
    }
    let count = rows.len() as u64;
    let _ = seal(spool, &place, &wanted, &Arc::new(rows)).await?;
    Ok(Some(count))
}
