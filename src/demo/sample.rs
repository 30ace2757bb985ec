//! Which files the sample spool has, and the report of them.
//!
//! Running it again with the same day and seed makes the same files.

use std::{fmt, fs, path::Path};

use arrow::{
    array::{AsArray, Int64Array, RecordBatch},
    compute::take_record_batch,
    datatypes::Int64Type,
};
use chrono::DateTime;

use super::{
    feeds::{FEEDS, Feed, LEGACY, Role},
    market, spool,
};
use crate::{
    error::{Error, Result},
    model::{
        count::{self, plural},
        date::Date,
        layout, size,
    },
};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;
/// How long before midnight the late file begins.
const LATE_FROM: i64 = 28 * SECOND;
/// How long after midnight the late file is sealed.
const LATE_UNTIL: i64 = 5 * SECOND;
/// For how long two overlapping files record side by side, as when a connection is replaced.
const SIDE_BY_SIDE: i64 = 240 * SECOND;
/// The two overlapping files, and the corrupt one, by their place in the day.
const OVERLAP_AT: usize = 8;
const OVERLAP_NEXT: usize = OVERLAP_AT + 1;
const CORRUPT_AT: usize = 13;

/// One file of the sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleFile {
    /// Its key below the spool's root.
    pub key: String,
    /// Its rows, as its footer says.
    pub rows: u64,
    /// How many of them are of the day after the sample's.
    pub rows_next_day: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its part.
    pub role: Role,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleReport {
    /// The day of the sample.
    pub day: Date,
    /// All files, by key.
    pub files: Vec<SampleFile>,
}

impl SampleReport {
    /// Rows of all files.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|f| f.rows).sum()
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }

    /// The files that play a part.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &SampleFile> {
        self.files.iter().filter(move |f| f.role == role)
    }

    /// How many partitions of the sample's day its files belong to.
    #[must_use]
    pub fn partitions(&self) -> usize {
        let folders = self
            .files
            .iter()
            .filter_map(|f| f.key.rsplit_once('/').map(|(folder, _)| folder));
        folders.collect::<std::collections::BTreeSet<_>>().len()
    }
}

impl fmt::Display for SampleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "   {} of {}, {}, {}; among them, on purpose:",
            plural(self.files.len(), "file"),
            plural(self.partitions(), "partition"),
            count::rows(self.rows()),
            size::show(self.bytes())
        )?;
        let parts = [
            (Role::Overlap, "overlap in time"),
            (
                Role::Late,
                "late: sealed after midnight, with rows of both days",
            ),
            (
                Role::Legacy,
                "of an older format: no seq, milliseconds, dictionary strings",
            ),
            (Role::Corrupt, "corrupt: a page does not decompress"),
        ];
        for (role, what) in parts {
            let files: Vec<&SampleFile> = self.of(role).collect();
            if let Some(first) = files.first() {
                let more = if files.len() > 1 {
                    format!(" and {} more", files.len() - 1)
                } else {
                    String::new()
                };
                writeln!(f, "   - {what}: {}{more}", first.key)?;
            }
        }
        Ok(())
    }
}

/// Writes the sample spool of the day `yesterday` into the folder `dir`, which is made if it is
/// absent.
///
/// # Errors
/// When a file or folder cannot be written.
pub fn sample(dir: &Path, yesterday: Date, seed: u64) -> Result<SampleReport> {
    let mut files = Vec::new();
    for feed in FEEDS.iter().chain([&LEGACY]) {
        let until = yesterday.end_ns() + if feed.has(Role::Late) { LATE_UNTIL } else { 0 };
        let events = market::events(feed, yesterday.start_ns()..until, seed)?;
        for piece in cut(feed, &events, yesterday)? {
            let key = key(feed, yesterday, &piece)?;
            let bytes = bytes(&piece)?;
            write(&dir.join(&key), &bytes)?;
            let next_day = times(&piece.rows)
                .iter()
                .filter(|t| **t >= yesterday.end_ns())
                .count();
            files.push(SampleFile {
                key,
                rows: piece.rows.num_rows() as u64,
                rows_next_day: next_day as u64,
                bytes: bytes.len() as u64,
                role: piece.role,
            });
        }
    }
    files.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(SampleReport {
        day: yesterday,
        files,
    })
}

