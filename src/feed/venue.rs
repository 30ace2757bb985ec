//! The exchanges: which streams each has, where they are to be had, how a symbol is spelt there, how many subscriptions a
//! connection may carry, and how it is kept alive.
//!
//! Endpoints and limits are those of the exchanges' public documents as of November 2026. Refuses to connect: what comes
//! out is a list of connections to be made.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use super::{decode::Directory, event::Kind};
use crate::{
    error::{Error, Result},
    model::partition::{Exchange, Series, Stream, Symbol},
};

/// An exchange that can be collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Venue {
    /// Binance USDⓈ-M futures.
    Binance,
    /// Bybit v5, linear contracts.
    Bybit,
    /// OKX v5, swaps.
    Okx,
}

/// One of an exchange's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Its name, as in `binance.public`.
    pub name: &'static str,
    /// Where it is.
    pub url: &'static str,
    /// What a connection may carry.
    limit: usize,
}

/// How a connection is kept alive and known to be alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// After so long without a word from the other side it is asked for one.
    pub every: Duration,
    /// The text that asks; `None` for a ping frame.
    pub text: Option<&'static str>,
}

/// A series to be collected, and its column values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The exchange.
    pub venue: Venue,
    /// What the events are.
    pub kind: Kind,
    /// As paths spell it.
    pub series: Series,
    /// The value of the column `symbol`, such as `BTCUSDT`.
    pub symbol: String,
    /// As the exchange spells it, such as `BTC-USDT-SWAP`.
    wire: String,
}

/// A connection to be made and kept.
#[derive(Debug, Clone)]
pub struct Line {
    /// The exchange.
    pub venue: Venue,
    /// Its name, such as `binance.public/0`.
    pub name: String,
    /// Where it goes.
    pub url: String,
    /// The texts to be sent when it stands.
    pub hello: Vec<String>,
    /// What it brings, by the exchange's names.
    pub directory: Directory,
    /// The places in the list of series that it brings.
    pub series: Vec<usize>,
}

const BINANCE_PUBLIC: Route =
    Route { name: "binance.public", url: "wss://fstream.binance.com/public/stream", limit: 200 };
const BINANCE_MARKET: Route =
    Route { name: "binance.market", url: "wss://fstream.binance.com/market/stream", limit: 200 };
const BYBIT_LINEAR: Route = Route { name: "bybit.linear", url: "wss://stream.bybit.com/v5/public/linear", limit: 200 };
const OKX_PUBLIC: Route = Route { name: "okx.public", url: "wss://ws.okx.com:8443/ws/v5/public", limit: 100 };

