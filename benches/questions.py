"""Asks qlc and DuckDB the same questions about the same archive: the named queries of `sql/`, in the same words (but for
the function that numbers a file's rows, which has another name in DuckDB), and a slice of one hour, of which the bytes that were read are reported.

Refuses to compare answers that differ in their number of rows.
"""

import json
import pathlib
import statistics
import sys

import measure
import tools

NAMED = ("coverage", "crossed_quotes", "duplicates", "gaps", "order", "rows_per_hour")
PARAMS = {"exchange": "%", "stream": "%", "symbol": "%", "date": "%", "seconds": 60}
HOUR = 3_600_000_000_000
# The thirteenth hour of 2026-02-03.
FROM = 1_770_076_800_000_000_000 + 12 * HOUR
SLICE = f"""SELECT count(*) AS rows, min(bid_price) AS low, max(ask_price) AS high, sum(bid_qty) AS quantity
FROM archive.bbo WHERE ts_event >= {FROM} AND ts_event < {FROM + HOUR}"""

# The tables and functions of `qlc query`, as far as the questions need them.
DUCKDB = r"""
import sys, json, re, time, duckdb
threads, memory, spill, archive, sql, params = sys.argv[1:]
con = duckdb.connect()
con.execute(f"SET threads = {threads}; SET memory_limit = '{memory}'; SET temp_directory = '{spill}'; SET TimeZone = 'UTC'; SET enable_progress_bar = false; SET integer_division = true")
con.execute('CREATE SCHEMA archive')
hive = 'hive_partitioning = true, hive_types_autocast = false'
for table, stream in (('events', '*'), ('bbo', 'bbo')):
    files = f"read_parquet('{archive}/exchange=*/stream={stream}/symbol=*/date=*/data.parquet', {hive}, file_row_number = true)"
    # In days of version 1 there is none; qlc shows it as null.
    has = {row[0] for row in con.execute(f'DESCRIBE SELECT * FROM {files}').fetchall()}
    more = '' if 'sub_seq' in has else ', NULL::INTEGER AS sub_seq'
    con.execute(f'CREATE VIEW archive.{table} AS SELECT *{more} FROM {files}')
con.execute(f'''CREATE VIEW archive.meta AS SELECT m.*, d.size AS data_bytes
    FROM read_json('{archive}/exchange=*/stream=*/symbol=*/date=*/meta.json', {hive}, filename = true) m
    JOIN (SELECT filename, size FROM read_blob('{archive}/exchange=*/stream=*/symbol=*/date=*/data.parquet')) d
    ON replace(m.filename, 'meta.json', 'data.parquet') = d.filename''')
con.execute('''CREATE MACRO to_ns(t) AS CASE WHEN t > 100000000000000000 THEN t WHEN t > 100000000000000 THEN t * 1000
    WHEN t > 100000000000 THEN t * 1000000 ELSE t * 1000000000 END''')
con.execute('CREATE MACRO to_time(t) AS make_timestamp_ns(to_ns(t))')
sql = sql.replace('file_row_index()', 'file_row_number')
params = {name: value for name, value in json.loads(params).items() if re.search(rf'\${name}\b', sql)}
began = time.monotonic()
rows = con.execute(sql, params).fetchall()
print(json.dumps({'rows': len(rows), 'inside': time.monotonic() - began}))
"""


def asked_qlc(bench, archive, statement, params=()):
    command = [bench.args.qlc, "--spool", archive.parent / "no-spool", "--archive", archive, "query", *statement]
    command += ["--format", "ndjson", "--spill-dir", archive.parent / "spill"]
    for name, value in params:
        command += ["--param", f"{name}={value}"]
    used, printed = measure.run(command)
    return used | {"rows": len(printed.splitlines())}, printed


def asked_duckdb(bench, archive, sql):
    limits = bench.limits
    command = [sys.executable, "-c", DUCKDB, limits.threads, limits.memory, archive.parent / "spill", archive, sql, json.dumps(PARAMS)]
    used, printed = measure.run(command)
    return used | json.loads(printed)


def ask(bench, say):
    """All questions, as many times as there are rounds, in turn."""
    root = pathlib.Path(__file__).resolve().parent.parent
    with bench.folder() as folder:
        out = pathlib.Path(folder)
        tools.qlc(bench.args.qlc, bench.workload("clean"), out)
        archive = out / "archive"
        size = measure.warm(archive)
        questions = {name: (("--name", name), (root / "sql" / f"{name}.sql").read_text()) for name in NAMED}
        questions["one hour"] = ((SLICE,), SLICE)
        questions["start"] = (("SELECT 1 AS one",), "SELECT 1 AS one")
        for name, (statement, sql) in questions.items():
            for number in range(bench.args.rounds):
                seconds = [("seconds", PARAMS["seconds"])] if "$seconds" in sql else []
                answers = {}
                for tool in ("qlc", "duckdb") if number % 2 == 0 else ("duckdb", "qlc"):
                    answers[tool] = asked_qlc(bench, archive, statement, seconds)[0] if tool == "qlc" else asked_duckdb(bench, archive, sql)
                    bench.note("query", question=name, tool=tool, round=number, bytes_in=size, **answers[tool])
                if answers["qlc"]["rows"] != answers["duckdb"]["rows"]:
                    sys.exit(f"{name}: qlc answers {answers['qlc']['rows']} rows, DuckDB {answers['duckdb']['rows']}")
            walls = {t: statistics.median(r["wall"] for r in bench.found["query"] if (r["question"], r["tool"]) == (name, t)) for t in answers}
            say(f"query {name:<15} qlc {walls['qlc']:6.2f} s  DuckDB {walls['duckdb']:6.2f} s")
