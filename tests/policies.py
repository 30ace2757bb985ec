#!/usr/bin/env python3
"""Checks the bucket policies in deploy/bucket against what qlc, and the rclone of the unit that uploads, ask of a bucket.

    policies.py QLC --server VENV

Between them and a real S3 server (see tests/s3.py, whose server it is) stands a door that knows the policy: a request that
the policy does not allow is refused as S3 refuses it. So a policy that lacks something fails here, and one that allows
more than is ever asked fails too. The door does not check signatures. Ends with the first thing that is wrong and exit
code 1.
"""

import argparse
import contextlib
import fnmatch
import http.client
import http.server
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import xml.etree.ElementTree

from checks import Wrong, check
from s3 import BUCKET, Server, said
from upload import Unit, objects_of

POLICIES = pathlib.Path(__file__).resolve().parent.parent / "deploy" / "bucket"
SPOOL = "qlc-spool"
# The buckets of the policies, and those of the test.
NAMED = {BUCKET: "quantlab-compact", SPOOL: "quantlab-spool"}
DENIED = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'


def asked(method, target, body):
    """The actions and the resources that S3 checks for a request."""
    parts = urllib.parse.urlsplit(target)
    query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
    bucket, _, key = urllib.parse.unquote(parts.path).removeprefix("/").partition("/")
    check(bucket in NAMED, f"{method} {target}: another bucket")
    arn = f"arn:aws:s3:::{NAMED[bucket]}"
    resource = f"{arn}/{key}" if key else arn
    match method, bool(key):
        case "GET", False:
            return [("s3:ListBucketMultipartUploads" if "uploads" in query else "s3:ListBucket", resource)]
        case "POST", False if "delete" in query:
            keys = [e.text for e in xml.etree.ElementTree.fromstring(body).iter() if e.tag.endswith("Key")]
            return [("s3:DeleteObject", f"{arn}/{key}") for key in keys]
        case ("GET" | "HEAD"), True:
            return [("s3:GetObject", resource)]
        case ("PUT" | "POST"), True:
            return [("s3:PutObject", resource)]
        case "DELETE", True:
            return [("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject", resource)]
    raise Wrong(f"{method} {target}: which action this is, nobody knows")


class Door:
    """Lets through what the policies allow, and remembers what was used."""

    def __init__(self, server, names):
        self.grants, self.refusals = [], []
        for name in names:
            policy = json.loads((POLICIES / f"{name}-policy.json").read_text())
            for statement in policy["Statement"]:
                list_of = {"Allow": self.grants, "Deny": self.refusals}[statement["Effect"]]
                many = lambda x: x if isinstance(x, list) else [x]  # noqa: E731
                list_of += [(a, r) for a in many(statement["Action"]) for r in many(statement["Resource"])]
        self.used, self.denied, self.unknown = set(), [], []
        door, upstream = self, urllib.parse.urlsplit(server.url).netloc

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                try:
                    allowed = all([door.allows(*one) for one in asked(self.command, self.path, body)])
                except Wrong as wrong:
                    door.unknown.append(str(wrong))
                    allowed = False
                if allowed:
                    link = http.client.HTTPConnection(upstream)
                    link.request(self.command, self.path, body, dict(self.headers))
                    answer = link.getresponse()
                    status, headers, content = answer.status, answer.getheaders(), answer.read()
                    link.close()
                else:
                    status, headers, content = 403, [("Content-Type", "application/xml")], DENIED
                self.send_response(status)
                hop = {"transfer-encoding", "connection", "date", "server", "keep-alive"}
                length = [v for k, v in headers if k.lower() == "content-length"]
                for name, value in headers:
                    if name.lower() not in hop | {"content-length"}:
                        self.send_header(name, value)
                head = self.command == "HEAD"
                self.send_header("Content-Length", length[0] if head and length else str(len(content)))
                self.end_headers()
                if not head:
                    # Who has read enough of a file hangs up.
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def allows(self, action, resource):
        if any(a == action and fnmatch.fnmatchcase(resource, r) for a, r in self.refusals):
            self.denied.append(f"{action} {resource}")
            return False
        fits = [(a, r) for a, r in self.grants if a == action and fnmatch.fnmatchcase(resource, r)]
        self.used.update(fits)
        if not fits:
            self.denied.append(f"{action} {resource}")
        return bool(fits)

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


