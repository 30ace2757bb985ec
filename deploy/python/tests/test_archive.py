"""Only what is published, all of it, in order."""

import datetime as dt
import json
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from conftest import DAY, DAY_NS, DAY_S, Small, quotes

from qlc_archive import Archive, DamagedError, NotFoundError, NotPublishedError

BTC = "binance/bbo/btcusdt"


def test_partitions_are_those_whose_meta_json_exists(archive: Archive, demo: Path) -> None:
    metas = sorted((demo / "archive").glob("exchange=*/stream=*/symbol=*/date=*/meta.json"))
    found = archive.partitions()
    assert len(found) == len(metas) == 13
    assert sum(p.rows for p in found) == sum(json.loads(m.read_text())["row_count"] for m in metas)
    assert {p.series for p in archive.partitions("bbo", exchange="binance")} == {
        "binance/bbo/btcusdt",
        "binance/bbo/ethusdt",
    }


def test_read_gives_every_row_of_the_files_in_order(archive: Archive, demo: Path) -> None:
    files = sorted((demo / "archive").glob("exchange=binance/stream=bbo/symbol=*/date=*/data.parquet"))
    whole = pa.concat_tables(pq.read_table(file, partitioning=None).replace_schema_metadata() for file in files)
    keys = [("ts_event", "ascending"), ("seq", "ascending"), ("symbol", "ascending")]
    assert archive.read("bbo", exchange="binance").sort_by(keys).equals(whole.sort_by(keys))
    table = archive.read("bbo")
    pairs = list(zip(table["ts_event"].to_pylist(), table["seq"].to_pylist(), strict=True))
    assert pairs == sorted(pairs)
    assert table.num_rows == sum(p.rows for p in archive.partitions("bbo"))


def test_days_with_and_without_the_columns_of_version_2_are_read_as_one(small: Small) -> None:
    small.put(BTC, "20260203", quotes([DAY, DAY + 1]))
    newer = quotes([DAY + DAY_NS] * 2, seq=[7, 7], sub_seq=[0, 1], first_id=pa.array([None, 5], pa.int64()))
    small.put(BTC, "20260204", newer)
    small.put(BTC, "20260205", quotes([DAY + 2 * DAY_NS]))
    archive = small.open()
    table = archive.read("bbo")
    assert table.schema.names[:4] == ["ts_event", "seq", "sub_seq", "ts_recv"]
    assert table["sub_seq"].to_pylist() == [None, None, 0, 1, None]
    assert table["first_id"].to_pylist() == [None, None, None, 5, None]
    assert [event.sub_seq for event in archive.replay("bbo")] == [None, None, 0, 1, None]
    assert archive.scan("bbo").collect()["sub_seq"].to_list() == [None, None, 0, 1, None]
    assert archive.dataset("bbo").to_table()["sub_seq"].to_pylist() == [None, None, 0, 1, None]


def test_a_day_that_lacks_its_names_has_those_of_its_folder(small: Small) -> None:
    lacks = ("exchange", "symbol", "stream", "stream_version", "ts_recv")
    small.put(BTC, "20260203", quotes([DAY]), lacks=lacks)
    archive = small.open()
    assert archive.read("bbo").select(["exchange", "symbol", "stream"]).to_pylist() == [
        {"exchange": "binance", "symbol": "btcusdt", "stream": "bbo"}
    ]
    small.put(BTC, "20260204", quotes([DAY + DAY_NS]))
    events = list(archive.replay("bbo"))
    assert [(event.symbol, event.stream_version) for event in events] == [("btcusdt", None), ("BTCUSDT", 1)]
    assert archive.scan("bbo").collect()["symbol"].to_list() == [None, "BTCUSDT"]


def test_an_added_column_has_the_widest_type_of_any_day(small: Small) -> None:
    small.put(BTC, "20260203", quotes([DAY], depth=pa.array([1], pa.int8())))
    small.put(BTC, "20260204", quotes([DAY + DAY_NS], depth=pa.array([1 << 40], pa.int64())))
    assert small.open().read("bbo")["depth"].to_pylist() == [1, 1 << 40]
    assert small.open().scan("bbo").collect()["depth"].to_list() == [1, 1 << 40]


