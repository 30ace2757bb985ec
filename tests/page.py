#!/usr/bin/env python3
"""Opens the collector's page in headless Chromium, checks what a person would read there, and keeps a picture of it.

    page.py QLC [--out DIR]

The exchanges are played by `benches/mock.py`. Chromium is Debian's package and
is installed if it is missing (as root, or by sudo). The picture is `DIR/collect.png`, the text of the page
`DIR/collect.html`.
"""

import argparse
import html.parser
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "benches"))
import mock
import soak

SYMBOLS = ["btcusdt", "ethusdt"]
# Feeds, the share of the events that each gets, and what it sends.
SHARES = {
    "binance.public": (0.60, [(mock.QUOTE, ["bbo"])]),
    "binance.market": (0.20, [(mock.TRADE, ["trade"])] * 19 + [(mock.MARK, ["mark_price", "funding"])]),
    "bybit.linear": (0.10, [(mock.BYBIT_QUOTE, ["bbo"])]),
    "okx.public": (0.10, [(mock.OKX_TRADE, ["trade"])]),
}
PATIENCE_S = 120


class Text(html.parser.HTMLParser):
    """The words of a page, without scripts and styles."""

    def __init__(self):
        super().__init__()
        self.words, self.hidden = [], 0

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.hidden and data.strip():
            self.words.append(" ".join(data.split()))


def chromium():
    found = shutil.which("chromium")
    if not found:
        root = [] if os.getuid() == 0 else ["sudo"]
        subprocess.run([*root, "apt-get", "update", "-q"], check=True)
        install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-yq", "--no-install-recommends"]
        subprocess.run([*root, *install, "chromium", "fonts-dejavu-core"], check=True)
        found = shutil.which("chromium")
    return found


def opened(browser, profile, url, *more):
    """What the browser prints about the page, after its scripts have run for a while."""
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
               f"--user-data-dir={profile}", "--virtual-time-budget=3000", "--window-size=1160,1000", *more, url]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        sys.exit(f"page: chromium ended with {done.returncode}\n{done.stderr[-3000:]}")
    return done.stdout


def look(qlc, out, work):
    feeds = [mock.Feed(name, kinds, SYMBOLS, 2000 * share) for name, (share, kinds) in SHARES.items()]
    ready, tell_ready = multiprocessing.Pipe(False)
    control, controlled = multiprocessing.Pipe()
    multiprocessing.Process(target=mock.serve, args=(feeds, tell_ready, controlled), daemon=True).start()
    port, web = ready.recv(), soak.free_port()
    command = [qlc, "--spool", work / "spool", "collect", "--exchange", "binance,bybit,okx", "--symbol", ",".join(SYMBOLS),
               "--stream", "bbo,trade,mark_price,funding", "--listen", f"127.0.0.1:{web}", "--rotate-after", "2s"]
    for name in SHARES:
        command += ["--endpoint", f"{name}=ws://127.0.0.1:{port}/{name}"]
    with open(work / "log", "wb") as log:
        collector = subprocess.Popen([str(part) for part in command], stdout=log, stderr=subprocess.STDOUT)
    try:
        begun, now = time.monotonic(), None
        while True:
            time.sleep(0.5)
            if time.monotonic() - begun > PATIENCE_S:
                sys.exit(f"page: not everything was live after {PATIENCE_S} s\n{json.dumps(now)}")
            if collector.poll() is not None:
                sys.exit(f"page: the collector ended\n{(work / 'log').read_text()}")
            try:
                now = soak.status(web)
            except OSError:
                continue
            if now["files_sealed"] >= 4 and now["healthy"] and now["rate"] > 500:
                break
        browser, url = chromium(), f"http://127.0.0.1:{web}/"
        dom = opened(browser, work / "profile", url, "--dump-dom")
        picture = out / "collect.png"
        opened(browser, work / "profile", url, f"--screenshot={picture}")
        (out / "collect.html").write_text(dom, encoding="utf-8")
        return dom, picture, now
    finally:
        collector.send_signal(signal.SIGTERM)
        if collector.wait() != 0:
            sys.exit(f"page: the collector ended with {collector.returncode}\n{(work / 'log').read_text()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=pathlib.Path, help="the binary")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."), help="where the picture goes")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    # Processes of Chromium may outlive it for a moment and still write into their profile.
    with tempfile.TemporaryDirectory(prefix="qlc-page-", ignore_cleanup_errors=True) as folder:
        dom, picture, now = look(args.qlc.resolve(), args.out.resolve(), pathlib.Path(folder))
    text = Text()
    text.feed(dom)
    words = text.words
    wanted = ["qlc collect", "everything is live", "events a second", "files sealed", "disk left", "Connections", "Feeds"]
    wanted += [f"{route}/0" for route in SHARES]
    live = [("binance", stream) for stream in ("bbo", "trade", "mark_price", "funding")] + [("bybit", "bbo"), ("okx", "trade")]
    rows = [f"{exchange} / {stream} / {symbol}" for exchange, stream in live for symbol in SYMBOLS]
    wrong = [f"{want!r} is not on the page" for want in wanted + rows if want not in words]
    for row in rows:
        if row in words:
            state, rate = words[words.index(row) + 1], words[words.index(row) + 2]
            if state != "receiving" or float(rate.replace(",", "")) <= 0:
                wrong.append(f"{row} is {state!r} at {rate!r} events a second")
    if picture.read_bytes()[:8] != b"\x89PNG\r\n\x1a\n" or picture.stat().st_size < 20_000:
        wrong.append("the picture is empty")
    if wrong:
        sys.exit("page: " + "\npage: ".join(wrong) + "\n" + json.dumps(words))
    print(f"page: {len(rows)} feeds live at {now['rate']:.0f} events a second; {picture}")


if __name__ == "__main__":
    main()
