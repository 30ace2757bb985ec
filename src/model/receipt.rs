//! The receipt: the proof, made before publishing, that no row was lost, added or changed.
//!
//! It is an object of its own, named by the sha256 of the data it vouches for. Receipts form a
//! history: each names the generation that it replaces. An archive without its receipts can be
//! read, but is not proven.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use super::{
    date::Date,
    layout,
    meta::Meta,
    partition::Partition,
    row_hash::RowHash,
    schema::{self, Units},
    time::Unit,
};
use crate::error::{Error, Kind, Result};

/// The version of the receipt's form.
pub const RECEIPT_VERSION: u32 = 2;

/// The version of receipts of data that several collectors gave: to an earlier version their sums
/// would not add up.
pub const OF_SEVERAL: u32 = 3;

/// The version of receipts that name no generation and no row groups.
pub const WITHOUT_HISTORY: u32 = 1;

/// Where the numbers in the column `seq` come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeqOrigin {
    /// From the sources.
    Source,
    /// All given by qlc, because no source had any.
    Assigned,
    /// Some from the sources, some given by qlc.
    Mixed,
}

/// One file that was read for a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its key below the spool's root.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last changed, in microseconds since 1970 UTC, as its store says.
    pub modified_us: i64,
    /// All its rows.
    pub rows: u64,
    /// The row hash of its rows as they were read, before any change of unit and without a `seq`
    /// given by qlc; rows that could not be read have none.
    pub row_hash: RowHash,
    /// What the numbers of its added columns stand for, where the row hash does not tell. Receipts
    /// of earlier builds lack it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub units: Units,
    /// Its rows in this partition's data.
    pub rows_here: u64,
    /// Its rows of this day that are copies: the data has them from another collector, or as they
    /// were archived before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_copies: u64,
    /// Its rows of other days, by day: they are not in this partition's data, but in that of those
    /// days.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rows_elsewhere: BTreeMap<Date, u64>,
    /// Its rows that went to QUARANTINE.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_quarantined: u64,
    /// Its rows of this day that the archive had already: from row groups of an earlier, damaged
    /// version of the file, or, found row by row, from a day that another program compacted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_known: u64,
    /// Its row groups that were read, where it has more than one: a damaged copy is recognised by
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub row_groups: Vec<RowGroup>,
    /// Whether its `seq` was given by qlc.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seq_assigned: bool,
    /// Whether it was read for this data, or for the archived data that was read in its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_base: bool,
    /// Whether it is a day of a tree that was taken over whole: nothing tells which files its rows
    /// came from, and these files may be there, so the rows of every other file are held against it
    /// one by one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compacted: bool,
}

/// A row group of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowGroup {
    /// Its place in the file, counted from 0.
    pub index: usize,
    /// Its rows.
    pub rows: u64,
    /// Their row hash, as they were read.
    pub row_hash: RowHash,
}

impl RowGroup {
    /// Adds rows of the row group at `index` to those that were read before them.
    pub fn add(groups: &mut Vec<Self>, index: usize, rows: u64, row_hash: RowHash) {
        match groups.last_mut().filter(|group| group.index == index) {
            Some(group) => {
                group.rows += rows;
                group.row_hash = group.row_hash.and(row_hash);
            }
            None => groups.push(Self {
                index,
                rows,
                row_hash,
            }),
        }
    }
}

impl Source {
    /// The collector that wrote it, where its key names one.
    #[must_use]
    pub fn collector(&self) -> Option<&str> {
        layout::collector_of(&self.name)
    }

    /// Whether a file of `collector` with its rows may be this file: one of its own collector is,
    /// and one of another collector only where qlc numbered the rows, since files without numbers
    /// that have the same rows are copies.
    #[must_use]
    pub fn may_be_of(&self, collector: Option<&str>) -> bool {
        may_be_one(self.collector(), collector) || self.seq_assigned
    }

