//! `qlc clean`

use chrono::Utc;

use super::{history, stores};
use crate::{
    clean,
    cli::{
        account::Account,
        args::Clean,
        console::{Console, Look},
        exit::Exit,
        meaning,
        settings::Settings,
        show,
        signals::Signals,
    },
    error::Result,
};

/// Cleans, or says what would be cleaned. A machine without a spool has an archive to clean all the
/// same.
pub(super) async fn run(
    typed: &Clean,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
    account: &Account,
) -> Result<Exit> {
    let options = meaning::clean(typed, settings, Utc::now());
    let (spool, _) = stores::spools_here(settings)?;
    // Where a collector runs there may be no archive yet.
    let archive = if spool.is_some() {
        stores::archive(settings)?
    } else {
        stores::present_archive(settings)?
    };
    stores::apart(spool.as_ref(), &archive)?;
    if let Some(folder) = archive.absent() {
        console.line(&format!(
            "qlc: {folder}: there is no such folder; only the spool is cleaned"
        ));
    }
    let begun = history::begin();
    let stop = || signals.stop().asked();
    let swept = clean::run(spool.as_ref(), &archive, &options, &stop).await?;
    let mut out = console.out();
    out.list(typed.format, &swept, || {
        show::swept(&swept, Look::of_stdout())
    })?;
    out.finish()?;
    account.cleaned(&swept);
    let exit = Exit::of_swept(&swept);
    // An archive that is not there yet is not made for a record.
    if !typed.dry_run && !archive.is_absent() {
        history::leave(&archive, settings, &begun, exit, history::of_clean(&swept)).await;
    }
    Ok(exit)
}
