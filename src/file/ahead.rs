//! Fetches the first row groups of the files that come next, so that a bucket's latency is paid
//! once and not per file.
//!
//! Within a share of the memory budget: what does not fit is fetched when it is needed. An error
//! here is ignored: it occurs again, with the file's name, when the file is read.

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
    /// By the file's index; `None` where the file was opened: what comes after that would be
    /// fetched twice.
    waiting: Mutex<HashMap<usize, Option<Fetch>>>,
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
        let units = usize::try_from(bytes / UNIT)
            .unwrap_or(0)
            .min(Semaphore::MAX_PERMITS);
        Self {
            memory: Arc::new(Semaphore::new(units)),
            waiting: Mutex::default(),
        }
    }

    /// Begins to fetch for the files after the one at `index`, in the order of `files`.
    pub fn begin<'a>(&self, index: usize, files: impl Iterator<Item = (&'a Handle, &'a Claims)>) {
        let next = files.enumerate().skip(index + 1).take(FILES);
        for (at, (handle, claims)) in next {
            let Some(range) = claims
                .meta
                .as_ref()
                .and_then(|meta| Handle::row_group_range(meta, 0))
            else {
                continue;
            };
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.contains_key(&at) {
                continue;
            }
            let units = u32::try_from((range.end - range.start).div_ceil(UNIT)).unwrap_or(u32::MAX);
            let Ok(permit) = Arc::clone(&self.memory).try_acquire_many_owned(units) else {
                return;
            };
            let handle = handle.clone();
            let fetch =
                tokio::spawn(async move { Some((handle.fetch(range).await.ok()?, permit)) });
            let _ = waiting.insert(at, Some(Fetch(fetch)));
        }
    }

    /// The first row group of the file at `index`, if it was fetched; waits for it if it is under
    /// way.
    pub async fn take(&self, index: usize) -> Option<Bytes> {
        let fetch = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(index, None);
        let mut fetch = fetch??;
        (&mut fetch.0).await.ok().flatten().map(|(bytes, _)| bytes)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;

    use super::super::probe::probe;
    use super::*;
    use crate::storage::store::{Object, Store};

    async fn files(folder: &std::path::Path, number: i64) -> Vec<(Handle, Claims)> {
        let store = Store::open(folder.to_str().unwrap()).unwrap();
        let mut files = Vec::new();
        for nth in 0..number {
            let column: ArrayRef = Arc::new(Int64Array::from(vec![nth; 3]));
            let batch = RecordBatch::try_from_iter([("seq", column)]).unwrap();
            let key = format!("{nth}.parquet");
            let path = folder.join(&key);
            let mut writer =
                ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None)
                    .unwrap();
            writer.write(&batch).unwrap();
            let _ = writer.close().unwrap();
            let size = std::fs::metadata(path).unwrap().len();
            let handle = Handle::new(
                &store,
                &Object {
                    key,
                    size,
                    modified_us: 0,
                    tag: None,
                },
            );
            let claims = probe(&handle).await.unwrap();
            files.push((handle, claims));
        }
        files
    }

    #[tokio::test]
    async fn what_comes_is_fetched_and_what_is_open_is_not_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), 3).await;
        let ahead = Ahead::within(1 << 20);
        let begin =
            |index| ahead.begin(index, files.iter().map(|(handle, claims)| (handle, claims)));
        assert!(ahead.take(1).await.is_none(), "nothing was fetched yet");
        begin(0);
        assert!(
            ahead.take(1).await.is_none(),
            "opened before it was fetched"
        );
        let range = Handle::row_group_range(files[2].1.meta.as_ref().unwrap(), 0).unwrap();
        assert_eq!(
            ahead.take(2).await.unwrap(),
            files[2].0.fetch(range).await.unwrap()
        );
        begin(0);
        assert!(ahead.take(2).await.is_none(), "opened already");
        assert_eq!(
            ahead.memory.available_permits() as u64,
            (1 << 20) / UNIT,
            "and no memory is held"
        );
    }

    #[tokio::test]
    async fn what_does_not_fit_is_not_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), 3).await;
        let ahead = Ahead::within(UNIT);
        ahead.begin(0, files.iter().map(|(handle, claims)| (handle, claims)));
        assert!(ahead.take(1).await.is_some());
        assert!(ahead.take(2).await.is_none());
    }
}
