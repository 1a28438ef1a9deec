"""Oracle: day by day, a filter over all rows."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.edge.report import RunTrace, series
from stream_infer.edge.report.figures import DAY_MS
from tests.unit.edge.report.example import example


@given(
    st.lists(st.tuples(st.integers(0, 20 * DAY_MS), st.floats(-1e3, 1e3)), min_size=1, max_size=40), st.integers(1, 9), st.integers(1, 3)
)
def test_rolling_mean_equals_a_filter(rows: list[tuple[int, float]], days: int, rows_min: int) -> None:
    times = np.array([time for time, _ in rows], dtype=np.int64)
    values = np.array([value for _, value in rows])
    ends = series.day_ends(times)
    got = series.rolling_mean(times, values, ends, days=days, rows_min=rows_min)
    for end, mean in zip(ends.tolist(), got.tolist(), strict=True):
        inside = [value for time, value in rows if end - days * DAY_MS <= time < end]
        if len(inside) < rows_min:
            assert math.isnan(mean)
        else:
            assert math.isclose(mean, sum(inside) / len(inside), rel_tol=1e-9, abs_tol=1e-8)


def test_errors_and_gains_are_those_of_the_rows_of_the_window() -> None:
    predictions, labels, _, _ = example(5_000)
    ends = series.day_ends(predictions.event_time)
    errors = series.rolling_errors(predictions, labels, "static", ends)
    gains = series.rolling_gains(predictions, labels, "static", ends)
    assert set(errors) == {"", "static", *(f"arm:{arm}" for arm in predictions.arms)}
    day, net = 100, predictions.arms.index("net")
    known = ~np.isnan(labels.label) & (predictions.arm == net) & (predictions.event_time < ends[day])
    week = known & (predictions.event_time >= ends[day] - 7 * DAY_MS)
    month = known & (predictions.event_time >= ends[day] - 28 * DAY_MS)
    off = np.abs(predictions.answer - labels.label)
    assert math.isclose(errors["arm:net"][day], off[week].mean())
    assert math.isclose(gains["net"][day], (np.abs(predictions.shadows[:, 0] - labels.label) - off)[month].mean())


def test_shares_sum_to_one_on_every_day_also_without_rows() -> None:
    predictions, _, _, _ = example(400)
    ends = np.arange(series.day_ends(predictions.event_time)[0], int(series.day_ends(predictions.event_time)[-1]) + 30 * DAY_MS, DAY_MS)
    for table in (series.daily_propensities(predictions, ends), series.rolling_shares(predictions, ends)):
        assert table.shape == (len(ends), 4)
        np.testing.assert_allclose(table.sum(axis=1), 1.0)


def test_histograms_lose_nothing() -> None:
    predictions, labels, trace, _ = example(5_000)
    edges, shares = series.feedback_delays(predictions, labels)
    assert len(edges) == len(shares) + 1
    assert math.isclose(shares.sum(), 1.0)
    arrived = series.feedback_arrived(predictions, labels, edges)
    known = ~np.isnan(labels.label)
    within_2h = np.mean(known & (labels.feedback_time - predictions.event_time <= 7_200_000))
    assert math.isclose(arrived[edges.tolist().index(120.0)], within_2h)
    names, batches, rows = series.batch_bins(trace.batch_rows, trace.batch_count)
    assert names == ["1", "2", "4", "8", "16", "32", "64", "128", "256", "512"]
    assert math.isclose(batches.sum(), 1.0)
    assert math.isclose(rows.sum(), 1.0)
    assert math.isclose(batches[2], 55 / trace.batch_count.sum())  # only the size 3 lies in 3…4
    names, latency = series.latency_bins(np.array([0.05, 0.1, 0.11, 4.0, 5.0, 5.1]))
    assert names == ["0.1", "0.2", "0.5", "1", "2", "5", "10"]
    np.testing.assert_allclose(latency * 6, [2, 1, 0, 0, 0, 2, 1])


def test_throughput_keeps_the_rate_when_it_thins_out_the_samples() -> None:
    seconds = np.arange(1, 1_001, dtype=np.float64) / 2
    zeros = np.zeros(1_000, dtype=np.int64)
    trace = RunTrace(seconds, zeros + 50, zeros, np.zeros(1_000), np.zeros(0), zeros[:0], zeros[:0])
    at, rates, lag_rows, lag_seconds = series.throughput(trace)
    assert len(at) == len(rates) == len(lag_rows) == len(lag_seconds) == 240
    np.testing.assert_allclose(rates, 100.0)
