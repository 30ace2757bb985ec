//! The columns of each stream, and what of a file's schema fits them.
//!
//! Refuses to convert anything: it says which types a column may have had and which one it has in the archive.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::partition::Stream;

/// The event time: decides the day and the order.
pub const TS_EVENT: &str = "ts_event";
/// The number that orders events of one `ts_event`.
pub const SEQ: &str = "seq";
/// Columns that hold a time as an integer.
pub const TIME_COLUMNS: [&str; 3] = [TS_EVENT, "ts_recv", "next_funding_ts"];
/// The version of the column contract.
pub const SCHEMA_VERSION: &str = "v1";

/// The columns that every stream begins with.
#[must_use]
pub fn common() -> Vec<Field> {
    vec![
        Field::new(TS_EVENT, DataType::Int64, true),
        Field::new(SEQ, DataType::Int64, true),
        Field::new("ts_recv", DataType::Int64, true),
        Field::new("exchange", DataType::Utf8, true),
        Field::new("symbol", DataType::Utf8, true),
        Field::new("stream", DataType::Utf8, true),
        Field::new("stream_version", DataType::Int8, true),
    ]
}

/// The columns of a known stream after the common ones; `None` for a stream this version does not know.
#[must_use]
pub fn own(stream: &Stream) -> Option<Vec<Field>> {
    let f64s = |names: &[&str]| names.iter().map(|n| Field::new(*n, DataType::Float64, true)).collect::<Vec<_>>();
    Some(match stream.as_str() {
        "bbo" => f64s(&["bid_price", "bid_qty", "ask_price", "ask_qty"]),
        "trade" => {
            let mut fields = f64s(&["price", "qty"]);
            fields.push(Field::new("side", DataType::Int8, true));
            fields.push(Field::new("trade_id", DataType::Utf8, true));
            fields
        }
        "mark_price" => f64s(&["mark_price", "index_price"]),
        "funding" => {
            let mut fields = f64s(&["funding_rate"]);
            fields.push(Field::new("next_funding_ts", DataType::Int64, true));
            fields
        }
        "open_interest" => f64s(&["open_interest"]),
        _ => return None,
    })
}

/// The canonical schema of a stream: the common columns, then its own if it is known.
#[must_use]
pub fn canonical(stream: &Stream) -> SchemaRef {
    let mut fields = common();
    fields.extend(own(stream).unwrap_or_default());
    Arc::new(Schema::new(fields))
}

/// The type that a column of `physical` type has in the archive when the canonical schema says nothing of it:
/// dictionaries of values are the values, the several string and binary layouts are one.
#[must_use]
pub fn logical(physical: &DataType) -> DataType {
    match physical {
        DataType::Dictionary(_, value) => logical(value),
        DataType::RunEndEncoded(_, value) => logical(value.data_type()),
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) => {
            // Writers differ in the name of the element and in whether it may be null; the values do not.
            DataType::List(Arc::new(Field::new("element", logical(f.data_type()), true)))
        }
        DataType::Struct(fields) => {
            let plain = |f: &Arc<Field>| Field::new(f.name(), logical(f.data_type()), true);
            DataType::Struct(fields.iter().map(plain).collect())
        }
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// Whether values of `physical` can stand in a column of type `target` without loss of any value that occurs:
/// integers widen (and narrow where each value fits, which the reader checks), timestamps are their integer.
#[must_use]
pub fn fits(name: &str, physical: &DataType, target: &DataType) -> bool {
    let from = logical(physical);
    if from == *target || from == DataType::Null {
        return true;
    }
    match target {
        DataType::Int64 if matches!(from, DataType::Timestamp(_, _)) => TIME_COLUMNS.contains(&name),
        t if t.is_integer() => from.is_integer(),
        DataType::Float64 => matches!(from, DataType::Float32),
        _ => false,
    }
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
        {
            return Some(format!(
                "column {} is {}, but {} in this stream",
                field.name(),
                field.data_type(),
                target.data_type()
            ));
        }
    }
    None
}

/// Everything in which the columns of a data file that another program wrote are not those of the archive. Columns have
/// names, so their order does not count.
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

/// The schema of a partition's archive file: canonical columns first, then the columns that the files add, by name.
/// An added column has the type that most rows have; of types with equally many rows, the first by its name.
#[must_use]
pub fn of_partition<'a>(stream: &Stream, files: impl IntoIterator<Item = (&'a Schema, u64)>) -> SchemaRef {
    let base = canonical(stream);
    let mut added: BTreeMap<String, BTreeMap<String, (u64, DataType)>> = BTreeMap::new();
    for (schema, rows) in files {
        for field in schema.fields() {
            if base.column_with_name(field.name()).is_none() {
                let kind = logical(field.data_type());
                let votes = added.entry(field.name().clone()).or_default();
                let vote = votes.entry(kind.to_string()).or_insert((0, kind));
                // A file without rows still names its column.
                vote.0 = vote.0.saturating_add(rows);
            }
        }
    }
    let mut fields: Vec<Field> = base.fields().iter().map(|f| f.as_ref().clone()).collect();
    for (name, votes) in added {
        let mut best: Option<(u64, DataType)> = None;
        for (rows, kind) in votes.into_values() {
            let better = |(most, known): &(u64, DataType)| {
                // A column of nulls has no opinion.
                kind != DataType::Null && (rows > *most || *known == DataType::Null)
            };
            if best.as_ref().is_none_or(better) {
                best = Some((rows, kind));
            }
        }
        if let Some((_, kind)) = best {
            fields.push(Field::new(name, kind, true));
        }
    }
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        Schema::new(columns.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>())
    }

    #[test]
    fn added_columns_come_last_by_name_with_the_type_of_most_rows() {
        let a = schema(&[("ts_event", DataType::Int64), ("zeta", DataType::Int32), ("alpha", DataType::Utf8View)]);
        let b = schema(&[("ts_event", DataType::Int64), ("zeta", DataType::Float64)]);
        let got = of_partition(&"depth".parse().unwrap(), [(&a, 10), (&b, 20)]);
        let names: Vec<_> = got.fields().iter().skip(7).map(|f| format!("{} {}", f.name(), f.data_type())).collect();
        assert_eq!(names, ["alpha Utf8", "zeta Float64"]);
    }

    #[test]
    fn deviations_from_the_columns_of_the_archive_are_all_told() {
        let stream = "open_interest".parse().unwrap();
        let right = canonical(&stream);
        let mut fields: Vec<Field> = right.fields().iter().rev().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new("note", DataType::LargeUtf8, true));
        assert_eq!(deviations(&Schema::new(fields.clone()), &stream), Vec::<String>::new());
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
    fn misfits_are_told_by_column() {
        let bbo = canonical(&"bbo".parse().unwrap());
        let ok = schema(&[
            ("ts_event", DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None)),
            ("exchange", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))),
            ("bid_price", DataType::Float32),
        ]);
        assert_eq!(misfit(&ok, &bbo), None);
        let text = schema(&[("ts_event", DataType::Int64), ("bid_price", DataType::Utf8)]);
        assert_eq!(misfit(&text, &bbo).unwrap(), "column bid_price is Utf8, but Float64 in this stream");
        assert!(misfit(&schema(&[("price", DataType::Float64)]), &bbo).unwrap().contains("ts_event"));
    }
}
