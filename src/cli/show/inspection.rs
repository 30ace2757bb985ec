//! The report about one Parquet file.

use std::fmt::Write;

use comfy_table::Cell;

use super::parts::{bytes, count, rows, table};
use crate::{cli::console::Look, inspect::FileInspection, model::plain::line};

/// The text of one inspected file.
pub(crate) fn inspection(file: &FileInspection, look: Look) -> String {
    let mut facts = vec![
        (
            "size",
            format!("{} ({} bytes)", bytes(file.bytes), file.bytes),
        ),
        (
            "rows",
            format!(
                "{} in {}",
                rows(file.rows),
                count(file.row_groups, "row group")
            ),
        ),
    ];
    if let Some(writer) = &file.created_by {
        facts.push(("written by", line(writer).into_owned()));
    }
    if let (Some(min), Some(max)) = (&file.ts_event_min, &file.ts_event_max) {
        facts.push(("ts_event", format!("{min} to {max}")));
    }
    if let Some(unit) = &file.unit {
        facts.push(("unit", unit.clone()));
    }
    facts.push(("order", order(file).to_owned()));
    if let Some(hash) = &file.row_hash {
        facts.push((
            "row hash",
            format!(
                "{hash} ({})",
                footer(hash, file.row_hash_in_footer.as_deref())
            ),
        ));
    }
    let mut text = format!("{}\n", line(&file.path));
    for (name, fact) in facts {
        let _ = writeln!(text, "  {name:<11} {fact}");
    }
    if !file.columns.is_empty() {
        let columns = [
            ("column", false),
            ("type", false),
            ("compression", false),
            ("encodings", false),
        ];
        let lines = file.columns.iter().map(|column| {
            let texts = [
                &column.name,
                &column.physical_type,
                &column.compression,
                &column.encodings,
            ];
            texts.map(|text| Cell::new(line(text))).to_vec()
        });
        for row in table(
            &columns,
            lines,
            Look {
                width: None,
                ..look
            },
        )
        .lines()
        {
            let _ = writeln!(text, "  {row}");
        }
    }
    match file.findings.as_slice() {
        [] => text.push_str("  nothing is wrong with it\n"),
        findings => {
            let _ = writeln!(text, "  {}:", count(findings.len(), "finding"));
            for finding in findings {
                let _ = writeln!(text, "  - {}", line(finding));
            }
        }
    }
    text
}

fn order(file: &FileInspection) -> &'static str {
    if file.row_hash.is_none() {
        return "unknown, because the rows do not read";
    }
    match (file.ordered, file.order_declared) {
        (true, true) => "ascending, as the footer says",
        (true, false) => "ascending; the footer says nothing of it",
        (false, true) => "NOT ascending, although the footer says so",
        (false, false) => "not ascending; the footer does not say so either",
    }
}

fn footer(found: &str, said: Option<&str>) -> String {
    match said {
        None => "the footer has none".to_owned(),
        Some(said) if said == found => "as the footer says".to_owned(),
        Some(said) => format!("the footer says {said}"),
    }
}
