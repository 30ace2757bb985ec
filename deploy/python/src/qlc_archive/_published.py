"""Which partitions are published: those whose `meta.json` exists and agrees with the data.

The sha256 of a generation is computed once and remembered beside what the file system says of the file (inode, size
and time), in the user's cache folder.
"""

import datetime as dt
import json
import time
from dataclasses import dataclass
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

from ._store import Store, sha256
from .errors import DamagedError, NotPublishedError

# While a day is replaced, its data is for a moment not the one that meta.json names.
_ATTEMPTS = 6
_WAIT_S = 0.25


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """A published day of one series, as its `meta.json` says. Times are nanoseconds since 1970 UTC."""

    exchange: str
    stream: str
    symbol: str
    date: dt.date
    rows: int
    ts_event_min: int
    ts_event_max: int
    sha256: str
    source_files: int
    created_at: str

    @property
    def key(self) -> str:
        """Its folder below the archive."""
        return folder(self.exchange, self.stream, self.symbol, f"{self.date:%Y%m%d}")

    @property
    def series(self) -> str:
        """`exchange/stream/symbol`."""
        return f"{self.exchange}/{self.stream}/{self.symbol}"


def folder(exchange: str, stream: str, symbol: str, date: str) -> str:
    """The folder of a partition below the archive."""
    return f"exchange={exchange}/stream={stream}/symbol={symbol}/date={date}"


def partition_of(key: str, content: bytes) -> Partition:
    """The partition that a `meta.json` describes."""
    try:
        names = dict(part.split("=", 1) for part in key.split("/"))
        meta = json.loads(content)
        return Partition(
            exchange=names["exchange"],
            stream=names["stream"],
            symbol=names["symbol"],
            date=dt.datetime.strptime(names["date"], "%Y%m%d").date(),
            rows=int(meta["row_count"]),
            ts_event_min=int(meta["ts_event_min"]),
            ts_event_max=int(meta["ts_event_max"]),
            sha256=str(meta["sha256"]),
            source_files=int(meta["source_files"]),
            created_at=str(meta["created_at"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{key}/meta.json: is not what the format says: {error!r}; run qlc verify") from error


class Published:
    """Opens the data of partitions, after the check."""

    def __init__(self, store: Store, cache: Path | None) -> None:
        self._store = store
        self._file = None if cache is None else cache / f"{sha256_of(store.url.encode()).hexdigest()[:32]}.json"
        self._checked: dict[str, list[str]] = {}
        if self._file is not None and self._file.exists():
            for line in self._file.read_text(errors="replace").splitlines():
                try:
                    key, identity, digest = json.loads(line)
                except ValueError:
                    # A line that was cut off costs one more check.
                    continue
                self._checked[key] = [identity, digest]

    def open(self, partition: Partition) -> tuple[Partition, Any]:
        """The data of a partition as an open file, whose sha256 is the one that its `meta.json` names now.

        What is returned was opened before it was checked, so that data that is put in its place meanwhile is not read.
        """
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_WAIT_S)
            content = self._store.read(f"{partition.key}/meta.json")
            if content is None:
                continue
            current = partition_of(partition.key, content)
            opened = self._opened(current)
            if opened is not None:
                return current, opened
        day = f"{partition.date:%Y%m%d}"
        raise NotPublishedError(
            f"{self._store.url}/{partition.key}/data.parquet: its sha256 is not the one that meta.json names: the day is"
            f" being replaced, or it is damaged; try again, then run: qlc verify --date {day}"
            f" --exchange {partition.exchange} --stream {partition.stream} --symbol {partition.symbol}"
        )

    def check(self, partition: Partition) -> Partition:
        """The partition as it is now, after the check of its data."""
        key = f"{partition.key}/data.parquet"
        if self._checked.get(key) == [self._store.identity(key), partition.sha256]:
            return partition
        current, file = self.open(partition)
        file.close()
        return current

    def _opened(self, partition: Partition) -> Any | None:
        key = f"{partition.key}/data.parquet"
        before = self._store.identity(key)
        if before is None:
            return None
        try:
            file = self._store.open(key)
        except FileNotFoundError:
            return None
        # Local data is replaced by a rename, so the open file is the one that was seen on both sides of opening it. The
        # copy of a bucket's object is hashed in any case: a bucket can replace an object while it is copied.
        is_known = self._store.is_local and self._checked.get(key) == [before, partition.sha256]
        agrees = is_known or sha256(file) == partition.sha256
        if not agrees or self._store.identity(key) != before:
            file.close()
            return None
        if not is_known:
            self._remember(key, [before, partition.sha256])
        return file

    def _remember(self, key: str, what: list[str]) -> None:
        if self._checked.get(key) == what:
            return
        self._checked[key] = what
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a") as file:
                file.write(json.dumps([key, *what]) + "\n")
        except OSError:
            # Without a cache every process checks for itself.
            self._file = None
