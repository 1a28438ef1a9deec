"""What holds for every method: rows do not depend on each other, repeats are equal, bad questions are refused."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.attribution import Attributions, AttributionSettings, attribution_of
from stream_infer.errors import ModelError
from stream_infer.models.linear import LinearModel
from tests.unit.attribution.support_attribution import Told, keys_of, rows_of, twisted


def linear() -> LinearModel:
    chance = np.random.default_rng(3)
    return LinearModel(chance.normal(size=(12, 1)), np.ones(1), np.zeros(12), np.ones(12), "logistic")


@pytest.mark.parametrize("method", ["linear", "integrated_gradients", "shap", "lime"])
def test_a_row_does_not_depend_on_who_is_explained_with_it(method: str) -> None:
    x, keys, said = rows_of(9, 12), keys_of(9), AttributionSettings(method, samples=100, steps=16)
    starts = np.array([0, 1, 4, 5, 6, 7, 8, 9, 10, 11])
    whole = attribution_of(linear(), x, said, keys, starts).to_matrix()
    for cut in ([0], [3, 4, 5], [8, 1]):
        part = attribution_of(linear(), x[cut], said, keys[cut], starts, rows_at_once=130).to_matrix()
        assert (part == whole[cut]).all()


@pytest.mark.parametrize("method", ["shap", "lime"])
def test_what_is_drawn_follows_the_key_and_the_seed(method: str) -> None:
    model, x = Told(12, twisted), np.repeat(rows_of(1, 12), 3, axis=0)
    keys = np.array([5, 5, 6], dtype=np.uint64)
    one = attribution_of(model, x, AttributionSettings(method, samples=60), keys).parts
    other = attribution_of(model, x, AttributionSettings(method, samples=60, seed=1), keys).parts
    assert (one[0] == one[1]).all()
    assert (one[0] != one[2]).any()
    assert (one[0] != other[0]).any()


def test_perturbed_rows_of_many_predictions_share_passes() -> None:
    model = Told(9, twisted)
    attribution_of(model, rows_of(10, 9), AttributionSettings("shap", samples=100), keys_of(10), rows_at_once=500)
    assert model.asked == [10, 1, 500, 500]


def test_passes_have_the_sizes_that_the_model_is_made_for() -> None:
    class Fixed(Told):
        def forward(self, x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
            assert len(x) in (8, 32)
            return super().forward(x)

    model, x = Fixed(4, twisted), rows_of(3, 4)
    found = attribution_of(model, x, AttributionSettings("shap"), keys_of(3), sizes=(8, 32))
    assert model.asked == [8, 8, 32, 32]
    assert (found.to_matrix() == attribution_of(Told(4, twisted), x, AttributionSettings("shap"), keys_of(3)).to_matrix()).all()


def test_the_best_way_for_each_model() -> None:
    assert attribution_of(linear(), rows_of(1, 12), AttributionSettings(), keys_of(1)).method == "linear"
    assert attribution_of(Told(4, twisted), rows_of(1, 4), AttributionSettings(), keys_of(1)).method == "shap"


def test_they_travel_as_an_answer() -> None:
    found = attribution_of(linear(), rows_of(3, 12), AttributionSettings(), keys_of(3))
    again = Attributions.from_matrix(found.to_matrix())
    assert (again.method, again.unit) == ("linear", "log_odds")
    assert (again.error == found.error).all()
    assert (again.parts == found.parts).all()


def test_a_model_that_says_nonsense_of_a_perturbed_row_is_a_fault() -> None:
    model = Told(3, lambda rows: np.where(rows[:, 0] == 0.0, np.nan, 1.0))
    with pytest.raises(ModelError, match="not finite"):
        attribution_of(model, rows_of(1, 3), AttributionSettings("lime"), keys_of(1))


def test_outputs_and_means_that_are_not_there() -> None:
    with pytest.raises(ModelError, match="no such output"):
        attribution_of(linear(), rows_of(1, 12), AttributionSettings(output=1), keys_of(1))
    with pytest.raises(ModelError, match="by which mean"):
        attribution_of(Told(3, twisted), rows_of(1, 3), AttributionSettings(baseline="mean"), keys_of(1))
