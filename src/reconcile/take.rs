//! Rows that only the venue's files have become a sealed spool file of one more collector, whose
//! name says where they come from.
//!
//! They are written on a scratch disk as they are found, sorted, sealed, read back, and only then
//! copied into the spool under a name that follows from their content. The next compaction merges
//! the file like any other.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, new_null_array},
    compute::{cast, concat, interleave_record_batch},
    datatypes::{DataType, Schema, SchemaRef},
};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    errors::ParquetError,
};

use super::{
    published::FOOTER_SOURCES,
    rows::{Spot, is_own_column},
};
use crate::{
    engine::sql::{self, Means},
    error::{Error, Kind, Result},
    file::sealed::{SealedWriter, other_rows},
    model::{
        layout,
        partition::{Partition, Series},
        reconcile::TakenRows,
        row_hash::RowHash,
    },
    storage::{Expect, atomic, store::Store},
};

/// Rows that are put together before they are written.
const PIECE: usize = 8192;
/// Batches that may be held for them.
const BATCHES: usize = 32;
/// The columns that have one value throughout, and that tables of a store do not show.
const CONSTANT: [&str; 3] = ["exchange", "stream", "symbol"];

/// The collector whose files hold what the venue of a series published.
pub(super) fn collector(series: &Series) -> String {
    format!("{}-archive", series.exchange)
}

/// Rows that were found, on their way to a file.
#[derive(Debug)]
pub(super) struct Taking {
    /// A store of its own, with the layout of a spool.
    root: PathBuf,
    path: PathBuf,
    writer: Option<ArrowWriter<File>>,
    pending: Vec<Spot>,
    rows: u64,
}

impl Taking {
    /// Nothing was found yet; `root` is a new folder of the scratch disk.
    pub(super) fn new(root: PathBuf, partition: &Partition) -> Self {
        let path = root.join(format!(
            "{}/{}_taken.parquet",
            layout::series_dir(&partition.series),
            partition.date.iso()
        ));
        Self {
            root,
            path,
            writer: None,
            pending: Vec::new(),
            rows: 0,
        }
    }

    /// How many rows were found.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// One more row.
    pub(super) fn add(&mut self, spot: Spot) -> Result<()> {
        self.pending.push(spot);
        self.rows += 1;
        let batches = self
            .pending
            .chunk_by(|(one, _), (next, _)| Arc::ptr_eq(one, next))
            .count();
        if self.pending.len() >= PIECE || batches > BATCHES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let mut batches: Vec<&RecordBatch> = Vec::new();
        let mut places = Vec::with_capacity(pending.len());
        let mut last: Option<&Arc<RecordBatch>> = None;
        for (batch, at) in &pending {
            if !last.is_some_and(|last| Arc::ptr_eq(last, batch)) {
                batches.push(batch);
                last = Some(batch);
            }
            places.push((batches.len() - 1, *at));
        }
        if places.is_empty() {
            return Ok(());
        }
        let wrong = |e| Error::caused(Kind::Internal, "rows that are to be taken", e);
        let found = interleave_record_batch(&batches, &places).map_err(wrong)?;
        let own: Vec<usize> = (0..found.num_columns())
            .filter(|at| is_own_column(found.schema_ref().field(*at).name()))
            .collect();
        let found = found.project(&own).map_err(wrong)?;
        if self.writer.is_none() {
            let folder = self.path.parent().unwrap_or(&self.root);
            std::fs::create_dir_all(folder)
                .map_err(|e| Error::io(format!("{}: cannot be made", folder.display()), e))?;
            let writer = ArrowWriter::try_new(create(&self.path)?, found.schema(), None)
                .map_err(|e| unwritten(&self.path, e))?;
            self.writer = Some(writer);
        }
        match &mut self.writer {
            Some(writer) => writer.write(&found).map_err(|e| unwritten(&self.path, e)),
            None => Ok(()),
        }
    }

    /// Seals what was found and puts it into the spool; `None` where nothing was. `published` is
    /// the file that all rows of theirs lie in.
    pub(super) async fn finish(
        mut self,
        partition: &Partition,
        published: &Path,
        spool: &Store,
        staging: &Path,
        means: Means<'_>,
    ) -> Result<Option<TakenRows>> {
        self.flush()?;
        let Some(writer) = self.writer.take() else {
            return Ok(None);
        };
        let _ = writer.close().map_err(|e| unwritten(&self.path, e))?;
        let form = Form::of(published)?;
        let sealed = self.root.join("sealed.parquet");
        let written = self.seal(&form, &sealed, means).await?;
        let key = key(partition, written);
        if spool.head(&key).await?.is_some() {
            return Ok(Some(TakenRows {
                file: key,
                rows: self.rows,
                was_there: true,
            }));
        }
        let from = Store::open(&self.root.display().to_string())?;
        let copied = atomic::copy(
            &from,
            "sealed.parquet",
            spool,
            &key,
            staging,
            &Expect::Absent,
        );
        let was_there = match copied.await {
            Ok(_) => false,
            // Another run made the same file meanwhile.
            Err(error) if error.kind() == Kind::Conflict => true,
            Err(error) => return Err(error),
        };
        Ok(Some(TakenRows {
            file: key,
            rows: self.rows,
            was_there,
        }))
    }

