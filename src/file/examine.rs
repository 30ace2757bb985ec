//! Reads one file to the last page and says what is true of it, whatever its footer claims.
//!
//! A partition falls back to this when a claim was false or a file broke in mid-merge, and `qlc
//! inspect` shows it. Nothing is changed or moved.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, Int64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    claims::{Claims, Fill, Span},
    fault::Problem,
    pages::{BATCH_BYTES, PAGE_BYTES},
    reader::{Handle, WHOLE_REMOTE},
    tally::RowTally,
};
use crate::{
    error::Error,
    model::{
        date::{Date, permitted_day},
        partition::{Series, belongs},
        quarantine::{ErrorType, Fault},
        receipt::RowGroup,
        row_hash::RowHash,
        schema::{SEQ, TIME_COLUMNS, TS_EVENT, logical},
        time::to_ns,
    },
};

/// Bytes that files which are read for facts may take together: a run looks at many at a time,
/// beside its merges.
const ROOM_BYTES: u32 = 48 << 20;

static ROOM: Semaphore = Semaphore::const_new(ROOM_BYTES as usize);

/// Waits until there is room to read a file; it is held as long as the permit.
pub(super) async fn room(claims: &Claims) -> Option<SemaphorePermit<'static>> {
    let raw = claims.group_raw_bytes;
    let bytes =
        claims.group_bytes.min(WHOLE_REMOTE) + raw.min(PAGE_BYTES) + 2 * raw.min(BATCH_BYTES);
    ROOM.acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX).min(ROOM_BYTES))
        .await
        .ok()
}

/// What reading every row of a file found.
#[derive(Debug, Clone)]
pub struct Examined {
    /// The claims with everything replaced by what is true.
    pub claims: Claims,
    /// The row hash of its rows.
    pub row_hash: RowHash,
    /// Its row groups: those that were read, counted in the file.
    pub row_groups: Vec<RowGroup>,
    /// Rows without `ts_event`, or with one that is no plausible time.
    pub implausible: u64,
}

/// The same as [`examine`] on a thread of its own, so that several files are read side by side.
///
/// # Errors
/// As [`examine`].
pub async fn examine_apart(handle: Handle, claims: &Claims) -> Result<Examined, Problem> {
    let claims = claims.clone();
    let reading = tokio::spawn(async move { examine(&handle, &claims).await });
    reading
        .await
        .map_err(|lost| Error::lost_task("the reading of a file", lost))?
}

/// Reads all rows of the file whose footer says `claims`.
///
/// # Errors
/// When the file cannot be read to its end, or its rows have another hash or number than its footer
/// says.
pub async fn examine(handle: &Handle, claims: &Claims) -> Result<Examined, Problem> {
    let _room = room(claims).await;
    let without = || {
        Problem::bad(
            ErrorType::SchemaMismatch,
            format!("there is no column {TS_EVENT} that holds a time"),
        )
    };
    if claims.schema.column_with_name(TS_EVENT).is_none() {
        return Err(Problem::bad(
            ErrorType::SchemaMismatch,
            format!("there is no column {TS_EVENT}"),
        ));
    }
    let mut found = Found::default();
    let all = RowTally::of_file(handle, claims, |batch, _| {
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let fill = match column.logical_null_count() {
                0 => Fill::Full,
                nulls if nulls == column.len() => Fill::Empty,
                _ => Fill::Partly,
            };
            let all = found.fills.entry(field.name().clone()).or_insert(fill);
            *all = if *all == fill { fill } else { Fill::Partly };
        }
        let ints = |name: &str| {
            let column = batch.column_by_name(name)?;
            let fits = matches!(logical(column.data_type()), DataType::Timestamp(_, _))
                || column.data_type().is_integer();
            let ints = fits.then(|| cast(column, &DataType::Int64).ok())??;
            Some(ints.as_primitive::<Int64Type>().clone())
        };
        let ts = ints(TS_EVENT).ok_or_else(without)?;
        let seq = ints(SEQ);
        found.take(&ts, seq.as_ref());
        for name in TIME_COLUMNS {
            if let Some(column) = ints(name) {
                widen(found.times.entry(name.to_owned()).or_default(), &column);
            }
        }
        Ok(())
    })
    .await?;
    claims.agree(all.rows, all.row_hash)?;
    let ordered = !found.unordered && found.ts_nulls == 0;
    let claims = Claims {
        ts: found.ts,
        seq: found.seq.filter(|_| found.seq_nulls == 0),
        ordered,
        // A constant that the footer claims may be what was false; without it the column just
        // travels.
        constants: Arc::default(),
        fills: Arc::new(found.fills),
        times: Arc::new(
            found
                .times
                .into_iter()
                .filter_map(|(name, span)| Some((name, span?)))
                .collect(),
        ),
        proven: true,
        ..claims.clone()
    };
    Ok(Examined {
        claims,
        row_hash: all.row_hash,
        row_groups: all.row_groups,
        implausible: found.implausible,
    })
}

