//! The settings and where they come from: a flag, else the environment, else the configuration file, else the default.
//!
//! Flags and environment reach this file as one value, because clap reads both in that order. Refuses unknown keys in the
//! file: a misspelled setting that is silently the default has cost many an archive.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::{Table, Value};

use super::{
    args::{Bucket, Global, Resources, connections, duration, retries, workers},
    profile,
};
use crate::{
    error::{Error, Kind, Result},
    model::size,
    storage::bucket::BucketOptions,
};

/// Less than this and the engine's fixed costs alone would not fit.
const LEAST_MEMORY: u64 = 128_000_000;
const DEFAULT_MEMORY: u64 = 2_500_000_000;
const DEFAULT_SPOOL: &str = "/opt/quantlab/spool";
const DEFAULT_ARCHIVE: &str = "s3://quantlab-compact";
const KEYS: [&str; 18] = [
    "spool",
    "archive",
    "memory_limit",
    "spill_dir",
    "workers",
    "endpoint",
    "region",
    "profile",
    "allow_http",
    "path_style",
    "single_writer",
    "request_timeout",
    "connect_timeout",
    "retries",
    "retry_timeout",
    "connections",
    "multipart_above",
    "part_size",
];

/// What holds for this run, each value decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The spool's path or URL.
    pub(crate) spool: String,
    /// The archive's path or URL.
    pub(crate) archive: String,
    /// Bytes that the process may have resident.
    pub(crate) memory_limit: u64,
    /// The folder for what does not fit in memory.
    pub(crate) spill_dir: PathBuf,
    /// Partitions at a time.
    pub(crate) workers: usize,
    /// How to speak to stores that are buckets.
    pub(crate) bucket: BucketOptions,
}

/// What a configuration file says; it may leave out anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FromFile {
    spool: Option<String>,
    archive: Option<String>,
    memory_limit: Option<u64>,
    spill_dir: Option<PathBuf>,
    workers: Option<usize>,
    bucket: BucketFromFile,
}

/// What a configuration file says of buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct BucketFromFile {
    endpoint: Option<String>,
    region: Option<String>,
    profile: Option<String>,
    allow_http: Option<bool>,
    path_style: Option<bool>,
    single_writer: Option<bool>,
    request_timeout: Option<Duration>,
    connect_timeout: Option<Duration>,
    retries: Option<usize>,
    retry_timeout: Option<Duration>,
    connections: Option<usize>,
    multipart_above: Option<u64>,
    part_size: Option<u64>,
}

impl Settings {
    /// Decides every setting from what was typed for all commands and for this one.
    ///
    /// # Errors
    /// When the configuration file cannot be read or is wrong, or a value is out of its range.
    pub(crate) fn decide(global: &Global, resources: &Resources, workers: Option<usize>) -> Result<Self> {
        let file = match &global.config {
            Some(path) => FromFile::read(path)?,
            None => FromFile::default(),
        };
        let home = std::env::home_dir();
        Self::merge(global, resources, workers, file, home.as_deref())
    }

    fn merge(
        global: &Global,
        resources: &Resources,
        workers: Option<usize>,
        file: FromFile,
        home: Option<&Path>,
    ) -> Result<Self> {
        let bucket = bucket(&global.bucket, file.bucket, home)?;
        let settings = Self {
            spool: global.spool.clone().or(file.spool).unwrap_or_else(|| DEFAULT_SPOOL.to_owned()),
            archive: global.archive.clone().or(file.archive).unwrap_or_else(|| DEFAULT_ARCHIVE.to_owned()),
            memory_limit: resources.memory_limit.or(file.memory_limit).unwrap_or(DEFAULT_MEMORY),
            spill_dir: resources
                .spill_dir
                .clone()
                .or(file.spill_dir)
                .unwrap_or_else(|| std::env::temp_dir().join("qlc")),
            workers: workers.or(file.workers).unwrap_or_else(cores),
            bucket,
        };
        for (value, name) in [(&settings.spool, "spool"), (&settings.archive, "archive")] {
            if value.trim().is_empty() {
                let variable = name.to_ascii_uppercase();
                return Err(Error::usage(format!(
                    "the {name} is empty: name a folder or a URL with --{name}, QLC_{variable} or {name} in the configuration"
                )));
            }
        }
        if settings.memory_limit < LEAST_MEMORY {
            return Err(Error::usage(format!(
                "a memory limit of {} is too small to work in: give at least {}",
                size::show(settings.memory_limit),
                size::show(LEAST_MEMORY)
            )));
        }
        Ok(settings)
    }
}

