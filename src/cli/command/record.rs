//! `qlc record`

use super::{collect::now_ns, feeds};
use crate::{
    cli::{args::Record, console::Console, exit::Exit, show, signals::Signals},
    error::Result,
    feed::venue::{self, Transport},
    net::Backoff,
    record,
};

/// Records until it is asked to stop.
pub(super) async fn run(typed: &Record, console: &Console, signals: &Signals) -> Result<Exit> {
    let chosen = signals
        .or_stop(feeds::chosen(&typed.feeds, None, |_| false, console))
        .await?;
    let lines = venue::lines(&chosen.wanted, &chosen.catalogue.endpoints)?;
    for line in lines.iter().filter(|line| line.by == Transport::Requests) {
        console.progress_line(&format!(
            "{}: what is polled has no frames; it is left out",
            line.name
        ));
    }
    let options = record::Options {
        lines,
        file: typed.file.clone(),
        rotate_after: typed.rotate_after,
        rotate_size: typed.rotate_size,
        duration: typed.duration,
        max_frames: typed.max_frames,
        proxies: chosen.catalogue.proxies,
        backoff: Backoff::USUAL,
        clock: now_ns,
    };
    let summary = record::run(options, signals.stopped()).await?;
    let mut out = console.out();
    let number = |count: u64, noun| show::count(usize::try_from(count).unwrap_or(usize::MAX), noun);
    let files = if summary.files > 1 {
        format!(" in {}", number(summary.files, "file"))
    } else {
        String::new()
    };
    let cuts = if summary.cuts > 0 {
        format!(", {}", number(summary.cuts, "cut"))
    } else {
        String::new()
    };
    out.lines(&format!(
        "{}: {}{files}{cuts}",
        typed.file.display(),
        number(summary.frames, "frame")
    ));
    out.finish()?;
    Ok(Exit::Done)
}
