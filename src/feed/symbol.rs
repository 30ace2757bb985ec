//! Symbols: what was typed, as each exchange spells it, as paths and columns spell it.
//!
//! What is typed is what is asked for, separators included. Only a perpetual contract has a
//! spelling that all exchanges share (`btcusdt`), because it has a name of its own at each of them.

use crate::{
    error::{Error, Result},
    model::partition::Symbol,
};

/// The currencies in which perpetual contracts are quoted.
const QUOTES: [&str; 3] = ["USDT", "USDC", "USD"];

/// A symbol at an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spelling {
    /// As the exchange spells it.
    pub(super) wire: String,
    /// The value of the column `symbol`; the path has it in small letters.
    pub(super) column: String,
}

/// What was typed, as Binance and Bybit spell it.
pub(super) fn plain(typed: &Symbol) -> Spelling {
    let upper = typed.as_str().to_ascii_uppercase();
    let wire = perpetual(&upper).unwrap_or(upper);
    Spelling {
        column: wire.clone(),
        wire,
    }
}

/// What was typed, as OKX spells it.
///
/// # Errors
/// When OKX cannot have such a symbol.
pub(super) fn okx(typed: &Symbol) -> Result<Spelling> {
    let upper = typed.as_str().to_ascii_uppercase();
    match perpetual(&upper) {
        Some(plain) => {
            let wire = swap(&plain).ok_or_else(|| unknown_to_okx(typed))?;
            Ok(Spelling {
                wire,
                column: plain,
            })
        }
        // A name as OKX has it: `BTC-USD-261225`.
        None if upper.split('-').filter(|part| !part.is_empty()).count() >= 3 => Ok(Spelling {
            wire: upper.clone(),
            column: upper,
        }),
        None => Err(unknown_to_okx(typed)),
    }
}

/// `BTCUSDT`, `BTC-USDT`, `BTC_USDT` and `BTC-USDT-SWAP` as `BTCUSDT`; `None` for a name that is
/// not one of a perpetual.
fn perpetual(upper: &str) -> Option<String> {
    let bare = upper.strip_suffix("-SWAP").unwrap_or(upper);
    let parts: Vec<&str> = bare.split(['-', '_']).collect();
    match parts.as_slice() {
        [one] => one
            .chars()
            .all(char::is_alphanumeric)
            .then(|| (*one).to_owned()),
        [base, quote] if !base.is_empty() && QUOTES.contains(quote) => {
            Some(format!("{base}{quote}"))
        }
        _ => None,
    }
}

/// `BTCUSDT` as `BTC-USDT-SWAP`.
fn swap(plain: &str) -> Option<String> {
    QUOTES.into_iter().find_map(|quote| {
        let base = plain.strip_suffix(quote).filter(|base| !base.is_empty())?;
        Some(format!("{base}-{quote}-SWAP"))
    })
}

fn unknown_to_okx(typed: &Symbol) -> Error {
    Error::usage(format!(
        "{typed}: okx has swaps in USDT, USDC and USD; write a symbol that ends in one of them, as in btcusdt, or a contract \
         as okx spells it, as in BTC-USDT-261225"
    ))
}

/// A name as Binance and Bybit list it.
pub(super) fn plain_listed(wire: &str) -> Spelling {
    Spelling {
        wire: wire.to_owned(),
        column: wire.to_ascii_uppercase(),
    }
}

/// A name as OKX lists it.
pub(super) fn okx_listed(wire: &str) -> Spelling {
    let upper = wire.to_ascii_uppercase();
    let swap = upper
        .ends_with("-SWAP")
        .then(|| perpetual(&upper))
        .flatten();
    Spelling {
        wire: wire.to_owned(),
        column: swap.unwrap_or(upper),
    }
}

/// The index of a contract of OKX: `BTC-USDT` of `BTC-USDT-SWAP`.
pub(super) fn okx_index(wire: &str) -> String {
    wire.splitn(3, '-').take(2).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_asked_for() {
        let name = |typed: &str| typed.parse::<Symbol>().unwrap();
        let check = |spelt: Spelling, wire: &str, column: &str| {
            assert_eq!((spelt.wire.as_str(), spelt.column.as_str()), (wire, column));
        };
        for typed in [
            "btcusdt",
            "BTCUSDT",
            "BTC-USDT-SWAP",
            "btc-usdt",
            "btc_usdt",
        ] {
            check(plain(&name(typed)), "BTCUSDT", "BTCUSDT");
            check(okx(&name(typed)).unwrap(), "BTC-USDT-SWAP", "BTCUSDT");
        }
        for (typed, wire) in [
            ("btcusdt_261225", "BTCUSDT_261225"),
            ("BTC-26DEC26", "BTC-26DEC26"),
            ("btcusdt-26dec26", "BTCUSDT-26DEC26"),
            ("btcperp", "BTCPERP"),
            ("币安人生usdt", "币安人生USDT"),
        ] {
            check(plain(&name(typed)), wire, wire);
        }
        check(
            okx(&name("BTC-USD-261225")).unwrap(),
            "BTC-USD-261225",
            "BTC-USD-261225",
        );
        for typed in ["btceur", "btcusdt_261225", "btc-26dec26"] {
            assert!(okx(&name(typed)).is_err(), "{typed}");
        }
        check(
            okx_listed("BTC-USD_UM-SWAP"),
            "BTC-USD_UM-SWAP",
            "BTC-USD_UM-SWAP",
        );
        check(okx_listed("BTC-USDT-SWAP"), "BTC-USDT-SWAP", "BTCUSDT");
        check(
            okx(&name("币安-usdt")).unwrap(),
            "币安-USDT-SWAP",
            "币安USDT",
        );
        assert_eq!(okx_index("BTC-USDT-SWAP"), "BTC-USDT");
        assert_eq!(okx_index("BTC-USDT-261225"), "BTC-USDT");
    }
}
