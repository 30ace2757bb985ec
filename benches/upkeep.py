"""What is done with a day beside its compaction, in ratios to it: `verify` to the sha256 and a plain decoding of the same bytes
(`benches/decode.rs`), `prune` and `import` to `compact` of the same day; and whether they take as long a file where a day has very
many.

Each works on what the compaction just made, with links to the files of the workload, so that pruning removes the links. Fails
where a row is missing afterwards, or a file that could go is still there.
"""

import json
import os
import pathlib
import sys

import measure
import report
import tools

VERIFIED = ("clean", "fleet")
# Files of a day, each of so many rows.
SMALL_FILES, SMALL_ROWS = (480, 2_880, 20_000), 100
STEPS = {
    "compact": "compact",
    "prune": "prune",
    "adopt": "import of a compacted day",
    "rewrite": "import --rewrite of raw files",
}
AIM_VERIFY, AIM_STEP, LINEAR = 1.3, 0.8, 1.25


def verify(bench, built, say):
    """`verify` of the archives of some workloads, in turn with the plain decoding."""
    for name in (name for name in VERIFIED if name in bench.args.workload):
        with bench.folder() as folder:
            out = pathlib.Path(folder)
            tools.qlc(bench.args.qlc, bench.workload(name), out)
            size = measure.warm(out / "archive")
            commands = {"qlc": [bench.args.qlc, "--spool", out / "none", "--archive", out / "archive", "verify"]}
            if "decode" in built:
                commands["decode"] = [built["decode"], out / "archive", "--threads", bench.args.threads]
            for number in range(bench.args.rounds):
                for tool in list(commands)[:: 1 if number % 2 == 0 else -1]:
                    used, _ = measure.run(commands[tool])
                    say(f"verify {name:<9} {tool:<8} {used['wall']:7.2f} s")
                    bench.note("verify", workload=name, tool=tool, round=number, bytes_in=size, **used)


def link(source, target):
    """The same tree, of links to the same files; returns how many there are."""
    count = 0
    for path in source.rglob("*.parquet"):
        here = target / path.relative_to(source)
        here.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, here)
        count += 1
    return count


def of_day(folder):
    """Where the files of a series' day lie in the tree of an older pipeline."""
    return folder / f"date={tools.DATE}"


def old_days(bench, spool, metas, out):
    """A tree with the days of a spool as another program compacts them."""
    (out / "made" / "spill").mkdir(parents=True)
    tools.duckdb(bench.limits, spool, out / "made")
    for name, folder in tools.series(spool).items():
        day = of_day(out / "old" / folder.relative_to(spool))
        day.mkdir(parents=True)
        (out / "made" / f"{name}.parquet").rename(day / "data.parquet")
        meta = metas[day.relative_to(out / "old")]
        times = {key: meta[key] for key in ("ts_event_min", "ts_event_max")}
        (day / "meta.json").write_text(json.dumps({"rows": meta["row_count"], **times, "schema_version": 1}))
    return out / "old"


def raw_files(spool, out):
    """A tree with the files of a spool in folders of their day."""
    for folder in tools.series(spool).values():
        link(folder, of_day(out / "raw" / folder.relative_to(spool)))
    return out / "raw"


def metas(archive):
    """The meta.json of each partition, by its folder."""
    return {path.parent.relative_to(archive): json.loads(path.read_text()) for path in archive.glob("exchange=*/**/meta.json")}


def rows_of(archive):
    return sum(meta["row_count"] for meta in metas(archive).values())


def day(bench, source, out):
    """One round with the files of `source`; returns what each step used, and how many files and rows there were."""
    spool = out / "spool"
    files = link(source, spool)
    used = {"compact": tools.qlc(bench.args.qlc, spool, out)[0]}
    compacted = metas(out / "archive")
    old, raw = old_days(bench, spool, compacted, out), raw_files(spool, out)

    def run(step, archive, *command):
        stores = ["--spool", spool, "--archive", archive]
        used[step], _ = measure.run([bench.args.qlc, *stores, *command, "--spill-dir", out / "spill"])

    run("prune", out / "archive", "prune", "--keep-days", "7")
    run("adopt", out / "adopted", "import", "--from", old)
    run("rewrite", out / "rewritten", "import", "--from", raw, "--rewrite")
    if left := link(spool, out / "left"):
        sys.exit(f"{left} of {files} files are still there after qlc prune")
    rows = {name: rows_of(out / name) for name in ("archive", "adopted", "rewritten")}
    if len(set(rows.values())) != 1:
        sys.exit(f"{source}: not all rows were taken over: {rows}")
    return used, files, rows["archive"]


