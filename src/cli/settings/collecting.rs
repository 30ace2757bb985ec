//! The settings of the collector: a flag, else the environment, else `[collect]` of the
//! configuration file, else the default.

use std::{net::SocketAddr, time::Duration};

use super::file::CollectFile;
use crate::{
    cli::args::{Collect, Feeds},
    error::{Error, Result},
    feed::event::Kind,
};

/// What holds where nobody says otherwise. Also printed by `--help`, which a test compares.
const STREAMS: [Kind; 4] = [Kind::Bbo, Kind::Trade, Kind::MarkPrice, Kind::Funding];
const COMMIT_EVERY: Duration = Duration::from_millis(500);
const ROTATE_AFTER: Duration = Duration::from_mins(5);
const ROTATE_SIZE: u64 = 64_000_000;
const MEMORY_LIMIT: u64 = 512_000_000;
const RENEW_AFTER: Duration = Duration::from_hours(23);
const SILENCE: Duration = Duration::from_secs(45);
const RETRY_CAP: Duration = Duration::from_secs(30);
const RELIST_EVERY: Duration = Duration::from_hours(1);

/// What holds for a run of the collector, each value decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collecting {
    /// Which feeds, and where they are.
    pub(crate) feeds: Feeds,
    /// An event survives a crash after so long.
    pub(crate) commit_every: Duration,
    /// A spool file is sealed at this age.
    pub(crate) rotate_after: Duration,
    /// A spool file is sealed at so many bytes in memory.
    pub(crate) rotate_size: u64,
    /// Bytes of rows in memory.
    pub(crate) memory_limit: u64,
    /// A connection is replaced at this age.
    pub(crate) renew_after: Duration,
    /// A connection that is silent for so long is given up.
    pub(crate) silence: Duration,
    /// The longest wait between attempts.
    pub(crate) retry_cap: Duration,
    /// The lists of instruments are read again at this interval.
    pub(crate) relist_every: Duration,
    /// Where the status is served.
    pub(crate) listen: Option<SocketAddr>,
}

impl Collecting {
    /// Decides everything but whether there are any feeds.
    pub(crate) fn merge(typed: &Collect, file: &CollectFile) -> Self {
        Self {
            feeds: merged(&typed.feeds, file),
            commit_every: typed
                .commit_every
                .or(file.commit_every)
                .unwrap_or(COMMIT_EVERY),
            rotate_after: typed
                .rotate_after
                .or(file.rotate_after)
                .unwrap_or(ROTATE_AFTER),
            rotate_size: typed
                .rotate_size
                .or(file.rotate_size)
                .unwrap_or(ROTATE_SIZE),
            memory_limit: typed
                .memory_limit
                .or(file.memory_limit)
                .unwrap_or(MEMORY_LIMIT),
            renew_after: typed
                .renew_after
                .or(file.renew_after)
                .unwrap_or(RENEW_AFTER),
            silence: typed.silence.or(file.silence).unwrap_or(SILENCE),
            retry_cap: typed.retry_cap.or(file.retry_cap).unwrap_or(RETRY_CAP),
            relist_every: typed
                .relist_every
                .or(file.relist_every)
                .unwrap_or(RELIST_EVERY),
            listen: typed.listen.or(file.listen),
        }
    }

    /// Decides everything.
    ///
    /// # Errors
    /// When nobody names an exchange or a symbol.
    pub(crate) fn decide(typed: &Collect, file: &CollectFile) -> Result<Self> {
        let all = Self::merge(typed, file);
        present(&all.feeds)?;
        Ok(all)
    }
}

/// The feeds that are meant.
///
/// # Errors
/// When nobody names an exchange or a symbol.
pub(crate) fn feeds(typed: &Feeds, file: &CollectFile) -> Result<Feeds> {
    let all = merged(typed, file);
    present(&all)?;
    Ok(all)
}

fn merged(typed: &Feeds, file: &CollectFile) -> Feeds {
    let mut endpoint = file.endpoints.clone();
    // The later of two entries for one name holds.
    endpoint.extend(typed.endpoint.iter().cloned());
    Feeds {
        exchange: either(&typed.exchange, &file.exchange),
        symbol: either(&typed.symbol, &file.symbol),
        stream: either(&either(&typed.stream, &file.stream), &STREAMS),
        endpoint,
    }
}

fn either<T: Clone>(first: &[T], second: &[T]) -> Vec<T> {
    if first.is_empty() {
        second.to_vec()
    } else {
        first.to_vec()
    }
}

fn present(feeds: &Feeds) -> Result<()> {
    for (name, empty, example) in [
        ("exchange", feeds.exchange.is_empty(), "binance"),
        ("symbol", feeds.symbol.is_empty(), "btcusdt"),
    ] {
        if empty {
            return Err(Error::usage(format!(
                "no {name} is named: say --{name} {example}, QLC_COLLECT_{}, or {name} = [\"{example}\"] below [collect] of \
                 the configuration",
                name.to_ascii_uppercase()
            )));
        }
    }
    Ok(())
}
