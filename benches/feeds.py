#!/usr/bin/env python3
"""Quotes from a loopback socket: `qlc collect`, a bare loop and cryptofeed in turn on the same frames.

    feeds.py QLC BARE_LOOP [--frames 1000000] [--peer-frames 200000] [--rounds 3] [--python VENV/bin/python] [--json FILE]

- *qlc collect* decodes, batches, keeps a journal, sorts, seals Parquet, syncs it and reads it back.
- *bare loop* (`benches/bare_loop.rs`; the executable of `cargo bench --no-run`) reads with tungstenite and parses each
  frame with serde_json into a typed value. It keeps nothing: the floor.
- *cryptofeed* is its own Binance futures class, with its endpoint and its list of symbols replaced; its callback only
  counts. It writes no files. It gets fewer frames, because it is slower.

What is compared is events per second of CPU (user and system, as the kernel counted for the process, start and end
included) and the peak resident set. Each run is a process of its own; this one imports the standard library only. No
TLS. Compare ratios of one run, never figures of two machines.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import mock

CRYPTOFEED = """
import os, sys
from cryptofeed import FeedHandler, connection
from cryptofeed.connection import WebsocketEndpoint
from cryptofeed.defines import TICKER
from cryptofeed.exchanges import BinanceFutures
from cryptofeed.symbols import Symbols

port, wanted, seen = sys.argv[1], int(sys.argv[2]), 0
dial = connection.connect
connection.connect = lambda address, **options: dial(address.replace("wss:", "ws:"), **options)
Symbols.set(BinanceFutures.id, {"BTC-USDT-PERP": "BTCUSDT"}, {"instrument_type": {"BTC-USDT-PERP": "perpetual"}, "tick_size": {}})

class Local(BinanceFutures):
    websocket_endpoints = [WebsocketEndpoint(f"wss://127.0.0.1:{port}", options={"compression": None})]
    rest_endpoints = []

async def count(ticker, received):
    global seen
    seen += 1
    if seen == wanted:
        print(seen, flush=True)
        os._exit(0)

handler = FeedHandler(config={"log": {"filename": os.devnull, "level": "WARNING"}, "uvloop": True})
import asyncio
asyncio.set_event_loop(asyncio.new_event_loop())
handler.add_feed(Local(symbols=["BTC-USDT-PERP"], channels=[TICKER], callbacks={TICKER: count}))
handler.run()
"""


def measured(command, frames):
    """What the kernel counted for a run, or the end of everything if it fails."""
    with tempfile.TemporaryFile() as log:
        began = time.monotonic()
        child = subprocess.Popen([str(part) for part in command], stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        log.seek(0)
        text = log.read().decode(errors="replace")
        if status != 0 or str(frames) not in text.replace(",", ""):
            sys.exit(f"feeds: {command[0]} ended with {os.waitstatus_to_exitcode(status)}\n{text[-4000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    return {"per_cpu_second": frames / cpu, "per_second": frames / wall, "peak_rss": usage.ru_maxrss * 1024}


def play(frames, ready):
    at_ms = time.time_ns() // 1_000_000
    mock.blast([mock.frame(mock.fill(mock.QUOTE, "btcusdt", n, at_ms + n // 100)) for n in range(1, frames + 1)], ready)


def server(frames):
    ready, tell = multiprocessing.Pipe(False)
    multiprocessing.Process(target=play, args=(frames, tell), daemon=True).start()
    return ready.recv()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=pathlib.Path, help="the binary")
    parser.add_argument("bare", type=pathlib.Path, help="the executable of benches/bare_loop.rs")
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--peer-frames", type=int, default=200_000, help="for cryptofeed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", type=pathlib.Path, help="a Python (3.13 or newer) with benches/requirements-feeds.txt; without it no cryptofeed")
    parser.add_argument("--work", help="folder for the spool; a temporary one otherwise")
    parser.add_argument("--json", type=pathlib.Path, help="where the figures go")
    args = parser.parse_args()
    port, peer_port = server(args.frames), server(args.peer_frames) if args.python else None
    runs = {"bare loop": [], "qlc collect": [], "cryptofeed": []}
    for _ in range(args.rounds):
        url = f"ws://127.0.0.1:{port}/binance.public"
        runs["bare loop"].append(measured([args.bare.resolve(), url, args.frames], args.frames))
        with tempfile.TemporaryDirectory(prefix="qlc-feeds-", dir=args.work) as spool:
            command = [args.qlc.resolve(), "--spool", spool, "collect", "--exchange", "binance", "--symbol", "btcusdt"]
            command += ["--stream", "bbo", "--max-events", args.frames, "--endpoint", f"binance.public={url}"]
            runs["qlc collect"].append(measured(command, args.frames))
        if args.python:
            runs["cryptofeed"].append(measured([args.python, "-c", CRYPTOFEED, peer_port, args.peer_frames], args.peer_frames))
    middle = {name: {key: statistics.median(run[key] for run in of) for key in of[0]} for name, of in runs.items() if of}
    floor = middle["bare loop"]["per_cpu_second"]
    print(f"{'':<12} {'events per CPU second':>22} {'of the floor':>13} {'events a second':>16} {'peak RSS':>10}")
    for name, of in middle.items():
        print(f"{name:<12} {of['per_cpu_second']:>22,.0f} {of['per_cpu_second'] / floor:>12.2f}x {of['per_second']:>16,.0f} "
              f"{of['peak_rss'] / 1e6:>7.0f} MB")
    if args.json:
        args.json.write_text(json.dumps({"frames": args.frames, "runs": runs}) + "\n")


if __name__ == "__main__":
    main()
