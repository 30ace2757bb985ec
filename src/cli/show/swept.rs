//! What a cleaning removed, or would remove.

use std::fmt::Write;

use comfy_table::Cell;

use super::parts::{bytes, count, grouped, table};
use crate::{
    clean::{Kind, Left, Swept},
    cli::console::Look,
    model::plain::line,
};

/// The closing text of a cleaning.
pub(crate) fn swept(all: &[Swept], look: Look) -> String {
    if all.is_empty() {
        return "nothing to clean: nothing was left over\n".to_owned();
    }
    let columns = [
        ("what", false),
        ("place", false),
        ("result", false),
        ("bytes", true),
    ];
    let lines = all.iter().map(|one| {
        vec![
            Cell::new(noun(one.kind)),
            Cell::new(line(&one.place)),
            Cell::new(result(one.left)),
            Cell::new(one.bytes.map_or_else(|| "-".to_owned(), bytes)),
        ]
    });
    let mut text = table(&columns, lines, look);
    for one in all
        .iter()
        .filter(|one| matches!(one.left, Left::Stays | Left::Failed))
    {
        let _ = writeln!(text, "{}: {}", line(&one.place), line(&one.why));
    }
    let groups = grouped(all, |one| (noun(one.kind), one.left));
    let groups: Vec<String> = groups
        .iter()
        .map(|((noun, left), group)| {
            let result = match left {
                Left::Stays if group.len() > 1 => "stay",
                left => result(*left),
            };
            format!("{} {result}", count(group.len(), noun))
        })
        .collect();
    let _ = writeln!(text, "{}", groups.join(", "));
    text
}

fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Receipt => "receipt",
        Kind::Temporary => "temporary file",
        Kind::Scratch => "scratch folder",
        Kind::Upload => "upload",
        Kind::Probe => "probe",
        Kind::Intent => "intent",
    }
}

fn result(left: Left) -> &'static str {
    match left {
        Left::Gone => "removed",
        Left::WouldGo => "would be removed",
        Left::Stays => "stays",
        Left::Failed => "NOT removed",
    }
}
