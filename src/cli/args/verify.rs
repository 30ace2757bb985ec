//! `qlc verify` as typed.

use clap::Args;

use super::{
    compact::SelectionArgs,
    shared::{Days, Format, Resources},
};

/// `qlc verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc verify                                everything
  qlc verify --date 20260203 --symbol btcusdt
  qlc verify --start 20260101 --end 20260131 --quick
  qlc verify --date 20260203 --rebuild      against a new compaction of the spool")]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) days: Days,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Check only meta.json, footer, sha256 and receipt, without decoding the data
    #[arg(long)]
    pub(crate) quick: bool,
    /// Compact every partition again from the spool, without publishing, and compare the bytes
    #[arg(long)]
    pub(crate) rebuild: bool,
    #[command(flatten)]
    pub(crate) resources: Resources,
    /// The form of the output: text, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}
