//! Bybit v5, linear contracts: `orderbook.1` gives bbo, `publicTrade` trades, `tickers` mark price,
//! funding and open interest.
//!
//! A ticker is one snapshot, then changes that hold only what changed: the last state is kept per
//! symbol, and an event is made of it for each stream that the change touches. A book of depth 1
//! comes as snapshots; a change, if one comes, is applied to the last one. Empty texts mean that
//! there is no such value (contracts without funding).

use std::{collections::HashMap, time::Duration};

use serde::Deserialize;

use super::{
    directory::{Directory, Heard, Reply, not_json},
    event::{Body, Event, Id, Kind, TradeId},
    instrument::{Page, Trading, instrument},
    protocol::{Asking, Frames, Protocol, not_polled, requests, socket},
    route::{DialRate, Route, Topic},
    symbol,
    value::{Faults, Item, Levels, Value},
};

const LINEAR: Route = socket(
    "bybit.linear",
    "wss://stream.bybit.com/v5/public/linear",
    200,
);
const REST: Route = requests("bybit.rest", "https://api.bybit.com");

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "bybit",
    routes: &[LINEAR, REST],
    rest: REST,
    lists: &["/v5/market/instruments-info?category=linear&limit=1000"],
    instruments,
    request_pace: Duration::from_millis(200),
    allowance: None,
    ping: Some("{\"op\":\"ping\"}"),
    // 500 connections in five minutes.
    dial_rate: DialRate {
        burst: 20,
        every: Duration::from_millis(700),
    },
    // A book is pushed again when nothing has changed.
    cadence: |kind| (kind == Kind::Bbo).then_some(Duration::from_secs(3)),
    topics: |kind, wire| {
        let channel = match kind {
            Kind::Bbo => "orderbook.1",
            Kind::Trade => "publicTrade",
            Kind::Liquidation => "allLiquidation",
            Kind::MarkPrice | Kind::Funding | Kind::OpenInterest | Kind::Instrument => "tickers",
        };
        (LINEAR, vec![Topic::plain(format!("{channel}.{wire}"))])
    },
    // An unknown topic has its whole message refused: one topic a message.
    asking: Asking::Messages {
        one: |number, name| {
            format!("{{\"req_id\":\"{number}\",\"op\":\"subscribe\",\"args\":[\"{name}\"]}}")
        },
        many: None,
    },
    has_funding: |wire| !wire.contains('-'),
    spell: |typed| Ok(symbol::plain(typed)),
    spell_listed: symbol::plain_listed,
    frames: || Box::new(State::default()),
    answer: not_polled,
};

impl Frames for State {
    fn decode(
        &mut self,
        frame: &str,
        ts_recv: i64,
        wanted: &Directory,
        out: &mut Vec<Event>,
    ) -> Result<Heard, String> {
        decode(frame, ts_recv, wanted, self, out)
    }
}

#[derive(Deserialize)]
struct Any<'a> {
    #[serde(borrow, default)]
    topic: Value<'a>,
    #[serde(borrow, default)]
    op: Value<'a>,
    #[serde(borrow, default)]
    success: Value<'a>,
    #[serde(borrow, default)]
    ret_msg: Value<'a>,
    #[serde(borrow, default)]
    req_id: Value<'a>,
}

#[derive(Deserialize)]
struct Book<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Value<'a>,
    #[serde(borrow, default)]
    ts: Value<'a>,
    /// When the matching engine made it.
    #[serde(borrow, default)]
    cts: Value<'a>,
    #[serde(borrow)]
    data: BookData<'a>,
}

#[derive(Deserialize)]
struct BookData<'a> {
    #[serde(borrow, default)]
    s: Value<'a>,
    #[serde(borrow, default)]
    b: Levels<'a>,
    #[serde(borrow, default)]
    a: Levels<'a>,
    #[serde(borrow, default)]
    u: Value<'a>,
    #[serde(borrow, default)]
    seq: Value<'a>,
}

#[derive(Deserialize)]
struct Trades<'a> {
    #[serde(borrow)]
    data: Vec<Item<Trade<'a>>>,
}

