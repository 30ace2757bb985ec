//! `qlc status` and `qlc report` as typed.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    compact::{SelectionArgs, instant},
    shared::{Days, Format},
};

/// Which days of which series a coverage is about; the last 31 where none are named. Days before
/// the first of a series count as missing from a named start on.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Covered {
    #[command(flatten)]
    pub(crate) days: Days,
    /// The time that decides what yesterday and today are [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = instant, help_heading = "Days")]
    pub(crate) now: Option<DateTime<Utc>>,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
}

/// `qlc status`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc status                                the last 31 days
  qlc status --start 20260101 --end 20260131 --exchange binance
  qlc status --start 20260101               days before a series began count as missing then
  qlc status --date 20260203 --format json
  qlc status --strict && echo complete      exit code 1 unless every day is complete")]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) covered: Covered,
    /// End with 1 unless every partition of the range is complete, and each of several spools is
    /// there
    #[arg(long)]
    pub(crate) strict: bool,
    /// The form of the output: text, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}

/// `qlc report`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc report --html coverage.html           the last 31 days
  qlc report --html january.html --start 20260101 --end 20260131
  qlc report --html btc.html --symbol btcusdt")]
pub(crate) struct Report {
    /// The file for the page, which needs no network and no server
    #[arg(long, value_name = "F")]
    pub(crate) html: PathBuf,
    #[command(flatten)]
    pub(crate) covered: Covered,
}
