//! Reads a partition's data file to its last page and says whether it is what a partition's data
//! must be.
//!
//! The staged file goes through it before it is published, its row groups as soon as they are
//! written ([`Follower`]), and `qlc verify` sends published ones through the same code. All
//! findings are listed, not only the first. The file is checked by itself, against nothing outside
//! it.

use std::{cmp::Ordering, path::Path, sync::Arc};

use arrow::{
    array::{Array, AsArray, DynComparator, Int64Array, RecordBatch, UInt32Array, make_comparator},
    compute::{SortOptions, concat_batches, take_record_batch},
    datatypes::Int64Type,
};
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, RowGroupMetaData,
};
use tokio::sync::Semaphore;

use super::{
    encode::Appended,
    fault::Problem,
    pages::{BATCH_BYTES, PAGE_BYTES},
    reader::{Handle, Rows, WHOLE_REMOTE},
    tally::{Hashes, RowTally},
};
use crate::{
    error::{Error, Kind, Result},
    model::{
        partition::{Partition, belongs},
        row_hash::{FOOTER_KEY, RowHash},
        schema::{SEQ, TS_EVENT},
        time::to_ns,
    },
    storage::{
        store::{Object, Store},
        trail::{Synced, Trail},
    },
};

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 8192;
/// Columns that hardly change within a partition: read as dictionaries, they cost nothing.
const NAMES: [&str; 3] = ["exchange", "stream", "symbol"];

/// What is in a data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack {
    /// Rows that were decoded.
    pub rows: u64,
    /// Their row hash.
    pub row_hash: RowHash,
    /// Their row hash without `seq`, where it was asked for.
    pub row_hash_without_seq: Option<RowHash>,
    /// The smallest `ts_event` in nanoseconds; `None` without rows.
    pub ts_min_ns: Option<i64>,
    /// The largest.
    pub ts_max_ns: Option<i64>,
    /// The row hash that the footer holds.
    pub footer_row_hash: Option<RowHash>,
    /// What is wrong with the file itself: order, ties, days, names, hash.
    pub findings: Vec<String>,
}

/// Bytes that row groups which are read side by side may take: what is stored of them, their open
/// pages and their rows.
const AT_A_TIME: usize = 96 << 20;

/// What reading a row group takes, as far as the footer lets guess.
fn weight(group: &RowGroupMetaData) -> u32 {
    let bytes = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    let stored = bytes(group.compressed_size()).min(WHOLE_REMOTE);
    let raw = bytes(group.total_byte_size()).min(PAGE_BYTES);
    u32::try_from((stored + raw + 2 * BATCH_BYTES).min(AT_A_TIME as u64)).unwrap_or(u32::MAX)
}

/// Reads the file of `handle` as the data of `partition`, row groups side by side on `cores`.
///
/// # Errors
/// When the file cannot be read to its end.
pub async fn read_back(
    handle: &Handle,
    partition: &Partition,
    cores: usize,
) -> std::result::Result<ReadBack, Problem> {
    let meta = handle.footer().await?;
    let permits = Arc::new(Semaphore::new(cores.max(1)));
    let memory = Arc::new(Semaphore::new(AT_A_TIME));
    let mut tasks = Vec::with_capacity(meta.num_row_groups());
    for (group, described) in meta.row_groups().iter().enumerate() {
        let mut rows = handle.rows_of(&meta, BATCH_ROWS, &names())?;
        rows.only(group);
        let (permits, partition) = (Arc::clone(&permits), partition.clone());
        let (memory, weight) = (Arc::clone(&memory), weight(described));
        tasks.push(tokio::spawn(async move {
            let _permit = permits.acquire_owned().await;
            let _room = memory.acquire_many_owned(weight).await;
            Part::of(&mut rows, &partition, Hashes::Whole).await
        }));
    }
    let mut all = Part::default();
    for task in tasks {
        let lost = |lost| Problem::Storage(Error::lost_task("a reader", lost));
        all.append(task.await.map_err(lost)??)?;
    }
    Ok(concluded(&meta, &all))
}

