"""The lookup table against a dict, row by row, however the rows are cut and the state is moved."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.features.settings import LookupSettings
from stream_infer.features.table import TableState
from stream_infer.records import Floats, Text
from stream_infer.state import StateError, Store, join_texts

Row = tuple[bytes | None, float, float, int, bool]  # key, two values, 0 nothing 1 update 2 delete, reads

SETTINGS = LookupSettings((("a", -1.0), ("b", math.nan)), keys_max=4)
ROWS = st.lists(
    st.tuples(
        st.sampled_from([None, *(b"%d" % i for i in range(9))]),
        st.sampled_from([1.0, 2.5, math.nan, math.inf, -0.0]),
        st.floats(),
        st.sampled_from([0, 1, 1, 2]),
        st.booleans(),
    ),
    max_size=40,
)


def apply(state: TableState, rows: list[Row]) -> Floats:
    what = np.array([row[3] for row in rows], dtype=np.int64)
    values = {"a": np.array([row[1] for row in rows]), "b": np.array([row[2] for row in rows])}
    return state.apply(Text.of([row[0] for row in rows]), values, what == 1, what == 2, np.array([row[4] for row in rows], dtype=np.bool_))


def oracle(rows: list[Row], sweep_rows: int) -> tuple[list[list[float]], int]:
    known: dict[bytes, tuple[float, float]] = {}
    answers, turns = [], 0
    for key, a, b, what, reads in rows:
        if reads:
            found = known.get(key, (math.nan, math.nan)) if key is not None else (math.nan, math.nan)
            answers.append([-1.0 if math.isnan(found[0]) else found[0], found[1]])
        if key is not None and what:
            known.pop(key, None)
            if what == 1:
                known[key] = (a, b)  # last in the dict: most recently updated
        turns += what == 1
        if what == 1 and turns % sweep_rows == 0 and len(known) > SETTINGS.keys_max:
            for old in list(known)[: len(known) - SETTINGS.keys_max]:
                del known[old]
    return answers, len(known)


@settings(deadline=None, max_examples=300)
@given(ROWS, st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["", "snapshot", "changelog"])), max_size=6))
def test_table_is_a_dict(rows: list[Row], cuts: list[tuple[int, str]]) -> None:
    expected, count = oracle(rows, sweep_rows=5)
    state, log, parts, begin = TableState(SETTINGS, sweep_rows=5), {}, [], 0
    for end, move in [*sorted(cuts), (len(rows), "")]:
        parts += apply(state, rows[begin:end]).tolist()
        begin = min(end, len(rows))
        fresh = TableState(SETTINGS, sweep_rows=5)
        if move == "changelog":
            keys, packed = state.changes()
            log |= dict(zip(keys.raw(), packed.raw(), strict=True))  # tombstones stay: a fresh state must bear them
            fresh.restore(Text.of(log, is_bytes=True), Text.of(log.values(), is_bytes=True))
            state = fresh
        elif move == "snapshot":
            fresh.load(state.snapshot())
            state = fresh

    assert np.array(parts).tobytes() == np.array(expected).tobytes() or _same(parts, expected)
    assert len(state) == count


def _same(mine: list[list[float]], theirs: list[list[float]]) -> bool:
    return np.array_equal(np.array(mine), np.array(theirs), equal_nan=True)


def test_a_row_reads_before_it_writes() -> None:
    rows: list[Row] = [(b"k", 1.0, 5.0, 1, True), (b"k", 2.0, 6.0, 1, True), (b"k", 0.0, 0.0, 2, True), (b"k", 0.0, 0.0, 0, True)]

    got = apply(TableState(SETTINGS), rows)

    assert got[:, 0].tolist() == [-1.0, 1.0, 2.0, -1.0]


def test_later_records_of_the_changelog_win() -> None:
    one, two = TableState(SETTINGS), TableState(SETTINGS)
    apply(one, [(b"k", 1.0, 5.0, 1, False), (b"j", 1.0, 5.0, 1, False)])
    first = one.changes()
    apply(one, [(b"k", 2.0, 6.0, 1, False), (b"j", 0.0, 0.0, 2, False)])
    second = one.changes()

    two.restore(join_texts([first[0], second[0]]), join_texts([first[1], second[1]]))

    assert apply(two, [(b"k", 0, 0, 0, True), (b"j", 0, 0, 0, True)])[:, 0].tolist() == [2.0, -1.0]
    assert len(two) == 1
    assert isinstance(two, Store)


def test_values_of_other_settings_are_refused() -> None:
    state = TableState(SETTINGS)
    apply(state, [(b"k", 1.0, 5.0, 1, False)])
    with pytest.raises(StateError):
        TableState(LookupSettings((("a", 0.0),))).restore(*state.changes())
