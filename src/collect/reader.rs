//! Messages of a connection become events, or are kept as rejected. An event whose time lies in the
//! future is rejected: taken as the newest, it would make all that follow look old.

use std::time::Duration;

use tokio_tungstenite::tungstenite::{Error as SocketError, Message, protocol::frame::Utf8Bytes};

use super::{
    news::{Group, Reject},
    options::Clock,
};
use crate::feed::{
    decode::Decoder,
    directory::{Heard, Reply},
    event::Event,
    venue::Line,
};

/// An event may be so far ahead of our clock.
const AHEAD: Duration = Duration::from_mins(2);
/// When so many events in a row are ahead, it is our clock that is behind.
const CLOCK_IS_BEHIND: u32 = 20;

/// What a message was.
#[derive(Debug)]
pub(super) enum Taken {
    Data,
    Subscribed(Option<Reply>),
    Refused(Option<Reply>, String),
    Closing(String),
    /// The answer to a ping frame.
    Pong,
    Nothing,
    /// The last one: why, and by whose fault.
    End(String, &'static str),
}

/// Reads one connection.
pub(super) struct Reader {
    decoder: Decoder,
    clock: Clock,
    pub(super) group: Group,
    future: Future,
    /// When the last message came, of whatever kind.
    pub(super) heard_ns: i64,
}

impl Reader {
    pub(super) fn new(line: &Line, clock: Clock) -> Self {
        let decoder = Decoder::new(line.venue, line.directory.clone());
        Self {
            decoder,
            clock,
            group: Group::default(),
            future: Future::default(),
            heard_ns: clock(),
        }
    }

    pub(super) fn take(&mut self, message: Option<Result<Message, SocketError>>) -> Taken {
        let at = (self.clock)();
        if matches!(message, Some(Ok(_))) {
            self.heard_ns = at;
        }
        let text: Utf8Bytes = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(bytes))) => {
                self.count(bytes.len(), at);
                self.reject(
                    at,
                    "is no text".to_owned(),
                    crate::storage::store::hex(&bytes),
                    true,
                );
                return Taken::Nothing;
            }
            Some(Ok(Message::Close(frame))) => {
                let reason = frame.map_or_else(String::new, |f| {
                    format!(": {} {}", u16::from(f.code), f.reason)
                });
                return Taken::End(format!("closed by the exchange{reason}"), "feed");
            }
            Some(Ok(Message::Pong(_))) => return Taken::Pong,
            Some(Ok(_)) => return Taken::Nothing,
            Some(Err(error)) => {
                if matches!(error, SocketError::Capacity(_) | SocketError::Utf8(_)) {
                    self.reject(at, error.to_string(), String::new(), false);
                }
                return Taken::End(error.to_string(), "feed");
            }
            None => return Taken::End("the connection was cut".to_owned(), "feed"),
        };
        self.count(text.len(), at);
        let before = self.group.events.len();
        let heard = self.decoder.decode(&text, at, &mut self.group.events);
        let ahead = self.future.take_out(&mut self.group.events, before);
        if ahead > 0 {
            let reason = format!(
                "{ahead} of its events are more than {} s in the future",
                AHEAD.as_secs()
            );
            self.reject(at, reason, text.to_string(), false);
        }
        let brought = self.group.events.len() > before;
        match heard {
            Ok(Heard::Data) if ahead > 0 && !brought => Taken::Nothing,
            Ok(Heard::Data) => Taken::Data,
            Ok(Heard::Subscribed(what)) => Taken::Subscribed(what),
            Ok(Heard::Pong | Heard::Other) => Taken::Nothing,
            Ok(Heard::Refused { what, text }) => Taken::Refused(what, text),
            Ok(Heard::Closing(text)) => Taken::Closing(text),
            Err(reason) => {
                if ahead == 0 {
                    self.reject(at, reason, text.to_string(), false);
                }
                if brought { Taken::Data } else { Taken::Nothing }
            }
        }
    }

    fn count(&mut self, bytes: usize, at: i64) {
        self.group.frames += 1;
        self.group.bytes += bytes as u64;
        self.group.last_recv = at;
    }

    fn reject(&mut self, at: i64, reason: String, frame: String, binary: bool) {
        self.group.rejects.push(Reject {
            at,
            reason,
            frame,
            binary,
        });
    }
}

/// Tells an event with a wrong time from a clock of ours that is behind.
#[derive(Debug, Default)]
struct Future {
    /// How far ahead the exchange is known to be, where our clock is behind.
    known_ns: i64,
    /// Events in a row that were ahead, and the least that one of them was.
    row: u32,
    least_ns: i64,
}

impl Future {
    /// Takes out those of the events from `from` on that lie in the future; returns how many there
    /// were.
    fn take_out(&mut self, events: &mut Vec<Event>, from: usize) -> usize {
        let whole = events.len();
        if events
            .iter()
            .skip(from)
            .all(|event| self.is_present(event.ts_event - event.ts_recv))
        {
            return 0;
        }
        let mut at = 0;
        events.retain(|event| {
            at += 1;
            at <= from || self.accepts(event.ts_event - event.ts_recv)
        });
        whole - events.len()
    }

    fn is_present(&mut self, ahead_ns: i64) -> bool {
        let present = ahead_ns <= self.limit_ns();
        if present {
            self.row = 0;
        }
        present
    }

    fn limit_ns(&self) -> i64 {
        self.known_ns + i64::try_from(AHEAD.as_nanos()).unwrap_or(i64::MAX)
    }

    fn accepts(&mut self, ahead_ns: i64) -> bool {
        if self.is_present(ahead_ns) {
            return true;
        }
        self.least_ns = if self.row == 0 {
            ahead_ns
        } else {
            self.least_ns.min(ahead_ns)
        };
        self.row += 1;
        if self.row < CLOCK_IS_BEHIND {
            return false;
        }
        tracing::error!(
            seconds = self.least_ns / 1_000_000_000,
            "the clock of this machine is behind the exchange's"
        );
        self.known_ns = self.least_ns;
        self.row = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::event::{Body, Id};

    fn event(ahead_s: i64) -> Event {
        let (id, body) = (Id::Time, Body::OpenInterest(1.0));
        Event {
            series: 0,
            ts_event: ahead_s * 1_000_000_000,
            ts_recv: 0,
            id,
            number: 0,
            body,
        }
    }

    #[test]
    fn a_time_in_the_future_is_taken_out_and_moves_nothing() {
        let mut future = Future::default();
        let mut events: Vec<Event> = [3600, 0, 1, 3600, 100, 200].map(event).into();
        assert_eq!(future.take_out(&mut events, 1), 2);
        assert_eq!(
            events
                .iter()
                .map(|e| e.ts_event / 1_000_000_000)
                .collect::<Vec<_>>(),
            [3600, 0, 1, 100]
        );
        for _ in 0..100 {
            let mut events = vec![event(3600), event(0)];
            assert_eq!((future.take_out(&mut events, 0), events.len()), (1, 1));
        }
    }

    #[test]
    fn a_clock_that_is_behind_silences_nothing_for_long() {
        let mut future = Future::default();
        let taken: usize = (0..100)
            .map(|n| future.take_out(&mut vec![event(3600 + n % 3)], 0))
            .sum();
        assert_eq!(taken, 19);
        assert_eq!(
            future.take_out(&mut vec![event(7300)], 0),
            1,
            "a wrong time is known as before"
        );
        assert_eq!(future.take_out(&mut vec![event(0)], 0), 0);
    }
}
