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

/// What [`list`] found.
#[derive(Debug, Default)]
pub struct Entries {
    /// The entries, by partition and name.
    pub held: Vec<Held>,
    /// Why each `error.json` that could not be read or understood could not: what it has is not
    /// among them.
    pub unread: Vec<Error>,
}

impl Entries {
    /// All entries there are.
    ///
    /// # Errors
    /// When an `error.json` could not be read or understood.
    pub fn complete(self) -> Result<Vec<Held>> {
        match self.unread.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(self.held),
        }
    }
}

/// The entries that `filter` means.
///
/// # Errors
/// When the archive does not answer, or has nothing of the name that was asked for, or of exchanges,
/// streams or symbols that are probably misspelt.
pub async fn list(archive: &Store, filter: &Filter) -> Result<Entries> {
    let mut found = Entries::default();
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
        let handle = PartitionHandle::new(archive, &partition);
        let entries = match quarantine::entries_of_many(&handle).await? {
            Ok(entries) => entries,
            Err(error) => {
                found.unread.push(error);
                continue;
            }
        };
        let meant = entries.into_iter().filter(|one| filter.takes_name(one));
        found.held.extend(meant.map(|entry| Held {
            partition: partition.clone(),
            state: EntryState::of(&entry),
            entry,
        }));
    }
    if found.held.is_empty() && found.unread.is_empty() {
        let misspelt = spelling::misspelt(&filter.selection, &[archive]).await;
        let named = filter.name.as_ref();
        let unnamed = named.map(|_| "qlc quarantine list shows all there is".to_owned());
        if let Some(hint) = misspelt.or(unnamed) {
            return Err(Error::usage(format!(
                "{}: nothing in QUARANTINE matches; {hint}",
                archive.show("")
            )));
        }
    }
    let place = |one: &Held| (one.partition.clone(), one.entry.kept_as.clone());
    found.held.sort_by_key(place);
    Ok(found)
}
