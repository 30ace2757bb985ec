//! The venue's files as they were given: single files, folders of them, or URLs with the day and
//! the symbol left open.
//!
//! Here it is decided which of them are about one day of one series. What is in them is told by
//! their content; of a name only the symbol and the day are looked at, where there are several.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use url::Url;

use super::published::PublishedFile;
use crate::{
    error::{Error, Result},
    feed::{
        event::Kind,
        venue::{Venue, Wanted, choose},
    },
    model::{
        date::Date,
        partition::{Partition, Series},
    },
};

/// No CHECKSUM file is longer.
const LONGEST_CHECKSUM: u64 = 4096;
/// Folders in folders are looked into so deep.
const DEEPEST: usize = 8;
/// How the names of files end that may hold trades or klines.
const ENDS: [&str; 5] = [".zip", ".csv", ".csv.gz", ".gz", ".csv.zip"];
/// The end of the name of the file that says what another one's sha256 is.
pub(super) const CHECKSUM: &str = ".CHECKSUM";

/// Something that `--with` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// One file.
    File(PathBuf),
    /// A folder of files, whatever their depth.
    Folder(PathBuf),
    /// The URL of a file, in which `{SYMBOL}`, `{YYYY-MM-DD}` and the like stand for what they
    /// name.
    Url(String),
}

impl Given {
    /// What a text names.
    ///
    /// # Errors
    /// When there is no such file or folder, or the URL is none that can be asked for.
    pub fn parse(text: &str) -> Result<Self> {
        if text.contains("://") {
            return Self::url(text);
        }
        let path = PathBuf::from(text);
        if path.is_dir() {
            Ok(Self::Folder(path))
        } else if path.is_file() {
            Ok(Self::File(path))
        } else {
            Err(Error::usage(format!(
                "{text}: there is no such file or folder"
            )))
        }
    }

    /// A URL, whatever the symbol and the day.
    ///
    /// # Errors
    /// When it is none that can be asked for, or something else stands in braces.
    pub fn url(text: &str) -> Result<Self> {
        let example = filled(text, "BTCUSDT", "20260203".parse()?)?;
        let url =
            Url::parse(&example).map_err(|e| Error::usage(format!("{text}: is no URL: {e}")))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(Error::usage(format!(
                "{text}: only files, folders and URLs that begin with https:// or http:// can be read"
            )));
        }
        Ok(Self::Url(text.to_owned()))
    }
}

/// The series as its venue is subscribed to it, where qlc knows the venue.
pub(super) fn subscribed(series: &Series) -> Option<Wanted> {
    let venue: Venue = series.exchange.as_str().parse().ok()?;
    let symbols = [series.symbol.clone()];
    let mut chosen = choose(&[venue], &symbols, &[Kind::Trade]).ok()?;
    chosen.series.pop()
}

/// How a venue spells the symbol of a series, such as `BTC-USDT-SWAP`.
pub(super) fn spelling(series: &Series) -> String {
    subscribed(series).map_or_else(|| series.symbol.as_str().to_uppercase(), |one| one.wire)
}

/// The days whose files hold rows of a UTC day: the days of OKX begin at 16:00 UTC of the day
/// before.
pub(super) fn file_days(series: &Series, day: Date) -> Vec<Date> {
    if series.exchange.as_str() == "okx" {
        vec![day, day.succ()]
    } else {
        vec![day]
    }
}

/// A URL with what stands for the symbol and the day filled in.
///
/// # Errors
/// When something else stands in braces.
pub(super) fn filled(template: &str, wire: &str, day: Date) -> Result<String> {
    let iso = day.iso();
    let parts: Vec<&str> = iso.split('-').collect();
    let part = |at: usize| (*parts.get(at).unwrap_or(&"")).to_owned();
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after
            .split_once('}')
            .ok_or_else(|| Error::usage(format!("{template}: a {{ has no }}")))?;
        text.push_str(before);
        let stands_for = match name {
            "SYMBOL" => wire.to_owned(),
            "symbol" => wire.to_lowercase(),
            "YYYY-MM-DD" => iso.clone(),
            "YYYYMMDD" => day.to_string(),
            "YYYY-MM" => format!("{}-{}", part(0), part(1)),
            "YYYYMM" => format!("{}{}", part(0), part(1)),
            "YYYY" => part(0),
            "MM" => part(1),
            "DD" => part(2),
            other => {
                return Err(Error::usage(format!(
                    "{template}: {{{other}}} stands for nothing; there are {{SYMBOL}}, {{symbol}}, {{YYYY-MM-DD}}, \
                     {{YYYYMMDD}}, {{YYYY-MM}}, {{YYYYMM}}, {{YYYY}}, {{MM}} and {{DD}}"
                )));
            }
        };
        text.push_str(&stands_for);
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}

