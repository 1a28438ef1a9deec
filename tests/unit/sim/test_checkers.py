"""Every invariant holds of a sound history, and each planted fault is found by the invariant that forbids it, and named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream_infer.sim.checkers import CHECKS, check
from stream_infer.sim.history import Answer, History, Input

IN, OUT = ("in", 0), ("out", 0)


def answer(n: int, at: int, **other: object) -> Answer:
    """The answer to input n, at an offset: chunks of two rows, chunk k began at offset 2k."""
    made = Answer("out", 0, at, f"id{n}", ("in", 0, n), offsets=(40, n - n % 2), cut=n // 2, answer=float(n), arm="a", propensity=0.5)
    return replace(made, **other)  # type: ignore[arg-type]


def sound() -> History:
    """Six inputs; the fourth is rejected, chunk 0 was aborted once."""
    predictions = [answer(0, 3), answer(1, 4), answer(2, 6), answer(4, 8), answer(5, 9)]
    reject = Answer("bad", 0, 0, "id3", ("in", 0, 3))
    return History(
        inputs={IN: [Input(n, f"id{n}") for n in range(6)]},
        predictions=predictions,
        rejects=[reject],
        predictions_uncommitted=[answer(0, 0), answer(1, 1), *predictions],
        rejects_uncommitted=[reject],
        flowing={"in": 1},
        committed={IN: 6},
        watermarks={OUT: (11, 11)},
        changelog={("state", 0): {b"k": b"5", b"gone": None}},
        state={("state", 0): {b"k": b"5"}},
        joined=[(("joined", 0, 0), "id0", "a"), (("joined", 0, 1), "id4", "b")],
        credited={"a": 1, "b": 1},
        store={("in", 0): {}},
    )


GOOD = sound()
P = list(GOOD.predictions)
U = list(GOOD.predictions_uncommitted)
PLANTED = {
    "I1 lost": ("I1", replace(GOOD, predictions=P[1:]), "I1 in[0]@0 id id0 is not answered"),
    "I1 doubled": ("I1", replace(GOOD, predictions=[*P, answer(5, 12)]), "I1 in[0]@5 id id5 is answered 2 times: out[0]@9, out[0]@12"),
    "I1 rejected too": ("I1", replace(GOOD, rejects=[*GOOD.rejects, Answer("bad", 0, 1, "id0", ("in", 0, 0))]), "bad[0]@1"),
    "I1 waits though answered": ("I1", replace(GOOD, waiting=frozenset({("in", 0, 2)})), "out[0]@6 and still waits"),
    "I2 from nothing": ("I2", replace(GOOD, predictions=[*P, answer(9, 12)]), "I2 out[0]@12 id id9 answers in[0]@9, which does not exist"),
    "I2 other id": ("I2", replace(GOOD, predictions=[replace(P[0], id="id1"), *P[1:]]), "out[0]@3 has id id1"),
    "I3 disorder": ("I3", replace(GOOD, predictions=[P[1], P[0], *P[2:]]), "I3 out[0]@3 id id0 answers in[0]@0 after in[0]@1 was answered"),
    "I3 chunks": ("I3", replace(GOOD, predictions=[*P[:4], replace(P[4], cut=0)]), "is of chunk 0, after chunk 2"),
    "I4 gap": ("I4", replace(GOOD, predictions=[*P[:2], *P[3:]]), "I4 in[0]@2 id id2 is not answered, yet the group committed 6"),
    "I4 beyond": ("I4", replace(GOOD, committed={IN: 5}), "I4 in[0]@5 id id5 is answered, yet the group committed only 5"),
    "I5 never written": ("I5", replace(GOOD, predictions_uncommitted=U[:-1]), "I5 out[0]@9 id id5 is visible but was never written there"),
    "I5 in vain": ("I5", replace(GOOD, predictions=P[:-1]), "id5 was aborted and in[0]@5 never answered again"),
    "I6 torn": ("I6", replace(GOOD, predictions=P[1:]), "I6 in[0]@0 id id0 is missing of chunk 0"),
    "I6 stranger": ("I6", replace(GOOD, predictions=[P[0], P[1], replace(P[3], cut=1, offsets=(40, 2)), P[4]]), "which read 2 to 4"),
    "I6 two beginnings": (
        "I6",
        replace(GOOD, predictions=[P[0], replace(P[1], offsets=(40, 1)), *P[2:]]),
        "chunk 0 began at 2 places",
    ),
    "I7 wrong": ("I7", replace(GOOD, changelog={("state", 0): {b"k": b"4"}}), "I7 state[0] key b'k' is b'4', the log makes it b'5'"),
    "I7 forgotten": ("I7", replace(GOOD, changelog={}), "key b'k' is None"),
    "I7 left over": ("I7", replace(GOOD, state={}), "the log makes it None"),
    "I8 other answer": ("I8", replace(GOOD, predictions_uncommitted=[answer(0, 0, answer=7.0), *U[1:]]), "I8 out[0]@0 id id0 answers 7.0"),
    "I8 other arm": ("I8", replace(GOOD, predictions_uncommitted=[answer(0, 0, arm="b"), *U[1:]]), "by b"),
    "I9 lag": ("I9", replace(GOOD, committed={IN: 4}), "I9 in[0]@4 is committed, the last input is at 5"),
    "I9 open": ("I9", replace(GOOD, watermarks={OUT: (8, 11)}), "I9 out[0]@8 has an open transaction before it, 3 offsets"),
    "I10 twice": ("I10", replace(GOOD, joined=[*GOOD.joined, (("joined", 0, 2), "id0", "a")]), "I10 joined[0]@2 id id0 is joined again"),
    "I10 not learnt": ("I10", replace(GOOD, credited={"a": 1}), "I10 arm b learnt 0 rows, 1 were joined"),
    "I10 learnt twice": ("I10", replace(GOOD, credited={"a": 2, "b": 1}), "I10 arm a learnt 2 rows, 1 were joined"),
    "I11 ahead": (
        "I11",
        replace(GOOD, store={IN: {b"k": (6, b"5")}}, changelog={IN: {b"k": b"5"}}),
        "I11 in[0]@6 is in the store",
    ),
    "I11 other": (
        "I11",
        replace(GOOD, store={IN: {b"k": (5, b"4")}}, changelog={IN: {b"k": b"5"}}),
        "b'4' in the store, b'5' in",
    ),
}


def test_a_sound_history_has_no_violation() -> None:
    assert check(GOOD) == []


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_and_named(fault: str) -> None:
    name, history, text = PLANTED[fault]
    found = CHECKS[name](history)
    assert any(text in line for line in found), found


def test_each_invariant_has_a_planted_fault() -> None:
    assert {name for name, _, _ in PLANTED.values()} == set(CHECKS)


def test_rows_that_wait_in_their_own_time_may_be_answered_out_of_order() -> None:
    """Flights are answered 30 min before departure, not in the order they were announced."""
    late = History(
        inputs={IN: [Input(n, f"id{n}") for n in range(3)]},
        predictions=[replace(answer(1, 0), cut=0, offsets=(0, 0)), replace(answer(0, 1), cut=1, offsets=(0, 2))],
        waiting=frozenset({("in", 0, 2)}),
        unordered=frozenset({"in"}),
        flowing={"in": 1},
        committed={IN: 3},
    )
    assert check(late) == []


def test_equal_answers_within_tolerance_are_the_same() -> None:
    history = replace(GOOD, predictions_uncommitted=[answer(0, 0, answer=1e-7), *U[1:]])
    assert CHECKS["I8"](history) != []
    assert check(replace(history, predictions_uncommitted=U)) == []
