//! `reconcile`: what the venues publish beside what was recorded. Both directions are told, and
//! nothing is believed that cannot be shown: a file that is not whole, or not what its CHECKSUM
//! says, proves no absence.
//!
//! [`given`] finds the venue's files of a day, [`published`] decodes them, [`rows`] lets the engine
//! sort both sides by what a trade is known by, [`compare`] walks them side by side. Where a venue
//! publishes only single trades or klines, [`minutes`] compares sums. Nothing of the archive is
//! changed: [`take`] leaves rows that only they have in the spool, as one more collector would, for
//! the next compaction to merge.

mod compare;
mod exact;
mod fetch;
mod given;
mod minutes;
pub mod published;
mod rows;
mod take;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use chrono::{DateTime, SecondsFormat, Utc};

use self::published::{Content, FileAccount, PublishedFile};
pub use self::{
    fetch::{Downloads, Progress},
    given::Given,
};
use crate::{
    archive::{
        partition::PartitionHandle,
        state::{self, Depth, State, advice},
    },
    error::{Error, Kind, Result},
    model::{
        date::Date,
        layout::Placed,
        partition::{Partition, Selection, Series, Stream},
        reconcile::{ReconcileRecord, VenueFile},
    },
    storage::{
        reconciled,
        scratch::{self, Scratch},
        store::Store,
    },
};

/// The stream that is compared: of no other one a venue publishes what it sent.
const STREAM: &str = "trade";

/// What is asked.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which series.
    pub selection: Selection,
    /// The first day.
    pub start: Date,
    /// The last day.
    pub end: Date,
    /// The venue's files.
    pub given: Vec<Given>,
    /// Where files of URLs are kept, and how they are fetched; absent where nothing is fetched.
    pub downloads: Option<Downloads>,
    /// Whether rows that only they have are put into the spool.
    pub take: bool,
    /// Bytes that the process may have resident.
    pub memory_limit: u64,
    /// Where both sides are sorted.
    pub spill_dir: PathBuf,
    /// The present instant.
    pub now: DateTime<Utc>,
}

/// Compares every day that `options` mean; `each` is called with what came of it. A day has one
/// record for each kind of file that is about it.
///
/// # Errors
/// When a store does not answer, nothing is meant, or the run is stopped. What is wrong with a day
/// is in its record.
pub async fn run(
    spool: Option<&Store>,
    archive: &Store,
    options: &Options,
    stop: &(dyn Fn() -> bool + Sync),
    each: &mut (dyn FnMut(&ReconcileRecord) + Send),
) -> Result<()> {
    let partitions = partitions(archive, options).await?;
    if options.take {
        for partition in &partitions {
            has_place(spool, &partition.series)?;
        }
    }
    let _ = scratch::sweep(&options.spill_dir);
    for partition in &partitions {
        stopped(stop)?;
        let day = Day {
            spool,
            archive,
            options,
            partition,
            alone: partitions.len() == 1,
            stop,
        };
        let scratch = Scratch::new(&options.spill_dir)?;
        for record in day.reconcile(&scratch).await? {
            let _ = reconciled::write(archive, &record, scratch.path()).await?;
            each(&record);
        }
    }
    Ok(())
}

fn stopped(stop: &(dyn Fn() -> bool + Sync)) -> Result<()> {
    if stop() {
        return Err(Error::new(
            Kind::Interrupted,
            "stopped as asked, before all days were compared",
        ));
    }
    Ok(())
}

/// Fails where a spool cannot have the files of one more collector.
fn has_place(spool: Option<&Store>, series: &Series) -> Result<()> {
    let name = take::collector(series);
    let Some(spool) = spool else {
        return Err(Error::usage(
            "--take puts rows into the spool, and there is none; name it with --spool",
        ));
    };
    let key = format!("{}/x", crate::model::layout::collector_dir(&name));
    if spool.has_place_for(&key) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "--take puts rows into the spool of a collector {name}, and no spool has that name; add one, as in --spool {name}=DIR, \
         here and where you compact"
    )))
}