@pytest.mark.parametrize("unit", [1_000_000_000, 1_000_000, 1_000, 1])
def test_times_are_nanoseconds_whatever_unit_a_day_has(small: Small, unit: int) -> None:
    per_second = 1_000_000_000 // unit
    times = [(DAY_S + i) * per_second for i in (0, 1, 5)]
    due = pa.array([(DAY_S + 9) * per_second, None, 0], pa.int64())
    small.put("okx/funding/btcusdt", "20260203", {"ts_event": times, "next_funding_ts": due}, unit)
    archive = small.open()
    table = archive.read("funding")
    assert table["ts_event"].to_pylist() == [DAY + i * 1_000_000_000 for i in (0, 1, 5)]
    # A value that is no plausible time has no unit, and is kept.
    assert table["next_funding_ts"].to_pylist() == [DAY + 9_000_000_000, None, 0]
    shown = archive.read("funding", times=True)
    assert shown.schema.field("ts_recv").type == pa.timestamp("ns", tz="UTC")
    assert shown["ts_event"][0].value == DAY
    late = archive.read("funding", start=DAY + 1_000_000_000, end=DAY + 5_000_000_000)
    assert late["ts_event"].to_pylist() == [DAY + 1_000_000_000]


def test_a_day_as_end_is_in_the_range_and_an_instant_is_not(small: Small) -> None:
    for number, date in enumerate(("20260203", "20260204", "20260205")):
        small.put(BTC, date, quotes([DAY + number * DAY_NS + i * 1_000 for i in range(5)], seq=range(5)), row_group=2)
    archive = small.open()

    def seen(start: object, end: object) -> list[int]:
        return [t - DAY for t in archive.read("bbo", start=start, end=end)["ts_event"].to_pylist()]  # type: ignore[arg-type]

    second = [DAY_NS + i * 1_000 for i in range(5)]
    assert seen("2026-02-04", "20260204") == second
    assert seen(dt.date(2026, 2, 4), dt.date(2026, 2, 4)) == second
    assert seen(DAY + DAY_NS + 1_000, DAY + DAY_NS + 3_000) == second[1:3]
    assert seen("2026-02-04T01:00:00+01:00", dt.datetime(2026, 2, 4, 0, 0, 0, 2, tzinfo=dt.UTC)) == second[:2]
    assert seen(None, "2026-02-02") == []
    assert len(seen(None, None)) == 15
    for wrong in (dt.datetime(2026, 2, 4), "2026-02-04T00:00:00", "yesterday", 1_770_076_800):
        with pytest.raises(ValueError):
            archive.read("bbo", start=wrong)  # type: ignore[arg-type]


def test_an_empty_range_has_the_columns_of_the_series_and_an_unknown_series_is_an_error(small: Small) -> None:
    small.put(BTC, "20260203", quotes([DAY]))
    archive = small.open()
    empty = archive.read("bbo", start="20200101", end="20200102")
    assert empty.num_rows == 0 and "bid_price" in empty.schema.names
    assert archive.scan("bbo", end="20200102").collect().columns == empty.schema.names
    assert list(archive.replay("bbo", end="20200102")) == []
    with pytest.raises(NotFoundError, match="no bbo of any exchange and btcusd; there are binance/bbo/btcusdt"):
        archive.read("bbo", symbol="btcusd")
    with pytest.raises(NotFoundError, match="there is no such archive"):
        Archive(small.folder / "nowhere")
    with pytest.raises(KeyError, match="there is no column bid; there are ts_event"):
        archive.read("bbo", columns=["bid"])


def test_columns_come_as_they_were_asked_for(small: Small) -> None:
    small.put(BTC, "20260203", quotes([DAY, DAY + 1]))
    assert small.open().read("bbo", columns=["ask_price", "seq"]).schema.names == ["ask_price", "seq"]


