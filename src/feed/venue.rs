//! The exchanges that can be collected, what is wanted of them, and the connections that bring it.
//!
//! What is particular to an exchange stands in its own file, as a `Protocol`; here it has one line.
//! Endpoints and limits are those of the exchanges' public documents as of November 2026. Nothing
//! connects here: the result is a list of connections to be made.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use percent_encoding::percent_decode_str;

pub use super::route::{DialRate, Route, Topic, Transport};
use super::{
    binance, bybit,
    directory::{Directory, Reply},
    event::Kind,
    instrument::{Instrument, Page, Trading, Wish},
    okx,
    protocol::{Asking, Protocol},
    symbol::Spelling,
    tolerant,
};
use crate::{
    error::{Error, Result},
    model::{
        near::nearest,
        partition::{Exchange, Series, Stream, Symbol},
    },
};

/// Declares the exchanges: a line for each.
macro_rules! venues {
    ($($(#[$doc:meta])* $name:ident: $module:ident),* $(,)?) => {
        /// An exchange that can be collected.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Venue {
            $($(#[$doc])* $name,)*
        }

        impl Venue {
            /// All of them.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];

            /// What is particular to it.
            pub(super) const fn protocol(self) -> &'static Protocol {
                match self {
                    $(Self::$name => &$module::PROTOCOL,)*
                }
            }
        }
    };
}

venues! {
    /// Binance USDⓈ-M futures.
    Binance: binance,
    /// Bybit v5, linear contracts.
    Bybit: bybit,
    /// OKX v5, swaps.
    Okx: okx,
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
    pub wire: String,
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
    /// How it is talked to.
    pub by: Transport,
    /// What is subscribed.
    pub topics: Vec<Topic>,
    /// What it brings, by the exchange's names.
    pub directory: Directory,
    /// The places in the list of series that it brings.
    pub series: Vec<usize>,
    /// The topics of each of them, in their order.
    topics_of: Vec<(usize, Vec<usize>)>,
    /// Series that have ended, by their places; shared by all copies of this line.
    ended: Arc<HashMap<usize, AtomicBool>>,
}

impl Line {
    /// The topics that bring a series.
    #[must_use]
    pub fn topics_of(&self, series: usize) -> &[usize] {
        let at = self
            .topics_of
            .binary_search_by_key(&series, |(place, _)| *place);
        at.ok()
            .and_then(|at| self.topics_of.get(at))
            .map_or(&[], |(_, topics)| topics.as_slice())
    }

    /// Notes that a series has ended, or that it is wanted again.
    pub fn set_ended(&self, series: usize, ended: bool) {
        if let Some(flag) = self.ended.get(&series) {
            flag.store(ended, Ordering::Relaxed);
        }
    }

    fn has_ended(&self, series: usize) -> bool {
        self.ended
            .get(&series)
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// Whether all series of a topic have ended: nothing is expected of it any more.
    #[must_use]
    pub fn is_over(&self, topic: usize) -> bool {
        self.topics
            .get(topic)
            .is_some_and(|topic| topic.series.iter().all(|series| self.has_ended(*series)))
    }

    /// Whether all series have ended.
    #[must_use]
    pub fn is_all_over(&self) -> bool {
        self.series.iter().all(|series| self.has_ended(*series))
    }

    /// The longest time in which one of its topics brings something, where the exchange promises
    /// one.
    #[must_use]
    pub fn cadence(&self) -> Option<Duration> {
        let open = self
            .topics
            .iter()
            .enumerate()
            .filter(|(at, _)| !self.is_over(*at));
        open.filter_map(|(_, topic)| topic.cadence).min()
    }

    /// The messages that ask for everything when the connection stands, each with the topics that
    /// it asks for. Empty where the URL asks.
    #[must_use]
    pub fn subscribe(&self) -> Vec<(String, Vec<usize>)> {
        let all: Vec<usize> = (0..self.topics.len()).collect();
        match &self.venue.protocol().asking {
            Asking::Url { .. } => Vec::new(),
            Asking::Messages {
                many: Some((most, message)),
                ..
            } => {
                let parts = all.chunks(*most);
                let asked = parts.map(|part| {
                    let names = part
                        .iter()
                        .filter_map(|at| Some(self.topics.get(*at)?.name.as_str()));
                    (message(&names.collect::<Vec<_>>()), part.to_vec())
                });
                asked.collect()
            }
            Asking::Messages { many: None, .. } => all
                .into_iter()
                .filter_map(|at| Some((self.ask(at)?, vec![at])))
                .collect(),
        }
    }

    /// The message that asks for one topic; `None` where there is none.
    #[must_use]
    pub fn ask(&self, topic: usize) -> Option<String> {
        let name = &self.topics.get(topic)?.name;
        match &self.venue.protocol().asking {
            Asking::Url { one, .. } | Asking::Messages { one, .. } => Some(one(topic, name)),
        }
    }

    /// The message that asks which topics the connection has, where the URL asks for them.
    #[must_use]
    pub fn ask_for_list(&self) -> Option<String> {
        match &self.venue.protocol().asking {
            // No topic has this number.
            Asking::Url { list, .. } => Some(list(self.topics.len())),
            Asking::Messages { .. } => None,
        }
    }

    /// Whether an answer, which gives no list, is the one to [`Self::ask_for_list`].
    #[must_use]
    pub fn is_about_list(&self, reply: &Reply) -> bool {
        *reply == Reply::Request(self.topics.len())
    }

    /// Which of the topics are in a list that the exchange gave. It may write their names in
    /// another case, and encoded.
    #[must_use]
    pub fn listed(&self, names: &[String]) -> Vec<bool> {
        let plain = |name: &str| percent_decode_str(name).decode_utf8_lossy().to_lowercase();
        let names: BTreeSet<String> = names.iter().map(|name| plain(name)).collect();
        self.topics
            .iter()
            .map(|topic| names.contains(&plain(&topic.name)))
            .collect()
    }

    /// Whether it may bring nothing for long though all is well.
    #[must_use]
    pub fn may_be_quiet(&self) -> bool {
        self.topics
            .iter()
            .enumerate()
            .all(|(at, topic)| topic.may_be_quiet || self.is_over(at))
    }

    /// The topic that an answer is about.
    #[must_use]
    pub fn answered(&self, reply: &Reply) -> Option<usize> {
        match reply {
            Reply::All(_) => None,
            Reply::Request(number) => (*number < self.topics.len()).then_some(*number),
            Reply::Channel(channel, symbol) => self.topics.iter().position(|t| {
                t.answered
                    .as_ref()
                    .is_some_and(|(c, s)| c == channel && s == symbol)
            }),
        }
    }
}

/// The topic of all instruments of an exchange.
pub const INSTRUMENTS: &str = "instruments";

impl Venue {
    /// The name in paths, columns and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.protocol().name
    }

    /// The endpoints.
    #[must_use]
    pub const fn routes(self) -> &'static [Route] {
        self.protocol().routes
    }

    /// The endpoint of its requests.
    #[must_use]
    pub const fn rest(self) -> Route {
        self.protocol().rest
    }

    /// The requests that together list its instruments.
    #[must_use]
    pub const fn lists(self) -> &'static [&'static str] {
        self.protocol().lists
    }

    /// Reads an answer to one of them.
    ///
    /// # Errors
    /// When it is no list.
    pub fn instruments(self, body: &str) -> std::result::Result<Page, String> {
        let read = self.protocol().instruments;
        // What is no JSON costs its own instrument.
        read(body)
            .or_else(|reason| tolerant::mended(body).map_or(Err(reason), |mended| read(&mended)))
    }

    /// The shortest time between two requests.
    #[must_use]
    pub const fn request_pace(self) -> Duration {
        self.protocol().request_pace
    }

    /// A header of its answers that tells how much of an address's allowance is used, and how much
    /// may be before the rest is left to others.
    #[must_use]
    pub const fn allowance(self) -> Option<(&'static str, u32)> {
        self.protocol().allowance
    }

    /// How its connections are kept alive.
    #[must_use]
    pub const fn pulse(self) -> Pulse {
        Pulse {
            every: Duration::from_secs(20),
            text: self.protocol().ping,
        }
    }

    /// How often it may be dialled.
    #[must_use]
    pub const fn dial_rate(self) -> DialRate {
        self.protocol().dial_rate
    }

    /// Whether it answers for each topic that is asked for.
    #[must_use]
    pub const fn acknowledges(self) -> bool {
        matches!(self.protocol().asking, Asking::Messages { .. })
    }

    /// The longest time in which a stream that is alive brings something, where the exchange
    /// promises one: prices that are pushed by the clock, and books that are pushed again when
    /// nothing changes.
    #[must_use]
    pub fn cadence(self, kind: Kind) -> Option<Duration> {
        (self.protocol().cadence)(kind)
    }

    /// Where a stream comes from, and what must be subscribed.
    fn topics(self, kind: Kind, wire: &str) -> (Route, Vec<Topic>) {
        match kind {
            Kind::Instrument => (self.rest(), vec![Topic::plain(INSTRUMENTS.to_owned())]),
            kind => (self.protocol().topics)(kind, wire),
        }
    }

    /// How a stream comes.
    #[must_use]
    pub fn by(self, kind: Kind) -> Transport {
        self.topics(kind, "").0.by
    }

    /// Whether an instrument has a stream: a contract that is delivered on a day has no funding.
    fn has(self, kind: Kind, wire: &str) -> bool {
        kind != Kind::Funding || (self.protocol().has_funding)(wire)
    }

    /// A symbol as this exchange spells it.
    fn spell(self, typed: &Symbol) -> Result<Spelling> {
        (self.protocol().spell)(typed)
    }

    /// A name of its list.
    fn spell_listed(self, wire: &str) -> Spelling {
        (self.protocol().spell_listed)(wire)
    }
}

