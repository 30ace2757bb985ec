//! The stores that the settings name, as a command needs them: already there, or to be created.
//!
//! A file in place of a folder is refused.

use crate::{
    cli::settings::Settings,
    error::{Error, Result},
    storage::store::{Overlap, Store},
};

/// The spool, which must be there: an absent one is a typing error, or a disk that is not mounted.
pub(super) fn present_spool(settings: &Settings) -> Result<Store> {
    present(&settings.spool, settings, "spool")
}

/// The spool, if there is one on this machine.
pub(super) fn spool_if_any(settings: &Settings) -> Option<Store> {
    Store::open_with(&settings.spool, &settings.bucket).ok().filter(|spool| !spool.is_absent())
}

/// The archive, which must be there, since nothing is about to be written to it.
pub(super) fn present_archive(settings: &Settings) -> Result<Store> {
    present(&settings.archive, settings, "archive")
}

/// The archive, which need not be there yet.
pub(super) fn archive(settings: &Settings) -> Result<Store> {
    let store = Store::open_with(&settings.archive, &settings.bucket)?;
    refuse_file(&store, "archive")?;
    Ok(store)
}

fn present(place: &str, settings: &Settings, noun: &str) -> Result<Store> {
    let store = Store::open_with(place, &settings.bucket)?;
    if store.is_absent() {
        return Err(Error::usage(format!(
            "{place}: there is no such folder; name the {noun} with --{noun} or QLC_{}",
            noun.to_ascii_uppercase()
        )));
    }
    refuse_file(&store, noun)?;
    Ok(store)
}

/// Fails where spool and archive are one place, or one lies in the other: what a run publishes would be input of the next.
pub(super) fn apart(spool: Option<&Store>, archive: &Store) -> Result<()> {
    let Some((spool, overlap)) = spool.and_then(|spool| Some((spool, spool.overlap(archive)?))) else { return Ok(()) };
    let (spool, archive) = (spool.show(""), archive.show(""));
    Err(Error::usage(match overlap {
        Overlap::Same => format!("{spool} and {archive} are the same place: spool and archive must be apart"),
        Overlap::Inside => format!("the spool {spool} lies in the archive {archive}: they must be apart"),
        Overlap::Around => format!("the archive {archive} lies in the spool {spool}: they must be apart"),
    }))
}

/// Fails where a file stands in the place of a folder.
pub(super) fn refuse_file(store: &Store, noun: &str) -> Result<()> {
    match store.local_folder() {
        Some(folder) if folder.is_file() => {
            Err(Error::usage(format!("{}: is a file; the {noun} must be a folder", folder.display())))
        }
        _ => Ok(()),
    }
}
