//! The one public error of the crate, with kinds that someone acts on differently.
//!
//! Errors are never classified by the text of a message: whoever raises an error knows its kind.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an operator would do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The command line, the configuration or a query is wrong: change what was typed. Exit code 2.
    Usage,
    /// A file's content cannot be used; it goes to QUARANTINE and the work goes on without it.
    BadInput,
    /// The archive contradicts itself or its receipts: look at it before anything is written there.
    Damage,
    /// The two sides of the proof differ: nothing was published.
    Proof,
    /// Storage, network or disk: mend it and run again.
    Io,
    /// Another process wrote first, and what it wrote stands: look again at what is to be done.
    Conflict,
    /// Whether a write to a bucket took effect is not known: nothing was deleted, and the next run
    /// finds out. Exit code 5.
    Unknown,
    /// The run was asked to stop (Ctrl-C or SIGTERM) and did, between two atomic steps.
    Interrupted,
    /// A memory or disk limit is too small for the work.
    Resources,
    /// A defect of qlc.
    Internal,
}

/// An error: its kind, a message that names what it is about and what to do next, and its cause.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error without a cause of its own.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// An error with the error that caused it; the message must not repeat the cause.
    pub fn caused(
        kind: Kind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            source: Some(source.into()),
        }
    }

    /// A mistake in what was typed.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A failed read or write of `what`.
    pub fn io(
        what: impl fmt::Display,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::caused(Kind::Io, what.to_string(), source)
    }

    /// A task of the program that panicked or was dropped: a defect. `work` is what it did.
    pub fn lost_task(
        work: &str,
        lost: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::caused(Kind::Internal, format!("{work} ended early"), lost)
    }

    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The message and all causes in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = self.message.clone();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            let text = cause.to_string();
            let inner = cause.source().map(ToString::to_string).unwrap_or_default();
            // Wrappers often repeat their cause; one mention is enough. Those of libraries say
            // before it what they are, and which file they are about.
            let before = text.strip_suffix(&inner).filter(|_| !inner.is_empty());
            let adds = before.is_none_or(|before| names_more(before, &line));
            if adds && !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            next = cause.source();
        }
        line.replace('\n', " ")
    }
}

/// Whether `text` names a path that `line` does not: a path in it may be absolute, where that in
/// `line` is the one that was typed.
fn names_more(text: &str, line: &str) -> bool {
    let paths = |text: &'_ str| -> Vec<String> {
        text.split_whitespace()
            .map(|word| word.trim_end_matches([':', ',', ';']).to_owned())
            .filter(|word| word.contains('/'))
            .collect()
    };
    let known = paths(line);
    paths(text)
        .iter()
        .any(|path| !known.iter().any(|known| path.ends_with(known)))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|e| e as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A wrapper that repeats its cause, as those of libraries do.
    #[derive(Debug)]
    struct Repeats(&'static str, Box<dyn std::error::Error + Send + Sync>);

    impl fmt::Display for Repeats {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}{}", self.0, self.1)
        }
    }

    impl std::error::Error for Repeats {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(self.1.as_ref())
        }
    }

    #[test]
    fn a_library_does_not_say_again_which_file_it_is() {
        let opened = |what: &str| {
            let denied = io::Error::from(io::ErrorKind::PermissionDenied);
            let inner = Repeats("Unable to open file /srv/a/b.json: ", Box::new(denied));
            let outer = Repeats("Generic LocalFileSystem error: ", Box::new(inner));
            Error::io(what, outer).chain()
        };
        for path in ["/srv/a/b.json", "a/b.json", "srv/a/b.json"] {
            assert_eq!(
                opened(&format!("{path}: cannot be read")),
                format!("{path}: cannot be read: permission denied")
            );
        }
        // Where nobody named the file yet, the library does.
        assert_eq!(
            opened("the query failed"),
            "the query failed: Unable to open file /srv/a/b.json: permission denied"
        );
        let request = Repeats("Error performing GET http://h/k - ", "refused".into());
        assert_eq!(
            Error::io("s3://b/k: cannot be read", request).chain(),
            "s3://b/k: cannot be read: Error performing GET http://h/k - refused"
        );
    }
}
