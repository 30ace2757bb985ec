"""hftbacktest's own package reads what was written for it: after every event its book is that of the quotes."""

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import DAY, DAY_NS, Small, quotes
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from hftbacktest.data import validate_event_order
from hftbacktest.types import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
)

from qlc_archive import Archive, FormatError, hftbacktest


def stored(path: Path) -> Any:
    return np.load(path)["data"]


def backtest(files: list[Path], tick: float, lot: float) -> Any:
    asset = (
        BacktestAsset()
        .data([str(file) for file in files])
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0, 0)
        .tick_size(tick)
        .lot_size(lot)
        .last_trades_capacity(1000)
    )
    return HashMapMarketDepthBacktest([asset])


def test_numbers_and_layout_are_those_of_hftbacktest() -> None:
    mine = hftbacktest
    assert (mine.DEPTH, mine.TRADE, mine.EXCH, mine.LOCAL) == (DEPTH_EVENT, TRADE_EVENT, EXCH_EVENT, LOCAL_EVENT)
    assert (mine.BUY, mine.SELL) == (BUY_EVENT, SELL_EVENT)
    assert event_dtype == mine.EVENT


def test_the_book_is_that_of_the_quotes_and_the_trades_are_those_of_the_archive(archive: Archive, tmp_path: Path) -> None:
    day = archive.partitions()[0].date
    until = f"{day}T02:00:00Z"
    options = {"exchange": "binance", "symbol": "btcusdt", "end": until}
    [written] = archive.to_hftbacktest(tmp_path, **options)
    data = stored(written.path)
    validate_event_order(data)
    rows = archive.read("bbo", **options).to_pylist()  # type: ignore[arg-type]
    trades = archive.read("trade", **options).to_pylist()  # type: ignore[arg-type]
    assert (written.quotes, written.trades) == (len(rows), len(trades))

    wanted = sorted((r["ts_event"], r["ts_recv"], r["price"], r["qty"], r["side"]) for r in trades)
    is_trade = ((data["ev"] & 0xFF) == TRADE_EVENT) & ((data["ev"] & EXCH_EVENT) != 0)
    sides = np.where(data["ev"] & BUY_EVENT, 1, -1)
    found = zip(data["exch_ts"], data["local_ts"], data["px"], data["qty"], sides, strict=True)
    assert sorted(row for row, yes in zip(found, is_trade, strict=True) if yes) == wanted

    # What the receiver sees: the last quote of those received up to a moment, in the order of receipt.
    quoted = sorted(rows, key=lambda row: row["ts_recv"])
    hbt = backtest([written.path], 0.1, 0.001)
    hbt.wait_next_feed(False, 10**18)
    checked = 0
    for row, following in itertools.pairwise(quoted):
        if row["ts_recv"] + 1_000_000 >= following["ts_recv"]:
            continue
        assert hbt.elapse(row["ts_recv"] + 1_000 - hbt.current_timestamp) == 0
        depth = hbt.depth(0)
        seen = (depth.best_bid, depth.best_bid_qty, depth.best_ask, depth.best_ask_qty)
        assert seen == pytest.approx((row["bid_price"], row["bid_qty"], row["ask_price"], row["ask_qty"]), abs=1e-9)
        checked += 1
    assert checked > 1000
    hbt.close()


