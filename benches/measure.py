"""Runs a program and returns what the kernel counted for it; sums up such runs.

Imports nothing but the standard library: a child is charged with what its parent had resident at the fork, so whoever
measures stays small. Refuses to time anything but whole processes.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9}


def size_of(text):
    """The bytes that a size such as 512MB or 2.5GB means."""
    return int(float(text[:-2]) * UNITS[text[-2:]])


def run(command, env=None, fails=False):
    """Runs `command` from its start to its end: seconds on the clock, seconds of CPU with those of its children, the
    largest resident set of one of its processes, bytes that it read by system calls, and what it printed. A run that
    fails ends everything, unless `fails` says that its exit code is looked at by the caller."""
    # What earlier runs wrote must not be waited for by this one's fsync.
    os.sync()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        child = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err, env=os.environ | (env or {}))
        try:
            # The process has ended but is not gone yet, so its counters can still be read.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            wall = time.monotonic() - began
            read = bytes_read(child.pid)
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.send_signal(signal.SIGKILL)
            raise
        child.returncode = code = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        printed, said = out.read().decode(errors="replace"), err.read().decode(errors="replace")
    if code != 0 and not fails:
        sys.exit(f"{' '.join(str(part) for part in command)[:400]}\nended with {code}\n{(printed + said)[-4000:]}")
    used = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss * 1024, "read": read}
    return used | {"code": code}, printed


def bytes_read(pid):
    """Bytes that a process read by system calls, from the disk or the page cache; None where the kernel does not tell."""
    try:
        with open(f"/proc/{pid}/io") as counters:
            return int(dict(line.split(": ") for line in counters.read().splitlines())["rchar"])
    except (OSError, KeyError, ValueError):
        return None


def keep_to(threads):
    """Keeps this process and all that it starts to so many cores."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < threads:
        sys.exit(f"{threads} cores are wanted, {len(cores)} are there: say --threads {len(cores)}")
    os.sched_setaffinity(0, cores[:threads])


def summary(values):
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def warm(folder):
    """Reads every file below `folder` once, so that all runs find them in the page cache; returns their bytes."""
    size = 0
    for base, _, files in os.walk(folder):
        for name in files:
            with open(os.path.join(base, name), "rb") as data:
                while piece := data.read(1 << 20):
                    size += len(piece)
    return size
