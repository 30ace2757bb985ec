//! Rows become a sealed spool file: sorted, with the order and the row hash in the footer, written,
//! synced, read back and only then visible.
//!
//! A file does not appear unless its rows, read back, are those that were to be written.

use std::{collections::HashMap, fs::File, path::Path, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type},
};
use futures::future::BoxFuture;
use parquet::{arrow::arrow_reader::ParquetRecordBatchReaderBuilder, errors::ParquetError};

use super::rows::{RowKey, Rows};
use crate::{
    error::{Error, Kind, Result},
    feed::venue::Wanted,
    file::{
        sealed::{SealedContent, SealedWriter, other_rows, read_back},
        tally::RowTally,
    },
    model::{row_hash::RowHash, schema},
    storage::{Expect, atomic, store::Store},
};

/// Rows that are encoded at a time.
const CHUNK: usize = 65_536;

/// Makes the spool file at `key` of these rows.
///
/// # Errors
/// When it cannot be written, or other rows are read back.
pub(crate) async fn seal(
    spool: &Store,
    key: &str,
    wanted: &Wanted,
    rows: &Arc<Rows>,
) -> Result<SealedContent> {
    let (spool, key, wanted, rows) = (
        spool.clone(),
        key.to_owned(),
        wanted.clone(),
        Arc::clone(rows),
    );
    let runtime = tokio::runtime::Handle::current();
    // All of it on a thread of its own: encoding takes a processor, syncing waits for the disk, and
    // many small files have to wait for it together, not one after the other.
    tokio::task::spawn_blocking(move || runtime.block_on(steps(&spool, &key, wanted, rows)))
        .await
        .map_err(|lost| Error::lost_task("the sealing of a spool file", lost))?
}

async fn steps(spool: &Store, key: &str, wanted: Wanted, rows: Arc<Rows>) -> Result<SealedContent> {
    let shown = spool.show(key);
    let made = Arc::new(std::sync::OnceLock::new());
    let expected = Arc::clone(&made);
    let steps = atomic::Steps {
        write: Box::new(move |path| {
            at_once(move || {
                let content = write(&path, &wanted, &rows)?;
                made.set(content)
                    .map_err(|_| Error::new(Kind::Internal, "a file was written twice"))
            })
        }),
        verify: Box::new(move |path| {
            at_once(move || {
                let found = read_back(&path)?;
                match expected.get() {
                    Some((count, hash)) if (found.rows, found.row_hash) == (*count, *hash) => {
                        Ok(found)
                    }
                    _ => Err(other_rows(&shown)),
                }
            })
        }),
        before_visible: Box::new(|_: &SealedContent| Box::pin(async { Ok(()) })),
    };
    let staging = spool.local_folder().unwrap_or(Path::new("/"));
    // Anything: a seal that was repeated after an error that came too late meets its own file.
    let written = atomic::write(spool, key, staging, &Expect::Anything, steps).await?;
    Ok(*written.verified())
}

/// The row hash of these rows, as their file has it.
///
/// # Errors
/// When they do not fit the columns, which is a defect.
pub(crate) fn hash_of(wanted: &Wanted, rows: &Rows) -> Result<RowHash> {
    let mut all = RowTally::default();
    for chunk in rows.order().chunks(CHUNK) {
        all.take(&rows.full(wanted, chunk)?)?;
    }
    Ok(all.row_hash)
}

/// Whether the file at `path` holds all of these rows, known by their times and numbers.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn holds(path: &Path, rows: &Rows) -> Result<bool> {
    let wrong = |e: ParquetError| Error::io(format!("{}: cannot be read", path.display()), e);
    let file = File::open(path)
        .map_err(|e| Error::io(format!("{}: cannot be read", path.display()), e))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(wrong)?;
    let mut missing: HashMap<RowKey, usize> = HashMap::new();
    for key in (0..rows.len()).filter_map(|row| rows.key(row)) {
        *missing.entry(key).or_default() += 1;
    }
    for batch in reader {
        let batch =
            batch.map_err(|e| Error::io(format!("{}: cannot be read", path.display()), e))?;
        let Some(columns) = KeyColumns::of(&batch) else {
            return Ok(false);
        };
        for key in (0..batch.num_rows()).filter_map(|row| columns.key(row)) {
            if let Some(left) = missing.get_mut(&key) {
                *left = left.saturating_sub(1);
            }
        }
    }
    Ok(missing.values().all(|left| *left == 0))
}

