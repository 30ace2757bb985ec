//! The settings for a person: name, value and origin.

use comfy_table::Cell;

use super::parts::table;
use crate::cli::{console::Look, shown::Shown};

/// A line for each setting.
pub(crate) fn settings(all: &[Shown], look: Look) -> String {
    let row = |one: &Shown| {
        vec![
            Cell::new(&one.setting),
            Cell::new(one.value.as_deref().unwrap_or("-")),
            Cell::new(&one.from),
        ]
    };
    table(
        &[("setting", false), ("value", false), ("from", false)],
        all.iter().map(row),
        look,
    )
}