/// The files below a folder that may be a venue's, by name. A link to another folder is not
/// followed: it may lead back here.
fn below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    let wrong = |e| Error::io(format!("{}: cannot be listed", folder.display()), e);
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(wrong)?);
        if kind.is_dir() && depth < DEEPEST {
            below(&path, depth + 1, found)?;
        } else if path.is_file() && is_published(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

fn is_published(path: &Path) -> bool {
    let name = name_of(path).to_lowercase();
    !name.starts_with('.') && ENDS.iter().any(|end| name.ends_with(end))
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Whether the name of a file begins with a symbol, however it is spelt, and tells one of these days
/// or its month. Between the two there may be words, such as `-aggTrades-`, but no numbers: what
/// `BTCUSDT_260327-aggTrades-2026-02-03.zip` begins with is another symbol than `BTCUSDT`.
fn is_about(name: &str, wire: &str, days: &[Date]) -> bool {
    let Some(before) = days.iter().find_map(|day| before_day(name, *day)) else {
        return false;
    };
    let mut rest = before.chars();
    for want in wire.chars().filter(|c| c.is_alphanumeric()) {
        let next = rest.by_ref().find(|c| c.is_alphanumeric());
        if !next.is_some_and(|next| next.eq_ignore_ascii_case(&want)) {
            return false;
        }
    }
    let rest = rest.as_str();
    let mut words = rest.split(|c: char| !c.is_alphanumeric());
    !rest.starts_with(char::is_alphanumeric)
        && words.all(|word| word == "1m" || !word.contains(|c: char| c.is_ascii_digit()))
}

/// What stands before the day in a name that tells it, or before its month.
fn before_day(name: &str, day: Date) -> Option<&str> {
    let iso = day.iso();
    let is_month = |at: usize| {
        let behind = name.get(at + 7..).unwrap_or_default();
        let behind = behind.strip_prefix('-').unwrap_or(behind);
        !behind.starts_with(|c: char| c.is_ascii_digit())
    };
    let month = iso.get(..7)?;
    let at = name
        .find(&iso)
        .or_else(|| name.find(&day.to_string()))
        .or_else(|| {
            let mut months = name.match_indices(month).map(|(at, _)| at);
            months.find(|at| is_month(*at))
        })?;
    name.get(..at)
}

/// The files on this machine that are about a day of a series. `alone` says that nothing else is
/// asked about, so that a file that was named is meant whatever its name.
///
/// # Errors
/// When a folder cannot be listed, or a CHECKSUM file not be read.
pub(super) fn local(
    given: &[Given],
    partition: &Partition,
    alone: bool,
) -> Result<Vec<PublishedFile>> {
    let wire = spelling(&partition.series);
    let days = file_days(&partition.series, partition.date);
    let is_meant = |path: &Path| is_about(&name_of(path), &wire, &days);
    let mut found = Vec::new();
    for one in given {
        match one {
            Given::File(path) => {
                if alone || is_meant(path) {
                    found.push(path.clone());
                }
            }
            Given::Folder(folder) => {
                let mut all = Vec::new();
                below(folder, 0, &mut all)?;
                found.extend(all.into_iter().filter(|path| is_meant(path)));
            }
            Given::Url(_) => {}
        }
    }
    found.dedup();
    found
        .into_iter()
        .map(|path| published(&path, path.display().to_string()))
        .collect()
}

/// A file on this machine, with the CHECKSUM file beside it.
///
/// # Errors
/// When the CHECKSUM file cannot be read.
pub(super) fn published(path: &Path, name: String) -> Result<PublishedFile> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(CHECKSUM);
    let beside = PathBuf::from(beside);
    let checksum = match fs::File::open(&beside) {
        Ok(file) => {
            let mut bytes = Vec::new();
            let _ = file
                .take(LONGEST_CHECKSUM)
                .read_to_end(&mut bytes)
                .map_err(|e| Error::io(format!("{}: cannot be read", beside.display()), e))?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => {
            return Err(Error::io(
                format!("{}: cannot be read", beside.display()),
                e,
            ));
        }
    };
    Ok(PublishedFile {
        path: path.to_owned(),
        name,
        checksum,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day() -> Date {
        Date::from_ymd(2026, 2, 3).unwrap()
    }

    #[test]
    fn a_name_is_of_one_symbol_and_one_day() {
        let check = |name: &str, wire: &str, is: bool| {
            assert_eq!(is_about(name, wire, &[day()]), is, "{name} {wire}");
        };
        check("BTCUSDT-aggTrades-2026-02-03.zip", "BTCUSDT", true);
        check("BTCUSDT-aggTrades-2026-02-04.zip", "BTCUSDT", false);
        check("BTCUSDTM-aggTrades-2026-02-03.zip", "BTCUSDT", false);
        check("1000BTCUSDT-aggTrades-2026-02-03.zip", "BTCUSDT", false);
        check("BTCUSDT2026-02-03.csv.gz", "BTCUSDT", true);
        check("BTC-USDT-SWAP-trades-2026-02-03.zip", "BTC-USDT-SWAP", true);
        check("btcusdt_20260203.csv", "BTCUSDT", true);
        check("BTCUSDT-1m-2026-02-03.zip", "BTCUSDT", true);
        check("币安人生USDT-trades-2026-02-03.zip", "币安人生USDT", true);
        // Contracts that end on a day have symbols that begin like others.
        let quarterly = "BTCUSDT_260327-aggTrades-2026-02-03.zip";
        check(quarterly, "BTCUSDT", false);
        check(quarterly, "BTCUSDT_260327", true);
        check("BTCUSDT-27MAR262026-02-03.csv.gz", "BTCUSDT", false);
        check("BTCUSDT-27MAR262026-02-03.csv.gz", "BTCUSDT-27MAR26", true);
        // A file of a month has its days.
        check("BTCUSDT-aggTrades-2026-02.zip", "BTCUSDT", true);
        check("BTCUSDT-aggTrades-2026-03.zip", "BTCUSDT", false);
        check("BTCUSDT-aggTrades-2026-02-13.zip", "BTCUSDT", false);
    }

    #[test]
    fn a_url_has_the_day_and_the_symbol_in_it() {
        let check = |template: &str, want: &str| {
            assert_eq!(filled(template, "BTC-USDT", day()).unwrap(), want);
        };
        check(
            "https://x/{SYMBOL}/{SYMBOL}-{YYYY-MM-DD}.zip",
            "https://x/BTC-USDT/BTC-USDT-2026-02-03.zip",
        );
        check(
            "https://x/{symbol}/{YYYY}/{MM}/{DD}",
            "https://x/btc-usdt/2026/02/03",
        );
        check("https://x/{YYYYMM}/{YYYYMMDD}", "https://x/202602/20260203");
        for wrong in ["https://x/{DAY}", "https://x/{SYMBOL"] {
            assert!(filled(wrong, "X", day()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_utc_day_of_okx_is_in_two_files() {
        let series = |exchange: &str| Series {
            exchange: exchange.parse().unwrap(),
            stream: "trade".parse().unwrap(),
            symbol: "btcusdt".parse().unwrap(),
        };
        assert_eq!(file_days(&series("okx"), day()), [day(), day().succ()]);
        assert_eq!(file_days(&series("binance"), day()), [day()]);
        assert_eq!(spelling(&series("okx")), "BTC-USDT-SWAP");
    }

    #[test]
    fn only_what_can_be_read_is_given() {
        for wrong in [
            "/no/such/place",
            "s3://bucket/x",
            "ftp://host/x",
            "https://",
            "https://host/{DAY}.zip",
        ] {
            assert!(Given::parse(wrong).is_err(), "{wrong}");
        }
        let url = "https://host/{SYMBOL}.zip";
        assert_eq!(Given::parse(url).unwrap(), Given::Url(url.to_owned()));
    }
}