/// The options of buckets: typed, else from the file, else of the profile, else the usual ones.
fn bucket(typed: &Bucket, file: BucketFromFile, home: Option<&Path>) -> Result<BucketOptions> {
    let named = typed.profile.as_deref().or(file.profile.as_deref());
    let profile = profile::read(typed, named, home)?;
    let usual = BucketOptions::usual();
    Ok(BucketOptions {
        endpoint: typed.store().map(str::to_owned).or(file.endpoint).or(profile.endpoint).filter(|url| !url.is_empty()),
        region: typed.region.clone().or(file.region).or(profile.region).filter(|name| !name.is_empty()),
        allow_http: typed.allow_http.or(file.allow_http).unwrap_or(usual.allow_http),
        virtual_hosted: typed.path_style.or(file.path_style).map_or(usual.virtual_hosted, |path| !path),
        request_timeout: typed.request_timeout.or(file.request_timeout).unwrap_or(usual.request_timeout),
        connect_timeout: typed.connect_timeout.or(file.connect_timeout).unwrap_or(usual.connect_timeout),
        retries: typed.retries.or(file.retries).unwrap_or(usual.retries),
        retry_timeout: typed.retry_timeout.or(file.retry_timeout).unwrap_or(usual.retry_timeout),
        connections: typed.connections.or(file.connections).unwrap_or(usual.connections),
        credentials: profile.credentials,
        single_writer: typed.single_writer.or(file.single_writer).unwrap_or(usual.single_writer),
        multipart_above: typed.multipart_above.or(file.multipart_above).unwrap_or(usual.multipart_above),
        part_bytes: typed.part_size.or(file.part_size).unwrap_or(usual.part_bytes),
    })
}

impl FromFile {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| {
            Error::caused(Kind::Usage, format!("{}: the configuration cannot be read", path.display()), e)
        })?;
        Self::parse(&text, path)
    }

    /// Reads the text of the file at `path`; relative paths in it begin where the file lies.
    fn parse(text: &str, path: &Path) -> Result<Self> {
        let wrong = |what: String| Error::usage(format!("{}: {what}", path.display()));
        let table: Table = text.parse().map_err(|e: toml::de::Error| {
            let line = e.span().map_or(1, |span| text.get(..span.start).unwrap_or(text).lines().count().max(1));
            wrong(format!("line {line} is not TOML: {}", e.message()))
        })?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let hint = nearest(key, KEYS).map_or_else(String::new, |near| format!(" did you mean {near}?"));
            return Err(wrong(format!("{key} is not a setting;{hint} the settings are {}", KEYS.join(", "))));
        }
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let text_of = |key: &str, example: &str| match table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(wrong(format!("{key} is {}, not a text; write {key} = \"{example}\"", noun(other)))),
        };
        let number_of = |key: &str, example: &str| match table.get(key) {
            // A number goes the way of the text, so that both have the same range and message.
            Some(Value::Integer(number)) => Ok(Some(number.to_string())),
            _ => text_of(key, example),
        };
        let in_key = |key: &'static str| move |e: Error| wrong(format!("{key}: {e}"));
        let flag_of = |key: &str| match table.get(key) {
            None => Ok(None),
            Some(Value::Boolean(flag)) => Ok(Some(*flag)),
            Some(other) => Err(wrong(format!("{key} is {}, not true or false", noun(other)))),
        };
        let time_of = |key: &'static str, example: &str| {
            text_of(key, example)?.map(|text| duration(&text).map_err(in_key(key))).transpose()
        };
        let size_of = |key: &'static str, example: &str| {
            number_of(key, example)?.map(|text| size::parse(&text).map_err(in_key(key))).transpose()
        };
        let bucket = BucketFromFile {
            endpoint: text_of("endpoint", "https://s3.example.org")?,
            region: text_of("region", "eu-central-1")?,
            profile: text_of("profile", "default")?,
            allow_http: flag_of("allow_http")?,
            path_style: flag_of("path_style")?,
            single_writer: flag_of("single_writer")?,
            request_timeout: time_of("request_timeout", "30s")?,
            connect_timeout: time_of("connect_timeout", "5s")?,
            retries: number_of("retries", "10")?.map(|text| retries(&text).map_err(in_key("retries"))).transpose()?,
            retry_timeout: time_of("retry_timeout", "3m")?,
            connections: number_of("connections", "16")?
                .map(|text| connections(&text).map_err(in_key("connections")))
                .transpose()?,
            multipart_above: size_of("multipart_above", "16MiB")?,
            part_size: size_of("part_size", "8MiB")?,
        };
        Ok(Self {
            bucket,
            spool: text_of("spool", DEFAULT_SPOOL)?.map(|place| beside(folder, place)),
            archive: text_of("archive", DEFAULT_ARCHIVE)?.map(|place| beside(folder, place)),
            memory_limit: size_of("memory_limit", "2.5GB")?,
            spill_dir: text_of("spill_dir", "/var/tmp/qlc")?.map(|place| PathBuf::from(beside(folder, place))),
            workers: number_of("workers", "4")?.map(|text| workers(&text).map_err(in_key("workers"))).transpose()?,
        })
    }
}

