//! How to speak to buckets, as typed: every command that opens a store understands these.
//!
//! There is no option for keys: they come from the environment or from a profile, because other
//! users of the machine can read the command line.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::shared::number;
use crate::error::{Error, Result};

/// Settings of stores that are buckets; each can be in the configuration file too.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Buckets")]
pub(crate) struct BucketArgs {
    /// The URL of an S3 store that is not AWS, as in https://s3.example.org:9000; or the URL of a
    /// feed after its name, as in okx.public=ws://127.0.0.1:9001/okx.public
    #[arg(long, global = true, value_name = "[NAME=]URL", value_parser = place, env = "AWS_ENDPOINT_URL",
        hide_env_values = true)]
    pub(crate) endpoint: Vec<Endpoint>,
    /// The region of the bucket [default: that of the profile, else us-east-1]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "AWS_REGION",
        hide_env_values = true
    )]
    pub(crate) region: Option<String>,
    /// The profile of ~/.aws whose keys, region and endpoint are used
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "AWS_PROFILE",
        hide_env_values = true
    )]
    pub(crate) profile: Option<String>,
    /// Allow an endpoint without TLS
    #[arg(long, global = true, env = "AWS_ALLOW_HTTP", hide_env_values = true, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_short_help = true)]
    pub(crate) allow_http: Option<bool>,
    /// Put the name of the bucket into the path of the URL, not into its host [default: true]
    #[arg(long, global = true, env = "QLC_PATH_STYLE", hide_env_values = true, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_short_help = true)]
    pub(crate) path_style: Option<bool>,
    /// Promise that nobody else writes to the archive, for a store without conditional writes
    #[arg(long, global = true, env = "QLC_SINGLE_WRITER", hide_env_values = true, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_short_help = true)]
    pub(crate) single_writer: Option<bool>,
    /// Time limit of one request, its answer included [default: 30s]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, env = "QLC_REQUEST_TIMEOUT",
        hide_env_values = true, hide_short_help = true)]
    pub(crate) request_timeout: Option<Duration>,
    /// Time limit for a connection [default: 5s]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, env = "QLC_CONNECT_TIMEOUT",
        hide_env_values = true, hide_short_help = true)]
    pub(crate) connect_timeout: Option<Duration>,
    /// How often a failed request is repeated, with exponential backoff [default: 10]
    #[arg(long, global = true, value_name = "N", value_parser = number(0..=100_usize), env = "QLC_RETRIES", hide_env_values = true,
        hide_short_help = true)]
    pub(crate) retries: Option<usize>,
    /// Time limit of one request with all its repetitions [default: 3m]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, env = "QLC_RETRY_TIMEOUT",
        hide_env_values = true, hide_short_help = true)]
    pub(crate) retry_timeout: Option<Duration>,
    /// Requests at the same time [default: 64]
    #[arg(long, global = true, value_name = "N", value_parser = number(2..=1024_usize), env = "QLC_CONNECTIONS",
        hide_env_values = true, hide_short_help = true)]
    pub(crate) connections: Option<usize>,
    /// Objects larger than this are uploaded in parts [default: 16MiB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = crate::model::size::parse,
        env = "QLC_MULTIPART_ABOVE", hide_env_values = true, hide_short_help = true)]
    pub(crate) multipart_above: Option<u64>,
    /// Size of a part; S3 accepts only a last part below 5MiB [default: 8MiB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = crate::model::size::parse, env = "QLC_PART_SIZE",
        hide_env_values = true, hide_short_help = true)]
    pub(crate) part_size: Option<u64>,
    // Where the profiles are; the variables of the AWS tools, without flags of their own.
    #[arg(
        long = "aws-credentials-file",
        global = true,
        env = "AWS_SHARED_CREDENTIALS_FILE",
        hide = true
    )]
    pub(crate) credentials_file: Option<PathBuf>,
    #[arg(
        long = "aws-config-file",
        global = true,
        env = "AWS_CONFIG_FILE",
        hide = true
    )]
    pub(crate) config_file: Option<PathBuf>,
}

/// What has another place than usual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The stores that are buckets.
    Store(String),
    /// The feed of this name.
    Feed(String, String),
}

impl BucketArgs {
    /// The feeds that have another place than usual.
    pub(crate) fn feeds(&self) -> Vec<(String, String)> {
        let one = |one: &Endpoint| match one {
            Endpoint::Feed(name, url) => Some((name.clone(), url.clone())),
            Endpoint::Store(_) => None,
        };
        self.endpoint.iter().filter_map(one).collect()
    }

    /// The place of the stores, if it was typed.
    pub(crate) fn store(&self) -> Option<&str> {
        self.endpoint.iter().rev().find_map(|one| {
            if let Endpoint::Store(url) = one {
                Some(url.as_str())
            } else {
                None
            }
        })
    }
}

/// # Errors
/// When it begins with a name and is not the place of a feed.
fn place(text: &str) -> Result<Endpoint> {
    let is_feed = text
        .split_once("://")
        .is_some_and(|(before, _)| before.contains('='));
    if is_feed {
        let (name, url) = super::collect::endpoint(text)?;
        return Ok(Endpoint::Feed(name, url));
    }
    // A URL is looked at when a bucket is opened; only then it is needed.
    Ok(Endpoint::Store(text.to_owned()))
}

/// A span of time from a text.
///
/// # Errors
/// When it is not a number with a unit, or nothing at all.
fn duration(text: &str) -> Result<Duration> {
    let spelt = || {
        Error::usage(format!(
            "{text:?} is not a time: write a number and a unit, as in 500ms, 30s or 3m"
        ))
    };
    let time = humantime::parse_duration(text).map_err(|_| spelt())?;
    if time.is_zero() {
        Err(Error::usage(
            "a time must be above 0, as in 500ms, 30s or 3m",
        ))
    } else {
        Ok(time)
    }
}
