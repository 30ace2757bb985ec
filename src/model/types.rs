//! Which type an added column has: the smallest that holds every value of the day exactly.
//!
//! The choice is a function of the set of values: neither the order in which files come nor how
//! rows are cut into them counts. Integers widen, also to 64-bit floats where each of them is one;
//! types are never narrowed. Different kinds of values, such as numbers and texts, have no type in
//! common.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, Fields,
    TimeUnit::{self, Microsecond, Millisecond, Nanosecond, Second},
};

/// Types of numbers, the smaller first.
const NUMBERS: [DataType; 11] = [
    DataType::Int8,
    DataType::UInt8,
    DataType::Int16,
    DataType::UInt16,
    DataType::Int32,
    DataType::UInt32,
    DataType::Int64,
    DataType::UInt64,
    DataType::Float16,
    DataType::Float32,
    DataType::Float64,
];

/// What is known of values that are stored as integers: numbers, timestamps and durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integers {
    /// The smallest.
    pub min: i128,
    /// The largest.
    pub max: i128,
    /// Whether each is exactly a 64-bit float.
    pub as_floats: bool,
}

impl Integers {
    /// Those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            as_floats: self.as_floats && other.as_floats,
        }
    }
}

/// What was found in a column by reading the rows of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Values {
    /// Rows that have a value.
    pub rows: u64,
    /// The values, where they are stored as integers and there are any.
    pub integers: Option<Integers>,
}

impl Values {
    /// Those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let integers = match (self.integers, other.integers) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (one, other) => one.or(other),
        };
        Self {
            rows: self.rows.saturating_add(other.rows),
            integers,
        }
    }
}

/// An added column of one source that has a value in some row of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its type, without the differences between layouts (see [`super::schema::logical`]).
    pub kind: DataType,
    /// What its values are, where they were read.
    pub values: Option<Values>,
    /// Whether its values are in the archive already: their type can widen, but is never outvoted.
    pub archived: bool,
}

/// The type of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// No row of the day has a value.
    Absent,
    /// This one. Parts that it does not [`holds`] were outvoted.
    Kind(DataType),
    /// The values must be read before it can be told.
    Open,
}

/// The type of a column with these parts.
#[must_use]
pub fn choose(parts: &[Part]) -> Choice {
    let mut kinds: Vec<DataType> = Vec::new();
    for part in parts
        .iter()
        .filter(|part| part.values.is_none_or(|values| values.rows > 0))
    {
        if !kinds.contains(&part.kind) {
            kinds.push(part.kind.clone());
        }
    }
    if kinds.is_empty() {
        return Choice::Absent;
    }
    if let Some(kind) = smallest(&kinds) {
        return Choice::Kind(kind);
    }
    // From here the values count, and how many rows have one.
    let mut known: Vec<(Part, Values)> = Vec::with_capacity(kinds.len());
    for kind in &kinds {
        let mut all = (
            Part {
                kind: kind.clone(),
                values: None,
                archived: false,
            },
            Values::default(),
        );
        for part in parts.iter().filter(|part| part.kind == *kind) {
            let Some(values) = part.values else {
                return Choice::Open;
            };
            all.1 = all.1.and(values);
            all.0.archived |= part.archived && values.rows > 0;
        }
        known.push((
            Part {
                values: Some(all.1),
                ..all.0
            },
            all.1,
        ));
    }
    let candidates = candidates(&kinds);
    let by_value = candidates
        .iter()
        .find(|kind| known.iter().all(|(part, _)| holds(kind, part)));
    if let Some(kind) = by_value {
        return Choice::Kind(kind.clone());
    }
    let votes = |kind: &DataType, as_is: bool| -> u64 {
        let held = known.iter().filter(|(part, _)| {
            if as_is {
                holds_all(kind, &part.kind)
            } else {
                holds(kind, part)
            }
        });
        held.map(|(_, values)| values.rows)
            .fold(0, u64::saturating_add)
    };
    let archived = |kind: &DataType| {
        known
            .iter()
            .filter(|(part, _)| part.archived && holds(kind, part))
            .count()
    };
    let best = candidates.iter().enumerate().max_by_key(|(place, kind)| {
        (
            archived(kind),
            votes(kind, false),
            votes(kind, true),
            Reverse(*place),
            Reverse(kind.to_string()),
        )
    });
    best.map_or(Choice::Absent, |(_, kind)| Choice::Kind(kind.clone()))
}