    /// Its rows of this day that the data has, or has a copy of.
    #[must_use]
    pub fn rows_of_day(&self) -> u64 {
        self.rows_here + self.rows_copies
    }

    /// What its rows are known by, whatever its name, size and time.
    #[must_use]
    pub fn content(&self) -> Content {
        Content {
            rows: self.rows,
            row_hash: self.row_hash,
            units: UnitsHash::of(&self.units),
        }
    }

    /// The row groups that were read. A file of one row group needs no list of them.
    #[must_use]
    pub fn row_groups(&self) -> Vec<RowGroup> {
        if self.row_groups.is_empty() && !self.is_partial() {
            return vec![RowGroup {
                index: 0,
                rows: self.rows,
                row_hash: self.row_hash,
            }];
        }
        self.row_groups.clone()
    }

    /// Whether some of its rows could not be read: they are in QUARANTINE with the file, and the
    /// row hash is of the others.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.row_groups.is_empty()
            && self.row_groups.iter().map(|group| group.rows).sum::<u64>() != self.rows
    }
}

/// What rows are known by: two sources of one collector with the same content are a file and its
/// copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Content {
    /// How many.
    pub rows: u64,
    /// Their row hash.
    pub row_hash: RowHash,
    /// What numbers stand for in the columns of a whole file; nothing where rows alone are meant.
    pub units: UnitsHash,
}

/// The units of a file's columns as one number: 0 where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UnitsHash(u64);

impl UnitsHash {
    /// Of these units.
    #[must_use]
    pub fn of(units: &Units) -> Self {
        Self(units.iter().fold(0, |all, (column, unit)| {
            let seed = XxHash64::oneshot(0, column.as_bytes());
            all.wrapping_add(XxHash64::oneshot(seed, unit.as_bytes()))
        }))
    }
}

impl Content {
    /// One row with this hash.
    #[must_use]
    pub fn of_row(hash: u64) -> Self {
        Self {
            rows: 1,
            row_hash: RowHash::of_row(hash),
            units: UnitsHash::default(),
        }
    }

    /// These rows and those of `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            row_hash: self.row_hash.and(other.row_hash),
            units: UnitsHash::default(),
        }
    }

    /// What receipts may call it: the content, and the one of an earlier build, whose receipts tell
    /// no units.
    #[must_use]
    pub fn recorded_as(self) -> [Self; 2] {
        let earlier = Self {
            units: UnitsHash::default(),
            ..self
        };
        [self, earlier]
    }

    /// Whether these are the rows of `archived`, as far as that tells.
    #[must_use]
    pub fn is_of(self, archived: Self) -> bool {
        self.recorded_as().contains(&archived)
    }
}

/// A spool file that holds the rows of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCopy {
    /// Its key below the spool's root.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last changed, in microseconds since 1970 UTC, as its store says.
    pub modified_us: i64,
    /// The key of the file whose rows were taken in.
    pub copy_of: String,
}

/// A source of a published generation whose rows the next generation does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostSource {
    /// Its key below the spool's root.
    pub name: String,
    /// Its rows that the lost generation had.
    pub rows_here: u64,
    /// The sha256 of the generation that had them.
    pub generation: String,
}

/// The rows of all these sources that the lost generation had.
#[must_use]
pub fn rows_lost(lost: &[LostSource]) -> u64 {
    lost.iter().map(|source| source.rows_here).sum()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
pub(crate) fn is_zero(rows: &u64) -> bool {
    *rows == 0
}

/// Archived data that was read in the place of sources that had left the spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The sha256 of that data; its receipt bears this name.
    pub sha256: String,
    /// Its rows. All of them are in the new data, but for copies.
    pub rows: u64,
    /// The row hash in its footer.
    pub row_hash: RowHash,
    /// Its rows that the new data has from a collector that received them earlier, or from the same
    /// file, read again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub copies: u64,
}

