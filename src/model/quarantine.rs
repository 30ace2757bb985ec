//! The quarantine: why input could not be compacted, and what is kept of it.
//!
//! Refuses vague reasons: an error type is named only where it is true.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// Why a file, or rows of it, could not be compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorType {
    /// A dictionary page or index that does not fit its column chunk.
    DictConflict,
    /// A page that does not decompress, whatever the codec, or whose CRC is wrong.
    SnappyCorrupt,
    /// A column of another type, or no `ts_event`.
    SchemaMismatch,
    /// The file ends before its footer says, or has none.
    Truncated,
    /// The footer is there but cannot be understood.
    FooterCorrupt,
    /// A page decompresses but does not decode, or has another number of values than it says.
    PageCorrupt,
    /// The row hash in the footer is not that of the rows: a value changed since the file was sealed.
    RowHashMismatch,
    /// The reader panicked; the message says where.
    ReaderPanic,
    /// The rows say that they are of another exchange, stream or symbol than the folder.
    WrongPartition,
    /// Rows whose `ts_event` is null, implausible, or further than a day from where their file belongs.
    TimeOutOfRange,
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DictConflict => "DICT_CONFLICT",
            Self::SnappyCorrupt => "SNAPPY_CORRUPT",
            Self::SchemaMismatch => "SCHEMA_MISMATCH",
            Self::Truncated => "TRUNCATED",
            Self::FooterCorrupt => "FOOTER_CORRUPT",
            Self::PageCorrupt => "PAGE_CORRUPT",
            Self::RowHashMismatch => "ROW_HASH_MISMATCH",
            Self::ReaderPanic => "READER_PANIC",
            Self::WrongPartition => "WRONG_PARTITION",
            Self::TimeOutOfRange => "TIME_OUT_OF_RANGE",
        })
    }
}

/// What is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind.
    pub error_type: ErrorType,
    /// In words: which column, row group or page, and what was found there.
    pub message: String,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self { error_type, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}

/// One quarantined file: either whole, or the rows of it that could not be placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The kind of error.
    pub error_type: ErrorType,
    /// What was found.
    pub message: String,
    /// The key of the source below the spool's root.
    pub source_path: String,
    /// The size of the source in bytes.
    pub size: u64,
    /// The sha256 of the source's bytes.
    pub sha256: String,
    /// When this happened, RFC 3339 in UTC.
    pub time: String,
    /// The version of qlc.
    pub qlc_version: String,
    /// The command that shows the same error.
    pub reproduce: String,
    /// The name of the file in this folder.
    pub kept_as: String,
    /// The sha256 of that file; the source's own where it was kept whole.
    pub kept_sha256: String,
    /// How many rows it holds, where it is a row file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// When the source was last changed, in microseconds since 1970 UTC.
    pub modified_us: i64,
}

/// `error.json`: the newest entry's keys at the top, and under `files` every entry of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFile {
    /// The newest entry.
    #[serde(flatten)]
    pub newest: Entry,
    /// All entries, by the name of their file.
    pub files: Vec<Entry>,
}

impl ErrorFile {
    /// The name under which a file is kept whose natural name is `stem` + `suffix`: that one, unless a file of other
    /// content or from another place has it; then a piece of the digest tells them apart.
    #[must_use]
    pub fn free_name(known: &[Entry], stem: &str, suffix: &str, source_path: &str, sha256: &str) -> String {
        let natural = format!("{stem}{suffix}");
        let taken = |name: &str| {
            known.iter().any(|e| e.kept_as == name && (e.source_path != source_path || e.sha256 != sha256))
        };
        if !taken(&natural) {
            return natural;
        }
        let marked = format!("{stem}.{}{suffix}", sha256.get(..12).unwrap_or(sha256));
        if !taken(&marked) {
            return marked;
        }
        // The same bytes from another place.
        (2_u32..10_000)
            .map(|n| format!("{stem}.{}.{n}{suffix}", sha256.get(..12).unwrap_or(sha256)))
            .find(|n| !taken(n))
            .unwrap_or(marked)
    }

    /// `known` with `entry` added; an entry of the same file name is replaced.
    #[must_use]
    pub fn with(known: Option<Self>, entry: Entry) -> Self {
        let mut files = known.map(|k| k.files).unwrap_or_default();
        files.retain(|e| e.kept_as != entry.kept_as);
        files.push(entry.clone());
        files.sort_by(|a, b| a.kept_as.cmp(&b.kept_as));
        Self { newest: entry, files }
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// Never in practice: all fields are plain.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::caused(Kind::Internal, "error.json could not be written as JSON", e))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When the bytes are not such a file.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| Error::caused(Kind::Damage, "error.json is not readable", e))
    }
}
