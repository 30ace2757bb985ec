"""The rows of partitions: one schema for days that differ in columns, and times in nanoseconds."""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ._merge import ints
from ._published import Partition, Published
from ._times import TIME_COLUMNS, to_ns, unit_of
from .errors import DamagedError

KEYS = ("ts_event", "seq")
# What a day of older files can lack, and its folder tells.
NAMES = ("exchange", "symbol", "stream")
NS_UTC = pa.timestamp("ns", tz="UTC")

# The columns of docs/format.md, in their order; others follow by name.
_ORDER = (
    *("ts_event", "seq", "sub_seq", "ts_recv", "exchange", "symbol", "stream", "stream_version"),
    *("bid_price", "bid_qty", "ask_price", "ask_qty"),
    *("price", "qty", "average_price", "side", "trade_id", "first_id", "last_id"),
    *("mark_price", "index_price", "funding_rate", "next_funding_ts", "open_interest"),
    *("tick_size", "lot_size", "contract_value", "contract_multiplier", "trading_status"),
)


def unified(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """One schema for all days: a column that some lack is null there, and integers have the widest type of any day."""
    bare = [schema.remove_metadata() for schema in schemas]
    merged = pa.unify_schemas(bare, promote_options="permissive")
    rank = {name: place for place, name in enumerate(_ORDER)}
    return pa.schema(sorted(merged, key=lambda field: (rank.get(field.name, len(rank)), field.name)))


def named(schema: pa.Schema) -> pa.Schema:
    """The schema with the names of the series, which rows get from their folder where the file lacks them."""
    return unified([schema, pa.schema([(name, pa.string()) for name in NAMES])])


def selected(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    """The columns that were asked for, in the order in which they were."""
    if columns is None:
        return schema
    missing = [name for name in columns if name not in schema.names]
    if missing:
        raise KeyError(f"there is no column {', '.join(missing)}; there are {', '.join(schema.names)}")
    return pa.schema([schema.field(name) for name in columns])


def fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch with the columns of `schema`: what it lacks is null, and what has a smaller type is cast."""
    if batch.schema.equals(schema):
        return batch
    columns = []
    for field in schema:
        place = batch.schema.get_field_index(field.name)
        if place < 0:
            columns.append(pa.nulls(batch.num_rows, field.type))
        else:
            column = batch.column(place)
            columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.record_batch(columns, schema=schema)


def with_times(schema: pa.Schema) -> pa.Schema:
    """The schema with the integer times as timestamps."""
    is_time = [field.name in TIME_COLUMNS and pa.types.is_integer(field.type) for field in schema]
    return pa.schema([f.with_type(NS_UTC) if t else f for f, t in zip(schema, is_time, strict=True)])


def in_ns(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch whose integer times are in nanoseconds."""
    for name in TIME_COLUMNS:
        place = batch.schema.get_field_index(name)
        if place < 0 or batch.schema.field(place).type != pa.int64():
            continue
        column = batch.column(place)
        before = ints(column)
        after = to_ns(before)
        if after is before:
            continue
        mask = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
        batch = batch.set_column(place, batch.schema.field(place), pa.array(after, mask=mask))
    return batch


def rows(
    published: Published,
    partitions: Iterable[Partition],
    schema: pa.Schema,
    begin: int | None,
    end: int | None,
    batch_size: int,
) -> Iterator[pa.RecordBatch]:
    """The rows of one series, day after day, with the columns that `schema` and the order need."""
    needed = [*schema.names, *(name for name in KEYS if name not in schema.names)]
    for partition in partitions:
        current, opened = published.open(partition)
        with opened as data:
            file = pq.ParquetFile(data)
            if file.metadata.num_rows != current.rows:
                raise DamagedError(f"{current.key}: has {file.metadata.num_rows} rows, meta.json says {current.rows}")
            there = file.schema_arrow.names
            columns = [name for name in needed if name in there]
            lacking = [name for name in NAMES if name in schema.names and name not in there]
            # Row group by row group, because the reader keeps what it decoded of those that it was given.
            for group in _groups(file, begin, end):
                for raw in file.iter_batches(batch_size=batch_size, row_groups=[group], columns=columns):
                    batch = _within(in_ns(raw), begin, end)
                    for name in lacking:
                        value = pa.scalar(getattr(current, name), pa.string())
                        batch = batch.append_column(name, pa.repeat(value, batch.num_rows))
                    if batch.num_rows:
                        yield batch


def _groups(file: pq.ParquetFile, begin: int | None, end: int | None) -> list[int]:
    """The row groups that can have rows of the range. Statistics of integers are right, and in the file's own unit."""
    everything = list(range(file.metadata.num_row_groups))
    place = file.schema_arrow.get_field_index("ts_event")
    if (begin is None and end is None) or place < 0:
        return everything
    found = []
    for number in everything:
        statistics = file.metadata.row_group(number).column(place).statistics
        if statistics is not None and statistics.has_min_max:
            low, high = (value * (unit_of(value) or 1) for value in (statistics.min, statistics.max))
            if (end is not None and low >= end) or (begin is not None and high < begin):
                continue
        found.append(number)
    return found


def _within(batch: pa.RecordBatch, begin: int | None, end: int | None) -> pa.RecordBatch:
    ts = ints(batch.column("ts_event"))
    low = 0 if begin is None else int(np.searchsorted(ts, begin))
    high = len(ts) if end is None else int(np.searchsorted(ts, end))
    return batch.slice(low, max(high - low, 0))


def days(partitions: Iterable[Partition], begin: int | None, end: int | None) -> list[Partition]:
    """The partitions that can have rows of the range."""
    return [
        partition
        for partition in partitions
        if (begin is None or partition.ts_event_max >= begin) and (end is None or partition.ts_event_min < end)
    ]


def take(batches: list[pa.RecordBatch], order: Any | None) -> pa.RecordBatch:
    """Batches of one schema as one, with its rows in the given order."""
    whole = batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
    return whole if order is None else whole.take(pa.array(order))


def day(value: dt.date) -> str:
    """A day as qlc writes it."""
    return f"{value:%Y%m%d}"