/// What several collectors of one feed gave to a partition. Rows that are equal in every column but
/// `ts_recv`, `sub_seq` and `source` are the same event; of each event the data has as many rows as
/// the collector that has most of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// Rows that are not in the data, because it has their events from another collector.
    pub copies: u64,
    /// The row hash of these rows, over the same columns as `row_hash_in`.
    pub copies_hash: RowHash,
    /// Rows of the data whose number or `trade_id` another collector has with other values.
    pub conflicts: u64,
    /// What each of them gave.
    pub collectors: Vec<CollectorRecord>,
}

/// What one of several collectors gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorRecord {
    /// Its name; [`UNNAMED`] of files that name none, [`ARCHIVED`] of the data that was archived
    /// before.
    pub name: String,
    /// Its rows of this day.
    pub rows: u64,
    /// Those that are in the data.
    pub rows_here: u64,
    /// Those that are copies.
    pub copies: u64,
    /// Rows of the data that no other has: what would be missing without it.
    pub gain: u64,
    /// Rows of it whose number or `trade_id` another collector has with other values.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub conflicts: u64,
    /// The row hash of its rows without `ts_recv`, `sub_seq` and `source`, and where some rows are
    /// of files that the exchange published, without `seq`. It was summed twice: over
    /// the rows as they were read, and over the rows of the data that stand for them.
    pub events_hash: RowHash,
    /// How often it alone had one or more rows in succession: holes of the others that it filled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub filled_holes: u64,
    /// The largest of these holes by rows, at most [`FILLED`], in the order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filled: Vec<FilledHole>,
}

/// A time in which one collector alone had rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilledHole {
    /// `ts_event` of the first of these rows, in nanoseconds.
    pub from_ns: i64,
    /// `ts_event` of the last.
    pub to_ns: i64,
    /// How many they are.
    pub rows: u64,
}

/// The name of the collector of files whose keys name none.
pub const UNNAMED: &str = "(unnamed)";
/// The name under which archived data counts as one more collector.
pub const ARCHIVED: &str = "(archive)";
/// So many filled holes are told one by one.
pub const FILLED: usize = 100;

/// Whether these keys of spool files are of more than one collector.
#[must_use]
pub fn are_of_several<'a>(mut keys: impl Iterator<Item = &'a str>) -> bool {
    let Some(first) = keys.next().map(layout::collector_of) else {
        return false;
    };
    keys.any(|key| layout::collector_of(key) != first)
}

/// A file that was left out, because its bytes are in QUARANTINE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutFile {
    /// Its key below the spool's root.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// The sha256 of its bytes.
    pub sha256: String,
    /// The kind of error, as in `error.json`.
    pub error_type: String,
}

/// What the data is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRecord {
    /// The sha256 of `data.parquet`.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its rows, counted while it was read back.
    pub rows: u64,
    /// Its row hash, computed while it was read back.
    pub row_hash: RowHash,
    /// The smallest `ts_event` in nanoseconds.
    pub ts_event_min_ns: i64,
    /// The largest `ts_event` in nanoseconds.
    pub ts_event_max_ns: i64,
    /// Where its `seq` comes from.
    pub seq: SeqOrigin,
    /// The unit that its time columns were brought to, where the sources differed in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brought_to: Option<Unit>,
    /// The level of zstd that was asked for, where it was not the default: the bytes depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zstd_level: Option<i32>,
    /// The revision of the rules by which columns get their encodings: the bytes depend on it. Data
    /// of before there were two, and of other programs, says nothing.
    #[serde(default = "first_encoding", skip_serializing_if = "is_first_encoding")]
    pub encoding: u32,
}

/// The first revision of the rules by which columns get their encodings.
pub const FIRST_ENCODING: u32 = 1;

