//! Draws the events of a feed: prices walk, quotes are placed around them, trades hit them.
//!
//! This is no model of a market: the values only look like one, in their ticks, decimals, spacing
//! and repetition.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray},
    error::ArrowError,
};

use super::{
    feeds::{Content, Feed, Market},
    rng::Rng,
};
use crate::{
    error::{Error, Kind, Result},
    model::{partition::Series, schema},
};

const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MS;
/// Funding is paid every eight hours.
const FUNDING_PERIOD: i64 = 8 * 3_600 * SECOND;

/// The series that a feed belongs to.
pub(super) fn series(feed: &Feed) -> Result<Series> {
    Ok(Series {
        exchange: feed.market.exchange.parse()?,
        stream: feed.content.stream().parse()?,
        symbol: feed.market.symbol.parse()?,
    })
}

/// All events of `feed` in `span` (nanoseconds), by `(ts_event, seq)`, with the canonical columns.
pub(super) fn events(feed: &Feed, span: Range<i64>, seed: u64) -> Result<RecordBatch> {
    let mut rng = Rng::new(
        seed,
        name_number(&[
            feed.market.exchange,
            feed.market.symbol,
            feed.content.stream(),
        ]),
    );
    let walk = Walk::new(&feed.market, &span, seed);
    let ts = instants(feed, &span, &mut rng);
    let numbers = numbers(feed, ts.len(), &mut rng);
    let own = own_columns(feed, &walk, &ts, &numbers, &mut rng);
    let series = series(feed)?;
    let rows = ts.len();
    let lag = |t: &i64| t + i64::from(rng.between(400_000, 3_900_000));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ts.iter().copied())),
        Arc::new(Int64Array::from(numbers)),
        Arc::new(Int32Array::from_value(0, rows)),
        Arc::new(Int64Array::from_iter_values(ts.iter().map(lag))),
        repeated(series.exchange.as_str(), rows),
        repeated(&series.symbol.as_str().to_uppercase(), rows),
        repeated(series.stream.as_str(), rows),
        Arc::new(Int8Array::from_value(schema::STREAM_VERSION, rows)),
    ];
    columns.extend(own);
    RecordBatch::try_new(schema::canonical(&series.stream), columns).map_err(not_made)
}

/// The exchange's number of each event: of trades one after the other, of quotes and open interest
/// with holes that mean nothing, of what a timer sends none.
fn numbers(feed: &Feed, rows: usize, rng: &mut Rng) -> Vec<i64> {
    let mut number = match feed.content {
        Content::Trade => 5_900_000_000 + i64::from(rng.between(0, 9_999_999)),
        Content::Bbo | Content::OpenInterest => {
            41_000_000_000 + i64::from(rng.between(0, 1_000_000))
        }
        Content::MarkPrice | Content::Funding => return vec![0; rows],
    };
    let next = |_| {
        number += if feed.content == Content::Trade {
            1
        } else {
            i64::from(rng.between(1, 9))
        };
        number
    };
    (0..rows).map(next).collect()
}

/// The error of a batch that could not be put together, which only a mistake here can cause.
pub(super) fn not_made(error: ArrowError) -> Error {
    Error::caused(
        Kind::Internal,
        "the sample's events could not be put together",
        error,
    )
}

/// A price by the second, in ticks. All feeds of a market see the same one.
struct Walk {
    start: i64,
    ticks: Vec<i32>,
}

impl Walk {
    fn new(market: &Market, span: &Range<i64>, seed: u64) -> Self {
        let mut rng = Rng::new(seed, name_number(&[market.exchange, market.symbol]));
        let mut now = market.ticks;
        let mut pull = 0;
        let ticks = (0..=(span.end - span.start) / SECOND).map(|_| {
            if rng.chance(1) {
                pull = rng.between(-4, 4);
            }
            now += rng.between(-24, 24) + pull;
            now
        });
        Self {
            start: span.start,
            ticks: ticks.collect(),
        }
    }

    fn at(&self, ns: i64) -> i32 {
        let second = usize::try_from((ns - self.start) / SECOND).unwrap_or(0);
        self.ticks
            .get(second)
            .or(self.ticks.last())
            .copied()
            .unwrap_or(1)
    }
}

/// When the events happen, ascending; exchanges tell milliseconds.
fn instants(feed: &Feed, span: &Range<i64>, rng: &mut Rng) -> Vec<i64> {
    let mut instants = Vec::new();
    let mut now = span.start;
    loop {
        now += MS
            * match feed.content {
                // Several trades of one taker share an instant.
                Content::Trade if rng.chance(35) => 0,
                Content::Bbo | Content::Trade => rng.gap_ms(feed.gap_ms),
                // These are sent by a timer that is a little late now and then.
                _ => i64::from(feed.gap_ms) + i64::from(rng.between(-2, 3)),
            };
        if now >= span.end {
            return instants;
        }
        instants.push(now);
    }
}

fn own_columns(
    feed: &Feed,
    walk: &Walk,
    ts: &[i64],
    numbers: &[i64],
    rng: &mut Rng,
) -> Vec<ArrayRef> {
    match feed.content {
        Content::Bbo => bbo(&feed.market, walk, ts, rng),
        Content::Trade => trade(&feed.market, walk, ts, numbers, rng),
        Content::MarkPrice => mark_price(&feed.market, walk, ts, rng),
        Content::Funding => funding(ts, rng),
        Content::OpenInterest => open_interest(ts, rng),
    }
}

