//! Binance USDⓈ-M futures: combined streams `{"stream": …, "data": …}`.
//!
//! `bookTicker` gives bbo (`u` ascends, but not by one), `aggTrade` trades (`a` ascends by one), `markPrice` both a mark
//! price and a funding rate.

use serde::Deserialize;

use super::{
    decode::{Directory, Heard, not_json},
    event::{Body, Event, Id, Kind, TradeId},
    number::{amount, millis, rate},
};

#[derive(Deserialize)]
struct Frame<T> {
    data: T,
}

/// What every frame can be, to be told which one it is.
#[derive(Deserialize)]
struct Any<'a> {
    stream: Option<&'a str>,
    error: Option<Refusal<'a>>,
    id: Option<u64>,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    msg: &'a str,
}

#[derive(Deserialize)]
struct BookTicker<'a> {
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "u")]
    update: u64,
    #[serde(rename = "b")]
    bid_price: &'a str,
    #[serde(rename = "B")]
    bid_qty: &'a str,
    #[serde(rename = "a")]
    ask_price: &'a str,
    #[serde(rename = "A")]
    ask_qty: &'a str,
    #[serde(rename = "T")]
    time: i64,
}

#[derive(Deserialize)]
struct AggTrade<'a> {
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "a")]
    id: u64,
    #[serde(rename = "p")]
    price: &'a str,
    #[serde(rename = "q")]
    qty: &'a str,
    #[serde(rename = "T")]
    time: i64,
    #[serde(rename = "m")]
    buyer_is_maker: bool,
}

#[derive(Deserialize)]
struct MarkPrice<'a> {
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "E")]
    time: i64,
    #[serde(rename = "p")]
    mark: &'a str,
    #[serde(rename = "i")]
    index: Option<&'a str>,
    #[serde(rename = "r")]
    rate: &'a str,
    #[serde(rename = "T")]
    next: i64,
}

pub(super) fn decode(frame: &str, ts_recv: i64, wanted: &Directory, out: &mut Vec<Event>) -> Result<Heard, String> {
    // The name comes first in practice; reading it alone saves a second pass over the frame.
    let named = frame.strip_prefix("{\"stream\":\"").and_then(|rest| rest.split_once('"')).map(|(name, _)| name);
    let stream = match named {
        Some(name) => name,
        None => {
            let any: Any = serde_json::from_str(frame).map_err(not_json)?;
            match any {
                Any { stream: Some(name), .. } => name,
                Any { error: Some(refusal), .. } => return Ok(Heard::Refused(refusal.msg.to_owned())),
                Any { id: Some(_), .. } => return Ok(Heard::Subscribed),
                _ => return Err("has no stream".to_owned()),
            }
        }
    };
    let (_, topic) = stream.split_once('@').ok_or_else(|| format!("stream {stream:?} is unknown"))?;
    match topic.split('@').next() {
        Some("bookTicker") => {
            let quote: BookTicker = read(frame)?;
            out.push(Event {
                series: wanted.wanted(quote.symbol, Kind::Bbo)?,
                ts_event: millis(quote.time)?,
                ts_recv,
                id: Id::Ascending(quote.update),
                body: Body::Bbo {
                    bid_price: amount(quote.bid_price)?,
                    bid_qty: amount(quote.bid_qty)?,
                    ask_price: amount(quote.ask_price)?,
                    ask_qty: amount(quote.ask_qty)?,
                },
            });
        }
        Some("aggTrade") => {
            let trade: AggTrade = read(frame)?;
            out.push(Event {
                series: wanted.wanted(trade.symbol, Kind::Trade)?,
                ts_event: millis(trade.time)?,
                ts_recv,
                id: Id::Consecutive(trade.id),
                body: Body::Trade {
                    price: amount(trade.price)?,
                    qty: amount(trade.qty)?,
                    side: if trade.buyer_is_maker { -1 } else { 1 },
                    id: TradeId::Number(trade.id),
                },
            });
        }
        Some("markPrice") => {
            let mark: MarkPrice = read(frame)?;
            let ts_event = millis(mark.time)?;
            let mut push = |series, body| out.push(Event { series, ts_event, ts_recv, id: Id::Time, body });
            let (price, funding) =
                (wanted.place(mark.symbol, Kind::MarkPrice), wanted.place(mark.symbol, Kind::Funding));
            if price.is_none() && funding.is_none() {
                return Err(format!("markPrice of {:?} was not asked for", mark.symbol));
            }
            let index_price = mark.index.map(amount).transpose()?;
            if let Some(series) = price {
                push(series, Body::MarkPrice { mark_price: amount(mark.mark)?, index_price });
            }
            // Delivery contracts have no funding and say so by an empty rate.
            if let Some(series) = funding.filter(|_| !mark.rate.is_empty()) {
                push(series, Body::Funding { rate: rate(mark.rate)?, next_ns: millis(mark.next)? });
            }
        }
        _ => return Err(format!("stream {stream:?} is unknown")),
    }
    Ok(Heard::Data)
}