fn first_encoding() -> u32 {
    FIRST_ENCODING
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_first_encoding(encoding: &u32) -> bool {
    *encoding == FIRST_ENCODING
}

/// The proof itself: on the left all sources, on the right the outcome, and the sums that must
/// agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// [`RECEIPT_VERSION`].
    pub receipt_version: u32,
    /// The version of qlc that made the data, or adopted it.
    pub qlc_version: String,
    /// The partition.
    #[serde(flatten)]
    pub partition: Partition,
    /// When the receipt was made, RFC 3339 in UTC.
    pub created_at: String,
    /// The task of a cluster that wrote the receipt, where one did: one partition of one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Whether the data was made by another program and stands as it was found. Its footer says
    /// nothing of the receipt then, and its only source is the data itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// Which generation of the partition this is, counted from 1.
    #[serde(default = "first_generation")]
    pub generation: u64,
    /// The sha256 of the generation that it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// What an operator accepted as lost when this generation was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted_loss: Vec<LostSource>,
    /// What is in the data.
    pub outcome: DataRecord,
    /// Rows that the sources gave to this partition; equals `outcome.rows`, with the copies where
    /// several collectors gave them.
    pub rows_in: u64,
    /// The row hash of these rows, taken as they were read, after any change of unit; where qlc
    /// gave `seq`, without `seq`.
    pub row_hash_in: RowHash,
    /// The row hash of the data, taken over the same columns as `row_hash_in`; both must agree, but
    /// for the copies.
    pub row_hash_out: RowHash,
    /// What several collectors gave, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<Merge>,
    /// The plan that was run, one line per step.
    pub plan: Vec<String>,
    /// Archived data that was read, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// All files whose rows are in the data, or were looked at for it.
    pub sources: Vec<Source>,
    /// Files that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutFile>,
    /// Files that hold the same rows as a source, which count once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<FileCopy>,
}

/// Receipts of version 1 do not count generations.
const fn first_generation() -> u64 {
    1
}

impl Receipt {
    /// The meta that a partition with this data has.
    #[must_use]
    pub fn meta(&self) -> Meta {
        Meta {
            row_count: self.outcome.rows,
            schema_version: schema::SCHEMA_VERSION.to_owned(),
            ts_event_min: self.outcome.ts_event_min_ns.to_string(),
            ts_event_max: self.outcome.ts_event_max_ns.to_string(),
            sha256: self.outcome.sha256.clone(),
            created_at: self.created_at.clone(),
            source_files: self.source_files(),
        }
    }

    /// How many files have rows in the data.
    #[must_use]
    pub fn source_files(&self) -> u64 {
        self.sources.iter().filter(|s| s.rows_here > 0).count() as u64
    }

    /// Whether the data may hold rows of files that no receipt names, because another program
    /// compacted them: whether a file is new is told by its rows alone.
    #[must_use]
    pub fn holds_unnamed(&self) -> bool {
        // Adopted data is a source under its own name, also of the generations that follow.
        let own = layout::data_key(&self.partition);
        self.adopted
            || self
                .sources
                .iter()
                .any(|source| source.compacted || source.name == own)
    }

    /// Whether files whose rows the data holds under no name may come at any time: it is of a tree
    /// that was taken over whole.
    #[must_use]
    pub fn is_of_tree(&self) -> bool {
        self.sources.iter().any(|source| source.compacted)
    }

    /// Whether some rows were left out because the data had them already. The same files read
    /// again, without that data, would bring them twice.
    #[must_use]
    pub fn left_rows_out(&self) -> bool {
        self.holds_unnamed() || self.sources.iter().any(|source| source.rows_known > 0)
    }