/// Types that may hold several of `kinds`, the smaller first; the order does not depend on that of
/// `kinds`.
fn candidates(kinds: &[DataType]) -> Vec<DataType> {
    let mut all: BTreeMap<String, DataType> = BTreeMap::new();
    let mut found: Vec<DataType> = kinds.to_vec();
    while let Some(kind) = found.pop() {
        if all.contains_key(&kind.to_string()) {
            continue;
        }
        found.extend(
            all.values()
                .filter_map(|other| smallest(&[kind.clone(), other.clone()])),
        );
        found.extend(all.values().filter_map(|other| finest(&kind, other)));
        let _ = all.insert(kind.to_string(), kind);
    }
    let mut sorted: Vec<DataType> = Vec::new();
    if all.values().any(|kind| NUMBERS.contains(kind)) {
        sorted.extend(NUMBERS);
    }
    sorted.extend(all.into_values().filter(|kind| !NUMBERS.contains(kind)));
    sorted
}

/// The timestamp or the duration of the finer unit, which holds the other where its values are not
/// too large.
fn finest(a: &DataType, b: &DataType) -> Option<DataType> {
    match (a, b) {
        (DataType::Timestamp(one, zone), DataType::Timestamp(other, same)) if zone == same => {
            Some(DataType::Timestamp(
                if per_second(*one) > per_second(*other) {
                    *one
                } else {
                    *other
                },
                zone.clone(),
            ))
        }
        (DataType::Duration(one), DataType::Duration(other)) => Some(DataType::Duration(
            if per_second(*one) > per_second(*other) {
                *one
            } else {
                *other
            },
        )),
        _ => None,
    }
}

const fn per_second(unit: TimeUnit) -> i128 {
    match unit {
        Second => 1,
        Millisecond => 1_000,
        Microsecond => 1_000_000,
        Nanosecond => 1_000_000_000,
    }
}

/// The smallest type that holds every value of all of `kinds`, whatever the values are.
#[must_use]
pub fn smallest(kinds: &[DataType]) -> Option<DataType> {
    let (first, rest) = kinds.split_first()?;
    if rest.iter().all(|kind| kind == first) {
        return Some(first.clone());
    }
    match first {
        DataType::List(_) => {
            let elements: Option<Vec<DataType>> = kinds.iter().map(element).collect();
            Some(DataType::List(Arc::new(Field::new(
                "element",
                smallest_inside(elements?)?,
                true,
            ))))
        }
        DataType::Struct(fields) => {
            let all: Option<Vec<&Fields>> = kinds.iter().map(fields_of).collect();
            let all = all?;
            if all.iter().any(|other| {
                !other
                    .iter()
                    .map(|f| f.name())
                    .eq(fields.iter().map(|f| f.name()))
            }) {
                return None;
            }
            let joined = fields.iter().enumerate().map(|(nth, field)| {
                let kinds: Option<Vec<DataType>> = all
                    .iter()
                    .map(|fields| Some(fields.get(nth)?.data_type().clone()))
                    .collect();
                Some(Field::new(field.name(), smallest_inside(kinds?)?, true))
            });
            Some(DataType::Struct(
                joined.collect::<Option<Vec<Field>>>()?.into(),
            ))
        }
        DataType::Decimal128(_, _) | DataType::Decimal256(_, _) => {
            let all: Option<Vec<(u8, i8)>> = kinds.iter().map(decimal).collect();
            let all = all?;
            let scale = all.iter().map(|(_, scale)| *scale).max()?;
            let whole = all
                .iter()
                .map(|(precision, scale)| i16::from(*precision) - i16::from(*scale))
                .max()?;
            let precision = u8::try_from(whole + i16::from(scale)).ok()?;
            let large = kinds
                .iter()
                .any(|kind| matches!(kind, DataType::Decimal256(_, _)));
            if precision <= DECIMAL128_MAX_PRECISION && !large {
                Some(DataType::Decimal128(precision, scale))
            } else {
                (precision <= DECIMAL256_MAX_PRECISION)
                    .then_some(DataType::Decimal256(precision, scale))
            }
        }
        _ => NUMBERS
            .into_iter()
            .find(|number| kinds.iter().all(|kind| holds_all(number, kind))),
    }
}

