//! The two SQL functions of qlc. Time columns may hold seconds, milliseconds, microseconds or
//! nanoseconds, and the size of a value shows which:
//!
//! - `to_ns(BIGINT) -> BIGINT`: the time in nanoseconds since 1970 UTC;
//! - `to_time(BIGINT) -> TIMESTAMP`: the same as a timestamp in UTC.
//!
//! A value that is no time between 1980 and 2199 in any unit gives null.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, PrimitiveArray},
    datatypes::{DataType, Int64Type, TimeUnit, TimestampNanosecondType},
};
use datafusion::{
    error::Result,
    logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf},
};

use crate::model::time;

/// The time zone of `to_time`, written as an offset so that no time zone database is needed.
const UTC: &str = "+00:00";

/// The functions, to be registered in a session.
#[must_use]
pub fn all() -> Vec<ScalarUDF> {
    let int = || vec![DataType::Int64];
    let timestamp = DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into()));
    vec![
        create_udf(
            "to_ns",
            int(),
            DataType::Int64,
            Volatility::Immutable,
            Arc::new(|args| apply(args, to_ns)),
        ),
        create_udf(
            "to_time",
            int(),
            timestamp,
            Volatility::Immutable,
            Arc::new(|args| apply(args, to_time)),
        ),
    ]
}

fn to_ns(values: &PrimitiveArray<Int64Type>) -> ArrayRef {
    let ns: PrimitiveArray<Int64Type> = values.unary_opt(time::to_ns);
    Arc::new(ns)
}

fn to_time(values: &PrimitiveArray<Int64Type>) -> ArrayRef {
    let ns: PrimitiveArray<TimestampNanosecondType> = values.unary_opt(time::to_ns);
    Arc::new(ns.with_timezone(UTC))
}

fn apply(
    args: &[ColumnarValue],
    each: fn(&PrimitiveArray<Int64Type>) -> ArrayRef,
) -> Result<ColumnarValue> {
    let scalar = args
        .iter()
        .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let arrays = ColumnarValue::values_to_arrays(args)?;
    let Some(values) = arrays
        .first()
        .and_then(|array| array.as_primitive_opt::<Int64Type>())
    else {
        return datafusion::common::exec_err!("a time is a BIGINT");
    };
    let found = each(values);
    if scalar {
        // A constant stays one, so that the planner can fold it.
        return datafusion::scalar::ScalarValue::try_from_array(&found, 0)
            .map(ColumnarValue::Scalar);
    }
    Ok(ColumnarValue::Array(found))
}
