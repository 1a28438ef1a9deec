"""features.sums: counts and exact sums of any window, from running totals. segments → *sums* → windows.

Kept per key: `total`, the sum over all rows ever, and per window a ring with the total *as it was before each tile*. What
lies in a window is then a difference of two of these, whatever the window's length: one number is read per reader, not
a dozen tiles. Differences lose nothing because all numbers are integers (values in fixed point): they are exact, do not
depend on the order of adding, and even a total that runs over 2^63 gives true differences.
"""

from __future__ import annotations

import numpy as np

from stream_infer.features.layout import SQUARE_BOUND, SUM_BOUND, Frame, Layout
from stream_infer.features.segments import Placed, Segments
from stream_infer.records import Floats, Ints
from stream_infer.state import Array, spans

_HALF = 31
_LOW = (1 << _HALF) - 1


class Sums:
    """The sums of one batch. state: structured[k], row 0 blank; values: by field, float64[n] in batch order.

    clipped: values that were infinite or too large for fixed point and count as absent, once per row and lane.
    """

    def __init__(self, layout: Layout, rows: Segments, state: Array, values: dict[str, Floats]) -> None:
        self.layout, self.rows, self.state = layout, rows, state
        self.clipped = 0
        count = len(rows.order)
        self.amounts = np.zeros((count, layout.sum_columns), dtype=np.int64)
        self._fill(values)
        self.running = np.zeros((count + 1, layout.sum_columns), dtype=np.int64)
        np.cumsum(self.amounts, axis=0, out=self.running[1:])
        # `running` counts from the batch's first row; with `origin` it becomes the key's total.
        self.origin = state["total"][rows.base] - self.running[rows.start]
        self.upto = self.origin[rows.reader_segment] + self.running[rows.reads]

    def read(self, frame: Frame, number: int, placed: Placed) -> Ints:
        """What readers see: int64[r, len(frame.sums)]. number: of the frame in the layout."""
        columns = pick(frame.sums)
        if frame.window.width_ms is None:
            total: Ints = self.upto[:, columns]
            return total
        readers = np.arange(len(self.rows.reads), dtype=np.int64)
        seen = self.upto[:, columns] - self._before(columns, number, placed, readers, placed.low)
        if len(placed.behind):
            behind = placed.behind
            past = np.maximum(placed.high[behind] + 1, placed.low[behind])
            upper = self._before(columns, number, placed, behind, past)
            seen[behind] = upper - self._before(columns, number, placed, behind, placed.low[behind])
        for late, readers in placed.pairs():
            own, effective = placed.tile[late], placed.effective[late]
            low, high = placed.low[readers], placed.high[readers]
            # Positions took the late row for one of its effective tile: take it out there, put it in where it belongs.
            sign = ((own >= low) & (own <= high)).astype(np.int64) - ((effective >= low) & (effective <= high))
            wrong = np.flatnonzero(sign)
            for place, column in enumerate(frame.sums):
                np.add.at(seen[:, place], readers[wrong], sign[wrong] * self.amounts[late[wrong], column])
        return seen

    def write(self, frame: Frame, number: int, placed: Placed) -> None:
        """Bring the ring of the frame up to the end of the batch, for all segments to be kept."""
        if frame.window.width_ms is None:
            return
        rows, columns, cells = self.rows, pick(frame.sums), frame.window.cells
        ring = self.state[f"sums_{number}"]
        kept = rows.last
        head = placed.effective[rows.end[kept] - 1]
        first = np.maximum(placed.base_head[kept], head - cells) + 1
        # A key without a past, or with a long pause behind it, gets every cell anew. Up to the batch's first tile they hold
        # the total from before the batch: one stretch of memory, written as one.
        anew = first == head - cells + 1
        start = rows.start[kept[anew]]
        ring[rows.slot[kept[anew]] + 1] = (self.origin[kept[anew]] + self.running[start])[:, None, columns]
        first[anew] = np.maximum(first[anew], placed.effective[start] + 1)
        new = head - first + 1
        if new.any():
            owner, tiles = kept.repeat(new), spans(first, new)
            before = self.origin[owner]
            before += self.running[placed.first_at(owner, tiles)]
            ring[rows.slot[owner] + 1, tiles % cells] = before[:, columns]
        if len(placed.late):
            self._write_late(ring, frame, placed)

    def write_totals(self) -> None:
        """Bring the totals up to the end of the batch."""
        kept = self.rows.last
        self.state["total"][self.rows.slot[kept] + 1] = self.origin[kept] + self.running[self.rows.end[kept]]

    def _before(self, columns: slice | list[int], number: int, placed: Placed, readers: Ints, tiles: Ints) -> Ints:
        """The key's total, at each reader's turn, over rows of tiles older than the given one: int64[readers, columns]."""
        rows = self.rows
        segment = rows.reader_segment[readers]
        in_ring = tiles <= placed.base_head[segment]
        ring = self.state[f"sums_{number}"]
        out = np.empty((len(readers), ring.shape[2]), dtype=np.int64)
        old = in_ring.nonzero()[0]
        out[old] = ring[rows.base[segment[old]], tiles[old] % placed.window.cells]
        new = (~in_ring).nonzero()[0]
        if len(new):
            at = np.minimum(placed.first_at(segment[new], tiles[new]), rows.reads[readers[new]])
            out[new] = self.origin[segment[new]][:, columns] + self.running[at][:, columns]
        return out

    def _write_late(self, ring: Array, frame: Frame, placed: Placed) -> None:
        """A late row adds to the totals before every tile between its own and its effective one, which is already right."""
        rows, cells = self.rows, frame.window.cells
        keeps = np.zeros(len(rows.start), dtype=np.bool_)
        keeps[rows.last] = True
        late = placed.late[keeps[rows.segment[placed.late]]]
        segment = rows.segment[late]
        head = placed.effective[rows.end[segment] - 1]
        first = np.maximum(placed.tile[late], head - cells) + 1
        count = np.maximum(placed.effective[late] - first + 1, 0)
        tiles, row = spans(first, count), late.repeat(count)
        where = (rows.slot[rows.segment[row]] + 1, tiles % cells)
        for place, column in enumerate(frame.sums):
            np.add.at(ring[:, :, place], where, self.amounts[row, column])

    def _fill(self, values: dict[str, Floats]) -> None:
        rows = self.rows
        for lane in self.layout.lanes:
            at = lane.column
            if lane.field is None:
                self.amounts[:, at] = rows.updates
                continue
            value = values[lane.field][rows.order]
            with np.errstate(over="ignore", invalid="ignore"):
                scaled = np.rint(value * 10.0**lane.decimals)
            good = rows.updates & (np.abs(scaled) < (SQUARE_BOUND if lane.squares else SUM_BOUND))
            self.clipped += int(np.count_nonzero(rows.updates & ~good & ~np.isnan(value)))
            fixed = np.where(good, scaled, 0.0).astype(np.int64)
            self.amounts[:, at] = good
            self.amounts[:, at + 1] = fixed
            if lane.squares:
                square = fixed * fixed
                self.amounts[:, at + 2] = square >> _HALF
                self.amounts[:, at + 3] = square & _LOW


