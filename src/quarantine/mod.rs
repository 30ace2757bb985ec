//! `quarantine`: what could not be compacted, and what an operator does about it: look, try again,
//! discard.
//!
//! Whether a file is good is found out by a compaction. What is kept is not removed before its rows
//! are proven to be in the archive, unless the operator discards it.

mod discard;
mod note;
mod report;
mod retry;

pub use discard::discard;
pub use report::{EntryState, Filter, Held, Place, Retried, Retry, Tried};
pub use retry::{mark, settle};

use crate::{
    archive::{partition::PartitionHandle, quarantine},
    error::{Error, Result},
    model::layout::{self, Placed},
    storage::{spelling, store::Store},
};

/// The entries that `filter` means, by partition and name.
///
/// # Errors
/// When the archive does not answer, an `error.json` cannot be understood, or nothing matches what
/// was asked for.
pub async fn list(archive: &Store, filter: &Filter) -> Result<Vec<Held>> {
    let mut all = Vec::new();
    let listing = archive.list(layout::QUARANTINE).await?;
    for object in listing.meant(layout::QUARANTINE, &filter.selection)? {
        let Some(Ok(Placed {
            series,
            date: Some(date),
            file,
        })) = Placed::below(layout::QUARANTINE, &object.key)
        else {
            continue;
        };
        if file != layout::ERROR_FILE || !filter.takes_day(&series, date) {
            continue;
        }
        let partition = series.on(date);
        let entries = quarantine::entries(&PartitionHandle::new(archive, &partition))
            .await?
            .into_iter()
            .filter(|e| filter.takes_name(e));
        all.extend(entries.map(|entry| Held {
            partition: partition.clone(),
            state: EntryState::of(&entry),
            entry,
        }));
    }
    if all.is_empty() && filter.is_narrow() {
        let list = "qlc quarantine list shows all there is";
        let hint = spelling::hint(&filter.selection, &[archive], list).await;
        return Err(Error::usage(format!(
            "{}: nothing in QUARANTINE matches; {hint}",
            archive.show("")
        )));
    }
    all.sort_by(|a, b| (&a.partition, &a.entry.kept_as).cmp(&(&b.partition, &b.entry.kept_as)));
    Ok(all)
}
