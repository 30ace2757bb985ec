#!/usr/bin/env python3
"""Checks the upload of a collector's spool into a bucket: the commands of deploy/systemd/quantlab-upload.service, word for word.

    upload.py QLC --server VENV

They are read from the unit and run by rclone, against the server of tests/s3.py; only the places are this test's. What qlc makes
of the bucket must be what it makes of the folder. Says what was checked, one line each; ends with the first thing that is wrong and
exit code 1. Knows of qlc only its command line and its documented formats.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request

import pyarrow.fs

from checks import Wrong, check
from s3 import BUCKET, KEYS, Qlc, Server, data, is_whole, no_uploads, objects, said

ROOT = pathlib.Path(__file__).resolve().parent.parent
UNIT = ROOT / "deploy" / "systemd" / "quantlab-upload.service"
SPOOL = "/opt/quantlab/spool"
# Late enough for every day of a test to be over, and for every file to be old enough to go.
LATER = ("--now", "2030-01-01T00:00:00Z")
DEADLINE_S = 120

sys.path.insert(0, str(ROOT / "benches"))
import mock  # noqa: E402


class Unit:
    """What the unit runs, in its environment."""

    def __init__(self, server, bucket=BUCKET, url=None):
        self.bucket = bucket
        text = UNIT.read_text()
        self.commands = [shlex.split(line) for line in re.findall(r"^ExecStart=(.*)$", text, re.M)]
        check(len(self.commands) > 1, f"{UNIT.name} has {len(self.commands)} commands")
        given = dict(word.split("=", 1) for line in re.findall(r"^Environment=(.*)$", text, re.M) for word in shlex.split(line))
        # What upload.env says of a store that is not AWS.
        told = {"RCLONE_S3_PROVIDER": "Other", "RCLONE_S3_ENDPOINT": url or server.url, "RCLONE_S3_REGION": KEYS["AWS_REGION"]}
        keys = {name: value for name, value in KEYS.items() if name != "AWS_REGION"}
        self.env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"} | given | told | keys

    def words(self, spool, to):
        """The commands with the places of a test."""
        places = {SPOOL: str(spool), ":s3:${QLC_UPLOAD_TO}": f":s3:{self.bucket}/{to}"}
        for command in self.commands:
            check(all(command.count(place) == 1 for place in places), f"a command of the unit without its places: {command}")
            yield [places.get(word, word) for word in command]

    def begin(self, nth, spool, to, **env):
        command = list(self.words(spool, to))[nth]
        # A process of its own, and nothing between it and the signal.
        return subprocess.Popen(command, env=self.env | env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __call__(self, spool, to, fails=False, **env):
        """Runs one after the other, to the first that fails, as systemd does."""
        told = ""
        for command in self.words(spool, to):
            ran = subprocess.run(command, env=self.env | env, capture_output=True, text=True, check=False)
            told += ran.stdout + ran.stderr
            if ran.returncode != 0:
                check(fails, said(command, ran))
                return told
        check(not fails, f"the upload of {spool} to {to} should have failed\n{told}")
        return told


# --- spools ----------------------------------------------------------------------------------------------------------


def put(path, raw, age_s=3600):
    """A file that was left alone for so long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    then = time.time() - age_s
    os.utime(path, (then, then))


def sealed(spool):
    """The sealed files of a spool, as docs/format.md tells which they are, by their keys."""
    found = {}
    for path in sorted(spool.rglob("*.parquet")):
        key = path.relative_to(spool).as_posix()
        if path.is_file() and not path.is_symlink() and not any(part.startswith(".") for part in key.split("/")):
            found[key] = path.read_bytes()
    return found


def as_below(server, to, spool, more=()):
    """That the prefix holds the sealed files of the spool under their keys, and else only `more`."""
    found = objects(server, to)
    expected = sealed(spool) | dict(more)
    check(set(found) == set(expected), f"{to}: the keys differ: {sorted(set(found) ^ set(expected))}")
    differ = [key for key, raw in expected.items() if found[key] != raw]
    check(not differ, f"{to}: other bytes: {differ}")
    return found


