"""The events of a replay: one named tuple a row. Times are nanoseconds since 1970 UTC."""

import gc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa


class Quote(NamedTuple):
    """Best bid and ask (`bbo`). An empty side of the book is None."""

    ts_event: int
    seq: int
    sub_seq: int | None
    ts_recv: int | None
    exchange: str
    symbol: str
    stream: str
    stream_version: int | None
    bid_price: float | None
    bid_qty: float | None
    ask_price: float | None
    ask_qty: float | None


class Trade(NamedTuple):
    """A trade, or an aggregated one with its first and last number. `side` is 1 where the buyer is the taker, else -1."""

    ts_event: int
    seq: int
    sub_seq: int | None
    ts_recv: int | None
    exchange: str
    symbol: str
    stream: str
    stream_version: int | None
    price: float | None
    qty: float | None
    side: int | None
    trade_id: str | None
    first_id: int | None
    last_id: int | None


class MarkPrice(NamedTuple):
    """A mark price, with the price of the index where the exchange tells it."""

    ts_event: int
    seq: int
    sub_seq: int | None
    ts_recv: int | None
    exchange: str
    symbol: str
    stream: str
    stream_version: int | None
    mark_price: float | None
    index_price: float | None


class Funding(NamedTuple):
    """A funding rate, and when the next one is due."""

    ts_event: int
    seq: int
    sub_seq: int | None
    ts_recv: int | None
    exchange: str
    symbol: str
    stream: str
    stream_version: int | None
    funding_rate: float | None
    next_funding_ts: int | None


class OpenInterest(NamedTuple):
    """The open interest."""

    ts_event: int
    seq: int
    sub_seq: int | None
    ts_recv: int | None
    exchange: str
    symbol: str
    stream: str
    stream_version: int | None
    open_interest: float | None


class Liquidation(NamedTuple):
    """A liquidation. `side` is that of the order that closes the position: 1 buys, -1 sells."""

    ts_event: int
    seq: int
    sub_seq: int | None
    ts_recv: int | None
    exchange: str
    symbol: str
    stream: str
    stream_version: int | None
    price: float | None
    qty: float | None
    average_price: float | None
    side: int | None


class Instrument(NamedTuple):
    """What an exchange says of an instrument."""

    ts_event: int
    seq: int
    sub_seq: int | None
    ts_recv: int | None
    exchange: str
    symbol: str
    stream: str
    stream_version: int | None
    tick_size: float | None
    lot_size: float | None
    contract_value: float | None
    contract_multiplier: float | None
    trading_status: str | None


class Other(NamedTuple):
    """An event of a stream that is none of the above; `values` has its own columns."""

    ts_event: int
    seq: int
    sub_seq: int | None
    ts_recv: int | None
    exchange: str
    symbol: str
    stream: str
    stream_version: int | None
    values: dict[str, Any]


Event = Quote | Trade | MarkPrice | Funding | OpenInterest | Liquidation | Instrument | Other

CLASSES: dict[str, type[Any]] = {
    "bbo": Quote,
    "trade": Trade,
    "mark_price": MarkPrice,
    "funding": Funding,
    "open_interest": OpenInterest,
    "liquidation": Liquidation,
    "instrument": Instrument,
}
COMMON: tuple[str, ...] = Other._fields[:-1]
_CONSTANT = ("exchange", "symbol", "stream")


def columns_of(stream: str) -> list[str] | None:
    """The columns that the events of a stream have; None where they have all."""
    return list(CLASSES[stream]._fields) if stream in CLASSES else None


def events_of(stream: str, batch: pa.RecordBatch) -> list[Event]:
    """The rows of a batch as events."""
    cls = CLASSES.get(stream, Other)
    if cls is Other:
        own = [name for name in batch.schema.names if name not in COMMON]
        dicts = [dict(zip(own, row, strict=True)) for row in zip(*(batch.column(n).to_pylist() for n in own), strict=True)]
        values: list[Iterable[Any]] = [_values(batch, name) for name in COMMON]
        values.append(dicts if own else ({} for _ in range(batch.num_rows)))
    else:
        values = [_values(batch, name) for name in cls._fields]
    # Without the class's own __new__, which is written in Python, a tuple takes half the time; and without the collector,
    # which would look for cycles in tuples that can have none, half of the rest.
    make: Callable[[Iterable[Any]], Any] = partial(tuple.__new__, cls)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return list(map(make, zip(*values, strict=False)))
    finally:
        if was_enabled:
            gc.enable()


def _values(batch: pa.RecordBatch, name: str) -> Iterable[Any]:
    """The values of a column as Python has them; the same for ever where the column is missing or constant."""
    place = batch.schema.get_field_index(name)
    if place < 0:
        return repeat(None)
    column = batch.column(place)
    if column.null_count == len(column):
        return repeat(None)
    if name in _CONSTANT and column.null_count == 0:
        codes = column.dictionary_encode()
        words = codes.dictionary.to_pylist()
        return repeat(words[0]) if len(words) == 1 else map(words.__getitem__, codes.indices.to_numpy().tolist())
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        if column.null_count == 0:
            return column.to_numpy().tolist()  # type: ignore[no-any-return]
        values = column.fill_null(0).to_numpy().tolist()
        for at in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)).tolist():
            values[at] = None
        return values  # type: ignore[no-any-return]
    return column.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]


def in_order(events: list[Event], order: Any | None) -> Iterator[Event]:
    """Events by the numbers of their places."""
    return iter(events) if order is None else map(events.__getitem__, order.tolist())
