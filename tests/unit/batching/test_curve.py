"""Oracles: the closed form of the knee for T = a + b·n, trying all sizes, the law that passes are drawn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.batching.curve import PASS_S, SIZES_PROBED, CostCurve, LiveCurve
from stream_infer.batching.cutting import cut


def linear_curve(a: float, b: float) -> CostCurve:
    return CostCurve.fit((n, a + b * n) for n in SIZES_PROBED)


@pytest.mark.parametrize(("a", "b"), [(2e-3, 5e-5), (1e-4, 1e-6), (1e-5, 1e-4)])
def test_knee_is_the_smallest_size_within_5_percent_of_the_best(a: float, b: float) -> None:
    best = (a + PASS_S + b * 4096) / 4096
    expected = next(n for n in SIZES_PROBED if (a + PASS_S + b * n) / n <= 1.05 * best)
    assert linear_curve(a, b).knee() == expected


def test_a_model_without_fixed_cost_wants_single_rows() -> None:
    assert linear_curve(0.0, 1e-2).knee() == 1


def test_first_sample_of_a_size_is_a_warm_up_and_the_median_decides() -> None:
    curve = CostCurve.fit([(8, 9.0), (8, 1.0), (8, 1.2), (8, 1.1), (16, 2.0)])
    assert curve.sizes == (8, 16)
    assert curve.seconds == (1.1, 2.0)


def test_seconds_never_fall_with_size() -> None:
    assert CostCurve.fit([(1, 1.0), (2, 0.5), (4, 3.0)]).seconds == (1.0, 1.0, 3.0)


def test_estimate_interpolates_and_extends_per_row() -> None:
    curve = CostCurve((1, 3), (1.0, 2.0))
    assert [curve.estimate(n) for n in (1, 2, 3, 6)] == [1.0, 1.5, 2.0, 4.0]


def test_the_best_size_is_the_knee_and_lies_beyond_what_was_seen_where_the_largest_was_still_the_cheapest() -> None:
    assert linear_curve(2e-3, 5e-5).best() == 1024
    assert CostCurve.fit([]).best() == 256
    assert CostCurve((1, 2), (1.0, 1.0)).best() == 256
    assert CostCurve((1, 512), (1.0, 1.0)).best() == 512
    assert CostCurve((1, 64), (1.0, 1.0), rows_most=64).best() == 64


@given(st.floats(1e-6, 1e-2), st.floats(1e-8, 1e-3), st.floats(1.0, 3.0), st.floats(1e-6, 10.0))
def test_largest_within_is_the_largest_by_trying_all(a: float, b: float, slow: float, seconds: float) -> None:
    curve = replace(linear_curve(a, b), slow=slow)
    fitting = [n for n in range(1, 4097) if slow * curve.estimate(n) <= seconds]
    assert curve.largest_within(seconds) == max(fitting, default=0)


def test_nothing_is_known_within_any_time_of_a_model_that_was_never_run() -> None:
    assert CostCurve((), ()).largest_within(1e9) == 0


@given(st.integers(0, 5000), st.integers(1, 600))
def test_the_total_is_the_sum_over_the_passes(rows: int, largest: int) -> None:
    curve = linear_curve(1e-3, 1e-5)
    assert curve.total(rows, largest) == pytest.approx(sum(curve.estimate(n) for n in cut(rows, largest)))


@given(st.floats(0.3, 3.0), st.lists(st.integers(1, 5000), min_size=100, max_size=100))
def test_a_live_curve_comes_to_where_the_passes_are(faster: float, rows: list[int]) -> None:
    """Passes of all sizes that take `faster` times what was measured at the start move the curve there, and keep it from falling."""
    live = LiveCurve(linear_curve(1e-3, 1e-5))
    for count in rows + [2**power for power in range(13)] * 60:
        live.passed(count, faster * (1e-3 + 1e-5 * count))
    made = live.curve()
    assert list(made.seconds) == sorted(made.seconds)
    for count in (1, 50, 1000, 4096):
        assert made.estimate(count) == pytest.approx(faster * (1e-3 + 1e-5 * count), rel=0.15)


def test_a_live_curve_is_made_of_the_passes_where_nothing_was_measured() -> None:
    live = LiveCurve(None)
    assert live.curve().sizes == ()
    for count, seconds in ((100, 1.0), (1000, 2.0), (10, 0.5), (100, 2.0), (5, 0.0)):
        live.passed(count, seconds)
    assert live.curve().sizes == (10, 100, 1000)
    assert live.curve().seconds == pytest.approx((0.5, 1.1, 2.0))


def test_one_stop_of_the_machine_moves_the_curve_by_less_than_half() -> None:
    live = LiveCurve(CostCurve((1, 2), (1.0, 1.0)))
    live.passed(2, 1e6)
    assert live.curve().estimate(2) == pytest.approx(1.7)


def test_slow_is_the_quantile_of_the_passes() -> None:
    rng = np.random.default_rng(3)
    live = LiveCurve(CostCurve((64,), (1e-3,)))
    for factor in rng.lognormal(0.0, 0.2, 20_000):
        live.passed(64, 1e-3 * factor)
    expected = float(np.exp(0.2 * 2.326)) / float(np.exp(0.02))  # the 99th percentile of a lognormal, over its mean
    assert live.curve().slow == pytest.approx(expected, rel=0.1)
