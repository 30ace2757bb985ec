//! A published file, and what was found of it.

use std::path::PathBuf;

/// Faults that are told of a file; the others are counted.
const MOST_FAULTS: usize = 20;
/// The longest text of a file that is shown, in characters.
const LONGEST_SHOWN: usize = 120;

/// One published file that lies on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What is shown and recorded: where it came from.
    pub name: String,
    /// The text of its CHECKSUM file, where there is one.
    pub checksum: Option<String>,
}

/// What a published file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// Aggregated trades of Binance.
    BinanceAggTrades,
    /// Those of its spot market, which have one column more. No collector of qlc records it.
    BinanceSpotAggTrades,
    /// Single trades of Binance.
    BinanceTrades,
    /// Klines of Binance, of one minute.
    BinanceKlines,
    /// Trades of Bybit.
    BybitTrades,
    /// Single trades of OKX.
    OkxTrades,
    /// Aggregated trades of OKX.
    OkxAggTrades,
}

/// By what a published row and a recorded one are known as the same event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The venue's number in `seq`, of which `trade_id` is the text.
    Number,
    /// `trade_id` alone: `seq` is not published, and 0.
    TradeId,
    /// The number of a single trade in `first_id` and `last_id`; recorded rows are sums, and hold it
    /// where it lies between their `first_id` and `last_id`. `seq` is 0 and `trade_id` null, because
    /// single trades and sums are numbered apart: such a row must not be taken into the archive of
    /// the sums.
    Single,
}

impl Content {
    /// Its name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BinanceAggTrades => "binance-agg-trades",
            Self::BinanceSpotAggTrades => "binance-spot-agg-trades",
            Self::BinanceTrades => "binance-trades",
            Self::BinanceKlines => "binance-klines",
            Self::BybitTrades => "bybit-trades",
            Self::OkxTrades => "okx-trades",
            Self::OkxAggTrades => "okx-agg-trades",
        }
    }

    /// The name of the exchange whose it is.
    #[must_use]
    pub const fn exchange(self) -> &'static str {
        match self {
            Self::BinanceAggTrades
            | Self::BinanceSpotAggTrades
            | Self::BinanceTrades
            | Self::BinanceKlines => "binance",
            Self::BybitTrades => "bybit",
            Self::OkxTrades | Self::OkxAggTrades => "okx",
        }
    }

    /// The value of the column `source` of its rows.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::BinanceAggTrades
            | Self::BinanceSpotAggTrades
            | Self::BinanceTrades
            | Self::BinanceKlines => "binance-archive",
            Self::BybitTrades => "bybit-archive",
            Self::OkxTrades | Self::OkxAggTrades => "okx-archive",
        }
    }

    /// Whether its rows are numbered one by one, so that a number that is not there means something.
    #[must_use]
    pub const fn is_consecutive(self) -> bool {
        matches!(self, Self::BinanceAggTrades | Self::BinanceSpotAggTrades)
    }

    /// By what its rows are known; `None` where its rows are no trades.
    #[must_use]
    pub const fn identity(self) -> Option<Identity> {
        match self {
            Self::BinanceAggTrades
            | Self::BinanceSpotAggTrades
            | Self::OkxTrades
            | Self::OkxAggTrades => Some(Identity::Number),
            Self::BinanceTrades => Some(Identity::Single),
            Self::BybitTrades => Some(Identity::TradeId),
            Self::BinanceKlines => None,
        }
    }
}

/// What the venue's CHECKSUM file says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// The sha256 that the file has.
    Right,
    /// Another one.
    Wrong {
        /// What it says: the sha256, or the beginning of a text that is none.
        expected: String,
    },
    /// There is no such file.
    None,
}

impl Checksum {
    /// Its name in records.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong { .. } => "wrong",
            Self::None => "none",
        }
    }
}

/// What was found of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAccount {
    /// [`PublishedFile::name`].
    pub name: String,
    /// Of its bytes, in hex.
    pub sha256: String,
    /// What its CHECKSUM file says.
    pub checksum: Checksum,
    /// What it holds.
    pub content: Content,
    /// Rows of the wanted day, each identity with equal values once.
    pub rows: u64,
    /// Rows of the wanted day that repeat another one, of this file or of one before it.
    pub repeated: u64,
    /// Rows of the wanted day that have an identity of another row, and other values. They are among
    /// `rows`.
    pub conflicting: u64,
    /// Numbers that no row of the day has and that lie between those of two rows, of which this file
    /// has the later one. Only of aggregated trades of Binance, whose numbers have no holes: told are
    /// holes of the files, or of the venue.
    pub missing: u64,
    /// Rows of other days.
    pub elsewhere: u64,
    /// Lines that are no row of this series.
    pub rejected: u64,
    /// The first 20 faults: the line, and what is wrong with it.
    pub faults: Vec<String>,
    /// Whether it was read to its end. False where it is truncated or damaged, or where reading
    /// stopped early because it cannot be what it claims to be: what it would still tell is unknown,
    /// and its rows are those that came before.
    pub complete: bool,
}

impl FileAccount {
    /// Of a file of which nothing was read so far.
    pub(super) fn new(name: String, sha256: String, checksum: Checksum, content: Content) -> Self {
        Self {
            name,
            sha256,
            checksum,
            content,
            rows: 0,
            repeated: 0,
            conflicting: 0,
            missing: 0,
            elsewhere: 0,
            rejected: 0,
            faults: Vec::new(),
            complete: true,
        }
    }

    /// Notes a fault, which is only put into words where there is room for it.
    pub(super) fn fault(&mut self, words: impl FnOnce() -> String) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(words());
        }
    }

    /// Notes a fault after which the file is not read any further, or not wholly. It is told in any
    /// case.
    pub(super) fn cut(&mut self, fault: String) {
        self.complete = false;
        self.faults.truncate(MOST_FAULTS - 1);
        self.faults.push(fault);
    }
}

/// A text of a file as it can be shown: no control characters, and not too long.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut shown: String = text
        .chars()
        .take(LONGEST_SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LONGEST_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
