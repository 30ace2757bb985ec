//! `qlc collect`

use std::{sync::Arc, time::Duration};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tokio::sync::watch;

use super::{feeds, stores};
use crate::{
    cli::{
        args::Collect, console::Console, exit::Exit, settings::Settings, show, signals::Signals,
    },
    collect::{
        self, Keeping, Options, Status, serve,
        status::{FeedStatus, SeriesState},
    },
    error::{Error, Result},
    feed::venue::Wanted,
    model::layout,
    net::Backoff,
    storage::store::Store,
};

/// Between two lines of progress where no bars stand.
const QUIET: Duration = Duration::from_secs(30);

/// Collects until it is asked to stop.
pub(super) async fn run(
    typed: &Collect,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let Some(place) = settings.spool.only() else {
        return Err(Error::usage(format!(
            "a collector writes to one spool, and these are several ({}): name its own, as in qlc collect --spool {}",
            settings.spool,
            settings
                .spool
                .all()
                .first()
                .map(ToString::to_string)
                .unwrap_or_default()
        )));
    };
    let spool = Store::open(place)?;
    stores::refuse_file(&spool, "spool")?;
    let is_known = |wanted: &Wanted| {
        spool
            .local_path(&layout::series_dir(&wanted.series))
            .is_some_and(|folder| folder.exists())
    };
    let cache = spool.local_path(layout::FEED);
    let chosen = tokio::select! {
        chosen = feeds::chosen(&typed.feeds, cache, is_known, console) => chosen?,
        () = signals.stopped() => return Ok(Exit::Done),
    };
    let options = Options {
        spool,
        wanted: chosen.wanted,
        catalogue: chosen.catalogue,
        relist_every: typed.relist_every,
        commit_every: typed.commit_every,
        rotate_after: typed.rotate_after,
        rotate_bytes: typed.rotate_size,
        memory_limit: typed.memory_limit,
        keeping: Keeping {
            backoff: Backoff {
                cap: typed.retry_cap,
                first: Backoff::USUAL.first.min(typed.retry_cap),
                ..Backoff::USUAL
            },
            renew_after: typed.renew_after,
            silence: typed.silence,
            seed: rand::random(),
            clock: now_ns,
        },
        duration: typed.duration,
        max_events: typed.max_events,
    };
    let (told, status) = watch::channel(Arc::new(Status::default()));
    let (gone, over) = watch::channel(());
    let server = match typed.listen {
        None => None,
        Some(address) => {
            let listener = serve::bind(address).await?;
            let bound = listener
                .local_addr()
                .map_err(|e| Error::io(format!("{address}: cannot be listened on"), e))?;
            console.progress_line(&format!("status on http://{bound}/"));
            let mut over = over.clone();
            let until = async move { drop(over.changed().await) };
            Some(tokio::spawn(serve::serve(listener, status.clone(), until)))
        }
    };
    let viewer = tokio::spawn(view(console.clone(), status.clone()));
    let keeper = tokio::spawn(notify(status));
    let ended = collect::run(options, signals.stopped(), told).await;
    drop(gone);
    viewer.abort();
    keeper.abort();
    // A browser that keeps its connection open must not hold up the end.
    if let Some(server) = server {
        server.abort();
    }
    let _ = viewer.await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    let summary = ended?;
    let mut out = console.out();
    out.lines(&format!(
        "{} events in {}; {} missing by the exchanges' numbers, {} dropped, {} rejected",
        HumanCount(summary.events),
        show::count(
            usize::try_from(summary.files).unwrap_or(usize::MAX),
            "spool file"
        ),
        HumanCount(summary.missing),
        HumanCount(summary.dropped),
        show::count(
            usize::try_from(summary.rejected).unwrap_or(usize::MAX),
            "frame"
        )
    ));
    out.finish()?;
    Ok(Exit::Done)
}

/// Nanoseconds since 1970 UTC.
pub(super) fn now_ns() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A line per connection and the series of it on a terminal; now and then a line elsewhere.
async fn view(console: Console, mut status: watch::Receiver<Arc<Status>>) {
    let Some(bars) = console.bars().cloned() else {
        loop {
            tokio::time::sleep(QUIET).await;
            console.progress_line(&total(&status.borrow()));
        }
    };
    let mut lines: Vec<Cleared> = Vec::new();
    while status.changed().await.is_ok() {
        let now = status.borrow_and_update().clone();
        let texts: Vec<String> = std::iter::once(total(&now))
            .chain(now.feeds.iter().map(|f| feed(f, &now)))
            .collect();
        while lines.len() < texts.len() {
            let line = bars.add(ProgressBar::no_length());
            line.set_style(
                ProgressStyle::with_template("{msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            lines.push(Cleared(line));
        }
        for (line, text) in lines.iter().zip(texts) {
            line.0.set_message(text);
            line.0.tick();
        }
    }
}

/// A line that goes with its view.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn total(now: &Status) -> String {
    let live = now.lines.iter().filter(|line| line.state == "live").count();
    let trouble = now
        .troubles
        .first()
        .map_or(String::new(), |t| format!("; {t}"));
    format!(
        "{live}/{} connections live, {} events, {:.0}/s, {} sealed, {} in memory, {} free{trouble}",
        now.lines.len(),
        now.events,
        now.rate,
        show::count(
            usize::try_from(now.files_sealed).unwrap_or(usize::MAX),
            "file"
        ),
        show::bytes(now.memory_bytes),
        show::bytes(now.disk_free),
    )
}

fn feed(feed: &FeedStatus, now: &Status) -> String {
    let state = match (&feed.trouble, feed.state) {
        (Some(trouble), _) => trouble.clone(),
        (None, SeriesState::Quiet) => format!(
            "quiet for {} s",
            (now.now_ns - feed.last_recv_ns) / 1_000_000_000
        ),
        (None, state) => state.name().to_owned(),
    };
    let missing = if feed.missing > 0 {
        format!(", {} missing", feed.missing)
    } else {
        String::new()
    };
    format!(
        "  {}/{}/{}: {:.0}/s, lag {:.0} ms, {} events, {state}{missing}",
        feed.exchange, feed.stream, feed.symbol, feed.rate, feed.lag_ms, feed.events
    )
}

/// Tells systemd that the collector is ready, and at its interval that it is alive.
async fn notify(mut status: watch::Receiver<Arc<Status>>) {
    use sd_notify::{NotifyState, notify};
    if status.changed().await.is_err() {
        return;
    }
    let _ = notify(&[NotifyState::Ready]);
    let Some(every) = sd_notify::watchdog_enabled() else {
        return;
    };
    // A status that does not change any more is a writer that stands still: no word, and systemd
    // restarts it.
    while tokio::time::timeout(every, status.changed())
        .await
        .is_ok_and(|changed| changed.is_ok())
    {
        let _ = notify(&[NotifyState::Watchdog]);
        tokio::time::sleep(every / 3).await;
    }
}
