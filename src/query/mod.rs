//! `query`: one read-only statement over the spool and the archive, its rows on a stream or in a
//! file.
//!
//! A result is not held in memory: rows are written as they come, except for the table, which shows
//! a limited number.

mod format;
mod named;
mod names;
mod output;
mod split;

use std::{collections::BTreeMap, io::Write, path::PathBuf};

pub use self::{
    format::{Format, TABLE_ROWS},
    named::{Named, Param, ParamKind, named},
    names::{Names, names},
    split::{Split, split},
};
pub use crate::engine::sql::EMPTY;
use crate::{
    engine::sql::{self, Remote, Value},
    error::{Error, Result},
    storage::store::Store,
};

/// Which statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// This text.
    Sql(String),
    /// One of [`named`].
    Named(String),
}

/// What a query is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The statement.
    pub statement: Statement,
    /// Values of its parameters, by name without the `$`.
    pub params: Vec<(String, String)>,
    /// How rows are written.
    pub format: Format,
    /// Where to; not a file but the given stream if absent.
    pub output: Option<PathBuf>,
    /// Bytes that the process may have resident.
    pub memory_limit: u64,
    /// Where sorts and aggregations that do not fit in memory are spilled.
    pub spill_dir: PathBuf,
    /// Where the rows are made, if not here.
    pub remote: Option<Remote>,
}

impl Options {
    fn means(&self) -> sql::Means<'_> {
        let Self {
            memory_limit,
            spill_dir,
            remote,
            ..
        } = self;
        sql::Means {
            memory_limit: *memory_limit,
            spill_dir,
            remote: remote.as_ref(),
            all_columns: true,
        }
    }
}

/// What became of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Rows that were written.
    pub rows: u64,
    /// Files of the spool whose rows it lacks: they could not be read, or do not fit the table.
    /// Each was told of.
    pub left_out: usize,
}

/// Runs the statement and writes its rows to `out` or to the output file. A reader of `out` that
/// has seen enough and closes it ends the query without an error.
///
/// # Errors
/// When the statement or its parameters are wrong, when the rows cannot be read or written. An
/// output file is complete or is not there.
pub async fn run(
    spool: &Store,
    archive: &Store,
    options: &Options,
    out: &mut (dyn Write + Send),
) -> Result<Answer> {
    if options.format == Format::Parquet && options.output.is_none() {
        return Err(Error::usage(
            "--format parquet needs a file: add --output FILE.parquet",
        ));
    }
    let (text, params) = match &options.statement {
        Statement::Sql(text) => (text.as_str(), typed(&options.params)?),
        Statement::Named(name) => {
            let named = named::find(name)?;
            (named.sql, named.values(&options.params)?)
        }
    };
    let rows = sql::rows(spool, archive, text, &params, options.means()).await?;
    let left_out = rows.left_out();
    let rows = match &options.output {
        None => format::write(rows, options.format, out).await?.rows,
        Some(path) => output::write(rows, options.format, path).await?,
    };
    Ok(Answer {
        rows,
        left_out: left_out.files(),
    })
}

/// Values whose types their places tell; text in single quotes is text whatever is in it.
fn typed(given: &[(String, String)]) -> Result<BTreeMap<String, Value>> {
    let mut values = BTreeMap::new();
    for (name, text) in given {
        let quoted = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
        let value = match quoted {
            Some(inner) => Value::Text(inner.to_owned()),
            None => Value::Typed(text.clone()),
        };
        if values.insert(name.clone(), value).is_some() {
            return Err(named::twice(name));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
