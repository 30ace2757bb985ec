//! The commands that compact the rows of data which cannot be adopted as it is.
//!
//! Pure: they are printed, not run. Data that cannot be read has none.

use crate::model::{layout, partition::Partition, shell::word};

/// Where the data lies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way<'a> {
    /// In another tree, which is left as it is.
    Elsewhere(&'a str),
    /// In the archive itself, where no data without a receipt may stay: data and meta move to
    /// `aside`, another tree.
    InPlace {
        data: &'a str,
        meta: &'a str,
        aside: &'a str,
    },
}

/// The commands, to be run one after the other.
pub(super) fn commands(partition: &Partition, way: Way<'_>, archive: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let tree = match way {
        Way::Elsewhere(tree) => tree,
        Way::InPlace { data, meta, aside } => {
            let folder = format!(
                "{}/{}",
                aside.trim_end_matches('/'),
                layout::partition_dir(partition)
            );
            let is_bucket = [data, aside].iter().any(|place| place.starts_with("s3://"));
            if !aside.starts_with("s3://") {
                lines.push(format!("mkdir -p {}", word(&folder)));
            }
            let mv = if is_bucket { "aws s3 mv" } else { "mv" };
            for (from, file) in [(data, layout::DATA_FILE), (meta, layout::META_FILE)] {
                lines.push(format!(
                    "{mv} {} {}",
                    word(from),
                    word(&format!("{folder}/{file}"))
                ));
            }
            aside
        }
    };
    let (series, date) = (&partition.series, partition.date);
    lines.push(format!(
        "qlc --archive {} import --from {} --rewrite --date {date} --exchange {} --stream {} --symbol {}",
        word(archive),
        word(tree),
        series.exchange,
        series.stream,
        series.symbol
    ));
    lines
}
