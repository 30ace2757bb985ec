//! The metrics of a run, and the file that keeps them.
//!
//! A file with other content is not overwritten, and the metrics of other commands in it are kept.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::run::Run;
use crate::{
    cli::exit::Exit,
    error::{Error, Result},
    model::metric::{self, BUILD, LAST_SUCCESS, MetricSample},
    storage::{Expect, atomic, store::Store},
};

/// How often the turn is waited for while another command writes the same file: five seconds.
const TURNS: u32 = 250;

/// The values of a run.
pub(super) fn samples(run: &Run) -> Vec<MetricSample> {
    let one = |name, value: String| MetricSample {
        name,
        label: None,
        value,
    };
    let took = (run.ended - run.began).to_std().unwrap_or_default();
    let mut all = vec![
        MetricSample {
            name: BUILD,
            label: Some(("version", env!("CARGO_PKG_VERSION"))),
            value: "1".to_owned(),
        },
        one("qlc_run_start_time_seconds", seconds(run.began)),
        one("qlc_run_end_time_seconds", seconds(run.ended)),
        one(
            "qlc_run_duration_seconds",
            format!("{:.3}", took.as_secs_f64()),
        ),
        one(
            "qlc_run_success",
            u8::from(run.exit == Exit::Done).to_string(),
        ),
        one("qlc_run_exit_code", run.exit.code().to_string()),
    ];
    if run.exit == Exit::Done {
        all.push(one(LAST_SUCCESS, seconds(run.ended)));
    }
    for (status, number) in run.sums.partitions.iter().flatten() {
        let label = Some(("status", *status));
        all.push(MetricSample {
            name: "qlc_run_partitions",
            label,
            value: number.to_string(),
        });
    }
    let sums = &run.sums;
    for (name, value) in [
        ("qlc_run_rows", sums.rows),
        ("qlc_run_input_bytes", sums.input_bytes),
        ("qlc_run_output_bytes", sums.output_bytes),
        ("qlc_run_quarantined_files", sums.quarantined),
        ("qlc_run_files_seen", sums.files_seen),
        ("qlc_run_files_ignored", sums.files_ignored),
        ("qlc_run_peak_memory_bytes", run.peak_memory),
        ("qlc_run_memory_limit_bytes", sums.memory_limit),
        ("qlc_run_findings", sums.findings),
        ("qlc_quarantine_entries", sums.quarantine_entries),
        ("qlc_incomplete_days", sums.incomplete_days),
    ] {
        all.extend(value.map(|value| one(name, value.to_string())));
    }
    all
}

/// Puts the metrics of a run into the file at `path`, beside those of other commands.
///
/// # Errors
/// When the file holds something else, or cannot be written.
pub(super) async fn keep(path: &Path, run: &Run) -> Result<()> {
    let shown = path.display();
    let absolute = std::path::absolute(path).map_err(|e| Error::io(&shown, e))?;
    let (Some(folder), Some(name)) = (
        absolute.parent(),
        absolute.file_name().and_then(|name| name.to_str()),
    ) else {
        return Err(Error::usage(format!("{shown}: is not the path of a file")));
    };
    let store = Store::open(&folder.display().to_string())?;
    // Two commands that end at the same time must not lose each other's part.
    atomic::in_turn(&store, "", TURNS, || async {
        let earlier = match std::fs::read_to_string(&absolute) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::io(format!("{shown}: cannot be read"), e)),
        };
        let text = metric::page(&earlier, run.command, &samples(run))
            .map_err(|e| Error::caused(e.kind(), shown.to_string(), e))?;
        let _ =
            atomic::write_bytes(&store, name, folder, &Expect::Anything, text.into_bytes()).await?;
        Ok(())
    })
    .await
}

/// Seconds since 1970 UTC.
fn seconds(instant: DateTime<Utc>) -> String {
    format!(
        "{}.{:03}",
        instant.timestamp(),
        instant.timestamp_subsec_millis()
    )
}
