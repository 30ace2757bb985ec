#!/usr/bin/env python3
"""Replays a day of an archive: the events of several series, merged in the order (ts_event, seq).

    replay.py ARCHIVE DATE EXCHANGE/STREAM/SYMBOL…

Prints an event a line, as JSON. Needs pyarrow. Holds a row group of each series in memory, not a day. Refuses data that
is not the one that its meta.json names: it is being replaced, or damaged.
"""

import hashlib
import heapq
import json
import pathlib
import sys

import pyarrow.parquet as pq


def published(folder):
    """The data of a partition, if its meta.json stands and agrees with it."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
    except FileNotFoundError:
        raise SystemExit(f"{folder}: is no day of the archive; name the series as its folders do") from None
    data = folder / "data.parquet"
    with open(data, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != meta["sha256"]:
        raise SystemExit(f"{data}: is being replaced or damaged; try again, then ask qlc verify")
    return data


def partition(data):
    """The rows of one data file, in its order, which is (ts_event, seq)."""
    for batch in pq.ParquetFile(data).iter_batches():
        yield from batch.to_pylist()


def events(archive, date, series):
    """The events of `series`, such as binance/bbo/btcusdt, on `date`, such as 20260203 or 2026-02-03."""
    files = []
    date = date.replace("-", "")
    for one in series:
        exchange, stream, symbol = one.split("/")
        folder = pathlib.Path(archive, f"exchange={exchange}", f"stream={stream}", f"symbol={symbol}", f"date={date}")
        files.append(published(folder))
    # Of events with the same time and number, those of the series that was named first come first.
    return heapq.merge(*map(partition, files), key=lambda event: (event["ts_event"], event["seq"]))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        for event in events(sys.argv[1], sys.argv[2], sys.argv[3:]):
            print(json.dumps(event))
    except BrokenPipeError:
        # Whoever reads has seen enough; without this, Python would complain once more at its end.
        sys.stdout = None