def versions(server, to):
    """When each object was written: what is written again differs."""
    files = server.files()
    below = files.get_file_info(pyarrow.fs.FileSelector(f"{BUCKET}/{to}", recursive=True))
    return {info.path: info.mtime_ns for info in below if info.type == pyarrow.fs.FileType.File}


def kept(found):
    """Data and QUARANTINE of an archive but for what tells times: the bytes that follow from the spool."""
    rows = {key: raw for key, raw in found.items() if key.endswith(".parquet")}
    return rows | {key: sorted(e["source_path"] for e in entries(raw)) for key, raw in found.items() if key.endswith("/error.json")}


def entries(raw):
    told = json.loads(raw)
    return told if isinstance(told, list) else [told]


def compacted(qlc, spool, name, code=3):
    """A spool is compacted into an archive of its own; what was said, without the places."""
    ran = qlc(name, spool, "compact", "--mode", "catch-up", *LATER, "--format", "json", codes=(code,))
    outcomes = [json.loads(line) for line in ran.stdout.splitlines() if line.strip()]
    return {tuple(o[k] for k in ("exchange", "stream", "symbol", "date")): (o["status"], o.get("rows")) for o in outcomes if "date" in o}


def same_archives(server, qlc, folder, to, name, code=3):
    """Compaction of the bucket gives what that of the folder gives."""
    ours = compacted(qlc, folder, f"{name}-of-folder", code)
    theirs = compacted(qlc, f"s3://{BUCKET}/{to}", f"{name}-of-bucket", code)
    check(ours == theirs and ours, f"other outcomes: {ours} {theirs}")
    one, other = (objects(server, f"{name}-of-{kind}") for kind in ("folder", "bucket"))
    is_whole(other)
    check(kept(one) == kept(other), f"{name}: other bytes: {[k for k in kept(one) | kept(other) if kept(one).get(k) != kept(other).get(k)]}")
    return len(data(other))


def objects_of(server, bucket):
    """Every object of a bucket with its size and when it was written."""
    found = server.files().get_file_info(pyarrow.fs.FileSelector(bucket, recursive=True))
    return {info.path: (info.size, info.mtime_ns) for info in found if info.type == pyarrow.fs.FileType.File}


# --- the checks ------------------------------------------------------------------------------------------------------


def a_spool_is_copied_and_compacts_to_the_same_bytes(server, qlc, unit, work):
    spool = work / "spool"
    shutil.copytree(work / "demo" / "spool", spool)
    raw = next(iter(sealed(spool).values()))
    series = spool / "exchange=okx/stream=bbo/symbol=btcusdt"
    # What is no part of a spool: unfinished, hidden, the log, what a file system keeps; a link is not followed.
    for path in (
        series / ".2026-01-01_00-00-00.parquet.77.qlc.tmp",
        series / "2026-01-01_00-00-01.parquet.tmp",
        series / "._2026-01-01_00-00-02.parquet",
        spool / ".snapshot/hourly/exchange=okx/stream=bbo/symbol=btcusdt/2026-01-01_00-00-03.parquet",
        spool / "_journal/00000001.qlcj",
        spool / "lost+found/2026-01-01_00-00-04.parquet",
    ):
        put(path, raw, 86_400)
    (series / "2026-01-01_00-00-05.parquet").symlink_to(next(series.glob("2*.parquet")))
    shutil.rmtree(spool / "_feed", ignore_errors=True)
    shutil.rmtree(spool / "quality", ignore_errors=True)
    records = {"_feed/2026-01-01.ndjson": b"{}\n", "quality/date=20260101/window=0015.json": b"{}\n"}
    for key, text in records.items():
        put(spool / key, text)
    put(spool / "_feed/2026-01-02.ndjson", b"{}\n", 0)
    put(spool / "_feed/instruments-okx.json", b"{}\n")
    # Where it belongs to nobody: the run says so, and ends with 3, in the bucket as in the folder.
    put(spool / "exchange=okx/stray.parquet", raw)
    unit(spool, "spool")
    (spool / "lost+found/2026-01-01_00-00-04.parquet").unlink()
    as_below(server, "spool", spool, records)
    (series / "2026-01-01_00-00-05.parquet").unlink()
    days = same_archives(server, qlc, spool, "spool", "first")
    print(f"  {len(sealed(spool))} sealed files under their keys, nothing unfinished or hidden; {days} days of the same bytes")


