//! `qlc quarantine` as typed.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::{
    compact::{Selection, instant},
    shared::{Days, Format, Resources},
};

/// `qlc quarantine`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc quarantine list --date 20260203
  qlc quarantine show 2026-02-03_14-30-00.parquet
  qlc quarantine retry --exchange binance   after an update of qlc, or of a schema
  qlc quarantine discard 2026-02-03_14-30-00.parquet --yes")]
pub(crate) struct Quarantine {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What is done with the entries.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Lists what is in QUARANTINE, and why
    #[command(after_help = "\
Examples:
  qlc quarantine list
  qlc quarantine list --date 20260203 --exchange binance
  qlc quarantine list --format json")]
    List(Chosen),
    /// Shows all that is known of entries, and what is wrong with the files that are kept
    #[command(after_help = "\
Examples:
  qlc quarantine show 2026-02-03_14-30-00.parquet
  qlc quarantine show --date 20260203 --stream bbo")]
    Show(Chosen),
    /// Tries kept files again: their days are compacted, and what is readable now is taken in
    #[command(after_help = "\
Examples:
  qlc quarantine retry 2026-02-03_14-30-00.parquet
  qlc quarantine retry --exchange binance       after an update of qlc, or of a schema
  qlc quarantine retry --date 20260203 --salvage")]
    Retry(Retry),
    /// Removes what is kept; the entry stays, so that the file in the spool is not tried again
    #[command(after_help = "\
Examples:
  qlc quarantine discard 2026-02-03_14-30-00.parquet
  qlc quarantine discard --date 20260203 --yes")]
    Discard(Discard),
}

/// Which entries.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// Only this: the name that it is kept under, that of the spool file, or its key in the spool
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) days: Days,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// For a person, or for a program: one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}

/// `qlc quarantine retry`
#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// If only some row groups of a file are bad, take in the good ones
    #[arg(long)]
    pub(crate) salvage: bool,
    /// The instant that decides what today is [default: the clock's]
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    pub(crate) now: Option<DateTime<Utc>>,
    #[command(flatten)]
    pub(crate) resources: Resources,
}

/// `qlc quarantine discard`
#[derive(Debug, Args)]
pub(crate) struct Discard {
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// The folder where objects of a bucket are put together [default: qlc-UID in the folder for temporary files]
    #[arg(long, value_name = "D", env = "QLC_SPILL_DIR", hide_env_values = true, help_heading = "Resources")]
    pub(crate) spill_dir: Option<PathBuf>,
}
