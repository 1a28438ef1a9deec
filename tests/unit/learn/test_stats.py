"""Oracle: effective rows and weighed means per arm in fractions; and the paradox that the weights are there for."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.learn.stats import PolicyLearner
from stream_infer.state import StateError, Store, pack_text

Rows = list[tuple[int, float, float]]
rows = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1) | st.just(math.nan), st.sampled_from([1.0, 0.5, 0.25, 0.02])), max_size=30)


def columns(part: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    arm, reward, propensity = ([row[i] for row in part] for i in range(3))
    return np.array(arm, dtype=np.int64), np.array(reward, dtype=np.float64), np.array(propensity, dtype=np.float64)


def changed(store: Store) -> dict[bytes, bytes | None]:
    keys, values = store.changes()
    return {key or b"": value for key, value in zip(keys.raw(), values.raw(), strict=True)}


def oracle(seen: Rows, arm: int) -> tuple[int, int]:
    """(effective rows, reward sum in millionths), each rounded half up."""
    weights = [(Fraction(round(1000 / p)), round(r * 1e6)) for a, r, p in seen if a == arm]
    if not weights:
        return 0, 0
    total = sum(w for w, _ in weights)
    count = math.floor(total * total / sum(w * w for w, _ in weights) + Fraction(1, 2))
    return count, math.floor(sum(w * r for w, r in weights) * count / total + Fraction(1, 2))


@given(rows, rows)
def test_sums_restarts_and_taking_back(first: Rows, second: Rows) -> None:
    learner, log = PolicyLearner(3), {}
    for part in (first, second):
        learner.learn(*columns(part))
        log |= changed(learner)
    seen = [row for row in first + second if not math.isnan(row[1])]
    stats = learner.stats()
    assert [(int(n), int(r)) for n, r in zip(stats.pulls, stats.reward_micro, strict=True)] == [oracle(seen, arm) for arm in range(3)]
    restored, loaded = PolicyLearner(3), PolicyLearner(3)
    restored.restore(pack_text(list(log)), pack_text(list(log.values())))
    loaded.load(learner.snapshot())
    assert restored.stats().to_bytes() == loaded.stats().to_bytes() == stats.to_bytes()
    learner.forget(*columns(second))
    alone = PolicyLearner(3)
    alone.learn(*columns(first))
    assert learner.stats().to_bytes() == alone.stats().to_bytes()


def test_always_asked_an_arm_has_as_many_rows_as_rewards() -> None:
    learner = PolicyLearner(2)
    learner.learn(np.array([0, 0, 1]), np.array([0.5, 1.0, np.nan]), np.ones(3))

    assert learner.stats().pulls.tolist() == [2, 0]
    assert learner.stats().reward_micro.tolist() == [1_500_000, 0]


def test_the_better_arm_wins_though_the_other_answered_in_the_good_months() -> None:
    """Arm 1 is better at any time, but arm 0 answers 90 % of the second half, when everything is easier."""
    random = np.random.default_rng(5)
    learner, plain = PolicyLearner(2), np.zeros((2, 2))
    for level, share in ((0.3, 0.5), (0.7, 0.9)):
        arm = (random.random(20_000) >= share).astype(np.int64)
        reward = (random.random(20_000) < level + 0.05 * arm).astype(np.float64)
        learner.learn(arm, reward, np.where(arm == 0, share, 1 - share))
        for number in (0, 1):
            plain[number] += [np.sum(arm == number), np.sum(reward[arm == number])]
    means = plain[:, 1] / plain[:, 0]

    assert means[0] > means[1]
    assert learner.stats().means()[1] - learner.stats().means()[0] == pytest.approx(0.05, abs=0.03)


def test_it_is_a_store_that_refuses_other_arms() -> None:
    learner: Store = PolicyLearner(2)
    assert changed(learner) == {}
    other = PolicyLearner(2)
    other.learn(np.array([1]), np.array([1.0]), np.ones(1))
    with pytest.raises(StateError):
        PolicyLearner(3).restore(*other.changes())
