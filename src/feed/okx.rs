//! OKX v5, swaps and futures: `bbo-tbt` gives bbo, `trades` trades, `mark-price` with
//! `index-tickers` mark prices, `funding-rate` funding, `open-interest` open interest.
//!
//! The index price comes by a channel of its own and is kept until the next mark price.
//! `fundingTime` is the settlement that comes next, `nextFundingTime` the one after it. Error texts
//! quote what was asked, with escapes.

use std::{collections::HashMap, time::Duration};

use serde::Deserialize;

use super::{
    directory::{Directory, Heard, Reply, not_json},
    event::{Body, Event, Id, Kind, TradeId},
    instrument::{Page, Trading, instrument},
    protocol::{Asking, Frames, Protocol, not_polled, requests, socket},
    route::{DialRate, Route, Topic},
    symbol::{self, okx_index},
    value::{Faults, Item, Levels, Value},
};

const PUBLIC: Route = socket("okx.public", "wss://ws.okx.com:8443/ws/v5/public", 100);
const REST: Route = requests("okx.rest", "https://www.okx.com");

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "okx",
    routes: &[PUBLIC, REST],
    rest: REST,
    lists: &[
        "/api/v5/public/instruments?instType=SWAP",
        "/api/v5/public/instruments?instType=FUTURES",
    ],
    instruments,
    request_pace: Duration::from_millis(200),
    allowance: None,
    ping: Some("ping"),
    // Three connections a second.
    dial_rate: DialRate {
        burst: 1,
        every: Duration::from_millis(350),
    },
    cadence: |kind| (kind == Kind::MarkPrice).then_some(Duration::from_secs(10)),
    topics,
    asking: Asking::Messages {
        one: |number, name| {
            format!("{{\"id\":\"{number}\",\"op\":\"subscribe\",\"args\":[{name}]}}")
        },
        many: Some((50, |names| {
            format!("{{\"op\":\"subscribe\",\"args\":[{}]}}", names.join(","))
        })),
    },
    has_funding: |wire| wire.ends_with("-SWAP"),
    spell: symbol::okx,
    spell_listed: symbol::okx_listed,
    frames: || Box::new(Indexes::default()),
    answer: not_polled,
};

fn topics(kind: Kind, wire: &str) -> (Route, Vec<Topic>) {
    let of = |channel: &str, of: &str, subject: &str| {
        Topic::answered(
            format!("{{\"channel\":\"{channel}\",\"{of}\":\"{subject}\"}}"),
            channel,
            subject,
        )
    };
    let topics = match kind {
        Kind::Bbo => vec![of("bbo-tbt", "instId", wire)],
        Kind::Trade => vec![of("trades", "instId", wire)],
        Kind::MarkPrice => {
            vec![
                of("index-tickers", "instId", &okx_index(wire)),
                of("mark-price", "instId", wire),
            ]
        }
        Kind::Funding => vec![of("funding-rate", "instId", wire)],
        Kind::OpenInterest | Kind::Instrument => vec![of("open-interest", "instId", wire)],
        // By type, not by instrument.
        Kind::Liquidation => {
            vec![of(
                "liquidation-orders",
                "instType",
                if wire.ends_with("-SWAP") {
                    "SWAP"
                } else {
                    "FUTURES"
                },
            )]
        }
    };
    (PUBLIC, topics)
}

impl Frames for Indexes {
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
    /// In the place of a symbol, where a channel is of all of a type.
    #[serde(rename = "instType", borrow, default)]
    kind: Value<'a>,
}

impl Arg<'_> {
    /// What the channel is of: a symbol, or a type of instruments.
    fn subject(&self) -> &Value<'_> {
        self.symbol.present().unwrap_or(&self.kind)
    }
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

