//! Reads what a file's footer claims of its rows.
//!
//! What the footer does not say is `None`; [`super::examine`] finds it out. Statistics are read one
//! by one: the largest value of 40 row groups takes 0.06 microseconds, and 0.35 by the arrays of
//! parquet's `StatisticsConverter` (`cargo bench --bench upstream`).

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::SchemaRef;
use parquet::file::{
    metadata::{FileMetaData, ParquetMetaData, RowGroupMetaData},
    statistics::Statistics,
};

use super::{
    claims::{Claims, Constant, Fill, Lost, Span},
    durations::durations,
    fault::Problem,
    reader::{Handle, schema_of},
};
use crate::{
    error::{Error, Kind},
    model::{
        row_hash::FOOTER_KEY,
        schema::{SEQ, TIME_COLUMNS, TS_EVENT},
    },
};

/// Bytes of the pages that a row group usually has open: one of each column, as large as writers
/// make them.
const USUAL_PAGES: u64 = 8 << 20;

/// Reads the footer of a file and what it claims.
///
/// # Errors
/// When there is no usable footer.
pub async fn probe(handle: &Handle) -> Result<Claims, Problem> {
    probe_like(handle, None).await
}

/// The same, where the claims of another file are known that probably has the same columns: they
/// are brought to Arrow once.
///
/// # Errors
/// When there is no usable footer.
pub async fn probe_like(handle: &Handle, other: Option<&Claims>) -> Result<Claims, Problem> {
    let meta = handle.footer().await?;
    let stored = |meta: &ParquetMetaData| meta.file_metadata().schema_descr_ptr();
    let known = other.filter(|other| other.meta.as_deref().map(stored) == Some(stored(&meta)));
    let units = durations(&meta);
    let known = known.filter(|other| {
        other
            .meta
            .as_deref()
            .map(durations)
            .is_some_and(|others| others == units)
    });
    let schema = known.map_or_else(|| schema_of(&meta), |other| Ok(Arc::clone(&other.schema)))?;
    Ok(claims(meta, schema))
}

/// What the footer claims of a file without the row groups `groups`: as if it had never had them.
/// Its row hash is of all rows, and so claims nothing.
///
/// # Errors
/// When the footer is not at hand, or cannot be understood without them.
pub fn without(claims: &Claims, groups: &[usize]) -> Result<Claims, Problem> {
    let missing = || {
        Problem::Storage(Error::new(
            Kind::Internal,
            "row groups are left out of a footer that is not there",
        ))
    };
    let meta = claims.meta.as_ref().ok_or_else(missing)?;
    let (rest, rows) = only(meta, |index| !groups.contains(&index));
    let schema = schema_of(&rest)?;
    let lost = Some(Lost {
        groups: groups.to_vec(),
        rows: claims.rows.saturating_sub(rows),
    });
    Ok(Claims {
        lost,
        row_hash: None,
        ..self::claims(rest, schema)
    })
}

/// The span of `ts_event` in the row groups `groups`, as the footer tells.
#[must_use]
pub fn span_of_groups(claims: &Claims, groups: &[usize]) -> Option<Span> {
    let (part, _) = only(claims.meta.as_ref()?, |index| groups.contains(&index));
    let schema = schema_of(&part).ok()?;
    self::claims(part, schema).ts
}

