"""Turns measurements into tables for people, and puts them into docs/BENCHMARKS.md and README.md.

Every figure is a median with the smallest and largest value; ratios are of medians, to the best peer in that very
column. Refuses to leave anything out: where a peer was better, or an aim was missed, the text says so.
"""

import os
import pathlib
import platform
import re
import textwrap

import plot
from measure import summary
from tools import BESIDE, NAMES, PEERS

METRICS = {"wall": "wall", "cpu": "CPU", "rss": "peak RSS", "row": "bytes a row"}
# With the wall time that is aimed at, as a ratio to theirs.
EXTRA = {
    "floor": ("decode and encode all columns", None),
    "floor-carried": ("the same without the four constant columns", 1.2),
    "unproven": ("scan, merge and encode without any proof", 1.15),
}
# Peak memory of ten times the rows, as a ratio.
AIM_GROWTH = 1.1
# Where the tables go: the document, and the marks around its part.
ALL = ("docs/BENCHMARKS.md", "<!-- figures: written by benches/run --readme -->", "<!-- end of figures -->")
SUMMARY = ("README.md", "<!-- summary: written by benches/run --readme -->", "<!-- end of summary -->")


def settings(args):
    """What a reader must know of the machine and the run."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "machine": f"{args.threads} cores{f' ({cpu[1].strip()})' if cpu else ''}, {memory / 1e9:.0f} GB of memory, {platform.system()}",
        "rounds": args.rounds,
        "rows": args.rows,
        "threads": args.threads,
        "memory of peers": args.memory,
    }


def unit(metric, value):
    if metric in ("wall", "cpu"):
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    return f"{value / 1e9:.2f} GB" if metric == "rss" else f"{value:.2f}"


def shown(metric, found):
    """The median, and its spread where there is any to see."""
    texts = [unit(metric, found[key]).split()[0] for key in ("min", "max")]
    spread = "" if texts[0] == texts[1] else f" ({texts[0]}–{texts[1]})"
    return unit(metric, found["median"]) + spread


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def summaries(runs):
    """By workload and tool: each metric's summary."""
    found = {}
    for run in runs:
        values = {"wall": run["wall"], "cpu": run["cpu"], "rss": run["rss"], "row": run["bytes"] / run["rows"]}
        for metric, value in values.items():
            found.setdefault(run["workload"], {}).setdefault(run["tool"], {}).setdefault(metric, []).append(value)
    return {
        workload: {tool: {metric: summary(values) for metric, values in metrics.items()} for tool, metrics in found[workload].items()}
        for workload in found
    }


def ratios(tools):
    """qlc's medians to those of the best peer, metric by metric."""
    peers = [tool for tool in tools if tool in PEERS]
    if not peers:
        return {}
    best = {metric: min(tools[peer][metric]["median"] for peer in peers) for metric in METRICS}
    return {metric: tools["qlc"][metric]["median"] / best[metric] for metric in METRICS}


def compared(found, aims):
    """The table of workloads, and what was not reached."""
    rows, missed = [], []
    for workload, tools in found.items():
        for nth, tool in enumerate(name for name in NAMES if name in tools):
            rows.append([workload if nth == 0 else "", NAMES[tool], *(shown(m, tools[tool][m]) for m in METRICS)])
        ratio = ratios(tools)
        if not ratio:
            continue
        rows.append(["", "**qlc : best peer**", *(f"**{ratio[m]:.2f}**" for m in METRICS)])
        wanted = aims.get(workload, [None] * len(METRICS))
        if workload in aims:
            rows.append(["", "aim", *("" if aim is None else f"≤ {aim:g}" for aim in wanted)])
        short = []
        for (metric, name), aim in zip(METRICS.items(), wanted):
            value = round(ratio[metric], 2)
            aimed = f", aim {aim:g}" if aim is not None and value > aim else ""
            if value > 1 or aimed:
                short.append(f"{name} {value:.2f} ({'a peer needs less' if value > 1 else 'less than every peer'}{aimed})")
        if short:
            missed.append(f"{workload}: {'; '.join(short)}")
    return table(["workload", "", *METRICS.values()], rows), missed


