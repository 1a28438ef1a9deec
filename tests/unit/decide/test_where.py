"""Oracle: Python's own comparison, value by value."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.decide.settings import Where
from stream_infer.decide.where import COMPARISONS, rows
from stream_infer.errors import Bug
from stream_infer.records import Lists, Numbers, Text

PYTHON = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@given(st.lists(st.none() | st.integers(-5, 5)), st.sampled_from(list(COMPARISONS)), st.integers(-5, 5))
def test_numbers(values: list[int | None], name: str, literal: int) -> None:
    column = Numbers(np.array([v or 0 for v in values], dtype=np.int64), np.array([v is not None for v in values], dtype=np.bool_))
    got = rows(Where("f", name, float(literal)), {"f": column})
    assert got.tolist() == [v is not None and PYTHON[name](v, literal) for v in values]


@given(st.lists(st.none() | st.text("ab", max_size=3)), st.sampled_from(["==", "!="]), st.text("ab", max_size=3))
def test_texts(values: list[str | None], name: str, literal: str) -> None:
    got = rows(Where("f", name, literal), {"f": Text.of(values)})
    assert got.tolist() == [v is not None and PYTHON[name](v, literal) for v in values]


@pytest.mark.parametrize("name", list(COMPARISONS))
def test_nan_is_absent(name: str) -> None:
    assert rows(Where("f", name, 1.0), {"f": Numbers(np.array([np.nan]))}).tolist() == [False]


def test_times_in_ms_are_exact() -> None:
    column = Numbers(np.array([1372636799999, 1372636800000], dtype=np.int64))
    assert rows(Where("t", ">=", 1372636800000.0), {"t": column}).tolist() == [False, True]


@pytest.mark.parametrize(
    ("where", "column"),
    [
        (Where("f", "==", "a"), Numbers(np.zeros(1))),
        (Where("f", "==", 1.0), Text.of(["a"])),
        (Where("f", "<", "a"), Text.of(["a"])),
        (Where("f", "==", 1.0), Lists.of_matrix(np.zeros((1, 2)))),
        (Where("g", "==", 1.0), Numbers(np.zeros(1))),
    ],
)
def test_a_misfit_is_our_bug(where: Where, column: Numbers | Text | Lists) -> None:
    with pytest.raises(Bug, match="cannot be asked"):
        rows(where, {"f": column})
