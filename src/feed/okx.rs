//! OKX v5, swaps and futures: `bbo-tbt` gives bbo, `trades` trades, `mark-price` with `index-tickers` mark prices,
//! `funding-rate` funding, `open-interest` open interest.
//!
//! The index price comes by a channel of its own and is kept until the next mark price. `fundingTime` is the settlement
//! that comes next, `nextFundingTime` the one after it. Error texts quote what was asked, with escapes.

use std::collections::HashMap;

use serde::Deserialize;

use super::{
    directory::{Directory, Heard, Reply, not_json},
    event::{Body, Event, Id, Kind, TradeId},
    symbol::okx_index,
    value::{Faults, Item, Levels, Value},
};

/// The code of the notice that a connection will be closed for an upgrade.
const CLOSING: &str = "64008";

#[derive(Deserialize)]
struct Any<'a> {
    #[serde(borrow, default)]
    event: Value<'a>,
    #[serde(borrow, default)]
    code: Value<'a>,
    #[serde(borrow, default)]
    msg: Value<'a>,
    #[serde(borrow, default)]
    id: Value<'a>,
    #[serde(borrow)]
    arg: Option<Arg<'a>>,
}

#[derive(Deserialize)]
struct Arg<'a> {
    #[serde(borrow, default)]
    channel: Value<'a>,
    #[serde(rename = "instId", borrow, default)]
    symbol: Value<'a>,
}

#[derive(Deserialize)]
struct Data<T> {
    data: Vec<Item<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Book<'a> {
    #[serde(borrow, default)]
    asks: Levels<'a>,
    #[serde(borrow, default)]
    bids: Levels<'a>,
    #[serde(borrow, default)]
    ts: Value<'a>,
    #[serde(borrow, default)]
    seq_id: Value<'a>,
}

/// The fields of all other channels; each is in some of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow, default)]
    ts: Value<'a>,
    #[serde(borrow, default)]
    inst_id: Value<'a>,
    #[serde(borrow, default)]
    trade_id: Value<'a>,
    #[serde(borrow, default)]
    px: Value<'a>,
    #[serde(borrow, default)]
    sz: Value<'a>,
    #[serde(borrow, default)]
    side: Value<'a>,
    #[serde(borrow, default)]
    mark_px: Value<'a>,
    #[serde(borrow, default)]
    idx_px: Value<'a>,
    #[serde(borrow, default)]
    funding_rate: Value<'a>,
    #[serde(borrow, default)]
    funding_time: Value<'a>,
    #[serde(borrow, default)]
    next_funding_time: Value<'a>,
    #[serde(borrow, default)]
    oi: Value<'a>,
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
    if any.event.present().is_some() {
        return answer(&any);
    }
    let Some(Arg { channel: Value::Text(channel), symbol: Value::Text(symbol) }) = &any.arg else {
        return Err("names no channel".to_owned());
    };
    let mut faults = Faults::default();
    let kind = match &**channel {
        "bbo-tbt" => {
            let series = wanted.wanted(symbol, Kind::Bbo)?;
            for book in &read::<Book>(frame)? {
                let event = book.object().and_then(|book| quote(book, series, ts_recv));
                out.extend(faults.sort(event));
            }
            return faults.end().map(|()| Heard::Data);
        }
        "index-tickers" => {
            for index in &read::<Fields>(frame)? {
                let price = index.object().and_then(|index| index.idx_px.present().map(Value::amount).transpose());
                if let Some(price) = faults.sort(price).flatten() {
                    let _ = indexes.0.insert(symbol.clone().into_owned(), price);
                }
            }
            return faults.end().map(|()| Heard::Data);
        }
        "trades" => Kind::Trade,
        "mark-price" => Kind::MarkPrice,
        "funding-rate" => Kind::Funding,
        "open-interest" => Kind::OpenInterest,
        other => return Err(format!("channel {other:?} is unknown")),
    };
    let series = wanted.wanted(symbol, kind)?;
    let index_price = || indexes.0.get(&okx_index(symbol)).copied();
    for item in &read::<Fields>(frame)? {
        let event = item.object().and_then(|fields| {
            if fields.inst_id.present().is_some_and(|id| id.text() != Ok(symbol)) {
                return Err(format!("the channel of {symbol:?} has data of {}", fields.inst_id));
            }
            let (id, number, body) = match kind {
                Kind::Trade => fields.trade()?,
                Kind::MarkPrice => {
                    let mark_price = fields.mark_px.amount()?;
                    (Id::Time, 0, Body::MarkPrice { mark_price, index_price: index_price() })
                }
                Kind::Funding => (Id::Time, 0, fields.funding()?),
                _ => (Id::Time, 0, Body::OpenInterest(fields.oi.amount()?)),
            };
            Ok(Event { series, ts_event: fields.ts.millis()?, ts_recv, id, number, body })
        });
        out.extend(faults.sort(event));
    }
    faults.end().map(|()| Heard::Data)
}

