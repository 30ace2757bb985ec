//! The commands: each opens its stores, calls its verb, prints the result and returns how it ended.
//!
//! The rules of flags are in `meaning`, the forms of output in `show`, the exit codes in `exit`.

mod clean;
mod cluster;
mod collect;
mod compact;
mod config;
mod demo;
mod doctor;
mod feeds;
mod history;
mod import;
mod inspect;
mod prune;
mod quarantine;
mod query;
mod reconcile;
mod record;
mod reference;
mod replay;
mod report;
mod shell;
mod status;
mod stores;
mod verify;

use std::path::PathBuf;

use super::{
    account::Account,
    args::{Command, ConfigVerb, Resources, Tuning, Typed},
    console::Console,
    exit::Exit,
    memory::{self, Allocator},
    settings::Settings,
    signals::Signals,
};
use crate::error::Result;

/// Does what was typed.
///
/// # Errors
/// When the command could not be begun, or ended as a whole; what failed in a part of it is in the
/// exit.
pub(crate) async fn run(
    typed: &Typed,
    console: &Console,
    signals: &Signals,
    account: &Account,
    allocator: Allocator,
) -> Result<Exit> {
    let decide = |resources: &Resources, tuning: &Tuning| {
        let settings = Settings::decide(&typed.global, resources, tuning)?;
        memory::keep_within(settings.memory_limit, allocator);
        Ok(settings)
    };
    // Most commands compact nothing, and many hold nothing in memory that a limit would be about.
    let usual = &typed.global.usual;
    let within = |resources: &Resources| decide(resources, &usual.tuning);
    let staged = |spill_dir: Option<&PathBuf>| within(&usual.with_spill_dir(spill_dir));
    let plain = || Settings::decide(&typed.global, &usual.resources, &usual.tuning);
    let archive_was_typed = typed.global.archive_was_typed;
    match &typed.command {
        Command::Compact(typed) => {
            compact::run(
                typed,
                &decide(&typed.resources, &typed.tuning)?,
                console,
                signals,
                account,
            )
            .await
        }
        Command::Verify(typed) => {
            verify::run(typed, &within(&typed.resources)?, console, signals, account).await
        }
        Command::Query(typed) => {
            // Large, because a statement's plan is made in it.
            Box::pin(query::run(
                typed,
                &within(&typed.resources)?,
                console,
                signals,
            ))
            .await
        }
        Command::Reconcile(typed) => {
            Box::pin(reconcile::run(
                typed,
                &within(&typed.resources)?,
                console,
                signals,
            ))
            .await
        }
        Command::Prune(typed) => {
            prune::run(
                typed,
                &staged(typed.spill_dir.as_ref())?,
                console,
                signals,
                account,
            )
            .await
        }
        Command::Quarantine(typed) => {
            quarantine::run(typed, usual, &within, console, signals).await
        }
        Command::Clean(typed) => {
            clean::run(
                typed,
                &staged(typed.spill_dir.as_ref())?,
                console,
                signals,
                account,
            )
            .await
        }
        Command::Import(typed) => {
            Box::pin(import::run(
                typed,
                &decide(&typed.resources, &typed.tuning)?,
                console,
                signals,
            ))
            .await
        }
        Command::Status(typed) => status::run(typed, &plain()?, console, signals).await,
        Command::Report(typed) => report::run(typed, &plain()?, console, signals).await,
        Command::Inspect(typed) => inspect::run(typed, &plain()?, console, signals).await,
        // An executor has the memory of all its tasks, which is another limit.
        Command::Cluster(typed) => cluster::run(typed, &plain()?, console, signals).await,
        Command::Config(config) => {
            let ConfigVerb::Show(show) = &config.verb;
            let settings = Settings::decide(&typed.global, &show.resources, &show.tuning)?;
            config::show(show, &typed.global, &settings, console)
        }
        Command::Doctor(doctor) => {
            doctor::run(
                doctor,
                &typed.global,
                within(&doctor.resources),
                console,
                signals,
            )
            .await
        }
        Command::Completions(typed) => shell::completions(typed.shell, console),
        Command::Man(typed) => shell::man(typed, console),
        Command::Reference => reference::run(console),
        Command::Demo(typed) => {
            let settings = plain()?;
            let demo = demo::run(typed, &settings, archive_was_typed, console, signals);
            Box::pin(demo).await
        }
        Command::Collect(typed) => collect::run(typed, &plain()?, console, signals).await,
        Command::Record(typed) => {
            let _ = plain()?;
            record::run(typed, console, signals).await
        }
        Command::Replay(typed) => replay::run(typed, console, signals).await,
    }
}
