//! The exchanges: which streams each has, where they are to be had, how a symbol is spelt there, how many subscriptions a
//! connection may carry, and how it is kept alive.
//!
//! Endpoints and limits are those of the exchanges' public documents as of November 2026. Refuses to connect: what comes
//! out is a list of connections to be made.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
    time::Duration,
};

use super::{
    directory::{Directory, Reply},
    event::Kind,
    symbol::{self, Spelling},
};
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

/// How often an exchange lets an address connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialRate {
    /// So many at once, after a time of quiet.
    pub burst: u32,
    /// From then on one in so much time.
    pub every: Duration,
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

/// One thing that is subscribed on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// As the exchange names it when it is asked for.
    name: String,
    /// As its answers name it, where they do.
    answered: Option<(String, String)>,
    /// The longest time in which it brings something while it is alive, where the exchange promises one.
    pub cadence: Option<Duration>,
    /// The places in the list of series that it brings, or is needed for.
    pub series: Vec<usize>,
}

impl Topic {
    /// As the exchange names it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
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
    /// What is subscribed.
    pub topics: Vec<Topic>,
    /// What it brings, by the exchange's names.
    pub directory: Directory,
    /// The places in the list of series that it brings.
    pub series: Vec<usize>,
    /// The topics of each of them.
    topics_of: HashMap<usize, Vec<usize>>,
}

impl Line {
    /// The topics that bring a series.
    #[must_use]
    pub fn topics_of(&self, series: usize) -> &[usize] {
        self.topics_of.get(&series).map_or(&[], Vec::as_slice)
    }

    /// The longest time in which one of its topics brings something, where the exchange promises one.
    #[must_use]
    pub fn cadence(&self) -> Option<Duration> {
        self.topics.iter().filter_map(|topic| topic.cadence).min()
    }

    /// The messages that ask for everything when the connection stands, each with the topics that it asks for. Empty where
    /// the URL asks.
    #[must_use]
    pub fn subscribe(&self) -> Vec<(String, Vec<usize>)> {
        let all: Vec<usize> = (0..self.topics.len()).collect();
        match self.venue {
            Venue::Binance => Vec::new(),
            // An unknown topic has its whole message refused: one topic a message, and a number by which it is answered.
            Venue::Bybit => all.into_iter().filter_map(|at| Some((self.ask(at)?, vec![at]))).collect(),
            Venue::Okx => all
                .chunks(50)
                .map(|part| {
                    let names: Vec<&str> =
                        part.iter().filter_map(|at| Some(self.topics.get(*at)?.name.as_str())).collect();
                    (format!("{{\"op\":\"subscribe\",\"args\":[{}]}}", names.join(",")), part.to_vec())
                })
                .collect(),
        }
    }

    /// The message that asks for one topic; `None` where there is none.
    #[must_use]
    pub fn ask(&self, topic: usize) -> Option<String> {
        let name = &self.topics.get(topic)?.name;
        match self.venue {
            Venue::Binance => None,
            Venue::Bybit => Some(format!("{{\"req_id\":\"{topic}\",\"op\":\"subscribe\",\"args\":[\"{name}\"]}}")),
            Venue::Okx => Some(format!("{{\"id\":\"{topic}\",\"op\":\"subscribe\",\"args\":[{name}]}}")),
        }
    }

    /// The topic that an answer is about.
    #[must_use]
    pub fn answered(&self, reply: &Reply) -> Option<usize> {
        match reply {
            Reply::Request(number) => (*number < self.topics.len()).then_some(*number),
            Reply::Channel(channel, symbol) => {
                self.topics.iter().position(|t| t.answered.as_ref().is_some_and(|(c, s)| c == channel && s == symbol))
            }
        }
    }
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

    /// How often it may be dialled. Binance documents 300 connections in five minutes, Bybit 500, OKX three a second.
    #[must_use]
    pub const fn dial_rate(self) -> DialRate {
        match self {
            Self::Binance => DialRate { burst: 20, every: Duration::from_millis(1100) },
            Self::Bybit => DialRate { burst: 20, every: Duration::from_millis(700) },
            Self::Okx => DialRate { burst: 1, every: Duration::from_millis(350) },
        }
    }

    /// Whether it answers what is asked for.
    #[must_use]
    pub const fn acknowledges(self) -> bool {
        matches!(self, Self::Bybit | Self::Okx)
    }

