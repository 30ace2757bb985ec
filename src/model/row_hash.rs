//! The row hash: one number for a set of rows, whatever their order and however they are cut into
//! batches or files.
//!
//! Version 1, so that a stranger can recompute it (all arithmetic on unsigned 64-bit integers,
//! wrapping):
//!
//! - `mix(x)`: `x ^= x >> 30; x *= 0xbf58476d1ce4e5b9; x ^= x >> 27; x *= 0x94d049bb133111eb; x ^=
//!   x >> 31`
//! - `seed(column)` is the XXH64 of the column's name in UTF-8 with seed 0.
//! - The hash of a value in a column: integers, booleans, dates and times as their integer,
//!   sign-extended to 64 bits, and floats as the bits of their `f64`: `mix(bits ^ seed)`. Strings
//!   and binaries: XXH64 of their bytes with the column's seed; decimals likewise, of their 16 or
//!   32 bytes, little-endian. A list: XXH64 of its elements' hashes, 8 little-endian bytes each,
//!   with the seed; a struct: the same over its fields, where a field's seed is XXH64 of its name
//!   with the struct's seed. A null: 0, so that a missing column and a null are the same. The width
//!   of an integer or a float does not count, nor how texts and lists are stored. A whole number as
//!   a float has another hash than as an integer, and so has a time in another unit.
//! - The hash of a row: `mix` of the sum of its values' hashes. The hash of the set: the sum of its
//!   rows' hashes.
//!
//! It is written `1:` and 16 hex digits. It finds accidents, with a chance of 2⁻⁶⁴ to miss one, and
//! is no defence against forgery: for that there is the sha256 of the file.

use std::{fmt, str::FromStr, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, GenericByteArray,
        PrimitiveArray, RecordBatch, StructArray, make_array,
    },
    datatypes::{
        ArrowPrimitiveType, ByteArrayType, DataType, Date32Type, Date64Type, Decimal128Type,
        Decimal256Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
        DurationSecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
        Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
        UInt64Type,
    },
};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use crate::error::{Error, Kind, Result};

/// The key under which a Parquet footer holds the row hash of its rows.
pub const FOOTER_KEY: &str = "qlc.row_hash";
/// The key under which a Parquet footer says which version of qlc wrote the file.
pub const VERSION_KEY: &str = "qlc.version";

/// The row hash of a set of rows; adding two of them is the hash of both sets together.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct RowHash(u64);

impl RowHash {
    /// The hash of no rows.
    pub const EMPTY: Self = Self(0);

    /// The hash of one row, as [`RowSums::rows`] tells it.
    #[must_use]
    pub fn of_row(hash: u64) -> Self {
        Self(hash)
    }

    /// The hash of these rows and those of `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// The hash of these rows without those of `other`, which are among them.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}

impl std::iter::Sum for RowHash {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::EMPTY, Self::and)
    }
}

impl fmt::Display for RowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1:{:016x}", self.0)
    }
}

impl FromStr for RowHash {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        text.strip_prefix("1:")
            .filter(|hex| hex.len() == 16)
            .and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .map(Self)
            .ok_or_else(|| {
                Error::new(
                    Kind::Damage,
                    format!("{text:?} is not a row hash of version 1"),
                )
            })
    }
}

impl TryFrom<String> for RowHash {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<RowHash> for String {
    fn from(hash: RowHash) -> String {
        hash.to_string()
    }
}

/// The sums of the values' hashes of the rows of one batch, column by column: a row hash under way.
#[derive(Debug, Default)]
pub struct RowSums {
    sums: Vec<u64>,
    /// What every row has besides: the hashes of columns of one value.
    common: u64,
}

impl RowSums {
    /// Begins `rows` rows; earlier ones are forgotten, their memory is used again.
    pub fn begin(&mut self, rows: usize) {
        self.sums.clear();
        self.sums.resize(rows, 0);
        self.common = 0;
    }

    /// Adds a column; `array` has as many values as there are rows.
    ///
    /// # Errors
    /// When the column's type has no hash (unions, intervals).
    pub fn add(&mut self, name: &str, array: &dyn Array) -> Result<()> {
        match one_value(array) {
            Some(one) => self.add_constant(name, &one),
            None => add_values(&mut self.sums, seed(name), array),
        }
    }

