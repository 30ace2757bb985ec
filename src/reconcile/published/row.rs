//! A line of a published text as a trade, or the reason why it is none.

use std::cmp::Ordering;

use csv::ByteRecord;

use super::{
    account::{Content, Identity, shown},
    decimal::amount,
    layout::{TradeFields, side, truth, value, whole_number},
};
use crate::model::time::Unit;

/// The longest name of a trade that is taken in; those of the venues have 36 characters at most.
const LONGEST_NAME: usize = 40;
const MS: i64 = 1_000_000;

/// A trade as a venue publishes it, as far as it varies between those of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trade {
    /// Nanoseconds since 1970 UTC; whole milliseconds.
    pub(super) ts_event: i64,
    /// The venue's number; 0 where it gives none that is comparable.
    pub(super) seq: i64,
    pub(super) price: f64,
    pub(super) qty: f64,
    /// 1 where the buyer is the taker, else -1.
    pub(super) side: i8,
    /// The single trades that it stands for; -1 where that is not told.
    pub(super) first_id: i64,
    pub(super) last_id: i64,
    pub(super) name: Name,
    pub(super) place: Place,
}

/// The venue's name of a trade, where it is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    bytes: [u8; LONGEST_NAME],
    length: u8,
}

impl Name {
    pub(super) const NONE: Self = Self {
        bytes: [0; LONGEST_NAME],
        length: 0,
    };

    /// Visible ASCII of some length.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let mut name = Self::NONE;
        if !text.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        name.length = u8::try_from(text.len()).ok()?;
        name.bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(name)
    }

    pub(super) fn text(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length));
        std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }
}

/// Where a trade was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Which of the files.
    pub(super) file: u32,
    pub(super) line: u64,
}

/// Why a line is no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reject {
    /// It has another number of values than the others.
    Width(usize),
    /// The value at a place is wrong, and how.
    Value(usize, &'static str),
}

impl Reject {
    /// The reason, with the value as it was written.
    pub(super) fn words(self, record: &ByteRecord) -> String {
        match self {
            Self::Width(width) => format!("it has {} values, and not {width}", record.len()),
            Self::Value(at, what) => {
                format!("\"{}\" {what}", shown(record.get(at).unwrap_or_default()))
            }
        }
    }
}

/// The line as a trade; the symbol is for the caller to compare.
pub(super) fn trade(
    record: &ByteRecord,
    fields: &TradeFields,
    identity: Identity,
    place: Place,
) -> Result<Trade, Reject> {
    if record.len() != fields.width {
        return Err(Reject::Width(fields.width));
    }
    let get = |at: usize| value(record, at);
    let number =
        |at: usize| whole_number(get(at)).ok_or(Reject::Value(at, "is no number of a trade"));
    let price = amount(get(fields.price)).ok_or(Reject::Value(fields.price, "is no price"))?;
    let qty = amount(get(fields.qty)).ok_or(Reject::Value(fields.qty, "is no quantity"))?;
    let wrong_side = Reject::Value(fields.side, "is no side of a trade");
    let written = get(fields.side);
    let side = side(written)
        .or_else(|| truth(written).map(|is_maker| if is_maker { -1 } else { 1 }))
        .ok_or(wrong_side)?;
    let written = get(fields.time);
    let mut ts_event = time(written);
    if fields.content == Content::BybitTrades {
        ts_event = ts_event.or_else(|| seconds(written));
    }
    let ts_event = ts_event.ok_or(Reject::Value(fields.time, "is no time"))?;
    let (seq, name, [first_id, last_id]) = match identity {
        Identity::TradeId => {
            let wrong = Reject::Value(fields.id, "is no name of a trade");
            let text = get(fields.id);
            let name = Name::of(text).filter(|_| !text.is_empty()).ok_or(wrong)?;
            (0, name, [-1, -1])
        }
        Identity::Single => {
            let id = number(fields.id)?;
            (0, Name::NONE, [id, id])
        }
        Identity::Number => {
            let single = |at: usize| {
                if get(at).is_empty() {
                    Ok(-1)
                } else {
                    number(at)
                }
            };
            let singles = match fields.singles {
                Some((first, last)) => [single(first)?, single(last)?],
                None => [-1, -1],
            };
            (number(fields.id)?, Name::NONE, singles)
        }
    };
    Ok(Trade {
        ts_event,
        seq,
        price,
        qty,
        side,
        first_id,
        last_id,
        name,
        place,
    })
}

