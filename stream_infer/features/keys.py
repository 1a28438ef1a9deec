"""features.keys: which slot of the state belongs to a key. hashing, state → *keys* → windows, table.

Every slot has one row of numbers: the key itself, when it was last updated, its marks, and behind them what the table's owner keeps.
A search compares hashes first, then all the bytes: equal hashes are not taken for equal keys. The loops are in features.probing.

Slots are handed out in the order in which keys first came, freed ones first, so that they depend on the log alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from stream_infer.features import probing
from stream_infer.features import words as w
from stream_infer.hashing import hash64
from stream_infer.records import Bools, Bytes, Ints, Text, sealed
from stream_infer.state import end_to_end

SPARE = 32  # bytes that kernels may write behind the last one they are asked for
LINE = 8  # words in a line of memory
T = TypeVar("T", Ints, Bytes)


@dataclass(slots=True)
class Wanted:
    """Keys to be found. blob: sealed bytes; spans: int64[3, n], start, size (-1: absent) and hash; flags: bool[n, any], the first column
    says which rows bring their key in if it is new; slots: int64[n], filled by `find`."""

    blob: Bytes
    spans: Ints
    flags: Bools
    slots: Ints


def row_words(words: int) -> int:
    """The numbers in a row whose owner keeps so many: whole lines of memory."""
    return -(-(w.ROW + words) // LINE) * LINE


class KeyTable:
    """Keys (bytes) ↔ slots (0, 1, …), with each slot's row, last update and a mark if it changed.

    words: numbers that the owner keeps per slot, zeros at first. rows: int64[capacity · stride], row s begins at s · stride, the owner's
    words w.ROW further on; features.probing names the others. counts: int64[8], see there; listed: slots that changed, counts[w.CHANGED] of
    them, each marked w.LISTED: whoever changes a row adds it. hash_bits: fewer than 64 make collisions, for tests.
    """

    def __init__(self, words: int = 0, *, hash_bits: int = 64) -> None:
        self._hash_mask = np.uint64((1 << hash_bits) - 1)
        self.stride = row_words(words)
        self.capacity = 0
        self.counts: Ints = np.zeros(8, dtype=np.int64)
        self.rows: Ints = np.zeros(0, dtype=np.int64)
        self.listed: Ints = np.zeros(0, dtype=np.int64)
        self._freed: Ints = np.zeros(0, dtype=np.int64)
        self._places: Ints = np.zeros(32, dtype=np.int64)
        self._long: Bytes = np.zeros(SPARE, dtype=np.uint8)
        self._gone: Bytes = np.zeros(SPARE, dtype=np.uint8)
        self._gone_sizes: Ints = np.zeros(0, dtype=np.int64)
        self.reserve(8)

    @property
    def count(self) -> int:
        """Keys in the table."""
        return int(self.counts[w.COUNT])

    def wanted(self, keys: Text, flags: Bools) -> Wanted:
        """Keys made ready for `find`."""
        spans = np.empty((3, len(keys)), dtype=np.int64)
        spans[0] = keys.start
        spans[1] = keys.size if keys.valid is None else np.where(keys.valid, keys.size, -1)
        hashes = hash64(keys)
        spans[2] = (hashes & self._hash_mask).view(np.int64)
        return Wanted(sealed(keys.blob), spans, flags, np.empty(len(keys), dtype=np.int64))

    def find(self, wanted: Wanted, begin: int, end: int) -> None:
        """Fill slots[begin:end]: -1 for absent rows and for keys that are not there and not inserted, as of their turn."""
        while begin < end:
            begin = probing.find(
                begin,
                end,
                wanted.blob,
                wanted.spans,
                wanted.flags,
                self._places,
                self.rows,
                self.stride,
                self._long,
                self._freed,
                self.counts,
                wanted.slots,
            )
            if begin < end:
                self._grow(int(wanted.spans[1, begin]))

    def slots(self, keys: Text, insert: bool = False) -> Ints:
        """The slot of each key: int64[n], -1 for absent rows and for keys that are not there; insert: bring in those that are new."""
        wanted = self.wanted(keys, np.full((len(keys), 1), insert))
        self.find(wanted, 0, len(keys))
        return wanted.slots

    def column(self, word: int) -> Ints:
        """One of the numbers of every slot ever used: a view, int64[used]."""
        column: Ints = self.rows[: int(self.counts[w.USED]) * self.stride].reshape(-1, self.stride)[:, word]
        return column

    def free(self, slots: Ints) -> None:
        """Forget the keys in these slots (distinct and live), in this order; nothing of them stays, and the slots are handed out again."""
        if not len(slots):
            return
        sizes = self.column(w.SIZE)[slots]
        more, bytes_more = int(self.counts[w.GONE]) + len(slots), int(self.counts[w.GONE_BYTES] + sizes.sum())
        if more > len(self._gone_sizes):
            self._gone_sizes = _larger(self._gone_sizes, 2 * more)
        if bytes_more + SPARE > len(self._gone):
            self._gone = _larger(self._gone, 2 * bytes_more + SPARE)
        probing.free(slots, self._places, self.rows, self.stride, self._long, self._freed, self.counts, self._gone, self._gone_sizes)

    def idle(self, before: int) -> Ints:
        """Slots whose newest update is older than `before`, least recently updated first."""
        return self._by_turn(np.flatnonzero((self.column(w.MARKS) & w.LIVE != 0) & (self.column(w.EVENT) < before)))

    def oldest(self, count: int) -> Ints:
        """The `count` least recently updated slots, in that order."""
        live = self.live()
        if count < len(live):
            live = live[np.argpartition(self.column(w.TURN)[live], count)[:count]]
        return self._by_turn(live)

    def live(self) -> Ints:
        """All slots in use, ascending."""
        return np.flatnonzero(self.column(w.MARKS) & w.LIVE)

    def keys(self, slots: Ints, lead: int = -1) -> Text:
        """The keys in these slots, each behind the byte `lead` unless that is negative."""
        size = self.column(w.SIZE)[slots]
        size += lead >= 0
        blob = np.empty(SPARE + int(size.sum()), dtype=np.uint8)
        probing.write_keys(slots, self.rows, self.stride, self._long, lead, blob)
        return end_to_end(blob[: len(blob) - SPARE], size)

    def take_changes(self, lead: int = -1) -> tuple[Ints, Text]:
        """Slots that changed since the last call, in the order in which they first did, and the keys freed since then that are not back,
        each once, in the order of their going, behind the byte `lead`; clears both marks."""
        slots, gone = self.changed()
        self.clear_changes()
        if len(gone):
            # In a table of their own, keys that went twice stand once, in order.
            left = KeyTable()
            left.slots(gone.take(self.slots(gone) < 0), insert=True)
            gone = left.keys(left.live(), lead)
        return slots, gone

    def changed(self) -> tuple[Ints, Text]:
        """The marks: slots in the order in which they first changed, and keys that were freed, as often as they were."""
        slots = self.listed[: int(self.counts[w.CHANGED])]
        sizes = self._gone_sizes[: int(self.counts[w.GONE])].copy()
        gone = end_to_end(self._gone[: int(self.counts[w.GONE_BYTES])].copy(), sizes)
        return slots[self.column(w.MARKS)[slots] & w.LIVE != 0], gone

    def clear_changes(self) -> None:
        """Forget all marks: what is here is in the changelog."""
        self.column(w.MARKS)[self.listed[: int(self.counts[w.CHANGED])]] &= ~w.LISTED
        self._gone[: int(self.counts[w.GONE_BYTES])] = 0
        self.counts[[w.CHANGED, w.GONE, w.GONE_BYTES]] = 0

    def set_changes(self, slots: Ints, gone: Text) -> None:
        """The marks as `changed` gave them, in place of all others."""
        self.clear_changes()
        self.column(w.MARKS)[slots] |= w.LISTED
        self.listed[: len(slots)] = slots
        self._gone = _larger(gone.blob, len(gone.blob) + SPARE)
        self._gone_sizes = gone.size.copy()
        self.counts[[w.CHANGED, w.GONE, w.GONE_BYTES]] = len(slots), len(gone), len(gone.blob)

    def bytes_used(self) -> int:
        """Bytes held in arrays."""
        arrays = (self.rows, self.listed, self._freed, self._places, self._long, self._gone, self._gone_sizes)
        return sum(array.nbytes for array in arrays)

    def reserve(self, needed: int) -> None:
        """Make room for this many slots."""
        if needed > self.capacity:
            rows = _aligned(needed * self.stride)
            used = int(self.counts[w.USED])
            rows[: used * self.stride] = self.rows[: used * self.stride]
            self.rows, self.capacity = rows, needed
            self.listed, self._freed = _larger(self.listed, needed), _larger(self._freed, needed)
        if 2 * (needed + 1) > len(self._places):
            # Places are at most half full, and at least a quarter of them when they are laid out anew.
            self._places = np.zeros(4 << (needed - 1).bit_length(), dtype=np.int64)
            probing.settle(self._places, self.rows, self.stride, int(self.counts[w.USED]))

    def _grow(self, size: int) -> None:
        """Make room for at least one more key, of this size."""
        counts = self.counts
        if counts[w.FREED] == 0 and counts[w.USED] == self.capacity:
            # Half as much again: rows are large, and what lies unused of them costs memory once it has been touched.
            self.reserve(self.capacity + max(8, self.capacity // 2))
        elif 2 * (int(counts[w.COUNT]) + 1) > len(self._places):
            self.reserve(self.capacity)
        if size > w.SHORT and counts[w.LONG_USED] + size > len(self._long):
            long = np.zeros(2 * int(counts[w.LONG_LIVE] + size) + SPARE, dtype=np.uint8)
            counts[w.LONG_USED] = probing.move_long(self.rows, self.stride, int(counts[w.USED]), self._long, long)
            self._long = long

    def _by_turn(self, slots: Ints) -> Ints:
        return slots[np.argsort(self.column(w.TURN)[slots], kind="stable")]


def _larger(array: T, size: int) -> T:
    out = np.zeros(size, dtype=array.dtype)
    out[: len(array)] = array
    return out


def _aligned(size: int) -> Ints:
    """int64[size] of anything, beginning with a line of memory."""
    block = np.empty(size + LINE, dtype=np.int64)
    begin = -(block.ctypes.data >> 3) % LINE
    return block[begin : begin + size]
