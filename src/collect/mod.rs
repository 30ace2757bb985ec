//! The collector: exchange feeds to the spool. Either the data is there, or the record says what is
//! missing and why.
//!
//! ```text
//! connection (a task per line) ──► writer ──► series writer ──► log (acknowledged) ──► seal ──► spool file
//!   session: dial, ask,              │  tracker: new, again, late, after a hole
//!   read, stamp, decode              ├──► diary: feed log, rejected frames
//!                                    ├──► quality: windows of fifteen minutes
//!                                    ├──► lines, health: what is down, which series is not well
//!                                    └──► status: page, metrics, terminal
//! ```
//!
//! Nothing here imports DataFusion or the engine.

mod bytes;
mod connection;
mod data_clock;
mod diary;
mod health;
mod lines;
mod news;
mod options;
mod poll;
mod quality;
mod reader;
mod recover;
mod relist;
pub mod rows;
mod seal;
mod series_writer;
pub mod serve;
mod session;
mod shared;
mod spooled;
mod start;
pub mod status;
mod subscriptions;
mod tracker;
mod wal;
mod writer;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::{
    error::{Error, Kind, Result},
    feed::venue::{self, Line, Numbers},
    model::{count, partition::Series, quality as windows},
    net::Dials,
    storage::store::Store,
};

pub use diary::Notes;
pub use options::{Clock, Keeping, Options};
pub use status::Status;
pub use writer::Summary;

/// Groups of events between the connections and the writer.
const QUEUE: usize = 64;

/// Collects until `stop` completes, or the run ends by itself; everything taken is sealed then.
/// `told` has the state of things, several times a second.
///
/// # Errors
/// When the spool cannot be written at the start, what an earlier process left cannot be recovered,
/// or rows could not be sealed at the end (they stay in the journal).
pub async fn run(
    options: Options,
    stop: impl Future<Output = ()> + Send,
    told: watch::Sender<Arc<Status>>,
) -> Result<Summary> {
    let mut numbers = Numbers::default();
    let lines = venue::more_lines(
        &options.wanted,
        0,
        &options.catalogue.endpoints,
        &mut numbers,
    )?;
    let spool = options.spool.clone();
    let Before {
        known,
        wal,
        diary,
        left,
        live,
        now,
    } = take_over(&options, &lines).await?;

    let (stop_to, stopped) = watch::channel(false);
    let (full, mut is_full) = watch::channel(false);
    let (to, from) = mpsc::channel(QUEUE);
    let window = quality::Window::at(&spool, now).await;
    let shared = shared::Shared {
        keeping: options.keeping,
        dials: Arc::new(Dials::default()),
        proxies: Arc::new(options.catalogue.proxies.clone()),
        sessions: Arc::new(AtomicU64::new(0)),
        to,
        stop: stopped,
    };
    let mut tasks = tokio::task::JoinSet::new();
    for (place, line) in lines.iter().cloned().enumerate() {
        start::begin(&mut tasks, line, place, &shared, options.relist_every);
    }
    let (catalogue, every) = (options.catalogue.clone(), options.relist_every);
    // It holds the last sender to the writer: nothing ends before it does.
    let relist = relist::Relist::new(
        catalogue,
        every,
        shared,
        &options.wanted,
        lines.len(),
        numbers,
    );
    let _ = tasks.spawn(relist.keep());
    let writer = writer::Writer::new(
        options.clone(),
        lines,
        known,
        wal,
        diary,
        window,
        left,
        &live,
        full,
        now,
    );
    let ended = async {
        let timer = async {
            match options.duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop => {}
            () = timer => {}
            _ = is_full.changed() => {}
        }
        let _ = stop_to.send(true);
        // The sender must live as long as anyone may look at it.
        std::future::pending::<()>().await;
    };
    let summary = tokio::select! {
        summary = writer.run(from, &told) => summary,
        () = ended => return Err(Error::new(Kind::Internal, "the collector ended without its writer")),
    };
    match unfinished(&summary, &spool) {
        Some(text) => Err(Error::new(Kind::Io, text)),
        None => Ok(summary),
    }
}

/// What a process takes over from those before it.
struct Before {
    known: BTreeMap<Series, wal::Checkpoint>,
    wal: Arc<Mutex<wal::Wal>>,
    diary: diary::Diary,
    /// What could not be recovered.
    left: recover::Left,
    /// When each connection was live last, by its name.
    live: BTreeMap<String, i64>,
    now: i64,
}

