//! Changes one `error.json`, and writes the journals.
//!
//! What another process wrote meanwhile is not overwritten: a folder is locked, in a bucket the
//! write is conditional.

use chrono::SecondsFormat;

use super::report::Place;
use crate::{
    archive::{partition::PartitionHandle, quarantine},
    error::{Error, Kind, Result},
    model::{
        date::Date,
        journal::{Released, to_lines},
        layout,
        partition::Partition,
        quarantine::Entry,
    },
    storage::{
        Expect, atomic,
        remove::{Removal, remove},
        runs,
    },
};

/// Lets `change` alter the entry that is kept under this name, or take it out by returning `None`.
///
/// # Errors
/// When there is no such entry any more, `error.json` cannot be written, or another process keeps
/// writing it.
pub(super) async fn change(
    at: &Place<'_>,
    partition: &Partition,
    kept_as: &str,
    change: impl Fn(Entry) -> Option<Entry> + Send + Sync,
) -> Result<()> {
    quarantine::change(
        &PartitionHandle::new(at.archive, partition),
        at.staging,
        kept_as,
        change,
    )
    .await
}

/// Removes an object of QUARANTINE, if it is there.
pub(super) async fn drop_object(at: &Place<'_>, key: &str) -> Result<()> {
    let Some(object) = at.archive.head(key).await? else {
        return Ok(());
    };
    match remove(at.archive, &object).await? {
        Removal::Removed | Removal::Absent => Ok(()),
        Removal::Changed => Err(Error::new(
            Kind::Io,
            format!(
                "{}: was replaced while it was to be removed; try again",
                at.archive.show(key)
            ),
        )),
    }
}

/// Writes a journal of its own into `folder`; returns its key.
pub(super) async fn journal(at: &Place<'_>, folder: &str, lines: &[Released]) -> Result<String> {
    let dir = layout::journal_dir(folder, Date::of(at.now)?);
    let key = format!("{dir}/{}.ndjson", runs::name(&time(at)));
    let _ = atomic::write_bytes(
        at.archive,
        &key,
        at.staging,
        &Expect::Absent,
        to_lines(lines)?,
    )
    .await?;
    Ok(key)
}

/// The instant of the run as documents write it.
pub(super) fn time(at: &Place<'_>) -> String {
    at.now.to_rfc3339_opts(SecondsFormat::Secs, true)
}