def shapes(bench):
    """The spools, by name."""
    found = {name: bench.workload(name) for name in VERIFIED if name in bench.args.workload}
    for files in (files for files in SMALL_FILES if files * SMALL_ROWS * 5 <= bench.args.rows):
        found[f"{files:,} small files"] = bench.spool("clean", files * SMALL_ROWS, files)
    return found


def ask(bench, built, say):
    verify(bench, built, say)
    for name, source in shapes(bench).items():
        measure.warm(source)
        for number in range(bench.args.rounds):
            with bench.folder() as folder:
                used, files, rows = day(bench, source, pathlib.Path(folder))
            say(f"upkeep {name:<18} " + ", ".join(f"{step} {one['wall']:.2f} s" for step, one in used.items()))
            for step, one in used.items():
                bench.note("upkeep", day=name, step=step, round=number, files=files, rows=rows, **one)


def median(runs, metric):
    return measure.summary([run[metric] for run in runs])["median"]


def told(verified, done):
    """The tables as (title, table, what missed its aim)."""
    found = []
    if {run["tool"] for run in verified} == {"qlc", "decode"}:
        found.append(told_verify(verified))
    if done:
        found += [told_days(done), told_files(done)]
    return found


def told_verify(verified):
    rows, missed = [], []
    for name in dict.fromkeys(run["workload"] for run in verified):
        of = {tool: [run for run in verified if (run["workload"], run["tool"]) == (name, tool)] for tool in ("qlc", "decode")}
        cells = [report.shown(m, measure.summary([run[m] for run in of[tool]])) for tool in of for m in ("wall", "cpu")]
        ratios = {m: median(of["qlc"], m) / median(of["decode"], m) for m in ("wall", "cpu")}
        rss = report.shown("rss", measure.summary([run["rss"] for run in of["qlc"]]))
        rows.append([name, *cells, *(f"**{ratio:.2f}**" for ratio in ratios.values()), rss])
        short = [f"{report.METRICS[m]} {ratio:.2f}" for m, ratio in ratios.items() if round(ratio, 2) > AIM_VERIFY]
        if short:
            missed.append(f"verify of {name}: {'; '.join(short)} (to sha256 and decode, aim {AIM_VERIFY:g})")
    head = ["archive of", "verify, wall", "CPU", "sha256 + decode, wall", "CPU", "verify to it, wall", "CPU", "peak RSS"]
    title = (
        "`verify` beside what reading takes at least: the sha256 of every `data.parquet`, then all of its columns decoded by the"
        f" Parquet library alone with as many threads, its row groups side by side (aim ≤ {AIM_VERIFY:g}):"
    )
    return title, report.table(head, rows), missed


def by_day(done):
    """Runs by day and step."""
    found = {}
    for run in done:
        found.setdefault(run["day"], {}).setdefault(run["step"], []).append(run)
    return found


def told_days(done):
    rows, missed = [], []
    for name, steps in by_day(done).items():
        base = median(steps["compact"], "wall")
        first = steps["compact"][0]
        cells = [name, f"{first['rows']:,}", f"{first['files']:,}", report.shown("wall", measure.summary([r["wall"] for r in steps["compact"]]))]
        for step in list(STEPS)[1:]:
            ratio = median(steps[step], "wall") / base
            cells.append(f"{report.unit('wall', ratio * base)} (**{ratio:.2f}**)")
            if round(ratio, 2) > AIM_STEP:
                missed.append(f"{STEPS[step]}, {name}: {ratio:.2f} of its compaction (aim {AIM_STEP:g})")
        rows.append(cells)
    head = ["day", "rows", "files", *STEPS.values()]
    title = (
        "`prune` just after the compaction, and `import` into another archive of the same day: as another program compacted it, which"
        " is read and adopted, and of its raw files, which are compacted, and each compared with the archive afterwards. In brackets"
        f" the wall time to that of `compact` (aim ≤ {AIM_STEP:g} each):"
    )
    return title, report.table(head, rows), missed


def told_files(done):
    """Files a second, and the time a file beside that of the smallest of the days of small files."""
    rows, missed, first = [], [], {}
    for name, steps in by_day(done).items():
        cells = [name]
        for step in ("compact", "prune", "rewrite"):
            each = median(steps[step], "wall") / steps[step][0]["files"]
            growth = ""
            if name.endswith("small files"):
                growth = each / first.setdefault(step, each)
                if growth > LINEAR:
                    missed.append(f"{STEPS[step]}, {name}: {growth:.2f} times the time a file of the smallest (aim: linear)")
                growth = f" ({growth:.2f})"
            cells.append(f"{1 / each:,.0f}{growth}")
        rows.append(cells)
    title = f"Files a second; in brackets the time a file to that in the smallest day of small files, of {SMALL_ROWS} rows each:"
    return title, report.table(["day", *(STEPS[step] for step in ("compact", "prune", "rewrite"))], rows), missed