    /// The bytes of the object.
    ///
    /// # Errors
    /// Never in practice: all fields are plain.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|e| {
            Error::caused(Kind::Internal, "a receipt could not be written as JSON", e)
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a receipt.
    ///
    /// # Errors
    /// When the bytes are not a receipt of this or an earlier version.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let receipt: Self = serde_json::from_slice(bytes)
            .map_err(|e| Error::caused(Kind::Damage, "the receipt is not readable", e))?;
        if receipt.receipt_version > OF_SEVERAL {
            return Err(Error::new(
                Kind::Damage,
                format!(
                    "the receipt has version {}, this qlc knows {OF_SEVERAL}: use the qlc that wrote it ({}) or a newer one",
                    receipt.receipt_version, receipt.qlc_version
                ),
            ));
        }
        Ok(receipt)
    }

    /// Everything in which the receipt contradicts itself.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let mut found = Vec::new();
        let (copies, copies_hash) = self
            .merge
            .as_ref()
            .map_or((0, RowHash::EMPTY), |m| (m.copies, m.copies_hash));
        let (rows, row_hash) = (
            self.outcome.rows + copies,
            self.row_hash_out.and(copies_hash),
        );
        if self.rows_in != rows {
            found.push(format!(
                "the receipt bills {} rows in, but {rows} out",
                self.rows_in
            ));
        }
        if self.row_hash_in != row_hash {
            found.push(format!(
                "the receipt bills row hash {} in, but {row_hash} out",
                self.row_hash_in
            ));
        }
        if let Some(merge) = &self.merge {
            found.extend(self.merge_findings(merge));
        }
        let read: u64 = self
            .sources
            .iter()
            .filter(|s| !s.by_base)
            .map(Source::rows_of_day)
            .sum();
        let all = read + self.base.as_ref().map_or(0, |b| b.rows);
        if all != self.rows_in {
            found.push(format!(
                "the receipt's sources have {all} rows for this day, but it bills {}",
                self.rows_in
            ));
        }
        found.extend(self.base_findings());
        for source in &self.sources {
            let placed = source.rows_of_day()
                + source.rows_known
                + source.rows_elsewhere.values().sum::<u64>()
                + source.rows_quarantined;
            if placed != source.rows {
                found.push(format!(
                    "of the {} rows of {} the receipt places {placed}",
                    source.rows, source.name
                ));
            }
        }
        found
    }

    /// Whether the archived data that was taken in has other rows than the sources it stands for:
    /// then a source was taken in beside it. Of a merge the copies tell, and rows of no source have
    /// nothing to be held against.
    fn base_findings(&self) -> Option<String> {
        let base = self.base.as_ref()?;
        if self.merge.is_some() || self.holds_unnamed() {
            return None;
        }
        let stands_for: u64 = self
            .sources
            .iter()
            .filter(|s| s.by_base)
            .map(Source::rows_of_day)
            .sum();
        (stands_for != base.rows).then(|| {
            format!(
                "the archived data that was taken in has {} rows, the sources that it stands for {stands_for}",
                base.rows
            )
        })
    }

    /// Everything in which what several collectors gave contradicts the sources.
    fn merge_findings(&self, merge: &Merge) -> Vec<String> {
        let mut found = Vec::new();
        let mut copies = 0;
        let mut rows = 0;
        for one in &merge.collectors {
            (copies, rows) = (copies + one.copies, rows + one.rows);
            if one.rows_here + one.copies != one.rows || one.gain > one.rows_here {
                found.push(format!(
                    "of the {} rows of collector {} the receipt places {} and {} copies",
                    one.rows, one.name, one.rows_here, one.copies
                ));
            }
            let (given, copied) = if one.name == ARCHIVED {
                self.base
                    .as_ref()
                    .map_or((0, 0), |base| (base.rows, base.copies))
            } else {
                let of_it =
                    |s: &&Source| !s.by_base && s.collector().unwrap_or(UNNAMED) == one.name;
                let of_it = || self.sources.iter().filter(of_it);
                (
                    of_it().map(Source::rows_of_day).sum(),
                    of_it().map(|s| s.rows_copies).sum(),
                )
            };
            if (given, copied) != (one.rows, one.copies) {
                found.push(format!(
                    "the receipt bills {} rows and {} copies to collector {}, its sources have {given} and {copied}",
                    one.rows, one.copies, one.name
                ));
            }
        }
        if (rows, copies) != (self.rows_in, merge.copies) {
            found.push(format!(
                "the receipt bills {} rows and {} copies in, its collectors have {rows} and {copies}",
                self.rows_in, merge.copies
            ));
        }
        found
    }

    /// What the data is known by.
    #[must_use]
    pub fn content(&self) -> Content {
        Content {
            rows: self.outcome.rows,
            row_hash: self.outcome.row_hash,
            units: UnitsHash::default(),
        }
    }

    /// The sources of `self` whose rows of this day `next` does not account for: each must be a
    /// source of `next` as well, with the same rows and the same row hash, and must give this day
    /// at least as many of them. No generation may replace this one while there are any, unless
    /// they were accepted as lost.
    #[must_use]
    pub fn unaccounted(&self, next: &Self) -> Vec<LostSource> {
        self.missing_from(
            next.sources
                .iter()
                .map(|source| (source.content(), source.rows_of_day())),
        )
    }

    /// The same for what is at hand before a generation is made: the content of sources, and their
    /// rows of this day.
    #[must_use]
    pub fn missing_from(&self, at_hand: impl Iterator<Item = (Content, u64)>) -> Vec<LostSource> {
        let mut have: BTreeMap<Content, Vec<u64>> = BTreeMap::new();
        for (content, rows_here) in at_hand {
            have.entry(content).or_default().push(rows_here);
        }
        let needed = self
            .sources
            .iter()
            .filter(|source| source.rows_of_day() > 0);
        let missing = needed.filter(|source| {
            // Each source at hand stands for one: two sources of one content are told apart by
            // their number alone.
            let content = source.content();
            let found = have
                .range_mut(content..)
                .find(|(at_hand, rows)| at_hand.is_of(content) && !rows.is_empty());
            let Some((_, rows)) = found else {
                return true;
            };
            let Some(at) = rows.iter().position(|rows| *rows >= source.rows_of_day()) else {
                return true;
            };
            let _ = rows.swap_remove(at);
            false
        });
        missing
            .map(|source| LostSource {
                name: source.name.clone(),
                rows_here: source.rows_of_day(),
                generation: self.outcome.sha256.clone(),
            })
            .collect()
    }

    /// What is known of the rows that the archive has of this day, by content and by row group.
    #[must_use]
    pub fn known(&self) -> KnownRows {
        let mut known = KnownRows::default();
        let mut sources_with: BTreeMap<RowGroup, usize> = BTreeMap::new();
        for group in self.sources.iter().flat_map(Source::row_groups) {
            *sources_with.entry(group).or_default() += 1;
        }
        for source in &self.sources {
            let owner = || source.collector().map(str::to_owned);
            let _ = known
                .contents
                .entry(source.content())
                .or_default()
                .insert(owner());
            let mut of_others = source.rows_known;
            for group in source.row_groups() {
                let _ = known.groups.entry(group).or_default().insert(owner());
                if !source.is_partial() {
                    continue;
                }
                // A row group that another file had already was not taken in from the damaged one.
                if of_others >= group.rows
                    && sources_with.get(&group).is_some_and(|sources| *sources > 1)
                {
                    of_others -= group.rows;
                    continue;
                }
                known
                    .partial_groups
                    .entry(group)
                    .or_default()
                    .push(Damaged::of(source));
            }
        }
        // What the good copy of a damaged file was held against belongs to that copy: it is known
        // of no other file.
        for source in self
            .sources
            .iter()
            .filter(|source| source.rows_known > 0 && !source.is_partial())
        {
            for group in source.row_groups() {
                let Some(damaged) = known.partial_groups.get_mut(&group) else {
                    continue;
                };
                let own = damaged
                    .iter()
                    .position(|one| one.may_be(source.collector(), &source.name, source.size));
                drop(own.map(|at| damaged.swap_remove(at)));
            }
        }
        known
    }
}

