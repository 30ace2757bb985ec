#!/usr/bin/env python3
"""Makes spools of odd shapes for tests/rss.py: few rows that become large, many columns, large pages, unsorted texts.

    odd_shapes.py OUT [--scale 1.0]

One folder below OUT for each shape; prints `name rows` for each. Needs numpy and pyarrow.
"""

import argparse
import pathlib

import numpy
import pyarrow as pa
import pyarrow.parquet as pq

SECOND = 10**9
DAY = 1_770_076_800 * SECOND  # 2026-02-03T00:00:00Z
SERIES = "exchange=binance/stream=bbo/symbol=btcusdt"
chance = numpy.random.default_rng(7)


def rows(n, first=0, shuffled=False, **more):
    """n quotes over the day, and more columns."""
    times = DAY + first + numpy.arange(n) * (86_000 * SECOND // max(n, 1))
    order = chance.permutation(n) if shuffled else numpy.arange(n)
    table = {
        "ts_event": pa.array(times[order]),
        "seq": pa.array(numpy.arange(n)[order] + first),
        "ts_recv": pa.array(times[order] + 1000),
        **{name: pa.array([value] * n) for name, value in (("exchange", "BINANCE"), ("symbol", "BTCUSDT"), ("stream", "bbo"))},
        "stream_version": pa.array(numpy.ones(n, numpy.int8)),
        **{name: pa.array(chance.random(n)) for name in ("bid_price", "bid_qty", "ask_price", "ask_qty")},
    }
    return pa.table({**table, **more})


def noise(n, length):
    return pa.array([chance.bytes(length // 2).hex() for _ in range(n)])


def put(out, shape, name, table, **options):
    folder = out / shape / SERIES
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"2026-02-03_{name}.parquet", **options)
    return table.num_rows


def one_long_text(out, scale):
    """A dictionary of one text: the file has some kilobytes, each of its rows a megabyte."""
    n = int(1500 * scale)
    return put(out, "one-long-text", 0, rows(n, text=pa.array(["x" * 10**6] * n)), compression="zstd")


def long_texts(out, scale):
    """Texts of a megabyte that differ, some to a page."""
    n = int(200 * scale)
    return sum(
        put(out, "long-texts", i, rows(n, first=i, text=noise(n, 10**6)), write_batch_size=1, use_dictionary=False)
        for i in range(2)
    )


def large_pages(out, scale):
    """Files that overlap, each with pages of 40 MB."""
    n = int(800 * scale)
    return sum(
        put(out, "large-pages", i, rows(n, first=i, text=noise(n, 50_000)), use_dictionary=False, compression="zstd")
        for i in range(4)
    )


def unsorted_texts(out, scale):
    n = int(250_000 * scale)
    return sum(
        put(out, "unsorted-texts", i, rows(n, first=i, shuffled=True, text=noise(n, 36))) for i in range(4)
    )


def middling_texts(out, scale):
    """Texts of some kilobytes that repeat, in no order."""
    n = int(100_000 * scale)
    texts = numpy.array([f"{i:03}" * 800 for i in range(50)])
    return put(out, "middling-texts", 0, rows(n, shuffled=True, text=pa.array(texts[numpy.arange(n) % 50])))


def many_columns(out, scale):
    n = int(150_000 * scale)
    more = {f"level_{i:03}": pa.array(chance.random(n)) for i in range(40)}
    return sum(put(out, "many-columns", i, rows(n, first=i, **more)) for i in range(2))


def hundreds_of_columns(out, scale):
    """Of each a dictionary and a page: together they are several times the limit."""
    n = int(60_000 * scale)
    return sum(
        put(out, "hundreds-of-columns", i, rows(n, first=i, **{f"level_{c:03}": pa.array(chance.random(n)) for c in range(400)}))
        for i in range(2)
    )


def lists(out, scale):
    n = int(50_000 * scale)
    offsets = pa.array(numpy.arange(n + 1, dtype=numpy.int32) * 100)
    return sum(
        put(out, "lists", i, rows(n, first=i, book=pa.ListArray.from_arrays(offsets, pa.array(chance.random(n * 100)))))
        for i in range(2)
    )


def one_key(out, scale):
    """Rows of one time and number only."""
    n = int(900_000 * scale)
    table = rows(n)
    for place, (name, value) in enumerate((("ts_event", DAY), ("seq", 7))):
        table = table.set_column(place, name, pa.array(numpy.full(n, value)))
    return put(out, "one-key", 0, table)


def unsorted_long_texts(out, scale):
    """Texts of a megabyte that differ, in no order."""
    n = int(600 * scale)
    return put(out, "unsorted-long-texts", 0, rows(n, shuffled=True, text=noise(n, 10**6)), write_batch_size=1, use_dictionary=False)


def one_row_group(out, scale):
    """A row group of a million rows, uncompressed."""
    n = int(1_000_000 * scale)
    return put(out, "one-row-group", 0, rows(n), compression="none", use_dictionary=False, row_group_size=n)


SHAPES = [
    one_long_text,
    long_texts,
    large_pages,
    unsorted_texts,
    middling_texts,
    many_columns,
    hundreds_of_columns,
    lists,
    one_key,
    unsorted_long_texts,
    one_row_group,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of rows")
    args = parser.parse_args()
    for shape in SHAPES:
        print(shape.__name__.replace("_", "-"), shape(args.out, args.scale), flush=True)


if __name__ == "__main__":
    main()
