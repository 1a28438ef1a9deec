"""Columns against lists of Python values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.records import Column, Lists, Numbers, Same, Text, concat_columns, plain, sealed

TEXTS = st.lists(st.none() | st.binary(max_size=30), max_size=8)
NUMBERS = st.lists(st.none() | st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5), max_size=8)


def lists_of(rows: list[Any], dtype: Any = np.int64) -> Lists:
    size = np.array([len(row or []) for row in rows], dtype=np.int64)
    valid = None if None not in rows else np.array([row is not None for row in rows], dtype=np.bool_)
    return Lists(np.array([item for row in rows for item in row or []], dtype=dtype), np.cumsum(size) - size, size, valid)


def lost(column: Text | Lists) -> Text | Lists:
    """Absent rows that point anywhere."""
    if column.valid is not None:
        column.start, column.size = np.where(column.valid, column.start, 10**12), np.where(column.valid, column.size, 10**12)
    return column


@st.composite
def columns(draw: st.DrawFn) -> tuple[list[Column], list[Any]]:
    """Columns of one kind, some of them rows taken from a common one, and all their rows."""
    rows = draw(TEXTS) if (text := draw(st.booleans())) else draw(NUMBERS)
    dtype = draw(st.sampled_from([np.int64, np.int32, np.float64, np.float32]))
    make = (lambda cells: Text.of(cells, is_bytes=True)) if text else (lambda cells: lists_of(cells, dtype))
    common = lost(make([*rows, b"long" * 100] if text else [*rows, [1] * 100]))
    parts: list[Column] = []
    expected: list[Any] = []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            picked = draw(st.lists(st.integers(0, len(common) - 1), max_size=6))
            part = common.take(np.array(picked, dtype=np.int64))
        else:
            part = lost(make(draw(TEXTS if text else NUMBERS)))
        parts.append(part)
        expected += [
            row if row is None or text else np.array(row, dtype=dtype).tolist()
            for row in (part.raw() if isinstance(part, Text) else part.to_list())
        ]
    return parts, expected


@settings(deadline=None, max_examples=200)
@given(columns())
def test_joined_columns_hold_the_rows_of_their_parts(made: tuple[list[Column], list[Any]]) -> None:
    parts, expected = made
    joined = concat_columns(parts)
    assert joined.to_list() == expected
    assert type(joined) is type(parts[0])


@settings(deadline=None)
@given(columns())
def test_compact_columns_hold_the_same_rows(made: tuple[list[Column], list[Any]]) -> None:
    for part in made[0]:
        if not isinstance(part, Numbers):
            own = part.compact()
            assert own.to_list() == part.to_list()
            held = own.blob if isinstance(own, Text) else own.items
            assert len(held) <= 2 * sum(len(row) for row in part.to_list() if row is not None) + 64  # type: ignore[arg-type]


def test_joining_keeps_no_bytes_that_no_row_needs() -> None:
    big = Text.of([b"x" * 100] * 1000)
    few = [big.take(np.arange(place, place + 3)) for place in (5, 900)]
    assert len(concat_columns(few).blob) == 600  # type: ignore[union-attr]
    assert len(concat_columns([*few, Text.of([b"y"])]).blob) == 601  # type: ignore[union-attr]


def test_rows_of_one_block_are_joined_without_copying_it() -> None:
    block = Text.of([b"abc", b"", b"defg"] * 20)
    joined = concat_columns([block.take(slice(0, 30)), block.take(slice(30, 60))])
    assert isinstance(joined, Text)
    assert joined.blob is block.blob
    twice = concat_columns([block, Text.of([b"z"]), block])
    assert len(twice.blob) == len(block.blob) + 1  # type: ignore[union-attr]
    assert twice.to_list() == [*block.to_list(), "z", *block.to_list()]


@settings(deadline=None)
@given(st.lists(st.none() | st.binary(max_size=5) | st.text(max_size=5), max_size=6))
def test_texts_are_made_of_values_and_give_them_back(rows: list[Any]) -> None:
    expected = [row.encode() if isinstance(row, str) else row for row in rows]
    text = Text.of(iter(rows), is_bytes=True)
    assert text.raw() == expected
    assert text.to_list() == expected
    assert (text.valid is None) == (None not in rows)
    assert text.take(np.arange(len(rows))[::-1]).raw() == expected[::-1]


def test_spans_outside_of_their_block_are_refused() -> None:
    wrong = Text(np.zeros(1000, dtype=np.uint8), np.array([0, 999]), np.array([1, 2]))
    with pytest.raises(ValueError, match="row 1 points outside of its block"):
        wrong.compact()


def test_kernels_get_one_form_of_arrays() -> None:
    """Another form would be compiled for anew, which takes seconds."""
    numbers = np.arange(10)
    frozen = sealed(numbers)
    assert not frozen.flags.writeable
    assert numbers.flags.writeable
    assert sealed(frozen) is frozen
    for odd in (numbers[::2], frozen, sealed(numbers[::-1])):
        assert plain(odd).flags.carray
        assert plain(odd).tolist() == odd.tolist()
        assert sealed(odd).flags.c_contiguous
    assert plain(numbers) is numbers


@pytest.mark.parametrize("value", [True, -3, 0.5, "zürich", b"\xff", [1, 2], [0.5], []])
def test_a_value_that_is_the_same_in_all_rows_spreads_to_a_column(value: object) -> None:
    same = Same(value, 3)
    assert len(same) == 3
    assert same.spread().to_list() == [value] * 3