/// The footer with some of its row groups, and their rows.
fn only(meta: &ParquetMetaData, keep: impl Fn(usize) -> bool) -> (Arc<ParquetMetaData>, u64) {
    let groups = meta
        .row_groups()
        .iter()
        .enumerate()
        .filter(|(index, _)| keep(*index));
    let groups: Vec<RowGroupMetaData> = groups.map(|(_, group)| group.clone()).collect();
    let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
    let file = meta.file_metadata();
    let file = FileMetaData::new(
        file.version(),
        rows,
        file.created_by().map(str::to_owned),
        file.key_value_metadata().cloned(),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    (
        Arc::new(ParquetMetaData::new(file, groups)),
        u64::try_from(rows).unwrap_or(0),
    )
}

fn claims(meta: Arc<ParquetMetaData>, schema: SchemaRef) -> Claims {
    let mut columns: BTreeMap<&str, usize> = BTreeMap::new();
    let descriptor = meta.file_metadata().schema_descr();
    for (index, column) in descriptor.columns().iter().enumerate() {
        // Leaves of nested columns have longer paths; none of them is of interest here.
        if let [name] = column.path().parts() {
            let _ = columns.insert(name.as_str(), index);
        }
    }
    let span_of = |name: &str| columns.get(name).and_then(|index| span(&meta, *index));
    let constants = columns
        .iter()
        .filter(|(name, _)| ![TS_EVENT, SEQ].contains(name))
        .filter_map(|(name, index)| Some(((*name).to_owned(), constant(&meta, *index)?)))
        .collect();
    let times = TIME_COLUMNS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), span_of(name)?)))
        .collect();
    let row_hash = meta.file_metadata().key_value_metadata().and_then(|pairs| {
        pairs
            .iter()
            .find(|p| p.key == FOOTER_KEY)
            .and_then(|p| p.value.as_deref()?.parse().ok())
    });
    let sizes = |size: fn(&RowGroupMetaData) -> i64| {
        meta.row_groups()
            .iter()
            .map(|g| u64::try_from(size(g)).unwrap_or(0))
            .max()
            .unwrap_or(0)
    };
    Claims {
        rows: u64::try_from(meta.file_metadata().num_rows()).unwrap_or(0),
        ts: span_of(TS_EVENT),
        has_seq: schema.column_with_name(SEQ).is_some(),
        // A null comes before every number, and no span tells of it.
        seq: span_of(SEQ).filter(|_| {
            columns
                .get(SEQ)
                .is_some_and(|index| without_nulls(&meta, *index))
        }),
        ordered: ordered(
            &meta,
            columns.get(TS_EVENT).copied(),
            columns.get(SEQ).copied(),
        ),
        row_hash,
        constants: Arc::new(constants),
        fills: Arc::new(fills(&meta)),
        times: Arc::new(times),
        group_bytes: sizes(RowGroupMetaData::compressed_size),
        group_raw_bytes: sizes(RowGroupMetaData::total_byte_size),
        proven: false,
        created_by: meta.file_metadata().created_by().map(Arc::from),
        row_bytes: row_bytes(&meta),
        weighed: false,
        open_bytes: sizes(RowGroupMetaData::total_byte_size).min(USUAL_PAGES),
        lost: None,
        schema,
        meta: Some(meta),
    }
}

/// The greatest value of an integer column, nulls aside, as far as the footer tells.
#[must_use]
pub fn greatest(claims: &Claims, name: &str) -> Option<i64> {
    let meta = claims.meta.as_ref()?;
    let columns = meta.file_metadata().schema_descr().columns();
    let column = columns
        .iter()
        .position(|column| column.path().parts() == [name])?;
    let of_group = |group: &RowGroupMetaData| match group.columns().get(column)?.statistics()? {
        Statistics::Int64(values) => values.max_opt().copied(),
        Statistics::Int32(values) => values.max_opt().map(|max| i64::from(*max)),
        _ => None,
    };
    meta.row_groups().iter().filter_map(of_group).max()
}

/// The span of an integer column over all row groups that have rows; `None` when one of them does
/// not say.
fn span(meta: &ParquetMetaData, column: usize) -> Option<Span> {
    let mut all: Option<Span> = None;
    for group in meta.row_groups().iter().filter(|g| g.num_rows() > 0) {
        let chunk = group.columns().get(column)?;
        let (min, max) = match chunk.statistics()? {
            Statistics::Int64(s) if s.min_is_exact() && s.max_is_exact() => {
                (*s.min_opt()?, *s.max_opt()?)
            }
            Statistics::Int32(s) if s.min_is_exact() && s.max_is_exact() => {
                (i64::from(*s.min_opt()?), i64::from(*s.max_opt()?))
            }
            _ => return None,
        };
        let here = Span { min, max };
        all = Some(all.map_or(here, |a| a.and(here)));
    }
    all
}

fn without_nulls(meta: &ParquetMetaData, column: usize) -> bool {
    let nulls = |g: &RowGroupMetaData| g.columns().get(column)?.statistics()?.null_count_opt();
    meta.row_groups()
        .iter()
        .filter(|g| g.num_rows() > 0)
        .all(|g| nulls(g) == Some(0))
}

