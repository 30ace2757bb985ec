//! The metrics: their names, and how those of a run are written for Prometheus.
//!
//! All names are here, so that a dashboard or an alert that uses an unknown name is found. A text
//! that this file did not make is never overwritten.

use std::fmt::Write;

use crate::error::{Error, Result};

/// A metric of runs, which is a gauge: a run has ended when it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it tells.
    pub help: &'static str,
}

const fn metric(name: &'static str, help: &'static str) -> Metric {
    Metric { name, help }
}

/// When the last run that ended with 0 ended. Of a run that failed, the earlier value is kept.
pub const LAST_SUCCESS: &str = "qlc_run_last_success_time_seconds";
/// The version; the one metric without a command.
pub const BUILD: &str = "qlc_build_info";

/// The metrics of runs, in the order in which they are written.
pub const RUN: [Metric; 19] = [
    metric(BUILD, "The version of qlc that wrote this last."),
    metric(
        "qlc_run_start_time_seconds",
        "When the last run began, in seconds since 1970 UTC.",
    ),
    metric(
        "qlc_run_end_time_seconds",
        "When the last run ended, in seconds since 1970 UTC.",
    ),
    metric("qlc_run_duration_seconds", "How long the last run took."),
    metric("qlc_run_success", "Whether the last run ended with 0."),
    metric("qlc_run_exit_code", "The exit code of the last run."),
    metric(
        LAST_SUCCESS,
        "When the last run that ended with 0 ended, in seconds since 1970 UTC.",
    ),
    metric(
        "qlc_run_partitions",
        "Partitions of the last run, by how they ended.",
    ),
    metric("qlc_run_rows", "Rows of the partitions of the last run."),
    metric("qlc_run_input_bytes", "Bytes that the last run read."),
    metric(
        "qlc_run_output_bytes",
        "Bytes of the data that the last run published.",
    ),
    metric(
        "qlc_run_quarantined_files",
        "Files that the last run put in QUARANTINE.",
    ),
    metric(
        "qlc_run_files_seen",
        "Parquet files that the last run saw in the spool, the ignored ones included.",
    ),
    metric(
        "qlc_run_files_ignored",
        "Parquet files of the spool that the last run ignored: they belong to no series.",
    ),
    metric(
        "qlc_run_peak_memory_bytes",
        "The largest resident memory of the last run.",
    ),
    metric(
        "qlc_run_memory_limit_bytes",
        "The memory that the last run was allowed.",
    ),
    metric("qlc_run_findings", "What the last verification found."),
    metric(
        "qlc_quarantine_entries",
        "Entries that lay in QUARANTINE after the last run, without those that were discarded.",
    ),
    metric(
        "qlc_incomplete_days",
        "Days of a series among the last 31 that were not complete after the last run.",
    ),
];

/// The metrics of the collector, which serves them while it runs. Those of a histogram have the
/// endings `_bucket`, `_sum` and `_count` besides.
pub const COLLECT: [&str; 24] = [
    "qlc_collect_up",
    "qlc_collect_frames_total",
    "qlc_collect_received_bytes_total",
    "qlc_collect_rejected_frames_total",
    "qlc_collect_queue_groups",
    "qlc_collect_memory_bytes",
    "qlc_collect_memory_limit_bytes",
    "qlc_collect_journal_bytes",
    "qlc_collect_journal_age_seconds",
    "qlc_collect_files_sealed_total",
    "qlc_collect_files_waiting",
    "qlc_collect_disk_free_bytes",
    "qlc_collect_events_total",
    "qlc_collect_gaps_total",
    "qlc_collect_missing_events_total",
    "qlc_collect_duplicate_events_total",
    "qlc_collect_late_events_total",
    "qlc_collect_dropped_events_total",
    "qlc_collect_conflicting_events_total",
    "qlc_collect_series_troubled",
    "qlc_collect_series",
    "qlc_collect_reconnects_total",
    "qlc_collect_line_live",
    "qlc_collect_lag_seconds",
];

/// The metrics of a cluster's scheduler, which serves them while it runs.
pub const CLUSTER: [Metric; 4] = [
    metric("qlc_cluster_executors", "Executors that are thought alive."),
    metric("qlc_cluster_task_slots", "Tasks that they take at a time."),
    metric("qlc_cluster_pending_jobs", "Jobs that wait to be planned."),
    metric("qlc_cluster_running_jobs", "Jobs under way."),
];

/// The metrics of an executor, which serves them while it runs.
pub const EXECUTOR: [Metric; 7] = [
    metric(
        "qlc_executor_task_slots",
        "Tasks that the executor takes at a time.",
    ),
    metric("qlc_executor_running_tasks", "Partitions under way."),
    metric(
        "qlc_executor_waiting_tasks",
        "Partitions that wait for memory.",
    ),
    metric(
        "qlc_executor_done_tasks_total",
        "Partitions that were worked on, whatever came of them but a failure.",
    ),
    metric("qlc_executor_failed_tasks_total", "Partitions that failed."),
    metric(
        "qlc_executor_memory_bytes",
        "Memory that all tasks may have together.",
    ),
    metric(
        "qlc_executor_memory_taken_bytes",
        "Memory that is set aside for tasks under way.",
    ),
];

