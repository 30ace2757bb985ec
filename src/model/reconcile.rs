//! The record of a reconciliation: what a venue's own files say of one day of one series, beside
//! what the archive holds of it.
//!
//! One object for each day and run, `_reconcile/exchange=…/stream=…/symbol=…/date=…/{time}-{id}.json`,
//! written once and never changed. No decision about data is made from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::partition::Partition;
use crate::error::{Error, Kind, Result};

/// The version of the form of a record.
pub const RECONCILE_VERSION: u32 = 1;

/// How a day of the archive and the venue's files stand to one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReconcileVerdict {
    /// Each has what the other has.
    Equal,
    /// One has what the other lacks, or they contradict each other.
    Differs,
    /// The archive has all that the venue's files tell, but these are not whole or not what their
    /// CHECKSUM says: what they lack proves nothing.
    NotProven,
    /// Nothing was compared; the message says why.
    NotCompared,
}

impl ReconcileVerdict {
    /// The word for it, as JSON has it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Differs => "differs",
            Self::NotProven => "not-proven",
            Self::NotCompared => "not-compared",
        }
    }
}

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReconcilePass {
    /// Every row with its counterpart.
    Rows,
    /// Volume and number of trades of each minute.
    Minutes,
}

/// What became of numbers or times that the archive lacks or lacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoleState {
    /// The venue's files have rows that the archive lacks.
    Open,
    /// The archive has these rows from the venue's files.
    Recovered,
    /// Numbers that neither side has, where the venue's files are whole: it never used them.
    NeverExisted,
    /// Numbers that neither side has, where the venue's files are not whole: that they lack them
    /// proves nothing.
    MissingThereToo,
}

impl HoleState {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Open,
        Self::Recovered,
        Self::NeverExisted,
        Self::MissingThereToo,
    ];

    /// The words for it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Recovered => "recovered",
            Self::NeverExisted => "never existed",
            Self::MissingThereToo => "missing there too",
        }
    }
}

/// A stretch that the archive lacks or lacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoleRecord {
    /// What became of it.
    pub state: HoleState,
    /// Its first number, where the venue numbers its trades.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_id: Option<i64>,
    /// Its last number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_id: Option<i64>,
    /// The time of its first row, or of the row before it where it has none; nanoseconds since 1970
    /// UTC.
    pub from_ns: i64,
    /// The time of its last row, or of the row behind it.
    pub to_ns: i64,
    /// How many rows the venue's files have there; of numbers that neither side has, how many
    /// numbers.
    pub rows: u64,
}

/// So many holes of each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoleCounts {
    /// Of [`HoleState::Open`].
    pub open: u64,
    /// Of [`HoleState::Recovered`].
    pub recovered: u64,
    /// Of [`HoleState::NeverExisted`].
    pub never_existed: u64,
    /// Of [`HoleState::MissingThereToo`].
    pub missing_there_too: u64,
}

impl HoleCounts {
    /// The number of those of a state.
    pub fn of(&mut self, state: HoleState) -> &mut u64 {
        match state {
            HoleState::Open => &mut self.open,
            HoleState::Recovered => &mut self.recovered,
            HoleState::NeverExisted => &mut self.never_existed,
            HoleState::MissingThereToo => &mut self.missing_there_too,
        }
    }
}

/// How a minute differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MinuteState {
    /// Both have rows there that contradict each other, or each has some that the other lacks.
    Differ,
    /// The archive has rows that the venue's files lack, and nothing else is wrong.
    OnlyOurs,
    /// The venue's files have rows that the archive lacks, and nothing else is wrong.
    OnlyTheirs,
}

/// A minute that is not equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinuteDifference {
    /// Its beginning, as in `14:05`, UTC.
    pub minute: String,
    /// How it differs.
    pub state: MinuteState,
    /// Rows of the archive; in the pass by minutes, single trades.
    pub ours: u64,
    /// Rows of the venue's files, likewise.
    pub theirs: u64,
    /// Rows that both have, with other values.
    #[serde(default)]
    pub differ: u64,
    /// Rows that the archive alone has.
    #[serde(default)]
    pub only_ours: u64,
    /// Rows that the venue's files alone have.
    #[serde(default)]
    pub only_theirs: u64,
    /// The columns with other values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// A file of the venue's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenueFile {
    /// Where it came from.
    pub name: String,
    /// Of its bytes.
    pub sha256: String,
    /// What its CHECKSUM file says: `right`, `wrong` or `none` where there is none.
    pub checksum: String,
    /// What it holds, such as `binance-agg-trades`.
    pub content: String,
    /// Its rows of this day; of klines, minutes.
    pub rows: u64,
    /// Its rows that repeat another one.
    #[serde(default)]
    pub repeated: u64,
    /// Its rows with the identity of another one and other values.
    #[serde(default)]
    pub conflicting: u64,
    /// Its rows of other days.
    #[serde(default)]
    pub elsewhere: u64,
    /// Its lines that are no rows.
    #[serde(default)]
    pub rejected: u64,
    /// Whether it was read to its end.
    pub complete: bool,
    /// The first things that are wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

impl VenueFile {
    /// Whether what it lacks was never published: it is whole, every line of it is a row, and its
    /// CHECKSUM, where there is one, is right.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.complete && self.rejected == 0 && self.checksum != "wrong"
    }
}

