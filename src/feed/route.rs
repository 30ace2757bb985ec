//! An exchange's endpoints, and what is subscribed on a connection to one.

use std::time::Duration;

/// One of an exchange's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Its name, as in `binance.public`.
    pub name: &'static str,
    /// Where it is.
    pub url: &'static str,
    /// What a connection may carry.
    pub(super) limit: usize,
    /// How it is talked to.
    pub(super) by: Transport,
}

/// How an endpoint is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// By WebSocket: topics are subscribed.
    Socket,
    /// By requests: topics are polled.
    Requests,
}

/// How often an exchange lets an address connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialRate {
    /// So many at once, after a time of quiet.
    pub burst: u32,
    /// From then on one in so much time.
    pub every: Duration,
}

/// One thing that is subscribed on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// As the exchange names it when it is asked for.
    pub(super) name: String,
    /// As its answers name it, where they do.
    pub(super) answered: Option<(String, String)>,
    /// The longest time in which it brings something while it is alive, where the exchange promises
    /// one.
    pub cadence: Option<Duration>,
    /// Whether it may bring nothing for long though all is well.
    pub may_be_quiet: bool,
    /// The places in the list of series that it brings, or is needed for.
    pub series: Vec<usize>,
}

impl Topic {
    /// One that answers name as they are asked for it, by a number.
    pub(super) fn plain(name: String) -> Self {
        Self {
            name,
            answered: None,
            cadence: None,
            may_be_quiet: false,
            series: Vec::new(),
        }
    }

    /// One that answers name by a channel and its subject.
    pub(super) fn answered(name: String, channel: &str, subject: &str) -> Self {
        Self {
            answered: Some((channel.to_owned(), subject.to_owned())),
            ..Self::plain(name)
        }
    }

    /// As the exchange names it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}
