"""features.latest: the newest values of a key, for last and last_k. segments → *latest* → windows.

Newest is meant by (event time, then log order). As long as a key's values come in time order, the newest ones before a row
are the ones counted back from it; keys with disorder in the batch go through a plain sorted list, row by row.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from stream_infer.features.segments import Segments
from stream_infer.records import Floats, Ints
from stream_infer.state import Array


class Latest:
    """The k newest values of one field, over one batch. state: structured[k], row 0 blank; value: float64[n], batch order."""

    def __init__(self, number: int, k: int, rows: Segments, state: Array, value: Floats) -> None:
        self.k, self.rows, self.state = k, rows, state
        self.times_name, self.values_name = f"times_{number}", f"values_{number}"
        self.value = value[rows.order]
        self.valid = rows.updates & ~np.isnan(self.value)
        self.known = np.flatnonzero(self.valid)
        self.before: Ints = np.cumsum(self.valid) - self.valid  # valid rows before each position, over the whole batch
        # A row older than any update before it may be out of order: the list decides.
        self.disordered = np.unique(rows.segment[self.valid & (rows.times < rows.newest_before)])

    def read(self) -> tuple[Ints, Floats]:
        """(times, values) as each reader sees them, newest first: int64[r, k], float64[r, k], NaN where there is none."""
        return self._at(self.rows.reader_segment, self.before[self.rows.reads], self.rows.reads)

    def write(self) -> None:
        """Bring the lists up to the end of the batch, for all segments to be kept."""
        rows = self.rows
        kept = rows.last
        final = rows.end[kept] - 1
        times, values = self._at(kept, (self.before + self.valid)[final], rows.end[kept])
        self.state[self.times_name][rows.slot[kept] + 1] = times
        self.state[self.values_name][rows.slot[kept] + 1] = values

    def _at(self, segments: Ints, before: Ints, positions: Ints) -> tuple[Ints, Floats]:
        """The lists before these positions of these segments (both ascending), given how many valid rows lie before them."""
        rows = self.rows
        own = before - self.before[rows.start[segments]]
        back = np.arange(self.k, dtype=np.int64)
        from_batch = back < own[:, None]
        index = np.where(from_batch, before[:, None] - 1 - back, 0)
        old = np.where(from_batch, 0, back - own[:, None])
        base = rows.base[segments][:, None]
        times, values = self.state[self.times_name][base, old], self.state[self.values_name][base, old]
        if len(self.known):
            at = self.known[index]
            times = np.where(from_batch, rows.times[at], times)
            values = np.where(from_batch, self.value[at], values)
        if len(self.disordered):
            self._replay(segments, positions, times, values)
        return times, values

    def _replay(self, segments: Ints, positions: Ints, times: Ints, values: Floats) -> None:
        """Overwrite the lists of segments with disorder by what a sorted list says."""
        for segment in self.disordered.tolist():
            asked = range(int(np.searchsorted(segments, segment)), int(np.searchsorted(segments, segment, side="right")))
            entries = self._entries(segment)
            at = int(self.rows.start[segment])
            for place in asked:
                until = int(positions[place])
                for row in (at + np.flatnonzero(self.valid[at:until])).tolist():
                    # Newest first: a later row of the same time is the newer one.
                    time = int(self.rows.times[row])
                    entries.insert(bisect_left(entries, -time, key=_age), (time, float(self.value[row])))
                    del entries[self.k :]
                at = max(at, until)
                times[place], values[place] = 0, np.nan
                for number, (time, value) in enumerate(entries):
                    times[place, number], values[place, number] = time, value

    def _entries(self, segment: int) -> list[tuple[int, float]]:
        base = int(self.rows.base[segment])
        times, values = self.state[self.times_name][base].tolist(), self.state[self.values_name][base].tolist()
        return [(time, value) for time, value in zip(times, values, strict=True) if value == value]


def _age(entry: tuple[int, float]) -> int:
    return -entry[0]
