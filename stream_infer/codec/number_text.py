"""codec.number_text: texts of joined decimal numbers → lists of floats. decimals, fractions → *number_text* → features.

A wire of its own: a whole record is numbers and separators, `0.25,-1,3e-2,`, as tensors come from producers that know no Avro.
"""

from __future__ import annotations

import math

import numpy as np

from stream_infer.codec.decimals import FLOATS, count_numbers, read_numbers
from stream_infer.codec.fractions import read_rows
from stream_infer.records import Bools, Floats, Lists, Matrix, Text, plain, sealed

_NO_INTS = np.zeros(0, dtype=np.int64)


def floats_of_texts(column: Text, separator: int) -> tuple[Lists, Bools]:
    """Each row's numbers, float64, each the nearest to what is written; and which rows are bad: bool[n], True for those that are not
    finite decimal numbers joined by the separator. Bad rows are empty lists; absent rows stay absent.

    separator: the byte between two numbers; one more may stand at the end. An empty text is an empty list.
    """
    rows = len(column)
    odd = np.zeros(rows, dtype=np.uint8) if column.valid is None else (~column.valid).astype(np.uint8)
    blob, start, size = sealed(column.blob), plain(column.start), plain(column.size)
    count = np.empty(rows, dtype=np.int64)
    items = np.empty(count_numbers(separator, blob, start, size, count, odd), dtype=np.float64)
    first = np.cumsum(count) - count
    read_numbers((FLOATS, separator, False), blob, start, size, count, first, items, _NO_INTS, odd)
    bad = np.zeros(rows, dtype=np.bool_)
    if odd.any():
        for row in np.flatnonzero(odd if column.valid is None else odd * column.valid).tolist():
            found = _judged(blob[start[row] : start[row] + size[row]].tobytes(), separator)
            if found is None or len(found) != count[row]:
                bad[row], count[row] = True, 0
            else:
                items[first[row] : first[row] + count[row]] = found
    return Lists(items, first, count, column.valid), bad


def matrix_of_texts(column: Text, separator: int, out: Matrix) -> Bools:
    """Each row's numbers into its row of out (float32[n, k], contiguous), NaN where it is absent. Most of what models are given is read so,
    in half the time that lists take.

    Gives bool[n], True for rows that are not read: other than k numbers, or what the general reader must judge. Theirs in out is undefined.
    """
    odd = np.empty(len(column), dtype=np.uint8)
    good = np.ones(len(column), dtype=np.bool_) if column.valid is None else plain(column.valid)
    read_rows(separator, sealed(column.blob), plain(column.start), plain(column.size), good, out, odd)
    return odd.view(np.bool_)


def _judged(text: bytes, separator: int) -> Floats | None:
    """The numbers as Python reads them, or None where it does not, or where one is not finite."""
    parts = text.removesuffix(bytes([separator])).split(bytes([separator]))
    if b"_" in text or not text.isascii():  # which float() would let pass
        return None
    try:
        found = [float(part) for part in parts]
    except ValueError:
        return None
    return np.array(found) if all(map(math.isfinite, found)) else None
