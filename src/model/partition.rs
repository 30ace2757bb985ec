//! Which rows belong together: a series is (exchange, stream, symbol), a partition is a series on a
//! UTC day.
//!
//! A parsed name is always safe in a path; other names are errors.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::date::Date;
use crate::error::{Error, Result};

/// Declares a name type: ASCII letters, digits, `.`, `_` and `-`; case matters, as it does in
/// object keys. A symbol may have letters and digits of any script: exchanges list contracts whose
/// names are not ASCII.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $noun:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as it stands in paths.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether `text` is such a name.
            #[must_use]
            pub fn is(text: &str) -> bool {
                is_name(text, $noun)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                check_name(text, $noun).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name!(
    /// An exchange as paths spell it, such as `binance`.
    Exchange,
    "exchange"
);
name!(
    /// A stream, such as `bbo` or `trade`.
    Stream,
    "stream"
);
name!(
    /// A symbol as paths spell it, such as `btcusdt`.
    Symbol,
    "symbol"
);

name!(
    /// One of several collectors of the same feeds, such as `tokyo-1`.
    Collector,
    "collector"
);

fn is_name(text: &str, noun: &str) -> bool {
    let longest = if noun == "collector" { 64 } else { 100 };
    !text.is_empty()
        && text.len() <= longest
        && !text.starts_with(['.', '-'])
        && text.chars().all(|c| {
            c.is_ascii_alphanumeric()
                || "._-".contains(c)
                || (noun == "symbol" && !c.is_ascii() && c.is_alphanumeric())
        })
}

fn check_name(text: &str, noun: &str) -> Result<String> {
    if is_name(text, noun) {
        Ok(text.to_owned())
    } else {
        Err(Error::usage(format!(
            "{text:?} is no name for {} {noun}: use letters, digits, '.', '_' and '-', as in {}",
            if noun == "exchange" { "an" } else { "a" },
            match noun {
                "collector" => "tokyo-1",
                "exchange" => "binance",
                "stream" => "bbo",
                _ => "btcusdt",
            }
        )))
    }
}

/// One feed: an exchange's stream of one symbol, over all days.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Series {
    /// The exchange.
    pub exchange: Exchange,
    /// The stream.
    pub stream: Stream,
    /// The symbol.
    pub symbol: Symbol,
}

impl Series {
    /// The partition of this series on `date`.
    #[must_use]
    pub fn on(&self, date: Date) -> Partition {
        Partition {
            series: self.clone(),
            date,
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.exchange, self.stream, self.symbol)
    }
}

/// The rows of one series on one UTC day of `ts_event`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition {
    /// Exchange, stream and symbol.
    #[serde(flatten)]
    pub series: Series,
    /// The UTC day.
    pub date: Date,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.series, self.date)
    }
}

/// Whether a row whose column `name` (`exchange`, `stream` or `symbol`) holds `value` belongs to
/// `series`.
///
/// Case and separators do not count, and a symbol may name the contract after the path's
/// (`BTC-USDT-SWAP` belongs to `btcusdt`): exchanges and older collectors spell them in several
/// ways.
#[must_use]
pub fn belongs(name: &str, value: &str, series: &Series) -> bool {
    let plain = |text: &str| -> String {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    let value = plain(value);
    match name {
        "exchange" => value.starts_with(&plain(series.exchange.as_str())),
        "stream" => value == plain(series.stream.as_str()),
        "symbol" => {
            let rest = value
                .strip_prefix(&plain(series.symbol.as_str()))
                .map(str::to_owned);
            rest.is_some_and(|rest| ["", "swap", "perp", "perpetual"].contains(&rest.as_str()))
        }
        _ => true,
    }
}

/// Which series and which days are meant; an empty list means all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Exchanges to take.
    pub exchanges: Vec<Exchange>,
    /// Streams to take.
    pub streams: Vec<Stream>,
    /// Symbols to take.
    pub symbols: Vec<Symbol>,
}

impl Selection {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self {
            exchanges: Vec::new(),
            streams: Vec::new(),
            symbols: Vec::new(),
        }
    }

    /// This series alone.
    #[must_use]
    pub fn of(series: &Series) -> Self {
        Self {
            exchanges: vec![series.exchange.clone()],
            streams: vec![series.stream.clone()],
            symbols: vec![series.symbol.clone()],
        }
    }

    /// Whether `series` is meant.
    #[must_use]
    pub fn takes(&self, series: &Series) -> bool {
        (self.exchanges.is_empty() || self.exchanges.contains(&series.exchange))
            && (self.streams.is_empty() || self.streams.contains(&series.stream))
            && (self.symbols.is_empty() || self.symbols.contains(&series.symbol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_has_a_name_that_is_safe_in_a_path() {
        for name in ["a", "tokyo-1", "A_b.2", &"x".repeat(64)] {
            assert!(
                Collector::is(name) && name.parse::<Collector>().is_ok(),
                "{name}"
            );
        }
        for refused in [
            "",
            ".",
            "..",
            "-a",
            "a b",
            "a/b",
            "a=b",
            "ä",
            "a\n",
            &"x".repeat(65),
        ] {
            assert!(
                !Collector::is(refused) && refused.parse::<Collector>().is_err(),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_symbol_may_be_of_any_script_and_is_told_from_others() {
        let series = |symbol: &str| Series {
            exchange: "binance".parse().unwrap(),
            stream: "bbo".parse().unwrap(),
            symbol: symbol.parse().unwrap(),
        };
        let chinese = series("币安人生usdt");
        assert!(belongs("symbol", "币安人生USDT", &chinese));
        assert!(
            !belongs("symbol", "USDT", &chinese)
                && !belongs("symbol", "币安人生USDT", &series("usdt"))
        );
        for refused in ["币/安", "币 安", "..", "币\u{0}", "-币", "币%"] {
            assert!(refused.parse::<Symbol>().is_err(), "{refused}");
        }
        assert!("币安".parse::<Exchange>().is_err() && "币安".parse::<Stream>().is_err());
    }
}
