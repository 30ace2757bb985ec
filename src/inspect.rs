//! placeholder
use serde::Serialize;

use crate::{error::Result, storage::store::Store};
/// A column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Type.
    pub physical_type: String,
    /// Compression.
    pub compression: String,
    /// Encodings.
    pub encodings: String,
}
/// placeholder
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// Path.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Row groups.
    pub row_groups: usize,
    /// Writer.
    pub created_by: Option<String>,
    /// Columns.
    pub columns: Vec<Column>,
    /// Unit.
    pub unit: Option<String>,
    /// Min.
    pub ts_event_min: Option<String>,
    /// Max.
    pub ts_event_max: Option<String>,
    /// Ordered.
    pub ordered: bool,
    /// Declared.
    pub order_declared: bool,
    /// Row hash.
    pub row_hash: Option<String>,
    /// In the footer.
    pub row_hash_in_footer: Option<String>,
    /// Findings.
    pub findings: Vec<String>,
}
/// placeholder
///
/// # Errors
/// placeholder
pub async fn run(_: &Store, _: &str) -> Result<Inspection> {
    Err(crate::error::Error::usage("placeholder"))
}
