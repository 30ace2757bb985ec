//! Writes what makes data of another program a partition: its receipt, the data itself where it comes from another archive,
//! its meta. In this order, so that a crash leaves a state that the next import, or compaction, completes.
//!
//! Refuses to touch data that stands in the archive.

use std::path::Path;

use crate::{
    error::Result,
    file::readback::ReadBack,
    model::{
        layout,
        partition::Partition,
        receipt::{Outcome, RECEIPT_VERSION, Receipt, SeqOrigin, Source},
        row_hash::RowHash,
    },
    storage::{
        Expect, atomic,
        store::{Object, Store},
    },
};

/// The receipt of `data` as it was read back: what it vouches for is that these very bytes hold these rows. Where the rows
/// came from before, nothing tells; so the only source is the data.
pub(super) fn receipt(partition: &Partition, data: &Object, sha256: &str, back: &ReadBack, time: &str) -> Receipt {
    let span = back.ts_min_ns.zip(back.ts_max_ns).unwrap_or_default();
    let row_hash: RowHash = back.row_hash;
    Receipt {
        receipt_version: RECEIPT_VERSION,
        qlc_version: env!("CARGO_PKG_VERSION").to_owned(),
        partition: partition.clone(),
        created_at: time.to_owned(),
        adopted: true,
        outcome: Outcome {
            sha256: sha256.to_owned(),
            bytes: data.size,
            rows: back.rows,
            row_hash,
            ts_event_min_ns: span.0,
            ts_event_max_ns: span.1,
            seq: SeqOrigin::Source,
            brought_to: None,
            zstd_level: None,
        },
        rows_in: back.rows,
        row_hash_in: row_hash,
        row_hash_out: row_hash,
        plan: vec!["adopt as it stands".to_owned()],
        base: None,
        sources: vec![Source {
            name: data.key.clone(),
            size: data.size,
            modified_us: data.modified_us,
            rows: back.rows,
            row_hash,
            rows_here: back.rows,
            rows_elsewhere: std::collections::BTreeMap::new(),
            rows_quarantined: 0,
            seq_assigned: false,
            by_base: false,
        }],
        left_out: Vec::new(),
    }
}

/// The archive, and where objects of a bucket are put together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) archive: &'a Store,
    pub(super) staging: &'a Path,
}

impl Place<'_> {
    /// Writes the receipt of data that stands in the archive already.
    pub(super) async fn vouch(&self, receipt: &Receipt) -> Result<()> {
        let key = layout::receipt_key(&receipt.partition, &receipt.outcome.sha256);
        let stands = self.archive.read_version(&key).await?;
        let expect = stands.map_or(Expect::Absent, |(_, tag)| tag.map_or(Expect::Anything, Expect::Version));
        let _ = atomic::write_bytes(self.archive, &key, self.staging, &expect, receipt.to_json()?).await?;
        Ok(())
    }

    /// Copies the data of `from`, byte for byte, with its receipt before it.
    pub(super) async fn copy(&self, from: &Store, receipt: &Receipt) -> Result<()> {
        let key = layout::data_key(&receipt.partition);
        let before = |_: &String| -> futures::future::BoxFuture<'_, Result<()>> { Box::pin(self.vouch(receipt)) };
        let sha256 = receipt.outcome.sha256.clone();
        let (archive, staging) = (self.archive, self.staging);
        let _ = atomic::copy_of(from, &key, archive, &key, staging, &Expect::Absent, sha256, Box::new(before)).await?;
        Ok(())
    }

    /// Writes the meta, which makes the partition exist, over the one that was there.
    pub(super) async fn meta(&self, receipt: &Receipt, stands: &Expect) -> Result<()> {
        let key = layout::meta_key(&receipt.partition);
        let _ = atomic::write_bytes(self.archive, &key, self.staging, stands, receipt.meta().to_json()?).await?;
        Ok(())
    }
}
