//! Decimal numbers, exactly.

use std::{cmp::Ordering, fmt};

/// Digits after the point that a number may have.
const MOST_SCALE: u32 = 30;

/// A decimal number that is zero or more: `units` of 10 to the power of minus `scale`, without
/// zeros at its end, so that equal values are equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Decimal {
    units: i128,
    scale: u32,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self { units: 0, scale: 0 };

    /// A number as venues write it: digits, perhaps a point, perhaps an exponent. `None` for anything
    /// else, and for what has too many digits to be added up exactly.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let Written { digits, exponent } = Written::of(text)?;
        let (mut units, mut scale) = (0_i128, 0_i32);
        let mut after_point = false;
        for byte in digits {
            if *byte == b'.' {
                after_point = true;
                continue;
            }
            units = units
                .checked_mul(10)?
                .checked_add(i128::from(byte.checked_sub(b'0')?))?;
            scale += i32::from(after_point);
        }
        let scale = scale.checked_sub(exponent)?;
        if units == 0 {
            return Some(Self::ZERO);
        }
        let (units, scale) = match u32::try_from(scale) {
            Ok(scale) => (units, scale),
            Err(_) => (units.checked_mul(ten_to(scale.unsigned_abs())?)?, 0),
        };
        let found = Self { units, scale }.trimmed();
        (found.scale <= MOST_SCALE).then_some(found)
    }

    /// The shortest decimal number that reads as `value`: what was written where a text became
    /// `value`. `None` where it is less than zero, no number, or too large.
    #[must_use]
    pub fn of_f64(value: f64) -> Option<Self> {
        Self::parse(value.to_string().as_bytes())
    }

    /// The sum; `None` where it does not fit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let units = |one: Self| one.units.checked_mul(ten_to(scale - one.scale)?);
        let sum = Self {
            units: units(self)?.checked_add(units(other)?)?,
            scale,
        };
        Some(sum.trimmed())
    }

    fn trimmed(mut self) -> Self {
        while self.scale > 0 && self.units % 10 == 0 {
            self.units /= 10;
            self.scale -= 1;
        }
        self
    }

    /// What stands before the point, and what stands after it as units of `MOST_SCALE`.
    fn parts(self) -> (i128, i128) {
        // The scale is at most MOST_SCALE, whose power of ten fits.
        let one = ten_to(self.scale).unwrap_or(1);
        let rest = ten_to(MOST_SCALE.saturating_sub(self.scale)).unwrap_or(1);
        (self.units / one, (self.units % one).saturating_mul(rest))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = ten_to(self.scale).unwrap_or(1);
        write!(f, "{}", self.units / one)?;
        if self.scale > 0 {
            let width = usize::try_from(self.scale).unwrap_or(0);
            write!(f, ".{:0width$}", self.units % one)?;
        }
        Ok(())
    }
}

fn ten_to(power: u32) -> Option<i128> {
    10_i128.checked_pow(power)
}

/// A number as it is written.
struct Written<'a> {
    /// Digits, with at most one point among them.
    digits: &'a [u8],
    exponent: i32,
}

impl<'a> Written<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        let end = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
        let (digits, exponent) = match end {
            None => (text, 0),
            Some(end) => (text.get(..end)?, power(text.get(end + 1..)?)?),
        };
        let is_plain = digits.iter().all(|b| b.is_ascii_digit() || *b == b'.')
            && digits.split(|b| *b == b'.').count() <= 2
            && digits.iter().any(u8::is_ascii_digit);
        is_plain.then_some(Self { digits, exponent })
    }
}

/// The exponent that stands behind an `e`. None that a price or a quantity has is longer.
fn power(text: &[u8]) -> Option<i32> {
    let (is_negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 2 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: i32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if is_negative { -value } else { value })
}

/// A price or a quantity as the nearest `f64`: zero or more, a plain decimal or one with an
/// exponent. The same text gives the collector the same value.
pub(super) fn amount(text: &[u8]) -> Option<f64> {
    let _ = Written::of(text)?;
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_are_read_and_shown_exactly() {
        for (text, shown) in [
            ("0", "0"),
            ("0.000", "0"),
            ("12.50", "12.5"),
            (".5", "0.5"),
            ("5.", "5"),
            ("0.00044782999999999997", "0.00044782999999999997"),
            ("1e-05", "0.00001"),
            ("7.83075e+09", "7830750000"),
            ("1E3", "1000"),
        ] {
            assert_eq!(of(text).to_string(), shown, "{text}");
        }
        for text in [
            "",
            ".",
            "-1",
            "+1",
            "NaN",
            "inf",
            "1e",
            "1e999",
            "1e-40",
            "1.2.3",
            "0x1",
            "1 ",
            &"9".repeat(40),
        ] {
            assert!(Decimal::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn sums_have_no_error() {
        let tenth = of("0.1");
        let sum = (0..10).try_fold(Decimal::ZERO, |sum, _| sum.checked_add(tenth));
        assert_eq!(sum, Some(of("1")));
        assert_eq!(Decimal::of_f64(0.1), Some(tenth));
        assert_eq!(Decimal::of_f64(1e-7), Some(of("0.0000001")));
        assert!(Decimal::of_f64(f64::NAN).is_none() && Decimal::of_f64(-1.0).is_none());
        let large = of(&"9".repeat(38));
        assert!(large.checked_add(large).is_none());
        assert!(of("1.5") < of("2") && of("0.3") > of("0.29") && of("10") > of("9.9999"));
    }

    #[test]
    fn an_amount_is_the_nearest_float() {
        assert_eq!(amount(b"97123.40"), Some(97_123.4));
        assert_eq!(amount(b"6.6e-06"), Some(0.000_006_6));
        for text in ["", "-1", "NaN", "inf", "1e999", " 1", "1_0", "\u{661}"] {
            assert!(amount(text.as_bytes()).is_none(), "{text}");
        }
    }
}
