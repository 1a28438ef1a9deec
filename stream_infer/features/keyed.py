"""features.keyed: numbers per key, as a Store with bounded memory. keys, state → *keyed* → windows, table.

Memory is bounded by sweeps: after every sweep_rows-th updating row (SWEEP_ROWS), idle keys go, and if there are more than
keys_max, the least recently updated ones down to 15/16 of it, so that not every sweep has to look at all keys. When a
sweep comes and what it takes depends on the log alone, not on how the log was cut into calls, because the counters that
decide it travel with the state: as one more record of the changelog.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from stream_infer.features import words as w
from stream_infer.features.keys import KeyTable
from stream_infer.records import Bools, Ints, Text
from stream_infer.state import Array, StateError, end_to_end, join_texts

SWEEP_ROWS = 4096  # the table may exceed keys_max by as many keys
VERSION = 2  # of packed keys
_COUNTERS_VERSION = 1
_KEY, _COUNTERS = b"kc"  # the first byte of a changelog key says what the record holds: a key's state, or the counters


class KeyedState(ABC):
    """State by key; what FeatureState and TableState have in common. Implements `Store`.

    words: numbers per key in the table's rows; layout: 24 bits that tell settings apart. counters: int64[6], see features.engine.
    """

    def __init__(self, words: int, layout: int, keys_max: int, idle_ms: int | None, sweep_rows: int) -> None:
        self._words, self._form = words, VERSION | layout << 8
        self._keys_max, self._idle_ms, self._sweep_rows = keys_max, idle_ms, sweep_rows
        self._clear()

    def _clear(self) -> None:
        self._table = KeyTable(self._words)
        self._counters: Ints = np.zeros(6, dtype=np.int64)
        self._counters[w.CLOCK] = self._counters[w.SWEPT_AT] = w.NEVER
        self._counters_sent = self._counters.tobytes()

    @abstractmethod
    def _pack(self, slots: Ints) -> Text:
        """The state of the keys in these slots, packed: `_form` as 4 bytes, then anything."""

    @abstractmethod
    def _unpack(self, values: Text, slots: Ints) -> int | None:
        """Set the keys in these slots (-1: none) to what was packed, in order. Gives the first row of another form, if there is one."""

    @abstractmethod
    def _release(self, slots: Ints) -> None:
        """The keys in these slots are about to be forgotten, with their rows in the table."""

    @property
    def late_total(self) -> int:
        """Updates that came too late for a window, once per row and window."""
        return int(self._counters[w.LATE])

    @property
    def clipped_total(self) -> int:
        """Values that were infinite or too large to be summed and count as absent."""
        return int(self._counters[w.CLIPPED])

    @property
    def evicted_total(self) -> int:
        """Keys forgotten because they were idle or too many."""
        return int(self._counters[w.EVICTED])

    def __len__(self) -> int:
        return self._table.count

    def changes(self) -> tuple[Text, Text]:
        """Changed keys with packed rows, forgotten keys without, and the counters if they moved; clears the marks."""
        slots, gone = self._table.take_changes(_KEY)
        keys, values = [self._table.keys(slots, _KEY)], [self._pack(slots)]
        if len(gone):
            keys.append(gone)
            values.append(Text.of([None] * len(gone), is_bytes=True))
        if self._counters.tobytes() != self._counters_sent:
            self._counters_sent = self._counters.tobytes()
            keys.append(Text.of([b"c"], is_bytes=True))
            values.append(Text.of([bytes([_COUNTERS_VERSION]) + self._counters_sent], is_bytes=True))
        return join_texts(keys), join_texts(values)

    def restore(self, keys: Text, values: Text) -> None:
        """Apply changelog records in order, later ones win; leaves no marks. StateError on a value of another form."""
        if len(keys):
            kind = keys.blob[keys.start]
            for row in np.flatnonzero(kind == _COUNTERS).tolist():
                self._restore_counters(values.take(slice(row, row + 1)).raw()[0])
            self._restore_keys(Text(keys.blob, keys.start + 1, keys.size - 1, kind == _KEY, is_bytes=True), values)
        self._counters_sent = self._counters.tobytes()
        self._table.clear_changes()

    def snapshot(self) -> dict[str, Array]:
        """Everything, as plain arrays."""
        live = self._table.live()
        keys, values, (listed, gone) = self._table.keys(live), self._pack(live), self._table.changed()
        return {
            "form": np.array([self._form]),
            "keys": keys.blob,
            "key_sizes": keys.size,
            "values": values.blob,
            "value_sizes": values.size,
            "listed": np.searchsorted(live, listed),
            "gone": gone.blob,
            "gone_sizes": gone.size,
            "counters": self._counters.copy(),
            "counters_sent": np.frombuffer(self._counters_sent, dtype=np.int64),
        }

    def load(self, arrays: dict[str, Array]) -> None:
        """Become the object that gave the snapshot. StateError if it was made with other settings, or is torn."""
        if arrays["form"].tolist() != [self._form]:
            raise StateError(f"snapshot: got form {arrays['form'].tolist()}, expected [{self._form}] (made with other settings?)")
        for block, sizes in (("keys", "key_sizes"), ("values", "value_sizes"), ("gone", "gone_sizes")):
            if len(arrays[block]) != int(arrays[sizes].sum()):
                raise StateError(f"snapshot: got {len(arrays[block])} bytes of {block}, expected {int(arrays[sizes].sum())}")
        if len(arrays["key_sizes"]) != len(arrays["value_sizes"]):
            raise StateError(f"snapshot: got {len(arrays['key_sizes'])} keys, but {len(arrays['value_sizes'])} values")
        self._clear()
        self._restore_keys(end_to_end(arrays["keys"], arrays["key_sizes"]), end_to_end(arrays["values"], arrays["value_sizes"]))
        self._table.set_changes(arrays["listed"], end_to_end(arrays["gone"], arrays["gone_sizes"]))
        self._counters[:] = arrays["counters"]
        self._counters_sent = arrays["counters_sent"].tobytes()

    def bytes_used(self) -> int:
        """Bytes held in arrays, used or reserved."""
        return self._table.bytes_used()

    def forget(self, keys: Text) -> int:
        """Remove these keys and all that is known about them; gives how many were known. Their tombstones are changes."""
        slots = once(self._table.slots(keys))
        self._free(slots)
        return len(slots)

    def _free(self, slots: Ints) -> None:
        self._release(slots)
        self._table.free(slots)

    def _restore_counters(self, value: bytes | None) -> None:
        size = 1 + self._counters.nbytes
        if value is None or len(value) != size or value[0] != _COUNTERS_VERSION:
            raise StateError(f"packed counters: got {len(value or b'')} bytes, expected version {_COUNTERS_VERSION}, {size} bytes")
        self._counters[:] = np.frombuffer(value, dtype=np.int64, offset=1)

    def _restore_keys(self, keys: Text, values: Text) -> None:
        """keys without what stands before them; absent ones are passed over."""
        kept = np.ones(len(keys), dtype=np.bool_) if keys.valid is None else keys.valid
        if values.valid is not None:
            kept = kept & values.valid
        self._table.reserve(self._table.count + min(int(np.count_nonzero(kept)), self._keys_max + self._sweep_rows))
        wanted = self._table.wanted(keys, kept[:, None])
        self._table.find(wanted, 0, len(keys))
        wrong = self._unpack(values, np.where(kept, wanted.slots, -1))
        if wrong is not None:
            got = values.take(slice(wrong, wrong + 1)).raw()[0] or b""
            form = int.from_bytes(got[:4], "little")
            raise StateError(
                f"packed state: got form {form:#x} and {len(got)} bytes, expected version {VERSION}, form {self._form:#x} "
                "(made by another topology or release?)"
            )
        if not kept.all():
            # A key that was deleted and came again is there; one whose last record is a tombstone is not.
            last, slots = np.zeros(self._table.capacity, dtype=np.int64), once(wanted.slots)
            np.maximum.at(last, np.maximum(wanted.slots, 0), np.where(wanted.slots >= 0, np.arange(len(keys)), 0))
            self._free(slots[~kept[last[slots]]])

    def _pieces(self, updates: Bools) -> Iterator[tuple[int, int]]:
        """The rows of a call, cut after each row that a sweep follows. The caller ends each piece with `_end_piece`."""
        count, left = int(np.count_nonzero(updates)), self._sweep_rows - int(self._counters[w.TURNS]) % self._sweep_rows
        begin = 0
        if count >= left:
            done = np.cumsum(updates)
            for turn in range(left, count + 1, self._sweep_rows):
                end = int(np.searchsorted(done, turn)) + 1
                yield begin, end
                begin = end
        if begin < len(updates):
            yield begin, len(updates)

    def _end_piece(self, turns: int) -> None:
        """Sweep if it is time. turns: the counter before the piece."""
        counters = self._counters
        if counters[w.TURNS] == turns or int(counters[w.TURNS]) % self._sweep_rows:
            return
        clock, swept_at = int(counters[w.CLOCK]), int(counters[w.SWEPT_AT])
        # Looking for idle keys means looking at all: an eighth of the idle time apart is often enough.
        if self._idle_ms is not None and clock - swept_at > self._idle_ms // 8:
            counters[w.SWEPT_AT] = clock
            self._evict(self._table.idle(clock - self._idle_ms))
        if self._table.count > self._keys_max:
            self._evict(self._table.oldest(self._table.count - (self._keys_max - self._keys_max // 16)))

    def _evict(self, slots: Ints) -> None:
        self._free(slots)
        self._counters[w.EVICTED] += len(slots)


def once(slots: Ints) -> Ints:
    """The slots that are not -1, each once, in the order of their first places: what happens to them must not depend on their numbers."""
    slots = slots[slots >= 0]
    order: Ints = slots[np.sort(np.unique(slots, return_index=True)[1])]
    return order
