//! `qlc config` as typed.

use clap::{Args, Subcommand};

use super::{
    cluster::OnCluster,
    shared::{Format, Resources, Retention, Tuning},
};

/// `qlc config`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc config show
  qlc --config /etc/quantlab/qlc.toml config show
  qlc config show --format json")]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) verb: ConfigVerb,
}

/// What is done with the settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Print every setting as a run with these flags would use it, and its origin; secrets are
    /// masked
    Show(ConfigShow),
}

/// `qlc config show`
#[derive(Debug, Args)]
pub(crate) struct ConfigShow {
    #[command(flatten)]
    pub(crate) tuning: Tuning,
    #[command(flatten)]
    pub(crate) resources: Resources,
    #[command(flatten)]
    pub(crate) retention: Retention,
    #[command(flatten)]
    pub(crate) on: OnCluster,
    /// The form of the output: text, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}
