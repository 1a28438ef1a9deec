"""Oracle: the closed form of the knee for T = a + b·n."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.batching import SIZES_PROBED, CostCurve, cut, rows_max


def linear_curve(a: float, b: float) -> CostCurve:
    return CostCurve.fit((n, a + b * n) for n in SIZES_PROBED)


@pytest.mark.parametrize(("a", "b"), [(2e-3, 5e-5), (1e-4, 1e-6), (1e-5, 1e-4)])
def test_knee_is_the_smallest_size_within_5_percent_of_the_best(a: float, b: float) -> None:
    best = (a + b * 4096) / 4096
    expected = next(n for n in SIZES_PROBED if (a + b * n) / n <= 1.05 * best)
    assert linear_curve(a, b).knee() == expected


def test_a_model_without_fixed_cost_wants_single_rows() -> None:
    assert linear_curve(0.0, 1e-3).knee() == 1


def test_first_sample_of_a_size_is_a_warm_up_and_the_median_decides() -> None:
    curve = CostCurve.fit([(8, 9.0), (8, 1.0), (8, 1.2), (8, 1.1), (16, 2.0)])
    assert curve.sizes == (8, 16)
    assert curve.seconds == (1.1, 2.0)


def test_seconds_never_fall_with_size() -> None:
    assert CostCurve.fit([(1, 1.0), (2, 0.5), (4, 3.0)]).seconds == (1.0, 1.0, 3.0)


def test_estimate_interpolates_and_extends_per_row() -> None:
    curve = CostCurve((1, 3), (1.0, 2.0))
    assert [curve.estimate(n) for n in (1, 2, 3, 6)] == [1.0, 1.5, 2.0, 4.0]


def test_rows_max_prefers_the_topology_then_the_curve_then_a_default() -> None:
    assert rows_max(32, linear_curve(2e-3, 5e-5)) == 32
    assert rows_max(None, linear_curve(2e-3, 5e-5)) == 1024
    assert rows_max(None, None) == rows_max(None, CostCurve.fit([])) == 256
    assert rows_max(10**6, None) == 4096


@given(st.integers(0, 5000), st.integers(1, 600))
def test_cut_loses_nothing_and_fills_batches(waiting: int, largest: int) -> None:
    sizes = cut(waiting, largest)
    assert sum(sizes) == waiting
    assert all(size == largest for size in sizes[:-1])
    assert all(0 < size <= largest for size in sizes)