def a_second_upload_writes_nothing_and_later_files_follow(server, qlc, unit, work):
    spool, before = work / "spool", versions(server, "spool")
    # Nor where the clock of a file moved: the contents count.
    os.utime(next(spool.glob("exchange=*/**/2*.parquet")))
    unit(spool, "spool")
    records = {k for k in before if "/_feed/" in k or "/quality/" in k}
    after = versions(server, "spool")
    again = {k for k in before if after[k] != before[k]}
    check(set(after) == set(before) and again <= records, f"written again: {sorted(again - records)}")
    # A file that came late, with rows of a day that is archived already, and a day that is new.
    for path in sorted(spool.glob("exchange=bybit/stream=bbo/**/2*.parquet"))[:2]:
        put(path.parent.with_name("symbol=later") / path.name, path.read_bytes(), 60)
    unit(spool, "spool")
    check(len(versions(server, "spool")) == len(before) + 2, "later files did not follow")
    same_archives(server, qlc, spool, "spool", "second")
    print(f"  {len(before)} objects stay as they were; 2 later files follow")


def a_record_that_grew_goes_up_again(server, _, unit, work):
    spool, key = work / "spool", "_feed/2026-01-01.ndjson"
    put(spool / key, b"{}\n{}\n", 1500)
    unit(spool, "spool")
    check(objects(server, "spool")[key] == b"{}\n{}\n", "a record that grew was left")
    print("  a record that grew is replaced; one that is being written is not copied")


def another_file_under_a_name_is_an_error(server, _, unit, work):
    """Nothing is replaced: not by a file of another size, nor by one of the same size; and the others go up."""
    key = "exchange=okx/stream=bbo/symbol=btcusdt/2026-02-03_00-00-00.parquet"
    for name, ours, age in (("longer", b"their rows!!", 86_400), ("as-long", b"other rows", 600)):
        first, second = work / f"{name}-1", work / f"{name}-2"
        put(first / key, b"their rows", 600)
        put(second / key, ours, age)
        put(second / key.replace("00-00-00", "00-05-00"), b"more", age)
        unit(first, name)
        told = unit(second, name, fails=True, RCLONE_RETRIES="1")
        check("immutable" in told.lower(), told)
        found = objects(server, name)
        check(found[key] == b"their rows", f"{name}: the file of another was replaced")
        check(found[key.replace("00-00-00", "00-05-00")] == b"more", f"{name}: the others did not go up\n{told}")
    print("  another file under a name that is taken: the upload fails, the bucket keeps what it had, the others go up")