/// A trade, or a liquidation, which has neither `i` nor `seq`.
#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(rename = "T", borrow, default)]
    time: Value<'a>,
    #[serde(borrow, default)]
    s: Value<'a>,
    #[serde(rename = "S", borrow, default)]
    side: Value<'a>,
    #[serde(borrow, default)]
    v: Value<'a>,
    #[serde(borrow, default)]
    p: Value<'a>,
    #[serde(borrow, default)]
    i: Value<'a>,
    #[serde(borrow, default)]
    seq: Value<'a>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    result: Listing<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing<'a> {
    #[serde(borrow)]
    list: Vec<Item<Listed<'a>>>,
    #[serde(borrow, default)]
    next_page_cursor: Value<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    #[serde(borrow, default)]
    symbol: Value<'a>,
    #[serde(borrow, default)]
    status: Value<'a>,
    #[serde(borrow, default)]
    price_filter: Option<Item<Steps<'a>>>,
    #[serde(borrow, default)]
    lot_size_filter: Option<Item<Steps<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Steps<'a> {
    #[serde(borrow, default)]
    tick_size: Value<'a>,
    #[serde(borrow, default)]
    qty_step: Value<'a>,
}

/// A page of `/v5/market/instruments-info`. A contract stands for one unit of its base currency.
fn instruments(body: &str) -> Result<Page, String> {
    let answer: Answer = serde_json::from_str(body).map_err(not_json)?;
    let trading = |status: &str| match status {
        "PreLaunch" => Trading::Upcoming,
        "Closed" | "Delivered" => Trading::Over,
        _ => Trading::Live,
    };
    let of = |item: &Item<Listed>| {
        let listed = item.object()?;
        let price = listed
            .price_filter
            .as_ref()
            .and_then(|steps| steps.object().ok());
        let size = listed
            .lot_size_filter
            .as_ref()
            .and_then(|steps| steps.object().ok());
        let tick = price.and_then(|steps| steps.tick_size.amount().ok());
        let lot = size.and_then(|steps| steps.qty_step.amount().ok());
        instrument(
            &listed.symbol,
            &listed.status,
            trading,
            [tick, lot, Some(1.0), Some(1.0)],
        )
    };
    let cursor = answer
        .result
        .next_page_cursor
        .present()
        .and_then(|cursor| cursor.text().ok());
    Ok(Page {
        instruments: answer
            .result
            .list
            .iter()
            .filter_map(|item| of(item).ok())
            .collect(),
        // It comes encoded as a URL wants it.
        next: cursor.map(|cursor| format!("&cursor={cursor}")),
    })
}

#[derive(Deserialize)]
struct Ticker<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Value<'a>,
    #[serde(borrow, default)]
    ts: Value<'a>,
    #[serde(borrow, default)]
    cs: Value<'a>,
    #[serde(borrow)]
    data: Fields<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow, default)]
    symbol: Value<'a>,
    #[serde(borrow, default)]
    mark_price: Value<'a>,
    #[serde(borrow, default)]
    index_price: Value<'a>,
    #[serde(borrow, default)]
    funding_rate: Value<'a>,
    #[serde(borrow, default)]
    next_funding_time: Value<'a>,
    #[serde(borrow, default)]
    open_interest: Value<'a>,
}

/// What this connection has told so far, by symbol.
#[derive(Debug, Default)]
struct State {
    tickers: HashMap<String, Last>,
    books: HashMap<String, Best>,
}

/// The last values of a ticker.
#[derive(Debug, Default, Clone, Copy)]
struct Last {
    mark: Option<f64>,
    index: Option<f64>,
    rate: Option<f64>,
    next_ns: Option<i64>,
    interest: Option<f64>,
}

/// The best level of each side; `None` where the side is empty.
#[derive(Debug, Default, Clone, Copy)]
struct Best {
    bid: Option<(f64, f64)>,
    ask: Option<(f64, f64)>,
}

