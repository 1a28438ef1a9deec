"""Oracles: the formula in exact rationals, and the same row alone for the law that neighbours do not matter."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.errors import ModelError
from stream_infer.models.linear import LinearModel, logistic
from stream_infer.models.tensors import write_tensors


def model_of(wide: int, outputs: int, link: str = "identity", seed: int = 0) -> LinearModel:
    rng = np.random.default_rng(seed)
    columns = tuple(f"c{i}" for i in range(wide))
    return LinearModel(
        rng.normal(size=(wide, outputs)), rng.normal(size=outputs), rng.normal(size=wide), rng.uniform(0.5, 2, wide), link, columns
    )


@given(st.integers(1, 40), st.integers(1, 3), st.integers(0, 1000))
def test_the_formula(wide: int, outputs: int, seed: int) -> None:
    model = model_of(wide, outputs, seed=seed)
    x = np.random.default_rng(seed + 1).normal(size=(3, wide)).astype(np.float32)
    for row, answers in zip(x.tolist(), model.forward(x).tolist(), strict=True):
        for out, answer in enumerate(answers):
            terms = zip(row, model.mean.tolist(), model.scale.tolist(), model.weights[:, out].tolist(), strict=True)
            exact = Fraction(model.bias[out]) + sum((Fraction(v) - Fraction(m)) / Fraction(s) * Fraction(w) for v, m, s, w in terms)
            assert answer == pytest.approx(float(exact), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("link", ["identity", "logistic"])
@pytest.mark.parametrize("outputs", [1, 3])
@given(seed=st.integers(0, 100), rows=st.integers(1, 300))
def test_a_row_does_not_depend_on_its_neighbours(link: str, outputs: int, seed: int, rows: int) -> None:
    model = model_of(31, outputs, link, seed)
    x = np.random.default_rng(seed).normal(size=(rows, 31)).astype(np.float32)
    whole = model.forward(x)
    place = seed % rows
    assert model.forward(x[place : place + 1]).tobytes() == whole[place].tobytes()
    assert model.forward(x[::-1])[::-1].tobytes() == whole.tobytes()
    assert np.concatenate([model.forward(x[:place]), model.forward(x[place:])]).tobytes() == whole.tobytes()
    assert model.forward(np.asfortranarray(x)).tobytes() == whole.tobytes()


def test_no_rows_give_no_answers() -> None:
    assert model_of(3, 2).forward(np.zeros((0, 3), dtype=np.float32)).shape == (0, 2)


def test_logistic_saturates_without_overflow() -> None:
    assert logistic(np.array([-1e9, 0.0, 1e9])).tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-300)


def test_bytes_and_back() -> None:
    model = model_of(5, 2, "logistic")
    again = LinearModel.from_bytes(model.to_bytes())
    assert again.columns == model.columns
    assert again.link == "logistic"
    assert again.digest == model.digest == hashlib.sha256(model.to_bytes()).hexdigest()
    assert again.to_bytes() == model.to_bytes()


def test_a_zero_model_answers_zero_or_one_half() -> None:
    x = np.ones((2, 3), dtype=np.float32)
    assert LinearModel.zeros(("a", "b", "c"), "identity").forward(x).tolist() == [[0.0], [0.0]]
    assert LinearModel.zeros(("a", "b", "c"), "logistic").forward(x).tolist() == [[0.5], [0.5]]


GOOD = {"weights": np.ones((2, 1)), "bias": np.zeros(1), "mean": np.zeros(2), "scale": np.ones(2)}
METADATA = {"link": "identity", "columns": '["a", "b"]'}


def test_float32_arrays_are_widened() -> None:
    model = LinearModel.from_bytes(write_tensors({name: array.astype(np.float32) for name, array in GOOD.items()}, METADATA))
    assert model.weights.dtype == np.float64


@pytest.mark.parametrize(
    ("arrays", "metadata", "message"),
    [
        ({"weights": None}, {}, "lacks the tensor weights"),
        ({"weights": np.ones((2, 1), dtype=np.int64)}, {}, "weights has the wrong type"),
        ({"weights": np.array([[1.0], [np.nan]])}, {}, "weights holds NaN or infinity"),
        ({"bias": np.array([np.inf])}, {}, "bias holds NaN or infinity"),
        ({"weights": np.ones(2)}, {}, "weights has the wrong shape"),
        ({"weights": np.ones((3, 1))}, {}, "weights has the wrong shape"),
        ({"weights": np.ones((2, 0)), "bias": np.zeros(0)}, {}, "wrong shape"),
        ({"mean": np.zeros(3)}, {}, "mean has the wrong shape"),
        ({"scale": np.array([1.0, 0.0])}, {}, "not above zero"),
        ({}, {"link": "probit"}, "no known link"),
        ({}, {"columns": "a, b"}, "does not name the input columns"),
        ({}, {"columns": "[]"}, "does not name the input columns"),
    ],
)
def test_what_is_wrong_is_said(arrays: dict, metadata: dict, message: str) -> None:
    tensors = {name: array for name, array in (GOOD | arrays).items() if array is not None}
    with pytest.raises(ModelError, match=message):
        LinearModel.from_bytes(write_tensors(tensors, METADATA | metadata), "m.safetensors")


def test_another_width_is_refused() -> None:
    with pytest.raises(ModelError, match="another width"):
        model_of(3, 1).forward(np.zeros((2, 4), dtype=np.float32))
