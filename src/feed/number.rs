//! Decimals and times as exchanges write them.
//!
//! Only a plain decimal is a number: no exponent, no sign where none belongs, no NaN, no empty
//! text. The text goes to the nearest `f64` in one step.

use crate::model::time::Unit;

/// A price or a quantity: zero or more.
pub(super) fn amount(text: &str) -> Result<f64, String> {
    decimal(text).ok_or_else(|| format!("{text:?} is not a price or a quantity"))
}

/// A rate, which may be negative.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let found = match text.strip_prefix('-') {
        Some(rest) => decimal(rest).map(|value| -value),
        None => decimal(text),
    };
    found.ok_or_else(|| format!("{text:?} is not a rate"))
}

/// Milliseconds since 1970 as nanoseconds; only between 1980 and 2199.
pub(super) fn millis(ms: i64) -> Result<i64, String> {
    let wrong = || format!("{ms} is not a time in milliseconds");
    if Unit::of(ms) != Some(Unit::Milli) {
        return Err(wrong());
    }
    Unit::Milli.to_ns(ms).ok_or_else(wrong)
}

fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && text.bytes().any(|b| b.is_ascii_digit());
    if plain {
        text.parse().ok().filter(|value: &f64| value.is_finite())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_decimals_are_amounts() {
        for (text, value) in [
            ("0", 0.0),
            ("0.1", 0.1),
            ("97123.40", 97_123.4),
            (".5", 0.5),
            ("5.", 5.0),
        ] {
            assert!(
                amount(text).unwrap().to_bits() == f64::to_bits(value),
                "{text}"
            );
        }
        let long = format!("1{}", "0".repeat(400));
        for text in [
            "", ".", "-1", "+1", "NaN", "inf", "1e5", "1_0", " 1", "0x1", "1.2.3", "١", &long,
        ] {
            assert!(amount(text).is_err(), "{text}");
        }
        assert!(rate("-0.0001").unwrap() < 0.0);
        for text in ["--1", "-", "", "-NaN"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_times_in_milliseconds_are_times() {
        assert_eq!(millis(1_770_076_800_123), Ok(1_770_076_800_123_000_000));
        for ms in [0, -1, 1_770_076_800, 1_770_076_800_123_000, i64::MAX] {
            assert!(millis(ms).is_err(), "{ms}");
        }
    }
}
