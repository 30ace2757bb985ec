//! Whether every row of the files of an old tree is in the archive: all of them are read again, and
//! so is all of the data of the days that have their rows.
//!
//! Rows in QUARANTINE do not count as taken over.

use std::collections::BTreeMap;

use super::report::{Imported, Outcome};
use crate::{
    archive::{
        evidence::{Doubt, Evidence},
        partition::PartitionHandle,
        proof::{ProofResult, Subject, prove},
    },
    error::{Error, Kind, Result},
    model::{
        date::Date,
        layout::Placed,
        partition::{Partition, Series},
    },
    storage::store::Store,
};

/// When this is asked.
#[derive(Debug, Clone, Copy)]
pub enum Moment<'a> {
    /// Before anything is compacted: what is in already is up to date.
    Before,
    /// After it, with what the compaction said of days that it did not publish.
    After(&'a BTreeMap<Partition, String>),
}

/// Looks for the rows of those of `all` that are to be rewritten, and says of each what it is now.
///
/// # Errors
/// When a store does not answer, or the run is stopped.
pub async fn account(
    tree: &Store,
    archive: &Store,
    all: &mut [Imported],
    moment: Moment<'_>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<()> {
    let mut evidence = Evidence::new(archive);
    let mut series: Option<Series> = None;
    for one in all
        .iter_mut()
        .filter(|one| one.outcome == Outcome::Rewritable)
    {
        if stop() {
            return Err(Error::new(
                Kind::Interrupted,
                "stopped as asked, before all rows were looked for",
            ));
        }
        // What is known of other series is not needed any more.
        if series
            .replace(one.partition.series.clone())
            .is_some_and(|before| before != one.partition.series)
        {
            evidence.forget();
        }
        if matches!(moment, Moment::Before) && !has_neighbours(archive, &one.partition).await? {
            continue;
        }
        let found = look(tree, one, &mut evidence, moment).await?;
        if !found.doubts.is_empty() {
            if let Moment::After(said) = moment {
                one.outcome = Outcome::Refused;
                one.reasons = found.doubts;
                one.reasons.extend(reasons(&one.partition, said));
            }
            continue;
        }
        (one.rows, one.days) = (found.rows, found.days);
        one.outcome = match moment {
            Moment::Before => Outcome::UpToDate,
            Moment::After(_) => Outcome::Rewritten,
        };
    }
    Ok(())
}

/// Whether a day is published that rows of `partition`'s folder may be in.
async fn has_neighbours(archive: &Store, partition: &Partition) -> Result<bool> {
    for day in partition.date.with_neighbours() {
        if PartitionHandle::new(archive, &partition.series.on(day))
            .meta()
            .await?
            .is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[derive(Default)]
struct Found {
    rows: u64,
    days: BTreeMap<Date, u64>,
    doubts: Vec<String>,
}

async fn look(
    tree: &Store,
    one: &Imported,
    evidence: &mut Evidence,
    moment: Moment<'_>,
) -> Result<Found> {
    let mut found = Found::default();
    for key in &one.keys {
        let Some(object) = tree.head(key).await? else {
            found.doubts.push(format!("{key} has gone"));
            continue;
        };
        let home = Placed::in_spool(key)
            .and_then(Result::ok)
            .and_then(|placed| placed.home());
        let subject = Subject {
            name: key.clone(),
            object,
            series: one.partition.series.clone(),
            home,
        };
        match prove(tree, &subject, evidence, None).await? {
            ProofResult::Proven(proven) => {
                if let Some(kept) = proven.quarantined() {
                    found.doubts.push(format!(
                        "{} rows of {key} are of no day that its folder may hold; QUARANTINE has them",
                        kept.rows
                    ));
                }
                found.rows += proven.rows();
                for here in proven.data() {
                    *found.days.entry(here.date).or_default() += here.rows;
                }
            }
            ProofResult::Empty => {}
            ProofResult::Young(day) => found.doubts.push(format!("{key}: {day} is too young")),
            ProofResult::Doubt(Doubt::Waiting(what) | Doubt::Damaged(what)) => {
                found.doubts.push(format!("{key}: {what}"));
            }
        }
        // Before, one doubt is enough.
        if matches!(moment, Moment::Before) && !found.doubts.is_empty() {
            break;
        }
    }
    Ok(found)
}

/// What the compaction said of the days that rows of `partition`'s folder may be of.
fn reasons(partition: &Partition, said: &BTreeMap<Partition, String>) -> Vec<String> {
    let said = |day| Some(format!("{day}: {}", said.get(&partition.series.on(day))?));
    let days = partition.date.with_neighbours().into_iter();
    days.filter_map(said).collect()
}
