#!/usr/bin/env python3
"""Checks qlc against a real S3 server, which is started for it and stopped again, whatever happens.

    s3.py QLC --server VENV [--python PYTHON]

VENV is a virtual environment with .ci/localstack-requirements.txt: LocalStack and the aws command. The server listens on
loopback only, needs neither Docker nor a network and keeps everything in a temporary folder. Says what was checked, one
line each; ends with the first thing that is wrong and exit code 1. Knows of qlc only its command line and its documented
formats.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from checks import Wrong, check

BUCKET = "qlc-check"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAQLCCHECK00000000", "AWS_SECRET_ACCESS_KEY": "qlc-check-secret", "AWS_REGION": "us-east-1"}
# A server that is not ready by then never will be; on two busy cores it takes ten seconds.
READY = 120


def said(command, ran):
    return f"{' '.join(map(str, command))}\nended with {ran.returncode}\n{ran.stdout}{ran.stderr}"


# --- the server ----------------------------------------------------------------------------------------------------


class Server:
    """LocalStack with S3 and nothing else, on loopback, or on another host that commands with `within` before them run on."""

    def __init__(self, venv, work, host="127.0.0.1", within=()):
        self.bin = venv / "bin"
        self.work, self.within = work, within
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.place = f"{host}:{free.getsockname()[1]}"
        self.url = f"http://{self.place}"
        self.log = work / "server.log"
        self.process = None

    def __enter__(self):
        root = self.work / "server"
        (root / "tmp").mkdir(parents=True)
        env = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(root),
            "TMPDIR": str(root / "tmp"),
            "FILESYSTEM_ROOT": str(root / "files"),
            "LOCALSTACK_VOLUME_DIR": str(root / "volume"),
            # Where it is in a container it would write to /var/lib.
            "OVERRIDE_IN_DOCKER": "0",
            "GATEWAY_LISTEN": self.place,
            "LOCALSTACK_HOST": self.place,
            "SERVICES": "s3",
            "STRICT_SERVICE_LOADING": "1",
            "EAGER_SERVICE_LOADING": "1",
            # Nothing is fetched and nothing is told to anyone.
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DISABLE_EVENTS": "1",
            "DNS_ADDRESS": "0",
        }
        command = [*self.within, self.bin / "python", "-m", "localstack.runtime.main"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, env=env, cwd=root, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        began = time.monotonic()
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() - began > READY:
                self.stop()
                raise Wrong(f"the server does not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.2)
        return self

    def ready(self):
        try:
            with urllib.request.urlopen(f"{self.url}/_localstack/health", timeout=2) as answer:
                return json.load(answer)["services"].get("s3") == "running"
        except OSError:
            return False

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                pass
        # Also what it may have started: it is the leader of its group.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def __exit__(self, *_):
        self.stop()

    def env(self):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "QLC_"))}
        told = {"AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true", "HOME": str(self.work), "NO_COLOR": "1"}
        return inherited | KEYS | told

    def aws(self, *args, code=0):
        """Runs the aws command; anything but the expected exit code is wrong."""
        command = [self.bin / "aws", *map(str, args)]
        env = self.env() | {"AWS_DEFAULT_REGION": KEYS["AWS_REGION"], "AWS_PAGER": "", "AWS_MAX_ATTEMPTS": "1"}
        ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        check((ran.returncode == 0) == (code == 0), said(command, ran))
        return ran.stdout + ran.stderr

    def files(self):
        """The bucket as pyarrow sees it."""
        return pa.fs.S3FileSystem(
            access_key=KEYS["AWS_ACCESS_KEY_ID"],
            secret_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            region=KEYS["AWS_REGION"],
            scheme="http",
            endpoint_override=self.place,
        )


class Qlc:
    """The binary, in the server's environment."""

    def __init__(self, path, server, python):
        self.path, self.server, self.python = path, server, python

    def command(self, archive, spool, *args):
        stores = ["--archive", f"s3://{BUCKET}/{archive}"] + (["--spool", str(spool)] if spool else [])
        return [str(self.path), *stores, *map(str, args)]

    def begin(self, archive, spool, *args, **env):
        env = self.server.env() | {"QLC_SPILL_DIR": str(self.server.work / "spill")} | env
        command = self.command(archive, spool, *args)
        pipe = subprocess.PIPE
        return command, subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)

    def end(self, begun, codes):
        command, process = begun
        stdout, stderr = process.communicate()
        ran = subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
        check(codes is None or ran.returncode in codes, said(command, ran))
        return ran

    def __call__(self, archive, spool, *args, codes=(0,), **env):
        return self.end(self.begin(archive, spool, *args, **env), codes)


