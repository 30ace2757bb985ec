//! `qlc import` as typed.

use std::path::PathBuf;

use clap::Args;

use super::{
    compact::Selection,
    shared::{Days, Format},
};

/// `qlc import`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc import --dry-run                      what would be adopted, and what is wrong with the rest
  qlc import                                an archive that another program made, in its place
  qlc import --from /mnt/old-archive        copies what is right into the archive, byte for byte
  qlc import --start 20260101 --end 20260131 --format json

Adopted is a partition with a data.parquet that reads to the last page, has the columns of its stream, ascends by
(ts_event, seq) and is of its day and names, and a meta.json that says so (rows, ts_event_min, ts_event_max,
schema_version 1). Its data stays as it is; it gets a receipt and the meta.json of qlc. All else is left alone.")]
pub(crate) struct Import {
    /// Take partitions from this archive and copy them; without it, those that stand in the archive are adopted
    #[arg(long, value_name = "PATH|URL")]
    pub(crate) from: Option<String>,
    #[command(flatten)]
    pub(crate) days: Days,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Where objects of a bucket are put together [default: qlc-UID in the folder for temporary files]
    #[arg(long, value_name = "D", env = "QLC_SPILL_DIR", hide_env_values = true, help_heading = "Resources")]
    pub(crate) spill_dir: Option<PathBuf>,
    /// For a person, or for a program: one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}
