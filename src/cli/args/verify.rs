//! `qlc verify` as typed.

use clap::Args;

use super::{
    compact::Selection,
    shared::{Format, Resources},
};
use crate::model::date::Date;

/// `qlc verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc verify                                everything
  qlc verify --date 20260203 --symbol btcusdt
  qlc verify --start 20260101 --end 20260131 --quick
  qlc verify --date 20260203 --rebuild      against a new compaction of the spool")]
pub(crate) struct Verify {
    /// Only this day, as in 20260203
    #[arg(long, value_name = "DATE", conflicts_with_all = ["start", "end"], help_heading = "Days")]
    pub(crate) date: Option<Date>,
    /// From this day on
    #[arg(long, value_name = "DATE", help_heading = "Days")]
    pub(crate) start: Option<Date>,
    /// Up to this day
    #[arg(long, value_name = "DATE", help_heading = "Days")]
    pub(crate) end: Option<Date>,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Do not decode the data: only meta.json, footer, sha256 and receipt
    #[arg(long)]
    pub(crate) quick: bool,
    /// Compact every partition again from the spool, without publishing, and compare the bytes
    #[arg(long)]
    pub(crate) rebuild: bool,
    #[command(flatten)]
    pub(crate) resources: Resources,
    /// For a person, or for a program: one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}
