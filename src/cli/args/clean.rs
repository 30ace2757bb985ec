//! `qlc clean` as typed.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::shared::Format;
use crate::error::{Error, Result};

/// `qlc clean`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc clean --dry-run                       what would be removed
  qlc clean
  qlc clean --older-than 12h

Removed are: receipts of data that was never published or was replaced, uploads that were never completed and probes, when
they are older than --older-than; temporary files and scratch folders of dead processes; intents of prunings whose journal
is written. data.parquet, meta.json, QUARANTINE, journals and spool files are never touched.")]
pub(crate) struct Clean {
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave younger objects: a run may be about to need them
    #[arg(long, value_name = "AGE", value_parser = age, default_value = "1d")]
    pub(crate) older_than: Duration,
    /// The folder with the scratch folders [default: qlc-UID in the folder for temporary files]
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

fn age(text: &str) -> Result<Duration> {
    let wrong = || Error::usage("write a number and a unit, as in 90m, 12h or 1d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text
        .strip_suffix(unit)
        .and_then(|n| n.parse().ok())
        .ok_or_else(wrong)?;
    // A hundred years: what is older than that is a typing error.
    Some(number)
        .filter(|n| *n <= 36_500 * 86_400 / seconds)
        .map(|n| Duration::from_secs(n * seconds))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        let check =
            |text: &str, seconds: u64| assert_eq!(age(text).unwrap().as_secs(), seconds, "{text}");
        check("0s", 0);
        check("90m", 5_400);
        check("12h", 43_200);
        check("1d", 86_400);
        for text in [
            "",
            "1",
            "d",
            "1w",
            "-1d",
            "1.5h",
            "99999999999999999999d",
            "36501d",
        ] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