impl Wanted {
    /// The longest time in which it brings something while it is alive, where the exchange promises
    /// one.
    #[must_use]
    pub fn cadence(&self) -> Option<Duration> {
        self.venue.cadence(self.kind)
    }

    /// How it comes.
    #[must_use]
    pub fn by(&self) -> Transport {
        self.venue.by(self.kind)
    }

    /// A series as an earlier process collected it, to be completed; it cannot be subscribed.
    ///
    /// # Errors
    /// When its exchange is unknown to this version.
    pub fn restored(series: Series, kind: Kind, symbol: String) -> Result<Self> {
        Ok(Self {
            venue: series.exchange.as_str().parse()?,
            kind,
            series,
            symbol,
            wire: String::new(),
        })
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
        Self::ALL
            .into_iter()
            .find(|venue| venue.name() == text)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|venue| venue.name()).collect();
                let hint = nearest(text, names.iter().copied())
                    .map_or_else(String::new, |near| format!(" did you mean {near}?"));
                Error::usage(format!(
                    "{text:?} is not an exchange that can be collected;{hint} these are: {}",
                    names.join(", ")
                ))
            })
    }
}

/// The lists of instruments of the exchanges that gave one.
pub type Listings = BTreeMap<Venue, Vec<Instrument>>;

/// What is to be collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Every series, each once, in the order of the exchanges.
    pub series: Vec<Wanted>,
    /// Names that are not, or no more, in their exchange's list.
    pub unknown: Vec<(Venue, Symbol)>,
}

