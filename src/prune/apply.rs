//! Announces, removes, records. Between the proof and the removal the file is looked at once more.
//!
//! Only a file with a [`Proven`] value is removed.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};

use super::{
    journal::{self, Place},
    plan::Planned,
    report::Outcome,
};
use crate::{
    archive::proof::Proven,
    error::{Error, Kind, Result},
    model::journal::{Pruned, RemovalResult},
    storage::{
        remove::{Removal, remove_together, sync_folder_of},
        store::{Object, Store},
    },
};

/// Objects of a bucket that are looked at together and then removed by one request: so few that no
/// long time lies between. A folder gains nothing by it.
const TOGETHER: usize = 50;
/// So many times as many are removed at a time.
const REMOVED_AT_A_TIME: usize = 8;

/// Removes what may go; returns the key of the journal, if there was anything.
pub(super) async fn apply(
    spool: &Store,
    at: &Place<'_>,
    planned: &mut [Planned],
    keep_days: u32,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Option<String>> {
    let why =
        format!("beyond --keep-days {keep_days}, and every row was read back from the archive");
    let mut lines: Vec<Pruned> = planned
        .iter()
        .filter_map(|one| Some(line(one.proven.as_deref()?, &why, at.time)))
        .collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let announced = journal::announce(at, &lines).await?;
    let removals = retire_all(spool, planned, stop).await;
    let going = planned.iter_mut().filter(|one| one.proven.is_some());
    for ((one, line), removal) in going.zip(&mut lines).zip(removals) {
        let Some(removal) = removal else {
            line.ended = Some(RemovalResult::NotReached);
            continue;
        };
        let (ended, outcome) = match removal {
            Ok(Removal::Removed) => (RemovalResult::Removed, Outcome::Removed),
            Ok(Removal::Absent) => (RemovalResult::Gone, Outcome::Gone),
            Ok(Removal::Changed) => (RemovalResult::Changed, Outcome::Changed),
            Err(error) => {
                one.judged.reason = error.chain();
                match error.kind() {
                    Kind::Unknown => (RemovalResult::Unknown, Outcome::Unknown),
                    _ => (RemovalResult::NotReached, Outcome::Failed),
                }
            }
        };
        if outcome == Outcome::Changed {
            "was replaced after it was read".clone_into(&mut one.judged.reason);
        }
        line.ended = Some(ended);
        one.judged.outcome = outcome;
    }
    journal::complete(at, announced, &lines).await.map(Some)
}

/// Removes what is proven; tells of each what came of it, `None` where the run was asked to stop
/// before. Each folder is synced once, after its last removal.
async fn retire_all(
    spool: &Store,
    planned: &[Planned],
    stop: &(dyn Fn() -> bool + Sync),
) -> Vec<Option<Result<Removal>>> {
    let (together, width) = if spool.is_remote() {
        (TOGETHER, REMOVED_AT_A_TIME)
    } else {
        (1, 1)
    };
    let going: Vec<&Proven> = planned
        .iter()
        .filter_map(|one| one.proven.as_deref())
        .collect();
    let parts: Vec<&[&Proven]> = going
        .chunk_by(|a, b| folder_of(a) == folder_of(b))
        .flat_map(|folder| folder.chunks(together))
        .collect();
    let part_by_part = parts.into_iter().map(|part| async move {
        if stop() {
            return part.iter().map(|_| None).collect();
        }
        retire(spool, part).await
    });
    let removals: Vec<Vec<Option<Result<Removal>>>> =
        stream::iter(part_by_part).buffered(width).collect().await;
    let mut removals: Vec<Option<Result<Removal>>> = removals.into_iter().flatten().collect();
    // A file of each folder that something was removed from, and what came of syncing it.
    let mut synced: BTreeMap<&str, std::result::Result<(), String>> = BTreeMap::new();
    for (proven, removal) in going.iter().zip(&mut removals) {
        if !matches!(removal, Some(Ok(Removal::Removed))) {
            continue;
        }
        let key = proven.object().key.as_str();
        let sync = synced
            .entry(folder_of(proven))
            .or_insert_with(|| sync_folder_of(spool, key).map_err(|error| error.chain()));
        if let Err(why) = sync {
            // It has gone, and may come back after a power cut.
            *removal = Some(Err(Error::new(Kind::Unknown, why.clone())));
        }
    }
    removals
}

/// Removes files of one folder from the spool. The proofs are the price.
async fn retire(spool: &Store, proven: &[&Proven]) -> Vec<Option<Result<Removal>>> {
    let objects: Vec<&Object> = proven.iter().map(|proven| proven.object()).collect();
    let removals = remove_together(spool, &objects).await;
    removals.into_iter().map(Some).collect()
}

fn folder_of(proven: &Proven) -> &str {
    let key = proven.object().key.as_str();
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn line(proven: &Proven, why: &str, time: &str) -> Pruned {
    Pruned {
        name: proven.name().to_owned(),
        size: proven.object().size,
        modified_us: proven.object().modified_us,
        sha256: proven.sha256().to_owned(),
        rows: proven.rows(),
        row_hash: proven.row_hash(),
        data: proven.data().to_vec(),
        quarantined: proven.quarantined().cloned(),
        why: why.to_owned(),
        decided_at: time.to_owned(),
        qlc_version: env!("CARGO_PKG_VERSION").to_owned(),
        ended: None,
    }
}
