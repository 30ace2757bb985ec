//! Counts the rows of one file by the day they belong to: what a receipt must say of the file,
//! found without it.
//!
//! Every row is decoded, and number and row hash are checked against what the footer claims.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray, Int64Array},
    compute::{cast, max, min},
    datatypes::{DataType, Int64Type},
};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::{
    examine::{room, stranger},
    fault::Problem,
    probe::probe,
    reader::Handle,
    tally::RowTally,
};
use crate::{
    error::{Error, Result},
    model::{
        date::{Date, is_permitted, permitted_day},
        partition::Series,
        quarantine::Fault,
        receipt::{Content, UnitsHash},
        row_hash::RowHash,
        schema::TS_EVENT,
        time::Unit,
    },
    storage::store::{Object, Store, hex},
};

/// Files up to this size are read at once: what is hashed is what is decoded, and it takes one
/// request.
const HELD: u64 = 8 << 20;
/// Bytes that such files may take together.
static HELD_ROOM: Semaphore = Semaphore::const_new(32 << 20);

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// All of its rows.
    pub all: Content,
    /// The units of its columns.
    pub units: UnitsHash,
    /// Its rows by the day of their `ts_event`.
    pub days: BTreeMap<Date, Content>,
    /// Its rows whose `ts_event` tells no day.
    pub undated: Content,
}

impl Census {
    /// What the file is known by.
    #[must_use]
    pub fn content(&self) -> Content {
        Content {
            units: self.units,
            ..self.all
        }
    }

    /// How many rows a file that belongs to the day `home` may have of each of its days, and those
    /// of its rows that it may not have.
    #[must_use]
    pub fn placed(&self, home: Option<Date>) -> (BTreeMap<Date, u64>, Content) {
        let mut days = BTreeMap::new();
        let mut unplaced = self.undated;
        for (day, content) in &self.days {
            if is_permitted(*day, home) {
                let _ = days.insert(*day, content.rows);
            } else {
                unplaced = unplaced.and(*content);
            }
        }
        (days, unplaced)
    }
}

/// A file as it was read.
#[derive(Debug)]
pub struct FileRead {
    /// The sha256 of its bytes, in lower case hex.
    pub sha256: String,
    /// What is in it, or why its rows do not read.
    pub census: std::result::Result<Census, Problem>,
}

/// Reads all bytes and all rows of `object`: of a file of at most 8 MiB those of the
/// version that was listed. A larger one is read twice, and may have been replaced in between;
/// whoever removes it looks once more.
///
/// # Errors
/// When the store does not answer, or has another version.
pub async fn read(store: &Store, object: &Object) -> Result<FileRead> {
    let mut handle = Handle::new(store, object);
    let held = object.size.min(HELD);
    let room = HELD_ROOM.acquire_many(u32::try_from(held).unwrap_or(u32::MAX));
    let _room = room.await;
    let known = if object.size > HELD {
        None
    } else {
        let (held, bytes) = handle.held().await?;
        handle = held;
        Some(hex(&Sha256::digest(&bytes)))
    };
    let census = match census(&handle).await {
        Err(Problem::Storage(error)) => return Err(error),
        census => census,
    };
    let sha256 = match known {
        Some(sha256) => sha256,
        None => store.sha256(&object.key).await?.0,
    };
    Ok(FileRead { sha256, census })
}

/// The same on a thread of its own, before its turn comes.
///
/// # Errors
/// When the store does not answer, or has another version.
pub async fn read_apart(store: &Store, object: &Object) -> Result<FileRead> {
    let (store, object) = (store.clone(), object.clone());
    let reading = tokio::spawn(async move { read(&store, &object).await });
    reading
        .await
        .map_err(|lost| Error::lost_task("the reading of a file", lost))?
}

