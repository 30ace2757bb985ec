//! How days stand to what the venue published: a table, below it the stretches that are not equal,
//! the holes, and what was taken.

use std::fmt::Write;

use chrono::DateTime;
use comfy_table::{Cell, Color};
use indicatif::HumanCount;

use super::parts::{FEW, count, marked, rows, short, table};
use crate::{
    cli::console::Look,
    model::reconcile::{
        HoleCounts, HoleRecord, HoleState, MinuteDifference, MinuteState, ReconcilePass,
        ReconcileRecord, ReconcileSummary, ReconcileVerdict,
    },
};

/// The closing text of a reconciliation.
pub(crate) fn reconciled(all: &[ReconcileRecord], look: Look) -> String {
    let columns = [
        ("partition", false),
        ("result", false),
        ("compared", false),
        ("ours", true),
        ("theirs", true),
        ("equal", true),
        ("differ", true),
        ("only ours", true),
        ("only theirs", true),
    ];
    let number = |value: u64| Cell::new(HumanCount(value));
    let lines = all.iter().map(|one| {
        vec![
            Cell::new(&one.partition),
            result(one.verdict),
            Cell::new(match one.pass {
                Some(ReconcilePass::Rows) => "rows",
                Some(ReconcilePass::Minutes) => "minutes",
                None => "",
            }),
            number(one.ours),
            number(one.theirs),
            number(one.equal),
            number(one.differ),
            number(one.only_ours),
            number(one.only_theirs),
        ]
    });
    let mut text = table(&columns, lines, look);
    for one in all {
        below(&mut text, one);
    }
    summary(&mut text, all);
    text
}

fn result(verdict: ReconcileVerdict) -> Cell {
    match verdict {
        ReconcileVerdict::Equal => marked("equal", Color::Green),
        ReconcileVerdict::Differs => marked("DIFFERS", Color::Red),
        ReconcileVerdict::NotProven => marked("not proven", Color::Yellow),
        ReconcileVerdict::NotCompared => marked("NOT COMPARED", Color::Red),
    }
}

/// What stands below the table of one day.
fn below(text: &mut String, one: &ReconcileRecord) {
    let name = &one.partition;
    if !one.message.is_empty() {
        let _ = writeln!(text, "{name}: {}", one.message);
    }
    for file in &one.files {
        let checksum = match file.checksum.as_str() {
            "right" => "CHECKSUM right",
            "wrong" => "CHECKSUM WRONG",
            _ => "no CHECKSUM",
        };
        let whole = if file.complete {
            ""
        } else {
            ", damaged or cut off"
        };
        let mut odd = String::new();
        for (number, what) in [
            (file.repeated, "repeated"),
            (file.conflicting, "contradicting one another"),
            (file.rejected, "rejected"),
        ] {
            if number > 0 {
                let _ = write!(odd, ", {number} {what}");
            }
        }
        let _ = writeln!(
            text,
            "{name}: {} (sha256 {}, {checksum}{whole}): {}{odd}",
            file.name,
            short(&file.sha256),
            rows(file.rows)
        );
        for fault in file.faults.iter().take(FEW) {
            let _ = writeln!(text, "{name}: {}: {fault}", file.name);
        }
    }
    if !one.columns.is_empty() {
        let all: Vec<String> = one
            .columns
            .iter()
            .map(|(column, number)| format!("{column} {number}"))
            .collect();
        let _ = writeln!(text, "{name}: other values: {}", all.join(", "));
    }
    stretches(text, one);
    holes(text, one);
    if one.waiting > 0 {
        let _ = writeln!(
            text,
            "{name}: {} of them lie in the spool already; the next qlc compact merges them",
            rows(one.waiting)
        );
    }
    if let Some(taken) = &one.taken {
        let what = if taken.was_there {
            "there already, nothing is taken twice"
        } else {
            "taken into the spool; the next qlc compact merges them"
        };
        let _ = writeln!(text, "{name}: {} {what}: {}", rows(taken.rows), taken.file);
    }
    if let Some(why) = &one.not_taken {
        let _ = writeln!(text, "{name}: {why}");
    }
}

/// Minutes side by side that differ in the same way.
fn stretches(text: &mut String, one: &ReconcileRecord) {
    let mut all: Vec<(&MinuteDifference, &MinuteDifference, u64)> = Vec::new();
    for minute in &one.minutes {
        let rows = minute.differ + minute.only_ours + minute.only_theirs;
        match all.last_mut() {
            Some((_, last, sum)) if last.state == minute.state && follows(last, minute) => {
                *last = minute;
                *sum += rows;
            }
            _ => all.push((minute, minute, rows)),
        }
    }
    for (first, last, sum) in all.iter().take(FEW) {
        let when = if first.minute == last.minute {
            first.minute.clone()
        } else {
            format!("{} to {}", first.minute, last.minute)
        };
        let what = match first.state {
            MinuteState::Differ => "differ",
            MinuteState::OnlyOurs => "only ours",
            MinuteState::OnlyTheirs => "only theirs",
        };
        let number = if one.pass == Some(ReconcilePass::Minutes) {
            count(usize::try_from(*sum).unwrap_or(usize::MAX), "minute")
        } else {
            rows(*sum)
        };
        let _ = writeln!(text, "{}: {when} {what}: {number}", one.partition);
    }
    if all.len() > FEW {
        let _ = writeln!(
            text,
            "{}: … and {} more stretches of minutes; --format json lists all",
            one.partition,
            all.len() - FEW
        );
    }
}

