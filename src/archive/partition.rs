//! One partition of an archive: its keys, and the small documents under them.
//!
//! No other code composes a key of a partition. What the documents mean is decided by
//! [`super::state`].

use bytes::Bytes;

use crate::{
    error::{Error, Kind, Result},
    model::{
        layout,
        partition::Partition,
        receipt::{RECEIPT_VERSION, Receipt},
    },
    storage::{
        Expect,
        store::{Object, Store},
    },
};

use super::history::Generation;

/// A partition, and the archive that it is in.
#[derive(Debug, Clone)]
pub struct PartitionHandle {
    archive: Store,
    partition: Partition,
}

/// The objects of a partition as a listing shows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionObjects {
    /// `data.parquet`
    pub data: Option<Object>,
    /// `meta.json`
    pub meta: Option<Object>,
    /// The sha256 of each receipt.
    pub receipts: Vec<String>,
    /// What was published, as its marks say.
    pub generations: Vec<Generation>,
    /// The sha256 of each generation for which copies are noted.
    pub notes: Vec<String>,
}

impl PartitionObjects {
    /// Takes note of an object of the folder of the partition's receipts.
    pub fn take_receipt(&mut self, file: &str) {
        if let Some(sha256) = receipt_sha256(file) {
            self.receipts.push(sha256.to_owned());
        } else if let Some(generation) = Generation::of_file(file) {
            self.generations.push(generation);
        } else if let Some(sha256) = note_sha256(file) {
            self.notes.push(sha256.to_owned());
        }
    }

    /// The newest generation that was published.
    #[must_use]
    pub fn newest(&self) -> Option<&Generation> {
        self.generations.iter().max()
    }
}

/// The sha256 that the name of a receipt tells.
#[must_use]
pub fn receipt_sha256(file: &str) -> Option<&str> {
    file.strip_suffix(".json")
        .filter(|name| crate::model::meta::is_sha256(name))
}

/// The end of the name of a note of copies.
const NOTE: &str = ".copies.json";

/// The sha256 of the generation that a note of copies is about, as its name tells.
#[must_use]
pub fn note_sha256(file: &str) -> Option<&str> {
    file.strip_suffix(NOTE)
        .filter(|name| crate::model::meta::is_sha256(name))
}

impl PartitionHandle {
    /// The partition `partition` of `archive`.
    #[must_use]
    pub fn new(archive: &Store, partition: &Partition) -> Self {
        Self {
            archive: archive.clone(),
            partition: partition.clone(),
        }
    }

    /// The archive.
    #[must_use]
    pub fn archive(&self) -> &Store {
        &self.archive
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The folder of its data.
    #[must_use]
    pub fn dir(&self) -> String {
        layout::partition_dir(&self.partition)
    }

    /// The key of its data.
    #[must_use]
    pub fn data_key(&self) -> String {
        layout::data_key(&self.partition)
    }

    /// The key of its `meta.json`.
    #[must_use]
    pub fn meta_key(&self) -> String {
        layout::meta_key(&self.partition)
    }

    /// The folder of its receipts.
    #[must_use]
    pub fn receipts_dir(&self) -> String {
        layout::receipts_dir(&self.partition)
    }

    /// The key of the receipt of data with this sha256.
    #[must_use]
    pub fn receipt_key(&self, sha256: &str) -> String {
        layout::receipt_key(&self.partition, sha256)
    }

    /// The key of the note of copies of the generation with this sha256.
    #[must_use]
    pub(super) fn note_key(&self, sha256: &str) -> String {
        format!("{}/{sha256}{NOTE}", self.receipts_dir())
    }

    /// The key of the mark that says that `generation` was published.
    #[must_use]
    pub fn mark_key(&self, generation: &Generation) -> String {
        format!("{}/{}", self.receipts_dir(), generation.file())
    }

    /// The folder where its input is kept that could not be compacted.
    #[must_use]
    pub fn quarantine_dir(&self) -> String {
        layout::quarantine_dir(&self.partition)
    }

    /// The key of its `error.json`.
    #[must_use]
    pub fn error_key(&self) -> String {
        format!("{}/{}", self.quarantine_dir(), layout::ERROR_FILE)
    }

    /// The key of something that is kept in QUARANTINE.
    #[must_use]
    pub fn kept_key(&self, kept_as: &str) -> String {
        format!("{}/{kept_as}", self.quarantine_dir())
    }

    /// Its data and its receipts, listed now.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub(super) async fn list(&self) -> Result<PartitionObjects> {
        let mut listed = PartitionObjects {
            data: self.archive.head(&self.data_key()).await?,
            ..PartitionObjects::default()
        };
        for object in self.archive.list(&self.receipts_dir()).await?.whole()? {
            listed.take_receipt(object.key.rsplit('/').next().unwrap_or_default());
        }
        Ok(listed)
    }

    /// The bytes of its `meta.json`, and which version of the object they are.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn meta(&self) -> Result<Option<(Bytes, Option<String>)>> {
        self.archive.read_version(&self.meta_key()).await
    }

    /// The receipt of data with this sha256, if there is one. A receipt of other data or of another
    /// partition is none.
    ///
    /// # Errors
    /// When the archive does not answer, or the receipt cannot be understood.
    pub async fn receipt(&self, sha256: &str) -> Result<Option<Receipt>> {
        let key = self.receipt_key(sha256);
        let Some(bytes) = self.archive.read(&key).await? else {
            return Ok(None);
        };
        let receipt = Receipt::from_json(&bytes).map_err(|e| {
            Error::caused(
                Kind::Damage,
                format!("{}: cannot be used", self.archive.show(&key)),
                e,
            )
        })?;
        Ok(
            (receipt.partition == self.partition && receipt.outcome.sha256 == sha256)
                .then_some(receipt),
        )
    }

    /// The newest of the receipts that count no generations, where no data stands that they could
    /// be of.
    pub(super) async fn newest_without_history(
        &self,
        listed: &PartitionObjects,
    ) -> Result<Option<Receipt>> {
        let mut newest: Option<Receipt> = None;
        for sha256 in &listed.receipts {
            let Some(receipt) = self.receipt(sha256).await? else {
                continue;
            };
            let is_newer = newest
                .as_ref()
                .is_none_or(|known| known.created_at < receipt.created_at);
            if receipt.receipt_version < RECEIPT_VERSION && is_newer {
                newest = Some(receipt);
            }
        }
        Ok(newest)
    }

    /// Which versions of its two objects stand now.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn versions(&self) -> Result<Versions> {
        let data = self.archive.head(&self.data_key()).await?;
        let meta = self.archive.head(&self.meta_key()).await?;
        Ok(Versions::of(data.map(|d| d.tag), meta.map(|m| m.tag)))
    }
}

/// The versions of a partition's two objects when they were looked at: what a publish may replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// Of `data.parquet`.
    pub data: Expect,
    /// Of `meta.json`.
    pub meta: Expect,
}

impl Versions {
    #[expect(
        clippy::option_option,
        reason = "no object, and an object without a tag, are two things"
    )]
    pub(super) fn of(data: Option<Option<String>>, meta: Option<Option<String>>) -> Self {
        Self {
            data: version(data),
            meta: version(meta),
        }
    }
}

/// What a write may replace where an object with this tag was seen.
#[must_use]
pub fn version(tag: Option<Option<String>>) -> Expect {
    match tag {
        None => Expect::Absent,
        Some(None) => Expect::Anything,
        Some(Some(tag)) => Expect::Version(tag),
    }
}
