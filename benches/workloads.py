#!/usr/bin/env python3
"""Makes the spools that the benchmarks and the memory check run on: one synthetic day of bbo in many small files.

    clean     files follow each other, as a collector writes them on a quiet day
    overlap   every file shares its last and first seconds with its neighbours
    hostile   every file spans the whole day
    unsorted  files follow each other, but their rows are shuffled and no order is declared
    fleet     many symbols, each with rows and files as given, whose files follow each other

The first four hold the same rows. The same arguments give the same rows on every machine. Nothing here is timed.
"""

import argparse
import datetime as dt
import pathlib
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

KINDS = ("clean", "overlap", "hostile", "unsorted", "fleet")
# Rows that are in memory at a time: a day of more is made in stretches of equal length, one after the other.
STRETCH_ROWS = 10_000_000
DAY_NS = 86_400_000_000_000
# Paths spell a symbol in lower case, the column as the exchange does.
CONSTANTS = {"exchange": "binance", "stream": "bbo", "symbol": "BTCUSDT"}


def series_dir(spool, exchange="binance", stream="bbo", symbol="btcusdt"):
    """The folder of a series below `spool`, in the collector's layout."""
    return pathlib.Path(spool) / f"exchange={exchange}" / f"stream={stream}" / f"symbol={symbol}"


def day_start_ns(date):
    """The first nanosecond of `date` (YYYYMMDD, UTC)."""
    day = dt.datetime.strptime(date, "%Y%m%d").replace(tzinfo=dt.timezone.utc)
    return int(day.timestamp()) * 1_000_000_000


def bbo(rows, date="20260203", seed=7, stretch=0, stretches=1):
    """`rows` quotes of a day, or of one stretch of it, in the order (ts_event, seq), as a dict of NumPy arrays."""
    rng = np.random.default_rng(seed + 1000 * stretch)
    length = DAY_NS // stretches
    start = day_start_ns(date) + stretch * length
    # Poisson arrivals, told by the exchange to the millisecond, so that many neighbours share a ts_event.
    gaps = rng.exponential(1.0, rows)
    instants = np.cumsum(gaps)
    instants *= (length - 2_000_000) / instants[-1]
    ts_event = start + (instants.astype(np.int64) // 1_000_000) * 1_000_000
    # The recorder's clock counts microseconds.
    ts_recv = ts_event + rng.integers(300, 4_000, rows) * 1_000
    np.maximum.accumulate(ts_recv, out=ts_recv)
    # The exchange's update ids ascend with holes.
    seq = 90_000_000_000 + stretch * 12 * STRETCH_ROWS + np.cumsum(rng.integers(1, 12, rows))
    # Prices stand still most of the time and move by a few ticks of 0.1.
    moves = np.where(rng.random(rows) < 0.12, rng.integers(-6, 7, rows), 0)
    bid_ticks = 1_002_500 + np.cumsum(moves)
    spread = np.where(rng.random(rows) < 0.92, 1, rng.integers(2, 15, rows))
    # Quantities have three decimals and a long tail; one side often stays while the other changes.
    def quantities():
        fresh = np.minimum(np.round(rng.lognormal(0.3, 1.6, rows) * 1000), 5_000_000).astype(np.int64) + 1
        changed = rng.random(rows) < 0.55
        changed[0] = True
        return fresh[np.maximum.accumulate(np.where(changed, np.arange(rows), 0))] / 1000.0

    return {
        "ts_event": ts_event,
        "seq": seq,
        "ts_recv": ts_recv,
        "bid_price": bid_ticks / 10.0,
        "bid_qty": quantities(),
        "ask_price": (bid_ticks + spread) / 10.0,
        "ask_qty": quantities(),
    }


def assign(rows, files, kind, seed=7):
    """For each file, the indices of its rows, in the order in which the file holds them."""
    rng = np.random.default_rng(seed + 1)
    if kind == "hostile":
        return [np.arange(n, rows, files) for n in range(files)]
    owner = np.arange(rows, dtype=np.int64) * files // rows
    if kind == "overlap":
        # Rows within a tenth of a file of a boundary go to either side of it.
        position = (np.arange(rows) * files / rows) + rng.uniform(-0.1, 0.1, rows)
        owner = np.clip(position.astype(np.int64), 0, files - 1)
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(files + 1))
    chunks = [order[bounds[n] : bounds[n + 1]] for n in range(files)]
    if kind == "unsorted":
        chunks = [rng.permutation(chunk) for chunk in chunks]
    return chunks


