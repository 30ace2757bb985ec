//! `qlc quarantine`

use std::io::{BufRead, IsTerminal};

use chrono::Utc;
use serde::Serialize;

use super::{compact::watched, stores};
use crate::{
    cli::{
        args::{Chosen, Discard, Format, Quarantine, Resources, Retry, Usual, Verb},
        console::{Console, Look},
        exit::Exit,
        meaning,
        settings::Settings,
        show,
        signals::Signals,
    },
    error::{Error, Kind, Result},
    inspect::{self, FileInspection},
    quarantine::{self, EntryState, Held, Place},
    storage::{scratch::Scratch, store::Store},
};

/// Decides the settings from what was typed for one command.
type Decide<'a> = &'a (dyn Fn(&Resources) -> Result<Settings> + Sync);

/// Does what the second word says.
pub(super) async fn run(
    typed: &Quarantine,
    usual: &Usual,
    decide: Decide<'_>,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let plain = || decide(&usual.resources);
    match &typed.verb {
        Verb::List(chosen) => list(chosen, &plain()?, console).await,
        Verb::Show(chosen) => show(chosen, &plain()?, console, signals).await,
        Verb::Retry(typed) => retry(typed, &decide(&typed.resources)?, console, signals).await,
        Verb::Discard(typed) => {
            discard(
                typed,
                &decide(&usual.with_spill_dir(typed.spill_dir.as_ref()))?,
                console,
            )
            .await
        }
    }
}

async fn list(chosen: &Chosen, settings: &Settings, console: &Console) -> Result<Exit> {
    let archive = stores::present_archive(settings)?;
    let found = quarantine::list(&archive, &meaning::filter(chosen)?).await?;
    let all = &found.held;
    let mut out = console.out();
    if !all.is_empty() || found.unread.is_empty() {
        out.list(chosen.format, all, || show::held(all, Look::of_stdout()))?;
    }
    out.finish()?;
    Ok(told(&found.unread, console))
}

/// Tells which documents could not be read; the exit code that follows.
fn told(unread: &[Error], console: &Console) -> Exit {
    let tell = |error: &Error| {
        console.line(&format!("qlc: {}", error.chain()));
        Exit::of_error(error)
    };
    unread.iter().map(tell).max().unwrap_or(Exit::Done)
}

/// An entry, and what its file looks like. This is the object that `--format json` prints.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    held: &'a Held,
    /// What is kept, read to its last page; absent where nothing is kept any more.
    inspection: Option<FileInspection>,
}

async fn show(
    chosen: &Chosen,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let archive = stores::present_archive(settings)?;
    let found = quarantine::list(&archive, &meaning::filter(chosen)?).await?;
    let all = found.held;
    let mut out = console.out();
    for held in &all {
        let kept = archive.head(&held.key()).await?.is_some();
        let inspection = if kept {
            Some(signals.or_stop(inspect::run(&archive, &held.key())).await?)
        } else {
            None
        };
        match chosen.format {
            Format::Json => out.json(&Shown { held, inspection })?,
            Format::Text => {
                out.lines(&show::entry(held));
                let text = inspection.map(|found| show::inspection(&found, Look::of_stdout()));
                out.lines(&text.unwrap_or_else(|| "  nothing is kept of it any more\n".to_owned()));
            }
        }
        if out.is_closed() {
            break;
        }
    }
    if all.is_empty() && found.unread.is_empty() && chosen.format == Format::Text {
        out.lines(&show::held(&all, Look::of_stdout()));
    }
    out.finish()?;
    Ok(told(&found.unread, console))
}

/// Marks, compacts, and lets go of what is proven to be in the archive.
async fn retry(
    typed: &Retry,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let now = typed.now.unwrap_or_else(Utc::now);
    let (spool, archive) = (
        stores::present_spool(settings)?,
        stores::present_archive(settings)?,
    );
    stores::apart(Some(&spool), &archive)?;
    let found = quarantine::list(&archive, &meaning::filter(&typed.chosen)?).await?;
    let mut all = found.held;
    if typed.chosen.name.is_none() {
        // Asked for as a whole, what can not be tried is not meant.
        all.retain(|held| held.state != EntryState::Discarded && held.entry.rows.is_none());
    }
    let scratch = Scratch::new(&settings.spill_dir)?;
    let at = Place {
        archive: &archive,
        staging: scratch.path(),
        now,
    };
    let marked = quarantine::mark(&at, &spool, all).await?;
    let mut exit = told(&found.unread, console);
    for options in meaning::compactions(&marked, typed.salvage, settings, now) {
        if signals.stop().asked() {
            return Err(Error::new(
                Kind::Interrupted,
                "stopped as asked; what was marked is tried by the next compaction",
            ));
        }
        let summary = watched(
            &spool,
            &archive,
            &options,
            None,
            settings,
            Format::Text,
            console,
            signals,
        )
        .await?;
        exit = exit.max(Exit::of_run(&summary));
        for folder in &summary.input.unlisted {
            console.line(&format!("qlc: {}", folder.reason));
        }
        for outcome in summary
            .outcomes
            .iter()
            .filter(|o| o.status == crate::compact::Status::Failed)
        {
            console.line(&format!("qlc: {}: {}", outcome.partition, outcome.message));
        }
    }
    let retried = quarantine::settle(&at, &spool, marked).await?;
    let mut out = console.out();
    out.list(typed.chosen.format, &retried, || {
        show::retried(&retried, Look::of_stdout())
    })?;
    out.finish()?;
    Ok(exit.max(Exit::of_retried(&retried)))
}

async fn discard(typed: &Discard, settings: &Settings, console: &Console) -> Result<Exit> {
    let filter = meaning::filter(&typed.chosen)?;
    if !filter.is_narrow() {
        return Err(Error::usage(
            "say what to discard: a name, a day, or --exchange, --stream and --symbol",
        ));
    }
    let archive = stores::present_archive(settings)?;
    let found = quarantine::list(&archive, &filter).await?;
    let (all, exit) = (found.held, told(&found.unread, console));
    if all.is_empty() {
        console.line("qlc: nothing is in QUARANTINE");
        return Ok(exit);
    }
    if !typed.yes && !confirmed(&archive, &all, console)? {
        console.line("qlc: nothing was discarded");
        return Ok(exit);
    }
    let scratch = Scratch::new(&settings.spill_dir)?;
    let at = Place {
        archive: &archive,
        staging: scratch.path(),
        now: Utc::now(),
    };
    let (journal, gone) = quarantine::discard(&at, all).await?;
    let mut out = console.out();
    match typed.chosen.format {
        Format::Text if gone.is_empty() => {
            out.lines("nothing to discard: nothing is kept of it any more");
        }
        Format::Text => {
            out.lines(&show::held(&gone, Look::of_stdout()));
            if let Some(key) = journal {
                out.lines(&format!(
                    "discarded; what it was is in {}",
                    archive.show(&key)
                ));
            }
        }
        Format::Json => {
            for one in &gone {
                out.json(one)?;
            }
        }
    }
    out.finish()?;
    Ok(exit)
}

/// Asks a person; where there is none, nothing is discarded.
fn confirmed(archive: &Store, all: &[Held], console: &Console) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage(
            "there is no terminal to ask on: give --yes to discard without a question",
        ));
    }
    for held in all {
        console.line(&format!(
            "  {}  {}",
            archive.show(&held.key()),
            show::bytes(held.entry.size)
        ));
    }
    console.line(&format!(
        "Remove {} from QUARANTINE for good? [y/N]",
        show::count(all.len(), "file")
    ));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    let _ = read.map_err(|e| Error::io("stdin: the answer cannot be read", e))?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
