//! What a pruning removed, or would remove, and why the rest stays.

use std::{collections::BTreeMap, fmt::Write};

use comfy_table::Cell;

use super::parts::{bytes, count, rows, table};
use crate::{
    cli::console::Look,
    model::plain::line,
    prune::{Judged, JudgedRecord, Outcome, Report},
};

/// Files of one kind that are named one by one; of more, the number is told.
const FEW: usize = 10;

/// The closing text of a pruning.
pub(crate) fn pruned(report: &Report, dry_run: bool, look: Look) -> String {
    let mut text = going(&report.files, look);
    if report.files.is_empty() {
        text.push_str("nothing to prune: the spool holds no file\n");
    }
    for outcome in Outcome::ALL {
        let files: Vec<&Judged> = report
            .files
            .iter()
            .filter(|f| f.outcome == outcome)
            .collect();
        if files.is_empty() {
            continue;
        }
        let size = bytes(files.iter().map(|f| f.bytes).sum());
        let _ = writeln!(
            text,
            "{} {} ({size}){}",
            verb(outcome),
            count(files.len(), "file"),
            because(outcome, files.len())
        );
        if names_each(outcome) {
            for file in files.iter().take(FEW) {
                let _ = writeln!(text, "  {}: {}", line(&file.name), line(&file.reason));
            }
            if files.len() > FEW {
                let _ = writeln!(
                    text,
                    "  and {} more; --format json says why for each",
                    indicatif::HumanCount((files.len() - FEW) as u64)
                );
            }
        }
    }
    records(&report.records, &mut text);
    for folder in &report.unlisted {
        let _ = writeln!(text, "{}", folder.reason);
    }
    for key in &report.settled {
        let _ = writeln!(
            text,
            "completed the journal of a run that was interrupted: {key}"
        );
    }
    if let Some(key) = &report.journal {
        let _ = writeln!(text, "journal: {key}");
    }
    if report.stopped {
        text.push_str("the run ended early, as asked\n");
    }
    if dry_run {
        text.push_str("a dry run removes nothing\n");
    }
    text
}

/// A line for each outcome of the collector's records, and the reasons of what should have gone.
fn records(all: &[JudgedRecord], text: &mut String) {
    for outcome in Outcome::ALL {
        let some: Vec<&JudgedRecord> = all.iter().filter(|one| one.outcome == outcome).collect();
        if some.is_empty() {
            continue;
        }
        let size = bytes(some.iter().map(|one| one.bytes).sum());
        let why = match outcome {
            Outcome::Waiting => ", because more is to come of the same days, or lies in the spool",
            Outcome::Young => ", because the days are not old enough",
            Outcome::Removed | Outcome::Removable => {
                ": of the same days nothing is left in the spool"
            }
            other => because(other, some.len()),
        };
        let _ = writeln!(
            text,
            "{} {} of the collector ({size}){why}",
            verb(outcome),
            count(some.len(), "record")
        );
        for one in some
            .iter()
            .filter(|_| matches!(outcome, Outcome::Failed | Outcome::Unknown))
            .take(FEW)
        {
            let _ = writeln!(text, "  {}: {}", line(&one.record), line(&one.reason));
        }
    }
}

/// What went of a series and day.
#[derive(Default)]
struct Going {
    files: usize,
    rows: u64,
    bytes: u64,
}

/// The table of what went, or would go: a line per series and day.
fn going(files: &[Judged], look: Look) -> String {
    let mut days: BTreeMap<(String, &'static str), Going> = BTreeMap::new();
    for file in files
        .iter()
        .filter(|f| matches!(f.outcome, Outcome::Removed | Outcome::Removable))
    {
        let day = file
            .date
            .map_or_else(|| "no day".to_owned(), |date| date.to_string());
        let one = days
            .entry((format!("{}/{day}", file.series), verb(file.outcome)))
            .or_default();
        one.files += 1;
        one.rows += file.rows.unwrap_or(0);
        one.bytes += file.bytes;
    }
    if days.is_empty() {
        return String::new();
    }
    let columns = [
        ("spool files of", false),
        ("result", false),
        ("files", true),
        ("rows", true),
        ("bytes", true),
    ];
    let lines = days.into_iter().map(|((day, verb), one)| {
        vec![
            Cell::new(day),
            Cell::new(verb),
            Cell::new(indicatif::HumanCount(one.files as u64)),
            Cell::new(
                rows(one.rows)
                    .trim_end_matches(" rows")
                    .trim_end_matches(" row"),
            ),
            Cell::new(bytes(one.bytes)),
        ]
    });
    table(&columns, lines, look)
}

fn verb(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Removed => "removed",
        Outcome::Removable => "would remove",
        Outcome::Gone => "did not find",
        Outcome::Unknown => "may have removed",
        _ => "kept",
    }
}

fn because(outcome: Outcome, files: usize) -> &'static str {
    match (outcome, files) {
        (Outcome::Removed | Outcome::Removable, _) => ": every row was read back from the archive",
        (Outcome::NotReached, 1) => ", because the run ended before its turn came",
        (Outcome::NotReached, _) => ", because the run ended before their turn came",
        (Outcome::Gone, 1) => " when it was its turn: it was gone",
        (Outcome::Gone, _) => " when it was their turn: they were gone",
        (Outcome::Unknown, 1) => ": the store did not say; its rows are in the archive",
        (Outcome::Unknown, _) => ": the store did not say; their rows are in the archive",
        (Outcome::Young, 1) => ", because not all its days are old enough",
        (Outcome::Young, _) => ", because not all their days are old enough",
        (Outcome::Quarantined, _) => {
            ": whole in QUARANTINE, or discarded from it; prune never removes such files"
        }
        (Outcome::Waiting, _) => ", because a compaction must run first",
        (Outcome::Empty, 1) => ", because it has no rows, so that nothing can be proven",
        (Outcome::Empty, _) => ", because they have no rows, so that nothing can be proven",
        (Outcome::Changed, 1) => ", because it was replaced meanwhile",
        (Outcome::Changed, _) => ", because they were replaced meanwhile",
        (Outcome::Unproven, _) => ", because what must be proven could NOT be",
        (Outcome::Failed, 1) => ", because it could not be read, or not removed",
        (Outcome::Failed, _) => ", because they could not be read, or not removed",
    }
}

fn names_each(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Quarantined
            | Outcome::Waiting
            | Outcome::Empty
            | Outcome::Changed
            | Outcome::Unproven
            | Outcome::Failed
            | Outcome::Unknown
    )
}
