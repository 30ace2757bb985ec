//! What holds for a run: each setting decided, and checked as far as no flag alone can check it.
//!
//! A flag, else the environment, else the configuration file, else the default: that order is that
//! of the arguments, so that all but the default reaches this file as one value.

mod told;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub(crate) use told::{Told, http_url};

use super::{
    args::{Global, Resources, Tuning},
    profile,
};
use crate::{
    error::{Error, Result},
    job::budget::LEAST,
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
    /// How to speak to stores that are buckets.
    pub(crate) bucket: BucketOptions,
    /// The profile that was named for them.
    pub(crate) profile: Option<String>,
    /// Who hears how a run ended.
    pub(crate) told: Told,
    /// Where the files of each exchange are that it publishes.
    pub(crate) published: BTreeMap<Exchange, Vec<Given>>,
}

impl Settings {
    /// Decides every setting from what was typed for all commands and for this one.
    ///
    /// # Errors
    /// When the configuration file cannot be read or is wrong, or a value is out of its range.
    pub(crate) fn decide(global: &Global, resources: &Resources, tuning: &Tuning) -> Result<Self> {
        if let Some(wrong) = &global.wrong {
            return Err(Error::usage(format!("{}{wrong}", origin(global, "config"))));
        }
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        Self::decide_at(global, resources, tuning, home.as_deref())
    }

    fn decide_at(
        global: &Global,
        resources: &Resources,
        tuning: &Tuning,
        home: Option<&Path>,
    ) -> Result<Self> {
        let settings = Self {
            spool: spools(global)?,
            archive: global
                .archive
                .clone()
                .unwrap_or_else(|| DEFAULT_ARCHIVE.to_owned()),
            memory_limit: resources.memory_limit.unwrap_or(DEFAULT_MEMORY),
            spill_dir: resources
                .spill_dir
                .clone()
                .unwrap_or_else(|| temporary().join(scratch::private_name())),
            // Twice the cores: while one partition waits for a disk or a bucket, another one has
            // work to do.
            workers: tuning.workers.unwrap_or_else(|| 2 * cores()),
            zstd_level: tuning.zstd_level,
            bucket: bucket(global, home)?,
            profile: global.bucket.profile.clone(),
            told: Told::of(global),
            published: global.file.published.clone(),
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

/// The spools. Typed or in the file each has a text of its own; a variable may list several.
fn spools(global: &Global) -> Result<Spools> {
    if global.spool.is_empty() {
        return Ok(Spools::one(DEFAULT_SPOOL));
    }
    let texts = global.spool.iter().map(String::as_str);
    match origin(global, "spool") {
        flag if flag.is_empty() => Spools::parse(texts),
        variable => Spools::parse(texts.flat_map(spools::listed))
            .map_err(|e| Error::usage(format!("{variable}{e}"))),
    }
}

/// The options of buckets: settings, else those of the profile, else the usual ones.
fn bucket(global: &Global, home: Option<&Path>) -> Result<BucketOptions> {
    let typed = &global.bucket;
    let profile = profile::read(typed, typed.profile.as_deref(), home)?;
    let usual = BucketOptions::usual();
    Ok(BucketOptions {
        endpoint: typed
            .store()
            .map(str::to_owned)
            .or_else(|| global.file.endpoint.clone())
            .or(profile.endpoint)
            .filter(|url| !url.is_empty()),
        region: typed
            .region
            .clone()
            .or(profile.region)
            .filter(|name| !name.is_empty()),
        allow_http: typed.allow_http.unwrap_or(usual.allow_http),
        virtual_hosted: typed.path_style.map_or(usual.virtual_hosted, |path| !path),
        request_timeout: typed.request_timeout.unwrap_or(usual.request_timeout),
        connect_timeout: typed.connect_timeout.unwrap_or(usual.connect_timeout),
        retries: typed.retries.unwrap_or(usual.retries),
        retry_timeout: typed.retry_timeout.unwrap_or(usual.retry_timeout),
        connections: typed.connections.unwrap_or(usual.connections),
        variables: Some(Variables(aws_variables())),
        credentials: profile.credentials,
        single_writer: typed.single_writer.unwrap_or(usual.single_writer),
        multipart_above: typed.multipart_above.unwrap_or(usual.multipart_above),
        part_bytes: typed.part_size.unwrap_or(usual.part_bytes),
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
