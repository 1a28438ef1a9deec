"""Oracle: the weights of functions that are linear, everywhere or near the row."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.attribution import AttributionSettings, attribution_of
from stream_infer.records import Floats
from tests.unit.attribution.support_attribution import Told, keys_of, rows_of

LIME = AttributionSettings(method="lime", samples=400)


def test_a_linear_function_gives_back_its_weights() -> None:
    weights = np.array([2.0, -1.0, 0.5, 0.0, 3.0])
    x = rows_of(4, 5)
    found = attribution_of(Told(5, lambda rows: rows @ weights + 7.0), x, LIME, keys_of(4))
    assert found.parts == pytest.approx(x.astype(np.float64) * weights, abs=1e-5)
    assert np.abs(found.error).max() < 1e-5


def test_far_from_the_row_counts_little() -> None:
    """Linear where at most half of the inputs are replaced, something else beyond: the weights nearby are what is told."""
    wide = 12
    weights = np.linspace(-2.0, 2.0, wide)
    x = np.ones((3, wide), dtype=np.float32)

    def says(rows: Floats) -> Floats:
        return np.where((rows == 0.0).sum(axis=1) <= 6, rows @ weights, 1.0)

    found = attribution_of(Told(wide, says), x, AttributionSettings(method="lime", samples=4000), keys_of(3))
    assert np.abs(found.parts - weights).max() < 0.1


def test_what_does_not_add_up_is_told() -> None:
    x = np.ones((1, 4), dtype=np.float32)
    found = attribution_of(Told(4, lambda rows: rows.prod(axis=1)), x, LIME, keys_of(1))
    assert found.error[0] == pytest.approx(found.value[0] - found.baseline[0] - found.parts[0].sum())
    assert abs(found.error[0]) > 0.1


def test_more_inputs_than_samples_still_give_an_answer() -> None:
    x = rows_of(2, 50)
    found = attribution_of(Told(50, lambda rows: rows.sum(axis=1)), x, AttributionSettings(method="lime", samples=20), keys_of(2))
    assert np.isfinite(found.parts).all()