/// A file that was followed to its end.
#[derive(Debug)]
pub struct FollowedFile {
    /// What it holds.
    pub back: ReadBack,
    /// Its sha256.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// Reads a data file back while it is being written, so that little is left to do when its last row
/// is there: a row group is synced, hashed and decoded when the next one stands behind it, the last
/// one when the whole file is synced.
///
/// What it decodes is what it read from the file, at the places that the writer told; at the end
/// the footer must tell the same places.
#[derive(Debug)]
pub struct Follower {
    trail: Trail,
    folder: Store,
    name: String,
    partition: Partition,
    hashes: Hashes,
    waiting: Option<Appended>,
    groups: Vec<Arc<RowGroupMetaData>>,
    all: Part,
}

impl Follower {
    /// Follows the staged file at `path`, the data of `partition`.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn of(path: &Path, partition: &Partition, hashes: Hashes) -> Result<Self> {
        Ok(Self {
            trail: Trail::of(path)?,
            folder: Store::open(&path.parent().unwrap_or(path).display().to_string())?,
            name: path
                .file_name()
                .and_then(|n| n.to_str())
                .unwrap_or_default()
                .to_owned(),
            partition: partition.clone(),
            hashes,
            waiting: None,
            groups: Vec::new(),
            all: Part {
                tally: RowTally::of(hashes),
                ..Part::default()
            },
        })
    }

    /// Takes note of a row group; reads the one before it.
    ///
    /// # Errors
    /// When that cannot be read.
    pub async fn take(&mut self, appended: Appended) -> std::result::Result<(), Problem> {
        match self.waiting.replace(appended) {
            Some(before) => self.read(before, Synced::First).await,
            None => Ok(()),
        }
    }

    /// Reads what is left of the file, which must be whole and synced, and must have the checksum
    /// `sum`.
    ///
    /// # Errors
    /// When the file cannot be read to its end, or other bytes are read than were written.
    pub async fn finish(mut self, sum: u64) -> std::result::Result<FollowedFile, Problem> {
        if let Some(last) = self.waiting.take() {
            self.read(last, Synced::Already).await?;
        }
        let size = self.trail.size()?;
        let _ = self.trail.next(size, Synced::Already).await?;
        self.as_written(sum)?;
        let handle = self.handle(size);
        let meta = handle.footer().await?;
        let as_told = meta.num_row_groups() == self.groups.len()
            && meta
                .row_groups()
                .iter()
                .zip(&self.groups)
                .all(|(footer, told)| is_same_group(footer, told));
        if !as_told {
            return Err(Problem::Storage(Error::new(
                Kind::Proof,
                format!(
                    "{}: its footer does not list the row groups that were written",
                    self.partition
                ),
            )));
        }
        let (sha256, bytes) = self.trail.finish();
        Ok(FollowedFile {
            back: concluded(&meta, &self.all),
            sha256,
            bytes,
        })
    }

    fn handle(&self, size: u64) -> Handle {
        Handle::new(
            &self.folder,
            &Object {
                key: self.name.clone(),
                size,
                modified_us: 0,
                tag: None,
            },
        )
        .vouched()
    }

    /// Holds the bytes that were read so far against those that were written.
    fn as_written(&self, sum: u64) -> std::result::Result<(), Problem> {
        if self.trail.sum() == sum {
            return Ok(());
        }
        Err(Problem::Storage(Error::new(
            Kind::Proof,
            format!(
                "{}: other bytes are read back than were written; nothing was published, check the disk",
                self.partition
            ),
        )))
    }

    async fn read(&mut self, told: Appended, synced: Synced) -> std::result::Result<(), Problem> {
        let Appended { group, end, sum } = told;
        let from = self.trail.at();
        let bytes = self.trail.next(end, synced).await?;
        self.as_written(sum)?;
        let file = FileMetaData::new(
            2,
            group.num_rows(),
            None,
            None,
            group.schema_descr_ptr(),
            None,
        );
        let meta = Arc::new(ParquetMetaData::new(file, vec![group.as_ref().clone()]));
        let mut rows = self.handle(end).rows_of(&meta, BATCH_ROWS, &names())?;
        let outside = || {
            Problem::Storage(Error::new(
                Kind::Proof,
                "a row group lies elsewhere than it was written",
            ))
        };
        if let Some(range) = Handle::row_group_range(&meta, 0) {
            let skip = usize::try_from(range.start.checked_sub(from).ok_or_else(outside)?)
                .map_err(|_| outside())?;
            let until = usize::try_from(range.end.checked_sub(from).ok_or_else(outside)?)
                .map_err(|_| outside())?;
            rows.begin_with(Some(
                bytes
                    .get(skip..until)
                    .map(|part| bytes.slice_ref(part))
                    .ok_or_else(outside)?,
            ));
        }
        let part = Part::of(&mut rows, &self.partition, self.hashes).await?;
        self.all.append(part)?;
        self.groups.push(group);
        Ok(())
    }
}

