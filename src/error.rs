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
            // Wrappers often repeat their cause; one mention is enough.
            if !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            next = cause.source();
        }
        line.replace('\n', " ")
    }
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
