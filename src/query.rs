//! placeholder
use std::{io::Write, path::PathBuf};

use crate::{error::Result, storage::store::Store};
/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// SQL.
    Sql(String),
    /// Name.
    Named(String),
}
/// Format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// t
    Table,
    /// c
    Csv,
    /// j
    Json,
    /// n
    Ndjson,
    /// p
    Parquet,
}
/// Options.
#[derive(Debug, Clone)]
pub struct Options {
    /// s
    pub statement: Statement,
    /// p
    pub params: Vec<(String, String)>,
    /// f
    pub format: Format,
    /// o
    pub output: Option<PathBuf>,
    /// m
    pub memory_limit: u64,
    /// s
    pub spill_dir: PathBuf,
}
/// Param.
#[derive(Debug)]
pub struct Param {
    /// n
    pub name: &'static str,
    /// d
    pub default: &'static str,
    /// h
    pub description: &'static str,
}
/// Named.
#[derive(Debug)]
pub struct Named {
    /// n
    pub name: &'static str,
    /// d
    pub description: &'static str,
    /// p
    pub params: &'static [Param],
}
/// placeholder
#[must_use]
pub fn named() -> &'static [Named] {
    &[Named {
        name: "order",
        description: "placeholder",
        params: &[Param { name: "stream", default: "bbo", description: "placeholder" }],
    }]
}
/// placeholder
///
/// # Errors
/// placeholder
#[expect(clippy::unused_async, reason = "placeholder")]
pub async fn run(_: &Store, _: &Store, _: &Options, _: &mut (dyn Write + Send)) -> Result<u64> {
    Ok(0)
}
