//! What lies in the spool, which partitions are meant, and what is known of each: listing, quarantine, archive, receipt.
//!
//! Refuses to read rows and to write.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    decide::{Archived, Identity, SpoolFile},
    prepare::accounting_day,
    report::{Mode, Options},
};
use crate::{
    error::{Error, Result},
    file::reader::Handle,
    model::{
        date::Date,
        layout::{self, Placed},
        meta::Meta,
        partition::{Partition, Selection, Series},
        quarantine::{Entry, ErrorFile},
        receipt::Receipt,
        row_hash::FOOTER_KEY,
    },
    storage::{Expect, receipts, store::Store},
};

/// The spool files of each series that is meant, by key.
pub type Spool = BTreeMap<Series, Vec<SpoolFile>>;

/// Lists the spool files that `selection` means.
///
/// # Errors
/// When the spool cannot be listed.
pub async fn spool_files(spool: &Store, selection: &Selection) -> Result<Spool> {
    if spool.is_absent() {
        return Err(Error::usage(format!(
            "{}: there is no such spool folder; name it with --spool or QLC_SPOOL",
            spool.show("")
        )));
    }
    let mut all = Spool::new();
    for object in spool.list(&prefix(selection)).await? {
        match Placed::parse(&object.key) {
            Some(Ok(placed)) if layout::is_input(&placed.file) && selection.takes(&placed.series) => {
                let home = placed.home();
                let file = SpoolFile { object, file: placed.file, home };
                all.entry(placed.series).or_default().push(file);
            }
            Some(Err(error)) => {
                tracing::warn!(file = %spool.show(&object.key), error = %error.chain(), "left alone: its folder is not one of the layout");
            }
            _ => {}
        }
    }
    Ok(all)
}

/// The days of each series, and how many of its two objects each has.
pub type Days = BTreeMap<Series, BTreeMap<Date, u8>>;

/// The days that the archive has of each series that is meant.
///
/// # Errors
/// When the archive cannot be listed.
pub async fn archived_days(archive: &Store, selection: &Selection) -> Result<Days> {
    let mut all = Days::new();
    if archive.is_absent() {
        return Ok(all);
    }
    let from = prefix(selection);
    for object in archive.list(&from).await? {
        if let Some(Ok(Placed { series, date: Some(date), file })) = Placed::parse(&object.key)
            && selection.takes(&series)
            && (file == layout::DATA_FILE || file == layout::META_FILE)
        {
            // A day is whole when both objects are there.
            *all.entry(series).or_default().entry(date).or_insert(0_u8) += 1;
        }
    }
    Ok(all)
}

/// The longest folder under which everything that is meant lies.
fn prefix(selection: &Selection) -> String {
    use std::fmt::Write;

    let mut prefix = String::new();
    let [exchange] = selection.exchanges.as_slice() else { return prefix };
    let _ = write!(prefix, "exchange={exchange}");
    let [stream] = selection.streams.as_slice() else { return prefix };
    let _ = write!(prefix, "/stream={stream}");
    let [symbol] = selection.symbols.as_slice() else { return prefix };
    let _ = write!(prefix, "/symbol={symbol}");
    prefix
}

/// The partitions that `options` mean, in order. A partition whose files turn out to hold no row of its day is dropped
/// later, when their footers are known.
///
/// # Errors
/// When nothing matches the selection.
pub fn partitions(
    spool: &Spool,
    archived: &Days,
    options: &Options,
    unnamed: &BTreeMap<Series, BTreeSet<Date>>,
) -> Result<Vec<Partition>> {
    let today = Date::of(options.now)?;
    let all: BTreeSet<&Series> = spool.keys().chain(archived.keys()).collect();
    if all.is_empty() && options.selection != Selection::all() {
        return Err(Error::usage(
            "no file of the spool and nothing in the archive matches --exchange, --stream and --symbol; check their spelling (they are the folder names)",
        ));
    }
    let mut partitions = Vec::new();
    for series in all {
        let mut days: BTreeSet<Date> = BTreeSet::new();
        for file in spool.get(series).into_iter().flatten() {
            if let Some(home) = file.home {
                days.extend([home.pred(), home, home.succ()]);
            }
        }
        days.extend(unnamed.get(series).into_iter().flatten());
        let known = archived.get(series).cloned().unwrap_or_default();
        let wanted: Vec<Date> = match options.mode {
            Mode::Daily => vec![today.pred()],
            Mode::CatchUp => {
                let unfinished = known.iter().filter(|(_, objects)| **objects < 2).map(|(day, _)| *day);
                let all = days.iter().copied().chain(unfinished);
                all.filter(|d| *d < today || (options.force && *d == today)).collect()
            }
            Mode::Backfill { start, end } => {
                days.iter().chain(known.keys()).copied().filter(|d| *d >= start && *d <= end).collect()
            }
            Mode::Single { date } => vec![date],
        };
        let wanted: BTreeSet<Date> = wanted.into_iter().collect();
        let single = matches!(options.mode, Mode::Single { .. });
        partitions.extend(
            wanted.into_iter().filter(|d| single || days.contains(d) || known.contains_key(d)).map(|d| series.on(d)),
        );
    }
    Ok(partitions)
}

