#!/usr/bin/env python3
"""Builds the packages of a program, and installs each where nothing else is.

    package.py QLC --root TAR [--root TAR]… [--image TAR] [--out DIR]

TAR is a bare Debian (.ci/debian-root makes it). The .deb is installed into each, the demo runs there, and it is removed
again. The .rpm is unpacked by rpm itself into an empty folder, because there is no Fedora here. The .tar.gz is unpacked and
installed by its own install.sh. The wheel is installed into a new virtual environment, where the demo runs, ten lines of Python
replay it, and ten write a catalog that NautilusTrader reads. With --image, a bare Debian with apt, the image is built by buildah
and the demo runs in it. Wants the packages of deploy/package/requirements.txt beside its interpreter, and rpm. Needs root, for chroot;
where it is not root it says what it skipped, and fails unless QLC_PACKAGE_UNPRIVILEGED=1 says that this is known. Says what was
checked, one line each; ends with the first thing that is wrong and exit code 1.
"""

import argparse
import gzip
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

from checks import Wrong, check, run

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "deploy" / "package"
# The note of a package must not have to be true of a machine that is busy; a download is not counted.
DEMO_S = 30
SETTINGS = {f"/etc/quantlab/{name}" for name in ("qlc.toml", "qlc.env", "upload.env")}

REPLAY = """
import itertools, sys
from qlc_archive import Archive

archive = Archive(sys.argv[1])
count = 0
last = (0, 0)
for event in archive.replay(["trade", "bbo", "mark_price", "funding", "open_interest"]):
    assert (event.ts_event, event.seq) >= last
    last = (event.ts_event, event.seq)
    count += 1
assert count == sum(partition.rows for partition in archive.partitions())
assert all(day.sound for day in archive.verify())
print(count)
"""

CATALOG = """
import sys
from decimal import Decimal
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from qlc_archive import Archive

one = {"exchange": "binance", "symbol": "btcusdt"}
archive = Archive(sys.argv[1])
[written] = archive.to_nautilus(sys.argv[2], "bbo", **one)
ticks = ParquetDataCatalog(sys.argv[2]).quote_ticks(["BTCUSDT.BINANCE"])
rows = sorted(archive.read("bbo", **one).to_pylist(), key=lambda row: row["ts_recv"])
assert len(ticks) == len(rows) == written.events > 0
assert all((t.ts_event, t.bid_price.as_decimal()) == (r["ts_event"], Decimal(repr(r["bid_price"]))) for t, r in zip(ticks, rows))
print(len(ticks))
"""


def built(qlc, out):
    """Builds all packages twice: the same program gives the same bytes."""
    for folder in (out, out / "again"):
        formats = [] if folder == out else ["--format", "deb", "--format", "rpm", "--format", "tar"]
        run(PACKAGE / "build", "--binary", qlc, "--out", folder, *formats, env={"PYTHON": sys.executable})
    run("sha256sum", "--check", "--quiet", "SHA256SUMS", cwd=out)
    listed = {line.split()[1] for line in (out / "SHA256SUMS").read_text().splitlines()}
    found = {p.name for p in out.iterdir() if p.is_file()} - {"SHA256SUMS"}
    check(listed == found and len(found) == 4, f"SHA256SUMS lists {sorted(listed)}, there are {sorted(found)}")
    for again in (out / "again").iterdir():
        if again.name != "SHA256SUMS":
            check(again.read_bytes() == (out / again.name).read_bytes(), f"{again.name} differs when it is built again")
    shutil.rmtree(out / "again")
    sizes = ", ".join(f"{name} {(out / name).stat().st_size / 1e6:.1f} MB" for name in sorted(found))
    return f"built twice to the same bytes: {sizes}"


def commands(qlc):
    """Every command of the program, with its verbs, as names of manual pages."""
    headings = re.findall(r"^#+ qlc ([a-z -]+)$", run(qlc, "reference"), re.M)
    return {"qlc", *("qlc-" + heading.replace(" ", "-") for heading in headings)}


def documents(folder):
    """Every link of the documents below a folder leads to a file there."""
    pages = list(folder.rglob("*.md"))
    links = 0
    for page in pages:
        text = re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S))
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" not in link and not link.startswith(("#", "mailto:")):
                links += 1
                check((page.parent / link.split("#")[0]).exists(), f"{page.relative_to(folder)} links to {link}")
    check(len(pages) > 10 and links > 50, f"only {len(pages)} documents with {links} links")
    return links


