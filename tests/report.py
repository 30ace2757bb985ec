#!/usr/bin/env python3
"""Opens the page of `qlc report` in headless Chromium: is it there, filtered, clicked, walked by keys, narrow, printed?

A spool of five weeks is made, with a missing day, a gap, a truncated file, a file that came late and a day that waits;
qlc compacts it and writes the page. The browser is spoken to through a pipe, so nothing listens. Needs pyarrow (as in
benches/requirements.txt) and Chromium. Screenshots stay in --shots for somebody to look at.

    python3 tests/report.py target/release/qlc --shots /tmp/shots
"""

import argparse
import base64
import datetime
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import pyarrow as pa
import pyarrow.parquet as pq

NOW = "2026-02-05T06:00:00Z"
LAST = datetime.date(2026, 2, 4)
DAYS = 35
HOSTILE = "</script><img src=x onerror=alert(1)>"
SERIES = [
    ("binance", "bbo", "btcusdt", 20), ("binance", "bbo", "ethusdt", 30), ("binance", "trade", "btcusdt", 25),
    ("binance", "funding", "btcusdt", 28_800), ("bybit", "bbo", "btcusdt", 30), ("okx", "trade", "ethusdt", 45),
]


def put(spool, series, day, first_hour=0, last_hour=24, name="00-00-00"):
    """A file with an event every so many seconds, more of them in the afternoon; times in milliseconds, no seq."""
    exchange, stream, symbol, step = series
    start = int(datetime.datetime.combine(day, datetime.time(), datetime.UTC).timestamp()) * 1000
    times, at = [], first_hour * 3600.0
    while at < last_hour * 3600:
        times.append(start + int(at * 1000))
        at += step if stream == "funding" else step * (0.5 if 12 <= at / 3600 % 24 < 17 else 1)
    rows = len(times)
    columns = {"ts_event": times, "ts_recv": times, "exchange": [exchange] * rows, "symbol": [symbol.upper()] * rows,
               "stream": [stream] * rows, "stream_version": pa.array([1] * rows, pa.int8())}
    prices = [91_000 + n % 977 / 10 for n in range(rows)]
    if stream == "bbo":
        columns |= {"bid_price": prices, "bid_qty": prices, "ask_price": prices, "ask_qty": prices}
    elif stream == "trade":
        columns |= {"price": prices, "qty": prices, "side": pa.array([1] * rows, pa.int8()),
                    "trade_id": [str(n) for n in range(rows)]}
    else:
        columns |= {"funding_rate": [0.0001] * rows, "next_funding_ts": times}
    folder = spool / f"exchange={exchange}/stream={stream}/symbol={symbol}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{day.isoformat()}_{name}.parquet"
    pq.write_table(pa.table(columns), path, compression="snappy")
    return path


def make(qlc, work):
    """The archive of the test, and the page."""
    spool, archive, page = work / "spool", work / "archive", work / "report.html"
    days = [LAST - datetime.timedelta(days=n) for n in reversed(range(DAYS))]
    btc, eth, trade, funding, bybit, okx = SERIES
    for series, day in itertools.product(SERIES, days):
        if (series is okx and day in (days[20], days[21])) or (series is bybit and day < days[10]):
            continue
        if series is btc and day == days[-6]:
            put(spool, series, day, 0, 9)
            put(spool, series, day, 13, 24, "13-00-00")
        elif series is trade and day == LAST:
            continue
        else:
            put(spool, series, day)
    cut = put(spool, eth, days[-4], name="12-00-00")
    cut.write_bytes(cut.read_bytes()[:-30])
    run = lambda *args: subprocess.run(
        [qlc, "--spool", spool, "--archive", archive, *args], env=os.environ | {"QLC_SPILL_DIR": str(work / "spill")},
        capture_output=True, text=True)
    compacted = run("compact", "--mode", "catch-up", "--now", NOW)
    assert compacted.returncode == 3, compacted.stderr
    put(spool, okx, days[-2], 3, 4, "03-00-01")
    put(spool, trade, LAST)
    # What an error tells is shown as it is, whatever is in it.
    [error] = (archive / "QUARANTINE").rglob("error.json")
    told = json.loads(error.read_text())
    told["message"] = told["files"][0]["message"] = HOSTILE
    error.write_text(json.dumps(told))
    reported = run("report", "--html", page, "--now", NOW)
    assert reported.returncode == 0, reported.stderr
    return page


