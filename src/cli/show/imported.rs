//! What an import did with each partition: a table, all reasons below it, and the commands for what
//! was left alone.

use std::fmt::Write;

use comfy_table::{Cell, Color};
use indicatif::HumanCount;

use super::parts::{bytes, count, marked, table};
use crate::{
    cli::console::Look,
    import::{Imported, Outcome},
};

/// Partitions whose commands are printed; of more, the number is told.
const FEW: usize = 3;

/// The closing text of an import.
pub(crate) fn imported(all: &[Imported], dry_run: bool, look: Look) -> String {
    if all.is_empty() {
        return "nothing to import: there is no partition\n".to_owned();
    }
    let mut text = String::new();
    let (resting, told): (Vec<_>, Vec<_>) =
        all.iter().partition(|one| one.outcome == Outcome::UpToDate);
    if !told.is_empty() {
        let columns = [
            ("partition", false),
            ("result", false),
            ("rows", true),
            ("bytes", true),
        ];
        let lines = told.iter().map(|one| {
            vec![
                Cell::new(name(one)),
                result(one.outcome),
                Cell::new(HumanCount(one.rows)),
                Cell::new(bytes(one.bytes)),
            ]
        });
        text = table(&columns, lines, look);
    }
    for one in &told {
        for reason in &one.reasons {
            let _ = writeln!(text, "{}: {reason}", name(one));
        }
    }
    let mendable: Vec<_> = told.iter().filter(|one| !one.mend.is_empty()).collect();
    for one in mendable.iter().take(FEW) {
        let _ = writeln!(text, "to have the rows of {} compacted:", one.partition);
        for line in &one.mend {
            let _ = writeln!(text, "    {line}");
        }
    }
    if mendable.len() > FEW {
        let more = count(mendable.len() - FEW, "partition");
        let _ = writeln!(
            text,
            "likewise for {more} more; --format json prints the commands of each"
        );
    }
    if !resting.is_empty() {
        let _ = writeln!(
            text,
            "nothing to do for {}: a receipt is there",
            count(resting.len(), "partition")
        );
    }
    let parts = Outcome::ALL.iter().filter_map(|outcome| {
        let number = all.iter().filter(|one| one.outcome == *outcome).count();
        (number > 0).then(|| format!("{} {}", HumanCount(number as u64), outcome.word()))
    });
    let parts: Vec<String> = parts.collect();
    let end = if dry_run {
        "; a dry run changes nothing"
    } else {
        ""
    };
    let _ = writeln!(
        text,
        "{}: {}{end}",
        count(all.len(), "partition"),
        parts.join(", ")
    );
    text
}

/// The partition, and how many raw files of it these are.
fn name(one: &Imported) -> String {
    one.raw_files.map_or_else(
        || one.partition.to_string(),
        |files| format!("{} ({})", one.partition, count(files, "raw file")),
    )
}

fn result(outcome: Outcome) -> Cell {
    match outcome {
        Outcome::Adopted
        | Outcome::Adoptable
        | Outcome::Completed
        | Outcome::Rewritten
        | Outcome::Rewritable
        | Outcome::UpToDate => marked(outcome.word(), Color::Green),
        Outcome::LostRace => marked(outcome.word(), Color::Yellow),
        Outcome::Unfit
        | Outcome::Refused
        | Outcome::Damaged
        | Outcome::Failed
        | Outcome::Unknown => marked(&outcome.word().to_uppercase(), Color::Red),
    }
}
