"""Prices and quantities as exact decimals: an archive has doubles, other programs have integers and a scale."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# A double holds every integer up to here; a mantissa beyond would not be the number that was written.
_EXACT = 2.0**53


def exact(values: Floats, most: int) -> tuple[Ints, Ints]:
    """Each value as an integer and its number of decimals, the fewest that hold it exactly; -1 where `most` do not."""
    mantissas = np.zeros(len(values), np.int64)
    places = np.full(len(values), -1, np.int64)
    for count in range(most + 1):
        rest = np.flatnonzero(places < 0)
        if not rest.size:
            break
        scaled = np.rint(values[rest] * 10.0**count)
        held = (np.abs(scaled) < _EXACT) & (scaled / 10.0**count == values[rest])
        mantissas[rest[held]] = scaled[held].astype(np.int64)
        places[rest[held]] = count
    return mantissas, places
