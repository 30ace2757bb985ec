//! `qlc import` as typed.

use clap::Args;

use super::{
    compact::Selection,
    shared::{Days, Format, Resources, Tuning},
};

/// `qlc import`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc import --dry-run                      what would be adopted, and what is wrong with the rest
  qlc import                                an archive that another program made, in its place
  qlc import --from /mnt/old-archive        copies what is right into the archive, byte for byte
  qlc import --from /mnt/old --rewrite --dry-run
                                            what of a whole old tree, raw and compacted, would be taken over, and how
  qlc import --from /mnt/old --rewrite      takes all of it over, each row once
  qlc import --start 20260101 --end 20260131 --format json

Adopted is a partition with a data.parquet that reads to the last page, has the columns of its stream, ascends by
(ts_event, seq) and is of its day and names, and a meta.json that says so (rows, ts_event_min, ts_event_max,
schema_version 1). Its data stays as it is; it gets a receipt and the meta.json of qlc. All else is left alone, or, with
--rewrite, its rows are compacted into the days that they are of. The exit code is 0 only when every row of the old tree
is in the archive. The old tree is never changed; its meta.json files are kept in the archive below _imported.")]
pub(crate) struct Import {
    /// Take partitions from this archive and copy them; without it, those that stand in the archive are adopted
    #[arg(long, value_name = "PATH|URL")]
    pub(crate) from: Option<String>,
    /// Compact the rows that cannot be adopted as they stand, and the files of the older collectors; needs --from
    #[arg(long, requires = "from")]
    pub(crate) rewrite: bool,
    #[command(flatten)]
    pub(crate) days: Days,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) resources: Resources,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
    /// For a person, or for a program: one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}
