//! Changes one `error.json`, and writes the journals.
//!
//! Refuses to overwrite what another process wrote meanwhile: a folder is locked, in a bucket the write is conditional.

use chrono::SecondsFormat;

use super::report::Place;
use crate::{
    error::{Error, Kind, Result},
    model::{
        date::Date,
        journal::{Released, to_lines},
        layout,
        partition::Partition,
        quarantine::{Entry, ErrorFile},
    },
    storage::{
        Expect, atomic,
        remove::{Removal, remove},
        runs,
    },
};

/// How often the turn to write `error.json` is waited for: compactions write it as well.
const TURNS: u32 = 250;

/// Lets `change` alter the entry that is kept under this name, or take it out by returning `None`.
///
/// # Errors
/// When there is no such entry any more, `error.json` cannot be written, or another process keeps writing it.
pub(super) async fn change(
    at: &Place<'_>,
    partition: &Partition,
    kept_as: &str,
    change: impl Fn(Entry) -> Option<Entry>,
) -> Result<()> {
    let dir = layout::quarantine_dir(partition);
    atomic::in_turn(at.archive, &dir, TURNS, || changed(at, partition, kept_as, &change)).await
}

async fn changed(
    at: &Place<'_>,
    partition: &Partition,
    kept_as: &str,
    change: impl Fn(Entry) -> Option<Entry>,
) -> Result<()> {
    let key = format!("{}/{}", layout::quarantine_dir(partition), layout::ERROR_FILE);
    let gone = || Error::new(Kind::Io, format!("{partition}: {kept_as} is not in QUARANTINE any more"));
    let object = at.archive.head(&key).await?;
    let Some((bytes, tag)) = at.archive.read_version(&key).await? else { return Err(gone()) };
    let file = ErrorFile::from_json(&bytes)
        .map_err(|e| Error::caused(Kind::Damage, format!("{}: mend it first", at.archive.show(&key)), e))?;
    let (mut same, mut others): (Vec<Entry>, Vec<Entry>) = file.files.into_iter().partition(|e| e.kept_as == kept_as);
    let entry = same.pop().ok_or_else(gone)?;
    others.extend(change(entry));
    match (ErrorFile::of(others), object) {
        (Some(file), _) => {
            let expect = tag.map_or(Expect::Anything, Expect::Version);
            let _ = atomic::write_bytes(at.archive, &key, at.staging, &expect, file.to_json()?).await?;
        }
        // What was read is what was looked at, or it changed and the turn is taken again.
        (None, Some(object)) if object.tag == tag => match remove(at.archive, &object).await? {
            Removal::Removed | Removal::Absent => {}
            Removal::Changed => return Err(Error::new(Kind::LostRace, "error.json has a new entry")),
        },
        (None, _) => return Err(Error::new(Kind::LostRace, "error.json has a new entry")),
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
    let dir = layout::journal_dir(folder, Date::of(at.now)?);
    let key = format!("{dir}/{}.ndjson", runs::name(&time(at)));
    let _ = atomic::write_bytes(at.archive, &key, at.staging, &Expect::Absent, to_lines(lines)?).await?;
    Ok(key)
}

/// The instant of the run as documents write it.
pub(super) fn time(at: &Place<'_>) -> String {
    at.now.to_rfc3339_opts(SecondsFormat::Secs, true)
}