fn read<'a, T: Deserialize<'a>>(frame: &'a str) -> Result<T, String> {
    serde_json::from_str::<Frame<T>>(frame).map(|frame| frame.data).map_err(not_json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(frame: &str) -> Result<(Heard, Vec<Event>), String> {
        let mut wanted = Directory::default();
        for (place, kind) in [Kind::Bbo, Kind::Trade, Kind::MarkPrice, Kind::Funding].into_iter().enumerate() {
            wanted.add("BTCUSDT", kind, place);
        }
        let mut out = Vec::new();
        decode(frame, 7, &wanted, &mut out).map(|heard| (heard, out))
    }

    const QUOTE: &str = r#"{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":400900217,"s":"BTCUSDT","b":"25.35190000","B":"31.21","a":"25.36520000","A":"40.66","T":1568014460891,"E":1568014460893}}"#;

    #[test]
    fn quotes() {
        let (heard, events) = of(QUOTE).unwrap();
        assert_eq!(heard, Heard::Data);
        let body = Body::Bbo { bid_price: 25.3519, bid_qty: 31.21, ask_price: 25.3652, ask_qty: 40.66 };
        let want =
            Event { series: 0, ts_event: 1_568_014_460_891_000_000, ts_recv: 7, id: Id::Ascending(400_900_217), body };
        assert_eq!(events, [want.clone()]);
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
        assert_eq!((events[0].series, events[0].id), (1, Id::Consecutive(5_933_014)));
        assert_eq!(events[0].body, Body::Trade { price: 0.001, qty: 100.0, side: -1, id: TradeId::Number(5_933_014) });
        assert!(matches!(of(&frame(false)).unwrap().1[0].body, Body::Trade { side: 1, .. }));
    }

    #[test]
    fn a_mark_price_is_two_events() {
        let (_, events) = of(r#"{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15000000","i":"11784.62659091","P":"11784.25641265","r":"-0.00038167","T":1562306400000}}"#).unwrap();
        assert_eq!(events[0].body, Body::MarkPrice { mark_price: 11_794.15, index_price: Some(11_784.626_590_91) });
        assert_eq!(events[1].body, Body::Funding { rate: -0.000_381_67, next_ns: 1_562_306_400_000_000_000 });
        assert_eq!((events[1].series, events[1].ts_event), (3, 1_562_305_380_000_000_000));
    }

    #[test]
    fn answers_are_told_from_data() {
        assert_eq!(of(r#"{"result":null,"id":1}"#).unwrap().0, Heard::Subscribed);
        let refused = of(r#"{"error":{"code":2,"msg":"Invalid request"},"id":1}"#).unwrap().0;
        assert_eq!(refused, Heard::Refused("Invalid request".to_owned()));
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
