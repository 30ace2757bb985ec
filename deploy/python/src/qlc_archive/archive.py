"""An archive of qlc, read from Python."""

import datetime as dt
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from . import _binary, _rows
from ._merge import merge
from ._published import Partition, Published, folder, partition_of
from ._store import THREADS, Store
from ._times import Instant, bound, date_of, day_of
from .errors import ArchiveError, DamagedError, NotFoundError
from .events import Event, columns_of, events_of, in_order

if TYPE_CHECKING:
    import polars as pl

Names = str | Iterable[str] | None
Day = str | dt.date | None

# Rows that a merge holds at a time, over all its sources; each source has a batch of at least and at most so many.
_MERGED_ROWS = 1 << 20
_SMALLEST_BATCH, _LARGEST_BATCH = 1 << 12, 1 << 16
# Events are objects of Python: fewer at a time are faster, because they stay in the processor's cache.
_REPLAYED_BATCH = 1 << 14


@dataclass(frozen=True, slots=True)
class Verified:
    """What `qlc verify` says of a partition."""

    exchange: str
    stream: str
    symbol: str
    date: dt.date
    sound: bool
    rows: int
    bytes: int
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """A part of a day without events, and how it is known. Times are UTC."""

    begin: str
    end: str
    why: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What `qlc status` says of a day of a series."""

    exchange: str
    stream: str
    symbol: str
    date: dt.date
    #: `complete`, or what it lacks, in the words of `qlc status`.
    state: str
    reasons: tuple[str, ...]
    gaps: tuple[Gap, ...]
    #: Files of the spool that are not in the archive yet.
    waiting: int
    quarantined: int
    #: The command that fixes the day; None where nothing is to be done.
    command: str | None


class Archive:
    """An archive: a local folder, or a bucket as `s3://bucket/prefix`.

    `filesystem` is a file system of pyarrow for a bucket that needs other settings than those of the environment; the
    place is then a path in it. `binary` names the program `qlc`, which only `verify` and `coverage` run; `spool` is what
    `coverage` compares the archive with. `cache` is the folder in which checked generations are remembered, False for
    none.
    """

    def __init__(
        self,
        place: str | os.PathLike[str],
        *,
        spool: str | os.PathLike[str] | None = None,
        binary: str | os.PathLike[str] | None = None,
        cache: str | os.PathLike[str] | bool = True,
        filesystem: pafs.FileSystem | None = None,
    ) -> None:
        self._store = Store(place, filesystem)
        self._spool = spool
        self._binary = binary
        self._published = Published(self._store, _cache_folder(cache))

    def __repr__(self) -> str:
        return f"Archive({self._store.url!r})"

    # --- what there is -------------------------------------------------------------------------------------------------

    def partitions(
        self,
        stream: Names = None,
        *,
        symbol: Names = None,
        exchange: Names = None,
        start: Instant = None,
        end: Instant = None,
        check: bool = False,
    ) -> list[Partition]:
        """The published partitions, in the order of exchange, stream, symbol and date.

        A partition is listed when its `meta.json` exists. With `check` its data is held against it as well, as every
        method does that returns rows; that reads the data of each generation once.

        Raises:
            NotPublishedError: with `check`, where data is being replaced or damaged.
        """
        begin, stop = bound(start, end=False), bound(end, end=True)
        keys = list(self._keys(_names(exchange), _names(stream), _names(symbol), begin, stop))
        contents = self._store.read_all(f"{key}/meta.json" for key in keys)
        found = [partition_of(key, content) for key, content in zip(keys, contents, strict=True) if content is not None]
        found = _rows.days(found, begin, stop)
        return [self._published.check(partition) for partition in found] if check else found

    def coverage(
        self,
        stream: Names = None,
        *,
        symbol: Names = None,
        exchange: Names = None,
        start: Day = None,
        end: Day = None,
    ) -> list[Coverage]:
        """Which days are complete, as `qlc status` says; of the last 31 days unless told otherwise.

        Raises:
            BinaryError: when `qlc` ended with an error; the text is its own.
        """
        lines = self._run("status", [], (0,), stream, symbol, exchange, start, end)
        return [
            Coverage(
                **_series(line),
                state=line["state"],
                reasons=tuple(line["reasons"]),
                gaps=tuple(Gap(gap["from"], gap["to"], gap["why"]) for gap in line["gaps"]),
                waiting=line["waiting"],
                quarantined=line["quarantined"],
                command=line["command"],
            )
            for line in lines
        ]

    def verify(
        self,
        stream: Names = None,
        *,
        symbol: Names = None,
        exchange: Names = None,
        start: Day = None,
        end: Day = None,
        quick: bool = False,
    ) -> list[Verified]:
        """Checks every byte against `meta.json` and receipts by `qlc verify`; with `quick`, without decoding the data.

        Damage is a result and no exception: a partition with findings is not `sound`. What lies in the archive and is
        in no partition is told by a warning each.

        Raises:
            BinaryError: when `qlc` ended with an error; the text is its own.
        """
        options = ["--quick"] if quick else []
        lines = self._run("verify", options, (0, 4), stream, symbol, exchange, start, end)
        for line in lines:
            if "place" in line:
                warnings.warn(f"{line['place']}: {'; '.join(line['findings'])}", stacklevel=2)
        return [
            Verified(
                **_series(line),
                sound=line["sound"],
                rows=line["rows"],
                bytes=line["bytes"],
                findings=tuple(line["findings"]),
            )
            for line in lines
            if "place" not in line
        ]

    # --- rows ----------------------------------------------------------------------------------------------------------

    def read(
        self,
        stream: str | Sequence[str],
        *,
        symbol: Names = None,
        start: Instant = None,
        end: Instant = None,
        exchange: Names = None,
        columns: Sequence[str] | None = None,
        times: bool = False,
    ) -> pa.Table:
        """The rows as a table, in the order (ts_event, seq); see `batches` for what is too large for memory."""
        reader = self.batches(stream, symbol=symbol, start=start, end=end, exchange=exchange, columns=columns, times=times)
        return reader.read_all()

    def batches(
        self,
        stream: str | Sequence[str],
        *,
        symbol: Names = None,
        start: Instant = None,
        end: Instant = None,
        exchange: Names = None,
        columns: Sequence[str] | None = None,
        times: bool = False,
    ) -> pa.RecordBatchReader:
        """The rows as batches, in the order (ts_event, seq) over all series, with one batch of each series in memory.

        Days that lack a column that others have are null in it. Times are nanoseconds, whatever unit a day has; with
        `times` they are `timestamp[ns, UTC]`.

        Raises:
            NotFoundError: where the archive has no such series.
            NotPublishedError: where data is being replaced or damaged; also while the batches are read.
        """
        series, begin, stop = self._selected(stream, symbol, exchange, start, end)
        schema = _rows.selected(_rows.named(self._schema(series, stream, symbol, exchange)), columns)
        shown = _rows.with_times(schema) if times else schema

        def merged() -> Iterator[pa.RecordBatch]:
            for chunk in merge(self._sources(series, begin, stop, [schema] * len(series))):
                batches = [_rows.fitted(batch, schema) for _, batch in chunk.slices]
                yield _rows.fitted(_rows.take(batches, chunk.order), shown)

        return pa.RecordBatchReader.from_batches(shown, merged())

    def replay(
        self,
        streams: str | Sequence[str],
        symbols: Names = None,
        start: Instant = None,
        end: Instant = None,
        *,
        exchange: Names = None,
    ) -> Iterator[Event]:
        """The events of several streams one by one, in the order (ts_event, seq), with one batch of each in memory.

        Of events equal in both, those of the stream that was named first come first, then by exchange and symbol. A row
        is a named tuple of `qlc_archive.events` with the columns that the stream has in every archive; columns that a
        day has beside these are in `batches`.

        Raises:
            NotFoundError: where the archive has no such series.
            NotPublishedError: where data is being replaced or damaged; also during the replay.
        """
        series, begin, stop = self._selected(streams, symbols, exchange, start, end)
        names = [days[0].stream for days in series]
        schemas = {}
        for name in dict.fromkeys(names):
            mine = [day for days in series if days[0].stream == name for day in days]
            whole = _rows.named(_rows.unified(self._schemas(mine)))
            wanted = columns_of(name)
            schemas[name] = _rows.selected(whole, wanted and [column for column in wanted if column in whole.names])
        sources = self._sources(series, begin, stop, [schemas[name] for name in names], _REPLAYED_BATCH)
        return _replay(names, sources)

    def dataset(
        self,
        stream: str,
        *,
        symbol: Names = None,
        exchange: Names = None,
        start: Instant = None,
        end: Instant = None,
    ) -> pads.Dataset:
        """The partitions as a dataset of pyarrow, after the check of each.

        Values are as they lie in the files: times in the unit of the day, and whole days, not parts. A dataset opens
        files when it is scanned; data that is replaced between the check and then is read in its new generation.
        """
        checked = self._checked(stream, symbol, exchange, start, end)
        schema = self._schema([checked], stream, symbol, exchange)
        paths = [self._store.path(f"{partition.key}/data.parquet") for partition in checked]
        return pads.dataset(paths, schema=schema, filesystem=self._store.fs, format="parquet", partitioning=None)

    def scan(
        self,
        stream: str,
        *,
        symbol: Names = None,
        exchange: Names = None,
        start: Instant = None,
        end: Instant = None,
    ) -> "pl.LazyFrame":
        """The partitions as a lazy frame of Polars, after the check of each; see `dataset` for what it holds."""
        import polars as pl

        if not self._store.is_local:
            return pl.scan_pyarrow_dataset(self.dataset(stream, symbol=symbol, exchange=exchange, start=start, end=end))
        checked = self._checked(stream, symbol, exchange, start, end)
        paths = [self._store.path(f"{partition.key}/data.parquet") for partition in checked]
        unified = self._schema([checked], stream, symbol, exchange)
        schema = pl.DataFrame(unified.empty_table()).schema
        if not paths:
            return pl.LazyFrame(schema=schema)
        # One scan for each run of days of one schema; where they differ, columns are added and widened.
        runs: list[list[str]] = []
        last: pa.Schema | None = None
        for path, found in zip(paths, self._schemas(checked), strict=True):
            bare = found.remove_metadata()
            if last is not None and bare.equals(last):
                runs[-1].append(path)
            else:
                runs.append([path])
            last = bare
        frames = [pl.scan_parquet(run, hive_partitioning=False, glob=False) for run in runs]
        whole = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")
        return whole.select(schema.names())

    # --- other programs ------------------------------------------------------------------------------------------------

    def to_nautilus(self, catalog: str | os.PathLike[str], stream: str = "bbo", **options: Any) -> list[Any]:
        """Writes a catalog that NautilusTrader reads: see `qlc_archive.nautilus.write`."""
        from . import nautilus

        return list(nautilus.write(self, catalog, stream, **options))

    def to_hftbacktest(self, folder: str | os.PathLike[str], **options: Any) -> list[Any]:
        """Writes files that hftbacktest reads: see `qlc_archive.hftbacktest.write`."""
        from . import hftbacktest

        return list(hftbacktest.write(self, folder, **options))

    # --- the machinery -------------------------------------------------------------------------------------------------

    def _keys(
        self,
        exchanges: set[str] | None,
        streams: set[str] | None,
        symbols: set[str] | None,
        begin: int | None,
        end: int | None,
    ) -> Iterator[str]:
        """The folders of partitions, in order. A day outside of the range is not looked into."""
        first = None if begin is None else _rows.day(date_of(begin))
        last = None if end is None else _rows.day(date_of(end - 1))
        series = [
            (exchange, stream, symbol)
            for exchange in _of(self._store.folders("", "exchange"), exchanges)
            for stream in _of(self._store.folders(f"exchange={exchange}", "stream"), streams)
            for symbol in _of(self._store.folders(f"exchange={exchange}/stream={stream}", "symbol"), symbols)
        ]
        places = [f"exchange={exchange}/stream={stream}/symbol={symbol}" for exchange, stream, symbol in series]
        with ThreadPoolExecutor(1 if self._store.is_local else THREADS) as pool:
            listed = pool.map(lambda place: self._store.folders(place, "date"), places)
            for names, dates in zip(series, listed, strict=True):
                for date in dates:
                    if (first is None or date >= first) and (last is None or date <= last):
                        yield folder(*names, date)

    def _selected(
        self, streams: Names, symbols: Names, exchanges: Names, start: Instant, end: Instant
    ) -> tuple[list[list[Partition]], int | None, int | None]:
        """The days of each series of the range; streams in the order in which they were named."""
        begin, stop = bound(start, end=False), bound(end, end=True)
        order = [streams] if isinstance(streams, str) else list(streams or ())
        if not order:
            raise ValueError("name a stream, such as bbo")
        series: dict[str, list[Partition]] = {}
        for stream in dict.fromkeys(order):
            found = self.partitions(stream, symbol=symbols, exchange=exchanges, start=start, end=end)
            if not found:
                self._must_know(stream, symbols, exchanges)
            for partition in found:
                series.setdefault(partition.series, []).append(partition)
        return list(series.values()), begin, stop

    def _must_know(self, stream: str, symbols: Names, exchanges: Names) -> None:
        """Raises unless the archive has such a series on another day: a typing error is not an empty result."""
        if next(self._keys(_names(exchanges), {stream}, _names(symbols), None, None), None) is None:
            known = sorted(
                {
                    "/".join(part.split("=")[1] for part in k.split("/")[:3])
                    for k in self._keys(None, None, None, None, None)
                }
            )
            shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
            raise NotFoundError(
                f"{self._store.url}: there is no {stream} of {_said(exchanges, 'any exchange')} and"
                f" {_said(symbols, 'any symbol')}; there are {shown or 'no series at all'}"
            )

    def _checked(self, stream: str, symbol: Names, exchange: Names, start: Instant, end: Instant) -> list[Partition]:
        series, _, _ = self._selected(stream, symbol, exchange, start, end)
        return [self._published.check(partition) for days in series for partition in days]

    def _schema(self, series: list[list[Partition]], streams: Names, symbols: Names, exchanges: Names) -> pa.Schema:
        """The schema of all days together; where the range has none, that of the last day outside of it."""
        found = [day for days in series for day in days]
        return _rows.unified(self._schemas(found or self.partitions(streams, symbol=symbols, exchange=exchanges)[-1:]))

    def _schemas(self, partitions: Sequence[Partition]) -> list[pa.Schema]:
        def schema(partition: Partition) -> pa.Schema:
            key = f"{partition.key}/data.parquet"
            try:
                return pq.read_schema(self._store.path(key), filesystem=self._store.fs)
            except (pa.ArrowException, OSError) as error:
                # Data that is being replaced or damaged is told as such; what is left is published and no Parquet.
                self._published.check(partition)
                raise DamagedError(f"{key}: {error}") from error

        with ThreadPoolExecutor(1 if self._store.is_local else THREADS) as pool:
            return list(pool.map(schema, partitions))

    def _sources(
        self,
        series: Sequence[list[Partition]],
        begin: int | None,
        end: int | None,
        schemas: Sequence[pa.Schema],
        largest: int = _LARGEST_BATCH,
    ) -> list[tuple[str, Iterator[pa.RecordBatch]]]:
        size = min(max(_MERGED_ROWS // max(len(series), 1), _SMALLEST_BATCH), largest)
        return [
            (days[0].series, _rows.rows(self._published, days, schema, begin, end, size))
            for days, schema in zip(series, schemas, strict=True)
        ]

    def _run(
        self,
        command: str,
        options: Sequence[str],
        results: Sequence[int],
        stream: Names,
        symbol: Names,
        exchange: Names,
        start: Day,
        end: Day,
    ) -> list[dict[str, Any]]:
        arguments = ["--archive", self._store.url, "--quiet"]
        if self._spool is not None:
            arguments += ["--spool", os.fspath(self._spool)]
        arguments += [command, "--format", "json", *options]
        for flag, value in (("--start", start), ("--end", end)):
            if value is not None:
                arguments += [flag, _rows.day(value if isinstance(value, dt.date) else day_of(value))]
        for flag, names in (("--stream", stream), ("--symbol", symbol), ("--exchange", exchange)):
            for name in sorted(_names(names) or ()):
                arguments += [flag, name]
        return _binary.json_lines(_binary.find(self._binary), arguments, results)


def _replay(streams: Sequence[str], sources: Sequence[tuple[str, Iterator[pa.RecordBatch]]]) -> Iterator[Event]:
    for chunk in merge(sources):
        events: list[Event] = []
        for number, batch in chunk.slices:
            events += events_of(streams[number], batch)
        yield from in_order(events, chunk.order)


def _series(line: dict[str, Any]) -> dict[str, Any]:
    names = {name: line[name] for name in ("exchange", "stream", "symbol")}
    return {**names, "date": day_of(line["date"])}


def _names(names: Names) -> set[str] | None:
    if names is None:
        return None
    return {names} if isinstance(names, str) else set(names)


def _of(found: list[str], wanted: set[str] | None) -> list[str]:
    return found if wanted is None else [name for name in found if name in wanted]


def _said(names: Names, otherwise: str) -> str:
    return ", ".join(sorted(_names(names) or ())) or otherwise


def _cache_folder(cache: str | os.PathLike[str] | bool) -> Path | None:
    if cache is False:
        return None
    if cache is not True:
        return Path(cache)
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(home) if home else Path.home() / ".cache") / "qlc-archive"
    except RuntimeError:
        return Path(tempfile.gettempdir(), f"qlc-archive-{os.getuid()}")


__all__ = ["Archive", "ArchiveError", "Coverage", "Gap", "Partition", "Verified"]
