//! Trades of a day, out of all files: decoded, sorted, each once, written.

use std::{cmp::Ordering, path::Path};

use serde_json::json;

use super::{
    account::{Checksum, Content, FileAccount, Identity, PublishedFile},
    container::Opened,
    layout::{Layout, value},
    read::{lines, open},
    row::{Place, Reject, Trade, trade},
    sort::{Sorted, Sorter},
    write::{Common, TradeWriter},
};
use crate::{
    error::{Error, Result},
    feed::{
        event::Kind,
        venue::{Wanted, choose},
    },
    model::{date::Date, partition::Series},
};

/// The key of the footer under which the source files stand: a JSON list of objects with `name`,
/// `sha256`, `checksum` (`right`, `wrong` or `none`), `expected` where that is wrong, and
/// `complete`.
pub const FOOTER_SOURCES: &str = "qlc.published";

/// See [`trades()`](super::trades()).
pub(super) fn decode(
    series: &Series,
    day: Date,
    files: &[PublishedFile],
    target: &Path,
    scratch: &Path,
    memory: usize,
) -> Result<Vec<FileAccount>> {
    let wanted = wanted(series)?;
    let (opened, identity) = all_open(files, &wanted)?;
    let mut accounts: Vec<FileAccount> = opened
        .iter()
        .map(|(opened, content)| {
            let (name, sha256) = (opened.name.clone(), opened.sha256.clone());
            FileAccount::new(name, sha256, opened.checksum.clone(), *content)
        })
        .collect();
    // Two sorts are under way at a time at most, and the writer takes some.
    let memory = memory / 4;
    let order = match identity {
        Identity::TradeId => Trade::by_identity,
        Identity::Number | Identity::Single => Trade::by_time,
    };
    let mut sorter = Sorter::new(scratch, memory, order);
    for ((nth, (opened, _)), account) in (0..).zip(&opened).zip(&mut accounts) {
        let of_day = |account: &mut FileAccount, found: Trade| {
            if !(day.start_ns()..day.end_ns()).contains(&found.ts_event) {
                account.elsewhere += 1;
                return Ok(());
            }
            sorter.push(found)
        };
        read(opened, nth, &wanted.wire, identity, account, of_day)?;
    }
    let found = sorter.finish()?;
    let source = opened.first().map_or(Content::BinanceAggTrades, |o| o.1);
    let common = Common {
        exchange: wanted.venue.name(),
        symbol: &wanted.symbol,
        stream: &series.stream,
        source: source.source(),
        is_called_by_seq: identity == Identity::Number,
    };
    let mut writer = TradeWriter::create(target, &common)?;
    let mut holes = Holes::default();
    if identity != Identity::TradeId && ascends(&found)? {
        distinct(&found, &mut accounts, &mut |trade, accounts| {
            holes.note(&trade, accounts);
            writer.push(trade)
        })?;
    } else {
        // A number that comes back at another time stands beside itself only where they are sorted.
        let found = if identity == Identity::TradeId {
            found
        } else {
            let mut by_identity = Sorter::new(scratch, memory, Trade::by_identity);
            for trade in found.read()? {
                by_identity.push(trade?)?;
            }
            drop(found);
            by_identity.finish()?
        };
        let order = match identity {
            Identity::TradeId => Trade::by_place,
            Identity::Number | Identity::Single => Trade::by_time,
        };
        let mut again = Sorter::new(scratch, memory, order);
        distinct(&found, &mut accounts, &mut |trade, _| again.push(trade))?;
        drop(found);
        for trade in again.finish()?.read()? {
            let trade = trade?;
            holes.note(&trade, &mut accounts);
            writer.push(trade)?;
        }
    }
    writer.finish(&[(FOOTER_SOURCES, sources(&accounts))])?;
    Ok(accounts)
}

/// The series as its venue is subscribed to it: with the names that rows and files have.
///
/// # Errors
/// When the venue is unknown, or the stream is another one.
pub(super) fn wanted(series: &Series) -> Result<Wanted> {
    let venue = series.exchange.as_str().parse()?;
    let kind: Kind = series.stream.as_str().parse()?;
    if kind != Kind::Trade {
        return Err(Error::usage(format!(
            "{}: of this stream no venue publishes files that are read here; of trades they do",
            series.stream
        )));
    }
    let chosen = choose(&[venue], std::slice::from_ref(&series.symbol), &[kind])?;
    chosen
        .series
        .into_iter()
        .next()
        .ok_or_else(|| Error::usage(format!("{series}: {venue} has no such symbol")))
}

/// All files, and by what their rows are known.
fn all_open(
    files: &[PublishedFile],
    wanted: &Wanted,
) -> Result<(Vec<(Opened, Content)>, Identity)> {
    let mut all = Vec::new();
    let mut known: Option<(Identity, &str)> = None;
    for file in files {
        let (opened, content) = open(file)?;
        check_venue(content, wanted, &file.name)?;
        let identity = content
            .identity()
            .ok_or_else(|| Error::usage(format!("{}: holds klines, and no trades", file.name)))?;
        match known {
            Some((other, first)) if other != identity => {
                return Err(Error::usage(format!(
                    "{} and {first}: the one holds single trades, the other sums of them; give one kind",
                    file.name
                )));
            }
            _ => known = known.or(Some((identity, &file.name))),
        }
        all.push((opened, content));
    }
    Ok((
        all,
        known.map_or(Identity::Number, |(identity, _)| identity),
    ))
}

