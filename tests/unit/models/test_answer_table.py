"""Answers from memory: those that were given to the same bytes by the same version, and never another's.

Oracle: a dict by version and bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.models.answer_table import OVERHEAD_BYTES, WAYS, AnswerTable, CacheSettings, distinct
from stream_infer.records import Matrix

# Zeros of both signs and NaN: rows are the same when their bytes are.
values = st.sampled_from([0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), 1e-40])
batches = st.lists(st.lists(st.tuples(values, values), min_size=1, max_size=12), max_size=12)


def matrix(rows: Any) -> Matrix:
    return np.array(rows, dtype=np.float32).reshape(-1, 2)


@given(batches, st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20)), min_size=12, max_size=12), st.sampled_from([None, 5]))
def test_what_is_found_was_put_and_is_fresh_and_nothing_that_fits_is_lost(chunks: Any, when: Any, ttl_ms: int | None) -> None:
    table, oracle, number = AnswerTable(CacheSettings(10_000, ttl_ms)), dict[tuple[int, bytes], tuple[float, int]](), 0.0
    for chunk, (version, at_ms) in zip(chunks, when, strict=False):
        rows = matrix(chunk)
        hit, found = table.find(version, rows, at_ms)
        for place, row in enumerate(rows):
            known = oracle.get((version, row.tobytes()))
            fresh = known is not None and (ttl_ms is None or at_ms - known[1] <= ttl_ms)
            assert hit[place] == fresh
            assert not fresh or found[place].tolist() == [known[0], -known[0]]  # type: ignore[index]
        given_now = np.array([[number + i, -number - i] for i in range(len(rows))])
        table.put(version, rows, given_now, at_ms)
        oracle |= {(version, row.tobytes()): (answer[0], at_ms) for row, answer in zip(rows, given_now, strict=True)}
        number += len(rows)
    assert len(table) == len(oracle)


@given(st.integers(1, 100), st.lists(st.integers(0, 300), min_size=1, max_size=600))
def test_a_table_is_bounded_and_never_answers_for_another_row(rows_max: int, asked: list[int]) -> None:
    table = AnswerTable(CacheSettings(rows_max))
    for number in asked:
        row = matrix([[number, 1]])
        hit, found = table.find(1, row, 0)
        assert not hit[0] or found[0, 0] == number
        table.put(1, row, np.array([[float(number)]]), 0)
        assert table.find(1, row, 0)[0][0], "what was put last is there"
    assert len(table) <= max(rows_max, WAYS)


def test_of_a_full_set_the_row_that_was_not_asked_for_longest_goes() -> None:
    table = AnswerTable(CacheSettings(WAYS))
    rows = matrix([[n, n] for n in range(WAYS)])
    table.put(1, rows, np.arange(float(WAYS))[:, None], 0)
    table.find(1, rows[:3], 0)
    table.find(1, rows[4:], 0)
    table.put(1, matrix([[99, 99]]), np.array([[99.0]]), 0)
    assert table.find(1, rows, 0)[0].tolist() == [n != 3 for n in range(WAYS)]


def test_answers_that_are_not_finite_and_widths_that_change_are_not_kept() -> None:
    table = AnswerTable(CacheSettings(100))
    table.put(1, matrix([[1, 1], [2, 2]]), np.array([[1.0], [np.nan]]), 0)
    assert table.find(1, matrix([[1, 1], [2, 2]]), 0)[0].tolist() == [True, False]
    table.put(1, matrix([[3, 3]]), np.zeros((1, 2)), 0)
    assert not table.find(1, matrix([[3, 3]]), 0)[0][0]
    assert table.find(1, np.zeros((2, 5), dtype=np.float32), 0)[0].tolist() == [False, False]


@given(st.lists(st.tuples(values, values), max_size=40))
def test_distinct_rows_stand_in_the_order_of_their_first(rows: Any) -> None:
    found = matrix(rows)
    places, which = distinct(found)
    seen = list(dict.fromkeys(row.tobytes() for row in found))
    assert [found[place].tobytes() for place in places] == seen
    assert [seen[one] for one in which] == [row.tobytes() for row in found]
    assert all(found[place].tobytes() not in [row.tobytes() for row in found[:place]] for place in places)


def test_the_estimate_is_what_a_full_table_takes() -> None:
    settings = CacheSettings(1000)
    table = AnswerTable(settings)
    table.put(1, np.zeros((1, 6), dtype=np.float32), np.zeros((1, 3)), 0)
    arrays = (table._tags, table._facts, table._rows, table._answers)
    assert sum(array.nbytes for array in arrays) == settings.bytes_used(6, 3)
    assert OVERHEAD_BYTES == 32
