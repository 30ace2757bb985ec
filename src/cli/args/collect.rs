//! `qlc collect`, `qlc record` and `qlc replay` as typed.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::shared::number;
use crate::{
    error::{Error, Result},
    feed::{event::Kind, instrument::Wish, venue::Venue},
};

/// Which feeds; each can be below `[collect]` of the configuration file too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Feeds {
    /// An exchange: binance, bybit or okx; repeatable
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "Feeds",
        env = "QLC_COLLECT_EXCHANGE",
        hide_env_values = true
    )]
    pub(crate) exchange: Vec<Venue>,
    /// A symbol as in btcusdt, a pattern as in '*usdt', or all; repeatable
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "Feeds",
        env = "QLC_COLLECT_SYMBOL",
        hide_env_values = true
    )]
    pub(crate) symbol: Vec<Wish>,
    /// A stream: bbo, trade, mark_price, funding, open_interest, liquidation or instrument;
    /// repeatable
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "Feeds",
        env = "QLC_COLLECT_STREAM",
        default_value = "bbo,trade,mark_price,funding",
        hide_env_values = true
    )]
    pub(crate) stream: Vec<Kind>,
    /// The endpoints of feeds that were moved: `--endpoint` is a flag of all commands, which sorts
    /// them out.
    #[arg(skip)]
    pub(crate) endpoint: Vec<(String, String)>,
}

/// `qlc collect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc --spool ./spool collect --exchange binance,bybit,okx --symbol btcusdt,ethusdt
  qlc collect --exchange okx --symbol btcusdt --stream bbo,open_interest --listen 127.0.0.1:9100
  qlc collect --exchange bybit --symbol btcusdt --duration 10m
  qlc collect --exchange binance,okx --symbol all --stream trade,liquidation,instrument

HTTPS_PROXY, HTTP_PROXY, ALL_PROXY (http:// or socks5://) and NO_PROXY are honoured.
SIGTERM and Ctrl-C seal all files and end with 0.")]
pub(crate) struct Collect {
    #[command(flatten)]
    pub(crate) feeds: Feeds,
    /// Interval at which events are committed to the write-ahead log: at most so much is lost in a
    /// crash
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Files", env = "QLC_COLLECT_COMMIT_EVERY", default_value = "500ms",
        hide_env_values = true)]
    pub(crate) commit_every: Duration,
    /// Seal a spool file when it is this old; with many series, those of quiet ones later; at
    /// midnight UTC in any case
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Files", env = "QLC_COLLECT_ROTATE_AFTER", default_value = "5m",
        hide_env_values = true)]
    pub(crate) rotate_after: Duration,
    /// Seal a spool file when its rows take so much memory
    #[arg(long, value_name = "SIZE", value_parser = crate::model::size::parse, help_heading = "Files", env = "QLC_COLLECT_ROTATE_SIZE", default_value = "64MB",
        hide_env_values = true)]
    pub(crate) rotate_size: u64,
    /// Memory for rows that are not sealed yet
    #[arg(long, value_name = "SIZE", value_parser = crate::model::size::parse, help_heading = "Files", env = "QLC_COLLECT_MEMORY_LIMIT", default_value = "512MB",
        hide_env_values = true)]
    pub(crate) memory_limit: u64,
    /// Replace a connection, without a hole, when it is this old
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Connections", env = "QLC_COLLECT_RENEW_AFTER", default_value = "23h",
        hide_env_values = true)]
    pub(crate) renew_after: Duration,
    /// Give up a connection that is silent for so long although it was pinged
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Connections", env = "QLC_COLLECT_SILENCE", default_value = "45s",
        hide_env_values = true)]
    pub(crate) silence: Duration,
    /// The longest wait between attempts to connect, until many have failed in a row
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Connections", env = "QLC_COLLECT_RETRY_CAP", default_value = "30s",
        hide_env_values = true)]
    pub(crate) retry_cap: Duration,
    /// Read the exchanges' lists of instruments again at this interval: new instruments are
    /// collected, delisted ones end
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Feeds", env = "QLC_COLLECT_RELIST_EVERY", default_value = "1h",
        hide_env_values = true)]
    pub(crate) relist_every: Duration,
    /// End after this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) duration: Option<Duration>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = number(1_u64..))]
    pub(crate) max_events: Option<u64>,
    /// Serve /health, /metrics, /status and a page there, as in 127.0.0.1:9100
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "QLC_COLLECT_LISTEN",
        hide_env_values = true
    )]
    pub(crate) listen: Option<SocketAddr>,
}

