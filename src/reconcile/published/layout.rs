//! Where the values of a row stand, and what a text holds: told by its header, and where it has
//! none, by its first row.

use csv::ByteRecord;

use super::{account::Content, decimal::amount};
use crate::model::time::Unit;

/// Where the values of a row stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Trades(TradeFields),
    Minutes(MinuteFields),
}

/// Where the values of a trade stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TradeFields {
    pub(super) content: Content,
    /// How many values a row has.
    pub(super) width: usize,
    pub(super) id: usize,
    pub(super) price: usize,
    pub(super) qty: usize,
    pub(super) time: usize,
    /// The side of the taker, or whether the buyer is the maker.
    pub(super) side: usize,
    /// The first and the last of the single trades.
    pub(super) singles: Option<(usize, usize)>,
    pub(super) symbol: Option<usize>,
}

/// Where the values of a kline stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MinuteFields {
    /// How many values a row has.
    pub(super) width: usize,
    pub(super) open: usize,
    pub(super) close: usize,
    pub(super) volume: usize,
    pub(super) trades: usize,
}

/// The first record of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// It names the columns.
    Header(Layout),
    /// It is a row already.
    Row(Layout),
}

impl First {
    /// What the record tells; `None` where it is neither. `name` is that of the text: OKX gives its
    /// single and its aggregated trades one header, and there it decides.
    pub(super) fn of(record: &ByteRecord, name: &str) -> Option<Self> {
        let sums = || name.to_ascii_lowercase().contains("aggtrades");
        Layout::of_header(record, sums)
            .map(Self::Header)
            .or_else(|| Layout::of_row(record, sums).map(Self::Row))
    }

    pub(super) const fn layout(self) -> Layout {
        match self {
            Self::Header(layout) | Self::Row(layout) => layout,
        }
    }
}

impl Layout {
    pub(super) const fn content(self) -> Content {
        match self {
            Self::Trades(fields) => fields.content,
            Self::Minutes(_) => Content::BinanceKlines,
        }
    }

    fn of_header(record: &ByteRecord, sums: impl Fn() -> bool) -> Option<Self> {
        let names: Vec<String> = record.iter().map(column).collect();
        let at = |spellings: &[&str]| {
            names
                .iter()
                .position(|name| spellings.contains(&name.as_str()))
        };
        // No quantity has the name of a price, and none of these names occurs in data.
        if let (Some(open), Some(close), Some(volume), Some(trades)) = (
            at(&["open_time"]),
            at(&["close_time"]),
            at(&["volume"]),
            at(&["count", "number_of_trades", "trades"]),
        ) {
            return Some(Self::Minutes(MinuteFields {
                width: record.len(),
                open,
                close,
                volume,
                trades,
            }));
        }
        let price = at(&["price"])?;
        let qty = at(&["quantity", "qty", "size"])?;
        let symbol = at(&["symbol", "instrument_name", "instrument_id"]);
        let own = |content, id, time, side, singles| {
            Self::Trades(TradeFields {
                content,
                width: record.len(),
                id,
                price,
                qty,
                time,
                side,
                singles,
                symbol,
            })
        };
        if let Some(id) = at(&["trdmatchid"]) {
            let (time, side) = (at(&["timestamp"])?, at(&["side"])?);
            let _ = symbol?;
            return Some(own(Content::BybitTrades, id, time, side, None));
        }
        if let Some(time) = at(&["created_time"]) {
            let sum = at(&["agg_trade_id", "aggregate_trade_id"]);
            let content = if sum.is_some() || sums() {
                Content::OkxAggTrades
            } else {
                Content::OkxTrades
            };
            let id = sum.or_else(|| at(&["trade_id"]))?;
            return Some(own(content, id, time, at(&["side"])?, None));
        }
        let maker = at(&["is_buyer_maker", "was_the_buyer_the_maker"])?;
        let time = at(&["transact_time", "timestamp", "time"])?;
        if let Some(id) = at(&["agg_trade_id", "aggregate_trade_id"]) {
            let singles = (at(&["first_trade_id"])?, at(&["last_trade_id"])?);
            return Some(own(sums_of(record), id, time, maker, Some(singles)));
        }
        let id = at(&["id", "trade_id"])?;
        Some(own(Content::BinanceTrades, id, time, maker, None))
    }

