//! Makes data of another program a partition: the receipt that says so, and the copy where it comes
//! from another archive. The order is that of every publish, so that a crash leaves a state that
//! the next import, or compaction, completes.
//!
//! Data that is in the archive already is never changed.

use std::path::Path;

use crate::{
    archive::{commit, partition::PartitionHandle},
    error::Result,
    file::readback::ReadBack,
    model::{
        partition::Partition,
        receipt::{DataRecord, FIRST_ENCODING, RECEIPT_VERSION, Receipt, SeqOrigin, Source},
        row_hash::RowHash,
        schema::Units,
    },
    storage::{
        Expect, atomic,
        store::{Object, Store},
    },
};

/// The receipt of `data` as it was read back: what it vouches for is that these very bytes hold
/// these rows. Where the rows came from before, nothing tells; so the only source is the data.
/// `of_tree` says that the whole tree is taken over.
pub(super) fn receipt(
    partition: &Partition,
    generation: u64,
    data: &Object,
    sha256: &str,
    back: &ReadBack,
    time: &str,
    of_tree: bool,
) -> Receipt {
    let span = back.ts_min_ns.zip(back.ts_max_ns).unwrap_or_default();
    let row_hash: RowHash = back.row_hash;
    Receipt {
        receipt_version: RECEIPT_VERSION,
        qlc_version: env!("CARGO_PKG_VERSION").to_owned(),
        partition: partition.clone(),
        created_at: time.to_owned(),
        task: None,
        adopted: true,
        generation,
        replaces: None,
        accepted_loss: Vec::new(),
        outcome: DataRecord {
            sha256: sha256.to_owned(),
            bytes: data.size,
            rows: back.rows,
            row_hash,
            ts_event_min_ns: span.0,
            ts_event_max_ns: span.1,
            seq: SeqOrigin::Source,
            brought_to: None,
            zstd_level: None,
            encoding: FIRST_ENCODING,
        },
        rows_in: back.rows,
        row_hash_in: row_hash,
        row_hash_out: row_hash,
        merge: None,
        plan: vec!["adopt as it stands".to_owned()],
        base: None,
        sources: vec![Source {
            name: data.key.clone(),
            size: data.size,
            modified_us: data.modified_us,
            rows: back.rows,
            row_hash,
            units: Units::new(),
            rows_here: back.rows,
            rows_copies: 0,
            rows_elsewhere: std::collections::BTreeMap::new(),
            rows_quarantined: 0,
            rows_known: 0,
            row_groups: Vec::new(),
            seq_assigned: false,
            by_base: false,
            compacted: of_tree,
        }],
        left_out: Vec::new(),
        copies: Vec::new(),
    }
}

/// Copies the data of `from`, byte for byte, into the partition, with its receipt before it.
pub(super) async fn copy(
    handle: &PartitionHandle,
    staging: &Path,
    (from, from_key): (&Store, &str),
    receipt: &Receipt,
    replaced: &Expect,
) -> Result<()> {
    let key = handle.data_key();
    let before = |_: &String| -> futures::future::BoxFuture<'_, Result<()>> {
        Box::pin(commit::vouch(handle, staging, receipt, replaced))
    };
    let sha256 = receipt.outcome.sha256.clone();
    let archive = handle.archive();
    let _ = atomic::copy_of(
        from,
        from_key,
        archive,
        &key,
        staging,
        &Expect::Absent,
        sha256,
        Box::new(before),
    )
    .await?;
    Ok(())
}