/// `qlc record`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc record --exchange okx --symbol btcusdt --duration 10m okx.ndjson.zst
  qlc record --exchange okx --symbol all --rotate-after 1h okx.ndjson.zst
  zstd -dc okx.ndjson.zst | head -1")]
pub(crate) struct Record {
    #[command(flatten)]
    pub(crate) feeds: Feeds,
    /// End after this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) duration: Option<Duration>,
    /// End after so many frames
    #[arg(long, value_name = "N", value_parser = number(1_u64..))]
    pub(crate) max_frames: Option<u64>,
    /// Begin another file after this time, numbered -2, -3 and so on
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) rotate_after: Option<Duration>,
    /// Begin another file when this one has so many bytes, likewise
    #[arg(long, value_name = "SIZE", value_parser = crate::model::size::parse)]
    pub(crate) rotate_size: Option<u64>,
    /// The recording; it must not exist yet
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// `qlc replay`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc replay okx.ndjson.zst --listen 127.0.0.1:9001 --speed max
  qlc --spool ./spool collect --exchange okx --symbol btcusdt \\
    --endpoint okx.public=ws://127.0.0.1:9001/okx.public

Every connection gets the recording from its beginning. The path of the URL is the name of the endpoint.")]
pub(crate) struct Replay {
    /// The recording; several files are played one after the other
    #[arg(value_name = "FILE", required = true)]
    pub(crate) file: Vec<PathBuf>,
    /// The address to listen on; port 0 takes any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9001")]
    pub(crate) listen: SocketAddr,
    /// Speed: a factor of the original speed, or max
    #[arg(long, value_name = "FACTOR|max", value_parser = speed, default_value = "1")]
    pub(crate) speed: Speed,
}

/// How fast a recording is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// As a factor of its own time.
    Factor(f64),
    /// As fast as it goes.
    Max,
}

fn speed(text: &str) -> Result<Speed> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let factor = text
        .parse()
        .ok()
        .filter(|factor: &f64| factor.is_finite() && *factor > 0.0);
    factor
        .map(Speed::Factor)
        .ok_or_else(|| Error::usage("write a factor above 0, as in 10, or max"))
}

/// The endpoint of a feed, from `NAME=URL`.
///
/// # Errors
/// When it is not that, or no URL of a WebSocket (of requests, where the name ends in `.rest`).
pub(super) fn endpoint(text: &str) -> Result<(String, String)> {
    let begins = |url: &str, with: [&str; 2]| with.iter().any(|scheme| url.starts_with(scheme));
    let is_rest = |name: &str| {
        name.rsplit_once('.')
            .is_some_and(|(_, last)| last == "rest")
    };
    match text.split_once('=') {
        Some((name, url)) if is_rest(name) && begins(url, ["http://", "https://"]) => {
            Ok((name.to_owned(), url.to_owned()))
        }
        Some((name, url)) if !is_rest(name) && begins(url, ["ws://", "wss://"]) => {
            Ok((name.to_owned(), url.to_owned()))
        }
        _ => Err(Error::usage(
            "write a name and a URL, as in okx.public=ws://127.0.0.1:9001/okx.public or okx.rest=http://127.0.0.1:9002",
        )),
    }
}

/// A time of the collector, from a text: `250ms`, `30s`, `5m`, `23h`.
///
/// # Errors
/// When it is not a number with one of these units, or nothing at all.
fn time(text: &str) -> Result<Duration> {
    let wrong = || Error::usage("write a time above 0 with its unit, as in 250ms, 30s, 5m or 23h");
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(time("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(time("1.5h").unwrap(), Duration::from_mins(90));
        for text in ["", "5", "0s", "-1s", "1d", "s", "1e9s"] {
            assert!(time(text).is_err(), "{text}");
        }
        assert_eq!(speed("max").unwrap(), Speed::Max);
        assert!(speed("0").is_err() && speed("NaN").is_err());
        assert!(endpoint("a=ws://b").is_ok() && endpoint("a=http://b").is_err());
        assert!(endpoint("a.rest=http://b").is_ok() && endpoint("a.rest=ws://b").is_err());
    }
}