/// Every series of these exchanges, symbols and streams, without any list of instruments.
///
/// # Errors
/// As [`choose_listed`].
pub fn choose(venues: &[Venue], symbols: &[Symbol], kinds: &[Kind]) -> Result<Choice> {
    let wishes: Vec<Wish> = symbols.iter().cloned().map(Wish::Named).collect();
    choose_listed(venues, &wishes, kinds, &Listings::new())
}

/// The spellings at an exchange of what somebody wishes; `None` when its list does not have it.
fn spellings(
    venue: Venue,
    wish: &Wish,
    listed: Option<&Vec<Instrument>>,
) -> Result<Option<Vec<Spelling>>> {
    match (wish, listed) {
        (Wish::Named(typed), None) => Ok(Some(vec![venue.spell(typed)?])),
        (Wish::Named(typed), Some(listed)) => {
            let spelt = venue.spell(typed).ok();
            let is_meant = |one: &Spelling| {
                let name = spelt
                    .as_ref()
                    .map_or(typed.as_str(), |spelt| spelt.wire.as_str());
                one.wire.eq_ignore_ascii_case(name)
                    || (spelt.is_none() && one.column.eq_ignore_ascii_case(typed.as_str()))
            };
            let alive = listed
                .iter()
                .filter(|instrument| instrument.trading != Trading::Over);
            let found = alive
                .map(|instrument| venue.spell_listed(&instrument.wire))
                .find(is_meant);
            Ok(found.map(|found| vec![found]))
        }
        (Wish::Matching(_), None) => Err(Error::new(
            crate::error::Kind::Io,
            format!(
                "{wish} needs the list of instruments of {venue}, which could not be read; name the symbols, or try again"
            ),
        )),
        (Wish::Matching(pattern), Some(listed)) => {
            let live = listed
                .iter()
                .filter(|instrument| instrument.trading == Trading::Live);
            let all = live.map(|instrument| venue.spell_listed(&instrument.wire));
            Ok(Some(
                all.filter(|one| pattern.fits(&one.column) || pattern.fits(&one.wire))
                    .collect(),
            ))
        }
    }
}

