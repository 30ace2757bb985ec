//! Binance USDⓈ-M futures: combined streams `{"stream": …, "data": …}`.
//!
//! `bookTicker` gives bbo (`u` ascends, but not by one), `aggTrade` trades (`a` ascends by one),
//! `markPrice` both a mark price and a funding rate. A side of the book that is empty comes with a
//! price and a quantity of zero; contracts without funding have an empty rate.

use std::time::Duration;

use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde::Deserialize;

use super::{
    directory::{Directory, Heard, Reply, not_json},
    event::{Body, Event, Id, Kind, TradeId},
    instrument::{Page, Trading, instrument},
    protocol::{Asking, Frames, Protocol, requests, socket},
    route::{DialRate, Route, Topic},
    symbol,
    value::{Faults, Flat, Item, List, Value, flat, side},
};

const PUBLIC: Route = socket(
    "binance.public",
    "wss://fstream.binance.com/public/stream",
    200,
);
const MARKET: Route = socket(
    "binance.market",
    "wss://fstream.binance.com/market/stream",
    200,
);
const REST: Route = requests("binance.rest", "https://fapi.binance.com");

/// How often what has to be polled is polled.
const POLLED: Duration = Duration::from_mins(1);

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "binance",
    routes: &[PUBLIC, MARKET, REST],
    rest: REST,
    lists: &["/fapi/v1/exchangeInfo"],
    instruments,
    // A weight of 2,400 a minute is allowed, each request has a weight of 1, and other programs of
    // this address need some of it.
    request_pace: Duration::from_millis(50),
    allowance: Some(("x-mbx-used-weight-1m", 1800)),
    ping: None,
    // 300 connections in five minutes.
    dial_rate: DialRate {
        burst: 20,
        every: Duration::from_millis(1100),
    },
    cadence: |kind| match kind {
        Kind::MarkPrice => Some(Duration::from_secs(1)),
        Kind::OpenInterest => Some(POLLED),
        _ => None,
    },
    topics,
    asking: Asking::Url {
        url: |base, names| {
            let names = encoded(&names.join("/"));
            format!(
                "{base}{}streams={names}",
                if base.contains('?') { '&' } else { '?' }
            )
        },
        list: |number| format!("{{\"method\":\"LIST_SUBSCRIPTIONS\",\"id\":{number}}}"),
        one: |number, name| {
            format!("{{\"method\":\"SUBSCRIBE\",\"params\":[\"{name}\"],\"id\":{number}}}")
        },
    },
    has_funding: |wire| !wire.contains('_'),
    spell: |typed| Ok(symbol::plain(typed)),
    spell_listed: symbol::plain_listed,
    frames: || Box::new(Stateless),
    answer,
};

fn topics(kind: Kind, wire: &str) -> (Route, Vec<Topic>) {
    let stream = |name: &str| {
        vec![Topic::plain(format!(
            "{}@{name}",
            wire.to_ascii_lowercase()
        ))]
    };
    match kind {
        Kind::Bbo => (PUBLIC, stream("bookTicker")),
        Kind::Trade => (MARKET, stream("aggTrade")),
        Kind::MarkPrice | Kind::Funding => (MARKET, stream("markPrice@1s")),
        Kind::Liquidation => (MARKET, stream("forceOrder")),
        Kind::OpenInterest | Kind::Instrument => (
            REST,
            vec![Topic::plain(format!(
                "/fapi/v1/openInterest?symbol={}",
                encoded(wire)
            ))],
        ),
    }
}

/// A name as a URL has it: what is not ASCII is encoded.
fn encoded(name: &str) -> String {
    utf8_percent_encode(name, &AsciiSet::EMPTY).to_string()
}

/// Each frame says all.
#[derive(Debug)]
struct Stateless;

impl Frames for Stateless {
    fn decode(
        &mut self,
        frame: &str,
        ts_recv: i64,
        wanted: &Directory,
        out: &mut Vec<Event>,
    ) -> Result<Heard, String> {
        decode(frame, ts_recv, wanted, out)
    }
}

#[derive(Deserialize)]
struct Frame<T> {
    data: T,
}

