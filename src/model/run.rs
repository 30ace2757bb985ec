//! The record of a run: what was asked for, the result of each partition, how long it took and how
//! much memory.
//!
//! One object for each run, `_runs/date=20260203/{time}-{id}.json`, written once at the end and
//! never changed. No decision about data is made from it: the archive itself says what is archived.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    date::Date,
    partition::{Exchange, Partition, Stream, Symbol},
};
use crate::error::{Error, Kind, Result};

/// The version of the form of a record.
pub const RUN_VERSION: u32 = 1;

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The mode of the command, such as `daily`; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The first day that was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Date>,
    /// The last day that was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Date>,
    /// The exchanges that were named; none for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exchanges: Vec<Exchange>,
    /// The streams that were named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<Stream>,
    /// The symbols that were named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<Symbol>,
}

/// Memory: what was foreseen, and what it came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// The limit in bytes, which is what the plans were made for; absent where the command has
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The most that was resident since the process began (`VmHWM`), in bytes; absent where the
    /// system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
}

/// What came of one partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartitionRecord {
    /// The partition.
    #[serde(flatten)]
    pub partition: Partition,
    /// How it ended: of `compact` as its JSON output says it, of `verify` `sound` or `damaged`.
    pub status: String,
    /// In words, where there is something to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Spool files whose rows are in the data.
    #[serde(default)]
    pub files: u64,
    /// What went to QUARANTINE in this run.
    #[serde(default)]
    pub quarantined: u64,
    /// Rows of the data.
    #[serde(default)]
    pub rows: u64,
    /// Bytes of the spool files that were read.
    #[serde(default)]
    pub bytes_in: u64,
    /// Bytes of the data.
    #[serde(default)]
    pub bytes_out: u64,
    /// Wall seconds.
    #[serde(default)]
    pub seconds: f64,
    /// The sha256 of the data, where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The steps that were run, as the receipt holds them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`RUN_VERSION`]
    pub run_version: u32,
    /// What the run is known by: the time of its end and a piece of chance, as in its key.
    pub id: String,
    /// The version of qlc.
    pub qlc_version: String,
    /// The command: `compact`, `verify`, `reconcile`, `prune` or `clean`.
    pub command: String,
    /// What was asked for.
    pub asked: RunRequest,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// When it ended, likewise.
    pub ended_at: String,
    /// Wall seconds between the two.
    pub seconds: f64,
    /// The exit code.
    pub exit_code: u8,
    /// Why it ended early, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Partitions at a time, at most; absent where the command has no workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// Memory, foreseen and measured.
    pub memory: MemoryUse,
    /// What came of how many things that are not told one by one: spool files of `prune`, leftovers
    /// of `clean`; of `compact` the files that it saw, and the partitions with nothing to do; of
    /// `verify` what is in no partition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// The partitions that were looked at, in their order; of `compact` those with something to do.
    pub partitions: Vec<PartitionRecord>,
}

impl RunRecord {
    /// The bytes of the object, ending in a line feed.
    ///
    /// # Errors
    /// Never in practice: all fields are plain.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|e| {
            Error::caused(
                Kind::Internal,
                "the record of a run could not be written as JSON",
                e,
            )
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a record of this version or an earlier one.
    ///
    /// # Errors
    /// When it is none, or a later version of qlc wrote it in another form.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let run: Self = serde_json::from_slice(bytes)
            .map_err(|e| Error::caused(Kind::Damage, "the record of a run is not readable", e))?;
        if run.run_version > RUN_VERSION {
            let version = run.run_version;
            return Err(Error::new(
                Kind::Damage,
                format!("the record has version {version}: a later qlc reads it"),
            ));
        }
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_later_forms_are_refused() {
        let partition = serde_json::from_str(
            r#"{"exchange":"binance","stream":"bbo","symbol":"btcusdt","date":"20260203"}"#,
        );
        let run = RunRecord {
            run_version: RUN_VERSION,
            id: "20260204T010000Z-abc".to_owned(),
            qlc_version: "0.1.0".to_owned(),
            command: "compact".to_owned(),
            asked: RunRequest {
                mode: Some("daily".to_owned()),
                ..RunRequest::default()
            },
            started_at: "2026-02-04T01:00:00Z".to_owned(),
            ended_at: "2026-02-04T01:00:01Z".to_owned(),
            seconds: 1.0,
            exit_code: 0,
            error: None,
            workers: Some(2),
            memory: MemoryUse {
                limit: Some(1),
                peak: None,
            },
            counts: BTreeMap::new(),
            partitions: vec![PartitionRecord {
                partition: partition.unwrap(),
                status: "done".to_owned(),
                message: String::new(),
                files: 2,
                quarantined: 0,
                rows: 3,
                bytes_in: 4,
                bytes_out: 5,
                seconds: 0.5,
                sha256: None,
                plan: vec!["scan".to_owned()],
            }],
        };
        let bytes = run.to_json().unwrap();
        assert_eq!(RunRecord::from_json(&bytes).unwrap(), run);
        let later = String::from_utf8(bytes)
            .unwrap()
            .replace("\"run_version\": 1", "\"run_version\": 2");
        assert_eq!(
            RunRecord::from_json(later.as_bytes()).unwrap_err().kind(),
            Kind::Damage
        );
    }
}
