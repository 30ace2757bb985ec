//! Finds out which row groups of a broken file can be read, so that a compaction can go on without
//! the others.
//!
//! A row group is good if every row of it decodes. A file of which all row groups are bad, or none
//! is, cannot be salvaged: its fault concerns the file as a whole.

use super::{
    claims::{Claims, Span},
    examine::examine,
    fault::Problem,
    probe::{probe, span_of_groups, without},
    reader::Handle,
};
use crate::{
    error::Result,
    model::{
        quarantine::{ErrorType, Fault},
        receipt::RowGroup,
    },
};

/// What can be saved of a file.
#[derive(Debug)]
pub struct Salvage {
    /// What is true of its good row groups.
    pub claims: Claims,
    /// Its good row groups.
    pub good: Vec<RowGroup>,
    /// The row groups that are lost, and what is wrong with each.
    pub lost: Vec<(usize, Fault)>,
    /// Their rows.
    pub rows: u64,
    /// The span of `ts_event` among these as it is stored, where the footer tells.
    pub span: Option<Span>,
    /// Row groups of the file.
    pub groups: usize,
    /// Whether the footer holds a row hash, which is of all rows and cannot prove a part of them.
    pub unproven: bool,
}

/// Reads every row group by itself; `None` when nothing can be saved in this way.
///
/// # Errors
/// When the file is out of reach.
pub async fn salvage(handle: &Handle) -> Result<Option<Salvage>> {
    let found = match look(handle).await {
        Ok(found) => found,
        Err(Problem::Storage(error)) => return Err(error),
        Err(_) => return Ok(None),
    };
    Ok(found)
}

async fn look(handle: &Handle) -> std::result::Result<Option<Salvage>, Problem> {
    let claims = probe(handle).await?;
    let Some(meta) = claims.meta.clone() else {
        return Ok(None);
    };
    let mut lost = Vec::new();
    for (group, described) in meta.row_groups().iter().enumerate() {
        let mut rows = handle.rows_of(&meta, 8192, &[])?;
        rows.only(group);
        let mut count = 0_i64;
        let fault = loop {
            match rows.next().await {
                Ok(Some(batch)) => count += i64::try_from(batch.num_rows()).unwrap_or(i64::MAX),
                Ok(None) if count == described.num_rows() => break None,
                Ok(None) => {
                    let what = format!(
                        "row group {group} has {count} rows, its footer claims {}",
                        described.num_rows()
                    );
                    break Some(Fault::new(ErrorType::PageCorrupt, what));
                }
                Err(Problem::Bad(fault)) => break Some(fault),
                Err(other) => return Err(other),
            }
        };
        lost.extend(fault.map(|fault| (group, fault)));
    }
    let groups = meta.num_row_groups();
    if lost.is_empty() || lost.len() == groups {
        return Ok(None);
    }
    let bad: Vec<usize> = lost.iter().map(|(group, _)| *group).collect();
    let rest = without(&claims, &bad)?;
    let rows = rest.lost.as_ref().map_or(0, |l| l.rows);
    let span = span_of_groups(&claims, &bad);
    let rest = examine(handle, &rest).await?;
    Ok(Some(Salvage {
        claims: rest.claims,
        good: rest.row_groups,
        lost,
        rows,
        span,
        groups,
        unproven: claims.row_hash.is_some(),
    }))
}