def table(columns, index, constants=None):
    """The rows at `index` with the canonical columns in their order."""
    constants = constants or CONSTANTS
    n = len(index)

    def constant(text):
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text])).cast(pa.string())

    arrays = {name: pa.array(columns[name][index]) for name in ("ts_event", "seq", "ts_recv")}
    for name in ("exchange", "symbol", "stream"):
        arrays[name] = constant(constants[name])
    arrays["stream_version"] = pa.array(np.ones(n, np.int8))
    for name in ("bid_price", "bid_qty", "ask_price", "ask_qty"):
        arrays[name] = pa.array(columns[name][index])
    return pa.table(arrays)


def write(spool, kind, rows, files, date="20260203", seed=7, declare=True, symbol="BTCUSDT"):
    """Writes the workload below `spool`; returns (files, rows, bytes)."""
    folder = series_dir(spool, symbol=symbol.lower())
    folder.mkdir(parents=True, exist_ok=True)
    constants = CONSTANTS | {"symbol": symbol}
    day = dt.datetime.strptime(date, "%Y%m%d")
    # The collector declares the order of what it writes; a file whose rows are shuffled must not.
    declared = [pq.SortingColumn(0), pq.SortingColumn(1)] if declare and kind != "unsorted" else None
    stretches = -(-rows // STRETCH_ROWS)
    size = written = 0
    writers = {}
    for stretch in range(stretches):
        here = rows * (stretch + 1) // stretches - rows * stretch // stretches
        columns = bbo(here, date, seed, stretch, stretches)
        # Hostile files have rows of every stretch, the others are of one.
        first, end = (0, files) if kind == "hostile" else (files * stretch // stretches, files * (stretch + 1) // stretches)
        for n, index in enumerate(assign(here, end - first, kind, seed), first):
            instant = day + dt.timedelta(seconds=n * 86_400 // files)
            path = folder / f"{instant:%Y-%m-%d_%H-%M-%S}.parquet"
            rows_of_file = table(columns, index, constants)
            if n not in writers:
                writers[n] = pq.ParquetWriter(path, rows_of_file.schema, compression="snappy", sorting_columns=declared)
            writers[n].write_table(rows_of_file)
            written += len(index)
            if kind != "hostile" or stretch + 1 == stretches:
                writers.pop(n).close()
                size += path.stat().st_size
    assert written == rows and not writers, "a workload must hold every row once, in files that are complete"
    return files, rows, size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="folder in which a spool for each kind is made")
    parser.add_argument("--kinds", default=",".join(KINDS[:4]), help="which, separated by commas")
    parser.add_argument("--rows", type=int, default=10_000_000, help="of each symbol")
    parser.add_argument("--files", type=int, default=480, help="of each symbol")
    parser.add_argument("--symbols", type=int, default=300, help="of a fleet; the others have one")
    parser.add_argument("--date", default="20260203")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--undeclared", action="store_true", help="declare no order in any file, as older collectors did")
    args = parser.parse_args()
    for kind in args.kinds.split(","):
        if kind not in KINDS:
            parser.error(f"{kind!r} is no kind of workload: choose from {', '.join(KINDS)}")
        began = time.monotonic()
        spool = pathlib.Path(args.out) / kind
        symbols = [f"S{n:03}USDT" for n in range(args.symbols)] if kind == "fleet" else ["BTCUSDT"]
        made = [
            write(spool, kind, args.rows, args.files, args.date, args.seed + n, not args.undeclared, symbol)
            for n, symbol in enumerate(symbols)
        ]
        files, rows, size = (sum(parts) for parts in zip(*made))
        print(f"{spool}: {files} files, {rows} rows, {size / 1e6:.0f} MB in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
