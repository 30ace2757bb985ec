//! After a run: its metrics are written and pushed, and a webhook is notified if the run did not
//! end well.
//!
//! Called when a command has ended, in whatever way: with an error, or with a panic too. It never
//! changes the exit code: what cannot be written or sent is a warning.

mod metrics;
mod notice;
mod post;
mod run;

use chrono::{DateTime, Utc};

use run::Run;

use super::{
    account::{Account, peak_memory},
    args::{Command, Typed},
    exit::Exit,
    settings::Told,
};
use crate::{
    error::{Error, Kind, Result},
    model::metric,
};

/// Tells whoever the settings name how the command ended.
pub(crate) fn tell(typed: &Typed, account: &Account, began: DateTime<Utc>, exit: Exit) {
    let (Some(command), told) = (heard(&typed.command), Told::of(&typed.global)) else {
        return;
    };
    if told == Told::default() {
        return;
    }
    let run = Run {
        command,
        exit,
        began,
        ended: Utc::now(),
        sums: account.told(),
        peak_memory: peak_memory(),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return tracing::warn!(%error, "how the run ended could not be reported"),
    };
    runtime.block_on(async {
        // The collector has metrics of its own, which it serves.
        if command != COLLECT {
            if let Some(path) = &told.metrics_file {
                warn("the metrics were not kept", metrics::keep(path, &run).await);
            }
            if let Some(url) = &told.metrics_push {
                warn("the metrics were not pushed", push(url, &run).await);
            }
        }
        if let Some(url) = told.notify.as_ref().filter(|_| exit != Exit::Done) {
            warn("nobody was notified", notify(url, &run).await);
        }
    });
}

const COLLECT: &str = "collect";

/// The name of a command that somebody may want to hear of; a dry run has done nothing that could
/// be told.
fn heard(command: &Command) -> Option<&'static str> {
    match command {
        Command::Compact(typed) if !typed.dry_run => Some("compact"),
        Command::Verify(_) => Some("verify"),
        Command::Prune(typed) if !typed.dry_run => Some("prune"),
        Command::Clean(typed) if !typed.dry_run => Some("clean"),
        Command::Collect(_) => Some(COLLECT),
        _ => None,
    }
}

fn warn(what: &str, result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!("{what}: {}", error.chain());
    }
}

/// Pushes the metrics of the run. By POST, which replaces metrics by name: the last success stays
/// where a failed run has none, and a PUT would remove it.
async fn push(url: &str, run: &Run) -> Result<()> {
    let mut url = post::url(url)?;
    if ["", "/"].contains(&url.path()) {
        url.set_path(&format!("/metrics/job/qlc/command/{}", run.command));
    }
    let text = metric::page("", run.command, &metrics::samples(run))?;
    post::post(
        &url,
        "text/plain; version=0.0.4; charset=utf-8",
        text.into_bytes(),
    )
    .await
}

async fn notify(url: &str, run: &Run) -> Result<()> {
    let host = host();
    let body = serde_json::to_vec(&notice::of(run, &host))
        .map_err(|e| Error::caused(Kind::Internal, "a notice", e))?;
    post::post(&post::url(url)?, "application/json", body).await
}

fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
