"""Holds qlc against what it promises about memory: smaller limits are kept and change no byte, and a larger day takes
more time but not more memory.

Refuses to judge time: how it grows is reported.
"""

import hashlib
import pathlib

import measure
import tools

DEFAULT = "2.5GB"
LIMITS = ("256MB", "512MB", "1GB", DEFAULT)
# How many times the rows of a workload a day has.
SIZES, LONG_SIZES = (1, 3), (1, 3, 10)
# Files of a day in the growth measurement, whatever its rows.
FILES = 480


def compacted(bench, spool, folder, options=()):
    """One run of qlc; returns what it used and the sha256 of its data."""
    out = pathlib.Path(folder)
    used, pattern = tools.qlc(bench.args.qlc, spool, out, options)
    data = next(pathlib.Path("/").glob(str(pattern.relative_to("/"))))
    with open(data, "rb") as file:
        return used, hashlib.file_digest(file, "sha256").hexdigest()


def limits(bench, say):
    """Each limit on the same files; returns what is wrong."""
    wrong = []
    for name in ("clean", "hostile", "hostile-2880", "unsorted"):
        if name not in bench.args.workload:
            continue
        spool, hashes = bench.workload(name), set()
        _ = measure.warm(spool)
        for limit in LIMITS:
            with bench.folder() as folder:
                used, sha256 = compacted(bench, spool, folder, ("--memory-limit", limit))
            say(f"limit {limit:<6} {name:<13} {used['rss'] / 1e6:6.0f} MB {used['wall']:7.2f} s")
            hashes.add(sha256)
            bench.note("limits", workload=name, limit=limit, sha256=sha256, **used)
            if used["rss"] >= measure.size_of(limit):
                wrong.append(f"{name} at {limit}: peak RSS {used['rss']} bytes is not below the limit")
        if len(hashes) != 1:
            wrong.append(f"{name}: the limit changes the bytes")
    return wrong


def growth(bench, say):
    """More rows in as many files; returns what is wrong."""
    wrong = []
    for kind in ("clean", "overlap", "hostile"):
        if kind not in bench.args.workload:
            continue
        for times in LONG_SIZES if bench.args.long else SIZES:
            rows = times * bench.args.rows
            spool = bench.spool(kind, rows, FILES)
            _ = measure.warm(spool)
            for number in range(bench.args.rounds):
                with bench.folder() as folder:
                    used, _ = compacted(bench, spool, folder)
                say(f"growth {kind:<9} {rows:>11} rows {used['rss'] / 1e6:6.0f} MB {used['wall']:7.2f} s")
                bench.note("growth", kind=kind, rows=rows, round=number, **used)
                if used["rss"] >= measure.size_of(DEFAULT):
                    wrong.append(f"{kind} of {rows} rows: peak RSS {used['rss']} bytes is not below {DEFAULT}")
    return wrong
