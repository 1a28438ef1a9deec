"""codec.fractions: texts of equally many decimal fractions → rows of a matrix. decimals → *fractions* → number_text.

Where all separators are found before any number is read, a number begins and ends where it does whatever its neighbours are: so the
processor reads several at once, and sixteen digits are one vector.
"""

from __future__ import annotations

import numpy as np

from stream_infer.codec.decimals import EXACT_DIGITS_MAX, GOOD, ODD, TENS, ZERO_POINT, float_at, lies_within
from stream_infer.jit import byte_at, digits_before, equal_at, jit, ones, pair_at, part, place_of, zeros_below
from stream_infer.records import Bools, Bytes, Floats, Ints, Matrix

_LINE = 64  # bytes that are looked through at once
_AT_ONCE = 8  # separators in them that are noted without asking how many there are: of 64 bytes, numbers of 8 digits have six


@part
def _ends(separator: int, at: int, stop: int, limit: int, most: int, ends: Ints) -> int:
    """Where each number of a text ends, and how many they are; -1 where they are more than `most`."""
    count = 0
    begin = at
    while at < stop and at + _LINE <= limit:
        marks = equal_at(at, separator) | (equal_at(at + 32, separator) << np.uint64(32))
        if at + _LINE > stop:
            marks &= (np.uint64(1) << np.uint64(stop - at)) - np.uint64(1)
        more = ones(marks)
        if count + more > most:
            return -1
        for place in range(_AT_ONCE):  # what stands behind the last is written over
            ends[count + place] = at + zeros_below(marks)
            marks &= marks - np.uint64(1)
        for place in range(_AT_ONCE, more):
            ends[count + place] = at + zeros_below(marks)
            marks &= marks - np.uint64(1)
        count += more
        at += _LINE
    for place in range(at, stop):  # near the end of the blob
        if byte_at(place) == separator:
            if count == most:
                return -1
            ends[count] = place
            count += 1
    last = ends[count - 1] + 1 if count else begin
    if last < stop:  # no separator at the end
        if count == most:
            return -1
        ends[count] = stop
        count += 1
    return count


@part
def _numbers(at: int, ends: Ints, base: int, limit: int, above: Floats, below: Floats) -> int:
    """Numbers as quotients, the first of which begins at this place. ODD where one is none that is read here."""
    for place in range(len(above)):
        end = ends[place]
        count = end - at - 2
        if 0 < count <= EXACT_DIGITS_MAX and end - 16 >= base and pair_at(at) == ZERO_POINT:
            value, wrong = digits_before(end, count)
            above[place], below[place] = np.float64(value), TENS[count]
        else:
            wrong = True
        if wrong:
            number, behind = float_at(at, end, limit)
            if behind != end:
                return ODD
            above[place], below[place] = number, 1.0
        at = end + 1
    return GOOD


@jit
def read_rows(separator: int, blob: Bytes, start: Ints, size: Ints, good: Bools, out: Matrix, odd: Bytes) -> None:
    """Texts of as many numbers as `out` has columns, float32[n, k]: one row each. Absent ones are NaN.

    Marks in `odd` the rows that another must read, and says nothing of what they hold. blob: sealed.
    """
    base, width = place_of(blob), out.shape[1]
    limit = base + len(blob)
    ends, above, below = np.empty(width + _AT_ONCE, dtype=np.int64), np.empty(width), np.ones(width)
    for row in range(len(start)):
        odd[row] = GOOD
        if not good[row]:
            out[row, :] = np.float32(np.nan)
            continue
        if not lies_within(start[row], size[row], len(blob)):
            odd[row] = ODD
            continue
        at = base + start[row]
        if _ends(separator, at, at + size[row], limit, width, ends) == width:
            odd[row] = _numbers(at, ends, base, limit, above, below)
            for place in range(width):  # on its own, so that it divides several at a time: a division takes as long as all else
                out[row, place] = np.float32(above[place] / below[place])
        else:
            odd[row] = ODD
