//! The parts that all texts are made of: counts, sizes, tables, groups of lines.

use std::{collections::HashMap, hash::Hash};

use comfy_table::{
    Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, presets,
};

pub(crate) use crate::model::count::{plural as count, rows};
use crate::{cli::console::Look, model::size};

/// Lines of one kind that are printed one by one; of more, the number is told.
pub(super) const FEW: usize = 5;

/// `1.23 MB`
pub(crate) fn bytes(bytes: u64) -> String {
    size::show(bytes)
}

/// The beginning of a sha256: enough to tell objects apart by eye.
pub(super) fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

/// A column: its header, and whether it holds numbers.
pub(super) type Column = (&'static str, bool);

/// A table without lines. The first column gives way when the terminal is narrow, all others keep
/// their width.
pub(super) fn table(
    columns: &[Column],
    rows: impl IntoIterator<Item = Vec<Cell>>,
    look: Look,
) -> String {
    let mut table = Table::new();
    let _ = table.load_preset(presets::NOTHING).force_no_tty();
    let _ = table.set_header(columns.iter().map(|(name, _)| Cell::new(name)));
    let _ = table.add_rows(rows);
    if look.colour {
        let _ = table.enforce_styling();
    }
    if let Some(width) = look.width {
        let _ = table
            .set_width(width)
            .set_content_arrangement(ContentArrangement::Dynamic);
    }
    for (index, (column, (_, number))) in table.column_iter_mut().zip(columns).enumerate() {
        if *number {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if index > 0 {
            let _ = column.set_constraint(ColumnConstraint::ContentWidth);
        }
        let _ = column.set_padding((0, 2));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// A cell that stands out, where colours are wanted.
pub(super) fn marked(text: &str, colour: Color) -> Cell {
    Cell::new(text).fg(colour)
}

/// Values that have the same text, with that text, in the order of the first of each.
pub(super) fn grouped<T, K: Hash + Eq>(
    values: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> Vec<(K, Vec<T>)> {
    let mut groups: HashMap<K, (usize, Vec<T>)> = HashMap::new();
    for value in values {
        let nth = groups.len();
        let (_, group) = groups.entry(key(&value)).or_insert((nth, Vec::new()));
        group.push(value);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (nth, _))| *nth);
    let groups = groups.into_iter().map(|(key, (_, group))| (key, group));
    groups.collect()
}

/// `nothing to do for …, because …`: a line each where they are few, else a line per reason.
pub(super) fn idle<T: std::fmt::Display>(idle: Vec<(T, String)>) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    if idle.len() <= FEW {
        for (partition, reason) in idle {
            let _ = writeln!(text, "nothing to do for {partition}, because {reason}");
        }
        return text;
    }
    let mut groups = grouped(idle, |(_, reason)| reason.clone());
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.len()));
    let rest: usize = groups.iter().skip(FEW).map(|(_, group)| group.len()).sum();
    for (reason, group) in groups.iter().take(FEW) {
        match group.as_slice() {
            [(partition, _)] => {
                let _ = writeln!(text, "nothing to do for {partition}, because {reason}");
            }
            _ => {
                let _ = writeln!(
                    text,
                    "nothing to do for {}, because {reason}",
                    count(group.len(), "partition")
                );
            }
        }
    }
    if rest > 0 {
        let _ = writeln!(
            text,
            "nothing to do for {} more; --format json says why for each",
            count(rest, "partition")
        );
    }
    text
}
