//! What the archive itself proves: published partitions whose data was read again, and rows that QUARANTINE still has.
//!
//! Each partition's data is read once, however many files ask for it. Refuses to take a name, a size or a time for proof:
//! the bytes of `data.parquet` must have the sha256 that both `meta.json` and the receipt say.

use std::collections::BTreeMap;

use crate::{
    error::{Error, Kind, Result},
    file::{census::census, fault::Problem, reader::Handle},
    model::{
        layout,
        meta::{self, Meta},
        partition::Partition,
        quarantine::{Entry, ErrorFile},
        receipt::Receipt,
        row_hash::RowHash,
    },
    storage::store::Store,
};

/// Why something is not proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// Nothing is wrong: a compaction has yet to do its part.
    Waiting(String),
    /// The archive, QUARANTINE or the file is not what its receipt says.
    Damaged(String),
}

/// A partition whose data, meta and receipt agree to the byte; only [`Evidence::of`] makes this value.
#[derive(Debug, Clone)]
pub struct Published {
    receipt: Receipt,
}

impl Published {
    /// The receipt.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}

/// What was read of an archive so far.
#[derive(Debug)]
pub struct Evidence {
    archive: Store,
    days: BTreeMap<Partition, std::result::Result<Published, Doubt>>,
    entries: BTreeMap<Partition, Vec<Entry>>,
}

impl Evidence {
    /// Nothing yet.
    #[must_use]
    pub fn new(archive: &Store) -> Self {
        Self { archive: archive.clone(), days: BTreeMap::new(), entries: BTreeMap::new() }
    }

    /// The archive that speaks.
    #[must_use]
    pub fn archive(&self) -> &Store {
        &self.archive
    }

    /// Forgets what was read: the next question is asked anew.
    pub fn forget(&mut self) {
        self.days.clear();
        self.entries.clear();
    }

    /// The partition as it is published, or why it does not count as that.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn of(&mut self, partition: &Partition) -> Result<std::result::Result<Published, Doubt>> {
        if let Some(known) = self.days.get(partition) {
            return Ok(known.clone());
        }
        let found = published(&self.archive, partition).await?;
        let _ = self.days.insert(partition.clone(), found.clone());
        Ok(found)
    }

    /// The entries of a partition's quarantine folder.
    ///
    /// # Errors
    /// When the archive does not answer, or `error.json` cannot be understood.
    pub async fn entries(&mut self, partition: &Partition) -> Result<Vec<Entry>> {
        if let Some(known) = self.entries.get(partition) {
            return Ok(known.clone());
        }
        let found = entries(&self.archive, partition).await?;
        let _ = self.entries.insert(partition.clone(), found.clone());
        Ok(found)
    }

    /// Reads the row file of `entry` and says what in it is not as `rows` and `row_hash` want it.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn kept_rows(
        &self,
        partition: &Partition,
        entry: &Entry,
        rows: u64,
        row_hash: RowHash,
    ) -> Result<std::result::Result<(), Doubt>> {
        let key = format!("{}/{}", layout::quarantine_dir(partition), entry.kept_as);
        let damaged = |what: String| Ok(Err(Doubt::Damaged(format!("{}: {what}", self.archive.show(&key)))));
        if entry.discarded {
            return Ok(Err(Doubt::Waiting(
                "rows of it were discarded from QUARANTINE, so nothing shows them any more; remove it by hand"
                    .to_owned(),
            )));
        }
        let Some(object) = self.archive.head(&key).await? else { return damaged("has gone".to_owned()) };
        let (sha256, _) = self.archive.sha256(&key).await?;
        if sha256 != entry.kept_sha256 {
            return damaged(format!("has sha256 {sha256}, error.json says {}", entry.kept_sha256));
        }
        match census(&Handle::new(&self.archive, &object), None).await {
            Ok(kept) if kept.rows == rows && kept.row_hash == row_hash => Ok(Ok(())),
            Ok(kept) => {
                damaged(format!("holds {} rows with hash {}, not {rows} with {row_hash}", kept.rows, kept.row_hash))
            }
            Err(Problem::Storage(error)) => Err(error),
            Err(problem) => damaged(problem.to_string()),
        }
    }
}

/// The entries of a partition's quarantine folder.
///
/// # Errors
/// When the archive does not answer, or `error.json` cannot be understood: to act as if it said nothing would be a guess.
pub async fn entries(archive: &Store, partition: &Partition) -> Result<Vec<Entry>> {
    let key = format!("{}/{}", layout::quarantine_dir(partition), layout::ERROR_FILE);
    let Some(bytes) = archive.read(&key).await? else { return Ok(Vec::new()) };
    ErrorFile::from_json(&bytes)
        .map(|file| file.files)
        .map_err(|e| Error::caused(Kind::Damage, format!("{}: mend it first", archive.show(&key)), e))
}

async fn published(archive: &Store, partition: &Partition) -> Result<std::result::Result<Published, Doubt>> {
    let damaged = |what: String| Ok(Err(Doubt::Damaged(format!("{partition}: {what}"))));
    let waiting = |what: &str| Ok(Err(Doubt::Waiting(format!("{partition} {what}"))));
    let Some(bytes) = archive.read(&layout::meta_key(partition)).await? else {
        return waiting("is not published yet");
    };
    if let Some(finding) = meta::findings(&bytes).into_iter().next() {
        return damaged(finding);
    }
    let meta = match Meta::from_json(&bytes) {
        Ok(meta) => meta,
        Err(error) => return damaged(error.chain()),
    };
    let data_key = layout::data_key(partition);
    if archive.head(&data_key).await?.is_none() {
        return damaged("meta.json stands without its data.parquet".to_owned());
    }
    let (sha256, bytes) = archive.sha256(&data_key).await?;
    let receipt_key = layout::receipt_key(partition, &sha256);
    let receipt = archive.read(&receipt_key).await?;
    if sha256 != meta.sha256 {
        if receipt.is_some() {
            return waiting("is being replaced, or that was interrupted; qlc compact completes it");
        }
        return damaged(format!("data.parquet has sha256 {sha256}, meta.json says {}", meta.sha256));
    }
    let Some(receipt) = receipt else {
        return damaged(format!("no receipt vouches for the data: {} is absent", archive.show(&receipt_key)));
    };
    let receipt = match Receipt::from_json(&receipt) {
        Ok(receipt) => receipt,
        Err(error) => return damaged(format!("{}: {}", archive.show(&receipt_key), error.chain())),
    };
    if let Some(finding) = receipt.findings().into_iter().next() {
        return damaged(finding);
    }
    if receipt.partition != *partition || receipt.outcome.sha256 != sha256 || receipt.outcome.bytes != bytes {
        return damaged(format!("{} is not the receipt of this data", archive.show(&receipt_key)));
    }
    if meta != receipt.meta() {
        return damaged("meta.json and the receipt disagree".to_owned());
    }
    Ok(Ok(Published { receipt }))
}
