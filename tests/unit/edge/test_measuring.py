"""The cost curve of a model. Oracle: the cost that the fake model was given; its clock moves only while it computes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.batching import SIZES_PROBED
from stream_infer.batching.curve import PASS_S
from stream_infer.cli import load_plan
from stream_infer.edge.measuring import RUNS, SECONDS_MAX, cost_curve, measured
from stream_infer.models.settings import BatchSettings
from stream_infer.records import Floats, Matrix
from stream_infer.topology.plan import Plan
from tests.support_run import score_case


class Costly:
    """A model and the clock that it moves. seconds: of a pass of so many rows; the first pass of each size costs ten times as much."""

    columns, outputs, digest = ("a", "b"), 1, ""

    def __init__(self, seconds: Callable[[int], float], rows_max: int = 10**9) -> None:
        self.seconds, self.rows_max = seconds, rows_max
        self.now = 1000.0
        self.asked: list[int] = []

    def clock(self) -> float:
        return self.now

    def forward(self, x: Matrix) -> Floats:
        assert x.shape[1] == 2
        assert x.dtype == np.float32
        if len(x) > self.rows_max:
            raise MemoryError(f"{len(x)} rows")
        self.now += self.seconds(len(x)) * (1 if len(x) in self.asked else 10)
        self.asked.append(len(x))
        return np.zeros((len(x), 1))


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return load_plan(score_case("", tmp_path, "measured", topics=False).path)


@given(st.floats(1e-6, 1e-3), st.floats(1e-9, 1e-6))
def test_the_knee_is_the_smallest_size_within_five_percent_of_the_cheapest(fixed: float, per_row: float) -> None:
    model = Costly(lambda rows: fixed + per_row * rows)
    curve = cost_curve(model, model.clock)
    assert curve.rows_most == SIZES_PROBED[-1]
    assert curve.sizes == SIZES_PROBED
    assert model.asked == [size for size in SIZES_PROBED for _ in range(RUNS)]
    assert curve.seconds == pytest.approx([fixed + per_row * size for size in SIZES_PROBED])
    cost = {size: (fixed + PASS_S) / size + per_row for size in SIZES_PROBED}
    best = min(cost.values())
    assert cost[curve.knee()] <= 1.0501 * best
    assert all(cost[size] > 1.0499 * best for size in SIZES_PROBED if size < curve.knee())


def rows_of(plan: Plan, model: Costly) -> int:
    curve = measured(plan, {"twice": model}, model.clock).models["twice"].batch.curve
    assert curve is not None
    return curve.best()


def test_a_slow_model_is_not_asked_for_longer_than_a_second(plan: Plan) -> None:
    model = Costly(lambda rows: 0.01 * rows)
    assert rows_of(plan, model) == 1, "every row costs the same: waiting for more buys nothing"
    assert model.now - 1000.0 <= SECONDS_MAX + 10 * model.seconds(model.asked[-1])


@pytest.mark.parametrize(
    ("fixed", "per_row", "rows"), [(5.0, 0.0, 256), (0.0, 5.0, 1), (0.05, 1e-5, 256), (0.02, 0.02, 256), (0.001, 0.02, 1), (0.1, 0.0, 256)]
)
def test_time_that_ran_out_says_nothing_of_sizes_not_seen(plan: Plan, fixed: float, per_row: float, rows: int) -> None:
    """A model that takes long whatever it gets must not be given row by row."""
    model = Costly(lambda size: fixed + per_row * size)
    assert rows_of(plan, model) == rows
    assert {1, 2} <= set(model.asked)


@pytest.mark.parametrize(("largest", "rows"), [(100, 64), (64, 64), (1, 1), (0, 1)])
def test_a_size_that_fails_ends_the_sweep_and_is_never_asked_again(plan: Plan, largest: int, rows: int) -> None:
    assert rows_of(plan, Costly(lambda rows: 1e-3 + 1e-9 * rows, rows_max=largest)) == rows


def test_what_the_topology_states_is_kept_and_not_timed(plan: Plan) -> None:
    stated = replace(plan, models={"twice": replace(plan.models["twice"], batch=BatchSettings(33))})
    model = Costly(lambda rows: 1.0)
    assert measured(stated, {"twice": model}, model.clock) == stated
    assert model.asked == []


def test_nothing_else_of_the_plan_changes_and_one_line_tells(plan: Plan, caplog: pytest.LogCaptureFixture) -> None:
    model = Costly(lambda rows: 1e-3 + 1e-6 * rows)
    with caplog.at_level(logging.INFO, "stream_infer.models"):
        settled = measured(plan, {"twice": model}, model.clock)
    assert replace(settled, models=plan.models) == plan
    assert replace(settled.models["twice"], batch=plan.models["twice"].batch) == plan.models["twice"]
    assert caplog.messages == ["model twice: at most 4096 rows a batch (5.10 ms, 1.24 µs a row; one row alone 1.00 ms)"]
