"""Oracle: the mean over all orders in which inputs may come in."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.attribution import AttributionSettings, attribution_of
from stream_infer.errors import ModelError
from tests.unit.attribution.support_attribution import Told, keys_of, rows_of, shapley_by_orders, twisted


def settings(**changes: object) -> AttributionSettings:
    return AttributionSettings(**({"method": "shap"} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("wide", [4, 5, 6, 7])
def test_all_coalitions_give_the_shapley_values(wide: int) -> None:
    model, x = Told(wide, twisted), rows_of(3, wide)
    baseline = {f"x{i}": 0.25 * i for i in range(wide)}
    found = attribution_of(model, x, settings(samples=2**wide - 2, baseline=tuple(baseline.items())), keys_of(3))
    row = np.array(list(baseline.values()), dtype=np.float32)
    for place in range(3):
        expected = shapley_by_orders(model, x[place], row, np.arange(wide))
        assert found.parts[place] == pytest.approx(expected, abs=1e-9)
    assert np.abs(found.error).max() < 1e-9
    assert (found.method, found.unit) == ("shap", "answer")


def test_columns_that_go_together_count_as_one() -> None:
    model, x, starts = Told(6, twisted), rows_of(2, 6, seed=4), np.array([0, 2, 3])
    found = attribution_of(model, x, settings(), keys_of(2), starts)
    zeros = np.zeros(6, dtype=np.float32)
    assert found.parts == pytest.approx(np.stack([shapley_by_orders(model, row, zeros, starts) for row in x]), abs=1e-9)


def test_one_group_alone_earns_everything() -> None:
    x = rows_of(2, 4)
    found = attribution_of(Told(4, twisted), x, settings(), keys_of(2), np.array([0]))
    assert found.parts[:, 0] == pytest.approx(found.value - found.baseline)


@pytest.mark.parametrize("wide", [1, 2, 3])
def test_few_inputs(wide: int) -> None:
    x = rows_of(2, wide)
    found = attribution_of(Told(wide, lambda rows: 2.0 * rows.sum(axis=1) + 1.0), x, settings(), keys_of(2))
    assert found.parts == pytest.approx(2.0 * x.astype(np.float64))
    assert found.baseline == pytest.approx([1.0, 1.0])


def test_more_samples_come_nearer() -> None:
    wide = 11
    model, x = Told(wide, twisted), rows_of(6, wide, seed=2)
    exact = attribution_of(model, x, settings(samples=2**wide - 2), keys_of(6)).parts
    off = []
    for samples in (40, 160, 640):
        found = attribution_of(model, x, settings(samples=samples), keys_of(6))
        assert np.abs(found.error).max() < 1e-9
        off.append(float(np.sqrt(np.mean((found.parts - exact) ** 2))))
    assert off[2] < off[1] < off[0]
    assert off[2] < 0.05 * float(np.abs(exact).max())


def test_the_mean_of_many_draws_nears_the_values_as_samples_grow() -> None:
    """A fit to few draws leans a little (it is a quotient of two sums); with more of them it does so less."""
    wide, count = 11, 200
    model, row = Told(wide, twisted), rows_of(1, wide, seed=2)
    exact = attribution_of(model, row, settings(samples=2**wide - 2), keys_of(1)).parts[0]
    off = []
    for samples in (60, 600):
        found = attribution_of(model, np.repeat(row, count, axis=0), settings(samples=samples), keys_of(count)).parts
        off.append(float(np.abs(found.mean(axis=0) - exact).max()))
    assert off[1] < off[0] / 3
    assert off[1] < 0.02 * float(np.abs(exact).max())


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ModelError, match="too few samples"):
        attribution_of(Told(20, twisted), rows_of(1, 20), settings(samples=39), keys_of(1))
    attribution_of(Told(20, twisted), rows_of(1, 20), settings(samples=40), keys_of(1))
