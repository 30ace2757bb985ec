//! What several commands have in common as typed: days, memory, spill folder and the form of the
//! output.

use std::path::PathBuf;

use clap::{Args, Command, FromArgMatches, ValueEnum};

use crate::{error::Error, model::date::Date};

/// A range of days, both ends included; open where an end is not named.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Days {
    /// Only this day, as in 20260203 or 2026-02-03
    #[arg(long, value_name = "DATE", value_parser = day, conflicts_with_all = ["start", "end"], help_heading = "Days")]
    pub(crate) date: Option<Date>,
    /// From this day on
    #[arg(long, value_name = "DATE", value_parser = day, help_heading = "Days")]
    pub(crate) start: Option<Date>,
    /// Up to this day
    #[arg(long, value_name = "DATE", value_parser = day, help_heading = "Days")]
    pub(crate) end: Option<Date>,
}

/// Settings of how much of the machine may be used; each can be in the configuration file too.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Resources {
    /// Limit for the resident memory of the process, as in 512MB or 2.5GB [default: 2.5GB]
    #[arg(long, value_name = "SIZE", value_parser = crate::model::size::parse, help_heading = "Resources",
        env = "QLC_MEMORY_LIMIT", hide_env_values = true)]
    pub(crate) memory_limit: Option<u64>,
    /// The folder for what does not fit in memory [default: qlc-UID in the folder for temporary
    /// files]
    #[arg(
        long,
        value_name = "D",
        env = "QLC_SPILL_DIR",
        hide_env_values = true,
        help_heading = "Resources"
    )]
    pub(crate) spill_dir: Option<PathBuf>,
}

/// What of the collector's records a pruning keeps; it can be in the configuration file too.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Retention {
    /// Also remove what the collector noted (_feed/, quality/) on days older than N days (UTC) of
    /// which no spool file is left [default: it stays]
    #[arg(long, value_name = "N", value_parser = keep_days, env = "QLC_KEEP_RECORDS", hide_env_values = true)]
    pub(crate) keep_records: Option<u32>,
}

/// For a person, in lines and tables, or for a program, in one JSON object a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // No comments on the values: clap would take them for help and spread every flag over several
    // lines.
    #[default]
    Text,
    Json,
}

/// How a compaction works; each can be in the configuration file too.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Tuning {
    /// Partitions at the same time [default: twice the number of cores]
    #[arg(long, value_name = "N", value_parser = workers, env = "QLC_WORKERS", hide_env_values = true, help_heading = "Resources")]
    pub(crate) workers: Option<usize>,
    /// Level of zstd, 1 to 22; at another level the same rows have other bytes [default: 2 for
    /// times and counters, else 4]
    #[arg(long, value_name = "N", value_parser = zstd_level, env = "QLC_ZSTD_LEVEL", hide_env_values = true, help_heading = "Resources")]
    pub(crate) zstd_level: Option<i32>,
}

/// What holds for a command that has no flags of these.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Usual {
    #[command(flatten)]
    pub(crate) resources: Resources,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
}

impl Usual {
    /// Reads the environment, and the defaults that `of` gives the arguments.
    ///
    /// # Errors
    /// clap's own, of a variable that is wrong.
    pub(super) fn read(of: impl FnOnce(Command) -> Command) -> Result<Self, clap::Error> {
        let grammar = of(Self::augment_args(Command::new("qlc").no_binary_name(true)));
        let nothing: [&str; 0] = [];
        Self::from_arg_matches(&grammar.try_get_matches_from(nothing)?)
    }

    /// The resources of a command that has a flag for its spill folder alone.
    pub(crate) fn with_spill_dir(&self, dir: Option<&PathBuf>) -> Resources {
        Resources {
            spill_dir: dir.cloned(),
            ..self.resources.clone()
        }
    }
}

/// A UTC day, from a text with or without dashes.
///
/// # Errors
/// When it is none.
pub(crate) fn day(text: &str) -> Result<Date, Error> {
    let digits = match text.split('-').collect::<Vec<_>>().as_slice() {
        [year, month, day] if (year.len(), month.len(), day.len()) == (4, 2, 2) => {
            format!("{year}{month}{day}")
        }
        _ => text.to_owned(),
    };
    digits.parse().map_err(|_| {
        Error::usage(format!(
            "{text:?} is not a date between 1980 and 2199: write a UTC day as in 20260203 or 2026-02-03"
        ))
    })
}

/// How many partitions at a time, from a text.
///
/// # Errors
/// When it is not a number from 1 to 1024.
pub(super) fn workers(text: &str) -> Result<usize, Error> {
    text.parse()
        .ok()
        .filter(|n| (1..=1024).contains(n))
        .ok_or_else(|| Error::usage("write a number from 1 to 1024"))
}

/// A level of zstd, from a text.
///
/// # Errors
/// When it is not a number from 1 to 22.
fn zstd_level(text: &str) -> Result<i32, Error> {
    text.parse()
        .ok()
        .filter(|n| (1..=22).contains(n))
        .ok_or_else(|| Error::usage("write a number from 1 to 22"))
}

/// Whole days that are kept, from a text.
///
/// # Errors
/// When it is not a number from 0 to 36500.
fn keep_days(text: &str) -> Result<u32, Error> {
    text.parse()
        .ok()
        .filter(|n| *n <= 36_500)
        .ok_or_else(|| Error::usage("write a number of days from 0 to 36500"))
}
