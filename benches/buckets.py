"""Buckets: how many requests a partition takes, and what a delay before every answer does to the wall time, beside a folder.

The store is the S3 server of the tests as a program (`benches/store.rs`), on loopback; spool and archive are both in its bucket,
whose objects are files of a folder, so that they are put there without requests. What the first partition takes and each other one
is told apart by runs over one and over several. Fails where a step does not end with exit code 0.
"""

import contextlib
import json
import pathlib
import shutil
import subprocess

import idle
import measure
import report
import tools

PARTITIONS, FILES, ROWS = 8, 50, 20_000
# Milliseconds before each answer.
DELAYS = (0, 1, 20, 100)
# More would measure the server, which goes through its whole folder for every list.
PUBLISHED = 200
STEPS = {
    "publish": ("first publish", ["compact", "--mode", "catch-up"]),
    "nothing": ("nothing to do", ["compact", "--mode", "catch-up"]),
    "late": ("a late file", ["compact", "--mode", "catch-up"]),
    "verify": ("verify", ["verify"]),
    "prune": ("prune", ["prune", "--keep-days", "7"]),
}
# Requests as a price list tells them apart.
KINDS = {"GET": ["Get"], "HEAD": ["Head"], "LIST": ["List", "Uploads"], "PUT": ["Put", "Create", "Part", "Complete"], "DELETE": ["Delete", "Abort"]}


class Folder:
    """Spool and archive in a folder."""

    env = None

    def __init__(self, root):
        self.root = self.place = root

    def delay(self, _):
        """A folder has none."""

    def count(self):
        return {}


class Bucket:
    """Spool and archive in the bucket of a server of its own."""

    def __init__(self, program, folder):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([program, folder], stdin=pipe, stdout=pipe, text=True)
        said = json.loads(self.process.stdout.readline())
        self.env, self.place, self.root = said["env"], said["bucket"], pathlib.Path(said["folder"])

    def asked(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def delay(self, milliseconds):
        self.asked(f"delay {milliseconds}")

    def count(self):
        """The requests since the last time, by kind."""
        kinds = self.asked("count")
        return {name: sum(kinds.get(kind, 0) for kind in of) for name, of in KINDS.items()}

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def run(bench, store, out, command):
    """One run of qlc; returns what it used, and its requests."""
    store.count()
    stores = ["--spool", f"{store.place}/spool", "--archive", f"{store.place}/archive"]
    used, printed = measure.run([bench.args.qlc, *stores, *command, "--spill-dir", out / "spill"], store.env)
    return used | {"requests": store.count()}, printed


def steps(bench, store, out, symbols, delay):
    """All steps, one after the other, on so many partitions."""
    for name in ("spool", "archive"):
        shutil.rmtree(store.root / name, ignore_errors=True)
    shutil.copytree(bench.spool("fleet", ROWS, FILES, symbols), store.root / "spool")
    late = [max(folder.iterdir()) for folder in tools.series(store.root / "spool").values()]
    for path in late:
        path.rename(out / f"{path.parent.name}.late")
    store.delay(delay)
    found = {}
    for step, (_, command) in STEPS.items():
        if step == "late":
            for path in late:
                (out / f"{path.parent.name}.late").rename(path)
        found[step], _ = run(bench, store, out, command)
    store.delay(0)
    if any((store.root / "spool").rglob("*.parquet")):
        raise SystemExit("qlc prune left files that could go")
    return found


def ask(bench, built, say):
    if "store" not in built:
        return say("buckets: left out, because the server is a program that was not built")
    with bench.folder() as folder, contextlib.ExitStack() as stack:
        out = pathlib.Path(folder)
        for name in ("folder", "bucket"):
            (out / name).mkdir()
        bucket = stack.enter_context(contextlib.closing(Bucket(built["store"], out / "bucket")))
        places = [("bucket", bucket, 1, 0), ("folder", Folder(out / "folder"), PARTITIONS, 0)]
        places += [("bucket", bucket, PARTITIONS, delay) for delay in DELAYS]
        for place, store, symbols, delay in places:
            for step, used in steps(bench, store, out, symbols, delay).items():
                say(f"{place} {symbols:>2} partitions {delay:>4} ms  {step:<8} {used['wall']:7.2f} s {sum(used['requests'].values()):6} requests")
                bench.note("buckets", place=place, partitions=symbols, delay=delay, step=step, **used)
        published(bench, bucket, out, say)


def published(bench, bucket, out, say):
    """A run that has nothing to do over many partitions."""
    source = idle.published(bench, PUBLISHED, say)
    for name in ("spool", "archive"):
        shutil.rmtree(bucket.root / name, ignore_errors=True)
        shutil.copytree(source / name, bucket.root / name)
    used, printed = run(bench, bucket, out, ["compact", "--mode", "catch-up", "--format", "json"])
    if len(printed.splitlines()) != PUBLISHED or printed.count('"up-to-date"') != PUBLISHED:
        raise SystemExit(f"not all of {PUBLISHED} published partitions in a bucket had nothing to do")
    say(f"bucket {PUBLISHED} published partitions {used['wall']:7.2f} s {sum(used['requests'].values()):6} requests")
    bench.note("buckets", place="bucket", partitions=PUBLISHED, delay=0, step="idle", **used)


def told(found):
    """The tables as (title, table, what missed its aim)."""
    if not found:
        return []
    of = {(run["place"], run["partitions"], run["delay"], run["step"]): run for run in found}
    tables = [(
        f"Requests to a bucket that holds spool and archive, for a partition of {FILES} files, and for the run itself, which is what a run"
        f" over one partition takes beyond it; and for a partition of a run that has nothing to do over {PUBLISHED:,} published ones of one"
        f" file each:", requests(of), []), (
        f"Wall time of {PARTITIONS} such partitions, spool and archive in a folder, and in a bucket whose every answer comes later by a"
        " delay; round trips are the part of the time that grows with the delay, divided by it:", walls(of), [])]
    return tables


def requests(of):
    rows = []
    for step, (text, _) in STEPS.items():
        one, many = (of["bucket", partitions, 0, step]["requests"] for partitions in (1, PARTITIONS))
        each = {kind: (many[kind] - one[kind]) / (PARTITIONS - 1) for kind in KINDS}
        own = sum(one[kind] - each[kind] for kind in KINDS)
        rows.append([text, *(f"{count:.3g}" for count in each.values()), f"**{sum(each.values()):.3g}**", f"{own:.0f}"])
    if idle_run := of.get(("bucket", PUBLISHED, 0, "idle")):
        each = {kind: idle_run["requests"][kind] / PUBLISHED for kind in KINDS}
        rows.append([f"nothing to do, of {PUBLISHED:,}", *(f"{count:.3g}" for count in each.values()), f"**{sum(each.values()):.3g}**", ""])
    return report.table(["", *KINDS, "all", "of the run"], rows)


def walls(of):
    rows = []
    for step, (text, _) in STEPS.items():
        wall = [of["bucket", PARTITIONS, delay, step]["wall"] for delay in DELAYS]
        trips = (wall[-1] - wall[0]) / (DELAYS[-1] - DELAYS[0]) * 1000
        cells = [report.unit("wall", seconds) for seconds in [of["folder", PARTITIONS, 0, step]["wall"], *wall]]
        rows.append([text, *cells, f"{trips:.0f}"])
    return report.table(["", "folder", *(f"bucket, {delay} ms" for delay in DELAYS), "round trips"], rows)
