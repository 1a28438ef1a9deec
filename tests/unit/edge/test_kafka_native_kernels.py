from __future__ import annotations

import ctypes
from collections import Counter
from itertools import groupby

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.edge import kafka_native_kernels as kernels

rows = st.lists(
    st.tuples(
        st.sampled_from([0, -185, 3]),  # error
        st.integers(1, 2),  # topic
        st.integers(0, 2),  # partition
        st.none() | st.binary(max_size=20),
        st.none() | st.binary(max_size=20),
        st.integers(0, 1 << 40),  # timestamp
    ),
    max_size=40,
)
Row = tuple[int, int, int, bytes | None, bytes | None, int]


class Message(ctypes.Structure):
    """rd_kafka_message_t, as librdkafka's header spells it."""

    _fields_ = (
        ("err", ctypes.c_int),
        ("rkt", ctypes.c_void_p),
        ("partition", ctypes.c_int32),
        ("payload", ctypes.c_char_p),
        ("len", ctypes.c_size_t),
        ("key", ctypes.c_char_p),
        ("key_len", ctypes.c_size_t),
        ("offset", ctypes.c_int64),
        ("private", ctypes.c_void_p),
    )


@given(rows)
def test_columns_hold_what_the_messages_held_and_each_message_ends_once(table: list[Row]) -> None:
    """Against a loop over the rows. What librdkafka would do with a message is written down by Python functions in its place."""
    held = [
        Message(err, topic * 4096, partition, value, len(value or b""), key, len(key or b""), offset)
        for offset, (err, topic, partition, key, value, _) in enumerate(table)
    ]
    places = {ctypes.addressof(message): offset for offset, message in enumerate(held)}
    ended: Counter[int] = Counter()
    timestamp = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(lambda place, _: table[places[place]][5])
    destroy = ctypes.CFUNCTYPE(None, ctypes.c_int64)(lambda place: ended.update([places[place]]))

    messages = np.array(list(places), dtype=np.int64)
    group, groups = np.empty(len(table), np.int64), np.empty((len(table), kernels.GROUP_WIDTH), np.int64)
    known = kernels.sort(messages, len(table), group, groups)
    count = sum(not row[0] for row in table)
    spans, valid = np.empty((6, count), np.int64), np.empty((2, count), np.bool_)
    blob = np.empty(sum(len(row[3] or b"") + len(row[4] or b"") for row in table if not row[0]), np.uint8)
    functions = [ctypes.cast(function, ctypes.c_void_p).value or 0 for function in (timestamp, destroy)]
    kernels.fill(messages, len(table), group, groups[:known], known, spans, valid, blob, *functions)

    good = [(offset, *row) for offset, row in enumerate(table) if not row[0]]
    assert ended == Counter(row[0] for row in good)
    assert [place for place, number in enumerate(group.tolist()) if number < 0] == [n for n, row in enumerate(table) if row[0]]
    firsts = {place: n for n, place in reversed([(n, row[2:4]) for n, row in enumerate(good)])}
    ordered = sorted(good, key=lambda row: (firsts[row[2:4]], row[0]))
    expected = {place: list(part) for place, part in groupby(ordered, key=lambda row: row[2:4])}
    first = byte = 0
    assert known == len(expected)
    for (topic, number, length, key_bytes, value_bytes), (place, part) in zip(groups[:known].tolist(), expected.items(), strict=True):
        assert (topic // 4096, number) == place
        mine = spans[:, first : first + length]
        assert mine[kernels.OFFSETS].tolist() == [row[0] for row in part]
        assert mine[kernels.TIMESTAMPS].tolist() == [row[6] for row in part]
        keys, values = blob[byte : byte + key_bytes].tobytes(), blob[byte + key_bytes : byte + key_bytes + value_bytes].tobytes()
        there = valid[:, first : first + length].tolist()
        for n, (_, _, _, _, key, value, _) in enumerate(part):
            start, size = mine[kernels.KEY_START, n], mine[kernels.KEY_SIZE, n]
            assert (keys[start : start + size] if there[0][n] else None) == key
            start, size = mine[kernels.VALUE_START, n], mine[kernels.VALUE_SIZE, n]
            assert (values[start : start + size] if there[1][n] else None) == value
        first, byte = first + length, byte + key_bytes + value_bytes
    assert (first, byte) == (count, len(blob))


@given(st.lists(st.tuples(st.sampled_from([0, -185, 3]), st.integers(1, 50)), max_size=40), st.integers(0, 50))
def test_reports_are_counted_up_to_a_mark(table: list[tuple[int, int]], mark: int) -> None:
    held = [Message(err=err, private=number) for err, number in table]
    places = np.array([ctypes.addressof(message) for message in held], dtype=np.int64)
    failed = np.zeros(len(held), dtype=np.int64)
    below, faults = kernels.settled(places, len(held), mark, failed)
    assert below == sum(number <= mark for _, number in table)
    assert failed[:faults].tolist() == [err for err, _ in table if err]
