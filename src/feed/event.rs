//! One event as an exchange sent it, before it has a number of its own.

use std::{fmt, hash::Hasher, str::FromStr};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use crate::{
    error::{Error, Result},
    model::near::nearest,
};

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
    /// Liquidations.
    Liquidation,
    /// What an instrument is: the steps of its prices and sizes, what a contract stands for,
    /// whether it is traded.
    Instrument,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Bbo,
        Self::Trade,
        Self::MarkPrice,
        Self::Funding,
        Self::OpenInterest,
        Self::Liquidation,
        Self::Instrument,
    ];

    /// The name in paths and columns.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bbo => "bbo",
            Self::Trade => "trade",
            Self::MarkPrice => "mark_price",
            Self::Funding => "funding",
            Self::OpenInterest => "open_interest",
            Self::Liquidation => "liquidation",
            Self::Instrument => "instrument",
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
        !matches!(self, Self::Bbo | Self::Trade)
    }

    /// Whether nothing may come for long though all is well: nobody trades, nobody is liquidated.
    #[must_use]
    pub const fn may_be_quiet(self) -> bool {
        matches!(self, Self::Trade | Self::Liquidation)
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
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
                let hint = nearest(text, names.iter().copied())
                    .map_or_else(String::new, |near| format!(" did you mean {near}?"));
                Error::usage(format!(
                    "{text:?} is not a stream that can be collected;{hint} these are: {}",
                    names.join(", ")
                ))
            })
    }
}

/// What tells that two events are the same one, and whether one is missing between them.
///
/// A number alone never makes two events the same: venues begin their numbers again, and some give
/// several events one number. The content ([`Body::fingerprint`]) has to agree as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    /// Each event has the number after that of the one before: a jump is a hole.
    Consecutive(u64),
    /// Later events have greater numbers, with holes that mean nothing.
    Ascending(u64),
    /// Numbers ascend, and several events may share one.
    Shared(u64),
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
        /// The first of the single trades that an aggregated one stands for; -1 where that is not
        /// told, and null in a file.
        first_id: i64,
        /// The last of them, likewise.
        last_id: i64,
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
    /// A position that the exchange closes by force.
    Liquidation {
        /// The price at which the position is taken over: that of the order, or at which it is
        /// bankrupt.
        price: f64,
        /// The quantity, in the exchange's own unit.
        qty: f64,
        /// The mean price of what was filled, where the exchange tells it.
        average_price: Option<f64>,
        /// Of the order that closes the position: 1 buys (a short position is closed), -1 sells (a
        /// long one).
        side: i8,
    },
    /// An instrument as the exchange lists it. What it does not tell is NaN here, and null in a
    /// file.
    Instrument {
        /// The step of its prices.
        tick_size: f64,
        /// The step of its sizes.
        lot_size: f64,
        /// What one contract stands for, in the currency that its size is told in.
        contract_value: f64,
        /// By which that is multiplied.
        contract_multiplier: f64,
        /// Whether it is traded, in the exchange's own word.
        status: Box<str>,
    },
}

impl Body {
    /// A number that differs where two contents do. Equal contents have equal ones, in every
    /// process. The single trades of an aggregated one play no part: a log of an earlier version
    /// does not tell them.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let none = f64::NAN;
        match self {
            Self::Bbo {
                bid_price,
                bid_qty,
                ask_price,
                ask_qty,
            } => fingerprint([*bid_price, *bid_qty, *ask_price, *ask_qty], 0, 0, &[]),
            Self::Trade {
                price,
                qty,
                side,
                id: TradeId::Text(text),
                ..
            } => fingerprint([*price, *qty, none, none], *side, 0, text.as_bytes()),
            Self::Trade {
                price,
                qty,
                side,
                id: TradeId::Number(number),
                ..
            } => {
                let mut digits = [0; 20];
                fingerprint(
                    [*price, *qty, none, none],
                    *side,
                    0,
                    decimal(*number, &mut digits),
                )
            }
            Self::MarkPrice {
                mark_price,
                index_price,
            } => fingerprint(
                [*mark_price, index_price.unwrap_or(none), none, none],
                0,
                0,
                &[],
            ),
            Self::Funding { rate, next_ns } => {
                fingerprint([*rate, none, none, none], 0, *next_ns, &[])
            }
            Self::OpenInterest(value) => fingerprint([*value, none, none, none], 0, 0, &[]),
            Self::Liquidation {
                price,
                qty,
                average_price,
                side,
            } => fingerprint(
                [*price, *qty, average_price.unwrap_or(none), none],
                *side,
                0,
                &[],
            ),
            Self::Instrument {
                tick_size,
                lot_size,
                contract_value,
                contract_multiplier,
                status,
            } => {
                let values = [*tick_size, *lot_size, *contract_value, *contract_multiplier];
                fingerprint(values, 0, 0, status.as_bytes())
            }
        }
    }
}

