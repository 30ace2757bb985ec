//! `qlc import` as typed.

use clap::Args;

use super::{
    compact::SelectionArgs,
    shared::{Days, Format, Resources, Tuning},
};

/// `qlc import`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc import --dry-run                      what would be adopted, and what is wrong with the rest
  qlc import                                an archive that another program made, in place
  qlc import --from /mnt/old-archive        copies what is right into the archive, byte for byte
  qlc import --from /mnt/old --rewrite --dry-run
                                            what would be done with a whole old tree
  qlc import --from /mnt/old --rewrite      takes all of it over, each row once
  qlc import --start 20260101 --end 20260131 --format json

A partition is adopted when its data.parquet can be read to the last page, has the columns of its stream, ascends by
(ts_event, seq), holds only rows of its day and names, and is what its meta.json says (rows, ts_event_min, ts_event_max,
schema_version 1). Its data stays as it is; it gets a receipt and the meta.json of qlc. Everything else is left alone, or,
with --rewrite, its rows are compacted into the days that they belong to. The exit code is 0 only when every row of the old
tree is in the archive. The old tree is never changed; its meta.json files are kept in the archive below _imported.")]
pub(crate) struct Import {
    /// Copy partitions from this archive; without it, those that are in the archive already are
    /// adopted in place
    #[arg(long, value_name = "PATH|URL")]
    pub(crate) from: Option<String>,
    /// Compact the rows that cannot be adopted as they are, and the files of the older collectors;
    /// needs --from
    #[arg(long, requires = "from")]
    pub(crate) rewrite: bool,
    #[command(flatten)]
    pub(crate) days: Days,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) resources: Resources,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
    /// The form of the output: text, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}
