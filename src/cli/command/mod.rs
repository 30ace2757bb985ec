//! The commands: each opens its stores, calls its verb, prints what came of it and returns how it ended.
//!
//! Refuses to know the flags' rules (`meaning`), the forms of output (`show`) and the numbers of exit codes (`exit`).

mod compact;
mod demo;
mod inspect;
mod query;
mod verify;

use super::{
    args::{Command, Resources, Typed},
    console::Console,
    exit::Exit,
    settings::Settings,
    signals::Signals,
};
use crate::{
    error::{Error, Result},
    storage::store::Store,
};

/// Does what was typed.
///
/// # Errors
/// When the command could not be begun, or ended as a whole; what failed in a part of it is in the exit.
pub(crate) async fn run(typed: &Typed, console: &Console, signals: &Signals) -> Result<Exit> {
    let decide = |resources: &Resources, workers| Settings::decide(&typed.global, resources, workers);
    match &typed.command {
        Command::Compact(typed) => {
            compact::run(typed, &decide(&typed.resources, typed.workers)?, console, signals).await
        }
        Command::Verify(typed) => verify::run(typed, &decide(&typed.resources, None)?, console, signals).await,
        Command::Query(typed) => query::run(typed, &decide(&typed.resources, None)?, console, signals).await,
        Command::Inspect(typed) => inspect::run(typed, console, signals).await,
        Command::Demo(typed) => demo::run(typed, &decide(&Resources::default(), None)?, console, signals).await,
    }
}

/// The spool, which must be there: an absent one is a typing error, or a disk that is not mounted.
fn present_spool(settings: &Settings) -> Result<Store> {
    present(&settings.spool, "spool")
}

/// The archive, which must be there, since nothing is about to be written to it.
fn present_archive(settings: &Settings) -> Result<Store> {
    present(&settings.archive, "archive")
}

/// The archive, which need not be there yet.
fn archive(settings: &Settings) -> Result<Store> {
    let store = Store::open(&settings.archive)?;
    refuse_file(&store, "archive")?;
    Ok(store)
}

fn present(place: &str, noun: &str) -> Result<Store> {
    let store = Store::open(place)?;
    if store.is_absent() {
        return Err(Error::usage(format!(
            "{place}: there is no such folder; name the {noun} with --{noun} or QLC_{}",
            noun.to_ascii_uppercase()
        )));
    }
    refuse_file(&store, noun)?;
    Ok(store)
}

fn refuse_file(store: &Store, noun: &str) -> Result<()> {
    match store.local_folder() {
        Some(folder) if folder.is_file() => {
            Err(Error::usage(format!("{}: is a file; the {noun} must be a folder", folder.display())))
        }
        _ => Ok(()),
    }
}
