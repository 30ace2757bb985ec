//! Bybit v5, linear contracts: `orderbook.1` gives bbo, `publicTrade` trades, `tickers` mark price, funding and open
//! interest.
//!
//! A ticker is one snapshot, then changes that hold only what changed: the last state is kept per symbol, and an event is
//! made of it for each stream that the change touches.

use std::{collections::HashMap, hash::Hasher};

use serde::Deserialize;
use twox_hash::XxHash64;

use super::{
    decode::{Directory, Heard, not_json},
    event::{Body, Event, Id, Kind, TradeId},
    number::{amount, millis, millis_text, rate},
};

#[derive(Deserialize)]
struct Any<'a> {
    topic: Option<&'a str>,
    op: Option<&'a str>,
    success: Option<bool>,
    ret_msg: Option<&'a str>,
}

#[derive(Deserialize)]
struct Book<'a> {
    ts: i64,
    /// When the matching engine made it.
    cts: Option<i64>,
    #[serde(borrow)]
    data: Levels<'a>,
}

#[derive(Deserialize)]
struct Levels<'a> {
    s: &'a str,
    #[serde(borrow)]
    b: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    a: Vec<(&'a str, &'a str)>,
    u: u64,
}

#[derive(Deserialize)]
struct Trades<'a> {
    #[serde(borrow)]
    data: Vec<Trade<'a>>,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(rename = "T")]
    time: i64,
    s: &'a str,
    #[serde(rename = "S")]
    side: &'a str,
    v: &'a str,
    p: &'a str,
    i: &'a str,
    seq: Option<u64>,
}

#[derive(Deserialize)]
struct Ticker<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    ts: i64,
    cs: Option<u64>,
    #[serde(borrow)]
    data: Fields<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    symbol: &'a str,
    mark_price: Option<&'a str>,
    index_price: Option<&'a str>,
    funding_rate: Option<&'a str>,
    next_funding_time: Option<&'a str>,
    open_interest: Option<&'a str>,
}

/// The last state of each symbol's ticker on this connection.
#[derive(Debug, Default)]
pub(super) struct Tickers(HashMap<String, State>);

#[derive(Debug, Default, Clone, Copy)]
struct State {
    mark: Option<f64>,
    index: Option<f64>,
    rate: Option<f64>,
    next_ns: Option<i64>,
    interest: Option<f64>,
}

pub(super) fn decode(
    frame: &str,
    ts_recv: i64,
    wanted: &Directory,
    tickers: &mut Tickers,
    out: &mut Vec<Event>,
) -> Result<Heard, String> {
    let named = frame.strip_prefix("{\"topic\":\"").and_then(|rest| rest.split_once('"')).map(|(name, _)| name);
    let topic = match named {
        Some(name) => name,
        None => {
            let any: Any = serde_json::from_str(frame).map_err(not_json)?;
            match (any.topic, any.op) {
                (Some(topic), _) => topic,
                (None, Some("pong")) => return Ok(Heard::Pong),
                (None, Some("ping")) if any.success != Some(false) => return Ok(Heard::Pong),
                (None, Some("subscribe")) if any.success == Some(true) => return Ok(Heard::Subscribed),
                (None, Some(op)) if any.success == Some(false) => {
                    return Ok(Heard::Refused(format!("{op}: {}", any.ret_msg.unwrap_or("no reason given"))));
                }
                (None, Some(_)) => return Ok(Heard::Other),
                (None, None) => return Err("has no topic".to_owned()),
            }
        }
    };
    match topic.split('.').next() {
        Some("orderbook") => quote(frame, ts_recv, wanted, out)?,
        Some("publicTrade") => {
            let trades: Trades = serde_json::from_str(frame).map_err(not_json)?;
            for trade in &trades.data {
                out.push(trade.event(ts_recv, wanted)?);
            }
        }
        Some("tickers") => {
            let ticker: Ticker = serde_json::from_str(frame).map_err(not_json)?;
            tickers.apply(&ticker, ts_recv, wanted, out)?;
        }
        _ => return Err(format!("topic {topic:?} is unknown")),
    }
    Ok(Heard::Data)
}

