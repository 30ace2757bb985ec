"""Hosts that are network namespaces at one switch, in namespaces that end with the process that made them; certificates.

A host has one link, which is pulled, slowed down and put back. Processes, mounts and network belong to one run, and the kernel ends
all of it with the first of its processes: nothing is left of a run, however it ends, and two do not meet.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from checks import run

ADDRESSES = {
    "store": "10.77.0.2",
    "scheduler": "10.77.0.3",
    "executor-1": "10.77.0.11",
    "executor-2": "10.77.0.12",
    "executor-3": "10.77.0.13",
    "client": "10.77.0.20",
}
# Where these programs lie, which not everybody's PATH tells.
os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"


def namespaces():
    """The command whose processes, mounts and network are its own, and end with it."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    own = ["unshare", *user, "--mount", "--net", "--pid", "--mount-proc", "--fork", "--kill-child"]
    return ["setpriv", "--pdeathsig", "KILL", *own]


def why_not():
    """What this machine lacks, if anything."""
    for program in ("unshare", "setpriv", "nsenter", "ip", "tc", "openssl"):
        if shutil.which(program) is None:
            return f"there is no program {program}"
    ran = subprocess.run([*namespaces(), "mount", "-t", "tmpfs", "tmpfs", "/run"], capture_output=True, text=True, check=False)
    return ran.stderr.strip() or f"unshare ends with {ran.returncode}" if ran.returncode else None


def apart(program, *args):
    """Runs a Python program in namespaces of its own, with a folder that is gone afterwards; returns its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("stopped"))
    with tempfile.TemporaryDirectory(prefix="qlc-hosts-") as work:
        # In a session of its own, so that Ctrl-C is this process's to answer.
        command = [*namespaces(), sys.executable, program, *map(str, args), "--inside", work]
        child = subprocess.Popen(command, start_new_session=True)
        try:
            return child.wait()
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        finally:
            child.kill()
            child.wait()


class Network:
    """A switch and the hosts at it. The process that makes it is on the client's."""

    def __init__(self, work):
        self.work = work
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        pathlib.Path("/run/netns").mkdir()
        names = work / "hosts"
        names.write_text("127.0.0.1 localhost\n" + "".join(f"{ip} {name}.internal\n" for name, ip in ADDRESSES.items()))
        run("mount", "--bind", names, "/etc/hosts")
        run("ip", "netns", "add", "switch")
        run("ip", "-n", "switch", "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", "switch", "link", "set", "bridge", "up")
        run("ip", "link", "set", "lo", "up")
        for name, ip in ADDRESSES.items():
            link = ["link", "add", "eth0", "type", "veth", "peer", "name", f"to-{name}", "netns", "switch"]
            if name != "client":
                run("ip", "netns", "add", name)
                self.ip(name, "link", "set", "lo", "up")
            self.ip(name, *link)
            run("ip", "-n", "switch", "link", "set", f"to-{name}", "master", "bridge")
            self.ip(name, "address", "add", f"{ip}/24", "dev", "eth0")
            self.ip(name, "link", "set", "eth0", "up")
            self.plug(name)

    @staticmethod
    def at(name):
        """What a command begins with that runs on the host `name`."""
        return [] if name == "client" else ["nsenter", f"--net=/run/netns/{name}"]

    def ip(self, name, *args):
        run(*self.at(name), "ip", *args)

    @staticmethod
    def plug(name):
        run("ip", "-n", "switch", "link", "set", f"to-{name}", "up")

    @staticmethod
    def unplug(name):
        """Nobody is told: what is sent is lost, in both directions."""
        run("ip", "-n", "switch", "link", "set", f"to-{name}", "down")

    def slow(self, name):
        """Makes the link of a host slow, in both directions; returns how."""
        ends = [["tc", "-n", "switch", "qdisc", "add", "dev", f"to-{name}"], [*self.at(name), "tc", "qdisc", "add", "dev", "eth0"]]
        late = ["root", "netem", "delay", "40ms", "rate", "8mbit"]
        if subprocess.run([*ends[0], *late], capture_output=True, check=False).returncode == 0:
            run(*ends[1], *late)
            return "40 ms and 8 Mbit/s each way"
        # The kernel has no netem. Two megabits that are shared have a latency of their own.
        for end in ends:
            run(*end, "root", "tbf", "rate", "2mbit", "burst", "16kb", "latency", "300ms")
        return "2 Mbit/s each way; this kernel has no netem to delay packets"

    def quick(self, name):
        run("tc", "-n", "switch", "qdisc", "del", "dev", f"to-{name}", "root")
        run(*self.at(name), "tc", "qdisc", "del", "dev", "eth0", "root")

    def listens(self, name):
        """What is listened on at a host, by address and port."""
        found = set()
        for table in ("tcp", "tcp6", "udp", "udp6"):
            for line in run(*self.at(name), "cat", f"/proc/net/{table}").splitlines()[1:]:
                local, remote, state = line.split()[1:4]
                address, port = local.split(":")
                if state == "0A" or table.startswith("udp"):
                    raw = b"".join(int(address[n : n + 8], 16).to_bytes(4, sys.byteorder) for n in range(0, len(address), 8))
                    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
                    found.add((socket.inet_ntop(family, raw), int(port, 16)))
        return found


class Certificates:
    """Authorities, and what they sign; all certificates of a cluster are made out to one name."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def authority(self, name):
        key, cert = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        if not cert.exists():
            self.new(key, cert, "-subj", f"/CN=authority {name}")
        return key, cert

    def of(self, host, authority="cluster", name="qlc-cluster"):
        """The settings of a process with a certificate."""
        signs, known = self.authority(authority)
        key, cert = (self.folder / f"{host}.{authority}.{name}.{kind}" for kind in ("key", "pem"))
        if not cert.exists():
            purpose = [f"subjectAltName=DNS:{name}", "basicConstraints=critical,CA:FALSE", "extendedKeyUsage=serverAuth,clientAuth"]
            made_out = [part for extension in purpose for part in ("-addext", extension)]
            self.new(key, cert, "-subj", f"/CN={host}", "-CA", known, "-CAkey", signs, *made_out)
        return {"QLC_CLUSTER_CA": known, "QLC_CLUSTER_CERT": cert, "QLC_CLUSTER_KEY": key}

    @staticmethod
    def new(key, cert, *more):
        elliptic = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        run("openssl", "req", "-x509", *elliptic, "-days", 2, "-keyout", key, "-out", cert, *more)
