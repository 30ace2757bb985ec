"""The row hash, version 1, computed by a stranger: from its description alone, with none of qlc's code.

    mix(x):        x ^= x >> 30; x *= 0xbf58476d1ce4e5b9; x ^= x >> 27; x *= 0x94d049bb133111eb; x ^= x >> 31
    seed(column):  XXH64 of the column's name, seed 0
    a value:       integers, booleans, dates, times: mix(their integer ^ seed); floats: mix(bits of the f64 ^ seed);
                   strings and binaries: XXH64 of the bytes with the column's seed; a list: XXH64 of its elements'
                   hashes, 8 little-endian bytes each, with the seed; a null: 0
    a row:         mix of the sum of its values' hashes
    a set of rows: the sum of its rows' hashes, written `1:` and 16 hex digits

All arithmetic is on unsigned 64-bit integers and wraps.
"""

import numpy as np
import pyarrow as pa
import xxhash


def mix(x):
    x = x ^ (x >> np.uint64(30))
    x = x * np.uint64(0xBF58476D1CE4E5B9)
    x = x ^ (x >> np.uint64(27))
    x = x * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def values(array, seed):
    """The hashes of the values of `array` (a pyarrow Array) as uint64."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return values(array.cast(kind.value_type), seed)
    if pa.types.is_null(kind):
        return np.zeros(len(array), np.uint64)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        hashes = np.zeros(len(array), np.uint64)
        for n, value in enumerate(array):
            if value.is_valid:
                inner = values(value.values, seed)
                hashes[n] = xxhash.xxh64_intdigest(inner.astype("<u8").tobytes(), seed)
        return hashes
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        known = {None: 0}
        hashes = np.zeros(len(array), np.uint64)
        for n, value in enumerate(array.to_pylist()):
            if value not in known:
                raw = value.encode() if isinstance(value, str) else value
                known[value] = xxhash.xxh64_intdigest(raw, seed)
            hashes[n] = known[value]
        return hashes
    if pa.types.is_floating(kind):
        bits = array.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float64).view(np.uint64)
    elif pa.types.is_boolean(kind):
        bits = array.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint64)
    else:
        if not pa.types.is_integer(kind):
            array = array.view(pa.int32() if kind.bit_width == 32 else pa.int64())
        # Signed integers are extended by their sign.
        wide = np.uint64 if pa.types.is_unsigned_integer(array.type) else np.int64
        bits = array.fill_null(0).to_numpy(zero_copy_only=False).astype(wide).view(np.uint64)
    return np.where(valid, mix(bits ^ np.uint64(seed)), np.uint64(0))


def of_table(table, without=()):
    """The row hash of the rows of a pyarrow Table, leaving the columns `without` out."""
    sums = np.zeros(table.num_rows, np.uint64)
    with np.errstate(over="ignore"):
        for name in table.column_names:
            if name not in without:
                column = table.column(name).combine_chunks()
                chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
                seed = xxhash.xxh64_intdigest(name.encode(), 0)
                if chunks:
                    sums += np.concatenate([values(chunk, seed) for chunk in chunks])
        total = int(np.sum(mix(sums), dtype=np.uint64)) if len(sums) else 0
    return f"1:{total:016x}"
