//! OKX v5, swaps: `bbo-tbt` gives bbo, `trades` trades, `mark-price` with `index-tickers` mark prices, `funding-rate`
//! funding, `open-interest` open interest.
//!
//! The index price comes by a channel of its own and is kept until the next mark price. `fundingTime` is the settlement
//! that comes next, `nextFundingTime` the one after it.

use std::collections::HashMap;

use serde::Deserialize;

use super::{
    directory::{Directory, Heard, not_json},
    event::{Body, Event, Id, Kind, TradeId},
    number::{amount, millis_text, rate, whole},
};

/// The code of the notice that a connection will be closed for an upgrade.
const CLOSING: &str = "64008";

#[derive(Deserialize)]
struct Any<'a> {
    event: Option<&'a str>,
    code: Option<&'a str>,
    msg: Option<&'a str>,
    #[serde(borrow)]
    arg: Option<Arg<'a>>,
}

#[derive(Deserialize)]
struct Arg<'a> {
    channel: &'a str,
    #[serde(rename = "instId")]
    symbol: Option<&'a str>,
}

#[derive(Deserialize)]
struct Data<T> {
    data: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Book<'a> {
    #[serde(borrow)]
    asks: Vec<Vec<&'a str>>,
    #[serde(borrow)]
    bids: Vec<Vec<&'a str>>,
    ts: &'a str,
    seq_id: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trade<'a> {
    #[serde(rename = "tradeId")]
    id: &'a str,
    px: &'a str,
    sz: &'a str,
    side: &'a str,
    ts: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark<'a> {
    mark_px: &'a str,
    ts: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    idx_px: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Funding<'a> {
    #[serde(rename = "fundingRate")]
    rate: &'a str,
    #[serde(rename = "fundingTime")]
    time: Option<&'a str>,
    next_funding_time: Option<&'a str>,
    ts: &'a str,
}

#[derive(Deserialize)]
struct Interest<'a> {
    oi: &'a str,
    ts: &'a str,
}

/// The last index prices of this connection, by the name of the index (`BTC-USDT`).
#[derive(Debug, Default)]
pub(super) struct Indexes(HashMap<String, f64>);

pub(super) fn decode(
    frame: &str,
    ts_recv: i64,
    wanted: &Directory,
    indexes: &mut Indexes,
    out: &mut Vec<Event>,
) -> Result<Heard, String> {
    if frame == "pong" {
        return Ok(Heard::Pong);
    }
    let any: Any = serde_json::from_str(frame).map_err(not_json)?;
    match any.event {
        Some("subscribe") => return Ok(Heard::Subscribed),
        Some(event @ ("error" | "notice")) => {
            let text = format!("{}: {}", any.code.unwrap_or(event), any.msg.unwrap_or("no reason given"));
            let closing = event == "notice" && any.code == Some(CLOSING);
            return Ok(if closing { Heard::Closing(text) } else { Heard::Refused(text) });
        }
        Some(_) => return Ok(Heard::Other),
        None => {}
    }
    let Some(Arg { channel, symbol: Some(symbol) }) = any.arg else { return Err("names no channel".to_owned()) };
    let mut push = |series, ts: &str, id, body| {
        out.push(Event { series, ts_event: millis_text(ts)?, ts_recv, id, body });
        Ok::<_, String>(())
    };
    match channel {
        "bbo-tbt" => {
            let series = wanted.wanted(symbol, Kind::Bbo)?;
            for book in read::<Book>(frame)? {
                let ((bid_price, bid_qty), (ask_price, ask_qty)) = (best(&book.bids)?, best(&book.asks)?);
                let id = book.seq_id.map_or(Id::Time, Id::Ascending);
                push(series, book.ts, id, Body::Bbo { bid_price, bid_qty, ask_price, ask_qty })?;
            }
        }
        "trades" => {
            let series = wanted.wanted(symbol, Kind::Trade)?;
            for trade in read::<Trade>(frame)? {
                let number = whole(trade.id)?;
                let side = match trade.side {
                    "buy" => 1,
                    "sell" => -1,
                    other => return Err(format!("{other:?} is not a side")),
                };
                let (price, qty) = (amount(trade.px)?, amount(trade.sz)?);
                let body = Body::Trade { price, qty, side, id: TradeId::Number(number) };
                push(series, trade.ts, Id::Shared { order: number, unique: number }, body)?;
            }
        }
        "mark-price" => {
            let series = wanted.wanted(symbol, Kind::MarkPrice)?;
            let index_price = indexes.0.get(symbol.trim_end_matches("-SWAP")).copied();
            for mark in read::<Mark>(frame)? {
                push(series, mark.ts, Id::Time, Body::MarkPrice { mark_price: amount(mark.mark_px)?, index_price })?;
            }
        }
        "index-tickers" => {
            for index in read::<Index>(frame)? {
                let _ = indexes.0.insert(symbol.to_owned(), amount(index.idx_px)?);
            }
        }
        "funding-rate" => {
            let series = wanted.wanted(symbol, Kind::Funding)?;
            for funding in read::<Funding>(frame)? {
                let next = [funding.time, funding.next_funding_time].into_iter().flatten();
                let next = next.into_iter().find(|text| !text.is_empty());
                let next_ns = millis_text(next.ok_or("tells no time of funding")?)?;
                push(series, funding.ts, Id::Time, Body::Funding { rate: rate(funding.rate)?, next_ns })?;
            }
        }
        "open-interest" => {
            let series = wanted.wanted(symbol, Kind::OpenInterest)?;
            for interest in read::<Interest>(frame)? {
                push(series, interest.ts, Id::Time, Body::OpenInterest(amount(interest.oi)?))?;
            }
        }
        other => return Err(format!("channel {other:?} is unknown")),
    }
    Ok(Heard::Data)
}

