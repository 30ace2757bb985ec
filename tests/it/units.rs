//! Files whose numbers are the same and stand for other values: the row hash does not tell them
//! apart, the types of their columns do.

use std::{fs, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, Date32Array, Decimal128Array, DurationMillisecondArray,
        DurationSecondArray, Int64Array, Time32MillisecondArray, Time64MicrosecondArray,
        TimestampMicrosecondArray, TimestampMillisecondArray,
    },
    datatypes::Decimal128Type,
};

use super::support::{
    archive::{dir, published},
    events::{DAY, Events, SECOND, quotes},
    run::Place,
};

const FOLDER: &str = "exchange=binance/stream=bbo/symbol=btcusdt";

/// A file of three rows with these values in an added column.
fn with(values: ArrayRef) -> Vec<u8> {
    Events::sealed(quotes(DAY, SECOND, 0, 3))
        .with("x", values)
        .bytes()
}

fn put(place: &Place, nth: u8, values: ArrayRef) {
    let name = format!("{FOLDER}/2026-02-03_0{nth}-00-00.parquet");
    let _ = place.put(&name, &with(values));
}

fn decimals(scale: i8) -> ArrayRef {
    let values = Decimal128Array::from(vec![110, 110, 110]);
    Arc::new(values.with_precision_and_scale(10, scale).unwrap())
}

/// Pairs of columns with the same integers; whether one type can hold the values of both.
fn pairs() -> Vec<(ArrayRef, ArrayRef, bool)> {
    vec![
        (decimals(2), decimals(3), true),
        (
            Arc::new(DurationSecondArray::from(vec![1, 2, 3])),
            Arc::new(DurationMillisecondArray::from(vec![1, 2, 3])),
            true,
        ),
        (
            Arc::new(TimestampMillisecondArray::from(vec![1, 2, 3])),
            Arc::new(TimestampMicrosecondArray::from(vec![1, 2, 3])),
            true,
        ),
        (
            Arc::new(Time32MillisecondArray::from(vec![1, 2, 3])),
            Arc::new(Time64MicrosecondArray::from(vec![1, 2, 3])),
            false,
        ),
        (
            Arc::new(Date32Array::from(vec![1, 2, 3])),
            Arc::new(Int64Array::from(vec![1, 2, 3])),
            false,
        ),
    ]
}

fn rows(place: &Place) -> usize {
    let day = dir("binance", "bbo", "btcusdt", "20260203");
    published(&place.archive(), &day).data.batch.num_rows()
}

#[test]
fn the_same_integers_of_other_units_are_other_rows() {
    for (first, second, fit) in pairs() {
        let what = format!("{} and {}", first.data_type(), second.data_type());
        // Together, one late, and one in the place of the other.
        for late in [false, true] {
            let place = Place::new();
            put(&place, 1, Arc::clone(&first));
            if late {
                let _ = place.compact(&[]).ended(0);
            }
            put(&place, 2, Arc::clone(&second));
            let _ = place.compact(&[]).ended(if fit { 0 } else { 3 });
            assert_eq!(
                rows(&place),
                if fit { 6 } else { 3 },
                "{what}, late: {late}"
            );
            place.verify();
            let _ = place.compact(&[]).ended(0);
            let _ = place.qlc(&["prune", "--keep-days", "0"]).ended(0);
            let left = fs::read_dir(place.spool().join(FOLDER)).unwrap().count();
            assert_eq!(left, usize::from(!fit), "{what}, late: {late}");
        }
    }
}

#[test]
fn a_file_that_is_touched_renamed_or_copied_is_the_same_file() {
    for (values, _, _) in pairs() {
        let place = Place::new();
        put(&place, 1, Arc::clone(&values));
        let _ = place.compact(&[]).ended(0);
        put(&place, 1, Arc::clone(&values));
        put(&place, 3, Arc::clone(&values));
        let _ = place.compact(&[]).ended(0);
        assert_eq!(rows(&place), 3, "{}", values.data_type());
        place.verify();
    }
}

#[test]
fn both_values_are_in_the_archive() {
    let place = Place::new();
    put(&place, 1, decimals(2));
    let _ = place.compact(&[]).ended(0);
    put(&place, 2, decimals(3));
    let _ = place.compact(&[]).ended(0);
    let day = dir("binance", "bbo", "btcusdt", "20260203");
    let batch = published(&place.archive(), &day).data.batch;
    let values = batch.column_by_name("x").unwrap();
    let mut values = values.as_primitive::<Decimal128Type>().values().to_vec();
    values.sort_unstable();
    assert_eq!(values, [110, 110, 110, 1100, 1100, 1100]);
}