    /// The longest time in which a stream that is alive brings something, where the exchange promises one: prices that are
    /// pushed by the clock, and books that are pushed again when nothing changes.
    #[must_use]
    pub const fn cadence(self, kind: Kind) -> Option<Duration> {
        match (self, kind) {
            (Self::Binance, Kind::MarkPrice) => Some(Duration::from_secs(1)),
            (Self::Bybit, Kind::Bbo) => Some(Duration::from_secs(3)),
            (Self::Okx, Kind::MarkPrice) => Some(Duration::from_secs(10)),
            _ => None,
        }
    }

    /// Where a stream comes from, and what must be subscribed; `None` where there is no such stream.
    fn topics(self, kind: Kind, wire: &str) -> Option<(Route, Vec<Topic>)> {
        let lower = || wire.to_ascii_lowercase();
        let plain = |name: String| vec![Topic { name, answered: None, cadence: None, series: Vec::new() }];
        let okx = |channel: &str, id: &str| Topic {
            name: format!("{{\"channel\":\"{channel}\",\"instId\":\"{id}\"}}"),
            answered: Some((channel.to_owned(), id.to_owned())),
            cadence: None,
            series: Vec::new(),
        };
        Some(match (self, kind) {
            (Self::Binance, Kind::Bbo) => (BINANCE_PUBLIC, plain(format!("{}@bookTicker", lower()))),
            (Self::Binance, Kind::Trade) => (BINANCE_MARKET, plain(format!("{}@aggTrade", lower()))),
            (Self::Binance, Kind::MarkPrice | Kind::Funding) => {
                (BINANCE_MARKET, plain(format!("{}@markPrice@1s", lower())))
            }
            (Self::Binance, Kind::OpenInterest) => return None,
            (Self::Bybit, Kind::Bbo) => (BYBIT_LINEAR, plain(format!("orderbook.1.{wire}"))),
            (Self::Bybit, Kind::Trade) => (BYBIT_LINEAR, plain(format!("publicTrade.{wire}"))),
            (Self::Bybit, _) => (BYBIT_LINEAR, plain(format!("tickers.{wire}"))),
            (Self::Okx, Kind::Bbo) => (OKX_PUBLIC, vec![okx("bbo-tbt", wire)]),
            (Self::Okx, Kind::Trade) => (OKX_PUBLIC, vec![okx("trades", wire)]),
            (Self::Okx, Kind::MarkPrice) => {
                (OKX_PUBLIC, vec![okx("index-tickers", &symbol::okx_index(wire)), okx("mark-price", wire)])
            }
            (Self::Okx, Kind::Funding) => (OKX_PUBLIC, vec![okx("funding-rate", wire)]),
            (Self::Okx, Kind::OpenInterest) => (OKX_PUBLIC, vec![okx("open-interest", wire)]),
        })
    }

    /// A symbol as this exchange spells it.
    fn spell(self, typed: &Symbol) -> Result<Spelling> {
        match self {
            Self::Binance | Self::Bybit => Ok(symbol::plain(typed)),
            Self::Okx => symbol::okx(typed),
        }
    }
}