/// Recovers what an earlier process left, and puts the start on record.
async fn take_over(options: &Options, lines: &[Line]) -> Result<Before> {
    let spool = &options.spool;
    let folder = wal::folder(spool)?;
    let lock = wal::lock(spool)?;
    let found = wal::read(&folder)?;
    let mut known = found.checkpoints.clone();
    let now = (options.keeping.clock)();
    note_first_start(options, lines, &mut known, now);
    let checkpoints: Vec<_> = known.clone().into_iter().collect();
    let wal = Arc::new(Mutex::new(wal::Wal::open(
        spool,
        lock,
        &found,
        &checkpoints,
        options.memory_limit,
    )?));
    drop(checkpoints);
    let mut found = found;
    let recovered = recover::recover(spool, &wal, &found).await?;
    for wanted in &options.wanted {
        let checkpoint = known.entry(wanted.series.clone()).or_default();
        *checkpoint = spooled::joined(spool, &wanted.series, checkpoint);
    }
    // Where nothing was recovered it is still the instant at which the process began, and a first
    // start is told from one that connections were missed before.
    let now = if recovered.files > 0 {
        (options.keeping.clock)()
    } else {
        now
    };
    let mut diary = diary::Diary::new(folder.with_file_name(diary::FOLDER), &folder);
    let live = forget_told(&diary, &mut known).live;
    diary.note(
        now,
        "started",
        json!({ "version": env!("CARGO_PKG_VERSION"), "series": options.wanted.len(), "lines": lines.len(),
            "recovered_files": recovered.files, "recovered_rows": recovered.rows,
            "refused_files": recovered.refused.len(), "torn_bytes": found.torn_bytes,
            "damaged_segments": found.damaged.len(),
            "damaged_bytes": found.damaged.iter().map(|(_, bytes)| bytes).sum::<u64>() }),
    );
    if recovered.files > 0 {
        tracing::warn!(
            files = recovered.files,
            rows = recovered.rows,
            "recovered from the log"
        );
    }
    let refused = recovered.refused;
    found.keep(|key| refused.iter().any(|file| file.key == key));
    let left = recover::Left {
        found: Arc::new(found),
        refused,
    };
    Ok(Before {
        known,
        wal,
        diary,
        left,
        live,
        now,
    })
}

/// Forgets the holes that an earlier process put on record right before it was killed; returns what
/// the feed log tells.
fn forget_told(
    diary: &diary::Diary,
    known: &mut BTreeMap<Series, wal::Checkpoint>,
) -> diary::Recalled {
    let oldest = known.values().filter_map(|one| one.mark.oldest_hole());
    let told = diary.recall(oldest.min());
    for (series, one) in known {
        let name = series.to_string();
        one.mark.forget_told(|first, last, found_ns| {
            told.gaps.iter().any(|gap| {
                gap.series == name
                    && gap.first <= first
                    && last <= gap.last
                    && gap.time_ns >= found_ns
            })
        });
    }
    told
}

/// What the disk did not take, in words.
fn unfinished(summary: &Summary, spool: &Store) -> Option<String> {
    let Summary {
        left_in_journal,
        lost,
        notes: Notes { kept, lost: untold },
        windows: uncounted,
        ..
    } = *summary;
    let (all, log) = (spool.show(""), spool.show(wal::FOLDER));
    let feed = spool.show(diary::FOLDER);
    let mut said = Vec::new();
    if lost > 0 {
        said.push(format!(
            "{} are lost, because the disk took neither files nor the journal of {all}; {} more are in the journal",
            count::rows(lost),
            count::grouped(left_in_journal)
        ));
    } else if left_in_journal > 0 {
        said.push(format!(
            "{} could not be sealed and are in the journal of {all}",
            count::rows(left_in_journal)
        ));
    }
    if kept > 0 {
        said.push(format!(
            "{kept} lines of the feed log could not be written to {feed} and are kept in {log}"
        ));
    }
    if untold > 0 {
        said.push(format!(
            "{untold} lines of the feed log are lost, because neither {feed} nor {log} took them"
        ));
    }
    if uncounted > 0 {
        said.push(format!(
            "what was counted since they were written last is missing in {uncounted} windows of {}",
            spool.show(windows::DIR)
        ));
    }
    let text = said.join("; ");
    (!said.is_empty()).then(|| format!("{text}. Make room and start qlc collect again"))
}

/// Notes since when series are missed that no process ever had, by connections that never stood: a
/// process that is killed before they stand must have told of them.
fn note_first_start(
    options: &Options,
    lines: &[Line],
    known: &mut BTreeMap<Series, wal::Checkpoint>,
    now: i64,
) {
    for line in lines {
        let all: Vec<&Series> = line
            .series
            .iter()
            .filter_map(|place| Some(&options.wanted.get(*place)?.series))
            .collect();
        let is_new = |series: &&Series| {
            let known = known.get(*series).cloned().unwrap_or_default();
            known.told_ns == 0
                && known.ts_recv == 0
                && spooled::joined(&options.spool, series, &known).ts_recv == 0
        };
        if all.iter().all(is_new) {
            for series in all {
                known.entry(series.clone()).or_default().told_ns = now;
            }
        }
    }
}
