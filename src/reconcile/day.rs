//! One day of one series that is reconciled: what is asked of it, what the archive holds of it, and
//! which of the venue's files are about it.

use std::{collections::BTreeMap, path::PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};

use super::{
    blocking::blocking,
    fetch::Downloads,
    given::{self, Given},
    published::{self, Content, FileAccount, PublishedFile},
    stop::stopped,
};
use crate::{
    archive::{
        partition::PartitionHandle,
        state::{self, Depth, State, advice},
    },
    error::{Error, Kind, Result},
    model::{
        date::Date,
        partition::{Exchange, Partition, Selection},
        reconcile::{ReconcileRecord, VenueFile},
    },
    storage::store::Store,
};

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
    /// Where the files of each exchange are, for where none are given.
    pub published: BTreeMap<Exchange, Vec<Given>>,
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

impl Options {
    /// The files of an exchange: what was given, else where its files are.
    pub(super) fn given(&self, exchange: &Exchange) -> &[Given] {
        if !self.given.is_empty() {
            return &self.given;
        }
        self.published.get(exchange).map_or(&[], Vec::as_slice)
    }
}

/// What the archive holds of a day that can be compared.
#[derive(Debug)]
pub(super) enum Held {
    /// Nothing.
    Nothing,
    /// This data, which is what its receipt says.
    Data(String),
    /// Something that is not to be compared, because.
    Unfit(String),
}

/// One day of one series.
pub(super) struct Day<'a> {
    pub(super) spool: Option<&'a Store>,
    pub(super) archive: &'a Store,
    pub(super) options: &'a Options,
    pub(super) partition: &'a Partition,
    /// Whether nothing else is asked about.
    pub(super) alone: bool,
    pub(super) stop: &'a (dyn Fn() -> bool + Sync),
}

impl Day<'_> {
    pub(super) fn record(&self) -> ReconcileRecord {
        let at = self
            .options
            .now
            .to_rfc3339_opts(SecondsFormat::Millis, true);
        ReconcileRecord::of(self.partition, &at)
    }

    pub(super) fn not_compared(&self, why: String) -> ReconcileRecord {
        ReconcileRecord {
            message: why,
            ..self.record()
        }
    }

    /// Whether what these files lack was never published: each is whole, and there are as many as
    /// the day lies in.
    pub(super) fn are_whole(&self, record: &mut ReconcileRecord) -> bool {
        let needed = given::file_days(&self.partition.series, self.partition.date).len();
        let with_rows = record.files.iter().filter(|file| file.rows > 0).count();
        let are_all = with_rows >= needed || needed == 1;
        if !are_all {
            record.message = format!(
                "the day lies in {needed} files of the exchange, and {with_rows} of those that were given have rows of it"
            );
        }
        are_all && record.files.iter().all(VenueFile::is_whole)
    }

    /// What the archive holds of the day.
    pub(super) async fn held(&self, depth: Depth) -> Result<Held> {
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
    pub(super) async fn files(&self) -> Result<FilesOfDay> {
        let given = self.options.given(&self.partition.series.exchange);
        let mut files = FilesOfDay {
            found: given::local(given, self.partition, self.alone)?,
            absent: Vec::new(),
        };
        for one in given {
            // A URL without a folder for its file is refused before the first day.
            let (Given::Url(template), Some(downloads)) = (one, &self.options.downloads) else {
                continue;
            };
            let wire = given::spelling(&self.partition.series);
            for day in given::file_days(&self.partition.series, self.partition.date) {
                stopped(self.stop)?;
                let url = given::filled(template, &wire, day)?;
                match downloads.fetch(&url, self.stop).await? {
                    Some(file) => files.found.push(file),
                    None => files.absent.push(url),
                }
            }
        }
        Ok(files)
    }

    /// The files by what they hold, the cheapest to compare first; and what is wrong with others.
    /// Those of another exchange, which a folder may have beside them, are wrong where there are no
    /// more.
    pub(super) async fn by_content(
        &self,
        files: Vec<PublishedFile>,
    ) -> Result<(Vec<(Content, Vec<PublishedFile>)>, Vec<String>)> {
        let exchange = self.partition.series.exchange.to_string();
        blocking(move || {
            let mut known: BTreeMap<(bool, Content), Vec<PublishedFile>> = BTreeMap::new();
            let (mut unknown, mut foreign) = (Vec::new(), Vec::new());
            for file in files {
                match published::content_of(&file) {
                    Ok(content) if content.exchange() == exchange => known
                        .entry((is_by_rows(content), content))
                        .or_default()
                        .push(file),
                    Ok(content) => foreign.push(format!(
                        "{}: holds {}, which is of another exchange",
                        file.name,
                        content.name()
                    )),
                    Err(error) if error.kind() == Kind::BadInput => unknown.push(error.chain()),
                    Err(error) => return Err(error),
                }
            }
            if known.is_empty() {
                unknown.extend(foreign);
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

/// The venue's files about a day.
pub(super) struct FilesOfDay {
    pub(super) found: Vec<PublishedFile>,
    /// The URLs that lead to none.
    pub(super) absent: Vec<String>,
}

/// Whether the rows of such files have counterparts among the recorded ones: single trades have
/// none where a venue sends sums of them.
pub(super) fn is_by_rows(content: Content) -> bool {
    match content {
        Content::BinanceAggTrades
        | Content::BinanceSpotAggTrades
        | Content::BybitTrades
        | Content::OkxAggTrades => true,
        Content::BinanceTrades | Content::BinanceKlines | Content::OkxTrades => false,
    }
}

/// Fails where the files are about other days: what they lack of this one says nothing.
pub(super) fn are_of_day(files: &[VenueFile]) -> Result<()> {
    let other = files.iter().find(|file| file.elsewhere > 0);
    match other {
        Some(other) if files.iter().all(|file| file.rows == 0) => Err(Error::new(
            Kind::BadInput,
            format!(
                "{}: its {} rows are of other days, and none is of this one",
                other.name, other.elsewhere
            ),
        )),
        _ => Ok(()),
    }
}

/// What was found of a file, for the record.
pub(super) fn told(account: &FileAccount) -> VenueFile {
    VenueFile {
        name: account.name.clone(),
        sha256: account.sha256.clone(),
        checksum: account.checksum.name().to_owned(),
        content: account.content.name().to_owned(),
        rows: account.rows,
        repeated: account.repeated,
        conflicting: account.conflicting,
        elsewhere: account.elsewhere,
        rejected: account.rejected,
        complete: account.complete,
        faults: account.faults.clone(),
    }
}
