//! `verify`: is what is in the archive what its meta and its receipts say, to the last byte and
//! row?
//!
//! All findings of a partition are reported, not only the first. Nothing is changed.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;

use crate::{
    archive::{
        partition::{PartitionHandle, PartitionObjects},
        quarantine::{QuarantineDays, SeriesEntries},
        state::{self, Depth, Inspection, State, advice},
        stray::{self, Stray},
    },
    error::{Error, Kind, Result},
    file::{
        fault::Problem,
        readback::{ReadBack, read_back},
        reader::Handle,
    },
    model::{
        count::{self, plural},
        date::Date,
        layout::{self, Placed},
        meta::{self, Meta},
        partition::{Partition, Selection, Series},
        quarantine::{Entry, Extent},
        receipt::{Receipt, Source},
    },
    storage::{
        listing::Missing,
        spelling,
        store::{Object, Store},
    },
};

/// What is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Which series.
    pub selection: Selection,
    /// The first day; none for all before `end`.
    pub start: Option<Date>,
    /// The last day; none for all from `start`.
    pub end: Option<Date>,
    /// Without decoding: form of meta and receipt, sizes, footer and the digest.
    pub quick: bool,
    /// Bytes that the process may have resident.
    pub memory_limit: u64,
}

/// What verifying one partition found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    /// The partition.
    #[serde(flatten)]
    pub partition: Partition,
    /// Rows that were decoded, or that meta claims where nothing was decoded.
    pub rows: u64,
    /// Bytes of the data.
    pub bytes: u64,
    /// Wall seconds.
    pub seconds: f64,
    /// Everything that is wrong.
    pub findings: Vec<String>,
}

/// What a verification tells as soon as it knows it.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict<'a> {
    /// What verifying a partition found.
    Partition(&'a Verified),
    /// Something that is in no partition, and should not be in an archive.
    Stray {
        /// Its key.
        place: String,
        /// What is wrong with it.
        finding: String,
    },
}

