//! placeholder
use crate::{error::Result, model::partition::Partition, storage::store::Store};
/// What came of compacting again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebuilt {
    /// The same bytes.
    Same,
    /// Other bytes; the sha256 of both.
    Differs {
        /// In the archive.
        archived: String,
        /// Made now.
        rebuilt: String,
    },
    /// Why it could not be done.
    Impossible(String),
}
/// placeholder
///
/// # Errors
/// placeholder
#[expect(clippy::unused_async, reason = "placeholder")]
pub async fn rebuild(_: &Store, _: &Store, _: &Partition, _: u64, _: &std::path::Path) -> Result<Rebuilt> {
    Ok(Rebuilt::Same)
}
