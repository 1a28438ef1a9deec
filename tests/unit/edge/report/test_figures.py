"""Oracle: the same figures by plain Python loops over the rows, and by cases small enough to do by hand."""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import pytest

from stream_infer.edge.report import Labels, Period, Predictions, RunFigures, RunTrace, digest, figures
from stream_infer.edge.report.figures import WHOLE, batch_figures, improvement, latency_figures
from stream_infer.errors import Bug
from tests.unit.edge.report.example import example


def near(got: float, expected: float) -> bool:
    return math.isclose(got, expected, rel_tol=1e-5, abs_tol=1e-9)


def slow_errors(pairs: list[tuple[float, float]]) -> tuple[int, float, float, float]:
    count = len(pairs)
    mean = sum(label for _, label in pairs) / count
    squares = sum((answer - label) ** 2 for answer, label in pairs)
    spread = sum((label - mean) ** 2 for _, label in pairs)
    return count, sum(abs(a - y) for a, y in pairs) / count, math.sqrt(squares / count), 1 - squares / spread


@pytest.mark.parametrize("name", [WHOLE, "October to December"])
def test_errors_equal_a_loop_over_the_rows(name: str) -> None:
    predictions, labels, trace, run = example(3_000)
    found = figures(predictions, labels, trace, run)["error"][name]
    begin, end = (0, 1 << 62) if name == WHOLE else (run.periods[0].begin_ms, run.periods[0].end_ms)
    rows = [
        (
            int(predictions.arm[i]),
            float(predictions.answer[i]),
            float(predictions.shadows[i, 0]),
            float(labels.label[i]),
            float(predictions.propensity[i]),
        )
        for i in range(len(predictions))
        if begin <= predictions.event_time[i] < end and not math.isnan(labels.label[i])
    ]
    expected = {
        "answered": slow_errors([(answer, label) for _, answer, _, label, _ in rows]),
        "baseline": slow_errors([(shadow, label) for _, _, shadow, label, _ in rows]),
    }
    for who, (count, mae, rmse, r2) in expected.items():
        got = found[who]
        assert got["rows"] == count
        assert near(got["mae"], mae)
        assert near(got["rmse"], rmse)
        assert near(got["r2"], r2)
    assert near(found["improvement_percent"], 100 * (1 - expected["answered"][1] / expected["baseline"][1]))
    assert found["improvement_percent_low"] < found["improvement_percent"] < found["improvement_percent_high"]
    for place, arm in enumerate(predictions.arms):
        mine = [(answer, shadow, label, 1 / p) for which, answer, shadow, label, p in rows if which == place]
        assert near(found["arms"][arm]["mae"], slow_errors([(a, y) for a, _, y, _ in mine])[1])
        weighted = sum(w * abs(a - y) for a, _, y, w in mine) / sum(w for *_, w in mine)
        assert near(found["arms"][arm]["mae_if_always"], weighted)
        gain = 100 * (1 - sum(abs(a - y) for a, _, y, _ in mine) / sum(abs(s - y) for _, s, y, _ in mine))
        # A percentage is a difference of nearly equal sums: it keeps fewer digits.
        assert math.isclose(found["arms"][arm]["improvement_percent"], gain, rel_tol=1e-4, abs_tol=1e-6)


def test_mae_if_always_finds_the_arm_s_error_on_all_rows() -> None:
    """The shadow `static` ran on every row, so its true error is known; the arm `static` answered 3 % of them."""
    predictions, labels, trace, run = example(60_000)
    found = figures(predictions, labels, trace, run)["error"][WHOLE]
    truth, estimate, naive = found["baseline"]["mae"], found["arms"]["static"]["mae_if_always"], found["arms"]["static"]["mae"]
    assert abs(estimate - truth) < 0.03 * truth
    assert abs(naive - truth) > 0.05 * truth  # it answered mostly in July, which had other weather


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """200 runs of 60 days, errors of one day correlated, true improvement 20 %: about 190 intervals hold it (5 sigmas: 175)."""
    rng = np.random.default_rng(3)
    block = np.repeat(np.arange(60), 40)
    held = 0
    for _ in range(200):
        day = rng.gamma(2.0, 1.0, 60)[block]
        theirs = day * rng.gamma(4.0, 0.25, len(block))
        ours = 0.8 * day * rng.gamma(4.0, 0.25, len(block))
        _, low, high = improvement(ours, theirs, block)
        assert low is not None
        assert high is not None
        held += low <= 20.0 <= high
    assert held >= 175


