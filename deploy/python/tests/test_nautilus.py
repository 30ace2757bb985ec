"""NautilusTrader's own package reads what was written for it: the same events."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import DAY, DAY_NS, Small, quotes
from nautilus_trader.model.data import MarkPriceUpdate
from nautilus_trader.model.enums import AggressorSide
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.test_kit.providers import TestInstrumentProvider

from qlc_archive import Archive, FormatError


def exact(value: float) -> Decimal:
    """The number that a double was written as. (NautilusTrader's own as_double does not give the nearest one.)"""
    return Decimal(repr(value))


def by_receipt(archive: Archive, stream: str) -> list[dict[str, object]]:
    rows = archive.read(stream, symbol="btcusdt", exchange="binance").to_pylist()
    return sorted(rows, key=lambda row: row["ts_recv"])


def test_quotes_are_read_back_as_they_are(archive: Archive, tmp_path: Path) -> None:
    [written] = archive.to_nautilus(tmp_path / "catalog", "bbo", exchange="binance", symbol="btcusdt")
    rows = by_receipt(archive, "bbo")
    ticks = ParquetDataCatalog(str(tmp_path / "catalog")).quote_ticks(["BTCUSDT.BINANCE"])
    assert len(ticks) == len(rows) == written.events
    for tick, row in zip(ticks, rows, strict=True):
        assert tick.bid_price.as_decimal() == exact(row["bid_price"]) and tick.ask_price.as_decimal() == exact(
            row["ask_price"]
        )
        assert tick.bid_size.as_decimal() == exact(row["bid_qty"]) and tick.ask_size.as_decimal() == exact(row["ask_qty"])
        assert (tick.ts_event, tick.ts_init) == (row["ts_event"], row["ts_recv"])
        assert (tick.bid_price.precision, tick.bid_size.precision) == (1, 3)


def test_trades_are_read_back_as_they_are(archive: Archive, tmp_path: Path) -> None:
    archive.to_nautilus(tmp_path / "catalog", "trade", exchange="binance", symbol="btcusdt")
    rows = by_receipt(archive, "trade")
    ticks = ParquetDataCatalog(str(tmp_path / "catalog")).trade_ticks(["BTCUSDT.BINANCE"])
    assert len(ticks) == len(rows)
    for tick, row in zip(ticks, rows, strict=True):
        assert (tick.price.as_decimal(), tick.size.as_decimal()) == (exact(row["price"]), exact(row["qty"]))
        assert tick.trade_id.value == row["trade_id"]
        assert tick.aggressor_side == (AggressorSide.BUYER if row["side"] == 1 else AggressorSide.SELLER)
        assert (tick.ts_event, tick.ts_init) == (row["ts_event"], row["ts_recv"])


def test_mark_prices_are_read_back_in_the_order_of_the_archive(archive: Archive, tmp_path: Path) -> None:
    archive.to_nautilus(tmp_path / "catalog", "mark_price", exchange="binance", symbol="btcusdt", ts_init="ts_event")
    rows = archive.read("mark_price", symbol="btcusdt", exchange="binance").to_pylist()
    marks = ParquetDataCatalog(str(tmp_path / "catalog")).query(MarkPriceUpdate)
    assert [(mark.value.as_decimal(), mark.ts_event) for mark in marks] == [
        (exact(row["mark_price"]), row["ts_event"]) for row in rows
    ]


def test_rows_received_after_midnight_are_among_those_of_the_next_day(small: Small, tmp_path: Path) -> None:
    late = [DAY + DAY_NS - 2, DAY + DAY_NS - 1]
    small.put("binance/bbo/btcusdt", "20260203", quotes(late, ts_recv=[DAY + DAY_NS + 3, DAY + DAY_NS - 1]))
    small.put("binance/bbo/btcusdt", "20260204", quotes([DAY + DAY_NS, DAY + DAY_NS + 8]))
    small.open().to_nautilus(tmp_path / "catalog", "bbo")
    ticks = ParquetDataCatalog(str(tmp_path / "catalog")).quote_ticks()
    got = [(tick.ts_init - DAY - DAY_NS, tick.ts_event - DAY - DAY_NS) for tick in ticks]
    assert got == [(-1, -1), (1, 0), (3, -2), (9, 8)]
    with pytest.raises(FormatError, match="has QuoteTick of this time already"):
        small.open().to_nautilus(tmp_path / "catalog", "bbo", start="20260204")


def test_instruments_are_written_and_their_precision_is_used(small: Small, tmp_path: Path) -> None:
    instrument = TestInstrumentProvider.btcusdt_perp_binance()
    small.put("binance/bbo/btcusdt", "20260203", quotes([DAY]))
    ids = {"binance/btcusdt": instrument.id.value}
    small.open().to_nautilus(tmp_path / "one", "bbo", instrument_ids=ids, instruments=[instrument])
    catalog = ParquetDataCatalog(str(tmp_path / "one"))
    [tick] = catalog.quote_ticks()
    assert catalog.instruments()[0].id == tick.instrument_id == instrument.id
    assert tick.bid_size.precision == instrument.size_precision
    small.put("binance/bbo/btcusdt", "20260203", quotes([DAY], bid_price=pa.array([1.23456789])))
    with pytest.raises(FormatError, match="needs 8 decimals of prices"):
        small.open().to_nautilus(tmp_path / "two", "bbo", instrument_ids=ids, instruments=[instrument])


def test_what_cannot_be_held_is_refused_before_anything_is_written(small: Small, tmp_path: Path) -> None:
    small.put("binance/bbo/btcusdt", "20260203", quotes([DAY, DAY + 1]))
    small.put("binance/bbo/btcusdt", "20260204", quotes([DAY + DAY_NS], ask_price=pa.array([None], pa.float64())))
    archive = small.open()
    with pytest.raises(FormatError, match="1 quotes with an empty side"):
        archive.to_nautilus(tmp_path / "one", "bbo")
    assert list((tmp_path / "one").rglob("*.parquet")) == []
    [written] = archive.to_nautilus(tmp_path / "two", "bbo", empty="skip")
    assert (written.events, written.skipped) == (2, 1)
    small.put("binance/bbo/btcusdt", "20260204", quotes([DAY + DAY_NS], ask_price=pa.array([1e-20])))
    with pytest.raises(FormatError, match="ask_price has values that 16 decimals do not hold exactly"):
        archive.to_nautilus(tmp_path / "three", "bbo")
    with pytest.raises(FormatError, match="no class for the stream funding"):
        archive.to_nautilus(tmp_path / "four", "funding")


def test_trades_without_a_side_are_trades_of_neither(small: Small, tmp_path: Path) -> None:
    small.put("okx/trade/btcusdt", "20260203", {"ts_event": [DAY + 1], "price": [100.0], "qty": [1.0], "trade_id": ["1"]})
    small.open().to_nautilus(tmp_path / "catalog", "trade")
    [tick] = ParquetDataCatalog(str(tmp_path / "catalog")).trade_ticks()
    assert tick.aggressor_side == AggressorSide.NO_AGGRESSOR