    /// Adds a column that has the only value of `one` in every row.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_constant(&mut self, name: &str, one: &dyn Array) -> Result<()> {
        let mut value = [0];
        add_values(&mut value, seed(name), one)?;
        self.common = self.common.wrapping_add(value[0]);
        Ok(())
    }

    /// The hash of the rows with the columns added so far; more columns may follow.
    #[must_use]
    pub fn hash(&self) -> RowHash {
        RowHash(self.sums.iter().fold(0, |all, sum| {
            all.wrapping_add(mix(sum.wrapping_add(self.common)))
        }))
    }

    /// The hash of each row, in their order.
    pub fn rows(&self) -> impl Iterator<Item = u64> {
        self.sums
            .iter()
            .map(|sum| mix(sum.wrapping_add(self.common)))
    }

    /// The hash of those rows for which `keep` is true.
    #[must_use]
    pub fn hash_where(&self, keep: &BooleanArray) -> RowHash {
        let kept = self
            .sums
            .iter()
            .zip(keep.values())
            .filter(|(_, keep)| *keep);
        RowHash(kept.fold(0, |all, (sum, _)| {
            all.wrapping_add(mix(sum.wrapping_add(self.common)))
        }))
    }
}

/// The value of a dictionary that has no other, where it is in every row.
fn one_value(array: &dyn Array) -> Option<ArrayRef> {
    let keyed = array.as_any_dictionary_opt()?;
    (array.null_count() == 0 && keyed.values().len() == 1).then(|| Arc::clone(keyed.values()))
}

/// The row hash of a batch.
///
/// # Errors
/// When a column's type has no hash.
pub fn of_batch(batch: &RecordBatch) -> Result<RowHash> {
    let mut sums = RowSums::default();
    sums.begin(batch.num_rows());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        sums.add(field.name(), column)?;
    }
    Ok(sums.hash())
}

fn seed(name: &str) -> u64 {
    XxHash64::oneshot(0, name.as_bytes())
}

const fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn add_values(sums: &mut [u64], seed: u64, array: &dyn Array) -> Result<()> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    match array.data_type() {
        DataType::Null => {}
        DataType::Boolean => {
            let values = array.as_boolean();
            each(sums, array, |i| mix(u64::from(values.value(i)) ^ seed));
        }
        DataType::Int8 => ints::<Int8Type>(sums, seed, array),
        DataType::Int16 => ints::<Int16Type>(sums, seed, array),
        DataType::Int32 => ints::<Int32Type>(sums, seed, array),
        DataType::Int64 => ints::<Int64Type>(sums, seed, array),
        DataType::Date32 => ints::<Date32Type>(sums, seed, array),
        DataType::Date64 => ints::<Date64Type>(sums, seed, array),
        DataType::Time32(Second) => ints::<Time32SecondType>(sums, seed, array),
        DataType::Time32(_) => ints::<Time32MillisecondType>(sums, seed, array),
        DataType::Time64(Nanosecond) => ints::<Time64NanosecondType>(sums, seed, array),
        DataType::Time64(_) => ints::<Time64MicrosecondType>(sums, seed, array),
        DataType::Timestamp(Second, _) => ints::<TimestampSecondType>(sums, seed, array),
        DataType::Timestamp(Millisecond, _) => ints::<TimestampMillisecondType>(sums, seed, array),
        DataType::Timestamp(Microsecond, _) => ints::<TimestampMicrosecondType>(sums, seed, array),
        DataType::Timestamp(Nanosecond, _) => ints::<TimestampNanosecondType>(sums, seed, array),
        DataType::Duration(Second) => ints::<DurationSecondType>(sums, seed, array),
        DataType::Duration(Millisecond) => ints::<DurationMillisecondType>(sums, seed, array),
        DataType::Duration(Microsecond) => ints::<DurationMicrosecondType>(sums, seed, array),
        DataType::Duration(Nanosecond) => ints::<DurationNanosecondType>(sums, seed, array),
        DataType::UInt8 => bits::<UInt8Type>(sums, seed, array, u64::from),
        DataType::UInt16 => bits::<UInt16Type>(sums, seed, array, u64::from),
        DataType::UInt32 => bits::<UInt32Type>(sums, seed, array, u64::from),
        DataType::UInt64 => bits::<UInt64Type>(sums, seed, array, |v| v),
        DataType::Float16 => bits::<Float16Type>(sums, seed, array, |v| v.to_f64().to_bits()),
        DataType::Float32 => bits::<Float32Type>(sums, seed, array, |v| f64::from(v).to_bits()),
        DataType::Float64 => bits::<Float64Type>(sums, seed, array, f64::to_bits),
        DataType::Decimal128(_, _) => {
            let values = array.as_primitive::<Decimal128Type>();
            each(sums, array, |i| {
                XxHash64::oneshot(seed, &values.value(i).to_le_bytes())
            });
        }
        DataType::Decimal256(_, _) => {
            let values = array.as_primitive::<Decimal256Type>();
            each(sums, array, |i| {
                XxHash64::oneshot(seed, &values.value(i).to_le_bytes())
            });
        }
        DataType::Utf8 => bytes(sums, seed, array.as_string::<i32>()),
        DataType::LargeUtf8 => bytes(sums, seed, array.as_string::<i64>()),
        DataType::Binary => bytes(sums, seed, array.as_binary::<i32>()),
        DataType::LargeBinary => bytes(sums, seed, array.as_binary::<i64>()),
        DataType::Utf8View => {
            let values = array.as_string_view();
            each(sums, array, |i| {
                XxHash64::oneshot(seed, values.value(i).as_bytes())
            });
        }
        DataType::BinaryView => {
            let values = array.as_binary_view();
            each(sums, array, |i| XxHash64::oneshot(seed, values.value(i)));
        }
        DataType::FixedSizeBinary(_) => {
            if let Some(values) = array.as_any().downcast_ref::<FixedSizeBinaryArray>() {
                each(sums, array, |i| XxHash64::oneshot(seed, values.value(i)));
            }
        }
        DataType::Dictionary(_, _) => dictionary(sums, seed, array)?,
        DataType::List(_) => lists(sums, seed, array, array.as_list::<i32>().iter())?,
        DataType::LargeList(_) => lists(sums, seed, array, array.as_list::<i64>().iter())?,
        DataType::FixedSizeList(_, _) => {
            lists(sums, seed, array, array.as_fixed_size_list().iter())?;
        }
        DataType::Map(_, _) => {
            let entries = array
                .as_map()
                .iter()
                .map(|entry| entry.map(|e| make_array(e.into())));
            lists(sums, seed, array, entries)?;
        }
        DataType::Struct(_) => structs(sums, seed, array.as_struct())?,
        other => {
            return Err(Error::new(
                Kind::BadInput,
                format!("a column of type {other} has no row hash"),
            ));
        }
    }
    Ok(())
}

