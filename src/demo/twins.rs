//! Two collectors of one feed: what each of them saw of a day, in a spool of its own.

use std::path::Path;

use arrow::{
    array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch},
    compute::filter_record_batch,
    datatypes::Int64Type,
};
use chrono::DateTime;

use super::{feeds::FEEDS, market, rng::Rng, sample::write, spool};
use crate::{
    error::{Error, Kind, Result},
    model::{date::Date, layout, schema::TS_RECV},
};

/// The collector that was down for an hour.
pub const TOKYO: &str = "tokyo";
/// The one that lost its connection for half a minute.
pub const PARIS: &str = "paris";

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;

/// Writes what two collectors saw of a feed on `yesterday` into the folders [`TOKYO`] and [`PARIS`]
/// of `dir`: the one was down from 13:00 to 14:00, the other missed half a minute at 09:30.
///
/// # Errors
/// When a file or folder cannot be written.
pub fn twins(dir: &Path, yesterday: Date, seed: u64) -> Result<()> {
    let Some(feed) = FEEDS.first() else {
        return Ok(());
    };
    let events = market::events(feed, yesterday.start_ns()..yesterday.end_ns(), seed)?;
    let start = yesterday.start_ns();
    let lost = [
        (TOKYO, start + 13 * HOUR..start + 14 * HOUR),
        (
            PARIS,
            start + 9 * HOUR + 1_800 * SECOND..start + 9 * HOUR + 1_830 * SECOND,
        ),
    ];
    for (nth, (name, lost)) in (0_u64..).zip(lost) {
        let seen = arrived(&events, &mut Rng::new(seed, nth + 1))?;
        for hour in 0..24 {
            let (from, to) = (start + hour * HOUR, start + (hour + 1) * HOUR);
            let times = seen.column(0).as_primitive::<Int64Type>();
            let is_of: BooleanArray = times
                .values()
                .iter()
                .map(|t| Some((from..to).contains(t) && !lost.contains(t)))
                .collect();
            let rows = filter_record_batch(&seen, &is_of).map_err(market::not_made)?;
            if rows.num_rows() == 0 {
                continue;
            }
            let sealed = DateTime::from_timestamp_nanos(to - 1).format("%Y-%m-%d_%H-%M-%S");
            let key = format!(
                "{}/{sealed}.parquet",
                layout::series_dir(&market::series(feed)?)
            );
            write(&dir.join(name).join(key), &spool::sealed(&rows)?)?;
        }
    }
    Ok(())
}

/// The events with times of arrival of their own.
fn arrived(events: &RecordBatch, rng: &mut Rng) -> Result<RecordBatch> {
    let lost = || Error::new(Kind::Internal, "the sample has no times of arrival");
    let at = events
        .schema_ref()
        .index_of(TS_RECV)
        .map_err(market::not_made)?;
    let times = events.column(0).as_primitive::<Int64Type>().values();
    let arrivals = Int64Array::from_iter_values(
        times
            .iter()
            .map(|t| t + i64::from(rng.between(400_000, 3_900_000))),
    );
    let mut columns = events.columns().to_vec();
    *columns.get_mut(at).ok_or_else(lost)? =
        std::sync::Arc::new(arrivals) as std::sync::Arc<dyn Array>;
    RecordBatch::try_new(events.schema(), columns).map_err(market::not_made)
}
