//! The settings and where they come from: a flag, else the environment, else the configuration
//! file, else the default.
//!
//! Flags and environment reach this file as one value, because clap reads both in that order.
//! Unknown keys in the file are an error: otherwise a misspelled setting would silently be the
//! default.

mod collecting;
mod file;
mod keys;
mod near;
mod section;
mod told;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub(crate) use collecting::{Collecting, feeds};
pub(crate) use file::CollectFile;
use file::{BucketFile, File};
pub(crate) use keys::{COLLECT, COLLECT_SECTION, RECONCILE, RECONCILE_SECTION, TOP};
pub(crate) use near::nearest;
pub(crate) use told::{Told, http_url};

use super::{
    args::{BucketArgs, Global, Resources, Tuning},
    profile,
};
use crate::{
    engine::budget::LEAST,
    error::{Error, Result},
    model::{partition::Exchange, size},
    reconcile::Given,
    storage::{
        bucket::{BucketOptions, Variables},
        scratch,
        spools::{self, Spools},
        store,
    },
};

const DEFAULT_MEMORY: u64 = 2_500_000_000;
const DEFAULT_SPOOL: &str = "/opt/quantlab/spool";
const DEFAULT_ARCHIVE: &str = "s3://quantlab-compact";
/// What holds for this run, each value decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The spool's path or URL, or those of several collectors.
    pub(crate) spool: Spools,
    /// The archive's path or URL.
    pub(crate) archive: String,
    /// Bytes that the process may have resident.
    pub(crate) memory_limit: u64,
    /// The folder for what does not fit in memory.
    pub(crate) spill_dir: PathBuf,
    /// Partitions at a time.
    pub(crate) workers: usize,
    /// The level of zstd, where it is not the default.
    pub(crate) zstd_level: Option<i32>,
    /// Days of the collector's records that a pruning keeps, where it removes any.
    pub(crate) keep_records: Option<u32>,
    /// How to speak to stores that are buckets.
    pub(crate) bucket: BucketOptions,
    /// The profile that was named for them.
    pub(crate) profile: Option<String>,
    /// Who hears how a run ended.
    pub(crate) told: Told,
    /// What the file says of the collector, whose own flags are merged with it by
    /// [`Collecting::decide`].
    pub(crate) collect: CollectFile,
    /// Where the files of each exchange are that it publishes.
    pub(crate) published: BTreeMap<Exchange, Vec<Given>>,
}

impl Settings {
    /// Decides every setting from what was typed for all commands and for this one.
    ///
    /// # Errors
    /// When the configuration file cannot be read or is wrong, or a value is out of its range.
    pub(crate) fn decide(global: &Global, resources: &Resources, tuning: &Tuning) -> Result<Self> {
        let file = File::of(global).map_err(|e| match origin(global, "config") {
            variable if variable.is_empty() => e,
            variable => Error::usage(format!("{variable}{}", e.chain())),
        })?;
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        Self::merge(global, resources, tuning, file, home.as_deref())
    }

    fn merge(
        global: &Global,
        resources: &Resources,
        tuning: &Tuning,
        file: File,
        home: Option<&Path>,
    ) -> Result<Self> {
        let profile = global
            .bucket
            .profile
            .clone()
            .or_else(|| file.bucket.profile.clone());
        let bucket = bucket(&global.bucket, file.bucket, home)?;
        let settings = Self {
            spool: spools(global, file.spool)?,
            archive: global
                .archive
                .clone()
                .or(file.archive)
                .unwrap_or_else(|| DEFAULT_ARCHIVE.to_owned()),
            memory_limit: resources
                .memory_limit
                .or(file.memory_limit)
                .unwrap_or(DEFAULT_MEMORY),
            spill_dir: resources
                .spill_dir
                .clone()
                .or(file.spill_dir)
                .unwrap_or_else(|| temporary().join(scratch::private_name())),
            // Twice the cores: while one partition waits for a disk or a bucket, another one has
            // work to do.
            workers: tuning
                .workers
                .or(file.workers)
                .unwrap_or_else(|| 2 * cores()),
            zstd_level: tuning.zstd_level.or(file.zstd_level),
            keep_records: file.keep_records,
            bucket,
            profile,
            told: Told::merge(global, file.told),
            collect: file.collect,
            published: file.published,
        };
        scratch::put_unnamed_in(&settings.spill_dir);
        for (value, name) in settings.places() {
            if value.trim().is_empty() {
                let variable = name.to_ascii_uppercase();
                return Err(Error::usage(format!(
                    "the {name} is an empty string: give a folder or a URL with --{name}, QLC_{variable} or {name} in the configuration"
                )));
            }
        }
        for (value, name) in settings.places() {
            store::check_place(value)
                .map_err(|e| Error::usage(format!("{}{e}", origin(global, name))))?;
        }
        settings.told.check()?;
        if settings.memory_limit < LEAST {
            let origin = origin(global, "memory_limit");
            return Err(Error::usage(format!(
                "{origin}a memory limit of {} is too small to work in: give at least {}",
                size::show(settings.memory_limit),
                size::show(LEAST)
            )));
        }
        Ok(settings)
    }

