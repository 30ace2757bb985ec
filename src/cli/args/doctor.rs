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
  qlc doctor --cluster df://localhost:50050     every executor as well

Exit code 0 when nothing is a problem, else 1. Nothing is left behind.")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) resources: Resources,
    #[command(flatten)]
    pub(crate) on: OnCluster,
    /// For a person, or for a program: one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}