fn quote(frame: &str, ts_recv: i64, wanted: &Directory, out: &mut Vec<Event>) -> Result<(), String> {
    let book: Book = serde_json::from_str(frame).map_err(not_json)?;
    let best = |side: &[(&str, &str)]| match side.first() {
        Some((price, qty)) => Ok::<_, String>((amount(price)?, amount(qty)?)),
        None => Ok((f64::NAN, f64::NAN)),
    };
    let ((bid_price, bid_qty), (ask_price, ask_qty)) = (best(&book.data.b)?, best(&book.data.a)?);
    out.push(Event {
        series: wanted.wanted(book.data.s, Kind::Bbo)?,
        ts_event: millis(book.cts.unwrap_or(book.ts))?,
        ts_recv,
        id: Id::Ascending(book.data.u),
        body: Body::Bbo { bid_price, bid_qty, ask_price, ask_qty },
    });
    Ok(())
}

impl Trade<'_> {
    fn event(&self, ts_recv: i64, wanted: &Directory) -> Result<Event, String> {
        let side = match self.side {
            "Buy" => 1,
            "Sell" => -1,
            other => return Err(format!("{other:?} is not a side")),
        };
        if self.i.is_empty() {
            return Err("a trade has no id".to_owned());
        }
        let mut unique = XxHash64::with_seed(0);
        unique.write(self.i.as_bytes());
        Ok(Event {
            series: wanted.wanted(self.s, Kind::Trade)?,
            ts_event: millis(self.time)?,
            ts_recv,
            id: Id::Shared { order: self.seq.unwrap_or(0), unique: unique.finish() },
            body: Body::Trade { price: amount(self.p)?, qty: amount(self.v)?, side, id: TradeId::Text(self.i.into()) },
        })
    }
}

