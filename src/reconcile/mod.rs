//! `reconcile`: what the venues publish beside what was recorded. Both directions are told, and
//! nothing is believed that cannot be shown: a file that is not whole, or not what its CHECKSUM
//! says, proves no absence.
//!
//! `given` finds the venue's files of a day, `published` decodes them, `rows` lets the engine
//! sort both sides by what a trade is known by, `compare` walks them side by side. Where a venue
//! publishes only single trades or klines, `minutes` compares sums. Nothing of the archive is
//! changed: `take` leaves rows that only they have in the spool, as one more collector would, for
//! the next compaction to merge.

mod blocking;
mod compare;
mod day;
mod exact;
mod fetch;
mod given;
mod minutes;
pub mod published;
mod rows;
mod stop;
mod take;

use std::collections::BTreeSet;

pub use self::{
    day::Options,
    fetch::{Downloads, Progress},
    given::Given,
};
use self::{
    day::{Day, FilesOfDay, Held, is_by_rows},
    published::{Content, PublishedFile},
    stop::stopped,
};
use crate::{
    archive::state::Depth,
    error::{Error, Kind, Result},
    model::{
        layout::{self, Placed},
        partition::{Exchange, Partition, Selection, Series, Stream},
        reconcile::ReconcileRecord,
    },
    storage::{
        reconciled,
        scratch::{self, Scratch},
        spelling,
        store::Store,
    },
};

/// The stream that is compared: of no other one a venue publishes what it sent.
const STREAM: &str = "trade";

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
    are_named(options, &partitions)?;
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
        for record in reconcile(&day, &scratch).await? {
            let _ = reconciled::write(archive, &record, scratch.path()).await?;
            each(&record);
        }
    }
    Ok(())
}

/// Fails where no files are named, or where they would have to be fetched unasked.
fn are_named(options: &Options, partitions: &[Partition]) -> Result<()> {
    let exchanges: BTreeSet<&Exchange> = partitions
        .iter()
        .map(|partition| &partition.series.exchange)
        .collect();
    let given = || exchanges.iter().flat_map(|one| options.given(one));
    if let (Some(exchange), None) = (exchanges.first(), given().next()) {
        return Err(Error::usage(format!(
            "no files are named: {}",
            how_to_name(exchange)
        )));
    }
    let url = given().find_map(|one| match one {
        Given::Url(url) => Some(url),
        Given::File(_) | Given::Folder(_) => None,
    });
    match url {
        Some(url) if options.downloads.is_none() => Err(Error::usage(format!(
            "{url}: is a URL, and nothing is fetched unasked; add --download DIR to fetch it into that folder"
        ))),
        _ => Ok(()),
    }
}

fn how_to_name(exchange: &Exchange) -> String {
    format!("add --with, or set {exchange} = \"https://…\" below [reconcile] of the configuration")
}

/// Fails where a spool cannot have the files of one more collector.
fn has_place(spool: Option<&Store>, series: &Series) -> Result<()> {
    let name = take::collector(series);
    let Some(spool) = spool else {
        return Err(Error::usage(
            "--take puts rows into the spool, and there is none; name it with --spool",
        ));
    };
    let key = format!("{}/x", layout::collector_dir(&name));
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
    for series in &series {
        is_spelt(archive, series).await?;
    }
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
        let name = "name one with --exchange and --symbol";
        let hint = spelling::hint(&options.selection, &[archive], name).await;
        return Err(Error::usage(format!(
            "the archive has no series of trades that matches; {hint}"
        )));
    }
    Ok(series
        .iter()
        .flat_map(|series| options.start.through(options.end).map(|day| series.on(day)))
        .collect())
}

/// Fails where a symbol is named as its exchange spells it, and not as paths do: rows that are taken
/// would be a series of their own.
async fn is_spelt(archive: &Store, series: &Series) -> Result<()> {
    let Some(known) = given::subscribed(series).map(|one| one.series.symbol) else {
        return Ok(());
    };
    let is_archived = async || {
        let listed = archive.list(&layout::series_dir(series)).await?;
        Ok::<_, Error>(!listed.whole()?.is_empty())
    };
    if known == series.symbol || (!archive.is_absent() && is_archived().await?) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "the archive has no symbol {} of {}; did you mean --symbol {known}?",
        series.symbol, series.exchange
    )))
}

/// What came of the day, whatever is wrong with it.
async fn reconcile(day: &Day<'_>, scratch: &Scratch) -> Result<Vec<ReconcileRecord>> {
    let held = match day.held(Depth::Bytes).await? {
        Held::Unfit(why) => return Ok(vec![day.not_compared(why)]),
        held => held,
    };
    let FilesOfDay { found, absent } = match day.files().await {
        Ok(files) => files,
        Err(error) if error.kind() == Kind::Io => {
            return Ok(vec![day.not_compared(error.chain())]);
        }
        Err(error) => return Err(error),
    };
    let (known, unknown) = day.by_content(found).await?;
    if known.is_empty() {
        let exchange = &day.partition.series.exchange;
        let why = match unknown.first() {
            Some(why) => why.clone(),
            None if day.options.given(exchange).is_empty() => {
                format!(
                    "no files of {exchange} are named: {}",
                    how_to_name(exchange)
                )
            }
            None if !absent.is_empty() => format!(
                "there is no file at {} (404): the exchange has not published the day yet, or names the symbol otherwise",
                absent.join(" and ")
            ),
            None => "no file that was given is of this symbol and day".to_owned(),
        };
        return Ok(vec![day.not_compared(why)]);
    }
    let mut records = Vec::new();
    for (content, files) in known {
        let record = match pass(day, content, files, &held, scratch).await {
            Ok(record) => record,
            Err(error) if matches!(error.kind(), Kind::Interrupted | Kind::Unknown) => {
                return Err(error);
            }
            Err(error) => day.not_compared(error.chain()),
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
    day: &Day<'_>,
    content: Content,
    files: Vec<PublishedFile>,
    held: &Held,
    scratch: &Scratch,
) -> Result<ReconcileRecord> {
    let mut record = day.record();
    if is_by_rows(content) {
        exact::pass(day, content, files, held, scratch, &mut record).await?;
    } else {
        minutes::pass(day, content, files, held, scratch, &mut record).await?;
    }
    // What stands now must be what was judged before it was read.
    let now = day.held(Depth::Documents).await?;
    let same = match (held, &now) {
        (Held::Nothing, Held::Nothing) => true,
        (Held::Data(before), Held::Data(now)) => before == now,
        _ => false,
    };
    if !same {
        // What was taken lies in the spool all the same: there it is one more collector's.
        return Ok(ReconcileRecord {
            files: record.files,
            taken: record.taken,
            ..day.not_compared(
                "the archived day changed while it was compared; run again".to_owned(),
            )
        });
    }
    if let Held::Data(sha256) = held {
        record.data_sha256 = Some(sha256.clone());
    }
    Ok(record)
}
