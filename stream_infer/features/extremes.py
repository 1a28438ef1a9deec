"""features.extremes: minimum and maximum of any window. segments → *extremes* → windows.

They cannot be taken back like sums, so the ring keeps each tile's own extreme. A minimum is kept as the maximum of the
negated values. From before the batch a reader sees the maximum over those cells of the ring that its window covers; from
the batch it sees a stretch of positions (a sparse table: maxima over 2^l positions, of which any stretch is the union of
two); late rows come in pair by pair. Maxima of maxima are exact.
"""

from __future__ import annotations

import numpy as np

from stream_infer.features.layout import Frame, Layout
from stream_infer.features.segments import Placed, Segments
from stream_infer.features.sums import pick
from stream_infer.records import Floats, Ints
from stream_infer.state import Array, spans


class Extremes:
    """The extremes of one batch. state: structured[k], row 0 blank; values: by field, float64[n] in batch order.

    clipped: infinite values, which count as absent, once per row and extreme.
    """

    def __init__(self, layout: Layout, rows: Segments, state: Array, values: dict[str, Floats]) -> None:
        self.rows, self.state = rows, state
        self.clipped = 0
        self.marks = np.full((len(rows.order), len(layout.extremes)), -np.inf)
        for column, (field, sign) in enumerate(layout.extremes):
            value = values[field][rows.order]
            good = rows.updates & np.isfinite(value)
            self.clipped += int(np.count_nonzero(rows.updates & np.isinf(value)))
            # + 0.0 makes -0.0 a plain zero: which of two equal numbers wins must not show.
            self.marks[good, column] = sign * value[good] + 0.0
        self.signs = np.array([sign for _, sign in layout.extremes], dtype=np.float64)

    def read(self, frame: Frame, number: int, placed: Placed) -> Floats:
        """What readers see: float64[r, len(frame.extremes)], NaN where nothing. number: of the frame in the layout."""
        columns = pick(frame.extremes)
        seen = self._from_batch(columns, placed)
        self._from_ring(seen, number, placed)
        for late, readers in placed.pairs():
            own = placed.tile[late]
            inside = np.flatnonzero((own >= placed.low[readers]) & (own <= placed.high[readers]))
            for place, column in enumerate(frame.extremes):
                np.maximum.at(seen[:, place], readers[inside], self.marks[late[inside], column])
        seen[seen == -np.inf] = np.nan
        seen *= self.signs[columns]
        seen += 0.0
        return seen

    def write(self, frame: Frame, number: int, placed: Placed) -> None:
        """Bring the ring of the frame up to the end of the batch, for all segments to be kept."""
        rows, cells = self.rows, frame.window.cells
        ring = self.state[f"extremes_{number}"]
        kept = rows.last
        head = placed.effective[rows.end[kept] - 1]
        new = np.where(placed.base_head[kept] < head - cells, cells, head - placed.base_head[kept])
        if new.any():
            ring[(rows.slot[kept] + 1).repeat(new), :, spans(head - new + 1, new) % cells] = -np.inf
        oldest = np.full(len(rows.start), 1 << 62)
        oldest[kept] = head - cells
        position = (rows.updates & (placed.tile > oldest[rows.segment])).nonzero()[0]
        where = (rows.slot[rows.segment[position]] + 1, placed.tile[position] % cells)
        for place, column in enumerate(frame.extremes):
            np.maximum.at(ring[:, place], where, self.marks[position, column])

    def _from_batch(self, columns: slice | list[int], placed: Placed) -> Floats:
        rows = self.rows
        first = rows.start[rows.reader_segment].copy()
        past = rows.reads.copy()
        unsure = (placed.low > placed.effective[first]).nonzero()[0]
        if len(unsure):
            first[unsure] = np.minimum(placed.first_at(rows.reader_segment[unsure], placed.low[unsure]), past[unsure])
        behind = placed.behind
        if len(behind):
            upper = placed.first_at(rows.reader_segment[behind], placed.high[behind] + 1)
            past[behind] = np.maximum(np.minimum(upper, past[behind]), first[behind])
        marks = self.marks[:, columns]
        if len(placed.late):
            marks = marks.copy()
            marks[placed.late] = -np.inf
        return _stretch_max(marks, first, past)

    def _from_ring(self, seen: Floats, number: int, placed: Placed) -> None:
        rows, cells = self.rows, placed.window.cells
        inside = ((placed.low <= placed.base_head[rows.reader_segment]) & (placed.low <= placed.high)).nonzero()[0]
        if not len(inside):
            return
        segment, low, high = rows.reader_segment[inside], placed.low[inside], placed.high[inside]
        # Readers of one key stand side by side and mostly share their window: each window is looked at once.
        begins = np.ones(len(inside), dtype=np.bool_)
        begins[1:] = (segment[1:] != segment[:-1]) | (low[1:] != low[:-1]) | (high[1:] != high[:-1])
        segment, low, high = segment[begins], low[begins, None], high[begins, None]
        head = placed.base_head[segment][:, None]
        tile = head - (head - np.arange(cells)) % cells  # of each cell, in its place in the ring
        covered = (tile >= low) & (tile <= high)
        found = np.where(covered[:, None], self.state[f"extremes_{number}"][rows.base[segment]], -np.inf).max(axis=2)
        seen[inside] = np.maximum(seen[inside], found[begins.cumsum() - 1])


def _stretch_max(marks: Floats, first: Ints, past: Ints) -> Floats:
    """The maximum of marks[first[i] : past[i]] by column, -inf for an empty stretch: float64[len(first), columns]."""
    out = np.full((len(first), marks.shape[1]), -np.inf)
    length = past - first
    longest = int(length.max(initial=0))
    table, width = marks, 1
    while width <= longest:
        fits = ((length >= width) & (length < 2 * width)).nonzero()[0]
        if len(fits):
            out[fits] = np.maximum(table[first[fits]], table[past[fits] - width])
        if 2 * width <= longest:
            table = np.maximum(table[:-width], table[width:])
        width *= 2
    return out