/// What was liquidated of an instrument.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Liquidated<'a> {
    #[serde(borrow, default)]
    inst_id: Value<'a>,
    #[serde(borrow, default)]
    details: Vec<Item<Liquidation<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Liquidation<'a> {
    #[serde(borrow, default)]
    side: Value<'a>,
    #[serde(borrow, default)]
    bk_px: Value<'a>,
    #[serde(borrow, default)]
    sz: Value<'a>,
    #[serde(borrow, default)]
    ts: Value<'a>,
}

impl Liquidation<'_> {
    fn event(&self, series: usize, ts_recv: i64) -> Result<Event, String> {
        let (price, qty) = (self.bk_px.amount()?, self.sz.amount()?);
        let body = Body::Liquidation {
            price,
            qty,
            average_price: None,
            side: taker(&self.side)?,
        };
        Ok(Event {
            series,
            ts_event: self.ts.millis()?,
            ts_recv,
            id: Id::Time,
            number: 0,
            body,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    #[serde(borrow, default)]
    inst_id: Value<'a>,
    #[serde(borrow, default)]
    state: Value<'a>,
    #[serde(borrow, default)]
    tick_sz: Value<'a>,
    #[serde(borrow, default)]
    lot_sz: Value<'a>,
    #[serde(borrow, default)]
    ct_val: Value<'a>,
    #[serde(borrow, default)]
    ct_mult: Value<'a>,
}

/// The list of `/api/v5/public/instruments`. What is over is in it no more.
fn instruments(body: &str) -> Result<Page, String> {
    let trading = |state: &str| match state {
        "preopen" | "test" => Trading::Upcoming,
        "expired" => Trading::Over,
        _ => Trading::Live,
    };
    let of = |item: &Item<Listed>| {
        let listed = item.object()?;
        let values = [
            &listed.tick_sz,
            &listed.lot_sz,
            &listed.ct_val,
            &listed.ct_mult,
        ]
        .map(|value| value.amount().ok());
        instrument(&listed.inst_id, &listed.state, trading, values)
    };
    let list: Vec<Item<Listed>> = read(body)?;
    Ok(Page {
        instruments: list.iter().filter_map(|item| of(item).ok()).collect(),
        next: None,
    })
}

/// The side of an order.
fn taker(side: &Value) -> Result<i8, String> {
    match side.text()? {
        "buy" => Ok(1),
        "sell" => Ok(-1),
        other => Err(format!("{other:?} is not a side")),
    }
}

/// The last index prices of this connection, by the name of the index (`BTC-USDT`).
#[derive(Debug, Default)]
struct Indexes(HashMap<String, f64>);

fn decode(
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
    let arg = any.arg.as_ref().ok_or("names no channel")?;
    let (Value::Text(channel), Value::Text(symbol)) = (&arg.channel, arg.subject()) else {
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
                let price = index
                    .object()
                    .and_then(|index| index.idx_px.present().map(Value::amount).transpose());
                if let Some(price) = faults.sort(price).flatten() {
                    let _ = indexes.0.insert(symbol.clone().into_owned(), price);
                }
            }
            return faults.end().map(|()| Heard::Data);
        }
        // Of all instruments of a type, whether they were asked for or not.
        "liquidation-orders" => {
            for item in &read::<Liquidated>(frame)? {
                let named = item
                    .object()
                    .and_then(|item| Ok((item, item.inst_id.text()?)));
                let Some((item, symbol)) = faults.sort(named) else {
                    continue;
                };
                let Some(series) = wanted.place(symbol, Kind::Liquidation) else {
                    continue;
                };
                for one in &item.details {
                    out.extend(
                        faults.sort(one.object().and_then(|one| one.event(series, ts_recv))),
                    );
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
            if fields
                .inst_id
                .present()
                .is_some_and(|id| id.text() != Ok(symbol))
            {
                return Err(format!(
                    "the channel of {symbol:?} has data of {}",
                    fields.inst_id
                ));
            }
            let (id, number, body) = match kind {
                Kind::Trade => fields.trade()?,
                Kind::MarkPrice => {
                    let mark_price = fields.mark_px.amount()?;
                    (
                        Id::Time,
                        0,
                        Body::MarkPrice {
                            mark_price,
                            index_price: index_price(),
                        },
                    )
                }
                Kind::Funding => (Id::Time, 0, fields.funding()?),
                _ => (Id::Time, 0, Body::OpenInterest(fields.oi.amount()?)),
            };
            Ok(Event {
                series,
                ts_event: fields.ts.millis()?,
                ts_recv,
                id,
                number,
                body,
            })
        });
        out.extend(faults.sort(event));
    }
    faults.end().map(|()| Heard::Data)
}

/// A frame with an `event`: an answer, or a notice.
fn answer(any: &Any) -> Result<Heard, String> {
    let text = |value: &Value| value.text().map(str::to_owned).ok();
    let what = || match &any.arg {
        Some(arg) => Some(Reply::Channel(text(&arg.channel)?, text(arg.subject())?)),
        None => any
            .id
            .present()
            .and_then(|id| usize::try_from(id.whole().ok()?).ok())
            .map(Reply::Request),
    };
    let event = any.event.text()?;
    let told = || {
        let code = any
            .code
            .present()
            .map_or_else(|| event.to_owned(), |code| text(code).unwrap_or_default());
        format!(
            "{code}: {}",
            text(&any.msg).unwrap_or_else(|| "no reason given".to_owned())
        )
    };
    Ok(match event {
        "subscribe" => Heard::Subscribed(what()),
        "notice" if any.code.text() == Ok(CLOSING) => Heard::Closing(told()),
        "error" => Heard::Refused {
            what: what(),
            text: told(),
        },
        "notice" => Heard::Refused {
            what: None,
            text: told(),
        },
        _ => Heard::Other,
    })
}

fn quote(book: &Book, series: usize, ts_recv: i64) -> Result<Event, String> {
    let ((bid_price, bid_qty), (ask_price, ask_qty)) = (book.bids.best()?, book.asks.best()?);
    let number = book
        .seq_id
        .present()
        .map(Value::signed)
        .transpose()?
        .unwrap_or(0);
    Ok(Event {
        series,
        ts_event: book.ts.millis()?,
        ts_recv,
        id: if number > 0 {
            Id::Ascending(number.unsigned_abs())
        } else {
            Id::Time
        },
        number,
        body: Body::Bbo {
            bid_price,
            bid_qty,
            ask_price,
            ask_qty,
        },
    })
}

impl Fields<'_> {
    fn trade(&self) -> Result<(Id, i64, Body), String> {
        let number = self.trade_id.whole()?;
        let side = taker(&self.side)?;
        let (price, qty) = (self.px.amount()?, self.sz.amount()?);
        let body = Body::Trade {
            price,
            qty,
            side,
            id: TradeId::Number(number),
            first_id: -1,
            last_id: -1,
        };
        Ok((Id::Shared(number), self.trade_id.signed()?, body))
    }

    fn funding(&self) -> Result<Body, String> {
        let next = self
            .funding_time
            .present()
            .or_else(|| self.next_funding_time.present());
        let next_ns = next.ok_or("tells no time of funding")?.millis()?;
        Ok(Body::Funding {
            rate: self.funding_rate.rate()?,
            next_ns,
        })
    }
}

