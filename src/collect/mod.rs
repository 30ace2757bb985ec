//! The collector: exchange feeds to the spool. Either the data is there, or the record says what is missing and why.
//!
//! ```text
//! link (a task per connection) ──► writer ──► book ──► journal (acknowledged) ──► seal ──► spool file
//!   read, stamp, decode              │  thread: new, again, late, after a hole
//!                                    ├──► diary: feed log, rejected frames
//!                                    ├──► quality: windows of fifteen minutes
//!                                    └──► status: page, metrics, terminal
//! ```
//!
//! Refuses to be engine: nothing here knows DataFusion.

mod book;
mod diary;
mod journal;
mod link;
mod options;
mod patience;
mod quality;
mod recover;
pub mod rows;
mod seal;
pub mod serve;
mod spooled;
pub mod status;
mod thread;
mod writer;

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::{
    error::{Error, Kind, Result},
    feed::venue,
};

pub use link::{Clock, Keeping};
pub use options::Options;
pub use patience::Patience;
pub use status::Status;
pub use writer::Summary;

/// Groups of events between the connections and the writer.
const QUEUE: usize = 64;

/// Collects until `stop` completes, or the run ends by itself; everything taken is sealed then. `told` has the state of
/// things, several times a second.
///
/// # Errors
/// When the spool cannot be written at the start, what an earlier process left cannot be recovered, or rows could not be
/// sealed at the end (they stay in the journal).
pub async fn run(
    options: Options,
    stop: impl Future<Output = ()> + Send,
    told: watch::Sender<Arc<Status>>,
) -> Result<Summary> {
    let lines = venue::lines(&options.wanted, &options.endpoints)?;
    let spool = options.spool.clone();
    let folder = journal::folder(&spool)?;
    let lock = journal::lock(&spool)?;
    let found = journal::read(&folder)?;
    let mut memories = journal::memories(&found.records);
    let remembered: Vec<_> = memories.clone().into_iter().collect();
    let journal = Arc::new(Mutex::new(journal::Journal::open(&spool, lock, &found, &remembered)?));
    let recovered = recover::recover(&spool, &journal, &found).await?;
    journal.lock().unwrap_or_else(PoisonError::into_inner).sealed("")?;
    for wanted in &options.wanted {
        let memory = memories.entry(wanted.series.clone()).or_default();
        *memory = spooled::joined(&spool, &wanted.series, memory);
    }
    let now = (options.keeping.clock)();
    let mut diary = diary::Diary::new(folder.with_file_name(diary::FOLDER));
    diary.note(
        now,
        "started",
        json!({ "version": env!("CARGO_PKG_VERSION"), "series": options.wanted.len(), "lines": lines.len(),
            "recovered_files": recovered.files, "recovered_rows": recovered.rows, "torn_bytes": found.torn_bytes,
            "damaged_segments": found.damaged.len() }),
    );
    if recovered.files > 0 {
        tracing::warn!(files = recovered.files, rows = recovered.rows, "recovered from the journal");
    }
    drop(found);

    let (stop_to, stopped) = watch::channel(false);
    let (full, mut is_full) = watch::channel(false);
    let (to, from) = mpsc::channel(QUEUE);
    let sessions = Arc::new(AtomicU64::new(0));
    let window = quality::Window::at(&spool, now).await;
    let writer = writer::Writer::new(options.clone(), &lines, memories, journal, diary, window, full, now);
    let mut tasks = tokio::task::JoinSet::new();
    for (place, line) in lines.into_iter().enumerate() {
        let kept = link::keep(line, place, options.keeping, Arc::clone(&sessions), to.clone(), stopped.clone());
        let _ = tasks.spawn(kept);
    }
    drop(to);
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
    if summary.lost > 0 {
        return Err(Error::new(
            Kind::Io,
            format!(
                "{} rows are lost, because the disk took neither files nor the journal of {}; {} more are in the journal. \
                 Make room and start qlc collect again",
                summary.lost,
                spool.show(""),
                summary.left_in_journal
            ),
        ));
    }
    if summary.left_in_journal > 0 {
        return Err(Error::new(
            Kind::Io,
            format!(
                "{} rows could not be sealed and are in the journal of {}; make room and start qlc collect again",
                summary.left_in_journal,
                spool.show("")
            ),
        ));
    }
    Ok(summary)
}
