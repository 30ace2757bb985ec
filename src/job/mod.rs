//! One partition's work as plain values: its sources, its shape, and the ledger in which every
//! source accounts for its rows.
//!
//! Open files and plans belong to an attempt, not to the job. [`layout`] decides what is merged in
//! which passes and [`budget`] how much memory that may take, [`checker`] counts the rows of a
//! source, and [`attempt`] is what one run came to. The engine executes it; nothing here names
//! DataFusion.

pub mod attempt;
pub mod budget;
pub mod checker;
pub mod columns;
pub mod conflicts;
pub mod layout;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow::{
    array::Array,
    buffer::BooleanBuffer,
    datatypes::{DataType, Field, Schema, SchemaRef},
};

use crate::{
    file::{
        ahead::Ahead,
        claims::Claims,
        fault::Problem,
        reader::Handle,
        shape::{Column, Shape},
    },
    model::{
        date::Date,
        partition::Partition,
        receipt::{FilledHole, RowGroup},
        row_hash::RowHash,
        schema::SOURCE,
    },
};

/// What must be done to a source's rows before they can be merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing: they are in order, as the footer says; this is checked as they are read.
    Claimed,
    /// They are sorted in memory, all at once.
    SortInMemory,
    /// They are sorted by the engine, which spills.
    SortSpilling,
}

/// Where a source comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The spool.
    Spool,
    /// The archive: the data that is about to be replaced.
    Base,
}

/// One source of a partition.
#[derive(Debug, Clone)]
pub struct JobSource {
    /// Its key in its store.
    pub name: String,
    /// How to read it.
    pub handle: Handle,
    /// The day it belongs to, where its name or folder tells.
    pub home: Option<Date>,
    /// What is known of it.
    pub claims: Claims,
    /// Where it comes from.
    pub role: Role,
    /// What its order needs.
    pub order: Order,
    /// Its place among the sources whose rows qlc numbers; `None` where the rows have a `seq` of
    /// their own.
    pub rank: Option<u32>,
    /// When it was last changed.
    pub modified_us: i64,
    /// Row groups whose rows the archive has already, from an earlier, damaged version of the file:
    /// they are read and accounted for, and not taken in again.
    pub known_groups: Vec<usize>,
    /// Rows that the archive has already, by their place among those that are read of the file.
    pub known_rows: Option<Arc<BooleanBuffer>>,
}

impl JobSource {
    /// Whether the archive has all of its rows already, so that it adds none.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known_rows
            .as_ref()
            .is_some_and(|known| known.count_set_bits() as u64 == self.claims.rows)
    }

    /// Which of the next `rows` rows, after the first `before`, the archive has already; `None`
    /// where it has none of them.
    #[must_use]
    pub fn known_of(&self, before: u64, rows: usize) -> Option<BooleanBuffer> {
        let known = self.known_rows.as_ref()?;
        let before = usize::try_from(before)
            .unwrap_or(usize::MAX)
            .min(known.len());
        let here = known.slice(before, rows.min(known.len() - before));
        (here.count_set_bits() > 0).then(|| {
            // A file with more rows than were looked at is found out by its bill; they are not
            // known.
            if here.len() == rows {
                here
            } else {
                here.iter()
                    .chain(std::iter::repeat(false))
                    .take(rows)
                    .collect()
            }
        })
    }
}

/// What one source turned out to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceTally {
    /// All rows.
    pub rows: u64,
    /// The row hash of all rows as they were read.
    pub row_hash: RowHash,
    /// Rows of this partition.
    pub here: u64,
    /// Their row hash over the columns that the proof compares, after any change of unit.
    pub here_hash: RowHash,
    /// The row hash of the rows of this partition over the columns by which rows of several
    /// collectors are compared.
    pub events_hash: RowHash,
    /// Rows of this partition that the archive has already.
    pub known: u64,
    /// Its row groups, as they were read.
    pub row_groups: Vec<RowGroup>,
    /// Rows of other days.
    pub elsewhere: BTreeMap<Date, u64>,
    /// Rows without a plausible or permitted day.
    pub quarantined: u64,
    /// The row hash of these rows as they were read.
    pub quarantined_hash: RowHash,
}

/// So many collectors can have rows of one partition: a set of them is a [`Mask`].
pub const MOST_COLLECTORS: usize = 64;

/// A set of collectors, the first one of which is the lowest bit.
pub type Mask = u64;

/// Of which collectors the sources of a job are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merging {
    /// Their names, at most [`MOST_COLLECTORS`].
    pub collectors: Vec<String>,
    /// The collector of each source, by its place.
    pub of_source: Vec<usize>,
}

/// What the merge came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// Rows that were left out, by their source.
    pub copies: BTreeMap<usize, u64>,
    /// Their row hash, over the columns that the proof compares.
    pub copies_hash: RowHash,
    /// Rows that were passed on, though another collector has others with their number.
    pub conflicts: u64,
    /// What each collector gave.
    pub collectors: Vec<Given>,
}

