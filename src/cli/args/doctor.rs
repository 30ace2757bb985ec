//! `qlc doctor` as typed.

use clap::Args;

use super::{
    cluster::OnCluster,
    shared::{Format, Resources},
};

/// `qlc doctor`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc doctor
  qlc --config /etc/quantlab/qlc.toml doctor
  qlc doctor --format json
  qlc doctor --cluster df://localhost:50050     checks every executor as well

The exit code is 0 when there is no problem, else 1. What doctor writes for its tests, it removes.")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) resources: Resources,
    #[command(flatten)]
    pub(crate) on: OnCluster,
    /// The form of the output: text, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}
