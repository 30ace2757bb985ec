#!/usr/bin/env python3
"""Measures a cluster of one and of two executors, each pinned to a core of its own, beside local runs of one and two workers.

    cluster.py QLC [--rounds 3] [--symbols 300] [--rows 20000] [--files 50] [--out DIR]
    cluster.py QLC --hosts [--share 0.4] ...

QLC is a binary with the feature `cluster`. A fleet of small partitions is made with a fixed seed and kept in the user's cache. In
every round each way works on it once, in turn, into an archive of its own; all archives must hold the same data. "2 cores" and
"1 core" are those of the whole cluster, scheduler and client included.

With --hosts scheduler, client and up to three executors are on hosts of their own (as in tests/hosts.py; needs root), which know
each other by certificates. Each executor may use a share of a core, and so may the process that they are compared with, so that
three of them do not want more cores than there are. Spool and archive are folders that all hosts see.

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

import measure
import tools

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
import network  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 60
# Local workers, executors, and the cores that scheduler and client run on. With two executors on two cores there is none left for
# those, so one executor is measured both with a second core for them and with none.
WAYS = {
    "local, 1 worker": (1, 0, "0"),
    "local, 2 workers": (2, 0, "0,1"),
    "cluster, 1 executor, 2 cores": (0, 1, "1"),
    "cluster, 1 executor, 1 core": (0, 1, "0"),
    "cluster, 2 executors, 2 cores": (0, 2, "0,1"),
}
PAIRS = [
    ("local, 1 worker", "local, 2 workers", 2),
    ("cluster, 1 executor, 2 cores", "cluster, 2 executors, 2 cores", 2),
    ("cluster, 1 executor, 1 core", "cluster, 2 executors, 2 cores", 2),
    ("1 executor", "2 executors", 2),
    ("1 executor", "3 executors", 3),
]


ON_HOSTS = {
    "one process, 1 worker": (1, 0),
    "1 executor": (0, 1),
    "2 executors": (0, 2),
    "3 executors": (0, 3),
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Pinned:
    """All processes on loopback, each executor on a core of its own and the others on the cores `rest`."""

    def __init__(self, rest):
        self.rest = rest

    def before(self, role):
        cores = str(int(role.removeprefix("executor-")) - 1) if role.startswith("executor") else self.rest
        return ["taskset", "--cpu-list", cores]

    def address(self, _):
        return "127.0.0.1"

    def certificate(self, _):
        return {}


class Apart:
    """Each process on a host of its own, which the others know by a certificate; each executor has a share of a core."""

    def __init__(self, work, share):
        self.network = network.Network(work)
        self.certificates = network.Certificates(work / "certificates")
        self.shares = Shares(share)

    def before(self, role):
        return [*self.network.at(role), *(self.shares.of(role) if role.startswith("executor") else [])]

    def address(self, role):
        return network.ADDRESSES[role]

    def certificate(self, role):
        return self.certificates.of(role)


class Shares:
    """Control groups whose processes may use so much of a core each."""

    PERIOD_US = 20_000

    def __init__(self, share):
        self.share = share
        root = pathlib.Path("/sys/fs/cgroup")
        self.unified = (root / "cgroup.controllers").exists()
        self.root = root if self.unified else root / "cpu"
        self.remove()

    def of(self, role):
        """What a command begins with that may use no more."""
        group = self.root / f"qlc-cluster-{role}"
        group.mkdir(exist_ok=True)
        quota = int(self.share * self.PERIOD_US)
        if self.unified:
            (group / "cpu.max").write_text(f"{quota} {self.PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(self.PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        return ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', group]

    def remove(self):
        for group in self.root.glob("qlc-cluster-*"):
            group.rmdir()


class Service:
    """A process of the cluster, and what the kernel counts of it."""

    def __init__(self, before, qlc, env, *args):
        command = [*before, qlc, "cluster", *args]
        env = os.environ | {name: str(value) for name, value in env.items()}
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)

    def used(self):
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
        return {"cpu": (int(stat[11]) + int(stat[12])) / TICK, "rss": peak}

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


def local(before, qlc, spool, archive, workers):
    used, _ = measure.run([*before, qlc, *compaction(spool, archive), "--workers", workers])
    return {"wall": used["wall"], "processes": {"qlc": {"cpu": used["cpu"], "rss": used["rss"]}}}


def compaction(spool, archive):
    date = tools.DATE
    return ["--spool", spool, "--archive", archive, "compact", "--mode", "backfill", "--start", date, "--end", date, "--quiet"]


def ready(qlc, cluster, client, executors):
    """Waits until a client is told of so many executors."""
    began = time.monotonic()
    while True:
        command = [*client[0], qlc, "doctor", "--cluster", cluster]
        told = subprocess.run(list(map(str, command)), env=client[1], capture_output=True, text=True, check=False)
        if told.stdout.count("executor: ") == executors:
            return
        if time.monotonic() - began > PATIENCE:
            sys.exit(f"the cluster did not come up:\n{told.stdout}{told.stderr}")
        time.sleep(0.05)


def clustered(qlc, spool, archive, executors, places, work):
    port, scheduler, stores = free_port(), places.address("scheduler"), {"QLC_SPOOL": spool, "QLC_ARCHIVE": archive}
    listens = ["--bind-host", scheduler, "--external-host", scheduler, "--bind-port", port]
    services = {"scheduler": Service(places.before("scheduler"), qlc, places.certificate("scheduler"), "scheduler", *listens)}
    try:
        for nth in range(1, executors + 1):
            role = f"executor-{nth}"
            where = ["--scheduler-host", scheduler, "--scheduler-port", port, "--bind-host", places.address(role)]
            ports = ["--bind-port", free_port(), "--bind-grpc-port", free_port()]
            more = ["--vcores", 1, "--memory-pool-size", "2.5GB", "--spill-dir", work / f"spill-{nth}"]
            env = places.certificate(role) | stores
            services[role] = Service(places.before(role), qlc, env, "executor", *where, *ports, *more)
        cluster, env = f"df://{scheduler}:{port}", {name: str(value) for name, value in (places.certificate("client") | stores).items()}
        ready(qlc, cluster, (places.before("client"), os.environ | env), executors)
        before = {name: service.used()["cpu"] for name, service in services.items()}
        used, _ = measure.run([*places.before("client"), qlc, *compaction(spool, archive), "--cluster", cluster], env=env)
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
    alone = next(iter(wall))
    for name in wall:
        if found[name][0]["processes"].keys() >= {"executor-1"} and "executor-2" not in found[name][0]["processes"]:
            over = (wall[name] - wall[alone]) / partitions * 1000
            lines.append(f"- A partition takes {over:+.1f} ms more with {name} than with {alone} ({partitions} partitions).")
    for one, two, times in PAIRS:
        if {one, two} <= wall.keys():
            gain = wall[one] / wall[two]
            lines.append(f"- From {one} to {two}: {gain:.2f} times as fast, {gain / times:.2f} of linear.")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--symbols", type=int, default=300)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--hosts", action="store_true", help="scheduler, client and executors on hosts of their own")
    parser.add_argument("--share", type=float, default=0.4, help="of a core, for each executor on a host of its own")
    parser.add_argument("--way", action="append", choices=[*WAYS, *ON_HOSTS])
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "qlc" / "bench"
    parser.add_argument("--data", type=pathlib.Path, default=cache)
    parser.add_argument("--out", type=pathlib.Path, default=cache / "cluster")
    parser.add_argument("--inside", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    qlc = args.qlc.resolve()
    if args.hosts and not args.inside:
        sys.exit(network.why_not() or network.apart(__file__, *sys.argv[1:]))
    apart = Apart(args.inside, args.share) if args.hosts else None

    spool = args.data / f"cluster-{args.symbols}-{args.rows}-{args.files}"
    if not (spool / "made").exists():
        shutil.rmtree(spool, ignore_errors=True)
        made = ["--kinds", "fleet", "--rows", args.rows, "--files", args.files, "--symbols", args.symbols]
        subprocess.run([sys.executable, HERE / "workloads.py", spool, *map(str, made)], check=True)
        (spool / "made").touch()
    found, digests = {}, set()
    for number in range(args.rounds):
        for name, (workers, executors, *rest) in (ON_HOSTS if apart else WAYS).items():
            if args.way and name not in args.way:
                continue
            places = apart or Pinned(*rest)
            with tempfile.TemporaryDirectory(prefix="qlc-cluster-", dir=args.data) as folder:
                work = pathlib.Path(folder)
                archive = work / "archive"
                if executors:
                    run = clustered(qlc, spool / "fleet", archive, executors, places, work)
                else:
                    run = local(places.before("executor-1") if apart else places.before("client"), qlc, spool / "fleet", archive, workers)
                digests.add(digest(archive))
            found.setdefault(name, []).append(run)
            print(f"round {number + 1} of {args.rounds}  {name:30} {run['wall']:.2f} s", file=sys.stderr, flush=True)
    if len(digests) != 1:
        sys.exit("the archives differ")
    if apart:
        apart.shares.remove()
    text = table(found, args.symbols)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "cluster.json").write_text(json.dumps({"asked": {k: str(v) for k, v in vars(args).items()}, "runs": found}, indent=1) + "\n")
    (args.out / "cluster.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
