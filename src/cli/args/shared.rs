//! What several commands have in common as typed: days, memory, spill folder and the form of the
//! output.

use std::{
    fmt::Display,
    ops::{Bound, RangeBounds, RangeInclusive},
    path::PathBuf,
    str::FromStr,
};

use clap::{Args, Command, FromArgMatches, ValueEnum};

use crate::{
    error::Error,
    model::{date::Date, layout},
};

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
    #[arg(long, value_name = "N", value_parser = number(KEPT_DAYS), env = "QLC_KEEP_RECORDS", hide_env_values = true)]
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
    #[arg(long, value_name = "N", value_parser = number(1..=1024_usize), env = "QLC_WORKERS", hide_env_values = true, help_heading = "Resources")]
    pub(crate) workers: Option<usize>,
    /// Level of zstd, 1 to 22; at another level the same rows have other bytes [default: 2 for
    /// times and counters, else 4]
    #[arg(long, value_name = "N", value_parser = number(1..=22_i32), env = "QLC_ZSTD_LEVEL", hide_env_values = true, help_heading = "Resources")]
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
    layout::date_of_folder(text).ok_or_else(|| {
        Error::usage(format!(
            "{text:?} is not a date between 1980 and 2199: write a UTC day as in 20260203 or 2026-02-03"
        ))
    })
}

/// Days that can be kept.
pub(super) const KEPT_DAYS: RangeInclusive<u32> = 0..=36_500;

/// A whole number of this range, from a text.
pub(super) fn number<T>(
    range: impl RangeBounds<T> + Clone,
) -> impl Fn(&str) -> Result<T, Error> + Clone
where
    T: FromStr + PartialOrd + Display,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let bound = |bound, word| match bound {
                Bound::Included(end) => format!(" {word} {end}"),
                Bound::Excluded(_) | Bound::Unbounded => String::new(),
            };
            let (from, to) = (
                bound(range.start_bound(), "from"),
                bound(range.end_bound(), "to"),
            );
            let open = if to.is_empty() { " on" } else { "" };
            Error::usage(format!("write a number{from}{to}{open}"))
        })
    }
}
