#!/usr/bin/env python3
"""Measures qlc beside its peers on the same files, and against its own promises about memory, growth and bytes.

    peers.py --qlc PATH [--rounds 3] [--workload clean,overlap] [--parts workloads,query] [--out DIR]

`benches/run` starts it with everything that it needs. The workloads are made once, with a fixed seed, and kept. In
every round each tool works on each workload once, in turn; each goes first as often as last. Each run is a process of
its own, counted by the kernel. All results must hold the same rows at the same places. The table, all single
measurements and a plot are put into --out; --readme puts the tables into docs/BENCHMARKS.md and README.md as well.

Compare ratios of one run on an idle machine, never seconds across machines. Nothing fails for being slow; a run fails
when results differ, or when memory goes beyond its limit.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import buckets
import consolidate
import idle
import measure
import promises
import questions
import report
import sizes
import tools
import upkeep

HERE = pathlib.Path(__file__).resolve().parent
# Those that make and remove most files come last.
PARTS = ("workloads", "limits", "growth", "query", "collected", "buckets", "upkeep", "idle")
# The programs in Rust that parts need.
PROGRAMS = {"workloads": ["floor", "unproven"], "upkeep": ["decode"], "buckets": ["store"]}
# What a small run leaves out: what takes long, or a program that is built for it.
LONG = ("growth", "collected", "buckets")
# What is compared, and what is aimed at: ratios to the best peer in wall time, CPU time, peak memory, bytes a row.
WORKLOADS = {
    "clean": ("clean", 480, (0.42, 0.42, 0.12, 0.75)),
    "overlap": ("overlap", 480, (0.42, 0.42, 0.15, 0.75)),
    "hostile": ("hostile", 480, (0.5, 1.0, 0.4, 0.75)),
    "hostile-2880": ("hostile", 2880, (0.5, 1.0, 0.4, 0.75)),
    "unsorted": ("unsorted", 480, (0.45, 1.0, 0.5, 0.75)),
    "fleet": ("fleet", 50, (0.4, None, None, None)),
}
FULL_ROWS, FLEET_ROWS, FLEET_SYMBOLS = 10_000_000, 20_000, 300


class Bench:
    """What all parts share: the settings, the workloads, and the measurements so far."""

    def __init__(self, args):
        self.args, self.found = args, {"settings": {}, "runs": []}
        self.limits = tools.Limits(args.threads, args.memory)

    def spool(self, kind, rows, files, symbols=1):
        """The folder of a workload, made if it is not there."""
        folder = self.args.data / f"{kind}-{rows}-{files}-{symbols}"
        stamp = hashlib.sha256((HERE / "workloads.py").read_bytes()).hexdigest()
        mark = folder / "made"
        if not mark.exists() or mark.read_text() != stamp:
            shutil.rmtree(folder, ignore_errors=True)
            command = [sys.executable, HERE / "workloads.py", folder, "--kinds", kind, "--rows", rows, "--files", files]
            say(subprocess.run([*map(str, command), "--symbols", str(symbols)], check=True, capture_output=True, text=True).stdout.strip())
            mark.write_text(stamp)
        return folder / kind

    def workload(self, name):
        """The spool of a workload by its name."""
        kind, files, _ = WORKLOADS[name]
        if kind == "fleet":
            symbols = max(3, FLEET_SYMBOLS * self.args.rows // FULL_ROWS)
            return self.spool(kind, FLEET_ROWS, files, symbols)
        return self.spool(kind, self.args.rows, files)

    def folder(self):
        """A folder for results, gone after its use."""
        return tempfile.TemporaryDirectory(prefix="qlc-bench-", dir=self.args.work)

    def note(self, part, **what):
        """Keeps a measurement; all are on disk at any time."""
        self.found.setdefault(part, []).append(what)
        self.args.out.mkdir(parents=True, exist_ok=True)
        (self.args.out / "figures.json").write_text(json.dumps(self.found, indent=1) + "\n")


def say(text):
    print(text, file=sys.stderr, flush=True)


def programs(args):
    """The measuring programs in Rust that the parts need, by name."""
    wanted = [flag for part in args.parts for name in PROGRAMS.get(part, []) for flag in ("--bench", name)]
    if not args.programs or not wanted:
        return {}
    found = {}
    command = [os.environ.get("CARGO", "cargo"), "bench", "--no-run", "--locked", *wanted, "--message-format", "json"]
    built = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=HERE.parent).stdout
    for line in built.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["kind"] == ["bench"]:
            found[message["target"]["name"]] = message["executable"]
    return found


def contestants(bench, name, built):
    """What runs on a workload, in its order: (tool, function of spool and folder, whether its result is compared)."""
    args = bench.args
    found = [("qlc", lambda spool, out: tools.qlc(args.qlc, spool, out), True)]
    # A loop over hundreds of small partitions is what the peer with the shortest start is asked for.
    peers = [peer for peer in args.peers if peer in tools.PEERS and (name != "fleet" or peer == "duckdb")]
    found += [(peer, lambda spool, out, peer=peer: tools.PEERS[peer](bench.limits, spool, out), True) for peer in peers]
    if name == "clean":
        beside = [tool for tool in args.peers if tool in tools.BESIDE]
        found += [(tool, lambda spool, out, tool=tool: consolidate.run(bench, tool, spool, out), False) for tool in beside]

    def program(which, *options):
        def one(spool, out):
            target = out / "scratch.parquet"
            folder = next(iter(tools.series(spool).values()))
            return measure.run([built[which], folder, target, "--threads", args.threads, *options])[0], target

        return one

    if "floor" in built and name == "clean":
        found += [("floor", program("floor"), False), ("floor-carried", program("floor", "--carried"), False)]
    if "unproven" in built and name != "fleet":
        found.append(("unproven", program("unproven"), False))
    return found


def workloads(bench, built):
    args = bench.args
    # A file system that has just deleted thousands of files makes new ones slowly for a while (ext4 without a journal: a
    # minute), so what a fleet left stays until all is measured.
    with contextlib.ExitStack() as kept:
        for number in range(args.rounds):
            for name in args.workload:
                with contextlib.ExitStack() as dropped:
                    folder = (kept if name == "fleet" else dropped).enter_context(bench.folder())
                    one_round(bench, built, name, number, pathlib.Path(folder))


def one_round(bench, built, name, number, folder):
    spool = bench.workload(name)
    entries = contestants(bench, name, built)
    size = measure.warm(spool)
    results, used = {}, {}
    for tool, run, compared in entries[:: 1 if number % 2 == 0 else -1]:
        out = folder / tool
        (out / "spill").mkdir(parents=True)
        used[tool], pattern = run(spool, out)
        used[tool]["bytes"] = tools.written(pattern)
        if compared:
            results[tool] = pattern
        shutil.rmtree(out / "spill")
        say(f"round {number + 1} of {bench.args.rounds}  {name:<13} {tool:<14} {used[tool]['wall']:7.2f} s")
    rows = tools.compare(results) if number == 0 else rows_before(bench, name)
    for tool, counted in used.items():
        bench.note("runs", workload=name, tool=tool, round=number, rows=rows, bytes_in=size, **counted)


def rows_before(bench, name):
    return next(run["rows"] for run in bench.found["runs"] if run["workload"] == name)


def over_budget(bench):
    """Runs of qlc that went beyond the memory that they may have at the default."""
    limit = measure.size_of(promises.DEFAULT)
    beyond = [run for run in bench.found["runs"] if run["tool"] == "qlc" and run["rss"] >= limit]
    return [f"{run['workload']}: peak RSS {run['rss']} bytes is not below {promises.DEFAULT}" for run in beyond]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "qlc"
    parser.add_argument("--qlc", type=pathlib.Path, default=target / "release" / "qlc", help="the binary")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workload", type=lambda text: text.split(","), default=list(WORKLOADS), help=", ".join(WORKLOADS))
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS), help=", ".join(PARTS))
    peers = [*tools.PEERS, *tools.BESIDE]
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(tools.PEERS), help=", ".join(peers))
    parser.add_argument("--nautilus", type=pathlib.Path, default=cache / "venv-nautilus" / "bin" / "python", help="an interpreter that has NautilusTrader")
    parser.add_argument("--rows", type=int, default=FULL_ROWS, help="of a workload")
    parser.add_argument("--long", action="store_true", help="growth up to ten times --rows, not three")
    parser.add_argument("--small", action="store_true", help="one round of few rows beside DuckDB: what CI holds against the budget")
    parser.add_argument("--programs", action=argparse.BooleanOptionalAction, default=True, help="build and run floor and unproven")
    parser.add_argument("--threads", type=int, default=2, help="cores for every tool")
    parser.add_argument("--memory", default="2.5GB", help="what the peers are told; qlc runs at its default")
    parser.add_argument("--data", type=pathlib.Path, default=cache / "bench", help="the workloads are kept here")
    parser.add_argument("--work", type=pathlib.Path, help="for results while they are compared; by default in --data")
    parser.add_argument("--out", type=pathlib.Path, default=target / "peers", help="for the table, the figures and the plot")
    parser.add_argument("--readme", action="store_true", help="put the tables into docs/BENCHMARKS.md and README.md, and the plot beside the harness")
    args = parser.parse_args()
    if args.small:
        args.rounds, args.rows, args.peers, args.programs = 1, min(args.rows, 500_000), ["duckdb"], False
        args.parts = [part for part in args.parts if part not in LONG]
    for given, known, what in ((args.workload, WORKLOADS, "workload"), (args.parts, PARTS, "part"), (args.peers, peers, "peer")):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"there is no {what} {unknown[0]!r}: choose from {', '.join(known)}")
    args.qlc, args.data, args.out = args.qlc.resolve(), args.data.resolve(), args.out.resolve()
    args.work = (args.work or args.data).resolve()
    if not args.qlc.exists():
        parser.error(f"{args.qlc} is not there: cargo build --release, or say --qlc PATH")
    return args


def main():
    args = arguments()
    # Ends as Ctrl-C does: the tool at work is ended too, and its files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("peers: stopped on request"))
    for folder in (args.data, args.work, args.out):
        folder.mkdir(parents=True, exist_ok=True)
    measure.keep_to(args.threads)
    bench = Bench(args)
    bench.found["settings"] = report.settings(args)
    wrong, built = [], programs(args)
    if "workloads" in args.parts:
        workloads(bench, built)
        wrong += over_budget(bench)
    if "limits" in args.parts:
        wrong += promises.limits(bench, say)
    if "growth" in args.parts:
        wrong += promises.growth(bench, say)
    if "query" in args.parts:
        questions.ask(bench, say)
    if "collected" in args.parts:
        sizes.ask(bench, say)
    if "buckets" in args.parts:
        buckets.ask(bench, built, say)
    if "upkeep" in args.parts:
        upkeep.ask(bench, built, say)
    if "idle" in args.parts:
        idle.ask(bench, say)
    # Aims are for full workloads: starting a process outweighs the work on few rows.
    aims = {name: aim for name, (_, _, aim) in WORKLOADS.items() if args.rows >= FULL_ROWS}
    found = bench.found
    further = sizes.told(found.get("collected", [])) + upkeep.told(found.get("verify", []), found.get("upkeep", []))
    further += idle.told(found.get("idle", [])) + buckets.told(found.get("buckets", []))
    if not aims:
        further = [(title, table, []) for title, table, _ in further]
    report.write(found, aims, further, args.out)
    print((args.out / "figures.md").read_text())
    if args.readme:
        report.into_documents(args.out, HERE)
    if wrong:
        sys.exit("peers: " + "\npeers: ".join(wrong))


if __name__ == "__main__":
    main()