fn decode(
    frame: &str,
    ts_recv: i64,
    wanted: &Directory,
    state: &mut State,
    out: &mut Vec<Event>,
) -> Result<Heard, String> {
    let named = frame
        .strip_prefix("{\"topic\":\"")
        .and_then(|rest| rest.split_once('"'))
        .map(|(name, _)| name);
    let any: Any;
    let topic = if let Some(name) = named.filter(|name| !name.contains('\\')) {
        name
    } else {
        any = serde_json::from_str(frame).map_err(not_json)?;
        match &any.topic {
            Value::Text(topic) => topic,
            _ => return answer(&any),
        }
    };
    let mut parts = topic.splitn(3, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("orderbook"), Some("1"), Some(symbol)) => {
            out.push(state.quote(frame, symbol, ts_recv, wanted)?);
        }
        (Some("orderbook"), Some(depth), Some(_)) => {
            return Err(format!(
                "topic {topic:?} has the depth {depth:?}, which was not asked for"
            ));
        }
        (Some("publicTrade"), Some(_), _) => {
            let symbol = topic.split_once('.').map_or("", |(_, symbol)| symbol);
            let trades: Trades = serde_json::from_str(frame).map_err(not_json)?;
            let mut faults = Faults::default();
            for trade in &trades.data {
                let event = trade
                    .object()
                    .and_then(|trade| trade.event(symbol, ts_recv, wanted));
                out.extend(faults.sort(event));
            }
            faults.end()?;
        }
        (Some("allLiquidation"), Some(_), _) => {
            let symbol = topic.split_once('.').map_or("", |(_, symbol)| symbol);
            let all: Trades = serde_json::from_str(frame).map_err(not_json)?;
            let mut faults = Faults::default();
            for one in &all.data {
                out.extend(
                    faults.sort(
                        one.object()
                            .and_then(|one| one.liquidation(symbol, ts_recv, wanted)),
                    ),
                );
            }
            faults.end()?;
        }
        (Some("tickers"), Some(_), _) => {
            let symbol = topic.split_once('.').map_or("", |(_, symbol)| symbol);
            let ticker: Ticker = serde_json::from_str(frame).map_err(not_json)?;
            state.ticker(&ticker, symbol, ts_recv, wanted, out)?;
        }
        _ => return Err(format!("topic {topic:?} is unknown")),
    }
    Ok(Heard::Data)
}

/// A frame without a topic: the answer to something that was asked.
fn answer(any: &Any) -> Result<Heard, String> {
    let Value::Text(op) = &any.op else {
        return Err("has no topic".to_owned());
    };
    let what = any
        .req_id
        .present()
        .and_then(|id| usize::try_from(id.whole().ok()?).ok())
        .map(Reply::Request);
    Ok(match (&**op, &any.success) {
        ("pong", _) => Heard::Pong,
        (op, Value::Truth(false)) => {
            let why = any
                .ret_msg
                .present()
                .and_then(|text| text.text().ok())
                .unwrap_or("no reason given");
            Heard::Refused {
                what,
                text: format!("{op}: {why}"),
            }
        }
        ("ping", _) => Heard::Pong,
        ("subscribe", Value::Truth(true)) => Heard::Subscribed(what),
        _ => Heard::Other,
    })
}

/// Refuses data of another symbol than its topic names.
fn same_symbol(topic: &str, data: &Value) -> Result<(), String> {
    match data.present() {
        Some(symbol) if symbol.text()? != topic => {
            Err(format!("the topic of {topic:?} has data of {symbol}"))
        }
        _ => Ok(()),
    }
}

impl Trade<'_> {
    fn side(&self) -> Result<i8, String> {
        match self.side.text()? {
            "Buy" => Ok(1),
            "Sell" => Ok(-1),
            other => Err(format!("{other:?} is not a side")),
        }
    }

    fn liquidation(&self, symbol: &str, ts_recv: i64, wanted: &Directory) -> Result<Event, String> {
        same_symbol(symbol, &self.s)?;
        // The side of the position: a long one is closed by an order that sells.
        let side = -self.side()?;
        let body = Body::Liquidation {
            price: self.p.amount()?,
            qty: self.v.amount()?,
            average_price: None,
            side,
        };
        Ok(Event {
            series: wanted.wanted(symbol, Kind::Liquidation)?,
            ts_event: self.time.millis()?,
            ts_recv,
            id: Id::Time,
            number: 0,
            body,
        })
    }

    fn event(&self, symbol: &str, ts_recv: i64, wanted: &Directory) -> Result<Event, String> {
        same_symbol(symbol, &self.s)?;
        let side = self.side()?;
        let id = self.i.present().ok_or("a trade has no id")?.text()?;
        let number = self
            .seq
            .present()
            .map(Value::signed)
            .transpose()?
            .unwrap_or(0);
        let (price, qty, id) = (self.p.amount()?, self.v.amount()?, TradeId::Text(id.into()));
        Ok(Event {
            series: wanted.wanted(symbol, Kind::Trade)?,
            ts_event: self.time.millis()?,
            ts_recv,
            id: if number > 0 {
                Id::Shared(number.unsigned_abs())
            } else {
                Id::Time
            },
            number,
            body: Body::Trade {
                price,
                qty,
                side,
                id,
                first_id: -1,
                last_id: -1,
            },
        })
    }
}

