//! What `doctor` found, for a person.

use std::fmt::Write;

use super::parts::count;
use crate::doctor::{Check, Level};

/// A line for each thing, with how to fix it below, and a last line with the sum.
pub(crate) fn checks(all: &[Check]) -> String {
    let mut text = String::new();
    for check in all {
        let level = match check.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "problem",
        };
        let _ = writeln!(text, "{level:<8} {}: {}", check.name, check.found);
        if let Some(mend) = &check.mend {
            let _ = writeln!(text, "         fix: {mend}");
        }
    }
    let number = |level| all.iter().filter(|check| check.level == level).count();
    let (problems, warnings) = (number(Level::Problem), number(Level::Warning));
    let _ = write!(
        text,
        "{}, {}",
        count(problems, "problem"),
        count(warnings, "warning")
    );
    text
}