/// The days of a file's rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Days {
    /// Days that its rows are of, as far as a file of its home may hold them.
    pub permitted: BTreeSet<Date>,
    /// Rows without such a day.
    pub unplaced: u64,
}

/// Reads all rows for the days they are of.
///
/// # Errors
/// When the file cannot be read to its end.
pub async fn days(handle: &Handle, claims: &Claims, home: Option<Date>) -> Result<Days, Problem> {
    let _room = room(claims).await;
    let mut rows = handle.rows(claims, 8192, &[]).await?;
    let mut days = Days::default();
    while let Some(batch) = rows.next().await? {
        let column = batch
            .column_by_name(TS_EVENT)
            .and_then(|c| cast(c, &DataType::Int64).ok());
        let Some(column) = column else {
            days.unplaced += batch.num_rows() as u64;
            continue;
        };
        for value in column.as_primitive::<Int64Type>() {
            match permitted_day(value, home) {
                Some(day) => {
                    let _ = days.permitted.insert(day);
                }
                None => days.unplaced += 1,
            }
        }
    }
    Ok(days)
}

/// The first name in `batch` that is none of `series`.
#[must_use]
pub fn stranger(batch: &RecordBatch, series: &Series) -> Option<Fault> {
    ["exchange", "stream", "symbol"]
        .into_iter()
        .find_map(|name| {
            let text = cast(batch.column_by_name(name)?, &DataType::Utf8).ok()?;
            let mut values = text.as_string::<i32>().iter().flatten();
            let value = values.find(|value| !belongs(name, value, series))?;
            Some(Fault::new(
                ErrorType::WrongPartition,
                format!("a row's {name} is {value:?}, but the file lies in the folder of {series}"),
            ))
        })
}

#[derive(Default)]
struct Found {
    ts: Option<Span>,
    ts_nulls: u64,
    seq: Option<Span>,
    seq_nulls: u64,
    fills: BTreeMap<String, Fill>,
    times: BTreeMap<String, Option<Span>>,
    last: Option<(i64, Option<i64>)>,
    unordered: bool,
    implausible: u64,
}

impl Found {
    fn take(&mut self, ts: &Int64Array, seq: Option<&Int64Array>) {
        self.ts_nulls += ts.null_count() as u64;
        widen(&mut self.ts, ts);
        if let Some(seq) = seq {
            self.seq_nulls += seq.null_count() as u64;
            widen(&mut self.seq, seq);
        }
        for row in 0..ts.len() {
            if ts.is_null(row) {
                self.implausible += 1;
                continue;
            }
            let t = ts.value(row);
            self.implausible += u64::from(to_ns(t).is_none());
            let key = (t, seq.filter(|s| s.is_valid(row)).map(|s| s.value(row)));
            self.unordered |= self.last.is_some_and(|last| last > key);
            self.last = Some(key);
        }
    }
}

fn widen(span: &mut Option<Span>, values: &Int64Array) {
    if let (Some(min), Some(max)) = (arrow::compute::min(values), arrow::compute::max(values)) {
        let here = Span { min, max };
        *span = Some(span.map_or(here, |s| s.and(here)));
    }
}
