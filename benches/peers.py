#!/usr/bin/env python3
"""Runs qlc and DuckDB in turn on the same files and compares wall time, CPU time, peak memory and size of the result.

    peers.py QLC DATA [--kinds clean,overlap,hostile,unsorted] [--rounds 3] [--json FILE]

DATA holds the spools that workloads.py made. Every run is a process of its own, measured by the kernel (`wait4`); this
process imports nothing but the standard library, because a child is charged with what its parent had resident. qlc
hashes, verifies, fsyncs and writes its receipt in the measured time; DuckDB sorts and writes. The first round checks
that both results hold equal rows in equal order. Compare ratios of one run on an idle machine, never seconds across
machines.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

DATE = "20260203"
SERIES = "exchange=binance/stream=bbo/symbol=btcusdt"

# Each runs in a child of its own, with its arguments in sys.argv.
DUCKDB_SORT = """
import sys, duckdb
source, target, threads, memory, spill = sys.argv[1:]
con = duckdb.connect()
con.execute(f"SET threads = {threads}; SET memory_limit = '{memory}'; SET temp_directory = '{spill}'")
con.execute(f'''COPY (SELECT * FROM read_parquet('{source}', hive_partitioning = false) ORDER BY ts_event, seq)
                TO '{target}' (FORMAT parquet, COMPRESSION zstd)''')
"""
DUCKDB_LOOK = """
import sys, json, duckdb
con = duckdb.connect()
columns = ['ts_event', 'seq', 'ts_recv', 'exchange', 'symbol', 'stream', 'stream_version', 'bid_price', 'bid_qty', 'ask_price', 'ask_qty']
for path in sys.argv[1:]:
    rows, total, xor = con.execute(f'''SELECT count(*), sum(hash({', '.join(columns)})::HUGEINT)::VARCHAR, bit_xor(hash({', '.join(columns)}))::VARCHAR
                                   FROM read_parquet('{path}', hive_partitioning = false)''').fetchone()
    late = con.execute(f'''SELECT count(*) FROM (
        SELECT (ts_event, seq) < lag((ts_event, seq)) OVER (ORDER BY file_row_number) AS late
        FROM read_parquet('{path}', hive_partitioning = false, file_row_number = true)) WHERE late''').fetchone()[0]
    print(json.dumps({'rows': rows, 'sum': total, 'xor': xor, 'rows out of order': late}))
"""


def measured(command):
    """Runs `command`; returns what the kernel counted for it, or ends everything if it fails."""
    with tempfile.TemporaryFile() as log:
        began = time.monotonic()
        child = subprocess.Popen([str(part) for part in command], stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        if status != 0:
            log.seek(0)
            text = log.read().decode(errors="replace")[-4000:]
            sys.exit(f"peers: {command[0]} ended with {os.waitstatus_to_exitcode(status)}\n{text}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss * 1024}


def run_qlc(args, spool, out):
    archive = out / "archive"
    command = [args.qlc, "--spool", spool, "--archive", archive, "compact", "--mode", "backfill"]
    command += ["--start", DATE, "--end", DATE, "--memory-limit", args.memory, "--spill-dir", out / "spill"]
    return measured(command), archive / SERIES / f"date={DATE}" / "data.parquet"


def run_duckdb(args, spool, out):
    target = out / "duckdb.parquet"
    source = spool / SERIES / "*.parquet"
    return measured([sys.executable, "-c", DUCKDB_SORT, source, target, args.threads, args.memory, out / "spill"]), target


TOOLS = {"qlc": run_qlc, "duckdb": run_duckdb}


def compare(paths):
    """Fails unless all files hold equal rows in equal order; returns their number."""
    command = [sys.executable, "-c", DUCKDB_LOOK, *map(str, paths)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    looks = [json.loads(line) for line in lines]
    if any(look != looks[0] or look["rows out of order"] for look in looks):
        sys.exit("peers: the results differ\n" + "\n".join(f"{p}: {look}" for p, look in zip(paths, looks)))
    return looks[0]["rows"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=lambda p: pathlib.Path(p).resolve(), help="the binary")
    parser.add_argument("data", type=pathlib.Path, help="the folder with a spool per kind")
    parser.add_argument("--kinds", default="clean,overlap,hostile,unsorted", help="which, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of DuckDB; qlc takes what the machine has")
    parser.add_argument("--memory", default="2.5GB")
    parser.add_argument("--work", help="folder for the results; a temporary one otherwise")
    parser.add_argument("--json", type=pathlib.Path, help="file for every single measurement")
    args = parser.parse_args()
    runs, rows = [], {}
    for number in range(args.rounds):
        for kind in args.kinds.split(","):
            spool = args.data / kind
            # Read once, so that every run finds the files in the page cache.
            size = sum(len(path.read_bytes()) for path in (spool / SERIES).glob("*.parquet"))
            if not size:
                sys.exit(f"peers: {spool / SERIES} has no files; make them with workloads.py {args.data}")
            with tempfile.TemporaryDirectory(prefix="qlc-peers-", dir=args.work) as folder:
                results = {}
                # Each tool goes first as often as last.
                for tool in list(TOOLS)[:: 1 if number % 2 == 0 else -1]:
                    out = pathlib.Path(folder) / tool
                    out.mkdir()
                    found, results[tool] = TOOLS[tool](args, spool, out)
                    written = results[tool].stat().st_size
                    runs.append({"kind": kind, "tool": tool, "round": number, "bytes_in": size, "bytes_out": written} | found)
                    shutil.rmtree(out / "spill", ignore_errors=True)
                if number == 0:
                    rows[kind] = compare(list(results.values()))
    for run in runs:
        run["rows"] = rows[run["kind"]]
    if args.json:
        args.json.write_text(json.dumps(runs, indent=1) + "\n")
    show(runs, args.kinds.split(","))


def show(runs, kinds):
    print(f"medians of {1 + max(run['round'] for run in runs)} rounds; ratios are qlc : duckdb")
    print(f"{'':<10} {'tool':<7} {'wall s':>7} {'CPU s':>7} {'RSS GB':>7} {'bytes/row':>10}")
    for kind in kinds:
        medians = {}
        for tool in TOOLS:
            mine = [run for run in runs if run["kind"] == kind and run["tool"] == tool]
            values = {key: statistics.median(run[key] for run in mine) for key in ("wall", "cpu", "rss")}
            values["row"] = mine[0]["bytes_out"] / mine[0]["rows"]
            medians[tool] = values
            print(f"{kind:<10} {tool:<7} {values['wall']:>7.2f} {values['cpu']:>7.2f} {values['rss'] / 1e9:>7.2f} {values['row']:>10.2f}")
        ratio = {key: medians["qlc"][key] / medians["duckdb"][key] for key in medians["qlc"]}
        print(f"{'':<10} {'ratio':<7} {ratio['wall']:>7.2f} {ratio['cpu']:>7.2f} {ratio['rss']:>7.2f} {ratio['row']:>10.2f}")


if __name__ == "__main__":
    main()
