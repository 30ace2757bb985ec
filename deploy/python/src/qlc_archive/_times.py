"""Units of integer times, and the bounds of a range of time.

The plausible ranges of s, ms, us and ns do not overlap (docs/format.md), so the size of a value tells its unit.
"""

import datetime as dt
import re

import numpy as np
import numpy.typing as npt

TIME_COLUMNS = ("ts_event", "ts_recv", "next_funding_ts")

# 1980-01-01 and 2200-01-01 in seconds.
_FROM_S = 315_532_800
_TO_S = 7_258_118_400
_UNITS = (1_000_000_000, 1_000_000, 1_000, 1)

Ints = npt.NDArray[np.int64]
Instant = int | str | dt.date | dt.datetime | None

_DAY = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY_NS = 86_400_000_000_000


def unit_of(value: int) -> int | None:
    """Nanoseconds in the unit in which `value` is a plausible time; None where it is in none."""
    for unit in _UNITS:
        per_second = 1_000_000_000 // unit
        if _FROM_S * per_second <= value < _TO_S * per_second:
            return unit
    return None


def to_ns(values: Ints) -> Ints:
    """Times in nanoseconds, whatever unit each has. A value that is no plausible time is kept."""
    if values.size == 0:
        return values
    low, high = int(values.min()), int(values.max())
    if unit_of(low) == 1 and unit_of(high) == 1:
        return values
    result = values.copy()
    for unit in _UNITS[:-1]:
        per_second = 1_000_000_000 // unit
        of_unit = (values >= _FROM_S * per_second) & (values < _TO_S * per_second)
        result[of_unit] = values[of_unit] * unit
    return result


def day_of(text: str) -> dt.date:
    """A day written as 20260203 or 2026-02-03."""
    found = _DAY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a UTC day as in 20260203 or 2026-02-03")
    return dt.date(*map(int, found.groups()))


def _instant(value: dt.datetime) -> int:
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone; give an instant such as datetime(…, tzinfo=timezone.utc)")
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000


def bound(value: Instant, *, end: bool) -> int | None:
    """A bound in nanoseconds: the first that is in the range or, of its end, the first that is not.

    A day begins at midnight UTC; as an end it is in the range as a whole, as with `qlc --end`. An instant (an aware
    datetime, nanoseconds, or ISO 8601 with an offset) is itself the bound.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        raise TypeError("a bound is a day or an instant, not a bool")
    if isinstance(value, int):
        if unit_of(value) != 1:
            raise ValueError(f"{value} is not a time in nanoseconds since 1970")
        return value
    if isinstance(value, str):
        if not _DAY.fullmatch(value):
            return _instant(dt.datetime.fromisoformat(value))
        value = day_of(value)
    if isinstance(value, dt.datetime):
        return _instant(value)
    midnight = (value - _EPOCH.date()).days * _DAY_NS
    return midnight + _DAY_NS if end else midnight


def date_of(ns: int) -> dt.date:
    """The UTC day of a time in nanoseconds."""
    return _EPOCH.date() + dt.timedelta(days=ns // _DAY_NS)


def within(day: dt.date, start: Instant, end: Instant) -> tuple[int, int]:
    """The part of a day that is in a range, as its first nanosecond and the first after it."""
    first = (day - _EPOCH.date()).days * _DAY_NS
    begin, stop = bound(start, end=False), bound(end, end=True)
    last = first + _DAY_NS
    return max(first, first if begin is None else begin), min(last, last if stop is None else stop)
