//! `clean`: removes what interrupted runs left: receipts of data that was never published or was
//! replaced, temporary files, scratch folders, probes, finished intents.
//!
//! Each kind has its own rule for when it is orphaned. Young objects stay, because a run may be
//! about to need them. `data.parquet`, `meta.json`, QUARANTINE, spool files and journals are never
//! touched.

mod receipts;
mod report;

use std::path::Path;

use chrono::{DateTime, Duration, Utc};

pub use report::{Kind, Left, Options, Swept};

use crate::{
    error::Result,
    model::layout,
    storage::{
        conditions::PROBE_DIR,
        leftovers,
        listing::{Missing, Unlisted},
        remove::{Removal, remove},
        scratch,
        store::{Object, Store},
        uploads::{self, Unfinished},
    },
};

/// Removes what is left over, or says what would be removed.
///
/// # Errors
/// When the archive does not answer. What could not be removed says so in the result.
pub async fn run(
    spool: Option<&Store>,
    archive: &Store,
    options: &Options,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Swept>> {
    let mut all = Vec::new();
    let before = options.now - Duration::from_std(options.older_than).unwrap_or(Duration::MAX);
    let old = |object: &Object| is_before(object, before);
    if !archive.is_absent() {
        let (orphans, hidden) = receipts::orphans(archive, &old, stop).await?;
        all.extend(hidden.into_iter().map(|one| unlisted(Kind::Receipt, one)));
        for (object, why) in orphans {
            all.push(object_goes(archive, &object, Kind::Receipt, why, options).await);
        }
        for upload in uploads::list(archive, before).await? {
            all.push(upload_goes(archive, &upload, options).await);
        }
        let (probes, missing) = archive.list(PROBE_DIR).await?.apart();
        all.extend(
            missing
                .into_all()
                .into_iter()
                .map(|one| unlisted(Kind::Probe, one)),
        );
        for object in probes.into_iter().filter(old) {
            let why = "it showed what the store can do";
            all.push(object_goes(archive, &object, Kind::Probe, why.to_owned(), options).await);
        }
        let (intents, missing) = finished_intents(archive).await?;
        let hidden = missing.into_all().into_iter();
        all.extend(hidden.map(|one| unlisted(Kind::Intent, one)));
        for object in intents {
            let why = "its journal is written";
            all.push(object_goes(archive, &object, Kind::Intent, why.to_owned(), options).await);
        }
    }
    for store in [Some(archive), spool].into_iter().flatten() {
        let (abandoned, missing) = leftovers::abandoned(store);
        all.extend(
            missing
                .into_all()
                .into_iter()
                .map(|one| unlisted(Kind::Temporary, one)),
        );
        for path in abandoned {
            all.push(path_goes(
                &path,
                Kind::Temporary,
                options,
                leftovers::remove,
            ));
        }
    }
    for path in scratch::abandoned(&options.spill_dir) {
        all.push(path_goes(&path, Kind::Scratch, options, scratch::remove));
    }
    Ok(all)
}

/// What could not be looked for.
fn unlisted(kind: Kind, folder: Unlisted) -> Swept {
    Swept {
        kind,
        place: folder.folder,
        bytes: None,
        left: Left::Failed,
        why: folder.reason,
    }
}

fn is_before(object: &Object, before: DateTime<Utc>) -> bool {
    object.modified_us < before.timestamp_micros()
}

/// Intents of prunings whose journal stands: the run ended between the two; and the folders in
/// which there may be more.
async fn finished_intents(archive: &Store) -> Result<(Vec<Object>, Missing)> {
    let (all, missing) = archive.list(layout::PRUNED).await?.apart();
    let finished = |intent: &Object| {
        let journal = intent
            .key
            .strip_suffix(".intent.ndjson")
            .map(|run| format!("{run}.ndjson"));
        journal.is_some_and(|key| all.iter().any(|o| o.key == key))
    };
    let intents = all.iter().filter(|o| finished(o)).cloned().collect();
    Ok((intents, missing))
}

async fn object_goes(
    archive: &Store,
    object: &Object,
    kind: Kind,
    why: String,
    options: &Options,
) -> Swept {
    let (place, bytes) = (archive.show(&object.key), object.size);
    let swept = |left, why| Swept {
        kind,
        place: place.clone(),
        bytes: Some(bytes),
        left,
        why,
    };
    if options.dry_run {
        return swept(Left::WouldGo, why);
    }
    match remove(archive, object).await {
        Ok(Removal::Removed | Removal::Absent) => swept(Left::Gone, why),
        Ok(Removal::Changed) => swept(Left::Stays, "it was replaced meanwhile".to_owned()),
        Err(error) => swept(Left::Failed, error.chain()),
    }
}

async fn upload_goes(archive: &Store, upload: &Unfinished, options: &Options) -> Swept {
    let why = format!(
        "it was begun at {} and never ended",
        upload.begun.to_rfc3339()
    );
    let place = archive.show(&upload.key);
    let swept = |left, why| Swept {
        kind: Kind::Upload,
        place,
        bytes: None,
        left,
        why,
    };
    if options.dry_run {
        return swept(Left::WouldGo, why);
    }
    match uploads::abort(archive, upload).await {
        Ok(()) => swept(Left::Gone, why),
        Err(error) => swept(Left::Failed, error.chain()),
    }
}

fn path_goes(
    path: &Path,
    kind: Kind,
    options: &Options,
    remove: impl Fn(&Path) -> Result<bool>,
) -> Swept {
    let bytes = std::fs::metadata(path)
        .ok()
        .filter(std::fs::Metadata::is_file)
        .map(|m| m.len());
    let place = path.display().to_string();
    let swept = |left, why: String| Swept {
        kind,
        place,
        bytes,
        left,
        why,
    };
    let dead = "the process that made it is dead".to_owned();
    if options.dry_run {
        return swept(Left::WouldGo, dead);
    }
    match remove(path) {
        Ok(true) => swept(Left::Gone, dead),
        Ok(false) => swept(
            Left::Stays,
            "a process has taken it up meanwhile".to_owned(),
        ),
        Err(error) => swept(Left::Failed, error.chain()),
    }
}