def killed_in_the_middle(server, qlc, unit, work):
    """What is visible is whole, whenever the upload is killed; the next one goes on."""
    spool = work / "killed"
    shutil.copytree(work / "demo" / "spool", spool)
    big = "exchange=binance/stream=bbo/symbol=big/part.parquet"
    put(spool / big, os.urandom(24 << 20))
    local = sealed(spool)
    # In parts, and slowly, so that there is a middle.
    slow = {"RCLONE_S3_UPLOAD_CUTOFF": "5Mi", "RCLONE_S3_CHUNK_SIZE": "5Mi", "RCLONE_BWLIMIT": "3M"}
    seen, in_the_middle = [], False

    def uploads():
        with urllib.request.urlopen(f"{server.url}/{BUCKET}?uploads", timeout=60) as answer:
            return answer.read().count(b"<UploadId>")

    def in_parts():
        return uploads() > before

    for reached in (lambda: True, lambda: len(below(server)) > len(local) // 3, in_parts, lambda: len(below(server)) >= len(local) - 1):
        before = uploads()
        process = unit.begin(0, spool, "killed", **slow)
        began = time.monotonic()
        while not reached():
            check(time.monotonic() - began < DEADLINE_S, f"the upload does not get so far: {below(server)}")
            if process.poll() is not None:
                break
        process.kill()
        process.communicate()
        found = objects(server, "killed")
        check(set(found) <= set(local), f"strange keys: {sorted(set(found) - set(local))}")
        halves = [key for key, raw in found.items() if raw != local[key]]
        check(not halves, f"half of a file is visible: {halves}")
        seen.append(len(found))
        in_the_middle = in_the_middle or (big not in found and uploads() > before)
    check(in_the_middle, "it was never killed in the middle of the large file")
    unit(spool, "killed")
    as_below(server, "killed", spool)
    same_archives(server, qlc, spool, "killed", "killed")
    # Parts of an upload that nobody completes are no objects; the lifecycle rule of the bucket ends them.
    listed = json.loads(server.aws("s3api", "list-multipart-uploads", "--bucket", BUCKET, "--output", "json") or "{}").get("Uploads", [])
    for upload in listed:
        server.aws("s3api", "abort-multipart-upload", "--bucket", BUCKET, "--key", upload["Key"], "--upload-id", upload["UploadId"])
    no_uploads(server)
    print(f"  killed with {seen} of {len(local)} files there, all of them whole; {len(listed)} uploads without an end; then the rest")


def below(server, to="killed"):
    files = server.files()
    found = files.get_file_info(pyarrow.fs.FileSelector(f"{BUCKET}/{to}", recursive=True, allow_not_found=True))
    return [info.path for info in found if info.type == pyarrow.fs.FileType.File]


def what_a_collector_is_writing_stays(server, qlc, unit, work):
    """A real collector writes while the upload runs again and again."""
    feeds = [mock.Feed("binance.public", [(mock.QUOTE, ["bbo"])], ["btcusdt", "ethusdt"], 2000)]
    ready, tell_ready = multiprocessing.Pipe(False)
    controlled, _control = multiprocessing.Pipe()
    exchange = multiprocessing.Process(target=mock.serve, args=(feeds, tell_ready, controlled), daemon=True)
    exchange.start()
    port, rest = ready.recv(), mock.lists(["btcusdt", "ethusdt"], [])
    with socket.create_server(("127.0.0.1", 0)) as free:
        page = free.getsockname()[1]
    spool = work / "collected"
    command = [qlc.path, "--spool", spool, "collect", "--exchange", "binance", "--symbol", "btcusdt,ethusdt", "--stream", "bbo",
               "--rotate-after", "1s", "--listen", f"127.0.0.1:{page}", "--endpoint", f"binance.public=ws://127.0.0.1:{port}/binance.public",
               "--endpoint", f"binance.rest=http://127.0.0.1:{rest}"]
    log = work / "collect.log"
    with open(log, "wb") as out:
        collector = subprocess.Popen([str(w) for w in command], stdout=out, stderr=out, env=os.environ | {"NO_COLOR": "1"})
    uploads, most = 0, 0
    try:
        began = time.monotonic()
        while most < 12 or uploads < 5:
            check(collector.poll() is None, f"the collector ended:\n{log.read_text()[-3000:]}")
            check(time.monotonic() - began < DEADLINE_S, f"only {most} files in {uploads} uploads\n{log.read_text()[-3000:]}")
            if not spool.exists():
                time.sleep(0.2)
                continue
            unit(spool, "collected")
            uploads += 1
            found, local = objects(server, "collected"), sealed(spool)
            check(set(found) <= set(local), f"more than is sealed: {sorted(set(found) - set(local))}")
            check(all(local[key] == raw for key, raw in found.items()), "other bytes than were sealed")
            most = len(found)
        check((spool / "_journal").exists(), "the collector has no log")
    finally:
        collector.send_signal(signal.SIGTERM)
        code = collector.wait(DEADLINE_S)
        exchange.kill()
        exchange.join()
    check(code == 0, log.read_text()[-3000:])
    unit(spool, "collected")
    files = as_below(server, "collected", spool)
    same_archives(server, qlc, spool, "collected", "collected", code=0)
    print(f"  {uploads} uploads while a collector wrote, {len(files)} sealed files at the end, the same bytes")


def the_local_spool_is_pruned_and_nothing_comes_back(server, qlc, unit, work):
    """In the prescribed order: first the folder, by what the bucket's spool was compacted to, later the bucket."""
    spool, bucket, archive = work / "spool", f"s3://{BUCKET}/spool", "second-of-bucket"
    # Nobody has compacted this one yet.
    new = spool / "exchange=okx/stream=bbo/symbol=btcusdt/2026-05-05_00-00-00.parquet"
    put(new, next(spool.glob("exchange=okx/stream=trade/**/2*.parquet")).read_bytes())
    local, uploaded = sealed(spool), versions(server, "spool")
    ran = qlc(archive, spool, "prune", "--keep-days", "0", *LATER, "--format", "json", codes=None)
    check(ran.returncode in (0, 4), said(ran.args, ran))
    gone = set(local) - set(sealed(spool))
    known = set()
    for key, raw in objects(server, archive).items():
        if re.fullmatch(r"_receipts/.*/[0-9a-f]{64}\.json", key):
            receipt = json.loads(raw)
            known |= {s["name"] for s in receipt["sources"]} | {c["name"] for c in receipt.get("copies", [])}
    check(gone and gone <= known, f"removed without a receipt: {sorted(gone - known)}")
    left = set(sealed(spool))
    bad = {entry["source_path"] for key, raw in objects(server, archive).items() if key.endswith("/error.json") for entry in entries(raw)}
    check(new.exists() and bad and bad <= left, f"left {sorted(left)}, in QUARANTINE {sorted(bad)}")
    check(not known - bad - gone, f"proven, and not removed: {sorted(known - bad - gone)}")
    check(versions(server, "spool") == uploaded, "the pruning of the folder changed the bucket")
    new.unlink()

    # Again, in the small: the upload brings nothing back to either side, and deletes nothing.
    unit(spool, "spool")
    check(set(sealed(spool)) == left - {new.relative_to(spool).as_posix()}, "something came back to the folder")
    after = versions(server, "spool")
    records = {k for k in after if "/_feed/" in k or "/quality/" in k}
    check({k: v for k, v in after.items() if k not in records} == {k: v for k, v in uploaded.items() if k not in records}, "the upload changed the bucket")

    # Then the bucket.
    qlc(archive, bucket, "prune", "--keep-days", "0", *LATER, codes=(0, 4))
    there = {k.removeprefix(f"{BUCKET}/spool/") for k in versions(server, "spool")}
    check(not there & gone, f"proven, and still in the bucket: {sorted(there & gone)}")
    unit(spool, "spool")
    again = {k.removeprefix(f"{BUCKET}/spool/") for k in versions(server, "spool")}
    check(not again & gone, f"the upload brought back {sorted(again & gone)}")
    compact = compacted(qlc, bucket, archive, code=3)
    check({status for status, _ in compact.values()} == {"up-to-date"}, f"{compact}")
    qlc(archive, bucket, "verify")
    print(f"  {len(gone)} proven files go from the folder, then from the bucket; {len(left)} stay; no upload brings one back")


def the_sidecar_copies_what_is_sealed_at_the_end(server, _, unit, work):
    """Its script, with the places of this test: it copies, waits, and copies once more when it is told to end."""
    text = (ROOT / "deploy" / "kubernetes" / "collector.yaml").read_text()
    [script] = re.findall(r"^ +args:\n +- \|\n((?: {14}.*\n)+)", text, re.M)
    spool = work / "sidecar"
    shutil.copytree(work / "demo" / "spool/exchange=okx", spool / "exchange=okx")
    script = textwrap.dedent(script).replace(SPOOL, str(spool))
    env = unit.env | {"QLC_UPLOAD_TO": f"{BUCKET}/sidecar"}
    log = work / "sidecar.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(["/bin/sh", "-c", script], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    began = time.monotonic()
    while len(below(server, "sidecar")) < len(sealed(spool)):
        check(process.poll() is None and time.monotonic() - began < DEADLINE_S, f"the sidecar copies nothing:\n{log.read_text()}")
        time.sleep(0.2)
    one = next(spool.glob("exchange=okx/stream=bbo/**/2*.parquet"))
    put(one.with_name("2026-05-05_00-00-00.parquet"), one.read_bytes(), 0)
    process.terminate()
    check(process.wait(DEADLINE_S) == 0, log.read_text())
    as_below(server, "sidecar", spool)
    # One that fails ends, so that it shows.
    failing = env | {"QLC_UPLOAD_TO": "no-such-bucket", "RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "1"}
    ran = subprocess.run(["/bin/sh", "-c", script], env=failing, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    check(ran.returncode == 1, said(["the sidecar"], ran))
    print(f"  {len(sealed(spool))} files, the last one at its end; one that cannot copy ends with 1")


def in_the_other_order_files_are_known(server, qlc, unit, work):
    """The bucket is pruned while the folder still has the files: they go up again, and are known."""
    spool, bucket = work / "killed", f"s3://{BUCKET}/killed"
    local, archive = set(sealed(spool)), "killed-of-bucket"
    before = data(objects(server, archive))
    qlc(archive, bucket, "prune", "--keep-days", "0", *LATER, codes=(0, 4))
    pruned = local - {k.removeprefix(f"{BUCKET}/killed/") for k in versions(server, "killed")}
    check(pruned, "nothing was pruned")
    unit(spool, "killed")
    as_below(server, "killed", spool)
    compact = compacted(qlc, bucket, archive, code=0)
    check({status for status, _ in compact.values()} == {"up-to-date"}, f"{compact}")
    check(data(objects(server, archive)) == before, "the archive changed")
    qlc(archive, bucket, "prune", "--keep-days", "0", *LATER, codes=(0, 4))
    check(pruned.isdisjoint(k.removeprefix(f"{BUCKET}/killed/") for k in versions(server, "killed")), "what came back cannot go")
    print(f"  {len(pruned)} files that were pruned in the bucket first go up again, are known, and go again")


CHECKS = [
    a_spool_is_copied_and_compacts_to_the_same_bytes,
    a_second_upload_writes_nothing_and_later_files_follow,
    a_record_that_grew_goes_up_again,
    another_file_under_a_name_is_an_error,
    killed_in_the_middle,
    what_a_collector_is_writing_stays,
    the_local_spool_is_pruned_and_nothing_comes_back,
    in_the_other_order_files_are_known,
    the_sidecar_copies_what_is_sealed_at_the_end,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=pathlib.Path, help="the binary")
    parser.add_argument("--server", type=pathlib.Path, required=True, help="the virtual environment of the server")
    args = parser.parse_args()
    # Told to stop, the server is stopped too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("upload: stopped"))
    try:
        with tempfile.TemporaryDirectory(prefix="qlc-upload-") as folder:
            work = pathlib.Path(folder)
            subprocess.run([args.qlc, "demo", "--quiet", "--dir", work / "demo"], check=True, capture_output=True)
            with Server(args.server.resolve(), work) as server:
                server.aws("s3", "mb", f"s3://{BUCKET}")
                qlc, unit = Qlc(args.qlc.resolve(), server, None), Unit(server)
                for test in CHECKS:
                    print(f"{test.__name__.replace('_', ' ')}:", flush=True)
                    test(server, qlc, unit, work)
    except Wrong as wrong:
        sys.exit(f"upload: {wrong}")
    print("upload: what rclone copies is the collector's spool")


if __name__ == "__main__":
    main()