/// The files that may hold rows of `partition`: those that belong to its day or a neighbour, or to none that is known.
#[must_use]
pub fn candidates(files: &[SpoolFile], partition: &Partition) -> Vec<SpoolFile> {
    let near = |f: &&SpoolFile| f.home.is_none_or(|home| home.days_since(partition.date).abs() <= 1);
    files.iter().filter(near).cloned().collect()
}

/// The quarantine entries of whole files that stand in the folders where `files` would be kept.
///
/// # Errors
/// When the archive does not answer.
pub async fn quarantined(archive: &Store, partition: &Partition, files: &[SpoolFile]) -> Result<Vec<Entry>> {
    let days: BTreeSet<Date> = files.iter().filter_map(|f| accounting_day(f, None)).chain([partition.date]).collect();
    let mut entries = Vec::new();
    for date in days {
        entries.extend(quarantine_entries(archive, &partition.series.on(date)).await?);
    }
    Ok(entries)
}

/// All entries of a partition's quarantine folder.
///
/// # Errors
/// When the archive does not answer.
pub async fn quarantine_entries(archive: &Store, partition: &Partition) -> Result<Vec<Entry>> {
    Ok(quarantine_version(archive, partition).await?.0)
}

/// The same, with what the next version of the file may replace.
///
/// # Errors
/// When the archive does not answer.
pub async fn quarantine_version(archive: &Store, partition: &Partition) -> Result<(Vec<Entry>, Expect)> {
    let key = format!("{}/{}", layout::quarantine_dir(partition), layout::ERROR_FILE);
    let Some((bytes, tag)) = archive.read_version(&key).await? else { return Ok((Vec::new(), Expect::Absent)) };
    let entries = ErrorFile::from_json(&bytes).map_or_else(
        |error| {
            tracing::warn!(file = %archive.show(&key), error = %error.chain(), "cannot be read; the files beside it will be tried again");
            Vec::new()
        },
        |file| file.files,
    );
    Ok((entries, version(Some(tag))))
}

/// The versions of a partition's two objects when they were looked at: what a publish may replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    /// Of `data.parquet`.
    pub data: Expect,
    /// Of `meta.json`.
    pub meta: Expect,
}

/// How often a partition is looked at anew because it was being published meanwhile.
const LOOKS: u32 = 5;

/// What the archive holds of `partition`, and which versions of its objects say so.
///
/// # Errors
/// When the archive does not answer. What contradicts itself is told in the result.
pub async fn archived(archive: &Store, partition: &Partition) -> Result<(Archived, Stands)> {
    let mut looks = 0;
    loop {
        looks += 1;
        let data = archive.head(&layout::data_key(partition)).await?;
        let meta = archive.read_version(&layout::meta_key(partition)).await?;
        let stands = Stands {
            data: version(data.as_ref().map(|d| d.tag.clone())),
            meta: version(meta.as_ref().map(|(_, tag)| tag.clone())),
        };
        let found = held(archive, partition, data, meta.map(|(bytes, _)| bytes)).await;
        let settled = matches!(found, Ok(Archived::Nothing | Archived::Published(_)));
        // What does not fit together may have been looked at while another process was publishing.
        if settled || looks == LOOKS || stands == versions(archive, partition).await? {
            return Ok((found?, stands));
        }
    }
}

