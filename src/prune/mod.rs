//! `prune`: removes spool files whose every row is proven to be in the archive.
//!
//! `plan` reads everything again and says of each file whether it may be removed, and why; `apply`
//! announces the removals in a journal, does them and records the result of each. A file of which
//! anything is in doubt stays, and no flag changes that. What the collector noted of old days is
//! removed by `records`, where it is asked for.

mod apply;
mod journal;
mod plan;
mod records;
mod report;

pub use report::{Judged, JudgedRecord, Options, Outcome, Report};

use chrono::SecondsFormat;

use crate::{
    error::Result,
    model::date::Date,
    storage::{
        scratch::{self, Scratch},
        store::Store,
    },
};

/// Prunes what `options` mean; one judgement per file, in their order.
///
/// # Errors
/// When the run cannot begin, or the files cannot be judged. What is wrong with a file is in its
/// judgement, and what went wrong later is in the report.
pub async fn run(
    spool: &Store,
    archive: &Store,
    options: &Options,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Report> {
    let today = Date::of(options.now)?;
    let mut report = Report::default();
    let scratch = if options.dry_run {
        None
    } else {
        Some(Scratch::new(&options.spill_dir)?)
    };
    if let Some(scratch) = &scratch {
        let _ = scratch::sweep(&options.spill_dir);
        report.settled = journal::settle(spool, archive, scratch.path()).await?;
    }
    let (mut planned, unlisted) = plan::plan(spool, archive, options, today, stop).await?;
    let time = options.now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let at = scratch.as_ref().map(|scratch| journal::Place {
        archive,
        staging: scratch.path(),
        today,
        time: &time,
    });
    let applied = async {
        if let Some(at) = &at {
            report.journal = apply::apply(spool, at, &mut planned, options.keep_days, stop).await?;
        }
        report.records = records::prune(spool, options, &planned, at.as_ref(), today, stop).await?;
        Ok(())
    };
    report.error = applied.await.err();
    report.files = planned.into_iter().map(|one| one.judged).collect();
    report.unlisted = unlisted;
    report.stopped = stop();
    if !options.dry_run {
        report.tell_not_reached();
    }
    Ok(report)
}