/// What every frame can be, to be told which one it is.
#[derive(Deserialize)]
struct Any<'a> {
    #[serde(borrow, default)]
    stream: Value<'a>,
    #[serde(borrow)]
    error: Option<Refusal<'a>>,
    /// A refusal may also stand in the frame itself.
    #[serde(borrow, default)]
    code: Value<'a>,
    #[serde(borrow, default)]
    msg: Value<'a>,
    #[serde(borrow, default)]
    id: Value<'a>,
    /// The topics of the connection, where they were asked for; null says that a topic was taken.
    #[serde(borrow, default)]
    result: List<'a>,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    #[serde(borrow, default)]
    msg: Value<'a>,
}

#[derive(Default, Deserialize)]
struct BookTicker<'a> {
    #[serde(rename = "s", borrow, default)]
    symbol: Value<'a>,
    #[serde(rename = "u", borrow, default)]
    update: Value<'a>,
    #[serde(rename = "b", borrow, default)]
    bid_price: Value<'a>,
    #[serde(rename = "B", borrow, default)]
    bid_qty: Value<'a>,
    #[serde(rename = "a", borrow, default)]
    ask_price: Value<'a>,
    #[serde(rename = "A", borrow, default)]
    ask_qty: Value<'a>,
    #[serde(rename = "T", borrow, default)]
    time: Value<'a>,
}

#[derive(Default, Deserialize)]
struct AggTrade<'a> {
    #[serde(rename = "s", borrow, default)]
    symbol: Value<'a>,
    #[serde(rename = "a", borrow, default)]
    id: Value<'a>,
    #[serde(rename = "p", borrow, default)]
    price: Value<'a>,
    #[serde(rename = "q", borrow, default)]
    qty: Value<'a>,
    #[serde(rename = "T", borrow, default)]
    time: Value<'a>,
    #[serde(rename = "f", borrow, default)]
    first: Value<'a>,
    #[serde(rename = "l", borrow, default)]
    last: Value<'a>,
    #[serde(rename = "m", borrow, default)]
    buyer_is_maker: Value<'a>,
}

#[derive(Default, Deserialize)]
struct MarkPrice<'a> {
    #[serde(rename = "s", borrow, default)]
    symbol: Value<'a>,
    #[serde(rename = "E", borrow, default)]
    time: Value<'a>,
    #[serde(rename = "p", borrow, default)]
    mark: Value<'a>,
    #[serde(rename = "i", borrow, default)]
    index: Value<'a>,
    #[serde(rename = "r", borrow, default)]
    rate: Value<'a>,
    #[serde(rename = "T", borrow, default)]
    next: Value<'a>,
}

impl<'a> Flat<'a> for BookTicker<'a> {
    fn slot(&mut self, key: &str) -> Option<&mut Value<'a>> {
        Some(match key {
            "s" => &mut self.symbol,
            "u" => &mut self.update,
            "b" => &mut self.bid_price,
            "B" => &mut self.bid_qty,
            "a" => &mut self.ask_price,
            "A" => &mut self.ask_qty,
            "T" => &mut self.time,
            _ => return None,
        })
    }
}

impl<'a> Flat<'a> for AggTrade<'a> {
    fn slot(&mut self, key: &str) -> Option<&mut Value<'a>> {
        Some(match key {
            "s" => &mut self.symbol,
            "a" => &mut self.id,
            "p" => &mut self.price,
            "q" => &mut self.qty,
            "T" => &mut self.time,
            "f" => &mut self.first,
            "l" => &mut self.last,
            "m" => &mut self.buyer_is_maker,
            _ => return None,
        })
    }
}

impl<'a> Flat<'a> for MarkPrice<'a> {
    fn slot(&mut self, key: &str) -> Option<&mut Value<'a>> {
        Some(match key {
            "s" => &mut self.symbol,
            "E" => &mut self.time,
            "p" => &mut self.mark,
            "i" => &mut self.index,
            "r" => &mut self.rate,
            "T" => &mut self.next,
            _ => return None,
        })
    }
}

#[derive(Deserialize)]
struct ForceOrder<'a> {
    #[serde(borrow)]
    o: Order<'a>,
}

#[derive(Deserialize)]
struct Order<'a> {
    #[serde(rename = "s", borrow, default)]
    symbol: Value<'a>,
    #[serde(rename = "S", borrow, default)]
    side: Value<'a>,
    #[serde(rename = "q", borrow, default)]
    qty: Value<'a>,
    #[serde(rename = "p", borrow, default)]
    price: Value<'a>,
    #[serde(rename = "ap", borrow, default)]
    average: Value<'a>,
    #[serde(rename = "T", borrow, default)]
    time: Value<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Held<'a> {
    #[serde(borrow, default)]
    open_interest: Value<'a>,
    #[serde(borrow, default)]
    symbol: Value<'a>,
    #[serde(borrow, default)]
    time: Value<'a>,
}

