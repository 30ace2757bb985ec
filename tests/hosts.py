#!/usr/bin/env python3
"""Runs a cluster on several hosts: a scheduler, three executors, a client and an S3 server, each with an address of its own.

    hosts.py QLC --server VENV [--required]

QLC is a binary with the feature `cluster`, VENV a virtual environment as for tests/s3.py. A host is a network namespace
(see network.py), whose link is pulled, slowed down and put back. Nothing is left of a run, however it ends. Needs root, or a kernel
that lets others make namespaces; where it cannot it says so, and only fails if it is required.

Says what was checked, one line each; ends with the first thing that is wrong and exit code 1. Nothing is timed: deadlines are
those of a run that hangs.
"""

import argparse
import hashlib
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.fs

from checks import Wrong, check, run
from network import ADDRESSES, Certificates, Network, apart, why_not
from s3 import BUCKET, Server, is_whole, no_uploads, objects

BENCHES = pathlib.Path(__file__).resolve().parent.parent / "benches"
BEGAN = time.monotonic()
DEADLINE = 180
EXECUTORS = [name for name in ADDRESSES if name.startswith("executor")]
SCHEDULER_PORT, EXECUTOR_PORT, LOOPBACK_PORT = 50050, 50051, 50052
DATE = "20260203"
SYMBOLS, FILES, ROWS = 20, 3, 3_000


# --- processes -----------------------------------------------------------------------------------------------------


