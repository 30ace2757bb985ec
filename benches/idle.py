"""A run that has nothing to do: what it takes where very many partitions are published already.

    idle.py SPOOL

makes the spool of one symbol; the rest is a part of `benches/run`. qlc compacts a hundred days of that symbol, a day in one small
file, and spool and archive are copied to as many other symbols as are wanted, with these named in the receipts. What such a run
does follows from the number of partitions and files: it reads documents and footers, and no rows. The archives are made once and
kept. Fails where a run finds anything to do.
"""

import collections
import datetime as dt
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import measure
import report

SIZES = (1_000, 10_000, 100_000)
DAYS, ROWS, SYMBOL = 100, 20, "s0000usdt"
FIRST = dt.date(2026, 1, 1)
MODIFIED = 1_780_000_000
LAST = FIRST + dt.timedelta(days=DAYS - 1)
CASES = {
    "catch-up": "`--mode catch-up`, all files still in the spool",
    "backfill": "`--mode backfill` over all days, an empty spool",
    "pruned": "`--mode catch-up`, an empty spool",
}
# At most so much resident memory, and so much more time a partition than in the smallest archive.
AIM_RSS, LINEAR = 300e6, 1.25


def fill(spool):
    """Writes the files of one symbol, in a process of its own: whoever measures stays small."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    import workloads

    base = workloads.bbo(ROWS, f"{FIRST:%Y%m%d}")
    folder = workloads.series_dir(spool, symbol=SYMBOL)
    folder.mkdir(parents=True)
    rows = workloads.table(base, np.arange(ROWS), workloads.CONSTANTS | {"symbol": SYMBOL.upper()})
    for day in range(DAYS):
        for name in ("ts_event", "ts_recv"):
            times = pa.array(base[name] + day * workloads.DAY_NS)
            rows = rows.set_column(rows.schema.get_field_index(name), name, times)
        path = folder / f"{FIRST + dt.timedelta(days=day):%Y-%m-%d}_12-00-00.parquet"
        pq.write_table(rows, path, compression="snappy", sorting_columns=[pq.SortingColumn(0), pq.SortingColumn(1)])
        # To the second, as a bucket tells times: a file is recognised by its name, size and time.
        os.utime(path, (MODIFIED, MODIFIED))


def copy(folder, symbols):
    """Copies spool and archive of the one symbol to others, and names these in the documents."""
    files = [path for path in folder.rglob(f"symbol={SYMBOL}/**/*") if path.is_file()]
    files = [(str(path.relative_to(folder)), path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    for number in range(1, symbols):
        name = f"s{number:04}usdt"
        for path, content, modified in files:
            target = folder / path.replace(SYMBOL, name)
            if not target.parent.exists():
                target.parent.mkdir(parents=True)
            target.write_bytes(content.replace(SYMBOL.encode(), name.encode()) if path.endswith(".json") else content)
            os.utime(target, ns=(modified, modified))


def compact(bench, spool, archive, mode):
    """A run over all days; returns what it used, and how many partitions ended how."""
    command = [bench.args.qlc, "--spool", spool, "--archive", archive, "compact", "--mode", mode, "--format", "json"]
    if mode == "backfill":
        command += ["--start", f"{FIRST:%Y%m%d}", "--end", f"{LAST:%Y%m%d}"]
    used, printed = measure.run(command)
    return used, collections.Counter(json.loads(line)["status"] for line in printed.splitlines())


def published(bench, partitions, say):
    """The folder with spool and archive of so many partitions, made if it is not there."""
    folder = bench.args.data / f"published-{partitions}"
    sources = b"".join((pathlib.Path(__file__).parent / name).read_bytes() for name in ("idle.py", "workloads.py"))
    stamp, mark = hashlib.sha256(sources).hexdigest(), folder / "made"
    if not mark.exists() or mark.read_text() != stamp:
        shutil.rmtree(folder, ignore_errors=True)
        began = time.monotonic()
        subprocess.run([sys.executable, __file__, folder / "spool"], check=True)
        _, ended = compact(bench, folder / "spool", folder / "archive", "backfill")
        if ended != {"done": DAYS}:
            raise SystemExit(f"{DAYS} partitions were to be published: {dict(ended)}")
        copy(folder, partitions // DAYS)
        say(f"{partitions} published partitions made in {time.monotonic() - began:.0f} s")
        (folder / "empty").mkdir()
        mark.write_text(stamp)
    return folder


def ask(bench, say):
    for partitions in SIZES:
        if partitions > bench.args.rows // 100:
            continue
        folder = published(bench, partitions, say)
        measure.warm(folder / "archive")
        # The largest takes longer than all others together.
        for number in range(bench.args.rounds if partitions < SIZES[-1] else 1):
            for case in CASES:
                mode = "backfill" if case == "backfill" else "catch-up"
                spool = folder / ("spool" if case == "catch-up" else "empty")
                used, ended = compact(bench, spool, folder / "archive", mode)
                if ended != ({} if case == "pruned" else {"up-to-date": partitions}):
                    raise SystemExit(f"{case} over {partitions} published partitions: {dict(ended)}")
                say(f"idle {partitions:>7} partitions {case:<9} {used['rss'] / 1e6:6.0f} MB {used['wall']:7.2f} s")
                bench.note("idle", partitions=partitions, case=case, round=number, **used)


def told(found):
    """The table as (title, table, what missed its aim)."""
    rows, missed, cases = [], [], {}
    for run in found:
        cases.setdefault((run["case"], run["partitions"]), []).append(run)
    for case, text in CASES.items():
        sizes = [size for name, size in cases if name == case]
        for size in sizes:
            values = {m: measure.summary([run[m] for run in cases[case, size]]) for m in ("wall", "cpu", "rss")}
            each = {s: measure.summary([run["wall"] for run in cases[case, s]])["median"] / s for s in (sizes[0], size)}
            growth = each[size] / each[sizes[0]]
            cells = [report.shown(m, values[m]) for m in values]
            rows.append([text if size == sizes[0] else "", f"{size:,}", *cells, f"{each[size] * 1e3:.2f} ms", f"{growth:.2f}"])
            if values["rss"]["median"] > AIM_RSS:
                missed.append(f"nothing to do over {size:,} partitions, {text}: {report.shown('rss', values['rss'])}, aim ≤ 0.30 GB")
            if growth > LINEAR and case != "pruned":
                missed.append(f"nothing to do over {size:,} partitions, {text}: {growth:.2f} times the time a partition of {sizes[0]:,}")
    head = ["", "partitions", "wall", "CPU", "peak RSS", "wall a partition", "to the first"]
    title = (
        f"A run that has nothing to do, over published partitions of {DAYS} days a symbol and one file a day (aim: at most 0.3 GB, and"
        " time in proportion):"
    )
    return [(title, report.table(head, rows), missed)] if rows else []


if __name__ == "__main__":
    fill(pathlib.Path(sys.argv[1]))
