//! `qlc prune`

use chrono::Utc;

use super::{history, stores};
use crate::{
    cli::{
        account::Account,
        args::Prune,
        console::{Console, Look},
        exit::Exit,
        meaning,
        settings::Settings,
        show,
        signals::Signals,
    },
    error::Result,
    prune,
};

/// A line of JSON.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Line<'a> {
    File(&'a prune::Judged),
    Record(&'a prune::JudgedRecord),
}

/// Prunes, or says what would be pruned.
pub(super) async fn run(
    typed: &Prune,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
    account: &Account,
) -> Result<Exit> {
    let options = meaning::prune(typed, settings, Utc::now())?;
    let (spool, archive) = (
        stores::present_spool(settings)?,
        stores::present_archive(settings)?,
    );
    stores::apart(Some(&spool), &archive)?;
    let begun = history::begin();
    let stop = || signals.stop().asked();
    let ended = prune::run(&spool, &archive, &options, &stop).await;
    let report = match ended {
        Ok(report) => report,
        Err(error) => {
            console.line(&format!("qlc: {}", error.chain()));
            account.failed(error.chain());
            return Ok(Exit::of_findings(0, &Err::<(), _>(error)));
        }
    };
    let mut out = console.out();
    let files = report.files.iter().map(Line::File);
    let lines: Vec<Line> = files
        .chain(report.records.iter().map(Line::Record))
        .collect();
    out.list(typed.format, &lines, || {
        show::pruned(&report, typed.dry_run, Look::of_stdout())
    })?;
    out.finish()?;
    account.pruned(&report);
    for folder in &report.unlisted {
        console.line(&format!("qlc: {}", folder.reason));
        account.failed(folder.reason.clone());
    }
    if let Some(error) = &report.error {
        console.line(&format!("qlc: {}", error.chain()));
        account.failed(error.chain());
    }
    let exit = Exit::of_pruned(&report);
    if !typed.dry_run {
        history::leave(
            &archive,
            settings,
            &begun,
            exit,
            history::of_prune(&options, &report),
        )
        .await;
    }
    if exit == Exit::Damage {
        console.line(
            "qlc: not everything that must be proven could be; the lines above say what, qlc verify looks further",
        );
    }
    Ok(exit)
}
