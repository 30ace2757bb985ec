//! The stores that the settings name, as a command needs them: already there, or to be created.
//!
//! A file in place of a folder is refused.

use crate::{
    cli::settings::Settings,
    error::{Error, Result},
    storage::{
        spools::{SpoolRoot, Spools},
        store::{Overlap, Store},
    },
};

/// The spool, which must be there: an absent one is a typing error, or a disk that is not mounted.
pub(super) fn present_spool(settings: &Settings) -> Result<Store> {
    let store = Store::of_spools(&settings.spool, &settings.bucket)?;
    present(&store, "spool")?;
    Ok(store)
}

/// The spools that are on this machine, as one store, if there is any; and those that are not.
///
/// # Errors
/// When two of those that are there are one place, or one of them is a file.
pub(super) fn spools_here(settings: &Settings) -> Result<(Option<Store>, Vec<SpoolRoot>)> {
    let is_here = |spool: &&SpoolRoot| {
        Store::open_with(&spool.place, &settings.bucket).is_ok_and(|store| !store.is_absent())
    };
    let (here, absent): (Vec<&SpoolRoot>, Vec<&SpoolRoot>) =
        settings.spool.all().iter().partition(is_here);
    let here: Vec<SpoolRoot> = here.into_iter().cloned().collect();
    let store = if here.is_empty() {
        None
    } else {
        Some(Store::of_spools(&Spools::of(here)?, &settings.bucket)?)
    };
    if let Some(store) = &store {
        refuse_file(store, "spool")?;
    }
    Ok((store, absent.into_iter().cloned().collect()))
}

/// The archive, which must be there, since nothing is about to be written to it.
pub(super) fn present_archive(settings: &Settings) -> Result<Store> {
    let store = Store::open_with(&settings.archive, &settings.bucket)?;
    present(&store, "archive")?;
    Ok(store)
}

/// The archive, which need not be there yet.
pub(super) fn archive(settings: &Settings) -> Result<Store> {
    let store = Store::open_with(&settings.archive, &settings.bucket)?;
    refuse_file(&store, "archive")?;
    Ok(store)
}

fn present(store: &Store, noun: &str) -> Result<()> {
    if let Some(place) = store.absent() {
        return Err(Error::usage(format!(
            "{place}: there is no such folder; name the {noun} with --{noun} or QLC_{}",
            noun.to_ascii_uppercase()
        )));
    }
    refuse_file(store, noun)
}

/// Fails where spool and archive are one place, or one lies in the other: what a run publishes
/// would be input of the next.
pub(super) fn apart(spool: Option<&Store>, archive: &Store) -> Result<()> {
    let Some((spool, overlap)) = spool.and_then(|spool| spool.overlapping(archive)) else {
        return Ok(());
    };
    let archive = archive.show("");
    Err(Error::usage(match overlap {
        Overlap::Same => {
            format!("{spool} and {archive} are the same place: spool and archive must be apart")
        }
        Overlap::Inside => {
            format!("the spool {spool} lies in the archive {archive}: they must be apart")
        }
        Overlap::Around => {
            format!("the archive {archive} lies in the spool {spool}: they must be apart")
        }
    }))
}

/// Fails where a file stands in the place of a folder.
pub(super) fn refuse_file(store: &Store, noun: &str) -> Result<()> {
    let file = store
        .roots()
        .filter_map(|(_, root)| root.local_folder())
        .find(|folder| folder.is_file());
    file.map_or(Ok(()), |file| {
        Err(Error::usage(format!(
            "{}: is a file; the {noun} must be a folder",
            file.display()
        )))
    })
}
