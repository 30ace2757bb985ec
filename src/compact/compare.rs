//! Which rows of new files a day has already, found row by row.
//!
//! A day that another program compacted does not name the files that it was made of, and holds the
//! rows of many. So its rows and those of new files are compared: of equal rows the day gets as
//! many as the day or the new files have, whichever has more, as if the day were one more file of
//! the same events. Rows are equal when all their columns are, times in nanoseconds; where a file
//! has no `seq`, and where another program assigned it, `seq` does not count.
//!
//! Memory is bounded by passes: each looks at the rows whose hash falls into its share. The day's
//! data must be what its receipt vouches for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, Int64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type},
};

use super::decide::{Compared, Identity, SpoolFile, identity};
use crate::{
    error::{Error, Kind, Result},
    file::{
        claims::Claims,
        fault::Problem,
        probe::probe,
        reader::{Handle, Rows},
        tally::RowTally,
    },
    model::{
        date::permitted_day,
        layout,
        partition::Partition,
        receipt::Receipt,
        row_hash::RowSums,
        schema::{SEQ, SUB_SEQ, TIME_COLUMNS, TS_EVENT},
        time::to_ns,
    },
    storage::store::Store,
};

/// Bytes that a hash takes in a table, at its fullest and while it grows.
const BYTES_OF_HASH: u64 = 64;

/// A new file to be compared.
#[derive(Debug)]
pub struct ComparedFile<'a> {
    /// The file.
    pub file: &'a SpoolFile,
    /// What is known of it.
    pub claims: &'a Claims,
    /// Whether another program gave it its `seq`.
    pub compacted: bool,
}

impl ComparedFile<'_> {
    /// Whether `seq` counts.
    fn by_seq(&self) -> bool {
        self.claims.has_seq && !self.compacted
    }
}

/// What was compared in this run, so that a partition that is looked at twice is read once.
#[derive(Debug, Default)]
pub struct Comparisons(Mutex<HashMap<Partition, Comparison>>);

#[derive(Debug, Clone)]
struct Comparison {
    /// The sha256 of the data.
    data: String,
    files: Vec<Identity>,
    compared: Vec<Arc<Compared>>,
}

impl Comparisons {
    /// Compares `subjects` with the published data of `partition`, in `room` bytes; the results are
    /// in their order.
    ///
    /// # Errors
    /// When a store does not answer, a file does not read any more, or the data is not what its
    /// receipt vouches for.
    pub async fn of(
        &self,
        places: (&Store, &Store),
        partition: &Partition,
        receipt: &Receipt,
        subjects: &[ComparedFile<'_>],
        room: u64,
    ) -> Result<Vec<Arc<Compared>>> {
        let (data, files) = (
            &receipt.outcome.sha256,
            subjects.iter().map(|s| identity(s.file)).collect(),
        );
        if let Some(known) = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(partition)
            && known.data == *data
            && known.files == files
        {
            return Ok(known.compared.clone());
        }
        let compared = compare(places, partition, receipt, subjects, room).await?;
        let comparison = Comparison {
            data: data.clone(),
            files,
            compared: compared.clone(),
        };
        let _ = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(partition.clone(), comparison);
        Ok(compared)
    }

    /// Forgets a partition that is done with.
    pub fn forget(&self, partition: &Partition) {
        let _ = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(partition);
    }
}

/// How many rows of one hash the files have, and how many of them the data.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    wanted: u32,
    found: u32,
}

/// The rows of one pass, by whether `seq` counts and by hash.
type Table = HashMap<(bool, u64), Count>;

/// What one file came to so far.
struct Under {
    known: BooleanBufferBuilder,
    compared: Compared,
}

