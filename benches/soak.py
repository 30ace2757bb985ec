#!/usr/bin/env python3
"""Drives `qlc collect` at a steady rate, with many quiet series beside the busy ones, and checks that it loses nothing.

    soak.py QLC [--seconds 3600] [--rate 20000] [--quiet 2400] [--work DIR] [--json FILE]

The exchanges are played by a process of its own: Binance brings a few busy series, OKX `--quiet` series that bring something now
and then; both list their instruments, and the collector is started with `--symbol all`. After the first half the collector is
asked to end, and must seal everything; in the second half another one goes on, which is killed and started a third time. At
the end every event that was sent must be in the spool or be recorded as dropped, `compact` and `verify` must pass, the archive
must have as many rows as the spool; and no connection may have been lost. Resident memory is sampled every two seconds: after a
warm-up of a sixth of a half (at least two rotations), no sample may be above the median of the first part of the rest by more
than `--tolerance` (a quarter) plus 16 MB, which is the saw of rows that wait for their file to be sealed. How long it took to
end and to start, and what it read and wrote, is told, and judged by nobody: machines differ.
"""

import argparse
import glob
import json
import multiprocessing
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import mock

SYMBOLS = ["btcusdt", "ethusdt", "solusdt", "xrpusdt", "bnbusdt"]
# Shares of the rate, by endpoint; a mark price is also a funding rate.
SHARES = {
    "binance.public": (0.75, [(mock.QUOTE, ["bbo"])]),
    "binance.market": (0.25, [(mock.TRADE, ["trade"])] * 19 + [(mock.MARK, ["mark_price", "funding"])]),
}
STREAMS = "bbo,trade,mark_price,funding"
SAMPLE_S = 2


def resident(pid):
    """Bytes of resident memory of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def written(pid):
    """Bytes that a process has given to the disk."""
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        return int(re.search(r"write_bytes: (\d+)", file.read()).group(1))


def most_resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+) kB", file.read()).group(1)) * 1024


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def status(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=30) as answer:
        return json.load(answer)


def ran(command):
    """Runs to the end; returns stdout, or ends everything."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"soak: {command[0]} {command[-1]} ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def dealt_with(now):
    return sum(feed["events"] + feed["dropped"] + feed["duplicates"] for feed in now["feeds"])


def judged(samples, seconds, rotate, tolerance):
    """(median of the first part, most after the warm-up, the limit)."""
    warm = max(seconds / 6, 2 * rotate)
    after = [(at, rss) for at, rss in samples if at >= warm]
    half = warm + (seconds - warm) / 2
    median = statistics.median(rss for at, rss in after if at < half)
    return median, max(rss for _, rss in after), median * (1 + tolerance) + (16 << 20)


