"""Oracle: the definitions, value by value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.feedback import reward
from stream_infer.feedback_settings import RewardSettings

numbers = st.floats(-100, 100) | st.just(math.nan)
pairs = st.lists(st.tuples(st.floats(-100, 100), numbers), max_size=20)


def by_hand(settings: RewardSettings, answer: float, label: float) -> float:
    if math.isnan(label):
        return math.nan
    if settings.kind == "closeness":
        return 1 - min(abs(answer - label) / settings.scale, 1)
    if settings.kind == "value":
        return (min(max(label, settings.low), settings.high) - settings.low) / (settings.high - settings.low)
    return 1.0 if (answer >= settings.threshold) == (label >= settings.threshold) else 0.0


@given(
    st.sampled_from(
        [RewardSettings("closeness", scale=60.0), RewardSettings("value", low=-5.0, high=20.0), RewardSettings("match", threshold=15.0)]
    ),
    pairs,
)
def test_rewards(settings: RewardSettings, rows: list[tuple[float, float]]) -> None:
    got = reward(settings, np.array([a for a, _ in rows]), np.array([b for _, b in rows]))
    assert got.tolist() == pytest.approx([by_hand(settings, a, b) for a, b in rows], nan_ok=True)
    assert ((got >= 0) & (got <= 1) | np.isnan(got)).all()


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="expected closeness, value or match"):
        reward(RewardSettings("clicks"), np.zeros(1), np.zeros(1))
