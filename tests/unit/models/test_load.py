"""Every way a model file can be wrong, and what is said about it."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from stream_infer.errors import ModelError
from stream_infer.features.settings import Input
from stream_infer.models.base import self_check
from stream_infer.models.linear import LinearModel
from stream_infer.models.load import check_bytes, load_model
from stream_infer.models.settings import LearnerSettings, ModelSettings
from stream_infer.records import Floats, Matrix

INPUTS = (Input("hour"), Input("origin", "one_hot", values=("EWR", "JFK")))
COLUMNS = ("hour", "origin=EWR", "origin=JFK")


def settings(**changes: object) -> ModelSettings:
    return ModelSettings(**({"name": "ridge", "kind": "linear", "inputs": INPUTS, "artifact": "models/ridge.safetensors"} | changes))


def linear(columns: tuple[str, ...] = COLUMNS, weight: float = 1.0) -> bytes:
    wide = len(columns)
    return LinearModel(np.full((wide, 1), weight), np.zeros(1), np.zeros(wide), np.ones(wide), "identity", columns).to_bytes()


def test_a_linear_model_with_its_pin() -> None:
    digest = hashlib.sha256(linear()).hexdigest()
    for pin in (None, digest, digest.upper(), f"sha256:{digest}"):
        assert load_model(settings(sha256=pin), linear(), {}).digest == digest
    assert check_bytes(settings(), linear()) == digest


def test_a_wrong_checksum_is_refused_before_anything_is_parsed() -> None:
    with pytest.raises(ModelError, match=r"models/ridge.safetensors: the file is not the one(.|\n)*expected: +sha256 abc"):
        load_model(settings(sha256="abc"), b"not even a model", {})


def test_columns_must_be_the_inputs_in_order() -> None:
    with pytest.raises(ModelError, match=r"column 0 of the model(.|\n)*got: +origin=EWR\n +expected: hour"):
        load_model(settings(), linear(("origin=EWR", "hour", "origin=JFK")), {})
    with pytest.raises(ModelError, match=r"got: +2 columns \(-origin=JFK\)"):
        load_model(settings(), linear(COLUMNS[:2]), {})
    with pytest.raises(ModelError, match=r"got: +4 columns \(\+distance\)"):
        load_model(settings(), linear((*COLUMNS, "distance")), {})


def test_answers_must_be_finite() -> None:
    with pytest.raises(ModelError, match="a row of 1s gives an answer that is not finite"), np.errstate(over="ignore"):
        load_model(settings(), linear(weight=1e308), {})


@pytest.mark.parametrize(("by", "answer"), [("sgd", 0.0), ("ftrl", 0.5)])
def test_a_learner_starts_from_zero(by: str, answer: float) -> None:
    model = load_model(settings(artifact=None, learns=LearnerSettings(by)), None, {})
    assert model.columns == COLUMNS
    assert model.forward(np.ones((1, 3), dtype=np.float32)).tolist() == [[answer]]


def test_no_bytes_where_a_file_is_named() -> None:
    for changed in (settings(), settings(learns=LearnerSettings("sgd")), settings(artifact=None)):
        with pytest.raises(ModelError, match="the model has no file"):
            load_model(changed, None, {})


class Odd:
    """Answers in a shape of its own."""

    columns, outputs, digest = ("a",), 1, ""

    def __init__(self, shape: str) -> None:
        self.shape = shape

    def forward(self, x: Matrix) -> Floats:
        return {"flat": np.zeros(len(x)), "fixed": np.zeros((2, 1)), "wide": np.zeros((len(x), len(x)))}[self.shape]


@pytest.mark.parametrize("shape", ["flat", "fixed", "wide"])
def test_self_check_finds_shapes_that_do_not_follow_the_batch(shape: str) -> None:
    with pytest.raises(ModelError, match="does not follow the batch"):
        self_check(Odd(shape))


def test_linear_models_load_without_torch() -> None:
    code = f"""
import sys
from stream_infer.models.load import load_model
from stream_infer.models.settings import ModelSettings
from stream_infer.features.settings import Input
load_model(ModelSettings("m", "linear", {INPUTS!r}), {linear()!r}, {{}})
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_table_answers_with_the_columns_themselves() -> None:
    model = load_model(ModelSettings("t", "table", (Input("a"), Input("b"), Input("c"))), None, {})
    rows = np.array([[0.1, -2.5, 1e30], [1e-40, 0.0, -1e-3]], dtype=np.float32)
    assert (model.columns, model.outputs) == (("a", "b", "c"), 3)
    np.testing.assert_array_equal(model.forward(rows), rows.astype(np.float64))
    self_check(model)