impl Tickers {
    fn apply(&mut self, ticker: &Ticker, ts_recv: i64, wanted: &Directory, out: &mut Vec<Event>) -> Result<(), String> {
        let fields = &ticker.data;
        let known = self.0.get(fields.symbol).copied();
        let before = match (ticker.kind, known) {
            ("snapshot", _) => State::default(),
            ("delta", Some(state)) => state,
            ("delta", None) => return Err("a change came before its snapshot".to_owned()),
            (other, _) => return Err(format!("{other:?} is neither snapshot nor delta")),
        };
        let state = State {
            mark: fields.mark_price.map(amount).transpose()?.or(before.mark),
            index: fields.index_price.map(amount).transpose()?.or(before.index),
            rate: fields.funding_rate.map(rate).transpose()?.or(before.rate),
            next_ns: fields.next_funding_time.map(millis_text).transpose()?.or(before.next_ns),
            interest: fields.open_interest.map(amount).transpose()?.or(before.interest),
        };
        let ts_event = millis(ticker.ts)?;
        let id = ticker.cs.map_or(Id::Time, Id::Ascending);
        let kinds = [Kind::MarkPrice, Kind::Funding, Kind::OpenInterest];
        let [mark, funding, interest] = kinds.map(|kind| wanted.place(fields.symbol, kind));
        if mark.is_none() && funding.is_none() && interest.is_none() {
            return Err(format!("the ticker of {:?} was not asked for", fields.symbol));
        }
        let mut push = |series, body| out.push(Event { series, ts_event, ts_recv, id, body });
        let touched = fields.mark_price.is_some() || fields.index_price.is_some();
        if let (Some(series), Some(mark_price), true) = (mark, state.mark, touched) {
            push(series, Body::MarkPrice { mark_price, index_price: state.index });
        }
        let touched = fields.funding_rate.is_some() || fields.next_funding_time.is_some();
        if let (Some(series), Some(rate), Some(next_ns), true) = (funding, state.rate, state.next_ns, touched) {
            push(series, Body::Funding { rate, next_ns });
        }
        if let (Some(series), Some(value), true) = (interest, state.interest, fields.open_interest.is_some()) {
            push(series, Body::OpenInterest(value));
        }
        if let Some(slot) = self.0.get_mut(fields.symbol) {
            *slot = state;
        } else {
            let _ = self.0.insert(fields.symbol.to_owned(), state);
        }
        Ok(())
    }
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
        let (wanted, mut tickers) = (wanted(), Tickers::default());
        let one = |frame: &&str| {
            let mut out = Vec::new();
            decode(frame, 7, &wanted, &mut tickers, &mut out).map(|heard| (heard, out))
        };
        frames.iter().map(one).collect()
    }

    #[test]
    fn quotes_have_the_time_of_the_matching_engine() {
        let frame = r#"{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":1672304484978,"data":{"s":"BTCUSDT","b":[["16493.50","0.006"]],"a":[["16611.00","0.029"]],"u":18521288,"seq":7961638724},"cts":1672304484976}"#;
        let empty = frame.replace(r#"[["16611.00","0.029"]]"#, "[]");
        let got = of(&[frame, &empty]);
        let (_, events) = got[0].as_ref().unwrap();
        assert_eq!((events[0].ts_event, events[0].id), (1_672_304_484_976_000_000, Id::Ascending(18_521_288)));
        assert_eq!(
            events[0].body,
            Body::Bbo { bid_price: 16_493.5, bid_qty: 0.006, ask_price: 16_611.0, ask_qty: 0.029 }
        );
        let (_, events) = got[1].as_ref().unwrap();
        assert!(
            matches!(events[0].body, Body::Bbo { ask_price, ask_qty, .. } if ask_price.is_nan() && ask_qty.is_nan())
        );
    }

    #[test]
    fn trades_come_in_lists() {
        let frame = r#"{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"seq":1783284617},{"T":1672304486866,"s":"BTCUSDT","S":"Sell","v":"2","p":"16578.00","L":"PlusTick","i":"x","BT":false,"seq":1783284617}]}"#;
        let wrong = frame.replace("Sell", "Sold");
        let got = of(&[frame, &wrong]);
        let (_, events) = got[0].as_ref().unwrap();
        assert_eq!(events.len(), 2);
        assert!(matches!(&events[1].body, Body::Trade { side: -1, id: TradeId::Text(id), .. } if &**id == "x"));
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
        assert_eq!(first.iter().map(|e| e.series).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(first[1].body, Body::Funding { rate: -0.000_212, next_ns: 1_673_280_000_000_000_000 });
        let (_, second) = got[2].as_ref().unwrap();
        assert_eq!(second.len(), 1);
        assert_eq!(second[0].body, Body::MarkPrice { mark_price: 17_217.33, index_price: Some(17_228.0) });
        assert_eq!(second[0].ts_event, 1_673_272_861_786_000_000);
        assert_eq!(got[3].as_ref().unwrap().1, []);
    }

    #[test]
    fn answers_are_told_from_data() {
        let got = of(&[
            r#"{"success":true,"ret_msg":"pong","conn_id":"x","req_id":"","op":"ping"}"#,
            r#"{"success":true,"ret_msg":"","conn_id":"x","op":"subscribe"}"#,
            r#"{"success":false,"ret_msg":"error:handler not found","conn_id":"x","op":"subscribe"}"#,
            r#"{"topic":"kline.1.BTCUSDT","data":{}}"#,
            "[]",
        ]);
        assert_eq!(got[0].as_ref().unwrap().0, Heard::Pong);
        assert_eq!(got[1].as_ref().unwrap().0, Heard::Subscribed);
        assert_eq!(got[2].as_ref().unwrap().0, Heard::Refused("subscribe: error:handler not found".to_owned()));
        assert!(got[3].is_err() && got[4].is_err());
    }
}