/// The rows of one file.
struct Piece {
    /// Its number in the day, from 0.
    number: usize,
    /// When it was sealed.
    sealed_ns: i64,
    rows: RecordBatch,
    role: Role,
}

fn cut(feed: &Feed, events: &RecordBatch, day: Date) -> Result<Vec<Piece>> {
    let step = feed.hours * HOUR;
    // Where each file but the last ends.
    let mut ends: Vec<i64> = (1..24 / feed.hours)
        .map(|n| day.start_ns() + n * step)
        .collect();
    let mut sealed = ends.clone();
    if feed.has(Role::Late) {
        ends.push(day.end_ns() - LATE_FROM);
        sealed.extend([day.end_ns() - LATE_FROM, day.end_ns() + LATE_UNTIL]);
    } else {
        sealed.push(day.end_ns() - 1);
    }
    let mut rows_of: Vec<Vec<i64>> = vec![Vec::new(); sealed.len()];
    for (row, t) in (0_i64..).zip(times(events)) {
        let mut owner = ends.partition_point(|end| end <= t);
        let shared = feed.has(Role::Overlap)
            && owner == OVERLAP_AT
            && ends.get(owner).is_some_and(|end| end - t <= SIDE_BY_SIDE);
        if shared && row % 2 == 1 {
            owner += 1;
        }
        if let Some(rows) = rows_of.get_mut(owner) {
            rows.push(row);
        }
    }
    let mut pieces = Vec::new();
    for (number, (rows, sealed_ns)) in rows_of.into_iter().zip(sealed).enumerate() {
        let role = role(feed, number, sealed_ns >= day.end_ns());
        let rows = if role == Role::Legacy && number % 2 == 1 {
            disordered(rows)
        } else {
            rows
        };
        let rows = take_record_batch(events, &Int64Array::from(rows)).map_err(market::not_made)?;
        pieces.push(Piece {
            number,
            sealed_ns,
            rows,
            role,
        });
    }
    Ok(pieces)
}

fn role(feed: &Feed, number: usize, after_midnight: bool) -> Role {
    match number {
        _ if feed.has(Role::Legacy) => Role::Legacy,
        OVERLAP_AT | OVERLAP_NEXT if feed.has(Role::Overlap) => Role::Overlap,
        CORRUPT_AT if feed.has(Role::Corrupt) => Role::Corrupt,
        _ if after_midnight => Role::Late,
        _ => Role::Regular,
    }
}

/// Rows as an older collector wrote them that buffered by connection: runs of them change places.
fn disordered(mut rows: Vec<i64>) -> Vec<i64> {
    for pair in rows.chunks_exact_mut(40) {
        pair.rotate_left(17);
    }
    rows
}

fn key(feed: &Feed, day: Date, piece: &Piece) -> Result<String> {
    let folder = layout::series_dir(&market::series(feed)?);
    Ok(if piece.role == Role::Legacy {
        format!("{folder}/date={day}/part-{:04}.parquet", piece.number)
    } else {
        let sealed = DateTime::from_timestamp_nanos(piece.sealed_ns);
        format!("{folder}/{}.parquet", sealed.format("%Y-%m-%d_%H-%M-%S"))
    })
}

fn bytes(piece: &Piece) -> Result<Vec<u8>> {
    if piece.role == Role::Legacy {
        return spool::legacy(&piece.rows);
    }
    let mut bytes = spool::sealed(&piece.rows)?;
    if piece.role == Role::Corrupt {
        spool::damage(&mut bytes, "bid_price")?;
    }
    Ok(bytes)
}