# --- what lies in the bucket ---------------------------------------------------------------------------------------


def objects(server, prefix):
    """Every object below the prefix, with its bytes, as pyarrow lists and reads them."""
    files = server.files()
    root = f"{BUCKET}/{prefix}"
    found = files.get_file_info(pa.fs.FileSelector(root, recursive=True, allow_not_found=True))
    read = {}
    for info in found:
        if info.type == pa.fs.FileType.File:
            with files.open_input_stream(info.path) as stream:
                read[info.path.removeprefix(f"{root}/")] = stream.read()
    return read


def data(found):
    """The data of every partition, by the partition's folder."""
    name = "/data.parquet"
    return {key.removesuffix(name): raw for key, raw in found.items() if key.startswith("exchange=") and key.endswith(name)}


def is_whole(found):
    """Checks data against meta and receipts, and that nothing else is there."""
    for partition, raw in data(found).items():
        meta = json.loads(found[f"{partition}/meta.json"])
        sha256 = hashlib.sha256(raw).hexdigest()
        check(meta["sha256"] == sha256, f"{partition}: meta.json is not that of the data")
        check(f"_receipts/{partition}/{sha256}.json" in found, f"{partition}: no receipt")
        rows = pq.read_table(pa.BufferReader(raw)).num_rows
        check(rows == meta["row_count"], f"{partition}: {rows} rows, meta.json says {meta['row_count']}")
    probes = [key for key in found if key.startswith("_probe/")]
    check(not probes, f"probes are left: {probes}")


def no_uploads(server):
    listed = server.aws("s3api", "list-multipart-uploads", "--bucket", BUCKET)
    check('"Uploads"' not in listed, f"uploads are left that nobody will complete:\n{listed}")


def outcomes(ran):
    return [json.loads(line) for line in ran.stdout.splitlines() if line.strip()]


# --- the checks ----------------------------------------------------------------------------------------------------


def the_server_keeps_preconditions_and_checks_checksums(server, _, work):
    body = work / "body"
    body.write_text("some bytes")
    put = ["s3api", "put-object", "--bucket", BUCKET, "--key", "check", "--body", body]
    server.aws(*put, "--if-none-match", "*")
    refused = server.aws(*put, "--if-none-match", "*", code=1)
    check("PreconditionFailed" in refused, refused)
    refused = server.aws(*put, "--if-match", '"00000000000000000000000000000000"', code=1)
    check("PreconditionFailed" in refused, refused)
    wrong = "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="  # of other bytes
    refused = server.aws(*put, "--checksum-sha256", wrong, code=1)
    check("BadDigest" in refused or "InvalidRequest" in refused, refused)
    server.aws("s3", "rm", f"s3://{BUCKET}/check")
    print("  a second creation, a stale tag and a wrong checksum are refused")


def the_demo_runs_with_only_the_archive_changed(server, qlc, work):
    env = {k: v for k, v in server.env().items() if not k.startswith("AWS_")}
    command = [str(qlc.path), "demo", "--dir", str(work / "local")]
    local = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    check(local.returncode == 0, said(command, local))
    remote = qlc("demo", None, "demo", "--dir", work / "remote")
    check(f"s3://{BUCKET}/demo" in remote.stdout, remote.stdout)
    found = objects(server, "demo")
    is_whole(found)
    archive = work / "local" / "archive"
    there = {str(path.parent.relative_to(archive)): path.read_bytes() for path in archive.glob("exchange=*/**/data.parquet")}
    check(data(found) == there, "the bucket holds other bytes than the folder")
    check({key for key in found if key.startswith("QUARANTINE/")}, "the corrupt file is not in QUARANTINE")
    qlc("demo", work / "remote" / "spool", "verify", "--rebuild")
    idle = qlc("demo", work / "remote" / "spool", "compact", "--mode", "daily")
    check("nothing to do" in idle.stdout, idle.stdout)
    no_uploads(server)
    print(f"  {len(there)} partitions, the same bytes as in a folder; verified, rebuilt, and then nothing to do")