def test_shares_propensities_and_months() -> None:
    predictions, labels, trace, run = example(3_000)
    found = figures(predictions, labels, trace, run)
    first, last = int(np.argmin(predictions.event_time)), int(np.argmax(predictions.event_time))
    for place, arm in enumerate(predictions.arms):
        assert found["arm_shares"][arm]["rows"] == sum(1 for which in predictions.arm.tolist() if which == place)
        assert near(found["propensities"][arm]["first"], predictions.propensities[first, place])
        assert near(found["propensities"][arm]["last"], predictions.propensities[last, place])
        assert abs(found["arm_shares"][arm]["deviation_sigmas"]) < 4
        september = Period.of_dates("", "2013-09-01", "2013-10-01")
        inside = [
            float(p[place])
            for t, p in zip(predictions.event_time, predictions.propensities, strict=True)
            if september.begin_ms <= t < september.end_ms
        ]
        assert near(found["propensities"][arm]["monthly"]["2013-09"], sum(inside) / len(inside))
    assert list(found["propensities"]["net"]["monthly"]) == [f"2013-{month:02d}" for month in range(7, 13)]


def test_feedback_latency_and_batches_by_hand() -> None:
    predictions, labels, trace, run = example(2_000)
    found = figures(predictions, labels, trace, run)
    delays = sorted(
        (f - t) / 60_000 for f, t, y in zip(labels.feedback_time, predictions.event_time, labels.label, strict=True) if not math.isnan(y)
    )
    half = len(delays) // 2
    median = delays[half] if len(delays) % 2 else (delays[half - 1] + delays[half]) / 2
    assert near(found["feedback"]["delay_min_median"], median)
    assert found["feedback"]["count"] == len(delays)
    assert near(found["feedback"]["never_share"], 1 - len(delays) / 2_000)
    assert latency_figures(np.arange(1.0, 1002.0)) == {
        "samples": 1001,
        "p50": 501.0,
        "p95": 951.0,
        "p99": 991.0,
        "p99_9": pytest.approx(1000.0),
        "max": 1001.0,
    }
    sizes, counts = np.array([64, 1, 8]), np.array([1, 3, 2])
    assert batch_figures(sizes, counts) == {"count": 6, "rows_mean": 83 / 6, "rows_p50": 1, "rows_max": 64}


def test_figures_are_json_even_when_nothing_happened() -> None:
    none, no_ints = np.zeros(0), np.zeros(0, dtype=np.int64)
    predictions = Predictions(no_ints, no_ints, ("a", "b"), none, none, np.zeros((0, 2)), no_ints, np.zeros((0, 1)), ("a",))
    trace = RunTrace(none, no_ints, no_ints, none, none, no_ints, no_ints)
    found = figures(predictions, Labels(none, no_ints), trace, RunFigures("empty", 0.0, baseline="a"))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["error"][WHOLE]["answered"] == {"rows": 0, "mae": None, "rmse": None, "r2": None}
    assert found["records_per_second"] is None


def test_columns_that_do_not_fit_are_a_bug_with_both_shapes() -> None:
    one, two = np.zeros(1), np.zeros(2)
    ints = np.zeros(2, dtype=np.int64)
    with pytest.raises(Bug, match=r"propensities has shape \(2, 2\), expected \(2, 1\)"):
        Predictions(ints, ints, ("a",), two, two, np.zeros((2, 2)), ints, np.zeros((2, 0)), ())
    with pytest.raises(Bug, match="label has shape"):
        Labels(one, ints)


def test_digest_depends_on_the_values_and_their_addresses_and_on_nothing_else() -> None:
    values = [b"one", b"two", b"three", b"four"]
    addresses = [("t", 1, 0), ("t", 0, 10), ("t", 0, 9), ("s", 7, 3)]
    in_order = b"".join(len(value).to_bytes(4, "big") + value for value in (b"four", b"three", b"two", b"one"))
    got = digest(values, addresses)
    assert got == hashlib.sha256(in_order).hexdigest()
    order = [2, 0, 3, 1]
    assert digest([values[i] for i in order], [addresses[i] for i in order]) == got
    assert digest([b"on", b"etwo", *values[2:]], addresses) != got
    assert digest([b"One", *values[1:]], addresses) != got
    # Two predictions of one source (two stages): the order of their bytes decides, not that of their arrival.
    assert digest([b"x", b"y"], [("t", 0, 0)] * 2) == digest([b"y", b"x"], [("t", 0, 0)] * 2)