/// Every series of these exchanges, wishes and streams. `listings` has the lists of the exchanges
/// that could be had; without one a name is taken as typed.
///
/// # Errors
/// When an exchange cannot have a symbol, or a pattern has no list to be looked up in.
pub fn choose_listed(
    venues: &[Venue],
    wishes: &[Wish],
    kinds: &[Kind],
    listings: &Listings,
) -> Result<Choice> {
    let mut found: BTreeMap<(Venue, String, Kind), Wanted> = BTreeMap::new();
    let mut unknown = Vec::new();
    for venue in venues {
        for wish in wishes {
            let Some(spelt) = spellings(*venue, wish, listings.get(venue))? else {
                if let Wish::Named(symbol) = wish {
                    unknown.push((*venue, symbol.clone()));
                }
                continue;
            };
            for Spelling { wire, column } in spelt {
                // A listed name that cannot stand in a path is not collected by a pattern.
                let Ok(symbol) = column.to_ascii_lowercase().parse::<Symbol>() else {
                    tracing::warn!(exchange = %venue, symbol = wire, "a listed name cannot stand in a path; it is left out");
                    continue;
                };
                // A typed name is asked for as it is typed; a pattern takes what there is.
                let is_pattern = matches!(wish, Wish::Matching(_));
                for kind in kinds
                    .iter()
                    .filter(|kind| !is_pattern || venue.has(**kind, &wire))
                {
                    let series = Series {
                        exchange: venue.name().parse::<Exchange>()?,
                        stream: kind.name().parse::<Stream>()?,
                        symbol: symbol.clone(),
                    };
                    let one = Wanted {
                        venue: *venue,
                        kind: *kind,
                        series,
                        symbol: column.clone(),
                        wire: wire.clone(),
                    };
                    let _ = found.insert((*venue, column.clone(), *kind), one);
                }
            }
        }
    }
    Ok(Choice {
        series: found.into_values().collect(),
        unknown,
    })
}

