//! The columns of each stream, and what of a file's schema fits them.
//!
//! Nothing is converted here: it says which types a column may have had and which one it has in the
//! archive.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::{
    partition::Stream,
    row_hash,
    types::{self, Choice, Part, Values},
};

/// The event time: decides the day and the order.
pub const TS_EVENT: &str = "ts_event";
/// The number that orders events of one `ts_event`.
pub const SEQ: &str = "seq";
/// The column of the time at which the collector received an event.
pub const TS_RECV: &str = "ts_recv";
/// The column of the exchange's name of a trade.
pub const TRADE_ID: &str = "trade_id";
/// The column of the version of the stream's columns.
pub const VERSION: &str = "stream_version";
/// Columns that hold a time as an integer.
pub const TIME_COLUMNS: [&str; 3] = [TS_EVENT, "ts_recv", "next_funding_ts"];

/// What the numbers of columns stand for, by column: of decimals, times, dates and durations, whose
/// row hash is that of their integers.
pub type Units = BTreeMap<String, String>;

/// The units of the columns that are added to those of the streams; the times of these tell their
/// unit by their size.
#[must_use]
pub fn units<'a>(fields: impl IntoIterator<Item = &'a Arc<Field>>) -> Units {
    fields
        .into_iter()
        .filter(|field| !TIME_COLUMNS.contains(&field.name().as_str()))
        .filter_map(|field| Some((field.name().clone(), unit(field.data_type())?)))
        .collect()
}

fn unit(kind: &DataType) -> Option<String> {
    match kind {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => Some(format!("decimal with scale {scale}")),
        DataType::Date32 => Some("days".to_owned()),
        DataType::Date64 => Some("date in ms".to_owned()),
        DataType::Time32(unit) | DataType::Time64(unit) => Some(format!("time of day in {unit}")),
        DataType::Duration(unit) => Some(format!("duration in {unit}")),
        DataType::Timestamp(unit, None) => Some(format!("local time in {unit}")),
        DataType::Timestamp(unit, Some(_)) => Some(format!("time in {unit}")),
        DataType::Boolean => Some("true or false".to_owned()),
        DataType::Dictionary(_, values) => unit(values),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => unit(field.data_type()),
        DataType::Struct(fields) => {
            let parts: Vec<String> = fields
                .iter()
                .filter_map(|f| Some(format!("{}: {}", f.name(), unit(f.data_type())?)))
                .collect();
            (!parts.is_empty()).then(|| parts.join(", "))
        }
        _ => None,
    }
}

/// The version of the column contract.
pub const SCHEMA_VERSION: &str = "v1";

/// The streams whose columns this version knows: those that can be collected, and those that have a
/// table even where no file of them exists.
pub const STREAMS: [&str; 7] = [
    "bbo",
    "trade",
    "mark_price",
    "funding",
    "open_interest",
    "liquidation",
    "instrument",
];

/// The version of the streams' columns that qlc writes: `seq` is the exchange's number, and
/// [`SINCE_2`] stand beside it.
pub const STREAM_VERSION: i8 = 2;
/// An added column of rows that nobody received: where they are from, such as `binance-archive`.
pub const SOURCE: &str = "source";
/// The place of an event among those of one `(ts_event, seq)`.
pub const SUB_SEQ: &str = "sub_seq";
/// The columns that version 2 of the streams added. They stand in the file of a day that has a
/// value in one of them, as every row of version 2 has in `sub_seq`; a day of version 1 has none of
/// them.
pub const SINCE_2: [&str; 3] = [SUB_SEQ, "first_id", "last_id"];

/// The columns that every stream begins with.
#[must_use]
pub fn common() -> Vec<Field> {
    vec![
        Field::new(TS_EVENT, DataType::Int64, true),
        Field::new(SEQ, DataType::Int64, true),
        Field::new(SUB_SEQ, DataType::Int32, true),
        Field::new("ts_recv", DataType::Int64, true),
        Field::new("exchange", DataType::Utf8, true),
        Field::new("symbol", DataType::Utf8, true),
        Field::new("stream", DataType::Utf8, true),
        Field::new(VERSION, DataType::Int8, true),
    ]
}