impl State {
    fn quote(
        &mut self,
        frame: &str,
        symbol: &str,
        ts_recv: i64,
        wanted: &Directory,
    ) -> Result<Event, String> {
        let book: Book = serde_json::from_str(frame).map_err(not_json)?;
        let series = wanted.wanted(symbol, Kind::Bbo)?;
        same_symbol(symbol, &book.data.s)?;
        let ts_event = book.cts.present().unwrap_or(&book.ts).millis()?;
        let update = book.data.u.whole()?;
        let number = book
            .data
            .seq
            .present()
            .map(Value::signed)
            .transpose()?
            .unwrap_or(0);
        let (bids, asks) = (book.data.b.all()?, book.data.a.all()?);
        let before = match book.kind.text()? {
            "snapshot" => Best::default(),
            "delta" => *self
                .books
                .get(symbol)
                .ok_or("a change came before its snapshot")?,
            other => return Err(format!("{other:?} is neither snapshot nor delta")),
        };
        let best = Best {
            bid: applied(before.bid, &bids, |new, old| new > old),
            ask: applied(before.ask, &asks, |new, old| new < old),
        };
        if let Some(slot) = self.books.get_mut(symbol) {
            *slot = best;
        } else {
            let _ = self.books.insert(symbol.to_owned(), best);
        }
        let of = |side: Option<(f64, f64)>| side.unwrap_or((f64::NAN, f64::NAN));
        let ((bid_price, bid_qty), (ask_price, ask_qty)) = (of(best.bid), of(best.ask));
        Ok(Event {
            series,
            ts_event,
            ts_recv,
            id: Id::Ascending(update),
            number,
            body: Body::Bbo {
                bid_price,
                bid_qty,
                ask_price,
                ask_qty,
            },
        })
    }

    fn ticker(
        &mut self,
        ticker: &Ticker,
        symbol: &str,
        ts_recv: i64,
        wanted: &Directory,
        out: &mut Vec<Event>,
    ) -> Result<(), String> {
        let fields = &ticker.data;
        same_symbol(symbol, &fields.symbol)?;
        let kinds = [Kind::MarkPrice, Kind::Funding, Kind::OpenInterest];
        let [mark, funding, interest] = kinds.map(|kind| wanted.place(symbol, kind));
        if mark.is_none() && funding.is_none() && interest.is_none() {
            return Err(format!("the ticker of {symbol:?} was not asked for"));
        }
        let before = match ticker.kind.text()? {
            "snapshot" => Last::default(),
            "delta" => *self
                .tickers
                .get(symbol)
                .ok_or("a change came before its snapshot")?,
            other => return Err(format!("{other:?} is neither snapshot nor delta")),
        };
        let mut faults = Faults::default();
        let mut read = |value: &Value, is_rate: bool| {
            value.present().and_then(|value| {
                faults.sort(if is_rate {
                    value.rate()
                } else {
                    value.amount()
                })
            })
        };
        let new = Last {
            mark: read(&fields.mark_price, false),
            index: read(&fields.index_price, false),
            rate: read(&fields.funding_rate, true),
            interest: read(&fields.open_interest, false),
            next_ns: None,
        };
        let next_ns = fields
            .next_funding_time
            .present()
            .and_then(|value| faults.sort(value.millis()));
        let last = Last {
            mark: new.mark.or(before.mark),
            index: new.index.or(before.index),
            rate: new.rate.or(before.rate),
            next_ns: next_ns.or(before.next_ns),
            interest: new.interest.or(before.interest),
        };
        // What could be read is known from now on, whatever else is wrong with this frame.
        if let Some(slot) = self.tickers.get_mut(symbol) {
            *slot = last;
        } else {
            let _ = self.tickers.insert(symbol.to_owned(), last);
        }
        let ts_event = ticker.ts.millis()?;
        let number = ticker
            .cs
            .present()
            .and_then(|cs| faults.sort(cs.signed()))
            .unwrap_or(0);
        let id = if number > 0 {
            Id::Shared(number.unsigned_abs())
        } else {
            Id::Time
        };
        let mut push = |series, body| {
            out.push(Event {
                series,
                ts_event,
                ts_recv,
                id,
                number,
                body,
            });
        };
        if let (Some(series), Some(mark_price), true) =
            (mark, last.mark, new.mark.is_some() || new.index.is_some())
        {
            push(
                series,
                Body::MarkPrice {
                    mark_price,
                    index_price: last.index,
                },
            );
        }
        let touched = new.rate.is_some() || next_ns.is_some();
        if let (Some(series), Some(rate), Some(next_ns), true) =
            (funding, last.rate, last.next_ns, touched)
        {
            push(series, Body::Funding { rate, next_ns });
        }
        if let (Some(series), Some(value)) = (interest, new.interest) {
            push(series, Body::OpenInterest(value));
        }
        faults.end()
    }
}

