//! Announces, removes, records. Between the proof and the removal the file is looked at once more.
//!
//! Only a file with a [`Proven`] value is removed.

use super::{
    journal::{self, Place},
    plan::Planned,
    report::Outcome,
};
use crate::{
    archive::proof::Proven,
    error::{Kind, Result},
    model::journal::{Pruned, RemovalResult},
    storage::{
        remove::{Removal, remove},
        store::Store,
    },
};

/// Removes what may go; returns the key of the journal, if there was anything.
pub(super) async fn apply(
    spool: &Store,
    at: &Place<'_>,
    planned: &mut [Planned],
    keep_days: u32,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Option<String>> {
    let why = format!("older than {keep_days} days, and every row was read back from the archive");
    let mut lines: Vec<Pruned> = planned
        .iter()
        .filter_map(|one| Some(line(one.proven.as_deref()?, &why, at.time)))
        .collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let run = journal::announce(at, &lines).await?;
    let going = planned.iter_mut().filter(|one| one.proven.is_some());
    for (one, line) in going.zip(&mut lines) {
        let Some(proven) = one.proven.as_deref() else {
            continue;
        };
        if stop() {
            line.ended = Some(RemovalResult::NotReached);
            "the run was asked to stop before its turn came".clone_into(&mut one.judged.reason);
            continue;
        }
        let (ended, outcome) = match retire(spool, proven).await {
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
    journal::complete(at, &run, &lines).await.map(Some)
}

/// Removes a file from the spool. The proof is the price.
async fn retire(spool: &Store, proven: &Proven) -> Result<Removal> {
    remove(spool, proven.object()).await
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
