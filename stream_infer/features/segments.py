"""features.segments: a batch sorted by key, and its rows' places in the tiles of a window. keys → *segments* → sums, extremes, latest.

Sorted stably by slot, the rows of one key stand together in log order: a *segment*. Whatever a row may see of its own
batch is then a stretch of positions, and prefix sums answer it without a loop over rows or tiles, however many tiles
the batch spans.

Late rows would break that: their tile is older than one before them. So each row also has an *effective* tile, the
newest one up to it, which never falls within a segment. Stretches are found by effective tiles, and what late rows
(those whose own tile is older) do otherwise is corrected pair by pair. They are few in a merged log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stream_infer.features.keys import NEVER
from stream_infer.features.layout import Window
from stream_infer.records import Bools, Ints
from stream_infer.state import spans

_PAIRS_MAX = 1 << 18  # late rows times readers, looked at in one go: bounds memory, not the answer
_SAFE = 1 << 62


@dataclass(slots=True)
class Segments:
    """Rows of a batch sorted by slot, then log order. A segment is one key's rows within one *life*: a key that was idle
    for too long begins a new segment with nothing known.

    order: int64[n], the batch row at each position; segment: int64[n]; start, end: int64[s]; base: int64[s], the state
    row that holds what was known before (0: nothing); slot: int64[s], -1 for null and unknown keys; times: int64[n];
    updates: bool[n]; newest_before, newest: int64[n], the key's newest update time without and with the row itself,
    NEVER if none; reads: int64[r], positions of reading rows; last: int64[l], segments that end a key's batch with at
    least one update, that is: those to be kept.
    """

    order: Ints
    segment: Ints
    start: Ints
    end: Ints
    base: Ints
    slot: Ints
    base_newest: Ints
    times: Ints
    updates: Bools
    newest_before: Ints
    newest: Ints
    reads: Ints
    reader_segment: Ints
    last: Ints


def sort_rows(slots: Ints, times: Ints, updates: Bools, reads: Bools, slot_times: Ints, idle_ms: int | None) -> Segments:
    """Segments of a batch. slots: int64[n], -1 for null or unknown keys; slot_times: newest update by slot before the batch."""
    count = len(slots)
    # One sort of (slot, row) packed into one number is several times faster than a stable argsort.
    bits = max(count - 1, 1).bit_length()
    packed = ((slots + 1) << bits) | np.arange(count, dtype=np.int64)
    packed.sort()
    order = packed & ((1 << bits) - 1)
    row_slot = (packed >> bits) - 1
    times, updates = times[order], updates[order] & (row_slot >= 0)
    begins = np.empty(count, dtype=np.bool_)
    begins[0] = True
    np.not_equal(row_slot[1:], row_slot[:-1], out=begins[1:])
    start = begins.nonzero()[0]
    slot = row_slot[start]
    known = np.where(slot >= 0, slot_times[slot], NEVER)
    segment = begins.cumsum() - 1
    newest_before, newest = _running_newest(segment, start, times, updates, known)
    base = np.where(known > NEVER, slot + 1, 0)
    if idle_ms is not None:
        reborn = updates & (newest_before > NEVER) & (times - newest_before > idle_ms)
        if reborn.any():
            begins |= reborn
            first = begins.nonzero()[0]
            old, fresh = segment[first], reborn[first]
            start, segment = first, begins.cumsum() - 1
            slot, base, known = slot[old], np.where(fresh, 0, base[old]), np.where(fresh, NEVER, known[old])
    end = np.empty_like(start)
    end[:-1], end[-1] = start[1:], count
    # Of the lives of one key in this batch only the last one with an update is kept.
    updated = (np.add.reduceat(updates, start, dtype=np.int64) > 0).nonzero()[0]
    ends_key = np.ones(len(updated), dtype=np.bool_)
    np.not_equal(slot[updated[1:]], slot[updated[:-1]], out=ends_key[:-1])
    last = updated[ends_key]
    reading = reads[order].nonzero()[0]
    return Segments(order, segment, start, end, base, slot, known, times, updates, newest_before, newest, reading, segment[reading], last)


def _running_newest(segment: Ints, start: Ints, times: Ints, updates: Bools, known: Ints) -> tuple[Ints, Ints]:
    """The newest update time before and up to each row, over the key's earlier rows here and `known` from before."""
    ranks, back = _small(times, int(segment[-1]) + 1)
    span = int(ranks.max()) + 2
    # Lifted by its segment's number, the running maximum of one segment can never reach into the next.
    lifted = np.where(updates, ranks + 1, 0) + segment * span
    np.maximum.accumulate(lifted, out=lifted)
    lifted -= segment * span
    newest = np.maximum(np.where(lifted > 0, back(lifted - 1), NEVER), known[segment])
    before = np.empty_like(newest)
    before[1:] = newest[:-1]
    before[start] = known
    return before, newest