/// A time as nanoseconds, in whole milliseconds: what the live feeds tell, so that a row equals the
/// recorded one. What is finer is cut off. Binance and OKX write milliseconds, Binance microseconds
/// in newer files of spot.
pub(super) fn time(text: &[u8]) -> Option<i64> {
    let whole = whole_number(text)?;
    let unit = Unit::of(whole).filter(|unit| matches!(unit, Unit::Milli | Unit::Micro))?;
    let ns = unit.to_ns(whole)?;
    Some(ns - ns.rem_euclid(MS))
}

/// The same of a time in seconds, as Bybit writes it, with four digits behind the point.
fn seconds(text: &[u8]) -> Option<i64> {
    let point = text.iter().position(|byte| *byte == b'.');
    let (whole, digits) = match point {
        Some(point) => (text.get(..point)?, text.get(point + 1..)?),
        None => (text, &[][..]),
    };
    let whole = whole_number(whole).filter(|s| Unit::of(*s) == Some(Unit::Second))?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // To the nearest microsecond first: 0.0239999999 is how a float writes 0.024.
    let digit = |at: usize| digits.get(at).map_or(0, |byte| i64::from(byte - b'0'));
    let micros = (0..6).fold(0, |sum, at| sum * 10 + digit(at)) + i64::from(digit(6) >= 5);
    whole
        .checked_mul(1_000_000_000)?
        .checked_add(micros / 1000 * MS)
}

impl Trade {
    /// By the venue's identity, then by the values, then by where it was found.
    pub(super) fn by_identity(&self, other: &Self) -> Ordering {
        self.identity()
            .cmp(&other.identity())
            .then_with(|| self.values().cmp(&other.values()))
            .then_with(|| self.place.cmp(&other.place))
    }

    /// By the order of the archive, then by the identity and the values.
    pub(super) fn by_time(&self, other: &Self) -> Ordering {
        (self.ts_event, self.seq)
            .cmp(&(other.ts_event, other.seq))
            .then_with(|| self.by_identity(other))
    }

    /// By the order of the archive, then by where it was found.
    pub(super) fn by_place(&self, other: &Self) -> Ordering {
        (self.ts_event, self.seq, self.place).cmp(&(other.ts_event, other.seq, other.place))
    }

    /// What no two trades of a series share: the number, that of the single trade, or the name. The
    /// others are the same in all of them.
    pub(super) fn identity(&self) -> (i64, i64, &Name) {
        let single = if self.seq == 0 { self.first_id } else { 0 };
        (self.seq, single, &self.name)
    }

    /// Everything that is told of it.
    pub(super) fn values(&self) -> (i64, u64, u64, i8, i64, i64) {
        (
            self.ts_event,
            self.price.to_bits(),
            self.qty.to_bits(),
            self.side,
            self.first_id,
            self.last_id,
        )
    }

    /// Its identity for a person.
    pub(super) fn called(&self) -> String {
        if !self.name.text().is_empty() {
            self.name.text().to_owned()
        } else if self.seq == 0 && self.first_id >= 0 {
            self.first_id.to_string()
        } else {
            self.seq.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_milliseconds_whatever_they_were_written_in() {
        let at = Some(1_787_356_800_229_000_000);
        for text in ["1787356800229", "1787356800229600"] {
            assert_eq!(time(text.as_bytes()), at, "{text}");
        }
        for text in [
            "1787356800.2296",
            "1787356800.229",
            "1787356800.2289999999",
            "1787356800.2290000001",
        ] {
            assert_eq!(seconds(text.as_bytes()), at, "{text}");
        }
        assert_eq!(seconds(b"1787356800"), Some(1_787_356_800_000_000_000));
        assert_eq!(
            seconds(b"1787356800.9999999"),
            Some(1_787_356_801_000_000_000)
        );
        for text in [
            "",
            "0",
            "-1787356800",
            "1.7e9",
            "nan",
            "17873568002296000000",
            "1787356800.1x",
        ] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
            assert_eq!(seconds(text.as_bytes()), None, "{text}");
        }
        // The beginning of a time in milliseconds, where a file was cut.
        assert_eq!(time(b"1787356800"), None);
    }

    #[test]
    fn names_are_short_and_visible() {
        let id = "e94f18f9-4bc4-5530-87ee-d067f8267a62";
        assert_eq!(Name::of(id.as_bytes()).unwrap().text(), id);
        for text in [&b"x".repeat(41)[..], b"a b", b"\xff", b"a\0"] {
            assert!(Name::of(text).is_none());
        }
    }
}