def abridged(found):
    """A line for each workload: qlc's medians, and their ratios to those of the best peer."""
    rows = []
    for workload, tools in found.items():
        ratio = ratios(tools)
        if ratio:
            rows.append([workload, *(f"{unit(m, tools['qlc'][m]['median'])} (**{ratio[m]:.2f}**)" for m in METRICS)])
    return table(["workload", *(f"{name} (to the best peer)" for name in METRICS.values())], rows)


def extras(found, aimed):
    """qlc beside the floor and beside its own work without proof, and what was not reached."""
    rows, missed = [], []
    for workload, tools in found.items():
        for tool, (text, aim) in EXTRA.items():
            if tool in tools and "qlc" in tools:
                ratio = {m: tools["qlc"][m]["median"] / tools[tool][m]["median"] for m in ("wall", "cpu")}
                rows.append([workload, text, *(shown(m, tools[tool][m]) for m in ("wall", "cpu")), *(f"**{r:.2f}**" for r in ratio.values())])
                if aimed and aim is not None and round(ratio["wall"], 2) > aim:
                    missed.append(f"{workload}: {ratio['wall']:.2f} of the wall time to {text} (aim {aim:g})")
    return table(["workload", "", "wall", "CPU", "qlc to it, wall", "qlc to it, CPU"], rows) if rows else "", missed


def limited(found):
    rows = [[run["workload"], run["limit"], f"{run['rss'] / 1e6:.0f} MB", unit("wall", run["wall"]), run["sha256"][:12]] for run in found]
    return table(["workload", "`--memory-limit`", "peak RSS", "wall", "sha256"], rows) if rows else ""


def grown(found, aimed):
    rows, missed, cases = [], [], {}
    for run in found:
        cases.setdefault((run["kind"], run["rows"]), []).append(run)
    for (kind, count), runs in cases.items():
        values = {m: summary([run[m] for run in runs]) for m in ("wall", "rss")}
        first = next(size for name, size in cases if name == kind)
        base = {m: summary([run[m] for run in cases[kind, first]])["median"] for m in values}
        per_row = values["wall"]["median"] / count / (base["wall"] / first)
        cells = [f"{count / 1e6:g} million", *(shown(m, values[m]) for m in values), f"{per_row:.2f}"]
        memory = values["rss"]["median"] / base["rss"]
        rows.append([kind, *cells, f"{memory:.2f}"])
        if aimed and round(memory, 2) > AIM_GROWTH:
            missed.append(f"{kind} of {count / 1e6:g} million rows: {memory:.2f} of the peak RSS of {first / 1e6:g} million (aim {AIM_GROWTH:g})")
    head = ["workload", "rows", "wall", "peak RSS", "time a row, to the first", "peak RSS, to the first"]
    return table(head, rows) if rows else "", missed


def asked(found):
    """The questions, and where DuckDB answers sooner. What a process reads to start is measured by a question about nothing."""
    rows, missed, cases = [], [], {}
    for run in found:
        cases.setdefault(run["question"], {}).setdefault(run["tool"], []).append(run)
    read = {(q, t): summary([r["read"] or 0 for r in runs])["median"] for q, tools in cases.items() for t, runs in tools.items()}
    for question, tools in cases.items():
        wall = {tool: summary([run["wall"] for run in runs]) for tool, runs in tools.items()}
        inside = summary([run["inside"] for run in tools["duckdb"]])
        ratio = wall["qlc"]["median"] / wall["duckdb"]["median"]
        bytes_of = [f"{max(0, read[question, tool] - read['start', tool]) / 1e6:.2f} MB" for tool in ("qlc", "duckdb")]
        cells = [shown("wall", wall[tool]) for tool in ("qlc", "duckdb")] + [shown("wall", inside)]
        rows.append([question, *cells, f"**{ratio:.2f}**", *bytes_of])
        if ratio > 1:
            missed.append(f"query {question}: DuckDB answers sooner ({ratio:.2f})")
        elif question != "start" and wall["qlc"]["median"] > inside["median"]:
            missed.append(f"query {question}: DuckDB answers sooner once it runs ({wall['qlc']['median'] / inside['median']:.2f})")
    head = ["question", "qlc", "DuckDB", "DuckDB once started", "qlc : DuckDB", "qlc read", "DuckDB read"]
    return table(head, rows) if rows else "", missed


