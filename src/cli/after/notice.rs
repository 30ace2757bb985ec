//! The notice of a run that did not end well: the object that is posted to a webhook.
//!
//! It is short, because it is read on a phone; the log has everything.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::run::Run;
use crate::cli::account::Trouble;

/// So many partitions are named.
const FEW: usize = 20;

/// The object.
#[derive(Debug, Serialize)]
pub(super) struct Notice<'a> {
    /// Everything in one line; chats show this key.
    text: String,
    command: &'static str,
    exit_code: u8,
    meaning: &'static str,
    host: &'a str,
    version: &'static str,
    began: String,
    ended: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<&'a BTreeMap<&'static str, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantined: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<u64>,
    /// What ended the run, or a part of it.
    errors: &'a [String],
    /// The first partitions that are not well.
    troubles: &'a [Trouble],
    /// How many others there are.
    more_troubles: usize,
}

/// The notice of a run on this host.
pub(super) fn of<'a>(run: &'a Run, host: &'a str) -> Notice<'a> {
    let sums = &run.sums;
    let (few, more) = sums.troubles.split_at(sums.troubles.len().min(FEW));
    let (code, meaning) = (run.exit.code(), run.exit.meaning());
    let first = sums
        .errors
        .first()
        .cloned()
        .or_else(|| {
            few.first().map(|trouble| {
                format!(
                    "{} {}: {}",
                    trouble.partition, trouble.status, trouble.message
                )
            })
        })
        .map_or_else(String::new, |first| format!(": {first}"));
    let others = (sums.troubles.len() + sums.errors.len()).saturating_sub(1);
    let others = if others > 0 {
        format!(" (and {others} more)")
    } else {
        String::new()
    };
    Notice {
        text: format!(
            "qlc {} on {host} ended with {code}, {meaning}{first}{others}",
            run.command
        ),
        command: run.command,
        exit_code: code,
        meaning,
        host,
        version: env!("CARGO_PKG_VERSION"),
        began: at(run.began),
        ended: at(run.ended),
        partitions: sums.partitions.as_ref(),
        rows: sums.rows,
        quarantined: sums.quarantined,
        findings: sums.findings,
        errors: &sums.errors,
        troubles: few,
        more_troubles: more.len(),
    }
}

fn at(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}
