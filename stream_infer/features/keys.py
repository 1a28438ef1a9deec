"""features.keys: which slot of the state arrays belongs to a key. hashing, state → *keys* → windows, table.

An open-addressing table in numpy: `_places` holds slots, a key's search begins at its hash and goes on place by place. A
whole column of keys walks together, one numpy step per probe. Equal hashes are not taken for equal keys: the bytes kept
for the changelog are compared too, and a key that differs walks on.

Slots are handed out in the order in which keys first came, freed ones first, so that they depend on the log alone.
Whoever owns the state arrays grows them to `capacity`.
"""

from __future__ import annotations

import numpy as np

from stream_infer.hashing import hash64, words_at
from stream_infer.records import Bools, Hashes, Ints, Text
from stream_infer.state import Array, StateError, gather_bytes, spans

NEVER = -(1 << 60)  # the time of a slot that was never updated
_EMPTY, _FREED = -1, -2
_SPARE = 8  # bytes behind the last key, so that words can be read across its end


class KeyTable:
    """Keys (bytes) ↔ slots (0, 1, …), with each slot's last update and a mark if it changed.

    times: int64[capacity], event time of a slot's newest update, NEVER if none; turns: int64[capacity], the number of the
    row that updated it last, which orders keys from least to most recently updated without ties.
    hash_bits: fewer than 64 make collisions, for tests.
    """

    def __init__(self, *, hash_bits: int = 64) -> None:
        self._hash_mask = np.uint64((1 << hash_bits) - 1)
        self._clear()

    def _clear(self) -> None:
        self.capacity = 0
        self.count = 0
        self.times: Ints = np.zeros(0, dtype=np.int64)
        self.turns: Ints = np.zeros(0, dtype=np.int64)
        self._hashes: Hashes = np.zeros(0, dtype=np.uint64)
        self._start: Ints = np.zeros(0, dtype=np.int64)
        self._size: Ints = np.zeros(0, dtype=np.int64)
        self._dirty: Bools = np.zeros(0, dtype=np.bool_)
        self._live: Bools = np.zeros(0, dtype=np.bool_)
        self._freed: list[int] = []  # slots to hand out again, the last one first
        self._used = 0  # slots ever handed out
        self._blob = np.zeros(_SPARE, dtype=np.uint8)
        self._blob_used = 0
        self._blob_live = 0
        self._gone: dict[bytes, None] = {}  # keys freed since the last `take_changes`, in order
        self._places = np.full(64, _EMPTY, dtype=np.int32)
        self._places_taken = 0  # not empty: with a slot, or freed since the last rebuild
        self._grow(8)

    def slots(self, keys: Text, insert: bool | Bools = False) -> Ints:
        """The slot of each key: int64[n], -1 for absent rows and for keys that are not there and not inserted.

        insert: which rows bring their key in if it is new (bool[n], or one answer for all). A key that one row inserts
        has its slot in all rows of the call.
        """
        count = len(keys)
        found = np.full(count, -1, dtype=np.int64)
        rows = np.arange(count, dtype=np.int64) if keys.valid is None else keys.valid.nonzero()[0]
        if not len(rows):
            return found
        hashes = hash64(keys) & self._hash_mask
        found[rows] = self._find(keys, hashes, rows)
        wanted = np.broadcast_to(np.asarray(insert, dtype=np.bool_), (count,))
        missing = rows[found[rows] < 0]
        new = missing[wanted[missing]]
        while len(new):
            # One row per new hash goes in; keys that differ but share the hash come in the next round.
            first = np.sort(new[np.unique(hashes[new], return_index=True)[1]])
            self._insert(keys.take(first), hashes[first])
            found[missing] = self._find(keys, hashes, missing)
            missing = missing[found[missing] < 0]
            new = missing[wanted[missing]]
        return found

    def touch(self, slots: Ints, times: Ints, turns: Ints) -> None:
        """Note updates. slots: distinct; times: of the newest update; turns: number of the row that updated last."""
        self.times[slots] = times
        self.turns[slots] = turns
        self._dirty[slots] = True

    def free(self, slots: Ints) -> None:
        """Forget the keys in these slots (distinct and live), in this order; the slots are handed out again."""
        if not len(slots):
            return
        self._gone |= dict.fromkeys(self.keys(slots))
        at = self._place_of(slots)
        self._places[at] = _FREED
        self._live[slots] = False
        self._dirty[slots] = False
        self.times[slots] = NEVER
        self.count -= len(slots)
        self._blob[spans(self._start[slots], self._size[slots])] = 0  # a forgotten key is not to be found in memory either
        self._blob_live -= int(self._size[slots].sum())
        self._freed.extend(slots.tolist())

    def idle(self, before: int) -> Ints:
        """Slots whose newest update is older than `before`, least recently updated first."""
        return self._by_turn(np.flatnonzero(self._live & (self.times < before)))

    def oldest(self, count: int) -> Ints:
        """The `count` least recently updated slots, in that order."""
        return self._by_turn(self.live())[:count]

    def live(self) -> Ints:
        """All slots in use, ascending."""
        return np.flatnonzero(self._live)

    def keys(self, slots: Ints) -> list[bytes]:
        """The keys in these slots."""
        view, starts = self._blob, self._start[slots]
        return [view[a:b].tobytes() for a, b in zip(starts.tolist(), (starts + self._size[slots]).tolist(), strict=True)]

    def take_changes(self) -> tuple[Ints, list[bytes]]:
        """Slots touched since the last call, ascending, and keys freed since then that are not back; clears both marks."""
        changed = np.flatnonzero(self._dirty)
        self._dirty[changed] = False
        gone = list(self._gone)
        self._gone = {}
        if gone:
            back = self.slots(Text.of(gone)) >= 0
            gone = [key for key, is_back in zip(gone, back.tolist(), strict=True) if not is_back]
        return changed, gone

    def clear_changes(self) -> None:
        """Forget all marks: what is here came from the changelog."""
        self._dirty[:] = False
        self._gone = {}

    def snapshot(self) -> dict[str, Array]:
        """All keys, slots, times and marks as arrays."""
        live = self.live()
        gone = Text.of(self._gone)
        return {
            "slots": live,
            "blob": gather_bytes(self._blob, self._start[live], self._size[live]),
            "sizes": self._size[live],
            "times": self.times[live],
            "turns": self.turns[live],
            "dirty": self._dirty[live],
            "freed": np.array(self._freed, dtype=np.int64),
            "gone_blob": gone.blob.copy(),
            "gone_sizes": gone.size,
        }

    def load(self, arrays: dict[str, Array]) -> None:
        """Become the table that gave the snapshot, every key in its old slot. StateError if it is torn."""
        slots, sizes, freed = arrays["slots"], arrays["sizes"], arrays["freed"]
        used = len(slots) + len(freed)
        if not np.array_equal(np.sort(np.concatenate([slots, freed])), np.arange(used)):
            raise StateError(f"snapshot of keys: got {len(slots)} slots and {len(freed)} freed ones, expected each of 0 … {used - 1} once")
        if int(sizes.sum()) != len(arrays["blob"]):
            raise StateError(f"snapshot of keys: got {len(arrays['blob'])} bytes of keys, expected {int(sizes.sum())}")
        self._clear()
        self._grow(used)
        text = Text(arrays["blob"], np.cumsum(sizes) - sizes, sizes, is_bytes=True)
        self._used = used
        self._settle(text, hash64(text) & self._hash_mask, slots)
        self.times[slots], self.turns[slots], self._dirty[slots] = arrays["times"], arrays["turns"], arrays["dirty"]
        self._freed = freed.tolist()
        gone = arrays["gone_sizes"]
        self._gone = dict.fromkeys(key or b"" for key in Text(arrays["gone_blob"], np.cumsum(gone) - gone, gone).raw())

    def bytes_used(self) -> int:
        """Bytes held in arrays."""
        arrays = (self.times, self.turns, self._hashes, self._start, self._size, self._dirty, self._live, self._blob, self._places)
        return sum(array.nbytes for array in arrays)

    def _by_turn(self, slots: Ints) -> Ints:
        return slots[np.argsort(self.turns[slots], kind="stable")]

    def _find(self, keys: Text, hashes: Hashes, rows: Ints) -> Ints:
        """Slots of the keys in these rows, -1 where not there."""
        mask = len(self._places) - 1
        found = np.full(len(rows), -1, dtype=np.int64)
        wanted = hashes[rows]
        open_ = np.arange(len(rows), dtype=np.int64)  # searches still going on, as places in `rows`
        at = (wanted & np.uint64(mask)).astype(np.int64)
        stopped = at.copy()  # where each search stopped last
        while len(open_):
            begun = open_
            while len(open_):
                slot = self._places[at].astype(np.int64)
                # Negative slots look at some hash or other, and do not count.
                hit = (self._hashes[slot] == wanted[open_]) & (slot >= 0)
                found[open_[hit]], stopped[open_[hit]] = slot[hit], at[hit]
                on = ~hit & (slot != _EMPTY)
                open_, at = open_[on], (at[on] + 1) & mask
            # Bytes are compared once the hashes have met; whose bytes differ goes on behind the place where it stopped.
            met = begun[found[begun] >= 0]
            if not len(met):
                break
            open_ = met[~self._same(keys, rows[met], found[met])]
            found[open_] = -1
            at = (stopped[open_] + 1) & mask
        return found

    def _same(self, keys: Text, rows: Ints, slots: Ints) -> Bools:
        """Whether the keys in `rows` have the very bytes of the keys in `slots`."""
        size = keys.size[rows]
        same: Bools = size == self._size[slots]
        theirs, mine = self._start[slots], keys.start[rows]
        longest = int(size.max())
        for offset in range(0, min(longest, 32), 8):
            left = np.maximum(size - offset, 0)
            step = np.minimum(offset, size)  # a span that has ended is read at its end, with nothing left
            same &= words_at(self._blob, theirs + step, left) == words_at(keys.blob, mine + step, left)
        if longest > 32:
            # Long keys are rare: compare what is left of them as bytes, one by one.
            for i in np.flatnonzero(same & (size > 32)).tolist():
                a, b, n = int(theirs[i]), int(mine[i]), int(size[i])
                same[i] = np.array_equal(self._blob[a : a + n], keys.blob[b : b + n])
        return same

    def _insert(self, keys: Text, hashes: Hashes) -> None:
        """Give slots to keys that are not there and have distinct hashes, in their order."""
        count = len(keys)
        again = [self._freed.pop() for _ in range(min(count, len(self._freed)))]
        fresh = count - len(again)
        slots = np.concatenate([np.array(again, dtype=np.int64), np.arange(self._used, self._used + fresh, dtype=np.int64)])
        self._used += fresh
        if self._used > self.capacity:
            self._grow(self._used)
        self._settle(keys, hashes, slots)

    def _settle(self, keys: Text, hashes: Hashes, slots: Ints) -> None:
        """Write keys that are not there into these slots, and the slots into places."""
        self._append_bytes(keys, slots)
        self._hashes[slots] = hashes
        self._live[slots] = True
        self.times[slots] = NEVER
        self.count += len(slots)
        if 4 * (self._places_taken + len(slots)) > len(self._places):
            self._rebuild()
        else:
            self._claim(slots)

    def _append_bytes(self, keys: Text, slots: Ints) -> None:
        total = int(keys.size.sum())
        if self._blob_used + total + _SPARE > len(self._blob):
            self._pack_blob(total)
        self._blob[self._blob_used : self._blob_used + total] = gather_bytes(keys.blob, keys.start, keys.size)
        self._start[slots] = self._blob_used + np.cumsum(keys.size) - keys.size
        self._size[slots] = keys.size
        self._blob_used += total
        self._blob_live += total

    def _pack_blob(self, extra: int) -> None:
        """Leave freed keys' bytes behind and make room: twice what is in use, so that this happens seldom."""
        live = self.live()
        size = self._size[live]
        blob = np.zeros(2 * (self._blob_live + extra) + _SPARE, dtype=np.uint8)
        blob[: self._blob_live] = gather_bytes(self._blob, self._start[live], size)
        self._start[live] = np.cumsum(size) - size
        self._blob, self._blob_used = blob, self._blob_live

    def _grow(self, needed: int) -> None:
        capacity = max(8, 1 << (needed - 1).bit_length()) if needed else 8
        more = capacity - self.capacity
        if more <= 0:
            return
        self.times = np.concatenate([self.times, np.full(more, NEVER, dtype=np.int64)])
        self.turns, self._hashes, self._start, self._size, self._dirty, self._live = (
            np.concatenate([old, np.zeros(more, dtype=old.dtype)])
            for old in (self.turns, self._hashes, self._start, self._size, self._dirty, self._live)
        )
        self.capacity = capacity

    def _rebuild(self) -> None:
        """Lay out all live slots anew, with at most an eighth of the places taken: short searches mean few numpy steps."""
        self._places = np.full(max(64, 8 * (1 << max(self.count - 1, 1).bit_length())), _EMPTY, dtype=np.int32)
        self._places_taken = 0
        self._claim(self.live())

    def _claim(self, slots: Ints) -> None:
        """Put slots whose keys are not there into the first place open to them. Of several at one place the last one gets it."""
        mask = len(self._places) - 1
        at = (self._hashes[slots] & np.uint64(mask)).astype(np.int64)
        while len(slots):
            # Freed places are not used again: a rebuild sweeps them, and `_places_taken` stays a plain count.
            is_open = self._places[at] == _EMPTY
            self._places[at[is_open]] = slots[is_open]
            won = self._places[at] == slots
            self._places_taken += int(np.count_nonzero(won))
            slots, at = slots[~won], (at[~won] + 1) & mask

    def _place_of(self, slots: Ints) -> Ints:
        mask = len(self._places) - 1
        at = (self._hashes[slots] & np.uint64(mask)).astype(np.int64)
        wrong = np.flatnonzero(self._places[at] != slots)
        while len(wrong):
            at[wrong] = (at[wrong] + 1) & mask
            wrong = wrong[self._places[at[wrong]] != slots[wrong]]
        return at