class Qlc:
    """The binary, before a door."""

    def __init__(self, path, server, door, spool):
        self.path, self.spool = path, spool
        # One attempt: the door does not change its mind.
        told = {"AWS_ENDPOINT_URL": door.url, "QLC_SPILL_DIR": str(server.work / "spill"), "QLC_RETRIES": "0"}
        # Small parts, so that some data goes up in parts and both ways are asked for.
        self.env = server.env() | told | {"QLC_MULTIPART_ABOVE": "5MiB", "QLC_PART_SIZE": "5MiB"}

    def __call__(self, *args, code=0):
        command = [str(self.path), "--archive", f"s3://{BUCKET}", "--spool", str(self.spool), *map(str, args)]
        ran = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        check(ran.returncode == code, said(command, ran))
        return ran.stdout + ran.stderr


def enough(door, what):
    check(not door.unknown, "\n".join(door.unknown))
    if what == "reader":
        # A verification would like to leave a record of itself; that a reader may not is a warning.
        door.denied = [d for d in door.denied if "/_runs/" not in d]
    check(not door.denied, f"{what}: not allowed, but asked for:\n" + "\n".join(sorted(set(door.denied))))


def filled(path, server, spool):
    """The bucket of a spool: filled by the unit of deploy/systemd, compacted from, pruned; each with its own policies."""
    server.aws("s3api", "create-bucket", "--bucket", SPOOL)
    with Door(server, ["upload"]) as door:
        unit = Unit(server, SPOOL, door.url)
        unit(spool, "collector=tokyo")
        there = objects_of(server, SPOOL)
        # Also where everything is there already.
        unit(spool, "collector=tokyo")
        enough(door, "upload")
        idle = set(door.grants) - door.used - {g for g in door.grants if g[0] == "s3:AbortMultipartUpload"}
        check(not idle, f"upload-policy.json allows more: {idle}")
        command = ["/usr/bin/rclone", "delete", f":s3:{SPOOL}", "--config", "", "--retries", "1"]
        ran = subprocess.run(command, env=unit.env, capture_output=True, text=True, check=False)
        check(ran.returncode != 0, said(command, ran))
        check({d.split()[0] for d in door.denied} == {"s3:DeleteObject"}, f"{door.denied}")
        check(there and objects_of(server, SPOOL) == there, "who may upload deletes")
    # Nor does a policy beside it open what this one closes.
    with Door(server, ["upload", "spool"]) as door:
        check(not door.allows("s3:DeleteObject", f"arn:aws:s3:::{NAMED[SPOOL]}/x"), "another policy lets who uploads delete")
    print("ok   upload-policy.json is enough for the unit that uploads, allows nothing more, and no deletion")

    bucket, later = f"s3://{SPOOL}", ("--now", "2030-01-01T00:00:00Z")
    deletion = ("s3:DeleteObject", f"arn:aws:s3:::{NAMED[SPOOL]}/*")
    with Door(server, ["compact", "spool"]) as door:
        qlc = Qlc(path, server, door, bucket)
        qlc("compact", "--mode", "catch-up", *later, code=3)
        enough(door, "compact of a bucket")
        check(deletion not in door.used, "a compaction deletes in the spool")
    with Door(server, ["maintenance", "spool"]) as door:
        qlc = Qlc(path, server, door, bucket)
        qlc("prune", "--keep-days", "0", *later, "--exchange", "bybit")
        enough(door, "prune of a bucket")
        idle = {g for g in door.grants if NAMED[SPOOL] in g[1]} - door.used
        check(not idle and deletion in door.used, f"spool-policy.json allows more: {idle}")
    print("ok   spool-policy.json is enough to compact from a bucket and to prune it, and allows nothing more")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("qlc", type=pathlib.Path)
    parser.add_argument("--server", type=pathlib.Path, required=True)
    typed = parser.parse_args()
    path = typed.qlc.resolve()
    with tempfile.TemporaryDirectory(prefix="qlc-policies-") as folder:
        work = pathlib.Path(folder)
        subprocess.run([path, "demo", "--quiet", "--dir", work / "demo"], check=True, capture_output=True)
        spool, published = work / "demo" / "spool", work / "demo" / "reconcile" / "published"
        day = next(published.glob("*.csv")).stem[-10:]
        bad = json.loads(next(work.glob("demo/archive/QUARANTINE/**/error.json")).read_text())["source_path"]
        try:
            with Server(typed.server.absolute(), work) as server:
                server.aws("s3api", "create-bucket", "--bucket", BUCKET)
                used, granted = set(), set()

                with Door(server, ["compact"]) as door:
                    qlc = Qlc(path, server, door, spool)
                    said_first = qlc("compact", "--mode", "catch-up", code=3)
                    qlc("compact", "--mode", "catch-up")
                    qlc("compact", "--mode", "catch-up", "--force")
                    qlc("reconcile", "--exchange", "binance", "--symbol", "btcusdt", "--date", day, "--with", published)
                    enough(door, "compact")
                    used, granted = used | door.used, granted | set(door.grants)
                    check("13 done" in said_first, said_first)
                    door.denied.clear()
                    qlc("clean", code=1)
                    check(any("ListBucketMultipartUploads" in d for d in door.denied), "compact may clean")
                print("ok   compact-policy.json is enough to compact, and not to clean")

                with Door(server, ["reader"]) as door:
                    qlc = Qlc(path, server, door, spool)
                    qlc("verify")
                    qlc("query", "SELECT count(*) FROM archive.bbo")
                    qlc("query", "SELECT * FROM archive.quarantine")
                    qlc("quarantine", "list")
                    enough(door, "reader")
                    check(set(door.grants) == door.used, f"reader-policy.json allows more: {set(door.grants) - door.used}")
                    qlc("compact", "--mode", "catch-up", "--force", code=1)
                    check(door.denied and "s3:PutObject" in door.denied[0], f"a reader may write: {door.denied}")
                print("ok   reader-policy.json is enough to verify and query, allows nothing more, and not to compact")

                uploads = ["s3api", "create-multipart-upload", "--bucket", BUCKET, "--key"]
                server.aws(*uploads, "exchange=okx/stream=bbo/symbol=btcusdt/date=20260203/data.parquet")
                body = work / "orphan"
                body.write_text("{}")
                # Beside a published day: where no data stands, a receipt may be all that tells of it, and stays.
                listed = server.aws("s3", "ls", "--recursive", f"s3://{BUCKET}/_receipts/").split()
                orphan = next(key for key in listed if key.endswith(".json")).rsplit("/", 1)[0] + "/" + "0" * 64 + ".json"
                for key in [orphan, "_probe/" + "0" * 32]:
                    server.aws("s3api", "put-object", "--bucket", BUCKET, "--key", key, "--body", body)
                with Door(server, ["maintenance"]) as door:
                    qlc = Qlc(path, server, door, spool)
                    qlc("prune", "--keep-days", "0", "--now", "2030-01-01T00:00:00Z", "--exchange", "okx")
                    qlc("clean", "--older-than", "0s")
                    qlc("quarantine", "discard", bad, "--yes")
                    enough(door, "maintenance")
                    used, granted = used | door.used, granted | set(door.grants)
                print("ok   maintenance-policy.json is enough to prune, clean and discard")

                # Nobody may do more than was asked for; but what is asked only after an error, or once a file that was
                # kept has become readable, did not happen here, nor is every version of qlc one that keeps records of runs.
                rare = {"s3:AbortMultipartUpload"}
                places = ("/_retried/*", "/_runs/*")
                never = {g for g in granted - used if g[0] not in rare and not g[1].endswith(places)}
                check(not never, "allowed, but never asked for:\n" + "\n".join(sorted(map(" ".join, never))))
                print(f"ok   of {len(granted)} permissions none is idle")

                server.aws("s3", "rm", "--recursive", f"s3://{BUCKET}/")
                filled(path, server, spool)
        except Wrong as wrong:
            print(f"FAIL {wrong}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
