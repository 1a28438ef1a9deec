"""Partitions of keys against the slow murmur2, and against vectors of Kafka's own tests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.flow.partitioning import partitions_of
from stream_infer.records import Text
from stream_infer.sim.murmur2 import partition_of


@given(st.lists(st.none() | st.binary(max_size=20)), st.integers(1, 100))
def test_partitions_are_what_a_loop_finds(keys: list[bytes | None], partitions: int) -> None:
    found = partitions_of(Text.of(keys, is_bytes=True), partitions)

    assert found.tolist() == [0 if key is None else partition_of(key, partitions) for key in keys]


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_hashes_are_those_of_kafkas_own_tests(key: bytes, hashed: int) -> None:
    assert partitions_of(Text.of([key], is_bytes=True), 2**31 - 1).tolist() == [(hashed & 0x7FFFFFFF) % (2**31 - 1)]


def test_absent_keys_may_point_anywhere() -> None:
    keys = Text(np.zeros(0, dtype=np.uint8), np.array([99]), np.array([5]), np.zeros(1, dtype=np.bool_))

    assert partitions_of(keys, 8).tolist() == [0]
