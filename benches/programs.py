#!/usr/bin/env python3
"""Measures a program of qlc beside another: what a build of another profile, or of another commit, gains or costs.

    programs.py QLC BASE [--rounds 5] [--rows 2000000] [--workload clean,unsorted]

Both do the same in turn, and each goes first as often as last: compaction of the workloads of peers.py, verification, the
questions of questions.py, the demo and the start. Prints a table of ratios of QLC to BASE, each of the least of all rounds:
what else runs on the machine only ever adds. Wants the packages of benches/requirements.txt. Nothing fails for being slow; a run
fails when the archives of both differ in a byte.
"""

import argparse
import hashlib
import pathlib
import shutil
import sys
import tempfile

import measure
import tools
from peers import WORKLOADS, Bench, say
from questions import NAMED, SLICE

CACHE = pathlib.Path.home() / ".cache" / "qlc" / "bench"


def digests(pattern):
    """The data of an archive, by file."""
    root = pathlib.Path(pattern.anchor)
    files = sorted(root.glob(str(pattern.relative_to(root))))
    return {path.parts[-3:]: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Contest:
    """Two programs, and the least that each took for every task."""

    def __init__(self, qlc, base, rounds):
        self.programs, self.rounds = {"qlc": qlc, "base": base}, rounds
        self.least, self.order = {}, 1

    def turn(self):
        """The programs, in another order each time."""
        self.order = -self.order
        return list(self.programs)[:: self.order]

    def note(self, task, program, used):
        old = self.least.setdefault(task, {}).get(program, used)
        self.least[task][program] = {key: min(old[key], used[key]) for key in ("wall", "cpu", "rss")}

    def ask(self, task, command):
        """A task that leaves nothing behind: `command` makes the rest of the command line of a folder."""
        for _ in range(self.rounds):
            for program in self.turn():
                with tempfile.TemporaryDirectory(prefix="qlc-programs-") as folder:
                    self.note(task, program, measure.run([self.programs[program], *command(pathlib.Path(folder))])[0])
        self.tell(task)

    def compact(self, name, spool, folder):
        """Compaction of a workload; returns an archive of it."""
        measure.warm(spool)
        for number in range(self.rounds):
            found = {}
            for program in self.turn():
                out = folder / name / program
                shutil.rmtree(out, ignore_errors=True)
                (out / "spill").mkdir(parents=True)
                used, pattern = tools.qlc(self.programs[program], spool, out)
                self.note(f"compact {name}", program, used)
                if number == 0:
                    found[program] = digests(pattern)
            if found and found["qlc"] != found["base"]:
                sys.exit(f"programs: the archives of {name} differ")
        self.tell(f"compact {name}")
        return folder / name / "base" / "archive"

    def tell(self, task):
        say(f"{task:<24} {self.ratio(task, 'wall'):5.2f} of the wall time, {self.ratio(task, 'cpu'):5.2f} of the processor time")

    def ratio(self, task, what):
        return self.least[task]["qlc"][what] / max(self.least[task]["base"][what], 1e-4)

    def table(self):
        lines = ["| task | wall | of base | CPU | of base | peak RSS, of base |", "| --- | --- | --- | --- | --- | --- |"]
        for task, least in self.least.items():
            wall, cpu = (f"{least['qlc'][what]:.3f} s | {self.ratio(task, what):.2f}" for what in ("wall", "cpu"))
            lines.append(f"| {task} | {wall} | {cpu} | {self.ratio(task, 'rss'):.2f} |")
        return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=pathlib.Path)
    parser.add_argument("base", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2_000_000, help="of a workload")
    parser.add_argument("--workload", type=lambda text: text.split(","), default=["clean", "overlap", "hostile", "unsorted", "fleet"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=pathlib.Path, default=CACHE, help="the workloads are kept here")
    args = parser.parse_args()
    if unknown := [name for name in args.workload if name not in WORKLOADS]:
        parser.error(f"there is no workload {unknown[0]!r}: choose from {', '.join(WORKLOADS)}")
    args.data = args.work = args.data.resolve()
    args.memory = "2.5GB"
    args.data.mkdir(parents=True, exist_ok=True)
    measure.keep_to(args.threads)
    bench = Bench(args)
    contest = Contest(args.qlc.resolve(), args.base.resolve(), args.rounds)
    with bench.folder() as kept:
        archives = [contest.compact(name, bench.workload(name), pathlib.Path(kept)) for name in args.workload]
        archive = archives[0]
        measure.warm(archive)

        def of_archive(*command):
            return lambda folder: ["--spool", folder / "spool", "--archive", archive, *command]

        contest.ask("verify", of_archive("verify"))
        for name in NAMED:
            contest.ask(f"query {name}", of_archive("query", "--name", name, "--format", "ndjson"))
        contest.ask("query one hour", of_archive("query", SLICE, "--format", "ndjson"))
    contest.ask("demo", lambda folder: ["demo", "--dir", folder / "demo"])
    contest.rounds = max(20, args.rounds)
    contest.ask("start", lambda _: ["--version"])
    print(contest.table())


if __name__ == "__main__":
    main()
