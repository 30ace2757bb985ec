//! A frame becomes events, or the reason why not. One decoder per connection, because some
//! exchanges send changes to a state that begins with the connection.
//!
//! Strict about types, lenient about added fields. Each event is judged by itself: an error in one
//! event of a frame costs none of the others.

use super::{
    directory::{Directory, Heard},
    event::Event,
    protocol::Frames,
    tolerant,
    venue::Venue,
};

/// Decodes the frames of one connection.
#[derive(Debug)]
pub struct Decoder {
    venue: Venue,
    directory: Directory,
    frames: Box<dyn Frames>,
}

impl Decoder {
    /// A decoder for a connection that was just made.
    #[must_use]
    pub fn new(venue: Venue, directory: Directory) -> Self {
        Self {
            venue,
            directory,
            frames: (venue.protocol().frames)(),
        }
    }

    /// Decodes a frame that was read at `ts_recv`, and appends its events to `out`.
    ///
    /// # Errors
    /// What of the frame is not as the exchange documents. Its other events are appended all the
    /// same.
    pub fn decode(
        &mut self,
        frame: &str,
        ts_recv: i64,
        out: &mut Vec<Event>,
    ) -> Result<Heard, String> {
        let before = out.len();
        let reason = match self.frames.decode(frame, ts_recv, &self.directory, out) {
            Ok(heard) => return Ok(heard),
            Err(reason) => reason,
        };
        // What is no JSON refuses all that stands beside it: the rest is read without it.
        if let Some(mended) = tolerant::mended(frame) {
            out.truncate(before);
            let _ = self.frames.decode(&mended, ts_recv, &self.directory, out);
        }
        Err(reason)
    }

    /// Decodes an answer to a request of a stream that has to be polled.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn answer(&self, body: &str, ts_recv: i64, out: &mut Vec<Event>) -> Result<(), String> {
        (self.venue.protocol().answer)(body, ts_recv, &self.directory, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::event::{Body, Kind, TradeId};

    fn decoder(venue: Venue, symbol: &str) -> Decoder {
        let mut directory = Directory::default();
        for kind in Kind::ALL {
            directory.add(symbol, kind, kind.index());
        }
        Decoder::new(venue, directory)
    }

    /// The events of a frame that is not as it should be.
    #[track_caller]
    fn kept(decoder: &mut Decoder, frame: &str) -> Vec<Event> {
        let mut out = Vec::new();
        let reason = decoder.decode(frame, 7, &mut out).expect_err(frame);
        assert!(
            !reason.is_empty() && out.iter().all(|event| event.ts_recv == 7),
            "{frame}"
        );
        out
    }

    #[test]
    fn an_item_that_is_no_json_costs_its_own_event_only() {
        let mut bybit = decoder(Venue::Bybit, "BTCUSDT");
        let trade = |id: &str, seq: &str| {
            format!(
                r#"{{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.1","p":"9.5","i":"{id}","seq":{seq}}}"#
            )
        };
        for bad in [
            trade("x", "1e999"),
            trade("\\ud800", "5"),
            trade("x", "5,\"seq\":5"),
            trade("x\\u0001", "05"),
            trade("x", "5}").replace("}}", ",}"),
            "1e999".to_owned(),
            "nonsense".to_owned(),
        ] {
            let frame = format!(
                r#"{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[{},{bad},{}]}}"#,
                trade("left", "4"),
                trade("right", "6")
            );
            let ids: Vec<TradeId> = kept(&mut bybit, &frame)
                .into_iter()
                .map(|event| match event.body {
                    Body::Trade { id, .. } => id,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(
                ids,
                [TradeId::Text("left".into()), TradeId::Text("right".into())],
                "{frame}"
            );
        }

        let mut okx = decoder(Venue::Okx, "BTC-USDT-SWAP");
        let good = |seq: u32| {
            format!(
                r#"{{"asks":[["2","415"]],"bids":[["1","256"]],"ts":"1672304486865","seqId":{seq}}}"#
            )
        };
        for asks in [
            r#"[["1",1e999]]"#,
            r#"[["1","\ud800"]]"#,
            r#"{"a":1}"#,
            r#"["2"]"#,
            "7",
            "[[]]",
            "null",
            "[1 2]",
        ] {
            let bad = good(5).replace(r#"[["2","415"]]"#, asks);
            let frame = format!(
                r#"{{"arg":{{"channel":"bbo-tbt","instId":"BTC-USDT-SWAP"}},"data":[{},{bad},{}]}}"#,
                good(4),
                good(6)
            );
            let numbers: Vec<i64> = kept(&mut okx, &frame)
                .iter()
                .map(|event| event.number)
                .collect();
            assert_eq!(numbers, [4, 6], "{frame}");
        }
        let details = |price: &str| {
            format!(r#"{{"side":"buy","bkPx":{price},"sz":"2","ts":"1672304486865"}}"#)
        };
        let frame = format!(
            r#"{{"arg":{{"channel":"liquidation-orders","instType":"SWAP"}},"data":[{{"instId":"BTC-USDT-SWAP","details":[{},{},{}]}}]}}"#,
            details("\"1\""),
            details("1e999"),
            details("\"3\"")
        );
        assert_eq!(kept(&mut okx, &frame).len(), 2);
    }

    #[test]
    fn a_field_that_is_no_json_costs_only_the_events_that_need_it() {
        let kinds = |events: Vec<Event>| {
            events
                .iter()
                .map(|event| Kind::ALL[event.series])
                .collect::<Vec<_>>()
        };
        let mut binance = decoder(Venue::Binance, "BTCUSDT");
        let mark = |price: &str, rate: &str| {
            format!(
                r#"{{"stream":"btcusdt@markPrice@1s","data":{{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":{price},"i":"1","r":{rate},"T":1562306400000}}}}"#
            )
        };
        assert_eq!(
            kinds(kept(&mut binance, &mark("\"1\"", "1e999"))),
            [Kind::MarkPrice]
        );
        assert_eq!(
            kinds(kept(&mut binance, &mark("\"1\"", "\"0.1\",\"r\":\"0.2\""))),
            [Kind::MarkPrice]
        );
        assert_eq!(
            kinds(kept(&mut binance, &mark("\"\\ud800\"", "\"0.1\""))),
            [Kind::Funding]
        );

        let mut bybit = decoder(Venue::Bybit, "BTCUSDT");
        let ticker = |rate: &str| {
            format!(
                r#"{{"topic":"tickers.BTCUSDT","type":"snapshot","cs":5,"ts":1672304486865,"data":{{"symbol":"BTCUSDT","markPrice":"1","fundingRate":{rate},"nextFundingTime":"1672304486865","openInterest":"3"}}}}"#
            )
        };
        assert_eq!(
            kinds(kept(&mut bybit, &ticker("1e999"))),
            [Kind::MarkPrice, Kind::OpenInterest]
        );
    }

    #[test]
    fn a_frame_that_has_no_end_is_refused_as_a_whole() {
        let mut bybit = decoder(Venue::Bybit, "BTCUSDT");
        let frame = r#"{"topic":"publicTrade.BTCUSDT","data":[{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"1","p":"1","i":"a","seq":1},{"T"#;
        assert!(kept(&mut bybit, frame).is_empty());
    }
}
