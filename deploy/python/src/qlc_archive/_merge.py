"""The merge of sorted batches of several sources by (ts_event, seq), with one batch of each in memory.

Rows equal in both come in the order of the sources, and of one source in its own order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .errors import DamagedError

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that come next: slices by the number of their source, and the order of the rows of all slices together.

    No order means that they are in order one after the other.
    """

    slices: list[tuple[int, pa.RecordBatch]]
    order: Ints | None


def ints(column: pa.Array) -> Ints:
    """An integer column for numpy; a null, which only an adopted archive can have here, comes first."""
    if column.null_count:
        column = column.fill_null(0)
    values: Ints = column.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return values


class _Cursor:
    """A source and its batch under way."""

    def __init__(self, number: int, name: str, batches: Iterator[pa.RecordBatch]) -> None:
        self.number = number
        self._name = name
        self._batches = batches
        self._last: tuple[int, int] | None = None
        self.fill()

    def fill(self) -> None:
        """Takes the next batch that has rows, and holds its order against the format."""
        for batch in self._batches:
            if batch.num_rows == 0:
                continue
            self.batch, self.at = batch, 0
            self.ts = ints(batch.column("ts_event"))
            self.seq = ints(batch.column("seq"))
            same = self.ts[1:] == self.ts[:-1]
            falls = (self.ts[1:] < self.ts[:-1]) | (same & (self.seq[1:] < self.seq[:-1]))
            if falls.any() or (self._last is not None and self._last > (int(self.ts[0]), int(self.seq[0]))):
                raise DamagedError(f"{self._name}: its rows do not ascend by (ts_event, seq); run qlc verify")
            self._last = (int(self.ts[-1]), int(self.seq[-1]))
            self.has_rows = True
            return
        self.has_rows = False

    @property
    def last(self) -> tuple[int, int]:
        return int(self.ts[-1]), int(self.seq[-1])

    def until(self, key: tuple[int, int], *, with_equal: bool) -> int:
        """The place of the first row after `key`, or of the first that is not before it."""
        ts, seq = key
        low = int(np.searchsorted(self.ts, ts, side="left"))
        high = int(np.searchsorted(self.ts, ts, side="right"))
        return low + int(np.searchsorted(self.seq[low:high], seq, side="right" if with_equal else "left"))

    def take(self, end: int) -> tuple[pa.RecordBatch, Ints, Ints]:
        begin, self.at = self.at, end
        taken = self.batch.slice(begin, end - begin), self.ts[begin:end], self.seq[begin:end]
        if end == self.batch.num_rows:
            self.fill()
        return taken


def merge(sources: Sequence[tuple[str, Iterator[pa.RecordBatch]]]) -> Iterator[Chunk]:
    """All rows of the sources, in order."""
    cursors = [_Cursor(number, name, batches) for number, (name, batches) in enumerate(sources)]
    while cursors := [cursor for cursor in cursors if cursor.has_rows]:
        if len(cursors) == 1:
            [only] = cursors
            yield Chunk([(only.number, only.take(only.batch.num_rows)[0])], None)
            continue
        # Up to the smallest last row of the batches, everything is at hand. Of rows equal to it the source that it comes
        # from may have more, which come before those of later sources.
        bound, _, first = min((cursor.last, cursor.number, cursor) for cursor in cursors)
        slices, times, seqs = [], [], []
        for cursor in cursors:
            end = cursor.until(bound, with_equal=cursor.number <= first.number)
            if end > cursor.at:
                batch, ts, seq = cursor.take(end)
                slices.append((cursor.number, batch))
                times.append(ts)
                seqs.append(seq)
        yield Chunk(slices, _order(times, seqs))


def _order(times: list[Ints], seqs: list[Ints]) -> Ints | None:
    if len(times) == 1:
        return None
    ts, seq = np.concatenate(times), np.concatenate(seqs)
    if (ts[1:] > ts[:-1]).all():
        return None
    order: Ints = np.argsort(ts, kind="stable")
    by_time, numbers = ts[order], seq[order]
    if ((by_time[1:] == by_time[:-1]) & (numbers[1:] < numbers[:-1])).any():
        order = np.lexsort((seq, ts))
    return order
