"""Oracle: counts and sums per arm in plain Python, in millionths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.learn.stats import PolicyLearner
from stream_infer.state import StateError, Store

rows = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1) | st.just(math.nan)), max_size=30)


def learn(learner: PolicyLearner, part: list[tuple[int, float]]) -> None:
    learner.learn(np.array([a for a, _ in part], dtype=np.int64), np.array([r for _, r in part], dtype=np.float64))


@given(rows, rows)
def test_sums_restarts_and_taking_back(first: list[tuple[int, float]], second: list[tuple[int, float]]) -> None:
    learner, log = PolicyLearner(3), {}
    for part in (first, second):
        learn(learner, part)
        log |= dict(zip(*learner.changes(), strict=True))
    seen = [(arm, reward) for arm, reward in first + second if not math.isnan(reward)]
    stats = learner.stats()
    assert stats.pulls.tolist() == [sum(a == arm for a, _ in seen) for arm in range(3)]
    assert stats.reward_micro.tolist() == [sum(round(r * 1e6) for a, r in seen if a == arm) for arm in range(3)]
    restored, loaded = PolicyLearner(3), PolicyLearner(3)
    restored.restore(list(log), list(log.values()))
    loaded.load(learner.snapshot())
    assert restored.stats().to_bytes() == loaded.stats().to_bytes() == stats.to_bytes()
    learner.forget(np.array([a for a, _ in second], dtype=np.int64), np.array([r for _, r in second], dtype=np.float64))
    alone = PolicyLearner(3)
    learn(alone, first)
    assert learner.stats().to_bytes() == alone.stats().to_bytes()


def test_nothing_learned_is_no_change() -> None:
    learner = PolicyLearner(2)
    assert isinstance(learner, Store)
    learn(learner, [(0, math.nan)])
    assert learner.changes() == ([], [])


def test_another_number_of_arms_is_refused() -> None:
    learner = PolicyLearner(2)
    learn(learner, [(0, 1.0)])
    with pytest.raises(StateError):
        PolicyLearner(3).restore(*learner.changes())
