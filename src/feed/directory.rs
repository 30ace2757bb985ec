//! What all decoders share: which series are wanted, and what a frame can contain. It knows no
//! exchange.

use std::collections::HashMap;

use super::event::Kind;

/// What a frame was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Events; they have been appended.
    Data,
    /// The answer to a ping.
    Pong,
    /// A subscription stands; which one, where the exchange says so.
    Subscribed(Option<Reply>),
    /// The exchange refuses something that was asked for.
    Refused {
        /// What, where the exchange says so.
        what: Option<Reply>,
        /// Why, in its words.
        text: String,
    },
    /// The exchange will close this connection soon.
    Closing(String),
    /// Something else of no consequence.
    Other,
}

/// How an exchange's answer names what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// By the number that the question bore.
    Request(usize),
    /// By channel and instrument.
    Channel(String, String),
    /// By a list of all topics that the connection has.
    All(Vec<String>),
}

/// Which series are wanted, by the exchange's name of the symbol.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    places: HashMap<String, [Option<usize>; Kind::ALL.len()]>,
}

impl Directory {
    /// Notes that events of `kind` for `symbol`, as the exchange spells it, belong to the series at
    /// `place`.
    pub fn add(&mut self, symbol: &str, kind: Kind, place: usize) {
        if let Some(slot) = self
            .places
            .entry(symbol.to_owned())
            .or_default()
            .get_mut(kind.index())
        {
            *slot = Some(place);
        }
    }

    /// The place of a series; `None` when it was not asked for.
    #[must_use]
    pub fn place(&self, symbol: &str, kind: Kind) -> Option<usize> {
        self.places
            .get(symbol)?
            .get(kind.index())
            .copied()
            .flatten()
    }

    /// As [`Self::place`], for events that come only when they were asked for.
    pub(super) fn wanted(&self, symbol: &str, kind: Kind) -> Result<usize, String> {
        self.place(symbol, kind)
            .ok_or_else(|| format!("{kind} of {symbol:?} was not asked for"))
    }
}

/// A JSON error as the reason of a refusal.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
pub(super) fn not_json(error: serde_json::Error) -> String {
    error.to_string()
}
