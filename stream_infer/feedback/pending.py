"""feedback.pending: the decisions that wait for feedback, and the marks of those that are over. rows → *pending* → join.

Slots of one structured array, found through a dict from the prediction's id. due_at of a slot says when something happens to
it next: while it is open, the order key from which on it is final; once it is closed, the last order key at which a repeat is still
known as one.
"""

from __future__ import annotations

import numpy as np

from stream_infer.feedback.rows import Objects, Rows, decision_dtype, objects
from stream_infer.records import Bools, Hashes, Ints
from stream_infer.state import Array, StateError, pack_rows

FORMAT = 1
NEVER = int(np.iinfo(np.int64).max)


class Pending:
    """Decisions by id. rows: structured[slots]; due_at: int64[slots]; ids: object[slots]; seen: per slot the names of feedback counted."""

    def __init__(self, wait_ms_max: int, features: int, *, segmented: bool = False) -> None:
        self.wait_ms_max = wait_ms_max
        self.rows: Array = np.zeros(16, dtype=decision_dtype(features, segmented=segmented))
        self.due_at: Ints = np.full(16, NEVER)
        self.ids: Objects = objects([None] * 16)
        self.seen: list[list[int] | None] = [None] * 16
        self._slot: dict[bytes, int] = {}
        self._free = list(range(15, -1, -1))
        self._dirty: Bools = np.zeros(16, dtype=np.bool_)
        self._forgotten: dict[bytes, None] = {}
        self._closed_size = self.rows.dtype.itemsize - 4 * features

    def __len__(self) -> int:
        return len(self._slot)

    def find(self, ids: Objects) -> Ints:
        """int64[n]: the slot of each id, -1 where it is unknown."""
        get = self._slot.get
        return np.array([get(key, -1) for key in ids], dtype=np.int64)

    def open(self, decisions: Rows, slots: Ints) -> int:
        """Take up decisions in order; of several with one id the first. slots: as found. Returns how many were repeats."""
        fresh = decisions.take(slots < 0)
        place: dict[bytes, int] = {}
        for i, key in enumerate(fresh.ids):
            place.setdefault(key, i)
        if len(place) < len(fresh):
            fresh = fresh.take(np.array(list(place.values())))
        self.touch(self._add(fresh.fixed, fresh.ids))
        return len(decisions) - len(fresh)

    def first_expired(self, slots: Ints, order_key: Ints) -> int:
        """The least order key of rows that came when the decision in their slot (-1: none) was already to be forgotten."""
        gone = order_key[(slots >= 0) & (order_key > self._expiry(slots))]
        return int(gone.min()) if len(gone) else NEVER

    def has_seen(self, slots: Ints, names: Hashes) -> Bools:
        """bool[n]: feedback of this name has counted for the decision in this slot."""
        return np.array(
            [name in (self.seen[slot] or ()) for slot, name in zip(slots.tolist(), names.tolist(), strict=True)], dtype=np.bool_
        )

    def due(self, upto: int) -> Ints:
        """Slots of open decisions that are final at `upto`, in the order in which they became so, then of arrival."""
        slots = np.flatnonzero(self.due_at <= upto)
        slots = slots[self.rows["closed"][slots] == 0]
        order: Ints = slots[np.lexsort((self.rows["sequence"][slots], self.due_at[slots]))]
        return order

    def close(self, slots: Ints) -> None:
        """From now on these only remember that they were."""
        self.rows["closed"][slots] = 1
        self.due_at[slots] = self._expiry(slots)
        self.touch(slots)

    def forget(self, upto: int) -> None:
        """Free the slots of closed decisions whose memory ends by `upto`."""
        slots = self._by_sequence(np.flatnonzero(self.due_at <= upto))
        self._forgotten.update(dict.fromkeys(self.ids[slots]))
        self._remove(slots.tolist())

    def touch(self, slots: Ints) -> None:
        """These must be written with the next changes."""
        self._dirty[slots] = True

    def changes(self) -> tuple[list[bytes], list[bytes | None]]:
        """(ids, packed decisions) touched since the last call; None: forgotten."""
        gone = [key for key in self._forgotten if key not in self._slot]
        slots = self._by_sequence(np.flatnonzero(self._dirty))
        self._dirty[slots] = False
        self._forgotten = {}
        return [*gone, *self.ids[slots]], [*[None] * len(gone), *self.pack(slots)]

    def pack(self, slots: Ints) -> list[bytes]:
        """Format byte, the row (without features once closed), then 8 bytes per feedback row counted."""
        rows = self.rows[slots]
        out = pack_rows(FORMAT, rows)
        closed, size = rows["closed"].tolist(), 1 + self._closed_size
        for place, slot in enumerate(slots.tolist()):
            seen = self.seen[slot]
            if closed[place]:
                out[place] = out[place][:size]
            if seen is not None:
                out[place] += b"".join([name.to_bytes(8, "little") for name in seen])
        return out

    def restore(self, ids: list[bytes], values: list[bytes | None]) -> None:
        """The inverse of pack, over whatever is there. StateError for values of another format or width."""
        self._remove([self._slot[key] for key in ids if key in self._slot])
        full = self.rows.dtype.itemsize
        kept, fixed, names = [], [], []
        for key, value in zip(ids, values, strict=True):
            if value is None:
                continue
            size = self._closed_size if value[1:2] == b"\x01" else full
            if value[:1] != bytes([FORMAT]) or len(value) < 1 + size or (len(value) - 1 - size) % 8:
                raise StateError(
                    f"pending decision {key!r}: got {len(value)} bytes, expected format {FORMAT}, {1 + size} bytes and 8 per feedback row"
                )
            kept.append(key)
            fixed.append(value[1 : 1 + size] + bytes(full - size))
            names.append(np.frombuffer(value, dtype="<u8", offset=1 + size).tolist())
        rows = np.frombuffer(b"".join(fixed), dtype=self.rows.dtype)
        if rows["rows"].tolist() != [len(seen) for seen in names]:
            raise StateError("pending decisions were written with another number of features")
        slots = self._add(rows, objects(kept))
        self.due_at[slots] = np.where(rows["closed"] == 1, self._expiry(slots), self.due_at[slots])
        for slot, seen in zip(slots.tolist(), names, strict=True):
            self.seen[slot] = seen or None

    def slots(self) -> Ints:
        """Those in use, in the order in which their decisions were taken up."""
        return np.array(list(self._slot.values()), dtype=np.int64)

    def bytes_used(self) -> int:
        """Arrays, and some 200 bytes per decision for its id and its place in the dict."""
        return self.rows.nbytes + self.due_at.nbytes + 16 * len(self.ids) + 200 * len(self._slot)

    def _final(self, rows: Array) -> Ints:
        """Final as soon as everything up to the end of the wait has been seen; a decision that is itself late, once it is there."""
        out: Ints = np.maximum(rows["event_time"] + self.wait_ms_max + 1, rows["order_key"])
        return out

    def _by_sequence(self, slots: Ints) -> Ints:
        """In the order in which their decisions came: which slot one got depends on where its state was read from."""
        order: Ints = slots[np.argsort(self.rows["sequence"][slots], kind="stable")]
        return order

    def _expiry(self, slots: Ints) -> Ints:
        """A closed decision is remembered for another wait_ms_max, counted from when it was final."""
        return self._final(self.rows[["event_time", "order_key"]][slots]) + self.wait_ms_max

    def _add(self, fixed: Array, ids: Objects) -> Ints:
        while len(self._free) < len(ids):
            self._grow()
        taken = self._free[: -len(ids) - 1 : -1]
        del self._free[len(self._free) - len(ids) :]
        slots = np.array(taken, dtype=np.int64)
        self._slot.update(zip(ids, taken, strict=True))
        self.rows[slots] = fixed
        self.ids[slots] = ids
        self.due_at[slots] = self._final(fixed)
        return slots

    def _remove(self, slots: list[int]) -> None:
        for slot in slots:
            del self._slot[self.ids[slot]]
            self.seen[slot] = None
        self.ids[slots] = None
        self.due_at[slots] = NEVER
        self._dirty[slots] = False
        self._free += slots

    def _grow(self) -> None:
        size = len(self.rows)
        self.rows = np.concatenate([self.rows, np.zeros(size, dtype=self.rows.dtype)])
        self.due_at = np.concatenate([self.due_at, np.full(size, NEVER)])
        self.ids = np.concatenate([self.ids, objects([None] * size)])
        self._dirty = np.concatenate([self._dirty, np.zeros(size, dtype=np.bool_)])
        self.seen += [None] * size
        self._free = list(range(2 * size - 1, size - 1, -1)) + self._free