/// # Errors
/// When the file is of another venue.
pub(super) fn check_venue(content: Content, wanted: &Wanted, name: &str) -> Result<()> {
    if content.exchange() == wanted.venue.name() {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{name}: is a file of {}, and not of {}",
        content.exchange(),
        wanted.venue
    )))
}

/// Calls `found` with each trade of a file.
fn read(
    opened: &Opened,
    file: u32,
    wire: &str,
    identity: Identity,
    account: &mut FileAccount,
    mut found: impl FnMut(&mut FileAccount, Trade) -> Result<()>,
) -> Result<()> {
    lines(
        opened,
        wire,
        account,
        &mut |account, line, layout, record| {
            let Layout::Trades(fields) = layout else {
                // Another content was passed over before.
                return Ok(Ok(()));
            };
            let of_symbol = fields
                .symbol
                .filter(|at| !value(record, *at).eq_ignore_ascii_case(wire.as_bytes()));
            if let Some(at) = of_symbol {
                return Ok(Err(Reject::Value(at, "is another symbol")));
            }
            let trade = match trade(record, fields, identity, Place { file, line }) {
                Ok(trade) => trade,
                Err(reject) => return Ok(Err(reject)),
            };
            if trade.qty == 0.0 || trade.price == 0.0 {
                account.fault(|| {
                    let what = if trade.qty == 0.0 {
                        "quantity"
                    } else {
                        "price"
                    };
                    format!("line {line}: trade {} has a {what} of 0", trade.called())
                });
            }
            found(account, trade).map(Ok)
        },
    )
}

/// Whether identities ascend with the time, so that equal ones stand side by side.
fn ascends(sorted: &Sorted) -> Result<bool> {
    let mut last: Option<Trade> = None;
    for trade in sorted.read()? {
        let trade = trade?;
        if let Some(last) = last {
            match last.identity().cmp(&trade.identity()) {
                Ordering::Less => {}
                Ordering::Equal if last.values() == trade.values() => {}
                Ordering::Equal | Ordering::Greater => return Ok(false),
            }
        }
        last = Some(trade);
    }
    Ok(true)
}

/// Gives each trade once, and counts it for its file. Equal identities stand side by side in
/// `sorted`, and of these equal values.
fn distinct(
    sorted: &Sorted,
    accounts: &mut [FileAccount],
    each: &mut dyn FnMut(Trade, &mut [FileAccount]) -> Result<()>,
) -> Result<()> {
    let mut last: Option<Trade> = None;
    for trade in sorted.read()? {
        let trade = trade?;
        let same = last.filter(|last| last.identity() == trade.identity());
        let is_repeated = same.is_some_and(|last| last.values() == trade.values());
        let other_file = same.and_then(|last| accounts.get(index(last.place)));
        let other_file = other_file.map(|account| account.name.clone());
        if let Some(account) = accounts.get_mut(index(trade.place)) {
            if is_repeated {
                account.repeated += 1;
            } else {
                account.rows += 1;
            }
            if let (Some(same), Some(other_file), false) = (same, other_file, is_repeated) {
                account.conflicting += 1;
                account.fault(|| {
                    format!(
                        "line {}: trade {} stands on line {} of {other_file} as well, with other values",
                        trade.place.line,
                        trade.called(),
                        same.place.line
                    )
                });
            } else if is_repeated && account.repeated == 1 {
                account.fault(|| {
                    let (line, called) = (trade.place.line, trade.called());
                    format!("line {line}: trade {called} is repeated, as others may be")
                });
            }
        }
        if !is_repeated {
            each(trade, accounts)?;
        }
        last = Some(trade);
    }
    Ok(())
}

fn index(place: Place) -> usize {
    usize::try_from(place.file).unwrap_or(usize::MAX)
}

/// Numbers that are left out between trades in order.
#[derive(Default)]
struct Holes {
    /// The largest number so far.
    last: Option<i64>,
}

impl Holes {
    fn note(&mut self, trade: &Trade, accounts: &mut [FileAccount]) {
        let last = self
            .last
            .replace(trade.seq.max(self.last.unwrap_or(trade.seq)));
        let Some(account) = accounts
            .get_mut(index(trade.place))
            .filter(|account| account.content.is_consecutive())
        else {
            return;
        };
        let missing = last.map_or(0, |last| trade.seq.saturating_sub(last).saturating_sub(1));
        if missing > 0 {
            account.missing = account.missing.saturating_add(missing.unsigned_abs());
            account.fault(|| {
                let (line, seq) = (trade.place.line, trade.seq);
                format!("line {line}: {missing} numbers before trade {seq} are in no file")
            });
        }
    }
}

/// The source files as they stand in the footer.
fn sources(accounts: &[FileAccount]) -> String {
    let one = |account: &FileAccount| {
        let mut source = json!({
            "name": account.name,
            "sha256": account.sha256,
            "checksum": account.checksum.name(),
            "complete": account.complete,
        });
        if let (Checksum::Wrong { expected }, Some(source)) =
            (&account.checksum, source.as_object_mut())
        {
            let _ = source.insert("expected".to_owned(), json!(expected));
        }
        source
    };
    serde_json::Value::Array(accounts.iter().map(one).collect()).to_string()
}
