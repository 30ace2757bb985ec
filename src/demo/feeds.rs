//! What the sample records: a table of feeds and how each of them is cut into files.

/// The part that a file plays in the sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Nothing special.
    Regular,
    /// Its time range overlaps that of its neighbour; no event is in both.
    Overlap,
    /// Sealed after midnight and named so, but it begins before: it feeds two days.
    Late,
    /// In the older format and the dated layout.
    Legacy,
    /// Its footer is fine, a data page is not.
    Corrupt,
}

/// What a feed tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// The best bid and offer.
    Bbo,
    /// Trades.
    Trade,
    /// Mark prices, with the index price.
    MarkPrice,
    /// Funding rates.
    Funding,
    /// Open interest.
    OpenInterest,
}

/// A traded thing, as one exchange trades it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Market {
    /// As in paths and in the column.
    pub(super) exchange: &'static str,
    /// As in paths; the column has it in upper case.
    pub(super) symbol: &'static str,
    /// The price at midnight, in ticks.
    pub(super) ticks: i32,
    /// Ticks in one unit of price.
    pub(super) per_price: u32,
    /// Steps in one unit of quantity.
    pub(super) per_quantity: u32,
}

/// One feed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Feed {
    /// What is traded.
    pub(super) market: Market,
    /// What is told of it.
    pub(super) content: Content,
    /// Milliseconds between two events on average.
    pub(super) gap_ms: u32,
    /// Hours between two files.
    pub(super) hours: i64,
    /// What is special about one of its files, if anything.
    pub(super) special: &'static [Role],
}

const BINANCE_BTC: Market = Market {
    exchange: "binance",
    symbol: "btcusdt",
    ticks: 912_345,
    per_price: 10,
    per_quantity: 1000,
};
const BINANCE_ETH: Market = Market {
    exchange: "binance",
    symbol: "ethusdt",
    ticks: 312_345,
    per_price: 100,
    per_quantity: 1000,
};
const BYBIT_BTC: Market = Market {
    exchange: "bybit",
    symbol: "btcusdt",
    ticks: 912_401,
    per_price: 10,
    per_quantity: 1000,
};
const OKX_BTC: Market = Market {
    exchange: "okx",
    symbol: "btcusdt",
    ticks: 912_298,
    per_price: 10,
    per_quantity: 100,
};
const OKX_ETH: Market = Market {
    exchange: "okx",
    symbol: "ethusdt",
    ticks: 312_366,
    per_price: 100,
    per_quantity: 100,
};

/// The feeds that are recorded in the current format.
pub(super) const FEEDS: [Feed; 12] = [
    feed(
        BINANCE_BTC,
        Content::Bbo,
        600,
        1,
        &[Role::Overlap, Role::Late],
    ),
    feed(BINANCE_ETH, Content::Bbo, 900, 1, &[Role::Corrupt]),
    feed(BINANCE_BTC, Content::Trade, 1_500, 1, &[]),
    feed(BINANCE_ETH, Content::Trade, 2_500, 1, &[]),
    feed(BINANCE_BTC, Content::MarkPrice, 3_000, 4, &[]),
    feed(BINANCE_ETH, Content::MarkPrice, 3_000, 4, &[]),
    feed(BINANCE_BTC, Content::Funding, 60_000, 12, &[]),
    feed(BINANCE_ETH, Content::Funding, 60_000, 12, &[]),
    feed(BYBIT_BTC, Content::Bbo, 1_200, 2, &[]),
    feed(BYBIT_BTC, Content::OpenInterest, 15_000, 12, &[]),
    feed(OKX_BTC, Content::Bbo, 1_500, 2, &[]),
    feed(OKX_BTC, Content::Trade, 4_000, 4, &[]),
];

/// The feed that an older collector recorded.
pub(super) const LEGACY: Feed = feed(OKX_ETH, Content::Trade, 6_000, 6, &[Role::Legacy]);

const fn feed(
    market: Market,
    content: Content,
    gap_ms: u32,
    hours: i64,
    special: &'static [Role],
) -> Feed {
    Feed {
        market,
        content,
        gap_ms,
        hours,
        special,
    }
}

impl Content {
    /// The stream's name.
    pub(super) const fn stream(self) -> &'static str {
        match self {
            Self::Bbo => "bbo",
            Self::Trade => "trade",
            Self::MarkPrice => "mark_price",
            Self::Funding => "funding",
            Self::OpenInterest => "open_interest",
        }
    }
}

impl Feed {
    /// Whether one of its files plays this part.
    pub(super) fn has(&self, role: Role) -> bool {
        self.special.contains(&role)
    }
}
