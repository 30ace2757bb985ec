//! The findings of a verification, or a table of every partition as well, and a line that sums up.

use std::fmt::Write;

use comfy_table::{Cell, Color};
use serde::Serialize;

use super::parts::{bytes, count, marked, rows, table};
use crate::{cli::console::Look, model::partition::Partition};

/// A verified partition. This is the object that `--format json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Checked {
    #[serde(flatten)]
    pub(crate) partition: Partition,
    /// Whether nothing is wrong with it.
    pub(crate) sound: bool,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// Everything that is wrong with it.
    pub(crate) findings: Vec<String>,
}

/// What is in no partition, and should not be in an archive. This is the object that `--format
/// json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Misplaced {
    pub(crate) place: String,
    /// False: so that whoever asks every object finds it.
    pub(crate) sound: bool,
    /// What is wrong with it.
    pub(crate) findings: [String; 1],
}

/// The closing text of a verification: every finding, below a table of all partitions if that is
/// wanted.
pub(crate) fn verified(
    all: &[Checked],
    misplaced: &[Misplaced],
    look: Look,
    lists_all: bool,
) -> String {
    if all.is_empty() && misplaced.is_empty() {
        return "nothing to verify: the archive holds no such partition\n".to_owned();
    }
    let mut text = if lists_all {
        every(all, look)
    } else {
        String::new()
    };
    for one in misplaced {
        let [finding] = &one.findings;
        let _ = writeln!(text, "{}: {finding}", one.place);
    }
    let mut findings = 0;
    for one in all {
        for finding in &one.findings {
            let _ = writeln!(text, "{}: {finding}", one.partition);
            findings += 1;
        }
    }
    let damaged = all.iter().filter(|one| !one.sound).count();
    let _ = match damaged {
        0 => write!(
            text,
            "{} sound; {}, {}",
            count(all.len(), "partition"),
            rows(all.iter().map(|one| one.rows).sum()),
            bytes(all.iter().map(|one| one.bytes).sum())
        ),
        _ => write!(
            text,
            "{damaged} of {} damaged; {}",
            count(all.len(), "partition"),
            count(findings, "finding")
        ),
    };
    if !misplaced.is_empty() {
        let _ = write!(
            text,
            "; {} outside of partitions",
            count(misplaced.len(), "finding")
        );
    }
    text.push('\n');
    text
}

fn every(all: &[Checked], look: Look) -> String {
    let columns = [
        ("partition", false),
        ("result", false),
        ("rows", true),
        ("bytes", true),
        ("seconds", true),
    ];
    let lines = all.iter().map(|one| {
        vec![
            Cell::new(&one.partition),
            if one.sound {
                marked("sound", Color::Green)
            } else {
                marked("DAMAGED", Color::Red)
            },
            Cell::new(indicatif::HumanCount(one.rows)),
            Cell::new(bytes(one.bytes)),
            Cell::new(format!("{:.1}", one.seconds)),
        ]
    });
    table(&columns, lines, look)
}
