#!/usr/bin/env python3
"""Runs the examples of docs/readers.md, and docs/replay.py, against an archive with quotes of Binance.

    QLC_ARCHIVE=DIR readers.py

Every example must print what the archive's meta.json say. Says what was run, one line each; a reader that cannot run
here is named with the reason, and is an error unless it is Spark on a machine without Java. Ends with exit code 1 if
anything is wrong.
"""

import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ARCHIVE = pathlib.Path(os.environ.get("QLC_ARCHIVE", "")).resolve()


def examples(text):
    """The fenced examples of a document that are Python or SQL: their heading, language and text."""
    heading = ""
    for block in re.finditer(r"^## (?P<heading>[^\n]+)$|^```(?P<language>\w+)\n(?P<code>.*?)^```$", text, re.M | re.S):
        if block["heading"]:
            heading = block["heading"]
        elif block["language"] in ("python", "sql"):
            yield heading, block["language"], block["code"]


def claimed(pattern):
    """Rows, first and last ts_event of the partitions that match, as their meta.json say."""
    metas = [json.loads(meta.read_text()) for meta in ARCHIVE.glob(f"{pattern}/date=*/meta.json")]
    if not metas:
        sys.exit(f"{ARCHIVE}: has no partition {pattern}; make one by qlc demo and name it in QLC_ARCHIVE")
    first = min(int(meta["ts_event_min"]) for meta in metas)
    return [sum(meta["row_count"] for meta in metas), first, max(int(meta["ts_event_max"]) for meta in metas)]


def through_datafusion(sql):
    """A program that runs the statements of an example one after the other and prints the first row of the last."""
    return f"""
import datafusion
context = datafusion.SessionContext()
for statement in f'''{sql}'''.split(";"):
    if statement.strip():
        found = context.sql(statement)
print(*[column[0] for column in found.to_pydict().values()])
"""


def printed(program):
    """What a program prints, given the archive's place."""
    program = f"archive = {str(ARCHIVE)!r}\n{program}"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if ran.returncode != 0:
        return ran.stderr[-2000:]
    return ran.stdout


def replayed(want):
    """What is wrong with a replay of two series of the day that the archive has of both."""
    sys.path.insert(0, str(ROOT / "docs"))
    sys.dont_write_bytecode = True
    import replay

    date = min(ARCHIVE.glob("exchange=binance/stream=bbo/symbol=btcusdt/date=*")).name.removeprefix("date=")
    series = ["binance/bbo/btcusdt", "binance/trade/btcusdt"]
    keys = [(e["ts_event"], e["seq"]) for e in replay.events(ARCHIVE, date, series)]
    if len(keys) != want:
        return f"{len(keys)} events instead of {want}"
    if any(one > next for one, next in itertools.pairwise(keys)):
        return "events are out of order"
    command = [sys.executable, str(ROOT / "docs" / "replay.py"), str(ARCHIVE)]
    absent = subprocess.run([*command, "1999-01-01", series[0]], stderr=subprocess.PIPE, text=True)
    if absent.returncode == 0 or "no day of the archive" not in absent.stderr or "Traceback" in absent.stderr:
        return f"of a day that is not there it says: {absent.stderr}"
    command += [f"{date[:4]}-{date[4:6]}-{date[6:]}", series[0]]
    ran = subprocess.Popen(command, stdout=subprocess.PIPE)
    first = json.loads(ran.stdout.readline())
    ran.stdout.close()
    if ran.wait() != 0:
        return "the command does not end well when its reader goes"
    return None if first["stream"] == "bbo" else f"its first event is {first}"


def main():
    if not (ARCHIVE / "_receipts").is_dir():
        sys.exit("name an archive in QLC_ARCHIVE, such as that of qlc demo")
    binance = claimed("exchange=binance/stream=bbo/symbol=*")
    bitcoin = claimed("exchange=binance/stream=bbo/symbol=btcusdt")
    wrong = run = 0
    for heading, language, code in examples((ROOT / "docs" / "readers.md").read_text()):
        if heading == "Spark" and not shutil.which("java"):
            print("Spark: not run, there is no Java here")
            continue
        is_sql = language == "sql"
        want = bitcoin if is_sql else binance
        said = printed(through_datafusion(code) if is_sql else code)
        found = said.split()
        run += 1
        if found != [str(number) for number in want]:
            wrong += 1
            print(f"{heading}: WRONG, {want} was expected:\n{said}")
        else:
            print(f"{heading}: as meta.json says ({' '.join(found)})")
    trades = claimed("exchange=binance/stream=trade/symbol=btcusdt")
    problem = replayed(bitcoin[0] + trades[0])
    print(f"replay: {problem or 'every event, in order'}")
    if run < 6:
        sys.exit(f"docs/readers.md has only {run} examples that could be run")
    sys.exit(1 if wrong or problem else 0)


if __name__ == "__main__":
    main()
