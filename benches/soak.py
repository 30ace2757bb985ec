#!/usr/bin/env python3
"""Drives `qlc collect` at a steady rate, with many quiet series beside the busy ones, and checks that it loses nothing.

    soak.py QLC [--seconds 3600] [--rate 20000] [--quiet 2400] [--kills 3] [--work DIR] [--json FILE]
    soak.py QLC --busy 600

The exchanges are played by a process of its own: Binance brings a few busy series, OKX `--quiet` series that bring something now
and then; both list their instruments, and the collector is started with `--symbol all`. After the first half the collector is
asked to end, and must seal everything; in the second half another one goes on. It is killed (SIGKILL) `--kills` times in full flow
and started again, and once more when everything that was sent is in its log. At the end

- each series without numbers that follow one another must have all that was sent, but for what an `offline` record of its
  exchange covers: no more than the exchange sent in that time; one with such numbers must have what no `gap` record counts.
  Without kills in full flow, sent and spooled must be equal, series by series;
- `compact` and `verify` must pass, and the archive must have as many rows as the spool;
- /health, which is asked all the time, must have been well from the first time that it was until the feeds were stopped;
- resident memory beyond the rows that wait for their file to be sealed (`memory_bytes` of /status), which is sampled all the time,
  must not grow: after a warm-up of a sixth of a half (at least two rotations), the median of the second part of the rest must not be
  above that of the first one by more than `--tolerance` (a tenth) plus 16 MB. The rows themselves are left out because those of
  quiet series wait for more than an hour, so that there are more of them all the time; the collector has a limit for them.

What it took is told, and judged by nobody, because machines differ: events a CPU second (after the warm-up, and with the start),
bytes written an event, how long it took to end, to start and to recover, resident memory after a kill, files a day.

`--busy` is another run: for so many seconds all `--quiet` series bring `--rate` events a second together (3,500, unless it is said),
with the usual age of files; then the collector is killed, and what the next one takes for the recovery is told and held against
300 MB.
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
import urllib.error
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


def is_well(port):
    """Whether /health says that all is well; None where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30):
            return True
    except urllib.error.HTTPError:
        return False
    except OSError:
        return None


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
    """What memory beyond the rows took: (the median of the first part, that of the second, its limit)."""
    warm = max(seconds / 6, 2 * rotate)
    beyond = [(at, rss - rows) for at, rss, rows in samples if at >= warm and rows is not None]
    half = warm + (seconds - warm) / 2
    first = statistics.median(one for at, one in beyond if at < half)
    second = statistics.median(one for at, one in beyond if at >= half)
    return first, second, first * (1 + tolerance) + (16 << 20)