/// `place` as seen from `folder`, unless it is a URL or empty.
fn beside(folder: &Path, place: String) -> String {
    let stays = place.is_empty() || place.contains("://");
    if stays { place } else { folder.join(place).display().to_string() }
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}

/// How many cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The one of `known` that `word` was probably meant to be: at most a third of its letters differ.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().map(|name| (distance(word, name), name)).min()?;
    (near.0 * 3 <= near.1.chars().count()).then_some(near.1)
}

/// How many letters must be put in, taken out or replaced to make one word of the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (taken, letter) in from.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut left = taken + 1;
        next.push(left);
        for ((wanted, diagonal), above) in to.iter().zip(&row).zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(*wanted != letter)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<FromFile> {
        FromFile::parse(text, Path::new("/etc/qlc/qlc.toml"))
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let from_file = file("spool = \"/a\"\narchive = \"/b\"\nmemory_limit = \"1GB\"\nworkers = 3").unwrap();
        let typed = Global { spool: Some("/typed".to_owned()), ..Global::default() };
        let resources = Resources { memory_limit: Some(512_000_000), spill_dir: None };
        let got = Settings::merge(&typed, &resources, None, from_file, None).unwrap();
        let want = Settings {
            spool: "/typed".to_owned(),
            archive: "/b".to_owned(),
            memory_limit: 512_000_000,
            spill_dir: std::env::temp_dir().join("qlc"),
            workers: 3,
            bucket: BucketOptions::usual(),
        };
        assert_eq!(got, want);
        let bare = Settings::merge(&Global::default(), &Resources::default(), None, FromFile::default(), None).unwrap();
        assert_eq!((bare.spool.as_str(), bare.archive.as_str()), (DEFAULT_SPOOL, DEFAULT_ARCHIVE));
        assert_eq!((bare.memory_limit, bare.workers), (DEFAULT_MEMORY, cores()));
    }

    #[test]
    fn what_is_wrong_in_the_file_is_said_with_its_name() {
        let check = |text: &str, want: &str| assert_eq!(file(text).unwrap_err().chain(), want, "{text}");
        check(
            "memory-limit = \"1GB\"",
            "/etc/qlc/qlc.toml: memory-limit is not a setting; did you mean memory_limit? the settings are spool, \
             archive, memory_limit, spill_dir, workers, endpoint, region, profile, allow_http, path_style, \
             single_writer, request_timeout, connect_timeout, retries, retry_timeout, connections, multipart_above, \
             part_size",
        );
        check(
            "colour = 1",
            &format!("/etc/qlc/qlc.toml: colour is not a setting; the settings are {}", KEYS.join(", ")),
        );
        check("spool = 1", "/etc/qlc/qlc.toml: spool is a number, not a text; write spool = \"/opt/quantlab/spool\"");
        check(
            "memory_limit = \"much\"",
            "/etc/qlc/qlc.toml: memory_limit: \"much\" is not a size: write a number and a unit, as in 512MB or 2.5GB",
        );
        check("allow_http = 1", "/etc/qlc/qlc.toml: allow_http is a number, not true or false");
        check(
            "request_timeout = \"soon\"",
            "/etc/qlc/qlc.toml: request_timeout: \"soon\" is not a time: write a number and a unit, as in 500ms, 30s or 3m",
        );
        check("workers = 0", "/etc/qlc/qlc.toml: workers: write a number from 1 to 1024");
        assert!(
            file("spool = \"/a\"\narchive").unwrap_err().chain().starts_with("/etc/qlc/qlc.toml: line 2 is not TOML: ")
        );
    }

    #[test]
    fn relative_paths_of_the_file_begin_where_it_lies() {
        let got = file("spool = \"spool\"\narchive = \"s3://bucket\"\nspill_dir = \"/tmp/x\"").unwrap();
        assert_eq!(got.spool.as_deref(), Some("/etc/qlc/spool"));
        assert_eq!(got.archive.as_deref(), Some("s3://bucket"));
        assert_eq!(got.spill_dir, Some(PathBuf::from("/tmp/x")));
    }

    #[test]
    fn impossible_values_are_refused_wherever_they_come_from() {
        let small = Resources { memory_limit: Some(100_000_000), spill_dir: None };
        let refused = Settings::merge(&Global::default(), &small, None, FromFile::default(), None).unwrap_err();
        assert_eq!(refused.chain(), "a memory limit of 100 MB is too small to work in: give at least 128 MB");
        let empty = Global { archive: Some(String::new()), ..Global::default() };
        let refused = Settings::merge(&empty, &Resources::default(), None, FromFile::default(), None).unwrap_err();
        assert!(refused.chain().contains("QLC_ARCHIVE"), "{}", refused.chain());
    }

    #[test]
    fn suggestions_are_near() {
        assert_eq!(nearest("spol", KEYS), Some("spool"));
        assert_eq!(nearest("worker", KEYS), Some("workers"));
        assert_eq!(nearest("bucket", KEYS), None);
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }
}
