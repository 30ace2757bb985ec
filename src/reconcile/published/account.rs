//! What was found of one published file.

/// What a published file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// Aggregated trades of Binance.
    BinanceAggTrades,
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
            Self::BinanceAggTrades | Self::BinanceTrades | Self::BinanceKlines => "binance",
            Self::BybitTrades => "bybit",
            Self::OkxTrades | Self::OkxAggTrades => "okx",
        }
    }

    /// The value of the column `source` of its rows.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::BinanceAggTrades | Self::BinanceTrades | Self::BinanceKlines => "binance-archive",
            Self::BybitTrades => "bybit-archive",
            Self::OkxTrades | Self::OkxAggTrades => "okx-archive",
        }
    }

    /// By what its rows are known; `None` where its rows are no trades.
    #[must_use]
    pub const fn identity(self) -> Option<Identity> {
        match self {
            Self::BinanceAggTrades | Self::OkxTrades | Self::OkxAggTrades => Some(Identity::Number),
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
    /// [`PublishedFile::name`](super::PublishedFile::name).
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