/// The columns of a known stream after the common ones; `None` for a stream this version does not
/// know.
#[must_use]
pub fn own(stream: &Stream) -> Option<Vec<Field>> {
    let f64s = |names: &[&str]| {
        names
            .iter()
            .map(|n| Field::new(*n, DataType::Float64, true))
            .collect::<Vec<_>>()
    };
    Some(match stream.as_str() {
        "bbo" => f64s(&["bid_price", "bid_qty", "ask_price", "ask_qty"]),
        "trade" => {
            let mut fields = f64s(&["price", "qty"]);
            fields.push(Field::new("side", DataType::Int8, true));
            fields.push(Field::new("trade_id", DataType::Utf8, true));
            fields.push(Field::new("first_id", DataType::Int64, true));
            fields.push(Field::new("last_id", DataType::Int64, true));
            fields
        }
        "mark_price" => f64s(&["mark_price", "index_price"]),
        "funding" => {
            let mut fields = f64s(&["funding_rate"]);
            fields.push(Field::new("next_funding_ts", DataType::Int64, true));
            fields
        }
        "open_interest" => f64s(&["open_interest"]),
        "liquidation" => {
            let mut fields = f64s(&["price", "qty", "average_price"]);
            fields.push(Field::new("side", DataType::Int8, true));
            fields
        }
        "instrument" => {
            let mut fields = f64s(&[
                "tick_size",
                "lot_size",
                "contract_value",
                "contract_multiplier",
            ]);
            fields.push(Field::new("trading_status", DataType::Utf8, true));
            fields
        }
        _ => return None,
    })
}

/// The columns of the contract that hold 64-bit integers.
pub const INTEGERS: [&str; 6] = [
    TS_EVENT,
    SEQ,
    "ts_recv",
    "next_funding_ts",
    "first_id",
    "last_id",
];

/// The canonical schema of a stream: the common columns, then its own if it is known.
#[must_use]
pub fn canonical(stream: &Stream) -> SchemaRef {
    let mut fields = common();
    fields.extend(own(stream).unwrap_or_default());
    Arc::new(Schema::new(fields))
}

/// The canonical schema of a stream as version 1 had it.
#[must_use]
pub fn canonical_1(stream: &Stream) -> SchemaRef {
    with_added(stream, [])
}

/// The type that a column of `physical` type has in the archive when the canonical schema says
/// nothing of it: dictionaries of values are the values, the several string and binary layouts are
/// one.
#[must_use]
pub fn logical(physical: &DataType) -> DataType {
    match physical {
        DataType::Dictionary(_, value) => logical(value),
        DataType::RunEndEncoded(_, value) => logical(value.data_type()),
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) => {
            // Writers differ in the name of the element and in whether it may be null; the values
            // do not.
            DataType::List(Arc::new(Field::new(
                "element",
                logical(f.data_type()),
                true,
            )))
        }
        DataType::Struct(fields) => {
            let plain = |f: &Arc<Field>| Field::new(f.name(), logical(f.data_type()), true);
            DataType::Struct(fields.iter().map(plain).collect())
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                let part = |nth: usize, name: &str, nullable: bool| {
                    let kind = fields
                        .get(nth)
                        .map_or(DataType::Null, |field| logical(field.data_type()));
                    Field::new(name, kind, nullable)
                };
                let entry =
                    DataType::Struct(vec![part(0, "key", false), part(1, "value", true)].into());
                DataType::Map(Arc::new(Field::new("key_value", entry, false)), false)
            }
            _ => physical.clone(),
        },
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// Whether values of `physical` can stand in a column of type `target` of the contract without loss
/// of any value that occurs: integers widen (and narrow where each value fits, which the reader
/// checks), timestamps are their integer.
#[must_use]
pub fn fits(name: &str, physical: &DataType, target: &DataType) -> bool {
    let from = logical(physical);
    if from == *target || from == DataType::Null {
        return true;
    }
    match target {
        DataType::Int64 if matches!(from, DataType::Timestamp(_, _)) => {
            TIME_COLUMNS.contains(&name)
        }
        t if t.is_integer() => from.is_integer(),
        DataType::Float64 => matches!(from, DataType::Float32),
        _ => false,
    }
}

/// Why a file cannot be part of any partition of `stream`, whatever the other files are, in words
/// for a person.
#[must_use]
pub fn unusable(file: &Schema, stream: &Stream) -> Option<String> {
    let untold = |field: &&Arc<Field>| !row_hash::is_hashed(field.data_type());
    misfit(file, &canonical(stream)).or_else(|| {
        let field = file.fields().iter().find(untold)?;
        Some(format!(
            "column {} is {}, which no archived column can be",
            field.name(),
            field.data_type()
        ))
    })
}

/// Why a file's schema does not fit its partition, in words for a person.
#[must_use]
pub fn misfit(file: &Schema, partition: &Schema) -> Option<String> {
    if file.column_with_name(TS_EVENT).is_none() {
        return Some(format!("there is no column {TS_EVENT}"));
    }
    let mut seen = std::collections::BTreeSet::new();
    for field in file.fields() {
        if !seen.insert(field.name()) {
            return Some(format!("column {} occurs twice", field.name()));
        }
        if let Ok(target) = partition.field_with_name(field.name())
            && !fits(field.name(), field.data_type(), target.data_type())
            && (of_contract(field.name())
                || !types::holds_all(target.data_type(), &logical(field.data_type())))
        {
            return Some(other_type(field, target.data_type()));
        }
    }
    None
}

