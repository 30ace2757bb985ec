//! A UTC day, written `20260203` as in paths. It begins and ends at midnight UTC; there is no local
//! time.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::time::to_ns;
use crate::error::{Error, Result};

/// Nanoseconds of a day.
pub const DAY_NS: i64 = 86_400_000_000_000;

/// A UTC day between 1980-01-01 and 2199-12-31, so that its bounds in nanoseconds always fit an
/// `i64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date(NaiveDate);

impl Date {
    /// The day that holds `ns`, nanoseconds since 1970 UTC; `None` outside the supported years.
    #[must_use]
    pub fn of_ns(ns: i64) -> Option<Self> {
        Self::checked(DateTime::from_timestamp_nanos(ns).date_naive())
    }

    /// The day of an instant.
    ///
    /// # Errors
    /// When the instant is outside the supported years.
    pub fn of(instant: DateTime<Utc>) -> Result<Self> {
        Self::checked(instant.date_naive())
            .ok_or_else(|| Error::usage(format!("{instant} is outside 1980 to 2199")))
    }

    /// The day of a year, month and day of month, if there is one.
    #[must_use]
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Option<Self> {
        NaiveDate::from_ymd_opt(year, month, day).and_then(Self::checked)
    }

    /// The first nanosecond of the day.
    #[must_use]
    pub fn start_ns(self) -> i64 {
        let days = self
            .0
            .signed_duration_since(NaiveDate::default())
            .num_days();
        days * DAY_NS
    }

    /// The first nanosecond of the next day.
    #[must_use]
    pub fn end_ns(self) -> i64 {
        self.start_ns() + DAY_NS
    }

    /// The day before; the first supported day is its own predecessor.
    #[must_use]
    pub fn pred(self) -> Self {
        self.0
            .checked_sub_days(Days::new(1))
            .and_then(Self::checked)
            .unwrap_or(self)
    }

    /// The day before, the day itself, and the day after: rows of a file that belongs to one of them may
    /// be of the others.
    #[must_use]
    pub fn with_neighbours(self) -> [Self; 3] {
        [self.pred(), self, self.succ()]
    }

    /// The day after; the last supported day is its own successor.
    #[must_use]
    pub fn succ(self) -> Self {
        self.0
            .checked_add_days(Days::new(1))
            .and_then(Self::checked)
            .unwrap_or(self)
    }

    /// Days from `other` to this one; negative when this one is earlier.
    #[must_use]
    pub fn days_since(self, other: Self) -> i64 {
        self.0.signed_duration_since(other.0).num_days()
    }

    /// Whether the day lies in a range, both ends included, that is open where an end is not named.
    #[must_use]
    pub fn is_within(self, start: Option<Self>, end: Option<Self>) -> bool {
        start.is_none_or(|start| self >= start) && end.is_none_or(|end| self <= end)
    }

    /// All days from this one to `last`, both included; none when `last` is earlier.
    pub fn through(self, last: Self) -> impl Iterator<Item = Self> {
        let first = (self <= last).then_some(self);
        // The last supported day has no day after it.
        std::iter::successors(first, move |day| (*day < last).then(|| day.succ()))
    }

    /// The day as `2026-02-03`.
    #[must_use]
    pub fn iso(self) -> String {
        self.0.format("%Y-%m-%d").to_string()
    }

    fn checked(day: NaiveDate) -> Option<Self> {
        (1980..2200).contains(&day.year()).then_some(Self(day))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y%m%d"))
    }
}

impl FromStr for Date {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let digits = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| NaiveDate::parse_from_str(text, "%Y%m%d").ok()).flatten().and_then(Self::checked).ok_or_else(
            || {
                Error::usage(format!(
                    "{text:?} is not a date: write year, month and day of a UTC day without separators, as in 20260203"
                ))
            },
        )
    }
}

impl TryFrom<String> for Date {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> String {
        date.to_string()
    }
}

/// The day of a row, if it has one that a file of day `home` may hold: that day or a neighbour.
#[must_use]
pub fn permitted_day(ts_event: Option<i64>, home: Option<Date>) -> Option<Date> {
    let date = ts_event.and_then(to_ns).and_then(Date::of_ns);
    date.filter(|day| is_permitted(*day, home))
}

/// Whether a file of day `home` may hold rows of `day`.
#[must_use]
pub fn is_permitted(day: Date, home: Option<Date>) -> bool {
    home.is_none_or(|home| day.days_since(home).abs() <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_and_ends_at_midnight_utc() {
        let day: Date = "20260203".parse().unwrap();
        assert_eq!(day.start_ns(), 1_770_076_800_000_000_000);
        assert_eq!(Date::of_ns(day.start_ns()), Some(day));
        assert_eq!(Date::of_ns(day.end_ns() - 1), Some(day));
        assert_eq!(Date::of_ns(day.end_ns()), Some(day.succ()));
        assert_eq!(Date::of_ns(day.start_ns() - 1), Some(day.pred()));
    }

    #[test]
    fn a_range_of_days_ends_at_its_last_day_also_where_no_day_follows() {
        let days = |first: &str, last: &str| {
            let (first, last): (Date, Date) = (first.parse().unwrap(), last.parse().unwrap());
            first.through(last).take(100_000).count()
        };
        assert_eq!(days("20260228", "20260302"), 3);
        assert_eq!(days("20260203", "20260203"), 1);
        assert_eq!(days("20260204", "20260203"), 0);
        assert_eq!(days("21991230", "21991231"), 2);
        assert_eq!(days("21991231", "21991231"), 1);
        assert_eq!(days("19800101", "21991231"), 80_354);
    }

    #[test]
    fn only_eight_digits_of_a_real_day_are_a_date() {
        for text in [
            "2026-02-03",
            "20260230",
            "202602",
            "",
            "２０２６０２０３",
            "19700101",
        ] {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
    }
}
