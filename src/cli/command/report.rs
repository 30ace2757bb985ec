//! `qlc report`

use chrono::{SecondsFormat, Utc};

use super::{
    status::{gaps, say_absent},
    stores,
};
use crate::{
    cli::{
        args::Report, console::Console, exit::Exit, meaning, settings::Settings, show,
        signals::Signals,
    },
    error::Result,
    report::{self, Input},
    status::{self, Detail},
    storage::runs,
};

/// Writes the page.
pub(super) async fn run(
    typed: &Report,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let now = Utc::now();
    let options = meaning::status(&typed.covered, Detail::All, now)?;
    let archive = stores::present_archive(settings)?;
    let (spool, absent) = stores::spools_here(settings)?;
    say_absent(&absent, console);
    stores::apart(spool.as_ref(), &archive)?;
    let coverage = signals
        .or_stop(status::run(spool.as_ref(), &archive, &options))
        .await?;
    let runs = signals
        .or_stop(runs::read(&archive, Some(coverage.start)))
        .await?;
    let input = Input {
        coverage: &coverage,
        runs: &runs,
        archive: archive.show(""),
        made_at: now.to_rfc3339_opts(SecondsFormat::Secs, true),
    };
    let bytes = report::write(&input, &typed.html).await?;
    let mut out = console.out();
    out.lines(&format!(
        "{}: {}, {} from {} to {}",
        typed.html.display(),
        show::bytes(bytes),
        show::count(coverage.cells.len(), "partition"),
        coverage.start,
        coverage.end
    ));
    out.finish()?;
    gaps(&coverage, console);
    Ok(Exit::of_coverage(&coverage, false))
}
