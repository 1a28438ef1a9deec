"""The key table against a dict, with colliding hashes and freed slots in between."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.features.keys import KeyTable
from stream_infer.features.words import CHANGED, EVENT, LISTED, MARKS, NEVER, ROW, TURN
from stream_infer.records import Ints, Text

KEYS = (
    st.none()
    | st.sampled_from([b"", b"\0", b"\0\0", b"a" * 8, b"a" * 9, b"x" * 24, b"x" * 25, b"x" * 24 + b"y", b"x" * 80])
    | st.binary(max_size=3)
)


class Dict:
    """The oracle: a dict from key to slot."""

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


def touch(table: KeyTable, slots: Ints, times: Ints, turns: Ints) -> None:
    """What the loops of a table's owner do with rows that they update."""
    table.column(EVENT)[slots], table.column(TURN)[slots] = times, turns
    for slot in slots[table.column(MARKS)[slots] & LISTED == 0].tolist():
        table.column(MARKS)[slot] |= LISTED
        table.listed[table.counts[CHANGED]] = slot
        table.counts[CHANGED] += 1


def first_come(slots: Ints) -> Ints:
    """The slots, each once."""
    return np.array(list(dict.fromkeys(slot for slot in slots.tolist() if slot >= 0)), dtype=np.int64)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(["insert", "look", "free", "some", "marks"]), st.lists(KEYS, max_size=12)), max_size=25),
    st.sampled_from([1, 3, 64]),
    st.sampled_from([0, 1, 9]),
)
def test_table_is_a_dict(steps: list[tuple[str, list[bytes | None]]], hash_bits: int, words: int) -> None:
    table, oracle, changed, gone = KeyTable(words, hash_bits=hash_bits), Dict(), {}, {}
    for what, keys in steps:
        if what in ("insert", "some"):
            # A row finds what earlier rows brought in, and its own key if it brings it.
            insert = [what == "insert" or i % 2 == 0 for i in range(len(keys))]
            expected = []
            for key, brings in zip(keys, insert, strict=True):
                if key is not None and brings and key not in oracle.slot:
                    oracle.insert(key)
                    assert (table.column(EVENT)[oracle.slot[key]] == NEVER) if oracle.slot[key] < len(table.column(EVENT)) else True
                expected.append(-1 if key is None else oracle.slot.get(key, -1))
            wanted = table.wanted(Text.of(keys), np.array(insert, dtype=np.bool_)[:, None])
            half = len(keys) // 2
            table.find(wanted, 0, half)
            table.find(wanted, half, len(keys))
            assert wanted.slots.tolist() == expected
            came = first_come(wanted.slots)
            for word in range(words):
                table.column(ROW + word)[came] = came + word
            touch(table, came, came, came)
            changed |= dict.fromkeys(key for key, slot in zip(keys, expected, strict=True) if slot >= 0)
        elif what == "free":
            live = list(dict.fromkeys(key for key in keys if key in oracle.slot))
            table.free(np.array([oracle.slot[key] for key in live if key is not None], dtype=np.int64))
            for key in live:
                assert key is not None
                oracle.free(key)
                gone[key] = None
        elif what == "marks":
            slots, left = table.take_changes(ord("k"))
            assert sorted(table.keys(slots).raw()) == sorted(key for key in changed if key in oracle.slot)
            assert left.raw() == [b"k" + key for key in gone if key not in oracle.slot]
            changed, gone = {}, {}
        assert table.slots(Text.of(keys)).tolist() == [-1 if key is None else oracle.slot.get(key, -1) for key in keys]
        assert table.count == len(oracle.slot)
        assert len(set(oracle.slot.values())) == len(oracle.slot)
        live_slots = table.live()
        assert table.keys(live_slots).raw() == sorted(oracle.slot, key=oracle.slot.__getitem__)
        for word in range(words):
            assert table.column(ROW + word)[live_slots].tolist() == (live_slots + word).tolist()
        assert set(table.column(EVENT)[np.setdiff1d(np.arange(oracle.used), live_slots)].tolist()) <= {NEVER}


def test_many_keys_through_growth_and_eviction() -> None:
    table, size = KeyTable(), 20_000
    keys = Text.of([b"key%d" % i for i in range(size)])
    for part in np.array_split(np.arange(size), 7):
        slots = table.slots(keys.take(part), insert=True)
        assert slots.tolist() == part.tolist()
        touch(table, slots, part, part)

    assert table.oldest(3).tolist() == [0, 1, 2]
    assert table.oldest(2 * size).tolist() == list(range(size))
    assert table.idle(10_000).tolist() == list(range(10_000))
    table.free(table.idle(10_000))

    expected = np.where(np.arange(size) < 10_000, -1, np.arange(size))
    assert table.slots(keys).tolist() == expected.tolist()
    assert (table.column(EVENT)[:10_000] == NEVER).all()
    again = table.slots(keys.take(np.arange(5)), insert=True)
    assert again.tolist() == [9999, 9998, 9997, 9996, 9995]  # freed slots first, the last one first
    for _ in range(20):
        table.free(again)
        again = table.slots(keys.take(np.arange(5)), insert=True)
    assert table.slots(keys.take(np.arange(10_000, size))).tolist() == list(range(10_000, size))
    table.take_changes()
    assert table.bytes_used() < 200 * table.capacity


def test_a_row_is_a_line_of_memory() -> None:
    table = KeyTable(9)
    table.slots(Text.of(str(i) for i in range(1000)), insert=True)

    assert table.stride == 24
    assert table.rows.ctypes.data % 64 == 0


def test_changes_name_each_key_once() -> None:
    table = KeyTable()
    slots = table.slots(Text.of([b"a", b"b", b"c"]), insert=True)
    touch(table, slots, slots, slots)
    table.free(slots[:2])
    touch(table, table.slots(Text.of([b"a"]), insert=True), np.array([9]), np.array([9]))

    changed, gone = table.take_changes()

    assert sorted(table.keys(changed).raw()) == [b"a", b"c"]
    assert gone.raw() == [b"b"]
    assert [len(part) for part in table.take_changes()] == [0, 0]


def test_marks_can_be_set() -> None:
    table, other = KeyTable(), KeyTable()
    slots = table.slots(Text.of([b"a", b"b", b"c"]), insert=True)
    touch(table, slots[::-1], slots, slots)
    table.free(slots[:1])
    other.slots(Text.of([b"x", b"b", b"c"]), insert=True)
    other.set_changes(*table.changed())

    changed, gone = other.take_changes()

    assert other.keys(changed).raw() == [b"c", b"b"]
    assert gone.raw() == [b"a"]
