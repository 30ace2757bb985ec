"""Bytes a row of what the collector's own path writes (`stream_version` 2), beside the peers on the same files.

The files are those that `qlc collect` sealed of a recording (`collected.py`), made once for each binary and kept. Sizes follow from
the rows, so one round is enough.
"""

import hashlib
import pathlib
import shutil
import subprocess
import sys

import measure
import report
import tools

SECONDS, RATE = 120, 2_000
AIM = 0.68


def collected(bench, say):
    """The spool of the collector, made if it is not there."""
    folder = bench.args.data / f"collected-{SECONDS}-{RATE}"
    script = pathlib.Path(__file__).parent / "collected.py"
    made_by = hashlib.sha256(script.read_bytes())
    with open(bench.args.qlc, "rb") as binary:
        while piece := binary.read(1 << 20):
            made_by.update(piece)
    mark = folder / "made"
    if not mark.exists() or mark.read_text() != made_by.hexdigest():
        shutil.rmtree(folder, ignore_errors=True)
        say(f"collecting for {SECONDS} s")
        options = ["--seconds", SECONDS, "--rate", RATE, "--keep", folder]
        subprocess.run([sys.executable, *map(str, [script, bench.args.qlc, *options])], check=True)
        mark.write_text(made_by.hexdigest())
    return folder / "spool"


def ask(bench, say):
    spool = collected(bench, say)
    measure.warm(spool)
    with bench.folder() as folder:
        for tool in ["qlc", *(peer for peer in bench.args.peers if peer in tools.PEERS)]:
            out = pathlib.Path(folder) / tool
            (out / "spill").mkdir(parents=True)
            if tool == "qlc":
                tools.qlc(bench.args.qlc, spool, out)
            else:
                tools.PEERS[tool](bench.limits, spool, out)
        for name, source in tools.series(spool).items():
            of_qlc = pathlib.Path(folder) / "qlc" / "archive" / source.relative_to(spool) / f"date={tools.DATE}" / "data.parquet"
            patterns = {"qlc": of_qlc} | {tool.name: tool / f"{name}.parquet" for tool in pathlib.Path(folder).iterdir() if tool.name != "qlc"}
            rows = tools.compare(patterns)
            sizes = {tool: tools.written(pattern) for tool, pattern in patterns.items()}
            say(f"collected {name:<15} " + ", ".join(f"{tool} {size / rows:.2f}" for tool, size in sizes.items()) + " bytes a row")
            for tool, size in sizes.items():
                bench.note("collected", series=name, tool=tool, rows=rows, bytes=size)


def told(found):
    """The table as (title, table, what missed its aim)."""
    rows, missed = [], []
    peers = [tool for tool in tools.PEERS if any(run["tool"] == tool for run in found)]
    if not peers:
        return []
    for name in dict.fromkeys(run["series"] for run in found):
        of = {run["tool"]: run["bytes"] / run["rows"] for run in found if run["series"] == name}
        ratio = of["qlc"] / min(of[peer] for peer in peers)
        count = next(run["rows"] for run in found if run["series"] == name)
        rows.append([name, f"{count:,}", *(f"{of[tool]:.2f}" for tool in ("qlc", *peers)), f"**{ratio:.2f}**"])
        if round(ratio, 2) > AIM:
            missed.append(f"bytes a row of {name} as collected: {ratio:.2f} of the best peer's (aim {AIM:g})")
    title = (
        f"Bytes a row of what `qlc collect` writes (`stream_version` 2), {RATE:,} quotes a second and a trade for every fourth for"
        f" {SECONDS} seconds (aim ≤ {AIM:g} of the best peer's):"
    )
    head = ["series", "rows", "qlc", *(tools.NAMES[peer] for peer in peers), "qlc : best peer"]
    return [(title, report.table(head, rows), missed)]
