//! What the sealed files of a series show, for a collector whose write-ahead log was removed: names
//! that were given already, and when the last event came.
//!
//! It reads names, and the footers of the newest files, but no rows. A footer that cannot be read
//! is skipped: the compactor will report the file.

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
    model::{layout, partition::Series},
    storage::store::Store,
};

/// So many of the newest files by name, and as many by the suffix of the name, are opened.
const NEWEST: usize = 4;

/// A name that a collector gave.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    opened_s: i64,
    /// What tells it from others, where the second had a name already.
    suffix: Option<i64>,
    file: String,
}

/// What is remembered of a series, and what its files in the spool tell beyond that.
pub(crate) fn joined(spool: &Store, series: &Series, known: &Checkpoint) -> Checkpoint {
    let mut known = known.clone();
    let Some(folder) = spool.local_path(&layout::series_dir(series)) else {
        return known;
    };
    let entries = entries(&folder).unwrap_or_else(|error| {
        // Collecting goes on: an event that is not taken now is lost, a name that is taken is seen.
        tracing::error!(folder = %folder.display(), %error, "cannot be listed; what its files tell is not known");
        Vec::new()
    });
    let mut names: Vec<Named> = entries
        .iter()
        .filter_map(|entry| named(entry.file_name().to_str()?))
        .collect();
    names.sort();
    for name in &names {
        known.opened_s = known.opened_s.max(name.opened_s);
        known.ts_recv = known.ts_recv.max(name.suffix.unwrap_or(0));
    }
    let mut newest: Vec<Named> = names.iter().rev().take(NEWEST).cloned().collect();
    // A clock that went back gives later files earlier names; these have what tells them from
    // others.
    names.sort_by_key(|name| name.suffix);
    newest.extend(
        names
            .iter()
            .rev()
            .take_while(|name| name.suffix.is_some())
            .take(NEWEST)
            .cloned(),
    );
    for name in newest {
        known.ts_recv = known
            .ts_recv
            .max(last_received(&folder.join(&name.file)).unwrap_or(0));
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

/// Takes `2026-02-03_14-30-00.parquet` or `2026-02-03_14-30-00-{suffix}.parquet` apart.
fn named(file: &str) -> Option<Named> {
    let stem = file.strip_suffix(".parquet")?;
    let (time, rest) = stem.split_at_checked(19)?;
    let opened = NaiveDateTime::parse_from_str(time, "%Y-%m-%d_%H-%M-%S").ok()?;
    let suffix = match rest {
        "" => None,
        rest => Some(rest.strip_prefix('-')?.parse().ok()?),
    };
    Some(Named {
        opened_s: opened.and_utc().timestamp(),
        suffix,
        file: file.to_owned(),
    })
}

/// The latest `ts_recv`, as the footer has it.
fn last_received(path: &Path) -> Option<i64> {
    let reader = File::open(path)
        .ok()
        .and_then(|file| SerializedFileReader::new(file).ok());
    let Some(reader) = reader else {
        tracing::warn!(file = %path.display(), "a footer does not read; when its last event came is not known");
        return None;
    };
    let groups = reader.metadata().row_groups().iter();
    let chunks = groups
        .flat_map(RowGroupMetaData::columns)
        .filter(|chunk| chunk.column_path().string() == "ts_recv");
    let greatest = chunks.filter_map(|chunk| match chunk.statistics() {
        Some(Statistics::Int64(of)) => of.max_opt().copied(),
        _ => None,
    });
    greatest.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_second_and_their_number() {
        let check = |file: &str, want: Option<(i64, Option<i64>)>| {
            assert_eq!(
                named(file).map(|name| (name.opened_s, name.suffix)),
                want,
                "{file}"
            );
        };
        check("2026-02-03_14-30-00.parquet", Some((1_770_129_000, None)));
        check(
            "2026-02-03_14-30-00-77.parquet",
            Some((1_770_129_000, Some(77))),
        );
        for other in [
            "2026-02-03_14-30-00-x.parquet",
            "2026-02-03.parquet",
            "part-0.parquet",
            ".2026-02-03_14-30-00.tmp",
        ] {
            check(other, None);
        }
    }
}