impl Venue {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Binance, Self::Bybit, Self::Okx];

    /// The name in paths, columns and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::Bybit => "bybit",
            Self::Okx => "okx",
        }
    }

    /// The endpoints.
    #[must_use]
    pub const fn routes(self) -> &'static [Route] {
        match self {
            Self::Binance => &[BINANCE_PUBLIC, BINANCE_MARKET],
            Self::Bybit => &[BYBIT_LINEAR],
            Self::Okx => &[OKX_PUBLIC],
        }
    }

    /// How its connections are kept alive.
    #[must_use]
    pub const fn pulse(self) -> Pulse {
        let text = match self {
            Self::Binance => None,
            Self::Bybit => Some("{\"op\":\"ping\"}"),
            Self::Okx => Some("ping"),
        };
        Pulse { every: Duration::from_secs(20), text }
    }

    /// Where a stream comes from, and the exchange's names of what must be subscribed; `None` where there is no such stream.
    fn topics(self, kind: Kind, wire: &str) -> Option<(Route, Vec<String>)> {
        let lower = wire.to_ascii_lowercase();
        let okx = |channel: &str, id: &str| format!("{{\"channel\":\"{channel}\",\"instId\":\"{id}\"}}");
        Some(match (self, kind) {
            (Self::Binance, Kind::Bbo) => (BINANCE_PUBLIC, vec![format!("{lower}@bookTicker")]),
            (Self::Binance, Kind::Trade) => (BINANCE_MARKET, vec![format!("{lower}@aggTrade")]),
            (Self::Binance, Kind::MarkPrice | Kind::Funding) => (BINANCE_MARKET, vec![format!("{lower}@markPrice@1s")]),
            (Self::Binance, Kind::OpenInterest) => return None,
            (Self::Bybit, Kind::Bbo) => (BYBIT_LINEAR, vec![format!("orderbook.1.{wire}")]),
            (Self::Bybit, Kind::Trade) => (BYBIT_LINEAR, vec![format!("publicTrade.{wire}")]),
            (Self::Bybit, _) => (BYBIT_LINEAR, vec![format!("tickers.{wire}")]),
            (Self::Okx, Kind::Bbo) => (OKX_PUBLIC, vec![okx("bbo-tbt", wire)]),
            (Self::Okx, Kind::Trade) => (OKX_PUBLIC, vec![okx("trades", wire)]),
            (Self::Okx, Kind::MarkPrice) => {
                let index = wire.trim_end_matches("-SWAP");
                (OKX_PUBLIC, vec![okx("index-tickers", index), okx("mark-price", wire)])
            }
            (Self::Okx, Kind::Funding) => (OKX_PUBLIC, vec![okx("funding-rate", wire)]),
            (Self::Okx, Kind::OpenInterest) => (OKX_PUBLIC, vec![okx("open-interest", wire)]),
        })
    }

    /// A symbol as this exchange spells it.
    fn wire(self, plain: &str) -> Result<String> {
        match self {
            Self::Binance | Self::Bybit => Ok(plain.to_owned()),
            Self::Okx => {
                let split = ["USDT", "USDC", "USD"].into_iter().find_map(|quote| {
                    let base = plain.strip_suffix(quote).filter(|base| !base.is_empty())?;
                    Some(format!("{base}-{quote}-SWAP"))
                });
                split.ok_or_else(|| {
                    Error::usage(format!(
                        "{plain}: okx has swaps in USDT, USDC and USD; write a symbol that ends in one of them, as in btcusdt"
                    ))
                })
            }
        }
    }

    fn subscriptions(self, topics: &[String]) -> Vec<String> {
        match self {
            // They stand in the URL.
            Self::Binance => Vec::new(),
            Self::Bybit => {
                let quoted = |part: &[String]| part.iter().map(|t| format!("\"{t}\"")).collect::<Vec<_>>().join(",");
                topics.chunks(10).map(|part| format!("{{\"op\":\"subscribe\",\"args\":[{}]}}", quoted(part))).collect()
            }
            Self::Okx => {
                let one = |part: &[String]| format!("{{\"op\":\"subscribe\",\"args\":[{}]}}", part.join(","));
                topics.chunks(50).map(one).collect()
            }
        }
    }
}

impl Wanted {
    /// A series as an earlier process collected it, to be completed; it cannot be subscribed.
    ///
    /// # Errors
    /// When its exchange is unknown to this version.
    pub fn restored(series: Series, kind: Kind, symbol: String) -> Result<Self> {
        Ok(Self { venue: series.exchange.as_str().parse()?, kind, series, symbol, wire: String::new() })
    }
}

impl fmt::Display for Venue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Venue {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|venue| venue.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|venue| venue.name()).collect();
            Error::usage(format!("{text:?} is not an exchange that can be collected; these are: {}", names.join(", ")))
        })
    }
}

/// `btcusdt`, `BTCUSDT` or `BTC-USDT-SWAP` as `BTCUSDT`.
fn plain(symbol: &Symbol) -> String {
    let upper = symbol.as_str().to_ascii_uppercase();
    let bare = upper.strip_suffix("-SWAP").unwrap_or(&upper);
    bare.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// What is to be collected, and which combinations of exchange and stream do not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Every series, each once, in the order of the exchanges.
    pub series: Vec<Wanted>,
    /// Combinations that were left out because the exchange does not have the stream, though another one does.
    pub left_out: Vec<(Venue, Kind)>,
}

