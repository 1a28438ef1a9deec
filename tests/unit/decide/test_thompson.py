"""Oracles: the closed form for two Betas with whole-numbered parameters, in rationals; 400,000 draws; symmetry."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.decide.thompson import best_arm_probabilities


def second_is_larger(a1: int, b1: int, a2: int, b2: int) -> float:
    """P(Y > X), X ~ Beta(a1, b1), Y ~ Beta(a2, b2): Σ_{i<a2} B(a1 + i, b1 + b2) / ((b2 + i) B(1 + i, b2) B(a1, b1)), exact."""

    def beta(a: int, b: int) -> Fraction:
        return Fraction(a + b, a * b * comb(a + b, a))

    return float(sum(beta(a1 + i, b1 + b2) / ((b2 + i) * beta(1 + i, b2)) for i in range(a2)) / beta(a1, b1))


def best(*parameters: tuple[float, float]) -> list[float]:
    wins, losses = np.array(parameters, dtype=np.float64).T
    return best_arm_probabilities(wins, losses).tolist()


@settings(max_examples=60, deadline=None)
@given(*[st.integers(1, 60) for _ in range(4)])
def test_two_arms_have_a_closed_form(a1: int, b1: int, a2: int, b2: int) -> None:
    assert best((a1, b1), (a2, b2))[1] == pytest.approx(second_is_larger(a1, b1, a2, b2), rel=1e-10, abs=1e-15)


@pytest.mark.parametrize("case", [(1, 1, 2000, 1900), (1, 1200, 1500, 3), (300, 300, 280, 320), (1, 4000, 3, 4000)])
def test_two_arms_of_very_different_width(case: tuple[int, int, int, int]) -> None:
    assert best(case[:2], case[2:])[1] == pytest.approx(second_is_larger(*case), rel=1e-9, abs=1e-18)


@pytest.mark.parametrize("parameters", [(0.5, 0.5), (1.0, 1.0), (0.01, 3.0), (1e7, 1e3), (2.5, 1e6)])
def test_equal_arms_share_equally(parameters: tuple[float, float]) -> None:
    assert best(*[parameters] * 7) == pytest.approx([1 / 7] * 7, abs=1e-12)


def test_swapping_wins_and_losses_of_two_arms_mirrors_them() -> None:
    assert best((3.5, 8.0), (2.0, 4.0)) == pytest.approx(best((8.0, 3.5), (4.0, 2.0))[::-1], abs=1e-13)


def test_the_largest_of_uniforms_is_a_power() -> None:
    # Against k uniforms, Beta(m, 1) (the largest of m uniforms) wins with m / (m + k).
    assert best((5, 1), (1, 1), (1, 1), (1, 1))[0] == pytest.approx(5 / 8, abs=1e-13)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0.05, 1e6), st.floats(0.05, 1e6)), min_size=1, max_size=12))
def test_sums_to_one_and_follows_the_order_of_arms(parameters: list[tuple[float, float]]) -> None:
    p = best(*parameters)
    assert sum(p) == pytest.approx(1.0, abs=1e-12)
    assert min(p) >= 0.0
    assert best(*parameters[::-1])[::-1] == pytest.approx(p, abs=1e-11)


@pytest.mark.parametrize("arms", [3, 10])
def test_against_draws(arms: int) -> None:
    rng = np.random.default_rng(arms)
    wins, losses = rng.uniform(20, 30, arms), rng.uniform(200, 300, arms)
    draws = np.bincount(rng.beta(wins, losses, (400_000, arms)).argmax(axis=1), minlength=arms) / 400_000
    p = best_arm_probabilities(wins, losses)
    assert (np.abs(p - draws) <= 4.5 * np.sqrt(p * (1 - p) / 400_000)).all()