#[derive(Deserialize)]
struct ExchangeInfo<'a> {
    #[serde(borrow)]
    symbols: Vec<Item<Listed<'a>>>,
}

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow, default)]
    symbol: Value<'a>,
    #[serde(borrow, default)]
    status: Value<'a>,
    #[serde(borrow, default)]
    filters: Vec<Item<Limit<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Limit<'a> {
    #[serde(borrow, default)]
    filter_type: Value<'a>,
    #[serde(borrow, default)]
    tick_size: Value<'a>,
    #[serde(borrow, default)]
    step_size: Value<'a>,
}

impl Listed<'_> {
    fn filter<T>(&self, kind: &str, of: impl Fn(&Limit) -> Option<T>) -> Option<T> {
        let mut filters = self
            .filters
            .iter()
            .filter_map(|filter| filter.object().ok());
        filters
            .find(|filter| filter.filter_type.text() == Ok(kind))
            .and_then(of)
    }
}

/// The list of `/fapi/v1/exchangeInfo`. A contract stands for one unit of its base currency.
fn instruments(body: &str) -> Result<Page, String> {
    let info: ExchangeInfo = serde_json::from_str(body).map_err(not_json)?;
    let trading = |status: &str| match status {
        "PENDING_TRADING" => Trading::Upcoming,
        "DELIVERED" | "CLOSE" | "SETTLING" => Trading::Over,
        _ => Trading::Live,
    };
    let of = |item: &Item<Listed>| {
        let listed = item.object()?;
        let tick = listed.filter("PRICE_FILTER", |filter| filter.tick_size.amount().ok());
        let lot = listed.filter("LOT_SIZE", |filter| filter.step_size.amount().ok());
        instrument(
            &listed.symbol,
            &listed.status,
            trading,
            [tick, lot, Some(1.0), Some(1.0)],
        )
    };
    Ok(Page {
        instruments: info
            .symbols
            .iter()
            .filter_map(|item| of(item).ok())
            .collect(),
        next: None,
    })
}

/// The answer of `/fapi/v1/openInterest`.
fn answer(
    body: &str,
    ts_recv: i64,
    wanted: &Directory,
    out: &mut Vec<Event>,
) -> Result<(), String> {
    let found: Held = serde_json::from_str(body).map_err(not_json)?;
    out.push(Event {
        series: wanted.wanted(found.symbol.text()?, Kind::OpenInterest)?,
        ts_event: found.time.millis()?,
        ts_recv,
        id: Id::Time,
        number: 0,
        body: Body::OpenInterest(found.open_interest.amount()?),
    });
    Ok(())
}

fn decode(
    frame: &str,
    ts_recv: i64,
    wanted: &Directory,
    out: &mut Vec<Event>,
) -> Result<Heard, String> {
    // The name comes first in practice; reading it alone saves a second pass over the frame. One
    // with escapes is read whole.
    let named = frame
        .strip_prefix("{\"stream\":\"")
        .and_then(|rest| rest.split_once('"'))
        .map(|(name, _)| name);
    let any: Any;
    let stream = if let Some(name) = named.filter(|name| !name.contains('\\')) {
        name
    } else {
        any = serde_json::from_str(frame).map_err(not_json)?;
        match &any {
            Any {
                stream: Value::Text(name),
                ..
            } => name,
            Any {
                error: Some(Refusal { msg }),
                ..
            } => return Ok(refused(&any, msg)),
            Any { code, msg, .. } if code.present().is_some() => return Ok(refused(&any, msg)),
            Any {
                result: List(Some(names)),
                ..
            } => {
                let names = names
                    .iter()
                    .filter_map(|name| name.text().ok().map(str::to_owned));
                return Ok(Heard::Subscribed(Some(Reply::All(names.collect()))));
            }
            Any { id, .. } if *id != Value::Absent => return Ok(Heard::Subscribed(request(id))),
            _ => return Err("has no stream".to_owned()),
        }
    };
    let (name, topic) = stream
        .split_once('@')
        .ok_or_else(|| format!("stream {stream:?} is unknown"))?;
    match topic {
        "bookTicker" => out.push(quote(&read_flat(frame, stream)?, name, ts_recv, wanted)?),
        "aggTrade" => out.push(trade(&read_flat(frame, stream)?, name, ts_recv, wanted)?),
        "markPrice@1s" | "markPrice" => {
            mark(&read_flat(frame, stream)?, name, ts_recv, wanted, out)?;
        }
        "forceOrder" => out.push(liquidation(
            &read::<ForceOrder>(frame)?.o,
            name,
            ts_recv,
            wanted,
        )?),
        _ => return Err(format!("stream {stream:?} is unknown")),
    }
    Ok(Heard::Data)
}

