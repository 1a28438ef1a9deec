"""The key table against a dict, with colliding hashes, freed slots and snapshots in between."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.features.keys import NEVER, KeyTable
from stream_infer.records import Text
from stream_infer.state import StateError

KEYS = (
    st.none() | st.sampled_from([b"", b"\0", b"\0\0", b"a" * 8, b"a" * 9, b"x" * 32, b"x" * 33, b"x" * 32 + b"y"]) | st.binary(max_size=3)
)


class Dict:
    """The oracle: a dict from key to slot; lowest turn first on eviction."""

    def __init__(self) -> None:
        self.slot: dict[bytes, int] = {}
        self.turn: dict[bytes, int] = {}
        self.freed: list[int] = []
        self.used = 0

    def insert(self, key: bytes) -> None:
        if key not in self.slot:
            if self.freed:
                self.slot[key] = self.freed.pop()
            else:
                self.slot[key], self.used = self.used, self.used + 1

    def free(self, key: bytes) -> None:
        self.freed.append(self.slot.pop(key))
        self.turn.pop(key, None)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(["insert", "look", "free", "some", "snapshot"]), st.lists(KEYS, max_size=12)), max_size=25),
    st.sampled_from([1, 3, 64]),
)
def test_table_is_a_dict(steps: list[tuple[str, list[bytes | None]]], hash_bits: int) -> None:
    table, oracle, turn = KeyTable(hash_bits=hash_bits), Dict(), 0
    for what, keys in steps:
        if what == "insert":
            slots = table.slots(Text.of(keys), insert=True)
            if hash_bits == 64:
                for key in keys:
                    if key is not None:
                        oracle.insert(key)
            else:
                # With collisions keys may come in in another order; the table's own word decides the slot.
                for key, slot in zip(keys, slots.tolist(), strict=True):
                    if key is not None:
                        assert oracle.slot.setdefault(key, slot) == slot
            distinct = np.unique(slots[slots >= 0])
            table.touch(distinct, np.full(len(distinct), turn), np.arange(turn, turn + len(distinct)))
            turn += len(distinct)
        elif what == "some":
            wanted = np.array([i % 2 == 0 for i in range(len(keys))], dtype=np.bool_)
            in_now = {key for key, ok in zip(keys, wanted.tolist(), strict=True) if ok and key is not None} | set(oracle.slot)
            slots = table.slots(Text.of(keys), insert=wanted)
            assert [slot >= 0 for slot in slots.tolist()] == [key in in_now for key in keys]
            for key, slot in zip(keys, slots.tolist(), strict=True):
                if key is not None and slot >= 0:
                    assert oracle.slot.setdefault(key, slot) == slot
            oracle.used = max([oracle.used, *(slot + 1 for slot in oracle.slot.values())])
            oracle.freed = [slot for slot in oracle.freed if slot not in oracle.slot.values()]
        elif what == "free":
            live = list(dict.fromkeys(key for key in keys if key in oracle.slot))
            table.free(np.array([oracle.slot[key] for key in live if key is not None], dtype=np.int64))
            for key in live:
                assert key is not None
                oracle.free(key)
        elif what == "snapshot":
            arrays = table.snapshot()
            table = KeyTable(hash_bits=hash_bits)
            table.load(arrays)
        assert table.slots(Text.of(keys)).tolist() == [-1 if key is None else oracle.slot.get(key, -1) for key in keys]
        assert table.count == len(oracle.slot)
        assert len(set(oracle.slot.values())) == len(oracle.slot)
        assert table.keys(table.live()) == sorted(oracle.slot, key=oracle.slot.__getitem__)


def test_many_keys_through_growth_and_eviction() -> None:
    table, size = KeyTable(), 20_000
    keys = Text.of([b"key%d" % i for i in range(size)])
    for part in np.array_split(np.arange(size), 7):
        slots = table.slots(keys.take(part), insert=True)
        assert slots.tolist() == part.tolist()
        table.touch(slots, part, part)

    assert table.oldest(3).tolist() == [0, 1, 2]
    assert table.idle(10_000).tolist() == list(range(10_000))
    table.free(table.idle(10_000))

    expected = np.where(np.arange(size) < 10_000, -1, np.arange(size))
    assert table.slots(keys).tolist() == expected.tolist()
    assert (table.times[:10_000] == NEVER).all()
    again = table.slots(keys.take(np.arange(5)), insert=True)
    assert again.tolist() == [9999, 9998, 9997, 9996, 9995]  # freed slots first, the last one first
    for _ in range(20):  # freed places and freed bytes are swept now and then
        table.free(again)
        again = table.slots(keys.take(np.arange(5)), insert=True)
    assert table.slots(keys.take(np.arange(10_000, size))).tolist() == list(range(10_000, size))
    assert table.bytes_used() < 200 * table.capacity


def test_changes_name_each_key_once() -> None:
    table = KeyTable()
    slots = table.slots(Text.of([b"a", b"b", b"c"]), insert=True)
    table.touch(slots, slots, slots)
    table.free(slots[:2])
    table.touch(table.slots(Text.of([b"a"]), insert=True), np.array([9]), np.array([9]))

    changed, gone = table.take_changes()

    assert sorted(table.keys(changed)) == [b"a", b"c"]
    assert gone == [b"b"]
    assert [list(part) for part in table.take_changes()] == [[], []]


def test_marks_survive_a_snapshot() -> None:
    table, other = KeyTable(), KeyTable()
    slots = table.slots(Text.of([b"a", b"b"]), insert=True)
    table.touch(slots[1:], slots[1:], slots[1:])
    table.free(slots[:1])
    other.load(table.snapshot())

    assert [list(part) for part in other.take_changes()] == [[1], [b"a"]]


def test_torn_snapshot_is_refused() -> None:
    table = KeyTable()
    table.slots(Text.of([b"a", b"b"]), insert=True)
    arrays = table.snapshot()
    with pytest.raises(StateError, match="2 slots"):
        table.load(arrays | {"slots": np.array([0, 5])})
    with pytest.raises(StateError, match="bytes of keys"):
        table.load(arrays | {"sizes": np.array([1, 2])})
