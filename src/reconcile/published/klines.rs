//! Minutes out of klines.

use std::collections::BTreeMap;

use csv::ByteRecord;

use super::{
    account::{Content, FileAccount, PublishedFile},
    decimal::Decimal,
    layout::{Layout, MinuteFields, value, whole_number},
    read::{lines, open},
    row::{Reject, time},
    trades::{check_venue, wanted},
};
use crate::{
    error::{Error, Result},
    model::{date::Date, partition::Series},
};

const MINUTE: i64 = 60_000_000_000;
/// So many different values of one minute are kept.
const MOST_VALUES: usize = 8;

/// What a venue tells of one minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minute {
    /// Its first nanosecond, since 1970 UTC.
    pub start: i64,
    /// The sum of the quantities, exactly.
    pub volume: Decimal,
    /// How many single trades there were.
    pub trades: u64,
}

/// See [`minutes()`](super::minutes()).
pub(super) fn decode(
    series: &Series,
    day: Date,
    files: &[PublishedFile],
) -> Result<(Vec<Minute>, Vec<FileAccount>)> {
    let wanted = wanted(series)?;
    let mut found: BTreeMap<i64, Vec<Minute>> = BTreeMap::new();
    let mut accounts = Vec::new();
    for file in files {
        let (opened, content) = open(file)?;
        check_venue(content, &wanted, &file.name)?;
        if content != Content::BinanceKlines {
            return Err(Error::usage(format!(
                "{}: holds trades, and no klines",
                file.name
            )));
        }
        let (name, sha256) = (opened.name.clone(), opened.sha256.clone());
        let mut account = FileAccount::new(name, sha256, opened.checksum.clone(), content);
        lines(
            &opened,
            &wanted.wire,
            &mut account,
            &mut |account, line, layout, record| {
                let Layout::Minutes(fields) = layout else {
                    // Another content was passed over before.
                    return Ok(Ok(()));
                };
                match minute(record, fields) {
                    Ok(minute) => put(minute, line, day, &mut found, account),
                    Err(reject) => return Ok(Err(reject)),
                }
                Ok(Ok(()))
            },
        )?;
        accounts.push(account);
    }
    Ok((found.into_values().flatten().collect(), accounts))
}

fn put(
    minute: Minute,
    line: u64,
    day: Date,
    found: &mut BTreeMap<i64, Vec<Minute>>,
    account: &mut FileAccount,
) {
    if !(day.start_ns()..day.end_ns()).contains(&minute.start) {
        account.elsewhere += 1;
        return;
    }
    let told = found.entry(minute.start).or_default();
    if told.contains(&minute) {
        account.repeated += 1;
        return;
    }
    account.rows += 1;
    if !told.is_empty() {
        account.conflicting += 1;
        account.fault(|| format!("line {line}: this minute is told twice, with other values"));
    }
    if told.len() < MOST_VALUES {
        told.push(minute);
    }
}

fn minute(record: &ByteRecord, fields: &MinuteFields) -> std::result::Result<Minute, Reject> {
    if record.len() != fields.width {
        return Err(Reject::Width(fields.width));
    }
    let get = |at: usize| value(record, at);
    let start = time(get(fields.open)).filter(|start| start % MINUTE == 0);
    let start = start.ok_or(Reject::Value(fields.open, "is no beginning of a minute"))?;
    // The last millisecond or microsecond of the minute.
    let last = time(get(fields.close)).filter(|end| *end == start + MINUTE - 1_000_000);
    let _ = last.ok_or(Reject::Value(fields.close, "is not the end of that minute"))?;
    let volume = Decimal::parse(get(fields.volume));
    let trades = whole_number(get(fields.trades)).and_then(|count| u64::try_from(count).ok());
    Ok(Minute {
        start,
        volume: volume.ok_or(Reject::Value(fields.volume, "is no quantity"))?,
        trades: trades.ok_or(Reject::Value(fields.trades, "is no number of trades"))?,
    })
}
