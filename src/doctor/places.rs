//! Spool and archive: what is there, and whether reading, writing and conditional writing work.
//!
//! No object and no folder is left behind.

use std::{collections::BTreeMap, path::Path};

use chrono::Utc;

use super::{
    facts::{Archive, Load, Spool},
    machine,
    report::Options,
};
use crate::{
    archive::stray::{self, Stray},
    error::{Error, Kind, Result},
    model::{
        date::Date,
        layout::{self, Placed},
        partition::Selection,
        receipt::Receipt,
    },
    storage::{
        Expect, atomic,
        conditions::{self, PROBE_DIR},
        listing::SpoolListing,
        remove,
        spools::SpoolRoot as Named,
        store::{Object, Overlap, Store},
    },
};

/// So many of the newest receipts are read for the version that wrote them.
const RECEIPTS: usize = 20;
/// A file that is changed so much later than now was not changed by this clock, in microseconds.
const AHEAD_US: i64 = 60_000_000;

/// The spools that overlap with the archive, or with another one, as far as they can be opened.
pub(super) fn overlaps(options: &Options) -> Vec<(&Named, Option<&Named>, Overlap)> {
    let open = |place: &str| Store::open_with(place, &options.bucket).ok();
    let spools: Vec<(&Named, Store)> = options
        .spool
        .all()
        .iter()
        .filter_map(|spool| Some((spool, open(&spool.place)?)))
        .collect();
    let archive = open(&options.archive);
    let mut found = Vec::new();
    for (nth, (spool, store)) in spools.iter().enumerate() {
        found.extend(
            archive
                .as_ref()
                .and_then(|archive| Some((*spool, None, store.overlap(archive)?))),
        );
        let others = spools.iter().skip(nth + 1);
        found
            .extend(others.filter_map(|(other, theirs)| {
                Some((*spool, Some(*other), store.overlap(theirs)?))
            }));
    }
    found
}

/// Looks at the spool, or that of a collector.
///
/// # Errors
/// When it cannot be opened or listed.
pub(super) async fn spool(place: &str, options: &Options) -> Result<Spool> {
    let store = Store::open_with(place, &options.bucket)?;
    refuse_file(&store)?;
    let SpoolListing {
        files,
        ignored,
        missing,
        ..
    } = store.list("").await?.spool();
    let today = Date::of(options.now)?;
    let now_us = options.now.timestamp_micros();
    let mut found = Spool {
        absent: store.is_absent(),
        files: 0,
        bytes: 0,
        elsewhere: ignored.len() as u64,
        unlisted: missing.fail().err().map(|e| e.chain()),
        future: Vec::new(),
        unreadable: None,
        load: Load::default(),
    };
    let mut partitions: BTreeMap<(String, Option<Date>), u64> = BTreeMap::new();
    let mut days: BTreeMap<Option<Date>, u64> = BTreeMap::new();
    let mut newest: Option<&Object> = None;
    for (placed, object) in &files {
        found.files += 1;
        found.bytes += object.size;
        let home = placed.home();
        *partitions
            .entry((layout::series_dir(&placed.series), home))
            .or_default() += object.size;
        *days.entry(home).or_default() += object.size;
        if object.modified_us > now_us + AHEAD_US || home.is_some_and(|home| home > today) {
            found.future.push(object.key.clone());
        }
        newest = newest
            .filter(|other| other.modified_us >= object.modified_us)
            .or(Some(object));
    }
    found.load.partition = partitions.values().copied().max().unwrap_or_default();
    found.load.day = days.values().copied().max().unwrap_or_default();
    if let Some(object) = newest {
        found.unreadable = store
            .read_through(&object.key, |_| {})
            .await
            .err()
            .map(|e| e.chain());
    }
    Ok(found)
}

