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
//!
//! A folder that refuses holds up nothing else: the rows of its files stay in the log, and are tried
//! again while the collector runs.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::join_all;

use super::{
    seal::{self, seal},
    wal::{self, Found, FoundFile, Wal},
};
use crate::{
    error::{Error, Kind, Result},
    feed::venue::Wanted,
    file::sealed::read_back,
    storage::{atomic, store::Store},
};

/// So many files are sealed at a time, where their rows take no more than so many bytes of the log.
const TOGETHER: usize = 32;
const TOGETHER_BYTES: usize = 4 << 20;

/// What was recovered.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) files: u64,
    pub(crate) rows: u64,
    /// Files that could not be sealed.
    pub(crate) refused: VecDeque<Refused>,
}

/// A file that could not be sealed.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) key: String,
    /// How many rows it has, as far as they can be read.
    pub(crate) rows: u64,
    pub(crate) error: String,
}

/// What could not be recovered, and the log that it stands in.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) found: Arc<Found>,
    pub(crate) refused: VecDeque<Refused>,
}

/// Seals what the log holds and no file does.
///
/// # Errors
/// When the log cannot be written, or what of it is damaged cannot be kept.
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
        for ((key, file), sealed) in together.iter().zip(join_all(all).await) {
            match sealed {
                Ok(rows) => {
                    recovered.rows += rows.unwrap_or(0);
                    recovered.files += u64::from(rows.is_some());
                    sweep(spool, key);
                    wal().sealed(key)?;
                }
                Err(error) => {
                    let error = error.chain();
                    tracing::error!(file = %spool.show(key), error, "cannot be recovered from the log yet");
                    recovered.refused.push_back(Refused {
                        key: (*key).clone(),
                        rows: found.rows(file).map_or(0, |rows| rows.len() as u64),
                        error,
                    });
                }
            }
        }
    }
    for (path, bytes) in &found.damaged {
        tracing::error!(segment = %path.display(), bytes, "a segment of the log is damaged; it is kept aside");
    }
    wal().trim()?;
    Ok(recovered)
}

/// Tries again to seal a file; returns the number of its rows if it had to be.
///
/// # Errors
/// When it cannot be sealed.
pub(crate) async fn again(spool: &Store, found: &Found, key: &str) -> Result<Option<u64>> {
    let file = found.files.get(key);
    let file = file.ok_or_else(|| Error::new(Kind::Internal, "a file that is not in the log"))?;
    let rows = one(spool, key, file, found).await?;
    sweep(spool, key);
    Ok(rows)
}

/// Removes what a process that died has left of a file.
fn sweep(spool: &Store, key: &str) {
    let _ = atomic::sweep(spool, key.rsplit_once('/').map_or("", |(folder, _)| folder));
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
        match read_back(&path) {
            Ok(content)
                if content.rows == rows.len() as u64
                    && content.row_hash == seal::hash_of(&wanted, &rows)? =>
            {
                return Ok(None);
            }
            // The tail that was not acknowledged can be in the file and not in the log.
            Ok(content) if content.rows > rows.len() as u64 && seal::holds(&path, &rows)? => {
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