/// A frame with an `event`: an answer, or a notice.
fn answer(any: &Any) -> Result<Heard, String> {
    let text = |value: &Value| value.text().map(str::to_owned).ok();
    let what = || match &any.arg {
        Some(Arg { channel, symbol }) => Some(Reply::Channel(text(channel)?, text(symbol)?)),
        None => any.id.present().and_then(|id| usize::try_from(id.whole().ok()?).ok()).map(Reply::Request),
    };
    let event = any.event.text()?;
    let told = || {
        let code = any.code.present().map_or_else(|| event.to_owned(), |code| text(code).unwrap_or_default());
        format!("{code}: {}", text(&any.msg).unwrap_or_else(|| "no reason given".to_owned()))
    };
    Ok(match event {
        "subscribe" => Heard::Subscribed(what()),
        "notice" if any.code.text() == Ok(CLOSING) => Heard::Closing(told()),
        "error" => Heard::Refused { what: what(), text: told() },
        "notice" => Heard::Refused { what: None, text: told() },
        _ => Heard::Other,
    })
}

fn quote(book: &Book, series: usize, ts_recv: i64) -> Result<Event, String> {
    let ((bid_price, bid_qty), (ask_price, ask_qty)) = (book.bids.best()?, book.asks.best()?);
    let number = book.seq_id.present().map(Value::whole).transpose()?.unwrap_or(0);
    Ok(Event {
        series,
        ts_event: book.ts.millis()?,
        ts_recv,
        id: if number > 0 { Id::Ascending(number) } else { Id::Time },
        number,
        body: Body::Bbo { bid_price, bid_qty, ask_price, ask_qty },
    })
}

impl Fields<'_> {
    fn trade(&self) -> Result<(Id, u64, Body), String> {
        let number = self.trade_id.whole()?;
        let side = match self.side.text()? {
            "buy" => 1,
            "sell" => -1,
            other => return Err(format!("{other:?} is not a side")),
        };
        let (price, qty) = (self.px.amount()?, self.sz.amount()?);
        Ok((Id::Shared(number), number, Body::Trade { price, qty, side, id: TradeId::Number(number) }))
    }

    fn funding(&self) -> Result<Body, String> {
        let next = self.funding_time.present().or_else(|| self.next_funding_time.present());
        let next_ns = next.ok_or("tells no time of funding")?.millis()?;
        Ok(Body::Funding { rate: self.funding_rate.rate()?, next_ns })
    }
}

fn read<'a, T: Deserialize<'a>>(frame: &'a str) -> Result<Vec<Item<T>>, String> {
    serde_json::from_str::<Data<T>>(frame).map(|frame| frame.data).map_err(not_json)
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
            r#"{"event":"error","id":"7","code":"60012","msg":"Invalid request: {\"op\": \"subscribe\"}","connId":"a"}"#,
        ]);
        let heard: Vec<Heard> = got.into_iter().map(|one| one.unwrap().0).collect();
        let channel = Reply::Channel("trades".to_owned(), "BTC-USDT-SWAP".to_owned());
        assert_eq!(heard[..2], [Heard::Pong, Heard::Subscribed(Some(channel))]);
        assert!(matches!(&heard[2], Heard::Closing(text) if text.starts_with("64008")));
        let refused = |what, text: &str| Heard::Refused { what, text: text.to_owned() };
        assert_eq!(heard[3], refused(None, "60018: doesn't exist"));
        assert_eq!(heard[4], refused(Some(Reply::Request(7)), "60012: Invalid request: {\"op\": \"subscribe\"}"));
    }

    #[test]
    fn a_wrong_row_costs_no_other_of_its_frame() {
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
            let text =
                frame("trades", "BTC-USDT-SWAP", &format!("{good},{bad},{}", good.replace("\"1\",\"px", "\"3\",\"px")));
            assert!(decoder.decode(&text, 7, &mut out).is_err(), "{text}");
            assert_eq!(out.iter().map(|event| event.number).collect::<Vec<_>>(), [1, 3], "{text}");
        }
    }
}
