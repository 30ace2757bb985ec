"""Measures a day's replay: two symbols with quotes and trades, 5 million rows, in a temporary folder.

    bench.py [ROWS]

Prints rows a second of `batches` and events a second of `replay`, the best of three, and the most memory that Arrow held.
"""

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from qlc_archive import Archive

DAY = 1_770_076_800_000_000_000
DAY_NS = 86_400_000_000_000


def put(root: Path, stream: str, symbol: str, rows: int, seed: int) -> None:
    """Publishes a day of random rows, encoded as qlc encodes them."""
    chance = np.random.default_rng(seed)
    ts = np.sort(DAY + chance.integers(0, DAY_NS, rows))
    prices = np.round(90_000 + np.cumsum(chance.integers(-1, 2, rows)) / 10, 1)
    sizes = chance.integers(1, 5000, rows) / 1000
    own = (
        {"bid_price": prices, "bid_qty": sizes, "ask_price": np.round(prices + 0.1, 1), "ask_qty": sizes[::-1]}
        if stream == "bbo"
        else {
            "price": prices,
            "qty": sizes,
            "side": chance.choice(np.array([-1, 1], np.int8), rows),
            "trade_id": np.arange(rows).astype(str),
        }
    )
    table = pa.table(
        {
            "ts_event": ts,
            "seq": np.arange(rows),
            "ts_recv": ts + 1_000_000,
            "exchange": ["binance"] * rows,
            "symbol": [symbol.upper()] * rows,
            "stream": [stream] * rows,
            "stream_version": np.ones(rows, np.int8),
            **own,
        }
    )
    folder = root / f"exchange=binance/stream={stream}/symbol={symbol}/date=20260203"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "data.parquet", row_group_size=262_144, compression="zstd", store_schema=False)
    meta = {
        "row_count": rows,
        "schema_version": "v1",
        "ts_event_min": str(ts[0]),
        "ts_event_max": str(ts[-1]),
        "sha256": hashlib.sha256((folder / "data.parquet").read_bytes()).hexdigest(),
        "created_at": "2026-02-04T01:00:00Z",
        "source_files": 1,
    }
    (folder / "meta.json").write_text(json.dumps(meta))


def best(what: str, run: Callable[[], int]) -> None:
    """Prints the best of three runs."""
    took, busy, count = 1e9, 1e9, 0
    for _ in range(3):
        began, began_cpu = time.perf_counter(), time.process_time()
        count = run()
        took = min(took, time.perf_counter() - began)
        busy = min(busy, time.process_time() - began_cpu)
    print(f"{what}: {count:,} rows in {took:.2f} s ({busy:.2f} s of CPU), {count / took / 1e6:.2f} million a second")


def main() -> None:
    """Makes the sample and measures."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    with tempfile.TemporaryDirectory(prefix="qlc-archive-bench-") as folder:
        root = Path(folder, "archive")
        for seed, (stream, symbol, share) in enumerate(
            [("bbo", "btcusdt", 0.5), ("bbo", "ethusdt", 0.3), ("trade", "btcusdt", 0.12), ("trade", "ethusdt", 0.08)]
        ):
            put(root, stream, symbol, int(rows * share), seed)
        archive = Archive(root, cache=Path(folder, "cache"))
        archive.partitions(check=True)
        streams = ["trade", "bbo"]
        best("batches of one series", lambda: sum(b.num_rows for b in archive.batches("bbo", symbol="btcusdt")))
        best("batches of four series", lambda: sum(b.num_rows for b in archive.batches(streams)))
        best("replay of four series", lambda: sum(1 for _ in archive.replay(streams)))
        before, most = pa.total_allocated_bytes(), 0
        for count, _ in enumerate(archive.replay(streams)):
            if count % 50_000 == 0:
                most = max(most, pa.total_allocated_bytes() - before)
        print(f"a replay held {most / 1e6:.0f} MB of Arrow at most")


if __name__ == "__main__":
    main()
