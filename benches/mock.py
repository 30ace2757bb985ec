"""Servers that play exchanges on the loopback interface, from the standard library alone.

`Feed` sends frames at a rate and counts them, `Quiet` sends one now and then for each of very many topics that were asked for,
`blast` sends prepared frames as fast as the other side reads, `lists` answers requests for lists of instruments. What is asked
for is acknowledged as Bybit and OKX do, pings are answered. Refuses to be a complete server.
"""

import base64
import hashlib
import http.server
import json
import socket
import struct
import threading
import time

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(text):
    """A text frame from a server."""
    size = len(text)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + text
    return struct.pack("!BBH", 0x81, 126, size) + text


def handshake(connection):
    """Answers the opening of a WebSocket; returns the path that was asked for."""
    request = b""
    while b"\r\n\r\n" not in request:
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionError("closed before the handshake")
        request += piece
    head = request.split(b"\r\n\r\n")[0].split(b"\r\n")
    keys = [line.split(b":", 1)[1].strip() for line in head if line.lower().startswith(b"sec-websocket-key:")]
    answer = base64.b64encode(hashlib.sha1(keys[0] + GUID).digest())
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       b"Sec-WebSocket-Accept: " + answer + b"\r\n\r\n")
    return head[0].split()[1].decode().split("?")[0].strip("/")


def pong(payload):
    """The answer to a ping."""
    return struct.pack("!BB", 0x8A, len(payload)) + payload


def messages(connection):
    """What a client sends, as (opcode, payload), until it closes."""
    waiting = b""

    def take(count):
        nonlocal waiting
        while len(waiting) < count:
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError("closed")
            waiting += piece
        taken, waiting = waiting[:count], waiting[count:]
        return taken

    try:
        while True:
            first, second = take(2)
            size = second & 0x7F
            if size == 126:
                size = struct.unpack("!H", take(2))[0]
            elif size == 127:
                size = struct.unpack("!Q", take(8))[0]
            mask = take(4) if second & 0x80 else bytes(4)
            payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(take(size)))
            yield first & 0x0F, payload
    except OSError:
        return


def answers(text):
    """What is said to a message of a client, and the topics that it asks for."""
    if text == "ping":
        return ["pong"], []
    asked = json.loads(text)
    if asked.get("op") == "ping":
        return [json.dumps({"success": True, "ret_msg": "pong", "conn_id": "m", "op": "ping"})], []
    topics = asked.get("args", [])
    if topics and isinstance(topics[0], dict):
        return [json.dumps({"event": "subscribe", "arg": topic, "connId": "m"}) for topic in topics], topics
    said = {"success": True, "ret_msg": "", "conn_id": "m", "req_id": asked.get("req_id", ""), "op": "subscribe"}
    return [json.dumps(said)], topics


def listen_to(connection, lock, note):
    """Answers a client until it closes; `note` is told the topics that it asks for."""
    for opcode, payload in messages(connection):
        out, topics = [], []
        if opcode == 9:
            out = [pong(payload)]
        elif opcode == 1:
            said, topics = answers(payload.decode())
            out = [frame(one.encode()) for one in said]
        try:
            with lock:
                connection.sendall(b"".join(out))
        except OSError:
            return
        note(topics)


def throw_away(connection):
    """Reads until the other side closes."""
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass


def listen():
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    return listener, listener.getsockname()[1]


# A frame of each stream with places for symbol, number and time in milliseconds.
QUOTE = ('{"stream":"%(low)s@bookTicker","data":{"e":"bookTicker","u":%(n)d,"s":"%(up)s","b":"97000.%(p)d","B":"1.250",'
         '"a":"97001.%(p)d","A":"0.730","T":%(t)d,"E":%(t)d}}')
TRADE = ('{"stream":"%(low)s@aggTrade","data":{"e":"aggTrade","E":%(t)d,"s":"%(up)s","a":%(n)d,"p":"97000.%(p)d",'
         '"q":"0.125","f":%(n)d,"l":%(n)d,"T":%(t)d,"m":true}}')
MARK = ('{"stream":"%(low)s@markPrice@1s","data":{"e":"markPriceUpdate","E":%(t)d,"s":"%(up)s","p":"97000.%(p)d",'
        '"i":"97001.5","P":"1","r":"0.0001","T":%(t)d}}')
BYBIT_QUOTE = ('{"topic":"orderbook.1.%(up)s","type":"snapshot","ts":%(t)d,"data":{"s":"%(up)s","b":[["97000.%(p)d","2"]],'
               '"a":[["97001.%(p)d","1"]],"u":%(n)d,"seq":%(n)d},"cts":%(t)d}')
OKX_TRADE = ('{"arg":{"channel":"trades","instId":"%(okx)s"},"data":[{"instId":"%(okx)s","tradeId":"%(n)d",'
             '"px":"97000.%(p)d","sz":"1","side":"buy","ts":"%(t)d"}]}')
OKX_MARK = ('{"arg":{"channel":"mark-price","instId":"%(okx)s"},"data":[{"instId":"%(okx)s","markPx":"97000.%(p)d",'
            '"ts":"%(t)d"}]}')
OKX_FUNDING = ('{"arg":{"channel":"funding-rate","instId":"%(okx)s"},"data":[{"instId":"%(okx)s","fundingRate":"0.000%(p)d",'
               '"fundingTime":"%(t)d","ts":"%(t)d"}]}')
OKX_QUOTE = ('{"arg":{"channel":"bbo-tbt","instId":"%(okx)s"},"data":[{"asks":[["97001.%(p)d","415","0","13"]],'
             '"bids":[["97000.%(p)d","256","0","12"]],"ts":"%(t)d","seqId":%(n)d}]}')