/// Reads all rows of the file.
///
/// # Errors
/// When the file cannot be read to its end, or its rows have another hash or number than its footer
/// says.
async fn census(handle: &Handle) -> std::result::Result<Census, Problem> {
    let claims = probe(handle).await?;
    let _room = room(&claims).await;
    let mut found = Census {
        units: UnitsHash::of(&claims.units()),
        ..Census::default()
    };
    let all = RowTally::of_file(handle, &claims, |batch, tally| {
        let times = batch
            .column_by_name(TS_EVENT)
            .and_then(|column| cast(column, &DataType::Int64).ok());
        let Some(times) = times else {
            found.undated = found
                .undated
                .and(content(batch.num_rows() as u64, tally.last()));
            return Ok(());
        };
        let times = times.as_primitive::<Int64Type>();
        if let Some(day) = only_day(times) {
            let of_day = found.days.entry(day).or_default();
            *of_day = of_day.and(content(times.len() as u64, tally.last()));
            return Ok(());
        }
        for (time, row_hash) in times.iter().zip(tally.last_rows()) {
            let of_day = match permitted_day(time, None) {
                Some(day) => found.days.entry(day).or_default(),
                None => &mut found.undated,
            };
            *of_day = of_day.and(Content::of_row(row_hash));
        }
        Ok(())
    })
    .await?;
    claims.agree(all.rows, all.row_hash)?;
    found.all = content(all.rows, all.row_hash);
    Ok(found)
}

/// The first name in the file that is none of `series`.
///
/// # Errors
/// When the file cannot be read to its end.
pub async fn stranger_in(
    handle: &Handle,
    series: &Series,
) -> std::result::Result<Option<Fault>, Problem> {
    let claims = probe(handle).await?;
    let _room = room(&claims).await;
    let mut rows = handle.rows(&claims, 8192, &[]).await?;
    while let Some(batch) = rows.next().await? {
        let found = stranger(&batch, series);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The day of all of these times, where the least and the greatest of them tell it: between two
/// times of one unit lie only times of that unit.
fn only_day(times: &Int64Array) -> Option<Date> {
    let (first, last) = (min(times)?, max(times)?);
    let unit =
        Unit::of(first).filter(|unit| times.null_count() == 0 && Unit::of(last) == Some(*unit));
    let day = unit.and_then(|_| permitted_day(Some(first), None))?;
    (permitted_day(Some(last), None) == Some(day)).then_some(day)
}

fn content(rows: u64, row_hash: RowHash) -> Content {
    Content {
        rows,
        row_hash,
        units: UnitsHash::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 1_770_076_800;

    #[test]
    fn a_batch_is_of_one_day_only_where_each_of_its_rows_is() {
        let check = |times: Vec<Option<i64>>, is_one: bool| {
            let of_rows: Vec<Option<Date>> = times
                .iter()
                .map(|time| permitted_day(*time, None))
                .collect();
            let day = only_day(&Int64Array::from(times.clone()));
            assert_eq!(day.is_some(), is_one, "{times:?}");
            if let Some(day) = day {
                assert!(of_rows.iter().all(|of| *of == Some(day)), "{times:?}");
            }
        };
        let ns = |second: i64| Some(second * 1_000_000_000);
        let end = DAY + 86_400;
        check(vec![ns(DAY), ns(end - 1), ns(DAY + 7)], true);
        check(vec![Some(DAY * 1000), Some(end * 1000 - 1)], true);
        check(vec![ns(DAY), ns(end), ns(DAY + 7)], false);
        check(vec![ns(DAY), ns(DAY - 1), ns(DAY + 7)], false);
        check(vec![ns(DAY), None, ns(DAY + 7)], false);
        // Two units of one day: between them lie times of no day.
        check(vec![Some(DAY), Some(5), ns(DAY)], false);
        check(vec![Some(DAY), Some(DAY * 100), ns(DAY)], false);
        check(vec![Some(5), Some(6)], false);
        check(vec![None, None], false);
        check(Vec::new(), false);
    }
}
