"""What is compared: how qlc and its peers are told to turn a spool into one sorted file a partition, and how their
results are held against each other.

Every peer runs in a process of its own, which is measured from its start to its end; qlc hashes, reads back, fsyncs and
writes its receipt in that time, the peers sort and write. Refuses to compare results that differ in a row or its place.
"""

import json
import pathlib
import sys

import measure

DATE = "20260203"
SYMBOL = "btcusdt"

DUCKDB = """
import sys, os, duckdb
threads, memory, spill, *pairs = sys.argv[1:]
con = duckdb.connect()
con.execute(f"SET threads = {threads}; SET memory_limit = '{memory}'; SET temp_directory = '{spill}'; SET enable_progress_bar = false")
for source, target in zip(pairs[::2], pairs[1::2]):
    con.execute(f'''COPY (SELECT * FROM read_parquet('{source}', hive_partitioning = false) ORDER BY ts_event, seq)
                    TO '{target}' (FORMAT parquet, COMPRESSION zstd)''')
"""
POLARS = """
import sys, polars
for source, target in zip(sys.argv[1::2], sys.argv[2::2]):
    rows = polars.scan_parquet(source, hive_partitioning=False).sort("ts_event", "seq")
    rows.sink_parquet(target, compression="zstd", engine="streaming")
"""
CHDB = """
import sys, chdb
threads, memory, spill, *pairs = sys.argv[1:]
for source, target in zip(pairs[::2], pairs[1::2]):
    chdb.query(f'''INSERT INTO FUNCTION file('{target}', Parquet)
        SELECT * FROM file('{source}', Parquet) ORDER BY ts_event, seq
        SETTINGS max_threads = {threads}, max_memory_usage = {memory}, max_bytes_before_external_sort = {int(memory) // 2},
            max_bytes_ratio_before_external_sort = 0, output_format_parquet_compression_method = 'zstd',
            use_hive_partitioning = 0''')
"""
# Equal sums mean equal rows at equal places; the first file's order is then the order of all.
LOOK = """
import sys, json, duckdb
con = duckdb.connect()
con.execute("SET threads = 2; SET memory_limit = '2.5GB'; SET enable_progress_bar = false")
columns = ''
for nth, pattern in enumerate(sys.argv[1:]):
    data = f"read_parquet('{pattern}', hive_partitioning = false, file_row_number = true)"
    columns = columns or ', '.join(sorted({row[0] for row in con.execute(f'DESCRIBE SELECT * FROM {data}').fetchall()} - {'file_row_number'}))
    rows, total = con.execute(f'SELECT count(*), sum(hash(file_row_number, {columns})::HUGEINT)::VARCHAR FROM {data}').fetchone()
    late = 0 if nth else con.execute(f'''SELECT count(*) FROM (
        SELECT (ts_event, seq) < lag((ts_event, seq)) OVER (PARTITION BY symbol ORDER BY file_row_number) AS late
        FROM {data}) WHERE late''').fetchone()[0]
    print(json.dumps({'rows': rows, 'sum': total, 'rows out of order': late}))
"""


def series(spool):
    """The folders of all series in `spool`, by stream and symbol."""
    folders = sorted(pathlib.Path(spool).glob("exchange=binance/stream=*/symbol=*"))
    return {"-".join(part.split("=")[1] for part in folder.parts[-2:]): folder for folder in folders}


def pairs(spool, out):
    """Source and target of every series, one after the other."""
    return [part for name, folder in series(spool).items() for part in (folder / "*.parquet", out / f"{name}.parquet")]


class Limits:
    """What the peers are told: threads, memory, and where they may spill. qlc runs at its defaults."""

    def __init__(self, threads, memory):
        self.threads, self.memory = threads, memory


def qlc(binary, spool, out, options=()):
    """Compacts; the data is below `out`, one file for each series."""
    command = [binary, "--spool", spool, "--archive", out / "archive", "compact", "--mode", "backfill"]
    command += ["--start", DATE, "--end", DATE, "--spill-dir", out / "spill", *options]
    used, _ = measure.run(command)
    return used, out / "archive/exchange=binance/stream=*/symbol=*" / f"date={DATE}" / "data.parquet"


def duckdb(limits, spool, out):
    command = [sys.executable, "-c", DUCKDB, limits.threads, limits.memory, out / "spill", *pairs(spool, out)]
    return measure.run(command)[0], out / "*.parquet"


def polars(limits, spool, out):
    env = {"POLARS_MAX_THREADS": str(limits.threads), "POLARS_OOC_SPILL_DIR": str(out / "spill")}
    env["POLARS_OOC_MEMORY_BUDGET_MB"] = str(measure.size_of(limits.memory) // 10**6)
    return measure.run([sys.executable, "-c", POLARS, *pairs(spool, out)], env)[0], out / "*.parquet"


def chdb(limits, spool, out):
    memory = measure.size_of(limits.memory)
    return measure.run([sys.executable, "-c", CHDB, limits.threads, memory, out / "spill", *pairs(spool, out)])[0], out / "*.parquet"


PEERS = {"duckdb": duckdb, "polars": polars, "chdb": chdb}
# What stands beside them where it is asked for, and is held against nothing: it does other work (`consolidate.py`).
BESIDE = {"nautilus": "NautilusTrader", "nautilus-rust": "NautilusTrader, its Rust catalog"}
NAMES = {"qlc": "qlc", "duckdb": "DuckDB", "polars": "Polars", "chdb": "chDB"} | BESIDE


def written(pattern):
    """Bytes of the files that `pattern` means."""
    root = pathlib.Path(pattern.anchor)
    return sum(path.stat().st_size for path in root.glob(str(pattern.relative_to(root))))


def compare(results):
    """Fails unless all files hold equal rows at equal places, in order; returns how many rows."""
    _, printed = measure.run([sys.executable, "-c", LOOK, *results.values()])
    looks = dict(zip(results, map(json.loads, printed.splitlines())))
    first = next(iter(looks.values()))
    if any((look["rows"], look["sum"]) != (first["rows"], first["sum"]) for look in looks.values()) or first["rows out of order"]:
        sys.exit("the results differ, or are not in order\n" + "\n".join(f"{name}: {look}" for name, look in looks.items()))
    return first["rows"]
