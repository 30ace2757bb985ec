#!/usr/bin/env python3
"""Measures the memory of qlc on the worst partitions: thousands of files that all span the whole day, and odd shapes.

    rss.py QLC [--small-files 2000 --small-rows 5000000 --large-files 480 --large-rows 12000000]

Fails when a run's peak resident set reaches its limit, when a result lacks rows, or when limits change its bytes.
The peak is what the kernel counted for the whole process (`ru_maxrss`). A child is charged with what its parent had
resident at the fork, so this process stays small: it imports nothing but the standard library, and the files are made
by another one. Seconds are shown for information and never decide.
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

WORKLOADS = pathlib.Path(__file__).parent.parent / "benches" / "workloads.py"
ODD_SHAPES = pathlib.Path(__file__).parent / "odd_shapes.py"
PARTITION = "exchange=binance/stream=bbo/symbol=btcusdt/date=20260203"
DATE = "20260203"
UNITS = {"MB": 10**6, "GB": 10**9}
DEFAULT_LIMIT = "2.5GB"
ODD_LIMIT = "320MB"


def limit_bytes(text):
    return int(float(text[:-2]) * UNITS[text[-2:]])


def measured(command, log):
    """Runs `command` with its output in the file `log`; returns (exit code, peak bytes, seconds)."""
    began = time.monotonic()
    with open(log, "wb") as out:
        child = subprocess.Popen([str(part) for part in command], stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024, time.monotonic() - began


def make(out, files, rows):
    """Makes the hostile spool in a process of its own; returns its folder."""
    command = [sys.executable, WORKLOADS, out, "--kinds", "hostile", "--files", files, "--rows", rows, "--date", DATE]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return pathlib.Path(out) / "hostile"


def make_odd(out, scale):
    """Makes the odd shapes; returns their names and rows."""
    command = [sys.executable, str(ODD_SHAPES), str(out), "--scale", str(scale)]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [(name, int(rows)) for name, rows in map(str.split, lines)]


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as data:
        while piece := data.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


class Check:
    """The runs so far and what is wrong with them."""

    def __init__(self, qlc, work):
        self.qlc, self.work, self.wrong = qlc, work, []
        print(f"{'command':<8} {'files':>6} {'rows':>11} {'limit':>7} {'peak RSS':>9} {'of limit':>8} {'wall':>7}")

    def line(self, command, files, rows, limit, args):
        log = self.work / "log.txt"
        code, peak, seconds = measured([self.qlc, *args], log)
        share = peak / limit_bytes(limit)
        print(f"{command:<8} {files:>6} {rows:>11} {limit:>7} {peak / 1e6:>6.0f} MB {share:>7.0%} {seconds:>5.1f} s", flush=True)
        what = f"{command} of {files} files and {rows} rows at {limit}"
        if code != 0:
            tail = log.read_text(errors="replace")[-3000:]
            self.wrong.append(f"{what}: exit code {code}\n{tail}")
        if peak >= limit_bytes(limit):
            self.wrong.append(f"{what}: peak RSS {peak} bytes is not below the limit")

    def compact(self, spool, archive, files, rows, limit):
        """Compacts under `limit` (told only where it is not the default); returns the sha256 of the data."""
        args = ["--spool", spool, "--archive", archive, "compact", "--mode", "backfill", "--start", DATE, "--end", DATE]
        args += ["--spill-dir", self.work / "spill"]
        args = args if limit == DEFAULT_LIMIT else [*args, "--memory-limit", limit]
        self.line("compact", files, rows, limit, args)
        try:
            meta = json.loads((archive / PARTITION / "meta.json").read_text())
            sha256 = sha256_of(archive / PARTITION / "data.parquet")
        except OSError as absent:
            self.wrong.append(f"nothing was published at {limit}: {absent}")
            return None
        if meta["row_count"] != rows or meta["sha256"] != sha256:
            self.wrong.append(f"at {limit}: meta.json has {meta['row_count']} rows and sha256 {meta['sha256']}, not {rows} and {sha256}")
        return sha256

    def verify(self, spool, archive, files, rows, limit=DEFAULT_LIMIT):
        args = ["--spool", spool, "--archive", archive, "verify", "--date", DATE]
        self.line("verify", files, rows, limit, args if limit == DEFAULT_LIMIT else [*args, "--memory-limit", limit])

    def query(self, spool, archive, files, rows, limit):
        """Every value of both stores, and all rows in another order."""
        for statement in ["archive.bbo", "spool.bbo", "archive.bbo ORDER BY bid_price"]:
            args = ["--spool", spool, "--archive", archive, "query", f"SELECT * FROM {statement}"]
            self.line("query", files, rows, limit, [*args, "--format", "ndjson", "--output", self.work / "rows.ndjson", "--memory-limit", limit])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=pathlib.Path, help="the binary")
    parser.add_argument("--work", help="folder for the files, some gigabytes; a temporary one otherwise")
    parser.add_argument("--small-files", type=int, default=2000)
    parser.add_argument("--small-rows", type=int, default=5_000_000)
    parser.add_argument("--large-files", type=int, default=480)
    parser.add_argument("--large-rows", type=int, default=12_000_000)
    parser.add_argument("--odd-scale", type=float, default=0.5, help="of the rows of odd shapes; 0 leaves them out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qlc-rss-", dir=args.work) as folder:
        work = pathlib.Path(folder)
        check = Check(args.qlc.resolve(), work)
        spool = make(work / "many", args.small_files, args.small_rows)
        hashes = {}
        for limit in ("512MB", "256MB", DEFAULT_LIMIT):
            archive = work / f"archive-{limit}"
            hashes[limit] = check.compact(spool, archive, args.small_files, args.small_rows, limit)
        if len(set(hashes.values())) != 1:
            check.wrong.append(f"the limit changes the bytes: {hashes}")
        for name, rows in make_odd(work / "odd", args.odd_scale) if args.odd_scale else []:
            print(name)
            spool, archive = work / "odd" / name, work / f"archive-{name}"
            files = sum(1 for _ in spool.rglob("*.parquet"))
            check.compact(spool, archive, files, rows, ODD_LIMIT)
            check.verify(spool, archive, files, rows, ODD_LIMIT)
            check.query(spool, archive, files, rows, ODD_LIMIT)
        spool, archive = make(work / "large", args.large_files, args.large_rows), work / "archive-large"
        check.compact(spool, archive, args.large_files, args.large_rows, DEFAULT_LIMIT)
        check.verify(spool, archive, args.large_files, args.large_rows)
    if check.wrong:
        sys.exit("rss: " + "\nrss: ".join(check.wrong))
    print("rss: every peak is below its limit, and no limit changes a byte")


if __name__ == "__main__":
    main()
