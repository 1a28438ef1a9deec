"""The model's matrix against a loop over rows, and what is said about columns that do not fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.errors import ModelError
from stream_infer.features.settings import Input
from stream_infer.features.vectorise import Vectoriser
from stream_infer.records import Column, Lists, Numbers, Text

WORDS = ["", "EWR", "JFK", "JFKJFKJFKJFK", "JFKJFKJFKJFL", "Zürich"]
INPUTS = (
    Input("x"),
    Input("x", missing=-1.0),
    Input("x", "is_missing"),
    Input("word", "one_hot", values=tuple(WORDS[:5])),
    Input("word", "is_missing"),
    Input("flag"),
)
ROWS = st.lists(
    st.tuples(st.none() | st.floats(width=32), st.none() | st.sampled_from(WORDS) | st.text(max_size=3), st.booleans()), max_size=12
)


def columns_of(rows: list[tuple[float | None, str | None, bool]]) -> dict[str, Column]:
    x = Numbers(
        np.array([0.0 if row[0] is None else row[0] for row in rows]), np.array([row[0] is not None for row in rows], dtype=np.bool_)
    )
    return {"x": x, "word": Text.of([row[1] for row in rows]), "flag": Numbers(np.array([row[2] for row in rows], dtype=np.bool_))}


@given(ROWS)
def test_matrix_is_what_a_loop_makes(rows: list[tuple[float | None, str | None, bool]]) -> None:
    expected = []
    for x, word, flag in rows:
        value = math.nan if x is None else x
        hot = [float(word == choice) for choice in WORDS[:5]]
        expected.append([value, -1.0 if math.isnan(value) else value, float(math.isnan(value)), *hot, float(word is None), float(flag)])

    vectoriser = Vectoriser(INPUTS)
    matrix = vectoriser.matrix(columns_of(rows))

    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    assert matrix.shape == (len(rows), len(vectoriser.columns))
    assert np.array_equal(matrix, np.array(expected, dtype=np.float32).reshape(matrix.shape), equal_nan=True)
    assert vectoriser.incomplete(matrix).tolist() == [x is None or not math.isfinite(x) for x, _, _ in rows]


def test_columns_are_named_in_order() -> None:
    assert Vectoriser(INPUTS[2:4]).columns == ("x?", "word=", "word=EWR", "word=JFK", "word=JFKJFKJFKJFK", "word=JFKJFKJFKJFL")


@pytest.mark.parametrize("dtype", [np.bool_, np.int32, np.int64, np.float32, np.float64])
def test_every_kind_of_number(dtype: type) -> None:
    matrix = Vectoriser((Input("x"),)).matrix({"x": Numbers(np.array([0, 1], dtype=dtype))})

    assert matrix.tolist() == [[0.0], [1.0]]


def test_a_number_beyond_float32_is_not_shown_to_a_model() -> None:
    vectoriser = Vectoriser((Input("x"),))

    assert vectoriser.incomplete(vectoriser.matrix({"x": Numbers(np.array([1e39, 1e38]))})).tolist() == [True, False]


def test_a_model_without_inputs_still_has_rows() -> None:
    assert Vectoriser(()).matrix({"x": Numbers(np.zeros(3))}).shape == (3, 0)


LISTS = Lists(np.zeros(0), np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Input("y"), "input `y` (number): got no such column, expected one of: list, word, x"),
        (Input("word"), "input `word` (number): got a text, expected a number"),
        (Input("list"), "input `list` (number): got a list, expected a number"),
        (Input("x", "one_hot", values=("a",)), "input `x` (one_hot): got a number, expected a text"),
    ],
)
def test_columns_that_do_not_fit_are_named(entry: Input, message: str) -> None:
    columns: dict[str, Column] = {"x": Numbers(np.zeros(1)), "word": Text.of(["a"]), "list": LISTS}
    with pytest.raises(ModelError) as raised:
        Vectoriser((entry,)).matrix(columns)

    assert str(raised.value) == message


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ModelError, match="got kind embedding"):
        Vectoriser((Input("x", "embedding"),))