/// Rows that were put into the spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenRows {
    /// The key of the spool file.
    pub file: String,
    /// How many rows.
    pub rows: u64,
    /// Whether the file was there already.
    pub was_there: bool,
}

/// What came of one day of one series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileRecord {
    /// [`RECONCILE_VERSION`]
    pub reconcile_version: u32,
    /// The day and the series.
    #[serde(flatten)]
    pub partition: Partition,
    /// When it was compared, RFC 3339 in UTC.
    pub at: String,
    /// The version of qlc.
    pub qlc_version: String,
    /// How the two stand to one another.
    pub verdict: ReconcileVerdict,
    /// In words, where there is something to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The data of the archive that was compared; absent where nothing is archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_sha256: Option<String>,
    /// What was compared; absent where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<ReconcilePass>,
    /// The venue's files.
    pub files: Vec<VenueFile>,
    /// Rows of the archive; in the pass by minutes, single trades.
    pub ours: u64,
    /// Rows of the venue's files, likewise.
    pub theirs: u64,
    /// Rows that are equal; in the pass by minutes, minutes.
    pub equal: u64,
    /// Rows that both have, with other values; likewise.
    pub differ: u64,
    /// Rows that the archive alone has; likewise.
    pub only_ours: u64,
    /// Rows that the venue's files alone have; likewise.
    pub only_theirs: u64,
    /// Those of them that lie in the spool already, and wait for a compaction.
    #[serde(default)]
    pub waiting: u64,
    /// Rows of the archive that come from the venue's files; not counted in the pass by minutes.
    #[serde(default)]
    pub recovered: u64,
    /// How often the values of a column differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, u64>,
    /// Minutes that are not equal, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub minutes: Vec<MinuteDifference>,
    /// How many holes there are.
    pub hole_counts: HoleCounts,
    /// The largest of them in the order of time, open ones before all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<HoleRecord>,
    /// What was put into the spool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<TakenRows>,
    /// Why nothing was put into the spool, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_taken: Option<String>,
}

impl ReconcileRecord {
    /// A record of nothing that was compared.
    #[must_use]
    pub fn of(partition: &Partition, at: &str) -> Self {
        Self {
            reconcile_version: RECONCILE_VERSION,
            partition: partition.clone(),
            at: at.to_owned(),
            qlc_version: env!("CARGO_PKG_VERSION").to_owned(),
            verdict: ReconcileVerdict::NotCompared,
            message: String::new(),
            data_sha256: None,
            pass: None,
            files: Vec::new(),
            ours: 0,
            theirs: 0,
            equal: 0,
            differ: 0,
            only_ours: 0,
            only_theirs: 0,
            waiting: 0,
            recovered: 0,
            columns: BTreeMap::new(),
            minutes: Vec::new(),
            hole_counts: HoleCounts::default(),
            holes: Vec::new(),
            taken: None,
            not_taken: None,
        }
    }

    /// The bytes of the object, ending in a line feed.
    ///
    /// # Errors
    /// Never in practice: all fields are plain.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|e| {
            Error::caused(
                Kind::Internal,
                "the record of a reconciliation could not be written as JSON",
                e,
            )
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a record of this version or an earlier one.
    ///
    /// # Errors
    /// When it is none, or a later version of qlc wrote it in another form.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let record: Self = serde_json::from_slice(bytes).map_err(|e| {
            Error::caused(
                Kind::Damage,
                "the record of a reconciliation is not readable",
                e,
            )
        })?;
        if record.reconcile_version > RECONCILE_VERSION {
            let version = record.reconcile_version;
            return Err(Error::new(
                Kind::Damage,
                format!("the record has version {version}: a later qlc reads it"),
            ));
        }
        Ok(record)
    }
}

/// What a look at many days tells of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReconcileSummary {
    /// The day and the series.
    #[serde(skip)]
    pub partition: Partition,
    /// When it was compared, RFC 3339 in UTC.
    pub at: String,
    /// How the two stand to one another.
    pub verdict: ReconcileVerdict,
    /// In words, where there is something to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What was compared; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<ReconcilePass>,
    /// As in a [`ReconcileRecord`], like the following ones.
    pub ours: u64,
    /// Rows of the venue's files.
    pub theirs: u64,
    /// Rows, or minutes, with other values.
    pub differ: u64,
    /// Rows, or minutes, of the archive alone.
    pub only_ours: u64,
    /// Rows, or minutes, of the venue's files alone.
    pub only_theirs: u64,
    /// Rows that wait in the spool.
    pub waiting: u64,
    /// Rows of the archive that come from the venue's files.
    pub recovered: u64,
    /// Rows that this run put into the spool.
    pub taken: u64,
    /// How many holes there are.
    pub holes: HoleCounts,
}

impl From<ReconcileRecord> for ReconcileSummary {
    fn from(record: ReconcileRecord) -> Self {
        Self {
            taken: record
                .taken
                .filter(|taken| !taken.was_there)
                .map_or(0, |taken| taken.rows),
            partition: record.partition,
            at: record.at,
            verdict: record.verdict,
            message: record.message,
            pass: record.pass,
            ours: record.ours,
            theirs: record.theirs,
            differ: record.differ,
            only_ours: record.only_ours,
            only_theirs: record.only_theirs,
            waiting: record.waiting,
            recovered: record.recovered,
            holes: record.hole_counts,
        }
    }
}
