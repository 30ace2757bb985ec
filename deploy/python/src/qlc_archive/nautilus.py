"""Catalogs of NautilusTrader, written by NautilusTrader's own classes, so that they are what its version reads.

Needs the package `nautilus_trader` (`pip install qlc-archive[nautilus]`).

| stream | becomes | refused |
| --- | --- | --- |
| `bbo` | `QuoteTick` | a quote with an empty side (`empty="skip"` leaves it out and counts it) |
| `trade` | `TradeTick` | a trade without number, price, or a quantity above zero |
| `mark_price` | `MarkPriceUpdate` | a row without mark price |

Index prices are not written: NautilusTrader 1.221 writes `IndexPriceUpdate` into a catalog and cannot read it back. Other
streams have no class that a catalog holds. `seq`, `sub_seq`, `first_id`, `last_id` and added columns have no place
in these classes and are not written.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ._decimals import exact
from ._merge import ints
from ._published import Partition
from ._times import Instant, unit_of, within
from .errors import FormatError

if TYPE_CHECKING:
    from .archive import Archive, Names

Ints = npt.NDArray[np.int64]

# Objects that are made at a time; each takes some hundred bytes.
_PIECE = 250_000
_PRICES = {"bbo": ("bid_price", "ask_price"), "trade": ("price",), "mark_price": ("mark_price",)}
_SIZES = {"bbo": ("bid_qty", "ask_qty"), "trade": ("qty",), "mark_price": ()}
_LONGEST_TRADE_ID = 36


@dataclass(frozen=True, slots=True)
class Written:
    """What was written of one class and instrument."""

    instrument_id: str
    data_class: str
    events: int
    #: Rows that were left out because a side of the book was empty.
    skipped: int
    price_precision: int
    size_precision: int


def write(
    archive: "Archive",
    catalog: str | os.PathLike[str],
    stream: str = "bbo",
    *,
    symbol: "Names" = None,
    exchange: "Names" = None,
    start: Instant = None,
    end: Instant = None,
    instrument_ids: Mapping[str, str] | None = None,
    instruments: Sequence[Any] = (),
    ts_init: Literal["ts_recv", "ts_event"] = "ts_recv",
    empty: Literal["error", "skip"] = "error",
) -> list[Written]:
    """Writes the rows of a stream into a catalog, which is made where there is none.

    Nothing is written before all rows of a series have been looked at: prices and quantities have the fewest decimals
    that hold all of them exactly. A day of one series is in memory at a time.

    Args:
        archive: the archive.
        catalog: the folder of the catalog.
        stream: `bbo`, `trade` or `mark_price`.
        symbol: only these symbols.
        exchange: only these exchanges.
        start: from this day or instant on.
        end: up to this day, or before this instant.
        instrument_ids: the id of a series by `exchange/symbol`, as in `{"binance/btcusdt": "BTCUSDT-PERP.BINANCE"}`.
            Otherwise it is the exchange's own word for the symbol, a point, and the exchange in capitals.
        instruments: instruments of NautilusTrader, which are written too; their precisions are used.
        ts_init: the column that orders a backtest. By `ts_recv` a strategy learns of an event when the collector did;
            by `ts_event` when the exchange says that it was, and the order is that of the archive.
        empty: what is done with a quote of which a side of the book is empty.

    Raises:
        FormatError: where rows cannot be held as they are, or the catalog has data of this time already.
    """
    if stream not in _PRICES:
        raise FormatError(f"NautilusTrader's catalog has no class for the stream {stream}; it has for {', '.join(_PRICES)}")
    try:
        from nautilus_trader.persistence.catalog import ParquetDataCatalog
    except ImportError as error:
        raise FormatError("NautilusTrader is not installed: pip install 'qlc-archive[nautilus]'") from error
    Path(catalog).mkdir(parents=True, exist_ok=True)
    target = ParquetDataCatalog(str(Path(catalog).absolute()))
    by_series: dict[str, list[Partition]] = {}
    for partition in archive.partitions(stream, symbol=symbol, exchange=exchange, start=start, end=end):
        by_series.setdefault(partition.series, []).append(partition)
    known = {instrument.id.value: instrument for instrument in instruments}
    if instruments:
        target.write_data(list(instruments))
    written: list[Written] = []
    for days in by_series.values():
        one = _Series(archive, target, stream, days, start, end, ts_init, empty)
        name = (instrument_ids or {}).get(f"{days[0].exchange}/{days[0].symbol}")
        done = one.write(name, known)
        if done is not None:
            written.append(done)
    return written


class _Series:
    """One series on its way into a catalog."""

    def __init__(
        self,
        archive: "Archive",
        catalog: Any,
        stream: str,
        days: list[Partition],
        start: Instant,
        end: Instant,
        ts_init: str,
        empty: str,
    ) -> None:
        self._archive, self._catalog, self._stream, self._days = archive, catalog, stream, days
        self._start, self._end, self._ts_init, self._empty = start, end, ts_init, empty
        self._skipped = 0
        self._symbols: set[str] = set()

    def write(self, instrument_id: str | None, instruments: Mapping[str, Any]) -> Written | None:
        from nautilus_trader.model.identifiers import InstrumentId
        from nautilus_trader.model.objects import FIXED_PRECISION

        prices, sizes, count, first, last = self._survey(FIXED_PRECISION)
        if not count:
            return None
        if instrument_id is None:
            if len(self._symbols) != 1:
                raise FormatError(
                    f"{self._name}: its rows name several symbols, {sorted(self._symbols)}; give instrument_ids"
                )
            instrument_id = f"{next(iter(self._symbols))}.{self._days[0].exchange.upper()}"
        instrument = instruments.get(instrument_id)
        if instrument is not None:
            if instrument.price_precision < prices or (sizes is not None and instrument.size_precision < sizes):
                raise FormatError(
                    f"{self._name}: needs {prices} decimals of prices and {sizes} of quantities, the instrument"
                    f" {instrument_id} has {instrument.price_precision} and {instrument.size_precision}"
                )
            prices, sizes = instrument.price_precision, instrument.size_precision
        data_class, make = _maker(self._stream, InstrumentId.from_str(instrument_id), prices, sizes or 0, FIXED_PRECISION)
        for low, high in self._catalog.get_intervals(data_class, instrument_id):
            if low <= last and high >= first:
                raise FormatError(f"{instrument_id}: the catalog has {data_class.__name__} of this time already")
        written = 0
        for table in self._sorted():
            objects = make(table)
            self._catalog.write_data(objects)
            written += len(objects)
        return Written(instrument_id, data_class.__name__, written, self._skipped, prices, sizes or 0)

    @property
    def _name(self) -> str:
        return self._days[0].series

    def _tables(self) -> Iterator[pa.Table]:
        """The rows day by day, without those that are skipped."""
        first = self._days[0]
        for day in self._days:
            begin, stop = within(day.date, self._start, self._end)
            table = self._archive.read(self._stream, symbol=first.symbol, exchange=first.exchange, start=begin, end=stop)
            yield self._whole(table)

    def _whole(self, table: pa.Table) -> pa.Table:
        """The table, after what has nulls where the classes have none was refused or skipped."""
        columns = [*_PRICES[self._stream], *_SIZES[self._stream]]
        if self._stream == "trade":
            columns.append("trade_id")
        missing = np.zeros(table.num_rows, dtype=bool)
        for name in columns:
            if name not in table.schema.names:
                missing[:] = True
            else:
                missing |= table[name].is_null().to_numpy()
        count = int(missing.sum())
        if not count:
            return table
        if self._stream == "bbo" and self._empty == "skip":
            self._skipped += count
            return table.filter(pa.array(~missing))
        what = (
            "quotes with an empty side (empty='skip' leaves them out)" if self._stream == "bbo" else "rows without a value"
        )
        raise FormatError(f"{self._name}: {count} {what}, which a {self._stream} of NautilusTrader cannot be")

    def _survey(self, most: int) -> tuple[int, int | None, int, int, int]:
        """Decimals of prices and quantities, the number of rows, and the first and last ts_init."""
        from nautilus_trader.model.objects import PRICE_MAX, QUANTITY_MAX

        prices, sizes, count = 0, (0 if _SIZES[self._stream] else None), 0
        first, last = np.iinfo(np.int64).max, np.iinfo(np.int64).min
        for table in self._tables():
            if not table.num_rows:
                continue
            prices = self._places(table, _PRICES[self._stream], prices, most, PRICE_MAX)
            if sizes is not None:
                sizes = self._places(table, _SIZES[self._stream], sizes, most, QUANTITY_MAX)
            if self._stream == "trade":
                self._check_trades(table)
            times = self._inits(table)
            first, last = min(first, int(times.min())), max(last, int(times.max()))
            self._symbols.update(table["symbol"].unique().to_pylist())
            count += table.num_rows
        self._skipped = 0
        return prices, sizes, count, first, last

    def _places(self, table: pa.Table, names: Sequence[str], least: int, most: int, largest: float) -> int:
        for name in names:
            if name not in table.schema.names:
                continue
            values = table[name].drop_null().to_numpy()
            _, places = exact(values, most)
            if (places < 0).any():
                raise FormatError(f"{self._name}: {name} has values that {most} decimals do not hold exactly")
            if (np.abs(values) > largest).any():
                raise FormatError(f"{self._name}: {name} has values above {largest}, the largest that NautilusTrader holds")
            least = max(least, int(places.max(initial=0)))
        return least

    def _check_trades(self, table: pa.Table) -> None:
        if (table["qty"].to_numpy() <= 0).any():
            raise FormatError(f"{self._name}: has trades without a quantity above zero")
        if any(len(number) > _LONGEST_TRADE_ID for number in table["trade_id"].to_pylist()):
            raise FormatError(f"{self._name}: has a trade_id of more than {_LONGEST_TRADE_ID} characters")

    def _inits(self, table: pa.Table) -> Ints:
        column = table[self._ts_init] if self._ts_init in table.schema.names else None
        times = None if column is None or column.null_count else ints(column.combine_chunks())
        if times is None or unit_of(int(times.min())) != 1 or unit_of(int(times.max())) != 1:
            raise FormatError(f"{self._name}: has rows without a {self._ts_init}; another ts_init may do")
        return times

    def _sorted(self) -> Iterator[pa.Table]:
        """The rows ascending by ts_init, in pieces between which it changes: a catalog's files must not meet.

        Rows that were received on the next day wait for the rows of that day.
        """
        waiting: pa.Table | None = None
        for table in self._tables():
            if not table.num_rows:
                continue
            if waiting is not None:
                early = self._inits(waiting) < self._inits(table).min()
                if early.any():
                    yield from self._pieces(waiting.filter(pa.array(early)))
                late = waiting.filter(pa.array(~early))
                here = pa.concat_tables([late, table], promote_options="permissive") if late.num_rows else table
            else:
                here = table
            waiting = here.take(pa.array(np.argsort(self._inits(here), kind="stable")))
        if waiting is not None:
            yield from self._pieces(waiting)

    def _pieces(self, table: pa.Table) -> Iterator[pa.Table]:
        times, begin = self._inits(table), 0
        while begin < len(times):
            end = begin + _PIECE
            if end < len(times):
                end = int(np.searchsorted(times, times[end], side="left"))
                if end <= begin:
                    end = int(np.searchsorted(times, times[begin], side="right"))
            piece = table.slice(begin, end - begin)
            yield piece.append_column("ts_init", pa.array(times[begin:end]))
            begin = end


_Make = tuple[type[Any], Callable[[pa.Table], list[Any]]]


def _maker(stream: str, instrument_id: Any, prices: int, sizes: int, fixed: int) -> _Make:
    """The class that a stream becomes, and what makes its objects of a table."""
    from nautilus_trader.model.data import MarkPriceUpdate, QuoteTick, TradeTick
    from nautilus_trader.model.enums import AggressorSide
    from nautilus_trader.model.identifiers import TradeId
    from nautilus_trader.model.objects import Price

    factors = [10 ** (fixed - places) for places in range(fixed + 1)]
    sides = {1: AggressorSide.BUYER, -1: AggressorSide.SELLER}

    def raw(table: pa.Table, name: str) -> list[int]:
        """A column as the integers that NautilusTrader stores; they can exceed 64 bits."""
        mantissas, places = exact(table[name].to_numpy(), fixed)
        return [value * factors[count] for value, count in zip(mantissas.tolist(), places.tolist(), strict=True)]

    def times(table: pa.Table) -> tuple[list[int], list[int]]:
        return table["ts_event"].to_numpy().tolist(), table["ts_init"].to_numpy().tolist()

    def quotes(table: pa.Table) -> list[Any]:
        columns = [raw(table, name) for name in ("bid_price", "ask_price", "bid_qty", "ask_qty")]
        return [
            QuoteTick.from_raw(instrument_id, bid, ask, prices, prices, bid_size, ask_size, sizes, sizes, event, init)
            for bid, ask, bid_size, ask_size, event, init in zip(*columns, *times(table), strict=True)
        ]

    def trades(table: pa.Table) -> list[Any]:
        # A day of which no row has a side lacks the column.
        told: list[Any] = table["side"].to_pylist() if "side" in table.schema.names else [None] * table.num_rows
        takers = [sides.get(side, AggressorSide.NO_AGGRESSOR) for side in told]
        numbers = map(TradeId, table["trade_id"].to_pylist())
        return [
            TradeTick.from_raw(instrument_id, price, prices, size, sizes, taker, number, event, init)
            for price, size, taker, number, event, init in zip(
                raw(table, "price"), raw(table, "qty"), takers, numbers, *times(table), strict=True
            )
        ]

    def marks(table: pa.Table) -> list[Any]:
        return [
            MarkPriceUpdate(instrument_id, Price.from_raw(value, prices), event, init)
            for value, event, init in zip(raw(table, "mark_price"), *times(table), strict=True)
        ]

    return {
        "bbo": (QuoteTick, quotes),
        "trade": (TradeTick, trades),
        "mark_price": (MarkPriceUpdate, marks),
    }[stream]
