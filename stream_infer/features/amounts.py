"""features.amounts: what rows add to sums and extremes, as whole numbers. layout → *amounts* → engine."""

from __future__ import annotations

import numpy as np

from stream_infer.features import words as w
from stream_infer.jit import jit
from stream_infer.records import Bools, Floats, Ints

HALF = 31
LOW = (1 << HALF) - 1


@jit
def ordered(value: float) -> int:
    """The float as an integer: a larger float (+0.0 and -0.0 apart) gives a larger integer, all of them more than w.LEAST."""
    bits = int(np.float64(value).view(np.int64))
    return bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)


@jit
def amounts_of(
    begin: int, end: int, slots: Ints, flags: Bools, values: Floats, plan: Ints, scales: Floats, amounts: Ints, marks: Ints
) -> int:
    """Fill amounts[begin:end], 0 where a value is absent or cannot be summed, and marks[begin:end], w.LEAST where it is not finite.

    flags: bool[n, 2], the first column says which rows update; amounts: int64[n, sums]; marks: int64[n, extremes].
    Gives how many values were clipped: infinite or too large for fixed point, once per updating row and what it would have gone into.
    """
    clipped = 0
    for number in range(plan[0, w.LANES], plan[0, w.LANES] + plan[0, w.LANES + 1]):
        field, squares, at, scale = plan[number, w.FIELD], plan[number, w.SQUARES], plan[number, w.COLUMN], 2 * plan[number, w.LANE_SCALE]
        for i in range(begin, end):
            if field < 0:
                amounts[i, at] = 1
                continue
            value = values[field, i]
            scaled = np.rint(value * scales[scale])
            good = abs(scaled) < scales[scale + 1]
            clipped += not (good or np.isnan(value)) and flags[i, 0] and slots[i] >= 0
            fixed = np.int64(scaled) if good else 0
            amounts[i, at] = good
            amounts[i, at + 1] = fixed
            if squares:
                amounts[i, at + 2] = (fixed * fixed) >> HALF
                amounts[i, at + 3] = (fixed * fixed) & LOW
    for number in range(plan[0, w.EXTREMES], plan[0, w.EXTREMES] + plan[0, w.EXTREMES + 1]):
        field, sign = plan[number, w.FIELD], plan[number, w.SIGN]
        for i in range(begin, end):
            value = values[field, i]
            clipped += np.isinf(value) and flags[i, 0] and slots[i] >= 0
            # + 0.0 makes -0.0 a plain zero: which of two equal numbers wins must not show.
            marks[i, number - plan[0, w.EXTREMES]] = ordered(sign * value + 0.0) if np.isfinite(value) else w.LEAST
    return clipped