fn read<'a, T: Deserialize<'a>>(frame: &'a str) -> Result<Vec<Item<T>>, String> {
    serde_json::from_str::<Data<T>>(frame)
        .map(|frame| frame.data)
        .map_err(not_json)
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
    fn liquidations_of_all_instruments_come_by_one_channel() {
        let one = r#"{"bkLoss":"0","bkPx":"0.007831","ccy":"","posSide":"short","side":"buy","sz":"13","ts":"1692266434010"}"#;
        let text = format!(
            r#"{{"arg":{{"channel":"liquidation-orders","instType":"SWAP"}},"data":[{{"details":[{one},5,{one}],"instId":"BTC-USDT-SWAP"}},{{"details":[{one}],"instId":"OTHER-USDT-SWAP"}}]}}"#
        );
        let mut wanted = Directory::default();
        wanted.add("BTC-USDT-SWAP", Kind::Liquidation, 3);
        let mut out = Vec::new();
        assert!(
            decode(&text, 7, &wanted, &mut Indexes::default(), &mut out).is_err(),
            "one of them is none"
        );
        let body = Body::Liquidation {
            price: 0.007_831,
            qty: 13.0,
            average_price: None,
            side: 1,
        };
        assert!(
            out.len() == 2
                && out
                    .iter()
                    .all(|event| event.series == 3 && event.body == body),
            "{out:?}"
        );
        let answer = r#"{"event":"subscribe","arg":{"channel":"liquidation-orders","instType":"SWAP"},"connId":"a"}"#;
        let heard = of(&[answer])[0].as_ref().unwrap().0.clone();
        assert_eq!(
            heard,
            Heard::Subscribed(Some(Reply::Channel(
                "liquidation-orders".to_owned(),
                "SWAP".to_owned()
            )))
        );
    }

    #[test]
    fn lists_tell_what_a_contract_stands_for() {
        let body = r#"{"code":"0","data":[{"instId":"BTC-USDT-SWAP","state":"live","tickSz":"0.1","lotSz":"0.01","ctVal":"0.01","ctMult":"1"},{"instId":"NEW-USDT-SWAP","state":"preopen","tickSz":""}],"msg":""}"#;
        let list = instruments(body).unwrap().instruments;
        assert_eq!(
            (
                list[0].contract_value,
                list[0].contract_multiplier,
                list[0].lot_size
            ),
            (Some(0.01), Some(1.0), Some(0.01))
        );
        assert_eq!(
            (list[1].trading, list[1].tick_size),
            (Trading::Upcoming, None)
        );
        assert!(instruments(r#"{"code":"50011","msg":"Too Many Requests"}"#).is_err());
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
            &frame(
                "index-tickers",
                "BTC-USDT",
                r#"{"instId":"BTC-USDT","idxPx":"42300.1","ts":"1630048897000"}"#,
            ),
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
        assert_eq!(
            events.iter().map(|e| e.series).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4]
        );
        assert_eq!(events[0].id, Id::Ascending(123_456));
        assert_eq!(
            events[0].body,
            Body::Bbo {
                bid_price: 8476.97,
                bid_qty: 256.0,
                ask_price: 8476.98,
                ask_qty: 415.0
            }
        );
        assert!(matches!(
            events[1].body,
            Body::Trade {
                side: -1,
                id: TradeId::Number(130_639_474),
                ..
            }
        ));
        assert_eq!(
            events[2].body,
            Body::MarkPrice {
                mark_price: 42_310.6,
                index_price: Some(42_300.1)
            }
        );
        assert_eq!(
            events[3].body,
            Body::Funding {
                rate: -0.000_18,
                next_ns: 1_703_088_000_000_000_000
            }
        );
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
        let refused = |what, text: &str| Heard::Refused {
            what,
            text: text.to_owned(),
        };
        assert_eq!(heard[3], refused(None, "60018: doesn't exist"));
        assert_eq!(
            heard[4],
            refused(
                Some(Reply::Request(7)),
                "60012: Invalid request: {\"op\": \"subscribe\"}"
            )
        );
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
            let mut decoder =
                crate::feed::decode::Decoder::new(crate::feed::venue::Venue::Okx, wanted);
            let mut out = Vec::new();
            let text = frame(
                "trades",
                "BTC-USDT-SWAP",
                &format!("{good},{bad},{}", good.replace("\"1\",\"px", "\"3\",\"px")),
            );
            assert!(decoder.decode(&text, 7, &mut out).is_err(), "{text}");
            assert_eq!(
                out.iter().map(|event| event.number).collect::<Vec<_>>(),
                [1, 3],
                "{text}"
            );
        }
    }
}
