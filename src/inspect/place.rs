//! What the folder and the name of a file say of its rows: where both are of the layout, its
//! columns must be those of the stream, its names those of the series and its times near its day,
//! or compaction would quarantine it.
//!
//! A file that lies elsewhere is not judged: nothing says where it belongs.

use arrow::{
    array::AsArray,
    compute::cast,
    datatypes::{DataType, Int64Type},
};

use crate::{
    file::{claims::Claims, examine::stranger, fault::Problem, reader::Handle},
    model::{
        count,
        date::permitted_day,
        layout::Placed,
        quarantine::{ErrorType, Fault},
        schema::{self, TS_EVENT},
        time::to_ns,
    },
};

/// What of the file does not belong where it lies.
///
/// # Errors
/// When the file cannot be read to its end.
pub(super) async fn faults(handle: &Handle, claims: &Claims) -> Result<Vec<Fault>, Problem> {
    let Some(placed) = placed(handle.shown()) else {
        return Ok(Vec::new());
    };
    let expected = schema::of_partition(
        &placed.series.stream,
        [(claims.schema.as_ref(), claims.rows)],
    );
    if let Some(what) = schema::misfit(&claims.schema, &expected) {
        return Ok(vec![Fault::new(ErrorType::SchemaMismatch, what)]);
    }
    let mut faults = Vec::new();
    let mut far = 0_usize;
    let mut rows = handle.rows(claims, 8192, &[]).await?;
    while let Some(batch) = rows.next().await? {
        if faults.is_empty() {
            faults.extend(stranger(&batch, &placed.series));
        }
        let times = batch
            .column_by_name(TS_EVENT)
            .and_then(|column| cast(column, &DataType::Int64).ok());
        if let Some(times) = times {
            let is_far = |ts: &i64| {
                to_ns(*ts).is_some() && permitted_day(Some(*ts), placed.home()).is_none()
            };
            far += times
                .as_primitive::<Int64Type>()
                .iter()
                .flatten()
                .filter(is_far)
                .count();
        }
    }
    if far > 0 {
        let what = format!(
            "{} a ts_event that is further than a day from where the file belongs",
            count::rows_have(far as u64)
        );
        faults.push(Fault::new(ErrorType::TimeOutOfRange, what));
    }
    Ok(faults)
}

/// The place of a file whose path ends as the layout says, in the spool, the archive or QUARANTINE.
fn placed(path: &str) -> Option<Placed> {
    let parts: Vec<&str> = path.split('/').collect();
    let first = parts
        .iter()
        .rposition(|part| part.starts_with("exchange="))?;
    Placed::in_spool(&parts.get(first..)?.join("/"))?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_tells_the_place() {
        let series = "exchange=binance/stream=bbo/symbol=btcusdt";
        let home = |path: String| {
            placed(&path).map(|p| p.home().map(|d| d.to_string()).unwrap_or_default())
        };
        assert_eq!(
            home(format!("/opt/spool/{series}/2026-02-03_00.parquet")).unwrap(),
            "20260203"
        );
        assert_eq!(
            home(format!(
                "s3://bucket/QUARANTINE/{series}/date=20260204/x.parquet"
            ))
            .unwrap(),
            "20260204"
        );
        assert_eq!(home(format!("{series}/x.parquet")).unwrap(), "");
        assert_eq!(home("/tmp/x.parquet".to_owned()), None);
        assert_eq!(home("x.parquet".to_owned()), None);
    }
}