impl Merged {
    /// How many rows were left out.
    #[must_use]
    pub fn all_copies(&self) -> u64 {
        self.copies.values().sum()
    }
}

/// What one collector gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given {
    /// Rows that no other has.
    pub gain: u64,
    /// Rows whose number another collector has with other values.
    pub conflicts: u64,
    /// The row hash of the rows that were passed on and stand for one of its rows, over the columns
    /// that are compared.
    pub events_hash: RowHash,
    /// How often it alone had rows in succession.
    pub filled_holes: u64,
    /// The largest of these holes.
    pub filled: Vec<FilledHole>,
}

/// Called with rows and bytes as they are read.
pub type OnProgress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// One partition's work.
pub struct Job {
    /// The partition.
    pub partition: Partition,
    /// Its sources.
    pub sources: Vec<JobSource>,
    /// Its columns.
    pub shape: Shape,
    /// Of which collectors the sources are, where there are several.
    pub merging: Option<Merging>,
    /// Whether time columns are brought to nanoseconds.
    pub to_ns: bool,
    /// Whether qlc gives numbers to some rows; then the proof leaves `seq` out.
    pub numbers: bool,
    /// Where numbering begins: 0, or after the largest `seq` of archived data whose own numbers
    /// stay.
    pub first_number: i64,
    /// Rows of a batch on its way through the merge.
    pub batch_rows: usize,
    /// Bytes that a file sorted in memory may take.
    pub sort_in_memory: u64,
    /// Whether small files are decoded at once, so that a wide merge holds no open readers.
    pub eager: bool,
    /// What is fetched ahead of being read, where the spool is a bucket.
    pub ahead: Option<Ahead>,
    /// Who is told of progress.
    pub on_progress: OnProgress,
    /// Set when the run shall stop.
    pub stop: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The bills.
    pub ledger: Ledger,
}

/// The name of the column that says which source a row is of, while rows of several collectors are
/// on their way.
const SOURCE_INDEX: &str = "qlc.source";

impl Job {
    /// Whether rows of a file in which the exchange tells no numbers may be merged with recorded
    /// ones, which have them.
    #[must_use]
    pub fn has_unnumbered(&self) -> bool {
        let at = self.shape.schema.index_of(SOURCE).ok();
        let is_published = match at.and_then(|at| self.shape.columns.get(at)) {
            Some(Column::Carried(_)) => true,
            Some(Column::Constant(source)) => source.is_valid(0),
            None => false,
        };
        self.merging.is_some() && !self.numbers && is_published
    }

    /// The columns of rows on their way: those that are carried, and where several collectors gave
    /// them the place of the source, as the last one.
    #[must_use]
    pub fn flowing(&self) -> SchemaRef {
        if self.merging.is_none() {
            return Arc::clone(&self.shape.carried);
        }
        let source = Arc::new(Field::new(SOURCE_INDEX, DataType::Int32, false));
        Arc::new(Schema::new(
            self.shape
                .carried
                .fields()
                .iter()
                .cloned()
                .chain([source])
                .collect::<Vec<_>>(),
        ))
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("partition", &self.partition)
            .field("sources", &self.sources.len())
            .finish_non_exhaustive()
    }
}

/// What the sources of a partition turned out to hold, and what went wrong with them. It is what
/// readers tell the sink and the runner past the engine, whose streams carry rows and text only.
#[derive(Debug, Default)]
pub struct Ledger {
    tallies: Mutex<BTreeMap<usize, SourceTally>>,
    problems: Mutex<Vec<(usize, Problem)>>,
    merged: Mutex<Option<Merged>>,
    broken: AtomicBool,
}

impl Ledger {
    /// Bills the source at `index`, once, after its last row.
    pub fn bill(&self, index: usize, tally: SourceTally) {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        // A source that is read twice in one attempt would be billed twice: the proof must fail
        // then.
        if tallies.insert(index, tally).is_some() {
            self.broken.store(true, Ordering::SeqCst);
        }
    }

    /// Notes what the merge of several collectors came to, after its last row.
    pub fn merge(&self, merged: Merged) {
        let mut stands = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        if stands.replace(merged).is_some() {
            self.broken.store(true, Ordering::SeqCst);
        }
    }

    /// What the merge of several collectors came to, if it has ended.
    #[must_use]
    pub fn merged(&self) -> Option<Merged> {
        self.merged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes what went wrong with the source at `index`.
    pub fn blame(&self, index: usize, problem: Problem) {
        self.problems
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((index, problem));
    }

    /// Takes the problems out.
    pub fn problems(&self) -> Vec<(usize, Problem)> {
        std::mem::take(&mut self.problems.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The bills by source, if all `sources` have exactly one.
    #[must_use]
    pub fn complete(&self, sources: usize) -> Option<Vec<SourceTally>> {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let all = !self.broken.load(Ordering::SeqCst) && tallies.len() == sources;
        all.then(|| tallies.values().cloned().collect())
    }
}