def write(found, aims, further, out):
    """Writes the tables as Markdown and the plot as SVG into the folder `out`; `further` has those of other parts, each as its title,
    the table, and what missed its aim."""
    said = found["settings"]
    by_workload = summaries(found["runs"])
    first, missed = compared(by_workload, aims)
    asks = found.get("query", [])
    questions, later = asked(asks)
    rounds = "1 round" if said["rounds"] == 1 else f"{said['rounds']} rounds"
    how = (
        f"One run of `benches/run` on {said['machine']}: {rounds}, medians with the smallest and largest value, whole"
        f" processes from start to end, all on the same {said['threads']} cores. A workload is one day of"
        f" {said['rows']:,} quotes in 480 snappy files (hostile-2880: in 2,880), a fleet has symbols of 20,000 rows in 50 files"
        " each. qlc runs at its defaults, with hashing, read-back, fsync and receipt; the peers sort and write,"
        f" and are told to use {said['threads']} threads and {said['memory of peers']}. A ratio is qlc's median to that of the"
        " best peer in that column."
    )
    if any(run["tool"] in BESIDE for run in found["runs"]):
        how += (
            " NautilusTrader puts its own files of the same quotes behind one another, without sequence numbers, names or an order; it"
            " does other work and is no peer of a ratio."
        )
    text = [textwrap.fill(how, 120) + "\n"]
    if by_workload:
        text += ["All results of a workload held the same rows at the same places.\n", first, plot.NOTE]
    parts = {
        "Against the floor: the same columns decoded and encoded with the same settings on all cores, without order or proof;"
        " and qlc's own work without row hash, read-back, receipt and fsync:": extras(by_workload, aims),
        "The limit, on the same files (a run fails that exceeds it, or changes a byte):": (limited(found.get("limits", [])), []),
        "Growth: more rows in 480 files:": grown(found.get("growth", []), aims),
        f"Queries on the archive of *clean* ({next((r['bytes_in'] for r in asks), 0) / 1e6:.0f} MB), the same SQL in both;"
        " `start` asks about nothing, and what it reads is taken off the others:": (questions, later),
    }
    for title, part, short in [*((title, *told) for title, told in parts.items()), *further]:
        if part:
            text += [textwrap.fill(title, 120) + "\n", part]
        missed += short
    if missed:
        text += ["Where qlc is not best, or misses its aim:\n", "\n".join(f"- {what}" for what in missed) + "\n"]
    out.mkdir(parents=True, exist_ok=True)
    (out / "figures.md").write_text("\n".join(text))
    (out / "summary.md").write_text(abridged(by_workload))
    (out / "figures.svg").write_text(plot.svg(by_workload))


def into_documents(out, here):
    """Puts the tables between their marks, and the plot beside the harness."""
    for (document, begin, end), part in ((ALL, "figures.md"), (SUMMARY, "summary.md")):
        path = here.parent / document
        text = path.read_text()
        head, tail = text[: text.index(begin) + len(begin)], text[text.index(end) :]
        path.write_text(f"{head}\n\n{(out / part).read_text()}\n{tail}")
    (here / "figures.svg").write_bytes((out / "figures.svg").read_bytes())
