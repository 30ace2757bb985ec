//! Fetches the first row groups of the files that come next, so that a bucket's latency is paid once and not per file.
//!
//! Within a share of the memory budget: what does not fit is fetched when it is needed. Refuses to fail: whatever goes
//! wrong ahead of time goes wrong again, with its name, when the file is read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

use super::{claims::Claims, reader::Handle};

/// Files that are fetched ahead of the one that is read.
const FILES: usize = 32;
/// The unit in which memory is handed out.
const UNIT: u64 = 4096;

/// Row groups under way or waiting.
#[derive(Debug)]
pub struct Ahead {
    memory: Arc<Semaphore>,
    waiting: Mutex<HashMap<usize, Fetch>>,
}

#[derive(Debug)]
struct Fetch(JoinHandle<Option<(Bytes, OwnedSemaphorePermit)>>);

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Ahead {
    /// At most `bytes` may wait at a time.
    #[must_use]
    pub fn within(bytes: u64) -> Self {
        let units = usize::try_from(bytes / UNIT).unwrap_or(0).min(Semaphore::MAX_PERMITS);
        Self { memory: Arc::new(Semaphore::new(units)), waiting: Mutex::default() }
    }

    /// Begins to fetch for the files after the one at `index`, in the order of `files`.
    pub fn begin<'a>(&self, index: usize, files: impl Iterator<Item = (&'a Handle, &'a Claims)>) {
        let next = files.enumerate().skip(index + 1).take(FILES);
        for (at, (handle, claims)) in next {
            let Some(range) = claims.meta.as_ref().and_then(|meta| Handle::row_group_range(meta, 0)) else {
                continue;
            };
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.contains_key(&at) {
                continue;
            }
            let units = u32::try_from((range.end - range.start).div_ceil(UNIT)).unwrap_or(u32::MAX);
            let Ok(permit) = Arc::clone(&self.memory).try_acquire_many_owned(units) else { return };
            let handle = handle.clone();
            let fetch = tokio::spawn(async move { Some((handle.fetch(range).await.ok()?, permit)) });
            let _ = waiting.insert(at, Fetch(fetch));
        }
    }

    /// The first row group of the file at `index`, if it was fetched; waits for it if it is under way.
    pub async fn take(&self, index: usize) -> Option<Bytes> {
        let fetch = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&index);
        let mut fetch = fetch?;
        (&mut fetch.0).await.ok().flatten().map(|(bytes, _)| bytes)
    }
}