/// Verifies the partitions that `options` mean, in order; `each` is called with what is in no
/// partition, and with every partition as it is done.
///
/// # Errors
/// When the archive does not answer, nothing matches, or the run is stopped; after all others were
/// verified, when there are folders that could not be listed or files that could not be read. What
/// is wrong with a partition is in its findings.
pub async fn run(
    archive: &Store,
    options: &Options,
    stop: &(dyn Fn() -> bool + Sync),
    each: &mut (dyn FnMut(Verdict<'_>) + Send),
) -> Result<Vec<Verified>> {
    let Listed {
        partitions,
        days,
        strays,
        missing,
    } = listed(archive, options).await?;
    if partitions.is_empty()
        && strays.is_empty()
        && missing.all().is_empty()
        && (options.selection != Selection::all()
            || options.start.is_some()
            || options.end.is_some())
    {
        let check = "check exchange, stream, symbol and dates";
        let hint = spelling::hint(&options.selection, &[archive], check).await;
        return Err(Error::usage(format!(
            "{}: nothing in the archive matches; {hint}",
            archive.show("")
        )));
    }
    for stray in strays {
        each(Verdict::Stray {
            finding: stray.finding(archive),
            place: stray.place,
        });
    }
    let mut all = Vec::with_capacity(partitions.len());
    let mut kept = Kept {
        archive,
        days,
        read: None,
    };
    let mut unread: Vec<Error> = Vec::new();
    for (partition, shown) in partitions {
        if stop() {
            return Err(Error::new(
                Kind::Interrupted,
                "stopped as asked, before all partitions were verified",
            ));
        }
        let verified = one(archive, &partition, &shown, &mut kept, options).await;
        match archive.one_of_many(verified)? {
            Ok(Some(verified)) => {
                each(Verdict::Partition(&verified));
                all.push(verified);
            }
            Ok(None) => {}
            Err(error) => unread.push(Error::caused(Kind::Io, partition.to_string(), error)),
        }
    }
    missing.fail()?;
    let others = unread.len().saturating_sub(1);
    unread.into_iter().next().map_or(Ok(all), |first| {
        Err(match others {
            0 => first,
            n => Error::caused(
                Kind::Io,
                format!("{} could not be read", plural(n + 1, "partition")),
                first,
            ),
        })
    })
}

/// Where an archive has the layout: of the data, of the receipts, of what is kept.
const BASES: [&str; 3] = ["", layout::RECEIPTS, layout::QUARANTINE];

/// What a listing shows of a partition.
#[derive(Debug, Default)]
struct Shown {
    listed: PartitionObjects,
    /// Parquet files in its folder that do not belong there.
    others: Vec<String>,
    /// Whether QUARANTINE has a folder for it.
    is_quarantined: bool,
}

/// What a listing shows of an archive.
struct Listed {
    /// What is there of each partition: in its folder, among the receipts, and in QUARANTINE. A day
    /// of which only receipts are left was published once.
    partitions: BTreeMap<Partition, Shown>,
    /// The days of which QUARANTINE has something.
    days: QuarantineDays,
    /// What is in no partition.
    strays: Vec<Stray>,
    /// The folders that could not be listed.
    missing: Missing,
}

async fn listed(archive: &Store, options: &Options) -> Result<Listed> {
    let mut all: BTreeMap<Partition, Shown> = BTreeMap::new();
    let mut days = QuarantineDays::new();
    let (objects, missing) = archive.list("").await?.apart();
    let keys = objects.iter().map(|object| object.key.as_str());
    let mut strays = stray::among(keys, Stray::of);
    strays.retain(|one| one.is_meant(&options.selection, options.start, options.end));
    for object in objects {
        let (below, placed) = [layout::RECEIPTS, layout::QUARANTINE]
            .into_iter()
            .find_map(|folder| Some((folder, Placed::below(folder, &object.key)?)))
            .map_or_else(
                || ("", Placed::parse(&object.key)),
                |(folder, placed)| (folder, Some(placed)),
            );
        let Some(Ok(Placed {
            series,
            date: Some(date),
            file,
        })) = placed
        else {
            continue;
        };
        if (below, file.as_str()) == (layout::QUARANTINE, layout::ERROR_FILE) {
            let _ = days.entry(series.clone()).or_default().insert(date);
        }
        let is_meant =
            date.is_within(options.start, options.end) && options.selection.takes(&series);
        let is_missing = |base: &&str| missing.of(base, &series).is_some();
        if !is_meant || BASES.iter().any(is_missing) {
            continue;
        }
        let shown = all.entry(series.on(date)).or_default();
        match (below, file.as_str()) {
            (layout::RECEIPTS, file) => shown.listed.take_receipt(file),
            (layout::QUARANTINE, layout::ERROR_FILE) => shown.is_quarantined = true,
            (layout::QUARANTINE, _) => {}
            (_, layout::DATA_FILE) => shown.listed.data = Some(object),
            (_, layout::META_FILE) => shown.listed.meta = Some(object),
            // Programs that read a folder read its Parquet files. Any other document does no harm.
            (_, file) if file.ends_with(".parquet") => shown.others.push(file.to_owned()),
            _ => {}
        }
    }
    Ok(Listed {
        partitions: all,
        days,
        strays,
        missing: missing.meant_in(&BASES, &options.selection),
    })
}

/// The entries of QUARANTINE, read when they are asked for: those of one series at a time.
struct Kept<'a> {
    archive: &'a Store,
    days: QuarantineDays,
    read: Option<(Series, SeriesEntries)>,
}

impl Kept<'_> {
    async fn of(&mut self, series: &Series) -> Result<&SeriesEntries> {
        let known = self.read.take().filter(|(known, _)| known == series);
        let read = if let Some(known) = known {
            known
        } else {
            let days = self.days.get(series).cloned().unwrap_or_default();
            let entries = SeriesEntries::read(self.archive, series, days).await?;
            (series.clone(), entries)
        };
        Ok(&self.read.insert(read).1)
    }

    /// Whether an entry tells of rows of `source`, which a receipt of `partition` bills to
    /// QUARANTINE. A receipt does not know the sha256 of a file that had another name.
    async fn has(&mut self, partition: &Partition, source: &Source) -> Result<bool> {
        let is_of = |entry: &Entry| {
            entry.source_path == source.name
                || match entry.extent() {
                    Extent::Groups => true,
                    Extent::Rows => entry.rows == Some(source.rows_quarantined),
                    Extent::Whole => false,
                }
        };
        let entries = self.of(&partition.series).await?;
        let mut of_file = entries.of_file(&source.name, source.size);
        Ok(of_file.any(|(_, entry)| is_of(entry)))
    }

    /// What is wrong with what is kept of a partition.
    async fn findings(&mut self, partition: &Partition, quick: bool) -> Result<Vec<String>> {
        let archive = self.archive;
        let entries = match self.of(&partition.series).await?.of_day(partition.date) {
            Ok(entries) => entries,
            Err(error) if error.kind() == Kind::Damage => return Ok(vec![error.chain()]),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        let handle = PartitionHandle::new(archive, partition);
        // What is to be tried again may have been taken in and removed, and its entry left by a run
        // that was killed.
        for entry in entries
            .iter()
            .filter(|entry| !entry.discarded && !entry.retry)
        {
            let key = handle.kept_key(&entry.kept_as);
            if archive.head(&key).await?.is_none() {
                found.push(format!(
                    "QUARANTINE: {} is gone, although error.json names it",
                    entry.kept_as
                ));
            } else if !quick && archive.sha256(&key).await?.0 != entry.kept_sha256 {
                found.push(format!(
                    "QUARANTINE: {} is not what error.json says",
                    entry.kept_as
                ));
            }
        }
        Ok(found)
    }
}

/// What one partition turns out to be; `None` where nothing of it is expected to be there.
async fn one(
    archive: &Store,
    partition: &Partition,
    shown: &Shown,
    kept: &mut Kept<'_>,
    options: &Options,
) -> Result<Option<Verified>> {
    let began = Instant::now();
    let mut found: Vec<String> = shown
        .others
        .iter()
        .map(|name| format!("{name} does not belong in a partition's folder"))
        .collect();
    if shown.is_quarantined {
        found.extend(kept.findings(partition, options.quick).await?);
    }
    let handle = PartitionHandle::new(archive, partition);
    let (is_lost, known_sha256) =
        match state::inspect_listed(&handle, shown.listed.clone(), Depth::Bytes).await {
            Ok(Inspection {
                state: State::Empty,
                ..
            }) => {
                let verified = Verified {
                    partition: partition.clone(),
                    rows: 0,
                    bytes: 0,
                    seconds: 0.0,
                    findings: found,
                };
                return Ok((!verified.findings.is_empty()).then_some(verified));
            }
            Ok(Inspection { state, .. }) => {
                if let State::Lost(loss) = &state {
                    found.push(format!("{loss}; {}", advice(&state).unwrap_or_default()));
                }
                (
                    matches!(state, State::Lost(_)),
                    state.data_sha256().map(str::to_owned),
                )
            }
            // What is wrong with the receipt is told below.
            Err(error) if error.kind() == Kind::Damage => (false, None),
            Err(error) => return Err(error),
        };
    let (meta, data) = (&shown.listed.meta, &shown.listed.data);
    let mut verified = Verified {
        partition: partition.clone(),
        rows: 0,
        bytes: 0,
        seconds: 0.0,
        findings: Vec::new(),
    };
    let meta_bytes = if meta.is_some() {
        archive.read(&layout::meta_key(partition)).await?
    } else {
        None
    };
    let meta = if let Some(bytes) = &meta_bytes {
        found.extend(meta::findings(bytes));
        Meta::from_json(bytes).ok()
    } else if is_lost && data.is_none() {
        None
    } else {
        found.push("there is no meta.json: the partition was never published, or its publishing was interrupted; qlc compact completes it".to_owned());
        None
    };
    if let Some(data) = data {
        verified.bytes = data.size;
        verified.rows = meta.as_ref().map_or(0, |m| m.row_count);
        let sha256 = match known_sha256 {
            Some(sha256) => sha256,
            None => archive.sha256(&data.key).await?.0,
        };
        if let Some(meta) = &meta
            && meta.sha256 != sha256
        {
            found.push(format!(
                "data.parquet has sha256 {sha256}, meta.json says {}",
                meta.sha256
            ));
        }
        let receipt = read_receipt(archive, partition, &sha256, &mut found).await?;
        if let Some(receipt) = &receipt {
            for source in receipt
                .sources
                .iter()
                .filter(|source| source.rows_quarantined > 0)
            {
                if !kept.has(partition, source).await? {
                    found.push(format!(
                        "the receipt bills {} rows of {} to QUARANTINE, which has no entry of it",
                        source.rows_quarantined, source.name
                    ));
                }
            }
            check_receipt(
                receipt,
                data,
                meta.as_ref().zip(meta_bytes.as_deref()),
                &mut found,
            )?;
        }
        let handle = Handle::new(archive, data);
        let handle = if receipt.is_some() {
            handle.vouched()
        } else {
            handle
        };
        if options.quick {
            match handle.footer().await {
                Ok(footer) => {
                    let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
                    if let Some(meta) = &meta
                        && meta.row_count != rows
                    {
                        found.push(format!(
                            "the footer claims {}, meta.json {}",
                            count::rows(rows),
                            count::grouped(meta.row_count)
                        ));
                    }
                }
                Err(Problem::Storage(error)) => return Err(error),
                Err(problem) => found.push(format!("data.parquet: {problem}")),
            }
        } else {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            match read_back(&handle, partition, cores).await {
                Ok(back) => {
                    verified.rows = back.rows;
                    check_rows(&back, meta.as_ref(), receipt.as_ref(), &mut found);
                }
                Err(Problem::Storage(error)) => return Err(error),
                Err(problem) => found.push(format!("data.parquet: {problem}")),
            }
        }
    } else if !is_lost {
        found.push("there is no data.parquet".to_owned());
    }
    verified.findings = found;
    verified.seconds = began.elapsed().as_secs_f64();
    Ok(Some(verified))
}

async fn read_receipt(
    archive: &Store,
    partition: &Partition,
    sha256: &str,
    found: &mut Vec<String>,
) -> Result<Option<Receipt>> {
    let key = layout::receipt_key(partition, sha256);
    let Some(bytes) = archive.read(&key).await? else {
        found.push(format!(
            "no receipt vouches for this data: {} is absent",
            archive.show(&key)
        ));
        return Ok(None);
    };
    match Receipt::from_json(&bytes) {
        Ok(receipt) => Ok(Some(receipt)),
        Err(error) => {
            found.push(format!("{}: {}", archive.show(&key), error.chain()));
            Ok(None)
        }
    }
}

fn check_receipt(
    receipt: &Receipt,
    data: &Object,
    meta: Option<(&Meta, &[u8])>,
    found: &mut Vec<String>,
) -> Result<()> {
    found.extend(receipt.findings());
    if receipt.outcome.bytes != data.size {
        found.push(format!(
            "data.parquet has {} bytes, the receipt says {}",
            data.size, receipt.outcome.bytes
        ));
    }
    if data.key != layout::data_key(&receipt.partition) {
        found.push(format!("the receipt is that of {}", receipt.partition));
    }
    let Some((meta, bytes)) = meta else {
        return Ok(());
    };
    let expected = receipt.meta();
    if *meta != expected {
        found.push(format!(
            "meta.json and the receipt disagree: {} rows of {} files made at {} against {} of {} at {}",
            meta.row_count,
            meta.source_files,
            meta.created_at,
            expected.row_count,
            expected.source_files,
            expected.created_at
        ));
    } else if receipt.qlc_version == env!("CARGO_PKG_VERSION") && bytes != expected.to_json()? {
        // Another version may write the same values in another form; this one does not.
        found.push(
            "meta.json says what the receipt says, but not in the bytes that were written"
                .to_owned(),
        );
    }
    Ok(())
}

fn check_rows(
    back: &ReadBack,
    meta: Option<&Meta>,
    receipt: Option<&Receipt>,
    found: &mut Vec<String>,
) {
    found.extend(back.findings.iter().cloned());
    // Data that was adopted has the footer of the program that wrote it.
    if back.footer_row_hash.is_none() && !receipt.is_some_and(|receipt| receipt.adopted) {
        found.push("the footer has no row hash".to_owned());
    }
    if let Some(meta) = meta {
        if meta.row_count != back.rows {
            found.push(format!(
                "data.parquet has {}, meta.json says {}",
                count::rows(back.rows),
                count::grouped(meta.row_count)
            ));
        }
        let ends = [
            ("ts_event_min", back.ts_min_ns, &meta.ts_event_min),
            ("ts_event_max", back.ts_max_ns, &meta.ts_event_max),
        ];
        for (name, is, says) in ends {
            let is = is.map(|ns| ns.to_string()).unwrap_or_default();
            if is != *says {
                found.push(format!("{name} is {is}, meta.json says {says}"));
            }
        }
    }
    if let Some(receipt) = receipt {
        if receipt.outcome.rows != back.rows {
            found.push(format!(
                "data.parquet has {}, the receipt says {}",
                count::rows(back.rows),
                count::grouped(receipt.outcome.rows)
            ));
        }
        if receipt.outcome.row_hash != back.row_hash {
            found.push(format!(
                "the rows have row hash {}, the receipt says {}",
                back.row_hash, receipt.outcome.row_hash
            ));
        }
    }
}
