//! The names that a statement may use: the tables of both stores and their columns, for completion.
//!
//! They are asked for by a statement like any other, and not cached, because a store changes.

use std::{collections::BTreeMap, path::Path};

use arrow::array::AsArray;

use crate::{engine::sql, error::Result, storage::store::Store};

/// Tables as they are written, `archive.bbo`, each with its columns in order.
pub type Names = BTreeMap<String, Vec<String>>;

/// The statement that they come from.
const ALL: &str = "SELECT table_schema, table_name, column_name FROM information_schema.columns \
    WHERE table_schema IN ('archive', 'spool') ORDER BY table_schema, table_name, ordinal_position";

/// Asks both stores for their tables and columns.
///
/// # Errors
/// When a store cannot be listed.
pub async fn names(
    spool: &Store,
    archive: &Store,
    memory_limit: u64,
    spill_dir: &Path,
) -> Result<Names> {
    let means = sql::Means {
        memory_limit,
        spill_dir,
        remote: None,
        all_columns: false,
    };
    let mut rows = sql::rows(spool, archive, ALL, &BTreeMap::new(), means).await?;
    let mut names = Names::new();
    while let Some(batch) = rows.next().await? {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .filter_map(|c| c.as_string_opt::<i32>())
            .collect();
        let [schemas, tables, names_of_columns] = columns.as_slice() else {
            continue;
        };
        for ((schema, table), column) in schemas
            .iter()
            .zip(tables.iter())
            .zip(names_of_columns.iter())
        {
            let (Some(schema), Some(table), Some(column)) = (schema, table, column) else {
                continue;
            };
            let is_plain = table
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            let table = if is_plain {
                table.to_owned()
            } else {
                format!("\"{table}\"")
            };
            names
                .entry(format!("{schema}.{table}"))
                .or_default()
                .push(column.to_owned());
        }
    }
    Ok(names)
}
