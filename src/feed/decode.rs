//! A frame becomes events, or the reason why not. One decoder per connection, because some exchanges send changes to a
//! state that begins with the connection.
//!
//! Strict about types, lenient about added fields. A frame that cannot be decoded gives no event at all, never half.

use std::collections::HashMap;

use super::{
    binance, bybit,
    event::{Event, Kind},
    okx,
    venue::Venue,
};

/// What a frame was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Events; they have been appended.
    Data,
    /// The answer to a ping.
    Pong,
    /// A subscription stands.
    Subscribed,
    /// The exchange refuses something that was asked for.
    Refused(String),
    /// The exchange will close this connection soon.
    Closing(String),
    /// Something else of no consequence.
    Other,
}

/// Which series are wanted, by the exchange's name of the symbol.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    places: HashMap<String, [Option<usize>; Kind::ALL.len()]>,
}

impl Directory {
    /// Notes that events of `kind` for `symbol`, as the exchange spells it, belong to the series at `place`.
    pub fn add(&mut self, symbol: &str, kind: Kind, place: usize) {
        if let Some(slot) = self.places.entry(symbol.to_owned()).or_default().get_mut(kind.index()) {
            *slot = Some(place);
        }
    }

    /// The place of a series; `None` when it was not asked for.
    pub(super) fn place(&self, symbol: &str, kind: Kind) -> Option<usize> {
        self.places.get(symbol)?.get(kind.index()).copied().flatten()
    }

    /// As [`Self::place`], for events that come only when they were asked for.
    pub(super) fn wanted(&self, symbol: &str, kind: Kind) -> Result<usize, String> {
        self.place(symbol, kind).ok_or_else(|| format!("{kind} of {symbol:?} was not asked for"))
    }
}

/// Decodes the frames of one connection.
#[derive(Debug)]
pub struct Decoder {
    venue: Venue,
    directory: Directory,
    bybit: bybit::Tickers,
    okx: okx::Indexes,
}

impl Decoder {
    /// A decoder for a connection that was just made.
    #[must_use]
    pub fn new(venue: Venue, directory: Directory) -> Self {
        Self { venue, directory, bybit: bybit::Tickers::default(), okx: okx::Indexes::default() }
    }

    /// Decodes a frame that was read at `ts_recv`, and appends its events to `out`.
    ///
    /// # Errors
    /// When the frame is not what the exchange documents; nothing is appended then.
    pub fn decode(&mut self, frame: &str, ts_recv: i64, out: &mut Vec<Event>) -> Result<Heard, String> {
        let before = out.len();
        let heard = match self.venue {
            Venue::Binance => binance::decode(frame, ts_recv, &self.directory, out),
            Venue::Bybit => bybit::decode(frame, ts_recv, &self.directory, &mut self.bybit, out),
            Venue::Okx => okx::decode(frame, ts_recv, &self.directory, &mut self.okx, out),
        };
        if heard.is_err() {
            out.truncate(before);
        }
        heard
    }
}

/// A JSON error as the reason of a refusal.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn not_json(error: serde_json::Error) -> String {
    error.to_string()
}
