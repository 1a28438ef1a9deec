"""Oracles: rationals for the sums, the definitions of MAE, RMSE, R², IPS and SNIPS in numpy, and a logger whose value is known."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.learn.evaluate import UNIT, Errors, OffPolicy, Progress, exact_sum, value

finite = st.floats(allow_nan=False, allow_infinity=False)
small = st.floats(-1e6, 1e6)


@given(st.lists(finite, max_size=50))
def test_sums_are_exact(values: list[float]) -> None:
    assert Fraction(exact_sum(np.array(values, dtype=np.float64)), 1 << UNIT) == sum(map(Fraction, values), Fraction(0))


@pytest.mark.parametrize("values", [[5e-324, -5e-324, 5e-324], [1.7e308, 1e-308, -1.7e308], [0.1] * 10, [-0.0]])
def test_sums_at_the_edges_are_rounded_once(values: list[float]) -> None:
    assert value(exact_sum(np.array(values))) == float(sum(map(Fraction, values)))


@given(st.lists(st.tuples(small, small), min_size=2, max_size=50))
def test_errors_by_definition(rows: list[tuple[float, float]]) -> None:
    answer, label = np.array(rows).T
    errors = Errors()
    errors.add(answer, label)
    assert errors.mae() == pytest.approx(np.abs(answer - label).mean())
    assert errors.rmse() == pytest.approx(math.sqrt(((answer - label) ** 2).mean()))
    if label.std() > 1e-3 * (1 + np.abs(label).max()):
        assert errors.r2() == pytest.approx(1 - ((answer - label) ** 2).sum() / ((label - label.mean()) ** 2).sum(), rel=1e-6)


def test_no_rows_and_constant_labels_have_no_figures() -> None:
    assert math.isnan(Errors().mae())
    assert math.isnan(Errors().rmse())
    constant = Errors()
    constant.add(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.1, 0.1]))
    assert math.isnan(constant.r2())


cells = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5000), small, small | st.just(math.nan)), max_size=30)


def progress_of(rows: list[tuple]) -> Progress:
    progress = Progress(1000)
    if rows:
        arm, time, answer, label = zip(*rows, strict=True)
        progress.add(np.array(arm), np.array(time), np.array(answer), np.array(label))
    return progress


@given(cells, cells)
def test_parts_merge_to_the_whole_in_any_order(first: list[tuple], second: list[tuple]) -> None:
    whole = progress_of(first + second)
    for parts in ((first, second), (second, first)):
        merged = progress_of(parts[0])
        merged.merge(progress_of(parts[1]))
        assert merged.table() == whole.table()
    for arm in range(3):
        seen = [(a, b) for one, _, a, b in first + second if one == arm and not math.isnan(b)]
        assert whole.of_arm(arm).rows == len(seen)
        if seen:
            assert whole.of_arm(arm).mae() == pytest.approx(np.mean([abs(a - b) for a, b in seen]))
    assert all(start % 1000 == 0 for _, start, _ in whole.table())


def test_other_buckets_do_not_merge() -> None:
    with pytest.raises(ValueError, match="cannot be merged"):
        Progress(1000).merge(Progress(60_000))


logged = st.lists(st.tuples(st.floats(0, 1), st.floats(0.05, 1), st.floats(0, 1) | st.just(math.nan)), max_size=40)


def off_policy_of(rows: list[tuple[float, float, float]]) -> OffPolicy:
    out = OffPolicy()
    out.add(*(np.array([row[i] for row in rows], dtype=np.float64) for i in range(3)))
    return out


@given(logged, logged)
def test_off_policy_by_definition_and_in_parts(first: list, second: list) -> None:
    whole, merged = off_policy_of(first + second), off_policy_of(first)
    merged.merge(off_policy_of(second))
    assert merged == whole
    rows = np.array([row for row in first + second if not math.isnan(row[2])])
    if len(rows) < 2:
        return
    w, r = rows[:, 0] / rows[:, 1], rows[:, 2]
    assert whole.ips() == pytest.approx(((w * r).mean(), math.sqrt((w * r).var(ddof=1) / len(w))), rel=1e-6, abs=1e-7)
    assert whole.weight_mean() == pytest.approx(w.mean())
    assert whole.weight_max == w.max()
    if w.sum() > 1e-6:
        v = (w * r).sum() / w.sum()
        assert whole.snips() == pytest.approx((v, math.sqrt((w**2 * (r - v) ** 2).sum()) / w.sum()), abs=1e-6)
        assert whole.effective_rows() == pytest.approx(w.sum() ** 2 / (w**2).sum())


def test_no_rows_say_nothing() -> None:
    empty = OffPolicy()
    assert all(math.isnan(x) for x in (*empty.ips(), *empty.snips(), empty.weight_mean()))
    assert empty.effective_rows() == 0.0


def test_the_value_of_another_policy_lies_within_its_errors() -> None:
    rng = np.random.default_rng(0)
    means, logger, other = np.array([0.2, 0.5, 0.8]), np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.7])
    inside = {"ips": 0, "snips": 0}
    for _ in range(200):
        arm = rng.choice(3, 1000, p=logger)
        estimate = OffPolicy()
        estimate.add(other[arm], logger[arm], (rng.random(1000) < means[arm]).astype(np.float64))
        for name in inside:
            middle, error = getattr(estimate, name)()
            inside[name] += abs(middle - other @ means) <= 1.96 * error
    # 190 of 200 expected; 180 is 3.2 standard deviations below.
    assert min(inside.values()) >= 180
