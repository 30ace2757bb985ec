//! `status`: is every day of every series there, and all of it?
//!
//! `gather` lists both stores once and reads the small documents of the range, `days` says which
//! days are expected, and [`crate::model::coverage`] judges each. Of the data one column is read,
//! where the collector left no quality windows. Nothing is proven and nothing changed: that is for
//! `verify` and `compact`.

mod days;
mod gather;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::StreamExt;

use crate::{
    error::{Error, Result},
    file::{density, fault::Problem, reader::Handle},
    model::{
        coverage::{self, Archived, Cell, Coverage, CoverageFacts, Minutes, OTHERS, judge},
        date::Date,
        partition::{Partition, Selection, Series},
        reconcile::ReconcileSummary,
    },
    storage::{
        reconciled,
        spelling::{self, FOLDER_NAMES},
        store::Store,
    },
};
use days::Range;
use gather::{Found, Gathered};

/// Partitions whose events are counted at a time.
const AT_A_TIME: usize = 8;

/// Of which partitions events are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Of those that are not judged otherwise.
    WhereNeeded,
    /// Of all that are published.
    All,
    /// Of none: no data is read.
    Nothing,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which series.
    pub selection: Selection,
    /// The first day; where none is named, a month before the last one, or the first day of the
    /// series.
    pub start: Option<Date>,
    /// The last day; where none is named, yesterday.
    pub end: Option<Date>,
    /// The instant that decides what today is.
    pub now: DateTime<Utc>,
    /// Of which partitions events are counted.
    pub detail: Detail,
}

/// Judges every partition that is expected in the range. Without a spool, what waits there is not
/// known.
///
/// # Errors
/// When a store does not answer, or nothing matches the selection; what is wrong with a partition
/// is in its cell.
pub async fn run(spool: Option<&Store>, archive: &Store, options: &Options) -> Result<Coverage> {
    let today = Date::of(options.now)?;
    let gathered = gather::list(spool, archive, &options.selection).await?;
    if gathered.series.is_empty()
        && gathered.unlisted.is_empty()
        && options.selection != Selection::all()
    {
        let stores: Vec<&Store> = spool.into_iter().chain([archive]).collect();
        let hint = spelling::hint(&options.selection, &stores, FOLDER_NAMES).await;
        return Err(Error::usage(format!(
            "no file of the spool and nothing in the archive matches --exchange, --stream and --symbol; {hint}"
        )));
    }
    let range = Range::of(
        options.start,
        options.end,
        gathered.last().map_or(today, |last| last.max(today)),
        today,
    );
    let (expected, ended) = days::expected(&gathered, &range)?;
    let mut found = gather::read(spool, archive, &gathered, &expected).await?;
    let mut unread = std::mem::take(&mut found.unread);
    let wanted = to_count(&gathered, &found, &expected, options.detail);
    let mut counted = count_all(archive, &gathered, wanted, &mut unread).await?;
    let more = to_compare(&gathered, &found, &counted);
    counted.extend(count_all(archive, &gathered, more, &mut unread).await?);

    let mut cells = Vec::with_capacity(expected.len());
    for partition in expected {
        cells.push(cell(partition, today, &gathered, &found, &counted));
    }
    // A range that nobody named begins where there is something to show.
    let first = cells
        .iter()
        .map(|cell| cell.partition.date)
        .min()
        .filter(|_| options.start.is_none());
    let (first, last) = (first.unwrap_or(range.start), range.end);
    let reconciled = compared(archive, options, first, last).await?;
    for one in &reconciled {
        if let Ok(at) = cells.binary_search_by(|cell| cell.partition.cmp(&one.partition))
            && let Some(cell) = cells.get_mut(at)
        {
            cell.reconciled.push(one.clone());
        }
    }
    let quarantine = found
        .quarantine
        .into_iter()
        .flat_map(|(partition, entries)| {
            entries
                .into_iter()
                .map(move |entry| (partition.clone(), entry))
                .collect::<Vec<_>>()
        });
    Ok(Coverage {
        start: first,
        end: last,
        cells,
        ended,
        without_day: gathered.without_day,
        ignored: gathered
            .ignored
            .iter()
            .map(|one| format!("{}: {}", one.file, one.reason))
            .collect(),
        absent_spools: Vec::new(),
        unlisted: gathered
            .unlisted
            .iter()
            .map(|one| one.reason.clone())
            .collect(),
        unread,
        quarantine: quarantine.collect(),
        reconciled,
    })
}

/// The newest comparisons of the range with what exchanges published.
async fn compared(
    archive: &Store,
    options: &Options,
    start: Date,
    end: Date,
) -> Result<Vec<ReconcileSummary>> {
    if options.detail == Detail::Nothing || archive.is_absent() {
        return Ok(Vec::new());
    }
    let newest = reconciled::newest(archive, &options.selection, start, end).await?;
    Ok(newest.into_iter().map(ReconcileSummary::from).collect())
}

/// The events of partitions, or what is wrong with their data.
type Counted = BTreeMap<Partition, std::result::Result<Minutes, String>>;