    /// Writes all that was found, sorted, in the columns of `form`.
    async fn seal(&self, form: &Form, sealed: &Path, means: Means<'_>) -> Result<RowHash> {
        let found = Store::open(&self.root.display().to_string())?;
        let text = "SELECT * FROM spool.trade ORDER BY ts_event, seq, sub_seq, trade_id";
        let mut sorted = sql::rows(&found, &found, text, &BTreeMap::new(), means).await?;
        let mut writer = SealedWriter::new(create(sealed)?, sealed, Arc::clone(&form.columns))?;
        while let Some(batch) = sorted.next().await? {
            writer.write(&form.of_rows(&batch)?)?;
        }
        let made = writer.finish_proven(&[(FOOTER_SOURCES, form.sources.clone())])?;
        if made.rows != self.rows {
            return Err(other_rows(&sealed.display().to_string()));
        }
        Ok(made.row_hash)
    }
}

/// The key of a file of these rows: the day leads, so that it is known where they belong, and the
/// rest follows from them.
fn key(partition: &Partition, hash: RowHash) -> String {
    let hash = hash.to_string();
    let digits: String = hash.chars().filter(char::is_ascii_hexdigit).collect();
    let end = digits.len().saturating_sub(16);
    format!(
        "{}/{}/{}_{}.parquet",
        layout::collector_dir(&collector(&partition.series)),
        layout::series_dir(&partition.series),
        partition.date.iso(),
        digits.get(end..).unwrap_or(&digits)
    )
}

/// What the file of the venue's rows tells of all of them: its columns, those with one value, and
/// where they come from.
#[derive(Debug)]
struct Form {
    columns: SchemaRef,
    constants: BTreeMap<String, ArrayRef>,
    sources: String,
}

impl Form {
    fn of(published: &Path) -> Result<Self> {
        let wrong =
            |e: ParquetError| Error::io(format!("{}: cannot be read", published.display()), e);
        let builder = ParquetRecordBatchReaderBuilder::try_new(open(published)?).map_err(wrong)?;
        let pairs = builder.metadata().file_metadata().key_value_metadata();
        let sources = pairs
            .and_then(|pairs| pairs.iter().find(|pair| pair.key == FOOTER_SOURCES))
            .and_then(|pair| pair.value.clone())
            .unwrap_or_default();
        let fields: Vec<_> = builder.schema().fields().iter().cloned().collect();
        let columns = Arc::new(Schema::new(fields));
        let mut reader = builder.with_batch_size(1).build().map_err(wrong)?;
        let first = reader
            .next()
            .transpose()
            .map_err(|e| Error::io(format!("{}: cannot be read", published.display()), e))?;
        let constants = first
            .iter()
            .flat_map(|batch| {
                CONSTANT.iter().filter_map(|name| {
                    Some(((*name).to_owned(), Arc::clone(batch.column_by_name(name)?)))
                })
            })
            .collect();
        Ok(Self {
            columns,
            constants,
            sources,
        })
    }

    fn of_rows(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let wrong = |e| Error::caused(Kind::Internal, "rows that are to be taken", e);
        let rows = batch.num_rows();
        let mut columns = Vec::with_capacity(self.columns.fields().len());
        for field in self.columns.fields() {
            let column = match (
                self.constants.get(field.name()),
                batch.column_by_name(field.name()),
            ) {
                (Some(one), _) => repeated(one, rows).map_err(wrong)?,
                (None, Some(column)) => cast(column, field.data_type()).map_err(wrong)?,
                (None, None) => new_null_array(field.data_type(), rows),
            };
            columns.push(column);
        }
        RecordBatch::try_new(Arc::clone(&self.columns), columns).map_err(wrong)
    }
}

/// One value, so many times.
fn repeated(
    one: &ArrayRef,
    rows: usize,
) -> std::result::Result<ArrayRef, arrow::error::ArrowError> {
    if *one.data_type() == DataType::Utf8 && one.is_valid(0) {
        let value = one.as_string::<i32>().value(0);
        return Ok(Arc::new(StringArray::from_iter_values(
            std::iter::repeat_n(value, rows),
        )));
    }
    let all: Vec<&dyn Array> = std::iter::repeat_n(one.as_ref(), rows).collect();
    concat(&all)
}

fn create(path: &Path) -> Result<File> {
    File::create(path).map_err(|e| Error::io(format!("{}: cannot be made", path.display()), e))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::io(format!("{}: cannot be read", path.display()), e))
}

fn unwritten(path: &Path, error: ParquetError) -> Error {
    Error::io(format!("{}: cannot be written", path.display()), error)
}