/// Whether a column of this type has a row hash.
#[must_use]
pub fn is_hashed(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, values) => is_hashed(values),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => is_hashed(field.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_hashed(field.data_type())),
        DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Interval(_)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::RunEndEncoded(_, _)
        | DataType::Union(_, _) => false,
        _ => true,
    }
}

/// Adds `hash(i)` for every value that is not null.
fn each(sums: &mut [u64], array: &dyn Array, hash: impl Fn(usize) -> u64) {
    for (i, sum) in sums.iter_mut().enumerate() {
        if array.is_valid(i) {
            *sum = sum.wrapping_add(hash(i));
        }
    }
}

fn ints<T: ArrowPrimitiveType<Native: Into<i64>>>(sums: &mut [u64], seed: u64, array: &dyn Array) {
    bits::<T>(sums, seed, array, |v| v.into().cast_unsigned());
}

/// The hot loop: without nulls it has no branch, so that several multiplications run at once.
fn bits<T: ArrowPrimitiveType>(
    sums: &mut [u64],
    seed: u64,
    array: &dyn Array,
    bits: impl Fn(T::Native) -> u64,
) {
    let values: &PrimitiveArray<T> = array.as_primitive();
    if values.null_count() == 0 {
        for (sum, value) in sums.iter_mut().zip(values.values()) {
            *sum = sum.wrapping_add(mix(bits(*value) ^ seed));
        }
    } else {
        each(sums, array, |i| mix(bits(values.value(i)) ^ seed));
    }
}

fn bytes<T: ByteArrayType>(sums: &mut [u64], seed: u64, values: &GenericByteArray<T>) {
    // Neighbouring strings are often equal (an exchange, a symbol): then the last hash serves
    // again.
    let mut last: Option<(&[u8], u64)> = None;
    for (i, sum) in sums.iter_mut().enumerate() {
        if values.is_valid(i) {
            let value: &[u8] = values.value(i).as_ref();
            let hash = match last {
                Some((known, hash)) if known == value => hash,
                _ => XxHash64::oneshot(seed, value),
            };
            last = Some((value, hash));
            *sum = sum.wrapping_add(hash);
        }
    }
}