/// Looks at the archive, and tries what a run will do there.
///
/// # Errors
/// When it cannot be opened or listed.
pub(super) async fn archive(options: &Options) -> Result<Archive> {
    let store = Store::open_with(&options.archive, &options.bucket)?;
    refuse_file(&store)?;
    let (objects, missing) = store.list("").await?.apart();
    let is_meta = |object: &&Object| match Placed::parse(&object.key) {
        Some(Ok(placed)) => placed.date.is_some() && placed.file == layout::META_FILE,
        _ => false,
    };
    let partitions = objects.iter().filter(is_meta).count() as u64;
    let keys = objects.iter().map(|object| object.key.as_str());
    let strays = stray::among(keys, Stray::of)
        .iter()
        .map(|one| format!("{}: {}", store.show(&one.place), one.finding(&store)))
        .collect();
    let versions = versions(&store, &objects).await;
    let absent = store.is_absent();
    let folder = store.local_folder().map(Path::to_owned);
    let tried = match &folder {
        // What is not there is made by the first run, if the folder above it allows that.
        Some(folder) if absent => machine::disk(folder)
            .filter(|disk| disk.writable)
            .map(|_| None)
            .ok_or_else(|| {
                Error::new(
                    Kind::Io,
                    format!(
                        "{}: there is no such folder, and it cannot be made",
                        folder.display()
                    ),
                )
            }),
        Some(folder) => in_folder(folder).map(Some),
        None => in_bucket(&store).await.map(Some),
    };
    let conditions = match &tried {
        Ok(_) => conditions::probe(&store).await.err().map(|e| e.chain()),
        Err(_) => None,
    };
    let (writing, skew) = match tried {
        Ok(skew) => (None, skew),
        Err(error) => (Some(error.chain()), None),
    };
    let unlisted = missing
        .meant("", &Selection::all())
        .fail()
        .err()
        .map(|e| e.chain());
    Ok(Archive {
        folder,
        absent,
        partitions,
        strays,
        unlisted,
        writing,
        skew,
        conditions,
        versions,
    })
}

/// Writes and removes a hidden file; returns by how many seconds the disk's clock is ahead, as that
/// of a server can be.
fn in_folder(folder: &Path) -> Result<i64> {
    let wrong =
        |e: std::io::Error| Error::io(format!("{}: cannot be written to", folder.display()), e);
    let file = tempfile::Builder::new()
        .prefix(".qlc-doctor-")
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(wrong)?;
    std::fs::write(file.path(), b"doctor")
        .and_then(|()| file.as_file().sync_all())
        .map_err(wrong)?;
    let changed = file
        .as_file()
        .metadata()
        .and_then(|meta| meta.modified())
        .map_err(wrong)?;
    let skew = chrono::DateTime::<Utc>::from(changed) - now();
    file.close().map_err(wrong)?;
    Ok(skew.num_seconds())
}

/// The same with an object.
async fn in_bucket(store: &Store) -> Result<i64> {
    let key = format!("{PROBE_DIR}/{}", uuid::Uuid::new_v4().simple());
    let staging = tempfile::tempdir()
        .map_err(|e| Error::io("no folder for temporary files can be made", e))?;
    let _ = atomic::write_bytes(
        store,
        &key,
        staging.path(),
        &Expect::Anything,
        b"doctor".to_vec(),
    )
    .await?;
    let written = store.head(&key).await?;
    let Some(object) = written else {
        return Err(Error::new(
            Kind::Io,
            format!("{}: has gone right after it was written", store.show(&key)),
        ));
    };
    let skew = object.modified_us / 1_000_000 - now().timestamp();
    let _ = remove::remove(store, &object).await?;
    Ok(skew)
}

/// The present instant: what a store's clock is held against must be told at that moment.
fn now() -> chrono::DateTime<Utc> {
    Utc::now()
}

/// The versions that the newest receipts name; one that cannot be read names none, which `verify`
/// tells.
async fn versions(store: &Store, objects: &[Object]) -> Vec<String> {
    let mut receipts: Vec<&Object> = objects
        .iter()
        .filter(|object| object.key.starts_with(layout::RECEIPTS))
        .collect();
    receipts.sort_by_key(|object| std::cmp::Reverse(object.modified_us));
    let mut found = Vec::new();
    for object in receipts.into_iter().take(RECEIPTS) {
        if let Ok(Some(bytes)) = store.read(&object.key).await {
            // Of a receipt of a later form at least this key can be read.
            let value: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
            let version = value
                .as_ref()
                .and_then(|value| value.get("qlc_version")?.as_str().map(str::to_owned));
            found.extend(version.or_else(|| Some(Receipt::from_json(&bytes).ok()?.qlc_version)));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn refuse_file(store: &Store) -> Result<()> {
    match store.local_folder() {
        Some(folder) if folder.is_file() => Err(Error::usage(format!(
            "{}: is a file, not a folder",
            folder.display()
        ))),
        _ => Ok(()),
    }
}