/// The same of values that are nested in others: nulls fit in any type.
fn smallest_inside(mut kinds: Vec<DataType>) -> Option<DataType> {
    kinds.retain(|kind| *kind != DataType::Null);
    if kinds.is_empty() {
        Some(DataType::Null)
    } else {
        smallest(&kinds)
    }
}

fn element(kind: &DataType) -> Option<DataType> {
    if let DataType::List(field) = kind {
        Some(field.data_type().clone())
    } else {
        None
    }
}

fn fields_of(kind: &DataType) -> Option<&Fields> {
    if let DataType::Struct(fields) = kind {
        Some(fields)
    } else {
        None
    }
}

fn decimal(kind: &DataType) -> Option<(u8, i8)> {
    match kind {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            Some((*precision, *scale))
        }
        _ => None,
    }
}

/// Whether `to` holds every value of the part exactly. Without its values only its type can tell.
#[must_use]
pub fn holds(to: &DataType, part: &Part) -> bool {
    if holds_all(to, &part.kind) {
        return true;
    }
    let Some(Integers {
        min,
        max,
        as_floats,
    }) = part.values.and_then(|values| values.integers)
    else {
        return false;
    };
    match (to, &part.kind) {
        (DataType::Int64, DataType::UInt64) => max <= i128::from(i64::MAX),
        (DataType::UInt64, from) if from.is_signed_integer() => min >= 0,
        (DataType::Float64, DataType::Int64 | DataType::UInt64) => as_floats,
        (DataType::Timestamp(to, zone), DataType::Timestamp(from, same)) if zone == same => {
            scales(*from, *to, min, max)
        }
        (DataType::Duration(to), DataType::Duration(from)) => scales(*from, *to, min, max),
        _ => false,
    }
}

/// Whether the values from `min` to `max` can be told in the unit `to`.
fn scales(from: TimeUnit, to: TimeUnit, min: i128, max: i128) -> bool {
    let times = per_second(to) / per_second(from).max(1);
    let fits = |value: i128| {
        value
            .checked_mul(times)
            .is_some_and(|v| i64::try_from(v).is_ok())
    };
    times > 0 && fits(min) && fits(max)
}

/// Whether `to` holds every value that a column of type `from` can have.
#[must_use]
pub fn holds_all(to: &DataType, from: &DataType) -> bool {
    if to == from {
        return true;
    }
    match to {
        DataType::Float64 => {
            matches!(from, DataType::Float16 | DataType::Float32)
                || (from.is_integer() && bits(from) <= 32)
        }
        DataType::Float32 => matches!(from, DataType::Float16),
        to if to.is_signed_integer() => {
            // A sign takes a bit.
            from.is_integer() && bits(from) + usize::from(from.is_unsigned_integer()) <= bits(to)
        }
        to if to.is_unsigned_integer() => from.is_unsigned_integer() && bits(from) <= bits(to),
        DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _)
        | DataType::List(_)
        | DataType::Struct(_) => smallest(&[to.clone(), from.clone()]).as_ref() == Some(to),
        _ => false,
    }
}

