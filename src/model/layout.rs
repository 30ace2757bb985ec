//! Where everything is: keys of spool and archive, relative to their roots, `/` between the parts.
//! A folder and a bucket have the same ones.

use crate::error::{Error, Result};

use super::{
    date::Date,
    partition::{Collector, Partition, Selection, Series},
    quality,
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
/// The folder of the documents that another program left beside days which were taken over.
pub const IMPORTED: &str = "_imported";
/// The folder of the records of runs.
pub const RUNS: &str = "_runs";
/// The folder of the records of reconciliations.
pub const RECONCILE: &str = "_reconcile";
/// The folder of the collector's feed log in a spool.
pub const FEED: &str = "_feed";
/// The folder in which file systems keep what a check found; it is often readable for root only.
pub const LOST_AND_FOUND: &str = "lost+found";
/// The data of a partition.
pub const DATA_FILE: &str = "data.parquet";
/// What a partition says of its data.
pub const META_FILE: &str = "meta.json";
/// What a quarantine folder says of its files.
pub const ERROR_FILE: &str = "error.json";

/// How the folder of a collector begins, where a spool holds the files of several.
pub const COLLECTOR: &str = "collector=";

/// `collector=…`: the folder of a spool under which the files of one of several collectors lie.
#[must_use]
pub fn collector_dir(collector: &str) -> String {
    format!("{COLLECTOR}{collector}")
}

/// The collector that left the spool file `key`, or the folder `key` of a spool: that of the
/// leading `collector=` folder, if there is one.
#[must_use]
pub fn collector_of(key: &str) -> Option<&str> {
    let first = key.split_once('/').map_or(key, |(first, _)| first);
    first
        .strip_prefix(COLLECTOR)
        .filter(|name| Collector::is(name))
}

/// A key of a spool, or a folder of it, without the folder of the collector.
#[must_use]
pub fn without_collector(key: &str) -> &str {
    match collector_of(key) {
        Some(_) => key.split_once('/').map_or("", |(_, rest)| rest),
        None => key,
    }
}

/// `exchange=…/stream=…/symbol=…`
#[must_use]
pub fn series_dir(series: &Series) -> String {
    format!(
        "exchange={}/stream={}/symbol={}",
        series.exchange, series.stream, series.symbol
    )
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

/// The key under which a document of another program is kept that lay beside a partition's data.
#[must_use]
pub fn imported_key(partition: &Partition, file: &str) -> String {
    format!("{IMPORTED}/{}/{file}", partition_dir(partition))
}

/// The folder of the records of what a venue's files say of a partition.
#[must_use]
pub fn reconcile_dir(partition: &Partition) -> String {
    format!("{RECONCILE}/{}", partition_dir(partition))
}

/// The folder of a day's journals: `folder` is [`PRUNED`], [`DISCARDED`], [`RETRIED`] or [`RUNS`],
/// the day that of the run.
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
    /// Takes apart a key that has the layout below `folder`, such as [`QUARANTINE`]; `None` when it
    /// does not lie there.
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
                series: Series {
                    exchange: exchange.parse()?,
                    stream: stream.parse()?,
                    symbol: symbol.parse()?,
                },
                date: date.map(str::parse).transpose()?,
                file: (*file).to_owned(),
            })
        };
        Some(build())
    }

    /// Takes apart the key of a Parquet file of the spool; `None` when it is no input: another kind
    /// of file, an unfinished or hidden one, or one in a folder of the collector's own. Every
    /// Parquet file below a `symbol=` folder belongs to that series, at whatever depth, and the
    /// last `date=` folder that names a day tells its day. A folder `collector=…` may stand before
    /// the others; [`collector_of`] tells its name.
    ///
    /// # Errors
    /// When it belongs to no series: it lies elsewhere, or the folders bear names that no exchange,
    /// stream or symbol can have.
    #[must_use]
    pub fn in_spool(key: &str) -> Option<Result<Self>> {
        let (folders, file) = key.rsplit_once('/').unwrap_or(("", key));
        if !is_input(file) || is_own_folder(folders) {
            return None;
        }
        let mut parts = without_collector(folders).split('/');
        let mut name_of = |folder: &str| parts.next().and_then(|part| part.strip_prefix(folder));
        let (Some(exchange), Some(stream), Some(symbol)) =
            (name_of("exchange="), name_of("stream="), name_of("symbol="))
        else {
            return Some(Err(Error::usage(
                "it does not lie below exchange=…/stream=…/symbol=…, so it belongs to no series",
            )));
        };
        let build = || {
            Ok(Self {
                series: Series {
                    exchange: exchange.parse()?,
                    stream: stream.parse()?,
                    symbol: symbol.parse()?,
                },
                date: parts
                    .filter_map(|part| date_of_folder(part.strip_prefix("date=")?))
                    .next_back(),
                file: file.to_owned(),
            })
        };
        Some(build())
    }

    /// The day that this spool file belongs to by its folder or its name; `None` when neither
    /// tells.
    #[must_use]
    pub fn home(&self) -> Option<Date> {
        self.date.or_else(|| date_of_name(&self.file))
    }
}