def pick(columns: tuple[int, ...]) -> slice | list[int]:
    """An index that takes these columns; a slice where they stand side by side, for it copies nothing."""
    if columns and columns == tuple(range(columns[0], columns[-1] + 1)):
        return slice(columns[0], columns[-1] + 1)
    return list(columns)


def mean(count: Ints, total: Ints, decimals: int) -> Floats:
    """total / count as a float, NaN where count is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / count / 10.0**decimals


def std(count: Ints, total: Ints, high: Ints, low: Ints, decimals: int) -> Floats:
    """Sample standard deviation, NaN where count < 2. high, low: sums of the upper and lower 31 bits of the squares.

    The sum of squared distances from m, the integer nearest to the mean, is exact in two limbs of 31 bits, and small:
    nothing cancels when the values are large and close together. The mean's own distance from m is < 1 and goes off in floats.
    """
    some = np.maximum(count, 1)
    m = np.rint(total / some).astype(np.int64)
    square, total_high, total_low = m * m, total >> _HALF, total & _LOW
    cross = 2 * m * total_low
    upper = high - 2 * m * total_high - (cross >> _HALF) + some * (square >> _HALF)
    lower = low - (cross & _LOW) + some * (square & _LOW)
    upper += lower >> _HALF
    around_m = upper.astype(np.float64) * 2.0**_HALF + (lower & _LOW)
    off = (total - m * some).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = (around_m - off * off / some) / (count - 1)
        return np.where(count >= 2, np.sqrt(np.maximum(variance, 0.0)) / 10.0**decimals, np.nan)