/// The days of the series that are meant. A series that is named is meant even where the archive
/// has nothing of it.
async fn partitions(archive: &Store, options: &Options) -> Result<Vec<Partition>> {
    let stream: Stream = STREAM.parse()?;
    let Selection {
        exchanges,
        streams,
        symbols,
    } = &options.selection;
    if streams.iter().any(|named| *named != stream) {
        return Err(Error::usage(format!(
            "only --stream {STREAM} can be reconciled: of no other one a venue publishes what it sent"
        )));
    }
    let mut series: BTreeSet<Series> = exchanges
        .iter()
        .flat_map(|exchange| {
            symbols.iter().map(|symbol| Series {
                exchange: exchange.clone(),
                stream: stream.clone(),
                symbol: symbol.clone(),
            })
        })
        .collect();
    if series.is_empty() && !archive.is_absent() {
        let wanted = Selection {
            streams: vec![stream],
            ..options.selection.clone()
        };
        for object in archive.list("").await?.meant("", &wanted)? {
            if let Some(Ok(placed)) = Placed::parse(&object.key)
                && placed.date.is_some()
                && wanted.takes(&placed.series)
            {
                let _ = series.insert(placed.series);
            }
        }
    }
    if series.is_empty() {
        return Err(Error::usage(
            "the archive has no series of trades that matches; name one with --exchange and --symbol",
        ));
    }
    Ok(series
        .iter()
        .flat_map(|series| options.start.through(options.end).map(|day| series.on(day)))
        .collect())
}

/// What the archive holds of a day that can be compared.
#[derive(Debug)]
enum Held {
    /// Nothing.
    Nothing,
    /// This data, which is what its receipt says.
    Data(String),
    /// Something that is not to be compared, because.
    Unfit(String),
}

/// One day of one series.
struct Day<'a> {
    spool: Option<&'a Store>,
    archive: &'a Store,
    options: &'a Options,
    partition: &'a Partition,
    /// Whether nothing else is asked about.
    alone: bool,
    stop: &'a (dyn Fn() -> bool + Sync),
}

