//! The command line: what was typed, what is printed, which exit code.
//!
//! Each step has its file: `args` (typed) → `settings` and `meaning` (meant) → `command` (done) →
//! `show` (printed) → `exit`, and `after` reports how it ended. This is the only floor that knows
//! clap, stdout and the environment. It does no verb's work: it calls verbs and prints what they
//! return.

#![expect(
    clippy::disallowed_methods,
    reason = "the floor that reads the environment for all others"
)]

mod account;
mod after;
mod args;
mod command;
mod console;
mod defect;
mod exit;
mod log;
mod meaning;
mod memory;
mod profile;
mod progress;
mod prompt;
mod settings;
mod show;
mod shown;
mod signals;
mod version;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use account::Account;
use console::Console;
use exit::Exit;
pub use memory::Allocator;

use crate::{
    error::{Error, Kind, Result},
    storage,
};

/// The stack of each worker thread. A schema as deep as one may be needs a tenth of it, and only
/// what is used is resident.
const WORKER_STACK: usize = 8 << 20;

/// The program: reads the command line, does what it says, and returns the exit code.
#[must_use]
pub fn main(allocator: Allocator) -> ExitCode {
    let line: Vec<OsString> = std::env::args_os().collect();
    let typed = match args::read(line.iter().cloned()) {
        Ok(typed) => typed,
        Err(error) => return not_run(&error, &line).into(),
    };
    let console = Console::new(typed.global.quiet > 0, typed.global.verbose > 0);
    let (account, began) = (Account::default(), chrono::Utc::now());
    let ended = defect::caught(|| run(&typed, &console, &account, allocator));
    if let Err(error) = &ended {
        console.line(&format!("qlc: {}", error.chain()));
        account.failed(error.chain());
    }
    let exit = ended.unwrap_or_else(|error| Exit::of_error(&error));
    after::tell(&typed, &account, began, exit);
    exit.into()
}

fn run(
    typed: &args::Typed,
    console: &Console,
    account: &Account,
    allocator: Allocator,
) -> Result<Exit> {
    log::start(&typed.global, console)?;
    arm_crash()?;
    #[cfg(feature = "cluster")]
    if let Some(version) = std::env::var("QLC_PRETEND_VERSION")
        .ok()
        .filter(|version| !version.is_empty())
    {
        crate::cluster::pretend_version(&version);
    }
    let signals = signals::listen(console)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings::cores())
        .thread_name("qlc-worker")
        .thread_stack_size(WORKER_STACK)
        .enable_all()
        .build()
        .map_err(|e| Error::io("the worker threads cannot be started", e))?;
    if typed.command.is_service() {
        signals.be_patient();
    }
    let exit = runtime.block_on(async {
        tokio::select! {
            exit = Box::pin(command::run(typed, console, &signals, account, allocator)) => exit,
            () = signals.overdue() => Err(Error::new(
                Kind::Interrupted,
                "interrupted as asked, before it came to a safe point; the next run takes up what is left",
            )),
        }
    });
    // Blocking calls that an interrupted query left behind must not hold up the end.
    runtime.shutdown_background();
    exit
}

/// What clap ends by itself: help and version on stdout, a usage error in one line on stderr.
fn not_run(error: &clap::Error, line: &[OsString]) -> Exit {
    use clap::error::ErrorKind::{
        DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion, MissingSubcommand,
    };
    let console = Console::new(true, false);
    match error.kind() {
        DisplayHelp | DisplayVersion => match error.print().and_then(|()| io::stdout().flush()) {
            Err(trouble) if trouble.kind() != io::ErrorKind::BrokenPipe => {
                let trouble = console::unwritten(trouble);
                console.line(&format!("qlc: {}", trouble.chain()));
                Exit::of_error(&trouble)
            }
            // A reader that has gone needs no help.
            _ => Exit::Done,
        },
        // The second, where a variable such as QLC_SPOOL gives an argument.
        DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand if line.len() < 2 => {
            console.line(args::FIRST_SCREEN);
            Exit::Usage
        }
        DisplayHelpOnMissingArgumentOrSubcommand => {
            console.line(error.render().to_string().trim_end());
            Exit::Usage
        }
        _ => {
            console.line(&format!("qlc: {}", args::usage_line(error, line)));
            Exit::Usage
        }
    }
}

/// For crash tests: `QLC_CRASH_AT=n` kills this process by SIGKILL at the n-th point between two
/// durable steps.
fn arm_crash() -> Result<()> {
    const VARIABLE: &str = "QLC_CRASH_AT";
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let nth = text.to_str().and_then(|text| text.parse().ok());
    let nth = nth.ok_or_else(|| {
        Error::new(
            Kind::Usage,
            format!("{VARIABLE}={} is not a number", text.display()),
        )
    })?;
    storage::crash::arm(nth);
    Ok(())
}