/// The best level of a side after these levels came: a quantity of zero takes a level away.
fn applied(
    before: Option<(f64, f64)>,
    levels: &[(f64, f64)],
    better: impl Fn(f64, f64) -> bool,
) -> Option<(f64, f64)> {
    let mut best = before.filter(|(price, _)| {
        !levels
            .iter()
            .any(|(at, qty)| at.to_bits() == price.to_bits() || *qty > 0.0)
    });
    for (price, qty) in levels.iter().filter(|(_, qty)| *qty > 0.0) {
        if best.is_none_or(|(old, _)| better(*price, old)) {
            best = Some((*price, *qty));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Directory {
        let mut wanted = Directory::default();
        for kind in Kind::ALL {
            wanted.add("BTCUSDT", kind, kind.index());
        }
        wanted
    }

    fn of(frames: &[&str]) -> Vec<Result<(Heard, Vec<Event>), String>> {
        let (wanted, mut state) = (wanted(), State::default());
        let one = |frame: &&str| {
            let mut out = Vec::new();
            decode(frame, 7, &wanted, &mut state, &mut out).map(|heard| (heard, out))
        };
        frames.iter().map(one).collect()
    }

    #[test]
    fn quotes_have_the_time_of_the_matching_engine() {
        let frame = r#"{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":1672304484978,"data":{"s":"BTCUSDT","b":[["16493.50","0.006"]],"a":[["16611.00","0.029"]],"u":18521288,"seq":7961638724},"cts":1672304484976}"#;
        let empty = frame.replace(r#"[["16611.00","0.029"]]"#, "[]");
        let got = of(&[frame, &empty]);
        let (_, events) = got[0].as_ref().unwrap();
        assert_eq!(
            (events[0].ts_event, events[0].id, events[0].number),
            (
                1_672_304_484_976_000_000,
                Id::Ascending(18_521_288),
                7_961_638_724
            )
        );
        assert_eq!(
            events[0].body,
            Body::Bbo {
                bid_price: 16_493.5,
                bid_qty: 0.006,
                ask_price: 16_611.0,
                ask_qty: 0.029
            }
        );
        let (_, events) = got[1].as_ref().unwrap();
        assert!(
            matches!(events[0].body, Body::Bbo { ask_price, ask_qty, .. } if ask_price.is_nan() && ask_qty.is_nan())
        );
    }

    #[test]
    fn liquidations_have_the_side_of_the_order_that_closes() {
        let frame = r#"{"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":1739502303204,"data":[{"T":1739502302929,"s":"BTCUSDT","S":"Buy","v":"20000","p":"0.04499"},{"T":0},{"T":1739502302930,"s":"BTCUSDT","S":"Sell","v":"1","p":"2"}]}"#;
        let (wanted, mut state, mut out) = (wanted(), State::default(), Vec::new());
        assert!(
            decode(frame, 7, &wanted, &mut state, &mut out).is_err(),
            "one of them is none"
        );
        let body = |price, qty, side| Body::Liquidation {
            price,
            qty,
            average_price: None,
            side,
        };
        let bodies: Vec<_> = out.into_iter().map(|event| event.body).collect();
        assert_eq!(bodies, [body(0.04499, 20_000.0, -1), body(2.0, 1.0, 1)]);
    }

    #[test]
    fn lists_have_pages() {
        let body = r#"{"retCode":0,"result":{"category":"linear","list":[{"symbol":"BTCUSDT","status":"Trading","priceFilter":{"tickSize":"0.10"},"lotSizeFilter":{"qtyStep":"0.001"}},{"symbol":"NEWUSDT","status":"PreLaunch","priceFilter":3}],"nextPageCursor":"a%3Db"}}"#;
        let page = instruments(body).unwrap();
        let told: Vec<_> = page
            .instruments
            .iter()
            .map(|i| (i.wire.as_str(), i.trading, i.tick_size))
            .collect();
        assert_eq!(
            told,
            [
                ("BTCUSDT", Trading::Live, Some(0.1)),
                ("NEWUSDT", Trading::Upcoming, None)
            ]
        );
        assert_eq!(page.next.as_deref(), Some("&cursor=a%3Db"));
        assert_eq!(instruments(&body.replace("a%3Db", "")).unwrap().next, None);
        assert!(instruments(r#"{"retCode":10006,"retMsg":"Too many visits"}"#).is_err());
    }

    #[test]
    fn trades_come_in_lists() {
        let frame = r#"{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"seq":1783284617},{"T":1672304486866,"s":"BTCUSDT","S":"Sell","v":"2","p":"16578.00","L":"PlusTick","i":"x","BT":false,"seq":1783284617}]}"#;
        let wrong = frame.replace("Sell", "Sold");
        let got = of(&[frame, &wrong]);
        let (_, events) = got[0].as_ref().unwrap();
        assert_eq!(events.len(), 2);
        assert!(
            matches!(&events[1].body, Body::Trade { side: -1, id: TradeId::Text(id), .. } if &**id == "x")
        );
        assert_eq!(got[1].as_ref().unwrap_err(), "\"Sold\" is not a side");
    }

    #[test]
    fn changes_are_applied_to_the_last_state() {
        let snapshot = r#"{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","tickDirection":"PlusTick","markPrice":"17217.33","indexPrice":"17227.36","openInterest":"68744.761","nextFundingTime":"1673280000000","fundingRate":"-0.000212"},"cs":24987956059,"ts":1673272861686}"#;
        let change = r#"{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","indexPrice":"17228.00"},"cs":24987956060,"ts":1673272861786}"#;
        let other = r#"{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","bid1Price":"1"},"cs":24987956061,"ts":1673272861886}"#;
        let got = of(&[change, snapshot, change, other]);
        assert!(got[0].as_ref().unwrap_err().contains("before its snapshot"));
        let (_, first) = got[1].as_ref().unwrap();
        assert_eq!(
            first.iter().map(|e| e.series).collect::<Vec<_>>(),
            [2, 3, 4]
        );
        assert_eq!(
            first[1].body,
            Body::Funding {
                rate: -0.000_212,
                next_ns: 1_673_280_000_000_000_000
            }
        );
        let (_, second) = got[2].as_ref().unwrap();
        assert_eq!(second.len(), 1);
        assert_eq!(
            second[0].body,
            Body::MarkPrice {
                mark_price: 17_217.33,
                index_price: Some(17_228.0)
            }
        );
        assert_eq!(second[0].ts_event, 1_673_272_861_786_000_000);
        assert_eq!(got[3].as_ref().unwrap().1, []);
    }

    fn events(frames: &[&str]) -> (Vec<Event>, Vec<bool>) {
        let (wanted, mut state, mut out) = (wanted(), State::default(), Vec::new());
        let fine = frames
            .iter()
            .map(|frame| decode(frame, 7, &wanted, &mut state, &mut out).is_ok())
            .collect();
        (out, fine)
    }

    #[test]
    fn an_empty_text_means_that_there_is_no_such_value() {
        let frame = |kind: &str, fields: &str| {
            format!(
                r#"{{"topic":"tickers.BTCUSDT","type":"{kind}","data":{{"symbol":"BTCUSDT",{fields}}},"cs":7,"ts":1673272861686}}"#
            )
        };
        let first = r#""markPrice":"1","indexPrice":"","openInterest":"5","fundingRate":"","nextFundingTime":"""#;
        let (out, fine) = events(&[
            &frame("snapshot", first),
            &frame("delta", r#""markPrice":"2""#),
        ]);
        assert_eq!(
            (out.iter().map(|e| e.series).collect::<Vec<_>>(), fine),
            (vec![2, 4, 2], vec![true, true])
        );
        // A field that is wrong costs its own event; the state goes on from what could be read.
        let wrong =
            r#""markPrice":"1","openInterest":-5,"fundingRate":"0.1","nextFundingTime":"x""#;
        let (out, fine) = events(&[
            &frame("snapshot", wrong),
            &frame("delta", r#""openInterest":"6""#),
        ]);
        assert_eq!(
            (out.iter().map(|e| e.series).collect::<Vec<_>>(), fine),
            (vec![2, 4], vec![false, true])
        );
    }

    #[test]
    fn only_the_depth_that_was_asked_for_is_a_quote() {
        let frame = |topic: &str, kind: &str, b: &str, a: &str| {
            format!(
                r#"{{"topic":"{topic}","type":"{kind}","ts":1672304484978,"data":{{"s":"BTCUSDT","b":{b},"a":{a},"u":5,"seq":6}},"cts":1672304484976}}"#
            )
        };
        let one = "orderbook.1.BTCUSDT";
        let (out, fine) = events(&[
            &frame("orderbook.50.BTCUSDT", "snapshot", r#"[["1","1"]]"#, "[]"),
            &frame(one, "delta", r#"[["1","1"]]"#, "[]"),
            &frame(one, "snapshot", r#"[["1","1"]]"#, r#"[["2","1"]]"#),
            &frame(one, "delta", r#"[["1","0"],["0.9","3"]]"#, "[]"),
            &frame(one, "delta", "[]", r#"[["2","0"]]"#),
            &frame(one, "other", "[]", "[]"),
            &frame("orderbook.1.ETHUSDT", "snapshot", "[]", "[]"),
        ]);
        assert_eq!(fine, [false, false, true, true, true, false, false]);
        let sides: Vec<_> = out
            .iter()
            .map(|event| match event.body {
                Body::Bbo {
                    bid_price,
                    bid_qty,
                    ask_price,
                    ..
                } => (bid_price, bid_qty, ask_price),
                _ => panic!("no quote"),
            })
            .collect();
        assert_eq!(sides[..2], [(1.0, 1.0, 2.0), (0.9, 3.0, 2.0)]);
        assert!((sides[2].0, sides[2].1) == (0.9, 3.0) && sides[2].2.is_nan());
    }

    #[test]
    fn a_trade_that_is_unusable_costs_no_other_of_its_frame() {
        let trade = |id: &str, price: &str| {
            format!(
                r#"{{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"1","p":{price},"i":"{id}","seq":9}}"#
            )
        };
        let list = [
            trade("a\\/b", r#""100\u002e5""#),
            trade("x", "7"),
            "null".to_owned(),
            trade("c", r#""1""#),
        ]
        .join(",");
        let frame = format!(
            r#"{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{list}]}}"#
        );
        let (out, fine) = events(&[&frame]);
        let named = |id: &str, price| {
            let id = TradeId::Text(id.into());
            Body::Trade {
                price,
                qty: 1.0,
                side: 1,
                id,
                first_id: -1,
                last_id: -1,
            }
        };
        let bodies: Vec<Body> = out.into_iter().map(|event| event.body).collect();
        assert_eq!(
            (bodies, fine),
            (vec![named("a/b", 100.5), named("c", 1.0)], vec![false])
        );
    }

    #[test]
    fn answers_are_told_from_data() {
        let got = of(&[
            r#"{"success":true,"ret_msg":"pong","conn_id":"x","req_id":"","op":"ping"}"#,
            r#"{"success":true,"ret_msg":"","conn_id":"x","req_id":"12","op":"subscribe"}"#,
            r#"{"success":false,"ret_msg":"error:handler not found","conn_id":"x","req_id":"3","op":"subscribe"}"#,
            r#"{"topic":"kline.1.BTCUSDT","data":{}}"#,
            "[]",
        ]);
        assert_eq!(got[0].as_ref().unwrap().0, Heard::Pong);
        assert_eq!(
            got[1].as_ref().unwrap().0,
            Heard::Subscribed(Some(Reply::Request(12)))
        );
        let text = "subscribe: error:handler not found".to_owned();
        assert_eq!(
            got[2].as_ref().unwrap().0,
            Heard::Refused {
                what: Some(Reply::Request(3)),
                text
            }
        );
        assert!(got[3].is_err() && got[4].is_err());
    }
}
