"""features.keyed: one row of numbers per key, as a Store with bounded memory. keys, state → *keyed* → windows, table.

A state row is one numpy structure whose bytes are the key's changelog value as they are. Row 0 is blank and stands for
every unknown key; the key in slot s has row s + 1.

Memory is bounded by sweeps: after every sweep_rows-th updating row (SWEEP_ROWS), idle keys go, and if there are more than
keys_max, the least recently updated ones down to 15/16 of it, so that not every sweep has to look at all keys. When a
sweep comes and what it takes depends on the log alone, not on how the log was cut into calls, because the counters that
decide it travel with the state: as one more record of the changelog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from stream_infer.features.keys import NEVER, KeyTable
from stream_infer.records import Bools, Ints, Text
from stream_infer.state import Array, StateError, pack_rows, pack_text, unpack_rows

SWEEP_ROWS = 4096  # the table may exceed keys_max by as many keys
VERSION = 1  # of packed rows and counters
_COUNTERS = np.dtype([(name, "<i8") for name in ("turns", "clock", "swept_at", "late", "clipped", "evicted")])
_KEY, _COUNTERS_KEY = b"k", b"c"  # the first byte of a changelog key says what the record holds


class KeyedState:
    """Rows of state by key; what FeatureState and TableState have in common. Implements `Store`.

    blank: makes n rows of keys of which nothing is known. counters: structured[1], see _COUNTERS.
    """

    def __init__(self, blank: Callable[[int], Array], keys_max: int, idle_ms: int | None, sweep_rows: int) -> None:
        self._blank = blank
        self._keys_max, self._idle_ms, self._sweep_rows = keys_max, idle_ms, sweep_rows
        self._table = KeyTable()
        self._rows = blank(self._table.capacity + 1)
        self._packed = np.dtype([("turn", "<i8"), ("newest", "<i8"), ("state", self._rows.dtype)])
        self._counters = np.zeros(1, dtype=_COUNTERS)
        self._counters["clock"] = self._counters["swept_at"] = NEVER
        self._counters_sent = self._counters.tobytes()

    @property
    def late_total(self) -> int:
        """Updates that came too late for a window, once per row and window."""
        return int(self._counters["late"][0])

    @property
    def clipped_total(self) -> int:
        """Values that were infinite or too large to be summed and count as absent."""
        return int(self._counters["clipped"][0])

    @property
    def evicted_total(self) -> int:
        """Keys forgotten because they were idle or too many."""
        return int(self._counters["evicted"][0])

    def __len__(self) -> int:
        return self._table.count

    def changes(self) -> tuple[list[bytes], list[bytes | None]]:
        """Changed keys with packed rows, forgotten keys with None, and the counters if they moved; clears the marks."""
        slots, gone = self._table.take_changes()
        rows = np.empty(len(slots), dtype=self._packed)
        rows["turn"], rows["newest"], rows["state"] = self._table.turns[slots], self._table.times[slots], self._rows[slots + 1]
        keys = [_KEY + key for key in self._table.keys(slots)] + [_KEY + key for key in gone]
        values: list[bytes | None] = [*pack_rows(VERSION, rows), *([None] * len(gone))]
        if self._counters.tobytes() != self._counters_sent:
            self._counters_sent = self._counters.tobytes()
            keys.append(_COUNTERS_KEY)
            values += pack_rows(VERSION, self._counters)
        return keys, values

    def restore(self, keys: list[bytes], values: list[bytes | None]) -> None:
        """Apply changelog records in order, later ones win; leaves no marks. StateError on a value of another format."""
        newest = dict(zip(keys, values, strict=True))
        counters = newest.pop(_COUNTERS_KEY, None)
        if counters is not None:
            self._counters = unpack_rows(VERSION, [counters], _COUNTERS).copy()
        self._counters_sent = self._counters.tobytes()
        kept = {key[1:]: value for key, value in newest.items() if value is not None}
        rows = unpack_rows(VERSION, list(kept.values()), self._packed)
        slots = self._slots(pack_text(list(kept)), np.ones(len(kept), dtype=np.bool_))
        self._rows[slots + 1] = rows["state"]
        self._table.touch(slots, rows["newest"], rows["turn"])
        gone = self._table.slots(pack_text([key[1:] for key, value in newest.items() if value is None]))
        self._table.free(gone[gone >= 0])
        self._table.clear_changes()

    def snapshot(self) -> dict[str, Array]:
        """Everything, as plain arrays."""
        keys = {f"keys_{name}": array for name, array in self._table.snapshot().items()}
        sent = np.frombuffer(self._counters_sent, dtype=_COUNTERS)
        return {**keys, "rows": self._rows[self._table.live() + 1], "counters": self._counters.copy(), "counters_sent": sent}

    def load(self, arrays: dict[str, Array]) -> None:
        """Become the object that gave the snapshot. StateError if it was made with other settings."""
        if arrays["rows"].dtype != self._rows.dtype:
            raise StateError(f"snapshot: got rows of {arrays['rows'].dtype}, expected {self._rows.dtype} (made with other settings?)")
        self._table.load({name.removeprefix("keys_"): array for name, array in arrays.items() if name.startswith("keys_")})
        self._rows = self._blank(self._table.capacity + 1)
        self._rows[arrays["keys_slots"] + 1] = arrays["rows"]
        self._counters = arrays["counters"].copy()
        self._counters_sent = arrays["counters_sent"].tobytes()

    def bytes_used(self) -> int:
        """Bytes held in arrays, used or reserved."""
        return self._table.bytes_used() + self._rows.nbytes

    def forget(self, keys: Text) -> int:
        """Remove these keys and all that is known about them; gives how many were known. Their tombstones are changes."""
        slots = np.unique(self._table.slots(keys))
        slots = slots[slots >= 0]
        self._rows[slots + 1] = self._blank(1)  # nothing of them stays in memory either
        self._table.free(slots)
        return len(slots)

    def _slots(self, keys: Text, insert: Bools) -> Ints:
        slots = self._table.slots(keys, insert)
        if self._table.capacity + 1 > len(self._rows):
            self._rows = np.concatenate([self._rows, self._blank(self._table.capacity + 1 - len(self._rows))])
        return slots

    def _pieces(self, updates: Bools) -> Iterator[slice]:
        """The rows of a call, cut after each row that a sweep follows. The caller ends each piece with `_advance`."""
        turns = int(self._counters["turns"][0])
        left = self._sweep_rows - turns % self._sweep_rows
        done = np.cumsum(updates)
        begin, total = 0, int(done[-1]) if len(done) else 0
        for count in range(left, total + 1, self._sweep_rows):
            end = int(np.searchsorted(done, count)) + 1
            yield slice(begin, end)
            begin = end
        if begin < len(updates):
            yield slice(begin, len(updates))

    def _advance(self, times: Ints, updates: Bools) -> None:
        """Count the rows of a piece as done, and sweep if it is time."""
        count = int(np.count_nonzero(updates))
        if not count:
            return
        counters = self._counters
        counters["turns"] += count
        counters["clock"] = max(int(counters["clock"][0]), int(times[updates].max()))
        if int(counters["turns"][0]) % self._sweep_rows == 0:
            self._sweep()

    def _sweep(self) -> None:
        clock, swept_at = int(self._counters["clock"][0]), int(self._counters["swept_at"][0])
        # Looking for idle keys means looking at all: an eighth of the idle time apart is often enough.
        if self._idle_ms is not None and clock - swept_at > self._idle_ms // 8:
            self._counters["swept_at"] = clock
            self._evict(self._table.idle(clock - self._idle_ms))
        if self._table.count > self._keys_max:
            self._evict(self._table.oldest(self._table.count - (self._keys_max - self._keys_max // 16)))

    def _evict(self, slots: Ints) -> None:
        self._table.free(slots)
        self._counters["evicted"] += len(slots)
