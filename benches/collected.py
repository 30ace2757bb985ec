#!/usr/bin/env python3
"""Bytes a row of what `qlc collect` really writes, by stream and column, for each binary that is given.

    collected.py QLC [QLC …] [--seconds 120] [--rate 2000] [--keep DIR]

A recording of quotes and trades of one busy symbol of Binance is made (the quotes of `workloads.py`, a trade for every fourth) and
played at its own speed by `qlc replay`; each binary collects it, compacts the day and is asked how large the archive is. What a
row takes depends on the rate, because times take more bits the further they lie apart: compare figures of one run only. With --keep
the first binary only collects, into the folder spool of DIR: what `sizes.py` holds qlc and its peers against.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import workloads


def record(path, seconds, rate):
    """Writes the recording; returns how many frames it has."""
    rows = seconds * rate
    quotes = workloads.bbo(rows, stretches=86_400 // seconds)
    rng = np.random.default_rng(11)
    frames = 0
    with pa.CompressedOutputStream(str(path), "zstd") as out:
        trade, single = 5_900_000_000, 11_800_000_000

        def put(line, at, stream, data):
            text = json.dumps({"stream": f"btcusdt@{stream}", "data": data}, separators=(",", ":"))
            out.write(json.dumps({"line": line, "at": int(at), "text": text}).encode() + b"\n")

        for n in range(rows):
            at, ms = quotes["ts_recv"][n], int(quotes["ts_event"][n]) // 1_000_000
            bid, ask = f"{quotes['bid_price'][n]:.1f}", f"{quotes['ask_price'][n]:.1f}"
            put("binance.public/0", at, "bookTicker", {
                "e": "bookTicker", "u": int(quotes["seq"][n]), "s": "BTCUSDT", "b": bid, "B": f"{quotes['bid_qty'][n]:.3f}",
                "a": ask, "A": f"{quotes['ask_qty'][n]:.3f}", "T": ms, "E": ms})
            frames += 1
            if n % 4 == 0:
                trade, first = trade + 1, single + 1
                single += int(rng.integers(1, 4))
                buyer = bool(rng.integers(0, 2))
                put("binance.market/0", at, "aggTrade", {
                    "e": "aggTrade", "E": ms, "s": "BTCUSDT", "a": trade, "p": bid if buyer else ask,
                    "q": f"{rng.lognormal(-3, 1.5) + 0.001:.3f}", "f": first, "l": single, "T": ms, "m": buyer})
                frames += 1
    return frames


def taken(folder):
    """Rows in the sealed files of a spool."""
    return sum(pq.read_metadata(file).num_rows for file in pathlib.Path(folder).glob("exchange=*/**/*.parquet"))


def collect(qlc, recording, frames, root):
    """Has a binary collect the recording; returns its command line with both stores, and its environment."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("QLC_")}
    env["QLC_SPILL_DIR"] = str(root / "tmp")
    base = [qlc, "--spool", str(root / "spool"), "--archive", str(root / "archive")]
    server = subprocess.Popen([qlc, "replay", str(recording), "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True, env=env)
    endpoints = []
    while len(endpoints) < 2:
        endpoints += re.findall(r"\S+=ws://\S+", server.stdout.readline())
    flags = [flag for endpoint in endpoints for flag in ("--endpoint", endpoint)]
    wanted = ["--exchange", "binance", "--symbol", "btcusdt", "--stream", "bbo,trade", "--rotate-after", "5s"]
    collector = subprocess.Popen([*base, "collect", *wanted, *flags], env=env, stderr=subprocess.DEVNULL)
    # The last file is not sealed before the end, so half a minute without a new one is the end of the recording.
    rows, since = 0, time.monotonic()
    while rows < frames and time.monotonic() - since < 30:
        time.sleep(1)
        if (now := taken(root / "spool")) > rows:
            rows, since = now, time.monotonic()
    for process in (collector, server):
        process.send_signal(signal.SIGTERM)
    if collector.wait() != 0 or taken(root / "spool") != frames:
        raise SystemExit(f"{qlc} collected {taken(root / 'spool')} of {frames} events")
    server.wait()
    return base, env


def compact(base, env, root):
    """Compacts what was collected; returns the bytes of each column of each stream, and the rows."""
    subprocess.run([*base, "compact", "--mode", "backfill", "--start", "20260203", "--end", "20260203"], env=env, check=True,
                   stdout=subprocess.DEVNULL)
    found = {}
    for file in sorted((root / "archive").glob("exchange=*/**/data.parquet")):
        stream = re.search(r"stream=([^/]+)", str(file))[1]
        meta = pq.read_metadata(file)
        columns = {}
        for group in range(meta.num_row_groups):
            for place in range(meta.num_columns):
                column = meta.row_group(group).column(place)
                columns[column.path_in_schema] = columns.get(column.path_in_schema, 0) + column.total_compressed_size
        found[stream] = (meta.num_rows, file.stat().st_size, columns)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", nargs="+")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--keep", type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        recording = work / "day.ndjson.zst"
        frames = record(recording, options.seconds, options.rate)
        if options.keep:
            collect(options.qlc[0], recording, frames, options.keep)
            return
        for nth, qlc in enumerate(options.qlc):
            root = work / str(nth)
            for stream, (rows, size, columns) in compact(*collect(qlc, recording, frames, root), root).items():
                largest = sorted(columns.items(), key=lambda one: -one[1])
                parts = ", ".join(f"{name} {size / rows:.2f}" for name, size in largest if size / rows >= 0.005)
                print(f"{qlc} {stream}: {size / rows:.2f} bytes a row of {rows} ({parts})", flush=True)


if __name__ == "__main__":
    main()
