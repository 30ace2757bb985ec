//! The commands that have rows compacted which cannot be adopted as they stand.
//!
//! Pure: they are told, not run, because they take data out of its place. Refuses to tell them for data that does not read.

use crate::model::{date::Date, layout, partition::Partition, shell::word};

/// Where the data lies and where it would go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    /// The data as commands name it.
    pub(super) data: &'a str,
    /// Its meta, where the two stand in the archive itself: no data without a receipt may stay there.
    pub(super) meta: Option<&'a str>,
    /// Spool and archive as commands name them.
    pub(super) spool: &'a str,
    pub(super) archive: &'a str,
    /// The first and the last day that rows are of.
    pub(super) days: Option<(Date, Date)>,
}

/// The commands, to be run one after the other.
pub(super) fn commands(partition: &Partition, way: Way<'_>) -> Vec<String> {
    let folder = format!("{}/{}", way.spool.trim_end_matches('/'), layout::partition_dir(partition));
    let target = format!("{folder}/{}", layout::DATA_FILE);
    let is_bucket = [way.data, way.spool].iter().any(|place| place.starts_with("s3://"));
    let take = match (is_bucket, way.meta) {
        (true, Some(_)) => "aws s3 mv",
        (true, None) => "aws s3 cp",
        (false, Some(_)) => "mv",
        (false, None) => "cp",
    };
    let mut lines = Vec::new();
    if !is_bucket {
        lines.push(format!("mkdir -p {}", word(&folder)));
    }
    lines.push(format!("{take} {} {}", word(way.data), word(&target)));
    lines.extend(way.meta.map(|meta| format!("{} {}", if is_bucket { "aws s3 rm" } else { "rm" }, word(meta))));
    // Rows of a neighbouring day go to that day; what lies further away goes to QUARANTINE with the run of this one.
    let date = partition.date;
    let (first, last) = way.days.unwrap_or((date, date));
    let (start, end) = (first.clamp(date.pred(), date), last.clamp(date, date.succ()));
    let series = &partition.series;
    lines.push(format!(
        "qlc --spool {} --archive {} compact --mode backfill --start {start} --end {end} --exchange {} --stream {} --symbol {}",
        word(way.spool),
        word(way.archive),
        series.exchange,
        series.stream,
        series.symbol
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_follow_from_where_the_data_lies() {
        let partition: Partition =
            serde_json::from_str(r#"{"exchange":"okx","stream":"bbo","symbol":"btcusdt","date":"20260203"}"#).unwrap();
        let dir = "exchange=okx/stream=bbo/symbol=btcusdt/date=20260203";
        let select = "--exchange okx --stream bbo --symbol btcusdt";
        let date = partition.date;
        let way = Way {
            data: "/a b/data.parquet",
            meta: Some("/a b/meta.json"),
            spool: "/spool/",
            archive: "/a b",
            days: None,
        };
        assert_eq!(
            commands(&partition, way),
            [
                format!("mkdir -p /spool/{dir}"),
                format!("mv '/a b/data.parquet' /spool/{dir}/data.parquet"),
                "rm '/a b/meta.json'".to_owned(),
                format!(
                    "qlc --spool /spool/ --archive '/a b' compact --mode backfill --start 20260203 --end 20260203 {select}"
                ),
            ]
        );
        let far = Some((date.pred().pred(), date));
        let way = Way { data: "s3://old/data.parquet", meta: None, spool: "/spool", archive: "/new", days: far };
        assert_eq!(
            commands(&partition, way),
            [
                format!("aws s3 cp s3://old/data.parquet /spool/{dir}/data.parquet"),
                format!(
                    "qlc --spool /spool --archive /new compact --mode backfill --start 20260202 --end 20260203 {select}"
                ),
            ]
        );
    }
}
