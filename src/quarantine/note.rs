//! Changes one `error.json`, and writes the journals.
//!
//! Refuses to change it while another qlc is at work on the partition, as far as a folder can tell.

use chrono::SecondsFormat;

use super::report::Place;
use crate::{
    engine::evidence,
    error::{Error, Kind, Result},
    model::{
        date::Date,
        journal::{Released, to_lines},
        layout,
        partition::Partition,
        quarantine::{Entry, ErrorFile},
    },
    storage::{
        atomic::{self, FolderLock},
        remove::{Removal, remove},
    },
};

/// Keeps compactions of the partition away until the value is dropped; a bucket has no such lock.
pub(super) fn hold(at: &Place<'_>, partition: &Partition) -> Result<Option<FolderLock>> {
    if at.archive.local_folder().is_none() {
        return Ok(None);
    }
    match atomic::lock(at.archive, &layout::partition_dir(partition))? {
        Some(lock) => Ok(Some(lock)),
        None => Err(Error::new(
            Kind::Io,
            format!("{partition}: another qlc is at work on this partition; try again when it is done"),
        )),
    }
}

/// Lets `change` alter the entry that is kept under this name, or take it out by returning `None`.
///
/// # Errors
/// When there is no such entry any more, or `error.json` cannot be written.
pub(super) async fn change(
    at: &Place<'_>,
    partition: &Partition,
    kept_as: &str,
    change: impl Fn(Entry) -> Option<Entry>,
) -> Result<()> {
    let _lock = hold(at, partition)?;
    let entries = evidence::entries(at.archive, partition).await?;
    let before = entries.len();
    let (mut same, mut others): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|e| e.kept_as == kept_as);
    let Some(entry) = same.pop() else {
        return Err(Error::new(Kind::Io, format!("{partition}: {kept_as} is not in QUARANTINE any more")));
    };
    others.extend(change(entry));
    debug_assert!(others.len() <= before, "no entry is added here");
    let key = format!("{}/{}", layout::quarantine_dir(partition), layout::ERROR_FILE);
    match ErrorFile::of(others) {
        Some(file) => {
            let _ = atomic::write_bytes(at.archive, &key, at.staging, file.to_json()?).await?;
        }
        None => drop_object(at, &key).await?,
    }
    Ok(())
}

/// Removes an object of QUARANTINE, if it is there.
pub(super) async fn drop_object(at: &Place<'_>, key: &str) -> Result<()> {
    let Some(object) = at.archive.head(key).await? else { return Ok(()) };
    match remove(at.archive, &object).await? {
        Removal::Removed | Removal::Absent => Ok(()),
        Removal::Changed => Err(Error::new(
            Kind::Io,
            format!("{}: was replaced while it was to be removed; try again", at.archive.show(key)),
        )),
    }
}

/// Writes a journal of its own into `folder`; returns its key.
pub(super) async fn journal(at: &Place<'_>, folder: &str, lines: &[Released]) -> Result<String> {
    let time: String = time(at).chars().filter(char::is_ascii_alphanumeric).collect();
    let id = uuid::Uuid::new_v4().simple().to_string();
    let dir = layout::journal_dir(folder, Date::of(at.now)?);
    let key = format!("{dir}/{time}-{}.ndjson", id.get(..8).unwrap_or(&id));
    let _ = atomic::write_bytes(at.archive, &key, at.staging, to_lines(lines)?).await?;
    Ok(key)
}

/// The instant of the run as documents write it.
pub(super) fn time(at: &Place<'_>) -> String {
    at.now.to_rfc3339_opts(SecondsFormat::Secs, true)
}