class Browser:
    """Chromium, spoken to in the DevTools protocol through a pipe."""

    def __init__(self, program, profile):
        to_read, self.to = os.pipe()
        self.source, from_write = os.pipe()

        def wire():
            # The browser reads from descriptor 3 and writes to 4; either may be one of ours by now.
            a, b = os.dup(to_read), os.dup(from_write)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
             f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=wire, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        self.rest, self.number, self.events, self.session = b"", 0, [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def message(self):
        while b"\0" not in self.rest:
            piece = os.read(self.source, 1 << 20)
            if not piece:
                sys.exit("the browser has gone")
            self.rest += piece
        one, self.rest = self.rest.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, **params):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.to, json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def js(self, expression):
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, (expression, told["exceptionDetails"])
        return told["result"].get("value")

    def open(self, path):
        self.call("Page.navigate", url=path.as_uri())
        # The answer comes when the new document stands; its script may not have run yet.
        for _ in range(500):
            if self.js("document.documentElement?.dataset.ready") == "yes":
                return
            time.sleep(0.02)
        sys.exit("the page does not become ready")

    def size(self, width, height, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def click(self, selector):
        self.js(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center', inline: 'center'}})")
        box = self.js(f"(b => [b.x + b.width / 2, b.y + b.height / 2])(document.querySelector({json.dumps(selector)}).getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def key(self, key):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def choose(self, selector, value):
        self.js(f"(s => {{ s.value = {json.dumps(value)}; s.dispatchEvent(new Event('change', {{bubbles: true}})) }})"
                f"(document.querySelector({json.dumps(selector)}))")

    def text(self, selector):
        return self.js(f"document.querySelector({json.dumps(selector)}).innerText")

    def shot(self, path, whole=True):
        image = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(image["data"]))

    def end(self):
        self.process.terminate()
        self.process.wait()


def same(what, is_, should):
    if is_ != should:
        sys.exit(f"{what}: {is_!r} instead of {should!r}")
    print(f"ok  {what}")


def holds(what, text, part):
    if part not in text:
        sys.exit(f"{what}: {part!r} is not in {text!r}")
    print(f"ok  {what}")


def check(browser, page, shots):
    cells = "document.querySelectorAll('td .cell').length"
    browser.size(1280, 900)
    browser.open(page)
    holds("the title", browser.text("h1"), "2026-01-05 to 2026-02-04")
    same("cells of the calendar", browser.js(cells), 180)
    holds("the summary", browser.text("#tiles"), "174 of 180")
    holds("the signs have words", browser.text("#legend"), "new files")
    for word in ("gaps", "missing", "pending", "new files", "quarantined"):
        holds(f"{word} is listed", browser.text("#open"), word)
    holds("the gap", browser.text("#gaps"), "09:00 to 13:00: 7 of 7 other days have events then")
    same("the gap is drawn", browser.js("document.querySelectorAll('#gaps svg .gap').length"), 1)
    holds("text of the data stays text", browser.text("#quarantine"), HOSTILE)
    same("and makes no element", browser.js("document.querySelectorAll('img').length"), 0)
    holds("runs", browser.text("#runs"), "compact catch-up")
    same("the slowest", browser.js("document.querySelectorAll('#slowest tbody tr').length"), 20)
    same("are in order", browser.js("(s => s.every((n, at) => !at || n <= s[at - 1]))([...document.querySelectorAll"
                                    "('#slowest tbody tr')].map(row => Number(row.children[2].textContent)))"), True)
    holds("compression", browser.text("#days"), " : 1")
    browser.shot(shots / "desktop.png")

    browser.choose("#f-exchange", "okx")
    same("filtered by exchange", browser.js(cells), 31)
    holds("the count follows", browser.text("#shown"), "31 of 180 partitions")
    browser.choose("#f-state", "missing")
    same("and by state", browser.js(cells), 2)
    browser.js("document.querySelector('#filters button[type=reset]').click()")
    browser.js("new Promise(r => setTimeout(r, 50))")
    same("all again", browser.js(cells), 180)

    browser.click("td .cell.gaps")
    holds("a cell clicked", browser.text("#detail"), "no events 09:00 to 13:00")
    holds("its figures", browser.text("#detail"), "Compression")
    same("its plot", browser.js("document.querySelectorAll('#detail svg').length"), 1)
    same("it is marked", browser.js("document.querySelector('td .cell.gaps').getAttribute('aria-pressed')"), "true")
    browser.shot(shots / "desktop-cell.png", whole=False)
    browser.js("document.querySelector('td .cell.gaps').focus()")
    browser.key("ArrowRight")
    holds("keys walk", browser.js("document.activeElement.getAttribute('aria-label')"), "2026-01-31: complete")
    browser.click("td .cell.pending")
    holds("what to do", browser.text("#detail"), "qlc compact --mode single --date 20260204")
    same("headers of tables have scopes", browser.js("[...document.querySelectorAll('th')].every(th => th.scope)"), True)

    browser.size(1280, 900, dark=True)
    browser.shot(shots / "desktop-dark.png", whole=False)
    browser.size(390, 844)
    browser.open(page)
    same("a phone scrolls down only", browser.js("document.documentElement.scrollWidth <= 390"), True)
    browser.shot(shots / "phone.png")
    browser.size(1280, 900)
    printed = browser.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
    (shots / "print.pdf").write_bytes(base64.b64decode(printed["data"]))

    trouble = [e for e in browser.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    same("no errors", trouble, [])
    asked = {e["params"]["request"]["url"].split(":")[0] for e in browser.events if e["method"] == "Network.requestWillBeSent"}
    same("nothing but the file is asked for", asked - {"file", "data", "about"}, set())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qlc", type=pathlib.Path)
    parser.add_argument("--shots", type=pathlib.Path, help="the folder for screenshots")
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("chromium-browser"))
    args = parser.parse_args()
    if not args.browser:
        sys.exit("no Chromium here: apt-get install chromium")
    # Processes of Chromium may outlive it for a moment and still write into their profile.
    with tempfile.TemporaryDirectory(prefix="qlc-report-", ignore_cleanup_errors=True) as folder:
        work = pathlib.Path(folder)
        shots = args.shots or work
        shots.mkdir(parents=True, exist_ok=True)
        page = make(args.qlc.absolute(), work)
        shutil.copy(page, shots / "report.html") if args.shots else None
        browser = Browser(args.browser, work / "profile")
        try:
            check(browser, page, shots)
        finally:
            browser.end()
    print("the page is as it should be")


if __name__ == "__main__":
    main()
