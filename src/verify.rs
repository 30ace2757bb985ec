//! placeholder
use serde::Serialize;

use crate::{
    error::Result,
    model::{
        date::Date,
        partition::{Partition, Selection},
    },
    storage::store::Store,
};
/// Options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// s
    pub selection: Selection,
    /// s
    pub start: Option<Date>,
    /// e
    pub end: Option<Date>,
    /// q
    pub quick: bool,
    /// m
    pub memory_limit: u64,
}
/// Verified.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    /// p
    #[serde(flatten)]
    pub partition: Partition,
    /// r
    pub rows: u64,
    /// b
    pub bytes: u64,
    /// s
    pub seconds: f64,
    /// f
    pub findings: Vec<String>,
}
/// placeholder
///
/// # Errors
/// placeholder
#[expect(clippy::unused_async, reason = "placeholder")]
pub async fn run(
    _: &Store,
    _: &Options,
    _: &(dyn Fn() -> bool + Sync),
    _: &mut (dyn FnMut(&Verified) + Send),
) -> Result<Vec<Verified>> {
    Ok(Vec::new())
}