fn names() -> Vec<String> {
    NAMES.map(str::to_owned).to_vec()
}

/// Whether two say the same of where the values of a row group are and how they are to be decoded.
fn is_same_group(a: &RowGroupMetaData, b: &RowGroupMetaData) -> bool {
    let same_column = |(a, b): (&ColumnChunkMetaData, &ColumnChunkMetaData)| {
        a.column_path() == b.column_path()
            && a.column_type() == b.column_type()
            && a.byte_range() == b.byte_range()
            && a.num_values() == b.num_values()
            && a.compression() == b.compression()
            && a.dictionary_page_offset() == b.dictionary_page_offset()
            && a.data_page_offset() == b.data_page_offset()
    };
    a.num_rows() == b.num_rows()
        && a.num_columns() == b.num_columns()
        && a.columns().iter().zip(b.columns()).all(same_column)
}

/// What a file with this footer holds, all its rows being those of `all`.
fn concluded(meta: &ParquetMetaData, all: &Part) -> ReadBack {
    let pairs = meta.file_metadata().key_value_metadata();
    let footer_row_hash: Option<RowHash> = pairs.and_then(|p| {
        p.iter()
            .find(|kv| kv.key == FOOTER_KEY)?
            .value
            .as_deref()?
            .parse()
            .ok()
    });
    let mut findings = all.findings();
    let claimed = u64::try_from(meta.file_metadata().num_rows()).unwrap_or(0);
    let RowTally { rows, row_hash, .. } = all.tally;
    if claimed != rows {
        findings.push(format!(
            "the footer claims {claimed} rows, {rows} were decoded"
        ));
    }
    match footer_row_hash {
        Some(hash) if hash != row_hash => {
            findings.push(format!(
                "the rows have row hash {row_hash}, the footer says {hash}"
            ));
        }
        _ => {}
    }
    ReadBack {
        rows,
        row_hash,
        row_hash_without_seq: all.tally.without_seq,
        ts_min_ns: all.ts_ns.map(|(min, _)| min),
        ts_max_ns: all.ts_ns.map(|(_, max)| max),
        footer_row_hash,
        findings,
    }
}

/// What is known of a stretch of rows.
#[derive(Debug, Default)]
struct Part {
    tally: RowTally,
    ts_ns: Option<(i64, i64)>,
    /// The first and the last row.
    ends: Option<(RecordBatch, RecordBatch)>,
    unordered: Count,
    ties: Count,
    other_day: Count,
    other_name: Count,
}

/// How often something was found, and how it looked first.
#[derive(Debug, Default)]
struct Count {
    times: u64,
    first: Option<String>,
}

impl Count {
    fn found(&mut self, times: u64, text: impl FnOnce() -> String) {
        if times > 0 {
            self.times += times;
            if self.first.is_none() {
                self.first = Some(text());
            }
        }
    }

    fn and(&mut self, other: Self) {
        self.times += other.times;
        if self.first.is_none() {
            self.first = other.first;
        }
    }
}

impl Part {
    /// Reads all of `rows`.
    async fn of(
        rows: &mut Rows,
        partition: &Partition,
        hashes: Hashes,
    ) -> std::result::Result<Self, Problem> {
        let (mut part, mut tally) = (Self::default(), RowTally::of(hashes));
        tally
            .read(rows, |batch, tally| {
                let before = tally.rows - batch.num_rows() as u64;
                part.take(batch, before, partition)
            })
            .await?;
        part.tally = tally;
        part.let_go()?;
        Ok(part)
    }

