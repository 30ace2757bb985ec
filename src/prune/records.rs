//! Which of the collector's own records go: what it noted of days that are old, and of which
//! nothing is left in the spool.
//!
//! A day's records tell how complete it is, so they stay as long as a file of it lies in the spool,
//! for whatever reason, and as long as the collector's log may still make one: what a collector
//! that died has not sealed is of the day on which it wrote last, or of the one before. Refuses to
//! touch what is of no day, such as the lists of instruments.

use std::collections::BTreeSet;

use super::{
    journal::{self, Place},
    plan::Planned,
    report::{JudgedRecord, Options, Outcome},
};
use crate::{
    error::{Kind, Result},
    model::{date::Date, journal::PrunedRecord, layout, partition::Selection, quality},
    storage::{
        listing::Object,
        remove::{Removal, remove},
        store::Store,
    },
};

/// The folder of the collector's log.
const LOG: &str = "_journal";

/// A record that is looked at.
struct Candidate {
    judged: JudgedRecord,
    object: Object,
}

/// Judges the records, and removes those that may go unless it is a dry run, which has no `place`
/// for a journal. Where only some series are meant, none is looked at: they are of all series of a
/// day.
pub(super) async fn prune(
    spool: &Store,
    options: &Options,
    planned: &[Planned],
    place: Option<&Place<'_>>,
    today: Date,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<JudgedRecord>> {
    let Some(keep) = options
        .keep_records
        .filter(|_| options.selection == Selection::all())
    else {
        return Ok(Vec::new());
    };
    let young = (0..keep).fold(today, |day, _| day.pred());
    let mut all = Vec::new();
    for folder in [layout::FEED, quality::DIR] {
        // What cannot be listed stays.
        let (objects, _) = spool.list_spool(folder).await?.apart();
        all.extend(objects.into_iter().filter_map(|object| {
            let date = layout::record_day(&object.key)?;
            let (record, bytes) = (object.key.clone(), object.size);
            let judged = JudgedRecord {
                record,
                date,
                bytes,
                outcome: Outcome::Young,
                reason: String::new(),
            };
            Some(Candidate { judged, object })
        }));
    }
    // After the files went: what lies there now decides.
    let held = held(spool, planned).await?;
    for Candidate { judged, .. } in &mut all {
        (judged.outcome, judged.reason) = judge(judged.date, young, &held);
    }
    if let Some(place) = place {
        apply(spool, place, &mut all, keep, stop).await?;
    }
    Ok(all.into_iter().map(|one| one.judged).collect())
}

fn judge(day: Date, young: Date, held: &Held) -> (Outcome, String) {
    if day >= young {
        return (
            Outcome::Young,
            format!("{day} is not older than the days of records to keep"),
        );
    }
    if !held.is_whole {
        return (
            Outcome::Waiting,
            "a folder of the spool cannot be listed, so it may hold files of this day".to_owned(),
        );
    }
    if held.days.contains(&day) {
        return (Outcome::Waiting, format!("files of {day} lie in the spool"));
    }
    if held.log_since.is_some_and(|since| day >= since) {
        return (
            Outcome::Waiting,
            format!("the collector's log may hold rows of {day}"),
        );
    }
    (
        Outcome::Removable,
        format!(
            "{day} is older than the days of records to keep, and no file of it is in the spool"
        ),
    )
}

/// What the spool still holds.
struct Held {
    /// The days of its files.
    days: BTreeSet<Date>,
    /// The first day of which the collector's log may hold rows that are in no file.
    log_since: Option<Date>,
    /// Whether all of it could be listed.
    is_whole: bool,
}

async fn held(spool: &Store, planned: &[Planned]) -> Result<Held> {
    // In a dry run the files that would go are there still.
    let going: BTreeSet<&str> = planned
        .iter()
        .filter(|one| one.judged.outcome == Outcome::Removable)
        .map(|one| one.judged.name.as_str())
        .collect();
    let listing = spool.list("").await?.spool();
    let is_whole = listing.missing.all().is_empty();
    let left = listing
        .files
        .iter()
        .filter(|(_, object)| !going.contains(object.key.as_str()));
    let days = left.filter_map(|(placed, _)| placed.home()).collect();
    let (log, missing) = spool.list_spool(LOG).await?.apart();
    let last = log
        .iter()
        .filter(|object| object.key.strip_suffix(".qlcj").is_some())
        .map(|object| object.modified_us)
        .max();
    let log_since = last
        .and_then(|us| Date::of_ns(us.saturating_mul(1000)))
        .map(Date::pred);
    Ok(Held {
        days,
        log_since,
        is_whole: is_whole && missing.all().is_empty(),
    })
}

async fn apply(
    spool: &Store,
    place: &Place<'_>,
    all: &mut [Candidate],
    keep: u32,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<()> {
    let line = |object: &Object| PrunedRecord {
        name: object.key.clone(),
        size: object.size,
        modified_us: object.modified_us,
        why: format!(
            "a record of the collector, beyond --keep-records {keep}, and no file of its day is in the spool"
        ),
        decided_at: place.time.to_owned(),
        qlc_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let is_going = |one: &&Candidate| one.judged.outcome == Outcome::Removable;
    let lines: Vec<PrunedRecord> = all
        .iter()
        .filter(is_going)
        .map(|one| line(&one.object))
        .collect();
    if lines.is_empty() || stop() {
        return Ok(());
    }
    journal::records(place, &lines).await?;
    for one in all
        .iter_mut()
        .filter(|one| one.judged.outcome == Outcome::Removable)
    {
        if stop() {
            break;
        }
        one.judged.outcome = match remove(spool, &one.object).await {
            Ok(Removal::Removed) => Outcome::Removed,
            Ok(Removal::Absent) => Outcome::Gone,
            Ok(Removal::Changed) => {
                "was changed after it was listed".clone_into(&mut one.judged.reason);
                Outcome::Changed
            }
            Err(error) => {
                one.judged.reason = error.chain();
                if error.kind() == Kind::Unknown {
                    Outcome::Unknown
                } else {
                    Outcome::Failed
                }
            }
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_goes_when_its_day_is_old_and_nothing_of_it_is_to_come() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        let check = |of: &str, files: &[&str], log: Option<&str>, is_whole: bool, want: Outcome| {
            let days = files.iter().map(|file| day(file)).collect();
            let held = Held {
                days,
                log_since: log.map(day),
                is_whole,
            };
            assert_eq!(
                judge(day(of), day("20260210"), &held).0,
                want,
                "{of} {files:?} {log:?}"
            );
        };
        check("20260209", &[], None, true, Outcome::Removable);
        check("20260210", &[], None, true, Outcome::Young);
        check(
            "20260209",
            &["20260208", "20260210"],
            Some("20260210"),
            true,
            Outcome::Removable,
        );
        check("20260209", &["20260209"], None, true, Outcome::Waiting);
        check("20260209", &[], Some("20260209"), true, Outcome::Waiting);
        check("20260209", &[], None, false, Outcome::Waiting);
    }
}
