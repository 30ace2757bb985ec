//! What is in QUARANTINE, one entry in full, and the results of trying entries again.

use std::fmt::Write;

use comfy_table::{Cell, Color};

use super::parts::{bytes, count, grouped, marked, rows, table};
use crate::{
    cli::console::Look,
    model::plain::line,
    quarantine::{EntryState, Held, Retried, Tried},
};

/// The list of entries; messages stand below the table.
pub(crate) fn held(all: &[Held], look: Look) -> String {
    if all.is_empty() {
        return "nothing is in QUARANTINE\n".to_owned();
    }
    let columns = [
        ("partition", false),
        ("kept as", false),
        ("error", false),
        ("state", false),
        ("size", true),
        ("rows", true),
        ("time", false),
    ];
    let lines = all.iter().map(|one| {
        vec![
            Cell::new(&one.partition),
            Cell::new(line(&one.entry.kept_as)),
            Cell::new(&one.entry.error_type),
            Cell::new(state(one.state)),
            Cell::new(bytes(one.entry.size)),
            Cell::new(one.entry.rows.map_or_else(
                || "all".to_owned(),
                |n| indicatif::HumanCount(n).to_string(),
            )),
            Cell::new(&one.entry.time),
        ]
    });
    let mut text = table(&columns, lines, look);
    for one in all {
        let _ = writeln!(
            text,
            "{}/{}: {}",
            one.partition,
            line(&one.entry.kept_as),
            line(&one.entry.message)
        );
    }
    let states = grouped(all, |one| state(one.state).to_owned());
    let states: Vec<String> = states
        .iter()
        .map(|(name, group)| format!("{} {name}", group.len()))
        .collect();
    let _ = writeln!(text, "{}: {}", entries(all.len()), states.join(", "));
    text
}

fn entries(number: usize) -> String {
    if number == 1 {
        "1 entry".to_owned()
    } else {
        format!("{} entries", indicatif::HumanCount(number as u64))
    }
}

fn state(state: EntryState) -> &'static str {
    match state {
        EntryState::Kept => "kept",
        EntryState::Retry => "to be tried again",
        EntryState::Discarded => "discarded",
    }
}

/// All that `error.json` says of one entry.
pub(crate) fn entry(held: &Held) -> String {
    let entry = &held.entry;
    let mut facts = vec![
        ("error", entry.error_type.to_string()),
        ("message", entry.message.clone()),
        ("source", entry.source_path.clone()),
        (
            "size",
            format!("{} ({} bytes)", bytes(entry.size), entry.size),
        ),
        ("sha256", entry.sha256.clone()),
        ("time", entry.time.clone()),
        ("qlc version", entry.qlc_version.clone()),
        ("reproduce", entry.reproduce.clone()),
        ("kept as", held.key()),
        ("kept sha256", entry.kept_sha256.clone()),
        ("state", state(held.state).to_owned()),
    ];
    match (&entry.salvaged, entry.rows) {
        (Some(lost), number) => {
            let groups: Vec<String> = lost.row_groups.iter().map(ToString::to_string).collect();
            facts.push((
                "lost",
                format!(
                    "{}, row groups {}",
                    rows(number.unwrap_or(0)),
                    groups.join(", ")
                ),
            ));
            let span = |end: &Option<String>| end.clone().unwrap_or_else(|| "unknown".to_owned());
            facts.push((
                "lost from",
                format!(
                    "{} to {}",
                    span(&lost.ts_event_min),
                    span(&lost.ts_event_max)
                ),
            ));
        }
        (None, Some(number)) => facts.push(("kept rows", rows(number))),
        (None, None) => {}
    }
    let mut text = format!("{}\n", held.partition);
    for (name, fact) in facts {
        let _ = writeln!(text, "  {name:<11} {}", line(&fact));
    }
    text
}

/// What came of trying entries again.
pub(crate) fn retried(all: &[Retried], look: Look) -> String {
    if all.is_empty() {
        return "nothing to try: no whole file is in QUARANTINE\n".to_owned();
    }
    let columns = [("partition", false), ("file", false), ("result", false)];
    let lines = all.iter().map(|one| {
        let colour = match one.tried {
            Tried::TakenIn => Color::Green,
            Tried::Salvaged | Tried::QuarantinedAgain | Tried::Pending => Color::Yellow,
            Tried::Refused | Tried::Unproven => Color::Red,
        };
        vec![
            Cell::new(&one.held.partition),
            Cell::new(line(&one.held.entry.kept_as)),
            marked(tried(one.tried), colour),
        ]
    });
    let mut text = table(&columns, lines, look);
    for one in all {
        let back = if one.put_back {
            "; it was put back into the spool, which it had left"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "{}/{}: {}{back}",
            one.held.partition,
            line(&one.held.entry.kept_as),
            line(&one.reason)
        );
    }
    let groups = grouped(all, |one| tried(one.tried).to_owned());
    let groups: Vec<String> = groups
        .iter()
        .map(|(name, group)| format!("{} {name}", group.len()))
        .collect();
    let _ = writeln!(text, "{}: {}", count(all.len(), "file"), groups.join(", "));
    text
}

fn tried(tried: Tried) -> &'static str {
    match tried {
        Tried::TakenIn => "taken in",
        Tried::Salvaged => "salvaged in part",
        Tried::QuarantinedAgain => "quarantined again",
        Tried::Pending => "pending",
        Tried::Refused => "cannot be tried",
        Tried::Unproven => "NOT PROVEN",
    }
}
