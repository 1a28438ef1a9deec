"""Addresses of rows against an f-string per row."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.flow.addresses import addresses

PLACES = st.lists(st.tuples(st.integers(0, 10**5) | st.sampled_from([9, 10, 99, 100]), st.integers(0, 2**63 - 1) | st.integers(0, 120)))


@given(st.text(max_size=8), PLACES)
def test_addresses_are_what_a_loop_writes(topic: str, places: list[tuple[int, int]]) -> None:
    partition, offsets = (np.array([place[number] for place in places], dtype=np.int64) for number in (0, 1))

    made = addresses(topic, partition, offsets)

    assert made.to_list() == [f"{topic}-{p}-{o}" for p, o in places]
    assert made.start.tolist() == (np.cumsum(made.size) - made.size).tolist()
