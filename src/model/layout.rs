//! Where everything lies: keys of spool and archive, relative to their roots, `/` between the parts.
//!
//! Refuses to know what holds the keys: a folder and a bucket have the same ones.

use crate::error::Result;

use super::{
    date::Date,
    partition::{Partition, Series},
};

/// The folder of the receipts in an archive.
pub const RECEIPTS: &str = "_receipts";
/// The folder of the quarantine in an archive.
pub const QUARANTINE: &str = "QUARANTINE";
/// The folder of the journals of `qlc prune`.
pub const PRUNED: &str = "_pruned";
/// The folder of the journals of `qlc quarantine discard`.
pub const DISCARDED: &str = "_discarded";
/// The folder of the journals of `qlc quarantine retry`.
pub const RETRIED: &str = "_retried";
/// The folder of the records of runs.
pub const RUNS: &str = "_runs";
/// The data of a partition.
pub const DATA_FILE: &str = "data.parquet";
/// What a partition says of its data.
pub const META_FILE: &str = "meta.json";
/// What a quarantine folder says of its files.
pub const ERROR_FILE: &str = "error.json";

/// `exchange=…/stream=…/symbol=…`
#[must_use]
pub fn series_dir(series: &Series) -> String {
    format!("exchange={}/stream={}/symbol={}", series.exchange, series.stream, series.symbol)
}

/// `exchange=…/stream=…/symbol=…/date=…`
#[must_use]
pub fn partition_dir(partition: &Partition) -> String {
    format!("{}/date={}", series_dir(&partition.series), partition.date)
}

/// The key of a partition's data.
#[must_use]
pub fn data_key(partition: &Partition) -> String {
    format!("{}/{DATA_FILE}", partition_dir(partition))
}

/// The key of a partition's meta.
#[must_use]
pub fn meta_key(partition: &Partition) -> String {
    format!("{}/{META_FILE}", partition_dir(partition))
}

/// The folder of a partition's receipts.
#[must_use]
pub fn receipts_dir(partition: &Partition) -> String {
    format!("{RECEIPTS}/{}", partition_dir(partition))
}

/// The key of the receipt that vouches for data with this sha256.
#[must_use]
pub fn receipt_key(partition: &Partition, sha256: &str) -> String {
    format!("{}/{sha256}.json", receipts_dir(partition))
}

/// The folder where input of a partition's day is kept that could not be compacted.
#[must_use]
pub fn quarantine_dir(partition: &Partition) -> String {
    format!("{QUARANTINE}/{}", partition_dir(partition))
}

/// The folder of a day's journals: `folder` is [`PRUNED`], [`DISCARDED`], [`RETRIED`] or [`RUNS`], the day that of the run.
#[must_use]
pub fn journal_dir(folder: &str, today: Date) -> String {
    format!("{folder}/date={today}")
}

/// A key below `exchange=…/stream=…/symbol=…[/date=…]`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    /// The series that the folders name.
    pub series: Series,
    /// The day that a `date=` folder names, if there is one.
    pub date: Option<Date>,
    /// The last part of the key.
    pub file: String,
}

impl Placed {
    /// Takes apart a key that has the layout below `folder`, such as [`QUARANTINE`]; `None` when it does not lie there.
    ///
    /// # Errors
    /// As [`Self::parse`].
    #[must_use]
    pub fn below(folder: &str, key: &str) -> Option<Result<Self>> {
        Self::parse(key.strip_prefix(folder)?.strip_prefix('/')?)
    }

    /// Takes `key` apart; `None` when it does not lie in the layout.
    ///
    /// # Errors
    /// When a folder of the layout bears a name that no exchange, stream, symbol or date can have.
    #[must_use]
    pub fn parse(key: &str) -> Option<Result<Self>> {
        let parts: Vec<&str> = key.split('/').collect();
        let (folders, file) = match parts.as_slice() {
            [e, s, y, file] => ((e, s, y, None), file),
            [e, s, y, d, file] => ((e, s, y, Some(d)), file),
            _ => return None,
        };
        let exchange = folders.0.strip_prefix("exchange=")?;
        let stream = folders.1.strip_prefix("stream=")?;
        let symbol = folders.2.strip_prefix("symbol=")?;
        let date = match folders.3 {
            Some(d) => Some(d.strip_prefix("date=")?),
            None => None,
        };
        let build = || {
            Ok(Self {
                series: Series { exchange: exchange.parse()?, stream: stream.parse()?, symbol: symbol.parse()? },
                date: date.map(str::parse).transpose()?,
                file: (*file).to_owned(),
            })
        };
        Some(build())
    }

