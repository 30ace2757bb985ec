//! What the sealed files of a series show, for a collector whose write-ahead log was removed: numbers and names that
//! were given already.
//!
//! It reads names, and the footers of the newest files, but no rows. A footer that cannot be read is skipped: the
//! compactor will report the file.

use std::{
    fs::{self, File},
    path::Path,
};

use chrono::NaiveDateTime;
use parquet::file::{
    metadata::RowGroupMetaData,
    reader::{FileReader, SerializedFileReader},
    statistics::Statistics,
};

use super::wal::Checkpoint;
use crate::{
    model::{layout, partition::Series, schema},
    storage::store::Store,
};

/// So many of the newest files by name, and as many by the number in the name, are opened.
const NEWEST: usize = 4;

/// A name that a collector gave.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    opened_s: i64,
    /// The number of the first row, where the second had a name already.
    seq: Option<i64>,
    file: String,
}

/// What is remembered of a series, and what its files in the spool tell beyond that.
pub(crate) fn joined(spool: &Store, series: &Series, known: &Checkpoint) -> Checkpoint {
    let mut known = known.clone();
    let Some(folder) = spool.local_path(&layout::series_dir(series)) else { return known };
    let entries = entries(&folder).unwrap_or_else(|error| {
        // Collecting goes on: an event that is not taken now is lost, a number that is given again can be told later.
        tracing::error!(folder = %folder.display(), %error, "cannot be listed; what its files tell of numbers and names is not known");
        Vec::new()
    });
    let mut names: Vec<Named> = entries.iter().filter_map(|entry| named(entry.file_name().to_str()?)).collect();
    names.sort();
    for name in &names {
        known.opened_s = known.opened_s.max(name.opened_s);
        known.seq = known.seq.max(name.seq.unwrap_or(0));
    }
    let mut newest: Vec<Named> = names.iter().rev().take(NEWEST).cloned().collect();
    // A clock that went back gives later files earlier names; the number of their first row is in them.
    names.sort_by_key(|name| name.seq);
    newest.extend(names.iter().rev().take_while(|name| name.seq.is_some()).take(NEWEST).cloned());
    for name in newest {
        let [seq, ts_recv] = greatest(&folder.join(&name.file), [schema::SEQ, "ts_recv"]);
        known.seq = known.seq.max(seq.unwrap_or(0));
        known.ts_recv = known.ts_recv.max(ts_recv.unwrap_or(0));
    }
    known
}

/// All that lies in a folder, which need not be there yet.
fn entries(folder: &Path) -> std::io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Takes `2026-02-03_14-30-00.parquet` or `2026-02-03_14-30-00-{seq}.parquet` apart.
fn named(file: &str) -> Option<Named> {
    let stem = file.strip_suffix(".parquet")?;
    let (time, rest) = stem.split_at_checked(19)?;
    let opened = NaiveDateTime::parse_from_str(time, "%Y-%m-%d_%H-%M-%S").ok()?;
    let seq = match rest {
        "" => None,
        rest => Some(rest.strip_prefix('-')?.parse().ok()?),
    };
    Some(Named { opened_s: opened.and_utc().timestamp(), seq, file: file.to_owned() })
}

/// The greatest values of integer columns, as the footer has them.
fn greatest(path: &Path, columns: [&str; 2]) -> [Option<i64>; 2] {
    let reader = File::open(path).ok().and_then(|file| SerializedFileReader::new(file).ok());
    let Some(reader) = reader else {
        tracing::warn!(file = %path.display(), "a footer does not read; the numbers of its rows are not known");
        return [None; 2];
    };
    let of = |name: &str| {
        let groups = reader.metadata().row_groups().iter();
        let chunks = groups.flat_map(RowGroupMetaData::columns).filter(|chunk| chunk.column_path().string() == name);
        let greatest = chunks.filter_map(|chunk| match chunk.statistics() {
            Some(Statistics::Int64(of)) => of.max_opt().copied(),
            _ => None,
        });
        greatest.max()
    };
    columns.map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_second_and_their_number() {
        let check = |file: &str, want: Option<(i64, Option<i64>)>| {
            assert_eq!(named(file).map(|name| (name.opened_s, name.seq)), want, "{file}");
        };
        check("2026-02-03_14-30-00.parquet", Some((1_770_129_000, None)));
        check("2026-02-03_14-30-00-77.parquet", Some((1_770_129_000, Some(77))));
        for other in
            ["2026-02-03_14-30-00-x.parquet", "2026-02-03.parquet", "part-0.parquet", ".2026-02-03_14-30-00.tmp"]
        {
            check(other, None);
        }
    }
}