/// The columns of a file that a [`RowKey`] is made of.
struct KeyColumns<'a> {
    ts_event: &'a [i64],
    seq: &'a [i64],
    /// Empty in version 1.
    sub_seq: &'a [i32],
    ts_recv: &'a [i64],
}

impl<'a> KeyColumns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let ints = |name: &str| {
            Some(
                &batch
                    .column_by_name(name)?
                    .as_primitive_opt::<Int64Type>()?
                    .values()[..],
            )
        };
        let sub_seq = match batch.column_by_name(schema::SUB_SEQ) {
            Some(column) => column.as_primitive_opt::<Int32Type>()?.values(),
            None => &[][..],
        };
        Some(Self {
            ts_event: ints(schema::TS_EVENT)?,
            seq: ints(schema::SEQ)?,
            sub_seq,
            ts_recv: ints("ts_recv")?,
        })
    }

    fn key(&self, row: usize) -> Option<RowKey> {
        Some(RowKey {
            ts_event: *self.ts_event.get(row)?,
            seq: *self.seq.get(row)?,
            sub_seq: self.sub_seq.get(row).copied().unwrap_or(0),
            ts_recv: *self.ts_recv.get(row)?,
        })
    }
}

/// Work as a step, on the thread that waits for it.
fn at_once<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> BoxFuture<'static, Result<T>> {
    Box::pin(async move { work() })
}

fn write(path: &Path, wanted: &Wanted, rows: &Rows) -> Result<(u64, RowHash)> {
    let file = File::options()
        .write(true)
        .open(path)
        .map_err(|e| Error::io(format!("{}: cannot be written", path.display()), e))?;
    let mut writer = SealedWriter::new(file, path, rows.schema(wanted))?;
    for chunk in rows.order().chunks(CHUNK) {
        writer.write(&rows.full(wanted, chunk)?)?;
    }
    writer.finish(&[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feed::{
            event::{Body, Event, Id, Kind as Stream},
            venue::{Venue, choose},
        },
        model::row_hash,
    };

    #[tokio::test(flavor = "multi_thread")]
    async fn a_sealed_file_is_sorted_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Store::open(dir.path().to_str().unwrap()).unwrap();
        let wanted = choose(
            &[Venue::Okx],
            &["btcusdt".parse().unwrap()],
            &[Stream::OpenInterest],
        )
        .unwrap()
        .series
        .remove(0);
        let mut rows = Rows::new(Stream::OpenInterest);
        for n in 0..100_i64 {
            let body = Body::OpenInterest(1.5);
            rows.push(
                &Event {
                    series: 0,
                    ts_event: 1000 - n,
                    ts_recv: n,
                    id: Id::Time,
                    number: 0,
                    body,
                },
                0,
            );
        }
        let rows = Arc::new(rows);
        let key = "exchange=okx/stream=open_interest/symbol=btcusdt/2026-02-03_00-00-00.parquet";
        let content = seal(&spool, key, &wanted, &rows).await.unwrap();
        assert_eq!(
            (content.rows, content),
            (100, read_back(&dir.path().join(key)).unwrap())
        );
        let file = File::open(dir.path().join(key)).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let pairs = reader
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .unwrap();
        assert!(pairs.iter().any(
            |p| p.key == row_hash::FOOTER_KEY && p.value == Some(content.row_hash.to_string())
        ));
        assert_eq!(
            reader
                .metadata()
                .row_group(0)
                .sorting_columns()
                .unwrap()
                .len(),
            2
        );
    }
}
