//! Removes what is kept. The entry stays as a tombstone: the file in the spool is not tried again.
//!
//! The journal is durable before the tombstone, the tombstone before the removal, so that an
//! interrupted run can be repeated. The spool is not touched.

use super::{
    note::{change, drop_object, journal, time},
    report::{EntryState, Held, Place},
};
use crate::{
    error::Result,
    model::{journal::Released, layout, quarantine::Entry},
    storage::conditions,
};

/// Discards what is kept of `all`; returns the key of the journal, and the entries that were
/// discarded. Those of which nothing was kept any more are left out.
///
/// # Errors
/// When the archive does not answer or refuses; what was done until then is done.
pub async fn discard(at: &Place<'_>, all: Vec<Held>) -> Result<(Option<String>, Vec<Held>)> {
    let mut going = Vec::new();
    for held in all {
        if held.state != EntryState::Discarded || at.archive.head(&held.key()).await?.is_some() {
            going.push(held);
        }
    }
    if going.is_empty() {
        return Ok((None, going));
    }
    conditions::probe(at.archive).await?;
    let lines: Vec<Released> = going
        .iter()
        .map(|held| Released {
            partition: held.partition.clone(),
            entry: held.entry.clone(),
            data: Vec::new(),
            why: "discarded on request".to_owned(),
            decided_at: time(at),
            decided_by: env!("CARGO_PKG_VERSION").to_owned(),
        })
        .collect();
    let key = journal(at, layout::DISCARDED, &lines).await?;
    for held in &mut going {
        if held.state != EntryState::Discarded {
            let tombstone = |entry| {
                Some(Entry {
                    discarded: true,
                    retry: false,
                    ..entry
                })
            };
            change(at, &held.partition, &held.entry.kept_as, tombstone).await?;
        }
        drop_object(at, &held.key()).await?;
        held.state = EntryState::Discarded;
        held.entry.discarded = true;
        tracing::warn!(kept = %at.archive.show(&held.key()), "discarded");
    }
    Ok((Some(key), going))
}
