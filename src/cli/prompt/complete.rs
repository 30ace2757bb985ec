//! Completion at the prompt: the helper of the line editor.
//!
//! It does not wait for names: until they are known, only the words of SQL are completed.

use std::sync::{Arc, PoisonError, RwLock};

use rustyline::{
    Context, Helper, completion::Completer, highlight::Highlighter, hint::Hinter,
    validate::Validator,
};

use crate::query::Names;

/// The words of SQL that are worth a Tab, and the functions of qlc.
const WORDS: [&str; 44] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "DISTINCT",
    "AS",
    "AND",
    "OR",
    "NOT",
    "NULL",
    "IS",
    "IN",
    "LIKE",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "USING",
    "UNION ALL",
    "WITH",
    "OVER",
    "PARTITION BY",
    "ASC",
    "DESC",
    "EXPLAIN",
    "EXPLAIN ANALYZE",
    "DESCRIBE",
    "count(",
    "sum(",
    "min(",
    "max(",
    "avg(",
    "to_time(",
    "to_ns(",
    "date_trunc(",
];
const FORMS: [&str; 4] = ["table", "csv", "json", "ndjson"];
const COMMANDS: [&str; 7] = ["\\d", "\\format", "\\i", "\\timing", "\\x", "\\?", "\\q"];

/// The names of tables and columns, once they are known; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<RwLock<Names>>);

impl Known {
    pub(super) fn set(&self, names: Names) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = names;
    }
}

/// The helper of the line editor.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) known: Known,
}

/// Where the word before `pos` begins, and what it can become.
fn candidates(line: &str, pos: usize, names: &Names) -> (usize, Vec<String>) {
    let before = line.get(..pos).unwrap_or(line);
    let part = |c: char| c.is_alphanumeric() || "_.\\".contains(c);
    let start = before
        .char_indices()
        .rev()
        .take_while(|(_, c)| part(*c))
        .last()
        .map_or(pos, |(at, _)| at);
    let word = before.get(start..).unwrap_or_default();
    let leading = before.get(..start).unwrap_or_default().trim_start();
    let begins = |candidate: &str| {
        candidate
            .get(..word.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(word))
            && candidate != word
    };
    let tables = || {
        names
            .keys()
            .map(String::as_str)
            .chain(names.keys().filter_map(|t| t.strip_prefix("archive.")))
    };
    let mut found: Vec<String> = if leading.is_empty() && word.starts_with('\\') {
        COMMANDS
            .iter()
            .copied()
            .filter(|c| begins(c))
            .map(str::to_owned)
            .collect()
    } else if leading.trim_end() == "\\format" {
        FORMS
            .iter()
            .copied()
            .filter(|f| begins(f))
            .map(str::to_owned)
            .collect()
    } else if leading.starts_with("\\d") {
        tables().filter(|t| begins(t)).map(str::to_owned).collect()
    } else if word.is_empty() {
        // Everything would be a list of pages.
        Vec::new()
    } else {
        // Words of SQL in the case that is typed.
        let lower = word.chars().all(|c| !c.is_uppercase());
        let cased = |w: &str| {
            if lower {
                w.to_lowercase()
            } else {
                w.to_owned()
            }
        };
        let columns = names.values().flatten().map(String::as_str);
        let named = tables()
            .chain(columns)
            .filter(|n| begins(n))
            .map(str::to_owned);
        named
            .chain(WORDS.iter().copied().filter(|w| begins(w)).map(cased))
            .collect()
    };
    found.sort();
    found.dedup();
    (start, found)
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(candidates(
            line,
            pos,
            &self.known.0.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

impl Validator for Completion {}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}

impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tables_and_columns_are_completed() {
        let columns = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let mut names = Names::new();
        let _ = names.insert(
            "archive.bbo".to_owned(),
            columns(&["ts_event", "bid_price"]),
        );
        let _ = names.insert("spool.bbo".to_owned(), columns(&["ts_event", "bid_price"]));
        let check = |line: &str, start: usize, want: &[&str]| {
            assert_eq!(
                candidates(line, line.len(), &names),
                (start, columns(want)),
                "{line}"
            );
        };
        check("SEL", 0, &["SELECT"]);
        check("sel", 0, &["select"]);
        check("SELECT bi", 7, &["bid_price"]);
        check("SELECT * FROM archive.", 14, &["archive.bbo"]);
        check("SELECT * FROM bb", 14, &["bbo"]);
        check(
            "\\",
            0,
            &["\\?", "\\d", "\\format", "\\i", "\\q", "\\timing", "\\x"],
        );
        check("\\d sp", 3, &["spool.bbo"]);
        check("\\format ", 8, &["csv", "json", "ndjson", "table"]);
        check("SELECT ", 7, &[]);
        check("SELECT é", 7, &[]);
    }
}
