"""Forwards that leave together. Oracle: the same forwards one by one; the limits counted by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.edge.passes import PassQueue
from stream_infer.flow.commands import Forward, Together
from stream_infer.flow.notices import ForwardDone, ForwardFailed
from stream_infer.records import Floats, Matrix


@dataclass
class Tenfold:
    """Answers ten times the input. passes: rows of each. Fails on a negative input; a row of 99 makes it answer too little."""

    passes: list[int] = field(default_factory=list)
    columns: tuple[str, ...] = ("amount",)
    outputs: int = 1
    digest: str = ""

    def forward(self, x: Matrix) -> Floats:
        self.passes.append(len(x))
        if (x < 0).any():
            raise RuntimeError("negative")
        return (x.astype(np.float64) * 10)[: -1 if (x == 99).any() else None]


def ask(job: int, amounts: list[float], together: Together | None, *, model: str = "net", sizes: tuple[int, ...] = ()) -> Forward:
    return Forward(job, model, 0, np.array(amounts, dtype=np.float32)[:, None], together, sizes)


def all_of(queue: PassQueue) -> list[ForwardDone | ForwardFailed]:
    answers = []
    while made := queue.run_next():
        answers += made
    return answers


FORWARDS = st.lists(st.tuples(st.lists(st.sampled_from([1.0, 2.0, 3.0, 99.0, -1.0]), min_size=1, max_size=4), st.booleans()), max_size=8)


@given(FORWARDS, st.integers(1, 9), st.sampled_from([(), (4,), (2, 8)]))
def test_each_gets_the_answer_that_it_would_have_had_alone(
    wanted: list[tuple[list[float], bool]], most: int, sizes: tuple[int, ...]
) -> None:
    queue, model = PassQueue(), Tenfold()
    for job, (amounts, shares) in enumerate(wanted):
        queue.put(ask(job, amounts, Together(most, "full") if shares else None, sizes=sizes), model)
    answers = all_of(queue)
    assert [answer.job for answer in answers] == list(range(len(wanted)))
    for answer, (amounts, _) in zip(answers, wanted, strict=True):
        if -1.0 in amounts:
            assert answer == ForwardFailed(answer.job, "RuntimeError: negative")
        elif 99.0 in amounts:
            assert isinstance(answer, ForwardFailed) or len(answer.outputs) == len(amounts) - 1, "seen by whoever asked for it, and told"
        else:
            assert isinstance(answer, ForwardDone)
            assert answer.outputs[:, 0].tolist() == [10 * amount for amount in amounts]


def test_forwards_of_several_tasks_make_one_pass_as_far_as_the_limit_goes() -> None:
    queue, model = PassQueue(), Tenfold()
    for job, rows in enumerate((3, 2, 4, 1)):
        queue.put(ask(job, [1.0] * rows, Together(5, "full")), model)
    done = all_of(queue)
    assert model.passes == [5, 5]
    passes = [answer.passed for answer in done if isinstance(answer, ForwardDone)]
    assert [(p.rows, p.why, p.rows_max) for p in passes if p is not None] == [(5, "full", 5), (5, "full", 5)]
    assert [p is None for p in passes] == [False, True, False, True], "each pass is told of once"
    assert [answer.place for answer in done if isinstance(answer, ForwardDone)] == [(0, 5), (3, 5), (0, 5), (4, 5)]


@pytest.mark.parametrize(
    ("limits", "passes", "why"),
    [
        ([Together(9, "full")] * 3, [6], ["nothing_waits"]),
        ([Together(9, "full"), Together(3, "deadline"), Together(9, "full")], [2, 2, 2], ["deadline", "deadline", "nothing_waits"]),
        ([Together(9, "full", None, 3.0, 5.0)] * 3, [2, 2, 2], ["cost", "cost", "nothing_waits"]),
        ([Together(9, "full", None, 3.0, 6.0)] * 3, [4, 2], ["cost", "nothing_waits"]),
        ([None, None, Together(9, "full")], [2, 2, 2], ["full", "full", "nothing_waits"]),
        ([Together(2, "full")] * 3, [2, 2, 2], ["full"] * 3),
        ([Together(1, "deadline")] * 3, [2, 2, 2], ["deadline"] * 3),
    ],
)
def test_the_reason_why_a_batch_left(limits: list[Together | None], passes: list[int], why: list[str]) -> None:
    queue, model = PassQueue(), Tenfold()
    for job, limit in enumerate(limits):
        queue.put(ask(job, [1.0, 2.0], limit), model)
    told = [answer.passed for answer in all_of(queue) if isinstance(answer, ForwardDone)]
    assert model.passes == passes
    assert [p.why for p in told if p is not None] == why


def test_rows_of_nothing_fill_a_pass_up_and_nobody_sees_their_answers() -> None:
    queue, model = PassQueue(), Tenfold()
    queue.put(ask(1, [1.0] * 3, Together(16, "full"), sizes=(4, 16)), model)
    queue.put(ask(2, [2.0], Together(16, "full"), sizes=(4, 16)), model)
    queue.put(ask(3, [3.0] * 3, Together(16, "full"), sizes=(4, 16)), model)
    done = all_of(queue)
    assert model.passes == [4, 4], "seven rows in sixteen would be more than four and four"
    assert [len(answer.outputs) for answer in done if isinstance(answer, ForwardDone)] == [3, 1, 3]
    told = [answer.passed for answer in done if isinstance(answer, ForwardDone)]
    assert [(p.rows, p.padded) for p in told if p is not None] == [(4, 0), (3, 1)]


def test_the_model_whose_rows_are_due_first_goes_first_and_who_has_no_deadline_waits_a_second_at_most() -> None:
    queue, model = PassQueue(), Tenfold()
    queue.put(ask(1, [1.0], Together(9, "full", 5_000.0), model="patient"), model)
    queue.put(ask(2, [1.0], Together(9, "full"), model="whenever"), model)
    queue.put(ask(3, [1.0], Together(9, "full", 20.0), model="urgent"), model)
    assert [answer.job for answer in all_of(queue)] == [3, 1, 2]


def test_what_fills_a_pass_up_counts_among_its_rows_and_a_forward_alone_has_no_place() -> None:
    queue, model = PassQueue(), Tenfold()
    queue.put(ask(0, [1.0] * 3, None, sizes=(4,)), model)
    queue.put(ask(1, [1.0] * 3, None), model)
    assert [answer.place for answer in all_of(queue) if isinstance(answer, ForwardDone)] == [(0, 4), None]
