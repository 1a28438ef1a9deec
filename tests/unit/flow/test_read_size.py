"""How many records are read at once: many small ones, few large ones, never more than the limit admits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.flow.read_size import POLL_BYTES_MAX, POLL_ROWS_MAX, POLL_ROWS_MIN, ROOM_ROWS_MIN, ReadSize
from stream_infer.records import Fetched, Text


def records(count: int, size: int, topic: str = "in") -> Fetched:
    numbers = np.arange(count, dtype=np.int64)
    return Fetched(topic, 0, numbers, numbers, Text.of([b"k"] * count, is_bytes=True), Text.of([bytes(size)] * count, is_bytes=True))


def test_the_limit_of_the_topology_holds_for_a_single_read() -> None:
    assert ReadSize(20_000).rows_max == POLL_ROWS_MAX
    assert ReadSize(3000).rows_max == 3000
    assert ReadSize(1).rows_max == ROOM_ROWS_MIN


def test_large_records_are_read_by_fewer_and_small_ones_by_many_again() -> None:
    size = ReadSize(20_000)
    assert not size.saw([records(10, 100_000)])
    asked = POLL_BYTES_MAX // 100_000
    assert size.rows_max == asked
    few, many = asked // 2, asked - asked // 2
    assert size.saw([records(few, 60_000), records(many, 140_000, "other")])
    mean = (few * 60_000 + many * 140_000) // asked
    assert size.rows_max == POLL_BYTES_MAX // mean
    assert not size.saw([])
    assert size.rows_max == POLL_BYTES_MAX // mean, "a read that gave nothing tells nothing"
    assert not size.saw([records(5, 0)])
    assert size.rows_max == POLL_ROWS_MAX


@given(limit=st.integers(1, 50_000), reads=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 400_000)), max_size=6))
def test_a_read_is_full_when_it_gave_what_was_asked_for(limit: int, reads: list[tuple[int, int]]) -> None:
    size = ReadSize(limit)
    for rows, each in reads:
        asked = size.rows_max
        assert min(POLL_ROWS_MIN, limit) <= asked <= min(POLL_ROWS_MAX, max(limit, ROOM_ROWS_MIN))
        assert size.saw([records(rows, each)] if rows else []) == (rows >= asked)
        if rows and size.rows_max > POLL_ROWS_MIN:
            assert size.rows_max * each <= POLL_BYTES_MAX
