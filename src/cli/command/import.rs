//! `qlc import`

use chrono::Utc;

use super::stores;
use crate::{
    cli::{
        args::{Format, Import},
        console::{Console, Look},
        exit::Exit,
        meaning,
        progress::Tally,
        settings::Settings,
        show,
        signals::Signals,
    },
    error::{Error, Result},
    import,
    storage::store::Store,
};

/// Takes over an archive, or says what would be taken over.
pub(super) async fn run(typed: &Import, settings: &Settings, console: &Console, signals: &Signals) -> Result<Exit> {
    let options = meaning::import(typed, settings, Utc::now())?;
    let from = typed.from.as_deref().map(|place| old(place, settings)).transpose()?;
    // Without another place the archive itself is what is looked at.
    let archive = if from.is_some() { stores::archive(settings)? } else { stores::present_archive(settings)? };
    stores::apart(stores::spool_if_any(settings).as_ref(), &archive)?;
    let stop = || signals.stop().asked();
    let (mut tally, mut out, mut all) = (Tally::new(console), console.out(), Vec::new());
    let mut failed = None;
    let ended = import::run(from.as_ref(), &archive, &options, &stop, &mut |one| {
        tally.count(one.rows, one.bytes, &show::imported_line(one));
        if typed.format == Format::Json
            && let Err(error) = out.json(one)
        {
            failed = Some(error);
        }
        all.push(one.clone());
    })
    .await;
    tally.finish();
    if typed.format == Format::Text && (ended.is_ok() || !all.is_empty()) {
        out.lines(&show::imported(&all, typed.dry_run, Look::of_stdout()));
    }
    out.finish()?;
    failed.map_or(Ok(()), Err)?;
    let exit = Exit::of_imported(&all);
    match ended {
        Ok(()) => Ok(exit),
        Err(error) => {
            console.line(&format!("qlc: {}", error.chain()));
            Ok(exit.max(Exit::of_error(&error)))
        }
    }
}

fn old(place: &str, settings: &Settings) -> Result<Store> {
    let store = Store::open_with(place, &settings.bucket)?;
    if store.is_absent() {
        return Err(Error::usage(format!("{place}: there is no such folder; name the old archive with --from")));
    }
    stores::refuse_file(&store, "old archive")?;
    if place.trim_end_matches('/') == settings.archive.trim_end_matches('/') {
        return Err(Error::usage(format!("{place} is the archive itself: leave out --from to adopt it in its place")));
    }
    Ok(store)
}