/// The versions of the two objects of `partition` as they are now.
///
/// # Errors
/// When the archive does not answer.
pub async fn versions(archive: &Store, partition: &Partition) -> Result<Stands> {
    let data = archive.head(&layout::data_key(partition)).await?;
    let meta = archive.head(&layout::meta_key(partition)).await?;
    Ok(Stands { data: version(data.map(|d| d.tag)), meta: version(meta.map(|m| m.tag)) })
}

#[expect(clippy::option_option, reason = "no object, and an object without a tag, are two things")]
fn version(tag: Option<Option<String>>) -> Expect {
    match tag {
        None => Expect::Absent,
        Some(None) => Expect::Anything,
        Some(Some(tag)) => Expect::Version(tag),
    }
}

async fn held(
    archive: &Store,
    partition: &Partition,
    data: Option<crate::storage::store::Object>,
    meta: Option<bytes::Bytes>,
) -> Result<Archived> {
    let Some(data) = data else {
        return Ok(match meta {
            None => Archived::Nothing,
            Some(_) => Archived::Foreign("meta.json stands without its data.parquet".to_owned()),
        });
    };
    if let Some(bytes) = &meta
        && let Ok(meta) = Meta::from_json(bytes)
        && let Some(receipt) = receipts::vouching(archive, partition, &meta.sha256).await?
        && receipt.outcome.bytes == data.size
        && footer_agrees(archive, &data, &receipt).await?
    {
        return Ok(Archived::Published(Box::new(receipt)));
    }
    // The meta is absent, or not of this data: the data's own digest finds the receipt that was written before it.
    let (sha256, _) = archive.sha256(&data.key).await?;
    Ok(match receipts::vouching(archive, partition, &sha256).await? {
        Some(receipt) => Archived::Unfinished(Box::new(receipt)),
        None => Archived::Foreign(format!(
            "{} is vouched for by no receipt (sha256 {sha256}); qlc verify tells what is wrong with it",
            archive.show(&data.key)
        )),
    })
}

/// Whether the footer of archived data is that of the data that the receipt vouches for: it names the row hash and the
/// version.
async fn footer_agrees(archive: &Store, data: &crate::storage::store::Object, receipt: &Receipt) -> Result<bool> {
    use crate::{file::fault::Problem, model::row_hash::VERSION_KEY};
    let meta = match Handle::new(archive, data).footer().await {
        Ok(meta) => meta,
        Err(Problem::Storage(error)) => return Err(error),
        Err(_) => return Ok(false),
    };
    let value = |key: &str| {
        let pairs = meta.file_metadata().key_value_metadata()?;
        pairs.iter().find(|p| p.key == key)?.value.clone()
    };
    if receipt.adopted {
        // Another program wrote the footer: what it can be asked for is the number of rows.
        let rows = u64::try_from(meta.file_metadata().num_rows()).unwrap_or(0);
        return Ok(rows == receipt.outcome.rows);
    }
    Ok(value(FOOTER_KEY) == Some(receipt.outcome.row_hash.to_string())
        && value(VERSION_KEY).as_deref() == Some(receipt.qlc_version.as_str()))
}

/// What the receipts of the neighbouring days say of files that may have rows of a partition's day: evidence that counts
/// more than what the files' footers claim.
#[derive(Debug, Default)]
pub struct Said {
    /// Files (key and size) that have rows here.
    pub here: BTreeSet<(String, u64)>,
    /// Files whose rows are all accounted for, none of them here.
    pub elsewhere: BTreeSet<Identity>,
}

/// Asks the receipts of the neighbouring days.
///
/// # Errors
/// When the archive does not answer.
pub async fn neighbours(archive: &Store, partition: &Partition) -> Result<Said> {
    let mut said = Said::default();
    for day in [partition.date.pred(), partition.date.succ()] {
        let neighbour = partition.series.on(day);
        let Some(meta) = archive.read(&layout::meta_key(&neighbour)).await? else { continue };
        let Ok(meta) = Meta::from_json(&meta) else { continue };
        let Ok(Some(receipt)) = receipts::vouching(archive, &neighbour, &meta.sha256).await else { continue };
        for source in receipt.sources {
            if source.rows_elsewhere.contains_key(&partition.date) {
                let _ = said.here.insert((source.name, source.size));
            } else if source.rows_here > 0 {
                let _ = said.elsewhere.insert((source.name, source.size, source.modified_us));
            }
        }
    }
    Ok(said)
}