fn cell(
    partition: Partition,
    today: Date,
    gathered: &Gathered,
    found: &Found,
    counted: &Counted,
) -> Cell {
    let mut archived = found
        .archived
        .get(&partition)
        .cloned()
        .unwrap_or(Archived::Nothing);
    let own = counted.get(&partition);
    if let Some(Err(why)) = own {
        archived = Archived::Unproven(format!("data.parquet cannot be read: {why}"));
    }
    let minutes = own.and_then(|own| own.as_ref().ok());
    let entries = found
        .quarantine
        .get(&partition)
        .map_or(&[][..], Vec::as_slice);
    let quarantined = entries.iter().filter(|entry| !entry.discarded).count() as u64;
    let discarded = entries.len() as u64 - quarantined;
    let (others, windows) = (
        others(&partition, counted),
        found.windows(gathered, &partition),
    );
    let facts = CoverageFacts {
        partition: &partition,
        today,
        archived: &archived,
        waiting: found.waiting(&partition),
        quarantined,
        discarded,
        rows_nearby: found.rows_nearby(&partition),
        minutes,
        others: &others,
        windows: &windows,
    };
    let (state, reasons, gaps) = judge(&facts);
    let (waiting, minutes) = (facts.waiting, minutes.cloned());
    let published = match archived {
        Archived::Published(figures) => Some(figures),
        Archived::Nothing | Archived::Unproven(_) => None,
    };
    let command = coverage::command(state, &partition.series, partition.date, partition.date);
    Cell {
        partition,
        state,
        reasons,
        gaps,
        published,
        waiting,
        quarantined,
        reconciled: Vec::new(),
        command,
        minutes,
    }
}

/// The nearest other days of the series whose events are counted.
fn others<'a>(partition: &Partition, counted: &'a Counted) -> Vec<&'a Minutes> {
    let mut days: Vec<(i64, &Minutes)> = counted
        .iter()
        .filter(|(other, _)| other.series == partition.series && other.date != partition.date)
        .filter_map(|(other, minutes)| {
            Some((
                other.date.days_since(partition.date).abs(),
                minutes.as_ref().ok()?,
            ))
        })
        .collect();
    days.sort_by_key(|(distance, _)| *distance);
    days.into_iter()
        .take(OTHERS)
        .map(|(_, minutes)| minutes)
        .collect()
}

/// The expected partitions whose events are counted.
fn to_count(
    gathered: &Gathered,
    found: &Found,
    expected: &[Partition],
    detail: Detail,
) -> Vec<Partition> {
    if detail == Detail::Nothing {
        return Vec::new();
    }
    let wanted = expected.iter().filter(|partition| {
        matches!(found.archived.get(partition), Some(Archived::Published(_)))
            && (detail == Detail::All
                || !coverage::is_judged(partition, &found.windows(gathered, partition)))
    });
    wanted.cloned().collect()
}

/// Days outside the range, where those inside are too few to compare a day that has a silence with.
fn to_compare(gathered: &Gathered, found: &Found, counted: &Counted) -> Vec<Partition> {
    let mut more: Vec<Partition> = Vec::new();
    let mut inside: BTreeMap<&Series, Vec<&Partition>> = BTreeMap::new();
    for partition in counted.keys() {
        inside.entry(&partition.series).or_default().push(partition);
    }
    for (series, days) in inside {
        let judged = |day: &&&Partition| {
            let windows = found.windows(gathered, day);
            let archived = found.archived.get(day);
            let minutes = counted.get(day).and_then(|minutes| minutes.as_ref().ok());
            let (Some(archived), Some(minutes)) = (archived, minutes) else {
                return false;
            };
            // Compared with a day that is never silent, every silence shows.
            let always = Minutes::always();
            let facts = CoverageFacts {
                partition: day,
                today: day.date.succ(),
                archived,
                waiting: 0,
                quarantined: 0,
                discarded: 0,
                rows_nearby: 0,
                minutes: Some(minutes),
                others: &[&always, &always],
                windows: &windows,
            };
            !judge(&facts).2.is_empty()
        };
        let Some(silent) = days.iter().find(judged) else {
            continue;
        };
        let known = gathered.series.get(series).map(|known| &known.archived);
        let mut near: Vec<Date> = known
            .into_iter()
            .flat_map(BTreeMap::keys)
            .copied()
            .filter(|d| days.iter().all(|p| p.date != *d))
            .collect();
        near.sort_by_key(|day| day.days_since(silent.date).abs());
        near.truncate((OTHERS + 1).saturating_sub(days.len()));
        more.extend(near.into_iter().map(|day| series.on(day)));
    }
    more
}

/// Counts the events of partitions. Takes note in `unread` of data that cannot be read.
async fn count_all(
    archive: &Store,
    gathered: &Gathered,
    wanted: Vec<Partition>,
    unread: &mut Vec<String>,
) -> Result<Counted> {
    let tasks = wanted.into_iter().filter_map(|partition| {
        let data = gathered
            .series
            .get(&partition.series)?
            .archived
            .get(&partition.date)?
            .data
            .as_ref()?;
        let handle = Handle::new(archive, data);
        // Begun when its turn comes: the iterator is as lazy as the stream over it.
        Some(tokio::spawn(async move {
            (density::minutes(&handle, partition.date).await, partition)
        }))
    });
    let mut running = futures::stream::iter(tasks).buffered(AT_A_TIME);
    let mut counted = Counted::new();
    while let Some(joined) = running.next().await {
        let (minutes, partition) =
            joined.map_err(|lost| Error::lost_task("a count of events", lost))?;
        let minutes = match minutes {
            Ok(minutes) => Ok(minutes),
            Err(Problem::Storage(error)) => archive.one_of_many(Err(error))?.map_err(|error| {
                unread.push(error.chain());
                error.chain()
            }),
            Err(problem) => Err(problem.to_string()),
        };
        let _ = counted.insert(partition, minutes);
    }
    Ok(counted)
}