/// Every series of these exchanges, symbols and streams. An exchange that lacks a stream is left out for it, as long as
/// another one of the list has it.
///
/// # Errors
/// When none of the exchanges has a stream, or one cannot have a symbol.
pub fn choose(venues: &[Venue], symbols: &[Symbol], kinds: &[Kind]) -> Result<Choice> {
    let has = |venue: Venue, kind: Kind| venue.topics(kind, "").is_some();
    for kind in kinds {
        if !venues.iter().any(|venue| has(*venue, *kind)) {
            let names: Vec<&str> = venues.iter().map(|venue| venue.name()).collect();
            let others: Vec<&str> = Venue::ALL.iter().filter(|v| has(**v, *kind)).map(|v| v.name()).collect();
            return Err(Error::usage(format!(
                "{} has no {kind} by WebSocket: leave the stream out, or add an exchange that has it: {}",
                names.join(" and "),
                others.join(", ")
            )));
        }
    }
    let mut found: BTreeMap<(Venue, String, Kind), Wanted> = BTreeMap::new();
    let mut left_out = Vec::new();
    for venue in venues {
        left_out.extend(kinds.iter().filter(|kind| !has(*venue, **kind)).map(|kind| (*venue, *kind)));
        for symbol in symbols {
            let plain = plain(symbol);
            let wire = venue.wire(&plain)?;
            for kind in kinds.iter().filter(|kind| has(*venue, **kind)) {
                let series = Series {
                    exchange: venue.name().parse::<Exchange>()?,
                    stream: kind.name().parse::<Stream>()?,
                    symbol: plain.to_ascii_lowercase().parse()?,
                };
                let one = Wanted { venue: *venue, kind: *kind, series, symbol: plain.clone(), wire: wire.clone() };
                let _ = found.insert((*venue, plain.clone(), *kind), one);
            }
        }
    }
    Ok(Choice { series: found.into_values().collect(), left_out })
}

