//! The results of a compaction: what was not plain, or every partition, and a line that sums up.

use std::fmt::Write;

use comfy_table::{Cell, Color};

use super::parts::{FEW, bytes, count, grouped, idle, marked, rows, short, table};
use crate::{
    cli::console::Look,
    compact::{Outcome, Status},
    model::count,
};

/// From this width on there is room for the sha256.
const WIDE: u16 = 110;

/// The closing text of a compaction: each partition that was not plain, or a table of all, and a
/// line that sums up. Where a few partitions needed nothing, and there are no others, it says why;
/// of many that ended in the same way, the first is named.
pub(crate) fn outcomes(outcomes: &[Outcome], look: Look, lists_all: bool) -> String {
    if outcomes.is_empty() {
        return "nothing to do, because there is no partition to look at\n".to_owned();
    }
    let mut text = match outcomes {
        _ if lists_all => every(outcomes, look),
        // Whoever asks for a day or two wants to know why nothing was done.
        few if few.len() <= FEW && few.iter().all(|outcome| outcome.status == Status::UpToDate) => {
            idle(
                few.iter()
                    .filter(|one| is_plain(one))
                    .map(|one| (&one.partition, one.message.clone()))
                    .collect(),
            )
        }
        _ => String::new(),
    };
    let others = outcomes.iter().filter(|outcome| !is_plain(outcome));
    for (what, group) in grouped(others, |one| format!("{}: {}", how(one), one.message)) {
        let _ = match group.as_slice() {
            [first, rest @ ..] if rest.len() >= FEW => writeln!(
                text,
                "{} and {}: {what}",
                first.partition,
                count(rest.len(), "other partition")
            ),
            few => few
                .iter()
                .try_for_each(|one| writeln!(text, "{}: {what}", one.partition)),
        };
    }
    text.push_str(&sum(outcomes));
    text
}

/// Whether there is nothing to know about it but that it is done, or needed nothing.
fn is_plain(outcome: &Outcome) -> bool {
    matches!(outcome.status, Status::Done | Status::UpToDate)
        && outcome.quarantined == 0
        && outcome.copies == 0
}

/// A table of what was done, and why each partition was done or not.
fn every(outcomes: &[Outcome], look: Look) -> String {
    let (resting, moved): (Vec<_>, Vec<_>) =
        outcomes.iter().partition(|o| o.status == Status::UpToDate);
    let mut text = if moved.is_empty() {
        String::new()
    } else {
        outcome_table(&moved, look)
    };
    let plain = moved.into_iter().filter(|outcome| is_plain(outcome));
    for (why, group) in grouped(plain, |outcome| outcome.message.clone()) {
        let _ = match group.as_slice() {
            [one] => writeln!(text, "{}: {}: {why}", one.partition, ended(one)),
            _ => writeln!(text, "{}: done: {why}", count(group.len(), "partition")),
        };
    }
    for one in resting.into_iter().filter(|outcome| is_plain(outcome)) {
        let _ = writeln!(
            text,
            "nothing to do for {}, because {}",
            one.partition, one.message
        );
    }
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
            Cell::new(format!(
                "{} → {}",
                bytes(outcome.bytes_in),
                bytes(outcome.bytes_out)
            )),
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
    let text = ended(outcome);
    match outcome.status {
        Status::Failed | Status::Unknown => marked(&text, Color::Red),
        Status::Interrupted | Status::LostRace | Status::LossAccepted => {
            marked(&text, Color::Yellow)
        }
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
        Status::LossAccepted => "loss accepted",
        Status::LostRace => "lost race",
        Status::Interrupted => "interrupted",
        Status::Failed => "failed",
        Status::Unknown => "unknown",
    }
}

/// How it ended, before a message that names what went to QUARANTINE.
fn how(outcome: &Outcome) -> String {
    match outcome.status {
        Status::Done | Status::UpToDate => word(outcome.status).to_owned(),
        _ => ended(outcome),
    }
}

/// How it ended, in words.
fn ended(outcome: &Outcome) -> String {
    let parts = [(outcome.quarantined, "quarantined"), copies(outcome.copies)];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    parts.fold(word(outcome.status).to_owned(), |text, (number, what)| {
        format!("{text}, {} {what}", count::grouped(number))
    })
}

fn copies(number: u64) -> (u64, &'static str) {
    (number, if number == 1 { "copy" } else { "copies" })
}

fn sum(outcomes: &[Outcome]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (name, group) in grouped(outcomes, |o| word(o.status).to_owned()) {
        parts.push(format!("{} {name}", count::grouped(group.len() as u64)));
    }
    let quarantined: u64 = outcomes.iter().map(|o| o.quarantined).sum();
    if quarantined > 0 {
        parts.push(format!("{} quarantined", count::grouped(quarantined)));
    }
    let (copied, what) = copies(outcomes.iter().map(|o| o.copies).sum());
    if copied > 0 {
        parts.push(format!("{} {what}", count::grouped(copied)));
    }
    let lost: u64 = outcomes.iter().map(|o| o.rows_lost).sum();
    if lost > 0 {
        parts.push(format!("{} accepted as lost", rows(lost)));
    }
    let is_written = |o: &&Outcome| {
        matches!(o.status, Status::Done | Status::LossAccepted) && o.sha256.is_some()
    };
    let written: Vec<_> = outcomes.iter().filter(is_written).collect();
    let mut text = format!(
        "{}: {}",
        count(outcomes.len(), "partition"),
        parts.join(", ")
    );
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
