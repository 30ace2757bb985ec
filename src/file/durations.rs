//! Which columns hold durations, and in what unit: Parquet has no type for them, and values of two
//! units must not meet in one column.
//!
//! The unit is noted in the footer of what qlc writes, and asked of the Arrow schema of what others
//! write. Durations that are nested in lists, structs and maps have theirs, too. Refuses to take
//! anything else of a writer's Arrow schema.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::{
    arrow::parquet_to_arrow_schema, basic::Type as PhysicalType, file::metadata::ParquetMetaData,
    schema::types::ColumnDescPtr,
};
use serde::{Deserialize, Serialize};

use super::fault::shielded;
use crate::model::schema::INTEGERS;

/// The key of the footer that holds the units of durations: a JSON object of the columns' names and
/// units.
pub const DURATIONS_KEY: &str = "qlc.durations";
/// The key under which writers store their Arrow schema.
const ARROW_KEY: &str = "ARROW:schema";

/// The durations of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Durations {
    /// It holds them, in this unit.
    Unit(String),
    /// They are nested in it: in parts of these names.
    Parts(BTreeMap<String, Durations>),
}

/// The columns that hold durations: as this program noted them, or as the writer's Arrow schema
/// says.
pub(super) fn durations(meta: &ParquetMetaData) -> BTreeMap<String, Durations> {
    let file = meta.file_metadata();
    let pairs = file.key_value_metadata();
    let value = |key: &str| pairs?.iter().find(|pair| pair.key == key)?.value.as_deref();
    if let Some(noted) = value(DURATIONS_KEY) {
        return serde_json::from_str(noted).unwrap_or_default();
    }
    // A column of the contract is none, so the writer's schema need hardly ever be asked.
    let may_be = |column: &ColumnDescPtr| {
        let plain =
            column.physical_type() == PhysicalType::INT64 && column.logical_type_ref().is_none();
        plain && (column.path().parts().len() > 1 || !INTEGERS.contains(&column.name()))
    };
    if value(ARROW_KEY).is_none() || !file.schema_descr().columns().iter().any(may_be) {
        return BTreeMap::new();
    }
    let Ok(Ok(schema)) = shielded(|| parquet_to_arrow_schema(file.schema_descr(), pairs)) else {
        return BTreeMap::new();
    };
    of_all(schema.fields().iter())
}

/// What [`DURATIONS_KEY`] holds for data with these columns; nothing where there are no durations.
#[must_use]
pub fn noted_durations(schema: &Schema) -> Option<String> {
    let noted = of_all(schema.fields().iter());
    if noted.is_empty() {
        None
    } else {
        serde_json::to_string(&noted).ok()
    }
}

fn of_all<'a>(fields: impl Iterator<Item = &'a Arc<Field>>) -> BTreeMap<String, Durations> {
    fields
        .filter_map(|field| Some((field.name().clone(), of(field.data_type())?)))
        .collect()
}

/// The durations in a type. The parts of lists and maps have the names that they have in every file
/// that is read.
fn of(kind: &DataType) -> Option<Durations> {
    let parts = match kind {
        DataType::Duration(unit) => return Some(Durations::Unit(name_of(*unit).to_owned())),
        DataType::List(value) | DataType::LargeList(value) | DataType::FixedSizeList(value, _) => {
            of(value.data_type())
                .map(|inner| (ELEMENT.to_owned(), inner))
                .into_iter()
                .collect()
        }
        DataType::Struct(fields) => of_all(fields.iter()),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => MAP.iter().zip(fields).filter_map(part).collect(),
            _ => BTreeMap::new(),
        },
        DataType::Dictionary(_, value) => return of(value),
        _ => BTreeMap::new(),
    };
    (!parts.is_empty()).then_some(Durations::Parts(parts))
}

/// Whether there are durations in a type.
pub(super) fn are_in(kind: &DataType) -> bool {
    of(kind).is_some()
}

fn part((name, field): (&&str, &Arc<Field>)) -> Option<(String, Durations)> {
    Some(((*name).to_owned(), of(field.data_type())?))
}

/// The values of a list.
const ELEMENT: &str = "element";
/// The keys and the values of a map.
const MAP: [&str; 2] = ["key", "value"];

fn name_of(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

fn unit_of(text: &str) -> Option<TimeUnit> {
    [
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
    ]
    .into_iter()
    .find(|unit| name_of(*unit) == text)
}

/// `schema` with the units of durations.
pub(super) fn with_durations(schema: &SchemaRef, units: &BTreeMap<String, Durations>) -> SchemaRef {
    let typed = |field: &Arc<Field>| typed(field, units.get(field.name()));
    Arc::new(Schema::new(
        schema.fields().iter().map(typed).collect::<Vec<_>>(),
    ))
}

fn typed(field: &Arc<Field>, durations: Option<&Durations>) -> Arc<Field> {
    let Some(kind) = durations.and_then(|durations| with(field.data_type(), durations)) else {
        return Arc::clone(field);
    };
    Arc::new(field.as_ref().clone().with_data_type(kind))
}

/// The type with durations where it has 64-bit integers; `None` where it stays as it is.
fn with(kind: &DataType, durations: &Durations) -> Option<DataType> {
    match (kind, durations) {
        (DataType::Int64, Durations::Unit(unit)) => Some(DataType::Duration(unit_of(unit)?)),
        (DataType::List(value), Durations::Parts(parts)) => {
            Some(DataType::List(typed(value, parts.get(ELEMENT))))
        }
        (DataType::Struct(fields), Durations::Parts(parts)) => Some(DataType::Struct(
            fields
                .iter()
                .map(|field| typed(field, parts.get(field.name())))
                .collect(),
        )),
        (DataType::Map(entries, sorted), Durations::Parts(parts)) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return None;
            };
            let typed = MAP
                .iter()
                .zip(fields)
                .map(|(name, field)| typed(field, parts.get(*name)));
            let kind = DataType::Struct(typed.collect());
            Some(DataType::Map(
                Arc::new(entries.as_ref().clone().with_data_type(kind)),
                *sorted,
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_at_whatever_depth() {
        let field = |name: &str, kind: DataType| Arc::new(Field::new(name, kind, true));
        let list = |kind: DataType| DataType::List(field("element", kind));
        let of_struct = |wait: DataType, count: DataType| {
            DataType::Struct(vec![field("wait", wait), field("count", count)].into())
        };
        let ms = || DataType::Duration(TimeUnit::Millisecond);
        let told = Schema::new(vec![
            field("lag", DataType::Duration(TimeUnit::Second)),
            field("lags", list(list(ms()))),
            field("parts", list(of_struct(ms(), DataType::Int64))),
            field("plain", list(DataType::Int64)),
        ]);
        let text = noted_durations(&told).unwrap();
        assert_eq!(
            text,
            r#"{"lag":"s","lags":{"element":{"element":"ms"}},"parts":{"element":{"wait":"ms"}}}"#
        );
        let stored = Arc::new(Schema::new(vec![
            field("lag", DataType::Int64),
            field("lags", list(list(DataType::Int64))),
            field("parts", list(of_struct(DataType::Int64, DataType::Int64))),
            field("plain", list(DataType::Int64)),
        ]));
        assert_eq!(
            *with_durations(&stored, &serde_json::from_str(&text).unwrap()),
            told
        );
        assert_eq!(noted_durations(&stored), None);
    }
}
