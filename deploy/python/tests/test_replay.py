"""A replay has every event once, in order, with little in memory."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DAY, Small, quotes

from qlc_archive import Archive, Quote, Trade
from qlc_archive._merge import merge

STREAMS = ["trade", "bbo", "mark_price", "funding", "open_interest"]


def test_replay_has_every_event_of_the_archive_in_order(archive: Archive, demo: Path) -> None:
    events = list(archive.replay(STREAMS))
    assert len(events) == sum(partition.rows for partition in archive.partitions())
    assert all((a.ts_event, a.seq) <= (b.ts_event, b.seq) for a, b in itertools.pairwise(events))
    [file] = (demo / "archive").glob("exchange=binance/stream=trade/symbol=btcusdt/date=*/data.parquet")
    rows = pq.read_table(file, partitioning=None).to_pylist()
    mine = [event for event in events if (event.exchange, event.stream, event.symbol) == ("binance", "trade", "BTCUSDT")]
    assert [event._asdict() for event in mine] == [{**dict.fromkeys(Trade._fields), **row} for row in rows]


def test_replay_starts_and_ends_where_it_is_told(archive: Archive) -> None:
    day = archive.partitions()[0].date
    start, end = f"{day}T10:00:00Z", f"{day}T10:05:00Z"
    events = list(archive.replay("bbo", "btcusdt", start, end, exchange="binance"))
    assert events and all(type(event) is Quote for event in events)
    assert len(events) == archive.read("bbo", symbol="btcusdt", exchange="binance", start=start, end=end).num_rows


def test_equal_keys_come_in_the_order_of_the_streams_and_nulls_are_none(small: Small) -> None:
    small.put("binance/bbo/btcusdt", "20260203", quotes([DAY, DAY], seq=[1, 1], bid_price=pa.array([None, 2.0])))
    small.put("binance/odd/btcusdt", "20260203", {"ts_event": [DAY, DAY], "seq": [1, 1], "word": ["a", None]})
    events = list(small.open().replay(["odd", "bbo"]))
    assert [event.stream for event in events] == ["odd", "odd", "bbo", "bbo"]
    assert [event.values for event in events[:2]] == [{"word": "a"}, {"word": None}]  # type: ignore[union-attr]
    assert [event.bid_price for event in events[2:]] == [None, 2.0]  # type: ignore[union-attr]


def batches(rows: list[tuple[int, int, int]], cut: random.Random) -> Iterator[pa.RecordBatch]:
    at = 0
    while at < len(rows):
        size = cut.randint(0, 5)
        ts, seq, tag = zip(*rows[at : at + size], strict=True) if size else ([], [], [])
        arrays: list[Any] = [pa.array(values, pa.int64()) for values in (ts, seq, tag)]
        yield pa.record_batch(arrays, names=["ts_event", "seq", "tag"])
        at += size


@pytest.mark.parametrize("seed", range(200))
def test_a_merge_is_a_stable_sort_of_all_rows(seed: int) -> None:
    chance = random.Random(seed)
    spread = chance.choice([2, 10, 1000])
    sources = []
    for number in range(chance.randint(1, 6)):
        keys = sorted((chance.randrange(spread), chance.randrange(3)) for _ in range(chance.randint(0, 40)))
        sources.append([(ts, seq, number * 1000 + at) for at, (ts, seq) in enumerate(keys)])
    want = sorted(itertools.chain(*sources), key=lambda row: row[:2])
    got: list[tuple[int, int, int]] = []
    for chunk in merge([(str(number), batches(rows, chance)) for number, rows in enumerate(sources)]):
        rows = [tuple(row.values()) for _, batch in chunk.slices for row in batch.to_pylist()]
        got += rows if chunk.order is None else [rows[at] for at in chunk.order]
    assert got == want


def test_a_replay_holds_batches_and_not_days(small: Small) -> None:
    rows = 600_000
    for symbol in ("btcusdt", "ethusdt"):
        small.put(f"binance/bbo/{symbol}", "20260203", quotes([DAY + i * 1000 for i in range(rows)]), row_group=50_000)
    archive = small.open()
    whole = archive.read("bbo").nbytes
    before, most, count = pa.total_allocated_bytes(), 0, 0
    for count, _ in enumerate(archive.replay("bbo"), 1):
        if count % 10_000 == 0:
            most = max(most, pa.total_allocated_bytes() - before)
    assert count == 2 * rows
    assert most < whole / 5, f"{most} bytes of {whole}"