fn refused(any: &Any, why: &Value) -> Heard {
    Heard::Refused {
        what: request(&any.id),
        text: why.text().unwrap_or("no reason given").to_owned(),
    }
}

fn request(id: &Value) -> Option<Reply> {
    id.whole()
        .ok()
        .and_then(|id| usize::try_from(id).ok())
        .map(Reply::Request)
}

/// The symbol of the data, which must be the one of the stream.
fn same_symbol<'a>(value: &'a Value, stream: &str) -> Result<&'a str, String> {
    let symbol = value.text()?;
    // A name that is percent-encoded in the stream's name is not compared.
    if symbol.eq_ignore_ascii_case(stream)
        || stream.contains('%')
        || symbol.to_lowercase() == stream.to_lowercase()
    {
        Ok(symbol)
    } else {
        Err(format!("the stream of {stream:?} has data of {symbol:?}"))
    }
}

fn quote(
    quote: &BookTicker,
    stream: &str,
    ts_recv: i64,
    wanted: &Directory,
) -> Result<Event, String> {
    let (bid_price, bid_qty) = side(quote.bid_price.amount()?, quote.bid_qty.amount()?);
    let (ask_price, ask_qty) = side(quote.ask_price.amount()?, quote.ask_qty.amount()?);
    let number = quote.update.whole()?;
    Ok(Event {
        series: wanted.wanted(same_symbol(&quote.symbol, stream)?, Kind::Bbo)?,
        ts_event: quote.time.millis()?,
        ts_recv,
        id: Id::Ascending(number),
        number: quote.update.signed()?,
        body: Body::Bbo {
            bid_price,
            bid_qty,
            ask_price,
            ask_qty,
        },
    })
}

fn trade(
    trade: &AggTrade,
    stream: &str,
    ts_recv: i64,
    wanted: &Directory,
) -> Result<Event, String> {
    let number = trade.id.whole()?;
    let single = |id: &Value| id.present().map_or(Ok(-1), Value::signed);
    Ok(Event {
        series: wanted.wanted(same_symbol(&trade.symbol, stream)?, Kind::Trade)?,
        ts_event: trade.time.millis()?,
        ts_recv,
        id: Id::Consecutive(number),
        number: trade.id.signed()?,
        body: Body::Trade {
            price: trade.price.amount()?,
            qty: trade.qty.amount()?,
            side: if trade.buyer_is_maker.truth()? { -1 } else { 1 },
            id: TradeId::Number(number),
            first_id: single(&trade.first)?,
            last_id: single(&trade.last)?,
        },
    })
}

fn liquidation(
    order: &Order,
    stream: &str,
    ts_recv: i64,
    wanted: &Directory,
) -> Result<Event, String> {
    let side = match order.side.text()? {
        "BUY" => 1,
        "SELL" => -1,
        other => return Err(format!("{other:?} is not a side")),
    };
    let average_price = order
        .average
        .present()
        .map(Value::amount)
        .transpose()?
        .filter(|price| *price > 0.0);
    Ok(Event {
        series: wanted.wanted(same_symbol(&order.symbol, stream)?, Kind::Liquidation)?,
        ts_event: order.time.millis()?,
        ts_recv,
        id: Id::Time,
        number: 0,
        body: Body::Liquidation {
            price: order.price.amount()?,
            qty: order.qty.amount()?,
            average_price,
            side,
        },
    })
}

