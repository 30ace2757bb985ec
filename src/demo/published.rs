//! A day of trades with holes, and what the exchange publishes of it: aggregated trades as Binance
//! writes them, with a CHECKSUM file.

use std::{fmt::Write, path::Path};

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::{Float64Type, Int8Type, Int64Type},
};
use chrono::DateTime;
use sha2::{Digest, Sha256};

use super::{
    feeds::{Content, FEEDS},
    market,
    sample::write,
    spool,
};
use crate::{
    error::{Error, Kind, Result},
    model::{date::Date, layout},
    storage::store::hex,
};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;

/// The folder of the recorded files.
pub const RECORDED: &str = "spool";
/// The folder of the exchange's files.
pub const PUBLISHED: &str = "published";

/// Writes the trades of a symbol on `yesterday` as they were recorded into the folder [`RECORDED`]
/// of `dir`, without those from 13:10 to 13:55 and of half a minute at 04:20, and all of them as the
/// exchange publishes them into the folder [`PUBLISHED`].
///
/// # Errors
/// When a file or folder cannot be written.
pub fn published(dir: &Path, yesterday: Date, seed: u64) -> Result<()> {
    let Some(feed) = FEEDS
        .iter()
        .find(|feed| feed.content == Content::Trade && feed.market.exchange == "binance")
    else {
        return Ok(());
    };
    let start = yesterday.start_ns();
    let events = market::events(feed, start..yesterday.end_ns(), seed)?;
    let series = market::series(feed)?;
    let lost = [
        start + 13 * HOUR + 600 * SECOND..start + 13 * HOUR + 3_300 * SECOND,
        start + 4 * HOUR + 1_200 * SECOND..start + 4 * HOUR + 1_230 * SECOND,
    ];
    for hour in 0..24 {
        let (from, to) = (start + hour * HOUR, start + (hour + 1) * HOUR);
        let times = events.column(0).as_primitive::<Int64Type>();
        let is_of: BooleanArray = times
            .values()
            .iter()
            .map(|t| Some((from..to).contains(t) && !lost.iter().any(|lost| lost.contains(t))))
            .collect();
        let rows = filter_record_batch(&events, &is_of).map_err(market::not_made)?;
        let sealed = DateTime::from_timestamp_nanos(to - 1).format("%Y-%m-%d_%H-%M-%S");
        let key = format!("{}/{sealed}.parquet", layout::series_dir(&series));
        write(&dir.join(RECORDED).join(key), &spool::sealed(&rows)?)?;
    }
    let name = format!(
        "{}-aggTrades-{}.csv",
        series.symbol.as_str().to_uppercase(),
        yesterday.iso()
    );
    let text = lines(&events)?;
    let sha256 = hex(&Sha256::digest(text.as_bytes()));
    let folder = dir.join(PUBLISHED);
    write(
        &folder.join(format!("{name}.CHECKSUM")),
        format!("{sha256}  {name}\n").as_bytes(),
    )?;
    write(&folder.join(name), text.as_bytes())
}

/// The trades as lines of the exchange's file.
fn lines(events: &RecordBatch) -> Result<String> {
    let lost = || Error::new(Kind::Internal, "the sample's trades lack a column");
    let ints = |name: &str| {
        let column = events.column_by_name(name)?;
        column.as_primitive_opt::<Int64Type>()
    };
    let floats = |name: &str| {
        let column = events.column_by_name(name)?;
        column.as_primitive_opt::<Float64Type>()
    };
    let (times, numbers) = (
        ints("ts_event").ok_or_else(lost)?,
        ints("seq").ok_or_else(lost)?,
    );
    let (first, last) = (
        ints("first_id").ok_or_else(lost)?,
        ints("last_id").ok_or_else(lost)?,
    );
    let (price, qty) = (
        floats("price").ok_or_else(lost)?,
        floats("qty").ok_or_else(lost)?,
    );
    let side = events
        .column_by_name("side")
        .and_then(|column| column.as_primitive_opt::<Int8Type>())
        .ok_or_else(lost)?;
    let mut text = String::from(
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n",
    );
    for at in 0..events.num_rows() {
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{}",
            numbers.value(at),
            price.value(at),
            qty.value(at),
            first.value(at),
            last.value(at),
            times.value(at) / 1_000_000,
            side.value(at) < 0
        );
    }
    Ok(text)
}