fn bbo(market: &Market, walk: &Walk, ts: &[i64], rng: &mut Rng) -> Vec<ArrayRef> {
    let mut columns: [Vec<f64>; 4] = Default::default();
    let [bid_price, bid_qty, ask_price, ask_qty] = &mut columns;
    let (mut bid_left, mut ask_left) = (1.0, 1.0);
    for t in ts {
        let bid = walk.at(*t) + rng.between(-1, 1);
        let spread = if rng.chance(90) {
            1
        } else {
            rng.between(2, 12)
        };
        // One side changes with an update, the other stays as it is.
        if rng.chance(50) {
            bid_left = rng.quantity(market.per_quantity);
        } else {
            ask_left = rng.quantity(market.per_quantity);
        }
        bid_price.push(price(market, bid));
        bid_qty.push(bid_left);
        ask_price.push(price(market, bid + spread));
        ask_qty.push(ask_left);
    }
    columns.into_iter().map(floats).collect()
}

fn trade(
    market: &Market,
    walk: &Walk,
    ts: &[i64],
    numbers: &[i64],
    rng: &mut Rng,
) -> Vec<ArrayRef> {
    let (mut prices, mut quantities, mut sides) = (Vec::new(), Vec::new(), Vec::new());
    for t in ts {
        let buyer_takes = rng.chance(51);
        let side_ticks = i32::from(buyer_takes);
        prices.push(price(market, walk.at(*t) + side_ticks + rng.between(-1, 1)));
        quantities.push(rng.quantity(market.per_quantity));
        sides.push(if buyer_takes { 1 } else { -1 });
    }
    // Binance tells which single trades an aggregated one stands for.
    let is_aggregated = market.exchange == "binance";
    let mut last = 2 * numbers.first().copied().unwrap_or(0);
    let mut ids = (Vec::new(), Vec::new());
    for _ in numbers {
        let first = last + 1;
        last += i64::from(rng.between(1, 3));
        ids.0.push(is_aggregated.then_some(first));
        ids.1.push(is_aggregated.then_some(last));
    }
    vec![
        floats(prices),
        floats(quantities),
        Arc::new(Int8Array::from(sides)),
        Arc::new(StringArray::from_iter_values(
            numbers.iter().map(ToString::to_string),
        )),
        Arc::new(Int64Array::from(ids.0)),
        Arc::new(Int64Array::from(ids.1)),
    ]
}

fn mark_price(market: &Market, walk: &Walk, ts: &[i64], rng: &mut Rng) -> Vec<ArrayRef> {
    let mut marks = Vec::new();
    let mut indices = Vec::new();
    for t in ts {
        // Both are averages, so they have more decimals than a tick.
        let near =
            |rng: &mut Rng| f64::from(rng.between(-900, 900)) / 100.0 / f64::from(market.per_price);
        let middle = price(market, walk.at(*t));
        marks.push(rounded(middle + near(rng)));
        // Now and then the exchange sends no index.
        indices.push(if rng.chance(1) {
            None
        } else {
            Some(rounded(middle + near(rng)))
        });
    }
    vec![floats(marks), Arc::new(Float64Array::from(indices))]
}

fn funding(ts: &[i64], rng: &mut Rng) -> Vec<ArrayRef> {
    let mut rate = 1_000;
    let rates = ts.iter().map(|_| {
        rate = (rate + rng.between(-15, 15)).clamp(-3_000, 3_000);
        f64::from(rate) / 1e7
    });
    let rates = floats(rates.collect());
    let next = ts.iter().map(|t| (t / FUNDING_PERIOD + 1) * FUNDING_PERIOD);
    vec![rates, Arc::new(Int64Array::from_iter_values(next))]
}

fn open_interest(ts: &[i64], rng: &mut Rng) -> Vec<ArrayRef> {
    let mut thousandths = 54_321_987;
    let values = ts.iter().map(|_| {
        thousandths += rng.between(-20_000, 20_000);
        f64::from(thousandths) / 1e3
    });
    vec![floats(values.collect())]
}

fn price(market: &Market, ticks: i32) -> f64 {
    f64::from(ticks) / f64::from(market.per_price)
}

/// To eight decimals, as they are sent.
fn rounded(value: f64) -> f64 {
    (value * 1e8).round() / 1e8
}

fn floats(values: Vec<f64>) -> ArrayRef {
    Arc::new(Float64Array::from(values))
}

fn repeated(text: &str, rows: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
        text, rows,
    )))
}

/// A number that names one stream of random numbers (FNV-1a).
fn name_number(parts: &[&str]) -> u64 {
    parts
        .join("/")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::AsArray,
        datatypes::{Float64Type, Int64Type},
    };

    use super::{
        super::feeds::{FEEDS, LEGACY},
        *,
    };

    const START: i64 = 1_770_076_800 * SECOND;

    #[test]
    fn every_feed_has_ordered_events_within_its_span() {
        for feed in FEEDS.iter().chain([&LEGACY]) {
            let batch = events(feed, START..START + 3_600 * SECOND, 1).unwrap();
            let ts = batch.column(0).as_primitive::<Int64Type>().values();
            let seq = batch.column(1).as_primitive::<Int64Type>().values();
            assert!(batch.num_rows() > 20, "{feed:?}");
            assert!(
                ts.is_sorted()
                    && (seq.windows(2).all(|w| w[0] < w[1]) || seq.iter().all(|n| *n == 0)),
                "{feed:?}"
            );
            assert!(ts[0] >= START && ts[ts.len() - 1] < START + 3_600 * SECOND);
        }
    }

    #[test]
    fn quotes_are_never_crossed_and_prices_lie_on_ticks() {
        let batch = events(&FEEDS[0], START..START + 3_600 * SECOND, 1).unwrap();
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .unwrap()
                .as_primitive::<Float64Type>()
                .values()
                .clone()
        };
        for (bid, ask) in column("bid_price").iter().zip(&column("ask_price")) {
            assert!(bid < ask);
            assert!(((bid * 10.0).round() / 10.0 - *bid).abs() < 1e-9);
        }
    }
}
