#!/usr/bin/env python3
"""Measures a cluster of one and of two executors, each pinned to a core of its own, beside local runs of one and two workers.

    cluster.py QLC [--rounds 3] [--symbols 300] [--rows 20000] [--files 50] [--out DIR]

QLC is a binary with the feature `cluster`. A fleet of small partitions is made with a fixed seed and kept in the user's cache. In
every round each way works on it once, in turn, into an archive of its own; all archives must hold the same data. "2 cores" and
"1 core" are those of the whole cluster, scheduler and client included.

Prints a table and puts it with all single measurements into --out. Nothing fails for being slow.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import measure
import tools

HERE = pathlib.Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 60
# Local workers, executors, and the cores that scheduler and client run on. With two executors on two cores there is none left for
# those, so one executor is measured both with a second core for them and with none.
WAYS = {
    "local, 1 worker": (1, 0, ""),
    "local, 2 workers": (2, 0, ""),
    "cluster, 1 executor, 2 cores": (0, 1, "1"),
    "cluster, 1 executor, 1 core": (0, 1, "0"),
    "cluster, 2 executors, 2 cores": (0, 2, "0,1"),
}
PAIRS = [
    ("local, 1 worker", "local, 2 workers"),
    ("cluster, 1 executor, 2 cores", "cluster, 2 executors, 2 cores"),
    ("cluster, 1 executor, 1 core", "cluster, 2 executors, 2 cores"),
]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def asked(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return None


class Service:
    """A process of the cluster, and what the kernel counts of it."""

    def __init__(self, qlc, cores, *args):
        command = ["taskset", "--cpu-list", cores, qlc, "cluster", *args]
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def used(self):
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
        return {"cpu": (int(stat[11]) + int(stat[12])) / TICK, "rss": peak}

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


def waited(check, what):
    began = time.monotonic()
    while not check():
        if time.monotonic() - began > PATIENCE:
            sys.exit(f"{what} did not come up")
        time.sleep(0.05)


def local(qlc, spool, archive, workers):
    cores = ",".join(map(str, range(workers)))
    used, _ = measure.run(["taskset", "--cpu-list", cores, qlc, *compaction(spool, archive), "--workers", workers])
    return {"wall": used["wall"], "processes": {"qlc": {"cpu": used["cpu"], "rss": used["rss"]}}}


def compaction(spool, archive):
    date = tools.DATE
    return ["--spool", spool, "--archive", archive, "compact", "--mode", "backfill", "--start", date, "--end", date, "--quiet"]


def clustered(qlc, spool, archive, executors, rest, work):
    port = free_port()
    services = {"scheduler": Service(qlc, rest, "scheduler", "--bind-port", port)}
    try:
        waited(lambda: asked(port, "health"), "the scheduler")
        for nth in range(executors):
            where = ["--scheduler-port", port, "--bind-port", free_port(), "--bind-grpc-port", free_port()]
            more = ["--vcores", 1, "--memory-pool-size", "2.5GB", "--spill-dir", work / f"spill-{nth}"]
            places = ["--spool", spool, "--archive", archive]
            services[f"executor {nth + 1}"] = Service(qlc, str(nth), "executor", *places, *where, *more)
        waited(lambda: len(json.loads(asked(port, "qlc/executors") or "[]")) == executors, "an executor")
        before = {name: service.used()["cpu"] for name, service in services.items()}
        used, _ = measure.run(["taskset", "--cpu-list", rest, qlc, *compaction(spool, archive), "--cluster", f"df://127.0.0.1:{port}"])
        processes = {name: service.used() for name, service in services.items()}
        for name, cpu in before.items():
            processes[name]["cpu"] -= cpu
        processes["client"] = {"cpu": used["cpu"], "rss": used["rss"]}
        return {"wall": used["wall"], "processes": processes}
    finally:
        for service in reversed(services.values()):
            service.stop()


def digest(archive):
    found = hashlib.sha256()
    for path in sorted(archive.glob("exchange=*/stream=*/symbol=*/date=*/data.parquet")):
        found.update(str(path.relative_to(archive)).encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def table(found, partitions):
    lines = ["| | wall | CPU | executor, peak RSS | scheduler, CPU and peak RSS | client, CPU and peak RSS |", "| --- | --- | --- | --- | --- | --- |"]
    wall = {}
    for name, runs in found.items():
        of = lambda get: statistics.median(map(get, runs))  # noqa: E731
        wall[name] = of(lambda run: run["wall"])
        cells = [f"{wall[name]:.2f} s", f"{of(lambda run: sum(p['cpu'] for p in run['processes'].values())):.2f} s"]
        workers = [p for p in runs[0]["processes"] if p == "qlc" or p.startswith("executor")]
        cells.append(f"{of(lambda run: max(run['processes'][p]['rss'] for p in workers)) / 1e6:.0f} MB")
        for role in ("scheduler", "client"):
            if role in runs[0]["processes"]:
                cells.append(f"{of(lambda run: run['processes'][role]['cpu']):.2f} s, {of(lambda run: run['processes'][role]['rss']) / 1e6:.0f} MB")
            else:
                cells.append("")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("")
    alone = "local, 1 worker"
    for name in wall:
        if alone in wall and WAYS[name][1] == 1:
            over = (wall[name] - wall[alone]) / partitions * 1000
            lines.append(f"- A partition takes {over:+.1f} ms more with {name} than with {alone} ({partitions} partitions).")
    for one, two in PAIRS:
        if {one, two} <= wall.keys():
            lines.append(f"- From {one} to {two}: {wall[one] / wall[two]:.2f} times as fast, {wall[one] / wall[two] / 2:.2f} of linear.")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--symbols", type=int, default=300)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--way", action="append", choices=WAYS)
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "qlc" / "bench"
    parser.add_argument("--data", type=pathlib.Path, default=cache)
    parser.add_argument("--out", type=pathlib.Path, default=cache / "cluster")
    args = parser.parse_args()
    qlc = args.qlc.resolve()

    spool = args.data / f"cluster-{args.symbols}-{args.rows}-{args.files}"
    if not (spool / "made").exists():
        shutil.rmtree(spool, ignore_errors=True)
        made = ["--kinds", "fleet", "--rows", args.rows, "--files", args.files, "--symbols", args.symbols]
        subprocess.run([sys.executable, HERE / "workloads.py", spool, *map(str, made)], check=True)
        (spool / "made").touch()
    found, digests = {}, set()
    for number in range(args.rounds):
        for name in args.way or WAYS:
            workers, executors, rest = WAYS[name]
            with tempfile.TemporaryDirectory(prefix="qlc-cluster-", dir=args.data) as folder:
                work = pathlib.Path(folder)
                archive = work / "archive"
                if workers:
                    run = local(qlc, spool / "fleet", archive, workers)
                else:
                    run = clustered(qlc, spool / "fleet", archive, executors, rest, work)
                digests.add(digest(archive))
            found.setdefault(name, []).append(run)
            print(f"round {number + 1} of {args.rounds}  {name:30} {run['wall']:.2f} s", file=sys.stderr, flush=True)
    if len(digests) != 1:
        sys.exit("the archives differ")
    text = table(found, args.symbols)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "cluster.json").write_text(json.dumps({"asked": {k: str(v) for k, v in vars(args).items()}, "runs": found}, indent=1) + "\n")
    (args.out / "cluster.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
