"""Feed data of hftbacktest: one `.npz` a UTC day with the events of `bbo` and `trade`.

A quote becomes depth events of the levels that it changes: levels that are better than the new best price are removed,
the best level is set. Levels behind the best keep the quantity that was last seen there, as hftbacktest's own
`FuseMarketDepth` does with best bids and asks; the archive knows nothing of them. A quote that changes no level gives no
event. Best price and quantity of both sides are those of the archive after every quote.

Exchange and receiver have a book each, because they see quotes in different orders: the exchange by `ts_event` and `seq`,
the receiver by `ts_recv`. What both see alike is one event for both, everything else is an event for one of them.

The files of several days belong one after the other: the books go on, and what was received after midnight is in the file
of its day for the exchange and in the next one for the receiver. hftbacktest is not needed to write them.
"""

import datetime as dt
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ._merge import ints
from ._published import Partition
from ._times import Instant, bound, unit_of, within
from .errors import FormatError, NotFoundError

if TYPE_CHECKING:
    from .archive import Archive

# hftbacktest.types, whose numbers are its file format.
DEPTH, TRADE = 1, 2
EXCH, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
EVENT = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ],
    align=True,
)
_QUOTE = np.dtype(
    [
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("bid_price", "f8"),
        ("bid_qty", "f8"),
        ("ask_price", "f8"),
        ("ask_qty", "f8"),
    ]
)
Events = npt.NDArray[Any]
_Row = tuple[int, int, int, float, float]


@dataclass(frozen=True, slots=True)
class Written:
    """A file of one day."""

    path: Path
    date: dt.date
    quotes: int
    trades: int
    events: int


def write(
    archive: "Archive",
    folder: str | os.PathLike[str],
    *,
    exchange: str,
    symbol: str,
    start: Instant = None,
    end: Instant = None,
    local_offset_ns: int = 0,
) -> list[Written]:
    """Writes the quotes and trades of one symbol, a file a day, `{exchange}-{symbol}-{date}.npz`.

    Args:
        archive: the archive.
        folder: where the files go; it is made where there is none.
        exchange: the exchange.
        symbol: the symbol, as the archive's folders name it.
        start: from this day or instant on.
        end: up to this day, or before this instant.
        local_offset_ns: is added to every `ts_recv`. hftbacktest wants no event that was received before it was; where
            clocks differ, this is how you say by how much.

    Raises:
        NotFoundError: where the archive has no quotes of this symbol.
        FormatError: where rows cannot be held as they are.
    """
    partitions = archive.partitions(["bbo", "trade"], symbol=symbol, exchange=exchange, start=start, end=end)
    if not any(partition.stream == "bbo" for partition in partitions):
        raise NotFoundError(f"there is no bbo of {exchange} and {symbol} in the range, so there is no book to write")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    days = sorted({partition.date for partition in partitions})
    exchange_book, receiver_book = _Book(), _Book()
    late_quotes: Events = np.empty(0, _QUOTE)
    late_trades: Events = np.empty(0, EVENT)
    written = []
    for place, day in enumerate(days):
        quotes: Events = np.empty(0, _QUOTE)
        trades: Events = np.empty(0, EVENT)
        for partition in (partition for partition in partitions if partition.date == day):
            begin, stop = within(day, start, end)
            table = archive.read(partition.stream, symbol=symbol, exchange=exchange, start=begin, end=stop)
            exch, local = _times(partition, table, local_offset_ns)
            if partition.stream == "bbo":
                quotes = _quotes(table, exch, local)
            else:
                trades = _trades(partition, table, exch, local)
        following = bound(days[place + 1], end=False) if place + 1 < len(days) else None
        received_quotes, late_quotes = _received(late_quotes, quotes, following)
        received_trades, late_trades = _received(late_trades, trades, following)
        events = joined(
            _merged(trades, exchange_book.events(quotes), "exch_ts"),
            _merged(received_trades, receiver_book.events(received_quotes), "local_ts"),
        )
        path = target / f"{exchange}-{symbol}-{day:%Y%m%d}.npz"
        part = path.with_suffix(".tmp")
        with part.open("wb") as file:
            np.savez_compressed(file, data=events)
        part.replace(path)
        written.append(Written(path, day, len(quotes), len(trades), len(events)))
    return written