/// One value of a metric of runs.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricSample {
    /// The metric's name.
    pub name: &'static str,
    /// A label besides the command, and its value.
    pub label: Option<(&'static str, &'static str)>,
    /// The value, as written.
    pub value: String,
}

impl MetricSample {
    fn line(&self, command: &str) -> String {
        let mut labels = if self.name == BUILD {
            String::new()
        } else {
            format!("command=\"{command}\"")
        };
        if let Some((name, value)) = self.label {
            let comma = if labels.is_empty() { "" } else { "," };
            let _ = write!(labels, "{comma}{name}=\"{value}\"");
        }
        format!("{}{{{labels}}} {}", self.name, self.value)
    }
}

/// The text with `samples` of a run of `command`, and what `earlier` says of other commands.
///
/// # Errors
/// When `earlier` is no text of this kind.
pub fn page(earlier: &str, command: &str, samples: &[MetricSample]) -> Result<String> {
    let kept: Vec<(&str, &str)> = earlier
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| match line.split_once('{') {
            Some((name, _)) if RUN.iter().any(|metric| metric.name == name) => Ok((name, line)),
            _ => Err(Error::usage(
                "holds something else than metrics of runs, and is left alone: name another file",
            )),
        })
        .collect::<Result<_>>()?;
    let own = format!("{{command=\"{command}\"");
    let succeeded = samples.iter().any(|sample| sample.name == LAST_SUCCESS);
    let mut text = String::new();
    for metric in RUN {
        let stays = |line: &str| match metric.name {
            BUILD => false,
            LAST_SUCCESS => !(succeeded && line.contains(&own)),
            _ => !line.contains(&own),
        };
        let others = kept
            .iter()
            .filter(|(name, line)| *name == metric.name && stays(line));
        let new = samples
            .iter()
            .filter(|sample| sample.name == metric.name)
            .map(|sample| sample.line(command));
        let lines: Vec<String> = others
            .map(|(_, line)| (*line).to_owned())
            .chain(new)
            .collect();
        if !lines.is_empty() {
            let _ = writeln!(
                text,
                "# HELP {0} {1}\n# TYPE {0} gauge\n{2}",
                metric.name,
                metric.help,
                lines.join("\n")
            );
        }
    }
    Ok(text)
}

/// Every name that Prometheus may know from qlc.
pub fn names() -> impl Iterator<Item = String> {
    let lag =
        ["_bucket", "_sum", "_count"].map(|ending| format!("qlc_collect_lag_seconds{ending}"));
    let told = RUN
        .into_iter()
        .chain(CLUSTER)
        .chain(EXECUTOR)
        .map(|metric| metric.name.to_owned());
    told.chain(COLLECT.map(str::to_owned)).chain(lag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &'static str, value: &str) -> MetricSample {
        MetricSample {
            name,
            label: None,
            value: value.to_owned(),
        }
    }

    #[test]
    fn other_commands_are_kept_and_the_last_success_too() {
        let version = MetricSample {
            name: BUILD,
            label: Some(("version", "1.0.0")),
            value: "1".to_owned(),
        };
        let first = page(
            "",
            "compact",
            &[
                version.clone(),
                sample("qlc_run_success", "1"),
                sample(LAST_SUCCESS, "7"),
            ],
        );
        let first = first.unwrap();
        assert_eq!(
            first,
            "# HELP qlc_build_info The version of qlc that wrote this last.\n\
             # TYPE qlc_build_info gauge\n\
             qlc_build_info{version=\"1.0.0\"} 1\n\
             # HELP qlc_run_success Whether the last run ended with 0.\n\
             # TYPE qlc_run_success gauge\n\
             qlc_run_success{command=\"compact\"} 1\n\
             # HELP qlc_run_last_success_time_seconds When the last run that ended with 0 ended, in seconds since 1970 UTC.\n\
             # TYPE qlc_run_last_success_time_seconds gauge\n\
             qlc_run_last_success_time_seconds{command=\"compact\"} 7\n"
        );
        let both = page(
            &first,
            "verify",
            &[version.clone(), sample("qlc_run_success", "0")],
        )
        .unwrap();
        let failed = page(&both, "compact", &[version, sample("qlc_run_success", "0")]).unwrap();
        let lines: Vec<&str> = failed
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert_eq!(
            lines,
            [
                "qlc_build_info{version=\"1.0.0\"} 1",
                "qlc_run_success{command=\"verify\"} 0",
                "qlc_run_success{command=\"compact\"} 0",
                "qlc_run_last_success_time_seconds{command=\"compact\"} 7",
            ]
        );
        let again = page(&failed, "compact", &[sample(LAST_SUCCESS, "9")]).unwrap();
        assert!(
            again.contains("{command=\"compact\"} 9\n")
                && !again.contains("{command=\"compact\"} 7\n"),
            "{again}"
        );
    }

    #[test]
    fn a_foreign_text_is_left_alone() {
        assert!(page("root:x:0:0::/root:/bin/sh\n", "compact", &[]).is_err());
        assert!(page("node_load1{a=\"b\"} 1\n", "compact", &[]).is_err());
        assert_eq!(page("# a comment\n\n", "compact", &[]).unwrap(), "");
    }
}
