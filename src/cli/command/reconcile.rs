//! `qlc reconcile`

use std::sync::Arc;

use chrono::Utc;

use super::{feeds::proxies, history, stores};
use crate::{
    cli::{
        args::{Format, Reconcile},
        console::{Console, Look},
        exit::Exit,
        meaning,
        settings::Settings,
        show,
        signals::Signals,
    },
    error::Result,
    model::reconcile::ReconcileRecord,
    reconcile::{self, Downloads, Options},
    storage::store::Store,
};

/// Compares the archive with the venue's files, and takes what only they have where that was asked
/// for.
pub(super) async fn run(
    typed: &Reconcile,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let options = Options {
        downloads: downloads(typed, console)?,
        ..meaning::reconcile(typed, settings, Utc::now())?
    };
    // Only a history before the first day is taken where there is no archive yet.
    let archive = if options.take {
        stores::archive(settings)?
    } else {
        stores::present_archive(settings)?
    };
    let spool = if options.take {
        Some(stores::present_spool(settings)?)
    } else {
        stores::spools_here(settings)?.0
    };
    stores::apart(spool.as_ref(), &archive)?;
    reconciled(
        spool.as_ref(),
        &archive,
        &options,
        settings,
        typed.format,
        console,
        signals,
    )
    .await
}

fn downloads(typed: &Reconcile, console: &Console) -> Result<Option<Downloads>> {
    let Some(folder) = &typed.download else {
        return Ok(None);
    };
    let console = console.clone();
    Ok(Some(Downloads {
        folder: folder.clone(),
        proxies: proxies()?,
        most: typed.download_limit,
        progress: Arc::new(move |url| console.progress_line(&format!("fetching {url}"))),
    }))
}

/// Reconciles and prints what came of it.
pub(super) async fn reconciled(
    spool: Option<&Store>,
    archive: &Store,
    options: &Options,
    settings: &Settings,
    format: Format,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let begun = history::begin();
    let stop = || signals.stop().asked();
    let mut out = console.out();
    let mut records: Vec<ReconcileRecord> = Vec::new();
    let ended = reconcile::run(spool, archive, options, &stop, &mut |record| {
        if format == Format::Json
            && let Err(error) = out.json(record)
        {
            tracing::error!("{}", error.chain());
        }
        records.push(record.clone());
    })
    .await;
    if format == Format::Text && (ended.is_ok() || !records.is_empty()) {
        out.lines(&show::reconciled(&records, Look::of_stdout()));
    }
    out.finish()?;
    let exit = Exit::of_reconciled(&records);
    if ended.is_ok() {
        let about = history::of_reconcile(options, &records);
        history::leave(archive, settings, &begun, exit, about).await;
    }
    ended.map(|()| exit)
}
