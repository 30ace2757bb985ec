//! The receipts of an archive, found by what they vouch for.
//!
//! Refuses to take a receipt for that of other data or of another partition, whatever its key.

use super::store::Store;
use crate::{
    error::{Error, Kind, Result},
    model::{layout, partition::Partition, receipt::Receipt},
};

/// The receipt that vouches for the data of `partition` with this sha256, if there is one.
///
/// # Errors
/// When the archive does not answer, or the receipt cannot be understood.
pub async fn vouching(archive: &Store, partition: &Partition, sha256: &str) -> Result<Option<Receipt>> {
    let key = layout::receipt_key(partition, sha256);
    let Some(bytes) = archive.read(&key).await? else { return Ok(None) };
    let receipt = Receipt::from_json(&bytes)
        .map_err(|e| Error::caused(Kind::Damage, format!("{}: cannot be used", archive.show(&key)), e))?;
    Ok((receipt.partition == *partition && receipt.outcome.sha256 == sha256).then_some(receipt))
}