fn read<'a, T: Deserialize<'a>>(frame: &'a str) -> Result<Vec<T>, String> {
    serde_json::from_str::<Data<T>>(frame).map(|frame| frame.data).map_err(not_json)
}

/// Price and quantity of the best level; an empty side of the book has none.
fn best(side: &[Vec<&str>]) -> Result<(f64, f64), String> {
    match side.first().map(Vec::as_slice) {
        None => Ok((f64::NAN, f64::NAN)),
        Some([price, qty, ..]) => Ok((amount(price)?, amount(qty)?)),
        Some(_) => Err("a level has no quantity".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(frames: &[&str]) -> Vec<Result<(Heard, Vec<Event>), String>> {
        let mut wanted = Directory::default();
        for kind in Kind::ALL {
            wanted.add("BTC-USDT-SWAP", kind, kind.index());
        }
        let mut indexes = Indexes::default();
        let one = |frame: &&str| {
            let mut out = Vec::new();
            decode(frame, 7, &wanted, &mut indexes, &mut out).map(|heard| (heard, out))
        };
        frames.iter().map(one).collect()
    }

    fn frame(channel: &str, symbol: &str, data: &str) -> String {
        format!(r#"{{"arg":{{"channel":"{channel}","instId":"{symbol}"}},"data":[{data}]}}"#)
    }

    #[test]
    fn every_channel_is_read() {
        let swap = "BTC-USDT-SWAP";
        let got = of(&[
            &frame(
                "bbo-tbt",
                swap,
                r#"{"asks":[["8476.98","415","0","13"]],"bids":[["8476.97","256","0","12"]],"ts":"1597026383085","checksum":0,"seqId":123456}"#,
            ),
            &frame(
                "trades",
                swap,
                r#"{"instId":"BTC-USDT-SWAP","tradeId":"130639474","px":"42219.9","sz":"0.12","side":"sell","ts":"1630048897897","count":"3"}"#,
            ),
            &frame("index-tickers", "BTC-USDT", r#"{"instId":"BTC-USDT","idxPx":"42300.1","ts":"1630048897000"}"#),
            &frame(
                "mark-price",
                swap,
                r#"{"instType":"SWAP","instId":"BTC-USDT-SWAP","markPx":"42310.6","ts":"1630049139746"}"#,
            ),
            &frame(
                "funding-rate",
                swap,
                r#"{"fundingRate":"-0.00018","fundingTime":"1703088000000","nextFundingTime":"1703116800000","instId":"BTC-USDT-SWAP","ts":"1703070685309"}"#,
            ),
            &frame(
                "open-interest",
                swap,
                r#"{"instId":"BTC-USDT-SWAP","oi":"2216113.01","oiCcy":"1","ts":"1743041250440"}"#,
            ),
        ]);
        let events: Vec<Event> = got.into_iter().flat_map(|one| one.unwrap().1).collect();
        assert_eq!(events.iter().map(|e| e.series).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(events[0].id, Id::Ascending(123_456));
        assert_eq!(
            events[0].body,
            Body::Bbo { bid_price: 8476.97, bid_qty: 256.0, ask_price: 8476.98, ask_qty: 415.0 }
        );
        assert!(matches!(events[1].body, Body::Trade { side: -1, id: TradeId::Number(130_639_474), .. }));
        assert_eq!(events[2].body, Body::MarkPrice { mark_price: 42_310.6, index_price: Some(42_300.1) });
        assert_eq!(events[3].body, Body::Funding { rate: -0.000_18, next_ns: 1_703_088_000_000_000_000 });
        assert_eq!(events[4].body, Body::OpenInterest(2_216_113.01));
    }

    #[test]
    fn answers_and_notices_are_told_from_data() {
        let got = of(&[
            "pong",
            r#"{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT-SWAP"},"connId":"a"}"#,
            r#"{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade.","connId":"a"}"#,
            r#"{"event":"error","code":"60018","msg":"doesn't exist","connId":"a"}"#,
        ]);
        let heard: Vec<Heard> = got.into_iter().map(|one| one.unwrap().0).collect();
        assert_eq!(heard[..2], [Heard::Pong, Heard::Subscribed]);
        assert!(matches!(&heard[2], Heard::Closing(text) if text.starts_with("64008")));
        assert_eq!(heard[3], Heard::Refused("60018: doesn't exist".to_owned()));
    }

    #[test]
    fn a_wrong_row_refuses_the_whole_frame() {
        let good = r#"{"tradeId":"1","px":"1","sz":"1","side":"buy","ts":"1630048897897"}"#;
        for bad in [
            good.replace("\"1\",\"sz\"", "\"NaN\",\"sz\""),
            good.replace("buy", "bought"),
            good.replace("\"ts\"", "\"tz\""),
        ] {
            let mut wanted = Directory::default();
            wanted.add("BTC-USDT-SWAP", Kind::Trade, 0);
            let mut decoder = crate::feed::decode::Decoder::new(crate::feed::venue::Venue::Okx, wanted);
            let mut out = Vec::new();
            let text = frame("trades", "BTC-USDT-SWAP", &format!("{good},{bad}"));
            assert!(decoder.decode(&text, 7, &mut out).is_err(), "{text}");
            assert_eq!(out, []);
        }
    }
}