    /// Looks at the rows after the first `before`.
    fn take(
        &mut self,
        batch: &RecordBatch,
        before: u64,
        partition: &Partition,
    ) -> std::result::Result<(), Problem> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (ts, seq) = keys(batch)?;
        self.days(&ts, partition);
        self.names(batch, partition);
        if let Some((_, last)) = &self.ends {
            // One row of before and the first of now, as a batch of two.
            let both = joined(last, &batch.slice(0, 1))?;
            let (ts, seq) = keys(&both)?;
            order(
                &both,
                &ts,
                &seq,
                before.saturating_sub(1),
                &mut self.unordered,
                &mut self.ties,
            )?;
        }
        order(
            batch,
            &ts,
            &seq,
            before,
            &mut self.unordered,
            &mut self.ties,
        )?;
        let last = batch.slice(batch.num_rows() - 1, 1);
        let first = self
            .ends
            .take()
            .map_or_else(|| batch.slice(0, 1), |(first, _)| first);
        self.ends = Some((first, last));
        Ok(())
    }

    /// Copies the first and the last row, which otherwise hold the batches that they are of.
    fn let_go(&mut self) -> std::result::Result<(), Problem> {
        let Some((first, last)) = &self.ends else {
            return Ok(());
        };
        let copy = |row: &RecordBatch| {
            take_record_batch(row, &UInt32Array::from(vec![0])).map_err(internal)
        };
        self.ends = Some((copy(first)?, copy(last)?));
        Ok(())
    }

    fn append(&mut self, next: Self) -> std::result::Result<(), Problem> {
        if let (Some((_, last)), Some((first, _))) = (&self.ends, &next.ends) {
            let both = joined(last, first)?;
            let (ts, seq) = keys(&both)?;
            order(
                &both,
                &ts,
                &seq,
                self.tally.rows.saturating_sub(1),
                &mut self.unordered,
                &mut self.ties,
            )?;
        }
        self.tally = std::mem::take(&mut self.tally).and(next.tally);
        self.ts_ns = match (self.ts_ns, next.ts_ns) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        self.ends = match (self.ends.take(), next.ends) {
            (Some((first, _)), Some((_, last))) => Some((first, last)),
            (one, other) => one.or(other),
        };
        self.unordered.and(next.unordered);
        self.ties.and(next.ties);
        self.other_day.and(next.other_day);
        self.other_name.and(next.other_name);
        Ok(())
    }

    fn findings(&self) -> Vec<String> {
        let kinds = [
            (&self.unordered, ["row is", "rows are"], "out of order"),
            (
                &self.ties,
                ["row is", "rows are"],
                "not ordered by other columns among those of one (ts_event, seq)",
            ),
            (
                &self.other_day,
                ["row has", "rows have"],
                "a ts_event that is not of this day",
            ),
            (
                &self.other_name,
                ["row bears", "rows bear"],
                "the name of another exchange, stream or symbol",
            ),
        ];
        let tell = |(count, [one, several], what): &(&Count, [&str; 2], &str)| {
            let first = count.first.as_ref()?;
            let rows = if count.times == 1 { one } else { several };
            Some(format!("{} {rows} {what}; the first: {first}", count.times))
        };
        kinds.iter().filter_map(tell).collect()
    }

    fn days(&mut self, ts: &Int64Array, partition: &Partition) {
        let (from, to) = (partition.date.start_ns(), partition.date.end_ns());
        let mut wrong = 0;
        let mut example = None;
        for value in ts {
            if let Some(ns) = value.and_then(to_ns) {
                self.ts_ns = Some(
                    self.ts_ns
                        .map_or((ns, ns), |(min, max)| (min.min(ns), max.max(ns))),
                );
                if ns >= from && ns < to {
                    continue;
                }
            }
            wrong += 1;
            example = example.or(Some(value));
        }
        self.other_day.found(wrong, || match example.flatten() {
            Some(value) => format!("ts_event {value}"),
            None => "no ts_event".to_owned(),
        });
    }

    fn names(&mut self, batch: &RecordBatch, partition: &Partition) {
        for name in NAMES {
            let Some(column) = batch.column_by_name(name) else {
                continue;
            };
            let mut found = |text: &str, rows: usize| {
                if !belongs(name, text, &partition.series) {
                    self.other_name
                        .found(rows as u64, || format!("{name} {text:?}"));
                }
            };
            let Some(keyed) = column.as_any_dictionary_opt() else {
                continue;
            };
            let Some(values) = keyed.values().as_string_opt::<i32>() else {
                continue;
            };
            let mut times = vec![0_usize; values.len()];
            if values.len() == 1 && column.null_count() == 0 {
                times = vec![column.len()];
            } else if !times.is_empty() {
                let used = keyed
                    .normalized_keys()
                    .into_iter()
                    .enumerate()
                    .filter(|(row, _)| column.is_valid(*row));
                for (_, key) in used {
                    if let Some(count) = times.get_mut(key) {
                        *count += 1;
                    }
                }
            }
            for (text, count) in values.iter().zip(times).filter(|(_, count)| *count > 0) {
                if let Some(text) = text {
                    found(text, count);
                }
            }
        }
    }
}

