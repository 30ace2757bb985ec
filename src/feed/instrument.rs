//! What exchanges list: instruments as their REST interfaces describe them, and what a person may
//! ask for of them.
//!
//! No sockets: the text of an answer goes in, instruments come out.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    directory::Directory,
    event::{Body, Event, Id, Kind},
    value::Value,
};
use crate::{
    error::{Error, Result},
    model::partition::Symbol,
};

/// Whether an instrument is traded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trading {
    /// Listed, and not traded yet.
    Upcoming,
    /// Traded, or halted for a while.
    Live,
    /// Not traded any more.
    Over,
}

/// An instrument of an exchange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instrument {
    /// Its name as the exchange spells it.
    pub wire: String,
    /// Whether it is traded.
    pub trading: Trading,
    /// Likewise, in the exchange's own word.
    pub status: String,
    /// The step of prices; absent where the exchange does not tell it.
    pub tick_size: Option<f64>,
    /// The step of sizes.
    pub lot_size: Option<f64>,
    /// What one contract stands for.
    pub contract_value: Option<f64>,
    /// By which that is multiplied.
    pub contract_multiplier: Option<f64>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// The instruments.
    pub instruments: Vec<Instrument>,
    /// What has to be added to the request for the next page, where there is one.
    pub next: Option<String>,
}

/// What somebody wants to have collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// This symbol.
    Named(Symbol),
    /// Every instrument whose name fits.
    Matching(Pattern),
}

/// Names with `*` for anything and `?` for one letter; case does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Whether a name fits.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let name: Vec<char> = name.to_lowercase().chars().collect();
        fits(&pattern, &name)
    }
}

fn fits(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where the last star stands, and how far it reaches.
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(letter) if *letter == '?' || name.get(read) == Some(letter) => {
                at += 1;
                read += 1;
            }
            _ => match &mut star {
                Some((stands, reaches)) => {
                    *reaches += 1;
                    (at, read) = (*stands + 1, *reaches);
                }
                None => return false,
            },
        }
    }
    pattern
        .get(at..)
        .is_none_or(|rest| rest.iter().all(|letter| *letter == '*'))
}

impl FromStr for Wish {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text == "all" {
            return Ok(Self::Matching(Pattern("*".to_owned())));
        }
        if !text.contains(['*', '?']) {
            return text.parse().map(Self::Named);
        }
        // The rest of it must be able to stand in a name.
        let plain: String = text
            .chars()
            .map(|c| if "*?".contains(c) { 'x' } else { c })
            .collect();
        let _: Symbol = plain.parse()?;
        Ok(Self::Matching(Pattern(text.to_lowercase())))
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(symbol) => symbol.fmt(f),
            Self::Matching(Pattern(pattern)) if pattern == "*" => f.write_str("all"),
            Self::Matching(Pattern(pattern)) => f.write_str(pattern),
        }
    }
}

/// An event for each instrument that is wanted, as it was listed at this instant.
#[must_use]
pub fn events(list: &[Instrument], wanted: &Directory, at: i64) -> Vec<Event> {
    let of = |instrument: &Instrument| {
        let value = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let body = Body::Instrument {
            tick_size: value(instrument.tick_size),
            lot_size: value(instrument.lot_size),
            contract_value: value(instrument.contract_value),
            contract_multiplier: value(instrument.contract_multiplier),
            status: instrument.status.as_str().into(),
        };
        let series = wanted.place(&instrument.wire, Kind::Instrument)?;
        Some(Event {
            series,
            ts_event: at,
            ts_recv: at,
            id: Id::Time,
            number: 0,
            body,
        })
    };
    list.iter().filter_map(of).collect()
}

/// An instrument from the fields of a list; an odd number is not told, and costs nothing else.
pub(super) fn instrument(
    wire: &Value,
    status: &Value,
    trading: impl Fn(&str) -> Trading,
    [tick_size, lot_size, contract_value, contract_multiplier]: [Option<f64>; 4],
) -> std::result::Result<Instrument, String> {
    let (wire, status) = (wire.text()?.to_owned(), status.text()?.to_owned());
    let trading = trading(&status);
    Ok(Instrument {
        wire,
        trading,
        status,
        tick_size,
        lot_size,
        contract_value,
        contract_multiplier,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        let check = |pattern: &str, name: &str, want: bool| {
            let Ok(Wish::Matching(pattern)) = pattern.parse::<Wish>() else {
                panic!("{pattern} is a name")
            };
            assert_eq!(pattern.fits(name), want, "{pattern:?} {name}");
        };
        check("*usdt", "BTCUSDT", true);
        check("*usdt", "usdtbtc", false);
        check("b*u*t", "btcusdt", true);
        check("btc???t", "btcusdt", true);
        check("btc??t", "btcusdt", false);
        check("*", "", true);
        check("all", "anything", true);
        check("*安*", "币安人生usdt", true);
        check("*a*b", "aabab", true);
        assert_eq!(
            "btcusdt".parse::<Wish>().unwrap(),
            Wish::Named("btcusdt".parse().unwrap())
        );
        for wrong in ["", "*/x", "x y*", "../*"] {
            assert!(wrong.parse::<Wish>().is_err(), "{wrong}");
        }
        assert_eq!(
            (
                "all".parse::<Wish>().unwrap().to_string(),
                "*USDT".parse::<Wish>().unwrap().to_string()
            ),
            ("all".to_owned(), "*usdt".to_owned())
        );
    }
}
