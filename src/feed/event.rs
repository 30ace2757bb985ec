//! One event as an exchange told it, before it has a number of its own.
//!
//! Refuses to know how frames look and where events are written.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The streams that can be collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Best bid and ask.
    Bbo,
    /// Trades.
    Trade,
    /// Mark price, with the index price where it is known.
    MarkPrice,
    /// Funding rate and the next settlement.
    Funding,
    /// Open interest.
    OpenInterest,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Bbo, Self::Trade, Self::MarkPrice, Self::Funding, Self::OpenInterest];

    /// The name in paths and columns.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bbo => "bbo",
            Self::Trade => "trade",
            Self::MarkPrice => "mark_price",
            Self::Funding => "funding",
            Self::OpenInterest => "open_interest",
        }
    }

    /// Its place in [`Kind::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether its events are few and each of them matters: they are dropped last.
    #[must_use]
    pub const fn has_priority(self) -> bool {
        matches!(self, Self::MarkPrice | Self::Funding | Self::OpenInterest)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            Error::usage(format!("{text:?} is not a stream that can be collected; these are: {}", names.join(", ")))
        })
    }
}

/// The exchange's own number of an event, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    /// Each event has the number after that of the one before: a jump is a hole.
    Consecutive(u64),
    /// Later events have greater numbers; an equal one is the same event again.
    Ascending(u64),
    /// Numbers ascend, several events may share one; `unique` tells them apart.
    Shared {
        /// The number that ascends.
        order: u64,
        /// A number that only this event has.
        unique: u64,
    },
    /// There is no number; the event's time takes its place where two connections overlap.
    Time,
}

/// A trade's name at its exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TradeId {
    /// A number.
    Number(u64),
    /// Anything else.
    Text(Box<str>),
}

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Best bid and ask. An empty side of the book is NaN here, and null in a file.
    Bbo {
        /// Best bid price.
        bid_price: f64,
        /// Quantity there.
        bid_qty: f64,
        /// Best ask price.
        ask_price: f64,
        /// Quantity there.
        ask_qty: f64,
    },
    /// A trade.
    Trade {
        /// Price.
        price: f64,
        /// Quantity.
        qty: f64,
        /// 1 when the buyer is the taker, -1 when the seller is.
        side: i8,
        /// The exchange's name of the trade.
        id: TradeId,
    },
    /// A mark price.
    MarkPrice {
        /// Mark price.
        mark_price: f64,
        /// Index price, where it is known.
        index_price: Option<f64>,
    },
    /// A funding rate.
    Funding {
        /// The rate.
        rate: f64,
        /// The next settlement, in nanoseconds since 1970 UTC.
        next_ns: i64,
    },
    /// Open interest, in the exchange's own unit.
    OpenInterest(f64),
}

/// An event, with the place of its series in the collector's list.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Which series it belongs to.
    pub series: usize,
    /// When it happened by the exchange's clock, in nanoseconds since 1970 UTC.
    pub ts_event: i64,
    /// When its frame was read, likewise.
    pub ts_recv: i64,
    /// The exchange's number.
    pub id: Id,
    /// What it says.
    pub body: Body,
}
