"""Inputs that take many columns from one field, against a loop over rows."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.errors import ModelError
from stream_infer.features.settings import Input
from stream_infer.features.vectorise import Vectoriser
from stream_infer.records import Column, Lists, Numbers, Text

SIZE = 3
Row = list[float] | None
ROWS: st.SearchStrategy[list[Row]] = st.lists(
    st.none() | st.lists(st.floats(width=32, allow_nan=False), min_size=SIZE, max_size=SIZE) | st.lists(st.just(1.5), max_size=5),
    max_size=8,
)


def lists_of(rows: list[Row], dtype: type = np.float32) -> Lists:
    """The rows one after the other, with something strange before and between them."""
    pool: list[float] = [7.0]
    start = []
    for row in rows:
        start.append(len(pool))
        pool += [*(row or []), 9.0]
    size = np.array([len(row or []) for row in rows], dtype=np.int64)
    valid = np.array([row is not None for row in rows], dtype=np.bool_)
    return Lists(np.array(pool).astype(dtype), np.array(start, dtype=np.int64), size, valid)


def column_of(kind: str, rows: list[Row]) -> Column:
    if kind == "list":
        return lists_of(rows)
    if kind == "numbers":
        return Text.of(None if row is None else ";".join(repr(x) for x in row) for row in rows)
    return Text.of((None if row is None else struct.pack(f"<{len(row)}f", *row) for row in rows), is_bytes=True)


@given(ROWS, st.sampled_from(["list", "numbers", "floats32"]), st.booleans())
def test_wide_inputs_are_what_a_loop_makes(rows: list[Row], kind: str, alone: bool) -> None:
    wide = Input("many", kind, size=SIZE, separator=";")
    vectoriser = Vectoriser((wide,) if alone else (Input("x"), wide))
    matrix = vectoriser.matrix({"many": column_of(kind, rows), "x": Numbers(np.zeros(len(rows)))})

    # A text of numbers holds finite ones only: one that does not is no such text, where a list merely holds what no model may see.
    fits = [row is not None and len(row) == SIZE and (kind != "numbers" or bool(np.isfinite(row).all())) for row in rows]
    right = [row if fit and row is not None else [np.nan] * SIZE for row, fit in zip(rows, fits, strict=True)]
    assert matrix.flags.c_contiguous
    assert np.array_equal(matrix[:, -SIZE:], np.array(right, dtype=np.float32).reshape(-1, SIZE), equal_nan=True)
    assert vectoriser.incomplete(matrix).tolist() == [not np.isfinite(row).all() for row in right]


def test_columns_are_named_by_their_place() -> None:
    assert Vectoriser((Input("many", "list", size=SIZE), Input("x"))).columns == ("many[0]", "many[1]", "many[2]", "x")


@pytest.mark.parametrize("dtype", [np.bool_, np.int32, np.int64, np.float32, np.float64])
def test_every_kind_of_item(dtype: type) -> None:
    matrix = Vectoriser((Input("many", "list", size=2),)).matrix({"many": lists_of([[0, 1], [1, 1]], dtype)})

    assert matrix.tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("kind", "column", "said"),
    [
        ("list", lists_of([None]), "input `many` is absent, expected 3 numbers"),
        ("list", lists_of([[1.0, 2.0]]), "input `many`: got 2 numbers, expected 3"),
        ("list", lists_of([[1.0, np.inf, 2.0]]), "input `many[1]` is inf, expected a finite number"),
        ("list", lists_of([[1.0, 2.0, np.nan]]), "input `many[2]` is nan, expected a finite number"),
        ("numbers", Text.of(["1,2"]), "input `many`: got 2 numbers, expected 3"),
        ("numbers", Text.of(["1,x,2"]), "input `many`: got a text that is no finite numbers joined by `,`"),
        ("floats32", Text.of([b"12345"], is_bytes=True), "input `many`: got 5 bytes, expected 12"),
    ],
)
def test_a_row_that_does_not_fit_is_told_why(kind: str, column: Column, said: str) -> None:
    vectoriser = Vectoriser((Input("x"), Input("many", kind, size=SIZE)))
    columns = {"x": Numbers(np.zeros(1)), "many": column}
    matrix = vectoriser.matrix(columns)

    assert vectoriser.incomplete(matrix).tolist() == [True]
    assert vectoriser.gap(columns, matrix, 0) == said


def test_a_plain_number_that_is_absent_or_infinite_is_told_as_such() -> None:
    vectoriser = Vectoriser((Input("x"),))
    columns: dict[str, Column] = {"x": Numbers(np.array([np.nan, np.inf]))}
    matrix = vectoriser.matrix(columns)

    assert vectoriser.gap(columns, matrix, 0) == "input `x` is absent; give it a value with `{name: x, missing: 0}`"
    assert vectoriser.gap(columns, matrix, 1) == "input `x` is inf, expected a finite number"


@pytest.mark.parametrize("kind", ["list", "numbers", "floats32"])
def test_a_field_of_another_kind_is_named(kind: str) -> None:
    with pytest.raises(ModelError, match=f"input `x` \\({kind}\\): got a number, expected a"):
        Vectoriser((Input("x", kind, size=SIZE),)).matrix({"x": Numbers(np.zeros(1))})
