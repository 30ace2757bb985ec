//! Which receipts vouch for nothing: neither for the current data, nor for what `meta.json` names,
//! nor for data that either of these was built upon.
//!
//! A receipt is written before its data. When an attempt dies in between, and the next one has
//! other input, the receipt remains; so does that of data that was replaced. What the history needs
//! stays: the receipt of the newest published generation, whether or not its data is there, and
//! those of the bases, because the rows of files that left the spool were proven there. A partition
//! of which anything cannot be read is left alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    archive::{
        history::Generation,
        partition::{PartitionHandle, note_sha256, receipt_sha256},
    },
    error::{Error, Kind, Result},
    model::{
        layout::{self, Placed},
        meta::Meta,
        partition::Partition,
        receipt::{Receipt, WITHOUT_HISTORY},
    },
    storage::{
        listing::{Missing, Unlisted},
        store::{Object, Store},
    },
};

/// The orphans that are `old`, and why each is one; and the folders in which there may be more,
/// because they cannot be listed or a document that decides cannot be read.
pub(super) async fn orphans(
    archive: &Store,
    old: &(dyn Fn(&Object) -> bool + Sync),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<(Vec<(Object, String)>, Vec<Unlisted>)> {
    let (mut all, mut unread) = (Vec::new(), Vec::new());
    let (found, missing) = receipts(archive).await?;
    for (partition, receipts) in found {
        // A receipt that could not be listed may be the one that names a base.
        if missing.of(layout::RECEIPTS, &partition.series).is_some() {
            continue;
        }
        if stop() {
            return Err(Error::new(
                Kind::Interrupted,
                "stopped as asked, before everything was looked at",
            ));
        }
        // Most partitions have one receipt, and it is that of their meta: nothing else is read
        // then.
        if !receipts.by_sha256.values().any(old) {
            continue;
        }
        let handle = PartitionHandle::new(archive, &partition);
        let needed = match archive.one_of_many(needed(&handle, &receipts).await)? {
            Ok(needed) => needed,
            Err(error) => {
                unread.push(Unlisted {
                    folder: handle.receipts_dir(),
                    reason: format!("{partition}: {}", error.chain()),
                });
                continue;
            }
        };
        match needed {
            Ok(needed) => {
                for (objects, why) in [
                    (
                        receipts.by_sha256,
                        "neither the data nor meta.json nor a base of them is what it vouches for",
                    ),
                    (
                        receipts.notes,
                        "the generation that it is about has no receipt",
                    ),
                ] {
                    let orphans = objects
                        .into_iter()
                        .filter(|(sha256, object)| !needed.contains(sha256) && old(object));
                    all.extend(orphans.map(|(_, object)| (object, why.to_owned())));
                }
            }
            Err(why) => {
                tracing::warn!(%partition, why, "its receipts are left alone; see qlc verify");
            }
        }
    }
    unread.extend(missing.into_all());
    Ok((all, unread))
}

/// The receipts of a partition by the sha256 that names them, and its history.
#[derive(Debug, Default)]
struct Receipts {
    by_sha256: BTreeMap<String, Object>,
    /// Notes of copies, by the sha256 of their generation.
    notes: BTreeMap<String, Object>,
    generations: Vec<Generation>,
}

/// The receipts of each partition, by the sha256 that names them.
async fn receipts(archive: &Store) -> Result<(BTreeMap<Partition, Receipts>, Missing)> {
    let mut all: BTreeMap<Partition, Receipts> = BTreeMap::new();
    let (objects, missing) = archive.list(layout::RECEIPTS).await?.apart();
    for object in objects {
        let Some(Ok(Placed {
            series,
            date: Some(date),
            file,
        })) = Placed::below(layout::RECEIPTS, &object.key)
        else {
            continue;
        };
        let receipts = all.entry(series.on(date)).or_default();
        if let Some(sha256) = receipt_sha256(&file) {
            let _ = receipts.by_sha256.insert(sha256.to_owned(), object);
        } else if let Some(generation) = Generation::of_file(&file) {
            receipts.generations.push(generation);
        } else if let Some(sha256) = note_sha256(&file) {
            let _ = receipts.notes.insert(sha256.to_owned(), object);
        }
    }
    Ok((all, missing))
}

/// The receipts of a partition that must stay, by sha256; or why that cannot be told.
async fn needed(
    handle: &PartitionHandle,
    receipts: &Receipts,
) -> Result<std::result::Result<BTreeSet<String>, String>> {
    let archive = handle.archive();
    let newest = receipts
        .generations
        .iter()
        .max()
        .and_then(|newest| newest.sha256.clone());
    let mut open: Vec<String> = newest.into_iter().collect();
    let meta = match handle.meta().await? {
        Some((bytes, _)) => match Meta::from_json(&bytes) {
            Ok(meta) => Some(meta.sha256),
            Err(error) => return Ok(Err(error.chain())),
        },
        None => None,
    };
    let data = archive.head(&handle.data_key()).await?;
    if meta.is_some() && data.is_none() {
        return Ok(Err("meta.json is there without its data.parquet".to_owned()));
    }
    let only = receipts.by_sha256.len() == 1
        && meta
            .as_ref()
            .is_some_and(|sha256| receipts.by_sha256.contains_key(sha256));
    if data.is_some() && !only {
        open.push(archive.sha256(&handle.data_key()).await?.0);
    }
    open.extend(meta);
    let legacy = data.is_none() && receipts.generations.is_empty();
    if legacy {
        for object in receipts.by_sha256.values() {
            let bytes = archive.read(&object.key).await?.unwrap_or_default();
            let receipt = Receipt::from_json(&bytes);
            if receipt.map_or(true, |receipt| receipt.receipt_version == WITHOUT_HISTORY) {
                return Ok(Err(
                    "a receipt of a version without history may be of data that is gone".to_owned(),
                ));
            }
        }
    }
    let mut needed = BTreeSet::new();
    while let Some(sha256) = open.pop() {
        if !needed.insert(sha256.clone()) {
            continue;
        }
        let Some(object) = receipts.by_sha256.get(&sha256) else {
            return Ok(Err(format!("the receipt {sha256}.json is absent")));
        };
        let Some(bytes) = archive.read(&object.key).await? else {
            return Ok(Err(format!(
                "{} has gone while it was looked at",
                archive.show(&object.key)
            )));
        };
        match Receipt::from_json(&bytes) {
            Ok(receipt) => open.extend(receipt.base.map(|base| base.sha256)),
            Err(error) => {
                return Ok(Err(format!(
                    "{}: {}",
                    archive.show(&object.key),
                    error.chain()
                )));
            }
        }
    }
    Ok(Ok(needed))
}