fn times(events: &RecordBatch) -> &[i64] {
    events
        .columns()
        .first()
        .map_or(&[], |c| c.as_primitive::<Int64Type>().values())
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let wrong = |e| {
        Error::io(
            format!(
                "{}: the sample cannot be written; choose another folder",
                path.display()
            ),
            e,
        )
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(wrong)?;
    }
    fs::write(path, bytes).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use arrow::{compute::concat_batches, datatypes::DataType};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::model::{
        row_hash::{self, RowHash},
        time::Unit,
    };

    fn day() -> Date {
        "20260203".parse().unwrap()
    }

    /// The rows of a file and the row hash in its footer.
    fn decode(
        path: &Path,
    ) -> std::result::Result<(RecordBatch, Option<String>), arrow::error::ArrowError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        let schema = std::sync::Arc::clone(builder.schema());
        let footer = builder
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .cloned()
            .unwrap_or_default();
        let hash = footer
            .into_iter()
            .find(|kv| kv.key == row_hash::FOOTER_KEY)
            .and_then(|kv| kv.value);
        let batches = builder
            .build()
            .unwrap()
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok((concat_batches(&schema, &batches)?, hash))
    }

    #[test]
    fn the_same_day_and_seed_give_the_same_bytes() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let report = sample(a.path(), day(), 1).unwrap();
        assert_eq!(sample(b.path(), day(), 1).unwrap(), report);
        for file in &report.files {
            assert_eq!(
                fs::read(a.path().join(&file.key)).unwrap(),
                fs::read(b.path().join(&file.key)).unwrap()
            );
        }
        assert_ne!(sample(b.path(), day(), 2).unwrap(), report);
    }

    #[test]
    fn every_file_is_what_the_report_says() {
        let dir = tempfile::tempdir().unwrap();
        let report = sample(dir.path(), day(), 1).unwrap();
        for file in &report.files {
            let placed = layout::Placed::parse(&file.key).unwrap().unwrap();
            assert!(
                layout::is_input(&placed.file) && placed.home().is_some(),
                "{}",
                file.key
            );
            let path = dir.path().join(&file.key);
            assert_eq!(fs::metadata(&path).unwrap().len(), file.bytes);
            if file.role == Role::Corrupt {
                assert!(decode(&path).is_err());
                continue;
            }
            let (rows, hash) = decode(&path).unwrap();
            assert_eq!(rows.num_rows() as u64, file.rows);
            if file.role == Role::Legacy {
                assert_eq!(hash, None);
                let schema = rows.schema();
                assert!(schema.column_with_name("seq").is_none() && placed.date == Some(day()));
                assert!(matches!(
                    schema.field_with_name("symbol").unwrap().data_type(),
                    DataType::Dictionary(_, _)
                ));
                assert_eq!(Unit::of(times(&rows)[0]), Some(Unit::Milli));
            } else {
                assert_eq!(
                    hash.unwrap().parse::<RowHash>().unwrap(),
                    row_hash::of_batch(&rows).unwrap()
                );
                assert!(times(&rows).is_sorted());
            }
        }
        let legacy_sorted = report
            .of(Role::Legacy)
            .map(|f| times(&decode(&dir.path().join(&f.key)).unwrap().0).is_sorted());
        assert!(
            legacy_sorted.collect::<Vec<_>>().contains(&false),
            "some older file must be out of order"
        );
    }

    #[test]
    fn each_special_file_is_there_once() {
        let dir = tempfile::tempdir().unwrap();
        let report = sample(dir.path(), day(), 1).unwrap();
        let range = |file: &SampleFile| {
            let rows = decode(&dir.path().join(&file.key)).unwrap().0;
            (
                *times(&rows).first().unwrap(),
                *times(&rows).last().unwrap(),
            )
        };
        let overlap: Vec<_> = report.of(Role::Overlap).collect();
        assert_eq!(overlap.len(), 2);
        assert!(range(overlap[0]).1 > range(overlap[1]).0);
        let late: Vec<_> = report.of(Role::Late).collect();
        assert_eq!(late.len(), 1);
        assert!(
            late[0].key.ends_with("/2026-02-04_00-00-05.parquet"),
            "{}",
            late[0].key
        );
        let (first, last) = range(late[0]);
        assert!(first < day().end_ns() && last >= day().end_ns());
        assert!(late[0].rows_next_day > 0 && late[0].rows_next_day < late[0].rows);
        assert_eq!(
            report.files.iter().map(|f| f.rows_next_day).sum::<u64>(),
            late[0].rows_next_day
        );
        assert_eq!(report.of(Role::Corrupt).count(), 1);
        assert_eq!(report.of(Role::Legacy).count(), 4);
        assert_eq!(report.partitions(), FEEDS.len() + 1);
    }
}
