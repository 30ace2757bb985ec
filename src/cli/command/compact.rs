//! `qlc compact`

use std::sync::Arc;

use chrono::Utc;

use super::{cluster, history, stores};
use crate::{
    cli::{
        account::Account,
        args::{Compact, Format},
        console::{Console, Look, Out},
        exit::Exit,
        meaning,
        progress::Progress,
        settings::Settings,
        show,
        signals::Signals,
    },
    compact::{self, Options, Outcome, Status},
    error::Result,
    storage::store::Store,
};

/// Compacts, or says what would be compacted.
pub(super) async fn run(
    typed: &Compact,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
    account: &Account,
) -> Result<Exit> {
    account.allowed(settings.memory_limit);
    let options = meaning::compact(typed, settings, Utc::now())?;
    let (spool, archive) = (stores::present_spool(settings)?, stores::archive(settings)?);
    if typed.dry_run {
        return dry_run(&spool, &archive, &options, typed.format, console, signals).await;
    }
    let on = typed.on.cluster.as_deref();
    let outcomes = watched(&spool, &archive, &options, on, settings, typed.format, console, signals).await?;
    account.compacted(&outcomes);
    if typed.format == Format::Text {
        let mut out = console.out();
        out.lines(&show::outcomes(&outcomes, Look::of_stdout()));
        out.finish()?;
    }
    for line in complaints(&outcomes) {
        console.line(&format!("qlc: {line}"));
    }
    Ok(Exit::of_outcomes(&outcomes))
}

/// Compacts, here or on a cluster, under the eyes of a person, or of a program that reads the outcomes as they come, and
/// records the run.
#[expect(clippy::too_many_arguments, reason = "what a run is told, and everyone who watches it")]
pub(super) async fn watched(
    spool: &Store,
    archive: &Store,
    options: &Options,
    on: Option<&str>,
    settings: &Settings,
    format: Format,
    console: &Console,
    signals: &Signals,
) -> Result<Vec<Outcome>> {
    let begun = history::begin();
    let progress = Arc::new(Progress::new(console, (format == Format::Json).then(|| console.out())));
    let watch = Arc::clone(&progress);
    let ended = match on {
        None => compact::run(spool, archive, options, watch, signals.stop()).await,
        Some(url) => cluster::compact(url, spool, archive, options, watch, signals.stop()).await,
    };
    let written = progress.finish().map_or(Ok(()), Out::finish);
    let outcomes = ended?;
    let about = history::of_compact(options, &outcomes);
    history::leave(archive, settings, &begun, Exit::of_outcomes(&outcomes), about).await;
    written?;
    Ok(outcomes)
}

async fn dry_run(
    spool: &Store,
    archive: &Store,
    options: &Options,
    format: Format,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let outlooks = signals.or_stop(compact::dry_run(spool, archive, options)).await?;
    let mut out = console.out();
    out.list(format, &outlooks, || show::outlooks(&outlooks))?;
    out.finish()?;
    Ok(Exit::of_outlooks(&outlooks))
}

/// Why the exit code is not 0, in a line each, for whoever keeps only stderr.
fn complaints(outcomes: &[Outcome]) -> Vec<String> {
    let number = |status: Status| outcomes.iter().filter(|o| o.status == status).count();
    let mut lines = Vec::new();
    for (status, what) in [
        (Status::Failed, "failed"),
        (Status::Unknown, "with an unknown outcome; nothing was deleted, and the next run finds out"),
        (Status::Interrupted, "interrupted; the next run takes them up"),
    ] {
        if number(status) > 0 {
            lines.push(format!("{} of {} {what}", number(status), show::count(outcomes.len(), "partition")));
        }
    }
    let quarantined: u64 = outcomes.iter().map(|o| o.quarantined).sum();
    if quarantined > 0 {
        lines.push(format!("{quarantined} quarantined; error.json beside each in QUARANTINE of the archive says why"));
    }
    lines
}