def test_the_book_goes_on_over_days_and_sides_can_be_empty(small: Small, tmp_path: Path) -> None:
    falling = pa.array([100.0, 99.0, 98.0])
    small.put("okx/bbo/btcusdt", "20260203", quotes([DAY, DAY + 10, DAY + 20]))
    none = pa.array([None, 98.0, None], pa.float64())
    after = quotes([DAY + DAY_NS + t for t in (0, 10, 20)], bid_price=none, ask_price=falling)
    small.put("okx/bbo/btcusdt", "20260204", after)
    written = small.open().to_hftbacktest(tmp_path, exchange="okx", symbol="btcusdt")
    assert [one.path.name for one in written] == ["okx-btcusdt-20260203.npz", "okx-btcusdt-20260204.npz"]
    first, second = (stored(one.path) for one in written)
    book: dict[int, dict[float, float]] = {BUY_EVENT: {}, SELL_EVENT: {}}
    for event in [*first, *second]:
        side = BUY_EVENT if event["ev"] & BUY_EVENT else SELL_EVENT
        if event["qty"] == 0:
            del book[side][float(event["px"])]
        else:
            book[side][float(event["px"])] = float(event["qty"])
        if event["exch_ts"] == DAY + 20:
            best = max(book[BUY_EVENT])
    assert best == 100.2
    assert book[BUY_EVENT] == {} and min(book[SELL_EVENT]) == 98.0


def test_receipts_out_of_order_and_after_midnight_are_seen_in_their_order(small: Small, tmp_path: Path) -> None:
    chance = random.Random(18)
    for number, date in enumerate(("20260203", "20260204", "20260205")):
        times = sorted(
            DAY + number * DAY_NS + chance.choice([chance.randrange(50), DAY_NS - 1 - chance.randrange(50)])
            for _ in range(60)
        )
        received = [time + chance.randrange(40) for time in times]
        small.put("okx/bbo/btcusdt", date, quotes(times, ts_recv=received))
    files = [one.path for one in small.open().to_hftbacktest(tmp_path, exchange="okx", symbol="btcusdt")]
    whole = np.concatenate([stored(file) for file in files])
    validate_event_order(whole)
    # Each side's book, built of the events that it sees, ends as the last quote that it saw.
    rows = small.open().read("bbo").to_pylist()
    for flag, last in ((EXCH_EVENT, rows[-1]), (LOCAL_EVENT, max(rows, key=lambda row: row["ts_recv"]))):
        bids: dict[float, float] = {}
        for event in whole[((whole["ev"] & flag) != 0) & ((whole["ev"] & BUY_EVENT) != 0)]:
            bids[float(event["px"])] = float(event["qty"])
        best = max(price for price, qty in bids.items() if qty)
        assert (best, bids[best]) == (last["bid_price"], last["bid_qty"])
    for file, begin in zip(files, (DAY, DAY + DAY_NS, DAY + 2 * DAY_NS), strict=True):
        data = stored(file)
        assert (data["exch_ts"][(data["ev"] & EXCH_EVENT) != 0] // DAY_NS == begin // DAY_NS).all()


def test_what_cannot_be_held_is_refused(small: Small, tmp_path: Path) -> None:
    small.put("okx/bbo/btcusdt", "20260203", quotes([DAY, DAY + 10], ts_recv=[DAY + 5, DAY + 3]))
    archive = small.open()
    with pytest.raises(FormatError, match="an event was received 7 ns before it was"):
        archive.to_hftbacktest(tmp_path, exchange="okx", symbol="btcusdt")
    assert archive.to_hftbacktest(tmp_path, exchange="okx", symbol="btcusdt", local_offset_ns=7)[0].quotes == 2
    small.put("okx/bbo/btcusdt", "20260203", quotes([DAY], ts_recv=[None]))
    with pytest.raises(FormatError, match="rows without ts_recv"):
        archive.to_hftbacktest(tmp_path, exchange="okx", symbol="btcusdt")


def test_trades_without_a_side_are_trades_of_neither(small: Small, tmp_path: Path) -> None:
    small.put("okx/bbo/btcusdt", "20260203", quotes([DAY]))
    small.put("okx/trade/btcusdt", "20260203", {"ts_event": [DAY + 1], "price": [100.0], "qty": [1.0], "trade_id": ["1"]})
    small.open().to_hftbacktest(tmp_path / "feed", exchange="okx", symbol="btcusdt")
    trade = stored(tmp_path / "feed" / "okx-btcusdt-20260203.npz")[-1]
    assert trade["ev"] == TRADE_EVENT | EXCH_EVENT | LOCAL_EVENT