/// Whether a column of this name is in the contract, of whatever stream.
fn of_contract(name: &str) -> bool {
    let own = STREAMS
        .into_iter()
        .filter_map(|stream| own(&stream.parse().ok()?))
        .flatten();
    common()
        .iter()
        .chain(own.collect::<Vec<Field>>().iter())
        .any(|field| field.name() == name)
}

/// Says that a file's column has another type than the partition's.
#[must_use]
pub fn other_type(field: &Field, target: &DataType) -> String {
    format!(
        "column {} is {}, but {target} in this stream",
        field.name(),
        field.data_type()
    )
}

/// Everything in which the columns of a data file that another program wrote are not those of the
/// archive. Columns have names, so their order does not count.
#[must_use]
pub fn deviations(file: &Schema, stream: &Stream) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for field in file.fields() {
        if !seen.insert(field.name()) {
            found.push(format!("column {} occurs twice", field.name()));
        }
    }
    for field in of_partition(stream, [(file, 1)]).fields() {
        match file.field_with_name(field.name()) {
            Err(_) => found.push(format!("there is no column {}", field.name())),
            Ok(is) if logical(is.data_type()) != *field.data_type() => found.push(format!(
                "column {} is {}, but {} in the archive",
                field.name(),
                is.data_type(),
                field.data_type()
            )),
            Ok(_) => {}
        }
    }
    found
}

/// The schema of files of a stream together: canonical columns first, then the columns that the
/// files add, by name. Of the added columns only the types are asked, not the values: the smallest
/// type that holds all of them, else the one that most rows have.
#[must_use]
pub fn of_partition<'a>(
    stream: &Stream,
    files: impl IntoIterator<Item = (&'a Schema, u64)>,
) -> SchemaRef {
    let base = canonical(stream);
    let mut added: BTreeMap<String, Vec<Part>> = BTreeMap::new();
    for (schema, rows) in files {
        for field in schema.fields() {
            if base.column_with_name(field.name()).is_some()
                && !SINCE_2.contains(&field.name().as_str())
            {
                continue;
            }
            let parts = added.entry(field.name().clone()).or_default();
            let kind = logical(field.data_type());
            // A column of nulls has no opinion; a file without rows still names its column.
            if kind != DataType::Null {
                let values = Some(Values {
                    rows: rows.max(1),
                    integers: None,
                });
                parts.push(Part {
                    kind,
                    values,
                    archived: false,
                });
            }
        }
    }
    let kinds = added
        .into_iter()
        .map(|(name, parts)| match types::choose(&parts) {
            Choice::Kind(kind) => (name, kind),
            Choice::Absent | Choice::Open => (name, DataType::Null),
        });
    with_added(stream, kinds)
}

