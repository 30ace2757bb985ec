//! What came of a compaction: a closing table, messages below it, and a line that sums up.

use std::fmt::Write;

use comfy_table::{Cell, Color};

use super::parts::{bytes, count, grouped, idle, marked, rows, seconds, short, table};
use crate::{
    cli::console::Look,
    compact::{Outcome, Status},
};

/// From this width on there is room for the sha256.
const WIDE: u16 = 110;

/// The closing text of a compaction.
pub(crate) fn outcomes(outcomes: &[Outcome], look: Look) -> String {
    if outcomes.is_empty() {
        return "nothing to do, because there is no partition to look at\n".to_owned();
    }
    let (resting, moved): (Vec<_>, Vec<_>) = outcomes.iter().partition(|o| o.status == Status::UpToDate);
    let mut text = String::new();
    if !moved.is_empty() {
        text.push_str(&outcome_table(&moved, look));
        for outcome in &moved {
            if !outcome.message.is_empty() {
                let _ = writeln!(text, "{}: {}: {}", outcome.partition, word(outcome.status), outcome.message);
            }
        }
    }
    text.push_str(&idle(resting.iter().map(|o| (&o.partition, o.message.clone())).collect()));
    text.push_str(&sum(outcomes));
    text
}

fn outcome_table(outcomes: &[&Outcome], look: Look) -> String {
    let wide = look.width.is_none_or(|width| width >= WIDE);
    let mut columns = vec![
        ("partition", false),
        ("status", false),
        ("files", true),
        ("rows", true),
        ("in → out", true),
        ("seconds", true),
    ];
    if wide {
        columns.push(("sha256", false));
    }
    let lines = outcomes.iter().map(|outcome| {
        let mut cells = vec![
            Cell::new(&outcome.partition),
            status(outcome),
            Cell::new(outcome.files),
            Cell::new(indicatif::HumanCount(outcome.rows)),
            Cell::new(format!("{} → {}", bytes(outcome.bytes_in), bytes(outcome.bytes_out))),
            Cell::new(format!("{:.1}", outcome.seconds)),
        ];
        if wide {
            cells.push(Cell::new(outcome.sha256.as_deref().map_or("-", short)));
        }
        cells
    });
    table(&columns, lines, look)
}

fn status(outcome: &Outcome) -> Cell {
    let text = match outcome.quarantined {
        0 => word(outcome.status).to_owned(),
        n => format!("{}, {n} quarantined", word(outcome.status)),
    };
    match outcome.status {
        Status::Failed | Status::Unknown => marked(&text, Color::Red),
        Status::Interrupted | Status::LostRace => marked(&text, Color::Yellow),
        _ if outcome.quarantined > 0 => marked(&text, Color::Yellow),
        Status::Done | Status::Completed => marked(&text, Color::Green),
        Status::UpToDate => Cell::new(text),
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Done => "done",
        Status::UpToDate => "nothing to do",
        Status::Completed => "completed",
        Status::LostRace => "lost race",
        Status::Interrupted => "interrupted",
        Status::Failed => "failed",
        Status::Unknown => "unknown",
    }
}

/// One partition in one line, for where no bars can stand.
pub(crate) fn outcome_line(outcome: &Outcome) -> String {
    let mut line = format!("{} {}", word(outcome.status), outcome.partition);
    match outcome.status {
        Status::Done | Status::Completed => {
            let _ = write!(
                line,
                ": {}, {}, {} → {}, {}",
                count(usize::try_from(outcome.files).unwrap_or(usize::MAX), "file"),
                rows(outcome.rows),
                bytes(outcome.bytes_in),
                bytes(outcome.bytes_out),
                seconds(outcome.seconds)
            );
            if outcome.quarantined > 0 {
                let _ = write!(line, ", {} quarantined", outcome.quarantined);
            }
        }
        _ => {
            let _ = write!(line, ": {}", outcome.message);
        }
    }
    line
}

fn sum(outcomes: &[Outcome]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (name, group) in grouped(outcomes, |o| word(o.status).to_owned()) {
        parts.push(format!("{} {name}", group.len()));
    }
    let quarantined: u64 = outcomes.iter().map(|o| o.quarantined).sum();
    if quarantined > 0 {
        parts.push(format!("{quarantined} quarantined"));
    }
    let written: Vec<_> = outcomes.iter().filter(|o| o.status == Status::Done).collect();
    let mut text = format!("{}: {}", count(outcomes.len(), "partition"), parts.join(", "));
    if !written.is_empty() {
        let _ = write!(
            text,
            "; {}, {} → {}",
            rows(written.iter().map(|o| o.rows).sum()),
            bytes(written.iter().map(|o| o.bytes_in).sum()),
            bytes(written.iter().map(|o| o.bytes_out).sum())
        );
    }
    text.push('\n');
    text
}