/// Collectors by their names; `None` stands for files whose keys name none.
type Owners = BTreeSet<Option<String>>;

/// The rows that a generation has, as its receipt tells: what a file is held against to find out
/// whether it is new. Only what a file's own collector gave is known of it: another one may have
/// the same rows, and more than once. A spool without a name may be that of any collector.
#[derive(Debug, Clone, Default)]
pub struct KnownRows {
    contents: BTreeMap<Content, Owners>,
    groups: BTreeMap<RowGroup, Owners>,
    /// Row groups of files that were taken in without some of their row groups, and have no good
    /// copy yet.
    partial_groups: BTreeMap<RowGroup, Vec<Damaged>>,
}

/// A file that was taken in without some of its row groups.
#[derive(Debug, Clone)]
struct Damaged {
    owner: Option<String>,
    name: String,
    size: u64,
}

impl Damaged {
    fn of(source: &Source) -> Self {
        Self {
            owner: source.collector().map(str::to_owned),
            name: source.name.clone(),
            size: source.size,
        }
    }

    /// Whether a file may be the good copy: it has the name, or the size, which damage does not
    /// change.
    fn may_be(&self, collector: Option<&str>, name: &str, size: u64) -> bool {
        may_be_one(self.owner.as_deref(), collector) && (self.name == name || self.size == size)
    }
}

