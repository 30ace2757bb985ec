//! What is particular to an exchange, in one value: its endpoints and limits, how a symbol is spelt
//! there, how topics are asked for and answered, how frames are read.
//!
//! Each exchange has a file with its [`Protocol`], and a line in the list of [`super::venue`].
//! Nothing else names an exchange.

use std::{fmt::Debug, time::Duration};

use super::{
    directory::{Directory, Heard},
    event::{Event, Kind},
    instrument::Page,
    route::{DialRate, Route, Topic, Transport},
    symbol::Spelling,
};
use crate::{error::Result, model::partition::Symbol};

/// Why something cannot be used, in words.
type Unusable = String;

/// All that is particular to an exchange.
pub(super) struct Protocol {
    /// The name in paths, columns and flags.
    pub(super) name: &'static str,
    /// The endpoints.
    pub(super) routes: &'static [Route],
    /// The one of its requests.
    pub(super) rest: Route,
    /// The requests that together list its instruments.
    pub(super) lists: &'static [&'static str],
    /// Reads an answer to one of them.
    pub(super) instruments: fn(&str) -> std::result::Result<Page, Unusable>,
    /// The shortest time between two requests.
    pub(super) request_pace: Duration,
    /// A header that tells how much of an address's allowance is used, and how much may be before
    /// others go first.
    pub(super) allowance: Option<(&'static str, u32)>,
    /// The text that asks for a sign of life; `None` for a ping frame.
    pub(super) ping: Option<&'static str>,
    /// How often it may be dialled.
    pub(super) dial_rate: DialRate,
    /// The longest time in which a stream that is alive brings something, where the exchange
    /// promises one.
    pub(super) cadence: fn(Kind) -> Option<Duration>,
    /// Where a stream of a symbol comes from, and what must be subscribed. Instruments are lists
    /// everywhere, and never asked for.
    pub(super) topics: fn(Kind, &str) -> (Route, Vec<Topic>),
    /// How topics are asked for.
    pub(super) asking: Asking,
    /// Whether a contract has funding: one that is delivered on a day has none.
    pub(super) has_funding: fn(&str) -> bool,
    /// A symbol as this exchange spells it.
    pub(super) spell: fn(&Symbol) -> Result<Spelling>,
    /// A name of its list.
    pub(super) spell_listed: fn(&str) -> Spelling,
    /// What reads the frames of a connection that was just made.
    pub(super) frames: fn() -> Box<dyn Frames>,
    /// Reads the answer to a request of a stream that has to be polled.
    pub(super) answer:
        fn(&str, i64, &Directory, &mut Vec<Event>) -> std::result::Result<(), Unusable>,
}

/// Makes a message of the names of topics.
type Message = fn(&[&str]) -> String;

/// How topics are asked for.
pub(super) enum Asking {
    /// By the URL, which is not answered. What a connection has is known when the exchange lists
    /// it.
    Url {
        /// The URL of the endpoint and the topics' names.
        url: fn(&str, &[&str]) -> String,
        /// The message that asks for the list of the connection's topics, with a number by which it
        /// is answered.
        list: fn(usize) -> String,
        /// The message that asks for one topic more, likewise.
        one: fn(usize, &str) -> String,
    },
    /// By messages, each of which is answered.
    Messages {
        /// The message for one topic, with a number by which it is answered.
        one: fn(usize, &str) -> String,
        /// So many topics a message at the beginning, and that message; `None` where an unknown
        /// topic has its whole message refused.
        many: Option<(usize, Message)>,
    },
}

/// Reads the frames of one connection, which may send changes to a state that begins with it.
pub(super) trait Frames: Debug + Send + Sync {
    /// Decodes a frame that was read at `ts_recv`, and appends its events to `out`.
    fn decode(
        &mut self,
        frame: &str,
        ts_recv: i64,
        wanted: &Directory,
        out: &mut Vec<Event>,
    ) -> std::result::Result<Heard, Unusable>;
}

/// An endpoint whose connections carry so many topics.
pub(super) const fn socket(name: &'static str, url: &'static str, limit: usize) -> Route {
    Route {
        name,
        url,
        limit,
        by: Transport::Socket,
    }
}

/// An endpoint that is asked by requests.
pub(super) const fn requests(name: &'static str, url: &'static str) -> Route {
    Route {
        name,
        url,
        limit: usize::MAX,
        by: Transport::Requests,
    }
}

/// For an exchange of which nothing is polled.
pub(super) fn not_polled(
    _: &str,
    _: i64,
    _: &Directory,
    _: &mut Vec<Event>,
) -> std::result::Result<(), Unusable> {
    Err("nothing of this exchange is polled".to_owned())
}