/// Whether the one minute follows the other.
fn follows(last: &MinuteDifference, next: &MinuteDifference) -> bool {
    let number = |minute: &MinuteDifference| {
        let (hours, minutes) = minute.minute.split_once(':')?;
        Some(hours.parse::<u32>().ok()? * 60 + minutes.parse::<u32>().ok()?)
    };
    number(last)
        .zip(number(next))
        .is_some_and(|(last, next)| last + 1 == next)
}

fn holes(text: &mut String, one: &ReconcileRecord) {
    let mut counts: HoleCounts = one.hole_counts;
    for state in HoleState::ALL {
        let number = *counts.of(state);
        if number == 0 {
            continue;
        }
        let mut told: Vec<&HoleRecord> = one
            .holes
            .iter()
            .filter(|hole| hole.state == state)
            .collect();
        told.sort_by_key(|hole| std::cmp::Reverse(hole.rows));
        told.truncate(FEW);
        told.sort_by_key(|hole| hole.from_ns);
        for hole in &told {
            let numbers = match (hole.from_id, hole.to_id) {
                (Some(from), Some(to)) if from == to => format!("number {from}, "),
                (Some(from), Some(to)) => format!("numbers {from} to {to}, "),
                _ => String::new(),
            };
            let unit = match state {
                HoleState::Open | HoleState::Recovered => rows(hole.rows),
                _ => count(usize::try_from(hole.rows).unwrap_or(usize::MAX), "number"),
            };
            let _ = writeln!(
                text,
                "{}: hole, {}: {numbers}{} to {}, {unit}",
                one.partition,
                state.words(),
                time(hole.from_ns),
                time(hole.to_ns)
            );
        }
        let listed = told.len() as u64;
        if number > listed {
            let more = HumanCount(number - listed);
            let _ = writeln!(
                text,
                "{}: … and {more} smaller ones, {}",
                one.partition,
                state.words()
            );
        }
    }
}

fn time(ns: i64) -> String {
    DateTime::from_timestamp_nanos(ns)
        .format("%H:%M:%S%.3f")
        .to_string()
}

fn summary(text: &mut String, all: &[ReconcileRecord]) {
    let parts = by_verdict(all.iter().map(|one| one.verdict));
    let _ = writeln!(
        text,
        "{}: {}",
        count(all.len(), "comparison"),
        parts.join(", ")
    );
}

/// How the days stood to what the exchange published when that was last looked at, for a look at
/// all days: those that were not equal one by one.
pub(crate) fn compared(all: &[ReconcileSummary]) -> String {
    let mut text = String::new();
    if all.is_empty() {
        return text;
    }
    let unequal: Vec<&ReconcileSummary> = all
        .iter()
        .filter(|one| one.verdict != ReconcileVerdict::Equal)
        .collect();
    for one in unequal.iter().take(FEW) {
        let what = match one.pass {
            Some(ReconcilePass::Rows) => unequal_in("rows", one),
            Some(ReconcilePass::Minutes) => unequal_in("minutes", one),
            None => String::new(),
        };
        let what = [what.as_str(), one.message.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
        let _ = writeln!(
            text,
            "{} was compared with what the exchange published at {}: {}; {what}",
            one.partition,
            one.at,
            one.verdict.word().replace('-', " "),
        );
    }
    if unequal.len() > FEW {
        let more = count(unequal.len() - FEW, "more such comparison");
        let _ = writeln!(text, "{more}; archive.reconcile has all");
    }
    let verdicts = all.iter().map(|one| one.verdict);
    let sum = |of: fn(&ReconcileSummary) -> u64| all.iter().map(of).sum::<u64>();
    let mut parts = by_verdict(verdicts);
    for (number, what) in [
        (sum(|one| one.recovered), "recovered from its files"),
        (
            sum(|one| one.taken + one.waiting),
            "waiting in the spool at that time",
        ),
    ] {
        if number > 0 {
            parts.push(format!("{} {what}", rows(number)));
        }
    }
    let _ = writeln!(
        text,
        "compared with what the exchange published: {}",
        parts.join(", ")
    );
    text
}

/// In what a day is not equal.
fn unequal_in(unit: &str, one: &ReconcileSummary) -> String {
    let mut text = format!(
        "{unit}: {} differ, {} only ours, {} only theirs",
        HumanCount(one.differ),
        HumanCount(one.only_ours),
        HumanCount(one.only_theirs)
    );
    let mut counts = one.holes;
    let holes: Vec<String> = HoleState::ALL
        .into_iter()
        .filter_map(|state| {
            let number = *counts.of(state);
            (number > 0).then(|| format!("{} {}", HumanCount(number), state.words()))
        })
        .collect();
    if !holes.is_empty() {
        let _ = write!(text, "; holes: {}", holes.join(", "));
    }
    for (number, what) in [(one.waiting, "waiting in the spool"), (one.taken, "taken")] {
        if number > 0 {
            let _ = write!(text, "; {} {what}", rows(number));
        }
    }
    text
}

/// How many comparisons came to each verdict, in words.
fn by_verdict(all: impl Iterator<Item = ReconcileVerdict>) -> Vec<String> {
    let all: Vec<ReconcileVerdict> = all.collect();
    let verdicts = [
        ReconcileVerdict::Equal,
        ReconcileVerdict::Differs,
        ReconcileVerdict::NotProven,
        ReconcileVerdict::NotCompared,
    ];
    verdicts
        .iter()
        .filter_map(|verdict| {
            let number = all.iter().filter(|one| *one == verdict).count();
            let word = verdict.word().replace('-', " ");
            (number > 0).then(|| format!("{number} {word}"))
        })
        .collect()
}