def fill(template, symbol, number, at_ms):
    """A frame of a template; `symbol` is such as btcusdt."""
    up = symbol.upper()
    values = {"low": symbol, "up": up, "okx": up.removesuffix("USDT") + "-USDT-SWAP", "n": number, "p": number % 9, "t": at_ms}
    return (template % values).encode()


class Feed:
    """Sends frames of one endpoint at a rate, round robin over `kinds` of (template, stream, events a frame) and symbols."""

    def __init__(self, name, kinds, symbols, rate):
        self.name, self.rate, self.sent = name, rate, {}
        self.slots = [(kind, symbol) for symbol in symbols for kind in kinds]
        self.frames, self.late = 0, 0.0
        self.stopping = threading.Event()

    def run(self, connection):
        lock = threading.Lock()
        threading.Thread(target=listen_to, args=(connection, lock, lambda _: None), daemon=True).start()
        began, before = time.monotonic(), self.frames
        while not self.stopping.is_set():
            due = int((time.monotonic() - began) * self.rate) + before
            count = min(due - self.frames, 4096)
            self.late = max(self.late, (due - self.frames) / self.rate)
            if count > 0:
                at_ms, out, events = time.time_ns() // 1_000_000, [], {}
                for place in range(self.frames, self.frames + count):
                    (template, streams), symbol = self.slots[place % len(self.slots)]
                    for stream in streams:
                        key = stream, symbol
                        events[key] = events.get(key, 0) + 1
                    # Binance's trades are numbered one after the other.
                    out.append(frame(fill(template, symbol, self.sent.get(key, 0) + events[key], at_ms)))
                try:
                    with lock:
                        connection.sendall(b"".join(out))
                except OSError:
                    return
                self.frames += count
                for key, more in events.items():
                    self.sent[key] = self.sent.get(key, 0) + more
            time.sleep(0.005)


# What OKX's channels bring, and after how many seconds again.
QUIET = {"bbo-tbt": ("bbo", OKX_QUOTE, 30), "trades": ("trade", OKX_TRADE, 30), "mark-price": ("mark_price", OKX_MARK, 6),
         "funding-rate": ("funding", OKX_FUNDING, 60)}


class Quiet:
    """Sends an event of each topic of OKX that was asked for, now and then; every `every` seconds, where that is said."""

    def __init__(self, name, every=None):
        self.name, self.sent, self.late, self.every = name, {}, 0.0, every
        self.stopping = threading.Event()

    def run(self, connection):
        lock, asked = threading.Lock(), []

        def note(topics):
            now = time.monotonic()
            known = [topic for topic in topics if topic["channel"] in QUIET]
            # Not all at once, and the first time soon.
            asked.extend([now + 0.5 + (at % 50) / 10, topic["channel"], topic["instId"]] for at, topic in enumerate(known))

        threading.Thread(target=listen_to, args=(connection, lock, note), daemon=True).start()
        while not self.stopping.is_set():
            now, out = time.monotonic(), []
            for one in list(asked):
                due, channel, name = one
                if due <= now:
                    stream, template, every = QUIET[channel]
                    key = stream, name.removesuffix("-SWAP").replace("-", "").lower()
                    self.sent[key] = number = self.sent.get(key, 0) + 1
                    out.append(frame(fill(template, key[1], number, time.time_ns() // 1_000_000)))
                    one[0] = max(due + self.every, now - 1) if self.every else now + every
            try:
                with lock:
                    connection.sendall(b"".join(out))
            except OSError:
                return
            time.sleep(0.1)


def lists(binance, okx):
    """Serves the lists of instruments, and plays no other request; returns the port."""
    listed = [{"symbol": name.upper(), "status": "TRADING", "filters": []} for name in binance]
    swaps = [{"instId": name.upper().removesuffix("USDT") + "-USDT-SWAP", "state": "live", "tickSz": "0.1"} for name in okx]
    bodies = {"/fapi/v1/exchangeInfo": {"symbols": listed},
              "/api/v5/public/instruments?instType=SWAP": {"code": "0", "data": swaps},
              "/api/v5/public/instruments?instType=FUTURES": {"code": "0", "data": []}}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(bodies.get(self.path, {})).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def blast(frames, ready):
    """Sends all of `frames` to every connection as fast as it reads, and waits until it is closed."""
    blocks = [b"".join(frames[at:at + 400]) for at in range(0, len(frames), 400)]
    listener, port = listen()
    ready.send(port)
    while True:
        connection, _ = listener.accept()
        try:
            handshake(connection)
            reader = threading.Thread(target=throw_away, args=(connection,), daemon=True)
            reader.start()
            for block in blocks:
                connection.sendall(block)
            reader.join()
        except OSError:
            pass
        connection.close()


def serve(feeds, ready, stop):
    """Plays `feeds`, by the name of their endpoint, until `stop` has something to receive; then sends what was sent."""
    listener, port = listen()
    by_name, threads = {feed.name: feed for feed in feeds}, []

    def take():
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                feed = by_name[handshake(connection)]
            except OSError:
                continue
            thread = threading.Thread(target=feed.run, args=(connection,), daemon=True)
            threads.append(thread)
            thread.start()

    threading.Thread(target=take, daemon=True).start()
    ready.send(port)
    while True:
        try:
            asked = stop.recv()
        except EOFError:
            return
        if asked == "end":
            return
        if asked == "go on":
            for feed in feeds:
                feed.stopping.clear()
            continue
        for feed in feeds:
            feed.stopping.set()
        for thread in list(threads):
            thread.join()
        sent = [[feed.name.split(".")[0], stream, symbol, n] for feed in feeds for (stream, symbol), n in feed.sent.items()]
        # The connections stay until the collector ends them.
        stop.send({"sent": sent, "connections": len(threads), "late": max(feed.late for feed in feeds)})
