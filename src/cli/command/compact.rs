//! `qlc compact`

use std::sync::Arc;

use chrono::Utc;
use indicatif::HumanCount;
use serde::Serialize;

use super::{cluster, history, stores};
use crate::{
    cli::{
        account::Account,
        args::{Compact, Format, NamedCluster},
        console::{Console, Look, Out},
        exit::Exit,
        meaning,
        progress::Progress,
        settings::Settings,
        show,
        signals::Signals,
    },
    compact::{self, InputSummary, Options, Pending, RunSummary, Status},
    error::Result,
    model::{coverage, partition::Selection},
    quarantine::{self, EntryState, Filter},
    status::{self, Detail},
    storage::{
        listing::{Ignored, Unlisted},
        store::Store,
    },
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
    stores::apart(Some(&spool), &archive)?;
    if typed.dry_run {
        return dry_run(&spool, &archive, &options, typed, console, signals).await;
    }
    let on = typed.on.named();
    let summary = watched(
        &spool,
        &archive,
        &options,
        on,
        settings,
        typed.format,
        console,
        signals,
    )
    .await?;
    account.compacted(&summary);
    if settings.told.wants_metrics()
        && let Err(error) = count_standing(&spool, &archive, &options, account).await
    {
        tracing::warn!(
            "the state of the archive is not in the metrics: {}",
            error.chain()
        );
    }
    let mut out = console.out();
    match typed.format {
        Format::Text => {
            out.lines(&show::outcomes(
                &summary.outcomes,
                Look::of_stdout(),
                console.lists_all(),
            ));
            out.lines(&show::input(&summary.input));
        }
        Format::Json => json_of(&summary.input, &mut out)?,
    }
    out.finish()?;
    for line in complaints(&summary) {
        console.line(&format!("qlc: {line}"));
    }
    Ok(Exit::of_run(&summary))
}

/// Counts what lies in QUARANTINE and which of the last days are not complete, for the metrics.
async fn count_standing(
    spool: &Store,
    archive: &Store,
    options: &Options,
    account: &Account,
) -> Result<()> {
    let all = Filter {
        selection: Selection::all(),
        start: None,
        end: None,
        name: None,
    };
    let held = quarantine::list(archive, &all).await?.complete()?;
    let entries = held
        .iter()
        .filter(|held| held.state != EntryState::Discarded)
        .count();
    let asked = status::Options {
        selection: all.selection,
        start: None,
        end: None,
        now: options.now,
        detail: Detail::Nothing,
    };
    let coverage = status::run(Some(spool), archive, &asked).await?;
    let incomplete = coverage
        .cells
        .iter()
        .filter(|cell| cell.state != coverage::DayState::Complete)
        .count();
    account.standing(entries as u64, incomplete as u64);
    Ok(())
}

/// Compacts, here or on a cluster, under the eyes of a person, or of a program that reads the
/// outcomes as they come, and records the run.
#[expect(
    clippy::too_many_arguments,
    reason = "what a run is told, and everyone who watches it"
)]
pub(super) async fn watched(
    spool: &Store,
    archive: &Store,
    options: &Options,
    on: Option<NamedCluster<'_>>,
    settings: &Settings,
    format: Format,
    console: &Console,
    signals: &Signals,
) -> Result<RunSummary> {
    let begun = history::begin();
    let progress = Arc::new(Progress::new(
        console,
        (format == Format::Json).then(|| console.out()),
    ));
    let watch = Arc::clone(&progress);
    let ended = match on {
        None => compact::run(spool, archive, options, watch, signals.stop()).await,
        Some(on) => cluster::compact(on, spool, archive, options, watch, signals.stop()).await,
    };
    let written = progress.finish().map_or(Ok(()), Out::finish);
    let summary = ended?;
    if summary.input.files == 0
        && let Some(earlier) = history::had_files(archive, options).await
    {
        console.line(&format!(
            "qlc: {} holds no file at all, and held {} in the run of {}: is its disk mounted, does the collector run?",
            spool.show(""),
            HumanCount(earlier.files),
            earlier.ended_at
        ));
    }
    let about = history::of_compact(options, &summary);
    history::leave(archive, settings, &begun, Exit::of_run(&summary), about).await;
    written?;
    Ok(summary)
}

/// What of the input no outcome tells, as a line of JSON each.
fn json_of(input: &InputSummary, out: &mut Out) -> Result<()> {
    for Ignored { file, reason } in &input.ignored {
        out.json(&Note {
            status: "ignored",
            place: file,
            message: reason,
        })?;
    }
    for Unlisted { folder, reason } in &input.unlisted {
        out.json(&Note {
            status: "unlisted",
            place: folder,
            message: reason,
        })?;
    }
    for Pending { file, reason } in &input.pending {
        out.json(&Note {
            status: "pending",
            place: file,
            message: reason,
        })?;
    }
    Ok(())
}

/// What is told of a file or folder that is in no partition. This is the object that `--format
/// json` prints after those of the partitions.
#[derive(Serialize)]
struct Note<'a> {
    status: &'static str,
    place: &'a str,
    message: &'a str,
}

async fn dry_run(
    spool: &Store,
    archive: &Store,
    options: &Options,
    typed: &Compact,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let foreseen = compact::dry_run(spool, archive, options, typed.explain);
    let (outlooks, input) = signals.or_stop(Box::pin(foreseen)).await?;
    let format = typed.format;
    let mut out = console.out();
    out.list(format, &outlooks, || {
        show::outlooks(&outlooks) + &show::input(&input)
    })?;
    if format == Format::Json {
        json_of(&input, &mut out)?;
    }
    out.finish()?;
    Ok(Exit::of_outlooks(&outlooks).max(Exit::of_input(&input)))
}

/// Why the exit code is not 0, in a line each, for whoever keeps only stderr.
fn complaints(summary: &RunSummary) -> Vec<String> {
    let RunSummary { outcomes, input } = summary;
    let number = |status: Status| outcomes.iter().filter(|o| o.status == status).count();
    let mut lines = Vec::new();
    for (status, what) in [
        (Status::Failed, "failed"),
        (
            Status::Unknown,
            "with an unknown outcome; nothing was deleted, and the next run finds out",
        ),
        (
            Status::Interrupted,
            "interrupted; the next run takes them up",
        ),
    ] {
        if number(status) > 0 {
            lines.push(format!(
                "{} of {} {what}",
                HumanCount(number(status) as u64),
                show::count(outcomes.len(), "partition")
            ));
        }
    }
    let quarantined: u64 = outcomes.iter().map(|o| o.quarantined).sum();
    if quarantined > 0 {
        let quarantined = HumanCount(quarantined);
        lines.push(format!(
            "{quarantined} quarantined; error.json beside each in QUARANTINE of the archive says why"
        ));
    }
    if !input.ignored.is_empty() {
        lines.push(format!(
            "{} of the spool ignored; the lines above say why",
            show::count(input.ignored.len(), "file")
        ));
    }
    if !input.unlisted.is_empty() {
        let folders = show::count(input.unlisted.len(), "folder");
        lines.push(format!(
            "{folders} not listed, so that no series that may have files there was published"
        ));
    }
    lines
}
