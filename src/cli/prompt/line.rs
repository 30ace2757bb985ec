//! What a line at the prompt asks for: statements, or a command that begins with a backslash. Pure.

use std::path::PathBuf;

use crate::{
    cli::args::OutputFormat,
    error::{Error, Result},
    query::split,
};

/// What `\?` prints.
pub(super) const HELP: &str = "\
Statements end with a semicolon and may have several lines.
  \\d              the tables
  \\d TABLE        the columns of a table, such as archive.bbo
  \\format FORM    table, csv, json or ndjson
  \\x [on|off]     one column a line, for rows that are wider than the screen
  \\i FILE         runs the statements of a file
  \\timing         whether to tell how long a statement took
  \\?              this text
  \\q              ends; so does Ctrl-D
Ctrl-C stops the statement that runs, or clears the line. Tab completes tables, columns and words of SQL.";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// These statements, in turn.
    Run(Vec<String>),
    /// All tables.
    Tables,
    /// The columns of this table.
    Columns(String),
    /// Another form of results.
    Format(OutputFormat),
    /// The statements of this file.
    File(PathBuf),
    /// Tell, or tell no more, how long statements take.
    Timing,
    /// One column a line, or no more; the other of the two where none is named.
    Expanded(Option<bool>),
    Help,
    End,
}

/// Whether what was typed so far can be run: a command is one line, statements end with a
/// semicolon.
pub(super) fn is_complete(text: &str) -> bool {
    let text = text.trim();
    text.starts_with('\\') || word(text).is_some() || split(text).rest.is_empty()
}

/// What is understood without a backslash, as people type it who know other prompts.
fn word(text: &str) -> Option<Asked> {
    match text
        .trim_end_matches(';')
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "exit" | "quit" => Some(Asked::End),
        "help" => Some(Asked::Help),
        _ => None,
    }
}

/// What `text` asks for.
///
/// # Errors
/// When there is no such command, or it lacks something.
pub(super) fn asked(text: &str) -> Result<Asked> {
    let text = text.trim();
    if let Some(asked) = word(text) {
        return Ok(asked);
    }
    let Some(command) = text.strip_prefix('\\') else {
        return Ok(Asked::Run(split(text).all()));
    };
    let command = command.trim_end_matches(';').trim();
    let (name, rest) = command
        .split_once(char::is_whitespace)
        .unwrap_or((command, ""));
    let rest = rest.trim();
    match (name, rest) {
        ("d" | "dt", "") => Ok(Asked::Tables),
        ("d", table) => Ok(Asked::Columns(table.to_owned())),
        ("format", form) => match <OutputFormat as clap::ValueEnum>::from_str(form, true) {
            Ok(form) if form != OutputFormat::Parquet => Ok(Asked::Format(form)),
            _ => Err(Error::usage("write \\format table, csv, json or ndjson")),
        },
        ("i", "") => Err(Error::usage(
            "write the file after it, as in \\i report.sql",
        )),
        ("i", file) => Ok(Asked::File(PathBuf::from(file))),
        ("timing", "") => Ok(Asked::Timing),
        ("x", "") => Ok(Asked::Expanded(None)),
        ("x", "on") => Ok(Asked::Expanded(Some(true))),
        ("x", "off") => Ok(Asked::Expanded(Some(false))),
        ("x", _) => Err(Error::usage("write \\x, \\x on or \\x off")),
        ("?" | "h" | "help", _) => Ok(Asked::Help),
        ("q", "") => Ok(Asked::End),
        _ => Err(Error::usage(format!(
            "there is no command \\{command}: \\? lists them"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        let check = |text: &str, want: Asked| assert_eq!(asked(text).unwrap(), want, "{text}");
        check(
            "SELECT 1; SELECT 2",
            Asked::Run(vec!["SELECT 1".to_owned(), "SELECT 2".to_owned()]),
        );
        check("  ", Asked::Run(Vec::new()));
        check("\\d", Asked::Tables);
        check("\\d archive.bbo;", Asked::Columns("archive.bbo".to_owned()));
        check("\\format CSV", Asked::Format(OutputFormat::Csv));
        check("\\i a b.sql", Asked::File("a b.sql".into()));
        check("\\timing", Asked::Timing);
        check("\\x", Asked::Expanded(None));
        check("\\x on;", Asked::Expanded(Some(true)));
        check("\\x off", Asked::Expanded(Some(false)));
        check("help", Asked::Help);
        check("exit;", Asked::End);
        check("\\q", Asked::End);
        for text in [
            "\\y",
            "\\x yes",
            "\\format parquet",
            "\\format",
            "\\i",
            "\\q now",
        ] {
            assert!(asked(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_line_is_complete_when_it_can_be_run() {
        for text in [
            "",
            "\\d",
            "\\format",
            "quit",
            "SELECT 1;",
            "-- nothing",
            "SELECT ';';",
        ] {
            assert!(is_complete(text), "{text}");
        }
        for text in ["SELECT 1", "SELECT ';", "SELECT 1; SELECT 2", "/* "] {
            assert!(!is_complete(text), "{text}");
        }
    }
}
