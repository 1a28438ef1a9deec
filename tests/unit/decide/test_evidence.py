"""What speaks against a challenger. Oracles: fractions row by row, and simulated challengers whose true means are known."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.decide.evidence import ALPHA, CHALLENGER, PASSES_MIN, Counts, Gathered, Rewards, Times, objection
from stream_infer.decide.settings import CanarySettings

Rows = list[tuple[int, int, float]]
rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 100), st.sampled_from([0.01, 0.1, 0.5, 0.9])), max_size=20)
JUDGED = CanarySettings((0.5,), 1000, rows_min=100, reward_below=0.0)


def then(rewards: Rewards, part: Rows) -> Rewards:
    arm, reward, propensity = ([row[i] for row in part] for i in range(3))
    return rewards.then(np.array(arm, dtype=np.int64), np.array(reward) / 100, np.array(propensity, dtype=np.float64))


@given(rows, rows)
def test_sums_are_those_of_rows_one_by_one_however_they_are_cut(first: Rows, second: Rows) -> None:
    apart, before = [], []
    for arm, reward, propensity in first + second:
        level = Fraction(sum(before), len(before)) if before else Fraction(1, 2)
        apart.append((Fraction(reward, 100) - level) / Fraction(propensity) * (1 if arm else -1))
        before.append(Fraction(reward, 100))
    rewards = then(then(Rewards(), first), second)
    assert rewards == then(Rewards(), first + second)
    assert rewards.rows == (sum(not row[0] for row in first + second), sum(row[0] for row in first + second))
    assert rewards.apart / 1e6 == pytest.approx(float(sum(apart)), abs=1e-5)
    assert rewards.apart_sq / 1e12 == pytest.approx(float(sum(d * d for d in apart)), rel=1e-4, abs=1e-4)


def stream(means: tuple[float, float], shares: list[float], seed: int, each: int = 100) -> list[Rewards]:
    """After every so many rows. The level of both moves with time, and the shares change."""
    draw, found, rewards = np.random.default_rng(seed), [], Rewards()
    for turn, share in enumerate(shares):
        arm = (draw.random(each) < share).astype(np.int64)
        level = 0.2 * np.sin(turn / 10)
        reward = (draw.random(each) < np.where(arm == CHALLENGER, means[1], means[0]) + level).astype(np.float64)
        rewards = rewards.then(arm, reward, np.where(arm == CHALLENGER, share, 1.0 - share))
        found.append(rewards)
    return found


SHARES = [0.05] * 40 + [0.2] * 40 + [0.7] * 40


def test_the_bound_holds_at_every_look_for_nearly_all_canaries() -> None:
    """Weighed by propensities, the trend and the changing shares deceive nobody."""
    missed = 0
    for seed in range(200):
        looks = [r.difference() for r in stream((0.5, 0.45), SHARES, seed) if min(r.rows) >= 100]
        missed += any(abs(mean + 0.05) > radius for mean, radius in looks)
    assert missed / 200 <= ALPHA


def test_plain_means_would_be_deceived() -> None:
    """What the weights are for: the challenger is no worse, but answers more of the rows in bad times."""
    rewards = stream((0.5, 0.5), [0.05] * 30 + [0.7] * 30, 3, each=2000)[-1]
    plain = [earned / count for earned, count in zip(rewards.earned, rewards.rows, strict=True)]
    assert plain[CHALLENGER] < plain[0] - 0.05e6
    assert abs(rewards.difference()[0]) < 0.02


def test_a_sound_challenger_is_rarely_judged_worse_however_often_one_looks() -> None:
    wrong = sum(any(objection(JUDGED, Counts(), Gathered(r)).why for r in stream((0.5, 0.5), SHARES, seed)) for seed in range(100))
    assert wrong <= 5


def test_the_figures_say_what_decided() -> None:
    rewards = stream((0.6, 0.3), SHARES, 0)[-1]
    found = objection(JUDGED, Counts(), Gathered(rewards))
    figures = dict(found.figures)
    assert figures["reward_difference"] + figures["radius"] < 0.0
    assert (figures["rewarded_champion"], figures["rewarded_challenger"]) == rewards.rows
    assert figures["confidence"] == 0.95
    assert found.why.startswith("it earns 0.")
    few = Rewards((1000, 99), (10**9, 0), -(10**9), 10**15)
    assert objection(JUDGED, Counts(), Gathered(few)).why == "", "too few were rewarded"
    assert objection(CanarySettings((0.5,), 1000), Counts(), Gathered(rewards)).why == "", "nobody asks"


def test_slow_passes_are_an_objection_and_some_slow_ones_are_not() -> None:
    settings, draw = CanarySettings((0.5,), 1000, latency_above=1.5), np.random.default_rng(2)

    def after(ratio: float, passes: int) -> str:
        times = Times()
        for noise in draw.lognormal(0.0, 0.3, passes) / np.exp(0.045):
            times = times.then(0.004 * ratio * noise, 0.004)
        return objection(settings, Counts(), Gathered(times=times)).why

    assert after(1.0, 3000) == ""
    assert after(2.0, PASSES_MIN - 1) == "", "too few"
    assert "times as long as the champion" in after(2.0, 1000)
    assert sum(after(1.5, 500) != "" for _ in range(50)) <= 3, "as long as is allowed"


def test_answers_that_differ_too_often_are_an_objection() -> None:
    settings = CanarySettings((0.5,), 1000, rows_min=100, differ_by=1.0, differ_share_max=0.2)
    assert objection(settings, Counts((0, 1000), (0, 0), 1000, 210), Gathered()).why == ""
    assert "0.5 of its answers" in objection(settings, Counts((0, 1000), (0, 0), 1000, 500), Gathered()).why
    assert objection(settings, Counts((0, 1000), (0, 0), 50, 50), Gathered()).why == "", "too few were compared"
