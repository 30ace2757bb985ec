//! Counts and hashes rows as they pass: the one way in which all rows of a file are read for what
//! they are.
//!
//! Whoever wants to know more of the rows looks at each batch beside it. What is told by the footer
//! is compared at the end, with [`Claims::agree`].

use arrow::array::RecordBatch;

use super::{
    claims::{Claims, Constant},
    fault::Problem,
    reader::{Handle, Rows},
};
use crate::{
    error,
    model::{
        receipt::RowGroup,
        row_hash::{RowHash, RowSums},
        schema::SEQ,
    },
};

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 8192;

/// Which row hashes are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hashes {
    /// That of the rows.
    #[default]
    Whole,
    /// Also that of the rows without `seq`.
    AndWithoutSeq,
}

/// The rows that were taken so far.
#[derive(Debug, Default)]
pub struct RowTally {
    /// How many.
    pub rows: u64,
    /// Their row hash.
    pub row_hash: RowHash,
    /// Their row hash without `seq`, where it is wanted.
    pub without_seq: Option<RowHash>,
    /// The row groups that they are of, by their places in the footer that they were read with.
    pub row_groups: Vec<RowGroup>,
    /// Of the batch that was taken last.
    last: RowHash,
    sums: RowSums,
}

impl RowTally {
    /// No rows yet.
    #[must_use]
    pub fn of(hashes: Hashes) -> Self {
        Self {
            without_seq: (hashes == Hashes::AndWithoutSeq).then_some(RowHash::EMPTY),
            ..Self::default()
        }
    }

    /// Takes rows as they are.
    ///
    /// # Errors
    /// When a column's type has no hash.
    pub fn take(&mut self, batch: &RecordBatch) -> error::Result<()> {
        self.sums.begin(batch.num_rows());
        let named = || batch.schema_ref().fields().iter().zip(batch.columns());
        // The hash is a sum, so `seq` may come last.
        for (field, column) in named().filter(|(field, _)| field.name() != SEQ) {
            self.sums.add(field.name(), column)?;
        }
        self.without_seq = self.without_seq.map(|hash| hash.and(self.sums.hash()));
        for (_, column) in named().filter(|(field, _)| field.name() == SEQ) {
            self.sums.add(SEQ, column)?;
        }
        self.last = self.sums.hash();
        self.rows += batch.num_rows() as u64;
        self.row_hash = self.row_hash.and(self.last);
        Ok(())
    }

    /// Takes the next rows of the row group at `index` of the file.
    ///
    /// # Errors
    /// When a column's type has no hash.
    pub fn take_of_group(&mut self, batch: &RecordBatch, index: usize) -> error::Result<()> {
        self.take(batch)?;
        RowGroup::add(
            &mut self.row_groups,
            index,
            batch.num_rows() as u64,
            self.last,
        );
        Ok(())
    }

    /// Takes all that is left of `rows`; `each` is shown every batch once it is taken.
    ///
    /// # Errors
    /// When the file cannot be read to its end, and those of `each`.
    pub async fn read(
        &mut self,
        rows: &mut Rows,
        mut each: impl FnMut(&RecordBatch, &Self) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        while let Some(batch) = rows.next().await? {
            self.take_of_group(&batch, rows.row_group())?;
            each(&batch, self)?;
        }
        Ok(())
    }

    /// All rows of the file whose footer says `claims`; `each` is shown every batch once it is
    /// taken.
    ///
    /// # Errors
    /// When the file cannot be read to its end, and those of `each`.
    pub async fn of_file(
        handle: &Handle,
        claims: &Claims,
        each: impl FnMut(&RecordBatch, &Self) -> Result<(), Problem>,
    ) -> Result<Self, Problem> {
        // What is said to be the same text in every row is compared once as a dictionary, whatever
        // it turns out to be.
        let is_text = |value: &Constant| matches!(value, Constant::Text(_));
        let texts = claims.constants.iter().filter(|(_, value)| is_text(value));
        let keyed: Vec<String> = texts.map(|(name, _)| name.clone()).collect();
        let mut rows = handle.rows(claims, BATCH_ROWS, &keyed).await?;
        let mut all = Self::default();
        all.read(&mut rows, each).await?;
        for group in &mut all.row_groups {
            group.index = claims.row_group(group.index);
        }
        Ok(all)
    }

    /// The row hash of the batch that was taken last.
    #[must_use]
    pub fn last(&self) -> RowHash {
        self.last
    }

    /// The hashes of its rows, one by one.
    pub fn last_rows(&self) -> impl Iterator<Item = u64> {
        self.sums.rows()
    }

    /// These rows and those of `next`, which follow them in one file or in another.
    #[must_use]
    pub fn and(mut self, next: Self) -> Self {
        self.row_groups.extend(next.row_groups);
        Self {
            rows: self.rows + next.rows,
            row_hash: self.row_hash.and(next.row_hash),
            without_seq: self
                .without_seq
                .zip(next.without_seq)
                .map(|(a, b)| a.and(b)),
            row_groups: self.row_groups,
            last: next.last,
            sums: next.sums,
        }
    }
}