def test_data_without_meta_json_does_not_exist(small: Small) -> None:
    small.put(BTC, "20260203", quotes([DAY]))
    small.put(BTC, "20260204", quotes([DAY + DAY_NS])).with_name("meta.json").unlink()
    archive = small.open()
    assert [p.date.day for p in archive.partitions()] == [3]
    assert archive.read("bbo").num_rows == 1


@pytest.mark.parametrize("place", [60, -6])
def test_data_that_is_not_that_of_its_meta_json_is_never_read(
    small: Small, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr("qlc_archive._published._WAIT_S", 0.001)
    data = small.put(BTC, "20260203", quotes([DAY, DAY + 1]))
    damaged = bytearray(data.read_bytes())
    damaged[place] ^= 1
    data.write_bytes(damaged)
    archive = small.open()
    for read in (archive.read, archive.scan, archive.dataset, lambda s: list(archive.replay(s))):
        with pytest.raises(NotPublishedError, match="qlc verify --date 20260203 --exchange binance"):
            read("bbo")
    with pytest.raises(NotPublishedError):
        archive.partitions(check=True)


def test_a_day_that_is_being_replaced_is_waited_for(small: Small) -> None:
    old = small.put(BTC, "20260203", quotes([DAY]))
    before = old.with_name("meta.json").read_text()
    new = small.put(BTC, "20260203", quotes([DAY, DAY + 1]))
    after = new.with_name("meta.json").read_text()
    # The state between the data and its meta.json.
    new.with_name("meta.json").write_text(before)
    archive = small.open()

    def publish() -> None:
        time.sleep(0.4)
        new.with_name("meta.json").write_text(after)

    thread = threading.Thread(target=publish)
    thread.start()
    assert archive.read("bbo").num_rows == 2
    thread.join()


def test_what_was_opened_stays_the_generation_that_was_checked(small: Small) -> None:
    small.put(BTC, "20260203", quotes([DAY + i for i in range(200_000)]))
    reader = small.open().batches("bbo")
    first = reader.read_next_batch()
    small.put(BTC, "20260203", quotes([DAY + i for i in range(3)]))
    assert first.num_rows + sum(batch.num_rows for batch in reader) == 200_000


def test_a_generation_is_hashed_once(small: Small, counted: list[int]) -> None:
    small.put(BTC, "20260203", quotes([DAY]))
    archive = small.open()
    for _ in range(3):
        archive.read("bbo")
        archive.scan("bbo").collect()
    # Another process, which finds the notes of this one.
    small.open().read("bbo")
    assert counted == [1]
    small.put(BTC, "20260203", quotes([DAY, DAY + 1]))
    assert archive.read("bbo").num_rows == 2
    assert counted == [2]
    small.open(cache=False).read("bbo")
    assert counted == [3]


def test_rows_that_are_not_in_order_are_damage(small: Small) -> None:
    small.put(BTC, "20260203", quotes([DAY + 1, DAY]))
    with pytest.raises(DamagedError, match="binance/bbo/btcusdt: its rows do not ascend"):
        small.open().read("bbo")


def test_a_bucket_is_read_as_a_folder_is(small: Small) -> None:
    small.put(BTC, "20260203", quotes([DAY, DAY + 1]))
    small.put("okx/bbo/btcusdt", "20260203", quotes([DAY + 1, DAY + 2]))
    # A file system that is not the local one is treated as a bucket's.
    bucket = pafs.SubTreeFileSystem(str(small.folder.parent), pafs.LocalFileSystem())
    archive = Archive("archive", filesystem=bucket)
    assert archive.read("bbo").equals(small.open().read("bbo"))
    assert archive.dataset("bbo").count_rows() == archive.scan("bbo").collect().height == 4
    assert [event.exchange for event in archive.replay("bbo")] == ["binance", "okx", "binance", "okx"]
