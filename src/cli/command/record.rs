//! `qlc record`

use super::collect::{endpoints, now_ns, wanted};
use crate::{
    cli::{
        args::Record,
        console::Console,
        exit::Exit,
        settings::{self, Settings},
        show,
        signals::Signals,
    },
    error::Result,
    feed::venue,
    record,
};

/// Records until it is asked to stop.
pub(super) async fn run(typed: &Record, settings: &Settings, console: &Console, signals: &Signals) -> Result<Exit> {
    let feeds = settings::feeds(&typed.feeds, &settings.collect)?;
    let lines = venue::lines(&wanted(&feeds, console)?, &endpoints(&feeds))?;
    let options = record::Options {
        lines,
        file: typed.file.clone(),
        duration: typed.duration,
        max_frames: typed.max_frames,
        clock: now_ns,
    };
    let frames = record::run(options, signals.stopped()).await?;
    let mut out = console.out();
    let number = show::count(usize::try_from(frames).unwrap_or(usize::MAX), "frame");
    out.lines(&format!("{}: {number}", typed.file.display()));
    out.finish()?;
    Ok(Exit::Done)
}