class Collector:
    """A collector under way."""

    def __init__(self, command, port, log):
        self.port, self.log = port, log
        began = time.monotonic()
        with open(log, "ab") as out:
            self.process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=subprocess.STDOUT)
        while True:
            self.check()
            try:
                if status(port)["lines"]:
                    break
            except OSError:
                time.sleep(0.1)
        # From here on it takes events: what was in the log is sealed.
        self.started_in = time.monotonic() - began

    def check(self):
        if self.process.poll() is not None:
            sys.exit(f"soak: the collector ended with {self.process.returncode}\n{self.log.read_text()[-3000:]}")

    def watch(self, seconds):
        """Samples of resident memory, by time."""
        began, samples, told = time.monotonic(), [], 0
        while (now := time.monotonic() - began) < seconds:
            time.sleep(SAMPLE_S)
            self.check()
            samples.append((now, resident(self.process.pid)))
            if now - told >= 60:
                told = now
                print(f"{now:6.0f} s: RSS {samples[-1][1] / 1e6:.0f} MB, {status(self.port)['events']} events", flush=True)
        return samples

    def reach(self, expected):
        """Waits until everything is dealt with; a collector that lost some never gets there, so it must also stand still."""
        last = -1
        while (seen := dealt_with(status(self.port))) < expected and seen != last:
            last = seen
            time.sleep(3)
        # And committed.
        time.sleep(2)
        return status(self.port)

    def end(self):
        """Asks it to end; the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait()
        if code != 0:
            sys.exit(f"soak: the collector ended with {code}\n{self.log.read_text()[-3000:]}")
        return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=pathlib.Path, help="the binary")
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--rate", type=int, default=20_000, help="frames a second of the busy series")
    parser.add_argument("--quiet", type=int, default=2400, help="quiet series")
    parser.add_argument("--rotate", type=int, default=10, help="a spool file is sealed after so many seconds")
    parser.add_argument("--tolerance", type=float, default=0.25)
    parser.add_argument("--work", help="folder for spool and archive; a temporary one otherwise")
    parser.add_argument("--json", type=pathlib.Path, help="where the figures go")
    args = parser.parse_args()
    qlc = args.qlc.resolve()
    with tempfile.TemporaryDirectory(prefix="qlc-soak-", dir=args.work) as folder:
        work = pathlib.Path(folder)
        quiet = [f"q{nth:04}usdt" for nth in range(args.quiet // 4)]
        feeds = [mock.Feed(name, kinds, SYMBOLS, args.rate * share) for name, (share, kinds) in SHARES.items()]
        feeds.append(mock.Quiet("okx.public"))
        ready, tell_ready = multiprocessing.Pipe(False)
        control, controlled = multiprocessing.Pipe()
        server = multiprocessing.Process(target=mock.serve, args=(feeds, tell_ready, controlled), daemon=True)
        server.start()
        port, web, rest = ready.recv(), free_port(), mock.lists(SYMBOLS, quiet)
        base = [qlc, "--spool", work / "spool", "--archive", work / "archive"]
        command = [*base, "collect", "--exchange", "binance,okx", "--symbol", "all", "--stream", STREAMS,
                   "--rotate-after", f"{args.rotate}s", "--listen", f"127.0.0.1:{web}"]
        for feed in feeds:
            command += ["--endpoint", f"{feed.name}=ws://127.0.0.1:{port}/{feed.name}"]
        for venue in ("binance", "okx"):
            command += ["--endpoint", f"{venue}.rest=http://127.0.0.1:{rest}"]
        log, half = work / "collect.log", args.seconds // 2

        def stopped():
            control.send("stop")
            played = control.recv()
            return played, sum(row[3] for row in played["sent"])

        first = Collector(command, web, log)
        samples = first.watch(half)
        played, sent_first = stopped()
        final = first.reach(sent_first)
        cpu, bytes_written = cpu_seconds(first.process.pid), written(first.process.pid)
        files_running = final["files_sealed"]
        sealed_in = first.end()

        control.send("go on")
        second = Collector(command, web, log)
        _ = second.watch(half)
        played, expected = stopped()
        second.reach(expected - sent_first)
        second.process.kill()
        second.process.wait()
        third = Collector(command, web, log)
        recovered_in, recovered_rss = third.started_in, most_resident(third.process.pid)
        third.end()
        control.send("end")
        wrong = []

        dropped = 0
        for path in glob.glob(str(work / "spool/_feed/20*.ndjson")):
            with open(path, encoding="utf-8") as lines:
                notes = [json.loads(line) for line in lines]
            dropped += sum(note["events"] for note in notes if note["kind"] == "dropped")
            wrong += [f"feed log: {note}" for note in notes if note["kind"] in ("gap", "lost", "disk", "late", "anew")]
        median, most, limit = judged(samples, half, args.rotate, args.tolerance)
        print(f"first half: {sent_first / cpu:.0f} events a CPU second, {bytes_written / sent_first:.0f} bytes written an event, "
              f"{files_running} files; RSS {median / 1e6:.0f} MB at first, at most {most / 1e6:.0f} MB; sealed in {sealed_in:.1f} s; "
              f"after a kill started in {recovered_in:.1f} s with at most {recovered_rss / 1e6:.0f} MB", flush=True)
        query = "SELECT exchange, stream, symbol, count(*) AS n FROM spool.events GROUP BY exchange, stream, symbol"
        rows = [json.loads(line) for line in ran([*base, "query", "--format", "ndjson", query]).splitlines()]
        spool = {(row["exchange"], row["stream"], row["symbol"]): row["n"] for row in rows}
        sent = {(exchange, stream, symbol): n for exchange, stream, symbol, n in played["sent"]}
        if dropped == 0 and spool != sent:
            wrong.append(f"sent and spool differ: {[(k, sent.get(k), spool.get(k)) for k in sent.keys() | spool.keys() if sent.get(k) != spool.get(k)]}")
        if sum(spool.values()) + dropped != expected:
            wrong.append(f"{expected} events were sent, {sum(spool.values())} are in the spool, {dropped} recorded as dropped")
        later = time.strftime("%Y-%m-%dT06:00:00Z", time.gmtime(time.time() + 2 * 86400))
        ran([*base, "compact", "--mode", "catch-up", "--now", later])
        ran([*base, "verify"])
        archived = sum(json.loads(pathlib.Path(meta).read_text())["row_count"]
                       for meta in glob.glob(str(work / "archive/exchange=*/*/*/*/meta.json")))
        if archived != sum(spool.values()):
            wrong.append(f"{archived} rows are in the archive")
        if most > limit:
            wrong.append(f"RSS rose to {most / 1e6:.1f} MB; the median of the first part was {median / 1e6:.1f} MB")
        figures = {"seconds": args.seconds, "rate": args.rate, "quiet": args.quiet, "sent": expected,
                   "spool": sum(spool.values()), "dropped": dropped, "series": len(final["feeds"]),
                   "events_per_cpu_second": sent_first / cpu, "bytes_written_per_event": bytes_written / sent_first,
                   "files_running": files_running, "sealed_in": sealed_in, "recovered_in": recovered_in,
                   "recovered_rss": recovered_rss, "rss_median_first": median, "rss_most": most, "rss_limit": limit,
                   "cpu_seconds": cpu, "mock_late_seconds": played["late"], "samples": samples}
        if args.json:
            args.json.write_text(json.dumps(figures) + "\n")
        print(f"{args.seconds} s at {args.rate}/s with {len(final['feeds'])} series: {expected} events sent, {sum(spool.values())} in the "
              f"spool, {dropped} dropped; {archived} in the archive, verified; the mock was up to {played['late']:.1f} s late")
        if wrong:
            sys.exit("soak: " + "\nsoak: ".join(wrong))


if __name__ == "__main__":
    main()
