//! A frame becomes events, or the reason why not. One decoder per connection, because some exchanges send changes to a
//! state that begins with the connection.
//!
//! Strict about types, lenient about added fields. A frame that cannot be decoded gives no event at all, never half.

use super::{
    binance, bybit,
    directory::{Directory, Heard},
    event::Event,
    okx,
    venue::Venue,
};

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