    /// The places of all stores, each with the name of its setting.
    fn places(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let spools = self
            .spool
            .all()
            .iter()
            .map(|spool| (spool.place.as_str(), "spool"));
        spools.chain([(self.archive.as_str(), "archive")])
    }
}

/// The spools: typed, each with a flag of its own; else those of the variable, which may list
/// several; else those of the file.
fn spools(global: &Global, file: Option<Spools>) -> Result<Spools> {
    if global.spool.is_empty() {
        return Ok(file.unwrap_or_else(|| Spools::one(DEFAULT_SPOOL)));
    }
    let texts = global.spool.iter().map(String::as_str);
    match origin(global, "spool") {
        flag if flag.is_empty() => Spools::parse(texts),
        variable => Spools::parse(texts.flat_map(spools::listed))
            .map_err(|e| Error::usage(format!("{variable}{e}"))),
    }
}

/// Who hears how a run ended, decided without anything else: a run that could not begin is told
/// too. A file that cannot be read names nobody.
pub(crate) fn told(global: &Global) -> Told {
    Told::merge(global, File::of(global).unwrap_or_default().told)
}

/// The keys that the configuration file has, with their lines.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn lines(global: &Global) -> Result<Vec<(String, usize)>> {
    Ok(File::of(global)?.lines)
}

/// The options of buckets: typed, else from the file, else of the profile, else the usual ones.
fn bucket(typed: &BucketArgs, file: BucketFile, home: Option<&Path>) -> Result<BucketOptions> {
    let named = typed.profile.as_deref().or(file.profile.as_deref());
    let profile = profile::read(typed, named, home)?;
    let usual = BucketOptions::usual();
    Ok(BucketOptions {
        endpoint: typed
            .store()
            .map(str::to_owned)
            .or(file.endpoint)
            .or(profile.endpoint)
            .filter(|url| !url.is_empty()),
        region: typed
            .region
            .clone()
            .or(file.region)
            .or(profile.region)
            .filter(|name| !name.is_empty()),
        allow_http: typed
            .allow_http
            .or(file.allow_http)
            .unwrap_or(usual.allow_http),
        virtual_hosted: typed
            .path_style
            .or(file.path_style)
            .map_or(usual.virtual_hosted, |path| !path),
        request_timeout: typed
            .request_timeout
            .or(file.request_timeout)
            .unwrap_or(usual.request_timeout),
        connect_timeout: typed
            .connect_timeout
            .or(file.connect_timeout)
            .unwrap_or(usual.connect_timeout),
        retries: typed.retries.or(file.retries).unwrap_or(usual.retries),
        retry_timeout: typed
            .retry_timeout
            .or(file.retry_timeout)
            .unwrap_or(usual.retry_timeout),
        connections: typed
            .connections
            .or(file.connections)
            .unwrap_or(usual.connections),
        variables: Some(Variables(aws_variables())),
        credentials: profile.credentials,
        single_writer: typed
            .single_writer
            .or(file.single_writer)
            .unwrap_or(usual.single_writer),
        multipart_above: typed
            .multipart_above
            .or(file.multipart_above)
            .unwrap_or(usual.multipart_above),
        part_bytes: typed
            .part_size
            .or(file.part_size)
            .unwrap_or(usual.part_bytes),
    })
}

/// The variable that a setting comes from, to stand before what is wrong with it; nothing where it
/// comes from elsewhere.
fn origin(global: &Global, id: &str) -> String {
    let known = global
        .sources
        .environment
        .iter()
        .find(|(known, _)| known == id);
    known.map_or_else(String::new, |(_, variable)| format!("{variable}: "))
}

/// The folder for temporary files. A variable that is empty names none.
fn temporary() -> PathBuf {
    let named = std::env::temp_dir();
    if named.as_os_str().is_empty() {
        PathBuf::from("/tmp")
    } else {
        named
    }
}

/// The variables of the AWS tools that say something.
fn aws_variables() -> Vec<(String, String)> {
    let texts = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts
        .filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty())
        .collect()
}

/// How many cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests;