/// The day that the spool file at this key belongs to by its folder or its name.
#[must_use]
pub fn home_of(key: &str) -> Option<Date> {
    Placed::in_spool(key)?.ok()?.home()
}

/// Whether a spool file of this name is input: a Parquet file, finished, not hidden.
#[must_use]
pub fn is_input(file: &str) -> bool {
    // A temporary file ends in `.tmp` and so never in `.parquet`; `._*` are hidden too.
    file.ends_with(".parquet") && !file.starts_with('.')
}

/// Whether a folder of the spool holds what the collector or the file system keeps for itself.
#[must_use]
pub fn is_own_folder(folder: &str) -> bool {
    [FEED, quality::DIR, LOST_AND_FOUND].contains(
        &without_collector(folder)
            .split('/')
            .next()
            .unwrap_or_default(),
    )
}

/// The day of a record that the collector leaves beside the spool: a feed log, its rejected frames,
/// a quality window.
#[must_use]
pub fn record_day(key: &str) -> Option<Date> {
    match without_collector(key)
        .split('/')
        .collect::<Vec<_>>()
        .as_slice()
    {
        [FEED, file] => {
            let day = file.strip_suffix(".ndjson")?;
            without_dashes(day.strip_prefix("rejects-").unwrap_or(day))?
                .parse()
                .ok()
        }
        [quality::DIR, folder, file] => {
            let _ = file.strip_prefix("window=")?.strip_suffix(".json")?;
            date_of_folder(folder.strip_prefix("date=")?)
        }
        _ => None,
    }
}

/// The day that a `date=` folder names: `20260203`, as qlc writes it, or `2026-02-03`.
#[must_use]
pub fn date_of_folder(text: &str) -> Option<Date> {
    text.parse()
        .ok()
        .or_else(|| without_dashes(text)?.parse().ok())
}

/// The digits of a text such as `2026-02-03`; `None` for a text of another form.
#[must_use]
pub fn without_dashes(text: &str) -> Option<String> {
    let is_right = |(at, byte): (usize, u8)| {
        if at == 4 || at == 7 {
            byte == b'-'
        } else {
            byte.is_ascii_digit()
        }
    };
    (text.len() == 10 && text.bytes().enumerate().all(is_right)).then(|| text.replace('-', ""))
}

/// Which series may have files in or below a folder: those that bear the names which its path
/// tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderReach<'a> {
    exchange: Option<&'a str>,
    stream: Option<&'a str>,
    symbol: Option<&'a str>,
}

impl<'a> FolderReach<'a> {
    /// That of `folder`, where the layout begins in the folder `base` (empty for the root); `None`
    /// when no series can have files there. At the root the folder of a collector may stand before
    /// the others.
    #[must_use]
    pub fn of(base: &str, folder: &'a str) -> Option<Self> {
        let all = Self {
            exchange: None,
            stream: None,
            symbol: None,
        };
        let folder = if base.is_empty() {
            without_collector(folder)
        } else {
            folder
        };
        let mut parts = folder.split('/').filter(|part| !part.is_empty());
        for wanted in base.split('/').filter(|part| !part.is_empty()) {
            match parts.next() {
                None => return Some(all),
                Some(part) if part == wanted => {}
                Some(_) => return None,
            }
        }
        let mut reach = all;
        let names = [
            (&mut reach.exchange, "exchange="),
            (&mut reach.stream, "stream="),
            (&mut reach.symbol, "symbol="),
        ];
        for ((name, prefix), part) in names.into_iter().zip(parts) {
            *name = Some(part.strip_prefix(prefix)?);
        }
        Some(reach)
    }

    /// Whether `series` is one of them.
    #[must_use]
    pub fn has(&self, series: &Series) -> bool {
        self.exchange
            .is_none_or(|name| name == series.exchange.as_str())
            && self
                .stream
                .is_none_or(|name| name == series.stream.as_str())
            && self
                .symbol
                .is_none_or(|name| name == series.symbol.as_str())
    }

