//! What several commands have in common as typed: days, memory, spill folder and the form of the output.
//!
//! Refuses to know the commands.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::model::date::Date;

/// A range of days, both ends included; open where an end is not named.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Days {
    /// Only this day, as in 20260203
    #[arg(long, value_name = "DATE", conflicts_with_all = ["start", "end"], help_heading = "Days")]
    pub(crate) date: Option<Date>,
    /// From this day on
    #[arg(long, value_name = "DATE", help_heading = "Days")]
    pub(crate) start: Option<Date>,
    /// Up to this day
    #[arg(long, value_name = "DATE", help_heading = "Days")]
    pub(crate) end: Option<Date>,
}

/// Settings of how much of the machine may be used; each can be in the configuration file too.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Resources {
    /// Memory that the process may have resident, as in 512MB or 2.5GB [default: 2.5GB]
    #[arg(long, value_name = "SIZE", value_parser = crate::model::size::parse, help_heading = "Resources",
        env = "QLC_MEMORY_LIMIT", hide_env_values = true)]
    pub(crate) memory_limit: Option<u64>,
    /// The folder for what does not fit in memory [default: qlc in the folder for temporary files]
    #[arg(long, value_name = "D", env = "QLC_SPILL_DIR", hide_env_values = true, help_heading = "Resources")]
    pub(crate) spill_dir: Option<PathBuf>,
}

impl Resources {
    /// Those of a command that has no memory limit.
    pub(crate) fn with_spill_dir(dir: Option<&PathBuf>) -> Self {
        Self { memory_limit: None, spill_dir: dir.cloned() }
    }
}

/// For a person, in lines and tables, or for a program, in one JSON object a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // No comments on the values: clap would take them for help and spread every flag over several lines.
    #[default]
    Text,
    Json,
}