class _Book:
    """The levels that quotes have shown, best last: prices, and the quantity last seen at each."""

    def __init__(self) -> None:
        self.bids: list[tuple[float, float]] = []
        self.asks: list[tuple[float, float]] = []

    def events(self, quotes: Events) -> Events:
        """The depth events of quotes, in their order."""
        rows = [
            (kind, exch, local, price, qty, 0, 0, 0.0)
            for quote in quotes.tolist()
            for kind, exch, local, price, qty in self.quote(*quote)
        ]
        return np.array(rows, dtype=EVENT)

    def quote(self, exch: int, local: int, bid: float, bid_qty: float, ask: float, ask_qty: float) -> Iterator[_Row]:
        """The depth events of a quote. What goes comes before what is new, so that the sides never cross."""
        bids, asks = self.bids, self.asks
        # An empty side is not a number, which is in no order with any price.
        no_bid, no_ask = bid != bid or bid_qty == 0, ask != ask or ask_qty == 0
        while bids and (no_bid or bids[-1][0] > bid or bids[-1][0] >= ask):
            yield DEPTH | BUY, exch, local, bids.pop()[0], 0.0
        while asks and (no_ask or asks[-1][0] < ask or asks[-1][0] <= bid):
            yield DEPTH | SELL, exch, local, asks.pop()[0], 0.0
        if not no_bid and (not bids or bids[-1] != (bid, bid_qty)):
            if bids and bids[-1][0] == bid:
                bids.pop()
            bids.append((bid, bid_qty))
            yield DEPTH | BUY, exch, local, bid, bid_qty
        if not no_ask and (not asks or asks[-1] != (ask, ask_qty)):
            if asks and asks[-1][0] == ask:
                asks.pop()
            asks.append((ask, ask_qty))
            yield DEPTH | SELL, exch, local, ask, ask_qty


def _quotes(table: pa.Table, exch: Any, local: Any) -> Events:
    quotes = np.empty(table.num_rows, _QUOTE)
    quotes["exch_ts"], quotes["local_ts"] = exch, local
    for name in ("bid_price", "bid_qty", "ask_price", "ask_qty"):
        # An empty side is a null, and not a number here.
        quotes[name] = table[name].to_numpy() if name in table.schema.names else np.nan
    return quotes


def _received(before: Events, today: Events, following: int | None) -> tuple[Events, Events]:
    """What was received until the next day begins, in the order of receipt, and what was received later."""
    rows = np.concatenate([before, today])
    rows = rows[np.argsort(rows["local_ts"], kind="stable")]
    end = len(rows) if following is None else int(np.searchsorted(rows["local_ts"], following))
    return rows[:end], rows[end:]


def _merged(trades: Events, depth: Events, by: str) -> Events:
    """Trades and depth events in one order.

    Of one time, trades come first: the quantity of a level has a trade in it already, and would count it twice.
    """
    both = np.concatenate([trades, depth])
    return both[np.argsort(both[by], kind="stable")]


def _times(partition: Partition, table: pa.Table, offset: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    exch = ints(table["ts_event"].combine_chunks())
    if table.num_rows == 0:
        return exch, exch
    if "ts_recv" not in table.schema.names or table["ts_recv"].null_count:
        raise FormatError(f"{partition.key}: has rows without ts_recv, which hftbacktest needs")
    local = ints(table["ts_recv"].combine_chunks()) + offset
    if unit_of(int(local.min())) != 1 or unit_of(int(local.max())) != 1:
        raise FormatError(f"{partition.key}: has a ts_recv that is no time")
    latency = int((local - exch).min())
    if latency < 0:
        raise FormatError(
            f"{partition.key}: an event was received {-latency} ns before it was, by the clocks of exchange and collector;"
            f" local_offset_ns={-latency} or more moves what the collector's clock says"
        )
    return exch, local


def _trades(partition: Partition, table: pa.Table, exch: Any, local: Any) -> Events:
    names = table.schema.names
    if "price" not in names or "qty" not in names or table["price"].null_count or table["qty"].null_count:
        raise FormatError(f"{partition.key}: has trades without price or quantity")
    events = np.zeros(table.num_rows, EVENT)
    # A day of which no row has a side lacks the column.
    side = table["side"].fill_null(0).to_numpy() if "side" in names else np.zeros(table.num_rows, np.int8)
    events["ev"] = TRADE | np.where(side > 0, BUY, 0) | np.where(side < 0, SELL, 0)
    events["exch_ts"], events["local_ts"] = exch, local
    events["px"], events["qty"] = table["price"].to_numpy(), table["qty"].to_numpy()
    return events


def joined(exchange: Events, receiver: Events) -> Events:
    """Both sequences as one: what is next in both is one event for both."""
    if np.array_equal(exchange, receiver):
        both = exchange.copy()
        both["ev"] |= np.uint64(EXCH | LOCAL)
        return both
    left, right = exchange.tolist(), receiver.tolist()
    rows = []
    i = j = 0
    while i < len(left) and j < len(right):
        one, other = left[i], right[j]
        if one == other:
            rows.append((one[0] | EXCH | LOCAL, *one[1:]))
            i, j = i + 1, j + 1
        elif one[1] <= other[1]:
            rows.append((one[0] | EXCH, *one[1:]))
            i += 1
        else:
            rows.append((other[0] | LOCAL, *other[1:]))
            j += 1
    rows += [(one[0] | EXCH, *one[1:]) for one in left[i:]]
    rows += [(one[0] | LOCAL, *one[1:]) for one in right[j:]]
    return np.array(rows, dtype=EVENT)