/// A frame of two streams: what is wrong with one of them costs nothing of the other.
fn mark(
    mark: &MarkPrice,
    stream: &str,
    ts_recv: i64,
    wanted: &Directory,
    out: &mut Vec<Event>,
) -> Result<(), String> {
    let symbol = same_symbol(&mark.symbol, stream)?;
    let ts_event = mark.time.millis()?;
    let (price, funding) = (
        wanted.place(symbol, Kind::MarkPrice),
        wanted.place(symbol, Kind::Funding),
    );
    if price.is_none() && funding.is_none() {
        return Err(format!("markPrice of {symbol:?} was not asked for"));
    }
    let mut faults = Faults::default();
    let event = |series, body| Event {
        series,
        ts_event,
        ts_recv,
        id: Id::Time,
        number: 0,
        body,
    };
    if let Some(series) = price {
        let index_price = mark
            .index
            .present()
            .and_then(|index| faults.sort(index.amount()));
        let body = mark.mark.amount().map(|mark_price| Body::MarkPrice {
            mark_price,
            index_price,
        });
        out.extend(faults.sort(body).map(|body| event(series, body)));
    }
    // Delivery contracts have no funding and say so by an empty rate.
    if let (Some(series), Some(rate)) = (funding, mark.rate.present()) {
        let body = rate.rate().and_then(|rate| {
            Ok(Body::Funding {
                rate,
                next_ns: mark.next.millis()?,
            })
        });
        out.extend(faults.sort(body).map(|body| event(series, body)));
    }
    faults.end()
}

/// The data of a frame as Binance writes it: behind the name of its stream, flat, and nothing
/// behind it; of any other, as JSON.
fn read_flat<'a, T: Deserialize<'a> + Flat<'a>>(frame: &'a str, stream: &str) -> Result<T, String> {
    let data = frame
        .strip_prefix("{\"stream\":\"")
        .and_then(|rest| rest.strip_prefix(stream)?.strip_prefix("\",\"data\":"));
    match data.and_then(flat) {
        Some((found, "}")) => Ok(found),
        _ => read(frame),
    }
}