/// Connections as they are numbered: each route counts its own.
#[derive(Debug, Clone, Default)]
pub struct Numbers(BTreeMap<&'static str, usize>);

/// The connections that bring these series, none carrying more than its exchange allows.
/// `endpoints` gives other places for routes, by their names.
///
/// # Errors
/// When `endpoints` names a route that there is not.
pub fn lines(wanted: &[Wanted], endpoints: &BTreeMap<String, String>) -> Result<Vec<Line>> {
    more_lines(wanted, 0, endpoints, &mut Numbers::default())
}

/// As [`lines`], of series that come behind others: the first of them has the place `first`, and
/// the connections are numbered on from `numbers`.
///
/// # Errors
/// As [`lines`].
pub fn more_lines(
    wanted: &[Wanted],
    first: usize,
    endpoints: &BTreeMap<String, String>,
    numbers: &mut Numbers,
) -> Result<Vec<Line>> {
    let known: Vec<Route> = Venue::ALL
        .iter()
        .flat_map(|venue| venue.routes())
        .copied()
        .collect();
    if let Some(name) = endpoints
        .keys()
        .find(|name| !known.iter().any(|route| route.name == **name))
    {
        let names: Vec<&str> = known.iter().map(|route| route.name).collect();
        return Err(Error::usage(format!(
            "{name} is not an endpoint; these are: {}",
            names.join(", ")
        )));
    }
    let mut found = Vec::new();
    for route in known {
        let mut parts: Vec<(Vec<Topic>, Vec<usize>)> = vec![(Vec::new(), Vec::new())];
        let mut placed: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let mut venue = None;
        // All topics of a symbol's mark price stay on one connection: the decoder joins them.
        for (place, one) in (first..).zip(wanted) {
            let (by, topics) = one.venue.topics(one.kind, &one.wire);
            if by != route {
                continue;
            }
            venue = Some(one.venue);
            // Two series can come by one topic, which is then subscribed once.
            let known: Vec<(usize, usize)> = topics
                .iter()
                .filter_map(|t| placed.get(&t.name).copied())
                .collect();
            if known.len() == topics.len()
                && known
                    .windows(2)
                    .all(|pair| pair.first().map(|p| p.0) == pair.last().map(|p| p.0))
            {
                for (part, topic) in known {
                    if let Some((topics, series)) = parts.get_mut(part) {
                        if let Some(topic) = topics.get_mut(topic) {
                            topic.series.push(place);
                            topic.cadence = topic.cadence.into_iter().chain(one.cadence()).min();
                            topic.may_be_quiet &= one.kind.may_be_quiet();
                        }
                        if series.last() != Some(&place) {
                            series.push(place);
                        }
                    }
                }
                continue;
            }
            if parts
                .last()
                .is_some_and(|(known, _)| known.len() + topics.len() > route.limit)
            {
                parts.push((Vec::new(), Vec::new()));
            }
            let part = parts.len() - 1;
            if let Some((known, series)) = parts.last_mut() {
                for topic in topics {
                    let _ = placed.insert(topic.name.clone(), (part, known.len()));
                    let (cadence, may_be_quiet) = (one.cadence(), one.kind.may_be_quiet());
                    known.push(Topic {
                        series: vec![place],
                        cadence,
                        may_be_quiet,
                        ..topic
                    });
                }
                series.push(place);
            }
        }
        let Some(venue) = venue else { continue };
        let base = endpoints.get(route.name).map_or(route.url, String::as_str);
        for (topics, series) in parts {
            let mut directory = Directory::default();
            for place in &series {
                if let Some(one) = place.checked_sub(first).and_then(|place| wanted.get(place)) {
                    directory.add(&one.wire, one.kind, *place);
                }
            }
            let url = match (&venue.protocol().asking, route.by) {
                (Asking::Url { url, .. }, Transport::Socket) => url(
                    base,
                    &topics
                        .iter()
                        .map(|topic| topic.name.as_str())
                        .collect::<Vec<_>>(),
                ),
                _ => base.to_owned(),
            };
            let mut topics_of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (at, topic) in topics.iter().enumerate() {
                for place in &topic.series {
                    topics_of.entry(*place).or_default().push(at);
                }
            }
            let number = numbers.0.entry(route.name).or_default();
            let name = format!("{}/{number}", route.name);
            *number += 1;
            let ended = Arc::new(
                series
                    .iter()
                    .map(|place| (*place, AtomicBool::new(false)))
                    .collect(),
            );
            found.push(Line {
                venue,
                name,
                url,
                by: route.by,
                topics,
                directory,
                series,
                topics_of: topics_of.into_iter().collect(),
                ended,
            });
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
        let all = choose(
            &Venue::ALL,
            &symbols(&["BTC-USDT-SWAP", "btcusdt"]),
            &[Kind::Bbo],
        )
        .unwrap()
        .series;
        let told: Vec<_> = all
            .iter()
            .map(|w| (w.series.to_string(), w.symbol.as_str(), w.wire.as_str()))
            .collect();
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
    fn every_exchange_has_every_stream() {
        // What Binance does not push is polled.
        let some = choose(&Venue::ALL, &symbols(&["btcusdt"]), &Kind::ALL).unwrap();
        assert_eq!(some.series.len(), 3 * Kind::ALL.len());
        let polled = lines(&some.series, &BTreeMap::new()).unwrap();
        let polled = polled
            .iter()
            .find(|line| line.name == "binance.rest/0")
            .unwrap();
        let topics: Vec<&str> = polled.topics.iter().map(Topic::name).collect();
        assert_eq!(
            topics,
            ["/fapi/v1/openInterest?symbol=BTCUSDT", "instruments"]
        );
    }

    fn listed(names: &[(&str, Trading)]) -> Vec<Instrument> {
        let of = |(wire, trading): &(&str, Trading)| Instrument {
            wire: (*wire).to_owned(),
            trading: *trading,
            status: String::new(),
            tick_size: None,
            lot_size: None,
            contract_value: None,
            contract_multiplier: None,
        };
        names.iter().map(of).collect()
    }

    #[test]
    fn wishes_are_looked_up_in_the_list() {
        let okx = [
            ("BTC-USDT-SWAP", Trading::Live),
            ("NEW-USDT-SWAP", Trading::Upcoming),
            ("BTC-USDT-261225", Trading::Live),
            ("OLD-USDT-SWAP", Trading::Over),
            ("BTC-EUR-SWAP", Trading::Live),
        ];
        let listings = Listings::from([(Venue::Okx, listed(&okx))]);
        let check = |wish: &str, wires: &[&str], unknown: usize| {
            let choice = choose_listed(
                &[Venue::Okx],
                &[wish.parse().unwrap()],
                &[Kind::Bbo],
                &listings,
            )
            .unwrap();
            let got: Vec<&str> = choice
                .series
                .iter()
                .map(|wanted| wanted.wire.as_str())
                .collect();
            assert_eq!(
                (got, choice.unknown.len()),
                (wires.to_vec(), unknown),
                "{wish}"
            );
        };
        check(
            "all",
            &["BTC-EUR-SWAP", "BTC-USDT-261225", "BTC-USDT-SWAP"],
            0,
        );
        check("*usdt", &["BTC-USDT-SWAP"], 0);
        check("btc-usdt-*", &["BTC-USDT-261225", "BTC-USDT-SWAP"], 0);
        check("btcusdt", &["BTC-USDT-SWAP"], 0);
        check("btc-eur-swap", &["BTC-EUR-SWAP"], 0);
        check("newusdt", &["NEW-USDT-SWAP"], 0);
        check("oldusdt", &[], 1);
        check("nopeusdt", &[], 1);
        let all = ["all".parse().unwrap()];
        let funding = choose_listed(&[Venue::Okx], &all, &[Kind::Funding], &listings)
            .unwrap()
            .series;
        assert!(
            funding.iter().all(|wanted| wanted.wire.ends_with("-SWAP")) && funding.len() == 2,
            "{funding:?}"
        );
        assert!(
            choose_listed(&[Venue::Bybit], &all, &[Kind::Bbo], &listings).is_err(),
            "there is no list"
        );
    }

    #[test]
    fn names_of_any_script_are_asked_for_as_typed() {
        let all = choose(&Venue::ALL, &symbols(&["币安人生usdt"]), &[Kind::Trade])
            .unwrap()
            .series;
        assert_eq!(all[0].series.to_string(), "binance/trade/币安人生usdt");
        let lines = lines(&all, &BTreeMap::new()).unwrap();
        assert!(
            lines[0]
                .url
                .ends_with("streams=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt@aggTrade"),
            "{}",
            lines[0].url
        );
        assert_eq!(lines[1].topics[0].name(), "publicTrade.币安人生USDT");
    }

    #[test]
    fn of_a_series_that_has_ended_nothing_is_expected() {
        let kinds = [Kind::MarkPrice, Kind::Funding];
        let all = choose(&[Venue::Binance], &symbols(&["btcusdt", "ethusdt"]), &kinds)
            .unwrap()
            .series;
        let line = lines(&all, &BTreeMap::new()).unwrap().remove(0);
        let copy = line.clone();
        line.set_ended(0, true);
        assert!(
            !copy.is_over(0) && copy.cadence().is_some(),
            "its funding goes on"
        );
        line.set_ended(1, true);
        assert!(copy.is_over(0) && !copy.is_over(1) && !copy.is_all_over());
        for place in 2..4 {
            line.set_ended(place, true);
        }
        assert!(copy.is_all_over() && copy.cadence().is_none());
        line.set_ended(0, false);
        assert!(!copy.is_over(0));
    }

    #[test]
    fn what_the_url_asks_for_is_found_in_the_exchanges_list() {
        let kinds = [Kind::Trade, Kind::Liquidation];
        let all = choose(
            &[Venue::Binance],
            &symbols(&["btcusdt", "币安人生usdt"]),
            &kinds,
        )
        .unwrap()
        .series;
        let line = lines(&all, &BTreeMap::new()).unwrap().remove(0);
        assert!(line.may_be_quiet() && line.topics.len() == 4);
        assert_eq!(
            line.ask_for_list().unwrap(),
            r#"{"method":"LIST_SUBSCRIPTIONS","id":4}"#
        );
        let asked = line.ask(1).unwrap();
        assert_eq!(
            asked,
            format!(
                r#"{{"method":"SUBSCRIBE","params":["{}"],"id":1}}"#,
                line.topics[1].name()
            )
        );
        let named = |line: &Line| {
            line.topics
                .iter()
                .map(|topic| topic.name().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(line.listed(&named(&line)), [true; 4]);
        let encoded = "%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt@forceOrder".to_owned();
        assert_eq!(
            line.listed(&[encoded, "BTCUSDT@aggTrade".to_owned()])
                .iter()
                .filter(|is| **is)
                .count(),
            2
        );
        assert_eq!(
            (line.listed(&[]), line.is_about_list(&Reply::Request(4))),
            (vec![false; 4], true)
        );
        let clocked = choose(
            &[Venue::Binance],
            &symbols(&["btcusdt"]),
            &[Kind::Trade, Kind::MarkPrice],
        )
        .unwrap()
        .series;
        assert!(!lines(&clocked, &BTreeMap::new()).unwrap()[0].may_be_quiet());
        let okx = choose(&[Venue::Okx], &symbols(&["btcusdt"]), &kinds)
            .unwrap()
            .series;
        assert_eq!(
            lines(&okx, &BTreeMap::new()).unwrap()[0].ask_for_list(),
            None
        );
    }

    #[test]
    fn lines_carry_what_they_may_and_each_topic_once() {
        let kinds = [Kind::Bbo, Kind::Trade, Kind::MarkPrice, Kind::Funding];
        let all = choose(&Venue::ALL, &symbols(&["btcusdt"]), &kinds)
            .unwrap()
            .series;
        let lines = lines(
            &all,
            &BTreeMap::from([("okx.public".to_owned(), "ws://127.0.0.1:9/x".to_owned())]),
        )
        .unwrap();
        let hello = |line: &Line| {
            line.subscribe()
                .into_iter()
                .map(|(text, _)| text)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let told: Vec<String> = lines
            .iter()
            .map(|l| format!("{} {} {}", l.name, l.url, hello(l)))
            .collect();
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
        let topics: Vec<Vec<usize>> = lines
            .iter()
            .map(|l| l.topics.iter().map(|t| t.series.len()).collect())
            .collect();
        assert_eq!(
            topics,
            [vec![1], vec![1, 2], vec![1, 1, 2], vec![1, 1, 1, 1, 1]],
            "two series come by one topic"
        );
        let reply = Reply::Channel("mark-price".to_owned(), "BTC-USDT-SWAP".to_owned());
        assert_eq!(lines[3].answered(&reply), Some(3));
        assert_eq!(
            (
                lines[2].answered(&Reply::Request(2)),
                lines[2].answered(&Reply::Request(3))
            ),
            (Some(2), None)
        );
        let many: Vec<String> = (0..450).map(|n| format!("a{n}usdt")).collect();
        let many = choose(
            &[Venue::Binance],
            &symbols(&many.iter().map(String::as_str).collect::<Vec<_>>()),
            &[Kind::Bbo],
        );
        let split = super::lines(&many.unwrap().series, &BTreeMap::new()).unwrap();
        assert_eq!(
            split.iter().map(|l| l.series.len()).collect::<Vec<_>>(),
            [200, 200, 50]
        );
        assert!(
            super::lines(
                &all,
                &BTreeMap::from([("okx.private".to_owned(), String::new())])
            )
            .is_err()
        );
    }
}