fn dictionary(sums: &mut [u64], seed: u64, array: &dyn Array) -> Result<()> {
    let keyed = array.as_any_dictionary();
    let mut hashes = vec![0; keyed.values().len()];
    add_values(&mut hashes, seed, keyed.values())?;
    if hashes.is_empty() {
        return Ok(());
    }
    for ((i, sum), key) in sums.iter_mut().enumerate().zip(keyed.normalized_keys()) {
        if array.is_valid(i) {
            *sum = sum.wrapping_add(hashes.get(key).copied().unwrap_or(0));
        }
    }
    Ok(())
}

fn lists(
    sums: &mut [u64],
    seed: u64,
    array: &dyn Array,
    elements: impl Iterator<Item = Option<ArrayRef>>,
) -> Result<()> {
    for ((i, sum), element) in sums.iter_mut().enumerate().zip(elements) {
        if let Some(values) = element.filter(|_| array.is_valid(i)) {
            let mut hashes = vec![0; values.len()];
            add_values(&mut hashes, seed, &values)?;
            *sum = sum.wrapping_add(hash_of_hashes(seed, &hashes));
        }
    }
    Ok(())
}

fn structs(sums: &mut [u64], seed: u64, array: &StructArray) -> Result<()> {
    let mut columns = Vec::with_capacity(array.num_columns());
    for (field, column) in array.fields().iter().zip(array.columns()) {
        let mut hashes = vec![0; column.len()];
        add_values(
            &mut hashes,
            XxHash64::oneshot(seed, field.name().as_bytes()),
            column,
        )?;
        columns.push(hashes);
    }
    each(sums, array, |i| {
        let row: Vec<u64> = columns
            .iter()
            .map(|c| c.get(i).copied().unwrap_or(0))
            .collect();
        hash_of_hashes(seed, &row)
    });
    Ok(())
}

