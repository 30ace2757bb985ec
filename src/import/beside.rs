//! Keeps what another program left beside a day that was taken over: its `meta.json` and other
//! small documents.
//!
//! They go to a folder of their own in the archive, where they are not part of a partition. A
//! document that was kept before is not replaced: another one of its name gets another name.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{
    error::Result,
    model::{layout, partition::Partition},
    storage::{
        Expect, atomic,
        store::{Store, hex},
    },
};

/// A document of more bytes is none.
pub(super) const DOCUMENT_BYTES: u64 = 1 << 20;

/// Keeps `bytes`, which lay beside the data of `partition` as `file`.
pub(super) async fn keep(
    archive: &Store,
    staging: &Path,
    partition: &Partition,
    file: &str,
    bytes: &[u8],
) -> Result<()> {
    let key = layout::imported_key(partition, file);
    let key = match archive.read(&key).await? {
        None => key,
        Some(kept) if kept.as_ref() == bytes => return Ok(()),
        Some(_) => {
            let sha256 = hex(&Sha256::digest(bytes));
            let (stem, ending) = file.rsplit_once('.').unwrap_or((file, ""));
            let other = format!("{stem}-{}.{ending}", sha256.get(..16).unwrap_or(&sha256));
            let other = layout::imported_key(partition, other.trim_end_matches('.'));
            if archive.head(&other).await?.is_some() {
                return Ok(());
            }
            other
        }
    };
    let _ = atomic::write_bytes(archive, &key, staging, &Expect::Absent, bytes.to_vec()).await?;
    Ok(())
}