class Process:
    """A process on a host; what it says is kept."""

    def __init__(self, work, host, command, env):
        self.command = command
        self.log = work / f"{host}-{time.monotonic_ns()}.log"
        home = work / host
        home.mkdir(exist_ok=True)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "QLC_"))} | {
            "HOME": home,
            "TMPDIR": home,
            "NO_COLOR": "1",
            **env,
        }
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(
                [*Network.at(host), *map(str, command)],
                env={k: str(v) for k, v in env.items()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def said(self):
        return self.log.read_text(errors="replace")

    def end(self, *codes):
        """Waits for the end, which must be one of `codes`; returns what it printed."""
        try:
            printed, _ = self.child.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise Wrong(f"{self}: did not end within {DEADLINE} s\n{self.said()[-4000:]}") from None
        code = self.child.returncode
        check(code in codes, f"{self}\nended with {code}\n{printed[-4000:]}{self.said()[-4000:]}")
        return printed

    def lives(self):
        return self.child.poll() is None

    def stop(self):
        self.child.terminate()
        self.end(0, -signal.SIGTERM)

    def __str__(self):
        return " ".join(map(str, self.command))


class Cluster:
    """Scheduler, executors and client of one bucket."""

    def __init__(self, qlc, network, server, work):
        self.qlc, self.network, self.server, self.work = qlc, network, server, work
        self.certificates = Certificates(work / "certificates")
        # What a local run makes, once there was one.
        self.local = {}
        self.stores = {k: v for k, v in server.env().items() if k.startswith("AWS_")}
        self.places = {"QLC_SPOOL": f"s3://{BUCKET}/spool", "QLC_ARCHIVE": f"s3://{BUCKET}/archive"}
        self.url = f"df://scheduler.internal:{SCHEDULER_PORT}"
        known = self.certificates.of("scheduler")
        self.services = {"scheduler": self.begin("scheduler", known, "cluster", "scheduler", *self.scheduler())}
        for name in EXECUTORS:
            self.services[name] = self.executor(name, self.certificates.of(name))
        self.knows(EXECUTORS)

    def begin(self, host, env, *args):
        return Process(self.work, host, [self.qlc, *args], env)

    @staticmethod
    def scheduler():
        where = ["--bind-host", ADDRESSES["scheduler"], "--external-host", "scheduler.internal"]
        return [*where, "--executor-timeout-seconds", 5]

    def executor(self, name, certificate, *more):
        where = ["--scheduler-host", "scheduler.internal", "--bind-host", ADDRESSES[name]]
        size = ["--vcores", 2, "--memory-pool-size", "2GB", "--executor-heartbeat-interval-seconds", 1]
        env = self.stores | self.places | certificate
        return self.begin(name, env, "cluster", "executor", *where, *size, *more)

    def client(self, archive, *args, at=None, env=None):
        """Begins a command on the client's host; archives lie side by side below that of the executors."""
        places = {"QLC_SPOOL": f"s3://{BUCKET}/spool", "QLC_ARCHIVE": f"s3://{BUCKET}/archive/{archive}"}
        known = self.certificates.of("client") if env is None else env
        there = ["--cluster", at or self.url] if at != "here" else []
        return self.begin("client", self.stores | places | known, *args, *there)

    def compact(self, archive, at=None, **more):
        mode = ["--mode", "backfill", "--start", DATE, "--end", DATE, "--memory-limit", "256MB", "-v"]
        return self.client(archive, "compact", *mode, at=at, **more)

    def knows(self, names):
        """Waits until those are the executors that the client is told of."""
        began = time.monotonic()
        while True:
            doctor = self.client("none", "doctor")
            told = doctor.end(0, 1, 2)
            if all((f"{ip}:{EXECUTOR_PORT}: qlc" in told) == (name in names) for name, ip in ADDRESSES.items()):
                return
            logs = "\n".join(f"{name}: {service.said()[-1000:]}" for name, service in self.services.items())
            check(time.monotonic() - began < DEADLINE, f"the executors are not {names}:\n{told}{doctor.said()}{logs}")
            time.sleep(0.5)

    def all_live(self):
        dead = [f"{name}:\n{service.said()[-4000:]}" for name, service in self.services.items() if not service.lives()]
        check(not dead, "no longer there: " + "\n".join(dead))

    def published(self, archive):
        """How many partitions the archive has."""
        below = pa.fs.FileSelector(f"{BUCKET}/archive/{archive}/exchange=binance", recursive=True, allow_not_found=True)
        return sum(info.base_name == "meta.json" for info in self.server.files().get_file_info(below))

    def everything(self):
        """What lies in the bucket, and since when."""
        below = pa.fs.FileSelector(BUCKET, recursive=True)
        return {info.path: (info.size, info.mtime_ns) for info in self.server.files().get_file_info(below) if info.is_file}

    def in_the_middle(self, run, archive):
        """Waits until some partitions are published."""
        began = time.monotonic()
        while not self.published(archive):
            check(run.lives(), f"{run}: ended before anything was published\n{run.said()[-4000:]}")
            check(time.monotonic() - began < DEADLINE, f"{run}: publishes nothing")
            time.sleep(0.02)

    def is_sound(self, archive):
        """Verifies an archive; returns what of it follows from the rows alone."""
        self.client(archive, "verify", at="here").end(0)
        found = objects(self.server, f"archive/{archive}")
        is_whole(found)
        return lasting(found)

    def is_as_local(self, archive):
        """Checks that an archive is what a local run makes."""
        # What was cut off may have left a probe, which nobody takes for data.
        self.client(archive, "clean", "--older-than", "0s", at="here").end(0)
        found, want = self.is_sound(archive), self.local
        for key in sorted(found.keys() | want.keys()):
            one, other = found.get(key), want.get(key)
            check(one == other, f"{archive}: {key} is other than of a local run:\n{one}\n{other}")


def lasting(found):
    """Data, meta.json and receipts of an archive, without when and by which task they were made."""
    kept = {}
    for key, raw in found.items():
        if key.endswith("/data.parquet"):
            kept[key] = hashlib.sha256(raw).hexdigest()
        elif key.endswith("/meta.json") or (key.startswith("_receipts/") and key.endswith(".json")):
            kept[key] = {name: value for name, value in json.loads(raw).items() if name not in ("created_at", "task")}
    return kept


# --- the checks ----------------------------------------------------------------------------------------------------


def hosts_do_what_one_process_does(cluster):
    cluster.compact("local", at="here").end(0)
    cluster.local = cluster.is_sound("local")
    check(cluster.published("local") == SYMBOLS, "the local run did not publish everything")
    run = cluster.compact("hosts")
    run.end(0)
    for name in EXECUTORS:
        check(ADDRESSES[name] in run.said(), f"{name} did nothing:\n{run.said()}")
    cluster.is_as_local("hosts")
    statement = "SELECT symbol, count(*) AS n, max(bid_price) AS b, min(ts_event) AS t FROM bbo GROUP BY symbol ORDER BY symbol"
    query = ["query", statement, "--format", "csv"]
    here, there = (cluster.client("hosts", *query, at=at).end(0) for at in ("here", None))
    check(here == there and here.count("\n") == SYMBOLS + 1, f"a statement has other rows:\n{here}\n{there}")
    print(f"  {SYMBOLS} partitions and a statement over them: bytes, receipts and rows are those of a local run")


def an_executor_is_unplugged(cluster):
    run = cluster.compact("unplugged")
    cluster.in_the_middle(run, "unplugged")
    cluster.network.unplug("executor-2")
    before = cluster.published("unplugged")
    check(before < SYMBOLS, "everything was published before the link was pulled")
    run.end(0)
    check(cluster.published("unplugged") == SYMBOLS, "the run ended before everything was published")
    cluster.knows([name for name in EXECUTORS if name != "executor-2"])
    cluster.is_as_local("unplugged")
    cluster.network.plug("executor-2")
    cluster.knows(EXECUTORS)
    cluster.all_live()
    # What it had begun when it was cut off does no harm once it is back.
    cluster.is_as_local("unplugged")
    print(f"  unplugged after {before} of {SYMBOLS} partitions: the others did the rest, and it came back")


def a_link_is_slow(cluster):
    how = cluster.network.slow("executor-3")
    run = cluster.compact("slow")
    run.end(0)
    cluster.network.quick("executor-3")
    check(ADDRESSES["executor-3"] in run.said(), f"the slow executor did nothing:\n{run.said()}")
    cluster.is_as_local("slow")
    print(f"  an executor behind {how}: it did its share, and the bytes are the same")


def the_scheduler_is_cut_off(cluster):
    run = cluster.compact("cut-off")
    cluster.in_the_middle(run, "cut-off")
    cluster.network.unplug("scheduler")
    # Another one that begins meanwhile.
    late = cluster.compact("late")
    run.end(1)
    check("the scheduler has gone" in run.said(), f"it does not say why it ended:\n{run.said()}")
    late.end(1)
    check("does not answer" in late.said(), f"it does not say why it ended:\n{late.said()}")
    check(cluster.published("late") == 0, "something was published by a run that did not begin")
    done = len([key for key in cluster.is_sound("cut-off") if key.endswith("/data.parquet")])
    check(0 < done < SYMBOLS, f"{done} of {SYMBOLS} partitions were published before the link was pulled")
    cluster.network.plug("scheduler")
    cluster.knows(EXECUTORS)
    cluster.all_live()
    cluster.compact("cut-off").end(0)
    cluster.is_as_local("cut-off")
    print(f"  cut off after {done} of {SYMBOLS} partitions, all of them whole: the run ended with 1, the next one did the rest")


def strangers_are_not_let_in(cluster):
    known, stranger = cluster.certificates.of("executor-3"), cluster.certificates.of("stranger", "strangers")
    wrong = {
        "of another authority": stranger,
        "of another authority, which trusts the cluster's": stranger | {"QLC_CLUSTER_CA": known["QLC_CLUSTER_CA"]},
    }
    second = ["--bind-port", 50061, "--bind-grpc-port", 50062, "--scheduler-connect-timeout-seconds", 2]
    for what, certificate in wrong.items():
        # A certificate that its own authority did not sign is refused by whoever has it, before it is shown to anybody.
        trusts = certificate["QLC_CLUSTER_CA"] == known["QLC_CLUSTER_CA"]
        code, why = (2, "is not signed by the authority") if trusts else (1, "its certificate is refused")
        refused = cluster.executor("executor-3", certificate, *second)
        refused.end(code)
        check(why in refused.said(), f"an executor {what}:\n{refused.said()}")
        client = cluster.compact("stranger", env=certificate)
        client.end(code)
        check(why in client.said(), f"a client {what}:\n{client.said()}")
    nobody = {
        "an executor": cluster.executor("executor-3", {}, *second),
        "an executor on loopback": cluster.begin(
            "executor-3", cluster.stores | cluster.places, "cluster", "executor", "--scheduler-host", "scheduler.internal", *second
        ),
        "a scheduler": cluster.begin("client", {}, "cluster", "scheduler", "--bind-host", ADDRESSES["client"]),
        "a scheduler on every address": cluster.begin("client", {}, "cluster", "scheduler", "--bind-host", "0.0.0.0"),
        "a client": cluster.compact("stranger", env={}),
    }
    for what, process in nobody.items():
        process.end(2)
        check("--cluster-cert" in process.said(), f"{what} without a certificate:\n{process.said()}")
    check(not objects(cluster.server, "archive/stranger"), "something was written for a stranger")
    cluster.knows(EXECUTORS)
    print(f"  {len(wrong)} wrong certificates were refused, and {len(nobody)} processes without one did not start")


def answered(address, port, said, tls=None):
    """All bytes that come back for some that are sent."""
    found = b""
    with socket.create_connection((address, port), timeout=DEADLINE) as stream:
        try:
            if tls:
                # Asked by the name that its certificate is made out to.
                stream = tls.wrap_socket(stream, server_hostname="qlc-cluster")
            stream.sendall(said)
            if not tls:
                stream.shutdown(socket.SHUT_WR)
        except OSError as error:
            check(not isinstance(error, TimeoutError), f"{address}:{port}: neither answers {said[:40]!r} nor ends")
        try:
            while part := stream.recv(65536):
                found += part
        except OSError as error:
            check(not isinstance(error, TimeoutError), f"{address}:{port}: neither answers {said[:40]!r} nor ends")
    return found


def is_alert(answer):
    """Whether an answer is nothing, or the refusal with which TLS ends a connection."""
    return not answer or (answer[:2] == b"\x15\x03" and len(answer) == 7)


def ports_answer_nobody(cluster):
    expected = {"scheduler": {(ADDRESSES["scheduler"], SCHEDULER_PORT)}}
    for name in EXECUTORS:
        expected[name] = {(ADDRESSES[name], EXECUTOR_PORT), ("127.0.0.1", LOOPBACK_PORT)}
    requests = [f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode() for path in PATHS]
    requests.append(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
    plain = [b"", b"\r\n" * 64, bytes(100_000), bytes(range(256)) * 400, b"\x16\x03\x01\xff\xff" + bytes(70_000), *requests]
    nobody, stranger, known = (ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) for _ in range(3))
    own = cluster.certificates.of("stranger", "strangers")
    stranger.load_cert_chain(own["QLC_CLUSTER_CERT"], own["QLC_CLUSTER_KEY"])
    own = cluster.certificates.of("client")
    known.load_cert_chain(own["QLC_CLUSTER_CERT"], own["QLC_CLUSTER_KEY"])
    for context in (nobody, stranger, known):
        context.load_verify_locations(own["QLC_CLUSTER_CA"])
    tried, idle, before = 0, [], cluster.everything()
    for name, want in expected.items():
        address = ADDRESSES[name]
        found = cluster.network.listens(name)
        check(found == want, f"{name} listens on {found} instead of {want}")
        for bound, port in found:
            if bound != address:
                try:
                    socket.create_connection((address, port), timeout=DEADLINE).close()
                except ConnectionRefusedError:
                    continue
                raise Wrong(f"{name}: {bound}:{port} is reached by {address}")
            # Those who connect and say nothing keep nobody else out.
            idle += [socket.create_connection((address, port), timeout=DEADLINE) for _ in range(200)]
            for said in plain:
                answer = answered(address, port, said)
                check(is_alert(answer), f"{name}:{port} answers {said[:40]!r} with {answer[:200]!r}")
            for context in (nobody, stranger):
                for said in requests:
                    answer = answered(address, port, said, context)
                    check(not answer, f"{name}:{port} answers {said[:40]!r} of a stranger with {answer[:200]!r}")
            # The same question of someone who is known has an answer: it is the certificate that makes the difference.
            answer = answered(address, port, requests[0], known)
            check(answer.startswith(b"HTTP/1.1 200"), f"{name}:{port} answers someone known with {answer[:200]!r}")
            tried += len(plain) + 2 * len(requests)
    cluster.all_live()
    check(cluster.everything() == before, "the bucket is not as it was")
    cluster.compact("scanned").end(0)
    for connection in idle:
        connection.close()
    cluster.is_as_local("scanned")
    print(f"  {tried} attempts and {len(idle)} silent connections at {len(expected)} hosts: no answer, and then a run as always")


PATHS = ["/health", "/metrics", "/qlc/executors", "/qlc/about", "/"]
CHECKS = [
    hosts_do_what_one_process_does,
    an_executor_is_unplugged,
    a_link_is_slow,
    the_scheduler_is_cut_off,
    strangers_are_not_let_in,
    ports_answer_nobody,
]


def inside(args):
    """In namespaces of our own: the client's."""
    work = args.inside
    network = Network(work)
    spool = work / "made"
    made = ["--kinds", "fleet", "--rows", ROWS, "--files", FILES, "--symbols", SYMBOLS]
    run(sys.executable, BENCHES / "workloads.py", spool, *made)
    with Server(args.server.resolve(), work, ADDRESSES["store"], Network.at("store")) as server:
        server.aws("s3", "mb", f"s3://{BUCKET}")
        pa.fs.copy_files(str(spool / "fleet"), f"{BUCKET}/spool", destination_filesystem=server.files())
        cluster = Cluster(args.qlc.resolve(), network, server, work)
        for test in CHECKS:
            print(f"{test.__name__.replace('_', ' ')}: ({time.monotonic() - BEGAN:.0f} s)", flush=True)
            test(cluster)
        no_uploads(server)
        for name in reversed(cluster.services):
            cluster.services[name].stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=pathlib.Path, help="a binary with the feature cluster")
    parser.add_argument("--server", type=pathlib.Path, required=True, help="the virtual environment of the server")
    parser.add_argument("--required", action="store_true", help="fail where this machine cannot do it")
    parser.add_argument("--inside", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        try:
            inside(args)
        except Wrong as wrong:
            sys.exit(f"hosts: {wrong}")
        print("hosts: a cluster of several hosts does what one process does")
    elif lacks := why_not():
        print(f"hosts: SKIPPED: {lacks}")
        sys.exit(args.required)
    else:
        sys.exit(apart(__file__, *sys.argv[1:]))


if __name__ == "__main__":
    main()