    /// Whether `selection` may mean one of them.
    #[must_use]
    pub fn meets(&self, selection: &Selection) -> bool {
        let meant = |name: Option<&str>, names: &[&str]| {
            names.is_empty() || name.is_none_or(|name| names.contains(&name))
        };
        let exchanges: Vec<&str> = selection
            .exchanges
            .iter()
            .map(super::partition::Exchange::as_str)
            .collect();
        let streams: Vec<&str> = selection
            .streams
            .iter()
            .map(super::partition::Stream::as_str)
            .collect();
        let symbols: Vec<&str> = selection
            .symbols
            .iter()
            .map(super::partition::Symbol::as_str)
            .collect();
        meant(self.exchange, &exchanges)
            && meant(self.stream, &streams)
            && meant(self.symbol, &symbols)
    }
}

/// The day at the beginning of a name such as `2026-02-03_14-30-00.parquet` or
/// `20260203T1430.parquet`.
fn date_of_name(file: &str) -> Option<Date> {
    if let Some(day) = file.get(..10).and_then(without_dashes) {
        return day.parse().ok();
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
        let flat = placed("exchange=binance/stream=bbo/symbol=btcusdt/2026-02-03_14-30-00.parquet")
            .unwrap();
        assert_eq!(flat.series.to_string(), "binance/bbo/btcusdt");
        assert_eq!(
            (flat.date, flat.home().unwrap().to_string()),
            (None, "20260203".to_owned())
        );
        let dated =
            placed("exchange=binance/stream=bbo/symbol=btcusdt/date=20260203/part-0.parquet")
                .unwrap();
        assert_eq!(dated.home().unwrap().to_string(), "20260203");
        let unnamed = placed("exchange=binance/stream=bbo/symbol=btcusdt/part-0.parquet").unwrap();
        assert_eq!(unnamed.home(), None);
    }

    #[test]
    fn what_is_not_in_the_layout_is_not_placed() {
        for key in [
            "a.parquet",
            "_receipts/exchange=x/stream=y/symbol=z/date=20260203/a.json",
            "exchange=a/b/c/d",
        ] {
            assert!(Placed::parse(key).is_none(), "{key}");
        }
        assert!(
            Placed::parse("exchange=a b/stream=bbo/symbol=x/f.parquet")
                .unwrap()
                .is_err()
        );
        assert!(
            Placed::parse("exchange=a/stream=bbo/symbol=x/date=2026/f.parquet")
                .unwrap()
                .is_err()
        );
    }

    #[test]
    fn every_parquet_file_below_a_symbol_belongs_to_its_series() {
        let check = |rest: &str, day: Option<&str>| {
            let key = format!("exchange=binance/stream=bbo/symbol=btcusdt/{rest}");
            let placed = Placed::in_spool(&key).unwrap().unwrap();
            assert_eq!(placed.series.to_string(), "binance/bbo/btcusdt", "{rest}");
            assert_eq!(
                placed.home().map(|day| day.to_string()).as_deref(),
                day,
                "{rest}"
            );
        };
        check("2026-02-03_14-30-00.parquet", Some("20260203"));
        check("date=20260203/part-0.parquet", Some("20260203"));
        check("date=2026-02-03/part-0.parquet", Some("20260203"));
        check("date=20260203/hour=03/part-0.parquet", Some("20260203"));
        check("2026/date=2026-02-03/2026-02-09.parquet", Some("20260203"));
        check("old/2026-02-03_14.parquet", Some("20260203"));
        check("date=yesterday/2026-02-03_14.parquet", Some("20260203"));
        check("date=yesterday/part-0.parquet", None);
        check(
            "date=20260203/date=20260204/part-0.parquet",
            Some("20260204"),
        );
    }

    #[test]
    fn a_parquet_file_that_belongs_to_no_series_is_told_from_what_is_no_input() {
        for key in [
            "a.parquet",
            "exchange=a/b.parquet",
            "exchange=a/stream=b/c.parquet",
            "x/exchange=a/stream=b/symbol=c/d.parquet",
            "exchange=a b/stream=bbo/symbol=x/f.parquet",
            "exchange=a/stream=bbo/symbol=/f.parquet",
        ] {
            assert!(Placed::in_spool(key).unwrap().is_err(), "{key}");
        }
        for key in [
            "a.json",
            "_feed/2026-02-03.ndjson",
            "_feed/a.parquet",
            "quality/date=20260203/a.parquet",
            "exchange=a/stream=b/symbol=c/._d.parquet",
            "exchange=a/stream=b/symbol=c/d.parquet.tmp",
        ] {
            assert!(Placed::in_spool(key).is_none(), "{key}");
        }
    }

    #[test]
    fn a_folder_of_a_collector_may_stand_before_the_others() {
        let key =
            "collector=tokyo-1/exchange=binance/stream=bbo/symbol=btcusdt/date=20260203/a.parquet";
        let inner = key.split_once('/').unwrap().1;
        assert_eq!(
            (collector_of(key), without_collector(key)),
            (Some("tokyo-1"), inner)
        );
        assert_eq!(collector_of(&collector_dir("a")), Some("a"));
        assert_eq!(
            Placed::in_spool(key).unwrap().unwrap(),
            Placed::in_spool(inner).unwrap().unwrap()
        );
        assert!(
            Placed::parse(key).is_none(),
            "an archive has no such folder"
        );
        // What bears no name of a collector, or stands elsewhere, is no such folder: its files
        // belong nowhere.
        for other in [
            "collector=",
            "collector=a b",
            "collector=.",
            "collectors=a",
            "exchange=x/collector=a",
        ] {
            assert_eq!(
                (collector_of(other), without_collector(other)),
                (None, other)
            );
            let key = format!("{other}/{inner}");
            assert!(Placed::in_spool(&key).unwrap().is_err(), "{key}");
        }
        assert!(
            Placed::in_spool(&format!("collector=a/{key}"))
                .unwrap()
                .is_err()
        );
        assert!(Placed::in_spool("collector=a/x.parquet").unwrap().is_err());
        // Records and own folders are each collector's.
        assert!(
            is_own_folder("collector=a/_feed")
                && is_own_folder("collector=a/quality/date=20260203")
        );
        assert!(!is_own_folder("collector=a") && !is_own_folder("collector=_feed"));
        assert!(Placed::in_spool("collector=a/_feed/x.parquet").is_none());
        assert_eq!(
            record_day("collector=a/_feed/2026-02-03.ndjson")
                .unwrap()
                .to_string(),
            "20260203"
        );
        assert_eq!(
            record_day("collector=a/quality/date=20260203/window=1.json")
                .unwrap()
                .to_string(),
            "20260203"
        );
        // A folder that cannot be listed hides the series that its path allows, and only in a
        // spool.
        let series: Series =
            serde_json::from_str(r#"{"exchange":"binance","stream":"bbo","symbol":"btcusdt"}"#)
                .unwrap();
        let has = |base: &str, folder: &str| {
            FolderReach::of(base, folder).map(|reach| reach.has(&series))
        };
        assert_eq!(has("", "collector=a"), Some(true));
        assert_eq!(has("", "collector=a/exchange=binance"), Some(true));
        assert_eq!(has("", "collector=a/exchange=okx"), Some(false));
        assert_eq!(has("", "collector=a/other"), None);
        assert_eq!(has(QUARANTINE, "QUARANTINE/collector=a"), None);
    }

    #[test]
    fn a_folder_tells_which_series_may_lie_below_it() {
        let series: Series =
            serde_json::from_str(r#"{"exchange":"binance","stream":"bbo","symbol":"btcusdt"}"#)
                .unwrap();
        let has = |base: &str, folder: &str| {
            FolderReach::of(base, folder).map(|reach| reach.has(&series))
        };
        for folder in [
            "",
            "exchange=binance",
            "exchange=binance/stream=bbo",
            "exchange=binance/stream=bbo/symbol=btcusdt/x",
        ] {
            assert_eq!(has("", folder), Some(true), "{folder}");
        }
        assert_eq!(
            has("", "exchange=binance/stream=bbo/symbol=ethusdt"),
            Some(false)
        );
        assert_eq!(has("", "exchange=okx"), Some(false));
        for folder in [
            "other",
            "exchange=binance/other",
            "QUARANTINE/exchange=binance",
        ] {
            assert_eq!(has("", folder), None, "{folder}");
        }
        assert_eq!(has(QUARANTINE, ""), Some(true));
        assert_eq!(has(QUARANTINE, "QUARANTINE"), Some(true));
        assert_eq!(has(QUARANTINE, "QUARANTINE/exchange=okx"), Some(false));
        assert_eq!(has(QUARANTINE, "exchange=binance"), None);
        let only = Selection {
            exchanges: vec!["okx".parse().unwrap()],
            ..Selection::all()
        };
        let meets =
            |folder: &str| FolderReach::of("", folder).is_some_and(|reach| reach.meets(&only));
        assert_eq!(
            [
                meets(""),
                meets("exchange=okx/stream=x"),
                meets("exchange=binance")
            ],
            [true, true, false]
        );
        assert!(
            FolderReach::of("", "exchange=binance")
                .unwrap()
                .meets(&Selection::all())
        );
    }

    #[test]
    fn unfinished_and_hidden_files_are_no_input() {
        for file in [
            "a.parquet.tmp",
            ".a.parquet",
            "._a.parquet",
            "a.json",
            "parquet",
        ] {
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