fn hash_of_hashes(seed: u64, hashes: &[u64]) -> u64 {
    let bytes: Vec<u8> = hashes.iter().flat_map(|h| h.to_le_bytes()).collect();
    XxHash64::oneshot(seed, &bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{
            DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, StringArray,
            StringViewArray,
        },
        compute::{concat_batches, take_record_batch},
    };

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn sample() -> RecordBatch {
        batch(vec![
            (
                "ts_event",
                Arc::new(Int64Array::from(vec![3, 1, 2])) as ArrayRef,
            ),
            (
                "price",
                Arc::new(Float64Array::from(vec![Some(1.5), None, Some(-0.0)])),
            ),
            ("side", Arc::new(StringArray::from(vec!["a", "b", "a"]))),
        ])
    }

    /// The value that a stranger computes by the description above (checked against an independent
    /// script).
    #[test]
    fn the_hash_is_the_documented_one() {
        let one = batch(vec![
            (
                "ts_event",
                Arc::new(Int64Array::from(vec![1_770_076_800_000_000_000])) as ArrayRef,
            ),
            ("bid_price", Arc::new(Float64Array::from(vec![100.25]))),
            ("exchange", Arc::new(StringArray::from(vec!["binance"]))),
        ]);
        let expected = {
            let ts_event = 1_770_076_800_000_000_000_u64;
            let sum = mix(ts_event ^ XxHash64::oneshot(0, b"ts_event"))
                .wrapping_add(mix(
                    100.25_f64.to_bits() ^ XxHash64::oneshot(0, b"bid_price")
                ))
                .wrapping_add(XxHash64::oneshot(
                    XxHash64::oneshot(0, b"exchange"),
                    b"binance",
                ));
            RowHash(mix(sum))
        };
        assert_eq!(of_batch(&one).unwrap(), expected);
    }

    #[test]
    fn order_and_cutting_do_not_matter_but_every_value_does() {
        let all = sample();
        let hash = of_batch(&all).unwrap();
        let turned = take_record_batch(&all, &Int32Array::from(vec![2, 0, 1])).unwrap();
        assert_eq!(of_batch(&turned).unwrap(), hash);
        let parts: RowHash = (0..3).map(|i| of_batch(&all.slice(i, 1)).unwrap()).sum();
        assert_eq!(parts, hash);
        let twice = concat_batches(&all.schema(), [&all, &all]).unwrap();
        assert_ne!(of_batch(&twice).unwrap(), hash);
        let swapped = batch(vec![
            (
                "ts_event",
                Arc::new(Int64Array::from(vec![1, 3, 2])) as ArrayRef,
            ),
            ("price", Arc::clone(all.column(1))),
            ("side", Arc::clone(all.column(2))),
        ]);
        assert_ne!(of_batch(&swapped).unwrap(), hash);
    }

    #[test]
    fn the_way_values_are_stored_does_not_matter() {
        let all = sample();
        let hash = of_batch(&all).unwrap();
        let keyed: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
        let views = Arc::new(StringViewArray::from(vec!["a", "b", "a"]));
        for side in [Arc::new(keyed) as ArrayRef, views] {
            let other = batch(vec![
                ("ts_event", Arc::clone(all.column(0))),
                ("side", side),
                ("price", Arc::clone(all.column(1))),
                ("absent", Arc::new(Int64Array::from(vec![None, None, None]))),
            ]);
            assert_eq!(of_batch(&other).unwrap(), hash);
        }
    }

    #[test]
    fn types_without_a_hash_are_known_before_their_values() {
        use DataType::{
            Boolean, Date32, Decimal32, Decimal128, Float16, Int8, Interval, List, Null, Struct,
            Utf8View,
        };
        use arrow::datatypes::{Field, IntervalUnit::DayTime};
        let field = |kind: &DataType| Arc::new(Field::new("part", kind.clone(), true));
        for kind in [
            Boolean,
            Date32,
            Decimal32(5, 0),
            Decimal128(20, 2),
            Float16,
            Interval(DayTime),
            Int8,
            Null,
            Utf8View,
        ] {
            for kind in [
                kind.clone(),
                List(field(&kind)),
                Struct(vec![field(&kind)].into()),
            ] {
                let mut sums = RowSums::default();
                sums.begin(1);
                // An empty list has no values to be hashed, so there is one.
                let values = arrow::array::new_null_array(&kind, 1);
                let values = if let List(field) = &kind {
                    let one = arrow::array::new_null_array(field.data_type(), 1);
                    let offsets = arrow::buffer::OffsetBuffer::from_lengths([1]);
                    Arc::new(ListArray::new(Arc::clone(field), offsets, one, None)) as ArrayRef
                } else {
                    values
                };
                assert_eq!(
                    sums.add("column", &values).is_ok(),
                    is_hashed(&kind),
                    "{kind}"
                );
            }
        }
    }

    #[test]
    fn widening_a_number_does_not_change_its_hash() {
        let hash = |values: ArrayRef| of_batch(&batch(vec![("level", values)])).unwrap();
        let narrow: ArrayRef = Arc::new(arrow::array::Int16Array::from(vec![
            Some(-3),
            None,
            Some(7),
        ]));
        for kind in [DataType::Int32, DataType::Int64] {
            assert_eq!(
                hash(arrow::compute::cast(&narrow, &kind).unwrap()),
                hash(Arc::clone(&narrow)),
                "{kind}"
            );
        }
        let float: ArrayRef = Arc::new(arrow::array::Float32Array::from(vec![-0.0, 0.1, f32::NAN]));
        assert_eq!(
            hash(arrow::compute::cast(&float, &DataType::Float64).unwrap()),
            hash(float)
        );
        let whole: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        assert_ne!(
            hash(arrow::compute::cast(&whole, &DataType::Float64).unwrap()),
            hash(whole)
        );
    }

    #[test]
    fn nested_values_count() {
        let list = |v: Vec<Option<i64>>| {
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
                Some(v),
            ])) as ArrayRef
        };
        let hash = |l: ArrayRef| of_batch(&batch(vec![("levels", l)])).unwrap();
        assert_ne!(
            hash(list(vec![Some(1), Some(2)])),
            hash(list(vec![Some(2), Some(1)]))
        );
        assert_ne!(hash(list(vec![Some(1)])), hash(list(vec![Some(1), None])));
    }

    #[test]
    fn it_is_written_and_read() {
        let hash = of_batch(&sample()).unwrap();
        assert_eq!(hash.to_string().parse::<RowHash>().unwrap(), hash);
        assert!("2:0000000000000000".parse::<RowHash>().is_err());
        assert!("1:00".parse::<RowHash>().is_err());
    }
}