class Collector:
    """A collector under way."""

    def __init__(self, command, port, log):
        self.port, self.log = port, log
        self.well_after, self.unwell, self.warm = None, [], None
        self.began = began = time.monotonic()
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

    def watch(self, seconds, warm=None):
        """Samples of resident memory, by time, now and then with the bytes of the rows in it. Notes when /health is not well,
        and where the warm-up ends."""
        began, samples, told = time.monotonic(), [], 0
        # The status of thousands of series costs the collector some time.
        stride = 5 if seconds > 600 else 1
        while (now := time.monotonic() - began) < seconds:
            time.sleep(min(SAMPLE_S, max(seconds - now, 0.1)))
            self.check()
            rows = status(self.port)["memory_bytes"] if len(samples) % stride == 0 else None
            samples.append((now, resident(self.process.pid), rows))
            well = is_well(self.port)
            if well and self.well_after is None:
                self.well_after = time.monotonic() - self.began
            elif not well and self.well_after is not None:
                self.unwell.append((round(now, 1), status(self.port)["troubles"][:3]))
            if warm is not None and now >= warm and self.warm is None:
                self.warm = cpu_seconds(self.process.pid), dealt_with(status(self.port))
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

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        """Asks it to end; the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait()
        if code != 0:
            sys.exit(f"soak: the collector ended with {code}\n{self.log.read_text()[-3000:]}")
        return time.monotonic() - began


def notes_of(work):
    """The lines of the feed log."""
    notes = []
    for path in glob.glob(str(work / "spool/_feed/20*.ndjson")):
        with open(path, encoding="utf-8") as lines:
            notes += [json.loads(line) for line in lines]
    return notes


def spooled(base):
    query = "SELECT exchange, stream, symbol, count(*) AS n FROM spool.events GROUP BY exchange, stream, symbol"
    rows = [json.loads(line) for line in ran([*base, "query", "--format", "ndjson", query]).splitlines()]
    return {(row["exchange"], row["stream"], row["symbol"]): row["n"] for row in rows}


def uncovered(sent, spool, notes, rates, kills):
    """What was sent, is not in the spool and not on record either."""
    wrong = [f"{key}: {spool[key]} events are in the spool, {sent.get(key, 0)} were sent" for key in spool if spool[key] > sent.get(key, 0)]
    missing, lost = {}, {}
    for note in notes:
        if note["kind"] == "gap":
            missing[note["series"]] = missing.get(note["series"], 0) + note["missing"]
    for key, number in sent.items():
        short = number - spool.get(key, 0)
        if key[:2] == ("binance", "trade"):
            # What came last before an end shows no hole.
            if short - missing.get("/".join(key), 0) != 0:
                wrong.append(f"{key}: {number} events were sent, {short} are not in the spool, {missing.get('/'.join(key), 0)} in gaps")
        elif short > 0:
            lost[key[0]] = lost.get(key[0], 0) + short
    for exchange, number in lost.items():
        # Of each connection there is a record; the longest of each time away counts.
        seconds = sorted((note["seconds"] for note in notes if note["kind"] == "offline" and note["exchange"] == exchange), reverse=True)
        covered = sum(seconds[:kills]) * rates[exchange] * 1.5 + 1
        if number > covered:
            wrong.append(f"{exchange}: {number} events are missing, and the time on record as offline ({seconds[:kills]}) covers {covered:.0f}")
    return wrong, sum(lost.values()) + sum(missing.values())


class Stage:
    """The exchanges, and the command that collects them."""

    def __init__(self, qlc, work, feeds, quiet, more):
        ready, tell_ready = multiprocessing.Pipe(False)
        self.control, controlled = multiprocessing.Pipe()
        server = multiprocessing.Process(target=mock.serve, args=(feeds, tell_ready, controlled), daemon=True)
        server.start()
        port, self.web, rest = ready.recv(), free_port(), mock.lists(SYMBOLS, quiet)
        self.base = [qlc, "--spool", work / "spool", "--archive", work / "archive"]
        self.command = [*self.base, "collect", "--symbol", "all", "--stream", STREAMS, "--listen", f"127.0.0.1:{self.web}", *more]
        for feed in feeds:
            self.command += ["--endpoint", f"{feed.name}=ws://127.0.0.1:{port}/{feed.name}"]
        for venue in {feed.name.split(".")[0] for feed in feeds}:
            self.command += ["--endpoint", f"{venue}.rest=http://127.0.0.1:{rest}"]
        self.log = work / "collect.log"

    def collect(self):
        return Collector(self.command, self.web, self.log)

    def stop(self):
        """Stops the feeds; what was played, and how many events."""
        self.control.send("stop")
        played = self.control.recv()
        return played, sum(row[3] for row in played["sent"])


def busy(args, qlc, work):
    """Very many busy series, a kill, and what the recovery takes."""
    quiet = [f"q{nth:04}usdt" for nth in range(args.quiet // 4)]
    rate = args.rate or 3500
    # The index of a mark price is a topic that brings nothing here.
    stage = Stage(qlc, work, [mock.Quiet("okx.public", args.quiet / rate)], quiet, ["--exchange", "okx"])
    first = stage.collect()
    _ = first.watch(args.busy)
    played, expected = stage.stop()
    final = first.reach(expected)
    cpu, bytes_written = cpu_seconds(first.process.pid), written(first.process.pid)
    journal = final["journal_bytes"]
    first.kill()
    second = stage.collect()
    recovered_in, recovered_rss = second.started_in, most_resident(second.process.pid)
    second.end()
    stage.control.send("end")
    spool = spooled(stage.base)
    sent = {(exchange, stream, symbol): n for exchange, stream, symbol, n in played["sent"]}
    figures = {"busy_seconds": args.busy, "rate": rate, "series": len(final["feeds"]), "sent": expected, "spool": sum(spool.values()),
               "events_per_cpu_second": expected / cpu, "bytes_written_per_event": bytes_written / expected, "journal_bytes": journal,
               "recovered_in": recovered_in, "recovered_rss": recovered_rss}
    print(f"{args.busy} s of {len(final['feeds'])} busy series: {expected} events sent, {sum(spool.values())} in the spool; "
          f"{expected / cpu:.0f} events a CPU second, {bytes_written / expected:.0f} bytes written an event; a log of {journal / 1e6:.0f} MB was "
          f"recovered in {recovered_in:.1f} s (30 are aimed at) with at most {recovered_rss / 1e6:.0f} MB (300)")
    wrong = [] if spool == sent else [f"sent and spool differ: {expected} and {sum(spool.values())}"]
    if recovered_rss > 300e6:
        wrong.append(f"the recovery took {recovered_rss / 1e6:.0f} MB")
    return figures, wrong


def soak(args, qlc, work):
    """The hour."""
    rate = args.rate or 20_000
    quiet = [f"q{nth:04}usdt" for nth in range(args.quiet // 4)]
    feeds = [mock.Feed(name, kinds, SYMBOLS, rate * share) for name, (share, kinds) in SHARES.items()]
    feeds.append(mock.Quiet("okx.public"))
    stage = Stage(qlc, work, feeds, quiet, ["--exchange", "binance,okx", "--rotate-after", f"{args.rotate}s"])
    half, warm = args.seconds // 2, max(args.seconds / 12, 2 * args.rotate)
    collectors = []

    def collect():
        collectors.append(stage.collect())
        return collectors[-1]

    first = collect()
    samples = first.watch(half, warm)
    cpu_end, dealt_end = cpu_seconds(first.process.pid), dealt_with(status(first.port))
    played, sent_first = stage.stop()
    final = first.reach(sent_first)
    cpu, bytes_written = cpu_seconds(first.process.pid), written(first.process.pid)
    files_running = final["files_sealed"]
    sealed_in = first.end()
    warm_cpu, warm_dealt = first.warm or (0, 0)
    steady = (dealt_end - warm_dealt) / max(cpu_end - warm_cpu, 0.01)

    stage.control.send("go on")
    for _ in range(args.kills):
        collector = collect()
        _ = collector.watch(half / (args.kills + 1))
        collector.kill()
    second = collect()
    _ = second.watch(half / (args.kills + 1))
    played, expected = stage.stop()
    if args.kills == 0:
        second.reach(expected - sent_first)
    else:
        # Some of it went to those that were killed.
        second.reach(1 << 62)
    second.kill()
    third = collect()
    recovered_in, recovered_rss = third.started_in, most_resident(third.process.pid)
    third.end()
    stage.control.send("end")

    notes, spool = notes_of(work), spooled(stage.base)
    sent = {(exchange, stream, symbol): n for exchange, stream, symbol, n in played["sent"]}
    dropped = sum(note["events"] for note in notes if note["kind"] == "dropped")
    bad = ["disk", "anew", "dropped"] + ([] if args.kills else ["gap", "lost", "late"])
    wrong = [f"feed log: {note}" for note in notes if note["kind"] in bad]
    lost = 0
    if args.kills:
        binance = rate * (0.75 + 0.25 * 21 / 20)
        more, lost = uncovered(sent, spool, notes, {"binance": binance, "okx": args.quiet / 6}, args.kills)
        wrong += more
    elif spool != sent:
        wrong.append(f"sent and spool differ: {[(k, sent.get(k), spool.get(k)) for k in sent.keys() | spool.keys() if sent.get(k) != spool.get(k)]}")
    for collector in collectors[:-1]:
        wrong += [f"/health was not well after {at} s: {troubles}" for at, troubles in collector.unwell]
        if collector.well_after is None:
            wrong.append("/health was never well")
    beyond, beyond_later, limit = judged(samples, half, args.rotate, args.tolerance)
    if beyond_later > limit:
        wrong.append(f"memory beyond the rows rose from {beyond / 1e6:.1f} to {beyond_later / 1e6:.1f} MB")
    most = max(rss for _, rss, _ in samples)
    files_a_day = files_running / half * 86400
    print(f"first half: {steady:.0f} events a CPU second after the warm-up ({sent_first / cpu:.0f} with the start), "
          f"{bytes_written / sent_first:.0f} bytes written an event, {files_running} files ({files_a_day:.0f} a day at --rotate {args.rotate}); "
          f"RSS at most {most / 1e6:.0f} MB, beyond the rows {beyond / 1e6:.0f} MB and later {beyond_later / 1e6:.0f} MB; well after {first.well_after or -1:.1f} s; sealed in {sealed_in:.1f} s; "
          f"after a kill started in {recovered_in:.1f} s with at most {recovered_rss / 1e6:.0f} MB", flush=True)
    later = time.strftime("%Y-%m-%dT06:00:00Z", time.gmtime(time.time() + 2 * 86400))
    ran([*stage.base, "compact", "--mode", "catch-up", "--now", later])
    ran([*stage.base, "verify"])
    archived = sum(json.loads(pathlib.Path(meta).read_text())["row_count"]
                   for meta in glob.glob(str(work / "archive/exchange=*/*/*/*/meta.json")))
    if archived != sum(spool.values()):
        wrong.append(f"{archived} rows are in the archive")
    print(f"{args.seconds} s at {rate}/s with {len(final['feeds'])} series and {args.kills} kills in full flow: {expected} events sent, "
          f"{sum(spool.values())} in the spool, {dropped} dropped, {lost} on record as missing or offline; {archived} in the archive, verified; "
          f"the mock was up to {played['late']:.1f} s late")
    figures = {"seconds": args.seconds, "rate": rate, "quiet": args.quiet, "kills": args.kills, "sent": expected,
               "spool": sum(spool.values()), "dropped": dropped, "lost": lost, "series": len(final["feeds"]),
               "events_per_cpu_second": steady, "events_per_cpu_second_with_start": sent_first / cpu,
               "bytes_written_per_event": bytes_written / sent_first, "files_running": files_running, "files_a_day": files_a_day,
               "well_after": first.well_after, "sealed_in": sealed_in, "recovered_in": recovered_in,
               "recovered_rss": recovered_rss, "rss_most": most, "beyond_first": beyond, "beyond_later": beyond_later, "beyond_limit": limit,
               "cpu_seconds": cpu, "mock_late_seconds": played["late"], "samples": samples}
    return figures, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=pathlib.Path, help="the binary")
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--rate", type=int, help="frames a second of the busy series (20000; with --busy 3500)")
    parser.add_argument("--quiet", type=int, default=2400, help="quiet series")
    parser.add_argument("--busy", type=int, metavar="SECONDS", help="only: so long all series busy, then a kill and the recovery")
    parser.add_argument("--kills", type=int, default=0, help="kills in full flow, in the second half")
    parser.add_argument("--rotate", type=int, default=10, help="a spool file is sealed after so many seconds")
    parser.add_argument("--tolerance", type=float, default=0.1)
    parser.add_argument("--work", help="folder for spool and archive; a temporary one otherwise")
    parser.add_argument("--json", type=pathlib.Path, help="where the figures go")
    args = parser.parse_args()
    qlc = args.qlc.resolve()
    with tempfile.TemporaryDirectory(prefix="qlc-soak-", dir=args.work) as folder:
        figures, wrong = (busy if args.busy else soak)(args, qlc, pathlib.Path(folder))
        if args.json:
            args.json.write_text(json.dumps(figures) + "\n")
        if wrong:
            sys.exit("soak: " + "\nsoak: ".join(wrong))


if __name__ == "__main__":
    main()