/// The fingerprint of an event whose values stand in columns; the ones that its stream does not
/// have are NaN, 0 or empty.
#[must_use]
pub fn fingerprint(floats: [f64; 4], side: i8, next_ns: i64, name: &[u8]) -> u64 {
    // One bit pattern for every NaN, so that null is null.
    let bits = floats.map(|value| {
        if value.is_nan() {
            u64::MAX
        } else {
            value.to_bits()
        }
    });
    // All in one piece: that is twice as fast as piece by piece.
    let mut bytes = [0; 128];
    let whole = 4 * 8 + 1 + 8 + name.len();
    let (values, rest) = bytes.split_at_mut(4 * 8);
    let (side_at, rest) = rest.split_at_mut(1);
    let (next_at, rest) = rest.split_at_mut(8);
    if let Some(name_at) = rest.get_mut(..name.len()) {
        for (at, value) in values.chunks_exact_mut(8).zip(bits) {
            at.copy_from_slice(&value.to_le_bytes());
        }
        side_at.copy_from_slice(&side.to_le_bytes());
        next_at.copy_from_slice(&next_ns.to_le_bytes());
        name_at.copy_from_slice(name);
        return XxHash64::oneshot(0, bytes.get(..whole).unwrap_or_default());
    }
    let mut hash = XxHash64::with_seed(0);
    for value in bits {
        hash.write(&value.to_le_bytes());
    }
    hash.write(&side.to_le_bytes());
    hash.write(&next_ns.to_le_bytes());
    hash.write(name);
    hash.finish()
}

/// The number in decimal digits.
pub(crate) fn decimal(number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let (mut left, mut first) = (number, digits.len());
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        // The remainder of a division by ten fits.
        *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        first = at;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    digits.get(first..).unwrap_or_default()
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
    /// What tells repetitions and holes.
    pub id: Id,
    /// The exchange's own sequence number; 0 where it gives none.
    pub number: i64,
    /// What it says.
    pub body: Body,
}

impl Event {
    /// Its place among the events of its series: the number that tells repetitions, or the time
    /// where there is none.
    #[must_use]
    pub fn order(&self) -> u64 {
        match self.id {
            Id::Consecutive(number) | Id::Ascending(number) | Id::Shared(number) => number,
            Id::Time => self.ts_event.max(0).unsigned_abs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_text_are_one_name() {
        for number in [0, 7, 10, 130_639_474, u64::MAX] {
            let of = |id| {
                Body::Trade {
                    price: 1.5,
                    qty: 2.0,
                    side: -1,
                    id,
                    first_id: -1,
                    last_id: -1,
                }
                .fingerprint()
            };
            assert_eq!(
                of(TradeId::Number(number)),
                of(TradeId::Text(number.to_string().into())),
                "{number}"
            );
        }
    }

    #[test]
    fn a_fingerprint_is_the_same_in_one_piece_and_in_several() {
        for length in [0, 1, 20, 36, 86, 87, 88, 500] {
            let name = vec![b'x'; length];
            let mut hash = XxHash64::with_seed(0);
            for value in [1.5_f64.to_bits(), u64::MAX, 0, 2.0_f64.to_bits()] {
                hash.write(&value.to_le_bytes());
            }
            hash.write(&[1_u8.wrapping_neg()]);
            hash.write(&7_i64.to_le_bytes());
            hash.write(&name);
            assert_eq!(
                fingerprint([1.5, f64::NAN, 0.0, 2.0], -1, 7, &name),
                hash.finish(),
                "{length}"
            );
        }
    }

    #[test]
    fn what_can_be_collected_has_known_columns_and_a_table() {
        assert_eq!(Kind::ALL.map(Kind::name), crate::model::schema::STREAMS);
        for kind in Kind::ALL {
            assert!(
                crate::model::schema::own(&kind.name().parse().unwrap()).is_some(),
                "{kind}"
            );
        }
    }

    #[test]
    fn every_value_counts() {
        let bodies = [
            Body::OpenInterest(1.0),
            Body::OpenInterest(f64::NAN),
            Body::Funding {
                rate: 1.0,
                next_ns: 1,
            },
            Body::Funding {
                rate: 1.0,
                next_ns: 2,
            },
            Body::MarkPrice {
                mark_price: 1.0,
                index_price: Some(2.0),
            },
            Body::Bbo {
                bid_price: 1.0,
                bid_qty: 2.0,
                ask_price: 3.0,
                ask_qty: f64::NAN,
            },
            Body::Bbo {
                bid_price: 1.0,
                bid_qty: 2.0,
                ask_price: 3.0,
                ask_qty: 4.0,
            },
            Body::Trade {
                price: 1.0,
                qty: 2.0,
                side: 1,
                id: TradeId::Text("a".into()),
                first_id: -1,
                last_id: -1,
            },
            Body::Trade {
                price: 1.0,
                qty: 2.0,
                side: -1,
                id: TradeId::Text("a".into()),
                first_id: -1,
                last_id: -1,
            },
            Body::Trade {
                price: 1.0,
                qty: 2.0,
                side: 1,
                id: TradeId::Text("b".into()),
                first_id: -1,
                last_id: -1,
            },
            Body::Liquidation {
                price: 1.0,
                qty: 2.0,
                average_price: Some(3.0),
                side: 1,
            },
            Body::Liquidation {
                price: 1.0,
                qty: 2.0,
                average_price: Some(3.0),
                side: -1,
            },
        ];
        let prints: std::collections::BTreeSet<u64> =
            bodies.iter().map(Body::fingerprint).collect();
        assert_eq!(prints.len(), bodies.len());
    }
}