    /// The day that this spool file belongs to by its folder or its name; `None` when neither tells.
    #[must_use]
    pub fn home(&self) -> Option<Date> {
        self.date.or_else(|| date_of_name(&self.file))
    }
}

/// Whether a spool file of this name is input: a Parquet file, finished, not hidden.
#[must_use]
pub fn is_input(file: &str) -> bool {
    // A temporary file ends in `.tmp` and so never in `.parquet`; `._*` are hidden too.
    file.ends_with(".parquet") && !file.starts_with('.')
}

/// The day at the beginning of a file's name, such as `2026-02-03_14-30-00.parquet` or `20260203T1430.parquet`.
#[must_use]
pub fn date_of_name(file: &str) -> Option<Date> {
    let dashed = file
        .get(..10)
        .filter(|s| s.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() }));
    if let Some(day) = dashed {
        return day.replace('-', "").parse().ok();
    }
    let day = file.get(..8)?;
    let ends = !file.as_bytes().get(8).is_some_and(u8::is_ascii_digit);
    if ends { day.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn placed(key: &str) -> Option<Placed> {
        Placed::parse(key).and_then(Result::ok)
    }

    #[test]
    fn both_spool_layouts_are_read() {
        let flat = placed("exchange=binance/stream=bbo/symbol=btcusdt/2026-02-03_14-30-00.parquet").unwrap();
        assert_eq!(flat.series.to_string(), "binance/bbo/btcusdt");
        assert_eq!((flat.date, flat.home().unwrap().to_string()), (None, "20260203".to_owned()));
        let dated = placed("exchange=binance/stream=bbo/symbol=btcusdt/date=20260203/part-0.parquet").unwrap();
        assert_eq!(dated.home().unwrap().to_string(), "20260203");
        let unnamed = placed("exchange=binance/stream=bbo/symbol=btcusdt/part-0.parquet").unwrap();
        assert_eq!(unnamed.home(), None);
    }

    #[test]
    fn what_is_not_in_the_layout_is_not_placed() {
        for key in ["a.parquet", "_receipts/exchange=x/stream=y/symbol=z/date=20260203/a.json", "exchange=a/b/c/d"] {
            assert!(Placed::parse(key).is_none(), "{key}");
        }
        assert!(Placed::parse("exchange=a b/stream=bbo/symbol=x/f.parquet").unwrap().is_err());
        assert!(Placed::parse("exchange=a/stream=bbo/symbol=x/date=2026/f.parquet").unwrap().is_err());
    }

    #[test]
    fn unfinished_and_hidden_files_are_no_input() {
        for file in ["a.parquet.tmp", ".a.parquet", "._a.parquet", "a.json", "parquet"] {
            assert!(!is_input(file), "{file}");
        }
        assert!(is_input("2026-02-03_14-30-00.parquet"));
    }

    proptest! {
        #[test]
        fn layout_round_trip(e in "[a-z][a-z0-9._-]{0,9}", s in "[a-z_]{1,9}", y in "[a-z0-9]{1,9}", days in 0_i64..20_000) {
            let series = Series { exchange: e.parse().unwrap(), stream: s.parse().unwrap(), symbol: y.parse().unwrap() };
            let date = Date::of_ns((3660 + days) * crate::model::date::DAY_NS).unwrap();
            let partition = series.on(date);
            let back = placed(&data_key(&partition)).unwrap();
            prop_assert_eq!(back, Placed { series, date: Some(date), file: DATA_FILE.to_owned() });
        }
    }
}
