//! What a file's footer claims of its rows: spans, order, constants, sizes. Claims decide the plan;
//! the rows are checked against them as they are read.
//!
//! [`super::probe`] takes claims from the footer, [`super::examine`] from the rows.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::SchemaRef;
use parquet::file::metadata::ParquetMetaData;

use super::fault::Problem;
use crate::model::{
    quarantine::ErrorType,
    row_hash::RowHash,
    schema::{Units, units},
    time::Unit,
};

/// The smallest and the largest value of an integer column, nulls aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The smallest.
    pub min: i64,
    /// The largest.
    pub max: i64,
}

impl Span {
    /// The span of this one and `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// The units of its two ends; `None` for an end that is no plausible time.
    #[must_use]
    pub fn units(self) -> [Option<Unit>; 2] {
        [Unit::of(self.min), Unit::of(self.max)]
    }
}

/// The only value that a column has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constant {
    /// A string.
    Text(String),
    /// An integer.
    Int(i64),
}

/// How many rows of a file have a value in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// None.
    Empty,
    /// At least one, perhaps not all.
    Partly,
    /// All.
    Full,
}

impl Claims {
    /// What the numbers of its added columns stand for.
    #[must_use]
    pub fn units(&self) -> Units {
        units(self.schema.fields())
    }

    /// The place in the file of the `nth` row group that is read: some may be left out.
    #[must_use]
    pub fn row_group(&self, nth: usize) -> usize {
        let Some(lost) = &self.lost else {
            return nth;
        };
        (0..)
            .filter(|index| !lost.groups.contains(index))
            .nth(nth)
            .unwrap_or(nth)
    }

    /// Compares the rows that the file turned out to have with what its footer says.
    ///
    /// # Errors
    /// When these are other rows.
    pub fn agree(&self, rows: u64, row_hash: RowHash) -> Result<(), Problem> {
        self.agree_in_number(rows)?;
        match self.row_hash {
            Some(claimed) if claimed != row_hash => Err(Problem::bad(
                ErrorType::RowHashMismatch,
                format!(
                    "the rows have row hash {row_hash}, the footer says {claimed}: a value changed since the file was sealed"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The same of rows whose values nobody asked for.
    ///
    /// # Errors
    /// When there are more or fewer.
    pub fn agree_in_number(&self, rows: u64) -> Result<(), Problem> {
        if rows == self.rows {
            return Ok(());
        }
        Err(Problem::bad(
            ErrorType::PageCorrupt,
            format!("the file has {rows} rows, its footer claims {}", self.rows),
        ))
    }
}

/// Row groups of a file that are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Which, counted from 0.
    pub groups: Vec<usize>,
    /// Their rows.
    pub rows: u64,
}

/// What is known of a file before its rows are read.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a claim of its own")]
pub struct Claims {
    /// Its rows.
    pub rows: u64,
    /// Its columns.
    pub schema: SchemaRef,
    /// The span of `ts_event` as it is stored; `None` when the footer does not say, or there are no
    /// rows.
    pub ts: Option<Span>,
    /// Whether there is a column `seq`.
    pub has_seq: bool,
    /// The span of `seq`.
    pub seq: Option<Span>,
    /// Whether the rows are said to ascend by `(ts_event, seq)`, or by `ts_event` where there is no
    /// `seq`.
    pub ordered: bool,
    /// The row hash that the writer left.
    pub row_hash: Option<RowHash>,
    /// Columns that are said to have one value throughout, without nulls.
    pub constants: Arc<BTreeMap<String, Constant>>,
    /// How far columns are filled, for those of which that is known.
    pub fills: Arc<BTreeMap<String, Fill>>,
    /// The spans of the time columns that have one.
    pub times: Arc<BTreeMap<String, Span>>,
    /// Bytes of the largest row group as it is stored.
    pub group_bytes: u64,
    /// Bytes of the largest row group after decompression.
    pub group_raw_bytes: u64,
    /// Whether all of this was found by reading the rows, so that it cannot be false.
    pub proven: bool,
    /// Who wrote the file.
    pub created_by: Option<Arc<str>>,
    /// Bytes of a row after decoding, as far as the footer lets guess; at least those of the stored
    /// row.
    pub row_bytes: u64,
    /// Whether `row_bytes` and `open_bytes` are what decoding takes, found out; otherwise they are
    /// guesses.
    pub weighed: bool,
    /// Bytes of the pages that are open while a row group is decoded, as far as the footer lets
    /// guess.
    pub open_bytes: u64,
    /// Row groups that are left out, because they do not read; all else is said of the others.
    pub lost: Option<Lost>,
    /// The footer itself; `None` where it is read again when it is needed.
    pub meta: Option<Arc<ParquetMetaData>>,
}
