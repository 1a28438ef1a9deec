"""What is wrong with models of any format, found before they can answer. Each file is broken on purpose in one place."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import skops.io
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression
from torch import nn

from stream_infer.errors import ModelError
from stream_infer.models.base import BATCH_DIFFERENCE_MAX, batch_difference
from stream_infer.models.load import load_model
from tests.unit.models.makers import (
    everything,
    exported,
    last_leaf,
    lgb,
    lgb_with,
    load,
    onnx_graph,
    onnx_net,
    pickled,
    rows,
    saved_net,
    training,
    xgb,
    xgb_with,
)

NODE = onnx.helper.make_node
NAN = np.float32("nan")


def refitted(value: float) -> bytes:
    fitted = LinearRegression().fit(*training()[:2])
    fitted.coef_ = fitted.coef_ * value
    return skops.io.dumps(fitted)


@pytest.mark.parametrize(
    ("format", "data", "message"),
    [
        ("torch", lambda: saved_net(**{"layers.0.bias": torch.full((8,), torch.nan)}), "layers.0.bias holds NaN"),
        ("onnx", lambda: onnx_net(weights={"layers_1_bias": np.array([0, NAN])}), "tensor layers_1_bias holds NaN"),
        ("pt2", lambda: exported(torch.nn.Linear(3, 1).apply(lambda layer: layer.bias.data.fill_(torch.nan))), "not finite"),
        ("skops", lambda: refitted(np.nan), "answer that is not finite"),
        ("xgboost json", lambda: xgb_with(split_conditions=(last_leaf(), 1e300)), "a leaf that is not finite"),
        ("xgboost json", lambda: xgb_with(split_conditions=(last_leaf(), float("nan"))), "no JSON"),
        ("lightgbm", lambda: lgb_with("leaf_value", "nan"), "tree 0 has a leaf that is not finite"),
        ("lightgbm", lambda: lgb_with("leaf_value", "inf", 0), "tree 0 has a leaf that is not finite"),
    ],
)
def test_weights_that_are_no_numbers(format: str, data: object, message: str) -> None:  # noqa: A002
    with pytest.raises(ModelError, match=message):
        load(format, data())


class Centred(nn.Module):
    """Mixes the rows of a batch, as a net does that was exported in training."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(dim=0, keepdim=True)).sum(dim=1)


class Ranks(RegressorMixin, BaseEstimator):
    """Another estimator that looks at its neighbours."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Ranks:
        self.n_features_in_ = x.shape[1]
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x[:, 0].argsort().argsort() + 1.0


class OneAnswer(Ranks):
    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.zeros(1)


MEAN = onnx_graph(NODE("ReduceMean", ["x"], ["m"], axes=[0]), NODE("Sub", ["x", "m"], ["y"]))


@pytest.mark.parametrize(
    ("format", "data"),
    [("onnx", lambda: MEAN), ("pt2", lambda: exported(Centred())), ("pickle", lambda: pickled(Ranks().fit(*training()[:2])))],
)
def test_rows_that_depend_on_their_neighbours_are_refused_unless_that_is_allowed(format: str, data: object) -> None:  # noqa: A002
    with pytest.raises(ModelError, match=r"depends on the rows beside it(.|\n)*differ by (0\.[0-9]|[1-9])(.|\n)*batch_variant: allow"):
        load(format, data())
    model = load(format, data(), batch_variant="allow")
    assert batch_difference(model, rows(7)) > 10 * BATCH_DIFFERENCE_MAX


def test_the_answer_of_a_batch_as_a_whole_is_refused() -> None:
    with pytest.raises(ModelError, match="does not follow the batch"):
        load("pickle", pickled(OneAnswer().fit(*training()[:2])))


@pytest.mark.parametrize("format", ["torch", "onnx", "pt2", "torchscript", "skops", "pickle", "joblib", "xgboost json", "lightgbm"])
@pytest.mark.filterwarnings("ignore:.*TorchScript is deprecated:FutureWarning")
def test_sound_models_are_far_from_the_limit(format: str) -> None:  # noqa: A002
    made = everything()[format]
    assert batch_difference(load_model(made.settings(), made.data, {}), rows(200)) < BATCH_DIFFERENCE_MAX / 1000


def test_trees_trained_without_names_take_the_topology_s() -> None:
    for form, data in (("xgboost ubj", bytes(xgb(named=False).save_raw("ubj"))), ("lightgbm", lgb(named=False).model_to_string().encode())):
        assert load(form, data, columns=("x", "y", "z")).columns == ("x", "y", "z")
        with pytest.raises(ModelError, match="another number of inputs"):
            load(form, data, columns=("x", "y"))


@pytest.mark.parametrize("format", ["xgboost json", "xgboost ubj", "lightgbm", "onnx", "skops"])
def test_broken_bytes_are_refused_or_answer_and_never_end_the_process(format: str) -> None:  # noqa: A002
    """600 such changes of a LightGBM or UBJSON file ended the process within seconds before the files were looked through."""
    made = everything()[format]
    for seed in range(60):
        rng = np.random.default_rng(seed)
        data = bytearray(made.data)
        for _ in range(int(rng.integers(1, 4))):
            place, size = int(rng.integers(len(data))), int(rng.integers(1, 9))
            how = rng.integers(3)
            if how == 0:
                data[place] = int(rng.integers(256))
            elif how == 1:
                del data[place : place + size]
            else:
                data[place:place] = data[place : place + size]
        try:
            assert load(format, bytes(data)).forward(rows(3)).shape[0] == 3
        except ModelError:
            continue  # refused, which is the other thing that may happen