def contents(folder, qlc):
    """What every package of a system has below its root."""
    pages = {p.name.removesuffix(".1.gz") for p in (folder / "usr/share/man/man1").iterdir() if p.name.startswith("qlc")}
    check(pages == commands(qlc), f"manual pages differ from commands: {sorted(pages ^ commands(qlc))}")
    page = gzip.decompress((folder / "usr/share/man/man1/qlc-compact.1.gz").read_bytes()).decode()
    check(".SH SYNOPSIS" in page, "a manual page has no synopsis")
    for place in ("bash-completion/completions/qlc", "fish/vendor_completions.d/qlc.fish"):
        check((folder / "usr/share" / place).stat().st_size > 1000, f"no completions in {place}")
    units = sorted(p for p in (folder / "usr/lib/systemd/system").iterdir() if p.name.startswith("quantlab-"))
    check(len(units) == len(list((ROOT / "deploy/systemd").iterdir())), f"only {len(units)} units")
    for unit in units:
        text = unit.read_text()
        check(not list(folder.glob(f"etc/systemd/system/*.wants/{unit.name}")), f"{unit.name} starts by itself")
        check("/usr/local/" not in text, f"{unit.name} is of another place")
        for document in re.findall(r"file:(\S+)", text):
            check((folder / document.lstrip("/")).exists(), f"{unit.name} points to {document}")
    for name in ("qlc.env", "upload.env"):
        check((folder / "etc/quantlab" / name).stat().st_mode & 0o777 == 0o600, f"others may read {name}")
    return documents(folder / "usr/share/doc/qlc")


def in_clean_root(qlc, tar, deb, work):
    root = work / tar.stem
    root.mkdir()
    run("tar", "-C", root, "-xf", tar)
    [system] = re.findall(r'^PRETTY_NAME="([^"]+)"', (root / "etc/os-release").read_text(), re.M)
    shutil.copy(deb, root / "tmp")

    def inside(*command, code=0):
        return run("unshare", "--mount", "--pid", "--fork", "--mount-proc", f"--root={root}", *command, code=code)

    inside("dpkg", "--install", f"/tmp/{deb.name}")
    long = inside("qlc", "--version")
    check(long.startswith(run(qlc, "-V")), f"another program was installed: {long}")
    began = time.monotonic()
    said = inside("qlc", "demo", "--dir", "/tmp/demo")
    seconds = time.monotonic() - began
    check("13 partitions sound" in said, said)
    check(seconds < DEMO_S, f"the demo took {seconds:.0f} s")
    links = contents(root, qlc)
    conffiles = inside("dpkg-query", "--show", "--showformat=${Conffiles}", "qlc")
    check(set(re.findall(r"/etc/\S+", conffiles)) == SETTINGS, conffiles)
    check("quantlab" in inside("stat", "--format=%U", "/opt/quantlab/archive"), "the archive is not the user's")
    # The settings of an operator outlive an update, and the data outlives everything.
    toml = root / "etc/quantlab/qlc.toml"
    toml.write_text(toml.read_text() + "# mine\n")
    inside("dpkg", "--install", f"/tmp/{deb.name}")
    check(toml.read_text().endswith("# mine\n"), "an update replaced the settings")
    (root / "opt/quantlab/archive/kept").write_text("data")
    inside("dpkg", "--remove", "qlc")
    check(toml.exists() and not (root / "usr/bin/qlc").exists(), "a removal leaves the program or takes the settings")
    inside("dpkg", "--purge", "qlc")
    check(not toml.exists() and (root / "opt/quantlab/archive/kept").exists(), "a purge leaves the settings or takes data")
    return f".deb: installed into a bare {system}, demo in {seconds:.1f} s, {links} links lead somewhere, updated, removed"


def of_rpm(qlc, rpm, work):
    root = work / "rpm"
    root.mkdir()
    # Nothing of Fedora is there, so its dependencies are not asked for and its scripts not run.
    run("rpm", "--root", root, "--install", "--nodeps", "--noscripts", "--ignorearch", rpm)
    contents(root, qlc)
    check(run(root / "usr/bin/qlc", "-V") == run(qlc, "-V"), "the .rpm has another program")
    needs = run("rpm", "--query", "--package", "--requires", rpm)
    check("glibc >= 2." in needs and "shadow-utils" in needs, needs)
    settings = run("rpm", "--query", "--package", "--configfiles", rpm).split()
    check(set(settings) == SETTINGS, settings)
    return ".rpm: unpacked by rpm into an empty folder (no Fedora to install it into)"


def of_tar(qlc, tar, work):
    run("tar", "-C", work, "-xzf", tar)
    folder = work / tar.name.removesuffix(".tar.gz")
    check(run(folder / "qlc", "-V") == run(qlc, "-V"), "the .tar.gz has another program")
    documents(folder)
    run(folder / "deploy/install.sh", "--root", work / "installed", "--binary", folder / "qlc")
    check((work / "installed/usr/local/bin/qlc").exists(), "its install.sh installs nothing")
    return ".tar.gz: unpacked, and installed by its install.sh"


