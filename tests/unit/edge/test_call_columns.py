"""Columns to users' values and back. Oracle: one value after the other, by the words of functions.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.edge.call_columns import Odd, Outcome, batch_of, column_of, joined, of_batch, of_rows, rows_of, with_defaults
from stream_infer.functions import Given, Rejected
from stream_infer.records import Column, Lists, Numbers, Text

GIVES = (("risk", "double"), ("note", "string"))
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.floats(), max_size=2),
    st.just(b"x"),
    st.just({}),
)


def slow(value: object, kind: str) -> tuple[object, bool]:
    """(the value in its column, whether it spoils its row)."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None, False
    if kind == "string" and isinstance(value, str):
        fits = not any(0xD800 <= ord(letter) < 0xE000 for letter in value)
        return (value, False) if fits else (None, True)
    if kind == "boolean" and isinstance(value, bool):
        return value, False
    if kind == "double" and isinstance(value, int | float) and math.isfinite(value):
        return float(value), False
    if kind == "long" and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value == int(value):
        return (int(value), False) if -(2**63) <= value < 2**63 else (None, True)
    if kind == "array" and isinstance(value, list) and all(math.isfinite(item) for item in value):
        return value, False
    return None, True


@given(st.lists(VALUES, min_size=1, max_size=8), st.sampled_from(["double", "long", "boolean", "string", "array"]))
@settings(max_examples=300)
def test_values_of_any_type_become_their_column_or_spoil_their_row(values: list[object], kind: str) -> None:
    column, faults = column_of(values, "it", kind)

    right = [slow(value, kind) for value in values]
    assert column.to_list() == [value for value, _ in right]
    assert set(faults) == {row for row, (_, odd) in enumerate(right) if odd}


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.array([1.5, math.nan, 2.0]), "double"),
        (np.array([1, 2], dtype=np.int32), "double"),
        (np.array([1, 2], dtype=np.uint64), "long"),
        (np.array([True, False]), "boolean"),
        (np.array([1.0, 2.5]), "long"),
        (np.array([1.0, math.inf]), "double"),
        (np.array(["a", "b"]), "string"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), "array"),
    ],
)
def test_an_array_is_taken_as_its_values_are(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], kind: str) -> None:
    fast, faults = column_of(array, "it", kind)
    one_by_one, others = column_of(array.tolist(), "it", kind)

    assert fast.to_list() == one_by_one.to_list()
    assert faults == others


def test_functions_see_numbers_texts_and_lists() -> None:
    columns: dict[str, Column] = {
        "amount": Numbers(np.array([1, 2, 3]), np.array([True, False, True])),
        "word": Text.of(["a", None, "ü"]),
        "items": Lists(np.array([1.0, 2.0]), np.array([0, 1, 1]), np.array([1, 1, 0]), np.array([True, True, False])),
    }
    batch = batch_of(columns, slice(0, 3))
    amounts = batch["amount"]
    assert isinstance(amounts, np.ndarray)
    assert (amounts.dtype, amounts[0], bool(np.isnan(amounts[1]))) == (np.float64, 1.0, True)
    assert batch["word"] == ["a", None, "ü"]
    assert rows_of(columns, 3) == [
        {"amount": 1, "word": "a", "items": [1.0]},
        {"amount": None, "word": None, "items": [2.0]},
        {"amount": 3, "word": "ü", "items": None},
    ]


def test_what_a_function_changes_is_its_own() -> None:
    column = Numbers(np.array([1.0, 2.0]))
    changed = batch_of({"amount": column}, slice(0, 2))["amount"]
    assert isinstance(changed, np.ndarray)
    changed[:] = 0

    assert column.to_list() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"risk": [1.0]}, "gave `risk`, its stage declares `note`, `risk`"),
        ([1, 2], "gave list, expected columns by name"),
        ({"risk": [1.0], "note": ["a", "b"]}, "gave 1 values of `risk`, expected 2"),
        ({"risk": [1.0, 2.0], "note": "ab"}, "gave str as `note`, expected a list or an array of 2 values"),
        (Given({"risk": [1.0, 2.0], "note": ["a", "b"]}, {2: "no"}), "rejected row 2, expected a row from 0 to 1"),
    ],
)
def test_what_is_not_of_the_right_form_is_said(made: object, says: str) -> None:
    with pytest.raises(Odd, match=says):
        of_batch(made, GIVES, 2)


def test_rejected_and_failed_rows_are_told_apart_and_parts_are_joined() -> None:
    one = of_batch(Given({"risk": [1.0, "x"], "note": ["a", "b"]}, {0: "no\nsecond line"}), GIVES, 2)
    two = of_rows([{"risk": 3, "note": None}, Rejected("not me"), KeyError("k"), {"risk": 1}], GIVES)
    whole = joined([(one, 2), (two, 4)])

    assert whole.rejected == {0: "no", 3: "not me"}
    assert whole.failed == {
        1: "`risk`: the function gave str 'x', expected a number or nothing",
        4: "KeyError: 'k'",
        5: "the function gave `risk`, its stage declares `note`, `risk`",
    }
    assert whole.columns["risk"].to_list() == [1.0, None, 3.0, None, None, None]


def test_defaults_stand_where_a_function_failed() -> None:
    outcome = Outcome({"risk": Numbers(np.array([1.0, 2.0, 3.0])), "note": Text.of(["a", "b", None])}, {0: "no"}, {1: "down"})
    made = with_defaults(outcome, {"risk": 0.5}, GIVES, 3)

    assert (made.columns["risk"].to_list(), made.columns["note"].to_list()) == ([1.0, 0.5, 3.0], ["a", None, None])
    assert (made.rejected, made.failed) == ({0: "no"}, {})
