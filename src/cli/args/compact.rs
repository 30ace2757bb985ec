//! `qlc compact` as typed.

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};

use super::{
    cluster::OnCluster,
    shared::{Format, Resources, Tuning, day},
};
use crate::{
    error::{Error, Result},
    model::{
        date::Date,
        partition::{Exchange, Stream, Symbol},
    },
};

/// `qlc compact`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_help = "\
Examples:
  qlc compact --mode daily                  yesterday, as a timer does it
  qlc compact --mode catch-up --dry-run     what would be done, and why
  qlc compact --mode backfill --start 20260101 --end 20260115
  qlc compact --mode single --date 20260203 --symbol btcusdt --stream bbo
  qlc compact --mode daily --symbol btcusdt,ethusdt --memory-limit 1GB")]
pub(crate) struct Compact {
    /// The days: daily is yesterday (UTC); catch-up every past day that the archive lacks or that
    /// has new files; backfill those from --start to --end; single one --date of one --symbol and
    /// --stream
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) mode: ModeName,
    /// The first day of a backfill, as in 20260101 or 2026-01-01
    #[arg(long, value_name = "DATE", value_parser = day, help_heading = "Days")]
    pub(crate) start: Option<Date>,
    /// The last day of a backfill
    #[arg(long, value_name = "DATE", value_parser = day, help_heading = "Days")]
    pub(crate) end: Option<Date>,
    /// The day of --mode single
    #[arg(long, value_name = "DATE", value_parser = day, help_heading = "Days")]
    pub(crate) date: Option<Date>,
    /// The time that decides what yesterday and today are [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = instant, help_heading = "Days")]
    pub(crate) now: Option<DateTime<Utc>>,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
    #[command(flatten)]
    pub(crate) resources: Resources,
    #[command(flatten)]
    pub(crate) on: OnCluster,
    /// Show what would be done and why, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Show the logical and the physical plan of each partition as well
    #[arg(long, requires = "dry_run")]
    pub(crate) explain: bool,
    /// Compact even what is up to date, and today
    #[arg(long)]
    pub(crate) force: bool,
    /// Go on where a published generation of a day is gone or was rolled back, without those of its
    /// rows that are neither in the archive nor in the spool; the receipt records the loss
    #[arg(long)]
    pub(crate) accept_loss: bool,
    /// Take in the good row groups of a file of which only some are bad; the file is kept in
    /// QUARANTINE as well, and error.json says which rows are lost
    #[arg(long)]
    pub(crate) salvage: bool,
    /// The form of the output: text, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}

/// Which series; each flag can be given several times, or once with commas between the names.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SelectionArgs {
    /// Only this exchange; repeatable
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub(crate) exchange: Vec<Exchange>,
    /// Only this stream; repeatable
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub(crate) stream: Vec<Stream>,
    /// Only this symbol; repeatable
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub(crate) symbol: Vec<Symbol>,
}

/// The names of the modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeName {
    // As with `Format`, the help is on the flag.
    Daily,
    CatchUp,
    Backfill,
    Single,
}

/// An instant, from a text with its offset.
///
/// # Errors
/// When it is none.
pub(super) fn instant(text: &str) -> Result<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .map(|instant| instant.to_utc())
        .map_err(|_| Error::usage("write an instant with its offset, as in 2026-02-04T01:00:00Z"))
}
