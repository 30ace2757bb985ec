//! `qlc status`

use chrono::Utc;

use super::stores;
use crate::{
    cli::{
        args::Status,
        console::{Console, Look},
        exit::Exit,
        meaning,
        settings::Settings,
        show,
        signals::Signals,
    },
    error::Result,
    model::coverage::Coverage,
    status::{self, Detail},
    storage::spools::SpoolRoot,
};

/// Says what is there. A machine without a spool has an archive to look at all the same.
pub(super) async fn run(
    typed: &Status,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let options = meaning::status(&typed.covered, Detail::WhereNeeded, Utc::now())?;
    let archive = stores::archive(settings)?;
    let (spool, absent) = stores::spools_here(settings)?;
    say_absent(&absent, console);
    stores::apart(spool.as_ref(), &archive)?;
    let mut coverage = signals
        .or_stop(status::run(spool.as_ref(), &archive, &options))
        .await?;
    if spool.is_some() {
        coverage.absent_spools = absent.iter().map(ToString::to_string).collect();
    }
    let mut out = console.out();
    out.list(typed.format, &coverage.cells, || {
        let text = show::coverage(&coverage, Look::of_stdout());
        format!("{text}{}", show::compared(&coverage.reconciled))
    })?;
    out.finish()?;
    gaps(&coverage, console);
    Ok(Exit::of_coverage(&coverage, typed.strict))
}

/// Says what is known of no partition.
pub(super) fn gaps(coverage: &Coverage, console: &Console) {
    for reason in &coverage.unlisted {
        console.line(&format!(
            "qlc: {reason}; a series that may have files there is left out"
        ));
    }
    for reason in &coverage.unread {
        console.line(&format!("qlc: {reason}"));
    }
    if let Some(first) = coverage.ignored.first() {
        let files = show::count(coverage.ignored.len(), "file");
        console.line(&format!(
            "qlc: {files} of the spool in no partition, such as {first}"
        ));
    }
}

/// Says which spools are not here: what waits there is not known.
pub(super) fn say_absent(absent: &[SpoolRoot], console: &Console) {
    for one in absent {
        console.line(&format!(
            "qlc: {one}: there is no such spool here, so files that wait and quality windows are not known"
        ));
    }
}
