//! `qlc replay`

use crate::{
    cli::{
        args::{Replay, Speed},
        console::Console,
        exit::Exit,
        show,
        signals::Signals,
    },
    error::Result,
    replay,
};

/// Plays a recording to whoever connects, until it is asked to stop.
pub(super) async fn run(typed: &Replay, console: &Console, signals: &Signals) -> Result<Exit> {
    let recording = replay::load(&typed.file)?;
    let listener = replay::bind(typed.listen).await?;
    let mut out = console.out();
    let (address, routes) = (listener.address(), recording.routes());
    let places: Vec<String> = routes
        .iter()
        .map(|route| format!("{route}=ws://{address}/{route}"))
        .collect();
    out.lines(&format!(
        "{}; --endpoint {}",
        show::count(
            usize::try_from(recording.len()).unwrap_or(usize::MAX),
            "frame"
        ),
        places.join(" --endpoint ")
    ));
    out.finish()?;
    let factor = match typed.speed {
        Speed::Factor(factor) => Some(factor),
        Speed::Max => None,
    };
    replay::run(listener, recording, factor, signals.stopped()).await;
    Ok(Exit::Done)
}
