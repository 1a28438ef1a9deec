"""Two sides compared, and what another choice of arms would have earned. Oracles: sums by hand, the value of a policy in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from stream_infer.learn.evaluate import Mean, doubly_robust
from stream_infer.learn.whatif import NORMAL_95, Compared, Side, by, figures, off_policy

REWARDS = np.array([0.2, 0.5, 0.8])  # what each arm earns on average
LOGGED = np.array([0.5, 0.3, 0.2])


def logged(rows: int, seed: int, wanted: list[float]) -> Compared:
    """A log of three arms that earn 0 or 1, beside a policy with these shares."""
    draw = np.random.default_rng(seed)
    arm = draw.choice(3, size=rows, p=LOGGED)
    reward = (draw.random(rows) < REWARDS[arm]).astype(np.float64)
    answered = np.ones(rows, dtype=np.bool_)
    answer = arm.astype(np.float64)
    then = Side(answered, answer, arm, LOGGED[arm])
    now = Side(answered, answer, arm, LOGGED[arm], np.tile(np.array(wanted), (rows, 1)))
    nan = np.full(rows, np.nan)
    return Compared(then, now, answered.copy(), ("a", "b", "c"), np.arange(rows), nan, reward, nan)


@pytest.mark.parametrize("wanted", [[0.1, 0.1, 0.8], [0.0, 1.0, 0.0], [0.5, 0.3, 0.2]])
def test_the_value_of_another_policy_is_found_and_its_interval_covers_it(wanted: list[float]) -> None:
    value = float(REWARDS @ wanted)
    hits = dict.fromkeys(("ips", "snips", "dr"), 0)
    for seed in range(200):
        found: dict[str, Any] = off_policy(logged(800, seed, wanted))
        for name in hits:
            low, high = found[f"{name}_95"]
            hits[name] += low <= value <= high
    # 95 % of 200 with four standard deviations to spare: 190 ± 12.
    assert min(hits.values()) >= 178, hits


def test_the_policy_that_logged_is_worth_what_it_earned_and_the_estimates_are_the_sums() -> None:
    compared = logged(500, 1, LOGGED.tolist())
    found: dict[str, Any] = off_policy(compared)
    reward = compared.reward
    assert found["ips"] == found["snips"] == found["logged"] == pytest.approx(reward.mean(), abs=1e-15)
    assert found["weight_mean"] == found["weight_max"] == 1.0
    assert found["effective_rows"] == pytest.approx(500)

    other = logged(500, 1, [0.2, 0.2, 0.6])
    weight = np.array([0.2, 0.2, 0.6])[other.recorded.arm] / other.recorded.propensity
    told: dict[str, Any] = off_policy(other)
    error = (weight * reward).std(ddof=1) / math.sqrt(500)
    assert told["ips"] == pytest.approx((weight * reward).mean())
    assert told["ips_95"] == pytest.approx([told["ips"] - NORMAL_95 * error, told["ips"] + NORMAL_95 * error])
    assert told["snips"] == pytest.approx((weight * reward).sum() / weight.sum())


def test_the_doubly_robust_estimate_knows_only_what_came_before_each_row() -> None:
    draw = np.random.default_rng(3)
    arm, reward = draw.integers(0, 3, 60), draw.random(60)
    propensity = LOGGED[arm]
    shares = draw.dirichlet(np.ones(3), 60)
    terms = []
    for row in range(60):
        before = reward[:row]
        whole = before.mean() if row else 0.5
        expected = [before[arm[:row] == one].mean() if (arm[:row] == one).any() else whole for one in range(3)]
        weight = shares[row, arm[row]] / propensity[row]
        terms.append(float(shares[row] @ expected) + weight * (reward[row] - expected[arm[row]]))
    estimate, error = doubly_robust(shares, arm, propensity, reward)
    assert estimate == pytest.approx(np.mean(terms))
    assert error == pytest.approx(np.std(terms, ddof=1) / math.sqrt(60))
    assert Mean().value() != Mean().value()
    assert math.isnan(Mean.of(np.array([1.0])).error())


def test_figures_count_each_row_where_it_belongs() -> None:
    nan = np.nan
    then = Side(np.array([1, 1, 1, 0, 1], bool), np.array([1.0, 2.0, 3.0, nan, 5.0]), np.array([0, 0, 1, -1, 1]), np.full(5, 0.5))
    now = Side(np.array([1, 1, 1, 1, 0], bool), np.array([1.0, 2.5, 3.0, 9.0, nan]), np.array([0, 0, 0, 1, -1]), np.full(5, 0.5))
    same = np.array([True, False, True, False, False])
    label = np.array([1.0, 2.0, nan, 9.0, 5.0])
    reward = np.array([1.0, 1.0, nan, nan, 1.0])
    earned = np.array([1.0, 0.5, nan, 1.0, nan])
    compared = Compared(then, now, same, ("a", "b"), np.arange(5), label, reward, earned)
    assert compared.differs().tolist() == [False, True, True, True, True]
    found: dict[str, Any] = figures(compared)
    counts = ("rows", "answered_by_both", "answered_only_then", "answered_only_now", "changed", "other_arm")
    assert [found[name] for name in counts] == [5, 3, 1, 1, 1, 1]
    assert found["changed_share"] == pytest.approx(1 / 3)
    assert (found["difference_mean"], found["difference_abs_max"]) == (pytest.approx(0.5 / 3), 0.5)
    assert found["labels"] == 2
    assert found["then"]["mean_absolute_error"] == 0.0
    assert found["now"]["mean_absolute_error"] == 0.25
    assert found["reward_gain"] == -0.25
    groups = by(compared, ["x", "x", "y", "y", "y"])
    assert {name: group["rows"] for name, group in groups.items()} == {"y": 3, "x": 2}
    assert off_policy(compared) == {}, "nothing is known of the shares"
