//! `qlc query` as typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Resources;
use crate::error::{Error, Result};

/// `qlc query`
#[derive(Debug, Args)]
#[command(after_help = "\
Tables: archive.<stream> and spool.<stream> with the columns exchange, stream, symbol and date beside the data,
        archive.meta (all meta.json) and archive.quarantine

Examples:
  qlc query --list                                    the named queries and their parameters
  qlc query \"SELECT symbol, count(*) FROM archive.bbo WHERE date = '20260203' GROUP BY symbol\"
  qlc query --name gaps --param stream=bbo --param date=20260203
  qlc query --file report.sql --output report.parquet
  echo 'SELECT * FROM archive.meta' | qlc query --file - --format csv")]
pub(crate) struct Query {
    /// A statement
    #[arg(value_name = "SQL")]
    pub(crate) sql: Option<String>,
    /// Read the statement from this file, or from stdin if it is -
    #[arg(long, value_name = "F")]
    pub(crate) file: Option<PathBuf>,
    /// Run this named query
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// Print the named queries and their parameters
    #[arg(long)]
    pub(crate) list: bool,
    /// A parameter's value; repeatable
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub(crate) param: Vec<(String, String)>,
    /// The form of the result [default: by the name of --output, else table]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<OutputFormat>,
    /// Write the result to this file
    #[arg(long, value_name = "F")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Resources")]
    pub(crate) resources: Resources,
}

/// The forms of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// A table for a person
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON array
    Json,
    /// One JSON object a line
    Ndjson,
    /// A Parquet file
    Parquet,
}

fn pair(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(Error::usage("write the name, an equals sign and the value, as in symbol=btcusdt")),
    }
}
