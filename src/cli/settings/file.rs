//! The configuration file: TOML with every setting, each of which may be left out.
//!
//! Unknown keys, and values that a flag would refuse, are errors that name the file and the key.
//! Values go through the readers of the flags, so that both have the same ranges.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Table;

use super::{keys, section::Section, told::Told};
use crate::{
    cli::args::{
        Global, connections, duration, feed_time, keep_days, retries, workers, zstd_level,
    },
    error::{Error, Kind, Result},
    feed::{event, instrument::Wish, venue::Venue},
    model::partition::Exchange,
    reconcile::Given,
    storage::spools::Spools,
};

/// What a configuration file says; it may leave out anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct File {
    pub(super) spool: Option<Spools>,
    pub(super) archive: Option<String>,
    pub(super) memory_limit: Option<u64>,
    pub(super) spill_dir: Option<PathBuf>,
    pub(super) workers: Option<usize>,
    pub(super) zstd_level: Option<i32>,
    pub(super) keep_records: Option<u32>,
    pub(super) bucket: BucketFile,
    pub(super) told: Told,
    pub(super) collect: CollectFile,
    pub(super) published: BTreeMap<Exchange, Vec<Given>>,
    /// Every key that is in it, with its line.
    pub(super) lines: Vec<(String, usize)>,
}

/// What it says of buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BucketFile {
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) allow_http: Option<bool>,
    pub(super) path_style: Option<bool>,
    pub(super) single_writer: Option<bool>,
    pub(super) request_timeout: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) retries: Option<usize>,
    pub(super) retry_timeout: Option<Duration>,
    pub(super) connections: Option<usize>,
    pub(super) multipart_above: Option<u64>,
    pub(super) part_size: Option<u64>,
}

/// What it says of the collector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CollectFile {
    pub(super) exchange: Vec<Venue>,
    pub(super) symbol: Vec<Wish>,
    pub(super) stream: Vec<event::Kind>,
    pub(super) commit_every: Option<Duration>,
    pub(super) rotate_after: Option<Duration>,
    pub(super) rotate_size: Option<u64>,
    pub(super) memory_limit: Option<u64>,
    pub(super) renew_after: Option<Duration>,
    pub(super) silence: Option<Duration>,
    pub(super) retry_cap: Option<Duration>,
    pub(super) relist_every: Option<Duration>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) endpoints: Vec<(String, String)>,
}

impl File {
    /// The file that was named, or one that says nothing.
    ///
    /// # Errors
    /// When it cannot be read, or is wrong.
    pub(super) fn of(global: &Global) -> Result<Self> {
        global
            .config
            .as_deref()
            .map_or_else(|| Ok(Self::default()), Self::read)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| {
            Error::caused(
                Kind::Usage,
                format!("{}: the configuration cannot be read", path.display()),
                e,
            )
        })?;
        Self::parse(&text, path)
    }

    /// Reads the text of the file at `path`; relative paths in it begin where the file lies.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut table: Table = text.parse().map_err(|e: toml::de::Error| {
            let line = e.span().map_or(1, |span| {
                text.get(..span.start)
                    .unwrap_or(text)
                    .lines()
                    .count()
                    .max(1)
            });
            Error::usage(format!(
                "{}: line {line} is not TOML: {}",
                path.display(),
                e.message()
            ))
        })?;
        let lines = lines(text);
        let of_collect = table.remove(keys::COLLECT_SECTION);
        let of_reconcile = table.remove(keys::RECONCILE_SECTION);
        let top = Section {
            path,
            name: "",
            table,
        };
        top.knows(&keys::TOP)?;
        let collect = top
            .section("collect.", of_collect)?
            .map_or_else(|| Ok(CollectFile::default()), |of| CollectFile::of(&of))?;
        let published = top
            .section("reconcile.", of_reconcile)?
            .map_or_else(|| Ok(BTreeMap::new()), |of| published(&of))?;
        Ok(Self {
            spool: top.spools("spool", "/opt/quantlab/spool")?,
            archive: top.place("archive", "s3://quantlab-compact")?,
            memory_limit: top.size("memory_limit", "2.5GB")?,
            spill_dir: top.place("spill_dir", "/var/tmp/qlc")?.map(PathBuf::from),
            workers: top.number("workers", "4", workers)?,
            zstd_level: top.number("zstd_level", "6", zstd_level)?,
            keep_records: top.number("keep_records", "90", keep_days)?,
            bucket: BucketFile {
                endpoint: top.text("endpoint", "https://s3.example.org")?,
                region: top.text("region", "eu-central-1")?,
                profile: top.text("profile", "default")?,
                allow_http: top.flag("allow_http")?,
                path_style: top.flag("path_style")?,
                single_writer: top.flag("single_writer")?,
                request_timeout: top.parsed("request_timeout", "30s", duration)?,
                connect_timeout: top.parsed("connect_timeout", "5s", duration)?,
                retries: top.number("retries", "10", retries)?,
                retry_timeout: top.parsed("retry_timeout", "3m", duration)?,
                connections: top.number("connections", "64", connections)?,
                multipart_above: top.size("multipart_above", "16MiB")?,
                part_size: top.size("part_size", "8MiB")?,
            },
            told: Told {
                metrics_file: top
                    .place("metrics_file", "/var/lib/node_exporter/qlc.prom")?
                    .map(PathBuf::from),
                metrics_push: top.text("metrics_push", "http://127.0.0.1:9091")?,
                notify: top.text("notify", "https://hooks.example.org/qlc")?,
            },
            collect,
            published,
            lines,
        })
    }
}

impl CollectFile {
    fn of(section: &Section<'_>) -> Result<Self> {
        section.knows(&keys::COLLECT)?;
        Ok(Self {
            exchange: section.list("exchange", "binance")?,
            symbol: section.list("symbol", "btcusdt")?,
            stream: section.list("stream", "bbo")?,
            commit_every: section.parsed("commit_every", "500ms", feed_time)?,
            rotate_after: section.parsed("rotate_after", "5m", feed_time)?,
            rotate_size: section.size("rotate_size", "64MB")?,
            memory_limit: section.size("memory_limit", "512MB")?,
            renew_after: section.parsed("renew_after", "23h", feed_time)?,
            silence: section.parsed("silence", "45s", feed_time)?,
            retry_cap: section.parsed("retry_cap", "30s", feed_time)?,
            relist_every: section.parsed("relist_every", "1h", feed_time)?,
            listen: section.parsed("listen", "127.0.0.1:9100", |text| {
                text.parse()
                    .map_err(|_| Error::usage("write an address and a port, as in 127.0.0.1:9100"))
            })?,
            endpoints: section.urls("endpoints")?,
        })
    }
}

/// Where the files of each exchange are that it publishes.
fn published(section: &Section<'_>) -> Result<BTreeMap<Exchange, Vec<Given>>> {
    section.knows(&keys::RECONCILE)?;
    let mut all = BTreeMap::new();
    for exchange in keys::RECONCILE {
        let given = section.each(
            exchange,
            "https://HOST/{SYMBOL}-{YYYY-MM-DD}.zip",
            Given::url,
        )?;
        if !given.is_empty() {
            let _ = all.insert(exchange.parse()?, given);
        }
    }
    Ok(all)
}

/// The keys of a file that is TOML, as written in their sections, with their lines from 1.
fn lines(text: &str) -> Vec<(String, usize)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
        {
            section = format!("{}.", name.trim());
            found.push((name.trim().to_owned(), number));
        } else if let Some((key, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            found.push((format!("{section}{}", key.trim()), number));
        }
    }
    found
}
