//! Journals of what was removed on purpose: one JSON object a line, so that a person with `grep`
//! can read them.
//!
//! A line is written durably before the removal that it announces, and once more with the result.
//! No decision is made from a journal: whether something may be removed is proven from the archive
//! each time.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{date::Date, partition::Partition, quarantine::Entry, row_hash::RowHash};
use crate::error::{Error, Kind, Result};

/// What came of an announced removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemovalResult {
    /// It was removed. In a bucket the journal of a run beside that one may say so too: removing
    /// what is not there any more has the same answer.
    Removed,
    /// It had gone when it was to be removed, or its removal was interrupted and it has gone since.
    Gone,
    /// It was another object by then, and stays.
    Changed,
    /// The run ended before its turn came, or it could not be removed; it stays.
    NotReached,
    /// Whether it was removed is not known: the store did not say.
    Unknown,
}

/// Where rows of a pruned file are: in the data of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InData {
    /// The day.
    pub date: Date,
    /// How many rows.
    pub rows: u64,
    /// The sha256 of the `data.parquet` that was read and holds them.
    pub data_sha256: String,
}

/// Where rows of a pruned file are: in QUARANTINE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InQuarantine {
    /// The day of the folder.
    pub date: Date,
    /// How many rows.
    pub rows: u64,
    /// The name of the row file.
    pub kept_as: String,
    /// Its sha256, as it was read.
    pub kept_sha256: String,
}

/// A spool file that `qlc prune` removes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Its key below the spool's root.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last changed, in microseconds since 1970 UTC.
    pub modified_us: i64,
    /// The sha256 of its bytes.
    pub sha256: String,
    /// Its rows.
    pub rows: u64,
    /// Their row hash.
    pub row_hash: RowHash,
    /// Where its rows are.
    pub data: Vec<InData>,
    /// Where the rows without a permitted day are, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<InQuarantine>,
    /// Why it may go.
    pub why: String,
    /// When that was decided, RFC 3339 in UTC.
    pub decided_at: String,
    /// The version of qlc.
    pub qlc_version: String,
    /// What came of it; absent in an intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<RemovalResult>,
}

/// A record of the collector (a feed log, a quality window) that `qlc prune` removes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrunedRecord {
    /// Its key below the spool's root.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last changed, in microseconds since 1970 UTC.
    pub modified_us: i64,
    /// Why it may go.
    pub why: String,
    /// When that was decided, RFC 3339 in UTC.
    pub decided_at: String,
    /// The version of qlc.
    pub qlc_version: String,
}

/// What `qlc quarantine` takes out of QUARANTINE: on request, or because its rows are in the
/// archive now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The folder it is kept in.
    #[serde(flatten)]
    pub partition: Partition,
    /// The entry as it stood in `error.json`.
    pub entry: Entry,
    /// Where its rows are, if they are in the archive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<InData>,
    /// Why it may go.
    pub why: String,
    /// When that was decided, RFC 3339 in UTC.
    pub decided_at: String,
    /// The version of qlc that decided it.
    pub decided_by: String,
}

/// The lines of a journal.
///
/// # Errors
/// Never in practice: all fields are plain.
pub fn to_lines<T: Serialize>(all: &[T]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for one in all {
        serde_json::to_writer(&mut bytes, one).map_err(|e| {
            Error::caused(
                Kind::Internal,
                "a line of a journal could not be written as JSON",
                e,
            )
        })?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// Reads the lines of a journal.
///
/// # Errors
/// When a line is not one of this journal.
pub fn from_lines<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>> {
    let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            serde_json::from_slice(line).map_err(|e| {
                Error::caused(Kind::Damage, "a line of the journal is not readable", e)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let line = Pruned {
            name: "exchange=a/stream=b/symbol=c/2026-02-03.parquet".to_owned(),
            size: 7,
            modified_us: 9,
            sha256: "a".repeat(64),
            rows: 3,
            row_hash: RowHash::EMPTY,
            data: vec![InData {
                date: "20260203".parse().unwrap(),
                rows: 3,
                data_sha256: "b".repeat(64),
            }],
            quarantined: None,
            why: "older than 7 days".to_owned(),
            decided_at: "2026-02-20T00:00:00Z".to_owned(),
            qlc_version: "0.1.0".to_owned(),
            ended: None,
        };
        let both = [
            line.clone(),
            Pruned {
                ended: Some(RemovalResult::Removed),
                ..line
            },
        ];
        let bytes = to_lines(&both).unwrap();
        assert_eq!(String::from_utf8(bytes.clone()).unwrap().lines().count(), 2);
        assert_eq!(from_lines::<Pruned>(&bytes).unwrap(), both);
        assert_eq!(
            from_lines::<Pruned>(b"{}\n").unwrap_err().kind(),
            Kind::Damage
        );
    }
}