/// The connections that bring these series, none carrying more than its exchange allows. `endpoints` gives other places
/// for routes, by their names.
///
/// # Errors
/// When `endpoints` names a route that there is not.
pub fn lines(wanted: &[Wanted], endpoints: &BTreeMap<String, String>) -> Result<Vec<Line>> {
    let known: Vec<Route> = Venue::ALL.iter().flat_map(|venue| venue.routes()).copied().collect();
    if let Some(name) = endpoints.keys().find(|name| !known.iter().any(|route| route.name == **name)) {
        let names: Vec<&str> = known.iter().map(|route| route.name).collect();
        return Err(Error::usage(format!("{name} is not an endpoint; these are: {}", names.join(", "))));
    }
    let mut found = Vec::new();
    for route in known {
        let mut parts: Vec<(Vec<String>, Vec<usize>)> = vec![(Vec::new(), Vec::new())];
        let mut venue = None;
        // All topics of a symbol's mark price stay on one connection: the decoder joins them.
        for (place, one) in wanted.iter().enumerate() {
            let Some((_, topics)) = one.venue.topics(one.kind, &one.wire).filter(|(r, _)| *r == route) else {
                continue;
            };
            venue = Some(one.venue);
            // Two series can come by one topic, which is then subscribed once.
            if let Some((_, series)) = parts.iter_mut().find(|(known, _)| topics.iter().all(|t| known.contains(t))) {
                series.push(place);
                continue;
            }
            if parts.last().is_some_and(|(known, _)| known.len() + topics.len() > route.limit) {
                parts.push((Vec::new(), Vec::new()));
            }
            if let Some((known, series)) = parts.last_mut() {
                known.extend(topics);
                series.push(place);
            }
        }
        let Some(venue) = venue else { continue };
        let base = endpoints.get(route.name).map_or(route.url, String::as_str);
        for (number, (topics, series)) in parts.into_iter().enumerate() {
            let mut directory = Directory::default();
            for place in &series {
                if let Some(one) = wanted.get(*place) {
                    directory.add(&one.wire, one.kind, *place);
                }
            }
            let url = match venue {
                Venue::Binance => {
                    format!("{base}{}streams={}", if base.contains('?') { '&' } else { '?' }, topics.join("/"))
                }
                Venue::Bybit | Venue::Okx => base.to_owned(),
            };
            let hello = venue.subscriptions(&topics);
            found.push(Line { venue, name: format!("{}/{number}", route.name), url, hello, directory, series });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(names: &[&str]) -> Vec<Symbol> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn symbols_are_spelt_as_each_exchange_does() {
        let all = choose(&Venue::ALL, &symbols(&["BTC-USDT-SWAP", "btcusdt"]), &[Kind::Bbo]).unwrap().series;
        let told: Vec<_> = all.iter().map(|w| (w.series.to_string(), w.symbol.as_str(), w.wire.as_str())).collect();
        assert_eq!(
            told,
            [
                ("binance/bbo/btcusdt".to_owned(), "BTCUSDT", "BTCUSDT"),
                ("bybit/bbo/btcusdt".to_owned(), "BTCUSDT", "BTCUSDT"),
                ("okx/bbo/btcusdt".to_owned(), "BTCUSDT", "BTC-USDT-SWAP"),
            ]
        );
        assert!(choose(&[Venue::Okx], &symbols(&["btceur"]), &[Kind::Bbo]).is_err());
    }

    #[test]
    fn a_stream_that_no_exchange_has_is_a_mistake() {
        let refused = choose(&[Venue::Binance], &symbols(&["btcusdt"]), &[Kind::OpenInterest]).unwrap_err();
        assert_eq!(
            refused.chain(),
            "binance has no open_interest by WebSocket: leave the stream out, or add an exchange that has it: bybit, okx"
        );
        let some = choose(&Venue::ALL, &symbols(&["btcusdt"]), &[Kind::OpenInterest]).unwrap();
        assert_eq!((some.series.len(), some.left_out), (2, vec![(Venue::Binance, Kind::OpenInterest)]));
    }

    #[test]
    fn lines_carry_what_they_may_and_each_topic_once() {
        let kinds = [Kind::Bbo, Kind::Trade, Kind::MarkPrice, Kind::Funding];
        let all = choose(&Venue::ALL, &symbols(&["btcusdt"]), &kinds).unwrap().series;
        let lines = lines(&all, &BTreeMap::from([("okx.public".to_owned(), "ws://127.0.0.1:9/x".to_owned())])).unwrap();
        let told: Vec<String> = lines.iter().map(|l| format!("{} {} {}", l.name, l.url, l.hello.join(" "))).collect();
        assert_eq!(
            told,
            [
                "binance.public/0 wss://fstream.binance.com/public/stream?streams=btcusdt@bookTicker ",
                "binance.market/0 wss://fstream.binance.com/market/stream?streams=btcusdt@aggTrade/btcusdt@markPrice@1s ",
                "bybit.linear/0 wss://stream.bybit.com/v5/public/linear {\"op\":\"subscribe\",\"args\":[\"orderbook.1.BTCUSDT\",\
                 \"publicTrade.BTCUSDT\",\"tickers.BTCUSDT\"]}",
                "okx.public/0 ws://127.0.0.1:9/x {\"op\":\"subscribe\",\"args\":[{\"channel\":\"bbo-tbt\",\"instId\":\
                 \"BTC-USDT-SWAP\"},{\"channel\":\"trades\",\"instId\":\"BTC-USDT-SWAP\"},{\"channel\":\"index-tickers\",\
                 \"instId\":\"BTC-USDT\"},{\"channel\":\"mark-price\",\"instId\":\"BTC-USDT-SWAP\"},{\"channel\":\
                 \"funding-rate\",\"instId\":\"BTC-USDT-SWAP\"}]}",
            ]
        );
        let many: Vec<String> = (0..450).map(|n| format!("a{n}usdt")).collect();
        let many =
            choose(&[Venue::Binance], &symbols(&many.iter().map(String::as_str).collect::<Vec<_>>()), &[Kind::Bbo]);
        let split = super::lines(&many.unwrap().series, &BTreeMap::new()).unwrap();
        assert_eq!(split.iter().map(|l| l.series.len()).collect::<Vec<_>>(), [200, 200, 50]);
        assert!(super::lines(&all, &BTreeMap::from([("okx.private".to_owned(), String::new())])).is_err());
    }
}
