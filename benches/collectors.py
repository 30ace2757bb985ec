#!/usr/bin/env python3
"""The merge of two collectors of one feed, beside the compaction of one of them, and beside DuckDB.

    collectors.py QLC [--rows 10000000] [--files 480] [--rounds 3] [--threads 2] [--duckdb]

Two collectors saw the same day of quotes (`workloads.py`, clean): each has its own times of arrival, cuts its files at other
places, and lost other stretches of it. In every round each runs once, in turn: qlc on the first collector alone, qlc on both,
and a statement of DuckDB that groups by all other columns and keeps the earliest arrival. The rows of both results are compared.
"""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile

import measure


def make(folder, rows, files):
    """Writes the two spools, `collector=a` and `collector=b`."""
    # Here, so that the process that measures stays small.
    import numpy as np
    import pyarrow.parquet as pq

    import workloads

    columns = workloads.bbo(rows)
    for nth, name in enumerate("ab"):
        rng = np.random.default_rng(31 + nth)
        late = rng.integers(300, 4_000, rows) * 1_000
        seen = columns | {"ts_recv": np.maximum.accumulate(columns["ts_event"] + late)}
        # Ten stretches of a thousandth of the day each are lost.
        kept = np.ones(rows, bool)
        for begin in rng.integers(0, rows, 10):
            kept[begin : begin + rows // 1000] = False
        out = workloads.series_dir(pathlib.Path(folder) / f"collector={name}")
        out.mkdir(parents=True)
        places = np.flatnonzero(kept)
        cuts = np.linspace(0, len(places), files + nth + 1).astype(int)
        for number, (first, end) in enumerate(zip(cuts, cuts[1:])):
            second = number * 86_400 // (files + 1)
            path = out / f"2026-02-03_{second // 3600:02}-{second // 60 % 60:02}-{second % 60:02}.parquet"
            pq.write_table(workloads.table(seen, places[first:end]), path, compression="snappy",
                           sorting_columns=[pq.SortingColumn(0), pq.SortingColumn(1)])


# The same rule, for rows of which no collector has two.
STATEMENT = """
SET threads={threads}; SET memory_limit='2500MB'; SET temp_directory='{out}/tmp';
COPY (SELECT ts_event, seq, min(ts_recv) AS ts_recv, exchange, symbol, stream, stream_version,
             bid_price, bid_qty, ask_price, ask_qty
      FROM read_parquet('{spool}/collector=*/**/*.parquet', hive_partitioning=false)
      GROUP BY ALL ORDER BY ts_event, seq)
TO '{out}/data.parquet' (FORMAT parquet, COMPRESSION zstd);
"""


def compact(qlc, spool, out):
    """What compacts a spool into an archive in `out`."""
    return [qlc, "--spool", spool, "--archive", out / "archive", "compact", "--mode", "backfill", "--start", "20260203",
            "--end", "20260203", "--workers", "1"]


def rows_of(file):
    """How many rows a Parquet file has, asked of another process, so that this one stays small."""
    ask = "import sys, pyarrow.parquet as pq; print(pq.read_metadata(sys.argv[1]).num_rows)"
    return int(measure.run([sys.executable, "-c", ask, file])[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--files", type=int, default=480)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--duckdb", action="store_true", help="DuckDB as well (the package duckdb)")
    options = parser.parse_args()
    measure.keep_to(options.threads)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        spool = work / "spool"
        here = str(pathlib.Path(__file__).parent)
        make_both = f"import sys; sys.path.insert(0, {here!r}); import collectors; collectors.make({str(spool)!r}, {options.rows}, {options.files})"
        measure.run([sys.executable, "-c", make_both])
        measure.warm(spool)
        env = {name: "" for name in os.environ if name.startswith("QLC_")} | {"QLC_SPILL_DIR": str(work / "spill")}
        found = {}
        rows = {}
        for _ in range(options.rounds):
            for tool in ["one", "both"] + ["duckdb"] * options.duckdb:
                out = work / "out"
                out.mkdir()
                if tool == "duckdb":
                    statement = STATEMENT.format(threads=options.threads, spool=spool, out=out)
                    used, _ = measure.run([sys.executable, "-c", f"import duckdb; duckdb.connect().execute({statement!r})"])
                    data = out / "data.parquet"
                else:
                    used, _ = measure.run(compact(options.qlc, spool / "collector=a" if tool == "one" else spool, out), env)
                    data = next(out.glob("archive/exchange=*/**/data.parquet"))
                found.setdefault(tool, []).append(used)
                rows[tool] = rows_of(data)
                shutil.rmtree(out)
        for tool, runs in found.items():
            ratios = [measure.summary([run[what] / one[what] for run, one in zip(runs, found["one"])])["median"]
                      for what in ("wall", "cpu")]
            wall, rss = (measure.summary([run[what] for run in runs])["median"] for what in ("wall", "rss"))
            print(f"{tool}: {rows[tool]} rows, wall {wall:.2f} s, {ratios[0]:.2f} of one (CPU {ratios[1]:.2f}), peak RSS {rss / 1e6:.0f} MB")
        if options.duckdb and rows["duckdb"] != rows["both"]:
            raise SystemExit("the results differ")


if __name__ == "__main__":
    main()