    /// The layouts that have been published without a header.
    fn of_row(record: &ByteRecord, sums: impl Fn() -> bool) -> Option<Self> {
        let get = |at: usize| value(record, at);
        let whole = |at: usize| !get(at).is_empty() && get(at).iter().all(u8::is_ascii_digit);
        let number = |at: usize| amount(get(at)).is_some();
        let time = |at: usize| whole_number(get(at)).and_then(Unit::of).is_some();
        let truth = |at: usize| truth(get(at)).is_some();
        let side = |at: usize| side(get(at)).is_some();
        let all = |of: &dyn Fn(usize) -> bool, places: &[usize]| places.iter().all(|at| of(*at));
        let own = |content, [id, price, qty, time, side]: [usize; 5], singles, symbol| {
            Self::Trades(TradeFields {
                content,
                width: record.len(),
                id,
                price,
                qty,
                time,
                side,
                singles,
                symbol,
            })
        };
        let okx = || {
            if sums() {
                Content::OkxAggTrades
            } else {
                Content::OkxTrades
            }
        };
        Some(match record.len() {
            12 if all(&time, &[0, 6]) && all(&number, &[1, 2, 3, 4, 5, 7]) && whole(8) => {
                Self::Minutes(MinuteFields {
                    width: record.len(),
                    open: 0,
                    close: 6,
                    volume: 5,
                    trades: 8,
                })
            }
            7 | 8 if all(&whole, &[0, 3, 4]) && all(&number, &[1, 2]) && time(5) && truth(6) => {
                own(sums_of(record), [0, 1, 2, 5, 6], Some((3, 4)), None)
            }
            6 | 7 if whole(0) && all(&number, &[1, 2, 3]) && time(4) && truth(5) => {
                own(Content::BinanceTrades, [0, 1, 2, 4, 5], None, None)
            }
            5 if whole(0) && side(1) && all(&number, &[2, 3]) && time(4) => {
                own(okx(), [0, 3, 2, 4, 1], None, None)
            }
            6 | 7 if whole(1) && side(2) && all(&number, &[3, 4]) && time(5) => {
                own(okx(), [1, 3, 4, 5, 2], None, Some(0))
            }
            10 | 11 if side(2) && all(&number, &[0, 3, 4]) && !get(6).is_empty() => {
                own(Content::BybitTrades, [6, 4, 3, 0, 2], None, Some(1))
            }
            _ => return None,
        })
    }
}

/// Which of Binance's markets sums up trades like these: only spot says whether the price was the
/// best one.
fn sums_of(record: &ByteRecord) -> Content {
    if record.len() == 8 {
        Content::BinanceSpotAggTrades
    } else {
        Content::BinanceAggTrades
    }
}

/// The name of a column: in small letters, and of OKX's `side/交易方向`, which is in an encoding of
/// its own, what stands first.
fn column(written: &[u8]) -> String {
    let bare = written.strip_prefix(b"\xef\xbb\xbf").unwrap_or(written);
    let first = bare.split(|byte| *byte == b'/').next().unwrap_or_default();
    String::from_utf8_lossy(bared(first)).to_ascii_lowercase()
}

/// A value of a record: without the quotation marks and the spaces around it. Empty where there is
/// none.
pub(super) fn value(record: &ByteRecord, at: usize) -> &[u8] {
    bared(record.get(at).unwrap_or_default())
}

fn bared(written: &[u8]) -> &[u8] {
    let trimmed = written.trim_ascii();
    trimmed
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(trimmed)
}

