//! The two output streams: stdout for results, stderr for progress, log and errors.
//!
//! Names and messages come from elsewhere, so control characters are escaped here, on their way out
//! ([`plain`]). While progress bars are drawn on a terminal, every other line goes through here, so
//! that neither corrupts the other. A closed pipe is not an error: `qlc … | head` ends well.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Stdout, Write};

use indicatif::{MultiProgress, ProgressDrawTarget};

use super::args::Format;
use crate::{
    error::{Error, Result},
    model::plain::{coloured, plain},
};

/// Where lines for a person go while a command runs; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    bars: MultiProgress,
    /// Neither bars nor progress lines are wanted.
    quiet: bool,
    /// Every partition is listed, not only those that were not plain.
    lists_all: bool,
}

impl Console {
    /// A console with bars if stderr is a terminal and progress is wanted.
    pub(crate) fn new(quiet: bool, lists_all: bool) -> Self {
        let drawn = !quiet && io::stderr().is_terminal() && !is_dumb();
        let target = if drawn {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            quiet,
            lists_all,
        }
    }

    /// The place for bars; `None` where none can stand.
    pub(crate) fn bars(&self) -> Option<&MultiProgress> {
        (!self.bars.is_hidden()).then_some(&self.bars)
    }

    /// Whether every partition is listed at the end.
    pub(crate) fn lists_all(&self) -> bool {
        self.lists_all
    }

    /// Writes a line to stderr.
    pub(crate) fn line(&self, text: &str) {
        self.write(format!("{}\n", plain(text)).as_bytes());
    }

    /// Writes a line of progress to stderr, where no bars show it and it is wanted.
    pub(crate) fn progress_line(&self, text: &str) {
        if !self.quiet && self.bars().is_none() {
            self.line(text);
        }
    }

    /// Writes whole lines to stderr above the bars. When stderr itself is gone, there is nobody
    /// left to tell.
    pub(crate) fn write(&self, lines: &[u8]) {
        let _ = self.bars.suspend(|| io::stderr().write_all(lines));
    }

    /// Stdout, for results.
    pub(crate) fn out(&self) -> Out {
        Out {
            console: self.clone(),
            to: BufWriter::new(io::stdout()),
            trouble: None,
        }
    }
}

/// Stdout. The first failed write is remembered and ends the output; [`Out::finish`] tells of it.
#[derive(Debug)]
pub(crate) struct Out {
    console: Console,
    to: BufWriter<Stdout>,
    trouble: Option<io::Error>,
}

impl Out {
    /// Writes lines and lets them appear at once.
    pub(crate) fn lines(&mut self, text: &str) {
        if self.trouble.is_none() && !text.is_empty() {
            // Where no colours are wanted there are none, so every escape is somebody else's.
            let text = if Look::of_stdout().colour {
                coloured(text)
            } else {
                plain(text)
            };
            let bars = self.console.bars.clone();
            let _ = bars.suspend(|| {
                self.write_all(text.as_bytes())?;
                if !text.ends_with('\n') {
                    self.write_all(b"\n")?;
                }
                self.flush()
            });
        }
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// When the value cannot be put in JSON, which is a defect.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) -> Result<()> {
        let line = serde_json::to_string(value).map_err(|e| {
            Error::caused(
                crate::error::Kind::Internal,
                "a result cannot be put in JSON",
                e,
            )
        })?;
        self.lines(&within_json(line));
        Ok(())
    }

    /// Writes what came of a command: for a person as `text` says it, for a program one line of
    /// JSON for each.
    ///
    /// # Errors
    /// As [`Self::json`].
    pub(crate) fn list<T: serde::Serialize>(
        &mut self,
        format: Format,
        all: &[T],
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        match format {
            Format::Text => self.lines(&text()),
            Format::Json => {
                for one in all {
                    self.json(one)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the reader of stdout has gone, which is its good right.
    pub(crate) fn is_closed(&self) -> bool {
        self.trouble
            .as_ref()
            .is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
    }

    /// Lets everything appear that was written.
    ///
    /// # Errors
    /// When stdout could not be written for another reason than a reader that has gone.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.trouble.is_none() {
            let _ = self.flush();
        }
        match self.trouble.take() {
            Some(trouble) if trouble.kind() != ErrorKind::BrokenPipe => Err(unwritten(trouble)),
            _ => Ok(()),
        }
    }

    fn noted<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|e| {
            if e.kind() != ErrorKind::Interrupted && self.trouble.is_none() {
                let same = e.raw_os_error().map(io::Error::from_raw_os_error);
                self.trouble = Some(same.unwrap_or_else(|| e.kind().into()));
            }
        })
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.to.write(bytes);
        self.noted(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.to.flush();
        self.noted(result)
    }
}

/// JSON may hold these as they are, but a terminal obeys some of them; they occur within texts
/// only.
fn within_json(line: String) -> String {
    let odd = |c: char| ('\u{7f}'..='\u{9f}').contains(&c);
    if !line.contains(odd) {
        return line;
    }
    let escaped = |c: char| {
        if odd(c) {
            format!("\\u{:04x}", u32::from(c))
        } else {
            c.to_string()
        }
    };
    line.chars().map(escaped).collect()
}

/// The error of a stdout that cannot be written.
pub(crate) fn unwritten(error: io::Error) -> Error {
    Error::io("stdout: the result cannot be written there", error)
}

/// How text on stdout may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Columns of the terminal; `None` where lines may have any length.
    pub(crate) width: Option<u16>,
    /// Whether colours are wanted. Nothing is told by colour alone.
    pub(crate) colour: bool,
}

impl Look {
    /// Of the stdout of this process.
    pub(crate) fn of_stdout() -> Self {
        Self {
            width: comfy_table::Table::new().width(),
            colour: io::stdout().is_terminal() && colour_is_welcome(),
        }
    }
}

/// Whether a terminal should get colours, by <https://no-color.org>.
pub(crate) fn colour_is_welcome() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && !is_dumb()
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

#[cfg(test)]
mod tests {
    use super::within_json;

    #[test]
    fn json_stays_json_and_moves_no_terminal() {
        let odd = "a\u{9b}31m\u{7f}é";
        let line = within_json(serde_json::to_string(odd).unwrap());
        assert_eq!(line, "\"a\\u009b31m\\u007fé\"");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), odd);
    }
}
