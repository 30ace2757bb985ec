//! Input that is in no partition: files that belong nowhere, and folders that could not be listed.

use std::fmt::Write;

use super::parts::count;
use crate::compact::InputSummary;

/// Files that are named; of more, the number is told.
const FEW: usize = 20;

/// A line for each, nothing where all is well.
pub(crate) fn input(input: &InputSummary) -> String {
    let mut text = String::new();
    for folder in &input.unlisted {
        let _ = writeln!(text, "{}", folder.reason);
    }
    for one in input.pending.iter().take(FEW) {
        let _ = writeln!(text, "pending {}: {}", one.file, one.reason);
    }
    if input.pending.len() > FEW {
        let more = count(input.pending.len() - FEW, "more file");
        let _ = writeln!(text, "pending {more}; --format json names each");
    }
    for one in input.ignored.iter().take(FEW) {
        let _ = writeln!(text, "ignored {}: {}", one.file, one.reason);
    }
    if input.ignored.len() > FEW {
        let more = count(input.ignored.len() - FEW, "more file");
        let _ = writeln!(text, "ignored {more}; --format json names each");
    }
    if !input.ignored.is_empty() {
        let seen = count(
            usize::try_from(input.files).unwrap_or(usize::MAX),
            "Parquet file",
        );
        let _ = writeln!(
            text,
            "{seen} seen in the spool, {} of them ignored",
            indicatif::HumanCount(input.ignored.len() as u64)
        );
    }
    text
}