def aws_and_pyarrow_read_it(server, qlc, _):
    listed = server.aws("s3", "ls", "--recursive", f"s3://{BUCKET}/demo/")
    keys = {" ".join(line.split()[3:]).removeprefix("demo/") for line in listed.splitlines()}
    found = objects(server, "demo")
    check(keys == set(found), f"aws lists other objects than pyarrow:\n{listed}")
    rows = 0
    for partition in sorted(data(found)):
        table = pq.read_table(f"{BUCKET}/demo/{partition}/data.parquet", filesystem=server.files(), partitioning=None)
        order = list(zip(table["ts_event"].to_pylist(), table["seq"].to_pylist()))
        check(order == sorted(order), f"{partition}: not in order")
        rows += table.num_rows
    statement = "SELECT sum(row_count)::BIGINT AS n FROM archive.meta"
    counted = qlc("demo", None, "query", statement, "--format", "csv").stdout.split()[-1]
    check(int(counted) == rows, f"qlc counts {counted} rows, pyarrow {rows}")
    print(f"  aws s3 ls lists {len(keys)} objects, pyarrow reads {rows} rows in order")


READ_BY_PYTHON = """
import sys
from qlc_archive import Archive

place, folder = sys.argv[1:]
archive, local = Archive(place), Archive(folder)
for stream in ("bbo", "trade", "funding"):
    assert archive.read(stream).equals(local.read(stream)), stream
    assert archive.scan(stream).collect().height == local.read(stream).num_rows, stream
count = sum(1 for _ in archive.replay(["bbo", "trade"]))
assert count == sum(partition.rows for partition in local.partitions(["bbo", "trade"]))
assert all(day.sound for day in archive.verify(quick=True)) and len(archive.coverage()) == 13
print(count)
"""


def the_python_package_reads_it(server, qlc, work):
    if qlc.python is None:
        print("  SKIPPED: --python names no interpreter that has the package")
        return
    command = [str(qlc.python), "-c", READ_BY_PYTHON, f"s3://{BUCKET}/demo", str(work / "local" / "archive")]
    env = server.env() | {"QLC": str(qlc.path), "XDG_CACHE_HOME": str(work / "cache")}
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    check(ran.returncode == 0, said(["the package"], ran))
    print(f"  qlc_archive reads and replays {ran.stdout.strip()} rows of the bucket as of the folder")


def many_processes_race(server, qlc, work):
    spool = work / "remote" / "spool"
    args = ["compact", "--mode", "daily", "--workers", "2", "--format", "json"]
    begun = [qlc.begin("race", spool, *args) for _ in range(8)]
    ended = [qlc.end(process, None) for process in begun]
    for ran in ended:
        check(ran.returncode in (0, 3), said(ran.args, ran))
    done = {}
    for outcome in (outcome for ran in ended for outcome in outcomes(ran)):
        partition = "exchange={exchange}/stream={stream}/symbol={symbol}/date={date}".format(**outcome)
        done[partition] = done.get(partition, 0) + (outcome["status"] == "done")
    found = objects(server, "race")
    check(set(data(found)) == {partition for partition, n in done.items() if n}, f"{done}")
    check(all(n <= 1 for n in done.values()), f"published more than once: {done}")
    is_whole(found)
    check(data(found) == data(objects(server, "demo")), "other bytes than without a race")
    qlc("race", spool, "verify")
    no_uploads(server)
    print(f"  8 processes, {sum(done.values())} partitions, each published once")


