//! Coverage as a calendar: a sign for each day of a series, and below it what is not complete, why,
//! and the command that fixes it.

use std::fmt::Write;

use super::parts::count;
use crate::{
    cli::console::Look,
    model::{
        coverage::{Cell, Coverage, DayState, command, spans},
        date::Date,
        partition::Series,
    },
};

/// Lines of partitions that are not complete, at most; a calendar says the same, and JSON says it
/// all.
const LINES: usize = 40;

/// The sign of a state, and the colour that goes with it.
fn sign(state: DayState) -> (char, &'static str) {
    match state {
        DayState::Complete => ('■', "32"),
        DayState::Gaps => ('▤', "33"),
        DayState::Quarantined => ('Q', "35"),
        DayState::NewFiles => ('+', "36"),
        DayState::Pending => ('◌', "34"),
        DayState::Missing => ('×', "31"),
        DayState::Unproven => ('!', "31;1"),
    }
}

fn painted(state: DayState, text: &str, look: Look) -> String {
    let (_, colour) = sign(state);
    if look.colour {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// The calendar of a range, and what is not complete in it.
pub(crate) fn coverage(coverage: &Coverage, look: Look) -> String {
    let mut text = String::new();
    calendar(&mut text, coverage, look);
    not_complete(&mut text, coverage, look);
    for (series, last) in &coverage.ended {
        let _ = writeln!(
            text,
            "{series} is left out: its last day was {last}; with --start it counts"
        );
    }
    if coverage.without_day > 0 {
        let files = count(
            usize::try_from(coverage.without_day).unwrap_or(usize::MAX),
            "file",
        );
        let rest = if coverage.without_day == 1 {
            "has no day in its name: a day that only this file has rows of is not counted"
        } else {
            "have no day in their names: days that only these files have rows of are not counted"
        };
        let _ = writeln!(text, "{files} of the spool {rest}");
    }
    text.push_str(&summary(coverage));
    text
}

fn summary(coverage: &Coverage) -> String {
    let Coverage {
        start, end, cells, ..
    } = coverage;
    if cells.is_empty() {
        return format!(
            "nothing is known of {start} to {end}: neither the archive nor the spool has a partition there\n"
        );
    }
    let complete = cells
        .iter()
        .filter(|cell| cell.state == DayState::Complete)
        .count();
    let all = count(cells.len(), "partition");
    let others = DayState::ALL
        .iter()
        .filter(|state| **state != DayState::Complete);
    let others: Vec<String> = others
        .filter_map(
            |state| match cells.iter().filter(|cell| cell.state == *state).count() {
                0 => None,
                n => Some(format!("{n} {}", with_number(*state))),
            },
        )
        .collect();
    let rest = if others.is_empty() {
        String::new()
    } else {
        format!("; {}", others.join(", "))
    };
    format!("{complete} of {all} complete from {start} to {end}{rest}\n")
}

/// The word for a state behind a number of partitions.
fn with_number(state: DayState) -> &'static str {
    match state {
        DayState::Gaps => "with gaps",
        DayState::NewFiles => "with new files",
        other => other.word(),
    }
}

fn calendar(text: &mut String, coverage: &Coverage, look: Look) {
    let mut months: Vec<(String, Vec<Date>)> = Vec::new();
    for day in coverage.start.through(coverage.end) {
        let month = day.iso().get(..7).unwrap_or_default().to_owned();
        match months.last_mut() {
            Some((last, days)) if *last == month => days.push(day),
            _ => months.push((month, vec![day])),
        }
    }
    let series: Vec<(&Series, &[Cell])> = coverage
        .cells
        .chunk_by(|a, b| a.partition.series == b.partition.series)
        .filter_map(|cells| Some((&cells.first()?.partition.series, cells)))
        .collect();
    let names = series
        .iter()
        .map(|(series, _)| series.to_string().len())
        .max()
        .unwrap_or_default()
        .max(7);
    for (month, days) in months {
        let rows: Vec<(&Series, Vec<Option<DayState>>)> = series
            .iter()
            .map(|(series, cells)| {
                let state = |day: &Date| {
                    cells
                        .iter()
                        .find(|c| c.partition.date == *day)
                        .map(|c| c.state)
                };
                (*series, days.iter().map(state).collect::<Vec<_>>())
            })
            .filter(|(_, states)| states.iter().any(Option::is_some))
            .collect();
        if rows.is_empty() {
            continue;
        }
        // Two columns a day where they fit: the signs are easier to count with room between them.
        let wide = look
            .width
            .is_none_or(|width| names + 2 + 3 * days.len() <= usize::from(width));
        let gap = if wide { " " } else { "" };
        let of_day = |day: &Date| day.iso().get(8..).unwrap_or_default().to_owned();
        if wide {
            let numbers: Vec<String> = days.iter().map(of_day).collect();
            let _ = writeln!(text, "{month:<names$}  {}", numbers.join(" "));
        } else {
            let digit = |at: usize| {
                days.iter()
                    .filter_map(|d| of_day(d).chars().nth(at))
                    .collect::<String>()
            };
            let _ = writeln!(
                text,
                "{month:<names$}  {}\n{:<names$}  {}",
                digit(0),
                "",
                digit(1)
            );
        }
        for (series, states) in rows {
            let signs: Vec<String> = states
                .into_iter()
                .map(|state| match state {
                    Some(state) if wide => painted(state, &format!(" {}", sign(state).0), look),
                    Some(state) => painted(state, &sign(state).0.to_string(), look),
                    None if wide => "  ".to_owned(),
                    None => " ".to_owned(),
                })
                .collect();
            let line = format!("{:<names$}  {}", series.to_string(), signs.join(gap));
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push('\n');
    }
    if !coverage.cells.is_empty() {
        let seen = DayState::ALL
            .iter()
            .filter(|state| coverage.cells.iter().any(|cell| cell.state == **state));
        let legend: Vec<String> = seen
            .map(|state| {
                format!(
                    "{} {}",
                    painted(*state, &sign(*state).0.to_string(), look),
                    state.word()
                )
            })
            .collect();
        let _ = writeln!(text, "{}\n", legend.join("   "));
    }
}

fn not_complete(text: &mut String, coverage: &Coverage, look: Look) {
    let spans = spans(&coverage.cells);
    let open: Vec<&[Cell]> = spans
        .into_iter()
        .filter(|span| {
            span.first()
                .is_some_and(|cell| cell.state != DayState::Complete)
        })
        .collect();
    for span in open.iter().take(LINES) {
        let (Some(first), Some(last)) = (span.first(), span.last()) else {
            continue;
        };
        let (series, from, to) = (
            &first.partition.series,
            first.partition.date,
            last.partition.date,
        );
        let days = if from == to {
            from.to_string()
        } else {
            format!("{from} to {to}")
        };
        let state = painted(first.state, first.state.word(), look);
        let _ = writeln!(
            text,
            "{state} {series} {days}: {}",
            first.reasons.join("; ")
        );
        if let Some(command) = command(first.state, series, from, to) {
            let when = if first.state == DayState::Missing {
                "  # once its files are in the spool"
            } else {
                ""
            };
            let _ = writeln!(text, "  {command}{when}");
        }
    }
    if open.len() > LINES {
        let _ = writeln!(
            text,
            "… and {} more; --format json lists all",
            open.len() - LINES
        );
    }
    if !open.is_empty() {
        text.push('\n');
    }
}
