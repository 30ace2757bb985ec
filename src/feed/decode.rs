//! A frame becomes events, or the reason why not. One decoder per connection, because some exchanges send changes to a
//! state that begins with the connection.
//!
//! Strict about types, lenient about added fields. Each event is judged by itself: an error in one event of a frame
//! costs none of the others.

use super::{
    directory::{Directory, Heard},
    event::Event,
    protocol::Frames,
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
        Self { venue, directory, frames: (venue.protocol().frames)() }
    }

    /// Decodes a frame that was read at `ts_recv`, and appends its events to `out`.
    ///
    /// # Errors
    /// What of the frame is not as the exchange documents. Its other events are appended all the same.
    pub fn decode(&mut self, frame: &str, ts_recv: i64, out: &mut Vec<Event>) -> Result<Heard, String> {
        self.frames.decode(frame, ts_recv, &self.directory, out)
    }

    /// Decodes an answer to a request of a stream that has to be polled.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn answer(&self, body: &str, ts_recv: i64, out: &mut Vec<Event>) -> Result<(), String> {
        (self.venue.protocol().answer)(body, ts_recv, &self.directory, out)
    }
}
