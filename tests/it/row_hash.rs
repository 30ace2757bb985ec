//! The row hash is the one that a stranger computes: the numbers here come from `tests/rowhash.py`,
//! which was written from the description alone.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int8Array, Int64Array,
        ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    datatypes::{Float64Type, Int32Type},
};
use qlc::model::row_hash;

fn check(columns: Vec<(&str, ArrayRef)>, expected: &str) {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
            .unwrap();
    assert_eq!(row_hash::of_batch(&batch).unwrap().to_string(), expected);
}

#[test]
fn a_stranger_finds_the_same_number() {
    check(
        vec![
            (
                "ts_event",
                Arc::new(Int64Array::from(vec![1_770_076_800_000_000_000])) as ArrayRef,
            ),
            ("bid_price", Arc::new(Float64Array::from(vec![100.25]))),
            ("exchange", Arc::new(StringArray::from(vec!["binance"]))),
        ],
        "1:090b1d5bcdd03159",
    );
    let keyed: DictionaryArray<Int32Type> = vec![Some("x"), None, Some("y")].into_iter().collect();
    let lists = vec![Some(vec![Some(1.0), Some(2.0)]), None, Some(vec![])];
    check(
        vec![
            (
                "a",
                Arc::new(Int8Array::from(vec![Some(1), None, Some(-3)])) as ArrayRef,
            ),
            ("b", Arc::new(keyed)),
            (
                "l",
                Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists)),
            ),
            (
                "d",
                Arc::new(Date32Array::from(vec![Some(1), Some(2), None])),
            ),
            (
                "t",
                Arc::new(TimestampMicrosecondArray::from(vec![
                    Some(1),
                    Some(2),
                    None,
                ])),
            ),
            (
                "bo",
                Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
            ),
        ],
        "1:4470445748d69ddd",
    );
}
