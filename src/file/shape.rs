//! The columns of a partition on their way: which are carried through the merge row by row, and
//! which have one value in every row and are added again at the end.
//!
//! `seq` and times are never constants: the order needs them, and a change of unit looks at every
//! value.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, new_null_array},
    compute::cast,
    datatypes::{DataType, Schema, SchemaRef},
};

use super::claims::{Claims, Constant, Fill};
use crate::{
    error::{Error, Kind, Result},
    model::schema::{SEQ, TIME_COLUMNS, TS_EVENT, logical},
};

/// What becomes of a column.
#[derive(Debug, Clone)]
pub enum Column {
    /// It travels with the rows, at this place of [`Shape::carried`].
    Carried(usize),
    /// It has this value (an array of one) in every row.
    Constant(ArrayRef),
}

/// The columns of one partition.
#[derive(Debug, Clone)]
pub struct Shape {
    /// All columns, as the archive has them.
    pub schema: SchemaRef,
    /// The columns that travel.
    pub carried: SchemaRef,
    /// What becomes of each column of `schema`.
    pub columns: Vec<Column>,
    /// Where `ts_event` is among the carried columns.
    pub ts: usize,
    /// Where `seq` is among the carried columns.
    pub seq: usize,
}

impl Shape {
    /// The shape of a partition with the columns of `schema`, made of files with these claims.
    ///
    /// # Errors
    /// Never in practice: every canonical schema has `ts_event` and `seq`.
    pub fn of<'a>(
        schema: SchemaRef,
        files: impl Iterator<Item = &'a Claims> + Clone,
    ) -> Result<Self> {
        let with_rows = files.filter(|c| c.rows > 0);
        let mut columns = Vec::with_capacity(schema.fields().len());
        let mut carried = Vec::new();
        for field in schema.fields() {
            let kept = field.name() == SEQ || TIME_COLUMNS.contains(&field.name().as_str());
            let value = if kept {
                None
            } else {
                constant(field.name(), field.data_type(), with_rows.clone())
            };
            columns.push(if let Some(value) = value {
                Column::Constant(value)
            } else {
                carried.push(Arc::clone(field));
                Column::Carried(carried.len() - 1)
            });
        }
        let carried = Arc::new(Schema::new(carried));
        let place = |name| {
            carried
                .index_of(name)
                .map_err(|e| Error::caused(Kind::Internal, "canonical columns", e))
        };
        Ok(Self {
            ts: place(TS_EVENT)?,
            seq: place(SEQ)?,
            schema,
            columns,
            carried,
        })
    }

    /// `carried` rows with all columns.
    ///
    /// # Errors
    /// When `carried` does not have the carried columns.
    pub fn complete(&self, carried: &RecordBatch) -> Result<RecordBatch> {
        let rows = carried.num_rows();
        let wrong = |e| Error::caused(Kind::Internal, "the columns of a merged batch", e);
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            columns.push(match column {
                Column::Carried(at) => Arc::clone(carried.column(*at)),
                Column::Constant(one) => repeat(one, rows).map_err(wrong)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(wrong)
    }

    /// Bytes of a carried row in memory; strings and nested values are counted by what is usual for
    /// them.
    #[must_use]
    pub fn row_bytes(&self) -> u64 {
        let bytes = |kind: &DataType| kind.primitive_width().map_or(48, |w| w as u64);
        self.carried
            .fields()
            .iter()
            .map(|f| bytes(f.data_type()))
            .sum()
    }
}

fn repeat(one: &ArrayRef, rows: usize) -> std::result::Result<ArrayRef, arrow::error::ArrowError> {
    arrow::compute::take(one, &arrow::array::UInt32Array::from_value(0, rows), None)
}

/// The value that all files agree on: one constant, or nothing at all where no file has a value in
/// the column.
fn constant<'a>(
    name: &str,
    kind: &DataType,
    files: impl Iterator<Item = &'a Claims> + Clone,
) -> Option<ArrayRef> {
    if kind.is_nested() {
        return None;
    }
    let is_empty = |c: &Claims| {
        c.schema.column_with_name(name).is_none() || c.fills.get(name) == Some(&Fill::Empty)
    };
    if files.clone().all(is_empty) {
        return Some(new_null_array(kind, 1));
    }
    let mut all: Option<&Constant> = None;
    for claims in files {
        let here = claims.constants.get(name)?;
        let (_, field) = claims.schema.column_with_name(name)?;
        // Statistics tell numbers by their bits: what those mean is the column's type to say.
        if logical(field.data_type()) != *kind
            && !(field.data_type().is_signed_integer() && kind.is_signed_integer())
        {
            return None;
        }
        if all.is_some_and(|known| known != here) {
            return None;
        }
        all = Some(here);
    }
    let one: ArrayRef = match all? {
        Constant::Text(text) if *kind == DataType::Utf8 => {
            Arc::new(StringArray::from(vec![text.as_str()]))
        }
        Constant::Int(value) if kind.is_signed_integer() || (kind.is_integer() && *value >= 0) => {
            Arc::new(Int64Array::from(vec![*value]))
        }
        _ => return None,
    };
    let cast = cast(&one, kind).ok()?;
    (cast.null_count() == 0).then_some(cast)
}
