//! The quarantine: why input could not be compacted, and what is kept of it.
//!
//! An error type is named only where it is true.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::layout;
use crate::error::{Error, Kind, Result};

/// Bytes of the longest name that file systems take.
pub const LONGEST_NAME: usize = 255;

/// The beginning of `name` that fits into so many bytes.
#[must_use]
pub fn shortened(name: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(name.len()))
        .rev()
        .find(|at| name.is_char_boundary(*at))
        .unwrap_or(0);
    name.get(..end).unwrap_or_default()
}

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
    /// The row hash in the footer is not that of the rows: a value changed since the file was
    /// sealed.
    RowHashMismatch,
    /// The reader panicked; the message says where.
    ReaderPanic,
    /// The file has the name, size and time of one that was archived, but other rows: it changed in
    /// its place.
    SourceChanged,
    /// The rows say that they are of another exchange, stream or symbol than the folder.
    WrongPartition,
    /// Rows whose `ts_event` is null, implausible, or further than a day from where their file
    /// belongs.
    TimeOutOfRange,
    /// Its footer or its columns are encrypted.
    Encrypted,
    /// Its columns are nested deeper than is read.
    SchemaTooDeep,
    /// A footer or a page of it is so large that it is not decoded: it would take the memory of
    /// everything else.
    TooLarge,
    /// A value lies outside the minimum and maximum that its row group's statistics name, or they
    /// count other nulls.
    StatisticsContradicted,
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
            Self::SourceChanged => "SOURCE_CHANGED",
            Self::WrongPartition => "WRONG_PARTITION",
            Self::TimeOutOfRange => "TIME_OUT_OF_RANGE",
            Self::Encrypted => "ENCRYPTED",
            Self::SchemaTooDeep => "SCHEMA_TOO_DEEP",
            Self::TooLarge => "TOO_LARGE",
            Self::StatisticsContradicted => "STATISTICS_CONTRADICTED",
        })
    }
}

/// The kind of error as an entry records it: one that this version knows, or one of a later
/// version, which is kept as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RecordedType {
    /// A kind that this version knows.
    Known(ErrorType),
    /// The name of a kind that it does not know.
    Later(String),
}

impl From<ErrorType> for RecordedType {
    fn from(error_type: ErrorType) -> Self {
        Self::Known(error_type)
    }
}

impl fmt::Display for RecordedType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(error_type) => error_type.fmt(f),
            Self::Later(name) => f.write_str(name),
        }
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

/// So many characters of a message are kept.
const MESSAGE_CHARS: usize = 2000;

impl Fault {
    /// A fault of this kind. A message that a file made long, as by the type of a nested column, is
    /// cut.
    pub fn new(error_type: ErrorType, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS) {
            message.truncate(end);
            message.push('…');
        }
        Self {
            error_type,
            message,
        }
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
    pub error_type: RecordedType,
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
    /// How many rows it holds, where it is a row file; how many were lost, where the rest of the
    /// file was salvaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// When the source was last changed, in microseconds since 1970 UTC.
    pub modified_us: i64,
    /// What was lost, where the good row groups of the file were taken in.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub salvaged: Option<Salvaged>,
    /// The task of a cluster that kept it, where one did: one partition of one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Whether the next compaction shall try the bytes again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry: bool,
    /// Whether what was kept was discarded on request. The entry stays, so that the bytes are not
    /// taken in again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub discarded: bool,
    /// What a later version says besides, kept as it is.
    #[serde(flatten)]
    pub later: serde_json::Map<String, serde_json::Value>,
}

/// The row groups that a salvage left out. The file is kept whole, its other row groups are in the
/// archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salvaged {
    /// The row groups that do not read, counted from 0.
    pub row_groups: Vec<usize>,
    /// The smallest `ts_event` among the lost rows in nanoseconds, written as in `meta.json`, where
    /// the footer tells.
    pub ts_event_min: Option<String>,
    /// The largest, likewise.
    pub ts_event_max: Option<String>,
    /// Whether the footer holds a row hash: it is of all rows, and can not prove those that were
    /// taken in.
    pub unproven: bool,
}

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The whole file.
    Whole,
    /// Rows of it, kept as a file of their own.
    Rows,
    /// Row groups of it; the file is kept whole.
    Groups,
}

impl Entry {
    /// What the entry is about.
    #[must_use]
    pub fn extent(&self) -> Extent {
        match (&self.salvaged, self.rows) {
            (Some(_), _) => Extent::Groups,
            (None, Some(_)) => Extent::Rows,
            (None, None) => Extent::Whole,
        }
    }