impl Wanted {
    /// The longest time in which it brings something while it is alive, where the exchange promises one.
    #[must_use]
    pub fn cadence(&self) -> Option<Duration> {
        self.venue.cadence(self.kind)
    }

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
            let Spelling { wire, column } = venue.spell(symbol)?;
            for kind in kinds.iter().filter(|kind| has(*venue, **kind)) {
                let series = Series {
                    exchange: venue.name().parse::<Exchange>()?,
                    stream: kind.name().parse::<Stream>()?,
                    symbol: column.to_ascii_lowercase().parse()?,
                };
                let one = Wanted { venue: *venue, kind: *kind, series, symbol: column.clone(), wire: wire.clone() };
                let _ = found.insert((*venue, column.clone(), *kind), one);
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
        let mut parts: Vec<(Vec<Topic>, Vec<usize>)> = vec![(Vec::new(), Vec::new())];
        let mut placed: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let mut venue = None;
        // All topics of a symbol's mark price stay on one connection: the decoder joins them.
        for (place, one) in wanted.iter().enumerate() {
            let Some((_, topics)) = one.venue.topics(one.kind, &one.wire).filter(|(r, _)| *r == route) else {
                continue;
            };
            venue = Some(one.venue);
            // Two series can come by one topic, which is then subscribed once.
            let known: Vec<(usize, usize)> = topics.iter().filter_map(|t| placed.get(&t.name).copied()).collect();
            if known.len() == topics.len()
                && known.windows(2).all(|pair| pair.first().map(|p| p.0) == pair.last().map(|p| p.0))
            {
                for (part, topic) in known {
                    if let Some((topics, series)) = parts.get_mut(part) {
                        if let Some(topic) = topics.get_mut(topic) {
                            topic.series.push(place);
                            topic.cadence = topic.cadence.into_iter().chain(one.cadence()).min();
                        }
                        if series.last() != Some(&place) {
                            series.push(place);
                        }
                    }
                }
                continue;
            }
            if parts.last().is_some_and(|(known, _)| known.len() + topics.len() > route.limit) {
                parts.push((Vec::new(), Vec::new()));
            }
            let part = parts.len() - 1;
            if let Some((known, series)) = parts.last_mut() {
                for topic in topics {
                    let _ = placed.insert(topic.name.clone(), (part, known.len()));
                    known.push(Topic { series: vec![place], cadence: one.cadence(), ..topic });
                }
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
                    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
                    format!("{base}{}streams={}", if base.contains('?') { '&' } else { '?' }, names.join("/"))
                }
                Venue::Bybit | Venue::Okx => base.to_owned(),
            };
            let mut topics_of: HashMap<usize, Vec<usize>> = HashMap::new();
            for (at, topic) in topics.iter().enumerate() {
                for place in &topic.series {
                    topics_of.entry(*place).or_default().push(at);
                }
            }
            let name = format!("{}/{number}", route.name);
            found.push(Line { venue, name, url, topics, directory, series, topics_of });
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
        let hello = |line: &Line| line.subscribe().into_iter().map(|(text, _)| text).collect::<Vec<_>>().join(" ");
        let told: Vec<String> = lines.iter().map(|l| format!("{} {} {}", l.name, l.url, hello(l))).collect();
        assert_eq!(
            told,
            [
                "binance.public/0 wss://fstream.binance.com/public/stream?streams=btcusdt@bookTicker ",
                "binance.market/0 wss://fstream.binance.com/market/stream?streams=btcusdt@aggTrade/btcusdt@markPrice@1s ",
                "bybit.linear/0 wss://stream.bybit.com/v5/public/linear \
                 {\"req_id\":\"0\",\"op\":\"subscribe\",\"args\":[\"orderbook.1.BTCUSDT\"]} \
                 {\"req_id\":\"1\",\"op\":\"subscribe\",\"args\":[\"publicTrade.BTCUSDT\"]} \
                 {\"req_id\":\"2\",\"op\":\"subscribe\",\"args\":[\"tickers.BTCUSDT\"]}",
                "okx.public/0 ws://127.0.0.1:9/x {\"op\":\"subscribe\",\"args\":[{\"channel\":\"bbo-tbt\",\"instId\":\
                 \"BTC-USDT-SWAP\"},{\"channel\":\"trades\",\"instId\":\"BTC-USDT-SWAP\"},{\"channel\":\"index-tickers\",\
                 \"instId\":\"BTC-USDT\"},{\"channel\":\"mark-price\",\"instId\":\"BTC-USDT-SWAP\"},{\"channel\":\
                 \"funding-rate\",\"instId\":\"BTC-USDT-SWAP\"}]}",
            ]
        );
        let topics: Vec<Vec<usize>> = lines.iter().map(|l| l.topics.iter().map(|t| t.series.len()).collect()).collect();
        assert_eq!(topics, [vec![1], vec![1, 2], vec![1, 1, 2], vec![1, 1, 1, 1, 1]], "two series come by one topic");
        let reply = Reply::Channel("mark-price".to_owned(), "BTC-USDT-SWAP".to_owned());
        assert_eq!(lines[3].answered(&reply), Some(3));
        assert_eq!((lines[2].answered(&Reply::Request(2)), lines[2].answered(&Reply::Request(3))), (Some(2), None));
        let many: Vec<String> = (0..450).map(|n| format!("a{n}usdt")).collect();
        let many =
            choose(&[Venue::Binance], &symbols(&many.iter().map(String::as_str).collect::<Vec<_>>()), &[Kind::Bbo]);
        let split = super::lines(&many.unwrap().series, &BTreeMap::new()).unwrap();
        assert_eq!(split.iter().map(|l| l.series.len()).collect::<Vec<_>>(), [200, 200, 50]);
        assert!(super::lines(&all, &BTreeMap::from([("okx.private".to_owned(), String::new())])).is_err());
    }
}
