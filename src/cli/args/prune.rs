//! `qlc prune` as typed.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    compact::{SelectionArgs, instant},
    shared::{Format, KEPT_DAYS, Retention, number},
};

/// `qlc prune`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc prune --keep-days 7 --dry-run         what would be removed, and why the rest stays
  qlc prune --keep-days 7                   as a timer does it, after qlc compact
  qlc prune --keep-days 2 --exchange binance --stream bbo
  qlc prune --keep-days 7 --keep-records 90
                                            old feed logs and quality windows of the collector too

A file is removed only when every row of it was read back: from data.parquet of its days, whose sha256 is that of meta.json
and receipt, or from QUARANTINE. A journal in _pruned/ of the archive lists what was removed.")]
pub(crate) struct Prune {
    /// Whole days (UTC) to keep: a file is removed when its day and the days of all its rows are
    /// older
    #[arg(long, value_name = "N", value_parser = number(KEPT_DAYS))]
    pub(crate) keep_days: u32,
    #[command(flatten)]
    pub(crate) retention: Retention,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Show what would be done and why, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The time that decides what today is [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    pub(crate) now: Option<DateTime<Utc>>,
    /// The folder where objects for a bucket are staged [default: qlc-UID in the folder for
    /// temporary files]
    #[arg(
        long,
        value_name = "D",
        env = "QLC_SPILL_DIR",
        hide_env_values = true,
        help_heading = "Resources"
    )]
    pub(crate) spill_dir: Option<PathBuf>,
    /// The form of the output: text, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}
