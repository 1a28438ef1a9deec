"""Packed keys: the same state read back, small, and refused when they are torn or made for other settings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.features.settings import Aggregate, FeatureSettings
from stream_infer.features.windows import FeatureState
from stream_infer.records import Text
from stream_infer.state import StateError, pack_text

KINDS = ("count", "sum", "mean", "std", "min", "max", "last_k", "since_last")
SETTINGS = FeatureSettings(
    tuple(
        Aggregate(f"{kind}_{width}", kind, None if kind in ("count", "since_last") else "a", width, k=3)
        for width in (None, 60, 5000)
        for kind in KINDS
    )
)
VALUES = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 0.001, -12.5, 1e300, 5e-324, 1 / 3, 2.0**60]) | st.floats()


def state_of(values: list[float], step_ms: int = 7) -> FeatureState:
    state, count = FeatureState(SETTINGS), len(values)
    every = np.ones(count, dtype=np.bool_)
    keys = Text.of(b"%d" % (i % 3) for i in range(count))
    state.apply(keys, np.arange(count, dtype=np.int64) * step_ms - 50, {"a": np.array(values)}, every, ~every)
    return state


@settings(deadline=None, max_examples=100)
@given(st.lists(VALUES, min_size=1, max_size=40), st.sampled_from([0, 7, 3000]))
def test_what_is_read_back_tells_and_packs_the_same(values: list[float], step_ms: int) -> None:
    state, again = state_of(values, step_ms), FeatureState(SETTINGS)
    keys, packed = state.changes()
    again.restore(keys, packed)

    ask = Text.of([b"0", b"1", b"2"] * 2)
    times = np.array([0, 100, 1000, 100_000, len(values) * step_ms, -40], dtype=np.int64)
    every, nothing = np.ones(6, dtype=np.bool_), {"a": np.full(6, math.nan)}
    told = [one.apply(ask, times, nothing, every, every) for one in (state, again)]
    assert told[0].tobytes() == told[1].tobytes()
    assert [part.raw() for part in state.changes()] == [part.raw() for part in again.changes()]


def test_a_key_is_packed_as_small_as_what_is_known_of_it() -> None:
    few, many = state_of([1.25] * 3), state_of([float(n % 90) for n in range(3000)], 10)

    assert max(few.changes()[1].size) < 120
    # 13 tiles in two windows, ten numbers each, of 8 bytes: 2080; of what they need: 480.
    assert max(many.changes()[1].size) < 500


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_torn_values_are_refused_or_read_never_followed_blindly(data: st.DataObject) -> None:
    keys, packed = (part.raw() for part in state_of([1.0, 1 / 3, 5.5, -2.0] * 5).changes())
    value = bytearray(packed[0] or b"")
    at, end = data.draw(st.integers(0, len(value) - 1)), data.draw(st.integers(0, len(value)))
    value[at] = data.draw(st.integers(0, 255))
    torn = FeatureState(SETTINGS)
    if end < len(value):
        with pytest.raises(StateError, match="expected version 2"):
            torn.restore(pack_text(keys[:1]), pack_text([bytes(value[:end])]))
        return
    try:
        torn.restore(pack_text(keys[:1]), pack_text([bytes(value)]))
    except StateError:
        return
    torn.changes()
    assert len(torn) == 1


def test_values_longer_than_they_should_be_are_refused() -> None:
    keys, packed = (part.raw() for part in state_of([1.0]).changes())
    with pytest.raises(StateError, match="expected version 2"):
        FeatureState(SETTINGS).restore(pack_text(keys), pack_text([(packed[0] or b"") + b"\0", *packed[1:]]))


def test_a_torn_snapshot_is_refused() -> None:
    arrays = state_of([1.0, 2.0]).snapshot()
    for torn in ({"values": arrays["values"][:-1]}, {"keys": arrays["keys"][1:]}, {"key_sizes": np.array([2])}):
        with pytest.raises(StateError, match="snapshot: got"):
            FeatureState(SETTINGS).load(arrays | torn)