/// How far the columns are filled, as the counts of nulls tell. Those of the leaves of a nested
/// column count also what is missing further up, so that only values are certain there.
fn fills(meta: &ParquetMetaData) -> BTreeMap<String, Fill> {
    let descriptor = meta.file_metadata().schema_descr();
    let mut fills = BTreeMap::new();
    for (index, column) in descriptor.columns().iter().enumerate() {
        let flat = column.path().parts().len() == 1 && column.max_rep_level() == 0;
        if flat && column.max_def_level() == 0 {
            let _ = fills.insert(column.name().to_owned(), Fill::Full);
            continue;
        }
        let (mut values, mut nulls, mut told) = (false, false, true);
        for group in meta.row_groups().iter().filter(|g| g.num_rows() > 0) {
            let chunk = group.columns().get(index);
            match chunk.and_then(|c| Some((c.num_values(), c.statistics()?.null_count_opt()?))) {
                Some((all, none)) => {
                    values |= u64::try_from(all).is_ok_and(|all| none < all);
                    nulls |= none > 0;
                }
                None => told = false,
            }
        }
        let fill = match (values, nulls) {
            (true, false) if flat && told => Fill::Full,
            (true, _) => Fill::Partly,
            (false, _) if flat && told => Fill::Empty,
            (false, _) => continue,
        };
        let _ = fills.insert(descriptor.get_column_root(index).name().to_owned(), fill);
    }
    fills
}

/// Bytes of a row in its widest row group, before encoding where the footer says it.
fn row_bytes(meta: &ParquetMetaData) -> u64 {
    let bytes = |g: &RowGroupMetaData| {
        let columns = g.columns().iter().map(|c| {
            let stored = c.uncompressed_size();
            c.unencoded_byte_array_data_bytes()
                .map_or(stored, |text| text.max(stored))
        });
        u64::try_from(columns.sum::<i64>() / g.num_rows().max(1)).unwrap_or(0)
    };
    meta.row_groups().iter().map(bytes).max().unwrap_or(0)
}

fn constant(meta: &ParquetMetaData, column: usize) -> Option<Constant> {
    let mut all: Option<Constant> = None;
    for group in meta.row_groups().iter().filter(|g| g.num_rows() > 0) {
        let statistics = group.columns().get(column)?.statistics()?;
        if statistics.null_count_opt() != Some(0)
            || !statistics.min_is_exact()
            || !statistics.max_is_exact()
        {
            return None;
        }
        let here = match statistics {
            Statistics::ByteArray(s) if s.min_opt()? == s.max_opt()? => {
                Constant::Text(s.min_opt()?.as_utf8().ok()?.to_owned())
            }
            Statistics::Int32(s) if s.min_opt()? == s.max_opt()? => {
                Constant::Int(i64::from(*s.min_opt()?))
            }
            Statistics::Int64(s) if s.min_opt()? == s.max_opt()? => Constant::Int(*s.min_opt()?),
            _ => return None,
        };
        if all.as_ref().is_some_and(|known| *known != here) {
            return None;
        }
        all = Some(here);
    }
    all
}

/// Whether every row group declares the order, and each begins where the one before it ends or
/// later.
fn ordered(meta: &ParquetMetaData, ts: Option<usize>, seq: Option<usize>) -> bool {
    let Some(ts) = ts else { return false };
    let wanted: Vec<usize> = std::iter::once(ts).chain(seq).collect();
    let mut end: Option<i64> = None;
    for group in meta.row_groups().iter().filter(|g| g.num_rows() > 0) {
        let declared = group.sorting_columns().is_some_and(|columns| {
            columns.len() >= wanted.len()
                && columns.iter().zip(&wanted).all(|(c, w)| {
                    !c.descending && usize::try_from(c.column_idx).is_ok_and(|index| index == *w)
                })
        });
        if !declared {
            return false;
        }
        if let Some(Statistics::Int64(s)) = group.columns().get(ts).and_then(|c| c.statistics())
            && let (Some(min), Some(max)) = (s.min_opt(), s.max_opt())
        {
            if end.is_some_and(|end| end > *min) {
                return false;
            }
            end = Some(*max);
        }
    }
    true
}
