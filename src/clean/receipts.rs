//! Which receipts vouch for nothing: neither for the data that stands, nor for what meta.json names, nor for data that
//! either of these was built upon.
//!
//! A receipt is written before its data. When the attempt dies in between, and the next one has other input, the receipt is
//! left; so is that of data that was replaced. The receipts of bases stay: the rows of files that left the spool were proven
//! there. Refuses to judge a partition of which anything cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::{Error, Kind, Result},
    model::{
        layout::{self, Placed},
        meta::{self, Meta},
        partition::Partition,
        receipt::Receipt,
    },
    storage::store::{Object, Store},
};

/// The orphans that are `old`, and why each is one.
pub(super) async fn orphans(
    archive: &Store,
    old: &(dyn Fn(&Object) -> bool + Sync),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<(Object, String)>> {
    let mut all = Vec::new();
    for (partition, receipts) in receipts(archive).await? {
        if stop() {
            return Err(Error::new(Kind::Interrupted, "stopped as asked, before everything was looked at"));
        }
        // Most partitions have one receipt, and it is that of their meta: nothing else is read then.
        if !receipts.iter().any(|(_, object)| old(object)) {
            continue;
        }
        match needed(archive, &partition, &receipts).await? {
            Ok(needed) => {
                let orphans = receipts.into_iter().filter(|(sha256, object)| !needed.contains(sha256) && old(object));
                let why = "neither the data nor meta.json nor a base of them is what it vouches for";
                all.extend(orphans.map(|(_, object)| (object, why.to_owned())));
            }
            Err(why) => tracing::warn!(%partition, why, "its receipts are left alone; see qlc verify"),
        }
    }
    Ok(all)
}

type Receipts = BTreeMap<String, Object>;

/// The receipts of each partition, by the sha256 that names them.
async fn receipts(archive: &Store) -> Result<BTreeMap<Partition, Receipts>> {
    let mut all: BTreeMap<Partition, Receipts> = BTreeMap::new();
    for object in archive.list(layout::RECEIPTS).await? {
        let Some(Ok(Placed { series, date: Some(date), file })) = Placed::below(layout::RECEIPTS, &object.key) else {
            continue;
        };
        let Some(sha256) = file.strip_suffix(".json").filter(|name| meta::is_sha256(name)) else { continue };
        let _ = all.entry(series.on(date)).or_default().insert(sha256.to_owned(), object);
    }
    Ok(all)
}

/// The receipts of a partition that must stay, by sha256; or why that cannot be told.
async fn needed(
    archive: &Store,
    partition: &Partition,
    receipts: &Receipts,
) -> Result<std::result::Result<BTreeSet<String>, String>> {
    let mut open: Vec<String> = Vec::new();
    let meta = match archive.read(&layout::meta_key(partition)).await? {
        Some(bytes) => match Meta::from_json(&bytes) {
            Ok(meta) => Some(meta.sha256),
            Err(error) => return Ok(Err(error.chain())),
        },
        None => None,
    };
    let data = archive.head(&layout::data_key(partition)).await?;
    if meta.is_some() && data.is_none() {
        return Ok(Err("meta.json stands without its data.parquet".to_owned()));
    }
    let only = receipts.len() == 1 && meta.as_ref().is_some_and(|sha256| receipts.contains_key(sha256));
    if data.is_some() && !only {
        open.push(archive.sha256(&layout::data_key(partition)).await?.0);
    }
    open.extend(meta);
    let mut needed = BTreeSet::new();
    while let Some(sha256) = open.pop() {
        if !needed.insert(sha256.clone()) {
            continue;
        }
        let Some(object) = receipts.get(&sha256) else {
            return Ok(Err(format!("the receipt {sha256}.json is absent")));
        };
        let Some(bytes) = archive.read(&object.key).await? else {
            return Ok(Err(format!("{} has gone while it was looked at", archive.show(&object.key))));
        };
        match Receipt::from_json(&bytes) {
            Ok(receipt) => open.extend(receipt.base.map(|base| base.sha256)),
            Err(error) => return Ok(Err(format!("{}: {}", archive.show(&object.key), error.chain()))),
        }
    }
    Ok(Ok(needed))
}
