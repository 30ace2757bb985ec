//! Units of integer times. The plausible ranges of s, ms, us and ns do not overlap, so the size of
//! a value shows its unit. A value in no range has no unit.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

/// A unit of time since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// Seconds.
    #[serde(rename = "s")]
    Second,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milli,
    /// Microseconds.
    #[serde(rename = "us")]
    Micro,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nano,
}

/// 1980-01-01 and 2200-01-01 in seconds: the plausible time of a recorded event.
const FROM_S: i64 = 315_532_800;
const TO_S: i64 = 7_258_118_400;

impl Unit {
    /// All units, coarsest first.
    pub const ALL: [Self; 4] = [Self::Second, Self::Milli, Self::Micro, Self::Nano];

    /// Nanoseconds in one of this unit.
    #[must_use]
    pub const fn ns(self) -> i64 {
        match self {
            Self::Second => 1_000_000_000,
            Self::Milli => 1_000_000,
            Self::Micro => 1_000,
            Self::Nano => 1,
        }
    }

    /// The unit in which `value` is a time between 1980 and 2199, if there is one; at most one
    /// fits.
    #[must_use]
    pub fn of(value: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|unit| unit.range().contains(&value))
    }

    /// The values of this unit that are a plausible time.
    #[must_use]
    pub const fn range(self) -> Range<i64> {
        let per_second = 1_000_000_000 / self.ns();
        FROM_S * per_second..TO_S * per_second
    }

    /// `value` of this unit in nanoseconds; `None` when that does not fit.
    #[must_use]
    pub fn to_ns(self, value: i64) -> Option<i64> {
        value.checked_mul(self.ns())
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "s",
            Self::Milli => "ms",
            Self::Micro => "us",
            Self::Nano => "ns",
        })
    }
}

/// `value` in nanoseconds by the unit that its size tells; `None` when it is in no plausible range.
#[must_use]
pub fn to_ns(value: i64) -> Option<i64> {
    Unit::of(value).and_then(|unit| unit.to_ns(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_tells_the_unit() {
        for unit in Unit::ALL {
            let value = 1_770_076_800 * (1_000_000_000 / unit.ns());
            assert_eq!(Unit::of(value), Some(unit));
            assert_eq!(to_ns(value), Some(1_770_076_800_000_000_000));
        }
        for value in [0, -1, 1, 100_000_000, i64::MAX, i64::MIN] {
            assert_eq!(Unit::of(value), None, "{value}");
        }
    }

    #[test]
    fn ranges_do_not_meet() {
        for pair in Unit::ALL.windows(2) {
            let (coarse, fine) = (pair[0], pair[1]);
            assert!(TO_S * (1_000_000_000 / coarse.ns()) < FROM_S * (1_000_000_000 / fine.ns()));
        }
    }
}
