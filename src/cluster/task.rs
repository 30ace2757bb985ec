//! The work of one partition as plain data, and its result.
//!
//! It holds no credentials and nothing open: an executor speaks to buckets with its own settings.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::version::BuildId;
use crate::{
    compact::{Mode, Options, Outcome, Status},
    error::{Error, Kind, Result},
    model::partition::Partition,
    storage::{spools::Spools, store::Store},
};

/// One partition of a run, on its way to an executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Task {
    /// The qlc that asks.
    #[serde(flatten)]
    pub build: BuildId,
    /// What tells it from all others: the same each time that the run gives it out.
    #[serde(default)]
    pub id: String,
    /// The spool, or those of several collectors: absolute paths or URLs.
    pub spool: Spools,
    /// The archive: an absolute path or a URL.
    pub archive: String,
    /// The partition.
    pub partition: Partition,
    /// The instant that decides what "today" is, and that the receipt bears.
    pub now: DateTime<Utc>,
    /// Whether the partition was asked for by name.
    pub explicit: bool,
    /// Compact again what is up to date, and today too.
    pub force: bool,
    /// Go on where a published generation is gone, without the rows of it that are nowhere.
    pub accept_loss: bool,
    /// Take in the good row groups of a file of which some do not read.
    pub salvage: bool,
    /// The level of zstd, where it is not the default.
    pub zstd_level: Option<i32>,
    /// Bytes that the work on this partition may have resident.
    pub memory_limit: u64,
    /// Whether the run has given it out before and does not know what came of it: what stands may
    /// be its own work.
    pub again: bool,
}

/// What came of a task: the only row of its job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    /// What came of the partition; `None` when it turned out that nobody meant it.
    pub outcome: Option<Outcome>,
    /// The steps that were run.
    pub plan: Vec<String>,
    /// Whether the partition was only looked at.
    pub idle: bool,
    /// The executor.
    pub executor: String,
    /// Whether it failed for want of disk, memory or network there: another executor may have more
    /// luck.
    pub local: bool,
    /// Whether it was not the first attempt of the run.
    pub again: bool,
}

impl Report {
    /// Whether somebody else was at work on the partition.
    pub(super) fn lost_race(&self) -> bool {
        let status = self.outcome.as_ref().map(|outcome| outcome.status);
        status == Some(Status::LostRace)
    }
}

impl Task {
    /// The task of `partition` in a run with `options` over these stores.
    ///
    /// # Errors
    /// Never in practice.
    pub fn of(
        spool: &Store,
        archive: &Store,
        partition: Partition,
        options: &Options,
    ) -> Result<Self> {
        Ok(Self {
            build: BuildId::own(),
            id: uuid::Uuid::new_v4().to_string(),
            spool: spool.spools()?,
            archive: archive.address(),
            partition,
            now: options.now,
            explicit: matches!(options.mode, Mode::Single { .. }),
            force: options.force,
            accept_loss: options.accept_loss,
            salvage: options.salvage,
            zstd_level: options.zstd_level,
            memory_limit: options.memory_limit,
            again: false,
        })
    }

    /// The task as bytes.
    ///
    /// # Errors
    /// Never in practice.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::caused(Kind::Internal, "a task as JSON", e))
    }

    /// The task of these bytes.
    ///
    /// # Errors
    /// When they are not those of a task, as another version may write it.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|e| Error::caused(Kind::BadInput, "not a task of this version of qlc", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::partition::Series;

    #[test]
    fn a_task_survives_its_way() {
        let task = Task {
            build: BuildId::own(),
            id: "1".to_owned(),
            spool: Spools::parse(["a=/spool", "b=s3://spool/b"]).unwrap(),
            archive: "s3://archive/prefix".to_owned(),
            partition: Series {
                exchange: "binance".parse().unwrap(),
                stream: "bbo".parse().unwrap(),
                symbol: "btcusdt".parse().unwrap(),
            }
            .on("20260203".parse().unwrap()),
            now: DateTime::UNIX_EPOCH,
            explicit: true,
            force: false,
            accept_loss: true,
            salvage: true,
            zstd_level: Some(7),
            memory_limit: 1 << 30,
            again: true,
        };
        assert_eq!(Task::from_json(&task.to_json().unwrap()).unwrap(), task);
        assert!(Task::from_json(b"{\"spool\": 1}").is_err());
    }
}