def parts_of_a_spool_converge(server, qlc, work):
    """Machines that see different files of the same days end with all rows."""
    files = sorted(path for path in (work / "remote" / "spool").rglob("*") if path.is_file())
    machines = []
    for n in range(4):
        spool = work / f"machine-{n}"
        for path in files[n::4]:
            to = spool / path.relative_to(work / "remote" / "spool")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, to)
        machines.append(spool)
    begun = [qlc.begin("parts", spool, "compact", "--mode", "daily") for spool in machines]
    for process in begun:
        qlc.end(process, (0, 3))
    found = objects(server, "parts")
    is_whole(found)
    rows = [sum(json.loads(raw)["row_count"] for key, raw in objects(server, prefix).items() if key.endswith("/meta.json"))
            for prefix in ("parts", "demo")]
    check(rows[0] == rows[1], f"{rows[0]} rows of machines that saw parts, {rows[1]} of one that saw all")
    qlc("parts", machines[0], "verify")
    no_uploads(server)
    print(f"  4 machines with parts of the spool: all {rows[0]} rows")


def killed_and_run_again(server, qlc, work):
    spool = work / "remote" / "spool"
    expected = data(objects(server, "demo"))
    for nth in (3, 9, 17, 33, 65):
        prefix = f"killed-{nth}"
        killed = qlc(prefix, spool, "compact", "--mode", "daily", codes=None, QLC_CRASH_AT=str(nth))
        check(killed.returncode == -signal.SIGKILL, said(killed.args, killed))
        qlc(prefix, spool, "compact", "--mode", "daily", codes=(0, 3))
        # A killed run may leave a probe or an upload; no run takes that for an archive's, and this removes it.
        time.sleep(1)
        qlc(prefix, spool, "clean", "--older-than", "0s")
        found = objects(server, prefix)
        is_whole(found)
        check(data(found) == expected, f"killed at point {nth}: other bytes than an undisturbed run")
        qlc(prefix, spool, "verify")
    no_uploads(server)
    print("  killed at five points, run again and cleaned: the same bytes, and nothing else")


def uploads_in_parts(server, qlc, work):
    spool = work / "remote" / "spool"
    qlc("multipart", spool, "compact", "--mode", "daily", codes=(0, 3), QLC_MULTIPART_ABOVE="1")
    found = objects(server, "multipart")
    is_whole(found)
    check(data(found) == data(objects(server, "demo")), "other bytes than in one piece")
    no_uploads(server)
    print("  every file in parts: the same bytes")


def the_spool_may_be_a_bucket_too(server, qlc, work):
    server.aws("s3", "cp", "--recursive", "--quiet", work / "remote" / "spool", f"s3://{BUCKET}/spool/")
    before = objects(server, "spool")
    spool = f"s3://{BUCKET}/spool"
    qlc("from-s3", spool, "compact", "--mode", "daily", codes=(0, 3))
    found = objects(server, "from-s3")
    is_whole(found)
    check(data(found) == data(objects(server, "demo")), "other bytes than from a folder")
    qlc("from-s3", spool, "verify", "--rebuild")
    check(objects(server, "spool") == before, "the spool was changed")
    print(f"  {len(before)} files of a spool in the bucket: the same bytes")


CHECKS = [
    the_server_keeps_preconditions_and_checks_checksums,
    the_demo_runs_with_only_the_archive_changed,
    aws_and_pyarrow_read_it,
    the_python_package_reads_it,
    many_processes_race,
    parts_of_a_spool_converge,
    killed_and_run_again,
    uploads_in_parts,
    the_spool_may_be_a_bucket_too,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=pathlib.Path, help="the binary")
    parser.add_argument("--server", type=pathlib.Path, required=True, help="the virtual environment of the server")
    parser.add_argument("--python", type=pathlib.Path, help="an interpreter that has the package qlc-archive and Polars")
    args = parser.parse_args()
    # Told to stop, the server is stopped too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("s3: stopped"))
    try:
        with tempfile.TemporaryDirectory(prefix="qlc-s3-") as work, Server(args.server.resolve(), pathlib.Path(work)) as server:
            server.aws("s3", "mb", f"s3://{BUCKET}")
            qlc = Qlc(args.qlc.resolve(), server, args.python)
            for test in CHECKS:
                print(f"{test.__name__.replace('_', ' ')}:", flush=True)
                test(server, qlc, pathlib.Path(work))
    except Wrong as wrong:
        sys.exit(f"s3: {wrong}")
    print("s3: a real server agrees with qlc")


if __name__ == "__main__":
    main()
