//! The facts that are judged. Values only.

use std::path::PathBuf;

/// Bytes of the files in the spool: what a compaction of it takes, before decoding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Of the largest partition.
    pub(super) partition: u64,
    /// Of the largest day.
    pub(super) day: u64,
}

impl Load {
    /// At most that of this spool and another one: the largest of each may be the same.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            partition: self.partition.saturating_add(other.partition),
            day: self.day.saturating_add(other.day),
        }
    }
}

/// The spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spool {
    /// Whether there is such a folder.
    pub(super) absent: bool,
    /// Parquet files below `exchange=…/stream=…/symbol=…`.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Parquet files elsewhere, and links.
    pub(super) elsewhere: u64,
    /// What of it cannot be listed.
    pub(super) unlisted: Option<String>,
    /// Files that were changed in the future, or whose day begins tomorrow or later.
    pub(super) future: Vec<String>,
    /// Why the newest file cannot be read.
    pub(super) unreadable: Option<String>,
    /// What compacting it takes.
    pub(super) load: Load,
}

/// The archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archive {
    /// The folder, where it is one.
    pub(super) folder: Option<PathBuf>,
    /// Whether it is there already.
    pub(super) absent: bool,
    /// Its partitions.
    pub(super) partitions: u64,
    /// What lies in none of them, and what is wrong with the first.
    pub(super) strays: Vec<String>,
    /// What of it cannot be listed.
    pub(super) unlisted: Option<String>,
    /// What was wrong with writing, reading back and removing.
    pub(super) writing: Option<String>,
    /// By how many seconds the store's clock is ahead of ours.
    pub(super) skew: Option<i64>,
    /// What is wrong with conditional writes; nothing for a folder, or where nobody else writes.
    pub(super) conditions: Option<String>,
    /// Versions of qlc that wrote the newest receipts.
    pub(super) versions: Vec<String>,
}

/// A folder, or where it would be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    /// Bytes that this user may still write.
    pub(super) free: u64,
    /// Whether it is in memory.
    pub(super) is_memory: bool,
    /// Whether the folder is there already.
    pub(super) exists: bool,
    /// Whether something may be written there.
    pub(super) writable: bool,
}

/// The memory of the machine and of the group that this process is in, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) physical: Option<u64>,
    pub(super) available: Option<u64>,
    pub(super) group: Option<u64>,
}