async fn compare(
    (spool, archive): (&Store, &Store),
    partition: &Partition,
    receipt: &Receipt,
    subjects: &[ComparedFile<'_>],
    room: u64,
) -> Result<Vec<Arc<Compared>>> {
    let rows: u64 = subjects.iter().map(|subject| subject.claims.rows).sum();
    let passes = (rows * BYTES_OF_HASH)
        .div_ceil(room.max(BYTES_OF_HASH))
        .max(1);
    let mut all: Vec<Under> = Vec::new();
    for pass in 0..passes {
        let is_meant = |hash: u64| hash % passes == pass;
        let mut table = Table::new();
        for (nth, subject) in subjects.iter().enumerate() {
            let under = count(spool, partition, subject, pass == 0, |hash| {
                if is_meant(hash) {
                    table.entry((subject.by_seq(), hash)).or_default().wanted += 1;
                }
            });
            let under = under.await?;
            if pass == 0 {
                all.insert(nth, under);
            }
        }
        find(
            archive,
            partition,
            receipt,
            &mut table,
            pass == 0,
            &is_meant,
        )
        .await?;
        for (subject, under) in subjects.iter().zip(&mut all) {
            mark(spool, partition, subject, under, &mut table, &is_meant).await?;
        }
    }
    let done = all.into_iter().map(
        |Under {
             mut known,
             mut compared,
         }| {
            compared.rows = known.finish();
            Arc::new(compared)
        },
    );
    Ok(done.collect())
}

/// Reads a file once; `each` is told the hash of every row of the day. Its facts are taken where
/// `facts` says so.
async fn count(
    spool: &Store,
    partition: &Partition,
    subject: &ComparedFile<'_>,
    facts: bool,
    mut each: impl FnMut(u64),
) -> Result<Under> {
    let mut under = Under {
        known: BooleanBufferBuilder::new(0),
        compared: Compared {
            units: subject.claims.units(),
            ..Compared::default()
        },
    };
    let mut rows = open(&Handle::new(spool, &subject.file.object), subject.claims).await?;
    let (mut sums, mut all) = (RowSums::default(), RowTally::default());
    while let Some(batch) = next(&mut rows, spool, subject).await? {
        let compared = &mut under.compared;
        if facts {
            all.take_of_group(&batch, subject.claims.row_group(rows.row_group()))?;
            under.known.append_n(batch.num_rows(), false);
        }
        let times = times(&batch)?;
        hash(&batch, subject.by_seq(), &mut sums)?;
        for (value, hash) in times.iter().zip(sums.rows()) {
            match permitted_day(value, subject.file.home) {
                Some(day) if day == partition.date => {
                    compared.here += 1;
                    each(hash);
                }
                Some(day) => *compared.elsewhere.entry(day).or_default() += 1,
                None => compared.unplaced += 1,
            }
        }
    }
    let compared = &mut under.compared;
    (compared.content.rows, compared.content.row_hash) = (all.rows, all.row_hash);
    compared.row_groups = all.row_groups;
    Ok(under)
}

/// Reads the data; what of `table` it has is noted there. At first it is held against its receipt.
async fn find(
    archive: &Store,
    partition: &Partition,
    receipt: &Receipt,
    table: &mut Table,
    prove: bool,
    is_meant: &(dyn Fn(u64) -> bool + Sync),
) -> Result<()> {
    let key = layout::data_key(partition);
    let damaged =
        |what: String| Error::new(Kind::Damage, format!("{}: {what}", archive.show(&key)));
    let object = archive
        .head(&key)
        .await?
        .ok_or_else(|| damaged("has gone".to_owned()))?;
    let handle = Handle::new(archive, &object).vouched();
    let wrong = |problem| match problem {
        Problem::Storage(error) => error,
        other => damaged(other.to_string()),
    };
    let claims = probe(&handle).await.map_err(wrong)?;
    let mut rows = handle.rows(&claims, 8192, &[]).await.map_err(wrong)?;
    let kinds: Vec<bool> = [false, true]
        .into_iter()
        .filter(|kind| table.keys().any(|(by_seq, _)| by_seq == kind))
        .collect();
    let (mut sums, mut all) = (RowSums::default(), RowTally::default());
    while let Some(batch) = rows.next().await.map_err(wrong)? {
        if prove {
            all.take(&batch)?;
        }
        for by_seq in &kinds {
            hash(&batch, *by_seq, &mut sums)?;
            for hash in sums.rows().filter(|hash| is_meant(*hash)) {
                if let Some(count) = table.get_mut(&(*by_seq, hash)) {
                    count.found = count.wanted.min(count.found + 1);
                }
            }
        }
    }
    if prove && all.row_hash != receipt.outcome.row_hash {
        return Err(damaged(
            "its rows are not those that its receipt vouches for; see qlc verify".to_owned(),
        ));
    }
    Ok(())
}

/// Reads a file again and marks the rows that the data has: of equal ones the first.
async fn mark(
    spool: &Store,
    partition: &Partition,
    subject: &ComparedFile<'_>,
    under: &mut Under,
    table: &mut Table,
    is_meant: &(dyn Fn(u64) -> bool + Sync),
) -> Result<()> {
    let mut rows = open(&Handle::new(spool, &subject.file.object), subject.claims).await?;
    let (mut sums, mut at) = (RowSums::default(), 0);
    while let Some(batch) = next(&mut rows, spool, subject).await? {
        let times = times(&batch)?;
        hash(&batch, subject.by_seq(), &mut sums)?;
        for (nth, (value, hash)) in times.iter().zip(sums.rows()).enumerate() {
            if !is_meant(hash) || permitted_day(value, subject.file.home) != Some(partition.date) {
                continue;
            }
            if let Some(count) = table
                .get_mut(&(subject.by_seq(), hash))
                .filter(|count| count.found > 0)
            {
                count.found -= 1;
                under.known.set_bit(at + nth, true);
                under.compared.known += 1;
            }
        }
        at += batch.num_rows();
    }
    Ok(())
}

async fn open(handle: &Handle, claims: &Claims) -> Result<Rows> {
    handle
        .rows(claims, 8192, &[])
        .await
        .map_err(|problem| unreadable(handle.shown(), problem))
}

async fn next(
    rows: &mut Rows,
    spool: &Store,
    subject: &ComparedFile<'_>,
) -> Result<Option<RecordBatch>> {
    rows.next()
        .await
        .map_err(|problem| unreadable(&spool.show(&subject.file.object.key), problem))
}

/// It was read a moment before, so it is not the file's content that is wrong.
fn unreadable(shown: &str, problem: Problem) -> Error {
    match problem {
        Problem::Storage(error) => error,
        other => Error::new(Kind::Io, format!("{shown}: cannot be read again: {other}")),
    }
}

fn times(batch: &RecordBatch) -> Result<Int64Array> {
    let wrong = || {
        Error::new(
            Kind::Internal,
            format!("a file without {TS_EVENT} is compared"),
        )
    };
    let column = batch
        .column_by_name(TS_EVENT)
        .and_then(|column| cast(column, &DataType::Int64).ok());
    Ok(column
        .ok_or_else(wrong)?
        .as_primitive::<Int64Type>()
        .clone())
}

/// Leaves in `sums` what rows are compared by.
fn hash(batch: &RecordBatch, by_seq: bool, sums: &mut RowSums) -> Result<()> {
    sums.begin(batch.num_rows());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let name = field.name().as_str();
        if !by_seq && [SEQ, SUB_SEQ].contains(&name) {
            continue;
        }
        match TIME_COLUMNS
            .contains(&name)
            .then(|| in_ns(column))
            .flatten()
        {
            Some(column) => sums.add(name, &column)?,
            None => sums.add(name, column)?,
        }
    }
    Ok(())
}