fn internal(e: arrow::error::ArrowError) -> Problem {
    Problem::Storage(Error::caused(Kind::Internal, "comparing rows", e))
}

fn joined(a: &RecordBatch, b: &RecordBatch) -> std::result::Result<RecordBatch, Problem> {
    concat_batches(a.schema_ref(), [a, b]).map_err(internal)
}

fn keys(batch: &RecordBatch) -> std::result::Result<(Int64Array, Int64Array), Problem> {
    let key = |name: &str| {
        let column = batch
            .column_by_name(name)?
            .as_primitive_opt::<Int64Type>()?;
        Some(column.clone())
    };
    key(TS_EVENT).zip(key(SEQ)).ok_or_else(|| {
        Problem::bad(
            crate::model::quarantine::ErrorType::SchemaMismatch,
            "ts_event and seq must be there as Int64",
        )
    })
}

/// Counts rows that stand before a smaller one, and ties that are not ordered by their other
/// columns.
fn order(
    batch: &RecordBatch,
    ts: &Int64Array,
    seq: &Int64Array,
    before: u64,
    unordered: &mut Count,
    ties: &mut Count,
) -> std::result::Result<(), Problem> {
    if ts.null_count() == 0 && seq.null_count() == 0 {
        let (t, s) = (ts.values(), seq.values());
        let next = t.iter().skip(1).zip(s.iter().skip(1));
        let not_less = t
            .iter()
            .zip(s)
            .zip(next)
            .map(|((a, b), (c, d))| usize::from((a > c) || (a == c) && (b >= d)));
        if not_less.sum::<usize>() == 0 {
            return Ok(());
        }
    }
    let key = |row: usize| {
        let value = |a: &Int64Array| a.is_valid(row).then(|| a.value(row));
        (value(ts), value(seq))
    };
    let mut comparators: Option<Vec<DynComparator>> = None;
    for row in 1..batch.num_rows() {
        let (above, here) = (key(row - 1), key(row));
        let place = || {
            let shown = |value: Option<i64>| value.map_or("null".to_owned(), |v| v.to_string());
            format!(
                "row {}, ts_event {}, seq {}",
                before + row as u64,
                shown(here.0),
                shown(here.1)
            )
        };
        match above.cmp(&here) {
            Ordering::Less => {}
            Ordering::Greater => unordered.found(1, place),
            Ordering::Equal => {
                let comparators = match &comparators {
                    Some(known) => known,
                    None => comparators.insert(others(batch)?),
                };
                let first = comparators
                    .iter()
                    .map(|c| c(row - 1, row))
                    .find(|o| *o != Ordering::Equal);
                ties.found(u64::from(first == Some(Ordering::Greater)), place);
            }
        }
    }
    Ok(())
}

fn others(batch: &RecordBatch) -> std::result::Result<Vec<DynComparator>, Problem> {
    let options = SortOptions {
        descending: false,
        nulls_first: true,
    };
    batch
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(f, _)| f.name() != TS_EVENT && f.name() != SEQ)
        .map(|(_, column)| make_comparator(column, column, options).map_err(internal))
        .collect()
}