    /// Whether the entry may be about the bytes of a file as a whole; the sha256 tells whether it
    /// is. That a file changed in its place says nothing of another collector's, and that rows are
    /// not of the day of their file nothing of a file that belongs to another day.
    #[must_use]
    pub fn may_be_of(&self, key: &str, size: u64) -> bool {
        let is_meant = match &self.error_type {
            RecordedType::Known(ErrorType::SourceChanged) => {
                layout::collector_of(&self.source_path) == layout::collector_of(key)
            }
            RecordedType::Known(ErrorType::TimeOutOfRange) => {
                layout::home_of(&self.source_path) == layout::home_of(key)
            }
            _ => true,
        };
        self.extent() == Extent::Whole && !self.retry && self.size == size && is_meant
    }
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
    /// The names under which a file can be kept whose natural name is `stem` + `suffix`, in the
    /// order in which they are tried: that one, then with a piece of the digest, then with a number
    /// as well. A name that would be longer than a file's name may be has a shorter stem, and
    /// always a piece of the digest.
    pub fn names<'a>(
        stem: &'a str,
        suffix: &'a str,
        sha256: &'a str,
    ) -> impl Iterator<Item = String> + 'a {
        let piece = sha256.get(..12).unwrap_or(sha256);
        let marked = move |mark: &str| {
            let stem = shortened(stem, LONGEST_NAME.saturating_sub(mark.len() + suffix.len()));
            format!("{stem}{mark}{suffix}")
        };
        let natural = Some(format!("{stem}{suffix}")).filter(|name| name.len() <= LONGEST_NAME);
        let numbered = (2_u32..10_000).map(move |n| marked(&format!(".{piece}.{n}")));
        natural
            .into_iter()
            .chain([marked(&format!(".{piece}"))])
            .chain(numbered)
    }

    /// A file of these entries; `None` when there are none.
    #[must_use]
    pub fn of(mut files: Vec<Entry>) -> Option<Self> {
        files.sort_by(|a, b| a.kept_as.cmp(&b.kept_as));
        let newest = files.iter().max_by(|a, b| a.time.cmp(&b.time))?.clone();
        Some(Self { newest, files })
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// Never in practice: all fields are plain.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|e| {
            Error::caused(Kind::Internal, "error.json could not be written as JSON", e)
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When the bytes are not such a file.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|e| Error::caused(Kind::Damage, "error.json is not readable", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_no_longer_than_a_person_reads() {
        let long = Fault::new(ErrorType::SchemaMismatch, "ä".repeat(70_000));
        assert_eq!(
            (long.message.chars().count(), long.message.ends_with("ä…")),
            (MESSAGE_CHARS + 1, true)
        );
        let short = "ä".repeat(MESSAGE_CHARS);
        assert_eq!(
            Fault::new(ErrorType::SchemaMismatch, short.clone()).message,
            short
        );
    }

    fn entry(name: &str, time: &str) -> Entry {
        Entry {
            error_type: ErrorType::Truncated.into(),
            message: "cut off".to_owned(),
            source_path: format!("exchange=x/stream=y/symbol=z/{name}"),
            size: 12,
            sha256: "b".repeat(64),
            time: time.to_owned(),
            qlc_version: "0.1.0".to_owned(),
            reproduce: "qlc inspect".to_owned(),
            kept_as: name.to_owned(),
            kept_sha256: "b".repeat(64),
            rows: None,
            modified_us: 1,
            salvaged: None,
            task: None,
            retry: false,
            discarded: false,
            later: serde_json::Map::new(),
        }
    }

    #[test]
    fn a_long_name_is_shortened_and_stays_its_own() {
        let stem = format!("2026-02-03_{}", "ä".repeat(120));
        let digest = "1".repeat(64);
        let names: Vec<String> = ErrorFile::names(&stem, ".parquet", &digest)
            .take(3)
            .collect();
        assert!(
            names
                .iter()
                .all(|name| name.len() <= LONGEST_NAME && name.starts_with("2026-02-03_ä")),
            "{names:?}"
        );
        assert!(
            names[0].ends_with(".111111111111.parquet")
                && names[1].ends_with(".111111111111.2.parquet"),
            "{names:?}"
        );
        let names: Vec<String> = ErrorFile::names("x", ".parquet", &digest).take(2).collect();
        assert_eq!(names, ["x.parquet", "x.111111111111.parquet"]);
    }

    #[test]
    fn what_an_entry_is_about_survives_the_file() {
        let salvaged = Salvaged {
            row_groups: vec![1, 3],
            ts_event_min: None,
            ts_event_max: None,
            unproven: true,
        };
        let lost = Entry {
            rows: Some(5),
            salvaged: Some(salvaged),
            ..entry("c", "3")
        };
        let rows = Entry {
            rows: Some(5),
            discarded: true,
            ..entry("b", "2")
        };
        let whole = Entry {
            retry: true,
            ..entry("a", "1")
        };
        let file = ErrorFile::of(vec![lost.clone(), rows.clone(), whole.clone()]).unwrap();
        assert_eq!(
            (&file.newest, &file.files),
            (&lost, &vec![whole.clone(), rows.clone(), lost.clone()])
        );
        let json = file.to_json().unwrap();
        assert_eq!(ErrorFile::from_json(&json).unwrap(), file);
        assert_eq!(
            [whole.extent(), rows.extent(), lost.extent()],
            [Extent::Whole, Extent::Rows, Extent::Groups]
        );
        let text = String::from_utf8(
            ErrorFile::of(vec![entry("a", "1")])
                .unwrap()
                .to_json()
                .unwrap(),
        )
        .unwrap();
        for key in [
            "row_groups",
            "retry",
            "discarded",
            "ts_event_min",
            "unproven",
        ] {
            assert!(
                !text.contains(key),
                "{key} stands only where it means something: {text}"
            );
        }
        assert_eq!(ErrorFile::of(Vec::new()), None);
    }
}
