//! Where a result goes at the prompt: to the terminal while it fits on the screen, else through the
//! pager.
//!
//! Never more than a screen is held in memory: what follows is passed on as it comes.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::{Child, Command, Stdio},
};

/// The size of the terminal in characters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    pub(super) columns: u16,
    pub(super) rows: u16,
}

/// Takes a result and decides where it goes.
pub(super) struct Pager<'a> {
    /// The command, by `PAGER`; none where results are to stream.
    command: Option<OsString>,
    screen: Screen,
    /// The line that is being written, and how many lines of the screen stand before it.
    column: usize,
    lines: usize,
    out: &'a mut (dyn Write + Send),
    to: To,
}

enum To {
    /// Not decided yet: what was written as long as it fits on the screen.
    Held(Vec<u8>),
    /// The terminal.
    Plain,
    /// The pager.
    Piped(Child),
}

impl<'a> Pager<'a> {
    /// Results for `out`, a terminal with this screen. `wanted` is what `PAGER` says: nothing and
    /// `cat` want no pager.
    pub(super) fn new(
        out: &'a mut (dyn Write + Send),
        screen: Option<Screen>,
        wanted: Option<OsString>,
    ) -> Self {
        let wanted = wanted.unwrap_or_else(|| OsString::from("less"));
        let command = Some(wanted).filter(|command| !command.is_empty() && command != "cat");
        let to = if screen.is_some() && command.is_some() {
            To::Held(Vec::new())
        } else {
            To::Plain
        };
        Self {
            command,
            screen: screen.unwrap_or(Screen {
                columns: 0,
                rows: 0,
            }),
            column: 0,
            lines: 0,
            out,
            to,
        }
    }

    /// Whether the text so far, with the prompt below it, fits on the screen.
    fn fits(&mut self, bytes: &[u8]) -> bool {
        let columns = usize::from(self.screen.columns).max(1);
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.lines += 1;
                    self.column = 0;
                }
                // The later bytes of a character of UTF-8 take no place of their own.
                0x80..=0xbf => {}
                _ => {
                    if self.column == columns {
                        self.lines += 1;
                        self.column = 0;
                    }
                    self.column += 1;
                }
            }
        }
        self.lines + 2 <= usize::from(self.screen.rows)
    }

    /// Starts the pager; `None` where there is none.
    fn pager(&self) -> Option<Child> {
        let mut shell = Command::new("sh");
        let _ = shell
            .arg("-c")
            .arg(self.command.as_ref()?)
            .stdin(Stdio::piped());
        if std::env::var_os("LESS").is_none() {
            // Long lines are not folded, and the screen stays as it was left.
            let _ = shell.env("LESS", "-RSX");
        }
        shell.spawn().ok()
    }

    /// Lets everything appear, and waits for the pager to be left.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub(super) fn finish(self) -> io::Result<()> {
        match self.to {
            To::Held(held) => {
                self.out.write_all(&held)?;
                self.out.flush()
            }
            To::Plain => self.out.flush(),
            To::Piped(mut child) => {
                drop(child.stdin.take());
                child.wait().map(|_| ())
            }
        }
    }
}

impl Write for Pager<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let To::Held(held) = &mut self.to {
            held.extend_from_slice(bytes);
            if self.fits(bytes) {
                return Ok(bytes.len());
            }
            let To::Held(held) = std::mem::replace(&mut self.to, To::Plain) else {
                return Ok(bytes.len());
            };
            if let Some(child) = self.pager() {
                self.to = To::Piped(child);
            }
            // A pager that was left at once takes nothing: the next write says so.
            return self.write_all(&held).map(|()| bytes.len());
        }
        match &mut self.to {
            To::Piped(child) => child.stdin.as_mut().map_or(Ok(0), |pipe| pipe.write(bytes)),
            To::Held(_) | To::Plain => self.out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Held(_) => Ok(()),
            To::Plain => self.out.flush(),
            To::Piped(child) => child.stdin.as_mut().map_or(Ok(()), Write::flush),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(command: &str, text: &str) -> (String, bool) {
        let mut out = Vec::new();
        let mut pager = Pager::new(
            &mut out,
            Some(Screen {
                columns: 10,
                rows: 5,
            }),
            Some(command.into()),
        );
        pager.write_all(text.as_bytes()).unwrap();
        let piped = matches!(pager.to, To::Piped(_));
        pager.finish().unwrap();
        (String::from_utf8(out).unwrap(), piped)
    }

    #[test]
    fn what_fits_on_the_screen_needs_no_pager() {
        let check = |text: &str, piped: bool| {
            let (out, was) = through("cat > /dev/null", text);
            assert_eq!(
                (was, out.as_str()),
                (piped, if piped { "" } else { text }),
                "{text:?}"
            );
        };
        check("", false);
        check("1\n2\n3\n", false);
        check("1\n2\n3\n4\n", true);
        // A line of 21 characters takes three lines of ten.
        check("123456789012345678901\n", false);
        check("123456789012345678901\n2\n", true);
        check("──────────\n──────────\n──────────\n", false);
        assert_eq!(
            through("cat", "1\n2\n3\n4\n5\n"),
            ("1\n2\n3\n4\n5\n".to_owned(), false)
        );
    }
}