impl Day<'_> {
    fn record(&self) -> ReconcileRecord {
        let at = self
            .options
            .now
            .to_rfc3339_opts(SecondsFormat::Millis, true);
        ReconcileRecord::of(self.partition, &at)
    }

    fn not_compared(&self, why: String) -> ReconcileRecord {
        ReconcileRecord {
            message: why,
            ..self.record()
        }
    }

    /// What came of the day, whatever is wrong with it.
    async fn reconcile(&self, scratch: &Scratch) -> Result<Vec<ReconcileRecord>> {
        let held = match self.held(Depth::Bytes).await? {
            Held::Unfit(why) => return Ok(vec![self.not_compared(why)]),
            held => held,
        };
        let files = match self.files().await {
            Ok(files) => files,
            Err(error) if error.kind() == Kind::Io => {
                return Ok(vec![self.not_compared(error.chain())]);
            }
            Err(error) => return Err(error),
        };
        let (known, unknown) = self.by_content(files).await?;
        if known.is_empty() {
            let why = match unknown.first() {
                Some(why) => why.clone(),
                None => "no file that was given is of this symbol and day".to_owned(),
            };
            return Ok(vec![self.not_compared(why)]);
        }
        let mut records = Vec::new();
        for (content, files) in known {
            let record = match self.pass(content, files, &held, scratch).await {
                Ok(record) => record,
                Err(error) if matches!(error.kind(), Kind::Interrupted | Kind::Unknown) => {
                    return Err(error);
                }
                Err(error) => self.not_compared(error.chain()),
            };
            records.push(record);
        }
        if let Some(first) = records.first_mut()
            && !unknown.is_empty()
        {
            let more = unknown.join("; ");
            first.message = if first.message.is_empty() {
                more
            } else {
                format!("{}; {more}", first.message)
            };
        }
        Ok(records)
    }

    async fn pass(
        &self,
        content: Content,
        files: Vec<PublishedFile>,
        held: &Held,
        scratch: &Scratch,
    ) -> Result<ReconcileRecord> {
        let mut record = self.record();
        if is_by_rows(content) {
            exact::pass(self, content, files, held, scratch, &mut record).await?;
        } else {
            minutes::pass(self, content, files, held, scratch, &mut record).await?;
        }
        // What stands now must be what was judged before it was read.
        let now = self.held(Depth::Documents).await?;
        let same = match (held, &now) {
            (Held::Nothing, Held::Nothing) => true,
            (Held::Data(before), Held::Data(now)) => before == now,
            _ => false,
        };
        if !same {
            return Err(Error::new(
                Kind::Conflict,
                "the archived day changed while it was compared; run again",
            ));
        }
        if let Held::Data(sha256) = held {
            record.data_sha256 = Some(sha256.clone());
        }
        Ok(record)
    }

    /// What the archive holds of the day.
    async fn held(&self, depth: Depth) -> Result<Held> {
        if self.archive.is_absent() {
            return Ok(Held::Nothing);
        }
        let handle = PartitionHandle::new(self.archive, self.partition);
        let state = match state::inspect(&handle, depth).await {
            Ok(inspection) => inspection.state,
            Err(error) if error.kind() == Kind::Damage => return Ok(Held::Unfit(error.chain())),
            Err(error) => return Err(error),
        };
        Ok(match &state {
            State::Empty => Held::Nothing,
            State::Published(published) => Held::Data(published.receipt().outcome.sha256.clone()),
            other => {
                let what = match other {
                    State::Interrupted(_) => "its publishing was interrupted".to_owned(),
                    State::Lost(loss) => loss.to_string(),
                    State::Unproven(unproven) => unproven.to_string(),
                    State::Empty | State::Published(_) => String::new(),
                };
                let advice = advice(other).unwrap_or_default();
                Held::Unfit(format!(
                    "the archived day is not compared: {what}; {advice}"
                ))
            }
        })
    }

    /// The venue's files about the day: those on this machine, and those that are fetched.
    async fn files(&self) -> Result<Vec<PublishedFile>> {
        let mut files = given::local(&self.options.given, self.partition, self.alone)?;
        for one in &self.options.given {
            let Given::Url(template) = one else { continue };
            let Some(downloads) = &self.options.downloads else {
                return Err(Error::usage(format!(
                    "--with {template}: is a URL; add --download DIR to fetch it into that folder"
                )));
            };
            let wire = given::spelling(&self.partition.series);
            for day in given::file_days(&self.partition.series, self.partition.date) {
                stopped(self.stop)?;
                let url = given::filled(template, &wire, day)?;
                files.extend(downloads.fetch(&url, self.stop).await?);
            }
        }
        Ok(files)
    }

    /// The files by what they hold, the cheapest to compare first; and what is wrong with others.
    async fn by_content(
        &self,
        files: Vec<PublishedFile>,
    ) -> Result<(Vec<(Content, Vec<PublishedFile>)>, Vec<String>)> {
        let exchange = self.partition.series.exchange.to_string();
        blocking(move || {
            let mut known: BTreeMap<(bool, Content), Vec<PublishedFile>> = BTreeMap::new();
            let mut unknown = Vec::new();
            for file in files {
                match published::content_of(&file) {
                    Ok(content) if content.exchange() == exchange => known
                        .entry((is_by_rows(content), content))
                        .or_default()
                        .push(file),
                    Ok(content) => unknown.push(format!(
                        "{}: holds {}, which is of another exchange",
                        file.name,
                        content.name()
                    )),
                    Err(error) if error.kind() == Kind::BadInput => unknown.push(error.chain()),
                    Err(error) => return Err(error),
                }
            }
            let known = known
                .into_iter()
                .map(|((_, content), files)| (content, files))
                .collect();
            Ok((known, unknown))
        })
        .await
    }
}

/// Whether the rows of such files have counterparts among the recorded ones: single trades have
/// none where a venue sends sums of them.
fn is_by_rows(content: Content) -> bool {
    match content {
        Content::BinanceAggTrades | Content::BybitTrades | Content::OkxAggTrades => true,
        Content::BinanceTrades | Content::BinanceKlines | Content::OkxTrades => false,
    }
}

/// What was found of a file, for the record.
fn told(account: &FileAccount) -> VenueFile {
    VenueFile {
        name: account.name.clone(),
        sha256: account.sha256.clone(),
        checksum: account.checksum.name().to_owned(),
        content: account.content.name().to_owned(),
        rows: account.rows,
        repeated: account.repeated,
        conflicting: account.conflicting,
        rejected: account.rejected,
        complete: account.complete,
        faults: account.faults.clone(),
    }
}

/// Work that waits for the disk and needs a processor, on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::caused(Kind::Internal, "the reading of a venue's files", e))?
}
