//! `qlc quarantine` as typed.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::{
    compact::{SelectionArgs, instant},
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
    /// List what is in QUARANTINE, and why
    #[command(after_help = "\
Examples:
  qlc quarantine list
  qlc quarantine list --date 20260203 --exchange binance
  qlc quarantine list --format json")]
    List(Chosen),
    /// Show whole entries, and what is wrong with the kept files
    #[command(after_help = "\
Examples:
  qlc quarantine show 2026-02-03_14-30-00.parquet
  qlc quarantine show --date 20260203 --stream bbo")]
    Show(Chosen),
    /// Try kept files again: compact their days, and take in what can be read now
    #[command(after_help = "\
Examples:
  qlc quarantine retry 2026-02-03_14-30-00.parquet
  qlc quarantine retry --exchange binance       after an update of qlc, or of a schema
  qlc quarantine retry --date 20260203 --salvage")]
    Retry(Retry),
    /// Remove kept files; their entries stay, so that the files in the spool are not tried again
    #[command(after_help = "\
Examples:
  qlc quarantine discard 2026-02-03_14-30-00.parquet
  qlc quarantine discard --date 20260203 --yes")]
    Discard(Discard),
}

/// Which entries.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// Only this file: its name in QUARANTINE, its name in the spool, or its key in the spool
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) days: Days,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// The form of the output: text, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}

/// `qlc quarantine retry`
#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Take in the good row groups of a file of which only some are bad
    #[arg(long)]
    pub(crate) salvage: bool,
    /// The time that decides what today is [default: now]
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
    /// Do not ask for confirmation
    #[arg(long)]
    pub(crate) yes: bool,
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
}
