//! The commands: each opens its stores, calls its verb, prints what came of it and returns how it ended.
//!
//! Refuses to know the flags' rules (`meaning`), the forms of output (`show`) and the numbers of exit codes (`exit`).

mod collect;
mod compact;
mod demo;
mod inspect;
mod query;
mod record;
mod replay;
mod stores;
mod verify;

use super::{
    args::{Command, Resources, Typed},
    console::Console,
    exit::Exit,
    settings::Settings,
    signals::Signals,
};
use crate::error::Result;

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
        Command::Collect(typed) => collect::run(typed, &decide(&Resources::default(), None)?, console, signals).await,
        Command::Record(typed) => record::run(typed, console, signals).await,
        Command::Replay(typed) => replay::run(typed, console, signals).await,
        Command::Demo(typed) => demo::run(typed, &decide(&Resources::default(), None)?, console, signals).await,
    }
}