/// The schema of a partition's archive file: canonical columns first, then `added`, by name. Where
/// one of [`SINCE_2`] is added, all that the stream has of them stand at their canonical places.
#[must_use]
pub fn with_added(
    stream: &Stream,
    added: impl IntoIterator<Item = (String, DataType)>,
) -> SchemaRef {
    let base = canonical(stream);
    let added: BTreeMap<String, DataType> = added.into_iter().collect();
    let is_version_2 = added
        .keys()
        .any(|name| base.column_with_name(name).is_some());
    let stands = |field: &&Arc<Field>| is_version_2 || !SINCE_2.contains(&field.name().as_str());
    let mut fields: Vec<Field> = base
        .fields()
        .iter()
        .filter(stands)
        .map(|field| field.as_ref().clone())
        .collect();
    let added = added
        .into_iter()
        .filter(|(name, _)| base.column_with_name(name).is_none());
    fields.extend(added.map(|(name, kind)| Field::new(name, kind, true)));
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        Schema::new(
            columns
                .iter()
                .map(|(n, t)| Field::new(*n, t.clone(), true))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn added_columns_come_last_by_name_with_a_type_that_holds_them() {
        let a = schema(&[
            ("ts_event", DataType::Int64),
            ("zeta", DataType::Int32),
            ("alpha", DataType::Utf8View),
        ]);
        let b = schema(&[("ts_event", DataType::Int64), ("zeta", DataType::Float64)]);
        let got = of_partition(&"depth".parse().unwrap(), [(&a, 10), (&b, 20)]);
        let names: Vec<_> = got
            .fields()
            .iter()
            .skip(7)
            .map(|f| format!("{} {}", f.name(), f.data_type()))
            .collect();
        assert_eq!(names, ["alpha Utf8", "zeta Float64"]);
        let c = schema(&[("ts_event", DataType::Int64), ("zeta", DataType::Utf8)]);
        let got = of_partition(&"depth".parse().unwrap(), [(&a, 10), (&b, 20), (&c, 29)]);
        assert_eq!(
            got.field_with_name("zeta").unwrap().data_type(),
            &DataType::Float64,
            "30 rows against 29"
        );
    }

    #[test]
    fn the_columns_of_version_2_stand_together_at_their_places_or_not_at_all() {
        let trade = "trade".parse().unwrap();
        let names = |schema: &Schema| {
            schema
                .fields()
                .iter()
                .map(|f| f.name().clone())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let old = schema(&[("ts_event", DataType::Int64), ("note", DataType::Utf8)]);
        let first =
            "ts_event seq ts_recv exchange symbol stream stream_version price qty side trade_id";
        assert_eq!(
            names(&of_partition(&trade, [(&old, 1)])),
            format!("{first} note")
        );
        assert_eq!(names(&canonical_1(&trade)), first);
        let new = schema(&[("ts_event", DataType::Int64), ("sub_seq", DataType::Int64)]);
        let both = of_partition(&trade, [(&old, 1), (&new, 1)]);
        assert_eq!(
            names(&both),
            "ts_event seq sub_seq ts_recv exchange symbol stream stream_version price qty side trade_id first_id last_id \
             note"
        );
        assert_eq!(
            both.field_with_name("sub_seq").unwrap().data_type(),
            &DataType::Int32
        );
        let other = schema(&[("ts_event", DataType::Int64), ("first_id", DataType::Utf8)]);
        assert!(
            !names(&of_partition(&"bbo".parse().unwrap(), [(&other, 1)])).contains("sub_seq"),
            "no column of a bbo"
        );
    }

    #[test]
    fn deviations_from_the_columns_of_the_archive_are_all_told() {
        let stream = "open_interest".parse().unwrap();
        let right = canonical(&stream);
        let mut fields: Vec<Field> = right
            .fields()
            .iter()
            .rev()
            .map(|f| f.as_ref().clone())
            .collect();
        fields.push(Field::new("note", DataType::LargeUtf8, true));
        assert_eq!(
            deviations(&Schema::new(fields.clone()), &stream),
            Vec::<String>::new()
        );
        fields.retain(|f| f.name() != SEQ);
        fields.push(Field::new("note", DataType::Utf8, true));
        if let Some(price) = fields.first_mut() {
            *price = Field::new("open_interest", DataType::Float32, true);
        }
        assert_eq!(
            deviations(&Schema::new(fields), &stream),
            [
                "column note occurs twice",
                "there is no column seq",
                "column open_interest is Float32, but Float64 in the archive"
            ]
        );
    }

    #[test]
    fn names_of_the_parts_of_nested_columns_do_not_count() {
        let map = |entries: &str, key: &str, value: &str, nullable| {
            let parts = vec![
                Field::new(key, DataType::LargeUtf8, false),
                Field::new(value, DataType::Int64, nullable),
            ];
            DataType::Map(
                Arc::new(Field::new(entries, DataType::Struct(parts.into()), false)),
                false,
            )
        };
        assert_eq!(
            logical(&map("entries", "keys", "values", false)),
            logical(&map("key_value", "key", "value", true))
        );
        let list = |name: &str, nullable| {
            DataType::List(Arc::new(Field::new(name, DataType::Int64, nullable)))
        };
        assert_eq!(
            logical(&list("item", false)),
            logical(&list("element", true))
        );
    }

    #[test]
    fn a_column_without_a_row_hash_can_be_in_no_partition() {
        let interval = DataType::Interval(arrow::datatypes::IntervalUnit::DayTime);
        let lag = schema(&[("ts_event", DataType::Int64), ("lag", interval.clone())]);
        assert!(
            unusable(&lag, &"bbo".parse().unwrap())
                .unwrap()
                .starts_with("column lag is Interval")
        );
        let nested = DataType::List(Arc::new(Field::new("element", interval, true)));
        assert!(
            unusable(
                &schema(&[("ts_event", DataType::Int64), ("lags", nested)]),
                &"bbo".parse().unwrap()
            )
            .is_some()
        );
    }

    #[test]
    fn misfits_are_told_by_column() {
        let bbo = canonical(&"bbo".parse().unwrap());
        let ok = schema(&[
            (
                "ts_event",
                DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None),
            ),
            (
                "exchange",
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            ),
            ("bid_price", DataType::Float32),
        ]);
        assert_eq!(misfit(&ok, &bbo), None);
        let text = schema(&[("ts_event", DataType::Int64), ("bid_price", DataType::Utf8)]);
        assert_eq!(
            misfit(&text, &bbo).unwrap(),
            "column bid_price is Utf8, but Float64 in this stream"
        );
        assert!(
            misfit(&schema(&[("price", DataType::Float64)]), &bbo)
                .unwrap()
                .contains("ts_event")
        );
    }
}