def of_wheel(wheel, work):
    venv = work / "venv"
    run(sys.executable, "-m", "venv", venv)
    pins = ROOT / "deploy" / "python" / "requirements.txt"
    quick = ("--quiet", "--disable-pip-version-check", "--constraint", pins)
    run(venv / "bin/pip", "install", *quick, wheel)
    run(venv / "bin/qlc", "demo", "--dir", work / "wheel-demo")
    # Not the module of the repository, and no other program than the one that came with the wheel.
    env = {"PATH": "/usr/bin:/bin", "QLC": "", "PYTHONPATH": "", "XDG_CACHE_HOME": str(work / "cache")}
    said = run(venv / "bin/python", "-c", REPLAY, work / "wheel-demo" / "archive", env=env, cwd=work)
    run(venv / "bin/pip", "install", *quick, f"{wheel}[nautilus]")
    ticks = run(venv / "bin/python", "-W", "ignore", "-c", CATALOG, work / "wheel-demo" / "archive", work / "catalog", env=env, cwd=work)
    return f"wheel: installed into a new environment, demo, {int(said):,} events replayed, NautilusTrader reads {int(ticks):,} quotes"


def of_image(qlc, out, tar, work):
    """The image of deploy/package, on a bare Debian that bears the name of the image that it begins from: nothing is pulled."""
    recipe = PACKAGE / "Dockerfile"
    [begins] = re.findall(r"^FROM (\S+)$", recipe.read_text(), re.M)
    # Neither daemon nor kernel module: folders for images, chroot for what runs.
    places = ("--root", work / "images", "--runroot", work / "images-run", "--storage-driver", "vfs")

    def buildah(*command):
        return run("buildah", *places, *command, env={"BUILDAH_ISOLATION": "chroot"})

    buildah("from", "--name", "bare", "scratch")
    buildah("add", "bare", tar, "/")
    buildah("commit", "--rm", "bare", f"docker.io/library/{begins}")
    context = work / "image"
    context.mkdir()
    shutil.copy(next(out.glob("*.deb")), context)
    buildah("build", "--pull-never", "--file", recipe, "--tag", "qlc:tried", context)
    buildah("from", "--pull-never", "--name", "tried", "localhost/qlc:tried")
    form = "{{.OCIv1.Config.User}} {{index .OCIv1.Config.Entrypoint 0}}"
    user, program = buildah("inspect", "--format", form, "tried").split()
    check(buildah("run", "tried", "--", program, "-V") == run(qlc, "-V"), "the image has another program")
    check(buildah("run", "tried", "--", "id", "-u").strip() == user.split(":")[0] != "0", "the image runs as another user")
    said = buildah("run", "tried", "--", program, "demo", "--dir", "/tmp/demo")
    check("13 partitions sound" in said, said)
    check("rclone v" in buildah("run", "tried", "--", "rclone", "version"), "no rclone for the collector's sidecar")
    for folder in ("/opt/quantlab/spool", "/opt/quantlab/archive", "/var/cache/qlc"):
        buildah("run", "tried", "--", "test", "-w", folder)
    buildah("rm", "--all")
    return f"image: built by buildah on a bare Debian as {begins}, demo as user {user}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("qlc", type=pathlib.Path)
    parser.add_argument("--root", type=pathlib.Path, action="append", required=True)
    parser.add_argument("--image", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    typed = parser.parse_args()
    qlc = typed.qlc.resolve()
    with tempfile.TemporaryDirectory(prefix="qlc-package-") as folder:
        work = pathlib.Path(folder)
        out = typed.out.resolve() if typed.out else work / "dist"

        def found(pattern):
            [one] = out.glob(pattern)
            return one

        try:
            print(f"ok   {built(qlc, out)}", flush=True)
            if os.geteuid() == 0:
                for root in typed.root:
                    print(f"ok   {in_clean_root(qlc, root, found('*.deb'), work)}", flush=True)
                print(f"ok   {of_rpm(qlc, found('*.rpm'), work)}", flush=True)
                if typed.image:
                    print(f"ok   {of_image(qlc, out, typed.image, work)}", flush=True)
            else:
                print("SKIP .deb and .rpm were not installed: that needs root", flush=True)
                check(os.environ.get("QLC_PACKAGE_UNPRIVILEGED") == "1", "run it as root, or set QLC_PACKAGE_UNPRIVILEGED=1")
            print(f"ok   {of_tar(qlc, found('*.tar.gz'), work)}", flush=True)
            print(f"ok   {of_wheel(found('*.whl'), work)}", flush=True)
        except Wrong as wrong:
            print(f"FAIL {wrong}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
