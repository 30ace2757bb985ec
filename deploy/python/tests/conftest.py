"""Archives for the tests: that of `qlc demo`, and small ones that are written here as docs/format.md says."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qlc_archive import Archive, _binary

# 2026-02-03 in seconds.
DAY_S = 1_770_076_800
DAY = DAY_S * 1_000_000_000
DAY_NS = 86_400_000_000_000


@pytest.fixture(scope="session")
def qlc() -> Path:
    """The program; QLC names it."""
    return _binary.find(None)


@pytest.fixture(scope="session")
def demo(qlc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo, with spool and archive."""
    folder = tmp_path_factory.mktemp("demo")
    subprocess.run([qlc, "demo", "--dir", folder, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(autouse=True)
def cache_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What one test found out is not known to another."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def archive(demo: Path, qlc: Path) -> Archive:
    return Archive(demo / "archive", spool=demo / "spool", binary=qlc)


class Small:
    """An archive of a few rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def open(self, **options: Any) -> Archive:
        return Archive(self.folder, **options)

    def put(
        self,
        series: str,
        date: str,
        columns: dict[str, Any],
        unit: int = 1,
        row_group: int = 100_000,
        lacks: tuple[str, ...] = (),
    ) -> Path:
        """Publishes a day: data, then meta.json."""
        exchange, stream, symbol = series.split("/")
        rows = len(columns["ts_event"])
        common = {
            "ts_event": pa.array(columns["ts_event"], pa.int64()),
            "seq": pa.array(columns.get("seq", range(rows)), pa.int64()),
            **({"sub_seq": pa.array(columns["sub_seq"], pa.int32())} if "sub_seq" in columns else {}),
            "ts_recv": pa.array(columns.get("ts_recv", [t + 1 for t in columns["ts_event"]]), pa.int64()),
            "exchange": pa.array([exchange] * rows, pa.string()),
            "symbol": pa.array([symbol.upper()] * rows, pa.string()),
            "stream": pa.array([stream] * rows, pa.string()),
            "stream_version": pa.array([2 if "sub_seq" in columns else 1] * rows, pa.int8()),
        }
        rest = {name: values for name, values in columns.items() if name not in common and name != "seq"}
        table = pa.table({**common, **rest}).drop_columns(list(lacks))
        folder = self.folder / f"exchange={exchange}/stream={stream}/symbol={symbol}/date={date}"
        folder.mkdir(parents=True, exist_ok=True)
        data = folder / "data.parquet"
        part = folder / "data.tmp"
        pq.write_table(table, part, row_group_size=row_group, store_schema=False)
        part.replace(data)
        self.meta(data, table, unit)
        return data

    def meta(self, data: Path, table: pa.Table, unit: int = 1) -> None:
        times = table["ts_event"].to_pylist()
        meta = {
            "row_count": table.num_rows,
            "schema_version": "v1",
            "ts_event_min": str(min(times) * unit),
            "ts_event_max": str(max(times) * unit),
            "sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
            "created_at": "2026-02-04T01:00:00Z",
            "source_files": 1,
        }
        data.with_name("meta.json").write_text(json.dumps(meta))


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small(tmp_path / "archive")


def quotes(times: list[int], **more: Any) -> dict[str, Any]:
    """Columns of quotes, with prices that tell the rows apart."""
    rows = len(times)
    prices = [(1000 + i) / 10 for i in range(rows)]
    return {
        "ts_event": times,
        "bid_price": pa.array(prices, pa.float64()),
        "bid_qty": pa.array([1.0] * rows, pa.float64()),
        "ask_price": pa.array([(1001 + i) / 10 for i in range(rows)], pa.float64()),
        "ask_qty": pa.array([2.0] * rows, pa.float64()),
        **more,
    }


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How often data was hashed."""
    import qlc_archive._published as published

    calls = [0]
    real: Callable[[Any], str] = published.sha256

    def counting(file: Any) -> str:
        calls[0] += 1
        return real(file)

    monkeypatch.setattr(published, "sha256", counting)
    yield calls


os.environ.setdefault("TZ", "UTC")