/// Whether files of these two collectors may be one collector's: a spool without a name may be that
/// of any.
fn may_be_one(owner: Option<&str>, collector: Option<&str>) -> bool {
    owner.is_none() || collector.is_none() || owner == collector
}

/// Whether files of `collector` may be those of one of `owners`.
fn is_of(owners: &Owners, collector: Option<&str>) -> bool {
    owners
        .iter()
        .any(|owner| may_be_one(owner.as_deref(), collector))
}

impl KnownRows {
    /// Adds row groups that are about to be taken in.
    pub fn add(&mut self, collector: Option<&str>, groups: impl Iterator<Item = RowGroup>) {
        for group in groups {
            let _ = self
                .groups
                .entry(group)
                .or_default()
                .insert(collector.map(str::to_owned));
        }
    }

    /// Whether a file of this collector with this content was taken in.
    #[must_use]
    pub fn has(&self, collector: Option<&str>, content: Content) -> bool {
        self.find(collector, content).is_some()
    }

    /// The content that was taken in of this collector, and that a file's is.
    #[must_use]
    pub fn find(&self, collector: Option<&str>, content: Content) -> Option<Content> {
        content.recorded_as().into_iter().find(|content| {
            let owners = self.contents.get(content);
            owners.is_some_and(|owners| is_of(owners, collector))
        })
    }

    /// Which row groups of a whole file were taken in from a damaged version of it, which had its
    /// name or its size. A row group of another file does not count: two files may hold the same
    /// rows rightly.
    #[must_use]
    pub fn from_partial(
        &self,
        collector: Option<&str>,
        name: &str,
        size: u64,
        groups: &[RowGroup],
    ) -> Vec<usize> {
        let is_it = |damaged: &Damaged| damaged.may_be(collector, name, size);
        let is_known = |group: &&RowGroup| {
            self.partial_groups
                .get(group)
                .is_some_and(|all| all.iter().any(is_it))
        };
        groups
            .iter()
            .filter(is_known)
            .map(|group| group.index)
            .collect()
    }

    /// Which of the readable row groups of a damaged file were taken in already, from whatever
    /// file.
    #[must_use]
    pub fn from_any(&self, collector: Option<&str>, groups: &[RowGroup]) -> Vec<usize> {
        let is_known = |group: &&RowGroup| {
            self.groups
                .get(group)
                .is_some_and(|owners| is_of(owners, collector))
        };
        groups
            .iter()
            .filter(is_known)
            .map(|group| group.index)
            .collect()
    }
}
