#!/usr/bin/env python3
"""Checks qlc's archive with other people's Parquet: pyarrow writes spools, pyarrow and DuckDB read what became of them.

    peers.py QLC [--demo-archive DIR]

Says what was checked, one line each; ends with the first thing that is wrong and exit code 1. Knows of qlc only its
command line and its documented formats.
"""

import argparse
import datetime as dt
import hashlib
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import rowhash
from checks import Wrong, check

DAY_MS = 86_400_000
START_MS = int(dt.datetime(2026, 2, 3, tzinfo=dt.timezone.utc).timestamp()) * 1000
META_KEYS = ["row_count", "schema_version", "ts_event_min", "ts_event_max", "sha256", "created_at", "source_files"]
COMMON = ["ts_event", "seq", "ts_recv", "exchange", "symbol", "stream", "stream_version"]
OWN = {"bbo": ["bid_price", "bid_qty", "ask_price", "ask_qty"], "trade": ["price", "qty", "side", "trade_id"]}


def run(qlc, *args, code=0):
    """Runs qlc; anything but the expected exit code is wrong."""
    command = [str(qlc), *map(str, args)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    said = f"{' '.join(command)}\nended with {ran.returncode} instead of {code}\n{ran.stdout}{ran.stderr}"
    check(ran.returncode == code, said)
    return ran.stdout


# --- spools, as older collectors wrote them ------------------------------------------------------------------------


def older(stream, exchange, symbol, times_ms, rng):
    """A table without `seq`, times in milliseconds, strings as dictionaries; no two rows are alike."""
    n = len(times_ms)

    def repeated(text):
        return pa.array([text] * n).dictionary_encode()

    columns = {
        "ts_event": pa.array(times_ms, pa.int64()),
        "ts_recv": pa.array([t + rng.randrange(1, 9) for t in times_ms], pa.int64()),
        "exchange": repeated(exchange),
        "symbol": repeated(symbol.upper()),
        "stream": repeated(stream),
        "stream_version": pa.array([1] * n, pa.int8()),
    }

    def price():
        return round(rng.uniform(90_000, 92_000), 1)

    def qty():
        return rng.randrange(1, 50_000) / 1000

    if stream == "bbo":
        bids = [price() for _ in range(n)]
        columns |= {
            "bid_price": bids,
            "bid_qty": [qty() for _ in range(n)],
            "ask_price": [round(bid + 0.1, 1) for bid in bids],
            "ask_qty": [qty() for _ in range(n)],
        }
    elif stream == "trade":
        columns |= {
            "price": [price() for _ in range(n)],
            "qty": [qty() for _ in range(n)],
            "side": pa.array([rng.choice([1, -1]) for _ in range(n)], pa.int8()),
            "trade_id": [str(rng.randrange(10**9, 10**10)) for _ in range(n)],
        }
    elif stream == "auction":
        # A stream that qlc does not know, with what its types may be; not in the order of their names.
        columns |= {
            "venue_order": pa.array([rng.choice(["market", "limit", None]) for _ in range(n)]).dictionary_encode(),
            "forced": pa.array([rng.random() < 0.5 for _ in range(n)]),
            "filled_at": pa.array([(t + 5) * 1000 for t in times_ms], pa.timestamp("us")),
            "qty": [qty() for _ in range(n)],
            "avg_price": pa.array([None if rng.random() < 0.2 else price() for _ in range(n)], pa.float64()),
            "attempts": pa.array([rng.randrange(-5, 5) for _ in range(n)], pa.int32()),
            "expires": pa.array([dt.date(2026, 2, rng.randrange(1, 28)) for _ in range(n)], pa.date32()),
        }
    elif stream == "depth5":
        columns |= {
            "bids": pa.array([[price() for _ in range(rng.randrange(0, 5))] for _ in range(n)], pa.list_(pa.float64())),
            "asks": pa.array([[price()] if rng.random() < 0.9 else None for _ in range(n)], pa.list_(pa.float64())),
        }
    return pa.table(columns)


def times(rng, n, first, last, dense):
    """Unsorted, and dense enough from `dense` on that many rows share a millisecond, also with those of other files."""
    return [rng.randrange(first, last) if rng.random() < 0.7 else dense + rng.randrange(0, 40) for _ in range(n)]


def older_spool(spool):
    """Writes the spool; returns {(exchange, stream, symbol): [(file name, table)]}."""
    rng = random.Random(20260203)
    written = {}
    plan = [
        # stream, exchange, symbol, dated layout
        ("bbo", "binance", "btcusdt", False),
        ("trade", "okx", "ethusdt", True),
        ("auction", "bybit", "btcusdt", False),
        ("depth5", "bybit", "ethusdt", False),
    ]
    for stream, exchange, symbol, dated in plan:
        files = []
        for n in range(5):
            first = START_MS + n * DAY_MS // 5
            # Neighbours overlap by half their length; the last file of a flat folder reaches into the next day.
            last = min(first + DAY_MS * 3 // 10, START_MS + DAY_MS) if dated else first + DAY_MS * 3 // 10
            dense = START_MS + (n + 1) // 2 * 2 * DAY_MS // 5
            table = older(stream, exchange, symbol, times(rng, 700, first, last, min(dense, last - 40)), rng)
            name = f"part-{n:05}.parquet"
            if not dated:
                name = dt.datetime.fromtimestamp(first / 1000, dt.timezone.utc).strftime("%Y-%m-%d_%H-%M-%S.parquet")
            files.append((name, table))
            folder = spool / f"exchange={exchange}" / f"stream={stream}" / f"symbol={symbol}"
            folder = folder / "date=20260203" if dated else folder
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, folder / name, compression="snappy")
        (folder / "unfinished.parquet.tmp").write_bytes(b"PAR1")
        written[exchange, stream, symbol] = files
    return written


# --- what must have become of them ---------------------------------------------------------------------------------


def plain(table):
    """Dictionaries as their values, large strings as strings: the types that the archive has."""
    for n, field in enumerate(table.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_large_string(kind) or kind == pa.string_view():
            kind = pa.string()
        if pa.types.is_list(kind):
            # Everyone names the field of the elements differently.
            kind = pa.list_(kind.value_type)
        if kind != field.type:
            table = table.set_column(n, field.name, table.column(n).cast(kind))
    return table.replace_schema_metadata(None)


def expected(stream, files, day):
    """The rows of `day` (0 is the first) with the numbers that they must have, in the archive's column order."""
    first = START_MS + day * DAY_MS
    rows = []
    for name, table in sorted(files, key=lambda f: f[0]):
        table = plain(table)
        table = table.append_column("name", pa.array([name] * len(table)))
        table = table.append_column("row", pa.array(range(len(table)), pa.int64()))
        inside = pc.and_(pc.greater_equal(table["ts_event"], first), pc.less(table["ts_event"], first + DAY_MS))
        rows.append(table.filter(inside))
    sources = sum(1 for part in rows if len(part))
    table = pa.concat_tables(rows).sort_by([("ts_event", "ascending"), ("name", "ascending"), ("row", "ascending")])
    table = table.append_column("seq", pa.array(range(len(table)), pa.int64()))
    own = OWN.get(stream, [])
    added = sorted(set(table.column_names) - set(COMMON) - set(own) - {"name", "row"})
    return table.select(COMMON + own + added).combine_chunks(), sources


def same(left, right, what):
    """Fails where two tables differ, and says where."""
    check(left.column_names == right.column_names, f"{what}: columns {left.column_names}, not {right.column_names}")
    check(len(left) == len(right), f"{what}: {len(left)} rows, not {len(right)}")
    for name in left.column_names:
        a, b = left.column(name), right.column(name)
        check(a.type == b.type, f"{what}: column {name} is {a.type}, not {b.type}")
        if not a.equals(b):
            pairs = zip(a.to_pylist(), b.to_pylist())
            row, values = next((n, v) for n, v in enumerate(pairs) if v[0] != v[1])
            raise Wrong(f"{what}: row {row} has {name} {values[0]!r}, not {values[1]!r}")


def read_pyarrow(path):
    return pq.ParquetFile(path).read()


def read_duckdb(path):
    """Every row as DuckDB reads it, in the file's order. Without `hive_partitioning` folders would become columns."""
    con = duckdb.connect()
    con.execute("SET preserve_insertion_order = true; SET TimeZone = 'UTC'")
    return con.sql(f"SELECT * FROM read_parquet('{path}', hive_partitioning = false)").to_arrow_table()


def published(archive, partition):
    """Checks data, meta and receipt of a partition against each other; returns (rows, meta, receipt)."""
    folder = archive / partition
    raw = (folder / "data.parquet").read_bytes()
    pairs = json.loads((folder / "meta.json").read_text(), object_pairs_hook=list)
    check([key for key, _ in pairs[:7]] == META_KEYS, f"{partition}: meta.json has keys {[k for k, _ in pairs]}")
    meta = dict(pairs)
    types = {"row_count": int, "source_files": int}
    for key in META_KEYS:
        check(type(meta[key]) is types.get(key, str), f"{partition}: meta.json has {key}: {meta[key]!r}")
    sha256 = hashlib.sha256(raw).hexdigest()
    check(meta["sha256"] == sha256, f"{partition}: meta.json has another sha256 than data.parquet")
    check(meta["schema_version"] == "v1", f"{partition}: schema_version {meta['schema_version']}")
    check(meta["created_at"].endswith("Z"), f"{partition}: created_at {meta['created_at']}")
    dt.datetime.fromisoformat(meta["created_at"])
    rows = read_pyarrow(folder / "data.parquet")
    check(meta["row_count"] == len(rows), f"{partition}: row_count {meta['row_count']}, but {len(rows)} rows")
    keys = list(zip(rows["ts_event"].to_pylist(), rows["seq"].to_pylist()))
    check(keys == sorted(keys), f"{partition}: rows are not in the order of ts_event and seq")

    recomputed = rowhash.of_table(plain(rows))
    footer = (pq.read_metadata(folder / "data.parquet").metadata or {}).get(b"qlc.row_hash", b"none").decode()
    check(footer == recomputed, f"{partition}: the footer has row hash {footer}, its rows have {recomputed}")
    receipt = json.loads((archive / "_receipts" / partition / f"{sha256}.json").read_text())
    outcome = receipt["outcome"]
    check(outcome["sha256"] == sha256, f"{partition}: the receipt vouches for other data")
    check(outcome["row_hash"] == recomputed, f"{partition}: the receipt has row hash {outcome['row_hash']}")
    check(receipt["row_hash_in"] == receipt["row_hash_out"], f"{partition}: the receipt's two row hashes differ")
    check(receipt["rows_in"] == outcome["rows"] == len(rows), f"{partition}: the receipt has other row counts")
    without = ["seq"] if outcome["seq"] == "assigned" else []
    recomputed = rowhash.of_table(plain(rows), without=without)
    check(receipt["row_hash_out"] == recomputed, f"{partition}: row_hash_out is {receipt['row_hash_out']}, not {recomputed}")
    check(meta["source_files"] == sum(s["rows_here"] > 0 for s in receipt["sources"]), f"{partition}: source_files")

    peer = plain(read_duckdb(folder / "data.parquet"))
    same(peer, plain(rows), f"{partition} as DuckDB reads it")
    return rows, meta, receipt


def older_spool_becomes_the_contract(qlc, work):
    spool, archive = work / "spool", work / "archive"
    written = older_spool(spool)
    stores = ("--spool", spool, "--archive", archive)
    run(qlc, *stores, "compact", "--mode", "backfill", "--start", "20260203", "--end", "20260204")
    run(qlc, *stores, "verify", "--start", "20260203", "--end", "20260204")
    seen = set()
    for (exchange, stream, symbol), files in written.items():
        for day, date in enumerate(["20260203", "20260204"]):
            want, sources = expected(stream, files, day)
            if not len(want):
                continue
            partition = f"exchange={exchange}/stream={stream}/symbol={symbol}/date={date}"
            seen.add(partition)
            rows, meta, receipt = published(archive, partition)
            same(rows.replace_schema_metadata(None), want, partition)
            bounds = [str(f(want["ts_event"]).as_py() * 1_000_000) for f in (pc.min, pc.max)]
            check([meta["ts_event_min"], meta["ts_event_max"]] == bounds, f"{partition}: ts_event_min or _max")
            check(meta["source_files"] == sources, f"{partition}: {meta['source_files']} source files, not {sources}")
            hashes = {name: rowhash.of_table(plain(table)) for name, table in files}
            for source in receipt["sources"]:
                name = source["name"].rsplit("/", 1)[-1]
                check(source["row_hash"] == hashes[name], f"{partition}: the receipt has another row hash for {name}")
            print(f"  {partition}: {len(rows)} rows of {sources} files, row hash {receipt['outcome']['row_hash']}")
    found = {str(p.parent.relative_to(archive)) for p in archive.glob("exchange=*/**/data.parquet")}
    check(found == seen, f"partitions {sorted(found ^ seen)} are there and should not be, or the other way round")
    check(not (archive / "QUARANTINE").exists(), "something was quarantined, and nothing is wrong with the spool")
    # All but the records of runs, of which every run adds one.
    files = lambda: {p: p.read_bytes() for p in archive.rglob("*") if p.is_file() and "_runs" not in p.parts}
    before = files()
    run(qlc, *stores, "compact", "--mode", "backfill", "--start", "20260203", "--end", "20260204")
    after = files()
    check(before == after, "a second run over the same spool changed the archive")


def a_wrong_checksum_is_found(qlc, work):
    """pyarrow can write page checksums, which the rest of this project's writers do not."""
    rng = random.Random(1)
    spool, archive = work / "spool", work / "archive"
    folder = spool / "exchange=binance" / "stream=trade" / "symbol=btcusdt"
    folder.mkdir(parents=True)
    for n in range(2):
        first = START_MS + n * 3_600_000
        table = older("trade", "binance", "btcusdt", sorted(times(rng, 400, first, first + 3_600_000, first)), rng)
        path = folder / f"2026-02-03_{n + 1:02}-00-00.parquet"
        pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    chunk = pq.read_metadata(path).row_group(0).column(table.column_names.index("price"))
    raw = bytearray(path.read_bytes())
    # The last bytes of the chunk are the page's last value: another price, and nothing else would show it.
    raw[chunk.data_page_offset + chunk.total_compressed_size - 3] ^= 0x01
    path.write_bytes(raw)
    check(read_pyarrow(path).num_rows == 400, "the damaged file must be readable without a look at the checksum")
    stores = ("--spool", spool, "--archive", archive)
    run(qlc, *stores, "compact", "--mode", "single", "--date", "20260203", "--symbol", "btcusdt", "--stream", "trade", code=3)
    partition = "exchange=binance/stream=trade/symbol=btcusdt/date=20260203"
    error = json.loads((archive / "QUARANTINE" / partition / "error.json").read_text())
    check(error["error_type"] == "SNAPPY_CORRUPT", f"a wrong CRC is called {error['error_type']}")
    check(error["sha256"] == hashlib.sha256(raw).hexdigest(), "error.json has another sha256 than the damaged file")
    rows, _, _ = published(archive, partition)
    check(len(rows) == 400, f"{len(rows)} rows are left of the good file's 400")
    check(path.read_bytes() == raw, "the damaged file in the spool was changed")
    print(f"  {partition}: {error['error_type']}, {error['message']}")


def archive_is_readable(archive):
    """Checks every partition of an archive that someone else made."""
    partitions = sorted(str(p.parent.relative_to(archive)) for p in archive.glob("exchange=*/**/data.parquet"))
    check(partitions, f"{archive} has no partitions")
    for partition in partitions:
        rows, meta, _ = published(archive, partition)
        print(f"  {partition}: {len(rows)} rows of {meta['source_files']} files")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=pathlib.Path, help="the binary")
    parser.add_argument("--demo-archive", type=pathlib.Path, help="an archive that `qlc demo` made, to be read as well")
    args = parser.parse_args()
    qlc = args.qlc.resolve()
    try:
        for test in (older_spool_becomes_the_contract, a_wrong_checksum_is_found):
            print(f"{test.__name__.replace('_', ' ')}:", flush=True)
            with tempfile.TemporaryDirectory(prefix="qlc-peers-") as work:
                test(qlc, pathlib.Path(work))
        if args.demo_archive:
            print(f"{args.demo_archive} is readable:", flush=True)
            archive_is_readable(args.demo_archive)
    except Wrong as wrong:
        sys.exit(f"peers: {wrong}")
    print(f"peers: pyarrow {pa.__version__} and DuckDB {duckdb.__version__} agree with qlc")


if __name__ == "__main__":
    main()