fn read<'a, T: Deserialize<'a>>(frame: &'a str) -> Result<T, String> {
    serde_json::from_str::<Frame<T>>(frame)
        .map(|frame| frame.data)
        .map_err(not_json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Directory {
        let mut wanted = Directory::default();
        let kinds = [
            Kind::Bbo,
            Kind::Trade,
            Kind::MarkPrice,
            Kind::Funding,
            Kind::Liquidation,
            Kind::OpenInterest,
        ];
        for (place, kind) in kinds.into_iter().enumerate() {
            wanted.add("BTCUSDT", kind, place);
        }
        wanted
    }

    fn of(frame: &str) -> Result<(Heard, Vec<Event>), String> {
        let mut out = Vec::new();
        decode(frame, 7, &wanted(), &mut out).map(|heard| (heard, out))
    }

    const QUOTE: &str = r#"{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":400900217,"s":"BTCUSDT","b":"25.35190000","B":"31.21","a":"25.36520000","A":"40.66","T":1568014460891,"E":1568014460893}}"#;

    #[test]
    fn quotes() {
        let (heard, events) = of(QUOTE).unwrap();
        assert_eq!(heard, Heard::Data);
        let body = Body::Bbo {
            bid_price: 25.3519,
            bid_qty: 31.21,
            ask_price: 25.3652,
            ask_qty: 40.66,
        };
        let want = Event {
            series: 0,
            ts_event: 1_568_014_460_891_000_000,
            ts_recv: 7,
            id: Id::Ascending(400_900_217),
            number: 400_900_217,
            body,
        };
        assert_eq!(events, std::slice::from_ref(&want));
        // The order of the keys and added fields do not matter.
        let turned = QUOTE
            .replace(r#""stream":"btcusdt@bookTicker","#, r#""new":[1,{}],"#)
            .replace("}}", r#","added":null},"stream":"btcusdt@bookTicker"}"#);
        assert_eq!(of(&turned).unwrap().1, [want]);
    }

    #[test]
    fn trades_and_their_sides() {
        let frame = |maker: bool| {
            format!(
                r#"{{"stream":"btcusdt@aggTrade","data":{{"e":"aggTrade","E":123456789,"s":"BTCUSDT","a":5933014,"p":"0.001","q":"100","f":100,"l":105,"T":1568014460891,"m":{maker}}}}}"#
            )
        };
        let (_, events) = of(&frame(true)).unwrap();
        assert_eq!(
            (events[0].series, events[0].id),
            (1, Id::Consecutive(5_933_014))
        );
        assert_eq!(
            events[0].body,
            Body::Trade {
                price: 0.001,
                qty: 100.0,
                side: -1,
                id: TradeId::Number(5_933_014),
                first_id: 100,
                last_id: 105
            }
        );
        assert!(matches!(
            of(&frame(false)).unwrap().1[0].body,
            Body::Trade { side: 1, .. }
        ));
    }

    #[test]
    fn a_mark_price_is_two_events() {
        let (_, events) = of(r#"{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15000000","i":"11784.62659091","P":"11784.25641265","r":"-0.00038167","T":1562306400000}}"#).unwrap();
        assert_eq!(
            events[0].body,
            Body::MarkPrice {
                mark_price: 11_794.15,
                index_price: Some(11_784.626_590_91)
            }
        );
        assert_eq!(
            events[1].body,
            Body::Funding {
                rate: -0.000_381_67,
                next_ns: 1_562_306_400_000_000_000
            }
        );
        assert_eq!(
            (events[1].series, events[1].ts_event),
            (3, 1_562_305_380_000_000_000)
        );
    }

    #[test]
    fn liquidations_have_the_side_of_the_order_that_closes() {
        let frame = r#"{"stream":"btcusdt@forceOrder","data":{"e":"forceOrder","E":1568014460893,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.014","p":"9910","ap":"9911.5","X":"FILLED","l":"0.014","z":"0.014","T":1568014460890}}}"#;
        let (_, events) = of(frame).unwrap();
        let body = |average_price| Body::Liquidation {
            price: 9910.0,
            qty: 0.014,
            average_price,
            side: -1,
        };
        assert_eq!(
            (events[0].series, events[0].ts_event),
            (4, 1_568_014_460_890_000_000)
        );
        assert_eq!(events[0].body, body(Some(9911.5)));
        assert_eq!(
            of(&frame.replace("9911.5", "0")).unwrap().1[0].body,
            body(None),
            "nothing is filled yet"
        );
        assert!(
            of(&frame.replace("SELL", "sold")).is_err()
                && of(&frame.replace("\"9910\"", "9910")).is_err()
        );
    }

    #[test]
    fn lists_and_polled_answers_are_read() {
        let body = r#"{"serverTime":1,"symbols":[{"symbol":"BTCUSDT","status":"TRADING","contractType":"PERPETUAL","filters":[7,{"filterType":"PRICE_FILTER","tickSize":"0.10"},{"filterType":"LOT_SIZE","stepSize":"0.001"}]},
            {"symbol":"币安人生USDT","status":"PENDING_TRADING","filters":[]},3,{"symbol":"OLDUSDT","status":"CLOSE","filters":[]}]}"#;
        let list = instruments(body).unwrap().instruments;
        let told: Vec<_> = list
            .iter()
            .map(|i| (i.wire.as_str(), i.trading, i.tick_size, i.lot_size))
            .collect();
        assert_eq!(
            told,
            [
                ("BTCUSDT", Trading::Live, Some(0.1), Some(0.001)),
                ("币安人生USDT", Trading::Upcoming, None, None),
                ("OLDUSDT", Trading::Over, None, None),
            ]
        );
        let mut out = Vec::new();
        let text = r#"{"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}"#;
        answer(text, 7, &wanted(), &mut out).unwrap();
        assert_eq!(
            (out[0].series, &out[0].body),
            (5, &Body::OpenInterest(10_659.509))
        );
        assert!(
            answer(
                r#"{"code":-1121,"msg":"Invalid symbol."}"#,
                7,
                &wanted(),
                &mut out
            )
            .is_err()
        );
    }

    #[test]
    fn a_field_that_is_unusable_costs_its_own_event() {
        let (wanted, mut out) = (wanted(), Vec::new());
        let frame = |i: &str, r: &str, next: &str| {
            format!(
                r#"{{"stream":"btcusdt@markPrice@1s","data":{{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15","i":{i},"P":"1","r":{r},"T":{next}}}}}"#
            )
        };
        let mut check = |frame: String, fine: bool, series: &[usize], index: Option<f64>| {
            out.clear();
            assert_eq!(
                decode(&frame, 7, &wanted, &mut out).is_ok(),
                fine,
                "{frame}"
            );
            assert_eq!(
                out.iter().map(|e| e.series).collect::<Vec<_>>(),
                series,
                "{frame}"
            );
            if let Some(Event {
                body: Body::MarkPrice { index_price, .. },
                ..
            }) = out.first()
            {
                assert_eq!(*index_price, index, "{frame}");
            }
        };
        // An empty text is how an index, or a rate, that does not exist is written.
        check(
            frame(r#""""#, r#""0.1""#, "1562306400000"),
            true,
            &[2, 3],
            None,
        );
        check(frame(r#""1.5""#, r#""""#, "0"), true, &[2], Some(1.5));
        check(frame("null", r#""""#, "0"), true, &[2], None);
        // What is wrong is a fault, of the event that it belongs to.
        check(frame(r#""1.5""#, r#""0.1""#, "0"), false, &[2], Some(1.5));
        check(
            frame("7", r#""0.1""#, "1562306400000"),
            false,
            &[2, 3],
            None,
        );
        check(
            frame(r#""1.5""#, "[]", "1562306400000"),
            false,
            &[2],
            Some(1.5),
        );
        check(
            frame(r#""1.5""#, r#""0.1""#, "1562306400000").replace("\"11794.15\"", "\"\""),
            false,
            &[3],
            None,
        );
    }

    #[test]
    fn a_side_of_nothing_at_zero_is_empty() {
        let frame = QUOTE
            .replace("25.35190000", "0.00")
            .replace("31.21", "0.000");
        let (_, events) = of(&frame).unwrap();
        let Body::Bbo {
            bid_price,
            bid_qty,
            ask_price,
            ask_qty,
        } = events[0].body
        else {
            panic!("no quote")
        };
        assert!(bid_price.is_nan() && bid_qty.is_nan());
        assert_eq!(
            (ask_price.to_bits(), ask_qty.to_bits()),
            (25.3652_f64.to_bits(), 40.66_f64.to_bits())
        );
    }

    #[test]
    fn escapes_are_decoded_wherever_they_stand() {
        let escaped = QUOTE
            .replace("btcusdt@bookTicker\",", "btcusdt\\u0040bookTicker\",")
            .replace("25.35", "25\\u002e35");
        assert_ne!(escaped, QUOTE);
        assert_eq!(of(&escaped).unwrap(), of(QUOTE).unwrap());
    }

    #[test]
    fn answers_are_told_from_data() {
        assert_eq!(
            of(r#"{"result":null,"id":1}"#).unwrap().0,
            Heard::Subscribed(Some(Reply::Request(1)))
        );
        for frame in [
            r#"{"error":{"code":2,"msg":"Invalid request"},"id":1}"#,
            r#"{"code":2,"msg":"Invalid request","id":1}"#,
        ] {
            let what = Some(Reply::Request(1));
            assert_eq!(
                of(frame).unwrap().0,
                Heard::Refused {
                    what,
                    text: "Invalid request".to_owned()
                }
            );
        }
        let all = Reply::All(vec!["btcusdt@forceOrder".to_owned(), "b@c".to_owned()]);
        let listed = of(r#"{"result":["btcusdt@forceOrder",7,"b\u0040c"],"id":3}"#)
            .unwrap()
            .0;
        assert_eq!(listed, Heard::Subscribed(Some(all)));
        assert_eq!(
            of(r#"{"result":[],"id":3}"#).unwrap().0,
            Heard::Subscribed(Some(Reply::All(Vec::new())))
        );
    }

    #[test]
    fn wrong_frames_are_refused() {
        let with = |from: &str, to: &str| QUOTE.replace(from, to);
        for frame in [
            with(r#""25.35190000""#, "25.3519"),
            with("25.35190000", "NaN"),
            with("25.35190000", "-25"),
            with(r#""31.21""#, r#""""#),
            with("1568014460891", "1568014460"),
            with(r#""u":400900217"#, r#""u":-1"#),
            with(r#""s":"BTCUSDT""#, r#""s":"DOGEUSDT""#),
            with("btcusdt@", "dogeusdt@"),
            with("bookTicker\"", "depth5\""),
            with(r#""s":"BTCUSDT","#, ""),
            with("bookTicker\"", "kline\""),
            QUOTE[..90].to_owned(),
            String::new(),
            "null".to_owned(),
            "{}".to_owned(),
        ] {
            assert!(of(&frame).is_err(), "{frame}");
        }
    }
}
