//! `qlc query` as typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{cluster::OnCluster, shared::Resources};
use crate::error::{Error, Result};

/// `qlc query`
#[derive(Debug, Args)]
#[command(after_help = "\
Tables:
  archive.<stream>, spool.<stream>   the rows, with exchange, stream, symbol, date
  archive.\"stream=meta\"              the rows of a stream that has the name of a table below
  archive.meta                       all meta.json
  archive.quarantine                 all error.json
  archive.runs                       runs, a row per partition that had something to do
  archive.reconcile                  what exchanges published beside what is archived

Examples:
  qlc query --list                   the named queries and their parameters
  qlc query \"SELECT count(*) FROM archive.bbo WHERE date = '20260203'\"
  qlc query --name gaps --param stream=bbo --param seconds=10
  qlc query --file report.sql --output report.parquet
  echo 'SELECT * FROM archive.meta' | qlc query --format csv
  qlc query                          on a terminal: a prompt; \\? lists its commands")]
pub(crate) struct Query {
    /// A statement; without one, statements are read from stdin, or at a prompt on a terminal
    #[arg(value_name = "SQL")]
    pub(crate) sql: Option<String>,
    /// Read statements from this file, or from stdin if it is -
    #[arg(long, value_name = "F")]
    pub(crate) file: Option<PathBuf>,
    /// Run this named query
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// Print the named queries and their parameters
    #[arg(long)]
    pub(crate) list: bool,
    /// The value of the parameter $K: of the type of what it is compared with; elsewhere a number if
    /// it is written as one, else text; '...' is always text; repeatable
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub(crate) param: Vec<(String, String)>,
    /// The form of the result; json is one array, ndjson one object a line [default: by the name of
    /// --output, else table]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<OutputFormat>,
    /// Write the result to this file
    #[arg(long, value_name = "F")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) resources: Resources,
    #[command(flatten)]
    pub(crate) on: OnCluster,
}

/// The forms of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    // As with `Format`, the help is on the flag.
    Table,
    Csv,
    Json,
    Ndjson,
    Parquet,
}

fn pair(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err(Error::usage(
            "write the name, an equals sign and the value, as in symbol=btcusdt",
        )),
    }
}