fn bits(kind: &DataType) -> usize {
    kind.primitive_width()
        .map_or(usize::MAX / 2, |width| 8 * width)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(kind: &DataType, rows: u64, (min, max): (i128, i128)) -> Part {
        let as_floats = min >= -(1 << 53) && max <= (1 << 53);
        let stored =
            kind.is_integer() || matches!(kind, DataType::Timestamp(_, _) | DataType::Duration(_));
        let integers = stored.then_some(Integers {
            min,
            max,
            as_floats,
        });
        Part {
            kind: kind.clone(),
            values: Some(Values { rows, integers }),
            archived: false,
        }
    }

    fn list(kind: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("element", kind, true)))
    }

    #[test]
    fn types_widen_to_the_smallest_that_holds_all() {
        use DataType::{
            Boolean, Decimal128, Decimal256, Float32, Float64, Int8, Int16, Int32, Int64, UInt8,
            UInt16, UInt32, UInt64, Utf8,
        };
        for (kinds, expected) in [
            (vec![Int8], Some(Int8)),
            (vec![Int8, Int32, Int16], Some(Int32)),
            (vec![UInt8, Int8], Some(Int16)),
            (vec![UInt32, Int8], Some(Int64)),
            (vec![UInt8, UInt64], Some(UInt64)),
            (vec![UInt64, Int8], None),
            (vec![Float32, Float64], Some(Float64)),
            (vec![Int8, Float32], Some(Float64)),
            (vec![UInt32, Float64, UInt16], Some(Float64)),
            (vec![Int64, Float64], None),
            (vec![Int64, Utf8], None),
            (vec![Boolean, Int8], None),
            (
                vec![Decimal128(10, 2), Decimal128(9, 4)],
                Some(Decimal128(12, 4)),
            ),
            (
                vec![Decimal128(38, 0), Decimal128(10, 9)],
                Some(Decimal256(47, 9)),
            ),
            (vec![list(Int32), list(Int64)], Some(list(Int64))),
            (vec![list(Int32), list(Utf8)], None),
            (vec![list(DataType::Null), list(Int64)], Some(list(Int64))),
            (vec![list(Utf8), list(DataType::Null)], Some(list(Utf8))),
            (
                vec![
                    list(list(DataType::Null)),
                    list(list(Float32)),
                    list(DataType::Null),
                ],
                Some(list(list(Float32))),
            ),
            (
                vec![list(list(Float32)), list(list(Float64))],
                Some(list(list(Float64))),
            ),
        ] {
            assert_eq!(smallest(&kinds), expected, "{kinds:?}");
            let reversed: Vec<DataType> = kinds.iter().rev().cloned().collect();
            assert_eq!(smallest(&reversed), expected, "{reversed:?}");
        }
        let pair = |a, b| {
            DataType::Struct(vec![Field::new("a", a, true), Field::new("b", b, true)].into())
        };
        assert_eq!(
            smallest(&[pair(Int8, Utf8), pair(Int64, Utf8)]),
            Some(pair(Int64, Utf8))
        );
    }

    #[test]
    fn where_no_type_holds_both_their_values_may() {
        use DataType::{Float64, Int8, Int64, UInt64, Utf8};
        let small = (0, 9);
        let huge = (0, i128::from(u64::MAX));
        let odd = (1, (1 << 60) + 1);
        for (parts, expected) in [
            (
                vec![part(&Int64, 1, small), part(&Float64, 9, small)],
                Float64,
            ),
            (vec![part(&Int64, 9, odd), part(&Float64, 1, small)], Int64),
            (
                vec![part(&Int64, 1, odd), part(&Float64, 9, small)],
                Float64,
            ),
            (
                vec![part(&UInt64, 1, small), part(&Int8, 1, (-1, 1))],
                Int64,
            ),
            (vec![part(&UInt64, 1, small), part(&Int8, 1, small)], Int64),
            (vec![part(&UInt64, 1, huge), part(&Int8, 1, small)], UInt64),
            (
                vec![part(&UInt64, 2, huge), part(&Int8, 1, (-1, 1))],
                UInt64,
            ),
            (vec![part(&Int64, 9, small), part(&Utf8, 10, small)], Utf8),
            (
                vec![
                    part(&Int64, 9, small),
                    part(&Int8, 2, small),
                    part(&Utf8, 10, small),
                ],
                Int64,
            ),
        ] {
            assert_eq!(choose(&parts), Choice::Kind(expected.clone()), "{parts:?}");
            let reversed: Vec<Part> = parts.iter().rev().cloned().collect();
            assert_eq!(choose(&reversed), Choice::Kind(expected), "{reversed:?}");
        }
        let at = |unit| DataType::Timestamp(unit, None);
        let far = (0, 253_402_300_799_000);
        let near = (0, 1_770_076_800_000);
        let both = |span| {
            choose(&[
                part(&at(Millisecond), 5, span),
                part(&at(Nanosecond), 4, small),
            ])
        };
        assert_eq!(both(near), Choice::Kind(at(Nanosecond)));
        assert_eq!(
            both(far),
            Choice::Kind(at(Millisecond)),
            "the year 9999 has no nanoseconds, and more rows"
        );
        let lasts = DataType::Duration;
        let both = |span| {
            choose(&[
                part(&lasts(Second), 5, span),
                part(&lasts(Microsecond), 4, small),
            ])
        };
        assert_eq!(both(near), Choice::Kind(lasts(Microsecond)));
        assert_eq!(
            both((0, i128::from(i64::MAX))),
            Choice::Kind(lasts(Second)),
            "not in microseconds, and more rows"
        );
        let apart = choose(&[part(&lasts(Second), 5, small), part(&Int64, 4, small)]);
        assert_eq!(apart, Choice::Kind(lasts(Second)), "a number has no unit");
        let unread = Part {
            values: None,
            ..part(&Int64, 1, small)
        };
        assert_eq!(
            choose(&[unread.clone(), part(&Float64, 1, small)]),
            Choice::Open
        );
        assert_eq!(
            choose(&[unread, part(&Int8, 1, small)]),
            Choice::Kind(Int64)
        );
        assert_eq!(choose(&[part(&Int8, 0, small)]), Choice::Absent);
    }

    #[test]
    fn equal_votes_are_decided_by_the_types_alone() {
        let (text, number) = (
            part(&DataType::Utf8, 5, (0, 0)),
            part(&DataType::Int64, 5, (0, 0)),
        );
        assert_eq!(
            choose(&[text.clone(), number.clone()]),
            Choice::Kind(DataType::Int64)
        );
        assert_eq!(choose(&[number, text]), Choice::Kind(DataType::Int64));
    }

    #[test]
    fn an_archived_type_widens_but_is_never_outvoted() {
        let archived = Part {
            archived: true,
            ..part(&DataType::Int32, 1, (0, 5))
        };
        let wide = part(&DataType::Int64, 1, (0, 5));
        let text = part(&DataType::Utf8, 100, (0, 5));
        assert_eq!(
            choose(&[archived.clone(), wide.clone()]),
            Choice::Kind(DataType::Int64)
        );
        assert_eq!(
            choose(&[archived.clone(), text.clone()]),
            Choice::Kind(DataType::Int32)
        );
        assert_eq!(
            choose(&[archived, wide, text]),
            Choice::Kind(DataType::Int64)
        );
    }

    /// A part with a number type and values that it can have.
    fn numeric() -> impl Strategy<Value = Part> {
        let kind = prop::sample::select(
            NUMBERS
                .iter()
                .filter(|k| **k != DataType::Float16)
                .cloned()
                .collect::<Vec<_>>(),
        );
        (
            kind,
            1_u64..4,
            prop::sample::select(vec![
                0_i128,
                1,
                -1,
                100,
                (1 << 53) + 1,
                i128::from(u64::MAX),
            ]),
        )
            .prop_map(|(kind, rows, extreme)| {
                let bits = u32::try_from(bits(&kind)).unwrap();
                let (low, high) = match &kind {
                    kind if kind.is_unsigned_integer() => (0, (1_i128 << bits) - 1),
                    kind if kind.is_signed_integer() => {
                        (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1)
                    }
                    _ => (0, 0),
                };
                let value = extreme.clamp(low, high);
                part(&kind, rows, (value.min(0), value.max(0)))
            })
    }

    proptest! {
        /// What was archived in any number of steps has the type that all rows at once have.
        #[test]
        fn the_type_does_not_depend_on_what_was_archived_first(
            parts in prop::collection::vec(numeric(), 1..6),
            order in prop::collection::vec(any::<u8>(), 6),
            cut in 0_usize..6,
        ) {
            let at_once = choose(&parts);
            let Choice::Kind(kind) = &at_once else { panic!("{at_once:?}") };
            prop_assume!(parts.iter().all(|part| holds(kind, part)));
            let mut arrived: Vec<(u8, Part)> = order.iter().copied().zip(parts.iter().cloned()).collect();
            arrived.sort_by_key(|(at, _)| *at);
            let mut arrived: Vec<Part> = arrived.into_iter().map(|(_, part)| part).collect();
            let late = arrived.split_off(cut.min(arrived.len()));
            if let Choice::Kind(first) = choose(&arrived) {
                let values = arrived.iter().filter_map(|p| p.values).fold(Values::default(), Values::and);
                // Integers that became floats are floats from then on.
                let values = Values { integers: values.integers.filter(|_| first.is_integer()), ..values };
                let archived = Part { kind: first, values: Some(values), archived: true };
                let all: Vec<Part> = late.into_iter().chain([archived]).collect();
                prop_assert_eq!(choose(&all), at_once);
            }
        }
    }
}