def _small(values: Ints, segments: int) -> tuple[Ints, Callable[[Ints], Ints]]:
    """The values as numbers from 0 up, small enough to be lifted by a segment's number, and the way back."""
    lowest, highest = int(values.min()), int(values.max())
    if (highest - lowest + 3) * segments < _SAFE:
        return values - lowest, lambda small: small + lowest
    distinct, ranks = np.unique(values, return_inverse=True)
    return ranks.astype(np.int64, copy=False), lambda small: distinct[small]


class Placed:
    """The rows of a batch in the tiles of one window.

    tile: int64[n], of the row's own time; effective: int64[n], the newest tile of the key up to the row; late: positions
    of updating rows with tile < effective; low, high: int64[r], what each reader may see: tiles low … high; head:
    int64[r], the newest tile before the reader; base_head: int64[s], before the batch, NEVER if none.
    """

    def __init__(self, rows: Segments, window: Window) -> None:
        self.rows = rows
        self.window = window
        floor = int(rows.times.min())
        # A newest time below every row's own time, or none at all, never matters: raising it keeps numbers small.
        self.tile = window.tiles(rows.times)
        self.effective = window.tiles(np.maximum(rows.newest, floor))
        self.late = (rows.updates & (self.tile < self.effective)).nonzero()[0]
        self.head = window.tiles(rows.newest_before[rows.reads])
        self.high = self.tile[rows.reads]
        # Of a key, the ring remembers `back` tiles before its newest one: a reader behind that sees what is left.
        self.low = np.maximum(self.high, self.head) - window.back
        self.behind = (self.high < self.head).nonzero()[0]
        self.base_head = np.where(rows.base_newest > NEVER, window.tiles(rows.base_newest), NEVER)
        self._lifted: Ints | None = None

    def late_count(self) -> int:
        """Updating rows too old for the ring: they do not count in this window."""
        return int(np.count_nonzero(self.tile[self.late] < self.effective[self.late] - self.window.back))

    def first_at(self, segments: Ints, tiles: Ints) -> Ints:
        """The first position in each segment whose effective tile is ≥ the given one; the segment's end if there is none."""
        at = self.rows.start[segments]
        # Most segments are short and begin in their newest tile: only the others need a search.
        search = (tiles > self.effective[at]).nonzero()[0]
        if len(search):
            at[search] = self._search(segments[search], tiles[search])
        return at

    def pairs(self) -> Iterator[tuple[Ints, Ints]]:
        """(position of a late row, index of a reader after it in its segment), in blocks that cover each such pair once."""
        rows, late = self.rows, self.late
        if not len(late):
            return
        first = rows.reads.searchsorted(late, side="right")
        count = rows.reads.searchsorted(rows.end[rows.segment[late]], side="left") - first
        total = count.cumsum()
        begin = 0
        while begin < len(late):
            done = int(total[begin - 1]) if begin else 0
            stop = max(begin + 1, int(total.searchsorted(done + _PAIRS_MAX, side="right")))
            part = slice(begin, stop)
            yield late[part].repeat(count[part]), spans(first[part], count[part])
            begin = stop

    def _search(self, segments: Ints, tiles: Ints) -> Ints:
        rows = self.rows
        if self._lifted is None:
            lowest, highest = int(self.effective.min()), int(self.effective.max())
            self._span = highest - lowest + 2
            # Tiles as small numbers; where they lie too far apart to be lifted, their ranks serve as well.
            self._tiles: Ints = np.arange(0) if self._span * len(rows.start) < _SAFE else np.unique(self.effective)
            self._lowest = lowest
            if len(self._tiles):
                self._span = len(self._tiles) + 1
            self._lifted = rows.segment * self._span + self._small(self.effective)
        return self._lifted.searchsorted(segments * self._span + self._small(tiles))

    def _small(self, tiles: Ints) -> Ints:
        if len(self._tiles):
            ranks: Ints = np.searchsorted(self._tiles, tiles)
            return ranks
        small: Ints = np.minimum(np.maximum(tiles - self._lowest, 0), self._span - 1)
        return small
