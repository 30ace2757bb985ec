//! Spool files that were found, after a generation was published, to hold its rows: files that were
//! touched, renamed, moved or copied since.
//!
//! They are recorded in a note beside the receipt, `_receipts/…/{sha256}.copies.json`. With the
//! note nobody has to read them again, and a command that only lists files recognises them. Nothing
//! depends on a note: without it such files are read again.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::partition::{PartitionHandle, PartitionObjects, version};
use crate::{
    error::{Error, Kind, Result},
    model::receipt::{FileCopy, Receipt},
    storage::{Expect, atomic},
};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    copies: Vec<FileCopy>,
}

/// `receipt` with the files that are noted for its generation, where `listed` shows a note. One
/// that cannot be understood says nothing.
///
/// # Errors
/// When the archive does not answer.
pub async fn with_noted(
    handle: &PartitionHandle,
    listed: &PartitionObjects,
    mut receipt: Receipt,
) -> Result<Receipt> {
    if listed.notes.contains(&receipt.outcome.sha256) {
        let (note, _) = read(handle, &receipt.outcome.sha256).await?;
        receipt.copies.extend(note.copies);
    }
    Ok(receipt)
}

async fn read(handle: &PartitionHandle, sha256: &str) -> Result<(Note, Expect)> {
    let stands = handle
        .archive()
        .read_version(&handle.note_key(sha256))
        .await?;
    let Some((bytes, tag)) = stands else {
        return Ok((Note::default(), Expect::Absent));
    };
    Ok((
        serde_json::from_slice(&bytes).unwrap_or_default(),
        version(Some(tag)),
    ))
}

/// Notes files for the generation with this sha256. Where another process is noting some as well,
/// it is left to the next run.
///
/// # Errors
/// When the note cannot be written.
pub async fn note(
    handle: &PartitionHandle,
    staging: &Path,
    sha256: &str,
    found: &[FileCopy],
) -> Result<()> {
    let (mut note, expect) = read(handle, sha256).await?;
    note.copies
        .retain(|copy| !found.iter().any(|new| new.name == copy.name));
    note.copies.extend(found.iter().cloned());
    note.copies.sort_by(|a, b| a.name.cmp(&b.name));
    let mut bytes = serde_json::to_vec_pretty(&note)
        .map_err(|e| Error::caused(Kind::Internal, "a note could not be written as JSON", e))?;
    bytes.push(b'\n');
    match atomic::write_bytes(
        handle.archive(),
        &handle.note_key(sha256),
        staging,
        &expect,
        bytes,
    )
    .await
    {
        Err(error) if error.kind() != Kind::Conflict => Err(error),
        _ => Ok(()),
    }
}