/// A whole number of digits only.
pub(super) fn whole_number(text: &[u8]) -> Option<i64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Binance writes `true` in files of futures and `True` in those of spot.
pub(super) fn truth(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"true") {
        Some(true)
    } else if text.eq_ignore_ascii_case(b"false") {
        Some(false)
    } else {
        None
    }
}

/// The side of the taker: 1 buys, -1 sells.
pub(super) fn side(text: &[u8]) -> Option<i8> {
    if text.eq_ignore_ascii_case(b"buy") {
        Some(1)
    } else if text.eq_ignore_ascii_case(b"sell") {
        Some(-1)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str, name: &str) -> Option<(bool, Content)> {
        let record = ByteRecord::from(line.split(',').collect::<Vec<_>>());
        let first = First::of(&record, name)?;
        Some((matches!(first, First::Header(_)), first.layout().content()))
    }

    #[test]
    fn content_is_told_by_the_header_or_the_first_row() {
        let name = "anything.csv";
        for (line, is_header, content) in [
            (
                "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
                true,
                Content::BinanceAggTrades,
            ),
            (
                "\u{feff}Agg_Trade_Id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
                true,
                Content::BinanceAggTrades,
            ),
            (
                "2,78549.5,0.016,3,7,1788220800016,true",
                false,
                Content::BinanceAggTrades,
            ),
            (
                "1,78581.30,0.00012,1,1,1788220800322740,False,True",
                false,
                Content::BinanceSpotAggTrades,
            ),
            (
                "id,price,qty,quote_qty,time,is_buyer_maker",
                true,
                Content::BinanceTrades,
            ),
            (
                "7,78549.5,0.016,1256.792,1788220800016,true",
                false,
                Content::BinanceTrades,
            ),
            (
                "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore",
                true,
                Content::BinanceKlines,
            ),
            (
                "1788220800000,1,2,1,2,10.5,1788220859999,15,3,1,1,0",
                false,
                Content::BinanceKlines,
            ),
            (
                "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional,RPI",
                true,
                Content::BybitTrades,
            ),
            (
                "1788220801.0925,BTCUSDT,Sell,79,78513.00,PlusTick,e94f18f9-4bc4-5530-87ee-d067f8267a62,1e+5,79,0.001",
                false,
                Content::BybitTrades,
            ),
            (
                "instrument_name,trade_id,side,price,size,created_time",
                true,
                Content::OkxTrades,
            ),
            (
                "instrument_name,trade_id,side,price,size,created_time,source",
                true,
                Content::OkxTrades,
            ),
            (
                "BTC-USDT-SWAP,2885385355,sell,78542.2,14.07,1788192000021,0",
                false,
                Content::OkxTrades,
            ),
            (
                "trade_id/撮合id,side/交易方向,size/数量,price/价格,created_time/成交时间",
                true,
                Content::OkxTrades,
            ),
            ("1,buy,2,78542.2,1633017600021", false, Content::OkxTrades),
        ] {
            assert_eq!(of(line, name), Some((is_header, content)), "{line}");
        }
        for line in ["", "a,b,c", "1,2,3", "<html>", "id,price,qty"] {
            assert_eq!(of(line, name), None, "{line}");
        }
        let sums = "BTC-USDT-SWAP-aggtrades-2026-02-03.csv";
        assert_eq!(
            of("trade_id,side,size,price,created_time", sums),
            Some((true, Content::OkxAggTrades))
        );
    }

    #[test]
    fn a_header_in_another_encoding_is_known_by_what_stands_before_the_stroke() {
        let mut fields: Vec<Vec<u8>> = ["trade_id", "side", "size", "price", "created_time"]
            .map(|name| name.as_bytes().to_vec())
            .to_vec();
        for field in &mut fields {
            field.extend(b"/\xb4\xe9\xba\xcf");
        }
        let first = First::of(&ByteRecord::from(fields), "x.csv").unwrap();
        assert_eq!(first.layout().content(), Content::OkxTrades);
    }
}
