//! placeholder
use std::path::Path;

use crate::{error::Result, model::date::Date};
/// placeholder
#[derive(Debug)]
pub struct SampleReport;
impl std::fmt::Display for SampleReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("placeholder")
    }
}
/// placeholder
///
/// # Errors
/// placeholder
pub fn sample(_: &Path, _: Date, _: u64) -> Result<SampleReport> {
    Ok(SampleReport)
}