/// Times in nanoseconds: a day whose files differ in unit has them so.
fn in_ns(column: &ArrayRef) -> Option<Int64Array> {
    let fits =
        column.data_type().is_integer() || matches!(column.data_type(), DataType::Timestamp(_, _));
    let ints = fits
        .then(|| cast(column, &DataType::Int64).ok())
        .flatten()?;
    Some(
        ints.as_primitive::<Int64Type>()
            .unary(|value| to_ns(value).unwrap_or(value)),
    )
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use arrow::{array::Float64Array, datatypes::Schema};
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::{
        file::examine::examine,
        model::{date::Date, row_hash::RowHash},
    };

    const DAY_MS: i64 = 1_770_076_800_000;

    /// Rows of a day: times in `unit` (1 for milliseconds), prices, and numbers where `seq` has
    /// them.
    fn write(
        folder: &std::path::Path,
        key: &str,
        rows: &[(i64, f64)],
        unit: i64,
        seq: Option<i64>,
    ) {
        let times: ArrayRef = Arc::new(
            rows.iter()
                .map(|row| (DAY_MS + row.0) * unit)
                .collect::<Int64Array>(),
        );
        let mut columns = vec![
            (TS_EVENT, times),
            (
                "price",
                Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>()),
            ),
        ];
        if let Some(first) = seq {
            columns.push((
                SEQ,
                Arc::new((first..).take(rows.len()).collect::<Int64Array>()),
            ));
        }
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let path = folder.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let schema: Arc<Schema> = batch.schema();
        let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), schema, None).unwrap();
        writer.write(&batch).unwrap();
        let _ = writer.close().unwrap();
    }

    fn partition() -> Partition {
        serde_json::from_str(r#"{"exchange":"okx","stream":"x","symbol":"y","date":"20260203"}"#)
            .unwrap()
    }

    /// A receipt that vouches for `rows` with this hash.
    fn receipt(rows: u64, row_hash: RowHash) -> Receipt {
        let outcome = serde_json::json!({"sha256": "a", "bytes": 1, "rows": rows, "row_hash": row_hash, "ts_event_min_ns": 0,
            "ts_event_max_ns": 0, "seq": "source"});
        let hash = RowHash::EMPTY;
        let receipt = serde_json::json!({"receipt_version": 2, "qlc_version": "", "exchange": "okx", "stream": "x",
            "symbol": "y", "date": "20260203", "created_at": "", "outcome": outcome, "rows_in": rows, "row_hash_in": hash,
            "row_hash_out": hash, "plan": [], "sources": []});
        serde_json::from_value(receipt).unwrap()
    }

    /// Which rows of `files` the day of `data` has, told file by file as `1` and `0`, in passes of
    /// `room` bytes.
    async fn check(
        data: &[(i64, f64)],
        files: &[&[(i64, f64)]],
        unit: i64,
        room: u64,
        expected: &[&str],
    ) {
        let folder = tempfile::tempdir().unwrap();
        write(
            folder.path(),
            &layout::data_key(&partition()),
            data,
            1,
            Some(0),
        );
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let examined = async |key: &str| {
            let object = store.head(key).await.unwrap().unwrap();
            let handle = Handle::new(&store, &object);
            (
                object,
                examine(&handle, &probe(&handle).await.unwrap())
                    .await
                    .unwrap(),
            )
        };
        let (_, day) = examined(&layout::data_key(&partition())).await;
        let mut found = Vec::new();
        for (nth, rows) in files.iter().enumerate() {
            let key = format!("{nth}.parquet");
            write(folder.path(), &key, rows, unit, None);
            let (object, examined) = examined(&key).await;
            let home: Option<Date> = "20260203".parse().ok();
            found.push((
                SpoolFile {
                    object,
                    file: key,
                    home,
                },
                examined.claims,
            ));
        }
        let subject = |(file, claims)| ComparedFile {
            file,
            claims,
            compacted: false,
        };
        let subjects: Vec<ComparedFile<'_>> = found
            .iter()
            .map(|(file, claims)| subject((file, claims)))
            .collect();
        let receipt = receipt(data.len() as u64, day.row_hash);
        let compared = compare((&store, &store), &partition(), &receipt, &subjects, room)
            .await
            .unwrap();
        let told = |one: &Arc<Compared>| {
            one.rows
                .iter()
                .map(|known| if known { '1' } else { '0' })
                .collect::<String>()
        };
        assert_eq!(
            compared.iter().map(told).collect::<Vec<_>>(),
            expected,
            "{files:?}"
        );
        let other = Receipt {
            outcome: crate::model::receipt::DataRecord {
                row_hash: RowHash::EMPTY,
                ..receipt.outcome.clone()
            },
            ..receipt
        };
        let refused = compare((&store, &store), &partition(), &other, &subjects, room).await;
        assert!(
            refused.is_err_and(|error| error.kind() == Kind::Damage),
            "the data is not what its receipt vouches for"
        );
    }

    #[tokio::test]
    async fn of_equal_rows_the_day_has_as_many_as_the_one_that_has_most_of_them() {
        const A: (i64, f64) = (1, 1.0);
        const B: (i64, f64) = (2, 2.0);
        const C: (i64, f64) = (3, 3.0);
        const OTHER_DAY: (i64, f64) = (-1, 1.0);
        for room in [1, 64, 128, 1 << 20] {
            for unit in [1, 1_000_000] {
                check(&[A, B], &[&[A, B, C]], unit, room, &["110"]).await;
                check(&[A, B], &[&[A, A], &[B, C]], unit, room, &["10", "10"]).await;
                check(
                    &[A, A, B],
                    &[&[A], &[A, B], &[A]],
                    unit,
                    room,
                    &["1", "11", "0"],
                )
                .await;
                check(&[A], &[&[OTHER_DAY, A]], unit, room, &["01"]).await;
                check(&[A], &[&[OTHER_DAY, B]], unit, room, &["00"]).await;
            }
        }
    }
}
